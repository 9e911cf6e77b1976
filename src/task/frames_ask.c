/* frames_ask.c - how questions are asked.  frames.h has what the brackets mean.
 *
 * Questions, orders, half sentences and requests with a reason; some say how to answer.  The answer
 * is the same for all of them: the value alone, as the text has it. */
#include "task/frames.h"

/* ---- leads and tails --------------------------------------------------------- */

TRAIN(question_lead){
    "",
    "From the text above, ",
    "Based on the text, ",
    "According to the text, ",
    "Question: ",
    "Using only the text, ",
    "As stated in the text, ",
    "Going by the passage, ",
    "Looking back, ",
    "From what you read, ",
    "In the text above, ",
    "Given the notes, ",
    "From memory, ",
    "As far as the text says, ",
    "Considering the document, ",
    "Here is a question: ",
    "Quick question: ",
    "With the text in mind, ",
    "Judging by the notes, ",
    "To finish, ",
    "A short one: ",
    "In your own reading, ",
    "[Please|Kindly] read the [text|notes|file] and answer: ",
    "You are [an assistant|a careful reader|a clerk with a good memory]. ",
    "[Hello|Hi|Excuse me]! ",
    "[Look|Search] in the [text|documents|files]: ",
    "[Read|Use] the [documents|context] and answer. ",
    "Task: ",
    "I have [one|a last] question: ",
    "[Tell|Help] me, ",
};
TEST(question_lead){
    "",
    "In light of the above, ",
    "By the document, ",
    "Per the text, ",
    "Asked plainly: ",
    "From the pages above, ",
    "Having read everything, ",
    "Relying on the document, ",
    "As the passage tells it, ",
    "Following the notes, ",
    "Out of the whole text, ",
    "Drawing on what was written, ",
    "Query: ",
    "Checking the record, ",
    "Answer this: ",
    "Next question: ",
    "Thinking of the story, ",
    "Recalling the document, ",
    "In view of the notes, ",
    "Going through the pages, ",
    "As written, ",
    "One thing to look up: ",
};

TRAIN(question_tail){
    "",
    " Answer [briefly|exactly|with the value only|in as few words as possible].",
    " Reply with [just|only] the answer.",
    " [No|Give no] explanation.",
    " If the text does not say it, answer: not stated.",
    " [Thanks|Thank you].",
    " Answer:",
};
TEST(question_tail){
    "",
    " Keep the answer short.",
    " Only what was asked for, please.",
    " Should it be missing, say not stated.",
};

/* ---- questions ------------------------------------------------------------------ */

TRAIN(ask){
    "what [is|was] the {a} [of|for|belonging to|assigned to] {k}?",
    "which {a} does {k} [have|use|carry]?",
    "which {a} [is|was] [stated|recorded|set|used] for {k}?",
    "what {a} [belongs|belonged] to {k}?",
    "what {a} [does|did] {k} [have|use|get]?",
    "[give|tell|show|name|write|provide|return|print|fetch] the {a} [of|for] {k}.",
    "[give|tell|show] me the {a} [of|for] {k}.",
    "can you [name|give|tell me|write] the {a} of {k}?",
    "what does the text give as the {a} of {k}?",
    "[I need|I want|I am looking for|someone asks for] the {a} of {k}.",
    "{a} of {k}?",
    "{k}: {a}?",
    "{k} - what is the {a}?",
    "{k} has which {a}?",
    "[complete|finish] the line: the {a} of {k} is ...",
    "[extract|retrieve|quote|copy] the {a} of {k} [from the text|word for word|exactly].",
    "if [someone|a visitor|a customer] asked you for the {a} of {k}, what would you say?",
    "under which {a} is {k} [listed|known|filed]?",
    "{k} is mentioned with a certain {a}. [Which one|What is it]?",
    "what should [be used|be entered|I type] as the {a} of {k}?",
    "the text mentions {k}. What is its {a}?",
    "do the notes give the {a} of {k}? If so, what is it?",
    "[how|in what words] would you answer a question for the {a} of {k}?",
    "the {a} of {k}, what is it?",
};
TEST(ask){
    "what {a} goes with {k}?",       "state the {a} of {k}.",
    "do you recall the {a} of {k}?", "which {a} is tied to {k}?",
    "find the {a} that {k} has.",    "please report the {a} of {k}.",
    "the {a} of {k} is what?",       "what is said to be the {a} of {k}?",
    "what {a} was noted for {k}?",   "could you look up the {a} of {k}?",
};

