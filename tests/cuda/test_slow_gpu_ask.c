/* Goal: an engine on a GPU says what the engine on the CPU says: ingest, ask, recall, sessions.
 *
 * Method: the small model XS over a bank of facts in made-up text, larger than a batch of content, a tile
 * of chunks or a part of a search, and below the 4,096 chunks up to which the CPU, too, scores every chunk.
 * Texts must be the same.  Scores may differ by the rounding of queries and landmarks to bf16: each
 * number of two unit vectors of 128 is off by 2^-9 of itself at most, their product at random by
 * 2^-9 sqrt(2 / 128) or so, a score by tau <= 40 times that, 1 %, and a weight by as much of itself;
 * the layers below add about as much again.  Four times the two together: 8 %. */
#include "engine/ask_impl.h"
#include "loci/task.h"
#include "engine/xs_test.h"

enum { FACTS = 8, TEXT = 700000, DOCS = 3 };
static const double SHARE = 0.08, LEAST = 0.05;

static loci_engine *cpu, *gpu;
static loci_task_item item;
static char *text[DOCS];
static loci_bank *on_cpu, *on_gpu; /* the same folder, opened by both */

static loci_engine *open_device(const char *device, loci_error *err)
{
    loci_engine *e = NULL;
    loci_engine_options o = loci_engine_options_default();
    o.model_dir = XS_MODEL;
    o.threads = 2;
    o.device = device;
    return loci_engine_open(&e, &o, err) == LOCI_OK ? e : NULL;
}

/* The fact that answers question q. */
static const char *fact_of(int q)
{
    return item.fact[item.question[q].gold[item.question[q].n_gold - 1]].text;
}

/* Facts on lines of their own, evenly apart in the documents. */
static void make_texts(void)
{
    loci_error err;
    loci_task_options o = loci_task_options_default();
    o.seed = 20265;
    o.names = LOCI_SPLIT_TEST;
    o.wordings = LOCI_SPLIT_PLAIN; /* what XS learned */
    o.n_facts = o.n_questions = FACTS;
    OK(loci_task_make(&item, &o, &err));
    for (int d = 0, fact = 0; d < DOCS; d++) {
        size_t n = 0;
        text[d] = malloc(TEXT / DOCS + 8192);
        for (int part = 0; part < FACTS / DOCS + 1; part++) {
            const size_t each = TEXT / DOCS / (FACTS / DOCS + 1);
            n += loci_task_filler(SEED + (uint64_t)(100 * d + part), each - 300, text[d] + n, each);
            if (fact < FACTS) n += (size_t)sprintf(text[d] + n, "\n%s\n", item.fact[fact++].text);
        }
        text[d][n] = '\0';
    }
}

static int begin(void **state)
{
    loci_error err = { 0 };
    (void)state;
    gpu = open_device("cuda", &err);
    if (!gpu) {
        print_message("skipped: %s\n", err.text);
        assert_int_equal(err.code, LOCI_ENOTFOUND);
        return 0;
    }
    root_make();
    cpu = open_device("cpu", &err);
    assert_non_null(cpu);
    make_texts();
    assert_int_equal(mkdir(at_root("texts"), 0700), 0);
    for (int d = 0; d < DOCS; d++) {
        char name[32];
        snprintf(name, sizeof name, "texts/%d.txt", d);
        put(name, text[d]);
    }
    on_cpu = bank_open(cpu, at_root("bank"), LOCI_BANK_CREATE);
    ingest(on_cpu, at_root("texts"));
    print_message("%lld chunks on %s\n", (long long)on_cpu->chunks, loci_engine_gpu(gpu));
    assert_true(on_cpu->chunks > 2500 && on_cpu->chunks < 4096);
    on_gpu = bank_open(gpu, at_root("bank"), LOCI_BANK_READ);
    return 0;
}

static int end(void **state)
{
    (void)state;
    loci_bank_close(on_cpu);
    loci_bank_close(on_gpu);
    loci_engine_close(cpu);
    loci_engine_close(gpu);
    if (gpu) temp_dir_remove(root);
    if (gpu) loci_task_free(&item);
    for (int d = 0; d < DOCS; d++) free(text[d]);
    return 0;
}

/* ---- answers ------------------------------------------------------------------------------------ */

static bool near(double a, double b)
{
    return fabs(a - b) <= SHARE * (a > LEAST ? a : LEAST);
}

