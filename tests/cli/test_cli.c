/* Goal: every subcommand that runs a model does what its manual says: exit codes, JSON with the right
 * keys and types, byte ranges that hold, names and text that cannot drive a terminal.  `loci eval` is
 * test_cli_eval.c's.
 * Method: the model and the files of cli_test.h. */
#include "cli_test.h"

/* ---- ingest, bank -------------------------------------------------------------------------------- */
static void ingest_again(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("ingest", "--bank", "b", ENGINE, "--json", "docs"));
    assert_int_equal(int_of(o, "documents"), 0);
    assert_int_equal(int_of(o, "unchanged"), 4);
    json_decref(o);
    o = json_of(RUN_WITH("from a pipe\n", "ingest", "--bank", "b2", ENGINE, "--json", "--name",
                         "pipe/x", "-"));
    assert_int_equal(int_of(o, "documents"), 1);
    assert_int_equal(int_of(o, "bytes"), 12);
    json_decref(o);
    o = json_of(RUN("ingest", "--bank", "b2", ENGINE, "--json", "--skip", "*.bin", "--skip",
                    "long.txt", "docs"));
    assert_int_equal(int_of(o, "documents"), 3);
    json_decref(o);
    o = json_of(RUN("bank", "ls", ENGINE, "--json", "b2"));
    const json_t *first = json_array_get(json_object_get(o, "documents"), 0);
    assert_string_equal(text_of(first, "name"), "pipe/x");
    assert_int_equal(json_array_size(json_object_get(o, "documents")), 4);
    json_decref(o);
    result r = RUN("ingest", "--bank", "b2", ENGINE, "gone.txt");
    assert_int_equal(r.code, 1);
    assert_int_equal(count_lines(r.err), 1);
    assert_non_null(strstr(r.err, "gone.txt"));
    free_result(&r);
}

static void many_skipped(void **state)
{
    (void)state;
    char name[40];
    assert_int_equal(mkdir("bins", 0700), 0);
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "bins/%02d\x1b[31m", i);
        spill(name, "\0", 1);
    }
    result r = RUN("ingest", "--bank", "b3", ENGINE, "bins");
    assert_int_equal(r.code, 0);
    assert_int_equal(count_lines(r.err), 21);
    assert_non_null(strstr(r.err, "skipped 10 more"));
    assert_null(strchr(r.err, '\x1b'));
    free_result(&r);
    r = RUN("ingest", "--bank", "b3", ENGINE, "--quiet", "bins");
    assert_int_equal(r.err_bytes, 0);
    free_result(&r);
    json_t *o = json_of(RUN("ingest", "--bank", "b3", ENGINE, "--json", "bins"));
    assert_int_equal(json_array_size(json_object_get(o, "skipped")), 30);
    json_decref(o);
}

static void bank_tables(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("bank", "info", ENGINE, "--json", "b"));
    check_keys(o,
               "schema:i fingerprint:s format_version:i documents:i segments:i chunks:i tokens:i "
               "text_bytes:i disk_bytes:i resident_bytes:i parts:o");
    assert_int_equal(int_of(o, "documents"), 4);
    const int64_t tokens = int_of(o, "tokens"), bytes = int_of(o, "text_bytes");
    json_decref(o);
    o = json_of(RUN("bank", "ls", ENGINE, "--json", "b"));
    const json_t *list = json_object_get(o, "documents"), *d;
    int64_t sum = 0, sum_bytes = 0;
    size_t i;
    bool two_lines = false;
    check_keys(o, "schema:i documents:a");
    json_array_foreach(list, i, d)
    {
        check_keys(d, "name:s bytes:i tokens:i chunks:i sequence:i mtime_ns:i encoding:s");
        sum += int_of(d, "tokens");
        sum_bytes += int_of(d, "bytes");
        two_lines = two_lines || strcmp(text_of(d, "name"), "new\nline.txt") == 0;
    }
    assert_int_equal(sum, tokens);
    assert_int_equal(sum_bytes, bytes);
    assert_true(two_lines);
    json_decref(o);
    /* For people: a line a document whatever its name, and the header. */
    result r = RUN("bank", "ls", ENGINE, "b");
    assert_int_equal(r.code, 0);
    assert_int_equal(count_lines(r.out), 5);
    assert_non_null(strstr(r.out, "new\\x0aline.txt"));
    free_result(&r);
    r = RUN("bank", "info", ENGINE, "nowhere");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "nowhere"));
    assert_int_equal(count_lines(r.err), 1);
    free_result(&r);
}

