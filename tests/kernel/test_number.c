/* Goal: every code of every stored number means what its definition says, and every rounding goes
 * to the nearest code.  Method: tables made here from the definitions with ldexp, all 256 codes of
 * E4M3 and E8M0, all 16 of E2M1, all 65536 of F16; roundings at every code, every midpoint and the
 * floats beside them; blocks of GGUF written field by field from their description; quantisers at
 * the edges of their scales, against a search over all codes. */
#include "kernel_test.h"
#include "kernel/number.h"
#include "kernel/stored.h"

/* ---- definitions ------------------------------------------------------------------------------ */

/* sign * 2^(1-bias) * m / 2^M for e = 0, else sign * 2^(e-bias) * (1 + m / 2^M). */
static double of_fields(int sign, int e, int m, int bias, int m_bits)
{
    const double v =
        e == 0 ? ldexp(m, 1 - bias - m_bits) : ldexp((1 << m_bits) + m, e - bias - m_bits);
    return sign ? -v : v;
}

static double e4m3(int b)
{
    return (b & 127) == 127 ? NAN : of_fields(b >> 7, b >> 3 & 15, b & 7, 7, 3);
}

static double e2m1(int b)
{
    static const double size[8] = { 0, 0.5, 1, 1.5, 2, 3, 4, 6 };
    return b & 8 ? -size[b & 7] : size[b & 7];
}

static bool same(float got, double want)
{
    if (isnan(want)) return isnan(got);
    return (double)got == want && !signbit(got) == !signbit(want);
}

static void test_codes(void **state)
{
    (void)state;
    for (int b = 0; b < 256; b++) {
        if (!same(loci_e4m3_to_f32((uint8_t)b), e4m3(b)))
            fail_msg("E4M3 %02x: %g, should be %g", b, loci_e4m3_to_f32((uint8_t)b), e4m3(b));
        const double scale = b == 255 ? NAN : ldexp(1, b - 127);
        if (!same(loci_e8m0_to_f32((uint8_t)b), scale)) fail_msg("E8M0 %02x", b);
    }
    for (int b = 0; b < 16; b++)
        if (!same(loci_e2m1_to_f32((unsigned)b), e2m1(b))) fail_msg("E2M1 %x", b);
    for (int h = 0; h < 65536; h++) {
        const int e = h >> 10 & 31, m = h & 1023;
        const double v = e == 31 ? (m         ? NAN
                                    : h >> 15 ? -INFINITY
                                              : INFINITY)
                                 : of_fields(h >> 15, e, m, 15, 10);
        if (!same(loci_f16_to_f32((uint16_t)h), v)) fail_msg("F16 %04x", h);
    }
    assert_true(same(loci_e4m3_to_f32(0x7e), 448) && same(loci_e4m3_to_f32(1), 0x1p-9));
}

/* ---- rounding --------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int n; /* codes of one sign, in order of size */
    double (*value)(int code);
    float (*round)(float v);
} format;

static const format formats[] = { { "E4M3", 127, e4m3, loci_round_e4m3 },
                                  { "E2M1", 8, e2m1, loci_round_e2m1 } };

static int code_of(const format *f, float v)
{
    return f->n == 8 ? (int)loci_e2m1_code(v) : loci_e4m3_code(v);
}

/* v and -v both go to the code (of a positive number), and the code's bits are right. */
static void goes_to(const format *f, double v, int code)
{
    const float x = (float)v;
    const int sign = f->n == 8 ? 8 : 128;
    assert_true((double)x == v);
    if (!same(f->round(x), f->value(code)) || !same(f->round(-x), -f->value(code)))
        fail_msg("%s: %.9g went to %.9g, should go to %.9g", f->name, x, f->round(x),
                 f->value(code));
    if (code_of(f, f->round(x)) != code || code_of(f, f->round(-x)) != (code | sign))
        fail_msg("%s: %.9g has code %x, should be %x", f->name, x, code_of(f, f->round(x)), code);
}

