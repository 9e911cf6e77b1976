/* session.c - one growing stream over a model: its window in rings, its closed chunks as a bank
 * in memory that grows by doubling up to the limit the caller set.  A DeepSeek-V4 model has a
 * session of its own kind (deepseek_session.c) behind the same calls. */
#include "engine/deepseek.h"
#include "engine/decoder.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct loci_session {
    loci_engine *e;
    int64_t max_tokens;
    loci_deepseek_session *deepseek; /* NULL: the loci model, and what follows */
    loci_decoder *decoder;
    loci_model model; /* the engine's, with the gates that were asked for */
    loci_reads reads; /* of one batch: only the gates are looked at */
    int batch;        /* tokens of one */
    float *logits;    /* (LOCI_ASK_BATCH, vocab) once losses were asked for without a GPU */
    loci_session_reads count;
    bool stale; /* a call failed in the middle: only reset is allowed */
};

loci_session_options loci_session_options_default(void)
{
    return (loci_session_options){ .max_tokens = 131072 };
}

/* A stream whose gates are counted, and where asked for all open or all closed. */
static loci_status open_stream(loci_session *s, loci_reading reading, loci_error *err)
{
    s->model = *s->e->model;
    loci_hparams *hp = &s->model.hp;
    if (reading != LOCI_READ_AS_TRAINED) { /* a gate lies between 0 and 1 */
        hp->hard_gate = 1;
        hp->gate_open = reading == LOCI_READ_ALWAYS ? -1.0f : 2.0f;
    }
    const loci_status st = loci_decoder_open(&s->decoder, s->e, &s->model, NULL,
                                             (int)(s->max_tokens / hp->chunk) + 1, err);
    if (st != LOCI_OK) return st;
    s->batch = loci_decoder_batch(s->decoder);
    const size_t rows = (size_t)s->batch * (size_t)(hp->n_groups + 1);
    const size_t picks = rows * (size_t)hp->top_k;
    s->reads.gate = calloc(rows, sizeof *s->reads.gate);
    s->reads.n_picks = calloc(rows, sizeof *s->reads.n_picks);
    s->reads.weight = calloc(picks, sizeof *s->reads.weight);
    s->reads.pick = calloc(picks, sizeof *s->reads.pick);
    if (!s->reads.gate || !s->reads.n_picks || !s->reads.weight || !s->reads.pick)
        return loci_fail(err, LOCI_ENOMEM, "no memory for a session");
    return LOCI_OK;
}

loci_session_reads loci_session_consulted(const loci_session *s)
{
    return s->count;
}

loci_status loci_session_open(loci_session **out, loci_engine *e, const loci_session_options *opt,
                              loci_error *err)
{
    *out = NULL;
    const loci_session_options o = opt ? *opt : loci_session_options_default();
    if (o.max_tokens < 1 || o.max_tokens > (int64_t)1 << 30)
        return loci_fail(err, LOCI_EINVAL, "max_tokens: expected 1..2^30, found %lld",
                         (long long)o.max_tokens);
    if ((unsigned)o.reading > LOCI_READ_NEVER || (o.reading != LOCI_READ_AS_TRAINED && e->deepseek))
        return loci_fail(err, LOCI_EINVAL,
                         "reading: expected 0 to 2, and 0 for DeepSeek-V4, found %d",
                         (int)o.reading);
    if (!e->deepseek && (o.state_dir || o.draft))
        return loci_fail(err, LOCI_EINVAL, "state_dir and draft are for DeepSeek-V4 models");
    loci_session *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for a session");
    s->e = e;
    s->max_tokens = o.max_tokens;
    const loci_status st =
        e->deepseek ? loci_deepseek_session_open(&s->deepseek, e->deepseek, e->pool, &o, err)
                    : open_stream(s, o.reading, err);
    if (st != LOCI_OK) {
        loci_session_close(s);
        return st;
    }
    *out = s;
    return LOCI_OK;
}

