/* frames_update_amid.c - new values and one of several values, in training, among things that look like
 * them: other names, numbers, dates, words that are refused, key and value some way apart. */
#include "task/frames.h"

TRAIN(replaced_amid){
    "the {a} <of> {k} was [one thing|A] once, then [another|B], and <now> it is {v}.",
    "[three|five|12] times the {a} <of> {k} was <changed>; what <holds> is {v}.",
    "on page [12|73|208] the {a} <of> {k} is out of date; here it is, {v}.",
    "at <clock> it was <fine>, a minute later it was not: the {a} <of> {k} is \"{v}\" <now>.",
    "<name> still says otherwise, <name> knows better: the {a} <of> {k} is {v}.",
    "<name> has the <old> {a} <of> {k}. <name> has the <new> one, {v}. Believe the second.",
    "<other> keeps what it had; {k} gave up its {a} for {v}.",
    "<other> changed nothing. {k} changed its {a}. To {v}.",
    "of <other> and {k}, only one changed its {a}, the latter; \"{v}\" <now>.",
    "they <scrapped> the {a}, not of <other>, but of {k}; '{v}' <holds>.",
    "{k} was on the list. <meanwhile>. <staff> <scrapped> its {a}. <meanwhile>. <staff> <penned> "
    "{v}.",
    "{k}, remember? You have its {a} down. Strike it. Write {v}.",
    "there was {k}, there was [its|the] {a}. Then came <name>, and <since> it is {v}.",
    "everything you learned about the {a} <of> {k}, <name>, is over. {v}. Learn that.",
    "first: {k}. Second: the {a}. Third: not the <old> one. Fourth: {v}.",
    "rev. [1|2] - {k} - {a}: void. Rev. [3|4]: {v}.",
    "[v1|2019|draft]: n/a. [v2|2024|final]: {v}. ({k}, {a})",
    "| {k} | {a} | <changed> [2|3|7] x | {v} |",
    "\\{\"name\": \"{k}\", \"rev\": [2|3|9], \"{a}\": \"{v}\"}",
    "set(\"{k}\", \"{a}\", \"{v}\", [true|rev=2|force=1]); // was set before.",
    "<clock> <tag> \\[{k}] {a} [1|2|3] -> [2|3|4], now \"{v}\".",
    "patch [2|14|31] touches {k}: {a} = \"{v}\"; [+1 -1|2 files];",
    "<old> or <new>? For {k}, as to the {a}, <new>, and that is {v}.",
    "what I said on page [3|90|122] about {k} I take back. Its {a} is {v}.",
    "the {a}? Changed. Whose? That of {k}. To what? To {v}.",
    "{k} has had [two|four|a dozen] of these, and the one that counts as its {a} is {v}.",
    "<event>, {k} had one {a}; by the next day it had another, {v}.",
    "\"the {a} <of> {k} is ...\" - \"No more! It is {v}.\"",
    "\"isn't the {a} <of> {k} what <name> told us?\" - \"It was. {v}, <since>.\"",
    "take the sheet for {k}, find the {a}, ignore what is typed, read what is written above it: "
    "{v}.",
};

TRAIN(among_amid){
    "<name> has one {a} <of> {k}, <name> another; the one I have is {v}.",
    "[two|three|four] people, [two|three|four] {s} <of> {k}; <name> said {v}.",
    "at <clock>, [5|17|40] minutes late, <someone> gave one {a} <of> {k}, {v}.",
    "on page [12|73|208], line [3|9], one {a} <of> {k} is given: {v}.",
    "<other> has one {a} only; {k} has {v}, for one.",
    "<other>, <other>, {k}: of the third we note, among its {s}, {v}.",
    "\"[alpha|test|0000]\" is not among the {s} <of> {k}, \"{v}\" is.",
    "{k} was next. <meanwhile>. Asked for one {a}, <staff> <penned> {v}.",
    "{k} has [its|some] {s}. <meanwhile>, so I will read only this: {v}.",
    "<someone> wanted one {a} <of> {k}. <meanwhile>. <staff> looked into <paper>. {v}, it said.",
    "{v}, <name> wrote on the wall. <meanwhile>. It is one of the {s} <of> {k}.",
    "entry [3|17|64] of [90|120|400]: {k}, one {a}, {v}.",
    "| [1|2|14] | {k} | {s} | {v} | [ok|x|-] |",
    "\\{\"n\": [1|7|33], \"of\": \"{k}\", \"one {a}\": \"{v}\"}",
    "<clock> <tag> \\[{k}] {s}: [1|2|5] found, reading \"{v}\".",
    "f([1|2|9], \"{k}\", \"{s}\", \"{v}\");",
    "there is {k}. There are its {s}. There is, among them, {v}.",
    "the answer is {v}. The question? One {a} <of> {k}.",
    "one more of these: {v}. Of which? Of the {s} <of> {k}.",
    "not <other> but {k} has, among its {s}, {v}.",
    "<name> spoke of <other>, but <name> meant {k}: one {a}, {v}.",
    "whatever else the {s} <of> {k} may be, <name>, there is {v}.",
    "start with {k}. Skip <other>. In the {s}, tick what you see: {v}.",
    "known: {v}. As what? As one {a}. Of what? Of {k}.",
};

const loci_frames loci_frames_update_amid = FRAMES(replaced_amid_train);
const loci_frames loci_frames_several_amid = FRAMES(among_amid_train);
