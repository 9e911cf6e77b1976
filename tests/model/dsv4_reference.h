/* dsv4_reference.h - the forward pass of a DeepSeek-V4 model in double, straight on: all positions at
 * once, no rings, no state, every rule where it is used.  Quantises nothing.  Written from the
 * equations, apart from the code under test; it shares its weights' values only. */
#ifndef DSV4_REFERENCE_H
#define DSV4_REFERENCE_H

#include "dsv4_model.h"

typedef struct {
    maker *k;
    const loci_dsv4_hparams *hp;
    char prefix[32];
    int T;
    double closest; /* smallest gap between the last index score taken and the first left out */
} ref;

static inline double *doubles(int64_t n)
{
    return calloc((size_t)n + 1, sizeof(double));
}

static inline const float *weight(ref *r, const char *name)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", r->prefix, name);
    return make_tensor(r->k, full)->x;
}

/* y(rows) = W(rows, cols) x */
static inline void times(double *y, const float *w, const double *x, int rows, int cols)
{
    for (int i = 0; i < rows; i++) {
        y[i] = 0;
        for (int c = 0; c < cols; c++) y[i] += (double)w[(int64_t)i * cols + c] * x[c];
    }
}

static inline void ref_norm(double *y, const double *x, const float *w, int n, double eps)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    const double inv = 1 / sqrt(sum / n + eps);
    for (int i = 0; i < n; i++) y[i] = x[i] * inv * (w ? (double)w[i] : 1.0);
}

static inline double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

/* ---- rotation: the last R of d, pairs (2i, 2i+1), by f_i p ----------------------------------------- */

static inline double ref_frequency(const loci_dsv4_hparams *h, bool compressed, int i)
{
    const double base = (double)(compressed ? h->compress_theta : h->rope_theta);
    const double R = h->rope_dim, f = pow(base, -2 * i / R), pi2 = 8 * atan(1);
    if (!compressed || !h->yarn) return f;
    double low =
        floor(R * log(h->yarn_original / ((double)h->yarn_beta_fast * pi2)) / (2 * log(base)));
    double high =
        ceil(R * log(h->yarn_original / ((double)h->yarn_beta_slow * pi2)) / (2 * log(base)));
    if (low < 0) low = 0;
    if (high > R - 1) high = R - 1;
    if (high == low) high += 0.001;
    double ramp = (i - low) / (high - low);
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    return f * (1 - ramp) + f / (double)h->yarn_factor * ramp;
}

static inline void ref_rotate(const loci_dsv4_hparams *h, double *x, int d, double pos,
                              bool compressed, int dir)
{
    for (int i = 0; i < h->rope_dim / 2; i++) {
        double *p = x + d - h->rope_dim + 2 * i;
        const double a = p[0], b = p[1], angle = dir * pos * ref_frequency(h, compressed, i);
        p[0] = a * cos(angle) - b * sin(angle);
        p[1] = a * sin(angle) + b * cos(angle);
    }
}

/* ---- streams ---------------------------------------------------------------------------------------- */

/* pre, post (n), comb (n, n) of one position's streams. */
static inline void ref_mix(ref *r, const char *site, const double *X, double *pre, double *post,
                           double *comb)
{
    const loci_dsv4_hparams *h = r->hp;
    const int n = h->streams, wide = n * h->hidden, rows = (2 + n) * n;
    const double eps = (double)h->hc_eps;
    char name[64];
    double m[80], v2 = 0;
    snprintf(name, sizeof name, "%s_fn", site);
    times(m, weight(r, name), X, rows, wide);
    snprintf(name, sizeof name, "%s_base", site);
    const float *base = weight(r, name);
    snprintf(name, sizeof name, "%s_scale", site);
    const float *scale = weight(r, name);
    for (int i = 0; i < wide; i++) v2 += X[i] * X[i];
    for (int i = 0; i < rows; i++) m[i] /= sqrt(v2 / wide + (double)h->norm_eps);
    for (int i = 0; i < n; i++) {
        pre[i] = logistic(m[i] * (double)scale[0] + (double)base[i]) + eps;
        post[i] = 2 * logistic(m[n + i] * (double)scale[1] + (double)base[n + i]);
    }
    for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int k = 0; k < n; k++)
            sum += comb[j * n + k] =
                exp(m[2 * n + j * n + k] * (double)scale[2] + (double)base[2 * n + j * n + k]);
        for (int k = 0; k < n; k++) comb[j * n + k] = comb[j * n + k] / sum + eps;
    }
    for (int it = 0; it < 2 * h->sinkhorn_iters - 1; it++)
        for (int a = 0; a < n; a++) { /* even: columns, odd: rows */
            const int step = it % 2 ? 1 : n, at = it % 2 ? a * n : a;
            double sum = eps;
            for (int b = 0; b < n; b++) sum += comb[at + b * step];
            for (int b = 0; b < n; b++) comb[at + b * step] /= sum;
        }
}

