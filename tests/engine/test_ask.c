/* Goal: a question is answered from what stands in the bank, and the evidence says exactly where.
 *
 * Method: the small model XS over banks of made-up text with facts hidden at known bytes.  Places are
 * checked against the files themselves; limits and damage must give one line. */
#include "xs_test.h"
#include "loci/bench.h"
#include "loci/task.h"
#include <math.h>

static loci_engine *engine;

enum { FACTS = 8, TEXT = 300000 };

typedef struct {
    char *text;
    size_t n;
    loci_task_item item;
    size_t at[FACTS]; /* byte of each fact in text */
} field;

/* Filler with FACTS facts, each on a line of its own. */
static field field_make(uint64_t seed)
{
    field f = { .text = malloc(TEXT + 4096) };
    char *hay = malloc(TEXT);
    size_t place[FACTS], from = 0;
    loci_error err;
    loci_task_options o = loci_task_options_default();
    o.seed = seed;
    o.names = LOCI_SPLIT_TEST;
    o.wordings = LOCI_SPLIT_PLAIN; /* what XS was trained on */
    o.n_facts = o.n_questions = FACTS;
    const size_t n = loci_task_filler(seed, TEXT - 1000, hay, TEXT);
    OK(loci_task_make(&f.item, &o, &err));
    OK(loci_task_place(&f.item, hay, n, 0.0, 1.0, seed, place, &err));
    for (int i = 0; i < FACTS; i++) { /* needles are of one group each: any order may come */
        int next = -1;
        for (int j = 0; j < FACTS; j++)
            if (f.at[j] == 0 && (next < 0 || place[j] < place[next])) next = j;
        memcpy(f.text + f.n, hay + from, place[next] - from);
        f.n += place[next] - from;
        from = place[next];
        f.text[f.n++] = '\n';
        f.at[next] = f.n;
        f.n += (size_t)sprintf(f.text + f.n, "%s\n", f.item.fact[next].text);
    }
    memcpy(f.text + f.n, hay + from, n - from);
    f.n += n - from;
    free(hay);
    return f;
}

static void field_free(field *f)
{
    loci_task_free(&f->item);
    free(f->text);
}

static loci_answer ask(loci_bank *const *banks, int n, const char *question)
{
    loci_error err;
    loci_answer a;
    OK(loci_ask(engine, banks, n, question, strlen(question), NULL, &a, &err));
    return a;
}

static loci_answer ask_exactly(loci_bank *const *banks, int n, const char *question)
{
    loci_error err;
    loci_answer a;
    loci_ask_options o = loci_ask_options_default();
    o.exact = true;
    OK(loci_ask(engine, banks, n, question, strlen(question), &o, &a, &err));
    return a;
}

/* Every passage stands at its bytes of the file and on its lines; shares are shares. */
static void check_evidence(const loci_answer *a, const char *text, size_t n)
{
    double sum = 0.0;
    for (int i = 0; i < a->n_evidence; i++) {
        const loci_evidence *e = &a->evidence[i];
        assert_true(e->byte_start >= 0 && e->byte_start <= e->byte_end &&
                    e->byte_end <= (int64_t)n);
        assert_int_equal(e->text_bytes, e->byte_end - e->byte_start);
        assert_memory_equal(e->text, text + e->byte_start, e->text_bytes);
        int64_t line = 1;
        for (int64_t b = 0; b < e->byte_start; b++) line += text[b] == '\n';
        assert_int_equal(e->line_start, line);
        for (int64_t b = e->byte_start; b + 1 < e->byte_end; b++) line += text[b] == '\n';
        assert_int_equal(e->line_end, line);
        assert_true(e->score >= 0.01 && e->score <= 1.0 + 1e-9);
        assert_true(i == 0 || e->score <= a->evidence[i - 1].score);
        for (int j = 0; j < i; j++) /* adjacent passages were merged */
            assert_true(strcmp(a->evidence[j].doc, e->doc) != 0 ||
                        e->byte_start > a->evidence[j].byte_end ||
                        e->byte_end < a->evidence[j].byte_start);
        sum += e->score;
    }
    assert_true(sum <= a->evidence_mass + 1e-6 && a->evidence_mass <= 1.0 + 1e-6);
}

