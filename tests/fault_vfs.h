/* fault_vfs.h - a loci_vfs that fails where a test wants it to.
 *
 *     fault_vfs fault;
 *     const loci_vfs *vfs = fault_vfs_init(&fault, FAULT_CRASH, 3);
 *     ... code under test, with vfs ...
 *
 * Every call counts, from 1; n_calls of a run without faults is how many places there are to
 * fail at.  `log` has a letter a call, for tests of the order of steps:
 *   o open  c close  r pread  w pwrite  s sync  t truncate  z size  m rename  u unlink  d mkdir
 *
 * What is not modelled: a crash leaves what was written, as a killed process does; it does not
 * drop unsynced bytes, as a power loss may.  The log shows whether the syncs are in their place.
 * For one thread. */
#ifndef LOCI_TEST_FAULT_VFS_H
#define LOCI_TEST_FAULT_VFS_H

#include <errno.h>
#include <string.h>
#include "base/base.h"

typedef enum {
    FAULT_NONE,  /* only count                                                         */
    FAULT_SHORT, /* each read and write does at most `at` bytes                         */
    FAULT_INTR,  /* each `at`-th call is interrupted once, before it did anything       */
    FAULT_FULL,  /* the disk takes `at` bytes, then -ENOSPC; a write may be cut short   */
    FAULT_EIO,   /* call number `at` fails with -EIO and has no effect                  */
    FAULT_CRASH, /* call number `at` and all after it fail with -EIO, without effect     */
    FAULT_TORN   /* as FAULT_CRASH, but a write at `at` leaves its first half behind    */
} fault_mode;

enum { FAULT_LOG = 4096 };

typedef struct {
    loci_vfs vfs; /* give this to the code under test */
    fault_mode mode;
    int64_t at;
    int64_t n_calls;   /* so far, failed ones included      */
    int64_t n_faults;  /* of them made to fail or cut short */
    int64_t n_written; /* bytes                             */
    int n_open;        /* descriptors not closed            */
    char log[FAULT_LOG + 1];
} fault_vfs;

/* Count a call; 0 to go on, or the -errno to return. */
static inline int fault_enter(fault_vfs *f, char letter)
{
    if (f->n_calls < FAULT_LOG) f->log[f->n_calls] = letter;
    f->n_calls++;
    int code = 0;
    if (f->mode == FAULT_INTR && f->n_calls % f->at == 0) code = -EINTR;
    if (f->mode == FAULT_EIO && f->n_calls == f->at) code = -EIO;
    if ((f->mode == FAULT_CRASH || f->mode == FAULT_TORN) && f->n_calls >= f->at) code = -EIO;
    f->n_faults += code != 0;
    return code;
}

static inline int fault_open(void *ctx, const char *path, int flags, int mode)
{
    fault_vfs *f = ctx;
    const int code = fault_enter(f, 'o');
    const int fd = code ? code : loci_vfs_system()->open(NULL, path, flags, mode);
    f->n_open += fd >= 0;
    return fd;
}

/* The descriptor is really closed whatever the caller is told: the kernel does so too. */
static inline int fault_close(void *ctx, int fd)
{
    fault_vfs *f = ctx;
    const int code = fault_enter(f, 'c');
    const int r = loci_vfs_system()->close(NULL, fd);
    f->n_open--;
    return code ? code : r;
}

static inline int64_t fault_pread(void *ctx, int fd, void *buf, size_t n, int64_t offset)
{
    fault_vfs *f = ctx;
    const int code = fault_enter(f, 'r');
    if (code) return code;
    if (f->mode == FAULT_SHORT && n > (size_t)f->at) {
        n = (size_t)f->at;
        f->n_faults++;
    }
    return loci_vfs_system()->pread(NULL, fd, buf, n, offset);
}

static inline int64_t fault_pwrite(void *ctx, int fd, const void *buf, size_t n, int64_t offset)
{
    fault_vfs *f = ctx;
    const int code = fault_enter(f, 'w');
    if (code) {
        if (f->mode == FAULT_TORN && f->n_calls == f->at)
            (void)loci_vfs_system()->pwrite(NULL, fd, buf, n / 2, offset);
        return code;
    }
    size_t most = n;
    if (f->mode == FAULT_SHORT && most > (size_t)f->at) most = (size_t)f->at;
    if (f->mode == FAULT_FULL) {
        const int64_t room = f->at - f->n_written;
        if (room <= 0 && n > 0) {
            f->n_faults++;
            return -ENOSPC;
        }
        if ((int64_t)most > room) most = (size_t)room;
    }
    f->n_faults += most < n;
    const int64_t r = loci_vfs_system()->pwrite(NULL, fd, buf, most, offset);
    if (r > 0) f->n_written += r;
    return r;
}

static inline int fault_sync(void *ctx, int fd)
{
    const int code = fault_enter(ctx, 's');
    return code ? code : loci_vfs_system()->sync(NULL, fd);
}

static inline int fault_truncate(void *ctx, int fd, int64_t size)
{
    const int code = fault_enter(ctx, 't');
    return code ? code : loci_vfs_system()->truncate(NULL, fd, size);
}

static inline int64_t fault_size(void *ctx, int fd)
{
    const int code = fault_enter(ctx, 'z');
    return code ? code : loci_vfs_system()->size(NULL, fd);
}

static inline int fault_rename(void *ctx, const char *from, const char *to)
{
    const int code = fault_enter(ctx, 'm');
    return code ? code : loci_vfs_system()->rename(NULL, from, to);
}

static inline int fault_unlink(void *ctx, const char *path)
{
    const int code = fault_enter(ctx, 'u');
    return code ? code : loci_vfs_system()->unlink(NULL, path);
}

static inline int fault_mkdir(void *ctx, const char *path, int mode)
{
    const int code = fault_enter(ctx, 'd');
    return code ? code : loci_vfs_system()->mkdir(NULL, path, mode);
}

/* Start anew.  Returns &f->vfs, valid as long as f is. */
static inline const loci_vfs *fault_vfs_init(fault_vfs *f, fault_mode mode, int64_t at)
{
    memset(f, 0, sizeof *f);
    f->vfs = (loci_vfs){ f,          fault_open,     fault_close, fault_pread,  fault_pwrite,
                         fault_sync, fault_truncate, fault_size,  fault_rename, fault_unlink,
                         fault_mkdir };
    f->mode = mode;
    f->at = at;
    return &f->vfs;
}

#endif
