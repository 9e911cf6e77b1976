/* packed.c - a model's matrices for integer products, made once when it is opened.
 *
 * All of them lie in one block of memory.  A matrix stored as int8 or in 4 bits is packed as it is; other
 * rows are quantised on the way, 4 bits too where 8 are asked for.  The file keeps the stored form, which
 * embedding rows are still read from. */
#include "model/model_impl.h"

#include <stdlib.h>
#include <string.h>

enum { COLS_MAX = 65536 }; /* what the kernels' sums hold */

static loci_mat *mat_of(loci_model *m, const loci_param_info *info)
{
    return (loci_mat *)(void *)((char *)&m->p + info->offset);
}

/* Signs of codes hang on numbers near 0, and their maps are small. */
static bool is_packable(loci_model *m, const loci_param_info *info, loci_compute compute)
{
    const loci_mat *w = mat_of(m, info);
    if (!info->quantise || w->cols > COLS_MAX || w == &m->p.code.key || w == &m->p.code.query)
        return false;
    return compute != LOCI_COMPUTE_AUTO || w->type == LOCI_I8 || w->type == LOCI_U8;
}

static bool is_four(const loci_mat *w, const loci_param_info *info, loci_compute compute)
{
    if (w->type == LOCI_U8) return compute != LOCI_COMPUTE_INT8;
    return compute == LOCI_COMPUTE_INT4 && w->cols % LOCI_W4_GROUP == 0 && !info->fine;
}

typedef struct {
    loci_w8 *w;
    int8_t *data;
    float *scale;
    int32_t *sum;
    loci_w4 *w4; /* or these three */
    uint8_t *nibbles;
    uint16_t *half;
} place;

static size_t groups(const loci_mat *w)
{
    return (size_t)(w->cols / LOCI_W4_GROUP);
}

static place carve(loci_arena *a, const loci_mat *w, bool four)
{
    const size_t padded = (size_t)loci_panels(w->rows) * LOCI_PANEL;
    place p = { 0 };
    if (four) {
        p.w4 = loci_arena_take(a, 1, sizeof *p.w4);
        p.nibbles = loci_arena_take(a, loci_w4_bytes(w->rows, w->cols), 1);
        p.half = loci_arena_take(a, padded * groups(w), sizeof *p.half);
        return p;
    }
    p.w = loci_arena_take(a, 1, sizeof *p.w);
    p.data = loci_arena_take(a, loci_w8_bytes(w->rows, w->cols), 1);
    p.scale = loci_arena_take(a, padded, sizeof *p.scale);
    p.sum = loci_arena_take(a, padded, sizeof *p.sum);
    return p;
}

/* A matrix with its numbers in the integers to be: q, and a scale a row or a half a group.  What is
 * stored so has its numbers already. */
typedef struct {
    float *row; /* (cols): one row as f32 */
    int8_t *q;
    float *scale;
    uint8_t *nibbles;
    uint16_t *half;
} made;

static made carve_made(loci_arena *a, const loci_mat *w, bool four)
{
    const size_t rows = (size_t)w->rows, cols = (size_t)w->cols;
    made x = { 0 };
    if (!four && w->type == LOCI_I8) return x;
    if (four && w->type == LOCI_U8) return x;
    x.row = loci_arena_take(a, cols, sizeof *x.row);
    if (four) {
        x.nibbles = loci_arena_take(a, rows * cols / 2, 1);
        x.half = loci_arena_take(a, rows * groups(w), sizeof *x.half);
    } else {
        x.q = loci_arena_take(a, rows * cols, 1);
        x.scale = loci_arena_take(a, rows, sizeof *x.scale);
    }
    return x;
}

static size_t scratch_bytes(const loci_mat *w, bool four)
{
    loci_arena a = { 0 };
    carve_made(&a, w, four);
    return a.used;
}

static void pack_four(const loci_kernels *k, const place *p, loci_mat *w, const made *x)
{
    for (int r = 0; x->nibbles && r < w->rows; r++) {
        loci_mat_row(k, x->row, w, r);
        k->quant_q4(x->nibbles + (size_t)r * (size_t)w->cols / 2, w->cols / 2,
                    x->half + (size_t)r * groups(w), (int)groups(w), x->row, w->cols, 1, w->cols);
    }
    loci_w4_pack(p->nibbles, p->half, x->nibbles ? x->nibbles : w->data,
                 x->nibbles ? x->half : w->half, w->rows, w->cols);
    *p->w4 = (loci_w4){ p->nibbles, p->half, w->rows, w->cols };
    w->packed4 = p->w4;
}

static void pack_eight(const loci_kernels *k, const place *p, loci_mat *w, const made *x)
{
    for (int r = 0; x->q && r < w->rows; r++) {
        loci_mat_row(k, x->row, w, r);
        k->quant_q8(x->q + (size_t)r * (size_t)w->cols, w->cols, x->scale + r, x->row, w->cols, 1,
                    w->cols);
    }
    loci_w8_pack(p->data, p->scale, p->sum, x->q ? x->q : w->data, x->q ? x->scale : w->scale,
                 w->rows, w->cols);
    *p->w = (loci_w8){ p->data, p->scale, p->sum, w->rows, w->cols };
    w->packed = p->w;
}

static void pack(loci_model *m, loci_arena *a, loci_mat *w, bool four, loci_arena scratch)
{
    const place p = carve(a, w, four);
    const made x = carve_made(&scratch, w, four);
    w->packed_row = 0;
    if (four)
        pack_four(&m->k, &p, w, &x);
    else
        pack_eight(&m->k, &p, w, &x);
}

loci_status loci_model_prepare(loci_model *m, loci_compute compute, loci_error *err)
{
    const int n = loci_param_list(&m->hp, NULL, 0);
    loci_param_info *list = calloc((size_t)n, sizeof *list);
    loci_arena a = { 0 };
    size_t scratch = 0;
    void *memory = NULL;
    loci_status st = LOCI_OK;
    if (compute == LOCI_COMPUTE_F32 || m->packed) goto out;
    if (!list) st = loci_fail(err, LOCI_ENOMEM, "no memory for a list of %d tensors", n);
    if (st != LOCI_OK) goto out;
    loci_param_list(&m->hp, list, n);
    for (int i = 0; i < n; i++) {
        if (!is_packable(m, &list[i], compute)) continue;
        const loci_mat *w = mat_of(m, &list[i]);
        const bool four = is_four(w, &list[i], compute);
        const size_t needs = scratch_bytes(w, four);
        scratch = needs > scratch ? needs : scratch;
        carve(&a, w, four);
    }
    if (a.used == 0) goto out;
    m->packed = loci_alloc_aligned(a.used);
    memory = scratch ? loci_alloc_aligned(scratch) : NULL;
    if (!m->packed || (scratch && !memory)) {
        st = loci_fail(err, LOCI_ENOMEM, "no memory for packed weights: %zu bytes", a.used);
        loci_free_aligned(m->packed);
        m->packed = NULL;
        goto out;
    }
    a = (loci_arena){ m->packed, a.used, 0 };
    for (int i = 0; i < n; i++) {
        if (!is_packable(m, &list[i], compute)) continue;
        loci_mat *w = mat_of(m, &list[i]);
        pack(m, &a, w, is_four(w, &list[i], compute), (loci_arena){ memory, scratch, 0 });
    }

out:
    loci_free_aligned(memory);
    free(list);
    return st;
}
