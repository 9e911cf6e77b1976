/* attributes.c - what a value may be called: "access code" for digits, "budget" for amounts.
 *
 * All take a plain "s" in the plural.  The two halves share no attribute. */
#include "task/task_impl.h"

#define LIST(...)                                                                                  \
    {                                                                                              \
        (const char *const[]){ __VA_ARGS__ },                                                      \
            (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *))                        \
    }

static const struct {
    const char *const *name;
    int n;
} attributes[LOCI_VALUE_KINDS][2] = {
    [LOCI_VALUE_DIGITS] = { LIST("access code", "pin number", "locker number", "badge number",
                                 "serial number", "entry code", "ticket number", "room code"),
                            LIST("door code", "order number", "license number", "parcel number",
                                 "account number") },
    [LOCI_VALUE_WORDS] = { LIST("passphrase", "code name", "call sign", "secret name", "motto"),
                           LIST("watchword", "cover name", "hidden phrase") },
    [LOCI_VALUE_WORD] = { LIST("code word", "nickname", "signal word", "mascot"),
                          LIST("pet name", "theme word", "emblem") },
    [LOCI_VALUE_HEX] = { LIST("checksum", "access token", "device key", "build id"),
                         LIST("fingerprint", "session key", "digest") },
    [LOCI_VALUE_DATE] = { LIST("renewal date", "opening date", "launch date", "deadline"),
                          LIST("expiry date", "delivery date", "audit date") },
    [LOCI_VALUE_AMOUNT] = { LIST("budget", "annual fee", "deposit", "monthly cost"),
                            LIST("rental price", "repair bill", "grant") },
    [LOCI_VALUE_PASSAGE] = { LIST("passage", "note", "verse", "extract"),
                             LIST("excerpt", "section", "quote") },
};

int loci_attribute_count(loci_value_kind kind, loci_split s)
{
    return attributes[kind][s].n;
}

const char *loci_attribute(loci_value_kind kind, loci_split s, int i)
{
    return attributes[kind][s].name[i];
}
