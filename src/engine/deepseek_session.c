/* deepseek_session.c - a session over a DeepSeek-V4 model: a sequence, and the folder that keeps its
 * text if the caller named one.  A long prompt is written down on the way, so that a kill costs no
 * more than what came after the last record. */
#include "engine/deepseek.h"
#include <stdlib.h>

enum { RECORD_TOKENS = 8192 }; /* a record of Flash is 15 MB, its entries of so many tokens 29 MB */

struct loci_deepseek_session {
    const loci_deepseek *d;
    loci_dsv4_seq *seq;
    loci_dsv4_store *store; /* NULL: nothing is kept */
    bool draft;
    float *scratch; /* (vocab) logits of drafts */
};

loci_status loci_deepseek_session_open(loci_deepseek_session **out, const loci_deepseek *d,
                                       loci_pool *pool, const loci_session_options *opt,
                                       loci_error *err)
{
    *out = NULL;
    if (opt->draft && !loci_dsv4_can_draft(&d->m))
        return loci_fail(err, LOCI_EMODEL, "this checkpoint has no plain MTP block to draft with");
    loci_deepseek_session *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for a session");
    s->d = d;
    s->draft = opt->draft;
    loci_status st = loci_dsv4_seq_open(&s->seq, &d->m, pool, err);
    if (st == LOCI_OK && opt->draft) {
        s->scratch = malloc((size_t)d->m.hp.vocab * sizeof *s->scratch);
        if (!s->scratch) st = loci_fail(err, LOCI_ENOMEM, "no memory for logits");
    }
    if (st == LOCI_OK && opt->state_dir)
        st = loci_dsv4_store_open(&s->store, &d->m, opt->state_dir, NULL, err);
    if (st != LOCI_OK) {
        loci_deepseek_session_close(s);
        return st;
    }
    loci_dsv4_seq_drafting(s->seq, s->draft);
    *out = s;
    return LOCI_OK;
}

void loci_deepseek_session_close(loci_deepseek_session *s)
{
    if (!s) return;
    loci_dsv4_seq_close(s->seq); /* before the mapping that it uses */
    loci_dsv4_store_close(s->store);
    free(s->scratch);
    free(s);
}

void loci_deepseek_session_reset(loci_deepseek_session *s)
{
    loci_dsv4_seq_reset(s->seq);
}

int64_t loci_deepseek_session_length(const loci_deepseek_session *s)
{
    return loci_dsv4_seq_length(s->seq);
}

loci_status loci_deepseek_session_extend(loci_deepseek_session *s, const int32_t *ids, int64_t n,
                                         float *logits, int64_t n_logits, loci_error *err)
{
    const int64_t vocab = s->d->m.hp.vocab;
    while (n > 0) {
        const int64_t at = loci_dsv4_seq_length(s->seq);
        int64_t part = n;
        if (s->store && part > RECORD_TOKENS - at % RECORD_TOKENS)
            part = RECORD_TOKENS - at % RECORD_TOKENS;
        const int64_t rest = n - part; /* logits are of the last n_logits of all n */
        const int64_t want = n_logits > rest ? n_logits - rest : 0;
        loci_status st = loci_dsv4_extend(s->seq, ids, part, logits, want, err);
        if (st == LOCI_OK && s->store && (at + part) % RECORD_TOKENS == 0)
            st = loci_dsv4_store_save(s->store, s->seq, err);
        if (st != LOCI_OK) return st;
        if (want > 0) logits += want * vocab;
        n_logits -= want;
        ids += part;
        n = rest;
    }
    return LOCI_OK;
}

loci_status loci_deepseek_session_resume(loci_deepseek_session *s, const int32_t *ids, int64_t n,
                                         int64_t *taken, loci_error *err)
{
    loci_status st = LOCI_OK;
    loci_dsv4_seq_reset(s->seq);
    if (s->store && n > 0) st = loci_dsv4_store_resume(s->store, s->seq, ids, n, err);
    loci_dsv4_seq_drafting(s->seq, s->draft);
    *taken = loci_dsv4_seq_length(s->seq);
    return st;
}

loci_status loci_deepseek_session_save(loci_deepseek_session *s, loci_error *err)
{
    return s->store ? loci_dsv4_store_save(s->store, s->seq, err) : LOCI_OK;
}

loci_status loci_deepseek_session_draft(loci_deepseek_session *s, int32_t next, int n,
                                        int32_t *draft, loci_error *err)
{
    if (!s->draft) return loci_fail(err, LOCI_ESTATE, "this session was not opened to draft");
    return loci_dsv4_draft(s->seq, next, n, draft, s->scratch, err);
}

bool loci_deepseek_session_rewind(loci_deepseek_session *s, int64_t n)
{
    return loci_dsv4_rewind(s->seq, n);
}
