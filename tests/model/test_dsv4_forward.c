/* Goal: the forward pass of the DeepSeek-V4 family computes its equations, a prompt may be cut
 * anywhere and shared out over any number of threads without a bit changing, and a sequence that
 * went back is the sequence that never went there.
 * Method: tiny models with every kind of layer and mixer settings under which each step shows in the
 * logits; the truth is dsv4_reference.h, in double, over the whole text at once.  Cuts, threads and
 * rewinds are compared bit for bit, in all three modes. */
#include "dsv4_reference.h"
#include "model/dsv4/dsv4_impl.h"

enum { T_MAX = 200 };

static double compare(const float *got, const double *want, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = fabs((double)got[i] - want[i]);
        if (!(e <= worst)) worst = e;
    }
    return worst;
}

/* Logits of the shape against the reference; bound at logit deviation about 1. */
static void against_reference(loci_dsv4_hparams hp, float mix_scale, int T, const char *what)
{
    tiny *t = tiny_open(hp, mix_scale, false, LOCI_DSV4_MODE_F32);
    int32_t ids[T_MAX];
    ref r = { .k = &t->k, .hp = &t->hp, .T = T, .closest = INFINITY };
    random_ids(ids, T, hp.vocab, 11);
    double *X = ref_streams(&r, ids), *want = doubles((int64_t)T * hp.vocab);
    ref_head(&r, "", X, want);
    float *got = malloc((size_t)T * (size_t)hp.vocab * sizeof *got);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    extend(s, ids, T, got, T);
    double square = 0;
    for (int64_t i = 0; i < (int64_t)T * hp.vocab; i++) square += want[i] * want[i];
    const double deviation = sqrt(square / (T * hp.vocab));
    const double worst = compare(got, want, (int64_t)T * hp.vocab);
    print_message("%s: error %.2g, logits' deviation %.2f, closest index scores %.2g\n", what,
                  worst, deviation, r.closest);
    assert_true(r.closest > 1e-6); /* otherwise the text decides nothing */
    assert_true(deviation > 0.3 && deviation < 3);
    assert_true(worst < 2e-4);
    loci_dsv4_seq_close(s);
    free(X);
    free(want);
    free(got);
    tiny_close(t);
}

static void test_equations(void **state)
{
    (void)state;
    loci_dsv4_hparams hp = tiny_shape();
    against_reference(hp, 1, T_MAX, "plain mixers");
    against_reference(hp, 4, T_MAX, "steep mixers");
    hp.yarn = false;
    hp.swiglu_limit = 0;
    hp.streams = 2;
    hp.window = 3;
    hp.index_topk = 1;
    against_reference(hp, 2, 100, "two streams, window 3, one pick");
    hp.layer[4].kind = LOCI_DSV4_CSA; /* another rate of the overlapping kind */
    hp.layer[4].overlap = hp.layer[4].indexer = true;
    hp.rope_dim = 16;
    hp.o_groups = 4;
    hp.n_active = 5;
    against_reference(hp, 2, 150, "rate 16 with overlap, five experts");
}

/* ---- cuts, threads --------------------------------------------------------------------------------- */

static void same_bits(const float *a, const float *b, int64_t n, const char *what, int at)
{
    if (memcmp(a, b, (size_t)n * sizeof *a) == 0) return;
    for (int64_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0)
            fail_msg("%s %d: value %lld is %.9g, should be %.9g", what, at, (long long)i, b[i],
                     a[i]);
}

static void in_mode(loci_dsv4_mode mode, bool quantised)
{
    loci_dsv4_hparams hp = tiny_shape();
    if (quantised) hp.hidden = hp.q_rank = hp.expert_width = 64; /* whole blocks of 32 */
    tiny *t = tiny_open(hp, 2, quantised, mode);
    const int V = hp.vocab;
    int32_t ids[T_MAX];
    random_ids(ids, T_MAX, V, 12);
    float *whole = malloc((size_t)T_MAX * (size_t)V * sizeof *whole),
          *part = malloc(sizeof *part * T_MAX * V);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    extend(s, ids, T_MAX, whole, T_MAX);
    for (int i = 0; i < T_MAX * V; i++) assert_true(isfinite(whole[i]));

    loci_dsv4_seq_reset(s); /* one by one */
    for (int i = 0; i < T_MAX; i++) extend(s, ids + i, 1, part + i * V, 1);
    same_bits(whole, part, T_MAX * V, "single steps", 0);

    loci_pool *pool;
    assert_int_equal(loci_pool_open(&pool, 3, NULL), LOCI_OK);
    loci_rng rng;
    loci_rng_seed(&rng, 13);
    for (int round = 0; round < 6; round++) { /* random cuts, on threads */
        loci_dsv4_seq *c = open_seq(&t->m, pool);
        for (int at = 0; at < T_MAX;) {
            int n = 1 + (int)loci_rng_below(&rng, round % 2 ? 9 : 90);
            if (n > T_MAX - at) n = T_MAX - at;
            extend(c, ids + at, n, part + at * V, n);
            at += n;
        }
        same_bits(whole, part, T_MAX * V, "cuts", round);
        loci_dsv4_seq_close(c);
    }
    loci_pool_close(pool);
    loci_dsv4_seq_close(s);
    free(whole);
    free(part);
    tiny_close(t);
}

