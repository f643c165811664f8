#!/bin/sh
# What a stranger may lay in the way: records of other types, links, fifos, two processes in one place, signals. Nothing outside the run is
# touched, nothing is lost, and each is told in one sentence. PITH=FILE tests another build.
set -u
cd "$(dirname "$0")/.."
pictures=$PWD/tests/pictures # drawn by us
SAYS_SECONDS=60
. tests/says.sh

tiny="16/8:w32l2h2+w32l2h2c12v640:e32"
"$pith" data fetch shapes . --count 600 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
run="--model $tiny --steps 8 --batch 32 --save-every 3 --evaluate-every 4"
says 0 "8 steps" "$pith" train shapes.pack $run --out whole

# ---- numbers -------------------------------------------------------------------------------------------------------------------------
for wrong in "--lr -1" "--lr nan" "--lr inf" "--weight-decay -1" "--ema 1.5" "--clip-norm -1" "--save-every -1" "--threads -1" \
    "--threads 100000" "--batch 4294967312" "--batch 0" "--steps 0" "--warmup -1"; do
    says 1 "${wrong% *}: expected a number" "$pith" train shapes.pack $run $wrong --out wrong; one_line
done
says 1 "--top: expected a number from 1" "$pith" search whole . red --top 0; one_line
says 1 "--valid: expected a number from 0" "$pith" data pack . x.pack --valid 2; one_line
for wrong in zoom=inf rotate=nan crop=-5 noise=2 randaugment=2 randaugment=1.5,magnitude=10 magnitude=11,randaugment=2 hue=0.6; do
    says 1 "--augment:" "$pith" train shapes.pack $run --augment $wrong --out wrong; one_line
done
says 1 "expected a number before *" "$pith" train shapes.pack $run --loss 'nan*clip' --out wrong; one_line
says 1 "a term of the loss is empty" "$pith" train shapes.pack $run --loss 'clip+' --out wrong; one_line

# ---- records -------------------------------------------------------------------------------------------------------------------------
record() { # name, what to put for what: a run of three steps with a changed record
    rm -rf r; cp -r third r; sed "s|\"--$1\": [^,]*|\"--$1\": $2|" third/run.json >r/run.json
    cmp -s third/run.json r/run.json && bad "the record has no --$1"
    cp -r r r.before
}
says 0 "3 steps" "$pith" train shapes.pack $run --steps 3 --out third
for wrong in "loss 5" "lr \"fast\"" "steps 1.5" "batch null" "ema true" "model [1]" "lr -1" "batch 0"; do
    record $wrong
    says 1 "--${wrong%% *}" "$pith" train --resume r --steps 8; one_line
    diff -r r r.before >diff.out || { bad "a refused record changed the run:"; cat diff.out; }
    rm -rf r.before
done
record lr 1; rm -rf r.before # a whole number is a number
says 0 "8 steps" "$pith" train --resume r --steps 8
grep -q '"--lr": 1.0' r/run.json || bad "--lr 1 did not stay"
record loss '"evil.c+clip"'
echo '#include <stdlib.h>
static void __attribute__((constructor)) run(void) { system("touch executed"); }' >evil.c
says 1 "would be compiled and run" "$pith" train --resume r --steps 8; one_line
[ ! -e executed ] || bad "a recorded loss was run"
rm -rf r r.before

# ---- the same run from elsewhere, and begun again -----------------------------------------------------------------------------------------
mkdir elsewhere
says 0 "3 steps" "$pith" train shapes.pack $run --steps 3 --out begun
(cd elsewhere && "$pith" train --resume ../begun --steps 8) >out 2>&1 || { bad "a run from another directory:"; cat out; }
same begun/open_clip_model.safetensors whole/open_clip_model.safetensors
cp whole/run.json done.json
says 0 "8 steps" "$pith" train --resume whole # nothing left to do
same whole/run.json done.json
mkdir again; cp shapes.pack again/data.pack # what is there before the first record
says 0 "8 steps" "$pith" train shapes.pack $run --out again

