/* fuzz_buckets.c - any bytes as a file of buckets: opened, every bucket read and sketched.
 *
 * Each input is tried twice, as it is and with all checksums made right, for a checksum would
 * keep the fuzzer out of everything behind it. */
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include "engine/sketch.h"

static void must(int ok)
{
    if (!ok) abort();
}

/* Sums of the buckets that lie within the file, of the tables and of the header. */
static void resum(uint8_t *file, size_t size)
{
    if (size < sizeof(bkt_header)) return;
    const uint64_t d = get_u32(file + offsetof(bkt_header, d_landmark));
    const uint64_t n = get_u32(file + offsetof(bkt_header, n_buckets));
    const uint64_t segments = get_u64(file + offsetof(bkt_header, n_segments));
    put_u64(file + offsetof(bkt_header, file_bytes), size);
    if (d <= 512 && n <= LOCI_BUCKETS_MAX && segments <= size / 16) {
        const bkt_places to = bkt_places_of(segments, n, d);
        if (to.first <= size) {
            size_t at = to.first;
            for (size_t b = 0; b < n; b++) {
                uint8_t *e = file + to.table + b * sizeof(bkt_entry);
                const uint64_t rows = get_u64(e);
                if (rows > size || bkt_bytes(rows, d) > size - at) break;
                put_u64(e + offsetof(bkt_entry, sum),
                        XXH3_64bits_withSeed(file + at, bkt_bytes(rows, d), b));
                at += bkt_bytes(rows, d);
            }
            put_u64(file + offsetof(bkt_header, tables_sum),
                    XXH3_64bits(file + sizeof(bkt_header), to.first - sizeof(bkt_header)));
        }
    }
    put_u64(file + offsetof(bkt_header, sum), XXH3_64bits(file, offsetof(bkt_header, sum)));
}

/* Every number of a bucket, and its sketches, which are made of any numbers. */
static float read_bucket(loci_buckets *b, int i, const loci_bucket *v, int64_t numbers)
{
    static loci_kernels k;
    loci_error err = { 0 };
    loci_sketch sketch;
    const int d = loci_buckets_basis(b).d;
    float sum = 0.0f;
    for (int r = 0; r < v->n; r++) {
        must(v->chunk[r] < numbers);
        sum += v->scale[r] + v->bias[r] + (float)v->landmark[(size_t)(r + 1) * (size_t)d - 1];
    }
    if (!k.gemm) loci_kernels_init(&k, loci_cpu_detect());
    must(loci_sketches_get(loci_buckets_sketches(b), &k, b, i, v, &sketch, &err) == LOCI_OK);
    must(v->n == 0 || memcmp(sketch.bias, v->bias, (size_t)v->n * sizeof *v->bias) == 0);
    return sum;
}

static void read_all(loci_buckets *b)
{
    loci_error err = { 0 };
    const float *scale, *spread;
    int64_t n, rows = 0, numbers = 0;
    volatile float sum = 0.0f; /* every number is really read */
    const int8_t *mean = loci_buckets_means(b, &scale, &spread);
    const loci_basis basis = loci_buckets_basis(b);
    const loci_bucket_segment *s = loci_buckets_segments(b, &n);
    for (size_t i = 0; i < loci_basis_floats(basis.d); i++) must(isfinite(basis.landmark[i]));
    for (int64_t i = 0; i < n; i++) {
        must(loci_buckets_first(b, s[i].id) == numbers);
        numbers += bkt_numbers(s[i].chunks);
    }
    for (int i = 0; i < loci_buckets_count(b); i++) {
        loci_bucket v;
        must(isfinite(scale[i]) && spread[i] >= 0.0f);
        for (int j = 0; j < LOCI_BASIS; j++)
            sum = sum + scale[i] * (float)mean[(size_t)i * LOCI_BASIS + (size_t)j];
        if (loci_buckets_get(b, i, &v, &err) != LOCI_OK) continue;
        rows += v.n;
        sum = sum + read_bucket(b, i, &v, numbers);
    }
    must(rows <= loci_buckets_rows(b) && loci_buckets_largest(b) <= loci_buckets_rows(b));
}

static void try_file(const char *path)
{
    loci_error err = { 0 };
    loci_buckets *b;
    if (loci_buckets_open(&b, path, NULL, &err) != LOCI_OK) {
        must(err.text[0] != '\0' && !b);
        return;
    }
    read_all(b);
    loci_buckets_close(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    uint8_t *copy = malloc(size + 1);
    const int fd = memfd_create("fuzz", 0);
    must(copy && fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    memcpy(copy, data, size);
    for (int round = 0; round < 2; round++) {
        must(ftruncate(fd, 0) == 0 && pwrite(fd, copy, size, 0) == (ssize_t)size);
        try_file(path);
        resum(copy, size);
    }
    close(fd);
    free(copy);
    return 0;
}
