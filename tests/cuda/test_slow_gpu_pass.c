/* test_slow_gpu_pass.c - the pass of a batch on the GPU against the pass on the CPU.
 *
 * Goal: losses, counts and the gradient of every tensor agree, in the dense and the routed mode, with
 * and without negatives, with short documents, several banks, absent facts and copied tokens.
 * Method: random parameters (no zero tensors, so that every path carries something), random
 * sequences, all losses on.  The GPU rounds activations to bf16, and a rounding can also change which
 * landmark or chunk is the best, so how far a gradient may be off depends on the model.  That is
 * measured on the CPU: weights are moved at random by 2^-8 of their size, as often as SAMPLES, and the
 * root mean square of what this does to each tensor's gradient, times FACTOR, is what the GPU may differ
 * by.  The parameters are rounded to bf16 first, so that both sides have the same weights. */
#include "model_test.h"

#define SEED UINT64_C(20261126)

enum { SAMPLES = 3 };
/* One rounding a weight stands for the dozen or so that activations take on their way through a block. */
static const double FACTOR = 2.0;

enum { N_SEQ = 3, LEN = 1300, DOCS = 80 };

typedef struct {
    loci_sequence s;
    int32_t ids[LEN], target[LEN], gold[LEN], source[LEN], doc[DOCS + 1];
    float weight[LEN];
    uint8_t answer[LEN], banked[DOCS];
} sequence;

/* Documents of awkward lengths, the last two never banked; questions about random chunks.  With summaries
 * the first sequence has a document of 18 chunks, whose pyramid has two levels, and the second more
 * documents than a query attends to. */
static void make_sequence(sequence *q, const loci_hparams *hp, loci_rng *rng, int which)
{
    static const int lengths[N_SEQ][5] = { { 150, 65, 40, 30, 21 },
                                           { 1, 130, 64, 9, 50 },
                                           { 200, 63, 2, 77, 1 } };
    const int n_docs = hp->d_summary && which == 1 ? 5 + LOCI_GIST_DOCS + 4 : 5, asks = n_docs - 2;
    int t = 0, chunks = 0;
    memset(q, 0, sizeof *q);
    for (int d = 0; d < n_docs; d++) {
        int len = d < 3 ? lengths[which][d] : d < asks ? 5 : lengths[which][d - n_docs + 5];
        if (hp->d_summary && which == 0 && d == 0) len = 1090;
        q->doc[d] = t;
        q->banked[d] = d < asks;
        chunks += d < asks ? (len + 63) / 64 : 0;
        t += len;
    }
    q->doc[n_docs] = t;
    for (int i = 0; i < t; i++) {
        q->ids[i] = (int32_t)(16 + loci_rng_below(rng, (uint32_t)hp->vocab - 16));
        q->target[i] =
            loci_rng_below(rng, 9) == 0 ? -1 : (int32_t)loci_rng_below(rng, (uint32_t)hp->vocab);
        q->weight[i] = q->target[i] < 0 ? 0.0f : 1.0f + (float)loci_rng_below(rng, 3);
        q->gold[i] = q->source[i] = -1;
        if (i >= q->doc[asks] && q->target[i] >= 0) {
            q->answer[i] = 1;
            q->gold[i] =
                loci_rng_below(rng, 4) == 0 ? -2 : (int32_t)loci_rng_below(rng, (uint32_t)chunks);
            if (q->gold[i] >= 0) q->source[i] = q->gold[i] * 64;
        }
    }
    q->s = (loci_sequence){ .T = t,
                            .ids = q->ids,
                            .target = q->target,
                            .weight = q->weight,
                            .answer = q->answer,
                            .gold = q->gold,
                            .source = q->source,
                            .n_docs = n_docs,
                            .doc = q->doc,
                            .banked = q->banked,
                            .tier_seed = SEED + (uint64_t)which,
                            .tier_share = hp->content_bits4 ? 0.5f : 0.0f };
}

