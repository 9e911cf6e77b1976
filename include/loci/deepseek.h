/* deepseek.h - released models of the DeepSeek-V4 family: what one is and needs, before anything of
 * it is loaded.
 *
 * A model is a folder with config.json (and safetensors, in one file or in shards), such a
 * config.json by itself, or a GGUF file.  Conventions as in loci.h. */
#ifndef LOCI_DEEPSEEK_H
#define LOCI_DEEPSEEK_H

#include <stdbool.h>
#include <stdint.h>
#include "loci/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* True when path is of this family: a GGUF file of architecture deepseek4, or a config that names
 * model type deepseek_v4 or deepseek_v41.  Reads the head of a file; never fails. */
LOCI_API bool loci_deepseek_is(const char *path);

typedef struct {
    char architecture[24]; /* "deepseek-v4", "deepseek-v4-dspark", "deepseek-v4.1" */
    char expert_type[8];   /* of the routed experts as the config says: "fp4", "fp8", "plain" */
    bool costs;            /* false: recognised only; what follows `max_tokens` is 0 */
    int vocab, d_model, n_layers;
    int n_window, n_csa, n_hca, n_hash; /* layers of each kind; those routed by token id */
    int n_heads, d_head, window, index_top_k;
    int n_experts, n_active, n_draft; /* routed ones a layer; chosen per token; drafting blocks */
    int64_t max_tokens;               /* of a context */
    int64_t parameters, active;       /* active: those that a token passes */
    int64_t draft_parameters;
    int64_t file_bytes; /* of the weights that are there, 0 when there are none */
    int64_t
        weight_bytes; /* of all tensors as stored, in the types of the release where they are not */
    int64_t dense_bytes;  /* of them, what every token reads: all but the routed experts */
    int64_t expert_bytes; /* of one routed expert (the mean) */
    int64_t state_bytes;  /* a sequence holds besides its tokens' entries */
    double context_bytes_per_token;
} loci_deepseek_info;

/* From config or metadata, and the list of tensors where there is one, in milliseconds.
 * Errors: LOCI_ENOTFOUND, LOCI_EIO; LOCI_EFORMAT names file, field, expected and found; *info is
 * zeroed. */
LOCI_API loci_status loci_deepseek_describe(const char *path, loci_deepseek_info *info,
                                            loci_error *err);

#ifdef __cplusplus
}
#endif

#endif
