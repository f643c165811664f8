#!/bin/sh
# pith data sample: parts of a set, planted noise and duplicates; pith data balance, which removes just these; pith data filter --truth, which
# tells what a score is worth; and mistakes of one sentence each. PITH=FILE tests another build.
set -u
cd "$(dirname "$0")/.."
root=$PWD
SAYS_SECONDS=60
. tests/says.sh

shapes_and_models
share() { awk "BEGIN { print int($1 * $2 + 0.5) }"; }
list() { # source and caption of every training pair, by source, with a tab between them, into NAME.list
    "$pith" data filter "$1.pack" --model m1 --top 1 --out listed.pack >out 2>&1 || { bad "no list of $1:"; cat out; }
    tail -n +2 listed.scores.tsv | cut -f 4,5 | sort >"$1.list"
}
count() { [ "$(wc -l <"$1.list")" = "$2" ] || bad "$1 has $(wc -l <"$1.list") training pairs, expected $2"; }
part() { [ -z "$(comm -23 "$1.list" "$2.list")" ] || bad "$1 is no part of $2"; }
others() { # other splits are the same
    for split in valid combination; do
        [ "$("$pith" data stats "$1.pack" | grep "^ *$split ")" = "$("$pith" data stats shapes.pack | grep "^ *$split ")" ] ||
            bad "$1: the split $split has changed"
    done
    says 0 ", as they were written" "$pith" data check "$1.pack"
}
sample="data sample shapes.pack"
list shapes; count shapes "$train"

# ---- fewer ---------------------------------------------------------------------------------------------------------------------
half=$(share 0.5 "$train") quarter=$(share 0.25 "$train")
says 0 "drawn with the seed 0: $half of $train training pairs stay" "$pith" $sample --share 0.5 --out half.pack
says 0 "drawn with the seed 0: $quarter of $train training pairs stay" "$pith" $sample --share 0.25 --out quarter.pack
says 0 "drawn with the seed 0: $quarter of $train" "$pith" $sample --count "$quarter" --threads 1 --out counted.pack
same quarter.pack counted.pack
says 0 "drawn with the seed 3: $quarter of $train" "$pith" $sample --share 0.25 --seed 3 --out other.pack
says 0 "drawn with the seed 0: 1 of $train" "$pith" $sample --share 0.0001 --out one.pack
for s in half quarter other one; do list $s; others $s; part $s shapes; done
count half "$half"; count quarter "$quarter"; count one 1
part one quarter; part quarter half
cmp -s other.list quarter.list && bad "another seed draws the same pairs"
first=$(cut -f 1 half.list | sort -n | head -"$quarter")
[ "$(cut -f 1 quarter.list)" = "$first" ] && bad "the first pairs are drawn, not random ones"

# Halves are those of the filter: the two together are all, and each is what --model or --cross-fit scores.
"$pith" data filter shapes.pack --model m1 --cross-fit m2 --top 1 --out crossed.pack >out 2>&1 || { bad "no halves"; cat out; }
for h in 1 2; do
    awk -F '\t' -v h=$h 'NR > 1 && $3 == h { print $4 "\t" $5 }' crossed.scores.tsv | sort >filter.list
    says 0 "half $h, by bit 32 of the FNV-1a hash of the caption: $(wc -l <filter.list) of $train training pairs stay" \
        "$pith" $sample --half $h --out half$h.pack
    list half$h; others half$h
    same half$h.list filter.list
done
of_half=$(wc -l <half1.list)
[ "$of_half" = 111 ] || bad "half 1 has $of_half pairs, expected 111" # as counted with another FNV-1a
says 0 "drawn with the seed 0: $(share 0.5 "$of_half") of $of_half training pairs" "$pith" $sample --half 1 --share 0.5 --out both.pack
list both; part both half1

# ---- noise ---------------------------------------------------------------------------------------------------------------------
noisy=$(share 0.3 "$train")
says 0 "shuffled with the seed 0: the captions of $noisy of $train training pairs; $noisy of these have another text now" \
    "$pith" $sample --shuffle 0.3 --out noisy.pack
