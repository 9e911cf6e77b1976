/* test_pass_oracle.c - the training pass against an independent one in float64.
 *
 * Goal: losses and the gradient of every parameter, dense and routed, two sequences that are each
 * other's negatives, equal what oracle/model_gradients.py wrote down.  Method: parameters are
 * computed from their index on both sides; a gradient is compared as G r and l^T G with signs r, l,
 * so that each of its elements counts twice.
 *
 * Tolerance: as in stream_model.h (all weights moved by sqrt(k) 2^-24 of their size, largest change
 * of any projection of the same tensor, times 2 and 4), k the rows of the longest sequence: a gradient
 * is a sum over them. */
#include "stream_model.h"

enum { MOST = 256, SEED = 12, TEXTS = 2, SUMS = 12, EXACT = 4 };

static const char *const golden = "tests/golden/model/pass.safetensors";

/* ---- numbers that both sides compute --------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static double number(int tensor, size_t i)
{
    const uint64_t at = ((uint64_t)SEED << 48) + ((uint64_t)tensor << 32) + i;
    return (double)(mix(at) >> 40) * 0x1p-23 - 1.0;
}

static double sign(int stream, size_t i)
{
    return number(stream, i) < 0.0 ? -1.0 : 1.0;
}

static loci_hparams oracle_hparams(void)
{
    loci_hparams hp;
    loci_hparams_default(&hp);
    hp.vocab = 24;
    hp.d_model = 32;
    hp.n_heads = 2;
    hp.n_kv_heads = 1;
    hp.n_lower = 1;
    hp.n_upper = 2;
    hp.n_groups = 2;
    hp.window = 66;
    hp.ffn = 16;
    hp.enc_dim = 64;
    hp.enc_mlp = 16;
    hp.d_key = 16;
    hp.d_value = 32;
    hp.read_heads = 2;
    hp.router_hidden = 16;
    hp.read_mlp = 16;
    hp.top_k = 2;
    return hp;
}

/* ---- the file ----------------------------------------------------------------------------------- */

static const loci_tensor_view *view(const loci_st *file, const char *name, loci_dtype type)
{
    const loci_tensor_view *t = loci_st_find(file, name);
    if (!t) fail_msg("%s has no %s", golden, name);
    assert_int_equal(t->dtype, type);
    return t;
}

static const int32_t *ints(const loci_st *file, char text, const char *key, int *n)
{
    char name[64];
    snprintf(name, sizeof name, "%c.%s", text, key);
    const loci_tensor_view *t = view(file, name, LOCI_I32);
    if (n) *n = (int)t->dim[0];
    return t->data;
}

typedef struct {
    loci_sequence s;
    uint8_t answer[512], banked[8];
} sequence;

static void read_sequence(const loci_st *file, char text, sequence *x)
{
    char name[64];
    int n_banked;
    const int32_t *answer = ints(file, text, "answer", NULL);
    const int32_t *banked = ints(file, text, "banked", &n_banked);
    snprintf(name, sizeof name, "%c.weight", text);
    memset(x, 0, sizeof *x);
    x->s.ids = ints(file, text, "ids", &x->s.T);
    x->s.target = ints(file, text, "target", NULL);
    x->s.weight = view(file, name, LOCI_F32)->data;
    x->s.gold = ints(file, text, "gold", NULL);
    x->s.source = ints(file, text, "source", NULL);
    x->s.doc = ints(file, text, "doc", NULL);
    x->s.n_docs = n_banked;
    assert_in_range(x->s.T, 1, 512);
    assert_in_range(n_banked, 1, 8);
    for (int t = 0; t < x->s.T; t++) x->answer[t] = (uint8_t)answer[t];
    for (int d = 0; d < n_banked; d++) x->banked[d] = (uint8_t)banked[d];
    x->s.answer = x->answer;
    x->s.banked = x->banked;
}

static loci_loss_options read_options(const loci_st *file, bool routed)
{
    const double *o = (const double *)view(file, "options", LOCI_F64)->data + (routed ? 9 : 0);
    const double *s = (const double *)view(file, "scales", LOCI_F64)->data + (routed ? 4 : 0);
    return (loci_loss_options){ .routed = routed,
                                .kl = (float)o[0],
                                .oracle = (float)o[1],
                                .absence = (float)o[2],
                                .gate = (float)o[3],
                                .z = (float)o[4],
                                .pointer = (float)o[5],
                                .decode = (float)o[6],
                                .decode_scale = (float)o[7],
                                .decode_phase = (int)o[8],
                                .ce_scale = (float)s[0],
                                .query_scale = (float)s[1],
                                .kl_every = 1,
                                .kl_scale = (float)s[1],
                                .gold_scale = (float)s[2],
                                .absent_scale = (float)s[3],
                                .grad_scale = routed ? 0.5f : 1.0f };
}

/* ---- our side -------------------------------------------------------------------------------------- */

