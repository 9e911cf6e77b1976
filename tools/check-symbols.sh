#!/bin/sh
# check-symbols.sh BUILD_DIR - the shared library exports loci_* only, and the library holds no
# writable globals.
cd "$(dirname "$0")/.." || exit 2
build=${1:-build}
bad=0
shared=$(find "$build" -name 'libloci.so*' -type f | head -n 1)
static=$(find "$build" -name 'libloci.a' | head -n 1)
[ -n "$shared" ] && [ -n "$static" ] || { echo "no library in $build"; exit 2; }
foreign=$(nm -D --defined-only "$shared" | awk '$2 ~ /[TDBRVW]/ {print $3}' | grep -v '^loci_' || true)
[ -z "$foreign" ] || { echo "exported without the prefix: $foreign"; bad=1; }
[ "$(nm -D --defined-only "$shared" | grep -c ' T loci_')" -gt 20 ] || { echo "$shared exports too little"; bad=1; }
# b, d: writable; relocated constant tables (.data.rel.ro) are read-only once loaded.
writable=$(objdump -t "$static" | awk '$0 ~ / O / && $0 !~ /\.rodata|\.data\.rel\.ro/ && $4 ~ /^\.(data|bss|tbss|tdata)/ {print $NF}')
[ -z "$writable" ] || { echo "writable globals: $writable"; bad=1; }
exit $bad
