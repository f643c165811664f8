/* rows.h: for kernels that take a tensor row by row. A row is the work of a team of threads: of a
 * warp, several of which make a block, or, where it is long, of a whole block. TEAM is the number
 * of its threads, which take neighbouring columns. */
#ifndef PITH_ROWS_CUDA_H
#define PITH_ROWS_CUDA_H
#include <float.h>
#include "sums.h"

enum { LONG_ROW = 1024, SHORT_ROW_THREADS = 256, LONG_ROW_THREADS = 512 };

/* Launches kernel<TEAM>, whose arguments begin with the number of rows and that of columns. */
#define PITH_LAUNCH_ROWS(call, kernel, rows, columns, ...)                                         \
    ((columns) <= LONG_ROW                                                                         \
         ? PITH_LAUNCH(call, kernel<WARP>, blocks_of(rows, SHORT_ROW_THREADS / WARP),              \
                       SHORT_ROW_THREADS, 0, rows, columns, __VA_ARGS__)                           \
         : PITH_LAUNCH(call, kernel<LONG_ROW_THREADS>, (unsigned)(rows), LONG_ROW_THREADS, 0,      \
                       rows, columns, __VA_ARGS__))
#define PITH_ROW_KERNEL(TEAM)                                                                      \
    __global__ void __launch_bounds__((TEAM) == WARP ? SHORT_ROW_THREADS : LONG_ROW_THREADS)

/* The row of this thread's team. A team without a row returns at once, and so does all of it. */
template <int TEAM> static __device__ __forceinline__ size_t team_row(void)
{
    return ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / TEAM;
}

template <int TEAM> static __device__ __forceinline__ float team_sum(float x)
{
    return TEAM == WARP ? warp_sum(x) : block_sum(x);
}

template <int TEAM> static __device__ __forceinline__ float team_max(float x)
{
    return TEAM == WARP ? warp_max(x) : block_max(x);
}

/* A sum of exp(x) in one pass: it is kept as a sum of exp(x - max), with the largest x so far, and
 * scaled down whenever a larger one comes. Takes x into *max and returns its weight, exp(x - max);
 * *scale is what every sum made before must be multiplied by. A max begins at -FLT_MAX: it may not
 * be infinite, where the difference of two would be NaN. */
static __device__ __forceinline__ float weigh(float x, float *max, float *scale)
{
    const float smaller = expf(-fabsf(x - *max));
    const bool rises = x > *max;
    *scale = rises ? smaller : 1;
    *max = rises ? x : *max;
    return rises ? 1 : smaller;
}

/* The largest entry of a row, and the sum of exp(entry - largest). */
template <int TEAM>
static __device__ __forceinline__ float team_exp_sum(const float *x, size_t columns, float *largest)
{
    float max = -FLT_MAX, sum = 0, scale;
    for (size_t i = threadIdx.x % TEAM; i < columns; i += TEAM) {
        const float weight = weigh(x[i], &max, &scale);
        sum = sum * scale + weight;
    }
    *largest = team_max<TEAM>(max);
    return team_sum<TEAM>(sum * expf(max - *largest));
}
#endif
