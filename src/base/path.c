/* path.c - whole files and folders by name: replace, load, make, sync, join.
 *
 * Replacing is the one way in which loci changes a file that somebody may rely on.  The steps,
 * each of which may fail or be the last before a power loss:
 *
 *   1 write all to PATH.tmp   2 sync it   3 rename it to PATH   4 sync the folder
 *
 * Up to 3 the old file is whole; from 3 on the new one is.  If only 4 fails the new content is
 * in place, but a power loss may bring the old one back. */
#include "base/base.h"
#include "base/file_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 }; /* Linux takes no longer ones */

static const loci_vfs *or_system(const loci_vfs *vfs)
{
    return vfs ? vfs : loci_vfs_system();
}

/* ---- replace --------------------------------------------------------------------- */

/* The folder of `path` into dir (PATH_BYTES): what is before the last part, "." or "/". */
static loci_status parent_of(char *dir, const char *path, loci_error *err)
{
    size_t n = strlen(path);
    if (n >= PATH_BYTES)
        return loci_fail(err, LOCI_EINVAL, "path longer than %d bytes", PATH_BYTES - 1);
    while (n > 1 && path[n - 1] == '/') n--; /* slashes behind the last part */
    while (n > 0 && path[n - 1] != '/') n--; /* the last part */
    while (n > 1 && path[n - 1] == '/') n--; /* slashes before it, but keep the root's */
    memcpy(dir, n ? path : ".", n ? n : 1);
    dir[n ? n : 1] = '\0';
    return LOCI_OK;
}

loci_status loci_file_sync_parent(const loci_vfs *vfs, const char *path, loci_error *err)
{
    char dir[PATH_BYTES];
    loci_file f;
    loci_status st = parent_of(dir, path, err);
    if (st != LOCI_OK) return st;
    if ((st = loci_file_open(&f, vfs, dir, O_RDONLY | O_DIRECTORY, err)) != LOCI_OK) return st;
    st = loci_file_sync(&f, dir, err);
    loci_file_close(&f, NULL); /* nothing was written through it */
    return st;
}

static loci_status write_parts(loci_file *f, const char *path, const loci_part *part, int n_parts,
                               loci_error *err)
{
    int64_t at = 0;
    for (int i = 0; i < n_parts; i++) {
        const loci_status st = loci_file_write(f, path, part[i].data, part[i].len, at, err);
        if (st != LOCI_OK) return st;
        at += (int64_t)part[i].len;
    }
    return LOCI_OK;
}

loci_status loci_file_replace_parts(const loci_vfs *vfs, const char *path, const loci_part *part,
                                    int n_parts, loci_error *err)
{
    char tmp[PATH_BYTES];
    loci_file f;
    vfs = or_system(vfs);
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return loci_fail(err, LOCI_EINVAL, "path longer than %d bytes", PATH_BYTES - 5);
    /* What an earlier crash left goes first: a new file has our mode and follows no link. */
    (void)vfs->unlink(vfs->ctx, tmp);
    loci_status st = loci_file_open(&f, vfs, tmp, O_WRONLY | O_CREAT | O_EXCL, err);
    if (st != LOCI_OK) return st;

    st = write_parts(&f, tmp, part, n_parts, err);
    if (st == LOCI_OK) st = loci_file_sync(&f, tmp, err);
    const loci_status closed = loci_file_close(&f, err);
    if (st == LOCI_OK) st = closed;
    if (st == LOCI_OK) {
        const int r = vfs->rename(vfs->ctx, tmp, path);
        if (r < 0) st = loci_io_fail(err, r, "rename to", path);
    }
    if (st != LOCI_OK) {
        (void)vfs->unlink(vfs->ctx, tmp);
        return st;
    }
    return loci_file_sync_parent(vfs, path, err); /* the rename lives in the folder */
}

loci_status loci_file_replace(const loci_vfs *vfs, const char *path, const void *data, size_t len,
                              loci_error *err)
{
    const loci_part whole = { data, len };
    return loci_file_replace_parts(vfs, path, &whole, 1, err);
}

