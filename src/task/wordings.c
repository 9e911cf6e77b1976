/* wordings.c - how facts and questions are said: a lead ("For the record, ") and a body ("the
 * {a} of {k} is {v}."), put together to at least 200 wordings a table.
 *
 *   {a} attribute   {s} its plural   {k} key   {v} value
 *
 * Leads are adverbials or clauses that go before any body.  No body begins with a key or a
 * value, whose first letter must stay as it is.  Train and test share no lead but the empty one
 * and no body, so no wording of one half is found in the other. */
#include "task/task_impl.h"

typedef struct {
    const char *const *text;
    int n;
} frames;
#define FRAMES(table)                                                                              \
    {                                                                                              \
        table, (int)(sizeof(table) / sizeof *(table))                                              \
    }
/* A table of both halves: NAME_train and NAME_test. */
#define HALVES(name)                                                                               \
    {                                                                                              \
        FRAMES(name##_train), FRAMES(name##_test)                                                  \
    }
#define TRAIN(name) static const char *const name##_train[] =
#define TEST(name)  static const char *const name##_test[] =

/* ---- leads ----------------------------------------------------------------- */

TRAIN(plain){ "" };
TEST(plain){ "" };

TRAIN(fact_lead){
    "",
    "For the record, ",
    "Note that ",
    "Please remember that ",
    "According to the ledger, ",
    "As agreed last week, ",
    "It was confirmed that ",
    "Just so you know, ",
    "In case anyone asks, ",
    "Reminder: ",
    "As the report says, ",
    "One more thing: ",
    "By the way, ",
    "Our files show that ",
    "Keep in mind that ",
    "To be clear, ",
    "As of this morning, ",
    "After some checking, ",
    "The manager noted that ",
    "Before we go on, ",
    "Important: ",
    "On the last page we read that ",
};
TEST(fact_lead){
    "",
    "On a side note, ",
    "Bear in mind that ",
    "Per the latest memo, ",
    "It turns out that ",
    "For your information, ",
    "Do not forget that ",
    "Attention: ",
    "As we were told, ",
    "Among other things, ",
    "The archive states that ",
    "Incidentally, ",
    "In short, ",
    "A small remark: ",
    "According to the old diary, ",
    "The caretaker mentioned that ",
    "After a long search we learned that ",
    "At the last count, ",
    "It is written that ",
    "From what we heard, ",
    "To repeat, ",
    "Somebody at the desk added that ",
};

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

/* ---- facts ------------------------------------------------------------------- */

TRAIN(fact){
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
TEST(fact){
    "the {a} linked to {k} is {v}.",
    "the {a} given to {k} was {v}.",
    "people who ask about {k} are told that the {a} is {v}.",
    "in the register, {k} stands beside the {a} {v}.",
    "the clerk wrote down {v} as the {a} of {k}.",
    "when it comes to {k}, the {a} is {v}.",
    "the correct {a} of {k} happens to be {v}.",
    "you will need {v}, which is the {a} of {k}.",
    "there is one {a} for {k}, namely {v}.",
    "the {a} printed next to {k} says {v}.",
    "they chose {v} to be the {a} of {k}.",
};

TRAIN(several){
    "one {a} of {k} is {v}.",
    "the {a} of {k} may be {v}.",
    "among the {s} of {k} is {v}.",
    "the list of {s} for {k} has {v} on it.",
    "one of the {s} that belong to {k} is {v}.",
    "we also have {v} as a valid {a} of {k}.",
    "the {s} of {k} include {v}.",
    "there is one {a} entry for {k} that reads {v}.",
    "our notes count {v} among the {s} of {k}.",
    "the {s} kept for {k} contain {v}.",
};
TEST(several){
    "as one {a}, {k} has {v}.",
    "the {s} linked to {k} include {v}.",
    "next to {k} the {a} {v} is listed.",
    "for {k}, one known {a} is {v}.",
    "among all {s} given to {k} we find {v}.",
    "the clerk put {v} under the {s} of {k}.",
    "they chose {v} to be one more {a} of {k}.",
    "the register shows {v} in the row of {s} for {k}.",
    "one may use {v} where some {a} of {k} is asked for.",
    "people count {v} as one {a} of {k}.",
};

TRAIN(update){
    "the {a} of {k} has been changed to {v}.",
    "the {a} of {k} is now {v}.",
    "the {a} for {k} was updated to {v}.",
    "from now on the {a} of {k} is {v}.",
    "the old {a} of {k} no longer holds and {v} takes its place.",
    "the new {a} of {k} is {v}.",
    "the {a} assigned to {k} has become {v}.",
    "we replaced the {a} of {k} by {v}.",
    "a change was made and the {a} of {k} is {v} now.",
    "the {a} recorded for {k} was corrected to {v}.",
};
TEST(update){
    "the {a} linked to {k} was switched to {v}.",
    "the {a} given to {k} is {v} from today.",
    "the clerk crossed out the {a} of {k} and wrote {v}.",
    "the latest {a} of {k} reads {v}.",
    "they moved the {a} of {k} on to {v}.",
    "a fresh {a} was issued to {k}, namely {v}.",
    "people who ask about {k} are told that the {a} changed to {v}.",
    "since the revision, {k} goes with the {a} {v}.",
    "the {a} printed next to {k} was amended to {v}.",
    "the former {a} of {k} is void and {v} counts instead.",
};

TRAIN(assign){ "VAR {k} = {v}.", "SET {k} = {v}.", "variable {k} = {v}." };
TEST(assign){ "LET {k} = {v}.", "DEF {k} = {v}.", "assign {k} = {v}." };

TRAIN(marked){ "{a} {k}: {v}.", "{a} {k} reads: {v}.", "this is {a} {k}: {v}." };
TEST(marked){ "{a} {k} says: {v}.", "here begins {a} {k}: {v}.", "text of {a} {k}: {v}." };

/* ---- questions ------------------------------------------------------------------ */

TRAIN(ask){
    "what is the {a} of {k}?",       "which {a} does {k} have?",
    "what {a} belongs to {k}?",      "give the {a} of {k}.",
    "what was the {a} of {k}?",      "can you name the {a} of {k}?",
    "tell me the {a} for {k}.",      "what is the {a} for {k}?",
    "which {a} was stated for {k}?", "what does the text give as the {a} of {k}?",
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
    "list the {s} of {k} in order.",
    "give every {a} of {k} in order.",
    "what {s} belong to {k}, first to last?",
    "can you name all {s} of {k} in order?",
    "tell me each {a} for {k} in order.",
    "what are the {s} for {k}, in the order given?",
    "which {s} were stated for {k}, in order?",
    "what does the text give as the {s} of {k}, in order?",
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
    "what is the current {a} of {k}?",      "which {a} does {k} have now?",
    "what {a} belongs to {k} now?",         "give the current {a} of {k}.",
    "what is the last {a} stated for {k}?", "what is the {a} of {k} now?",
    "tell me the newest {a} for {k}.",      "what is the {a} for {k} after all changes?",
    "which {a} of {k} is valid now?",       "what does the text give as the current {a} of {k}?",
};
TEST(ask_latest){
    "what {a} goes with {k} at the end?",    "state the most recent {a} of {k}.",
    "do you recall the present {a} of {k}?", "which {a} is tied to {k} in the end?",
    "find the {a} that {k} has at present.", "please report the present {a} of {k}.",
    "the final {a} of {k} is what?",         "what is said to be the {a} of {k} as things stand?",
    "what {a} was noted last for {k}?",      "could you look up the most recent {a} of {k}?",
};

TRAIN(ask_json){
    "what is the value of key {k}?",   "which value does the key {k} have?",
    "what value belongs to key {k}?",  "give the value of key {k}.",
    "what value is stored under {k}?", "can you name the value of key {k}?",
    "tell me the value for key {k}.",  "what does the object hold under {k}?",
    "which value was stored for {k}?", "what is the JSON value for {k}?",
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
};
TEST(ask_variable){
    "what number goes with {k}?",           "state the number in {k}.",
    "do you recall the value of {k}?",      "which value ends up in {k}?",
    "find the number that {k} stands for.", "please report {k}.",
    "the variable {k} equals what?",        "what is said to be in {k}?",
    "what number does {k} resolve to?",     "could you work out {k}?",
};

/* ---- which table a family speaks from ----------------------------------------------- */

typedef struct {
    frames lead[2], body[2]; /* [loci_split] */
} grammar;

static const grammar says_fact = { HALVES(fact_lead), HALVES(fact) };
static const grammar says_several = { HALVES(fact_lead), HALVES(several) };
static const grammar says_update = { HALVES(fact_lead), HALVES(update) };
static const grammar says_assign = { HALVES(plain), HALVES(assign) };
static const grammar says_marked = { HALVES(plain), HALVES(marked) };
static const grammar asks = { HALVES(question_lead), HALVES(ask) };
static const grammar asks_all = { HALVES(question_lead), HALVES(ask_all) };
static const grammar asks_latest = { HALVES(question_lead), HALVES(ask_latest) };
static const grammar asks_json = { HALVES(question_lead), HALVES(ask_json) };
static const grammar asks_copy = { HALVES(question_lead), HALVES(ask_copy) };
static const grammar asks_variable = { HALVES(question_lead), HALVES(ask_variable) };

/* In the order of loci_say; NULL where there is nothing to say (JSON lines have no wording). */
static const grammar *const speech[LOCI_TASK_COUNT][LOCI_SAY_ROLES] = {
    [LOCI_TASK_NEEDLE] = { &says_fact, NULL, &asks },
    [LOCI_TASK_MULTIKEY] = { &says_fact, NULL, &asks },
    [LOCI_TASK_MULTIVALUE] = { &says_several, NULL, &asks_all },
    [LOCI_TASK_KV] = { NULL, NULL, &asks_json },
    [LOCI_TASK_COPY] = { &says_marked, NULL, &asks_copy },
    [LOCI_TASK_VARIABLE] = { &says_assign, NULL, &asks_variable },
    [LOCI_TASK_LATEST] = { &says_fact, &says_update, &asks_latest },
    [LOCI_TASK_ABSENT] = { &says_fact, NULL, &asks },
};

int loci_wording_count(loci_task_family f, loci_split s, loci_say role)
{
    const grammar *g = speech[f][role];
    return g ? g->lead[s].n * g->body[s].n : 0;
}

int loci_wording_draw(loci_task_family f, loci_split s, loci_say role, loci_rng *rng)
{
    const grammar *g = speech[f][role];
    const uint32_t n_lead = (uint32_t)g->lead[s].n, n_body = (uint32_t)g->body[s].n;
    const uint32_t lead = loci_rng_below(rng, 3) == 0 ? 0 : loci_rng_below(rng, n_lead);
    return (int)(lead * n_body + loci_rng_below(rng, n_body));
}

/* Add a frame with its places filled. */
static void fill(loci_line *line, const char *frame, const loci_say_args *args)
{
    for (const char *c = frame; *c; c++) {
        if (*c != '{' || args == NULL) {
            loci_line_char(line, *c);
            continue;
        }
        const char place = c[1];
        loci_line_add(line, place == 'k'   ? args->key
                            : place == 'v' ? args->value
                                           : args->attribute);
        if (place == 's') loci_line_char(line, 's');
        c += 2; /* the letter; the loop steps over the brace */
    }
}

void loci_wording_write(loci_line *line, loci_task_family f, loci_split s, loci_say role, int i,
                        const loci_say_args *args)
{
    const grammar *g = speech[f][role];
    const size_t start = line->len;
    fill(line, g->lead[s].text[i / g->body[s].n], args);
    fill(line, g->body[s].text[i % g->body[s].n], args);
    char *first = line->s + start;
    if (*first >= 'a' && *first <= 'z') *first = (char)(*first - 'a' + 'A');
}
