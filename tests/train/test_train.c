/* test_train.c - whole runs of a few steps.
 *
 * Goal: the numbers depend on config, data and seed and on nothing else: not on threads, not on
 * where a run was interrupted; what does not belong together is refused.  Method: compare the bytes
 * of model.safetensors. */
#include "train_test.h"

static char config[TEMP_PATH];

/* Both phases, all losses, Muon and AdamW; four steps a phase. */
#define CONFIG(seed) CONFIG_WITH(seed, EVERYTHING)
#define CONFIG_WITH(seed, parts)                                                                   \
    "{" TINY_MODEL_WITH(parts) ", \"train\": {\"seed\": " seed ", \"slots\": 3, \"lr\": 0.003, "   \
                               "\"muon\": 0.02, \"warmup_tokens\": 1000, \"log_every\": 1, "       \
                               "\"checkpoint_every\": 100, "                                       \
                               "\"tokenizer_bytes\": 100000}, \"phases\": ["                       \
                               "{\"name\": \"dense\", \"tokens\": 2000, \"seq_len\": 128, "        \
                               "\"batch\": 4, \"routed\": false, "                                 \
                               "\"pointer_from\": 1, \"decode_from\": 0.5, \"facts_max\": 3},"     \
                               "{\"name\": \"routed\", \"tokens\": 4000, \"seq_len\": 256, "       \
                               "\"batch\": 4, "                                                    \
                               "\"routed\": true, \"facts_max\": 4, \"gate_target\": 0.5, "        \
                               "\"synthetic\": 0.8}]}"

static int make_files(void **state)
{
    if (make_dir(state) != 0) return -1;
    write_text(dir, "config.json", CONFIG("1"));
    path_in(config, dir, "config.json");
    loci_tokenizer *tok = tiny_tokenizer(320); /* once: training it costs more than the steps */
    char path[TEMP_PATH];
    MUST(loci_tokenizer_save(tok, path_in(path, dir, "tokenizer.json"), err));
    loci_tokenizer_close(tok);
    return 0;
}

typedef struct { /* paths live in the caller's block */
    char out[TEMP_PATH], tokenizer[TEMP_PATH];
    loci_train_options o;
} run;

static run *run_in(run *r, const char *name)
{
    r->o = loci_train_options_default();
    r->o.config = config;
    r->o.out = path_in(r->out, dir, name);
    r->o.tokenizer = path_in(r->tokenizer, dir, "tokenizer.json");
    r->o.threads = 1;
    return r;
}

static loci_train_report go(const run *r)
{
    loci_train_report report;
    MUST(loci_train(&r->o, &report, err));
    return report;
}

