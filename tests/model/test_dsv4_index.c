/* Goal: the indexer picks the best entries of a long context, the lower of equal ones, whatever the
 * number of threads that share the scan, of rows scanned together, and wherever spans and blocks end.
 * Method: keys and queries of small whole numbers, so that scores are exact and ties are everywhere;
 * the truth scores every key with the reference kernel (in f32: in double) and sorts them all. */
#include "dsv4_reference.h"
#include "model/dsv4/dsv4_impl.h"

enum { LAYER = 1, KEYS = 9500, ROWS = 12 }; /* more than two spans of 4,096 */

typedef struct {
    double score;
    int32_t index;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_place(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Small whole numbers; the sizes differ, so that scales do. */
static void whole_numbers(loci_rng *rng, float *x, int n)
{
    const int most = 1 + (int)loci_rng_below(rng, 3);
    for (int i = 0; i < n; i++)
        x[i] = (float)((int)loci_rng_below(rng, (uint32_t)(2 * most + 1)) - most);
}

/* Keys (KEYS, di) into layer LAYER; one in four repeats an earlier one. */
static float *fill_keys(loci_dsv4_seq *s, loci_rng *rng)
{
    const int di = s->m->hp.index_dim;
    float *x = malloc(sizeof *x * KEYS * (size_t)di);
    loci_error err = { 0 };
    assert_int_equal(dsv4_reserve(s, (int64_t)KEYS * s->m->hp.layer[LAYER].ratio, &err), LOCI_OK);
    for (int j = 0; j < KEYS; j++) {
        float key[64];
        float *x_j = x + (size_t)j * (size_t)di;
        if (j % 4 == 3)
            memcpy(x_j, x + (size_t)loci_rng_below(rng, (uint32_t)j) * (size_t)di,
                   (size_t)di * sizeof *x_j);
        else
            whole_numbers(rng, x_j, di);
        memcpy(key, x_j, (size_t)di * sizeof *key);
        dsv4_key_put(s->m, dsv4_keys_at(s, LAYER, j), j % DSV4_GROUP, key);
    }
    return x;
}

static void fill_queries(loci_dsv4_seq *s, loci_rng *rng)
{
    const loci_dsv4 *m = s->m;
    const int Hi = m->hp.index_heads, di = m->hp.index_dim, blocks = (di + 31) / 32;
    for (int t = 0; t < ROWS; t++) {
        float *q = s->sc.iq + (size_t)t * (size_t)(Hi * di);
        whole_numbers(rng, q, Hi * di);
        for (int h = 0; h < Hi; h++)
            s->sc.iw[t * Hi + h] = (float)((int)loci_rng_below(rng, 9) - 3) / 8;
        dsv4_query_put(m, s->sc.iq_code + (size_t)t * (size_t)(Hi * di),
                       s->sc.iq_scale + (size_t)t * (size_t)(Hi * blocks), q);
    }
}

/* Scores of row t for the keys of the group of key j. */
static void score_group(const loci_dsv4_seq *s, const float *x, int t, int j, double *score)
{
    const loci_dsv4 *m = s->m;
    const int Hi = m->hp.index_heads, di = m->hp.index_dim, blocks = (di + 31) / 32;
    const float *w = s->sc.iw + t * Hi;
    float group[DSV4_GROUP];
    if (m->mode != LOCI_DSV4_MODE_F32)
        loci_index_scores_ref(group, s->sc.iq_code + (size_t)t * (size_t)(Hi * di),
                              s->sc.iq_scale + (size_t)t * (size_t)(Hi * blocks), w,
                              dsv4_keys_at(s, LAYER, j), Hi, di, 1);
    for (int i = j; i < j + DSV4_GROUP && i < KEYS; i++) {
        double sum = m->mode == LOCI_DSV4_MODE_F32 ? 0 : (double)group[i - j];
        for (int h = 0; h < Hi && m->mode == LOCI_DSV4_MODE_F32; h++) {
            double dot = 0;
            for (int c = 0; c < di; c++)
                dot += (double)s->sc.iq[(t * Hi + h) * di + c] * (double)x[i * di + c];
            sum += dot > 0 ? (double)w[h] * dot : 0;
        }
        score[i] = sum;
    }
}

/* (rows, KEYS) */
static double *all_scores(const loci_dsv4_seq *s, const float *x, int rows)
{
    double *score = doubles((int64_t)rows * KEYS);
    for (int t = 0; t < rows; t++)
        for (int j = 0; j < KEYS; j += DSV4_GROUP) score_group(s, x, t, j, score + t * KEYS);
    return score;
}

/* Picks of T rows from pos on, against all scores sorted.  score (ROWS, KEYS).  Returns how many
 * rows left out a score equal to their last. */
static int check_picks(loci_dsv4_seq *s, const double *score, int64_t pos, int T)
{
    const int K = s->m->hp.index_topk;
    int ties = 0;
    scored *all = malloc(sizeof *all * KEYS);
    dsv4_scan(s, LAYER, pos, T);
    for (int t = 0; t < T; t++) {
        const int visible = (int)dsv4_visible(s->m, LAYER, pos + t);
        const int n = visible < K ? visible : K;
        int32_t want[64];
        for (int j = 0; j < visible; j++) all[j] = (scored){ score[t * KEYS + j], j };
        qsort(all, (size_t)visible, sizeof *all, by_score);
        for (int i = 0; i < n; i++) want[i] = all[i].index;
        if (visible > K && all[K].score == all[K - 1].score) ties++;
        qsort(want, (size_t)n, sizeof *want, by_place);
        assert_int_equal(s->sc.n_picks[t], n);
        for (int i = 0; i < n; i++) assert_int_equal(s->sc.picks[t * K + i], want[i]);
    }
    free(all);
    return ties;
}

static void in_mode(loci_dsv4_mode mode, int threads)
{
    static const int rows[] = { 1, 2, 5, ROWS };
    loci_dsv4_hparams hp = tiny_shape();
    loci_pool *pool;
    loci_rng rng;
    hp.index_topk = 40;
    hp.index_dim = mode == LOCI_DSV4_MODE_F32 ? 16 : 64;
    tiny *t = tiny_open(hp, 1, false, mode);
    assert_int_equal(loci_pool_open(&pool, threads, NULL), LOCI_OK);
    loci_dsv4_seq *s = open_seq(&t->m, pool);
    loci_rng_seed(&rng, 31);
    float *x = fill_keys(s, &rng);
    fill_queries(s, &rng);
    double *score = all_scores(s, x, ROWS);
    const int ratio = hp.layer[LAYER].ratio;
    const int64_t last = (int64_t)KEYS * ratio - ROWS;
    const int64_t at[] = { 0, (int64_t)40 * ratio, (int64_t)4096 * ratio - 8,
                           (int64_t)4096 * ratio + 1, last };
    int ties = 0;
    for (int i = 0; i < 4; i++)
        for (int p = 0; p < 5; p++) ties += check_picks(s, score, at[p], rows[i]);
    assert_true(ties > 0);
    free(x);
    free(score);
    loci_dsv4_seq_close(s);
    loci_pool_close(pool);
    tiny_close(t);
}

static void test_picks_f32(void **state)
{
    (void)state;
    in_mode(LOCI_DSV4_MODE_F32, 1);
    in_mode(LOCI_DSV4_MODE_F32, 3);
}

static void test_picks_fast(void **state)
{
    (void)state;
    in_mode(LOCI_DSV4_MODE_FAST, 1);
    in_mode(LOCI_DSV4_MODE_FAST, 2);
    in_mode(LOCI_DSV4_MODE_FAST, 5);
}

/* A score that is not a number is below all others. */
static void test_nan(void **state)
{
    (void)state;
    loci_dsv4_hparams hp = tiny_shape();
    loci_rng rng;
    tiny *t = tiny_open(hp, 1, false, LOCI_DSV4_MODE_F32);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    loci_rng_seed(&rng, 32);
    float *x = fill_keys(s, &rng);
    fill_queries(s, &rng);
    for (int h = 0; h < 2; h++) { /* infinity for one head and against it for the other */
        s->sc.iq[h * hp.index_dim] = 1;
        s->sc.iw[h] = h == 0 ? 1 : -1;
    }
    double *score = all_scores(s, x, 1);
    for (int j = 3; j < KEYS; j += 7) {
        float *key = (float *)(void *)(dsv4_keys_at(s, LAYER, j) +
                                       (size_t)(j % DSV4_GROUP) * t->m.lay.key_bytes);
        memset(key, 0, (size_t)hp.index_dim * sizeof *key);
        key[0] = INFINITY;
        score[j] = -INFINITY;
    }
    check_picks(s, score, (int64_t)KEYS * hp.layer[LAYER].ratio - 1, 1);
    free(x);
    free(score);
    loci_dsv4_seq_close(s);
    tiny_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_picks_f32),
                                        cmocka_unit_test(test_picks_fast),
                                        cmocka_unit_test(test_nan) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
