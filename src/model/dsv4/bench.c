/* bench.c - time of decoding by part, with generated weights and a generated context.
 *
 * Weights have the types of the release and finite random codes; all layers of a kind have their own,
 * routed experts share the memory of a few hundred MB, larger than any cache, so that a token reads
 * what it would read.  The context is filled with valid bytes rather than computed: no part's time
 * depends on what the numbers are. */
#include "model/dsv4/dsv4_impl.h"
#include "model/dsv4/files.h"
#include "kernel/peak.h"

#include <stdlib.h>
#include <string.h>

struct loci_dsv4_bench {
    loci_dsv4_hparams hp;
    loci_dsv4 m;
    loci_pool *pool;
    loci_dsv4_seq *s;
    struct piece *pieces;
    uint64_t random;
    int experts;
    double clock[LOCI_DSV4_PARTS];
};

typedef struct piece { /* memory of one tensor */
    struct piece *next;
    void *data;
    char name[96];
} piece;

const char *loci_dsv4_part_name(loci_dsv4_part part)
{
    static const char *const name[LOCI_DSV4_PARTS] = { "streams", "project", "compress", "index",
                                                       "attend",  "output",  "experts",  "head" };
    return name[part];
}

/* ---- weights ------------------------------------------------------------------------------------- */

/* Random words under a mask that keeps every code finite and near 1. */
static void fill(loci_dsv4_bench *b, void *data, size_t bytes, uint64_t keep, uint64_t set)
{
    uint64_t *x = data, r = b->random;
    for (size_t i = 0; i < bytes / 8; i++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        x[i] = ((r ^ r >> 29) & keep) | set;
    }
    b->random = r;
}

static void *take(loci_dsv4_bench *b, const char *name, size_t bytes, bool *fresh)
{
    for (piece *p = b->pieces; p; p = p->next)
        if (strcmp(p->name, name) == 0) {
            *fresh = false;
            return p->data;
        }
    *fresh = true;
    piece *p = calloc(1, sizeof *p);
    if (p) p->data = loci_alloc_aligned((bytes + 63) & ~(size_t)63);
    if (!p || !p->data) {
        free(p);
        return NULL;
    }
    snprintf(p->name, sizeof p->name, "%s", name);
    p->next = b->pieces;
    b->pieces = p;
    return p->data;
}

