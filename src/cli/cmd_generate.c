/* cmd_generate.c - `loci generate`: continue a text or answer a conversation, token by token.
 *
 * With a DeepSeek-V4 model the text may be kept in a folder, so that a longer one goes on from it,
 * and greedy decoding may check several drafted tokens in one pass: the text is the same. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

enum {
    PROMPT_BYTES_MAX = 1 << 28,
    PREFILL_BATCH = 4096, /* tokens between two looks at Ctrl-C */
    DRAFT_MAX = 16
};

typedef struct {
    engine_args ea;
    const char *prompt, *conversation, *state;
    chat_args chat;
    int64_t max_tokens, top_k, seed, draft;
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
    bool kept;               /* in a folder */
    int64_t reused;          /* of the prompt, from there */
    int64_t drafted, agreed; /* tokens guessed, and those that were right */
    loci_expert_stats experts;
    bool ended;                /* the model gave its end */
    loci_chat_opening opening; /* of a conversation: what the model was to write */
    double open_ms, prefill_ms, decode_ms;
} generate_stats;

/* ---- the prompt ---------------------------------------------------------------------------- */

/* The model's first id, if it has one, and the text's ids; owned by the caller. */
static loci_status encode_text(const loci_engine *e, const char *text, size_t bytes, int32_t **ids,
                               int64_t *n, loci_error *err)
{
    loci_encoder *enc = NULL;
    size_t count = 0;
    const int bos = loci_engine_info(e)->bos;
    *ids = malloc((bytes + 1) * sizeof **ids);
    if (!*ids) return set_error(err, LOCI_ENOMEM, "no memory for the prompt's tokens");
    *n = 0;
    if (bos >= 0) (*ids)[(*n)++] = bos;
    loci_status st = loci_encoder_open(&enc, loci_engine_tokenizer(e), err);
    if (st == LOCI_OK) st = loci_encode(enc, text, bytes, *ids + *n, NULL, bytes, &count, err);
    loci_encoder_close(enc);
    *n += (int64_t)count;
    if (st == LOCI_OK && *n == 0) st = set_error(err, LOCI_EINVAL, "--prompt: no tokens");
    return st;
}

static loci_status encode_conversation(const generate_args *a, const loci_engine *e,
                                       loci_chat_opening *opening, int32_t **ids, int64_t *n,
                                       loci_error *err)
{
    loci_chat_prompt p = { 0 };
    loci_status st =
        chat_prompt(&a->chat, a->conversation, a->ea.model, loci_engine_tokenizer(e), &p, err);
    if (st == LOCI_OK && p.opening == LOCI_CHAT_OPENS_NOTHING)
        st = set_error(err, LOCI_EINVAL, "%s: its last message is not one that is answered",
                       a->conversation);
    if (st == LOCI_OK) {
        *opening = p.opening;
        *ids = p.ids;
        *n = (int64_t)p.n_ids;
        p.ids = NULL;
    }
    loci_chat_prompt_free(&p);
    return st;
}

