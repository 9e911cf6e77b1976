#!/usr/bin/env python3
"""Makes the golden files of the tests of tokenizers of the DeepSeek form with Hugging Face `tokenizers`.

usage: deepseek_tokenizer.py OUTDIR [TEXTFILE...]

Trains a small byte-level BPE whose words are found by three regular expressions in a row (digits in threes, runs of Chinese and Japanese
characters, then the rest) and adds tokens, special ones and others, behind the vocabulary, as the released files do. The text is built in;
each TEXTFILE (this project's own documents and sources were used) adds at most 100 KB. Writes
  OUTDIR/tokenizer.json    the tokenizer, as the library saves it
  OUTDIR/cases.jsonl       one {"text", "plain", "marked", "words"} a line: ids without and with the added tokens found in the text, and the
                           bytes of each word of the text without them
  OUTDIR/characters.json   every character c of Unicode inside "ca c.b c1 cc\\n": ranges of characters whose words have the same bytes
"""
import json
import os
import random
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

VOCAB = 2600
BAR, LINE = "\uff5c", "\u2581"
BASE_SPECIAL = [f"<{BAR}begin{LINE}of{LINE}sentence{BAR}>", f"<{BAR}end{LINE}of{LINE}sentence{BAR}>", f"<{BAR}{LINE}pad{LINE}{BAR}>"]
# (text, special, normalized): the library looks for the not normalised ones first.
ADDED = [(f"<{BAR}place{LINE}holder{LINE}no{LINE}{i}{BAR}>", True, False) for i in range(3)]
ADDED += [(f"<{BAR}User{BAR}>", False, True), (f"<{BAR}Assistant{BAR}>", False, True), ("<|EOT|>", True, True), ("<think>", False, True), ("</think>", False, True),
    (f"{BAR}DSML{BAR}", False, True)]
ADDED += [(f"<{BAR}{name}{BAR}>", False, True) for name in ("latest_reminder", "action", "query", "authority", "domain", "title", "extracted_url", "read_url")]
# One inside another, one that begins like another, and one whose text is plain letters.
ADDED += [("<dsml:", False, True), ("</dsml:", False, True), ("<dsml", False, False), ("xyzzy", False, True), ("xyzzyplugh", False, True)]

