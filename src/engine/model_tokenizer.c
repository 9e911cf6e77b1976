/* model_tokenizer.c - the tokenizer of a model without the model: in a folder, in a tokenizer.json,
 * or in the metadata of a GGUF file. */
#include <string.h>
#include <sys/stat.h>
#include "engine/engine.h"

static bool is_gguf(const char *path)
{
    char magic[4] = { 0 };
    loci_file f;
    if (loci_file_open(&f, NULL, path, 0, NULL) != LOCI_OK) return false;
    const loci_status st = loci_file_read(&f, path, magic, sizeof magic, 0, NULL);
    loci_file_close(&f, NULL);
    return st == LOCI_OK && memcmp(magic, "GGUF", 4) == 0;
}

loci_status loci_model_tokenizer(loci_tokenizer **out, const char *path, loci_error *err)
{
    *out = NULL;
    struct stat s;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        char file[4300];
        const loci_status st = loci_path_join(file, sizeof file, path, "tokenizer.json", err);
        return st == LOCI_OK ? loci_tokenizer_open(out, file, err) : st;
    }
    if (!is_gguf(path)) return loci_tokenizer_open(out, path, err);
    loci_gguf *g = NULL;
    loci_status st = loci_gguf_open(&g, path, err);
    if (st == LOCI_OK) st = loci_gguf_tokenizer(out, g, err);
    loci_gguf_close(g);
    return st;
}
