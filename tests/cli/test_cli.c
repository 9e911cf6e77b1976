/* Goal: every subcommand that runs a model does what its manual says: exit codes, JSON with the right
 * keys and types, byte ranges that hold, names and text that cannot drive a terminal.
 * Method: one step of training gives a tiny model with random answers; what is tested does not
 * depend on what it says. */
#include "run.h"
#include "loci/task.h"
#include "loci/train.h"

static const char config[] =
    "{\"model\": {\"vocab\": 512, \"d_model\": 64, \"n_heads\": 1, \"n_kv_heads\": 1, \"n_lower\": "
    "1,"
    " \"n_upper\": 1, \"n_groups\": 1, \"window\": 64, \"ffn\": 128, \"enc_dim\": 64, \"enc_mlp\": "
    "128,"
    " \"router_hidden\": 64, \"read_mlp\": 128, \"read_heads\": 4, \"top_k\": 8},"
    " \"train\": {\"seed\": 1, \"slots\": 2, \"log_every\": 1, \"tokenizer_bytes\": 200000},"
    " \"families\": {\"needle\": 1},"
    " \"phases\": [{\"name\": \"one\", \"tokens\": 100000, \"seq_len\": 128, \"batch\": 2, "
    "\"routed\": true,"
    " \"facts_min\": 1, \"facts_max\": 2, \"questions_max\": 2}]}";

#define ENGINE "--model", "m", "--threads", "2"

static void write_text(const char *path, const char *text)
{
    spill(path, text, strlen(text));
}

/* A text of 200 numbered lines with the characters of several alphabets. */
static size_t write_long(const char *path)
{
    char text[20000];
    size_t n = 0;
    for (int i = 1; i <= 200; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "line %d: the r\xC3\xA9sum\xC3\xA9 of n\xC2\xB0 %d \xE2\x82\xAC\n", i,
                              i * 7);
    spill(path, text, n);
    return n;
}

static int setup(void **state)
{
    (void)state;
    enter_scratch();
    spill("config.json", config, sizeof config - 1);
    loci_train_options opt = loci_train_options_default();
    loci_train_report report;
    loci_error err = { 0 };
    opt.config = "config.json";
    opt.out = "m";
    opt.threads = 2;
    opt.stop_after_steps = 1;
    if (loci_train(&opt, &report, &err) != LOCI_OK) print_message("%s\n", err.text);
    assert_int_equal(err.code, LOCI_OK);
    assert_int_equal(mkdir("docs", 0700), 0);
    assert_int_equal(mkdir("docs/sub", 0700), 0);
    write_text("docs/a.txt", "The gate code is 48213.\r\nThe tower is green.\n");
    write_text("docs/sub/esc.txt", "\x1b[31mred\x1b[0m \xC2\x9B\x31m \x07 bell\n");
    write_text("docs/new\nline.txt", "a name in two lines\n");
    spill("docs/pic.bin", "\0\1\2\3", 4);
    write_long("docs/long.txt");
    json_t *o = json_of(RUN("ingest", "--bank", "b", ENGINE, "--json", "docs"));
    check_keys(o, "schema:i documents:i unchanged:i replaced:i tokens:i bytes:i seconds:f "
                  "skipped_documents:i skipped:a energy:o");
    assert_int_equal(int_of(o, "documents"), 4);
    assert_int_equal(int_of(o, "skipped_documents"), 1);
    const json_t *skip = json_array_get(json_object_get(o, "skipped"), 0);
    check_keys(skip, "path:s reason:s");
    assert_non_null(strstr(text_of(skip, "path"), "pic.bin"));
    json_decref(o);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_scratch();
    return 0;
}

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
    check_keys(o, "schema:i answer:s evidence_mass:f evidence:a usage:o timing_ms:o cache:o "
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

/* ---- eval ------------------------------------------------------------------------------------------ */
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
        check_keys(o, "question:s expected:s answer:s right:b absent:b shown:b");
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

static void given_items(void **state)
{
    (void)state;
    static const char kv[] = "{\"ordered_kv_records\": [[\"k1\", \"v1\"], [\"k2\", \"v2\"]], "
                             "\"key\": \"k2\", \"value\": \"v2\"}\n"
                             "{\"ordered_kv_records\": [[\"a\", \"b\"]], \"key\": \"a\", "
                             "\"value\": \"b\"}\n";
    static const char story[] = "1 Ann went to the barn.\n2 Bob went to the mill.\n"
                                "3 Where is Ann? \tbarn\t1\n4 Where is Bob? \tmill\t2\n";
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
        cmocka_unit_test(ingest_again),
        cmocka_unit_test(many_skipped),
        cmocka_unit_test(bank_tables),
        cmocka_unit_test(bank_verify),
        cmocka_unit_test(ask_json),
        cmocka_unit_test(recall_json),
        cmocka_unit_test(changed_source),
        cmocka_unit_test(terminal),
        cmocka_unit_test(generate),
        cmocka_unit_test(logits),
        cmocka_unit_test(model_info),
        cmocka_unit_test(train_and_resume),
        cmocka_unit_test(tokenizer),
        cmocka_unit_test(needles),
        cmocka_unit_test(haystack_stays),
        cmocka_unit_test(overlap),
        cmocka_unit_test(families),
        cmocka_unit_test(given_items),
        cmocka_unit_test(ppl),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