/* ---- compressed entries: (T/r, width) ------------------------------------------------------------- */

static inline double *ref_compress(ref *r, const char *name, const double *x, int ratio,
                                   bool overlap, int width)
{
    const loci_dsv4_hparams *h = r->hp;
    const int wide = (overlap ? 2 : 1) * width, n = r->T / ratio;
    double *K = doubles((int64_t)r->T * wide), *Z = doubles((int64_t)r->T * wide);
    double *e = doubles((int64_t)n * width);
    char part[96];
    snprintf(part, sizeof part, "%s.wkv.weight", name);
    const float *wkv = weight(r, part);
    snprintf(part, sizeof part, "%s.wgate.weight", name);
    const float *wgate = weight(r, part);
    snprintf(part, sizeof part, "%s.ape", name);
    const float *ape = weight(r, part);
    snprintf(part, sizeof part, "%s.norm.weight", name);
    const float *norm = weight(r, part);
    for (int t = 0; t < r->T; t++) {
        times(K + t * wide, wkv, x + t * h->hidden, wide, h->hidden);
        times(Z + t * wide, wgate, x + t * h->hidden, wide, h->hidden);
        for (int c = 0; c < wide; c++) Z[t * wide + c] += (double)ape[t % ratio * wide + c];
    }
    for (int j = 0; j < n; j++) {
        for (int c = 0; c < width; c++) {
            double sum = 0, value = 0;
            for (int t = overlap && j > 0 ? (j - 1) * ratio : j * ratio; t < (j + 1) * ratio; t++) {
                const int at = t * wide + c + (overlap && t >= j * ratio ? width : 0);
                sum += exp(Z[at]);
                value += exp(Z[at]) * K[at];
            }
            e[j * width + c] = value / sum;
        }
        ref_norm(e + j * width, e + j * width, norm, width, (double)h->norm_eps);
        ref_rotate(h, e + j * width, width, (double)j * ratio, true, 1);
    }
    free(K);
    free(Z);
    return e;
}

/* ---- indexer: taken[t, j] ------------------------------------------------------------------------- */

static inline void ref_index(ref *r, const double *x, const double *qr, int ratio, bool *taken)
{
    const loci_dsv4_hparams *h = r->hp;
    const int n = r->T / ratio, Hi = h->index_heads, di = h->index_dim;
    double *key = ref_compress(r, "attn.indexer.compressor", x, ratio, true, di);
    double *q = doubles(Hi * di), *w = doubles(Hi), *score = doubles(n);
    for (int t = 0; t < r->T; t++) {
        const int visible = (t + 1) / ratio;
        times(q, weight(r, "attn.indexer.wq_b.weight"), qr + t * h->q_rank, Hi * di, h->q_rank);
        times(w, weight(r, "attn.indexer.weights_proj.weight"), x + t * h->hidden, Hi, h->hidden);
        for (int i = 0; i < Hi; i++) ref_rotate(h, q + i * di, di, t, true, 1);
        for (int j = 0; j < visible; j++) {
            score[j] = 0;
            for (int i = 0; i < Hi; i++) {
                double dot = 0;
                for (int c = 0; c < di; c++) dot += q[i * di + c] * key[j * di + c];
                score[j] += w[i] / sqrt((double)Hi * di) * (dot > 0 ? dot : 0);
            }
        }
        for (int j = 0; j < visible; j++) {
            int before = 0;
            for (int i = 0; i < visible; i++)
                before += score[i] > score[j] || (score[i] == score[j] && i < j);
            taken[t * n + j] = before < h->index_topk;
        }
        for (int j = 0; j < visible; j++)
            for (int i = 0; i < visible; i++)
                if (taken[t * n + j] && !taken[t * n + i] && score[j] - score[i] < r->closest)
                    r->closest = score[j] - score[i];
    }
    free(key);
    free(q);
    free(w);
    free(score);
}

