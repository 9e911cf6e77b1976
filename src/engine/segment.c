/* segment.c - writes one segment file in a stream, a group of 256 chunks at a time.
 *
 *   segment_create -> segment_append ... -> segment_finish -> writer_close
 *                  \________ any failure ________> segment_abort: file gone
 *
 * The file is under its own name from the first byte.  It means nothing before the catalogue
 * names it, so a kill at any byte leaves a stray file that the next writer removes.  Numbers
 * become int8 here; every implementation of that kernel divides and rounds alike, so the same
 * documents give the same bytes on every machine. */
#include "engine/segment_impl.h"
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

struct loci_segment_writer {
    loci_file file;
    const loci_vfs *vfs;
    char *path;
    loci_segment_shape shape;
    loci_quant_q8_fn *quant_q8;
    uint8_t *group;                  /* columns of the open group, each with room for 256 chunks */
    size_t at[SEG_COLUMNS_USED + 1]; /* where each column starts in `group`; last: its size */
    int in_group;                    /* chunks in the open group */
    int64_t chunks;
    int64_t offset; /* file bytes written */
    uint8_t *table; /* (groups, 272) */
    size_t groups, table_cap;
    loci_postings_builder *postings; /* NULL: none wanted */
};

static loci_status write_header(loci_segment_writer *w, loci_error *err)
{
    uint8_t b[sizeof(seg_header)] = { 0 };
    memcpy(b, SEG_MAGIC, 8);
    const uint32_t features = seg_features(&w->shape);
    put_u32(b + offsetof(seg_header, version), features ? SEG_VERSION : 1);
    put_u32(b + offsetof(seg_header, features), features);
    put_u32(b + offsetof(seg_header, d_summary), (uint32_t)w->shape.d_summary);
    put_u32(b + offsetof(seg_header, header_bytes), sizeof b);
    memcpy(b + offsetof(seg_header, fingerprint), w->shape.fingerprint, 16);
    put_u32(b + offsetof(seg_header, n_landmarks), (uint32_t)w->shape.n_landmarks);
    put_u32(b + offsetof(seg_header, d_landmark), (uint32_t)w->shape.d_landmark);
    put_u32(b + offsetof(seg_header, d_content), (uint32_t)w->shape.d_content);
    put_u32(b + offsetof(seg_header, id_bytes), (uint32_t)w->shape.id_bytes);
    put_u32(b + offsetof(seg_header, chunk_tokens), SEG_CHUNK_TOKENS);
    put_u32(b + offsetof(seg_header, group_chunks), LOCI_SEG_GROUP);
    put_u64(b + offsetof(seg_header, sum), XXH3_64bits(b, offsetof(seg_header, sum)));
    w->offset = sizeof b;
    return loci_file_write(&w->file, w->path, b, sizeof b, 0, err);
}

static loci_status writer_init(loci_segment_writer *w, const loci_vfs *vfs, const char *path,
                               const loci_segment_shape *shape, loci_error *err)
{
    w->vfs = vfs ? vfs : loci_vfs_system();
    w->file = (loci_file){ w->vfs, -1 };
    w->shape = *shape;
    loci_kernels k;
    loci_kernels_init(&k, loci_cpu_detect());
    w->quant_q8 = k.quant_q8;
    w->path = strdup(path);
    for (int c = 0; c < SEG_COLUMNS_USED; c++)
        w->at[c + 1] = w->at[c] + seg_align(LOCI_SEG_GROUP * seg_chunk_bytes(shape, c));
    w->group = calloc(1, w->at[SEG_COLUMNS_USED]);
    if (!w->path || !w->group)
        return loci_fail(err, LOCI_ENOMEM, "no memory to write %s (%zu bytes)", path,
                         w->at[SEG_COLUMNS_USED]);
    return shape->postings ? loci_postings_open(&w->postings, err) : LOCI_OK;
}

