/* bank.c - an open bank: one snapshot of its catalogue, its segments mapped, its live chunks numbered
 * in the order of ingestion.
 *
 * Chunks of a document are neighbours in that numbering; chunks of replaced documents are not in it.
 * Content and landmarks stay on disk until a search wants them; codes are bank_codes.c's. */
#include "engine/bank_impl.h"
#include "engine/gpu_engine.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- one snapshot ------------------------------------------------------------------------------- */
static loci_segment *find_open(const loci_bank *b, int64_t id)
{
    const loci_segment_row *row =
        b && b->segment ? loci_segment_row_find(b->segment_row, b->n_segments, id) : NULL;
    return row ? b->segment[row - b->segment_row] : NULL;
}

/* Free the parts of a bank that a reload replaces, but the segments that `other` has too. */
static void snapshot_free(loci_bank *b, const loci_bank *other)
{
    for (int64_t i = 0; b->segment && i < b->n_segments; i++)
        if (!find_open(other, b->segment_row[i].id)) loci_segment_close(b->segment[i]);
    loci_doc_rows_free(b->doc, b->n_docs);
    free(b->doc_first);
    free(b->doc_segment);
    free(b->segment_row);
    free(b->segment);
    free(b->by_place);
    loci_bank_free_codes(b);
}

/* A small bank may come into memory as it is read, a large one not: segment_content.c. */
#define LARGE_BYTES ((int64_t)256 << 20)

static void read_large(loci_bank *b)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < b->n_segments; i++) bytes += b->segment_row[i].bytes;
    for (int64_t i = 0; i < b->n_segments && bytes > LARGE_BYTES; i++)
        loci_segment_read_content(b->segment[i]);
}

static loci_status open_segments(loci_bank *b, const loci_bank *old, loci_error *err)
{
    char path[4096];
    b->segment = calloc((size_t)b->n_segments + 1, sizeof *b->segment);
    if (!b->segment)
        return loci_fail(err, LOCI_ENOMEM, "no memory for %lld segments", (long long)b->n_segments);
    for (int64_t i = 0; i < b->n_segments; i++) {
        const loci_segment_row *row = &b->segment_row[i];
        if ((b->segment[i] = find_open(old, row->id))) continue;
        loci_error local = { 0 };
        loci_status st = loci_path_join(path, sizeof path, b->dir, row->file, &local);
        if (st == LOCI_OK) st = loci_segment_open(&b->segment[i], path, &b->shape, &local);
        /* The catalogue names it: a missing file is damage, not a wrong request. */
        if (st != LOCI_OK)
            return loci_fail(err, st == LOCI_ENOTFOUND ? LOCI_EFORMAT : st, "%s", local.text);
        if (loci_segment_count(b->segment[i]) != row->chunks)
            return loci_fail(err, LOCI_EFORMAT, "%s: %lld chunks, the catalogue says %lld", path,
                             (long long)loci_segment_count(b->segment[i]), (long long)row->chunks);
    }
    read_large(b);
    return LOCI_OK;
}

/* Rows and segment files of one moment. */
static loci_status read_snapshot(loci_bank *b, const loci_bank *old, loci_error *err)
{
    loci_status st = loci_catalog_begin(b->catalog, err);
    if (st != LOCI_OK) return st;
    st = loci_catalog_docs(b->catalog, &b->doc, &b->n_docs, err);
    if (st == LOCI_OK) st = loci_catalog_segments(b->catalog, &b->segment_row, &b->n_segments, err);
    if (st == LOCI_OK && b->n_segments > INT32_MAX)
        st = loci_fail(err, LOCI_EFORMAT, "%s: too many segments", b->dir);
    if (st == LOCI_OK) st = open_segments(b, old, err);
    loci_catalog_end(b->catalog);
    return st;
}

static int in_order_of_place(const void *pa, const void *pb)
{
    const loci_doc_place *a = pa, *b = pb;
    if (a->segment != b->segment) return a->segment < b->segment ? -1 : 1;
    if (a->first_chunk != b->first_chunk) return a->first_chunk < b->first_chunk ? -1 : 1;
    return (a->chunks > b->chunks) - (a->chunks < b->chunks); /* empty ones first */
}

static loci_status sort_by_place(loci_bank *b, loci_error *err)
{
    b->by_place = calloc((size_t)b->n_docs + 1, sizeof *b->by_place);
    if (!b->by_place)
        return loci_fail(err, LOCI_ENOMEM, "no memory for %lld documents", (long long)b->n_docs);
    for (int64_t i = 0; i < b->n_docs; i++)
        b->by_place[i] =
            (loci_doc_place){ b->doc_segment[i], b->doc[i].first_chunk, b->doc[i].chunks, i };
    qsort(b->by_place, (size_t)b->n_docs, sizeof *b->by_place, in_order_of_place);
    return LOCI_OK;
}

