/* fuzz_safetensors.c - any bytes as a safetensors file: refused, or every view lies inside the
 * file, can be read to its end, and is found by its name. */
#include <stdlib.h>
#include <string.h>
#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    loci_st *f;
    loci_error err = { 0 };
    if (loci_st_open_memory(&f, bytes, size, "fuzz", &err) != LOCI_OK) {
        if (f || err.code == LOCI_OK || strchr(err.text, '\n')) abort();
        return 0;
    }
    size_t used = 0;
    for (int i = 0; i < loci_st_count(f); i++) {
        const loci_tensor_view *v = loci_st_at(f, i);
        const unsigned char *data = v->data;
        for (size_t k = 0; k < v->bytes; k++) {
            const volatile unsigned char seen = data[k]; /* the sanitizer looks on */
            (void)seen;
        }
        if (data < bytes || v->bytes > (size_t)(bytes + size - data)) abort();
        if (v->bytes > 0 && (uintptr_t)data % loci_dtype_size(v->dtype) != 0) abort();
        if (loci_st_find(f, v->name) != v) abort();
        used += v->bytes;
    }
    if (used > size) abort();
    (void)loci_st_meta(f, "format");
    loci_st_close(f);
    return 0;
}
