/* Goal: what buckets are learned from is what the model's routers would ask: their queries for pieces of the
 * banks' text, the same for the same seed, of whole banks only.
 *
 * Method: the small model XS over short texts, whose every possible piece goes through the model here token
 * by token, with a search that keeps the last query of each group; the piece of a question must be one of
 * them.  Blocks and ids are damaged. */
#include "engine/questions.h"
#include "xs_test.h"

enum { PIECE = 24, PIECES = 12 };

static loci_engine *engine;

static loci_bank *bank_of(const char *name, const char *text)
{
    char file[64];
    snprintf(file, sizeof file, "%s.txt", name);
    loci_bank *b = bank_open(engine, at_root(name), LOCI_BANK_CREATE);
    if (!text) return b;
    put(file, text);
    ingest(b, at_root(file));
    return b;
}

static loci_questions ask(const loci_bank *const *banks, int n_banks, uint64_t seed)
{
    loci_error err;
    loci_questions q;
    OK(loci_questions_make(&q, engine->model, loci_tokenizer_vocab(engine->tok), banks, n_banks,
                           PIECES, seed, &err));
    return q;
}

/* ---- the slow path ------------------------------------------------------------------------------------- */
typedef struct {
    float *query; /* (groups, d) */
    float tau[8];
    int group;
} heard;

static int hear(void *ctx, const float *u, float tau, int k, int64_t own_end, loci_pick *picks)
{
    (void)k;
    (void)own_end;
    (void)picks;
    heard *h = ctx;
    const size_t d = (size_t)engine->model->hp.d_landmark;
    memcpy(h->query + (size_t)h->group * d, u, d * sizeof *u);
    h->tau[h->group++] = tau;
    return 0;
}

/* The last token's queries (groups, d) of a question that is these ids; a token a call. */
static void hear_piece(heard *h, const int32_t *ids)
{
    loci_error err;
    const loci_hparams *hp = &engine->model->hp;
    const size_t G = (size_t)hp->n_groups, K = G * (size_t)hp->top_k;
    int32_t prompt[PIECE + 3] = { LOCI_TOK_BOS, LOCI_TOK_Q, [PIECE + 2] = LOCI_TOK_A };
    const loci_memory memory = { .ctx = h, .search = hear };
    loci_reads reads = { .gate = calloc(G, sizeof(float)),
                         .weight = calloc(K, sizeof(float)),
                         .pick = calloc(K, sizeof(loci_pick)),
                         .n_picks = calloc(G, sizeof(int32_t)),
                         .closed_too = true };
    void *room = loci_alloc_aligned(loci_stream_bytes(hp, 1));
    assert_true(room && reads.gate && reads.weight && reads.pick && reads.n_picks);
    memcpy(prompt + 2, ids, PIECE * sizeof *ids);
    loci_stream *s = loci_stream_init(hp, 1, room);
    for (int i = 0; i < PIECE + 3; i++) {
        h->group = 0;
        loci_stream_lower(s, engine->model, prompt + i, 1);
        OK(loci_stream_upper(s, engine->model, 1, &memory, NULL, 0, &reads, &err));
        assert_int_equal(h->group, hp->n_groups);
    }
    loci_free_aligned(room);
    free(reads.gate);
    free(reads.weight);
    free(reads.pick);
    free(reads.n_picks);
}

/* Which of the pieces of b's only chunk question `at` is: where it begins, -1: none. */
static int piece_of(const loci_questions *q, int at, const loci_bank *b)
{
    loci_error err;
    loci_chunk_view v;
    const int G = engine->model->hp.n_groups, d = engine->model->hp.d_landmark;
    heard h = { malloc((size_t)G * (size_t)d * sizeof(float)), { 0 }, 0 };
    int found = -1;
    assert_true(h.query && G <= 8);
    OK(loci_segment_chunk(b->segment[0], 0, false, &v, &err));
    for (int from = 0; from == 0 || from + PIECE <= v.n_tokens; from++) {
        int32_t ids[PIECE];
        double apart = 0.0;
        for (int i = 0; i < PIECE; i++)
            ids[i] = seg_id(&v, b->shape.id_bytes, (from + i) % v.n_tokens);
        hear_piece(&h, ids);
        for (int i = 0; i < G * d; i++)
            apart = fmax(apart, fabs((double)h.query[i] - (double)q->query[at * G * d + i]));
        for (int g = 0; g < G; g++) assert_true(h.tau[g] == q->tau[at * G + g]);
        /* Of unit vectors: sums in another order, where other pieces are 100 times as far. */
        if (apart < 1e-4) found = from;
    }
    free(h.query);
    return found;
}

