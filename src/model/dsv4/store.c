/* store.c - a sequence on disk: a folder that grows with the text and gives it back after a kill.
 *
 *   text.dsv4      which positions have a record: replaced as a whole, last
 *   blocks.dsv4    entries and ids of whole blocks, appended, one checksum each
 *   state-T.dsv4   a record (record.c) of position T
 *
 * A save appends blocks and syncs them, writes the record, then replaces text.dsv4: whatever is
 * interrupted, the folder is what it was before or after.  Bytes behind the last block that a record
 * needs are leftovers, written over by the next save.  Blocks are mapped when a text is taken up
 * again: what is not attended to need not be read, but every block is checked first.
 *
 *   text    0  8  "LDSV4TXT"          16 16  fingerprint of model and mode
 *           8  4  version 1           32  8  XXH3-64 of the positions
 *          12  4  n, records          40 8n  positions, ascending
 *   block   0     entries (entry.c), then block_tokens ids i32, then XXH3-64 of both, then zeros up
 *                 to a multiple of 64 bytes */
#include "model/dsv4/dsv4_impl.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { PATH_BYTES = 4096, RECORDS_MAX = 1 << 16, HEAD = 40 };

struct loci_dsv4_store {
    const loci_dsv4 *m;
    const loci_vfs *vfs;
    char dir[PATH_BYTES];
    uint8_t fingerprint[16];
    int64_t *record; /* (n_records) positions, ascending */
    int n_records;
    loci_map map; /* of blocks.dsv4, as far as it reached when a text was taken up */
    bool mapped;
};

static const char magic[8] = { 'L', 'D', 'S', 'V', '4', 'T', 'X', 'T' };

/* ---- the list of records ------------------------------------------------------------------------ */

loci_status dsv4_text_parse(const void *data, size_t bytes, const char *label,
                            uint8_t fingerprint[16], int64_t **record, int *n, loci_error *err)
{
    const uint8_t *p = data;
    uint32_t version, count;
    uint64_t sum;
    *record = NULL;
    *n = 0;
    if (bytes < HEAD || memcmp(p, magic, sizeof magic) != 0)
        return loci_fail(err, LOCI_EFORMAT, "%s: not the text of a DeepSeek-V4 state", label);
    memcpy(&version, p + 8, 4);
    memcpy(&count, p + 12, 4);
    memcpy(fingerprint, p + 16, 16);
    memcpy(&sum, p + 32, 8);
    if (version != 1)
        return loci_fail(err, LOCI_EVERSION, "%s: expected version 1, found %u", label, version);
    if (count > RECORDS_MAX || bytes - HEAD != (size_t)count * 8)
        return loci_fail(err, LOCI_EFORMAT, "%s: %u records in %zu bytes", label, count, bytes);
    if (sum != XXH3_64bits(p + HEAD, bytes - HEAD))
        return loci_fail(err, LOCI_EFORMAT, "%s: checksum of the positions is wrong", label);
    int64_t *list = malloc((size_t)count * 8 + 8);
    if (!list) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", label);
    memcpy(list, p + HEAD, (size_t)count * 8);
    for (uint32_t i = 0; i < count; i++)
        if (list[i] < 1 || list[i] > (int64_t)1 << 30 || (i > 0 && list[i] <= list[i - 1])) {
            free(list);
            return loci_fail(err, LOCI_EFORMAT, "%s: record %u: positions do not ascend", label, i);
        }
    *record = list;
    *n = (int)count;
    return LOCI_OK;
}

static loci_status write_text(loci_dsv4_store *d, loci_error *err)
{
    char path[PATH_BYTES];
    uint8_t head[HEAD];
    const uint32_t version = 1, count = (uint32_t)d->n_records;
    const uint64_t sum = XXH3_64bits(d->record, count * sizeof *d->record);
    memcpy(head, magic, 8);
    memcpy(head + 8, &version, 4);
    memcpy(head + 12, &count, 4);
    memcpy(head + 16, d->fingerprint, 16);
    memcpy(head + 32, &sum, 8);
    const loci_part part[] = { { head, sizeof head }, { d->record, count * sizeof *d->record } };
    const loci_status st = loci_path_join(path, sizeof path, d->dir, "text.dsv4", err);
    return st == LOCI_OK ? loci_file_replace_parts(d->vfs, path, part, 2, err) : st;
}

