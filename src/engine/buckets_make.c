/* buckets_make.c - sorts the landmarks of a bank into buckets and writes the file.
 *
 * The file is written as a stream: nothing large is held but the order of rows. */
#include "engine/buckets_impl.h"
#include <fcntl.h>
#include <stdlib.h>
#include <xxhash.h>

enum {
    PER_BUCKET = 16, /* landmarks to learn from */
    PIECE = 2048     /* rows written at once */
};

/* ---- the file ------------------------------------------------------------------------------------- */
typedef struct {
    loci_file file;
    const char *path;
    int64_t offset;
    uint8_t *buffer; /* (PIECE, d) or (PIECE) of 4 bytes, and a piece of zeros */
    XXH3_state_t *hash;
} output;

static loci_status emit(output *o, const void *data, size_t n, loci_error *err)
{
    XXH3_64bits_update(o->hash, data, n);
    const loci_status st = loci_file_write(&o->file, o->path, data, n, o->offset, err);
    o->offset += (int64_t)n;
    return st;
}

static void fill_piece(const bucket_maker *m, int column, const uint32_t *row, size_t n,
                       uint8_t *out)
{
    const size_t d = (size_t)m->d;
    for (size_t i = 0; i < n; i++) {
        const bucket_row p = bucket_row_of(m, row[i]);
        const size_t at = (size_t)p.landmark;
        switch (column) {
        case BKT_LANDMARKS: memcpy(out + i * d, p.group->landmark + at * d, d); break;
        case BKT_SCALES: memcpy(out + i * 4, p.group->landmark_scale + at, 4); break;
        case BKT_BIAS: memcpy(out + i * 4, p.group->bias + p.in_group, 4); break;
        default: put_u32(out + i * 4, p.chunk); break;
        }
    }
}

/* Bucket b, whose rows are row (n). */
static loci_status write_bucket(const bucket_maker *m, output *o, const uint32_t *row, size_t n,
                                loci_error *err)
{
    static const uint8_t zeros[SEG_ALIGN];
    loci_status st = LOCI_OK;
    for (int c = 0; c < BKT_COLUMNS && st == LOCI_OK; c++) {
        const size_t size = c == BKT_LANDMARKS ? (size_t)m->d : 4;
        for (size_t i = 0; i < n && st == LOCI_OK; i += PIECE) {
            const size_t here = n - i < PIECE ? n - i : PIECE;
            fill_piece(m, c, row + i, here, o->buffer);
            st = emit(o, o->buffer, here * size, err);
        }
        const size_t pad = bkt_column_bytes(c, n, (size_t)m->d) - n * size;
        if (st == LOCI_OK && pad > 0) st = emit(o, zeros, pad, err);
    }
    return st;
}

/* Header and tables, but what is known only when the buckets are written. */
static uint8_t *make_head(const bucket_maker *m, const bkt_places *at)
{
    const loci_buckets_source *s = m->s;
    const size_t n = (size_t)m->n, segments = (size_t)s->n_segments;
    uint8_t *h = loci_alloc_aligned(at->first);
    if (!h) return NULL;
    memcpy(h, BKT_MAGIC, 8);
    put_u32(h + offsetof(bkt_header, version), LOCI_BUCKETS_VERSION);
    put_u32(h + offsetof(bkt_header, header_bytes), sizeof(bkt_header));
    memcpy(h + offsetof(bkt_header, fingerprint), s->shape.fingerprint, 16);
    put_u32(h + offsetof(bkt_header, n_landmarks), (uint32_t)s->shape.n_landmarks);
    put_u32(h + offsetof(bkt_header, d_landmark), (uint32_t)m->d);
    put_u32(h + offsetof(bkt_header, n_buckets), (uint32_t)n);
    put_u32(h + offsetof(bkt_header, coordinates), LOCI_BASIS);
    put_u64(h + offsetof(bkt_header, n_segments), segments);
    put_u64(h + offsetof(bkt_header, n_rows), (uint64_t)m->n_rows);
    put_u64(h + offsetof(bkt_header, learned), (uint64_t)m->learned);
    memcpy(h + sizeof(bkt_header), s->segment, segments * sizeof *s->segment);
    memcpy(h + at->basis, m->basis, loci_basis_floats(m->d) * sizeof *m->basis);
    memcpy(h + at->spreads, m->spread, n * sizeof *m->spread);
    m->k->quant_q8((int8_t *)h + at->means, LOCI_BASIS, (float *)(void *)(h + at->scales), m->mean,
                   LOCI_BASIS, m->n, LOCI_BASIS);
    return h;
}

