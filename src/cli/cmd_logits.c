/* cmd_logits.c - `loci logits`: logits (T, vocab) f32 of every position of a list of ids, for
 * checking the engine against other programs.
 *
 * The .npy file, version 1.0:
 *   "\x93NUMPY" 1 0, u16 length of the header, the header: a Python dict in ASCII, blanks and a
 *   newline so that the data begin at a multiple of 64; then T * vocab f32, row by row.
 * It is written beside its name and renamed when whole. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

enum { IDS_BYTES_MAX = 1 << 28, HEADER_BYTES = 128 };

/* On the machines we build for, floats in memory are what .npy calls '<f4'. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               ".npy rows are written as they lie in memory");

static bool write_header(FILE *f, int64_t rows, int64_t cols)
{
    char dict[HEADER_BYTES - 10 + 1];
    memset(dict, ' ', sizeof dict);
    const int n = snprintf(dict, sizeof dict,
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }",
                           (long long)rows, (long long)cols);
    dict[n] = ' ';
    dict[HEADER_BYTES - 10 - 1] = '\n';
    const unsigned char magic[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, HEADER_BYTES - 10, 0 };
    return fwrite(magic, 1, 10, f) == 10 &&
           fwrite(dict, 1, HEADER_BYTES - 10, f) == HEADER_BYTES - 10;
}

typedef struct {
    engine_args ea;
    const char *ids, *out;
    int64_t prefill; /* -1: all */
    bool json;
} logits_args;

/* Rows of the first `first` tokens in one call, the rest one by one, as they come. */
static loci_status write_rows(FILE *f, const char *path, loci_session *s, const int32_t *ids,
                              int64_t n, int64_t first, int vocab, bool quiet, loci_error *err)
{
    const int64_t most = first > 1 ? first : 1;
    float *rows = (int64_t)(SIZE_MAX / sizeof *rows) / vocab >= most
                      ? malloc((size_t)most * (size_t)vocab * sizeof *rows) /* (most, vocab) */
                      : NULL;
    if (!rows)
        return set_error(err, LOCI_ENOMEM, "no memory for logits (%lld, %d); --prefill lowers it",
                         (long long)most, vocab);
    progress_bar bar;
    progress_begin(&bar, "logits", "tokens", 1.0, quiet);
    loci_status st = LOCI_OK;
    for (int64_t at = 0; at < n && st == LOCI_OK;) {
        const int64_t m = at == 0 && first > 0 ? first : 1;
        st = loci_session_extend(s, ids + at, m, rows, m, err);
        if (st == LOCI_OK && fwrite(rows, sizeof *rows * (size_t)vocab, (size_t)m, f) != (size_t)m)
            st = set_error(err, LOCI_EIO, "%s", path);
        at += m;
        if (st == LOCI_OK && progress_show(&bar, at, n))
            st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    progress_end(&bar);
    free(rows);
    return st;
}

static loci_status write_file(const logits_args *a, loci_session *s, const int32_t *ids, int64_t n,
                              int vocab, loci_error *err)
{
    char part[4096];
    if ((size_t)snprintf(part, sizeof part, "%s.part", a->out) >= sizeof part)
        return set_error(err, LOCI_EINVAL, "--out: name of %zu bytes", strlen(a->out));
    FILE *f = fopen(part, "wb");
    if (!f) return set_error(err, LOCI_EIO, "%s", part);
    const int64_t first = a->prefill < 0 || a->prefill > n ? n : a->prefill;
    loci_status st = write_header(f, n, vocab) ? LOCI_OK : set_error(err, LOCI_EIO, "%s", part);
    if (st == LOCI_OK) st = write_rows(f, part, s, ids, n, first, vocab, a->ea.quiet, err);
    if (fclose(f) != 0 && st == LOCI_OK) st = set_error(err, LOCI_EIO, "%s", part);
    if (st == LOCI_OK && rename(part, a->out) != 0) st = set_error(err, LOCI_EIO, "%s", a->out);
    if (st != LOCI_OK) remove(part);
    return st;
}

static loci_status logits(const logits_args *a, int64_t *rows, int *vocab, loci_error *err)
{
    loci_engine *e = NULL;
    loci_session *s = NULL;
    char *text = NULL;
    int32_t *ids = NULL;
    size_t bytes;
    loci_status st = read_input(a->ids, IDS_BYTES_MAX, &text, &bytes, err);
    if (st == LOCI_OK) st = open_engine(&e, &a->ea, err);
    if (st == LOCI_OK) {
        *vocab = loci_engine_info(e)->vocab;
        st = parse_ids(text, bytes, a->ids, *vocab, &ids, rows, err);
    }
    if (st == LOCI_OK && *rows == 0) st = set_error(err, LOCI_EFORMAT, "%s: holds no ids", a->ids);
    if (st == LOCI_OK) {
        loci_session_options opt = loci_session_options_default();
        opt.max_tokens = *rows;
        st = loci_session_open(&s, e, &opt, err);
    }
    if (st == LOCI_OK) st = write_file(a, s, ids, *rows, *vocab, err);
    loci_session_close(s);
    loci_engine_close(e);
    free(ids);
    free(text);
    return st;
}

int cmd_logits(int argc, char **argv)
{
    logits_args a = { .prefill = -1 };
    arg args[] = {
        { "ids", ARG_STR, &a.ids, 0, 0, "FILE",
          "decimal ids apart by white space; - is standard input" },
        { "out", ARG_STR, &a.out, 0, 0, "FILE.npy", "logits (ids, vocab), float32" },
        { "prefill", ARG_INT, &a.prefill, 0, 1 << 30, "N",
          "the first N in one call, the rest one by one (default all)" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "shape and file as one JSON object" },
        DEEPSEEK_ARGS(a.ea),
        ENGINE_ARGS(a.ea),
    };
    arg_spec spec = {
        .usage = "logits --ids FILE --out FILE.npy [options]",
        .about =
            "Run a list of ids as one document and write the logits of every position.  No id is\n"
            "added: begin the list with 0, <bos>, for what the model has seen in training.  Takes "
            "a\n"
            "folder or GGUF file of the DeepSeek-V4 family too.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!a.ids || !a.out)
        return usage_error("--%s is missing; usage: loci %s", a.ids ? "out" : "ids", spec.usage);
    loci_error err = { 0 };
    int64_t rows = 0;
    int vocab = 0;
    if (logits(&a, &rows, &vocab, &err) != LOCI_OK) return fail(&err);
    if (a.json) {
        json_t *o = json_object();
        put_text(o, "out", a.out);
        json_object_set_new(o, "shape", json_pack("[I, i]", (json_int_t)rows, vocab));
        print_json(o);
    } else if (!a.ea.quiet) {
        printf("(%lld, %d) f32\n", (long long)rows, vocab);
    }

    return EXIT_OK;
}
