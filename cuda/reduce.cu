/* reduce.cu: sum and dot, in the passes of reduce.h. */
#include "reduce.h"

PITH_CUDA_SCRATCH(sum)
{
    reduction list[PITH_MAX_DIMS];
    return reduce_room(list, pith_reductions_of(n, list)) * sizeof(float);
}

PITH_CUDA_KERNEL(sum)
{
    reduction list[PITH_MAX_DIMS];
    const int count = pith_reductions_of(call->n, list);
    return reduce<TO_SUM, TO_SUM>(call, list, count, (const float *)call->in[0], NULL,
                                  (float *)call->out[0], call->scratch);
}

static reduction all_of(const node *a) { return { 1, pith_size(a), 1 }; }

PITH_CUDA_SCRATCH(dot)
{
    const reduction all = all_of(n->in[0]);
    return reduce_room(&all, 1) * sizeof(float);
}

PITH_CUDA_KERNEL(dot)
{
    const reduction all = all_of(call->n->in[0]);
    return reduce<TO_DOT, TO_SUM>(call, &all, 1, (const float *)call->in[0],
                                  (const float *)call->in[1], (float *)call->out[0], call->scratch);
}
