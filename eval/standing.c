/* standing.c - documents cut from a haystack's text, and the bank of them that stays.
 *
 * Whoever finds it whole reads it; whoever finds less takes the writer's lock and adds the rest, or
 * waits for the one who does.  Documents go in by thousands of chunks a transaction, from files, as a
 * user's folder would. */
#include "standing.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH_BYTES = 4 << 20, /* about a million tokens: what ingest commits at once */
    SLACK = 64             /* tokens: a text cut short may be tokenised otherwise at its end */
};

/* ---- documents ---------------------------------------------------------------------------- */
loci_status taker_open(taker *t, loci_engine *e, haystack *hay, size_t doc_bytes, loci_error *err)
{
    *t = (taker){ .hay = hay, .doc_bytes = doc_bytes };
    t->ids = malloc(doc_bytes * sizeof *t->ids);
    t->ends = malloc(doc_bytes * sizeof *t->ends);
    if (!t->ids || !t->ends)
        return set_error(err, LOCI_ENOMEM, "no memory for a document's tokens");
    return loci_encoder_open(&t->enc, loci_engine_tokenizer(e), err);
}

void taker_close(taker *t)
{
    loci_encoder_close(t->enc);
    free(t->ids);
    free(t->ends);
}

loci_status taker_next(taker *t, int64_t most, field_doc *d, int64_t *tokens, loci_error *err)
{
    d->text = malloc(t->doc_bytes + 1);
    if (!d->text) return set_error(err, LOCI_ENOMEM, "no memory for a document");
    size_t n = 0;
    d->bytes = haystack_take(t->hay, t->doc_bytes, d->text);
    const loci_status st =
        loci_encode(t->enc, d->text, d->bytes, t->ids, t->ends, t->doc_bytes, &n, err);
    if (st != LOCI_OK) return st;
    if ((int64_t)n > most) {
        size_t keep = t->ends[most - 1];
        keep -= utf8_open_tail(d->text, keep);
        haystack_untake(t->hay, d->bytes - keep);
        d->bytes = keep;
        n = (size_t)most;
    }
    *tokens = (int64_t)n;
    return LOCI_OK;
}

/* Room for one more document of f; NULL: no memory. */
static field_doc *more(field *f)
{
    if (f->n_docs == f->cap) {
        const int cap = f->cap ? 2 * f->cap : 64;
        field_doc *doc = realloc(f->doc, (size_t)cap * sizeof *doc);
        if (!doc) return NULL;
        f->doc = doc;
        f->cap = cap;
    }
    return &f->doc[f->n_docs];
}

/* ---- what is there ------------------------------------------------------------------------ */
typedef struct {
    field *f;
    taker *t;
    bool strange; /* the bank holds what this haystack does not */
    bool failed;  /* no memory */
} walk;

/* The bank's documents are the haystack's first ones, byte for byte as far as lengths tell: no need
 * to tokenise them again. */
static int same(void *ctx, const loci_bank_doc *have)
{
    walk *w = ctx;
    char name[32];
    field_doc *d = more(w->f);
    if (!d || !(d->text = malloc(w->t->doc_bytes + 1))) {
        w->failed = true;
        return 1;
    }
    d->bytes = haystack_take(w->t->hay, w->t->doc_bytes, d->text);
    w->f->n_docs++;
    w->strange = strcmp(have->name, field_name(w->f->n_docs - 1, name)) != 0 ||
                 have->bytes > (int64_t)d->bytes;
    if (!w->strange && have->bytes < (int64_t)d->bytes) { /* the last one, cut short */
        haystack_untake(w->t->hay, d->bytes - (size_t)have->bytes);
        d->bytes = (size_t)have->bytes;
    }
    return w->strange;
}

/* Documents that bank b has; *tokens of them. */
static loci_status recognise(field *f, taker *t, const loci_bank *b, const char *dir,
                             int64_t *tokens, loci_error *err)
{
    loci_bank_stat stat;
    walk w = { .f = f, .t = t };
    loci_status st = loci_bank_list(b, same, &w, err);
    if (st == LOCI_OK && w.failed)
        st = set_error(err, LOCI_ENOMEM, "no memory for %d documents", f->n_docs + 1);
    if (st == LOCI_OK && w.strange)
        st = set_error(err, LOCI_ESTATE,
                       "%s: document %d of the bank is not this haystack's, or of another size",
                       dir, f->n_docs);
    if (st == LOCI_OK) st = loci_bank_info(b, &stat, err);
    if (st == LOCI_OK) *tokens = stat.tokens;
    return st;
}

static void forget(field *f)
{
    for (int i = 0; i < f->n_docs; i++) free(f->doc[i].text);
    f->n_docs = 0;
}

/* ---- making it ---------------------------------------------------------------------------- */
static loci_status write_doc(const char *dir, const field *f, int i, loci_error *err)
{
    char path[PATH_MAX], name[32];
    if (snprintf(path, sizeof path, "%s/%s", dir, field_name(i, name)) >= (int)sizeof path)
        return set_error(err, LOCI_EINVAL, "%s: the name is too long", dir);
    FILE *out = fopen(path, "wb");
    if (!out) return set_error(err, LOCI_EIO, "%s", path);
    const bool whole = fwrite(f->doc[i].text, 1, f->doc[i].bytes, out) == f->doc[i].bytes;
    return fclose(out) == 0 && whole ? LOCI_OK : set_error(err, LOCI_EIO, "%s", path);
}

