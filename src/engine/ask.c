/* ask.c - a question over banks: prompt, prefill, greedy decoding, evidence.
 *
 *   <bos> <q> " question" <a>  ->  " answer" <e>
 *
 * The question is a document of its own, as in training.  Recall stops at <a>: what the model
 * wants to read there is the answer's whereabouts, nothing is generated.
 *
 * A refusal has to be surer than an answer: "not stated" begins one only if its first token leads the
 * next best by refusal_margin, as extractive question answering compares the best span with a null score
 * that was tuned on held-out questions (SQuAD 2.0, Rajpurkar et al. 2018, arXiv 1806.03822). */
#include "engine/decoder.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct { /* one question */
    loci_engine *e;
    loci_model model; /* the engine's, borrowed, with the caller's number of picks */
    const loci_ask_options *opt;
    loci_searcher *searcher;
    loci_decoder *decoder; /* over the banks and the question's own chunks */
    int32_t *ids;          /* prompt, then the answer */
    int n_prompt, n;
    float *logits;   /* (vocab) */
    int32_t refusal; /* first id of a refusal */
    double margin;   /* that it has to lead by */
    loci_reads reads;
    loci_credits credits;
    int k;
    bool recall; /* passages alone: what a gate would say does not matter */
    double consulted, pairs;
} asking;

loci_ask_options loci_ask_options_default(void)
{
    return (loci_ask_options){
        .max_tokens = 64, .max_evidence = 8, .min_score = 0.01, .refusal_margin = -1.0
    };
}

static loci_status check_options(const loci_ask_options *o, size_t question_bytes, loci_error *err)
{
    if (o->max_tokens < 1 || o->max_tokens > 4096)
        return loci_fail(err, LOCI_EINVAL, "max_tokens: expected 1..4096, found %d", o->max_tokens);
    if (o->max_evidence < 0 || o->max_evidence > 64)
        return loci_fail(err, LOCI_EINVAL, "max_evidence: expected 0..64, found %d",
                         o->max_evidence);
    if (o->k < 0 || o->k > LOCI_MAX_PICKS)
        return loci_fail(err, LOCI_EINVAL, "k: expected 0..%d, found %d", LOCI_MAX_PICKS, o->k);
    if (o->context_chunks < 0 || o->context_chunks > 64)
        return loci_fail(err, LOCI_EINVAL, "context_chunks: expected 0..64, found %d",
                         o->context_chunks);
    if (!(o->refusal_margin <= 100.0)) /* nor NaN */
        return loci_fail(err, LOCI_EINVAL, "refusal_margin: expected at most 100, found %g",
                         o->refusal_margin);
    if (question_bytes == 0) return loci_fail(err, LOCI_EINVAL, "the question is empty");
    return LOCI_OK;
}

/* The first id of " not stated". */
static loci_status find_refusal(asking *a, loci_encoder *enc, loci_error *err)
{
    static const char text[] = " " LOCI_NOT_STATED;
    int32_t ids[sizeof text];
    size_t n = 0;
    const loci_status st = loci_encode(enc, text, sizeof text - 1, ids, NULL, sizeof text, &n, err);
    a->refusal = n > 0 ? ids[0] : -1;
    a->margin =
        a->opt->refusal_margin < 0.0 ? (double)a->model.hp.refusal_margin : a->opt->refusal_margin;
    return st;
}

/* The prompt's ids.  The leading blank makes the first word the same token as inside a sentence. */
static loci_status encode_prompt(asking *a, const char *question, size_t bytes, loci_error *err)
{
    loci_encoder *enc;
    size_t n = 0, cap = bytes + 1;
    if (bytes > (size_t)1 << 30)
        return loci_fail(err, LOCI_EINVAL, "question of %zu bytes: at most 1 GiB", bytes);
    char *text = malloc(cap);
    a->ids = malloc((cap + 4 + (size_t)a->opt->max_tokens) * sizeof *a->ids);
    if (!text || !a->ids) {
        free(text);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a question of %zu bytes", bytes);
    }
    text[0] = ' ';
    memcpy(text + 1, question, bytes);
    loci_status st = loci_encoder_open(&enc, a->e->tok, err);
    if (st == LOCI_OK) st = loci_encode(enc, text, cap, a->ids + 2, NULL, cap, &n, err);
    if (st == LOCI_OK) st = find_refusal(a, enc, err);
    loci_encoder_close(enc);
    free(text);
    if (st != LOCI_OK) return st;
    if (n > LOCI_QUESTION_TOKENS_MAX)
        return loci_fail(err, LOCI_EINVAL, "question of %zu tokens: at most %d", n,
                         LOCI_QUESTION_TOKENS_MAX);
    a->ids[0] = LOCI_TOK_BOS;
    a->ids[1] = LOCI_TOK_Q;
    a->ids[n + 2] = LOCI_TOK_A;
    a->n = a->n_prompt = (int)n + 3;
    return LOCI_OK;
}