typedef struct {
    loci_hparams hp;
    random_model r;
    float *grad;
    loci_param_info list[MOST];
    int n;
    sequence text[TEXTS];
    loci_pass *pass[TEXTS];
    void *memory[TEXTS];
    loci_loss_options options;
} bench;

static const loci_mat *mat_of(const loci_params *p, const loci_param_info *info)
{
    return (const loci_mat *)(const void *)((const char *)p + info->offset);
}

static void bench_open(bench *b, const loci_st *file, unsigned cpu_flags)
{
    loci_error err = { 0 };
    b->hp = oracle_hparams();
    b->r.n = loci_param_floats(&b->hp);
    b->r.base = room(b->r.n * sizeof(float));
    b->grad = room(b->r.n * sizeof(float));
    b->n = loci_param_list(&b->hp, b->list, MOST);
    assert_in_range(b->n, 1, MOST);
    if (loci_model_wrap(&b->r.m, &b->hp, b->r.base, cpu_flags, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < b->n; i++) {
        const loci_mat *w = mat_of(&b->r.m->p, &b->list[i]);
        const double size = w->cols > 1 ? sqrt(3.0 / w->cols) : 1.0;
        for (size_t j = 0; j < (size_t)w->rows * (size_t)w->cols; j++)
            ((float *)w->data)[j] = (float)(number(i, j) * size);
    }
    *(float *)b->r.m->p.read[0].log_tau.data = 1.5f;
    *(float *)b->r.m->p.read[1].log_tau.data = 1.75f;
    for (int i = 0; i < TEXTS; i++) {
        read_sequence(file, (char)('a' + i), &b->text[i]);
        b->memory[i] = room(loci_pass_bytes(&b->hp, b->text[i].s.T));
        b->pass[i] = loci_pass_init(&b->hp, b->text[i].s.T, b->memory[i]);
    }
}

static void bench_close(bench *b)
{
    for (int i = 0; i < TEXTS; i++) loci_free_aligned(b->memory[i]);
    loci_free_aligned(b->grad);
    random_model_close(&b->r);
}

/* The whole step of a batch: what the trainer does. */
static loci_loss_sums step(bench *b)
{
    loci_loss_sums sums = { 0 };
    loci_negatives bank[TEXTS];
    loci_params g;
    loci_error err = { 0 };
    memset(b->grad, 0, b->r.n * sizeof(float));
    loci_params_bind(&g, &b->hp, b->grad);
    for (int i = 0; i < TEXTS; i++) {
        if (loci_pass_lower(b->pass[i], b->r.m, &b->text[i].s, &err) != LOCI_OK)
            fail_msg("%s", err.text);
        bank[i].n = loci_pass_bank(b->pass[i], &bank[i].landmark, &bank[i].bias);
        bank[i].dlandmark = loci_pass_bank_grad(b->pass[i], &bank[i].dbias);
    }
    for (int i = 0; i < TEXTS; i++)
        loci_pass_upper(b->pass[i], b->r.m, &b->text[i].s, &bank[1 - i], 1, &b->options, &g, &sums);
    for (int i = 0; i < TEXTS; i++) loci_pass_lower_backward(b->pass[i], b->r.m, &b->text[i].s, &g);
    return sums;
}

/* Floats of all projections. */
static size_t projections(const bench *b)
{
    size_t n = 0;
    for (int i = 0; i < b->n; i++) n += (size_t)(b->list[i].rows + b->list[i].cols);
    return n;
}

/* G r, then l^T G, of every parameter; then the sums. */
static void project(bench *b, double *out, double sum[SUMS])
{
    const loci_loss_sums s = step(b);
    const double all[SUMS] = { s.ce_text,   s.ce_answer,       s.kl,
                               s.oracle,    s.absence,         s.gate,
                               s.pointer,   s.decode,          s.recall,
                               s.consulted, (double)s.n_query, (double)s.n_consult_pairs };
    loci_params g;
    loci_params_bind(&g, &b->hp, b->grad);
    memcpy(sum, all, sizeof all);
    for (int i = 0; i < b->n; i++) {
        const int rows = b->list[i].rows, cols = b->list[i].cols;
        const float *x = mat_of(&g, &b->list[i])->data;
        memset(out, 0, (size_t)(rows + cols) * sizeof *out);
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < cols; c++) {
                out[r] += (double)x[r * cols + c] * sign(1000 + i, (size_t)c);
                out[rows + c] += (double)x[r * cols + c] * sign(2000 + i, (size_t)r);
            }
        out += rows + cols;
    }
}

/* ---- comparison -------------------------------------------------------------------------------------- */

typedef struct {
    double *value, *most; /* projections; the largest change seen in the same tensor */
    double sum[SUMS], sum_most[SUMS];
} outcome;

static double largest(const double *a, const double *b, size_t n)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

