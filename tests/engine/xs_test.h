/* xs_test.h - what the tests of ingest and asking share: the small model XS, a folder of files, a
 * bank of them, the text that a bank holds. */
#ifndef XS_TEST_H
#define XS_TEST_H

#include "engine/bank_test.h"
#include "temp_dir.h"

#define XS_MODEL "tests/models/loci-xs"

static char root[TEMP_PATH]; /* a folder of the test; all below it goes at the end */

/* `name` below root: one of eight buffers in turn. */
static inline char *at_root(const char *name)
{
    static char path[8][TEMP_PATH + 300];
    static int turn;
    char *p = path[turn = (turn + 1) % 8];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static inline void root_make(void)
{
    assert_true(temp_dir_make(root));
}

static inline void put(const char *name, const char *text)
{
    write_bytes(at_root(name), text, strlen(text));
}

/* n bytes of numbered lines; owned. */
static inline char *long_text(size_t n)
{
    char *s = malloc(n + 1);
    assert_non_null(s);
    size_t at = 0;
    for (int i = 0; at < n; i++)
        at += (size_t)snprintf(s + at, n + 1 - at, "Line %d of a file that is long.\r\n", i);
    return s;
}

static inline loci_engine *xs_open(int threads)
{
    loci_error err;
    loci_engine *e;
    loci_engine_options o = loci_engine_options_default();
    o.model_dir = XS_MODEL;
    o.threads = threads;
    OK(loci_engine_open(&e, &o, &err));
    return e;
}

static inline loci_bank *bank_open(loci_engine *e, const char *dir, loci_bank_mode mode)
{
    loci_error err;
    loci_bank *b;
    OK(loci_bank_open(&b, e, dir, mode, &err));
    return b;
}

static inline loci_ingest_report ingest(loci_bank *b, const char *path)
{
    loci_error err;
    loci_ingest_report r;
    OK(loci_bank_ingest(b, &path, 1, NULL, &r, &err));
    return r;
}

/* Row of a document, or NULL. */
static inline const loci_doc_row *row_of(const loci_bank *b, const char *name)
{
    for (int64_t i = 0; i < b->n_docs; i++)
        if (strcmp(b->doc[i].name, name) == 0) return &b->doc[i];
    return NULL;
}

/* Does the bank hold exactly these bytes under this name? */
static inline void assert_holds(const loci_bank *b, const char *name, const void *want, size_t n)
{
    loci_error err;
    char *text;
    size_t len;
    const loci_doc_row *row = row_of(b, name);
    if (!row) fail_msg("%s is not in the bank", name);
    OK(loci_bank_text(b, row, 0, row->chunks, &text, &len, &err));
    if (len != n || memcmp(text, want, n) != 0)
        fail_msg("%s: %zu bytes went in, %zu came out or differ", name, n, len);
    assert_int_equal(row->bytes, n);
    free(text);
}

#endif
