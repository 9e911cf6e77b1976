/* fuzz_tokenizer.c - any bytes as a tokenizer.json, of either form; if it opens, text must go
 * through it and come back the same, and every token must be one that decoding knows.  An
 * expression of the file may take too long on the text, which is a refusal, not a hang. */
#include <stdlib.h>
#include <string.h>
#include "loci/tokenizer.h"

static void must(int ok)
{
    if (!ok) abort();
}

/* The file itself is the text: at most 4 KiB of it, with what stands for its words. */
static void round_trip(const loci_tokenizer *t, const char *text, size_t len)
{
    enum { TEXT_MAX = 4096 };
    if (len > TEXT_MAX) len = TEXT_MAX;
    loci_encoder *e = NULL;
    must(loci_encoder_open(&e, t, NULL) == LOCI_OK);
    static const size_t n_times = 2; /* the second time from the cache */
    for (size_t k = 0; k < n_times; k++) {
        int32_t ids[TEXT_MAX];
        uint32_t ends[TEXT_MAX];
        char back[TEXT_MAX];
        size_t n = 0, n_back = 0;
        const loci_status st = loci_encode(e, text, len, ids, ends, TEXT_MAX, &n, NULL);
        must(st == LOCI_OK || st == LOCI_EINVAL);
        if (st != LOCI_OK) break;
        must(n == 0 || ends[n - 1] == len);
        for (size_t i = 0; i < n; i++) must(loci_tokenizer_kind(t, ids[i]) == LOCI_TOKEN_PLAIN);
        must(loci_decode(t, ids, n, back, TEXT_MAX, &n_back, NULL) == LOCI_OK);
        must(n_back == len && memcmp(back, text, len) == 0);
        if (loci_encode_marked(e, text, len, ids, ends, TEXT_MAX, &n, NULL) == LOCI_OK)
            must(n == 0 || ends[n - 1] == len);
    }
    must(loci_encode_safe_cut(text, len, len / 2) <= len / 2);
    loci_encoder_close(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    loci_tokenizer *t = NULL;
    loci_error err = { 0 };
    if (loci_tokenizer_parse(&t, (const char *)data, size, "fuzz", &err) == LOCI_OK) {
        round_trip(t, (const char *)data, size);
        loci_tokenizer_close(t);
    } else {
        must(t == NULL && err.text[0] != '\0');
    }
    return 0;
}
