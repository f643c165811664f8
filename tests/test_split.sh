#!/bin/sh
# pith data split: no test picture looks like a training picture; the same splits on any number of threads; what stays apart or as it is; mistakes.
set -u
cd "$(dirname "$0")/.."
. tests/says.sh

# 300 shapes, of which every second stands three times: the copies must lie on one side.
"$pith" data fetch shapes . --count 300 --size 16 >/dev/null
says 0 "" "$pith" data sample shapes.pack --repeat 3 --every 2 --out all.pack
says 0 "pictures, " "$pith" data split all.pack --test 0.3 --valid 0.1 --out clean.pack --threads 1
says 0 "as they were written" "$pith" data check clean.pack
[ "$(cut -f 3 clean.splits.tsv | sed 1d | sort)" = "$(cut -f 3 clean.splits.tsv | sed 1d | sort -u)" ] || bad "a source stands there twice"
# One side a cluster, seen and unseen being one; copies (their sources end in #2, #3) in the cluster of their originals.
awk -F'\t' 'NR > 1 { side = $1 == "seen" || $1 == "unseen" ? "test" : $1; if (s[$2] && s[$2] != side) print "cluster", $2, "lies in", s[$2], "and", side; s[$2] = side
                     split($3, name, "#"); if (c[name[1]] && c[name[1]] != $2) print name[1], "and a copy lie in two clusters"; c[name[1]] = $2; sides[side]++; all++ }
            END { if (sides["test"] < 0.2 * all || sides["test"] > 0.4 * all || sides["valid"] < 0.03 * all) print "shares:", sides["test"], sides["valid"], "of", all }' clean.splits.tsv >wrong
[ -s wrong ] && { bad "the splits:"; head -3 wrong; }
# Seen: training knows the caption; unseen: it does not.
awk -F'\t' 'NR == FNR { if ($1 == "train") known[$4] = 1; next } FNR > 1 && (($1 == "seen" && !known[$4]) || ($1 == "unseen" && known[$4]))' clean.splits.tsv clean.splits.tsv | grep . && bad "seen and unseen are mixed up"
for split in train valid seen unseen; do grep -q "^$split	" clean.splits.tsv || bad "nothing is $split"; done
says 0 "clean3.pack" "$pith" data split all.pack --test 0.3 --valid 0.1 --out clean3.pack --threads 3
same clean.pack clean3.pack
says 0 "seed.pack" "$pith" data split all.pack --test 0.3 --valid 0.1 --out seed.pack --seed 5
cmp -s clean.pack seed.pack && bad "another seed gives the same splits"

# Apart: a split of its own, without what lies in a training picture's cluster. As it is: all of it, where it was.
mkdir -p pictures; "$pith" data fetch shapes other --count 60 --size 16 --seed 9 >/dev/null
says 0 "combination" "$pith" data split all.pack --apart combination --out apart.pack
before=$("$pith" data stats all.pack | sed -n 's/^    combination *//p') after=$("$pith" data stats apart.pack | sed -n 's/^    combination *//p')
[ "${after:-0}" -gt 0 ] && [ "$after" -le "$before" ] || bad "apart: $after of $before pairs"
awk -F'\t' 'NR == FNR { if ($1 == "train") trains[$2] = 1; next } $1 == "combination" && trains[$2] || $1 == "left out" && !trains[$2]' apart.splits.tsv apart.splits.tsv | grep . && bad "apart, and yet among training pictures, or left out and not among them"
says 0 "$before pairs" "$pith" data split all.pack --as-is combination --out as.pack
grep "^combination" as.splits.tsv | grep -qv "^combination	-	" && bad "what stays as it is lies in a cluster"
says 0 "shape" "$pith" data split all.pack --apart shape-000004 --out source.pack # a source whose name has no folder

says 0 "pictures, " "$pith" data split all.pack --test 0.3 --valid 0.1 --unlabelled --out bare.pack
says 0 "" "$pith" data stats bare.pack; grep -q labels out && bad "there are still labels"

# At a cosine of -1 all is one cluster; at 1 only what is equal.
says 0 " 1 clusters, the largest of " "$pith" data split all.pack --cosine -1 --out one.pack
says 0 "the largest of 3;" "$pith" data split all.pack --cosine 0.999999 --out equal.pack

wrong() { text=$1; shift; says 1 "$text" "$pith" data split "$@" --out wrong.pack; one_line; [ ! -e wrong.pack ] || { bad "a refused split left a file"; rm wrong.pack; }; }
wrong '--apart: there is no split and no source "nobody"' all.pack --apart nobody
wrong '--as-is: there is no split "shape-000004"' all.pack --as-is shape-000004
wrong '--test 0.9 and --valid 0.1 leave nothing to train on' all.pack --test 0.9 --valid 0.1
wrong 'all pairs are to stay as they are' all.pack --as-is train,combination,valid
wrong '--test: expected' all.pack --test 1.5
says 1 "pith data split has no option --beta" "$pith" data split all.pack --beta 0.1 --out wrong.pack; one_line
[ $failed = 0 ] && echo "test_split: all as it should be"
exit $failed
