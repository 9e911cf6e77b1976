/* bench.h - how fast each listed kernel runs here, on the processor and on a GPU, and which ones are
 * chosen.
 *
 * Every line of the library's list of kernels (a family in one instruction set) comes with one or
 * more fixed sizes; each pair is one row.  Measuring a row touches nothing but its own memory
 * and runs in the calling thread. */
#ifndef LOCI_BENCH_H
#define LOCI_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "loci/loci.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *family, *isa, *size; /* "gemm", "avx2", "logits 512x4096x192"; static storage */
    double seconds; /* of one call: the best of several spells; 0 if not measured */
    double gflops;  /* 1e9 operations a second; 0 where they are not counted     */
    double gbytes;  /* 1e9 bytes read and written a second, each operand once    */
    bool available; /* this processor can run it                                 */
} loci_bench_row;

/* Rows there are: loci_bench_kernel takes 0 .. count - 1. */
LOCI_API int loci_bench_kernel_count(void);

/* Measure row i for about `seconds` (0..60).  0 measures nothing and fills in the names and
 * `available` alone; so does any row that this processor cannot run.
 * Errors: LOCI_EINVAL (i, seconds), LOCI_ENOMEM; *row is emptied. */
LOCI_API loci_status loci_bench_kernel(int i, double seconds, loci_bench_row *row, loci_error *err);

/* The kernels that an engine opened with this `cpu` would use ("native", "avx512", "avx2", "ref";
 * NULL = native) as "gemm=avx512 gemv=avx512 ..." into text (cap bytes, cut to fit).
 * Errors: LOCI_EINVAL unknown name; text is "". */
LOCI_API loci_status loci_bench_kernels_for(const char *cpu, char *text, size_t cap,
                                            loci_error *err);

/* ---- search ------------------------------------------------------------------------------------
 * What a search in banks costs, and how much of what an exhaustive one finds it finds.  Queries are
 * the router's own, of every group, for pieces of text from the banks asked as questions. */
typedef struct {
    int64_t chunks, tokens; /* of the banks together */
    int64_t sorted;         /* chunks that are in buckets */
    int queries, k;         /* searches made in each way; best chunks asked for */
    double exact_seconds;   /* of one search: every chunk scored by its landmarks, ... */
    double codes_seconds;   /* ... all codes compared, the nearest chunks scored, ... */
    double fast_seconds;    /* ... chunks of the likeliest buckets scored: what asking does */
    double codes_recall;    /* share of the k best of exact that are found, 0..1 */
    double fast_recall;
    double fast_rows; /* landmarks of buckets and their means scored by a search */
} loci_bench_search_row;
struct loci_engine;
struct loci_bank;
/* Search n_banks (1..100) open banks for `pieces` (1..100,000) pieces of text drawn from seed, k best
 * (1..64) each; probes: buckets of a bank that are looked into, 0: as in asking.  Reads all landmarks.
 * Errors: LOCI_EINVAL, LOCI_EMODEL, LOCI_EFORMAT a block is damaged (named), LOCI_ENOMEM. */
LOCI_API loci_status loci_bench_search(struct loci_engine *e, struct loci_bank *const *banks,
                                       int n_banks, int pieces, int k, int probes, uint64_t seed,
                                       loci_bench_search_row *row, loci_error *err);

/* ---- DeepSeek-V4 shapes -------------------------------------------------------------------------
 * Decoding with generated weights behind a generated context: what a token costs by part. */
typedef struct {
    const char *shape;      /* "flash" or "pro"; borrowed for the call */
    int layers;             /* the first so many; 0 = all, or as many as memory_bytes allows */
    int experts;            /* distinct routed experts whose memory all layers share; default 64 */
    uint64_t memory_bytes;  /* for weights and context; default 12 GiB */
    int64_t tokens_max;     /* longest context that will be run; default 2^20 */
    int threads;            /* 0 = all cores */
    const char *cpu, *mode; /* as in loci_engine_options; NULL: native, fast */
} loci_bench_deepseek_options;
LOCI_API loci_bench_deepseek_options loci_bench_deepseek_options_default(void);