static void test_facts_are_found(void **state)
{
    (void)state;
    field f = field_make(20265);
    int right = 0, shown = 0;
    write_bytes(at_root("field.txt"), f.text, f.n);
    loci_bank *b = bank_open(engine, at_root("bank-field"), LOCI_BANK_CREATE);
    ingest(b, at_root("field.txt"));
    for (int q = 0; q < FACTS; q++) {
        const loci_question *question = &f.item.question[q];
        const size_t at = f.at[question->gold[question->n_gold - 1]];
        loci_answer a = ask(&b, 1, question->question);
        right += strcmp(a.answer, question->answer) == 0;
        bool seen = false;
        for (int i = 0; i < a.n_evidence; i++)
            seen |=
                a.evidence[i].byte_start < (int64_t)at + 60 && a.evidence[i].byte_end > (int64_t)at;
        shown += seen;
        check_evidence(&a, f.text, f.n);
        assert_true(a.n_evidence == 0 || !a.evidence[0].source_changed);
        loci_answer_free(&a);
        loci_error err;
        OK(loci_recall(engine, &b, 1, question->question, strlen(question->question), NULL, &a,
                       &err));
        assert_int_equal(a.completion_tokens, 0);
        check_evidence(&a, f.text, f.n);
        loci_answer_free(&a);
    }
    print_message("%d of %d right, %d shown\n", right, FACTS, shown);
    assert_true(right >= 5 && shown >= 7);

    /* The file changes: the passage still comes from the bank, and says so. */
    write_bytes(at_root("field.txt"), "gone", 4);
    loci_answer a = ask(&b, 1, f.item.question[0].question);
    assert_true(a.n_evidence > 0 && a.evidence[0].source_changed);
    check_evidence(&a, f.text, f.n);
    loci_answer_free(&a);
    loci_bank_close(b);
    field_free(&f);
}

/* Answer and passages alike to the last bit; each passage of b names the bank of its document. */
static void check_alike(loci_answer *a, loci_answer *b, const char *dir_of_doc)
{
    char dir[400];
    assert_string_equal(a->answer, b->answer);
    assert_int_equal(a->n_evidence, b->n_evidence);
    assert_int_equal(a->bank_tokens, b->bank_tokens);
    assert_true(a->evidence_mass == b->evidence_mass);
    for (int e = 0; e < a->n_evidence; e++) {
        assert_string_equal(a->evidence[e].doc, b->evidence[e].doc);
        assert_int_equal(a->evidence[e].byte_start, b->evidence[e].byte_start);
        assert_int_equal(a->evidence[e].byte_end, b->evidence[e].byte_end);
        assert_true(a->evidence[e].score == b->evidence[e].score);
        snprintf(dir, sizeof dir, dir_of_doc, root, atoi(b->evidence[e].doc + 4));
        assert_string_equal(b->evidence[e].bank, dir);
    }
    loci_answer_free(a);
    loci_answer_free(b);
}

/* As many banks as one question may have, of one small document each. */
static void test_a_hundred_banks(void **state)
{
    enum { BANKS = 100 };
    (void)state;
    loci_error err;
    loci_ingest_report r;
    loci_bank *one = bank_open(engine, at_root("bank-small"), LOCI_BANK_CREATE), *many[BANKS];
    field f = field_make(20310);
    for (int i = 0; i < BANKS; i++) {
        char name[40], dir[40];
        const size_t from = f.n * (size_t)i / BANKS, to = f.n * (size_t)(i + 1) / BANKS;
        snprintf(name, sizeof name, "part%d", i);
        snprintf(dir, sizeof dir, "bank-small%d", i);
        many[i] = bank_open(engine, at_root(dir), LOCI_BANK_CREATE);
        OK(loci_bank_add(many[i], name, f.text + from, to - from, &r, &err));
        OK(loci_bank_add(one, name, f.text + from, to - from, &r, &err));
    }
    int shown = 0;
    for (int q = 0; q < FACTS; q++) {
        loci_answer a = ask(&one, 1, f.item.question[q].question);
        loci_answer b = ask(many, BANKS, f.item.question[q].question);
        shown += b.n_evidence;
        check_alike(&a, &b, "%s/bank-small%d");
    }
    assert_true(shown > 0);
    loci_bank_close(one);
    for (int i = 0; i < BANKS; i++) loci_bank_close(many[i]);
    field_free(&f);
}

