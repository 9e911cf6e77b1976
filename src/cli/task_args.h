/* task_args.h - the options that say what made-up tasks are like: `tasks make` and `eval needles`. */
#ifndef LOCI_TASK_ARGS_H
#define LOCI_TASK_ARGS_H

#include "cli.h"
#include "loci/task.h"

typedef struct {
    const char *family, *names, *wordings; /* as given */
    int64_t seed, hops, questions;
    double near_duplicate, absent;
    arg_list text;
    loci_split names_of, wordings_of; /* as task_args_check understands them */
    loci_task_family family_of;
    bool all; /* the family is "all" */
} task_args;

/* Test names and wordings, seed 1, no near-duplicates, nothing absent. */
task_args task_args_default(const char *family, int64_t questions);

/* `split`: what the option for names is called.  questions 0: as many as there are. */
/* clang-format off */
#define TASK_ARGS(t, split)                                                                     \
    { "family", ARG_STR, &(t).family, 0, 0, "F", task_family_help },                            \
    { "questions", ARG_INT, &(t).questions, 0, LOCI_TASK_MAX_QUESTIONS, "N",                    \
      "most questions an item; 0 = all" },                                                      \
    { split, ARG_STR, &(t).names, 0, 0, "train|test",                                           \
      "test names never occur in training (default test)" },                                    \
    { "wordings", ARG_STR, &(t).wordings, 0, 0, "train|test|fresh|plain",                       \
      "sentences of facts and questions (default test); fresh: a second held-out set, written " \
      "without seeing a failure; plain: the few of the first model" },                          \
    { "near-duplicate", ARG_FLOAT, &(t).near_duplicate, 0, 1, "X",                              \
      "share of keys one word away from another (default 0)" },                                 \
    { "absent", ARG_FLOAT, &(t).absent, 0, 1, "X",                                              \
      "share of questions about what is not there (default 0)" },                               \
    { "hops", ARG_INT, &(t).hops, 1, 5, "N", "of the variable family (default 2)" },            \
    { "seed", ARG_INT, &(t).seed, 0, 9007199254740992.0, "N",                                   \
      "of everything random (default 1)" },                                                     \
    { "text", ARG_LIST, &(t).text, 0, 0, "PATH",                                                \
      "files, folders, .txt.zst corpora to hide facts in (default: made-up sentences)" }
/* clang-format on */
extern const char task_family_help[];

/* Understand names, wordings, family; -1 to go on, else the exit code. */
int task_args_check(task_args *t, const char *split);
/* For one item of `facts` facts.  text: what the family extract asks about. */
loci_task_options task_args_options(const task_args *t, loci_task_family family, uint64_t seed,
                                    int64_t facts, const char *text, size_t bytes);

#endif
