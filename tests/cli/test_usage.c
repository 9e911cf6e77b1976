/* Goal: wrong usage exits 2, a missing file 1, each with one line that names what; --help of every
 * subcommand exits 0 and names every option; nothing of this needs a model.
 * Method: tables of command lines, run as a user would. */
#include "run.h"
#include "loci/task.h"

/* Exit code `code`, nothing on standard output, one line on standard error that holds `part`. */
static void expect_failure(int code, const char *part, const char *const *argv)
{
    result r = run_argv(NULL, NULL, argv);
    if (r.code != code || r.out_bytes || count_lines(r.err) != 1 || !strstr(r.err, part)) {
        print_message("loci");
        for (int i = 0; argv[i]; i++) print_message(" %s", argv[i]);
        print_message(": exit %d, wanted %d and \"%s\": %s%s\n", r.code, code, part, r.out, r.err);
    }
    assert_int_equal(r.code, code);
    assert_int_equal(r.out_bytes, 0);
    assert_int_equal(count_lines(r.err), 1);
    assert_int_equal(strncmp(r.err, "loci: ", 6), 0);
    assert_non_null(strstr(r.err, part));
    for (size_t i = 0; i + 1 < r.err_bytes; i++) assert_true((unsigned char)r.err[i] >= 0x20);
    free_result(&r);
}

#define FAILS(code, part, ...)                                                                     \
    expect_failure(code, part, (const char *const[]){ __VA_ARGS__, NULL })

static void wrong_usage(void **state)
{
    (void)state;
    FAILS(2, "frobnicate", "frobnicate");
    FAILS(2, "--bnak", "ask", "--bnak", "x", "q");
    FAILS(2, "-b", "ask", "-b", "x", "q");
    FAILS(2, "loci bank ls --help", "bank", "ls", "--nope", "x");
    FAILS(2, "--bank needs a value", "ask", "q", "--bank");
    FAILS(2, "--json takes no value", "ask", "--json=1", "q");
    FAILS(2, "--bank is missing", "ask", "q");
    FAILS(2, "usage: loci ask", "ask", "--bank", "x");
    FAILS(2, "usage: loci ingest", "ingest", "--bank", "x");
    FAILS(2, "unexpected argument \"b\"", "bank", "info", "a", "b");
    FAILS(2, "unexpected argument", "generate", "--prompt", "a", "b");
    FAILS(2, "which one", "bank");
    FAILS(2, "bank rm-all", "bank", "rm-all", "x");
    FAILS(2, "--prompt is missing", "generate");
    FAILS(2, "--out is missing", "logits", "--ids", "x");
    FAILS(2, "--config is missing", "train", "--out", "x");
    FAILS(2, "--type is missing", "quantize", "--out", "x");
    FAILS(2, "--vocab is missing", "tokenizer", "train", "--out", "x", "y");
    FAILS(2, "give one", "model", "info", "--model", "a", "b");
    FAILS(2, "give one", "eval", "needles", "--json", "--csv");
    FAILS(2, "give one", "bench", "kernels", "--json", "--csv");
    FAILS(2, "give one", "bench", "gpu", "--json", "--csv");
    FAILS(2, "give one", "bench", "decode", "--json", "--csv");
    FAILS(2, "give one", "bench", "open", "--model", "m", "--config", "c");
    FAILS(2, "--type is for", "bench", "search", "--type", "bf16");
    FAILS(2, "--depth: expected", "bench", "ingest", "--depth", "1M,");
    FAILS(2, "--depth: expected", "bench", "ingest", "--depth", "1G");
    FAILS(1, "nowhere.json", "bench", "decode", "--config", "nowhere.json");
    FAILS(1, "CUDA device 63", "bench", "gpu", "--device", "63"); /* no GPU, or not so many */
    FAILS(2, "expected cpu, cuda or cuda:N", "generate", "--prompt", "a", "--device", "gpu");
    FAILS(1, "CUDA device 63", "generate", "--prompt", "a", "--device", "cuda:63");
    FAILS(2, "expected train or test", "tasks", "make", "--out", "x", "--split", "dev");
    FAILS(2, "expected train or test", "eval", "needles", "--names", "dev");
    FAILS(2, "avx9", "version", "--cpu", "avx9");
    FAILS(2, "no such family", "bench", "kernels", "--family", "gemmm");
}