static loci_status write_all(const bucket_maker *m, output *o, loci_error *err)
{
    const bkt_places to = bkt_places_of((size_t)m->s->n_segments, (size_t)m->n, (size_t)m->d);
    int64_t at = 0;
    uint8_t *h = make_head(m, &to);
    if (!h) return loci_fail(err, LOCI_ENOMEM, "no memory to write %s", o->path);
    loci_status st = LOCI_OK;
    o->offset = (int64_t)to.first;
    for (int b = 0; b < m->n && st == LOCI_OK; b++) {
        XXH3_64bits_reset_withSeed(o->hash, (uint64_t)b);
        st = write_bucket(m, o, m->order + at, (size_t)m->count[b], err);
        at += m->count[b];
        uint8_t *e = h + to.table + (size_t)b * sizeof(bkt_entry);
        put_u64(e + offsetof(bkt_entry, rows), (uint64_t)m->count[b]);
        put_u64(e + offsetof(bkt_entry, sum), XXH3_64bits_digest(o->hash));
    }
    put_u64(h + offsetof(bkt_header, file_bytes), (uint64_t)o->offset);
    put_u64(h + offsetof(bkt_header, tables_sum),
            XXH3_64bits(h + sizeof(bkt_header), to.first - sizeof(bkt_header)));
    put_u64(h + offsetof(bkt_header, sum), XXH3_64bits(h, offsetof(bkt_header, sum)));
    if (st == LOCI_OK) st = loci_file_write(&o->file, o->path, h, to.first, 0, err);
    loci_free_aligned(h);
    return st;
}

/* Under another name first; renamed when every byte is on the disk. */
static loci_status write_file(const bucket_maker *m, const loci_vfs *vfs, const char *path,
                              loci_error *err)
{
    char tmp[4096];
    output o = { .path = tmp };
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return loci_fail(err, LOCI_EINVAL, "%s: the path is too long", path);
    (void)vfs->unlink(vfs->ctx, tmp);
    loci_status st = loci_file_open(&o.file, vfs, tmp, O_RDWR | O_CREAT | O_EXCL, err);
    if (st != LOCI_OK) return st;
    o.buffer = malloc((size_t)PIECE * (size_t)(m->d > 4 ? m->d : 4));
    o.hash = XXH3_createState();
    st = o.buffer && o.hash ? write_all(m, &o, err)
                            : loci_fail(err, LOCI_ENOMEM, "no memory to write %s", path);
    free(o.buffer);
    XXH3_freeState(o.hash);
    if (st == LOCI_OK) st = loci_file_sync(&o.file, tmp, err);
    const loci_status closed = loci_file_close(&o.file, st == LOCI_OK ? err : NULL);
    if (st == LOCI_OK) st = closed;
    if (st == LOCI_OK) {
        const int r = vfs->rename(vfs->ctx, tmp, path);
        if (r < 0) st = loci_fail(err, LOCI_EIO, "rename %s to %s: error %d", tmp, path, -r);
    }
    if (st == LOCI_OK) return loci_file_sync_parent(vfs, path, err);
    (void)vfs->unlink(vfs->ctx, tmp);
    return st;
}

static void free_maker(bucket_maker *m)
{
    free(m->basis);
    free(m->mean);
    free(m->half);
    free(m->spread);
    free(m->count);
    free(m->bucket);
    free(m->order);
    free(m->scratch);
}

loci_status loci_buckets_make(const loci_vfs *vfs, const char *path, const loci_buckets_source *s,
                              int n_buckets, const loci_kernels *k, loci_pool *pool,
                              loci_error *err)
{
    const int64_t rows = s->n_chunks * s->shape.n_landmarks;
    const int64_t sample = (int64_t)n_buckets * PER_BUCKET;
    const size_t n = (size_t)n_buckets, threads = (size_t)loci_pool_threads(pool);
    const int d = s->shape.d_landmark;
    if (n_buckets < 1 || n_buckets > LOCI_BUCKETS_MAX || n_buckets > rows || rows > UINT32_MAX)
        return loci_fail(err, LOCI_EINVAL, "%s: %d buckets for %lld landmarks", path, n_buckets,
                         (long long)rows);
    bucket_maker m = { .s = s,
                       .k = k,
                       .pool = pool,
                       .n_rows = rows,
                       .n_sample = rows < sample ? rows : sample,
                       .n = n_buckets,
                       .d = d,
                       .basis = malloc(loci_basis_floats(d) * sizeof *m.basis),
                       .mean = malloc(n * LOCI_BASIS * sizeof *m.mean),
                       .half = malloc(n * sizeof *m.half),
                       .spread = malloc(n * sizeof *m.spread),
                       .count = malloc(n * sizeof *m.count),
                       .bucket = malloc((size_t)rows * sizeof *m.bucket),
                       .order = malloc((size_t)rows * sizeof *m.order),
                       .scratch = malloc(threads * loci_buckets_scratch(d) * sizeof *m.scratch) };
    const bool ok =
        m.basis && m.mean && m.half && m.spread && m.count && m.bucket && m.order && m.scratch;
    loci_status st =
        ok ? loci_buckets_learn(&m, err)
           : loci_fail(err, LOCI_ENOMEM, "no memory to sort %lld landmarks", (long long)rows);
    if (st == LOCI_OK) st = write_file(&m, vfs, path, err);
    free_maker(&m);
    return st;
}
