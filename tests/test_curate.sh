#!/bin/sh
# pith data balance, cluster and filter: planted copies removed and told, what stays unchanged, clusters, scores, and mistakes of one sentence
# each. PITH=FILE tests another build.
set -u
cd "$(dirname "$0")/.."
root=$PWD
SAYS_SECONDS=60
. tests/says.sh

shapes_and_models
other=$((300 - train))
pairs() { "$pith" data check "$1" | sed -n 's/.*: \([0-9]*\) pairs.*/\1/p'; }
split() { "$pith" data stats "$1" | sed -n "s/^ *$2  *//p"; }
lines() { [ "$(wc -l <"$1")" = "$2" ] || bad "$1 has $(wc -l <"$1") lines, expected $2"; }

# ---- balance -------------------------------------------------------------------------------------------------------------------
balance="data balance shapes.pack --model m1"
says 0 "beta 0: groups of two and more: 0, the largest of 0; 0 of $train training pairs removed" "$pith" $balance --beta 0 --out zero.pack
same zero.pack shapes.pack # what is kept is kept to the bit, synthetic captions too
lines zero.groups.tsv 1
says 0 "the largest of $train; $((train - 1)) of $train training pairs removed" "$pith" $balance --beta 2.1 --out one.pack
says 0 "the largest of $train; $((train - 1)) of $train training pairs removed" "$pith" $balance --beta 2.1 --shards 3 --out shards.pack
same one.pack shards.pack
[ "$(pairs one.pack)" = $((other + 1)) ] || bad "one.pack: $(pairs one.pack) pairs, expected $((other + 1))"
for s in valid combination; do [ "$(split one.pack $s)" = "$(split shapes.pack $s)" ] || bad "the split $s has changed"; done
lines one.groups.tsv $((train + 1))
[ "$(cut -f 2 one.groups.tsv | grep -c kept)" = 1 ] || bad "more than one picture of a group is kept"
[ "$(grep -c 'class="central"' one.groups.html)" = 1 ] || bad "the page does not mark the kept picture"
[ "$(grep -c '<figure' one.groups.html)" = 24 ] || bad "the page shows $(grep -c '<figure' one.groups.html) pictures of a group, expected 24"
says 0 "training pairs removed" "$pith" $balance --remove 0.437 --out rate.pack
rate=$(awk "BEGIN { print int(0.437 * $train + 0.5) }")
grep -q "; $rate of $train training" out || { bad "--remove 0.437: expected $rate removed:"; cat out; }
beta=$(sed -n 's/^beta \([^:]*\):.*/\1/p' out)
says 0 "beta $beta: " "$pith" $balance --beta "$beta" --out again.pack
same rate.pack again.pack; same rate.groups.tsv again.groups.tsv
says 0 "beta $beta: " "$pith" $balance --beta "$beta" --threads 1 --out again.pack
same rate.groups.html again.groups.html

# Two pictures, one of which stands there four times and the other twice, and once more in another split.
mkdir set
for k in 1 2 3 4; do cp "$root"/tests/pictures/red.png set/red$k.png; printf 'red%d.png\ta <red> one\ttrain\n' $k; done >set/captions.tsv
for k in 1 2 3; do cp "$root"/tests/pictures/blue.jpg set/blue$k.jpg; done
printf 'blue1.jpg\tone\ttrain\t4\tmachine words\nblue2.jpg\ttwo\ttrain\t5\nblue3.jpg\tthree\tvalid\t6\n' >>set/captions.tsv
says 0 "groups of two and more: 2, the largest of 4; 4 of 6 training pairs removed (66.67 %)" "$pith" data balance set --model m1 --beta 0.001 --out set.pack
says 0 "set.pack: 3 pairs, as they were written" "$pith" data check set.pack
grep -q "synthetic captions: 1 in all, of 1 pairs" out || { bad "the synthetic caption is lost:"; cat out; }
printf 'group\twhat\tsource\tcaption\tdistance\n' >want
for k in 1 2 3 4; do printf '1\t%s\tred%d.png\ta <red> one\t0\n' "$([ $k = 1 ] && echo kept || echo removed)" $k; done >>want
printf '2\tkept\tblue1.jpg\tone\t0\n2\tremoved\tblue2.jpg\ttwo\t0\n' >>want
same set.groups.tsv want
grep -q 'a &lt;red&gt; one' set.groups.html || bad "a caption is not escaped in the page"
says 0 "groups of two and more: 0" "$pith" data balance set.pack --model m1 --beta 0.001 --out twice.pack
same set.pack twice.pack
says 0 "0.333 of the pairs cannot be removed: equal distances come and go together; the next possible rates are 0 and 0.666667" \
    "$pith" data balance set --model m1 --remove 0.333 --out x.pack