/* The same bytes in dir/a/name and dir/b/name? */
static bool same_file(const char *a, const char *b, const char *name)
{
    char path[TEMP_PATH], *x, *y;
    size_t n, m;
    MUST(loci_file_load(NULL, path_in(path, path_in((char[TEMP_PATH]){ 0 }, dir, a), name), 1 << 24,
                        &x, &n, err));
    MUST(loci_file_load(NULL, path_in(path, path_in((char[TEMP_PATH]){ 0 }, dir, b), name), 1 << 24,
                        &y, &m, err));
    const bool same = n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

static void test_resume(void **state)
{
    (void)state;
    run r;
    const loci_train_report whole = go(run_in(&r, "whole"));
    assert_true(whole.steps >= 6 && whole.tokens >= 6000 && whole.parameters > 10000);
    /* Once within the first phase, once within the second. */
    static const int64_t stop[] = { 2, 3, 0 };
    int64_t steps = 0;
    for (int i = 0; i < 3; i++) {
        run_in(&r, "parts")->o.stop_after_steps = stop[i];
        const loci_train_report part = go(&r);
        steps = i < 2 ? steps + stop[i] : whole.steps;
        assert_int_equal(part.steps, steps);
    }
    assert_true(same_file("whole", "parts", "model.safetensors"));
    assert_true(same_file("whole", "parts", "train_state.safetensors"));
    assert_true(same_file("whole", "parts", "config.json"));
    /* A run that is over does nothing; without `resume` it starts anew. */
    assert_int_equal(go(run_in(&r, "parts")).steps, whole.steps);
    assert_true(same_file("whole", "parts", "model.safetensors"));
    run_in(&r, "parts")->o.stop_after_steps = 1;
    r.o.resume = false;
    assert_int_equal(go(&r).steps, 1);
    assert_false(same_file("whole", "parts", "model.safetensors"));
    /* Up to a number of tokens, and on from there; asked for again, nothing is left to do. */
    run_in(&r, "parts")->o.stop_at_tokens = 3000;
    const loci_train_report part = go(&r);
    assert_true(part.tokens >= 3000 && part.tokens < 3000 + 4 * 256);
    assert_int_equal(go(&r).steps, part.steps);
    assert_int_equal(go(run_in(&r, "parts")).steps, whole.steps);
    assert_true(same_file("whole", "parts", "model.safetensors"));
}

static void test_threads(void **state)
{
    (void)state;
    static const char *const name[] = { "one", "two", "three" };
    for (int i = 0; i < 3; i++) {
        run r;
        run_in(&r, name[i])->o.threads = i + 1;
        go(&r);
        if (!same_file("one", name[i], "model.safetensors")) fail_msg("%d threads differ", i + 1);
    }
}

static int cancel_at(void *ctx, const loci_train_progress *p)
{
    int64_t *at = ctx;
    assert_non_null(p->phase);
    assert_true(p->lr > 0.0 && p->grad_norm > 0.0 && p->tokens > 0 && p->total_tokens == 6000);
    return p->step == *at;
}

static void test_cancel(void **state)
{
    (void)state;
    run r;
    int64_t at = 3;
    loci_train_report report;
    run_in(&r, "cancelled")->o.progress = cancel_at;
    r.o.progress_ctx = &at;
    REFUSED(loci_train(&r.o, &report, err), LOCI_ECANCEL, "step 3");
    assert_int_equal(report.steps, 3);
    run_in(&r, "stopped")->o.stop_after_steps = 3;
    go(&r);
    assert_true(same_file("cancelled", "stopped", "train_state.safetensors"));
    go(run_in(&r, "cancelled")); /* and it goes on */
}

/* A phase with hard gates leaves a model that uses them so, one before it does not. */
static void test_hard_gate(void **state)
{
    (void)state;
    run r;
    char other[TEMP_PATH], path[TEMP_PATH];
    write_text(dir, "hard.json",
               "{" TINY_MODEL ", \"train\": {\"slots\": 2}, \"phases\": [{\"name\": \"soft\", "
               "\"tokens\": 256, \"seq_len\": 128, \"batch\": 2, \"routed\": true}, {\"name\": "
               "\"hard\", \"tokens\": 256, \"seq_len\": 128, \"batch\": 2, \"routed\": true, "
               "\"hard_gate\": true, \"gate_target\": 0.5}]}");
    for (int hard = 0; hard < 2; hard++) {
        loci_hparams hp;
        run_in(&r, "hard")->o.config = path_in(other, dir, "hard.json");
        r.o.stop_after_steps = !hard;
        go(&r);
        MUST(loci_hparams_load(&hp, path_in(path, r.o.out, "config.json"), err));
        assert_int_equal(hp.hard_gate, hard);
    }
}

/* One sequence in four is run without its bank: what reading gains is seen. */
static void test_regret(void **state)
{
    (void)state;
    run r;
    char other[TEMP_PATH];
    write_text(dir, "regret.json",
               "{" TINY_MODEL ", \"train\": {\"regret_every\": 4}, \"phases\": [{\"name\": \"p\", "
               "\"tokens\": 256, \"seq_len\": 128, \"batch\": 2, \"routed\": true}]}");
    run_in(&r, "regret")->o.config = path_in(other, dir, "regret.json");
    assert_true(go(&r).last.reading_gain >= 0.0);
}

static void test_another_config(void **state)
{
    (void)state;
    run r;
    char other[TEMP_PATH];
    loci_train_report report;
    run_in(&r, "out")->o.stop_after_steps = 1;
    go(&r);
    write_text(dir, "other.json", CONFIG("2"));
    run_in(&r, "out")->o.config = path_in(other, dir, "other.json");
    REFUSED(loci_train(&r.o, &report, err), LOCI_EMODEL, "another config");
    write_text(dir, "out/train_state.safetensors", "no state at all");
    REFUSED(loci_train(&run_in(&r, "out")->o, &report, err), LOCI_EFORMAT, "train_state");
}

static void count_note(void *ctx, const char *line)
{
    *(int *)ctx += strncmp(line, "begin at 0: read.0.order, read.0.mark", 37) == 0;
}

/* A run with order from a checkpoint without it says so once, and goes on from its own state alone. */
static void test_init_with_order(void **state)
{
    (void)state;
    run r;
    char from[TEMP_PATH], other[TEMP_PATH];
    int notes = 0;
    run_in(&r, "before")->o.stop_after_steps = 1;
    go(&r);
    path_in(from, dir, "before");
    write_text(dir, "order.json", CONFIG_WITH("1", EVERYTHING ", \"order\": 1"));
    for (int i = 1; i <= 2; i++) {
        run_in(&r, "ordered")->o.config = path_in(other, dir, "order.json");
        r.o.init = i == 1 ? from : "tests/train/none"; /* not looked at when resuming */
        r.o.stop_after_steps = 1;
        r.o.note = count_note;
        r.o.progress_ctx = &notes;
        assert_int_equal(go(&r).steps, i);
        assert_int_equal(notes, 1);
    }
}

static void test_init(void **state)
{
    (void)state;
    run r;
    char from[TEMP_PATH], other[TEMP_PATH];
    loci_train_report report;
    go(run_in(&r, "first"));
    path_in(from, dir, "first");
    run_in(&r, "a")->o.init = from;
    r.o.stop_after_steps = 1;
    go(&r);
    run_in(&r, "b")->o.stop_after_steps = 1;
    go(&r);
    assert_false(same_file("a", "b", "model.safetensors"));
    /* When resuming, what the state holds wins over init. */
    for (int i = 0; i < 2; i++) {
        run_in(&r, i ? "c" : "a")->o.init = from;
        r.o.stop_after_steps = i ? 2 : 1;
        go(&r);
    }
    assert_true(same_file("a", "c", "model.safetensors"));
    write_text(dir, "wide.json",
               "{\"phases\": [{\"name\": \"p\", \"tokens\": 10, \"seq_len\": 64, \"batch\": 1, "
               "\"routed\": true}], \"model\": {\"vocab\": 320, \"n_upper\": 1, \"n_lower\": 1}}");
    run_in(&r, "d")->o.config = path_in(other, dir, "wide.json");
    r.o.init = from;
    REFUSED(loci_train(&r.o, &report, err), LOCI_EFORMAT, "model.safetensors");
    run_in(&r, "e")->o.init = path_in(other, dir, "nowhere");
    REFUSED(loci_train(&r.o, &report, err), LOCI_ENOTFOUND, "nowhere");
}

static void test_tokenizer(void **state)
{
    (void)state;
    run r;
    char path[TEMP_PATH], data[TEMP_PATH];
    loci_train_report report;
    loci_tokenizer *big = tiny_tokenizer(400);
    MUST(loci_tokenizer_save(big, path_in(path, dir, "big.json"), err));
    loci_tokenizer_close(big);
    run_in(&r, "t")->o.tokenizer = path;
    REFUSED(loci_train(&r.o, &report, err), LOCI_EINVAL, "400");
    write_text(dir, "bad.json", "{}");
    r.o.tokenizer = path_in(path, dir, "bad.json");
    REFUSED(loci_train(&r.o, &report, err), LOCI_EFORMAT, "bad.json");
    /* None given: one is trained on the data, written, and used again. */
    const char *const paths[] = { path_in(data, dir, "data.txt") };
    char text[20000];
    write_bytes(dir, "data.txt", text, loci_task_filler(1, sizeof text, text, sizeof text));
    for (int i = 0; i < 2; i++) {
        run_in(&r, "own")->o.tokenizer = NULL;
        r.o.data = paths;
        r.o.n_data = 1;
        r.o.stop_after_steps = 1;
        assert_int_equal(go(&r).steps, i + 1);
    }
    const char *const missing[] = { "tests/train/none.txt" };
    r.o.data = missing;
    REFUSED(loci_train(&r.o, &report, err), LOCI_ENOTFOUND, "none.txt");
    r.o.out = NULL;
    REFUSED(loci_train(&r.o, &report, err), LOCI_EINVAL, "output");
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_files, drop_dir)
int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(test_resume),         IN_DIR(test_threads),   IN_DIR(test_cancel),
        IN_DIR(test_another_config), IN_DIR(test_init),      IN_DIR(test_init_with_order),
        IN_DIR(test_tokenizer),      IN_DIR(test_hard_gate), IN_DIR(test_regret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