static void test_rounding(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT(formats); i++) {
        const format *f = &formats[i];
        for (int c = 0; c + 1 < f->n; c++) {
            const double low = f->value(c), high = f->value(c + 1), middle = (low + high) / 2;
            goes_to(f, low, c);
            goes_to(f, nextafterf((float)low, (float)high), c);
            goes_to(f, nextafterf((float)middle, (float)low), c);
            goes_to(f, middle, c % 2 ? c + 1 : c); /* ties to the even code */
            goes_to(f, nextafterf((float)middle, (float)high), c + 1);
            goes_to(f, nextafterf((float)high, (float)low), c + 1);
        }
        const int last = f->n - 1;
        goes_to(f, f->value(last), last);
        goes_to(f, nextafterf((float)f->value(last), INFINITY), last);
        goes_to(f, 0x1p100, last);
        goes_to(f, INFINITY, last);
        goes_to(f, 0x1p-149, 0);
        assert_true(isnan(f->round(NAN)));
    }
    assert_int_equal(loci_e4m3_code(NAN), 0x7f);
}

/* Every half is its own nearest, and what lies between two goes to the nearer, ties to the even. */
static void test_to_f16(void **state)
{
    (void)state;
    for (int h = 0; h < 0x7c00; h++) {
        const float low = loci_f16_to_f32((uint16_t)h);
        const float high = h < 0x7bff ? loci_f16_to_f32((uint16_t)(h + 1)) : 65536.0f;
        const float middle = low + (high - low) / 2;
        assert_int_equal(loci_f32_to_f16(low), h);
        assert_int_equal(loci_f32_to_f16(-low), h | 0x8000);
        assert_int_equal(loci_f32_to_f16(nextafterf(middle, low)), h);
        assert_int_equal(loci_f32_to_f16(middle), h + h % 2);
        assert_int_equal(loci_f32_to_f16(nextafterf(middle, high)), h + 1); /* 0x7c00: infinity */
    }
    assert_int_equal(loci_f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(loci_f32_to_f16(-0x1p-149f), 0x8000);
    assert_true(isnan(loci_f16_to_f32(loci_f32_to_f16(NAN))));
}

static void test_pow2ceil(void **state)
{
    (void)state;
    for (int e = -126; e <= 126; e++) {
        const float p = ldexpf(1, e);
        assert_true(loci_pow2ceil(p) == p);
        assert_true(loci_pow2ceil(nextafterf(p, INFINITY)) == 2 * p);
        if (e > -126) assert_true(loci_pow2ceil(nextafterf(p, 0)) == p);
        assert_true(loci_pow2ceil(1.5f * p) == 2 * p);
        assert_int_equal(loci_pow2_to_e8m0(p), e + 127);
        assert_true(loci_e8m0_to_f32(loci_pow2_to_e8m0(p)) == p);
    }
}

/* ---- stored matrices ---------------------------------------------------------------------------- */

static void expect_row(const loci_stored *w, int r, const double *want)
{
    float x[512];
    loci_stored_row(x, w, r);
    for (int c = 0; c < w->cols; c++)
        if (!same(x[c], want[c]))
            fail_msg("%s [%d,%d]: %.9g, should be %.9g", loci_stored_name(w->type), r, c, x[c],
                     want[c]);
}

static loci_stored stored(loci_stored_type type, const void *data, const uint8_t *scale, int rows,
                          int cols)
{
    return (loci_stored){ data, scale, loci_stored_row_bytes(type, cols), rows, cols, type };
}

/* Every E4M3 code under every scale of a (129 x 129) matrix of four tiles; every byte of E2M1. */
static void test_scaled_codes(void **state)
{
    static uint8_t code[129 * 129], fp4[4 * 32], tile[4] = { 0, 127, 254, 119 };
    double want[129];
    (void)state;
    for (int i = 0; i < 129 * 129; i++) code[i] = (uint8_t)(i % 255 == 127 ? 0 : i % 255);
    const loci_stored w = stored(LOCI_STORED_E4M3, code, tile, 129, 129);
    for (int r = 0; r < 129; r++) {
        for (int c = 0; c < 129; c++) {
            /* 448 * 2^127 is beyond f32, as its product is */
            const double v = e4m3(code[129 * r + c]) * ldexp(1, tile[r / 128 * 2 + c / 128] - 127);
            want[c] = (double)(float)v;
        }
        expect_row(&w, r, want);
    }
    for (int i = 0; i < 128; i++) fp4[i] = (uint8_t)(i * 2 + i / 64);
    static const uint8_t scale[8] = { 0, 1, 100, 127, 128, 200, 250, 251 };
    const loci_stored v = stored(LOCI_STORED_E2M1, fp4, scale, 4, 64);
    for (int r = 0; r < 4; r++) {
        for (int c = 0; c < 64; c++) {
            const int byte = fp4[32 * r + c / 2], half = c % 2 ? byte / 16 : byte % 16;
            want[c] = e2m1(half) * ldexp(1, scale[2 * r + c / 32] - 127);
        }
        expect_row(&v, r, want);
    }
    const loci_stored plain = stored(LOCI_STORED_E2M1, fp4, NULL, 4, 64);
    for (int c = 0; c < 64; c++) want[c] = e2m1(c % 2 ? fp4[c / 2] / 16 : fp4[c / 2] % 16);
    expect_row(&plain, 0, want);
}

static void put_half(uint8_t *p, int e, int m) /* 2^e (1 + m/1024) */
{
    p[0] = (uint8_t)m;
    p[1] = (uint8_t)((e + 15) << 2 | m >> 8);
}

/* Two blocks each; fields chosen here and written where the format's description says. */
static void test_gguf_blocks(void **state)
{
    uint8_t q8[68], mx[34], q4[288], q2[168];
    double want[512];
    (void)state;
    for (int b = 0; b < 2; b++) {
        put_half(q8 + 34 * b, 3 - 9 * b, 77 + b);
        mx[17 * b] = (uint8_t)(b ? 254 : 1);
        for (int i = 0; i < 32; i++) {
            const int q = i == 0 ? -128 : i == 1 ? 127 : i * 5 - 80, code = (i * 7 + b) % 16;
            q8[34 * b + 2 + i] = (uint8_t)(q & 255);
            want[32 * b + i] = ldexp(1024 + 77 + b, 3 - 9 * b - 10) * q;
            want[64 + 32 * b + i] = (double)(float)(e2m1(code) * ldexp(1, mx[17 * b] - 127));
            uint8_t *byte = &mx[17 * b + 1 + i % 16];
            *byte = (uint8_t)(i < 16 ? code : *byte | code << 4);
        }
    }
    const loci_stored w8 = stored(LOCI_STORED_Q8_0, q8, NULL, 1, 64);
    const loci_stored wm = stored(LOCI_STORED_MXFP4, mx, NULL, 1, 64);
    expect_row(&w8, 0, want);
    expect_row(&wm, 0, want + 64);

    memset(q4, 0, sizeof q4);
    for (int b = 0; b < 2; b++) {
        uint8_t *p = q4 + 144 * b;
        put_half(p, -4 + b, 100);
        put_half(p + 2, -6, 500 + b);
        const double d = ldexp(1124, -14 + b), dmin = ldexp(1524 + b, -16);
        for (int s = 0; s < 8; s++) {
            const int scale = (s * 9 + 5 + 33 * b) % 64, min = (62 - s * 7 + b) % 64;
            if (s < 4) {
                p[4 + s] |= (uint8_t)scale;
                p[8 + s] |= (uint8_t)min;
            } else { /* low four bits together, high two on top of the first four */
                p[8 + s] |= (uint8_t)(scale % 16 + min % 16 * 16);
                p[s] |= (uint8_t)(scale / 16 * 64);
                p[4 + s] |= (uint8_t)(min / 16 * 64);
            }
            for (int i = 0; i < 32; i++) {
                const int q = (i * 11 + s + b) % 16;
                p[16 + s / 2 * 32 + i] |= (uint8_t)(s % 2 ? q * 16 : q);
                want[256 * b + 32 * s + i] = (double)(float)(d * scale * q - dmin * min);
            }
        }
    }
    const loci_stored w4 = stored(LOCI_STORED_Q4_K, q4, NULL, 1, 512);
    expect_row(&w4, 0, want);

    memset(q2, 0, sizeof q2);
    for (int b = 0; b < 2; b++) {
        uint8_t *p = q2 + 84 * b;
        put_half(p + 80, -3, 9 + b);
        put_half(p + 82, -5 + b, 1023);
        const double d = ldexp(1033 + b, -13), dmin = ldexp(2047, -15 + b);
        for (int i = 0; i < 256; i++) {
            const int s = i / 16, scale = (s * 3 + b) % 16, min = (15 - s + b) % 16;
            const int q = (i * 5 + i / 64 + b) % 4;
            p[s] = (uint8_t)(scale + 16 * min);
            /* 128 values to 32 bytes: the first 32 in bits 0 and 1, the next in 2 and 3 .. */
            p[16 + i / 128 * 32 + i % 32] |= (uint8_t)(q << (i % 128 / 32 * 2));
            want[256 * b + i] = (double)(float)(d * scale * q - dmin * min);
        }
    }
    const loci_stored w2 = stored(LOCI_STORED_Q2_K, q2, NULL, 1, 512);
    expect_row(&w2, 0, want);
}

static void test_row_bytes(void **state)
{
    (void)state;
    assert_int_equal(loci_stored_row_bytes(LOCI_STORED_F32, 7), 28);
    assert_int_equal(loci_stored_row_bytes(LOCI_STORED_E4M3, 4096), 4096);
    assert_int_equal(loci_stored_row_bytes(LOCI_STORED_E2M1, 4096), 2048);
    assert_int_equal(loci_stored_row_bytes(LOCI_STORED_Q4_K, 4096), 2304);
    assert_int_equal(loci_stored_row_bytes(LOCI_STORED_Q2_K, 2048), 672);
    assert_int_equal(loci_stored_row_bytes(LOCI_STORED_MXFP4, 64), 34);
    assert_int_equal(loci_stored_row_bytes(LOCI_STORED_Q8_0, 33), 0);
    assert_int_equal(loci_stored_row_bytes(LOCI_STORED_Q4_K, 128), 0);
    assert_string_equal(loci_stored_name(LOCI_STORED_Q4_K), "Q4_K");
}

/* The reference rounds each block's sum once, multiplies by the product of both scales and adds in
 * f32, block after block: done here by hand for sums that another order would round differently. */
static void test_order_of_sum(void **state)
{
    enum { K = 384 };
    uint8_t code[K], scale[3] = { 127 + 20, 127, 127 };
    float x[K] = { 0 }, sx[3] = { 1, 0.5f, 2 }, y;
    (void)state;
    memset(code, 0x38, sizeof code); /* 1 */
    x[0] = 16;                       /* block 0: 2^24 */
    x[128] = 1, x[200] = 1;          /* block 1: (1 + 1) / 2 = 1, lost in 2^24 */
    x[256] = 0.5f, x[383] = 0.75f;   /* block 2: 1.25 * 2 = 2.5, rounds to 2 */
    const loci_stored w = stored(LOCI_STORED_E4M3, code, scale, 1, K);
    loci_linear_e4m3_ref(&y, 1, x, K, sx, 3, &w, 0, 1, 1);
    assert_true(y == 16777216.0f + 2.0f); /* the exact sum 3.5 more would round to 4 */

    uint8_t fp4[K / 2], s4[K / 32];
    memset(fp4, 0x22, sizeof fp4); /* 1, 1 */
    memset(s4, 127, sizeof s4);
    s4[0] = 127 + 20;
    float z[K] = { 0 };
    z[0] = 16, z[32] = 1, z[64] = 1, z[96] = 1, z[128] = 1; /* each lost alone */
    const loci_stored v = stored(LOCI_STORED_E2M1, fp4, s4, 1, K);
    loci_linear_e2m1_ref(&y, 1, z, K, NULL, 0, &v, 0, 1, 1);
    assert_true(y == 16777216.0f);
}

/* ---- quantisers --------------------------------------------------------------------------------- */

/* Smallest power of two s with s >= max(|x|, floor) * f32(1/largest). */
static double scale_of(float max, float floor, float reciprocal)
{
    const float v = (max > floor ? max : floor) * reciprocal;
    double s = 0x1p-140;
    while (s < (double)v) s *= 2;
    return s;
}

static double nearest(const format *f, double v)
{
    int best = 0;
    for (int c = 1; c < f->n; c++) {
        const double d = fabs(f->value(c) - fabs(v)), was = fabs(f->value(best) - fabs(v));
        if (d < was || (d == was && c % 2 == 0)) best = c;
    }
    return v < 0 ? -f->value(best) : f->value(best);
}

static void check_quantiser(const format *f, loci_quant_block_fn *fn, float floor, float reciprocal,
                            const float *x, int n, int block)
{
    float q[256], s[256], fake[256];
    fn(q, n, s, 256, x, n, 1, n, block);
    fn(fake, n, NULL, 0, x, n, 1, n, block);
    for (int c0 = 0, b = 0; c0 < n; c0 += block, b++) {
        const int end = c0 + block < n ? c0 + block : n;
        float max = 0;
        for (int c = c0; c < end; c++) max = fmaxf(max, fabsf(x[c]));
        const double want = scale_of(max, floor, reciprocal);
        if (s[b] != want)
            fail_msg("%s: scale of %.9g is %g, should be %g", f->name, max, s[b], want);
        for (int c = c0; c < end; c++) {
            if (q[c] != nearest(f, x[c] / want))
                fail_msg("%s: %.9g / %g is %g, should be %g", f->name, x[c], want, q[c],
                         nearest(f, x[c] / want));
            assert_true((double)fake[c] == q[c] * want);
            /* the codes say the same */
            const double back = f->value(code_of(f, q[c]) & (f->n == 8 ? 7 : 127));
            assert_true(fabs(q[c]) == back);
        }
    }
}

static void test_quantisers(void **state)
{
    (void)state;
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    for (int i = 0; i < 2; i++) {
        const format *f = &formats[i];
        loci_quant_block_fn *fn = i ? loci_quant_a4_ref : loci_quant_a8_ref;
        const float floor = i ? 0x1.8p-124f : 1e-4f, one = i ? 1.0f / 6.0f : 1.0f / 448.0f;
        const float top = i ? 6.0f : 448.0f;
        /* The largest code times a power of two, and the floats around it. */
        for (int e = -100; e < 100; e++) {
            const float edge = ldexpf(top, e);
            const float x[5] = { edge, nextafterf(edge, 0), nextafterf(edge, INFINITY), -edge,
                                 edge / 3 };
            for (int k = 0; k < 5; k++) check_quantiser(f, fn, floor, one, x + k, 1, 32);
            check_quantiser(f, fn, floor, one, x, 5, 5);
        }
        const float low[6] = {
            0, -0.0f, floor, nextafterf(floor, 0), nextafterf(floor, 1), 1e-30f
        };
        for (int k = 0; k < 6; k++) check_quantiser(f, fn, floor, one, low + k, 1, 1);
        check_quantiser(f, fn, floor, one, low, 6, 6);
        for (int round = 0; round < 200; round++) {
            float x[200];
            for (int c = 0; c < 200; c++)
                x[c] = (float)loci_rng_normal(&rng) * ldexpf(1, round % 40 - 20);
            check_quantiser(f, fn, floor, one, x, 200, round % 2 ? 128 : 64);
        }
    }
}

static void test_packing(void **state)
{
    (void)state;
    float q[256];
    uint8_t code[256];
    for (int i = 0; i < 256; i++) q[i] = (float)e4m3(i);
    loci_pack_e4m3(code, q, 256);
    for (int i = 0; i < 256; i++) assert_int_equal(code[i], i == 255 ? 127 : i); /* one NaN */
    for (int i = 0; i < 32; i++) q[i] = (float)e2m1(i % 2 ? 15 - i / 2 : i / 2);
    loci_pack_e2m1(code, q, 32);
    for (int i = 0; i < 16; i++) assert_int_equal(code[i], i | (15 - i) << 4);
    const float s[3] = { 1, 0x1p-126f, 0x1p127f };
    loci_pack_e8m0(code, s, 3);
    assert_true(code[0] == 127 && code[1] == 1 && code[2] == 254);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_to_f16),       cmocka_unit_test(test_pow2ceil),
        cmocka_unit_test(test_scaled_codes), cmocka_unit_test(test_gguf_blocks),
        cmocka_unit_test(test_row_bytes),    cmocka_unit_test(test_order_of_sum),
        cmocka_unit_test(test_quantisers),   cmocka_unit_test(test_packing),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
