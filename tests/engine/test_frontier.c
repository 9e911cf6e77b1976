/* Goal: the gist that a bank hands over is that of the model's own pyramids over the stored summaries,
 * for any length of document, and of many documents those that the query scores highest.
 *
 * Method: banks of random summaries; each document's pyramid built whole by gist.c and its frontier
 * compared number by number with what is handed over; roots averaged here in double precision.  Rooms
 * are filled with what only their nodes say, and looked at whenever they come back. */
#include "bank_test.h"
#include "engine/frontier.h"

enum { DS = 16 };

typedef struct {
    test_engine t;
    char dir[2][64];
    loci_bank *bank[2];
    loci_frontiers *f;
} setup;

static void setup_open(setup *x)
{
    loci_error err;
    loci_hparams hp = test_hparams();
    hp.d_summary = DS;
    memset(x, 0, sizeof *x);
    engine_init_with(&x->t, 0x66, hp);
    for (int i = 0; i < 2; i++) {
        scratch_make(x->dir[i]);
        OK(loci_bank_open(&x->bank[i], &x->t.e, x->dir[i], LOCI_BANK_CREATE, &err));
    }
}

/* Of many documents the least number is kept. */
static void setup_frontiers(setup *x)
{
    loci_error err;
    OK(loci_frontiers_open(&x->f, x->t.e.model, (const loci_bank *const *)x->bank, 2, 0, &err));
}

static void setup_close(setup *x)
{
    loci_frontiers_close(x->f);
    for (int i = 0; i < 2; i++) {
        loci_bank_close(x->bank[i]);
        scratch_remove(x->dir[i]);
    }
    engine_free(&x->t);
}

typedef struct { /* what was handed over */
    float *node;
    int *level;
    int n, cap;
    int groups;      /* of the model */
    int runs, known; /* known: with keys and values */
} taken;

/* Keys and values that stand for nodes: their first number, the level, the group and the column. */
static float stand_in(const float *node, int level, int group, int column)
{
    return node[0] + (float)(100 * level + 1000 * group + column % 7);
}

/* The room of a run is its own: what was put there comes back with the same nodes and no others. */
static void use_room(const float *node, int level, int n, const loci_gist_room *room, int groups)
{
    for (int g = 0; g < groups; g++) {
        float *kv = room->kv + (size_t)g * room->stride;
        const bool made = *room->made >> g & 1u;
        for (int i = 0; i < n * LOCI_GIST_KV; i++) {
            const float want = stand_in(node + i / LOCI_GIST_KV * DS, level, g, i % LOCI_GIST_KV);
            if (made && kv[i] != want)
                fail_msg("level %d, group %d, %d: %g and %g", level, g, i, kv[i], want);
            kv[i] = want;
        }
        *room->made |= 1u << g;
    }
}

static void take(void *to, const float *node, int level, int n, const loci_gist_room *room)
{
    taken *t = to;
    assert_true(n > 0 && level >= 0 && level < LOCI_GIST_LEVELS);
    t->known += *room->made != 0;
    t->runs++;
    use_room(node, level, n, room, t->groups);
    if (t->n + n > t->cap) {
        t->cap = 2 * (t->n + n);
        t->node = realloc(t->node, (size_t)t->cap * DS * sizeof *t->node);
        t->level = realloc(t->level, (size_t)t->cap * sizeof *t->level);
    }
    memcpy(t->node + t->n * DS, node, (size_t)n * DS * sizeof *node);
    for (int i = 0; i < n; i++) t->level[t->n + i] = level;
    t->n += n;
}

static void taken_free(taken *t)
{
    free(t->node);
    free(t->level);
}

/* Compare with the whole pyramid of one document, from row *at of what was taken on. */
static void check_doc(const setup *x, int bank, int64_t row, const taken *t, int *at)
{
    const loci_bank *b = x->bank[bank];
    const int n = (int)b->doc[row].chunks;
    float *node = calloc((size_t)loci_gist_rows(n), DS * sizeof *node);
    loci_gist_run run[LOCI_GIST_LEVELS];
    for (int c = 0; c < n; c++) {
        loci_chunk_view v;
        loci_error err;
        OK(loci_segment_chunk(b->segment[b->doc_segment[row]], b->doc[row].first_chunk + c, false,
                              &v, &err));
        for (int i = 0; i < DS; i++) node[c * DS + i] = (float)v.summary[i] * v.summary_scale;
        loci_gist_close(&x->t.e.model->k, node, n, DS, c);
    }
    const int runs = loci_gist_frontier(run, n, n);
    for (int r = 0; r < runs; r++)
        for (int i = 0; i < run[r].n; i++, ++*at) {
            assert_true(*at < t->n);
            assert_int_equal(t->level[*at], run[r].level);
            assert_memory_equal(t->node + *at * DS, node + (run[r].row + i) * DS,
                                DS * sizeof *node);
        }
    free(node);
}

