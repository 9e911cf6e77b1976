/* eval.h - suites that measure answers: what they share.
 *
 * Every row carries what is needed to make it again: model fingerprint, seed, names, wordings,
 * processor, threads, commit.  Rows go out as they are measured. */
#ifndef LOCI_EVAL_H
#define LOCI_EVAL_H

#include "cli.h"

typedef enum { ROW_TEXT, ROW_JSON, ROW_CSV } row_format;

/* The Wilson score interval of `hits` of `n` at 95 %: [*lo, *hi] within [0, 1]; n = 0: [0, 1].
 * Unlike hits/n +- 2 sigma it is right near 0 and 1, where a good model lives. */
void wilson(int64_t hits, int64_t n, double *lo, double *hi);

/* Add version, commit, cpu, threads to a row. */
void add_machine(json_t *row, int64_t threads);

int eval_needles(int argc, char **argv);
int eval_demo(int argc, char **argv);
int eval_kv(int argc, char **argv);
int eval_babilong(int argc, char **argv);
int eval_ppl(int argc, char **argv);
int eval_overlap(int argc, char **argv);

#endif
