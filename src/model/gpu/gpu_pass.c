/* gpu_pass.c - a batch forward and back on the GPU: memory, order, sums.
 *
 * Everything that a batch needs lies in one block of device memory, planned by functions that are
 * walked twice.  The block grows when a batch needs more and is never given back before the end. */
#include "base/base.h"
#include "model/gpu/gpu_pass_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- parameters --------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int found, low, high, multiple;
} limit;

static loci_status check_shape(const loci_hparams *hp, loci_error *err)
{
    const limit all[] = {
        { "d_model", hp->d_model, 64, 4096, 64 },
        { "d_head", hp->d_head, 64, 64, 1 },
        { "chunk", hp->chunk, 64, 64, 1 },
        { "n_landmarks", hp->n_landmarks, 2, 2, 1 },
        { "d_landmark", hp->d_landmark, 128, 128, 1 },
        { "d_key", hp->d_key, 64, 64, 1 },
        { "d_value", hp->d_value, 64, 64, 1 },
        { "read_heads", hp->read_heads, 8, 8, 1 },
        { "top_k", hp->top_k, 1, LOCI_GPU_PICKS, 1 },
        { "ffn", hp->ffn, 8, 1 << 20, 8 },
        { "read_mlp", hp->read_mlp, 8, 1 << 20, 8 },
        { "enc_mlp", hp->enc_mlp, 8, 1 << 20, 8 },
        { "router_hidden", hp->router_hidden, 8, 1 << 20, 8 },
        { "vocab", hp->vocab, 8, 1 << 24, 8 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].found < all[i].low || all[i].found > all[i].high ||
            all[i].found % all[i].multiple != 0)
            return loci_fail(err, LOCI_EINVAL,
                             "the GPU's kernels want %s from %d to %d in steps of %d, found %d",
                             all[i].name, all[i].low, all[i].high, all[i].multiple, all[i].found);
    return LOCI_OK;
}

loci_status loci_gpu_weights_init(loci_gpu_weights *w, loci_gpu *g, const loci_hparams *hp,
                                  bool train, loci_error *err)
{
    memset(w, 0, sizeof *w);
    loci_hparams shape = *hp;
    if (!train) shape.trained_codes = 0; /* codes are made on the host */
    const loci_status st = check_shape(&shape, err);
    if (st != LOCI_OK) return st;
    w->hp = *hp;
    w->n = loci_param_floats(hp);
    w->p = loci_gpu_alloc(g, w->n * sizeof *w->p);
    w->half = loci_gpu_alloc(g, w->n * sizeof *w->half);
    if (train) w->grad = loci_gpu_alloc(g, w->n * sizeof *w->grad);
    if (!w->p || !w->half || (train && !w->grad)) return loci_gpu_status(g, err);
    loci_params_bind(&w->at, hp, w->p);
    if (train) {
        loci_params_bind(&w->grad_at, hp, w->grad);
        loci_gpu_clear(g, w->grad, w->n * sizeof *w->grad);
    }
    return LOCI_OK;
}

void loci_gpu_weights_free(loci_gpu_weights *w, loci_gpu *g)
{
    if (!g) return;
    loci_gpu_free(g, w->p);
    loci_gpu_free(g, w->half);
    loci_gpu_free(g, w->grad);
    memset(w, 0, sizeof *w);
}