/* Values with the weights as they are, and what moving them does. */
static void measure(bench *b, outcome *o)
{
    const size_t n = projections(b);
    double *moved = room(n * sizeof *moved), sum[SUMS];
    float *weights = room(b->r.n * sizeof *weights);
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    memcpy(weights, b->r.base, b->r.n * sizeof *weights);
    memset(o->sum_most, 0, sizeof o->sum_most);
    memset(o->most, 0, (size_t)b->n * sizeof *o->most);
    project(b, o->value, o->sum);
    for (int round = 0; round < 4; round++) {
        const float size = sqrtf((float)b->text[0].s.T) * 0x1p-24f;
        for (size_t i = 0; i < b->r.n; i++)
            b->r.base[i] = weights[i] * (1.0f + (loci_rng_u64(&rng) & 1 ? size : -size));
        project(b, moved, sum);
        for (int s = 0; s < SUMS; s++)
            o->sum_most[s] = fmax(o->sum_most[s], fabs(sum[s] - o->sum[s]));
        size_t at = 0;
        for (int i = 0; i < b->n; i++) {
            const size_t part = (size_t)(b->list[i].rows + b->list[i].cols);
            o->most[i] = fmax(o->most[i], largest(moved + at, o->value + at, part));
            at += part;
        }
    }
    memcpy(b->r.base, weights, b->r.n * sizeof *weights);
    loci_free_aligned(moved);
    loci_free_aligned(weights);
}

static void compare_sums(const loci_st *file, const char *mode, const outcome *o)
{
    static const char *const label[SUMS] = { "ce_text", "ce_answer", "kl",      "oracle",
                                             "absence", "gate",      "pointer", "decode",
                                             "recall",  "consulted", "n_query", "n_consult_pairs" };
    static const int place[SUMS] = { 0, 1, 2, 3, 4, 5, 8, 9, 7, 6, 10, 11 }; /* in the file */
    char name[64];
    snprintf(name, sizeof name, "%s.sums", mode);
    const double *want = view(file, name, LOCI_F64)->data;
    for (int i = 0; i < SUMS; i++) {
        const double w = want[place[i]], tolerance = i < SUMS - EXACT ? 8 * o->sum_most[i] : 1e-9;
        if (!(fabs(o->sum[i] - w) <= tolerance))
            fail_msg("%s %s: %.9g, expected %.9g, tolerance %.2g", mode, label[i], o->sum[i], w,
                     tolerance);
    }
}

/* Returns the largest tolerance as a share of its gradient's size. */
static double compare_gradients(const loci_st *file, const char *mode, const bench *b,
                                const outcome *o)
{
    const double *value = o->value;
    double loosest = 0.0;
    for (int i = 0; i < b->n; i++) {
        const double tolerance = 8 * o->most[i];
        double size = 0.0;
        const int n[2] = { b->list[i].rows, b->list[i].cols };
        for (int side = 0; side < 2; side++) {
            char name[96];
            snprintf(name, sizeof name, "%s.%s.%s", mode, b->list[i].name, side ? "cols" : "rows");
            const loci_tensor_view *t = view(file, name, LOCI_F32);
            assert_int_equal(t->dim[0], n[side]);
            for (int j = 0; j < n[side]; j++, value++) {
                const double want = (double)((const float *)t->data)[j];
                size = fmax(size, fabs(want));
                /* The file rounds to f32. */
                if (!(fabs(*value - want) <= tolerance + 0x1p-24 * fabs(want)))
                    fail_msg("%s[%d]: %.9g, expected %.9g, tolerance %.2g", name, j, *value, want,
                             tolerance);
            }
        }
        /* One bias for all chunks cancels out of the dense losses: its gradient is 0. */
        if (size > 1e-9) loosest = fmax(loosest, tolerance / size);
    }
    return loosest;
}

static void compare(const char *mode, unsigned cpu_flags)
{
    loci_st *file;
    loci_error err = { 0 };
    if (loci_st_open(&file, golden, &err) != LOCI_OK) fail_msg("%s", err.text);
    bench *b = room(sizeof *b);
    bench_open(b, file, cpu_flags);
    b->options = read_options(file, strcmp(mode, "routed") == 0);
    outcome o = {
        room(projections(b) * sizeof(double)), room((size_t)b->n * sizeof(double)), { 0 }, { 0 }
    };
    measure(b, &o);
    compare_sums(file, mode, &o);
    const double loosest = compare_gradients(file, mode, b, &o);
    print_message("  %s: %d tensors, tolerances at most %.2g of a gradient's largest projection\n",
                  mode, b->n, loosest);
    assert_true(loosest < 0.01); /* else the comparison would say nothing */
    loci_free_aligned(o.value);
    loci_free_aligned(o.most);
    bench_close(b);
    loci_free_aligned(b);
    loci_st_close(file);
}

static void dense(void **state)
{
    (void)state;
    compare("dense", loci_cpu_detect());
}

static void routed(void **state)
{
    (void)state;
    compare("routed", loci_cpu_detect());
}

static void reference_kernels(void **state)
{
    (void)state;
    compare("dense", 0);
    compare("routed", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense),
        cmocka_unit_test(routed),
        cmocka_unit_test(reference_kernels),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
