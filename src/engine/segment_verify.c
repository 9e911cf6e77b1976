/* segment_verify.c - all of a segment file: every checksum, postings against the ids that they were
 * made of, and what its bytes are for. */
#include "engine/segment_impl.h"

/* ---- sizes --------------------------------------------------------------------------------------- */
void loci_segment_sizes(const loci_segment *s, int64_t bytes[LOCI_BANK_PARTS])
{
    static const loci_bank_part part[SEG_COLUMNS_USED] = {
        [COL_CODES] = LOCI_BANK_CODES,
        [COL_LANDMARKS] = LOCI_BANK_LANDMARKS,
        [COL_LANDMARK_SCALES] = LOCI_BANK_LANDMARKS,
        [COL_BIAS] = LOCI_BANK_LANDMARKS,
        [COL_COUNTS] = LOCI_BANK_PLACES,
        [COL_CONTENT] = LOCI_BANK_CONTENT,
        [COL_CONTENT_SCALES] = LOCI_BANK_CONTENT,
        [COL_IDS] = LOCI_BANK_IDS,
        [COL_BYTE_STARTS] = LOCI_BANK_PLACES,
        [COL_LINE_STARTS] = LOCI_BANK_PLACES,
        [COL_SUMMARIES] = LOCI_BANK_SUMMARIES,
        [COL_SUMMARY_SCALES] = LOCI_BANK_SUMMARIES,
        [COL_PACKED] = LOCI_BANK_CONTENT,
        [COL_PACKED_SCALES] = LOCI_BANK_CONTENT,
        [COL_POSTINGS] = LOCI_BANK_POSTINGS,
    };
    int64_t named = 0;
    for (int64_t g = 0; g < loci_seg_groups(s); g++)
        for (int c = 0; c < SEG_COLUMNS_USED; c++) {
            bytes[part[c]] += (int64_t)loci_seg_column_bytes(s, g, c);
            named += (int64_t)loci_seg_column_bytes(s, g, c);
        }
    bytes[LOCI_BANK_TABLES] += loci_seg_file_bytes(s) - named;
}

/* The block against the ids that it was made of. */
static loci_status check_postings(loci_segment *s, const char *path, int64_t i,
                                  loci_postings_builder *b, loci_error *err)
{
    const uint8_t *block;
    int64_t chunks;
    loci_chunk_view v;
    loci_error local = { 0 };
    loci_status st = loci_segment_postings(s, i, &block, &chunks, err);
    for (int64_t c = 0; c < chunks && st == LOCI_OK; c++) {
        int32_t ids[SEG_CHUNK_TOKENS];
        st = loci_segment_chunk(s, i * LOCI_POSTINGS_CHUNKS + c, false, &v, err);
        if (st != LOCI_OK) return st;
        for (int k = 0; k < v.n_tokens; k++)
            ids[k] = seg_id(&v, loci_segment_shape_of(s)->id_bytes, k);
        st = loci_postings_add(b, ids, v.n_tokens, 0, err);
    }
    if (st != LOCI_OK || loci_postings_check(b, block, &local) == LOCI_OK) return st;
    const int64_t g = loci_seg_postings_group(s, i);
    return loci_fail(err, local.code, "%s: group %lld, column postings at offset %zu: %s", path,
                     (long long)g, loci_seg_column_offset(s, g, COL_POSTINGS), local.text);
}

/* ---- verify ------------------------------------------------------------------------------------- */
static void note_bad(int64_t *bad, char *first_bad, size_t size, const char *text)
{
    if ((*bad)++ == 0 && first_bad && size > 0) snprintf(first_bad, size, "%s", text);
}

loci_status loci_segment_verify(const char *path, int64_t *blocks, int64_t *bad, char *first_bad,
                                size_t first_bad_size, loci_error *err)
{
    loci_segment *s;
    loci_error local = { 0 };
    *blocks = *bad = 0;
    if (first_bad && first_bad_size > 0) *first_bad = '\0';
    const loci_status opened = loci_segment_open(&s, path, NULL, &local);
    *blocks = 2; /* the header; table and trailer */
    if (opened != LOCI_OK) {
        note_bad(bad, first_bad, first_bad_size, local.text);
        return loci_fail(err, opened, "%s", local.text);
    }
    for (int64_t g = 0; g < loci_seg_groups(s); g++)
        for (int c = 0; c < SEG_COLUMNS_USED; c++) {
            local = (loci_error){ 0 };
            if (loci_seg_column_bytes(s, g, c) == 0) continue;
            ++*blocks;
            if (loci_seg_check_column(s, g, c, &local) == LOCI_OK) continue;
            note_bad(bad, first_bad, first_bad_size, local.text);
            loci_fail(err, LOCI_EFORMAT, "%s", local.text);
        }
    /* What the bytes mean is worth a look only where the bytes are right. */
    loci_postings_builder *b = NULL;
    loci_status st = *bad ? LOCI_EFORMAT : LOCI_OK;
    if (st == LOCI_OK && loci_segment_shape_of(s)->postings) st = loci_postings_open(&b, err);
    for (int64_t i = 0; st == LOCI_OK && b && i < loci_segment_postings_blocks(s); i++) {
        local = (loci_error){ 0 };
        st = check_postings(s, path, i, b, &local);
        if (st == LOCI_EFORMAT) note_bad(bad, first_bad, first_bad_size, local.text);
        if (st != LOCI_OK) loci_fail(err, st, "%s", local.text);
    }
    loci_postings_close(b);
    loci_segment_close(s);
    return st;
}
