#!/bin/sh
# make-man.sh LOCI FILE - write the manual page loci(1) from what LOCI says with --help: one section
# a subcommand, in the order of `loci --help`.  Nothing is written twice, so the page is as
# true as the help.
set -eu
loci=$1 file=$2

# names HELP: the subcommands that the help of a group lists, nothing for a subcommand's own.
names() {
    printf '%s\n' "$1" | sed -n '/^usage: loci.* SUBCOMMAND /,/^`loci/s/^  \([a-z0-9]*\)  *[A-Za-z].*/\1/p'
}

# page NAME: one subcommand, or each of a group.
page() {
    # shellcheck disable=SC2086
    help=$("$loci" $1 --help)
    list=$(names "$help")
    if [ -n "$list" ]; then
        for sub in $list; do page "$1 $sub"; done
        return
    fi
    printf '%s\n' "$help" | awk -v name="$1" '
        # For roff: a backslash, a minus sign, a line that would begin with a request.
        function text(s) {
            gsub(/\\/, "\\e", s)
            gsub(/-/, "\\-", s)
            return s ~ /^[.\047]/ ? "\\&" s : s
        }
        /^usage: / { printf ".SS \"%s\"\n.B %s\n", name, text(substr($0, 8)); next }
        /^options:$/ { options = 1; next }
        /^$/ { if (!options) print ".PP"; next }
        options && match($0, /^  --[a-z0-9-]+( [^ a-z][^ ]*)?/) {
            help = substr($0, RLENGTH + 1)
            sub(/^ +/, "", help)
            printf ".TP\n.B %s\n%s\n", text(substr($0, 3, RLENGTH - 2)), text(help)
            next
        }
        { print text($0) }'
}

{
    top=$("$loci" --help)
    cat <<EOP
.TH LOCI 1 "" "$(printf '%s\n' "$top" | sed -n '1s/ - .*//p')" "User Commands"
.SH NAME
loci \- ingest text once, ask it forever
.SH SYNOPSIS
.B loci
.I SUBCOMMAND
[options]
.SH DESCRIPTION
loci reads files once into a bank, a folder on disk, and answers questions from it with the
passages that it read. It trains its own models, and runs those of the DeepSeek\-V4 family.
.PP
Every subcommand takes \fB\-\-help\fR; this page is made from those texts.
Numbers may end in K, M or G, powers of 1024.
.SH SUBCOMMANDS
EOP
    for sub in $(names "$top"); do page "$sub"; done
    cat <<'EOP'
.SH EXIT STATUS
0: done. 1: failed, with one line on standard error that names what and where. 2: wrong usage.
.SH SEE ALSO
README.md and docs/ in the folder of the package's documentation, and the public headers, which are
the manual of the library.
EOP
} >"$file.new"
mv "$file.new" "$file"
