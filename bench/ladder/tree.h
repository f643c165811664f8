/* tree.h: a sum and a maximum over a block, the way it is done without shuffles.
 *
 * Each thread leaves its number in shared memory; then half of them add the other half's, then a
 * quarter, and so on. 256 numbers are one after 8 steps, with 10 barriers, at each of which all
 * eight warps wait for the slowest, and in the last six steps only one warp has anything to do. */
#ifndef PITH_TREE_H
#define PITH_TREE_H
#include "cuda/launch.h"

static __device__ __forceinline__ float sum_of(float a, float b) { return a + b; }
static __device__ __forceinline__ float largest_of(float a, float b) { return fmaxf(a, b); }

/* Every thread of a block of a power of two calls it, with room for a number a thread, and gets the
 * result. Threads that are neighbours stay neighbours: they are whole warps as long as there is
 * more than one, and lie in different banks of shared memory. */
template <float (*join)(float, float)>
static __device__ __forceinline__ float tree(float x, float *room)
{
    room[threadIdx.x] = x;
    for (unsigned half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            room[threadIdx.x] = join(room[threadIdx.x], room[threadIdx.x + half]);
    }
    __syncthreads();
    x = room[0];
    __syncthreads(); /* the room may be written again */
    return x;
}
#endif
