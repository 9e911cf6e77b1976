/* test_item.c - training sequences.
 *
 * Goal: what an item says of its tokens is true of its tokens, whatever family, phase and corpus.
 * Method: many seeds; each label is checked against the ids that it speaks of, and the counts
 * against what a forward pass of the model counts. */
#include "item_test.h"

/* Documents cover the tokens; targets are the ids that follow within a document. */
static void check_frame(const loci_sequence *s, uint64_t seed)
{
    assert_in_range(s->T, 1, SEQ);
    assert_in_range(s->n_docs, 1, SEQ);
    assert_int_equal(s->doc[0], 0);
    assert_int_equal(s->doc[s->n_docs], s->T);
    for (int d = 0; d < s->n_docs; d++) {
        assert_true(s->doc[d] < s->doc[d + 1]);
        assert_int_equal(s->ids[s->doc[d]], LOCI_TOK_BOS);
        for (int t = s->doc[d]; t < s->doc[d + 1]; t++) {
            const bool last = t + 1 == s->doc[d + 1];
            if (s->ids[t] < 0 || s->ids[t] >= VOCAB) fail_msg("seed %d: id %d", (int)seed, t);
            if (s->target[t] < 0)
                assert_true(s->weight[t] == 0.0f && !s->answer[t] && s->gold[t] == -1);
            else if (last || s->target[t] != s->ids[t + 1] || !(s->weight[t] > 0.0f))
                fail_msg("seed %d: target of token %d is not the next id", (int)seed, t);
        }
    }
}

/* Every source is a row of the bank with the id that is to be predicted, in the gold chunk.  Gold
 * chunks without one are on the way to an answer: of the text, for a comma or within a question.
 * Returns how many sources there are. */
static int check_sources(const loci_sequence *s, const loci_train_config *c, uint64_t seed)
{
    int n = 0;
    for (int t = 0; t < s->T; t++) {
        if (s->source[t] < 0 && s->gold[t] >= 0)
            assert_true(s->gold[t] < (s->doc[1] + c->hp.chunk - 1) / c->hp.chunk &&
                        (!s->answer[t] || s->target[t] == comma_id()));
        if (s->source[t] < 0) continue;
        /* Document 0 is the text, and the bank's only document: a row is a position. */
        if (s->source[t] >= s->doc[1] || s->ids[s->source[t]] != s->target[t])
            fail_msg("seed %d: token %d: source %d holds another id", (int)seed, t, s->source[t]);
        assert_int_equal(s->gold[t], s->source[t] / c->hp.chunk);
        assert_true(s->answer[t]);
        n++;
    }
    return n;
}

static void test_families(void **state)
{
    (void)state;
    for (int f = 0; f < LOCI_TASK_COUNT; f++) {
        fixture x;
        int sources = 0, answers = 0, absent = 0;
        fixture_open(&x, f, 0.5, 1.0);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            const loci_sequence *s = make(&x, seed);
            check_frame(s, seed);
            sources += check_sources(s, &x.c, seed);
            for (int t = 0; t < s->T; t++) {
                answers += s->answer[t] && s->target[t] != LOCI_TOK_E;
                absent += s->gold[t] == -2;
            }
        }
        print_message("%-10s answer tokens %d, with a source %d, absent facts %d\n",
                      loci_task_name((loci_task_family)f), answers, sources, absent);
        assert_true(answers > SEEDS);
        if (f == LOCI_TASK_ABSENT)
            assert_true(absent > SEEDS && sources == 0);
        else if (f == LOCI_TASK_CONFLICT) /* a sixth of the clauses is contradicted by nothing */
            assert_true(absent > 0 && sources > answers * 2 / 3);
        else /* commas between values, and tokens that join a value and its neighbour, have no twin */
            assert_true(absent == 0 && sources > answers * 5 / 6);
        fixture_close(&x);
    }
}

