/* dsv4_impl.h - what the files of this folder share and nobody else needs: a sequence with its
 * scratch, and the steps of the forward pass.
 *
 * A step works on T <= LOCI_DSV4_BATCH rows at positions pos .. pos+T-1.  Every row is computed
 * from its own inputs in an order that depends on its position alone, so that a prompt may be cut
 * anywhere, and split over any number of threads, without a bit changing. */
#ifndef LOCI_MODEL_DSV4_IMPL_H
#define LOCI_MODEL_DSV4_IMPL_H

#include "kernel/number.h"
#include "model/dsv4/dsv4.h"

enum {
    DSV4_B = LOCI_DSV4_BATCH,
    DSV4_CHUNK = 128,  /* entries that meet the heads at a time */
    DSV4_WAVE = 32,    /* chunks of one row computed side by side */
    DSV4_GROUP = 16,   /* index keys stored together */
    DSV4_SPAN = 256,   /* groups that one tile of the index scan scores */
    DSV4_OUT_TILE = 32 /* outputs of a product that one tile computes */
};

/* ---- what one layer carries between tokens ------------------------------------------------- */

/* Projections of the last tokens by position, slot = position % slots, for pooling (compress.c). */
typedef struct {
    float *k, *z; /* (slots, c w): values, gates with ape added */
    int slots;
} loci_dsv4_rows;

typedef struct {
    uint8_t *ring; /* (ring_slots, entry_bytes): raw entries, slot = position % ring_slots */
    loci_dsv4_rows main, index;
} loci_dsv4_carry;

/* ---- scratch of one call: B rows ------------------------------------------------------------- */
typedef struct {
    float *x;                /* (B, n, D) streams */
    float *mix, *pre, *post; /* (B, (2+n)n) (B, n) (B, n) */
    float *comb;             /* (B, n, n) */
    float *h, *y;            /* (B, D): normed input, sublayer's output */
    float *xm;               /* (B, n, D) streams of the MTP block; NULL without one */
    float *qr, *q, *o, *kv;  /* (B, q_rank) (B, H d) (B, H d) (B, d) */
    float *u;                /* (B, g o_rank) */
    float *iq, *iw;          /* (B, Hi di) (B, Hi) */
    int8_t *iq_code;         /* (B, Hi di): twice the E2M1 values */
    float *iq_scale;         /* (B, Hi, di/32) */
    float *cos, *sin;        /* (B, R/2) of the rows' positions */
    int32_t *zeros;          /* (max heads): rows of a rotation by one position */
    float *ck;               /* (B, 2 max(d, di)) projections for pooling */
    int32_t *picks;          /* (B, index_topk): chosen entries, ascending */
    int *n_picks;            /* (B) */
    loci_scored *heap;       /* (n_heaps, index_topk) */
    int *heap_n, n_heaps;    /* (n_heaps) entries held; n_heaps >= B and workers */
    float *part_o, *part_lse,
        *row_lse;           /* (parts, H d) (parts, H), parts >= WAVE and workers; (H) */
    float *tile_k, *tile_s; /* (workers, CHUNK, d) (workers, H, CHUNK) */
    float *route, *route_w; /* (B, E) (B, n_active) */
    int32_t *route_id, *chosen, *start; /* (B, n_active) (E) (E+1) */
    int32_t *order;                     /* (B n_active): token slots by expert */
    int32_t *place;                     /* (B n_active): row of a slot in that order */
    float *ex, *eg, *eu, *ey;           /* (B (na+1), D) (.., F) (.., F) (.., D) */
    loci_dsv4_expert *view;             /* (E+1) chosen experts, then the shared one */
    struct dsv4_product *list;          /* (2 (E+1)) */
    float *xq, *sx;                     /* quantised inputs of a product and their scales */
    size_t xq_used, sx_used;
} loci_dsv4_scratch;

