/* test_params.c - the settings table, config.json, and the one list of parameters.
 *
 * Goal: every matrix of loci_params is bound exactly once, inside the block and apart from all
 * others; start values are as declared; hostile shapes and configs are refused by name. */
#include "stream_model.h"

#include <sys/stat.h>
#include <unistd.h>

enum { SEED = 31, MOST = 1024 };

static loci_mat *mat_of(loci_params *p, const loci_param_info *info)
{
    return (loci_mat *)(void *)((char *)p + info->offset);
}

/* ---- the list --------------------------------------------------------------------------------- */

static void bound_once(void **state)
{
    loci_hparams hp[4];
    (void)state;
    loci_hparams_default(&hp[0]);
    hp[1] = hp[2] = stream_hparams();
    hp[2].trained_codes = hp[2].content_bits4 = 1;
    hp[2].d_summary = 32;
    hp[3] = hp[2];
    hp[3].order = 1;
    for (int i = 0; i < 4; i++) {
        static loci_param_info list[MOST];
        loci_params p;
        const int n = loci_param_list(&hp[i], list, MOST);
        const size_t floats = loci_param_floats(&hp[i]);
        float *base = room(floats * sizeof *base);
        size_t used = 0, bytes = 0;
        loci_params_bind(&p, &hp[i], base);
        for (int a = 0; a < n; a++) {
            const loci_mat *w = mat_of(&p, &list[a]);
            const size_t size = (size_t)w->rows * (size_t)w->cols;
            float *data = w->data;
            assert_true(data >= base && data + size <= base + floats);
            assert_int_equal((uintptr_t)data % 64, 0);
            assert_true(w->rows == list[a].rows && w->cols == list[a].cols && w->type == LOCI_F32);
            assert_null(w->scale);
            for (int b = 0; b < a; b++) {
                assert_string_not_equal(list[a].name, list[b].name);
                assert_int_not_equal(list[a].offset, list[b].offset);
            }
            /* Marks: a number of one's own that nobody overwrites is memory of one's own. */
            for (size_t j = 0; j < size; j++) data[j] = (float)(a + 1);
            used += size;
            bytes += sizeof(loci_mat);
        }
        for (int a = 0; a < n; a++) {
            const loci_mat *w = mat_of(&p, &list[a]);
            for (size_t j = 0; j < (size_t)w->rows * (size_t)w->cols; j++)
                assert_true(((float *)w->data)[j] == (float)(a + 1));
        }
        /* All matrices of the blocks in use, and no other, are bound. */
        const int unbound = 3 * !hp[i].content_bits4 +
                            (hp[i].d_summary == 0) * (1 + 4 * hp[i].n_groups) +
                            (hp[i].order ? 1 : 2) * hp[i].n_groups;
        const size_t layers = (size_t)(hp[i].n_lower + hp[i].n_upper);
        assert_int_equal(bytes + (size_t)unbound * sizeof(loci_mat),
                         sizeof(loci_mat) + layers * sizeof(loci_layer_params) +
                             sizeof(loci_encoder_params) +
                             (size_t)hp[i].n_groups * sizeof(loci_read_params) +
                             (hp[i].trained_codes ? sizeof(loci_code_params) : 0));
        assert_null(p.lower[hp[i].n_lower].q.data);
        assert_null(p.read[hp[i].n_groups].q.data);
        assert_true(used <= floats && floats - used < 16 * (size_t)n);
        print_message("  %d tensors, %zu parameters\n", n, used);
        if (i == 0) assert_in_range(used, 2500000, 3100000);
        /* A short list is not overrun, and the count is the same. */
        loci_param_info three[4] = {
            { .name = "" }, { .name = "" }, { .name = "" }, { .name = "x" }
        };
        assert_int_equal(loci_param_list(&hp[i], three, 3), n);
        assert_int_equal(loci_param_list(&hp[i], NULL, 0), n);
        assert_string_equal(three[2].name, list[2].name);
        assert_string_equal(three[3].name, "x");
        loci_free_aligned(base);
    }
}

