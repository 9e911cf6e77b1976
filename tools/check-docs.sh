#!/bin/sh
# check-docs.sh [LOCI] - what README.md, CONTRIBUTING.md and docs/ say is there is there: paths,
# links, subcommands and their options, the keys and ranges of docs/TRAINING.md, and README's C
# code, which must stand in docs/example.c.  LOCI: the built command (default build/loci).
cd "$(dirname "$0")/.." || exit 2
loci=${1:-build/loci}
pages=$(ls ./*.md docs/*.md)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
complain() { echo "$*" >>"$tmp/bad"; }

# ---- paths in backquotes, under a folder of this tree ----
for path in $(grep -hoE '`[A-Za-z0-9_.*/{},-]+`' $pages | tr -d '`' |
    grep -E '^(\./)?(src|include|tests|tools|docs|models|eval|bench|oracle|cmake|\.ci)(/|$)|^[A-Z]+\.md$' |
    sed 's,^\./,,' | sort -u); do
    case $path in
    *'{'*) a=${path%%\{*} rest=${path#*\{} # a/{b,c}.d
        for x in $(echo "${rest%%\}*}" | tr , ' '); do echo "$a$x${rest#*\}}"; done ;;
    *) echo "$path" ;;
    esac
done | while read -r path; do
    path=$(echo "$path" | sed 's/NAME/*/; s/ISA/*/; s/FAMILY/*/; s/FOLDER/*/') # placeholders
    # shellcheck disable=SC2086
    ls -d $path >/dev/null 2>&1 || ls -d docs/$path >/dev/null 2>&1 ||
        complain "named in a document, not there: $path"
done

# ---- [text](target) links within the tree ----
for page in $pages; do
    for link in $(grep -oE '\]\([^)#]+' "$page" | sed 's/](//' | grep -vE '^(https?|mailto):'); do
        [ -e "$(dirname "$page")/$link" ] || complain "$page: broken link $link"
    done
done

# ---- README's C code is part of docs/example.c ----
awk '/^```c$/ {on = 1; next} /^```$/ {on = 0} on' README.md | grep . | while IFS= read -r line; do
    grep -qxF -- "$line" docs/example.c || complain "README.md: not a line of docs/example.c: $line"
done

# ---- every key of a training config, with its range ----
# value N: a number of the source as the document writes it: shifts and names worked out.
value() {
    case $1 in
    *'<<'*) echo $(($1)) ;;
    LOCI_*) sed -n "s/^ *$1 = \([0-9]*\).*/\1/p" src/model/model.h ;;
    *) echo "$1" | sed 's/\.0$//' ;;
    esac
}
sed -n -e 's/^ *[TP](\([a-z0-9_]*\), [A-Z0-9]*, \([^,]*\), \([^,]*\),.*/\1|\2|\3/p' src/train/config.c >"$tmp/keys"
sed -n -e 's/^ *\(INT\|FLOAT\)_FIELD(\([a-z0-9_]*\), \([^,]*\), \([^,]*\),.*/\2|\3|\4/p' src/model/hparams.c >>"$tmp/keys"
[ "$(wc -l <"$tmp/keys")" -gt 50 ] || complain "check-docs: cannot read the tables of config.c and hparams.c any more"
while IFS='|' read -r key low high; do
    grep -qF "| \`$key\` | $(value "$low") .. $(value "$high") |" docs/TRAINING.md ||
        complain "docs/TRAINING.md lacks: | \`$key\` | $(value "$low") .. $(value "$high") |"
done <"$tmp/keys"
sed -n 's/^ *X([A-Z]*, "\([a-z]*\)", ".*/\1/p' include/loci/task.h | while read -r family; do
    grep -qF "| \`$family\` |" docs/TRAINING.md || complain "docs/TRAINING.md lacks the family $family"
done
# and no key that does not exist
sed -n 's/^| `\([a-z0-9_]*\)` | .* \.\. .*/\1/p' docs/TRAINING.md | while read -r key; do
    grep -q "^$key|" "$tmp/keys" || complain "docs/TRAINING.md: no such key: $key"
done

# ---- tensor names ----
sed -n 's/^ *tensor(b, "\([a-z0-9_.]*\)".*/\1/p' src/model/params.c | while read -r name; do
    grep -qF "$name\`" docs/MODEL.md || complain "docs/MODEL.md lacks the tensor $name"
done

# ---- subcommands and options ----
# Lines that call the command: in code blocks, or in backquotes.
if [ -x "$loci" ]; then
    grep -hE '^(\$ )?(build/)?loci [a-z]' $pages | sed 's/^\$ //' >"$tmp/calls"
    grep -hoE '`(build/)?loci [a-z][^`]*`' $pages | tr -d '`' >>"$tmp/calls"
    sed 's,^build/,,; s/ *#.*//; s/"[^"]*"//g' "$tmp/calls" | sort -u | while read -r _ sub rest; do
        help=$("$loci" "$sub" --help 2>/dev/null) || { complain "named in a document, not a subcommand: loci $sub"; continue; }
        for word in $rest; do # `bank info`, `tasks make`: the second word is a subcommand of the first
            case $word in [a-z]*) more=$("$loci" "$sub" "$word" --help 2>/dev/null) && help=$more ;; esac
            break
        done
        for word in $rest; do
            case $word in
            --help) ;;
            --*) printf '%s\n' "$help" | grep -qE -- "^ *${word%%=*}( |\$)" ||
                complain "named in a document, not an option of loci $sub: $word" ;;
            esac
        done
    done
else
    echo "check-docs: $loci is not built; subcommands and options not checked"
fi
[ ! -s "$tmp/bad" ] || { sort -u "$tmp/bad"; exit 1; }
