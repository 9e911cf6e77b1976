/* segment_read.c - opens a segment file through a mapping, and checks what it gives away.
 *
 * Opening reads header, trailer and table and insists that the file is laid out exactly as they
 * say.  A column's bytes are checked (checksum, zeros behind it, range of its numbers) when it
 * is first touched, so that opening a large bank does not read its content; afterwards pointers
 * into the mapping are handed out.  Any number of threads may read one segment.  Content of large banks
 * is segment_content.c's, checking all of a file at once segment_verify.c's. */
#include "engine/segment_impl.h"
#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

static const char *column_name(int c)
{
    static const char *const name[] = {
#define X(id, text, bytes) text,
        SEG_COLUMN_LIST(X)
#undef X
    };
    return name[c];
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

/* ---- header, trailer, table ------------------------------------------------------------------- */
static void hex16(char out[33], const uint8_t b[16])
{
    for (int i = 0; i < 16; i++) snprintf(out + 2 * i, 3, "%02x", b[i]);
}

static loci_status check_header(loci_segment *s, loci_error *err)
{
    const uint8_t *h = s->map.data;
    if (s->map.size < sizeof(seg_header) + sizeof(seg_trailer))
        return loci_fail(err, LOCI_EFORMAT, "%s: %zu bytes, a segment has at least %zu", s->path,
                         s->map.size, sizeof(seg_header) + sizeof(seg_trailer));
    if (memcmp(h, SEG_MAGIC, 8) != 0)
        return loci_fail(err, LOCI_EFORMAT, "%s: header at offset 0: not a segment file", s->path);
    if (get_u64(h + offsetof(seg_header, sum)) != XXH3_64bits(h, offsetof(seg_header, sum)))
        return loci_fail(err, LOCI_EFORMAT, "%s: header at offset 0: wrong checksum", s->path);
    const uint32_t version = get_u32(h + offsetof(seg_header, version));
    if (version < 1 || version > SEG_VERSION)
        return loci_fail(err, LOCI_EVERSION, "%s: version %u, this build reads 1 to %d", s->path,
                         version, SEG_VERSION);
    const uint32_t features = get_u32(h + offsetof(seg_header, features));
    const uint32_t dim[4] = { get_u32(h + offsetof(seg_header, n_landmarks)),
                              get_u32(h + offsetof(seg_header, d_landmark)),
                              get_u32(h + offsetof(seg_header, d_content)),
                              get_u32(h + offsetof(seg_header, id_bytes)) };
    bool ok = get_u32(h + offsetof(seg_header, header_bytes)) == sizeof(seg_header) &&
              get_u32(h + offsetof(seg_header, chunk_tokens)) == SEG_CHUNK_TOKENS &&
              get_u32(h + offsetof(seg_header, group_chunks)) == LOCI_SEG_GROUP &&
              (features != 0) == (version > 1) && (features & ~(uint32_t)SEG_FEATURES_KNOWN) == 0 &&
              all_zero(h + offsetof(seg_header, zero), sizeof((seg_header *)0)->zero);
    for (int i = 0; i < 4; i++) ok = ok && dim[i] <= INT32_MAX;
    const uint32_t d_summary = get_u32(h + offsetof(seg_header, d_summary));
    ok = ok && d_summary <= SEG_SUMMARY_MAX &&
         (d_summary > 0) == ((features & SEG_FEATURE_SUMMARY) != 0);
    s->shape = (loci_segment_shape){ .n_landmarks = (int)dim[0],
                                     .d_landmark = (int)dim[1],
                                     .d_content = (int)dim[2],
                                     .id_bytes = (int)dim[3],
                                     .postings = (features & SEG_FEATURE_POSTINGS) != 0,
                                     .content_bits4 = (features & SEG_FEATURE_PACKED) != 0,
                                     .d_summary = ok ? (int)d_summary : 0 };
    memcpy(s->shape.fingerprint, h + offsetof(seg_header, fingerprint), 16);
    if (!ok || !seg_shape_ok(&s->shape))
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: header at offset 0: shape (%u, %u, %u, %u) or "
                         "reserved fields out of range",
                         s->path, dim[0], dim[1], dim[2], dim[3]);
    return LOCI_OK;
}

