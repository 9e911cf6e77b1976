/* test_host_contract.c - calls that gpu.h does not allow, on the host device.
 *
 * Goal: what a GPU would do silently wrong (or only now and then) is said here: each broken rule gives
 * one line in the remembered status that names the op and what was found, and nothing is written, by
 * that call or by those after it.  Method: one right call of an op, then the same with one thing wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "cuda/gpu.h"

static loci_gpu *gpu;

static int open_gpu(void **state)
{
    loci_error err = { 0 };
    (void)state;
    return loci_gpu_open(&gpu, 0, &err) == LOCI_OK ? 0 : -1;
}

static int close_gpu(void **state)
{
    (void)state;
    loci_gpu_close(gpu);
    return 0;
}

static void well(void)
{
    loci_error err = { 0 };
    if (loci_gpu_status(gpu, &err) != LOCI_OK) fail_msg("%s", err.text);
}

/* The calls so far were refused, and the line says `op` and `word`.  Later tests get a device that works. */
static void refused(const char *op, const char *word)
{
    loci_error err = { 0 };
    if (loci_gpu_status(gpu, &err) != LOCI_EINVAL) fail_msg("%s was not refused", op);
    if (!strstr(err.text, op) || !strstr(err.text, word))
        fail_msg("\"%s\" does not name %s and %s", err.text, op, word);
    /* What comes after it is harmless. */
    float before = 1.0f, add = 1.0f;
    loci_gpu_axpy(gpu, &before, &add, 1.0f, 1);
    assert_true(before == 1.0f);
    loci_gpu_close(gpu);
    assert_int_equal(open_gpu(NULL), 0);
}

static void *memory(size_t bytes, int fill)
{
    void *p = loci_gpu_alloc(gpu, bytes);
    assert_non_null(p);
    memset(p, fill, bytes);
    return p;
}

static void test_memory(void **state)
{
    (void)state;
    float *x = loci_gpu_alloc(gpu, 5 * sizeof *x), host[4] = { 1, 2, 3, 4 };
    assert_true((uintptr_t)x % 256 == 0 && isnan(x[0]) && isnan(x[4]));
    loci_gpu_upload(gpu, x, host, sizeof host);
    assert_true(x[3] == 4.0f && isnan(x[4]));
    well();
    loci_gpu_copy(gpu, x + 1, x, 2 * sizeof *x);
    refused("copy", "8 bytes");
    loci_gpu_upload(gpu, NULL, host, sizeof host);
    refused("upload", "16 bytes");
    loci_gpu_mark(gpu, 96);
    refused("mark", "96");
    loci_gpu_free(gpu, x);
}

static void test_gemm(void **state)
{
    (void)state;
    loci_bf16 *a = memory(4096, 0), *b = memory(4096, 0);
    float *c = memory(4096, 1);
    const loci_gpu_gemm_job good = { .c = c,
                                     .a = a,
                                     .b = b,
                                     .ldc = 8,
                                     .lda = 16,
                                     .ldb = 8,
                                     .m = 4,
                                     .n = 8,
                                     .k = 16,
                                     .alpha = 1.0f,
                                     .wide = true };
    loci_gpu_gemm_job j = good;
    loci_gpu_gemm(gpu, &j);
    well();
    assert_true(c[31] == 0.0f && c[32] != 0.0f);
    memset(c, 1, 4096);
    j.lda = 17;
    loci_gpu_gemm(gpu, &j);
    refused("gemm", "17 elements");
    j = good, j.lda = 8;
    loci_gpu_gemm(gpu, &j);
    refused("gemm", "for 16, 8, 8 columns");
    j = good, j.a = a + 4;
    loci_gpu_gemm(gpu, &j);
    refused("gemm", "16 bytes");
    j = good, j.c = a;
    loci_gpu_gemm(gpu, &j);
    refused("gemm", "overlaps");
    assert_true(c[0] != 0.0f && a[0] == 0);
    loci_gpu_free(gpu, a);
    loci_gpu_free(gpu, b);
    loci_gpu_free(gpu, c);
}

static void test_rows(void **state)
{
    (void)state;
    float *x = memory(1024, 0), *y = memory(1024, 0);
    loci_bf16 *h = memory(1024, 0);
    int32_t *at = memory(1024, 0);
    loci_gpu_rmsnorm(gpu, h, 4, NULL, x, 4, 2, 4, 1e-5f);
    well();
    loci_gpu_rmsnorm(gpu, h, 4, NULL, x, 4, 2, 3, 1e-5f);
    refused("rmsnorm", "cols 3");
    loci_gpu_rmsnorm(gpu, h, 4, NULL, x, 5, 2, 4, 1e-5f);
    refused("rmsnorm", "5 elements");
    loci_gpu_swiglu(gpu, h, h + 64, 1, 12);
    refused("swiglu", "12");
    at[0] = 3, at[1] = -1, at[2] = -1;
    loci_gpu_scatter(gpu, x, y, at, 3, 4);
    well();
    at[2] = 3;
    loci_gpu_scatter(gpu, x, y, at, 3, 4);
    refused("scatter", "twice");
    loci_gpu_round_q4(gpu, h, x, 33);
    refused("round_q4", "33");
    at[0] = 2; /* target of the one row, of 2 */
    loci_gpu_cross_entropy(gpu, y, NULL, NULL, x, at, NULL, 0.0f, 1, 2);
    refused("cross_entropy", "target 2 of 2");
    at[0] = 0, x[1] = NAN;
    loci_gpu_cross_entropy(gpu, y, NULL, NULL, x, at, NULL, 0.0f, 1, 2);
    refused("cross_entropy", "not finite");
    at[0] = -1;
    loci_gpu_cross_entropy(gpu, y, NULL, NULL, x, at, NULL, 0.0f, 1, 2);
    well();
    loci_gpu_free(gpu, x);
    loci_gpu_free(gpu, y);
    loci_gpu_free(gpu, h);
    loci_gpu_free(gpu, at);
}

