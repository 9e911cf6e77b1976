/* test_weights.c - checkpoints: round trips, every wrong tensor refused by name, fingerprints.
 *
 * Method: a small random model is saved in F32, BF16, I8 and 4 bits and opened again; then the views of
 * the good file are written anew with one flaw each, for every tensor and every kind of flaw. */
#include "stream_model.h"
#include "kernel/number.h"

#include <sys/stat.h>
#include <unistd.h>

enum { SEED = 41, MOST = 256 };

typedef struct {
    char dir[64], config[96], tokenizer[96], tensors[96];
    loci_hparams hp;
    random_model r;
} place;

static void write_file(const char *path, const void *data, size_t n)
{
    loci_error err = { 0 };
    if (loci_file_replace(NULL, path, data, n, &err) != LOCI_OK) fail_msg("%s", err.text);
}

static place place_open(void)
{
    place p = { .hp = stream_hparams() };
    p.hp.trained_codes = p.hp.content_bits4 = 1; /* every tensor that there can be */
    p.hp.d_summary = 32;
    snprintf(p.dir, sizeof p.dir, "/tmp/loci-test-weights-%d", (int)getpid());
    snprintf(p.config, sizeof p.config, "%s/config.json", p.dir);
    snprintf(p.tokenizer, sizeof p.tokenizer, "%s/tokenizer.json", p.dir);
    snprintf(p.tensors, sizeof p.tensors, "%s/model.safetensors", p.dir);
    p.r = random_model_open(&p.hp, SEED);
    mkdir(p.dir, 0700);
    write_file(p.tokenizer, "{\"model\": {}}", 13);
    return p;
}

static void place_close(place *p)
{
    unlink(p->config);
    unlink(p->tokenizer);
    unlink(p->tensors);
    rmdir(p->dir);
    random_model_close(&p->r);
}

static void save(const place *p, loci_dtype type)
{
    loci_error err = { 0 };
    if (loci_model_save(p->r.m, p->dir, type, NULL, &err) != LOCI_OK) fail_msg("%s", err.text);
}

static loci_model *open_good(const place *p)
{
    loci_model *m = NULL;
    loci_error err = { 0 };
    if (loci_model_open(&m, p->dir, loci_cpu_detect(), &err) != LOCI_OK) fail_msg("%s", err.text);
    return m;
}

static const loci_mat *mat_of(const loci_params *p, const loci_param_info *info)
{
    return (const loci_mat *)(const void *)((const char *)p + info->offset);
}

static double value(const loci_mat *w, size_t i)
{
    if (w->type == LOCI_U8)
        return ((((const uint8_t *)w->data)[i / 2] >> (i % 2 * 4) & 15) - 8) *
               (double)loci_f16_to_f32(w->half[i / 32]);
    if (w->type == LOCI_BF16) return (double)loci_bf16_to_f32(((const uint16_t *)w->data)[i]);
    if (w->type == LOCI_I8)
        return (double)w->scale[i / (size_t)w->cols] * ((const int8_t *)w->data)[i];
    return (double)((const float *)w->data)[i];
}

/* All of it as f32, as a GPU and another `loci quantize` get it: one rounding of q times scale. */
static void expect_wide(const loci_model *m, const loci_param_info *list, int n)
{
    loci_error err = { 0 };
    loci_params wide;
    float *base = room(loci_param_floats(&m->hp) * sizeof *base);
    assert_int_equal(loci_model_widen(m, base, &err), LOCI_OK);
    loci_params_bind(&wide, &m->hp, base);
    for (int i = 0; i < n; i++) {
        const loci_mat *a = mat_of(&m->p, &list[i]);
        const float *b = mat_of(&wide, &list[i])->data;
        for (size_t j = 0; j < (size_t)a->rows * (size_t)a->cols; j++)
            if (b[j] != (float)value(a, j))
                fail_msg("%s[%zu]: %g widened to %g", list[i].name, j, value(a, j), (double)b[j]);
    }
    loci_free_aligned(base);
}

/* ---- round trips -------------------------------------------------------------------------------- */

