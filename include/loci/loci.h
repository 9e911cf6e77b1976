/* loci.h - load a model, keep sessions, ask questions over banks.
 *
 * A loci_engine is a loaded model with its threads; it is read-only and serves any number
 * of callers.  A loci_bank (bank.h) is a folder on disk that holds what the model's lower
 * stack wrote down while reading documents once.  Asking runs the model over the question
 * and its answer only; a learned router picks, per token, the few chunks of 64 tokens that
 * are read from the banks.  Every answer says which passages those were.
 *
 *     loci_engine_open -> loci_bank_open -> loci_bank_ingest ... -> loci_ask -> close
 *
 * Conventions: outputs last before `err`; emptied on failure.  *owned*: you free it with
 * the function named; *borrowed*: valid until the moment named.  Close functions accept NULL.
 * Nothing here prints, exits, reads the environment or holds global state. */
#ifndef LOCI_LOCI_H
#define LOCI_LOCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "loci/error.h"
#include "loci/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOCI_VERSION_MAJOR 0
#define LOCI_VERSION_MINOR 1
#define LOCI_VERSION_PATCH 0
/* "0.1.0": static storage. */
LOCI_API const char *loci_version(void);

/* Called from time to time by anything that may take longer than a second: `done` of `total`
 * (total 0 = unknown) in the unit that the function names.  Return non-zero to stop: the
 * function then returns LOCI_ECANCEL.  Always called from the thread of the caller. */
typedef int loci_progress_fn(void *ctx, int64_t done, int64_t total);

/* ---- engine ------------------------------------------------------------------------ */
/* Lifetime: an engine outlives its sessions and the banks opened with it.  Thread-safe. */
typedef struct loci_engine loci_engine;

typedef struct {
    const char
        *model_dir;  /* config.json, tokenizer.json, model.safetensors; borrowed for the call */
    int threads;     /* 0 = all cores this process may use; 1..1024 */
    const char *cpu; /* NULL or "native"; "avx512", "avx2", "ref" lower it; borrowed */
    /* Numbers of the products, NULL: "int8" for weights stored as int8, "int4" as int4, else "f32".
     *   "int8"  activations to int8, a scale a row; weights of other types to int8 when they are loaded
     *   "int4"  the same with 4 bits a weight, as stored or with a scale for 32; encoder, routers and
     *           attention of the lower stack in int8
     *   "f32"   activations in f32, weights as they are stored: the reference; borrowed */
    const char *compute;
    /* DeepSeek-V4 models (deepseek.h), whose model_dir may be a GGUF file: */
    const char *mode; /* "f32", "fast", "exact"; NULL: exact for FP8 and FP4 weights, fast for a
                       * GGUF file, f32 for others; borrowed */
    uint64_t expert_bytes; /* memory for routed experts; 0 = mapped, as much as the system gives */
    /* Where the model runs: NULL or "cpu"; "cuda" or "cuda:N": ingest, asking and sessions on that GPU,
     * in bf16.  Banks are the same either way: what a GPU ingested a CPU may be asked about, and
     * the other way round.  A GPU answers one question over banks at a time. */
    const char *device;
} loci_engine_options;
LOCI_API loci_engine_options loci_engine_options_default(void);

/* Load a model.  *out is owned: loci_engine_close.
 * Errors: LOCI_ENOTFOUND (also: no such GPU, a build without CUDA), LOCI_EIO, LOCI_EFORMAT (names file,
 * tensor, expected, found), LOCI_EINVAL (an option; a shape that the GPU's kernels are not written
 * for), LOCI_ENOMEM. */
LOCI_API loci_status loci_engine_open(loci_engine **out, const loci_engine_options *opt,
                                      loci_error *err);
LOCI_API void loci_engine_close(loci_engine *e);

typedef struct {
    char architecture[16]; /* "loci-1", "deepseek-v4" (which leaves what it has not at 0) */
    char fingerprint[33];  /* hex; a bank belongs to one fingerprint */
    int vocab, d_model, window, chunk, n_lower, n_upper, n_groups, top_k;
    int bos, end; /* ids: put in front of a text; ends what is generated; -1 = none */
    int64_t parameters;
    int64_t weight_bytes;  /* on disk and mapped */
    int64_t session_bytes; /* one session, allocated at its opening */
    int64_t ingest_bytes_per_thread;
    double bank_bytes_per_token;     /* on disk, of a bank of a million tokens or more */
    double resident_bytes_per_token; /* codes kept in memory while a bank is open */
    int64_t stored_f32, stored_bf16, stored_int8, stored_int4; /* parameters, by type on disk */
} loci_model_info;
/* What a checkpoint is and needs, before anything is loaded or allocated for it. */
LOCI_API loci_status loci_model_describe(const char *model_dir, loci_model_info *info,
                                         loci_error *err);
