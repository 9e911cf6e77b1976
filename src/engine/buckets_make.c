/* buckets_make.c - sorts the landmarks of a bank into buckets and writes the file.
 *
 *   some landmarks -> k-means of unit vectors -> every landmark to its nearest mean -> buckets
 *
 * A router's query u scores a landmark by their dot product, so <u, mean> is what a bucket's landmarks
 * score on average; the mean's length, kept, says how far they spread.  Means are learned from 16 landmarks a bucket, taken at even
 * distances; what is assigned in one tile depends on nothing else, so the result is the same for any
 * number of threads.  The file is written as a stream: nothing large is held but the order. */
#include "engine/buckets.h"
#include <fcntl.h>
#include <stdlib.h>
#include <xxhash.h>

enum {
    TILE = 256,      /* landmarks a tile */
    BLOCK = 512,     /* means a product */
    PER_BUCKET = 16, /* landmarks to learn from */
    ROUNDS = 8,
    PIECE = 2048 /* rows written at once */
};

typedef struct {
    const loci_buckets_source *s;
    const loci_kernels *k;
    loci_pool *pool;
    int64_t n_rows, n_sample;
    int n, d;         /* buckets, width */
    float *mean;      /* (n, d) unit vectors */
    int64_t *count;   /* (n) rows of a bucket */
    uint16_t *bucket; /* (n_rows) of each row; first those of the sample */
    uint32_t *order;  /* (n_rows) rows by bucket */
    bool all;         /* assign all rows, not the sample */
    float *scratch;   /* for each worker: rows and their products */
} maker;

static size_t scratch_floats(int d)
{
    return (size_t)TILE * (size_t)d + TILE * BLOCK;
}

/* ---- rows ------------------------------------------------------------------------------------------ */
typedef struct {
    const loci_group_view *group;
    uint32_t chunk;
    int32_t in_group; /* its chunk */
    int32_t landmark; /* and which of all in the group it is */
} row_place;

static row_place place_of(const maker *m, int64_t row)
{
    const int M = m->s->shape.n_landmarks;
    const uint32_t chunk = m->s->chunk[row / M];
    const int32_t in_group = (int32_t)(chunk % LOCI_SEG_GROUP);
    return (row_place){ &m->s->group[chunk / LOCI_SEG_GROUP], chunk, in_group,
                        in_group * M + (int32_t)(row % M) };
}

/* Rows x (rows, d) to the length sqrt(d): all the same, which is what counts. */
static void unit(const maker *m, float *x, int rows)
{
    m->k->rmsnorm(x, m->d, NULL, x, m->d, rows, m->d, 1e-12f);
}

/* Row i of those that are being assigned - all, or the sample - as such a vector x (d). */
static void unit_row(const maker *m, int64_t i, float *x)
{
    /* Rows are below 2^32 * 16 and the sample is smaller: the product fits. */
    const int64_t row =
        m->all ? i : (int64_t)((uint64_t)i * (uint64_t)m->n_rows / (uint64_t)m->n_sample);
    const row_place p = place_of(m, row);
    const size_t at = (size_t)p.landmark;
    m->k->dequant_q8(x, m->d, p.group->landmark + at * (size_t)m->d, m->d,
                     p.group->landmark_scale + at, 1, m->d);
    unit(m, x, 1);
}

static int64_t rows_of(const maker *m)
{
    return m->all ? m->n_rows : m->n_sample;
}

/* ---- means ------------------------------------------------------------------------------------------- */
/* Lowest index of the greatest of score (n); *best is beaten only by more.  In whole numbers, which
 * compilers compare many at a time; products are within -512..512, the greatest width, and what is not
 * comes from landmarks that overflow. */
static void take_best(const float *score, int n, int first, int32_t *best, uint16_t *bucket)
{
    int32_t value[BLOCK], top = INT32_MIN;
    for (int i = 0; i < n; i++) {
        const float sound = score[i] > -600.0f && score[i] < 600.0f ? score[i] : -600.0f;
        value[i] = (int32_t)(sound * 0x1p21f);
        top = value[i] > top ? value[i] : top;
    }
    if (top <= *best) return;
    int at = 0;
    while (value[at] != top) at++;
    *best = top;
    *bucket = (uint16_t)(first + at);
}