static loci_status asking_open(asking *a, loci_bank *const *banks, int n_banks,
                               const char *question, size_t bytes, loci_error *err)
{
    const loci_hparams *hp = &a->model.hp;
    a->model = *a->e->model;
    if (a->opt->k > hp->top_k)
        return loci_fail(err, LOCI_EINVAL, "k: expected 0..%d for this model, found %d", hp->top_k,
                         a->opt->k);
    if (a->opt->k > 0) a->model.hp.top_k = a->opt->k;
    loci_status st = encode_prompt(a, question, bytes, err);
    if (st == LOCI_OK)
        st = loci_searcher_open_with(&a->searcher, a->e, banks, n_banks,
                                     a->opt->exact ? LOCI_SEARCH_EXACT : LOCI_SEARCH_FAST, err);
    if (st != LOCI_OK) return st;
    a->k = hp->top_k;
    const int chunks = (a->n_prompt + a->opt->max_tokens) / hp->chunk + 1;
    const size_t rows = (size_t)LOCI_ASK_BATCH * (size_t)hp->n_groups, picks = rows * (size_t)a->k;
    a->logits = malloc((size_t)hp->vocab * sizeof *a->logits);
    a->reads.gate = calloc(rows, sizeof *a->reads.gate);
    a->reads.weight = calloc(picks, sizeof *a->reads.weight);
    a->reads.pick = calloc(picks, sizeof *a->reads.pick);
    a->reads.n_picks = calloc(rows, sizeof *a->reads.n_picks);
    a->reads.closed_too = a->recall;
    if (!a->logits || !a->reads.gate || !a->reads.weight || !a->reads.pick || !a->reads.n_picks)
        return loci_fail(err, LOCI_ENOMEM, "no memory for a question of %d tokens", a->n_prompt);
    st = loci_credits_reserve(&a->credits,
                              (size_t)a->opt->max_tokens * (size_t)(hp->n_groups * hp->top_k), err);
    if (st != LOCI_OK) return st;
    return loci_decoder_open(&a->decoder, a->e, &a->model, a->searcher, chunks, err);
}

static void asking_close(asking *a)
{
    loci_decoder_close(a->decoder);
    loci_searcher_close(a->searcher);
    free(a->ids);
    free(a->logits);
    free(a->reads.gate);
    free(a->reads.weight);
    free(a->reads.pick);
    free(a->reads.n_picks);
    loci_credits_free(&a->credits);
}

/* Run ids [from, from + n) through the model; logits of the last one. */
static loci_status run(asking *a, int from, int n, loci_error *err)
{
    const loci_model *m = &a->model;
    const loci_status st =
        loci_decoder_extend(a->decoder, a->ids + from, n, a->logits, 1, &a->reads, err);
    for (int i = 0; st == LOCI_OK && i < n * m->hp.n_groups; i++) {
        a->consulted += a->reads.gate[i] > m->hp.gate_open;
        a->pairs += 1.0;
    }
    return st;
}

static loci_status prefill(asking *a, loci_error *err)
{
    loci_status st = loci_searcher_note(a->searcher, a->ids, a->n_prompt, err);
    for (int at = 0; at < a->n_prompt && st == LOCI_OK; at += LOCI_ASK_BATCH) {
        const int left = a->n_prompt - at;
        st = run(a, at, left < LOCI_ASK_BATCH ? left : LOCI_ASK_BATCH, err);
    }
    return st;
}

/* Row of the last position in the reads of the last call of run(). */
static int last_row(const asking *a)
{
    return a->n == a->n_prompt ? (a->n_prompt - 1) % LOCI_ASK_BATCH : 0;
}

/* The answer's first token: a refusal's only if it leads every other by the margin.  By how much it does,
 * below 0 if it does not, goes to *lead. */
static int32_t choose_first(const asking *a, double *lead)
{
    const int vocab = a->e->model->hp.vocab;
    if (a->refusal < 0) return loci_argmax(a->logits, vocab);
    const float refusal = a->logits[a->refusal];
    a->logits[a->refusal] = -INFINITY;
    const int32_t next = loci_argmax(a->logits, vocab);
    a->logits[a->refusal] = refusal;
    *lead = (double)refusal - (double)a->logits[next];
    return *lead > 0.0 && *lead >= a->margin ? a->refusal : next;
}

