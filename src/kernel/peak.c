/* peak.c - measures what peak.h promises, by all threads of a pool at once. */
#include "kernel/peak.h"

enum {
    SPELLS = 8,     /* at least, and */
    ROUNDS = 40000, /* some 100 us a spell and thread */
    STRIPE = 1 << 20,
    WORKERS_MAX = 1024 /* of a pool */
};

/* ---- plain C ------------------------------------------------------------------------------ */

double loci_peak_f32_ref(int rounds, void *out)
{
    enum { N = 64 };
    float acc[N], a = 1.0f + 0x1p-20f, *y = out;
    for (int i = 0; i < N; i++) acc[i] = (float)i;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++) acc[i] = acc[i] * a + a;
        /* Otherwise the compiler may count the rounds instead of running them. */
        __asm__ volatile("" : "+m"(a));
    }
    for (int i = 0; i < N; i++) y[i % 16] = acc[i];
    return 2.0 * N;
}

double loci_peak_int8_ref(int rounds, void *out)
{
    enum { N = 64 };
    int8_t a[N];
    int32_t acc[N] = { 0 }, *y = out;
    for (int i = 0; i < N; i++) a[i] = (int8_t)i;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++) acc[i] += a[i] * a[N - 1 - i];
        __asm__ volatile("" : "+m"(a));
    }
    for (int i = 0; i < N; i++) y[i % 16] = acc[i];
    return 2.0 * N;
}

uint64_t loci_peak_read_ref(const void *data, size_t bytes)
{
    const uint64_t *x = data;
    uint64_t sum[8] = { 0 };
    for (size_t i = 0; i < bytes / 8; i += 8)
        for (int k = 0; k < 8; k++) sum[k] += x[i + (size_t)k];
    return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

/* ---- choice ------------------------------------------------------------------------------- */

static const struct {
    loci_peak what;
    unsigned needs;
    loci_peak_fn *fn;
} product[] = {
    /* The last that runs is the widest. */
    { LOCI_PEAK_F32, 0, loci_peak_f32_ref },
    { LOCI_PEAK_INT8, 0, loci_peak_int8_ref },
#if defined(__x86_64__)
    { LOCI_PEAK_F32, LOCI_CPU_AVX2, loci_peak_f32_avx2 },
    { LOCI_PEAK_INT8, LOCI_CPU_AVX2, loci_peak_int8_avx2 },
    { LOCI_PEAK_F32, LOCI_CPU_AVX512, loci_peak_f32_avx512 },
    { LOCI_PEAK_BF16, LOCI_CPU_AVX512 | LOCI_CPU_BF16, loci_peak_bf16_avx512 },
    { LOCI_PEAK_INT8, LOCI_CPU_AVX512 | LOCI_CPU_VNNI, loci_peak_int8_avx512 },
#endif
};

static loci_peak_fn *widest(loci_peak what, unsigned flags)
{
    loci_peak_fn *fn = NULL;
    for (size_t i = 0; i < sizeof product / sizeof *product; i++)
        if (product[i].what == what && (product[i].needs & ~flags) == 0) fn = product[i].fn;
    return fn;
}

static loci_peak_read_fn *widest_read(unsigned flags)
{
#if defined(__x86_64__)
    if (flags & LOCI_CPU_AVX512) return loci_peak_read_avx512;
    if (flags & LOCI_CPU_AVX2) return loci_peak_read_avx2;
#endif
    (void)flags;
    return loci_peak_read_ref;
}

/* ---- measuring ---------------------------------------------------------------------------- */

typedef struct {
    loci_peak_fn *fn;
    loci_peak_read_fn *read;
    const unsigned char *data;
    double ops; /* of a round: the same from every tile, written by the first */
    struct {
        uint64_t word[8]; /* a line of its own */
    } out[WORKERS_MAX];
} spell;

static void multiply(void *ctx, int tile, int worker)
{
    spell *s = ctx;
    uint64_t out[8];
    const double ops = s->fn(ROUNDS, out);
    if (tile == 0) s->ops = ops;
    s->out[worker].word[0] ^= out[0];
}

static void read_stripe(void *ctx, int tile, int worker)
{
    spell *s = ctx;
    s->out[worker].word[0] ^= s->read(s->data + (size_t)tile * STRIPE, STRIPE);
}

#define SPELL_SECONDS 0.1 /* at least: a busy machine has a quiet moment in it */

/* Least seconds of several runs of a job.  Several tiles a thread, so that a late thread costs
 * little. */
static double quickest(spell *s, int tiles, loci_tile_fn *fn, loci_pool *pool)
{
    double best = 0.0, now = loci_seconds();
    const double end = now + SPELL_SECONDS;
    for (int i = 0; i < SPELLS || now < end; i++) {
        const double begin = now;
        loci_pool_run(pool, tiles, fn, s);
        now = loci_seconds();
        if (i == 0 || now - begin < best) best = now - begin;
    }
    return best;
}

double loci_kernel_peak(loci_peak what, unsigned cpu_flags, loci_pool *pool)
{
    enum { TILES_A_THREAD = 8 };
    const int tiles = TILES_A_THREAD * loci_pool_threads(pool);
    loci_peak_fn *fn = widest(what, cpu_flags);
    spell *s = fn ? loci_alloc_aligned(sizeof *s) : NULL;
    if (!s) return 0.0;
    s->fn = fn;
    const double seconds = quickest(s, tiles, multiply, pool);
    const double rate = seconds > 0.0 ? s->ops * ROUNDS * tiles / seconds : 0.0;
    loci_free_aligned(s);
    return rate;
}

double loci_kernel_read_peak(const void *data, size_t bytes, unsigned cpu_flags, loci_pool *pool)
{
    const int tiles = (int)(bytes / STRIPE);
    spell *s = tiles > 0 ? loci_alloc_aligned(sizeof *s) : NULL;
    if (!s) return 0.0;
    s->data = data;
    s->read = widest_read(cpu_flags);
    const double seconds = quickest(s, tiles, read_stripe, pool);
    loci_free_aligned(s);
    return seconds > 0.0 ? (double)tiles * STRIPE / seconds : 0.0;
}
