/* field.c - a bank of haystack documents into which facts are put and taken out again.
 *
 * A document is one file's worth of text, so that hiding facts re-reads some documents and not the
 * whole bank.  A document that was re-read counts as the latest in the bank's order. */
#include "field.h"
#include <stdlib.h>
#include <string.h>

const char *field_name(int i, char out[32])
{
    snprintf(out, 32, "haystack-%05d.txt", i);
    return out;
}

/* ---- making ------------------------------------------------------------------------------- */
/* The next document: doc_bytes of the haystack, or what `left` tokens allow. */
static loci_status next_doc(field *f, haystack *hay, loci_encoder *enc, int32_t *ids,
                            uint32_t *ends, int64_t left, loci_error *err)
{
    if (f->n_docs == f->cap) {
        const int cap = f->cap ? 2 * f->cap : 64;
        field_doc *more = realloc(f->doc, (size_t)cap * sizeof *more);
        if (!more) return set_error(err, LOCI_ENOMEM, "no memory for %d documents", cap);
        f->doc = more;
        f->cap = cap;
    }
    char *text = malloc(f->doc_bytes + 1);
    if (!text) return set_error(err, LOCI_ENOMEM, "no memory for a document");
    size_t bytes = haystack_take(hay, f->doc_bytes, text), n = 0;
    const loci_status st = loci_encode(enc, text, bytes, ids, ends, f->doc_bytes, &n, err);
    if (st != LOCI_OK) {
        free(text);
        return st;
    }
    if ((int64_t)n > left) {
        size_t keep = ends[left - 1];
        keep -= utf8_open_tail(text, keep);
        haystack_untake(hay, bytes - keep);
        bytes = keep;
        n = (size_t)left;
    }
    f->doc[f->n_docs++] = (field_doc){ .text = text, .bytes = bytes };
    f->tokens += (int64_t)n;
    return LOCI_OK;
}

