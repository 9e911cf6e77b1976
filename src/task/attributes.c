/* attributes.c - what a value may be called: "access code" for digits, "budget" for amounts, with a
 * word before it "spare access code".
 *
 * Training also calls values by words of the text or made-up ones, whatever kind they are of: such an
 * attribute says nothing about the value and can only be matched letter by letter, as one that was
 * never met must be.
 *
 * All of the tables take a plain "s" in the plural.  The two halves share no attribute. */
#include "task/task_impl.h"

#include <string.h>

/* Plain wordings take the first PLAIN of each kind. */
enum { PLAIN = 4 };

static const loci_attributes train[LOCI_VALUE_KINDS] = {
    [LOCI_VALUE_DIGITS] =
        LOCI_ATTRIBUTES("access code", "pin number", "locker number", "badge number",
                        "serial number", "entry code", "ticket number", "room code", "phone number",
                        "invoice number", "file number", "member number", "box number",
                        "alarm code", "student number", "flight number", "case number", "gate code",
                        "shelf number", "radio channel", "counter reading", "head count",
                        "meter reading", "postal code", "bank number", "patient number",
                        "policy number", "tax number", "page count", "extension", "dial code",
                        "safe combination", "seat number", "track number", "table number",
                        "tent number", "vote count", "score", "altitude", "population", "mileage",
                        "step count", "plot number", "contract number", "customer number",
                        "receipt number", "unlock code", "fax number", "house number",
                        "lottery number", "race number", "key number", "line number"),
    [LOCI_VALUE_WORDS] =
        LOCI_ATTRIBUTES("passphrase", "code name", "call sign", "secret name", "motto",
                        "working title", "screen name", "stage name", "nickname of old", "slogan",
                        "wine label", "trail name", "pen name", "project title", "chapter title",
                        "toast", "user name", "network name", "folder name", "host name",
                        "branch name", "channel name", "tune", "house name", "boat name",
                        "recipe name", "paint name", "headline", "caption", "song title",
                        "film title", "band name", "product name", "costume", "route name",
                        "room name", "street sign", "greeting", "farewell"),
    [LOCI_VALUE_WORD] =
        LOCI_ATTRIBUTES("code word", "nickname", "signal word", "mascot", "password",
                        "favorite word", "trademark", "keyword", "brand name", "surname",
                        "team name", "street name", "symbol", "label", "middle name", "maiden name",
                        "material", "color", "flavor", "favorite animal", "favorite fruit",
                        "ingredient", "hometown", "capital", "profession", "instrument",
                        "answer word", "marker", "genre", "variant", "brand", "dialect", "language",
                        "animal name", "plant name", "fabric", "mineral", "region", "topic",
                        "safe word"),
    [LOCI_VALUE_HEX] =
        LOCI_ATTRIBUTES("checksum", "access token", "device key", "build id", "commit id",
                        "hash value", "license key", "hardware id", "trace id", "object id",
                        "secret key", "color code", "request id", "message id", "public key",
                        "signature", "cookie", "nonce", "seed", "session token", "node id",
                        "api key", "salt", "block hash", "file hash", "machine id", "user token",
                        "refresh token", "span id", "cipher key", "firmware id", "disk id",
                        "sensor id", "volume id"),
    [LOCI_VALUE_DATE] =
        LOCI_ATTRIBUTES("renewal date", "opening date", "launch date", "deadline", "birth date",
                        "wedding day", "start date", "closing date", "exam date", "moving day",
                        "first day", "due date", "release date", "payment date", "hearing date",
                        "harvest day", "arrival day", "departure day", "return date",
                        "founding day", "inspection date", "trial date", "election day",
                        "travel date", "departure date", "date of issue", "meeting date",
                        "end date", "jubilee", "name day", "court date", "sowing day",
                        "dispatch date", "shutdown date", "appointment"),
    [LOCI_VALUE_AMOUNT] =
        LOCI_ATTRIBUTES("budget", "annual fee", "deposit", "monthly cost", "price", "yearly income",
                        "total debt", "travel cost", "prize", "reward", "insurance sum",
                        "ticket price", "wage", "bonus sum", "fine", "loan", "mortgage", "turnover",
                        "profit", "donation", "fee", "leasing cost", "pension", "asking price",
                        "starting bid", "purchase price", "heating cost", "fuel cost", "ransom",
                        "dowry sum", "credit limit", "tax bill", "water bill", "phone bill",
                        "share capital", "market value", "allowance", "subscription", "tip",
                        "entrance fee"),
    [LOCI_VALUE_PERSON] =
        LOCI_ATTRIBUTES("owner", "manager", "contact person", "author", "inventor", "tutor",
                        "landlord", "successor", "driver", "best friend", "captain", "headmaster",
                        "surgeon", "sculptor", "editor", "roommate", "guardian", "rival", "partner",
                        "assistant", "director", "sponsor", "translator", "composer", "architect",
                        "coach", "lawyer", "keeper", "pilot", "godparent", "chairman", "discoverer",
                        "builder", "buyer", "seller", "tenant", "reviewer", "maintainer",
                        "designer", "mentor", "employer", "dentist"),
    [LOCI_VALUE_CODE] =
        LOCI_ATTRIBUTES("part number", "model name", "license plate", "product code",
                        "booking code", "shelf mark", "catalog mark", "batch number", "type number",
                        "course code", "item code", "drawing number", "error code", "stock code",
                        "article number", "version", "revision", "form number", "customs code",
                        "container number", "train number", "engine type", "ticket code",
                        "coupon code", "discount code", "reference number", "airport code",
                        "spare part", "registration", "lot number", "seal number", "paint code",
                        "zone code"),
    [LOCI_VALUE_TIME] =
        LOCI_ATTRIBUTES("closing time", "departure time", "alarm time", "start time", "lunch hour",
                        "curfew", "opening time", "opening hour", "bedtime", "daybreak", "sunset",
                        "high tide", "low tide", "tea time", "meeting time", "boarding time",
                        "finishing time", "landing time", "take-off time", "broadcast time",
                        "pick-up time", "feeding time", "break time", "kick-off", "shift start",
                        "shift end", "dinner hour", "wake-up time", "backup time"),
    [LOCI_VALUE_PASSAGE] =
        LOCI_ATTRIBUTES("passage", "note", "verse", "extract", "message", "stanza", "inscription",
                        "remark", "letter", "paragraph text", "line", "sentence", "phrase", "text",
                        "memo", "saying", "proverb", "comment", "notice", "telegram", "record",
                        "snippet", "fragment", "statement", "poem", "prayer", "riddle", "block",
                        "document", "chapter", "item", "page", "script", "dictation", "postcard"),
};

