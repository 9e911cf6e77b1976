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

/* ---- trained codes ------------------------------------------------------------------------------- */

static loss_value code_loss(void *ctx)
{
    batch *b = ctx;
    const loci_loss_options *o = &b->opt;
    loss_value v = { 0 };
    memset(&b->sums, 0, sizeof b->sums);
    for (int i = 0; i < 2; i++) { /* the tapes as they are: nothing in them depends on the maps */
        loci_negatives neg = { 0 };
        neg.n = loci_pass_bank(b->pass[1 - i], &neg.landmark, &neg.bias);
        loci_code_loss(&b->s.m, &b->q[i].s, &b->pass[i]->bank, b->pass[i]->read, &neg, 1, o, NULL,
                       &b->sums, b->pass[i]->scratch);
    }
    add_sum(&v, o->hash * o->code_scale * b->sums.hash, b->sums.n_hash);
    add_sum(&v, o->hash * o->code_bank_scale * b->sums.spread, b->sums.n_spread);
    return v;
}

/* b (d) = tanh(a sqrt(d) H x) */
static void soft_code(const batch *b, double *code, const loci_mat *map, const float *x)
{
    const int d = b->s.m.hp.d_landmark;
    for (int i = 0; i < d; i++) {
        double sum = 0.0;
        for (int e = 0; e < d; e++) sum += (double)((float *)map->data)[i * d + e] * x[e];
        code[i] = tanh(b->opt.code_slope * sqrt(d) * sum);
    }
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* KL of one row by the definition: own eligible chunks, then the other sequence's. */
static double plain_kl(const batch *b, int q, int g, int t)
{
    enum { MOST = 16, D = 24 };
    const loci_read_tape *r = &b->pass[q]->read[g];
    const loci_chunks *bank[2] = { &b->pass[q]->bank, &b->pass[1 - q]->bank };
    double s[MOST], z[MOST], bq[D], bk[D], sum_s = 0.0, sum_z = 0.0, kl = 0.0;
    const float *u = r->u + t * D;
    int n = 0;
    soft_code(b, bq, &b->s.m.p.code.query, u);
    for (int side = 0; side < 2; side++)
        for (int c = 0; c < (side ? bank[1]->n : bank[0]->n_eligible[t]); c++, n++) {
            const float *l = bank[side]->landmark + c * D;
            soft_code(b, bk, &b->s.m.p.code.key, l);
            s[n] = bank[side]->bias[c];
            for (int i = 0; i < D; i++) s[n] += (double)r->tau * u[i] * l[i];
            z[n] = 16.0 / D * dot(bq, bk, D);
            sum_s += exp(s[n]);
            sum_z += exp(z[n]);
        }
    for (int i = 0; i < n; i++) kl += exp(s[i]) / sum_s * (s[i] - log(sum_s) - (z[i] - log(sum_z)));
    return kl;
}

/* Balance and decorrelation of the bank of sequence q. */
static double plain_spread(const batch *b, int q)
{
    enum { MOST = 16, D = 24 };
    const loci_chunks *bank = &b->pass[q]->bank;
    double code[MOST][D], sum = 0.0;
    for (int c = 0; c < bank->n; c++)
        soft_code(b, code[c], &b->s.m.p.code.key, bank->landmark + c * D);
    for (int i = 0; i < D; i++) {
        double first = 0.0;
        for (int c = 0; c < bank->n; c++) first += code[c][i] / bank->n;
        sum += first * first / D;
        for (int e = 0; e < D; e++) {
            double both = 0.0;
            for (int c = 0; c < bank->n; c++) both += code[c][i] * code[c][e] / bank->n;
            if (e != i) sum += both * both / (D * D);
        }
    }
    return sum;
}

static void code_options(batch *b)
{
    b->opt.hash = 0.8f;
    b->opt.code_slope = 1.7f;
    b->opt.code_every = 7;
    b->opt.code_phase = 3;
    b->opt.code_scale = 0.3f;
    b->opt.code_bank_scale = 0.5f;
}

/* The loss is what code_loss.c says, its gradient too, and nothing but the maps learns from it. */
static void code_gradients(bool routed)
{
    batch b;
    loci_rng rng;
    loci_hparams hp = small_hparams();
    hp.trained_codes = 1;
    batch_open_with(&b, routed, hp);
    loci_rng_seed(&rng, SEED + 9);
    batch_run(&b, &b.s.g);
    const loci_mat *p[2] = { &b.s.m.p.code.key, &b.s.m.p.code.query };
    loci_mat *g[2] = { &b.s.g.code.key, &b.s.g.code.query };
    for (int i = 0; i < 24 * 24; i++)
        assert_true(((float *)g[0]->data)[i] == 0.0f && ((float *)g[1]->data)[i] == 0.0f);
    float *without = malloc(b.s.n * sizeof *without);
    memcpy(without, b.s.grad, b.s.n * sizeof *without);
    memset(b.s.grad, 0, b.s.n * sizeof *without);
    code_options(&b);
    batch_run(&b, &b.s.g);

    double kl = 0.0, spread = 0.0;
    int rows = 0;
    for (int q = 0; q < 2; q++) {
        spread += plain_spread(&b, q);
        for (int t = 0; t < b.q[q].s.T; t++) {
            const int n = b.pass[q]->bank.n_eligible[t], gold = b.q[q].gold[t];
            if (n == 0 || (t % 7 != 3 && (gold < 0 || gold >= n))) continue;
            rows++;
            for (int i = 0; i < 2; i++) kl += plain_kl(&b, q, i, t) / 2.0;
        }
    }
    assert_int_equal(b.sums.n_hash, rows);
    assert_in_range(rows, 5, 60);
    assert_int_equal(b.sums.n_spread, 2);
    assert_true(fabs(b.sums.hash - kl) < 1e-4 * kl);
    assert_true(fabs(b.sums.spread - spread) < 1e-5 * spread);
    assert_true(b.sums.agreement > 0.0 && b.sums.agreement <= (double)b.sums.n_gold);

    grad_check check = grad_check_begin(code_loss, &b, 32);
    for (int i = 0; i < 2; i++) {
        const grad_array a = mat_array(i ? "codes.query" : "codes.key", p[i], g[i]);
        grad_check_samples(&check, &a, 20, 4e-3, &rng);
        grad_check_direction(&check, &a, 5e-4, &rng);
        memset(g[i]->data, 0, 24 * 24 * sizeof(float));
    }
    grad_check_end(&check);
    assert_memory_equal(without, b.s.grad, b.s.n * sizeof *without);
    free(without);
    batch_close(&b);
}

static void test_codes(void **state)
{
    (void)state;
    code_gradients(false);
    code_gradients(true);
}

/* Agreement counts the bits of signs: maps that give a query its gold chunk's code, or no bit of
 * it. */
static void test_code_agreement(void **state)
{
    (void)state;
    loci_hparams hp = small_hparams();
    batch b;
    hp.trained_codes = 1;
    hp.n_groups = 1;
    batch_open_with(&b, true, hp);
    code_options(&b);
    batch_run(&b, NULL);
    for (int t = 0; t < b.q[0].s.T; t++) b.q[0].gold[t] = -1;
    b.q[1].gold[45] = -1;
    b.q[0].gold[62] = 1;
    const float *u = b.pass[0]->read[0].u + 62 * 24, *l = b.pass[0]->bank.landmark + 24;
    for (int right = 0; right <= 24; right += 6) {
        float *key = b.s.m.p.code.key.data, *query = b.s.m.p.code.query.data;
        for (int i = 0; i < 24; i++)
            for (int e = 0; e < 24; e++) { /* rows l and +-u: products |l|^2 and +-|u|^2 */
                key[i * 24 + e] = l[e];
                query[i * 24 + e] = i < right ? u[e] : -u[e];
            }
        batch_run(&b, NULL);
        assert_int_equal(b.sums.n_gold, 1);
        assert_true(fabs(b.sums.agreement - right / 24.0) < 1e-9);
    }
    batch_close(&b);
}

/* ---- content at 4 bits ----------------------------------------------------------------------------- */

/* A quantiser that keeps everything: then the gradient that ignores the rounding is the gradient. */
static float kept[16 * LOCI_PACK];

static void keep_rows(uint8_t *q, int ldq, uint16_t *scale, int lds, const float *x, int ldx,
                      int rows, int cols)
{
    (void)q, (void)ldq, (void)scale, (void)lds;
    for (int r = 0; r < rows; r++) memcpy(kept + r * cols, x + r * ldx, (size_t)cols * sizeof *x);
}

static void give_rows(float *x, int ldx, const uint8_t *q, int ldq, const uint16_t *scale, int lds,
                      int rows, int cols)
{
    (void)q, (void)ldq, (void)scale, (void)lds;
    for (int r = 0; r < rows; r++) memcpy(x + r * ldx, kept + r * cols, (size_t)cols * sizeof *x);
}

static void tier_open(batch *b, bool routed, float share)
{
    loci_hparams hp = small_hparams();
    hp.d_summary = 16;
    hp.content_bits4 = 1;
    batch_open_with(b, routed, hp);
    for (int i = 0; i < 2; i++) {
        b->q[i].s.tier_seed = (uint64_t)(40 + i);
        b->q[i].s.tier_share = share;
    }
    b->opt.ageing = 0.7f;
    b->opt.ageing_scale = 0.05f;
}

static int count_packed(const batch *b, int i)
{
    int n = 0;
    for (int c = 0; c < b->pass[i]->bank.n; c++) n += loci_tier_packed(&b->q[i].s, c);
    return n;
}

/* The whole model, some chunks packed and some whole.  What the loss compares packed rows with is
 * not differentiated: the differences hold it where it was. */
static double held_ageing(const batch *b, float *const held[2])
{
    double sum = 0.0;
    for (int i = 0; i < 2; i++)
        for (int c = 0; c < b->pass[i]->bank.n; c++)
            for (int j = 0; j < b->pass[i]->bank.n_tokens[c] * 32; j++) {
                const int at = c * 16 * 32 + j;
                const double off = b->pass[i]->bank.content[at] - held[i][at];
                if (loci_tier_packed(&b->q[i].s, c)) sum += off * off / 32;
            }
    return sum;
}

static float *held_rows[2];

static loss_value tier_loss(void *ctx)
{
    batch *b = ctx;
    const loci_loss_options *o = &b->opt;
    loss_value v = batch_loss(b);
    add_sum(&v, o->ageing * o->ageing_scale * held_ageing(b, held_rows), 30 * 32);
    return v;
}

static void tier_gradients(bool routed)
{
    batch b;
    loci_rng rng;
    loci_param_info info[512];
    tier_open(&b, routed, 0.5f);
    b.s.m.k.quant_q4 = keep_rows;
    b.s.m.k.dequant_q4 = give_rows;
    loci_rng_seed(&rng, SEED + 11);
    batch_run(&b, &b.s.g);
    hold_targets(&b);
    for (int i = 0; i < 2; i++) {
        const size_t n = (size_t)(b.pass[i]->bank.n * 16 * 32);
        held_rows[i] = normal_array(n, 0.0, &rng);
        memcpy(held_rows[i], b.pass[i]->tier.whole, n * sizeof(float));
    }
    assert_true(count_packed(&b, 0) > 0 && count_packed(&b, 0) < b.pass[0]->bank.n);
    assert_true(fabs(b.sums.ageing - held_ageing(&b, held_rows)) < 1e-5 * b.sums.ageing);
    grad_check check = grad_check_begin(tier_loss, &b, 64);
    const int n = loci_param_list(&b.s.m.hp, info, 512);
    for (int i = 0; i < n; i++) {
        const loci_mat *p = (const loci_mat *)((const char *)&b.s.m.p + info[i].offset);
        const loci_mat *g = (const loci_mat *)((const char *)&b.s.g + info[i].offset);
        const grad_array a = mat_array(info[i].name, p, g);
        const bool near = strncmp(info[i].name, "bank.", 5) == 0; /* the rest is as before */
        if (near) grad_check_samples(&check, &a, 4, 4e-3, &rng);
    }
    const grad_array all = { "all", b.s.base, b.s.grad, b.s.n };
    grad_check_direction(&check, &all, 1e-4, &rng);
    grad_check_end(&check);
    for (int i = 0; i < 2; i++) loci_free_aligned(held_rows[i]);
    batch_close(&b);
}

static void test_tier_gradients(void **state)
{
    (void)state;
    tier_gradients(false);
    tier_gradients(true);
}

/* What is served is the packed form or the whole one, by the draw of the chunk; a share of 0 changes
 * nothing at all, of 1 takes every chunk, and other seeds take other chunks. */
static void test_tiers(void **state)
{
    (void)state;
    batch b;
    tier_open(&b, true, 0.0f);
    const loci_chunks *bank = &b.pass[0]->bank;
    float *whole = malloc(5 * 16 * 32 * sizeof *whole), rows[16 * 32];
    int taken[3];
    for (int i = 0; i < 3; i++) {
        b.q[0].s.tier_share = 0.5f * (float)i;
        batch_run(&b, NULL);
        taken[i] = count_packed(&b, 0);
        if (i == 0) memcpy(whole, bank->content, 5 * 16 * 32 * sizeof *whole);
        for (int c = 0; c < bank->n; c++) {
            uint8_t q[16 * LOCI_PACK / 2];
            uint16_t scale[16 * LOCI_PACK / 32];
            const size_t at = (size_t)c * 16 * 32, bytes = (size_t)bank->n_tokens[c] * 32 * 4;
            memcpy(rows, whole + at, sizeof rows);
            if (loci_tier_packed(&b.q[0].s, c)) {
                loci_pack_content(&b.s.m, q, scale, whole + at, bank->n_tokens[c]);
                loci_unpack_content(&b.s.m, rows, q, scale, bank->summary + c * 16,
                                    bank->n_tokens[c]);
            }
            assert_memory_equal(rows, bank->content + at, bytes);
        }
    }
    assert_true(taken[0] == 0 && taken[1] > 0 && taken[1] < 5 && taken[2] == 5);
    int n = 0, differ = 0;
    loci_sequence s = { .tier_share = 0.25f }, other = { .tier_seed = 1, .tier_share = 0.25f };
    for (int c = 0; c < 4000; c++) {
        n += loci_tier_packed(&s, c);
        differ += loci_tier_packed(&s, c) != loci_tier_packed(&other, c);
    }
    assert_in_range(n, 1000 - 5 * 28, 1000 + 5 * 28); /* five deviations */
    assert_in_range(differ, 1500 - 5 * 31, 1500 + 5 * 31);
    free(whole);
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
        cmocka_unit_test(test_too_many_chunks), cmocka_unit_test(test_codes),
        cmocka_unit_test(test_tier_gradients),  cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_code_agreement),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
