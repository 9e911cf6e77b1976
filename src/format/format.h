/* format.h - files that hold named arrays and settings: safetensors, .npy, JSON.
 *
 * Gives named byte ranges and typed JSON values, never tensors with a meaning.
 * Every length is checked against what remains before it is used; a hostile file
 * gives LOCI_EFORMAT with one line that names file, place, expected and found. */
#ifndef LOCI_FORMAT_H
#define LOCI_FORMAT_H

#include "base/base.h"

/* ---- safetensors (safetensors.c) ------------------------------------------- */
typedef enum {
    LOCI_F32,
    LOCI_BF16,
    LOCI_F16,
    LOCI_I8,
    LOCI_U8,
    LOCI_I32,
    LOCI_I64,
    LOCI_F64,
    LOCI_F8_E4M3,
    LOCI_F8_E8M0
} loci_dtype;
size_t loci_dtype_size(loci_dtype t);
const char *loci_dtype_name(loci_dtype t); /* safetensors' name: "F32", "BF16", ... */

enum { LOCI_MAX_DIMS = 4 };
typedef struct {
    const char *name; /* borrowed from the file object */
    loci_dtype dtype;
    int n_dims;
    int64_t dim[LOCI_MAX_DIMS];
    const void *data; /* borrowed: valid until the file is closed */
    size_t bytes;
} loci_tensor_view;

typedef struct loci_st loci_st; /* an open safetensors file, mapped, read-only */
loci_status loci_st_open(loci_st **out, const char *path, loci_error *err);
/* The same over memory (fuzzing, tests); data is borrowed until close. */
loci_status loci_st_open_memory(loci_st **out, const void *data, size_t size, const char *label,
                                loci_error *err);
void loci_st_close(loci_st *f);
size_t loci_st_file_size(const loci_st *f); /* bytes of the whole file */
int loci_st_count(const loci_st *f);
const loci_tensor_view *loci_st_at(const loci_st *f, int i);              /* in file order */
const loci_tensor_view *loci_st_find(const loci_st *f, const char *name); /* NULL if absent */
/* String metadata ("__metadata__"), NULL if absent. */
const char *loci_st_meta(const loci_st *f, const char *key);

/* ---- sharded safetensors (safetensors_set.c) -------------------------------------------
 * model.safetensors.index.json: which file of the folder holds which tensor. */
typedef struct loci_st_index loci_st_index;
/* text (len bytes) is borrowed for the call.  Errors: LOCI_EFORMAT naming label, place, expected
 * and found; a file name that leaves the folder is one. */
loci_status loci_st_index_parse(loci_st_index **out, const char *text, size_t len,
                                const char *label, loci_error *err);
void loci_st_index_close(loci_st_index *x);      /* NULL is fine */
int loci_st_index_files(const loci_st_index *x); /* distinct files, in order of their names */
const char *loci_st_index_file(const loci_st_index *x, int i);    /* borrowed */
int loci_st_index_find(const loci_st_index *x, const char *name); /* its file; -1 if absent */

/* Every tensor of a folder with an index, or with one model.safetensors.  Files are mapped, not
 * read.  Every tensor that the index names must be where it says; one that it does not name is
 * not there.  Errors: LOCI_ENOTFOUND neither file is there; those of loci_st_open and _parse. */
typedef struct loci_st_set loci_st_set;
loci_status loci_st_set_open(loci_st_set **out, const char *dir, loci_error *err);
void loci_st_set_close(loci_st_set *s); /* NULL is fine */
/* NULL if absent; borrowed until close.  file (or NULL) receives the path of its file. */
const loci_tensor_view *loci_st_set_find(const loci_st_set *s, const char *name, const char **file);
int64_t loci_st_set_bytes(const loci_st_set *s); /* of all files */
/* Which file a byte of a tensor lies in, and where: for those who read rather than touch. */
const char *loci_st_set_place(const loci_st_set *s, const void *data, int64_t *offset);

/* Write name, dtype, dim, data, bytes of each view; meta is key, value, key, value,
 * ..., NULL or NULL.  Atomic replace. */
loci_status loci_st_write(const loci_vfs *vfs, const char *path, const loci_tensor_view *t, int n,
                          const char *const *meta, loci_error *err);

/* ---- GGUF (gguf.c): versions 2 and 3, little-endian ---------------------------------------
 * Element types by their number in the file.  Sizes of all that are listed are known; which ones
 * can be computed with is the caller's to say. */
#define LOCI_GGML_LIST(X) /* X(NAME, number, elements of a block, bytes of a block) */             \
    X(F32, 0, 1, 4)                                                                                \
    X(F16, 1, 1, 2)                                                                                \
    X(Q4_0, 2, 32, 18)                                                                             \
    X(Q4_1, 3, 32, 20)                                                                             \
    X(Q5_0, 6, 32, 22)                                                                             \
    X(Q5_1, 7, 32, 24)                                                                             \
    X(Q8_0, 8, 32, 34)                                                                             \
    X(Q8_1, 9, 32, 36)                                                                             \
    X(Q2_K, 10, 256, 84)                                                                           \
    X(Q3_K, 11, 256, 110)                                                                          \
    X(Q4_K, 12, 256, 144)                                                                          \
    X(Q5_K, 13, 256, 176)                                                                          \
    X(Q6_K, 14, 256, 210)                                                                          \
    X(Q8_K, 15, 256, 292)                                                                          \
    X(IQ2_XXS, 16, 256, 66)                                                                        \
    X(IQ2_XS, 17, 256, 74)                                                                         \
    X(IQ3_XXS, 18, 256, 98)                                                                        \
    X(IQ1_S, 19, 256, 50)                                                                          \
    X(IQ4_NL, 20, 32, 18)                                                                          \
    X(IQ3_S, 21, 256, 110)                                                                         \
    X(IQ2_S, 22, 256, 82)                                                                          \
    X(IQ4_XS, 23, 256, 136)                                                                        \
    X(I8, 24, 1, 1)                                                                                \
    X(I16, 25, 1, 2)                                                                               \
    X(I32, 26, 1, 4)                                                                               \
    X(I64, 27, 1, 8)                                                                               \
    X(F64, 28, 1, 8)                                                                               \
    X(IQ1_M, 29, 256, 56)                                                                          \
    X(BF16, 30, 1, 2)                                                                              \
    X(MXFP4, 39, 32, 17)

