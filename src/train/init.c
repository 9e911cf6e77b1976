/* init.c - a run that starts from the weights of another checkpoint, in whatever form they are stored.
 *
 * The checkpoint is opened as what its own config.json says it is; then every tensor of the run is
 * copied from the one of its name.  Two shapes need not be the same: a run may have a switch of the
 * upper stack on that the checkpoint lacks, if the switch's tensors start at 0, doing nothing: `order`.
 * What it takes the place of is left behind.  Everything else that differs is refused by its name. */
#include "train/trainer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const loci_param_info *info;
    int n;
} tensor_list;

typedef struct { /* ", "-joined names, cut where the room ends */
    char text[1024];
    size_t len;
} names;

static void add_name(names *s, const char *name)
{
    const int n =
        snprintf(s->text + s->len, sizeof s->text - s->len, "%s%s", s->len ? ", " : "", name);
    s->len += (size_t)n < sizeof s->text - s->len ? (size_t)n : sizeof s->text - 1 - s->len;
}

static const loci_param_info *find(const tensor_list *l, const char *name)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->info[i].name, name) == 0) return &l->info[i];
    return NULL;
}

typedef struct { /* the checkpoint: its tensors, all of them widened to f32 */
    tensor_list list;
    loci_params p;
    const char *dir;
} source;

/* Tensor `to` of the run, which holds its start values, from the checkpoint's of that name. */
static loci_status copy_one(const loci_params *p, const loci_param_info *to, const source *s,
                            names *anew, loci_error *err)
{
    const loci_param_info *from = find(&s->list, to->name);
    if (!from) {
        /* What banks are made with cannot begin anew, nor what would not start as nothing. */
        if (to->init != LOCI_INIT_ZERO || to->ingest)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s/model.safetensors: tensor %s: expected (%d, %d), found none",
                             s->dir, to->name, to->rows, to->cols);
        add_name(anew, to->name);
        return LOCI_OK;
    }
    if (from->rows != to->rows || from->cols != to->cols)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s/model.safetensors: tensor %s: expected (%d, %d), found (%d, %d)",
                         s->dir, to->name, to->rows, to->cols, from->rows, from->cols);
    memcpy(loci_param_at(p, to)->data, loci_param_at(&s->p, from)->data,
           (size_t)to->rows * (size_t)to->cols * sizeof(float));
    return LOCI_OK;
}

/* Does the run's `order` take the place of this tensor, read.g.rank? */
static bool replaced(const char *name, const loci_hparams *hp)
{
    static const char end[] = ".rank";
    const size_t n = strlen(name), e = sizeof end - 1;
    return hp->order && strncmp(name, "read.", 5) == 0 && n > e && strcmp(name + n - e, end) == 0;
}

static loci_status copy_all(loci_trainer *t, const source *s, names *anew, names *left,
                            loci_error *err)
{
    const loci_hparams *hp = &t->config.hp;
    const tensor_list ours = { t->optim.info, t->optim.n_info };
    loci_params p;
    loci_params_bind(&p, hp, t->optim.param);
    for (int i = 0; i < ours.n; i++) {
        const loci_status st = copy_one(&p, &ours.info[i], s, anew, err);
        if (st != LOCI_OK) return st;
    }
    for (int i = 0; i < s->list.n; i++) {
        const char *name = s->list.info[i].name;
        if (find(&ours, name)) continue;
        if (!replaced(name, hp))
            return loci_fail(err, LOCI_EFORMAT,
                             "%s/model.safetensors: tensor %s: the config has no such tensor",
                             s->dir, name);
        add_name(left, name);
    }
    return LOCI_OK;
}

static void say(const loci_train_options *opt, const names *anew, const names *left)
{
    char line[2 * sizeof anew->text + 128];
    if (!opt->note || !anew->len) return;
    snprintf(line, sizeof line, "begin at 0: %s%s%s%s%s", anew->text, left->len ? "; of " : "",
             left->len ? opt->init : "", left->len ? " left behind: " : "", left->text);
    opt->note(opt->progress_ctx, line);
}

loci_status loci_trainer_init_from(loci_trainer *t, const loci_train_options *opt, loci_error *err)
{
    names anew = { 0 }, left = { 0 };
    source s = { .dir = opt->init };
    loci_model *m;
    loci_status st = loci_model_open(&m, opt->init, 0, err);
    if (st != LOCI_OK) return st;
    const int n = s.list.n = loci_param_list(&m->hp, NULL, 0);
    loci_param_info *info = malloc((size_t)n * sizeof *info);
    float *base = loci_alloc_aligned(loci_param_floats(&m->hp) * sizeof *base);
    if (info && base) {
        loci_param_list(&m->hp, info, n);
        s.list.info = info;
        loci_params_bind(&s.p, &m->hp, base);
        st = loci_model_widen(m, base, err);
    } else {
        st = loci_fail(err, LOCI_ENOMEM, "no memory for the %d tensors of %s", n, opt->init);
    }
    if (st == LOCI_OK) st = copy_all(t, &s, &anew, &left, err);
    if (st == LOCI_OK) say(opt, &anew, &left);
    loci_free_aligned(base);
    free(info);
    loci_model_close(m);
    return st;
}
