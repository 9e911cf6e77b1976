/* encoder.c - a chunk of 64 tokens becomes a record: content rows, landmarks, bias, summary.
 *
 *   x = rms(h)                                  first D columns of cat (T, D + e)
 *   z = [x Win^T + pos ; cls]                   a chunk's n tokens, then its M extra vectors
 *   z += att(rms z) Wo^T                        bidirectional inside the chunk, heads of 64
 *   z += silu(rms(z) Wup^T) Wdown^T
 *   content[j,:] = [rms | rms] of [x_j ; rms(z_j)] Wc^T       keys, then values
 *   landmark[m,:] = unit(Wl c_m),  bias = bias_w . [c_1 .. c_M] + bias_b     c_m: the extra rows
 *   summary = Wz [c_1 .. c_M]                   with d_summary
 *
 * With shared_kv a content row is one vector, rms of [x_j ; rms(z_j)] Wc^T, and its gradient has two halves: as
 * key and as value.
 *
 * The last chunk of a document may be short.  Its pads are never computed: rows are packed, chunk c
 * starts at row c (S + M), and only the last chunk has fewer rows than S + M.  That is the same as
 * masking pads as keys and leaving their content zero. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

struct loci_encoder_tape {
    float *cat, *inv_x, *inv_z;         /* (T, D + e) (T) (T): [x ; rms z]             */
    float *n1, *inv1, *qkv, *att, *lse; /* (R, e) (R) (R, 3e) (R, e) per chunk (heads, n + M) */
    float *n2, *inv2, *up;              /* (R, e) (R) (R, m)                            */
    float *cls, *inv_l;                 /* (C*M, e) (C*M)                               */
    float *inv_k, *inv_v;               /* (T) (T): content's two norms                 */
    float *scratch;                     /* see scratch_carve                            */
};

/* Scratch of both directions for n_chunks chunks. */
typedef struct {
    float *z, *act;    /* (R, e) (R, m): forward; dz, dact backward  */
    float *tok;        /* (R, e): rows of one product                */
    float *dqkv, *hid; /* (R, 3e) (R, m): backward                   */
    float *dcat, *dE;  /* (T, D + e) (T, w)                          */
    float *dcls, *dl;  /* (C*M, e) (C*M, d_landmark)                 */
    float *dw;         /* (S + M)                                    */
} encoder_scratch;

static void scratch_carve(encoder_scratch *s, loci_arena *a, const loci_hparams *hp, int n_chunks,
                          bool backward)
{
    const size_t C = (size_t)n_chunks, M = (size_t)hp->n_landmarks, S = (size_t)hp->chunk;
    const size_t R = C * (S + M), T = C * S, e = (size_t)hp->enc_dim, em = (size_t)hp->enc_mlp;
    memset(s, 0, sizeof *s);
    s->z = loci_arena_take(a, R * e, sizeof(float));
    s->act = loci_arena_take(a, R * em, sizeof(float));
    s->tok = loci_arena_take(a, R * e, sizeof(float));
    if (!backward) return;
    s->dqkv = loci_arena_take(a, R * 3 * e, sizeof(float));
    s->hid = loci_arena_take(a, R * em, sizeof(float));
    s->dcat = loci_arena_take(a, T * ((size_t)hp->d_model + e), sizeof(float));
    s->dE = loci_arena_take(a, T * (size_t)loci_content_cols(hp), sizeof(float));
    s->dcls = loci_arena_take(a, C * M * e, sizeof(float));
    s->dl = loci_arena_take(a, C * M * (size_t)hp->d_landmark, sizeof(float));
    s->dw = loci_arena_take(a, S + M, sizeof(float));
}

size_t loci_encoder_scratch(const loci_hparams *hp, int n_chunks, bool backward)
{
    loci_arena a = { 0 };
    encoder_scratch s;
    scratch_carve(&s, &a, hp, n_chunks, backward);
    return a.used / sizeof(float);
}

static encoder_scratch scratch_of(const loci_encoder_tape *t, const loci_hparams *hp, int n_chunks,
                                  bool backward)
{
    encoder_scratch s;
    const size_t bytes = loci_encoder_scratch(hp, n_chunks, backward) * sizeof(float);
    loci_arena a = { (unsigned char *)t->scratch, bytes, 0 };
    scratch_carve(&s, &a, hp, n_chunks, backward);
    return s;
}