/* Figures that were measured with them stay comparable: these never change. */
static const loci_attributes test[LOCI_VALUE_KINDS] = {
    [LOCI_VALUE_DIGITS] = LOCI_ATTRIBUTES("door code", "order number", "license number",
                                          "parcel number", "account number"),
    [LOCI_VALUE_WORDS] = LOCI_ATTRIBUTES("watchword", "cover name", "hidden phrase"),
    [LOCI_VALUE_WORD] = LOCI_ATTRIBUTES("pet name", "theme word", "emblem"),
    [LOCI_VALUE_HEX] = LOCI_ATTRIBUTES("fingerprint", "session key", "digest"),
    [LOCI_VALUE_DATE] = LOCI_ATTRIBUTES("expiry date", "delivery date", "audit date"),
    [LOCI_VALUE_AMOUNT] = LOCI_ATTRIBUTES("rental price", "repair bill", "grant"),
    [LOCI_VALUE_PERSON] = LOCI_ATTRIBUTES("custodian", "supervisor", "founder"),
    [LOCI_VALUE_CODE] = LOCI_ATTRIBUTES("tracking code", "inventory tag", "voucher"),
    [LOCI_VALUE_TIME] = LOCI_ATTRIBUTES("arrival time", "visiting hour", "check-in time"),
    [LOCI_VALUE_PASSAGE] = LOCI_ATTRIBUTES("excerpt", "section", "quote"),
};

/* Not "old", "new" or "last", which say something about time. */
static const loci_attributes before[2] = {
    LOCI_ATTRIBUTES("backup", "internal", "main", "spare", "public", "private", "local",
                    "temporary", "night", "summer", "office", "garage", "library", "kitchen",
                    "harbor", "studio", "museum", "factory", "station", "travel", "official",
                    "personal", "regional", "weekend", "emergency", "external", "primary", "common",
                    "shared", "special", "ordinary", "extra", "guest", "visitor", "staff", "school",
                    "hospital", "garden", "cellar", "roof", "basement", "morning", "evening", "day",
                    "spring", "autumn", "monthly", "weekly", "daily", "yearly", "central", "upper",
                    "lower", "left", "right", "inner", "outer", "front", "rear", "side", "north",
                    "south", "east", "west", "red", "blue", "short", "long", "small", "large",
                    "double", "single", "full", "partial", "preferred", "default", "alternative",
                    "expected", "estimated", "planned", "approved", "printed", "written", "spoken",
                    "digital", "manual", "automatic", "remote", "mobile", "export", "import",
                    "test", "service", "support", "billing", "shipping", "customer", "supplier",
                    "company", "family", "club", "church", "market", "tower", "bank"),
    LOCI_ATTRIBUTES("winter", "secondary", "standard", "holiday", "warehouse"),
};

