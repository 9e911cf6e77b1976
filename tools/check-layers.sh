#!/bin/sh
# check-layers.sh - fail if a folder includes a folder above it, or if the command and the
# evaluations reach past the public headers.  Each line: folder, then the folders it may include.
cd "$(dirname "$0")/.." || exit 2
bad=0
while read -r dir allowed; do
    for used in $(grep -rhoE '^ *# *include +"[a-z0-9]+/' "src/$dir" | sed 's/.*"//; s,/,,' | sort -u); do
        case " $dir loci $allowed " in
        *" $used "*) ;;
        *) echo "src/$dir may not include $used/"; bad=1 ;;
        esac
    done
done <<'RULES'
base
kernel base
cuda base
format base
text base
task base
model base kernel cuda format
train base kernel cuda format model
engine base kernel cuda format model
cli
RULES
for dir in eval bench; do
    grep -rnE '^ *# *include +"(base|kernel|format|text|task|model|train|engine)/' "$dir" && bad=1
done
# What belongs to the command alone.
if grep -rnE '\b(exit|abort|printf|puts|getenv|setlocale) *\(' src --include='*.c' --include='*.h' |
    grep -vE '^src/cli/|[sf]n?printf|vs?n?printf|LOCI_PRINTF|format\(printf|^[^:]*:[0-9]+: *(/?\*|//)'; then
    echo "the library never exits, prints or reads the environment"
    bad=1
fi
exit $bad
