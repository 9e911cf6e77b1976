#!/bin/sh
# run.sh BUILD_DIR - install into a folder, move it, and build docs/example.c against it in each
# of the ways that users do: find_package (shared, static) and pkg-config (shared, static).
#
# Able to fail: each program must run, and must report the missing model in the library's words.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/root" # an installed tree may be moved
[ -s "$work/root/share/man/man1/loci.1" ] || { echo "no manual page installed"; exit 1; }
lib=$(dirname "$(find "$work/root" -name 'libloci.so' | head -n 1)")

# Ways to link, one program each.
cmake -G Ninja -S "$source/tests/install" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$work/root" \
    -DEXAMPLE="$source/docs/example.c" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$work/cmake" >/dev/null
PKG_CONFIG_PATH="$lib/pkgconfig"
export PKG_CONFIG_PATH
[ "$(pkg-config --modversion loci)" = "$(sed -n 's/^project(loci VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")" ]
# shellcheck disable=SC2046
${CC:-cc} "$source/docs/example.c" $(pkg-config --cflags --libs loci) -o "$work/pc_shared"
# shellcheck disable=SC2046
${CC:-cc} "$source/docs/example.c" $(pkg-config --cflags loci) "$lib/libloci.a" \
    $(pkg-config --libs --static loci | sed 's/-lloci//') -o "$work/pc_static"

for program in "$work/cmake/with_shared" "$work/cmake/with_static" "$work/pc_shared" "$work/pc_static"; do
    code=0
    LD_LIBRARY_PATH="$lib" "$program" "$work/no-model" "$work/bank" "$source/README.md" "What?" \
        2>"$work/message" || code=$?
    if [ "$code" != 1 ] || ! grep -q "no-model" "$work/message"; then
        echo "$program: exit $code, said:"
        cat "$work/message"
        exit 1
    fi
done

# With a model that is there, the installed command and the example answer from the same bank.
if [ -e "$work/root/share/loci/models/loci-m/model.safetensors" ]; then
    mkdir "$work/text"
    echo "The access code of the quiet harbour is 481516." >"$work/text/note.txt"
    "$work/root/bin/loci" ingest --quiet --bank "$work/bank" "$work/text" >/dev/null
    LD_LIBRARY_PATH="$lib" "$work/pc_shared" "$work/root/share/loci/models/loci-m" "$work/bank" \
        "$work/text" "What is the access code of the quiet harbour?" >"$work/answer"
    grep -q 'note.txt:1-1' "$work/answer" || { echo "no evidence in the example's answer:"; cat "$work/answer"; exit 1; }
fi
echo "installed, moved, linked four ways, run"