PUNCT_WORD = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
PATTERNS = [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    PUNCT_WORD + r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
PROBE = ("", "a ", ".b ", "1 ", "", "\n")  # the character stands between each two

PROSE = [
    "The memory of a reader is a page, and the page is numbered; whoever finds the number finds the sentence.",
    "In the year 1847 the harbour of Kirkwall counted 312 ships, 48 of them larger than 1,500 tons.",
    "\"I can't,\" she said, \"and they won't; he's gone, we're late, I'd stay, you'll see, and I've seen it all.\"",
    "A tool that forgets is a tool that asks twice. A tool that asks twice is a tool that nobody keeps.",
    "Section 12(b)(iii): notwithstanding Section 7.2.1, the parties pay EUR 1,250,000.00 within 30 days.",
    "Write to someone@example.org, see https://example.org/a/b?c=d&e=%20f#g_h, or call +44 20 7946 0018.",
    "Mrs. O\u2019Neill\u2019s caf\u00e9 \u2014 \u201cna\u00efve\u201d r\u00e9sum\u00e9\u2026 \u2018single\u2019 \u00abguillemets\u00bb \u201eunten\u201c",
    "Die Stra\u00dfe f\u00fchrt \u00fcber \u00c4cker und B\u00e4che; die Gr\u00f6\u00dfe \u00fcberrascht. El ni\u00f1o comi\u00f3 pi\u00f1a. \u00c7a va tr\u00e8s bien, gar\u00e7on.",
    "\u041f\u0430\u043c\u044f\u0442\u044c \u0447\u0438\u0442\u0430\u0442\u0435\u043b\u044f \u2014 \u044d\u0442\u043e \u0441\u0442\u0440\u0430\u043d\u0438\u0446\u0430. \u0420\u0430\u0437, \u0434\u0432\u0430, \u0442\u0440\u0438.",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u8fd9\u662f\u4e00\u4e2a\u6d4b\u8bd5\u3002\u6211\u4eec\u7684\u8bb0\u5fc6\u5f88\u957f\uff0c\u6211\u4eec\u7684\u6a21\u578b\u5f88\u5c0f\u3002",
    "\u63a8\u7406\u4e4b\u540e\u662f\u7b54\u6848\uff1b\u7b54\u6848\u4e4b\u524d\u662f\u63a8\u7406\u3002\u4eca\u5929\u662f2026\u5e7411\u670825\u65e5\uff0c\u661f\u671f\u4e09\u3002",
    "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002\u30c6\u30b9\u30c8\u30fb\u30b1\u30fc\u30b9\u3092\u66f8\u304d\u307e\u3059\u3002\u3072\u3089\u304c\u306a\u3068\u30ab\u30bf\u30ab\u30ca\u3002",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4. \uae30\uc5b5\uc740 \uc624\ub798 \ub0a8\ub294\ub2e4. \u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645. \u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
]
CODE = [
    "int main(void)\n{\n\tfor (size_t i = 0; i < n; ++i) {\n\t\tx[i] += 0x1fUL * (y ? -1 : 2);\n\t}\n\treturn 0;\n}\n",
    "#include <stdio.h>\n#define MAX(a, b) ((a) > (b) ? (a) : (b))\n/* comment */ // other\n",
    "def f(x, *, y=None):\n    \"\"\"Doc.\"\"\"\n    if x is not None and y != 3.14e-10:\n        return {'a': [1, 2, 3], 'b': x**2}\n    raise ValueError(f'{x!r}')\n\n\n",
    "const f = async (x) => { await g(`${x}`); return x?.y ?? null; };\n",
    "{\"key\": \"value\", \"n\": -12.5e+3, \"list\": [true, false, null], \"nested\": {\"a\": {}}}",
    "SELECT a.id, COUNT(*) FROM t AS a WHERE a.x >= 10 GROUP BY 1;\r\n-- done\r\n\r\n",
    "<html><body class=\"x\">&nbsp;&amp;</body></html>\n\n", "#!/bin/sh\nset -eu; for f in *.c; do echo \"$f\" | sed 's/a/b/g' > /dev/null 2>&1; done\n",
    "    ),\n        );\n    }\n\n    //\n", "x = y;\n\n\n\tz = w;\r\n\r\n  end\n", "a->b.c::d(e...);\n", "@media (max-width: 600px) { .a > #b { color: #fff; } }\n",
]
SPACES = [" ", "  ", "   ", " " * 8, " " * 31, "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\r", "\r\r\n", "\t", "\t\t", "\t\t\t  ", " \t \t ", "\n \n \n", "\n\n  \n\n   ", " \n", "\n ", " \n\n ", "\t\n\t\n",
    " a", "  a", "   a", "a ", "a  ", "a   ", "a  b", "a   b", "a \n b", "a\n  b", "a  \n\n  b", "a\t\tb", "a \tb", "\n\na\n\n", "a\n", "\na", "  \na", "a\r\nb\r\n  c", "\ta", " \ta", "\t a", "\t\ta", "\t1", "\t.",
    "  1", " 1", "1  2", "1 \n2", "1\n\n2", "  .", " .  ,", " . ", "\v", "\f", "a\vb\fc", "a\v\vb", "a\x1cb\x1dc\x1ed\x1fe", "a\x85b", "\x85\x85", "a\x85\x85b", "\u00a0", "a\u00a0b", " \u00a0 a", "\u00a0\u00a0x",
    "\u1680a", "a\u2000b\u2001c\u2002 d\u2003\u2003e", "\u2004\u2005\u2006\u2007\u2008\u2009\u200a", "a\u2028b\u2029c", "\u2028\n", "a\u202fb\u205fc\u3000d", "\u3000\u3000\u4e2d", "\u200ba\u200bb", "\ufeffa", "a\u180eb", "\u180e\u180e", " \u180e ",
    "\u2060x\u00adsoft", "word \u00a0 1", "\u3000 1 \u3000", "a \u2003\n b", "a \u2003 b", "...\n\n...", ".\n \n.", " \n.", "  \n  .", "\u4e2d \u6587", "\u4e2d  \u6587", "\u4e2d\n\u6587", "\u3000\u4e2d", "1 2  3   4"]
DIGITS = ["0", "7", "42", "123", "1234", "12345", "123456", "1234567", "1234567890", "0" * 10, "3.14159", "-1", "+1", "1e10", "0xDEADBEEF", "a1b2c3", "a1234b", "1a 2b", "v1.2.3-rc4", "12:34:56", "2024-01-31", "1,000,000", "$5.99", "50%",
    "1_000_000", "x1000y", "\u00bd", "1\u00bd cups", "1\u00bd2", "\u00bc\u00be\u2153\u215b", "x\u00b2+y\u00b3", "\u00b9\u2070\u2074", "H\u2082O", "\u2160\u2161\u2162\u2163 \u2163", "\u2460\u2461\u2462\u2463", "\u0661\u0662\u0663\u0664", "\u06f1\u06f2\u06f3 \u06f4",
    "\u0967\u0968\u0969\u096a", "\u09e7\u09e8", "\uff11\uff12\uff13\uff14", " \uff11", "\U0001d7d8\U0001d7d9\U0001d7da\U0001d7db", "\u4e00\u4e8c\u4e09", "\u3007\u4e00", "a\u0661b", " \u00bd", "1\u20442", "\u2189", "\u0be7\u0bf0\u0bf1",
    "\u1369\u1372", "\u2776\u2777\u2778\u2779", "\u3220\u3221", "\U00010107", "\u00bc1\u00bd2", "12\u066334", "\u4e2d1234\u6587", "\uff11\u4e2d\uff12"]
SCRIPTS = ["\u4e2d", "\u4e2d\u6587", "\u4e2d\u6587abc", "abc\u4e2d\u6587", " \u4e2d\u6587", "\u4e2d\u6587\uff0c\u4e2d\u6587", "\u9fa5\u9fa6\u9fa5", "\u4dff\u4e00", "\u3400\u4e00", "\U00020000\u4e00\U0002a6d6", "\u303f\u3040\u3041", "\u3042\u309f\u30a0\u30a1\u30ff\u3100",
    "\u30ab\u30bf\u30ab\u30ca \u3072\u3089\u304c\u306a \uff76\uff85", "\u30fb\u30fc\u30fb", "\u30ab\u30fb\u30ab", "\u304b\u3099\u304b\u309b\u304b\u309c", "\u309d\u309e\u30fd\u30fe", "\u3005\u3006\u4e2d\u3005", "\u4e2d\u0301\u6587", "\u0301\u4e2d", "a\u3099b", "\u4e2d's", ".\u4e2d", "!\u304b",
    "\u1112\u1161\u11ab", "\u0627\u0644\u0633\u0651\u064e\u0644\u0627\u0645\u064f", "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 \u0932\u093f\u0916\u093e\u0964", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0",
    "\u13a3\u13b5\u13cd \uab70", "\u01c5 \u01c8 \u02b0 \u00aa \u00ba \u0149", "\u00df\u1e9e \u0130\u0131 \ufb01\ufb02", "Vi\u1ec7t Nam", "\u0926\u094d\u200d\u0935", "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U00010400\U00010428",
    "e\u0301 vs \u00e9", "a\u0301b", "a \u0301b", "\u0301lead", ".\u0301a", "1\u0301a", "\n\u0301a", "Z\u0351\u036b\u0343\u036a\u0302a\u0321\u034alg\u0489o", "n\u0303\u0303\u0303", "\u20dd\u20de", "\u02bc\u02c8 \u02d8", "\u0640\u0640", "\u0345\u1d2c\u2c7c"]
EMOJI = ["\U0001F600", "\U0001F600\U0001F601 \U0001F602", "\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466", "\U0001F44B\U0001F3FD", "\u2764\ufe0f\u200d\U0001F525", "\u2764 \ufe0f\ufe0e", "\U0001F1EB\U0001F1F7\U0001F1E9\U0001F1EA", "1\ufe0f\u20e3 #\ufe0f\u20e3",
    "\U0001F3F4\U000E0067\U000E0062\U000E007F", "\u2603\u2602 \u2713", "a\U0001F600b", " \U0001F600", "\U0001F600\n\n", "ok\U0001F44D\n", "\ue000\uf8ff", "\U0010ffff\ufffd\uffff", "\ufdd0", "\u0378\u0379", "\x00", "a\x00b", "\x00\x00", "\x01\x02\x7f\x80\x9f", "\x01abc", "\x7f\x7fabc",
    "\u00d7\u00f7\u00b1", "\u221e\u2211\u222b\u2202 \u2264 \u2260", "\u20ac\u00a3\u00a5 \u20bf10", "\u2190\u2191\u2192 \u21d2", "\u2500\u2502\u250c", "\u00a7 12 \u00b6", "\u200e\u200f", "\u200babc", "a\u200babc", "\u00ada"]
PUNCT = ["", ".", "...", "?!", "--", "-->", "!!!???", "a.b,c;d:e", "(a)[b]{c}<d>", "\"'`", "##", "###  Title", "* item\n* item", "a_b __c__ _d", "@user #tag $var ^ & * ~", "\\n \\t \\\\ \\u0041", "C++ C# F#", "a/b\\c", "++i; --j; i+++j", "!=  ==  <=  >=  &&  ||",
    "....    ....", " ,", " , .", "\u00bf\u00a1 \u00ab\u00bb", "\u2026\u2026", "\u3001\u3002\u300c\u300d", ".\n", ".\n\n", ".\r\n", ".\r\r", ";\n\n", "),\n", ");\n\n\n    x", "; \n", " ;\n", "  ;\n", "'", " '", " 's", "'s", "'S", "x'Re", "''s", "\u2019s \u2019t", "a's'b", "1's 2'd",
    "'abc", "\"abc\"", "(abc)", ".abc.def", "..abc", "...abc", " .abc", "  .abc", "-abc-", "~abc", "_abc_", "`abc`", "{abc}", "|abc|", "<abc>", "</abc>", "@abc", "#abc", "$abc", "%abc", "^abc", "&abc", "*abc", "+abc", "=abc", "/abc", "\\abc", ":abc", ";abc", "?abc", "!abc", "[abc]", ",abc",
    "'\u00e9t\u00e9", ".\u00e9", "/a\u00e9", "'a\u0301", ".\u4e2d", "\u2014abc", "\u201cabc\u201d", "\u00a3abc", "\u3002abc", "\u3002\n\n", "\uff01\r\n\r\n", "\uff5c\uff5c", "\u2581a\u2581", "'1", ".1.", "-1-2", "$1,234.5", "#1\n", "a.\n\nb", "a.\n \nb", "a. \n\nb", "a\n.\n"]
BAR_TOKENS = [s for s in BASE_SPECIAL] + [s for s, _, _ in ADDED]
MARKED = BAR_TOKENS + [f"<{BAR}User{BAR}>\u4f60\u597d<{BAR}Assistant{BAR}><think>\u63a8\u7406</think>\u7b54\u6848" + BASE_SPECIAL[1],
    f"<{BAR}User{BAR}>Hello! <{BAR}Assistant{BAR}></think>", f"<{BAR}User{BAR}><{BAR}User{BAR}>", f" <{BAR}User{BAR}> ", f"a<{BAR}User{BAR}>b", f"a \n<{BAR}User{BAR}>\n b", f"<{BAR}User{BAR}", f"<{BAR} User{BAR}>", f"<{BAR}user{BAR}>", "<|User|>",
    f"<<{BAR}User{BAR}>>", f"{BAR}DSML{BAR}", f"<{BAR}DSML{BAR}tool_calls>\n<{BAR}DSML{BAR}invoke name=\"f\">\n</{BAR}DSML{BAR}invoke>\n</{BAR}DSML{BAR}tool_calls>", f"{BAR}DSML{BAR}DSML{BAR}", f"{BAR}DSM", "<think><think></think></think>", "<think", "< think>", "<Think>",
    "<think>\n", "a<think>b</think>c", "123<think>456", "12<think>34", "\u4e2d<think>\u6587", "  <think>  ", "\n\n</think>\n\n", "<dsml:a", "<dsml", "<dsml;", "</dsml:", "</dsml", "x<dsml:<dsml", "xyzzy", "xyzzyplugh", "xyzzyplug", "xyzzyxyzzyplugh", "Xyzzy", "axyzzyb", "xyzz\u0301y",
    "a" * 5 + "<|EOT|>" + " ", "<|EOT|><|EOT|", BASE_SPECIAL[0] + BASE_SPECIAL[0], BASE_SPECIAL[0] + " " + BASE_SPECIAL[1] + "\n", BASE_SPECIAL[0][:-1], "tail" + BASE_SPECIAL[1]]
LONG = ["a" * 50, "A" * 200, "ab" * 150, "-" * 80, "=" * 79 + "\n", "." * 100, "_" * 33, "the" * 60, "0" * 70, "9876543210" * 8, "\u4e2d" * 60, "\U0001F600" * 30, "x" * 1000, "aB" * 200, "\n" * 40, " \n" * 30, " " * 300 + "\n", " " * 300 + "a", "\t" * 100,
    "\u0430" * 100, "A1" * 50, "\u0301" * 50, ".a" * 60, "a." * 60, ".\n" * 40, "\u4e2d1" * 30, "\u4e2da" * 30]


def mixed(rng, n):
    """Random mixtures of short pieces of every kind."""
    pool = PROSE + CODE + SPACES * 2 + DIGITS + SCRIPTS + EMOJI + PUNCT + MARKED
    for _ in range(n):
        out = ""
        for _ in range(rng.randint(2, 8)):
            s = rng.choice(pool)
            i = rng.randint(0, max(0, len(s) - 1))
            out += s[i:i + rng.randint(1, 14)]
        yield out


def splitter():
    steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in PATTERNS]
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train(files):
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([])
    t.pre_tokenizer = splitter()
    t.decoder = decoders.ByteLevel()
    corpus = (PROSE + CODE + DIGITS + SCRIPTS + EMOJI + PUNCT) * 3 + [x[i:i + 8000] for x in files for i in range(0, len(x), 8000)]
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=BASE_SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    for content, special, normalized in ADDED:
        token = AddedToken(content, single_word=False, lstrip=False, rstrip=False, normalized=normalized, special=special)
        (t.add_special_tokens if special else t.add_tokens)([token])
    return t


