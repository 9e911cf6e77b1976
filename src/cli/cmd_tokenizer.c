/* cmd_tokenizer.c - `loci tokenizer train | encode | decode`. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>
#include "loci/train.h"

enum { TEXT_BYTES_MAX = 1 << 28 };

/* ---- train -------------------------------------------------------------------------------- */
static int tokenizer_train(int argc, char **argv)
{
    int64_t vocab = 0, max_bytes = 50 << 20;
    const char *out = NULL;
    bool quiet = false, json = false;
    arg args[] = {
        { "vocab", ARG_INT, &vocab, LOCI_TOK_SPECIALS + 256, 65536, "N",
          "entries, the 16 special ones included" },
        { "out", ARG_STR, &out, 0, 0, "FILE", "tokenizer.json to write" },
        { "max-bytes", ARG_INT, &max_bytes, 1000, 4e9, "N",
          "text taken, evenly from all of it (default 50M)" },
        { "json", ARG_FLAG, &json, 0, 0, NULL, "one JSON object" },
        { "quiet", ARG_FLAG, &quiet, 0, 0, NULL, "no progress, no notes" },
    };
    arg_spec spec = {
        .usage = "tokenizer train --vocab N --out FILE [options] PATH...",
        .about = "Train a byte-level BPE tokenizer on files, folders and NAME.txt.zst corpora.",
        .args = args,
        .n_args = COUNT(args),
        .min_rest = 1,
        .max_rest = ARG_LIST_MAX,
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!vocab || !out)
        return usage_error("--%s is missing; usage: loci %s", out ? "vocab" : "out", spec.usage);
    loci_error err = { 0 };
    loci_tokenizer *t = NULL;
    progress_bar bar;
    progress_begin(&bar, "merging", "entries", 1.0, quiet);
    loci_status st = loci_train_tokenizer(spec.rest.item, spec.rest.n, (int)vocab, max_bytes, out,
                                          progress_show, &bar, &err);
    progress_end(&bar);
    if (st == LOCI_OK)
        st = loci_tokenizer_open(&t, out, &err); /* what was written is what is reported */
    if (st != LOCI_OK) return fail(&err);
    if (json) {
        json_t *o = json_object();
        put_text(o, "out", out);
        put_int(o, "vocab", loci_tokenizer_vocab(t));
        print_json(o);
    } else if (!quiet) {
        printf("%d entries\n", loci_tokenizer_vocab(t));
    }
    loci_tokenizer_close(t);
    return EXIT_OK;
}

/* ---- encode, decode ----------------------------------------------------------------------- */
typedef struct {
    const char *path; /* tokenizer.json; NULL: the shipped model's */
    bool json, marked;
    arg_spec spec;
    arg args[3];
} code_args;

static int parse(code_args *c, bool encodes, const char *usage, const char *about, int argc,
                 char **argv)
{
    const arg list[] = {
        { "tokenizer", ARG_STR, &c->path, 0, 0, "FILE",
          "tokenizer.json, a model's folder or GGUF (default: the shipped one's)" },
        { "json", ARG_FLAG, &c->json, 0, 0, NULL, "one JSON object" },
        { "marked", ARG_FLAG, &c->marked, 0, 0, NULL,
          "take added and special tokens that the text spells, such as <think>" },
    };
    memcpy(c->args, list, sizeof list);
    c->spec = (arg_spec){ .usage = usage,
                          .about = about,
                          .args = c->args,
                          .n_args = encodes ? COUNT(list) : COUNT(list) - 1,
                          .max_rest = 1 };
    return args_parse(&c->spec, argc, argv);
}

/* The tokenizer, and the text of the one argument ("-" and none: standard input). */
static loci_status open_input(const code_args *c, loci_tokenizer **t, char **text, size_t *bytes,
                              loci_error *err)
{
    char shipped[4300];
    snprintf(shipped, sizeof shipped, "%s/tokenizer.json", model_dir(NULL));
    const loci_status st = loci_model_tokenizer(t, c->path ? c->path : shipped, err);
    if (st != LOCI_OK) return st;
    return read_input(c->spec.rest.n > 0 ? c->spec.rest.item[0] : "-", TEXT_BYTES_MAX, text, bytes,
                      err);
}

