/* test_packed.c - a model that computes in int8: exact where integers are, near f32 where they are not.
 *
 * Goals:
 *   - a product is what its definition says, worked out in double from the unpacked weights
 *   - logits and records have the same bits however the tokens are cut into batches and spans and
 *     however many threads share the products; the reference kernels in f32 as well
 *   - an f32 model packed on the fly has the numbers of its int8 copy; one stored in 4 bits those of
 *     its file
 *   - a token allocates nothing once the stream is there, with a pool or without
 * Method: the small model of stream_model.h with a question over a bank. */
#include "stream_model.h"
#include "kernel/number.h"

enum { SEED = 31, TOKENS = 300, BANKED = 5 * 64 + 11 };

static const struct {
    const char *name;
    loci_compute compute;
    unsigned flags; /* of the kernels */
    bool stored;    /* in 4 bits, else f32 */
} paths[] = {
    { "int8", LOCI_COMPUTE_INT8, ~0u, false },
    { "int8, avx2", LOCI_COMPUTE_INT8, LOCI_CPU_AVX2, false },
    { "int4", LOCI_COMPUTE_INT4, ~0u, false },
    { "stored int4", LOCI_COMPUTE_AUTO, ~0u, true },
    { "int8, ref", LOCI_COMPUTE_INT8, 0, false },
    { "f32, ref", LOCI_COMPUTE_F32, 0, false },
};
enum { PATHS = (int)(sizeof paths / sizeof paths[0]), INT4 = 2, STORED = 3 };

