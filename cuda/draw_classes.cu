/* draw_classes.cu: the CPU's draw, class by class, without its one thread.
 *
 * Floyd's j-th class is random in [0, least + j], or, where that is taken, least + j itself. Taken
 * it is if an earlier draw was of the same number, which sorting tells, or if it is some least + i
 * that was itself put in the place of one taken: so each draw asks an earlier one, which asks an
 * earlier one, a chain of a few steps on average. */
#include "ops/attributes.h"
#include "philox.h"
#include "sort.h"

enum { THREADS = 256 };

/* The different labels that are classes, ascending, and how many. One block. */
static __global__ void __launch_bounds__(THREADS)
    take_labels(int rows, const int *order, const int *labels, int k, int *own, int *labelled)
{
    PITH_SHARED_ARRAY(int, joined, WARP);
    int before = 0, all;
    for (int begin = 0; begin < rows; begin += THREADS, before += all) {
        const int i = begin + (int)threadIdx.x;
        const int label = i < rows ? (int)number_at(labels, k, order[i]) : k;
        const bool takes = label < k &&
                           (i == 0 || (int)number_at(labels, k, order[i - 1]) != label);
        const int upto = block_scan<plus>(takes, joined, &all);
        if (takes) own[before + upto - 1] = label;
    }
    if (threadIdx.x == 0) *labelled = before;
}

/* As many as are not labels; behind them -1. */
static __global__ void __launch_bounds__(THREADS)
    draw(int count, int least, const int *labelled, uint64_t key, const int *step, int *drawn)
{
    const int j = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (j >= count) return;
    uint32_t word[2];
    philox(key, (uint64_t)*step, (uint64_t)j, word);
    const uint64_t n = (uint64_t)least + (uint64_t)j + 1;
    drawn[j] = j < count - *labelled ? (int)((word[0] * n + (word[1] * n >> 32)) >> 32) : -1;
}

static __global__ void __launch_bounds__(THREADS)
    mark_repeated(int count, const int *order, const int *drawn, int *repeated)
{
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (i < count) repeated[order[i]] = i > 0 && drawn[order[i]] == drawn[order[i - 1]];
}

static __global__ void __launch_bounds__(THREADS)
    settle(int count, int least, const int *drawn, const int *repeated, int *settled)
{
    const int j = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (j >= count) return;
    int asked = j; /* where the chain ends in its own number, j is there: others have it repeated */
    while (drawn[asked] >= least && drawn[asked] != least + asked && !repeated[asked])
        asked = drawn[asked] - least;
    const bool taken = drawn[asked] >= 0 && repeated[asked];
    settled[j] = taken ? least + j : drawn[j];
}

/* Other number x is class x + the number of labels before it. `order` is that of the others, and
 * own[q] - q never falls, so each finds by halving how many of the other kind come before it. */
static __global__ void __launch_bounds__(THREADS)
    merge(int count, const int *labelled, const int *own, const int *order, const int *settled,
          int *ids)
{
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x), labels = *labelled,
              others = count - labels;
    if (i >= count) return;
    const bool other = i < others;
    const int q = i - others, x = other ? settled[order[i]] : own[q] - q;
    int low = 0, high = other ? labels : others;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        const bool before = other ? own[middle] - middle <= x : settled[order[middle]] < x;
        if (before) low = middle + 1;
        else high = middle;
    }
    ids[other ? i + low : q + low] = other ? x + low : own[q];
}

static __global__ void __launch_bounds__(THREADS)
    find_labels(int rows, int count, const int *labels, const int *ids, int *at)
{
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (i >= rows) return;
    int low = 0, high = count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (ids[middle] < labels[i]) low = middle + 1;
        else high = middle;
    }
    at[i] = low < count && ids[low] == labels[i] ? low : -1;
}

static size_t larger_of(size_t a, size_t b) { return a > b ? a : b; }

PITH_CUDA_SCRATCH(draw_classes)
{
    const size_t rows = (size_t)n->in[0]->dim[0], count = (size_t)n->dim[0];
    return (sort_room(larger_of(rows, count)) + 1 + rows + 3 * count) * sizeof(int);
}

PITH_CUDA_KERNEL(draw_classes)
{
    const node *n = call->n;
    const draw_attr *a = (const draw_attr *)n->attr;
    const int *labels = (const int *)call->in[0], rows = n->in[0]->dim[0], count = a->count,
              least = a->k - count;
    const size_t most = larger_of((size_t)rows, (size_t)count);
    int *room = (int *)call->scratch, *labelled = room + sort_room(most), *own = labelled + 1,
        *drawn = own + rows, *repeated = drawn + count, *settled = repeated + count,
        *ids = (int *)call->out[0];
    const unsigned blocks = blocks_of((size_t)count, THREADS);
    const int *order = sort_places(call, (size_t)rows, labels, a->k, room);
    if (!order ||
        !PITH_LAUNCH(call, take_labels, 1, THREADS, 0, rows, order, labels, a->k, own, labelled) ||
        !PITH_LAUNCH(call, draw, blocks, THREADS, 0, count, least, labelled, whole_key(a->key),
                     (const int *)call->in[1], drawn))
        return false;
    order = sort_places(call, (size_t)count, drawn, a->k, room);
    if (!order ||
        !PITH_LAUNCH(call, mark_repeated, blocks, THREADS, 0, count, order, drawn, repeated) ||
        !PITH_LAUNCH(call, settle, blocks, THREADS, 0, count, least, drawn, repeated, settled))
        return false;
    order = sort_places(call, (size_t)count, settled, a->k, room);
    return order &&
           PITH_LAUNCH(call, merge, blocks, THREADS, 0, count, labelled, own, order, settled,
                       ids) &&
           PITH_LAUNCH(call, find_labels, blocks_of((size_t)rows, THREADS), THREADS, 0, rows, count,
                       labels, ids, (int *)call->out[1]);
}
