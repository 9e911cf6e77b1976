/* frames_fresh.c - a second held-out set of sentences, written without having seen what a model does
 * with the first one, and without the tables of training or of the test half at hand.
 *
 * Training was widened after looking at what went wrong with the test half's sentences, so that half
 * tells less than it did.  Nobody should widen training by failures seen here; when it was done all the
 * same, this set is spent too and the next one takes its place.
 *
 * Each sentence is as users and documents have it, with one meaning for a person.  Attributes are
 * attributes_fresh.c's; names and values those of the test half. */
#include "task/frames.h"

static const char *const none[] = { "" };

/* ---- facts ----------------------------------------------------------------------------------- */

static const char *const fact_lead[] = {
    "",
    "while we are at it: ",
    "before the next item on the agenda, a word about this: ",
    "just so that it is written down somewhere: ",
    "copied from the old notebook: ",
    "answering your question from last week: ",
    "a reminder from the front desk: ",
    "this came in by phone: ",
    "I checked with the others: ",
    "hope this helps: ",
};

static const char *const fact[] = {
    "for {k}, please note the following {a}: {v}.",
    "under \"{a}\", the entry for {k} reads \"{v}\".",
    "someone had pencilled {v}, the {a} of {k}, into the margin.",
    "if anyone rings about {k}, the {a} they will want is {v}.",
    "the clerk leafed through the folder on {k} and read out the {a}: {v}.",
    "I can now confirm that the {a} settled on for {k} will be {v}.",
    "it took us an hour to find the {a} of {k}, but here it is: {v}.",
    "{v}, that is what you enter when the system asks for the {a} of {k}.",
    "the index card for {k} gives one {a} only, namely {v}.",
    "don't lose this: {k}, {a}, {v}.",
    "{k} ({a}: {v}) is on the list of items to be reviewed this week.",
    "as to the {a} of {k}, the parties have agreed on {v}.",
    "I asked twice about the {a} of {k} and both times the answer was {v}.",
    "for as long as I can remember, the {a} of {k} has been {v}.",
    "{k} came last on the sheet, and in the column \"{a}\" stood {v}.",
    "nobody could remember the {a} of {k} until the old slip turned up. It said {v}.",
    "this letter confirms the {a} of {k} (\"{v}\").",
    "after some back and forth {k} ended up with this {a}: {v}.",
    "the one thing you need to know about {k} is the {a}, and that is {v}.",
    "to be entered for {k}: {a}, \"{v}\".",
    "on page two, right below {k}, the {a} is printed in bold: {v}.",
    "\"{k}? The {a} is {v},\" she said without looking up.",
    "what {k} got as {a} in the end was {v}.",
    "please check your records for {k}; the correct {a}, contrary to the newsletter, is {v}.",
    "for the auditors, concerning {k}: {a} - {v}.",
    "thanks for asking about {k}. The {a} you were after is {v}.",
    "both the manual and the sticker agree on the {a} of {k}, which is {v}.",
    "with {k} it is simple: one {a}, {v}, and nothing more.",
    "anyone dealing with {k} tomorrow needs the {a}, so write this down: {v}.",
    "should the {a} of {k} ever be in doubt, it is {v}, as I have it in writing.",
};

static const char *const several[] = {
    "{k} has more than one {a}; one of them reads {v}.",
    "among the {s} listed for {k} you will also find {v}.",
    "the list of {s} kept for {k} contains, besides others, {v}.",
    "there are several {s} around for {k}, for example {v}.",
    "whoever collects the {s} of {k} should not leave out {v}.",
    "we went through the {s} of {k} and this is one that came up: {v}.",
    "one of the papers on {k} mentions a valid {a}: {v}.",
    "you may use any {a} that was issued for {k}; here is one: {v}.",
    "not the only {a} of {k}, but certainly one, is {v}.",
    "to the {s} of {k} belongs this one as well: {v}.",
};

static const char *const update[] = {
    "correction to what was said about {k}: the {a} has become {v}.",
    "the {a} of {k} is not what it was; from this point on it is {v}.",
    "{k} has switched to a different {a}, {v}.",
    "scrap the earlier {a} of {k}, the new one is {v}.",
    "since the meeting, {k} has been listed with another {a}: {v}.",
    "they replaced the {a} of {k} last night, and it now says {v}.",
    "please overwrite the {a} you have for {k}. The current one reads {v}.",
    "the old {a} of {k} was withdrawn this morning and succeeded by {v}.",
    "there has been a change concerning {k}: instead of the previous {a}, take {v}.",
    "amended entry for {k}: {a} altered, now {v}.",
};

