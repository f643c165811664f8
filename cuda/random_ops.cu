/* random_ops.cu: uniform, normal and dropout have one thread an element, choose one warp a row.
 * Uniforms are whole multiples of 2^-24 and are compared as whole numbers, so that they are the
 * CPU's exactly; nothing here is computed in double. */
#include "ops/attributes.h"
#include "philox.h"
#include "sums.h"

enum { THREADS = 256, WARPS = 4 };

static __global__ void __launch_bounds__(THREADS)
    draw_uniform(size_t size, uint64_t key, const int *step, float *y)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < size) y[i] = (float)uniform_bits(key, (uint64_t)*step, i) * 0x1p-24f;
}

/* The logarithm of u = (2 bits + 1) / 2^25, in (0, 1). Above one half u has 25 digits, which a
 * float does not hold, but 1 - u has fewer. */
static __device__ float log_of_uniform(uint32_t bits)
{
    const uint32_t odd = 2 * bits + 1;
    return odd < 1u << 24 ? logf((float)odd * 0x1p-25f)
                          : log1pf(-(float)((1u << 25) - odd) * 0x1p-25f);
}

static __global__ void __launch_bounds__(THREADS)
    draw_normal(size_t size, uint64_t key, const int *step, float *y)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= size) return;
    uint32_t word[2];
    philox(key, (uint64_t)*step, i, word);
    y[i] = sqrtf(-2 * log_of_uniform(word[0] >> 8)) * cospif((float)(word[1] >> 8) * 0x1p-23f);
}

PITH_CUDA_KERNEL(uniform)
{
    const size_t size = pith_size(call->n);
    return PITH_LAUNCH(call, draw_uniform, blocks_of(size, THREADS), THREADS, 0, size,
                       whole_key(((const random_attr *)call->n->attr)->key),
                       (const int *)call->in[0], (float *)call->out[0]);
}

PITH_CUDA_KERNEL(normal)
{
    const size_t size = pith_size(call->n);
    return PITH_LAUNCH(call, draw_normal, blocks_of(size, THREADS), THREADS, 0, size,
                       whole_key(((const random_attr *)call->n->attr)->key),
                       (const int *)call->in[0], (float *)call->out[0]);
}

/* A lane decides about one number of 32. Whether it is taken depends on how many before it are: all
 * lanes guess, and guess again with what the others guessed, until nothing changes. Each round
 * settles at least one lane more, so what then holds is what one after the other would give; two or
 * three rounds are the rule. Behind n nobody takes any more: where as many are left as are wanted,
 * all are taken. (Below n = 2^29 the CPU's product of doubles is exact, too.) */
static __global__ void __launch_bounds__(WARPS *WARP)
    choose_rows(int rows, int n, int count, uint64_t key, const int *step, int *y)
{
    const int row = (int)(blockIdx.x * WARPS + threadIdx.x / WARP),
              lane = (int)(threadIdx.x % WARP);
    if (row >= rows) return;
    y += (size_t)row * (size_t)count;
    for (int begin = 0, taken = 0; taken < count; begin += WARP) {
        const int i = begin + lane;
        const uint64_t left = (uint64_t)(n - i),
                       bits = uniform_bits(key, (uint64_t)*step,
                                           (uint64_t)row * (uint64_t)n + (uint64_t)i);
        unsigned set = 0, guess = 0;
        int at;
        do {
            set = guess;
            at = taken + __popc(set & ((1u << lane) - 1));
            guess = __ballot_sync(0xffffffffu, at < count && bits * left < (uint64_t)(count - at)
                                                                               << 24);
        } while (guess != set);
        if (set >> lane & 1) y[at] = i;
        taken += __popc(set);
    }
}

PITH_CUDA_KERNEL(choose)
{
    const choose_attr *a = (const choose_attr *)call->n->attr;
    return PITH_LAUNCH(call, choose_rows, blocks_of((size_t)a->rows, WARPS), WARPS * WARP, 0,
                       a->rows, a->n, a->count, whole_key(a->key), (const int *)call->in[0],
                       (int *)call->out[0]);
}

static __global__ void __launch_bounds__(THREADS)
    drop(size_t size, uint64_t key, const int *step, uint32_t below, float scale, const float *x,
         float *y)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < size) y[i] = uniform_bits(key, (uint64_t)*step, i) < below ? 0 : scale * x[i];
}

PITH_CUDA_KERNEL(dropout)
{
    const dropout_attr *attr = (const dropout_attr *)call->n->attr;
    const size_t size = pith_size(call->n);
    return PITH_LAUNCH(call, drop, blocks_of(size, THREADS), THREADS, 0, size, whole_key(attr->key),
                       (const int *)call->in[1], (uint32_t)ceil(attr->share * 0x1p24),
                       (float)(1 / (1 - attr->share)), (const float *)call->in[0],
                       (float *)call->out[0]);
}