static void wrong_numbers(void **state)
{
    (void)state;
    FAILS(2, "--k 5000: expected a whole number from 0 to 4096", "ask", "--k", "5000", "q");
    FAILS(2, "--k -1", "ask", "--k", "-1", "q");
    FAILS(2, "--k 1.5", "ask", "--k", "1.5", "q");
    FAILS(2, "--k 4x", "ask", "--k", "4x", "q");
    FAILS(2, "--k :", "ask", "--k", "", "q");
    FAILS(2, "--k nan", "ask", "--k", "nan", "q");
    FAILS(2, "--k inf", "ask", "--k", "inf", "q");
    FAILS(2, "--k 99999999999999999999", "ask", "--k=99999999999999999999", "q");
    FAILS(2, "--k 1e999", "ask", "--k", "1e999", "q");
    FAILS(2, "--temperature 11", "generate", "--prompt", "a", "--temperature", "11");
    FAILS(2, "--top-p 0", "generate", "--prompt", "a", "--top-p", "0");
    FAILS(2, "--vocab 271", "tokenizer", "train", "--vocab", "271", "--out", "x", "y");
    FAILS(2, "--items 0", "tasks", "make", "--out", "x", "--items", "0");
    static const char *const lists[] = { "",  "4K,",   ",4K",   "4K,,1M", "4K 1M",
                                         "0", "1.5K4", "4K,1T", "-4K" };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        FAILS(2, "--tokens", "eval", "needles", "--tokens", lists[i]);
}

static void many_times(void **state)
{
    (void)state;
    const char *argv[2 * 65 + 130] = { "ask" };
    int n = 1;
    for (int i = 0; i < 129; i++) argv[n++] = "--bank=x";
    argv[n++] = "q";
    argv[n] = NULL;
    expect_failure(2, "--bank: at most 128 times", argv);
}

static void hostile_arguments(void **state)
{
    (void)state;
    FAILS(2, "no\\x0asuch\\x1b[31m", "no\nsuch\x1b[31m");
    FAILS(2, "\\x0d", "ask", "--a\rb", "q");
    FAILS(1, "x?y", "tokenizer", "decode", "--tokenizer", "x\ny");
    /* Longer than any buffer: cut, still one line. */
    char *flood = malloc(100001);
    memset(flood, 'a', 100000);
    flood[100000] = '\0';
    FAILS(2, "aaaa", flood);
    FAILS(1, "aaaa", "tasks", "make", "--out", "t0", "--text", flood);
    free(flood);
}

static void missing_files(void **state)
{
    (void)state;
    spill("empty", "", 0);
    FAILS(1, "nowhere.json", "train", "--config", "nowhere.json", "--out", "m0");
    FAILS(1, "nowhere", "model", "info", "nowhere");
    FAILS(1, "nowhere", "bank", "verify", "nowhere");
    FAILS(1, "nowhere", "bank", "info", "--model", "nowhere", "b0");
    FAILS(1, "nowhere", "ask", "--model", "nowhere", "--bank", "b0", "q");
    FAILS(1, "nowhere", "ingest", "--model", "nowhere", "--bank", "b0", "empty");
    FAILS(1, "nowhere", "generate", "--model", "nowhere", "--prompt", "a");
    FAILS(1, "nowhere.txt", "logits", "--ids", "nowhere.txt", "--out", "x.npy");
    FAILS(1, "nowhere", "tokenizer", "encode", "--tokenizer", "nowhere", "empty");
    FAILS(1, "nowhere", "tokenizer", "train", "--vocab", "300", "--out", "t.json", "nowhere");
    FAILS(1, "nowhere", "tasks", "make", "--out", "t1", "--text", "nowhere");
    FAILS(1, "empty", "tasks", "make", "--out", "t2", "--text", "empty");
    FAILS(1, "/proc/none", "tasks", "make", "--out", "/proc/none");
    FAILS(1, "empty", "tasks", "make", "--out", "empty/below");
    FAILS(1, "empty", "tasks", "make", "--out", "empty");
    FAILS(1, "empty", "model", "info", "empty");
}

#define CELL                                                                                       \
    "recall exact-search spread doc-bytes k max-tokens refusal-margin seconds answers work json "  \
    "csv model "                                                                                   \
    "threads "                                                                                     \
    "cpu device compute quiet"
#define PHASE "depth model config type text banks units repeat seed work threads cpu json csv quiet"