static loci_status read_text(loci_dsv4_store *d, loci_error *err)
{
    char path[PATH_BYTES], *data = NULL;
    uint8_t found[16];
    size_t bytes = 0;
    loci_error none = { 0 };
    loci_status st = loci_path_join(path, sizeof path, d->dir, "text.dsv4", err);
    if (st != LOCI_OK) return st;
    st = loci_file_load(d->vfs, path, HEAD + RECORDS_MAX * 8, &data, &bytes, &none);
    if (st == LOCI_ENOTFOUND) return LOCI_OK; /* a new folder */
    if (st != LOCI_OK) return loci_fail(err, st, "%s", none.text);
    st = dsv4_text_parse(data, bytes, path, found, &d->record, &d->n_records, err);
    free(data);
    if (st == LOCI_OK && memcmp(found, d->fingerprint, 16) != 0)
        st = loci_fail(err, LOCI_EFORMAT, "%s: written by another model or mode", path);
    return st;
}

/* ---- opening ----------------------------------------------------------------------------------------- */

/* A model by its shape, its mode and a sample of every matrix: the first row. */
static void fingerprint(const loci_dsv4 *m, uint8_t out[16])
{
    const loci_dsv4_weights *w = &m->w;
    XXH3_state_t *x = XXH3_createState();
    memset(out, 0, 16);
    if (!x) return;
    XXH3_128bits_reset(x);
    XXH3_128bits_update(x, &m->hp, sizeof m->hp);
    XXH3_128bits_update(x, &m->mode, sizeof m->mode);
    XXH3_128bits_update(x, &m->lay, sizeof m->lay);
    XXH3_128bits_update(x, w->embed.data, w->embed.row_bytes);
    XXH3_128bits_update(x, w->head.data, w->head.row_bytes);
    for (int l = 0; l < m->hp.n_layers; l++) {
        const loci_dsv4_layer *y = &w->layer[l];
        const loci_dsv4_mat *mat[] = { &y->q_a, &y->q_b,    &y->kv,          &y->o_a,
                                       &y->o_b, &y->router, &y->shared.gate, &y->shared.down };
        for (size_t i = 0; i < sizeof mat / sizeof mat[0]; i++)
            XXH3_128bits_update(x, mat[i]->data, mat[i]->row_bytes);
    }
    const XXH128_hash_t h = XXH3_128bits_digest(x);
    XXH3_freeState(x);
    memcpy(out, &h.low64, 8);
    memcpy(out + 8, &h.high64, 8);
}

loci_status loci_dsv4_store_open(loci_dsv4_store **out, const loci_dsv4 *m, const char *dir,
                                 const loci_vfs *vfs, loci_error *err)
{
    *out = NULL;
    loci_dsv4_store *d = calloc(1, sizeof *d);
    if (!d) return loci_fail(err, LOCI_ENOMEM, "no memory for a store");
    d->m = m;
    d->vfs = vfs ? vfs : loci_vfs_system();
    loci_status st = LOCI_OK;
    if ((size_t)snprintf(d->dir, sizeof d->dir, "%s", dir) >= sizeof d->dir)
        st = loci_fail(err, LOCI_EINVAL, "name of %zu bytes", strlen(dir));
    fingerprint(m, d->fingerprint);
    if (st == LOCI_OK) st = loci_mkdirs(d->vfs, dir, err);
    if (st == LOCI_OK) st = read_text(d, err);
    if (st != LOCI_OK) {
        loci_dsv4_store_close(d);
        return st;
    }
    *out = d;
    return LOCI_OK;
}

void loci_dsv4_store_close(loci_dsv4_store *d)
{
    if (!d) return;
    if (d->mapped) loci_map_close(&d->map);
    free(d->record);
    free(d);
}

/* ---- blocks --------------------------------------------------------------------------------------------- */

