/* Goal: the Read block's backward pass is the derivative of its forward pass and of its losses, in
 * both modes; negatives add what they should.
 *
 * Method: extrapolated differences (grad_check.h) of  <r, h_out> + all losses  over a small bank
 * with short chunks and different first readers, gold chunks that may and may not be read, absent
 * facts before anything can be read, and negatives in pieces of which one is empty and one is
 * detached.  The heads' mass is a target and not differentiated: the differences hold it where it
 * was; the bank is drawn so that no choice (landmark, chunk) is so close that a step could change
 * it: there the loss has a kink and no gradient.  Log-sums of negatives are compared with a double sum over more than one block. */
#include "grad_check.h"

enum { SEED = 20262, T = 34, CHUNKS = 5, PIECES = 3 };
static const double STEP = 1e-3;

typedef struct {
    small_model s;
    loci_read_tape tape;
    loci_chunks bank;
    loci_negatives neg[PIECES];
    loci_sequence seq;
    loci_loss_options opt;
    int32_t gold[T], n_tokens[CHUNKS], first_query[CHUNKS], n_eligible[T];
    float *h, *y, *r, *dh, *scratch, *target; /* target: (T, CHUNKS), the mass before any step */
    void *memory;
} read_case;

static loci_read_job job_of(read_case *c, loci_loss_sums *sums)
{
    return (loci_read_job){ .s = &c->seq,
                            .bank = &c->bank,
                            .neg = c->neg,
                            .n_neg = PIECES,
                            .group = 0,
                            .routed = c->opt.routed,
                            .opt = &c->opt,
                            .sums = sums };
}

/* KL to the remembered target. */
static double held_kl(const read_case *c)
{
    double kl = 0.0;
    for (int t = 0; t < T; t++) {
        const float *s = c->tape.score + t * c->tape.capacity;
        if (!loci_kl_row(&c->opt, t)) continue;
        double sum = 0.0;
        for (int i = 0; i < c->n_eligible[t]; i++) sum += exp(s[i]);
        for (int i = 0; i < c->n_eligible[t]; i++) {
            const double y = c->target[t * CHUNKS + i];
            if (y > 0.0) kl += y * (log(y) - (s[i] - log(sum)));
        }
    }
    return kl / c->s.m.hp.n_groups;
}

static loss_value read_loss(void *ctx)
{
    read_case *c = ctx;
    loci_loss_sums sums = { 0 };
    loss_value v = { 0 };
    const loci_read_job job = job_of(c, &sums);
    const loci_loss_options *o = &c->opt;
    memcpy(c->y, c->h, T * 64 * sizeof *c->y);
    loci_read_forward(&c->s.m, &c->s.m.p.read[0], &c->tape, c->y, &job, c->scratch);
    add_dot(&v, c->r, c->y, T * 64);
    add_term(&v, o->kl * o->kl_scale * held_kl(c));
    add_term(&v, o->oracle * o->gold_scale * sums.oracle);
    add_term(&v, o->absence * o->absent_scale * sums.absence);
    add_term(&v, o->gate * o->query_scale * sums.gate);
    return v;
}

/* Redraw the landmarks of n chunks until every query prefers one of the two clearly. */
static void draw_landmarks(const read_case *c, float *landmark, int n, loci_rng *rng)
{
    const int d = c->s.m.hp.d_landmark;
    for (int i = 0; i < n; i++) {
        float *l = landmark + (size_t)i * 2 * d;
        double least = 0.0;
        while (least < 0.02) {
            fill_normal(l, (size_t)(2 * d), 0.3, rng);
            least = 1.0;
            for (int t = c->tape.first; t < T; t++) {
                const float *u = c->tape.u + t * d;
                least = fmin(least, fabs(c->s.m.k.dot(u, l, d) - c->s.m.k.dot(u, l + d, d)));
            }
        }
    }
}

/* Redraw the biases until the K-th and the next score differ clearly for every query, and with order until
 * no pick has less than a tenth of the weight of another. */