loci_encoder_tape *loci_encoder_plan_with(loci_arena *a, const loci_hparams *hp, int n_tokens,
                                          int n_chunks, float *scratch)
{
    const size_t C = (size_t)n_chunks, M = (size_t)hp->n_landmarks, T = (size_t)n_tokens;
    const size_t R = T + C * M, e = (size_t)hp->enc_dim, f = sizeof(float);
    loci_encoder_tape *out = loci_arena_take(a, 1, sizeof *out), t;
    t.cat = loci_arena_take(a, T * ((size_t)hp->d_model + e), f);
    t.inv_x = loci_arena_take(a, T, f);
    t.inv_z = loci_arena_take(a, T, f);
    t.n1 = loci_arena_take(a, R * e, f);
    t.inv1 = loci_arena_take(a, R, f);
    t.qkv = loci_arena_take(a, R * 3 * e, f);
    t.att = loci_arena_take(a, R * e, f);
    t.lse = loci_arena_take(a, R * (e / 64), f);
    t.n2 = loci_arena_take(a, R * e, f);
    t.inv2 = loci_arena_take(a, R, f);
    t.up = loci_arena_take(a, R * (size_t)hp->enc_mlp, f);
    t.cls = loci_arena_take(a, C * M * e, f);
    t.inv_l = loci_arena_take(a, C * M, f);
    t.inv_k = loci_arena_take(a, T, f);
    t.inv_v = loci_arena_take(a, T, f);
    t.scratch = scratch;
    if (out) *out = t;
    return out;
}

loci_encoder_tape *loci_encoder_plan(loci_arena *a, const loci_hparams *hp, int n_chunks)
{
    float *scratch = loci_arena_take(a, loci_encoder_scratch(hp, n_chunks, true), sizeof(float));
    return loci_encoder_plan_with(a, hp, n_chunks * hp->chunk, n_chunks, scratch);
}

size_t loci_encoder_tape_bytes(const loci_hparams *hp, int n_chunks)
{
    loci_arena a = { 0 };
    loci_encoder_plan(&a, hp, n_chunks);
    return a.used;
}

/* The tape behind `token0` tokens in `chunk0` chunks. */
static loci_encoder_tape tape_from(const loci_encoder_tape *t, const loci_hparams *hp, int token0,
                                   int chunk0)
{
    const size_t c = (size_t)chunk0, j = (size_t)token0, M = (size_t)hp->n_landmarks;
    const size_t r = j + c * M, e = (size_t)hp->enc_dim;
    loci_encoder_tape s = *t;
    s.cat += j * ((size_t)hp->d_model + e);
    s.inv_x += j;
    s.inv_z += j;
    s.n1 += r * e;
    s.inv1 += r;
    s.qkv += r * 3 * e;
    s.att += r * e;
    s.lse += r * (e / 64);
    s.n2 += r * e;
    s.inv2 += r;
    s.up += r * (size_t)hp->enc_mlp;
    s.cls += c * M * e;
    s.inv_l += c * M;
    s.inv_k += j;
    s.inv_v += j;
    return s;
}

/* Counts of one call, in the letters of the file's comment. */
typedef struct {
    int C, M, S, e, D, tokens, R;
} shape;

static shape shape_of(const loci_hparams *hp, int n_tokens)
{
    const int S = hp->chunk, C = (n_tokens + S - 1) / S, M = hp->n_landmarks;
    return (shape){ C, M, S, hp->enc_dim, hp->d_model, n_tokens, n_tokens + C * M };
}

static int chunk_tokens(const shape *s, int c)
{
    return c < s->C - 1 ? s->S : s->tokens - c * s->S;
}

/* Row c (S + M) of a buffer with `cols` columns. */
static float *chunk_row(float *x, const shape *s, int c, int cols)
{
    return x + (size_t)c * (size_t)(s->S + s->M) * (size_t)cols;
}

/* z = [x Win^T + pos ; cls] */
static void place(const loci_model *m, const shape *s, float *z, const float *in)
{
    const size_t e = (size_t)s->e;
    const float *pos = m->p.enc.pos.data, *cls = m->p.enc.cls.data;
    for (int c = 0; c < s->C; c++) {
        const size_t n = (size_t)chunk_tokens(s, c) * e;
        const float *x = in + (size_t)c * (size_t)s->S * e;
        float *row = chunk_row(z, s, c, s->e);
        for (size_t i = 0; i < n; i++) row[i] = x[i] + pos[i];
        memcpy(row + n, cls, (size_t)s->M * e * sizeof *row);
    }
}

