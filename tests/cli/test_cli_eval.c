/* Goal: `loci eval` does what its manual says: rows with the right keys, counts that agree with the answers
 * that are listed, files that are refused with the line named.
 * Method: the model and the files of cli_test.h, and suites of a few questions. */
#include "cli_test.h"
#include "loci/task.h"

static void needles(void **state)
{
    (void)state;
    json_t *o =
        json_of(RUN("eval", "needles", ENGINE, "--tokens", "2K", "--needles", "3", "--items", "2",
                    "--spread", "1", "--max-tokens", "4", "--json", "--work", "w"));
    check_keys(
        o,
        "schema:i suite:s family:s length:i bank_tokens:i documents:i needles:i items:i "
        "questions:i "
        "exact:f exact_low:f exact_high:f evidence:f evidence_low:f evidence_high:f ms_per_token:f "
        "prefill_ms:f ingest_tokens_per_second:f resident_bytes:i filler_share:f names:s "
        "wordings:s near_duplicate:f hops:i only:s bank_bytes_per_token:f "
        "seed:i spread:i model:s cpu:s threads:i version:s commit:s");
    assert_int_equal(int_of(o, "questions"), 6);
    assert_true(int_of(o, "bank_tokens") >= 2000 && int_of(o, "bank_tokens") <= 2100);
    static const char *const rate[] = { "exact", "evidence" };
    for (size_t i = 0; i < 2; i++) {
        char low[20], high[20];
        snprintf(low, sizeof low, "%s_low", rate[i]);
        snprintf(high, sizeof high, "%s_high", rate[i]);
        const double p = json_number_value(json_object_get(o, rate[i]));
        assert_true(json_number_value(json_object_get(o, low)) <= p &&
                    p <= json_number_value(json_object_get(o, high)));
    }
    /* In a length of less than a document there is none but the one for facts. */
    assert_int_equal(int_of(o, "documents"), 1);
    json_decref(o);
    result r = RUN("eval", "needles", ENGINE, "--tokens", "1K,2K", "--needles", "2,3", "--items",
                   "1", "--max-tokens", "2", "--csv", "--text", "docs/long.txt");
    assert_int_equal(r.code, 0);
    assert_int_equal(count_lines(r.out), 5);
    assert_int_equal(strncmp(r.out, "suite,family,length,", 20), 0);
    free_result(&r);
}

/* The haystack stays under --work, without facts, the same bytes for every run; a part of it is
 * completed; one of another text is refused. */
static void haystack_stays(void **state)
{
    (void)state;
#define HIDE(...)                                                                                  \
    "eval", "needles", ENGINE, "--tokens", "8K", "--doc-bytes", "2K", "--needles", "2", "--json",  \
        "--max-tokens", "2", "--text", "docs/long.txt", __VA_ARGS__
    const char *bank = "hay/haystack-8192-2x2048";
    json_t *o = json_of(RUN(HIDE("--items", "2", "--spread", "2", "--work", "hay")));
    const int64_t tokens = int_of(o, "bank_tokens"), documents = int_of(o, "documents");
    assert_in_range(tokens, 8100, 8300);
    assert_true(json_number_value(json_object_get(o, "ingest_tokens_per_second")) > 0);
    json_decref(o);
    json_t *ls = json_of(RUN("bank", "ls", ENGINE, "--json", bank));
    const json_t *list = json_object_get(ls, "documents");
    assert_int_equal(json_array_size(list), documents - 2);
    int64_t sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        sum += int_of(json_array_get(list, i), "tokens");
    assert_true(sum < tokens);
    /* Found again: nothing is read, and nothing is changed. */
    o = json_of(RUN(HIDE("--items", "1", "--spread", "2", "--work", "hay")));
    assert_int_equal(int_of(o, "bank_tokens"), tokens);
    assert_true(json_number_value(json_object_get(o, "ingest_tokens_per_second")) == 0);
    json_decref(o);
    json_t *again = json_of(RUN("bank", "ls", ENGINE, "--json", bank));
    assert_true(json_equal(list, json_object_get(again, "documents")));
    json_decref(again);
    /* A shorter one in its place, as a killed run leaves it, is completed. */
    json_decref(json_of(RUN("eval", "needles", ENGINE, "--tokens", "5K", "--doc-bytes", "2K",
                            "--needles", "2", "--json", "--max-tokens", "2", "--text",
                            "docs/long.txt", "--items", "1", "--spread", "2", "--work", "part")));
    assert_int_equal(rename("part/haystack-5120-2x2048", "part/haystack-8192-2x2048"), 0);
    o = json_of(RUN(HIDE("--items", "1", "--spread", "2", "--work", "part")));
    assert_in_range(int_of(o, "bank_tokens"), 8100, 8300);
    json_decref(o);
    result r = RUN("eval", "needles", ENGINE, "--tokens", "8K", "--doc-bytes", "2K", "--spread",
                   "2", "--items", "1", "--text", "docs/a.txt", "--work", "hay");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "is not this haystack's"));
    free_result(&r);
    json_decref(ls);
    /* Asking ends with its time, and the row counts what was asked. */
    o = json_of(RUN(HIDE("--items", "100000", "--seconds", "1", "--spread", "2", "--work", "hay")));
    assert_in_range(int_of(o, "items"), 1, 99999);
    assert_in_range(int_of(o, "questions"), 1, 2 * int_of(o, "items"));
    json_decref(o);