/* What answers say, read back: they are in the text, or its list of values is, or "not stated". */
static void test_answers_stand_in_the_text(void **state)
{
    (void)state;
    static char text[8 * SEQ], answer[8 * SEQ];
    int said = 0, absent = 0;
    for (int f = 0; f < LOCI_TASK_COUNT; f++) {
        fixture x;
        fixture_open(&x, f, 0.5, 1.0);
        x.c.phase[0].absent = 0.2f;
        for (uint64_t seed = 0; seed < SEEDS / 2; seed++) {
            const loci_sequence *s = make(&x, seed);
            int end = 1;
            while (end < s->T && s->ids[end] != LOCI_TOK_Q && s->ids[end] != LOCI_TOK_BOS) end++;
            decode(s->ids + 1, end - 1, text, sizeof text);
            for (int t = end; t < s->T; t++) {
                if (s->ids[t] != LOCI_TOK_A) continue;
                int e = t + 1;
                while (e < s->T && s->ids[e] != LOCI_TOK_E) e++;
                assert_true(e < s->T); /* every answer has its stop token, and it is learned */
                assert_true(s->answer[e - 1] && s->target[e - 1] == LOCI_TOK_E);
                decode(s->ids + t + 1, e - t - 1, answer, sizeof answer);
                const char *part = answer + (answer[0] == ' ');
                said++;
                absent += strcmp(part, "not stated") == 0;
                if (strcmp(part, "not stated") == 0 || strstr(text, part)) continue;
                for (char *comma; part; part = comma ? comma + 2 : NULL) {
                    comma = strstr(part, ", ");
                    if (comma) *comma = '\0';
                    if (!strstr(text, part))
                        fail_msg("%s, seed %d: '%s'", loci_task_name((loci_task_family)f),
                                 (int)seed, part);
                }
            }
        }
        fixture_close(&x);
    }
    print_message("%d answers, %d of them \"not stated\"\n", said, absent);
    assert_true(said > 10 * SEEDS && absent > said / 20);
}

/* A JSON object in one piece stands in one line, to its brace, or in lines: either often. */
static void test_objects_stand_in_one_piece(void **state)
{
    (void)state;
    static char text[8 * SEQ];
    int in_line = 0, in_piece = 0;
    fixture x;
    fixture_open(&x, LOCI_TASK_KV, 0.5, 1.0);
    for (uint64_t seed = 0; seed < 4 * SEEDS; seed++) {
        const loci_sequence *s = make(&x, seed);
        int end = 1;
        while (end < s->T && s->ids[end] != LOCI_TOK_Q && s->ids[end] != LOCI_TOK_BOS) end++;
        decode(s->ids + 1, end - 1, text, sizeof text);
        const char *open = strstr(text, "{\""), *next = open ? strstr(open, "\",") : NULL;
        if (!next) continue;
        in_piece += strncmp(next + 2, "\n\"", 2) == 0;
        const char *close = strchr(open, '}');
        in_line += close && strcspn(open, "\n") > (size_t)(close - open);
    }
    fixture_close(&x);
    print_message("%d objects in one line, %d in lines\n", in_line, in_piece);
    assert_true(in_line > SEEDS / 4 && in_piece > SEEDS / 4);
}

/* Without readers: questions follow their text, nothing is gold, facts stand inside the window too. */
static void test_dense(void **state)
{
    (void)state;
    fixture x;
    int asked = 0;
    fixture_open(&x, -1, 1.0, 1.0);
    x.c.hp.n_groups = 0;
    x.c.hp.window = SEQ;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const loci_sequence *s = make(&x, seed);
        bool answers = false;
        for (int t = 0; t < s->T; t++) {
            answers |= s->answer[t];
            assert_true(s->gold[t] == -1 && s->source[t] == -1);
        }
        assert_true(!answers || s->n_docs == 1);
        assert_true(x.item.n_query == 0 && x.item.n_gold == 0 && x.item.n_absent == 0);
        asked += answers;
    }
    assert_true(asked > SEEDS / 2);
    fixture_close(&x);
}

/* In one stream nothing that is asked for may stand where the window still shows it. */
static void test_clear_of_the_window(void **state)
{
    (void)state;
    fixture x;
    int items = 0, facts = 0;
    fixture_open(&x, -1, 0.0, 1.0);
    for (uint64_t seed = 0; seed < 4 * SEEDS; seed++) {
        const loci_sequence *s = make(&x, seed);
        if (s->n_docs != 1) continue; /* fell back to text */
        int question = 0, lost = 0;
        while (question < s->T && s->ids[question] != LOCI_TOK_Q) question++;
        for (int t = 0; t < s->T; t++) {
            if (s->source[t] < 0) continue;
            facts++;
            lost += s->source[t] > question - x.c.hp.window;
        }
        if (lost) fail_msg("seed %d: %d answer tokens stand in the window", (int)seed, lost);
        items += question < s->T;
    }
    print_message("%d items in one stream, %d answer tokens with a source\n", items, facts);
    assert_true(items > SEEDS && facts > SEEDS);
    fixture_close(&x);
}

