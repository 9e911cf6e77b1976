/* fuzz_gguf.c - any bytes as a GGUF file: refused with one line, or every tensor lies inside the
 * file, can be read to its end and is found by its name, and every value can be asked for. */
#include <stdlib.h>
#include <string.h>
#include "format/format.h"

static void ask(const loci_gguf *f, const char *key, const uint8_t *bytes, size_t size)
{
    int64_t i = 0, n = 0;
    double r;
    loci_text_span s, *list;
    (void)loci_gguf_int(f, key, &i);
    (void)loci_gguf_real(f, key, &r);
    if (loci_gguf_text(f, key, &s) && (const uint8_t *)s.data + s.len > bytes + size) abort();
    if (loci_gguf_length(f, key, &n))
        if (loci_gguf_int_at(f, key, n, &i) || loci_gguf_real_at(f, key, n, &r)) abort();
    (void)loci_gguf_int_at(f, key, n - 1, &i);
    (void)loci_gguf_real_at(f, key, n - 1, &r);
    if (loci_gguf_texts(f, key, &list, &n, NULL) == LOCI_OK)
        for (int64_t k = 0; k < n; k++)
            if ((const uint8_t *)list[k].data + list[k].len > bytes + size) abort();
    free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    loci_gguf *f;
    loci_error err = { 0 };
    if (loci_gguf_open_memory(&f, bytes, size, "fuzz", &err) != LOCI_OK) {
        if (f || err.code == LOCI_OK || strchr(err.text, '\n')) abort();
        return 0;
    }
    size_t used = 0;
    for (int i = 0; i < loci_gguf_count(f); i++) {
        const loci_gguf_tensor *t = loci_gguf_at(f, i);
        const unsigned char *data = t->data;
        for (size_t k = 0; k < t->bytes; k++) {
            const volatile unsigned char seen = data[k]; /* the sanitizer looks on */
            (void)seen;
        }
        if (loci_gguf_find(f, t->name) != t) abort();
        used += t->bytes;
    }
    if (used > size) abort();
    ask(f, "general.architecture", bytes, size);
    ask(f, "deepseek4.attention.compress_ratios", bytes, size);
    ask(f, "tokenizer.ggml.tokens", bytes, size);
    ask(f, "deepseek4.rope.freq_base", bytes, size);
    loci_gguf_close(f);
    return 0;
}
