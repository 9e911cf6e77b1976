/* file.c - the only file that opens, writes, syncs and renames; all through a method table, so
 * that tests inject short writes, full disks and I/O errors. */
#include "base/base.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the system's methods: -errno instead of -1 ------------------------------------------- */
static int64_t negative_errno(int64_t r) { return r < 0 ? -(int64_t)errno : r; }

static int sys_open(void *ctx, const char *path, int flags, int mode)
{
    (void)ctx;
    return (int)negative_errno(open(path, flags | O_CLOEXEC, mode));
}
static int sys_close(void *ctx, int fd) { (void)ctx; return (int)negative_errno(close(fd)); }
static int64_t sys_pread(void *ctx, int fd, void *buf, size_t n, int64_t offset)
{
    (void)ctx;
    return negative_errno(pread(fd, buf, n, offset));
}
static int64_t sys_pwrite(void *ctx, int fd, const void *buf, size_t n, int64_t offset)
{
    (void)ctx;
    return negative_errno(pwrite(fd, buf, n, offset));
}
static int sys_sync(void *ctx, int fd) { (void)ctx; return (int)negative_errno(fsync(fd)); }
static int sys_truncate(void *ctx, int fd, int64_t size)
{
    (void)ctx;
    return (int)negative_errno(ftruncate(fd, size));
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
static int sys_unlink(void *ctx, const char *path) { (void)ctx; return (int)negative_errno(unlink(path)); }
static int sys_mkdir(void *ctx, const char *path, int mode)
{
    (void)ctx;
    return (int)negative_errno(mkdir(path, (mode_t)mode));
}

const loci_vfs *loci_vfs_system(void)
{
    static const loci_vfs system = { NULL,     sys_open,     sys_close, sys_pread,  sys_pwrite, sys_sync,
                                     sys_truncate, sys_size, sys_rename, sys_unlink, sys_mkdir };
    return &system;
}

static const loci_vfs *vfs_or_system(const loci_vfs *vfs) { return vfs ? vfs : loci_vfs_system(); }

/* ---- open files ---------------------------------------------------------------------------- */
/* Record a method's -errno. */
static loci_status io_fail(loci_error *err, int64_t code, const char *step, const char *path)
{
    errno = (int)-code;
    if (code == -ENOENT) return loci_fail(err, LOCI_ENOTFOUND, "%s %s: no such file or folder", step, path);
    return loci_fail(err, LOCI_EIO, "%s %s", step, path);
}

loci_status loci_file_open(loci_file *f, const loci_vfs *vfs, const char *path, int flags, loci_error *err)
{
    f->vfs = vfs_or_system(vfs);
    f->fd = f->vfs->open(f->vfs->ctx, path, flags, 0600);
    if (f->fd >= 0) return LOCI_OK;
    const int code = f->fd;
    f->fd = -1;
    return io_fail(err, code, "open", path);
}

loci_status loci_file_close(loci_file *f, loci_error *err)
{
    if (f->fd < 0) return LOCI_OK;
    const int r = f->vfs->close(f->vfs->ctx, f->fd);
    f->fd = -1;
    return r < 0 ? io_fail(err, r, "close", "file") : LOCI_OK;
}

loci_status loci_file_read(loci_file *f, const char *path, void *buf, size_t n, int64_t offset, loci_error *err)
{
    size_t done = 0;
    while (done < n) {
        const int64_t r = f->vfs->pread(f->vfs->ctx, f->fd, (char *)buf + done, n - done, offset + (int64_t)done);
        if (r == -EINTR) continue;
        if (r < 0) return io_fail(err, r, "read", path);
        if (r == 0)
            return loci_fail(err, LOCI_EFORMAT, "%s: ends early: expected %zu bytes at offset %lld, found %zu",
                             path, n, (long long)offset, done);
        done += (size_t)r;
    }
    return LOCI_OK;
}

loci_status loci_file_write(loci_file *f, const char *path, const void *buf, size_t n, int64_t offset,
                            loci_error *err)
{
    size_t done = 0;
    while (done < n) {
        const int64_t r = f->vfs->pwrite(f->vfs->ctx, f->fd, (const char *)buf + done, n - done,
                                         offset + (int64_t)done);
        if (r == -EINTR) continue;
        if (r <= 0) return io_fail(err, r < 0 ? r : -ENOSPC, "write", path);
        done += (size_t)r;
    }
    return LOCI_OK;
}

loci_status loci_file_sync(loci_file *f, const char *path, loci_error *err)
{
    const int r = f->vfs->sync(f->vfs->ctx, f->fd);
    return r < 0 ? io_fail(err, r, "sync", path) : LOCI_OK;
}

loci_status loci_file_size(loci_file *f, const char *path, int64_t *size, loci_error *err)
{
    const int64_t r = f->vfs->size(f->vfs->ctx, f->fd);
    *size = r < 0 ? 0 : r;
    return r < 0 ? io_fail(err, r, "size of", path) : LOCI_OK;
}

/* ---- whole files -------------------------------------------------------------------------------- */
loci_status loci_file_sync_parent(const loci_vfs *vfs, const char *path, loci_error *err)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 1;
    if (n >= sizeof dir) return loci_fail(err, LOCI_EINVAL, "path longer than %zu bytes", sizeof dir - 1);
    memcpy(dir, slash ? path : ".", n);
    dir[n] = '\0';
    loci_file f;
    loci_status st = loci_file_open(&f, vfs, n ? dir : "/", O_RDONLY | O_DIRECTORY, err);
    if (st != LOCI_OK) return st;
    st = loci_file_sync(&f, dir, err);
    loci_file_close(&f, NULL);
    return st;
}

