#!/bin/sh
# What only a GPU can tell (make test-gpu): the tests that use a device, on it; twenty steps on it beside the CPU's; that steps repeated as one, and a second
# run, give the same bits. Each line goes to $RESULTS (default: build/gpu.txt) as soon as it is known. What was built before is enough: neither nvcc nor make is called.
# BUILD=build/emulated MODEL=16/8:w32l2h2+w32l2h2c12v640:e32 TESTS=bf16 tries this script where there is no GPU.
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build/cuda}
results=${RESULTS:-build/gpu.txt}
pith=$(realpath "$build/pith")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
: >"$results"
line() { printf '%-7s %s\n' "$1" "$2" | tee -a "$results"; [ "$1" != FAILED ] || failed=1; }
expect() { # text command...: 0 is ok
    text=$1; shift
    if "$@" >"$work/log" 2>&1; then line ok "$text"; else line FAILED "$text: $(tail -n 1 "$work/log")"; fi
}

line "" "$(date -u +%Y-%m-%d), $("$pith" --version) $(git describe --always --dirty 2>/dev/null)"
line "" "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi')"
"$pith" data fetch shapes "$work" --count 300 --size 32 >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
train() { # name device arguments...
    name=$1 device=$2; shift 2
    "$pith" train "$work/shapes.pack" --model "${MODEL:-demo-student}" --batch 64 --steps 20 --warmup 2 --seed 1 --evaluate-every 0 --device "$device" \
        --out "$work/$name" "$@" >"$work/log" 2>&1
}
if ! train first cuda; then
    line FAILED "not shown: $(tail -n 1 "$work/log")"
    exit 1
fi

for t in ${TESTS:-$(sed -n 's/^GPU_TESTS := //p' Makefile)}; do
    expect "test_$t on the device" env TEST_DEVICE=cuda "$build/test_$t"
done

# The largest difference of two runs' losses, as a share of the CPU's, is at most $3.
losses() { sed -n 's/.*"loss":\([0-9.e-]*\).*/\1/p' "$work/$1/metrics.jsonl" | head -n 20; }
near() {
    losses "$1" >"$work/a"; losses "$2" >"$work/b"
    paste "$work/a" "$work/b" | awk -v most="$3" '
        { d = ($1 - $2) / $1; if (d < 0) d = -d; if (d > worst) worst = d; n++ }
        END { printf "%.1e of %d losses, at most %s\n", worst, n, most; exit !(n == 20 && worst <= most) }'
}
same() { cmp "$work/$1/open_clip_model.safetensors" "$work/$2/open_clip_model.safetensors"; }
compare() { # precision share
    for device in cpu cuda; do expect "20 steps in $1 on $device" train "$1-$device" $device --precision "$1"; done
    expect "losses in $1 beside the CPU's" near "$1-cpu" "$1-cuda" "$2"
    line "" "$(tail -n 1 "$work/log")"
    expect "a second run in $1" train "$1-again" cuda --precision "$1"
    expect "the same weights to the bit" same "$1-cuda" "$1-again"
    export PITH_NAN=1
    expect "step by step in $1" train "$1-steps" cuda --precision "$1"
    unset PITH_NAN
    expect "the same weights as repeated as one" same "$1-cuda" "$1-steps"
}
compare f32 1e-4
compare bf16 0.0157
[ $failed = 0 ] && line "" "all as it should be"
exit $failed
