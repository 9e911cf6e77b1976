/* tier.c - content rows in 36 bytes: 64 numbers of 4 bits and two scales (content_bits4).
 *
 *   e_j = Q4(Wc [k_j ; v_j])                     64 numbers, a scale for each 32 of them
 *   r_j = Wd deq(e_j) + Ws z_c                   z_c: the summary of j's chunk
 *   [k^_j ; v^_j] = [rms ; rms] of r_j           as the encoder's rows are
 *
 * In training every chunk is served whole or packed by a draw of its own, so that readers do not
 * care which they get: in use, content on disk is packed and that of a session is whole at first.
 * The gradient passes through the rounding as if it were not there.  Besides what readers ask for,
 * the ageing loss keeps a packed row near its original, which does not move for it:
 *
 *   L = mean over packed rows of |[k^ ; v^] - sg([k ; v])|^2 / (dk + dv) */
#include "model/model_impl.h"

#include <assert.h>
#include <string.h>

enum { P = LOCI_PACK, ROWS = 64, WIDE = 256 /* dk + dv at most */ };

/* ---- use ---------------------------------------------------------------------------------- */

void loci_pack_content(const loci_model *m, uint8_t *q, uint16_t *scale, const float *content,
                       int n)
{
    float y[ROWS * P];
    const int w = loci_content_cols(&m->hp);
    assert(n >= 1 && n <= ROWS);
    loci_linear(m, y, P, content, w, &m->p.enc.pack, n);
    m->k.quant_q4(q, P / 2, scale, P / 32, y, P, n, P);
}

/* r (n, w) = y Wd^T + Ws z, then both norms in place; inv_k, inv_v (n) may be NULL. */
static void unpack_rows(const loci_model *m, float *r, float *inv_k, float *inv_v, const float *y,
                        const float *z, int n)
{
    const loci_hparams *hp = &m->hp;
    const int dk = hp->d_key, w = loci_content_cols(hp);
    float context[WIDE];
    loci_linear(m, r, w, y, P, &m->p.enc.unpack, n);
    loci_linear(m, context, w, z, hp->d_summary, &m->p.enc.context, 1);
    for (int i = 0; i < n; i++) m->k.axpy(r + (size_t)(i * w), context, 1.0f, (size_t)w);
    m->k.rmsnorm(r, w, inv_k, r, w, n, dk, hp->norm_eps);
    if (!hp->shared_kv) m->k.rmsnorm(r + dk, w, inv_v, r + dk, w, n, hp->d_value, hp->norm_eps);
}

void loci_unpack_content(const loci_model *m, float *content, const uint8_t *q,
                         const uint16_t *scale, const float *z, int n)
{
    float y[ROWS * P];
    assert(n >= 1 && n <= ROWS);
    m->k.dequant_q4(y, P, q, P / 2, scale, P / 32, n, P);
    unpack_rows(m, content, NULL, NULL, y, z, n);
}

/* ---- training ------------------------------------------------------------------------------- */

bool loci_tier_packed(const loci_sequence *s, int chunk)
{
    /* 24 bits of a hash: a share of 1 takes all, of 0 none. */
    const uint64_t draw = loci_rng_mix(s->tier_seed, (uint64_t)chunk) >> 40;
    return (double)draw < (double)s->tier_share * 0x1p24;
}

void loci_tier_plan(loci_tier_tape *t, loci_arena *a, const loci_hparams *hp, int capacity)
{
    const size_t rows = (size_t)capacity * (size_t)hp->chunk, f = sizeof(float);
    if (!hp->content_bits4) return;
    t->packed = loci_arena_take(a, (size_t)capacity, 1);
    t->whole = loci_arena_take(a, rows * (size_t)loci_content_cols(hp), f);
    t->y = loci_arena_take(a, rows * P, f);
    t->inv_k = loci_arena_take(a, rows, f);
    t->inv_v = loci_arena_take(a, rows, f);
}

