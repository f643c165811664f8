#!/bin/sh
# The arrows between the rooms: who may include whom; and the sizes that keep the house readable.
cd "$(dirname "$0")/.."
bad=0
say() { echo "$1"; bad=1; }

# $1: files; $2: what their quoted includes may be, as an extended regular expression
may() {
    grep -nE '^#include "' $1 /dev/null | grep -vE "#include \"($2)\"" | while read -r line; do echo "arrow: $line"; done
}
own='[a-z_0-9]+\.(h|def)'
out=$(
    may "$(ls core/*.c core/*.h)" 'pith\.h|pith_ops\.h|core\.h|inside\.h|device/(pith_)?device\.h'
    may "$(ls ops/*.c ops/*.h ops/*.def 2>/dev/null)" 'core/core\.h|core\.h|pith\.h|ops/[a-z_0-9]+\.(h|def)|[a-z_0-9]+\.def|(attention|attributes|functions|lines|patches|permute|product|reduce|rows|slots|tile)\.h'
    may "$(ls cuda/*.cu cuda/*.h)" '(core|device/device|emulator|fragments|[a-z_0-9]+)\.h|ops/[a-z_]+\.(h|def)'
    may "$(ls bench/ladder/*.*)" 'core\.h|device/device\.h|cuda/(launch|rows)\.h|ops/attributes\.h|(ladder|tree)\.h'
    may "$(ls core/base/*.[ch])" 'pith\.h|core\.h|inside\.h'
    may "$(ls core/device/*.[ch])" 'pith\.h|core\.h|inside\.h'
    may "$(ls core/precision/*.[ch])" 'pith\.h|core\.h|inside\.h'
    may "$(ls core/look/*.[ch])" 'pith\.h|core\.h|inside\.h'
    may "$(ls core/files/*.[ch])" 'pith\.h|core\.h|files\.h'
    may "$(ls core/text/*.[ch])" 'pith\.h|core\.h|text\.h|parts\.h|files/files\.h'
    may "$(ls core/pictures/*.[ch])" 'pith\.h|core\.h|pictures\.h|parts\.h|files/files\.h'
    may "$(ls core/data/*.[ch])" 'pith\.h|core\.h|data\.h|parts\.h|(files/files|text/text|pictures/pictures)\.h'
    may "$(ls core/train/*.[ch])" "(core/)?pith\.h|(data/data|files/files)\.h|(core/)?(train/)?(train|optim|parts|[a-z_]+)\.h"
    may "$(ls core/neighbours/*.[ch])" 'pith\.h|neighbours\.h|parts\.h'
    may "$(ls models/*.[ch])" "(core/)?pith\.h|losses/loss\.h|(models/)?(models|parts)\.h"
    may "$(ls losses/*.[ch])" "(core/)?pith\.h|(losses/)?(loss|losses|parts)\.h"
    grep -lE '[<"](core/)?(core|inside)\.h[>"]' models/*.[ch] losses/*.[ch] core/train/*.[ch] core/neighbours/*.[ch] $(ls examples/*.c | grep -vE '04_op|12_kernel') | sed 's/^/may know pith.h only: /'
    grep -nE '#include "(.*/)?(data|train|neighbours|models|losses)\.h"' core/*.[ch] ops/*.[ch] 2>/dev/null | sed 's/^/arrow: /'
    grep -rnE 'getenv' core ops | sed 's/^/the environment is the business of the program: /'
    grep -nE 'static const pith_op ' ops/*.c | sed 's/^/an op the tests cannot see: /'
)
[ -z "$out" ] || { echo "$out"; bad=1; }

# core knows the structural few ops by name only: those core.h lists
grep -ohE 'pith_op_[a-z_0-9]+' core/*.c | sort -u | while read -r op; do
    grep -q "$op" core/core.h || echo "core/ knows $op"
done > build/arrows.txt
[ -s build/arrows.txt ] && { cat build/arrows.txt; bad=1; }
rm -f build/arrows.txt

lines=$(cat core/*.c core/*.h | wc -l)
[ "$lines" -le 4500 ] || say "the engine has $lines lines, more than 4,500"
for f in $(git ls-files '*.c' '*.h' '*.def' '*.sh' '*.cu' '*.cpp' 2>/dev/null); do
    [ -f "$f" ] && [ "$(wc -l < "$f")" -gt 400 ] && say "$f is longer than 400 lines"
done
for f in $(git ls-files '*.c' '*.h' '*.cu' '*.cpp' 2>/dev/null); do
    [ -f "$f" ] && ! awk 'length > 100 { exit 1 }' "$f" && say "$f has a line of more than 100 columns"
done
for d in core core/base core/device core/precision core/look core/files core/text core/pictures core/data core/train core/neighbours ops cuda models losses examples tests bench bench/ladder; do
    [ -f $d/README.md ] || say "$d has no README.md"
done
[ "$bad" -eq 0 ] && echo "the engine has $lines lines"
exit "$bad"
