/* gpu_bank.c - the chunks that a stream on the device may read.
 *
 * Landmarks of all are there from the start.  Content comes when it is picked: places are found by a
 * hand that goes round and passes over what has been read since it came by last, so what is asked for
 * often stays.  Neighbouring places are filled by one copy. */
#include "base/base.h"
#include "kernel/number.h"
#include "model/gpu/gpu_serve_impl.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64, RECORD = CHUNK * 128, LANDMARKS = 256, ROOM = 256 };
_Static_assert(LOCI_GPU_SLOTS_KEPT >= 256 * LOCI_GPU_PICKS, "room for the picks of a whole call");

static void device_plan(loci_gpu_bank *b, loci_arena *a)
{
    const size_t all = (size_t)b->room + (size_t)b->max_own,
                 places = (size_t)b->slots + (size_t)b->max_own;
    b->landmark = loci_arena_take(a, all * LANDMARKS, 2);
    b->bias = loci_arena_take(a, all, 4);
    b->content = loci_arena_take(a, places * RECORD, 2);
    b->n_tokens = loci_arena_take(a, places, 4);
}

static void stage_plan(loci_gpu_bank *b, loci_arena *a)
{
    b->stage_rows = loci_arena_take(a, (size_t)LOCI_GPU_STAGED * RECORD, 2);
    b->stage_tokens = loci_arena_take(a, LOCI_GPU_STAGED, 4);
}

/* Own chunks are closed, so they have 64 tokens each. */
static loci_status own_tokens(loci_gpu_bank *b, loci_error *err)
{
    int32_t *full = malloc(((size_t)b->max_own + 1) * sizeof *full);
    if (!full) return loci_fail(err, LOCI_ENOMEM, "no memory for a bank on the GPU");
    for (int i = 0; i < b->max_own; i++) full[i] = CHUNK;
    loci_gpu_upload(b->g, b->n_tokens + b->slots, full, (size_t)b->max_own * sizeof *full);
    const loci_status st = loci_gpu_status(b->g, err);
    free(full);
    return st;
}

static loci_status reserve(loci_gpu_bank *b, loci_error *err)
{
    loci_arena a = { 0 };
    device_plan(b, &a);
    const size_t bytes = a.used;
    loci_status st = loci_gpu_reserve(b->g, &b->memory, bytes, "a bank", err);
    if (st != LOCI_OK) return st;
    a = (loci_arena){ b->memory, bytes, 0 };
    device_plan(b, &a);
    a = (loci_arena){ 0 };
    stage_plan(b, &a);
    const size_t stage = a.used;
    b->stage = loci_gpu_host_alloc(b->g, stage);
    if (!b->stage) return loci_gpu_status(b->g, err);
    a = (loci_arena){ b->stage, stage, 0 };
    stage_plan(b, &a);
    return own_tokens(b, err);
}

/* A bank that is written to while it is asked, a chat's or a folder's, grows by little at a time. */
static int64_t with_room(int64_t n, int64_t most)
{
    const int64_t room = n > 0 ? n + n / 16 + ROOM : 0;
    return room < most ? room : most;
}

loci_status loci_gpu_bank_open(loci_gpu_bank **out, loci_gpu *g, int64_t n, int max_own,
                               int d_summary, loci_error *err)
{
    *out = NULL;
    const int64_t most = INT32_MAX / LANDMARKS * 2 - max_own;
    if (n < 0 || n > most)
        return loci_fail(err, LOCI_EINVAL, "%lld chunks: a search on a GPU takes %d", (long long)n,
                         INT32_MAX / LANDMARKS * 2);
    loci_gpu_bank *b = calloc(1, sizeof *b);
    if (!b) return loci_fail(err, LOCI_ENOMEM, "no memory for a bank on the GPU");
    b->g = g;
    b->n = n;
    b->room = with_room(n, most);
    b->max_own = max_own;
    b->d_summary = d_summary;
    if (d_summary) /* pages are taken as chunks close */
        b->node = malloc((size_t)loci_gist_rows(max_own) * (size_t)d_summary * sizeof *b->node);
    b->slots = b->room < LOCI_GPU_SLOTS_KEPT ? (int)b->room : LOCI_GPU_SLOTS_KEPT;
    b->slot_of = malloc(((size_t)b->room + 1) * sizeof *b->slot_of);
    b->chunk_in = malloc(((size_t)b->slots + 1) * sizeof *b->chunk_in);
    b->used = calloc((size_t)b->slots + 1, sizeof *b->used);
    loci_status st = b->slot_of && b->chunk_in && b->used && (b->node || !d_summary)
                         ? reserve(b, err)
                         : loci_fail(err, LOCI_ENOMEM, "no memory for %lld chunks", (long long)n);
    if (st != LOCI_OK) {
        loci_gpu_bank_close(b);
        return st;
    }
    for (int64_t c = 0; c < b->room; c++) b->slot_of[c] = -1;
    for (int i = 0; i < b->slots; i++) b->chunk_in[i] = -1;
    *out = b;
    return LOCI_OK;
}

