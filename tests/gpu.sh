#!/bin/sh
# What only a GPU can tell (make test-gpu), in less than ten minutes: twenty steps on it beside the CPU's; that steps repeated as one, and a second run, give the
# same bits; the tests that use a device, on it. Each line goes to $RESULTS (default: build/gpu.txt) as soon as it is known: ok, FAILED, or "not shown", which is
# no success either. What was built before is enough: neither nvcc nor make is called; test_ops wants build/examples.bin.
#     gpu.sh there      fails after one line where there cannot be a GPU
# BUILD=build/emulated MODEL=16/8:w32l2h2+w32l2h2c12v640:e32 STEPS=2 TESTS=prefetch tries this script where there is no GPU;
# PRECISIONS= leaves out the steps.
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build/cuda}
results=${RESULTS:-build/gpu.txt}
steps=${STEPS:-20}
end=$(($(date +%s) + 570))

has_driver() {
    case $build in *emulated) return 0 ;; esac
    command -v nvidia-smi >/dev/null || [ -e /dev/nvidiactl ] || [ -e /dev/dxg ] ||
        PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'
}
if ! has_driver; then
    echo "not shown: there is no GPU here: neither nvidia-smi nor libcuda.so.1"
    exit 1
fi
[ "${1:-}" != there ] || exit 0

pith=$(realpath "$build/pith")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
: >"$results"
line() { printf '%-7s %s\n' "$1" "$2" | tee -a "$results"; }

# For so many seconds at most, and not past the end of all.
timed() { # seconds command...
    left=$((end - $(date +%s))); most=$1; shift
    [ "$most" -lt "$left" ] || most=$left
    [ "$most" -gt 0 ] || { echo "no time was left"; return 125; }
    timeout -k 5 "$most" "$@"; code=$?
    case $code in 124 | 137) echo "not done within $most s" ;; esac
    return $code
}
expect() { # text command...: 0 is ok, 125 not shown, and then the last line says why
    text=$1; shift
    "$@" >"$work/log" 2>&1; code=$?
    said=$(tail -n 1 "$work/log")
    case $code in
        0) line ok "$text"; return ;;
        125) line "" "not shown: $text: $said" ;;
        124 | 137) line FAILED "$text: $said" ;;
        *) line FAILED "$text: $(grep -m 1 '^\[  ERROR' "$work/log" || echo "$said")" ;;
    esac
    failed=1
}

line "" "$(date -u +%Y-%m-%d), $("$pith" --version) $(git describe --always --dirty 2>/dev/null)"
line "" "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi')"
timed 60 "$pith" data fetch shapes "$work" --count 300 --size 32 >"$work/log" 2>&1 || { line FAILED "data: $(tail -n 1 "$work/log")"; exit 1; }
train() { # name device arguments...
    name=$1 device=$2; shift 2
    timed 60 "$pith" train "$work/shapes.pack" --model "${MODEL:-demo-student}" --batch 64 --steps "$steps" --warmup 2 --seed 1 --evaluate-every 0 --device "$device" \
        --out "$work/$name" "$@"
}
if ! train first cuda >"$work/log" 2>&1; then
    line "" "not shown: $(tail -n 1 "$work/log")"
    exit 1
fi

ended() { for run in "$@"; do [ -e "$work/$run/open_clip_model.safetensors" ] || { echo "$run did not end"; return 125; }; done; }
# The largest difference of two runs' losses, as a share of the CPU's, is at most $3.
losses() { sed -n 's/.*"loss":\([0-9.e-]*\).*/\1/p' "$work/$1/metrics.jsonl" | head -n "$steps"; }
near() {
    ended "$1" "$2" || return
    losses "$1" >"$work/a"; losses "$2" >"$work/b"
    paste "$work/a" "$work/b" | awk -v most="$3" -v steps="$steps" '
        { d = ($1 - $2) / $1; if (d < 0) d = -d; if (d > worst) worst = d; n++ }
        END { printf "%.1e of %d losses, at most %s\n", worst, n, most; exit !(n == steps && worst <= most) }'
}
same() { ended "$1" "$2" && cmp "$work/$1/open_clip_model.safetensors" "$work/$2/open_clip_model.safetensors"; }
compare() { # precision share
    for device in cpu cuda; do expect "$steps steps in $1 on $device" train "$1-$device" $device --precision "$1"; done
    expect "losses in $1 beside the CPU's" near "$1-cpu" "$1-cuda" "$2"
    line "" "$said"
    expect "a second run in $1" train "$1-again" cuda --precision "$1"
    expect "the same weights to the bit" same "$1-cuda" "$1-again"
    export PITH_NAN=1
    expect "step by step in $1" train "$1-steps" cuda --precision "$1"
    unset PITH_NAN
    expect "the same weights as repeated as one" same "$1-cuda" "$1-steps"
}
for precision in ${PRECISIONS-f32 bf16}; do
    case $precision in f32) compare f32 1e-4 ;; *) compare "$precision" 0.0157 ;; esac
done

# What was skipped is not shown, but for tests of the CPU alone in programs that a device runs, too.
cpu_alone='trains_as_f32_does|rounded_f32_is_the_same'
device_test() { # name
    timed "${LIMIT:-120}" env TEST_DEVICE=cuda "$build/test_$1" || return
    skipped=$(sed -n 's/^\[  SKIPPED \] \([a-z0-9_]*\)$/\1/p' "$work/log" | sort -u | grep -vxE "$cpu_alone")
    why=$(sed -n 's/^skipped: //p' "$work/log" | head -n 1)
    [ -n "$skipped$why" ] || return 0
    echo "$(echo "${skipped:-all}" | wc -l) skipped:" ${skipped:-all} "${why:+($why)}"
    return 125
}
for t in ${TESTS:-$(sed -n 's/^GPU_TESTS := //p' Makefile)}; do expect "test_$t on the device" device_test "$t"; done
[ $failed = 0 ] && line "" "all as it should be"
exit $failed