static void round_trip(void **state)
{
    static const loci_dtype types[] = { LOCI_F32, LOCI_BF16, LOCI_I8, LOCI_U8 };
    loci_param_info list[MOST];
    place p = place_open();
    const int n = loci_param_list(&p.hp, list, MOST);
    uint8_t fingerprint[4][16];
    (void)state;
    for (int k = 0; k < 4; k++) {
        int fours = 0;
        save(&p, types[k]);
        loci_model *m = open_good(&p);
        assert_memory_equal(&m->hp, &p.hp, sizeof p.hp);
        for (int i = 0; i < n; i++) {
            const loci_mat *a = mat_of(&p.r.m->p, &list[i]), *b = mat_of(&m->p, &list[i]);
            const bool wide = types[k] == LOCI_U8 && (list[i].fine || list[i].cols % 32 != 0);
            assert_int_equal(b->type, !list[i].quantise ? LOCI_F32 : wide ? LOCI_I8 : types[k]);
            assert_int_equal(b->scale != NULL, b->type == LOCI_I8);
            assert_int_equal(b->half != NULL, b->type == LOCI_U8);
            fours += b->type == LOCI_U8;
            assert_true(a->rows == b->rows && a->cols == b->cols);
            for (size_t j = 0; j < (size_t)a->rows * (size_t)a->cols; j++) {
                const double x = value(a, j), y = value(b, j);
                /* bf16 keeps 8 bits; int8 half a step, and a half more ulp of the division. */
                const double step = b->scale ? b->scale[j / (size_t)a->cols] : 0.0;
                double most = b->type == LOCI_BF16 ? 0x1p-8 * fabs(x) : 0.5001 * step;
                if (b->half) most = fabs(x); /* test_four.c says more */
                if (!(fabs(x - y) <= (b->type == LOCI_F32 ? 0.0 : most)))
                    fail_msg("%s[%zu]: %g stored as %g", list[i].name, j, x, y);
            }
        }
        assert_int_equal(fours > 10, types[k] == LOCI_U8);
        expect_wide(m, list, n);
        memcpy(fingerprint[k], m->fingerprint, 16);
        loci_model_close(m);
        /* Opened again: the same model; written again by an opened model: the same fingerprint. */
        m = open_good(&p);
        assert_memory_equal(fingerprint[k], m->fingerprint, 16);
        loci_error err = { 0 };
        char copy[96], path[128];
        snprintf(copy, sizeof copy, "%s/copy", p.dir);
        const loci_status st = loci_model_save(m, copy, LOCI_F32, NULL, &err);
        assert_int_equal(st, k == 0 ? LOCI_OK : LOCI_EINVAL);
        if (k == 0) {
            snprintf(path, sizeof path, "%s/tokenizer.json", copy);
            write_file(path, "{\"model\": {}}", 13);
            loci_model *again = NULL;
            assert_int_equal(loci_model_open(&again, copy, 0, &err), LOCI_OK);
            assert_memory_equal(again->fingerprint, m->fingerprint, 16);
            loci_model_close(again);
            static const char *const name[] = { "tokenizer.json", "config.json",
                                                "model.safetensors" };
            for (int i = 0; i < 3; i++) {
                snprintf(path, sizeof path, "%s/%s", copy, name[i]);
                assert_int_equal(unlink(path), 0);
            }
            rmdir(copy);
        } else {
            assert_non_null(strstr(err.text, loci_dtype_name(types[k]))); /* the embedding */
        }
        loci_model_close(m);
    }
    /* Stored otherwise, it writes other records. */
    assert_memory_not_equal(fingerprint[0], fingerprint[1], 16);
    assert_memory_not_equal(fingerprint[1], fingerprint[2], 16);
    assert_memory_not_equal(fingerprint[2], fingerprint[3], 16);
    place_close(&p);
}

/* What a stored type changes in the logits: rounding of weights is a relative change of 2^-9 (bf16)
 * or half a step of 127 (int8) or 7, far above that of sums; a wrong scale or a swapped half would
 * change everything. */
