/* entry.c - how raw entries, compressed entries and index keys are stored.
 *
 *   entry, quantised modes     d-R codes E4M3, R bf16 (the rotated tail), one E8M0 scale per 64
 *                              codes, zero up to a multiple of 8: 584 bytes for 512 and 64
 *   entry, f32                 d floats
 *   16 keys, quantised modes   di/8 rows of 64 bytes, then per 32 dimensions 16 E8M0 scales.
 *                              Row i holds dimensions 8i .. 8i+7 of 16 keys: byte 4k+c has dimension
 *                              8i+c of key k in its low nibble and 8i+4+c in the high one (E2M1)
 *   16 keys, f32               16 rows of di floats
 *
 * Sixteen keys side by side are what the scan multiplies with (kernel.h: index_scores), without
 * reordering a bit.  A block holds the entries of block_tokens positions, layer after layer; it is
 * the unit of memory and of the file. */
#include "model/dsv4/dsv4_impl.h"

#include <math.h>
#include <string.h>

enum { A8_BLOCK = 64, A4_BLOCK = 32, BLOCK_TOKENS = 1024, BLOCK_TOKENS_MAX = 1 << 20 };

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        const int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static size_t blocks_of(int n, int size)
{
    return (size_t)((n + size - 1) / size);
}

loci_status loci_dsv4_layout_plan(loci_dsv4_layout *lay, const loci_dsv4_hparams *hp,
                                  loci_dsv4_mode mode, int block_tokens, loci_error *err)
{
    const int nope = hp->head_dim - hp->rope_dim, di = hp->index_dim;
    int64_t unit = 1; /* positions after which every layer has whole entries and groups of keys */
    *lay = (loci_dsv4_layout){ 0 };
    for (int l = 0; l < hp->n_layers; l++) {
        const loci_dsv4_layer_shape *y = &hp->layer[l];
        const int64_t step = (int64_t)y->ratio * (y->indexer ? DSV4_GROUP : 1);
        if (step > 0) unit = unit / gcd(unit, step) * step;
        if (unit > BLOCK_TOKENS_MAX)
            return loci_fail(err, LOCI_EINVAL, "compress ratios: no common block below %d tokens",
                             BLOCK_TOKENS_MAX);
    }
    const int64_t want = block_tokens > 0 ? block_tokens : BLOCK_TOKENS;
    lay->block_tokens = (int)((want + unit - 1) / unit * unit);
    if (mode == LOCI_DSV4_MODE_F32) {
        lay->entry_bytes = (size_t)hp->head_dim * sizeof(float);
        lay->key_bytes = (size_t)di * sizeof(float);
    } else {
        lay->entry_bytes =
            ((size_t)nope + 2 * (size_t)hp->rope_dim + blocks_of(nope, A8_BLOCK) + 7) & ~(size_t)7;
        lay->key_bytes = (size_t)di / 2 + blocks_of(di, A4_BLOCK);
    }
    for (int l = 0; l < hp->n_layers; l++) {
        const loci_dsv4_layer_shape *y = &hp->layer[l];
        if (y->ratio == 0) continue;
        const size_t n = (size_t)(lay->block_tokens / y->ratio);
        lay->entry_at[l] = lay->block_bytes;
        lay->block_bytes += n * lay->entry_bytes;
        lay->key_at[l] = lay->block_bytes;
        if (y->indexer) lay->block_bytes += n * lay->key_bytes;
    }
    return LOCI_OK;
}

double loci_dsv4_bytes_per_token(const loci_dsv4_layout *lay)
{
    return (double)lay->block_bytes / lay->block_tokens;
}

/* ---- entries ---------------------------------------------------------------------------- */

void dsv4_entry_put(const loci_dsv4 *m, uint8_t *dst, const float *x)
{
    const int d = m->hp.head_dim, R = m->hp.rope_dim, nope = d - R;
    if (m->mode == LOCI_DSV4_MODE_F32) {
        memcpy(dst, x, (size_t)d * sizeof *x);
        return;
    }
    float q[1024], scale[1024 / A8_BLOCK]; /* head_dim <= 1024 */
    memset(dst, 0, m->lay.entry_bytes);
    if (nope > 0) {
        m->k.quant_a8(q, nope, scale, 1024 / A8_BLOCK, x, nope, 1, nope, A8_BLOCK);
        loci_pack_e4m3(dst, q, nope);
        loci_pack_e8m0(dst + nope + 2 * R, scale, (int)blocks_of(nope, A8_BLOCK));
    }
    for (int i = 0; i < R; i++) {
        const uint16_t h = loci_f32_to_bf16(x[nope + i]);
        dst[nope + 2 * i] = (uint8_t)h;
        dst[nope + 2 * i + 1] = (uint8_t)(h >> 8);
    }
}