struct loci_dsv4_seq {
    const loci_dsv4 *m;
    loci_pool *pool;
    int64_t n;      /* tokens */
    int64_t high;   /* most tokens since the last reset: what the rings have seen */
    int64_t oldest; /* the sequence can go back to this length, and to high - B */
    int64_t x_pos;  /* position of row 0 of sc.x after a call */
    int32_t *ids;
    int64_t ids_max;
    uint8_t **block; /* (n_blocks) entries; owned unless below n_mapped */
    int n_blocks, n_mapped, block_max;
    loci_dsv4_carry carry[LOCI_DSV4_MAX_LAYERS];
    int ring_slots;
    loci_dsv4_scratch sc;
    void *memory;
    size_t memory_bytes;
    double *clock; /* (LOCI_DSV4_PARTS) seconds by part, for benchmarks; NULL: not measured */
    double lap;    /* when the last part ended */
    bool drafting; /* the MTP block follows */
    int64_t mtp_n; /* positions it has seen with the decoder's own streams */
};

/* ---- entry.c ---------------------------------------------------------------------------------- */
void dsv4_entry_put(const loci_dsv4 *m, uint8_t *dst, const float *x);   /* x (d) */
void dsv4_entry_get(const loci_dsv4 *m, float *x, const uint8_t *entry); /* x (d) */
/* Key i of a layer's keys of a block.  x (di), before the Hadamard transform; overwritten. */
void dsv4_key_put(const loci_dsv4 *m, uint8_t *keys, int64_t i, float *x);
/* Queries (heads, di) in place of x: codes and scales in the quantised modes. */
void dsv4_query_put(const loci_dsv4 *m, int8_t *code, float *scale, float *x);
void dsv4_hadamard(float *x, int n); /* n a power of two; orthonormal */

/* ---- state.c ---------------------------------------------------------------------------------- */
/* Entry and key j of layer l; the block must be there (dsv4_blocks_reserve). */
uint8_t *dsv4_entry_at(const loci_dsv4_seq *s, int l, int64_t j);
uint8_t *dsv4_keys_at(const loci_dsv4_seq *s, int l, int64_t j);        /* group that holds key j */
loci_status dsv4_reserve(loci_dsv4_seq *s, int64_t n, loci_error *err); /* room for n tokens */

/* The first n blocks become borrowed: the caller sets them.  The sequence is empty. */
loci_status dsv4_lend_blocks(loci_dsv4_seq *s, int n, loci_error *err);

/* ---- record.c, store.c -------------------------------------------------------------------------- */
enum { DSV4_RECORD_HEAD = 64 };
int64_t dsv4_whole_blocks(const loci_dsv4 *m, int64_t t);
/* The record of s at its length, owned (free()). */
loci_status dsv4_record_make(const loci_dsv4_seq *s, const uint8_t fingerprint[16],
                             unsigned char **out, size_t *bytes, loci_error *err);
/* Check a record (aligned to 8) as far as that needs no model; its position. */
loci_status dsv4_record_position(const void *data, size_t bytes, const char *label,
                                 int64_t *position, loci_error *err);
/* Bring s, whose whole blocks are there, to the record's position. */
loci_status dsv4_record_apply(loci_dsv4_seq *s, const uint8_t fingerprint[16], const void *data,
                              size_t bytes, const char *label, loci_error *err);
/* Positions (owned) of a text.dsv4. */
loci_status dsv4_text_parse(const void *data, size_t bytes, const char *label,
                            uint8_t fingerprint[16], int64_t **record, int *n, loci_error *err);

/* ---- linear.c --------------------------------------------------------------------------------- */
typedef struct dsv4_product {
    float *y;
    const float *x, *sx; /* sx NULL: x is not quantised */
    const loci_dsv4_mat *w;
    int ldy, ldx, ldsx, first, n, m; /* outputs first .. first+n of w, m rows */
    bool round;                      /* y to bf16 in exact mode */
} dsv4_product;
/* All of them, outputs spread over the pool. */
void dsv4_products(const loci_dsv4_seq *s, const dsv4_product *list, int n);
/* y(T, rows) = x(T, cols) W^T; round as above; activations are quantised where the mode says. */
void dsv4_linear(loci_dsv4_seq *s, float *y, int ldy, const float *x, int ldx,
                 const loci_dsv4_mat *w, int T, bool round);
