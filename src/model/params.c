/* params.c - every parameter of the architecture, declared once.
 *
 * declare() walks the tensors in checkpoint order and hands each to a visitor: names, shapes,
 * start values, weight decay and storage are said there and nowhere else.  `fine`, int8 where others
 * are 4 bits, is where 4 bits cost most (docs/EVAL.md), what a bank is made and searched with: encoder,
 * attention of the lower stack, routers, maps of codes.  Listing, counting, binding and
 * initialising are visitors.  In memory each tensor starts on a multiple of 16 floats of one block, so
 * that parameters, gradients and optimiser state share a layout. */
#include "model/model.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef void visit_fn(void *ctx, const loci_param_info *info);

typedef struct {
    visit_fn *visit;
    void *ctx;
    const char *prefix; /* of the block being declared, e.g. "lower." */
    int index;          /* of the layer or group, -1: none            */
    size_t offset;      /* of the block inside loci_params            */
    bool ingest;
    bool fine; /* of its matrices: see loci_param_info */
} block;

/* How a tensor starts and what may be done to it. */
typedef enum {
    MATRIX, /* NORMAL 1/sqrt(cols): keeps the scale of its input */
    HALVED, /* half of that: the encoder's residual branches */
    CLOSED, /* a matrix that starts at 0: its block starts as the identity */
    NEARLY, /* a matrix that starts near 0: NORMAL .01 */
    TABLE,  /* looked up by index, no decay, f32 */
    VECTOR, /* 0, no decay, f32 */
    SCALAR, /* CONST, no decay, f32 */
    TWIN,   /* a matrix that starts as the one before it */
} kind;

static void tensor(const block *b, const char *name, size_t offset, int rows, int cols, kind k,
                   float value)
{
    static const loci_init init[] = {
        [MATRIX] = LOCI_INIT_NORMAL, [HALVED] = LOCI_INIT_NORMAL, [CLOSED] = LOCI_INIT_ZERO,
        [NEARLY] = LOCI_INIT_NORMAL, [TABLE] = LOCI_INIT_NORMAL,  [VECTOR] = LOCI_INIT_ZERO,
        [SCALAR] = LOCI_INIT_CONST,  [TWIN] = LOCI_INIT_SAME
    };
    const float spread = 1.0f / sqrtf((float)cols);
    loci_param_info p = { .offset = b->offset + offset, .rows = rows, .cols = cols };
    p.init = k == TABLE && value == 0.0f ? LOCI_INIT_ZERO : init[k];
    p.value = k == MATRIX || k == TWIN ? spread
              : k == HALVED            ? 0.5f * spread
              : k == NEARLY            ? 0.01f
                                       : value;
    p.decay = p.quantise = k == MATRIX || k == HALVED || k == CLOSED || k == NEARLY || k == TWIN;
    p.ingest = b->ingest;
    p.fine = b->fine && p.quantise;
    const int n = b->index < 0
                      ? snprintf(p.name, sizeof p.name, "%s%s", b->prefix, name)
                      : snprintf(p.name, sizeof p.name, "%s%d.%s", b->prefix, b->index, name);
    assert(n > 0 && n < (int)sizeof p.name);
    (void)n;
    b->visit(b->ctx, &p);
}

static void declare_layer(const block *b, const loci_hparams *hp)
{
    const int D = hp->d_model, F = hp->ffn, HD = hp->n_heads * hp->d_head;
    const int GD = hp->n_kv_heads * hp->d_head;
#define AT(field) offsetof(loci_layer_params, field)
    block attn = *b;
    attn.fine = b->ingest;
    tensor(&attn, "attn.q", AT(q), HD, D, MATRIX, 0);
    tensor(&attn, "attn.kv", AT(kv), 2 * GD, D, MATRIX, 0);
    tensor(&attn, "attn.o", AT(o), D, HD, CLOSED, 0);
    tensor(b, "ffn.gate_up", AT(gate_up), 2 * F, D, MATRIX, 0);
    tensor(b, "ffn.down", AT(down), D, F, CLOSED, 0);
#undef AT
}

/* Summaries start without a say: rows are packed by Wc and Wd alone. */
static void declare_tier(const block *b, const loci_hparams *hp)
{
    const int w = loci_content_cols(hp);
#define AT(field) offsetof(loci_encoder_params, field)
    tensor(b, "pack", AT(pack), LOCI_PACK, w, MATRIX, 0);
    tensor(b, "unpack", AT(unpack), w, LOCI_PACK, MATRIX, 0);
    tensor(b, "context", AT(context), w, hp->d_summary, CLOSED, 0);
#undef AT
}

