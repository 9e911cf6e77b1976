/* fuzz_safetensors_index.c - any bytes as the index of sharded safetensors: refused with one line,
 * or every file is a plain name of its folder, listed once. */
#include <stdlib.h>
#include <string.h>
#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    loci_st_index *x;
    loci_error err = { 0 };
    if (loci_st_index_parse(&x, (const char *)bytes, size, "fuzz", &err) != LOCI_OK) {
        if (x || err.code == LOCI_OK || strchr(err.text, '\n')) abort();
        return 0;
    }
    for (int i = 0; i < loci_st_index_files(x); i++) {
        const char *file = loci_st_index_file(x, i);
        if (!*file || *file == '.' || strchr(file, '/')) abort();
        if (i > 0 && strcmp(loci_st_index_file(x, i - 1), file) >= 0) abort();
    }
    if (loci_st_index_file(x, -1) || loci_st_index_file(x, loci_st_index_files(x))) abort();
    if (loci_st_index_find(x, "model.norm.weight") >= loci_st_index_files(x)) abort();
    loci_st_index_close(x);
    return 0;
}
