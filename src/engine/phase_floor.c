/* phase_floor.c - what each part of a token cannot do without, from the shape of the model.
 *
 * bytes        weights once in the form in which they are stored, keys and values that are attended
 *              to, landmarks that a search scores: each read once
 * operations   multiplications and additions of the products; norms, activations and softmax are
 *              left out, so a floor is somewhat too low
 *
 * The floor of a part is the longer of its bytes at the rate of reading and its operations at the
 * rate of products of the weights' type, all threads at work.  Attention runs on wider numbers than
 * int8 weights do; its floor is therefore too low as well, and a part can look further from what is
 * possible than it is, never nearer. */
#include "engine/phase_impl.h"
#include "engine/scan.h"
#include <math.h>

static loci_phase_cost sum_of(loci_phase_cost a, loci_phase_cost b)
{
    return (loci_phase_cost){ a.bytes + b.bytes, a.operations + b.operations };
}

static loci_phase_cost times(loci_phase_cost a, double share)
{
    return (loci_phase_cost){ share * a.bytes, share * a.operations };
}

/* y = W x for one x.  A matrix that the model does not have is empty. */
static loci_phase_cost product(const loci_mat *w)
{
    const double n = (double)w->rows * w->cols;
    const size_t bytes = (size_t)w->rows * loci_mat_row_bytes(w) + loci_mat_scale_bytes(w);
    return (loci_phase_cost){ (double)bytes, 2.0 * n };
}

static loci_phase_cost products(const loci_mat *const *w, size_t n)
{
    loci_phase_cost c = { 0 };
    for (size_t i = 0; i < n; i++)
        if (w[i]->data) c = sum_of(c, product(w[i]));
    return c;
}

#define PRODUCTS(...)                                                                              \
    products((const loci_mat *const[]){ __VA_ARGS__ },                                             \
             sizeof((const loci_mat *const[]){ __VA_ARGS__ }) / sizeof(loci_mat *))

static loci_phase_cost layer(const loci_hparams *hp, const loci_layer_params *p)
{
    const double keys = hp->window, wide = hp->n_heads * hp->d_head;
    const loci_phase_cost attend = { keys * 2 * hp->n_kv_heads * hp->d_head * sizeof(float),
                                     4.0 * keys * wide };
    return sum_of(PRODUCTS(&p->q, &p->kv, &p->o, &p->gate_up, &p->down), attend);
}

loci_phase_cost loci_phase_lower(const loci_model *m)
{
    loci_phase_cost c = { 0 };
    for (int l = 0; l < m->hp.n_lower; l++) c = sum_of(c, layer(&m->hp, &m->p.lower[l]));
    return c;
}

static loci_phase_cost read_block(const loci_hparams *hp, const loci_read_params *p)
{
    const double rows = (double)hp->top_k * hp->chunk, w = hp->d_key + hp->d_value;
    const loci_phase_cost attend = { rows * loci_content_cols(hp) * sizeof(float),
                                     2.0 * rows * w * hp->read_heads };
    return sum_of(PRODUCTS(&p->router1, &p->router2, &p->gate_w, &p->q, &p->o, &p->gate_up,
                           &p->down, &p->gist_q, &p->gist_o),
                  attend);
}

loci_phase_cost loci_phase_upper(const loci_model *m)
{
    loci_phase_cost c = { 0 };
    for (int l = 0; l < m->hp.n_upper; l++) c = sum_of(c, layer(&m->hp, &m->p.upper[l]));
    for (int g = 0; g < m->hp.n_groups; g++) c = sum_of(c, read_block(&m->hp, &m->p.read[g]));
    return c;
}

loci_phase_cost loci_phase_head(const loci_model *m)
{
    return product(m->hp.tied ? &m->p.embed : &m->p.head);
}

loci_phase_cost loci_phase_encode(const loci_model *m)
{
    const loci_hparams *hp = &m->hp;
    const loci_encoder_params *p = &m->p.enc;
    const double S = hp->chunk, R = S + hp->n_landmarks, e = hp->enc_dim;
    const loci_phase_cost token = PRODUCTS(&p->in, &p->content), one = PRODUCTS(&p->summary);
    const loci_phase_cost row = PRODUCTS(&p->qkv, &p->o, &p->up, &p->down);
    const loci_phase_cost mark = PRODUCTS(&p->landmark);
    /* Operations of a chunk; its weights are read once. */
    const double operations = S * token.operations + R * row.operations + one.operations +
                              hp->n_landmarks * mark.operations + 4.0 * R * R * e;
    const double bytes = token.bytes + row.bytes + mark.bytes + one.bytes;
    return (loci_phase_cost){ bytes / S, operations / S };
}