static size_t ids_bytes(const loci_dsv4 *m)
{
    return (size_t)m->lay.block_tokens * sizeof(int32_t);
}

static size_t stride(const loci_dsv4 *m)
{
    return (m->lay.block_bytes + ids_bytes(m) + 8 + 63) & ~(size_t)63;
}

static uint64_t block_sum(const loci_dsv4 *m, const void *entries, const void *ids)
{
    return XXH3_64bits_withSeed(ids, ids_bytes(m), XXH3_64bits(entries, m->lay.block_bytes));
}

static const uint8_t *stored_block(const loci_dsv4_store *d, int64_t b)
{
    const size_t size = stride(d->m);
    if (!d->mapped || (size_t)b >= d->map.size / size) return NULL;
    return d->map.data + (size_t)b * size;
}

static bool block_holds(const loci_dsv4_store *d, const uint8_t *block)
{
    uint64_t sum;
    const uint8_t *ids = block + d->m->lay.block_bytes;
    memcpy(&sum, ids + ids_bytes(d->m), 8);
    return sum == block_sum(d->m, block, ids);
}

/* Blocks [from, to) of s behind each other in the file. */
static loci_status write_blocks(loci_dsv4_store *d, const loci_dsv4_seq *s, int64_t from,
                                int64_t to, loci_error *err)
{
    char path[PATH_BYTES];
    loci_file f;
    loci_status st = loci_path_join(path, sizeof path, d->dir, "blocks.dsv4", err);
    if (st == LOCI_OK) st = loci_file_open(&f, d->vfs, path, O_RDWR | O_CREAT, err);
    if (st != LOCI_OK) return st;
    const size_t size = stride(d->m), data = d->m->lay.block_bytes, ids = ids_bytes(d->m);
    uint8_t *tail = calloc(1, size - data); /* ids, checksum, zeros */
    if (!tail) st = loci_fail(err, LOCI_ENOMEM, "no memory for a block");
    for (int64_t b = from; b < to && st == LOCI_OK; b++) {
        memcpy(tail, s->ids + b * d->m->lay.block_tokens, ids);
        const uint64_t sum = block_sum(d->m, s->block[b], tail);
        memcpy(tail + ids, &sum, 8);
        const int64_t at = b * (int64_t)size;
        st = loci_file_write(&f, path, s->block[b], data, at, err);
        if (st == LOCI_OK)
            st = loci_file_write(&f, path, tail, size - data, at + (int64_t)data, err);
    }
    if (st == LOCI_OK) st = loci_file_sync(&f, path, err);
    free(tail);
    const loci_status closed = loci_file_close(&f, st == LOCI_OK ? err : NULL);
    if (st == LOCI_OK) st = closed;
    return st == LOCI_OK ? loci_file_sync_parent(d->vfs, path, err) : st;
}

/* ---- taking up a text ------------------------------------------------------------------------------------ */

static loci_status record_path(const loci_dsv4_store *d, int64_t position, char *path,
                               loci_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "state-%lld.dsv4", (long long)position);
    return loci_path_join(path, PATH_BYTES, d->dir, name, err);
}

/* Whole blocks that agree with ids (n) from the start on, none beyond `most`; all are checked. */
static loci_status common_blocks(const loci_dsv4_store *d, const int32_t *ids, int64_t n,
                                 int64_t most, int64_t *common, loci_error *err)
{
    const int64_t bt = d->m->lay.block_tokens;
    for (*common = 0; *common < most && (*common + 1) * bt <= n; ++*common) {
        const uint8_t *block = stored_block(d, *common);
        if (!block)
            return loci_fail(err, LOCI_EFORMAT, "%s/blocks.dsv4: expected %lld blocks, found %lld",
                             d->dir, (long long)most, (long long)*common);
        if (!block_holds(d, block))
            return loci_fail(err, LOCI_EFORMAT, "%s/blocks.dsv4: block %lld: checksum is wrong",
                             d->dir, (long long)*common);
        if (memcmp(block + d->m->lay.block_bytes, ids + *common * bt, ids_bytes(d->m)) != 0) break;
    }
    return LOCI_OK;
}

