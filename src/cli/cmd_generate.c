/* cmd_generate.c - `loci generate`: continue a text, token by token. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

enum {
    PROMPT_BYTES_MAX = 1 << 28,
    PREFILL_BATCH = 4096 /* tokens between two looks at Ctrl-C */
};

typedef struct {
    engine_args ea;
    const char *prompt;
    int64_t max_tokens, top_k, seed;
    double temperature, top_p;
    bool json;
} generate_args;

/* Text as it comes: to standard output, or gathered for --json.  A token may end within a
 * character: its beginning waits for the rest, so that a terminal never sees half of one. */
typedef struct {
    char *text;
    size_t bytes, cap, printed;
    bool stream;
} text_out;

static loci_status append(text_out *out, const char *s, size_t n, loci_error *err)
{
    if (n > out->cap - out->bytes) {
        const size_t cap = 2 * (out->bytes + n) + 256;
        char *more = realloc(out->text, cap);
        if (!more) return set_error(err, LOCI_ENOMEM, "no memory for %zu bytes of text", cap);
        out->text = more;
        out->cap = cap;
    }
    memcpy(out->text + out->bytes, s, n);
    out->bytes += n;
    if (!out->stream) return LOCI_OK;
    const size_t ready = out->bytes - utf8_open_tail(out->text, out->bytes);
    if (ready <= out->printed) return LOCI_OK;
    print_text(stdout, out->text + out->printed, ready - out->printed);
    fflush(stdout);
    out->printed = ready;
    return LOCI_OK;
}

/* What still waits when generation ends is no character: shown as it is. */
static void finish_text(text_out *out)
{
    if (!out->stream) return;
    print_text(stdout, out->text + out->printed, out->bytes - out->printed);
    printf("\n");
}

typedef struct {
    int64_t prompt_tokens, tokens;
    bool ended; /* the model gave <e> */
    double open_ms, prefill_ms, decode_ms;
} generate_stats;

/* <bos> and the prompt's ids; owned by the caller. */
static loci_status encode_prompt(const loci_engine *e, const char *text, size_t bytes,
                                 int32_t **ids, int64_t *n, loci_error *err)
{
    loci_encoder *enc = NULL;
    size_t count = 0;
    *ids = malloc((bytes + 1) * sizeof **ids);
    if (!*ids) return set_error(err, LOCI_ENOMEM, "no memory for the prompt's tokens");
    (*ids)[0] = LOCI_TOK_BOS;
    loci_status st = loci_encoder_open(&enc, loci_engine_tokenizer(e), err);
    if (st == LOCI_OK) st = loci_encode(enc, text, bytes, *ids + 1, NULL, bytes, &count, err);
    loci_encoder_close(enc);
    *n = (int64_t)count + 1;
    return st;
}

