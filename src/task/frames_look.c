/* frames_look.c - how questions about objects, passages, chains, clauses, the text itself and stories
 * are asked.  frames.h has what the brackets mean. */
#include "task/frames.h"

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
    "<what> value <does> [the key |key |]{k} <have>?",
    "<what> value [is|was] <stated> [for|under|at] [key |the key |]{k}?",
    "what is [stored|kept|found|written|there] [under|at|for|behind] [key |]{k}?",
    "<tell> the value [of|for|under|at] [key |the key |]{k}.",
    "<tell> me what [key |the key |]{k} holds.",
    "<can> <tell> the value [of|for|under] [key |]{k}?",
    "<need> the value [of|for|under|at] [key |the key |]{k}.",
    "<know> the value [of|for|under] [key |]{k}?",
    "[key|id|name]: {k}. [value|answer]?",
    "{k}: ?",
    "\"{k}\": ?",
    "\"{k}\":",
    "{k}?",
    "{k} ->",
    "{k} = ?",
    "get(\"{k}\")",
    "data\\[\"{k}\"]",
    "obj\\[\"{k}\"] = ?",
    "[which|what] string [is|was] <stated> [for|under] {k}?",
    "the value of {k}, [please|what is it|quickly]?",
    "the entry with key {k}: what value?",
    "[in|from] the [object|dictionary|map|data|list], what is {k}?",
    "what does <text> <say> under {k}?",
    "{k} maps to which value?",
    "{k} has which value?",
    "[complete|continue]: \"{k}\": \"",
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
    "<tell> {a} {k}.",
    "<tell> {a} {k} word [by|for] word.",
    "<tell> the [words|text|content|wording] of {a} {k}.",
    "<can> <tell> {a} {k} [exactly|word by word|as it stands|for me]?",
    "<need> {a} {k} [word by word|exactly|unchanged].",
    "<need> the [words|text|wording] of {a} {k}.",
    "<know> what {a} {k} says?",
    "<know> the [words|text] of {a} {k}?",
    "what [exactly |]does {a} {k} [contain|read|tell us|hold]?",
    "what is [written|said|told|to be read] [in|under|as|by] {a} {k}?",
    "what [is|was] {a} {k}, word [by|for] word?",
    "[how|in which words] does {a} {k} [read|run|begin and end]?",
    "{a} {k}?",
    "{a} {k}:",
    "{a} {k}",
    "{k}, {a}: what are the words?",
    "[the words|the text|the content] of {a} {k}?",
    "[dictate|reproduce|echo|write down|read] {a} {k}.",
    "which {a} [has|bears|belongs to] the mark {k}?",
    "what does <text> <say> as {a} {k}?",
    "there is [a |]{a} {k}. [what are its words|copy it|repeat it].",
    "[the|that] {a} called {k}: [copy it|repeat it|what does it say]?",
    "[begin|start]: {a} {k}:",
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
    "<tell> the [value|number|content] of {k}.",
    "<tell> me [the value of |]{k}.",
    "<can> <tell> [the value of |]{k}?",
    "<need> [the value of |the number in |]{k}.",
    "<know> the [value|number] of {k}?",
    "<know> what {k} is?",
    "what [value|number] [is|was] <stated> for {k}?",
    "what [value|number] does {k} [have|get|take|contain|come to|end with|finally have]?",
    "what does {k} [hold|contain|equal|evaluate to|mean|come to]?",
    "{k}?",
    "{k} = ?",
    "{k} =",
    "{k} == ?",
    "{k}:",
    "print({k})",
    "echo ${k};",
    "return {k};",
    "[value|number] of {k}?",
    "[follow|trace] {k} [back|to its number|to the start]: [what is it|which number]?",
    "[going|following] from one to the next, what is {k}?",
    "[after|once] all [is|was] set, what is {k}?",
    "which number [is behind|is in|belongs to|is hidden behind] {k}?",
    "[in the end|at last|finally], what is {k}?",
    "the value of {k}, [please|what is it]?",
    "the number [of|in|for|behind] {k}?",
    "[how much|how big] is {k}?",
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
    "<what> [clause|rule|article|point|line] contradicts {k}?",
    "<what> [clause|rule|article|point] [cannot be true|cannot hold|does not fit] together with "
    "{k}?",
    "<what> [is|was] the [opposite|contrary|counterpart] of {k}?",
    "<tell> the [clause|rule|article|mark] that [contradicts|denies|speaks against|conflicts with] "
    "{k}.",
    "<can> <tell> what contradicts {k}?",
    "<need> the [clause|rule|article|mark] that contradicts {k}.",
    "<know> what contradicts {k}?",
    "{k} [does not agree|conflicts|clashes|is in conflict] with which [clause|rule|article|point]?",
    "{k} and which other [clause|rule|article] [exclude each other|cannot both hold|contradict]?",
    "{k} contradicts what?",
    "{k} versus?",
    "[contradiction|conflict|opposite] of {k}?",
    "with [what|which clause|which rule] does {k} [clash|conflict|collide]?",
    "[something|one of them] says otherwise than {k}. [what|which]?",
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
    "<what> [clause|rule|article|point] contradicts [this|what follows|the sentence]: {k}?",
    "<what> [clause|rule|article] says [the opposite|otherwise|something else]: {k}?",
    "<tell> the [clause|rule|mark] that [contradicts|denies|does not fit]: {k}.",
    "<can> <tell> what contradicts this: {k}?",
    "<need> the mark of what contradicts this: {k}.",
    "\"{k}\" - what contradicts it?",
    "[it is said|someone claims|suppose] that {k}. which [clause|rule|article] contradicts that?",
    "[true or not|really]: {k}? which [clause|rule] says no?",
    "{k}: contradicted by?",
};
TEST(ask_oppose){
    "which provision disagrees with the statement that {k}?",
    "state the paragraph that rules out that {k}.",
};

