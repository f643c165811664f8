/* sums.h: reductions over a warp and over a block, always added in one order. Every thread of the
 * warp or block takes part, and every one gets the result. */
#ifndef PITH_SUMS_H
#define PITH_SUMS_H
#include "launch.h"

enum { WARP = 32 };

/* Over a warp, or over each group of LANES neighbours in it. */
template <int LANES = WARP> static __device__ __forceinline__ float warp_sum(float x)
{
    for (int lanes = LANES / 2; lanes; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

template <int LANES = WARP> static __device__ __forceinline__ float warp_max(float x)
{
    for (int lanes = LANES / 2; lanes; lanes /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lanes));
    return x;
}

/* Over a block of whole warps: each warp leaves its own, and then every warp reduces those. The
 * second barrier keeps the next call from writing while this one is still read. `neutral` stands
 * for the warps that a block has less than it might. */
template <float (*warp_reduce)(float)>
static __device__ __forceinline__ float block_reduce(float x, float neutral)
{
    PITH_SHARED_ARRAY(float, of_warp, WARP);
    const unsigned lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    x = warp_reduce(x);
    if (lane == 0) of_warp[threadIdx.x / WARP] = x;
    __syncthreads();
    x = lane < warps ? of_warp[lane] : neutral;
    __syncthreads();
    return warp_reduce(x);
}

static __device__ __forceinline__ float block_sum(float x)
{
    return block_reduce<warp_sum<WARP>>(x, 0);
}

static __device__ __forceinline__ float block_max(float x)
{
    return block_reduce<warp_max<WARP>>(x, -INFINITY);
}

static __device__ __forceinline__ int plus(int a, int b) { return a + b; }
static __device__ __forceinline__ int larger(int a, int b) { return a > b ? a : b; }

/* x of this lane joined with that of all lanes before it. */
template <int (*join)(int, int)> static __device__ __forceinline__ int warp_scan(int x)
{
    const int lane = (int)threadIdx.x % WARP;
    for (int lanes = 1; lanes < WARP; lanes *= 2) {
        const int before = __shfl_up_sync(0xffffffffu, x, lanes);
        if (lane >= lanes) x = join(before, x);
    }
    return x;
}

/* x of this thread joined with that of all threads before it; *all: of the whole block, which is a
 * multiple of WARP. `joined` has room for a number a warp. */
template <int (*join)(int, int)>
static __device__ __forceinline__ int block_scan(int x, int *joined, int *all)
{
    const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP,
              warps = (int)blockDim.x / WARP;
    x = warp_scan<join>(x);
    if (lane == WARP - 1) joined[warp] = x;
    __syncthreads();
    *all = joined[0];
    if (warp > 0) x = join(joined[0], x);
    for (int k = 1; k < warps; k++) {
        *all = join(*all, joined[k]);
        if (k < warp) x = join(joined[k], x);
    }
    __syncthreads(); /* `joined` may be written again */
    return x;
}
#endif