/* What is worth showing is shown by both, at the same bytes. */
static void same_evidence(const loci_answer *a, const loci_answer *b)
{
    assert_true(near(a->evidence_mass, b->evidence_mass));
    for (int i = 0; i < a->n_evidence; i++) {
        const loci_evidence *x = &a->evidence[i];
        int at = 0;
        if (x->score < LEAST) break;
        while (at < b->n_evidence && (strcmp(b->evidence[at].doc, x->doc) != 0 ||
                                      b->evidence[at].byte_start > x->byte_start ||
                                      b->evidence[at].byte_end < x->byte_end))
            at++;
        if (at == b->n_evidence)
            fail_msg("%s from %lld on is missing", x->doc, (long long)x->byte_start);
        if (!near(x->score, b->evidence[at].score))
            fail_msg("%s from %lld on: %g and %g", x->doc, (long long)x->byte_start, x->score,
                     b->evidence[at].score);
    }
}

/* Question q put to both.  A right answer is one that the model is sure of, and must be the same; where
 * it rambles, a rounding decides how it goes on.  Returns whether it was right. */
static bool same_answer(loci_bank *a, loci_bank *b, int q)
{
    loci_error err;
    loci_answer x, y;
    const char *question = item.question[q].question;
    OK(loci_ask(cpu, &a, 1, question, strlen(question), NULL, &x, &err));
    OK(loci_ask(gpu, &b, 1, question, strlen(question), NULL, &y, &err));
    const bool right = strcmp(x.answer, item.question[q].answer) == 0;
    assert_int_equal(y.prompt_tokens, x.prompt_tokens);
    assert_int_equal(y.bank_tokens, x.bank_tokens);
    if (right) {
        assert_string_equal(y.answer, x.answer);
        assert_int_equal(y.completion_tokens, x.completion_tokens);
        assert_true(near(x.consult_rate, y.consult_rate));
        same_evidence(&x, &y);
        same_evidence(&y, &x);
    }
    loci_answer_free(&x);
    loci_answer_free(&y);
    return right;
}

static void test_answers(void **state)
{
    (void)state;
    if (!gpu) skip();
    int right = 0;
    for (int q = 0; q < FACTS; q++) right += same_answer(on_cpu, on_gpu, q);
    assert_true(right >= FACTS / 2); /* or the comparison says little */
}

static void test_recall(void **state)
{
    (void)state;
    if (!gpu) skip();
    loci_error err;
    for (int k = 1; k <= 16; k *= 4)
        for (int q = 0; q < FACTS; q += 3) {
            loci_ask_options o = loci_ask_options_default();
            loci_answer a, b;
            const char *question = item.question[q].question;
            o.k = k;
            OK(loci_recall(cpu, &on_cpu, 1, question, strlen(question), &o, &a, &err));
            OK(loci_recall(gpu, &on_gpu, 1, question, strlen(question), &o, &b, &err));
            same_evidence(&a, &b);
            same_evidence(&b, &a);
            loci_answer_free(&a);
            loci_answer_free(&b);
        }
}

/* ---- banks -------------------------------------------------------------------------------------- */

static loci_answer ask_gpu(loci_bank *const *banks, int n, const char *question)
{
    loci_error err;
    loci_answer a;
    OK(loci_ask(gpu, banks, n, question, strlen(question), NULL, &a, &err));
    return a;
}

