/* host_mass.c - the router's teacher (attention mass of a query on each of its chunks), and the pointer
 * loss over all keys. */
#include "host.h"

static const double POINTER_EPS = 1e-6;

/* log sum exp of head h of query q over the tokens of a chunk of keys. */
static double chunk_log_sum(const float *q, const float *k, int cols, int n, float scale)
{
    double s[64], top = -INFINITY, sum = 0.0;
    for (int j = 0; j < n; j++)
        top = fmax(top, s[j] = (double)scale * host_dot(q, k + (size_t)j * cols, 64));
    for (int j = 0; j < n; j++) sum += exp(s[j] - top);
    return top + log(sum);
}

void HOST(mass)(loci_gpu *g, float *target, float *part, int ld, const loci_bf16 *q,
                const loci_bf16 *content, int cols, const int32_t *n_tokens, const int32_t *own_lo,
                const int32_t *own_hi, const int32_t *rows, int n_rows, float scale)
{
    BEGIN(g);
    ALIGNED(g, q, 0, 16);
    ALIGNED(g, content, 0, 16);
    host_spoil(part, (size_t)n_rows * HOST_HEADS * ld * sizeof *part);
    for (int i = 0; i < n_rows; i++) {
        const int t = rows[i], lo = own_lo[t], n = own_hi[t] - lo;
        REQUIRE(g, n <= ld, "query %d has %d chunks in rows of %d", t, n, ld);
        for (int c = lo; c < lo + n; c++)
            REQUIRE(g, n_tokens[c] > 0 && n_tokens[c] <= 64, "chunk %d has %d tokens", c,
                    n_tokens[c]);
        float *row = target + (size_t)i * ld;
        for (int c = 0; c < n; c++) row[c] = 0.0f;
        for (int h = 0; h < HOST_HEADS && n > 0; h++) {
            float query[64];
            double total = -INFINITY, *of = host_scratch((size_t)n, sizeof *of);
            host_get(query, q + (size_t)t * HOST_WIDE + h * 64, 64);
            for (int c = 0; c < n; c++) {
                float *k = host_rows(content + (size_t)(lo + c) * HOST_CHUNK * cols, cols,
                                     n_tokens[lo + c], cols);
                of[c] = chunk_log_sum(query, k, cols, n_tokens[lo + c], scale);
                total = c == 0 ? of[c] : host_log_add(total, of[c]);
                free(k);
            }
            for (int c = 0; c < n; c++) row[c] += (float)(exp(of[c] - total) / HOST_HEADS);
            free(of);
        }
    }
}

/* ---- pointer loss over all keys ----------------------------------------------------------------- */

void HOST(pointer_forward)(loci_gpu *g, float *extra, float *stat, int n, const loci_bf16 *q,
                           const loci_bf16 *content, int cols, const float *lse,
                           const int32_t *source, const int32_t *rows, int n_rows, float scale,
                           float weight, float share)
{
    BEGIN(g);
    for (int i = 0; i < n_rows; i++) {
        const int t = rows[i];
        REQUIRE(g, t >= 0 && t < n && source[t] >= 0, "query %d of %d has source %d", t, n,
                source[t]);
        double p[HOST_HEADS], mean = 0.0;
        float query[HOST_WIDE], k[64];
        host_get(query, q + (size_t)t * HOST_WIDE, HOST_WIDE);
        host_get(k, content + (size_t)source[t] * cols, 64);
        for (int h = 0; h < HOST_HEADS; h++) {
            p[h] = exp((double)scale * host_dot(query + h * 64, k, 64) -
                       (double)lse[(size_t)t * HOST_HEADS + h]);
            mean += p[h] / HOST_HEADS;
        }
        for (int h = 0; extra && h < HOST_HEADS; h++)
            extra[(size_t)t * HOST_HEADS + h] =
                (float)((double)weight * p[h] / (HOST_HEADS * (mean + POINTER_EPS)));
        if (stat)
            stat[(size_t)LOCI_STAT_POINTER * n + t] -=
                (float)((double)share * log(mean + POINTER_EPS));
    }
}

void HOST(pointer_backward)(loci_gpu *g, loci_bf16 *dq, float *dcontent, const float *extra,
                            const loci_bf16 *q, const loci_bf16 *content, int cols,
                            const int32_t *source, const int32_t *by_source,
                            const int32_t *source_start, int n_sources, float scale)
{
    BEGIN(g);
    for (int i = 0; i < n_sources; i++)
        for (int x = source_start[i]; x < source_start[i + 1]; x++) {
            const int t = by_source[x], row = source[t];
            REQUIRE(g, row >= 0 && row == source[by_source[source_start[i]]],
                    "query %d of source %d copies row %d", t, i, row);
            float k[64], query[64], d[64];
            host_get(k, content + (size_t)row * cols, 64);
            for (int h = 0; h < HOST_HEADS; h++) {
                const size_t at = (size_t)t * HOST_WIDE + h * 64;
                const float b = scale * extra[(size_t)t * HOST_HEADS + h];
                host_get(query, q + at, 64);
                host_get(d, dq + at, 64);
                host_add(d, -b, k, 64);
                host_put(dq + at, d, 64);
                host_add(dcontent + (size_t)row * HOST_ROW, -b, query, 64);
            }
        }
}