list noisy; others noisy; count noisy "$train"
[ "$(comm -13 shapes.list noisy.list | wc -l)" = "$noisy" ] || bad "not $noisy pairs have another caption"
for s in shapes noisy; do cut -f 1 $s.list >$s.sources; cut -f 2 $s.list | sort >$s.captions; done
same shapes.sources noisy.sources; same shapes.captions noisy.captions
says 0 "shuffled" "$pith" $sample --shuffle 0.3 --threads 1 --out again.pack
same noisy.pack again.pack
says 0 "shuffled with the seed 1" "$pith" $sample --shuffle 0.3 --seed 1 --out again.pack
cmp -s noisy.pack again.pack && bad "another seed shuffles the same pairs"

# Synthetic captions go with the captions; of four captions three are equal, so that two of these must stay, and of five two, so that none must.
mkdir equal
for k in 1 2 3 4 5; do cp "$root"/tests/pictures/red.png equal/$k.png; done
printf '1.png\tone\ttrain\t3\tsynthetic one\n2.png\tx\ttrain\n3.png\tx\ttrain\n4.png\tx\ttrain\n' >equal/captions.tsv
for seed in 0 1 2 3 4 5 6 7; do
    says 0 "the captions of 4 of 4 training pairs; 2 of these have another text now" "$pith" data sample equal --shuffle 1 --seed $seed --out equal.pack
done
list equal
[ "$(grep -c '	x$' equal.list)" = 3 ] && [ "$(sed -n 's/^1.png\t//p' equal.list)" = x ] || { bad "captions are lost:"; cat equal.list; }
says 0 "synthetic captions: 1 in all, of 1 pairs" "$pith" data stats equal.pack
says 0 "labels: 0 to 3" "$pith" data stats equal.pack
printf '1.png\tone\ttrain\n2.png\tx\ttrain\n3.png\tx\ttrain\n4.png\ty\ttrain\n5.png\ty\ttrain\n' >equal/captions.tsv
for seed in 0 1 2 3 4 5 6 7; do
    says 0 "5 training pairs; 5 of these have another text now" "$pith" data sample equal --shuffle 1 --seed $seed --out equal.pack
done

# ---- duplicates, and the balance that removes just these -----------------------------------------------------------------------
tenth=$((train / 10)) copies=$((train / 10 * 9))
says 0 "every training pair whose number is a multiple of 10 stands 10 times: $tenth of $train" "$pith" $sample --repeat 10 --every 10 --out planted.pack
list planted; others planted; count planted $((train + copies))
[ "$(grep -c '^[^	]*#' planted.list)" = $copies ] || bad "not $copies copies can be told"
grep -v '#' planted.list >originals.list; same originals.list shapes.list
for k in 2 3 4 5 6 7 8 9 10; do grep "#$k	" planted.list | sed "s/#$k	/	/" >copy$k.list; part copy$k shapes; same copy$k.list copy2.list; done
says 0 "beta 0: groups of two and more: 0, the largest of 0; 0 of $((train + copies)) training pairs removed" \
    "$pith" data balance planted.pack --model m1 --beta 0 --out balanced.pack
same balanced.pack planted.pack # copies have the distance 0, which is not below 0
says 0 "groups of two and more: $tenth, the largest of 10; $copies of $((train + copies)) training pairs removed" \
    "$pith" data balance planted.pack --model m1 --beta 0.00001 --out balanced.pack
stems() { sed 's/#[0-9]*	/	/' "$1" | sort; }
list balanced; others balanced; same balanced.list shapes.list # the copies go, and nothing else
tail -n +2 balanced.groups.tsv | stems - | cut -f 1,3 | sort -u >groups
[ "$(wc -l <groups)" = $tenth ] || bad "a group has pictures of several sources"
awk "BEGIN { printf \"%.9f\", $copies / ($train + $copies) }" >rate
says 0 "; $copies of $((train + copies)) training pairs removed" "$pith" data balance planted.pack --model m1 --remove "$(cat rate)" --out by-rate.pack
same by-rate.pack balanced.pack
says 0 "every training pair whose number is a multiple of 1 stands 2 times: $half of $half" "$pith" $sample --share 0.5 --repeat 2 --out twice.pack
list twice; count twice $((2 * half))
grep -v '#' twice.list >originals.list; same originals.list half.list

