/* compress.c - compressed entries: r tokens pooled into one vector, channel by channel.
 *
 *   K_t = wkv h_t (c w)   Z_t = wgate h_t + ape[t mod r]      f32, w = head width or index width
 *   without overlap   entry j = sum_t softmax_t(Z_t) K_t over tokens rj .. rj + r - 1
 *   with overlap      2r candidates a channel: the first halves [0, w) of tokens r(j-1) .. rj - 1,
 *                     then the second halves [w, 2w) of tokens rj .. rj + r - 1; entry 0 has no
 *                     first halves
 *   entry = rotate(RMSNorm(entry) norm, position r j)
 *
 * K and Z of the last tokens are kept by position in a ring that is wider than pooling needs by one
 * batch, so a sequence can go back without undoing anything. */
#include "model/dsv4/dsv4_impl.h"

#include <math.h>
#include <string.h>

enum { WIDTH_MAX = 1024 };

typedef struct {
    const loci_dsv4_compressor *c;
    loci_dsv4_rows *rows;
    int width, copies, ratio;
} pooling;

static float *row_at(const pooling *p, float *rows, int64_t pos)
{
    return rows + (size_t)(pos % p->rows->slots) * (size_t)(p->copies * p->width);
}

/* K and Z of T tokens into their slots. */
static void project(loci_dsv4_seq *s, const pooling *p, const float *h, int64_t pos, int T)
{
    const int wide = p->copies * p->width, D = s->m->hp.hidden;
    for (int part = 0; part < 2; part++) {
        dsv4_linear(s, s->sc.ck, wide, h, D, part ? &p->c->gate : &p->c->kv, T, false);
        for (int t = 0; t < T; t++) {
            float *row = row_at(p, part ? p->rows->z : p->rows->k, pos + t);
            memcpy(row, s->sc.ck + (size_t)t * (size_t)wide, (size_t)wide * sizeof *row);
            if (!part) continue;
            const float *ape = p->c->ape + (size_t)((pos + t) % p->ratio) * (size_t)wide;
            for (int i = 0; i < wide; i++) row[i] += ape[i];
        }
    }
}

/* Candidate i of entry j: the place of its values in K and Z. */
static size_t candidate(const pooling *p, int64_t j, int i)
{
    const int64_t pos = (p->copies == 2 ? (j - 1) : j) * p->ratio + i;
    const int half = p->copies == 2 && i >= p->ratio ? p->width : 0;
    return (size_t)(pos % p->rows->slots) * (size_t)(p->copies * p->width) + (size_t)half;
}

static void pool(const pooling *p, int64_t j, float *e)
{
    float max[WIDTH_MAX], sum[WIDTH_MAX];
    const int first = p->copies == 2 && j == 0 ? p->ratio : 0, last = p->copies * p->ratio;
    for (int c = 0; c < p->width; c++) max[c] = -INFINITY;
    for (int i = first; i < last; i++) {
        const float *z = p->rows->z + candidate(p, j, i);
        for (int c = 0; c < p->width; c++) max[c] = z[c] > max[c] ? z[c] : max[c];
    }
    for (int c = 0; c < p->width; c++) e[c] = sum[c] = 0.0f;
    for (int i = first; i < last; i++) {
        const size_t at = candidate(p, j, i);
        const float *z = p->rows->z + at, *k = p->rows->k + at;
        for (int c = 0; c < p->width; c++) {
            const float w = expf(z[c] - max[c]);
            sum[c] += w;
            e[c] += w * k[c];
        }
    }
    for (int c = 0; c < p->width; c++) e[c] /= sum[c];
}

/* Entry j in its final form. */
static void finish(loci_dsv4_seq *s, const pooling *p, int64_t j, float *e)
{
    float cosines[WIDTH_MAX / 2], sines[WIDTH_MAX / 2];
    pool(p, j, e);
    dsv4_round(s->m, e, (size_t)p->width);
    dsv4_norm(s->m, e, e, p->c->norm, 1, p->width);
    dsv4_angles(s->m, 1, j * p->ratio, cosines, sines);
    dsv4_rotate(s, e, 1, p->width, cosines, sines, 1);
}

void dsv4_compress(loci_dsv4_seq *s, int l, const float *h, int64_t pos, int T)
{
    const loci_dsv4 *m = s->m;
    const loci_dsv4_layer_shape *shape = &m->hp.layer[l];
    const int r = shape->ratio;
    float e[WIDTH_MAX];
    pooling main = { &m->w.layer[l].main, &s->carry[l].main, m->hp.head_dim, shape->overlap ? 2 : 1,
                     r };
    pooling index = { &m->w.layer[l].index, &s->carry[l].index, m->hp.index_dim, 2, r };
    project(s, &main, h, pos, T);
    if (shape->indexer) project(s, &index, h, pos, T);
    for (int64_t j = pos / r; j < (pos + T) / r; j++) {
        finish(s, &main, j, e);
        dsv4_entry_put(m, dsv4_entry_at(s, l, j), e);
        if (!shape->indexer) continue;
        finish(s, &index, j, e);
        dsv4_key_put(m, dsv4_keys_at(s, l, j), j % DSV4_GROUP, e);
    }
}