static void bank_verify(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("bank", "verify", "--json", "b"));
    check_keys(o, "schema:i ok:b blocks:i bytes:i bad_blocks:i first_bad:s");
    assert_true(json_is_true(json_object_get(o, "ok")));
    assert_true(int_of(o, "blocks") > 0);
    json_decref(o);
    json_decref(json_of(RUN("ingest", "--bank", "bad", ENGINE, "--json", "docs/long.txt")));
    /* Turn one byte in the middle of the largest file, a segment. */
    char *one[2] = { (char *)"bad", NULL }, victim[300] = "";
    off_t size = 0;
    FTS *tree = fts_open(one, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *f; (f = fts_read(tree));)
        if (f->fts_info == FTS_F && f->fts_statp->st_size > size &&
            !strstr(f->fts_name, "sqlite")) {
            size = f->fts_statp->st_size;
            snprintf(victim, sizeof victim, "%s", f->fts_path);
        }
    fts_close(tree);
    FILE *f = fopen(victim, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)size / 2, SEEK_SET), 0);
    const int c = fgetc(f);
    assert_int_equal(fseek(f, (long)size / 2, SEEK_SET), 0);
    fputc(c ^ 1, f);
    fclose(f);
    result r = RUN("bank", "verify", "--json", "bad");
    assert_int_equal(r.code, 1);
    assert_int_equal(count_lines(r.err), 1);
    o = json_loads(r.out, 0, NULL);
    assert_non_null(o);
    assert_true(json_is_false(json_object_get(o, "ok")));
    assert_true(int_of(o, "bad_blocks") >= 1);
    json_decref(o);
    free_result(&r);
}

/* ---- ask, recall --------------------------------------------------------------------------------- */
/* What a passage says of itself, checked against the file. */
static void check_passage(const json_t *p)
{
    char path[300];
    size_t n;
    check_keys(p, "bank:s doc:s byte_start:i byte_end:i line_start:i line_end:i score:f text:s "
                  "source_changed:b");
    assert_string_equal(text_of(p, "bank"), "b");
    snprintf(path, sizeof path, "docs/%s", text_of(p, "doc"));
    char *file = slurp(path, &n);
    const int64_t begin = int_of(p, "byte_start"), end = int_of(p, "byte_end");
    assert_true(0 <= begin && begin < end && end <= (int64_t)n);
    assert_int_equal(strlen(text_of(p, "text")), end - begin);
    assert_memory_equal(text_of(p, "text"), file + begin, (size_t)(end - begin));
    int64_t line = 1;
    for (int64_t i = 0; i < begin; i++) line += file[i] == '\n';
    assert_int_equal(int_of(p, "line_start"), line);
    for (int64_t i = begin; i + 1 < end; i++) line += file[i] == '\n';
    assert_int_equal(int_of(p, "line_end"), line);
    assert_true(json_is_false(json_object_get(p, "source_changed")));
    free(file);
}

/* Joules where the machine has a meter, else null and why. */
static void check_energy(const json_t *o)
{
    const json_t *e = json_object_get(o, "energy");
    const char *source = text_of(e, "source");
    const bool none = strncmp(source, "not available: ", 15) == 0;
    assert_int_equal(json_object_size(e), 4);
    assert_true(json_is_null(json_object_get(e, "kwh")) == none);
    assert_true(!none || json_is_null(json_object_get(e, "cpu_joules")));
    assert_true(none || json_number_value(json_object_get(e, "kwh")) >= 0.0);
}

