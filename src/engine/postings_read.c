/* postings_read.c - a block of postings from a file: its structure checked once, grams looked up.
 * postings.h has the layout. */
#include "engine/postings.h"
#include "engine/segment_impl.h"
#include <xxhash.h>

bool loci_gram_hash(const int32_t *ids, int n, uint32_t *hash)
{
    for (int i = 0; i < n; i++)
        if (ids[i] < LOCI_TOK_SPECIALS) return false;
    /* Little-endian ids: segment_impl.h insists on the byte order. */
    *hash = (uint32_t)(XXH3_64bits(ids, (size_t)n * sizeof *ids) >> 32);
    return true;
}

int loci_postings_bits(int64_t chunks)
{
    int bits = 0;
    while (chunks >> (bits + 1)) bits++;
    return bits;
}

/* One bucket's entries: rising, chunks in range, no key with more than 4 or with a common entry
 * beside others. */
static bool bucket_sane(const uint8_t *entry, uint32_t n, int64_t chunks)
{
    int of_key = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t e = get_u32(entry + 4 * (size_t)i), chunk = e & 0xffff;
        const uint32_t before = i > 0 ? get_u32(entry + 4 * (size_t)(i - 1)) : 0;
        const bool same_key = i > 0 && before >> 16 == e >> 16;
        if (i > 0 && e <= before) return false;
        of_key = same_key ? of_key + 1 : 1;
        if (of_key > LOCI_POSTINGS_RARE) return false;
        if (chunk == LOCI_POSTINGS_COMMON ? same_key : (int64_t)chunk >= chunks) return false;
    }
    return true;
}

bool loci_postings_sane(const uint8_t *block, size_t bytes, int64_t chunks)
{
    if (chunks < 1 || chunks > LOCI_POSTINGS_CHUNKS) return false;
    const int bits = loci_postings_bits(chunks);
    const size_t buckets = (size_t)1 << bits, head = loci_postings_bytes(bits, 0);
    if (bytes < head || bytes % 4 != 0) return false;
    const size_t entries = (bytes - head) / 4;
    if (entries > (size_t)chunks * LOCI_POSTINGS_ENTRIES) return false;
    if (get_u32(block) != 0 || get_u32(block + 4 * buckets) != entries) return false;
    for (size_t i = 0; i < buckets; i++) {
        const uint32_t from = get_u32(block + 4 * i), to = get_u32(block + 4 * (i + 1));
        if (from > to || to > entries ||
            !bucket_sane(block + head + 4 * (size_t)from, to - from, chunks))
            return false;
    }
    return true;
}

void loci_postings_ask_bucket(const uint8_t *block, int64_t chunks, uint32_t hash)
{
    const uint32_t key = hash >> (16 - loci_postings_bits(chunks));
    __builtin_prefetch(block + 4 * (size_t)(key >> 16));
}

void loci_postings_ask_entries(const uint8_t *block, int64_t chunks, uint32_t hash)
{
    enum { LINE = 64, MOST = 4 * LINE }; /* a bucket has some 30 entries */
    const int bits = loci_postings_bits(chunks);
    const uint8_t *start = block + 4 * (size_t)(hash >> (16 - bits) >> 16);
    const uint8_t *entry = block + loci_postings_bytes(bits, 0);
    const size_t from = 4 * (size_t)get_u32(start), to = 4 * (size_t)get_u32(start + 4);
    for (size_t at = from; at < to && at < from + MOST; at += LINE) __builtin_prefetch(entry + at);
    if (to > from && to <= from + MOST) __builtin_prefetch(entry + to - 1);
}

int loci_postings_find(const uint8_t *block, int64_t chunks, uint32_t hash,
                       int32_t chunk[LOCI_POSTINGS_RARE])
{
    const int bits = loci_postings_bits(chunks);
    const uint32_t key = hash >> (16 - bits), low = key & 0xffff;
    const uint8_t *start = block + 4 * (size_t)(key >> 16);
    const uint8_t *entry = block + loci_postings_bytes(bits, 0);
    uint32_t from = get_u32(start), to = get_u32(start + 4);
    const uint32_t end = to;
    while (from < to) { /* the first entry of the key */
        const uint32_t mid = from + (to - from) / 2;
        if (get_u32(entry + 4 * (size_t)mid) >> 16 < low)
            from = mid + 1;
        else
            to = mid;
    }
    int n = 0;
    for (; from < end && n < LOCI_POSTINGS_RARE; from++, n++) {
        const uint32_t e = get_u32(entry + 4 * (size_t)from);
        if (e >> 16 != low) break;
        if ((e & 0xffff) == LOCI_POSTINGS_COMMON) return -1;
        chunk[n] = (int32_t)(e & 0xffff);
    }
    return n;
}
