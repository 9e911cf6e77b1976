/* engine.c - a loaded model with its tokenizer and threads; what a checkpoint needs. */
#include "engine/engine.h"
#include "engine/ask_impl.h"
#include "engine/deepseek.h"
#include "engine/gpu_engine.h"
#include "engine/postings.h"
#include "loci/bench.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STR_(x) #x
#define STR(x)  STR_(x)

const char *loci_version(void)
{
    return STR(LOCI_VERSION_MAJOR) "." STR(LOCI_VERSION_MINOR) "." STR(LOCI_VERSION_PATCH);
}

loci_engine_options loci_engine_options_default(void)
{
    return (loci_engine_options){ 0 };
}

/* Bytes of one chunk on disk and in memory: the columns of engine.h's segment. */
static void bank_costs(const loci_hparams *hp, loci_model_info *info)
{
    const double m = hp->n_landmarks, s = hp->chunk;
    const double codes = m * 16, landmarks = m * (hp->d_landmark + 4.0) + 4;
    const double content =
        s * (hp->content_bits4 ? LOCI_PACK / 2 + LOCI_PACK / 16 : loci_content_cols(hp) + 8.0);
    const double summary = hp->d_summary > 0 ? hp->d_summary + 4.0 : 0.0;
    /* What a block of 16,384 chunks may have at most. */
    const double postings = hp->postings ? 4.0 * (LOCI_POSTINGS_ENTRIES + 1) : 0.0;
    /* Of a bank of a million tokens or more: its landmarks once more, each with scale, bias, chunk. */
    const double buckets = m * (hp->d_landmark + 12.0);
    const double ids = s * (hp->vocab <= 65536 ? 2 : 4), places = 17;
    info->bank_bytes_per_token =
        (codes + landmarks + buckets + content + summary + postings + ids + places) / s;
    info->resident_bytes_per_token = codes / s;
}

static int64_t *stored_as(loci_model_info *info, loci_dtype type)
{
    return type == LOCI_U8     ? &info->stored_int4
           : type == LOCI_I8   ? &info->stored_int8
           : type == LOCI_BF16 ? &info->stored_bf16
                               : &info->stored_f32;
}

static loci_status fill_info(const loci_model *m, const char *dir, loci_model_info *info,
                             loci_error *err)
{
    char path[4096];
    struct stat st;
    const loci_hparams *hp = &m->hp;
    const bool reads = hp->n_groups > 0;
    const loci_status status = loci_path_join(path, sizeof path, dir, "model.safetensors", err);
    if (status != LOCI_OK) return status;
    memset(info, 0, sizeof *info);
    snprintf(info->architecture, sizeof info->architecture, "loci-1");
    for (int i = 0; i < 16; i++) snprintf(info->fingerprint + 2 * i, 3, "%02x", m->fingerprint[i]);
    info->bos = LOCI_TOK_BOS;
    info->end = LOCI_TOK_E;
    info->vocab = hp->vocab;
    info->d_model = hp->d_model;
    info->window = hp->window;
    info->chunk = hp->chunk;
    info->n_lower = hp->n_lower;
    info->n_upper = hp->n_upper;
    info->n_groups = hp->n_groups;
    info->top_k = hp->top_k;
    const int n = loci_param_list(hp, NULL, 0);
    loci_param_info *list = calloc((size_t)n, sizeof *list);
    if (!list) return loci_fail(err, LOCI_ENOMEM, "no memory for %d tensors", n);
    loci_param_list(hp, list, n);
    for (int i = 0; i < n; i++) {
        const int64_t numbers = (int64_t)list[i].rows * list[i].cols;
        info->parameters += numbers;
        *stored_as(info, loci_param_at(&m->p, &list[i])->type) += numbers;
    }
    free(list);
    info->weight_bytes = stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
    info->session_bytes = (int64_t)loci_stream_bytes(hp, LOCI_ASK_BATCH);
    if (reads) info->ingest_bytes_per_thread = (int64_t)loci_ingest_bytes(hp, LOCI_INGEST_SPAN);
    if (reads) bank_costs(hp, info);
    return LOCI_OK;
}

loci_status loci_model_describe(const char *model_dir, loci_model_info *info, loci_error *err)
{
    loci_model *m;
    memset(info, 0, sizeof *info);
    loci_status st = loci_model_open(&m, model_dir, 0, err);
    if (st != LOCI_OK) return st;
    st = fill_info(m, model_dir, info, err);
    loci_model_close(m);
    return st;
}

static loci_status load_deepseek(loci_engine *e, const loci_engine_options *opt, unsigned flags,
                                 loci_error *err)
{
    loci_error why = { 0 };
    if (opt->compute)
        return loci_fail(err, LOCI_EINVAL, "compute: DeepSeek-V4 models have a mode instead");
    loci_status st = loci_deepseek_open(&e->deepseek, opt, flags, err);
    if (st != LOCI_OK) return st;
    st = loci_dsv4_tokenizer(&e->tok, e->deepseek->files, &why);
    if (st != LOCI_OK && st != LOCI_ENOTFOUND) return loci_fail(err, st, "%s", why.text);
    loci_deepseek_info_fill(e->deepseek, &e->info);
    return LOCI_OK;
}

