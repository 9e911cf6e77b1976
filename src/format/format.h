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
    LOCI_F64
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
int loci_st_count(const loci_st *f);
const loci_tensor_view *loci_st_at(const loci_st *f, int i);              /* in file order */
const loci_tensor_view *loci_st_find(const loci_st *f, const char *name); /* NULL if absent */
/* String metadata ("__metadata__"), NULL if absent. */
const char *loci_st_meta(const loci_st *f, const char *key);

/* Write name, dtype, dim, data, bytes of each view; meta is key, value, key, value,
 * ..., NULL or NULL.  Atomic replace. */
loci_status loci_st_write(const loci_vfs *vfs, const char *path, const loci_tensor_view *t, int n,
                          const char *const *meta, loci_error *err);

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

#endif
