#!/bin/sh
# peer.sh - loci and llama.cpp in turn on this machine: a decoded token and reading, at three depths.
#   bench/peer.sh >peer.csv        what the columns mean: bench/peer/compare.py
# For an idle machine.  On a busy one llama.cpp's threads wait for each other by spinning, 250 times a
# token, and lose far more than loci: figures from there compare schedulers.  UNDER is a command that
# every program is run under, e.g. "chrt -f 1" (real-time priority, which starves all other work).
# llama.cpp comes as it is released: prebuilt libraries, and headers of the same release, from two npm
# packages, which are fetched and unpacked, not installed; nothing of them is run but the libraries.
# Environment: LOCI (default build/loci), CONFIG (models/configs/m.json), DEPTHS (0,8192,32768),
# ROUNDS (5), THREADS (2), UNDER, PEER (version of the packages), WORK (folder that is kept for the
# next call; default: one of its own, removed at the end; about 300 MB).
set -eu
cd "$(dirname "$0")/.."
peer=${PEER:-3.22.1}
loci=${LOCI:-build/loci}
stop() { echo "peer.sh: $*" >&2; exit 1; }
for tool in node npm git tar python3 cc; do
    command -v "$tool" >/dev/null || stop "needs $tool, which is not there (llama.cpp comes from npm)"
done
[ -x "$loci" ] || stop "$loci: not there; build it or set LOCI"
if [ -n "${WORK:-}" ]; then
    mkdir -p "$WORK"
    work=$(cd "$WORK" && pwd)
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
fi

# unpack PACKAGE FOLDER: the files of an npm package, without what it depends on.
unpack() {
    [ -d "$2" ] && return
    echo "peer.sh: fetching $1" >&2
    (cd "$work" && npm pack --silent --ignore-scripts "$1" >"$work/name") || stop "npm pack $1: failed"
    mkdir "$2.new"
    tar -xzf "$work/$(cat "$work/name")" -C "$2.new" --strip-components=1
    rm "$work/$(cat "$work/name")" "$work/name"
    mv "$2.new" "$2"
}
platform=$(node -p 'process.platform + "-" + process.arch')
unpack "@node-llama-cpp/$platform@$peer" "$work/$platform-$peer"
unpack "node-llama-cpp@$peer" "$work/api-$peer"
libraries=$work/$platform-$peer/bins/$platform
source=$work/source-$peer
[ -d "$libraries" ] || stop "$libraries: expected the libraries of $platform there"
if [ ! -d "$source" ]; then
    git clone --quiet --no-checkout "$work/api-$peer/llama/gitRelease.bundle" "$source.new"
    git -C "$source.new" checkout --quiet HEAD -- include ggml/include
    mv "$source.new" "$source"
fi

cc -std=c11 -O2 -o "$work/decode" bench/peer/decode.c -I"$source/include" -I"$source/ggml/include" \
    "$libraries"/libllama.*so* "$libraries"/libggml.*so* "$libraries"/libggml-base.so -Wl,-rpath,"$libraries"
[ -f "$work/peer.gguf" ] || python3 bench/peer/make_gguf.py "$work/peer.gguf"
python3 bench/peer/compare.py --loci "$loci" --config "${CONFIG:-models/configs/m.json}" --decode "$work/decode" \
    --backends "$libraries" --model "$work/peer.gguf" --scratch "$work" --rounds "${ROUNDS:-5}" \
    --depths "${DEPTHS:-0,8192,32768}" --threads "${THREADS:-2}" --under "${UNDER:-}"
