/* cli.h - the command: arguments, input, output, progress.  Uses the public headers of the library
 * only.
 *
 *   main.c      the table of subcommands      args.c      options by a table, --help from it
 *   out.c       errors, text                  json.c      JSON, CSV
 *   progress.c  bars, signals
 *   input.c     files, standard input         machine.c   clocks, memory, processor
 *   open.c      which model; engine, banks    haystack.c  text to hide facts in
 *   task_args.c options of made-up tasks
 *   cmd_*.c     one file a subject
 *
 * eval/ and bench/ stand on the same header.
 */
#ifndef LOCI_CLI_H
#define LOCI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "loci/bank.h"
#include "loci/chat.h"
#include "loci/energy.h"
#include "loci/loci.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* ---- args.c ------------------------------------------------------------------------------- */
typedef enum { ARG_FLAG, ARG_INT, ARG_FLOAT, ARG_STR, ARG_LIST } arg_type;

enum { ARG_LIST_MAX = 128 };
typedef struct {
    const char *item[ARG_LIST_MAX + 1]; /* NULL-terminated; borrowed from argv */
    int n;
} arg_list;

typedef struct {
    const char *name; /* without "--" */
    arg_type type;
    void *value;      /* bool, int64_t, double, const char *, arg_list */
    double min, max;  /* numbers */
    const char *meta; /* "DIR" in the help */
    const char *help;
} arg;

typedef struct {
    const char *usage; /* "ingest --bank DIR [options] PATH..." */
    const char *about; /* one paragraph of --help */
    arg *args;
    int n_args;
    int min_rest, max_rest; /* positional arguments */
    arg_list rest;
} arg_spec;

/* Parse argv[1..]; options and positional arguments may be mixed, "--" ends options, sizes take
 * K, M, G.  Returns -1 to go on, else the exit code (after --help or a usage error). */
int args_parse(arg_spec *spec, int argc, char **argv);
/* One line on standard error; returns EXIT_USAGE. */
int usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "4K,64K,1M" into out (max).  Returns how many, 0 when one is no whole number in [lo, hi] or there
 * are too many. */
int parse_counts(const char *text, int64_t *out, int max, double lo, double hi);

/* A table of subcommands: of `loci` itself, of `loci bank`, ... */
typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} command;
/* Run the one that argv[1] names, with its arguments; --help lists them. */
int run_group(const char *group, const command *list, int n, int argc, char **argv);

/* ---- out.c -------------------------------------------------------------------------------- */
/* One line on standard error: "loci: text".  Returns EXIT_FAILED (EXIT_USAGE for LOCI_EINVAL). */
int fail(const loci_error *err);
/* Fill in err (the first failure wins) and return code; LOCI_EIO and LOCI_ENOTFOUND append errno's
 * text when errno is not 0. */
loci_status set_error(loci_error *err, loci_status code, const char *fmt, ...) LOCI_PRINTF(3, 4);
/* Text with control characters shown as \xNN when f is a terminal. */
void print_text(FILE *f, const char *text, size_t n);
/* A name in one line: control characters are shown as \xNN wherever f leads. */
void print_name(FILE *f, const char *name);
/* Bytes of the well-formed UTF-8 character at s (n >= 1 bytes left), 0 if there is none. */
size_t utf8_char(const char *s, size_t n);
/* How many of the last bytes are the beginning of a character that is not complete: 0..3. */
size_t utf8_open_tail(const char *s, size_t n);
/* "1.5 MiB": borrowed from out. */
const char *human_bytes(double bytes, char out[32]);

/* ---- json.c ------------------------------------------------------------------------------- */
/* Set one value of an object.  Numbers that are not finite become null, bytes that are not UTF-8
 * U+FFFD. */
void put_int(json_t *o, const char *key, int64_t v);
void put_real(json_t *o, const char *key, double v);
void put_flag(json_t *o, const char *key, bool v);
void put_text(json_t *o, const char *key, const char *text);
void put_bytes(json_t *o, const char *key, const char *text, size_t n);
/* Print one object and release it.  "schema": 1 is put first. */
void print_json(json_t *object);
/* The same in one line: one object a row. */
void print_json_row(json_t *object);
/* The same as a line of CSV; `header`: the keys come first.  Nested values are left empty. */
void print_csv_row(json_t *object, bool header);
/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. */
json_t *json_text(const char *text, size_t n);

/* ---- progress.c --------------------------------------------------------------------------- */
/* Progress on standard error: a bar on a terminal, a line every few seconds otherwise, nothing
 * when quiet.  Pass &bar as ctx of progress_show.  Beginning one also makes SIGINT and SIGTERM
 * stop the work in order; a second one ends the process at once. */
typedef struct {
    const char *what, *unit;
    bool quiet, terminal, shown;
    double begin, last;
    double scale; /* shown = done * scale */
} progress_bar;
void progress_begin(progress_bar *b, const char *what, const char *unit, double scale, bool quiet);
int progress_show(void *bar, int64_t done, int64_t total); /* a loci_progress_fn */
void progress_clear(progress_bar *b); /* take the bar away, for a line of text */
void progress_end(progress_bar *b);
void watch_signals(void);
bool interrupted(void); /* SIGINT or SIGTERM came */

/* ---- machine.c ---------------------------------------------------------------------------- */
double now_seconds(void);
int64_t resident_bytes(void); /* of this process, now; 0 if the system does not say */
/* Threads that `threads` means: itself, or the cores this process may use. */
int64_t count_threads(int64_t threads);
const char *cpu_name(char out[128]); /* "unknown" if the system does not say; borrowed from out */
/* Joules of a reading, cpu and gpu together, and whether there is a meter for either. */
double energy_joules(loci_energy_reading r);
bool energy_known(loci_energy_reading r);
/* {"cpu_joules", "gpu_joules", "kwh", "source"}; null where there is no meter.  e NULL: all null. */
json_t *energy_json(loci_energy *e);
/* Commit this was built from, "unknown" where the build was not told. */
const char *build_commit(void);