static void draw_biases(read_case *c, loci_rng *rng)
{
    const int K = c->s.m.hp.top_k;
    loci_loss_sums sums = { 0 };
    const loci_read_job job = job_of(c, &sums);
    for (double least = 0.0; least < 0.1;) {
        fill_normal(c->bank.bias, CHUNKS, c->s.m.hp.order ? 0.5 : 1.5, rng);
        memcpy(c->y, c->h, T * 64 * sizeof *c->y);
        loci_read_forward(&c->s.m, &c->s.m.p.read[0], &c->tape, c->y, &job, c->scratch);
        least = 1.0;
        for (int t = 6; t < T; t++) {
            const float *s = c->tape.score + t * c->tape.capacity;
            for (int i = 0; i < c->n_eligible[t]; i++) {
                int better = 0;
                double gap = 1.0; /* to the next above */
                for (int j = 0; j < c->n_eligible[t]; j++) {
                    if (s[j] <= s[i]) continue;
                    better++;
                    gap = fmin(gap, s[j] - s[i]);
                }
                if (better == K) least = fmin(least, gap);
                for (int j = 0; better < K && c->s.m.hp.order && j < c->n_eligible[t]; j++)
                    if (s[j] - s[i] > 2.2) least = 0.0;
            }
        }
    }
}

static void bank_open(read_case *c, loci_rng *rng)
{
    static const int32_t n_tokens[CHUNKS] = { 16, 16, 7, 16, 3 };
    static const int32_t first_query[CHUNKS] = { 6, 6, 10, 20, 30 };
    const loci_hparams *hp = &c->s.m.hp;
    const size_t l = (size_t)(hp->n_landmarks * hp->d_landmark), rows = CHUNKS * 16 * 32;
    memcpy(c->n_tokens, n_tokens, sizeof n_tokens);
    memcpy(c->first_query, first_query, sizeof first_query);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < CHUNKS; i++) c->n_eligible[t] += first_query[i] <= t;
    c->bank = (loci_chunks){ .n = CHUNKS,
                             .n_tokens = c->n_tokens,
                             .first_query = c->first_query,
                             .n_eligible = c->n_eligible,
                             .content = normal_array(rows, 1.0, rng),
                             .dcontent = normal_array(rows, 0.0, rng),
                             .landmark = normal_array(CHUNKS * l, 0.3, rng),
                             .dlandmark = normal_array(CHUNKS * l, 0.0, rng),
                             .bias = normal_array(CHUNKS, 0.5, rng),
                             .dbias = normal_array(CHUNKS, 0.0, rng) };
    for (int i = 0; i < PIECES; i++) {
        const int n = i == 1 ? 0 : 3 + i;
        c->neg[i].n = n;
        c->neg[i].landmark = normal_array((size_t)n * l, 0.3, rng);
        c->neg[i].bias = normal_array((size_t)n, 0.5, rng);
        c->neg[i].dlandmark = i == 2 ? NULL : normal_array((size_t)n * l, 0.0, rng);
        c->neg[i].dbias = i == 2 ? NULL : normal_array((size_t)n, 0.0, rng);
    }
}