# ---- cluster -------------------------------------------------------------------------------------------------------------------
cluster="data cluster shapes.pack --model m1"
says 0 "7 clusters of $train training pairs: sizes " "$pith" $cluster --k 7 --out a.clusters
says 0 "7 clusters of $train training pairs: sizes " "$pith" $cluster --k 7 --threads 1 --out b.clusters
same a.clusters b.clusters
says 0 "7 clusters" "$pith" $cluster --k 7 --seed 5 --out b.clusters
cmp -s a.clusters b.clusters && bad "another seed gives the same clusters"
says 0 "after 1 iterations" "$pith" $cluster --k 7 --iterations 1 --spherical --out b.clusters
grep -q '"kind":"pith-clusters"' a.clusters || bad "the header does not tell the kind"
says 1 "shapes.pack: --k 999: there are only $train training pairs" "$pith" $cluster --k 999 --out c.clusters; one_line
[ ! -e c.clusters ] || bad "a refused command left its file"

# ---- filter --------------------------------------------------------------------------------------------------------------------
filter="data filter shapes.pack --model m1"
kept=$(awk "BEGIN { print int(0.4 * $train + 0.5) }")
says 0 "training pairs: $kept of $train kept, with a score of" "$pith" $filter --top 0.4 --out top.pack
[ "$(pairs top.pack)" = $((other + kept)) ] || bad "top.pack: $(pairs top.pack) pairs, expected $((other + kept))"
lines top.scores.tsv $((train + 1))
tail -n +2 top.scores.tsv | cut -f 1 >scores; sort -grs scores >ranked; same scores ranked
[ "$(cut -f 2 top.scores.tsv | grep -c kept)" = "$kept" ] || bad "not $kept scores are of kept pairs"
says 0 "training pairs: $train of $train kept" "$pith" $filter --top 1 --out all.pack
same all.pack shapes.pack
says 0 "half 2, by --cross-fit: " "$pith" $filter --top 0.4 --cross-fit m2 --out half.pack
says 0 "halves: bit 32 of the FNV-1a hash of the caption; " "$pith" $filter --top 0.4 --cross-fit m2 --out half.pack
says 0 "training pairs: " "$pith" data filter shapes.pack --model m2 --out second.pack
for half in 1 2; do # each half has the scores of its own model
    scorer=top; [ $half = 1 ] || scorer=second
    awk -F '\t' -v half=$half 'NR > 1 && $3 == half { n++; kept += $2 == "kept" } END { exit !(n > 50 && kept == int(0.4 * n + 0.5)) }' half.scores.tsv ||
        bad "of half $half another share than 0.4 is kept"
    awk -F '\t' -v half=$half '$3 == half { print $4, $1 }' half.scores.tsv | sort >scores
    [ -s scores ] || bad "no pair is in half $half"
    awk -F '\t' 'NR > 1 { print $4, $1 }' $scorer.scores.tsv | sort >all
    [ -z "$(comm -23 scores all)" ] || bad "half $half is not scored by its model"
done