/* Documents in one bank or in three: the same chunks, so the same answer and passages.  Together they
 * are so many that codes would choose if they were asked to; all are scored, as where that is asked for. */
static void test_many_banks_are_one(void **state)
{
    (void)state;
    loci_bank *one = bank_open(engine, at_root("bank-one"), LOCI_BANK_CREATE), *many[3];
    field f[3];
    for (int i = 0; i < 3; i++) {
        char name[40], dir[40];
        snprintf(name, sizeof name, "part%d.txt", i);
        snprintf(dir, sizeof dir, "bank-part%d", i);
        f[i] = field_make(20300 + (uint64_t)i);
        write_bytes(at_root(name), f[i].text, f[i].n);
        many[i] = bank_open(engine, at_root(dir), LOCI_BANK_CREATE);
        ingest(many[i], at_root(name));
        ingest(one, at_root(name));
    }
    for (int i = 0; i < 3; i++)
        for (int q = 0; q < 3; q++) {
            loci_answer a = ask(&one, 1, f[i].item.question[q].question);
            loci_answer b = ask(many, 3, f[i].item.question[q].question);
            check_alike(&a, &b, "%s/bank-part%d");
            a = ask(&one, 1, f[i].item.question[q].question);
            b = ask_exactly(many, 3, f[i].item.question[q].question);
            check_alike(&a, &b, "%s/bank-part%d");
        }
    assert_true(one->chunks > 4096);
    loci_bank_close(one);
    for (int i = 0; i < 3; i++) {
        loci_bank_close(many[i]);
        field_free(&f[i]);
    }
}

/* Recall of the model's own queries over text: exhaustive where few chunks are, and all buckets are
 * looked into; better than what the looked at share would give by chance where not. */
static void test_recall_is_measured(void **state)
{
    enum { PIECES = 30 };
    (void)state;
    loci_error err;
    loci_bench_search_row row, again;
    field f = field_make(20311);
    loci_bank *b = bank_open(engine, at_root("bank-recall"), LOCI_BANK_CREATE);
    write_bytes(at_root("recall0.txt"), f.text, f.n);
    ingest(b, at_root("recall0.txt"));
    OK(loci_bench_search(engine, &b, 1, PIECES, 16, 0, 1, &row, &err));
    assert_true(row.chunks == b->chunks && row.chunks < 4096 && row.sorted == 0);
    assert_true(row.codes_recall == 1.0 && row.fast_recall == 1.0);
    for (int i = 1; row.chunks <= 4500; i++) {
        char name[40];
        snprintf(name, sizeof name, "recall%d", i);
        field g = field_make(20311 + (uint64_t)i);
        loci_ingest_report r;
        OK(loci_bank_add(b, name, g.text, g.n, &r, &err));
        row.chunks = b->chunks;
        field_free(&g);
    }
    OK(loci_bank_sort(b, 64, &err));
    OK(loci_bench_search(engine, &b, 1, PIECES, 16, 64, 2, &row, &err));
    assert_true(row.fast_recall == 1.0 && row.sorted == b->chunks);
    assert_true(row.codes_recall > 1.0 / 16 && row.codes_recall < 1.0);
    OK(loci_bench_search(engine, &b, 1, PIECES, 16, 8, 2, &row, &err));
    assert_true(row.fast_recall > 0.3 && row.fast_recall < 1.0);
    assert_true(row.fast_rows < 0.5 * 2 * (double)b->chunks);
    OK(loci_bench_search(engine, &b, 1, PIECES, 16, 8, 2, &again, &err));
    assert_true(again.fast_recall == row.fast_recall && again.codes_recall == row.codes_recall);
    print_message("8 of 64 buckets: recall %.3f; by codes %.3f\n", row.fast_recall,
                  row.codes_recall);
    assert_int_equal(loci_bench_search(engine, &b, 1, 0, 16, 0, 1, &row, NULL), LOCI_EINVAL);
    assert_int_equal(loci_bench_search(engine, &b, 1, 1, 65, 0, 1, &row, NULL), LOCI_EINVAL);
    assert_int_equal(loci_bench_search(engine, &b, 0, 1, 16, 0, 1, &row, NULL), LOCI_EINVAL);
    loci_bank_close(b);
    field_free(&f);
}

