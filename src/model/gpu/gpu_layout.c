/* gpu_layout.c - the sequences of a batch as rows, chunks and ranges.
 *
 * Sequence after sequence, document after document: token rows 0 .. N - 1, chunks 0 .. C - 1.  Rules
 * are those of the CPU pass (pass.c): a chunk is open to its document's rows from its end + W - S on, and to
 * all later documents of its sequence.  N is padded to whole tiles with rows that belong to nothing:
 * they see no keys, have no target, and nothing flows through them; so shapes repeat from step to
 * step, and products are planned once.  Everything is one block of memory, uploaded by one
 * copy; it is filled on the host while the device still works on the batch before. */
#include "base/base.h"
#include "model/gpu/gpu_pass_impl.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_PAD = 512, CHUNKS_PAD = 32, CHUNK = 64, PLACE = 66 };

static int padded(int n, int to)
{
    return (n + to - 1) / to * to;
}

/* ---- counting -------------------------------------------------------------------------------- */

typedef struct {
    int tokens, chunks, head, decode, codes, banks;
} totals;

/* Does query i train the codes, if it may read something? */
static bool codes_sample(const loci_hparams *hp, const loci_loss_options *opt, int i, int gold)
{
    if (!hp->trained_codes || hp->n_groups == 0 || opt->code_every < 1) return false;
    return i % opt->code_every == opt->code_phase || gold >= 0;
}

static loci_status count(totals *t, const loci_hparams *hp, const loci_sequence *s,
                         const loci_loss_options *opt, loci_error *err)
{
    const bool bank = hp->n_groups > 0;
    const int chunks = t->chunks;
    if (s->T < 1 || s->n_docs < 1 || s->doc[0] != 0 || s->doc[s->n_docs] != s->T)
        return loci_fail(err, LOCI_EINVAL, "documents do not cover the %d tokens", s->T);
    for (int d = 0; d < s->n_docs; d++) {
        const int n = s->doc[d + 1] - s->doc[d];
        if (n < 1 || s->doc[d + 1] > s->T)
            return loci_fail(err, LOCI_EINVAL, "document %d: tokens %d to %d", d, s->doc[d],
                             s->doc[d + 1]);
        if (!bank || !s->banked[d]) continue;
        t->chunks += (n + CHUNK - 1) / CHUNK;
        if (opt->decode > 0.0f)
            t->decode += (n + LOCI_DECODE_STRIDE - 1 - opt->decode_phase) / LOCI_DECODE_STRIDE;
    }
    for (int i = 0; i < s->T; i++) {
        if (s->ids[i] < 0 || s->ids[i] >= hp->vocab || s->target[i] < -1 ||
            s->target[i] >= hp->vocab)
            return loci_fail(err, LOCI_EINVAL, "token %d: id %d, target %d of %d", i, s->ids[i],
                             s->target[i], hp->vocab);
        t->head += s->target[i] >= 0;
        t->codes += codes_sample(hp, opt, i, s->gold ? s->gold[i] : -1);
    }
    t->banks += t->chunks > chunks;
    t->tokens += s->T;
    return LOCI_OK;
}

/* Point every array into a block (NULL: only measure). */
static size_t carve(loci_gpu_layout *b, void *memory, size_t bytes, bool host)
{
    loci_arena a = { memory, bytes, 0 };
    const size_t N = (size_t)b->n, C = (size_t)b->n_chunks, H = (size_t)b->n_head,
                 Q = (size_t)b->n_decode, G = (size_t)b->n_nodes, F = (size_t)b->n_gist,
                 K = (size_t)b->n_codes, B = (size_t)b->n_banks;
#define X(type, name, count)                                                                       \
    {                                                                                              \
        type *at = loci_arena_take(&a, (count), sizeof(type));                                     \
        if (host)                                                                                  \
            b->host.name = at;                                                                     \
        else                                                                                       \
            b->name = at;                                                                          \
    }
    LOCI_GPU_ARRAYS(X)
#undef X
    return a.used;
}

