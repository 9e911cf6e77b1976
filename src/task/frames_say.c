/* frames_say.c - how facts are said.  frames.h has what the brackets mean.
 *
 * Key, attribute and value come in every order, in one sentence or two, in prose, lists, tables and
 * talk: what stays the same from frame to frame is only that they belong together. */
#include "task/frames.h"

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
    "[Yesterday|Last month|This spring|On Monday] it was [settled|decided] that ",
    "[I|We|They] [found|heard|read|wrote] that ",
    "[Good|Bad|Old] news: ",
    "From the [minutes|logbook|handbook|schedule]: ",
    "[First|Second|Third|Next|Last] [point|item|entry]: ",
    "[Dear all|Hello|Good morning], ",
    "- ",
    "* ",
    "[1|2|3|4|5|6|7|8|9]. ",
    "NOTE: ",
    "[Page|Line|Sheet] [2|7|15|31]: ",
    "For what it is worth, ",
    "[Unless|If] nothing changes, ",
    "The [teacher|driver|captain|nurse|editor] [said|added|insisted] that ",
    "In [the office|the north wing|our branch|that house], ",
    "As [everybody|hardly anybody] knows, ",
    "Without doubt ",
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

/* ---- facts ------------------------------------------------------------------- */

TRAIN(fact){
    "the {a} [of|for|belonging to|assigned to|held by|used for|registered to|chosen for] {k} "
    "[is|was|equals|reads] {v}.",
    "the {a} of {k} was set to {v}.",
    "the {a} recorded for {k} [reads|is] {v}.",
    "the {a} that belongs to {k} is {v}.",
    "the {a} that {k} [uses|carries|needs|got in the end] is {v}.",
    "the {a}, in the case of {k}, is {v}.",
    "the {a} of {k}, [as far as I know|by all accounts|never changed since], is {v}.",
    "the {a} {v} [belongs to|was made for|is reserved for|opens everything for] {k}.",
    "the {a} of {k} [starts with nothing unusual, it|has always been the same: it] is {v}.",
    "anyone looking for the {a} of {k} should use {v}.",
    "in any matter of {k}, use {v} as the {a}.",
    "our notes give {v} as the {a} of {k}.",
    "everyone agreed that the {a} of {k} would be {v}.",
    "[we|they|the office|the team|both sides] [have|hold|keep|use] {v} as the {a} [of|for] {k}.",
    "[we have|there is] {v} on file as the {a} of {k}.",
    "{k} has the {a} {v}.",
    "{k} [uses|carries|received|got|kept] {v} as [its|the] {a}.",
    "{k} [was registered|is listed|is known|was filed] under the {a} {v}.",
    "{k} came up [again|today|in the meeting]. [Its|The] {a} [is|was] {v}.",
    "{k} is [next|important|the last one]: {a} {v}, [nothing else|as before|no changes].",
    "{v} is the {a} [of|for|belonging to|assigned to] {k}.",
    "{v} [was set|is used|was entered|is stored|was registered] as the {a} of {k}.",
    "{v}, the {a} of {k}, [is not to be changed|was tested twice|must be kept].",
    "[set|define|store|register] the {a} of {k} as {v}.",
    "[do not lose this|write this down|keep this safe|memorize it]: the {a} of {k} is {v}.",
    "about {k}: [we know|it is known|it is certain] that the {a} is {v}.",
    "[to reach|to find|to open|when you deal with] {k}, [you need|take|use] the {a} {v}.",
    "if [anyone|someone|a visitor] asks [for|about] the {a} of {k}, [say|answer] {v}.",
    "[nobody|nothing] but {k} has {v} as {a}.",
    "with {k} [comes|goes] the {a} {v}.",
    "of all [entries|names on the list], only {k} has the {a} {v}.",
    "[on the label|on the note|on the card] of {k} [one reads|I read|it says] {v} as the {a}.",
    "[she|he|my colleague|the guard|the visitor] asked for the {a} of {k}, [and|so] [I|we] "
    "[said|wrote|answered] {v}.",
    "\"what is the {a} of {k}?\" - \"{v}\".",
    "Q: the {a} of {k}? A: {v}.",
    "User: {k}, {a}? Agent: {v}.",
    "as for {k}, its {a} is {v}.",
    "the [form|page|sheet|table] shows {v} [as|for] the {a} of {k}.",
    "{k}: {a} {v}.",
    "{k}: the {a} is {v}.",
    "{k} ({a}: {v}).",
    "{k} - {a} - {v}.",
    "{a} [of|for] {k}: {v}.",
    "{a} [of|for] {k} = {v}.",
    "{a} ({k}): {v}.",
    "| {k} | {a} | {v} |.",
    "[record|row|contact]: {k}; {a}: {v}; [status: ok|checked|no remarks].",
    "\"{a}\" of \"{k}\": \"{v}\".",
    "[name|subject|object]: {k}. {a}: {v}.",
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
    "among the {s} of {k} [is|was] {v}.",
    "the list of {s} for {k} has {v} on it.",
    "one of the {s} that belong to {k} is {v}.",
    "[we|they] also [have|keep] {v} as a valid {a} of {k}.",
    "the {s} of {k} [include|contain] {v}.",
    "there is one {a} entry for {k} that reads {v}.",
    "our notes count {v} among the {s} of {k}.",
    "the {s} kept for {k} contain {v}.",
    "{k} has [another|one more|yet another] {a}, {v}.",
    "{k} also uses {v} as {a}.",
    "[add|append|put] {v} to the {s} of {k}.",
    "{k}: one {a} is {v}.",
    "{a} of {k}, one of several: {v}.",
    "{v} is [one|another] {a} of {k}.",
    "[she|he|someone] added the {a} {v} to {k}.",
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
    "the {a} [for|of] {k} was [updated|changed|set anew] to {v}.",
    "from now on the {a} of {k} is {v}.",
    "the old {a} of {k} no longer holds and {v} takes its place.",
    "the new {a} of {k} is {v}.",
    "the {a} assigned to {k} has become {v}.",
    "we replaced the {a} of {k} by {v}.",
    "a change was made and the {a} of {k} is {v} now.",
    "the {a} recorded for {k} was corrected to {v}.",
    "{k} now has the {a} {v}.",
    "{k} got [a new|another] {a}: {v}.",
    "{k}: {a} changed, now {v}.",
    "[update|change|correction]: the {a} of {k} is {v}.",
    "[forget the old|drop the former] {a} of {k}, [it is|use] {v}.",
    "{v} has replaced the {a} of {k}.",
    "[this week|as of today|starting tomorrow] {k} uses the {a} {v}.",
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

TRAIN(assign){ "VAR {k} = {v}.",  "SET {k} = {v}.",    "variable {k} = {v}.", "{k} := {v}.",
               "let {k} be {v}.", "store {v} in {k}.", "{k} equals {v}.",     "put {k} to {v}." };
TEST(assign){ "LET {k} = {v}.", "DEF {k} = {v}.", "assign {k} = {v}." };

TRAIN(marked){ "{a} {k}: {v}.",
               "{a} {k} reads: {v}.",
               "this is {a} {k}: {v}.",
               "{a} {k} (complete): {v}.",
               "[copy|transcript] of {a} {k}: {v}.",
               "{a} {k} begins. {v}.",
               "{a} no. {k}: \"{v}\"." };
TEST(marked){ "{a} {k} says: {v}.", "here begins {a} {k}: {v}.", "text of {a} {k}: {v}." };

TRAIN(clause){ "clause {k}: {v}.",
               "rule {k}: {v}.",
               "clause {k} says that {v}.",
               "by rule {k}, {v}.",
               "[under|in] article {k}, {v}.",
               "article {k}: {v}." };
TEST(clause){ "paragraph {k} provides that {v}.", "provision {k}: {v}.",
              "according to item {k}, {v}." };

/* ---- stories ----------------------------------------------------------------- */

TRAIN(move){ "{k} [moved|went|journeyed|travelled|went back|walked|returned] to the {v}.",
             "{k} is in the {v} now.", "{k} left for the {v}.",
             "then {k} [moved|went|travelled] to the {v}." };
TEST(move){ "{k} hurried to the {v}.", "{k} came to the {v}.", "after that {k} ran to the {v}.",
            "{k} entered the {v}." };
TRAIN(get){ "{k} [picked up|got|grabbed|took] the {v}[| there].", "{k} has the {v} now.",
            "then {k} [took|grabbed] the {v}." };
TEST(get){ "{k} collected the {v}.", "{k} seized the {v}.", "the {v} was lifted by {k}." };
TRAIN(drop){ "{k} [dropped|discarded|put down|left] the {v}[| there].", "{k} has no {v} any more.",
             "then {k} [left|dropped] the {v}." };
TEST(drop){ "{k} set down the {v}.", "{k} let go of the {v}.", "{k} abandoned the {v}." };

/* ---- which tables make a sentence ------------------------------------------------ */

#define SPEECH(lead, body)                                                                         \
    {                                                                                              \
        { { FRAMES(lead##_train), FRAMES(body##_train), FRAMES(plain_train) } },                   \
        {                                                                                          \
            {                                                                                      \
                FRAMES(lead##_test), FRAMES(body##_test), FRAMES(plain_test)                       \
            }                                                                                      \
        }                                                                                          \
    }
static const loci_speech speech[][2] = {
    [LOCI_SAY_NOTHING] = { { { { 0 } } }, { { { 0 } } } },
    [LOCI_SAY_FACT] = SPEECH(fact_lead, fact),
    [LOCI_SAY_SEVERAL] = SPEECH(fact_lead, several),
    [LOCI_SAY_UPDATE] = SPEECH(fact_lead, update),
    [LOCI_SAY_ASSIGN] = SPEECH(plain, assign),
    [LOCI_SAY_MARKED] = SPEECH(plain, marked),
    [LOCI_SAY_CLAUSE] = SPEECH(plain, clause),
    [LOCI_SAY_MOVE] = SPEECH(plain, move),
    [LOCI_SAY_GET] = SPEECH(plain, get),
    [LOCI_SAY_DROP] = SPEECH(plain, drop),
};

loci_speech loci_speech_say(loci_say say, loci_split s)
{
    return speech[say][s];
}
