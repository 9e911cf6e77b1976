/* files.h - checkpoints of the family on disk: their shape, their tensors by released name, what
 * they cost, and experts that are read when a router has chosen them.
 *
 *   files.c       a folder of safetensors or a GGUF file, opened as one thing
 *   bind_safetensors.c, bind_gguf.c   released names to stored matrices of either
 *   config_gguf.c   the shape from GGUF metadata
 *   cost.c        parameters, and bytes of weights and context, before anything is loaded
 *   pager.c       experts under a memory budget */
#ifndef LOCI_MODEL_DSV4_FILES_H
#define LOCI_MODEL_DSV4_FILES_H

#include "model/dsv4/dsv4.h"

/* ---- a checkpoint (files.c) --------------------------------------------------------------- */

typedef struct loci_dsv4_files loci_dsv4_files;

/* True when path is a GGUF file of this architecture, or a folder (or config.json) whose config
 * names the family.  Reads little, never fails. */
bool loci_dsv4_is(const char *path);
/* The shape alone: config.json, a folder with one, or a GGUF file.  No weights need be there.
 * weight_bytes (or NULL): size of the files that hold them, 0 when there are none.
 * Errors: LOCI_ENOTFOUND, and those of loci_dsv4_config_parse and of the files. */
loci_status loci_dsv4_shape_load(loci_dsv4_hparams *hp, const char *path, int64_t *weight_bytes,
                                 loci_error *err);
/* Map a folder or a GGUF file; weights bound to its source are borrowed until close.
 * Errors as above, and those of loci_st_set_open and loci_gguf_open. */
loci_status loci_dsv4_files_open(loci_dsv4_files **out, const char *path, loci_error *err);
void loci_dsv4_files_close(loci_dsv4_files *f); /* NULL is fine */
const loci_dsv4_hparams *loci_dsv4_files_shape(const loci_dsv4_files *f);
const loci_dsv4_source *loci_dsv4_files_source(const loci_dsv4_files *f);
/* The open GGUF file (its tokenizer), NULL for a folder; the folder, NULL for a GGUF file. */
const loci_gguf *loci_dsv4_files_gguf(const loci_dsv4_files *f);
const char *loci_dsv4_files_dir(const loci_dsv4_files *f);

/* ---- the two sources (bind_safetensors.c, bind_gguf.c) ------------------------------------- */

/* Make a source over an open set or file, which it borrows.
 * label is kept. */
loci_status loci_dsv4_source_safetensors(loci_dsv4_source *s, const loci_st_set *set,
                                         const char *label, loci_error *err);
loci_status loci_dsv4_source_gguf(loci_dsv4_source *s, const loci_gguf *f, loci_error *err);
void loci_dsv4_source_free(loci_dsv4_source *s); /* of either; zeroed is fine */
/* What the context of either begins with.  place says which file a byte of a matrix lies in, and
 * where: for those who read rather than touch. */
typedef struct {
    void (*drop)(void *ctx);
    const char *(*place)(void *ctx, const void *data, int64_t *offset);
} dsv4_source_base;

/* First of the *n blocks that a GGUF file stores as blk.N with nextn tensors, -1 without any; *alone:
 * they are plain drafting blocks, with all that they need. */
int dsv4_gguf_nextn(const loci_gguf *f, int *n, bool *alone);
/* The shape from metadata (config_gguf.c).  Errors: LOCI_EFORMAT naming file and key. */
loci_status loci_dsv4_config_gguf(loci_dsv4_hparams *hp, const loci_gguf *f, loci_error *err);

/* ---- what a shape costs (cost.c) ------------------------------------------------------------ */

/* How a release stores a tensor.  CODES: FP8 with scales a tile, or BF16 where the config names no
 * quantisation; EXPERT: that of the routed experts; IDS: expert numbers, no parameters. */
typedef enum { DSV4_CODES, DSV4_EXPERT, DSV4_BF16, DSV4_F32, DSV4_IDS } dsv4_role;

/* Call fn for every tensor of a shape, by released name; a vector has one row. */
typedef void dsv4_tensor_fn(void *ctx, const char *name, int rows, int cols, dsv4_role role);
void dsv4_each_tensor(const loci_dsv4_hparams *hp, dsv4_tensor_fn *fn, void *ctx);

typedef struct {
    int64_t parameters;       /* of the model, without drafting blocks */
    int64_t active;           /* that a token passes: without the embedding table and the experts
                               * that are not chosen */
    int64_t draft_parameters; /* of the drafting blocks */
    int64_t weight_bytes;     /* of all tensors as released */
    int64_t dense_bytes;      /* of them, all but the routed experts: what should stay in memory */
    int64_t expert_bytes;     /* of one routed expert */
    double bytes_per_token;   /* of context, in the compact form (modes fast and exact) */
    int64_t state_bytes;      /* window rings and compressors of one sequence of any length */
} loci_dsv4_cost;

/* From the shape alone.  Errors: those of loci_dsv4_layout_plan; LOCI_EVERSION V4.1. */
loci_status loci_dsv4_cost_of(loci_dsv4_cost *out, const loci_dsv4_hparams *hp, loci_error *err);
/* Put the bytes of weights as a checkpoint stores them in the place of the release's: those of the
 * tensors of the shape that are there; expert_bytes is the mean.  A tensor of a type that is not read
 * (and a hash table) counts as released. */
void loci_dsv4_cost_stored(loci_dsv4_cost *cost, const loci_dsv4_hparams *hp,
                           const loci_dsv4_source *source);
size_t dsv4_scale_bytes(const loci_dsv4_mat *m); /* of the scales beside a matrix, 0 without */

/* ---- experts under a memory budget (pager.c) ------------------------------------------------- */

typedef struct loci_dsv4_paging loci_dsv4_paging;

typedef struct {
    int64_t slots;      /* experts that the budget holds */
    int64_t slot_bytes; /* memory of one */
    int64_t experts;    /* in the files */
    int64_t hits, misses;
    int64_t bytes_read; /* from the files: divide by tokens for bytes a token */
} loci_dsv4_paging_stats;

/* Keep at most budget_bytes of routed experts in memory, the least recently chosen making room; all
 * of that memory is taken now.  f is borrowed until close.  vfs NULL: the system's.
 * Errors: LOCI_EINVAL the budget does not hold the experts of one token (says how much does);
 * LOCI_EFORMAT an expert of another shape; LOCI_EIO, LOCI_ENOMEM. */
loci_status loci_dsv4_paging_open(loci_dsv4_paging **out, const loci_dsv4_files *f,
                                  uint64_t budget_bytes, const loci_vfs *vfs, loci_error *err);
void loci_dsv4_paging_close(loci_dsv4_paging *p); /* NULL is fine */
/* What the forward pass calls; lives as long as p.  It asks for at most stats.slots experts in one
 * fetch; more are LOCI_EINVAL and nothing is read.  LOCI_EIO: a file could not be read; what was in
 * memory before and is not among the ids asked for may be gone, the pager itself stays in order. */
loci_dsv4_pager loci_dsv4_paging_pager(loci_dsv4_paging *p);
loci_dsv4_paging_stats loci_dsv4_paging_read(const loci_dsv4_paging *p);

#endif