void dsv4_entry_get(const loci_dsv4 *m, float *x, const uint8_t *entry)
{
    const int d = m->hp.head_dim, R = m->hp.rope_dim, nope = d - R;
    if (m->mode == LOCI_DSV4_MODE_F32) {
        memcpy(x, entry, (size_t)d * sizeof *x);
        return;
    }
    const uint8_t *scale = entry + nope + 2 * R, *tail = entry + nope;
    for (int c = 0; c < nope; c += A8_BLOCK, scale++) {
        const float s = loci_e8m0_to_f32(*scale);
        const int end = nope - c < A8_BLOCK ? nope : c + A8_BLOCK;
        for (int i = c; i < end; i++) x[i] = m->e4m3[entry[i]] * s;
    }
    for (int i = 0; i < R; i++)
        x[nope + i] = loci_bf16_to_f32((uint16_t)(tail[2 * i] | tail[2 * i + 1] << 8));
}

/* ---- index keys and queries --------------------------------------------------------------- */

void dsv4_hadamard(float *x, int n)
{
    for (int half = 1; half < n; half *= 2)
        for (int i = 0; i < n; i += 2 * half)
            for (int j = i; j < i + half; j++) {
                const float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
    const float scale = (float)(1.0 / sqrt((double)n));
    for (int i = 0; i < n; i++) x[i] *= scale;
}

/* One vector of width di: rotated over all its dimensions, then rounded to E2M1 with a scale per
 * 32.  q receives the codes' values. */
static void quantise_key(const loci_dsv4 *m, float *q, float *scale, float *x)
{
    const int di = m->hp.index_dim;
    dsv4_hadamard(x, di);
    dsv4_round(m, x, (size_t)di);
    m->k.quant_a4(q, di, scale, (int)blocks_of(di, A4_BLOCK), x, di, 1, di, A4_BLOCK);
}

void dsv4_key_put(const loci_dsv4 *m, uint8_t *keys, int64_t i, float *x)
{
    const int di = m->hp.index_dim;
    uint8_t *group = keys + (size_t)(i / DSV4_GROUP) * DSV4_GROUP * m->lay.key_bytes;
    const int lane = (int)(i % DSV4_GROUP);
    if (m->mode == LOCI_DSV4_MODE_F32) {
        memcpy(group + (size_t)lane * m->lay.key_bytes, x, (size_t)di * sizeof *x);
        return;
    }
    float q[1024], scale[1024 / A4_BLOCK]; /* index_dim <= 1024 */
    uint8_t byte[1024 / A4_BLOCK];
    quantise_key(m, q, scale, x);
    for (int c = 0; c < di; c++) {
        uint8_t *at = group + c / 8 * 64 + lane * 4 + c % 4;
        const uint8_t code = (uint8_t)loci_e2m1_code(q[c]);
        *at = c % 8 < 4 ? (uint8_t)((*at & 0xf0) | code) : (uint8_t)((*at & 0x0f) | code << 4);
    }
    loci_pack_e8m0(byte, scale, (int)blocks_of(di, A4_BLOCK));
    for (size_t b = 0; b < blocks_of(di, A4_BLOCK); b++)
        group[(size_t)di * 8 + b * DSV4_GROUP + (size_t)lane] = byte[b];
}

void dsv4_query_put(const loci_dsv4 *m, int8_t *code, float *scale, float *x)
{
    const int di = m->hp.index_dim, blocks = (int)blocks_of(di, A4_BLOCK);
    if (m->mode == LOCI_DSV4_MODE_F32) return;
    for (int h = 0; h < m->hp.index_heads; h++) {
        float *x_h = x + (size_t)h * (size_t)di;
        quantise_key(m, x_h, scale + (size_t)h * (size_t)blocks, x_h);
        for (int c = 0; c < di; c++) /* E2M1 values are halves up to 6 */
            code[(size_t)h * (size_t)di + (size_t)c] = (int8_t)(2.0f * x_h[c]);
    }
}
