#!/bin/sh
# pith data split, on a set that is made here with planted near-duplicates: every pair of pictures is compared anew, in plain loops over pixels.
set -u
cd "$(dirname "$0")/.."
SAYS_SECONDS=60
. tests/says.sh
export LC_ALL=C

# ---- the set: a line a picture: source, split, caption, label, 12 x 12 x 3 numbers; near ones have the same thing in their source -------------
awk '
function random(n) { state = state * 16807 % 2147483647; return int(state / 2147483647 * n) } # 0 .. n-1
function fresh(k) { for (k = 0; k < 432; k++) thing[k] = 45 + random(166) }
function byte(x) { return x < 0 ? 0 : x > 255 ? 255 : x }
function put(source, name, caption, noise, step,  k, line) {
    line = source "\t" name "\t" caption "\t" lines++ % 7 "\t"
    for (k = 0; k < 432; k++) line = line (k ? " " : "") byte(thing[k] + (noise ? random(2 * noise + 1) - noise : 0) + step * way[k])
    print line
}
BEGIN {
    state = 12345
    for (t = 1; t <= 60; t++) { # things with 1 to 4 pictures each, and of some one by another artist, in a split of its own, or combined anew
        fresh()
        for (k = 0; k <= t % 4; k++) put("a/" t "-" k, k % 2 ? "train" : "test", (k % 2 ? "A thing, no. " : "a Thing (no ") t % 41 (k % 2 ? "." : ")"), 6)
        if (t <= 20) put("art/" t, "train", "drawn " t, 6)
        if (t > 20 && t <= 40) put("b/" t, "own", "own " t, 6)
        if (t > 40 && t <= 46) put("d/" t, "combination", "new " t, 6)
    }
    for (t = 21; t <= 25; t++) { fresh(); put("art/" t, "train", "drawn " t, 6) }
    fresh(); put("a/rare", "train", "a rare one", 0)
    fresh(); for (k = 0; k < 432; k++) way[k] = random(35) - 17 # a chain: the ends are not near, each is near the middle
    for (k = 0; k < 3; k++) put("a/chain-" k, "train", "link " k, 0, k - 1)
    put("a/far", "train", "a link no more", 0, 3) # 0.92 from the last
    fresh(); put("a/half-1", "train", "half", 0); for (k = 144; k < 432; k++) thing[k] = 45 + random(166) # the same red, another green and blue
    put("a/half-2", "train", "half", 0)
    fresh(); for (k = 10; k < 65; k++) put("c/" k, "test", "one of a crowd", 0)
    split("100 100 200", grey, " ")
    for (g = 1; g <= 3; g++) { for (k = 0; k < 432; k++) thing[k] = grey[g]; put("a/grey-" g, "train", "grey", 0) }
}' >pictures
count=$(wc -l <pictures)

