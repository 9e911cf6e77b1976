/* check_order.h - checks of the heads' weights by order in time against the equations of
 * src/model/order.c, counted and summed the long way round in double. */
#ifndef CHECK_ORDER_H
#define CHECK_ORDER_H

#include "check_read.h"

typedef struct {
    int n;
    float *w, *c, *head_w, *phi, *dhead; /* c NULL: no order */
    int32_t *pick;
} order_case;

static inline double order_hat(double x, int k)
{
    return k == 3 && x > 3.0 ? 1.0 : fmax(0.0, 1.0 - fabs(x - k));
}

/* What pick i of query t counts for. */
static inline double order_relevance(const order_case *o, int t, int i)
{
    const float *w = o->w + (size_t)t * PICKS;
    double top = 0.0;
    for (int j = 0; j < PICKS && o->pick[(size_t)t * SLOTS + j] >= 0; j++) top = fmax(top, w[j]);
    return fmin(1.0, w[i] / (0.1 * top));
}

static inline void order_truth(order_case *o, int t)
{
    const int32_t *pick = o->pick + (size_t)t * SLOTS;
    const float *w = o->w + (size_t)t * PICKS;
    int n = 0;
    while (n < PICKS && pick[n] >= 0) n++;
    for (int i = 0; i < n; i++) {
        float *phi = o->phi + ((size_t)t * PICKS + i) * 8;
        double older = 0.0, newer = 0.0;
        for (int j = 0; j < i; j++) older += order_relevance(o, t, j);
        for (int j = i + 1; j < n; j++) newer += order_relevance(o, t, j);
        for (int k = 0; k < 4; k++) {
            phi[k] = (float)order_hat(older, k);
            phi[4 + k] = (float)order_hat(newer, k);
        }
    }
    for (int h = 0; h < HEADS; h++) {
        double e[PICKS], sum = 0.0, mass = 0.0;
        for (int i = 0; i < n; i++) {
            double z = 0.0;
            for (int f = 0; o->c && f < 8; f++)
                z += (double)o->c[(size_t)t * 64 + h * 8 + f] *
                     o->phi[((size_t)t * PICKS + i) * 8 + f];
            sum += e[i] = w[i] * exp(z);
            mass += w[i];
        }
        for (int i = 0; i < n; i++)
            o->head_w[((size_t)t * PICKS + i) * HEADS + h] = (float)(mass * e[i] / sum);
    }
}

/* Weights whose ratios lie between 1 and 10^4, some equal. */
static inline order_case order_new(int n, int n_chunks, bool order)
{
    const size_t each = (size_t)n * PICKS * HEADS;
    order_case o = { .n = n };
    int32_t *lo = ints(n), *hi = ints(n);
    for (int t = 0; t < n; t++) {
        lo[t] = 0;
        hi[t] = t % 5 == 3 ? 0 : n_chunks;
    }
    o.pick = random_picks(n, lo, hi);
    o.w = floats((size_t)n * PICKS);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < PICKS && o.pick[(size_t)t * SLOTS + i] >= 0; i++)
            o.w[(size_t)t * PICKS + i] =
                i % 3 == 0 ? 0.06f : 0.06f * (float)pow(10.0, -4.0 * loci_rng_unit(&rng));
    o.c = order ? random_bf16((size_t)n * 64, 2.0) : NULL;
    o.dhead = random_f32(each, 1.0);
    o.head_w = floats(each);
    o.phi = floats(each);
    for (int t = 0; t < n; t++) order_truth(&o, t);
    return o;
}

static inline loci_gpu_order order_upload(const order_case *o)
{
    return (loci_gpu_order){ .w = put_f32(o->w, (size_t)o->n * PICKS),
                             .pick = put_i32(o->pick, (size_t)o->n * SLOTS),
                             .c = o->c ? put_bf16(o->c, (size_t)o->n * 64) : NULL,
                             .n = o->n };
}

static inline void order_forward_case(int n, int n_chunks, bool order)
{
    order_case o = order_new(n, n_chunks, order);
    const size_t each = (size_t)n * PICKS * HEADS;
    loci_gpu_order job = order_upload(&o);
    job.head_w = out_f32(NULL, each);
    if (order) job.phi = out_f32(NULL, each);
    TWICE("order_forward") loci_gpu_order_forward(gpu, &job);
    compare("head_w", get_f32(job.head_w, each), o.head_w, each, 1e-4);
    if (order) compare("phi", get_f32(job.phi, each), o.phi, each, 1e-4);
    done("order_forward");
}

/* dw and dc of query t, from the derivatives of a softmax that is scaled by its mass. */
static inline void order_gradient(const order_case *o, int t, float *dw, float *dc)
{
    const float *w = o->w + (size_t)t * PICKS;
    for (int h = 0; h < HEADS; h++) {
        double mass = 0.0, mean = 0.0;
        for (int i = 0; i < PICKS; i++) {
            const size_t at = ((size_t)t * PICKS + i) * HEADS + h;
            mass += w[i];
            mean += (double)o->dhead[at] * o->head_w[at];
        }
        mean = mass > 0.0 ? mean / mass : 0.0;
        for (int i = 0; i < PICKS && o->pick[(size_t)t * SLOTS + i] >= 0; i++) {
            const size_t at = ((size_t)t * PICKS + i) * HEADS + h;
            const double d = o->dhead[at] - mean;
            dw[i] += o->c ? (float)(mean + d * o->head_w[at] / w[i]) : o->dhead[at];
            for (int f = 0; o->c && f < 8; f++)
                dc[h * 8 + f] +=
                    (float)(d * o->head_w[at] * o->phi[((size_t)t * PICKS + i) * 8 + f]);
        }
    }
}

static inline void order_backward_case(int n, int n_chunks, bool order)
{
    order_case o = order_new(n, n_chunks, order);
    const size_t each = (size_t)n * PICKS * HEADS;
    float *dw = floats((size_t)n * PICKS), *dc = floats((size_t)n * 64);
    for (int t = 0; t < n; t++) order_gradient(&o, t, dw + (size_t)t * PICKS, dc + (size_t)t * 64);
    loci_gpu_order job = order_upload(&o);
    job.head_w = put_f32(o.head_w, each);
    if (order) job.phi = put_f32(o.phi, each);
    const float *dhead = put_f32(o.dhead, each);
    float *got_dw = out_f32(NULL, (size_t)n * PICKS);
    loci_bf16 *got_dc = order ? out_bf16(NULL, (size_t)n * 64) : NULL;
    TWICE("order_backward") loci_gpu_order_backward(gpu, &job, dhead, got_dw, got_dc);
    compare("dw", get_f32(got_dw, (size_t)n * PICKS), dw, (size_t)n * PICKS, 1e-3);
    if (order) compare("dc", get_bf16(got_dc, (size_t)n * 64), dc, (size_t)n * 64, SOME_ROUNDINGS);
    done("order_backward");
}

static inline void order_cases(void (*run)(int, int, bool))
{
    static const int sizes[][2] = { { 1, 1 }, { 2, 3 }, { 9, 40 }, { 300, 20 } };
    for (int i = 0; i < COUNT(sizes); i++) {
        run(sizes[i][0], sizes[i][1], false);
        run(sizes[i][0], sizes[i][1], true);
    }
}

static void check_order_forward(void)
{
    order_cases(order_forward_case);
}

static void check_order_backward(void)
{
    order_cases(order_backward_case);
}

#endif