static loci_status check_shape(const loci_segment *s, const loci_segment_shape *want,
                               loci_error *err)
{
    const loci_segment_shape *got = &s->shape;
    char a[33], b[33];
    if (memcmp(got->fingerprint, want->fingerprint, 16) != 0) {
        hex16(a, got->fingerprint);
        hex16(b, want->fingerprint);
        return loci_fail(err, LOCI_EMODEL, "%s: made by model %s, expected %s", s->path, a, b);
    }
    if (got->n_landmarks != want->n_landmarks || got->d_landmark != want->d_landmark ||
        got->d_content != want->d_content || got->id_bytes != want->id_bytes ||
        seg_features(got) != seg_features(want) || got->d_summary != want->d_summary)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: header at offset 0: shape (%d, %d, %d, %d), features %u, %d; "
                         "expected (%d, %d, %d, %d), %u, %d",
                         s->path, got->n_landmarks, got->d_landmark, got->d_content, got->id_bytes,
                         seg_features(got), got->d_summary, want->n_landmarks, want->d_landmark,
                         want->d_content, want->id_bytes, seg_features(want), want->d_summary);
    return LOCI_OK;
}

static loci_status check_trailer(loci_segment *s, loci_error *err)
{
    const size_t size = s->map.size, at = size - sizeof(seg_trailer);
    const uint8_t *t = s->map.data + at;
    if (memcmp(t, SEG_TRAILER_MAGIC, 8) != 0 ||
        get_u64(t + offsetof(seg_trailer, sum)) != XXH3_64bits(t, offsetof(seg_trailer, sum)))
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: trailer at offset %zu: missing or damaged (file cut "
                         "short?)",
                         s->path, at);
    const uint64_t table = get_u64(t + offsetof(seg_trailer, table_offset));
    const uint64_t groups = get_u64(t + offsetof(seg_trailer, groups));
    const uint64_t chunks = get_u64(t + offsetof(seg_trailer, chunks));
    /* groups is bounded by the file's size before it is multiplied. */
    if (get_u64(t + offsetof(seg_trailer, file_bytes)) != size ||
        get_u64(t + offsetof(seg_trailer, zero)) || groups > size / sizeof(seg_entry) ||
        table < sizeof(seg_header) || table > at || groups * sizeof(seg_entry) != at - table ||
        chunks > groups * LOCI_SEG_GROUP ||
        (chunks + LOCI_SEG_GROUP - 1) / LOCI_SEG_GROUP != groups)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: trailer at offset %zu: %llu chunks in %llu groups, "
                         "table at %llu do not fit %zu bytes",
                         s->path, at, (unsigned long long)chunks, (unsigned long long)groups,
                         (unsigned long long)table, size);
    s->table = s->map.data + table;
    if (XXH3_64bits(s->table, at - table) != get_u64(t + offsetof(seg_trailer, table_sum)))
        return loci_fail(err, LOCI_EFORMAT, "%s: table at offset %llu: wrong checksum", s->path,
                         (unsigned long long)table);
    s->groups = (int64_t)groups;
    s->chunks = (int64_t)chunks;
    return LOCI_OK;
}

static size_t group_chunks(const loci_segment *s, int64_t g)
{
    return g + 1 < s->groups ? LOCI_SEG_GROUP : (size_t)(s->chunks - g * LOCI_SEG_GROUP);
}

static const uint8_t *entry(const loci_segment *s, int64_t g)
{
    return s->table + (size_t)g * sizeof(seg_entry);
}

/* Chunks of the block of postings that ends with group g. */
static int64_t postings_chunks(const loci_segment *s, int64_t g)
{
    const int64_t first = g / SEG_POSTINGS_GROUPS * LOCI_POSTINGS_CHUNKS;
    const int64_t end = g + 1 < s->groups ? (g + 1) * LOCI_SEG_GROUP : s->chunks;
    return end - first;
}

/* Bytes of a column, of postings what the table says. */
size_t loci_seg_column_bytes(const loci_segment *s, int64_t g, int column)
{
    if (column == COL_POSTINGS)
        return (size_t)get_u64(entry(s, g) + offsetof(seg_entry, column) + 16 * COL_POSTINGS);
    return group_chunks(s, g) * seg_chunk_bytes(&s->shape, column);
}

/* The length of a block is in no other place than the table: it is held within what is possible. */
static bool postings_length_ok(const loci_segment *s, int64_t g)
{
    const size_t bytes = loci_seg_column_bytes(s, g, COL_POSTINGS);
    if (!seg_ends_postings(&s->shape, g, s->groups)) return bytes == 0;
    const int64_t chunks = postings_chunks(s, g);
    const int bits = loci_postings_bits(chunks);
    return bytes % 4 == 0 && bytes >= loci_postings_bytes(bits, 0) &&
           bytes <= loci_postings_bytes(bits, (size_t)chunks * LOCI_POSTINGS_ENTRIES);
}