LOCI_API const loci_model_info *loci_engine_info(const loci_engine *e); /* borrowed from e */
/* Borrowed from e.  NULL: a DeepSeek-V4 folder without tokenizer.json, which works with ids. */
LOCI_API const loci_tokenizer *loci_engine_tokenizer(const loci_engine *e);
/* The tokenizer of a model, without the model: path is its folder, a tokenizer.json or a GGUF
 * file.  *out is owned: loci_tokenizer_close.
 * Errors: LOCI_ENOTFOUND, LOCI_EIO, LOCI_EFORMAT, LOCI_EVERSION (a kind that is not supported),
 * LOCI_ENOMEM. */
LOCI_API loci_status loci_model_tokenizer(loci_tokenizer **out, const char *path, loci_error *err);
/* Kernels in use, "gemm=avx512 gemv=avx512 ...": borrowed from e. */
LOCI_API const char *loci_engine_kernels(const loci_engine *e);
/* Of a DeepSeek-V4 model whose experts are read into a budget; zeros otherwise. */
typedef struct {
    int64_t hits, misses; /* experts that were in memory when chosen, and that were not */
    int64_t bytes_read;   /* from the files since the engine was opened */
} loci_expert_stats;
LOCI_API loci_expert_stats loci_engine_experts(const loci_engine *e);
/* Name of the GPU in use, NULL on the CPU: borrowed from e. */
LOCI_API const char *loci_engine_gpu(const loci_engine *e);

/* Convert the weights of a checkpoint: dtype "f32", "bf16", "int8" (one scale a row) or "int4" (one for
 * 32 of a row; encoder, routers, attention of the lower stack, and rows that are not whole groups of 32, as
 * int8); copies
 * tokenizer.json and config.json.  out_dir is made; an existing model.safetensors there is
 * replaced only when all is written. */
LOCI_API loci_status loci_quantize(const char *model_dir, const char *out_dir, const char *dtype,
                                   loci_error *err);

/* ---- asking ------------------------------------------------------------------------- */
typedef struct loci_bank loci_bank; /* bank.h */

typedef struct {
    const char *bank;             /* folder of the bank, borrowed from the bank   */
    const char *doc;              /* document name, owned by the answer           */
    int64_t byte_start, byte_end; /* half-open, of the document, whole UTF-8 characters */
    int64_t line_start, line_end; /* from 1, inclusive                        */
    double score;                 /* share of the answer's reading that fell here, 0..1 */
    char *text;                   /* of the passage, from the bank; owned by the answer */
    size_t text_bytes;
    bool source_changed;  /* the file is gone, or differs in size or time from what was read */
    const char *encoding; /* "" or "gzip" / "zstd": byte ranges count the decoded stream */
} loci_evidence;

/* What a model answers when the banks do not hold what is asked for. */
#define LOCI_NOT_STATED "not stated"

typedef struct {
    int k; /* chunks read per token and group, at most the model's own; 0 = the model's own */
    int max_tokens;     /* of the answer, 1..4096; default 64                 */
    int max_evidence;   /* 0..64, default 8                                   */
    double min_score;   /* evidence below is left out; default 0.01           */
    int context_chunks; /* recall: neighbours joined to a hit, default 0      */
    bool exact;         /* every chunk of the banks is scored, whatever their size */
    double
        refusal_margin; /* LOCI_NOT_STATED is answered only if its first token leads every other by so
                              many nats, 0..100: more of it gives fewer refusals and more wrong answers;
                              below 0 (default): the model's own                       */
    loci_progress_fn *progress; /* tokens generated; may be NULL              */
    void *progress_ctx;
} loci_ask_options;
LOCI_API loci_ask_options loci_ask_options_default(void);

typedef struct {
    char *answer; /* UTF-8 as far as the tokens are; owned by this struct; NUL-terminated */
    size_t answer_bytes;
    bool truncated;          /* max_tokens ended the answer, not <e> */
    double evidence_mass;    /* sum of scores of all chunks, 0 if nothing was consulted */
    loci_evidence *evidence; /* best first */
    int n_evidence;
    int64_t bank_tokens;
    int prompt_tokens, completion_tokens;
    double open_ms, prefill_ms, per_token_ms; /* open_ms: filled by the caller who opened */
    double consult_rate;
    double
        refusal_lead; /* of LOCI_NOT_STATED over every other answer, in nats, at its first token */
    int64_t chunks_read, chunks_decoded; /* readings of stored chunks; those not in the cache */
} loci_answer;

/* Ask over the union of banks (all made by this engine's model).  The question is a document of
 * its own: <bos><q> question <a>; greedy decoding up to <e>.  *out is filled on success: free with
 * loci_answer_free; emptied on failure.
 * Cost: O(question + answer) tokens, each with one scan of the banks' codes.
 * Errors: LOCI_EINVAL (empty or over-long question: limit 32,768 tokens, both numbers named; options),
 * LOCI_EMODEL (also: a model without Read blocks), LOCI_EIO / LOCI_EFORMAT (bank damaged: block named),
 * LOCI_ECANCEL, LOCI_ENOMEM. */
LOCI_API loci_status loci_ask(loci_engine *e, loci_bank *const *banks, int n_banks,
                              const char *question, size_t question_bytes,
                              const loci_ask_options *opt, loci_answer *out, loci_error *err);