static loci_status parse_compute(const char *name, loci_compute *out, loci_error *err)
{
    *out = LOCI_COMPUTE_AUTO;
    if (!name) return LOCI_OK;
    *out = strcmp(name, "int8") == 0   ? LOCI_COMPUTE_INT8
           : strcmp(name, "int4") == 0 ? LOCI_COMPUTE_INT4
                                       : LOCI_COMPUTE_F32;
    if (*out != LOCI_COMPUTE_F32 || strcmp(name, "f32") == 0) return LOCI_OK;
    return loci_fail(err, LOCI_EINVAL, "compute: expected int8, int4 or f32, found %.40s", name);
}

static loci_status load_loci(loci_engine *e, const loci_engine_options *opt, unsigned flags,
                             loci_error *err)
{
    char path[4096];
    loci_compute compute;
    loci_status st = parse_compute(opt->compute, &compute, err);
    if (st == LOCI_OK) st = loci_model_open(&e->model, opt->model_dir, flags, err);
    if (st == LOCI_OK) st = loci_model_prepare(e->model, compute, err);
    if (st == LOCI_OK)
        st = loci_path_join(path, sizeof path, opt->model_dir, "tokenizer.json", err);
    if (st == LOCI_OK) st = loci_tokenizer_open(&e->tok, path, err);
    return st == LOCI_OK ? fill_info(e->model, opt->model_dir, &e->info, err) : st;
}

static loci_status engine_load(loci_engine *e, const loci_engine_options *opt, loci_error *err)
{
    unsigned flags = 0;
    int device = -1;
    loci_status st = loci_device_parse(opt->device, &device, err);
    if (st == LOCI_OK)
        st = loci_cpu_limit(opt->cpu ? opt->cpu : "native", loci_cpu_detect(), &flags, err);
    if (st == LOCI_OK) st = loci_pool_open(&e->pool, opt->threads, err);
    if (st == LOCI_OK && device >= 0 && loci_dsv4_is(opt->model_dir))
        return loci_fail(err, LOCI_EMODEL, "%s: DeepSeek-V4 models run on the CPU, device is %s",
                         opt->model_dir, opt->device);
    if (st == LOCI_OK)
        st = loci_dsv4_is(opt->model_dir) ? load_deepseek(e, opt, flags, err)
                                          : load_loci(e, opt, flags, err);
    if (st != LOCI_OK) return st;
    if (e->tok && loci_tokenizer_vocab(e->tok) > e->info.vocab)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: a tokenizer of %d entries, the model's vocabulary has %d",
                         opt->model_dir, loci_tokenizer_vocab(e->tok), e->info.vocab);
    st = loci_bench_kernels_for(opt->cpu, e->kernels, sizeof e->kernels, err);
    if (st != LOCI_OK || device < 0) return st;
    return loci_gpu_engine_open(&e->gpu, e->model, device, err);
}

loci_status loci_engine_open(loci_engine **out, const loci_engine_options *opt, loci_error *err)
{
    *out = NULL;
    if (!opt || !opt->model_dir)
        return loci_fail(err, LOCI_EINVAL, "loci_engine_open: model_dir is not set");
    loci_engine *e = calloc(1, sizeof *e);
    if (!e) return loci_fail(err, LOCI_ENOMEM, "no memory for an engine");
    const loci_status st = engine_load(e, opt, err);
    if (st != LOCI_OK) {
        loci_engine_close(e);
        return st;
    }
    *out = e;
    return LOCI_OK;
}

void loci_engine_close(loci_engine *e)
{
    if (!e) return;
    loci_gpu_engine_close(e->gpu);
    loci_tokenizer_close(e->tok);
    loci_model_close(e->model);
    loci_deepseek_close(e->deepseek);
    loci_pool_close(e->pool);
    free(e);
}

loci_status loci_engine_need_reads(const loci_engine *e, loci_error *err)
{
    if (e->deepseek)
        return loci_fail(err, LOCI_EMODEL,
                         "a DeepSeek-V4 model has no banks: it generates and gives logits");
    if (e->model->hp.n_groups > 0) return LOCI_OK;
    return loci_fail(
        err, LOCI_EMODEL,
        "this model has no Read blocks (n_groups is 0): it can neither ingest nor ask, "
        "only generate and give logits");
}

const loci_model_info *loci_engine_info(const loci_engine *e)
{
    return &e->info;
}
const loci_tokenizer *loci_engine_tokenizer(const loci_engine *e)
{
    return e->tok;
}
loci_expert_stats loci_engine_experts(const loci_engine *e)
{
    if (!e->deepseek || !e->deepseek->paging) return (loci_expert_stats){ 0 };
    const loci_dsv4_paging_stats p = loci_dsv4_paging_read(e->deepseek->paging);
    return (loci_expert_stats){ p.hits, p.misses, p.bytes_read };
}
const char *loci_engine_kernels(const loci_engine *e)
{
    return e->kernels;
}
const char *loci_engine_gpu(const loci_engine *e)
{
    return e->gpu ? loci_gpu_engine_name(e->gpu) : NULL;
}
