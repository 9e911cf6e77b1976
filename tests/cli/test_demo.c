/* Goal: `eval demo` counts what it should: right answers, shown facts, absent facts; and refuses
 * items and banks that are not what they should be, naming file and line.
 * Method: one step of training gives a model with arbitrary but fixed answers.  What it says and
 * reads is asked first, and items are written from that, so that each verdict is known. */
#include "run.h"

static const char config[] =
    "{\"model\": {\"vocab\": 512, \"d_model\": 64, \"n_heads\": 1, \"n_kv_heads\": 1, \"n_lower\": "
    "1,"
    " \"n_upper\": 1, \"n_groups\": 1, \"window\": 64, \"ffn\": 128, \"enc_dim\": 64,"
    " \"enc_mlp\": 128, \"router_hidden\": 64, \"read_mlp\": 128, \"read_heads\": 4, \"top_k\": 8},"
    " \"train\": {\"slots\": 2, \"tokenizer_bytes\": 200000},"
    " \"phases\": [{\"name\": \"one\", \"tokens\": 100000, \"seq_len\": 128, \"batch\": 2,"
    " \"routed\": true, \"facts_max\": 2}]}";

#define QUESTION "Where is the green lantern?"
#define ENGINE   "--model", "m", "--threads", "2", "--quiet"

static void expect_ok(result r)
{
    if (r.code != 0) print_message("exit %d: %s", r.code, r.err);
    assert_int_equal(r.code, 0);
    free_result(&r);
}

static int setup(void **state)
{
    (void)state;
    enter_scratch();
    spill("config.json", config, sizeof config - 1);
    expect_ok(RUN("train", "--config", "config.json", "--out", "m", "--steps", "1", "--quiet"));
    expect_ok(RUN("tasks", "make", "--family", "needle", "--facts", "6", "--questions", "6",
                  "--bytes", "16384", "--out", "facts", "--quiet"));
    assert_int_equal(mkdir("text", 0700), 0);
    assert_int_equal(rename("facts/haystack-needle-0001.txt", "text/haystack-needle-0001.txt"), 0);
    expect_ok(RUN("ingest", "--bank", "b", ENGINE, "text"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_scratch();
    return 0;
}

static json_t *ask(const char *question)
{
    return json_of(RUN("ask", "--bank", "b", "--max-tokens", "4", "--json", ENGINE, question));
}

static json_t *demo(const char *items)
{
    return json_of(RUN("eval", "demo", "--bank", "b", "--items", items, "--max-tokens", "4",
                       "--json", ENGINE));
}

static void write_item(FILE *f, const char *answer, const char *facts)
{
    json_t *list = json_loads(facts, 0, NULL);
    json_t *row = json_pack("{s:s, s:s, s:s, s:f, s:o}", "file", "haystack-needle-0001.txt",
                            "question", QUESTION, "answer", answer, "depth", 0.5, "facts", list);
    assert_non_null(row);
    json_dumpf(row, f, JSON_COMPACT);
    fputc('\n', f);
    json_decref(row);
}

static const char *trimmed(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\n')) text[--n] = '\0';
    while (*text == ' ' || *text == '\n') text++;
    return text;
}

static void whole_run(void **state)
{
    (void)state;
    json_t *o = demo("facts/items.jsonl");
    assert_int_equal(int_of(o, "asked"), 6);
    assert_int_equal(int_of(o, "placed"), 6);
    assert_true(int_of(o, "bank_tokens") > 1000 &&
                int_of(o, "bank_bytes") > int_of(o, "bank_tokens"));
    assert_true(int_of(o, "resident_bytes") > 0);
    const json_t *rows = json_object_get(o, "rows");
    int64_t right = 0, hits = 0;
    assert_int_equal(json_array_size(rows), 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *row = json_array_get(rows, i);
        check_keys(row, "depth:f question:s answer:s expected:s right:b evidence:o hit:b ms:f");
        right += json_is_true(json_object_get(row, "right"));
        hits += json_is_true(json_object_get(row, "hit"));
    }
    assert_int_equal(int_of(o, "right"), right);
    assert_int_equal(int_of(o, "evidence_hits"), hits);
    /* A small bank is scored whole in any case. */
    json_t *exact = json_of(RUN("eval", "demo", "--bank", "b", "--items", "facts/items.jsonl",
                                "--max-tokens", "4", "--exact", "--json", ENGINE));
    for (size_t i = 0; i < 6; i++) {
        const json_t *row = json_array_get(json_object_get(exact, "rows"), i);
        assert_string_equal(text_of(row, "answer"), text_of(json_array_get(rows, i), "answer"));
        assert_true(json_equal(json_object_get(row, "evidence"),
                               json_object_get(json_array_get(rows, i), "evidence")));
    }
    json_decref(exact);
    json_decref(o);
    result r = RUN("eval", "demo", "--bank", "b", "--items", "facts/items.jsonl", ENGINE);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, " of 6\n"));
    assert_non_null(strstr(r.out, "haystack-needle-0001.txt:"));
    free_result(&r);
}