static void test_lengths(void **state)
{
    static const int64_t lengths[] = { 1, 15, 16, 17, 255, 256, 257, 300, 4096, 4113 };
    enum { N = sizeof lengths / sizeof *lengths };
    (void)state;
    loci_error err;
    setup x;
    setup_open(&x);
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        const test_doc doc = { name, SEED + (uint64_t)i, lengths[i] };
        OK(bank_put(x.bank[i % 2], &doc, 1, &err));
    }
    setup_frontiers(&x);
    const float u[128] = { 1.0f };
    for (int again = 0; again < 2; again++) { /* made, then kept */
        taken t = { .groups = x.t.e.model->hp.n_groups };
        int at = 0;
        OK(loci_frontiers_take(x.f, u, take, &t, &err));
        for (int bank = 0; bank < 2; bank++)
            for (int64_t d = 0; d < x.bank[bank]->n_docs; d++) check_doc(&x, bank, d, &t, &at);
        assert_int_equal(at, t.n);
        assert_int_equal(t.known, again ? t.runs : 0);
        taken_free(&t);
    }
    setup_close(&x);
}

typedef struct {
    double score;
    int64_t doc;
} scored;

static int best_first(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->doc > y->doc) - (x->doc < y->doc);
}

/* More documents than one query attends to, and than are kept: the best by mean landmark, whatever was
 * asked before. */
static void many_documents(int n_docs, int queries)
{
    enum { DOCS = 400 };
    loci_error err;
    setup x;
    loci_rng r;
    setup_open(&x);
    test_doc *docs = calloc(DOCS, sizeof *docs);
    for (int i = 0; i < n_docs; i++)
        docs[i] = (test_doc){ strcpy(malloc(16), ""), SEED + (uint64_t)i, 1 + i % 5 };
    for (int i = 0; i < n_docs; i++) snprintf((char *)(uintptr_t)docs[i].name, 16, "d%d", i);
    OK(bank_put(x.bank[0], docs, n_docs, &err));
    setup_frontiers(&x);
    const loci_bank *b = x.bank[0];
    static double root[DOCS][128];
    int compared = 0;
    memset(root, 0, sizeof root);
    for (int64_t d = 0; d < n_docs; d++)
        for (int64_t c = 0; c < b->doc[d].chunks; c++) {
            loci_chunk_view v;
            OK(loci_segment_chunk(b->segment[0], b->doc[d].first_chunk + c, false, &v, &err));
            for (int i = 0; i < 256; i++)
                root[d][i % 128] += (double)v.landmark[i] * (double)v.landmark_scale[i / 128] /
                                    (2.0 * (double)b->doc[d].chunks);
        }
    loci_rng_seed(&r, SEED);
    for (int q = 0; q < queries; q++) {
        float u[128];
        scored s[DOCS];
        taken t = { .groups = x.t.e.model->hp.n_groups };
        bool in[DOCS] = { false };
        int at = 0;
        for (int i = 0; i < 128; i++) u[i] = uniform(&r);
        for (int64_t d = 0; d < n_docs; d++) {
            s[d] = (scored){ 0.0, d };
            for (int i = 0; i < 128; i++) s[d].score += (double)u[i] * root[d][i];
        }
        qsort(s, (size_t)n_docs, sizeof *s, best_first);
        /* 128 products in f32: 129 2^-24 sum|ab| is below 1e-4 here; so close a 64th and 65th say
         * nothing. */
        if (s[LOCI_GIST_DOCS - 1].score - s[LOCI_GIST_DOCS].score < 1e-4) continue;
        compared++;
        for (int i = 0; i < LOCI_GIST_DOCS; i++) in[s[i].doc] = true;
        OK(loci_frontiers_take(x.f, u, take, &t, &err));
        for (int64_t d = 0; d < n_docs; d++)
            if (in[d]) check_doc(&x, 0, d, &t, &at);
        assert_int_equal(at, t.n);
        taken_free(&t);
    }
    assert_true(2 * compared > queries);
    for (int i = 0; i < n_docs; i++) free((char *)(uintptr_t)docs[i].name);
    free(docs);
    setup_close(&x);
}

static void test_many_documents(void **state)
{
    (void)state;
    many_documents(400, 12);
    many_documents(LOCI_GIST_DOCS + 1, 200);
}

static void test_empty_and_damaged(void **state)
{
    (void)state;
    loci_error err = { 0 };
    setup x;
    char path[128];
    taken t = { 0 };
    const float u[128] = { 1.0f };
    setup_open(&x);
    setup_frontiers(&x);
    OK(loci_frontiers_take(x.f, u, take, &t, &err));
    assert_int_equal(t.n, 0);
    loci_frontiers_close(x.f);
    const test_doc doc = { "d", SEED, 300 };
    OK(bank_put(x.bank[0], &doc, 1, &err));
    setup_frontiers(&x);
    snprintf(path, sizeof path, "%s/seg-000001.loci", x.dir[0]);
    size_t at = sizeof(seg_header);
    for (int c = 0; c < COL_SUMMARIES; c++)
        at += seg_align(256 * seg_chunk_bytes(&x.bank[0]->shape, c));
    const int fd = open(path, O_RDWR);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)at + 9), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at + 9), 1);
    close(fd);
    assert_int_equal(loci_frontiers_take(x.f, u, take, &t, &err), LOCI_EFORMAT);
    assert_non_null(strstr(err.text, "group 0, column summaries"));
    assert_int_equal(t.n, 0);
    setup_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_many_documents),
        cmocka_unit_test(test_empty_and_damaged),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
