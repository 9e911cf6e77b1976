/* file.c - open files: read, write, sync and close through a method table.
 *
 * The table (loci_vfs) is the seam where tests inject short writes, full disks, I/O errors and
 * crashes; loci_vfs_system() is the one that talks to the kernel.  Interrupted and partial calls
 * are gone on with here, so that nobody above this file has to know of them.  Whole files are
 * path.c's, mappings are map.c's. */
#include "base/base.h"
#include "base/file_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the system's methods ----------------------------------------------------- */

/* What libc says with -1 and errno, the table says with -errno. */
static int64_t negative_errno(int64_t r)
{
    return r < 0 ? -(int64_t)errno : r;
}

static int sys_open(void *ctx, const char *path, int flags, int mode)
{
    (void)ctx;
    return (int)negative_errno(open(path, flags, (mode_t)mode));
}

static int sys_close(void *ctx, int fd)
{
    (void)ctx;
    return (int)negative_errno(close(fd));
}

/* A pipe has no offsets: there the next bytes are all that can be meant. */
static int64_t sys_pread(void *ctx, int fd, void *buf, size_t n, int64_t offset)
{
    (void)ctx;
    const int64_t r = negative_errno(pread(fd, buf, n, (off_t)offset));
    return r == -ESPIPE ? negative_errno(read(fd, buf, n)) : r;
}

static int64_t sys_pwrite(void *ctx, int fd, const void *buf, size_t n, int64_t offset)
{
    (void)ctx;
    return negative_errno(pwrite(fd, buf, n, (off_t)offset));
}

static int sys_sync(void *ctx, int fd)
{
    (void)ctx;
    return (int)negative_errno(fsync(fd));
}

static int sys_truncate(void *ctx, int fd, int64_t size)
{
    (void)ctx;
    return (int)negative_errno(ftruncate(fd, (off_t)size));
}

static int64_t sys_size(void *ctx, int fd)
{
    struct stat s;
    (void)ctx;
    return fstat(fd, &s) == 0 ? (int64_t)s.st_size : -(int64_t)errno;
}

static int sys_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx;
    return (int)negative_errno(rename(from, to));
}

static int sys_unlink(void *ctx, const char *path)
{
    (void)ctx;
    return (int)negative_errno(unlink(path));
}

static int sys_mkdir(void *ctx, const char *path, int mode)
{
    (void)ctx;
    return (int)negative_errno(mkdir(path, (mode_t)mode));
}

const loci_vfs *loci_vfs_system(void)
{
    static const loci_vfs table = {
        .open = sys_open,
        .close = sys_close,
        .pread = sys_pread,
        .pwrite = sys_pwrite,
        .sync = sys_sync,
        .truncate = sys_truncate,
        .size = sys_size,
        .rename = sys_rename,
        .unlink = sys_unlink,
        .mkdir = sys_mkdir,
    };
    return &table;
}

loci_status loci_io_fail(loci_error *err, int64_t code, const char *step, const char *path)
{
    if (code == -ENOENT) return loci_fail(err, LOCI_ENOTFOUND, "%s %s: no such file", step, path);
    errno = (int)-code;
    return loci_fail(err, LOCI_EIO, "%s %s", step, path);
}

/* ---- open files ------------------------------------------------------------------ */

loci_status loci_file_open(loci_file *f, const loci_vfs *vfs, const char *path, int flags,
                           loci_error *err)
{
    f->vfs = vfs ? vfs : loci_vfs_system();
    do f->fd = f->vfs->open(f->vfs->ctx, path, flags | O_CLOEXEC, 0600);
    while (f->fd == -EINTR);
    if (f->fd >= 0) return LOCI_OK;
    const int code = f->fd;
    f->fd = -1;
    return loci_io_fail(err, code, "open", path);
}

loci_status loci_file_close(loci_file *f, loci_error *err)
{
    if (f->fd < 0) return LOCI_OK;
    const int r = f->vfs->close(f->vfs->ctx, f->fd);
    f->fd = -1; /* gone also when close failed: a second try could hit somebody else's file */
    return r < 0 && r != -EINTR ? loci_io_fail(err, r, "close", "a file") : LOCI_OK;
}

loci_status loci_file_read(loci_file *f, const char *path, void *buf, size_t n, int64_t offset,
                           loci_error *err)
{
    size_t done = 0;
    if (offset < 0 || n > (uint64_t)(INT64_MAX - offset))
        return loci_fail(err, LOCI_EFORMAT, "%s: no file has %zu bytes at offset %lld", path, n,
                         (long long)offset);
    while (done < n) {
        const int64_t r =
            f->vfs->pread(f->vfs->ctx, f->fd, (char *)buf + done, n - done, offset + (int64_t)done);
        if (r == -EINTR) continue;
        if (r < 0) return loci_io_fail(err, r, "read", path);
        if (r == 0)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: ends early: expected %zu bytes at offset %lld, found %zu", path,
                             n, (long long)offset, done);
        done += (size_t)r;
    }
    return LOCI_OK;
}

loci_status loci_file_write(loci_file *f, const char *path, const void *buf, size_t n,
                            int64_t offset, loci_error *err)
{
    size_t done = 0;
    if (offset < 0 || n > (uint64_t)(INT64_MAX - offset))
        return loci_fail(err, LOCI_EINVAL, "%s: no file takes %zu bytes at offset %lld", path, n,
                         (long long)offset);
    while (done < n) {
        const int64_t r = f->vfs->pwrite(f->vfs->ctx, f->fd, (const char *)buf + done, n - done,
                                         offset + (int64_t)done);
        if (r == -EINTR) continue;
        /* Nothing taken and no reason given: asking again could go on for ever. */
        if (r <= 0) return loci_io_fail(err, r < 0 ? r : -ENOSPC, "write", path);
        done += (size_t)r;
    }
    return LOCI_OK;
}

loci_status loci_file_sync(loci_file *f, const char *path, loci_error *err)
{
    int r;
    do r = f->vfs->sync(f->vfs->ctx, f->fd);
    while (r == -EINTR);
    return r < 0 ? loci_io_fail(err, r, "sync", path) : LOCI_OK;
}

void loci_file_will_read(loci_file *f, int64_t offset, int64_t n)
{
    if (f->vfs == loci_vfs_system()) (void)posix_fadvise(f->fd, offset, n, POSIX_FADV_WILLNEED);
}

loci_status loci_file_size(loci_file *f, const char *path, int64_t *size, loci_error *err)
{
    const int64_t r = f->vfs->size(f->vfs->ctx, f->fd);
    *size = r < 0 ? 0 : r;
    return r < 0 ? loci_io_fail(err, r, "size of", path) : LOCI_OK;
}