static void stored_types_compute(void **state)
{
    static const loci_dtype types[] = { LOCI_F32, LOCI_BF16, LOCI_I8, LOCI_U8 };
    enum { N = 150 };
    place p = place_open();
    int32_t *ids = random_ids(N, p.hp.vocab, 2);
    float *want = room((size_t)(N * p.hp.vocab) * 4), *got = room((size_t)(N * p.hp.vocab) * 4);
    (void)state;
    for (int k = 0; k < 4; k++) {
        save(&p, types[k]);
        loci_model *m = open_good(&p);
        chat c = chat_open(m, N, NULL), one = chat_open(m, 1, NULL);
        double err = 0.0, size = 0.0, split = 0.0;
        chat_extend(&c, m, ids, N, got);
        if (k == 0) memcpy(want, got, (size_t)(N * p.hp.vocab) * 4);
        for (int i = 0; i < N * p.hp.vocab; i++) {
            err += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
            size += (double)want[i] * want[i];
        }
        /* One token at a time goes through the gemv family. */
        for (int t = 0; t < N; t++) {
            float row[64];
            chat_extend(&one, m, ids + t, 1, row);
            for (int v = 0; v < p.hp.vocab; v++)
                split = fmax(split, fabs((double)row[v] - got[t * p.hp.vocab + v]));
        }
        print_message("  %s: relative change %.2g; batch against single %.2g\n",
                      loci_dtype_name(types[k]), sqrt(err / size), split);
        assert_true(sqrt(err / size) < (k == 0 ? 1e-12 : k == 1 ? 0.05 : k == 2 ? 0.15 : 0.7));
        assert_true(split < 1e-4); /* below the tolerance of stream_model.h here */
        chat_close(&c);
        chat_close(&one);
        loci_model_close(m);
    }
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    place_close(&p);
}

/* ---- flaws ------------------------------------------------------------------------------------------ */

static void must_refuse(const place *p, const char *name, const char *a, const char *b,
                        const char *flaw)
{
    loci_model *m = (loci_model *)(uintptr_t)1;
    loci_error err = { 0 };
    const loci_status st = loci_model_open(&m, p->dir, 0, &err);
    assert_null(m);
    if (st != LOCI_EFORMAT || !strstr(err.text, name) || !strstr(err.text, p->tensors) ||
        !strstr(err.text, a) || !strstr(err.text, b))
        fail_msg("%s, %s: status %d: %s", name, flaw, st, err.text);
}

static void write_views(const place *p, const loci_tensor_view *t, int n)
{
    loci_error err = { 0 };
    if (loci_st_write(NULL, p->tensors, t, n, NULL, &err) != LOCI_OK) fail_msg("%s", err.text);
}

/* Copies of the views of the saved file; *file keeps their data until it is closed. */
static int load_views(const place *p, loci_dtype type, loci_tensor_view *t, loci_st **file)
{
    loci_error err = { 0 };
    save(p, type);
    if (loci_st_open(file, p->tensors, &err) != LOCI_OK) fail_msg("%s", err.text);
    const int n = loci_st_count(*file);
    assert_in_range(n, 1, 2 * MOST);
    for (int i = 0; i < n; i++) t[i] = *loci_st_at(*file, i);
    unlink(p->tensors); /* the mapping keeps the old content */
    return n;
}

typedef struct {
    const place *p;
    loci_tensor_view *t; /* (n) of a good file */
    int n;
} views;

/* The views are refused for v, whose name was good's; v is good again afterwards. */
static void refused_with(const views *all, const loci_tensor_view *good, loci_tensor_view *v,
                         const char *a, const char *b, const char *flaw)
{
    write_views(all->p, all->t, all->n);
    must_refuse(all->p, good->name, a, b, flaw);
    *v = *good;
}

static void missing(const views *all, int i)
{
    const loci_tensor_view good = all->t[i];
    all->t[i] = all->t[all->n - 1];
    write_views(all->p, all->t, all->n - 1);
    must_refuse(all->p, good.name, "missing", "", "missing");
    all->t[i] = good;
    all->t[i].name = "strange";
    refused_with(all, &good, &all->t[i], "missing", "", "renamed");
}

static void other_shapes(const views *all, int i)
{
    loci_tensor_view *v = &all->t[i];
    const loci_tensor_view good = *v;
    char found[64];
    /* one row more, from memory of its own */
    const size_t row = good.bytes / (size_t)good.dim[0];
    char *more = room(good.bytes + row);
    v->data = more;
    v->dim[0]++;
    v->bytes += row;
    snprintf(found, sizeof found, "(%lld", (long long)v->dim[0]);
    refused_with(all, &good, v, "expected", found, "a row more");
    loci_free_aligned(more);
    /* the same bytes in another shape */
    v->n_dims = good.n_dims + 1;
    v->dim[good.n_dims] = 1;
    refused_with(all, &good, v, "expected", ", 1)", "another dimension");
    if (good.n_dims == 2 && good.dim[0] != good.dim[1]) {
        v->dim[0] = good.dim[1];
        v->dim[1] = good.dim[0];
        refused_with(all, &good, v, "expected", "found", "transposed");
    }
}

