/* frames.h - the tables of sentence frames: what the two files of frames and wordings.c share.
 *
 * A frame is text with places and choices:
 *
 *   {a} attribute   {s} its plural   {k} key   {v} value   [of|for] one of these, may be empty
 *
 * Train and test tables of one kind share no frame, and no train frame can be expanded to a test
 * one (tests/task/test_wordings.c). */
#ifndef LOCI_TASK_FRAMES_H
#define LOCI_TASK_FRAMES_H

#include "task/task_impl.h"

typedef struct {
    const char *const *text;
    int n;
} loci_frames;

typedef struct { /* what stands before, the sentence, what stands behind */
    loci_frames part[LOCI_WORDING_PARTS];
} loci_speech;

/* A table of both halves: NAME_train and NAME_test. */
#define TRAIN(name) static const char *const name##_train[] =
#define TEST(name)  static const char *const name##_test[] =
#define FRAMES(table)                                                                              \
    {                                                                                              \
        table, (int)(sizeof(table) / sizeof *(table))                                              \
    }

/* frames_say.c, frames_ask.c: the tables of a kind of sentence; n = 0 in all parts where the file
 * does not have it. */
loci_speech loci_speech_say(loci_say say, loci_split s);
loci_speech loci_speech_ask(loci_say say, loci_split s);
/* frames_plain.c: facts and questions without choices, leads and tails. */
loci_speech loci_speech_plain(loci_say say);

#endif
