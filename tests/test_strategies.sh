#!/bin/sh
# The strategies of Scaling (Down) CLIP by the program: stacked RandAugment, FLIP with unmasked tuning, SLIP. Each goes on to the same bits after
# kill -9, and with another number of threads.
set -u
cd "$(dirname "$0")/.."
SAYS_SECONDS=120
. tests/says.sh

"$pith" data fetch shapes . --count 400 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
run="--model 16/4:w32l2h2+w32l2h2c12v640:e32 --batch 32 --lr 1e-2 --warmup 2 --steps 12 --save-every 1"
goes_on() { # name arguments...
    name=$1; shift
    says 0 "12 steps" "$pith" train shapes.pack $run "$@" --out "$name"
    says 0 "12 steps" "$pith" train shapes.pack $run "$@" --threads 1 --out "$name.one"
    same "$name/open_clip_model.safetensors" "$name.one/open_clip_model.safetensors"
    "$pith" train shapes.pack $run "$@" --out "$name.cut" >out 2>&1 & pid=$!
    while [ ! -e "$name.cut/step-3" ] && [ ! -e "$name.cut/step-6" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
    says 0 "12 steps" "$pith" train --resume "$name.cut"
    same "$name/open_clip_model.safetensors" "$name.cut/open_clip_model.safetensors"
}
differ() { cmp -s "$1/open_clip_model.safetensors" "$2/open_clip_model.safetensors" && bad "$2 learned what $1 did"; }

says 0 "12 steps" "$pith" train shapes.pack $run --out plain
goes_on stacked --augment stacked
goes_on flip --mask-patches 0.5
goes_on slip --loss clip+slip --mask-patches 0.25 \
    --augment crop-flip,jitter=0.8,brightness=0.4,contrast=0.4,saturation=0.4,hue=0.1,gray=0.2,gaussian=0.5
grep -q '"slip":' slip/metrics.jsonl || bad "the log has no term slip"
grep -q loss.slip slip/latest/weights.safetensors || bad "a checkpoint lacks SLIP's MLP"
grep -q loss.slip slip/open_clip_model.safetensors && bad "SLIP's MLP is exported"
says 0 "12 steps" "$pith" train shapes.pack $run --mask-patches 0 --out none
same plain/open_clip_model.safetensors none/open_clip_model.safetensors
differ plain stacked; differ plain flip
says 0 "12 steps" "$pith" train shapes.pack $run --model flip --lr 1e-4 --out tuned # FLIP's unmasked tuning
says 0 "combination" "$pith" eval flip shapes.pack
says 1 "flip.cut was begun with --mask-patches 0.5, found 0.25" "$pith" train --resume flip.cut --mask-patches 0.25; one_line
says 1 "--mask-patches: expected a number from 0 to 0.99, found 1" "$pith" train shapes.pack $run --mask-patches 1 --out wrong; one_line
says 0 "12 steps" "$pith" distil shapes.pack --teacher plain --student plain --inherit none $(echo $run | sed 's/--model [^ ]*//') --mask-patches 0.5 --out distilled
[ ! -e wrong ] || bad "a refused run left its directory"
for option in hidden=3e9 hidden=1.5 out=0 temperature=-1; do
    says 1 "loss slip: ${option%%=*}=" "$pith" train shapes.pack --model 16/8:w16l1h1+w16l1h1c12v640:e16 --batch 32 --steps 1 --loss "clip+slip:$option" --out refused; one_line
done
[ $failed = 0 ] && echo "test_strategies: all as it should be"
exit $failed
