/* gguf_impl.h - what the reader of GGUF files and the access to their metadata share. */
#ifndef LOCI_FORMAT_GGUF_IMPL_H
#define LOCI_FORMAT_GGUF_IMPL_H

#include "format/format_impl.h"

/* Types of metadata values, as numbered in the file. */
enum {
    LOCI_GGUF_U8,
    LOCI_GGUF_I8,
    LOCI_GGUF_U16,
    LOCI_GGUF_I16,
    LOCI_GGUF_U32,
    LOCI_GGUF_I32,
    LOCI_GGUF_F32,
    LOCI_GGUF_BOOL,
    LOCI_GGUF_STRING,
    LOCI_GGUF_ARRAY,
    LOCI_GGUF_U64,
    LOCI_GGUF_I64,
    LOCI_GGUF_F64,
    LOCI_GGUF_VALUE_TYPES
};
extern const uint8_t loci_gguf_value_size[LOCI_GGUF_VALUE_TYPES]; /* bytes; 0: string, array */

typedef struct {
    char *key;     /* owned */
    uint32_t type; /* of the value, or of the elements of an array */
    bool array;
    uint64_t n;                /* elements; 1 without an array */
    const unsigned char *data; /* first element, in the file */
} loci_gguf_pair;

struct loci_gguf {
    loci_map map; /* size 0 when the bytes are the caller's */
    size_t size;
    const unsigned char *bytes;
    char *label;
    int n_pairs, n_tensors;
    loci_gguf_pair *pair;             /* (n_pairs) by key */
    loci_gguf_tensor *tensor;         /* (n_tensors) by place; names are owned */
    const loci_gguf_tensor **by_name; /* (n_all) */
    /* Of a model in parts, in the first one: the others, and the tensors of all, part by part. */
    int n_parts;
    loci_gguf **part; /* (n_parts) owned */
    int n_all;
    loci_gguf_tensor *all; /* (n_all); `tensor` itself when there are no other parts */
};

/* Sort by_name (n_all); a name that is there twice is refused. */
loci_status loci_gguf_sort_names(loci_gguf *f, loci_error *err);
/* Map and read one file. */
loci_status loci_gguf_open_one(loci_gguf **out, const char *path, loci_error *err);

#endif