static void ask_json(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("ask", "--bank", "b", ENGINE, "--json", "--max-tokens", "5",
                            "--evidence", "3", "what", "is the", "code"));
    check_keys(
        o,
        "schema:i answer:s refusal_lead:f evidence_mass:f evidence:a usage:o timing_ms:o cache:o "
        "resident_bytes:i energy:o");
    check_energy(o);
    check_keys(json_object_get(o, "cache"), "chunks_read:i chunks_decoded:i hit_rate:f");
    check_keys(json_object_get(o, "usage"), "bank_tokens:i prompt_tokens:i completion_tokens:i");
    check_keys(json_object_get(o, "timing_ms"), "open:f prefill:f per_token:f");
    assert_true(int_of(json_object_get(o, "usage"), "completion_tokens") <= 5);
    const double mass = json_number_value(json_object_get(o, "evidence_mass"));
    assert_true(mass >= 0.0 && mass <= 1.0 + 1e-6);
    const json_t *list = json_object_get(o, "evidence"), *p;
    assert_true(json_array_size(list) >= 1 && json_array_size(list) <= 3);
    size_t i;
    double last = 1.0 + 1e-6;
    json_array_foreach(list, i, p)
    {
        check_passage(p);
        const double score = json_number_value(json_object_get(p, "score"));
        assert_true(score >= 0.01 && score <= last);
        last = score;
    }
    /* The same question from standard input, with a newline behind it. */
    json_t *q = json_of(RUN_WITH("what is the code\n", "ask", "--bank", "b", ENGINE, "--json",
                                 "--max-tokens", "5", "--evidence", "3", "-"));
    assert_string_equal(text_of(o, "answer"), text_of(q, "answer"));
    assert_true(json_equal(list, json_object_get(q, "evidence")));
    json_decref(o);
    json_decref(q);
    result r = RUN_WITH("", "ask", "--bank", "b", ENGINE, "-");
    assert_int_equal(r.code, 2);
    assert_int_equal(count_lines(r.err), 1);
    free_result(&r);
}

static void recall_json(void **state)
{
    (void)state;
    json_t *o = json_of(
        RUN("recall", "--bank", "b", "--bank", "b2", ENGINE, "--json", "--min-score", "0", "gate"));
    check_keys(o, "schema:i evidence_mass:f evidence:a usage:o timing_ms:o cache:o "
                  "resident_bytes:i energy:o");
    check_energy(o);
    assert_int_equal(int_of(json_object_get(o, "usage"), "completion_tokens"), 0);
    assert_true(json_array_size(json_object_get(o, "evidence")) >= 1);
    json_decref(o);
    result r = RUN("recall", "--bank", "b", "--bank", "nowhere", ENGINE, "gate");
    assert_int_equal(r.code, 1);
    assert_int_equal(count_lines(r.err), 1);
    assert_non_null(strstr(r.err, "nowhere"));
    free_result(&r);
}

static void changed_source(void **state)
{
    (void)state;
    write_text("moving.txt", "first words\n");
    json_decref(json_of(RUN("ingest", "--bank", "b4", ENGINE, "--json", "moving.txt")));
    write_text("moving.txt", "other words, and more\n");
    json_t *o = json_of(RUN("recall", "--bank", "b4", ENGINE, "--json", "words"));
    const json_t *p = json_array_get(json_object_get(o, "evidence"), 0);
    assert_true(json_is_true(json_object_get(p, "source_changed")));
    assert_string_equal(text_of(p, "text"), "first words\n");
    json_decref(o);
}