static void read_open_with(read_case *c, loci_hparams hp, bool routed, int kl_every)
{
    loci_arena a = { 0 };
    loci_rng rng;
    memset(c, 0, sizeof *c);
    loci_rng_seed(&rng, SEED);
    small_model_open(&c->s, &hp, SEED);
    bank_open(c, &rng);
    for (int t = 0; t < T; t++) c->gold[t] = -1;
    c->gold[8] = 0;
    c->gold[25] = 3;
    c->gold[26] = 1;
    c->gold[12] = 4; /* not yet readable: no loss */
    c->gold[3] = c->gold[28] = -2;
    c->seq = (loci_sequence){ .T = T, .gold = c->gold };
    c->opt = (loci_loss_options){ .routed = routed,
                                  .kl = 0.9f,
                                  .oracle = 1.3f,
                                  .absence = 1.7f,
                                  .gate = 0.8f,
                                  .query_scale = 0.5f,
                                  .kl_every = kl_every,
                                  .kl_phase = kl_every > 1,
                                  .kl_scale = 0.6f,
                                  .gold_scale = 0.7f,
                                  .absent_scale = 1.1f,
                                  .grad_scale = 1.0f };
    loci_mix_tape mix;
    loci_read_plan(&c->tape, &a, &hp, T, CHUNKS, NULL);
    loci_mix_plan(&mix, &a, &hp, T);
    c->memory = loci_alloc_aligned(a.used);
    a = (loci_arena){ c->memory, a.used, 0 };
    loci_mix_plan(&mix, &a, &hp, T);
    loci_read_plan(&c->tape, &a, &hp, T, CHUNKS, mix.act);
    c->h = normal_array(T * 64, 1.0, &rng);
    c->y = normal_array(T * 64, 0.0, &rng);
    c->r = normal_array(T * 64, 0.3, &rng);
    c->dh = normal_array(T * 64, 0.0, &rng);
    c->target = normal_array(T * CHUNKS, 0.0, &rng);
    c->scratch = normal_array(loci_read_scratch(&hp, T, CHUNKS), 9.0, &rng);

    loci_loss_sums sums = { 0 };
    const loci_read_job job = job_of(c, &sums);
    memcpy(c->y, c->h, T * 64 * sizeof *c->y);
    loci_read_forward(&c->s.m, &c->s.m.p.read[0], &c->tape, c->y, &job, c->scratch); /* for u */
    draw_landmarks(c, c->bank.landmark, CHUNKS, &rng);
    for (int i = 0; i < PIECES; i++)
        draw_landmarks(c, (float *)c->neg[i].landmark, c->neg[i].n, &rng);
    draw_biases(c, &rng);
}

static void read_open(read_case *c, bool routed, int kl_every)
{
    read_open_with(c, small_hparams(), routed, kl_every);
}

static void read_close(read_case *c)
{
    float *all[] = { c->h,
                     c->y,
                     c->r,
                     c->dh,
                     c->target,
                     c->scratch,
                     c->bank.content,
                     c->bank.dcontent,
                     c->bank.landmark,
                     c->bank.dlandmark,
                     c->bank.bias,
                     c->bank.dbias };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) loci_free_aligned(all[i]);
    for (int i = 0; i < PIECES; i++) {
        loci_free_aligned((void *)c->neg[i].landmark);
        loci_free_aligned((void *)c->neg[i].bias);
        loci_free_aligned(c->neg[i].dlandmark);
        loci_free_aligned(c->neg[i].dbias);
    }
    loci_free_aligned(c->memory);
    small_model_close(&c->s);
}

/* The sums count what they say. */
static void check_sums(read_case *c, const loci_loss_sums *sums)
{
    const double share = 1.0 / c->s.m.hp.n_groups;
    assert_int_equal(sums->n_query, T - 6);
    assert_int_equal(sums->n_consult_pairs, T - 6);
    int n_kl = 0;
    for (int t = 6; t < T; t++) n_kl += loci_kl_row(&c->opt, t);
    assert_int_equal(sums->n_kl, n_kl);
    assert_int_equal(sums->n_gold, 3);
    assert_int_equal(sums->n_absent, c->opt.routed ? 2 : 0);
    assert_true(sums->recall >= 0.0 && sums->recall <= 3 * share);
    assert_true(fabs(sums->kl - held_kl(c)) < 1e-5);
    assert_true(sums->consulted >= 0 && sums->consulted <= T - 6);
}

/* With order the picks' places are counted, which no difference may change: the scores are drawn so
 * close that every pick counts as one. */
