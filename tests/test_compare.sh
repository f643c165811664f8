#!/bin/sh
# pith compare: cells run once each, with seeds, before and after kill -9; claims judged; a page and a table; mistakes.
set -u
cd "$(dirname "$0")/.."
. tests/says.sh

"$pith" data fetch shapes . --count 400 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
small="16/8:w16l1h1+w16l1h1c12v640:e16"
fast="--batch 32 --lr 5e-3 --warmup 2 --evaluate-every 10 --save-every 10"
write() { # seeds measure claims: a comparison of four arms
    cat >c.json <<END
{ "question": "Do more steps help?", "data": "shapes.pack", "measure": "$2", "seeds": [$1],
  "before": [{ "name": "teacher", "run": "train --model 16/8:w32l2h2+w32l2h2c12v640:e16 --steps 40 $fast" }],
  "arms": [{ "name": "short", "run": "train --model $small --steps 10 $fast" },
           { "name": "long", "run": "train --model $small --steps 100 $fast" },
           { "name": "student", "run": "distil --teacher {teacher} --student $small --steps 20 $fast" },
           { "name": "pruned", "run": "prune --model {teacher} --keep 0.7,0.5 --steps 20 $fast --warmup 0" }],
  "claims": [$3] }
END
    sed -i 's/ --warmup 2 --evaluate-every 10 --save-every 10 --warmup 0/ --evaluate-every 10 --save-every 10/' c.json
}
longer='{ "claim": "longer is better", "kind": "better", "contrast": { "long": 1, "short": -1 }, "margin": 0.01 }'
never='{ "claim": "short is as soon", "kind": "better", "contrast": { "short": 1, "long": -1 }, "margin": 0.01, "reaches": "long" }'
same='{ "claim": "short is no worse", "kind": "no worse", "contrast": { "short": 1, "long": -1 }, "margin": 0.01 }'

write "0, 1, 2" combination.mrr "$longer, $never, $same"
says 0 "longer is better: held" "$pith" compare c.json --out whole
grep -q "short is as soon: did not hold\|short is as soon: cannot be told" out || { bad "an arm that never arrived is said to be sooner:"; cat out; }
grep -q "short is no worse: did not hold" out || { bad "the third claim:"; cat out; }
[ "$(wc -l <whole/results.tsv)" = 13 ] || bad "expected a heading and 12 rows"
grep -q "longer is better: held" whole/index.html || bad "the page has no verdict"
# A student's pairs are those of its steps; those of a run in stages, of all its parts.
awk -F'\t' '$2 == "student" && $12 != 640 || $2 == "pruned" && $12 != 1280 || $2 == "short" && $12 != 320' whole/results.tsv | grep . && bad "pairs seen"
awk -F'\t' 'NR > 1 && !($13 > 0 && $10 > 1 && $11 > 100 && $14 ~ / train.loss=[0-9]/)' whole/results.tsv | grep . && bad "GFLOP, memory and parameters"
cp whole/results.tsv before.tsv
says 0 "12 cells, 0 of them to be run" "$pith" compare c.json --out whole
same before.tsv whole/results.tsv

# Its loss is the mean of its last twenty; a table tells it as it is, shares in %.
for seed in 0 1 2; do
    told=$(awk -F'\t' -v s=$seed '$2 == "short" && $3 == s { print $14 }' whole/results.tsv | sed 's/.*train.loss=//; s/ .*//')
    sed -n 's/.*"loss":\([0-9.]*\),.*/\1/p' whole/short-$seed/metrics.jsonl | tail -20 | awk -v told="$told" '{ sum += $1 } END { d = sum / NR - told; exit !(NR > 5 && d * d < 1e-8) }' ||
        bad "the loss of short-$seed is not $told"