loci_status loci_segment_create(loci_segment_writer **out, const loci_vfs *vfs, const char *path,
                                const loci_segment_shape *shape, loci_error *err)
{
    *out = NULL;
    if (!seg_shape_ok(shape))
        return loci_fail(err, LOCI_EINVAL, "%s: segment shape (%d, %d, %d, %d) out of range", path,
                         shape->n_landmarks, shape->d_landmark, shape->d_content, shape->id_bytes);
    loci_segment_writer *w = calloc(1, sizeof *w);
    if (!w) return loci_fail(err, LOCI_ENOMEM, "no memory to write %s", path);
    loci_status st = writer_init(w, vfs, path, shape, err);
    /* EXCL: a name is used once; an older file of that name is never touched. */
    if (st == LOCI_OK) st = loci_file_open(&w->file, w->vfs, path, O_RDWR | O_CREAT | O_EXCL, err);
    if (st != LOCI_OK) {
        loci_segment_writer_close(w);
        return st;
    }
    if ((st = write_header(w, err)) != LOCI_OK) {
        loci_segment_abort(w);
        return st;
    }
    *out = w;
    return LOCI_OK;
}

/* ---- chunks -------------------------------------------------------------------------------- */
static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

static loci_status check_record(const loci_segment_writer *w, const loci_chunk_record *r,
                                loci_error *err)
{
    const loci_segment_shape *s = &w->shape;
    if (r->n_tokens < 1 || r->n_tokens > SEG_CHUNK_TOKENS || r->byte_start < 0 || r->line_start < 1)
        return loci_fail(err, LOCI_EINVAL, "%s: chunk %lld: %d tokens, byte %lld, line %lld",
                         w->path, (long long)w->chunks, r->n_tokens, (long long)r->byte_start,
                         (long long)r->line_start);
    for (int i = 0; i < r->n_tokens; i++)
        if (r->ids[i] < 0 || (s->id_bytes == 2 && r->ids[i] > UINT16_MAX))
            return loci_fail(err, LOCI_EINVAL, "%s: chunk %lld: id %d does not fit %d bytes",
                             w->path, (long long)w->chunks, r->ids[i], s->id_bytes);
    bool finite = isfinite(r->bias) &&
                  all_finite(r->landmark, (size_t)s->n_landmarks * (size_t)s->d_landmark) &&
                  all_finite(r->summary, (size_t)s->d_summary);
    if (!s->content_bits4)
        finite = finite && all_finite(r->content, (size_t)r->n_tokens * (size_t)s->d_content);
    for (int i = 0; s->content_bits4 && i < r->n_tokens * SEG_PACKED_SCALES; i++)
        finite = finite && seg_half_finite(r->packed_scale[i]);
    if (!finite)
        return loci_fail(err, LOCI_EINVAL,
                         "%s: chunk %lld: the encoder gave a number that is not "
                         "finite",
                         w->path, (long long)w->chunks);
    return LOCI_OK;
}

/* Where chunk i of the open group lies in a column. */
static uint8_t *cell(const loci_segment_writer *w, int column, int i)
{
    return w->group + w->at[column] + (size_t)i * seg_chunk_bytes(&w->shape, column);
}

static void put_ids(const loci_segment_writer *w, const loci_chunk_record *r)
{
    uint8_t *p = cell(w, COL_IDS, w->in_group);
    for (int i = 0; i < SEG_CHUNK_TOKENS; i++) {
        const uint32_t id = i < r->n_tokens ? (uint32_t)r->ids[i] : LOCI_TOK_PAD;
        for (int b = 0; b < w->shape.id_bytes; b++) *p++ = (uint8_t)(id >> (8 * b));
    }
}

/* A token's content is two rows of half the width: key and value get a scale each.  Rows of pads are
 * zero. */
static void put_content(const loci_segment_writer *w, const loci_chunk_record *r)
{
    const int i = w->in_group, dc = w->shape.d_content, half = dc / 2;
    const size_t pads = (size_t)(SEG_CHUNK_TOKENS - r->n_tokens);
    int8_t *content = (int8_t *)cell(w, COL_CONTENT, i);
    /* Cells are aligned for what they hold: columns start at multiples of 64. */
    float *scale = (float *)(void *)cell(w, COL_CONTENT_SCALES, i);
    w->quant_q8(content, half, scale, r->content, half, 2 * r->n_tokens, half);
    memset(content + (size_t)r->n_tokens * (size_t)dc, 0, pads * (size_t)dc);
    memset(scale + 2 * r->n_tokens, 0, pads * 2 * sizeof *scale);
}

