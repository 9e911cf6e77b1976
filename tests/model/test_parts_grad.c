/* test_parts_grad.c - parts of the architecture that are off by default, in a whole model.
 *
 * Goal: trained codes and packed content have the losses that they should have, move what they should
 * move and nothing else.  Method: losses again in double, by their definition; extrapolated
 * differences (grad_check.h) of the batch of pass_batch.h.  A rounding has no gradient: a quantiser
 * that keeps everything stands in for it there. */
#include "pass_batch.h"

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
            z[n] = 8.0 / D * dot(bq, bk, D);
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

static void tier_open_with(batch *b, bool routed, float share, int shared_kv)
{
    loci_hparams hp = small_hparams();
    hp.shared_kv = shared_kv;
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

static void tier_open(batch *b, bool routed, float share)
{
    tier_open_with(b, routed, share, 0);
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
    const int w = loci_content_cols(&b->s.m.hp);
    double sum = 0.0;
    for (int i = 0; i < 2; i++)
        for (int c = 0; c < b->pass[i]->bank.n; c++)
            for (int j = 0; j < b->pass[i]->bank.n_tokens[c] * w; j++) {
                const int at = c * 16 * w + j;
                const double off = b->pass[i]->bank.content[at] - held[i][at];
                if (loci_tier_packed(&b->q[i].s, c)) sum += off * off / w;
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

static void tier_gradients(bool routed, int shared_kv)
{
    batch b;
    loci_rng rng;
    loci_param_info info[512];
    tier_open_with(&b, routed, 0.5f, shared_kv);
    b.s.m.k.quant_q4 = keep_rows;
    b.s.m.k.dequant_q4 = give_rows;
    loci_rng_seed(&rng, SEED + 11);
    batch_run(&b, &b.s.g);
    hold_targets(&b);
    for (int i = 0; i < 2; i++) {
        const size_t n = (size_t)(b.pass[i]->bank.n * 16 * loci_content_cols(&b.s.m.hp));
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
    tier_gradients(false, 0);
    tier_gradients(true, 0);
    tier_gradients(false, 1);
    tier_gradients(true, 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_code_agreement),
        cmocka_unit_test(test_tier_gradients),
        cmocka_unit_test(test_tiers),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