static void terminal(void **state)
{
    (void)state;
    size_t n;
    const char *const argv[] = { "recall", "--bank", "b5", ENGINE, "--full", "red bell", NULL };
    json_decref(json_of(RUN("ingest", "--bank", "b5", ENGINE, "--json", "docs/sub/esc.txt")));
    char *shown = run_on_terminal(&n, argv);
    assert_non_null(strstr(shown, "esc.txt"));
    assert_non_null(strstr(shown, "\\x1b[31mred"));
    assert_non_null(strstr(shown, "\\xc2\\x9b"));
    assert_non_null(strstr(shown, "\\x07"));
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)shown[i];
        /* The terminal itself makes \r\n of \n. */
        assert_true(c >= 0x20 || c == '\n' || c == '\t' || (c == '\r' && shown[i + 1] == '\n'));
        assert_false(c == 0xC2 && (unsigned char)shown[i + 1] < 0xA0);
    }
    free(shown);
    /* A pipe gets the bytes as they are. */
    result r = run_argv(NULL, NULL, argv);
    assert_int_equal(r.code, 0);
    assert_non_null(memmem(r.out, r.out_bytes, "\x1b[31mred", 8));
    free_result(&r);
}

/* ---- generate, logits ------------------------------------------------------------------------------ */
static void generate(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("generate", ENGINE, "--prompt", "a line", "--max-tokens", "9", "--json",
                            "--temperature", "1.5", "--seed", "7", "--top-k", "100"));
    check_keys(o, "schema:i text:s stopped:s usage:o timing_ms:o resident_bytes:i");
    check_keys(json_object_get(o, "usage"), "prompt_tokens:i completion_tokens:i");
    check_keys(json_object_get(o, "timing_ms"), "open:f prefill:f per_token:f");
    const bool full = strcmp(text_of(o, "stopped"), "length") == 0;
    assert_int_equal(full, int_of(json_object_get(o, "usage"), "completion_tokens") == 9);
    json_decref(o);
    result a = RUN_WITH("a line", "generate", ENGINE, "--prompt", "-", "--max-tokens", "40",
                        "--temperature", "2", "--seed", "7");
    result b = RUN("generate", ENGINE, "--prompt", "a line", "--max-tokens", "40", "--temperature",
                   "2", "--seed", "7");
    result c = RUN("generate", ENGINE, "--prompt", "a line", "--max-tokens", "40", "--temperature",
                   "2", "--seed", "8");
    assert_int_equal(a.code, 0);
    assert_int_equal(a.out_bytes, b.out_bytes);
    assert_memory_equal(a.out, b.out, a.out_bytes);
    assert_true(b.out_bytes != c.out_bytes || memcmp(b.out, c.out, b.out_bytes) != 0);
    free_result(&a);
    free_result(&b);
    free_result(&c);
}

static float *read_npy(const char *path, int rows, int cols)
{
    char want[80];
    size_t n;
    char *file = slurp(path, &n);
    assert_memory_equal(file, "\x93NUMPY\1\0", 8);
    const size_t header = 10 + (unsigned char)file[8] + 256u * (unsigned char)file[9];
    assert_int_equal(header % 64, 0);
    snprintf(want, sizeof want, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }",
             rows, cols);
    assert_memory_equal(file + 10, want, strlen(want));
    assert_int_equal(file[header - 1], '\n');
    assert_int_equal(n, header + 4u * (size_t)rows * (size_t)cols);
    float *x = malloc(4u * (size_t)rows * (size_t)cols);
    assert_non_null(x);
    memcpy(x, file + header, n - header);
    free(file);
    return x;
}

