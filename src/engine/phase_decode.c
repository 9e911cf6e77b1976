/* phase_decode.c - decode, search and open, measured through what asking goes through: a stream, its
 * own chunks, a searcher over banks.
 *
 * Tokens that are decoded are those of a text, so that runs read the same and none ends early.  Time
 * inside the memory (search, content, gist) is taken at its three calls; the head is the difference
 * of tokens with logits and without.  Several spells are run and the quickest counts: another program
 * takes time away and gives none. */
#include "engine/phase_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 64, QUERIES = 64, WARM_UP = 8, HEAD_TOKENS = 16 };

enum { LOWER, OWN, NOTE, SEARCH, CONTENT, GIST, UPPER, PARTS };

struct loci_phase_asking {
    loci_model model; /* the engine's, borrowed, with its threads */
    loci_searcher *searcher;
    loci_stream *stream;
    loci_local_bank *own;
    void *stream_memory, *own_memory;
    float *logits;
    loci_reads reads; /* of the last call: gates of LOCI_ASK_BATCH rows */
    double consulted,
        pairs;         /* rows and groups whose gate was open, all of them: since the last reset */
    loci_memory inner; /* of the searcher */
    loci_memory timed, memory; /* the same with a clock, then joined with the stream's own chunks */
    double seconds[PARTS];     /* since the last reset */
    int64_t at;                /* in the text */
};
typedef struct loci_phase_asking asking;

void loci_phase_asking_close(loci_bench_model *b)
{
    asking *a = b->asking;
    if (!a) return;
    loci_searcher_close(a->searcher);
    loci_free_aligned(a->stream_memory);
    loci_free_aligned(a->own_memory);
    free(a->logits);
    free(a->reads.gate);
    free(a->reads.weight);
    free(a->reads.pick);
    free(a->reads.n_picks);
    free(a);
    b->asking = NULL;
}

/* ---- a memory with a clock ------------------------------------------------------------------- */

static int timed_search(void *ctx, const float *u, float tau, int k, int64_t own_end,
                        loci_pick *picks)
{
    asking *a = ctx;
    const double begin = loci_seconds();
    const int n = a->inner.search(a->inner.ctx, u, tau, k, own_end, picks);
    a->seconds[SEARCH] += loci_seconds() - begin;
    return n;
}

static int timed_content(void *ctx, const loci_pick *pick, const float **rows)
{
    asking *a = ctx;
    const double begin = loci_seconds();
    const int n = a->inner.content(a->inner.ctx, pick, rows);
    a->seconds[CONTENT] += loci_seconds() - begin;
    return n;
}