/* The record of one position as it is stored (*data owned).  *same: the ids of its unfinished block, with
 * which the body begins, are those of the text. */
static loci_status load_record(const loci_dsv4_store *d, int64_t position, const int32_t *ids,
                               char **data, size_t *bytes, bool *same, loci_error *err)
{
    char path[PATH_BYTES];
    const int64_t whole = dsv4_whole_blocks(d->m, position) * d->m->lay.block_tokens;
    const size_t tail = (size_t)(position - whole) * sizeof *ids;
    *data = NULL;
    loci_status st = record_path(d, position, path, err);
    if (st == LOCI_OK) st = loci_file_load(d->vfs, path, (size_t)1 << 40, data, bytes, err);
    *same = st == LOCI_OK && *bytes >= DSV4_RECORD_HEAD + tail &&
            memcmp(*data + DSV4_RECORD_HEAD, ids + whole, tail) == 0;
    return st;
}

/* The record of one position into s, whose whole blocks are mapped already, if it is *same. */
static loci_status take_record(const loci_dsv4_store *d, loci_dsv4_seq *s, int64_t position,
                               const int32_t *ids, bool *same, loci_error *err)
{
    char path[PATH_BYTES], *data;
    size_t bytes;
    int64_t found = 0;
    loci_status st = load_record(d, position, ids, &data, &bytes, same, err);
    if (st == LOCI_OK) st = record_path(d, position, path, err);
    if (st == LOCI_OK) st = dsv4_record_position(data, bytes, path, &found, err);
    if (st == LOCI_OK && found != position)
        st = loci_fail(err, LOCI_EFORMAT, "%s: expected position %lld, found %lld", path,
                       (long long)position, (long long)found);
    if (st == LOCI_OK && *same) st = dsv4_record_apply(s, d->fingerprint, data, bytes, path, err);
    free(data);
    return st;
}

static loci_status map_blocks(loci_dsv4_store *d, loci_error *err)
{
    char path[PATH_BYTES];
    if (d->mapped) loci_map_close(&d->map);
    d->mapped = false;
    loci_status st = loci_path_join(path, sizeof path, d->dir, "blocks.dsv4", err);
    if (st == LOCI_OK) st = loci_map_open(&d->map, path, err);
    d->mapped = st == LOCI_OK;
    return st;
}

/* Let s use the first n stored blocks in place. */
static loci_status lend_blocks(const loci_dsv4_store *d, loci_dsv4_seq *s, int64_t n,
                               loci_error *err)
{
    const loci_status st = dsv4_lend_blocks(s, (int)n, err);
    for (int64_t b = 0; b < n && st == LOCI_OK; b++)
        s->block[b] = (uint8_t *)(uintptr_t)stored_block(d, b);
    return st;
}

loci_status loci_dsv4_store_resume(loci_dsv4_store *d, loci_dsv4_seq *s, const int32_t *ids,
                                   int64_t n, loci_error *err)
{
    const int64_t bt = d->m->lay.block_tokens;
    int64_t common = 0;
    int i = d->n_records - 1;
    loci_dsv4_seq_reset(s);
    while (i >= 0 && d->record[i] > n) i--;
    if (i < 0) return LOCI_OK;
    const int64_t most = dsv4_whole_blocks(d->m, d->record[i]);
    loci_status st = most > 0 ? map_blocks(d, err) : LOCI_OK;
    if (st == LOCI_OK) st = common_blocks(d, ids, n, most, &common, err);
    for (; i >= 0 && st == LOCI_OK; i--) {
        bool same;
        const int64_t blocks = dsv4_whole_blocks(d->m, d->record[i]);
        if (blocks > common) continue;
        loci_dsv4_seq_reset(s);
        st = lend_blocks(d, s, blocks, err);
        if (st == LOCI_OK) st = take_record(d, s, d->record[i], ids, &same, err);
        if (st == LOCI_OK && same) {
            memcpy(s->ids, ids, (size_t)(blocks * bt) * sizeof *ids);
            return LOCI_OK;
        }
    }
    loci_dsv4_seq_reset(s);
    return st;
}