static const loci_param_info *info_of(const loci_param_info *list, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return &list[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void names_and_flags(void **state)
{
    static loci_param_info list[MOST];
    loci_hparams hp;
    (void)state;
    loci_hparams_default(&hp);
    const int n = loci_param_list(&hp, list, MOST);
    static const struct {
        const char *name;
        int rows, cols;
        bool decay, quantise, ingest;
    } want[] = {
        { "embed", 4096, 192, 1, 1, 1 },
        { "lower.0.attn.q", 192, 192, 1, 1, 1 },
        { "lower.1.attn.kv", 128, 192, 1, 1, 1 },
        { "lower.0.attn.o", 192, 192, 1, 1, 1 },
        { "lower.1.ffn.gate_up", 768, 192, 1, 1, 1 },
        { "lower.1.ffn.down", 192, 384, 1, 1, 1 },
        { "bank.in", 128, 192, 1, 1, 1 },
        { "bank.qkv", 384, 128, 1, 1, 1 },
        { "bank.o", 128, 128, 1, 1, 1 },
        { "bank.up", 256, 128, 1, 1, 1 },
        { "bank.down", 128, 256, 1, 1, 1 },
        { "bank.pos", 64, 128, 0, 0, 1 },
        { "bank.cls", 2, 128, 0, 0, 1 },
        { "bank.landmark", 128, 128, 1, 1, 1 },
        { "bank.bias_w", 1, 256, 0, 0, 1 },
        { "bank.bias_b", 1, 1, 0, 0, 1 },
        { "bank.content", 128, 320, 1, 1, 1 },
        { "read.0.router1", 256, 192, 1, 1, 0 },
        { "read.0.router2", 128, 256, 1, 1, 0 },
        { "read.0.gate_w", 1, 192, 0, 0, 0 },
        { "read.0.gate_b", 1, 1, 0, 0, 0 },
        { "read.0.null", 1, 1, 0, 0, 0 },
        { "read.0.log_tau", 1, 1, 0, 0, 0 },
        { "read.0.q", 512, 192, 1, 1, 0 },
        { "read.0.o", 192, 512, 1, 1, 0 },
        { "read.0.gate_up", 512, 192, 1, 1, 0 },
        { "read.0.down", 192, 256, 1, 1, 0 },
        { "read.0.rank", 16, 64, 0, 0, 0 },
        { "upper.1.attn.q", 192, 192, 1, 1, 0 },
        { "upper.0.ffn.down", 192, 384, 1, 1, 0 },
    };
    assert_int_equal(n, 1 + 4 * 5 + 11 + 11);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const loci_param_info *p = info_of(list, n, want[i].name);
        assert_int_equal(p->rows, want[i].rows);
        assert_int_equal(p->cols, want[i].cols);
        assert_int_equal(p->decay, want[i].decay);
        assert_int_equal(p->quantise, want[i].quantise);
        assert_int_equal(p->ingest, want[i].ingest);
    }
}

/* ---- start values ------------------------------------------------------------------------------ */

/* Mean square and largest size of a tensor. */
static void moments(const loci_mat *w, double *square, double *most)
{
    const size_t n = (size_t)w->rows * (size_t)w->cols;
    *square = *most = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double x = ((const float *)w->data)[i];
        *square += x * x / (double)n;
        *most = fmax(*most, fabs(x));
    }
}