static loci_status encode_prompt(const generate_args *a, const loci_engine *e, const char *text,
                                 size_t bytes, generate_stats *stats, int32_t **ids,
                                 loci_error *err)
{
    int64_t *n = &stats->prompt_tokens;
    if (!loci_engine_tokenizer(e))
        return set_error(
            err, LOCI_ENOTFOUND,
            "%s: no tokenizer.json, nor the lists of a GGUF file; ids go to loci logits",
            a->ea.model);
    return a->conversation ? encode_conversation(a, e, &stats->opening, ids, n, err)
                           : encode_text(e, text, bytes, ids, n, err);
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

/* ---- decoding -------------------------------------------------------------------------------- */

typedef struct {
    const generate_args *a;
    const loci_engine *e;
    loci_session *s;
    loci_sampling opt;
    uint64_t state;
    int vocab, end;
    float *logits; /* (DRAFT_MAX + 1, vocab); row 0: of the next token */
    text_out *out;
    generate_stats *stats;
} decoder;

static int32_t choose(decoder *d, int row)
{
    return loci_sample(d->logits + (size_t)row * (size_t)d->vocab, d->vocab, &d->opt, &d->state);
}

/* Put out one token.  *more: generation goes on. */
static loci_status emit(decoder *d, int32_t id, bool *more, loci_error *err)
{
    size_t n;
    *more = false;
    if (id == d->end) {
        d->stats->ended = true;
        return LOCI_OK;
    }
    const char *bytes = loci_token_bytes(loci_engine_tokenizer(d->e), id, &n);
    *more = ++d->stats->tokens < d->a->max_tokens;
    return append(d->out, bytes, n, err);
}

/* `id` and guesses behind it in one pass; those that greedy decoding would have chosen are put
 * out, row 0 of the logits is behind the last of them. */
static loci_status check_drafts(decoder *d, int32_t id, bool *more, loci_error *err)
{
    int32_t ids[DRAFT_MAX + 1] = { id };
    const int64_t left = d->a->max_tokens - d->stats->tokens;
    const int n = (int)(d->a->draft < left ? d->a->draft : left);
    int good = 0;
    loci_status st = loci_session_draft(d->s, id, n, ids + 1, err);
    if (st == LOCI_OK) st = loci_session_extend(d->s, ids, n + 1, d->logits, n + 1, err);
    while (st == LOCI_OK && *more && good < n && choose(d, good) == ids[1 + good])
        st = emit(d, ids[1 + good++], more, err);
    if (st != LOCI_OK) return st;
    d->stats->drafted += n;
    d->stats->agreed += good;
    if (!loci_session_rewind(d->s, n - good))
        return set_error(err, LOCI_ESTATE, "the session cannot go back by %d tokens", n - good);
    const size_t row = (size_t)d->vocab;
    memmove(d->logits, d->logits + (size_t)good * row, row * sizeof *d->logits);
    return LOCI_OK;
}

static loci_status decode(decoder *d, loci_error *err)
{
    for (bool more = true; more;) {
        if (interrupted()) return set_error(err, LOCI_ECANCEL, "interrupted");
        const int32_t id = choose(d, 0);
        loci_status st = emit(d, id, &more, err);
        if (st == LOCI_OK && more)
            st = d->a->draft > 0 ? check_drafts(d, id, &more, err)
                                 : loci_session_extend(d->s, &id, 1, d->logits, 1, err);
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

/* Prompt, continuation, and what is kept of both. */
static loci_status run(decoder *d, const int32_t *ids, loci_error *err)
{
    generate_stats *stats = d->stats;
    double begin = now_seconds();
    loci_status st = loci_session_resume(d->s, ids, stats->prompt_tokens, &stats->reused, err);
    if (st == LOCI_OK)
        st = prefill(d->s, ids + stats->reused, stats->prompt_tokens - stats->reused, d->logits,
                     d->a->ea.quiet, err);
    if (st == LOCI_OK) st = loci_session_save(d->s, err); /* a second answer starts here */
    stats->prefill_ms = 1e3 * (now_seconds() - begin);
    begin = now_seconds();
    if (st == LOCI_OK) {
        st = decode(d, err);
        finish_text(d->out);
    }
    stats->decode_ms = 1e3 * (now_seconds() - begin);
    return st == LOCI_OK ? loci_session_save(d->s, err) : st;
}

static loci_status generate(const generate_args *a, const char *prompt, size_t bytes, text_out *out,
                            generate_stats *stats, loci_error *err)
{
    loci_engine *e = NULL;
    decoder d = { .a = a, .out = out, .stats = stats };
    int32_t *ids = NULL;
    const double begin = now_seconds();
    loci_status st = open_engine(&e, &a->ea, err);
    if (st == LOCI_OK) st = encode_prompt(a, e, prompt, bytes, stats, &ids, err);
    if (st == LOCI_OK) {
        const loci_model_info *info = loci_engine_info(e);
        loci_session_options opt = loci_session_options_default();
        opt.max_tokens = stats->prompt_tokens + a->max_tokens + DRAFT_MAX;
        opt.state_dir = a->state;
        opt.draft = a->draft > 0;
        d.e = e;
        d.vocab = info->vocab;
        d.end = info->end;
        d.opt = (loci_sampling){ (float)a->temperature, (int)a->top_k, (float)a->top_p,
                                 (uint64_t)a->seed, strcmp(info->architecture, "loci-1") != 0 };
        d.state = d.opt.seed;
        d.logits = malloc((DRAFT_MAX + 1) * (size_t)d.vocab * sizeof *d.logits);
        st = d.logits ? loci_session_open(&d.s, e, &opt, err)
                      : set_error(err, LOCI_ENOMEM, "no memory for logits");
    }
    stats->open_ms = 1e3 * (now_seconds() - begin);
    if (st == LOCI_OK) st = run(&d, ids, err);
    if (e) stats->experts = loci_engine_experts(e);
    loci_session_close(d.s);
    loci_engine_close(e);
    free(d.logits);
    free(ids);
    return st;
}

/* ---- the command -------------------------------------------------------------------------------- */

/* A reply as a message that may be appended to its conversation, or why it is none. */
static void put_message(json_t *o, const text_out *out, loci_chat_opening opening)
{
    char *json = NULL;
    size_t n = 0;
    loci_error err = { 0 };
    if (chat_message(out->text ? out->text : "", out->bytes, opening, &json, &n, &err) == LOCI_OK)
        json_object_set_new(o, "message", json_loadb(json, n, JSON_ALLOW_NUL, NULL));
    else
        put_text(o, "malformed", err.text);
    free(json);
}

static void report_json(const text_out *out, const generate_stats *s)
{
    json_t *o = json_object(), *usage = json_object(), *timing = json_object();
    put_int(usage, "prompt_tokens", s->prompt_tokens);
    put_int(usage, "completion_tokens", s->tokens);
    if (s->kept) put_int(usage, "reused_tokens", s->reused);
    if (s->drafted > 0) {
        put_int(usage, "drafted_tokens", s->drafted);
        put_int(usage, "agreed_tokens", s->agreed);
    }
    put_real(timing, "open", s->open_ms);
    put_real(timing, "prefill", s->prefill_ms);
    put_real(timing, "per_token", s->tokens > 0 ? s->decode_ms / (double)s->tokens : 0.0);
    put_bytes(o, "text", out->text ? out->text : "", out->bytes);
    put_text(o, "stopped", s->ended ? "end" : "length");
    if (s->opening != LOCI_CHAT_OPENS_NOTHING) put_message(o, out, s->opening);
    json_object_set_new(o, "usage", usage);
    json_object_set_new(o, "timing_ms", timing);
    put_int(o, "resident_bytes", resident_bytes());
    if (s->experts.hits + s->experts.misses > 0) {
        json_t *experts = json_object();
        put_int(experts, "hits", s->experts.hits);
        put_int(experts, "misses", s->experts.misses);
        put_int(experts, "bytes_read", s->experts.bytes_read);
        put_real(experts, "bytes_read_per_token",
                 (double)s->experts.bytes_read /
                     (double)(s->prompt_tokens - s->reused + s->tokens));
        json_object_set_new(o, "experts", experts);
    }
    print_json(o);
}

int cmd_generate(int argc, char **argv)
{
    generate_args a = { .max_tokens = 128, .top_p = 1.0 };
    arg args[] = {
        { "prompt", ARG_STR, &a.prompt, 0, 0, "TEXT", "text to continue; - reads standard input" },
        { "chat", ARG_STR, &a.conversation, 0, 0, "FILE",
          "DeepSeek-V4: answer this conversation instead (see `loci tokenizer prompt`)" },
        CHAT_ARGS(a.chat),
        { "state", ARG_STR, &a.state, 0, 0, "DIR",
          "DeepSeek-V4: keep the text here and go on from what is kept" },
        { "draft", ARG_INT, &a.draft, 0, DRAFT_MAX, "N",
          "DeepSeek-V4: let the MTP block guess N tokens, check them in one pass; greedy only" },
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
        DEEPSEEK_ARGS(a.ea),
        ENGINE_ARGS(a.ea),
    };
    arg_spec spec = {
        .usage = "generate --prompt TEXT | --chat FILE [options]",
        .about = "Continue a text, or answer a conversation as its model writes it, reasoning and "
                 "calls included; --json gives the answer as a message.  The same seed, model and "
                 "kernels give the same text.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!a.prompt && !a.conversation)
        return usage_error("--prompt is missing; usage: loci %s", spec.usage);
    if (a.prompt && a.conversation)
        return usage_error("--prompt and --chat: give one; usage: loci %s", spec.usage);
    if (a.draft > 0 && a.temperature > 0)
        return usage_error("--draft is for greedy decoding: leave --temperature at 0");
    if (a.conversation && !a.ea.model)
        return usage_error("--chat needs a DeepSeek-V4 model: --model is missing");
    loci_error err = { 0 };
    char *from_stdin = NULL;
    const char *prompt = a.prompt ? a.prompt : "";
    size_t bytes = strlen(prompt);
    loci_status st = LOCI_OK;
    if (strcmp(prompt, "-") == 0) {
        st = read_input("-", PROMPT_BYTES_MAX, &from_stdin, &bytes, &err);
        prompt = from_stdin;
    }
    text_out out = { .stream = !a.json };
    generate_stats stats = { .kept = a.state != NULL };
    if (st == LOCI_OK) st = generate(&a, prompt, bytes, &out, &stats, &err);
    if (st == LOCI_OK && a.json) report_json(&out, &stats);
    free(out.text);
    free(from_stdin);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}