/* ---- assignments, passages, clauses, stories --------------------------------------------------- */

static const char *const assign[] = {
    "the variable {k} now holds {v}.",
    "keep {v} in {k}.",
    "{k} is given the value {v}.",
    "put {v} into {k}.",
    "copy {v} to {k}.",
    "SET @{k} = {v};",
    "SELECT {v} INTO {k};",
    "we define {k} to equal {v}.",
};

static const char *const marked[] = {
    "{a} {k} reads as follows: \"{v}\".",       "under the heading \"{a} {k}\" it says: {v}.",
    "please archive {a} {k}, which runs: {v}.", "{a} {k}, in full: \"{v}\".",
    "the whole of {a} {k} is this: {v}.",       "pinned to the board was {a} {k}: \"{v}\".",
    "{a} {k} consists of these words: {v}.",    "she read {a} {k} aloud: \"{v}\".",
    "attached is {a} {k}; it says \"{v}\".",
};

static const char *const clause[] = {
    "{k} lays down that {v}.",
    "it is agreed under {k} that {v}.",
    "according to section {k}, {v}.",
    "as {k} has it, {v}.",
    "section {k} of the contract: {v}.",
    "we refer to {k}, by which {v}.",
    "the drafters put it like this in {k}: {v}.",
    "({k}) It is understood that {v}.",
    "read {k} carefully: {v}.",
    "in the wording of {k}, {v}.",
};

static const char *const move[] = {
    "a moment later {k} entered the {v}.",
    "{k} was next seen arriving in the {v}.",
    "{k} could be heard coming into the {v}.",
    "the {v} was where {k} turned up next.",
    "{k} headed straight for the {v} and sat down there.",
    "the next stop for {k} was the {v}.",
    "{k} slipped quietly into the {v}.",
    "{k} wandered off and ended up in the {v}.",
    "it was the {v} that {k} went to this time.",
};

static const char *const get[] = {
    "{k} bent down and took the {v}.",
    "{k} put the {v} into a bag to carry it along.",
    "{k} saw the {v} lying there and picked it up.",
    "{k} now carries the {v}.",
    "{k} reached for the {v} and kept hold of it.",
    "{k} came upon the {v} and took it along.",
    "{k} gathered up the {v}.",
    "the {v} is now with {k}.",
};

static const char *const drop[] = {
    "{k} left the {v} behind.",
    "{k} no longer wanted to carry the {v} and put it down.",
    "{k} placed the {v} on the ground.",
    "{k} was done with the {v} and left it there.",
    "tired of it, {k} let the {v} fall.",
    "the {v} was put aside by {k}.",
    "{k} laid the {v} down.",
    "{k} got rid of the {v} on the spot.",
};

/* ---- questions ------------------------------------------------------------------------------- */

static const char *const question_lead[] = {
    "",
    "I have a question: ",
    "small request: ",
    "for my report: ",
    "this is for the customer on the line: ",
    "let me test you: ",
    "here is another one: ",
    "with the papers in front of you: ",
};

static const char *const question_tail[] = {
    "",
    " Just the answer, please.",
    " No explanation needed.",
    " A bare answer will do.",
    " I do not need the context.",
    " Please write nothing else.",
};

static const char *const ask[] = {
    "by any chance, have you come across the {a} of {k}?",
    "I need the {a} of {k}. What is it?",
    "{k}: what {a} is given there?",
    "somebody asked me for the {a} of {k}. What should I answer?",
    "the {a} of {k} has slipped my mind. How did it go?",
    "where {k} is concerned, what does the text say about the {a}?",
    "please look up {k} and report the {a}.",
    "I forgot the {a} of {k}, could you check?",
    "what would I enter as the {a} if asked about {k}?",
    "according to the document, what {a} goes with {k}?",
    "could you find out for me which {a} {k} has been given?",
    "fill in the blank: the {a} of {k} is ____.",
    "what did they write down as the {a} of {k}?",
    "is there any mention of the {a} of {k}, and if so, what is it?",
    "my notes on {k} lack one detail, the {a}. Please supply it.",
    "looking for: {a} of {k}.",
    "of {k} I would like to know the {a}.",
    "what do you have for {k} under {a}?",
    "help me out here, what's the {a} of {k} again?",
    "the {a} of {k} is mentioned somewhere in the text. Quote it.",
    "{a} of {k} - what was that again?",
    "suppose I call about {k} and they want the {a}; what do I tell them?",
    "extract the {a} belonging to {k} from the material above.",
    "from what you have read, what is the {a} in the case of {k}?",
    "I am filling in a form about {k} and got as far as the {a}. What goes there?",
};

