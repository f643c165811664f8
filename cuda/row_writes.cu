/* row_writes.cu: both ops sort the places of the rows by number, so their work is that of the rows
 * named, whatever the size of the table. */
#include "equal_rows.h"
#include "ops/attributes.h"
#include "runs.h"

enum { THREADS = 256 };

/* Run i is the i-th row in order of numbers; of those with one number the last holds. */
template <class T>
static __global__ void write_last(size_t count, size_t length, const int *order, const int *ids,
                                  int below, const float *ok, const void *from, void *table)
{
    const size_t i = RUN_ROW;
    if (i >= count || (ok && *ok == 0)) return;
    const int place = order[i];
    const unsigned number = number_at(ids, below, place);
    if (number == (unsigned)below) return;
    if (i + 1 < count && number_at(ids, below, order[i + 1]) == number) return;
    ALONG_RUN(k, length)((T *)table)[number * length + k] = ((const T *)from)[place * length + k];
}

PITH_CUDA_SCRATCH(write_rows) { return sort_room(pith_size(n->in[1])) * sizeof(int); }

PITH_CUDA_KERNEL(write_rows)
{
    const node *n = call->n;
    const size_t count = pith_size(n->in[1]), bytes = pith_bytes(n) / (size_t)n->dim[0],
                 unit = unit_of(address(call->in[2]) | address(call->out[0]) | bytes);
    const int *ids = (const int *)call->in[1];
    const float *ok = n->n_in == 4 ? (const float *)call->in[3] : NULL;
    const int *order = sort_places(call, count, ids, n->dim[0], (int *)call->scratch);
    return order && LAUNCH_RUNS(call, write_last, unit, count, bytes / unit, order, ids, n->dim[0],
                                ok, call->in[2], call->out[0]);
}

/* `count` ids, and behind them -1. */
static __global__ void __launch_bounds__(THREADS)
    copy_ids(size_t room, size_t count, const int *from, int *to)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < room) to[i] = i < count ? from[i] : -1;
}

/* The first place with a number keeps it. */
static __global__ void __launch_bounds__(THREADS)
    name_firsts(size_t n, const int *order, const int *ids, int below, int *own)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    const unsigned number = number_at(ids, below, order[i]);
    const bool first = i == 0 || number_at(ids, below, order[i - 1]) != number;
    own[order[i]] = first && number != (unsigned)below ? (int)number : -1;
}

PITH_CUDA_SCRATCH(row_gradient)
{
    const size_t rows = (size_t)n->dim[0], columns = pith_size(n) / rows;
    return (rows + sort_room(rows) + equal_rows_room(rows, columns)) * sizeof(int);
}

/* Several inputs are first joined in the result, and summed there. */
PITH_CUDA_KERNEL(row_gradient)
{
    const node *n = call->n;
    const int below = ((const row_gradient_attr *)n->attr)->count;
    const size_t rows = (size_t)n->dim[0], columns = pith_size(n) / rows;
    int *ids = (int *)call->scratch, *room = ids + rows;
    float *y = (float *)call->out[0];
    size_t at = 0;
    for (int k = 0; k < n->n_in; k += 2) {
        const size_t many = pith_size(n->in[k + 1]), bytes = many * columns * sizeof *y,
                     upto = k + 2 == n->n_in ? rows - at : many;
        if (n->n_in > 2 && !move_runs(call, 1, bytes, y + at * columns, 0, call->in[k], 0))
            return false;
        if (!PITH_LAUNCH(call, copy_ids, blocks_of(upto, THREADS), THREADS, 0, upto, many,
                         (const int *)call->in[k + 1], ids + at))
            return false;
        at += many;
    }
    const int *order = sort_places(call, rows, ids, below, room);
    return order &&
           sum_equal_rows<true>(call, rows, columns, order, ids, below,
                                n->n_in > 2 ? y : (const float *)call->in[0], y,
                                room + sort_room(rows)) &&
           PITH_LAUNCH(call, name_firsts, blocks_of(rows, THREADS), THREADS, 0, rows, order, ids,
                       below, (int *)call->out[1]);
}
