/* attributes_fresh.c - what the sentences of frames_fresh.c call a value, written as they were: with no
 * other table of attributes at hand.  Training has none of them (loci_attribute_is_test). */
#include "task/task_impl.h"

static const loci_attributes fresh[LOCI_VALUE_KINDS] = {
    [LOCI_VALUE_DIGITS] =
        LOCI_ATTRIBUTES("queue number", "parking spot", "jersey number", "membership number",
                        "pager number", "lottery pick", "odometer value"),
    [LOCI_VALUE_WORDS] = LOCI_ATTRIBUTES("wifi password", "sign-in phrase", "session label",
                                         "newsletter motto", "branch slug", "security phrase"),
    [LOCI_VALUE_WORD] = LOCI_ATTRIBUTES("hashtag", "team symbol", "house animal",
                                        "crossword solution", "logo motif", "charade answer"),
    [LOCI_VALUE_HEX] =
        LOCI_ATTRIBUTES("file digest", "device token", "pairing secret", "build stamp",
                        "wallet key", "firmware checksum", "cookie id"),
    [LOCI_VALUE_DATE] =
        LOCI_ATTRIBUTES("moving-in day", "sailing date", "delivery day", "opening day",
                        "harvest date", "christening day", "signing date"),
    [LOCI_VALUE_AMOUNT] = LOCI_ATTRIBUTES("insured sum", "yearly fee", "monthly rent", "loan total",
                                          "scrap value", "prize money"),
    [LOCI_VALUE_PERSON] = LOCI_ATTRIBUTES("caretaker", "legal guardian", "line manager", "referee",
                                          "godmother", "choirmaster", "piano tuner"),
    [LOCI_VALUE_CODE] = LOCI_ATTRIBUTES("docket", "parcel code", "grid reference", "licence plate",
                                        "voucher code", "dye lot", "bin location"),
    [LOCI_VALUE_TIME] = LOCI_ATTRIBUTES("closing hour", "kick-off time", "wake-up call",
                                        "tea break", "school bell", "first showing"),
    [LOCI_VALUE_PASSAGE] = LOCI_ATTRIBUTES("leaflet", "voicemail", "banner", "road sign",
                                           "greeting card", "chalk note"),
};

/* Words before them. */
const loci_attributes loci_attributes_fresh_before =
    LOCI_ATTRIBUTES("interim", "overnight", "upstairs", "replacement", "seaside");

const loci_attributes *loci_attributes_fresh(loci_value_kind kind)
{
    return &fresh[kind];
}
