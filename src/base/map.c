/* map.c - read-only mappings of whole files.
 *
 * Mapped files are models and bank segments, which are replaced and never changed in place; a
 * file that somebody else cuts short while it is mapped is not guarded against. */
#include "base/base.h"
#include "base/file_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static loci_status map_fd(loci_map *m, int fd, const char *path, loci_error *err)
{
    struct stat s;
    if (fstat(fd, &s) != 0) return loci_io_fail(err, -errno, "size of", path);
    if (!S_ISREG(s.st_mode))
        return loci_fail(err, LOCI_EFORMAT, "%s: expected a regular file", path);
    if (s.st_size == 0) return LOCI_OK; /* mmap refuses length 0; "" stands for it */
    if ((uint64_t)s.st_size > SIZE_MAX)
        return loci_fail(err, LOCI_ENOMEM, "%s: larger than the address space", path);
    void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return loci_io_fail(err, -errno, "map", path);
    m->data = p;
    m->size = (size_t)s.st_size;
    return LOCI_OK;
}

loci_status loci_map_open(loci_map *m, const char *path, loci_error *err)
{
    m->data = (const unsigned char *)"";
    m->size = 0;
    /* O_NONBLOCK: opening a pipe must come back to be refused, not wait for a writer. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return loci_io_fail(err, -errno, "open", path);
    const loci_status st = map_fd(m, fd, path, err);
    close(fd); /* the mapping stays */
    return st;
}

void loci_map_close(loci_map *m)
{
    if (m->size > 0) munmap((void *)(uintptr_t)m->data, m->size);
    m->data = (const unsigned char *)"";
    m->size = 0;
}

void loci_map_release(loci_map *m, size_t from, size_t to)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    from = (from + page - 1) / page * page;
    to = (to < m->size ? to : m->size) / page * page;
    /* A system that refuses only leaves more memory in use. */
    if (from < to) (void)madvise((void *)(uintptr_t)(m->data + from), to - from, MADV_DONTNEED);
}
