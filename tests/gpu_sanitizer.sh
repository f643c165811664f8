#!/bin/sh
# compute-sanitizer over the ops' examples on a GPU (make test-gpu-sanitizer): each tool a line, also in $RESULTS (default: build/gpu_sanitizer.txt). What cannot be
# tried is "not shown", and the script fails.
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build/cuda}
results=${RESULTS:-build/gpu_sanitizer.txt}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
: >"$results"
for tool in memcheck initcheck racecheck synccheck; do
    if ! command -v compute-sanitizer >/dev/null; then
        said="not shown: there is no compute-sanitizer here"
    elif TEST_DEVICE=cuda compute-sanitizer --tool "$tool" --error-exitcode 99 "$build/test_ops" >"$log" 2>&1; then
        said=ok
    else
        said="FAILED: $(grep -m 1 '=========.*[a-z]' "$log")"
    fi
    [ "$said" = ok ] || failed=1
    echo "$tool $said" | tee -a "$results"
done
exit $failed
