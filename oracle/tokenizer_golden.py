#!/usr/bin/env python3
"""Makes the golden files of the tokenizer tests with Hugging Face `tokenizers`.

usage: tokenizer_golden.py OUTDIR [TEXTFILE...]

Trains a small byte-level BPE (4,096 entries, 16 special tokens first, digits one by one, no prefix space) on a fixed text: the built-in
strings below and every TEXTFILE (250 KB each of books, code, dialogue, documentation and legal text were used). Only the first TEXTFILE is
quoted in the cases: let it be free to pass on. Writes OUTDIR/tokenizer.json and OUTDIR/cases.jsonl, one {"text": ..., "ids": [...]} a
line, encoded with special tokens off: a literal "<bos>" in a text is plain bytes.
"""
import json
import os
import random
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<bos>", "<q>", "<a>", "<e>", "<pad>"] + [f"<r{i}>" for i in range(5, 16)]
VOCAB = 4096

PROSE = [
    "The quick brown fox jumps over the lazy dog.",
    "It was the best of times, it was the worst of times; it was the age of wisdom...",
    "\"Well,\" said she, \"I'll not go -- he's late, they've gone, we're lost, and I'd rather stay; I'm sure you don't mind.\"",
    "It's IT'S it'S, we'Ve WE'VE you'RE i'M I'LL i'D 't 's 'S 'T 're 'RE 've 'm 'll 'd 'D",
    "rock'n'roll o'clock 'tis 'twas ''s 's's s's's '' ' ''' don''t can't've shouldn't've y'all'd",
    "The secret code of the amber fox of Tarsus is 483920.",
    "Section 12(b)(iii): notwithstanding Section 7.2.1, the Parties agree to pay USD 1,250,000.00 (one million).",
    "Mr. O\u2019Brien\u2019s caf\u00e9 \u2014 \u201cna\u00efve\u201d r\u00e9sum\u00e9\u2026 \u2018single\u2019",
    "e-mail: someone@example.org, see https://example.org/a/b?c=d&e=%20f#g_h",
]
CODE = [
    "int main(void)\n{\n\tfor (size_t i = 0; i < n; ++i) {\n\t\tx[i] += 0x1fUL * (y ? -1 : 2);\n\t}\n\treturn 0;\n}\n",
    "#include <stdio.h>\n#define MAX(a, b) ((a) > (b) ? (a) : (b))\n/* comment */ // other\n",
    "def f(x, *, y=None):\n    \"\"\"Doc.\"\"\"\n    if x is not None and y != 3.14e-10:\n        return {'a': [1, 2, 3], 'b': x**2}\n    raise ValueError(f'{x!r}')\n",
    "class A(B):\n\n    def __init__(self):\n        super().__init__()\n        self._x = [i for i in range(10) if i % 2 == 0]\n",
    "const f = async (x) => { await g(`${x}`); return x?.y ?? null; };",
    "{\"key\": \"value\", \"n\": -12.5e+3, \"list\": [true, false, null], \"nested\": {\"a\": {}}}",
    "SELECT a.id, COUNT(*) FROM t AS a WHERE a.x >= 10 GROUP BY 1;\r\n-- done\r\n",
    "<html><body class=\"x\">&nbsp;&amp;</body></html>", "#!/bin/sh\nset -eu; for f in *.c; do echo \"$f\" | sed 's/a/b/g' > /dev/null 2>&1; done",
]
SPACES = [" ", "  ", "   ", "    ", " " * 7, " " * 8, " " * 31, "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\r", "\t", "\t\t", "\t\t\t  ", " \t \t ", "\n \n \n",
    " a", "  a", "   a", "a ", "a  ", "a   ", "a  b", "a   b", "a \n b", "a\n  b", "a  \n\n  b", "a\t\tb", "a \tb", "\n\na\n\n", "a\n", "\na", "  \na", "a\r\nb\r\n  c",
    "x =  1", "  if x:\n      y\n", " 1", "  1", "1  2", "1 \n2", "  .", " .  ,", "\v", "\f", "a\vb\fc", "a\x1cb\x1dc\x1ed\x1fe", "a\x85b", "\u00a0", "a\u00a0b", " \u00a0 a",
    "\u00a0\u00a0x", "\u1680a", "a\u2000b\u2001c\u2002 d\u2003\u2003e", "\u2004\u2005\u2006\u2007\u2008\u2009\u200a", "a\u2028b\u2029c", "a\u202fb\u205fc\u3000d",
    "\u3000\u3000\u4e2d", "\u200ba\u200bb", "\ufeffa", "a\u180eb", "\u2060x\u00adsoft", " \n", "\n ", " \n\n ", "\t\n\t\n", "word \u00a0 1", "\u3000 1 \u3000", "a \u2003\n b"]
