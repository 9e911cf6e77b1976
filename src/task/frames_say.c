/* frames_say.c - how chains, passages, clauses and stories are told.  frames.h has what the brackets
 * mean. */
#include "task/frames.h"

TRAIN(assign){
    "VAR {k} = {v}.",
    "SET {k} = {v}.",
    "variable {k} = {v}.",
    "{k} := {v}.",
    "let {k} be {v}.",
    "store {v} in {k}.",
    "{k} equals {v}.",
    "put {k} to {v}.",
    "{k} = {v};",
    "{k} = {v}.",
    "{k} == {v}.",
    "{k} \\<- {v};",
    "{k} := {v};",
    "int {k} = {v};",
    "var {k} = {v};",
    "const {k} = {v};",
    "auto {k}({v});",
    "set {k} {v};",
    "(setq {k} {v})",
    "mov {k}, {v};",
    "{k}: {v};",
    "\\[{k}] = {v};",
    "{k} is {v}.",
    "{k} is set from {v}.",
    "{k} is set to {v}.",
    "{k} is the same as {v}.",
    "{k} has the value[ of|] {v}.",
    "{k} takes the value[ of|] {v}.",
    "{k} is a copy of {v}.",
    "{k} copies {v}.",
    "{k} gets {v}.",
    "{k} holds {v}.",
    "{k} refers to {v}.",
    "{k} points to {v}.",
    "{k} reads from {v}.",
    "{k} becomes {v}.",
    "{k} was loaded with {v}.",
    "{k} shall be {v}.",
    "{k} -> {v};",
    "{k} => {v};",
    "{k}, like {v}.",
    "{k} follows {v}.",
    "{k} starts as {v}.",
    "{k} was made equal to {v}.",
    "{k} = value({v});",
    "now {k} is {v}.",
    "here {k} stands for {v}.",
    "give {k} the value[ of|] {v}.",
    "set {k} to {v}.",
    "make {k} equal to {v}.",
    "initialize {k} with {v}.",
    "load {k} with {v}.",
    "define {k} as {v}.",
    "the value of {k} is {v}.",
    "the register {k} takes {v}.",
    "the cell {k} shows {v}.",
    "the parameter {k} is taken from {v}.",
    "the name {k} means {v}.",
    "the number {k} is {v}.",
    "export {k}={v};",
    "- {k}: {v};",
    "| {k} | {v} |",
    "store {v} into {k}.",
    "store the value {v} as {k}.",
    "store {v} under {k}.",
};
TEST(assign){ "LET {k} = {v}.", "DEF {k} = {v}.", "assign {k} = {v}." };

TRAIN(marked){
    "{a} {k}: {v}.",
    "{a} {k} reads: {v}.",
    "this is {a} {k}: {v}.",
    "{a} {k} (complete): {v}.",
    "[copy|transcript] of {a} {k}: {v}.",
    "{a} {k} begins. {v}.",
    "{a} no. {k}: \"{v}\".",
    "{a} {k} - {v}.",
    "{a} {k} = \"{v}\";",
    "{a} \\[{k}]: {v}.",
    "{a} ({k}): {v}.",
    "{a} {k} runs [as follows|like this|thus]: {v}.",
    "{a} {k} [goes on|starts|opens] [with|like this:] {v}.",
    "{a} {k} has [these|the following|only these] words: {v}.",
    "{a} {k} contains the words {v}.",
    "{a} {k} consists of the words: {v}.",
    "{a} {k} was [written|printed|copied] <where>: {v}.",
    "{a} {k}, word by word: {v}.",
    "{a} {k}, [in full|unchanged|complete|the whole of it]: {v}.",
    "{a} {k} tells us: {v}.",
    "{a} {k} is [this|here|below]: {v}.",
    "{a} {k} is \"{v}\".",
    "{a} #{k}: {v}.",
    "{k} is [one|a] {a}: {v}.",
    "{k} ({a}): {v}.",
    "{k}, {a}: {v}.",
    "{k}: {v} (end of {a}).",
    "begin {a} {k}: {v} :end.",
    "\\<{a} id=\"{k}\">{v}\\</{a}>",
    "\\{\"{a}\": \"{k}\", \"text\": \"{v}\"}",
    "[words|content|body] of {a} {k}: {v}.",
    "[now|next] comes {a} {k}: {v}.",
    "[see|read|consider|hear] {a} {k}: {v}.",
    "[under|in|as] {a} {k} [stands|we find|one reads]: {v}.",
    "<someone> [read out|copied|wrote|dictated] {a} {k}: {v}.",
    "<where> stands {a} {k}: {v}.",
    "\"{v}\" - {a} {k}.",
    "\"{v}\" is {a} {k}.",
    "the {a} with the mark {k} is: {v}.",
    "the {a} called {k}: {v}.",
    "<clock> {a} {k}: {v}.",
    "> {a} {k}: {v}.",
    "# {a} {k}: {v}.",
};
TEST(marked){ "{a} {k} says: {v}.", "here begins {a} {k}: {v}.", "text of {a} {k}: {v}." };