# ---- links and what is no file ---------------------------------------------------------------------------------------------------------
mkdir victim; for f in weights.safetensors state.json metrics.jsonl open_clip_config.json run.json precious; do echo "$f" >victim/$f; done
cp -r victim victim.before
linked() { # name target: a run of three steps, in which somebody has laid a link
    rm -rf l; cp -r third l; rm -rf "l/$1"; ln -s "$2" "l/$1"
    "$pith" train --resume l --steps 8 >out 2>&1
    diff -r victim victim.before >diff.out || { bad "a link at $1 was followed:"; cat diff.out; rm -rf victim; cp -r victim.before victim; }
}
for name in step-3.tmp step-6 step-6.tmp step-6.weights step-9.weights.tmp best latest.tmp; do linked $name "$work/victim"; done
for name in run.json.tmp metrics.jsonl vocab.txt.gz open_clip_config.json open_clip_model.safetensors best/open_clip_model.safetensors; do
    linked $name "$work/victim/precious"
done
linked metrics.jsonl "$work/victim/precious"
grep -q "metrics.jsonl" out || { bad "a link for the metrics is not told:"; cat out; }
mkfifo pipe
says 1 "pipe" "$pith" eval whole pipe; one_line
cp -r whole piped; rm piped/open_clip_model.safetensors; mkfifo piped/open_clip_model.safetensors
says 1 "piped/open_clip_model.safetensors" "$pith" eval piped shapes.pack; one_line
for name in open_clip_config.json vocab.txt.gz; do
    rm -rf piped; cp -r whole piped; rm piped/$name; mkfifo piped/$name
    says 1 "piped/$name: is no file" "$pith" eval piped shapes.pack; one_line
done
for name in run.json latest/state.json latest/weights.safetensors; do
    rm -rf piped; cp -r third piped; rm -f piped/$name; mkfifo piped/$name
    says 1 "${name##*/}" "$pith" train --resume piped --steps 8; one_line
done

# ---- pictures, captions, indices --------------------------------------------------------------------------------------------------------------
mkdir photos; cp "$pictures"/red.png "$pictures"/blue.jpg photos/
says 0 "photos/" "$pith" search whole photos "red circle"
says 0 "photos/" "$pith" search whole photos "$pictures/blue.jpg" # a picture, whatever its name
cp "$pictures/blue.jpg" photos/query
says 0 "photos/" "$pith" search whole photos photos/query
printf '\357\273\277red.png\tred circle\n' >photos/captions.tsv
says 0 "red.png  red circle" "$pith" search whole photos red
printf '\357\273\277red.png\tred circle\nblue.jpg\tblue\tcircle with a tab\nblue.jpg\tblue circle\ttrain\tseven\nblue.jpg\tblue square\tvalid\t3\n' >photos/captions.tsv
says 0 "2 pairs packed; left out: 0 missing, 2 unreadable" "$pith" data pack photos p.pack --size 16 --left-out
grep -q 'line 2: "circle with a tab" is no split' out || { bad "the stray tab:"; cat out; }
grep -q 'line 3: "seven" is no label' out || { bad "the text for a label:"; cat out; }
printf 'File\tCaption\tSplit\nred.png\tred circle\ttrain\n' >photos/captions.tsv
says 0 "1 pairs packed" "$pith" data pack photos p.pack --size 16
printf 'file\tcaption\tlabel\nred.png\tred circle\tround\n' >photos/captions.tsv
says 1 "line 1: column 3 is called \"label\", expected \"split\"" "$pith" data pack photos p.pack --size 16; one_line
printf 'red.png\ta \033[31mred\007 one\n' >photos/captions.tsv
"$pith" search whole photos red >out 2>&1; grep -q "$(printf '\033')" out && bad "a caption steers the terminal"
rm photos/captions.tsv; mkfifo photos/pipe.png; ln -s /dev/zero photos/red.txt; echo "a red one" >photos/blue.txt; echo "a pipe" >photos/pipe.txt
says 0 "1 pairs packed" "$pith" data pack photos p.pack --size 16 --left-out
grep -q "pipe.png: is no file" out || { bad "a fifo:"; cat out; }
says 0 "as they were written" "$pith" data check p.pack
printf '\377' | dd of=p.pack bs=1 seek=4200 conv=notrunc 2>/dev/null
says 1 "p.pack: is damaged" "$pith" data check p.pack; one_line
says 1 "p.pack: is damaged" "$pith" train p.pack $run --out damaged; one_line
mkdir bad; echo "not a picture" >bad/a.png
says 1 "no usable picture" "$pith" data pack bad b.pack --size 16; one_line
ls | grep -q "b.pack" && bad "a pack that came to nothing left a file"
says 0 "2 pictures" "$pith" embed whole photos --out rows.safetensors # what is no picture is left out
index=$(ls -a photos | grep safetensors | head -1)
[ -n "$index" ] || bad "there is no index"
head -c 100 "photos/$index" >cut; cp cut "photos/$index"
says 0 "made anew" "$pith" search whole photos "red circle"
head=$(od -An -t u8 -N 8 "photos/$index" | tr -d ' ')
printf '\377\377\377\377' | dd of="photos/$index" bs=1 seek=$((head + 8)) conv=notrunc 2>/dev/null # the first number of the first row
says 0 "holds no rows of pictures; made anew" "$pith" search whole photos "red circle"
grep -q nan out && { bad "a score is no number:"; cat out; }
for k in 1 2 3 4 5 6 7 8 9 10; do
    rm -f "photos/$index"
    "$pith" search whole photos "red circle" >s1 2>&1 & one=$!
    "$pith" search whole photos "red circle" >s2 2>&1 & two=$!
    wait $one && wait $two || { bad "two searches at once:"; cat s1 s2; }
