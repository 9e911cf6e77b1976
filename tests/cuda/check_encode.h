/* check_encode.h - checks of the rows of the chunk encoder. */
#ifndef CHECK_ENCODE_H
#define CHECK_ENCODE_H

#include "check_rows.h"

enum { CHUNK_ROWS = 66 };

typedef struct {
    int n_chunks, tokens, D, e;
    int32_t *row; /* (n_chunks*64) */
} encode_case;

/* Documents fill chunks one after the other, the last of each is not full; every fifth token lies in none. */
static inline encode_case encode_new(int n_chunks, int D, int e)
{
    encode_case x = { n_chunks, 0, D, e, ints((size_t)n_chunks * 64) };
    for (int c = 0; c < n_chunks; c++) {
        const int fill = c % 3 == 0 ? 64 : c % 3 == 1 ? 1 : 1 + below(64);
        for (int j = 0; j < 64; j++) x.row[c * 64 + j] = j < fill ? x.tokens++ : -1;
        x.tokens += c % 2; /* a token without a chunk */
    }
    return x;
}

static inline size_t encode_row(int place)
{
    return (size_t)(place / 64) * CHUNK_ROWS + 2 + place % 64;
}

static const int encode_sizes[][3] = {
    { 1, 8, 8 }, { 2, 64, 32 }, { 5, 130, 50 }, { 3, 512, 256 }
};
#define ENCODE_CASES(run)                                                                          \
    for (int i_case = 0; i_case < COUNT(encode_sizes); i_case++)                                   \
    run(encode_sizes[i_case][0], encode_sizes[i_case][1], encode_sizes[i_case][2])

static inline void place_case(int n_chunks, int D, int e)
{
    const encode_case x = encode_new(n_chunks, D, e);
    const size_t n = (size_t)n_chunks * CHUNK_ROWS * e, tokens = (size_t)x.tokens * e;
    const float *in = random_bf16(tokens, 1.0), *pos = random_f32((size_t)64 * e, 1.0),
                *cls = random_f32(2 * (size_t)e, 1.0);
    float *want = floats(n);
    for (int c = 0; c < n_chunks; c++)
        memcpy(want + (size_t)c * CHUNK_ROWS * e, cls, 2 * (size_t)e * sizeof *cls);
    for (int p = 0; p < n_chunks * 64; p++)
        for (int k = 0; k < e && x.row[p] >= 0; k++)
            want[encode_row(p) * e + k] = in[(size_t)x.row[p] * e + k] + pos[p % 64 * e + k];
    float *z = out_f32(NULL, n);
    const loci_bf16 *from = put_bf16(in, tokens);
    const float *a = put_f32(pos, (size_t)64 * e), *b = put_f32(cls, 2 * (size_t)e);
    const int32_t *row = put_i32(x.row, (size_t)n_chunks * 64);
    TWICE("place") loci_gpu_place(gpu, z, from, a, b, row, n_chunks, e);
    equal_floats("z", get_f32(z, n), want, n);
    done("place");
}

static void check_place(void)
{
    ENCODE_CASES(place_case);
}

static inline void unplace_case(int n_chunks, int D, int e)
{
    const encode_case x = encode_new(n_chunks, D, e);
    const size_t n = (size_t)n_chunks * CHUNK_ROWS * e, tokens = (size_t)x.tokens * e;
    const float *dz = random_bf16(n, 1.0), *before = random_bf16(tokens, 1.0);
    float *want = floats(tokens);
    memcpy(want, before, tokens * sizeof *want);
    for (int p = 0; p < n_chunks * 64; p++)
        if (x.row[p] >= 0)
            memcpy(want + (size_t)x.row[p] * e, dz + encode_row(p) * e, (size_t)e * sizeof *dz);
    loci_bf16 *din = out_bf16(before, tokens);
    const loci_bf16 *from = put_bf16(dz, n);
    const int32_t *row = put_i32(x.row, (size_t)n_chunks * 64);
    TWICE("unplace") loci_gpu_unplace(gpu, din, from, row, n_chunks, e);
    equal_floats("din", get_bf16(din, tokens), want, tokens);
    done("unplace");
}

static void check_unplace(void)
{
    ENCODE_CASES(unplace_case);
}

static inline void cat_case(int n_chunks, int D, int e)
{
    const encode_case x = encode_new(n_chunks, D, e);
    const int places = n_chunks * 64, wide = D + e;
    const size_t n = (size_t)n_chunks * CHUNK_ROWS * e, tokens = (size_t)x.tokens * D;
    const float *xs = random_bf16(tokens, 1.0), *z = random_f32(n, 2.0);
    float *want = floats((size_t)places * wide), *want_inv = floats(places);
    for (int p = 0; p < places; p++) {
        if (x.row[p] < 0) continue;
        memcpy(want + (size_t)p * wide, xs + (size_t)x.row[p] * D, (size_t)D * sizeof *xs);
        loci_rmsnorm_ref(want + (size_t)p * wide + D, e, want_inv + p, z + encode_row(p) * e, e, 1,
                         e, NORM_EPS);
    }
    loci_bf16 *cat = out_bf16(NULL, (size_t)places * wide);
    float *inv = out_f32(NULL, places);
    const loci_bf16 *from = put_bf16(xs, tokens);
    const float *zs = put_f32(z, n);
    const int32_t *row = put_i32(x.row, places);
    TWICE("cat") loci_gpu_cat(gpu, cat, inv, from, zs, row, n_chunks, D, e, NORM_EPS);
    compare("cat", get_bf16(cat, (size_t)places * wide), want, (size_t)places * wide, ONE_ROUNDING);
    compare("inv", get_f32(inv, places), want_inv, places, F32_SUMS);
    done("cat");
}

