/* task.h - synthetic long-range tasks: facts to hide in text, questions about them,
 * exact answers, all from a seed.
 *
 * A task item is text only (no token ids): a list of facts in the order in which they
 * must appear, each a passage to be put somewhere into a haystack, and questions whose
 * answer follows from those facts.  Train and test splits share no name and no wording
 * unless asked for (`wordings`).  The same (seed, family, split, options) gives the same
 * bytes on every machine. */
#ifndef LOCI_TASK_H
#define LOCI_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "loci/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOCI_TASK_FAMILIES(X)                                                                      \
    X(NEEDLE, "needle", "one fact a key: digits, words, hex")                                      \
    X(MULTIKEY, "multikey", "facts whose keys differ in one word (near-duplicates)")               \
    X(MULTIVALUE, "multivalue", "several values of one key, all asked for, in order")              \
    X(KV, "kv", "JSON object of random keys and values; one value asked for")                      \
    X(COPY, "copy", "a marked short passage to be repeated word by word")                          \
    X(VARIABLE, "variable", "variable tracking: X1 = 7; X2 = X1; ... what is X2? 1-5 hops")        \
    X(LATEST, "latest", "a value that is updated; the latest one counts")                          \
    X(ABSENT, "absent", "a question about a key that nothing mentions: 'not stated'")              \
    X(MULTIQUERY, "multiquery", "the values of four keys asked for in one question")               \
    X(ORDINAL, "ordinal", "the first, second or third of three values of a key")                   \
    X(CONFLICT, "conflict", "which clause contradicts another, by its mark")                       \
    X(EXTRACT, "extract", "words of the text itself: what follows, what is missing")               \
    X(QA1, "qa1", "where somebody is who moves about (one fact)")                                  \
    X(QA2, "qa2", "where a thing is that people carry (two facts)")                                \
    X(QA3, "qa3", "where a thing was before (three facts)")

typedef enum {
#define X(name, text, help) LOCI_TASK_##name,
    LOCI_TASK_FAMILIES(X)
#undef X
        LOCI_TASK_COUNT
} loci_task_family;
LOCI_API const char *loci_task_name(loci_task_family f); /* static storage; else "unknown" */
/* Find a family by its exact name.  Errors: LOCI_EINVAL, the message lists the names; *f
 * untouched. */
LOCI_API loci_status loci_task_by_name(const char *name, loci_task_family *f, loci_error *err);

/* Plain and fresh are for wordings alone.  Plain: the few sentences, attributes and kinds of value that
 * every model here was trained on, the small first one too; families other than needle and absent have
 * training's.  Fresh: a second held-out set, written by one who had seen no failure. */
typedef enum { LOCI_SPLIT_TRAIN, LOCI_SPLIT_TEST, LOCI_SPLIT_PLAIN, LOCI_SPLIT_FRESH } loci_split;

enum { LOCI_TASK_MAX_FACTS = 16384, LOCI_TASK_MAX_QUESTIONS = 4096 };

typedef struct {
    uint64_t seed;
    loci_task_family family;
    loci_split names;     /* which names: test names never occur in training       */
    loci_split wordings;  /* which wordings                                        */
    int n_facts;          /* 1 .. LOCI_TASK_MAX_FACTS; multivalue, latest, ordinal, conflict:
                            keys (2-4, 2-3, 3, 1-3 facts each), variable: chains (hops + 1
                            facts each), qa1 to qa3: sentences, extract: ignored   */
    int n_questions;      /* 1 .. min(n_facts, LOCI_TASK_MAX_QUESTIONS), extract: 1 ..
                            LOCI_TASK_MAX_QUESTIONS; variable: n_facts counts hops
                            times, each chain may be asked about at each depth    */
    int hops;             /* variable: 1..5; others ignore it                      */
    int values_max;       /* multivalue: most values of a key, 2..4; others ignore it */
    float near_duplicate; /* needle, absent, multiquery: share of facts whose key is a
                            near-duplicate of another fact's key, 0..1             */
    float absent;         /* needle, multikey, kv, copy, extract: share of questions about
                            something that the text does not hold, 0..1            */
    uint64_t theme;       /* items of one theme have keys that are near-duplicates of each
                            other's; 0: none.  Needle, multikey, multiquery        */
    const char *text;     /* (text_bytes) UTF-8, borrowed, NULL: none.  Extract: the haystack
                            that it asks about.  Others: where some words of values come
                            from, so that there are more than the tables hold      */
    size_t text_bytes;
} loci_task_options;
LOCI_API loci_task_options loci_task_options_default(void);