static float *make_params(const loci_hparams *hp)
{
    /* With either seed no answer hangs on which of two landmarks is nearer by a hair. */
    return random_params(hp, hp->shared_kv ? 11 : 5, SEED);
}

static loci_loss_options all_losses(bool routed)
{
    return (loci_loss_options){ .routed = routed,
                                .kl = 0.3f,
                                .oracle = 0.7f,
                                .absence = 0.4f,
                                .gate = 0.2f,
                                .z = 1e-3f,
                                .pointer = 0.5f,
                                .decode = 0.3f,
                                .decode_scale = 1.0f / 150,
                                .decode_phase = 3,
                                .ce_scale = 1.0f / 1200,
                                .query_scale = 1.0f / 600,
                                .kl_every = 2,
                                .kl_phase = 1,
                                .kl_scale = 1.0f / 300,
                                .gold_scale = 1.0f / 150,
                                .absent_scale = 1.0f / 50,
                                .ageing = 0.5f,
                                .ageing_scale = 1.0f / 600,
                                .hash = 0.6f,
                                .code_slope = 3.0f,
                                .code_every = 4,
                                .code_phase = 1,
                                .code_scale = 1.0f / 200,
                                .code_bank_scale = 1.0f / N_SEQ,
                                .regret_scale = 1.0f / 400,
                                .grad_scale = 1.0f };
}

static const uint8_t regretting[N_SEQ] = { 1, 0, 1 }; /* when there is a regret loss */

/* The batch on the CPU, in the order of trainer.c. */
static void run_cpu(const loci_hparams *hp, float *base, float *grad, const sequence *q,
                    const loci_loss_options *opt, bool negatives, loci_loss_sums *sums)
{
    loci_model *m;
    loci_params g;
    loci_error err = { 0 };
    loci_pass *pass[N_SEQ];
    assert_int_equal(loci_model_wrap(&m, hp, base, loci_cpu_detect(), &err), LOCI_OK);
    loci_params_bind(&g, hp, grad);
    for (int i = 0; i < N_SEQ; i++) {
        const int T = q[i].s.T + 64 * q[i].s.n_docs; /* room for short documents' chunks */
        pass[i] = loci_pass_init(hp, T, loci_alloc_aligned(loci_pass_bytes(hp, T)));
        assert_int_equal(loci_pass_lower(pass[i], m, &q[i].s, &err), LOCI_OK);
    }
    for (int i = 0; i < N_SEQ; i++) {
        loci_negatives neg[N_SEQ];
        int n = 0;
        for (int j = 0; j < N_SEQ; j++) {
            if (j == i) continue;
            neg[n].n = loci_pass_bank(pass[j], &neg[n].landmark, &neg[n].bias);
            neg[n].dlandmark = loci_pass_bank_grad(pass[j], &neg[n].dbias);
            n++;
        }
        loci_loss_options own = *opt;
        if (!regretting[i]) own.regret = 0.0f;
        loci_pass_upper(pass[i], m, &q[i].s, neg, negatives ? n : 0, &own, &g, sums);
    }
    for (int i = 0; i < N_SEQ; i++) {
        loci_pass_lower_backward(pass[i], m, &q[i].s, &g);
        loci_free_aligned(pass[i]);
    }
    loci_model_close(m);
}