enum { LOCI_BENCH_DEEPSEEK_PARTS = 8 };
typedef struct {
    int layers, n_csa, n_hca;
    int64_t tokens;                                 /* of context */
    double part_seconds[LOCI_BENCH_DEEPSEEK_PARTS]; /* of one token, all layers */
    double token_seconds;                           /* their sum */
    double bytes_per_token;                         /* of context, held in memory */
    int64_t sequence_bytes;                         /* held besides, scratch included */
    double scan_seconds;                            /* of one layer's index scan */
    double scan_bytes, scan_ops; /* keys read; int8 multiplications and additions */
    double read_bytes_per_second, int8_ops_per_second; /* measured peaks of all threads */
} loci_bench_deepseek_row;
LOCI_API const char *loci_bench_deepseek_part(int i); /* static storage; NULL: no such part */

typedef struct loci_bench_deepseek loci_bench_deepseek;
/* Make weights and measure the peaks.  *out owned: loci_bench_deepseek_close.
 * Errors: LOCI_EINVAL an option; LOCI_ENOMEM memory_bytes does not hold one layer of each kind, or
 * there is none. */
LOCI_API loci_status loci_bench_deepseek_open(loci_bench_deepseek **out,
                                              const loci_bench_deepseek_options *opt,
                                              loci_error *err);
LOCI_API void loci_bench_deepseek_close(loci_bench_deepseek *b); /* NULL is fine */
/* The best of `repeat` (1..1000) tokens behind `tokens` (1..tokens_max) of context. */
LOCI_API loci_status loci_bench_deepseek_run(loci_bench_deepseek *b, int64_t tokens, int repeat,
                                             loci_bench_deepseek_row *row, loci_error *err);

/* ---- one model: ingest, decode, open, search ------------------------------------------------------
 * What a user waits for, at depths from an empty bank to millions of tokens, beside what this machine
 * could do at most.  Banks are made by the real writer of segments from random numbers: landmarks,
 * their codes, content, ids.  A search through them touches memory as one through text does, or
 * more, as random landmarks lie everywhere. */
#define LOCI_BENCH_PHASE_LIST(X)                                                                   \
    X(INGEST, "ingest")                                                                            \
    X(DECODE, "decode")                                                                            \
    X(OPEN, "open")                                                                                \
    X(SEARCH, "search")
typedef enum {
#define X(id, text) LOCI_BENCH_##id,
    LOCI_BENCH_PHASE_LIST(X)
#undef X
        LOCI_BENCH_PHASES
} loci_bench_phase;
LOCI_API const char *loci_bench_phase_name(loci_bench_phase phase); /* static storage */

typedef struct {
    const char *model_dir; /* a model; or NULL and ... */
    const char *config;    /* ... a training config, of which "model" is taken: weights generated */
    const char *dtype;     /* of those: "int8" (default), "int4", "bf16", "f32" */
    const char *work_dir; /* exists; a model, texts and banks are made in it, and what a run made is
                              removed by the next one and by close */
    const char *text;     /* a file whose tokens are decoded; NULL: generated text */
    int threads;          /* 0 = all cores */
    const char *cpu;      /* NULL = native */
    int banks;            /* 1..100 that share the depth; default 1 */
    int64_t units;        /* of one spell: tokens read or decoded, questions; 0 = the phase's own */
    int repeat;           /* spells, of which the quickest counts: 1..1000, default 5 */
    uint64_t seed;
    loci_progress_fn *progress; /* tokens read, while ingesting; may be NULL */
    void *progress_ctx;
} loci_bench_model_options; /* all texts are borrowed for the call */
LOCI_API loci_bench_model_options loci_bench_model_options_default(void);

typedef struct {                     /* measured: [0] one thread, [1] all */
    double read[2];                  /* bytes a second from memory */
    double cached[2];                /* the same of what fits the last cache */
    double f32[2], bf16[2], int8[2]; /* operations a second; 0: no such instructions */
    int64_t cache_bytes;             /* the last cache, 0: the system does not say */
    int threads;
    char features[64]; /* "avx2 avx512 vnni": used, of what the processor has */
} loci_bench_machine;

enum { LOCI_BENCH_MODEL_PARTS = 12 };
typedef struct {
    const char *name; /* the first is the whole, named for its unit; static storage */
    double seconds;   /* of one unit; NAN: not measured alone */
    /* What it cannot do without, and the longer of both at the machine's rates.  0: not counted. */
    double bytes, operations, floor_seconds;
} loci_bench_model_part;