static void declare_encoder(const block *b, const loci_hparams *hp)
{
    const int D = hp->d_model, e = hp->enc_dim, m = hp->enc_mlp, M = hp->n_landmarks;
#define AT(field) offsetof(loci_encoder_params, field)
    tensor(b, "in", AT(in), e, D, MATRIX, 0);
    tensor(b, "pos", AT(pos), hp->chunk, e, TABLE, 0.02f);
    tensor(b, "cls", AT(cls), M, e, TABLE, 0.05f);
    tensor(b, "qkv", AT(qkv), 3 * e, e, MATRIX, 0);
    tensor(b, "o", AT(o), e, e, HALVED, 0);
    tensor(b, "up", AT(up), m, e, MATRIX, 0);
    tensor(b, "down", AT(down), e, m, HALVED, 0);
    tensor(b, "landmark", AT(landmark), hp->d_landmark, e, MATRIX, 0);
    tensor(b, "bias_w", AT(bias_w), 1, M * e, VECTOR, 0);
    tensor(b, "bias_b", AT(bias_b), 1, 1, SCALAR, 0);
    tensor(b, "content", AT(content), loci_content_cols(hp), D + e, MATRIX, 0);
    if (hp->d_summary) tensor(b, "summary", AT(summary), hp->d_summary, M * e, MATRIX, 0);
    if (hp->content_bits4) declare_tier(b, hp);
#undef AT
}

static void declare_read(const block *b, const loci_hparams *hp)
{
    const int D = hp->d_model, R = hp->read_mlp, HB = hp->read_heads;
#define AT(field) offsetof(loci_read_params, field)
    block finds = *b;
    finds.fine = true;
    tensor(&finds, "router1", AT(router1), hp->router_hidden, D, MATRIX, 0);
    tensor(&finds, "router2", AT(router2), hp->d_landmark, hp->router_hidden, MATRIX, 0);
    tensor(b, "gate_w", AT(gate_w), 1, D, VECTOR, 0);
    tensor(b, "gate_b", AT(gate_b), 1, 1, SCALAR,
           2.0f); /* g = 0.88: reading must be able to help */
    tensor(b, "null", AT(null_score), 1, 1, SCALAR, 0);
    tensor(b, "log_tau", AT(log_tau), 1, 1, SCALAR, logf(12.0f));
    tensor(b, "q", AT(q), HB * hp->d_key, D, MATRIX, 0);
    tensor(b, "o", AT(o), D, HB * hp->d_value, NEARLY, 0);
    tensor(b, "gate_up", AT(gate_up), 2 * R, D, MATRIX, 0);
    tensor(b, "down", AT(down), D, R, NEARLY, 0);
    if (hp->order) {
        tensor(b, "order", AT(order), HB * LOCI_ORDER, D, CLOSED, 0);
        tensor(b, "mark", AT(mark), LOCI_ORDER, hp->d_value, TABLE, 0);
    } else {
        tensor(b, "rank", AT(rank), hp->top_k, hp->d_value, TABLE, 0);
    }
    if (!hp->d_summary) return;
    tensor(b, "gist_q", AT(gist_q), LOCI_GIST_HEADS * 64, D, MATRIX, 0);
    tensor(b, "gist_kv", AT(gist_kv), 2 * 64, hp->d_summary, MATRIX, 0);
    tensor(b, "gist_level", AT(gist_level), LOCI_GIST_LEVELS, hp->d_summary, TABLE, 0);
    tensor(b, "gist_o", AT(gist_o), D, LOCI_GIST_HEADS * 64, CLOSED, 0);
#undef AT
}

/* One row an id: small numbers at the start, so that no id is likely, but a matrix otherwise. */
static void vocab_tensor(const block *b, const char *name, size_t offset, const loci_hparams *hp)
{
    loci_param_info p = { .offset = offset,
                          .rows = hp->vocab,
                          .cols = hp->d_model,
                          .init = LOCI_INIT_NORMAL,
                          .value = 0.02f,
                          .decay = true,
                          .quantise = true,
                          .ingest = b->ingest };
    snprintf(p.name, sizeof p.name, "%s", name);
    b->visit(b->ctx, &p);
}

/* Both start as one random projection: codes of u and l then agree as far as u and l do.  A bank
 * holds codes of keys; what it is searched with may change. */
