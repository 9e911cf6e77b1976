/* buckets.c - opens a file of sorted landmarks through a mapping, and checks what it gives away.
 *
 * As with segments: where everything lies follows from the header and the counts in the table, and
 * the reader insists on exactly that; header and tables are checked at once, a bucket when it is first
 * looked into, so that opening does not read the landmarks. */
#include "engine/sketch.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

struct loci_buckets {
    loci_map map;
    char *path;
    int M, d, n;
    int64_t n_segments, n_rows;
    int64_t numbers;                    /* chunk numbers are below it */
    const loci_bucket_segment *segment; /* (n_segments) in the mapping */
    int64_t learned;
    const float *basis;          /* loci_basis_floats(d) */
    const int8_t *mean;          /* (n, LOCI_BASIS) */
    const float *scale, *spread; /* (n) */
    const bkt_entry *table;      /* (n) */
    int64_t *segment_first;      /* (n_segments) number of the first chunk */
    size_t *at;                  /* (n + 1) offset of each bucket */
    atomic_bool *sound;          /* (n) checked and good */
    loci_sketches *sketches;
};

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

/* ---- header ------------------------------------------------------------------------------------ */
static loci_status check_header(loci_buckets *b, const loci_segment_shape *shape, loci_error *err)
{
    const uint8_t *h = b->map.data;
    if (b->map.size < sizeof(bkt_header))
        return loci_fail(err, LOCI_EFORMAT, "%s: %zu bytes, a header has %zu", b->path, b->map.size,
                         sizeof(bkt_header));
    if (memcmp(h, BKT_MAGIC, 8) != 0)
        return loci_fail(err, LOCI_EFORMAT, "%s: header at offset 0: not a file of buckets",
                         b->path);
    if (get_u64(h + offsetof(bkt_header, sum)) != XXH3_64bits(h, offsetof(bkt_header, sum)))
        return loci_fail(err, LOCI_EFORMAT, "%s: header at offset 0: wrong checksum", b->path);
    const uint32_t version = get_u32(h + offsetof(bkt_header, version));
    if (version != LOCI_BUCKETS_VERSION)
        return loci_fail(err, LOCI_EVERSION, "%s: version %u, this build reads %d", b->path,
                         version, LOCI_BUCKETS_VERSION);
    if (shape && memcmp(h + offsetof(bkt_header, fingerprint), shape->fingerprint, 16) != 0)
        return loci_fail(err, LOCI_EMODEL, "%s: made by another model than the bank's", b->path);
    const uint32_t m = get_u32(h + offsetof(bkt_header, n_landmarks));
    const uint32_t d = get_u32(h + offsetof(bkt_header, d_landmark));
    const uint32_t n = get_u32(h + offsetof(bkt_header, n_buckets));
    const uint64_t segments = get_u64(h + offsetof(bkt_header, n_segments));
    const uint64_t rows = get_u64(h + offsetof(bkt_header, n_rows));
    const uint64_t learned = get_u64(h + offsetof(bkt_header, learned));
    /* Counts are bounded by the file's size before they are multiplied. */
    if (get_u32(h + offsetof(bkt_header, header_bytes)) != sizeof(bkt_header) || m < 1 || m > 16 ||
        d < 1 || d > 512 ||
        (shape && (m != (uint32_t)shape->n_landmarks || d != (uint32_t)shape->d_landmark)) ||
        n < 1 || n > LOCI_BUCKETS_MAX || get_u32(h + offsetof(bkt_header, kept)) ||
        get_u32(h + offsetof(bkt_header, coordinates)) != LOCI_BASIS || learned > UINT32_MAX ||
        segments > b->map.size / sizeof(loci_bucket_segment) || rows > b->map.size / 13 ||
        get_u64(h + offsetof(bkt_header, file_bytes)) != b->map.size ||
        !all_zero(h + offsetof(bkt_header, zero), sizeof((bkt_header *)0)->zero))
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: header at offset 0: %u landmarks of %u, %u buckets, %llu segments, "
                         "%llu rows do not fit %zu bytes",
                         b->path, m, d, n, (unsigned long long)segments, (unsigned long long)rows,
                         b->map.size);
    b->M = (int)m;
    b->d = (int)d;
    b->n = (int)n;
    b->n_segments = (int64_t)segments;
    b->n_rows = (int64_t)rows;
    b->learned = (int64_t)learned;
    return LOCI_OK;
}

