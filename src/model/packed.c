/* packed.c - a model's matrices for integer products, made once when it is opened.
 *
 * All of them lie in one block of memory.  A matrix stored as int8 is packed as it is; f32 and bf16 rows
 * are quantised on the way, as `loci quantize` would.  The file keeps the stored form, which embedding
 * rows are still read from. */
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
    return compute == LOCI_COMPUTE_INT8 || w->type == LOCI_I8;
}

typedef struct {
    loci_w8 *w;
    int8_t *data;
    float *scale;
    int32_t *sum;
} place;

static place carve(loci_arena *a, const loci_mat *w)
{
    const size_t padded = (size_t)loci_panels(w->rows) * LOCI_PANEL;
    place p;
    p.w = loci_arena_take(a, 1, sizeof *p.w);
    p.data = loci_arena_take(a, loci_w8_bytes(w->rows, w->cols), 1);
    p.scale = loci_arena_take(a, padded, sizeof *p.scale);
    p.sum = loci_arena_take(a, padded, sizeof *p.sum);
    return p;
}

/* q (rows, cols) and scale (rows) of a matrix that is not stored as int8. */
static void quantise(const loci_kernels *k, int8_t *q, float *scale, float *row, const loci_mat *w)
{
    for (int r = 0; r < w->rows; r++) {
        loci_mat_row(row, w, r);
        k->quant_q8(q + (size_t)r * (size_t)w->cols, w->cols, scale + r, row, w->cols, 1, w->cols);
    }
}

/* scratch: as carve_scratch of the largest matrix. */
static void pack(const loci_kernels *k, place *p, loci_mat *w, loci_arena scratch)
{
    const int8_t *q = w->data;
    const float *scale = w->scale;
    if (w->type != LOCI_I8) {
        int8_t *made = loci_arena_take(&scratch, (size_t)w->rows * (size_t)w->cols, 1);
        float *of = loci_arena_take(&scratch, (size_t)w->rows, sizeof *of);
        quantise(k, made, of, loci_arena_take(&scratch, (size_t)w->cols, sizeof(float)), w);
        q = made;
        scale = of;
    }
    loci_w8_pack(p->data, p->scale, p->sum, q, scale, w->rows, w->cols);
    *p->w = (loci_w8){ p->data, p->scale, p->sum, w->rows, w->cols };
    w->packed = p->w;
    w->packed_row = 0;
}

static size_t scratch_bytes(const loci_mat *w)
{
    loci_arena a = { 0 };
    if (w->type == LOCI_I8) return 0;
    loci_arena_take(&a, (size_t)w->rows * (size_t)w->cols, 1);
    loci_arena_take(&a, (size_t)w->rows, sizeof(float));
    loci_arena_take(&a, (size_t)w->cols, sizeof(float));
    return a.used;
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
        const size_t needs = scratch_bytes(mat_of(m, &list[i]));
        scratch = needs > scratch ? needs : scratch;
        carve(&a, mat_of(m, &list[i]));
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
        place p = carve(&a, mat_of(m, &list[i]));
        pack(&m->k, &p, mat_of(m, &list[i]), (loci_arena){ memory, scratch, 0 });
    }

out:
    loci_free_aligned(memory);
    free(list);
    return st;
}
