/* model.c - a DeepSeek-V4 model: a shape, its weights, a mode, and the tables that follow. */
#include "model/dsv4/dsv4_impl.h"

#include <stdlib.h>
#include <string.h>

static const char *const mode_names[] = { "f32", "fast", "exact" };

const char *loci_dsv4_mode_name(loci_dsv4_mode mode)
{
    return mode_names[mode];
}

loci_status loci_dsv4_mode_parse(const char *name, loci_dsv4_mode *mode, loci_error *err)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(name, mode_names[i]) == 0) {
            *mode = (loci_dsv4_mode)i;
            return LOCI_OK;
        }
    return loci_fail(err, LOCI_EINVAL, "mode: expected f32, fast or exact, found %s", name);
}

/* Index keys of the quantised modes go through a Hadamard transform and lie in rows of 8. */
static loci_status check_mode(const loci_dsv4_hparams *hp, loci_dsv4_mode mode, loci_error *err)
{
    const int di = hp->index_dim;
    bool indexer = false;
    for (int l = 0; l < hp->n_layers; l++) indexer |= hp->layer[l].indexer;
    if (hp->family == LOCI_DSV4_V41)
        return loci_fail(err, LOCI_EVERSION, "V4.1 is recognised but not run");
    if (mode != LOCI_DSV4_MODE_F32 && indexer && (di < 8 || (di & (di - 1)) != 0))
        return loci_fail(err, LOCI_EINVAL,
                         "mode %s: expected an index_head_dim that is a power of two from 8 on, "
                         "found %d",
                         mode_names[mode], di);
    return LOCI_OK;
}

static loci_status make_tables(loci_dsv4 *m, loci_error *err)
{
    for (int i = 0; i < 256; i++) m->e4m3[i] = loci_e4m3_to_f32((uint8_t)i);
    for (int i = 0; i < 2; i++) {
        m->freq[i] = calloc((size_t)m->hp.rope_dim / 2, sizeof *m->freq[i]);
        if (!m->freq[i]) return loci_fail(err, LOCI_ENOMEM, "no memory for angles");
        dsv4_frequencies(m->freq[i], &m->hp, i == 1);
    }
    return LOCI_OK;
}

loci_status loci_dsv4_init(loci_dsv4 *m, const loci_dsv4_hparams *hp, loci_dsv4_weights *w,
                           unsigned cpu_flags, loci_dsv4_mode mode, int block_tokens,
                           loci_error *err)
{
    *m = (loci_dsv4){ .hp = *hp, .w = *w, .mode = mode };
    *w = (loci_dsv4_weights){ 0 };
    loci_kernels_init(&m->k, cpu_flags);
    if (m->hp.n_mtp > 0 && !m->w.mtp[0].e_proj.data) m->hp.n_mtp = 0; /* the block was left out */
    loci_status st = check_mode(hp, mode, err);
    if (st == LOCI_OK) st = loci_dsv4_layout_plan(&m->lay, &m->hp, mode, block_tokens, err);
    if (st == LOCI_OK) st = make_tables(m, err);
    if (st != LOCI_OK) loci_dsv4_free(m);
    return st;
}

void loci_dsv4_free(loci_dsv4 *m)
{
    if (!m) return;
    loci_dsv4_weights_free(&m->w);
    free(m->freq[0]);
    free(m->freq[1]);
    *m = (loci_dsv4){ 0 };
}