done
rm photos/red.txt; echo "a blue one" >photos/blue.txt; echo "a red one" >photos/red.txt
for k in 1 2 3 4 5; do
    "$pith" data pack photos both.pack --size 16 >s1 2>&1 & one=$!
    "$pith" data pack photos both.pack --size 16 >s2 2>&1 & two=$!
    wait $one && wait $two || { bad "two packs at once:"; cat s1 s2; }
    says 0 "2 pairs, as they were written" "$pith" data check both.pack
done
ls | grep -q "both.pack." && bad "two packs at once left a file"
says 1 "more than 1000 are not read" "$pith" preprocess "$pictures/red.png" --size 16 --out x.safetensors --megapixels 0.001; one_line
mkdir cfg; mkdir cfg/open_clip_config.json
says 1 "cfg/open_clip_config.json: is no file" "$pith" eval cfg shapes.pack; one_line
cp -r whole std; sed -i 's/"std": \[/"std": [0, 0, 0], "ignored": [/' std/open_clip_config.json
"$pith" eval std shapes.pack >out 2>&1 && bad "a std of 0 is taken"

# ---- refusals leave a run as it was; other names of its files; null where a text is meant ----------------------------------------------------
mkdir pa pb; for f in pa pb; do for k in 1 2 3 4 5 6 7 8; do cp "$pictures/red.png" $f/$k.png; echo "$f number $k" >$f/$k.txt; done; done
small="--model $tiny --steps 4 --batch 4"
says 0 "4 steps" "$pith" train pa $small --out refused
cp -r refused refused.before
says 1 "refused holds a run already" "$pith" train pb $small --out refused; one_line
says 1 "which are packed in it, found pb" "$pith" train pb --resume refused --steps 8; one_line
says 1 "goes on in its own directory" "$pith" train --resume refused --out pb --steps 8; one_line
diff -r refused refused.before >diff.out || { bad "a refusal changed the run:"; cat diff.out; }
says 0 "8 steps" "$pith" train --resume refused --steps 8
rm -rf snapshot r; cp -r third r; cp -al r snapshot; cp -r snapshot snapshot.before
says 0 "8 steps" "$pith" train --resume r --steps 8
diff -r snapshot snapshot.before >diff.out || { bad "a snapshot by hard links changed:"; cat diff.out; }
for name in loss augment schedule; do
    record $name null; rm -rf r.before
    says 1 "r/run.json: --$name is null, expected a text" "$pith" train --resume r --steps 8; one_line
