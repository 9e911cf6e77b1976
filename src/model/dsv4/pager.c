/* pager.c - routed experts of a model larger than memory, read when a router has chosen them.
 *
 * Memory is cut into slots of one expert each, all taken at the start: a hard budget.  A slot holds
 * the six parts of an expert (codes and scales of gate, up and down), copied out of the files by
 * plain reads: a disk that fails gives an error and not a signal, and what is in memory does not
 * depend on the page cache.  fetch hears the choice of a whole call, tells the system of every
 * missing range before it reads the first, so that the disk has them all to work on, and then fills
 * slots; the least recently chosen expert makes room.
 *
 * Slots form a list by age, most recent first; those of the running fetch are in front of it, so
 * the last one can go as long as a fetch asks for no more than there are slots. */
#include "model/dsv4/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 6, NONE = -1, ALIGN = 64 };

typedef struct { /* bytes of one part in a file and in a slot; n 0: absent */
    int file;
    int64_t offset;
    size_t n, at;
} part;

typedef struct {
    loci_dsv4_mat mat[3]; /* gate, up, down as bound, data and scale in the mapped files */
    part part[PARTS];     /* data and scale of each */
    int slot;             /* NONE: not in memory */
} expert;

typedef struct {
    int newer, older; /* slots; NONE at the ends */
    int owner;        /* index of the expert in it, NONE: empty */
} slot;

struct loci_dsv4_paging {
    const loci_dsv4_hparams *hp;
    const loci_dsv4_source *source;
    const loci_vfs *vfs;
    expert *expert; /* (n_layers + n_mtp, n_experts) */
    int n_expert;
    slot *slot; /* (n_slots) */
    int n_slots, newest, oldest;
    unsigned char *memory; /* (n_slots, slot_bytes) */
    size_t slot_bytes;
    struct {
        loci_file file;
        const char *path; /* borrowed from the source */
    } * file;
    int n_files;
    loci_dsv4_paging_stats stats;
};

/* ---- what is where ----------------------------------------------------------------------------- */

/* The open file of this path (the pointer is the source's own, one a file). */
static loci_status file_of(loci_dsv4_paging *p, const char *path, int *out, loci_error *err)
{
    for (int i = 0; i < p->n_files; i++)
        if (p->file[i].path == path) {
            *out = i;
            return LOCI_OK;
        }
    void *more = realloc(p->file, (size_t)(p->n_files + 1) * sizeof *p->file);
    if (!more) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", path);
    p->file = more;
    const loci_status st = loci_file_open(&p->file[p->n_files].file, p->vfs, path, O_RDONLY, err);
    if (st != LOCI_OK) return st;
    p->file[p->n_files].path = path;
    *out = p->n_files++;
    return LOCI_OK;
}