/* ---- input.c ------------------------------------------------------------------------------ */
/* All of a file, "-" for standard input, with a NUL behind; owned by the caller (free).
 * Errors: LOCI_ENOTFOUND, LOCI_EIO, LOCI_EINVAL (more than max bytes), LOCI_ENOMEM. */
loci_status read_input(const char *path, size_t max, char **text, size_t *bytes, loci_error *err);
/* Decimal numbers in [0, limit) apart by white space; owned by the caller (free). */
loci_status parse_ids(const char *text, size_t bytes, const char *label, int64_t limit,
                      int32_t **ids, int64_t *n, loci_error *err);
/* Make a folder unless it is there; parents too.  Mode 0777 less umask. */
loci_status make_folder(const char *path, loci_error *err);

/* ---- engine.c ----------------------------------------------------------------------------- */
/* What every subcommand that runs a model takes. */
typedef struct {
    const char *model, *cpu, *device, *compute;
    int64_t threads;
    const char *mode; /* of DeepSeek-V4 models, as expert_mib */
    int64_t expert_mib;
    bool quiet;
} engine_args;
/* clang-format off */
#define DEEPSEEK_ARGS(e)                                                                        \
    { "mode", ARG_STR, &(e).mode, 0, 0, "MODE",                                                 \
      "DeepSeek-V4: exact, fast or f32 (default: what the weights were made for)" },           \
    { "expert-memory", ARG_INT, &(e).expert_mib, 0, 1 << 30, "MIB",                             \
      "DeepSeek-V4: read routed experts into so much memory; 0 = map them (default)" }
#define ENGINE_ARGS(e)                                                                          \
    { "model", ARG_STR, &(e).model, 0, 0, "DIR", "model folder (default: the shipped one)" },  \
    { "threads", ARG_INT, &(e).threads, 0, 1024, "N", "0 = all cores (default)" },              \
    { "cpu", ARG_STR, &(e).cpu, 0, 0, "NAME", "kernels: native (default), avx512, avx2, ref" }, \
    { "device", ARG_STR, &(e).device, 0, 0, "NAME", "cpu (default), cuda, cuda:N" },            \
    { "compute", ARG_STR, &(e).compute, 0, 0, "TYPE",                                           \
      "products in int8, int4 or f32 (default: as weights are stored, bf16 as f32)" },                  \
    { "quiet", ARG_FLAG, &(e).quiet, 0, 0, NULL, "no progress, no notes" }
/* clang-format on */

/* The model to use: `given`, else the shipped one beside the executable. */
const char *model_dir(const char *given);
/* Open the engine; prints nothing.  *e owned: loci_engine_close. */
loci_status open_engine(loci_engine **e, const engine_args *a, loci_error *err);
/* Open banks [0, n) for reading; on failure none is open.  Close them with close_banks. */
loci_status open_banks(loci_bank **bank, const arg_list *dirs, loci_engine *e, loci_error *err);
void close_banks(loci_bank **bank, int n);

/* ---- chat.c ------------------------------------------------------------------------------- */
/* What every subcommand that takes a conversation takes. */
typedef struct {
    const char *mode, *texts;
    bool keep_reasoning, content_tokens;
} chat_args;
/* clang-format off */
#define CHAT_ARGS(c)                                                                            \
    { "think", ARG_STR, &(c).mode, 0, 0, "MODE",                                                \
      "chat: no reasoning (default); low, high, max: with it" },                                \
    { "chat-texts", ARG_STR, &(c).texts, 0, 0, "PATH",                                          \
      "the release's texts, as its module .py or .json (default: in the model's folder)" },     \
    { "keep-reasoning", ARG_FLAG, &(c).keep_reasoning, 0, 0, NULL,                              \
      "of turns before the last question" },                                                    \
    { "content-tokens", ARG_FLAG, &(c).content_tokens, 0, 0, NULL,                              \
      "content that spells a token, such as <think>, becomes it" }
/* clang-format on */
/* The prompt of a conversation in `file` ("-": standard input); texts are looked for in the
 * folder of the model, which is one or a file.  *out is the caller's: loci_chat_prompt_free, also on failure. */
loci_status chat_prompt(const chat_args *a, const char *file, const char *model,
                        const loci_tokenizer *t, loci_chat_prompt *out, loci_error *err);

/* ---- deepseek.c --------------------------------------------------------------------------- */
/* `model info` of a model of the DeepSeek-V4 family; an exit code. */
int deepseek_info(const char *path, bool json);

/* What a model wrote behind such a prompt as a message, JSON: owned by the caller (free).
 * Errors: LOCI_EFORMAT malformed, or it ends inside a call. */
loci_status chat_message(const char *text, size_t bytes, loci_chat_opening opening, char **json,
                         size_t *n, loci_error *err);

/* ---- subcommands: argv[0] is the subcommand's name ---------------------------------------- */
int cmd_ingest(int argc, char **argv);
int cmd_ask(int argc, char **argv);
int cmd_recall(int argc, char **argv);
int cmd_bank(int argc, char **argv);
int cmd_generate(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_model(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_tokenizer(int argc, char **argv);
int tokenizer_prompt(int argc, char **argv); /* cmd_chat.c */
int tokenizer_reply(int argc, char **argv);
int cmd_tasks(int argc, char **argv);
int cmd_eval(int argc, char **argv);  /* eval/ */
int cmd_bench(int argc, char **argv); /* bench/ */
int cmd_version(int argc, char **argv);

#endif
