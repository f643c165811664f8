#!/bin/sh
# Training with clusters, by the program: CLIP-CID's losses, with classes drawn anew in each step, to the same bits after kill -9 and on any number of
# threads; what a run keeps of its clusters; mistakes.
set -u
cd "$(dirname "$0")/.."
root=$PWD
SAYS_SECONDS=120
. tests/says.sh

# A file of K clusters of a packed set, of width W, perhaps others, of strange data, or of fewer pairs: what is asked here does not depend on how
# clusters are found.
cat >make.c <<'END'
#include <data/data.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    const char what = argc > 5 ? *argv[5] : 0;
    pith_pack *p = pith_pack_open(argv[1]);
    pith_clusters c = { .count = p->count - (what == 'f'), .k = atoi(argv[3]), .width = atoi(argv[4]) };
    int *cluster = malloc(sizeof *cluster * (size_t)c.count);
    float *rows = malloc(sizeof *rows * (size_t)c.k * (size_t)c.width);
    for (int i = 0; i < c.count; i++) cluster[i] = (p->label[i] + 1) % c.k;
    for (int i = 0; i < c.k * c.width; i++) rows[i] = (float)(i * (what == 'o' ? 29 : 31) % 17) - 8;
    c.cluster = cluster, c.centroids = rows;
    return !pith_clusters_write(argv[2], &c, p->hash + (what == 's'), 0);
}
END
${CC:-gcc} -std=c11 -I"$root/core" make.c -fopenmp "$root/build/float/libpith.a" $(make -s -C "$root" libs) -o make_clusters || exit 1

"$pith" data fetch shapes . --count 400 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
./make_clusters shapes.pack c 100 32
./make_clusters shapes.pack other 100 32 other
./make_clusters shapes.pack narrow 100 8
./make_clusters shapes.pack strange 100 32 strange
./make_clusters shapes.pack fewer 100 32 fewer
says 0 "10 steps" "$pith" train shapes.pack --model 16/8:w32l2h2+w32l2h2c12v640:e32 --steps 10 --batch 32 --lr 1e-2 --warmup 2 --out t