/* Run the prompt; logits (vocab) of its last position. */
static loci_status prefill(loci_session *s, const int32_t *ids, int64_t n, float *logits,
                           bool quiet, loci_error *err)
{
    progress_bar bar;
    progress_begin(&bar, "reading the prompt", "tokens", 1.0, quiet);
    loci_status st = LOCI_OK;
    for (int64_t at = 0; at < n && st == LOCI_OK; at += PREFILL_BATCH) {
        const int64_t m = n - at < PREFILL_BATCH ? n - at : PREFILL_BATCH;
        st = loci_session_extend(s, ids + at, m, logits, at + m == n, err);
        if (st == LOCI_OK && progress_show(&bar, at + m, n))
            st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    progress_end(&bar);
    return st;
}

static loci_status decode(const generate_args *a, const loci_engine *e, loci_session *s,
                          float *logits, text_out *out, generate_stats *stats, loci_error *err)
{
    const int vocab = loci_engine_info(e)->vocab;
    loci_sampling opt = { .temperature = (float)a->temperature,
                          .top_k = (int)a->top_k,
                          .top_p = (float)a->top_p,
                          .seed = (uint64_t)a->seed };
    uint64_t state = opt.seed;
    for (stats->tokens = 0; stats->tokens < a->max_tokens; stats->tokens++) {
        size_t n;
        if (interrupted()) return set_error(err, LOCI_ECANCEL, "interrupted");
        const int32_t id = loci_sample(logits, vocab, &opt, &state);
        if (id == LOCI_TOK_E) {
            stats->ended = true;
            return LOCI_OK;
        }
        const char *bytes = loci_token_bytes(loci_engine_tokenizer(e), id, &n);
        loci_status st = append(out, bytes, n, err);
        if (st == LOCI_OK && stats->tokens + 1 < a->max_tokens)
            st = loci_session_extend(s, &id, 1, logits, 1, err);
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

static loci_status generate(const generate_args *a, const char *prompt, size_t bytes, text_out *out,
                            generate_stats *stats, loci_error *err)
{
    loci_engine *e = NULL;
    loci_session *s = NULL;
    int32_t *ids = NULL;
    float *logits = NULL;
    double begin = now_seconds();
    loci_status st = open_engine(&e, &a->ea, err);
    if (st == LOCI_OK) st = encode_prompt(e, prompt, bytes, &ids, &stats->prompt_tokens, err);
    if (st == LOCI_OK) {
        loci_session_options opt = loci_session_options_default();
        opt.max_tokens = stats->prompt_tokens + a->max_tokens;
        logits = malloc((size_t)loci_engine_info(e)->vocab * sizeof *logits);
        st = logits ? loci_session_open(&s, e, &opt, err)
                    : set_error(err, LOCI_ENOMEM, "no memory for logits");
    }
    stats->open_ms = 1e3 * (now_seconds() - begin);
    begin = now_seconds();
    if (st == LOCI_OK) st = prefill(s, ids, stats->prompt_tokens, logits, a->ea.quiet, err);
    stats->prefill_ms = 1e3 * (now_seconds() - begin);
    begin = now_seconds();
    if (st == LOCI_OK) {
        st = decode(a, e, s, logits, out, stats, err);
        finish_text(out);
    }
    stats->decode_ms = 1e3 * (now_seconds() - begin);
    loci_session_close(s);
    loci_engine_close(e);
    free(logits);
    free(ids);
    return st;
}

static void report_json(const text_out *out, const generate_stats *s)
{
    json_t *o = json_object(), *usage = json_object(), *timing = json_object();
    put_int(usage, "prompt_tokens", s->prompt_tokens);
    put_int(usage, "completion_tokens", s->tokens);
    put_real(timing, "open", s->open_ms);
    put_real(timing, "prefill", s->prefill_ms);
    put_real(timing, "per_token", s->tokens > 0 ? s->decode_ms / (double)s->tokens : 0.0);
    put_bytes(o, "text", out->text ? out->text : "", out->bytes);
    put_text(o, "stopped", s->ended ? "end" : "length");
    json_object_set_new(o, "usage", usage);
    json_object_set_new(o, "timing_ms", timing);
    put_int(o, "resident_bytes", resident_bytes());
    print_json(o);
}

int cmd_generate(int argc, char **argv)
{
    generate_args a = { .max_tokens = 128, .top_p = 1.0 };
    arg args[] = {
        { "prompt", ARG_STR, &a.prompt, 0, 0, "TEXT", "text to continue; - reads standard input" },
        { "max-tokens", ARG_INT, &a.max_tokens, 1, 1 << 20, "N",
          "of the continuation (default 128)" },
        { "temperature", ARG_FLOAT, &a.temperature, 0, 10, "X",
          "0 = the likeliest token (default)" },
        { "top-k", ARG_INT, &a.top_k, 0, 1 << 20, "N",
          "choose among the N likeliest; 0 = all (default)" },
        { "top-p", ARG_FLOAT, &a.top_p, 1e-6, 1, "X",
          "choose among the likeliest of this mass (default 1)" },
        { "seed", ARG_INT, &a.seed, 0, 9007199254740992.0, "N", "of the sampling (default 0)" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object when all is generated" },
        ENGINE_ARGS(a.ea),
    };
    arg_spec spec = {
        .usage = "generate --prompt TEXT [options]",
        .about = "Continue a text.  The same seed, model and kernels give the same text.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!a.prompt) return usage_error("--prompt is missing; usage: loci %s", spec.usage);
    loci_error err = { 0 };
    char *from_stdin = NULL;
    const char *prompt = a.prompt;
    size_t bytes = strlen(prompt);
    loci_status st = LOCI_OK;
    if (strcmp(prompt, "-") == 0) {
        st = read_input("-", PROMPT_BYTES_MAX, &from_stdin, &bytes, &err);
        prompt = from_stdin;
    }
    text_out out = { .stream = !a.json };
    generate_stats stats = { 0 };
    if (st == LOCI_OK) st = generate(&a, prompt, bytes, &out, &stats, &err);
    if (st == LOCI_OK && a.json) report_json(&out, &stats);
    free(out.text);
    free(from_stdin);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}
