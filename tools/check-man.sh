#!/bin/sh
# check-man.sh LOCI - the manual page that tools/make-man.sh makes holds every subcommand and option
# that LOCI knows, and is roff without a warning where groff is there to say so.
cd "$(dirname "$0")/.." || exit 2
loci=${1:-build/loci}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
complain() { echo "$*" >>"$tmp/bad"; }

tools/make-man.sh "$loci" "$tmp/loci.1" || exit 1

# The subcommands once more, by another way: what the command itself takes.
subcommands=$("$loci" --help | awk '/^  [a-z]/ {print $1}')
[ "$(printf '%s\n' "$subcommands" | wc -l)" -ge 10 ] || complain "cannot read the subcommands of $loci --help"
for sub in $subcommands; do
    if "$loci" "$sub" --help | grep -q '^options:'; then
        printf '%s\n' "$sub"
    else
        "$loci" "$sub" --help | awk -v group="$sub" '/^  [a-z]/ {print group, $1}'
    fi
done >"$tmp/leaves"
while read -r leaf; do
    awk -v head=".SS \"$leaf\"" '/^\.S/ {on = $0 == head} on' "$tmp/loci.1" >"$tmp/section"
    [ -s "$tmp/section" ] || { complain "no section: $leaf"; continue; }
    # shellcheck disable=SC2086
    for option in $("$loci" $leaf --help | grep -oE '^  --[a-z0-9-]+'); do
        escaped=$(echo "$option" | sed 's/-/\\-/g')
        grep -qE -- "^\.B $(echo "$escaped" | sed 's/\\/\\\\/g')( |\$)" "$tmp/section" ||
            complain "section $leaf lacks $option"
    done
done <"$tmp/leaves"
[ "$(grep -c '^\.SS' "$tmp/loci.1")" = "$(wc -l <"$tmp/leaves")" ] || complain "sections: not one a subcommand"
if command -v groff >/dev/null 2>&1; then
    groff -man -ww -Tutf8 "$tmp/loci.1" 2>"$tmp/warnings" >/dev/null
    [ ! -s "$tmp/warnings" ] || complain "groff: $(head -n 1 "$tmp/warnings")"
fi
[ ! -s "$tmp/bad" ] || { sort -u "$tmp/bad"; exit 1; }
