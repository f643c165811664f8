/* max.cu: max in the passes of reduce.h. max_mask reduces once more, to the first place of each
 * largest entry, and writes a 1 there among zeros. */
#include "reduce.h"

PITH_CUDA_SCRATCH(max)
{
    reduction list[PITH_MAX_DIMS];
    return reduce_room(list, pith_reductions_of(n, list)) * sizeof(float);
}

PITH_CUDA_KERNEL(max)
{
    reduction list[PITH_MAX_DIMS];
    const int count = pith_reductions_of(call->n, list);
    return reduce<TO_LARGEST, TO_LARGEST>(call, list, count, (const float *)call->in[0], NULL,
                                          (float *)call->out[0], call->scratch);
}

/* ---- max_mask ---- */

typedef struct {
    int dim[PITH_MAX_DIMS]; /* 1 behind the last */
    unsigned reduced;       /* a bit each */
} axes;

/* Where other axes lie between those that are reduced, the first reduction leaves more numbers than
 * there are results: y gets for each of them the largest entry of its result. */
static __global__ void __launch_bounds__(THREADS)
    spread(axes of, reduction r, const float *largest, float *y)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= r.outer * r.inner) return;
    size_t at = i / r.inner * r.length * r.inner + i % r.inner, result = 0, stride = 1;
    for (int k = PITH_MAX_DIMS - 1; k >= 0; k--) {
        const size_t dim = (size_t)of.dim[k];
        if (!(of.reduced >> k & 1)) {
            result += at % dim * stride;
            stride *= dim;
        }
        at /= dim;
    }
    y[i] = largest[result];
}

static __global__ void __launch_bounds__(THREADS) zeros(size_t size, float *y)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < size) y[i] = 0;
}

/* There is none where the largest entry is NaN. */
static __global__ void __launch_bounds__(THREADS) ones(size_t count, const size_t *place, float *y)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < count && place[i] != NOWHERE) y[place[i]] = 1;
}

/* Scratch: the places, what passes leave, the largest entries spread out. */
PITH_CUDA_SCRATCH(max_mask)
{
    reduction list[PITH_MAX_DIMS];
    const int count = pith_reductions_of(n, list);
    const size_t places = pith_size(n->in[1]) + reduce_room(list, count);
    return places * sizeof(size_t) +
           (count > 1 ? list[0].outer * list[0].inner * sizeof(float) : 0);
}

PITH_CUDA_KERNEL(max_mask)
{
    const node *a = call->n->in[0];
    reduction list[PITH_MAX_DIMS];
    const int count = pith_reductions_of(call->n, list);
    const size_t size = pith_size(a), results = pith_size(call->n->in[1]);
    const float *largest = (const float *)call->in[1];
    float *y = (float *)call->out[0];
    size_t *place = (size_t *)call->scratch, *room = place + results;
    if (count > 1) {
        float *each = (float *)(room + reduce_room(list, count));
        axes of = { {}, ((const reduce_attr *)call->n->attr)->mask };
        for (int k = 0; k < PITH_MAX_DIMS; k++) of.dim[k] = k < a->ndim ? a->dim[k] : 1;
        if (!PITH_LAUNCH(call, spread, blocks_of(list[0].outer * list[0].inner, THREADS), THREADS,
                         0, of, list[0], largest, each))
            return false;
        largest = each;
    }
    return PITH_LAUNCH(call, zeros, blocks_of(size, THREADS), THREADS, 0, size, y) &&
           reduce<TO_PLACE, TO_FIRST>(call, list, count, (const float *)call->in[0], largest, place,
                                      room) &&
           PITH_LAUNCH(call, ones, blocks_of(results, THREADS), THREADS, 0, results, place, y);
}