static loci_status locate(loci_dsv4_paging *p, part *to, const void *data, size_t n, size_t *used,
                          loci_error *err)
{
    const dsv4_source_base *base = p->source->ctx;
    *to = (part){ .at = *used, .n = data ? n : 0 };
    if (to->n == 0) return LOCI_OK;
    *used += (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    const char *path = base->place(p->source->ctx, data, &to->offset);
    if (!path) return loci_fail(err, LOCI_EFORMAT, "%s: an expert outside of it", p->source->label);
    return file_of(p, path, &to->file, err);
}

static loci_status find_expert(loci_dsv4_paging *p, const char *prefix, int id, expert *e,
                               size_t *used, loci_error *err)
{
    static const char *const name_of[] = { "w1", "w3", "w2" };
    const int D = p->hp->hidden, F = p->hp->expert_width;
    *used = 0;
    for (int k = 0; k < 3; k++) {
        char name[96];
        loci_dsv4_mat *m = &e->mat[k];
        const int rows = k < 2 ? F : D, cols = k < 2 ? D : F;
        snprintf(name, sizeof name, "%sffn.experts.%d.%s.weight", prefix, id, name_of[k]);
        loci_status st = p->source->find(p->source->ctx, name, m, err);
        if (st != LOCI_OK) return st;
        if (!m->data || m->rows != rows || m->cols != cols)
            return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected (%d, %d), found %s(%d, %d)",
                             p->source->label, name, rows, cols, m->data ? "" : "no such tensor ",
                             m->rows, m->cols);
        st = locate(p, &e->part[2 * k], m->data, (size_t)rows * m->row_bytes, used, err);
        if (st == LOCI_OK)
            st = locate(p, &e->part[2 * k + 1], m->scale, dsv4_scale_bytes(m), used, err);
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

/* A drafting block may be left out of a file; then its experts are not there either. */
static bool has_layer(const loci_dsv4_paging *p, const char *prefix)
{
    char name[96];
    loci_dsv4_mat m = { 0 };
    snprintf(name, sizeof name, "%se_proj.weight", prefix);
    return p->source->find(p->source->ctx, name, &m, NULL) == LOCI_OK && m.data;
}

static loci_status find_experts(loci_dsv4_paging *p, loci_error *err)
{
    const int E = p->hp->n_experts, L = p->hp->n_layers;
    p->n_expert = (L + p->hp->n_mtp) * E;
    p->expert = calloc((size_t)p->n_expert, sizeof *p->expert);
    if (!p->expert) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", p->source->label);
    for (int i = 0; i < p->n_expert; i++) {
        char prefix[32];
        const int l = i / E;
        size_t used = 0;
        p->expert[i].slot = NONE;
        snprintf(prefix, sizeof prefix, l < L ? "layers.%d." : "mtp.%d.", l < L ? l : l - L);
        if (l >= L && !has_layer(p, prefix)) continue;
        const loci_status st = find_expert(p, prefix, i % E, &p->expert[i], &used, err);
        if (st != LOCI_OK) return st;
        if (used > p->slot_bytes) p->slot_bytes = used;
        p->stats.experts++;
    }
    return LOCI_OK;
}

/* ---- the list by age ------------------------------------------------------------------------- */

static void unlink_slot(loci_dsv4_paging *p, int s)
{
    const slot *x = &p->slot[s];
    if (x->newer == NONE)
        p->newest = x->older;
    else
        p->slot[x->newer].older = x->older;
    if (x->older == NONE)
        p->oldest = x->newer;
    else
        p->slot[x->older].newer = x->newer;
}

/* s, unlinked, becomes the newest (or the oldest: the next to go). */
static void link_slot(loci_dsv4_paging *p, int s, bool newest)
{
    slot *x = &p->slot[s];
    x->newer = newest ? NONE : p->oldest;
    x->older = newest ? p->newest : NONE;
    if (x->newer == NONE)
        p->newest = s;
    else
        p->slot[x->newer].older = s;
    if (x->older == NONE)
        p->oldest = s;
    else
        p->slot[x->older].newer = s;
}

static loci_status make_slots(loci_dsv4_paging *p, uint64_t budget, loci_error *err)
{
    const uint64_t bytes = p->slot_bytes;
    uint64_t n = bytes ? budget / bytes : 0;
    if (n < (uint64_t)p->hp->n_active)
        return loci_fail(err, LOCI_EINVAL,
                         "%s: memory for experts: expected at least %llu bytes for the %d of a "
                         "token, found %llu",
                         p->source->label, (unsigned long long)bytes * (unsigned)p->hp->n_active,
                         p->hp->n_active, (unsigned long long)budget);
    if (n > (uint64_t)p->stats.experts) n = (uint64_t)p->stats.experts;
    p->n_slots = (int)n;
    p->slot = calloc((size_t)n, sizeof *p->slot);
    p->memory = loci_alloc_aligned((size_t)n * p->slot_bytes);
    if (!p->slot || !p->memory)
        return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %llu experts of %zu bytes",
                         p->source->label, (unsigned long long)n, p->slot_bytes);
    p->newest = p->oldest = NONE;
    for (int s = 0; s < p->n_slots; s++) {
        p->slot[s].owner = NONE;
        link_slot(p, s, true);
    }
    p->stats.slots = p->n_slots;
    p->stats.slot_bytes = (int64_t)p->slot_bytes;
    return LOCI_OK;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void announce(loci_dsv4_paging *p, const expert *e)
{
    for (int k = 0; k < PARTS; k++)
        if (e->part[k].n > 0)
            loci_file_will_read(&p->file[e->part[k].file].file, e->part[k].offset,
                                (int64_t)e->part[k].n);
}

static loci_status fill(loci_dsv4_paging *p, int i, loci_error *err)
{
    const expert *e = &p->expert[i];
    unsigned char *to = p->memory + (size_t)e->slot * p->slot_bytes;
    for (int k = 0; k < PARTS; k++) {
        const part *x = &e->part[k];
        if (x->n == 0) continue;
        const loci_status st = loci_file_read(&p->file[x->file].file, p->file[x->file].path,
                                              to + x->at, x->n, x->offset, err);
        if (st != LOCI_OK) return st;
        p->stats.bytes_read += (int64_t)x->n;
    }
    return LOCI_OK;
}

/* Give expert i the oldest slot. */
static void take_slot(loci_dsv4_paging *p, int i)
{
    const int s = p->oldest;
    if (p->slot[s].owner != NONE) p->expert[p->slot[s].owner].slot = NONE;
    p->slot[s].owner = i;
    p->expert[i].slot = s;
    unlink_slot(p, s);
    link_slot(p, s, true);
}

static void give_up(loci_dsv4_paging *p, int i)
{
    const int s = p->expert[i].slot;
    p->expert[i].slot = p->slot[s].owner = NONE;
    unlink_slot(p, s);
    link_slot(p, s, false);
}

static loci_status check_ids(const loci_dsv4_paging *p, int layer, const int32_t *ids, int n,
                             loci_error *err)
{
    if (n > p->n_slots)
        return loci_fail(err, LOCI_EINVAL, "layer %d: %d experts at once, memory holds %d", layer,
                         n, p->n_slots);
    const int64_t first = (int64_t)layer * p->hp->n_experts;
    for (int i = 0; i < n; i++) {
        const bool known = layer >= 0 && first < p->n_expert && ids[i] >= 0 &&
                           ids[i] < p->hp->n_experts && p->expert[first + ids[i]].mat[0].data;
        if (!known)
            return loci_fail(err, LOCI_EINVAL, "layer %d: no expert %d", layer, (int)ids[i]);
    }
    return LOCI_OK;
}

static loci_status fetch(void *ctx, int layer, const int32_t *ids, int n, loci_error *err)
{
    loci_dsv4_paging *p = ctx;
    loci_status st = check_ids(p, layer, ids, n, err);
    if (st != LOCI_OK) return st;
    const int first = layer * p->hp->n_experts;
    for (int i = 0; i < n; i++) { /* those that are here move out of the way of the others */
        const expert *e = &p->expert[first + ids[i]];
        if (e->slot == NONE) {
            announce(p, e);
            continue;
        }
        p->stats.hits++;
        unlink_slot(p, e->slot);
        link_slot(p, e->slot, true);
    }
    for (int i = 0; i < n && st == LOCI_OK; i++) {
        if (p->expert[first + ids[i]].slot != NONE) continue;
        p->stats.misses++;
        take_slot(p, first + ids[i]);
        st = fill(p, first + ids[i], err);
        if (st != LOCI_OK) give_up(p, first + ids[i]);
    }
    return st;
}

static loci_dsv4_mat view(const loci_dsv4_paging *p, const expert *e, int k)
{
    const unsigned char *at = p->memory + (size_t)e->slot * p->slot_bytes;
    loci_dsv4_mat m = e->mat[k];
    m.data = at + e->part[2 * k].at;
    if (m.scale) m.scale = at + e->part[2 * k + 1].at;
    return m;
}

static loci_status get(void *ctx, int layer, int32_t id, loci_dsv4_expert *out, loci_error *err)
{
    const loci_dsv4_paging *p = ctx;
    const loci_status st = check_ids(p, layer, &id, 1, err);
    if (st != LOCI_OK) return st;
    const expert *e = &p->expert[layer * p->hp->n_experts + id];
    if (e->slot == NONE)
        return loci_fail(err, LOCI_ESTATE, "layer %d: expert %d was not fetched", layer, (int)id);
    *out = (loci_dsv4_expert){ view(p, e, 0), view(p, e, 1), view(p, e, 2) };
    return LOCI_OK;
}

/* ---- the public side ---------------------------------------------------------------------------- */

loci_status loci_dsv4_paging_open(loci_dsv4_paging **out, const loci_dsv4_files *f,
                                  uint64_t budget_bytes, const loci_vfs *vfs, loci_error *err)
{
    *out = NULL;
    loci_dsv4_paging *p = calloc(1, sizeof *p);
    if (!p) return loci_fail(err, LOCI_ENOMEM, "no memory for a pager");
    p->hp = loci_dsv4_files_shape(f);
    p->source = loci_dsv4_files_source(f);
    p->vfs = vfs ? vfs : loci_vfs_system();
    loci_status st = find_experts(p, err);
    if (st == LOCI_OK) st = make_slots(p, budget_bytes, err);
    if (st == LOCI_OK)
        *out = p;
    else
        loci_dsv4_paging_close(p);
    return st;
}

void loci_dsv4_paging_close(loci_dsv4_paging *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_files; i++) (void)loci_file_close(&p->file[i].file, NULL);
    free(p->file);
    free(p->expert);
    free(p->slot);
    loci_free_aligned(p->memory);
    free(p);
}

loci_dsv4_pager loci_dsv4_paging_pager(loci_dsv4_paging *p)
{
    return (loci_dsv4_pager){ .ctx = p, .at_once = p->n_slots, .fetch = fetch, .get = get };
}

loci_dsv4_paging_stats loci_dsv4_paging_read(const loci_dsv4_paging *p)
{
    return p->stats;
}