static void attend(const loci_model *m, const shape *s, loci_encoder_tape *t)
{
    const int ld = 3 * s->e, heads = s->e / 64;
    memset(t->att, 0, (size_t)s->R * (size_t)s->e * sizeof *t->att);
    for (int c = 0; c < s->C; c++) {
        const int n = chunk_tokens(s, c) + s->M;
        const float *qkv = chunk_row(t->qkv, s, c, ld);
        float *o = chunk_row(t->att, s, c, s->e), *lse = chunk_row(t->lse, s, c, heads);
        for (int h = 0; h < heads; h++, qkv += 64, o += 64, lse += n)
            m->k.chunk_attn(o, s->e, lse, qkv, ld, qkv + s->e, ld, qkv + 2 * s->e, ld, NULL, n, n,
                            64, 64, 0.125f);
    }
}

/* Landmarks, biases and summaries from the extra rows of z. */
static void summarise(const loci_model *m, const shape *s, loci_encoder_tape *t, float *z,
                      float *landmark, float *bias, float *summary)
{
    const loci_encoder_params *p = &m->p.enc;
    const size_t me = (size_t)(s->M * s->e);
    for (int c = 0; c < s->C; c++) {
        float *cls = t->cls + (size_t)c * me;
        const size_t skip = (size_t)chunk_tokens(s, c) * (size_t)s->e;
        memcpy(cls, chunk_row(z, s, c, s->e) + skip, me * sizeof *cls);
        bias[c] = (float)m->k.dot(cls, p->bias_w.data, me) + *(const float *)p->bias_b.data;
    }
    loci_linear(m, landmark, m->hp.d_landmark, t->cls, s->e, &p->landmark, s->C * s->M);
    loci_unit(&m->k, landmark, t->inv_l, s->C * s->M, m->hp.d_landmark);
    if (m->hp.d_summary)
        loci_linear(m, summary, m->hp.d_summary, t->cls, s->M * s->e, &p->summary, s->C);
}

/* Content rows from x and the token rows of z. */
static void write_content(const loci_model *m, const shape *s, loci_encoder_tape *t, float *z,
                          float *content)
{
    const loci_hparams *hp = &m->hp;
    const int ld = s->D + s->e, w = loci_content_cols(hp);
    for (int c = 0; c < s->C; c++) {
        const size_t j = (size_t)c * (size_t)s->S;
        m->k.rmsnorm(t->cat + j * (size_t)ld + s->D, ld, t->inv_z + j, chunk_row(z, s, c, s->e),
                     s->e, chunk_tokens(s, c), s->e, hp->norm_eps);
    }
    loci_linear(m, content, w, t->cat, ld, &m->p.enc.content, s->tokens);
    m->k.rmsnorm(content, w, t->inv_k, content, w, s->tokens, hp->d_key, hp->norm_eps);
    if (!hp->shared_kv)
        m->k.rmsnorm(content + hp->d_key, w, t->inv_v, content + hp->d_key, w, s->tokens,
                     hp->d_value, hp->norm_eps);
    memset(content + (size_t)s->tokens * (size_t)w, 0,
           (size_t)(s->C * s->S - s->tokens) * (size_t)w * sizeof *content);
}

void loci_encoder_forward(const loci_model *m, loci_encoder_tape *t, int chunk0, const float *h,
                          int n_tokens, float *content, float *landmark, float *bias,
                          float *summary)
{
    loci_encoder_forward_at(m, t, chunk0 * m->hp.chunk, chunk0, h, n_tokens, content, landmark,
                            bias, summary);
}

void loci_encoder_forward_at(const loci_model *m, loci_encoder_tape *tape, int token0, int chunk0,
                             const float *h, int n_tokens, float *content, float *landmark,
                             float *bias, float *summary)
{
    const loci_encoder_params *p = &m->p.enc;
    const shape s = shape_of(&m->hp, n_tokens);
    const int e = s.e, em = m->hp.enc_mlp, ld = s.D + e;
    const float eps = m->hp.norm_eps;
    loci_encoder_tape t = tape_from(tape, &m->hp, token0, chunk0);
    const encoder_scratch b = scratch_of(tape, &m->hp, s.C, false);

    m->k.rmsnorm(t.cat, ld, t.inv_x, h, s.D, n_tokens, s.D, eps);
    loci_linear(m, b.tok, e, t.cat, ld, &p->in, n_tokens);
    place(m, &s, b.z, b.tok);

    m->k.rmsnorm(t.n1, e, t.inv1, b.z, e, s.R, e, eps);
    loci_linear(m, t.qkv, 3 * e, t.n1, e, &p->qkv, s.R);
    attend(m, &s, &t);
    loci_linear_add(m, b.z, b.tok, t.att, &p->o, s.R);

    m->k.rmsnorm(t.n2, e, t.inv2, b.z, e, s.R, e, eps);
    loci_linear(m, t.up, em, t.n2, e, &p->up, s.R);
    m->k.silu(b.act, t.up, (size_t)s.R * (size_t)em);
    loci_linear_add(m, b.z, b.tok, b.act, &p->down, s.R);

    summarise(m, &s, &t, b.z, landmark, bias, summary);
    write_content(m, &s, &t, b.z, content);
}

