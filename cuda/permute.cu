/* permute.cu: where the last axis stays last, runs are copied. Else one block turns a tile of 32 by
 * 32 elements, through shared memory, so that a warp reads along the axis that is contiguous in the
 * input and writes along the one that is in the result. Where one of the two has only a few
 * elements, as channels of pictures have, a tile would be nearly empty, and single elements are
 * runs. */
#include "ops/permute.h"
#include "runs.h"

enum { TILE = 32, STRIPES = 8, FEW = 8 }; /* STRIPES: rows of a tile that a block takes at once */

/* Run r of the result goes where the first x.n axes say. */
template <class T>
static __global__ void copy_moved(size_t rows, size_t length, axes x, const void *from, void *to)
{
    const size_t row = RUN_ROW;
    if (row >= rows) return;
    size_t rest = row, offset = 0;
    for (int k = x.n - 1; k >= 0; k--) {
        offset += rest % x.dim[k] * x.from[k];
        rest /= x.dim[k];
    }
    ALONG_RUN(k, length)((T *)to)[row * length + k] = ((const T *)from)[offset + k];
}

static bool move_outer(const pith_call *call, axes x, int outer)
{
    const size_t width = pith_width(call->n->dtype), size = pith_size(call->n);
    size_t rows = 1, bits = address(call->in[0]) | address(call->out[0]);
    for (int k = 0; k < outer; k++) {
        rows *= x.dim[k];
        bits |= x.from[k] * width;
    }
    const size_t bytes = size / rows * width, unit = unit_of(bits | bytes);
    x.n = outer;
    for (int k = 0; k < outer; k++) x.from[k] = x.from[k] * width / unit;
    return LAUNCH_RUNS(call, copy_moved, unit, rows, bytes / unit, x, call->in[0], call->out[0]);
}

static __host__ __device__ size_t tiles_along(const axes *x, int axis)
{
    return axis == x->inner || axis == x->n - 1 ? (x->dim[axis] + TILE - 1) / TILE : x->dim[axis];
}

template <class T>
static __global__ void __launch_bounds__(TILE *STRIPES)
    turn_tiles(axes x, const T *__restrict__ from, T *__restrict__ to)
{
    /* Rows of a tile are a bank of 4 bytes longer: so neither way do lanes meet in one. */
    enum { ROW = TILE + 4 / sizeof(T) };
    PITH_SHARED_ARRAY(T, tile, TILE * ROW);
    const int last = x.n - 1;
    size_t task = blockIdx.x, rows = 0, columns = 0; /* left of `inner` and of the last axis */
    for (int k = last; k >= 0; k--) {
        const size_t count = tiles_along(&x, k);
        size_t at = task % count;
        task /= count;
        if (k == x.inner || k == last) at *= TILE;
        if (k == x.inner) rows = x.dim[k] - at;
        if (k == last) columns = x.dim[k] - at;
        from += at * x.from[k], to += at * x.to[k];
    }
    const unsigned i = threadIdx.x;
    for (unsigned j = threadIdx.y; j < TILE && j < columns; j += STRIPES)
        if (i < rows) tile[j * ROW + i] = from[j * x.from[last] + i];
    __syncthreads();
    for (unsigned j = threadIdx.y; j < TILE && j < rows; j += STRIPES)
        if (i < columns) to[j * x.to[x.inner] + i] = tile[i * ROW + j];
}

template <class T> static bool turn(const pith_call *call, const axes *x)
{
    size_t tiles = 1;
    for (int k = 0; k < x->n; k++) tiles *= tiles_along(x, k);
    return PITH_LAUNCH(call, turn_tiles<T>, (unsigned)tiles, dim3(TILE, STRIPES), 0, *x,
                       (const T *)call->in[0], (T *)call->out[0]);
}

PITH_CUDA_KERNEL(permute)
{
    const axes x = joined_axes(call->n);
    const int last = x.n - 1;
    if (x.inner == last) return move_outer(call, x, last);
    if (x.dim[last] < FEW || x.dim[x.inner] < FEW) return move_outer(call, x, x.n);
    switch (pith_width(call->n->dtype)) {
    case 1: return turn<uint8_t>(call, &x);
    case 2: return turn<uint16_t>(call, &x);
    default: return turn<uint32_t>(call, &x);
    }
}