TRAIN(ask_all){
    "what are all the {s} of {k}, in order?",
    "which {s} does {k} have, in order?",
    "[list|name|write] [the|all] {s} of {k} in order.",
    "give every {a} of {k} in order.",
    "what {s} belong to {k}, first to last?",
    "can you name all {s} of {k} in order?",
    "tell me each {a} for {k} in order.",
    "what are the {s} for {k}, in the order given?",
    "which {s} were stated for {k}, in order?",
    "what does the text give as the {s} of {k}, in order?",
    "{k} has several {s}. [List them|Name them all] in order.",
    "{k}: all {s}, in order?",
    "[collect|gather|write down] the {s} of {k}, apart by commas.",
    "every {a} of {k}, from the first to the last?",
};
TEST(ask_all){
    "what {s} go with {k}, one after the other?",
    "state all {s} of {k} as they come.",
    "do you recall every {a} of {k} in sequence?",
    "which {s} are tied to {k}, in sequence?",
    "find all the {s} that {k} has, as they come.",
    "please report the {s} of {k} in sequence.",
    "the {s} of {k} are what, from first to last?",
    "what are said to be the {s} of {k}, in sequence?",
    "what {s} were noted for {k}, earliest first?",
    "could you look up each {a} of {k}, earliest first?",
};

TRAIN(ask_latest){
    "what is the current {a} of {k}?",
    "which {a} does {k} have now?",
    "what {a} belongs to {k} now?",
    "give the current {a} of {k}.",
    "what is the last {a} stated for {k}?",
    "what is the {a} of {k} now?",
    "tell me the newest {a} for {k}.",
    "what is the {a} for {k} after all changes?",
    "which {a} of {k} is valid now?",
    "what does the text give as the current {a} of {k}?",
    "the {a} of {k} has changed. What is it [now|today]?",
    "{k}: {a}, latest value?",
    "[use|take] the last change: what is the {a} of {k}?",
    "what did the {a} of {k} become in the end?",
};
TEST(ask_latest){
    "what {a} goes with {k} at the end?",    "state the most recent {a} of {k}.",
    "do you recall the present {a} of {k}?", "which {a} is tied to {k} in the end?",
    "find the {a} that {k} has at present.", "please report the present {a} of {k}.",
    "the final {a} of {k} is what?",         "what is said to be the {a} of {k} as things stand?",
    "what {a} was noted last for {k}?",      "could you look up the most recent {a} of {k}?",
};

TRAIN(ask_nth){
    "what is the {v} {a} [of|for] {k}?",
    "which {a} of {k} was stated {v}?",
    "[give|tell me|name] the {v} {a} of {k}.",
    "the {s} of {k} come in an order. Which one is {v}?",
    "{k}: the {v} {a}?",
    "in the order of the text, what is the {v} {a} of {k}?",
};
TEST(ask_nth){
    "of the {s} that {k} has, which comes {v}?",
    "state the {v} {a} noted for {k}.",
    "what {a} of {k} stands in {v} place?",
};

TRAIN(ask_list){
    "what are {k}?",
    "[give|list|name|write] {k}, in this order.",
    "[give|tell] me {k}.",
    "I need several things: {k}.",
    "answer in one line, apart by commas: {k}?",
    "what does the text say of {k}?",
};
TEST(ask_list){
    "please report {k}, one after the other.",
    "could you look up {k}?",
    "state {k} as they were asked for.",
};

TRAIN(ask_json){
    "what is the value of key {k}?",
    "which value does the key {k} have?",
    "what value belongs to key {k}?",
    "give the value of key {k}.",
    "what value is stored under {k}?",
    "can you name the value of key {k}?",
    "tell me the value for key {k}.",
    "what does the object hold under {k}?",
    "which value was stored for {k}?",
    "what is the JSON value for {k}?",
    "[extract|get|read|fetch] the value [of|for|at] [key |]\"{k}\".",
    "\"{k}\": what?",
    "key: \"{k}\". [Corresponding value|Value]?",
    "in the JSON [object|data], what [is|does one find] under \"{k}\"?",
};
TEST(ask_json){
    "what value goes with key {k}?",       "state the value of {k}.",
    "do you recall the value at key {k}?", "which value is tied to {k}?",
    "find the value that {k} maps to.",    "please report the value under key {k}.",
    "the key {k} maps to what?",           "what is said to be the value at {k}?",
    "what value was noted under {k}?",     "could you look up key {k}?",
};

