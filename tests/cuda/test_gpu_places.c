/* test_gpu_places.c - content of chunks in places on the GPU, which are fewer than the chunks of a bank.
 *
 * Goal: what is read through a place is what was picked, however often places change hands; chunks that
 * are kept stay, others are fetched again.
 * Method: content that says its own number, and its version. */
#include "model_test.h"
#include "model/gpu/gpu_serve_impl.h"

#define SEED UINT64_C(20261127)

static int numbered(void *ctx, int64_t chunk, const float **rows)
{
    float *x = ctx;
    for (int i = 0; i < 128; i++) x[i] = (float)(i < 64 ? 0 : chunk % 251);
    *rows = x;
    return 1;
}

/* A bank of more chunks than LOCI_GPU_SLOTS_KEPT. */
static void test_places_change_hands(void **state)
{
    (void)state;
    if (!gpu) skip();
    enum { N = LOCI_GPU_SLOTS_KEPT + 5000, ROUNDS = 40, PICKED = 3000 };
    loci_error err = { 0 };
    loci_gpu_bank *b;
    float rows[128];
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    if (loci_gpu_bank_open(&b, gpu, N, 4, 0, &err) != LOCI_OK) fail_msg("%s", err.text);
    const loci_gpu_reader r = { .bank = b, .content = numbered, .ctx = rows, .top_k = 16 };
    int32_t *place = malloc(PICKED * sizeof *place);
    int64_t *chunk = malloc(PICKED * sizeof *chunk);
    for (int round = 0; round < ROUNDS; round++) {
        loci_gpu_bank_begin(b);
        for (int i = 0; i < PICKED; i++) {
            chunk[i] = loci_rng_below(&rng, N);
            assert_int_equal(loci_gpu_bank_place(b, &r, chunk[i], &place[i], &err), LOCI_OK);
        }
        loci_gpu_bank_flush(b);
        for (int i = 0; i < PICKED; i += 97) {
            loci_bf16 got[128];
            int32_t n;
            loci_gpu_download(gpu, got, b->content + (size_t)place[i] * 64 * 128, sizeof got);
            loci_gpu_download(gpu, &n, b->n_tokens + place[i], sizeof n);
            assert_int_equal(n, 1);
            assert_true(loci_bf16_to_f32(got[0]) == 0.0f);
            assert_true(loci_bf16_to_f32(got[64]) == (float)(chunk[i] % 251));
        }
    }
    int32_t own;
    assert_int_equal(loci_gpu_bank_place(b, &r, N + 3, &own, &err), LOCI_OK);
    assert_int_equal(own, LOCI_GPU_SLOTS_KEPT + 3);
    loci_gpu_bank_close(b);
    free(place);
    free(chunk);
}

/* Content of version `version` of a chunk, and how often it was asked for. */
typedef struct {
    float rows[128];
    int version, calls;
} versions;

static int versioned(void *ctx, int64_t chunk, const float **rows)
{
    versions *v = ctx;
    for (int i = 0; i < 128; i++) v->rows[i] = (float)(i < 64 ? v->version : chunk % 251);
    *rows = v->rows;
    v->calls++;
    return 1;
}

/* The version that the place of a chunk holds; it must be that chunk's. */
static int version_at(loci_gpu_bank *b, const loci_gpu_reader *r, int64_t chunk)
{
    loci_error err = { 0 };
    loci_bf16 got[128];
    int32_t place;
    loci_gpu_bank_begin(b);
    assert_int_equal(loci_gpu_bank_place(b, r, chunk, &place, &err), LOCI_OK);
    loci_gpu_bank_flush(b);
    loci_gpu_download(gpu, got, b->content + (size_t)place * 64 * 128, sizeof got);
    assert_true(loci_bf16_to_f32(got[64]) == (float)(chunk % 251));
    return (int)loci_bf16_to_f32(got[0]);
}

/* Of chunks that are kept content stays, of the others it is fetched again. */
static void test_some_chunks_are_kept(void **state)
{
    (void)state;
    if (!gpu) skip();
    enum { N = 1000, KEEP = 700 };
    loci_error err = { 0 };
    loci_gpu_bank *b;
    versions v = { .version = 1 };
    int32_t own;
    if (loci_gpu_bank_open(&b, gpu, N, 4, 0, &err) != LOCI_OK) fail_msg("%s", err.text);
    const loci_gpu_reader r = { .bank = b, .content = versioned, .ctx = &v, .top_k = 16 };
    for (int c = 0; c < N; c++) assert_int_equal(version_at(b, &r, c), 1);
    assert_int_equal(v.calls, N);
    v.version = 2;
    assert_true(loci_gpu_bank_keep(b, KEEP, N + 50));
    for (int c = 0; c < N + 50; c++) assert_int_equal(version_at(b, &r, c), c < KEEP ? 1 : 2);
    assert_int_equal(v.calls, N + N + 50 - KEEP);
    const int slots = b->slots;
    assert_int_equal(loci_gpu_bank_place(b, &r, N + 50 + 3, &own, &err), LOCI_OK);
    assert_int_equal(own, slots + 3);
    /* Fewer, and too many: nothing is done then. */
    assert_false(loci_gpu_bank_keep(b, KEEP, 100 * N));
    for (int c = 0; c < KEEP; c++) assert_int_equal(version_at(b, &r, c), 1);
    assert_true(loci_gpu_bank_keep(b, 10, 10));
    assert_int_equal(loci_gpu_bank_place(b, &r, 10, &own, &err), LOCI_OK);
    assert_int_equal(own, slots);
    loci_gpu_bank_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_change_hands),
        cmocka_unit_test(test_some_chunks_are_kept),
    };
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