/* ---- saving -------------------------------------------------------------------------------------------------- */

/* Tokens that the folder's text and that of s share, as far as whole blocks and records show. */
static loci_status shared_prefix(loci_dsv4_store *d, const loci_dsv4_seq *s, int64_t *blocks,
                                 int *records, loci_error *err)
{
    *blocks = 0;
    *records = 0;
    if (d->n_records == 0) return LOCI_OK;
    const int64_t most = dsv4_whole_blocks(d->m, d->record[d->n_records - 1]);
    loci_dsv4_store probe = *d; /* a mapping of its own: s may hold blocks of d's */
    probe.mapped = false;
    loci_status st = most > 0 ? map_blocks(&probe, err) : LOCI_OK;
    if (st == LOCI_OK) st = common_blocks(&probe, s->ids, s->n, most, blocks, err);
    if (probe.mapped) loci_map_close(&probe.map);
    /* Where one record agrees, those before it do: all belong to one text.  One inside the first
     * block that differs, or ahead of the text, is dropped. */
    for (int i = d->n_records; i > 0 && st == LOCI_OK && *records == 0; i--) {
        const int64_t at = d->record[i - 1];
        char *data;
        size_t bytes;
        bool same;
        if (at > s->n || dsv4_whole_blocks(d->m, at) > *blocks) continue;
        st = load_record(d, at, s->ids, &data, &bytes, &same, err);
        if (same) *records = i;
        free(data);
    }
    return st;
}

/* Forget records from i on, in the list first. */
static loci_status drop_records(loci_dsv4_store *d, int i, loci_error *err)
{
    const int n = d->n_records;
    if (i == n) return LOCI_OK;
    d->n_records = i;
    loci_status st = write_text(d, err);
    for (; i < n && st == LOCI_OK; i++) {
        char path[PATH_BYTES];
        st = record_path(d, d->record[i], path, err);
        if (st == LOCI_OK) d->vfs->unlink(d->vfs->ctx, path); /* a leftover harms nobody */
    }
    return st;
}

static loci_status add_record(loci_dsv4_store *d, const loci_dsv4_seq *s, loci_error *err)
{
    char path[PATH_BYTES];
    unsigned char *data;
    size_t bytes;
    if (d->n_records == RECORDS_MAX)
        return loci_fail(err, LOCI_ENOMEM, "%s: %d records are the most", d->dir, RECORDS_MAX);
    int64_t *more = realloc(d->record, (size_t)(d->n_records + 1) * sizeof *more);
    if (!more) return loci_fail(err, LOCI_ENOMEM, "no memory for a record");
    d->record = more;
    loci_status st = dsv4_record_make(s, d->fingerprint, &data, &bytes, err);
    if (st == LOCI_OK) st = record_path(d, s->n, path, err);
    if (st == LOCI_OK) st = loci_file_replace(d->vfs, path, data, bytes, err);
    free(data);
    if (st != LOCI_OK) return st;
    d->record[d->n_records++] = s->n;
    st = write_text(d, err);
    if (st != LOCI_OK) d->n_records--;
    return st;
}

loci_status loci_dsv4_store_save(loci_dsv4_store *d, const loci_dsv4_seq *s, loci_error *err)
{
    int64_t blocks;
    int records;
    if (s->n == 0) return LOCI_OK;
    loci_status st = shared_prefix(d, s, &blocks, &records, err);
    if (st == LOCI_OK) st = drop_records(d, records, err);
    if (st != LOCI_OK) return st;
    if (records > 0 && d->record[records - 1] == s->n) return LOCI_OK;
    const int64_t whole = dsv4_whole_blocks(d->m, s->n);
    if (whole > blocks) st = write_blocks(d, s, blocks, whole, err);
    return st == LOCI_OK ? add_record(d, s, err) : st;
}

int64_t loci_dsv4_store_last(const loci_dsv4_store *d)
{
    return d->n_records > 0 ? d->record[d->n_records - 1] : 0;
}