static int timed_gist(void *ctx, const float *u, float tau, int64_t own_end, loci_gist_take *take,
                      void *to)
{
    asking *a = ctx;
    const double begin = loci_seconds();
    const int st = a->inner.gist(a->inner.ctx, u, tau, own_end, take, to);
    a->seconds[GIST] += loci_seconds() - begin;
    return st;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static loci_status open_asking(loci_bench_model *b, int64_t tokens, loci_error *err)
{
    const loci_model *m = b->engine->model;
    const loci_hparams *hp = &m->hp;
    const int chunks = (int)(tokens / hp->chunk) + 2;
    asking *a = b->asking = calloc(1, sizeof *a);
    if (!a) return loci_fail(err, LOCI_ENOMEM, "no memory for a stream");
    a->model = *m;
    a->model.pool = b->engine->pool;
    const loci_status st = loci_searcher_open(&a->searcher, b->engine, b->bank, b->n_banks, err);
    if (st != LOCI_OK) return st;
    a->stream_memory = loci_alloc_aligned(loci_stream_bytes(hp, LOCI_ASK_BATCH));
    a->own_memory = loci_alloc_aligned(loci_local_bank_bytes(hp, chunks));
    a->logits = malloc((size_t)hp->vocab * sizeof *a->logits);
    const size_t rows = (size_t)LOCI_ASK_BATCH * (size_t)hp->n_groups,
                 picks = rows * (size_t)hp->top_k;
    a->reads.gate = calloc(rows, sizeof *a->reads.gate);
    a->reads.weight = calloc(picks, sizeof *a->reads.weight);
    a->reads.pick = calloc(picks, sizeof *a->reads.pick);
    a->reads.n_picks = calloc(rows, sizeof *a->reads.n_picks);
    if (!a->stream_memory || !a->own_memory || !a->logits || !a->reads.gate || !a->reads.weight ||
        !a->reads.pick || !a->reads.n_picks)
        return loci_fail(err, LOCI_ENOMEM, "no memory for a stream of %lld tokens",
                         (long long)tokens);
    a->stream = loci_stream_init(hp, LOCI_ASK_BATCH, a->stream_memory);
    a->own = loci_local_bank_init(hp, chunks, a->own_memory);
    a->inner = loci_searcher_memory(a->searcher);
    a->timed = (loci_memory){ a, timed_search, timed_content, a->inner.gist ? timed_gist : NULL };
    a->memory = loci_local_bank_memory(a->own, &m->k, &a->timed);
    return LOCI_OK;
}

static loci_status open_for(loci_bench_model *b, loci_bench_model_row *row, int64_t tokens,
                            loci_error *err)
{
    const loci_status st = loci_phase_open_banks(b, row, err);
    return st == LOCI_OK ? open_asking(b, tokens, err) : st;
}

/* ---- decoding ----------------------------------------------------------------------------------- */

/* The next n tokens of the text through the model, as ask.c runs them. */
static loci_status step(loci_bench_model *b, int n, const loci_memory *memory, int n_logits,
                        loci_error *err)
{
    asking *a = b->asking;
    const loci_model *m = &a->model;
    if (a->at + n > b->n_text) a->at = 0;
    const int32_t *ids = b->text + a->at;
    a->at += n;
    double now = loci_seconds();
    loci_status st = loci_searcher_note(a->searcher, ids, n, err);
    double then = loci_seconds();
    a->seconds[NOTE] += then - now;
    const float *h = loci_stream_lower(a->stream, m, ids, n);
    now = loci_seconds();
    a->seconds[LOWER] += now - then;
    if (st == LOCI_OK) st = loci_local_bank_append(a->own, m, h, n, err);
    then = loci_seconds();
    a->seconds[OWN] += then - now;
    if (st == LOCI_OK)
        st = loci_stream_upper(a->stream, m, n, memory, a->logits, n_logits, &a->reads, err);
    a->seconds[UPPER] += loci_seconds() - then;
    for (int i = 0; st == LOCI_OK && i < n * m->hp.n_groups; i++) {
        a->consulted += a->reads.gate[i] > m->hp.gate_open;
        a->pairs += 1.0;
    }
    loci_error bank_error = { 0 }; /* says more than the stream can */
    if (st != LOCI_OK && loci_searcher_status(a->searcher, &bank_error) != LOCI_OK && err)
        *err = bank_error;
    return st;
}

/* Least difference that the head makes: a token with logits, one without, and again. */
static loci_status measure_head(loci_bench_model *b, double *seconds, loci_error *err)
{
    double best[2] = { 0.0, 0.0 };
    for (int i = 0; i < 2 * HEAD_TOKENS; i++) {
        const double begin = loci_seconds();
        const loci_status st = step(b, 1, NULL, i % 2, err);
        const double each = loci_seconds() - begin;
        if (st != LOCI_OK) return st;
        if (i < 2 || each < best[i % 2]) best[i % 2] = each;
    }
    *seconds = best[1] > best[0] ? best[1] - best[0] : 0.0;
    return LOCI_OK;
}

typedef struct {
    double seconds[PARTS];
    double hits, misses;
    double consulted; /* share of rows and groups */
} spell;

static loci_status run_spell(loci_bench_model *b, int64_t tokens, spell *out, double *total,
                             loci_error *err)
{
    asking *a = b->asking;
    const loci_searcher_counts before = loci_searcher_cache(a->searcher);
    memset(a->seconds, 0, sizeof a->seconds);
    a->consulted = a->pairs = 0.0;
    loci_status st = LOCI_OK;
    const double begin = loci_seconds();
    for (int64_t i = 0; i < tokens && st == LOCI_OK; i++) {
        st = step(b, 1, &a->memory, 1, err);
        if (st == LOCI_OK) (void)loci_argmax(a->logits, b->engine->model->hp.vocab);
    }
    *total = (loci_seconds() - begin) / (double)tokens;
    const loci_searcher_counts after = loci_searcher_cache(a->searcher);
    for (int i = 0; i < PARTS; i++) out->seconds[i] = a->seconds[i] / (double)tokens;
    out->hits = (double)(after.hits - before.hits) / (double)tokens;
    out->misses = (double)(after.misses - before.misses) / (double)tokens;
    out->consulted = a->pairs > 0.0 ? a->consulted / a->pairs : 0.0;
    return st;
}

static void decode_row(const loci_bench_model *b, loci_bench_model_row *row, const spell *s,
                       double head)
{
    const loci_model *m = b->engine->model;
    int64_t chunks = 0;
    for (int i = 0; i < b->n_banks; i++) chunks += b->bank[i]->chunks;
    const double upper =
        s->seconds[UPPER] - s->seconds[SEARCH] - s->seconds[CONTENT] - s->seconds[GIST];
    const double resident = loci_phase_weight_bytes(m) + loci_phase_search(m, chunks, 1).bytes;
    const loci_phase_cost none = { 0.0, 0.0 };
    loci_phase_part(b, row, "lower", s->seconds[LOWER], loci_phase_lower(m), resident);
    loci_phase_part(b, row, "own", s->seconds[OWN], loci_phase_encode(m), resident);
    loci_phase_part(b, row, "search", s->seconds[SEARCH],
                    loci_phase_search(m, chunks, m->hp.n_groups), resident);
    loci_phase_part(b, row, "content", s->seconds[CONTENT], loci_phase_content(m, s->misses),
                    resident);
    loci_phase_part(b, row, "upper", fmax(upper - head, 0.0), loci_phase_upper(m), resident);
    loci_phase_part(b, row, "head", head, loci_phase_head(m), resident);
    if (m->hp.postings) loci_phase_part(b, row, "postings", s->seconds[NOTE], none, resident);
    if (m->hp.d_summary) loci_phase_part(b, row, "gist", s->seconds[GIST], none, resident);
    if (s->hits + s->misses > 0.0) row->hit_rate = s->hits / (s->hits + s->misses);
}

loci_status loci_phase_decode(loci_bench_model *b, loci_bench_model_row *row, loci_error *err)
{
    const int repeat = b->opt.repeat;
    const int64_t tokens = b->opt.units > 0 ? b->opt.units : TOKENS;
    const int64_t all = LOCI_PHASE_PROMPT + WARM_UP + 2 * HEAD_TOKENS + tokens * repeat;
    spell *s = calloc((size_t)repeat, sizeof *s);
    double *total = calloc((size_t)repeat, sizeof *total), head = 0.0;
    loci_status st = s && total ? open_for(b, row, all, err)
                                : loci_fail(err, LOCI_ENOMEM, "no memory for %d spells", repeat);
    if (st == LOCI_OK) st = step(b, LOCI_PHASE_PROMPT, &b->asking->memory, 1, err);
    if (st == LOCI_OK) st = measure_head(b, &head, err);
    for (int i = 0; i < WARM_UP && st == LOCI_OK; i++) st = step(b, 1, &b->asking->memory, 1, err);
    const double joules = loci_phase_joules(b);
    for (int i = 0; i < repeat && st == LOCI_OK; i++)
        st = run_spell(b, tokens, &s[i], &total[i], err);
    if (st == LOCI_OK) {
        row->joules = (loci_phase_joules(b) - joules) / (double)(tokens * repeat);
        const int best = loci_phase_quickest(total, repeat, &row->median_seconds);
        row->units = tokens;
        row->units_per_second = 1.0 / total[best];
        row->consult_rate = s[best].consulted;
        row->consult_rate_all = 0.0;
        for (int i = 0; i < repeat; i++) row->consult_rate_all += s[i].consulted / repeat;
        loci_phase_part(b, row, "token", total[best], (loci_phase_cost){ 0 }, 0.0);
        decode_row(b, row, &s[best], head);
    }
    free(s);
    free(total);
    return st;
}

/* ---- searching -------------------------------------------------------------------------------------- */

/* n random queries and the content of their picks; seconds of one in each. */
static loci_status run_queries(loci_bench_model *b, loci_rng *rng, int64_t n, spell *out,
                               double *total, loci_error *err)
{
    asking *a = b->asking;
    const loci_hparams *hp = &b->engine->model->hp;
    const loci_searcher_counts before = loci_searcher_cache(a->searcher);
    float u[512];
    loci_pick pick[LOCI_MAX_PICKS];
    memset(a->seconds, 0, sizeof a->seconds);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (int k = 0; k < hp->d_landmark; k++) {
            u[k] = (float)loci_rng_normal(rng);
            sum += (double)u[k] * (double)u[k];
        }
        for (int k = 0; k < hp->d_landmark; k++) u[k] /= (float)sqrt(sum);
        const int found = timed_search(a, u, 12.0f, hp->top_k, 0, pick);
        for (int k = 0; k < found; k++) {
            const float *rows;
            (void)timed_content(a, &pick[k], &rows);
        }
        const loci_status st = loci_searcher_status(a->searcher, err);
        if (st != LOCI_OK) return st;
    }
    const loci_searcher_counts after = loci_searcher_cache(a->searcher);
    out->seconds[SEARCH] = a->seconds[SEARCH] / (double)n;
    out->seconds[CONTENT] = a->seconds[CONTENT] / (double)n;
    out->hits = (double)(after.hits - before.hits) / (double)n;
    out->misses = (double)(after.misses - before.misses) / (double)n;
    *total = out->seconds[SEARCH] + out->seconds[CONTENT];
    return LOCI_OK;
}