/* ---- attention -------------------------------------------------------------------------------------- */

typedef struct {
    double *q, *qr, *kv, *entry;
    bool *taken;
} ref_kv;

static inline void ref_heads(ref *r, const loci_dsv4_layer_shape *s, const ref_kv *a, int t,
                             double *o)
{
    const loci_dsv4_hparams *h = r->hp;
    const int d = h->head_dim, n = s->ratio ? r->T / s->ratio : 0;
    const float *sink = weight(r, "attn.attn_sink");
    for (int i = 0; i < h->n_heads; i++) {
        const double *q = a->q + ((int64_t)t * h->n_heads + i) * d;
        double sum = exp((double)sink[i]), *o_i = o + i * d;
        for (int c = 0; c < d; c++) o_i[c] = 0;
        for (int e = 0; e < r->T + n; e++) {
            const bool raw = e < r->T;
            const int j = e - r->T;
            if (raw ? e > t || t - e >= h->window : j >= (t + 1) / s->ratio) continue;
            if (!raw && s->indexer && !a->taken[t * n + j]) continue;
            const double *v = raw ? a->kv + (int64_t)e * d : a->entry + (int64_t)j * d;
            double dot = 0;
            for (int c = 0; c < d; c++) dot += q[c] * v[c];
            const double p = exp(dot / sqrt((double)d));
            sum += p;
            for (int c = 0; c < d; c++) o_i[c] += p * v[c];
        }
        for (int c = 0; c < d; c++) o_i[c] /= sum;
        ref_rotate(h, o_i, d, t, s->ratio > 0, -1);
    }
}

static inline void ref_attention(ref *r, int l, const double *x, double *y)
{
    const loci_dsv4_hparams *h = r->hp;
    const loci_dsv4_layer_shape *s = &h->layer[l];
    const int D = h->hidden, d = h->head_dim, H = h->n_heads, g = h->o_groups, R = h->o_rank;
    const double eps = (double)h->norm_eps;
    ref_kv a = { doubles((int64_t)r->T * H * d), doubles((int64_t)r->T * h->q_rank),
                 doubles((int64_t)r->T * d), NULL, NULL };
    double *o = doubles(H * d), *u = doubles(g * R);
    for (int t = 0; t < r->T; t++) {
        double *qr = a.qr + t * h->q_rank, *kv = a.kv + t * d;
        times(qr, weight(r, "attn.wq_a.weight"), x + t * D, h->q_rank, D);
        ref_norm(qr, qr, weight(r, "attn.q_norm.weight"), h->q_rank, eps);
        times(a.q + (int64_t)t * H * d, weight(r, "attn.wq_b.weight"), qr, H * d, h->q_rank);
        for (int i = 0; i < H; i++) {
            double *q = a.q + ((int64_t)t * H + i) * d;
            ref_norm(q, q, NULL, d, eps);
            ref_rotate(h, q, d, t, s->ratio > 0, 1);
        }
        times(kv, weight(r, "attn.wkv.weight"), x + t * D, d, D);
        ref_norm(kv, kv, weight(r, "attn.kv_norm.weight"), d, eps);
        ref_rotate(h, kv, d, t, s->ratio > 0, 1);
    }
    if (s->ratio > 0) a.entry = ref_compress(r, "attn.compressor", x, s->ratio, s->overlap, d);
    if (s->indexer) {
        a.taken = calloc((size_t)(r->T * (r->T / s->ratio) + 1), sizeof *a.taken);
        ref_index(r, x, a.qr, s->ratio, a.taken);
    }
    for (int t = 0; t < r->T; t++) {
        ref_heads(r, s, &a, t, o);
        for (int i = 0; i < g; i++)
            times(u + i * R, weight(r, "attn.wo_a.weight") + (int64_t)i * R * (H / g * d),
                  o + i * (H / g * d), R, H / g * d);
        times(y + t * D, weight(r, "attn.wo_b.weight"), u, D, g * R);
    }
    free(a.q);
    free(a.qr);
    free(a.kv);
    free(a.entry);
    free(a.taken);
    free(o);
    free(u);
}

