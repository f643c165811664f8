/* emulator.h: what a page of kernels sees: CUDA's language as plain C++. Qualifiers, the indices of
 * a thread, shared memory, barriers, warps, atomics, launches. README.md tells how it is run. */
#ifndef EMULATOR_H
#define EMULATOR_H
#include "runtime.h"
#include "intrinsics.h"

#define __global__ __attribute__((unused))
#define __device__ __attribute__((unused))
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
/* The section tells the shadow that threads may read it. */
#define __constant__ __attribute__((section("emulator_constant")))

/* Constant for the thread that runs: so the compiler may keep them, and, as they have no
 * constructor, no access is watched. */
#ifdef EMULATOR_INSIDE
extern uint3 threadIdx, blockIdx, blockDim, gridDim;
#else
extern const uint3 threadIdx, blockIdx, blockDim, gridDim;
#endif
enum { warpSize = 32 };

/* ---- shared memory ---- */

extern unsigned char emulator_dynamic[];
struct emulator_slot {
    unsigned block; /* for which `at` was given out */
    void *at;
};
void *emulator_array(emulator_slot *slot, size_t bytes);

/* Shared memory whose size is told at the launch. */
#define PITH_SHARED(T, name) T *name = (T *)emulator_dynamic
/* Shared memory of n elements, known when the page is compiled. */
#define PITH_SHARED_ARRAY(T, name, n)                                                              \
    static emulator_slot name##_slot;                                                              \
    T *name = (T *)emulator_array(&name##_slot, (n) * sizeof(T))

/* ---- barriers and warps ---- */

/* Where a thread waits, for reports and to see that all wait at one place. */
#define EMULATOR_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* Waits for the whole block; how many gave a `value` that is not 0. */
int emulator_barrier(int value, const char *file, int line);
/* Waits for the lanes in `mask`. The last one to come calls `exchange`, which sees what all brought
 * (NULL for lanes not in the mask); the others find there what it left them. */
typedef void emulator_exchange(void *const *lanes, unsigned mask);
void emulator_meet(emulator_exchange *exchange, unsigned mask, void *mine, const char *file,
                   int line);
void emulator_warp_barrier(unsigned mask, const char *file, int line);
enum { EMULATOR_INDEX, EMULATOR_UP, EMULATOR_DOWN, EMULATOR_XOR };
uint64_t emulator_shuffle(int kind, unsigned mask, uint64_t value, int operand, int width,
                          const char *file, int line);
unsigned emulator_ballot(unsigned mask, bool value, const char *file, int line);

static inline void __syncthreads(EMULATOR_AT) { emulator_barrier(0, file, line); }
static inline int __syncthreads_count(int p, EMULATOR_AT)
{
    return emulator_barrier(p, file, line);
}
static inline int __syncthreads_or(int p, EMULATOR_AT)
{
    return emulator_barrier(p, file, line) != 0;
}
static inline int __syncthreads_and(int p, EMULATOR_AT)
{
    return emulator_barrier(!p, file, line) == 0;
}
static inline void __syncwarp(unsigned mask = ~0u, EMULATOR_AT)
{
    emulator_warp_barrier(mask, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int p, EMULATOR_AT)
{
    return emulator_ballot(mask, p != 0, file, line);
}
static inline int __any_sync(unsigned mask, int p, EMULATOR_AT)
{
    return emulator_ballot(mask, p != 0, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int p, EMULATOR_AT)
{
    return emulator_ballot(mask, p != 0, file, line) == mask;
}

#define EMULATOR_SHUFFLE(name, kind)                                                               \
    template <class T>                                                                             \
    static inline T name(unsigned mask, T value, int operand, int width = 32, EMULATOR_AT)         \
    {                                                                                              \
        static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles take 4 or 8 bytes");             \
        uint64_t bits = 0;                                                                         \
        memcpy(&bits, &value, sizeof value);                                                       \
        bits = emulator_shuffle(kind, mask, bits, operand, width, file, line);                     \
        memcpy(&value, &bits, sizeof value);                                                       \
        return value;                                                                              \
    }
EMULATOR_SHUFFLE(__shfl_sync, EMULATOR_INDEX)
EMULATOR_SHUFFLE(__shfl_up_sync, EMULATOR_UP)
EMULATOR_SHUFFLE(__shfl_down_sync, EMULATOR_DOWN)
EMULATOR_SHUFFLE(__shfl_xor_sync, EMULATOR_XOR)

static inline void __threadfence_block() {}
static inline void __threadfence() {}
void __trap();

/* ---- atomics: integers only, sums of floats would depend on the order of the threads ---- */

/* Tells the shadow. No lock is wanted: one thread runs at a time. */
void emulator_atomic(void *p, size_t bytes, const void *site);
#define EMULATOR_UNSEEN __attribute__((no_sanitize("thread")))
#define EMULATOR_ATOMIC(name, T, value)                                                            \
    __attribute__((noinline, unused)) EMULATOR_UNSEEN static T name(T *p, T v)                     \
    {                                                                                              \
        emulator_atomic(p, sizeof *p, __builtin_return_address(0));                                \
        const T old = *p;                                                                          \
        *p = value;                                                                                \
        return old;                                                                                \
    }
#define EMULATOR_ATOMICS(T)                                                                        \
    EMULATOR_ATOMIC(atomicAdd, T, old + v)                                                         \
    EMULATOR_ATOMIC(atomicMin, T, v < old ? v : old)                                               \
    EMULATOR_ATOMIC(atomicMax, T, v > old ? v : old)                                               \
    EMULATOR_ATOMIC(atomicAnd, T, old &v)                                                          \
    EMULATOR_ATOMIC(atomicOr, T, old | v)                                                          \
    EMULATOR_ATOMIC(atomicXor, T, old ^ v)                                                         \
    EMULATOR_ATOMIC(atomicExch, T, v)                                                              \
    __attribute__((noinline, unused)) EMULATOR_UNSEEN static T atomicCAS(T *p, T expected, T v)    \
    {                                                                                              \
        emulator_atomic(p, sizeof *p, __builtin_return_address(0));                                \
        const T old = *p;                                                                          \
        if (old == expected) *p = v;                                                               \
        return old;                                                                                \
    }
EMULATOR_ATOMICS(int)
EMULATOR_ATOMICS(unsigned)
EMULATOR_ATOMICS(unsigned long long)

/* ---- launches ---- */

/* Copies the closure, which is called once a thread when the stream gets there. */
cudaError_t emulator_launch(const char *name, const void *kernel, dim3 grid, dim3 block,
                            size_t shared, cudaStream_t stream, void (*call)(void *closure),
                            const void *closure, size_t bytes);

template <class T> struct emulator_same {
    typedef T type;
};
/* Arguments become what the kernel takes here and now, as in kernel<<<...>>>(...). */
template <class... P>
static inline cudaError_t emulator_enqueue(const char *name, void (*kernel)(P...), dim3 grid,
                                           dim3 block, size_t shared, cudaStream_t stream,
                                           typename emulator_same<P>::type... arguments)
{
    auto run = [=]() EMULATOR_UNSEEN { kernel(arguments...); };
    typedef decltype(run) closure;
    static_assert(__is_trivially_copyable(closure), "arguments of a kernel are plain values");
    return emulator_launch(
        name, (const void *)kernel, grid, block, shared, stream,
        [](void *p) EMULATOR_UNSEEN { (*(closure *)p)(); }, &run, sizeof run);
}
#define PITH_ENQUEUE(kernel, grid, block, shared, stream, ...)                                     \
    emulator_enqueue(#kernel, kernel, grid, block, shared, stream, ##__VA_ARGS__)

/* Files of libraries that pages open at run time: see control.h. */
extern "C" const char *emulator_nvrtc, *emulator_cublaslt;
#endif
