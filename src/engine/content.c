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
} slot;

struct loci_contents {
    const loci_model *model;
    loci_segment_shape shape;
    slot slot[LOCI_CONTENTS];
    int32_t bucket[BUCKETS];
    int32_t oldest, newest;
    float *rows;   /* (LOCI_CONTENTS, 64, d_content) */
    uint8_t *room; /* of one chunk as stored */
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
        c->slot[i] = (slot){ -1, i - 1, i + 1 < LOCI_CONTENTS ? i + 1 : -1, -1, 0 };
    c->newest = LOCI_CONTENTS - 1;
    /* Not zeroed: pages are taken as chunks are decoded, most questions need few. */
    c->rows = aligned_alloc(SEG_ALIGN, (size_t)LOCI_CONTENTS * SEG_CHUNK_TOKENS *
                                           (size_t)shape->d_content * sizeof(float));
    c->room = loci_alloc_aligned(loci_segment_room(shape));
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

int loci_contents_find(loci_contents *c, int64_t id, const float **rows)
{
    int32_t i = *bucket_of(c, id);
    *rows = NULL;
    while (i >= 0 && c->slot[i].id != id) i = c->slot[i].next;
    if (i < 0) return 0;
    use(c, i);
    *rows = slot_rows(c, i);
    return c->slot[i].n_tokens;
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

/* Into the slot that was used longest ago. */
int loci_contents_read(loci_contents *c, int64_t id, loci_segment *s, int64_t at,
                       const float **rows, loci_error *err)
{
    loci_chunk_view v;
    *rows = NULL;
    const loci_status st = loci_segment_content(s, at, c->room, &v, err);
    if (st != LOCI_OK) return st;
    const int32_t i = c->oldest;
    forget(c, i);
    decode(c, slot_rows(c, i), &v);
    int32_t *link = bucket_of(c, id);
    c->slot[i].id = id;
    c->slot[i].n_tokens = v.n_tokens;
    c->slot[i].next = *link;
    *link = i;
    use(c, i);
    *rows = slot_rows(c, i);
    return v.n_tokens;
}
