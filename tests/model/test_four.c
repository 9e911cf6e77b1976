/* test_four.c - weights stored in 4 bits: their bytes, how near they are, and products of them.
 *
 * Goals:
 *   - rounding gives the same bytes everywhere: a row worked out by hand
 *   - a group's squared error is never above that of the plain scale max / 7, whose numbers are off by
 *     half a step at most; extreme rows stay finite
 *   - f32 products use exactly the numbers that are stored; integer products are those of the same
 *     numbers, with the same bits in every variant of the kernels */
#include "stream_model.h"
#include "kernel/number.h"

enum { SEED = 43, COLS = 192, ROWS = 80, GROUPS = COLS / 32 };

/* ---- bytes ---------------------------------------------------------------------------------- */

/* -8 .. 7 times a power of two, again and again: the scale is that power, and every code is there. */
static void golden(void **state)
{
    float x[128];
    uint8_t q[64];
    uint16_t half[4];
    (void)state;
    for (int i = 0; i < 64; i++) x[i] = (float)(i % 16 - 8) * 0x1p-6f;
    for (int i = 64; i < 128; i++) x[i] = 0.0f;
    loci_four_round(q, half, x, 128);
    for (int g = 0; g < 4; g++) assert_int_equal(half[g], g < 2 ? 0x2400 : 0); /* 2^-6 */
    for (int i = 0; i < 32; i++) assert_int_equal(q[i], 0x10 + i % 8 * 0x22);
    for (int i = 32; i < 64; i++) assert_int_equal(q[i], 0x88);
    /* The other way round the largest is 8, which has no code: a scale below 0 gives it -8. */
    for (int i = 0; i < 64; i++) x[i] = -x[i];
    loci_four_round(q, half, x, 128);
    for (int g = 0; g < 4; g++) assert_int_equal(half[g], g < 2 ? 0xa400 : 0);
    for (int i = 0; i < 32; i++) assert_int_equal(q[i], 0x10 + i % 8 * 0x22);
}

/* ---- error ------------------------------------------------------------------------------------ */

static double off(const float *x, const uint8_t *q, const uint16_t *half, int cols, int g)
{
    double sum = 0.0;
    for (int i = g * 32; i < g * 32 + 32; i++) {
        assert_true(i < cols);
        const int code = (q[i / 2] >> (i % 2 * 4) & 15) - 8;
        const double d = (double)x[i] - (double)loci_f16_to_f32(half[g]) * code;
        sum += d * d;
    }
    return sum;
}

static void expect_near(const float *x, const char *what)
{
    uint8_t q[COLS / 2];
    uint16_t half[GROUPS];
    loci_four_round(q, half, x, COLS);
    for (int g = 0; g < GROUPS; g++) {
        double plain = 0.0, most = 0.0;
        assert_true((half[g] & 0x7c00) != 0x7c00);
        for (int i = 0; i < 32; i++) most = fmax(most, fabs((double)x[g * 32 + i]));
        const float unit = loci_f16_to_f32(loci_f32_to_f16(fminf((float)most / 7.0f, 65504.0f)));
        for (int i = 0; i < 32; i++) {
            const double v = (double)x[g * 32 + i];
            const double n = unit > 0.0f ? fmin(fmax(rint(v / (double)unit), -7.0), 7.0) : 0.0;
            plain += (v - n * (double)unit) * (v - n * (double)unit);
        }
        const double found = off(x, q, half, COLS, g);
        /* Half a step each, where the scale is a normal half: most / 7 off by 2^-11 of itself. */
        const double bound = 32.0 * pow(0.5 * most / 7.0 * (1.0 + 0x1p-10), 2.0);
        if (!(found <= plain * (1.0 + 1e-12)))
            fail_msg("%s: group %d: squared error %g, plain %g", what, g, found, plain);
        if (unit > 0x1p-14f && unit < 65504.0f && !(found <= bound))
            fail_msg("%s: group %d: squared error %g, at most %g", what, g, found, bound);
    }
}

static void error_bounds(void **state)
{
    float x[COLS];
    loci_rng rng;
    char what[64];
    (void)state;
    loci_rng_seed(&rng, SEED);
    for (int i = 0; i < 400; i++) {
        const double size =
            pow(10.0, -12.0 + 0.06 * i); /* to 10^12: beyond halves on either side */
        for (int c = 0; c < COLS; c++) x[c] = (float)(size * loci_rng_normal(&rng));
        if (i % 4 == 1) x[i % COLS] *= 50.0f; /* one that stands alone */
        if (i % 4 == 2)
            for (int c = 0; c < 64; c++) x[c] = x[0];
        if (i % 4 == 3)
            for (int c = 64; c < 128; c++) x[c] = 0.0f;
        snprintf(what, sizeof what, "row %d of size %g", i, size);
        expect_near(x, what);
    }
    /* The search is worth its time: normal numbers come nearer than with the plain scale. */
    double found = 0.0, plain = 0.0;
    for (int i = 0; i < 100; i++) {
        uint8_t q[COLS / 2];
        uint16_t half[GROUPS];
        for (int c = 0; c < COLS; c++) x[c] = (float)loci_rng_normal(&rng);
        loci_four_round(q, half, x, COLS);
        for (int g = 0; g < GROUPS; g++) {
            double most = 0.0;
            found += off(x, q, half, COLS, g);
            for (int c = 0; c < 32; c++) most = fmax(most, fabs((double)x[g * 32 + c]));
            for (int c = 0; c < 32; c++) {
                const double v = (double)x[g * 32 + c], n = rint(v / (most / 7.0));
                plain += pow(v - n * most / 7.0, 2.0);
            }
        }
    }
    print_message("  normal numbers: error %.4f of their size, plain %.4f\n",
                  sqrt(found / (100 * COLS)), sqrt(plain / (100 * COLS)));
    assert_true(found < 0.9 * plain);
}