static loci_status reserve(loci_gpu_layout *b, loci_gpu *g, const loci_hparams *hp, loci_error *err)
{
    const size_t need = b->used = carve(b, NULL, 0, true),
                 ints = (size_t)hp->vocab + 1 + (size_t)b->n;
    if (need > b->bytes) {
        loci_gpu_host_free(g, b->host_memory);
        loci_gpu_free(g, b->device_memory);
        b->bytes = need + need / 4;
        b->host_memory = loci_gpu_host_alloc(g, b->bytes);
        b->device_memory = loci_gpu_alloc(g, b->bytes);
    }
    if (ints > b->scratch_ints) {
        free(b->scratch);
        b->scratch_ints = ints + ints / 4;
        b->scratch = malloc(b->scratch_ints * sizeof *b->scratch);
    }
    if (!b->host_memory || !b->device_memory || !b->scratch) {
        b->bytes = 0;
        b->scratch_ints = 0;
        loci_gpu_status(g, err);
        return loci_fail(err, LOCI_ENOMEM, "no memory for the index of a batch: %zu bytes", need);
    }
    carve(b, b->host_memory, b->bytes, true);
    carve(b, b->device_memory, b->bytes, false);
    return LOCI_OK;
}

/* ---- filling ------------------------------------------------------------------------------------ */

typedef struct {
    int row, chunk, head, decode, bank;
} cursor;

static void fill_window(loci_gpu_layout *b, int start, int end, int window)
{
    for (int r = start; r < end; r++) {
        b->host.pos[r] = r - start;
        b->host.win_lo[r] = r - window + 1 > start ? r - window + 1 : start;
        b->host.win_hi[r] = r + 1;
        b->host.win_qlo[r] = r;
        b->host.win_qhi[r] = r + window < end ? r + window : end;
    }
}

/* Chunks of one banked document, rows [start, end); open to rows from first_query on. */
static void fill_chunks(loci_gpu_layout *b, int start, int end, int seq_end, int window, int *chunk)
{
    for (int j = start; j < end; j += CHUNK) {
        const int c = (*chunk)++, n = end - j < CHUNK ? end - j : CHUNK,
                  open = j + CHUNK + window - CHUNK;
        const int first = open < end ? open : end;
        b->host.n_tokens[c] = n;
        b->host.first_tile[c] = first / LOCI_GPU_LIST_TILE;
        b->host.last_tile[c] =
            first < seq_end ? (seq_end - 1) / LOCI_GPU_LIST_TILE + 1 : b->host.first_tile[c];
        for (int i = 0; i < CHUNK; i++) {
            b->host.token_row[c * CHUNK + i] = i < n ? j + i : -1;
            b->host.key_ok[c * CHUNK + i] = i < n;
            b->host.key_qlo[c * CHUNK + i] = first;
            b->host.key_qhi[c * CHUNK + i] = seq_end;
        }
        for (int i = 0; i < PLACE; i++) {
            const bool in = i < n + PLACE - CHUNK;
            b->host.enc_lo[c * PLACE + i] = in ? c * PLACE : 0;
            b->host.enc_hi[c * PLACE + i] = in ? c * PLACE + n + PLACE - CHUNK : 0;
        }
    }
}