static void start_values(void **state)
{
    static loci_param_info list[MOST];
    loci_hparams hp;
    loci_params p;
    (void)state;
    loci_hparams_default(&hp);
    hp.trained_codes = 1;
    const int n = loci_param_list(&hp, list, MOST);
    const size_t bytes = loci_param_floats(&hp) * sizeof(float);
    float *base = room(bytes), *again = room(bytes);
    memset(base, 0xff, bytes);
    loci_params_init(base, &hp, SEED);
    loci_params_init(again, &hp, SEED);
    assert_memory_equal(base, again, bytes);
    loci_params_init(again, &hp, SEED + 1);
    assert_memory_not_equal(base, again, bytes);
    loci_params_bind(&p, &hp, base);
    for (int i = 0; i < n; i++) {
        const loci_mat *w = mat_of(&p, &list[i]);
        const double size = (double)w->rows * w->cols;
        /* Deviation of a mean square over `size` draws: kurtosis below 3. */
        const double slack = 5.0 * sqrt(2.0 / size);
        double square, most;
        moments(w, &square, &most);
        switch (list[i].init) {
        case LOCI_INIT_ZERO: assert_true(most == 0.0); break;
        case LOCI_INIT_CONST: assert_true(((float *)w->data)[0] == list[i].value); break;
        case LOCI_INIT_SAME:
            assert_memory_equal(w->data, mat_of(&p, &list[i - 1])->data, (size_t)size * 4);
            break;
        case LOCI_INIT_NORMAL:
            assert_true(fabs(square / ((double)list[i].value * list[i].value) - 1.0) < slack);
            break;
        }
    }
    double square, most;
    moments(&p.upper[1].o, &square, &most);
    assert_true(most == 0.0);
    moments(&p.read[0].rank, &square, &most);
    assert_true(most == 0.0);
    assert_true(*(float *)p.read[0].gate_b.data == 2.0f);
    assert_true(fabs(*(float *)p.read[0].log_tau.data - log(12.0)) < 1e-6);
    /* What lies between tensors is zero: optimisers run over the whole block. */
    double sum = 0.0, inside = 0.0;
    for (size_t i = 0; i < bytes / sizeof(float); i++) sum += fabs((double)base[i]);
    for (int i = 0; i < n; i++) {
        const loci_mat *w = mat_of(&p, &list[i]);
        for (size_t j = 0; j < (size_t)w->rows * (size_t)w->cols; j++)
            inside += fabs((double)((float *)w->data)[j]);
    }
    assert_true(fabs(sum - inside) <= 1e-9 * sum);
    loci_free_aligned(base);
    loci_free_aligned(again);
}

/* ---- settings ------------------------------------------------------------------------------------ */

static void refused(const loci_hparams *hp, const char *field)
{
    loci_error err = { 0 };
    assert_int_equal(loci_hparams_check(hp, "shape", &err), LOCI_EINVAL);
    if (!strstr(err.text, field) || !strstr(err.text, "expected") || !strstr(err.text, "found"))
        fail_msg("no %s in: %s", field, err.text);
}

static void ranges(void **state)
{
    loci_hparams ok, hp;
    loci_error err = { 0 };
    (void)state;
    loci_hparams_default(&ok);
    assert_int_equal(loci_hparams_check(&ok, "shape", &err), LOCI_OK);
    /* Every field, just outside of what its entry says. */
    for (int i = 0; i < loci_hparams_table_n; i++) {
        const loci_setting *f = &loci_hparams_table[i];
        for (int side = 0; side < 2; side++) {
            hp = ok;
            char *at = (char *)&hp + f->offset;
            if (f->type == LOCI_SET_INT)
                *(int *)(void *)at = side ? (int)f->max + 1 : (int)f->min - 1;
            else
                *(float *)(void *)at = (float)(side ? f->max * 1.01 : f->min - 1e-3);
            refused(&hp, f->key);
        }
        if (f->type == LOCI_SET_FLOAT) {
            hp = ok;
            *(float *)(void *)((char *)&hp + f->offset) = NAN;
            refused(&hp, f->key);
        }
        assert_true(f->help && f->help[0]);
    }
    hp = ok, hp.n_heads = 5, hp.n_kv_heads = 2, refused(&hp, "n_heads");
    hp = ok, hp.n_upper = 5, hp.n_groups = 2, refused(&hp, "n_upper");
    hp = ok, hp.enc_dim = 96, refused(&hp, "enc_dim");
    hp = ok, hp.d_model = 200, refused(&hp, "d_model");
    hp = ok, hp.d_key = 40, refused(&hp, "d_key");
    hp = ok, hp.d_value = 40, refused(&hp, "d_value");
    hp = ok, hp.d_summary = 40, refused(&hp, "d_summary");
    hp = ok, hp.content_bits4 = 1, refused(&hp, "content_bits4");
    hp = ok, hp.shared_kv = 1, hp.d_value = 80, refused(&hp, "d_value");
    hp.d_value = hp.d_key, hp.content_bits4 = 1;
    hp.d_summary = 16;
    assert_int_equal(loci_hparams_check(&hp, "shape", &err), LOCI_OK);
}