#undef HIDE
}

static int rows_of(const char *out, json_t *row[64])
{
    int n = 0;
    for (const char *at = out; *at; n++) {
        const char *nl = strchr(at, '\n');
        assert_non_null(nl);
        assert_in_range(n, 0, 63);
        row[n] = json_loadb(at, (size_t)(nl - at), 0, NULL);
        assert_non_null(row[n]);
        at = nl + 1;
    }
    return n;
}

static double share_of(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);
    assert_true(json_is_number(v) || json_is_null(v));
    return json_is_null(v) ? -1.0 : json_number_value(v);
}

/* Every family through the real path; what is counted agrees with the answers that are listed. */
static void families(void **state)
{
    (void)state;
    json_t *row[64];
    result r = RUN("eval", "needles", ENGINE, "--family", "all", "--tokens", "2K", "--needles", "4",
                   "--items", "2", "--absent", "0.4", "--max-tokens", "3", "--recall",
                   "--exact-search", "--doc-bytes", "4K", "--answers", "answers.jsonl", "--json");
    if (r.code != 0) print_message("%s", r.err);
    assert_int_equal(r.code, 0);
    const int n = rows_of(r.out, row);
    assert_int_equal(n, LOCI_TASK_COUNT);
    int64_t asked = 0, listed = 0;
    double right = 0.0;
    for (int i = 0; i < n; i++) {
        assert_string_equal(text_of(row[i], "family"), loci_task_name((loci_task_family)i));
        asked += int_of(row[i], "questions");
        right += share_of(row[i], "exact") * (double)int_of(row[i], "questions");
        /* A bank this small is scored whole: codes lose nothing. */
        assert_true(share_of(row[i], "recall") == share_of(row[i], "recall_exact"));
        assert_true(share_of(row[i], "codes_kept") == 1.0 || share_of(row[i], "recall") <= 0.0);
        if (i == LOCI_TASK_ABSENT)
            assert_true(share_of(row[i], "absent") == share_of(row[i], "exact"));
        json_decref(row[i]);
    }
    free_result(&r);
    size_t bytes;
    char *list = slurp("answers.jsonl", &bytes), *save = NULL;
    for (char *line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *o = json_loads(line, 0, NULL);
        check_keys(o, "question:s expected:s answer:s right:b absent:b shown:b refusal_lead:f");
        assert_int_equal(json_is_true(json_object_get(o, "absent")),
                         strcmp(text_of(o, "expected"), "not stated") == 0);
        right -= json_is_true(json_object_get(o, "right"));
        listed++;
        json_decref(o);
    }
    free(list);
    assert_int_equal(listed, asked);
    assert_true(right > -1e-6 && right < 1e-6);
}