def words_of(split, text):
    """Bytes of each word: a character of the byte alphabet stands for one byte."""
    return [len(word) for word, _ in split.pre_tokenize_str(text)]


def write_cases(out, t, files):
    # The same vocabulary without added tokens; for the library text is then never one of them.
    spec = json.loads(t.to_str())
    spec["added_tokens"] = []
    plain = Tokenizer.from_str(json.dumps(spec))
    split = splitter()
    rng = random.Random(11)
    cases = PROSE + CODE + SPACES + DIGITS + SCRIPTS + EMOJI + PUNCT + MARKED + LONG + list(mixed(rng, 160))
    cases += [x[:600] for x in files[:6]]
    n = 0
    with open(os.path.join(out, "cases.jsonl"), "w", encoding="utf-8") as h:
        for s in dict.fromkeys(cases):
            a = plain.encode(s, add_special_tokens=False).ids
            b = t.encode(s, add_special_tokens=False).ids
            if plain.decode(a, skip_special_tokens=False) != s:
                print("note: does not come back as it was:", ascii(s)[:80])
            h.write(json.dumps({"text": s, "plain": a, "marked": b, "words": words_of(split, s)}, separators=(",", ":")) + "\n")
            n += 1
    return n


def write_characters(out):
    split = splitter()
    kinds, ranges = {}, []
    for c in range(0x110000):
        if 0xd800 <= c < 0xe000:
            continue
        key = tuple(words_of(split, chr(c).join(PROBE)))
        kind = kinds.setdefault(key, len(kinds))
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == kind:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, kind])
    with open(os.path.join(out, "characters.json"), "w", encoding="utf-8") as h:
        json.dump({"library": tokenizers.__version__, "probe": PROBE, "words": [list(k) for k in kinds], "ranges": ranges}, h, separators=(",", ":"))
    return len(kinds), len(ranges)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    files = []
    for f in sys.argv[2:]:
        with open(f, encoding="utf-8", errors="replace", newline="") as h:
            files.append(h.read(100_000))
    t = train(files)
    t.save(os.path.join(out, "tokenizer.json"))
    print(f"tokenizers {tokenizers.__version__}: {t.get_vocab_size()} entries")
    print(f"{write_cases(out, t, files)} cases")
    print("%d kinds of characters in %d ranges" % write_characters(out))


if __name__ == "__main__":
    main()