typedef struct {
    const char *text; /* passage, no leading or trailing white space */
    int len;
    int group; /* facts of one group must stay in order; groups may be interleaved */
} loci_fact;

typedef struct {
    const char *question;
    const char *answer; /* without trailing punctuation or newline */
    int n_gold;         /* facts the answer needs, 0 for absence */
    int gold[8];        /* indices into facts; the last one carries the answer (variable:
                           from the variable asked for back to the number; latest: the
                           latest alone; conflict: the clause asked about, if one is,
                           first), or each one part of it, joined by ", " in this order
                           (multivalue, multiquery, variable, qa2, qa3)                */
    bool absent;
    size_t start, end; /* extract: where the answer stands in the options' text, half-open;
                           otherwise 0, 0                                         */
} loci_question;

typedef struct {
    loci_fact *fact;
    int n_facts;
    loci_question *question;
    int n_questions;
    void *pool; /* owned strings */
} loci_task_item;

/* Make one item; owned: loci_task_free.  Names are distinct within an item (but a key may have a
 * second attribute) and so are values; each question asks about another fact (key, variable, passage).
 * Stories and extracts may hold less to ask about than n_questions: then there are fewer, at least
 * one.  Cost: about 1 us a fact.
 * Errors: LOCI_EINVAL an option out of range, named; LOCI_ENOTFOUND extract: the text holds nothing
 * to ask about; LOCI_ENOMEM; *item is empty then. */
LOCI_API loci_status loci_task_make(loci_task_item *item, const loci_task_options *opt,
                                    loci_error *err);
LOCI_API void loci_task_free(loci_task_item *item); /* leaves it empty; NULL is fine */
/* How many sentence patterns there are, of facts and of questions together; 0 for a family or
 * split that does not exist. */
LOCI_API int64_t loci_task_wordings(loci_task_family f, loci_split s);

/* ---- items of others -------------------------------------------------------------------------- */
typedef struct {
    loci_task_item *item; /* (n) owned */
    int n, cap;
} loci_task_list;
/* Stories in the format of the bAbI files: an item for each question, its facts being the sentences
 * told before it, in one group.  `label` names the text in errors.  Owned: loci_task_list_free.
 * Errors: LOCI_EFORMAT (line and what is wrong), LOCI_ENOMEM; the list is empty then. */
LOCI_API loci_status loci_task_read_babi(loci_task_list *list, const char *text, size_t bytes,
                                         const char *label, loci_error *err);
LOCI_API void loci_task_list_free(loci_task_list *list); /* leaves it empty */

/* A page of plausible plain text for when there is too little real text: sentences from a
 * grammar, no fact that a task could ask for.  Writes about `bytes` bytes to out: stops after
 * the sentence that reaches them or before the one that would pass cap, so it ends at a full
 * stop, or writes nothing.  No NUL byte.  Returns bytes written, <= cap; out NULL: 0. */
LOCI_API size_t loci_task_filler(uint64_t seed, size_t bytes, char *out, size_t cap);

/* Put facts into a haystack.  place[i] = byte offset of the haystack before which fact i
 * goes: random, at line ends or sentence ends where there is one near, sorted so that facts
 * of one group keep their order.  depth in [lo, hi) of the haystack (0..1); where no byte lies
 * in that range (a tiny haystack) the next one behind lo, at most len.  Facts with equal places
 * go in by their index.
 *
 *   hay     (len) bytes, UTF-8, borrowed; may be NULL if len is 0
 *   place   (item->n_facts), untouched on failure
 *
 * Errors: LOCI_EINVAL NULL argument or not 0 <= lo < hi <= 1; LOCI_ENOMEM. */
LOCI_API loci_status loci_task_place(const loci_task_item *item, const char *hay, size_t len,
                                     double lo, double hi, uint64_t seed, size_t *place,
                                     loci_error *err);

#ifdef __cplusplus
}
#endif
#endif