/* ---- help ---------------------------------------------------------------------------------- */
typedef struct {
    const char *name, *options;
} command;
static const command manual[] = {
    { "ingest", "bank name skip no-gitignore max-file-bytes json model threads cpu device "
                "compute quiet" },
    { "ask", "bank exact k max-tokens refusal-margin evidence min-score full json model threads "
             "cpu device "
             "compute quiet" },
    { "recall", "bank exact k context evidence min-score full json model threads cpu device "
                "compute quiet" },
    { "bank info", "json model threads cpu device compute quiet" },
    { "bank ls", "json model threads cpu device compute quiet" },
    { "bank verify", "json quiet" },
    { "generate",
      "prompt chat think chat-texts keep-reasoning content-tokens state draft max-tokens "
      "temperature top-k top-p seed json mode expert-memory model threads cpu device compute "
      "quiet" },
    { "logits", "ids out prefill json mode expert-memory model threads cpu device compute quiet" },
    { "model info", "model json" },
    { "quantize", "model out type json quiet" },
    { "train", "config out data tokenizer init threads cpu device no-resume steps until "
               "minutes json quiet" },
    { "tokenizer train", "vocab out max-bytes json quiet" },
    { "tokenizer encode", "tokenizer json marked" },
    { "tokenizer decode", "tokenizer json" },
    { "tokenizer prompt", "tokenizer think chat-texts keep-reasoning content-tokens ids json" },
    { "tokenizer reply", "reasoning" },
    { "tasks make", "family seed split wordings facts questions items bytes text hops "
                    "near-duplicate absent out json quiet" },
    { "eval needles",
      "tokens needles items only family questions names wordings near-duplicate absent hops "
      "seed text " CELL },
    { "eval kv", "file tokens items seed text " CELL },
    { "eval babilong", "support only without file tokens items seed text " CELL },
    { "eval ppl",
      "text max-tokens min-tokens docs compare json csv model threads cpu device compute quiet" },
    { "eval overlap", "grams text json csv" },
    { "bench kernels", "family cpu seconds json csv" },
    { "bench gpu", "op device json csv" },
    { "bench ingest", PHASE },
    { "bench decode", PHASE },
    { "bench open", PHASE },
    { "bench search", PHASE },
    { "bench recall", "bank probes pieces k seed json csv model threads cpu device compute quiet" },
    { "bench dsv4", "shape layers memory experts tokens repeat mode threads cpu json csv" },
    { "version", "cpu json" },
};

/* `loci NAME --help` lists the options of its line above, --help, and no other. */
static void help_names_options(const command *c)
{
    char name[40], options[300], *save = NULL;
    snprintf(name, sizeof name, "%s", c->name);
    char *second = strchr(name, ' ');
    if (second) *second++ = '\0';
    result r = second ? RUN(name, second, "--help") : RUN(name, "--help");
    assert_int_equal(r.code, 0);
    assert_int_equal(r.err_bytes, 0);
    snprintf(options, sizeof options, "usage: loci %s ", c->name);
    assert_int_equal(strncmp(r.out, options, strlen(options)), 0);
    snprintf(options, sizeof options, "%s help", c->options);
    int listed = 0;
    for (const char *at = r.out; (at = strstr(at, "\n  --")) != NULL; at++) listed++;
    for (char *o = strtok_r(options, " ", &save); o; o = strtok_r(NULL, " ", &save), listed--) {
        char line[60];
        snprintf(line, sizeof line, "\n  --%s ", o);
        if (!strstr(r.out, line)) print_message("loci %s --help: no --%s\n", c->name, o);
        assert_non_null(strstr(r.out, line));
    }
    if (listed) print_message("loci %s: options that this test does not know\n", c->name);
    assert_int_equal(listed, 0);
    free_result(&r);
}

static void help_names_every_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof manual / sizeof *manual; i++) help_names_options(&manual[i]);
    static const char *const group[] = { "bank", "model", "tokenizer", "tasks", "eval", "bench" };
    for (size_t i = 0; i < sizeof group / sizeof *group; i++) {
        result r = RUN(group[i], "--help");
        assert_int_equal(r.code, 0);
        assert_non_null(strstr(r.out, "usage: loci "));
        free_result(&r);
    }
}

