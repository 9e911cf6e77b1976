/* frames_words.c - lists of words that mean about the same in a sentence, by name: "the {a} <of> {k}
 * <is> {v}." is a thousand sentences.
 *
 * Only training's frames use them.  What the test half says in its own way ("linked to", "printed
 * next to", "happens to be", "look up", "noted for") is not in any list. */
#include "task/frames.h"

#include <string.h>

static const struct {
    const char *name, *choices; /* apart by '|'; an empty one: nothing is said */
} word[] = {
    /* ---- facts ---- */
    { "of", "of|for|of|for|belonging to|assigned to|held by|used for|registered to|chosen for|"
            "attached to|issued to|associated with|connected with|reserved for|allotted to|"
            "on file for|kept for|handed to|known for|shared with|owned by|meant for|granted to|"
            "stored for|filed under|coupled with|in use for|bound to|joined to|marked for|"
            "intended for|released to|awarded to|entered for|that we have for|they keep for|"
            "everybody uses for|that comes with|that fits|matching|valid for|agreed for|at|with|"
            "pertaining to|set aside for|relating to|claimed by|dedicated to|proper to|supplied to|"
            "going with|tied to|listed against|credited to|booked for|traced to|made out to|"
            "laid down for|prescribed for" },
    { "is",
      "is|is|was|equals|reads|remains|is still|is simply|is just|must be|should be|will be|"
      "ought to be|turned out as|proved to be|is known to be|has always been|came out as|"
      "is exactly|is really|is recorded as|is entered as|is spelled|is listed as|was fixed as|"
      "was set to|was put down as|was agreed to be|was found to be|was confirmed as|"
      "was stated as|was announced as|is understood to be|would be|seems to be|appears to be|"
      "has to be|is called|is registered as|counts as|is none other than|shall be|came to be|"
      "stands as|was noted as|was recorded as|is written|is spelled out as|was given as|"
      "may be taken as|is taken to be|was decided to be|is bound to be|is thought to be|"
      "is said to be" },
    { "right",
      "|||right |proper |exact |actual |only |true |known |valid |usual |real |full |very |"
      "well-known |agreed |said |one |first-class |sole |correct and full |plain |standing |"
      "genuine |undisputed " },
    { "chose",
      "used|named|picked|set|entered|recorded|listed|kept|took|accepted|settled on|decided on|"
      "confirmed|typed in|filed|registered|proposed|introduced|published|announced|adopted|"
      "approved|selected|received|got|wanted|stored|brought up|put down|handed in|insisted on|"
      "agreed on|went for|quoted|noted|found|favored|voted for|fell back on|signed off on|"
      "ended up with|stuck with|put in|wrote in|signed for|came up with|submitted|ordered|"
      "brought in|endorsed|ratified|put forward|opted for|swore by" },
    { "people",
      "we|they|the office|the team|both sides|the board|the owners|my colleagues|the staff|"
      "the crew|the neighbors|some of us|most people|the experts|I|all of us|the committee|"
      "the members|his friends|the editors|her parents|the engineers|you|the council|"
      "the trustees|her cousins|the volunteers|our partners|the family|the tenants|"
      "two of the guests|the judges|the clerks on duty|the researchers|the villagers|"
      "his sisters|the company" },
    { "someone",
      "the teacher|a visitor|my neighbor|her brother|the old captain|the driver|the nurse|"
      "somebody|the editor|an engineer|the guard|the landlady|their lawyer|the first witness|"
      "a stranger|the new manager|the accountant|our guide|the shopkeeper|the programmer|"
      "a good friend|the postman|the secretary|the innkeeper|an old fisherman|her aunt|"
      "the night nurse|a boy from next door|the conductor|the curator|my grandmother|"
      "the new recruit|our host|the coroner|a passing cyclist|the detective|the chemist|"
      "the interpreter" },
    { "said",
      "said|added|insisted|told us|repeated|claimed|confirmed|explained|swore|remembered|"
      "let slip|whispered|admitted|assured me|wrote back|announced|made clear|decided|"
      "found out|discovered|shouted|agreed|murmured|declared|recalled|noted in passing|argued|"
      "pointed out|let us know|sighed|testified|reported|answered|maintained|guessed rightly|"
      "conceded|warned|informed the press" },
    { "where",
      "in the notes|on page nine|in the file|on the form|in the table|on the list|"
      "in the letter|in the logbook|on the back|in the margin|on the blackboard|"
      "in the second column|on a slip of paper|in the contract|at the bottom of the sheet|"
      "on the screen|in the database|in the minutes|in the appendix|in my notebook|"
      "in the catalog|on the door|in the first row|under the picture|on the flyleaf|"
      "in the guest book|on the invoice|in the ship's papers|on the wall chart|in a footnote|"
      "in the brochure|on the back cover|under point four|in the annex|on the receipt|"
      "in the index|in the readme|on the plaque|in the third paragraph|on the whiteboard" },
    { "hedge",
      "as far as I know|by all accounts|never changed since|so they say|if I remember well|"
      "to be exact|without exception|for the time being|as you may guess|in any case|after all|"
      "believe it or not|as ever|strange as it is|and that is final|in capital letters|"
      "as the story goes|or so I heard|as usual|I think|no doubt|of course|in the end|"
      "by the way|as it happens|for what that is worth|to be fair|unless I am mistaken|"
      "all things considered|as we learned later|to nobody's surprise|at least on paper|"
      "if the files are right|in my opinion|sadly enough|to put it briefly|as agreed|"
      "truth be told|oddly enough|for better or worse" },
    { "why",
      "because the lock needs it|since the rules demand it|so that nobody forgets|"
      "for the summer|due to the rain|to avoid mistakes|because somebody asked|"
      "since the inspection|thanks to the new system|so that work can go on|to keep order|"
      "by order of the mayor|for safety|as promised|in case of fire|after a long discussion|"
      "until further word|for the whole family|because of the festival|to make things easy|"
      "because the old lock was broken|on the advice of a lawyer|as a matter of courtesy|"
      "out of habit|so the children can find it|for reasons of cost|because nobody objected|"
      "in memory of the founder's dog|to please the inspectors|since there was no other choice|"
      "as the law requires|for lack of time|because the printer was down|to save paper" },
    { "got", "has|uses|carries|received|got|kept|owns|bears|keeps|obtained|has always had|is using|"
             "requires|came with|was issued|was left with|shows|was granted|asked for|stands for|"
             "arrived with|lives by|runs under|holds on to|ended up with|needs|enjoys|retains|"
             "was allotted|inherited|took over|goes by|relies on|depends on|insists on|employs|"
             "was handed|was promised|applies|has on record|wears" },
    { "under", "under|with|by|through|because of|thanks to|only by|mainly under|under cover of|"
               "on the strength of|by virtue of|by means of" },
    { "filed",
      "was registered|is listed|is known|was filed|is found|was entered|is recognized|"
      "is handled|can be found|was stored|appears|travels|is kept|was announced|is identified|"
      "was booked|goes|operates|is managed|is catalogued|is on record|was signed in|is shelved|"
      "was checked in|is indexed|is traded|was admitted|is sorted|is looked after|was archived|"
      "is posted|was enrolled|is quoted|is tracked" },
    { "keep", "do not lose this|write this down|keep this safe|memorize it|it is short|listen|"
              "one line only|this matters|no joke|fact|here it is|for later|mark my words|attached|"
              "as requested|the answer|to the point|small print|please note|take good care of this|"
              "for your files|just in case|no need to reply|pass it on|once and for all|quick note|"
              "good to know|file under important|before I forget|nota bene" },
    { "time", "today|this week|at noon|last night|in March|two days ago|before lunch|recently|"
              "at the meeting|once more|in time|years ago|this morning|on Friday|last autumn|"
              "on the first evening|at breakfast|in the spring of that year|during the break|"
              "a week later|the other day|on the way home|that same night|after the concert|"
              "at a quarter to nine|many years later" },
    { "clock", "08:15|23:02|11:47|06:30:12|2031-04-02|2029-11-17 09:05|line 12|14:00|0017|#3|19:44|"
               "00:07|12:01:30|2027-08-30T17:20:00|row 88|t=41|week 32|no. 6|16:05:59" },
    { "tag", "INFO|info|debug|note|WARN|trace|log|audit|main|config|event|system|notice|DEBUG|sync|"
             "daemon|build|cron|store|kernel|auth|import|job 7|worker-2" },
    { "name", "Anna|Piet|Ole|Rita|Tom|Mira|Ines|Karl|Joan|Max|Nora|Sam|Lena|Hugo|Priya|Chen|Fatima|"
              "Igor|Yuki|Carlos|Ben|Edith|Abdul|Greta" },
    { "who", "operator|caller|agent|customer|student|teacher|host|guest|A|B|speaker one|me|clerk|"
             "driver|patient|nurse|judge|witness|C|mother|editor|pilot|tower|you" },
    /* ---- values that change ---- */
    { "changed",
      "changed|updated|switched over|altered|corrected|moved|reset|raised|turned|adjusted|"
      "rewritten|edited|modified|set anew|renewed|revised|converted|replaced|swapped|amended|"
      "exchanged|brought up to date|shifted|lowered|extended|transferred|redefined|overwritten|"
      "retyped|replaced and set|upgraded|set back|tuned" },
    { "now",
      "now|from now on|today|as of today|since yesterday|these days|at this point|"
      "from this week on|for now|since Monday|after the change|until further change|at present|"
      "this season|as things stand|since this morning|henceforth|from here on|"
      "in the new edition|since the change|after today|with that|currently|in the meantime" },
    { "old",
      "old|former|previous|earlier|original|outdated|first|expired|last year's|given-up|prior|"
      "past|long-standing|preceding|superseded|retired|discarded|bygone|worn-out|initial" },
    { "new", "new|current|newest|updated|changed|revised|replacing|corrected|other|next|fresh|"
             "present|modified|renewed|brand-new|final|fixed" },
    /* ---- who does what with a value ---- */
    { "staff",
      "the registrar|the bookkeeper|the archivist|the librarian|the porter|the usher|"
      "the cashier|the foreman|the dispatcher|the warden|the sergeant|the steward|the janitor|"
      "the baker|the pilot|the receptionist|the inspector|the notary|the typist|the treasurer|"
      "the tailor|the ranger|the gardener|the ferryman|the surveyor|the trainee|"
      "the night shift|the auditor|the messenger|the plumber|the referee|the tutor|the doorman|"
      "the mechanic|the host|the mayor|the coachman|the cook|the night watchman|"
      "the switchboard girl|the surgeon's aide|the quartermaster|the proofreader|the signalman|"
      "the chambermaid|the apprentice|the deputy|the goldsmith|the beekeeper|the technician|"
      "the conductor's wife|the customs officer|the choirmaster|the stationmaster" },
    { "penned",
      "scribbled|jotted down|typed|typed in|dictated|whispered|spelled out|cited|quoted|gave|"
      "offered|supplied|produced|answered|called out|read aloud|pencilled in|copied out|"
      "inked in|sent|texted|mailed|radioed|muttered|recited|submitted|reported|put forward|"
      "suggested|returned|handed over|marked|stamped|engraved|painted|shouted|filled in|"
      "entered|put in writing|wrote in chalk|spoke of|came out with|wired|noted down|"
      "underlined|carved|printed out|blurted out|confirmed|proposed|signed|tapped in|announced|"
      "traced|phoned in|laid down" },
    { "for",
      "for|as|as|when asked for|on being asked for|in reply to a query about|when pressed for|"
      "in answer to a question about|where the form wanted|in the box for|in the field for|"
      "in the blank for|on the line for|under the heading of|in the space for|where he needed|"
      "where one expects|in the cell of|after looking up|to serve as|to act as|by way of|"
      "in the role of|in the slot for|to be used as|to pass as|meaning|thinking of|"
      "referring to|hinting at|in the role expected of|to stand in for|as the entry for|"
      "to fill the gap left for|in response to a letter about|where the plan called for|"
      "in the column for|as a reply to the question of|in place of a blank for|as proof of|"
      "to satisfy the request for|under the label of" },
    { "towit",
      "that is|that is to say|i.e.|to wit|viz.|in other words|in short|more precisely|simply|"
      "which means|in full|in plain words|specifically|none other than|it being|being|"
      "videlicet|say|which is|which was|which reads|in detail|in so many words|as you see|"
      "called|spelled|to be precise|namely this|and that is|or rather|in a word|"
      "put plainly|if you must know|literally|"
      "known to us as" },
    { "must",
      "bring|ask for|look for|have ready|prepare|mention|dial|do not forget|show|call for|"
      "wait for|learn|look out for|pass on|type in|repeat|present|hand in|keep ready|insist on|"
      "send|read out|spell|memorize|print|fetch|give them|always use|start from|stick to|"
      "take note of|carry|go with|quote|hold on to|search for|rely on|hand over|remember|press|"
      "sing out|get|write in|copy out|tell them" },
    { "near",
      "beside|close to|below|above|right under|across from|opposite|at the side of|behind|"
      "in front of|after|before|in the line of|on the page of|in the row of|under the photo of|"
      "on the tag of|at the name of|in the entry of|in the cell of|on the folder of|"
      "over the name of|alongside|next to the entry for|underneath|to the left of|"
      "in the margin of|on the sheet of|between the lines about|at the foot of the entry for|"
      "on the shelf of|on the envelope for|in the drawer of" },
    { "gone",
      "is dead|was scrapped|has lapsed|is no good any more|was cancelled|was struck out|"
      "was withdrawn|was thrown out|was deleted|is history|is out of use|has run out|"
      "was revoked|was rubbed out|was erased|was abolished|was retired|is null|is invalid|"
      "no longer holds|no longer applies|has had its day|was taken back|was ruled out|"
      "does not work any more|was discarded|is obsolete|was overruled|is gone|was removed|"
      "is not used now|was dropped from the books|is past its time|was crossed off|"
      "has been let go|was declared void|had to go|ran out last night|was turned down|"
      "is no more|was a mistake|was superseded|is out of date|failed the check|fell out of use|"
      "was cleared|did not survive the review" },
    { "holds",
      "applies|stands|is good|holds|is valid|is right|is in force|is what we use|took over|"
      "stepped in|serves|is to be used|came in|follows|does the job|is the one|moved in|"
      "fills the place|is used|works|rules|takes its place|is current|is now in effect|"
      "has been put in|reigns|goes|remains|rules the day|does duty|counts from now on" },
    { "scrapped",
      "scrapped|struck out|deleted|rubbed out|erased|cancelled|blotted out|tore up|threw out|"
      "dropped|gave up|withdrew|revoked|painted over|removed|discarded|abolished|retired|"
      "overwrote|ditched|scratched out|wiped|blacked out|took down|undid|rejected|set aside|"
      "peeled off|did away with|got rid of|pasted over|cut out|took off the list|let go of|"
      "cleared|annulled|rescinded|whited out|unscrewed|took back|disowned|crossed off|"
      "ripped out|put an end to|voided|burned" },
    { "since",
      "since the audit|after the merger|following the review|with the new year|since the flood|"
      "after the holidays|from tonight on|since the reform|after the recount|"
      "following complaints|with immediate effect|since the takeover|from the first of May|"
      "after the upgrade|since then|after the strike|with the new contract|upon request|"
      "since the elections|after the break-in|under the new rules|following the accident|"
      "from noon on|as of this spring|since the last report|after the handover|"
      "since her return|at long last|by a late order|in the meantime|after the harvest|"
      "since the wedding|from Monday on|following the vote|as of the new season|"
      "after the recall|since the last storm|with the second edition|from this point on|"
      "on second thoughts|by common consent|after the outage|as a result of the inquiry|"
      "ever since the theft|in the wake of the scandal" },
    { "present", "at the moment|right now|nowadays|currently|as of this moment|as matters are|"
                 "by this time|this very day|when all is said|as we speak|"
                 "once all updates are in|after everything|by the last word|when the text stops|"
                 "at this hour|after the last edit|at closing time|with every change made|"
                 "as it is now|so far|in the newest version|when the dust has settled|"
                 "at this stage|once it is all over|by the latest news|in its last form|"
                 "as we have it today|ultimately|eventually|after the whole story|"
                 "after the last correction" },
    { "inorder", "in order|in the order of the text|in the order they appear|oldest first|"
                 "starting with the oldest|one by one|in turn|from the first on|step by step|"
                 "front to back|from beginning to end|as the text gives them|"
                 "the way they are listed|in the order of mention|chronologically|"
                 "by order of appearance|from top to bottom|each in its turn|"
                 "without changing the order|beginning with the first|in the order given|"
                 "as they were stated|following the text|from oldest to newest|consecutively|"
                 "in the same order|along the text|the first one first|by time|"
                 "in the order of entry|one at a time" },
    /* ---- what stands around a fact ---- */
    { "event",
      "when the rain began|before the guests came|long after midnight|while the kettle boiled|"
      "as the train pulled out|once the door was shut|when the lights went out|after the soup|"
      "before anybody had sat down|as soon as the bell rang|while the others slept|"
      "when the ship came in|just as the market closed|after the last guest had left|"
      "when all was quiet|while it snowed|before the inspector arrived|"
      "on the day the bridge fell|when the harvest was in|after a good deal of coughing|"
      "by the time the letter came|at the end of a long day|while the band played|"
      "in the middle of dinner|when the phone rang again" },
    { "paper",
      "the ledger|the contract|an old map|the brochure|the newspaper|the manual|the register|"
      "the invoice|the guidebook|the label|her diary|the data sheet|the signed copy|"
      "the almanac|the telegram|the leaflet|the log|a postcard|the court file|the program|"
      "the yellow form|the archive|the encyclopedia|our spreadsheet|the delivery note|"
      "the handbook|the inventory|the carbon copy" },
    { "gives", "gives|shows|lists|names|prints|records|quotes|has|carries|states|reports|contains|"
               "mentions|confirms|cites|indicates|displays|specifies|documents|supplies" },
    { "way",
      "quietly|without looking up|with a smile|in a low voice|at once|after some thought|"
      "against all advice|in passing|under oath|with some pride|rather late|for the third time|"
      "in one breath|over the phone|by letter|without a word of thanks|in a shaky hand|"
      "with great care|reluctantly|before witnesses|half asleep|in public" },
    { "other", "the old mill|the bakery|Tom Fisk|the second floor|the neighbor's boat|item forty|"
               "the spare wheel|that other one|the rest of them|the twins|the red folder|"
               "the branch in town|my cousin|the first draft|the lighthouse|the guest wing|"
               "the archive copy|the previous owner|the night train" },
    { "aside", "we were told|it seems|the guide added|so she wrote|he assured us|one hears|"
               "to quote the report|as everyone agreed|I am happy to say|mind you|you will recall|"
               "they tell me|if one may say so|it was said|I gather|experts say|I dare say|"
               "legend has it|it turned out|as the children knew" },
    { "meanwhile",
      "the rain had stopped|nobody was at home|tea was served|the clock struck ten|"
      "a dog barked outside|the meeting went on|the road was closed|it had been a long winter|"
      "the roof still leaks|everyone was tired|the paint was hardly dry|the bus was late|"
      "the harbor lay still|the lamps were lit|prices had gone up|the cat slept on the table|"
      "the letter took a month|we had no time|the bells were ringing|supper was cold|"
      "the children were at school|all shops were shut" },
    { "fine", "easy to remember|hard to forget|nothing special|odd but true|good enough|"
              "in the right place|well chosen|no longer a secret|easy to mistype|much talked about|"
              "a family tradition|quite unusual|known to few|worth writing down|beyond dispute|"
              "the usual thing|all anyone needs|a matter of record|nothing to be ashamed of|"
              "plain enough" },
    /* ---- questions ---- */
    { "tell", "give|tell|show|name|write|provide|return|print|fetch|list|supply|spell out|share|"
              "output|quote|read out|type|repeat|pass on|send|get|retrieve|extract|produce|"
              "present|hand over|mention|identify|say|cite|specify|copy|enter|display|answer with|"
              "bring up|dig out|pick out|reveal|confirm|locate|remind me of" },
    { "need", "I need|I want|I am looking for|someone asks for|we are after|I would like|"
              "I have to know|I must have|we require|I was asked for|my boss wants|all I need is|"
              "what I want is|I forgot|I lost|I am trying to remember|it would help to know|"
              "I wonder about|I am curious about|I am interested in|still missing:|"
              "we cannot go on without|they keep asking for|my question is about|wanted:" },
    { "can", "can you|could you please|would you|will you|would you kindly|could you|"
             "are you able to|please|kindly|be so kind and|do me a favor and|go ahead and|quickly|"
             "now|just|can somebody|you should|try to|I want you to|I would like you to|"
             "your task:|let us see if you can|you have to|help me and" },
    { "what", "what|which|what|which|what exactly|which one of all the things" },
    { "does", "does|did|should|would|must|might|could|will" },
    { "have", "have|use|carry|need|get|own|require|show|receive|bear|keep|hold|come with|"
              "end up with|stand for" },
    { "stated", "stated|recorded|set|used|entered|listed|agreed|fixed|registered|filed|kept|"
                "reserved|chosen|written down|put down|given in the text|mentioned|announced|"
                "documented|laid down|published|intended|valid|assigned|meant" },
    { "text", "the text|the document|the notes|the passage|the file|the pages|the book|the letter|"
              "the report|the source|the article|this text|what you read|the material|the record|"
              "everything above|the context|the story|the data" },
    { "know", "do you know|can you tell|do you remember|are you sure of|have you seen|"
              "does anybody know|do you happen to know|have you got|did you notice|"
              "does it say anywhere|did you find|is it written" },
    { "say", "say|write|mention|give|claim|contain|tell us|have|offer|teach|hold|contain" },
};

const char *loci_frame_words(const char *name)
{
    for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
        const size_t n = strlen(word[i].name);
        if (strncmp(word[i].name, name, n) == 0 && name[n] == '>') return word[i].choices;
    }
    return NULL;
}
