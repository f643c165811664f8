#!/bin/sh
# On a day with a GPU (make bench-gpu): training steps in bf16 beside PyTorch's, in one call of less than ten minutes.
#     gpu.sh [CONFIG...]
# Each line goes to $RESULTS (default: build/bench_gpu.txt) as soon as it is known, what matters most first. What was built before is enough: neither nvcc nor make is called.
# PYTHON: a Python that has torch, with CUDA, and open_clip. Where there is no GPU this tries the script, with PyTorch on the CPU:
#     make V=emulated build/emulated/pith-bench && BUILD=build/emulated bench/gpu.sh try
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build/cuda}
results=${RESULTS:-build/bench_gpu.txt}
case $build in *emulated) peers=cpu n=64 steps=3 ;; *) peers=cuda n=8192 steps=10 ;; esac
export OMP_NUM_THREADS="${THREADS:-$(nproc)}"
end=$(($(date +%s) + 570))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TORCHINDUCTOR_CACHE_DIR="$work/inductor" # a compilation that was cut off leaves broken files, which later ones would load
: >"$results"
: >"$work/lines"
say() { printf '%s\n' "$*" | tee -a "$results"; }

# Runs a command for at most so many seconds, and not past the end of all. Its output: $work/said.
timed() { # seconds command...
    left=$((end - $(date +%s))); most=$1; shift
    [ "$most" -lt "$left" ] || most=$left
    [ "$most" -gt 5 ] || { echo "no time was left" >"$work/said"; return 1; }
    timeout -k 5 "$most" "$@" >"$work/said" 2>&1; code=$?
    case $code in 124 | 137) echo "not done within $most s" >>"$work/said" ;; esac
    return $code
}

# One measurement, as a row of the table; its own line is kept for ratios. "of product": own.
row() { # config who seconds command...
    config=$1 who=$2; shift 2
    if ! timed "$@"; then
        say "$(printf '%-12s %-16s not measured: %s' "$config" "$who" "$(tail -n 1 "$work/said")")"
        return
    fi
    grep "^$config	" "$work/said" | tee -a "$work/lines" | awk -F '\t' -v who="$who" -v peak="$peak" -v own="$own" -v flops="$(flops "$config")" '
        function share(of) { return of && flops ? sprintf("%.1f %%", 1e5 * flops / $4 / of) : "-" }
        { printf "%-12s %-16s %9.4g %9.4g %9s %11s %11s %9s %9s\n", $1, who, $4, $3, $5, share(peak), share(own), $8 == "" ? "-" : $8, $6 }' | tee -a "$results"
}
flops() { awk -F '\t' -v c="$1" '$1 == c && $9 { print $9; exit }' "$work/said" "$work/lines"; }
median() { awk -F '\t' -v c="$1" -v who="$2" '$1 == c && $2 == who { print $4 }' "$work/lines"; }

device=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
case $device in # dense bf16, TFLOP/s, by NVIDIA's data sheets
    "NVIDIA H100 80GB HBM3" | "NVIDIA H200") peak=989 ;;
    "NVIDIA H100 PCIe") peak=756 ;;
    "NVIDIA A100"*) peak=312 ;;
    *) peak= ;;
esac
own=
say "$(date -u +%Y-%m-%d), pith $(git describe --always --dirty 2>/dev/null)"
say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi'); peak ${peak:-not known}${peak:+ TFLOP/s}"
if ! timed 60 "$build/pith-bench" --device cuda --precision bf16 product $n $steps; then
    say "not shown: $(tail -n 1 "$work/said")"
    exit 1
fi
cp "$work/said" "$work/product"
tail -n 1 "$work/product" | tee -a "$results"
torch=
[ -z "${PYTHON:-}" ] || torch=$(timeout 60 "$PYTHON" -c 'import open_clip, torch; print("torch", torch.__version__)' 2>/dev/null)
say "${torch:-no PYTHON with torch and open_clip}"
own=$(awk -F '\t' 'NR == 1 { printf "%.5g", 1e3 * $9 / $4 }' "$work/product")
say "a product of bf16, $n cubed: $own TFLOP/s${peak:+, $(awk "BEGIN { printf \"%.1f\", 100 * $own / $peak }") % of the peak}"
say
say "$(printf '%-12s %-16s %9s %9s %9s %11s %11s %9s %9s' "a step" "" "median ms" "least ms" pairs/s "of the peak" "of product" "needs MB" "takes MB")"

[ $# -gt 0 ] || set -- vitb16 vitb32 tiny8m demo
for config in "$@"; do
    row "$config" pith 90 "$build/pith-bench" --device cuda --precision bf16 "$config" full $steps
    for mode in eager compile; do
        if [ -z "$torch" ]; then say "$(printf '%-12s %-16s not measured' "$config" "PyTorch, $mode")"; continue; fi
        row "$config" "PyTorch, $mode" 120 "$PYTHON" bench/peer.py --device $peers --precision bf16 "$config" $mode $steps
    done
    ours=$(median "$config" ours-bf16)
    best=$(printf '%s\n' $(median "$config" eager-bf16) $(median "$config" compile-bf16) | sort -g | head -n 1)
    [ -z "$ours" ] || [ -z "$best" ] || say "$(awk "BEGIN { printf \"%-12s %.2f times PyTorch's best by the median; the goal: 1.2\", \"$config\", $best / $ours }")"
    case $config in vitb16) say "$(printf '%-12s the goal of pith'"'"'s share of the peak: 45 %%' "$config")" ;; esac
done