typedef enum {
#define X(NAME, number, elements, bytes) LOCI_GGML_##NAME = (number),
    LOCI_GGML_LIST(X)
#undef X
} loci_ggml_type;
const char *loci_ggml_name(loci_ggml_type t); /* "Q4_K", ...; "?" if not listed */

typedef struct {
    const char *name; /* borrowed from the file object */
    loci_ggml_type type;
    int n_dims;
    int64_t dim[LOCI_MAX_DIMS]; /* as in the file: the first one is contiguous; 1 behind n_dims */
    const void *data;           /* borrowed: valid until the file is closed */
    size_t bytes;
} loci_gguf_tensor;

typedef struct loci_gguf loci_gguf;
/* Map a file, check all of it but the values of tensors.  Given the first part of a model in parts
 * (NAME-00001-of-00003.gguf), the others beside it belong to it: one set of tensors.
 * Errors: LOCI_EFORMAT naming file, place, expected and found; LOCI_EVERSION another version or
 * byte order; LOCI_ENOTFOUND a part is missing. */
loci_status loci_gguf_open(loci_gguf **out, const char *path, loci_error *err);
loci_status loci_gguf_open_memory(loci_gguf **out, const void *data, size_t size, const char *label,
                                  loci_error *err);
void loci_gguf_close(loci_gguf *f);             /* NULL is fine */
size_t loci_gguf_file_size(const loci_gguf *f); /* of all parts */
int loci_gguf_count(const loci_gguf *f);
const loci_gguf_tensor *loci_gguf_at(const loci_gguf *f, int i); /* by place in the file */
const loci_gguf_tensor *loci_gguf_find(const loci_gguf *f, const char *name); /* NULL if absent */

/* Metadata.  false: the key is absent (has), or absent, of another type or out of range (others),
 * *out untouched.  Numbers of any integer width are one, and booleans are integers. */
bool loci_gguf_has(const loci_gguf *f, const char *key);
bool loci_gguf_int(const loci_gguf *f, const char *key, int64_t *out);
bool loci_gguf_real(const loci_gguf *f, const char *key, double *out); /* integers too */
/* A piece of text in the file, not terminated, any bytes. */
typedef struct {
    const char *data;
    size_t len;
} loci_text_span;
bool loci_gguf_text(const loci_gguf *f, const char *key, loci_text_span *out);
/* Arrays: length, and element i.  A wrong element type, a key without an array: false. */
bool loci_gguf_length(const loci_gguf *f, const char *key, int64_t *n);
bool loci_gguf_int_at(const loci_gguf *f, const char *key, int64_t i, int64_t *out);
bool loci_gguf_real_at(const loci_gguf *f, const char *key, int64_t i, double *out);
/* All strings of an array: *out (n) owned (free()), the bytes borrowed.  Errors: LOCI_EFORMAT
 * naming file and key when absent or not of strings; LOCI_ENOMEM. */
loci_status loci_gguf_texts(const loci_gguf *f, const char *key, loci_text_span **out, int64_t *n,
                            loci_error *err);
const char *loci_gguf_label(const loci_gguf *f); /* its path */
/* The path of the part that a byte of a tensor lies in, and where in it; NULL for another byte. */
const char *loci_gguf_place(const loci_gguf *f, const void *data, int64_t *offset);

/* ---- .npy (npy.c): version 1.0, C order, little-endian ------------------------ */
loci_status loci_npy_write_f32(const char *path, const float *data, const int64_t *dim, int n_dims,
                               loci_error *err);

/* ---- settings in JSON (settings.c) over jansson ---------------------------------
 * Reads one flat or nested object into a struct by a table, with ranges; an unknown
 * key, a wrong type and a value out of range name file, key, expected and found. */
typedef enum {
    LOCI_SET_INT,
    LOCI_SET_I64,
    LOCI_SET_FLOAT,
    LOCI_SET_BOOL,
    LOCI_SET_STR
} loci_set_type;
typedef struct {
    const char *key;
    loci_set_type type; /* int, int64_t, float, bool, char[str_size] at `offset` */
    size_t offset;
    double min, max;  /* for numbers, inclusive */
    size_t str_size;  /* for LOCI_SET_STR */
    bool required;    /* absent otherwise leaves the field as it was */
    const char *help; /* one line, for --help and docs */
} loci_setting;
/* json_text is NUL-terminated; label names it in messages; `ignore` is a NULL-terminated
 * list of keys left to somebody else (nested objects), or NULL. */
loci_status loci_settings_parse(const char *json_text, const char *label, const loci_setting *table,
                                int n, void *object, const char *const *ignore, loci_error *err);
/* One "key=value" as on a command line.  Same checks. */
loci_status loci_settings_set(const char *key, const char *value, const char *label,
                              const loci_setting *table, int n, void *object, loci_error *err);
/* The object as pretty JSON, keys in table order; owned (free()). NULL if no memory. */
char *loci_settings_dump(const loci_setting *table, int n, const void *object);
/* What a JSON value is, in the words of messages: "an object", "a number with a fraction"; NULL is
 * "null". */
struct json_t;
const char *loci_json_type_name(const struct json_t *value);

#endif