loci_status loci_file_replace(const loci_vfs *vfs, const char *path, const void *data, size_t len,
                              loci_error *err)
{
    char tmp[4096];
    loci_file f;
    vfs = vfs_or_system(vfs);
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return loci_fail(err, LOCI_EINVAL, "path longer than %zu bytes", sizeof tmp - 5);
    loci_status st = loci_file_open(&f, vfs, tmp, O_WRONLY | O_CREAT | O_TRUNC, err);
    if (st != LOCI_OK) return st;
    st = loci_file_write(&f, tmp, data, len, 0, err);
    if (st == LOCI_OK) st = loci_file_sync(&f, tmp, err);
    const loci_status closed = loci_file_close(&f, err);
    if (st == LOCI_OK) st = closed;
    if (st == LOCI_OK) {
        const int r = vfs->rename(vfs->ctx, tmp, path);
        if (r < 0) st = io_fail(err, r, "rename to", path);
        /* The rename itself must reach the disk: it lives in the folder. */
        else return loci_file_sync_parent(vfs, path, err);
    }
    (void)vfs->unlink(vfs->ctx, tmp);
    return st;
}

loci_status loci_file_load(const loci_vfs *vfs, const char *path, size_t max_bytes, char **data, size_t *len,
                           loci_error *err)
{
    loci_file f;
    size_t cap = 0, used = 0;
    char *p = NULL;
    *data = NULL;
    *len = 0;
    loci_status st = loci_file_open(&f, vfs, path, O_RDONLY, err);
    if (st != LOCI_OK) return st;
    for (;;) { /* the size asked beforehand could be a lie by now: read to the end */
        if (used + 1 >= cap) {
            const size_t more = cap ? 2 * cap : 65536;
            char *q = realloc(p, more);
            if (!q) {
                st = loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu bytes", path, more);
                break;
            }
            p = q;
            cap = more;
        }
        /* Pipes cannot be read at an offset; plain read keeps the place for both. */
        int64_t r = f.vfs->pread(f.vfs->ctx, f.fd, p + used, cap - used - 1, (int64_t)used);
        if (r == -ESPIPE) r = negative_errno(read(f.fd, p + used, cap - used - 1));
        if (r == -EINTR) continue;
        if (r < 0) st = io_fail(err, r, "read", path);
        if (r <= 0) break;
        used += (size_t)r;
        if (used > max_bytes) {
            st = loci_fail(err, LOCI_EFORMAT, "%s: larger than %zu bytes", path, max_bytes);
            break;
        }
    }
    loci_file_close(&f, NULL);
    if (st != LOCI_OK) {
        free(p);
        return st;
    }
    p[used] = '\0';
    *data = p;
    *len = used;
    return LOCI_OK;
}

loci_status loci_mkdirs(const loci_vfs *vfs, const char *path, loci_error *err)
{
    char part[4096];
    vfs = vfs_or_system(vfs);
    if (!*path || snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return loci_fail(err, LOCI_EINVAL, "folder name empty or longer than %zu bytes", sizeof part - 1);
    for (char *c = part + 1;; c++) {
        if (*c != '/' && *c != '\0') continue;
        const char keep = *c;
        *c = '\0';
        const int r = vfs->mkdir(vfs->ctx, part, 0700);
        if (r < 0 && r != -EEXIST) return io_fail(err, r, "make folder", part);
        if (keep == '\0') break;
        *c = keep;
    }
    struct stat s;
    if (stat(path, &s) == 0 && !S_ISDIR(s.st_mode))
        return loci_fail(err, LOCI_EINVAL, "%s: expected a folder, found a file", path);
    return LOCI_OK;
}

loci_status loci_map_open(loci_map *m, const char *path, loci_error *err)
{
    struct stat s;
    m->data = (const unsigned char *)"";
    m->size = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_fail(err, -errno, "open", path);
    loci_status st = LOCI_OK;
    if (fstat(fd, &s) != 0) st = io_fail(err, -errno, "size of", path);
    else if (!S_ISREG(s.st_mode)) st = loci_fail(err, LOCI_EINVAL, "%s: not a regular file", path);
    else if (s.st_size > 0) {
        void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) st = io_fail(err, -errno, "map", path);
        else m->data = p, m->size = (size_t)s.st_size;
    }
    close(fd);
    return st;
}

void loci_map_close(loci_map *m)
{
    if (m->size > 0) munmap((void *)(uintptr_t)m->data, m->size);
    m->data = (const unsigned char *)"";
    m->size = 0;
}

loci_status loci_path_join(char *out, size_t n, const char *dir, const char *name, loci_error *err)
{
    const size_t len = strlen(dir);
    const char *slash = len > 0 && dir[len - 1] == '/' ? "" : "/";
    if (snprintf(out, n, "%s%s%s", dir, slash, name) >= (int)n)
        return loci_fail(err, LOCI_EINVAL, "path of %s in %s longer than %zu bytes", name, dir, n - 1);
    return LOCI_OK;
}
