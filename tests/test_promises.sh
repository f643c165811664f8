#!/bin/sh
# What is promised in passing: pith check's kinks and its DIFFERS, the compiler of a loss, options that a command does not have, newlines at
# the end of JSON, an index that lies, names that would steer the terminal, SIGTERM at any moment. PITH=FILE tests another build.
set -u
cd "$(dirname "$0")/.."
root=$PWD
SAYS_SECONDS=60
. tests/says.sh
quiet() { grep -qi warning out && { bad "$*: the compiler warns:"; cat out; }; } # of what the last command said
plain() { LC_ALL=C grep -q "$(printf '[\001-\010\013-\037]')" out && { bad "$*: what was said would steer the terminal:"; cat -v out; }; }

tiny="16/8:w32l2h2+w32l2h2c12v640:e32"
"$pith" data fetch shapes . --count 600 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
run="--model $tiny --batch 32"
says 0 "4 steps" "$pith" train shapes.pack $run --steps 4 --save-every 2 --seed 1 --threads 2 --out whole

# ---- options that a command does not have -----------------------------------------------------------------------------------------------
for c in inspect losses tokenize; do
    says 1 "pith $c has no option --threads" "$pith" $c --threads 1; one_line
    "$pith" help $c | grep -q -- --threads && bad "pith help $c tells of --threads"
done
for c in eval search; do says 1 "pith $c has no option --seed" "$pith" $c --seed 1; one_line; done

# ---- JSON ends with a newline -----------------------------------------------------------------------------------------------------------
says 0 "combination" "$pith" eval whole shapes.pack --json e.json
for f in whole/run.json whole/open_clip_config.json whole/best/open_clip_config.json whole/latest/state.json whole/metrics.jsonl e.json; do
    [ -s $f ] && [ -z "$(tail -c 1 $f)" ] || bad "$f does not end with a newline"
    [ -n "$(tail -n 1 $f)" ] || bad "$f ends with an empty line"
done

# ---- an index of another type ------------------------------------------------------------------------------------------------------------
mkdir photos; cp "$root"/tests/pictures/red.png "$root"/tests/pictures/blue.jpg photos/
says 0 "photos/" "$pith" search whole photos "red circle"; cp out found
index=photos/$(ls -a photos | grep safetensors)
rows='"data_offsets":\[0,256\],"dtype":"F32",'
grep -aq "$rows" "$index" || bad "the rows of the index are not as this test knows them"
LC_ALL=C sed -i "s/$rows/\"data_offsets\":[0,64], \"dtype\":\"U8\", /" "$index"
says 0 "holds no rows of pictures; made anew" "$pith" search whole photos "red circle"
grep -v "made anew" out >again; same found again
says 0 "photos/" "$pith" search whole photos "red circle"; same found out # it was made anew, and is read again

# ---- names that would steer the terminal ---------------------------------------------------------------------------------------------------
cp -r whole key; sed -i 's/"vision_cfg": {/&"\\u001b[31mred\\u0007": 1, /' key/open_clip_config.json
says 1 'vision_cfg.?[31mred? is 1, a key that is not known here' "$pith" eval key shapes.pack; one_line; plain a key
cp -r whole named; LC_ALL=C sed -i 's/"visual.proj"/"\\u001b[31m" /' named/open_clip_model.safetensors
for command in "eval named shapes.pack" "inspect named --names" "inspect named"; do
    timeout 60 "$pith" $command >out 2>&1; plain "$command"
done
"$pith" eval named shapes.pack >out 2>&1 && bad "a name with a control character is taken"

# ---- the compiler of a loss --------------------------------------------------------------------------------------------------------------
cat >parallel.c <<'END'
#include <loss.h>
#ifndef _OPENMP
#error it is compiled without OpenMP
#endif
pith_node *loss(const pith_batch *b)
{
    double x[8], sum = 0;
#pragma omp parallel for
    for (int i = 0; i < 8; i++) x[i] = i;
    for (int i = 0; i < 8; i++) sum += x[i];
    return pith_mul_scalar(pith_mean(pith_mul(b->image, b->text), PITH_ALL), sum);
}
END
says 0 "agrees" "$pith" check parallel.c; quiet parallel.c
says 0 "1 steps" "$pith" train shapes.pack $run --steps 1 --loss parallel.c --out parallel; quiet parallel.c
sed 's/double x/int unread; double x/' parallel.c >unread.c
says 0 "unread.c:7" "$pith" check unread.c
grep -q "unused variable" out || { bad "a loss is compiled without -Wall:"; cat out; }
cat >compiler <<'END'
#!/bin/sh
# SIGINT, SIGTERM and others that come from outside are numbers 1 to 15, without 9 to 11
blocked=$(sed -n 's/^SigBlk:.*\(....\)$/\1/p' /proc/self/status)
echo "compiler: blocked are 0x$blocked" >>"$COMPILED"
exec cc "$@"
END
chmod 755 compiler
says 0 "2 steps" env CC="$work/compiler" COMPILED="$work/compiled" "$pith" distil shapes.pack --teacher whole --student "$tiny" --steps 2 \
    --batch 32 --loss parallel.c --out taught # whose teacher's rows are computed first
