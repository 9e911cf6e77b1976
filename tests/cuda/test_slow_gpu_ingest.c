/* test_slow_gpu_ingest.c - ingest on the GPU against ingest.c.
 *
 * Goal: records of documents are the CPU's up to bf16 rounding, of whole documents and of one that is cut
 * into spans, in several batches; what does not fit is refused whole.
 * Method: random parameters rounded to bf16, and the limits of serve_test.h. */
#include "serve_test.h"

/* Documents; the last is cut into three spans, whose second and third need context. */
enum { N_DOCS = 5, LONG = 1000 };
static const int doc_length[N_DOCS] = { 1, 64, 65, 130, LONG };
static const int cut_at[4] = { 0, 448, 640, LONG };

static int chunks_of(int tokens)
{
    return (tokens + 63) / 64;
}

static int all_chunks(void)
{
    int n = 0;
    for (int d = 0; d < N_DOCS; d++) n += chunks_of(doc_length[d]);
    return n;
}

static result new_records(const loci_hparams *hp, float **content, float **landmark, float **bias,
                          float **summary)
{
    result r = { .n = 0 };
    const size_t C = (size_t)all_chunks();
    *content = add_series(&r, "content", C, 64 * 128);
    *landmark = add_series(&r, "landmark", C, 256);
    *bias = add_series(&r, "bias", C, 1);
    *summary = hp->d_summary ? add_series(&r, "summary", C, (size_t)hp->d_summary) : NULL;
    return r;
}

static result ingest_cpu(const loci_hparams *hp, float *base, int32_t *const *ids)
{
    float *content, *landmark, *bias, *summary;
    result r = new_records(hp, &content, &landmark, &bias, &summary);
    loci_model *m;
    loci_error err = { 0 };
    assert_int_equal(loci_model_wrap(&m, hp, base, 0, &err), LOCI_OK);
    void *memory = loci_alloc_aligned(loci_ingest_bytes(hp, 1024));
    loci_ingest *in = loci_ingest_init(hp, 1024, memory);
    for (int d = 0, c = 0; d < N_DOCS; d++) { /* each document in one span */
        loci_ingest_span(in, m, ids[d], 0, 0, doc_length[d], content + (size_t)c * 64 * 128,
                         landmark + (size_t)c * 256, bias + c,
                         summary ? summary + (size_t)c * (size_t)hp->d_summary : NULL);
        c += chunks_of(doc_length[d]);
    }
    loci_free_aligned(memory);
    loci_model_close(m);
    return r;
}

static result ingest_gpu(const loci_hparams *hp, const float *base, int32_t *const *ids)
{
    float *content, *landmark, *bias, *summary;
    result r = new_records(hp, &content, &landmark, &bias, &summary);
    loci_gpu_weights w;
    loci_gpu_ingest *in;
    loci_gpu_span span[N_DOCS + 2];
    int n = 0, done = 0;
    loci_error err = { 0 };
    for (int d = 0; d + 1 < N_DOCS; d++)
        span[n++] = (loci_gpu_span){ .ids = ids[d], .n = doc_length[d] };
    for (int i = 0; i < 3; i++) {
        const int left = loci_ingest_left(hp);
        span[n++] = (loci_gpu_span){ .ids = ids[N_DOCS - 1] + cut_at[i],
                                     .pos = cut_at[i],
                                     .left = cut_at[i] < left ? cut_at[i] : left,
                                     .n = cut_at[i + 1] - cut_at[i] };
    }
    if (loci_gpu_weights_init(&w, gpu, hp, false, &err) != LOCI_OK) fail_msg("%s", err.text);
    loci_gpu_weights_upload(&w, gpu, base);
    if (loci_gpu_ingest_open(&in, gpu, &w, 2048, 64, &err) != LOCI_OK) fail_msg("%s", err.text);
    for (int first = 0; first < n; first += 4) { /* two batches: buffers are used again */
        loci_gpu_records got;
        int chunks = 0;
        const int part = n - first < 4 ? n - first : 4;
        for (int i = first; i < first + part; i++) chunks += chunks_of(span[i].n);
        if (loci_gpu_ingest_start(in, span + first, part, &err) != LOCI_OK ||
            loci_gpu_ingest_finish(in, &got, &err) != LOCI_OK)
            fail_msg("%s", err.text);
        for (int i = 0; i < chunks * 64 * 128; i++)
            content[done * 64 * 128 + i] = loci_bf16_to_f32(got.content[i]);
        for (int i = 0; i < chunks * 256; i++)
            landmark[done * 256 + i] = loci_bf16_to_f32(got.landmark[i]);
        memcpy(bias + done, got.bias, (size_t)chunks * sizeof *bias);
        if (summary)
            memcpy(summary + done * hp->d_summary, got.summary,
                   (size_t)(chunks * hp->d_summary) * sizeof *summary);
        done += chunks;
    }
    assert_int_equal(done, all_chunks());
    /* What does not fit is refused whole, and the next batch is as if nothing had been asked. */
    loci_gpu_span wide = span[n - 1];
    wide.n = 5000;
    assert_int_equal(loci_gpu_ingest_start(in, &wide, 1, &err), LOCI_EINVAL);
    wide = (loci_gpu_span){ .ids = ids[0], .pos = (int64_t)1 << 31, .n = 1 };
    assert_int_equal(loci_gpu_ingest_start(in, &wide, 1, &err), LOCI_EINVAL);
    loci_gpu_ingest_close(in);
    loci_gpu_weights_free(&w, gpu);
    return r;
}

static void check_records(const loci_hparams *shape)
{
    if (!gpu) skip();
    const loci_hparams hp = *shape;
    float *base = make_params(&hp);
    int32_t *ids[N_DOCS];
    result moved[SAMPLES];
    for (int d = 0; d < N_DOCS; d++) ids[d] = random_ids(&hp, (size_t)doc_length[d], SEED + d);
    result cpu = ingest_cpu(&hp, base, ids), got = ingest_gpu(&hp, base, ids);
    for (int k = 0; k < SAMPLES; k++) {
        float *m = moved_params(&hp, base, k);
        moved[k] = ingest_cpu(&hp, m, ids);
        loci_free_aligned(m);
    }
    compare(&cpu, &got, moved);
    for (int k = 0; k < SAMPLES; k++) free_result(&moved[k]);
    free_result(&cpu);
    free_result(&got);
    for (int d = 0; d < N_DOCS; d++) free(ids[d]);
    loci_free_aligned(base);
}

static void test_records(void **state)
{
    (void)state;
    const loci_hparams hp = serve_shape();
    check_records(&hp);
}

static void test_records_with_summaries(void **state)
{
    (void)state;
    const loci_hparams hp = shape_with_summaries();
    check_records(&hp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_records_with_summaries),
    };
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