static const char *const ask_all[] = {
    "which {s} of {k} come up in the text? List them in order.",
    "please collect every {a} of {k}, from the first mention to the last.",
    "I need a complete list of the {s} of {k}, as they appear.",
    "{k} has several {s}. What are they, in the order of the text?",
    "go through the text and write down each {a} that is given for {k}, one after the other.",
    "what different {s} are mentioned for {k}, first to last?",
    "name the {s} of {k} one by one, in the order you come across them.",
    "there is more than one {a} for {k}. Give me all of them in sequence.",
    "all the {s} on record for {k}, please, earliest mention first.",
    "can you put together the {s} of {k} in the order in which they were introduced?",
};

static const char *const ask_latest[] = {
    "what is the {a} of {k} as things stand?",
    "after all the changes, which {a} does {k} have?",
    "the {a} of {k} was changed at some point. What is it these days?",
    "which {a} of {k} is the valid one by the end of the text?",
    "if I wanted to use the {a} of {k} today, what would it be?",
    "leave outdated entries aside: what {a} is in force for {k}?",
    "what did the {a} of {k} end up being?",
    "tell me the most up-to-date {a} for {k}.",
    "to what was the {a} of {k} changed in the end?",
    "give the final version of the {a} of {k}.",
};

static const char *const ask_nth[] = {
    "{k} has several {s}. Which one is mentioned {v}?",
    "which {a} of {k} is the {v} one to be mentioned?",
    "of the {s} of {k}, which one comes {v}?",
    "reading from the top, what is the {v} {a} you find for {k}?",
    "count the {s} of {k} and stop at the {v}. What does it say?",
    "please give me the {v} entry among the {s} of {k}.",
    "in the sequence of {s} for {k}, what is in {v} place?",
    "in order of appearance, what is the {v} of the {s} that {k} has?",
    "I am after one {a} of {k} only, the {v} in the text. What is it?",
    "the text names the {s} of {k} one after another; repeat the {v}.",
};

static const char *const ask_list[] = {
    "I need several things at once: {k}.",
    "what are {k}? Answer in the same order.",
    "look up all of these and list the answers in this order: {k}.",
    "please give me {k}, separated by commas.",
    "kindly state {k}, one after the other.",
    "can you tell me {k}, in that order?",
    "several questions in one: what are {k}?",
    "write a single line with {k}.",
    "my checklist still lacks {k}. Supply them in that order.",
    "find {k} and answer in the order asked.",
};

static const char *const ask_json[] = {
    "what comes back when I query {k}?",
    "read the value at \"{k}\" from the object.",
    "what does data\\[\"{k}\"] evaluate to?",
    "in the JSON, which string belongs to the field {k}?",
    "look up key {k} and return what it maps to.",
    "which value follows {k} in the JSON object?",
    "I am parsing this file and need the string behind \"{k}\".",
    "find {k} in the data. What is its value?",
};

static const char *const ask_copy[] = {
    "quote {a} {k} exactly as it stands.",
    "what does {a} {k} say, word for word?",
    "I need the precise wording of {a} {k}.",
    "type out {a} {k} again without changing anything.",
    "could you read {a} {k} back to me?",
    "I would like to hear {a} {k} from start to finish.",
    "please restore {a} {k}; the original got lost.",
    "cite the full content of {a} {k}, nothing left out.",
};

static const char *const ask_variable[] = {
    "what number does {k} end up with?",
    "follow the assignments: what is {k} in the end?",
    "when everything has been substituted, what does {k} equal?",
    "trace {k} back to a number.",
    "to which number does {k} finally lead?",
    "print the value that {k} holds once all lines have run.",
    "if I output {k}, what do I see?",
    "work out {k} step by step.",
};