says 0 "agrees" env CC="$work/compiler" COMPILED="$work/compiled" "$pith" check parallel.c
[ "$(grep -c 'blocked are 0x0000' compiled)" = 2 ] || { bad "the compiler is deaf to signals:"; cat compiled; }

# ---- a loss with a teacher, drawn -----------------------------------------------------------------------------------------------------------
cat >taught.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    const pith_teacher *t = &b->teachers[0];
    pith_node *own = pith_mul(pith_matmul_nt(b->image, b->text), b->scale);
    return pith_mean(pith_square(pith_sub(own, pith_mul(pith_matmul_nt(t->image, t->text), t->scale))), PITH_ALL);
}
END
says 0 "taught.c:6" "$pith" graph whole --loss taught.c --plan

# ---- pith check: kinks, and what is wrong -----------------------------------------------------------------------------------------------------
# The kink of element i lies half a step of pith check beside the picture's number, or on it.
cat >kinks.c <<'END'
#include <core.h>
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    const size_t n = pith_size(b->image_raw);
    const real *x = pith_sample_data(b->image_raw), half = sizeof(real) == 8 ? 8e-5 : 5e-3;
    real kink[256];
    for (size_t i = 0; i < n; i++) kink[i] = x[i] - (i % 2 ? half : 0);
    pith_node *at = pith_const_array(b->graph, PITH_F32, kink, (int)n);
    return pith_mean(pith_abs(pith_sub(pith_reshape(b->image_raw, -1), at)), PITH_ALL);
}
END
says 0 "agrees (24 of its elements near a kink)" "$pith" check kinks.c
# an op with a rule that is wrong: told of the op, and of a loss that uses it
sed 's/\bop_cumsum\b/pith_op_running/g' "$root/examples/04_op.c" >op.c
says 0 "op cumsum, 2 examples" "$pith" check op.c; quiet op.c
[ "$(grep -c agrees out)" = 3 ] || { bad "a right op:"; cat out; }
sed 's/!reversed(n)/reversed(n)/' op.c >wrong.c
says 1 "DIFFERS" "$pith" check wrong.c; quiet wrong.c
grep -q "gradient  .*DIFFERS" out || { bad "a wrong rule:"; cat out; }
sed 's/PITH_INPLACE/0/; s/sum += x\[i\]/sum += 2 * x[i]/' op.c >kernel.c
says 1 "DIFFERS" "$pith" check kernel.c
grep -q "kernel against its lowering  .*DIFFERS" out || { bad "a wrong kernel:"; cat out; }
for rule in '!reversed' 'reversed'; do
    { echo '#include <loss.h>'; sed "s/!reversed(n)/$rule(n)/" "$root/examples/04_op.c"; cat <<'END'; } >"own.c"
pith_node *loss(const pith_batch *b) { return pith_mean(pith_square(cumsum(PITH_HERE, b->image, false)), PITH_ALL); }
END
    if [ "$rule" = reversed ]; then says 1 "DIFFERS" "$pith" check own.c; else says 0 "agrees" "$pith" check own.c; fi
    grep -q "loss own.c, 6 pairs" out || { bad "own.c is not checked as a loss:"; cat out; }
done

# ---- a crash leaves nothing ---------------------------------------------------------------------------------------------------------------------
mkdir scratch
for how in '*(volatile int *)8 = 1' 'abort()'; do
    printf '#include <stdlib.h>\n#include <loss.h>\npith_node *loss(const pith_batch *b) { %s; return b->image; }\n' "$how" >crash.c
    says 1 "crash.c crashed" env TMPDIR="$work/scratch" "$pith" check crash.c
    [ -z "$(ls -A scratch)" ] || { bad "after $how there is:"; ls -AR scratch; }
done

# ---- SIGTERM at any moment ------------------------------------------------------------------------------------------------------------------------
for k in 1 2 3 4 5 6 7 8 9 10; do
    "$pith" train shapes.pack $run --steps 100000 --threads 2 --save-every 7 --out term >out 2>&1 & pid=$!
    while [ ! -s term/metrics.jsonl ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    sleep "0.$(printf %03d "$(od -An -N 1 -t u1 /dev/urandom)")"
    kill -TERM $pid; wait $pid; got=$?
    [ $got = 130 ] || { bad "SIGTERM: status $got, expected 130:"; tail -3 out; }
    grep -q -- "--resume term" out || { bad "SIGTERM: it is not said how to go on:"; tail -3 out; }
    step=$(sed -n 's/.*stopped after step \([0-9]*\) of 100000.*/\1/p' out)
    grep -q "\"step\": $step\b" term/latest/state.json || { bad "SIGTERM: step \"$step\" is not what is saved:"; cat term/latest/state.json; }
    says 0 "$((step + 1)) steps" "$pith" train --resume term --steps $((step + 1)) --threads 2
    rm -rf term
done
for option in "--seed 3" "--count 5" "--size 16" --left-out; do
    says 1 "pith data stats has no option ${option%% *}" "$pith" data stats shapes.pack $option; one_line
done
[ $failed = 0 ] && echo "test_promises: all as it should be"
exit $failed
