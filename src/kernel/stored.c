/* stored.c - matrices as files hold them: sizes of their rows, the value of an element, and the
 * codes of quantised numbers.
 *
 * Element by element from the definitions: embedding rows and small tensors are read through this,
 * and the products of ref_linear.c; the vector forms answer to it. */
#include <assert.h>
#include <string.h>
#include "kernel/kernel.h"
#include "kernel/stored.h"

static const struct {
    const char *name;
    int elements, bytes;
} list[LOCI_STORED_TYPES] = {
#define X(NAME, name, elements, bytes) { #NAME, elements, bytes },
    LOCI_STORED_LIST(X)
#undef X
};

const char *loci_stored_name(loci_stored_type t)
{
    return (unsigned)t < LOCI_STORED_TYPES ? list[t].name : "?";
}

int loci_stored_block(loci_stored_type t)
{
    return list[t].elements;
}

size_t loci_stored_row_bytes(loci_stored_type t, int cols)
{
    if (cols < 0 || cols % list[t].elements != 0) return 0;
    return (size_t)(cols / list[t].elements) * (size_t)list[t].bytes;
}

/* ---- one element -------------------------------------------------------------------------- */

static uint16_t u16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static float f16_at(const uint8_t *p)
{
    return loci_f16_to_f32(u16_at(p));
}

static float q8_0_at(const uint8_t *row, int c)
{
    const uint8_t *b = row + c / 32 * 34;
    return f16_at(b) * (float)(int8_t)b[2 + c % 32];
}

/* Scale and minimum number i (0..7) of a Q4_K block, packed in 12 bytes: the first four of each
 * have 6 bits in a byte; the others lend 4 bits from bytes 8..11 and 2 from the tops of the first.
 */
void stored_q4_k_scale(const uint8_t *p, int i, int *scale, int *min)
{
    if (i < 4) {
        *scale = p[i] & 63;
        *min = p[i + 4] & 63;
    } else {
        *scale = (p[i + 4] & 15) | (p[i - 4] >> 6) << 4;
        *min = p[i + 4] >> 4 | (p[i] >> 6) << 4;
    }
}

static float q4_k_at(const uint8_t *row, int c)
{
    const uint8_t *b = row + c / 256 * 144;
    const int at = c % 256, sub = at / 32;
    int scale, min;
    stored_q4_k_scale(b + 4, sub, &scale, &min);
    const int byte = b[16 + sub / 2 * 32 + at % 32], q = sub % 2 ? byte >> 4 : byte & 15;
    /* Products of an f16 and up to 10 bits are exact in f32; the difference is rounded once. */
    return f16_at(b) * (float)scale * (float)q - f16_at(b + 2) * (float)min;
}

static float q2_k_at(const uint8_t *row, int c)
{
    const uint8_t *b = row + c / 256 * 84;
    const int at = c % 256, s = b[at / 16];
    const int q = b[16 + at / 128 * 32 + at % 32] >> (at % 128 / 32 * 2) & 3;
    return f16_at(b + 80) * (float)(s & 15) * (float)q - f16_at(b + 82) * (float)(s >> 4);
}

static float mxfp4_at(const uint8_t *row, int c)
{
    const uint8_t *b = row + c / 32 * 17;
    const int byte = b[1 + c % 16], code = c % 32 < 16 ? byte & 15 : byte >> 4;
    return loci_e2m1_to_f32((unsigned)code) * loci_e8m0_to_f32(b[0]);
}

float stored_code(const loci_stored *w, const uint8_t *row, int c)
{
    switch (w->type) {
    case LOCI_STORED_BF16: return loci_bits_to_f32((uint32_t)u16_at(row + 2 * (size_t)c) << 16);
    case LOCI_STORED_F16: return f16_at(row + 2 * (size_t)c);
    case LOCI_STORED_E4M3: return loci_e4m3_to_f32(row[c]);
    case LOCI_STORED_E2M1: return loci_e2m1_to_f32(c % 2 ? row[c / 2] >> 4 : row[c / 2] & 15u);
    case LOCI_STORED_Q8_0: return q8_0_at(row, c);
    case LOCI_STORED_Q4_K: return q4_k_at(row, c);
    case LOCI_STORED_Q2_K: return q2_k_at(row, c);
    case LOCI_STORED_MXFP4: return mxfp4_at(row, c);
    default: {
        float v;
        memcpy(&v, row + 4 * (size_t)c, sizeof v);
        return v;
    }
    }
}

float stored_scale(const loci_stored *w, int r, int c)
{
    if (!w->scale) return 1.0f;
    const size_t at = w->type == LOCI_STORED_E2M1
                          ? (size_t)r * (size_t)(w->cols / 32) + (size_t)(c / 32)
                          : (size_t)(r / LOCI_SCALE_TILE) *
                                    (size_t)((w->cols + LOCI_SCALE_TILE - 1) / LOCI_SCALE_TILE) +
                                (size_t)(c / LOCI_SCALE_TILE);
    return loci_e8m0_to_f32(w->scale[at]);
}

void loci_stored_row(float *x, const loci_stored *w, int r)
{
    assert(r >= 0 && r < w->rows);
    const uint8_t *row = stored_row_at(w, r);
    for (int c = 0; c < w->cols; c++) x[c] = stored_code(w, row, c) * stored_scale(w, r, c);
}

/* ---- codes -------------------------------------------------------------------------------- */

void loci_pack_e4m3(uint8_t *code, const float *q, int n)
{
    for (int i = 0; i < n; i++) code[i] = loci_e4m3_code(q[i]);
}

void loci_pack_e2m1(uint8_t *code, const float *q, int n)
{
    for (int i = 0; i + 1 < n; i += 2)
        code[i / 2] = (uint8_t)(loci_e2m1_code(q[i]) | loci_e2m1_code(q[i + 1]) << 4);
}

void loci_pack_e8m0(uint8_t *byte, const float *scale, int n)
{
    for (int i = 0; i < n; i++) byte[i] = loci_pow2_to_e8m0(scale[i]);
}

/* ---- the product of any type -------------------------------------------------------------- */

void loci_linear_stored(const loci_kernels *k, float *y, int ldy, const float *x, int ldx,
                        const float *sx, int ldsx, const loci_stored *w, int first, int m, int n)
{
    assert(first >= 0 && n >= 0 && first <= w->rows - n);
    switch (w->type) {
#define X(NAME, name, elements, bytes)                                                             \
    case LOCI_STORED_##NAME: k->linear_##name(y, ldy, x, ldx, sx, ldsx, w, first, m, n); break;
        LOCI_STORED_LIST(X)
#undef X
    default: assert(0);
    }
}
