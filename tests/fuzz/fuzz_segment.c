/* fuzz_segment.c - any bytes as a segment file: opened, read to the last chunk, verified.
 *
 * Each input is tried twice, as it is and with all checksums made right, for a checksum would
 * keep the fuzzer out of everything behind it. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include "engine/segment_impl.h"

static void must(int ok)
{
    if (!ok) abort();
}

/* Columns of one group, where the header's shape puts them; what is out of bounds is left alone. */
static void resum_group(uint8_t *file, size_t size, uint8_t *entry, uint64_t group,
                        const loci_segment_shape *shape)
{
    uint64_t at = get_u64(entry);
    const uint64_t chunks = get_u32(entry + offsetof(seg_entry, chunks));
    if (at > size || chunks > LOCI_SEG_GROUP) return;
    for (int c = 0; c < SEG_COLUMNS_USED; c++) {
        const uint8_t *col = entry + offsetof(seg_entry, column) + 16 * (size_t)c;
        const uint64_t bytes =
            c == COL_POSTINGS ? get_u64(col) : chunks * seg_chunk_bytes(shape, c);
        if (at > size || bytes > size - at) return;
        if (bytes == 0) continue;
        put_u64(entry + offsetof(seg_entry, column) + 16 * (size_t)c + 8,
                XXH3_64bits_withSeed(file + at, bytes, group * SEG_COLUMNS + (uint64_t)c));
        at += seg_align(bytes);
    }
}

static void resum(uint8_t *file, size_t size)
{
    if (size < sizeof(seg_header) + sizeof(seg_trailer)) return;
    uint8_t *trailer = file + size - sizeof(seg_trailer);
    const uint64_t table = get_u64(trailer + offsetof(seg_trailer, table_offset));
    const size_t end = size - sizeof(seg_trailer);
    const uint32_t features = get_u32(file + offsetof(seg_header, features));
    const loci_segment_shape shape = {
        .n_landmarks = (int)get_u32(file + offsetof(seg_header, n_landmarks)),
        .d_landmark = (int)get_u32(file + offsetof(seg_header, d_landmark)),
        .d_content = (int)get_u32(file + offsetof(seg_header, d_content)),
        .id_bytes = (int)get_u32(file + offsetof(seg_header, id_bytes)),
        .postings = (features & SEG_FEATURE_POSTINGS) != 0,
        .content_bits4 = (features & SEG_FEATURE_PACKED) != 0,
        .d_summary = (int)get_u32(file + offsetof(seg_header, d_summary)),
    };
    put_u64(file + offsetof(seg_header, sum), XXH3_64bits(file, offsetof(seg_header, sum)));
    if (table >= sizeof(seg_header) && table <= end) {
        for (uint64_t g = 0; seg_shape_ok(&shape) && (g + 1) * sizeof(seg_entry) <= end - table;
             g++)
            resum_group(file, (size_t)table, file + table + g * sizeof(seg_entry), g, &shape);
        put_u64(trailer + offsetof(seg_trailer, table_sum), XXH3_64bits(file + table, end - table));
    }
    put_u64(trailer + offsetof(seg_trailer, sum), XXH3_64bits(trailer, offsetof(seg_trailer, sum)));
}

/* Everything that reading gives must lie in the mapping: the sanitizer sees each byte touched. */
static void read_all(loci_segment *s, const loci_segment_shape *shape)
{
    volatile uint64_t sink = 0;
    uint64_t code[32];
    loci_chunk_view v;
    for (int64_t i = 0; i < loci_segment_count(s); i++) {
        if (loci_segment_codes(s, i, 1, code, NULL) == LOCI_OK) sink += code[0];
        if (loci_segment_chunk(s, i, true, &v, NULL) != LOCI_OK) continue;
        must(v.n_tokens >= 1 && v.n_tokens <= SEG_CHUNK_TOKENS && v.byte_start >= 0 &&
             v.line_start >= 1);
        must(v.bias == v.bias);
        for (int k = 0; v.content && k < SEG_CHUNK_TOKENS * shape->d_content; k++)
            sink += (uint64_t)v.content[k];
        for (int k = 0; v.content && k < SEG_CHUNK_TOKENS * 2; k++)
            must(v.content_scale[k] == v.content_scale[k]);
        for (int k = 0; v.packed && k < SEG_CHUNK_TOKENS * LOCI_PACK / 2; k++) sink += v.packed[k];
        for (int k = 0; v.packed && k < SEG_CHUNK_TOKENS * SEG_PACKED_SCALES; k++)
            must(seg_half_finite(v.packed_scale[k]));
        for (int k = 0; k < shape->d_summary; k++) sink += (uint64_t)v.summary[k];
        must(v.content || v.packed);
        for (int k = 0; k < SEG_CHUNK_TOKENS * shape->id_bytes; k++)
            sink += ((const uint8_t *)v.ids)[k];
        for (int k = 0; k < shape->n_landmarks * shape->d_landmark; k++)
            sink += (uint64_t)v.landmark[k];
    }
    for (int64_t i = 0; i < loci_segment_postings_blocks(s); i++) {
        const uint8_t *block;
        int64_t chunks;
        if (loci_segment_postings(s, i, &block, &chunks, NULL) != LOCI_OK) continue;
        for (uint32_t hash = 0; hash < 997; hash++) {
            int32_t chunk[LOCI_POSTINGS_RARE];
            const int n = loci_postings_find(block, chunks, hash * UINT32_C(4307880), chunk);
            must(n <= LOCI_POSTINGS_RARE);
            for (int k = 0; k < n; k++) must(chunk[k] >= 0 && chunk[k] < chunks);
        }
    }
    (void)sink;
}

static void try_file(const uint8_t *data, size_t size)
{
    char path[64], first[300];
    loci_error err = { 0 };
    loci_segment *s;
    int64_t blocks, bad;
    const int fd = memfd_create("segment", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const loci_status opened = loci_segment_open(&s, path, NULL, &err);
    if (opened == LOCI_OK) {
        read_all(s, loci_segment_shape_of(s));
        loci_segment_close(s);
    } else {
        must(s == NULL && err.text[0] != '\0');
    }
    err = (loci_error){ 0 };
    const loci_status st = loci_segment_verify(path, &blocks, &bad, first, sizeof first, &err);
    must((st == LOCI_OK) == (bad == 0) && bad <= blocks && (st != LOCI_OK || opened == LOCI_OK));
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    must(copy != NULL);
    if (size > 0) memcpy(copy, data, size);
    try_file(copy, size);
    resum(copy, size);
    try_file(copy, size);
    free(copy);
    return 0;
}
