#!/bin/sh
# What the READMEs and pith.h print is true: every block of C compiles with a user's flags; a loss and an op's page pass `pith check`;
# commands and options exist; an op and a pointwise line added as ops/README.md says are found by test_ops, pass it and test_misuse in
# double and in float, and leave the rules of the house kept. PITH=FILE tests another build.
set -u
cd "$(dirname "$0")/.."
pith=$(realpath "${PITH:-build/pith}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
bad() { echo "test_readme: $*"; failed=1; }
cc="${CC:-gcc}"
strict="-std=c11 -fopenmp -Wall -Wextra -Wshadow -Werror"

# ---- blocks: $work/blocks/ROOM-LINE.c is a block of C as printed; those of commands go into one list -------------------------------
mkdir "$work/blocks"
for page in README.md */README.md core/*/README.md examples/pith/README.md bench/evidence/README.md; do
    name=$(dirname "$page" | tr / _ | sed 's/^\.$/house/')
    awk -v prefix="$work/blocks/$name" -v commands="$work/commands" -v page="$page" '
    function finish() {
        if (text == "") return
        if (fenced || text ~ /(^|\n)(#include|#define|pith_node |static |UNARY\(|NODE\()/) printf "%s", text > (prefix "-" start ".c")
        else print text >> commands
        text = ""
    }
    fence && /^```/ { finish(); fence = 0; next }
    fence { text = text $0 "\n"; next }
    /^```/ { finish(); fence = 1; fenced = ($0 == "```c"); start = NR; next }
    /^    / && (text != "" || blank) { if (text == "") { start = NR; fenced = 0 } text = text gap substr($0, 5) "\n"; gap = ""; next }
    /^$/ { blank = 1; if (text != "") gap = gap "\n"; next }
    { finish(); gap = ""; blank = 0 }
    END { finish() }' "$page"
    # and commands inside a sentence
    grep -o '`build/pith [^`]*`' "$page" | tr -d '`' >>"$work/commands"
done
sed -n '/^ \*     /s/^ \*     //p' core/pith.h >"$work/example"

# ---- C -----------------------------------------------------------------------------------------------------------------------------
count=0
for block in "$work"/blocks/*.c; do
    count=$((count + 1))
    name=$(basename "$block" .c)
    room=$(echo "$name" | sed 's/-.*//; s|_|/|')
    grep -qE '^(UNARY|NODE)\(' "$block" && continue # tried below
    case $(cat "$block") in
        *'#include <loss.h>'*) flags="-I core -I losses" ;; # those of losses/file.c
        *'#include'*) flags="-D_GNU_SOURCE -I. -Icore -I$room" ;;
        *) flags="-D_GNU_SOURCE -I. -Icore -Wno-unused-function -include core.h" ;; # part of an op's page
    esac
    $cc $strict $flags -fsyntax-only "$block" >"$work/log" 2>&1 || { bad "$name does not compile:"; cat "$work/log"; }
    grep -q 'loss.h>\|^const pith_op ' "$block" || continue
    "$pith" check "$block" >"$work/log" 2>&1 || { bad "pith check $name:"; cat "$work/log"; }
done
[ $count -ge 7 ] || bad "$count blocks of C found, at least 7 expected"
{ echo '#include <pith.h>
void example(const float *data);
void example(const float *data)
{'; cat "$work/example"; echo '}'; } >"$work/example.c"
grep -q pith_run "$work/example.c" || bad "no example on top of core/pith.h"
$cc $strict -I core -fsyntax-only "$work/example.c" >"$work/log" 2>&1 || { bad "the example of pith.h:"; cat "$work/log"; }

# The first loss of the README is what its first line says: a right caption is not among the wrong ones. Where pictures' and captions' rows are
# those of the unit matrix, every wrong caption is below the right one by 1, and softplus(100 (0.2 - 1)) is 0; where they are in another order,
# one of three wrong ones is above the right one by 1, the other two are its equals: (softplus(120) + 2 softplus(20)) / 4 = 40.
margin=$(grep -l '^/\* margin.c' "$work"/blocks/house-*.c)
{ printf '#include <stdio.h>\n#define loss margin\n#include "%s"\n#undef loss\n' "$margin"; cat <<'END'; } >"$work/value.c"
static double value(int shift)
{
    pith_real image[16] = { 0 }, text[16] = { 0 };
    pith_graph *g = pith_graph_new(pith_store_new(), 0);
    pith_batch b = pith_batch_new(g);
    for (int k = 0; k < 4; k++) image[5 * k] = text[4 * k + (k + shift) % 4] = 1;
    b.image = pith_const_array(g, PITH_F32, image, 4, 4);
    b.text = pith_const_array(g, PITH_F32, text, 4, 4);
    b.scale = pith_const(g, 100);
    pith_node *y = margin(&b);
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    pith_run(p);
    return pith_scalar(p, y);
}
pith_node *loss(const pith_batch *b)
{
    printf("margin.c: %.6f and %.6f\n", value(0), value(1));
    return margin(b);
}
END
"$pith" check "$work/value.c" >"$work/log" 2>&1 || { bad "margin.c:"; cat "$work/log"; }
grep -q "margin.c: 0.000000 and 40.000000" "$work/log" || { bad "margin.c is not what it says:"; cat "$work/log"; }

# PITH_ATTRIBUTES refuses padding (gcc's -Wpadded; clang has no word for it inside a macro)
padded='#include "core.h"
PITH_ATTRIBUTES(padded, char c; int x;)'
case $cc in
    *gcc*) echo "$padded" | $cc -std=c11 -Icore -fsyntax-only -x c - 2>/dev/null && bad "attributes with padding compile" ;;
