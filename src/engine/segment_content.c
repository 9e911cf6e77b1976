/* segment_content.c - content of single chunks, of large banks too.
 *
 * Whoever asks a bank reads a few chunks here and there.  In a small one they are read in place.  In a
 * large one each would take a page or two of the mapping, and the system maps some sixteen around:
 * after some hundred tokens nearly everything would be in this process's memory.  There the
 * five columns that make a chunk's content are read from the file, which costs some microseconds and
 * leaves nothing behind but the caller's copy; what checking a group has mapped is given back. */
#include "engine/segment_impl.h"
#include <fcntl.h>

/* Read from now on.  A system that has no more files to give leaves the content where it is mapped. */
void loci_segment_read_content(loci_segment *s)
{
    if (s->file.fd < 0) (void)loci_file_open(&s->file, NULL, s->path, O_RDONLY, NULL);
}

void loci_segment_forget(loci_segment *s, int64_t group)
{
    if (s->file.fd >= 0)
        loci_map_release(&s->map, loci_seg_column_offset(s, group, 0),
                         loci_seg_column_offset(s, group, SEG_COLUMNS));
}

size_t loci_segment_room(const loci_segment_shape *s)
{
    return seg_align(seg_chunk_bytes(s, COL_CONTENT)) +
           seg_align(seg_chunk_bytes(s, COL_CONTENT_SCALES)) +
           seg_align(seg_chunk_bytes(s, COL_PACKED)) +
           seg_align(seg_chunk_bytes(s, COL_PACKED_SCALES)) +
           seg_align(seg_chunk_bytes(s, COL_SUMMARIES));
}

/* Column c of chunk i of group g to *to. */
static loci_status copy(loci_segment *s, int64_t g, size_t i, int c, void *to, loci_error *err)
{
    const size_t size = seg_chunk_bytes(&s->shape, c);
    if (size == 0) return LOCI_OK;
    return loci_file_read(&s->file, s->path, to, size,
                          (int64_t)(loci_seg_column_offset(s, g, c) + i * size), err);
}

/* The same into room, which moves on. */
static loci_status take(loci_segment *s, int64_t g, size_t i, int c, uint8_t **room,
                        const uint8_t **got, loci_error *err)
{
    uint8_t *to = *room;
    *got = to;
    *room += seg_align(seg_chunk_bytes(&s->shape, c));
    return copy(s, g, i, c, to, err);
}

static loci_status check(loci_segment *s, int64_t g, loci_error *err)
{
    const unsigned columns = 1u << COL_COUNTS | 1u << COL_CONTENT | 1u << COL_CONTENT_SCALES |
                             1u << COL_PACKED | 1u << COL_PACKED_SCALES | 1u << COL_SUMMARIES |
                             1u << COL_SUMMARY_SCALES;
    if ((columns & ~(unsigned)atomic_load_explicit(&s->sound[g], memory_order_relaxed)) == 0)
        return LOCI_OK;
    const loci_status st = loci_seg_need(s, g, columns, err);
    loci_segment_forget(s, g);
    return st;
}

loci_status loci_segment_content(loci_segment *s, int64_t chunk, void *room, loci_chunk_view *out,
                                 loci_error *err)
{
    if (s->file.fd < 0) return loci_segment_chunk(s, chunk, true, out, err);
    memset(out, 0, sizeof *out);
    if (chunk < 0 || chunk >= s->chunks)
        return loci_fail(err, LOCI_EINVAL, "%s: chunk %lld of %lld", s->path, (long long)chunk,
                         (long long)s->chunks);
    const int64_t g = chunk / LOCI_SEG_GROUP;
    const size_t i = (size_t)(chunk % LOCI_SEG_GROUP);
    const uint8_t *column[5];
    static const int which[5] = { COL_CONTENT, COL_CONTENT_SCALES, COL_PACKED, COL_PACKED_SCALES,
                                  COL_SUMMARIES };
    uint8_t count = 0, *at = room;
    loci_status st = check(s, g, err);
    if (st == LOCI_OK) st = copy(s, g, i, COL_COUNTS, &count, err);
    if (st == LOCI_OK) st = copy(s, g, i, COL_SUMMARY_SCALES, &out->summary_scale, err);
    for (int c = 0; c < 5 && st == LOCI_OK; c++) st = take(s, g, i, which[c], &at, &column[c], err);
    if (st != LOCI_OK) return st;
    if (count < 1 || count > SEG_CHUNK_TOKENS) /* it was checked: the file has changed since */
        return loci_fail(err, LOCI_EFORMAT, "%s: group %lld: a chunk of %d tokens", s->path,
                         (long long)g, count);
    out->n_tokens = count;
    if (s->shape.d_summary) out->summary = (const int8_t *)column[4];
    if (s->shape.content_bits4) {
        out->packed = column[2];
        out->packed_scale = (const uint16_t *)(const void *)column[3];
    } else {
        out->content = (const int8_t *)column[0];
        out->content_scale = (const float *)(const void *)column[1];
    }
    return LOCI_OK;
}