# A packed set of such lines, as core/data/README.md has it; each pixel becomes a square of so many. The first pair of c/ has a synthetic caption.
put_pack() { # file of lines, pixels a side, pack
    awk -F '\t' -v scale="$2" '
    function bytes(n, x,  k) { for (k = 0; k < n; k++) { printf "\\%03o", x % 256; x = int(x / 256) } }
    function text(s) { printf "%s\\000", s }
    function entry(name, type, shape, size) { head = head (head ? "," : "") "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" at "," at + size "]}"; at += size }
    { source[NR] = $1; name[NR] = $2; caption[NR] = $3; label[NR] = $4; pixel[NR] = $5; of_captions += length($3) + 1; of_sources += length($1) + 1
      if (!first && $1 ~ /^c\//) first = NR }
    END {
        side = 12 * scale; at = 0
        entry("pixels", "U8", NR ",3," side "," side, NR * 3 * side * side)
        entry("captions", "U8", of_captions, of_captions); entry("sources", "U8", of_sources, of_sources)
        entry("caption_offsets", "I64", NR + 1, 8 * (NR + 1)); entry("source_offsets", "I64", NR + 1, 8 * (NR + 1))
        entry("split", "I32", NR, 4 * NR); entry("label", "I32", NR, 4 * NR)
        entry("synthetic", "U8", 13, 13); entry("synthetic_offsets", "I64", 2, 16); entry("synthetic_pair", "I32", 1, 4)
        head = "{\"__metadata__\":{\"kind\":\"pith-pack\",\"splits\":\"train~nvalid~ntest~nown~ncombination\",\"size\":\"" side "\",\"hash\":\"0\"}," head "}"
        while (length(head) % 8) head = head " "
        bytes(8, length(head)); gsub(/~/, "\\134", head); printf "%s", head
        for (i = 1; i <= NR; i++) { split(pixel[i], p, " "); for (k = 0; k < 432; k++) value[k] = sprintf("\\%03o", p[k + 1])
            for (c = 0; c < 3; c++) for (y = 0; y < side; y++) for (x = 0; x < side; x++) printf "%s", value[144 * c + 12 * int(y / scale) + int(x / scale)] }
        for (i = 1; i <= NR; i++) text(caption[i])
        for (i = 1; i <= NR; i++) text(source[i])
        bytes(8, 0); for (i = 1; i <= NR; i++) bytes(8, sum += length(caption[i]) + 1)
        sum = 0; bytes(8, 0); for (i = 1; i <= NR; i++) bytes(8, sum += length(source[i]) + 1)
        number["train"] = 0; number["test"] = 2; number["own"] = 3; number["combination"] = 4
        for (i = 1; i <= NR; i++) bytes(4, number[name[i]])
        for (i = 1; i <= NR; i++) bytes(4, label[i])
        text("A rare: one!"); bytes(8, 0); bytes(8, 13); bytes(4, first - 1)
    }' "$1" >escaped
    printf "$(cat escaped)" >"$3"
}
put_pack pictures 1 set.pack
says 0 "set.pack: $count pairs, pictures of 12 x 12" "$pith" data stats set.pack

# What the manifest says, against all pairs of pictures and captions.
judge() { # manifest: prints what is wrong
    awk -F '\t' '
    function bare(s) { s = tolower(s); gsub(/[^a-z0-9]+/, " ", s); gsub(/^ | $/, "", s); return s }
    function root(i) { while (up[i] != i) i = up[i]; return i }
    FNR == NR { n++; split($5, p, " "); mean = squares = 0
        for (k = 1; k <= 432; k++) mean += p[k] / 432
        for (k = 1; k <= 432; k++) { x[n, k] = p[k] - mean; squares += x[n, k] * x[n, k] }
        if (squares < 1e-9) grey[n] = p[1]
        else for (k = 1; k <= 432; k++) x[n, k] /= sqrt(squares)
        source[n] = $1; old[n] = $2; up[n] = n; next }
    FNR > 1 { i = FNR - 1; if ($1 != source[i]) print "line " FNR " is of " $1 ", not " source[i]; cluster[i] = $2; now[i] = $3; caption[i] = bare($4) }
    END {
        if (FNR != n + 1) print FNR " lines for " n " pairs"
        for (i = 1; i <= n; i++) { if (now[i] == "combination") continue
            for (j = 1; j < i; j++) { if (now[j] == "combination") continue
                if (i in grey || j in grey) { c = i in grey && j in grey && grey[i] == grey[j] }
                else { c = 0; for (k = 1; k <= 432; k++) { c += x[i, k] * x[j, k]; if (k == 48 && c < 0.05) break } }
                if (c >= 0.97) { up[root(i)] = root(j)
                    if ((now[i] == "train") != (now[j] == "train") && now[i] != "left out" && now[j] != "left out") print source[i] " (" now[i] ") is near " source[j] " (" now[j] ")" } } }
        for (i = 1; i <= n; i++) if (now[i] == "train") { trains[root(i)] = 1; trained[caption[i]] = 1; if (source[i] == "c/10") trained["a rare one"] = 1 }
        for (i = 1; i <= n; i++) { r = root(i)
            if (old[i] == "combination") { if (now[i] != old[i] || cluster[i] != "-") print source[i] " is not as it was: " now[i]; continue }
            if (r in number && number[r] != cluster[i] || cluster[i] in of && of[cluster[i]] != r) print source[i] " is in cluster " cluster[i]
            number[r] = cluster[i]; of[cluster[i]] = r
            side = now[i]; sub(/^(un)?seen$/, "test", side)
            if (source[i] ~ /^art/ || old[i] == "own") {
                want = r in trains ? "left out" : source[i] ~ /^art/ ? "art" : "own"
                if (now[i] != want) print source[i] " is " now[i] ", expected " want
            } else {
                if (side != "train" && side != "valid" && side != "test") print source[i] " is " now[i]
                if (r in of_side && of_side[r] != side) print source[i] ": its cluster is on two sides"
                of_side[r] = side }
            if (side == "test" && now[i] != (caption[i] in trained ? "seen" : "unseen")) print source[i] " is " now[i] ": " caption[i] }
    }' pictures "$1"
}
numbers() { # pack, tensor: its I32
    at=$(grep -ao "\"$2\":{[^}]*}" "$1" | head -1 | sed 's/.*"data_offsets":\[\([0-9,]*\)\].*/\1/')
    od -An -v -w4 -t d4 -j $(($(od -An -t u8 -N 8 "$1") + 8 + ${at%,*})) -N $((${at#*,} - ${at%,*})) "$1" | tr -d ' '
}
splits() { # pack: the split of each pair
    grep -ao '"splits":"[^"]*"' "$1" | sed 's/"splits":"//; s/"//; s/\\n/\n/g' >names
    numbers "$1" split | awk 'FNR == NR { name[NR - 1] = $0; next } { print name[$0] }' names -
}
of() { awk -F '\t' -v name="$2" '$3 == name { n++ } END { print n + 0 }' "$1"; } # manifest, split: how many pairs

# ---- what it does ----------------------------------------------------------------------------------------------------------------------------
split="data split set.pack --apart art,own --as-is combination"
says 0 "$count pairs; $((count - 6)) of them in 73 clusters at cosine 0.97, the largest of 55" "$pith" $split --test 0.4 --valid 0.1 --out new.pack
grep -q "hash says: 1 clusters of more than 50" out || { bad "the crowd is not told:"; cat out; }
judge new.splits.tsv >wrong; [ -s wrong ] && { bad "new.splits.tsv:"; head -5 wrong; }
for s in train valid seen unseen art own combination "left out"; do
    n=$(of new.splits.tsv "$s"); [ "$n" -gt 0 ] || bad "no pair is $s"
    grep -q "^    $s  *$n pairs, " out || { bad "$n pairs are $s, and that is not told:"; cat out; }
done
[ "$(sed -n 's/^    combination .* \([0-9]*\) captions/\1/p' out)" = 6 ] || bad "the captions are not counted"
clusters_of() { awk -F '\t' -v names="$1" '$3 ~ names && !was[$2]++ { n++ } END { print n + 0 }' new.splits.tsv; } # of 68 that take part
n=$(clusters_of seen); [ "$n" -ge 14 ] && [ "$n" -le 40 ] || bad "$n of 68 clusters are tested, at a share of 0.4"
n=$(clusters_of valid); [ "$n" -ge 1 ] && [ "$n" -le 16 ] || bad "$n of 68 clusters validate, at a share of 0.1"
[ "$(awk -F '\t' '$1 ~ /chain/ { print $2 }' new.splits.tsv | sort -u | wc -l)" = 1 ] || bad "a chain is cut"
awk -F '\t' 'NR > 1 && $3 != "left out" { print $3 }' new.splits.tsv >want; splits new.pack >found; same want found
awk -F '\t' 'FNR == NR { label[$1] = $4; next } $3 != "left out" && FNR > 1 { print label[$1] }' pictures new.splits.tsv >want
numbers new.pack label >found; same want found # labels stay, in the old order
says 0 "as they were written" "$pith" data check new.pack
grep -q "synthetic captions: 1 in all, of 1 pairs" out || { bad "the synthetic caption is lost:"; cat out; }

# The same on any number of threads, in any order, of larger pictures; another by another seed, but as clean.
for threads in 1 3; do
    says 0 "new.pack" "$pith" $split --test 0.4 --valid 0.1 --threads $threads --out t$threads-new.pack
    same t$threads-new.pack new.pack; same t$threads-new.splits.tsv new.splits.tsv
done
columns() { tail -n +2 "$1" | cut -f 1,3 | sort; }
columns new.splits.tsv >want
sort -t "$(printf '\t')" -k 3,3 -k 1,1r pictures >turned; put_pack turned 1 turned.pack
says 0 turned.splits.tsv "$pith" data split turned.pack --apart art,own --as-is combination --test 0.4 --valid 0.1 --out new-turned.pack
columns new-turned.splits.tsv >found; same want found
put_pack pictures 2 large.pack
says 0 "in 73 clusters" "$pith" data split large.pack --apart own,art --as-is combination --test 0.4 --valid 0.1 --out new-large.pack
same new-large.splits.tsv new.splits.tsv
says 0 "in 73 clusters" "$pith" $split --test 0.4 --valid 0.1 --seed 7 --out seed.pack
columns seed.splits.tsv >found; cmp -s want found && bad "another seed gives the same splits"
judge seed.splits.tsv >wrong; [ -s wrong ] && { bad "seed.splits.tsv:"; head -5 wrong; }

"$pith" $split --unlabelled --out bare.pack >out 2>&1; [ "$(numbers bare.pack label | sort -u)" = -1 ] || { bad "--unlabelled leaves labels:"; cat out; }

# Shares at their ends: the crowd alone is trained on, and a caption that a machine wrote for it is seen; or all are.
says 0 "in 73 clusters" "$pith" $split --test 0.99 --valid 0 --out most.pack
judge most.splits.tsv >wrong; [ -s wrong ] && { bad "most.splits.tsv:"; head -5 wrong; }
[ "$(of most.splits.tsv train)" -lt 70 ] && [ "$(of most.splits.tsv valid)" = 0 ] || { bad "most is not tested:"; cat out; }
grep -q "^a/rare.*	seen	" most.splits.tsv || bad "a synthetic caption of training counts for nothing"
says 0 "in 73 clusters" "$pith" $split --test 0 --valid 0 --out all.pack
[ "$(of all.splits.tsv train)" = $((count - 45 - 6)) ] || { bad "not all is trained on:"; cat out; }
[ "$(of all.splits.tsv "left out")" = 40 ] && [ "$(of all.splits.tsv art)" = 5 ] || { bad "40 of 45 are near training:"; cat out; }
says 0 "in 185 clusters at cosine 1, the largest of 55" "$pith" data split set.pack --cosine 1 --as-is combination,own --out one.pack
says 0 "art " "$pith" data split new.pack --apart art,own --as-is combination --out again.pack # what was made here can be split again

# ---- mistakes --------------------------------------------------------------------------------------------------------------------------------
split="data split set.pack"
says 1 'found "nobody"' "$pith" $split --apart art,nobody --out x.pack; one_line
for words in "test, train, own, combination" "(a, art, b, d, c)"; do grep -qF "$words" out || { bad "\"$words\" is not told:"; cat out; }; done
says 1 '--as-is: expected splits (test, train, own, combination), found "art"' "$pith" $split --as-is art --out x.pack; one_line
says 1 'found ""' "$pith" $split --as-is own, --out x.pack; one_line
says 1 "--apart train: train, valid, seen and unseen are the splits that are made anew" "$pith" $split --apart train --out x.pack; one_line
says 1 "--as-is own: b/21 has been named before, as a pair of own" "$pith" $split --apart own --as-is own --out x.pack; one_line
says 1 "--as-is own: b/21 has been named before, as a pair of b" "$pith" $split --apart b --as-is own --out x.pack; one_line
says 1 "set.pack: --apart and --as-is name all pairs: none is left to split" "$pith" $split --apart a,art,b,c,d --out x.pack; one_line
says 1 "--test 0.7 and --valid 0.3 leave nothing to train on" "$pith" $split --test 0.7 --valid 0.3 --out x.pack; one_line
says 1 "--cosine: expected a number from 0 to 1, found 1.5" "$pith" $split --cosine 1.5 --out x.pack; one_line
says 1 "--out is missing" "$pith" $split; one_line
says 1 "pith data split has no option --model" "$pith" $split --model m --out x.pack; one_line
says 1 "pith data balance has no option --apart" "$pith" data balance set.pack --model m --apart art --out x.pack; one_line
says 1 "pictures: " "$pith" data split pictures --out x.pack; one_line
echo mine >x.splits.tsv
says 1 "x.splits.tsv: is there already" "$pith" $split --out x.pack; one_line
[ ! -e x.pack ] || bad "a refused command left its file"
[ $failed = 0 ] && echo "test_split: all as it should be"
exit $failed