static void top_level(void **state)
{
    (void)state;
    result r = RUN("--help");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "\n  ingest "));
    free_result(&r);
    r = run_argv(NULL, NULL, (const char *const[]){ NULL });
    assert_int_equal(r.code, 2);
    assert_int_equal(r.out_bytes, 0);
    assert_non_null(strstr(r.err, "usage: loci SUBCOMMAND"));
    free_result(&r);
    r = RUN("--version");
    assert_int_equal(r.code, 0);
    assert_int_equal(strncmp(r.out, "loci 0.", 7), 0);
    free_result(&r);
    /* What does not arrive was not done. */
    r = run_argv(NULL, "/dev/full", (const char *const[]){ "--help", NULL });
    assert_int_equal(r.code, 1);
    assert_int_equal(count_lines(r.err), 1);
    assert_non_null(strstr(r.err, "standard output"));
    free_result(&r);
}

/* ---- what needs no model --------------------------------------------------------------------- */
static void version_json(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("version", "--json"));
    check_keys(o, "schema:i version:s commit:s compiler:s onednn:b sanitized:b kernels:o");
    const json_t *kernels = json_object_get(o, "kernels");
    check_keys(kernels, "native:o avx512:o avx2:o ref:o");
    const char *family;
    json_t *isa;
    json_object_foreach(json_object_get(kernels, "ref"), family, isa)
        assert_string_equal(json_string_value(isa), "ref");
    assert_true(json_object_size(json_object_get(kernels, "ref")) >= 20);
    assert_int_equal(json_object_size(json_object_get(kernels, "native")),
                     json_object_size(json_object_get(kernels, "ref")));
    json_decref(o);
}

/* One object a row, each measured; a lowered choice is a subset of all. */
static int check_bench(const char *cpu)
{
    result r = cpu ? RUN("bench", "kernels", "--family", "dot", "--seconds", "0.001", "--json",
                         "--cpu", cpu)
                   : RUN("bench", "kernels", "--family", "dot", "--seconds", "0.001", "--json");
    int rows = 0;
    char *save = NULL;
    assert_int_equal(r.code, 0);
    for (char *line = strtok_r(r.out, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save), rows++) {
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        check_keys(
            o, "schema:i bench:s family:s isa:s size:s seconds:f gflops:f gbytes:f cpu:s version:s "
               "commit:s");
        assert_string_equal(text_of(o, "family"), "dot");
        if (cpu) assert_string_equal(text_of(o, "isa"), cpu);
        assert_true(json_number_value(json_object_get(o, "seconds")) > 0.0);
        assert_true(json_number_value(json_object_get(o, "gbytes")) > 0.0);
        json_decref(o);
    }
    free_result(&r);
    return rows;
}

/* Every part of a row is a line, the whole first; CSV has the same columns. */
static void bench_phases(void **state)
{
    (void)state;
    static const char shape[] =
        "{\"model\": {\"vocab\": 300, \"d_model\": 64, \"n_heads\": 1, \"n_lower\": 1, "
        "\"n_upper\": 1, \"window\": 64, \"ffn\": 64, \"enc_dim\": 64, \"enc_mlp\": 64}}";
    static const char *const config = "shape.json";
    spill(config, shape, strlen(shape));
    result r = RUN("bench", "search", "--config", config, "--depth", "0,4K", "--repeat", "1",
                   "--units", "3", "--json", "--work", "bench-work", "--quiet");
    char *save = NULL;
    int rows = 0;
    assert_int_equal(r.code, 0);
    assert_int_equal(r.err_bytes, 0);
    for (char *line = strtok_r(r.out, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save), rows++) {
        static const char *const part[3] = { "query", "search", "content" };
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_string_equal(text_of(o, "bench"), "search");
        assert_string_equal(text_of(o, "part"), part[rows % 3]);
        assert_int_equal(int_of(o, "depth"), rows < 3 ? 0 : 4096);
        assert_int_equal(int_of(o, "bank_tokens"), rows < 3 ? 0 : 4095);
        assert_true(int_of(o, "resident_bytes") > 0 && int_of(o, "threads") > 0);
        assert_true(json_number_value(json_object_get(o, "read_gbytes")) > 0.0);
        json_decref(o);
    }
    assert_int_equal(rows, 6);
    free_result(&r);
    r = RUN("bench", "search", "--config", config, "--depth", "1K", "--repeat", "1", "--units", "3",
            "--csv", "--work", "bench-work", "--quiet");
    assert_int_equal(r.code, 0);
    assert_int_equal(count_lines(r.out), 4);
    assert_int_equal(strncmp(r.out, "schema,bench,depth,part,ms,floor_ms,", 36) == 0 ||
                         strncmp(r.out, "bench,depth,part,ms,floor_ms,", 29) == 0,
                     1);
    free_result(&r);
    assert_int_equal(rmdir("bench-work"), 0); /* nothing is left in it */
}