static void assign_tile(void *ctx, int tile, int worker)
{
    maker *m = ctx;
    const int64_t from = (int64_t)tile * TILE, left = rows_of(m) - from;
    const int rows = left < TILE ? (int)left : TILE, d = m->d;
    float *x = m->scratch + (size_t)worker * scratch_floats(d),
          *score = x + (size_t)TILE * (size_t)d;
    int32_t best[TILE];
    for (int r = 0; r < rows; r++) {
        unit_row(m, from + r, x + (size_t)r * (size_t)d);
        best[r] = INT32_MIN;
    }
    for (int c = 0; c < m->n; c += BLOCK) {
        const int n = m->n - c < BLOCK ? m->n - c : BLOCK;
        m->k->gemm(score, BLOCK, x, d, 0, m->mean + (size_t)c * (size_t)d, d, 1, rows, n, d, 0.0f);
        for (int r = 0; r < rows; r++)
            take_best(score + (size_t)r * BLOCK, n, c, &best[r], &m->bucket[from + r]);
    }
}

static void assign(maker *m, bool all)
{
    m->all = all;
    loci_pool_run(m->pool, (int)((rows_of(m) + TILE - 1) / TILE), assign_tile, m);
}

/* Means and counts of what each bucket got; a bucket that got nothing keeps its mean. */
static void average(maker *m, float *sum)
{
    const size_t d = (size_t)m->d;
    memset(sum, 0, (size_t)m->n * d * sizeof *sum);
    memset(m->count, 0, (size_t)m->n * sizeof *m->count);
    for (int64_t i = 0; i < rows_of(m); i++) {
        unit_row(m, i, m->scratch);
        m->k->axpy(sum + m->bucket[i] * d, m->scratch, 1.0f, d);
        m->count[m->bucket[i]]++;
    }
    for (size_t b = 0; b < (size_t)m->n; b++)
        for (size_t k = 0; m->count[b] > 0 && k < d; k++)
            m->mean[b * d + k] = sum[b * d + k] / (float)m->count[b];
}

/* k-means on the sample.  A bucket that gets nothing starts anew at a row of its own. */
static void learn(maker *m, float *sum)
{
    m->all = false;
    for (int b = 0; b < m->n; b++)
        unit_row(m, b * m->n_sample / m->n, m->mean + (size_t)b * (size_t)m->d);
    for (int round = 0; round < ROUNDS; round++) {
        assign(m, false);
        average(m, sum);
        unit(m, m->mean, m->n); /* rows go to where the angle is least */
        for (int b = 0; b < m->n && round + 1 < ROUNDS; b++)
            if (m->count[b] == 0)
                unit_row(m, (b * m->n_sample / m->n + round + 1) % m->n_sample,
                         m->mean + (size_t)b * (size_t)m->d);
    }
}

/* Rows by bucket, within one in their old order, which is that of chunks. */
static loci_status put_in_order(maker *m, loci_error *err)
{
    int64_t *at = malloc(((size_t)m->n + 1) * sizeof *at);
    if (!at) return loci_fail(err, LOCI_ENOMEM, "no memory to sort landmarks");
    at[0] = 0;
    for (int b = 0; b < m->n; b++) at[b + 1] = at[b] + m->count[b];
    for (int64_t i = 0; i < m->n_rows; i++) m->order[at[m->bucket[i]]++] = (uint32_t)i;
    free(at);
    return LOCI_OK;
}

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

