/* fuzz_weights.c - any bytes as the model.safetensors of a small model: refused in one line, or every
 * matrix can be read, multiplied with and packed, whatever type it is stored in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "model/model_impl.h"

static const char *const names[] = { "config.json", "tokenizer.json", "model.safetensors" };
static char dir[] = "/tmp/loci-fuzz-XXXXXX";

static void must(int ok)
{
    if (!ok) abort();
}

static void put(const char *name, const void *bytes, size_t n)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    must(f != NULL);
    must(fwrite(bytes, 1, n, f) == n);
    must(fclose(f) == 0);
}

static void leave(void)
{
    char path[64];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* No Read blocks, one layer a stack: a file of 20 KB in 4 bits. */
static void shape_of(loci_hparams *hp)
{
    loci_hparams_default(hp);
    hp->vocab = 32;
    hp->d_model = 32;
    hp->n_heads = hp->n_kv_heads = 1;
    hp->n_lower = hp->n_upper = 1;
    hp->n_groups = 0;
    hp->ffn = 32;
}

static void enter(void)
{
    char path[64];
    loci_hparams hp;
    shape_of(&hp);
    must(mkdtemp(dir) != NULL);
    atexit(leave);
    snprintf(path, sizeof path, "%s/%s", dir, names[0]);
    must(loci_hparams_save(&hp, path, NULL) == LOCI_OK);
    put(names[1], "{}", 2);
}

static void use(loci_model *m, float *base)
{
    float x[2 * 64] = { 1.0f }, y[2 * 128];
    static const loci_compute compute[] = { LOCI_COMPUTE_F32, LOCI_COMPUTE_AUTO };
    must(loci_model_widen(m, base, NULL) == LOCI_OK);
    for (int i = 0; i < 2; i++) {
        must(loci_model_prepare(m, compute[i], NULL) == LOCI_OK);
        loci_linear(m, y, 32, x, 64, &m->p.upper[0].o, 1 + i);
        loci_linear(m, y, 128, x, 32, &m->p.lower[0].kv, 2 - i);
        loci_linear(m, y, 32, x, 32, &m->p.embed, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static float *base;
    loci_model *m;
    loci_hparams hp;
    loci_error err = { 0 };
    if (!base) {
        enter();
        shape_of(&hp);
        base = loci_alloc_aligned(loci_param_floats(&hp) * sizeof *base);
        must(base != NULL);
    }
    put(names[2], bytes, size);
    if (loci_model_open(&m, dir, 0, &err) != LOCI_OK) {
        must(m == NULL && err.code != LOCI_OK && !strchr(err.text, '\n'));
        return 0;
    }
    use(m, base);
    loci_model_close(m);
    return 0;
}
