/* init.c - a run that starts from the weights of another checkpoint.
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

static const loci_mat *matrix(const loci_params *p, const loci_param_info *info)
{
    return (const loci_mat *)(const void *)((const char *)p + info->offset);
}

/* Tensor `to` of the run, which holds its start values, from the checkpoint's of that name. */
static loci_status copy_one(const loci_params *p, const loci_param_info *to, const loci_model *m,
                            const tensor_list *theirs, const char *dir, names *anew,
                            loci_error *err)
{
    const loci_param_info *from = find(theirs, to->name);
    if (!from) {
        /* What banks are made with cannot begin anew, nor what would not start as nothing. */
        if (to->init != LOCI_INIT_ZERO || to->ingest)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s/model.safetensors: tensor %s: expected F32 (%d, %d), found none",
                             dir, to->name, to->rows, to->cols);
        add_name(anew, to->name);
        return LOCI_OK;
    }
    const loci_mat *w = matrix(&m->p, from);
    if (w->type != LOCI_F32 || from->rows != to->rows || from->cols != to->cols)
        return loci_fail(
            err, LOCI_EFORMAT,
            "%s/model.safetensors: tensor %s: expected F32 (%d, %d), found %s (%d, %d)", dir,
            to->name, to->rows, to->cols, loci_dtype_name(w->type), from->rows, from->cols);
    memcpy(matrix(p, to)->data, w->data, (size_t)to->rows * (size_t)to->cols * sizeof(float));
    return LOCI_OK;
}

/* Does the run's `order` take the place of this tensor, read.g.rank? */
static bool replaced(const char *name, const loci_hparams *hp)
{
    static const char end[] = ".rank";
    const size_t n = strlen(name), e = sizeof end - 1;
    return hp->order && strncmp(name, "read.", 5) == 0 && n > e && strcmp(name + n - e, end) == 0;
}

static loci_status copy_all(loci_trainer *t, const loci_model *m, const tensor_list *theirs,
                            const char *dir, names *anew, names *left, loci_error *err)
{
    const loci_hparams *hp = &t->config.hp;
    const tensor_list ours = { t->optim.info, t->optim.n_info };
    loci_params p;
    loci_params_bind(&p, hp, t->optim.param);
    for (int i = 0; i < ours.n; i++) {
        const loci_status st = copy_one(&p, &ours.info[i], m, theirs, dir, anew, err);
        if (st != LOCI_OK) return st;
    }
    for (int i = 0; i < theirs->n; i++) {
        const char *name = theirs->info[i].name;
        if (find(&ours, name)) continue;
        if (!replaced(name, hp))
            return loci_fail(err, LOCI_EFORMAT,
                             "%s/model.safetensors: tensor %s: the config has no such tensor", dir,
                             name);
        add_name(left, name);
    }
    return LOCI_OK;
}

loci_status loci_trainer_init_from(loci_trainer *t, const loci_train_options *opt, loci_error *err)
{
    names anew = { 0 }, left = { 0 };
    loci_model *m;
    loci_status st = loci_model_open(&m, opt->init, 0, err);
    if (st != LOCI_OK) return st;
    const int n = loci_param_list(&m->hp, NULL, 0);
    loci_param_info *info = malloc((size_t)n * sizeof *info);
    if (info) {
        loci_param_list(&m->hp, info, n);
        st = copy_all(t, m, &(tensor_list){ info, n }, opt->init, &anew, &left, err);
    } else {
        st = loci_fail(err, LOCI_ENOMEM, "no memory for the names of %d tensors", n);
    }
    if (st == LOCI_OK && opt->note && anew.len) {
        char line[2 * sizeof anew.text + 128];
        snprintf(line, sizeof line, "begin at 0: %s%s%s%s%s", anew.text, left.len ? "; of " : "",
                 left.len ? opt->init : "", left.len ? " left behind: " : "", left.text);
        opt->note(opt->progress_ctx, line);
    }
    free(info);
    loci_model_close(m);
    return st;
}
