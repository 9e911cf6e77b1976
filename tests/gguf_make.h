/* gguf_make.h - GGUF files in memory, for tests: pairs first, then tensors, then gguf_finish. */
#ifndef LOCI_TEST_GGUF_MAKE_H
#define LOCI_TEST_GGUF_MAKE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GGUF_MAX_TENSORS = 512 };

typedef struct {
    unsigned char *at; /* (n) owned: the header */
    size_t n;
    uint64_t n_pairs, n_tensors, offset;
    size_t align;                       /* what general.alignment says, or 32 */
    const void *data[GGUF_MAX_TENSORS]; /* borrowed until gguf_finish */
    size_t bytes[GGUF_MAX_TENSORS];
} gguf_file;

static inline void gguf_put(gguf_file *g, const void *p, size_t n)
{
    g->at = realloc(g->at, g->n + n + 1);
    memcpy(g->at + g->n, p, n);
    g->n += n;
}

static inline void gguf_u32(gguf_file *g, uint32_t v)
{
    gguf_put(g, &v, sizeof v);
}

static inline void gguf_u64(gguf_file *g, uint64_t v)
{
    gguf_put(g, &v, sizeof v);
}

static inline void gguf_string(gguf_file *g, const char *s)
{
    gguf_u64(g, strlen(s));
    gguf_put(g, s, strlen(s));
}

static inline gguf_file gguf_begin(uint32_t version)
{
    gguf_file g = { .align = 32 };
    gguf_put(&g, "GGUF", 4);
    gguf_u32(&g, version);
    gguf_u64(&g, 0); /* counts, set at the end */
    gguf_u64(&g, 0);
    return g;
}

/* ---- pairs: call in any order, before the first tensor ---- */

static inline void gguf_pair(gguf_file *g, const char *key, uint32_t type)
{
    gguf_string(g, key);
    gguf_u32(g, type);
    g->n_pairs++;
}

static inline void gguf_pair_u32(gguf_file *g, const char *key, uint32_t v)
{
    gguf_pair(g, key, 4);
    gguf_u32(g, v);
}

static inline void gguf_pair_f32(gguf_file *g, const char *key, float v)
{
    gguf_pair(g, key, 6);
    gguf_put(g, &v, 4);
}

static inline void gguf_pair_text(gguf_file *g, const char *key, const char *v)
{
    gguf_pair(g, key, 8);
    gguf_string(g, v);
}

static inline void gguf_array(gguf_file *g, const char *key, uint32_t type, uint64_t n)
{
    gguf_pair(g, key, 9);
    gguf_u32(g, type);
    gguf_u64(g, n);
}

/* ---- tensors ---- */

/* dim as in the file: the contiguous one first. */
static inline void gguf_tensor(gguf_file *g, const char *name, uint32_t type, int n_dims,
                               const uint64_t *dim, const void *data, size_t bytes)
{
    gguf_string(g, name);
    gguf_u32(g, (uint32_t)n_dims);
    for (int d = 0; d < n_dims; d++) gguf_u64(g, dim[d]);
    gguf_u32(g, type);
    gguf_u64(g, g->offset);
    g->data[g->n_tensors] = data;
    g->bytes[g->n_tensors++] = bytes;
    g->offset += (bytes + g->align - 1) / g->align * g->align;
}

/* The whole file, owned, *size bytes; g is empty afterwards. */
static inline unsigned char *gguf_finish(gguf_file *g, size_t *size)
{
    memcpy(g->at + 8, &g->n_tensors, 8);
    memcpy(g->at + 16, &g->n_pairs, 8);
    static const unsigned char zero[1 << 10] = { 0 };
    if (g->n % g->align) gguf_put(g, zero, g->align - g->n % g->align);
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        gguf_put(g, g->data[i], g->bytes[i]);
        const size_t over = g->bytes[i] % g->align;
        if (over) gguf_put(g, zero, g->align - over);
    }
    *size = g->n;
    unsigned char *file = g->at;
    memset(g, 0, sizeof *g);
    return file;
}

#endif