/* The passages alone, best first, nothing generated: the reading at the <a> position, gates 1. */
LOCI_API loci_status loci_recall(loci_engine *e, loci_bank *const *banks, int n_banks,
                                 const char *query, size_t query_bytes, const loci_ask_options *opt,
                                 loci_answer *out, loci_error *err);
LOCI_API void loci_answer_free(loci_answer *a); /* frees what is inside; zeroes it */

/* ---- sessions: plain generation and logits ------------------------------------------------ */
/* One growing stream over a model, its own closed chunks being a bank in memory.  Belongs to
 * one thread at a time. */
typedef struct loci_session loci_session;
/* What a session reads of its own text beyond the window: what its gates say, everything (all gates
 * are 1), nothing (all are 0).  For measuring what reading is worth. */
typedef enum { LOCI_READ_AS_TRAINED, LOCI_READ_ALWAYS, LOCI_READ_NEVER } loci_reading;
typedef struct {
    int64_t max_tokens; /* the stream's own memory is bounded by it; default 131,072 */
    loci_reading reading;
    /* DeepSeek-V4 models: */
    const char *state_dir; /* folder that keeps the text, made if missing; NULL = none; borrowed */
    bool draft;            /* let the model's drafting block follow, for loci_session_draft */
} loci_session_options;
LOCI_API loci_session_options loci_session_options_default(void);
LOCI_API loci_status loci_session_open(loci_session **out, loci_engine *e,
                                       const loci_session_options *opt, loci_error *err);
LOCI_API void loci_session_close(loci_session *s);
LOCI_API void loci_session_reset(loci_session *s);
LOCI_API int64_t loci_session_length(const loci_session *s); /* tokens so far */
typedef struct {
    int64_t pairs;     /* (token, group) since the session was opened     */
    int64_t consulted; /* of these, with a gate above the model's threshold */
} loci_session_reads;
/* Zeros for models without Read blocks and of the DeepSeek-V4 family. */
LOCI_API loci_session_reads loci_session_consulted(const loci_session *s);
/* Append ids (n >= 1) and give the logits of the last n_logits positions, (n_logits, vocab) f32,
 * into `logits` (caller's).  0 <= n_logits <= n.
 * Errors: LOCI_EINVAL (an id outside the vocabulary, sizes; nothing was done), LOCI_ENOMEM
 * (max_tokens reached; nothing was done). */
LOCI_API loci_status loci_session_extend(loci_session *s, const int32_t *ids, int64_t n,
                                         float *logits, int64_t n_logits, loci_error *err);
/* Append ids (n >= 1) and give loss (n), -log p(target[i]) in nats of what stands behind ids[i]; 0 where
 * target[i] is -1.  On a GPU no logits leave it: the way to read a long text.  Errors: those of
 * loci_session_extend, LOCI_EINVAL also for a target outside the vocabulary. */
LOCI_API loci_status loci_session_losses(loci_session *s, const int32_t *ids, int64_t n,
                                         const int32_t *target, float *loss, loci_error *err);

/* Take up as much of ids (n) as the session's folder holds, fewer than n: *taken tokens of them are
 * then in the session, and ids + *taken go to loci_session_extend.  Without a folder: 0, and the
 * session is reset.  Errors: LOCI_EFORMAT, LOCI_EIO (a damaged folder is named), LOCI_ENOMEM; the
 * session is empty then. */
LOCI_API loci_status loci_session_resume(loci_session *s, const int32_t *ids, int64_t n,
                                         int64_t *taken, loci_error *err);
/* Write down all that the session carries, at its length.  It also happens every 8,192 tokens of a
 * prompt.  Without a folder: nothing.  Errors: LOCI_EIO, LOCI_ENOMEM; what was written before stays. */
LOCI_API loci_status loci_session_save(loci_session *s, loci_error *err);
/* Guess the n tokens behind `next` (1..32), which follows the session and is not appended.  Extending
 * by next and the guesses with logits for each position then shows how many of them greedy decoding
 * would have chosen; the rest goes by loci_session_rewind.  Errors: LOCI_ESTATE a session that does
 * not draft: the model has no such block, or opt->draft was not set. */
LOCI_API loci_status loci_session_draft(loci_session *s, int32_t next, int n, int32_t *draft,
                                        loci_error *err);
/* Forget the last n tokens, up to 64 of them and none that was taken up from a folder.  False, and
 * nothing done, otherwise, and for other models. */
LOCI_API bool loci_session_rewind(loci_session *s, int64_t n);

typedef struct {
    float temperature; /* 0 = greedy (default) .. 10 */
    int top_k;         /* 0 = all */
    float top_p;       /* (0, 1], default 1 */
    uint64_t seed;
    bool any_id; /* false: of the ids 0..15 only LOCI_TOK_E may come out; true for DeepSeek-V4 */
} loci_sampling;
LOCI_API loci_sampling loci_sampling_default(void);
/* Next id from (vocab) logits.  *state: seed it with opt->seed; advanced by each call. */
LOCI_API int32_t loci_sample(const float *logits, int vocab, const loci_sampling *opt,
                             uint64_t *state);

#ifdef __cplusplus
}
#endif
#endif
