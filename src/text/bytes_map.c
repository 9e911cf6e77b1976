/* bytes_map.c - gives each different byte string the next number.  Open addressing with
 * linear probing, at most half full; the strings lie in one block. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

static uint32_t hash_bytes(const unsigned char *p, size_t len)
{
    const uint64_t odd = 0x9fb21c651e98df25u; /* spreads 8 bytes over the upper half */
    uint64_t h = len * odd;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v = 0;
        memcpy(&v, p, 8);
        h = (h ^ v) * odd;
        h ^= h >> 32;
    }
    uint64_t v = 0;
    memcpy(&v, p, len);
    h = (h ^ v) * odd;
    return (uint32_t)(h >> 32);
}

/* Slot that holds the string, or the free one where it belongs. */
static uint32_t slot_of(const loci_bytes_map *m, const void *p, size_t len, uint32_t hash)
{
    uint32_t i = hash & (m->n_slots - 1);
    for (; m->slot[i] != 0; i = (i + 1) & (m->n_slots - 1)) {
        const uint32_t k = m->slot[i] - 1;
        if (m->hash[k] == hash && m->at[k + 1] - m->at[k] == len &&
            memcmp(m->bytes + m->at[k], p, len) == 0)
            break;
    }
    return i;
}

int64_t loci_bytes_map_find(const loci_bytes_map *m, const void *p, size_t len)
{
    if (m->n_slots == 0) return LOCI_BYTES_MAP_NONE;
    const uint32_t i = slot_of(m, p, len, hash_bytes(p, len));
    return (int64_t)m->slot[i] - 1;
}

/* Room for one string more. */
static bool grow_strings(loci_bytes_map *m)
{
    if (m->n < m->cap) return true;
    const uint32_t cap = m->cap == 0 ? 1024 : m->cap * 2;
    if (cap > UINT32_MAX / 4) return false;
    size_t *at = realloc(m->at, ((size_t)cap + 1) * sizeof *at);
    if (at == NULL) return false;
    if (m->at == NULL) at[0] = 0;
    m->at = at;
    uint32_t *hash = realloc(m->hash, cap * sizeof *hash);
    if (hash == NULL) return false;
    m->hash = hash;

    uint32_t *slot = calloc((size_t)cap * 2, sizeof *slot);
    if (slot == NULL) return false;
    free(m->slot);
    m->slot = slot;
    m->n_slots = cap * 2;
    m->cap = cap;
    for (uint32_t k = 0; k < m->n; k++) {
        uint32_t i = m->hash[k] & (m->n_slots - 1);
        while (slot[i] != 0) i = (i + 1) & (m->n_slots - 1);
        slot[i] = k + 1;
    }
    return true;
}

static bool grow_bytes(loci_bytes_map *m, size_t len)
{
    size_t need = 0, cap = m->bytes_cap;
    if (!loci_size_add(m->at[m->n], len, &need)) return false;
    if (need <= cap && m->bytes != NULL) return true;
    if (!loci_size_add(need, need / 2 + 4096, &cap)) return false;
    unsigned char *bytes = realloc(m->bytes, cap);
    if (bytes == NULL) return false;
    m->bytes = bytes;
    m->bytes_cap = cap;
    return true;
}

int64_t loci_bytes_map_add(loci_bytes_map *m, const void *p, size_t len)
{
    const uint32_t hash = hash_bytes(p, len);
    if (m->n_slots > 0) {
        const uint32_t i = slot_of(m, p, len, hash);
        if (m->slot[i] != 0) return (int64_t)m->slot[i] - 1;
    }
    if (!grow_strings(m) || !grow_bytes(m, len)) return LOCI_BYTES_MAP_NONE;
    m->slot[slot_of(m, p, len, hash)] = m->n + 1;
    m->hash[m->n] = hash;
    if (len > 0) memcpy(m->bytes + m->at[m->n], p, len);
    m->at[m->n + 1] = m->at[m->n] + len;
    return m->n++;
}

void loci_bytes_map_free(loci_bytes_map *m)
{
    free(m->bytes);
    free(m->at);
    free(m->hash);
    free(m->slot);
    *m = (loci_bytes_map){ 0 };
}
