/* task_impl.h - the inside of the task folder: words, names, values, wordings, and the
 * small tools (a line, a pool of strings, a set) that the families are written with.
 *
 * Everything is a pure function of a loci_rng; there is no state outside the arguments. */
#ifndef LOCI_TASK_IMPL_H
#define LOCI_TASK_IMPL_H

#include "base/base.h"
#include "loci/task.h"

/* ---- a line being written (pool.c) ----------------------------------------
 * The longest line, four values in one answer or a fact about a long key, stays under
 * 400 bytes; running over is our bug and asserted. */
enum { LOCI_LINE_MAX = 1024 };
typedef struct {
    size_t len;
    char s[LOCI_LINE_MAX]; /* always NUL-terminated once something was added */
} loci_line;
void loci_line_clear(loci_line *line);
void loci_line_add(loci_line *line, const char *text);
void loci_line_char(loci_line *line, char c);
bool loci_is_word_byte(char c); /* ASCII letters and digits */
static inline bool loci_is_small(char c)
{
    return c >= 'a' && c <= 'z';
}
void loci_line_number(loci_line *line, uint32_t n);          /* decimal          */
void loci_line_hex(loci_line *line, uint64_t n, int digits); /* lower case, low digits */

/* ---- strings of one item (pool.c) ------------------------------------------
 * Blocks that never move.  Running out of memory is remembered, not returned: keep()
 * then gives "" and the maker asks `failed` once at the end. */
typedef struct loci_string_block loci_string_block;
typedef struct {
    loci_string_block *head;
    bool failed;
} loci_string_pool;
const char *loci_pool_keep(loci_string_pool *pool,
                           const loci_line *line); /* borrowed from the pool */
void loci_pool_release(loci_string_block *head);   /* NULL is fine */

/* Which strings were given out already.  Holds 64-bit hashes only: two strings of one hash
 * count as equal, which costs a redraw and never lets an equal pair pass. */
typedef struct {
    uint64_t *slot; /* (mask + 1), 0 = free; owned */
    size_t mask;
} loci_string_set;
bool loci_set_open(loci_string_set *set, size_t n_max); /* false: no memory */
bool loci_set_add(loci_string_set *set, const char *s); /* false: was there */
void loci_set_close(loci_string_set *set);
uint64_t loci_string_hash(const char *s); /* FNV-1a, 64 bits, mixed */

/* ---- words (words.c) --------------------------------------------------------
 * Every third word of a table belongs to the test half. */
typedef enum { LOCI_WORD_ADJECTIVE, LOCI_WORD_NOUN, LOCI_WORD_CLASSES } loci_word_class;
int loci_word_count(loci_word_class c);
const char *loci_word(loci_word_class c, int i);
loci_split loci_word_split(int i);
bool loci_word_is_test(const char *word); /* a word of the test half */
int loci_word_draw(loci_word_class c, loci_rng *rng, loci_split split); /* an index */

/* ---- names (names.c) -------------------------------------------------------- */
typedef enum {
    LOCI_KEY_PLACE,   /* the amber falcon of Corvath */
    LOCI_KEY_PROJECT, /* project Larkin, ship Larkin */
    LOCI_KEY_USER,    /* user 48213                  */
    LOCI_KEY_FILE,    /* larkin-ledger-3.txt         */
    LOCI_KEY_EMAIL,   /* larkin@corvath.net          */
    LOCI_KEY_PERSON,  /* Mavel Orrin                 */
    LOCI_KEY_KINDS
} loci_key_kind;
enum { LOCI_NAME_MAX = 16 };
typedef struct {
    loci_key_kind kind;
    int word[2];     /* place: adjective, noun; file: noun, ending; project: what it is */
    uint32_t number; /* user, file */
    char name[2][LOCI_NAME_MAX];
} loci_key;
/* A made-up name in lower case; "Mavel Orrin". */
void loci_name_draw(char name[LOCI_NAME_MAX], loci_rng *rng, loci_split split);
void loci_person_write(loci_line *line, loci_rng *rng, loci_split split);
/* A key of one half, of any kind. */
void loci_key_draw(loci_key *key, loci_rng *rng, loci_split split);
/* Change one part of it: a word, a letter or a digit.  Kind and half stay. */
void loci_key_near(loci_key *key, loci_rng *rng, loci_split split);
void loci_key_write(loci_line *line, const loci_key *key);
/* Short marks for variables and passages: QX4, RM27, LKT8.  Half by hash. */
void loci_mark_write(loci_line *line, loci_rng *rng, loci_split split);
/* JSON keys: so many hex digits, or the 8-4-4-4-12 shape.  Half by hash. */
enum { LOCI_HEX_UUID = 0 };
void loci_hex_name_write(loci_line *line, loci_rng *rng, loci_split split, int digits);
/* The half that a made-up name belongs to. */
loci_split loci_name_split(const char *name);

