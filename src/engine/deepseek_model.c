/* deepseek_model.c - a DeepSeek-V4 checkpoint within an engine: files, weights, mode, and experts
 * under a budget when there is one. */
#include "engine/deepseek.h"
#include <stdlib.h>
#include <string.h>

/* The mode that the weights were made for. */
static loci_status choose_mode(const loci_dsv4_files *f, const char *name, loci_dsv4_mode *mode,
                               loci_error *err)
{
    if (name) return loci_dsv4_mode_parse(name, mode, err);
    *mode = loci_dsv4_files_gguf(f) ? LOCI_DSV4_MODE_FAST
            : loci_dsv4_files_shape(f)->expert_type == LOCI_DSV4_EXPERT_PLAIN
                ? LOCI_DSV4_MODE_F32
                : LOCI_DSV4_MODE_EXACT;
    return LOCI_OK;
}

static loci_status load(loci_deepseek *d, const loci_engine_options *opt, unsigned cpu_flags,
                        loci_error *err)
{
    loci_dsv4_mode mode = LOCI_DSV4_MODE_F32;
    loci_dsv4_weights w;
    loci_status st = loci_dsv4_files_open(&d->files, opt->model_dir, err);
    if (st == LOCI_OK) st = choose_mode(d->files, opt->mode, &mode, err);
    if (st == LOCI_OK && opt->expert_bytes > 0)
        st = loci_dsv4_paging_open(&d->paging, d->files, opt->expert_bytes, NULL, err);
    if (st != LOCI_OK) return st;
    const loci_dsv4_hparams *hp = loci_dsv4_files_shape(d->files);
    loci_dsv4_pager pager = { 0 };
    if (d->paging) pager = loci_dsv4_paging_pager(d->paging);
    st = loci_dsv4_bind(&w, hp, loci_dsv4_files_source(d->files), d->paging ? &pager : NULL, err);
    if (st != LOCI_OK) return st;
    return loci_dsv4_init(&d->m, hp, &w, cpu_flags, mode, 0, err);
}

loci_status loci_deepseek_open(loci_deepseek **out, const loci_engine_options *opt,
                               unsigned cpu_flags, loci_error *err)
{
    *out = NULL;
    loci_deepseek *d = calloc(1, sizeof *d);
    if (!d) return loci_fail(err, LOCI_ENOMEM, "no memory for a model");
    const loci_status st = load(d, opt, cpu_flags, err);
    if (st != LOCI_OK) {
        loci_deepseek_close(d);
        return st;
    }
    *out = d;
    return LOCI_OK;
}

void loci_deepseek_close(loci_deepseek *d)
{
    if (!d) return;
    loci_dsv4_free(&d->m);
    loci_dsv4_paging_close(d->paging);
    loci_dsv4_files_close(d->files);
    free(d);
}

void loci_deepseek_info_fill(const loci_deepseek *d, loci_model_info *info)
{
    const loci_dsv4_hparams *hp = &d->m.hp;
    memset(info, 0, sizeof *info);
    snprintf(info->architecture, sizeof info->architecture, "deepseek-v4");
    info->vocab = hp->vocab;
    info->d_model = hp->hidden;
    info->window = hp->window;
    info->bos = hp->bos;
    info->end = hp->eos;
}
