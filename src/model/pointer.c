/* pointer.c - two losses that teach a reader to copy: where to look, and what stands there.
 *
 * Pointer: an answer token that repeats a token of the bank (sequence.source: its row in the
 * bank's content) should attend to that very row,
 *
 *   L_t = -log( mean_h p_h + 1e-6 )    p_h = attention of head h on row `source`
 *
 * within its chunk in the routed mode, among all eligible rows in the dense one.
 *
 * Decode: a value alone must say which token it stands for.  For every 8th row j of the bank,
 *
 *   L_j = CE( rms( W_o [v_j, ..., v_j] ) E^T, id_j )      v_j once a head
 *
 * so that what is read can be spoken by the head before the layers above know how to help.
 * Seen with the XS size: without the first, answers were still wrong after three times as many
 * tokens; without the second, digits were copied and words were not. */
#include "model/model_impl.h"
#include <math.h>
#include <string.h>

enum { ROWS = 64, STRIDE = LOCI_DECODE_STRIDE };
static const float pointer_eps = 1e-6f;

/* ---- pointer ---------------------------------------------------------------------------------- */
typedef struct {
    const loci_model *m;
    const loci_read_tape *t;
    const loci_chunks *bank;
    int query;      /* t */
    const float *q; /* (HB, dk) */
    float *s, *p;   /* (HB, S): scores, gradients of scores */
} pointer_job;

static const float *keys_of(const pointer_job *j, int c)
{
    const loci_hparams *hp = &j->m->hp;
    return j->bank->content + (size_t)c * (size_t)(hp->chunk * loci_content_cols(hp));
}

/* s (HB, n) = 0.25 q k^T for chunk c. */
static void pointer_scores(const pointer_job *j, int c)
{
    const loci_hparams *hp = &j->m->hp;
    const int n = j->bank->n_tokens[c];
    j->m->k.gemm(j->s, hp->chunk, j->q, hp->d_key, 0, keys_of(j, c), loci_content_cols(hp), 1,
                 hp->read_heads, n, hp->d_key, 0.0f);
    for (int h = 0; h < hp->read_heads; h++)
        for (int i = 0; i < n; i++) j->s[h * hp->chunk + i] *= loci_read_scale(hp);
}

static float row_lse(const float *s, int n)
{
    float top = s[0], sum = 0.0f;
    for (int i = 1; i < n; i++) top = fmaxf(top, s[i]);
    for (int i = 0; i < n; i++) sum += expf(s[i] - top);
    return top + logf(sum);
}

/* ds[h,i] = a[h] (1[i is the source] - exp(s[h,i] - norm[h])) into dq and the bank's keys. */
static void pointer_chunk_backward(const pointer_job *j, int c, int source, const float *a,
                                   const float *norm, float *dq)
{
    const loci_hparams *hp = &j->m->hp;
    const int S = hp->chunk, ldd = hp->d_key + hp->d_value, n = j->bank->n_tokens[c];
    const float scale = loci_read_scale(hp);
    for (int h = 0; h < hp->read_heads; h++)
        for (int i = 0; i < n; i++) {
            const float p = expf(j->s[h * S + i] - norm[h]);
            j->p[h * S + i] = scale * a[h] * ((c * S + i == source ? 1.0f : 0.0f) - p);
        }
    const float *k = keys_of(j, c);
    j->m->k.gemm(dq, hp->d_key, j->p, S, 0, k, loci_content_cols(hp), 0, hp->read_heads, hp->d_key,
                 n, 1.0f);
    j->m->k.gemm(j->bank->dcontent + (size_t)(c * S) * (size_t)ldd, ldd, j->p, S, 1, j->q,
                 hp->d_key, 0, n, hp->d_key, hp->read_heads, 1.0f);
}