/* ---- values (values.c) ------------------------------------------------------- */
typedef enum {
    LOCI_VALUE_DIGITS,  /* 482913              */
    LOCI_VALUE_WORDS,   /* amber-falcon        */
    LOCI_VALUE_WORD,    /* lantern             */
    LOCI_VALUE_HEX,     /* 16 hex digits       */
    LOCI_VALUE_DATE,    /* 14 March 2031       */
    LOCI_VALUE_AMOUNT,  /* 48,213 euros        */
    LOCI_VALUE_PERSON,  /* Mavel Orrin         */
    LOCI_VALUE_CODE,    /* KX-4821             */
    LOCI_VALUE_TIME,    /* 14:35               */
    LOCI_VALUE_PASSAGE, /* 4-12 words, for copy */
    LOCI_VALUE_KINDS
} loci_value_kind;
loci_value_kind loci_value_draw_kind(loci_rng *rng, loci_split split); /* any but a passage */
typedef struct { /* text that words of the train half are taken from; bytes 0: none */
    const char *text;
    size_t bytes;
} loci_lexicon;
void loci_value_write(loci_line *line, loci_value_kind kind, loci_rng *rng, loci_split split,
                      const loci_lexicon *lex);
/* For training: one word of an open vocabulary, of the text, made up or bent; never a test word. */
void loci_open_word_write(loci_line *line, loci_rng *rng, const loci_lexicon *lex);
/* n words of the text, lower-case letters all, in a row; false, and nothing written: none met. */
bool loci_phrase_write(loci_line *line, int n, loci_rng *rng, const loci_lexicon *lex);

/* ---- wordings (wordings.c, frames_*.c) -------------------------------------------
 * A wording is a lead, a body and a tail, each a frame of a table with one of its expansions. */
