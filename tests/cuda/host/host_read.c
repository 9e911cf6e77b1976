/* host_read.c - routed reading: queries attend to the chunks they picked, entry by entry of the lists.
 *
 *   o(t,h) = sum_i w_hi ( softmax_j(scale q_h k_j) v_j + row_i )      j in chunk i, i-th oldest pick
 *
 * row_i: the i-th rank, or phi_i times the marks;
 *
 * and back, P being the softmax of an entry's scores and dP = dO v^T:
 *
 *   dw = sum_j P dP;   dV += (w P)^T dO;   dS = w P (dP - dw);   dQ = scale dS K;   dK += scale dS^T Q
 *
 * An entry in the pointer's slot has w = 0 and dS = b_h (P - [j is the source]),
 *   b_h = weight p_h / (heads (mean_h p_h + eps)),  p_h = P at the source.
 * As on the device each entry leaves its part of o or dq in bf16, and they are summed in order. */
#include "host.h"

static const double POINTER_EPS = 1e-6;

typedef struct { /* operands as f32 */
    float *q, *content, *dout;
} operands;

static operands read_in(const loci_gpu_read *r, const loci_gpu_read_grad *grad)
{
    return (operands){
        host_rows(r->q, HOST_WIDE, r->n, HOST_WIDE),
        host_rows(r->content, r->cols, r->lists->n_chunks * HOST_CHUNK, r->cols),
        grad ? host_rows(grad->dout, HOST_WIDE, r->n, HOST_WIDE) : NULL,
    };
}

static void free_operands(operands *x)
{
    free(x->q);
    free(x->content);
    free(x->dout);
}

static void check_read(loci_gpu *g, const char *op, const loci_gpu_read *r)
{
    const loci_gpu_lists *l = r->lists;
    REQUIRE_IN(g, op, l->slots == HOST_SLOTS && l->n == r->n,
               "lists of %d queries with %d slots for %d", l->n, l->slots, r->n);
    REQUIRE_IN(g, op, r->cols == 64 || r->cols == 128, "content rows of %d", r->cols);
    ALIGNED_IN(g, op, r->q, 0, 16);
    ALIGNED_IN(g, op, r->content, 0, 16);
    ALIGNED_IN(g, op, r->pair, 0, 16);
    for (int c = 0; c < l->n_chunks; c++)
        REQUIRE_IN(g, op,
                   l->start[c] == l->start[c + 1] || (r->n_tokens[c] > 0 && r->n_tokens[c] <= 64),
                   "chunk %d is read and has %d tokens", c, r->n_tokens[c]);
    for (int t = 0; t < r->n; t++) {
        const int32_t *pick = r->pick + (size_t)t * HOST_SLOTS;
        for (int i = 1; i < HOST_PICKS; i++)
            REQUIRE_IN(g, op, pick[i] < 0 || (pick[i - 1] >= 0 && pick[i - 1] < pick[i]),
                       "query %d: pick %d is %d behind %d", t, i, pick[i], pick[i - 1]);
        REQUIRE_IN(g, op, pick[HOST_PICKS] < 0 || r->source[t] / HOST_CHUNK == pick[HOST_PICKS],
                   "query %d points at row %d and chunk %d", t, r->source[t], pick[HOST_PICKS]);
    }
}

/* Rows behind a chunk's tokens take part in products, times 0. */
static void check_content(loci_gpu *g, const char *op, const loci_gpu_read *r, const operands *x)
{
    const size_t each = HOST_CHUNK * (size_t)r->cols;
    for (int c = 0; c < r->lists->n_chunks; c++)
        REQUIRE_IN(g, op,
                   r->lists->start[c] == r->lists->start[c + 1] ||
                       host_finite(x->content + (size_t)c * each, each),
                   "chunk %d is read and has rows that are not finite", c);
}

/* p (64) unnormalised, their sum; returns the largest score. */
static double scores(const loci_gpu_read *r, const float *q, const float *k, int n, double p[64],
                     double *sum)
{
    double top = -INFINITY;
    for (int j = 0; j < n; j++)
        top = fmax(top, p[j] = (double)r->scale * host_dot(q, k + (size_t)j * r->cols, 64));
    *sum = 0.0;
    for (int j = 0; j < n; j++) *sum += p[j] = (double)(float)exp(p[j] - top);
    return top;
}