typedef struct {
    loci_bench_phase phase;
    int64_t depth;         /* tokens asked for */
    int64_t bank_tokens;   /* tokens that are there, of all banks */
    int64_t disk_bytes;    /* of the banks' files */
    int64_t units;         /* in the spell that counts */
    double median_seconds; /* of a unit, over the spells */
    double hit_rate;       /* of the decoded chunks that are kept; NAN: none was read */
    double
        consult_rate; /* decode: gates that were open in the spell that counts; NAN: no gates ... */
    double consult_rate_all; /* ... and in all of them */
    double units_per_second;
    double joules; /* of the machine for one unit, mean over the spells; NAN: no meter */
    int n_parts;
    loci_bench_model_part part[LOCI_BENCH_MODEL_PARTS];
} loci_bench_model_row;

typedef struct loci_bench_model loci_bench_model;
/* Load or generate the model and measure the machine, some 3 s.  *out owned: loci_bench_model_close.
 * Errors: LOCI_EINVAL an option; those of loci_engine_open; LOCI_EMODEL a model without Read blocks;
 * LOCI_EFORMAT the config. */
LOCI_API loci_status loci_bench_model_open(loci_bench_model **out,
                                           const loci_bench_model_options *opt, loci_error *err);
LOCI_API void loci_bench_model_close(loci_bench_model *b); /* NULL is fine */
/* All borrowed from b; energy: which meters there are (loci/energy.h). */
LOCI_API const char *loci_bench_model_energy(const loci_bench_model *b);
LOCI_API const loci_bench_machine *loci_bench_model_machine(const loci_bench_model *b);
LOCI_API const loci_model_info *loci_bench_model_info(const loci_bench_model *b);
/* Measure one phase with `depth` tokens (0 .. 2^28) in the banks.  What was opened for it stays open
 * until the next run or the close, so that the caller sees what it costs in memory.
 *   ingest   tokens of generated text behind that depth, read into it: a second
 *   decode   a token of a text behind a prompt
 *   open     engine, banks, the first token of an answer, files in the system's cache; and the same
 *            with the banks' files not there
 *   search   one random query through all banks, and the content of what it picks
 * Errors: LOCI_EINVAL; LOCI_ENOMEM, which is also a disk that will not hold the banks (both numbers
 * named); LOCI_EIO; LOCI_ECANCEL. */
LOCI_API loci_status loci_bench_model_run(loci_bench_model *b, loci_bench_phase phase,
                                          int64_t depth, loci_bench_model_row *row,
                                          loci_error *err);

/* ---- one GPU ------------------------------------------------------------------------------------
 * Every op of training at the sizes of a step of 65,536 tokens of the M model, behind two ceilings: a
 * large bf16 product and a copy. */
typedef struct loci_bench_gpu loci_bench_gpu;
typedef struct {
    const char *op, *size; /* "attn_forward", "window 65536x256, 8/2 heads"; static storage */
    double seconds;        /* of one call on the device: the median of 31 */
    double tflops;         /* 1e12 operations a second, of the mathematics: what a kernel computes
                              twice counts once */
    double tbytes;         /* 1e12 bytes a second, each operand once */
} loci_bench_gpu_row;

/* Open device number `device`.  *out owned: loci_bench_gpu_close.
 * Errors: LOCI_ENOTFOUND no such device, or a library built without CUDA; LOCI_ENOMEM. */
LOCI_API loci_status loci_bench_gpu_open(loci_bench_gpu **out, int device, loci_error *err);
LOCI_API void loci_bench_gpu_close(loci_bench_gpu *b);             /* NULL is fine */
LOCI_API const char *loci_bench_gpu_name(const loci_bench_gpu *b); /* of the device; until close */
LOCI_API int loci_bench_gpu_count(void);                           /* rows: 0 without CUDA */
LOCI_API const char *loci_bench_gpu_op(int i); /* op of row i; NULL: no such row */

/* Measure row i (0 .. count - 1); its arrays live as long as the call and take 4 GB at most.
 * Errors: LOCI_EINVAL (i), LOCI_ENOMEM too little device memory, LOCI_EIO a call that failed: after
 * it the handle only fails.  *row is emptied but for the names. */
LOCI_API loci_status loci_bench_gpu_run(loci_bench_gpu *b, int i, loci_bench_gpu_row *row,
                                        loci_error *err);

#ifdef __cplusplus
}
#endif
#endif