static void remove_docs(const char *dir, int from, int to)
{
    char path[PATH_MAX], name[32];
    for (int i = from; i < to; i++)
        if (snprintf(path, sizeof path, "%s/%s", dir, field_name(i, name)) < (int)sizeof path)
            unlink(path);
}

/* Add documents until the bank, which has *have tokens, has `tokens`. */
static loci_status add_rest(field *f, loci_bank *b, const field_options *o, taker *t, int64_t have,
                            int64_t tokens, loci_error *err)
{
    char dir[PATH_MAX];
    if (snprintf(dir, sizeof dir, "%s/documents", o->work) >= (int)sizeof dir)
        return set_error(err, LOCI_EINVAL, "%s: the name is too long", o->work);
    const char *const path = dir;
    const loci_ingest_options opt = loci_ingest_options_default();
    loci_status st = make_folder(dir, err);
    int64_t read = 0;
    double seconds = 0.0;
    progress_bar bar;
    progress_begin(&bar, "making the haystack", "tokens", 1.0, o->quiet);
    while (st == LOCI_OK && have < tokens) {
        const int from = f->n_docs;
        loci_ingest_report r = { 0 };
        for (size_t bytes = 0; st == LOCI_OK && bytes < BATCH_BYTES && have < tokens;) {
            field_doc *d = more(f);
            int64_t got = 0;
            if (!d) return set_error(err, LOCI_ENOMEM, "no memory for %d documents", f->n_docs + 1);
            *d = (field_doc){ 0 };
            f->n_docs++;
            st = taker_next(t, tokens - have, d, &got, err);
            if (st == LOCI_OK) st = write_doc(dir, f, f->n_docs - 1, err);
            have += got;
            bytes += d->bytes;
        }
        if (st == LOCI_OK) st = loci_bank_ingest(b, &path, 1, &opt, &r, err);
        remove_docs(dir, from, f->n_docs);
        read += r.tokens;
        seconds += r.seconds;
        if (st == LOCI_OK && progress_show(&bar, have, tokens))
            st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    progress_end(&bar);
    if (seconds > 0.0) f->ingest_tokens_per_second = (double)read / seconds;
    return st;
}

static loci_status nap(loci_error *err)
{
    const struct timespec wait = { .tv_nsec = 100000000 };
    nanosleep(&wait, NULL);
    return interrupted() ? set_error(err, LOCI_ECANCEL, "interrupted") : LOCI_OK;
}

/* One look: *whole when f->bank[0] is open for reading with all of it in it. */
static loci_status look(field *f, loci_engine *e, const field_options *o, taker *t, int64_t tokens,
                        bool *whole, loci_error *err)
{
    loci_bank *b = NULL;
    int64_t have = 0;
    *whole = false;
    const haystack before = *t->hay;
    /* Not there, or somebody is just beginning it: who tries to write will see. */
    if (loci_bank_open(&b, e, o->keep, LOCI_BANK_READ, NULL) != LOCI_OK) return LOCI_OK;
    loci_bank_stat stat;
    loci_status st = loci_bank_info(b, &stat, err);
    const bool enough = st == LOCI_OK && stat.tokens + SLACK >= tokens;
    if (enough) st = recognise(f, t, b, o->keep, &have, err); /* who waits looks often */
    if (enough && st == LOCI_OK) {
        f->bank[f->n_banks++] = b;
        *whole = true;
        return LOCI_OK;
    }
    loci_bank_close(b);
    forget(f);
    *t->hay = before; /* taken again */
    return st;
}

/* One try to write: LOCI_OK also when somebody else is writing. */
static loci_status extend(field *f, loci_engine *e, const field_options *o, taker *t,
                          int64_t tokens, loci_error *err)
{
    loci_bank *b = NULL;
    loci_error busy = { 0 };
    int64_t have = 0;
    const haystack before = *t->hay;
    loci_status st = loci_bank_open(&b, e, o->keep, LOCI_BANK_CREATE, &busy);
    if (st == LOCI_EBUSY) return nap(err);
    if (st != LOCI_OK) {
        *err = busy;
        return st;
    }
    st = recognise(f, t, b, o->keep, &have, err);
    if (st == LOCI_OK && have + SLACK < tokens) st = add_rest(f, b, o, t, have, tokens, err);
    loci_bank_close(b);
    forget(f);
    *t->hay = before;
    return st;
}

loci_status standing_open(field *f, loci_engine *e, const field_options *o, taker *t,
                          int64_t tokens, loci_error *err)
{
    bool whole = false;
    loci_bank_stat stat;
    loci_status st = look(f, e, o, t, tokens, &whole, err);
    while (st == LOCI_OK && !whole) {
        st = extend(f, e, o, t, tokens, err);
        if (st == LOCI_OK) st = look(f, e, o, t, tokens, &whole, err);
    }
    if (st == LOCI_OK) st = loci_bank_info(f->bank[0], &stat, err);
    if (st != LOCI_OK) return st;
    f->tokens += stat.tokens;
    if (stat.tokens > 0) f->bytes_per_token = (double)stat.disk_bytes / (double)stat.tokens;
    return LOCI_OK;
}