/* What a GPU ingested is the text, word by word, and means the same to both. */
static void test_ingest(void **state)
{
    (void)state;
    if (!gpu) skip();
    char some[12000];
    const size_t n = strlen(text[0]), from = n > 9000 ? n - 9000 : 0;
    snprintf(some, sizeof some, "%s\n%s\n", text[0] + from, fact_of(0));
    assert_int_equal(mkdir(at_root("some"), 0700), 0);
    put("some/a.txt", some);
    put("some/b.txt", "");
    put("some/c.txt", "One short line.\n");
    loci_bank *a = bank_open(cpu, at_root("some-cpu"), LOCI_BANK_CREATE),
              *b = bank_open(gpu, at_root("some-gpu"), LOCI_BANK_CREATE);
    const loci_ingest_report ra = ingest(a, at_root("some")), rb = ingest(b, at_root("some"));
    assert_int_equal(ra.tokens, rb.tokens);
    assert_int_equal(a->chunks, b->chunks);
    assert_holds(b, "a.txt", some, strlen(some));
    assert_holds(b, "c.txt", "One short line.\n", 16);
    /* Again, changed: the buffers of the ingest before are used once more. */
    memcpy(some, "Other", 5);
    put("some/a.txt", some);
    assert_int_equal(ingest(b, at_root("some")).tokens > 0, 1);
    assert_holds(b, "a.txt", some, strlen(some));
    ingest(a, at_root("some"));
    loci_bank *b_on_cpu = bank_open(cpu, at_root("some-gpu"), LOCI_BANK_READ);
    const char *question = item.question[0].question;
    loci_answer x;
    assert_true(same_answer(a, b, 0));
    loci_error err;
    OK(loci_ask(cpu, &b_on_cpu, 1, question, strlen(question), NULL, &x, &err));
    assert_string_equal(x.answer, item.question[0].answer);
    loci_answer_free(&x);
    loci_bank_close(b_on_cpu);
    loci_bank_close(b);
    loci_bank_close(a);
}

/* A bank that changed is another bank: what was known of it must be forgotten. */
static void test_banks_change(void **state)
{
    (void)state;
    if (!gpu) skip();
    loci_error err;
    loci_ingest_report r;
    loci_bank *b = bank_open(gpu, at_root("changing"), LOCI_BANK_CREATE);
    OK(loci_bank_add(b, "one", text[1] + 1000, 2000, &r, &err));
    loci_answer a = ask_gpu(&b, 1, item.question[0].question);
    assert_string_not_equal(a.answer, item.question[0].answer);
    loci_answer_free(&a);
    OK(loci_bank_add(b, "two", fact_of(0), strlen(fact_of(0)), &r, &err));
    a = ask_gpu(&b, 1, item.question[0].question);
    assert_string_equal(a.answer, item.question[0].answer);
    assert_true(a.n_evidence > 0 && strcmp(a.evidence[0].doc, "two") == 0);
    loci_answer_free(&a);
    /* Several banks: the one that knows is named. */
    loci_bank *both[2] = { on_gpu, b }, *turned[2] = { b, on_gpu };
    for (int i = 0; i < 2; i++) {
        a = ask_gpu(i ? turned : both, 2, item.question[0].question);
        assert_string_equal(a.answer, item.question[0].answer);
        loci_answer_free(&a);
    }
    /* The last of several changes, and changes back: the first stays known, the fact does not. */
    for (int i = 0; i < 4; i++) {
        const bool there = i % 2;
        const char *fact = there ? fact_of(0) : text[1] + 3000;
        OK(loci_bank_add(b, "two", fact, there ? strlen(fact) : 500 + (size_t)i, &r, &err));
        a = ask_gpu(both, 2, item.question[0].question);
        if (there)
            assert_string_equal(a.answer, item.question[0].answer);
        else
            assert_false(a.n_evidence > 0 && strcmp(a.evidence[0].doc, "two") == 0);
        loci_answer_free(&a);
        a = ask_gpu(both, 2, item.question[1].question);
        assert_string_equal(a.answer, item.question[1].answer);
        loci_answer_free(&a);
    }
    /* Of what the last one leaves behind nothing is read. */
    loci_bank_close(b);
    a = ask_gpu(&on_gpu, 1, item.question[1].question);
    assert_string_equal(a.answer, item.question[1].answer);
    for (int i = 0; i < a.n_evidence; i++) assert_string_not_equal(a.evidence[i].doc, "one");
    loci_answer_free(&a);
}

/* ---- sessions ----------------------------------------------------------------------------------- */

