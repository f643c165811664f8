#!/bin/sh
# Flips the signs in gradient rules, one at a time, and requires that test_ops fails for each. A mutant is one of
#   - ADD for SUB, SUB for ADD, a NEG left out, the number in SCALE or SHIFT negated: wherever a page of ops/ composes nodes,
#     that is in rules, in what they call, and in lowerings, which are the rules of fused ops;
#   - dx[k] = -(...) in place of what a rule fills in;
#   - in pointwise.def, one dy of a gradient column negated, and + for - in the value of a *_grad line, which is a derivative too.
# A mutant never touches the tree: the changed page is compiled in a folder of its own and linked with the others' objects.
# Run over all of ops/, it also fails when it finds fewer mutants than LEAST: a sign that the pages' form has slipped past it.
#   tests/flip_signs.sh [PAGE...]       default: all of ops/;  JOBS=2
set -eu
cd "$(dirname "$0")/.."
LEAST=1
[ $# -gt 0 ] || { LEAST=110; set -- ops/*.c ops/pointwise.def; }
export CC="${CC:-gcc}" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
WORK=$(mktemp -d)
export WORK
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
# Left out, as the same function: quick_gelu's second derivative is even, so the sign of its argument is not to be seen.
same='FLIPPED_SCALE(a, QUICK)'

# Everything once, at -O1: only what the ops need.
make --no-print-directory -s -j"${JOBS:-2}" V=double BUILD="$WORK/base" LIBRARY='$(ENGINE)' \
    NUMBERS="-O1 -ffp-contract=off -fopenmp" "$WORK/base/test_ops" >/dev/null
(cd "$WORK" && base/test_ops) >"$WORK/log" 2>&1 || { cat "$WORK/log"; echo "test_ops fails as it is"; exit 1; }

# Copies of the pages in which whatever is given to dx[k] stands on one line; empty lines keep the numbers of the others.
for page in "$@"; do
    mkdir -p "$WORK/pages/${page%/*}"
    awk '
    /^ *dx\[[^]]*\] =[^;]*$/ {
        for (more = 0; $0 !~ /;/ && (getline next_line) > 0; more++) {
            sub(/^ +/, "", next_line)
            $0 = $0 " " next_line
        }
        print
        while (more-- > 0) print ""
        next
    }
    { print }' "$page" >"$WORK/pages/$page"
done

# file <tab> line <tab> the line as it shall read; definitions of macros and comments are left alone
for page in "$@"; do
    awk -v page="$page" '
    function put(text) { print page "\t" FNR "\t" text }
    function flip(find, with,    from, at, before, after) {
        for (from = 1; (at = index(substr($0, from), find)) > 0; from = at + length(find)) {
            at += from - 1
            before = at > 1 ? substr($0, at - 1, 1) : ""
            after = find ~ /[a-z]$/ ? substr($0, at + length(find), 1) : ""
            if (before !~ /[A-Za-z0-9_]/ && after !~ /[A-Za-z0-9_]/)
                put(substr($0, 1, at - 1) with substr($0, at + length(find)))
        }
    }
    /\\$/ || /^ *(#|\/\*|\*)/ { next }
    {
        flip("ADD(", "SUB("); flip("SUB(", "ADD("); flip("NEG(", "(")
        flip("SCALE(", "FLIPPED_SCALE("); flip("SHIFT(", "FLIPPED_SHIFT(")
    }
    page ~ /def$/ { flip("dy", "NEG(dy)") }
    page ~ /def$/ && /_grad, / { flip("+ ", "- ") }
    page ~ /c$/ && match($0, /dx\[[^]]*\] = [^;]*;/) {
        at = index(substr($0, RSTART), " = ") + RSTART + 2
        put(substr($0, 1, at - 1) "NEG(" substr($0, at, RSTART + RLENGTH - 1 - at) ")" substr($0, RSTART + RLENGTH - 1))
    }' "$WORK/pages/$page"
done | grep -vF "$same" >"$WORK/mutants" || true

cat >"$WORK/try" <<'END'
# $1: which mutant
home=$WORK/$1
mkdir "$home"
IFS="$(printf '\t')" read -r page line text <<LINE
$(sed -n "$1p" "$WORK/mutants")
LINE
case $page in *.def) source=ops/pointwise.c ;; *) source=$page ;; esac
cp ops/*.def "$source" "$home"
LINE=$line TEXT=$text awk 'NR == ENVIRON["LINE"] { print ENVIRON["TEXT"]; next } { print }' \
    "$WORK/pages/$page" >"$home/${page##*/}"
object=$(basename "$source" .c).o
others=$(ls "$WORK"/base/core/*.o "$WORK"/base/core/*/*.o "$WORK"/base/ops/*.o | grep -v "/ops/$object")
if $CC -std=gnu11 -O1 -w -DPITH_DOUBLE -I. -Icore -Iops '-DFLIPPED_SCALE(a,c)=SCALE(a,-(c))' \
    '-DFLIPPED_SHIFT(a,c)=SHIFT(a,-(c))' -c "$home/${source##*/}" -o "$home/$object" &&
    $CC -fopenmp "$WORK/base/tests/test_ops.o" $others "$home/$object" -lopenblas -ljansson -lcmocka -lm -o "$home/test_ops"
then
    (cd "$home" && timeout 120 ./test_ops) >"$home/log" 2>&1
    case $? in 0) result=MISSED ;; 124) result="timed out" ;; *) result=caught ;; esac
else
    result="does not build"
fi
printf '%-15s %s:%s:%s\n' "$result" "$page" "$line" "$(echo "$text" | tr -s ' ')"
rm -rf "$home"
END
count=$(wc -l <"$WORK/mutants")
echo "$count mutants made of $# pages"
[ "$count" -ge "$LEAST" ] || { echo "at least $LEAST were expected"; exit 1; }
seq "$count" | xargs -P "${JOBS:-2}" -n 1 sh "$WORK/try" | tee "$WORK/results"
caught=$(grep -c '^caught' "$WORK/results" || true)
echo "$caught of $count mutants caught"
[ "$caught" -eq "$count" ]