static void put_packed(const loci_segment_writer *w, const loci_chunk_record *r)
{
    enum { ROW = LOCI_PACK / 2 };
    const size_t n = (size_t)r->n_tokens;
    uint8_t *q = cell(w, COL_PACKED, w->in_group), *scale = cell(w, COL_PACKED_SCALES, w->in_group);
    memset(q, 0, (size_t)SEG_CHUNK_TOKENS * ROW);
    memcpy(q, r->packed, n * ROW);
    memset(scale, 0, (size_t)SEG_CHUNK_TOKENS * SEG_PACKED_SCALES * 2);
    for (size_t k = 0; k < n * SEG_PACKED_SCALES; k++) {
        scale[2 * k] = (uint8_t)r->packed_scale[k];
        scale[2 * k + 1] = (uint8_t)(r->packed_scale[k] >> 8);
    }
}

static loci_status flush_group(loci_segment_writer *w, bool last, loci_error *err);

loci_status loci_segment_append(loci_segment_writer *w, const loci_chunk_record *r, loci_error *err)
{
    loci_status st = check_record(w, r, err);
    /* A full group waits for the next chunk: only then is it known not to be the last. */
    if (st == LOCI_OK && w->in_group == LOCI_SEG_GROUP) st = flush_group(w, false, err);
    if (st == LOCI_OK && w->postings)
        st = loci_postings_add(w->postings, r->ids, r->n_tokens, r->word_starts, err);
    if (st != LOCI_OK) return st;
    const loci_segment_shape *s = &w->shape;
    const int i = w->in_group;
    float *landmark_scale = (float *)(void *)cell(w, COL_LANDMARK_SCALES, i);
    for (int c = 0; c < 2 * s->n_landmarks; c++) put_u64(cell(w, COL_CODES, i) + 8 * c, r->code[c]);
    w->quant_q8((int8_t *)cell(w, COL_LANDMARKS, i), s->d_landmark, landmark_scale, r->landmark,
                s->d_landmark, s->n_landmarks, s->d_landmark);
    memcpy(cell(w, COL_BIAS, i), &r->bias, sizeof r->bias);
    *cell(w, COL_COUNTS, i) = (uint8_t)r->n_tokens;
    if (s->d_summary)
        w->quant_q8((int8_t *)cell(w, COL_SUMMARIES, i), s->d_summary,
                    (float *)(void *)cell(w, COL_SUMMARY_SCALES, i), r->summary, s->d_summary, 1,
                    s->d_summary);
    if (s->content_bits4)
        put_packed(w, r);
    else
        put_content(w, r);
    put_ids(w, r);
    put_u64(cell(w, COL_BYTE_STARTS, i), (uint64_t)r->byte_start);
    put_u64(cell(w, COL_LINE_STARTS, i), (uint64_t)r->line_start);
    w->chunks++;
    w->in_group++;
    return LOCI_OK;
}

int64_t loci_segment_chunks(const loci_segment_writer *w)
{
    return w->chunks;
}

static loci_status table_reserve(loci_segment_writer *w, loci_error *err)
{
    if (w->groups < w->table_cap) return LOCI_OK;
    const size_t cap = w->table_cap ? 2 * w->table_cap : 16;
    uint8_t *bigger = realloc(w->table, cap * sizeof(seg_entry));
    if (!bigger) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu groups", w->path, cap);
    w->table = bigger;
    w->table_cap = cap;
    return LOCI_OK;
}

static void note_column(uint8_t *e, const loci_segment_writer *w, int c, const uint8_t *data,
                        size_t bytes)
{
    uint8_t *col = e + offsetof(seg_entry, column) + 16 * (size_t)c;
    put_u64(col, bytes);
    if (bytes > 0)
        put_u64(col + 8, XXH3_64bits_withSeed(data, bytes, w->groups * SEG_COLUMNS + (size_t)c));
}

/* The block of postings that ends with this group, behind its other columns. */
static loci_status write_postings(loci_segment_writer *w, uint8_t *e, loci_error *err)
{
    static const uint8_t zeros[SEG_ALIGN];
    const uint8_t *block;
    size_t bytes;
    loci_status st = loci_postings_finish(w->postings, &block, &bytes, err);
    if (st != LOCI_OK) return st;
    note_column(e, w, COL_POSTINGS, block, bytes);
    st = loci_file_write(&w->file, w->path, block, bytes, w->offset, err);
    const size_t pad = seg_align(bytes) - bytes;
    if (st == LOCI_OK && pad > 0)
        st = loci_file_write(&w->file, w->path, zeros, pad, w->offset + (int64_t)bytes, err);
    if (st == LOCI_OK) w->offset += (int64_t)seg_align(bytes);
    return st;
}

