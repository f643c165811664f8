#!/bin/sh
# The same bits: on 1, 2 and 4 threads, run again, without the planner, after an interruption; with oneDNN and with the plain BLAS.
set -eu
cd "$(dirname "$0")/.."
pith=${PITH:-build/pith}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$pith" data fetch shapes "$work/shapes" --count 2000 >/dev/null
data=$(find "$work/shapes" -name '*.pack' | head -1)
train() { # name threads steps, more options after it
    name=$1 threads=$2 steps=$3; shift 3
    "$pith" train "$data" --model 32/8:w64l2h2+w48l2h2c16v514:e32 --steps "$steps" --batch 48 --threads "$threads" --seed 5 \
        --out "$work/$name" "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
}
same() { # a b
    a=$(sha256sum <"$work/$1/open_clip_model.safetensors") b=$(sha256sum <"$work/$2/open_clip_model.safetensors")
    [ "$a" = "$b" ] || { echo "$1 and $2 end with other bits"; exit 1; }
}
for gemm in onednn blas; do
    export PITH_GEMM=$gemm
    train $gemm-1 1 12
    for threads in 2 4; do
        train $gemm-$threads $threads 12
        same $gemm-1 $gemm-$threads
    done
    train $gemm-again 2 12
    same $gemm-2 $gemm-again
    PITH_NOPLAN=1 train $gemm-noplan 2 12
    same $gemm-2 $gemm-noplan
done
unset PITH_GEMM
echo "12 steps: the same bits on 1, 2 and 4 threads, again, and without the planner, with oneDNN and without"
