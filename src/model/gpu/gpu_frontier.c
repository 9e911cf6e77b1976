/* gpu_frontier.c - the gist heads of a stream on the device: equations in gist.c.
 *
 * Without documents outside all of it is the device's (gpu_own_nodes.c).  With them a query attends to a
 * few hundred nodes, chosen by walking pyramids that lie on the host, and its Read block waits for the host
 * anyway.  So rows and queries come down, what they make of the nodes goes up, and the device multiplies
 * it by gist_o. */
#include "base/base.h"
#include "kernel/number.h"
#include "model/gpu/gpu_serve_impl.h"

enum { WIDE = LOCI_GIST_HEADS * 64, U = 128 };

void loci_gpu_frontier_plan(loci_gpu_frontier *f, loci_arena *a, const loci_hparams *hp,
                            int max_batch)
{
    f->max_batch = max_batch;
    if (!hp->d_summary) return;
    f->o = loci_arena_take(a, (size_t)max_batch * WIDE, 2);
    loci_gpu_own_nodes_plan(&f->own, a, hp, max_batch);
}

static void pinned_plan(loci_gpu_frontier *f, loci_arena *a, const loci_hparams *hp)
{
    const size_t N = (size_t)f->max_batch;
    f->host_xn = loci_arena_take(a, N * (size_t)hp->d_model, 2);
    f->host_u = loci_arena_take(a, N * U, 2);
    f->host_o = loci_arena_take(a, N * WIDE, 2);
    loci_gpu_own_nodes_plan_host(&f->own, a, hp, f->max_batch);
}

static void host_plan(loci_gpu_frontier *f, loci_arena *a, const loci_hparams *hp)
{
    const size_t N = (size_t)f->max_batch;
    f->xn = loci_arena_take(a, N * (size_t)hp->d_model, sizeof *f->xn);
    loci_gist_reader_plan(&f->reader, a, hp, f->max_batch);
}

loci_status loci_gpu_frontier_begin(loci_gpu_frontier *f, loci_gpu *g, const loci_hparams *hp,
                                    loci_error *err)
{
    loci_arena a = { 0 };
    if (!hp->d_summary) return LOCI_OK;
    pinned_plan(f, &a, hp);
    const size_t pinned = a.used;
    f->pinned = loci_gpu_host_alloc(g, pinned);
    if (!f->pinned) return loci_gpu_status(g, err);
    a = (loci_arena){ f->pinned, pinned, 0 };
    pinned_plan(f, &a, hp);
    a = (loci_arena){ 0 };
    host_plan(f, &a, hp);
    const size_t bytes = a.used;
    f->memory = loci_alloc_aligned(bytes);
    if (!f->memory)
        return loci_fail(err, LOCI_ENOMEM, "no memory for gist heads: %zu bytes", bytes);
    a = (loci_arena){ f->memory, bytes, 0 };
    host_plan(f, &a, hp);
    return LOCI_OK;
}

void loci_gpu_frontier_end(loci_gpu_frontier *f, loci_gpu *g)
{
    loci_gpu_host_free(g, f->pinned);
    loci_free_aligned(f->memory);
    f->pinned = f->memory = NULL;
}

/* ---- the stream's own pyramid ----------------------------------------------------------------- */

void loci_gpu_bank_close_summaries(loci_gpu_bank *b, const loci_model *m, const float *summary,
                                   int n)
{
    const size_t ds = (size_t)b->d_summary;
    loci_gpu_download(b->g, b->node + (size_t)b->n_own * ds, summary,
                      (size_t)n * ds * sizeof(float));
    for (int c = b->n_own; c < b->n_own + n; c++)
        loci_gist_close(&m->k, b->node, b->max_own, b->d_summary, c);
}

/* ---- a Read block ------------------------------------------------------------------------------ */

/* The documents', then the own stream's, as local_bank.c. */
static int nodes(void *ctx, const float *u, float tau, int64_t own_end, loci_gist_take *take,
                 void *to)
{
    const loci_gpu_reader *r = ctx;
    const loci_gpu_bank *b = r->bank;
    const int64_t ends = own_end > 0 ? own_end / 64 : 0;
    loci_gist_run run[LOCI_GIST_LEVELS];
    const int st = r->memory->gist(r->memory->ctx, u, tau, own_end, take, to);
    if (st != LOCI_OK) return st;
    const int runs = loci_gist_frontier(run, b->max_own, ends < b->n_own ? (int)ends : b->n_own);
    for (int i = 0; i < runs; i++)
        take(to, b->node + (size_t)run[i].row * (size_t)b->d_summary, run[i].level, run[i].n, NULL);
    return LOCI_OK;
}

loci_status loci_gpu_frontier_forward(loci_gpu_pass *p, int group, loci_gpu_frontier *f,
                                      const loci_gpu_read_tape *t, int64_t first, int n,
                                      const loci_gpu_reader *r, loci_error *err)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_read_params *on_host = &r->m->p.read[group];
    const size_t D = (size_t)hp->d_model, rows = (size_t)n;
    const loci_memory memory = { .ctx = (void *)r, .gist = nodes };
    const float tau = loci_router_tau(on_host);
    float u[U];
    if (!r->memory || !r->memory->gist) {
        loci_gpu_own_nodes_forward(p, group, &f->own, t->xn, f->o, first, n, r->bank);
        return LOCI_OK;
    }
    loci_gpu_download(p->g, f->host_xn, t->xn, rows * D * sizeof *f->host_xn);
    loci_gpu_download(p->g, f->host_u, t->u, rows * U * sizeof *f->host_u);
    for (size_t i = 0; i < rows * D; i++) f->xn[i] = loci_bf16_to_f32(f->host_xn[i]);
    loci_gist_queries(r->m, on_host, f->reader.q, NULL, f->xn, n);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < U; j++) u[j] = loci_bf16_to_f32(f->host_u[i * U + j]);
        const int st = loci_gist_read(r->m, group, &f->reader, i, &memory, u, tau,
                                      first + i - hp->window + hp->chunk);
        if (st < 0) return loci_fail(err, (loci_status)st, "summaries at token %d", i);
    }
    for (size_t i = 0; i < rows * WIDE; i++) f->host_o[i] = loci_f32_to_bf16(f->reader.o[i]);
    loci_gpu_upload(p->g, f->o, f->host_o, rows * WIDE * sizeof *f->host_o);
    loci_gpu_linear(p, p->h, hp->d_model, f->o, WIDE, &p->w->at.read[group].gist_o, p->b.n, 1.0f,
                    true);
    return LOCI_OK;
}
