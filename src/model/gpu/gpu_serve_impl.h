/* gpu_serve_impl.h - what the files of serving share. */
#ifndef LOCI_GPU_SERVE_IMPL_H
#define LOCI_GPU_SERVE_IMPL_H

#include "model/gpu/gpu_pass_impl.h"
#include "model/gpu/gpu_serve.h"

/* Buffers for n rows and n_chunks chunks: p->h, inv0, frequency, layer[0] (for all layers), enc, and of
 * p->s what forward functions use. */
void loci_gpu_forward_plan(loci_gpu_pass *p, loci_arena *a, int n, int n_chunks);
/* Rotation, once the memory is there.  Waits. */
loci_status loci_gpu_forward_begin(loci_gpu_pass *p, loci_error *err);
/* One block, cleared; says what is missing without making the device useless. */
loci_status loci_gpu_reserve(loci_gpu *g, void **memory, size_t bytes, const char *what,
                             loci_error *err);
/* Encoder ranges of n_chunks chunks of n_tokens[c] tokens each, 64 without n_tokens. */
void loci_gpu_encoder_ranges(int32_t *lo, int32_t *hi, const int32_t *n_tokens, int n_chunks);

/* ---- gpu_bank.c ----------------------------------------------------------------------------------- */
enum { LOCI_GPU_STAGED = 256 }; /* chunks of content that travel together */
struct loci_gpu_bank {
    loci_gpu *g;
    int64_t n, room;     /* chunks outside; so many there is memory for */
    int max_own, n_own;  /* room for own chunks; closed */
    int slots;           /* places for content of chunks outside; own chunk i has place slots + i */
    void *memory;        /* on the device: */
    loci_bf16 *landmark; /* (room + max_own, 2, 128): own ones from n on */
    float *bias;         /* (room + max_own) */
    loci_bf16 *content;  /* (slots + max_own, 64, 128) */
    int32_t *n_tokens;   /* (slots + max_own) */
    int32_t *slot_of;    /* host (room): place of a chunk, -1 */
    int64_t *chunk_in;   /* host (slots): chunk, -1 */
    uint64_t *used;      /* host (slots): the last call that read it */
    int d_summary;
    float *node;            /* host: pyramid over own chunks (gist.c), NULL without summaries */
    int hand;               /* the place that is looked at next */
    uint64_t call;          /* counts reads of a Read block */
    void *stage;            /* pinned: */
    loci_bf16 *stage_rows;  /* (LOCI_GPU_STAGED, 64, 128) */
    int32_t *stage_tokens;  /* (LOCI_GPU_STAGED) */
    int staged, stage_slot; /* so many for places from stage_slot on */
};
/* Chunks (own ones count from n on) become places; content that is not there is fetched.  Calls of one
 * Read block stand between two _begin. Errors: what `content` returned. */
void loci_gpu_bank_begin(loci_gpu_bank *b);
loci_status loci_gpu_bank_place(loci_gpu_bank *b, const loci_gpu_reader *r, int64_t chunk,
                                int32_t *place, loci_error *err);
void loci_gpu_bank_flush(loci_gpu_bank *b); /* send what is staged */

/* The next n own chunks' summaries (n, d_summary), on the device, join the pyramid; they are counted
 * in n_own afterwards. Waits. */
void loci_gpu_bank_close_summaries(loci_gpu_bank *b, const loci_model *m, const float *summary,
                                   int n);

/* ---- gpu_own_nodes.c: gist heads over the stream's own nodes alone ----------------------------------- */
typedef struct {               /* N rows; F nodes of their frontiers, n of them used       */
    float *node, *inv, *inv_k; /* device (F, d_summary) (F) (F)                            */
    loci_bf16 *xn, *y, *kv;    /* (F, d_summary) twice (F, 128)                            */
    uint8_t *level;            /* (F)                                                      */
    int32_t *lo, *hi;          /* (N): nodes [lo, hi) of a row                             */
    loci_bf16 *q;              /* (N, 256)                                                 */
    float *inv_q, *lse;        /* (N, 4) twice                                             */
    float *host_node;          /* pinned: what is sent                                     */
    uint8_t *host_level;
    int32_t *host_lo, *host_hi;
    int n;
} loci_gpu_own_nodes;
void loci_gpu_own_nodes_plan(loci_gpu_own_nodes *x, loci_arena *a, const loci_hparams *hp,
                             int max_batch);
