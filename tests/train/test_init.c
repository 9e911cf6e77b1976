/* test_init.c - starting from the weights of another checkpoint.
 *
 * Goal: every tensor of the run is the checkpoint's of that name, bit for bit, as f32 if it is stored as
 * something smaller; a run may have `order`
 * where the checkpoint has none, which starts at 0 and is said; everything else is refused by its
 * name.  Method: checkpoints of random weights in many shapes, each given to runs of other shapes. */
#include "model/model_impl.h"
#include "train_test.h"
#include "train/trainer.h"

/* TINY_MODEL with one or two things changed. */
enum { PLAIN, ORDER, EVERY, EVERY_ORDER, WIDER, DEEPER, UNTIED, PICKS, PICKS_ORDER, SHAPES };

static void config_of(loci_train_config *c, int shape)
{
    char text[2048];
    const bool every = shape == EVERY || shape == EVERY_ORDER;
    snprintf(text, sizeof text,
             "{" TINY_MODEL_WITH("%s") ", \"phases\": [{\"name\": \"p\", \"tokens\": 10, "
                                       "\"seq_len\": 64, \"batch\": 1, \"routed\": true}]}",
             every ? EVERYTHING : "");
    MUST(loci_train_config_parse(c, text, "test", err));
    c->hp.order = shape == ORDER || shape == EVERY_ORDER || shape == PICKS_ORDER;
    c->hp.tied = shape != UNTIED;
    if (shape == WIDER) c->hp.ffn = 80;
    if (shape == DEEPER) c->hp.n_upper = 2;
    if (shape == PICKS || shape == PICKS_ORDER) c->hp.top_k = 4;
}

/* A trainer as far as init goes: parameters with their start values, bound to *p. */
static void trainer_open(loci_trainer *t, loci_params *p, int shape)
{
    memset(t, 0, sizeof *t);
    config_of(&t->config, shape);
    MUST(loci_optim_init(&t->optim, &t->config, 0, err));
    loci_params_init(t->optim.param, &t->config.hp, 1);
    loci_params_bind(p, &t->config.hp, t->optim.param);
}

static float *tensor_of(const loci_params *p, const loci_param_info *x)
{
    return ((const loci_mat *)(const void *)((const char *)p + x->offset))->data;
}

/* A checkpoint in dir/name: no number of it is 0, and none is what a run starts with. */
static void save(const char *name, int shape, loci_dtype type)
{
    loci_trainer t;
    loci_params p;
    loci_model *m;
    loci_rng rng;
    char out[TEMP_PATH];
    trainer_open(&t, &p, shape);
    loci_rng_seed(&rng, 100 + (uint64_t)shape);
    for (int i = 0; i < t.optim.n_info; i++) {
        const loci_param_info *x = &t.optim.info[i];
        for (int j = 0; j < x->rows * x->cols; j++)
            tensor_of(&p, x)[j] = (float)(0.01 + loci_rng_unit(&rng));
    }
    MUST(loci_model_wrap(&m, &t.config.hp, t.optim.param, 0, err));
    MUST(loci_model_save(m, path_in(out, dir, name), type, NULL, err));
    write_text(out, "tokenizer.json", "{}"); /* only its bytes count */
    loci_model_close(m);
    loci_optim_free(&t.optim);
}

typedef struct {
    int n;
    char line[4096];
} notes;

static void on_note(void *ctx, const char *line)
{
    notes *s = ctx;
    s->n++;
    snprintf(s->line, sizeof s->line, "%s", line);
}

/* The run's tensors after init: the checkpoint's, or 0 where it has none. */
static void check_tensors(const loci_trainer *t, const loci_params *p, const char *from,
                          int n_anew_expected)
{
    int anew = 0;
    loci_st *f;
    char path[TEMP_PATH], base[TEMP_PATH];
    MUST(loci_st_open(&f, path_in(path, path_in(base, dir, from), "model.safetensors"), err));
    for (int i = 0; i < t->optim.n_info; i++) {
        const loci_param_info *x = &t->optim.info[i];
        const loci_tensor_view *v = loci_st_find(f, x->name);
        const size_t n = (size_t)x->rows * (size_t)x->cols;
        if (v) {
            assert_int_equal(v->bytes, n * sizeof(float));
            if (memcmp(tensor_of(p, x), v->data, v->bytes) != 0) fail_msg("%s differs", x->name);
            continue;
        }
        for (size_t j = 0; j < n; j++) assert_true(tensor_of(p, x)[j] == 0.0f);
        anew++;
    }
    loci_st_close(f);
    assert_int_equal(anew, n_anew_expected);
}

/* A run of this shape that is to begin with the checkpoint `from`, whose path goes to init. */
static loci_train_options begin(loci_trainer *t, loci_params *p, int shape, const char *from,
                                char init[TEMP_PATH], notes *said)
{
    loci_train_options o = loci_train_options_default();
    o.init = path_in(init, dir, from);
    o.note = on_note;
    o.progress_ctx = said;
    trainer_open(t, p, shape);
    return o;
}