# All at once, in the order that is told: what is drawn is shuffled, what is shuffled repeated.
says 0 "the captions of $(share 0.3 "$half") of $half training pairs; " "$pith" $sample --share 0.5 --shuffle 0.3 --repeat 3 --every 2 --out all.pack
list all; count all $((half + half / 2 * 2))
grep -v '#' all.list >originals.list
cut -f 1 originals.list >a; cut -f 1 half.list >b; same a b
grep '#3	' all.list | sed 's/#3	/	/' >thirds.list; part thirds originals

# ---- the truth -----------------------------------------------------------------------------------------------------------------
area() { # the AUC from a table of scores, pair by pair, of all or of the half $2; the number of pairs
    awk -F '\t' -v half="${2:-}" 'NR == FNR { own[$1] = $2; next }
        FNR > 1 && (half == "" || $3 == half) { if (own[$4] == $5) right[++r] = $1; else wrong[++w] = $1 }
        END { for (i = 1; i <= r; i++) for (j = 1; j <= w; j++) sum += right[i] > wrong[j] ? 1 : right[i] == wrong[j] ? 0.5 : 0
              printf "%.9f %d\n", sum / (r * w), r + w }' shapes.list "$1"
}
near() { awk "BEGIN { d = $1 - $2; exit !(d < 0.000002 && d > -0.000002) }" || bad "$3: $1, expected $2"; }
says 0 "AUC of the score: " "$pith" data filter noisy.pack --model m1 --top 0.4 --truth shapes.pack --json fit.json --out fit.pack
auc=$(sed -n 's/AUC of the score: //p' out)
set -- $(area fit.scores.tsv)
near "$auc" "$1" "the AUC"
tr -d ' \n' <fit.json >flat
grep -qF "{\"fit\":{\"auc\":$auc,\"kept\":$(share 0.4 "$train"),\"pairs\":$train}}" flat || { bad "--json:"; cat fit.json; }
"$pith" data filter noisy.pack --model m1 --top 0.4 --out plain.pack >out 2>&1; same plain.pack fit.pack; same plain.scores.tsv fit.scores.tsv

says 0 "AUC of the score: " "$pith" data filter noisy.pack --model m1 --cross-fit m2 --truth shapes.pack --json fit.json --out fit.pack
sed -n 's/AUC of the score: \(.*\) (half 1: \(.*\), half 2: \(.*\))/\1 \2 \3/p' out >areas
read -r auc one two <areas
set -- $(area fit.scores.tsv 1) $(area fit.scores.tsv 2)
near "$one" "$1" "the AUC of half 1"; near "$two" "$3" "the AUC of half 2"
near "$auc" "$(awk "BEGIN { printf \"%.9f\", ($1 * $2 + $3 * $4) / ($2 + $4) }")" "the mean AUC"
[ "$2" != "$4" ] || bad "both halves have $2 pairs: the mean is not known to be weighted"

