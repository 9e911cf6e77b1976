/* Goal: the three steps of a training pass give the gradient of the batch's loss, and a query never
 * sees what it may not read.
 *
 * Method: a small whole model over two sequences that are each other's negatives, every loss on,
 * dense and routed.  Differences (grad_check.h) of some elements of every tensor and along one
 * direction through all parameters.  The heads' mass that the router learns from is held where it
 * was.  Causality: each token is changed in turn, and no logit before it may move by a single bit. */
#include "pass_batch.h"

static void pass_gradients(bool routed)
{
    batch b;
    batch_open(&b, routed);
    batch_run(&b, &b.s.g);
    hold_targets(&b);
    assert_int_equal(b.sums.n_gold, 3);
    assert_int_equal(b.sums.n_absent, routed ? 2 : 0);
    assert_int_equal(b.sums.n_decode, 5 + 3 + 5); /* rows 3, 11, ... of 37, 23 and 40 tokens */
    assert_true(b.sums.pointer > 0.0);
    assert_true(fabs(held_kl(&b) - b.sums.kl) < 1e-4);
    batch_gradients(&b, 2);
    batch_close(&b);
}

static void test_dense(void **state)
{
    (void)state;
    pass_gradients(false);
}

static void test_routed(void **state)
{
    (void)state;
    pass_gradients(true);
}

/* ---- regret -------------------------------------------------------------------------------------- */

/* Cross-entropy of every token of sequence i from plain logits, its bank there or not. */
static void plain_ce(batch *b, int i, bool with_bank, double ce[MAX_T])
{
    static float logits[MAX_T * V];
    small_sequence q = b->q[i];
    for (int d = 0; !with_bank && d < q.s.n_docs; d++) q.banked[d] = 0;
    for (int t = 0; !with_bank && t < q.s.T; t++) q.gold[t] = q.source[t] = -1;
    q.s.banked = q.banked;
    q.s.gold = q.gold;
    q.s.source = q.source;
    assert_int_equal(loci_pass_lower(b->pass[i], &b->s.m, &q.s, NULL), LOCI_OK);
    loci_pass_logits(b->pass[i], &b->s.m, &q.s, false, logits);
    for (int t = 0; t < q.s.T; t++) {
        double sum = 0.0;
        for (int v = 0; v < V; v++) sum += exp(logits[t * V + v]);
        ce[t] = q.s.target[t] < 0 ? 0.0 : log(sum) - logits[t * V + q.s.target[t]];
    }
}

/* r_t is what it says: two runs of the dense mode, in which negatives weigh nothing. */
static void test_regret_rows(void **state)
{
    (void)state;
    batch b;
    double with[2][MAX_T], without[2][MAX_T], gain = 0.0, regret = 0.0;
    int rows = 0;
    batch_open(&b, false);
    for (int i = 0; i < 2; i++) {
        plain_ce(&b, i, true, with[i]);
        plain_ce(&b, i, false, without[i]);
    }
    b.opt.regret = 0.7f;
    batch_run(&b, NULL);
    for (int i = 0; i < 2; i++)
        for (int t = 0; t < b.q[i].s.T; t++) {
            const bool counts = b.q[i].target[t] >= 0 && b.pass[i]->bank.n_eligible[t] > 0;
            const double r = counts ? fmax(0.0, without[i][t] - with[i][t]) : 0.0;
            assert_true(fabs(b.pass[i]->regret[t] - r) < 1e-4);
            rows += counts;
            gain += r;
            for (int g = 0; counts && g < 2; g++)
                regret += r * (1.0 - b.pass[i]->read[g].gate[t]) / 2.0;
        }
    assert_int_equal(b.sums.n_regret, rows);
    assert_in_range(rows, 20, 100);
    assert_true(gain > 0.5 && fabs(b.sums.gain - gain) < 1e-3 * gain);
    assert_true(fabs(b.sums.regret - regret) < 1e-3 * gain);
    batch_close(&b);
}

