/* Goal: the MTP block and the quantised arithmetic are those of the equations, as a second
 * implementation reads them.
 * Method: tests/golden/dsv4/quantised.safetensors, from oracle/dsv4_quantised.py.  In f32 every logit
 * and every draft logit is compared.  In mode exact both sides round at the same places, but sums of
 * another order now and then fall on the other side of a boundary, after which the texts part a
 * little, or at a pick or an expert altogether: so the typical row is compared, and must be many
 * times nearer to the reference than a model is that leaves a quantiser out. */
#include "dsv4_model.h"

enum { T = 40, V = 96 };

typedef struct {
    loci_st *file;
    const int32_t *ids;
} golden;

static const float *tensor(const golden *g, const char *name, int rows)
{
    const loci_tensor_view *v = loci_st_find(g->file, name);
    if (!v) fail_msg("no tensor %s", name);
    assert_true(v->n_dims == 2 && v->dim[0] == rows && v->dim[1] == V);
    return v->data;
}

static golden open_golden(void)
{
    golden g;
    loci_error err = { 0 };
    if (loci_st_open(&g.file, "tests/golden/dsv4/quantised.safetensors", &err) != LOCI_OK)
        fail_msg("%s", err.text);
    const loci_tensor_view *v = loci_st_find(g.file, "ids");
    assert_true(v && v->n_dims == 1 && v->dim[0] == T);
    g.ids = v->data;
    return g;
}

/* Logits (T, V), and draft logits (T-1, V), each draft asked for behind a text of t+1 tokens. */
static void run(const tiny *t, const int32_t *ids, float *logits, float *draft)
{
    int32_t guess;
    loci_error err = { 0 };
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    loci_dsv4_seq_drafting(s, true);
    for (int i = 0; i < T; i++) {
        extend(s, ids + i, 1, logits + i * V, 1);
        if (i + 1 == T) break;
        if (loci_dsv4_draft(s, ids[i + 1], 1, &guess, draft + i * V, &err) != LOCI_OK)
            fail_msg("%s", err.text);
    }
    loci_dsv4_seq_close(s);
}

static double row_error(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum / V);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Root mean square of the differences of the middle row. */
static double typical(const float *got, const float *want, int rows)
{
    double e[T];
    for (int r = 0; r < rows; r++) e[r] = row_error(got + r * V, want + r * V);
    qsort(e, (size_t)rows, sizeof *e, ascending);
    return e[rows / 2];
}

static void test_f32(void **state)
{
    (void)state;
    golden g = open_golden();
    tiny *t = tiny_open(tiny_shape(), 2, false, LOCI_DSV4_MODE_F32);
    static float logits[T * V], draft[T * V];
    const float *want = tensor(&g, "f32.logits", T), *want_draft = tensor(&g, "f32.draft", T - 1);
    double worst = 0, worst_draft = 0;
    run(t, g.ids, logits, draft);
    for (int i = 0; i < T * V; i++) worst = fmax(worst, fabs((double)logits[i] - (double)want[i]));
    for (int i = 0; i < (T - 1) * V; i++)
        worst_draft = fmax(worst_draft, fabs((double)draft[i] - (double)want_draft[i]));
    print_message("largest error: logits %.2g, drafts %.2g\n", worst, worst_draft);
    assert_true(worst < 2e-4 && worst_draft < 2e-4);
    tiny_close(t);
    loci_st_close(g.file);
}

static tiny *open_quantised(loci_dsv4_mode mode)
{
    loci_dsv4_hparams hp = tiny_shape();
    hp.q_rank = hp.expert_width = 64;
    return tiny_open(hp, 1, true, mode);
}

static void test_exact(void **state)
{
    (void)state;
    golden g = open_golden();
    static float logits[T * V], draft[T * V];
    const float *want = tensor(&g, "exact.logits", T),
                *want_draft = tensor(&g, "exact.draft", T - 1);
    double error[3], draft_error[3];
    for (int mode = 0; mode < 3; mode++) {
        tiny *t = open_quantised((loci_dsv4_mode)mode);
        run(t, g.ids, logits, draft);
        error[mode] = typical(logits, want, T);
        draft_error[mode] = typical(draft, want_draft, T - 1);
        print_message("%s: a typical row differs by %.2g, of drafts by %.2g\n",
                      loci_dsv4_mode_name((loci_dsv4_mode)mode), error[mode], draft_error[mode]);
        tiny_close(t);
    }
    assert_true(error[LOCI_DSV4_MODE_EXACT] < error[LOCI_DSV4_MODE_FAST] / 50);
    assert_true(draft_error[LOCI_DSV4_MODE_EXACT] < draft_error[LOCI_DSV4_MODE_FAST] / 50);
    loci_st_close(g.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_f32), cmocka_unit_test(test_exact) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
