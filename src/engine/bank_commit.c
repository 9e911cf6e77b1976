/* bank_commit.c - a finished segment and its documents become part of the bank, with their roots.
 *
 * Roots are made here, from the file that was just written, and not while chunks go by: it is what
 * everybody else makes them of, documents may be of any length, and the landmarks, 4 MB a million
 * tokens, are still in the system's memory. */
#include "engine/bank_impl.h"
#include <stdlib.h>

/* Roots of the documents that are long enough into root (n, d_landmark), which they borrow. */
static loci_status make_roots(const loci_bank *b, const loci_segment_row *seg, loci_doc_row *docs,
                              int64_t n, float *root, loci_error *err)
{
    char path[4096];
    loci_segment *s;
    loci_status st = loci_path_join(path, sizeof path, b->dir, seg->file, err);
    if (st == LOCI_OK) st = loci_segment_open(&s, path, &b->shape, err);
    if (st != LOCI_OK) return st;
    loci_segment_read_content(s); /* as of a large bank: what was read does not stay mapped */
    for (int64_t i = 0; i < n && st == LOCI_OK; i++, root += b->shape.d_landmark) {
        if (docs[i].chunks < LOCI_ROOT_CHUNKS) continue;
        st = loci_segment_root(s, docs[i].first_chunk, docs[i].chunks, root, err);
        docs[i].root = root;
        docs[i].d_root = b->shape.d_landmark;
    }
    loci_segment_close(s);
    return st;
}

loci_status loci_bank_commit(loci_bank *b, const loci_segment_row *seg, loci_doc_row *docs,
                             int64_t n_docs, const loci_doc_row *touch, int64_t n_touch,
                             loci_error *err)
{
    char **files = NULL;
    bool any = false;
    float *root = NULL;
    loci_status st = LOCI_OK;
    for (int64_t i = 0; seg && i < n_docs; i++) any = any || docs[i].chunks >= LOCI_ROOT_CHUNKS;
    if (any) {
        root = malloc((size_t)n_docs * (size_t)b->shape.d_landmark * sizeof *root);
        st = root ? make_roots(b, seg, docs, n_docs, root, err)
                  : loci_fail(err, LOCI_ENOMEM, "no memory for the roots of %lld documents",
                              (long long)n_docs);
    }
    if (st == LOCI_OK)
        st = loci_catalog_commit(b->catalog, seg, docs, n_docs, touch, n_touch, &files, err);
    for (int64_t i = 0; i < n_docs; i++) docs[i].root = NULL;
    free(root);
    loci_bank_drop_files(b, files);
    return st;
}
