/* deepseek_info.c - what a model of the DeepSeek-V4 family is and needs, from its shape and, where the
 * weights are there, from the sizes of their tensors. */
#include "engine/deepseek.h"
#include <string.h>

bool loci_deepseek_is(const char *path)
{
    return path && loci_dsv4_is(path);
}

static void fill_shape(loci_deepseek_info *info, const loci_dsv4_hparams *hp)
{
    static const char *const family[] = { [LOCI_DSV4_V4] = "deepseek-v4",
                                          [LOCI_DSV4_DSPARK] = "deepseek-v4-dspark",
                                          [LOCI_DSV4_V41] = "deepseek-v4.1" };
    static const char *const type[] = { [LOCI_DSV4_EXPERT_PLAIN] = "plain",
                                        [LOCI_DSV4_EXPERT_FP8] = "fp8",
                                        [LOCI_DSV4_EXPERT_FP4] = "fp4" };
    snprintf(info->architecture, sizeof info->architecture, "%s", family[hp->family]);
    snprintf(info->expert_type, sizeof info->expert_type, "%s", type[hp->expert_type]);
    info->vocab = hp->vocab;
    info->d_model = hp->hidden;
    info->n_layers = hp->n_layers;
    for (int l = 0; l < hp->n_layers; l++) {
        const loci_dsv4_kind kind = hp->layer[l].kind;
        info->n_window += kind == LOCI_DSV4_WINDOW;
        info->n_csa += kind == LOCI_DSV4_CSA;
        info->n_hca += kind == LOCI_DSV4_HCA;
        info->n_hash += hp->layer[l].hash;
    }
    info->n_heads = hp->n_heads;
    info->d_head = hp->head_dim;
    info->window = hp->window;
    info->index_top_k = hp->index_topk;
    info->n_experts = hp->n_experts;
    info->n_active = hp->n_active;
    info->n_draft = hp->family == LOCI_DSV4_DSPARK ? hp->draft_stages : hp->n_mtp;
    info->max_tokens = hp->max_positions;
}

/* The weights at path, as they are stored. */
static loci_status weigh(loci_dsv4_cost *cost, const char *path, loci_error *err)
{
    loci_dsv4_files *f;
    const loci_status st = loci_dsv4_files_open(&f, path, err);
    if (st != LOCI_OK) return st;
    loci_dsv4_cost_stored(cost, loci_dsv4_files_shape(f), loci_dsv4_files_source(f));
    loci_dsv4_files_close(f);
    return LOCI_OK;
}

static loci_status fill_costs(loci_deepseek_info *info, const loci_dsv4_hparams *hp,
                              const char *path, int64_t file_bytes, loci_error *err)
{
    loci_dsv4_cost cost;
    if (hp->family == LOCI_DSV4_V41) return LOCI_OK;
    loci_status st = loci_dsv4_cost_of(&cost, hp, err);
    if (st == LOCI_OK && file_bytes > 0) st = weigh(&cost, path, err);
    if (st != LOCI_OK) return st;
    info->costs = true;
    info->parameters = cost.parameters;
    info->active = cost.active;
    info->draft_parameters = cost.draft_parameters;
    info->weight_bytes = cost.weight_bytes;
    info->dense_bytes = cost.dense_bytes;
    info->expert_bytes = cost.expert_bytes;
    info->state_bytes = cost.state_bytes;
    info->context_bytes_per_token = cost.bytes_per_token;
    return LOCI_OK;
}

loci_status loci_deepseek_describe(const char *path, loci_deepseek_info *info, loci_error *err)
{
    loci_dsv4_hparams hp;
    int64_t bytes = 0;
    memset(info, 0, sizeof *info);
    if (!path) return loci_fail(err, LOCI_EINVAL, "loci_deepseek_describe: path is not set");
    loci_status st = loci_dsv4_shape_load(&hp, path, &bytes, err);
    if (st == LOCI_OK) fill_shape(info, &hp);
    if (st == LOCI_OK) st = fill_costs(info, &hp, path, bytes, err);
    if (st == LOCI_OK)
        info->file_bytes = bytes;
    else
        memset(info, 0, sizeof *info);
    return st;
}
