/* gguf_values.c - metadata of an open GGUF file: numbers, texts and arrays by key. */
#include "format/gguf_impl.h"
#include <stdlib.h>
#include <string.h>

const uint8_t loci_gguf_value_size[LOCI_GGUF_VALUE_TYPES] = {
    1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8
};

static int compare_key(const void *key, const void *p)
{
    return strcmp(key, ((const loci_gguf_pair *)p)->key);
}

static const loci_gguf_pair *find_pair(const loci_gguf *f, const char *key)
{
    return bsearch(key, f->pair, (size_t)f->n_pairs, sizeof *f->pair, compare_key);
}

static bool int_value(const loci_gguf_pair *p, uint64_t i, int64_t *out)
{
    uint64_t raw = 0;
    const size_t size = loci_gguf_value_size[p->type];
    if (i >= p->n) return false;
    switch (p->type) {
    case LOCI_GGUF_STRING:
    case LOCI_GGUF_F32:
    case LOCI_GGUF_F64: return false;
    default: memcpy(&raw, p->data + i * size, size);
    }
    switch (p->type) {
    case LOCI_GGUF_I8: *out = (int8_t)raw; break;
    case LOCI_GGUF_I16: *out = (int16_t)raw; break;
    case LOCI_GGUF_I32: *out = (int32_t)raw; break;
    case LOCI_GGUF_U64:
        if (raw > INT64_MAX) return false;
        *out = (int64_t)raw;
        break;
    default: *out = (int64_t)raw;
    }
    return true;
}

static bool real_value(const loci_gguf_pair *p, uint64_t i, double *out)
{
    float f;
    int64_t whole;
    if (i >= p->n) return false;
    if (p->type == LOCI_GGUF_F64) {
        memcpy(out, p->data + 8 * i, 8);
    } else if (p->type == LOCI_GGUF_F32) {
        memcpy(&f, p->data + 4 * i, 4);
        *out = f;
    } else if (int_value(p, i, &whole)) {
        *out = (double)whole;
    } else {
        return false;
    }
    return true;
}

bool loci_gguf_has(const loci_gguf *f, const char *key)
{
    return find_pair(f, key) != NULL;
}

bool loci_gguf_int(const loci_gguf *f, const char *key, int64_t *out)
{
    const loci_gguf_pair *p = find_pair(f, key);
    return p && !p->array && int_value(p, 0, out);
}

bool loci_gguf_real(const loci_gguf *f, const char *key, double *out)
{
    const loci_gguf_pair *p = find_pair(f, key);
    return p && !p->array && real_value(p, 0, out);
}

static const unsigned char *span_at(const unsigned char *at, loci_text_span *out)
{
    uint64_t n;
    memcpy(&n, at, sizeof n); /* checked when the pair was read */
    *out = (loci_text_span){ (const char *)at + sizeof n, (size_t)n };
    return at + sizeof n + n;
}

bool loci_gguf_text(const loci_gguf *f, const char *key, loci_text_span *out)
{
    const loci_gguf_pair *p = find_pair(f, key);
    if (!p || p->array || p->type != LOCI_GGUF_STRING) return false;
    span_at(p->data, out);
    return true;
}

bool loci_gguf_length(const loci_gguf *f, const char *key, int64_t *n)
{
    const loci_gguf_pair *p = find_pair(f, key);
    if (!p || !p->array) return false;
    *n = (int64_t)p->n;
    return true;
}

bool loci_gguf_int_at(const loci_gguf *f, const char *key, int64_t i, int64_t *out)
{
    const loci_gguf_pair *p = find_pair(f, key);
    return p && p->array && i >= 0 && int_value(p, (uint64_t)i, out);
}

bool loci_gguf_real_at(const loci_gguf *f, const char *key, int64_t i, double *out)
{
    const loci_gguf_pair *p = find_pair(f, key);
    return p && p->array && i >= 0 && real_value(p, (uint64_t)i, out);
}

loci_status loci_gguf_texts(const loci_gguf *f, const char *key, loci_text_span **out, int64_t *n,
                            loci_error *err)
{
    const loci_gguf_pair *p = find_pair(f, key);
    *out = NULL;
    *n = 0;
    if (!p || !p->array || p->type != LOCI_GGUF_STRING)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected an array of strings, found %s",
                         f->label, key, p ? "another type" : "no such key");
    loci_text_span *list = calloc((size_t)p->n + 1, sizeof *list);
    if (!list) return loci_fail(err, LOCI_ENOMEM, "%s: %s: no memory", f->label, key);
    const unsigned char *at = p->data;
    for (uint64_t i = 0; i < p->n; i++) at = span_at(at, &list[i]);
    *out = list;
    *n = (int64_t)p->n;
    return LOCI_OK;
}
