#!/bin/sh
# A ResNet by the program: trained, evaluated, inherited and distilled, and on to the same bits; what refuses it says so.
set -u
cd "$(dirname "$0")/.."
root=$(pwd)
SAYS_SECONDS=120
. tests/says.sh

"$pith" data fetch shapes . --count 400 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
sizes="16/r1:w8l1.1.1.1+w32l2h2c12v640:e32"
run="--model $sizes --steps 24 --batch 32 --lr 2e-3 --warmup 2 --augment light --save-every 6 --evaluate-every 12"
says 0 "24 steps" "$pith" train shapes.pack $run --out whole
loss() { sed 's/.*"loss": *\([0-9.e+-]*\).*/\1/' "$1/metrics.jsonl" | grep '^[0-9]' | sed -n "$2p"; }
first=$(loss whole 1) last=$(loss whole '$')
awk "BEGIN { exit !($last < 0.9 * $first) }" || bad "the loss went from $first to $last"
"$pith" train shapes.pack $run --out killed >out 2>&1 & pid=$!
while [ ! -e killed/step-6 ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
says 0 "24 steps" "$pith" train --resume killed
same whole/open_clip_model.safetensors killed/open_clip_model.safetensors # running figures, too
says 0 "24 steps" "$pith" train shapes.pack $run --out one --threads 1
same whole/open_clip_model.safetensors one/open_clip_model.safetensors

says 0 "a ResNet, stem stride 1, 2 x 2 places at last" "$pith" inspect whole
says 0 "visual.layer4.0.downsample.0.weight 256 x 128 x 1 x 1" "$pith" inspect whole --names
says 0 "combination" "$pith" eval whole shapes.pack
"$pith" run whole "$root/tests/golden/openclip-in.safetensors" rows.safetensors --loss clip --grad >out 2>&1 || { bad "pith run:"; cat out; }
grep -q "grad.visual.layer4.0.conv2.weight" rows.safetensors || bad "pith run gave no gradient of a convolution"
student="16/r1:w4l1.1.1.1+w16l1h1c12v640:e32"
says 0 "6 steps" "$pith" distil shapes.pack --teacher whole --student "$student" --steps 6 --batch 32 --out small
says 0 "6 steps" "$pith" distil shapes.pack --teacher whole --student 16/8:w32l1h1+w16l1h1c12v640:e32 --inherit none --steps 6 --batch 32 --out vit

says 1 "the image tower is a ResNet, which cannot be pruned" "$pith" prune shapes.pack --model whole --keep 0.5 --out wrong; one_line
says 1 "the image tower is a ResNet, whose blocks cannot be SAS-P" "$pith" distil shapes.pack --teacher whole --sasp-last half --out wrong; one_line
says 1 "the student's image tower is a ViT, the teacher's r1:w8l1.1.1.1" "$pith" distil shapes.pack --teacher whole --student 16/8:w32l1h1+w16l1h1c12v640:e32 --out wrong; one_line
[ ! -e wrong ] || bad "a refused run left its directory"
[ $failed = 0 ] && echo "test_resnet: all as it should be"
exit $failed