/* Every group where the one before it ends, every column as long as the shape makes it. */
static loci_status check_table(const loci_segment *s, loci_error *err)
{
    const size_t end = (size_t)(s->table - s->map.data);
    size_t at = sizeof(seg_header);
    for (int64_t g = 0; g < s->groups; g++) {
        const uint8_t *e = entry(s, g);
        const size_t n = group_chunks(s, g);
        bool ok = get_u64(e) == at && get_u32(e + offsetof(seg_entry, chunks)) == n &&
                  get_u32(e + offsetof(seg_entry, zero)) == 0 && postings_length_ok(s, g);
        for (int c = 0; c < SEG_COLUMNS; c++) {
            const uint8_t *col = e + offsetof(seg_entry, column) + 16 * (size_t)c;
            const size_t bytes = ok ? loci_seg_column_bytes(s, g, c) : 0;
            ok = ok && get_u64(col) == bytes && (bytes > 0 || get_u64(col + 8) == 0);
            at += seg_align(bytes);
        }
        if (!ok || at > end)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: table at offset %zu: group %lld does not have "
                             "%zu chunks of this shape",
                             s->path, end, (long long)g, n);
    }
    if (at != end)
        return loci_fail(err, LOCI_EFORMAT, "%s: table at offset %zu, the groups end at %zu",
                         s->path, end, at);
    return LOCI_OK;
}

/* want NULL: whatever shape the header says (verify). */
static loci_status segment_load(loci_segment *s, const char *path, const loci_segment_shape *want,
                                loci_error *err)
{
    s->path = strdup(path);
    if (!s->path) return loci_fail(err, LOCI_ENOMEM, "no memory to open %s", path);
    loci_status st = loci_map_open(&s->map, path, err);
    if (st == LOCI_OK) st = check_header(s, err);
    if (st == LOCI_OK && want) st = check_shape(s, want, err);
    if (st == LOCI_OK) st = check_trailer(s, err);
    if (st == LOCI_OK) st = check_table(s, err);
    if (st != LOCI_OK) return st;
    s->sound = calloc((size_t)s->groups + 1, sizeof *s->sound);
    return s->sound ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory to open %s", path);
}

loci_status loci_segment_open(loci_segment **out, const char *path, const loci_segment_shape *shape,
                              loci_error *err)
{
    *out = NULL;
    loci_segment *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory to open %s", path);
    s->file.fd = -1;
    const loci_status st = segment_load(s, path, shape, err);
    if (st != LOCI_OK) {
        loci_segment_close(s);
        return st;
    }
    *out = s;
    return LOCI_OK;
}

void loci_segment_close(loci_segment *s)
{
    if (!s) return;
    (void)loci_file_close(&s->file, NULL);
    loci_map_close(&s->map);
    free(s->sound);
    free(s->path);
    free(s);
}

int64_t loci_segment_count(const loci_segment *s)
{
    return s->chunks;
}
const loci_segment_shape *loci_segment_shape_of(const loci_segment *s)
{
    return &s->shape;
}
int64_t loci_seg_groups(const loci_segment *s)
{
    return s->groups;
}
int64_t loci_seg_file_bytes(const loci_segment *s)
{
    return (int64_t)s->map.size;
}

/* ---- columns ---------------------------------------------------------------------------------- */
size_t loci_seg_column_offset(const loci_segment *s, int64_t g, int column)
{
    size_t at = (size_t)get_u64(entry(s, g));
    for (int c = 0; c < column; c++) at += seg_align(loci_seg_column_bytes(s, g, c));
    return at;
}

/* Ranges that later code relies on: token counts index arrays, a NaN would win every sort. */
static bool column_sane(const uint8_t *p, size_t bytes, int column)
{
    const float *f = (const float *)(const void *)p;
    switch (column) {
    case COL_COUNTS:
        for (size_t i = 0; i < bytes; i++)
            if (p[i] < 1 || p[i] > SEG_CHUNK_TOKENS) return false;
        return true;
    case COL_BYTE_STARTS:
    case COL_LINE_STARTS:
        for (size_t i = 0; i < bytes; i += 8) {
            const uint64_t v = get_u64(p + i);
            if (v > INT64_MAX || v < (column == COL_LINE_STARTS ? 1 : 0)) return false;
        }
        return true;
    case COL_LANDMARK_SCALES:
    case COL_BIAS:
    case COL_CONTENT_SCALES:
    case COL_SUMMARY_SCALES:
        for (size_t i = 0; i < bytes / sizeof *f; i++)
            if (!isfinite(f[i])) return false;
        return true;
    case COL_PACKED_SCALES:
        for (size_t i = 0; i < bytes; i += 2)
            if (!seg_half_finite((uint16_t)(p[i] | p[i + 1] << 8))) return false;
        return true;
    default: return true;
    }
}

