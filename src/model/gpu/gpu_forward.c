/* gpu_forward.c - the buffers of a forward pass that keeps nothing: one layer's, used by all. */
#include "model/gpu/gpu_serve_impl.h"

enum { PLACE = 66, CHUNK = 64 };

loci_status loci_gpu_serves(const loci_hparams *hp, loci_error *err)
{
    if (!hp->shared_kv) return LOCI_OK;
    return loci_fail(err, LOCI_EMODEL,
                     "shared_kv is %d: a GPU serves models where it is 0, the CPU serves this one",
                     hp->shared_kv);
}

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

void loci_gpu_forward_plan(loci_gpu_pass *p, loci_arena *a, int n, int n_chunks)
{
    const loci_hparams *hp = &p->w->hp;
    const size_t N = (size_t)n, R = (size_t)n_chunks * PLACE, D = (size_t)hp->d_model,
                 e = (size_t)hp->enc_dim, qkv = (size_t)(hp->n_heads + 2 * hp->n_kv_heads) * 64;
    const size_t wide =
        largest(largest(largest((size_t)hp->ffn, (size_t)hp->read_mlp), largest(qkv, 512)),
                largest((size_t)hp->router_hidden, e));
    p->h = loci_arena_take(a, N * D, 4);
    p->inv0 = loci_arena_take(a, N, 4);
    p->frequency = loci_arena_take(a, 32, sizeof(double));
    loci_gpu_layer_plan(&p->layer[0], a, hp, n);
    p->s.wide = loci_arena_take(a, N * wide, 2);
    if (hp->n_groups == 0) return;
    loci_gpu_encoder_tape_plan(&p->enc, a, hp, n, n_chunks);
    p->s.z = loci_arena_take(a, R * e, 4);
    p->s.enc_wide = loci_arena_take(a, R * largest(3 * e, largest((size_t)hp->enc_mlp, 128)), 2);
}

loci_status loci_gpu_forward_begin(loci_gpu_pass *p, loci_error *err)
{
    double frequency[32];
    loci_rope_frequencies(frequency, p->w->hp.rope_base, 64);
    loci_gpu_upload(p->g, p->frequency, frequency, sizeof frequency);
    return loci_gpu_status(p->g, err); /* `frequency` must outlive the copy */
}

loci_status loci_gpu_reserve(loci_gpu *g, void **memory, size_t bytes, const char *what,
                             loci_error *err)
{
    const size_t spare = (size_t)64 << 20, have = loci_gpu_memory(g);
    *memory = NULL;
    if (bytes + spare > have) /* asked first: a failed allocation would be remembered for good */
        return loci_fail(err, LOCI_ENOMEM, "%s: %zu MiB of GPU memory, %zu MiB are free", what,
                         bytes >> 20, have >> 20);
    *memory = loci_gpu_alloc(g, bytes);
    if (!*memory) return loci_gpu_status(g, err);
    loci_gpu_clear(g, *memory, bytes);
    return LOCI_OK;
}

void loci_gpu_encoder_ranges(int32_t *lo, int32_t *hi, const int32_t *n_tokens, int n_chunks)
{
    for (int c = 0; c < n_chunks; c++) {
        const int n = n_tokens ? n_tokens[c] : CHUNK;
        for (int i = 0; i < PLACE; i++) {
            const bool in = n > 0 && i < n + PLACE - CHUNK;
            lo[c * PLACE + i] = in ? c * PLACE : 0;
            hi[c * PLACE + i] = in ? c * PLACE + n + PLACE - CHUNK : 0;
        }
    }
}
