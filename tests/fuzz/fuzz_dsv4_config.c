/* fuzz_dsv4_config.c - any text as config.json of a DeepSeek-V4 model: refused with a message, or a
 * shape that passes its own check and is the same on a second reading. */
#include <stdlib.h>
#include <string.h>
#include "model/dsv4/dsv4.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static loci_dsv4_hparams hp, again;
    loci_error err = { 0 };
    if (size > LOCI_DSV4_CONFIG_MAX_BYTES) return 0;
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, bytes, size);
    text[size] = '\0';
    if (loci_dsv4_config_parse(&hp, text, "fuzz", &err) == LOCI_OK) {
        if (!loci_dsv4_config_is(text)) abort();
        if (loci_dsv4_hparams_check(&hp, "fuzz", NULL) != LOCI_OK) abort();
        if (loci_dsv4_config_parse(&again, text, "fuzz", NULL) != LOCI_OK ||
            memcmp(&hp, &again, sizeof hp) != 0)
            abort();
    } else if (err.text[0] == '\0')
        abort();
    free(text);
    return 0;
}
