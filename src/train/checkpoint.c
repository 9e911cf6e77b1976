/* checkpoint.c - what training leaves on disk: a checkpoint that the engine opens
 * (config.json, model.safetensors in f32; tokenizer.json was put there at the start) and
 * train_state.safetensors, from which training goes on to the same numbers.
 *
 * The state is written last and holds the parameters itself, so a kill between the two files
 * leaves a pair that still resumes: the state alone decides. */
#include "train/train_impl.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char state_name[] = "train_state.safetensors";

/* Counters as one int64 tensor: fixed order, appended to only. */
enum { N_COUNTERS = 6 };
static void counters_out(int64_t *x, const loci_train_state *s)
{
    int64_t bits[2];
    memcpy(&bits[0], &s->gate_multiplier, 8);
    memcpy(&bits[1], &s->gate_mean, 8);
    const int64_t v[N_COUNTERS] = {
        s->step, s->tokens, s->phase, s->phase_tokens, bits[0], bits[1]
    };
    memcpy(x, v, sizeof v);
}

static void counters_in(loci_train_state *s, const int64_t *x)
{
    s->step = x[0];
    s->tokens = x[1];
    s->phase = x[2];
    s->phase_tokens = x[3];
    memcpy(&s->gate_multiplier, &x[4], 8);
    memcpy(&s->gate_mean, &x[5], 8);
}

static loci_tensor_view view_of(const char *name, loci_dtype type, const void *data, size_t n)
{
    loci_tensor_view v = { .name = name, .dtype = type, .n_dims = 1, .data = data };
    v.dim[0] = (int64_t)n;
    v.bytes = n * loci_dtype_size(type);
    return v;
}

loci_status loci_checkpoint_save(const char *dir, const loci_train_config *c, const loci_optim *o,
                                 const loci_model *m, const loci_train_state *s, loci_error *err)
{
    char path[4096], hash[32], step[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)c->identity);
    snprintf(step, sizeof step, "%lld", (long long)s->step);
    const char *const meta[] = { "train_config", hash, "step", step, NULL };
    loci_status st = loci_model_save(m, dir, LOCI_F32, meta, err);
    if (st != LOCI_OK) return st;
    st = loci_path_join(path, sizeof path, dir, state_name, err);
    if (st != LOCI_OK) return st;
    int64_t counters[N_COUNTERS];
    counters_out(counters, s);
    const loci_tensor_view t[] = {
        view_of("counters", LOCI_I64, counters, N_COUNTERS),
        view_of("param", LOCI_F32, o->param, o->n),
        view_of("m", LOCI_F32, o->m, o->n),
        view_of("v", LOCI_F32, o->v, o->n),
    };
    return loci_st_write(NULL, path, t, (int)(sizeof t / sizeof *t), meta, err);
}

/* Copy tensor `name` of exactly n elements. */
static loci_status take(const loci_st *f, const char *path, const char *name, loci_dtype type,
                        void *out, size_t n, loci_error *err)
{
    const loci_tensor_view *v = loci_st_find(f, name);
    if (!v || v->dtype != type || v->bytes != n * loci_dtype_size(type))
        return loci_fail(err, LOCI_EFORMAT, "%s: tensor %s: expected %zu x %s, found %s", path,
                         name, n, loci_dtype_name(type), v ? loci_dtype_name(v->dtype) : "none");
    if (n > 0) memcpy(out, v->data, v->bytes);
    return LOCI_OK;
}

loci_status loci_checkpoint_load(const char *dir, const loci_train_config *c, loci_optim *o,
                                 loci_train_state *s, loci_error *err)
{
    char path[4096], hash[32];
    loci_error local = { 0 };
    loci_st *f;
    loci_status st = loci_path_join(path, sizeof path, dir, state_name, err);
    if (st != LOCI_OK) return st;
    st = loci_st_open(&f, path, &local);
    if (st == LOCI_ENOTFOUND) return st;
    if (st != LOCI_OK) return loci_fail(err, st, "%s", local.text);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)c->identity);
    const char *found = loci_st_meta(f, "train_config");
    if (!found || strcmp(found, hash) != 0)
        st = loci_fail(err, LOCI_EMODEL, "%s: made with another config: expected %s, found %s",
                       path, hash, found ? found : "none");
    int64_t counters[N_COUNTERS];
    if (st == LOCI_OK) st = take(f, path, "counters", LOCI_I64, counters, N_COUNTERS, err);
    if (st == LOCI_OK) {
        counters_in(s, counters);
        if (s->phase < 0 || s->phase > c->n_phases || s->step < 0 || s->tokens < 0 ||
            s->phase_tokens < 0)
            st = loci_fail(err, LOCI_EFORMAT, "%s: counters out of range", path);
    }
    if (st == LOCI_OK) st = take(f, path, "param", LOCI_F32, o->param, o->n, err);
    if (st == LOCI_OK) st = take(f, path, "m", LOCI_F32, o->m, o->n, err);
    if (st == LOCI_OK) st = take(f, path, "v", LOCI_F32, o->v, o->n, err);
    loci_st_close(f);
    return st;
}

/* Columns of log.csv behind step, tokens and phase. */
#define C(name, digits)                                                                            \
    {                                                                                              \
#name, offsetof(loci_train_progress, name), digits                                         \
    }
static const struct {
    const char *name;
    size_t offset;
    int digits;
} column[] = {
    C(loss_text, 4),    C(loss_answer, 4), C(answer_right, 4),      C(exact, 4),
    C(loss_kl, 4),      C(loss_oracle, 4), C(loss_absent, 4),       C(loss_pointer, 4),
    C(loss_decode, 4),  C(loss_ageing, 4), C(loss_hash, 4),         C(code_agreement, 4),
    C(consult_rate, 4), C(regret, 6),      C(reading_gain, 6),      C(router_recall, 4),
    C(lr, 6),           C(grad_norm, 3),   C(tokens_per_second, 0), C(seconds, 1),
};
#undef C
enum { N_COLUMNS = sizeof column / sizeof *column };

loci_status loci_train_log(const char *dir, const loci_train_progress *p, loci_error *err)
{
    char path[4096], line[2000];
    const size_t room = sizeof line;
    loci_status st = loci_path_join(path, sizeof path, dir, "log.csv", err);
    if (st != LOCI_OK) return st;
    loci_file f;
    int64_t size = 0;
    st = loci_file_open(&f, NULL, path, O_WRONLY | O_CREAT, err);
    if (st != LOCI_OK) return st;
    st = loci_file_size(&f, path, &size, err);
    size_t n = 0;
    if (size == 0) {
        n += (size_t)snprintf(line, room, "step,tokens,phase");
        for (int i = 0; i < N_COLUMNS; i++)
            n += (size_t)snprintf(line + n, room - n, ",%s", column[i].name);
        n += (size_t)snprintf(line + n, room - n, "\n");
    }
    n += (size_t)snprintf(line + n, room - n, "%lld,%lld,%s", (long long)p->step,
                          (long long)p->tokens, p->phase);
    for (int i = 0; i < N_COLUMNS; i++) {
        double v;
        memcpy(&v, (const char *)p + column[i].offset, sizeof v);
        n += (size_t)snprintf(line + n, room - n, ",%.*f", column[i].digits, v);
    }
    n += (size_t)snprintf(line + n, room - n, "\n");
    if (st == LOCI_OK) st = loci_file_write(&f, path, line, n, size, err);
    const loci_status closed = loci_file_close(&f, err);
    return st != LOCI_OK ? st : closed;
}
