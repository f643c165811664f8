#!/bin/sh
# A loss given as a file: trains from one command; a typing error gives the compiler's message, a wrong shape the file's line and both shapes;
# parameters of its own live through a resume.
set -eu
cd "$(dirname "$0")/.."
pith=$(realpath "${PITH:-build/pith}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$pith" data fetch shapes "$work" --count 600 >/dev/null
model=32/8:w32l1h2+w32l1h2c16v514:e24
train() { "$pith" train "$work/shapes.pack" --model $model --batch 16 --seed 1 "$@" >"$work/log" 2>&1; }
wanted() { grep -qF "$1" "$work/log" || { echo "not said: $1"; cat "$work/log"; exit 1; }; }

cat >"$work/hinge.c" <<'C'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_node *cosine = pith_matmul_nt(b->image, b->text);
    pith_node *gain = pith_param(b->graph, "gain", PITH_CONSTANT, 1, 1);
    pith_node *right = pith_reshape(pith_sum(pith_mul(b->image, b->text), -1), -1, 1);
    pith_node *miss = pith_relu(pith_add_scalar(pith_sub(cosine, right), pith_option(b, "margin", 0.2)));
    return pith_add(pith_mean(pith_mul(miss, gain), PITH_ALL), pith_sum(pith_square(gain), PITH_ALL));
}
C
train --loss "$work/hinge.c:margin=0.3+0.5*clip" --steps 10 --save-every 4 --out "$work/whole" || { cat "$work/log"; exit 1; }
"$pith" train "$work/shapes.pack" --model $model --batch 16 --seed 1 --loss "$work/hinge.c:margin=0.3+0.5*clip" --steps 10 --save-every 4 \
    --out "$work/cut" >"$work/log" 2>&1 &
pid=$!
while kill -0 $pid 2>/dev/null && ! [ -e "$work/cut/latest" ]; do :; done
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
resume() { "$pith" train --resume "$work/cut" "$@" >"$work/log" 2>&1; }
# a file is compiled only when it is named anew; nothing of the run is touched before
cp -r "$work/cut" "$work/before"
! resume || { echo "a run that names a file was gone on with"; exit 1; }
wanted "would be compiled and run: to go on, name it again: --resume"
! resume --loss "$work/hinge.c:margin=0.2+0.5*clip" || { echo "another option was taken"; exit 1; }
wanted "a run that is resumed keeps it"
! resume --loss clip || { echo "another loss was taken"; exit 1; }
! resume --loss "$work/hinge.c:margin=0.3+0.5*clip" --lr 0.002 || { echo "another rate was taken"; exit 1; }
wanted "was begun with --lr"
diff -r "$work/cut" "$work/before"
mkdir "$work/moved"
{ cat "$work/hinge.c"; echo; } >"$work/moved/hinge.c"
(cd "$work/moved" && "$pith" train --resume ../cut --loss "hinge.c:margin=0.3+0.5*clip" >"$work/log" 2>&1) || { cat "$work/log"; exit 1; }
wanted "the loss's file is not what it was"
cp "$work/cut/run.json" "$work/done.json"
! resume --loss "clip" || { echo "a finished run became another"; exit 1; }
resume --loss "$work/hinge.c:margin=0.3+0.5*clip" || { cat "$work/log"; exit 1; } # nothing left to do
cmp "$work/cut/run.json" "$work/done.json"
cmp "$work/whole/open_clip_model.safetensors" "$work/cut/open_clip_model.safetensors"
strings=$(ls -d "$work"/whole/step-*/ | tail -1)
grep -q 'loss\.[a-z]*\.gain' "$strings/weights.safetensors" || { echo "the loss's own parameter is not in the checkpoint"; exit 1; }
! grep -q 'loss\.' "$work/whole/open_clip_model.safetensors" || { echo "the loss's own parameter was exported"; exit 1; }

sed 's/pith_relu/pith_rleu/' "$work/hinge.c" >"$work/typo.c"
! train --loss "$work/typo.c" --steps 2 --out "$work/typo" || { echo "a typing error went through"; exit 1; }
wanted "typo.c:7"
wanted "pith_rleu"

sed 's/matmul_nt(b->image, b->text)/matmul(b->image, b->text)/' "$work/hinge.c" >"$work/shape.c"
! train --loss "$work/shape.c" --steps 2 --out "$work/shape" || { echo "a wrong shape went through"; exit 1; }
wanted "shape.c:4: matmul: inner sizes differ: 24 against 16"
wanted "input 0 (16, 24)"
wanted "input 1 (16, 24)"
# What the data give beside pictures and words: a row a training sample, the epoch, a second view, a tower's features.
cat >"$work/seen.c" <<'C'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_node *rows = pith_param(b->graph, "rows", PITH_NORMAL, 0.1, b->samples, b->image_features->dim[1]);
    pith_node *similarity = pith_dot(pith_normalize(b->image_features), pith_normalize(pith_gather(rows, b->index)));
    pith_node *same = pith_dot(b->image, pith_second_view(b).image);
    pith_watch(pith_cast(b->epoch, PITH_F32), "epoch");
    return pith_neg(pith_add(similarity, same));
}
C
train --loss "$work/seen.c" --steps 40 --save-every 20 --out "$work/seen" || { cat "$work/log"; exit 1; }
samples=$(grep -o '"pairs": [0-9]*' "$work/seen/run.json" | tr -dc 0-9)
grep -aq "loss.seen.rows\":{[^}]*\"shape\":\[$samples,32\]" "$work/seen/latest/weights.safetensors" ||
    { echo "there is no row for each of $samples samples"; exit 1; }
steps=$((samples / 16))
grep "\"step\":$steps," "$work/seen/metrics.jsonl" | grep -q '"epoch":0.0' && grep "\"step\":$((steps + 1))," "$work/seen/metrics.jsonl" |
    grep -q '"epoch":1.0' || { echo "epochs of $steps steps are not counted"; exit 1; }
train --loss "$work/seen.c" --steps 20 --out "$work/two" && train --resume "$work/two" --loss "$work/seen.c" --steps 40 || { cat "$work/log"; exit 1; }
cmp "$work/seen/open_clip_model.safetensors" "$work/two/open_clip_model.safetensors"
"$pith" check "$work/seen.c" >"$work/log" || { cat "$work/log"; exit 1; }
wanted "second image "
wanted "image features "

# What is missing is told with the loss's own line.
sed 's/b->image, pith_second_view(b).image/b->image, b->teachers[0].text/' "$work/seen.c" >"$work/taught.c"
! train --loss "$work/taught.c" --steps 2 --out "$work/taught" || { echo "a loss had a teacher that was not there"; exit 1; }
wanted "taught.c:6: dot: input 1 is the text rows of teacher 0, and this run has no teacher"

echo "a loss in a file trains, resumes with its own parameter, sees all there is, and its errors name its lines"