static size_t head_at(int t, int slot, int h)
{
    return ((size_t)t * HOST_PICKS + (size_t)slot) * HOST_HEADS + (size_t)h;
}

/* How much of row f the place of a query's pick i says. */
static double place_share(const loci_gpu_read *r, int t, int i, int f)
{
    if (!r->phi) return f == i ? 1.0 : 0.0;
    return f < 8 ? (double)r->phi[((size_t)t * HOST_PICKS + i) * 8 + f] : 0.0;
}

static void forward_entry(const loci_gpu_read *r, const operands *x, int c, int t, int slot)
{
    const float *k = x->content + (size_t)c * HOST_CHUNK * r->cols, *v = k + r->cols - 64;
    const size_t at = (size_t)t * HOST_PAIRS + slot;
    double mean = 0.0;
    for (int h = 0; h < HOST_HEADS; h++) {
        double p[64], sum;
        float acc[64] = { 0 };
        const double top =
            scores(r, x->q + (size_t)t * HOST_WIDE + h * 64, k, r->n_tokens[c], p, &sum);
        if (r->lse) r->lse[at * HOST_HEADS + h] = (float)(top + log(sum));
        if (slot == HOST_PICKS) {
            mean += p[r->source[t] % HOST_CHUNK] / sum / HOST_HEADS;
            continue;
        }
        for (int j = 0; j < r->n_tokens[c]; j++)
            host_add(acc, host_round((float)p[j]), v + (size_t)j * r->cols, 64);
        const double w = (double)r->w[head_at(t, slot, h)] / sum;
        for (int d = 0; d < 64; d++) acc[d] = (float)(acc[d] * w);
        host_put(r->pair + at * HOST_WIDE + h * 64, acc, 64);
    }
    if (slot == HOST_PICKS && r->stat)
        r->stat[(size_t)LOCI_STAT_POINTER * r->n + t] -=
            (float)((double)r->share * log(mean + POINTER_EPS));
}

/* Pairs of a query and their rows, in order. */
static void combine(const loci_gpu_read *r, int t)
{
    float sum[HOST_WIDE] = { 0 }, pair[HOST_WIDE];
    for (int i = 0; i < HOST_PICKS && r->pick[(size_t)t * HOST_SLOTS + i] >= 0; i++) {
        host_get(pair, r->pair + ((size_t)t * HOST_PAIRS + i) * HOST_WIDE, HOST_WIDE);
        for (int d = 0; d < HOST_WIDE; d++) sum[d] += pair[d];
        for (int f = 0; f < HOST_PICKS; f++) {
            const double share = place_share(r, t, i, f);
            for (int d = 0; share != 0.0 && d < HOST_WIDE; d++)
                sum[d] +=
                    (float)(share * (double)r->w[head_at(t, i, d / 64)]) * r->row[f * 64 + d % 64];
        }
    }
    host_put(r->o + (size_t)t * HOST_WIDE, sum, HOST_WIDE);
}

/* One (query, pick) without lists: the pick is a place, of which only this chunk is looked at. */
static void forward_place(loci_gpu *g, const loci_gpu_read *r, const float *q, int t, int slot)
{
    const int32_t *pick = r->pick + (size_t)t * HOST_SLOTS + slot;
    const size_t each = HOST_CHUNK * (size_t)r->cols;
    if (*pick < 0) return;
    REQUIRE(g, slot == 0 || pick[-1] >= 0, "query %d: pick %d behind none", t, slot);
    REQUIRE(g, r->n_tokens[*pick] > 0 && r->n_tokens[*pick] <= HOST_CHUNK,
            "place %d is read and has %d tokens", *pick, r->n_tokens[*pick]);
    float *content = host_rows(r->content + (size_t)*pick * each, r->cols, HOST_CHUNK, r->cols);
    loci_gpu_read one = *r;
    one.n_tokens = r->n_tokens + *pick;
    if (host_finite(content, each))
        forward_entry(&one, &(operands){ .q = (float *)q, .content = content }, 0, t, slot);
    else
        host_refuse(g, "read_forward", "place %d has rows that are not finite", *pick);
    free(content);
}