student="16/8:w16l2h1+w16l2h1c12v640:e16"
loss="clip+cluster:rate=0.3,margin=0.3,lr=5+instance"
run() { # command out more...
    command=$1 out=$2; shift 2
    says 0 "12 steps" "$pith" "$command" shapes.pack --batch 8 --save-every 1 --evaluate-every 0 --steps 12 --clusters c --out "$out" "$@"
}
goes_on() { # command name more...: killed, it goes on to the same bits
    command=$1 name=$2; shift 2
    run "$command" "$name" "$@"
    "$pith" "$command" shapes.pack --batch 8 --save-every 1 --evaluate-every 0 --steps 12 --clusters c --out "$name.cut" "$@" >out 2>&1 & pid=$!
    while [ ! -e "$name.cut/step-3" ] && [ ! -e "$name.cut/step-6" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
    says 0 "12 steps" "$pith" "$command" --resume "$name.cut"
    same "$name/open_clip_model.safetensors" "$name.cut/open_clip_model.safetensors"
    same "$name/step-12/weights.safetensors" "$name.cut/step-12/weights.safetensors"
}
goes_on distil both --teacher t --inherit none --student "$student" --loss "$loss"
goes_on train alone --model "$student" --loss "clip+cluster:kl=0,rate=0.3"
run distil threads --teacher t --inherit none --student "$student" --loss "$loss" --threads 4
same both/step-12/weights.safetensors threads/step-12/weights.safetensors

# The classes and the layers lie in the run, the model that comes of it is a plain CLIP.
grep -q "loss.cluster.classes" both/step-12/weights.safetensors || bad "the run does not keep its classes"
grep -q "loss.instance.text.weight" both/step-12/weights.safetensors || bad "the run does not keep its layers"
grep -q "loss\." both/open_clip_model.safetensors && bad "the model holds params of its loss"
grep -q '"cluster":' both/metrics.jsonl && grep -q '"instance":' both/metrics.jsonl || bad "the log does not name the terms"
grep -q '"clusters_hash": "[0-9a-f]*"' both/run.json || bad "the run's record has no hash of its clusters"

# Each picture has its own cluster, here its label and 1, however few pictures are in the split; the first centroid begins with -8.
cat >own.c <<'END'
#include <loss.h>
pith_node *loss(const pith_batch *b)
{
    pith_node *one = pith_const_array(b->graph, PITH_I32, (int[]){ 1 }, 1);
    pith_node *apart = pith_abs(pith_sub(pith_sub(b->cluster, b->label), one));
    pith_watch(pith_sum(pith_cast(apart, PITH_F32), PITH_ALL), "apart");
    pith_watch(pith_sum(pith_slice(pith_slice(b->centroids, 0, 0, 1), 1, 0, 1), PITH_ALL), "first");
    return pith_mean(pith_square(b->image_raw), PITH_ALL);
}
END
says 0 "4 steps" "$pith" train shapes.pack --model "$student" --batch 64 --steps 4 --evaluate-every 0 --clusters c --loss own.c --out own
[ "$(grep -c '"apart":0.*"first":-8[.,]' own/metrics.jsonl)" = 4 ] || { bad "pictures have other clusters than their own:"; cut -c1-150 own/metrics.jsonl; }

# A run goes on with its own clusters, wherever they lie now, and with no others.
mkdir moved; cp c moved/
says 0 "14 steps" "$pith" distil --resume threads --steps 14 --clusters moved/c
says 1 "both was begun with clusters with the hash" "$pith" distil --resume both --steps 14 --clusters other; one_line
cp c kept; cp other c
says 1 "both was begun with clusters with the hash" "$pith" distil --resume both --steps 14; one_line
cp kept c
says 0 "12 steps" "$pith" distil shapes.pack --batch 8 --teacher t --inherit none --student "$student" --steps 12 --evaluate-every 0 --out none
says 1 "none was begun without --clusters, found" "$pith" distil --resume none --steps 14 --clusters c; one_line
cp t/open_clip_model.safetensors weights; cp none/open_clip_model.safetensors t/
says 1 "none was begun with teacher with the hash" "$pith" distil --resume none --steps 14; one_line
cp weights t/open_clip_model.safetensors
says 0 "14 steps" "$pith" distil --resume none --steps 14

wrong() { # text more...
    text=$1; shift
    says 1 "$text" "$pith" distil shapes.pack --batch 8 --teacher t --inherit none --student "$student" --steps 2 --out wrong "$@"; one_line
    [ ! -e wrong/run.json ] || bad "a refused run left its record: $*"
}
wrong "the loss clip+cluster needs clusters: --clusters FILE, which pith data cluster makes" --loss clip+cluster
wrong "the centroids have 8 columns and the teacher's rows 32" --loss cluster --clusters narrow
wrong "these are clusters of data with the hash" --loss cluster --clusters strange
wrong "fewer: clusters of 399 pairs, the data have 400" --loss cluster --clusters fewer
wrong "nope: No such file" --loss cluster --clusters nope
wrong "not a file of clusters" --loss cluster --clusters t/open_clip_model.safetensors
says 1 "needs a teacher, or kl=0" "$pith" train shapes.pack --model "$student" --batch 8 --loss cluster --clusters c --steps 2 --out wrong; one_line
says 1 "needs a teacher: use pith distil" "$pith" train shapes.pack --model "$student" --batch 8 --loss instance --steps 2 --out wrong; one_line
says 0 "stage 1 of 1: kept" "$pith" prune shapes.pack --model t --keep 0.5 --batch 8 --loss affinity+cluster:rate=0.3 --clusters c --steps 16 --mask-lr 5 --evaluate-every 0 --out pruned
[ $failed = 0 ] && echo "test_clustered: all as it should be"
exit $failed
