#!/bin/sh
# check-format.sh [--fix] - every C file as .clang-format says; generated tables excepted.
cd "$(dirname "$0")/.." || exit 2
files=$(git ls-files '*.c' '*.h' '*.cu' '*.cuh' | grep -v '\.inc$')
if [ "${1:-}" = --fix ]; then
    clang-format -i $files
else
    clang-format --dry-run -Werror $files
fi