static void other_numbers(const views *all, int i)
{
    static const double zeros[16384];
    loci_tensor_view *v = &all->t[i];
    const loci_tensor_view good = *v;
    const size_t unit = loci_dtype_size(good.dtype);
    v->dtype = LOCI_F64;
    v->bytes = good.bytes / unit * 8;
    v->data = zeros;
    if (v->bytes <= sizeof zeros)
        refused_with(all, &good, v, "F64", good.dtype == LOCI_F16 ? "F16" : "F32", "type");
    *v = good;
    if (strstr(good.name, ".scale")) {
        char *bad = room(good.bytes);
        memcpy(bad, good.data, good.bytes);
        memset(bad + good.bytes - unit, 0xff, unit);
        v->data = bad;
        refused_with(all, &good, v, "expected finite numbers", "", "not a number");
        loci_free_aligned(bad);
    }
}

static void every_tensor_every_flaw(void **state)
{
    static loci_tensor_view t[2 * MOST + 1];
    static const loci_dtype types[] = { LOCI_F32, LOCI_I8, LOCI_U8 };
    place p = place_open();
    (void)state;
    for (int k = 0; k < 3; k++) {
        loci_st *file;
        const int n = load_views(&p, types[k], t, &file);
        const views all = { &p, t, n };
        for (int i = 0; i < n; i++) {
            missing(&all, i);
            other_shapes(&all, i);
            other_numbers(&all, i);
        }
        t[n] = t[0];
        t[n].name = "upper.7.attn.q";
        write_views(&p, t, n + 1);
        must_refuse(&p, "upper.7.attn.q", "not one of this architecture", "", "one more");
        t[n].name = "lower.0.attn.q.scale"; /* a scale that no I8 tensor asks for */
        if (k == 0) {
            write_views(&p, t, n + 1);
            must_refuse(&p, "lower.0.attn.q.scale", "not one of this architecture", "", "scale");
        }
        write_views(&p, t, n);
        loci_model_close(open_good(&p));
        loci_st_close(file);
    }
    place_close(&p);
}

/* Small tables and vectors are f32 or nothing. */
static void never_packed(void **state)
{
    static loci_tensor_view t[2 * MOST];
    loci_st *file;
    place p = place_open();
    const int n = load_views(&p, LOCI_F32, t, &file);
    (void)state;
    for (int i = 0; i < n; i++) {
        static const char *const names[] = { "bank.pos", "read.0.log_tau", "read.1.rank" };
        for (int j = 0; j < 3; j++) {
            if (strcmp(t[i].name, names[j]) != 0) continue;
            const loci_tensor_view good = t[i];
            t[i].dtype = LOCI_BF16;
            t[i].bytes /= 2;
            write_views(&p, t, n);
            must_refuse(&p, names[j], "F32", "BF16", "packed");
            t[i] = good;
        }
    }
    loci_st_close(file);
    place_close(&p);
}

static void truncated(void **state)
{
    place p = place_open();
    char *data = NULL;
    size_t len = 0;
    loci_error err = { 0 };
    loci_model *m = NULL;
    (void)state;
    save(&p, LOCI_BF16);
    assert_int_equal(loci_file_load(NULL, p.tensors, 1 << 30, &data, &len, &err), LOCI_OK);
    for (size_t n = 0; n < len; n = n < 64 ? n + 1 : n < len - 3 ? n + (len - n) / 2 : n + 1) {
        loci_error e = { 0 };
        write_file(p.tensors, data, n);
        assert_int_equal(loci_model_open(&m, p.dir, 0, &e), LOCI_EFORMAT);
        assert_null(m);
        assert_non_null(strstr(e.text, p.tensors));
    }
    free(data);
    save(&p, LOCI_F32);
    static const char *const name[] = { "config.json", "tokenizer.json", "model.safetensors" };
    for (int i = 0; i < 3; i++) {
        char from[128], to[128];
        loci_error e = { 0 };
        snprintf(from, sizeof from, "%s/%s", p.dir, name[i]);
        snprintf(to, sizeof to, "%s/away", p.dir);
        assert_int_equal(rename(from, to), 0);
        assert_int_equal(loci_model_open(&m, p.dir, 0, &e), LOCI_ENOTFOUND);
        assert_non_null(strstr(e.text, name[i]));
        assert_int_equal(rename(to, from), 0);
    }
    loci_model_close(open_good(&p));
    loci_model_close(NULL);
    place_close(&p);
}

