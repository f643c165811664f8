#!/bin/sh
# tests/gpu.sh, which is for a day with a GPU, on the emulated device: a line for each thing shown, in its file too; a test that fails, one that skips, one that
# hangs; and one line where there is no GPU.
set -u
cd "$(dirname "$0")/.."
if [ ! -x build/emulated/pith ] || [ ! -x build/emulated/test_prefetch ]; then
    echo "skipped: there is no build/emulated/pith, or no test_prefetch"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
bad() { echo "test_gpu: $*"; cat "$work/said"; failed=1; }
mkdir "$work/emulated"
ln -s "$PWD/build/emulated/pith" "$PWD/build/emulated/test_prefetch" "$work/emulated"
stub() { # name lines...: a program of tests, which ends as its last line says
    name=$work/emulated/test_$1; shift
    { echo '#!/bin/sh'; printf '%s\n' "$@"; } >"$name"
    chmod +x "$name"
}
stub wrong 'echo "[  ERROR   ] --- 3 is not 4"' 'echo " 1 FAILED TEST(S)"' 'exit 1'
stub partly 'echo "[       OK ] one"' 'echo "skipped: no tea"' 'echo "[  SKIPPED ] two"' 'echo "[  SKIPPED ] 1 test(s), listed below:"' 'echo "[  SKIPPED ] two"'
stub cpu 'echo "[       OK ] one"' 'echo "[  SKIPPED ] trains_as_f32_does"'
stub nothing 'echo "skipped: built without CUDA"'
stub slow 'exec sleep 60'

attempt() { # precisions seconds tests
    BUILD="$work/emulated" RESULTS="$work/results" MODEL=16/8:w32l2h2+w32l2h2c12v640:e32 STEPS=2 PRECISIONS=$1 LIMIT=$2 TESTS=$3 tests/gpu.sh >"$work/said" 2>&1
    code=$?
    cmp -s "$work/said" "$work/results" || bad "the file does not have what was printed"
}
has() { for row in "$@"; do grep -qE "$row" "$work/said" || bad "no line $row"; done; }

attempt "f32 bf16" 120 "prefetch cpu"
[ $code = 0 ] || bad "it failed"
for precision in f32 bf16; do
    has "^ok +2 steps in $precision on cpu$" "^ok +2 steps in $precision on cuda$" "^ok +losses in $precision beside the CPU's$" "^ok +step by step in $precision$"
done
has ' of 2 losses, at most ' '^ok +the same weights to the bit$' '^ok +the same weights as repeated as one$' '^ok +test_prefetch on the device$' '^ok +test_cpu on the device$' \
    '^ +all as it should be$'

attempt "" 3 "wrong partly nothing slow missing"
[ $code != 0 ] || bad "it did not fail"
has '^FAILED +test_wrong on the device: .* 3 is not 4$' '^ +not shown: test_partly on the device: 1 skipped: two \(no tea\)$' \
    '^ +not shown: test_nothing on the device: 1 skipped: all \(built without CUDA\)$' '^FAILED +test_slow on the device: not done within 3 s$' '^FAILED +test_missing on the device: .*test_missing'
! grep -q 'all as it should be' "$work/said" || bad "all is said to be as it should be"

if ! BUILD=build/cuda tests/gpu.sh there >"$work/said" 2>&1; then
    [ "$(wc -l <"$work/said")" = 1 ] || bad "more than one line where there is no GPU"
    has '^not shown: there is no GPU here'
fi
exit $failed
