/* cell.h - what the suites that hide facts and ask for them share: one question asked and judged,
 * the counts of a cell, its row. */
#ifndef LOCI_EVAL_CELL_H
#define LOCI_EVAL_CELL_H

#include "eval.h"
#include "field.h"

typedef struct { /* how questions are asked, and where rows go */
    engine_args ea;
    int64_t k, max_tokens, spread, doc_bytes, seconds;
    double margin;
    const char *work, *answers;
    bool json, csv, recall, exact;
    bool end_only; /* of an answer in steps, "Mary, kitchen", its end counts */
    row_format format;
    FILE *list; /* of --answers */
    int rows;   /* printed so far */
} cell_args;

cell_args cell_args_default(void);

/* clang-format off */
#define CELL_ARGS(c)                                                                            \
    { "recall", ARG_FLAG, &(c).recall, 0, 0, NULL,                                              \
      "also count facts among the chunks that the router picks (a pass more a question)" },     \
    { "exact-search", ARG_FLAG, &(c).exact, 0, 0, NULL,                                         \
      "with --recall: compare with the scores of all chunks (one more pass)" },                 \
    { "spread", ARG_INT, &(c).spread, 1, 4096, "N",                                             \
      "documents that take an item's facts (default 1)" },                                      \
    { "doc-bytes", ARG_INT, &(c).doc_bytes, 1024, 1 << 24, "N",                                 \
      "of a document of the haystack: what hiding facts reads again (default 16K)" },           \
    { "k", ARG_INT, &(c).k, 0, 4096, "N",                                                       \
      "chunks read per token and group (default: the model's)" },                               \
    { "max-tokens", ARG_INT, &(c).max_tokens, 1, 4096, "N", "of an answer (default 64)" },      \
    { "refusal-margin", ARG_FLOAT, &(c).margin, 0, 100, "X",                                    \
      "nats by which \"not stated\" has to lead (default: the model's)" },                      \
    { "seconds", ARG_INT, &(c).seconds, 0, 1e9, "N",                                            \
      "of asking for one row: what was asked by then is counted (default 0: all)" },            \
    { "answers", ARG_STR, &(c).answers, 0, 0, "FILE",                                           \
      "write every question and answer as JSON lines" },                                        \
    { "work", ARG_STR, &(c).work, 0, 0, "DIR",                                                  \
      "keep the banks here (default: a temporary folder, removed)" },                           \
    { "json", ARG_FLAG, &(c).json, 0, 0, NULL, "one JSON object a row" },                       \
    { "csv", ARG_FLAG, &(c).csv, 0, 0, NULL, "CSV with a header" },                             \
    ENGINE_ARGS((c).ea)
/* clang-format on */
/* -1 to go on, else the exit code; fills format. */
int cell_args_check(cell_args *c);

typedef struct {
    int64_t asked, exact;         /* of all questions                                     */
    int64_t placed, hit;          /* those whose answer stands somewhere, and is shown    */
    int64_t recalled, scored;     /* gold among the K picks: by codes, by exact scores    */
    int64_t kept;                 /* by both                                              */
    int64_t absent, absent_right; /* those about nothing, answered "not stated"           */
    int64_t denied;               /* of the placed, answered "not stated"                 */
    int64_t answer_tokens;
    double prefill_ms, decode_ms;
    double since; /* now_seconds() at the first question */
} tally;

/* Are the seconds for asking this row over?  They begin with its first question. */
bool cell_late(const cell_args *c, const tally *t);

/* Ask of the field's bank and count; gold: where the answer stands, NULL nowhere. */
loci_status cell_ask(const cell_args *c, loci_engine *e, field *f, const loci_question *q,
                     const fact_place *gold, tally *t, loci_error *err);
/* A row with the counts, the field and the machine in it; the caller has put what names the cell. */
void cell_row(const cell_args *c, json_t *row, const loci_engine *e, const field *f,
              const tally *t);
/* Print and release it.  In text: the key's value of each of `names`, then the counts. */
void cell_print(cell_args *c, json_t *row);

/* ---- a whole run ---------------------------------------------------------------------------- */
/* One bank length: `run` is called with its field made; facts are taken out afterwards. */
typedef loci_status cell_run_fn(void *ctx, cell_args *c, loci_engine *e, field *f, int64_t length,
                                loci_error *err);
/* Open the engine, the haystack of `text` and a bank of each length, call `run`, clean up.
 * Length 0: one document without text of its own. */
loci_status cell_run(cell_args *c, const arg_list *text, uint64_t seed, const int64_t *length,
                     int n, cell_run_fn *run, void *ctx, loci_error *err);

#endif