static void save_refuses(void **state)
{
    place p = place_open();
    loci_error err = { 0 };
    float *w = p.r.m->p.upper[1].down.data;
    const float was = w[7];
    (void)state;
    w[7] = NAN;
    assert_int_equal(loci_model_save(p.r.m, p.dir, LOCI_I8, NULL, &err), LOCI_EINVAL);
    assert_non_null(strstr(err.text, "upper.1.ffn.down"));
    assert_int_not_equal(access(p.tensors, F_OK), 0);
    w[7] = was;
    memset(&err, 0, sizeof err);
    assert_int_equal(loci_model_save(p.r.m, p.dir, LOCI_F64, NULL, &err), LOCI_EINVAL);
    assert_non_null(strstr(err.text, "F64"));
    const char *const meta[] = { "commit", "abc", NULL };
    memset(&err, 0, sizeof err);
    assert_int_equal(loci_model_save(p.r.m, p.dir, LOCI_F32, meta, &err), LOCI_OK);
    loci_st *file;
    assert_int_equal(loci_st_open(&file, p.tensors, &err), LOCI_OK);
    assert_string_equal(loci_st_meta(file, "commit"), "abc");
    loci_st_close(file);
    place_close(&p);
}

/* ---- fingerprint -------------------------------------------------------------------------------------- */

/* Save, open, compare with before; returns whether it differs. */
static bool changed(const place *p, const uint8_t before[16])
{
    save(p, LOCI_F32);
    loci_model *m = open_good(p);
    const bool differs = memcmp(m->fingerprint, before, 16) != 0;
    loci_model_close(m);
    return differs;
}

static void fingerprints(void **state)
{
    loci_param_info list[MOST];
    place p = place_open();
    const int n = loci_param_list(&p.hp, list, MOST);
    uint8_t before[16];
    (void)state;
    save(&p, LOCI_F32);
    loci_model *m = open_good(&p);
    memcpy(before, m->fingerprint, 16);
    loci_model_close(m);
    assert_false(changed(&p, before));
    /* One bit of one number of each tensor. */
    for (int i = 0; i < n; i++) {
        const loci_mat *w = mat_of(&p.r.m->p, &list[i]);
        uint32_t *last = (uint32_t *)w->data + (size_t)w->rows * (size_t)w->cols - 1;
        *last ^= 1;
        if (changed(&p, before) != list[i].ingest) fail_msg("%s", list[i].name);
        *last ^= 1;
    }
    /* Settings that keep every shape. */
    p.r.m->hp.window = 71;
    assert_true(changed(&p, before));
    p.r.m->hp.window = p.hp.window;
    p.r.m->hp.norm_eps *= 2;
    assert_true(changed(&p, before));
    p.r.m->hp.norm_eps = p.hp.norm_eps;
    p.r.m->hp.rope_base *= 2;
    assert_true(changed(&p, before));
    p.r.m->hp.rope_base = p.hp.rope_base;
    p.r.m->hp.gate_open = 0.25f;
    assert_false(changed(&p, before));
    p.r.m->hp.gate_open = p.hp.gate_open;
    assert_false(changed(&p, before));
    write_file(p.tokenizer, "{\"model\": [}}", 13);
    assert_true(changed(&p, before));
    write_file(p.tokenizer, "{\"model\": {}}\n", 14);
    assert_true(changed(&p, before));
    write_file(p.tokenizer, "", 0);
    assert_true(changed(&p, before));
    place_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(stored_types_compute),
        cmocka_unit_test(every_tensor_every_flaw),
        cmocka_unit_test(never_packed),
        cmocka_unit_test(truncated),
        cmocka_unit_test(save_refuses),
        cmocka_unit_test(fingerprints),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