static void test_cuts_f32(void **state)
{
    (void)state;
    in_mode(LOCI_DSV4_MODE_F32, false);
}

static void test_cuts_fast(void **state)
{
    (void)state;
    in_mode(LOCI_DSV4_MODE_FAST, false);
    in_mode(LOCI_DSV4_MODE_FAST, true);
}

static void test_cuts_exact(void **state)
{
    (void)state;
    in_mode(LOCI_DSV4_MODE_EXACT, true);
}

/* ---- going back ------------------------------------------------------------------------------------- */

static void test_rewind(void **state)
{
    (void)state;
    tiny *t = tiny_open(tiny_shape(), 2, false, LOCI_DSV4_MODE_FAST);
    const int V = t->hp.vocab;
    int32_t ids[T_MAX], other[T_MAX];
    float want[96], got[96];
    random_ids(ids, T_MAX, V, 14);
    random_ids(other, T_MAX, V, 15);
    loci_dsv4_seq *a = open_seq(&t->m, NULL), *b = open_seq(&t->m, NULL);
    extend(b, ids, 60, NULL, 0);
    for (int n = 1; n <= 40; n++) { /* every offset modulo the rates */
        const int at = 60 + n;
        extend(b, ids + at - 1, 1, NULL, 0);
        extend(b, other, n, NULL, 0);
        assert_true(loci_dsv4_rewind(b, n));
        assert_int_equal(loci_dsv4_seq_length(b), at);
        loci_dsv4_seq_reset(a);
        extend(a, ids, at, want, 1);
        extend(a, ids + at, 1, want, 1);
        extend(b, ids + at, 1, got, 1);
        same_bits(want, got, V, "rewound at", at);
        assert_true(loci_dsv4_rewind(b, 1));
    }
    assert_false(loci_dsv4_rewind(b, LOCI_DSV4_BATCH + 1));
    assert_false(loci_dsv4_rewind(b, -1));
    loci_dsv4_seq_reset(b);
    extend(b, ids, 3, NULL, 0);
    assert_false(loci_dsv4_rewind(b, 4));
    assert_true(loci_dsv4_rewind(b, 3));
    loci_dsv4_seq_close(a);
    loci_dsv4_seq_close(b);
    tiny_close(t);
}

/* ---- drafting --------------------------------------------------------------------------------------- */