/* The model's own answer is right, another one wrong; a fact inside the best passage is shown, one
 * byte behind the end of every passage is not; two facts need two passages; no fact counts apart. */
static void verdicts(void **state)
{
    (void)state;
    json_t *truth = ask(QUESTION);
    char *copy = strdup(text_of(truth, "answer")), inside[200], outside[200], both[450];
    const char *answer = trimmed(copy);
    const json_t *list = json_object_get(truth, "evidence"), *best = json_array_get(list, 0);
    assert_non_null(best);
    const int64_t start = int_of(best, "byte_start");
    snprintf(inside, sizeof inside, "[{\"byte_start\": %lld, \"byte_end\": %lld}]",
             (long long)start, (long long)start + 1);
    snprintf(outside, sizeof outside, "[{\"byte_start\": 1000000, \"byte_end\": 1000001}]");
    snprintf(both, sizeof both, "[{\"byte_start\": 1000000, \"byte_end\": 1000001}, %s",
             inside + 1);

    FILE *f = fopen("known.jsonl", "wb");
    assert_non_null(f);
    write_item(f, answer, inside);
    write_item(f, "no such answer", outside);
    fputc('\n', f); /* an empty line is passed over */
    write_item(f, answer, both);
    write_item(f, answer, "[]");
    assert_int_equal(fclose(f), 0);
    json_t *o = demo("known.jsonl");
    assert_int_equal(int_of(o, "asked"), 4);
    assert_int_equal(int_of(o, "right"), 3);
    assert_int_equal(int_of(o, "placed"), 3);
    assert_int_equal(int_of(o, "evidence_hits"), 1);
    const json_t *row = json_array_get(json_object_get(o, "rows"), 0);
    assert_true(json_is_true(json_object_get(row, "right")));
    assert_true(json_is_true(json_object_get(row, "hit")));
    assert_int_equal(int_of(json_object_get(row, "evidence"), "byte_start"), start);
    json_decref(o);
    json_decref(truth);
    free(copy);
}

static void refused(int code, const char *part, const char *items, const char *bank)
{
    result r = RUN("eval", "demo", "--bank", bank, "--items", items, ENGINE);
    if (r.code != code || !strstr(r.err, part)) print_message("exit %d: %s", r.code, r.err);
    assert_int_equal(r.code, code);
    assert_non_null(strstr(r.err, part));
    assert_int_equal(count_lines(r.err), 1);
    free_result(&r);
}

static void bad_input(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"file\": \"x\"}", "[1]", "{", "{\"file\": \"x\", \"question\": \"q\", \"answer\": 5}",
        "{\"file\": \"x\", \"question\": \"q\", \"answer\": \"a\", \"depth\": 1, \"facts\": 7}"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[300];
        const int n = snprintf(text, sizeof text, "\n%s\n", bad[i]);
        spill("bad.jsonl", text, (size_t)n);
        refused(1, "bad.jsonl: line 2", "bad.jsonl", "b");
    }
    spill("bad.jsonl", "\n\n", 2);
    refused(1, "bad.jsonl: holds no question", "bad.jsonl", "b");
    refused(1, "nowhere.jsonl", "nowhere.jsonl", "b");
    refused(1, "nobank", "facts/items.jsonl", "nobank");
    result r = RUN("eval", "demo", "--bank", "b");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "--items is missing"));
    free_result(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_run),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(bad_input),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