static loci_status encode(const loci_tokenizer *t, bool marked, const char *text, size_t bytes,
                          int32_t **ids, size_t *n, loci_error *err)
{
    loci_encoder *enc = NULL;
    *ids = malloc((bytes + 1) * sizeof **ids);
    if (!*ids) return set_error(err, LOCI_ENOMEM, "no memory for %zu ids", bytes);
    loci_status st = loci_encoder_open(&enc, t, err);
    if (st == LOCI_OK)
        st = (marked ? loci_encode_marked : loci_encode)(enc, text, bytes, *ids, NULL, bytes, n,
                                                         err);
    loci_encoder_close(enc);
    return st;
}

static void show_ids(const int32_t *ids, size_t n, size_t bytes, bool json)
{
    if (!json) {
        for (size_t i = 0; i < n; i++) printf("%d%s", ids[i], i + 1 < n ? " " : "");
        printf("\n");
        return;
    }
    json_t *o = json_object(), *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer(ids[i]));
    put_int(o, "tokens", (int64_t)n);
    put_int(o, "bytes", (int64_t)bytes);
    json_object_set_new(o, "ids", list);
    print_json(o);
}

static int tokenizer_encode(int argc, char **argv)
{
    code_args c = { 0 };
    const int code =
        parse(&c, true, "tokenizer encode [options] [FILE]",
              "Print the ids of a text, apart by blanks.  Without FILE: standard input.", argc,
              argv);
    if (code >= 0) return code;
    loci_error err = { 0 };
    loci_tokenizer *t = NULL;
    char *text = NULL;
    int32_t *ids = NULL;
    size_t bytes = 0, n = 0;
    loci_status st = open_input(&c, &t, &text, &bytes, &err);
    if (st == LOCI_OK) st = encode(t, c.marked, text, bytes, &ids, &n, &err);
    if (st == LOCI_OK) show_ids(ids, n, bytes, c.json);
    free(ids);
    free(text);
    loci_tokenizer_close(t);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}

static int tokenizer_decode(int argc, char **argv)
{
    code_args c = { 0 };
    const int code = parse(
        &c, false, "tokenizer decode [options] [FILE]",
        "Print the bytes of a list of ids; special ids give none.  Without FILE: standard input.",
        argc, argv);
    if (code >= 0) return code;
    loci_error err = { 0 };
    loci_tokenizer *t = NULL;
    char *text = NULL, *out = NULL;
    int32_t *ids = NULL;
    size_t bytes = 0, n_out = 0;
    int64_t n = 0;
    const char *label = c.spec.rest.n > 0 ? c.spec.rest.item[0] : "standard input";
    loci_status st = open_input(&c, &t, &text, &bytes, &err);
    if (st == LOCI_OK) st = parse_ids(text, bytes, label, loci_tokenizer_vocab(t), &ids, &n, &err);
    /* Measured first: a token may stand for many bytes. */
    for (int64_t i = 0; st == LOCI_OK && i < n; i++) {
        size_t len;
        loci_token_bytes(t, ids[i], &len);
        n_out += len;
    }
    if (st == LOCI_OK && !(out = malloc(n_out + 1)))
        st = set_error(&err, LOCI_ENOMEM, "%s: no memory for %zu bytes", label, n_out);
    if (st == LOCI_OK) st = loci_decode(t, ids, (size_t)n, out, n_out, &n_out, &err);
    if (st == LOCI_OK && c.json) {
        json_t *o = json_object();
        put_int(o, "tokens", n);
        put_bytes(o, "text", out, n_out);
        print_json(o);
    } else if (st == LOCI_OK) {
        print_text(stdout, out, n_out);
    }
    free(out);
    free(ids);
    free(text);
    loci_tokenizer_close(t);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}

int cmd_tokenizer(int argc, char **argv)
{
    static const command list[] = {
        { "train", tokenizer_train, "train a tokenizer on text" },
        { "encode", tokenizer_encode, "text to ids" },
        { "decode", tokenizer_decode, "ids to text" },
        { "prompt", tokenizer_prompt, "conversation to prompt" },
        { "reply", tokenizer_reply, "what a chat model wrote to a message" },
    };
    return run_group("tokenizer", list, COUNT(list), argc, argv);
}