done
printf '#include <loss.h>\npith_node *loss(const pith_batch *b) { return pith_mean(b->image, PITH_ALL); }\n' >l.c
mkdir -p r2/loss; cp l.c r2/loss/mine.c
says 0 "2 steps" "$pith" train shapes.pack $run --loss r2/loss/mine.c --out r2 --steps 2
cmp -s l.c r2/loss/mine.c || bad "a loss that lies in the run's directory is gone"
rm -rf r; cp -r whole r; rm r/latest; printf '{"step": 8, "weights": {"bytes": %d, "hash": "\\u001b[31mred"}}' "$(wc -c <whole/step-8/weights.safetensors)" >r/step-8/state.json
"$pith" train --resume r --steps 9 >out 2>&1; grep -q "$(printf '\033')" out && bad "a checkpoint's state steers the terminal"
grep -q "going back to step-6" out || { bad "a damaged checkpoint:"; cat out; }
(ulimit -f 100; "$pith" data fetch shapes full --count 600 --size 16) >out 2>&1; [ $? = 1 ] || { bad "a file that may not grow:"; cat out; }
grep -q "cannot be written: File too large" out || { bad "a file that may not grow:"; cat out; }
[ -z "$(ls full)" ] || bad "a file that could not grow stays"
echo words >words.txt
says 1 "words.txt: is there already, and is another kind of file" "$pith" data pack pa words.txt; one_line
says 1 "another kind of file" "$pith" graph $tiny l.c --loss clip --dot; one_line
says 1 "g.png: expected a name that ends with .dot or .html" "$pith" graph $tiny g.png --loss clip; one_line
says 1 "is no file" "$pith" data pack pa /dev/null; one_line

# ---- two processes --------------------------------------------------------------------------------------------------------------------------
"$pith" train shapes.pack $run --steps 4000 --out two >first.out 2>&1 & pid=$!
while [ ! -e two/latest ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
says 1 "two: another process trains in it" "$pith" train --resume two; one_line
says 1 "two: another process trains in it" "$pith" train shapes.pack $run --out two; one_line
kill -INT $pid; wait $pid
[ $? = 130 ] || { bad "Ctrl-C: expected status 130"; cat first.out; }

"$pith" distil shapes.pack --teacher whole --student "16/8:w16l1h1+w16l1h1c12v640:e32" --steps 4 --batch 32 --out d1 >out 2>&1 || { bad "distil:"; cat out; }
stored=$(ls d1/teacher-*.safetensors); cp "$stored" rows
printf '\377' | dd of="$stored" bs=1 seek=$(($(wc -c <rows) - 20)) conv=notrunc 2>/dev/null
says 1 "$stored: is damaged" "$pith" distil --resume d1 --steps 8; one_line
mv rows "$stored"
rm -rf d1/latest d1/step-*; mv "$stored" "$stored.part"
flock "$stored.part" sleep 3 & holder=$!
sleep 0.5
says 1 "$stored.part: another process writes it" "$pith" distil shapes.pack --teacher whole --student "16/8:w16l1h1+w16l1h1c12v640:e32" \
    --steps 4 --batch 32 --out d1; one_line
wait $holder

# ---- a run that learns nothing ------------------------------------------------------------------------------------------------------------------
cat >nan.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b) { return pith_mean(pith_log(pith_sub(b->image, b->image)), PITH_ALL); }
END
says 1 "every step was skipped" "$pith" train shapes.pack $run --loss nan.c --out nan
grep -q "8 steps, 8 skipped" out || { bad "the last line counts nothing:"; cat out; }
cat >none.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b) { pith_mean(b->image, PITH_ALL); }
END
says 1 "none.c" "$pith" train shapes.pack $run --loss none.c --out none
cat >option.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b) { return pith_mul_scalar(pith_mean(b->image, PITH_ALL), pith_option(b, "far", 1)); }
END
says 1 "has no option fra; it reads far" "$pith" train shapes.pack $run --loss option.c:fra=2 --out option

