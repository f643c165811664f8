#!/bin/sh
# The program as a person uses it: help, mistakes of one sentence each, and small runs from end to end. PITH=FILE tests another build.
set -u
cd "$(dirname "$0")/.."
. tests/says.sh

# ---- help and mistakes -----------------------------------------------------------------------------------------------
says 0 "pith help COMMAND" "$pith" help
for c in demo train distil eval search embed inspect graph losses check data run tokenize preprocess; do
    says 0 "pith $c" "$pith" help $c
    case $c in
        eval|search|embed|inspect|losses|tokenize|preprocess|run) says 1 "has no option --seed" "$pith" $c --seed 1 ;;
        *) says 0 "--seed" "$pith" $c --help ;;
    esac
done
says 1 "did you mean train?" "$pith" tarin; one_line
says 1 "did you mean --steps?" "$pith" train --stpes 3; one_line
says 1 "--steps needs a value" "$pith" train --steps; one_line
says 1 "--steps: expected a whole number, found \"ten\"" "$pith" train --steps ten; one_line
says 1 "--lr: expected a number, found \"fast\"" "$pith" train --lr fast; one_line
says 1 "DATA is missing" "$pith" train --steps 3; one_line
says 1 "too many arguments" "$pith" train a b; one_line
says 1 "--out is missing" "$pith" train data; one_line
says 1 "no-such-data" "$pith" train no-such-data --model demo-teacher --out r; one_line

# ---- a run, killed and gone on with ----------------------------------------------------------------------------------
tiny="16/8:w32l2h2+w32l2h2c12v640:e32"
"$pith" data fetch shapes . --count 600 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
run="--model $tiny --steps 12 --batch 32 --augment strong --save-every 3 --evaluate-every 6"
says 0 "12 steps" "$pith" train shapes.pack $run --out whole
for f in run.json metrics.jsonl latest best open_clip_config.json open_clip_model.safetensors vocab.txt.gz; do
    [ -e whole/$f ] || bad "whole/$f is missing"
done
says 0 "12 steps" "$pith" train shapes.pack $run --out one --threads 1
same whole/open_clip_model.safetensors one/open_clip_model.safetensors
for sign in run.json latest; do # the run has begun; it has saved its first checkpoint
    "$pith" train shapes.pack $run --out killed >out 2>&1 & pid=$!
    while [ ! -e killed/$sign ] && kill -0 $pid 2>/dev/null; do :; done
    kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null; got=$?
    [ $got = 137 ] || bad "a run to be killed was over, with status $got"
    [ -e killed/$sign ] || bad "the kill came before killed/$sign"
    [ ! -e killed/open_clip_model.safetensors ] || bad "the kill came after the last step"
    [ $sign = latest ] || [ ! -e killed/latest ] || bad "the kill came after the first checkpoint"
    says 0 "12 steps" "$pith" train --resume killed
    same whole/open_clip_model.safetensors killed/open_clip_model.safetensors
    rm -rf killed
done
"$pith" train shapes.pack $run --steps 4000 --out stopped >out 2>&1 & pid=$!
sleep 1.5; kill -INT $pid; wait $pid
[ $? = 130 ] || bad "Ctrl-C: expected status 130"
grep -q -- "--resume stopped" out || { bad "Ctrl-C does not say how to go on:"; tail -3 out; }
says 1 "whole" "$pith" train shapes.pack $run --out whole; one_line        # has a checkpoint already
says 1 "was begun by pith train" "$pith" distil --resume whole; one_line

# ---- from a model on ---------------------------------------------------------------------------------------------------
says 1 "needs a teacher" "$pith" train shapes.pack $run --loss affinity --out x; one_line
small="16/8:w16l1h1+w16l1h1c12v640:e32"
says 0 "12 steps" "$pith" distil shapes.pack --teacher whole --student $small --out small --steps 12 --batch 32
says 1 "cannot inherit" "$pith" distil shapes.pack --teacher whole --student 16/4:w16l1h1+w16l1h1:e32 --out x --batch 32; one_line
says 0 "combination" "$pith" eval small shapes.pack --json e.json
grep -q '"chance_r1"' e.json || bad "e.json has no figures"
says 0 "probe, 3 a class" "$pith" eval small shapes.pack --probe --shots 3 --json e.json
grep -q '"shots": 3' e.json || bad "no probe in the figures"
says 1 "--shots: expected --probe beside it" "$pith" eval small shapes.pack --shots 3; one_line
says 1 "no split" "$pith" eval small shapes.pack --split no; one_line
says 1 "--freeze: no parameter" "$pith" train shapes.pack $run --freeze 'vizual.*' --out f; one_line
says 0 "3 steps" "$pith" train shapes.pack --model whole --steps 3 --batch 32 --freeze 'visual.*' --ema 0.9 --out frozen

# ---- a loss in a file -----------------------------------------------------------------------------------------------------
cat >own.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_node *bias = pith_param(b->graph, "bias", PITH_CONSTANT, -2);
    pith_node *s = pith_add(pith_mul(pith_matmul_nt(b->image, b->text), b->scale), bias);
    pith_node *own = pith_arange(b->graph, b->image->dim[0]);
    return pith_mean(pith_cross_entropy(s, own), PITH_ALL);
}
END
sed 's/bias = pith_param/bias = pith_parm/' own.c >typo.c
sed 's/b->image, b->text/b->image, pith_slice(b->text, 1, 0, 8)/' own.c >shape.c
says 0 "6 steps" "$pith" train shapes.pack --model $tiny --steps 6 --batch 32 --loss own.c --out own
says 1 "typo.c:4" "$pith" train shapes.pack --model $tiny --steps 6 --batch 32 --loss typo.c --out x
says 1 "shape.c:5: matmul" "$pith" train shapes.pack --model $tiny --steps 6 --batch 32 --loss shape.c --out y

# ---- bad input -------------------------------------------------------------------------------------------------------------
mkdir empty pictures
says 1 "no picture" "$pith" train empty --model $tiny --out z; one_line
"$pith" data stats shapes.pack >out 2>&1 || bad "data stats"
printf 'not a picture' >pictures/a.png; echo "a" >pictures/a.txt
says 1 "no usable picture" "$pith" train pictures --model $tiny --out z; one_line
says 1 "no-model" "$pith" eval no-model shapes.pack; one_line
cp -r small cut; head -c 1000 small/open_clip_model.safetensors >cut/open_clip_model.safetensors
says 1 "cut/open_clip_model.safetensors" "$pith" eval cut shapes.pack; one_line
cp -r small words; "$pith" train shapes.pack --model 16/8:w16l1h1+w16l1h1c12v560:e32 --steps 1 --batch 32 --out other >out 2>&1
cp other/vocab.txt.gz words/
says 1 "words/vocab.txt.gz" "$pith" eval words shapes.pack; one_line
( trap '' XFSZ; ulimit -f 40; "$pith" train shapes.pack $run --out full >out 2>&1; [ $? = 1 ] && grep -q "full" out ) ||
    { bad "a disk that is full:"; tail -3 out; }

# ---- the demo, short ---------------------------------------------------------------------------------------------------------
says 0 "together" "$pith" demo d --shapes --teacher $tiny --student $small --teacher-steps 8 --student-steps 8 --batch 32
for f in index.html summary.json teacher student scratch pictures/captions.tsv; do [ -e d/$f ] || bad "the demo left no $f"; done
says 0 "d/pictures/" "$pith" search d/student d/pictures "red circle"
[ $failed = 0 ] && echo "test_cli: all as it should be"
exit $failed