static void read_gradients_with(loci_hparams hp, bool routed, int kl_every)
{
    read_case c;
    loci_rng rng;
    loci_loss_sums sums = { 0 };
    read_open_with(&c, hp, routed, kl_every);
    loci_rng_seed(&rng, SEED + 1);
    const loci_read_job job = job_of(&c, &sums);
    const size_t l = (size_t)(hp.n_landmarks * hp.d_landmark);

    memcpy(c.y, c.h, T * 64 * sizeof *c.y);
    loci_read_forward(&c.s.m, &c.s.m.p.read[0], &c.tape, c.y, &job, c.scratch);
    for (int t = c.tape.first; t < T; t++)
        for (int i = 0; loci_kl_row(&c.opt, t) && i < c.n_eligible[t]; i++)
            c.target[t * CHUNKS + i] = c.tape.target[t * c.tape.capacity + i];
    check_sums(&c, &sums);
    memcpy(c.dh, c.r, T * 64 * sizeof *c.dh);
    loci_read_backward(&c.s.m, &c.s.m.p.read[0], &c.s.g.read[0], &c.tape, c.dh, &job, c.scratch);

    const loci_read_params *p = &c.s.m.p.read[0], *g = &c.s.g.read[0];
    const grad_array arrays[] = {
        { "h", c.h, c.dh, T * 64 },
        { "content", c.bank.content, c.bank.dcontent, CHUNKS * 16 * 32 },
        { "landmark", c.bank.landmark, c.bank.dlandmark, CHUNKS * l },
        { "bias", c.bank.bias, c.bank.dbias, CHUNKS },
        { "negative landmark", (float *)c.neg[0].landmark, c.neg[0].dlandmark, 3 * l },
        { "negative bias", (float *)c.neg[0].bias, c.neg[0].dbias, 3 },
        mat_array("router1", &p->router1, &g->router1),
        mat_array("router2", &p->router2, &g->router2),
        mat_array("gate_w", &p->gate_w, &g->gate_w),
        mat_array("gate_b", &p->gate_b, &g->gate_b),
        mat_array("null_score", &p->null_score, &g->null_score),
        mat_array("log_tau", &p->log_tau, &g->log_tau),
        mat_array("q", &p->q, &g->q),
        mat_array("o", &p->o, &g->o),
        mat_array("gate_up", &p->gate_up, &g->gate_up),
        mat_array("down", &p->down, &g->down),
        mat_array("place", hp.order ? &p->mark : &p->rank, hp.order ? &g->mark : &g->rank),
        mat_array("order", &p->order, &g->order),
    };
    grad_check check = grad_check_begin(read_loss, &c, 16);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays - !hp.order; i++) {
        grad_check_samples(&check, &arrays[i], 16, STEP, &rng);
        grad_check_direction(&check, &arrays[i], STEP / 8, &rng);
    }
    grad_check_end(&check);
    read_close(&c);
}

static void read_gradients(bool routed, int kl_every)
{
    read_gradients_with(small_hparams(), routed, kl_every);
}

static void test_order(void **state)
{
    (void)state;
    loci_hparams hp = small_hparams();
    hp.order = 1;
    read_gradients_with(hp, true, 1);
    read_gradients_with(hp, false, 1); /* dense: the heads' own mass, order has no say */
}

static void test_dense(void **state)
{
    (void)state;
    read_gradients(false, 1);
}

static void test_routed(void **state)
{
    (void)state;
    read_gradients(true, 1);
}

/* d loss / d gate[t], the gate moved by hand: all that hangs on it is the mix and the load term. */
static double gate_difference(read_case *c, int t)
{
    double side[2];
    float *gate = &c->tape.gate[t], keep = *gate;
    for (int i = 0; i < 2; i++) {
        *gate = keep + (i ? 0.01f : -0.01f);
        memcpy(c->y, c->h, T * 64 * sizeof *c->y);
        loci_mix_forward(&c->s.m, &c->s.m.p.read[0], &c->tape.mix, c->y, c->tape.o, c->tape.gate,
                         c->tape.first, T);
        side[i] = c->s.m.k.dot(c->r, c->y, T * 64);
    }
    *gate = keep;
    const double load = c->n_eligible[t] ? c->opt.gate * c->opt.query_scale : 0.0;
    return (side[1] - side[0]) / 0.02 + load;
}

/* Hard gates: every parameter but the gate's own by differences, which do not move a step; the
 * gate's by the definition of straight through, dz = d loss / d gate g (1 - g). */
