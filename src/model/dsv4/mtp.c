/* mtp.c - the MTP block as a drafter.
 *
 *   X'_s = e_proj RMSNorm(embed(token t+1)) enorm + h_proj RMSNorm(X_s) hnorm     for each stream
 *   one window layer on X' at position t, then its own head mixer and norm, the model's head:
 *   logits of token t+2
 *
 * The block follows the decoder, one position behind: behind every batch it sees the positions whose
 * successor is known, with the streams that the decoder left there; the last one waits for the next
 * token.  A draft of more than one token goes on from the block's
 * own streams; what that writes to the block's ring is written again when the decoder has been
 * there.  Drafts change nothing but how many tokens a call can check at once. */
#include "model/dsv4/dsv4_impl.h"

#include <assert.h>
#include <string.h>

/* sc.xm (T, n, D) from streams X and the tokens after them. */
static void mtp_input(loci_dsv4_seq *s, const float *X, const int32_t *next, int T)
{
    const loci_dsv4 *m = s->m;
    const loci_dsv4_mtp *w = &m->w.mtp[0];
    const int D = m->hp.hidden, n = m->hp.streams;
    float *e = s->sc.h, *out = s->sc.y;
    for (int t = 0; t < T; t++) loci_stored_row(e + (size_t)t * (size_t)D, &m->w.embed, next[t]);
    dsv4_norm(m, e, e, w->enorm, T, D);
    dsv4_linear(s, out, D, e, D, &w->e_proj, T, true);
    for (int i = 0; i < n; i++) {
        /* One stream at a time, so that the scratch of a batch is enough. */
        for (int t = 0; t < T; t++)
            memcpy(e + (size_t)t * (size_t)D, X + ((size_t)t * (size_t)n + (size_t)i) * (size_t)D,
                   (size_t)D * sizeof *e);
        dsv4_norm(m, e, e, w->hnorm, T, D);
        dsv4_linear(s, s->sc.ey, D, e, D, &w->h_proj, T, true);
        for (int t = 0; t < T; t++) {
            float *row = s->sc.xm + ((size_t)t * (size_t)n + (size_t)i) * (size_t)D;
            for (int c = 0; c < D; c++) row[c] = out[t * D + c] + s->sc.ey[t * D + c];
        }
    }
    dsv4_round(m, s->sc.xm, (size_t)T * (size_t)(n * D));
}

/* The block at positions mtp_n .. end-1; their successors are in ids, their streams in sc.x. */
static loci_status follow(loci_dsv4_seq *s, int64_t end, loci_error *err)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const int64_t from = s->mtp_n > s->x_pos ? s->mtp_n : s->x_pos;
    const int T = (int)(end - from);
    if (T <= 0) return LOCI_OK;
    assert(T <= DSV4_B);
    mtp_input(s, s->sc.x + (size_t)(from - s->x_pos) * (size_t)(hp->streams * hp->hidden),
              s->ids + from + 1, T);
    const loci_status st = dsv4_layer(s, hp->n_layers, s->sc.xm, s->ids + from, from, T, err);
    if (st == LOCI_OK) s->mtp_n = end;
    return st;
}

loci_status dsv4_draft_follow(loci_dsv4_seq *s, const int32_t *ids, int T, loci_error *err)
{
    if (!s->drafting || s->n == 0 || T == 0) return LOCI_OK;
    s->ids[s->n] = ids[0];
    return follow(s, s->n, err);
}

loci_status dsv4_draft_catch_up(loci_dsv4_seq *s, loci_error *err)
{
    return s->drafting && s->n > 0 ? follow(s, s->n - 1, err) : LOCI_OK;
}

bool loci_dsv4_can_draft(const loci_dsv4 *m)
{
    return m->hp.n_mtp > 0;
}

void loci_dsv4_seq_drafting(loci_dsv4_seq *s, bool on)
{
    s->drafting = on && loci_dsv4_can_draft(s->m);
    s->mtp_n = s->n > 0 ? s->n - 1 : 0;
}

static int32_t best_id(const float *logits, int vocab)
{
    int32_t best = 0;
    for (int i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

loci_status loci_dsv4_draft(loci_dsv4_seq *s, int32_t next, int n, int32_t *draft, float *logits,
                            loci_error *err)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const loci_dsv4_mtp *w = &s->m->w.mtp[0];
    const size_t wide = (size_t)hp->streams * (size_t)hp->hidden;
    assert(s->drafting && s->n > 0 && n >= 1 && n < DSV4_B);
    loci_status st = dsv4_draft_catch_up(s, err);
    if (s->n - 1 < s->x_pos)
        return loci_fail(err, LOCI_ESTATE, "a sequence that went back behind its last batch");
    const float *X = s->sc.x + (size_t)(s->n - 1 - s->x_pos) * wide;
    for (int i = 0; i < n && st == LOCI_OK; i++) {
        const int32_t token = i == 0 ? next : draft[i - 1];
        mtp_input(s, X, &token, 1);
        st = dsv4_layer(s, hp->n_layers, s->sc.xm, &token, s->n - 1 + i, 1, err);
        if (st != LOCI_OK) break;
        dsv4_logits(s, &w->head_mix, w->norm, s->sc.xm, 1, logits);
        draft[i] = best_id(logits, hp->vocab);
        X = s->sc.xm;
    }
    return st;
}