int64_t loci_bank_index_of(const loci_bank *b, int32_t segment, int64_t chunk)
{
    int64_t low = 0, high = b->n_docs; /* the last document that begins at or before the chunk */
    while (low < high) {
        const int64_t mid = low + (high - low) / 2;
        const loci_doc_place *p = &b->by_place[mid];
        if (p->segment < segment || (p->segment == segment && p->first_chunk <= chunk))
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || b->by_place[low - 1].segment != segment) return -1;
    const loci_doc_place *p = &b->by_place[low - 1];
    const int64_t in_doc = chunk - p->first_chunk;
    return in_doc < p->chunks ? b->doc_first[p->doc] + in_doc : -1;
}

/* Counts and places; the sums cannot overflow: chunks lie in files that are mapped, and bytes and
 * tokens are bounded here. */
static loci_status lay_out(loci_bank *b, loci_error *err)
{
    b->doc_first = calloc((size_t)b->n_docs + 1, sizeof *b->doc_first);
    b->doc_segment = calloc((size_t)b->n_docs + 1, sizeof *b->doc_segment);
    if (!b->doc_first || !b->doc_segment)
        return loci_fail(err, LOCI_ENOMEM, "no memory for %lld documents", (long long)b->n_docs);
    loci_status st = loci_catalog_check_rows(b->dir, b->doc, b->n_docs, b->segment_row,
                                             b->n_segments, b->doc_segment, err);
    if (st != LOCI_OK) return st;
    for (int64_t i = 0; i < b->n_docs; i++) {
        const loci_doc_row *d = &b->doc[i];
        if (d->tokens > INT64_MAX - b->tokens || d->bytes > INT64_MAX - b->text_bytes)
            return loci_fail(err, LOCI_EFORMAT, "%s: document %s: %lld tokens, %lld bytes", b->dir,
                             d->name, (long long)d->tokens, (long long)d->bytes);
        b->doc_first[i + 1] = b->doc_first[i] + d->chunks;
        b->tokens += d->tokens;
        b->text_bytes += d->bytes;
    }
    b->chunks = b->doc_first[b->n_docs];
    return b->shape.postings ? sort_by_place(b, err) : LOCI_OK;
}

loci_status loci_bank_reload(loci_bank *b, loci_error *err)
{
    loci_bank fresh = { .engine = b->engine,
                        .vfs = b->vfs,
                        .dir = b->dir,
                        .mode = b->mode,
                        .catalog = b->catalog,
                        .shape = b->shape };
    loci_status st = read_snapshot(&fresh, b, err);
    if (st == LOCI_OK) st = lay_out(&fresh, err);
    if (st == LOCI_OK) st = loci_bank_load_codes(&fresh, err);
    if (st != LOCI_OK) {
        snapshot_free(&fresh, b);
        return st;
    }
    loci_gpu_engine_forget(b->engine->gpu, b);
    snapshot_free(b, &fresh);
    *b = fresh;
    return LOCI_OK;
}

/* ---- leftovers ------------------------------------------------------------------------------------ */
/* A killed writer may leave a segment file that no catalogue names.  We hold the writer's lock, so
 * nobody is writing one now. */
static void remove_leftovers(loci_bank *b)
{
    char path[4096];
    DIR *dir = opendir(b->dir);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (loci_segment_is_leftover(e->d_name, b->segment_row, b->n_segments) &&
            loci_path_join(path, sizeof path, b->dir, e->d_name, NULL) == LOCI_OK)
            b->vfs->unlink(b->vfs->ctx, path);
    }
    closedir(dir);
    loci_bank_drop_stale_buckets(b);
}

loci_status loci_bank_new_segment(loci_bank *b, loci_segment_row *row, char *path, size_t path_size,
                                  loci_error *err)
{
    memset(row, 0, sizeof *row);
    loci_status st = loci_catalog_next_segment(b->catalog, &row->id, err);
    if (st != LOCI_OK) return st;
    loci_segment_name(row->file, row->id);
    if ((st = loci_path_join(path, path_size, b->dir, row->file, err)) != LOCI_OK) return st;
    /* The number is free in the catalogue: a file of that name is the rest of an aborted batch
     * whose unlink failed. */
    b->vfs->unlink(b->vfs->ctx, path);
    return LOCI_OK;
}

void loci_bank_drop_files(loci_bank *b, char **files)
{
    char path[4096];
    for (char **f = files; f && *f; f++) {
        if (loci_path_join(path, sizeof path, b->dir, *f, NULL) == LOCI_OK)
            b->vfs->unlink(b->vfs->ctx, path);
        free(*f);
    }
    free(files);
}