void loci_tier_forward(const loci_model *m, loci_tier_tape *t, const loci_chunks *b,
                       const loci_sequence *s)
{
    const loci_hparams *hp = &m->hp;
    const size_t S = (size_t)hp->chunk, w = (size_t)loci_content_cols(hp);
    if (!hp->content_bits4) return;
    memcpy(t->whole, b->content, (size_t)b->n * S * w * sizeof *t->whole);
    for (int c = 0; c < b->n; c++) {
        uint8_t q[ROWS * P / 2];
        uint16_t scale[ROWS * P / 32];
        const size_t row = (size_t)c * S;
        if (!(t->packed[c] = loci_tier_packed(s, c))) continue;
        loci_pack_content(m, q, scale, t->whole + row * w, b->n_tokens[c]);
        m->k.dequant_q4(t->y + row * P, P, q, P / 2, scale, P / 32, b->n_tokens[c], P);
        unpack_rows(m, b->content + row * w, t->inv_k + row, t->inv_v + row, t->y + row * P,
                    b->summary + (size_t)c * (size_t)hp->d_summary, b->n_tokens[c]);
    }
}

void loci_ageing_loss(const loci_model *m, const loci_tier_tape *t, const loci_chunks *b,
                      const loci_loss_options *o, bool backward, loci_loss_sums *sums)
{
    const loci_hparams *hp = &m->hp;
    const size_t S = (size_t)hp->chunk, w = (size_t)loci_content_cols(hp);
    const size_t wd = (size_t)(hp->d_key + hp->d_value);
    const float k = 2.0f * o->ageing * o->ageing_scale * o->grad_scale / (float)w;
    if (!hp->content_bits4) return;
    for (int c = 0; c < b->n; c++) {
        const size_t row = (size_t)c * S, at = row * w, n = (size_t)b->n_tokens[c] * w;
        double sum = 0.0;
        if (!t->packed[c]) continue;
        for (size_t i = 0; i < n; i++) {
            const float off = b->content[at + i] - t->whole[at + i];
            sum += (double)off * (double)off;
            if (backward) b->dcontent[(row + i / w) * wd + i % w] += k * off;
        }
        sums->ageing += sum / (double)w;
        sums->n_aged += b->n_tokens[c];
    }
}

/* One packed chunk: dcontent of what was served becomes that of the encoder's rows. */
static void chunk_backward(const loci_model *m, loci_encoder_params *g, const loci_tier_tape *t,
                           const loci_chunks *b, int c)
{
    const loci_hparams *hp = &m->hp;
    const int n = b->n_tokens[c], ds = hp->d_summary;
    const int w = loci_content_cols(hp), wd = hp->d_key + hp->d_value;
    const size_t row = (size_t)(c * hp->chunk), at = row * (size_t)w;
    float dr[ROWS * WIDE], dy[ROWS * P], dcontext[WIDE] = { 0 };
    float *d = b->dcontent + row * (size_t)wd;
    loci_content_norm_bwd(m, dr, d, b->content + at, t->inv_k + row, t->inv_v + row, n);
    for (int i = 0; i < n; i++) m->k.axpy(dcontext, dr + i * w, 1.0f, (size_t)w);
    loci_linear_bwd(&m->k, b->dsummary + (size_t)(c * ds), ds, 1.0f, &g->context, dcontext, w,
                    b->summary + (size_t)(c * ds), ds, &m->p.enc.context, 1);
    loci_linear_bwd(&m->k, dy, P, 0.0f, &g->unpack, dr, w, t->y + row * P, P, &m->p.enc.unpack, n);
    memset(d, 0, (size_t)(n * wd) * sizeof *d);
    loci_linear_bwd(&m->k, d, wd, 0.0f, &g->pack, dy, P, t->whole + at, w, &m->p.enc.pack, n);
}

void loci_tier_backward(const loci_model *m, loci_encoder_params *g, const loci_tier_tape *t,
                        const loci_chunks *b)
{
    for (int c = 0; m->hp.content_bits4 && c < b->n; c++)
        if (t->packed[c]) chunk_backward(m, g, t, b, c);
}