/* ---- products --------------------------------------------------------------------------------- */

typedef struct {
    uint8_t q[ROWS * COLS / 2];
    uint16_t half[ROWS * GROUPS];
    float wide[ROWS * COLS];
    loci_mat w;
} stored;

static void stored_make(stored *s)
{
    float x[COLS];
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < COLS; c++) x[c] = (float)loci_rng_normal(&rng);
        loci_four_round(s->q + r * COLS / 2, s->half + r * GROUPS, x, COLS);
        for (int c = 0; c < COLS; c++) {
            const int at = r * COLS + c;
            s->wide[at] =
                (float)((s->q[at / 2] >> (c % 2 * 4) & 15) - 8) * loci_f16_to_f32(s->half[at / 32]);
        }
    }
    s->w = (loci_mat){ .data = s->q, .half = s->half, .rows = ROWS, .cols = COLS, .type = LOCI_U8 };
}

static void f32_products(void **state)
{
    enum { M = 5 };
    static const unsigned flags[] = { 0, LOCI_CPU_AVX2, ~0u };
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    stored s;
    float x[M * COLS], y[M * ROWS], want[M * ROWS], row[COLS];
    loci_rng rng;
    (void)state;
    stored_make(&s);
    const loci_mat wide = { .data = s.wide, .rows = ROWS, .cols = COLS, .type = LOCI_F32 };
    loci_rng_seed(&rng, 4);
    for (int i = 0; i < M * COLS; i++) x[i] = (float)loci_rng_normal(&rng);
    for (int f = 0; f < 3; f++) {
        loci_kernels_init(&r.m->k, flags[f] & loci_cpu_detect());
        for (int j = 0; j < ROWS; j++) {
            loci_mat_row(&r.m->k, row, &s.w, j);
            assert_memory_equal(row, s.wide + j * COLS, sizeof row);
        }
        for (int m = 1; m <= M; m += M - 1) {
            loci_linear(r.m, y, ROWS, x, COLS, &s.w, m);
            loci_linear(r.m, want, ROWS, x, COLS, &wide, m);
            for (int i = 0; i < m * ROWS; i++) {
                /* A sum of 192 products in another order: 192 roundings, at most, of its size. */
                double size = 0.0;
                for (int c = 0; c < COLS; c++)
                    size += fabs((double)x[i / ROWS * COLS + c] * s.wide[i % ROWS * COLS + c]);
                if (!(fabs((double)y[i] - want[i]) <= 2 * COLS * 0x1p-24 * size))
                    fail_msg("%d rows, output %d: %g, should be %g", m, i, y[i], want[i]);
            }
        }
        /* A part of a matrix is a matrix. */
        const loci_mat part = loci_mat_rows(&s.w, 7, 40);
        loci_linear(r.m, y, ROWS, x, COLS, &s.w, 1);
        loci_linear(r.m, want, 40, x, COLS, &part, 1);
        assert_memory_equal(want, y + 7, 40 * sizeof *y);
    }
    random_model_close(&r);
}

/* The packed form holds the stored numbers, and each variant of the kernels makes the same bits of
 * them. */
static void integer_products(void **state)
{
    enum { M = 9, D = 64 };
    static const unsigned flags[] = { 0, LOCI_CPU_AVX2, ~0u };
    static const char *const name[] = { "tokenizer.json", "config.json", "model.safetensors" };
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    char dir[] = "/tmp/loci-four-XXXXXX", path[64];
    loci_error err = { 0 };
    float x[M * D], first[3][M * 128], y[M * 128];
    loci_rng rng;
    (void)state;
    loci_rng_seed(&rng, 5);
    for (int i = 0; i < M * D; i++) x[i] = (float)loci_rng_normal(&rng);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/%s", dir, name[0]);
    assert_int_equal(loci_file_replace(NULL, path, "{}", 2, &err), LOCI_OK);
    assert_int_equal(loci_model_save(r.m, dir, LOCI_U8, NULL, &err), LOCI_OK);
    static const loci_compute compute[] = { LOCI_COMPUTE_AUTO, LOCI_COMPUTE_INT4,
                                            LOCI_COMPUTE_INT8 };
    for (int c = 0; c < 3; c++)
        for (int f = 0; f < 3; f++) {
            loci_model *m;
            assert_int_equal(loci_model_open(&m, dir, flags[f] & loci_cpu_detect(), &err), LOCI_OK);
            assert_int_equal(loci_model_prepare(m, compute[c], &err), LOCI_OK);
            const loci_mat *w = &m->p.lower[0].gate_up; /* (128, 64) */
            assert_int_equal(w->rows, 128);
            assert_int_equal(w->packed4 != NULL, compute[c] != LOCI_COMPUTE_INT8);
            assert_int_equal(w->packed != NULL, compute[c] == LOCI_COMPUTE_INT8);
            loci_linear(m, f ? y : first[c], 128, x, D, w, M);
            if (f) assert_memory_equal(y, first[c], sizeof y);
            loci_model_close(m);
        }
    assert_memory_equal(first[0], first[1], sizeof first[0]);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, name[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(remove(dir), 0);
    random_model_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(error_bounds),
        cmocka_unit_test(f32_products),
        cmocka_unit_test(integer_products),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