/* ---- tables ------------------------------------------------------------------------------------- */
static loci_status check_segments(loci_buckets *b, loci_error *err)
{
    for (int64_t i = 0; i < b->n_segments; i++) {
        const loci_bucket_segment *s = &b->segment[i];
        if (s->id < 1 || s->chunks < 0 || (i > 0 && s->id <= s[-1].id) ||
            s->chunks > UINT32_MAX - LOCI_SEG_GROUP - b->numbers)
            return loci_fail(err, LOCI_EFORMAT, "%s: segment %lld: id %lld, %lld chunks", b->path,
                             (long long)i, (long long)s->id, (long long)s->chunks);
        b->segment_first[i] = b->numbers;
        b->numbers += bkt_numbers(s->chunks);
    }
    return LOCI_OK;
}

static loci_status check_table(loci_buckets *b, size_t first, loci_error *err)
{
    const size_t size = b->map.size, d = (size_t)b->d;
    uint64_t rows = 0;
    b->at[0] = first;
    for (int i = 0; i < b->n; i++) {
        const uint64_t n = b->table[i].rows;
        if (n > (uint64_t)b->n_rows - rows || n > INT32_MAX || bkt_bytes(n, d) > size - b->at[i] ||
            !isfinite(b->scale[i]))
            return loci_fail(err, LOCI_EFORMAT, "%s: bucket %d: %llu rows or a scale do not fit",
                             b->path, i, (unsigned long long)n);
        rows += n;
        b->at[i + 1] = b->at[i] + bkt_bytes(n, d);
    }
    if (rows != (uint64_t)b->n_rows || b->at[b->n] != size)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: buckets hold %llu rows and end at %zu, the header says %lld, %zu",
                         b->path, (unsigned long long)rows, b->at[b->n], (long long)b->n_rows,
                         size);
    return LOCI_OK;
}

/* The floats of the tables are numbers. */
static loci_status check_floats(const loci_buckets *b, loci_error *err)
{
    const size_t n = loci_basis_floats(b->d);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(b->basis[i]))
            return loci_fail(err, LOCI_EFORMAT, "%s: number %zu of the basis is out of range",
                             b->path, i);
    for (int i = 0; i < b->n; i++)
        if (!(b->spread[i] >= 0.0f) || !isfinite(b->spread[i]))
            return loci_fail(err, LOCI_EFORMAT, "%s: bucket %d: the spread is out of range",
                             b->path, i);
    return LOCI_OK;
}

static loci_status check_tables(loci_buckets *b, loci_error *err)
{
    const uint8_t *base = b->map.data;
    const size_t n = (size_t)b->n, segments = (size_t)b->n_segments;
    const bkt_places at = bkt_places_of(segments, n, (size_t)b->d);
    if (at.first > b->map.size)
        return loci_fail(err, LOCI_EFORMAT, "%s: tables end at %zu of %zu bytes", b->path, at.first,
                         b->map.size);
    const uint64_t sum = XXH3_64bits(base + sizeof(bkt_header), at.first - sizeof(bkt_header));
    if (sum != get_u64(base + offsetof(bkt_header, tables_sum)))
        return loci_fail(err, LOCI_EFORMAT, "%s: tables at offset %zu: wrong checksum", b->path,
                         sizeof(bkt_header));
    b->segment = (const loci_bucket_segment *)(const void *)(base + sizeof(bkt_header));
    b->basis = (const float *)(const void *)(base + at.basis);
    b->mean = (const int8_t *)(base + at.means);
    b->scale = (const float *)(const void *)(base + at.scales);
    b->spread = (const float *)(const void *)(base + at.spreads);
    b->table = (const bkt_entry *)(const void *)(base + at.table);
    b->segment_first = calloc(segments + 1, sizeof *b->segment_first);
    b->at = calloc(n + 1, sizeof *b->at);
    b->sound = calloc(n, sizeof *b->sound);
    if (!b->segment_first || !b->at || !b->sound)
        return loci_fail(err, LOCI_ENOMEM, "no memory to open %s", b->path);
    loci_status st = check_segments(b, err);
    if (st == LOCI_OK) st = check_table(b, at.first, err);
    if (st == LOCI_OK) st = check_floats(b, err);
    if (st != LOCI_OK) return st;
    return loci_sketches_open(&b->sketches, b->table, b->n, err);
}

loci_status loci_buckets_open(loci_buckets **out, const char *path, const loci_segment_shape *shape,
                              loci_error *err)
{
    *out = NULL;
    loci_buckets *b = calloc(1, sizeof *b);
    if (!b || !(b->path = strdup(path))) {
        free(b);
        return loci_fail(err, LOCI_ENOMEM, "no memory to open %s", path);
    }
    loci_status st = loci_map_open(&b->map, path, err);
    if (st == LOCI_OK) st = check_header(b, shape, err);
    if (st == LOCI_OK) st = check_tables(b, err);
    if (st != LOCI_OK) {
        loci_buckets_close(b);
        return st;
    }
    *out = b;
    return LOCI_OK;
}