/* ---- load ------------------------------------------------------------------------- */

/* Read to the end into *data.  The size is a guess only: a pipe has none, and a file may grow
 * or shrink meanwhile.  One byte over the limit is read to know that there is more. */
static loci_status read_all(loci_file *f, const char *path, size_t max_bytes, size_t guess,
                            char **data, size_t *len, loci_error *err)
{
    size_t room = guess; /* bytes of content that fit, the closing NUL apart */
    if (!(*data = malloc(room + 1))) goto no_memory;
    for (;;) {
        const int64_t r =
            f->vfs->pread(f->vfs->ctx, f->fd, *data + *len, room - *len, (int64_t)*len);
        if (r == -EINTR) continue;
        if (r < 0) return loci_io_fail(err, r, "read", path);
        if (r == 0) break;
        *len += (size_t)r;
        if (*len > max_bytes)
            return loci_fail(err, LOCI_EFORMAT, "%s: expected at most %zu bytes, found more", path,
                             max_bytes);
        if (*len < room) continue;
        if (room > PTRDIFF_MAX / 4) goto no_memory;
        room *= 2;
        char *more = realloc(*data, room + 1);
        if (!more) goto no_memory;
        *data = more;
    }
    (*data)[*len] = '\0';
    return LOCI_OK;
no_memory:
    return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu bytes", path, room);
}

loci_status loci_file_load(const loci_vfs *vfs, const char *path, size_t max_bytes, char **data,
                           size_t *len, loci_error *err)
{
    enum { PIPE_GUESS = 65536 }; /* what a pipe holds at once */
    int64_t size = 0;
    loci_file f;
    *data = NULL;
    *len = 0;
    loci_status st = loci_file_open(&f, vfs, path, O_RDONLY, err);
    if (st != LOCI_OK) return st;
    st = loci_file_size(&f, path, &size, err);
    if (st == LOCI_OK && (uint64_t)size > max_bytes)
        st = loci_fail(err, LOCI_EFORMAT, "%s: expected at most %zu bytes, found %lld", path,
                       max_bytes, (long long)size);
    /* One more than the size, so that a file that keeps it needs no second block. */
    const size_t guess = size > 0 ? (size_t)size + 1 : PIPE_GUESS;
    if (st == LOCI_OK) st = read_all(&f, path, max_bytes, guess, data, len, err);
    loci_file_close(&f, NULL); /* nothing was written */
    if (st == LOCI_OK) return LOCI_OK;
    free(*data);
    *data = NULL;
    *len = 0;
    return st;
}

/* ---- folders and names --------------------------------------------------------------- */

loci_status loci_mkdirs(const loci_vfs *vfs, const char *path, loci_error *err)
{
    char part[PATH_BYTES];
    const size_t n = strlen(path);
    vfs = or_system(vfs);
    if (n == 0 || n >= sizeof part)
        return loci_fail(err, LOCI_EINVAL, "folder: expected a name of 1 to %d bytes, found %zu",
                         PATH_BYTES - 1, n);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        part[i] = '\0';
        const int r = vfs->mkdir(vfs->ctx, part, 0700);
        if (r < 0 && r != -EEXIST) return loci_io_fail(err, r, "make folder", part);
        part[i] = path[i];
    }
    /* What exists by that name may be a file.  O_PATH: a folder need not be readable. */
    loci_file f;
    const loci_status st = loci_file_open(&f, vfs, path, O_PATH | O_DIRECTORY, err);
    if (st == LOCI_OK) loci_file_close(&f, NULL);
    return st;
}

loci_status loci_path_join(char *out, size_t n, const char *dir, const char *name, loci_error *err)
{
    const size_t len = strlen(dir);
    const char *slash = len > 0 && dir[len - 1] != '/' ? "/" : "";
    const int need = snprintf(out, n, "%s%s%s", dir, slash, name);
    if (need >= 0 && (size_t)need < n) return LOCI_OK;
    if (n > 0) out[0] = '\0';
    return loci_fail(err, LOCI_EINVAL, "path of %s in %s: longer than %zu bytes", name, dir, n - 1);
}
