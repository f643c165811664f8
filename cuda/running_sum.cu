/* running_sum.cu: rows are cut into chunks, whatever the segments are, and one warp has 32 columns
 * of a chunk. First each chunk sums what its last segment has in it; from these one thread a column
 * makes what comes into each chunk; then each chunk is read again and its sums are written. Chunks
 * and rows are counted from behind where the sums run from there. */
#include "ops/attributes.h"
#include "segments.h"

enum { CHUNK = 64, WARPS = 4, THREADS = 256 };

/* The i-th row in the order of summing. */
static __device__ __forceinline__ size_t row_at(size_t i, size_t rows, bool reverse)
{
    return reverse ? rows - 1 - i : i;
}

static __device__ __forceinline__ size_t stripes_of(size_t columns)
{
    return (columns + WARP - 1) / WARP;
}

/* WRITE: y is the result, and `edge` what comes into chunks. Else `edge` becomes what each has to
 * pass on. */
template <bool WRITE>
static __global__ void __launch_bounds__(WARPS *WARP)
    sum_chunks(size_t rows, size_t columns, bool reverse, const int *__restrict__ number,
               const float *__restrict__ x, float *__restrict__ y, float *__restrict__ edge)
{
    const size_t task = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP,
                 chunk = task / stripes_of(columns),
                 column = task % stripes_of(columns) * WARP + threadIdx.x % WARP,
                 begin = chunk * CHUNK, end = rows - begin < CHUNK ? rows : begin + CHUNK;
    if (begin >= rows || column >= columns) return;
    float sum = WRITE ? edge[chunk * columns + column] : 0;
    int before = number[row_at(begin, rows, reverse)];
    for (size_t i = begin; i < end; i++) {
        const size_t row = row_at(i, rows, reverse), at = row * columns + column;
        const int own = number[row];
        sum = (own == before ? sum : 0) + (own < 0 ? 0 : x[at]);
        before = own;
        if (WRITE) y[at] = sum;
    }
    if (!WRITE) edge[chunk * columns + column] = sum;
}

/* A chunk passes on what came into it, too, if all of it is of one segment. */
static __global__ void __launch_bounds__(THREADS)
    carry_over(size_t rows, size_t columns, bool reverse, const int *__restrict__ number,
               const float *__restrict__ passed, float *__restrict__ carried)
{
    const size_t column = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (column >= columns) return;
    float comes_in = 0;
    for (size_t begin = 0; begin < rows; begin += CHUNK) {
        const size_t end = rows - begin < CHUNK ? rows : begin + CHUNK,
                     at = begin / CHUNK * columns + column;
        const int first = number[row_at(begin, rows, reverse)],
                  last = number[row_at(end - 1, rows, reverse)],
                  next = end < rows ? number[row_at(end, rows, reverse)] : -1;
        carried[at] = comes_in;
        comes_in = next != last ? 0 : passed[at] + (next == first ? comes_in : 0);
    }
}

static size_t edge_room(const node *n)
{
    const size_t rows = (size_t)n->dim[0];
    return blocks_of(rows, CHUNK) * (pith_size(n) / rows);
}

PITH_CUDA_SCRATCH(running_sum)
{
    return ((size_t)n->in[1]->dim[0] + (size_t)n->dim[0] + 2 * edge_room(n)) * sizeof(int);
}

PITH_CUDA_KERNEL(running_sum)
{
    const node *n = call->n;
    const size_t rows = (size_t)n->dim[0], columns = pith_size(n) / rows;
    const bool reverse = ((const running_attr *)n->attr)->reverse;
    int *bound = (int *)call->scratch, *number = bound + n->in[1]->dim[0];
    float *passed = (float *)(number + rows), *carried = passed + edge_room(n),
          *y = (float *)call->out[0];
    const float *x = (const float *)call->in[0];
    const size_t stripes = (columns + WARP - 1) / WARP;
    const unsigned blocks = blocks_of(blocks_of(rows, CHUNK) * stripes, WARPS);
    return number_segments(call, n->in[1]->dim[0], (const int *)call->in[1], n->dim[0], bound,
                           number) &&
           PITH_LAUNCH(call, sum_chunks<false>, blocks, WARPS * WARP, 0, rows, columns, reverse,
                       number, x, y, passed) &&
           PITH_LAUNCH(call, carry_over, blocks_of(columns, THREADS), THREADS, 0, rows, columns,
                       reverse, number, passed, carried) &&
           PITH_LAUNCH(call, sum_chunks<true>, blocks, WARPS * WARP, 0, rows, columns, reverse,
                       number, x, y, carried);
}