/* The model may have a larger window than the phase that a layout is made for. */
static void run_gpu(const loci_hparams *hp, const float *base, float *grad, const sequence *q,
                    const loci_loss_options *opt, bool negatives, loci_loss_sums *sums)
{
    loci_gpu_weights w;
    loci_gpu_pass *pass;
    loci_gpu_layout b;
    loci_error err = { 0 };
    const loci_sequence *s[N_SEQ];
    for (int i = 0; i < N_SEQ; i++) s[i] = &q[i].s;
    loci_hparams whole = *hp;
    memset(&b, 0, sizeof b);
    whole.window = 2 * hp->window;
    loci_status st = loci_gpu_weights_init(&w, gpu, &whole, true, &err);
    if (st == LOCI_OK) st = loci_gpu_pass_open(&pass, gpu, &w, &err);
    if (st != LOCI_OK) fail_msg("%s", err.text);
    loci_gpu_weights_upload(&w, gpu, base);
    st = loci_gpu_layout_fill(&b, gpu, hp, s, N_SEQ, opt, &err);
    if (st == LOCI_OK) st = loci_gpu_layout_bare(&b, gpu, hp, s, N_SEQ, regretting, opt, &err);
    if (st == LOCI_OK) st = loci_gpu_pass_run(pass, &b, s, N_SEQ, opt, negatives, true, sums, &err);
    if (st != LOCI_OK) fail_msg("%s", err.text);
    loci_gpu_download(gpu, grad, w.grad, w.n * sizeof *grad);
    loci_gpu_layout_free(&b, gpu);
    loci_gpu_pass_close(pass);
    loci_gpu_weights_free(&w, gpu);
}

static int wrong;

static void compare_number(const char *name, double cpu, double got, double limit)
{
    const bool ok = fabs(cpu - got) <= limit * (fabs(cpu) + 1e-3);
    print_message("  %-12s cpu %12.5f gpu %12.5f%s\n", name, cpu, got, ok ? "" : "   WRONG");
    wrong += !ok;
}

static void compare_sums(const loci_loss_sums *c, const loci_loss_sums *g)
{
    compare_number("ce_text", c->ce_text, g->ce_text, 2e-3);
    compare_number("ce_answer", c->ce_answer, g->ce_answer, 2e-3);
    compare_number("kl", c->kl, g->kl, 3e-2);
    compare_number("oracle", c->oracle, g->oracle, 1e-2);
    compare_number("absence", c->absence, g->absence, 1e-2);
    compare_number("pointer", c->pointer, g->pointer, 1e-2);
    compare_number("decode", c->decode, g->decode, 5e-3);
    compare_number("gate", c->gate, g->gate, 5e-3);
    compare_number("consulted", c->consulted, g->consulted, 2e-2);
    /* A rounding may change which of two close chunks is the better: one query of one group. */
    const bool found = fabs(c->recall - g->recall) <= 8e-2 * c->recall + 0.5;
    print_message("  recall       cpu %12.5f gpu %12.5f%s\n", c->recall, g->recall,
                  found ? "" : "   WRONG");
    wrong += !found;
    compare_number("ageing", c->ageing, g->ageing, 2e-2);
    compare_number("gain", c->gain, g->gain, 3e-2);
    compare_number("regret", c->regret, g->regret, 3e-2);
    compare_number("hash", c->hash, g->hash, 3e-2);
    compare_number("spread", c->spread, g->spread, 2e-2);
    compare_number("agreement", c->agreement, g->agreement, 2e-2);
    assert_int_equal(c->n_hash, g->n_hash);
    assert_int_equal(c->n_spread, g->n_spread);
    assert_int_equal(c->n_regret, g->n_regret);
    assert_int_equal(c->n_aged, g->n_aged);
    assert_int_equal(c->n_text, g->n_text);
    assert_int_equal(c->n_answer, g->n_answer);
    assert_int_equal(c->n_query, g->n_query);
    assert_int_equal(c->n_gold, g->n_gold);
    assert_int_equal(c->n_absent, g->n_absent);
    assert_int_equal(c->n_kl, g->n_kl);
    assert_int_equal(c->n_consult_pairs, g->n_consult_pairs);
    assert_int_equal(c->n_exact, g->n_exact);
    assert_int_equal(c->n_decode, g->n_decode);
}

static const float *matrix_of(const loci_params *p, const loci_param_info *info, size_t *n)
{
    const loci_mat *m = (const loci_mat *)(const void *)((const char *)p + info->offset);
    *n = (size_t)m->rows * (size_t)m->cols;
    return m->data;
}

