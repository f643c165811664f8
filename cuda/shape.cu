/* shape.cu: cast, one thread for four elements that lie side by side. */
#include "ops/attributes.h"
#include "launch.h"

enum { THREADS = 256, FOUR = 4 };

/* Towards zero; what does not fit becomes the nearest that does, NaN the least. */
static __device__ void convert(float x, int *y)
{
    *y = x > -2147483648.f ? x < 2147483648.f ? (int)x : INT32_MAX : INT32_MIN;
}
static __device__ void convert(float x, uint8_t *y)
{
    *y = (uint8_t)(x > 0 ? x < 255 ? (int)x : 255 : 0);
}
static __device__ void convert(int x, uint8_t *y) { *y = (uint8_t)(x > 0 ? x < 255 ? x : 255 : 0); }
static __device__ void convert(uint8_t x, int *y) { *y = x; }
static __device__ void convert(int x, float *y) { *y = (float)x; }
static __device__ void convert(uint8_t x, float *y) { *y = x; }

template <class T> struct __align__(FOUR * sizeof(T)) four {
    T x[FOUR];
};

/* `together`: both addresses allow four elements to be moved as one. */
template <class From, class To>
static __global__ void __launch_bounds__(THREADS)
    cast_elements(size_t size, const From *x, To *y, bool together)
{
    const size_t first = ((size_t)blockIdx.x * THREADS + threadIdx.x) * FOUR;
    if (together && first + FOUR <= size) {
        const four<From> from = *(const four<From> *)(x + first);
        four<To> to;
        for (int k = 0; k < FOUR; k++) convert(from.x[k], &to.x[k]);
        *(four<To> *)(y + first) = to;
        return;
    }
    for (size_t i = first; i < first + FOUR && i < size; i++) convert(x[i], &y[i]);
}

template <class From, class To> static bool launch(const pith_call *call)
{
    const size_t size = pith_size(call->n);
    const From *x = (const From *)call->in[0];
    To *y = (To *)call->out[0];
    const bool together = (uintptr_t)x % sizeof(four<From>) == 0 &&
                          (uintptr_t)y % sizeof(four<To>) == 0;
    return PITH_LAUNCH(call, (cast_elements<From, To>), blocks_of(size, THREADS * FOUR), THREADS, 0,
                       size, x, y, together);
}

PITH_CUDA_KERNEL(cast)
{
    const pith_dtype from = call->n->in[0]->dtype, to = call->n->dtype;
    if (from == PITH_F32)
        return to == PITH_I32 ? launch<float, int>(call) : launch<float, uint8_t>(call);
    if (from == PITH_I32)
        return to == PITH_F32 ? launch<int, float>(call) : launch<int, uint8_t>(call);
    return to == PITH_F32 ? launch<uint8_t, float>(call) : launch<uint8_t, int>(call);
}