void loci_gpu_own_nodes_plan_host(loci_gpu_own_nodes *x, loci_arena *a, const loci_hparams *hp,
                                  int max_batch);
/* p->h += gist of p->b.n rows with norms xn, n of them real; o (N, 256) is scratch. */
void loci_gpu_own_nodes_forward(loci_gpu_pass *p, int group, loci_gpu_own_nodes *x,
                                const loci_bf16 *xn, loci_bf16 *o, int64_t first, int n,
                                const loci_gpu_bank *b);

/* ---- gpu_frontier.c: nothing without d_summary ------------------------------------------------------- */
typedef struct {
    int max_batch;
    loci_bf16 *o; /* device (max_batch, 256) */
    loci_gpu_own_nodes own;
    void *pinned, *memory;
    loci_bf16 *host_xn, *host_u, *host_o; /* (max_batch, D) (.., 128) (.., 256) */
    float *xn;                            /* (max_batch, D) */
    loci_gist_reader reader;
} loci_gpu_frontier;
void loci_gpu_frontier_plan(loci_gpu_frontier *f, loci_arena *a, const loci_hparams *hp,
                            int max_batch);
loci_status loci_gpu_frontier_begin(loci_gpu_frontier *f, loci_gpu *g, const loci_hparams *hp,
                                    loci_error *err);
void loci_gpu_frontier_end(loci_gpu_frontier *f, loci_gpu *g);
/* p->h += gist of n rows, whose norms and queries are in t.  Errors: what the memory returned. */
loci_status loci_gpu_frontier_forward(loci_gpu_pass *p, int group, loci_gpu_frontier *f,
                                      const loci_gpu_read_tape *t, int64_t first, int n,
                                      const loci_gpu_reader *r, loci_error *err);

/* ---- gpu_consult.c ---------------------------------------------------------------------------------- */
typedef struct {
    int max_batch;
    float null_score[LOCI_MAX_GROUPS]; /* the model's, on the host */
    loci_gpu_read_tape t;              /* (max_batch) rows of what forward functions fill */
    int32_t *gold, *own_lo, *own_hi;   /* (max_batch): -1, 0, chunks that a row may read */
    int32_t *above;                    /* (scored rows) */
    float *lse_own, *lse_neg;          /* (scored rows) */
    loci_bf16 *pair;                   /* (max_batch, PICKS + 1, 512) */
    unsigned char *found;              /* what the host is told: gates, picks, their scores */
    unsigned char *wanted;             /* what it answers: places, weights */
    void *pinned;                      /* host: */
    unsigned char *host_found, *host_wanted;
    int32_t *host_hi;
    loci_gpu_frontier gist;
} loci_gpu_consult;
void loci_gpu_consult_plan(loci_gpu_consult *c, loci_arena *a, const loci_hparams *hp,
                           int max_batch);
loci_status loci_gpu_consult_begin(loci_gpu_consult *c, loci_gpu_pass *p, int max_batch,
                                   loci_error *err);
void loci_gpu_consult_end(loci_gpu_consult *c, loci_gpu *g);
/* The Read block of `group` over rows p->h, of which n (of p->b.n) are real; the first is at position
 * `first`. */
loci_status loci_gpu_consult_forward(loci_gpu_pass *p, int group, loci_gpu_consult *c,
                                     int64_t first, int n, const loci_gpu_reader *r,
                                     loci_reads *reads, loci_error *err);

#endif