cat >crash.c <<'END'
#include <loss.h>
pith_node *reach_too_far(const pith_batch *b);
pith_node *reach_too_far(const pith_batch *b) { return *(pith_node *volatile *)(b->n_teachers + 8L); }
pith_node *loss(const pith_batch *b) { return reach_too_far(b); }
END
says 1 "crash.c crashed in reach_too_far" "$pith" train shapes.pack $run --loss crash.c --out crash
[ ! -e crash ] || bad "an empty folder stays"
says 1 "crash.c crashed" "$pith" check crash.c
printf '#include <loss.h>\npith_node *loss(const pith_batch *b) { pith_batch deep = *b; deep.samples++; return deep.samples ? pith_add(b->scale, loss(&deep)) : b->scale; }\n' >deep.c
says 1 "deep.c crashed" "$pith" train shapes.pack $run --loss deep.c --out deep
printf '#include <loss.h>\npith_node *loss(const pith_batch *b) { (void)b; return (pith_node *)8; }\n' >eight.c
says 1 "eight.c crashed" "$pith" train shapes.pack $run --loss eight.c --out eight
printf '#include <loss.h>\n#include <stdlib.h>\npith_node *loss(const pith_batch *b) { (void)b; abort(); }\n' >abort.c
says 1 "abort.c crashed" "$pith" train shapes.pack $run --loss abort.c --out abort
printf '#include <loss.h>\npith_node *loss(const pith_batch *b) { return pith_mean(pith_log(pith_sub(b->image, b->image)), PITH_ALL); }\n' >nan.c
says 1 "expected a number: PITH_NAN=1 tells where" "$pith" check nan.c
printf '#include <loss.h>\npith_node *loss(const pith_batch *b) { return pith_const(b->graph, 1); }\n' >nothing.c
says 1 "it depends on nothing that is trained" "$pith" check nothing.c
# What is detached is held fixed, also what depends on another detached value; a sum of a loss by name and a file is a loss, too.
cat >held.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_node *first = pith_detach(pith_mul_scalar(b->text, 2)), *second = pith_detach(pith_mul(first, b->image_raw));
    return pith_mean(pith_mul(pith_square(b->image), pith_add(pith_exp(second), b->text)), PITH_ALL);
}
END
says 0 "in double" "$pith" check held.c
says 0 "in double" "$pith" check "0.5*clip+held.c"
printf '#include <loss.h>\npith_node *loss(const pith_batch *b) { return pith_detach(pith_mean(b->image_raw, PITH_ALL)); }\n' >detached.c
says 1 "its gradient is 0: it depends on nothing that is trained" "$pith" check detached.c
echo 'int nothing;' >neither.c
says 1 "neither.c: it has neither a loss" "$pith" check neither.c
cat >watch.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_watch(b->image, "pictures");
    return pith_mean(b->image, PITH_ALL);
}
END
says 1 "watch.c:4: pith_watch: pictures" "$pith" train shapes.pack $run --loss watch.c --out watch

# ---- a loss with a kink, and one that is wrong ----------------------------------------------------------------------------------------------------
cat >hinge.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_node *cosine = pith_matmul_nt(b->image, b->text);
    pith_node *right = pith_reshape(pith_sum(pith_mul(b->image, b->text), -1), -1, 1);
    return pith_mean(pith_relu(pith_add_scalar(pith_sub(cosine, right), 0.2)), PITH_ALL);
}
END
for seed in 0 1 2 3 4 5 6 7; do says 0 "in double" "$pith" check hinge.c --seed $seed; done
"$pith" inspect whole --names >out 2>&1; grep -q "^visual.transformer.resblocks.0.ln_1.weight 32" out || { bad "no names:"; cat out; }

# ---- signals in the middle of steps ---------------------------------------------------------------------------------------------------------------
"$pith" train shapes.pack $run --steps 40 --out signals --threads 3 >out 2>&1 & pid=$!
sent=0
while kill -WINCH $pid 2>/dev/null; do kill -CHLD $pid 2>/dev/null; sent=$((sent + 2)); sleep 0.005; done
wait $pid || { bad "a run under signals:"; tail -3 out; }
[ $sent -ge 100 ] || bad "$sent signals were sent, at least 100 expected"
says 0 "40 steps" "$pith" train shapes.pack $run --steps 40 --out quiet --threads 1
same signals/open_clip_model.safetensors quiet/open_clip_model.safetensors
# a second Ctrl-C ends the program at once, in the middle of a step that takes long
"$pith" train shapes.pack --model 16/2:w512l12h8+w512l12h8c12v640:e64 --batch 256 --steps 40 --out twice >out 2>&1 & pid=$!
while [ ! -e twice/run.json ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
sleep 0.5; kill -INT $pid; sleep 0.2; kill -INT $pid; wait $pid
[ $? = 130 ] || bad "two Ctrl-C: expected status 130"
grep -q -- "--resume" out && { bad "the second Ctrl-C waited for the step:"; cat out; }
[ $failed = 0 ] && echo "test_hostile: all as it should be"
exit $failed
