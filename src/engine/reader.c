/* reader.c - the decoded bytes of one document in a stream: plain, gzip (several members too) or
 * zstd, told apart by their first bytes.  Memory is bounded whatever the input. */
#include "engine/source.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { RAW_BYTES = 1 << 17 };

typedef enum { PLAIN, GZIP, ZSTD } kind;

struct loci_reader {
    char *path;
    int fd;
    kind kind;
    bool eof, frame_open; /* frame_open: the compressed stream owes more */
    unsigned char *raw;
    size_t at, have; /* unread bytes raw[at..have) */
    int64_t raw_bytes;
    z_stream z;
    bool z_ready;
    ZSTD_DStream *zstd;
};

static loci_status refill(loci_reader *r, loci_error *err)
{
    if (r->at < r->have || r->eof) return LOCI_OK;
    ssize_t n;
    do n = read(r->fd, r->raw, RAW_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0) return loci_fail(err, LOCI_EIO, "read %s", r->path);
    r->at = 0;
    r->have = (size_t)n;
    r->raw_bytes += n;
    r->eof = n == 0;
    return LOCI_OK;
}

/* The magic bytes may arrive in pieces (pipes): read until four are there or the end. */
static loci_status detect(loci_reader *r, loci_error *err)
{
    while (r->have < 4 && !r->eof) {
        const ssize_t n = read(r->fd, r->raw + r->have, RAW_BYTES - r->have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return loci_fail(err, LOCI_EIO, "read %s", r->path);
        r->have += (size_t)n;
        r->raw_bytes += n;
        r->eof = n == 0;
    }
    r->eof = false; /* what was read is still to be given out */
    if (r->have >= 2 && r->raw[0] == 0x1f && r->raw[1] == 0x8b) r->kind = GZIP;
    if (r->have >= 4 && memcmp(r->raw, "\x28\xb5\x2f\xfd", 4) == 0) r->kind = ZSTD;
    if (r->kind == GZIP) {
        r->z_ready = inflateInit2(&r->z, 15 + 16) == Z_OK;
        if (!r->z_ready) return loci_fail(err, LOCI_ENOMEM, "%s: no memory to decompress", r->path);
        r->frame_open = true;
    }
    if (r->kind == ZSTD) {
        if (!(r->zstd = ZSTD_createDStream()))
            return loci_fail(err, LOCI_ENOMEM, "%s: no memory to decompress", r->path);
        r->frame_open = true;
    }
    return LOCI_OK;
}

loci_status loci_reader_open(loci_reader **out, const char *path, loci_error *err)
{
    *out = NULL;
    loci_reader *r = calloc(1, sizeof *r);
    if (!r) return loci_fail(err, LOCI_ENOMEM, "no memory for a reader");
    r->fd = -1;
    r->path = strdup(path);
    r->raw = malloc(RAW_BYTES);
    loci_status st = LOCI_OK;
    if (!r->path || !r->raw) st = loci_fail(err, LOCI_ENOMEM, "no memory for a reader");
    if (st == LOCI_OK) {
        r->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
        st = r->fd >= 0 ? detect(r, err) : loci_fail(err, LOCI_EIO, "open %s", path);
    }
    if (st != LOCI_OK) {
        loci_reader_close(r);
        return st;
    }
    *out = r;
    return LOCI_OK;
}

void loci_reader_close(loci_reader *r)
{
    if (!r) return;
    if (r->z_ready) inflateEnd(&r->z);
    ZSTD_freeDStream(r->zstd);
    if (r->fd >= 0) close(r->fd);
    free(r->path);
    free(r->raw);
    free(r);
}

static loci_status inflate_some(loci_reader *r, void *buf, size_t n, size_t *got, loci_error *err)
{
    const size_t out_max = n < (1u << 30) ? n : (1u << 30);
    r->z.next_in = r->raw + r->at;
    r->z.avail_in = (uInt)(r->have - r->at);
    r->z.next_out = buf;
    r->z.avail_out = (uInt)out_max;
    /* A member that ended may be followed by another one. */
    if (!r->frame_open && inflateReset(&r->z) == Z_OK) r->frame_open = true;
    const int z = inflate(&r->z, Z_NO_FLUSH);
    r->at = r->have - r->z.avail_in;
    *got = out_max - r->z.avail_out;
    if (z == Z_STREAM_END)
        r->frame_open = false;
    else if (z != Z_OK && z != Z_BUF_ERROR)
        return loci_fail(err, LOCI_EFORMAT, "%s: gzip data broken near byte %lld: %s", r->path,
                         (long long)(r->raw_bytes - (int64_t)(r->have - r->at)),
                         r->z.msg ? r->z.msg : "invalid data");
    return LOCI_OK;
}

static loci_status zstd_some(loci_reader *r, void *buf, size_t n, size_t *got, loci_error *err)
{
    ZSTD_inBuffer in = { r->raw, r->have, r->at };
    ZSTD_outBuffer out = { buf, n, 0 };
    const size_t left = ZSTD_decompressStream(r->zstd, &out, &in);
    r->at = in.pos;
    *got = out.pos;
    r->frame_open = left != 0;
    if (ZSTD_isError(left))
        return loci_fail(err, LOCI_EFORMAT, "%s: zstd data broken near byte %lld: %s", r->path,
                         (long long)(r->raw_bytes - (int64_t)(r->have - r->at)),
                         ZSTD_getErrorName(left));
    return LOCI_OK;
}

loci_status loci_reader_read(loci_reader *r, void *buf, size_t n, size_t *got, loci_error *err)
{
    *got = 0;
    while (n > 0 && *got == 0) {
        loci_status st = refill(r, err);
        if (st != LOCI_OK) return st;
        const bool drained = r->at == r->have;
        if (drained && r->kind == PLAIN) return LOCI_OK;
        if (r->kind == PLAIN) {
            *got = r->have - r->at < n ? r->have - r->at : n;
            memcpy(buf, r->raw + r->at, *got);
            r->at += *got;
        } else if (drained && !r->frame_open) {
            return LOCI_OK;
        } else {
            /* With nothing left to feed, a decoder may still hold output back. */
            st = r->kind == GZIP ? inflate_some(r, buf, n, got, err)
                                 : zstd_some(r, buf, n, got, err);
            if (st != LOCI_OK) return st;
            if (drained && *got == 0)
                return loci_fail(err, LOCI_EFORMAT, "%s: %s data ends early, at byte %lld", r->path,
                                 loci_reader_encoding(r), (long long)r->raw_bytes);
        }
    }
    return LOCI_OK;
}

const char *loci_reader_encoding(const loci_reader *r)
{
    return r->kind == GZIP ? "gzip" : r->kind == ZSTD ? "zstd" : "";
}

int64_t loci_reader_raw_bytes(const loci_reader *r)
{
    return r->raw_bytes;
}