typedef enum {
    LOCI_SAY_NOTHING,
    LOCI_SAY_FACT,    /* {a} {k} {v}                                   */
    LOCI_SAY_SEVERAL, /* one of several values                         */
    LOCI_SAY_UPDATE,  /* a new value takes the place of the old one    */
    LOCI_SAY_BARE,    /* {a} {v}, no key                               */
    LOCI_SAY_ASSIGN,  /* {k} = {v}                                     */
    LOCI_SAY_MARKED,  /* {a} {k}: {v}, a passage                       */
    LOCI_SAY_CLAUSE,  /* {k} a mark, {v} what it says                  */
    LOCI_SAY_MOVE,    /* {k} somebody, {v} a place                     */
    LOCI_SAY_GET,     /* {k} somebody, {v} a thing                     */
    LOCI_SAY_DROP,
    LOCI_ASK,     /* {a} {k}; questions from here on               */
    LOCI_ASK_ALL, /* {s} or {a}, {k}                               */
    LOCI_ASK_LATEST,
    LOCI_ASK_NTH,  /* {v} "second"                                  */
    LOCI_ASK_LIST, /* {k} "the {a} of {k}, the {a} of {k}"          */
    LOCI_ASK_BARE, /* {a}                                           */
    LOCI_ASK_JSON, /* {k}                                           */
    LOCI_ASK_COPY, /* {a} {k}                                       */
    LOCI_ASK_VARIABLE,
    LOCI_ASK_CONFLICT, /* {k} the mark of a clause                     */
    LOCI_ASK_OPPOSE,   /* {k} what a clause says                       */
    LOCI_ASK_NEXT,     /* {k} words of the text                        */
    LOCI_ASK_BEFORE,
    LOCI_ASK_GAP,       /* {k} words with a gap                         */
    LOCI_ASK_DEFINED,   /* {k} a macro                                  */
    LOCI_ASK_ARGUMENTS, /* {k} a function                              */
    LOCI_ASK_FIELD,     /* {k} of a line "key: value"                   */
    LOCI_ASK_WHERE,     /* {k} somebody                                 */
    LOCI_ASK_THING,     /* {k} a thing                                  */
    LOCI_ASK_EARLIER,   /* {k} a thing, {v} a place                     */
    LOCI_SAYS
} loci_say;
typedef enum {
    LOCI_WORDING_LEAD,
    LOCI_WORDING_BODY,
    LOCI_WORDING_TAIL,
    LOCI_WORDING_PARTS
} loci_wording_part;
typedef struct {
    int frame[LOCI_WORDING_PARTS];
    int64_t choice[LOCI_WORDING_PARTS];
} loci_wording;
typedef struct {
    const char *attribute, *key, *value; /* those that the wording has no place for: NULL */
} loci_say_args;
/* Frames of one part, 0 for LOCI_SAY_NOTHING; expansions of one of them; all wordings. */
int loci_wording_frames(loci_say say, loci_split s, loci_wording_part part);
int64_t loci_wording_choices(loci_say say, loci_split s, loci_wording_part part, int frame);
int64_t loci_wording_count(loci_say say, loci_split s);
/* Leads and tails in a third of the draws each; frames alike, however many expansions they have. */
loci_wording loci_wording_draw(loci_say say, loci_split s, loci_rng *rng);
/* Add the wording w with its places, "{k}", as they are. */
void loci_wording_pattern(loci_line *line, loci_say say, loci_split s, const loci_wording *w);
bool loci_is_place(const char *c); /* do three bytes of a place stand here? */
/* Add the pattern with its places filled.  A capital first, unless a name stands there. */
void loci_wording_fill(loci_line *line, const char *pattern, const loci_say_args *args);
void loci_wording_write(loci_line *line, loci_say say, loci_split s, const loci_wording *w,
                        const loci_say_args *args);
/* Training's: disturbed by words of the text, misspelt, without a question mark (noise.c). */
void loci_noisy_write(loci_line *line, loci_say say, const loci_wording *w,
                      const loci_say_args *args, loci_rng *rng, const loci_lexicon *lex);
/* What the family says: up to LOCI_FAMILY_SAYS kinds, the rest LOCI_SAY_NOTHING. */
enum { LOCI_FAMILY_SAYS = 8 };
const loci_say *loci_family_says(loci_task_family f);

/* ---- attributes (attributes.c) --------------------------------------------------- */
/* What a value of this kind may be called: "access code" for digits. */
int loci_attribute_count(loci_value_kind kind, loci_split s);
const char *loci_attribute(loci_value_kind kind, loci_split s, int i);
/* Is it held out, the test half's or a fresh one, or has it one of these in it? */
bool loci_attribute_is_test(const char *attribute);
/* One of them, now and then with a word before it: "spare access code".  Training's are words of the
 * text and made-up ones in almost half of the draws: "window brass", for a value of any kind. */
void loci_attribute_write(loci_line *line, loci_value_kind kind, loci_rng *rng, loci_split s,
                          const loci_lexicon *lex);

/* attributes_fresh.c: those of fresh wordings, and words that may stand before them. */
typedef struct {
    const char *const *name;
    int n;
} loci_attributes;
/* A table of them, written out. */
#define LOCI_ATTRIBUTES(...)                                                                       \
    {                                                                                              \
        (const char *const[]){ __VA_ARGS__ },                                                      \
            (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *))                        \
    }
