#!/bin/sh
# compute-sanitizer over the ops' examples on a GPU (make test-gpu-sanitizer): each tool a line, also in $RESULTS (default: build/gpu_sanitizer.txt).
#     gpu_sanitizer.sh there      fails after one line where nothing can be tried
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build/cuda}
results=${RESULTS:-build/gpu_sanitizer.txt}
if ! command -v compute-sanitizer >/dev/null; then
    echo "not shown: there is no compute-sanitizer here: it is the part cuda_sanitizer_api of NVIDIA's CUDA toolkit, in NVIDIA's packages cuda-sanitizer-13-0 and the like"
    exit 1
fi
tests/gpu.sh there || exit 1
[ "${1:-}" != there ] || exit 0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
: >"$results"
for tool in memcheck initcheck racecheck synccheck; do
    if TEST_DEVICE=cuda compute-sanitizer --tool "$tool" --error-exitcode 99 "$build/test_ops" >"$log" 2>&1; then
        said=ok
    else
        said="FAILED: $(grep -m 1 '=========.*[a-z]' "$log")"
    fi
    [ "$said" = ok ] || failed=1
    echo "$tool $said" | tee -a "$results"
done
exit $failed