/* ---- tests --------------------------------------------------------------------------------------------- */
static void test_pieces(void **state)
{
    (void)state;
    loci_bank *empty = bank_of("empty", NULL), *short_one = bank_of("short", "Nine tins.\n");
    loci_bank *b = bank_of("long", "The harbour master keeps a list of nine boats and seven "
                                   "captains, and of whatever else came in on a Tuesday.\n");
    const loci_bank *const two[] = { empty, short_one }, *const one[] = { b };
    assert_true(short_one->chunks == 1 && b->chunks == 1 && empty->chunks == 0);
    loci_questions q = ask(two, 2, 1);
    for (int i = 0; i < PIECES; i++) assert_int_equal(piece_of(&q, i, short_one), 0);
    loci_questions_free(&q);
    q = ask(one, 1, 1);
    int begins = 0, last = -1;
    for (int i = 0; i < PIECES; i++) {
        const int from = piece_of(&q, i, b);
        if (from < 0) fail_msg("question %d is no piece of the text", i);
        begins += from != last;
        last = from;
    }
    assert_true(begins > 2);
    loci_questions_free(&q);
    assert_true(!q.query && !q.tau && q.n == 0);
    loci_bank_close(empty);
    loci_bank_close(short_one);
    loci_bank_close(b);
}

static void test_by_seed(void **state)
{
    (void)state;
    const int G = engine->model->hp.n_groups, d = engine->model->hp.d_landmark;
    char *text = long_text(20000);
    loci_bank *b = bank_of("seed", text);
    const loci_bank *const banks[] = { b };
    loci_questions q = ask(banks, 1, 7), again = ask(banks, 1, 7), other = ask(banks, 1, 8);
    assert_int_equal(q.n, PIECES * G);
    assert_int_equal(again.n, q.n);
    assert_memory_equal(q.query, again.query, (size_t)(q.n * d) * sizeof(float));
    assert_memory_equal(q.tau, again.tau, (size_t)q.n * sizeof(float));
    assert_true(memcmp(q.query, other.query, (size_t)(q.n * d) * sizeof(float)) != 0);
    for (int i = 0; i < q.n; i++) {
        double square = 0.0;
        for (int k = 0; k < d; k++)
            square += (double)q.query[i * d + k] * (double)q.query[i * d + k];
        assert_true(fabs(square - 1) < 1e-4 && q.tau[i] > 0.0f);
    }
    loci_questions_free(&q);
    loci_questions_free(&again);
    loci_questions_free(&other);
    loci_bank_close(b);
    free(text);
}

static void refused(const loci_bank *b, int vocab, const char *word)
{
    loci_error err = { 0 };
    loci_questions q;
    memset(&q, 0x55, sizeof q);
    assert_int_equal(loci_questions_make(&q, engine->model, vocab, &b, 1, PIECES, 1, &err),
                     LOCI_EFORMAT);
    if (!strstr(err.text, b->dir) || !strstr(err.text, word))
        fail_msg("\"%s\" without %s or %s", err.text, b->dir, word);
    assert_true(!q.query && !q.tau && q.n == 0);
}

static void test_damage(void **state)
{
    (void)state;
    loci_error err;
    loci_chunk_view v;
    size_t n, at = 0;
    char *data;
    const char *path = at_root("damage/seg-000001.loci");
    loci_bank *b = bank_of("damage", "A line that is about to be damaged, as all lines are.\n");
    OK(loci_segment_chunk(b->segment[0], 0, false, &v, &err));
    int32_t most = 0;
    for (int i = 0; i < v.n_tokens; i++) {
        const int32_t id = seg_id(&v, b->shape.id_bytes, i);
        most = id > most ? id : most;
    }
    refused(b, most / 2, "of a vocabulary of");
    const size_t bytes = (size_t)(v.n_tokens * b->shape.id_bytes);
    OK(loci_file_load(NULL, path, 1 << 28, &data, &n, &err));
    while (at + bytes <= n && memcmp(data + at, v.ids, bytes) != 0) at++;
    assert_true(at + bytes <= n);
    loci_bank_close(b);
    data[at] ^= 1;
    write_bytes(path, data, n);
    free(data);
    b = bank_open(engine, at_root("damage"), LOCI_BANK_READ);
    refused(b, loci_tokenizer_vocab(engine->tok), "seg-000001.loci");
    loci_bank_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_by_seed),
        cmocka_unit_test(test_damage),
    };
    root_make();
    engine = xs_open(1);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loci_engine_close(engine);
    temp_dir_remove(root);
    return failed;
}