/* Three bytes a character: a passage that begins or ends inside one is widened. */
static void test_whole_characters(void **state)
{
    (void)state;
    static const char cjk[] =
        "\xe8\xae\xb0\xe5\xbf\x86\xe7\x9a\x84\xe9\x93\xb6\xe8\xa1\x8c\xe3\x80\x82";
    char text[60000];
    size_t n = 0;
    while (n + 100 < sizeof text) n += (size_t)sprintf(text + n, "%s%s", cjk, n % 7 ? "" : " x ");
    write_bytes(at_root("cjk.txt"), text, n);
    loci_bank *b = bank_open(engine, at_root("bank-cjk"), LOCI_BANK_CREATE);
    ingest(b, at_root("cjk.txt"));
    loci_error err;
    loci_answer a;
    loci_ask_options o = loci_ask_options_default();
    o.min_score = 0.0;
    o.max_evidence = 64;
    OK(loci_recall(engine, &b, 1, cjk, sizeof cjk - 1, &o, &a, &err));
    assert_true(a.n_evidence > 0);
    for (int i = 0; i < a.n_evidence; i++) {
        const loci_evidence *e = &a.evidence[i];
        assert_memory_equal(e->text, text + e->byte_start, e->text_bytes);
        assert_true(((unsigned char)text[e->byte_start] & 0xC0) != 0x80);
        assert_true(e->byte_end == (int64_t)n || ((unsigned char)text[e->byte_end] & 0xC0) != 0x80);
    }
    loci_answer_free(&a);
    loci_bank_close(b);
}

#define REFUSED(code, part, call)                                                                  \
    do {                                                                                           \
        loci_error e_ = { 0 }, *err_ = &e_;                                                        \
        assert_int_equal(call, code);                                                              \
        if (!strstr(e_.text, part)) fail_msg("\"%s\" does not name \"%s\"", e_.text, part);        \
        assert_null(a.answer);                                                                     \
        assert_int_equal(a.n_evidence, 0);                                                         \
    } while (0)

/* "not stated" is answered where it leads by the margin and nowhere else, and what it leads by is said. */
static void test_refusals(void **state)
{
    (void)state;
    field f = field_make(20265), other = field_make(20266); /* its keys are not in the bank */
    loci_bank *b = bank_open(engine, at_root("bank-refusals"), LOCI_BANK_CREATE);
    loci_error err;
    loci_ingest_report r;
    OK(loci_bank_add(b, "field", f.text, f.n, &r, &err));
    int refused = 0, answered = 0, turned = 0;
    for (int q = 0; q < 2 * FACTS; q++) {
        const char *question = (q < FACTS ? f : other).item.question[q % FACTS].question;
        loci_answer a = ask(&b, 1, question);
        const bool refuses = strcmp(a.answer, LOCI_NOT_STATED) == 0;
        assert_true(!refuses || a.refusal_lead > 0.0);
        for (int under = 0; under < 2 && a.refusal_lead > 0.0; under++) {
            loci_answer again;
            loci_ask_options o = loci_ask_options_default();
            o.refusal_margin = a.refusal_lead * (under ? 0.99 : 1.01);
            OK(loci_ask(engine, &b, 1, question, strlen(question), &o, &again, &err));
            assert_true(again.refusal_lead == a.refusal_lead);
            if (under) assert_string_equal(again.answer, a.answer);
            if (!under) turned += strncmp(again.answer, "not ", 4) != 0;
            loci_answer_free(&again);
        }
        refused += a.refusal_lead > 0.0;
        answered += a.refusal_lead < 0.0;
        loci_answer_free(&a);
    }
    print_message("%d refused, %d answered\n", refused, answered);
    assert_true(refused > 0 && answered > 0);
    assert_int_equal(turned, refused);
    loci_bank_close(b);
    field_free(&f);
    field_free(&other);
}