loci_status loci_phase_search_run(loci_bench_model *b, loci_bench_model_row *row, loci_error *err)
{
    const int repeat = b->opt.repeat;
    const int64_t n = b->opt.units > 0 ? b->opt.units : QUERIES;
    const loci_model *m = b->engine->model;
    spell *s = calloc((size_t)repeat + 1, sizeof *s);
    double *total = calloc((size_t)repeat + 1, sizeof *total);
    loci_rng rng;
    loci_rng_seed(&rng, b->opt.seed);
    loci_status st = s && total ? open_for(b, row, LOCI_PHASE_PROMPT, err)
                                : loci_fail(err, LOCI_ENOMEM, "no memory for %d spells", repeat);
    const double joules = loci_phase_joules(b);
    /* The first spell meets pages that were never touched: its time is not counted. */
    for (int i = 0; i <= repeat && st == LOCI_OK; i++)
        st = run_queries(b, &rng, n, &s[i], &total[i], err);
    if (st == LOCI_OK) {
        row->joules = (loci_phase_joules(b) - joules) / (double)(n * (repeat + 1));
        const int best = 1 + loci_phase_quickest(total + 1, repeat, &row->median_seconds);
        int64_t chunks = 0;
        for (int i = 0; i < b->n_banks; i++) chunks += b->bank[i]->chunks;
        const double all = loci_phase_search(m, chunks, 1).bytes;
        row->units = n;
        row->units_per_second = total[best] > 0.0 ? 1.0 / total[best] : 0.0;
        loci_phase_part(b, row, "query", total[best], (loci_phase_cost){ 0 }, 0.0);
        loci_phase_part(b, row, "search", s[best].seconds[SEARCH], loci_phase_search(m, chunks, 1),
                        all);
        loci_phase_part(b, row, "content", s[best].seconds[CONTENT],
                        loci_phase_content(m, s[best].misses), all);
        if (s[best].hits + s[best].misses > 0.0)
            row->hit_rate = s[best].hits / (s[best].hits + s[best].misses);
    }
    free(s);
    free(total);
    return st;
}

