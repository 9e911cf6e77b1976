/* field.c - the banks of an evaluation: facts go into documents of their own, asked together with a
 * haystack, which standing.c makes. */
#include "field.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "standing.h"

enum {
    SPARE = 64, /* texts for facts, at least: every item has its own surroundings */
    LEAST = 256 /* tokens that are worth a haystack */
};

const char *field_name(int i, char out[32])
{
    snprintf(out, 32, "haystack-%05d.txt", i);
    return out;
}

/* ---- opening ------------------------------------------------------------------------------ */
/* Texts for facts, of at most `most` tokens; *mean: tokens of one. */
static loci_status take_spare(field *f, taker *t, int n, int64_t most, int64_t *mean,
                              loci_error *err)
{
    int64_t tokens = 0;
    f->spare = calloc((size_t)n, sizeof *f->spare);
    if (!f->spare) return set_error(err, LOCI_ENOMEM, "no memory for %d documents", n);
    loci_status st = LOCI_OK;
    while (f->n_spare < n && st == LOCI_OK) {
        int64_t got = 0;
        st = taker_next(t, most, &f->spare[f->n_spare], &got, err);
        if (st == LOCI_OK) f->n_spare++;
        tokens += got;
    }
    *mean = f->n_spare > 0 ? tokens / f->n_spare : 0;
    return st;
}

/* How many documents for facts there is room for, their texts, and what is left for the haystack. */
static loci_status divide(field *f, taker *t, const field_options *o, int64_t *left,
                          loci_error *err)
{
    *left = 0;
    f->n_slots = 1;
    if (o->tokens == 0) { /* an item alone is the whole bank */
        f->spare = calloc(1, sizeof *f->spare);
        if (!f->spare || !(f->spare[0].text = calloc(1, 1)))
            return set_error(err, LOCI_ENOMEM, "no memory for a document");
        f->n_spare = 1;
        return LOCI_OK;
    }
    int64_t mean = 0;
    const int n = o->spread > SPARE ? o->spread : SPARE;
    const loci_status st = take_spare(f, t, n, o->tokens, &mean, err);
    if (st != LOCI_OK) return st;
    const int64_t room = mean > 0 ? o->tokens / mean : 1;
    f->n_slots = room < 1 ? 1 : room < o->spread ? (int)room : o->spread;
    f->tokens = f->n_slots * mean;
    *left = o->tokens - f->tokens;
    if (*left < LEAST) *left = 0;
    return LOCI_OK;
}

static loci_status open_facts(field *f, loci_engine *e, const field_options *o, loci_error *err)
{
    char dir[PATH_MAX];
    f->held = malloc((size_t)f->n_slots * sizeof *f->held);
    if (!f->held) return set_error(err, LOCI_ENOMEM, "no memory for %d documents", f->n_slots);
    for (int i = 0; i < f->n_slots; i++) f->held[i] = -1;
    if (snprintf(dir, sizeof dir, "%s/facts", o->work) >= (int)sizeof dir)
        return set_error(err, LOCI_EINVAL, "%s: the name is too long", o->work);
    const loci_status st = loci_bank_open(&f->bank[f->n_banks], e, dir, LOCI_BANK_CREATE, err);
    f->n_banks += st == LOCI_OK;
    return st;
}

loci_status field_open(field *f, loci_engine *e, const field_options *o, haystack *hay,
                       loci_error *err)
{
    memset(f, 0, sizeof *f);
    f->doc_bytes = o->doc_bytes;
    const size_t filler = hay->filler_bytes;
    int64_t left = 0;
    taker t;
    loci_status st = taker_open(&t, e, hay, o->doc_bytes, err);
    if (st == LOCI_OK) st = divide(f, &t, o, &left, err);
    if (st == LOCI_OK && left > 0) st = standing_open(f, e, o, &t, left, err);
    taker_close(&t);
    if (st == LOCI_OK) st = open_facts(f, e, o, err);
    size_t bytes = 0;
    for (int i = 0; i < f->n_docs; i++) bytes += f->doc[i].bytes;
    for (int i = 0; i < f->n_spare; i++) bytes += f->spare[i].bytes;
    if (bytes > 0) f->filler_share = (double)(hay->filler_bytes - filler) / (double)bytes;
    return st;
}