static const char *const ask_conflict[] = {
    "which clause says the opposite of {k}?",
    "{k} is contradicted somewhere. By which clause?",
    "find the clause that cannot be reconciled with {k}.",
    "is there a provision that clashes with {k}, and which one is it?",
    "what other clause disagrees with {k}?",
    "if {k} holds, which clause cannot?",
    "name the section that is at odds with {k}.",
    "our lawyer says {k} conflicts with another clause. Which one?",
    "which part of the contract does {k} collide with?",
};

static const char *const ask_oppose[] = {
    "someone claims that {k}. Which clause speaks against it?",
    "where does the contract contradict the sentence \"{k}\"?",
    "which clause rules out that {k}?",
    "find the clause that says otherwise than this: {k}.",
    "one clause states that {k}; which one states something incompatible?",
    "with which clause would it be a contradiction to say that {k}?",
    "the text holds that {k}, but another clause differs. Which one?",
    "give the mark of the clause that disputes the following: {k}.",
};

/* ---- questions about the text itself ----------------------------------------------------------- */

static const char *const ask_next[] = {
    "the sentence breaks off at \"{k}\". What is missing?",
    "say the part that comes on the heels of \"{k}\".",
    "which words complete \"{k} ...\"?",
    "I remember only the beginning, \"{k}\". How does it go on?",
    "what did the author write directly behind \"{k}\"?",
    "give the words that come once \"{k}\" has been said.",
    "where the text says \"{k}\", what are the next few words?",
    "pick up where this leaves off: \"{k}\".",
};

static const char *const ask_before[] = {
    "which words lead up to \"{k}\"?",
    "what was said just ahead of \"{k}\"?",
    "I have only the end, \"{k}\". What stands before it?",
    "look to the left of \"{k}\": what is written there?",
    "\"{k}\" is preceded by what?",
    "give me the words that run up to \"{k}\".",
    "what does the text have immediately in front of \"{k}\"?",
    "find \"{k}\" and go back a few words. What do they say?",
};

static const char *const ask_gap[] = {
    "one word is blotted out in \"{k}\". Which?",
    "restore the word left blank in \"{k}\".",
    "in \"{k}\", what belongs where the line is?",
    "my copy has a hole: \"{k}\". What was the word?",
    "solve this cloze: \"{k}\".",
    "which word of the text has been replaced by the blank in \"{k}\"?",
    "put the lost word back: \"{k}\".",
    "\"{k}\" lacks a word. Name it.",
};

static const char *const ask_defined[] = {
    "what does the preprocessor put in place of {k}?",
    "to what does {k} expand?",
    "give the definition of the macro {k}.",
    "find the #define of {k}. What does it say?",
    "{k} is a constant in this code. What is its value?",
    "what would the compiler see instead of {k}?",
    "look up the macro {k} and tell me what it stands for.",
    "which value hides behind the name {k}?",
};

static const char *const ask_arguments[] = {
    "in the definition of {k}, what goes between the parentheses?",
    "which parameters appear in the definition of {k}?",
    "what do I have to pass to {k}?",
    "give the argument list of {k}, exactly as in the code.",
    "{k}(...): what is inside the brackets?",
    "show me the parameter list that {k} was written with.",
    "copy what stands in the parentheses behind {k} where it is defined.",
    "with which arguments is {k} defined?",
};

static const char *const ask_field[] = {
    "what is written behind \"{k}:\"?",
    "which content does the field \"{k}\" have?",
    "a line begins with \"{k}:\". How does it end?",
    "in the header, what has been entered for \"{k}\"?",
    "read out the entry \"{k}\".",
    "the form has a line \"{k}\". What was filled in?",
    "look for the label \"{k}\" and copy what comes with it.",
    "which value has been given to \"{k}\"?",
};

/* ---- questions about stories ------------------------------------------------------------------- */

static const char *const ask_where[] = {
    "in which place would you find {k} now?",
    "where do the steps of {k} end?",
    "where has {k} ended up?",
    "I am looking for {k}. Where should I go?",
    "what is the present whereabouts of {k}?",
    "where does the story leave {k}?",
    "at the end of it all, where is {k}?",
    "{k} was last seen where?",
};

static const char *const ask_thing[] = {
    "where has the {k} got to?",
    "I am looking for the {k}. Where should I go?",
    "where would one have to look for the {k} now?",
    "in what place did the {k} end up?",
    "where does the story leave the {k}?",
    "who had the {k} last, and where is it now?",
    "at the end of it all, where is the {k}?",
    "the {k} was last seen where?",
};