static void test_hard_gate(void **state)
{
    (void)state;
    read_case c;
    loci_rng rng;
    loci_loss_sums sums = { 0 };
    loci_hparams hp = small_hparams();
    hp.hard_gate = 1;
    read_open_with(&c, hp, true, 1);
    loci_rng_seed(&rng, SEED + 3);
    const loci_read_job job = job_of(&c, &sums);
    memcpy(c.y, c.h, T * 64 * sizeof *c.y);
    loci_read_forward(&c.s.m, &c.s.m.p.read[0], &c.tape, c.y, &job, c.scratch);
    int open = 0;
    for (int t = 6; t < T; t++) {
        assert_true(c.tape.gate[t] == (c.tape.soft[t] > 0.5f ? 1.0f : 0.0f));
        open += c.tape.gate[t] == 1.0f;
        for (int i = 0; i < c.n_eligible[t]; i++)
            c.target[t * CHUNKS + i] = c.tape.target[t * c.tape.capacity + i];
    }
    assert_in_range(open, 5, T - 6 - 5); /* some of both */
    assert_true(sums.gate == open && sums.consulted == open);
    memcpy(c.dh, c.r, T * 64 * sizeof *c.dh);
    loci_read_backward(&c.s.m, &c.s.m.p.read[0], &c.s.g.read[0], &c.tape, c.dh, &job, c.scratch);

    const loci_read_params *p = &c.s.m.p.read[0], *g = &c.s.g.read[0];
    double dw[64] = { 0 }, db = 0.0, size = 0.0;
    for (int t = c.tape.first; t < T; t++) {
        const double soft = c.tape.soft[t], dz = gate_difference(&c, t) * soft * (1.0 - soft);
        db += dz;
        for (int i = 0; i < 64; i++) dw[i] += dz * c.tape.xn[t * 64 + i];
        size += fabs(dz);
    }
    /* Central differences at 0.01 of a function that is smooth there: 1e-3 of what is summed. */
    assert_true(fabs(db - *(const float *)g->gate_b.data) <= 1e-3 * size);
    for (int i = 0; i < 64; i++)
        assert_true(fabs(dw[i] - ((const float *)g->gate_w.data)[i]) <= 3e-3 * size);
    assert_true(fabs(db) > 0.01 * size);

    const grad_array arrays[] = {
        { "content", c.bank.content, c.bank.dcontent, CHUNKS * 16 * 32 },
        mat_array("router2", &p->router2, &g->router2),
        mat_array("null_score", &p->null_score, &g->null_score),
        mat_array("q", &p->q, &g->q),
        mat_array("o", &p->o, &g->o),
        mat_array("down", &p->down, &g->down),
        mat_array("rank", &p->rank, &g->rank),
    };
    grad_check check = grad_check_begin(read_loss, &c, 16);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        grad_check_samples(&check, &arrays[i], 8, STEP, &rng);
        grad_check_direction(&check, &arrays[i], STEP / 8, &rng);
    }
    grad_check_end(&check);
    read_close(&c);
}

/* KL on a part of the rows: rows 1, 4, 7, ... with their own mass, the others without a word. */
static void test_kl_rows(void **state)
{
    (void)state;
    read_gradients(false, 3);
    read_gradients(true, 3);
    read_gradients(true, 0);
}

/* The mass of a few rows is what all rows together give for them; what is not asked for stays. */
static void test_kl_rows_mass(void **state)
{
    (void)state;
    read_case all, some;
    loci_loss_sums sums = { 0 };
    read_open(&all, true, 1);
    read_open(&some, true, 3);
    read_case *both[2] = { &all, &some };
    for (int i = 0; i < 2; i++) {
        read_case *c = both[i];
        const loci_read_job job = job_of(c, &sums);
        for (int j = 0; j < T * CHUNKS; j++) c->tape.target[j] = -1.0f;
        memcpy(c->y, c->h, T * 64 * sizeof *c->y);
        loci_read_forward(&c->s.m, &c->s.m.p.read[0], &c->tape, c->y, &job, c->scratch);
    }
    for (int t = 6; t < T; t++)
        for (int i = 0; i < all.n_eligible[t]; i++) {
            const int at = t * CHUNKS + i;
            const float want = t % 3 == 1 ? all.tape.target[at] : -1.0f;
            assert_true(fabsf(some.tape.target[at] - want) <= 1e-6f);
        }
    for (int i = 0; i < T * 64; i++) assert_true(all.y[i] == some.y[i]);
    read_close(&all);
    read_close(&some);
}

