#!/bin/sh
# State kept by losses and models in pith train: the memory bank of tests/bank.c and a table trained by rows live through kill -9 to the
# bit, on 1 and 2 threads, and are left out of exported models; a model's own state is exported; evaluation writes nothing; pith check
# holds such losses, pith graph draws what they update.
set -eu
cd "$(dirname "$0")/.."
pith=${PITH:-build/pith}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "test_bank: $*"; exit 1; }
"$pith" data fetch shapes "$work" --count 600 >/dev/null
start="$work/shapes.pack --model 32/8:w32l1h2+w32l1h2c16v514:e24 --batch 16 --seed 1 --steps 30 --save-every 10"
train() { "$pith" train "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "pith train $*"; }; }
weights() { echo "$work/$1/latest/weights.safetensors"; }
export_of() { echo "$work/$1/open_clip_model.safetensors"; }
same() { cmp "$(export_of "$1")" "$(export_of "$2")" && cmp "$(weights "$1")" "$(weights "$2")" || fail "$1 and $2 differ"; }
has() { grep -aq "$2" "$1" || fail "$1 has no $2"; }
lacks() { ! grep -aq "$2" "$1" || fail "$1 has $2"; }

# ---- whole, in one thread, killed after the first checkpoint and resumed ----------------------------------------------------------------
survives() { # name loss
    train $start --loss "$2" --out "$work/$1" --threads 2
    cp "$work/log" "$work/$1.log"
    train $start --loss "$2" --out "$work/$1-1" --threads 1
    same "$1" "$1-1"
    for threads in 1 2; do
        cut=$work/$1-cut$threads
        "$pith" train $start --loss "$2" --out "$cut" --threads $threads >"$work/log" 2>&1 & pid=$!
        while [ ! -e "$cut/latest" ] && kill -0 $pid 2>/dev/null; do :; done
        kill -9 $pid 2>/dev/null || true
        got=0; wait $pid 2>/dev/null || got=$?
        [ $got = 137 ] || fail "a run to be killed was over, with status $got"
        [ -e "$cut/latest" ] || fail "the kill came before the first checkpoint"
        [ ! -e "$cut/open_clip_model.safetensors" ] || fail "the kill came after the last step"
        train --resume "$cut" --loss "$2"
        same "$1" "$1-cut$threads"
    done
}
survives bank tests/bank.c
has "$(weights bank)" '"loss.bank.bank":'
lacks "$(export_of bank)" 'loss\.'

# ---- a bank that is off, and evaluations in between -----------------------------------------------------------------------------------
train $start --loss tests/bank.c:bank=0 --out "$work/off"
! cmp -s "$(export_of bank)" "$(export_of off)" || fail "the bank changes nothing"
lacks "$(weights off)" 'loss\.'
train $start --loss tests/bank.c --evaluate-every 3 --out "$work/measured"
same bank measured
"$pith" check tests/bank.c >"$work/log" || { cat "$work/log"; fail "pith check tests/bank.c"; }
for k in 1 2; do
    "$pith" run tests/golden/openclip tests/golden/openclip-in.safetensors "$work/out$k" --loss tests/bank.c --grad >"$work/log" ||
        { cat "$work/log"; fail "pith run with a bank"; }
done
cmp "$work/out1" "$work/out2"
lacks "$work/out1" bank

# ---- drawings: the update beside its bank ----------------------------------------------------------------------------------------------
"$pith" graph demo-student --loss tests/bank.c --dot "$work/graph.dot" >/dev/null
bank=$(sed -n 's/^  \(n[0-9]*\) \[label="state loss\.bank\.bank.*/\1/p' "$work/graph.dot")
update=$(sed -n 's/^  \(n[0-9]*\) \[label="update.*/\1/p' "$work/graph.dot")
[ -n "$bank" ] && [ -n "$update" ] && grep -q "^  $bank -> $update;" "$work/graph.dot" || fail "no update is drawn beside its bank"
"$pith" graph demo-student --loss tests/bank.c --html "$work/graph.html" >/dev/null
grep -q 'loss\.bank\.bank' "$work/graph.html" && grep -q '>update</text>\|>update(' "$work/graph.html" || fail "the page shows no update"

# ---- a model's own state: running means of both views of a picture, in the model's scope, with averaged weights ------------------------
cat >"$work/running.c" <<'C'
#include <loss.h>
#include "losses.h"

static void follow(pith_node *running, pith_node *rows)
{
    pith_node *mean = pith_mean(pith_detach(rows), 0), *old = pith_pending(running);
    pith_update(running, pith_add(pith_mul_scalar(old, 0.9), pith_mul_scalar(mean, 0.1)));
}

pith_node *loss(const pith_batch *b)
{
    pith_scope_root(b->graph);
    pith_node *running = pith_state(b->graph, "visual.running", PITH_F32, PITH_CONSTANT, 1, b->image_raw->dim[1]);
    pith_unscope(b->graph);
    pith_state(b->graph, "unused", PITH_I32, PITH_CONSTANT, 3, 2);
    follow(running, b->image_raw);
    follow(running, pith_second_view(b).image_raw);
    pith_node *gain = pith_param(b->graph, "gain", PITH_CONSTANT, 1);
    return pith_mul(clip_loss(b), pith_square(gain));
}
C
train $start --loss "$work/running.c" --ema 0.9 --evaluate-every 10 --out "$work/running"
own=$(export_of running)
has "$own" '"visual.running":' && has "$own" '"states":"visual.running"'
for name in 'loss\.' 'ema/' 'adamw\.'; do lacks "$own" "$name"; done
for name in loss.running.gain loss.running.unused ema/visual.proj ema/loss.running.gain; do has "$(weights running)" "\"$name\":"; done
lacks "$(weights running)" 'ema/visual.running'
cp "$own" "$work/before"
"$pith" eval "$work/running" "$work/shapes.pack" >"$work/log" || { cat "$work/log"; fail "the exported model is not taken"; }
cmp "$own" "$work/before"
train "$work/shapes.pack" --model "$work/running" --batch 16 --steps 2 --loss "$work/running.c" --out "$work/on"
has "$(export_of on)" '"states":"visual.running"'

# ---- a table trained by rows ----------------------------------------------------------------------------------------------------------
cat >"$work/table.c" <<'C'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_node *table = pith_param(b->graph, "table", PITH_NORMAL, 0.1, b->samples, b->image->dim[1]);
    pith_node *own = pith_normalize(pith_gather_rows(table, b->index));
    return pith_neg(pith_add(pith_dot(b->image, own), pith_dot(b->text, own)));
}
C
survives table "$work/table.c"
has "$(weights table)" '"loss.table.table":' && has "$(weights table)" '"adamw.m/loss.table.table":'
lacks "$(export_of table)" 'loss\.'
! grep -i 'error\|warn\|nan\|not trained.*table' "$work/table.log" || fail "the log of a table trained by rows"
! grep '"skipped":[^0]' "$work/table/metrics.jsonl" || fail "a step of the table was skipped"
sed 's/pith_dot(b->text, own)/pith_mean(pith_square(table), PITH_ALL)/' "$work/table.c" >"$work/whole.c"
! "$pith" train $start --loss "$work/whole.c" --out "$work/refused" >"$work/log" 2>&1 || fail "a table read whole was trained by rows"
has "$work/log" 'whole.c:6: the whole of loss.whole.table is read here, but at .*whole.c:5 it is declared to be trained by rows alone'

echo "a bank and a table live through a kill, stay out of exports and are drawn; a model's own state is exported"