esac

# ---- commands ----------------------------------------------------------------------------------------------------------------------
grep '^ *build/pith ' "$work/commands" >"$work/calls"
[ "$(wc -l <"$work/calls")" -ge 6 ] || bad "$(wc -l <"$work/calls") commands found, at least 6 expected"
while read -r _ command rest; do
    [ "$command" = help ] && continue
    "$pith" help "$command" >"$work/help" 2>&1 || bad "there is no command $command: build/pith $command $rest"
    for word in $rest; do
        case $word in --*) grep -q -- "$word[ ,]" "$work/help" || bad "there is no $word: build/pith $command $rest" ;; esac
    done
done <"$work/calls"

# ---- an op and a line of pointwise.def, added as printed -----------------------------------------------------------------------------
tree=$work/tree
mkdir "$tree"
cp -r Makefile .clang-format README.md core ops tests losses models cuda examples bench "$tree"
page=$(grep -l 'ops/flip.c' "$work"/blocks/ops-*.c) line=$(grep -l '^UNARY(cube' "$work"/blocks/ops-*.c)
lower=$(grep -l '^static void flip_lower' "$work"/blocks/ops-*.c)
header=$(grep -l '^PITH_UNARY(cube' "$work"/blocks/ops-*.c)
{ cat "$lower"; sed 's/\.cpu = flip_cpu/.lower = flip_lower, &/; /#include/d' "$page"; } | sed '1i #include "core.h"' >"$tree/ops/flip.c"
cat "$line" >>"$tree/ops/pointwise.def"
sed -i "/^PITH_UNARY(gelu)/r $header" "$tree/core/pith_ops.h"
cat "$(grep -l '^NODE(pith_cube' "$work"/blocks/ops-*.c)" >>"$tree/tests/misuse_calls.def"
cd "$tree" || exit 1
unset MAKEFLAGS MFLAGS # of a make that called this
mkdir build
for v in double float; do # at -O1, and only what the ops need
    make --no-print-directory -s -j"$(nproc)" CC="$cc" V=$v LIBRARY='$(ENGINE) $(wildcard core/files/*.c core/train/[gou]*.c)' \
        NUMBERS="-O1 -ffp-contract=off -fopenmp" build/$v/test_ops build/$v/test_misuse >"$work/log" 2>&1 || { bad "test_ops in $v does not build:"; tail "$work/log"; }
    for op in flip cube; do grep -q "&pith_op_$op," build/$v/ops_list.h || bad "test_ops in $v does not find $op"; done
    build/$v/test_ops >"$work/log" 2>&1 || { bad "test_ops in $v fails:"; cat "$work/log"; }
    build/$v/test_misuse >"$work/log" 2>&1 || { bad "test_misuse in $v fails:"; cat "$work/log"; }
done
sh tests/arrows.sh >"$work/log" 2>&1 || { bad "the arrows:"; cat "$work/log"; }
if command -v clang-format-19 >/dev/null; then
    cp "$page" ops/flip.c # without .lower, which may break its lines elsewhere
    clang-format-19 --dry-run -Werror ops/flip.c core/pith_ops.h >"$work/log" 2>&1 || { bad "not as .clang-format has it:"; cat "$work/log"; }
fi
[ $failed = 0 ] && echo "test_readme: $count blocks of C, $(wc -l <"$work/calls") commands, an op and a pointwise line as printed"
exit $failed