static void logits(void **state)
{
    (void)state;
    char ids[2000];
    size_t n = 0;
    for (int i = 0; i < 150; i++)
        n += (size_t)snprintf(ids + n, sizeof ids - n, "%d%c", i ? 16 + i * 37 % 400 : 0,
                              i % 9 ? ' ' : '\n');
    spill("ids", ids, n);
    json_t *o = json_of(RUN("logits", ENGINE, "--ids", "ids", "--out", "all.npy", "--json"));
    check_keys(o, "schema:i out:s shape:a");
    json_decref(o);
    json_decref(json_of(RUN_WITH(ids, "logits", ENGINE, "--ids", "-", "--out", "some.npy", "--json",
                                 "--prefill", "70")));
    json_decref(json_of(
        RUN("logits", ENGINE, "--ids", "ids", "--out", "none.npy", "--json", "--prefill", "0")));
    float *all = read_npy("all.npy", 150, 512), *some = read_npy("some.npy", 150, 512),
          *none = read_npy("none.npy", 150, 512);
    /* Sums in another order; a stream that is fed one by one must still say the same. */
    for (int i = 0; i < 150 * 512; i++) {
        assert_true(all[i] == all[i]);
        assert_true(all[i] - some[i] < 1e-3f && some[i] - all[i] < 1e-3f);
        assert_true(all[i] - none[i] < 1e-3f && none[i] - all[i] < 1e-3f);
    }
    free(all);
    free(some);
    free(none);
    static const char *const bad[] = { "0 512", "0 -1", "0 x",  "1,2", "99999999999999999999",
                                       "",      " \n",  "3 4\1" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        result r = RUN_WITH(bad[i], "logits", ENGINE, "--ids", "-", "--out", "bad.npy");
        assert_int_equal(r.code, 1);
        assert_int_equal(count_lines(r.err), 1);
        assert_int_not_equal(access("bad.npy", F_OK), 0);
        assert_int_not_equal(access("bad.npy.part", F_OK), 0);
        free_result(&r);
    }
}

/* ---- models ---------------------------------------------------------------------------------------- */
static void model_info(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("model", "info", "--json", "m"));
    check_keys(
        o, "schema:i model:s architecture:s fingerprint:s parameters:i weight_bytes:i stored:o "
           "vocab:i "
           "d_model:i "
           "window:i chunk:i n_lower:i n_upper:i n_groups:i top_k:i session_bytes:i "
           "ingest_bytes_per_thread:i bank_bytes_per_token:f resident_bytes_per_token:f banks:a");
    static const int64_t lengths[] = { 32768, 131072, 1048576, 16777216 };
    for (size_t i = 0; i < 4; i++) {
        const json_t *b = json_array_get(json_object_get(o, "banks"), i);
        check_keys(b, "tokens:i disk_bytes:i resident_bytes:i");
        assert_int_equal(int_of(b, "tokens"), lengths[i]);
        assert_true(int_of(b, "disk_bytes") > int_of(b, "resident_bytes"));
    }
    json_t *q = json_of(RUN("quantize", "--model", "m", "--out", "m8", "--type", "int8", "--json"));
    check_keys(q, "schema:i out:s type:s weight_bytes_before:i weight_bytes:i fingerprint:s");
    assert_int_equal(int_of(q, "weight_bytes_before"), int_of(o, "weight_bytes"));
    assert_true(2 * int_of(q, "weight_bytes") < int_of(o, "weight_bytes"));
    /* Other bytes below the bank: another model to it. */
    assert_string_not_equal(text_of(q, "fingerprint"), text_of(o, "fingerprint"));
    result r = RUN("ask", "--bank", "b", "--model", "m8", "gate");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, text_of(q, "fingerprint")));
    assert_non_null(strstr(r.err, text_of(o, "fingerprint")));
    free_result(&r);
    r = RUN("quantize", "--model", "m", "--out", "m9", "--type", "int9");
    assert_int_equal(r.code, 2);
    assert_int_equal(count_lines(r.err), 1);
    free_result(&r);
    json_decref(o);
    json_decref(q);
    /* Half of a byte a weight, where it is said to be so; banks are made with it and asked. */
    o = json_of(RUN("quantize", "--model", "m", "--out", "m4", "--type", "int4", "--json"));
    q = json_of(RUN("model", "info", "--json", "m4"));
    const json_t *stored = json_object_get(q, "stored");
    check_keys(stored, "int4:i int8:i bf16:i f32:i");
    const int64_t int4 = int_of(stored, "int4"), int8 = int_of(stored, "int8"),
                  f32 = int_of(stored, "f32");
    assert_true(int4 > 0 && int8 > 0 && f32 > 0);
    assert_int_equal(int4 + int8 + f32, int_of(q, "parameters"));
    assert_true(int_of(q, "weight_bytes") > int4 / 2 + int8 + 4 * f32);
    assert_string_equal(text_of(q, "fingerprint"), text_of(o, "fingerprint"));
    json_decref(o);
    json_decref(q);
    r = RUN("ingest", "--bank", "bq", "--model", "m4", "docs/a.txt");
    assert_int_equal(r.code, 0);
    free_result(&r);
    static const char *const compute[] = { "int4", "int8", "f32" };
    for (int i = 0; i < 3; i++) {
        r = RUN("ask", "--bank", "bq", "--model", "m4", "--compute", compute[i], "gate");
        assert_int_equal(r.code, 0);
        free_result(&r);
    }
}