TRAIN(ask_copy){
    "repeat {a} {k} word by word.",
    "what does {a} {k} say?",
    "what is the text of {a} {k}?",
    "give the words of {a} {k}.",
    "what was {a} {k}?",
    "can you repeat {a} {k}?",
    "copy {a} {k} exactly.",
    "what are the words of {a} {k}?",
    "which words does {a} {k} have?",
    "tell me {a} {k} word by word.",
    "[print|show|read out|transcribe] {a} {k}.",
    "{a} {k}, [the whole of it|complete], please.",
    "I need {a} {k} exactly as it stands.",
};
TEST(ask_copy){
    "recite {a} {k}.",
    "how does {a} {k} go?",
    "state {a} {k} in full.",
    "what words make up {a} {k}?",
    "do you recall {a} {k}?",
    "quote all of {a} {k}.",
    "what stands in {a} {k}?",
    "please write out {a} {k}.",
    "which words are in {a} {k}?",
    "could you look up {a} {k}?",
};

TRAIN(ask_variable){
    "what is the value of {k}?",
    "what is {k}?",
    "which number does {k} have?",
    "give the value of {k}.",
    "what number is {k}?",
    "can you name the value of {k}?",
    "tell me the number that {k} has.",
    "what value does {k} hold?",
    "which value was given to {k}?",
    "what does {k} equal?",
    "[evaluate|print|compute] {k}.",
    "follow the assignments: what is {k}?",
};
TEST(ask_variable){
    "what number goes with {k}?",           "state the number in {k}.",
    "do you recall the value of {k}?",      "which value ends up in {k}?",
    "find the number that {k} stands for.", "please report {k}.",
    "the variable {k} equals what?",        "what is said to be in {k}?",
    "what number does {k} resolve to?",     "could you work out {k}?",
};

TRAIN(ask_conflict){
    "which [clause|rule|article] contradicts {k}?",
    "{k} is contradicted by another [clause|rule]. Which?",
    "[name|give] the [clause|rule] that cannot hold together with {k}.",
    "what contradicts {k}?",
    "is {k} contradicted anywhere? By what?",
};
TEST(ask_conflict){
    "which provision stands against {k}?",
    "state the paragraph at odds with {k}.",
    "what item disagrees with {k}?",
};
TRAIN(ask_oppose){
    "which [clause|rule|article] contradicts this: {k}?",
    "\"{k}\" - which [clause|rule] says otherwise?",
    "[name|give] the clause that denies that {k}.",
};
TEST(ask_oppose){
    "which provision disagrees with the statement that {k}?",
    "state the paragraph that rules out that {k}.",
};

/* ---- questions about the text itself ---------------------------------------------------- */

TRAIN(ask_next){
    "what comes [right |]after \"{k}\"?",
    "how does the text go on after \"{k}\"?",
    "[continue|complete]: \"{k}\" ...",
    "which words follow \"{k}\"?",
    "[quote|copy|give] what stands behind \"{k}\".",
};
TEST(ask_next){
    "in what words does \"{k}\" go on?",
    "state what the text has next to \"{k}\", on its right.",
};
TRAIN(ask_before){
    "what comes [right |]before \"{k}\"?",
    "which words stand before \"{k}\"?",
    "[quote|copy|give] what leads up to \"{k}\".",
};
TEST(ask_before){
    "with what words is \"{k}\" preceded?",
    "state what the text has to the left of \"{k}\".",
};
TRAIN(ask_gap){
    "which word is missing in \"{k}\"?",
    "[fill|close] the gap: \"{k}\".",
    "what stands in place of ___ in \"{k}\"?",
    "\"{k}\": what belongs into the gap?",
};
TEST(ask_gap){
    "what word was left out of \"{k}\"?",
    "find what the blank in \"{k}\" stands for.",
};
TRAIN(ask_defined){
    "[what is|how is] {k} defined[| as]?",
    "what is the value of the macro {k}?",
    "give the definition of {k}.",
    "[what|which value] does {k} expand to?",
};
TEST(ask_defined){
    "what does #define give for {k}?",
    "what stands behind {k} in its definition?",
};
TRAIN(ask_arguments){
    "what are the [arguments|parameters] of {k}?",
    "which [arguments|parameters] does {k} take?",
    "give the parameter list of {k}.",
    "how is {k} declared? Give what is in the brackets.",
};
TEST(ask_arguments){
    "with what arguments is {k} called for?",
    "state what {k} expects in its brackets.",
};
TRAIN(ask_field){
    "what is given [for|as|under] \"{k}\"?",
    "what does the line \"{k}\" say?",
    "\"{k}\": what follows?",
    "give the entry for \"{k}\".",
};
TEST(ask_field){
    "what was noted under \"{k}\"?",
    "state the content of the field \"{k}\".",
};

