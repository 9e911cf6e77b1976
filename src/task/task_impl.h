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
int loci_word_draw(loci_word_class c, loci_rng *rng, loci_split split); /* an index */

/* ---- names (names.c) -------------------------------------------------------- */
typedef enum {
    LOCI_KEY_PLACE,   /* the amber falcon of Corvath */
    LOCI_KEY_PROJECT, /* project Larkin              */
    LOCI_KEY_USER,    /* user 48213                  */
    LOCI_KEY_FILE,    /* larkin-ledger-3.txt         */
    LOCI_KEY_EMAIL,   /* larkin@corvath.net          */
    LOCI_KEY_PERSON,  /* Mavel Orrin                 */
    LOCI_KEY_KINDS
} loci_key_kind;
enum { LOCI_NAME_MAX = 16 };
typedef struct {
    loci_key_kind kind;
    int word[2];     /* place: adjective, noun; file: noun, ending */
    uint32_t number; /* user, file */
    char name[2][LOCI_NAME_MAX];
} loci_key;
/* A key of one half, of any kind. */
void loci_key_draw(loci_key *key, loci_rng *rng, loci_split split);
/* Change one part of it: a word, a letter or a digit.  Kind and half stay. */
void loci_key_near(loci_key *key, loci_rng *rng, loci_split split);
void loci_key_write(loci_line *line, const loci_key *key);
/* Short marks for variables and passages: QX4, RM27, LKT8.  Half by hash. */
void loci_mark_write(loci_line *line, loci_rng *rng, loci_split split);
/* JSON keys: 8 hex digits, or the 8-4-4-4-12 shape.  Half by hash. */
void loci_hex_name_write(loci_line *line, loci_rng *rng, loci_split split, bool uuid);
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
    LOCI_VALUE_PASSAGE, /* 4-12 words, for copy */
    LOCI_VALUE_KINDS
} loci_value_kind;
loci_value_kind loci_value_draw_kind(loci_rng *rng); /* any but a passage */
void loci_value_write(loci_line *line, loci_value_kind kind, loci_rng *rng, loci_split split);

/* ---- wordings (wordings.c, attributes.c) ---------------------------------------
 * A wording is a lead ("For the record, ") and a body ("the {a} of {k} is {v}."); index
 * lead * n_bodies + body.  {a} attribute, {s} its plural, {k} key, {v} value. */
typedef enum { LOCI_SAY_FACT, LOCI_SAY_UPDATE, LOCI_SAY_QUESTION, LOCI_SAY_ROLES } loci_say;
typedef struct {
    const char *attribute, *key, *value; /* those that the wording has no place for: NULL */
} loci_say_args;
/* 0 when the family says nothing in this role. */
int loci_wording_count(loci_task_family f, loci_split s, loci_say role);
/* A wording, plain (lead 0, no lead) in one of three draws. */
int loci_wording_draw(loci_task_family f, loci_split s, loci_say role, loci_rng *rng);
/* Fill wording i; args NULL leaves the places as they are.  The first letter becomes a capital. */
void loci_wording_write(loci_line *line, loci_task_family f, loci_split s, loci_say role, int i,
                        const loci_say_args *args);
/* What a value of this kind may be called: "access code" for digits. */
int loci_attribute_count(loci_value_kind kind, loci_split s);
const char *loci_attribute(loci_value_kind kind, loci_split s, int i);

/* ---- families (families.c) ------------------------------------------------------
 * A unit is what one question is about: a key with its values, a passage or a chain. */
enum { LOCI_UNIT_FACTS = 6, LOCI_UNIT_VALUES = 4 };
typedef struct {
    loci_key key;                      /* prose families: for making near-duplicates */
    const char *name[LOCI_UNIT_FACTS]; /* [0]; variable: the chain, root first       */
    const char *value[LOCI_UNIT_VALUES];
    const char *attribute; /* NULL for kv and variable */
    loci_value_kind kind;
    int n_facts;             /* facts that state it, >= 1           */
    int n_said;              /* of these, emitted so far            */
    int at[LOCI_UNIT_FACTS]; /* their indices in the item, in order */
} loci_unit;
typedef struct {
    const loci_task_options *opt;
    loci_rng rng;
    loci_string_pool pool;
    loci_string_set names, values; /* given out in this item */
    loci_unit *unit;               /* (n_units) owned        */
    int n_units;
    int style;      /* variable: the statement form of this item    */
    bool uuid;      /* kv: shape of the keys                        */
    int n_near;     /* needle, absent: near-duplicates still to make */
    loci_line line; /* scratch */
} loci_maker;
/* Draw all units: names, values, how many facts each.  Returns the number of facts. */
int loci_maker_plan(loci_maker *m);
/* The next fact of unit u; i is its index in the item of n facts. */
loci_fact loci_maker_fact(loci_maker *m, int u, int i, int n);
loci_question loci_maker_question(loci_maker *m, int u);

#endif