/* Rows of one sequence: who reads what, what is asked of them. */
static void fill_queries(loci_gpu_layout *b, const loci_hparams *hp, const loci_sequence *s,
                         int row0, int chunk0, int chunk_end, const loci_loss_options *opt)
{
    for (int i = 0, c = chunk0; i < s->T; i++) {
        const int r = row0 + i;
        while (c < chunk_end && b->host.key_qlo[c * CHUNK] <= r) c++;
        b->host.own_lo[r] = chunk0;
        b->host.own_hi[r] = c;
        b->host.seq_hi[r] = chunk_end;
        b->host.key_lo[r] = chunk0 * CHUNK;
        b->host.key_hi[r] = c * CHUNK;
        const int gold = s->gold ? s->gold[i] : -1, source = s->source ? s->source[i] : -1;
        b->host.gold[r] = gold >= 0 ? (chunk0 + gold < c ? chunk0 + gold : -1) : gold;
        b->host.source[r] =
            source >= 0 && chunk0 + source / CHUNK < c ? chunk0 * CHUNK + source : -1;
        const bool kl = c > chunk0 && opt->kl > 0.0f && loci_kl_row(opt, i);
        b->host.kl_row[r] = kl;
        b->host.target_row[r] = kl ? b->n_kl : -1;
        if (kl) b->host.kl_rows[b->n_kl++] = r;
        if (c - chunk0 > b->target_ld) b->target_ld = c - chunk0;
        if (c > chunk0 && codes_sample(hp, opt, i, b->host.gold[r]))
            b->host.code_query[b->real_codes++] = r;
    }
}

static void fill_losses(loci_gpu_layout *b, const loci_sequence *s, int row0,
                        const loci_loss_options *opt, cursor *at)
{
    for (int i = 0; i < s->T; i++) {
        if (s->target[i] < 0) continue;
        b->host.head_row[at->head] = row0 + i;
        b->host.head_target[at->head] = s->target[i];
        b->host.head_weight[at->head++] = s->weight[i] * opt->ce_scale * opt->grad_scale;
    }
}

static void fill_decode(loci_gpu_layout *b, const loci_hparams *hp, const loci_sequence *s,
                        int chunk0, const loci_loss_options *opt, cursor *at)
{
    if (!(opt->decode > 0.0f) || hp->n_groups == 0) return;
    for (int d = 0, c = chunk0; d < s->n_docs; d++) {
        if (!s->banked[d]) continue;
        for (int t = s->doc[d] + opt->decode_phase; t < s->doc[d + 1]; t += LOCI_DECODE_STRIDE) {
            b->host.decode_row[at->decode] = c * CHUNK + t - s->doc[d];
            b->host.decode_target[at->decode] = s->ids[t];
            b->host.decode_weight[at->decode++] =
                opt->decode * opt->decode_scale * opt->grad_scale / (float)hp->n_groups;
        }
        c += (s->doc[d + 1] - s->doc[d] + CHUNK - 1) / CHUNK;
    }
}

static void fill_sequence(loci_gpu_layout *b, const loci_hparams *hp, const loci_sequence *s,
                          const loci_loss_options *opt, cursor *at)
{
    const int row0 = at->row, chunk0 = at->chunk;
    memcpy(b->host.ids + row0, s->ids, (size_t)s->T * sizeof *s->ids);
    for (int d = 0; d < s->n_docs; d++) {
        const int start = row0 + s->doc[d], end = row0 + s->doc[d + 1];
        fill_window(b, start, end, hp->window);
        if (hp->n_groups > 0 && s->banked[d])
            fill_chunks(b, start, end, row0 + s->T, hp->window, &at->chunk);
    }
    for (int c = chunk0; c < at->chunk; c++)
        b->host.packed[c] = hp->content_bits4 && loci_tier_packed(s, c - chunk0);
    fill_queries(b, hp, s, row0, chunk0, at->chunk, opt);
    if (at->chunk > chunk0) {
        b->host.bank_start[at->bank++] = chunk0;
        b->host.bank_start[at->bank] = at->chunk;
    }
    fill_losses(b, s, row0, opt, at);
    fill_decode(b, hp, s, chunk0, opt, at);
    at->row += s->T;
}