TRAIN(ask_next){
    "what comes [right |]after \"{k}\"?",
    "how does the text go on after \"{k}\"?",
    "[continue|complete]: \"{k}\" ...",
    "which words follow \"{k}\"?",
    "[quote|copy|give] what stands behind \"{k}\".",
    "<what> [words|text] [come|comes|stands|follows] [right |directly |]after \"{k}\"?",
    "<tell> [the words|what comes|what stands] [right |directly |]after \"{k}\".",
    "<can> continue \"{k}\"?",
    "<need> the words that follow \"{k}\".",
    "\"{k}\" - [and then|what next|go on|continue]?",
    "\"{k}\" ...",
    "[after|behind] \"{k}\", what [comes|follows|is written]?",
    "[what|how] does <text> [go on|continue] after \"{k}\"?",
};
TEST(ask_next){
    "in what words does \"{k}\" go on?",
    "state what the text has next to \"{k}\", on its right.",
};

TRAIN(ask_before){
    "what comes [right |]before \"{k}\"?",
    "which words stand before \"{k}\"?",
    "[quote|copy|give] what leads up to \"{k}\".",
    "<what> [words|text] [come|comes|stands] [right |directly |]before \"{k}\"?",
    "<tell> [the words|what comes|what stands] [right |directly |]before \"{k}\".",
    "<need> the words before \"{k}\".",
    "... \"{k}\" - what came before?",
    "[before|in front of] \"{k}\", what [comes|stands|is written]?",
    "[what|which words] [precede|introduce|lead to] \"{k}\"?",
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
    "<what> word [belongs|fits|goes|stands] in the gap: \"{k}\"?",
    "<tell> the word [missing|that is missing] in \"{k}\".",
    "<need> the missing word of \"{k}\".",
    "<can> fill the gap in \"{k}\"?",
    "\"{k}\" - which word is gone?",
    "[missing word|gap]: \"{k}\"?",
    "in \"{k}\", what [does|should] ___ [say|be]?",
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
    "<tell> the [definition|value] of {k}.",
    "<need> the [definition|value] of [the macro |the constant |]{k}.",
    "<can> <tell> how {k} is defined?",
    "what [value|text] does [the macro|the constant] {k} [have|stand for]?",
    "{k}: definition?",
    "#define {k} ?",
    "to what is {k} defined?",
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
    "<tell> the [arguments|parameters|parameter list] of {k}.",
    "<need> the [arguments|parameters] of {k}.",
    "<can> <tell> the [arguments|parameters] of {k}?",
    "what does {k} take [in|within|between] its parentheses?",
    "{k}( ... ): which parameters?",
    "{k}: parameters?",
    "what is the signature of {k}? [only|give] the parameters.",
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
    "<tell> what is given [for|under|as] \"{k}\".",
    "<tell> the [entry|value|line] [of|for|under] \"{k}\".",
    "<need> the [entry|value] [of|for|under] \"{k}\".",
    "<can> <tell> what \"{k}\" says?",
    "\"{k}\": ?",
    "\"{k}\":",
    "{k}?",
    "what does <text> <say> [for|under] \"{k}\"?",
    "what [is|stands] behind \"{k}:\"?",
};
TEST(ask_field){
    "what was noted under \"{k}\"?",
    "state the content of the field \"{k}\".",
};

