#!/bin/sh
# curves.sh FOLDER NOTE [bench options...] - measure decode and ingest at all depths into
# FOLDER/decode.csv and FOLDER/ingest.csv and draw docs/{decode,ingest,memory}.svg from them.
#   bench/curves.sh bench/results "M, machine A" --config models/configs/m.json
# LOCI: the built command (default build/loci).  With no options the CSV files are drawn as they are.
set -eu
cd "$(dirname "$0")/.."
folder=$1
note=$2
shift 2
if [ $# -gt 0 ]; then
    mkdir -p "$folder"
    for phase in decode ingest; do "${LOCI:-build/loci}" bench "$phase" --csv "$@" >"$folder/$phase.csv"; done
fi
draw() { gnuplot -e "file='$folder/$2.csv'; out='docs/$1.svg'; note='$note'" "bench/$1.gp"; }
draw decode decode
draw ingest ingest
draw memory decode