/* Pack the columns of the open group, write them in one piece, note them in the table. */
static loci_status flush_group(loci_segment_writer *w, bool last, loci_error *err)
{
    loci_status st = table_reserve(w, err);
    if (st != LOCI_OK) return st;
    uint8_t *e = w->table + w->groups * sizeof(seg_entry);
    size_t used = 0;
    memset(e, 0, sizeof(seg_entry));
    put_u64(e + offsetof(seg_entry, offset), (uint64_t)w->offset);
    put_u32(e + offsetof(seg_entry, chunks), (uint32_t)w->in_group);
    for (int c = 0; c < SEG_COLUMNS_USED; c++) {
        const size_t bytes = (size_t)w->in_group * seg_chunk_bytes(&w->shape, c);
        /* Downwards only, and in column order, so nothing unread is written over. */
        memmove(w->group + used, w->group + w->at[c], bytes);
        memset(w->group + used + bytes, 0, seg_align(bytes) - bytes);
        note_column(e, w, c, w->group + used, bytes);
        used += seg_align(bytes);
    }
    st = loci_file_write(&w->file, w->path, w->group, used, w->offset, err);
    if (st != LOCI_OK) return st;
    w->offset += (int64_t)used;
    const int64_t g = (int64_t)w->groups;
    if (seg_ends_postings(&w->shape, g, last ? g + 1 : INT64_MAX) &&
        (st = write_postings(w, e, err)) != LOCI_OK)
        return st;
    w->groups++;
    w->in_group = 0;
    return LOCI_OK;
}

loci_status loci_segment_finish(loci_segment_writer *w, int64_t *bytes, loci_error *err)
{
    *bytes = 0;
    loci_status st = w->in_group > 0 ? flush_group(w, true, err) : LOCI_OK;
    if (st != LOCI_OK) return st;
    const size_t table_bytes = w->groups * sizeof(seg_entry);
    const int64_t total = w->offset + (int64_t)table_bytes + (int64_t)sizeof(seg_trailer);
    uint8_t t[sizeof(seg_trailer)] = { 0 };
    memcpy(t, SEG_TRAILER_MAGIC, 8);
    put_u64(t + offsetof(seg_trailer, table_offset), (uint64_t)w->offset);
    put_u64(t + offsetof(seg_trailer, groups), w->groups);
    put_u64(t + offsetof(seg_trailer, chunks), (uint64_t)w->chunks);
    put_u64(t + offsetof(seg_trailer, file_bytes), (uint64_t)total);
    put_u64(t + offsetof(seg_trailer, table_sum), XXH3_64bits(w->table, table_bytes));
    put_u64(t + offsetof(seg_trailer, sum), XXH3_64bits(t, offsetof(seg_trailer, sum)));
    if (table_bytes) st = loci_file_write(&w->file, w->path, w->table, table_bytes, w->offset, err);
    if (st == LOCI_OK)
        st = loci_file_write(&w->file, w->path, t, sizeof t, total - (int64_t)sizeof t, err);
    if (st == LOCI_OK) st = loci_file_sync(&w->file, w->path, err);
    if (st == LOCI_OK) st = loci_file_close(&w->file, err);
    /* The name must reach the disk too, before the catalogue speaks of it. */
    if (st == LOCI_OK) st = loci_file_sync_parent(w->vfs, w->path, err);
    if (st == LOCI_OK) *bytes = total;
    return st;
}

void loci_segment_writer_close(loci_segment_writer *w)
{
    if (!w) return;
    loci_file_close(&w->file, NULL);
    free(w->path);
    free(w->group);
    free(w->table);
    loci_postings_close(w->postings);
    free(w);
}

void loci_segment_abort(loci_segment_writer *w)
{
    if (!w) return;
    loci_file_close(&w->file, NULL);
    w->vfs->unlink(w->vfs->ctx, w->path); /* one that stays is removed by the next writer */
    loci_segment_writer_close(w);
}