static bool ends(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static loci_stored_type type_of(const char *name)
{
    static const char *const fp8[] = { "wq_a.weight", "wq_b.weight", "attn.wkv.weight",
                                       "wo_a.weight", "wo_b.weight" };
    if (strstr(name, "experts."))
        return strstr(name, "shared") ? LOCI_STORED_E4M3 : LOCI_STORED_E2M1;
    for (size_t i = 0; i < sizeof fp8 / sizeof fp8[0]; i++)
        if (ends(name, fp8[i])) return LOCI_STORED_E4M3;
    const bool matrix = ends(name, ".weight") && !strstr(name, "norm");
    return matrix ? LOCI_STORED_BF16 : LOCI_STORED_F32;
}

/* Experts share the first `experts` of layer 0; the head is the embedding. */
static void alias(const loci_dsv4_bench *b, const char *name, char *out, size_t size)
{
    int l, e;
    char rest[32];
    if (sscanf(name, "layers.%d.ffn.experts.%d.%31s", &l, &e, rest) == 3)
        snprintf(out, size, "experts.%d.%s", (e + l * 7) % b->experts, rest);
    else
        snprintf(out, size, "%s", strcmp(name, "head.weight") == 0 ? "embed.weight" : name);
}

static void dims(const loci_dsv4_hparams *h, const char *name, int *rows, int *cols);

static loci_status find(void *ctx, const char *name, loci_dsv4_mat *out, loci_error *err)
{
    loci_dsv4_bench *b = ctx;
    char own[96];
    bool fresh;
    loci_dsv4_mat m = { .type = type_of(name) };
    dims(&b->hp, name, &m.rows, &m.cols);
    m.row_bytes = loci_stored_row_bytes(m.type, m.cols);
    const size_t bytes = m.row_bytes * (size_t)m.rows;
    const size_t scales = m.type == LOCI_STORED_E2M1 ? (size_t)m.rows * (size_t)m.cols / 32
                          : m.type == LOCI_STORED_E4M3
                              ? (size_t)((m.rows + 127) / 128) * (size_t)((m.cols + 127) / 128)
                              : 0;
    alias(b, name, own, sizeof own);
    const size_t at = (bytes + 63) & ~(size_t)63;
    uint8_t *data = take(b, own, at + scales + 64, &fresh);
    if (!data) return loci_fail(err, LOCI_ENOMEM, "no memory for %s: %zu bytes", name, bytes);
    if (fresh) {
        const bool f32 = m.type == LOCI_STORED_F32, bf16 = m.type == LOCI_STORED_BF16;
        if (f32)
            fill(b, data, at, 0x807fffff807fffffu, 0x3c0000003c000000u); /* +-2^-7 .. 2^-6 */
        else if (bf16)
            fill(b, data, at, 0x807f807f807f807fu, 0x3c003c003c003c00u);
        else if (m.type == LOCI_STORED_E4M3)
            fill(b, data, at, 0x8f8f8f8f8f8f8f8fu, 0x3030303030303030u); /* +-.5 .. .94 */
        else
            fill(b, data, at, ~(uint64_t)0, 0);
        memset(data + at, 121, scales); /* 2^-6 */
    }
    m.data = data;
    m.scale = scales ? data + at : NULL;
    *out = m;
    return LOCI_OK;
}

static loci_status find_ids(void *ctx, const char *name, int64_t rows, int64_t cols,
                            const int32_t **out, loci_error *err)
{
    loci_dsv4_bench *b = ctx;
    bool fresh;
    int32_t *ids = take(b, name, (size_t)(rows * cols) * sizeof *ids, &fresh);
    if (!ids) return loci_fail(err, LOCI_ENOMEM, "no memory for %s", name);
    for (int64_t i = 0; i < rows * cols; i++)
        ids[i] = (int32_t)((i * 37 + i / cols) % b->hp.n_experts);
    *out = ids;
    return LOCI_OK;
}

typedef struct {
    const char *name;
    int rows, cols;
} wanted;

static void match(void *ctx, const char *name, int rows, int cols, dsv4_role role)
{
    wanted *w = ctx;
    (void)role;
    if (strcmp(name, w->name) != 0) return;
    w->rows = rows;
    w->cols = cols;
}

/* The shape of a tensor from the list of cost.c, asked for one layer at a time: that of thousands
 * of experts is the same. */
static void dims(const loci_dsv4_hparams *h, const char *name, int *rows, int *cols)
{
    int l, e;
    char rest[32];
    wanted w = { .name = name };
    if (sscanf(name, "layers.%d.ffn.experts.%d.%31s", &l, &e, rest) == 3) {
        const bool down = rest[1] == '2';
        w.rows = down ? h->hidden : h->expert_width;
        w.cols = down ? h->expert_width : h->hidden;
    } else {
        loci_dsv4_hparams one = *h;
        one.n_experts = 1; /* the router's rows are put right below */
        dsv4_each_tensor(&one, match, &w);
        if (ends(name, "ffn.gate.weight")) w.rows = h->n_experts;
        if (ends(name, "ffn.gate.bias")) w.cols = h->n_experts;
    }
    *rows = w.rows;
    *cols = w.cols;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static loci_status cut_shape(loci_dsv4_hparams *hp, const char *shape, int layers, loci_error *err)
{
    const loci_status st = loci_dsv4_known_shape(hp, shape, err);
    if (st != LOCI_OK) return st;
    if (layers < 1 || layers > hp->n_layers)
        return loci_fail(err, LOCI_EINVAL, "layers: expected 1 to %d, found %d", hp->n_layers,
                         layers);
    hp->n_layers = layers;
    hp->n_mtp = 0;
    return LOCI_OK;
}

loci_status loci_dsv4_bench_open(loci_dsv4_bench **out, const char *shape, int layers, int experts,
                                 loci_dsv4_mode mode, unsigned cpu_flags, loci_pool *pool,
                                 loci_error *err)
{
    loci_dsv4_weights w;
    loci_dsv4_bench *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b) return loci_fail(err, LOCI_ENOMEM, "no memory for a benchmark");
    b->pool = pool;
    b->random = 1;
    b->experts = experts;
    loci_status st = cut_shape(&b->hp, shape, layers, err);
    if (st == LOCI_OK && (experts < 1 || experts > b->hp.n_experts))
        st = loci_fail(err, LOCI_EINVAL, "experts: expected 1 to %d, found %d", b->hp.n_experts,
                       experts);
    const loci_dsv4_source source = { b, "generated", find, find_ids };
    if (st == LOCI_OK) st = loci_dsv4_bind(&w, &b->hp, &source, NULL, err);
    if (st == LOCI_OK) st = loci_dsv4_init(&b->m, &b->hp, &w, cpu_flags, mode, 0, err);
    if (st == LOCI_OK) st = loci_dsv4_seq_open(&b->s, &b->m, pool, err);
    if (st != LOCI_OK) {
        loci_dsv4_bench_close(b);
        return st;
    }
    *out = b;
    return LOCI_OK;
}

void loci_dsv4_bench_close(loci_dsv4_bench *b)
{
    if (!b) return;
    loci_dsv4_seq_close(b->s);
    loci_dsv4_free(&b->m);
    for (piece *p = b->pieces; p;) {
        piece *next = p->next;
        loci_free_aligned(p->data);
        free(p);
        p = next;
    }
    free(b);
}

/* Sum of what `find` will take, experts and head apart. */
static void add_bytes(void *ctx, const char *name, int rows, int cols, dsv4_role role)
{
    size_t *sum = ctx;
    if (role == DSV4_EXPERT || strcmp(name, "head.weight") == 0) return;
    const loci_stored_type type = type_of(name);
    *sum += role == DSV4_IDS ? (size_t)rows * (size_t)cols * 4
                             : loci_stored_row_bytes(type, cols) * (size_t)rows;
}

size_t loci_dsv4_bench_bytes(const loci_dsv4_hparams *hp, int layers, int experts, int64_t tokens)
{
    loci_dsv4_hparams cut = *hp;
    loci_dsv4_layout lay;
    size_t sum = (size_t)64 << 20; /* scratch of a sequence */
    cut.n_layers = layers;
    cut.n_mtp = 0;
    dsv4_each_tensor(&cut, add_bytes, &sum);
    sum += (size_t)experts * 3 * (size_t)hp->hidden * (size_t)hp->expert_width * 17 / 32;
    if (loci_dsv4_layout_plan(&lay, &cut, LOCI_DSV4_MODE_FAST, 0, NULL) == LOCI_OK)
        sum += (size_t)(loci_dsv4_bytes_per_token(&lay) * (double)tokens);
    return sum;
}

/* ---- running ------------------------------------------------------------------------------------------ */

/* Codes, scales and halves that are finite and small whatever they are read as. */
static loci_status fill_context(loci_dsv4_bench *b, int64_t tokens, loci_error *err)
{
    const uint64_t keep = 0x0f0f0f0f0f0f0f0fu, set = 0x3030303030303030u;
    loci_dsv4_seq *s = b->s;
    loci_dsv4_seq_reset(s);
    const loci_status st = dsv4_reserve(s, tokens + 64, err);
    if (st != LOCI_OK) return st;
    for (int i = 0; i < s->n_blocks; i++) fill(b, s->block[i], s->m->lay.block_bytes, keep, set);
    for (int l = 0; l < b->hp.n_layers; l++)
        fill(b, s->carry[l].ring, (size_t)s->ring_slots * s->m->lay.entry_bytes, keep, set);
    memset(s->ids, 0, (size_t)tokens * sizeof *s->ids);
    s->n = s->high = tokens;
    return LOCI_OK;
}

/* One scan at the present length, with the queries that the last token left; layer after layer, so
 * that no scan finds the keys in the cache that the last one left there. */
static void time_scan(loci_dsv4_bench *b, int repeat, loci_dsv4_bench_result *out)
{
    loci_dsv4_seq *s = b->s;
    for (int i = 0; i < repeat; i++)
        for (int l = 0; l < b->hp.n_layers; l++) {
            if (!b->hp.layer[l].indexer) continue;
            const double keys = (double)dsv4_visible(s->m, l, s->n - 1);
            const double begin = loci_seconds();
            dsv4_scan(s, l, s->n - 1, 1);
            const double seconds = loci_seconds() - begin;
            if (out->scan_seconds == 0 || seconds < out->scan_seconds) out->scan_seconds = seconds;
            out->scan_bytes = keys * (double)s->m->lay.key_bytes;
            out->scan_ops = 2.0 * keys * b->hp.index_heads * b->hp.index_dim;
        }
}

loci_status loci_dsv4_bench_run(loci_dsv4_bench *b, int64_t tokens, int repeat,
                                loci_dsv4_bench_result *out, loci_error *err)
{
    double best = 0.0;
    *out = (loci_dsv4_bench_result){ 0 };
    float *logits = malloc((size_t)b->hp.vocab * sizeof *logits);
    if (!logits) return loci_fail(err, LOCI_ENOMEM, "no memory for logits");
    loci_status st = fill_context(b, tokens, err);
    for (int i = -1; i < repeat && st == LOCI_OK; i++) { /* the first one warms up */
        const int32_t id = (int32_t)((i + 1) * 977 % b->hp.vocab);
        memset(b->clock, 0, sizeof b->clock);
        b->s->clock = b->clock;
        b->s->lap = loci_seconds();
        st = loci_dsv4_extend(b->s, &id, 1, logits, 1, err);
        b->s->clock = NULL;
        double total = 0.0;
        for (int p = 0; p < LOCI_DSV4_PARTS; p++) total += b->clock[p];
        if (i < 0 || (best > 0.0 && total >= best)) continue;
        best = total;
        memcpy(out->seconds, b->clock, sizeof b->clock);
    }
    if (st == LOCI_OK) time_scan(b, 4 * repeat, out);
    out->block_bytes = (size_t)b->s->n_blocks * b->m.lay.block_bytes;
    out->fixed_bytes = b->s->memory_bytes;
    free(logits);
    return st;
}

/* ---- bandwidth ---------------------------------------------------------------------------------------- */

double loci_dsv4_bench_bandwidth(const loci_dsv4_bench *b, unsigned cpu_flags)
{
    const loci_dsv4_mat *e = &b->m.w.embed;
    const size_t bytes = (size_t)e->rows * e->row_bytes;
    return loci_kernel_read_peak(e->data, bytes - bytes % (1 << 20), cpu_flags, b->pool);
}