/* ---- open, close ------------------------------------------------------------------------------------ */
static loci_status shape_of_model(const loci_model *m, loci_segment_shape *shape, char *json,
                                  size_t size, loci_error *err)
{
    const loci_hparams *hp = &m->hp;
    if (hp->d_key != hp->d_value || hp->chunk != SEG_CHUNK_TOKENS)
        return loci_fail(err, LOCI_EINVAL,
                         "a bank holds chunks of %d tokens with keys as wide as values; "
                         "this model has %d, %d and %d",
                         SEG_CHUNK_TOKENS, hp->chunk, hp->d_key, hp->d_value);
    *shape = (loci_segment_shape){
        .n_landmarks = hp->n_landmarks,
        .d_landmark = hp->d_landmark,
        .d_content = loci_content_cols(hp),
        .id_bytes = hp->vocab <= 65536 ? 2 : 4,
        .postings = hp->postings,
        .content_bits4 = hp->content_bits4,
        .d_summary = hp->d_summary,
    };
    memcpy(shape->fingerprint, m->fingerprint, 16);
    char summary[32] = "";
    if (shape->d_summary) snprintf(summary, sizeof summary, ",\"d_summary\":%d", shape->d_summary);
    snprintf(json, size,
             "{\"n_landmarks\":%d,\"d_landmark\":%d,\"d_content\":%d,\"id_bytes\":%d,\"chunk\":%d%"
             "s%s%s}",
             shape->n_landmarks, shape->d_landmark, shape->d_content, shape->id_bytes, hp->chunk,
             shape->postings ? ",\"postings\":1" : "",
             shape->content_bits4 ? ",\"content_bits4\":1" : "", summary);
    return LOCI_OK;
}

loci_status loci_bank_open(loci_bank **out, loci_engine *e, const char *dir, loci_bank_mode mode,
                           loci_error *err)
{
    char json[200];
    *out = NULL;
    if (!e || !dir || !*dir)
        return loci_fail(err, LOCI_EINVAL, "a bank needs an engine and a folder");
    loci_bank *b = calloc(1, sizeof *b);
    if (!b || !(b->dir = strdup(dir))) {
        free(b);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a bank");
    }
    b->engine = e;
    b->mode = mode;
    b->vfs = loci_vfs_system();
    loci_status st = loci_engine_need_reads(e, err);
    if (st == LOCI_OK) st = shape_of_model(e->model, &b->shape, json, sizeof json, err);
    if (st == LOCI_OK)
        st = loci_catalog_open(&b->catalog, dir, mode, b->shape.fingerprint, json, err);
    if (st == LOCI_OK) st = loci_bank_reload(b, err);
    if (st != LOCI_OK) {
        loci_bank_close(b);
        return st;
    }
    if (mode != LOCI_BANK_READ) remove_leftovers(b);
    *out = b;
    return LOCI_OK;
}

void loci_bank_close(loci_bank *b)
{
    if (!b) return;
    loci_gpu_engine_forget(b->engine->gpu, b);
    snapshot_free(b, NULL);
    loci_catalog_close(b->catalog);
    free(b->dir);
    free(b);
}

/* ---- what is in it -------------------------------------------------------------------------------------- */
const char *loci_bank_dir(const loci_bank *b)
{
    return b->dir;
}

loci_status loci_bank_info(const loci_bank *b, loci_bank_stat *out, loci_error *err)
{
    char path[4096];
    struct stat sb;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 16; i++)
        snprintf(out->fingerprint + 2 * i, 3, "%02x", b->shape.fingerprint[i]);
    out->format_version = SEG_VERSION;
    out->documents = b->n_docs;
    out->segments = b->n_segments;
    out->chunks = b->chunks;
    out->tokens = b->tokens;
    out->text_bytes = b->text_bytes;
    for (int64_t i = 0; i < b->n_segments; i++) {
        out->disk_bytes += b->segment_row[i].bytes;
        loci_segment_sizes(b->segment[i], out->part_bytes);
    }
    const loci_status st = loci_path_join(path, sizeof path, b->dir, LOCI_CATALOG_FILE, err);
    if (st != LOCI_OK) return st;
    if (stat(path, &sb) != 0) return loci_fail(err, LOCI_EIO, "stat %s", path);
    out->disk_bytes += (int64_t)sb.st_size;
    out->part_bytes[LOCI_BANK_CATALOGUE] = (int64_t)sb.st_size;
    if (b->buckets) {
        out->part_bytes[LOCI_BANK_BUCKETS] = loci_buckets_file_bytes(b->buckets);
        out->disk_bytes += loci_buckets_file_bytes(b->buckets);
    }
    out->resident_bytes =
        b->n_codes * b->shape.n_landmarks * 16 + b->n_bucket_runs * (int64_t)sizeof *b->bucket_run +
        (b->buckets ? loci_buckets_memory(b->buckets) : 0) +
        b->n_docs * (int64_t)(sizeof *b->doc + sizeof *b->doc_first + sizeof *b->doc_segment) +
        b->n_segments * (int64_t)(sizeof *b->segment_row + sizeof *b->segment);
    for (int64_t i = 0; i < b->n_docs; i++)
        out->resident_bytes += (int64_t)(strlen(b->doc[i].name) + strlen(b->doc[i].path) + 2);
    return LOCI_OK;
}

