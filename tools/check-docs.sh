#!/bin/sh
# check-docs.sh [LOCI] - every path, subcommand and flag that README.md, CONTRIBUTING.md and docs/
# name exists.  LOCI: the built command (default build/loci).
cd "$(dirname "$0")/.." || exit 2
loci=${1:-build/loci}
pages=$(git ls-files '*.md')
bad=0
# `src/x`, `tools/y`, `docs/Z.md` ...: in backquotes, under a folder of this tree.
for path in $(grep -hoE '`[A-Za-z0-9_.*/{},-]+`' $pages | tr -d '`' |
    grep -E '^(\./)?(src|include|tests|tools|docs|models|eval|bench|oracle)(/|$)|^[A-Z]+\.md$' |
    sed 's,^\./,,' | sort -u); do
    # shellcheck disable=SC2086
    ls -d $(eval echo "$path") >/dev/null 2>&1 || { echo "named in a document, not there: $path"; bad=1; }
done
# [text](target) links within the tree.
for page in $pages; do
    for link in $(grep -oE '\]\([^)#]+' "$page" | sed 's/](//' | grep -vE '^(https?|mailto):'); do
        [ -e "$(dirname "$page")/$link" ] || { echo "$page: broken link $link"; bad=1; }
    done
done
if [ -x "$loci" ]; then
    for sub in $(grep -hoE '\bloci [a-z]+\b' $pages | awk '{print $2}' | sort -u); do
        case $sub in is|and|has|keeps|was|can|model|in|for|does|the|of|as|to|on|uses|reads|with) continue ;; esac
        grep -qE "\`(build/)?loci $sub|^ *\\\$? ?(build/)?loci $sub" $pages || continue
        "$loci" "$sub" --help >/dev/null 2>&1 || { echo "named in a document, not a subcommand: $sub"; bad=1; }
    done
    # flags on lines that call the command
    grep -hE '(^|`|\$ )(build/)?loci [a-z]+ ' $pages | sed 's/`[^`]*$//' |
        while read -r line; do
            sub=$(printf '%s\n' "$line" | grep -oE 'loci [a-z]+' | head -n 1 | awk '{print $2}')
            for flag in $(printf '%s\n' "$line" | grep -oE ' --[a-z-]+' | sort -u); do
                { "$loci" "$sub" --help; for x in $line; do "$loci" "$sub" "$x" --help; done; } 2>/dev/null |
                    grep -q -- "$flag" || echo "named in a document, not an option of $sub: $flag"
            done
        done | sort -u | grep . && bad=1
else
    echo "check-docs: $loci is not built; subcommands and flags not checked"
fi
exit $bad