DIGITS = ["0", "7", "42", "1234567890", "3.14159", "-1", "+1", "1e10", "0xDEADBEEF", "a1b2c3", "1a 2b", "v1.2.3-rc4", "12:34:56", "2024-01-31", "1,000,000", "$5.99", "50%", "\u00bd", "1\u00bd cups",
    "\u00bc\u00be\u2153", "x\u00b2+y\u00b3", "\u00b9\u2070\u2074", "H\u2082O", "\u2160\u2161\u2162 \u2163", "\u2460\u2461\u2462", "\u0661\u0662\u0663", "\u06f1\u06f2\u06f3 \u06f4", "\u0967\u0968\u0969", "\u09e7\u09e8",
    "\uff11\uff12\uff13", " \uff11", "\U0001d7d8\U0001d7d9", "\u4e00\u4e8c\u4e09", "\u3007", "a\u0661b", " \u00bd", "  \u00bd \u00bd", "1\u20442", "\u2189", "\u0be7\u0bf0\u0bf1", "\u0e51\u0e52", "\u1369\u1372", "\u2776\u2777", "\u3220", "\U00010107", "\u0f20\u0f2a", "\u00bc1\u00bd2", "\u1040\u17e0\u1810"]
SCRIPTS = ["\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u6771\u4eac\u90fd\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002", "\u30ab\u30bf\u30ab\u30ca \u3072\u3089\u304c\u306a \uff76\uff85", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4.", "\u1112\u1161\u11ab",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u061f \u0661\u0662", "\u0627\u0644\u0633\u0651\u064e\u0644\u0627\u0645\u064f \u0639\u064e\u0644\u064e\u064a\u0652\u0643\u064f\u0645", "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 \u0932\u093f\u0916\u093e \u0939\u0941\u0906\u0964",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u042d\u0442\u043e \u0442\u0435\u0441\u0442.", "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5\u0387", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01", "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0", "\u13a3\u13b5\u13cd \uab70",
    "\u01c5 \u01c8 \u02b0 \u00aa \u00ba \u0149", "\u00df\u1e9e \u0130\u0131 \ufb01\ufb02", "stra\u00dfe \u00e6\u00f8\u00e5 \u0141\u00f3d\u017a \u011fi\u015f", "Vi\u1ec7t Nam", "\u0926\u094d\u200d\u0935", "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\ua9b2\ua9a4", "\U00020000\U0002a6d6", "\U00010400\U00010428", "\u1e00\u0323a\u0301e\u0308o\u0302\u0301", "e\u0301 vs \u00e9",
    "Z\u0351\u036b\u0343\u036a\u0302a\u0321\u034alg\u0489o", "\u0301lead", "a \u0301b", "n\u0303\u0303\u0303", "\u20dd\u20de", "\U0001F600", "\U0001F600\U0001F601 \U0001F602", "\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466", "\U0001F44B\U0001F3FD", "\u2764\ufe0f\u200d\U0001F525", "\u2764 \ufe0f\ufe0e", "\U0001F1EB\U0001F1F7\U0001F1E9\U0001F1EA",
    "1\ufe0f\u20e3 #\ufe0f\u20e3", "\U0001F3F4\U000E0067\U000E0062\U000E007F", "\u2603\u2602 \u2713", "a\U0001F600b", " \U0001F600", "\ue000\uf8ff", "\U0010ffff\ufffd\uffff", "\ufdd0", "\u0378\u0379", "\x00", "a\x00b", "\x01\x02\x7f\x80\x9f", "\u00d7\u00f7\u00b1", "\u221e\u2211\u222b\u2202 \u2264 \u2260", "\u20ac\u00a3\u00a5 \u20bf10", "\u2190\u2191\u2192 \u21d2", "\u2500\u2502\u250c", "\u00a7 12 \u00b6", "\u0640\u0640", "\u02bc\u02c8 \u02d8", "\u3005\u3031", "\u30fb\u30fc", "\u0345\u1d2c\u2c7c"]