void field_close(field *f)
{
    for (int i = 0; i < f->n_docs; i++) free(f->doc[i].text);
    for (int i = 0; i < f->n_spare; i++) free(f->spare[i].text);
    free(f->doc);
    free(f->spare);
    free(f->held);
    for (int i = 0; i < f->n_banks; i++) loci_bank_close(f->bank[i]);
    memset(f, 0, sizeof *f);
}

/* ---- facts -------------------------------------------------------------------------------- */
/* The spare text of slot s: different ones for the slots of an item. */
static int choice(const field *f, uint64_t seed, int s)
{
    return (int)((seed_of(seed, 0x7465787473u) % (uint64_t)f->n_spare + (uint64_t)s) %
                 (uint64_t)f->n_spare);
}

int field_subject(const field *f, uint64_t seed, const field_doc **d)
{
    const int i = f->n_docs > 0 ? (int)(seed_of(seed, 0) % (uint64_t)f->n_docs) : 0;
    *d = f->n_docs > 0 ? &f->doc[i] : &f->spare[choice(f, seed, 0)];
    return i;
}

/* Document of slot s: `text`, which holds facts or is spare text `plain`. */
static loci_status put(field *f, int s, const char *text, size_t bytes, int plain, loci_error *err)
{
    char name[32];
    loci_ingest_report r;
    loci_bank_stat stat = { 0 };
    loci_bank *b = f->bank[f->n_banks - 1];
    f->held[s] = -1;
    loci_status st = loci_bank_add(b, field_name(f->n_docs + s, name), text, bytes, &r, err);
    if (st != LOCI_OK) return st;
    f->held[s] = plain;
    if (f->bytes_per_token == 0.0) {
        st = loci_bank_info(b, &stat, err);
        if (stat.tokens > 0) f->bytes_per_token = (double)stat.disk_bytes / (double)stat.tokens;
        if (f->tokens == 0) f->tokens = stat.tokens; /* an item alone: what the first one has */
        if (f->n_banks == 1 && r.seconds > 0.0)
            f->ingest_tokens_per_second = (double)r.tokens / r.seconds;
    }
    return st;
}

/* Weave the facts of `part` into slot s; which[k] is the index of part's fact k in the item. */
static loci_status hide_in(field *f, int s, const loci_task_item *part, const int *which,
                           uint64_t seed, fact_place *where, loci_error *err)
{
    const int chosen = choice(f, seed, s);
    const field_doc *d = &f->spare[chosen];
    const size_t n = (size_t)part->n_facts;
    if (n == 0) return f->held[s] == chosen ? LOCI_OK : put(f, s, d->text, d->bytes, chosen, err);
    const uint64_t own = seed_of(seed, 1000 + (uint64_t)s);
    size_t *place = malloc(n * sizeof *place), *at = malloc(n * sizeof *at), bytes = 0;
    char *text = NULL;
    loci_status st = place && at
                         ? loci_task_place(part, d->text, d->bytes, 0.0, 1.0, own, place, err)
                         : set_error(err, LOCI_ENOMEM, "no memory for %zu places", n);
    if (st == LOCI_OK) st = weave(part, d->text, d->bytes, place, &text, &bytes, at, err);
    if (st == LOCI_OK) st = put(f, s, text, bytes, -1, err);
    for (size_t k = 0; st == LOCI_OK && k < n; k++)
        where[which[k]] = (fact_place){ f->n_docs + s, at[k], at[k] + (size_t)part->fact[k].len };
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

loci_status field_hide(field *f, const loci_task_item *item, uint64_t seed, fact_place *where,
                       loci_error *err)
{
    int *which = malloc(((size_t)item->n_facts + 1) * sizeof *which);
    loci_fact *fact = malloc(((size_t)item->n_facts + 1) * sizeof *fact);
    loci_status st = which && fact ? LOCI_OK : set_error(err, LOCI_ENOMEM, "no memory for facts");
    for (int s = 0; s < f->n_slots && st == LOCI_OK; s++) {
        loci_task_item part = { .fact = fact };
        for (int i = 0; i < item->n_facts; i++) {
            if (part_of(item, i, f->n_slots, seed) != s) continue;
            which[part.n_facts] = i;
            fact[part.n_facts++] = item->fact[i];
        }
        st = hide_in(f, s, &part, which, seed, where, err);
    }
    free(which);
    free(fact);
    return st;
}