static void test_same_seed(void **state)
{
    (void)state;
    fixture x, y;
    fixture_open(&x, -1, 0.5, 0.7);
    fixture_open(&y, -1, 0.5, 0.7);
    for (uint64_t seed = 100; seed < 105; seed++) make(&y, seed); /* scratch that was used */
    uint64_t different = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const loci_sequence *a = make(&x, seed), *b = make(&y, seed);
        const size_t n = (size_t)a->T;
        assert_int_equal(a->T, b->T);
        assert_int_equal(a->n_docs, b->n_docs);
        assert_memory_equal(a->ids, b->ids, n * sizeof *a->ids);
        assert_memory_equal(a->target, b->target, n * sizeof *a->target);
        assert_memory_equal(a->weight, b->weight, n * sizeof *a->weight);
        assert_memory_equal(a->answer, b->answer, n);
        assert_memory_equal(a->gold, b->gold, n * sizeof *a->gold);
        assert_memory_equal(a->source, b->source, n * sizeof *a->source);
        assert_memory_equal(a->doc, b->doc, ((size_t)a->n_docs + 1) * sizeof *a->doc);
        assert_memory_equal(a->banked, b->banked, (size_t)a->n_docs);
        const loci_sequence *other = make(&y, seed + 1000);
        different += other->T != a->T || memcmp(other->ids, a->ids, n * sizeof *a->ids) != 0;
    }
    assert_int_equal(different, SEEDS);
    fixture_close(&x);
    fixture_close(&y);
}

/* A corpus of `n` documents of `bytes` bytes of the generator's text. */
static void small_documents(loci_corpus *c, size_t n, size_t bytes)
{
    c->text = malloc(n * bytes);
    c->start = malloc((n + 1) * sizeof *c->start);
    assert_true(c->text && c->start);
    memset(c->text, ' ', n * bytes);
    loci_task_filler(3, n * bytes, c->text, n * bytes);
    for (size_t i = 0; i <= n; i++) c->start[i] = i * bytes;
    c->n_docs = n;
    c->bytes = n * bytes;
}

/* The counts that losses are divided by are those of the pass, which also checks every index. */
static void check_counts(fixture *x, uint64_t first, uint64_t end)
{
    float *base = loci_alloc_aligned(loci_param_floats(&x->c.hp) * sizeof(float));
    void *memory = loci_alloc_aligned(loci_pass_bytes(&x->c.hp, SEQ));
    loci_model *m;
    assert_true(base && memory);
    loci_params_init(base, &x->c.hp, 1);
    MUST(loci_model_wrap(&m, &x->c.hp, base, loci_cpu_detect(), err));
    loci_pass *pass = loci_pass_init(&x->c.hp, SEQ, memory);
    for (uint64_t seed = first; seed < end; seed++) {
        const loci_sequence *s = make(x, seed);
        const loci_loss_options o = { .routed = true,
                                      .kl = 1,
                                      .kl_every = 3,
                                      .kl_phase = 2,
                                      .oracle = 1,
                                      .absence = 1,
                                      .code_slope = 1,
                                      .code_every = 5,
                                      .code_phase = 1 };
        loci_loss_sums sums = { 0 };
        double weight = 0.0;
        int64_t targets = 0;
        for (int t = 0; t < s->T; t++) {
            weight += s->weight[t];
            targets += s->target[t] >= 0;
        }
        MUST(loci_pass_lower(pass, m, s, err));
        loci_pass_upper(pass, m, s, NULL, 0, &o, NULL, &sums);
        assert_int_equal(sums.n_query, x->item.n_query);
        assert_int_equal(sums.n_kl, loci_item_kl_rows(&x->item, 3, 2));
        assert_int_equal(sums.n_hash, loci_item_code_rows(&x->item, 5, 1));
        assert_int_equal(sums.n_aged, loci_item_packed_rows(&x->item, x->c.hp.chunk));
        assert_int_equal(sums.n_gold, x->item.n_gold);
        assert_int_equal(sums.n_absent, x->item.n_absent);
        assert_int_equal(sums.n_text + sums.n_answer, targets);
        assert_true(x->item.weight_sum == weight);
    }
    loci_model_close(m);
    loci_free_aligned(base);
    loci_free_aligned(memory);
}

static void test_counts(void **state)
{
    (void)state;
    fixture x;
    fixture_open(&x, -1, 0.5, 0.8);
    check_counts(&x, 0, 20);
    fixture_close(&x);
}

/* Many documents in a sequence, each with a short last chunk: still within what a pass and the
 * trainer's buffers were planned for. */
static void test_short_documents(void **state)
{
    (void)state;
    static const size_t bytes[] = { 1, 7, 60, 150, 400 };
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        fixture x;
        fixture_open(&x, -1, 0.5, 0.3);
        small_documents(&x.corpus, 500, bytes[i]);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            const loci_sequence *s = make(&x, seed);
            int chunks = 0;
            check_frame(s, seed);
            for (int d = 0; d < s->n_docs; d++)
                if (s->banked[d])
                    chunks += (s->doc[d + 1] - s->doc[d] + x.c.hp.chunk - 1) / x.c.hp.chunk;
            assert_in_range(chunks, 0, loci_item_chunks_max(SEQ));
        }
        check_counts(&x, 0, 6);
        fixture_close(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_answers_stand_in_the_text),
        cmocka_unit_test(test_objects_stand_in_one_piece),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_clear_of_the_window),
        cmocka_unit_test(test_same_seed),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_short_documents),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
