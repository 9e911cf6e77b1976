/* fuzz_dsv4_gguf.c - any bytes as a GGUF file of the DeepSeek-V4 family: no shape, or one that
 * passes its own check; every tensor of it that is found lies inside the file and can be read. */
#include <stdlib.h>
#include <string.h>
#include "model/dsv4/files.h"

typedef struct {
    const uint8_t *bytes;
    size_t size;
    const loci_dsv4_source *source;
    int left; /* names still to be asked for: a shape may have a million */
} ask;

static void touch(const ask *a, const void *data, size_t n)
{
    const uint8_t *p = data;
    if (n > 0 && (p < a->bytes || n > (size_t)(a->bytes + a->size - p))) abort();
    for (size_t i = 0; i < n; i += 61) {
        const volatile uint8_t seen = p[i]; /* the sanitizer looks on */
        (void)seen;
    }
}

static void one(void *ctx, const char *name, int rows, int cols, dsv4_role role)
{
    ask *a = ctx;
    loci_dsv4_mat m;
    loci_error err = { 0 };
    const int32_t *ids = NULL;
    if (a->left-- <= 0) return;
    if (role == DSV4_IDS) {
        if (a->source->find_ids(a->source->ctx, name, rows, cols, &ids, &err) == LOCI_OK && ids)
            touch(a, ids, (size_t)rows * (size_t)cols * sizeof *ids);
        return;
    }
    if (a->source->find(a->source->ctx, name, &m, &err) != LOCI_OK) {
        if (m.data || !err.text[0]) abort();
        return;
    }
    if (m.data) touch(a, m.data, (size_t)m.rows * m.row_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    loci_gguf *f;
    loci_dsv4_hparams hp;
    loci_dsv4_source source;
    loci_error err = { 0 };
    if (loci_gguf_open_memory(&f, bytes, size, "fuzz", &err) != LOCI_OK) return 0;
    const loci_status st = loci_dsv4_config_gguf(&hp, f, &err);
    if (st != LOCI_OK && (err.code == LOCI_OK || strchr(err.text, '\n') || hp.n_layers)) abort();
    if (st == LOCI_OK) {
        if (loci_dsv4_hparams_check(&hp, "fuzz", NULL) != LOCI_OK) abort();
        if (loci_dsv4_source_gguf(&source, f, NULL) == LOCI_OK) {
            ask a = { bytes, size, &source, 2000 };
            dsv4_each_tensor(&hp, one, &a);
            loci_dsv4_source_free(&source);
        }
    }
    loci_gguf_close(f);
    return 0;
}
