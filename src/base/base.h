/* base.h - the ground every other folder stands on: failures, checked sizes,
 * arenas, the thread pool, CPU features, files, random numbers, time.
 *
 * Knows nothing of models, text or kernels.  No writable globals. */
#ifndef LOCI_BASE_H
#define LOCI_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "loci/error.h"

/* ---- failures (error.c) ------------------------------------------------- */

/* Record a failure and return its code, so that callers write
 *     return loci_fail(err, LOCI_EFORMAT, "%s: bad magic", path);
 * The first failure wins.  For LOCI_EIO errno is kept and its text appended
 * (": No space left on device").  Control bytes in the text are shown as '?'. */
loci_status loci_fail(loci_error *err, loci_status code, const char *fmt, ...) LOCI_PRINTF(3, 4);

/* ---- sizes (arena.c) ----------------------------------------------------- */

/* *out = a * b (a + b); false, *out untouched, when the result does not fit. */
bool loci_size_mul(size_t a, size_t b, size_t *out);
bool loci_size_add(size_t a, size_t b, size_t *out);

/* ---- arena (arena.c) ------------------------------------------------------
 * One description of memory, walked twice: with base == NULL it measures, with
 * a block of that size it carves.  Every piece is aligned to 64 bytes. */
typedef struct {
    unsigned char *base; /* NULL while measuring */
    size_t size;         /* bytes at base        */
    size_t used;         /* bytes handed out     */
} loci_arena;

/* Take n elements.  Measuring: returns NULL and counts.  Carving: asserts that
 * the plan was right (running out is our bug, never the user's).  Not zeroed. */
void *loci_arena_take(loci_arena *a, size_t n, size_t elem_size);

/* 64-byte aligned memory, zeroed; NULL if there is none.  Freed by loci_free_aligned.
 * Blocks of 2 MiB and more ask for huge pages. */
void *loci_alloc_aligned(size_t bytes);
/* The same, not zeroed: its pages are taken as they are written. */
void *loci_alloc_untouched(size_t bytes);
void loci_free_aligned(void *p);

/* ---- random numbers (random.c) -------------------------------------------
 * xoshiro256** seeded by splitmix64: the same stream on every machine.  State is
 * plain data, so a checkpoint may store it. */
typedef struct {
    uint64_t s[4];
} loci_rng;
void loci_rng_seed(loci_rng *r, uint64_t seed);
uint64_t loci_rng_u64(loci_rng *r);
uint32_t loci_rng_below(loci_rng *r, uint32_t n); /* uniform in [0, n), n >= 1, no modulo bias */
double loci_rng_unit(loci_rng *r);                /* [0, 1), 53 bits */
double loci_rng_normal(loci_rng *r);              /* mean 0, deviation 1; uses exactly 2 draws */
/* Mix two numbers into a seed (for one stream per item, independent of order). */
uint64_t loci_rng_mix(uint64_t a, uint64_t b);

