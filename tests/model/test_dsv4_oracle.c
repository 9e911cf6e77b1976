/* Goal: logits and activations are those of the public implementation.
 * Method: tests/golden/dsv4 (oracle/dsv4_vectors.py): four models of every kind of layer, in f32, with
 * plain rotation, YaRN, a wide shape, and mixers and clamps that show every step; logits of one
 * prefill and of single steps over 208 tokens; activations at 33 tokens, stage by stage.  The config
 * is the one that transformers wrote.  Weights are made from their names on both sides. */
#include "dsv4_model.h"
#include "model/dsv4/dsv4_impl.h"

#define GOLDEN "tests/golden/dsv4/"
enum { SHORT = 33 };
static const double logit_bound = 2e-4, stage_bound = 1e-4;

typedef struct {
    loci_st *file;
    tiny *t;
} golden;

static golden open_golden(const char *name)
{
    char path[128];
    loci_error err = { 0 };
    golden g;
    loci_dsv4_hparams hp;
    snprintf(path, sizeof path, GOLDEN "%s.safetensors", name);
    if (loci_st_open(&g.file, path, &err) != LOCI_OK) fail_msg("%s", err.text);
    if (loci_dsv4_config_parse(&hp, loci_st_meta(g.file, "config"), path, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    g.t = tiny_open(hp, strtof(loci_st_meta(g.file, "mix_scale"), NULL), false, LOCI_DSV4_MODE_F32);
    return g;
}

static void close_golden(golden *g)
{
    tiny_close(g->t);
    loci_st_close(g->file);
}

static const loci_tensor_view *tensor(const golden *g, const char *name)
{
    const loci_tensor_view *v = loci_st_find(g->file, name);
    if (!v) fail_msg("no tensor %s", name);
    return v;
}

static int best_of(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* Largest difference of n values, all of them checked. */
static double worst_of(const float *got, const float *want, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = fabs((double)got[i] - (double)want[i]);
        if (isnan(e)) return INFINITY;
        if (e > worst) worst = e;
    }
    return worst;
}

/* ---- logits -------------------------------------------------------------------------------------- */

static void check_logits(const golden *g, const char *model, int T)
{
    char name[32];
    const int V = g->t->hp.vocab;
    float *got = malloc(sizeof *got * (size_t)T * (size_t)V);
    snprintf(name, sizeof name, "ids.%d", T);
    const int32_t *ids = tensor(g, name)->data;
    loci_dsv4_seq *s = open_seq(&g->t->m, NULL);
    for (int steps = 0; steps < 2; steps++) {
        snprintf(name, sizeof name, steps ? "steps.%d" : "logits.%d", T);
        const float *want = tensor(g, name)->data;
        loci_dsv4_seq_reset(s);
        if (steps)
            for (int i = 0; i < T; i++) extend(s, ids + i, 1, got + i * V, 1);
        else
            extend(s, ids, T, got, T);
        const double worst = worst_of(got, want, (int64_t)T * V);
        print_message("%s, %s of %d tokens: largest error %.2g\n", model,
                      steps ? "single steps" : "prefill", T, worst);
        assert_true(worst < logit_bound);
        for (int i = 0; i < T; i++)
            assert_int_equal(best_of(got + i * V, V), best_of(want + i * V, V));
    }
    loci_dsv4_seq_close(s);
    free(got);
}

static void test_logits(void **state)
{
    (void)state;
    static const char *const models[] = { "plain", "yarn", "wide", "hard" };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        golden g = open_golden(models[i]);
        check_logits(&g, models[i], SHORT);
        check_logits(&g, models[i], 208);
        close_golden(&g);
    }
    golden g = open_golden("small");
    check_logits(&g, "small", 48);
    close_golden(&g);
}

/* ---- stages ---------------------------------------------------------------------------------------- */

/* The largest error of a kind of stage in all layers, and which activation has it. */
typedef struct {
    double worst;
    char where[96];
} stage_error;

typedef struct {
    stage_error streams, attention, experts, compressor, scores;
} errors;

/* got (n) against an activation of layer l. */
static void stage(const golden *g, int l, const char *what, const float *got, int64_t n,
                  stage_error *error)
{
    char name[96];
    snprintf(name, sizeof name, "act.model.layers.%d.%s", l, what);
    const loci_tensor_view *v = tensor(g, name);
    assert_int_equal(v->bytes, (size_t)n * sizeof *got);
    const double e = worst_of(got, v->data, n);
    if (e <= error->worst && error->where[0]) return;
    error->worst = e;
    memcpy(error->where, name, sizeof name);
}

/* Weights and collapsed input of one sublayer; sc.h is the normed input afterwards. */
static void check_mixer(const golden *g, loci_dsv4_seq *s, int l, bool attn, const float *X,
                        stage_error *error)
{
    const loci_dsv4_layer *w = &g->t->m.w.layer[l];
    const int n = g->t->hp.streams, D = g->t->hp.hidden;
    const char *site = attn ? "attn_hc" : "ffn_hc";
    char name[32];
    dsv4_mix(s, attn ? &w->attn_mix : &w->ffn_mix, X, SHORT);
    dsv4_collapse(s, s->sc.h, X, SHORT);
    snprintf(name, sizeof name, "%s.0", site);
    stage(g, l, name, s->sc.post, SHORT * n, error);
    snprintf(name, sizeof name, "%s.1", site);
    stage(g, l, name, s->sc.comb, SHORT * n * n, error);
    snprintf(name, sizeof name, "%s.2", site);
    stage(g, l, name, s->sc.h, SHORT * D, error);
    dsv4_norm(&g->t->m, s->sc.h, s->sc.h, attn ? w->attn_norm : w->ffn_norm, SHORT, D);
}

static void check_entries(const golden *g, const loci_dsv4_seq *s, int l, stage_error *error)
{
    const int d = g->t->hp.head_dim, n = SHORT / g->t->hp.layer[l].ratio;
    float *got = malloc(sizeof *got * (size_t)(n * d));
    for (int j = 0; j < n; j++) dsv4_entry_get(&g->t->m, got + j * d, dsv4_entry_at(s, l, j));
    stage(g, l, "self_attn.compressor.0", got, n * d, error);
    free(got);
}

/* Scores of every key, also those that a position does not see, from queries and keys as they are. */
static void check_scores(const golden *g, const loci_dsv4_seq *s, int l, stage_error *error)
{
    const loci_dsv4_hparams *hp = &g->t->hp;
    const int n = SHORT / hp->layer[l].ratio, Hi = hp->index_heads, di = hp->index_dim;
    float *got = calloc((size_t)(SHORT * n), sizeof *got);
    for (int t = 0; t < SHORT; t++)
        for (int j = 0; j < n; j++) {
            const float *k =
                (const float *)(const void *)(dsv4_keys_at(s, l, j)) + j % DSV4_GROUP * di;
            for (int h = 0; h < Hi; h++) {
                double dot = 0;
                for (int c = 0; c < di; c++) dot += (double)s->sc.iq[(t * Hi + h) * di + c] * k[c];
                got[t * n + j] += (float)((double)s->sc.iw[t * Hi + h] * (dot > 0 ? dot : 0));
            }
        }
    stage(g, l, "self_attn.compressor.indexer.scorer", got, SHORT * n, error);
    free(got);
}

/* All layers of a model, each stage from the outputs of ours before it. */
static errors walk(const char *model)
{
    golden g = open_golden(model);
    const loci_dsv4_hparams *hp = &g.t->hp;
    const int D = hp->hidden;
    const int32_t *ids = tensor(&g, "ids.33")->data;
    errors e = { 0 };
    loci_error err = { 0 };
    loci_dsv4_seq *s = open_seq(&g.t->m, NULL);
    float *X = s->sc.x;
    assert_int_equal(dsv4_reserve(s, SHORT, &err), LOCI_OK);
    dsv4_embed(&g.t->m, X, ids, SHORT);
    for (int l = 0; l < hp->n_layers; l++) {
        const loci_dsv4_layer_shape *shape = &hp->layer[l];
        check_mixer(&g, s, l, true, X, &e.streams);
        if (shape->indexer) { /* with few picks it scores, and leaves queries and weights */
            const int k = g.t->m.hp.index_topk;
            g.t->m.hp.index_topk = 1;
            dsv4_attention(s, l, s->sc.h, s->sc.y, 0, SHORT);
            check_scores(&g, s, l, &e.scores);
            g.t->m.hp.index_topk = k;
        }
        dsv4_attention(s, l, s->sc.h, s->sc.y, 0, SHORT);
        stage(&g, l, "self_attn.0", s->sc.y, SHORT * D, &e.attention);
        if (shape->ratio > 0) check_entries(&g, s, l, &e.compressor);
        dsv4_expand(s, X, s->sc.y, SHORT);
        check_mixer(&g, s, l, false, X, &e.streams);
        assert_int_equal(dsv4_moe(s, l, s->sc.h, s->sc.y, ids, SHORT, &err), LOCI_OK);
        stage(&g, l, "mlp", s->sc.y, SHORT * D, &e.experts);
        dsv4_expand(s, X, s->sc.y, SHORT);
    }
    loci_dsv4_seq_close(s);
    close_golden(&g);
    return e;
}

static void below_bound(const char *model, const char *what, const stage_error *e)
{
    print_message("%s, %s: largest error %.2g\n", model, what, e->worst);
    if (!(e->worst < stage_bound)) fail_msg("%s: error %.3g", e->where, e->worst);
    assert_true(e->where[0] != 0); /* something was compared */
}

/* One test a kind of stage, on two models. */
#define STAGE_TEST(field)                                                                          \
    static void test_##field(void **state)                                                         \
    {                                                                                              \
        (void)state;                                                                               \
        static const char *const models[] = { "plain", "hard" };                                   \
        for (int i = 0; i < 2; i++) {                                                              \
            const errors e = walk(models[i]);                                                      \
            below_bound(models[i], #field, &e.field);                                              \
        }                                                                                          \
    }
STAGE_TEST(streams)
STAGE_TEST(attention)
STAGE_TEST(compressor)
STAGE_TEST(scores)
STAGE_TEST(experts)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),    cmocka_unit_test(test_streams),
        cmocka_unit_test(test_attention), cmocka_unit_test(test_compressor),
        cmocka_unit_test(test_scores),    cmocka_unit_test(test_experts)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