TRAIN(ask_where){
    "where is {k}?",
    "where is {k} now?",
    "in which [room|place] is {k}?",
    "where can {k} be found?",
    "where did {k} go last?",
    "[where|in which room|in which place] [has|did] {k} [gone|go|end up|get to]?",
    "[where is|where's] {k} [at the moment|right now|at last|today]?",
    "<tell> [the place|the room|where] of {k}.",
    "<tell> me where {k} is.",
    "<can> <tell> where {k} is?",
    "<need> to know where {k} is.",
    "<know> where {k} is?",
    "{k} is where?",
    "{k} is in the",
    "{k}: where?",
    "[to|in] [which|what] [place|room] did {k} [go|move] last?",
    "[which|what] [room|place] [is {k} in|holds {k}|did {k} reach last]?",
    "[if I want|I have] to [meet|see|visit] {k}, where [do I go|must I go]?",
    "location of {k}?",
    "[I lost|I am looking for] {k}. where?",
};
TEST(ask_where){ "what place is {k} in at the end?", "find {k}. In which place?" };

TRAIN(ask_thing){
    "where is the {k}?",
    "where is the {k} now?",
    "in which [room|place] is the {k}?",
    "where can the {k} be found?",
    "[where has|to where has|in which place has] the {k} [gone|been put|ended up]?",
    "[where is|where's] the {k} [at the moment|right now|at last|today]?",
    "<tell> [the place|the room|where] of the {k}.",
    "<tell> me where the {k} is.",
    "<can> <tell> where the {k} is?",
    "<need> to know where the {k} is.",
    "<know> where the {k} is?",
    "the {k} is where?",
    "the {k} is in the",
    "the {k}: where?",
    "[which|what] [room|place] [is the {k} in|holds the {k}|has the {k}]?",
    "[if I want|I have] to get the {k}, where [do I go|must I go]?",
    "location of the {k}?",
    "[I lost|I am looking for] the {k}. where?",
};
TEST(ask_thing){ "what place is the {k} in at the end?", "find the {k}. In which place?" };

TRAIN(ask_earlier){
    "where was the {k} before the {v}?",
    "before the {v}, where was the {k}?",
    "where had the {k} been before it was in the {v}?",
    "[where|in which place] was the {k} [right |]before [it got to |it came to |]the {v}?",
    "before the {v}, [in which|what] [room|place] [was|held] the {k}?",
    "<tell> the place where the {k} was before the {v}.",
    "<can> <tell> where the {k} was before the {v}?",
    "<need> to know where the {k} was before the {v}.",
    "<know> where the {k} was before the {v}?",
    "[the {k} was in|the {k} came to] the {v}. [where before that|and before]?",
    "the {k} was where before the {v}?",
    "[which|what] [room|place] had the {k} before the {v}?",
    "[previous|former] place of the {k} before the {v}?",
};
TEST(ask_earlier){
    "what place was the {k} in just before the {v}?",
    "from where did the {k} come to the {v}?",
};