static char *config_path(char *out, size_t n)
{
    snprintf(out, n, "/tmp/loci-test-params-%d.json", (int)getpid());
    return out;
}

static void write_text(const char *path, const char *text)
{
    loci_error err = { 0 };
    if (loci_file_replace(NULL, path, text, strlen(text), &err) != LOCI_OK)
        fail_msg("%s", err.text);
}

static void config_round_trip(void **state)
{
    char path[128];
    loci_hparams hp = stream_hparams(), back;
    loci_error err = { 0 };
    (void)state;
    hp.norm_eps = 3e-5f;
    hp.rope_base = 12345.678f;
    memset(&back, 0, sizeof back);
    if (loci_hparams_save(&hp, config_path(path, sizeof path), &err) != LOCI_OK ||
        loci_hparams_load(&back, path, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    assert_memory_equal(&hp, &back, sizeof hp);
    hp.chunk = 32;
    assert_int_equal(loci_hparams_save(&hp, path, &err), LOCI_EINVAL);
    unlink(path);
}

static void config_refused(void **state)
{
    static const struct {
        const char *from, *to, *names;
        loci_status status;
    } bad[] = {
        { "\"loci-1\"", "\"loci-2\"", "loci-2", LOCI_EVERSION },
        { "\"loci-1\"", "7", "architecture", LOCI_EFORMAT },
        { "\"architecture\"", "\"archi\"", "archi", LOCI_EFORMAT },
        { "\"top_k\"", "\"topk\"", "topk", LOCI_EFORMAT },
        { "\"window\": 70", "\"window\": 7", "window", LOCI_EFORMAT },
        { "\"window\": 70", "\"window\": \"70\"", "window", LOCI_EFORMAT },
        { "\"window\": 70", "\"window\": 99999999999999999999", "", LOCI_EFORMAT },
        { "\"window\": 70,", "", "window", LOCI_EFORMAT },
        { "\"enc_dim\": 64", "\"enc_dim\": 96", "enc_dim", LOCI_EINVAL },
        { "{", "[", "", LOCI_EFORMAT },
        { "}", "", "", LOCI_EFORMAT },
    };
    char path[128], text[8192];
    char *good = NULL;
    size_t len = 0;
    loci_hparams hp = stream_hparams(), back;
    loci_error err = { 0 };
    (void)state;
    loci_hparams_save(&hp, config_path(path, sizeof path), &err);
    assert_int_equal(loci_file_load(NULL, path, sizeof text / 2, &good, &len, &err), LOCI_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *at = strstr(good, bad[i].from);
        if (!at) fail_msg("config.json has no %s", bad[i].from);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, bad[i].to,
                 at + strlen(bad[i].from));
        write_text(path, text);
        loci_error e = { 0 };
        const loci_status st = loci_hparams_load(&back, path, &e);
        const bool right =
            st == bad[i].status || (st == LOCI_EINVAL && bad[i].status == LOCI_EFORMAT);
        if (!right || !strstr(e.text, path) || !strstr(e.text, bad[i].names))
            fail_msg("%s -> %s: status %d, %s", bad[i].from, bad[i].to, st, e.text);
    }
    unlink(path);
    memset(&err, 0, sizeof err);
    assert_int_equal(loci_hparams_load(&back, path, &err), LOCI_ENOTFOUND);
    free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bound_once),        cmocka_unit_test(names_and_flags),
        cmocka_unit_test(start_values),      cmocka_unit_test(ranges),
        cmocka_unit_test(config_round_trip), cmocka_unit_test(config_refused),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