# A model to which all pictures are alike, its last weights being zeros: every score is equal, and counts half.
cp -r m1 alike
weights=alike/open_clip_model.safetensors
at=$(grep -ao '"visual.proj":{[^}]*}' $weights | sed 's/.*"data_offsets":\[\([0-9,]*\)\].*/\1/')
start=$(($(od -An -t u8 -N 8 $weights) + 8 + ${at%,*}))
head -c $((${at#*,} - ${at%,*})) /dev/zero | dd of=$weights bs=1 seek=$start conv=notrunc 2>/dev/null
says 0 "AUC of the score: 0.5" "$pith" data filter noisy.pack --model alike --truth shapes.pack --out tie.pack
grep -qx 'AUC of the score: 0.5' out || { bad "a tie does not count half:"; cat out; }

# Without a model: an oracle.
says 0 "training pairs: $((train - noisy)) of $train kept, those with the original caption" \
    "$pith" data filter noisy.pack --truth shapes.pack --json fit.json --out oracle.pack
list oracle; others oracle
comm -12 shapes.list noisy.list >right.list; same oracle.list right.list
tr -d ' \n' <fit.json >flat
grep -qxF "{\"fit\":{\"kept\":$((train - noisy)),\"pairs\":$train}}" flat || { bad "--json of the oracle:"; cat fit.json; }
[ ! -e oracle.scores.tsv ] || bad "an oracle has no scores"

# ---- mistakes ------------------------------------------------------------------------------------------------------------------
nothing="shapes.pack: nothing would change"
says 1 "$nothing" "$pith" $sample --out x.pack; one_line
says 1 "$nothing" "$pith" $sample --share 1 --out x.pack; one_line
says 1 "$nothing" "$pith" $sample --count "$train" --shuffle 0.001 --out x.pack; one_line
says 1 "$nothing" "$pith" $sample --repeat 2 --every 1000 --out x.pack; one_line
says 1 "--out is missing" "$pith" $sample --share 0.5; one_line
says 1 "--share and --count: a share or a number, not both" "$pith" $sample --share 0.5 --count 3 --out x.pack; one_line
says 1 "--count 999: there are only $train training pairs" "$pith" $sample --count 999 --out x.pack; one_line
says 1 "--every: how often, says --repeat, which is missing" "$pith" $sample --share 0.5 --every 2 --out x.pack; one_line
says 1 "--share: expected a number from 0 to 1, found 1.5" "$pith" $sample --share 1.5 --out x.pack; one_line
says 1 "--shuffle: expected a number from 0 to 1, found -1" "$pith" $sample --shuffle -1 --out x.pack; one_line
says 1 "--half: expected a number from 1 to 2, found 3" "$pith" $sample --half 3 --out x.pack; one_line
says 1 "--repeat: expected a number from 2 to 1000000, found 1" "$pith" $sample --repeat 1 --out x.pack; one_line
says 1 "--every: expected a number from 1 to 1000000, found 0" "$pith" $sample --repeat 2 --every 0 --out x.pack; one_line
says 0 "" "$pith" $sample --repeat 10 --out ten.pack
says 1 "a set holds at most 2147483647 pairs, not " "$pith" data sample ten.pack --repeat 1000000 --out x.pack; one_line
says 1 "pith data sample has no option --top" "$pith" $sample --top 0.4 --out x.pack; one_line
says 1 "pith data balance has no option --half" "$pith" data balance shapes.pack --model m1 --half 1 --out x.pack; one_line
says 1 "training caption lies in half" "$pith" data sample one.pack --half "$(grep -qxFf one.list half1.list && echo 2 || echo 1)" --out x.pack; one_line
noisy_half=$("$pith" data sample noisy.pack --half 1 --out x.pack | sed -n 's/.*: \([0-9]*\) of.*/\1/p'); rm x.pack
truth="data filter noisy.pack --out x.pack --truth"
says 1 "half.pack: has no pair with the source shape-" "$pith" $truth half.pack --model m1; one_line
says 1 "noisy.pack: none of the $train training captions differs from the original one" "$pith" $truth noisy.pack --model m1; one_line
says 1 "noisy.pack: none of the $train training captions differs from the original one" "$pith" $truth noisy.pack; one_line
says 1 "noisy.pack: none of the $noisy_half training captions of half 1 differs" "$pith" $truth noisy.pack --model m1 --cross-fit m2; one_line
printf '1.png\tone\ttrain\n2.png\ttwo\ttrain\n' >equal/captions.tsv
says 0 "2 pairs packed" "$pith" data pack equal origin.pack --size 16
printf '1.png\ttwo\ttrain\n2.png\tone\ttrain\n' >equal/captions.tsv
says 1 "origin.pack: each of the 2 training captions differs from the original one" "$pith" data filter equal --out x.pack --truth origin.pack; one_line
says 1 "--model is missing: --top and --cross-fit are about scores" "$pith" $truth shapes.pack --top 0.5; one_line
says 1 "--model is missing: --top and --cross-fit are about scores" "$pith" $truth shapes.pack --cross-fit m2; one_line
says 1 "--model is missing" "$pith" data filter noisy.pack --out x.pack --json x.json; one_line
says 1 "no-such.pack" "$pith" $truth no-such.pack; one_line
echo mine >mine.json
says 1 "mine.json: is there already" "$pith" $truth shapes.pack --json mine.json; one_line
[ ! -e x.pack ] || bad "a refused command left its file"
[ $failed = 0 ] && echo "test_sample: all as it should be"
exit $failed
