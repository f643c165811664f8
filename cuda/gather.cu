/* gather.cu: gather copies a row for each number, with as many threads as the row has units;
 * scatter_add sorts the numbers, so that rows of one number lie beside one another; segments finds
 * the segment of each row by halving. */
#include "equal_rows.h"
#include "ops/attributes.h"
#include "runs.h"
#include "segments.h"

/* Elements of a row: what is behind the first axis. */
static size_t row_length(const node *n)
{
    size_t size = 1;
    for (int k = 1; k < n->ndim; k++) size *= (size_t)n->dim[k];
    return size;
}

template <class T>
static __global__ void gather_rows(size_t count, size_t length, const int *ids, int rows,
                                   const void *table, void *y)
{
    const size_t i = RUN_ROW;
    if (i >= count) return;
    const int id = ids[i];
    const bool there = id >= 0 && id < rows;
    const T *from = (const T *)table + (there ? id * length : 0);
    ALONG_RUN(k, length)((T *)y)[i * length + k] = there ? from[k] : T();
}

PITH_CUDA_KERNEL(gather)
{
    const node *n = call->n, *table = n->in[0];
    const size_t count = pith_size(n->in[1]), bytes = row_length(table) * pith_width(n->dtype),
                 unit = unit_of(address(call->in[0]) | address(call->out[0]) | bytes);
    return LAUNCH_RUNS(call, gather_rows, unit, count, bytes / unit, (const int *)call->in[1],
                       table->dim[0], call->in[0], call->out[0]);
}

PITH_CUDA_SCRATCH(scatter_add)
{
    const size_t count = pith_size(n->in[1]);
    return (sort_room(count) + equal_rows_room(count, row_length(n))) * sizeof(int);
}

PITH_CUDA_KERNEL(scatter_add)
{
    const node *n = call->n;
    const size_t count = pith_size(n->in[1]);
    const int *ids = (const int *)call->in[1];
    int *room = (int *)call->scratch;
    const int *order = sort_places(call, count, ids, n->dim[0], room);
    return order && clear(call, pith_bytes(n), call->out[0]) &&
           sum_equal_rows<false>(call, count, row_length(n), order, ids, n->dim[0],
                                 (const float *)call->in[0], (float *)call->out[0],
                                 room + sort_room(count));
}

PITH_CUDA_SCRATCH(segments) { return (size_t)n->in[0]->dim[0] * sizeof(int); }

PITH_CUDA_KERNEL(segments)
{
    return number_segments(call, call->n->in[0]->dim[0], (const int *)call->in[0], call->n->dim[0],
                           (int *)call->scratch, (int *)call->out[0]);
}