/* Two queries of one head over two keys. */
static void test_attention(void **state)
{
    (void)state;
    loci_bf16 *rows = memory(8 * 64 * sizeof *rows, 0);
    float *lse = memory(64, 0), *wide = memory(4 * 64 * sizeof *wide, 0);
    int32_t range[4][2] = { { 0, 0 }, { 1, 2 }, { 0, 1 }, { 2, 2 } }; /* lo, hi, qlo, qhi */
    loci_gpu_attn a = { .q = rows,
                        .k = rows + 128,
                        .v = rows + 256,
                        .o = rows + 384,
                        .lse = lse,
                        .lo = range[0],
                        .hi = range[1],
                        .qlo = range[2],
                        .qhi = range[3],
                        .ldq = 64,
                        .ldk = 64,
                        .ldv = 64,
                        .ldo = 64,
                        .n_q = 2,
                        .n_k = 2,
                        .heads = 1,
                        .kv_heads = 1,
                        .scale = 0.125f };
    const loci_gpu_attn_grad grad = { .dout = rows,
                                      .dq = rows + 384,
                                      .dk = wide,
                                      .dv = wide + 128,
                                      .delta = lse + 8,
                                      .lddo = 64,
                                      .lddq = 64,
                                      .lddk = 64,
                                      .lddv = 64,
                                      .wide = true };
    loci_gpu_attn_forward(gpu, &a);
    loci_gpu_attn_backward(gpu, &a, &grad);
    well();
    assert_true(fabsf(lse[1] - logf(2.0f)) < 1e-6f);
    range[3][0] = 1; /* key 0 is not for query 1, which sees it */
    loci_gpu_attn_forward(gpu, &a);
    well();
    loci_gpu_attn_backward(gpu, &a, &grad);
    refused("attn_backward", "query 1 sees key 0");
    range[3][0] = 2;
    range[1][1] = 3;
    loci_gpu_attn_forward(gpu, &a);
    refused("attn_forward", "[0, 3) of 2");
    range[1][0] = range[1][1] = 1;
    rows[256 + 64] = 0x7fc0; /* v of key 1, which nobody sees: NaN */
    loci_gpu_attn_forward(gpu, &a);
    refused("attn_forward", "row 1 of 2");
    loci_gpu_free(gpu, rows);
    loci_gpu_free(gpu, lse);
    loci_gpu_free(gpu, wide);
}

/* One query of a sequence of two chunks. */
static void test_router(void **state)
{
    (void)state;
    loci_bf16 *rows = memory(5 * 128 * sizeof *rows, 0);
    float *out = memory(1024, 0);
    int32_t *at = memory(1024, 0xff);
    int32_t lo = 0, hi = 2, end = 2, gold = -1;
    const loci_gpu_score good = { .u = rows,
                                  .lm = rows + 128,
                                  .bias = out,
                                  .tau = out + 8,
                                  .own_lo = &lo,
                                  .own_hi = &hi,
                                  .seq_hi = &end,
                                  .gold = &gold,
                                  .lse_own = out + 16,
                                  .lse_neg = out + 17,
                                  .gold_score = out + 18,
                                  .above = at,
                                  .pick = at + 1,
                                  .pick_score = out + 32,
                                  .n = 1,
                                  .n_chunks = 2,
                                  .top_k = 1 };
    loci_gpu_score s = good;
    loci_gpu_score_forward(gpu, &s);
    well();
    assert_true(s.pick[0] == 0 && s.pick[1] == -1);
    s.top_k = LOCI_GPU_PICKS + 1;
    loci_gpu_score_forward(gpu, &s);
    refused("score_forward", "top_k 17");
    s = good, hi = 3;
    loci_gpu_score_forward(gpu, &s);
    refused("score_forward", "[0, 3)");
    loci_gpu_free(gpu, rows);
    loci_gpu_free(gpu, out);
    loci_gpu_free(gpu, at);
}

/* The lists of one query that picks chunk 1 of 2, by a plan that does not expect it. */
static void test_lists(void **state)
{
    (void)state;
    int32_t start[3], entry[LOCI_GPU_SLOTS], item_start[3], item_chunk[2], counts[2],
        lo = 0, first[2] = { 0, 0 }, last[2] = { 1, 1 }, pick[LOCI_GPU_SLOTS];
    loci_gpu_lists l = { start, entry, item_start, item_chunk,     counts, &lo, first,
                         last,  1,     2,          LOCI_GPU_SLOTS, 2,      2 };
    memset(pick, 0xff, sizeof pick);
    pick[0] = 1;
    loci_gpu_lists_build(gpu, &l, pick);
    well();
    assert_true(start[1] == 0 && start[2] == 1 && entry[0] == 0 && item_chunk[0] == 1);
    l.tile_span = 1;
    loci_gpu_lists_build(gpu, &l, pick);
    refused("lists_build", "chunk 1");
    l.tile_span = 2, last[1] = 0;
    loci_gpu_lists_build(gpu, &l, pick);
    refused("lists_build", "tiles [0, 0)");
    last[1] = 1, l.max_items = 0;
    loci_gpu_lists_build(gpu, &l, pick);
    refused("lists_build", "more than 0 items");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory), cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_attention),
        cmocka_unit_test(test_router), cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
