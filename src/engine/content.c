/* content.c - stored content to f32 rows, the last 512 chunks kept: tokens of an answer mostly read what
 * those before them read. */
#include "engine/content.h"
#include <stdlib.h>

enum { BUCKETS = 1024 /* power of two */ };

typedef struct {          /* one decoded chunk */
    int64_t id;           /* -1: empty */
    int32_t older, newer; /* in order of use; -1 ends it */
    int32_t next;         /* in its bucket; -1 ends it */
    int n_tokens;
    bool ahead; /* decoded before it was wanted */
} slot;

struct loci_contents {
    const loci_model *model;
    loci_segment_shape shape;
    slot slot[LOCI_CONTENTS];
    int32_t bucket[BUCKETS];
    int32_t oldest, newest;
    float *rows;   /* (LOCI_CONTENTS, 64, d_content) */
    uint8_t *room; /* (LOCI_MAX_PICKS) of a chunk as stored */
    size_t room_bytes;
    loci_searcher_counts counts;
    /* What is being read. */
    const loci_content_want *want;
    int32_t to[LOCI_MAX_PICKS]; /* slots */
    int got[LOCI_MAX_PICKS];    /* tokens, or a status */
    loci_error err;             /* of the first */
};

loci_status loci_contents_open(loci_contents **out, const loci_model *m,
                               const loci_segment_shape *shape, loci_error *err)
{
    *out = NULL;
    loci_contents *c = calloc(1, sizeof *c);
    if (!c) return loci_fail(err, LOCI_ENOMEM, "no memory for content");
    c->model = m;
    c->shape = *shape;
    for (int i = 0; i < BUCKETS; i++) c->bucket[i] = -1;
    for (int i = 0; i < LOCI_CONTENTS; i++)
        c->slot[i] = (slot){ -1, i - 1, i + 1 < LOCI_CONTENTS ? i + 1 : -1, -1, 0, false };
    c->newest = LOCI_CONTENTS - 1;
    /* Not zeroed: pages are taken as chunks are decoded, most questions need few. */
    c->rows = aligned_alloc(SEG_ALIGN, (size_t)LOCI_CONTENTS * SEG_CHUNK_TOKENS *
                                           (size_t)shape->d_content * sizeof(float));
    c->room_bytes = loci_segment_room(shape);
    c->room = loci_alloc_aligned(LOCI_MAX_PICKS * c->room_bytes);
    if (!c->rows || !c->room) {
        loci_contents_close(c);
        return loci_fail(err, LOCI_ENOMEM, "no memory for content");
    }
    *out = c;
    return LOCI_OK;
}

void loci_contents_close(loci_contents *c)
{
    if (!c) return;
    free(c->rows);
    loci_free_aligned(c->room);
    free(c);
}

/* ---- order of use ----------------------------------------------------------------------------------- */
static int32_t *bucket_of(loci_contents *c, int64_t id)
{
    return &c->bucket[loci_rng_mix((uint64_t)id, 0) & (BUCKETS - 1)];
}

static void take_out(loci_contents *c, int32_t i)
{
    slot *x = &c->slot[i];
    if (x->older >= 0)
        c->slot[x->older].newer = x->newer;
    else
        c->oldest = x->newer;
    if (x->newer >= 0)
        c->slot[x->newer].older = x->older;
    else
        c->newest = x->older;
}

static void use(loci_contents *c, int32_t i)
{
    if (c->newest == i) return;
    take_out(c, i);
    c->slot[i].older = c->newest;
    c->slot[i].newer = -1;
    c->slot[c->newest].newer = i;
    c->newest = i;
}

static void forget(loci_contents *c, int32_t i)
{
    if (c->slot[i].id < 0) return;
    int32_t *link = bucket_of(c, c->slot[i].id);
    while (*link != i) link = &c->slot[*link].next;
    *link = c->slot[i].next;
    c->slot[i].id = -1;
}

static float *slot_rows(loci_contents *c, int32_t i)
{
    return c->rows + (size_t)i * SEG_CHUNK_TOKENS * (size_t)c->shape.d_content;
}

static int32_t slot_of(loci_contents *c, int64_t id)
{
    int32_t i = *bucket_of(c, id);
    while (i >= 0 && c->slot[i].id != id) i = c->slot[i].next;
    if (i >= 0) use(c, i);
    return i;
}

bool loci_contents_has(loci_contents *c, int64_t id)
{
    return slot_of(c, id) >= 0;
}

int loci_contents_find(loci_contents *c, int64_t id, const float **rows)
{
    const int32_t i = slot_of(c, id);
    *rows = NULL;
    if (i < 0) return 0;
    if (c->slot[i].ahead)
        c->counts.misses++;
    else
        c->counts.hits++;
    c->slot[i].ahead = false;
    *rows = slot_rows(c, i);
    return c->slot[i].n_tokens;
}

loci_searcher_counts loci_contents_counts(const loci_contents *c)
{
    return c->counts;
}

/* ---- decoding ----------------------------------------------------------------------------------------- */
static void decode(const loci_contents *c, float *rows, const loci_chunk_view *v)
{
    const int half = c->shape.d_content / 2, ds = c->shape.d_summary;
    if (c->shape.content_bits4) {
        float z[LOCI_MAX_SUMMARY];
        c->model->k.dequant_q8(z, ds, v->summary, ds, &v->summary_scale, 1, ds);
        loci_unpack_content(c->model, rows, v->packed, v->packed_scale, z, v->n_tokens);
    } else {
        c->model->k.dequant_q8(rows, half, v->content, half, v->content_scale, 2 * v->n_tokens,
                               half);
    }
}

static void read_one(void *ctx, int tile, int worker)
{
    loci_contents *c = ctx;
    const loci_content_want *w = &c->want[tile];
    loci_chunk_view v;
    (void)worker;
    const loci_status st =
        loci_segment_content(w->segment, w->at, c->room + (size_t)tile * c->room_bytes, &v,
                             tile == 0 ? &c->err : NULL);
    if (st == LOCI_OK) decode(c, slot_rows(c, c->to[tile]), &v);
    c->got[tile] = st == LOCI_OK ? v.n_tokens : (int)st;
}

/* Into the slots that were used longest ago. */
int loci_contents_read(loci_contents *c, loci_pool *pool, const loci_content_want *want, int n,
                       const float **rows, loci_error *err)
{
    *rows = NULL;
    c->want = want;
    c->err = (loci_error){ 0 };
    for (int i = n - 1; i >= 0; i--) { /* the first one last: it is used now */
        c->to[i] = c->oldest;
        forget(c, c->to[i]);
        use(c, c->to[i]);
    }
    loci_pool_run(pool, n, read_one, c);
    for (int i = 0; i < n; i++) {
        slot *x = &c->slot[c->to[i]];
        if (c->got[i] < 0) continue; /* the slot stays empty */
        int32_t *link = bucket_of(c, want[i].id);
        x->id = want[i].id;
        x->n_tokens = c->got[i];
        x->ahead = i > 0;
        x->next = *link;
        *link = c->to[i];
    }
    if (c->got[0] < 0) return loci_fail(err, c->err.code, "%s", c->err.text);
    c->counts.misses++;
    *rows = slot_rows(c, c->to[0]);
    return c->got[0];
}