TRAIN(clause){
    "clause {k}: {v}.",
    "rule {k}: {v}.",
    "clause {k} says that {v}.",
    "by rule {k}, {v}.",
    "[under|in] article {k}, {v}.",
    "article {k}: {v}.",
    "{k}: {v}.",
    "{k}) {v}.",
    "\\[{k}] {v}.",
    "({k}) {v}.",
    "{k} - {v}.",
    "{v} ({k}).",
    "{v} (see {k}).",
    "{v} \\[{k}].",
    "{v}, as [rule|clause|article|point|line] {k} has it.",
    "{v}; this is [rule|clause|article|point|entry] {k}.",
    "[rule|clause|article|point|line|condition|term|entry|sentence] {k}: {v}.",
    "[rule|clause|article|point|line|condition|term|entry|sentence] {k} [states|says|holds|lays "
    "down|"
    "demands|makes clear|adds|has it] that {v}.",
    "[by|under|in|with|following|as for|according to] [rule|clause|article|point|line|term] {k}, "
    "{v}.",
    "[as|what] [rule|clause|article|point] {k} [says|states|demands]: {v}.",
    "<people> agreed in [rule|clause|article|point] {k} that {v}.",
    "<someone> <said>, [quoting|reading] [rule|clause|article] {k}, that {v}.",
    "\\<rule id=\"{k}\">{v}\\</rule>",
    "\\{\"id\": \"{k}\", \"rule\": \"{v}\"}",
};
TEST(clause){ "paragraph {k} provides that {v}.", "provision {k}: {v}.",
              "according to item {k}, {v}." };

/* ---- stories ----------------------------------------------------------------- */

TRAIN(move){
    "{k} [moved|went|journeyed|travelled|went back|walked|returned] to the {v}.",
    "{k} is in the {v} now.",
    "{k} left for the {v}.",
    "then {k} [moved|went|travelled] to the {v}.",
    "{k} "
    "[strolled|wandered|drove|rode|marched|headed|rushed|crept|stepped|slipped|limped|jogged|"
    "sailed|"
    "withdrew|retired|climbed|flew|crossed over|moved over|made off|set off|set out|turned back|"
    "went over|went on|was sent|was taken|was called|was driven|had to go] to the {v}.",
    "{k} [went|walked|stepped|came|moved|ran|burst|stumbled|slipped|climbed|looked] into the {v}.",
    "{k} [arrived|appeared|showed up|turned up|stopped|sat down|is waiting|was seen|lay down] "
    "[in|at] the {v}.",
    "{k} [reached|visited] the {v}.",
    "{k} [made for|found the way to|changed over to|goes back to] the {v}.",
    "[next|later|now|soon|a little later|after a while|at last|once more], {k} "
    "[went|walked|moved|returned|drove|travelled|headed] to the {v}.",
    "[to the|into the|back to the] {v} [went|walked|marched] {k}.",
    "the {v} is where {k} [went|is|moved|stays now|can be found].",
    "the {v} was {k}'s next stop.",
    "it was the {v} that {k} [went|walked|turned] to.",
};
TEST(move){ "{k} hurried to the {v}.", "{k} came to the {v}.", "after that {k} ran to the {v}.",
            "{k} entered the {v}." };