PUNCT = ["", ".", "...", "?!", "--", "---", "-->", "!!!???", "a.b,c;d:e", "(a)[b]{c}<d>", "\"'`", "##", "###  Title", "* item\n* item", "a_b __c__ _d", "@user #tag $var ^ & * ~", "\\n \\t \\\\ \\u0041", "C++ C# F#", "a/b\\c", "++i; --j; i+++j", "!=  ==  <=  >=  &&  ||", "....    ....", " ,", " , .", "\u00bf\u00a1 \u00ab\u00bb", "\u2026\u2026", "\u3001\u3002\u300c\u300d", ".\n", ";\n\n", "),\n", "'", " '", " 's", "'s", " 'll go", "x 'RE", "\u2019s \u2019t", "a's'b", "1's 2'd 3'll", "'\u017f x'\u017f", "'sa 'Sa 'ta 'rea 'vea", "!'s", "\n's", "'\n"]
SPECIALS = ["<bos>", "<q>", "<a>", "<e>", "<pad>", "<r5>", "<r15>", "<r16>", "a<bos>b", " <q> what <a> x <e>", "<bos><bos>", "<bos", "bos>", "< bos >", "<BOS>", "see <a>link</a>", "<q><a>\n<e>"]
LONG = ["a" * 50, "A" * 200, "ab" * 150, "-" * 80, "=" * 79 + "\n", "." * 100, "_" * 33, "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft",
    "pneumonoultramicroscopicsilicovolcanoconiosis", "the" * 60, "0" * 70, "9876543210" * 8, "\u4e2d" * 60, "\U0001F600" * 30, "x" * 1000, "aB" * 200, "\n" * 40, " \n" * 30, "\u0430" * 100, "A1" * 50, "thE" * 40]


def mixed(rng, n):
    """Random mixtures of short pieces of every kind."""
    pool = PROSE + CODE + SPACES * 2 + DIGITS + SCRIPTS + PUNCT + SPECIALS
    for _ in range(n):
        out = ""
        for _ in range(rng.randint(2, 8)):
            s = rng.choice(pool)
            i = rng.randint(0, max(0, len(s) - 1))
            out += s[i:i + rng.randint(1, 12)]
        yield out


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    out = sys.argv[1]
    rng = random.Random(7)
    files = []
    for f in sys.argv[2:]:
        with open(f, encoding="utf-8", newline="") as h:
            files.append(h.read(4_000_000))
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    fixed = PROSE + CODE + DIGITS + SCRIPTS + PUNCT
    corpus = fixed * 3 + [x[i:i + 8000] for x in files for i in range(0, len(x), 8000)]
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    os.makedirs(out, exist_ok=True)
    t.save(os.path.join(out, "tokenizer.json"))
    t.encode_special_tokens = True
    cases = PROSE + CODE + SPACES + DIGITS + SCRIPTS + PUNCT + SPECIALS + LONG + list(mixed(rng, 120))
    for x in files[:1]:
        i = rng.randint(0, max(0, len(x) - 3000))
        cases += [x[i:i + 3000], x[:120]]
    n = 0
    with open(os.path.join(out, "cases.jsonl"), "w", encoding="utf-8") as h:
        for s in dict.fromkeys(cases):
            ids = t.encode(s, add_special_tokens=False).ids
            assert all(i >= len(SPECIAL) for i in ids), s
            assert t.decode(ids, skip_special_tokens=False) == s, s
            h.write(json.dumps({"text": s, "ids": ids}) + "\n")
            n += 1
    print(f"{t.get_vocab_size()} entries, {n} cases")


if __name__ == "__main__":
    main()
