#!/bin/sh
# bars.sh - goal: tools/bars leaves a row of each measurement in the order of its list, says which are
# missing, and measures those alone when run again.  Method: a command in the place of `loci` that
# writes its arguments as a row and, while a file says so, fails for one family.
set -eu
bars=$(cd "$(dirname "$0")/../.." && pwd)/tools/bars
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "bars.sh: $*" >&2; exit 1; }

cat > loci <<'END'
#!/bin/sh
case "$*" in *"--family copy "*) [ ! -f broken ] || { echo "loci: no luck" >&2; exit 1; } ;; esac
printf '%s\n' "$*" | sed 's/["\\]//g; s/.*/{"args": "&"}/'
echo "$*" >> calls
END
chmod +x loci
cat > slow <<'END'
#!/bin/sh
sleep 60
END
chmod +x slow
export LOCI=./loci JOBS=3 LENGTHS=1K,2K LONG=2K ITEMS=16 BABI="it's.txt" DEEP=4K
"$bars" --quick --list m out text | sort > names
[ "$(sort -u names | wc -l)" = "$(wc -l < names)" ] || fail "two rows of one name"

touch broken
if "$bars" --quick m out "a text" > rows 2> says; then fail "a missing row is no failure"; fi
grep -q 'copy-2K: exit code 1: loci: no luck' says || fail "the reason is not said: $(cat says)"
grep -q 'not measured: copy-2K' says || fail "what is missing is not said: $(cat says)"
n=$(wc -l < names)
[ "$(wc -l < rows)" = $((n - 1)) ] || fail "$(wc -l < rows) rows shown of $n"
[ "$(wc -l < out/bars.jsonl)" = $((n - 1)) ] || fail "$(wc -l < out/bars.jsonl) rows kept of $n"
grep -q -- '--text a text ' rows || fail "a blank in a name is lost"
grep -q -- "--file it's.txt --support 2 --only Where is the " rows || fail "a quote in a name is lost"

rm broken calls
"$bars" --quick m out "a text" > rows 2> says || fail "run again: $(cat says)"
[ "$(wc -l < calls)" = 1 ] || fail "run again, it measured $(wc -l < calls)"
grep -q -- '--family copy ' rows || fail "the missing row is not shown"
[ "$(wc -l < out/bars.jsonl)" = "$n" ] || fail "$(wc -l < out/bars.jsonl) rows kept of $n"
head -n 1 out/bars.jsonl | grep -q -- '--tokens 4K ' || fail "the deep row is not the first"

# TOTAL ends everything, also the command that is running, without leaving half a row.
if LOCI=./slow TOTAL=12 "$bars" --quick m other text > rows 2> says; then fail "all missing is no failure"; fi
[ ! -s rows ] || fail "a row of a command that was stopped"
[ ! -s other/bars.jsonl ] || fail "a row kept of a command that was stopped"
[ -z "$(find other/rows -type f ! -name '*.log')" ] || fail "left behind: $(ls other/rows)"
