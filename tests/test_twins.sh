#!/bin/sh
# Twins by the program: the set, trained with both in one batch, to the same bits after kill -9; told apart or not; mistakes.
set -u
cd "$(dirname "$0")/.."
SAYS_SECONDS=120
pictures=$(realpath tests/pictures)
. tests/says.sh

says 0 "twins.pack" "$pith" data fetch twins . --count 600 --size 16
says 1 "twins come in twos: expected an even number of pictures, found 601" "$pith" data fetch twins odd --count 601; one_line
says 1 'or twins, alone; found "twins"' "$pith" data fetch stamps,twins new; one_line
run="--model 16/4:w32l2h2+w32l2h2c12v640:e32 --loss clip+pair --batch 32 --lr 1e-2 --warmup 2 --steps 12 --save-every 1"
weights=open_clip_model.safetensors
says 0 "12 steps" "$pith" train twins.pack $run --twins --out whole
"$pith" train twins.pack $run --twins --out cut >out 2>&1 & pid=$!
while [ ! -e cut/step-3 ] && [ ! -e cut/step-6 ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
says 0 "12 steps" "$pith" train --resume cut --threads 1
same whole/$weights cut/$weights
grep -q '"--twins": true' whole/run.json || bad "run.json does not tell of --twins"
says 0 "12 steps" "$pith" train twins.pack $run --out parted
cmp -s whole/$weights parted/$weights && bad "--twins changes nothing"
says 1 "parted was begun with --twins false, found true" "$pith" train --resume parted --twins; one_line
says 1 "a batch of 33 would part twins, expected an even number" "$pith" train twins.pack $run --batch 33 --twins --out wrong
says 0 "12 steps" "$pith" distil twins.pack --teacher whole --student whole --inherit none $(echo $run | sed 's/--model [^ ]*//') --twins --out distilled

says 0 "(chance 50.0), both" "$pith" eval whole twins.pack --twins --json whole.json
grep -q "twins .*(chance 16.7); [1-9][0-9]* couples" out || bad "no couple was measured"
for key in image_to_text text_to_image both '"chance": 0.5' '"chance_both": 0.166667' couples; do
    grep -q "$key" whole.json || bad "whole.json has no $key"
done
says 0 "text to picture" "$pith" eval whole twins.pack --json plain.json
grep -q twins out plain.json && bad "twins are measured where nobody asked"
"$pith" data fetch shapes . --count 601 --size 16 >out 2>&1
says 1 '--twins: the split "valid" has 61 pairs, but twins come in twos' "$pith" eval whole shapes.pack --split valid --twins
mkdir equal; cp "$pictures"/blue.jpg equal/a.jpg; cp "$pictures"/blue.jpg equal/b.jpg
printf 'a.jpg\tone cat\nb.jpg\tone cat\n' >equal/captions.tsv
says 1 '--twins: pairs 0 and 1 of the split "all" have the same caption, "one cat": nothing tells them apart' \
    "$pith" eval whole equal --split all --twins
[ $failed = 0 ] && echo "test_twins: all as it should be"
exit $failed
