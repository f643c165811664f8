#!/bin/sh
# bench/gpu.sh, which is for a day with a GPU, on the emulated device: a row for each measurement, in its file too; a device it knows, and one it does not.
set -u
cd "$(dirname "$0")/.."
if [ ! -x build/emulated/pith-bench ]; then
    echo "skipped: there is no build/emulated/pith-bench"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
bad() { echo "test_bench_gpu: $*"; cat "$work/said"; failed=1; }
measure() { # device's name
    printf '#!/bin/sh\necho "%s"\n' "$1" >"$work/nvidia-smi"
    chmod +x "$work/nvidia-smi"
    env -u PYTHON PATH="$work:$PATH" BUILD=build/emulated RESULTS="$work/results" THREADS=2 bench/gpu.sh try >"$work/said" 2>&1 || bad "it failed"
    cmp -s "$work/said" "$work/results" || bad "the file does not have what was printed"
    for row in '^[0-9-]*, pith ' '^CUDA [0-9.]*, the driver.*cuBLASLt [0-9]' '^a product of bf16, 64 cubed: [0-9]' '^try *PyTorch, eager *not measured' '^try *PyTorch, compile *not measured'; do
        grep -q "$row" "$work/said" || bad "no line $row"
    done
}
measure "NVIDIA H100 80GB HBM3"
grep -q 'peak 989 TFLOP/s' "$work/said" || bad "the H100's peak is not told"
grep -qE '^try +pith +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ % +[0-9.]+ % +[0-9]+ +[0-9]+$' "$work/said" || bad "no row of ours with its shares"
measure "some other GPU"
grep -q 'peak not known' "$work/said" || bad "a peak of a device nobody knows"
grep -qE '^try +pith +[0-9.]+ +[0-9.]+ +[0-9.]+ +- +[0-9.]+ % +[0-9]+ +[0-9]+$' "$work/said" || bad "no row of ours without a share"
exit $failed