/* Rows and chunks that belong to nothing. */
static void fill_pads(loci_gpu_layout *b, const cursor *at)
{
    for (int r = at->row; r < b->n; r++) {
        b->host.ids[r] = 4; /* <pad> */
        b->host.pos[r] = b->host.win_lo[r] = b->host.win_hi[r] = b->host.win_qlo[r] =
            b->host.win_qhi[r] = 0;
        b->host.own_lo[r] = b->host.own_hi[r] = b->host.key_lo[r] = b->host.key_hi[r] = 0;
        b->host.seq_hi[r] = b->real_chunks; /* no chunk is a negative of a row that is not there */
        b->host.gold[r] = b->host.source[r] = b->host.target_row[r] = -1;
        b->host.kl_row[r] = 0;
    }
    for (int c = at->chunk; c < b->n_chunks; c++) {
        b->host.n_tokens[c] = b->host.first_tile[c] = b->host.last_tile[c] = 0;
        b->host.packed[c] = 0;
        for (int i = 0; i < CHUNK; i++) {
            b->host.token_row[c * CHUNK + i] = -1;
            b->host.key_ok[c * CHUNK + i] = 0;
            b->host.key_qlo[c * CHUNK + i] = b->host.key_qhi[c * CHUNK + i] = 0;
        }
        for (int i = 0; i < PLACE; i++)
            b->host.enc_lo[c * PLACE + i] = b->host.enc_hi[c * PLACE + i] = 0;
    }
    for (int i = at->head; i < b->n_head; i++) {
        b->host.head_row[i] = b->host.head_target[i] = -1;
        b->host.head_weight[i] = 0.0f;
    }
    for (int i = b->real_codes; i < b->n_codes; i++) b->host.code_query[i] = -1;
    for (int i = at->decode; i < b->n_decode; i++) {
        b->host.decode_row[i] = b->host.decode_target[i] = -1;
        b->host.decode_weight[i] = 0.0f;
    }
}

/* Stable counting sort of rows by key[row] in [0, n_keys); rows whose key is -1 are left out.  first
 * (n_keys + 1) is scratch and ends as the start of each key. */
static int sort_rows(int32_t *out, const int32_t *key, int n, int n_keys, int32_t *first)
{
    memset(first, 0, ((size_t)n_keys + 1) * sizeof *first);
    for (int r = 0; r < n; r++)
        if (key[r] >= 0) first[key[r] + 1]++;
    for (int k = 0; k < n_keys; k++) first[k + 1] += first[k];
    const int total = first[n_keys];
    for (int r = 0; r < n; r++)
        if (key[r] >= 0) out[first[key[r]]++] = r;
    return total;
}

/* Rows by id, cut into pieces of one id. */
static void sort_ids(loci_gpu_layout *b, const loci_hparams *hp)
{
    sort_rows(b->host.order, b->host.ids, b->real_tokens, hp->vocab, b->scratch);
    b->n_pieces = b->n_ids = 0;
    for (int i = 0; i < b->real_tokens;) {
        const int32_t id = b->host.ids[b->host.order[i]];
        b->host.id_list[b->n_ids] = id;
        b->host.id_piece[b->n_ids++] = b->n_pieces;
        while (i < b->real_tokens && b->host.ids[b->host.order[i]] == id) {
            b->host.piece_start[b->n_pieces++] = i;
            for (int k = 0;
                 k < LOCI_GPU_PIECE && i < b->real_tokens && b->host.ids[b->host.order[i]] == id;
                 k++)
                i++;
        }
    }
    b->host.piece_start[b->n_pieces] = b->real_tokens;
    b->host.id_piece[b->n_ids] = b->n_pieces;
}

static int by_source(const void *x, const void *y)
{
    const int32_t *a = x, *b = y; /* pairs (source, row) */
    return a[0] != b[0] ? (a[0] < b[0] ? -1 : 1) : (a[1] > b[1]) - (a[1] < b[1]);
}