/* ---- backward ------------------------------------------------------------------------- */

void loci_content_norm_bwd(const loci_model *m, float *dr, const float *dcontent,
                           const float *content, const float *inv_k, const float *inv_v, int n)
{
    const loci_hparams *hp = &m->hp;
    const int dk = hp->d_key, dv = hp->d_value, w = loci_content_cols(hp),
              at = loci_value_column(hp);
    memset(dr, 0, (size_t)n * (size_t)w * sizeof *dr);
    m->k.rmsnorm_bwd(dr, w, dcontent, dk + dv, content, w, inv_k, n, dk);
    m->k.rmsnorm_bwd(dr + at, w, dcontent + dk, dk + dv, content + at, w,
                     hp->shared_kv ? inv_k : inv_v, n, dv);
}

/* dcontent -> dcat (T, D + e) and the token rows of dz (cleared by the caller). */
static void content_backward(const loci_model *m, loci_encoder_params *g, const shape *s,
                             const loci_encoder_tape *t, const encoder_scratch *b,
                             const float *content, const float *dcontent)
{
    const loci_hparams *hp = &m->hp;
    const int ld = s->D + s->e, w = loci_content_cols(hp);
    loci_content_norm_bwd(m, b->dE, dcontent, content, t->inv_k, t->inv_v, s->tokens);
    loci_linear_bwd(&m->k, b->dcat, ld, 0.0f, &g->content, b->dE, w, t->cat, ld, &m->p.enc.content,
                    s->tokens);
    for (int c = 0; c < s->C; c++) {
        const size_t j = (size_t)c * (size_t)s->S, at = j * (size_t)ld + (size_t)s->D;
        m->k.rmsnorm_bwd(chunk_row(b->z, s, c, s->e), s->e, b->dcat + at, ld, t->cat + at, ld,
                         t->inv_z + j, chunk_tokens(s, c), s->e);
    }
}

/* dlandmark, dbias, dsummary -> the extra rows of dz. */
static void summary_backward(const loci_model *m, loci_encoder_params *g, const shape *s,
                             const loci_encoder_tape *t, const encoder_scratch *b,
                             const float *landmark, const float *dlandmark, const float *dbias,
                             const float *dsummary)
{
    const loci_encoder_params *p = &m->p.enc;
    const int n = s->C * s->M, dl = m->hp.d_landmark;
    const size_t me = (size_t)(s->M * s->e);
    memcpy(b->dl, dlandmark, (size_t)n * (size_t)dl * sizeof *b->dl);
    loci_unit_bwd(&m->k, b->dl, landmark, t->inv_l, n, dl);
    loci_linear_bwd(&m->k, b->dcls, s->e, 0.0f, &g->landmark, b->dl, dl, t->cls, s->e, &p->landmark,
                    n);
    if (m->hp.d_summary)
        loci_linear_bwd(&m->k, b->dcls, s->M * s->e, 1.0f, &g->summary, dsummary, m->hp.d_summary,
                        t->cls, s->M * s->e, &p->summary, s->C);
    for (int c = 0; c < s->C; c++) {
        float *dcls = b->dcls + (size_t)c * me;
        const size_t skip = (size_t)chunk_tokens(s, c) * (size_t)s->e;
        m->k.axpy(dcls, p->bias_w.data, dbias[c], me);
        m->k.axpy(g->bias_w.data, t->cls + (size_t)c * me, dbias[c], me);
        *(float *)g->bias_b.data += dbias[c];
        m->k.axpy(chunk_row(b->z, s, c, s->e) + skip, dcls, 1.0f, me);
    }
}