void loci_gpu_bank_close(loci_gpu_bank *b)
{
    if (!b) return;
    loci_gpu_free(b->g, b->memory);
    loci_gpu_host_free(b->g, b->stage);
    free(b->slot_of);
    free(b->chunk_in);
    free(b->used);
    free(b->node);
    free(b);
}

bool loci_gpu_bank_keep(loci_gpu_bank *b, int64_t keep, int64_t n)
{
    if (n > b->room) return false;
    for (int i = 0; i < b->slots; i++) {
        if (b->chunk_in[i] < keep) continue;
        b->slot_of[b->chunk_in[i]] = -1;
        b->chunk_in[i] = -1;
        b->used[i] = 0;
    }
    b->n = n;
    b->n_own = 0;
    return true;
}

void loci_gpu_bank_put(loci_gpu_bank *b, int64_t first, int count, const loci_bf16 *landmark,
                       const float *bias)
{
    const size_t n = (size_t)count;
    loci_gpu_upload(b->g, b->landmark + (size_t)first * LANDMARKS, landmark,
                    n * LANDMARKS * sizeof *landmark);
    loci_gpu_upload(b->g, b->bias + first, bias, n * sizeof *bias);
}

void loci_gpu_bank_reset(loci_gpu_bank *b)
{
    b->n_own = 0;
}

/* ---- content ------------------------------------------------------------------------------------------ */

void loci_gpu_bank_begin(loci_gpu_bank *b)
{
    b->call++;
}

void loci_gpu_bank_flush(loci_gpu_bank *b)
{
    const size_t n = (size_t)b->staged;
    if (n == 0) return;
    loci_gpu_upload(b->g, b->content + (size_t)b->stage_slot * RECORD, b->stage_rows,
                    n * RECORD * sizeof *b->stage_rows);
    loci_gpu_upload(b->g, b->n_tokens + b->stage_slot, b->stage_tokens, n * sizeof(int32_t));
    (void)loci_gpu_status(b->g, NULL); /* the stage is free again; errors are remembered */
    b->staged = 0;
}

/* A place that this call does not read.  What was read since the hand came by last gets one more
 * round; `used` then says that it has had it. */
static int free_place(loci_gpu_bank *b)
{
    for (;;) {
        const int i = b->hand;
        b->hand = (b->hand + 1) % b->slots;
        if (b->chunk_in[i] >= 0 && b->used[i] == b->call) continue;
        if (b->chunk_in[i] >= 0 && b->used[i] != 0) {
            b->used[i] = 0;
            continue;
        }
        return i;
    }
}

/* Content of one chunk into the stage. */
static loci_status fetch(loci_gpu_bank *b, const loci_gpu_reader *r, int64_t chunk, int place,
                         loci_error *err)
{
    const float *rows = NULL;
    const int n = r->content(r->ctx, chunk, &rows);
    if (n < 0) return loci_fail(err, (loci_status)n, "content of chunk %lld", (long long)chunk);
    if (b->staged == LOCI_GPU_STAGED || (b->staged > 0 && place != b->stage_slot + b->staged))
        loci_gpu_bank_flush(b);
    if (b->staged == 0) b->stage_slot = place;
    loci_bf16 *to = b->stage_rows + (size_t)b->staged * RECORD;
    for (int i = 0; i < n * 128; i++) to[i] = loci_f32_to_bf16(rows[i]);
    memset(to + n * 128, 0, (size_t)(CHUNK - n) * 128 * sizeof *to);
    b->stage_tokens[b->staged++] = n;
    return LOCI_OK;
}

loci_status loci_gpu_bank_place(loci_gpu_bank *b, const loci_gpu_reader *r, int64_t chunk,
                                int32_t *place, loci_error *err)
{
    if (chunk >= b->n) {
        *place = (int32_t)(b->slots + chunk - b->n);
        return LOCI_OK;
    }
    int i = b->slot_of[chunk];
    if (i < 0) {
        i = free_place(b);
        if (b->chunk_in[i] >= 0) b->slot_of[b->chunk_in[i]] = -1;
        b->chunk_in[i] = -1; /* until it is there */
        const loci_status st = fetch(b, r, chunk, i, err);
        if (st != LOCI_OK) return st;
        b->chunk_in[i] = chunk;
        b->slot_of[chunk] = i;
    }
    b->used[i] = b->call;
    *place = i;
    return LOCI_OK;
}