loci_status loci_seg_check_column(loci_segment *s, int64_t g, int column, loci_error *err)
{
    const size_t bytes = loci_seg_column_bytes(s, g, column);
    const size_t at = loci_seg_column_offset(s, g, column);
    const uint8_t *p = s->map.data + at;
    const uint64_t want =
        get_u64(entry(s, g) + offsetof(seg_entry, column) + 16 * (size_t)column + 8);
    const uint64_t got =
        XXH3_64bits_withSeed(p, bytes, (uint64_t)g * SEG_COLUMNS + (uint64_t)column);
    const char *fault = NULL;
    if (bytes > 0 && got != want) /* an empty one has no sum: check_table */
        fault = "wrong checksum";
    else if (!all_zero(p + bytes, seg_align(bytes) - bytes))
        fault = "bytes behind it are not zero";
    else if (!column_sane(p, bytes, column) ||
             (column == COL_POSTINGS && !loci_postings_sane(p, bytes, postings_chunks(s, g))))
        fault = "a value is out of range";
    if (fault)
        return loci_fail(err, LOCI_EFORMAT, "%s: group %lld, column %s at offset %zu: %s", s->path,
                         (long long)g, column_name(column), at, fault);
    atomic_fetch_or_explicit(&s->sound[g], (uint16_t)(1u << column), memory_order_relaxed);
    return LOCI_OK;
}

/* Check those columns of `mask` that nobody has checked yet.  Two threads may both do it: that
 * costs time, not truth. */
loci_status loci_seg_need(loci_segment *s, int64_t g, unsigned mask, loci_error *err)
{
    const unsigned left =
        mask & ~(unsigned)atomic_load_explicit(&s->sound[g], memory_order_relaxed);
    loci_status st = LOCI_OK;
    for (int c = 0; left >> c && st == LOCI_OK; c++)
        if (left >> c & 1u) st = loci_seg_check_column(s, g, c, err);
    return st;
}

static loci_status check_range(const loci_segment *s, int64_t first, int64_t n, loci_error *err)
{
    if (first < 0 || n < 0 || n > s->chunks || first > s->chunks - n)
        return loci_fail(err, LOCI_EINVAL, "%s: chunks %lld..+%lld of %lld", s->path,
                         (long long)first, (long long)n, (long long)s->chunks);
    return LOCI_OK;
}

loci_status loci_segment_codes(loci_segment *s, int64_t first, int64_t n, uint64_t *code,
                               loci_error *err)
{
    const size_t size = seg_chunk_bytes(&s->shape, COL_CODES);
    loci_status st = check_range(s, first, n, err);
    while (st == LOCI_OK && n > 0) {
        const int64_t g = first / LOCI_SEG_GROUP, from = first % LOCI_SEG_GROUP;
        const int64_t here = (int64_t)group_chunks(s, g) - from, take = n < here ? n : here;
        if ((st = loci_seg_need(s, g, 1u << COL_CODES, err)) != LOCI_OK) break;
        memcpy(code, s->map.data + loci_seg_column_offset(s, g, COL_CODES) + (size_t)from * size,
               (size_t)take * size);
        code += (size_t)take * size / sizeof *code;
        first += take;
        n -= take;
    }
    return st;
}

loci_status loci_segment_group(loci_segment *s, int64_t g, loci_group_view *out, loci_error *err)
{
    memset(out, 0, sizeof *out);
    loci_status st =
        loci_seg_need(s, g, 1u << COL_LANDMARKS | 1u << COL_LANDMARK_SCALES | 1u << COL_BIAS, err);
    if (st != LOCI_OK) return st;
    const uint8_t *base = s->map.data;
    out->landmark = (const int8_t *)(base + loci_seg_column_offset(s, g, COL_LANDMARKS));
    out->landmark_scale =
        (const float *)(const void *)(base + loci_seg_column_offset(s, g, COL_LANDMARK_SCALES));
    out->bias = (const float *)(const void *)(base + loci_seg_column_offset(s, g, COL_BIAS));
    out->chunks = (int)group_chunks(s, g);
    return LOCI_OK;
}