static const loci_attributes *table(loci_value_kind kind, loci_split s)
{
    if (s == LOCI_SPLIT_FRESH) return loci_attributes_fresh(kind);
    return s == LOCI_SPLIT_TEST ? &test[kind] : &train[kind];
}

int loci_attribute_count(loci_value_kind kind, loci_split s)
{
    return table(kind, s)->n;
}

const char *loci_attribute(loci_value_kind kind, loci_split s, int i)
{
    return table(kind, s)->name[i];
}

/* Does the attribute have one of the list in it, word by word? */
static bool has_any(const char *attribute, const loci_attributes *list)
{
    const size_t n = strlen(attribute);
    for (int i = 0; i < list->n; i++) {
        const char *t = list->name[i], *at = attribute;
        const size_t len = strlen(t);
        for (; (at = strstr(at, t)) != NULL; at++)
            if ((at == attribute || !loci_is_word_byte(at[-1])) &&
                (at + len == attribute + n || !loci_is_word_byte(at[len])))
                return true;
    }
    return false;
}

bool loci_attribute_is_test(const char *attribute)
{
    for (int kind = 0; kind < LOCI_VALUE_KINDS; kind++)
        if (has_any(attribute, &test[kind]) ||
            has_any(attribute, loci_attributes_fresh((loci_value_kind)kind)))
            return true;
    return false;
}

/* ---- training's open vocabulary ------------------------------------------------------------- */

static const char *pick(const loci_attributes *of, loci_rng *rng)
{
    return of->name[loci_rng_below(rng, (uint32_t)of->n)];
}

/* One or two words of the text or made-up ones, at times beside a word of the tables. */
static void write_open(loci_line *line, loci_rng *rng, const loci_lexicon *lex)
{
    static const char *const heads[] = { "number", "code", "name", "word", "key",    "id",
                                         "date",   "mark", "sum",  "time", "person", "value" };
    static const char joint[] = "       _-";
    const uint32_t form = loci_rng_below(rng, 10);
    const char by = joint[loci_rng_below(rng, sizeof joint - 1)];
    if (form == 0) {
        loci_line_add(line, pick(&before[0], rng));
        loci_line_char(line, by);
    }
    loci_open_word_write(line, rng, lex);
    if (form < 2) return;
    if (form < 7) {
        loci_line_char(line, by);
        loci_open_word_write(line, rng, lex);
    } else if (form == 7) {
        loci_line_char(line, by);
        loci_line_add(line, heads[loci_rng_below(rng, sizeof heads / sizeof *heads)]);
    }
}

static void write_train(loci_line *line, loci_value_kind kind, loci_rng *rng,
                        const loci_lexicon *lex)
{
    if (loci_rng_below(rng, 100) < 45) {
        write_open(line, rng, lex);
        return;
    }
    if (kind != LOCI_VALUE_PASSAGE && loci_rng_below(rng, 2) == 0) {
        loci_line_add(line, pick(&before[0], rng));
        loci_line_char(line, ' ');
    }
    loci_line_add(line, pick(&train[kind], rng));
}

void loci_attribute_write(loci_line *line, loci_value_kind kind, loci_rng *rng, loci_split s,
                          const loci_lexicon *lex)
{
    if (s == LOCI_SPLIT_TRAIN) {
        const size_t start = line->len;
        do {
            line->len = start;
            write_train(line, kind, rng, lex);
        } while (loci_attribute_is_test(line->s + start));
        return;
    }
    if (s == LOCI_SPLIT_PLAIN) {
        loci_line_add(line, train[kind].name[loci_rng_below(rng, PLAIN)]);
        return;
    }
    /* Test figures stay comparable: one in eight has a word before it. */
    if (kind != LOCI_VALUE_PASSAGE && loci_rng_below(rng, 8) == 0) {
        loci_line_add(line, pick(s == LOCI_SPLIT_FRESH ? &loci_attributes_fresh_before : &before[1],
                                 rng));
        loci_line_char(line, ' ');
    }
    loci_line_add(line, pick(table(kind, s), rng));
}
