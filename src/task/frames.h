/* frames.h - the tables of sentence frames: what the files of frames and wordings.c share.
 *
 * A frame is text with places, choices and words of a list:
 *
 *   {a} attribute   {s} its plural   {k} key   {v} value
 *   [of|for] one of these, may be empty   <of> one of the list `of` (frames_words.c), never in a choice
 *   \[ \< \{ the character itself
 *
 * Train and test tables of one kind share no frame, and no train frame can be expanded to a test
 * one; frames_fresh.c shares none with either (tests/task/test_wordings.c). */
#ifndef LOCI_TASK_FRAMES_H
#define LOCI_TASK_FRAMES_H

#include "task/task_impl.h"

typedef struct loci_frames {
    const char *const *text;
    int n;
    const struct loci_frames *const *more; /* tables of other files, behind this one; NULL ends */
} loci_frames;

typedef struct { /* what stands before, the sentence, what stands behind */
    loci_frames part[LOCI_WORDING_PARTS];
} loci_speech;

/* A table of both halves: NAME_train and NAME_test. */
#define TRAIN(name) static const char *const name##_train[] =
#define TEST(name)  static const char *const name##_test[] =
#define FRAMES(table)                                                                              \
    {                                                                                              \
        table, (int)(sizeof(table) / sizeof *(table)), NULL                                        \
    }
/* The same, with the tables of `parts` behind it: const loci_frames *const parts[] = { ..., NULL }. */
#define FRAMES_AND(table, parts)                                                                   \
    {                                                                                              \
        table, (int)(sizeof(table) / sizeof *(table)), parts                                       \
    }

/* Parts of training's tables: frames_story.c. */
extern const loci_frames loci_frames_move, loci_frames_get, loci_frames_drop, loci_frames_ask_where,
    loci_frames_ask_thing, loci_frames_ask_earlier;
/* The same: frames_scene.c. */
extern const loci_frames loci_frames_move_more, loci_frames_get_more, loci_frames_drop_more,
    loci_frames_ask_where_more, loci_frames_ask_thing_more, loci_frames_ask_earlier_more;
/* The same: frames_record.c. */
extern const loci_frames loci_frames_assign, loci_frames_marked, loci_frames_ask_json,
    loci_frames_ask_copy, loci_frames_ask_variable;
/* The same: frames_chain.c. */
extern const loci_frames loci_frames_assign_more, loci_frames_ask_variable_more;
/* The same: frames_clause.c. */
extern const loci_frames loci_frames_clause, loci_frames_ask_conflict, loci_frames_ask_oppose;
/* The same: frames_dispute.c. */
extern const loci_frames loci_frames_clause_more, loci_frames_ask_conflict_more,
    loci_frames_ask_oppose_more;
/* Frames of a table with all that stands behind it; frame i of them. */
int loci_frames_count(const loci_frames *f);
const char *loci_frames_at(const loci_frames *f, int i);

/* Leads, tails and bodies, of train or test; n = 0 where the file does not have them. */
loci_frames loci_frames_lead(loci_say say, loci_split s);
extern const loci_frames loci_frames_lead_fact; /* training's, a part: frames_lead_fact.c */
/* The same: frames_lead_more.c. */
extern const loci_frames loci_frames_question_lead_more, loci_frames_question_tail_more,
    loci_frames_fact_lead_more;
loci_frames loci_frames_tail(loci_say say, loci_split s);
loci_frames loci_frames_fact(loci_say say, loci_split s);
/* Parts of training's facts: frames_fact_*.c, frames_several*.c, frames_update*.c. */
extern const loci_frames loci_frames_fact_amid, loci_frames_fact_prose, loci_frames_fact_talk,
    loci_frames_fact_forms, loci_frames_fact_novel, loci_frames_fact_trades,
    loci_frames_fact_syntax, loci_frames_fact_far, loci_frames_fact_machine,
    loci_frames_fact_voices, loci_frames_fact_turns, loci_frames_several, loci_frames_update,
    loci_frames_several_amid, loci_frames_update_amid, loci_frames_several_more,
    loci_frames_update_more;
/* Facts and questions without a key, train and test: frames_bare.c. */
extern const loci_frames loci_frames_bare[2], loci_frames_ask_bare[2];
extern const loci_frames loci_frames_bare_more; /* training's, a part: frames_bare_more.c */
loci_frames loci_frames_say(loci_say say, loci_split s);
loci_frames loci_frames_ask(loci_say say, loci_split s);
/* What loci_frames_ask chooses among, train and test: frames_ask_all.c, _time.c, _nth.c, _list.c. */
extern const loci_frames loci_frames_ask_all[2], loci_frames_ask_latest[2], loci_frames_ask_nth[2],
    loci_frames_ask_list[2];
/* More questions for one value, of training: frames_ask_talk.c, _form.c, _scene.c, _voice.c, _shape.c,
 * _code.c. */
extern const loci_frames loci_frames_ask_talk, loci_frames_ask_form, loci_frames_ask_scene,
    loci_frames_ask_voice, loci_frames_ask_shape, loci_frames_ask_code;
/* More of the others, of training: frames_ask_all_more.c, _time_more.c, _nth_more.c, _list_more.c. */
extern const loci_frames loci_frames_ask_all_more, loci_frames_ask_latest_more,
    loci_frames_ask_nth_more, loci_frames_ask_list_more, loci_frames_ask_bare_more,
    loci_frames_ask_json_more, loci_frames_ask_copy_more;
loci_frames loci_frames_look(loci_say say, loci_split s);
/* frames_plain.c: facts and questions without choices, leads and tails. */
loci_speech loci_speech_plain(loci_say say);
/* frames_fresh.c: the second held-out set, all kinds of sentence. */
loci_speech loci_speech_fresh(loci_say say);
/* The three parts of a kind of sentence (wordings.c). */
loci_speech loci_speech_of(loci_say say, loci_split s);
/* Expansions of one frame; add number `choice` of them, its places as they are. */
int64_t loci_frame_expansions(const char *frame);
void loci_frame_expand(loci_line *line, const char *frame, int64_t choice);
/* The list that "name>" begins with, alternatives apart by '|'; NULL: there is none. */
const char *loci_frame_words(const char *name);

#endif
