#!/bin/sh
# Training in bf16 by the program: it ends with other weights than f32, of the same size; to resume it needs no option, and takes no other precision.
set -u
cd "$(dirname "$0")/.."
emulated=$PWD/build/emulated/pith
. tests/says.sh
shapes_and_models

train() { says 0 "steps" "$pith" train shapes.pack --model $tiny --batch 32 --seed 3 --evaluate-every 0 "$@"; }
train --steps 6 --precision bf16 --out whole
train --steps 3 --precision bf16 --out cut
says 1 "cut was begun with --precision bf16, found f32: a run that is resumed keeps it" "$pith" train --resume cut --steps 6 --precision f32; one_line
says 0 "6 steps" "$pith" train --resume cut --steps 6
train --steps 6 --out f32
says 1 "f32 was begun with --precision f32, found bf16: a run that is resumed keeps it" "$pith" train --resume f32 --steps 8 --precision bf16; one_line
! cmp -s whole/open_clip_model.safetensors f32/open_clip_model.safetensors || bad "--precision bf16 changes nothing"
[ "$(wc -c <whole/open_clip_model.safetensors)" = "$(wc -c <f32/open_clip_model.safetensors)" ] || bad "weights have another size"
for precision in f32 bf16; do # a teacher's shared rows are of one precision
    says 0 "2 steps" "$pith" distil shapes.pack --teacher m1 --student $tiny --batch 32 --steps 2 --rows rows --precision $precision --out d-$precision
done
[ "$(ls rows | wc -l)" = 2 ] || bad "rows of f32 are taken for those of bf16"
says 0 "chance" "$pith" eval whole shapes.pack --precision bf16
says 1 "--precision: expected f32 or bf16, found \"fp8\"" "$pith" eval whole shapes.pack --precision fp8; one_line
says 1 "has no option --precision" "$pith" tokenize --precision bf16; one_line
says 0 "bf16 (" "$pith" graph $tiny --loss clip --plan --precision bf16
grep -q "narrow" out || bad "pith graph --plan --precision bf16 names no cast"
if [ -x "$emulated" ]; then # a device's plan has other casts: its attention takes bf16
    says 0 "bytes of weights and states" env EMULATOR_WITHOUT=nvrtc "$emulated" graph $tiny --loss clip --plan --precision bf16 --device cuda
    grep -qE '^ *[0-9]+ +attention +bf16' out || bad "no attention of bf16 in the plan of a device"
    says 0 "attention                    f32" env EMULATOR_WITHOUT=nvrtc "$emulated" graph $tiny --loss clip --plan --device cuda
fi

[ $failed = 0 ] && echo "$this: all as it should be"
exit $failed