static void bench_rows(void **state)
{
    (void)state;
    const int all = check_bench(NULL), ref = check_bench("ref");
    assert_true(ref >= 1 && all >= ref);
    result r = RUN("bench", "kernels", "--family", "dot", "--seconds", "0.001", "--csv");
    assert_int_equal(r.code, 0);
    assert_int_equal(count_lines(r.out), all + 1);
    assert_int_equal(strncmp(r.out, "bench,family,isa,size,", 22), 0);
    free_result(&r);
}

/* Every range of items.jsonl holds its fact, in the file that it names; answers come from facts. */
static int check_items(const char *dir)
{
    char path[200];
    size_t n, text_bytes;
    snprintf(path, sizeof path, "%s/items.jsonl", dir);
    char *list = slurp(path, &n), *save = NULL;
    int facts = 0;
    for (char *line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL), *f;
        size_t i;
        assert_non_null(o);
        snprintf(path, sizeof path, "%s/%s", dir, text_of(o, "file"));
        char *text = slurp(path, &text_bytes);
        assert_int_equal(text_bytes, int_of(o, "file_bytes"));
        json_array_foreach(json_object_get(o, "facts"), i, f)
        {
            const int64_t begin = int_of(f, "byte_start"), end = int_of(f, "byte_end");
            assert_true(0 <= begin && begin < end && end <= (int64_t)text_bytes);
            assert_int_equal(end - begin, strlen(text_of(f, "text")));
            assert_memory_equal(text + begin, text_of(f, "text"), (size_t)(end - begin));
            facts++;
        }
        if (json_is_true(json_object_get(o, "absent"))) {
            assert_true(json_is_null(json_object_get(o, "depth")));
            assert_int_equal(i, 0);
        }
        free(text);
        json_decref(o);
    }
    free(list);
    return facts;
}

static void tasks_make(void **state)
{
    (void)state;
    char big[6000];
    for (int i = 0; i < (int)sizeof big; i++)
        big[i] = "one line of the user's own text here\n"[i % 37];
    assert_true(mkdir("own", 0700) == 0);
    spill("own/a.txt", big, sizeof big);
    spill("own/picture.bin", "\0\1\2", 3);
    json_t *o = json_of(
        RUN("tasks", "make", "--out", "t/deep/er", "--bytes", "8K", "--items", "2", "--json"));
    check_keys(o, "schema:i out:s items:i questions:i bytes:i");
    assert_int_equal(int_of(o, "items"), 2 * LOCI_TASK_COUNT);
    json_decref(o);
    assert_true(check_items("t/deep/er") > 100);
    /* The same again gives the same bytes; another seed does not. */
    result r = RUN("tasks", "make", "--out", "u", "--bytes", "8K", "--items", "2", "--quiet");
    assert_int_equal(r.code, 0);
    assert_int_equal(r.out_bytes + r.err_bytes, 0);
    free_result(&r);
    size_t na, nb;
    char *a = slurp("t/deep/er/items.jsonl", &na), *b = slurp("u/items.jsonl", &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(a, b, na);
    free(b);
    o = json_of(RUN("tasks", "make", "--out", "v", "--bytes", "8K", "--items", "2", "--seed", "2",
                    "--json"));
    json_decref(o);
    b = slurp("v/items.jsonl", &nb);
    assert_true(na != nb || memcmp(a, b, na) != 0);
    free(a);
    free(b);
    /* Text of the user comes first; binary files are passed over. */
    o = json_of(RUN("tasks", "make", "--out", "w", "--bytes", "4K", "--family", "needle", "--text",
                    "own", "--facts", "3", "--json"));
    json_decref(o);
    a = slurp("w/haystack-needle-0001.txt", &na);
    assert_non_null(strstr(a, "one line of the user's own text here\n"));
    free(a);
    assert_int_equal(check_items("w"), 3);
}

static int setup(void **state)
{
    (void)state;
    enter_scratch();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_scratch();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_usage),   cmocka_unit_test(wrong_numbers),
        cmocka_unit_test(many_times),    cmocka_unit_test(hostile_arguments),
        cmocka_unit_test(missing_files), cmocka_unit_test(help_names_every_option),
        cmocka_unit_test(top_level),     cmocka_unit_test(version_json),
        cmocka_unit_test(tasks_make),    cmocka_unit_test(bench_rows),
        cmocka_unit_test(bench_phases),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