static void test_limits(void **state)
{
    (void)state;
    loci_bank *b = bank_open(engine, at_root("bank-limits"), LOCI_BANK_CREATE);
    loci_error err;
    loci_ingest_report r;
    loci_answer a;
    OK(loci_bank_add(b, "one", "The code is 7.", 14, &r, &err));
    REFUSED(LOCI_EINVAL, "empty", loci_ask(engine, &b, 1, "", 0, NULL, &a, err_));
    char *longer = malloc(200001);
    for (int i = 0; i < 200000; i += 2) memcpy(longer + i, " 7", 3);
    REFUSED(LOCI_EINVAL, "32768", loci_ask(engine, &b, 1, longer, 200000, NULL, &a, err_));
    free(longer);
    for (int bad = 0; bad < 6; bad++) {
        loci_ask_options o = loci_ask_options_default();
        if (bad == 0) o.max_tokens = 0;
        if (bad == 1) o.max_tokens = 4097;
        if (bad == 2) o.k = -1;
        if (bad == 3) o.max_evidence = 65;
        if (bad == 4) o.refusal_margin = 101.0;
        if (bad == 5) o.refusal_margin = NAN;
        REFUSED(LOCI_EINVAL, "expected", loci_ask(engine, &b, 1, "x?", 2, &o, &a, err_));
    }
    loci_bank_close(b);
}

/* A bit flipped in what the answer needs: the block is named and nothing is answered from it. */
static void test_damage_is_named(void **state)
{
    (void)state;
    const char *dir = at_root("bank-damage");
    char path[TEMP_PATH + 340];
    loci_answer a;
    loci_error err;
    loci_ingest_report r;
    loci_bank *b = bank_open(engine, dir, LOCI_BANK_CREATE);
    char text[4000];
    const size_t n = loci_task_filler(5, 3900, text, sizeof text);
    OK(loci_bank_add(b, "one", text, n, &r, &err));
    snprintf(path, sizeof path, "%s/%s", dir, b->segment_row[0].file);
    loci_bank_close(b);
    const int fd = open(path, O_RDWR);
    struct stat s;
    unsigned char byte;
    assert_true(fd >= 0 && fstat(fd, &s) == 0);
    /* Content is most of a segment: its middle lies in it. */
    assert_int_equal(pread(fd, &byte, 1, s.st_size / 2), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, s.st_size / 2), 1);
    close(fd);
    b = bank_open(engine, dir, LOCI_BANK_READ);
    REFUSED(LOCI_EFORMAT, b->segment_row[0].file,
            loci_ask(engine, &b, 1, "What is it?", 11, NULL, &a, err_));
    loci_bank_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts_are_found),  cmocka_unit_test(test_many_banks_are_one),
        cmocka_unit_test(test_a_hundred_banks),  cmocka_unit_test(test_recall_is_measured),
        cmocka_unit_test(test_whole_characters), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_damage_is_named),
    };
    root_make();
    engine = xs_open(1);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loci_engine_close(engine);
    temp_dir_remove(root);
    return failed;
}
