#!/bin/sh
# A device that is lost while the program trains on it, an emulated one that fails when it is told to: one sentence and an exit status, the last whole
# checkpoint stands, and the CPU goes on from there to the end. Too little memory, and no cuBLASLt, are told before anything is written.
set -u
cd "$(dirname "$0")/.."
PITH=build/emulated/pith
[ -x $PITH ] || { echo "skipped: there is no $PITH"; exit 0; }
. tests/says.sh
export EMULATOR_SHADOW=0 EMULATOR_WITHOUT=nvrtc # to compile chains takes most of the time

says 0 "shapes" "$pith" data fetch shapes . --count 300 --size 16
train="$pith train shapes.pack --model 16/8:w16l1h2+w16l1h2c12v640:e16 --batch 16 --seed 3 --warmup 2 --evaluate-every 0 --save-every 4 --device cuda"
calls() { # function steps: how often a whole training calls it
    says 0 "$2 steps" env EMULATOR_COUNT="$1" $train --steps "$2" --out "$1-$2"
    sed -n "s/^$1: \([0-9]*\) calls$/\1/p" out
}
one_error() { # beside remarks and progress
    [ "$(grep -cv '^train \|^pith: ' out)" = 1 ] || { bad "expected one sentence, found:"; cat out; }
}
lost() { # directory fault sentence: the run ends so after its first checkpoint, and the CPU goes on with it
    says 1 "$3" env EMULATOR_FAIL="$2" $train --steps 12 --out "$1"
    one_error
    [ -z "${PITH_NAN:-}" ] || grep -qE '^CUDA: [a-z_/]+\.c:[0-9]+: [a-z_]+: ' out || { bad "expected a node's line, found:"; cat out; }
    [ "$(readlink "$1/latest")" = step-4 ] || bad "$1: the newest checkpoint is $(readlink "$1/latest"), expected step-4"
    [ -s "$1/step-4/state.json" ] || bad "$1: the checkpoint of step 4 is gone"
    grep '"step":4,' "$1/metrics.jsonl" >before
    [ ! -e "$1/step-8" ] || bad "$1 has a checkpoint of step 8"
    says 0 "12 steps" "$pith" train --resume "$1" --device cpu
    grep '"step":4,' "$1/metrics.jsonl" | same - before # with its seconds, too: not begun anew
    [ -s "$1/open_clip_model.safetensors" ] || bad "$1: no model after it was gone on with"
}

whole=$(calls launch 12)
lost kernel launch:$((whole / 2)):700 "CUDA: waiting for the device: an illegal memory access was encountered"
lost replay cudaGraphLaunch:5:719 "CUDA: a run: unspecified launch failure"
export PITH_NAN=1
lost watched launch:$((whole / 2)):700 ": an illegal memory access was encountered"
unset PITH_NAN
# As many copies as twice what four steps and a checkpoint make, beside those at the start and end of a run: within the second checkpoint.
four=$(calls cudaMemcpyAsync 4) eight=$(calls cudaMemcpyAsync 8)
lost checkpoint cudaMemcpyAsync:$((2 * (eight - four))):719 "CUDA: a copy from the device: unspecified launch failure"

says 1 "no memory for a plan: it wants" env EMULATOR_MEMORY=2000000 $train --batch 200 --steps 4 --out small; one_error
grep -q 'wants [0-9]* bytes, and [0-9]* can be had' out || bad "a plan is refused without both figures"
says 1 "matrix products on CUDA want cuBLASLt 12 or later: there is no libcublasLt.so.13" env EMULATOR_WITHOUT=nvrtc,cublaslt $train --steps 4 --out without
one_error
says 1 "bf16 on CUDA wants compute capability 8.0 or later, this device has 7.5" env EMULATOR_CAPABILITY=75 $train --steps 4 --out old --precision bf16
one_error
# Where a step cannot be recorded, the log says so once, and its parts are launched each time.
says 0 "a step is not repeated as one launch, but each of its parts is launched: operation not supported" env EMULATOR_FAIL=cudaGraphInstantiate:1:801 \
    $train --steps 4 --out singly
[ "$(grep -c 'not repeated as one' out)" = 1 ] || { bad "not told once:"; cat out; }
says 0 "4 steps" $train --steps 4 --out recorded
for run in singly recorded; do
    sed 's/,"seconds":.*//' $run/metrics.jsonl >$run.losses
done
same singly.losses recorded.losses
says 1 "CUDA: NVRTC does not compile the chains of a plan: " env EMULATOR_WITHOUT= XDG_CACHE_HOME=$work CXX=false $train --steps 4 --out uncompiled
for run in small without old uncompiled; do
    [ ! -e $run ] || bad "$run was begun"
done

[ $failed = 0 ] && echo "$this: all as it should be"
exit $failed