done
# Ratios and bounds, from curves made up: short is twice as fast; then it never comes there.
write "0, 1, 2" combination.mrr "$never, $(echo "$never" | sed 's/short is as soon/its loss is no worse/; s/"reaches": "long"/"measure": "train.loss"/')"
mkdir made; for end in 0.5 0.2 0.7; do
    awk -F'\t' -v OFS='\t' -v end=$end '$2 == "long" { $15 = "100:1:0.1 " (end == 0.7 && $3 ? 401 : 400) ":2:0.5" } $2 == "short" { $15 = "100:1:0.1 200:2:" end; sub(/train.loss=[0-9.]*/, "train.loss=2.34567", $14) } { print }' whole/results.tsv >made/results.tsv
    "$pith" compare c.json --out made --draw >out 2>&1 || { bad "made-up curves:"; cat out; }
    if [ $end = 0.7 ]; then grep -q "short is as soon: held" out && grep -q "2 times fewer pairs, 2 to 2.01; 3 seeds, margin 0.01 of the logarithm" out || { bad "half of the pairs:"; cat out; }
    elif [ $end = 0.5 ]; then grep -q "short is as soon: cannot be told: all seeds came there at the same evaluation" out || { bad "no seed differs:"; cat out; }
    else grep -q "short is as soon: cannot be told: some never came there" out && grep -q "times fewer pairs.*, of bounds" out || { bad "never reached:"; cat out; }; fi
done
grep -q "<td>2.346</td>" made/index.html || bad "a loss is not told as it is"
# A contrast pairs rows by their seed, whatever their order: 1.1, 2.2 and 3.4 off, so 2.2333 +- 4.3027 * 1.1504 / sqrt(3).
write "2, 0, 1" combination.mrr "$(echo "$never" | sed 's/"reaches": "long"/"measure": "train.loss"/')"
{ sed 1q whole/results.tsv; sed 1d whole/results.tsv | sort -r; } | awk -F'\t' -v OFS='\t' '$2 == "long" { sub(/train.loss=[0-9.]*/, "train.loss=" 10 * $3, $14) }
    $2 == "short" { split("1.1 12.2 23.4", x, " "); sub(/train.loss=[0-9.]*/, "train.loss=" x[$3 + 1], $14) } { print }' >made/results.tsv
says 0 "mean and 95 % interval: 2.2333, -0.6243 to 5.0910; 3 seeds" "$pith" compare c.json --out made --draw
write "0, 1, 2" combination.mrr "$longer, $never, $same"
grep -q "combination.probe_top1=.*combination.probe_majority=" whole/results.tsv || bad "no linear probe in the table"