void loci_session_close(loci_session *s)
{
    if (!s) return;
    loci_deepseek_session_close(s->deepseek);
    loci_decoder_close(s->decoder);
    free(s->logits);
    free(s->reads.gate);
    free(s->reads.n_picks);
    free(s->reads.weight);
    free(s->reads.pick);
    free(s);
}

void loci_session_reset(loci_session *s)
{
    s->stale = false;
    if (s->deepseek)
        loci_deepseek_session_reset(s->deepseek);
    else
        loci_decoder_reset(s->decoder);
}

int64_t loci_session_length(const loci_session *s)
{
    return s->deepseek ? loci_deepseek_session_length(s->deepseek) : loci_decoder_pos(s->decoder);
}

static void count_gates(loci_session *s, int n)
{
    const loci_hparams *hp = &s->model.hp;
    for (int i = 0; i < n * hp->n_groups; i++)
        s->count.consulted += s->reads.gate[i] > hp->gate_open;
    s->count.pairs += (int64_t)n * hp->n_groups;
}

/* Rows in batches; logits of the last n_logits. */
static loci_status extend_stream(loci_session *s, const int32_t *ids, int64_t n, float *logits,
                                 int64_t n_logits, loci_error *err)
{
    for (int64_t at = 0; at < n; at += s->batch) {
        const int part = n - at < s->batch ? (int)(n - at) : s->batch;
        /* Rows of this part that lie among the last n_logits. */
        const int64_t skip = n - n_logits - at;
        const int want = skip <= 0 ? part : skip >= part ? 0 : (int)(part - skip);
        const loci_status st =
            loci_decoder_extend(s->decoder, ids + at, part, logits, want, &s->reads, err);
        if (st != LOCI_OK) return st;
        count_gates(s, part);
        if (want > 0) logits += (int64_t)want * s->e->info.vocab;
    }
    return LOCI_OK;
}

/* What every way to append n tokens asks. */
static loci_status check_append(const loci_session *s, const int32_t *ids, int64_t n,
                                loci_error *err)
{
    const int64_t vocab = s->e->info.vocab;
    if (s->stale)
        return loci_fail(err, LOCI_ESTATE, "the session's last call failed: reset it first");
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return loci_fail(err, LOCI_EINVAL, "token %lld: id %d, the vocabulary has %lld",
                             (long long)i, ids[i], (long long)vocab);
    if (n > s->max_tokens - loci_session_length(s))
        return loci_fail(err, LOCI_ENOMEM,
                         "session of %lld tokens, %lld more exceed its limit of %lld",
                         (long long)loci_session_length(s), (long long)n, (long long)s->max_tokens);
    return LOCI_OK;
}

loci_status loci_session_extend(loci_session *s, const int32_t *ids, int64_t n, float *logits,
                                int64_t n_logits, loci_error *err)
{
    if (!ids || n < 1 || n_logits < 0 || n_logits > n || (n_logits > 0 && !logits))
        return loci_fail(err, LOCI_EINVAL, "extend by %lld tokens with %lld logits", (long long)n,
                         (long long)n_logits);
    loci_status st = check_append(s, ids, n, err);
    if (st != LOCI_OK) return st;
    st = s->deepseek ? loci_deepseek_session_extend(s->deepseek, ids, n, logits, n_logits, err)
                     : extend_stream(s, ids, n, logits, n_logits, err);
    s->stale = st != LOCI_OK;
    return st;
}

/* ---- losses ------------------------------------------------------------------------------------ */

typedef struct {
    const float *logits;
    const int32_t *target;
    float *loss;
    int vocab;
} loss_job;

/* Each term is good to 1e-7 of itself in float, at a third of the time; the sum is not left to it. */
static void loss_of(void *ctx, int tile, int worker)
{
    const loss_job *j = ctx;
    const float *x = j->logits + (size_t)tile * (size_t)j->vocab;
    (void)worker;
    j->loss[tile] = 0.0f;
    if (j->target[tile] < 0) return;
    float top = x[0];
    double sum = 0.0;
    for (int i = 1; i < j->vocab; i++) top = x[i] > top ? x[i] : top;
    for (int i = 0; i < j->vocab; i++) sum += (double)expf(x[i] - top);
    j->loss[tile] = (float)((double)top + log(sum) - (double)x[j->target[tile]]);
}

