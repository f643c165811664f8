#!/bin/sh
# --synthetic by the program: what is trained, that a teacher's rows are those of the captions that were drawn, the same bits after kill -9, and
# mistakes. Where the emoji packages lie unpacked, their synthetic captions, too.
set -u
cd "$(dirname "$0")/.."
SAYS_SECONDS=120
root=$PWD
. tests/says.sh

"$pith" data fetch shapes . --count 400 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
says 0 "synthetic captions: 948 in all, of 316 pairs, 3 each" "$pith" data check shapes.pack
says 0 "synthetic captions: 948 in all, of 316 pairs, 3 each" "$pith" data stats shapes.pack
run="--model 16/8:w32l2h2+w32l2h2c20v640:e32 --batch 32 --lr 1e-2 --warmup 2"
for how in "" "replace" "replace=0.5" "add" "add=1" "add=0.25"; do
    says 0 "10 steps" "$pith" train shapes.pack $run --steps 10 ${how:+--synthetic $how} --out "t$how"
done
same treplace/open_clip_model.safetensors treplace=0.5/open_clip_model.safetensors
same tadd/open_clip_model.safetensors tadd=1/open_clip_model.safetensors
for other in tadd tadd=0.25 treplace; do
    cmp -s t/open_clip_model.safetensors $other/open_clip_model.safetensors && bad "$other learned what t did"
done
grep -q '"--synthetic": "add=0.25"' tadd=0.25/run.json || bad "run.json does not say --synthetic"
# the loss of the first step is the sum: of the same weights, those without anything are the own captions'
sum() { sed -n 's/^{"step":1,"loss":\([0-9.]*\),.*"loss.synthetic":\([0-9.]*\),.*/\1 \2/p' "$1/metrics.jsonl"; }
own=$(sed -n 's/^{"step":1,"loss":\([0-9.]*\),.*/\1/p' t/metrics.jsonl)
echo "$(sum tadd) $(sum tadd=0.25) $own" | awk '{ d = $1 - $2 - $5; e = $3 - $4 / 4 - $5; exit !(NF == 5 && d * d < 1e-8 && e * e < 1e-8) }' ||
    bad "losses do not add up: $(sum tadd) $(sum tadd=0.25) $own"

# A student that is its own teacher, and does not move: its rows are the teacher's if those of the right captions are taken.
still="--teacher t --student t --inherit none --lr 0 --weight-decay 0 --steps 24 --batch 64 --augment none"
for how in replace replace=1 add; do
    says 0 "24 steps" "$pith" distil shapes.pack $still --loss feature --synthetic $how --out "s$how"
    awk -F'[:,]' '/"norm"/ { n++; if ($4 > 1e-9) wrong = 1 } END { exit wrong || n != 24 }' <"s$how/metrics.jsonl" ||
        { bad "$how: the teacher reads other captions:"; cut -c1-60 "s$how/metrics.jsonl"; }
done
grep -q '"loss.synthetic":[0-9]' sadd/metrics.jsonl || bad "add has no loss of synthetic captions"