/* Queries that copy, sorted by what they copy. */
static loci_status sort_sources(loci_gpu_layout *b, loci_error *err)
{
    int n = 0;
    for (int r = 0; r < b->real_tokens; r++) n += b->host.source[r] >= 0;
    b->n_pointers = n;
    b->n_sources = 0;
    if (n == 0) return LOCI_OK;
    int32_t *pair = malloc((size_t)n * 2 * sizeof *pair);
    if (!pair) return loci_fail(err, LOCI_ENOMEM, "no memory for %d answer tokens", n);
    for (int r = 0, i = 0; r < b->real_tokens; r++)
        if (b->host.source[r] >= 0) {
            pair[2 * i] = b->host.source[r];
            pair[2 * i++ + 1] = r;
        }
    qsort(pair, (size_t)n, 2 * sizeof *pair, by_source);
    for (int i = 0; i < n; i++) {
        if (i == 0 || pair[2 * i] != pair[2 * i - 2]) b->host.source_start[b->n_sources++] = i;
        b->host.pointer_rows[i] = pair[2 * i + 1];
    }
    b->host.source_start[b->n_sources] = n;
    free(pair);
    return LOCI_OK;
}

/* What the queries of each list tile may pick. */
static void span_tiles(loci_gpu_layout *b)
{
    b->tile_span = 1;
    for (int tile = 0; tile * LOCI_GPU_LIST_TILE < b->n; tile++) {
        int lo = b->real_chunks, hi = 0;
        for (int r = tile * LOCI_GPU_LIST_TILE; r < b->n && r < (tile + 1) * LOCI_GPU_LIST_TILE;
             r++) {
            if (b->host.own_lo[r] >= b->host.own_hi[r]) continue;
            if (b->host.own_lo[r] < lo) lo = b->host.own_lo[r];
            if (b->host.own_hi[r] > hi) hi = b->host.own_hi[r];
        }
        b->host.tile_lo[tile] = lo < hi ? lo : 0;
        if (hi - lo > b->tile_span) b->tile_span = hi - lo;
    }
}

loci_status loci_gpu_layout_fill(loci_gpu_layout *b, loci_gpu *g, const loci_hparams *hp,
                                 const loci_sequence *const *s, int n, const loci_loss_options *opt,
                                 loci_error *err)
{
    totals t = { 0 };
    loci_status st = LOCI_OK;
    for (int i = 0; i < n && st == LOCI_OK; i++) st = count(&t, hp, s[i], opt, err);
    if (st != LOCI_OK) return st;
    b->n = padded(t.tokens, ROWS_PAD);
    b->n_chunks = padded(t.chunks, CHUNKS_PAD);
    b->n_head = padded(t.head, ROWS_PAD);
    b->n_decode = padded(t.decode, ROWS_PAD);
    b->real_tokens = t.tokens;
    b->real_chunks = t.chunks;
    b->n_codes = padded(t.codes, ROWS_PAD);
    b->n_banks = t.banks;
    b->real_codes = 0;
    b->n_bare = 0;
    b->n_kl = 0;
    b->target_ld = 1;
    if ((st = loci_gpu_nodes_count(b, hp, s, n, err)) != LOCI_OK) return st;
    if ((st = reserve(b, g, hp, err)) != LOCI_OK) return st;
    cursor at = { 0 };
    for (int i = 0; i < n; i++) fill_sequence(b, hp, s[i], opt, &at);
    fill_pads(b, &at);
    sort_ids(b, hp);
    if ((st = sort_sources(b, err)) != LOCI_OK) return st;
    span_tiles(b);
    return loci_gpu_nodes_fill(b, hp, s, n, err);
}

void loci_gpu_layout_free(loci_gpu_layout *b, loci_gpu *g)
{
    loci_gpu_host_free(g, b->host_memory);
    loci_gpu_free(g, b->device_memory);
    free(b->scratch);
    if (b->bare) loci_gpu_layout_free(b->bare, g);
    free(b->bare);
    free(b->stretch);
    memset(b, 0, sizeof *b);
}
