/* pass.c - one sequence through the model and back, for training.
 *
 *   1 lower            ids -> x0 -> lower layers -> h_lo -> encoder -> bank
 *   2 upper            h_lo -> [Read; layers] x groups -> head; losses; backward to h_lo, bank
 *   3 lower_backward   encoder and lower layers, once the bank's gradient is complete
 *
 * Three steps because sequences of a batch are each other's negatives: step 2 of one adds to the
 * bank gradient of another.  One tape holds a whole sequence; its memory is planned for T tokens
 * and nothing is allocated afterwards. */
#include "model/model_impl.h"

#include <string.h>

/* Room for the short last chunks of many documents.  Without readers there is no bank. */
static int chunks_max(const loci_hparams *hp, int T)
{
    return hp->n_groups ? 2 * (T / hp->chunk) + 8 : 0;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t scratch_floats(const loci_hparams *hp, int T, int capacity)
{
    size_t n = loci_window_backward_scratch(hp, T);
    n = max_size(n, loci_encoder_scratch(hp, (T + hp->chunk - 1) / hp->chunk, true));
    n = max_size(n, loci_read_scratch(hp, T, capacity));
    n = max_size(n, loci_decode_scratch(hp));
    n = max_size(n, loci_code_loss_scratch(hp));
    return max_size(n, loci_head_scratch(hp));
}

static void bank_plan(loci_chunks *b, loci_arena *a, const loci_hparams *hp, int T, int capacity)
{
    const size_t C = (size_t)capacity, rows = C * (size_t)hp->chunk, f = sizeof(float);
    const size_t w = (size_t)loci_content_cols(hp), wd = (size_t)(hp->d_key + hp->d_value);
    const size_t l = (size_t)(hp->n_landmarks * hp->d_landmark);
    b->n = 0;
    b->n_tokens = loci_arena_take(a, C, sizeof(int32_t));
    b->first_query = loci_arena_take(a, C, sizeof(int32_t));
    b->n_eligible = loci_arena_take(a, (size_t)T, sizeof(int32_t));
    b->content = loci_arena_take(a, rows * w, f);
    b->landmark = loci_arena_take(a, C * l, f);
    b->bias = loci_arena_take(a, C, f);
    b->dcontent = loci_arena_take(a, rows * wd, f);
    b->dlandmark = loci_arena_take(a, C * l, f);
    b->dbias = loci_arena_take(a, C, f);
    b->summary = b->dsummary = NULL;
    if (!hp->d_summary) return;
    b->summary = loci_arena_take(a, C * (size_t)hp->d_summary, f);
    b->dsummary = loci_arena_take(a, C * (size_t)hp->d_summary, f);
}

/* Everything of a pass; *t receives the pointers. */
static void plan(loci_pass *t, loci_arena *a, const loci_hparams *hp, int T)
{
    const size_t n = (size_t)T, D = (size_t)hp->d_model, f = sizeof(float);
    const size_t kv = n * (size_t)(hp->n_kv_heads * hp->d_head);
    t->hp = *hp;
    t->T = T;
    t->capacity = chunks_max(hp, T);
    loci_rope_plan(&t->rope, a, T);
    t->pos = loci_arena_take(a, n, sizeof(int32_t));
    t->best = loci_arena_take(a, n, sizeof(int32_t));
    t->ce = loci_arena_take(a, n, f);
    t->regret = loci_arena_take(a, n, f);
    t->x0 = loci_arena_take(a, n * D, f);
    t->inv0 = loci_arena_take(a, n, f);
    t->h_lo = loci_arena_take(a, n * D, f);
    t->dh_lo = loci_arena_take(a, n * D, f);
    t->h = loci_arena_take(a, n * D, f);
    t->dk = loci_arena_take(a, kv, f);
    t->dv = loci_arena_take(a, kv, f);
    t->scratch = loci_arena_take(a, scratch_floats(hp, T, t->capacity), f);
    float *act = loci_arena_take(a, n * (size_t)hp->ffn, f); /* of whichever layer runs */
    for (int l = 0; l < hp->n_lower + hp->n_upper; l++) {
        t->k[l] = loci_arena_take(a, kv, f);
        t->v[l] = loci_arena_take(a, kv, f);
        loci_window_plan_with(l < hp->n_lower ? &t->lower[l] : &t->upper[l - hp->n_lower], a, hp, T,
                              act);
    }
    t->encoder = t->capacity ? loci_encoder_plan_with(a, hp, T, t->capacity, t->scratch) : NULL;
    bank_plan(&t->bank, a, hp, T, t->capacity);
    loci_tier_plan(&t->tier, a, hp, t->capacity);
    loci_gist_plan(&t->gist, a, hp, T, t->capacity);
    float *mix_act = loci_arena_take(a, loci_mix_act(hp, T), f);
    for (int g = 0; g < hp->n_groups; g++)
        loci_read_plan(&t->read[g], a, hp, T, t->capacity, mix_act);
}

size_t loci_pass_bytes(const loci_hparams *hp, int T)
{
    loci_arena a = { 0 };
    loci_pass t;
    loci_arena_take(&a, 1, sizeof t);
    plan(&t, &a, hp, T);
    return a.used;
}

loci_pass *loci_pass_init(const loci_hparams *hp, int T, void *memory)
{
    loci_arena a = { memory, loci_pass_bytes(hp, T), 0 };
    loci_pass *t = loci_arena_take(&a, 1, sizeof *t);
    plan(t, &a, hp, T);
    loci_rope_fill(&t->rope, hp->rope_base, hp->d_head);
    return t;
}

/* ---- step 1 ------------------------------------------------------------------------------ */

/* Does document d go into the bank? */
static bool has_chunks(const loci_hparams *hp, const loci_sequence *s, int d)
{
    return hp->n_groups > 0 && s->banked[d];
}

static loci_status check_documents(const loci_pass *t, const loci_sequence *s, int *n_chunks,
                                   loci_error *err)
{
    const int S = t->hp.chunk;
    if (s->T < 1 || s->T > t->T)
        return loci_fail(err, LOCI_EINVAL, "sequence of %d tokens, planned for 1 to %d", s->T,
                         t->T);
    if (s->n_docs < 1 || s->doc[0] != 0 || s->doc[s->n_docs] != s->T)
        return loci_fail(err, LOCI_EINVAL, "documents do not cover the %d tokens", s->T);
    *n_chunks = 0;
    for (int d = 0; d < s->n_docs; d++) {
        const int n = s->doc[d + 1] - s->doc[d];
        /* The upper bound keeps a wild table from reaching past the sequence before its end is
         * known to be right. */
        if (n < 1 || s->doc[d + 1] > s->T)
            return loci_fail(err, LOCI_EINVAL, "document %d: tokens %d to %d", d, s->doc[d],
                             s->doc[d + 1]);
        if (has_chunks(&t->hp, s, d)) *n_chunks += (n + S - 1) / S;
    }
    if (*n_chunks > t->capacity)
        return loci_fail(err, LOCI_EINVAL, "%d chunks in %d tokens, planned for %d", *n_chunks,
                         s->T, t->capacity);
    return LOCI_OK;
}

static loci_status check_sequence(const loci_pass *t, const loci_sequence *s, loci_error *err)
{
    const int V = t->hp.vocab;
    int n_chunks = 0;
    const loci_status st = check_documents(t, s, &n_chunks, err);
    if (st != LOCI_OK) return st;
    for (int i = 0; i < s->T; i++) {
        if (s->ids[i] < 0 || s->ids[i] >= V)
            return loci_fail(err, LOCI_EINVAL, "token %d: id %d of %d", i, s->ids[i], V);
        if (s->target && (s->target[i] < -1 || s->target[i] >= V))
            return loci_fail(err, LOCI_EINVAL, "token %d: target %d of %d", i, s->target[i], V);
        if (s->gold && (s->gold[i] < -2 || s->gold[i] >= n_chunks))
            return loci_fail(err, LOCI_EINVAL, "token %d: gold chunk %d of %d", i, s->gold[i],
                             n_chunks);
        if (s->source && (s->source[i] < -1 || s->source[i] >= n_chunks * t->hp.chunk))
            return loci_fail(err, LOCI_EINVAL, "token %d: source row %d of %d", i, s->source[i],
                             n_chunks * t->hp.chunk);
    }
    return LOCI_OK;
}

/* Positions, chunks and who may read them: a chunk from end + W - S on, when S - 1 of its tokens
 * are still in the window (so there is no hole), and by all later documents.  W >= S keeps it in
 * the past of its readers. */
static void lay_out(loci_pass *t, const loci_sequence *s)
{
    const int S = t->hp.chunk, W = t->hp.window;
    loci_chunks *b = &t->bank;
    b->n = 0;
    for (int d = 0; d < s->n_docs; d++) {
        const int start = s->doc[d], end = s->doc[d + 1], n = end - start;
        for (int i = 0; i < n; i++) t->pos[start + i] = i;
        for (int j = 0; has_chunks(&t->hp, s, d) && j < n; j += S, b->n++) {
            const int chunk_end = start + j + S, open = chunk_end + W - S;
            b->n_tokens[b->n] = n - j < S ? n - j : S;
            b->first_query[b->n] = open < end ? open : end;
        }
    }
    for (int i = 0, c = 0; i < s->T; i++) {
        while (c < b->n && b->first_query[c] <= i) c++;
        b->n_eligible[i] = c;
    }
}

static void clear_bank_gradient(loci_pass *t)
{
    const loci_hparams *hp = &t->hp;
    const size_t C = (size_t)t->bank.n, w = (size_t)(hp->chunk * (hp->d_key + hp->d_value));
    memset(t->bank.dcontent, 0, C * w * sizeof(float));
    memset(t->bank.dlandmark, 0, C * (size_t)(hp->n_landmarks * hp->d_landmark) * sizeof(float));
    memset(t->bank.dbias, 0, C * sizeof(float));
    if (hp->d_summary) memset(t->bank.dsummary, 0, C * (size_t)hp->d_summary * sizeof(float));
}

/* Offsets of the bank's arrays at chunk c. */
typedef struct {
    size_t content, dcontent, landmark, summary;
} bank_at;

static bank_at at_chunk(const loci_hparams *hp, int c)
{
    return (bank_at){ (size_t)c * (size_t)(hp->chunk * loci_content_cols(hp)),
                      (size_t)c * (size_t)(hp->chunk * (hp->d_key + hp->d_value)),
                      (size_t)c * (size_t)(hp->n_landmarks * hp->d_landmark),
                      (size_t)c * (size_t)hp->d_summary };
}

/* Rows of an array that there may not be. */
static float *rows_of(float *x, size_t at)
{
    return x ? x + at : NULL;
}

loci_status loci_pass_lower(loci_pass *t, const loci_model *m, const loci_sequence *s,
                            loci_error *err)
{
    const loci_hparams *hp = &t->hp;
    const size_t D = (size_t)hp->d_model, bytes = (size_t)(s->T > 0 ? s->T : 0) * D * sizeof(float);
    const loci_status st = check_sequence(t, s, err);
    loci_chunks *b = &t->bank;
    if (st != LOCI_OK) return st;
    lay_out(t, s);
    loci_embed(m, t->x0, t->inv0, s->ids, s->T);
    memcpy(t->h_lo, t->x0, bytes);
    for (int l = 0; l < hp->n_lower; l++)
        loci_window_forward_docs(m, &m->p.lower[l], &t->lower[l], t->h_lo, t->pos, &t->rope,
                                 t->k[l], t->v[l], s->doc, s->n_docs);
    for (int d = 0, c = 0; d < s->n_docs; d++) {
        const int n = s->doc[d + 1] - s->doc[d];
        const bank_at at = at_chunk(hp, c);
        if (!has_chunks(hp, s, d)) continue;
        loci_encoder_forward_at(m, t->encoder, s->doc[d], c, t->h_lo + (size_t)s->doc[d] * D, n,
                                b->content + at.content, b->landmark + at.landmark, b->bias + c,
                                rows_of(b->summary, at.summary));
        c += (n + hp->chunk - 1) / hp->chunk;
    }
    loci_tier_forward(m, &t->tier, b, s);
    loci_gist_build(m, &t->gist, b, s);
    clear_bank_gradient(t);
    return LOCI_OK;
}

int loci_pass_bank(const loci_pass *t, const float **landmark, const float **bias)
{
    *landmark = t->bank.landmark;
    *bias = t->bank.bias;
    return t->bank.n;
}

float *loci_pass_bank_grad(loci_pass *t, float **dbias)
{
    *dbias = t->bank.dbias;
    return t->bank.dlandmark;
}

/* ---- step 2 -------------------------------------------------------------------------------- */

/* Upper stack over t->h, a copy of h_lo. */
static void upper_forward(loci_pass *t, const loci_model *m, loci_read_job *job)
{
    const loci_hparams *hp = &t->hp;
    const loci_sequence *s = job->s;
    memcpy(t->h, t->h_lo, (size_t)s->T * (size_t)hp->d_model * sizeof *t->h);
    for (int l = 0; l < hp->n_upper; l++) {
        const int at = hp->n_lower + l;
        job->group = loci_group_at(hp, l);
        if (job->group >= 0)
            loci_read_forward(m, &m->p.read[job->group], &t->read[job->group], t->h, job,
                              t->scratch);
        loci_window_forward_docs(m, &m->p.upper[l], &t->upper[l], t->h, t->pos, &t->rope, t->k[at],
                                 t->v[at], s->doc, s->n_docs);
    }
}

/* t->regret = cross-entropy of the sequence when no bank is there.  The tapes are overwritten. */
static void pass_without_bank(loci_pass *t, const loci_model *m, const loci_sequence *s,
                              const loci_loss_options *opt)
{
    const loci_chunks none = { .n = 0 };
    loci_loss_sums sums = { 0 }; /* of no interest */
    loci_read_job job = { .s = s, .bank = &none, .routed = opt->routed };
    upper_forward(t, m, &job);
    loci_head_loss(m, t->h, s, opt, NULL, NULL, t->best, t->regret, &sums, t->scratch);
}

/* From both cross-entropies to r_t, and what the gates of all groups make of it. */
static void set_regret(loci_pass *t, const loci_sequence *s, loci_loss_sums *sums)
{
    const int G = t->hp.n_groups;
    for (int i = 0; i < s->T; i++) {
        const bool counts = s->target[i] >= 0 && t->bank.n_eligible[i] > 0;
        const float more = counts ? t->regret[i] - t->ce[i] : 0.0f;
        t->regret[i] = more > 0.0f ? more : 0.0f;
        sums->n_regret += counts;
        sums->gain += (double)t->regret[i];
        for (int g = 0; counts && g < G; g++)
            sums->regret += (double)t->regret[i] * (1.0 - (double)t->read[g].gate[i]) / G;
    }
}

void loci_pass_upper(loci_pass *t, const loci_model *m, const loci_sequence *s,
                     const loci_negatives *neg, int n_neg, const loci_loss_options *opt,
                     loci_params *grads, loci_loss_sums *sums)
{
    const loci_hparams *hp = &t->hp;
    loci_read_job job = { s, &t->bank, neg, n_neg, 0, opt->routed, opt, sums, &t->gist, NULL };
    const bool regrets = opt->regret > 0.0f && t->bank.n > 0;
    if (regrets) pass_without_bank(t, m, s, opt);
    upper_forward(t, m, &job);
    loci_head_loss(m, t->h, s, opt, grads ? t->dh_lo : NULL,
                   grads ? loci_head_grad(m, grads) : NULL, t->best, t->ce, sums, t->scratch);
    if (regrets) set_regret(t, s, sums), job.regret = t->regret;
    loci_ageing_loss(m, &t->tier, &t->bank, opt, grads != NULL, sums);
    if (t->bank.n > 0) loci_decode_loss(m, s, &t->bank, opt, grads, sums, t->scratch);
    loci_code_loss(m, s, &t->bank, t->read, neg, n_neg, opt, grads, sums, t->scratch);
    if (!grads) return;
    for (int l = hp->n_upper - 1; l >= 0; l--) {
        const int at = hp->n_lower + l;
        loci_window_backward_docs(m, &m->p.upper[l], &grads->upper[l], &t->upper[l], t->dh_lo,
                                  t->pos, &t->rope, t->k[at], t->v[at], t->dk, t->dv, t->scratch,
                                  s->doc, s->n_docs);
        job.group = loci_group_at(hp, l);
        if (job.group >= 0)
            loci_read_backward(m, &m->p.read[job.group], &grads->read[job.group],
                               &t->read[job.group], t->dh_lo, &job, t->scratch);
    }
}

/* ---- step 3 --------------------------------------------------------------------------------- */

void loci_pass_lower_backward(loci_pass *t, const loci_model *m, const loci_sequence *s,
                              loci_params *grads)
{
    const loci_hparams *hp = &t->hp;
    const size_t D = (size_t)hp->d_model;
    const loci_chunks *b = &t->bank;
    const float *content = hp->content_bits4 ? t->tier.whole : b->content;
    loci_tier_backward(m, &grads->enc, &t->tier, b);
    if (hp->d_summary) loci_gist_build_backward(m, &t->gist, b);
    for (int d = 0, c = 0; d < s->n_docs; d++) {
        const int n = s->doc[d + 1] - s->doc[d];
        const bank_at at = at_chunk(hp, c);
        if (!has_chunks(hp, s, d)) continue;
        loci_encoder_backward_at(m, &grads->enc, t->encoder, s->doc[d], c,
                                 t->dh_lo + (size_t)s->doc[d] * D, n, content + at.content,
                                 b->dcontent + at.dcontent, b->landmark + at.landmark,
                                 b->dlandmark + at.landmark, b->dbias + c,
                                 rows_of(b->dsummary, at.summary));
        c += (n + hp->chunk - 1) / hp->chunk;
    }
    for (int l = hp->n_lower - 1; l >= 0; l--)
        loci_window_backward_docs(m, &m->p.lower[l], &grads->lower[l], &t->lower[l], t->dh_lo,
                                  t->pos, &t->rope, t->k[l], t->v[l], t->dk, t->dv, t->scratch,
                                  s->doc, s->n_docs);
    loci_embed_bwd(&m->k, &grads->embed, t->dh_lo, t->x0, t->inv0, s->ids, s->T);
}

/* ---- without gradients ------------------------------------------------------------------------ */

void loci_pass_logits(loci_pass *t, const loci_model *m, const loci_sequence *s, bool routed,
                      float *out)
{
    loci_read_job job = { .s = s, .bank = &t->bank, .routed = routed, .gist = &t->gist };
    upper_forward(t, m, &job);
    /* dh_lo is free here: it belongs to the backward pass. */
    loci_head_logits(m, t->h, t->dh_lo, out, s->T);
}
