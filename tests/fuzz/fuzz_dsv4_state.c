/* fuzz_dsv4_state.c - any bytes as the list of records or as a record of a DeepSeek-V4 state: refused
 * with a message, or numbers in their ranges.  Checksums are made right first, or nothing behind
 * them would ever be reached. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "model/dsv4/dsv4_impl.h"

static void one(uint8_t *data, size_t size)
{
    loci_error err = { 0 };
    uint8_t fingerprint[16];
    int64_t *record, position;
    int n;
    if (dsv4_text_parse(data, size, "fuzz", fingerprint, &record, &n, &err) == LOCI_OK) {
        for (int i = 0; i < n; i++)
            if (record[i] < 1 || (i > 0 && record[i] <= record[i - 1])) abort();
        free(record);
    } else if (record || n || err.text[0] == '\0')
        abort();
    err = (loci_error){ 0 };
    if (dsv4_record_position(data, size, "fuzz", &position, &err) == LOCI_OK
            ? position < 0 || position > (int64_t)1 << 30
            : position != 0 || err.text[0] == '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t *data = malloc(size + 1); /* aligned, as files are loaded */
    if (!data) return 0;
    if (size) memcpy(data, bytes, size);
    one(data, size);
    if (size >= 64) {
        const uint64_t text = XXH3_64bits(data + 40, size - 40), body = size - 64;
        memcpy(data + 48, &body, 8);
        const uint64_t sum = XXH3_64bits(data + 64, size - 64);
        memcpy(data + 56, &sum, 8);
        one(data, size);
        if (size) memcpy(data, bytes, size);
        memcpy(data + 32, &text, 8);
        one(data, size);
    }
    free(data);
    return 0;
}