static void check_cat(void)
{
    ENCODE_CASES(cat_case);
}

static inline void uncat_case(int n_chunks, int D, int e)
{
    const encode_case x = encode_new(n_chunks, D, e);
    const int places = n_chunks * 64, wide = D + e;
    const size_t n = (size_t)n_chunks * CHUNK_ROWS * e, tokens = (size_t)x.tokens * D,
                 all = (size_t)places * wide;
    const float *dcat = random_bf16(all, 1.0), *dx0 = random_bf16(tokens, 1.0),
                *dz0 = random_f32(n, 1.0);
    float *cat = random_bf16(all, 1.0), *inv = random_f32(places, 2.0), *want = floats(n),
          *dx = floats(tokens);
    memcpy(want, dz0, n * sizeof *want); /* the extra rows are unsummary's */
    memcpy(dx, dx0, tokens * sizeof *dx);
    for (int p = 0; p < places; p++) {
        float *d = want + encode_row(p) * e;
        memset(d, 0, (size_t)e * sizeof *d);
        if (x.row[p] < 0) {
            memset(cat + (size_t)p * wide, 0, (size_t)wide * sizeof *cat);
            inv[p] = 0.0f;
            continue;
        }
        loci_rmsnorm_bwd_ref(d, e, dcat + (size_t)p * wide + D, e, cat + (size_t)p * wide + D, e,
                             inv + p, 1, e);
        memcpy(dx + (size_t)x.row[p] * D, dcat + (size_t)p * wide, (size_t)D * sizeof *dx);
    }
    float *dz = out_f32(dz0, n);
    loci_bf16 *out = out_bf16(dx0, tokens);
    const loci_bf16 *d = put_bf16(dcat, all), *y = put_bf16(cat, all);
    const float *f = put_f32(inv, places);
    const int32_t *row = put_i32(x.row, places);
    TWICE("uncat") loci_gpu_uncat(gpu, dz, out, d, y, f, row, n_chunks, D, e);
    compare("dz", get_f32(dz, n), want, n, F32_SUMS);
    equal_floats("dx", get_bf16(out, tokens), dx, tokens);
    done("uncat");
}

static void check_uncat(void)
{
    ENCODE_CASES(uncat_case);
}

static inline void summary_case(int n_chunks, int D, int e)
{
    (void)D;
    const size_t n = (size_t)n_chunks * CHUNK_ROWS * e, two = 2 * (size_t)e;
    const float *z = random_f32(n, 1.0), *w = random_f32(two, 1.0), b = 0.3f;
    float *cls = floats(n_chunks * two), *want = floats(n_chunks);
    for (int c = 0; c < n_chunks; c++) {
        const float *row = z + (size_t)c * CHUNK_ROWS * e;
        for (size_t k = 0; k < two; k++) cls[c * two + k] = bf16_of(row[k]);
        want[c] = (float)(loci_dot_ref(row, w, two) + b);
    }
    loci_bf16 *out = out_bf16(NULL, n_chunks * two);
    float *bias = out_f32(NULL, n_chunks);
    const float *pz = put_f32(z, n), *pw = put_f32(w, two), *pb = put_f32(&b, 1);
    TWICE("summary") loci_gpu_summary(gpu, out, bias, pz, pw, pb, n_chunks, e);
    equal_floats("cls", get_bf16(out, n_chunks * two), cls, n_chunks * two);
    compare("bias", get_f32(bias, n_chunks), want, n_chunks, F32_SUMS);
    done("summary");
}

static void check_summary(void)
{
    ENCODE_CASES(summary_case);
}

static inline void unsummary_case(int n_chunks, int D, int e)
{
    (void)D;
    const size_t n = (size_t)n_chunks * CHUNK_ROWS * e, two = 2 * (size_t)e;
    const float *before = random_f32(n, 1.0), *w = random_f32(two, 1.0),
                *dcls = random_bf16(n_chunks * two, 1.0), *dbias = random_f32(n_chunks, 1.0);
    float *want = floats(n);
    memcpy(want, before, n * sizeof *want); /* token rows are uncat's */
    for (int c = 0; c < n_chunks; c++)
        for (size_t k = 0; k < two; k++)
            want[(size_t)c * CHUNK_ROWS * e + k] = dcls[c * two + k] + dbias[c] * w[k];
    float *dz = out_f32(before, n);
    const loci_bf16 *d = put_bf16(dcls, n_chunks * two);
    const float *db = put_f32(dbias, n_chunks), *pw = put_f32(w, two);
    TWICE("unsummary") loci_gpu_unsummary(gpu, dz, d, db, pw, n_chunks, e);
    compare("dz", get_f32(dz, n), want, n, 1e-6);
    done("unsummary");
}

static void check_unsummary(void)
{
    ENCODE_CASES(unsummary_case);
}

#endif
