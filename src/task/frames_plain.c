/* frames_plain.c - the sentences that the first small model was trained on: for showing what it can do.
 * Training's tables have all of them in other words, and many more. */
#include "task/frames.h"

static const char *const none[] = { "" };

static const char *const fact[] = {
    "the {a} of {k} is {v}.",
    "the {a} for {k} is {v}.",
    "the {a} assigned to {k} is {v}.",
    "anyone looking for the {a} of {k} should use {v}.",
    "the {a} that belongs to {k} is {v}.",
    "we have {v} on file as the {a} of {k}.",
    "the {a} of {k} was set to {v}.",
    "in any matter of {k}, use {v} as the {a}.",
    "our notes give {v} as the {a} of {k}.",
    "the {a} recorded for {k} reads {v}.",
    "everyone agreed that the {a} of {k} would be {v}.",
};

static const char *const ask[] = {
    "what is the {a} of {k}?",       "which {a} does {k} have?",
    "what {a} belongs to {k}?",      "give the {a} of {k}.",
    "what was the {a} of {k}?",      "can you name the {a} of {k}?",
    "tell me the {a} for {k}.",      "what is the {a} for {k}?",
    "which {a} was stated for {k}?", "what does the text give as the {a} of {k}?",
};

loci_speech loci_speech_plain(loci_say say)
{
    static const loci_speech facts = { { FRAMES(none), FRAMES(fact), FRAMES(none) } };
    static const loci_speech questions = { { FRAMES(none), FRAMES(ask), FRAMES(none) } };
    return say == LOCI_ASK ? questions : facts;
}