# Pairs with 0, 1, 2 and 3 synthetic captions, so that a teacher's rows have gaps.
mkdir varied
cp "$root"/tests/pictures/*g varied
k=0
for file in $(ls varied) $(ls varied) $(ls varied) $(ls varied); do
    words=$(for c in $(seq $((k % 4))); do printf '\tsynthetic %d of %d' $c $k; done)
    printf '%s\town %d\ttrain\t%s\n' $file $k "$words" >>varied/captions.tsv
    k=$((k + 1))
done
says 0 "$k pairs packed" "$pith" data pack varied varied.pack --size 16
for how in replace=1 add; do
    says 0 "24 steps" "$pith" distil varied.pack $still --batch 4 --loss feature --synthetic $how --out "v$how"
    awk -F'[:,]' '/"norm"/ { n++; if ($4 > 1e-9) wrong = 1 } END { exit wrong || n != 24 }' <"v$how/metrics.jsonl" ||
        { bad "$how: the teacher's rows are of other captions:"; cut -c1-60 "v$how/metrics.jsonl"; }
done

# What the second loss sees belongs together: rows, raw rows, features, and which captions are equal.
cat >together.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_scope_root(b->graph);
    pith_node *w = pith_param(b->graph, "text_projection", PITH_CONSTANT, 0, 32, 32);
    pith_unscope(b->graph);
    pith_node *projected = pith_sub(pith_matmul(b->text_features, w), b->text_raw);
    pith_node *unit = pith_sub(pith_normalize(b->text_raw), b->text);
    pith_node *equal = pith_equal(pith_reshape(b->caption_id, -1, 1), b->caption_id);
    pith_node *far = pith_sub(pith_const(b->graph, 1), pith_matmul_nt(b->text, b->text));
    return pith_add(pith_mean(pith_square(projected), PITH_ALL),
                    pith_add(pith_mean(pith_square(unit), PITH_ALL),
                             pith_mean(pith_square(pith_mul(equal, far)), PITH_ALL)));
}
END
says 0 "10 steps" "$pith" train shapes.pack $run --lr 1e-9 --batch 256 --steps 10 --loss together.c --synthetic add --out together
awk -F'[:,]' '/"norm"/ { n++; if ($4 > 1e-9) wrong = 1 } END { exit wrong || n != 10 }' <together/metrics.jsonl ||
    { bad "the second loss's rows do not belong together:"; cut -c1-100 together/metrics.jsonl; }

student="16/8:w16l2h1+w16l2h1c20v640:e32"
goes_on() { # name command arguments...: a run that is killed and goes on comes to the same bits
    run=$1 command=$2; shift 2
    says 0 "12 steps" "$pith" $command shapes.pack --batch 32 --save-every 1 "$@" --steps 12 --out "$run"
    "$pith" $command shapes.pack --batch 32 --save-every 1 "$@" --steps 12 --out "$run.cut" >out 2>&1 & pid=$!
    while [ ! -e "$run.cut/step-3" ] && [ ! -e "$run.cut/step-6" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
    says 0 "12 steps" "$pith" $command --resume "$run.cut" $again
    same "$run/open_clip_model.safetensors" "$run.cut/open_clip_model.safetensors"
}
again=""
goes_on replaced distil --teacher t --student "$student" --synthetic replace=0.7 --loss "feature+affinity" --views 2
goes_on added distil --teacher t --student "$student" --synthetic add=0.5 --loss "affinity+relational+0.1*pair"
says 1 "replaced was begun with --synthetic \"replace=0.7\", found \"add\"" "$pith" distil --resume replaced --synthetic add; one_line
# of what both losses watch, the log has the first's: the terms of the own captions
sed -n 's/^{"step":1,//p' added/metrics.jsonl | tr ',:' '  ' | awk '{ for (i = 1; i < NF; i += 2) v[$i] = $(i + 1)
    d = v["\"loss\""] - v["\"affinity\""] - v["\"relational\""] - 0.1 * v["\"pair\""] - 0.5 * v["\"loss.synthetic\""]; exit !(d * d < 1e-8) }' ||
    { bad "the terms in the log do not add up:"; head -1 added/metrics.jsonl; }
again="--loss bank.c+0.5*both.c"
cp "$root/tests/bank.c" .
cat >both.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_node *near = pith_watch(pith_mean(pith_mul(b->text, b->synthetic_text), PITH_ALL), "near");
    pith_node *learned = pith_param(b->graph, "learned", PITH_CONSTANT, 1);
    return pith_add(pith_mul(pith_sub(near, learned), pith_sub(near, learned)),
                    pith_mean(pith_square(b->text_features), PITH_ALL));
}
END
goes_on files train --model 16/8:w32l2h2+w32l2h2c20v640:e32 --lr 1e-3 --warmup 2 --synthetic add $again
grep -q '"near":' files/metrics.jsonl || bad "what a loss watches is not in the log"
run="--model 16/8:w32l2h2+w32l2h2c20v640:e32 --batch 32"
says 1 "both.c:4: mul: input 1 is the synthetic text rows, which this run does not have" "$pith" train shapes.pack $run --loss both.c --out wrong

for how in replaced replace= replace=0 replace=1.5 replace=nan add=0 add=-1 add=1x adds both ""; do
    says 1 "--synthetic: expected replace or replace=SHARE, above 0 to 1, add or add=WEIGHT, above 0 to 1000, found \"$how\"" \
        "$pith" train shapes.pack $run --steps 2 --synthetic "$how" --out wrong; one_line
done
mkdir photos
cp "$root"/tests/pictures/*.jpg photos/a.jpg
for k in 1 2 3 4; do printf 'a.jpg\tpicture %d\ttrain\n' $k; done >photos/captions.tsv
says 1 "photos has no synthetic captions in the split \"train\": --synthetic needs them; see pith help data" \
    "$pith" train photos $run --synthetic add --out wrong; one_line
rm -r wrong # the photos, packed
printf 'a.jpg\tpicture\ttrain\t\tone\ttwo\na.jpg\tother\t\t\t \n' >photos/captions.tsv
says 0 "a.jpg: line 2: a synthetic caption is blank" "$pith" data pack photos p.pack --size 16
says 0 "synthetic captions: 2 in all, of 1 pairs, 2 each" "$pith" data check p.pack
[ ! -e wrong ] || bad "a refused run left its directory"

debs=
for at in "$root/runs/demo/debs" "$root/runs/data/debs"; do [ -e "$at/ruby-gemojione.complete" ] && debs=$at; done
words="$root/build/float/test_synthetic"
if [ -n "$debs" ] && [ -x "$words" ]; then
    mkdir emoji && ln -s "$debs" emoji/debs
    says 0 "synthetic captions: " "$pith" data fetch emoji emoji
    says 0 "synthetic captions, as they should be" "$words" emoji/emoji.pack
else
    echo "test_synthetic: the emoji's captions are not looked at: their packages are not there"
fi
[ $failed = 0 ] && echo "test_synthetic: all as it should be"
exit $failed
