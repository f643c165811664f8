#!/bin/sh
# Runs every test program of the variants named (default: double, then float, which is compared with it, then emulated, of which those
# that use a device, then cuda, where nvcc is), the arrows between the rooms,
# the public header as C11 and as C++17, and the lessons; closes with one line of counts.
set -u
cd "$(dirname "$0")/.."
variants=${*:-double float emulated cuda}
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -rf "$log" "$log.d"' EXIT

tell() { # result name
    case $1 in
        ok) passed=$((passed + 1)) ;;
        *) failed=$((failed + 1)); cat "$log" ;;
    esac
    printf '%-7s %s\n' "$1" "$2"
}

attempt() { # name command...
    name=$1; shift
    if "$@" >"$log" 2>&1; then tell ok "$name"; else tell FAILED "$name"; fi
}

for v in $variants; do
    if [ "$v" = cuda ] && ! command -v nvcc >/dev/null; then
        skipped=$((skipped + 1)); echo "skipped CUDA not compiled: there is no nvcc here"
        continue
    fi
    unset TEST_DEVICE
    [ "$v" != emulated ] || export TEST_DEVICE=cuda
    for t in build/"$v"/test_*; do
        case $t in *.d|*.o) continue ;; esac
        [ -x "$t" ] || continue
        timeout -k 5 "${TEST_SECONDS:-1200}" "$t" >"$log" 2>&1
        code=$?
        [ "$code" -ne 124 ] || echo "$t is not done within ${TEST_SECONDS:-1200} s" >>"$log"
        p=$(grep -c '^\[       OK' "$log"); s=$(grep -c '^\[  SKIPPED \]' "$log"); f=$(grep -c '^\[  FAILED  \] [a-z0-9_]*$' "$log")
        n=$(sed -n 's/.*Running \([0-9]*\) test.*/\1/p' "$log" | head -1)
        [ "$code" -eq 0 ] || { cat "$log"; f=$((${n:-1} - p - s)); [ "$f" -gt 0 ] || f=1; }
        [ "$code" -ne 0 ] && printf 'FAILED  ' || printf 'ok      '
        printf '%-28s %3d passed, %d failed, %d skipped\n' "$t" "$p" "$f" "$s"
        grep -E '^(skipped|worst)' "$log" | sed 's/^/          /'
        passed=$((passed + p)); failed=$((failed + f)); skipped=$((skipped + s))
    done
done
unset TEST_DEVICE
attempt "arrows between the rooms" sh tests/arrows.sh
if command -v clang-format-19 >/dev/null; then
    attempt "every page as .clang-format has it" sh -c 'clang-format-19 --dry-run -Werror $(git ls-files "*.c" "*.h")'
else
    skipped=$((skipped + 1)); echo "skipped every page as .clang-format has it: there is no clang-format-19 here"
fi
attempt "pith.h as C11" sh -c 'echo "#include <pith.h>
int main(void) { return PITH_F32; }" | ${CC:-gcc} -std=c11 -Wall -Wextra -pedantic -Werror -Icore -x c -fsyntax-only -'
if command -v g++ >/dev/null; then
    attempt "pith.h as C++17" sh -c 'echo "#include <pith.h>
int main() { return PITH_F32; }" | g++ -std=c++17 -Wall -Wextra -pedantic -Werror -Icore -x c++ -fsyntax-only -'
else
    skipped=$((skipped + 1)); echo "skipped pith.h as C++17: there is no g++ here"
fi
for lesson in build/0* build/1*; do
    [ -x "$lesson" ] && attempt "$lesson" "$lesson"
done
# Scripts try the program in folders of their own: JOBS of them at a time, whose threads sleep while they wait for each other.
export logs="$log.d" OMP_WAIT_POLICY=passive
mkdir "$logs"
ls tests/test_*.sh | xargs -P "${JOBS:-$(nproc)}" -I '{}' sh -c \
    'if sh {} >"$logs/${1##*/}" 2>&1; then echo "ok      {}"; else cat "$logs/${1##*/}"; echo "FAILED  {}"; fi' sh '{}' | tee "$log"
scripts=$(ls tests/test_*.sh | wc -l) right=$(grep -c '^ok      tests/' "$log")
passed=$((passed + right)) failed=$((failed + scripts - right)) # one that leaves no line has failed
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
