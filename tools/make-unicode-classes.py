#!/usr/bin/env python3
"""Write src/text/unicode_class.inc from UnicodeData.txt.

usage: make-unicode-classes.py LETTERS_UnicodeData.txt NUMBERS_UnicodeData.txt > src/text/unicode_class.inc

Two files because the public tokenizers library takes letters from its regular expressions
(Unicode 16.0) and numbers from its language's own tables (Unicode 17.0); pass one file twice
for a single version.  White space is the property White_Space, fixed since Unicode 6.3.
"""
import sys

SPACE = [(0x09, 0x0D), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
         (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)]


def general_category(path, first_letter):
    """Code points whose general category starts with first_letter."""
    found, first = set(), None
    with open(path, encoding="ascii") as lines:
        for line in lines:
            code, name, category = line.split(";")[:3]
            code = int(code, 16)
            if name.endswith(", First>"):
                first = code
                continue
            if category.startswith(first_letter):
                found.update(range(first if name.endswith(", Last>") else code, code + 1))
    return found


def write(letters, numbers):
    klass = {c: "L" for c in letters}
    klass.update({c: "N" for c in numbers})
    for low, high in SPACE:
        klass.update({c: "S" for c in range(low, high + 1)})
    entries, last = [], None
    for code in range(0x110000 + 1):
        now = klass.get(code, "O")
        if now != last:
            entries.append(f"{now}(0x{code:05X})")
            last = now
    print("/* Written by tools/make-unicode-classes.py: where the class of code points changes. */")
    for i in range(0, len(entries), 8):
        print(", ".join(entries[i:i + 8]) + ",")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write(general_category(sys.argv[1], "L"), general_category(sys.argv[2], "N"))