static const char story[] = "1 Ann went to the barn.\n2 Bob went to the mill.\n"
                            "3 Where is Ann? \tbarn\t1\n4 Where is Bob? \tmill\t2\n";

static void given_items(void **state)
{
    (void)state;
    static const char kv[] = "{\"ordered_kv_records\": [[\"k1\", \"v1\"], [\"k2\", \"v2\"]], "
                             "\"key\": \"k2\", \"value\": \"v2\"}\n"
                             "{\"ordered_kv_records\": [[\"a\", \"b\"]], \"key\": \"a\", "
                             "\"value\": \"b\"}\n";
    spill("kv.jsonl", kv, sizeof kv - 1);
    spill("story.txt", story, sizeof story - 1);
    json_t *row[64];
    static const char *const suite[][2] = { { "kv", "kv.jsonl" }, { "babilong", "story.txt" } };
    for (int i = 0; i < 2; i++) {
        result r =
            RUN("eval", suite[i][0], ENGINE, "--file", suite[i][1], "--tokens", "0,2K",
                "--max-tokens", "3", "--doc-bytes", "2K", "--spread", i ? "2" : "1", "--json");
        if (r.code != 0) print_message("%s", r.err);
        assert_int_equal(r.code, 0);
        assert_int_equal(rows_of(r.out, row), 2);
        for (int k = 0; k < 2; k++) {
            assert_string_equal(text_of(row[k], "suite"), suite[i][0]);
            assert_int_equal(int_of(row[k], "questions"), 2);
            assert_int_equal(int_of(row[k], "length"), k ? 2048 : 0);
            json_decref(row[k]);
        }
        free_result(&r);
    }
}

/* Which questions of a story are asked. */
static void given_kinds(void **state)
{
    (void)state;
    json_t *row[64];
    spill("story.txt", story, sizeof story - 1);
    static const struct {
        const char *option, *value;
        int code, questions;
    } kind[] = { { "--only", "Ann", 0, 1 },
                 { "--support", "1", 0, 2 },
                 { "--support", "2", 1, 0 },
                 { "--without", "Bob went", 1, 0 },
                 { "--without", "Cid went", 0, 2 } };
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        result r = RUN("eval", "babilong", ENGINE, "--file", "story.txt", "--max-tokens", "2",
                       "--json", kind[i].option, kind[i].value);
        assert_int_equal(r.code, kind[i].code);
        if (r.code == 0) {
            assert_int_equal(rows_of(r.out, row), 1);
            assert_int_equal(int_of(row[0], "questions"), kind[i].questions);
            json_decref(row[0]);
        } else {
            assert_non_null(strstr(r.err, "story.txt: no question"));
        }
        free_result(&r);
    }
}

static void given_refused(void **state)
{
    (void)state;
    static const char unheld[] = "{\"ordered_kv_records\": [], \"key\": \"x\", \"value\": \"y\"}\n";
    spill("kv.jsonl", unheld, sizeof unheld - 1);
    result r = RUN("eval", "kv", ENGINE, "--file", "kv.jsonl");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "kv.jsonl: line 1: no record has the key x"));
    free_result(&r);
    spill("kv.jsonl", "{}\n", 3);
    r = RUN("eval", "kv", ENGINE, "--file", "kv.jsonl");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "line 1"));
    free_result(&r);
    static const char unsupported[] = "1 Ann.\n2 Where?\tx\t7\n";
    spill("story.txt", unsupported, sizeof unsupported - 1);
    r = RUN("eval", "babilong", ENGINE, "--file", "story.txt");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "story.txt: line 2"));
    free_result(&r);
}