/* One answer token: returns its loss; dq NULL: no gradient, else it is added times `coef`. */
static double pointer_token(const pointer_job *j, int source, bool routed, float coef, float *dq)
{
    const loci_hparams *hp = &j->m->hp;
    const int S = hp->chunk, HB = hp->read_heads, c = source / S;
    float norm[LOCI_MAX_READ_HEADS], a[LOCI_MAX_READ_HEADS], mean = 0.0f;
    pointer_scores(j, c);
    for (int h = 0; h < HB; h++) {
        norm[h] = routed ? row_lse(j->s + h * S, j->bank->n_tokens[c])
                         : j->t->total[(size_t)j->query * (size_t)HB + (size_t)h];
        a[h] = expf(j->s[h * S + source % S] - norm[h]);
        mean += a[h] / (float)HB;
    }
    const double loss = -log((double)mean + (double)pointer_eps);
    if (!dq) return loss;
    for (int h = 0; h < HB; h++) a[h] *= -coef / ((float)HB * (mean + pointer_eps));
    const int first = routed ? c : 0, last = routed ? c : j->bank->n_eligible[j->query] - 1;
    for (int x = first; x <= last; x++) {
        if (!routed) pointer_scores(j, x);
        pointer_chunk_backward(j, x, source, a, norm, dq);
    }
    return loss;
}

void loci_pointer_loss(const loci_model *m, const loci_read_tape *t, const loci_read_job *job,
                       float *dq, float *scratch)
{
    const loci_hparams *hp = &m->hp;
    const loci_sequence *s = job->s;
    const loci_loss_options *o = job->opt;
    const size_t wide = (size_t)(hp->read_heads * hp->d_key);
    if (!s->source || !(o->pointer > 0.0f)) return;
    const float coef = o->pointer * o->gold_scale * o->grad_scale / (float)hp->n_groups;
    pointer_job j = { m, t, job->bank, 0, NULL, scratch, scratch + hp->read_heads * hp->chunk };
    for (int r = t->first; r < s->T; r++) {
        if (s->source[r] < 0 || s->source[r] / hp->chunk >= job->bank->n_eligible[r]) continue;
        j.query = r;
        j.q = t->q + (size_t)r * wide;
        const double loss =
            pointer_token(&j, s->source[r], job->routed, coef, dq ? dq + (size_t)r * wide : NULL);
        if (!dq) job->sums->pointer += loss / hp->n_groups;
    }
}

size_t loci_pointer_scratch(const loci_hparams *hp)
{
    return (size_t)(2 * hp->read_heads * hp->chunk);
}

/* ---- decode ---------------------------------------------------------------------------------------- */
typedef struct {
    float *tile, *dtile;        /* (ROWS, HB*dv) */
    float *x, *xn, *dxn, *dx;   /* (ROWS, D) */
    float *inv, *loss, *weight; /* (ROWS) */
    float *logits;              /* (ROWS, vocab) */
    int32_t *row, *target;      /* (ROWS) row of the bank's content; its token */
} decode_scratch;

static void decode_carve(decode_scratch *s, loci_arena *a, const loci_hparams *hp)
{
    const size_t D = (size_t)hp->d_model, f = sizeof(float),
                 w = (size_t)(hp->read_heads * hp->d_value);
    s->tile = loci_arena_take(a, ROWS * w, f);
    s->dtile = loci_arena_take(a, ROWS * w, f);
    s->x = loci_arena_take(a, ROWS * D, f);
    s->xn = loci_arena_take(a, ROWS * D, f);
    s->dxn = loci_arena_take(a, ROWS * D, f);
    s->dx = loci_arena_take(a, ROWS * D, f);
    s->inv = loci_arena_take(a, ROWS, f);
    s->loss = loci_arena_take(a, ROWS, f);
    s->weight = loci_arena_take(a, ROWS, f);
    s->logits = loci_arena_take(a, ROWS * (size_t)hp->vocab, f);
    s->row = loci_arena_take(a, ROWS, sizeof(int32_t));
    s->target = loci_arena_take(a, ROWS, sizeof(int32_t));
}