static void read_places(loci_gpu *g, const loci_gpu_read *r)
{
    float *q = host_rows(r->q, HOST_WIDE, r->n, HOST_WIDE);
    host_spoil(r->pair, (size_t)r->n * HOST_PAIRS * HOST_WIDE * sizeof *r->pair);
    for (int t = 0; t < r->n && !host_failed(g); t++) {
        for (int i = 0; i < HOST_PICKS; i++) forward_place(g, r, q, t, i);
        if (!host_failed(g)) combine(r, t);
    }
    free(q);
}

void HOST(read_forward)(loci_gpu *g, const loci_gpu_read *r)
{
    BEGIN(g);
    if (r->n == 0) return;
    if (!r->lists) {
        read_places(g, r);
        return;
    }
    check_read(g, __func__, r);
    BEGIN(g);
    const loci_gpu_lists *l = r->lists;
    operands x = read_in(r, NULL);
    check_content(g, __func__, r, &x);
    host_spoil(r->pair, (size_t)r->n * HOST_PAIRS * HOST_WIDE * sizeof *r->pair);
    for (int c = 0; c < l->n_chunks && !host_failed(g); c++)
        for (int i = l->start[c]; i < l->start[c + 1]; i++)
            if (l->entry[i] % HOST_SLOTS < HOST_PAIRS)
                forward_entry(r, &x, c, l->entry[i] / HOST_SLOTS, l->entry[i] % HOST_SLOTS);
    for (int t = 0; t < r->n && !host_failed(g); t++) combine(r, t);
    free_operands(&x);
}

/* ---- backward ----------------------------------------------------------------------------------- */

/* b_h of an entry that points, from the probabilities at its source. */
static void pointer_slopes(const loci_gpu_read *r, const loci_gpu_read_grad *grad,
                           const operands *x, int t, double b[HOST_HEADS])
{
    const float *k = x->content + (size_t)r->source[t] * r->cols;
    double mean = 0.0;
    for (int h = 0; h < HOST_HEADS; h++) {
        const float lse = r->lse[((size_t)t * HOST_PAIRS + HOST_PICKS) * HOST_HEADS + h];
        b[h] = exp((double)r->scale * host_dot(x->q + (size_t)t * HOST_WIDE + h * 64, k, 64) -
                   (double)lse);
        mean += b[h] / HOST_HEADS;
    }
    for (int h = 0; h < HOST_HEADS; h++)
        b[h] *= (double)grad->pointer / (HOST_HEADS * (mean + POINTER_EPS));
}

/* ds and w p of the keys of one head; returns dw. */
static double head_gradient(const loci_gpu_read *r, const operands *x, int c, int t, int slot,
                            int h, double b, float ds[64], float wp[64])
{
    const float *q = x->q + (size_t)t * HOST_WIDE + h * 64,
                *dout = x->dout + (size_t)t * HOST_WIDE + h * 64,
                *k = x->content + (size_t)c * HOST_CHUNK * r->cols, *v = k + r->cols - 64;
    const double lse = (double)r->lse[((size_t)t * HOST_PAIRS + slot) * HOST_HEADS + h],
                 w = slot < HOST_PICKS ? (double)r->w[head_at(t, slot, h)] : 0.0;
    double p[64], dp[64], dw = 0.0;
    for (int j = 0; j < r->n_tokens[c]; j++) {
        p[j] = exp((double)r->scale * host_dot(q, k + (size_t)j * r->cols, 64) - lse);
        dp[j] = host_dot(dout, v + (size_t)j * r->cols, 64);
        dw += p[j] * dp[j];
    }
    for (int j = 0; j < r->n_tokens[c]; j++) {
        const bool source = j == r->source[t] % HOST_CHUNK;
        ds[j] = host_round((float)(slot == HOST_PICKS ? b * (p[j] - (source ? 1.0 : 0.0))
                                                      : w * p[j] * (dp[j] - dw)));
        wp[j] = host_round((float)(w * p[j]));
    }
    return dw;
}