static const char *const ask_earlier[] = {
    "where did the {k} come from when it reached the {v}?",
    "the {k} was in the {v}. And before that?",
    "before it got to the {v}, in which place was the {k}?",
    "from where was the {k} brought to the {v}?",
    "what was the stop before the {v} for the {k}?",
    "the {k} reached the {v} from which place?",
    "trace the {k} back one place from the {v}: where was it?",
    "where had the {k} been just before the {v}?",
};

/* ---- without a key ----------------------------------------------------------------------------- */

static const char *const bare[] = {
    "the {a} for today: {v}.",
    "we finally have the {a}, and it is {v}.",
    "I wrote the {a} on the whiteboard: {v}.",
    "for the record, our {a} has always been {v}.",
    "when the phone rang they only wanted the {a}, so I read it out: {v}.",
    "the sticker on the lid has the {a}, {v}.",
    "keep this to yourself: the {a} is {v}.",
    "no more guessing, the {a} they settled on is {v}.",
};

static const char *const ask_bare[] = {
    "what did they say the {a} was?",
    "does it say anywhere what the {a} is?",
    "I have mislaid the {a}; what was it again?",
    "which {a} are we talking about?",
    "somebody wants the {a} from me. What do I answer?",
    "what do we have down as the {a}?",
    "quick question, what's our {a}?",
    "could you dig out the {a} for me?",
};

loci_speech loci_speech_fresh(loci_say say)
{
    static const loci_frames body[LOCI_SAYS] = {
        [LOCI_SAY_FACT] = FRAMES(fact),
        [LOCI_SAY_SEVERAL] = FRAMES(several),
        [LOCI_SAY_UPDATE] = FRAMES(update),
        [LOCI_SAY_BARE] = FRAMES(bare),
        [LOCI_SAY_ASSIGN] = FRAMES(assign),
        [LOCI_SAY_MARKED] = FRAMES(marked),
        [LOCI_SAY_CLAUSE] = FRAMES(clause),
        [LOCI_SAY_MOVE] = FRAMES(move),
        [LOCI_SAY_GET] = FRAMES(get),
        [LOCI_SAY_DROP] = FRAMES(drop),
        [LOCI_ASK] = FRAMES(ask),
        [LOCI_ASK_ALL] = FRAMES(ask_all),
        [LOCI_ASK_LATEST] = FRAMES(ask_latest),
        [LOCI_ASK_NTH] = FRAMES(ask_nth),
        [LOCI_ASK_LIST] = FRAMES(ask_list),
        [LOCI_ASK_BARE] = FRAMES(ask_bare),
        [LOCI_ASK_JSON] = FRAMES(ask_json),
        [LOCI_ASK_COPY] = FRAMES(ask_copy),
        [LOCI_ASK_VARIABLE] = FRAMES(ask_variable),
        [LOCI_ASK_CONFLICT] = FRAMES(ask_conflict),
        [LOCI_ASK_OPPOSE] = FRAMES(ask_oppose),
        [LOCI_ASK_NEXT] = FRAMES(ask_next),
        [LOCI_ASK_BEFORE] = FRAMES(ask_before),
        [LOCI_ASK_GAP] = FRAMES(ask_gap),
        [LOCI_ASK_DEFINED] = FRAMES(ask_defined),
        [LOCI_ASK_ARGUMENTS] = FRAMES(ask_arguments),
        [LOCI_ASK_FIELD] = FRAMES(ask_field),
        [LOCI_ASK_WHERE] = FRAMES(ask_where),
        [LOCI_ASK_THING] = FRAMES(ask_thing),
        [LOCI_ASK_EARLIER] = FRAMES(ask_earlier),
    };
    static const loci_speech question = { { FRAMES(question_lead), { 0 }, FRAMES(question_tail) } };
    static const loci_speech stated = { { FRAMES(fact_lead), { 0 }, FRAMES(none) } };
    static const loci_speech plain = { { FRAMES(none), { 0 }, FRAMES(none) } };
    loci_speech speech = say >= LOCI_ASK ? question : say <= LOCI_SAY_BARE ? stated : plain;
    speech.part[LOCI_WORDING_BODY] = body[say];
    return speech;
}