/* The inputs (rows, cols) of products with matrices like w, quantised into sc.xq where the mode
 * asks for it; what came before stays until xq_used and sx_used are set to 0. */
dsv4_product dsv4_activate(loci_dsv4_seq *s, const loci_dsv4_mat *w, const float *x, int ldx,
                           int rows);
void dsv4_round(const loci_dsv4 *m, float *x, size_t n); /* to bf16 in exact mode */
/* y = x / rms(x) * w per row of n; w NULL: no gain.  y may equal x. */
void dsv4_norm(const loci_dsv4 *m, float *y, const float *x, const float *w, int rows, int n);

/* ---- the sublayers ------------------------------------------------------------------------------ */
/* rope.c: freq (R/2) of base, with YaRN when scaled. */
void dsv4_frequencies(float *freq, const loci_dsv4_hparams *hp, bool compressed);
/* cos, sin (R/2) of a position, for layers of table 0 or 1. */
void dsv4_angles(const loci_dsv4 *m, int table, int64_t pos, float *cos, float *sin);
/* Rotate the last R of each of `heads` vectors of width d by one position's angles; dir +1 or -1. */
void dsv4_rotate(const loci_dsv4_seq *s, float *x, int heads, int d, const float *cos,
                 const float *sin, int dir);

/* mixer.c: weights of the streams for T rows into sc.pre, sc.post, sc.comb; x = sum_s pre X_s. */
void dsv4_mix(loci_dsv4_seq *s, const loci_dsv4_mixer *w, const float *X, int T);
void dsv4_mix_head(loci_dsv4_seq *s, const loci_dsv4_mixer *w, const float *X, int T);
void dsv4_collapse(loci_dsv4_seq *s, float *x, const float *X, int T);
/* X[k] = post[k] y + sum_j comb[j][k] X[j] */
void dsv4_expand(loci_dsv4_seq *s, float *X, const float *y, int T);

/* compress.c: rows of T tokens into the carry, entries that they complete into the blocks. */
void dsv4_compress(loci_dsv4_seq *s, int l, const float *h, int64_t pos, int T);
/* index.c: picks of T rows. */
void dsv4_index(loci_dsv4_seq *s, int l, const float *h, int64_t pos, int T);
/* The same with the queries that are there. */
void dsv4_scan(loci_dsv4_seq *s, int l, int64_t pos, int T);
/* attend.c: y (T, D) from normed h (T, D). */
void dsv4_attention(loci_dsv4_seq *s, int l, const float *h, float *y, int64_t pos, int T);
/* moe.c: y (T, D) from normed h (T, D). */
loci_status dsv4_moe(loci_dsv4_seq *s, int l, const float *h, float *y, const int32_t *ids, int T,
                     loci_error *err);
/* forward.c: one layer on streams X (T, n, D). */
loci_status dsv4_layer(loci_dsv4_seq *s, int l, float *X, const int32_t *ids, int64_t pos, int T,
                       loci_error *err);
void dsv4_embed(const loci_dsv4 *m, float *X, const int32_t *ids, int T); /* X (T, n, D) */
/* Logits (T, V) of streams X (T, n, D). */
void dsv4_logits(loci_dsv4_seq *s, const loci_dsv4_mixer *mix, const float *norm, const float *X,
                 int T, float *logits);
/* mtp.c: before ids (T) are appended, the MTP block sees the positions before them. */
loci_status dsv4_draft_follow(loci_dsv4_seq *s, const int32_t *ids, int T, loci_error *err);
/* Behind a batch: all positions but the last, whose successor is not known. */
loci_status dsv4_draft_catch_up(loci_dsv4_seq *s, loci_error *err);
/* The time since the last lap belongs to `part`. */
static inline void dsv4_lap(loci_dsv4_seq *s, loci_dsv4_part part)
{
    if (!s->clock) return;
    const double now = loci_seconds();
    s->clock[part] += now - s->lap;
    s->lap = now;
}
/* Entries of layer l that position t sees. */
static inline int64_t dsv4_visible(const loci_dsv4 *m, int l, int64_t t)
{
    const int r = m->hp.layer[l].ratio;
    return r > 0 ? (t + 1) / r : 0;
}

#endif
