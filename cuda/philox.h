/* philox.h: the random numbers of core/random.c, bit by bit: Philox4x32-10, ten rounds. curand's
 * curand_Philox4x32_10 is the same function; written out, it is also there where a page is compiled
 * without NVIDIA's headers. */
#ifndef PITH_PHILOX_H
#define PITH_PHILOX_H
#include "launch.h"

/* The first two of the four words of (key, element, step), which is what kernels use. */
static __device__ __forceinline__ void philox(uint64_t key, uint64_t step, uint64_t element,
                                              uint32_t word[2])
{
    uint32_t c0 = (uint32_t)element, c1 = (uint32_t)(element >> 32), c2 = (uint32_t)step,
             c3 = (uint32_t)(step >> 32), k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0, c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1, c3 = (uint32_t)a;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    word[0] = c0, word[1] = c1;
}

/* pith_uniform_at times 2^24, a whole number: comparisons with it are exact without doubles. */
static __device__ __forceinline__ uint32_t uniform_bits(uint64_t key, uint64_t step,
                                                        uint64_t element)
{
    uint32_t word[2];
    philox(key, step, element, word);
    return word[0] >> 8;
}
#endif
