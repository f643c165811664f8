#!/bin/sh
# A loss given as a file: trains from one command; a typing error gives the compiler's message, a wrong shape the file's line and both shapes;
# parameters of its own live through a resume.
set -eu
cd "$(dirname "$0")/.."
pith=${PITH:-build/pith}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$pith" data fetch shapes "$work" --count 600 >/dev/null
model=32/8:w32l1h2+w32l1h2c16v256:e24
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
train --loss "$work/hinge.c:margin=0.3+0.5*clip" --steps 10 --save-every 4 --out "$work/cut" &
pid=$!
while kill -0 $pid 2>/dev/null && ! [ -e "$work/cut/latest" ]; do :; done
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
train --resume "$work/cut" || "$pith" train --resume "$work/cut" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
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
echo "a loss in a file trains, resumes with its own parameter, and its errors name its lines"