static void train_and_resume(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("train", "--config", "config.json", "--out", "m3", "--steps", "1",
                            "--threads", "1", "--tokenizer", "m/tokenizer.json", "--data",
                            "docs/a.txt", "--json", "docs/long.txt"));
    check_keys(o, "schema:i out:s stopped:b steps:i tokens:i parameters:i seconds:f last:o "
                  "last_step_ms:o");
    assert_true(json_is_true(json_object_get(o, "stopped")));
    assert_int_equal(int_of(json_object_get(o, "last"), "step"), 1);
    json_decref(o);
    result r = RUN("train", "--config", "config.json", "--out", "m3", "--steps", "1", "--threads",
                   "1", "--tokenizer", "m/tokenizer.json", "docs/a.txt", "docs/long.txt");
    assert_int_equal(r.code, 0);
    assert_int_equal(strncmp(r.err, "step 2 one ", 11), 0);
    assert_non_null(strstr(r.err, "tok/s, left "));
    free_result(&r);
}

static void tokenizer(void **state)
{
    (void)state;
    const char bytes[] = "caf\xC3\xA9 \xFF\xFE \xE2\x82 end\n\n";
    spill("odd", bytes, sizeof bytes - 1);
    result ids = RUN("tokenizer", "encode", "--tokenizer", "m/tokenizer.json", "odd");
    assert_int_equal(ids.code, 0);
    assert_int_equal(count_lines(ids.out), 1);
    result back = RUN_WITH(ids.out, "tokenizer", "decode", "--tokenizer", "m/tokenizer.json");
    assert_int_equal(back.code, 0);
    assert_int_equal(back.out_bytes, sizeof bytes - 1);
    assert_memory_equal(back.out, bytes, sizeof bytes - 1);
    json_t *o = json_of(
        RUN_WITH(ids.out, "tokenizer", "decode", "--tokenizer", "m/tokenizer.json", "--json", "-"));
    check_keys(o, "schema:i tokens:i text:s");
    json_decref(o);
    o = json_of(RUN("tokenizer", "encode", "--tokenizer", "m/tokenizer.json", "--json", "odd"));
    check_keys(o, "schema:i tokens:i bytes:i ids:a");
    assert_int_equal(json_array_size(json_object_get(o, "ids")), int_of(o, "tokens"));
    json_decref(o);
    o = json_of(
        RUN("tokenizer", "train", "--vocab", "280", "--out", "t.json", "--json", "docs/long.txt"));
    check_keys(o, "schema:i out:s vocab:i");
    assert_int_equal(int_of(o, "vocab"), 280);
    json_decref(o);
    free_result(&ids);
    free_result(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ingest_again),   cmocka_unit_test(many_skipped),
        cmocka_unit_test(bank_tables),    cmocka_unit_test(bank_verify),
        cmocka_unit_test(ask_json),       cmocka_unit_test(recall_json),
        cmocka_unit_test(changed_source), cmocka_unit_test(terminal),
        cmocka_unit_test(generate),       cmocka_unit_test(logits),
        cmocka_unit_test(model_info),     cmocka_unit_test(train_and_resume),
        cmocka_unit_test(tokenizer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
