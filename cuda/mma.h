/* mma.h: products of small matrices by a warp (tensor cores), and copies into shared memory that
 * go on while threads compute. The fragments of a lane, for g = lane / 4 and t = lane % 4, each
 * register two bf16, the first one in the low half:
 *
 *   a, 16 x 16: a[0] row g, columns 2t and 2t + 1; a[1] row g + 8; a[2], a[3] the same, columns + 8
 *   b, 16 x 8:  b[0] rows 2t and 2t + 1, column g; b[1] rows + 8
 *   d, 16 x 8:  d[0], d[1] row g, columns 2t and 2t + 1; d[2], d[3] row g + 8
 *
 * Every lane of the warp takes part. All this wants sm_80. Pages are compiled for sm_75, too, where
 * none of it runs: there a plan of bf16 is refused (device.cu). */
#ifndef PITH_MMA_H
#define PITH_MMA_H
#include "bf16.h"

#ifdef PITH_EMULATE
#include "fragments.h"
#else

#if defined __CUDA_ARCH__ && __CUDA_ARCH__ < 800
#define PITH_SM80(...) __trap()
#else
#define PITH_SM80(...) asm volatile(__VA_ARGS__)
#endif

/* clang-format off */
/* d += a b */
static __device__ __forceinline__ void mma_16816(float d[4], const unsigned a[4],
                                                 const unsigned b[2])
{
    PITH_SM80("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
              "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
              : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
              : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Fragments from shared memory: r[k] is the lane's part of the k-th matrix of 8 x 8, whose rows of
 * 16 bytes lie where lanes 8k to 8k + 7 point. Plain: row g, columns 2t and 2t + 1, as for a.
 * Transposed: rows 2t and 2t + 1, column g, as for b from rows of k. */
#define PITH_LDMATRIX(name, transposed)                                                            \
    static __device__ __forceinline__ void name(unsigned r[4], const void *row)                    \
    {                                                                                              \
        PITH_SM80("ldmatrix.sync.aligned.m8n8.x4" transposed ".shared.b16 {%0,%1,%2,%3}, [%4];"    \
                  : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                                 \
                  : "r"((unsigned)__cvta_generic_to_shared(row))                                   \
                  : "memory");                                                                     \
    }
PITH_LDMATRIX(ldmatrix_x4, "")
PITH_LDMATRIX(ldmatrix_x4_transposed, ".trans")
#undef PITH_LDMATRIX

/* Begins to copy 16 bytes, both places aligned to 16, of which the first `bytes` are read and the
 * rest becomes 0. */
static __device__ __forceinline__ void copy_async_16(void *shared, const void *global,
                                                     int bytes = 16)
{
    PITH_SM80("cp.async.cg.shared.global [%0], [%1], 16, %2;"
              :
              : "r"((unsigned)__cvta_generic_to_shared(shared)),
                "l"(__cvta_generic_to_global(global)), "r"(bytes)
              : "memory");
}

/* The same of 4 bytes. */
static __device__ __forceinline__ void copy_async_4(void *shared, const void *global, int bytes = 4)
{
    PITH_SM80("cp.async.ca.shared.global [%0], [%1], 4, %2;"
              :
              : "r"((unsigned)__cvta_generic_to_shared(shared)),
                "l"(__cvta_generic_to_global(global)), "r"(bytes)
              : "memory");
}
/* clang-format on */

/* The copies that this thread began since the last call are a group. */
static __device__ __forceinline__ void copy_async_commit()
{
    PITH_SM80("cp.async.commit_group;" :: : "memory");
}

/* Waits until at most the latest LEFT groups of this thread are under way. What other threads
 * copied is there after their wait and a barrier. */
template <int LEFT> static __device__ __forceinline__ void copy_async_wait()
{
    PITH_SM80("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}
#endif
#endif
