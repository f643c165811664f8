/* 12_smooth.cu: the page of kernels beside 12_kernel.c: y[i] = (x[i-1] + x[i] + x[i+1]) / 3 along
 * each row, with zeros beyond its ends. In the house it would be cuda/smooth.cu.
 *
 * Threads. A kernel is one function that thousands of threads run at once, each with numbers of its
 * own to know itself by. Here a thread has a column: it makes y[i].
 *
 * Blocks. Threads come in blocks, of 128 here: `threadIdx.x` is a thread's number in its block,
 * `blockIdx.x` that of the block, here its row. Threads of one block may work together. Blocks may
 * not: nobody says which runs first, or which at once.
 *
 * Warps. The device runs 32 threads of a block, a warp, with one instruction. So let neighbours in
 * a warp touch neighbours in memory: what 32 threads then read is fetched in one piece. In which
 * order the four warps of our block run, again nobody says. */
#include "cuda/launch.h"

enum { THREADS = 128, TILE = THREADS + 2 };

/* Shared memory. Three threads want x[i], and the device's memory is far away. So a block fetches
 * 128 numbers and one more at each side, the halo, once into memory of its own, and all three read
 * it there. (Of three the cache would spare us two. Of thirty it is another matter.)
 *
 * tile[k] becomes x[first - 1 + k]: 130 places for 128 threads, so the first two fill two. */
static __device__ __forceinline__ void fill(float *tile, const float *x, int first, int columns)
{
    for (int k = (int)threadIdx.x; k < TILE; k += THREADS) {
        const int i = first - 1 + k;
        tile[k] = i >= 0 && i < columns ? x[i] : 0;
    }
}

static __device__ __forceinline__ void average(const float *tile, float *y, int first, int columns)
{
    const int k = (int)threadIdx.x, i = first + k;
    if (i < columns) y[i] = (tile[k] + tile[k + 1] + tile[k + 2]) / 3;
}

/* The barrier. A thread reads what two others fetched, which may not have run yet. At
 * __syncthreads() each waits until all of its block are there, and then sees what they wrote
 * before. A long row is taken tile after tile in the same memory, and so there is a second one:
 * nobody fills the tile again before all have read it. All threads must come to every barrier,
 * those without a column, too. */
static __global__ void smooth_rows(int columns, const float *x, float *y)
{
    PITH_SHARED_ARRAY(float, tile, TILE);
    x += (size_t)blockIdx.x * columns, y += (size_t)blockIdx.x * columns;
    for (int first = 0; first < columns; first += THREADS) {
        fill(tile, x, first, columns);
        __syncthreads(); /* the tile is filled */
        average(tile, y, first, columns);
        __syncthreads(); /* the tile has been read */
    }
}

/* The launch. This runs on the host and puts the kernel on the device's stream, a queue: grid (how
 * many blocks), block (how many threads in each), bytes of shared memory beside the array above,
 * and the kernel's arguments. It returns before the kernel has run.
 *
 * The grid depends on shapes alone: a launcher cannot look at the numbers, which lie on the device
 * and may not be there yet. That is why a plan may record its launches once and repeat the
 * recording for every step: nothing in it would be different. */
#define LAUNCH_ON_ROWS(kernel)                                                                     \
    PITH_LAUNCH(call, kernel, (unsigned)pith_rows(call->n), THREADS, 0,                            \
                (int)pith_columns(call->n), (const float *)call->in[0], (float *)call->out[0])

PITH_CUDA_KERNEL(smooth) { return LAUNCH_ON_ROWS(smooth_rows); }

/* ---- MISTAKES, for the lesson to find: the same kernel with one of them, not to be copied ---- */

enum mistake { READ_TOO_EARLY, FILLED_TOO_EARLY, ONE_TOO_FAR };

template <mistake M> static __global__ void wrong_rows(int columns, const float *x, float *y)
{
    PITH_SHARED_ARRAY(float, tile, TILE);
    x += (size_t)blockIdx.x * columns, y += (size_t)blockIdx.x * columns;
    for (int first = 0; first < columns; first += THREADS) {
        fill(tile, x, first, M == ONE_TOO_FAR ? columns + 1 : columns);
        if (M != READ_TOO_EARLY) __syncthreads();
        average(tile, y, first, columns);
        if (M != FILLED_TOO_EARLY) __syncthreads();
    }
}

PITH_CUDA_KERNEL(read_too_early) { return LAUNCH_ON_ROWS(wrong_rows<READ_TOO_EARLY>); }
PITH_CUDA_KERNEL(filled_too_early) { return LAUNCH_ON_ROWS(wrong_rows<FILLED_TOO_EARLY>); }
PITH_CUDA_KERNEL(one_too_far) { return LAUNCH_ON_ROWS(wrong_rows<ONE_TOO_FAR>); }