/* Through the MLP and the attention layer; dz in b->z in place. */
static void layer_backward(const loci_model *m, loci_encoder_params *g, const shape *s,
                           loci_encoder_tape *t, const encoder_scratch *b)
{
    const loci_encoder_params *p = &m->p.enc;
    const int e = s->e, em = m->hp.enc_mlp, ld = 3 * e, heads = e / 64, R = s->R;
    const size_t hidden = (size_t)R * (size_t)em;
    m->k.silu(b->hid, t->up, hidden);
    loci_linear_bwd(&m->k, b->act, em, 0.0f, &g->down, b->z, e, b->hid, em, &p->down, R);
    m->k.silu_bwd(b->act, b->act, t->up, hidden);
    loci_linear_bwd(&m->k, b->tok, e, 0.0f, &g->up, b->act, em, t->n2, e, &p->up, R);
    m->k.rmsnorm_bwd(b->z, e, b->tok, e, t->n2, e, t->inv2, R, e);

    loci_linear_bwd(&m->k, b->tok, e, 0.0f, &g->o, b->z, e, t->att, e, &p->o, R);
    memset(b->dqkv, 0, (size_t)R * (size_t)ld * sizeof *b->dqkv);
    for (int c = 0; c < s->C; c++) {
        const int n = chunk_tokens(s, c) + s->M;
        const float *qkv = chunk_row(t->qkv, s, c, ld), *lse = chunk_row(t->lse, s, c, heads);
        const float *dout = chunk_row(b->tok, s, c, e);
        float *d = chunk_row(b->dqkv, s, c, ld);
        for (int h = 0; h < heads; h++, qkv += 64, d += 64, dout += 64, lse += n)
            m->k.chunk_attn_bwd(d, ld, d + e, ld, d + 2 * e, ld, b->dw, dout, e, qkv, ld, qkv + e,
                                ld, qkv + 2 * e, ld, lse, NULL, NULL, n, n, 64, 64, 0.125f);
    }
    loci_linear_bwd(&m->k, b->tok, e, 0.0f, &g->qkv, b->dqkv, ld, t->n1, e, &p->qkv, R);
    m->k.rmsnorm_bwd(b->z, e, b->tok, e, t->n1, e, t->inv1, R, e);
}

/* dz of the first layer's input -> positions, extra vectors, and token rows gathered in b->tok. */
static void place_backward(const loci_model *m, loci_encoder_params *g, const shape *s,
                           const encoder_scratch *b)
{
    const size_t e = (size_t)s->e;
    for (int c = 0; c < s->C; c++) {
        const size_t n = (size_t)chunk_tokens(s, c) * e;
        const float *dz = chunk_row(b->z, s, c, s->e);
        m->k.axpy(g->pos.data, dz, 1.0f, n);
        m->k.axpy(g->cls.data, dz + n, 1.0f, (size_t)s->M * e);
        memcpy(b->tok + (size_t)c * (size_t)s->S * e, dz, n * sizeof *dz);
    }
}

void loci_encoder_backward(const loci_model *m, loci_encoder_params *g, loci_encoder_tape *t,
                           int chunk0, float *dh, int n_tokens, const float *content,
                           const float *dcontent, const float *landmark, const float *dlandmark,
                           const float *dbias, const float *dsummary)
{
    loci_encoder_backward_at(m, g, t, chunk0 * m->hp.chunk, chunk0, dh, n_tokens, content, dcontent,
                             landmark, dlandmark, dbias, dsummary);
}

void loci_encoder_backward_at(const loci_model *m, loci_encoder_params *g, loci_encoder_tape *tape,
                              int token0, int chunk0, float *dh, int n_tokens, const float *content,
                              const float *dcontent, const float *landmark, const float *dlandmark,
                              const float *dbias, const float *dsummary)
{
    const shape s = shape_of(&m->hp, n_tokens);
    const int ld = s.D + s.e;
    loci_encoder_tape t = tape_from(tape, &m->hp, token0, chunk0);
    const encoder_scratch b = scratch_of(tape, &m->hp, s.C, true);

    memset(b.z, 0, (size_t)s.R * (size_t)s.e * sizeof *b.z);
    content_backward(m, g, &s, &t, &b, content, dcontent);
    summary_backward(m, g, &s, &t, &b, landmark, dlandmark, dbias, dsummary);
    layer_backward(m, g, &s, &t, &b);
    place_backward(m, g, &s, &b);
    loci_linear_bwd(&m->k, b.dcat, ld, 1.0f, &g->in, b.tok, s.e, t.cat, ld, &m->p.enc.in, n_tokens);
    m->k.rmsnorm_bwd(dh, s.D, b.dcat, ld, t.cat, ld, t.inv_x, n_tokens, s.D);
}