static void declare_codes(block *b, const loci_hparams *hp)
{
    const int d = hp->d_landmark;
    if (!hp->trained_codes || hp->n_groups == 0) return;
    b->prefix = "codes.";
    b->index = -1;
    b->offset = offsetof(loci_params, code);
    b->ingest = b->fine = true;
    tensor(b, "key", offsetof(loci_code_params, key), d, d, MATRIX, 0);
    b->ingest = false;
    tensor(b, "query", offsetof(loci_code_params, query), d, d, TWIN, 0);
    b->fine = false;
}

static void declare(const loci_hparams *hp, visit_fn *visit, void *ctx)
{
    block b = { visit, ctx, "", -1, 0, true, false };
    vocab_tensor(&b, "embed", offsetof(loci_params, embed), hp);
    b.prefix = "lower.";
    for (b.index = 0; b.index < hp->n_lower; b.index++) {
        b.offset = offsetof(loci_params, lower) + (size_t)b.index * sizeof(loci_layer_params);
        declare_layer(&b, hp);
    }
    if (hp->n_groups > 0)
        declare_encoder(&(block){ visit, ctx, "bank.", -1, offsetof(loci_params, enc), true, true },
                        hp);
    b.ingest = false;
    b.prefix = "read.";
    for (b.index = 0; b.index < hp->n_groups; b.index++) {
        b.offset = offsetof(loci_params, read) + (size_t)b.index * sizeof(loci_read_params);
        declare_read(&b, hp);
    }
    b.prefix = "upper.";
    for (b.index = 0; b.index < hp->n_upper; b.index++) {
        b.offset = offsetof(loci_params, upper) + (size_t)b.index * sizeof(loci_layer_params);
        declare_layer(&b, hp);
    }
    declare_codes(&b, hp);
    if (!hp->tied) vocab_tensor(&b, "head", offsetof(loci_params, head), hp);
}

/* ---- visitors --------------------------------------------------------------------------- */

typedef struct {
    loci_param_info *list;
    int cap, n;
} listing;

static void list_one(void *ctx, const loci_param_info *info)
{
    listing *l = ctx;
    if (l->list && l->n < l->cap) l->list[l->n] = *info;
    l->n++;
}

int loci_param_list(const loci_hparams *hp, loci_param_info *list, int cap)
{
    listing l = { list, cap, 0 };
    declare(hp, list_one, &l);
    return l.n;
}

/* Floats of a tensor in memory: whole vectors of 64 bytes. */
static size_t padded(const loci_param_info *info)
{
    return ((size_t)info->rows * (size_t)info->cols + 15) & ~(size_t)15;
}

static void count_one(void *ctx, const loci_param_info *info)
{
    *(size_t *)ctx += padded(info);
}

size_t loci_param_floats(const loci_hparams *hp)
{
    size_t n = 0;
    declare(hp, count_one, &n);
    return n;
}

typedef struct {
    loci_params *p; /* NULL while initialising */
    float *at;
    uint64_t seed;
    uint64_t index;
} walker;

static void bind_one(void *ctx, const loci_param_info *info)
{
    walker *w = ctx;
    loci_mat *m = (loci_mat *)(void *)((char *)w->p + info->offset);
    *m = (loci_mat){ .data = w->at, .rows = info->rows, .cols = info->cols, .type = LOCI_F32 };
    w->at += padded(info);
}

void loci_params_bind(loci_params *p, const loci_hparams *hp, float *base)
{
    walker w = { .p = p, .at = base };
    memset(p, 0, sizeof *p);
    declare(hp, bind_one, &w);
}

/* Each tensor draws from a stream of its own, so that adding one leaves the others as they were. */
static void init_one(void *ctx, const loci_param_info *info)
{
    walker *w = ctx;
    const size_t n = (size_t)info->rows * (size_t)info->cols;
    loci_rng rng;
    const uint64_t stream = w->index++ - (info->init == LOCI_INIT_SAME);
    loci_rng_seed(&rng, loci_rng_mix(w->seed, stream));
    memset(w->at, 0, padded(info) * sizeof *w->at);
    switch (info->init) {
    case LOCI_INIT_ZERO: break;
    case LOCI_INIT_NORMAL:
    case LOCI_INIT_SAME:
        for (size_t i = 0; i < n; i++) w->at[i] = (float)(info->value * loci_rng_normal(&rng));
        break;
    case LOCI_INIT_CONST:
        for (size_t i = 0; i < n; i++) w->at[i] = info->value;
        break;
    }
    w->at += padded(info);
}

void loci_params_init(float *base, const loci_hparams *hp, uint64_t seed)
{
    walker w = { .at = base, .seed = seed };
    declare(hp, init_one, &w);
}
