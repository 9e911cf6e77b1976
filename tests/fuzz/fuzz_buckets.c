/* fuzz_buckets.c - any bytes as a file of buckets: opened, every bucket read.
 *
 * Each input is tried twice, as it is and with all checksums made right, for a checksum would
 * keep the fuzzer out of everything behind it. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include "engine/buckets.h"

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
        const size_t table =
            sizeof(bkt_header) + seg_align(segments * 16) + seg_align(n * d) + seg_align(n * 4);
        const size_t first = table + seg_align(n * sizeof(bkt_entry));
        if (first <= size) {
            size_t at = first;
            for (size_t b = 0; b < n; b++) {
                uint8_t *e = file + table + b * sizeof(bkt_entry);
                const uint64_t rows = get_u64(e);
                if (rows > size || bkt_bytes(rows, d) > size - at) break;
                put_u64(e + offsetof(bkt_entry, sum),
                        XXH3_64bits_withSeed(file + at, bkt_bytes(rows, d), b));
                at += bkt_bytes(rows, d);
            }
            put_u64(file + offsetof(bkt_header, tables_sum),
                    XXH3_64bits(file + sizeof(bkt_header), first - sizeof(bkt_header)));
        }
    }
    put_u64(file + offsetof(bkt_header, sum), XXH3_64bits(file, offsetof(bkt_header, sum)));
}

static void try_file(const char *path)
{
    loci_error err = { 0 };
    loci_buckets *b;
    if (loci_buckets_open(&b, path, NULL, &err) != LOCI_OK) {
        must(err.text[0] != '\0' && !b);
        return;
    }
    loci_segment_shape shape;
    const float *scale, *zero;
    int64_t n, rows = 0, numbers = 0;
    volatile float sum = 0.0f; /* every number is really read */
    loci_buckets_shape(b, &shape);
    const int8_t *mean = loci_buckets_means(b, &scale, &zero);
    const loci_bucket_segment *s = loci_buckets_segments(b, &n);
    for (int64_t i = 0; i < n; i++) {
        must(loci_buckets_first(b, s[i].id) == numbers);
        numbers += bkt_numbers(s[i].chunks);
    }
    for (int i = 0; i < loci_buckets_count(b); i++) {
        loci_bucket v;
        sum =
            sum + scale[i] * (float)mean[(size_t)(i + 1) * (size_t)shape.d_landmark - 1] + zero[i];
        if (loci_buckets_get(b, i, &v, &err) != LOCI_OK) continue;
        rows += v.n;
        for (int k = 0; k < v.n; k++) {
            must(v.chunk[k] < numbers);
            sum = sum + v.scale[k] + v.bias[k] +
                  (float)v.landmark[(size_t)(k + 1) * (size_t)shape.d_landmark - 1];
        }
    }
    must(rows <= loci_buckets_rows(b) && loci_buckets_largest(b) <= loci_buckets_rows(b));
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
