/* Goal: a measurement measures what it says: the banks are whole and as deep as asked for, parts and
 * floors belong together, nothing is left behind; what cannot be measured is refused in one line.
 * Method: a small generated model with every switch on and one without; each phase at an empty bank,
 * a small one and one where searches go by codes (4,096 chunks); floors recounted from the list of
 * tensors; random banks read back by verify, and asked for landmarks that stand in them.  No time is
 * compared with anything. */
#include "engine/phase_impl.h"
#include "engine/xs_test.h"

static const char rich[] =
    "{\"model\": {\"vocab\": 512, \"d_model\": 64, \"n_heads\": 1, \"n_kv_heads\": 1, \"n_lower\": "
    "1,"
    " \"n_upper\": 2, \"n_groups\": 2, \"window\": 64, \"ffn\": 128, \"enc_dim\": 64, \"enc_mlp\": "
    "128,"
    " \"router_hidden\": 64, \"read_mlp\": 128, \"read_heads\": 4, \"top_k\": 8, \"d_summary\": 32,"
    " \"content_bits4\": 1, \"trained_codes\": 1, \"postings\": 1}, \"phases\": []}";

static int set_up(void **state)
{
    (void)state;
    root_make();
    put("rich.json", rich);
    assert_int_equal(mkdir(at_root("work"), 0700), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(root);
    return 0;
}

static loci_bench_model_options options(const char *config, const char *dtype)
{
    loci_bench_model_options o = loci_bench_model_options_default();
    o.config = config;
    o.work_dir = at_root("work");
    o.dtype = dtype;
    o.threads = 2;
    o.repeat = 2;
    o.units = 100;
    return o;
}

static loci_bench_model *open_bench(const loci_bench_model_options *o)
{
    loci_error err;
    loci_bench_model *b;
    OK(loci_bench_model_open(&b, o, &err));
    return b;
}

static int entries(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static const loci_bench_model_part *part_of(const loci_bench_model_row *r, const char *name)
{
    for (int i = 0; i < r->n_parts; i++)
        if (strcmp(r->part[i].name, name) == 0) return &r->part[i];
    fail_msg("%s has no part %s", loci_bench_phase_name(r->phase), name);
    return NULL;
}

/* ---- rows ------------------------------------------------------------------------------------- */

static void check_row(const loci_bench_model_row *r, loci_bench_phase phase, int64_t depth)
{
    double floors = 0.0, bytes = 0.0;
    assert_int_equal(r->phase, phase);
    assert_int_equal(r->depth, depth);
    assert_in_range(r->n_parts, 3, LOCI_BENCH_MODEL_PARTS);
    assert_true(r->units > 0 && r->part[0].seconds > 0.0 && r->units_per_second > 0.0);
    for (int i = 0; i < r->n_parts; i++) {
        const loci_bench_model_part *p = &r->part[i];
        assert_true(p->name[0] && p->seconds >= 0.0 && isfinite(p->seconds));
        assert_true(p->floor_seconds >= 0.0 && isfinite(p->floor_seconds) && p->bytes >= 0.0);
        if (i > 0) floors += p->floor_seconds, bytes += p->bytes;
    }
    assert_float_equal(r->part[0].floor_seconds, floors, 1e-12 * floors);
    assert_float_equal(r->part[0].bytes, bytes, 1e-12 * bytes);
    assert_true(r->median_seconds > 0.0);
    assert_true(isnan(r->hit_rate) || (r->hit_rate >= 0.0 && r->hit_rate <= 1.0));
    if (phase == LOCI_BENCH_DECODE) /* soft gates are hardly ever shut */
        assert_true(r->consult_rate >= 0.0 && r->consult_rate <= 1.0 &&
                    r->consult_rate_all >= 0.0 && r->consult_rate_all <= 1.0);
    else
        assert_true(isnan(r->consult_rate) && isnan(r->consult_rate_all));
}

/* Tokens of a bank of `chunks` whole chunks: <bos> of each document is not one. */
static int64_t tokens_of(int64_t chunks)
{
    return 64 * chunks - (chunks + 1023) / 1024;
}

static void every_phase(const char *config, const char *dtype)
{
    static const int64_t depth[] = { 0, 8000, 300000 };
    loci_error err;
    const loci_bench_model_options o = options(config, dtype);
    loci_bench_model *b = open_bench(&o);
    const loci_bench_machine *w = loci_bench_model_machine(b);
    assert_true(w->threads == 2 && w->read[0] > 0.0 && w->cached[1] > 0.0 && w->f32[1] > 0.0);
    assert_true(loci_bench_model_energy(b)[0] != '\0');
    for (int p = 0; p < LOCI_BENCH_PHASES; p++)
        for (size_t i = 0; i < 3; i++) {
            loci_bench_model_row r;
            OK(loci_bench_model_run(b, (loci_bench_phase)p, depth[i], &r, &err));
            check_row(&r, (loci_bench_phase)p, depth[i]);
            const int64_t there = tokens_of((depth[i] + 63) / 64);
            if (p == LOCI_BENCH_INGEST)
                assert_true(r.bank_tokens > there + 2 * 80 && r.bank_tokens < there + 2 * 300);
            else
                assert_int_equal(r.bank_tokens, there);
            if (p == LOCI_BENCH_DECODE || p == LOCI_BENCH_SEARCH)
                assert_true(isnan(r.hit_rate) == (depth[i] == 0));
            if (depth[i] > 0)
                assert_true((double)r.disk_bytes > 30.0 * (double)r.bank_tokens &&
                            (double)r.disk_bytes <
                                1e5 + 1.1 * loci_bench_model_info(b)->bank_bytes_per_token *
                                          (double)r.bank_tokens);
        }
    loci_bench_model_close(b);
    assert_int_equal(entries(at_root("work")), 0);
}

static void phases_with_all_switches(void **state)
{
    (void)state;
    every_phase(at_root("rich.json"), "int8");
}

static void phases_of_a_plain_model(void **state)
{
    (void)state;
    every_phase("models/configs/tiny.json", "f32");
}

/* A depth that several banks share is the same depth; a model of the user's is left alone. */
static void several_banks_of_a_loaded_model(void **state)
{
    (void)state;
    loci_error err;
    loci_bench_model_options o = options(NULL, "int8");
    loci_bench_model_row r;
    o.model_dir = XS_MODEL;
    o.banks = 3;
    loci_bench_model *b = open_bench(&o);
    OK(loci_bench_model_run(b, LOCI_BENCH_SEARCH, 64 * 5000, &r, &err));
    check_row(&r, LOCI_BENCH_SEARCH, 64 * 5000);
    assert_int_equal(b->n_banks, 3);
    /* A cut inside a chunk leaves two. */
    assert_in_range(b->bank[0]->chunks + b->bank[1]->chunks + b->bank[2]->chunks, 5000, 5002);
    loci_bench_model_close(b);
    assert_int_equal(entries(at_root("work")), 0);
    assert_int_equal(access(XS_MODEL "/model.safetensors", R_OK), 0);
}

/* The caller's text is decoded, from its beginning, as often as it takes; without any there is nothing
 * to decode. */
static void the_callers_text(void **state)
{
    (void)state;
    static const char text[] = " The lamp of the northern archive was lit by hand every evening.";
    loci_error err;
    loci_bench_model_options o = options(NULL, "int8");
    loci_bench_model *b;
    char path[4096], again[2 * sizeof text];
    size_t n = 0;
    snprintf(path, sizeof path, "%s", at_root("lamp.txt"));
    put("lamp.txt", text);
    o.model_dir = XS_MODEL;
    o.text = path;
    b = open_bench(&o);
    assert_true(b->n_text > 16000);
    OK(loci_decode(b->engine->tok, b->text, 40, again, sizeof again, &n, &err));
    assert_memory_equal(again, text, n < sizeof text - 1 ? n : sizeof text - 1);
    loci_bench_model_close(b);
    put("lamp.txt", "");
    assert_int_equal(loci_bench_model_open(&b, &o, &err), LOCI_EINVAL);
    assert_non_null(strstr(err.text, "empty file"));
}

/* ---- floors ------------------------------------------------------------------------------------- */

/* Elements of the tensors whose name begins so. */
static double elements(const loci_hparams *hp, const char *prefix)
{
    const int n = loci_param_list(hp, NULL, 0);
    loci_param_info *list = calloc((size_t)n, sizeof *list);
    double sum = 0.0;
    loci_param_list(hp, list, n);
    for (int i = 0; i < n; i++)
        if (strncmp(list[i].name, prefix, strlen(prefix)) == 0 && list[i].quantise)
            sum += (double)list[i].rows * list[i].cols;
    free(list);
    return sum;
}

static void floors_from_the_shape(void **state)
{
    (void)state;
    const loci_bench_model_options o = options(at_root("rich.json"), "f32");
    loci_bench_model *b = open_bench(&o);
    const loci_model *m = b->engine->model;
    const loci_hparams *hp = &m->hp;
    const double window = 4.0 * 64 * 64, keys = 64 * 2 * 64 * 4.0; /* one head; W 64 */
    const double lower = elements(hp, "lower."), upper = elements(hp, "upper.");
    loci_phase_cost c = loci_phase_lower(m);
    assert_float_equal(c.operations, 2 * lower + window, 0.5);
    assert_float_equal(c.bytes, 4 * lower + keys, 0.5);
    c = loci_phase_upper(m);
    assert_true(c.operations > 2 * upper + 2 * window && c.bytes > 4 * upper + 2 * keys);
    c = loci_phase_head(m);
    assert_float_equal(c.operations, 2.0 * 512 * 64, 0.5);
    c = loci_phase_search(m, 16383, 2);
    assert_float_equal(c.bytes, 2 * 16383 * (2 * 132.0 + 4), 0.5); /* all are scored */
    /* Means of 8,192 buckets of 256; 64 * 1448.2 landmarks in 363: sketches of them, 512 scored. */
    c = loci_phase_search(m, 1 << 20, 2);
    assert_float_equal(c.bytes, 2 * (8192 * 72.0 + 363 * 256 * 40.0 + 512 * 134.0), 0.5);
    c = loci_phase_content(m, 3.0);
    assert_float_equal(c.operations, 3 * 2.0 * (64 * 64 * 128 + 128 * 32), 0.5);
    /* Every token of a chunk goes through the encoder once, its rows a little more. */
    c = loci_phase_encode(m);
    const double enc = elements(hp, "bank.qkv");
    assert_true(c.operations > 2 * enc && c.bytes < 4 * elements(hp, "bank.") / 64 + 1);

    /* The longer of both counts, at the rate of where the data lies. */
    loci_bench_model_row r = { 0 };
    b->machine = (loci_bench_machine){
        .read = { 1, 10 }, .cached = { 2, 100 }, .f32 = { 5, 50 }, .cache_bytes = 1000
    };
    const loci_phase_cost cost = { 200.0, 500.0 };
    loci_phase_part(b, &r, "all", 1.0, (loci_phase_cost){ 0 }, 0.0);
    loci_phase_part(b, &r, "far", 1.0, cost, 1001.0);
    loci_phase_part(b, &r, "near", 1.0, cost, 1000.0);
    loci_phase_total(&r);
    assert_float_equal(part_of(&r, "far")->floor_seconds, 20.0, 1e-12);
    assert_float_equal(part_of(&r, "near")->floor_seconds, 10.0, 1e-12);
    assert_float_equal(r.part[0].floor_seconds, 30.0, 1e-12);
    assert_float_equal(r.part[0].operations, 1000.0, 1e-12);
    loci_bench_model_close(b);
}

static void the_quickest_and_the_median(void **state)
{
    (void)state;
    double median;
    assert_int_equal(loci_phase_quickest((const double[]){ 3 }, 1, &median), 0);
    assert_true(median == 3);
    assert_int_equal(loci_phase_quickest((const double[]){ 5, 1, 9, 1, 7 }, 5, &median), 1);
    assert_true(median == 5);
    assert_int_equal(loci_phase_quickest((const double[]){ 2, 2, 2, 1 }, 4, &median), 3);
    assert_true(median == 2);
}

/* ---- banks ---------------------------------------------------------------------------------------- */

/* A random bank is sound, and a query that is a chunk's landmark finds that chunk by its code. */
static void banks_are_real(void **state)
{
    (void)state;
    enum { CHUNKS = 5000 };
    loci_error err;
    const loci_bench_model_options o = options(at_root("rich.json"), "bf16");
    loci_bench_model *b = open_bench(&o);
    loci_bench_model_row r;
    loci_bank_verify_report report;
    OK(loci_bench_model_run(b, LOCI_BENCH_SEARCH, 64 * CHUNKS, &r, &err));
    char dir[4096];
    OK(loci_phase_bank_dir(b, 0, dir, sizeof dir, &err));
    OK(loci_bank_verify(dir, NULL, NULL, &report, &err));
    assert_int_equal(report.bad_blocks, 0);
    loci_searcher *s;
    OK(loci_searcher_open(&s, b->engine, b->bank, 1, &err));
    const loci_memory memory = loci_searcher_memory(s);
    for (int64_t c = 3; c < CHUNKS; c += 499) {
        loci_chunk_view v;
        loci_pick pick[8];
        float u[128];
        OK(loci_segment_chunk(b->bank[0]->segment[0], c, false, &v, &err));
        for (int k = 0; k < 128; k++) u[k] = (float)v.landmark[128 + k] * v.landmark_scale[1];
        assert_int_equal(memory.search(memory.ctx, u, 12.0f, 8, 0, pick), 8);
        assert_int_equal(pick[0].id, c);
        assert_true(pick[0].score > 11.0f && pick[1].score < 8.0f);
    }
    loci_searcher_close(s);
    loci_bench_model_close(b);
}

/* ---- what is refused -------------------------------------------------------------------------------- */

static void expect_refused(const loci_bench_model_options *o, loci_status want, const char *part)
{
    loci_error err = { 0 };
    loci_bench_model *b = (loci_bench_model *)8;
    const loci_status st = loci_bench_model_open(&b, o, &err);
    if (st != want || !strstr(err.text, part)) fail_msg("%d %s: wanted %s", st, err.text, part);
    assert_null(b);
    assert_int_equal(entries(at_root("work")), 0);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        loci_status status;
        const char *part;
    } bad[] = {
        { "{", LOCI_EFORMAT, "line 1" },
        { "[]", LOCI_EFORMAT, "\"model\"" },
        { "{\"model\": 3}", LOCI_EFORMAT, "\"model\"" },
        { "{\"model\": {\"vocab\": -1}}", LOCI_EFORMAT, "vocab" },
        { "{\"model\": {\"heads\": 1}}", LOCI_EFORMAT, "heads" },
        { "{\"model\": {\"vocab\": 100}}", LOCI_EINVAL, "vocab" },
        { "{\"model\": {\"n_groups\": 0}}", LOCI_EMODEL, "n_groups" },
    };
    loci_bench_model_options o;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put("bad.json", bad[i].config);
        o = options(at_root("bad.json"), "int8");
        expect_refused(&o, bad[i].status, bad[i].part);
    }
    o = options(at_root("nowhere.json"), "int8");
    expect_refused(&o, LOCI_ENOTFOUND, "nowhere.json");
    o = options(at_root("rich.json"), "int3");
    expect_refused(&o, LOCI_EINVAL, "int3");
    o = options(at_root("rich.json"), "int8");
    o.cpu = "avx9";
    expect_refused(&o, LOCI_EINVAL, "avx9");
    o = options(NULL, "int8");
    expect_refused(&o, LOCI_EINVAL, "config");
    o = options(at_root("rich.json"), "int8");
    o.model_dir = XS_MODEL;
    expect_refused(&o, LOCI_EINVAL, "config");
    o = options(at_root("rich.json"), "int8");
    o.banks = 101;
    expect_refused(&o, LOCI_EINVAL, "101");
    o.banks = 1;
    o.repeat = 0;
    expect_refused(&o, LOCI_EINVAL, "repeat");
}