static loci_status fill(field *f, int64_t tokens, haystack *hay, loci_encoder *enc, bool quiet,
                        loci_error *err)
{
    int32_t *ids = malloc(f->doc_bytes * sizeof *ids);
    uint32_t *ends = malloc(f->doc_bytes * sizeof *ends);
    loci_status st =
        ids && ends ? LOCI_OK : set_error(err, LOCI_ENOMEM, "no memory for a document's tokens");
    char name[32];
    int64_t read = 0;
    double seconds = 0.0;
    progress_bar bar;
    progress_begin(&bar, "making the haystack", "tokens", 1.0, quiet);
    while (st == LOCI_OK && f->tokens < tokens) {
        loci_ingest_report r = { 0 };
        st = next_doc(f, hay, enc, ids, ends, tokens - f->tokens, err);
        if (st != LOCI_OK) break;
        const field_doc *d = &f->doc[f->n_docs - 1];
        st = loci_bank_add(f->bank, field_name(f->n_docs - 1, name), d->text, d->bytes, &r, err);
        read += r.tokens;
        seconds += r.seconds;
        if (st == LOCI_OK && progress_show(&bar, f->tokens, tokens))
            st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    progress_end(&bar);
    if (seconds > 0.0) f->ingest_tokens_per_second = (double)read / seconds;
    free(ids);
    free(ends);
    return st;
}

/* A document without text, which the bank gets with its first facts. */
static loci_status empty_doc(field *f, loci_error *err)
{
    f->doc = calloc(1, sizeof *f->doc);
    char *text = calloc(1, 1);
    if (!f->doc || !text) {
        free(text);
        return set_error(err, LOCI_ENOMEM, "no memory for a document");
    }
    f->doc[0].text = text;
    f->n_docs = f->cap = 1;
    return LOCI_OK;
}

loci_status field_open(field *f, loci_engine *e, const char *dir, int64_t tokens, size_t doc_bytes,
                       haystack *hay, bool quiet, loci_error *err)
{
    memset(f, 0, sizeof *f);
    f->doc_bytes = doc_bytes;
    const size_t filler = hay->filler_bytes;
    loci_encoder *enc = NULL;
    loci_bank_stat stat = { 0 };
    loci_status st = loci_bank_open(&f->bank, e, dir, LOCI_BANK_CREATE, err);
    if (st == LOCI_OK) st = loci_encoder_open(&enc, loci_engine_tokenizer(e), err);
    if (st == LOCI_OK) st = tokens > 0 ? fill(f, tokens, hay, enc, quiet, err) : empty_doc(f, err);
    loci_encoder_close(enc);
    if (st == LOCI_OK) st = loci_bank_info(f->bank, &stat, err);
    if (st == LOCI_OK && tokens > 0 && stat.documents != f->n_docs)
        st = set_error(err, LOCI_ESTATE, "%s: holds %lld documents, %d of them are this haystack's",
                       dir, (long long)stat.documents, f->n_docs);
    if (st == LOCI_OK) f->tokens = stat.tokens;
    if (stat.tokens > 0) f->bytes_per_token = (double)stat.disk_bytes / (double)stat.tokens;
    size_t bytes = 0;
    for (int i = 0; i < f->n_docs; i++) bytes += f->doc[i].bytes;
    if (bytes > 0) f->filler_share = (double)(hay->filler_bytes - filler) / (double)bytes;
    return st;
}

void field_close(field *f)
{
    for (int i = 0; i < f->n_docs; i++) free(f->doc[i].text);
    free(f->doc);
    loci_bank_close(f->bank);
    memset(f, 0, sizeof *f);
}

/* ---- facts in, facts out ------------------------------------------------------------------ */
static loci_status restore_doc(field *f, int i, loci_error *err)
{
    char name[32];
    loci_ingest_report r;
    if (!f->doc[i].holds_facts || f->doc[i].bytes == 0) return LOCI_OK;
    const loci_status st =
        loci_bank_add(f->bank, field_name(i, name), f->doc[i].text, f->doc[i].bytes, &r, err);
    if (st == LOCI_OK) f->doc[i].holds_facts = false;
    return st;
}

loci_status field_restore(field *f, loci_error *err)
{
    loci_status st = LOCI_OK;
    for (int i = 0; i < f->n_docs && st == LOCI_OK; i++) st = restore_doc(f, i, err);
    return st;
}

/* Weave the facts of `part` into document i; which[k] is the index of part's fact k in the item. */
static loci_status hide_in(field *f, int i, const loci_task_item *part, const int *which,
                           uint64_t seed, fact_place *where, loci_error *err)
{
    const field_doc *d = &f->doc[i];
    const size_t n = (size_t)part->n_facts;
    size_t *place = malloc((n + 1) * sizeof *place), *at = malloc((n + 1) * sizeof *at), bytes = 0;
    char *text = NULL, name[32];
    loci_ingest_report r;
    loci_status st = place && at
                         ? loci_task_place(part, d->text, d->bytes, 0.0, 1.0, seed, place, err)
                         : set_error(err, LOCI_ENOMEM, "no memory for %zu places", n);
    if (st == LOCI_OK) st = weave(part, d->text, d->bytes, place, &text, &bytes, at, err);
    if (st == LOCI_OK) {
        f->doc[i].holds_facts =
            true; /* also if the call below stops halfway: then it is restored */
        st = loci_bank_add(f->bank, field_name(i, name), text, bytes, &r, err);
    }
    for (size_t k = 0; st == LOCI_OK && k < n; k++)
        where[which[k]] = (fact_place){ i, at[k], at[k] + (size_t)part->fact[k].len };
    free(text);
    free(place);
    free(at);
    return st;
}

/* Which of n documents takes fact i: groups are kept together; an item of one group, a story, is told
 * over all of them in its order. */
static int part_of(const loci_task_item *item, int i, int n, uint64_t seed)
{
    const int group = item->fact[i].group;
    bool one = true;
    for (int k = 0; k < item->n_facts && one; k++) one = item->fact[k].group == group;
    if (one) return (int)((int64_t)i * n / item->n_facts);
    return (int)(seed_of(seed ^ 0x67726F7570u, (uint64_t)(uint32_t)group) % (uint64_t)n);
}

loci_status field_hide(field *f, const loci_task_item *item, int spread, uint64_t seed,
                       fact_place *where, loci_error *err)
{
    const int n = spread < f->n_docs ? spread : f->n_docs;
    int *chosen = malloc((size_t)n * sizeof *chosen),
        *which = malloc(((size_t)item->n_facts + 1) * sizeof *which);
    loci_fact *fact = malloc(((size_t)item->n_facts + 1) * sizeof *fact);
    loci_status st =
        chosen && which && fact ? LOCI_OK : set_error(err, LOCI_ENOMEM, "no memory for facts");
    /* One document from each of n equal stretches of the bank: every depth has its turn. */
    for (int s = 0; st == LOCI_OK && s < n; s++) {
        const int64_t lo = (int64_t)s * f->n_docs / n, hi = (int64_t)(s + 1) * f->n_docs / n;
        chosen[s] = (int)(lo + (int64_t)(seed_of(seed, (uint64_t)s) % (uint64_t)(hi - lo)));
    }
    for (int i = 0; i < f->n_docs && st == LOCI_OK; i++) {
        bool again = false;
        for (int s = 0; s < n; s++) again = again || chosen[s] == i;
        if (!again) st = restore_doc(f, i, err);
    }
    for (int s = 0; s < n && st == LOCI_OK; s++) {
        loci_task_item part = { .fact = fact };
        for (int i = 0; i < item->n_facts; i++) {
            if (part_of(item, i, n, seed) != s) continue;
            which[part.n_facts] = i;
            fact[part.n_facts++] = item->fact[i];
        }
        st = part.n_facts > 0 ? hide_in(f, chosen[s], &part, which,
                                        seed_of(seed, 1000 + (uint64_t)s), where, err)
                              : restore_doc(f, chosen[s], err);
    }
    free(chosen);
    free(which);
    free(fact);
    return st;
}
