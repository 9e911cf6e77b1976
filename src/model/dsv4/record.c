/* record.c - what a sequence carries between tokens, as one run of bytes, at any position.
 *
 * A record holds what is not in whole blocks: the ids and entries of the unfinished block, the raw
 * entries of the window, the projections that later entries still pool, and for drafting the streams
 * of the last position.  Writing and reading walk the same list of pieces, so they cannot drift
 * apart.  Numbers are little-endian, as every machine that this is built for has them.
 *
 *   record  0  8  "LDSV4REC"            24  8  positions that the MTP block has seen
 *           8  4  version 1             32 16  fingerprint of model and mode
 *          12  4  1: has MTP, else 0    48  8  bytes of the body
 *          16  8  position t            56  8  XXH3-64 of the body
 *          64     body: ids of the unfinished block, then layer by layer its entries and groups of
 *                 keys, min(t, window) raw entries oldest first, min(t, 2r or r) rows of K and of Z
 *                 oldest first (main, then indexer); with MTP the (n, D) streams of position t-1 */
#include "model/dsv4/dsv4_impl.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "records are written as they lie in memory");

typedef void piece_fn(void *ctx, void *data, size_t bytes);

/* ---- the list of pieces ------------------------------------------------------------------------ */

static void walk_rows(const loci_dsv4_rows *r, int keep, size_t row, int64_t t, piece_fn *fn,
                      void *ctx)
{
    for (int part = 0; part < 2; part++)
        for (int64_t p = t > keep ? t - keep : 0; p < t; p++)
            fn(ctx, (part ? r->z : r->k) + (size_t)(p % r->slots) * row, row * sizeof(float));
}

static void walk_layer(const loci_dsv4_seq *s, int l, int64_t t, piece_fn *fn, void *ctx)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const loci_dsv4_layer_shape *y = &hp->layer[l];
    const loci_dsv4_layout *lay = &s->m->lay;
    const loci_dsv4_carry *c = &s->carry[l];
    const int64_t n = y->ratio > 0 ? t % lay->block_tokens / y->ratio : 0;
    if (n > 0) {
        const int64_t first = t / lay->block_tokens * (lay->block_tokens / y->ratio);
        fn(ctx, dsv4_entry_at(s, l, first), (size_t)n * lay->entry_bytes);
        const size_t groups = (size_t)(n + DSV4_GROUP - 1) / DSV4_GROUP;
        if (y->indexer) fn(ctx, dsv4_keys_at(s, l, first), groups * DSV4_GROUP * lay->key_bytes);
    }
    for (int64_t p = t > hp->window ? t - hp->window : 0; p < t; p++)
        fn(ctx, c->ring + (size_t)(p % s->ring_slots) * lay->entry_bytes, lay->entry_bytes);
    const int copies = y->overlap ? 2 : 1;
    if (y->ratio > 0)
        walk_rows(&c->main, copies * y->ratio, (size_t)(copies * hp->head_dim), t, fn, ctx);
    if (y->indexer) walk_rows(&c->index, 2 * y->ratio, 2 * (size_t)hp->index_dim, t, fn, ctx);
}

static void walk(const loci_dsv4_seq *s, int64_t t, piece_fn *fn, void *ctx)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const int64_t whole = dsv4_whole_blocks(s->m, t) * s->m->lay.block_tokens;
    const size_t streams = (size_t)hp->streams * (size_t)hp->hidden;
    if (t == 0) return;
    fn(ctx, s->ids + whole, (size_t)(t - whole) * sizeof *s->ids);
    for (int l = 0; l < hp->n_layers + hp->n_mtp; l++) walk_layer(s, l, t, fn, ctx);
    if (hp->n_mtp > 0)
        fn(ctx, s->sc.x + (size_t)(t - 1 - s->x_pos) * streams, streams * sizeof(float));
}

int64_t dsv4_whole_blocks(const loci_dsv4 *m, int64_t t)
{
    return m->lay.block_bytes > 0 ? t / m->lay.block_tokens : 0;
}

/* ---- a buffer that pieces are copied to or from ----------------------------------------------- */

typedef struct {
    uint8_t *at;
} cursor;

static void measure(void *ctx, void *data, size_t bytes)
{
    (void)data;
    *(size_t *)ctx += bytes;
}

static void copy_out(void *ctx, void *data, size_t bytes)
{
    cursor *c = ctx;
    memcpy(c->at, data, bytes);
    c->at += bytes;
}

static void copy_in(void *ctx, void *data, size_t bytes)
{
    cursor *c = ctx;
    memcpy(data, c->at, bytes);
    c->at += bytes;
}

/* ---- the header ------------------------------------------------------------------------------------ */

