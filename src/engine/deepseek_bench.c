/* deepseek_bench.c - decoding of a DeepSeek-V4 shape, measured: options, memory, peaks. */
#include "engine/deepseek.h"
#include "kernel/peak.h"
#include "loci/bench.h"
#include <stdlib.h>

struct loci_bench_deepseek {
    loci_pool *pool;
    loci_dsv4_bench *bench;
    loci_bench_deepseek_row row; /* what does not change from run to run */
    int64_t tokens_max;
    unsigned flags;
};

_Static_assert((int)LOCI_BENCH_DEEPSEEK_PARTS == (int)LOCI_DSV4_PARTS, "one name a part");

loci_bench_deepseek_options loci_bench_deepseek_options_default(void)
{
    return (loci_bench_deepseek_options){
        .shape = "flash", .experts = 64, .memory_bytes = (uint64_t)12 << 30, .tokens_max = 1 << 20
    };
}

const char *loci_bench_deepseek_part(int i)
{
    return i >= 0 && i < LOCI_DSV4_PARTS ? loci_dsv4_part_name((loci_dsv4_part)i) : NULL;
}

/* The most layers whose weights and context fit. */
static loci_status fit_layers(const loci_bench_deepseek_options *o, int *layers, loci_error *err)
{
    loci_dsv4_hparams hp;
    const loci_status st = loci_dsv4_known_shape(&hp, o->shape, err);
    *layers = o->layers;
    if (st != LOCI_OK || o->layers > 0) return st;
    enum { ONE_OF_EACH = 4 }; /* window, window, CSA, HCA, or the like */
    for (int n = hp.n_layers; n >= ONE_OF_EACH; n--) {
        *layers = n;
        if (loci_dsv4_bench_bytes(&hp, n, o->experts, o->tokens_max) <= o->memory_bytes)
            return LOCI_OK;
    }
    return loci_fail(err, LOCI_ENOMEM, "%llu bytes do not hold %d layers of %s",
                     (unsigned long long)o->memory_bytes, ONE_OF_EACH, o->shape);
}

/* What the machine can do now; the best seen counts, for other programs only take from it. */
static void measure_peaks(loci_bench_deepseek *b)
{
    const double read = loci_dsv4_bench_bandwidth(b->bench, b->flags);
    const double int8 = loci_kernel_peak(LOCI_PEAK_INT8, b->flags, b->pool);
    if (read > b->row.read_bytes_per_second) b->row.read_bytes_per_second = read;
    if (int8 > b->row.int8_ops_per_second) b->row.int8_ops_per_second = int8;
}

static loci_status open_bench(loci_bench_deepseek *b, const loci_bench_deepseek_options *o,
                              loci_error *err)
{
    unsigned flags = 0;
    int layers = 0;
    loci_dsv4_mode mode = LOCI_DSV4_MODE_FAST;
    loci_dsv4_hparams hp;
    loci_status st = loci_cpu_limit(o->cpu ? o->cpu : "native", loci_cpu_detect(), &flags, err);
    if (st == LOCI_OK && o->mode) st = loci_dsv4_mode_parse(o->mode, &mode, err);
    if (st == LOCI_OK && (o->tokens_max < 1 || o->tokens_max > 1 << 24))
        st = loci_fail(err, LOCI_EINVAL, "tokens: expected 1 to 2^24, found %lld",
                       (long long)o->tokens_max);
    if (st == LOCI_OK) st = fit_layers(o, &layers, err);
    if (st == LOCI_OK) st = loci_pool_open(&b->pool, o->threads, err);
    if (st == LOCI_OK)
        st = loci_dsv4_bench_open(&b->bench, o->shape, layers, o->experts, mode, flags, b->pool,
                                  err);
    if (st == LOCI_OK) st = loci_dsv4_known_shape(&hp, o->shape, err);
    if (st != LOCI_OK) return st;
    b->tokens_max = o->tokens_max;
    b->row.layers = layers;
    for (int l = 0; l < layers; l++) {
        b->row.n_csa += hp.layer[l].kind == LOCI_DSV4_CSA;
        b->row.n_hca += hp.layer[l].kind == LOCI_DSV4_HCA;
    }
    b->flags = flags;
    measure_peaks(b);
    return LOCI_OK;
}

loci_status loci_bench_deepseek_open(loci_bench_deepseek **out,
                                     const loci_bench_deepseek_options *opt, loci_error *err)
{
    const loci_bench_deepseek_options o = opt ? *opt : loci_bench_deepseek_options_default();
    *out = NULL;
    loci_bench_deepseek *b = calloc(1, sizeof *b);
    if (!b) return loci_fail(err, LOCI_ENOMEM, "no memory for a benchmark");
    const loci_status st = open_bench(b, &o, err);
    if (st != LOCI_OK) {
        loci_bench_deepseek_close(b);
        return st;
    }
    *out = b;
    return LOCI_OK;
}

void loci_bench_deepseek_close(loci_bench_deepseek *b)
{
    if (!b) return;
    loci_dsv4_bench_close(b->bench);
    loci_pool_close(b->pool);
    free(b);
}

loci_status loci_bench_deepseek_run(loci_bench_deepseek *b, int64_t tokens, int repeat,
                                    loci_bench_deepseek_row *row, loci_error *err)
{
    loci_dsv4_bench_result r;
    if (tokens < 1 || tokens > b->tokens_max || repeat < 1 || repeat > 1000)
        return loci_fail(err, LOCI_EINVAL, "%lld tokens of at most %lld, %d times",
                         (long long)tokens, (long long)b->tokens_max, repeat);
    const loci_status st = loci_dsv4_bench_run(b->bench, tokens, repeat, &r, err);
    if (st != LOCI_OK) return st;
    measure_peaks(b);
    *row = b->row;
    row->tokens = tokens;
    for (int i = 0; i < LOCI_DSV4_PARTS; i++) {
        row->part_seconds[i] = r.seconds[i];
        row->token_seconds += r.seconds[i];
    }
    row->bytes_per_token = (double)r.block_bytes / (double)tokens;
    row->sequence_bytes = (int64_t)r.fixed_bytes;
    row->scan_seconds = r.scan_seconds;
    row->scan_bytes = r.scan_bytes;
    row->scan_ops = r.scan_ops;
    return LOCI_OK;
}
