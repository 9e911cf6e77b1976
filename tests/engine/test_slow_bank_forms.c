/* Goal: banks of models with every stored form: what went in comes out, each part has its bytes, a model
 * of other settings is refused.  Method: a model of random weights for each form, a text into a bank of
 * each, every bank opened by every model. */
#include <limits.h>
#include "engine/engine.h"
#include "model/model_impl.h"
#include "engine/xs_test.h"

/* A model of its own shape and random weights, with the tokenizer of XS, in model-NAME below root. */
static loci_engine *model_make(const char *name, loci_hparams hp)
{
    loci_error err;
    loci_model *m;
    loci_engine *e;
    char dir[64], to[128], real[PATH_MAX];
    loci_engine_options o = loci_engine_options_default();
    float *params = loci_alloc_aligned(loci_param_floats(&hp) * sizeof(float));
    assert_non_null(params);
    loci_params_init(params, &hp, SEED);
    snprintf(dir, sizeof dir, "model-%s", name);
    snprintf(to, sizeof to, "%s/tokenizer.json", dir);
    OK(loci_model_wrap(&m, &hp, params, loci_cpu_detect(), &err));
    OK(loci_model_save(m, at_root(dir), LOCI_BF16, NULL, &err));
    loci_model_close(m);
    loci_free_aligned(params);
    assert_non_null(realpath(XS_MODEL "/tokenizer.json", real));
    assert_int_equal(symlink(real, at_root(to)), 0);
    o.model_dir = at_root(dir);
    o.threads = 2;
    OK(loci_engine_open(&e, &o, &err));
    return e;
}

typedef struct {
    const char *name;
    int postings, content_bits4, d_summary, shared_kv, content; /* content: bytes a token */
    double most;                                                /* bytes a token */
} stored_form;
static const stored_form form[] = {
    { "plain", 0, 0, 0, 0, 136, 150.0 },         { "postings", 1, 0, 0, 0, 136, 152.0 },
    { "summaries", 0, 0, 128, 0, 136, 152.0 },   { "packed", 0, 1, 128, 0, 36, 50.0 },
    { "all", 1, 1, 128, 0, 36, 52.0 },           { "shared", 0, 0, 0, 1, 72, 86.0 },
    { "shared packed", 0, 1, 128, 1, 36, 50.0 },
};
enum { FORMS = sizeof form / sizeof *form };

static loci_engine *engine_of(const stored_form *f, int trained_codes)
{
    loci_hparams hp;
    loci_hparams_default(&hp);
    hp.postings = f->postings;
    hp.content_bits4 = f->content_bits4;
    hp.d_summary = f->d_summary;
    hp.shared_kv = f->shared_kv;
    hp.trained_codes = trained_codes;
    return model_make(f->name, hp);
}

static const char *bank_of(const stored_form *f)
{
    char dir[64];
    snprintf(dir, sizeof dir, "bank-of-%s", f->name);
    return at_root(dir);
}

/* Nothing learned, so any answer will do; the path through search and content must hold. */
static void check_asking(loci_engine *e, loci_bank *b, const stored_form *f)
{
    loci_error err = { 0 };
    loci_answer a;
    loci_searcher *searcher;
    OK(loci_ask(e, &b, 1, "What is it?", 11, NULL, &a, &err));
    assert_true(a.chunks_read > 0 && a.chunks_decoded > 0 && a.chunks_decoded <= a.chunks_read);
    loci_answer_free(&a);
    OK(loci_searcher_open(&searcher, e, &b, 1, &err));
    assert_int_equal(loci_searcher_memory(searcher).gist != NULL, f->d_summary > 0);
    loci_searcher_close(searcher);
}

static void check_part_bytes(loci_bank *b, const stored_form *f)
{
    loci_error err = { 0 };
    loci_bank_stat stat;
    int64_t sum = 0;
    OK(loci_bank_info(b, &stat, &err));
    for (int p = 0; p < LOCI_BANK_PARTS; p++) sum += stat.part_bytes[p];
    assert_int_equal(sum, stat.disk_bytes);
    const double tokens = (double)stat.tokens;
    print_message("%s: %.1f bytes a token, content %.1f, summaries %.2f, postings %.2f\n", f->name,
                  (double)stat.disk_bytes / tokens,
                  (double)stat.part_bytes[LOCI_BANK_CONTENT] / tokens,
                  (double)stat.part_bytes[LOCI_BANK_SUMMARIES] / tokens,
                  (double)stat.part_bytes[LOCI_BANK_POSTINGS] / tokens);
    /* The catalogue's pages are the same for any bank; chunks are the rest. */
    const int64_t files = stat.disk_bytes - stat.part_bytes[LOCI_BANK_CATALOGUE];
    assert_true((double)files / tokens <= f->most);
    assert_true((double)stat.part_bytes[LOCI_BANK_POSTINGS] <= 2.0 * 64.0 * (double)stat.chunks);
    assert_int_equal(stat.part_bytes[LOCI_BANK_CONTENT], stat.chunks * 64 * f->content);
    assert_int_equal(stat.part_bytes[LOCI_BANK_SUMMARIES],
                     f->d_summary ? stat.chunks * (f->d_summary + 4) : 0);
    assert_int_equal(stat.part_bytes[LOCI_BANK_POSTINGS] > 0, f->postings);
}

static void test_stored_forms(void **state)
{
    enum { BYTES = 60000 };
    (void)state;
    loci_error err = { 0 };
    loci_engine *e[FORMS];
    loci_bank *b;
    char *text = long_text(BYTES);
    write_bytes(at_root("text"), text, BYTES);
    for (int i = 0; i < FORMS; i++) {
        loci_bank_verify_report report;
        e[i] = engine_of(&form[i], i % 2);
        b = bank_open(e[i], bank_of(&form[i]), LOCI_BANK_CREATE);
        ingest(b, at_root("text"));
        assert_holds(b, "text", text, BYTES);
        OK(loci_bank_verify(bank_of(&form[i]), NULL, NULL, &report, &err));
        assert_int_equal(report.bad_blocks, 0);
        check_asking(e[i], b, &form[i]);
        check_part_bytes(b, &form[i]);
        loci_bank_close(b);
    }
    for (int i = 0; i < FORMS; i++)
        for (int k = 0; k < FORMS; k++) {
            const loci_status st =
                loci_bank_open(&b, e[k], bank_of(&form[i]), LOCI_BANK_READ, NULL);
            assert_int_equal(st, i == k ? LOCI_OK : LOCI_EMODEL);
            loci_bank_close(b);
        }
    for (int i = 0; i < FORMS; i++) loci_engine_close(e[i]);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_stored_forms) };
    root_make();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    temp_dir_remove(root);
    return failed;
}
