/* attributes.c - what a value may be called: "access code" for digits, "budget" for amounts, and
 * with a word before it "spare access code".
 *
 * All take a plain "s" in the plural.  The two halves share no attribute. */
#include "task/task_impl.h"

#include <string.h>

#define LIST(...)                                                                                  \
    {                                                                                              \
        (const char *const[]){ __VA_ARGS__ },                                                      \
            (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *))                        \
    }
typedef struct {
    const char *const *name;
    int n;
} names;

static const names attributes[LOCI_VALUE_KINDS][2] = {
    [LOCI_VALUE_DIGITS] = { LIST("access code", "pin number", "locker number", "badge number",
                                 "serial number", "entry code", "ticket number", "room code",
                                 "phone number", "invoice number", "file number", "member number",
                                 "box number", "alarm code", "student number", "flight number",
                                 "case number", "gate code", "shelf number", "radio channel",
                                 "counter reading", "head count", "meter reading", "postal code"),
                            LIST("door code", "order number", "license number", "parcel number",
                                 "account number") },
    [LOCI_VALUE_WORDS] = { LIST("passphrase", "code name", "call sign", "secret name", "motto",
                                "working title", "screen name", "stage name", "nickname of old",
                                "slogan", "wine label", "trail name"),
                           LIST("watchword", "cover name", "hidden phrase") },
    [LOCI_VALUE_WORD] = { LIST("code word", "nickname", "signal word", "mascot", "password",
                               "favorite word", "trademark", "keyword", "brand name", "surname",
                               "team name", "street name", "symbol", "label"),
                          LIST("pet name", "theme word", "emblem") },
    [LOCI_VALUE_HEX] = { LIST("checksum", "access token", "device key", "build id", "commit id",
                              "hash value", "license key", "hardware id", "trace id", "object id",
                              "secret key", "color code"),
                         LIST("fingerprint", "session key", "digest") },
    [LOCI_VALUE_DATE] = { LIST("renewal date", "opening date", "launch date", "deadline",
                               "birth date", "wedding day", "start date", "closing date",
                               "exam date", "moving day", "first day", "due date"),
                          LIST("expiry date", "delivery date", "audit date") },
    [LOCI_VALUE_AMOUNT] = { LIST("budget", "annual fee", "deposit", "monthly cost", "price",
                                 "yearly income", "total debt", "travel cost", "prize", "reward",
                                 "insurance sum", "ticket price"),
                            LIST("rental price", "repair bill", "grant") },
    [LOCI_VALUE_PERSON] = { LIST("owner", "manager", "contact person", "author", "inventor",
                                 "tutor", "landlord", "successor", "driver", "best friend"),
                            LIST("custodian", "supervisor", "founder") },
    [LOCI_VALUE_CODE] = { LIST("part number", "model name", "license plate", "product code",
                               "booking code", "shelf mark", "catalog mark", "batch number"),
                          LIST("tracking code", "inventory tag", "voucher") },
    [LOCI_VALUE_TIME] = { LIST("closing time", "departure time", "alarm time", "start time",
                               "lunch hour", "curfew"),
                          LIST("arrival time", "visiting hour", "check-in time") },
    [LOCI_VALUE_PASSAGE] = { LIST("passage", "note", "verse", "extract", "message", "stanza",
                                  "inscription", "remark", "letter", "paragraph text"),
                             LIST("excerpt", "section", "quote") },
};

enum { PLAIN = 4 }; /* of each kind */

/* Not "old", "new" or "last", which say something about time. */
static const names before[2] = {
    LIST("backup", "internal", "main", "spare", "public", "private", "local", "temporary", "night",
         "summer", "office", "garage", "library", "kitchen", "harbor", "studio", "museum",
         "factory", "station", "travel", "official", "personal", "regional", "weekend"),
    LIST("winter", "secondary", "standard", "holiday", "warehouse"),
};

int loci_attribute_count(loci_value_kind kind, loci_split s)
{
    return attributes[kind][s].n;
}

const char *loci_attribute(loci_value_kind kind, loci_split s, int i)
{
    return attributes[kind][s].name[i];
}

void loci_attribute_write(loci_line *line, loci_value_kind kind, loci_rng *rng, loci_split s)
{
    const bool plain = s == LOCI_SPLIT_PLAIN;
    const names *of = &attributes[kind][s == LOCI_SPLIT_TEST];
    /* The plain ones are the first of training's. */
    const uint32_t n = plain ? PLAIN : (uint32_t)of->n;
    /* Test figures stay comparable: there only one in eight has a word before it. */
    if (!plain && kind != LOCI_VALUE_PASSAGE &&
        loci_rng_below(rng, 8) < (s == LOCI_SPLIT_TRAIN ? 3u : 1u)) {
        loci_line_add(line, before[s].name[loci_rng_below(rng, (uint32_t)before[s].n)]);
        loci_line_char(line, ' ');
    }
    loci_line_add(line, of->name[loci_rng_below(rng, n)]);
}