/* ---- questions about stories --------------------------------------------------------------- */

TRAIN(ask_where){
    "where is {k}?",           "where is {k} now?",      "in which [room|place] is {k}?",
    "where can {k} be found?", "where did {k} go last?",
};
TEST(ask_where){ "what place is {k} in at the end?", "find {k}. In which place?" };
TRAIN(ask_thing){
    "where is the {k}?",
    "where is the {k} now?",
    "in which [room|place] is the {k}?",
    "where can the {k} be found?",
};
TEST(ask_thing){ "what place is the {k} in at the end?", "find the {k}. In which place?" };
TRAIN(ask_earlier){
    "where was the {k} before the {v}?",
    "before the {v}, where was the {k}?",
    "where had the {k} been before it was in the {v}?",
};
TEST(ask_earlier){
    "what place was the {k} in just before the {v}?",
    "from where did the {k} come to the {v}?",
};

/* ---- which tables make a question ------------------------------------------------ */

#define SPEECH(body)                                                                               \
    {                                                                                              \
        { { FRAMES(question_lead_train), FRAMES(body##_train), FRAMES(question_tail_train) } },    \
        {                                                                                          \
            {                                                                                      \
                FRAMES(question_lead_test), FRAMES(body##_test), FRAMES(question_tail_test)        \
            }                                                                                      \
        }                                                                                          \
    }
static const loci_speech speech[][2] = {
    [LOCI_ASK - LOCI_ASK] = SPEECH(ask),
    [LOCI_ASK_ALL - LOCI_ASK] = SPEECH(ask_all),
    [LOCI_ASK_LATEST - LOCI_ASK] = SPEECH(ask_latest),
    [LOCI_ASK_NTH - LOCI_ASK] = SPEECH(ask_nth),
    [LOCI_ASK_LIST - LOCI_ASK] = SPEECH(ask_list),
    [LOCI_ASK_JSON - LOCI_ASK] = SPEECH(ask_json),
    [LOCI_ASK_COPY - LOCI_ASK] = SPEECH(ask_copy),
    [LOCI_ASK_VARIABLE - LOCI_ASK] = SPEECH(ask_variable),
    [LOCI_ASK_CONFLICT - LOCI_ASK] = SPEECH(ask_conflict),
    [LOCI_ASK_OPPOSE - LOCI_ASK] = SPEECH(ask_oppose),
    [LOCI_ASK_NEXT - LOCI_ASK] = SPEECH(ask_next),
    [LOCI_ASK_BEFORE - LOCI_ASK] = SPEECH(ask_before),
    [LOCI_ASK_GAP - LOCI_ASK] = SPEECH(ask_gap),
    [LOCI_ASK_DEFINED - LOCI_ASK] = SPEECH(ask_defined),
    [LOCI_ASK_ARGUMENTS - LOCI_ASK] = SPEECH(ask_arguments),
    [LOCI_ASK_FIELD - LOCI_ASK] = SPEECH(ask_field),
    [LOCI_ASK_WHERE - LOCI_ASK] = SPEECH(ask_where),
    [LOCI_ASK_THING - LOCI_ASK] = SPEECH(ask_thing),
    [LOCI_ASK_EARLIER - LOCI_ASK] = SPEECH(ask_earlier),
};

loci_speech loci_speech_ask(loci_say say, loci_split s)
{
    return speech[say - LOCI_ASK][s];
}