loci_phase_cost loci_phase_pack(const loci_model *m)
{
    const loci_hparams *hp = &m->hp;
    const double map = (double)hp->d_landmark * hp->d_landmark, S = hp->chunk;
    loci_phase_cost c = { 4.0 * map / S, 2.0 * map * hp->n_landmarks / S };
    if (hp->content_bits4) {
        const loci_phase_cost pack = product(&m->p.enc.pack);
        c = sum_of(c, (loci_phase_cost){ pack.bytes / S, pack.operations });
    }
    return c;
}

loci_phase_cost loci_phase_search(const loci_model *m, int64_t chunks, int queries)
{
    const loci_hparams *hp = &m->hp;
    const double landmark = hp->n_landmarks * (hp->d_landmark + 4.0) + 4.0;
    loci_phase_cost one = { (double)chunks * landmark,
                            2.0 * (double)chunks * hp->n_landmarks * hp->d_landmark };
    /* Means of buckets; of the likeliest sketches; of the likeliest of those landmarks. */
    if (chunks >= LOCI_SORTED_FROM) {
        const double all = (double)chunks * hp->n_landmarks;
        const int buckets = loci_bank_buckets_for(chunks * hp->n_landmarks);
        const int probes = loci_probes_for(chunks * hp->n_landmarks, buckets);
        const double looked = all * (probes < buckets ? probes : buckets) / buckets;
        const double scored =
            (double)loci_probe_scored((int64_t)looked, hp->top_k * hp->n_landmarks);
        const double sketches = scored < looked ? looked : 0.0;
        const double sketch = LOCI_BASIS / 2 + LOCI_BASIS / LOCI_W4_GROUP * 2.0 + 4.0;
        const double operations = 2.0 * LOCI_BASIS * (buckets + sketches);
        one = (loci_phase_cost){ scored * landmark / hp->n_landmarks + sketches * sketch +
                                     buckets * (LOCI_BASIS + 8.0),
                                 operations + 2.0 * scored * hp->d_landmark };
    }
    return times(one, queries);
}

loci_phase_cost loci_phase_content(const loci_model *m, double misses)
{
    const loci_hparams *hp = &m->hp;
    const double S = hp->chunk, w = hp->d_key + hp->d_value;
    loci_phase_cost chunk = { S * (w + 8.0), 0.0 };
    if (hp->content_bits4) {
        const loci_phase_cost row = product(&m->p.enc.unpack), z = product(&m->p.enc.context);
        chunk = (loci_phase_cost){ S * 36.0 + hp->d_summary + 4.0 + row.bytes + z.bytes,
                                   S * row.operations + z.operations };
    }
    return times(chunk, misses);
}

double loci_phase_weight_bytes(const loci_model *m)
{
    return loci_phase_lower(m).bytes + loci_phase_upper(m).bytes + loci_phase_head(m).bytes;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Operations a second for products of the model's weights: bf16 without instructions runs as f32. */
static double product_rate(const loci_bench_model *b)
{
    const loci_bench_machine *w = &b->machine;
    const loci_dtype type = b->engine->model->p.embed.type;
    if (type == LOCI_I8 || type == LOCI_U8) return w->int8[1];
    return type == LOCI_BF16 && w->bf16[1] > 0.0 ? w->bf16[1] : w->f32[1];
}

void loci_phase_part(const loci_bench_model *b, loci_bench_model_row *row, const char *name,
                     double seconds, loci_phase_cost cost, double resident)
{
    const loci_bench_machine *w = &b->machine;
    const double rate =
        w->cache_bytes > 0 && resident <= (double)w->cache_bytes ? w->cached[1] : w->read[1];
    const double read = rate > 0.0 ? cost.bytes / rate : 0.0;
    const double work = product_rate(b) > 0.0 ? cost.operations / product_rate(b) : 0.0;
    row->part[row->n_parts++] = (loci_bench_model_part){ .name = name,
                                                         .seconds = seconds,
                                                         .bytes = cost.bytes,
                                                         .operations = cost.operations,
                                                         .floor_seconds = fmax(read, work) };
}

void loci_phase_total(loci_bench_model_row *row)
{
    loci_bench_model_part *all = &row->part[0];
    all->bytes = all->operations = all->floor_seconds = 0.0;
    for (int i = 1; i < row->n_parts; i++) {
        all->bytes += row->part[i].bytes;
        all->operations += row->part[i].operations;
        all->floor_seconds += row->part[i].floor_seconds;
    }
}