static void depths_and_disks(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_bench_model_options o = options(NULL, "int8");
    loci_bench_model_row r;
    o.model_dir = XS_MODEL;
    o.work_dir = "/proc"; /* has room for nothing */
    loci_bench_model *b = open_bench(&o);
    assert_int_equal(loci_bench_model_run(b, LOCI_BENCH_OPEN, -1, &r, NULL), LOCI_EINVAL);
    assert_int_equal(loci_bench_model_run(b, LOCI_BENCH_OPEN, (1 << 28) + 1, &r, NULL),
                     LOCI_EINVAL);
    assert_int_equal(loci_bench_model_run(b, LOCI_BENCH_PHASES, 0, &r, NULL), LOCI_EINVAL);
    assert_int_equal(loci_bench_model_run(b, LOCI_BENCH_OPEN, 1 << 20, &r, &err), LOCI_ENOMEM);
    assert_non_null(strstr(err.text, "0 MB are free"));
    loci_bench_model_close(b);
    loci_bench_model_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(phases_with_all_switches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(phases_of_a_plain_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_banks_of_a_loaded_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_callers_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(floors_from_the_shape, set_up, tear_down),
        cmocka_unit_test(the_quickest_and_the_median),
        cmocka_unit_test_setup_teardown(banks_are_real, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(depths_and_disks, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