/* ||a - b||, and ||a|| in *norm. */
static double distance(const float *a, const float *b, size_t n, double *norm)
{
    double diff = 0.0, sum = 0.0;
    for (size_t k = 0; k < n; k++) {
        diff += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
        sum += (double)a[k] * a[k];
    }
    *norm = sqrt(sum);
    return sqrt(diff);
}

enum { MAX_TENSORS = 512 };

/* limit[i]: what rounding may do to tensor i's gradient. */
static void measure_limits(double *limit, const loci_hparams *hp, const float *base, float *cpu,
                           const sequence *q, const loci_loss_options *opt, bool negatives)
{
    loci_param_info info[MAX_TENSORS];
    const int n_info = loci_param_list(hp, info, MAX_TENSORS);
    const size_t n = loci_param_floats(hp);
    float *moved = loci_alloc_aligned(n * sizeof *moved),
          *grad = loci_alloc_aligned(n * sizeof *grad);
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 77);
    memset(limit, 0, MAX_TENSORS * sizeof *limit);
    for (int k = 0; k < SAMPLES; k++) {
        loci_loss_sums sums = { 0 };
        loci_params a, b;
        move_params(moved, base, n, &rng);
        memset(grad, 0, n * sizeof *grad);
        run_cpu(hp, moved, grad, q, opt, negatives, &sums);
        loci_params_bind(&a, hp, cpu);
        loci_params_bind(&b, hp, grad);
        for (int i = 0; i < n_info; i++) {
            size_t len;
            double norm;
            const float *x = matrix_of(&a, &info[i], &len), *y = matrix_of(&b, &info[i], &len);
            const double d = distance(x, y, len, &norm);
            limit[i] += d * d / SAMPLES;
        }
    }
    for (int i = 0; i < n_info; i++) limit[i] = FACTOR * sqrt(limit[i]);
    loci_free_aligned(moved);
    loci_free_aligned(grad);
}

static void compare_gradients(const loci_hparams *hp, float *cpu, float *got, const double *limit)
{
    loci_param_info info[MAX_TENSORS];
    const int n = loci_param_list(hp, info, MAX_TENSORS);
    loci_params a, b;
    double sum = 0.0, all = 0.0;
    loci_params_bind(&a, hp, cpu);
    loci_params_bind(&b, hp, got);
    for (int i = 0; i < n; i++) {
        size_t len;
        double norm;
        const float *x = matrix_of(&a, &info[i], &len), *y = matrix_of(&b, &info[i], &len);
        const double off = distance(x, y, len, &norm);
        const bool ok = off <= limit[i] + 1e-6;
        if (!ok || off > 0.5 * limit[i])
            print_message("  %-24s norm %.3e off by %.3e, limit %.3e%s\n", info[i].name, norm, off,
                          limit[i], ok ? "" : "   WRONG");
        wrong += !ok;
        sum += limit[i] * limit[i];
        all += norm * norm;
    }
    print_message("  limits are %.1f %% of all gradients\n", 100.0 * sqrt(sum / all));
    assert_true(sum < 0.2 * 0.2 * all); /* else the comparison says nothing */
}

/* A batch of all sequences. */
static void make_batch(sequence *q, const loci_hparams *hp, bool routed)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + routed);
    for (int i = 0; i < N_SEQ; i++) {
        make_sequence(&q[i], hp, &rng, i);
        if (hp->n_groups == 0) q[i].s.gold = q[i].s.source = NULL; /* no bank to find them in */
    }
}

static void check_with(const loci_hparams *hp, loci_loss_options opt, bool negatives)
{
    if (!gpu) skip();
    const size_t n = loci_param_floats(hp);
    float *base = make_params(hp);
    float *cpu = loci_alloc_aligned(n * sizeof *cpu), *got = loci_alloc_aligned(n * sizeof *got);
    sequence *q = malloc(N_SEQ * sizeof *q);
    loci_loss_sums a = { 0 }, b = { 0 };
    make_batch(q, hp, opt.routed);
    memset(cpu, 0, n * sizeof *cpu);
    wrong = 0;
    run_cpu(hp, base, cpu, q, &opt, negatives, &a);
    run_gpu(hp, base, got, q, &opt, negatives, &b);
    double limit[MAX_TENSORS];
    measure_limits(limit, hp, base, cpu, q, &opt, negatives);
    compare_sums(&a, &b);
    compare_gradients(hp, cpu, got, limit);
    assert_int_equal(wrong, 0);
    loci_free_aligned(base);
    loci_free_aligned(cpu);
    loci_free_aligned(got);
    free(q);
}

