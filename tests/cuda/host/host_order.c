/* host_order.c - weights of a Read's heads by the picks' order in time: the equations of the model's
 * order.c, in double. */
#include "host.h"

enum { FEATURES = 8 };

static int count(const loci_gpu_order *o, int t)
{
    int n = 0;
    while (n < HOST_PICKS && o->pick[(size_t)t * HOST_SLOTS + n] >= 0) n++;
    return n;
}

static double hat(double x, int k)
{
    if (k == 3 && x > 3.0) return 1.0;
    return fmax(0.0, 1.0 - fabs(x - k));
}

static void features(const loci_gpu_order *o, int t, int n)
{
    const float *w = o->w + (size_t)t * HOST_PICKS;
    float *phi = o->phi + (size_t)t * HOST_PICKS * FEATURES;
    double r[HOST_PICKS], top = 0.0, all = 0.0, older = 0.0;
    for (int i = 0; i < n; i++) top = fmax(top, (double)w[i]);
    for (int i = 0; i < n; i++)
        all += r[i] = top > 0.0 ? fmin(1.0, (double)w[i] / (0.1 * top)) : 1.0;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 4; k++) phi[i * FEATURES + k] = (float)hat(older, k);
        older += r[i];
        for (int k = 0; k < 4; k++)
            phi[i * FEATURES + 4 + k] = (float)hat(fmax(0.0, all - older), k);
    }
}

/* head_w of one head; without c the router's own. */
static void weigh(const loci_gpu_order *o, int t, int h, int n)
{
    const float *w = o->w + (size_t)t * HOST_PICKS;
    const float *phi = o->phi + (size_t)t * HOST_PICKS * FEATURES;
    float *head_w = o->head_w + (size_t)t * HOST_PICKS * HOST_HEADS + h;
    double z[HOST_PICKS], top = -INFINITY, mass = 0.0, sum = 0.0;
    for (int i = 0; i < n; i++) {
        z[i] = 0.0;
        for (int f = 0; o->c && f < FEATURES; f++)
            z[i] += (double)loci_bf16_to_f32(
                        o->c[(size_t)t * HOST_HEADS * FEATURES + h * FEATURES + f]) *
                    (double)phi[i * FEATURES + f];
        top = fmax(top, z[i]);
    }
    for (int i = 0; i < n; i++) {
        mass += (double)w[i];
        sum += z[i] = (double)w[i] * exp(z[i] - top);
    }
    for (int i = 0; i < n; i++)
        head_w[i * HOST_HEADS] = o->c && sum > 0.0 ? (float)(mass * z[i] / sum) : w[i];
}

static void check_order(loci_gpu *g, const char *op, const loci_gpu_order *o)
{
    for (int t = 0; t < o->n; t++)
        for (int i = 0; i < count(o, t); i++) {
            const float w = o->w[(size_t)t * HOST_PICKS + i];
            REQUIRE_IN(g, op, w >= 0.0f && w <= 1.0f, "query %d: weight %d is %g", t, i, (double)w);
        }
}

void HOST(order_forward)(loci_gpu *g, const loci_gpu_order *o)
{
    BEGIN(g);
    check_order(g, __func__, o);
    BEGIN(g);
    const size_t each = (size_t)o->n * HOST_PICKS * HOST_HEADS;
    memset(o->head_w, 0, each * sizeof *o->head_w);
    if (o->c) memset(o->phi, 0, each * sizeof *o->phi);
    for (int t = 0; t < o->n; t++) {
        const int n = count(o, t);
        if (o->c) features(o, t, n);
        for (int h = 0; h < HOST_HEADS; h++) weigh(o, t, h, n);
    }
}

static void backward_head(const loci_gpu_order *o, const float *dhead_w, int t, int h, int n,
                          double dw[HOST_PICKS], float dc[FEATURES])
{
    const float *w = o->w + (size_t)t * HOST_PICKS;
    const size_t first = (size_t)t * HOST_PICKS * HOST_HEADS + h;
    double mass = 0.0, mean = 0.0;
    for (int i = 0; i < n; i++) {
        const size_t at = first + (size_t)i * HOST_HEADS;
        mass += (double)w[i];
        mean += (double)dhead_w[at] * (double)o->head_w[at];
    }
    mean = mass > 0.0 ? mean / mass : 0.0;
    for (int i = 0; i < n; i++) {
        const size_t at = first + (size_t)i * HOST_HEADS;
        const double db = (double)o->head_w[at] * ((double)dhead_w[at] - mean);
        dw[i] += mean + (w[i] > 0.0f ? db / (double)w[i] : 0.0);
        for (int f = 0; f < FEATURES; f++)
            dc[f] += (float)(db * (double)o->phi[((size_t)t * HOST_PICKS + i) * FEATURES + f]);
    }
}

void HOST(order_backward)(loci_gpu *g, const loci_gpu_order *o, const float *dhead_w, float *dw,
                          loci_bf16 *dc)
{
    BEGIN(g);
    check_order(g, __func__, o);
    BEGIN(g);
    for (int t = 0; t < o->n; t++) {
        const int n = count(o, t);
        double sum[HOST_PICKS] = { 0 };
        for (int h = 0; h < HOST_HEADS; h++) {
            float d[FEATURES] = { 0 };
            if (o->c) {
                backward_head(o, dhead_w, t, h, n, sum, d);
                host_put(dc + (size_t)t * HOST_HEADS * FEATURES + h * FEATURES, d, FEATURES);
            }
            for (int i = 0; !o->c && i < n; i++)
                sum[i] += (double)dhead_w[((size_t)t * HOST_PICKS + i) * HOST_HEADS + h];
        }
        for (int i = 0; i < HOST_PICKS; i++) dw[(size_t)t * HOST_PICKS + i] = (float)sum[i];
    }
}