/* Through logits, a batch at a time. */
static loci_status losses_from_logits(loci_session *s, const int32_t *ids, int64_t n,
                                      const int32_t *target, float *loss, loci_error *err)
{
    const int vocab = s->e->info.vocab;
    if (!s->logits) s->logits = malloc(LOCI_ASK_BATCH * (size_t)vocab * sizeof *s->logits);
    if (!s->logits) return loci_fail(err, LOCI_ENOMEM, "no memory for %d logits", LOCI_ASK_BATCH);
    for (int64_t at = 0; at < n; at += LOCI_ASK_BATCH) {
        const int part = n - at < LOCI_ASK_BATCH ? (int)(n - at) : LOCI_ASK_BATCH;
        const loci_status st = loci_session_extend(s, ids + at, part, s->logits, part, err);
        if (st != LOCI_OK) return st;
        loss_job j = { s->logits, target + at, loss + at, vocab };
        loci_pool_run(s->e->pool, part, loss_of, &j);
    }
    return LOCI_OK;
}

loci_status loci_session_losses(loci_session *s, const int32_t *ids, int64_t n,
                                const int32_t *target, float *loss, loci_error *err)
{
    const int vocab = s->e->info.vocab;
    if (!ids || !target || !loss || n < 1)
        return loci_fail(err, LOCI_EINVAL, "losses of %lld tokens", (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (target[i] < -1 || target[i] >= vocab)
            return loci_fail(err, LOCI_EINVAL, "target %lld: id %d, the vocabulary has %d",
                             (long long)i, target[i], vocab);
    loci_status st = check_append(s, ids, n, err);
    if (st != LOCI_OK) return st;
    if (s->deepseek || !loci_decoder_has_losses(s->decoder))
        return losses_from_logits(s, ids, n, target, loss, err);
    for (int64_t at = 0; at < n && st == LOCI_OK; at += s->batch) {
        const int part = n - at < s->batch ? (int)(n - at) : s->batch;
        st = extend_stream(s, ids + at, part, NULL, 0, err);
        if (st == LOCI_OK) st = loci_decoder_losses(s->decoder, target + at, part, loss + at, err);
    }
    s->stale = st != LOCI_OK;
    return st;
}

/* ---- of DeepSeek-V4 models ------------------------------------------------------------------- */

loci_status loci_session_resume(loci_session *s, const int32_t *ids, int64_t n, int64_t *taken,
                                loci_error *err)
{
    *taken = 0;
    s->stale = false;
    if (s->deepseek) return loci_deepseek_session_resume(s->deepseek, ids, n - 1, taken, err);
    loci_session_reset(s);
    return LOCI_OK;
}

loci_status loci_session_save(loci_session *s, loci_error *err)
{
    if (!s->deepseek) return LOCI_OK;
    if (s->stale)
        return loci_fail(err, LOCI_ESTATE, "the session's last call failed: reset it first");
    return loci_deepseek_session_save(s->deepseek, err);
}

loci_status loci_session_draft(loci_session *s, int32_t next, int n, int32_t *draft,
                               loci_error *err)
{
    if (!s->deepseek || s->stale || loci_session_length(s) == 0)
        return loci_fail(err, LOCI_ESTATE, "this session cannot draft");
    if (n < 1 || n > 32 || next < 0 || next >= s->e->info.vocab)
        return loci_fail(err, LOCI_EINVAL, "draft %d tokens behind id %d", n, next);
    return loci_deepseek_session_draft(s->deepseek, next, n, draft, err);
}

bool loci_session_rewind(loci_session *s, int64_t n)
{
    return s->deepseek && !s->stale && loci_deepseek_session_rewind(s->deepseek, n);
}