const loci_attributes *loci_attributes_fresh(loci_value_kind kind);
extern const loci_attributes loci_attributes_fresh_before;

/* ---- families (plan.c draws the units, families.c says and asks) ------------------
 * A unit is what one question is about: a key with its values, a passage or a chain. */
enum { LOCI_UNIT_FACTS = 6, LOCI_UNIT_VALUES = 4 };
typedef struct {
    loci_key key;                      /* prose families: for making near-duplicates */
    const char *name[LOCI_UNIT_FACTS]; /* [0]; variable: the chain, root first       */
    const char *value[LOCI_UNIT_VALUES];
    const char *attribute; /* NULL for kv and variable */
    loci_value_kind kind;
    bool bare;               /* its fact names no key: name[0] is the attribute */
    int n_facts;             /* facts that state it, >= 1           */
    int n_said;              /* of these, emitted so far            */
    int bystander;           /* conflict: the fact that contradicts none, -1: there is none */
    int n_asked;             /* variable: questions about the chain */
    int first_asked;         /* variable: how far from its end the first of them was */
    int at[LOCI_UNIT_FACTS]; /* their indices in the item, in order */
} loci_unit;
typedef struct {
    const loci_task_options *opt;
    loci_rng rng;
    loci_string_pool pool;
    loci_string_set names, values; /* given out in this item */
    loci_unit *unit;               /* (n_units) owned        */
    int n_units;
    loci_wording style; /* variable: the statement form of this item */
    bool mixed;         /* variable: each statement has a form of its own instead */
    loci_lexicon lex;   /* the options' text                         */
    int key_digits;     /* kv: hex digits of a key, or LOCI_HEX_UUID    */
    int n_near;         /* needle, absent: near-duplicates still to make */
    loci_line line;     /* scratch */
} loci_maker;
static inline bool loci_rng_chance(loci_rng *rng, float p)
{
    return loci_rng_unit(rng) < (double)p;
}
/* Draw all units: names, values, how many facts each.  Returns the number of facts. */
int loci_maker_plan(loci_maker *m);
/* Make *u, a copy of a unit, one that no fact is about: a key that no fact names, half of the time a
 * near-duplicate; or its key with another attribute; without a key another attribute. */
void loci_maker_make_absent(loci_maker *m, loci_unit *u);
/* The line of m, kept, if it is new among the names of the item; else NULL. */
const char *loci_maker_new_name(loci_maker *m);
const char *loci_maker_new_mark(loci_maker *m);

/* The line with `say` in it, kept. */
const char *loci_maker_say(loci_maker *m, loci_say say, const loci_say_args *args);
extern const char loci_not_stated[];
/* The next fact of unit u; i is its index in the item of n facts. */
loci_fact loci_maker_fact(loci_maker *m, int u, int i, int n);
loci_question loci_maker_question(loci_maker *m, int u);

/* clauses.c: the plan and the questions of pairs that contradict each other. */
void loci_clauses_plan(loci_maker *m);
/* A word of training's clauses with an ending. */
void loci_clause_word_write(loci_line *line, const char *ending, loci_rng *rng,
                            const loci_lexicon *lex);
/* clashes.c: two sentences about the subject that cannot both hold, of any kind but number `but`;
 * returns the kind. */
int loci_clash_draw(loci_maker *m, const char *subject, int but, const char *side[2]);
loci_question loci_clauses_question(loci_maker *m, const loci_unit *unit);

/* stories.c, extract.c: a whole item.  item->n_questions may come out smaller, at least 1.
 * LOCI_ENOMEM; LOCI_ENOTFOUND the text holds nothing to ask about. */
loci_status loci_story_make(loci_task_item *item, loci_maker *m, loci_error *err);
loci_status loci_extract_make(loci_task_item *item, loci_maker *m, loci_error *err);

#endif