/* Choices of the routed mode against a plain sort: the K best, oldest first, weights that leave
 * room for null and negatives. */
static void test_routed_choice(void **state)
{
    (void)state;
    read_case c;
    loci_loss_sums sums = { 0 };
    read_open(&c, true, 1);
    c.bank.bias[1] = c.bank.bias[0];
    const size_t l = (size_t)(c.s.m.hp.n_landmarks * c.s.m.hp.d_landmark);
    memcpy(c.bank.landmark + l, c.bank.landmark, l * sizeof(float)); /* equals: lower index first */
    const loci_read_job job = job_of(&c, &sums);
    const double null = *(const float *)c.s.m.p.read[0].null_score.data;
    memcpy(c.y, c.h, T * 64 * sizeof *c.y);
    loci_read_forward(&c.s.m, &c.s.m.p.read[0], &c.tape, c.y, &job, c.scratch);
    assert_int_equal(c.tape.first, 3); /* the absent fact at token 3 */
    for (int t = c.tape.first; t < T; t++) {
        const float *s = c.tape.score + t * c.tape.capacity;
        const int32_t *pick = c.tape.pick + t * 2;
        const int n = c.n_eligible[t] < 2 ? c.n_eligible[t] : 2;
        double den = exp(null) + exp(c.tape.lse_neg[t]);
        assert_int_equal(c.tape.n_pick[t], n);
        for (int i = 0; i < n; i++) {
            int better = 0;
            for (int j = 0; j < c.n_eligible[t]; j++)
                better += s[j] > s[pick[i]] || (s[j] == s[pick[i]] && j < pick[i]);
            assert_true(better < 2);
            assert_true(i == 0 || pick[i] > pick[i - 1]);
            den += exp(s[pick[i]]);
        }
        for (int i = 0; i < n; i++)
            assert_true(fabs(c.tape.w[t * 2 + i] - exp(s[pick[i]]) / den) < 1e-6);
    }
    read_close(&c);
}

/* A temperature at its limit has no gradient and does not rise. */
static void test_tau_limit(void **state)
{
    (void)state;
    read_case c;
    loci_loss_sums sums = { 0 };
    read_open(&c, true, 1);
    const loci_read_job job = job_of(&c, &sums);
    *(float *)c.s.m.p.read[0].log_tau.data = 5.0f;
    assert_true(loci_router_tau(&c.s.m.p.read[0]) == 40.0f);
    memcpy(c.y, c.h, T * 64 * sizeof *c.y);
    loci_read_forward(&c.s.m, &c.s.m.p.read[0], &c.tape, c.y, &job, c.scratch);
    memcpy(c.dh, c.r, T * 64 * sizeof *c.dh);
    loci_read_backward(&c.s.m, &c.s.m.p.read[0], &c.s.g.read[0], &c.tape, c.dh, &job, c.scratch);
    assert_true(*(const float *)c.s.g.read[0].log_tau.data == 0.0f);
    read_close(&c);
}

/* ---- negatives over several blocks ------------------------------------------------------------ */

enum { N_MANY = 1300, N_ROWS = 70 };

typedef struct {
    loci_model m;
    loci_negative_job job;
    loci_negatives piece[4];
    int32_t rows[N_ROWS], above[2 * N_ROWS];
    float *u, *du, *lse, *dlse, *bar, *lm, *dlm, *bias, *dbias, *scratch;
} many_case;

static loss_value many_loss(void *ctx)
{
    many_case *c = ctx;
    loss_value v = { 0 };
    loci_negatives_forward(&c->m, &c->job, c->bar, c->lse, c->above, c->scratch);
    for (int i = 0; i < N_ROWS; i++) add_term(&v, (double)c->dlse[c->rows[i]] * c->lse[c->rows[i]]);
    return v;
}