static void check(const loci_hparams *hp, bool routed, bool negatives)
{
    check_with(hp, all_losses(routed), negatives);
}

static void test_dense(void **state)
{
    (void)state;
    const loci_hparams hp = small_shape();
    check(&hp, false, true);
}

static void test_routed(void **state)
{
    (void)state;
    const loci_hparams hp = small_shape();
    check(&hp, true, true);
}

static void test_routed_alone(void **state)
{
    (void)state;
    const loci_hparams hp = small_shape();
    check(&hp, true, false);
}

static void test_hard_gate(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.hard_gate = 1;
    check(&hp, true, true);
}

static void test_no_groups(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.n_groups = 0;
    check(&hp, false, false);
}

static void test_untied(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.tied = 0;
    hp.top_k = 16;
    check(&hp, true, true);
}

static void test_gist(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.d_summary = 48;
    check(&hp, true, true);
}

static void test_tiers(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.d_summary = 32;
    hp.content_bits4 = 1;
    check(&hp, true, true);
    check(&hp, false, true);
}

static void test_codes(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.trained_codes = 1;
    check(&hp, true, true);
    check(&hp, false, false);
}

/* Two of the three sequences run without their bank as well. */
static void test_regret(void **state)
{
    (void)state;
    const loci_hparams hp = small_shape();
    loci_loss_options opt = all_losses(true);
    opt.regret = 0.8f;
    check_with(&hp, opt, true);
    opt.routed = false;
    check_with(&hp, opt, true);
}

/* One vector as key and value, whole and packed, in both modes. */
static void test_shared(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.shared_kv = 1;
    check(&hp, false, true);
    check(&hp, true, true);
}

static void test_shared_tiers(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.shared_kv = hp.content_bits4 = 1;
    hp.d_summary = 32;
    check(&hp, true, true);
}

/* Heads that weigh picks by their order. */
static void test_order(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.order = 1;
    check(&hp, true, true);
    check(&hp, false, true);
}

/* The same batch again: the same bits.  A model with everything in it, so that every op takes part. */
static void test_same_bits(void **state)
{
    (void)state;
    if (!gpu) skip();
    loci_hparams hp = small_shape();
    hp.d_summary = 32;
    hp.content_bits4 = hp.shared_kv = hp.trained_codes = hp.order = 1;
    const size_t n = loci_param_floats(&hp);
    float *base = make_params(&hp), *grad[2];
    sequence *q = malloc(N_SEQ * sizeof *q);
    for (int routed = 0; routed < 2; routed++) {
        loci_loss_options opt = all_losses(routed);
        opt.regret = 0.8f;
        make_batch(q, &hp, routed);
        for (int i = 0; i < 2; i++) {
            loci_loss_sums sums = { 0 };
            grad[i] = loci_alloc_aligned(n * sizeof *grad[i]);
            run_gpu(&hp, base, grad[i], q, &opt, true, &sums);
        }
        assert_memory_equal(grad[0], grad[1], n * sizeof *base);
        loci_free_aligned(grad[0]);
        loci_free_aligned(grad[1]);
    }
    loci_free_aligned(base);
    free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),        cmocka_unit_test(test_routed),
        cmocka_unit_test(test_routed_alone), cmocka_unit_test(test_hard_gate),
        cmocka_unit_test(test_no_groups),    cmocka_unit_test(test_untied),
        cmocka_unit_test(test_gist),         cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_shared),       cmocka_unit_test(test_shared_tiers),
        cmocka_unit_test(test_codes),        cmocka_unit_test(test_regret),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
