/* frames_fact_far.c - facts of training whose parts stand far from each other: the key in one sentence, the
 * attribute in the next, the value at the end or before both, with other numbers, names and things between.
 *
 * The nearest word is seldom the right one; a person can always tell. */
#include "task/frames.h"

TRAIN(far){
    /* key first, attribute and value in later sentences */
    "{k} came up after lunch. Someone wanted to know more, and it fell to me to give the {a}. {v}, "
    "I said.",
    "everyone was talking about {k}. I had only one thing to add, and that was the {a}, which I "
    "knew to be {v}.",
    "I went to see {k}. The stairs were steep and the light was broken. As for the {a}, it is {v}.",
    "we drove past {k} without stopping. On the way back we did stop, and I noted the {a}: {v}.",
    "there is a folder for {k}. Most of it is bills, but the last sheet gives the {a}. It says "
    "{v}.",
    "this concerns {k}. You will be asked for a number of things. One of them is the {a}. Answer "
    "{v}.",
    "{k} had been closed all winter. In April it opened, with fresh paint, and under the same {a} "
    "as always, {v}.",
    "{k} was founded by two brothers who never spoke to each other. They agreed only on its {a}: "
    "{v}.",
    "about {k} I know three things. It is old. It is cheap. And it has {v} for [a|its] {a}.",
    "take {k}, for instance. People complain about the stairs, the smell, the price. Nobody "
    "complains about the {a}, {v}.",
    "someone left a message about {k}. The line was bad. All I could make out was the {a}, and "
    "that was {v}.",
    "here is what we have on {k}. Age: not known. Owner: not known. The {a}, however, is known, "
    "and is {v}.",
    "{k} is a puzzle to most. Once they hear its {a}, though, the fog lifts. The {a}, dear reader, "
    "is {v}.",
    "they searched {k} from top to bottom. They found dust. They found a {a}. The {a} was {v}.",
    "let us move on to {k}. I'll skip the history, which is long, and the costs, which are longer. "
    "{a}: {v}.",
    "{k}. Good. Now think hard. What did it say there, under the {a}? That's right: {v}.",
    "for {k} there are rules. You knock, you wait, you take off your hat. Then you give the {a}, "
    "{v}.",
    "my brother works with {k}. Every morning, before coffee, he has to type in the same {a}. It "
    "is {v}.",
    "you know {k}, don't you? Well, yesterday they finally told me what the {a} is. I had to sit "
    "down. {v}!",
    "they asked me about {k} at the border. I was tired and said the first thing I could think of, "
    "the {a}: {v}.",
    "I once had a card from {k}. The picture has faded. What you can still read is the {a}, {v}.",
    "the story of {k} is soon told. It began with a bet, it ended with a {a}, and that {a} was "
    "{v}.",
    "a stranger asked the way to {k}. I gave it to him. He then asked for the {a}. I gave him that "
    "too: {v}.",
    "{k} stands at the end of the lane. If the gate is shut, ring twice. A voice will want the "
    "{a}. Say {v}.",
    "{k}: see the green binder. Third tab. There, below a coffee stain, you'll find the {a}. {v}.",
    "on Monday it was {k} that nobody could open. On Tuesday we found the {a} under the mat: {v}.",
    "poor {k}! First the flood, then the fire. What was saved fits in a matchbox: its {a}, {v}.",
    "first I read about {k}. Then I read about trains. Then, turning back, I saw that I had missed "
    "the {a}, {v}.",
    "the next name is {k}. I will not comment. It has a {a} like all the rest, and in its case "
    "this is {v}.",
    "mother wrote \"{k}\" on an envelope. Inside, on the thin blue paper she liked, was the {a}, "
    "nothing else: {v}.",
    "who made {k}? We don't know. When? We don't know. With what {a}? That we do know. With {v}.",
    /* attribute first, key later, value last */
    "one {a} is worth a line of its own. It belongs to {k}, and it is {v}.",
    "the {a} is a strange business. Some have none. {k} has one, and it is {v}.",
    "a {a} should be short. The one that was picked for {k}, after months of talk, is {v}.",
    "when it comes to the {a}, people get things mixed up. So, slowly: for {k} it is {v}.",
    "there was a dispute over a {a}. It was not mine, it was not yours, it was that of {k}: {v}.",
    "I collect these: every {a} I can get. Today's is from {k}. It goes {v}.",
    "let's begin with the {a}, since that is what you came for. You asked about {k}. You will want "
    "{v}.",
    "by {a} I mean what is written on top. On {k}, then, what is written on top is {v}.",
    "the {a}, gentlemen! What did we say the {a} should be? I mean for {k}. Didn't we say {v}?",
    "everything needs a {a}, and {k} is no exception to that. In this instance it is {v}.",
    "under \"{a}\" the dictionary has nothing to say about {k}; the sticker on its back says {v}.",
    "please find the {a}. No, one line down, that of {k}. Have you got it? It begins and ends like "
    "this: {v}.",
    "this is the part about the {a}. Skip it unless you deal with {k}. If you do, write {v}.",
    /* value first, its meaning later */
    "{v}. For a long time I had no idea what this was. It turned out to be the {a} of {k}.",
    "{v}. Those were his last words, and it took us a week to see that he meant {k} and its {a}.",
    "{v}: I found this in my coat. Then it came back to me. It's for {k}. It's the {a}.",
    "{v}! That's all the note says. But on the other side there is \"{k}\", and \"{a}\", and an "
    "arrow.",
    "write down {v}. Done? Now write down, next to it, that this is a {a}. Whose? That of {k}.",
    "somebody has scratched {v} into the lift door. As every child here knows, it's the {a} of "
    "{k}.",
    "she kept saying {v}. We thought of a town, a horse, a dish. It was a {a}. It was that of {k}.",
    "\"{v}\" was on the ticket, on the bag, on the box. It is, you see, what {k} has by way of a "
    "{a}.",
    "\"{v},\" it says here. And what is it? A {a}. And of what? Of {k}. Next question.",
    "I came across {v} in an old notebook, and at once I thought of {k}. Wasn't that the {a}? It "
    "was.",
    "look at {v} for a moment. It has no beauty. Yet to {k} it is everything, because it is the "
    "{a}.",
    "who reads {v} thinks nothing of it. Who knows {k} thinks: aha, the {a}.",
    "with {v} you will not get far, except at {k}, where it's the {a}.",
    "you see {v}, and you wonder. There's no need to. It's a {a}, and {k} is what it goes with.",
    "for the crossword I needed {v}. It was clued as \"{a} of {k}\".",
    "on one side of the coin is {v}. On the other is {k}. The rim, in tiny print, has the word "
    "\"{a}\".",
    "they shouted {v} across the yard, twice, and the men at the gate understood: {k}, the {a}.",
    /* value in the middle, key or attribute last */
    "when {v} was read out, hands went up everywhere, for who did not know the {a} of {k}?",
    "by the time I had typed {v}, the screen had gone dark, and with it went the {a} of {k}.",
    "we put {v} on the form, and nobody objected, since that is after all the {a} of {k}.",
    "he reads {v} as if it were poetry, though it is just the {a} of {k}.",
    "you can paint {v} over the door, you can print it on mugs, it remains the {a} of {k}.",
    "I had {v} tattooed on my arm, so that I would never again forget the {a} of {k}.",
    "they say that {v}, the {a}, which many have tried to guess, came to {k} in a dream.",
    "my advice is to learn {v} by heart before you set out, because it's the {a}, and {k} asks for "
    "it.",
    "it's all very well to have {v} on paper, but what use is the {a} if you can't find {k}?",
    "to some, {v} means nothing; to those who work with {k}, it means the {a}.",
    "how was I to know that {v}, which I took for a joke, was meant in earnest, as the {a}, and "
    "for {k}?",
    /* numbers, dates and names that are not the value */
    "on [3 May|11 October|New Year's Eve], at [9:15|16:40], and in front of [12|200] people, {k} "
    "was given the {a} {v}.",
    "of the [5|18|36] boxes, [4|17|35] were empty; the last had {k} in it and, pinned on, its {a}, "
    "{v}.",
    "{k} is [40|112|9] years old, weighs [3|70|850] kilos, and goes by the {a} {v}.",
    "after [6|14] tries and [2|3] phone calls to [Basel|Lima|Turku], we had it: the {a} of {k} is "
    "{v}.",
    "at [80|95|110] miles an hour he recited the {a} of {k}, and it was {v}, and the policeman "
    "wrote that down too.",
    "[Room 12|Gate 4|Pier 9], [second|third] shelf: {k}. Ignore the price, [19.99|4.50|120.00]. "
    "The {a} is {v}.",
    "{k} cost [2|15|900] pounds in [1911|1954|1978] and costs more now, but the {a} has been {v} "
    "throughout.",
    "I count [three|seven] spellings of {k} in the file, yet just one spelling of its {a}: {v}.",
    "page [4|31|209] deals with [bees|tariffs|rope], page [5|32|210] with {k}, where the {a} is "
    "put at {v}.",
    "in [Ghent|Osaka|Quito] they use [red|A-1|77] for theirs; {k} uses {v}, if you mean the {a}.",
    "between [1990|1963] and [1999|1971] {k} moved [four|six] times and not once did its {a}, {v}, "
    "move with it.",
    "[Ms. Ortega|Dr. Blum|Old Pettersen] has [two|nine] of them; {k} makes do with one {a}, and "
    "that's {v}.",
    "the bus [42|7|N3] stops at {k}; get off, and say the {a} at the barrier, and the {a} is {v}.",
    "my locker is [118|27|305], my badge is [blue|expired|0044], and the {a} of {k}, which is not "
    "mine, is {v}.",
    "weather: [12|-3|27] degrees. Visitors: [none|8|140]. News: {k} has got its {a}; it's {v}.",
    "they sold [60|200] copies, mostly in [Leeds|Graz|Perth], of a book about {k} with its {a}, "
    "{v}, on the spine.",
    "[87|54|61] percent of those asked did not know {k}; the others all knew its {a} as {v}.",
    "sunrise [5:58|7:31], high water [11:20|14:05], and for {k}, as the {a}, {v}.",
    "<name> scored [12|7|30], <name> [9|5|28]; on the back of the card: {k}, {a}, {v}.",
    "table for [two|five] at [eight|half past seven], name of {k}, {a} {v}, no onions.",
    "chapter [3|11|20], verse [4|16]: and unto {k} was given a {a}, even {v}.",
    "[$5|20 kroner|one shilling] says you can't tell me the {a} of {k}. - Pay up: {v}.",
    "version [2.4|0.9|11], build [881|17|4006], for {k}; the {a}, printed small, is {v}.",
    "{k} was number [2|6|19] of [8|24|50] and the first whose {a} we could read: {v}.",
    "of [two|ten|sixteen] answers, \"[lemon|37|Thursday]\" was the commonest, but the {a} of {k} "
    "is {v}.",
    "\"[Saturn|8080|willow]\" opens the cellar, \"[Venus|9090|birch]\" the attic; for {k} the {a} "
    "is {v}.",
    "call [extension 14|the desk|room 6] between [8|9] and [5|6]; for {k} have the {a} ready, i.e. "
    "{v}.",
    "flight [LX318|BA77|SK9] had {k} on board; {a}, as read from the tag: {v}.",
    "born [1871|1902|1944], died [1930|1969|2011]; of {k} the stone gives besides these only the "
    "{a}, {v}.",
    "{k} shares its birthday with [Mozart|my cat|the king] and its {a} with nobody. It's {v}.",
    "[Uncle Theo|The butcher|Corporal Hart] swore it was [Neptune|606|\"hush\"]. It wasn't. {k} "
    "has the {a} {v}.",
    /* other things of the same kind nearby */
    "some say {k} and some say its rival; I only know that the {a} of the first-named is {v}.",
    "the lamp was Eva's, the rug was Paul's, and {v} was the {a} of {k}.",
    "the front door has no {a}, nor has the back; only {k} has, and that one is {v}.",
    "<other> may be grander, and <other> may be nearer, but neither has {v} for its {a}; {k} has.",
    "first we did <other>, which took an hour, then {k}, which took a minute, the {a} being {v}.",
    "don't bring up <other> here. What I want to discuss is {k}, and what I want fixed in your "
    "minds is the {a}: {v}.",
    "compare <other>, about which volumes exist, with {k}, about which one has the {a}, {v}, and "
    "no more.",
    "ask <name> about <other>; ask me about {k}, and I will tell you, as I tell everyone, that the "
    "{a} is {v}.",
    "while <name> looked after <other>, it was I who took care of {k} and wrote up its {a} as {v}.",
    "<name> was in charge of <other>. <name> was in charge of {k}. It's to the latter that we owe "
    "the {a}, {v}.",
    "this isn't <other>, it's {k}; you can see it from the {a}, which would otherwise not be {v}.",
    "there were two parcels, one for <other> and one for {k}; on the second the {a} had been "
    "inked: {v}.",
    "<other> stayed in the car; {k} went in, gave {v} as the {a}, and was served.",
    "<name> came in with <other>, <name> with {k}. You'll recognize the one I mean from the {a}, "
    "{v}.",
    "<other>, whatever people say, was never in it. {k} was, and so was its {a}: {v}.",
    "neither <other> nor <other> will do, as the {a} asked for is that of {k}. It's {v}.",
    "forget <other>. Forget <name>. Keep in your head {k}; keep in your head the {a}; keep {v}.",
    "the note on <other> is long and dull. Below, on {k}, just this: \"{a}: {v}.\"",
    "I would trade <other> for the {a} of {k} any day, if I didn't have it already: {v}.",
    "after <other> had been dealt with, the talk came round to {k}, to the {a} in particular, and "
    "so to {v}.",
    /* a long clause between */
    "the {a} which, after so many delays and in spite of everything that had been said against it, "
    "{k} was at last allowed to use is {v}.",
    "the {a} of {k}, as anyone who has spent a wet afternoon in the archives will be able to tell "
    "you, is {v}.",
    "the {a} of {k}, once the dust of a hundred years had been wiped from the glass in front of "
    "it, could be read as {v}.",
    "{k}, which stood for years in the corner of my uncle's shop between the scales and the stove, "
    "has the {a} {v}.",
    "{k}, whatever one may think of the people who brought it here and of their reasons, can claim "
    "for itself the {a} {v}.",
    "{v}, which you may have seen on posters in the underground or on the side of a van, is the "
    "{a} of {k}.",
    "{v}, though few of those who use it every day could tell you where it comes from, has long "
    "been the {a} of {k}.",
    "{k} got, from a committee that met eleven times and ate a great deal of cake, the {a} {v}.",
    "with regard to {k}, and leaving aside for the moment all questions of cost, taste and "
    "transport, the {a} is {v}.",
    "as soon as the ferry had tied up and the first cars had rolled off, {k} was hailed by its "
    "{a}, {v}, from the pier.",
    "for {k}, because the old ones had all been used up and nobody could agree on a better way, "
    "the {a} was drawn by lot: {v}.",
    "although the ink had run and half of the page was missing, the {a} of {k}, so carefully "
    "drawn, was still {v} to any reader.",
    "it was agreed, over the protests of a man at the back who wanted his tea, that {k} should "
    "have {v} for its {a}.",
    "I have looked everywhere for a nicer way of putting this, but the {a} of {k}, in the end, is "
    "just {v}.",
    "the {a}, and I say so after thirty years of looking after {k} in all weathers, is {v}.",
    "if you walk down to the harbor before seven, when the boats are still in, you can see {k}, "
    "with its {a}, {v}, on the bow.",
    /* rooms, queues, errands */
    "I was sent for the {a} of {k}, and came back with mud on my boots and {v} on a scrap of "
    "paper.",
    "the queue for {k} went round the block. At its head sat a clerk with a stamp, and on the "
    "stamp was the {a}, {v}.",
    "whoever had the room before me left a shirt, a bill, and the {a} of {k} on the mirror in "
    "soap: {v}.",
    "we wanted soup, we got a lecture on {k}, and by the coffee we could all say its {a}, which is "
    "{v}, backwards.",
    "{k} is on the left as you come in. On the right is a stove. On the ceiling, don't ask me why, "
    "is the {a}: {v}.",
    "they won't let you near {k} unless, on a form in three copies, you have put, as the {a}, {v}.",
    "nobody thanked the boy who had run all the way from {k} with the {a}, {v}, on a damp piece of "
    "card.",
    "you may keep the change, the umbrella and the cake. I only want the {a} of {k} back, and that "
    "is {v}.",
};

const loci_frames loci_frames_fact_far = FRAMES(far_train);