/* dc (64, 128) gradient of the chunk's rows, added to. */
static void backward_entry(const loci_gpu_read *r, const loci_gpu_read_grad *grad,
                           const operands *x, float *dc, int c, int t, int slot)
{
    const float *k = x->content + (size_t)c * HOST_CHUNK * r->cols;
    loci_bf16 *pair = r->pair + ((size_t)t * HOST_PAIRS + slot) * HOST_WIDE;
    double b[HOST_HEADS] = { 0 };
    if (slot == HOST_PICKS) pointer_slopes(r, grad, x, t, b);
    for (int h = 0; h < HOST_HEADS; h++) {
        const size_t at = (size_t)t * HOST_WIDE + h * 64;
        float ds[64], wp[64], dq[64] = { 0 };
        const double dw = head_gradient(r, x, c, t, slot, h, b[h], ds, wp);
        if (slot < HOST_PICKS) grad->dw[head_at(t, slot, h)] = (float)dw;
        for (int j = 0; j < r->n_tokens[c]; j++) {
            float *row = dc + (size_t)j * HOST_ROW;
            host_add(dq, ds[j], k + (size_t)j * r->cols, 64);
            host_add(row, r->scale * ds[j], x->q + at, 64);
            host_add(row + 64, wp[j], x->dout + at, 64);
        }
        for (int d = 0; d < 64; d++) dq[d] *= r->scale;
        host_put(pair + h * 64, dq, 64);
    }
}

/* dq of a query from its pairs in order; rows: dw_hi += <dO_h, row_i>, drow += what it weighed. */
static void finish_query(const loci_gpu_read *r, const loci_gpu_read_grad *grad, const operands *x,
                         double *drow, int t)
{
    float dq[HOST_WIDE] = { 0 }, pair[HOST_WIDE];
    const float *dout = x->dout + (size_t)t * HOST_WIDE;
    for (int i = 0; i < HOST_PAIRS; i++) {
        if (i < HOST_PICKS && r->pick[(size_t)t * HOST_SLOTS + i] < 0)
            memset(grad->dw + head_at(t, i, 0), 0, HOST_HEADS * sizeof *grad->dw);
        if (r->pick[(size_t)t * HOST_SLOTS + i] < 0) continue;
        host_get(pair, r->pair + ((size_t)t * HOST_PAIRS + i) * HOST_WIDE, HOST_WIDE);
        host_add(dq, 1.0f, pair, HOST_WIDE);
        for (int f = 0; i < HOST_PICKS && f < HOST_PICKS; f++) {
            const double share = place_share(r, t, i, f);
            for (int h = 0; share != 0.0 && h < HOST_HEADS; h++) {
                const double w = share * (double)r->w[head_at(t, i, h)];
                grad->dw[head_at(t, i, h)] +=
                    (float)(share * host_dot(dout + h * 64, r->row + f * 64, 64));
                for (int k = 0; k < 64; k++) drow[f * 64 + k] += w * (double)dout[h * 64 + k];
            }
        }
    }
    host_put(grad->dq + (size_t)t * HOST_WIDE, dq, HOST_WIDE);
}

void HOST(read_backward)(loci_gpu *g, const loci_gpu_read *r, const loci_gpu_read_grad *grad)
{
    BEGIN(g);
    if (r->n == 0) return;
    check_read(g, __func__, r);
    BEGIN(g);
    const loci_gpu_lists *l = r->lists;
    const size_t each = HOST_CHUNK * HOST_ROW;
    double drow[HOST_PICKS * 64] = { 0 };
    operands x = read_in(r, grad);
    check_content(g, __func__, r, &x);
    host_spoil(r->pair, (size_t)r->n * HOST_PAIRS * HOST_WIDE * sizeof *r->pair);
    host_spoil(grad->part, (size_t)l->max_items * each * sizeof *grad->part);
    host_spoil(grad->row_part, (size_t)LOCI_GPU_SPLITS * HOST_PICKS * 64 * sizeof(float));
    float *dc = host_scratch(each, sizeof *dc);
    for (int c = 0; c < l->n_chunks && !host_failed(g); c++) {
        memset(dc, 0, each * sizeof *dc);
        for (int i = l->start[c]; i < l->start[c + 1]; i++)
            if (l->entry[i] % HOST_SLOTS < HOST_PAIRS)
                backward_entry(r, grad, &x, dc, c, l->entry[i] / HOST_SLOTS,
                               l->entry[i] % HOST_SLOTS);
        host_add(grad->dcontent + (size_t)c * each, 1.0f, dc, (int)each);
    }
    for (int t = 0; t < r->n && !host_failed(g); t++) finish_query(r, grad, &x, drow, t);
    for (int i = 0; i < (r->phi ? 8 : HOST_PICKS) * 64; i++)
        grad->drow[i] = (float)(grad->drow[i] + drow[i]);
    free(dc);
    free_operands(&x);
}