TRAIN(get){
    "{k} [picked up|got|grabbed|took] the {v}[| there].",
    "{k} has the {v} now.",
    "then {k} [took|grabbed] the {v}.",
    "{k} [fetched|snatched|caught|pocketed|acquired|gathered|grasped|claimed|packed|obtained|held "
    "on to|"
    "reached for|took hold of|took along|took away|carried off|is carrying|got hold of|"
    "found and took|lifted up|scooped up|took up] the {v}[|| there].",
    "[next|later|now|soon|a little later|after a while|at last|once more], {k} "
    "[took|got|grabbed|picked up|fetched] the {v}.",
    "the {v} was [taken|picked up|grabbed|fetched|packed|carried off] by {k}.",
    "the {v} is with {k} now.",
    "it was the {v} that {k} [took|picked up|grabbed].",
};
TEST(get){ "{k} collected the {v}.", "{k} seized the {v}.", "the {v} was lifted by {k}." };
TRAIN(drop){
    "{k} [dropped|discarded|put down|left] the {v}[| there].",
    "{k} has no {v} any more.",
    "then {k} [left|dropped] the {v}.",
    "{k} [laid down|parted with|gave up|released|left behind|put away|put aside|put back|threw "
    "away|"
    "tossed away|unloaded|laid aside|got rid of|forgot|lost|placed down|let fall|deposited] "
    "the {v}[|| there].",
    "[next|later|now|soon|a little later|after a while|at last|once more], {k} "
    "[dropped|put down|left behind|laid down] the {v}.",
    "the {v} was [dropped|left behind|put down|laid down|thrown away] by {k}.",
    "the {v} is no longer with {k}.",
    "it was the {v} that {k} [dropped|left behind|put down].",
};
TEST(drop){ "{k} set down the {v}.", "{k} let go of the {v}.", "{k} abandoned the {v}." };

loci_frames loci_frames_say(loci_say say, loci_split s)
{
    static const loci_frames *const clause_more[] = { &loci_frames_clause, &loci_frames_clause_more,
                                                      NULL };
    static const loci_frames *const move_more[] = { &loci_frames_move, &loci_frames_move_more,
                                                    NULL };
    static const loci_frames *const get_more[] = { &loci_frames_get, &loci_frames_get_more, NULL };
    static const loci_frames *const drop_more[] = { &loci_frames_drop, &loci_frames_drop_more,
                                                    NULL };
    static const loci_frames *const assign_more[] = { &loci_frames_assign, &loci_frames_assign_more,
                                                      NULL };
    static const loci_frames *const marked_more[] = { &loci_frames_marked, NULL };
    static const loci_frames body[][2] = {
        [LOCI_SAY_ASSIGN - LOCI_SAY_ASSIGN] = { FRAMES_AND(assign_train, assign_more),
                                                FRAMES(assign_test) },
        [LOCI_SAY_MARKED -
            LOCI_SAY_ASSIGN] = { FRAMES_AND(marked_train, marked_more), FRAMES(marked_test) },
        [LOCI_SAY_CLAUSE -
            LOCI_SAY_ASSIGN] = { FRAMES_AND(clause_train, clause_more), FRAMES(clause_test) },
        [LOCI_SAY_MOVE -
            LOCI_SAY_ASSIGN] = { FRAMES_AND(move_train, move_more), FRAMES(move_test) },
        [LOCI_SAY_GET - LOCI_SAY_ASSIGN] = { FRAMES_AND(get_train, get_more), FRAMES(get_test) },
        [LOCI_SAY_DROP -
            LOCI_SAY_ASSIGN] = { FRAMES_AND(drop_train, drop_more), FRAMES(drop_test) },
    };
    if (say < LOCI_SAY_ASSIGN || say > LOCI_SAY_DROP) return (loci_frames){ 0 };
    return body[say - LOCI_SAY_ASSIGN][s];
}