/* ---- opening ------------------------------------------------------------------------------------------ */

typedef struct {
    double engine, banks, answer;
    int prompt; /* tokens of the question */
} opening;

static double sum_of(const opening *o)
{
    return o->engine + o->banks + o->answer;
}

/* What `loci ask` does up to the first token: a process of its own would add some milliseconds. */
static loci_status open_once(loci_bench_model *b, loci_bench_model_row *row, opening *out,
                             loci_error *err)
{
    static const char question[] = "What is the access code of the northern archive?";
    const loci_ask_options ask = { .max_tokens = 1, .max_evidence = 1, .min_score = 0.01 };
    const loci_engine_options eo = { .model_dir = b->model_dir,
                                     .threads = b->opt.threads,
                                     .cpu = b->opt.cpu };
    loci_engine *measured = NULL, *own = b->engine;
    loci_answer answer;
    double begin = loci_seconds();
    loci_status st = loci_engine_open(&measured, &eo, err);
    out->engine = loci_seconds() - begin;
    if (st != LOCI_OK) return st;
    b->engine = measured;
    begin = loci_seconds();
    st = loci_phase_open_banks(b, row, err);
    out->banks = loci_seconds() - begin;
    if (st == LOCI_OK) {
        begin = loci_seconds();
        st = loci_ask(measured, b->bank, b->n_banks, question, sizeof question - 1, &ask, &answer,
                      err);
        out->answer = loci_seconds() - begin;
        if (st == LOCI_OK) {
            out->prompt = answer.prompt_tokens;
            loci_answer_free(&answer);
        }
    }
    loci_phase_close_banks(b);
    b->engine = own;
    loci_engine_close(measured);
    return st;
}

