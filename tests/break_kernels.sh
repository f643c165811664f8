#!/bin/sh
# Breaks the kernels of cuda/, one place at a time, and requires that a test fails for each. A mutant is one of
#   - a __syncthreads() or __syncwarp() left out;
#   - a shuffle over twice the offset, or from twice the lane;
#   - x[i + 1] for x[i], of every subscript in code of the device, reads and writes, in memory and in registers;
#   - i <= n for i < n, and i > n for i >= n; a minimum is left alone, which is the same either way.
# All mutants of all pages are compiled at once, into one program: MUTANT(k) is 1 in the run whose mutant is k, else 0, and x[i] reads
# x[MUTANT(k) + (i)]. Every op's tests run once without a mutant: that tells which mutants they reach, and how long they take. A mutant is
# then tried by the tests that reach it, the quickest first, until one fails. Those that none notices are listed, and must stand in
# break_kernels.known, each with the reason why it is no mistake. Nothing of the tree is changed.
# Run over all of cuda/, it also fails when it finds fewer mutants than LEAST, or a line of the list that is none of them.
#   tests/break_kernels.sh [PAGE...]       default: all of cuda/;  JOBS=2;  EVERY=10: only every tenth mutant;  LIST=1: only told, not tried
# Not broken: what the assembler or NVRTC gets (mma.h, compile.cu), in whose place tests/emulator has its own.
set -eu
cd "$(dirname "$0")/.."
LEAST=1
[ $# -gt 0 ] || { LEAST=700; set -- $(grep -lE '__global__|__device__' cuda/*.cu cuda/*.h | grep -vE '/(mma|functions|compile)\.'); }
WORK=$(mktemp -d)
export WORK OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive CMOCKA_TEST_ABORT=1
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
known=tests/break_kernels.known

# ---- the pages with their mutants ----

mkdir -p "$WORK/tree/cuda" "$WORK/reached"
for each in *; do [ "$each" = cuda ] || [ "$each" = build ] || ln -s "$PWD/$each" "$WORK/tree/$each"; done
cp cuda/* "$WORK/tree/cuda"
# mutants: number <tab> page <tab> line <tab> the line as it is then
awk -v tree="$WORK/tree" -v list="$WORK/mutants" -f tests/break_kernels.awk "$@"
count=$(wc -l <"$WORK/mutants")
echo "$count mutants in $# pages"
[ "$count" -ge "$LEAST" ] || { echo "at least $LEAST were expected"; exit 1; }
[ -z "${LIST:-}" ] || { cut -f 2- "$WORK/mutants" | tr '\t' ':'; exit; }

cat >"$WORK/mutant.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
static int chosen;
static char reached[100000];
int pith_mutant(int k)
{
    reached[k] = 1;
    return k == chosen;
}
__attribute__((constructor)) static void choose(void)
{
    if (getenv("MUTANT")) chosen = atoi(getenv("MUTANT"));
}
__attribute__((destructor)) static void tell(void)
{
    FILE *f = getenv("REACHED") ? fopen(getenv("REACHED"), "w") : NULL;
    for (int k = 1; f && k < (int)sizeof reached; k++)
        if (reached[k]) fprintf(f, "%d\n", k);
}
END
cat >"$WORK/tree/mutant.h" <<'END'
/* const: a loop need not ask again and again */
extern "C" int pith_mutant(int k) __attribute__((const));
#define MUTANT pith_mutant
END

# ---- one program ----

make --no-print-directory -s -j"${JOBS:-2}" V=emulated build/emulated/test_kernels build/emulated/test_products
pages=$(ls cuda/*.cu)
make --no-print-directory -s -C "$WORK/tree" -j"${JOBS:-2}" V=emulated BUILD=built \
    VARIANT_emulated="-DPITH_WITH_CUDA -DPITH_EMULATED -w -include mutant.h" $(echo "$pages" | sed 's|^|built/|; s|\.cu$|.o|') >/dev/null
${CC:-gcc} -O2 -c "$WORK/mutant.c" -o "$WORK/mutant.o"
others=$(ls build/emulated/core/*.o build/emulated/core/*/*.o build/emulated/ops/*.o build/emulated/tests/emulator/*.o | grep -v planted)
for test in kernels products; do
    ${CC:-gcc} -fopenmp -rdynamic "build/emulated/tests/test_$test.o" $others "$WORK"/tree/built/cuda/*.o "$WORK/mutant.o" \
        $(make --no-print-directory -s libs) -lcmocka -o "$WORK/test_$test"
done

# ---- which tests reach which mutants ----

# $1: an op, or "products"; a mutant may lead into an endless loop
cat >"$WORK/test" <<'END'
ulimit -c 0; ulimit -t 20
case $1 in products) exec timeout 300 "$WORK/test_products" ;; *) OP=$1 exec timeout 300 "$WORK/test_kernels" ;; esac
END
cat >"$WORK/measure" <<'END'
begin=$(date +%s%N)
REACHED="$WORK/reached/$1" sh "$WORK/test" "$1" >"$WORK/log.$1" 2>&1 || { cat "$WORK/log.$1" >&2; echo "$1 fails as it is" >&2; exit 255; }
echo "$(($(date +%s%N) - begin)) $1"
END
changed=$(for page in "$@"; do grep -lF "$page" "$WORK"/tree/built/cuda/*.d; done | sort -u | sed 's/d$/o/')
tests=$(nm $changed | sed -n 's/.* T \(.*\)_cuda$/\1/p' | sort)
case $changed in *blas.o*) tests="$tests linear products" ;; esac
printf '%s\n' $tests | xargs -P "${JOBS:-2}" -n 1 sh "$WORK/measure" >"$WORK/times"
for test in $(sort -n "$WORK/times" | cut -d ' ' -f 2); do sed "s/\$/ $test/" "$WORK/reached/$test"; done |
    awk '{ of[$1] = of[$1] " " $2 } END { for (k in of) print k of[k] }' >"$WORK/tests"

# ---- each mutant ----

cat >"$WORK/try" <<'END'
# $1: which mutant
result=MISSED by=
for test in $(sed -n "s/^$1 //p" "$WORK/tests"); do
    by=$test
    MUTANT=$1 sh "$WORK/test" "$test" >"$WORK/log.$1" 2>&1 || { result=caught; break; }
done
rm -f "$WORK/log.$1"
[ "$by" ] || by="never reached"
printf '%s\t%s\t%s\n' "$result" "$by" "$(sed -n "$1p" "$WORK/mutants" | cut -f 2-)"
END
# known: page <tab> the line as it is then <tab> why that is no mistake
grep -v '^#' "$known" | cut -f 1,2 >"$WORK/known"
awk -v tried="$WORK/tried" -v gone="$WORK/gone" -F '\t' 'FILENAME == ARGV[1] { known[$1 "\t" $2] = 1; next } ($2 "\t" $4) in known { found[$2 "\t" $4] = 1; next } { print $1 >tried }
    END { for (k in known) if (!(k in found)) print "no such mutant: " k >gone }' \
    "$WORK/known" "$WORK/mutants"
awk "NR % ${EVERY:-1} == 0" "$WORK/tried" | xargs -P "${JOBS:-2}" -n 1 sh "$WORK/try" | tee "$WORK/results" >"${RESULTS:-/dev/null}"
grep '^MISSED' "$WORK/results" | tr '\t' ':' || true
echo "$(grep -c '^caught' "$WORK/results" || true) of $(wc -l <"$WORK/results") mutants caught; $(wc -l <"$WORK/known") are known to be no mistakes"
[ "$LEAST" -eq 1 ] || [ ! -s "$WORK/gone" ] || { cat "$WORK/gone"; exit 1; }
! grep -q '^MISSED' "$WORK/results"