static void taken(const char *from, int shape, int n_anew)
{
    loci_trainer t;
    loci_params p;
    notes said = { 0 };
    char init[TEMP_PATH];
    loci_train_options o = begin(&t, &p, shape, from, init, &said);
    MUST(loci_trainer_init_from(&t, &o, err));
    check_tensors(&t, &p, from, n_anew);
    assert_int_equal(said.n, n_anew > 0);
    if (n_anew) {
        char want[TEMP_PATH + 256];
        snprintf(want, sizeof want,
                 "begin at 0: read.0.order, read.0.mark; of %s left behind: read.0.rank", init);
        assert_string_equal(said.line, want);
    }
    o.note = NULL; /* nobody listens */
    MUST(loci_trainer_init_from(&t, &o, err));
    loci_optim_free(&t.optim);
}

static void refused(const char *from, int shape, const char *tensor, const char *why)
{
    loci_trainer t;
    loci_params p;
    notes said = { 0 };
    char init[TEMP_PATH];
    const loci_train_options o = begin(&t, &p, shape, from, init, &said);
    REFUSED(loci_trainer_init_from(&t, &o, err), LOCI_EFORMAT, tensor);
    REFUSED(loci_trainer_init_from(&t, &o, err), LOCI_EFORMAT, why);
    REFUSED(loci_trainer_init_from(&t, &o, err), LOCI_EFORMAT, init);
    assert_int_equal(said.n, 0);
    loci_optim_free(&t.optim);
}

static void test_same_shape(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        save("same", shape, LOCI_F32);
        taken("same", shape, 0);
    }
}

static void test_order_begins_anew(void **state)
{
    (void)state;
    save("plain", PLAIN, LOCI_F32);
    save("every", EVERY, LOCI_F32);
    save("picks", PICKS, LOCI_F32);
    taken("plain", ORDER, 2);
    taken("every", EVERY_ORDER, 2);
    taken("picks", PICKS_ORDER, 2);
    taken("picks", ORDER, 2); /* only the ranks depend on how many are picked */
}

static void test_other_shapes(void **state)
{
    (void)state;
    save("plain", PLAIN, LOCI_F32);
    save("order", ORDER, LOCI_F32);
    save("every", EVERY, LOCI_F32);
    save("deeper", DEEPER, LOCI_F32);
    save("untied", UNTIED, LOCI_F32);
    refused("plain", WIDER, "lower.0.ffn.gate_up", "expected (160, 64), found (128, 64)");
    refused("plain", PICKS, "read.0.rank", "expected (4, 64), found (2, 64)");
    refused("plain", DEEPER, "upper.1.attn.q", "found none");
    refused("plain", EVERY, "bank.summary", "found none");
    refused("plain", EVERY_ORDER, "bank.summary", "found none");
    refused("plain", UNTIED, "head", "found none");
    /* What was learned is not left behind. */
    refused("order", PLAIN, "read.0.order", "no such tensor");
    refused("deeper", PLAIN, "upper.1.attn.q", "no such tensor");
    refused("deeper", ORDER, "upper.1.attn.q", "no such tensor");
    refused("untied", ORDER, "head", "no such tensor");
    refused("every", ORDER, "bank.summary", "no such tensor");
}

/* Stored smaller: what the engine reads of it. */
static void test_stored_forms(void **state)
{
    (void)state;
    static const loci_dtype form[] = { LOCI_BF16, LOCI_I8, LOCI_U8 };
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        loci_trainer t;
        loci_params p;
        loci_model *m;
        char init[TEMP_PATH];
        notes said = { 0 };
        save("small", EVERY_ORDER, form[i]);
        const loci_train_options o = begin(&t, &p, EVERY_ORDER, "small", init, &said);
        MUST(loci_trainer_init_from(&t, &o, err));
        MUST(loci_model_open(&m, init, 0, err));
        int smaller = 0;
        for (int k = 0; k < t.optim.n_info; k++) {
            const loci_param_info *x = &t.optim.info[k];
            const loci_mat *w = loci_param_at(&m->p, x);
            float row[512];
            smaller += w->type == form[i];
            for (int r = 0; r < x->rows; r++) {
                assert_in_range(x->cols, 1, 512);
                loci_mat_row(&m->k, row, w, r);
                if (memcmp(row, tensor_of(&p, x) + (size_t)r * (size_t)x->cols,
                           (size_t)x->cols * sizeof *row) != 0)
                    fail_msg("%s of %s: row %d differs", x->name, loci_dtype_name(form[i]), r);
            }
        }
        assert_true(smaller > 0);
        loci_model_close(m);
        loci_optim_free(&t.optim);
    }
}

static void test_other_files(void **state)
{
    (void)state;
    loci_trainer t;
    loci_params p;
    char init[TEMP_PATH];
    loci_train_options o = loci_train_options_default();
    trainer_open(&t, &p, ORDER);
    o.init = path_in(init, dir, "nowhere");
    REFUSED(loci_trainer_init_from(&t, &o, err), LOCI_ENOTFOUND, "nowhere");
    /* The checkpoint is what its own config says, or nothing. */
    save("torn", PLAIN, LOCI_F32);
    char path[TEMP_PATH];
    loci_hparams hp = t.config.hp;
    o.init = path_in(init, dir, "torn");
    MUST(loci_hparams_save(&hp, path_in(path, init, "config.json"), err));
    REFUSED(loci_trainer_init_from(&t, &o, err), LOCI_EFORMAT, "read.0.order");
    loci_optim_free(&t.optim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_shape),   cmocka_unit_test(test_order_begins_anew),
        cmocka_unit_test(test_other_shapes), cmocka_unit_test(test_stored_forms),
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