# Killed in a cell, it goes on: the same measures.
"$pith" compare c.json --out cut >out 2>&1 & pid=$!
while [ ! -e cut/long-1/step-10 ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -9 $pid; wait $pid 2>/dev/null
[ "$(wc -l <cut/results.tsv)" -lt 13 ] || bad "it was over before it was killed"
sleep 1 # the run itself gets a signal and saves what it has
says 0 "longer is better: held" "$pith" compare c.json --out cut
for t in whole cut; do cut -f 1-6,11-15 $t/results.tsv | sort >$t.rows; done
same whole.rows cut.rows
"$pith" compare c.json --out stopped >out 2>&1 & pid=$!
while [ ! -e stopped/long-0/step-10 ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -INT $pid; wait $pid; [ $? = 130 ] || bad "Ctrl-C: expected status 130"

# One seed tells nothing; a second one is added to what is there.
write "0" combination.mrr "$longer"
says 0 "longer is better: cannot be told by 1 seed" "$pith" compare c.json --out whole

# Two questions at once: what they share stands in a third file; an arm of both is one cell; an arm that does not train makes what later ones need,
# with each seed; models are measured on other data, too; the first words tell how long it may take.
cat >both.json <<END
{ "data": "shapes.pack", "measure": "combination.mrr", "seeds": [0, 1], "limits": "all is small", "also": { "once_more": "{data} --split valid --probe" },
  "before": [{ "name": "teacher", "run": "train --model 16/8:w32l2h2+w32l2h2c12v640:e16 --steps 40 $fast" }] }
END
cat >one.json <<END
{ "question": "Does a teacher help?", "common": "both.json", "paper": "a paper <says> so", "limits": "much",
  "arms": [{ "name": "clip", "run": "train --model $small --steps 20 $fast" },
           { "name": "student", "run": "distil --teacher {teacher} --rows {teacher} --student $small --steps 20 $fast" },
           { "name": "figures", "run": "eval {teacher} {data} --json {out}.json" }],
  "claims": [{ "claim": "it does", "kind": "better", "contrast": { "student": 1, "clip": -1 }, "margin": 0.01 },
             { "claim": "the teacher is better than its student", "kind": "better", "contrast": { "figures": 1, "student": -1 }, "margin": 0.01 }] }
END
cat >two.json <<END
{ "question": "Do fewer pairs do?", "common": "both.json", "seeds": [0],
  "arms": [{ "name": "clip", "run": "train --model $small --steps 20 $fast" },
           { "name": "part", "run": "data balance {data} --model {teacher} --remove 0.3 --out {out}" },
           { "name": "fewer", "run": "train --model $small --steps 20 $fast", "data": "{part}" }],
  "claims": [{ "claim": "they do", "kind": "no worse", "contrast": { "fewer": 1, "clip": -1 }, "margin": 0.5 }] }
END
says 0 "3 arms, 2 seeds: 5 cells, 5 of them to be run; very roughly" "$pith" compare one.json two.json --out several
[ "$(sed 1d several/results.tsv | cut -f 2-3 | sort | tr '\t\n' ': ')" = "clip:0 clip:1 fewer:0 figures:0 figures:1 student:0 student:1 " ] || { bad "rows:"; cut -f 1-3 several/results.tsv; }
awk -F'\t' 'NR > 1 && $2 != "figures" && $14 !~ /once_more.valid.mrr=.*once_more.valid.probe_top1=/' several/results.tsv | grep . && bad "no measures of other data"
[ -f several/part-0 ] && [ "$("$pith" data stats several/part-0 | head -1)" != "$("$pith" data stats shapes.pack | head -1)" ] || bad "no smaller set"
[ "$(ls several/teacher/teacher-*.safetensors | wc -l)" = 1 ] && ! ls several/student-0/teacher-* >/dev/null 2>&1 || bad "the teacher's rows are not shared"
for text in "2 questions, and what came of them" "a paper &lt;says&gt; so" "All arms" "all is small" "One teacher serves all seeds" "the teacher is better than its student" "cannot be told by 1 seed"; do
    grep -q "$text" several/index.html || bad "the page does not say: $text"
done
mv several/index.html page; cp several/results.tsv rows
says 0 "it does: " "$pith" compare one.json two.json --out several --draw
same page several/index.html; same rows several/results.tsv
says 1 "empty/results.tsv: there are no rows to draw" "$pith" compare two.json --out empty --draw; one_line
[ ! -e empty/teacher ] || bad "--draw ran something"
sed 's/--steps 20/--steps 21/; s/Do fewer/Do really fewer/' two.json >three.json
says 1 'the arm "clip" is not the same in both' "$pith" compare one.json three.json --out several; one_line
says 1 'clip-0: arm "clip" was begun there as "train --model' "$pith" compare three.json --out several
says 1 "one.json and one.json ask the same question" "$pith" compare one.json one.json --out several; one_line
# What an arm is made of and measured on counts, not its words alone; a row that is missing is made again, and no model trained.
sed -i 's/--remove 0.3/--remove 0.4/' two.json; says 1 'the arm "fewer" was made of, or measured on, other data or models' "$pith" compare two.json --out several --draw; one_line
sed -i 's/--remove 0.4/--remove 0.3/; s/"seeds": \[0\]/"seeds": [0], "also": { "x": "{data} --split valid" }/' two.json
says 1 'was made of, or measured on, other data or models' "$pith" compare two.json --out several --draw; one_line
grep -v "	figures	" rows >several/results.tsv
says 0 "4 cells, 0 of them to be run" "$pith" compare one.json --out several
[ "$(grep -c "	figures	" several/results.tsv)" = 2 ] || bad "a measured model has no row again"
mv several/part-0 gone; sed -i '/	fewer	/d' several/results.tsv; rm -rf several/fewer-0*; sed -i 's/"seeds": \[0\], "also".*/"seeds": [0],/' two.json
says 0 "fewer, seed 0" "$pith" compare two.json --out several
same several/part-0 gone
# A teacher trained anew: what was made of the old one is not taken for its student.
rm -r several/teacher several/teacher.arm; sed 's/--steps 40/--steps 50/' both.json >both2.json; sed 's/both.json/both2.json/' one.json >one2.json
says 1 'student-0: arm "student" was begun there from other models, data or losses' "$pith" compare one2.json --out several --results anew.tsv
# A model trained on from another has cost what that cost, too; paths may have blanks; one comparison at a time.
mkdir "my data"; cp shapes.pack "my data/s p.pack"
cat >on.json <<END
{ "question": "Does going on help?", "data": "my data/s p.pack", "measure": "valid.mrr", "seeds": [4],
  "arms": [{ "name": "start", "run": "train --model $small --steps 10 $fast" },
           { "name": "on", "run": "train --model {start} --steps 10 $fast" }] }
END
says 0 "on, seed 4" "$pith" compare on.json --out "my runs"
[ "$(sed 1d "my runs/results.tsv" | cut -f 2,12 | tr '\t\n' ': ')" = "start:320 on:640 " ] || { bad "pairs of a training that goes on:"; cut -f 2,12 "my runs/results.tsv"; }
sed -i 's/"seeds": \[4\]/"seeds": [4, 5, 6]/' on.json
"$pith" compare on.json --out "my runs" >first 2>&1 & pid=$!
while [ ! -e "my runs/start-5/run.json" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
says 1 "my runs: another pith compare is running in it" "$pith" compare on.json --out "my runs"; one_line
wait $pid || { bad "the first comparison failed:"; cat first; }
sed -i 's/"seeds"/"arms"/' both.json
says 1 'both.json: what comparisons share: unknown key "arms", expected data also measure seeds before limits' "$pith" compare one.json --out several; one_line

for row in "1e999" "inf" "nan"; do # numbers that no cell has
    awk -F'\t' -v OFS='\t' -v x=$row 'NR == 2 { $10 = x } { print }' whole/results.tsv >odd.tsv
    says 1 "odd.tsv: line 2: expected a number, found \"$row\"" "$pith" compare c.json --out odd --results odd.tsv --draw; one_line
done
awk -F'\t' -v OFS='\t' 'NR > 1 { $10 = 0; $12 = 0; $15 = "inf:1:1 2:2:2" } { print }' whole/results.tsv >odd.tsv
says 0 "" timeout 20 "$pith" compare c.json --out odd --results odd.tsv --draw

# A table is what an editor and a full disk left of it: a heading where there is none, a new line behind the last; not a measure that is none.
says 0 "index.html" "$pith" compare on.json --out "my runs" --draw
cp "my runs/results.tsv" all.tsv
head -c -1 all.tsv >left.tsv; : >none.tsv
sed -i 's/"seeds": .*\]/"seeds": [4, 5, 6, 7]/' on.json
says 0 "on, seed 7" "$pith" compare on.json --out "my runs" --results left.tsv
head -$(wc -l <all.tsv) left.tsv >first; same first all.tsv
sed 's/Does going on/Does it/; s/"arms"/"limits": "", "arms"/' on.json >it.json
says 1 'expected a text as "limits"' "$pith" compare it.json --out "my runs"; one_line
sed -i 's/"seeds": .*\]/"seeds": [4]/' on.json
says 0 "start" "$pith" compare on.json --out "my runs" --results none.tsv
[ "$(head -1 none.tsv)" = "$(head -1 all.tsv)" ] || bad "an empty table got no heading"
for measure in "" "0,17" "nan"; do
    sed "2s/valid.mrr=[0-9.]*/valid.mrr=$measure/" all.tsv >odd.tsv
    says 1 "odd.tsv: line 2: expected a measure, as valid.mrr=0.5, found \"valid.mrr=$measure" "$pith" compare on.json --out odd --results odd.tsv --draw; one_line
done
# Logs are files of its own; what an arm made and is gone is made again; a mistake in options leaves nothing begun.
mkdir laid; mkfifo laid/start-4.log; says 1 "laid/start-4.log: cannot be written" timeout 20 "$pith" compare on.json --out laid
rm laid/start-4.log; echo mine >victim; ln -s ../victim laid/start-4.log
says 1 "laid/start-4.log: cannot be written" "$pith" compare on.json --out laid
[ "$(cat victim)" = mine ] || bad "a link was followed"
rm laid/start-4.log; sed -i 's/--steps 10 /--stepz 10 /' on.json; says 1 "no option --stepz" "$pith" compare on.json --out laid
sed -i 's/--stepz 10 /--steps 10 /; s/--model {start} \(.*\)" }\]/\1 --model {start}" }]/' on.json
says 0 "on, seed 4" "$pith" compare on.json --out laid
[ "$(awk -F'\t' '$2 == "on" { print $12 }' laid/results.tsv)" = 640 ] || bad "pairs of a training that names its start last"

# Mistakes.
wrong() { text=$1; says 1 "$text" "$pith" compare c.json --out wrong; one_line; [ ! -e wrong ] || { bad "a refused comparison left its directory"; rm -rf wrong; }; }
sed 's/"claim":/"claims":/' c.json >d.json; mv d.json c.json; wrong 'claim 1: unknown key "claims", expected claim kind contrast margin measure reaches'
write 0 combination.mrr "$longer"; sed -i 's/"name": "long"/"name": "short"/' c.json; wrong 'two arms are called "short"'
write 0 combination.mrr "${longer%%\"contrast*}\"contrast\": { \"long\": 1, \"sort\": -1 }, \"margin\": 0 }"; wrong 'claim 1: there is no arm "sort"'
write 0 combination.mrr "${longer%%\"contrast*}\"contrast\": { \"long\": 1, \"short\": 1 }, \"margin\": 0 }"; wrong 'the weights of its contrast add up to 2, expected 0'
write "0, 0" combination.mrr "$longer"; wrong 'the seed 0 stands there twice'
write 0 combination.mrr "$longer"; sed -i '/"short"/s/train --model/eval --model/' c.json; wrong 'expected train, distil or prune with its options, or another command of pith that writes {out}; found "eval --model'
write 0 combination.mrr "$longer"; sed -i 's/--steps 100/--steps 100 --out x/' c.json; wrong 'arm "long": --out is set by pith compare'
write 0 combination.mrr "$longer"; sed -i 's/{teacher}/{teaser}/' c.json; wrong 'arm "student": {teaser} is neither out, data nor seed, nor an earlier arm'
write 0 combination.mrr "$longer"; sed -i 's/"data": "shapes.pack"/"data": "x{data}"/' c.json; wrong '{data} cannot be a part of "data"'
write 0 combination.mrr "$longer"; sed -i 's/"claims"/"": 1, "claims"/' c.json; wrong 'unknown key "", expected'
write 0 combination.mrr "$longer"; sed -i 's/"claims"/"data also": 1, "claims"/' c.json; wrong 'unknown key "data also", expected'
write 0 combination.mrr "$longer"; sed -i 's/"teacher"/"short-0"/; s/{teacher}/{short-0}/' c.json; wrong '"short-0" is also where the arm "short" lies with seed 0'
write 0 combination.mrr "$longer"; sed -i '/"short"/s/train --model/compare {out}/' c.json; wrong 'a comparison cannot run another'
write 0 combination.mrr "$longer"; sed -i '/"short"/s/train --model/ compare {out}/' c.json; wrong 'arm 2: expected a text as "run"'
write 0 combination.mrr "${longer%%\"contrast*}\"contrast\": { \"long\": 0, \"short\": 0 }, \"margin\": 0 }"; wrong 'claim 1: expected weights that are not all 0'
write 1000000000000000001 combination.mrr "$longer"; wrong 'whole numbers as "seeds", up to 1e15'
write 0 combination.mrr "$never"; sed -i '/"short"/s/train --model.*"/eval {teacher} {data} --json {out}.json"/' c.json; wrong '"short" does not train, so that it reaches nothing'
printf '{ "question": "\302\233" ' >c.json; echo ', "measure": "a" }' >>c.json; wrong 'a control character in "question"'
echo '{ "question": 1 ' >c.json; wrong 'c.json:2: not JSON'
write 0 composition.mrr "$longer"; says 1 'has no measure "composition.mrr"; it has valid.mrr=' "$pith" compare c.json --out whole; one_line
write 0 combination.mrr "$longer"; sed -i 's/--steps 100/--steps 90/' c.json; says 1 'whole/results.tsv: line 3: the arm "long" was run as "' "$pith" compare c.json --out whole; one_line
write 0 combination.mrr "$longer"; "$pith" data fetch shapes . --count 500 --size 16 >/dev/null; says 1 'was made from data with the hash' "$pith" compare c.json --out whole
write 0 combination.mrr "$longer"; sed -i 's/--steps 10 /--steps 10 --loss nosuch /' c.json; says 1 'pith train failed; the last line of other/short-0.log is: there is no loss "nosuch"' "$pith" compare c.json --out other
[ $failed = 0 ] && echo "test_compare: all as it should be"
exit $failed