/* Logits after a text of several calls, and token by token. */
static void test_sessions(void **state)
{
    (void)state;
    if (!gpu) skip();
    enum { N = 600, STEPS = 6 };
    loci_error err;
    loci_session_options o = { .max_tokens = N + STEPS };
    loci_session *s[2];
    const int vocab = loci_engine_info(cpu)->vocab;
    float *logits[2];
    int32_t ids[N + STEPS];
    size_t n = 0;
    loci_encoder *enc;
    OK(loci_encoder_open(&enc, loci_engine_tokenizer(cpu), &err));
    ids[0] = LOCI_TOK_BOS;
    OK(loci_encode(enc, text[2], 1500, ids + 1, NULL, N - 1, &n, &err));
    loci_encoder_close(enc);
    for (int i = 0; i < 2; i++) {
        logits[i] = malloc((size_t)vocab * sizeof(float));
        OK(loci_session_open(&s[i], i ? gpu : cpu, &o, &err));
    }
    for (int step = 0; step < STEPS; step++) {
        double off = 0.0, size = 0.0;
        const int32_t *from = step ? ids + n : ids;
        const int64_t count = step ? 1 : (int64_t)n + 1;
        for (int i = 0; i < 2; i++) OK(loci_session_extend(s[i], from, count, logits[i], 1, &err));
        for (int v = 0; v < vocab; v++) {
            off += pow((double)logits[0][v] - (double)logits[1][v], 2.0) / vocab;
            size += pow((double)logits[0][v], 2.0) / vocab;
        }
        /* 2^-9 a rounding, some twenty of them one after the other at random. */
        if (!(sqrt(off) <= 4.0 * 0x1p-9 * sqrt(20.0) * sqrt(size)))
            fail_msg("step %d: logits off by %g of %g", step, sqrt(off), sqrt(size));
        ids[++n] = loci_argmax(logits[0], vocab);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(loci_session_length(s[i]), (int64_t)n);
        loci_session_close(s[i]);
        free(logits[i]);
    }
}

/* Losses of a text with gates as trained, all open, all closed: each differs by what logits may differ by,
 * 3.5 % of their size (test_sessions), on both sides of the logarithm; of their mean over N tokens, whose
 * roundings have nothing to do with each other, a tenth of that is asked.  A gate near its threshold may
 * fall on the other side: in one of a hundred. */
static void test_losses(void **state)
{
    (void)state;
    if (!gpu) skip();
    enum { N = 3000 };
    static const double SIZE = 0.035 * 2.0;
    loci_error err;
    int32_t *ids = malloc(TEXT * sizeof *ids);
    float *loss[2];
    size_t n = 0;
    loci_encoder *enc;
    OK(loci_encoder_open(&enc, loci_engine_tokenizer(cpu), &err));
    OK(loci_encode(enc, text[1], 20000, ids + 1, NULL, TEXT - 1, &n, &err));
    loci_encoder_close(enc);
    assert_true(n > N);
    for (int i = 0; i < 2; i++) loss[i] = malloc(N * sizeof **loss);
    ids[0] = LOCI_TOK_BOS;
    for (int how = 0; how < 3; how++) {
        double mean[2] = { 0.0 }, off = 0.0;
        loci_session_reads count[2];
        for (int i = 0; i < 2; i++) {
            loci_session *s;
            const loci_session_options o = { .max_tokens = N, .reading = (loci_reading)how };
            OK(loci_session_open(&s, i ? gpu : cpu, &o, &err));
            OK(loci_session_losses(s, ids, 2500, ids + 1, loss[i], &err));
            OK(loci_session_losses(s, ids + 2500, N - 2500, ids + 2501, loss[i] + 2500, &err));
            count[i] = loci_session_consulted(s);
            loci_session_close(s);
        }
        for (int t = 0; t < N; t++) {
            mean[0] += (double)loss[0][t] / N;
            mean[1] += (double)loss[1][t] / N;
            off += pow((double)loss[0][t] - (double)loss[1][t], 2.0) / N;
        }
        print_message("reading %d: loss %.4f, on the GPU %.4f, tokens off by %.4f; consulted %lld, "
                      "%lld of %lld\n",
                      how, mean[0], mean[1], sqrt(off), (long long)count[0].consulted,
                      (long long)count[1].consulted, (long long)count[0].pairs);
        assert_true(sqrt(off) <= SIZE * mean[0]);
        assert_true(fabs(mean[0] - mean[1]) <= 0.1 * SIZE * mean[0]);
        assert_int_equal(count[0].pairs, count[1].pairs);
        assert_true(llabs(count[0].consulted - count[1].consulted) <= count[0].pairs / 100);
        if (how == LOCI_READ_ALWAYS) assert_int_equal(count[1].consulted, count[1].pairs);
        if (how == LOCI_READ_NEVER) assert_int_equal(count[1].consulted, 0);
    }
    for (int i = 0; i < 2; i++) free(loss[i]);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),  cmocka_unit_test(test_recall),
        cmocka_unit_test(test_ingest),   cmocka_unit_test(test_banks_change),
        cmocka_unit_test(test_sessions), cmocka_unit_test(test_losses),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
