/* bf16.h: numbers of 16 bits in kernels, which compute in f32: read and written, one or some at a
 * time.
 */
#ifndef PITH_CUDA_BF16_H
#define PITH_CUDA_BF16_H
#include "launch.h"

static __device__ __forceinline__ float to_float(float x) { return x; }
static __device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
static __device__ __forceinline__ void from_float(float x, float *y) { *y = x; }
static __device__ __forceinline__ void from_float(float x, bf16 *y) { *y = __float2bfloat16(x); }

/* Two in a register, the first one in the low half. */
static __device__ __forceinline__ unsigned bf16_pair(float low, float high)
{
#ifdef PITH_EMULATE
    return (unsigned)__float2bfloat16(low).bits | (unsigned)__float2bfloat16(high).bits << 16;
#else
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *(const unsigned *)&both;
#endif
}

static __device__ __forceinline__ float2 floats_of(unsigned pair)
{
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}
#endif
