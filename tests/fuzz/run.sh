#!/bin/sh
# Builds the fuzz targets with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, and runs each for SECONDS_EACH (15) from the
# corpus that is kept, JOBS at a time. Prints how much each covers; fails when one crashes, whose input it leaves in build/fuzz. `make fuzz` calls it.
#     run.sh [TARGET...]
set -eu
cd "$(dirname "$0")/../.."
JOBS=${JOBS:-$(nproc)}
objects=$(ls examples/pith/*.c | grep -v main.c | sed 's|\(.*\)\.c|build/fuzz/\1.o|')
make --no-print-directory -s -j"$JOBS" V=fuzz CC=clang WARN=-Wno-pass-failed NUMBERS="-O1 -ffp-contract=off -fno-math-errno -fopenmp" build/fuzz/libpith.a $objects
if [ $# -ne 1 ]; then
    [ $# -gt 0 ] || set -- $(ls tests/fuzz/*.c | sed 's|.*/||; s|\.c$||')
    printf '%s\n' "$@" | xargs -P "$JOBS" -n 1 tests/fuzz/run.sh
    exit
fi
t=$1
FUZZ_FOLDER=$(mktemp -d /dev/shm/pith-fuzz-XXXXXX)
export FUZZ_FOLDER
trap 'rm -rf "$FUZZ_FOLDER"' EXIT
program=build/fuzz/fuzz-$t
clang -std=c11 -D_GNU_SOURCE -g -O1 -I. -Icore -Ilosses -fopenmp -fsanitize=fuzzer,address,undefined "tests/fuzz/$t.c" \
    $objects build/fuzz/libpith.a \
    $(make --no-print-directory -s V=fuzz CC=clang libs) -o "$program"
mkdir -p "build/fuzz/corpus-$t"
leaks=1
[ "$t" = record ] && leaks=0 # what the program allocates lives until it ends
if ! ASAN_OPTIONS=detect_leaks=$leaks "$program" -detect_leaks=$leaks -max_total_time="${SECONDS_EACH:-15}" -max_len=65536 -rss_limit_mb=4096 \
    -artifact_prefix="build/fuzz/crash-$t-" "build/fuzz/corpus-$t" "tests/fuzz/corpus/$t" >"build/fuzz/log-$t" 2>&1; then
    tail -40 "build/fuzz/log-$t"
    echo "fuzz: $t crashes"
    exit 1
fi
grep -E '^#[0-9]+.* cov: ' "build/fuzz/log-$t" | tail -1 | sed -n "s/^#\([0-9]*\).* cov: \([0-9]*\) ft: \([0-9]*\).*/fuzz: $t: \1 inputs, \2 edges and \3 features covered/p"
