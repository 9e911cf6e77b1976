/* task_args.c - options of made-up tasks, in one place for all commands that make them. */
#include "task_args.h"
#include <string.h>
#include "haystack.h"

#define X(id, name, help) name ", "
const char task_family_help[] = LOCI_TASK_FAMILIES(X) "or all";
#undef X

task_args task_args_default(const char *family, int64_t questions)
{
    return (task_args){ .family = family,
                        .names = "test",
                        .wordings = "test",
                        .seed = 1,
                        .hops = 2,
                        .questions = questions };
}

int task_args_check(task_args *t, const char *split)
{
    loci_error err = { 0 };
    if (!parse_split(split, t->names, &t->names_of)) return EXIT_USAGE;
    if (strcmp(t->wordings, "plain") == 0)
        t->wordings_of = LOCI_SPLIT_PLAIN;
    else if (strcmp(t->wordings, "fresh") == 0)
        t->wordings_of = LOCI_SPLIT_FRESH;
    else if (strcmp(t->wordings, "train") == 0 || strcmp(t->wordings, "test") == 0)
        (void)parse_split("wordings", t->wordings, &t->wordings_of);
    else
        return usage_error("--wordings %s: expected train, test, fresh or plain", t->wordings);
    t->all = strcmp(t->family, "all") == 0;
    return t->all || loci_task_by_name(t->family, &t->family_of, &err) == LOCI_OK ? -1 : fail(&err);
}

loci_task_options task_args_options(const task_args *t, loci_task_family family, uint64_t seed,
                                    int64_t facts, const char *text, size_t bytes)
{
    loci_task_options o = loci_task_options_default();
    o.seed = seed;
    o.family = family;
    o.names = t->names_of;
    o.wordings = t->wordings_of;
    o.n_facts = (int)facts;
    o.n_questions = (int)(t->questions > 0 && t->questions < facts ? t->questions : facts);
    o.hops = (int)t->hops;
    o.near_duplicate = (float)t->near_duplicate;
    o.absent = (float)t->absent;
    if (family == LOCI_TASK_EXTRACT) {
        o.text = text;
        o.text_bytes = bytes;
    }
    return o;
}