# ---- mistakes ------------------------------------------------------------------------------------------------------------------
says 1 "pith data: expected fetch, pack, stats, check, balance, cluster, filter, sample or split, found \"balanse\"" "$pith" data balanse x; one_line
says 1 "--model is missing" "$pith" data balance shapes.pack --out x.pack; one_line
says 1 "--out is missing" "$pith" data cluster shapes.pack --model m1; one_line
says 1 "--beta and --remove: a distance or a rate, not both" "$pith" $balance --beta 0.1 --remove 0.2 --out x.pack; one_line
says 1 "--remove with --shards" "$pith" $balance --remove 0.2 --shards 2 --out x.pack; one_line
says 1 "shards of $train rows" "$pith" $balance --shards 5000 --out x.pack; one_line
says 1 "--remove: expected a number from 0 to 1, found 1.5" "$pith" $balance --remove 1.5 --out x.pack; one_line
says 1 "--top: expected a number from 0 to 1, found 3" "$pith" $filter --top 3 --out x.pack; one_line
says 1 "pith data balance has no option --k" "$pith" $balance --k 3 --out x.pack; one_line
says 1 "pith data filter has no option --seed" "$pith" $filter --seed 3 --out x.pack; one_line
says 1 "no-model: expected the directory of a model" "$pith" data cluster shapes.pack --model no-model --out x.clusters; one_line
echo mine >x.groups.tsv
says 1 "x.groups.tsv: is there already" "$pith" $balance --beta 0.1 --out x.pack; one_line
mkdir empty; "$pith" data pack set only.pack --size 16 --valid 0 >out 2>&1
sed 's/\ttrain/\tvalid/' set/captions.tsv >valid.tsv; mv valid.tsv set/captions.tsv
says 1 "set: the split \"train\" has no pairs" "$pith" data cluster set --model m1 --k 1 --out x.clusters; one_line

# What is read is not written, nor another kind of file, nor two things into one.
cp shapes.pack safe.pack; cp m1/open_clip_model.safetensors weights; cp m1/open_clip_config.json config
for c in "balance shapes.pack --model m1" "filter shapes.pack --model m1" "sample shapes.pack --share 0.5" "split shapes.pack"; do
    says 1 "shapes.pack: is to be written, and is also what is read" "$pith" data $c --out ./shapes.pack; one_line
    says 1 "open_clip_model.safetensors: is there already, and is another kind of file" "$pith" data $c --out m1/open_clip_model.safetensors; one_line
done
says 1 "safe.pack: is there already, and is another kind of file" "$pith" data cluster shapes.pack --model m1 --k 3 --out safe.pack; one_line
says 1 "safe.pack: is to be written, and is also what is read" "$pith" $filter --truth safe.pack --out safe.pack; one_line
says 1 "j.pack: is to be written, and is also to be written as something else" "$pith" $filter --json j.pack --out j.pack; one_line
says 1 "open_clip_config.json: is there already, and holds no figures" "$pith" eval m1 shapes.pack --json m1/open_clip_config.json; one_line
same shapes.pack safe.pack; same weights m1/open_clip_model.safetensors; same config m1/open_clip_config.json
for again in 1 2; do says 0 "" "$pith" eval m1 shapes.pack --json figures.json; done

# A model whose pictures come out as NaN: half of the last weights so large, 3.4e38, that they overflow.
cp -r m1 nan
weights=nan/open_clip_model.safetensors
at=$(grep -ao '"visual.proj":{[^}]*}' $weights | sed 's/.*"data_offsets":\[\([0-9,]*\)\].*/\1/')
start=$(($(od -An -t u8 -N 8 $weights) + 8 + ${at%,*}))
head -c $(((${at#*,} - ${at%,*}) / 2)) /dev/zero | tr '\0' '\177' | dd of=$weights bs=1 seek=$start conv=notrunc 2>/dev/null
for c in "balance shapes.pack" "cluster shapes.pack --k 3"; do
    says 1 "nan: its embedding of shape-" "$pith" data $c --model nan --out y.pack; one_line
    grep -q "holds a NaN or an infinity" out || bad "a NaN is not told"
done
says 1 "nan: its score of shape-" "$pith" data filter shapes.pack --model nan --out y.pack; one_line
[ ! -e y.pack ] || bad "a refused command left its file"
[ $failed = 0 ] && echo "test_curate: all as it should be"
exit $failed