/* ---- bf16 ----------------------------------------------------------------- */
static inline float loci_bf16_to_f32(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } v = { (uint32_t)h << 16 };
    return v.f;
}
/* Round to nearest, ties to even; NaN stays NaN. */
static inline uint16_t loci_f32_to_bf16(float f)
{
    union {
        float f;
        uint32_t u;
    } v = { f };
    if ((v.u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((v.u >> 16) | 0x40u);
    return (uint16_t)((v.u + 0x7fffu + ((v.u >> 16) & 1u)) >> 16);
}

/* ---- time ------------------------------------------------------------------ */
double loci_seconds(void); /* monotonic clock */

/* ---- CPU features (cpu.c) --------------------------------------------------- */
enum {
    LOCI_CPU_AVX2 = 1u << 0,    /* AVX2 + FMA + F16C, and an OS that saves the registers */
    LOCI_CPU_AVX512 = 1u << 1,  /* F + BW + DQ + VL */
    LOCI_CPU_VNNI = 1u << 2,    /* AVX512_VNNI */
    LOCI_CPU_BF16 = 1u << 3,    /* AVX512_BF16 */
    LOCI_CPU_VPOPCNT = 1u << 4, /* AVX512_VPOPCNTDQ */
    LOCI_CPU_DOTPROD = 1u << 5  /* ARM: sdot and udot */
};
unsigned loci_cpu_detect(void);
/* Lower `have` to what `name` allows: "ref" | "avx2" | "avx512" | "native".
 * Errors: LOCI_EINVAL unknown name, *flags untouched. */
loci_status loci_cpu_limit(const char *name, unsigned have, unsigned *flags, loci_error *err);
int loci_cpu_cores(void); /* cores this process may run on, >= 1 */
/* Bytes of the last level of cache that the first core sees, 0 where the system does not say. */
int64_t loci_cpu_cache_bytes(void);

/* ---- thread pool (thread.c) --------------------------------------------------
 * One pool per engine or trainer.  A job is n_tiles calls of fn; workers (the
 * caller is worker 0) take the next tile from an atomic counter, so one busy
 * core does not hold the others up.  Tiles must be independent and their sizes
 * fixed by the problem, never by the number of threads: then results are the
 * same for any number. */
typedef struct loci_pool loci_pool;
typedef void loci_tile_fn(void *ctx, int tile, int worker);

/* threads 0 = all cores, 1 = everything runs in the caller.  1..1024. */
loci_status loci_pool_open(loci_pool **out, int threads, loci_error *err);
void loci_pool_close(loci_pool *p);        /* NULL is fine */
int loci_pool_threads(const loci_pool *p); /* NULL: 1 */
/* Run and wait.  p == NULL or n_tiles <= 1: serial in the caller, no wake-up.  Not
 * reentrant from inside a tile; one caller at a time (an inner lock makes others wait). */
void loci_pool_run(loci_pool *p, int n_tiles, loci_tile_fn *fn, void *ctx);

/* One thread beside its owner's, for work that the owner need not wait for (runner.c).  All calls
 * come from one thread. */
typedef struct loci_runner loci_runner;
loci_status loci_runner_open(loci_runner **out, loci_error *err);
void loci_runner_close(loci_runner *r); /* after what it was given has run; NULL is fine */
/* Run fn(ctx) there, when what was given before has returned. */
void loci_runner_start(loci_runner *r, void (*fn)(void *ctx), void *ctx);
void loci_runner_wait(loci_runner *r); /* until it has nothing to run */

/* ---- files (file.c; whole files: path.c; mapping: map.c) --------------------------------
 * The only place that opens, maps, syncs, renames.  All but mapping goes through a
 * method table, so that tests inject short writes, full disks and I/O errors. */
typedef struct loci_vfs loci_vfs;
struct loci_vfs {
    void *ctx;
    /* All return >= 0, or -errno.  Same meaning as the system calls. */
    int (*open)(void *ctx, const char *path, int flags, int mode);
    int (*close)(void *ctx, int fd);
    int64_t (*pread)(void *ctx, int fd, void *buf, size_t n, int64_t offset);
    int64_t (*pwrite)(void *ctx, int fd, const void *buf, size_t n, int64_t offset);
    int (*sync)(void *ctx, int fd);
    int (*truncate)(void *ctx, int fd, int64_t size);
    int64_t (*size)(void *ctx, int fd);
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path, int mode);
};
const loci_vfs *loci_vfs_system(void); /* static, read-only */

typedef struct {
    const loci_vfs *vfs;
    int fd; /* -1 when closed */
} loci_file;

/* vfs NULL = the system's.  flags as open(2); O_CLOEXEC is added.  Errors: LOCI_ENOTFOUND
 * when missing, else LOCI_EIO naming path and step. */
loci_status loci_file_open(loci_file *f, const loci_vfs *vfs, const char *path, int flags,
                           loci_error *err);
loci_status loci_file_close(loci_file *f, loci_error *err); /* closed twice is fine */
/* All of n bytes or an error; short reads and writes and EINTR are gone on with.  A file
 * that ends early is LOCI_EFORMAT naming offset, wanted and found. */
loci_status loci_file_read(loci_file *f, const char *path, void *buf, size_t n, int64_t offset,
                           loci_error *err);
loci_status loci_file_write(loci_file *f, const char *path, const void *buf, size_t n,
                            int64_t offset, loci_error *err);
loci_status loci_file_sync(loci_file *f, const char *path, loci_error *err);
loci_status loci_file_size(loci_file *f, const char *path, int64_t *size, loci_error *err);
/* Say that n bytes from offset on are about to be read: the system may begin.  A hint: it cannot
 * fail and changes no result; nothing on another vfs than the system's. */
void loci_file_will_read(loci_file *f, int64_t offset, int64_t n);
/* Sync the folder that holds `path` (a rename or unlink lives there). */
loci_status loci_file_sync_parent(const loci_vfs *vfs, const char *path, loci_error *err);
/* Replace path by len bytes: old content or all of the new, also across power loss. 0600. */
loci_status loci_file_replace(const loci_vfs *vfs, const char *path, const void *data, size_t len,
                              loci_error *err);
/* The same from n_parts pieces, one behind the other: no copy of large arrays. */
typedef struct {
    const void *data;
    size_t len;
} loci_part;
loci_status loci_file_replace_parts(const loci_vfs *vfs, const char *path, const loci_part *part,
                                    int n_parts, loci_error *err);
/* The whole file, owned (free()), one NUL byte behind it.  At most max_bytes, else
 * LOCI_EFORMAT.  Works on pipes and files that grow or shrink meanwhile. */
loci_status loci_file_load(const loci_vfs *vfs, const char *path, size_t max_bytes, char **data,
                           size_t *len, loci_error *err);
/* Make a folder and its parents, mode 0700 for those made; existing is fine. */
loci_status loci_mkdirs(const loci_vfs *vfs, const char *path, loci_error *err);

/* Read-only mapping; an empty file maps to data = "" and size = 0. */
typedef struct {
    const unsigned char *data;
    size_t size;
} loci_map;
loci_status loci_map_open(loci_map *m, const char *path, loci_error *err);
void loci_map_close(loci_map *m);
/* Give back the memory that reading whole pages of [from, to) has taken; what is read next is taken
 * anew, from the system's copy of the file if that is still there.  Pointers stay good. */
void loci_map_release(loci_map *m, size_t from, size_t to);

/* dir + "/" + name into out (n bytes).  LOCI_EINVAL if it does not fit. */
loci_status loci_path_join(char *out, size_t n, const char *dir, const char *name, loci_error *err);

#endif
