/* forward.c - the order of a DeepSeek-V4 forward pass.
 *
 *   X_s = embed[token] for all n streams
 *   each layer: (pre, post, comb) = mixer(X); x = sum_s pre_s X_s; y = attention(RMSNorm(x));
 *               X = post y + comb^T X;  the same with the experts
 *   logits = head RMSNorm(sum_s headpre_s X_s)
 *
 * A call of any length runs in batches of LOCI_DSV4_BATCH positions. */
#include "model/dsv4/dsv4_impl.h"

#include <assert.h>
#include <string.h>

/* X = sublayer's mixed output: h receives the normed input, y its output. */
static void sublayer_in(loci_dsv4_seq *s, const loci_dsv4_mixer *mix, const float *norm,
                        const float *X, int T)
{
    dsv4_mix(s, mix, X, T);
    dsv4_collapse(s, s->sc.h, X, T);
    dsv4_norm(s->m, s->sc.h, s->sc.h, norm, T, s->m->hp.hidden);
}

loci_status dsv4_layer(loci_dsv4_seq *s, int l, float *X, const int32_t *ids, int64_t pos, int T,
                       loci_error *err)
{
    const loci_dsv4_layer *w = &s->m->w.layer[l];
    sublayer_in(s, &w->attn_mix, w->attn_norm, X, T);
    dsv4_lap(s, LOCI_DSV4_PART_MIX);
    dsv4_attention(s, l, s->sc.h, s->sc.y, pos, T);
    dsv4_expand(s, X, s->sc.y, T);
    sublayer_in(s, &w->ffn_mix, w->ffn_norm, X, T);
    dsv4_lap(s, LOCI_DSV4_PART_MIX);
    const loci_status st = dsv4_moe(s, l, s->sc.h, s->sc.y, ids, T, err);
    dsv4_lap(s, LOCI_DSV4_PART_EXPERTS);
    if (st == LOCI_OK) dsv4_expand(s, X, s->sc.y, T);
    dsv4_lap(s, LOCI_DSV4_PART_MIX);
    return st;
}

void dsv4_logits(loci_dsv4_seq *s, const loci_dsv4_mixer *mix, const float *norm, const float *X,
                 int T, float *logits)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    dsv4_mix_head(s, mix, X, T);
    dsv4_collapse(s, s->sc.h, X, T);
    dsv4_norm(s->m, s->sc.h, s->sc.h, norm, T, hp->hidden);
    dsv4_linear(s, logits, hp->vocab, s->sc.h, hp->hidden, &s->m->w.head, T, false);
}

void dsv4_embed(const loci_dsv4 *m, float *X, const int32_t *ids, int T)
{
    const size_t D = (size_t)m->hp.hidden, n = (size_t)m->hp.streams;
    for (int t = 0; t < T; t++) {
        float *x = X + (size_t)t * n * D;
        loci_stored_row(x, &m->w.embed, ids[t]);
        dsv4_round(m, x, D);
        for (size_t i = 1; i < n; i++) memcpy(x + i * D, x, D * sizeof *x);
    }
}

static loci_status batch(loci_dsv4_seq *s, const int32_t *ids, int T, float *logits, int want,
                         loci_error *err)
{
    const loci_dsv4 *m = s->m;
    const size_t wide = (size_t)m->hp.streams * (size_t)m->hp.hidden;
    float *X = s->sc.x;
    loci_status st = dsv4_reserve(s, s->n + T, err);
    if (st == LOCI_OK) st = dsv4_draft_follow(s, ids, T, err); /* still needs the last streams */
    if (st != LOCI_OK) return st;
    memcpy(s->ids + s->n, ids, (size_t)T * sizeof *ids);
    dsv4_embed(m, X, ids, T);
    dsv4_lap(s, LOCI_DSV4_PART_HEAD);
    for (int l = 0; l < m->hp.n_layers && st == LOCI_OK; l++)
        st = dsv4_layer(s, l, X, ids, s->n, T, err);
    if (st != LOCI_OK) return st;
    if (want > 0)
        dsv4_logits(s, &m->w.head_mix, m->w.norm, X + (size_t)(T - want) * wide, want, logits);
    dsv4_lap(s, LOCI_DSV4_PART_HEAD);
    s->x_pos = s->n;
    s->n += T;
    s->high = s->n > s->high ? s->n : s->high;
    return dsv4_draft_catch_up(s, err);
}

loci_status loci_dsv4_extend(loci_dsv4_seq *s, const int32_t *ids, int64_t n, float *logits,
                             int64_t n_logits, loci_error *err)
{
    assert(n >= 0 && n_logits >= 0 && n_logits <= n);
    for (int64_t at = 0; at < n; at += DSV4_B) {
        const int T = n - at < DSV4_B ? (int)(n - at) : DSV4_B;
        const int64_t skip = n - n_logits - at; /* rows of this batch without logits */
        const int want = skip <= 0 ? T : skip >= T ? 0 : (int)(T - skip);
        const loci_status st = batch(s, ids + at, T, logits, want, err);
        if (st != LOCI_OK) return st;
        if (want > 0) logits += (size_t)want * (size_t)s->m->hp.vocab;
    }
    return LOCI_OK;
}