void loci_gpu_weights_upload(loci_gpu_weights *w, loci_gpu *g, const float *param)
{
    loci_gpu_upload(g, w->p, param, w->n * sizeof *param);
    loci_gpu_to_bf16(g, w->half, w->p, w->n);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Floats of partial sums: the largest that any op asks for. */
static size_t part_floats(const loci_gpu_pass *p, bool routed)
{
    const loci_hparams *hp = &p->w->hp;
    const size_t e = (size_t)hp->enc_dim, D = (size_t)hp->d_model, R = (size_t)p->b.n_chunks * 66;
    size_t n = largest((size_t)p->b.n_pieces * D, LOCI_GPU_SPLITS * largest(D, 2 * e));
    n = largest(n, (LOCI_GPU_SPLITS + 1) * 66 * e);
    n = largest(n, R * (e / 64));
    n = largest(n, LOCI_GPU_SPLITS * (size_t)hp->d_summary);
    n = largest(n, loci_gpu_score_parts(p->b.real_chunks));
    n = largest(n, (size_t)p->b.n_kl * LOCI_GPU_READ_HEADS * (size_t)p->b.target_ld);
    if (routed && hp->n_groups > 0)
        n = largest(n, ((size_t)p->b.n * LOCI_GPU_SLOTS / LOCI_GPU_ITEM + (size_t)p->b.real_chunks +
                        1) *
                           64 * 128);
    return n;
}

static void plan_scratch(loci_gpu_pass *p, loci_arena *a, bool routed)
{
    const loci_hparams *hp = &p->w->hp;
    loci_gpu_scratch *s = &p->s;
    const size_t N = (size_t)p->b.n, C = (size_t)p->b.n_chunks, D = (size_t)hp->d_model,
                 e = (size_t)hp->enc_dim;
    const size_t qkv = (size_t)(hp->n_heads + 2 * hp->n_kv_heads) * 64, m = (size_t)hp->enc_mlp;
    const size_t H = LOCI_GPU_HEAD_ROWS, V = (size_t)hp->vocab;
    const size_t wide = largest(largest((size_t)hp->ffn, (size_t)hp->read_mlp),
                                largest(largest(qkv, 512), largest((size_t)hp->router_hidden, e)));
    s->wide = loci_arena_take(a, N * wide, 2);
    s->wide2 = loci_arena_take(a, N * wide, 2);
    s->narrow = loci_arena_take(a, N * D, 2);
    s->dh_half = loci_arena_take(a, N * D, 2);
    s->part = loci_arena_take(a, part_floats(p, routed), 4);
    s->delta = loci_arena_take(a, N * largest((size_t)hp->n_heads, 8), 4);
    s->logits = loci_arena_take(a, H * V, 4);
    s->dlogits = loci_arena_take(a, H * V, 2);
    s->head_x = loci_arena_take(a, H * D, 4);
    s->head_dx = loci_arena_take(a, H * D, 4);
    s->head_inv = loci_arena_take(a, H, 4);
    s->head_xn = loci_arena_take(a, H * D, 2);
    s->head_dxn = loci_arena_take(a, H * D, 2);
    if (hp->n_groups == 0) return;
    s->head_tile = loci_arena_take(a, H * 512, 2);
    s->head_dtile = loci_arena_take(a, H * 512, 2);
    s->pair = loci_arena_take(a, routed ? N * (LOCI_GPU_PICKS + 1) * 512 : 0, 2);
    s->du = loci_arena_take(a, N * 128, 4);
    s->dz = loci_arena_take(a, N, 4);
    s->dw = loci_arena_take(a, N * LOCI_GPU_PICKS, 4);
    s->dhead_w = loci_arena_take(a, N * LOCI_GPU_PICKS * LOCI_GPU_READ_HEADS, 4);
    s->dorder = loci_arena_take(a, hp->order ? N * 64 : 0, 2);
    s->ds = loci_arena_take(a, N * LOCI_GPU_SLOTS, 4);
    for (int i = 0; i < 5; i++) s->coef[i] = loci_arena_take(a, N, 4);
    s->extra = loci_arena_take(a, largest(N * 8, LOCI_GPU_SPLITS * LOCI_GPU_PICKS * 64), 4);
    s->z = loci_arena_take(a, C * 66 * e, 4);
    s->dz_enc = loci_arena_take(a, C * 66 * e, 4);
    s->enc_wide = loci_arena_take(a, C * 66 * largest(3 * e, largest(m, 128)), 2);
    s->enc_half = loci_arena_take(a, C * 66 * e, 2);
    s->enc_narrow = loci_arena_take(a, C * 66 * e, 2);
    s->dcat = loci_arena_take(a, C * 64 * (D + e), 2);
}

static void plan(loci_gpu_pass *p, loci_arena *a, bool routed)
{
    const loci_hparams *hp = &p->w->hp;
    const size_t N = (size_t)p->b.n, C = (size_t)p->b.n_chunks, D = (size_t)hp->d_model;
    p->h = loci_arena_take(a, N * D, 4);
    p->x0 = loci_arena_take(a, N * D, 4);
    p->dh = loci_arena_take(a, N * D, 4);
    p->inv0 = loci_arena_take(a, N, 4);
    for (int l = 0; l < hp->n_lower + hp->n_upper; l++)
        loci_gpu_layer_plan(&p->layer[l], a, hp, p->b.n);
    p->stat = loci_arena_take(a, LOCI_GPU_STATS * N, 4);
    p->sums = loci_arena_take(a, LOCI_GPU_SUMS, sizeof(double));
    p->head_loss = loci_arena_take(a, (size_t)p->b.n_head, 4);
    p->head_best = loci_arena_take(a, (size_t)p->b.n_head, 4);
    p->decode_loss = loci_arena_take(a, (size_t)p->b.n_decode * (size_t)(hp->n_groups + 1), 4);
    p->frequency = loci_arena_take(a, 32, sizeof(double));
    loci_gpu_bare_plan(p, a);
    if (hp->n_groups > 0) {
        loci_gpu_encoder_tape_plan(&p->enc, a, hp, p->b.n, p->b.n_chunks);
        p->content = p->whole = loci_arena_take(a, C * 64 * (size_t)loci_content_cols(hp), 2);
        p->landmark = loci_arena_take(a, C * 2 * 128, 2);
        p->bias = loci_arena_take(a, C, 4);
        p->dcontent = loci_arena_take(a, C * 64 * 128, 4);
        p->dlandmark = loci_arena_take(a, C * 2 * 128, 4);
        p->dbias = loci_arena_take(a, C, 4);
        loci_gpu_tier_plan(&p->tier, a, hp, p->b.n_chunks);
        if (hp->content_bits4) p->whole = p->tier.whole;
        loci_gpu_gist_plan(&p->gist, a, hp, &p->b);
        loci_gpu_codes_plan(&p->code, a, hp, &p->b);
    }
    for (int g = 0; g < hp->n_groups; g++) loci_gpu_read_plan(&p->read[g], a, hp, &p->b, routed);
    plan_scratch(p, a, routed);
}

static loci_status reserve(loci_gpu_pass *p, bool routed, loci_error *err)
{
    loci_arena a = { 0 };
    plan(p, &a, routed);
    if (a.used > p->memory_bytes) {
        loci_gpu_free(p->g, p->memory);
        p->memory_bytes = a.used;
        p->memory = loci_gpu_alloc(p->g, p->memory_bytes);
        if (!p->memory) {
            p->memory_bytes = 0;
            return loci_gpu_status(p->g, err);
        }
    }
    a = (loci_arena){ p->memory, p->memory_bytes, 0 };
    plan(p, &a, routed);
    double frequency[32];
    loci_rope_frequencies(frequency, p->w->hp.rope_base, 64);
    loci_gpu_upload(p->g, p->frequency, frequency, sizeof frequency);
    return loci_gpu_status(p->g, err); /* `frequency` must outlive the copy */
}

loci_status loci_gpu_pass_open(loci_gpu_pass **out, loci_gpu *g, loci_gpu_weights *w,
                               loci_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return loci_fail(err, LOCI_ENOMEM, "no memory for a GPU pass");
    (*out)->g = g;
    (*out)->w = w;
    return LOCI_OK;
}

void loci_gpu_pass_close(loci_gpu_pass *p)
{
    if (!p) return;
    loci_gpu_free(p->g, p->memory);
    free(p->loss_host);
    free(p->best_host);
    free(p);
}

/* ---- order ---------------------------------------------------------------------------------------------- */

void loci_gpu_pass_mark(loci_gpu_pass *p, const char *name)
{
    if (p->n_marks >= LOCI_GPU_PASS_MARKS) return;
    p->mark_name[p->n_marks] = name;
    loci_gpu_mark(p->g, ++p->n_marks);
}

static void clear_batch(loci_gpu_pass *p)
{
    const size_t N = (size_t)p->b.n, C = (size_t)p->b.n_chunks;
    loci_gpu_clear(p->g, p->stat, LOCI_GPU_STATS * N * 4);
    loci_gpu_clear(p->g, p->sums, LOCI_GPU_SUMS * sizeof(double));
    if (p->w->hp.n_groups == 0 || C == 0) return;
    loci_gpu_clear(p->g, p->dcontent, C * 64 * 128 * 4);
    loci_gpu_clear(p->g, p->dlandmark, C * 2 * 128 * 4);
    loci_gpu_clear(p->g, p->dbias, C * 4);
    if (p->w->hp.d_summary)
        loci_gpu_clear(p->g, p->gist.dnode,
                       (size_t)p->b.n_nodes * (size_t)p->w->hp.d_summary * sizeof(float));
}

static void forward(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    loci_gpu_embed(p->g, p->x0, p->inv0, p->w->at.embed.data, p->b.ids, p->b.n, hp->d_model,
                   hp->norm_eps);
    loci_gpu_copy(p->g, p->h, p->x0, (size_t)p->b.n * (size_t)hp->d_model * 4);
    for (int l = 0; l < hp->n_lower; l++)
        loci_gpu_layer_forward(p, &p->w->at.lower[l], &p->layer[l]);
    loci_gpu_pass_mark(p, "lower");
    if (hp->n_groups > 0) {
        loci_gpu_encoder_forward(p);
        loci_gpu_nodes_forward(p);
        loci_gpu_tier_forward(p);
    }
    loci_gpu_pass_mark(p, "encoder");
    loci_gpu_bare_forward(p);
    loci_gpu_upper_forward(p, false);
}

void loci_gpu_upper_forward(loci_gpu_pass *p, bool bare)
{
    const loci_hparams *hp = &p->w->hp;
    const char *name = bare ? "without bank" : "upper";
    for (int l = 0; l < hp->n_upper; l++) {
        const int group = loci_group_at(hp, l);
        if (group >= 0 && bare) loci_gpu_read_block_bare(p, group);
        if (group >= 0 && !bare) {
            loci_gpu_pass_mark(p, name);
            loci_gpu_read_block(p, group);
            loci_gpu_pass_mark(p, "mix");
        }
        loci_gpu_layer_forward(p, &p->w->at.upper[l], &p->layer[hp->n_lower + l]);
    }
    loci_gpu_pass_mark(p, name);
}

static void embed_backward(loci_gpu_pass *p)
{
    const loci_gpu_embed_grad j = { .dtable = p->w->grad_at.embed.data,
                                    .partial = p->s.part,
                                    .dx = p->dh,
                                    .x = p->x0,
                                    .inv = p->inv0,
                                    .order = p->b.order,
                                    .piece_start = p->b.piece_start,
                                    .id_piece = p->b.id_piece,
                                    .id = p->b.id_list,
                                    .n_pieces = p->b.n_pieces,
                                    .n_ids = p->b.n_ids,
                                    .cols = p->w->hp.d_model };
    loci_gpu_embed_bwd(p->g, &j);
}

static void backward(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    const int every = hp->n_groups > 0 ? hp->n_upper / hp->n_groups : 0;
    for (int l = hp->n_upper - 1; l >= 0; l--) {
        loci_gpu_layer_backward(p, &p->w->at.upper[l], &p->w->grad_at.upper[l],
                                &p->layer[hp->n_lower + l]);
        if (every > 0 && l % every == 0) {
            loci_gpu_pass_mark(p, "upper back");
            loci_gpu_read_block_backward(p, l / every);
            loci_gpu_pass_mark(p, "route back");
        }
    }
    loci_gpu_pass_mark(p, "upper back");
    if (hp->n_groups > 0) {
        if (hp->shared_kv) loci_gpu_add_halves(p->g, p->dcontent, p->b.n_chunks * 64);
        loci_gpu_tier_backward(p);
        loci_gpu_nodes_backward(p);
        loci_gpu_encoder_backward(p);
    }
    loci_gpu_pass_mark(p, "encoder back");
    for (int l = hp->n_lower - 1; l >= 0; l--)
        loci_gpu_layer_backward(p, &p->w->at.lower[l], &p->w->grad_at.lower[l], &p->layer[l]);
    embed_backward(p);
    loci_gpu_pass_mark(p, "lower back");
}

/* ---- sums -------------------------------------------------------------------------------------------------- */

static loci_status host_rows(loci_gpu_pass *p, size_t n, loci_error *err)
{
    if (n <= p->host_rows) return LOCI_OK;
    free(p->loss_host);
    free(p->best_host);
    p->loss_host = malloc(n * sizeof *p->loss_host);
    p->best_host = malloc(n * sizeof *p->best_host);
    p->host_rows = p->loss_host && p->best_host ? n : 0;
    return p->host_rows ? LOCI_OK
                        : loci_fail(err, LOCI_ENOMEM, "no memory for the losses of %zu tokens", n);
}

/* Losses of one sequence; *at walks over the head rows, which are in token order. */
static void report_sequence(const loci_gpu_pass *p, const loci_sequence *s, size_t *at,
                            loci_loss_sums *sums)
{
    bool right = true;
    int run = 0;
    for (int t = 0; t <= s->T; t++) {
        const bool target = t < s->T && s->target[t] >= 0,
                   answer = target && s->answer && s->answer[t];
        if (!answer && run > 0) { /* an answer ends: a run of answer tokens */
            sums->n_exact++;
            sums->exact += right;
            right = true;
            run = 0;
        }
        if (!target) continue;
        const double loss = (double)p->loss_host[*at];
        const bool hit = p->best_host[(*at)++] == s->target[t];
        if (answer) {
            sums->ce_answer += loss;
            sums->n_answer++;
            sums->n_answer_right += hit;
            right = right && hit;
            run++;
        } else {
            sums->ce_text += loss;
            sums->n_text++;
        }
    }
}

/* Counts that the host knows, as the CPU pass counts them. */
static void count_queries(const loci_gpu_pass *p, loci_loss_sums *sums)
{
    const loci_gpu_layout *b = &p->b;
    int64_t query = 0;
    for (int r = 0; r < b->real_tokens; r++) {
        const bool reads = b->host.own_lo[r] < b->host.own_hi[r];
        query += reads;
        sums->n_gold += b->host.gold[r] >= 0;
        sums->n_absent += p->opt->routed && b->host.gold[r] == -2;
    }
    sums->n_query += query;
    for (int i = 0; i < b->n_bare; i++)
        for (int k = 0; k < b->stretch[i].n_head; k++) {
            const int r = b->host.head_row[b->stretch[i].head + k];
            sums->n_regret += b->host.own_lo[r] < b->host.own_hi[r];
        }
    for (int c = 0; c < b->real_chunks; c++)
        if (b->host.packed[c]) sums->n_aged += b->host.n_tokens[c];
    sums->n_consult_pairs += query * p->w->hp.n_groups;
    sums->n_kl += b->n_kl;
    sums->n_hash += b->real_codes;
    if (p->w->hp.trained_codes && p->opt->code_every > 0) sums->n_spread += b->n_banks;
}

static loci_status report(loci_gpu_pass *p, const loci_sequence *const *s, int n,
                          loci_loss_sums *sums, loci_error *err)
{
    double stat[LOCI_GPU_STATS], ageing = 0.0, spread = 0.0;
    const size_t rows = (size_t)p->b.n_head,
                 decoded = (size_t)p->b.n_decode * (size_t)p->w->hp.n_groups;
    loci_status st = host_rows(p, rows > decoded ? rows : decoded, err);
    if (st != LOCI_OK) return st;
    loci_gpu_sum_rows(p->g, p->sums, p->stat, LOCI_GPU_STATS, p->b.n);
    loci_gpu_download(p->g, stat, p->sums, sizeof stat);
    loci_gpu_download(p->g, &ageing, p->sums + LOCI_GPU_SUM_AGEING, sizeof ageing);
    loci_gpu_download(p->g, &spread, p->sums + LOCI_GPU_SUM_SPREAD, sizeof spread);
    loci_gpu_download(p->g, p->best_host, p->head_best, rows * sizeof *p->best_host);
    loci_gpu_download(p->g, p->loss_host, p->head_loss, rows * sizeof *p->loss_host);
    if ((st = loci_gpu_status(p->g, err)) != LOCI_OK) return st;
    size_t at = 0;
    for (int i = 0; i < n; i++) report_sequence(p, s[i], &at, sums);
    sums->ageing += ageing;
    sums->spread += spread;
    sums->hash += stat[LOCI_STAT_HASH];
    sums->agreement += stat[LOCI_STAT_AGREEMENT];
    sums->kl += stat[LOCI_STAT_KL];
    sums->oracle += stat[LOCI_STAT_ORACLE];
    sums->recall += stat[LOCI_STAT_RECALL];
    sums->absence += stat[LOCI_STAT_ABSENCE];
    sums->pointer += stat[LOCI_STAT_POINTER];
    sums->gate += stat[LOCI_STAT_GATE];
    sums->consulted += stat[LOCI_STAT_CONSULTED];
    sums->gain += stat[LOCI_STAT_GAIN];
    sums->regret += stat[LOCI_STAT_REGRET];
    if (p->w->hp.n_groups > 0) count_queries(p, sums);
    if (!(p->opt->decode > 0.0f) || decoded == 0) return LOCI_OK;
    loci_gpu_download(p->g, p->loss_host, p->decode_loss, decoded * sizeof *p->loss_host);
    for (size_t i = 0; i < decoded; i++)
        sums->decode += (double)p->loss_host[i] / p->w->hp.n_groups;
    for (int i = 0; i < p->b.n_decode; i++) sums->n_decode += p->b.host.decode_row[i] >= 0;
    return loci_gpu_status(p->g, err);
}

loci_status loci_gpu_pass_run(loci_gpu_pass *p, const loci_gpu_layout *b,
                              const loci_sequence *const *s, int n, const loci_loss_options *opt,
                              bool negatives, bool train, loci_loss_sums *sums, loci_error *err)
{
    p->b = *b; /* the caller keeps the memory */
    p->opt = opt;
    p->negatives = negatives;
    p->train = train;
    p->n_marks = 0;
    const loci_status st = reserve(p, opt->routed, err);
    if (st != LOCI_OK) return st;
    loci_gpu_upload(p->g, b->device_memory, b->host_memory, b->used);
    if (b->n_bare > 0)
        loci_gpu_upload(p->g, b->bare->device_memory, b->bare->host_memory, b->bare->used);
    loci_gpu_mark(p->g, 0);
    clear_batch(p);
    forward(p);
    loci_gpu_head(p);
    loci_gpu_bare_regret(p);
    loci_gpu_decode(p);
    loci_gpu_pass_mark(p, "head");
    loci_gpu_codes(p);
    if (train) backward(p);
    return report(p, s, n, sums, err);
}

int loci_gpu_pass_times(loci_gpu_pass *p, const char **names, float *ms, int cap)
{
    int n = 0;
    for (int i = 0; i < p->n_marks; i++) {
        int at = 0;
        while (at < n && strcmp(names[at], p->mark_name[i]) != 0) at++;
        if (at == n) {
            if (n == cap) continue;
            names[n] = p->mark_name[i];
            ms[n++] = 0.0f;
        }
        ms[at] += loci_gpu_between(p->g, i, i + 1);
    }
    return n;
}