size_t loci_decode_scratch(const loci_hparams *hp)
{
    loci_arena a = { 0 };
    decode_scratch s;
    decode_carve(&s, &a, hp);
    return a.used / sizeof(float);
}

/* One block of n rows through one group's output map, forward and backward. */
static void decode_block(const loci_model *m, loci_params *grads, const loci_loss_options *o,
                         int group, const loci_chunks *bank, const decode_scratch *x, int n,
                         loci_loss_sums *sums)
{
    const loci_hparams *hp = &m->hp;
    const int D = hp->d_model, V = hp->vocab, HB = hp->read_heads, dv = hp->d_value, wide = HB * dv;
    const int ld = loci_content_cols(hp), ldd = hp->d_key + dv;
    for (int r = 0; r < n; r++) {
        const float *v = bank->content + (size_t)x->row[r] * (size_t)ld + loci_value_column(hp);
        for (int h = 0; h < HB; h++)
            memcpy(x->tile + (size_t)(r * wide + h * dv), v, (size_t)dv * sizeof *v);
        x->weight[r] = o->decode * o->decode_scale * o->grad_scale / (float)hp->n_groups;
    }
    loci_linear(m, x->x, D, x->tile, wide, &m->p.read[group].o, n);
    m->k.rmsnorm(x->xn, D, x->inv, x->x, D, n, D, hp->norm_eps);
    loci_linear(m, x->logits, V, x->xn, D, loci_head(m), n);
    m->k.cross_entropy(x->loss, NULL, x->logits, V, x->target, grads ? x->weight : NULL, 0.0f, n,
                       V);
    for (int r = 0; r < n; r++) sums->decode += (double)x->loss[r] / hp->n_groups;
    if (!grads) return;
    loci_linear_bwd(&m->k, x->dxn, D, 0.0f, loci_head_grad(m, grads), x->logits, V, x->xn, D,
                    loci_head(m), n);
    memset(x->dx, 0, (size_t)n * (size_t)D * sizeof *x->dx);
    m->k.rmsnorm_bwd(x->dx, D, x->dxn, D, x->xn, D, x->inv, n, D);
    loci_linear_bwd(&m->k, x->dtile, wide, 0.0f, &grads->read[group].o, x->dx, D, x->tile, wide,
                    &m->p.read[group].o, n);
    for (int r = 0; r < n; r++)
        for (int h = 0; h < HB; h++)
            m->k.axpy(bank->dcontent + (size_t)x->row[r] * (size_t)ldd + hp->d_key,
                      x->dtile + (size_t)(r * wide + h * dv), 1.0f, (size_t)dv);
}

void loci_decode_loss(const loci_model *m, const loci_sequence *s, const loci_chunks *bank,
                      const loci_loss_options *o, loci_params *grads, loci_loss_sums *sums,
                      float *scratch)
{
    const loci_hparams *hp = &m->hp;
    if (!(o->decode > 0.0f)) return;
    loci_arena a = { (unsigned char *)scratch, loci_decode_scratch(hp) * sizeof(float), 0 };
    decode_scratch x;
    decode_carve(&x, &a, hp);
    int n = 0, c = 0;
    for (int d = 0; d <= s->n_docs; d++) {
        const bool end = d == s->n_docs;
        for (int t = end ? 0 : s->doc[d]; !end && s->banked[d] && t < s->doc[d + 1]; t++) {
            const int p = t - s->doc[d];
            if (p % STRIDE != o->decode_phase) continue;
            x.row[n] = c * hp->chunk + p;
            x.target[n++] = s->ids[t];
            sums->n_decode++;
            if (n < ROWS) continue;
            for (int g = 0; g < hp->n_groups; g++) decode_block(m, grads, o, g, bank, &x, n, sums);
            n = 0;
        }
        if (!end && s->banked[d]) c += (s->doc[d + 1] - s->doc[d] + hp->chunk - 1) / hp->chunk;
    }
    for (int g = 0; n > 0 && g < hp->n_groups; g++) decode_block(m, grads, o, g, bank, &x, n, sums);
}