/* Rows by position cover all tokens, and their mean is the last row's. */
static void ppl(void **state)
{
    (void)state;
    json_t *row[64];
    result r = RUN("eval", "ppl", ENGINE, "--text", "docs/long.txt", "--max-tokens", "700",
                   "--min-tokens", "300", "--compare", "--json");
    if (r.code != 0) print_message("%s", r.err);
    assert_int_equal(r.code, 0);
    const int n = rows_of(r.out, row);
    assert_in_range(n, 3, 5);
    int64_t tokens = 0;
    double sum = 0.0;
    for (int i = 0; i + 1 < n; i++) {
        tokens += int_of(row[i], "tokens");
        sum += share_of(row[i], "loss") * (double)int_of(row[i], "tokens");
        assert_true(share_of(row[i], "loss_low") <= share_of(row[i], "loss"));
        assert_int_equal(int_of(row[i], "from"), i ? 128 << i : 0);
    }
    const json_t *all = row[n - 1], *curve = json_object_get(all, "by_position");
    assert_int_equal(json_array_size(curve), n - 1);
    for (int i = 0; i + 1 < n; i++) {
        const json_t *at = json_array_get(curve, (size_t)i);
        assert_int_equal(int_of(at, "to"), int_of(row[i], "to"));
        assert_int_equal(int_of(at, "tokens"), int_of(row[i], "tokens"));
        assert_true(share_of(at, "loss") == share_of(row[i], "loss"));
    }
    assert_int_equal(int_of(row[n - 2], "to"), 700);
    assert_int_equal(int_of(all, "to"), -1);
    assert_int_equal(int_of(all, "tokens"), tokens);
    assert_in_range(tokens, 300, 700);
    const double mean = sum / (double)tokens, loss = share_of(all, "loss");
    assert_true(mean - loss < 1e-6 && loss - mean < 1e-6);
    assert_true(loss > 0.5 && loss < 10.0 && share_of(all, "bits_per_byte") > 0.0);
    const double rate = share_of(all, "consult_rate");
    assert_true(rate >= 0.0 && rate <= 1.0);
    for (int i = 0; i < n; i++) json_decref(row[i]);
    free_result(&r);
    r = RUN("eval", "ppl", ENGINE, "--text", "docs/long.txt", "--min-tokens", "9000000");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "no document of 9000000 tokens"));
    free_result(&r);
}

/* Training leaves what its text can be recognised by: all of it, and nothing of another. */
static void overlap(void **state)
{
    (void)state;
    result r = RUN("train", "--config", "config.json", "--out", "grams", "--steps", "1", "--quiet",
                   "docs/long.txt");
    if (r.code != 0) print_message("%s", r.err);
    assert_int_equal(r.code, 0);
    free_result(&r);
    json_t *o = json_of(RUN("eval", "overlap", "--grams", "grams/data_grams.bin", "--text",
                            "docs/long.txt", "--json"));
    check_keys(o, "schema:i suite:s grams:s text:s runs:i sampled:i found:i share:f share_low:f "
                  "share_high:f");
    assert_true(int_of(o, "runs") > 1000 && int_of(o, "sampled") > 0);
    assert_int_equal(int_of(o, "found"), int_of(o, "sampled"));
    json_decref(o);
    r = RUN("tasks", "make", "--family", "needle", "--seed", "77", "--out", "other", "--quiet");
    assert_int_equal(r.code, 0);
    free_result(&r);
    o = json_of(RUN("eval", "overlap", "--grams", "grams/data_grams.bin", "--text",
                    "other/haystack-needle-0001.txt", "--json"));
    assert_true(int_of(o, "sampled") > 0);
    assert_int_equal(int_of(o, "found"), 0);
    json_decref(o);
    r = RUN("eval", "overlap", "--grams", "docs/long.txt", "--text", "docs/long.txt");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "docs/long.txt"));
    free_result(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needles),       cmocka_unit_test(haystack_stays),
        cmocka_unit_test(overlap),       cmocka_unit_test(families),
        cmocka_unit_test(given_items),   cmocka_unit_test(given_kinds),
        cmocka_unit_test(given_refused), cmocka_unit_test(ppl),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
