/* session.c - one growing stream over a model: its window in rings, its closed chunks as a bank
 * in memory that grows by doubling up to the limit the caller set. */
#include "engine/ask_impl.h"
#include <stdlib.h>
#include <string.h>

struct loci_session {
    loci_engine *e;
    int64_t max_tokens;
    loci_stream *stream;
    loci_local_bank *own;
    void *stream_memory, *own_memory;
    loci_memory memory;
    bool stale; /* a call failed in the middle: only reset is allowed */
};

loci_session_options loci_session_options_default(void)
{
    return (loci_session_options){ .max_tokens = 131072 };
}

loci_status loci_session_open(loci_session **out, loci_engine *e, const loci_session_options *opt,
                              loci_error *err)
{
    *out = NULL;
    const loci_session_options o = opt ? *opt : loci_session_options_default();
    const loci_hparams *hp = &e->model->hp;
    if (o.max_tokens < 1 || o.max_tokens > (int64_t)1 << 30)
        return loci_fail(err, LOCI_EINVAL, "max_tokens: expected 1..2^30, found %lld",
                         (long long)o.max_tokens);
    loci_session *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for a session");
    const int chunks = (int)(o.max_tokens / hp->chunk) + 1;
    s->e = e;
    s->max_tokens = o.max_tokens;
    s->stream_memory = loci_alloc_aligned(loci_stream_bytes(hp, LOCI_ASK_BATCH));
    s->own_memory = loci_alloc_aligned(loci_local_bank_bytes(hp, chunks));
    if (!s->stream_memory || !s->own_memory) {
        loci_session_close(s);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a session of %lld tokens: %zu bytes",
                         (long long)o.max_tokens, loci_local_bank_bytes(hp, chunks));
    }
    s->stream = loci_stream_init(hp, LOCI_ASK_BATCH, s->stream_memory);
    s->own = loci_local_bank_init(hp, chunks, s->own_memory);
    s->memory = loci_local_bank_memory(s->own, &e->model->k, NULL);
    *out = s;
    return LOCI_OK;
}

void loci_session_close(loci_session *s)
{
    if (!s) return;
    loci_free_aligned(s->stream_memory);
    loci_free_aligned(s->own_memory);
    free(s);
}

void loci_session_reset(loci_session *s)
{
    loci_stream_reset(s->stream);
    loci_local_bank_reset(s->own);
    s->stale = false;
}

int64_t loci_session_length(const loci_session *s)
{
    return loci_stream_pos(s->stream);
}

loci_status loci_session_extend(loci_session *s, const int32_t *ids, int64_t n, float *logits,
                                int64_t n_logits, loci_error *err)
{
    const loci_model *m = s->e->model;
    const int64_t vocab = m->hp.vocab;
    if (s->stale)
        return loci_fail(err, LOCI_ESTATE, "the session's last call failed: reset it first");
    if (!ids || n < 1 || n_logits < 0 || n_logits > n || (n_logits > 0 && !logits))
        return loci_fail(err, LOCI_EINVAL, "extend by %lld tokens with %lld logits", (long long)n,
                         (long long)n_logits);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return loci_fail(err, LOCI_EINVAL, "token %lld: id %d, the vocabulary has %lld",
                             (long long)i, ids[i], (long long)vocab);
    if (n > s->max_tokens - loci_session_length(s))
        return loci_fail(err, LOCI_ENOMEM,
                         "session of %lld tokens, %lld more exceed its limit of %lld",
                         (long long)loci_session_length(s), (long long)n, (long long)s->max_tokens);
    for (int64_t at = 0; at < n; at += LOCI_ASK_BATCH) {
        const int part = n - at < LOCI_ASK_BATCH ? (int)(n - at) : LOCI_ASK_BATCH;
        /* Rows of this part that lie among the last n_logits. */
        const int64_t skip = n - n_logits - at;
        const int want = skip <= 0 ? part : skip >= part ? 0 : (int)(part - skip);
        const float *h = loci_stream_lower(s->stream, m, ids + at, part);
        loci_status st = loci_local_bank_append(s->own, m, h, part, err);
        if (st == LOCI_OK)
            st = loci_stream_upper(s->stream, m, part, &s->memory, logits, want, NULL, err);
        if (st != LOCI_OK) {
            s->stale = true;
            return st;
        }
        if (want > 0) logits += (int64_t)want * vocab;
    }
    return LOCI_OK;
}