static loci_status decode(asking *a, loci_answer *out, loci_error *err)
{
    const int groups = a->e->model->hp.n_groups;
    out->truncated = true;
    for (int i = 0; i < a->opt->max_tokens; i++) {
        const int32_t id = i == 0 ? choose_first(a, &out->refusal_lead)
                                  : loci_argmax(a->logits, a->e->model->hp.vocab);
        /* The position that chose this token read what the token rests on; <e> says nothing. */
        if (id == LOCI_TOK_E && i > 0) {
            out->truncated = false;
            break;
        }
        loci_status st =
            loci_credits_add(&a->credits, &a->reads, last_row(a), groups, a->k, false, err);
        if (st != LOCI_OK) return st;
        if (id == LOCI_TOK_E) {
            out->truncated = false;
            break;
        }
        if (a->opt->progress && a->opt->progress(a->opt->progress_ctx, i + 1, a->opt->max_tokens))
            return loci_fail(err, LOCI_ECANCEL, "stopped by the caller after %d tokens", i + 1);
        a->ids[a->n++] = id;
        out->completion_tokens++;
        if (i + 1 == a->opt->max_tokens) break;
        /* What the answer names may lead on. */
        st = loci_searcher_note(a->searcher, &id, 1, err);
        if (st == LOCI_OK) st = run(a, a->n - 1, 1, err);
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

static loci_status answer_text(const asking *a, loci_answer *out, loci_error *err)
{
    size_t n = 0;
    const size_t n_ids = (size_t)(a->n - a->n_prompt);
    (void)loci_decode(a->e->tok, a->ids + a->n_prompt, n_ids, NULL, 0, &n, NULL); /* asks for n */
    char *text = malloc(n + 1);
    if (!text) return loci_fail(err, LOCI_ENOMEM, "no memory for an answer of %zu bytes", n);
    const loci_status st = loci_decode(a->e->tok, a->ids + a->n_prompt, n_ids, text, n, &n, err);
    if (st != LOCI_OK) {
        free(text);
        return st;
    }
    const size_t skip = n > 0 && text[0] == ' ';
    memmove(text, text + skip, n - skip);
    text[n - skip] = '\0';
    out->answer = text;
    out->answer_bytes = n - skip;
    return LOCI_OK;
}

static loci_status perform(loci_engine *e, loci_bank *const *banks, int n_banks,
                           const char *question, size_t bytes, const loci_ask_options *opt,
                           bool generate, loci_answer *out, loci_error *err)
{
    const loci_ask_options defaults = loci_ask_options_default();
    asking a = { .e = e, .opt = opt ? opt : &defaults, .recall = !generate };
    memset(out, 0, sizeof *out);
    loci_status st = loci_engine_need_reads(e, err);
    if (st == LOCI_OK) st = check_options(a.opt, bytes, err);
    if (st != LOCI_OK) return st;
    const double begin = loci_seconds();
    st = asking_open(&a, banks, n_banks, question, bytes, err);
    if (st == LOCI_OK) st = prefill(&a, err);
    const double prefilled = loci_seconds();
    out->prefill_ms = 1e3 * (prefilled - begin);
    if (st == LOCI_OK && generate) st = decode(&a, out, err);
    if (st == LOCI_OK && !generate)
        st = loci_credits_add(&a.credits, &a.reads, last_row(&a), e->model->hp.n_groups, a.k, true,
                              err);
    if (out->completion_tokens > 0)
        out->per_token_ms = 1e3 * (loci_seconds() - prefilled) / out->completion_tokens;
    if (st == LOCI_OK) {
        out->prompt_tokens = a.n_prompt;
        const loci_searcher_counts counts = loci_searcher_cache(a.searcher);
        out->chunks_read = counts.hits + counts.misses;
        out->chunks_decoded = counts.misses;
        out->bank_tokens = loci_searcher_tokens(a.searcher);
        out->consult_rate = a.pairs > 0.0 ? a.consulted / a.pairs : 0.0;
        st = answer_text(&a, out, err);
    }
    if (st == LOCI_OK) st = loci_evidence_build(a.searcher, &a.credits, a.opt, out, err);
    asking_close(&a);
    if (st != LOCI_OK) loci_answer_free(out);
    return st;
}

loci_status loci_ask(loci_engine *e, loci_bank *const *banks, int n_banks, const char *question,
                     size_t question_bytes, const loci_ask_options *opt, loci_answer *out,
                     loci_error *err)
{
    return perform(e, banks, n_banks, question, question_bytes, opt, true, out, err);
}

loci_status loci_recall(loci_engine *e, loci_bank *const *banks, int n_banks, const char *query,
                        size_t query_bytes, const loci_ask_options *opt, loci_answer *out,
                        loci_error *err)
{
    return perform(e, banks, n_banks, query, query_bytes, opt, false, out, err);
}

void loci_answer_free(loci_answer *a)
{
    if (!a) return;
    for (int i = 0; i < a->n_evidence; i++) {
        free((char *)(uintptr_t)a->evidence[i].doc);
        free(a->evidence[i].text);
    }
    free(a->evidence);
    free(a->answer);
    memset(a, 0, sizeof *a);
}
