/* decode.c - time llama.cpp at one depth; compiled by bench/peer.sh against llama.cpp's headers and
 * its prebuilt libraries, not part of loci's build.
 *
 *   decode BACKENDS MODEL.gguf DEPTH THREADS UNITS REPEAT STATE
 *
 *   BACKENDS  folder of its libggml-cpu-*.so; the loader takes the best that the processor knows
 *   STATE     file of keys and values of DEPTH tokens: read if there, else computed and written
 *   UNITS     tokens of a spell, decoded one at a time at DEPTH and taken out of the cache again, so
 *             that every spell sees the same depth; the most likely next token is looked for as well,
 *             as loci's bench does
 *   REPEAT    spells; 0: only make STATE
 *
 * As its own bench does: one pool of threads for the whole run, batches of 512, flash attention and
 * weights mapped by default.  Prints one line of JSON. */
#define _POSIX_C_SOURCE 200809L
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <llama.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 512,  /* llama.cpp's default of tokens computed at once */
    FIRST = 259,  /* make_gguf.py: plain tokens begin here */
    SLOW = 16384, /* from this depth on a batch takes seconds: two of them, else five */
    MAX_REPEAT = 1000
};
static const double MAX_SECONDS = 20.0; /* of spells: a busy machine may make one take a second */

typedef struct {
    struct llama_context *ctx;
    int vocab, depth, threads, units, repeat;
    const char *state;
} run;

typedef struct {
    double quickest, median; /* seconds a token */
} spells;

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "decode: %s: %s\n", what, detail);
    exit(1);
}

static void errors_only(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)ctx;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static llama_token token_at(const run *r, int i)
{
    return FIRST + (llama_token)((int64_t)i * 7919 % (r->vocab - FIRST));
}

/* Compute n <= BATCH tokens behind what the cache holds, until their results are there. */
static void compute(const run *r, int at, int n)
{
    llama_token token[BATCH];
    for (int i = 0; i < n; i++) token[i] = token_at(r, at + i);
    if (llama_decode(r->ctx, llama_batch_get_one(token, n)) != 0) die("llama_decode", "failed");
    llama_synchronize(r->ctx);
}

static int most_likely(const run *r)
{
    const float *logit = llama_get_logits_ith(r->ctx, -1);
    int best = 0;
    for (int i = 1; i < r->vocab; i++)
        if (logit[i] > logit[best]) best = i;
    return best;
}

static void fill(const run *r)
{
    llama_token *all = malloc(sizeof *all * (size_t)(r->depth + 1));
    size_t n = 0;
    if (!all) die("fill", "no memory");
    if (access(r->state, R_OK) == 0) {
        if (!llama_state_seq_load_file(r->ctx, r->state, 0, all, (size_t)r->depth + 1, &n))
            die(r->state, "not a state of this model");
        if (n != (size_t)r->depth) die(r->state, "of another depth");
    } else {
        for (int at = 0; at < r->depth; at += BATCH)
            compute(r, at, r->depth - at < BATCH ? r->depth - at : BATCH);
        for (int i = 0; i < r->depth; i++) all[i] = token_at(r, i);
        if (r->depth > 0 && !llama_state_seq_save_file(r->ctx, r->state, 0, all, (size_t)r->depth))
            die(r->state, "cannot be written");
    }
    free(all);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Spells of `tokens`, `each` at a time. */
static spells measure(const run *r, int tokens, int each, int repeat)
{
    double s[MAX_REPEAT];
    int n = 0;
    const double start = seconds();
    while (n < repeat && (n == 0 || seconds() - start < MAX_SECONDS)) {
        const double begin = seconds();
        for (int i = 0; i < tokens; i += each) {
            compute(r, r->depth + i, each);
            (void)most_likely(r);
        }
        s[n++] = (seconds() - begin) / tokens;
        if (!llama_memory_seq_rm(llama_get_memory(r->ctx), 0, r->depth, -1))
            die("llama_memory_seq_rm", "failed");
    }
    qsort(s, (size_t)n, sizeof *s, compare);
    return (spells){ s[0], s[n / 2] };
}

/* One pool for all calls: by default every call starts and ends its own threads. */
static void attach_threads(const run *r)
{
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!cpu) die("back-ends", "no CPU back-end was loaded");
    struct ggml_threadpool_params p = ggml_threadpool_params_default(r->threads);
    struct ggml_threadpool *(*make)(struct ggml_threadpool_params *) = NULL;
    void *found =
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), "ggml_threadpool_new");
    memcpy(&make, &found, sizeof make);
    struct ggml_threadpool *pool = make ? make(&p) : NULL;
    if (!pool) die("back-ends", "no pool of threads");
    llama_attach_threadpool(r->ctx, pool, NULL);
}

static struct llama_model *open_model(run *r, const char *backends, const char *path)
{
    llama_log_set(errors_only, NULL);
    ggml_backend_load_all_from_path(backends);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    struct llama_model *m = llama_model_load_from_file(path, mp);
    if (!m) die(path, "llama.cpp does not load it");
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = (uint32_t)(r->depth + BATCH);
    cp.n_batch = cp.n_ubatch = BATCH;
    cp.n_threads = cp.n_threads_batch = r->threads;
    r->ctx = llama_init_from_model(m, cp);
    if (!r->ctx) die(path, "llama.cpp makes no context");
    r->vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
    attach_threads(r);
    return m;
}

/* The CPU back-end that was chosen, and resident bytes: both are in /proc. */
static void print_process(void)
{
    char line[4096], name[64] = "unknown";
    long pages = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, "libggml-cpu-");
        if (at) (void)sscanf(at, "libggml-cpu-%63[^.]", name);
    }
    if (f) fclose(f);
    f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
    if (f) fclose(f);
    printf("\"backend\":\"%s\",\"resident_bytes\":%ld", name, pages * sysconf(_SC_PAGESIZE));
}

int main(int argc, char **argv)
{
    if (argc != 8) die("usage", "decode BACKENDS MODEL.gguf DEPTH THREADS UNITS REPEAT STATE");
    run r = { .depth = atoi(argv[3]),
              .threads = atoi(argv[4]),
              .units = atoi(argv[5]),
              .repeat = atoi(argv[6]),
              .state = argv[7] };
    if (r.depth < 0 || r.threads < 1 || r.units < 1 || r.units > BATCH || r.repeat < 0 ||
        r.repeat > MAX_REPEAT)
        die("usage", "DEPTH >= 0, THREADS >= 1, UNITS 1..512, REPEAT 0..1000");
    struct llama_model *m = open_model(&r, argv[1], argv[2]);
    const double begin = seconds();
    fill(&r);
    const double filled = seconds() - begin;
    printf("{\"depth\":%d,\"fill_seconds\":%.3f,", r.depth, filled);
    if (r.repeat > 0) {
        (void)measure(&r, BATCH, BATCH, 1); /* the first builds its graph */
        const spells batch = measure(&r, BATCH, BATCH, r.depth >= SLOW ? 2 : 5);
        (void)measure(&r, r.units, 1, 1);
        const spells one = measure(&r, r.units, 1, r.repeat);
        printf("\"ms\":%.4f,\"median_ms\":%.4f,\"prefill\":%.1f,\"prefill_median\":%.1f,",
               1e3 * one.quickest, 1e3 * one.median, 1.0 / batch.quickest, 1.0 / batch.median);
    }
    print_process();
    printf(",\"version\":\"%s\",\"system\":\"%s\"}\n", llama_version(), llama_print_system_info());
    llama_free(r.ctx);
    llama_model_free(m);
    return 0;
}