/* The model of a file with the weights of r in 4 bits, in the place of r's own. */
static void store_four(random_model *r)
{
    static const char *const name[] = { "tokenizer.json", "config.json", "model.safetensors" };
    char dir[] = "/tmp/loci-packed-XXXXXX", path[64];
    loci_error err = { 0 };
    loci_model *m;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/%s", dir, name[0]);
    assert_int_equal(loci_file_replace(NULL, path, "{}", 2, &err), LOCI_OK);
    if (loci_model_save(r->m, dir, LOCI_U8, NULL, &err) != LOCI_OK) fail_msg("%s", err.text);
    if (loci_model_open(&m, dir, 0, &err) != LOCI_OK) fail_msg("%s", err.text);
    loci_model_close(r->m);
    r->m = m; /* the mapping outlives the names */
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, name[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(remove(dir), 0);
}

static random_model packed_model(const loci_hparams *hp, int path)
{
    random_model r = random_model_open(hp, SEED);
    loci_error err = { 0 };
    if (paths[path].stored) store_four(&r);
    loci_kernels_init(&r.m->k, paths[path].flags & loci_cpu_detect());
    if (loci_model_prepare(r.m, paths[path].compute, &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_int_equal(r.m->packed != NULL, paths[path].compute != LOCI_COMPUTE_F32);
    assert_int_equal(r.m->p.upper[0].q.packed4 != NULL, path == INT4 || path == STORED);
    assert_int_equal(r.m->p.embed.packed4 != NULL, path == INT4 || path == STORED);
    assert_null(r.m->p.lower[0].q.packed4);
    assert_null(r.m->p.enc.content.packed4);
    assert_null(r.m->p.read[0].router1.packed4);
    return r;
}

static loci_hparams packed_hparams(void)
{
    loci_hparams hp = stream_hparams();
    hp.d_summary = 48;
    hp.vocab = 1000; /* a head of several tiles */
    return hp;
}

/* ---- products ------------------------------------------------------------------------------- */

/* Row j of w as the definition rounds it: as stored in 4 bits, else quant_q8, or quant_q4 in 4 bits. */
static void rounded_row(const loci_model *m, const loci_mat *w, int j, double *row)
{
    const float *x = (const float *)w->data + (size_t)j * (size_t)w->cols;
    if (w->type == LOCI_U8) {
        const uint8_t *q = (const uint8_t *)w->data + (size_t)(j * w->cols / 2);
        for (int c = 0; c < w->cols; c++)
            row[c] = ((q[c / 2] >> (c % 2 * 4) & 15) - 8) *
                     (double)loci_f16_to_f32(w->half[(j * w->cols + c) / 32]);
    } else if (w->packed4) {
        uint8_t q[256];
        uint16_t half[16];
        m->k.quant_q4(q, w->cols / 2, half, w->cols / 32, x, w->cols, 1, w->cols);
        for (int c = 0; c < w->cols; c++)
            row[c] = ((q[c / 2] >> (c % 2 * 4) & 15) - 8) * (double)loci_f16_to_f32(half[c / 32]);
    } else {
        int8_t q[512];
        float scale;
        m->k.quant_q8(q, w->cols, &scale, x, w->cols, 1, w->cols);
        for (int c = 0; c < w->cols; c++) row[c] = q[c] * (double)scale;
    }
}

/* y = sum_c w[j,c] x[i,c] from the definition; some roundings of f32 a group are allowed. */
static void expect_product(const loci_model *m, const loci_mat *w, const float *x, int rows,
                           const float *y, const char *what)
{
    int8_t q[512];
    float sx;
    double *row = room((size_t)w->rows * (size_t)w->cols * sizeof *row);
    for (int j = 0; j < w->rows; j++) rounded_row(m, w, j, row + (size_t)j * (size_t)w->cols);
    for (int i = 0; i < rows; i++) {
        m->k.quant_q8(q, w->cols, &sx, x + (size_t)i * (size_t)w->cols, w->cols, 1, w->cols);
        for (int j = 0; j < w->rows; j++) {
            double want = 0.0, size = 0.0;
            for (int c = 0; c < w->cols; c++) {
                const double v = q[c] * (double)sx * row[(size_t)j * (size_t)w->cols + (size_t)c];
                want += v;
                size += fabs(v);
            }
            const double got = y[(size_t)i * (size_t)w->rows + (size_t)j];
            if (!(fabs(got - want) <= 8 * 0x1p-24 * size))
                fail_msg("%s: row %d, output %d: %.9g, should be %.9g", what, i, j, got, want);
        }
    }
    loci_free_aligned(row);
}

static void products(void **state)
{
    enum { ROWS = 1100 }; /* more than are quantised at once */
    const loci_hparams hp = packed_hparams();
    (void)state;
    for (int path = 0; path < PATHS - 1; path++) {
        random_model r = packed_model(&hp, path);
        const bool four = path == INT4 || path == STORED;
        const loci_mat *w = four ? &r.m->p.upper[1].o : &r.m->p.enc.content; /* 128 columns */
        const int n = w->rows, rest = n - 32;
        float *x = room((size_t)ROWS * 128 * sizeof *x), *add = room((size_t)ROWS * 80 * sizeof *x);
        float *y = room((size_t)ROWS * 80 * sizeof *y);
        loci_rng rng;
        loci_rng_seed(&rng, 3);
        assert_int_equal(w->cols, 128);
        assert_int_equal(n, four ? 64 : 80);
        assert_true(four ? w->packed4 != NULL : w->packed != NULL);
        for (int i = 0; i < ROWS * 128; i++) x[i] = (float)loci_rng_normal(&rng);
        loci_linear(r.m, y, w->rows, x, 128, w, ROWS);
        expect_product(r.m, w, x, ROWS, y, paths[path].name);
        for (int i = 0; i < ROWS * n; i++) add[i] = 1.0f;
        loci_linear_add(r.m, add, NULL, x, w, ROWS);
        for (int i = 0; i < ROWS * n; i++) assert_true(add[i] == 1.0f + y[i]);
        /* Part of a matrix; several products at once. */
        const loci_mat low = loci_mat_rows(w, 0, 32), high = loci_mat_rows(w, 32, rest);
        float *a = room(32 * 7 * sizeof *a), *b = room(48 * 7 * sizeof *b);
        const loci_product both[] = { { &low, a, 32 }, { &high, b, rest } };
        loci_linear_all(r.m, both, 2, x, 128, 7);
        for (int i = 0; i < 7; i++) {
            assert_memory_equal(a + i * 32, y + i * n, 32 * sizeof *a);
            assert_memory_equal(b + i * rest, y + i * n + 32, (size_t)rest * sizeof *b);
        }
        /* Where a part does not begin at a panel, it is the f32 product. */
        assert_null(loci_mat_rows(w, 8, 8).packed);
        assert_null(loci_mat_rows(w, 8, 8).packed4);
        loci_free_aligned(x);
        loci_free_aligned(y);
        loci_free_aligned(add);
        loci_free_aligned(a);
        loci_free_aligned(b);
        random_model_close(&r);
    }
}

/* ---- the same bits ---------------------------------------------------------------------------- */

/* Logits (TOKENS, vocab) of the stream over a bank, in batches of `part` (0: drawn from 1 to -most). */
static void stream_over_bank(const loci_model *m, plain_bank *b, const int32_t *ids, int batch,
                             uint64_t seed, float *out)
{
    const loci_memory memory = plain_memory(b);
    chat c = chat_open(m, batch, &memory);
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    for (int at = 0; at < TOKENS;) {
        const int most = TOKENS - at < batch ? TOKENS - at : batch;
        const int n = seed ? 1 + (int)loci_rng_below(&rng, (uint32_t)most) : most;
        chat_extend(&c, m, ids + at, n, out + (size_t)at * (size_t)m->hp.vocab);
        at += n;
    }
    chat_close(&c);
}

static void same_bits(void **state)
{
    const loci_hparams hp = packed_hparams();
    const size_t n = TOKENS * (size_t)hp.vocab, content = 6 * 64 * 80;
    int32_t *ids = random_ids(BANKED + TOKENS, hp.vocab, 5);
    float *want = room(n * sizeof *want), *got = room(n * sizeof *got);
    (void)state;
    for (int path = 0; path < PATHS; path++) {
        random_model r = packed_model(&hp, path);
        plain_bank b = plain_bank_open(&hp), other = plain_bank_open(&hp);
        plain_bank_add(&b, r.m, ids, BANKED, 6 * 64);
        for (int span = 64; span <= 192; span += 64) { /* the context is cut, and is not */
            other.n = other.n_docs = 0;
            plain_bank_add(&other, r.m, ids, BANKED, span);
            if (memcmp(b.content, other.content, content * sizeof(float)) != 0 ||
                memcmp(b.landmark, other.landmark, 6 * 256 * sizeof(float)) != 0 ||
                memcmp(b.bias, other.bias, 6 * sizeof(float)) != 0 ||
                memcmp(b.summary, other.summary, 6 * 48 * sizeof(float)) != 0)
                fail_msg("%s: spans of %d tokens give other records", paths[path].name, span);
        }
        stream_over_bank(r.m, &b, ids + BANKED, TOKENS, 0, want);
        const int batches[] = { 1, 2, 3, 17, 100, 256 };
        for (int i = 0; i < 6; i++) {
            if (paths[path].flags == 0 && i % 2) continue; /* slow */
            stream_over_bank(r.m, &b, ids + BANKED, batches[i], (uint64_t)(i % 3), got);
            if (memcmp(want, got, n * sizeof *got) != 0)
                fail_msg("%s: batches of %d give other logits", paths[path].name, batches[i]);
        }
        for (int threads = 1; threads <= 3 && path <= STORED; threads++) {
            loci_error err = { 0 };
            assert_int_equal(loci_pool_open(&r.m->pool, threads, &err), LOCI_OK);
            stream_over_bank(r.m, &b, ids + BANKED, 50, 9, got);
            loci_pool_close(r.m->pool);
            r.m->pool = NULL;
            if (memcmp(want, got, n * sizeof *got) != 0)
                fail_msg("%s: %d threads give other logits", paths[path].name, threads);
        }
        plain_bank_close(&b);
        plain_bank_close(&other);
        random_model_close(&r);
    }
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
}

/* ---- how far from f32 ------------------------------------------------------------------------- */

/* Rounding to 127 steps costs each number of a dot product up to 1/254 of the largest: some percent of
 * a logit after four layers, and 7 steps of the weights 18 times that at most; a scale or a sum that is
 * wrong costs all of it. */
static void near_f32(void **state)
{
    static const struct {
        int path;
        double most;
    } form[] = { { PATHS - 1, 0.0 }, { 0, 0.15 }, { INT4, 0.7 }, { STORED, 0.7 } };
    const loci_hparams hp = packed_hparams();
    const size_t n = TOKENS * (size_t)hp.vocab;
    int32_t *ids = random_ids(BANKED + TOKENS, hp.vocab, 5);
    float *f32 = room(n * sizeof *f32), *got = room(n * sizeof *got);
    (void)state;
    for (int i = 0; i < 4; i++) {
        random_model r = packed_model(&hp, form[i].path);
        plain_bank b = plain_bank_open(&hp);
        plain_bank_add(&b, r.m, ids, BANKED, 6 * 64);
        stream_over_bank(r.m, &b, ids + BANKED, TOKENS, 0, i ? got : f32);
        plain_bank_close(&b);
        random_model_close(&r);
        double error = 0.0, size = 0.0;
        for (size_t j = 0; j < n && i; j++) {
            error += ((double)f32[j] - got[j]) * ((double)f32[j] - got[j]);
            size += (double)f32[j] * f32[j];
        }
        if (i == 0) continue;
        print_message("  %s: off by %.3g of the logits\n", paths[form[i].path].name,
                      sqrt(error / size));
        assert_true(sqrt(error / size) < form[i].most);
    }
    loci_free_aligned(ids);
    loci_free_aligned(f32);
    loci_free_aligned(got);
}

/* ---- f32 packed on the fly -------------------------------------------------------------------- */

static void as_the_int8_copy(void **state)
{
    const loci_hparams hp = packed_hparams();
    random_model r = packed_model(&hp, 0);
    loci_error err = { 0 };
    loci_model *copy;
    char dir[] = "/tmp/loci-packed-XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    assert_int_equal(loci_file_replace(NULL, path, "{}", 2, &err), LOCI_OK);
    assert_int_equal(loci_model_save(r.m, dir, LOCI_I8, NULL, &err), LOCI_OK);
    if (loci_model_open(&copy, dir, loci_cpu_detect(), &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_null(copy->p.embed.packed);
    assert_int_equal(loci_model_prepare(copy, LOCI_COMPUTE_F32, &err), LOCI_OK);
    assert_null(copy->packed);
    assert_int_equal(loci_model_prepare(copy, LOCI_COMPUTE_AUTO, &err), LOCI_OK);
    loci_param_info list[256];
    const int n = loci_param_list(&hp, list, 256);
    int packed = 0;
    for (int i = 0; i < n; i++) {
        const loci_mat *a = (const loci_mat *)(const void *)((char *)&r.m->p + list[i].offset);
        const loci_mat *b = (const loci_mat *)(const void *)((char *)&copy->p + list[i].offset);
        assert_int_equal(!a->packed, !b->packed);
        if (!a->packed) continue;
        packed++;
        assert_memory_equal(a->packed->data, b->packed->data, loci_w8_bytes(a->rows, a->cols));
        assert_memory_equal(a->packed->scale, b->packed->scale, (size_t)a->rows * sizeof(float));
        assert_memory_equal(a->packed->sum, b->packed->sum, (size_t)a->rows * sizeof(int32_t));
    }
    assert_true(packed > 20);
    loci_model_close(copy);
    random_model_close(&r);
    const char *const files[] = { "tokenizer.json", "config.json", "model.safetensors" };
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(remove(dir), 0);
}

/* AUTO leaves what is not stored as int8 in f32. */
static void automatic(void **state)
{
    const loci_hparams hp = packed_hparams();
    random_model r = random_model_open(&hp, SEED);
    loci_error err = { 0 };
    (void)state;
    assert_int_equal(loci_model_prepare(r.m, LOCI_COMPUTE_AUTO, &err), LOCI_OK);
    assert_null(r.m->packed);
    assert_null(r.m->p.lower[0].q.packed);
    random_model_close(&r);
}

/* ---- allocations ---------------------------------------------------------------------------- */

/* Sanitizers have an allocator of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTED 0
static int allocations;
#else
#define COUNTED 1
static _Atomic int allocations;
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
    allocations++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    allocations++;
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    allocations++;
    return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
    allocations++;
    *p = __libc_memalign(align, n);
    return *p ? 0 : 12; /* ENOMEM */
}
#endif

static void allocates_nothing(void **state)
{
    const loci_hparams hp = packed_hparams();
    int32_t *ids = random_ids(BANKED + TOKENS, hp.vocab, 5);
    float *logits = room((size_t)hp.vocab * sizeof *logits);
    (void)state;
    const int before_all = allocations;
    void *volatile kept = malloc(1); /* volatile: or the compiler leaves both calls out */
    free(kept);
    assert_int_equal(allocations - before_all, COUNTED);
    for (int path = 0; path < PATHS; path++)
        for (int threads = 0; threads <= 2; threads++) {
            loci_error err = { 0 };
            random_model r = packed_model(&hp, path);
            plain_bank b = plain_bank_open(&hp);
            plain_bank_add(&b, r.m, ids, BANKED, 6 * 64);
            if (threads) assert_int_equal(loci_pool_open(&r.m->pool, threads, &err), LOCI_OK);
            const loci_memory memory = plain_memory(&b);
            chat c = chat_open(r.m, 16, &memory);
            const int before = allocations;
            for (int t = 0; t < 150; t++) chat_extend(&c, r.m, ids + BANKED + t, 1, logits);
            if (allocations != before)
                fail_msg("%s, %d threads: %d allocations in 150 tokens", paths[path].name, threads,
                         allocations - before);
            chat_close(&c);
            loci_pool_close(r.m->pool);
            plain_bank_close(&b);
            random_model_close(&r);
        }
    loci_free_aligned(ids);
    loci_free_aligned(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),  cmocka_unit_test(same_bits),
        cmocka_unit_test(near_f32),  cmocka_unit_test(as_the_int8_copy),
        cmocka_unit_test(automatic), cmocka_unit_test(allocates_nothing),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
