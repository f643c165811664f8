/* mma.h: products of small matrices by a warp (tensor cores), and copies into shared memory that
 * go on while threads compute. The fragments of a lane, for g = lane / 4 and t = lane % 4, each
 * register two bf16, the first one in the low half:
 *
 *   a, 16 x 16: a[0] row g, columns 2t and 2t + 1; a[1] row g + 8; a[2], a[3] the same, columns + 8
 *   b, 16 x 8:  b[0] rows 2t and 2t + 1, column g; b[1] rows + 8
 *   d, 16 x 8:  d[0], d[1] row g, columns 2t and 2t + 1; d[2], d[3] row g + 8
 *
 * Every lane of the warp takes part. bf16 products and asynchronous copies want sm_80: below it
 * lanes ask each other for numbers and multiply those, and copies are made at once. */
#ifndef PITH_MMA_H
#define PITH_MMA_H
#include "bf16.h"

/* d += a b without tensor cores. Two terms at a time: of a row of a and a column of b four lanes
 * have two each, and then two more. */
static __device__ __forceinline__ void mma_by_shuffles(float d[4], const unsigned a[4],
                                                       const unsigned b[2])
{
    const int lane = (int)threadIdx.x % 32, row = lane / 4 * 4, column = lane % 4 * 8;
    for (int k = 0; k < 8; k++) {
        const int half = k / 4;
        const float2 up = floats_of(__shfl_sync(~0u, a[2 * half], row + k % 4)),
                     down = floats_of(__shfl_sync(~0u, a[2 * half + 1], row + k % 4));
        for (int j = 0; j < 2; j++) {
            const float2 other = floats_of(__shfl_sync(~0u, b[half], column + 4 * j + k % 4));
            d[j] += up.x * other.x + up.y * other.y;
            d[2 + j] += down.x * other.x + down.y * other.y;
        }
    }
}

#ifdef PITH_EMULATE
#include "fragments.h"
#else

/* d += a b */
static __device__ __forceinline__ void mma_16816(float d[4], const unsigned a[4],
                                                 const unsigned b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    mma_by_shuffles(d, a, b);
#endif
}

/* Fragments from shared memory: r[k] is the lane's part of the k-th matrix of 8 x 8, whose rows of
 * 16 bytes lie where lanes 8k to 8k + 7 point. Plain: row g, columns 2t and 2t + 1, as for a.
 * Transposed: rows 2t and 2t + 1, column g, as for b from rows of k. */
#define PITH_LDMATRIX(name, count, transposed, registers, ...)                                     \
    static __device__ __forceinline__ void name(unsigned r[count], const void *row)                \
    {                                                                                              \
        const unsigned at = (unsigned)__cvta_generic_to_shared(row);                               \
        asm volatile("ldmatrix.sync.aligned.m8n8.x" #count transposed ".shared.b16 {" registers    \
                     "}, [%" #count "];"                                                           \
                     : __VA_ARGS__                                                                 \
                     : "r"(at)                                                                     \
                     : "memory");                                                                  \
    }
PITH_LDMATRIX(ldmatrix_x4, 4, "", "%0,%1,%2,%3", "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]))
PITH_LDMATRIX(ldmatrix_x4_transposed, 4, ".trans", "%0,%1,%2,%3", "=r"(r[0]), "=r"(r[1]),
              "=r"(r[2]), "=r"(r[3]))
PITH_LDMATRIX(ldmatrix_x2, 2, "", "%0,%1", "=r"(r[0]), "=r"(r[1]))
PITH_LDMATRIX(ldmatrix_x2_transposed, 2, ".trans", "%0,%1", "=r"(r[0]), "=r"(r[1]))
#undef PITH_LDMATRIX

/* Begins to copy 16 bytes, both places aligned to 16, of which the first `bytes` are read and the
 * rest becomes 0. */
static __device__ __forceinline__ void copy_async_16(void *shared, const void *global,
                                                     int bytes = 16)
{
#if __CUDA_ARCH__ >= 800
    const unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(at), "l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
#else
    for (int k = 0; k < 16; k++)
        ((unsigned char *)shared)[k] = k < bytes ? ((const unsigned char *)global)[k] : 0;
#endif
}

/* The same of 4 bytes. */
static __device__ __forceinline__ void copy_async_4(void *shared, const void *global, int bytes = 4)
{
#if __CUDA_ARCH__ >= 800
    const unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 :
                 : "r"(at), "l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
#else
    for (int k = 0; k < 4; k++)
        ((unsigned char *)shared)[k] = k < bytes ? ((const unsigned char *)global)[k] : 0;
#endif
}

/* The copies that this thread began since the last call are a group. */
static __device__ __forceinline__ void copy_async_commit()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits until at most the latest LEFT groups of this thread are under way. What other threads
 * copied is there after their wait and a barrier. */
template <int LEFT> static __device__ __forceinline__ void copy_async_wait()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}
#endif
#endif