loci_status loci_segment_summaries(loci_segment *s, int64_t g, const int8_t **summary,
                                   const float **scale, loci_error *err)
{
    const loci_status st = loci_seg_need(s, g, 1u << COL_SUMMARIES | 1u << COL_SUMMARY_SCALES, err);
    const uint8_t *base = s->map.data;
    *summary = NULL;
    *scale = NULL;
    if (st != LOCI_OK) return st;
    *summary = (const int8_t *)(base + loci_seg_column_offset(s, g, COL_SUMMARIES));
    *scale = (const float *)(const void *)(base + loci_seg_column_offset(s, g, COL_SUMMARY_SCALES));
    return LOCI_OK;
}

loci_status loci_segment_chunk(loci_segment *s, int64_t chunk, bool with_content,
                               loci_chunk_view *out, loci_error *err)
{
    const unsigned content =
        1u << COL_CONTENT | 1u << COL_CONTENT_SCALES | 1u << COL_PACKED | 1u << COL_PACKED_SCALES;
    const unsigned all = (1u << COL_POSTINGS) - 1; /* those with a cell for each chunk */
    memset(out, 0, sizeof *out);
    loci_status st = check_range(s, chunk, 1, err);
    if (st != LOCI_OK) return st;
    const int64_t g = chunk / LOCI_SEG_GROUP;
    if ((st = loci_seg_need(s, g, with_content ? all : all & ~content, err)) != LOCI_OK) return st;

    const uint8_t *cell[COL_POSTINGS];
    for (int c = 0; c < COL_POSTINGS; c++)
        cell[c] = s->map.data + loci_seg_column_offset(s, g, c) +
                  (size_t)(chunk % LOCI_SEG_GROUP) * seg_chunk_bytes(&s->shape, c);
    out->landmark = (const int8_t *)cell[COL_LANDMARKS];
    out->landmark_scale = (const float *)(const void *)cell[COL_LANDMARK_SCALES];
    memcpy(&out->bias, cell[COL_BIAS], sizeof out->bias);
    out->n_tokens = *cell[COL_COUNTS];
    out->ids = cell[COL_IDS];
    out->byte_start = (int64_t)get_u64(cell[COL_BYTE_STARTS]);
    out->line_start = (int64_t)get_u64(cell[COL_LINE_STARTS]);
    if (s->shape.d_summary) {
        out->summary = (const int8_t *)cell[COL_SUMMARIES];
        memcpy(&out->summary_scale, cell[COL_SUMMARY_SCALES], sizeof out->summary_scale);
    }
    if (with_content && s->shape.content_bits4) {
        out->packed = cell[COL_PACKED];
        out->packed_scale = (const uint16_t *)(const void *)cell[COL_PACKED_SCALES];
    } else if (with_content) {
        out->content = (const int8_t *)cell[COL_CONTENT];
        out->content_scale = (const float *)(const void *)cell[COL_CONTENT_SCALES];
    }
    return LOCI_OK;
}

/* ---- postings ---------------------------------------------------------------------------------- */
int64_t loci_segment_postings_blocks(const loci_segment *s)
{
    return s->shape.postings ? (s->groups + SEG_POSTINGS_GROUPS - 1) / SEG_POSTINGS_GROUPS : 0;
}

int64_t loci_seg_postings_group(const loci_segment *s, int64_t i)
{
    const int64_t full = (i + 1) * SEG_POSTINGS_GROUPS;
    return (full < s->groups ? full : s->groups) - 1;
}

loci_status loci_segment_postings(loci_segment *s, int64_t i, const uint8_t **block,
                                  int64_t *chunks, loci_error *err)
{
    *block = NULL;
    *chunks = 0;
    if (i < 0 || i >= loci_segment_postings_blocks(s))
        return loci_fail(err, LOCI_EINVAL, "%s: postings %lld of %lld", s->path, (long long)i,
                         (long long)loci_segment_postings_blocks(s));
    const int64_t g = loci_seg_postings_group(s, i);
    const loci_status st = loci_seg_need(s, g, 1u << COL_POSTINGS, err);
    if (st != LOCI_OK) return st;
    *block = s->map.data + loci_seg_column_offset(s, g, COL_POSTINGS);
    *chunks = postings_chunks(s, g);
    return LOCI_OK;
}