void loci_buckets_close(loci_buckets *b)
{
    if (!b) return;
    loci_sketches_close(b->sketches);
    loci_map_close(&b->map);
    free(b->path);
    free(b->segment_first);
    free(b->at);
    free(b->sound);
    free(b);
}

int loci_buckets_count(const loci_buckets *b)
{
    return b->n;
}
int64_t loci_buckets_rows(const loci_buckets *b)
{
    return b->n_rows;
}
int64_t loci_buckets_largest(const loci_buckets *b)
{
    uint64_t most = 0;
    for (int i = 0; i < b->n; i++) most = b->table[i].rows > most ? b->table[i].rows : most;
    return (int64_t)most;
}
void loci_buckets_shape(const loci_buckets *b, loci_segment_shape *shape)
{
    *shape = (loci_segment_shape){ .n_landmarks = b->M, .d_landmark = b->d };
    memcpy(shape->fingerprint, b->map.data + offsetof(bkt_header, fingerprint), 16);
}
int64_t loci_buckets_memory(const loci_buckets *b)
{
    return b->n_segments * 8 + b->n * (int64_t)(sizeof *b->at + sizeof *b->sound) +
           loci_sketches_memory(b->sketches);
}
loci_sketches *loci_buckets_sketches(const loci_buckets *b)
{
    return b->sketches;
}
int64_t loci_buckets_file_bytes(const loci_buckets *b)
{
    return (int64_t)b->map.size;
}
int64_t loci_buckets_learned(const loci_buckets *b)
{
    return b->learned;
}
loci_basis loci_buckets_basis(const loci_buckets *b)
{
    return loci_basis_view(b->basis, b->d);
}
const int8_t *loci_buckets_means(const loci_buckets *b, const float **scale, const float **spread)
{
    *scale = b->scale;
    *spread = b->spread;
    return b->mean;
}
const loci_bucket_segment *loci_buckets_segments(const loci_buckets *b, int64_t *n)
{
    *n = b->n_segments;
    return b->segment;
}

int64_t loci_buckets_first(const loci_buckets *b, int64_t segment_id)
{
    int64_t low = 0, high = b->n_segments;
    while (low < high) {
        const int64_t mid = low + (high - low) / 2;
        if (b->segment[mid].id < segment_id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < b->n_segments && b->segment[low].id == segment_id ? b->segment_first[low] : -1;
}

/* ---- one bucket --------------------------------------------------------------------------------- */
static loci_bucket view_of(const loci_buckets *b, int i)
{
    const size_t n = (size_t)b->table[i].rows, d = (size_t)b->d;
    const uint8_t *p = b->map.data + b->at[i];
    return (loci_bucket){ (const int8_t *)p,
                          (const float *)(const void *)(p + bkt_column_at(BKT_SCALES, n, d)),
                          (const float *)(const void *)(p + bkt_column_at(BKT_BIAS, n, d)),
                          (const uint32_t *)(const void *)(p + bkt_column_at(BKT_CHUNKS, n, d)),
                          (int)n };
}

static const char *fault_of(const loci_buckets *b, int i)
{
    const loci_bucket v = view_of(b, i);
    const size_t n = (size_t)v.n, d = (size_t)b->d, M = (size_t)b->M;
    const uint8_t *p = b->map.data + b->at[i];
    if (XXH3_64bits_withSeed(p, bkt_bytes(n, d), (uint64_t)i) != b->table[i].sum)
        return "wrong checksum";
    for (int c = 0; c < BKT_COLUMNS; c++) {
        const size_t used = n * (c == BKT_LANDMARKS ? d : 4);
        if (!all_zero(p + bkt_column_at(c, n, d) + used, bkt_column_bytes(c, n, d) - used))
            return "bytes behind a column are not zero";
    }
    for (size_t k = 0; k < n; k++) {
        const bool again = k >= M && v.chunk[k] == v.chunk[k - M];
        if (v.chunk[k] >= b->numbers || (k > 0 && v.chunk[k] < v.chunk[k - 1]) || again)
            return "a chunk number is out of range or order";
        if (!isfinite(v.scale[k]) || !isfinite(v.bias[k])) return "a value is out of range";
    }
    return NULL;
}

loci_status loci_buckets_get(loci_buckets *b, int i, loci_bucket *out, loci_error *err)
{
    if (!atomic_load_explicit(&b->sound[i], memory_order_relaxed)) {
        const char *fault = fault_of(b, i);
        if (fault)
            return loci_fail(err, LOCI_EFORMAT, "%s: bucket %d at offset %zu: %s", b->path, i,
                             b->at[i], fault);
        atomic_store_explicit(&b->sound[i], true, memory_order_relaxed);
    }
    *out = view_of(b, i);
    return LOCI_OK;
}