static void many_open(many_case *c, loci_rng *rng)
{
    static const int cut[5] = { 0, 300, 300, 1200,
                                N_MANY }; /* an empty piece, one over two blocks */
    memset(c, 0, sizeof *c);
    loci_rng_seed(rng, SEED + 2);
    c->m.hp = small_hparams();
    loci_kernels_init(&c->m.k, 0);
    const size_t d = (size_t)c->m.hp.d_landmark, l = d * (size_t)c->m.hp.n_landmarks;
    c->u = normal_array(2 * N_ROWS * d, 0.2, rng);
    c->du = normal_array(2 * N_ROWS * d, 0.0, rng);
    c->lse = normal_array(2 * N_ROWS, 0.0, rng);
    c->dlse = normal_array(2 * N_ROWS, 1.0, rng);
    c->bar = normal_array(2 * N_ROWS, 1.0, rng);
    c->lm = normal_array(N_MANY * l, 0.2, rng);
    c->dlm = normal_array(N_MANY * l, 0.0, rng);
    c->bias = normal_array(N_MANY, 0.5, rng);
    c->dbias = normal_array(N_MANY, 0.0, rng);
    c->scratch = normal_array(loci_negatives_scratch(&c->m.hp), 0.0, rng);
    for (int i = 0; i < 4; i++)
        c->piece[i] =
            (loci_negatives){ c->lm + (size_t)cut[i] * l, c->bias + cut[i],
                              c->dlm + (size_t)cut[i] * l, c->dbias + cut[i], cut[i + 1] - cut[i] };
    for (int i = 0; i < N_ROWS; i++) c->rows[i] = 2 * i;
    c->bar[2] = INFINITY;
    c->job = (loci_negative_job){ c->piece, 4, c->u, 6.0f, c->rows, N_ROWS };
}

static void test_negatives(void **state)
{
    (void)state;
    many_case c;
    loci_rng rng;
    many_open(&c, &rng);
    const int d = c.m.hp.d_landmark, M = c.m.hp.n_landmarks;
    grad_check check = grad_check_begin(many_loss, &c, 16);
    for (int i = 0; i < N_ROWS; i++) {
        const int t = c.rows[i];
        double sum = 0.0;
        int above = 0;
        for (int j = 0; j < N_MANY; j++) {
            double top = -INFINITY;
            for (int k = 0; k < M; k++)
                top = fmax(top, c.m.k.dot(c.u + t * d, c.lm + (j * M + k) * d, (size_t)d));
            const double s = 6.0 * top + c.bias[j];
            sum += exp(s);
            above += (float)s > c.bar[t];
        }
        assert_true(fabs(c.lse[t] - log(sum)) < 1e-5);
        assert_true(abs(c.above[t] - above) <= 1); /* a score at the bar may round either way */
    }
    assert_int_equal(c.above[2], 0);

    loci_negatives_backward(&c.m, &c.job, c.lse, c.dlse, c.du, c.scratch);
    const float dtau = (float)c.m.k.dot(c.du, c.u, (size_t)(2 * N_ROWS * d)) / 6.0f;
    const grad_array arrays[] = { { "u", c.u, c.du, (size_t)(2 * N_ROWS * d) },
                                  { "landmark", c.lm, c.dlm, (size_t)(N_MANY * M * d) },
                                  { "bias", c.bias, c.dbias, N_MANY },
                                  { "tau", &c.job.tau, &dtau, 1 } };
    for (int i = 0; i < 4; i++) {
        grad_check_samples(&check, &arrays[i], 2, 8 * STEP, &rng);
        grad_check_direction(&check, &arrays[i], STEP, &rng);
    }
    grad_check_end(&check);
    float *all[] = { c.u, c.du, c.lse, c.dlse, c.bar, c.lm, c.dlm, c.bias, c.dbias, c.scratch };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) loci_free_aligned(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),     cmocka_unit_test(test_routed),
        cmocka_unit_test(test_order),     cmocka_unit_test(test_routed_choice),
        cmocka_unit_test(test_tau_limit), cmocka_unit_test(test_negatives),
        cmocka_unit_test(test_kl_rows),   cmocka_unit_test(test_kl_rows_mass),
        cmocka_unit_test(test_hard_gate),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
