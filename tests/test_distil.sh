#!/bin/sh
# Distillation in its kinds, by the program: fixed views that the teacher sees, too; several teachers; terms one after the other; blocks without a
# skip above frozen ones. Each also goes on to the same bits.
set -u
cd "$(dirname "$0")/.."
SAYS_SECONDS=120
. tests/says.sh

"$pith" data fetch shapes . --count 400 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
for sizes in "a 16/8:w32l2h2+w32l2h2c12v640:e32" "b 16/8:w32l2h2+w16l1h1c12v640:e16"; do
    says 0 "10 steps" "$pith" train shapes.pack --model "${sizes#* }" --steps 10 --batch 32 --lr 1e-2 --warmup 2 --out "${sizes% *}"
done

# A student that is its own teacher, and does not move: what both see of a picture is the same, in every epoch, or the loss is not 0.
still="--teacher a --student a --inherit none --loss feature --lr 0 --weight-decay 0 --steps 24 --batch 64 --augment strong"
says 0 "24 steps" "$pith" distil shapes.pack $still --views 3 --out views
awk -F'[:,]' '/"norm"/ && $4 > 1e-9 { bad = 1 } END { exit bad }' views/metrics.jsonl || { bad "the teacher sees other views:"; cut -c1-60 views/metrics.jsonl; }
says 0 "24 steps" "$pith" distil shapes.pack $still --out no_views
awk -F'[:,]' '/"norm"/ && $4 < 1e-7 { bad = 1 } END { exit bad }' no_views/metrics.jsonl || bad "without fixed views the teacher should see the picture as it is"

student="16/8:w16l2h1+w16l2h1c12v640:e32"
goes_on() { # name arguments...: a run that is killed and goes on comes to the same bits
    run=$1; shift
    says 0 "12 steps" "$pith" distil shapes.pack --batch 32 --save-every 1 "$@" --steps 12 --out "$run"
    "$pith" distil shapes.pack --batch 32 --save-every 1 "$@" --steps 12 --out "$run.cut" >out 2>&1 & pid=$!
    while [ ! -e "$run.cut/step-3" ] && [ ! -e "$run.cut/step-6" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
    says 0 "12 steps" "$pith" distil --resume "$run.cut"
    same "$run/open_clip_model.safetensors" "$run.cut/open_clip_model.safetensors"
}
goes_on views_student --teacher a --student "$student" --views 2 --augment light
goes_on two --teacher a,b --student "$student" --loss "affinity+relational:logits=1"
[ "$(ls two/teacher-*.safetensors | wc -l)" = 2 ] || bad "two teachers have not left two files"
goes_on turns --teacher a --student "$student" --loss "2000*feature@0-0.3+relational@0.3-0.6+interactive@0.5-1"
goes_on shaped --teacher a --sasp-last half --loss "pair+affinity"
"$pith" inspect shaped >out 2>&1; [ "$(grep -c "SAS-P" out)" = 2 ] || { bad "no block is SAS-P:"; cat out; }

# Rows that runs share: computed once, and the same bits as with rows of one's own; others for other data.
for run in 1 2; do says 0 "12 steps" "$pith" distil shapes.pack --batch 32 --teacher a,b --student "$student" --loss "affinity+relational:logits=1" --rows shared/rows --steps 12 --out "shared$run"; done
[ "$(ls shared/rows | wc -l)" = 2 ] && ! ls shared1/teacher-* >/dev/null 2>&1 || { bad "rows are not where --rows says:"; ls shared/rows shared1; }
[ -z "$(find shared/rows -newer shared1/metrics.jsonl)" ] || bad "rows that are there were computed again"
same two/open_clip_model.safetensors shared2/open_clip_model.safetensors
"$pith" data fetch shapes fewer --count 300 --size 16 >/dev/null
says 0 "3 steps" "$pith" distil fewer/shapes.pack --batch 32 --teacher a --student "$student" --rows shared/rows --steps 3 --out shared3
[ "$(ls shared/rows | wc -l)" = 3 ] || bad "other data have no rows of their own"

says 1 "--teacher: a name is empty in \"a,\"" "$pith" distil shapes.pack --teacher a, --student "$student" --steps 2 --out wrong; one_line
says 1 "nope: expected the directory of a model" "$pith" distil shapes.pack --teacher a,nope --student "$student" --steps 2 --out wrong; one_line
says 1 "--sasp-last: expected a student that is a directory" "$pith" distil shapes.pack --teacher a --student "$student" --sasp-last 1 --out wrong; one_line
says 1 "--inherit none: without --student the blocks" "$pith" distil shapes.pack --teacher a --inherit none --sasp-last 1 --out wrong; one_line
says 1 "--sasp-inherit: expected --sasp-last beside it" "$pith" distil shapes.pack --teacher a --student "$student" --inherit none --sasp-inherit --out wrong; one_line
says 1 "--sasp-inherit: expected --sasp-last and a model with weights" "$pith" train shapes.pack --model "$student" --sasp-last 1 --sasp-inherit --out wrong; one_line
says 1 "--views: expected a number from 0" "$pith" distil shapes.pack --teacher a --student "$student" --views -1 --out wrong; one_line
says 1 "--sasp-last: expected a number of blocks or half, found \"most\"" "$pith" distil shapes.pack --teacher a --sasp-last most --out wrong; one_line
says 1 "3 of the last blocks are to be SAS-P, the image tower has 2" "$pith" distil shapes.pack --teacher a --sasp-last 3 --out wrong; one_line
says 1 "no term of the loss counts from 0.5 to 1" "$pith" distil shapes.pack --teacher a --student "$student" --loss feature@0-0.5 --out wrong
[ ! -e wrong ] || bad "a refused run left its directory"
[ $failed = 0 ] && echo "test_distil: all as it should be"
exit $failed