static void test_regret(void **state)
{
    (void)state;
    batch b;
    batch_open(&b, true);
    b.opt.regret = 2.0f;
    b.opt.regret_scale = 0.1f;
    batch_run(&b, &b.s.g);
    hold_targets(&b);
    assert_true(fabs(held_regret(&b) - b.sums.regret) < 1e-4 * b.sums.gain);
    batch_gradients(&b, 1);
    batch_close(&b);
}

/* Without gradients the sums are the same; grad_scale multiplies every gradient. */
static void test_scales(void **state)
{
    (void)state;
    batch b;
    batch_open(&b, true);
    batch_run(&b, &b.s.g);
    const loci_loss_sums sums = b.sums;
    batch_run(&b, NULL);
    assert_memory_equal(&sums, &b.sums, sizeof sums);

    float *once = malloc(b.s.n * sizeof *once);
    memcpy(once, b.s.grad, b.s.n * sizeof *once);
    memset(b.s.grad, 0, b.s.n * sizeof *once);
    b.opt.grad_scale = 4.0f; /* a power of two: f32 products scale exactly */
    batch_run(&b, &b.s.g);
    for (size_t i = 0; i < b.s.n; i++)
        assert_true(fabsf(b.s.grad[i] - 4.0f * once[i]) <= 1e-6f + 1e-4f * fabsf(b.s.grad[i]));
    free(once);
    batch_close(&b);
}

/* ---- who may see what ------------------------------------------------------------------------- */

typedef struct {
    small_model s;
    small_sequence q;
    loci_pass *pass;
    void *memory;
    float before[MAX_T * V], after[MAX_T * V];
} sight;

static void sight_logits(sight *c, bool routed, float *out)
{
    assert_int_equal(loci_pass_lower(c->pass, &c->s.m, &c->q.s, NULL), LOCI_OK);
    loci_pass_logits(c->pass, &c->s.m, &c->q.s, routed, out);
}

static void sight_open(sight *c, int window, uint64_t seed)
{
    static const int32_t ends[3] = { 41, 52, 75 };
    loci_hparams hp = small_hparams();
    loci_rng rng;
    memset(c, 0, sizeof *c);
    hp.window = window;
    loci_rng_seed(&rng, seed);
    small_model_open(&c->s, &hp, seed);
    sequence_open(&c->q, ends, 3, &rng);
    c->memory = loci_alloc_aligned(loci_pass_bytes(&hp, MAX_T));
    c->pass = loci_pass_init(&hp, MAX_T, c->memory);
}

static void sight_close(sight *c)
{
    loci_free_aligned(c->memory);
    small_model_close(&c->s);
}

/* Change token p; returns the first token whose logits differ, T if none does. */
static int first_change(sight *c, int p, bool routed)
{
    const int32_t was = c->q.ids[p];
    c->q.ids[p] = (was + 7) % V;
    sight_logits(c, routed, c->after);
    c->q.ids[p] = was;
    for (int i = 0; i < c->q.s.T * V; i++)
        if (c->after[i] != c->before[i]) return i / V;
    return c->q.s.T;
}

static void causality(int window, bool routed)
{
    sight c;
    sight_open(&c, window, SEED + 2);
    sight_logits(&c, routed, c.before);
    for (int p = 0; p < c.q.s.T; p++) {
        const int seen = first_change(&c, p, routed);
        if (seen != p) print_error("token %d changes logits from %d on\n", p, seen);
        assert_int_equal(seen, p);
    }
    sight_close(&c);
}

static void test_causal_dense(void **state)
{
    (void)state;
    causality(16, false);
}

static void test_causal_routed(void **state)
{
    (void)state;
    causality(16, true);
    causality(21, true);
}

/* Other documents are reached through the bank and in no other way: a change shows in a later
 * document exactly when its own document is banked. */