const char *loci_bank_part_name(loci_bank_part part)
{
    static const char *const name[] = {
#define X(id, text) text,
        LOCI_BANK_PART_LIST(X)
#undef X
    };
    return part >= 0 && part < LOCI_BANK_PARTS ? name[part] : "unknown";
}

loci_status loci_bank_list(const loci_bank *b, loci_bank_visit_fn *visit, void *ctx,
                           loci_error *err)
{
    (void)err; /* everything is in memory */
    for (int64_t i = 0; i < b->n_docs; i++) {
        const loci_doc_row *d = &b->doc[i];
        const loci_bank_doc doc = { d->name,     d->bytes,    d->tokens,  d->chunks,
                                    d->sequence, d->mtime_ns, d->encoding };
        if (visit(ctx, &doc)) break;
    }
    return LOCI_OK;
}

int64_t loci_bank_doc_of(const loci_bank *b, int64_t index)
{
    int64_t low = 0, high = b->n_docs; /* doc_first[low] <= index < doc_first[high] */
    while (high - low > 1) {
        const int64_t mid = low + (high - low) / 2;
        if (b->doc_first[mid] <= index)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* ---- text ------------------------------------------------------------------------------------------------- */
typedef struct { /* owned bytes that grow; always room for a NUL */
    char *data;
    size_t used, cap;
} text_buffer;

static loci_status text_add(text_buffer *t, const char *bytes, size_t n, loci_error *err)
{
    if (n >= t->cap - t->used) {
        const size_t cap = 2 * (t->cap + n);
        char *bigger = realloc(t->data, cap);
        if (!bigger) return loci_fail(err, LOCI_ENOMEM, "no memory for %zu bytes of text", cap);
        t->data = bigger;
        t->cap = cap;
    }
    memcpy(t->data + t->used, bytes, n);
    t->used += n;
    return LOCI_OK;
}

static loci_status add_chunk_text(const loci_bank *b, loci_segment *s, int64_t chunk,
                                  text_buffer *t, loci_error *err)
{
    loci_chunk_view v;
    loci_status st = loci_segment_chunk(s, chunk, false, &v, err);
    const int32_t vocab = loci_tokenizer_vocab(b->engine->tok);
    for (int i = 0; st == LOCI_OK && i < v.n_tokens; i++) {
        const uint8_t *p = (const uint8_t *)v.ids + i * b->shape.id_bytes;
        const uint32_t id =
            b->shape.id_bytes == 2 ? (uint32_t)p[0] | (uint32_t)p[1] << 8 : get_u32(p);
        size_t n;
        if (id >= (uint32_t)vocab)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: chunk %lld holds token %u of a vocabulary of %d", b->dir,
                             (long long)chunk, id, vocab);
        const char *bytes = loci_token_bytes(b->engine->tok, (int32_t)id, &n);
        if (n > 0) st = text_add(t, bytes, n, err);
    }
    return st;
}

loci_status loci_bank_text(const loci_bank *b, const loci_doc_row *doc, int64_t first, int64_t n,
                           char **text, size_t *bytes, loci_error *err)
{
    const int64_t d = doc - b->doc;
    *text = NULL;
    *bytes = 0;
    if (first < 0 || n < 0 || n > doc->chunks || first > doc->chunks - n)
        return loci_fail(err, LOCI_EINVAL, "%s: chunks %lld..+%lld of %lld", doc->name,
                         (long long)first, (long long)n, (long long)doc->chunks);
    text_buffer t = { malloc(512), 0, 512 };
    loci_status st = t.data ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for text");
    for (int64_t i = 0; i < n && st == LOCI_OK; i++)
        st =
            add_chunk_text(b, b->segment[b->doc_segment[d]], doc->first_chunk + first + i, &t, err);
    if (st != LOCI_OK) {
        free(t.data);
        return st;
    }
    t.data[t.used] = '\0';
    *text = t.data;
    *bytes = t.used;
    return LOCI_OK;
}