static void forget_banks(const loci_bench_model *b)
{
    char dir[4096];
    for (int i = 0; i < b->opt.banks; i++)
        if (loci_phase_bank_dir(b, i, dir, sizeof dir, NULL) == LOCI_OK)
            loci_phase_forget_files(dir);
}

/* `repeat` openings; which is quickest into *best. */
static loci_status open_often(loci_bench_model *b, loci_bench_model_row *row, bool cold,
                              opening *best, loci_error *err)
{
    const int repeat = b->opt.repeat;
    opening *o = calloc((size_t)repeat, sizeof *o);
    double *total = calloc((size_t)repeat, sizeof *total);
    loci_status st =
        o && total ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for %d openings", repeat);
    for (int i = 0; i < repeat && st == LOCI_OK; i++) {
        if (cold) forget_banks(b);
        st = open_once(b, row, &o[i], err);
        total[i] = sum_of(&o[i]);
    }
    if (st == LOCI_OK) *best = o[loci_phase_quickest(total, repeat, &row->median_seconds)];
    free(o);
    free(total);
    return st;
}

/* Weights once, products of every token of the prompt, a search's bytes a token and group. */
static loci_phase_cost prompt_cost(const loci_bench_model *b, int tokens, double search)
{
    const loci_model *m = b->engine->model;
    const loci_phase_cost lower = loci_phase_lower(m), upper = loci_phase_upper(m),
                          head = loci_phase_head(m);
    return (loci_phase_cost){ lower.bytes + upper.bytes + head.bytes +
                                  search * tokens * m->hp.n_groups,
                              tokens * (lower.operations + upper.operations) + head.operations };
}

loci_status loci_phase_open(loci_bench_model *b, loci_bench_model_row *row, loci_error *err)
{
    opening cold, warm;
    const loci_phase_cost none = { 0.0, 0.0 };
    const double joules = loci_phase_joules(b);
    loci_status st = open_often(b, row, true, &cold, err);
    if (st == LOCI_OK) st = open_often(b, row, false, &warm, err);
    if (st != LOCI_OK) return st;
    const loci_hparams *hp = &b->engine->model->hp;
    const int64_t chunks = row->bank_tokens / hp->chunk;
    /* Codes are copied out of the files, but of banks that have buckets. */
    const double codes =
        chunks / b->opt.banks < LOCI_SORTED_FROM ? (double)chunks * hp->n_landmarks * 16.0 : 0.0;
    const double search = loci_phase_search(b->engine->model, chunks, 1).bytes;
    row->units = 1;
    row->joules = (loci_phase_joules(b) - joules) / (2.0 * b->opt.repeat);
    row->units_per_second = 1.0 / sum_of(&warm);
    loci_phase_part(b, row, "open", sum_of(&warm), none, 0.0);
    loci_phase_part(b, row, "engine", warm.engine, none, 0.0);
    loci_phase_part(b, row, "banks", warm.banks, (loci_phase_cost){ codes, 0.0 }, INFINITY);
    loci_phase_part(b, row, "answer", warm.answer, prompt_cost(b, warm.prompt, search), INFINITY);
    loci_phase_part(b, row, "cold", sum_of(&cold), none, 0.0);
    loci_phase_part(b, row, "cold banks", cold.banks, none, 0.0);
    loci_phase_part(b, row, "cold answer", cold.answer, none, 0.0);
    return loci_phase_open_banks(b, row, err); /* for the caller to look at */
}