static void test_only_through_bank(void **state)
{
    (void)state;
    sight c;
    for (int banked = 0; banked < 2; banked++) {
        sight_open(&c, 16, SEED + 3);
        c.q.banked[0] = (uint8_t)banked;
        sight_logits(&c, false, c.before);
        for (int p = 0; p < c.q.doc[1]; p += 5) {
            first_change(&c, p, false);
            const bool moved = memcmp(c.before + c.q.doc[2] * V, c.after + c.q.doc[2] * V,
                                      (size_t)(c.q.s.T - c.q.doc[2]) * V * sizeof(float)) != 0;
            assert_int_equal(moved, banked);
        }
        sight_close(&c);
    }
}

/* Chunks open at end + W - S of their document, at once for later documents, pads counted in. */
static void test_first_query(void **state)
{
    (void)state;
    static const int32_t want[4] = { 21, 37, 41, 52 }, n_tokens[4] = { 16, 16, 9, 11 };
    sight c;
    sight_open(&c, 21, SEED + 4);
    sight_logits(&c, true, c.before);
    assert_int_equal(c.pass->bank.n, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c.pass->bank.first_query[i], want[i]);
        assert_int_equal(c.pass->bank.n_tokens[i], n_tokens[i]);
    }
    for (int t = 0; t < c.q.s.T; t++) {
        int n = 0;
        for (int i = 0; i < 4; i++) n += want[i] <= t;
        assert_int_equal(c.pass->bank.n_eligible[t], n);
    }
    sight_close(&c);
}

/* ---- refused ------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    sight c;
    sight_open(&c, 16, SEED + 5);
    const small_sequence good = c.q;
    for (int bad = 0; bad < 11; bad++) {
        loci_error err = { 0 };
        small_sequence *q = &c.q;
        *q = good;
        q->s.ids = q->ids;
        q->s.target = q->target;
        q->s.gold = q->gold;
        q->s.doc = q->doc;
        q->s.banked = q->banked;
        switch (bad) {
        case 0: q->s.T = 0; break;
        case 1: q->s.T = MAX_T + 1; break;
        case 2: q->s.n_docs = 0; break;
        case 3: q->doc[0] = 1; break;
        case 4: q->doc[3] = 74; break;
        case 5: q->doc[1] = 0; break;
        case 6: q->doc[1] = 1 << 30; break;
        case 7: q->ids[3] = V; break;
        case 8: q->ids[3] = -1; break;
        case 9: q->target[4] = V; break;
        default: q->gold[4] = 4; break; /* there are 4 chunks: 0 to 3 */
        }
        const loci_status st = loci_pass_lower(c.pass, &c.s.m, &q->s, &err);
        if (st != LOCI_EINVAL) print_error("case %d accepted\n", bad);
        assert_int_equal(st, LOCI_EINVAL);
        assert_int_equal(err.code, LOCI_EINVAL);
        assert_true(err.text[0] != '\0');
    }
    sight_close(&c);
}

/* More short documents than there is room for chunks. */
static void test_too_many_chunks(void **state)
{
    (void)state;
    enum { N = 60 };
    static int32_t ids[N], doc[N + 1];
    static uint8_t banked[N];
    sight c;
    loci_error err = { 0 };
    sight_open(&c, 16, SEED + 6);
    for (int i = 0; i < N; i++) {
        doc[i + 1] = i + 1;
        banked[i] = 1;
    }
    const loci_sequence s = { .T = N, .ids = ids, .n_docs = N, .doc = doc, .banked = banked };
    assert_int_equal(loci_pass_lower(c.pass, &c.s.m, &s, &err), LOCI_EINVAL);
    memset(banked, 0, sizeof banked);
    assert_int_equal(loci_pass_lower(c.pass, &c.s.m, &s, NULL), LOCI_OK); /* empty bank: fine */
    loci_pass_logits(c.pass, &c.s.m, &s, true, c.before);
    for (int i = 0; i < N * V; i++) assert_true(isfinite(c.before[i]));
    sight_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),           cmocka_unit_test(test_routed),
        cmocka_unit_test(test_scales),          cmocka_unit_test(test_causal_dense),
        cmocka_unit_test(test_causal_routed),   cmocka_unit_test(test_only_through_bank),
        cmocka_unit_test(test_first_query),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many_chunks), cmocka_unit_test(test_regret_rows),
        cmocka_unit_test(test_regret),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