/* ---- experts ---------------------------------------------------------------------------------------- */

static inline void ref_expert(ref *r, const char *name, const double *x, double w, double *y)
{
    const loci_dsv4_hparams *h = r->hp;
    const double L = h->swiglu_limit > 0 ? (double)h->swiglu_limit : INFINITY;
    double *a = doubles(h->expert_width), *b = doubles(h->expert_width), *z = doubles(h->hidden);
    char part[128];
    snprintf(part, sizeof part, "%s.w1.weight", name);
    times(a, weight(r, part), x, h->expert_width, h->hidden);
    snprintf(part, sizeof part, "%s.w3.weight", name);
    times(b, weight(r, part), x, h->expert_width, h->hidden);
    for (int i = 0; i < h->expert_width; i++) {
        a[i] = fmin(a[i], L);
        a[i] = a[i] * logistic(a[i]) * fmax(fmin(b[i], L), -L) * w;
    }
    snprintf(part, sizeof part, "%s.w2.weight", name);
    times(z, weight(r, part), a, h->hidden, h->expert_width);
    for (int i = 0; i < h->hidden; i++) y[i] += z[i];
    free(a);
    free(b);
    free(z);
}

static inline void ref_experts(ref *r, int l, const double *x, int32_t id, double *y)
{
    const loci_dsv4_hparams *h = r->hp;
    const int E = h->n_experts;
    double *s = doubles(E), sum = 0;
    bool *on = calloc((size_t)E, sizeof *on);
    char name[64];
    memset(y, 0, (size_t)h->hidden * sizeof *y);
    times(s, weight(r, "ffn.gate.weight"), x, E, h->hidden);
    for (int e = 0; e < E; e++) s[e] = sqrt(log1p(exp(s[e])));
    snprintf(name, sizeof name, "%sffn.gate.tid2eid", r->prefix);
    const float *bias = h->layer[l].hash ? NULL : weight(r, "ffn.gate.bias");
    for (int i = 0; i < h->n_active; i++) {
        int best = -1;
        if (!bias) best = ((hashed_byte(name, (uint64_t)id) & 127) + i) % E;
        for (int e = 0; e < E && bias; e++)
            if (!on[e] && (best < 0 || s[e] + (double)bias[e] > s[best] + (double)bias[best]))
                best = e;
        on[best] = true;
        sum += s[best];
    }
    for (int e = 0; e < E; e++) {
        snprintf(name, sizeof name, "ffn.experts.%d", e);
        if (on[e]) ref_expert(r, name, x, s[e] / sum * (double)h->route_scale, y);
    }
    ref_expert(r, "ffn.shared_experts", x, 1, y);
    free(s);
    free(on);
}

/* ---- layers ------------------------------------------------------------------------------------------ */

static inline void ref_sublayer(ref *r, int l, bool attn, double *X, const int32_t *ids)
{
    const loci_dsv4_hparams *h = r->hp;
    const int n = h->streams, D = h->hidden;
    double *pre = doubles(r->T * n), *post = doubles(r->T * n), *comb = doubles(r->T * n * n);
    double *x = doubles((int64_t)r->T * D), *y = doubles((int64_t)r->T * D);
    for (int t = 0; t < r->T; t++) {
        ref_mix(r, attn ? "hc_attn" : "hc_ffn", X + (int64_t)t * n * D, pre + t * n, post + t * n,
                comb + t * n * n);
        for (int c = 0; c < D; c++)
            for (int s = 0; s < n; s++)
                x[t * D + c] += pre[t * n + s] * X[((int64_t)t * n + s) * D + c];
        ref_norm(x + t * D, x + t * D, weight(r, attn ? "attn_norm.weight" : "ffn_norm.weight"), D,
                 (double)h->norm_eps);
        if (!attn) ref_experts(r, l, x + t * D, ids[t], y + t * D);
    }
    if (attn) ref_attention(r, l, x, y);
    for (int t = 0; t < r->T; t++)
        for (int c = 0; c < D; c++) {
            double next[8];
            for (int k = 0; k < n; k++) {
                next[k] = post[t * n + k] * y[t * D + c];
                for (int j = 0; j < n; j++)
                    next[k] += comb[(t * n + j) * n + k] * X[((int64_t)t * n + j) * D + c];
            }
            for (int k = 0; k < n; k++) X[((int64_t)t * n + k) * D + c] = next[k];
        }
    free(pre);
    free(post);
    free(comb);
    free(x);
    free(y);
}