loci_frames loci_frames_look(loci_say say, loci_split s)
{
    static const loci_frames *const conflict_more[] = { &loci_frames_ask_conflict,
                                                        &loci_frames_ask_conflict_more, NULL };
    static const loci_frames *const oppose_more[] = { &loci_frames_ask_oppose,
                                                      &loci_frames_ask_oppose_more, NULL };
    static const loci_frames *const ask_where_more[] = { &loci_frames_ask_where,
                                                         &loci_frames_ask_where_more, NULL };
    static const loci_frames *const ask_thing_more[] = { &loci_frames_ask_thing,
                                                         &loci_frames_ask_thing_more, NULL };
    static const loci_frames *const ask_earlier_more[] = { &loci_frames_ask_earlier,
                                                           &loci_frames_ask_earlier_more, NULL };
    static const loci_frames *const ask_json_more[] = { &loci_frames_ask_json,
                                                        &loci_frames_ask_json_more, NULL };
    static const loci_frames *const ask_copy_more[] = { &loci_frames_ask_copy,
                                                        &loci_frames_ask_copy_more, NULL };
    static const loci_frames *const ask_variable_more[] = { &loci_frames_ask_variable,
                                                            &loci_frames_ask_variable_more, NULL };
    static const loci_frames body[][2] = {
        [LOCI_ASK_JSON - LOCI_ASK_JSON] = { FRAMES_AND(ask_json_train, ask_json_more),
                                            FRAMES(ask_json_test) },
        [LOCI_ASK_COPY -
            LOCI_ASK_JSON] = { FRAMES_AND(ask_copy_train, ask_copy_more), FRAMES(ask_copy_test) },
        [LOCI_ASK_VARIABLE - LOCI_ASK_JSON] = { FRAMES_AND(ask_variable_train, ask_variable_more),
                                                FRAMES(ask_variable_test) },
        [LOCI_ASK_CONFLICT - LOCI_ASK_JSON] = { FRAMES_AND(ask_conflict_train, conflict_more),
                                                FRAMES(ask_conflict_test) },
        [LOCI_ASK_OPPOSE -
            LOCI_ASK_JSON] = { FRAMES_AND(ask_oppose_train, oppose_more), FRAMES(ask_oppose_test) },
        [LOCI_ASK_NEXT - LOCI_ASK_JSON] = { FRAMES(ask_next_train), FRAMES(ask_next_test) },
        [LOCI_ASK_BEFORE - LOCI_ASK_JSON] = { FRAMES(ask_before_train), FRAMES(ask_before_test) },
        [LOCI_ASK_GAP - LOCI_ASK_JSON] = { FRAMES(ask_gap_train), FRAMES(ask_gap_test) },
        [LOCI_ASK_DEFINED -
            LOCI_ASK_JSON] = { FRAMES(ask_defined_train), FRAMES(ask_defined_test) },
        [LOCI_ASK_ARGUMENTS -
            LOCI_ASK_JSON] = { FRAMES(ask_arguments_train), FRAMES(ask_arguments_test) },
        [LOCI_ASK_FIELD - LOCI_ASK_JSON] = { FRAMES(ask_field_train), FRAMES(ask_field_test) },
        [LOCI_ASK_WHERE - LOCI_ASK_JSON] = { FRAMES_AND(ask_where_train, ask_where_more),
                                             FRAMES(ask_where_test) },
        [LOCI_ASK_THING - LOCI_ASK_JSON] = { FRAMES_AND(ask_thing_train, ask_thing_more),
                                             FRAMES(ask_thing_test) },
        [LOCI_ASK_EARLIER - LOCI_ASK_JSON] = { FRAMES_AND(ask_earlier_train, ask_earlier_more),
                                               FRAMES(ask_earlier_test) },
    };
    if (say < LOCI_ASK_JSON || say > LOCI_ASK_EARLIER) return (loci_frames){ 0 };
    return body[say - LOCI_ASK_JSON][s];
}