static void fill_piece(const maker *m, int column, const uint32_t *row, size_t n, uint8_t *out)
{
    const size_t d = (size_t)m->d;
    for (size_t i = 0; i < n; i++) {
        const row_place p = place_of(m, row[i]);
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
static loci_status write_bucket(const maker *m, output *o, const uint32_t *row, size_t n,
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

/* Header and tables, but what is known only when the buckets are written; *bytes of them. */
static uint8_t *make_head(const maker *m, size_t *table, size_t *bytes)
{
    const loci_buckets_source *s = m->s;
    const size_t n = (size_t)m->n, segments = (size_t)s->n_segments;
    const size_t means = sizeof(bkt_header) + seg_align(segments * sizeof *s->segment);
    const size_t scales = means + seg_align(n * (size_t)m->d);
    *table = scales + seg_align(n * 4);
    *bytes = *table + seg_align(n * sizeof(bkt_entry));
    uint8_t *h = loci_alloc_aligned(*bytes);
    if (!h) return NULL;
    memcpy(h, BKT_MAGIC, 8);
    put_u32(h + offsetof(bkt_header, version), LOCI_BUCKETS_VERSION);
    put_u32(h + offsetof(bkt_header, header_bytes), sizeof(bkt_header));
    memcpy(h + offsetof(bkt_header, fingerprint), s->shape.fingerprint, 16);
    put_u32(h + offsetof(bkt_header, n_landmarks), (uint32_t)s->shape.n_landmarks);
    put_u32(h + offsetof(bkt_header, d_landmark), (uint32_t)m->d);
    put_u32(h + offsetof(bkt_header, n_buckets), (uint32_t)n);
    put_u64(h + offsetof(bkt_header, n_segments), segments);
    put_u64(h + offsetof(bkt_header, n_rows), (uint64_t)m->n_rows);
    memcpy(h + sizeof(bkt_header), s->segment, segments * sizeof *s->segment);
    m->k->quant_q8((int8_t *)h + means, m->d, (float *)(void *)(h + scales), m->mean, m->d, m->n,
                   m->d);
    return h;
}

static loci_status write_all(const maker *m, output *o, loci_error *err)
{
    size_t table, first;
    int64_t at = 0;
    uint8_t *h = make_head(m, &table, &first);
    if (!h) return loci_fail(err, LOCI_ENOMEM, "no memory to write %s", o->path);
    loci_status st = LOCI_OK;
    o->offset = (int64_t)first;
    for (int b = 0; b < m->n && st == LOCI_OK; b++) {
        XXH3_64bits_reset_withSeed(o->hash, (uint64_t)b);
        st = write_bucket(m, o, m->order + at, (size_t)m->count[b], err);
        at += m->count[b];
        uint8_t *e = h + table + (size_t)b * sizeof(bkt_entry);
        put_u64(e + offsetof(bkt_entry, rows), (uint64_t)m->count[b]);
        put_u64(e + offsetof(bkt_entry, sum), XXH3_64bits_digest(o->hash));
    }
    put_u64(h + offsetof(bkt_header, file_bytes), (uint64_t)o->offset);
    put_u64(h + offsetof(bkt_header, tables_sum),
            XXH3_64bits(h + sizeof(bkt_header), first - sizeof(bkt_header)));
    put_u64(h + offsetof(bkt_header, sum), XXH3_64bits(h, offsetof(bkt_header, sum)));
    if (st == LOCI_OK) st = loci_file_write(&o->file, o->path, h, first, 0, err);
    loci_free_aligned(h);
    return st;
}

/* Under another name first; renamed when every byte is on the disk. */
static loci_status write_file(const maker *m, const loci_vfs *vfs, const char *path,
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

static loci_status sort_and_write(maker *m, const loci_vfs *vfs, const char *path, loci_error *err)
{
    const size_t bytes = (size_t)m->n * (size_t)m->d * sizeof(float);
    float *sum = malloc(bytes);
    if (!sum) return loci_fail(err, LOCI_ENOMEM, "no memory to sort landmarks");
    learn(m, sum);
    assign(m, true);
    average(m, sum);
    free(sum);
    const loci_status st = put_in_order(m, err);
    return st == LOCI_OK ? write_file(m, vfs, path, err) : st;
}

loci_status loci_buckets_make(const loci_vfs *vfs, const char *path, const loci_buckets_source *s,
                              int n_buckets, const loci_kernels *k, loci_pool *pool,
                              loci_error *err)
{
    const int64_t rows = s->n_chunks * s->shape.n_landmarks;
    const int64_t sample = (int64_t)n_buckets * PER_BUCKET;
    const size_t n = (size_t)n_buckets, d = (size_t)s->shape.d_landmark;
    if (n_buckets < 1 || n_buckets > LOCI_BUCKETS_MAX || n_buckets > rows || rows > UINT32_MAX)
        return loci_fail(err, LOCI_EINVAL, "%s: %d buckets for %lld landmarks", path, n_buckets,
                         (long long)rows);
    maker m = { .s = s,
                .k = k,
                .pool = pool,
                .n_rows = rows,
                .n_sample = rows < sample ? rows : sample,
                .n = n_buckets,
                .d = s->shape.d_landmark,
                .mean = malloc(n * d * sizeof *m.mean),
                .count = malloc(n * sizeof *m.count),
                .bucket = malloc((size_t)rows * sizeof *m.bucket),
                .order = malloc((size_t)rows * sizeof *m.order),
                .scratch = malloc((size_t)loci_pool_threads(pool) * scratch_floats((int)d) *
                                  sizeof *m.scratch) };
    const bool ok = m.mean && m.count && m.bucket && m.order && m.scratch;
    const loci_status st =
        ok ? sort_and_write(&m, vfs, path, err)
           : loci_fail(err, LOCI_ENOMEM, "no memory to sort %lld landmarks", (long long)rows);
    free(m.mean);
    free(m.count);
    free(m.bucket);
    free(m.order);
    free(m.scratch);
    return st;
}