typedef struct {
    char magic[8];
    uint32_t version, has_mtp;
    int64_t position, mtp_n;
    uint8_t fingerprint[16];
    uint64_t body, sum;
} header;

_Static_assert(sizeof(header) == 64, "the table above");

static const char magic[8] = { 'L', 'D', 'S', 'V', '4', 'R', 'E', 'C' };

loci_status dsv4_record_make(const loci_dsv4_seq *s, const uint8_t fingerprint[16],
                             unsigned char **out, size_t *bytes, loci_error *err)
{
    size_t body = 0;
    *out = NULL;
    *bytes = 0;
    if (s->m->hp.n_mtp > 0 && s->n > 0 && s->n - 1 < s->x_pos)
        return loci_fail(err, LOCI_ESTATE, "a sequence that went back behind its last batch");
    walk(s, s->n, measure, &body);
    header *h = malloc(sizeof *h + body);
    if (!h) return loci_fail(err, LOCI_ENOMEM, "no memory for a record of %zu bytes", body);
    cursor c = { (uint8_t *)(h + 1) };
    walk(s, s->n, copy_out, &c);
    *h = (header){ .version = 1,
                   .has_mtp = s->m->hp.n_mtp > 0,
                   .position = s->n,
                   .mtp_n = s->mtp_n,
                   .body = body,
                   .sum = XXH3_64bits(h + 1, body) };
    memcpy(h->magic, magic, sizeof magic);
    memcpy(h->fingerprint, fingerprint, 16);
    *out = (unsigned char *)h;
    *bytes = sizeof *h + body;
    return LOCI_OK;
}

/* Everything but the fit to a model. */
static loci_status check_header(const header *h, size_t bytes, const char *label, loci_error *err)
{
    if (bytes < sizeof *h || memcmp(h->magic, magic, sizeof magic) != 0)
        return loci_fail(err, LOCI_EFORMAT, "%s: not a state record", label);
    if (h->version != 1)
        return loci_fail(err, LOCI_EVERSION, "%s: expected version 1, found %u", label, h->version);
    if (h->body != bytes - sizeof *h)
        return loci_fail(err, LOCI_EFORMAT, "%s: expected a body of %llu bytes, found %zu", label,
                         (unsigned long long)h->body, bytes - sizeof *h);
    if (h->position < 0 || h->position > (int64_t)1 << 30 || h->mtp_n < 0 ||
        h->mtp_n > h->position || h->has_mtp > 1)
        return loci_fail(err, LOCI_EFORMAT, "%s: position %lld, drafted %lld", label,
                         (long long)h->position, (long long)h->mtp_n);
    if (h->sum != XXH3_64bits(h + 1, h->body))
        return loci_fail(err, LOCI_EFORMAT, "%s: checksum of the body is wrong", label);
    return LOCI_OK;
}

loci_status dsv4_record_position(const void *data, size_t bytes, const char *label,
                                 int64_t *position, loci_error *err)
{
    header h = { 0 };
    *position = 0;
    if (bytes >= sizeof h) memcpy(&h, data, sizeof h);
    const loci_status st =
        check_header(bytes >= sizeof h ? (const header *)data : &h, bytes, label, err);
    if (st == LOCI_OK) *position = h.position;
    return st;
}

loci_status dsv4_record_apply(loci_dsv4_seq *s, const uint8_t fingerprint[16], const void *data,
                              size_t bytes, const char *label, loci_error *err)
{
    const header *h = data;
    int64_t t;
    size_t body = 0;
    loci_status st = dsv4_record_position(data, bytes, label, &t, err);
    if (st != LOCI_OK) return st;
    if (memcmp(h->fingerprint, fingerprint, 16) != 0)
        return loci_fail(err, LOCI_EFORMAT, "%s: written by another model or mode", label);
    if (h->has_mtp != (uint32_t)(s->m->hp.n_mtp > 0))
        return loci_fail(err, LOCI_EFORMAT, "%s: expected %s MTP block", label,
                         h->has_mtp ? "a model with an" : "a model without");
    st = dsv4_reserve(s, t, err);
    if (st != LOCI_OK) return st;
    s->x_pos = t > 0 ? t - 1 : 0;
    walk(s, t, measure, &body);
    if (body != h->body)
        return loci_fail(err, LOCI_EFORMAT, "%s: expected a body of %zu bytes, found %llu", label,
                         body, (unsigned long long)h->body);
    cursor c = { (uint8_t *)(uintptr_t)(h + 1) };
    walk(s, t, copy_in, &c);
    s->n = s->high = s->oldest = t;
    s->mtp_n = h->mtp_n;
    return LOCI_OK;
}