/* logits (T, V) of streams, with the head mixer and norm under `prefix`. */
static inline void ref_head(ref *r, const char *prefix, const double *X, double *logits)
{
    const loci_dsv4_hparams *h = r->hp;
    const int n = h->streams, D = h->hidden;
    snprintf(r->prefix, sizeof r->prefix, "%s", prefix);
    const float *fn = weight(r, "hc_head_fn"), *base = weight(r, "hc_head_base");
    const float *scale = weight(r, "hc_head_scale"), *norm = weight(r, "norm.weight");
    r->prefix[0] = '\0';
    double *x = doubles(D), m[8];
    for (int t = 0; t < r->T; t++) {
        const double *v = X + (int64_t)t * n * D;
        double square = 0;
        times(m, fn, v, n, n * D);
        for (int i = 0; i < n * D; i++) square += v[i] * v[i];
        for (int c = 0; c < D; c++) x[c] = 0;
        for (int s = 0; s < n; s++) {
            const double z = m[s] / sqrt(square / (n * D) + (double)h->norm_eps);
            const double p = logistic(z * (double)scale[0] + (double)base[s]) + (double)h->hc_eps;
            for (int c = 0; c < D; c++) x[c] += p * v[s * D + c];
        }
        ref_norm(x, x, norm, D, (double)h->norm_eps);
        times(logits + (int64_t)t * h->vocab, weight(r, "head.weight"), x, h->vocab, D);
    }
    free(x);
}

/* Streams (T, n, D) behind the last layer; owned. */
static inline double *ref_streams(ref *r, const int32_t *ids)
{
    const loci_dsv4_hparams *h = r->hp;
    const int n = h->streams, D = h->hidden;
    double *X = doubles((int64_t)r->T * n * D);
    const float *embed = make_tensor(r->k, "embed.weight")->x;
    for (int t = 0; t < r->T; t++)
        for (int i = 0; i < n * D; i++)
            X[(int64_t)t * n * D + i] = (double)embed[(int64_t)ids[t] * D + i % D];
    for (int l = 0; l < h->n_layers; l++) {
        snprintf(r->prefix, sizeof r->prefix, "layers.%d.", l);
        ref_sublayer(r, l, true, X, ids);
        ref_sublayer(r, l, false, X, ids);
    }
    return X;
}

/* Logits (T-1, V) of the MTP block, row t: of the token at t+2, from streams X (T, n, D). */
static inline void ref_mtp(ref *r, const double *X, const int32_t *ids, double *logits)
{
    const loci_dsv4_hparams *h = r->hp;
    const int n = h->streams, D = h->hidden;
    const double eps = (double)h->norm_eps;
    const float *embed = make_tensor(r->k, "embed.weight")->x;
    double *Y = doubles((int64_t)r->T * n * D), *a = doubles(D), *b = doubles(D);
    r->T -= 1;
    snprintf(r->prefix, sizeof r->prefix, "mtp.0.");
    for (int t = 0; t < r->T; t++)
        for (int s = 0; s < n; s++) {
            double *y = Y + ((int64_t)t * n + s) * D;
            for (int c = 0; c < D; c++) a[c] = (double)embed[(int64_t)ids[t + 1] * D + c];
            ref_norm(a, a, weight(r, "enorm.weight"), D, eps);
            times(y, weight(r, "e_proj.weight"), a, D, D);
            ref_norm(a, X + ((int64_t)t * n + s) * D, weight(r, "hnorm.weight"), D, eps);
            times(b, weight(r, "h_proj.weight"), a, D, D);
            for (int c = 0; c < D; c++) y[c] += b[c];
        }
    ref_sublayer(r, h->n_layers, true, Y, ids);
    ref_sublayer(r, h->n_layers, false, Y, ids);
    ref_head(r, "mtp.0.", Y, logits);
    r->T += 1;
    free(Y);
    free(a);
    free(b);
}

#endif