static int best_of(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static int best_double(const double *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* The first draft at every position is the reference's. */
static void test_draft(void **state)
{
    (void)state;
    enum { N = 60 };
    tiny *t = tiny_open(tiny_shape(), 2, false, LOCI_DSV4_MODE_F32);
    const int V = t->hp.vocab;
    int32_t ids[N], draft[4];
    float logits[96];
    ref r = { .k = &t->k, .hp = &t->hp, .T = N, .closest = INFINITY };
    random_ids(ids, N, V, 16);
    double *X = ref_streams(&r, ids), *want = doubles(N * V);
    ref_mtp(&r, X, ids, want);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    assert_true(loci_dsv4_can_draft(&t->m));
    loci_dsv4_seq_drafting(s, true);
    for (int at = 0, n = 1; at + n < N; at += n, n = n % 7 + 1) {
        extend(s, ids + at, n, NULL, 0);
        loci_error err = { 0 };
        assert_int_equal(loci_dsv4_draft(s, ids[at + n], 1 + at % 4, draft, logits, &err), LOCI_OK);
        if (at % 4 == 0) /* the only draft: its logits are still there */
            assert_true(compare(logits, want + (at + n - 1) * V, V) < 2e-4);
        assert_int_equal(draft[0], best_double(want + (at + n - 1) * V, V));
    }
    loci_dsv4_seq_close(s);
    free(X);
    free(want);
    tiny_close(t);
}

/* Greedy decoding, with drafts checked k at a time and without: the same text. */
static void test_speculation(void **state)
{
    (void)state;
    enum { N = 150, K = 3 };
    tiny *t = tiny_open(tiny_shape(), 2, false, LOCI_DSV4_MODE_FAST);
    const int V = t->hp.vocab;
    int32_t plain[N + K + 1], fast[N + K + 1];
    float logits[(K + 1) * 96];
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    loci_dsv4_seq_drafting(s, true);
    random_ids(plain, 10, V, 17);
    memcpy(fast, plain, sizeof plain);
    extend(s, plain, 10, logits, 1);
    for (int n = 10; n < N; n++) {
        plain[n] = best_of(logits, V);
        extend(s, plain + n, 1, logits, 1);
    }
    loci_dsv4_seq_reset(s);
    extend(s, fast, 10, logits, 1);
    fast[10] = best_of(logits, V);
    int n = 10, accepted = 0;
    while (n + 1 < N) { /* fast[n] is chosen and not yet appended */
        loci_error err = { 0 };
        assert_int_equal(loci_dsv4_draft(s, fast[n], K, fast + n + 1, logits, &err), LOCI_OK);
        if (n % 5 == 0 && n + 1 < N) fast[n + 1] = plain[n + 1]; /* some drafts are right */
        extend(s, fast + n, K + 1, logits, K + 1);
        int good = 0;
        while (good < K && best_of(logits + good * V, V) == fast[n + 1 + good]) good++;
        assert_true(loci_dsv4_rewind(s, K - good));
        accepted += good;
        fast[n + 1 + good] = best_of(logits + good * V, V);
        n += good + 1;
    }
    assert_true(accepted > 0);
    assert_memory_equal(fast, plain, (size_t)N * sizeof *fast);
    loci_dsv4_seq_close(s);
    tiny_close(t);
}

/* ---- experts that are fetched --------------------------------------------------------------------- */

/* Holds the experts of the last fetch only; what it held before is overwritten. */
typedef struct {
    maker *k;
    int layer, n, at_once, largest, fail_at, fetches;
    int32_t ids[8];
    float *held; /* (at_once, 3, D F) */
} shelf;

static loci_status shelf_fetch(void *ctx, int layer, const int32_t *ids, int n, loci_error *err)
{
    shelf *f = ctx;
    const loci_dsv4_hparams *hp = f->k->hp;
    const int size = hp->hidden * hp->expert_width;
    assert_true(n >= 1 && n <= f->at_once);
    if (++f->fetches == f->fail_at) return loci_fail(err, LOCI_EIO, "shelf: broken");
    if (n > f->largest) f->largest = n;
    f->layer = layer;
    f->n = n;
    for (int i = 0; i < n; i++) {
        assert_true(i == 0 || ids[i] > ids[i - 1]);
        f->ids[i] = ids[i];
        for (int w = 0; w < 3; w++) {
            char name[96];
            snprintf(name, sizeof name,
                     layer < hp->n_layers ? "layers.%d.ffn.experts.%d.w%d.weight"
                                          : "mtp.%d.ffn.experts.%d.w%d.weight",
                     layer < hp->n_layers ? layer : 0, ids[i], w + 1);
            memcpy(f->held + (3 * i + w) * size, make_tensor(f->k, name)->x,
                   (size_t)size * sizeof *f->held);
        }
    }
    return LOCI_OK;
}

static loci_status shelf_get(void *ctx, int layer, int32_t id, loci_dsv4_expert *out,
                             loci_error *err)
{
    shelf *f = ctx;
    const int D = f->k->hp->hidden, F = f->k->hp->expert_width;
    int i = 0;
    (void)err;
    assert_int_equal(layer, f->layer);
    while (i < f->n && f->ids[i] != id) i++;
    assert_true(i < f->n);
    const loci_dsv4_mat wide = {
        f->held + 3 * i * D * F, NULL, (size_t)D * 4, F, D, LOCI_STORED_F32
    };
    *out = (loci_dsv4_expert){ wide, wide, wide };
    out->down.data = f->held + (3 * i + 1) * D * F; /* w1 gate, w2 down, w3 up */
    out->down.rows = D;
    out->down.cols = F;
    out->down.row_bytes = (size_t)F * 4;
    out->up.data = f->held + (3 * i + 2) * D * F;
    return LOCI_OK;
}

static void test_pager(void **state)
{
    (void)state;
    enum { N = 70 };
    tiny *t = tiny_open(tiny_shape(), 2, false, LOCI_DSV4_MODE_F32);
    const int V = t->hp.vocab;
    int32_t ids[N];
    float *want = malloc(sizeof *want * N * V), *got = malloc(sizeof *got * N * V);
    random_ids(ids, N, V, 18);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    extend(s, ids, N, want, N);
    loci_dsv4_seq_close(s);
    for (int at_once = 1; at_once <= 8; at_once += 2) {
        shelf f = { .k = &t->k, .at_once = at_once };
        f.held = malloc(sizeof *f.held * (size_t)(at_once * 3 * t->hp.hidden * t->hp.expert_width));
        const loci_dsv4_pager pager = { &f, at_once, shelf_fetch, shelf_get };
        const loci_dsv4_source source = maker_source(&t->k);
        loci_dsv4_weights w;
        loci_dsv4 m;
        loci_error err = { 0 };
        assert_int_equal(loci_dsv4_bind(&w, &t->hp, &source, &pager, &err), LOCI_OK);
        assert_null(w.layer[1].expert);
        assert_int_equal(loci_dsv4_init(&m, &t->hp, &w, loci_cpu_detect(), LOCI_DSV4_MODE_F32, 64,
                                        &err),
                         LOCI_OK);
        s = open_seq(&m, NULL);
        extend(s, ids, N, got, N);
        same_bits(want, got, N * V, "experts at once", at_once);
        assert_int_equal(f.largest, at_once); /* a batch of 64 chooses all eight */
        f.fail_at = f.fetches + 3;
        assert_int_equal(loci_dsv4_extend(s, ids, 2, got, 2, &err), LOCI_EIO);
        assert_string_equal(err.text, "shelf: broken");
        loci_dsv4_seq_close(s);
        loci_dsv4_free(&m);
        free(f.held);
    }
    free(want);
    free(got);
    tiny_close(t);
}

/* ---- figures worked out in double elsewhere ------------------------------------------------------- */

/* Mixing of the streams for Z_jk = 0.1 (4j + k), positive where j + k is odd; 20 rounds, eps 1e-6. */
static void test_sinkhorn(void **state)
{
    (void)state;
    static const float want[16] = { .193314f, .318720f, .141047f, .346918f, .318720f, .193314f,
                                    .346918f, .141047f, .053236f, .434729f, .038843f, .473191f,
                                    .434729f, .053237f, .473191f, .038843f };
    loci_dsv4_hparams hp = tiny_shape();
    hp.sinkhorn_iters = 20;
    hp.hc_eps = 1e-6f;
    tiny *t = tiny_open(hp, 1, false, LOCI_DSV4_MODE_F32);
    float base[24] = { 0 }, scale[3] = { 1, 1, 1 };
    for (int j = 0; j < 4; j++)
        for (int k = 0; k < 4; k++)
            base[8 + 4 * j + k] = 0.1f * (float)(4 * j + k) * ((j + k) % 2 ? 1.0f : -1.0f);
    const int wide = hp.streams * hp.hidden;
    float *zero = calloc((size_t)(24 * wide), sizeof *zero);
    const loci_dsv4_mixer mix = {
        .fn = { zero, NULL, (size_t)wide * 4, 24, wide, LOCI_STORED_F32 },
        .base = base,
        .scale = scale,
    };
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    dsv4_mix(s, &mix, zero, 1);
    for (int i = 0; i < 16; i++) assert_true(fabsf(s->sc.comb[i] - want[i]) < 2e-6f);
    for (int i = 0; i < 4; i++) {
        assert_true(fabsf(s->sc.pre[i] - 0.500001f) < 1e-7f);
        assert_true(s->sc.post[i] == 1.0f);
    }
    loci_dsv4_seq_close(s);
    free(zero);
    tiny_close(t);
}

/* Frequencies of a released layer with compressed entries, YaRN from i = 16 on, and of one without. */
static void test_frequencies(void **state)
{
    (void)state;
    static const struct {
        int i;
        double f;
    } want[] = { { 0, 1 },
                 { 1, .687656022 },
                 { 15, .00363553858 },
                 { 16, .002265625 },
                 { 20, .000296977778 },
                 { 24, 1.953125e-05 },
                 { 25, 5.37231267e-06 },
                 { 31, 5.68052904e-07 } };
    loci_dsv4_hparams hp;
    float f[32];
    assert_int_equal(loci_dsv4_known_shape(&hp, "flash", NULL), LOCI_OK);
    dsv4_frequencies(f, &hp, true);
    for (size_t k = 0; k < sizeof want / sizeof *want; k++)
        assert_true(fabs(f[want[k].i] - want[k].f) < 1e-7 * want[k].f);
    dsv4_frequencies(f, &hp, false);
    for (int i = 0; i < 32; i++) assert_true(fabs(f[i] * pow(1e4, i / 32.0) - 1) < 1e-6);
}

/* ---- binding ---------------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    loci_dsv4_hparams hp = tiny_shape();
    loci_dsv4_weights w;
    loci_dsv4 m;
    loci_error err = { 0 };
    maker k = { .hp = &hp, .mix_scale = 1, .leave_out = "layers.3.attn.compressor.ape" };
    loci_dsv4_source source = maker_source(&k);
    assert_int_equal(loci_dsv4_bind(&w, &hp, &source, NULL, &err), LOCI_EFORMAT);
    assert_string_equal(
        err.text, "made: layers.3.attn.compressor.ape: expected (4, 64), found no such tensor");
    maker_free(&k);
    err = (loci_error){ 0 };
    k = (maker){ .hp = &hp, .mix_scale = 1, .misshape = "layers.1.ffn.experts.5.w2.weight" };
    assert_int_equal(loci_dsv4_bind(&w, &hp, &source, NULL, &err), LOCI_EFORMAT);
    assert_string_equal(
        err.text, "made: layers.1.ffn.experts.5.w2.weight: expected (64, 48), found (64, 49)");
    maker_free(&k);
    err = (loci_error){ 0 };
    k = (maker){ .hp = &hp, .mix_scale = 1, .leave_out = "mtp.0.e_proj.weight" }; /* optional */
    assert_int_equal(loci_dsv4_bind(&w, &hp, &source, NULL, &err), LOCI_OK);
    assert_int_equal(loci_dsv4_init(&m, &hp, &w, 0, LOCI_DSV4_MODE_F32, 0, &err), LOCI_OK);
    assert_false(loci_dsv4_can_draft(&m));
    assert_int_equal(m.lay.block_tokens, 1024);
    loci_dsv4_free(&m);
    maker_free(&k);
    hp.index_dim = 24;
    k = (maker){ .hp = &hp, .mix_scale = 1 };
    assert_int_equal(loci_dsv4_bind(&w, &hp, &source, NULL, &err), LOCI_OK);
    assert_int_equal(loci_dsv4_init(&m, &hp, &w, 0, LOCI_DSV4_MODE_FAST, 0, &err), LOCI_EINVAL);
    maker_free(&k);
}

/* What a token of context costs in the released shapes. */
static void test_bytes(void **state)
{
    (void)state;
    loci_dsv4_hparams hp;
    loci_dsv4_layout lay;
    assert_int_equal(loci_dsv4_known_shape(&hp, "flash", NULL), LOCI_OK);
    assert_int_equal(loci_dsv4_layout_plan(&lay, &hp, LOCI_DSV4_MODE_FAST, 0, NULL), LOCI_OK);
    assert_int_equal(lay.entry_bytes, 584);
    assert_int_equal(lay.key_bytes, 68);
    assert_true(loci_dsv4_bytes_per_token(&lay) == 21 / 4.0 * (584 + 68) + 20 / 128.0 * 584);
    assert_int_equal(loci_dsv4_known_shape(&hp, "pro", NULL), LOCI_OK);
    assert_int_equal(loci_dsv4_layout_plan(&lay, &hp, LOCI_DSV4_MODE_EXACT, 0, NULL), LOCI_OK);
    assert_true(loci_dsv4_bytes_per_token(&lay) == 30 / 4.0 * 652 + 31 / 128.0 * 584);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equations),   cmocka_unit_test(test_cuts_f32),
        cmocka_unit_test(test_cuts_fast),   cmocka_unit_test(test_cuts_exact),
        cmocka_unit_test(test_rewind),      cmocka_unit_test(test_draft),
        cmocka_unit_test(test_speculation), cmocka_unit_test(test_pager),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_sinkhorn),    cmocka_unit_test(test_frequencies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
