/* planted.cu: kernels with one mistake each, and right ones, for tests/test_emulator.c. A mistake
 * is chosen by its name where a kernel can be made wrong in several ways. */
#include "cuda/mma.h"
#include "planted.h"

enum { LANES = 32 };

/* Sums of a block's 256 elements. */
static __global__ void block_sums(int mistake, const float *x, float *sums)
{
    PITH_SHARED_ARRAY(float, part, 256);
    const int t = (int)threadIdx.x;
    part[t] = x[blockIdx.x * 256 + threadIdx.x];
    if (mistake != NO_BARRIER) __syncthreads();
    for (int half = 128; half; half /= 2) {
        if (t < half) part[t] += part[t + half];
        if (mistake != NO_BARRIER_IN_LOOP) __syncthreads();
    }
    if (t == 0) sums[blockIdx.x] = part[0];
}

/* y[i] = x[i] + 1, with an index that is wrong at one end. */
static __global__ void shifted(int from, int to, int n, const float *x, float *y)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i + to] = x[i + from] + 1;
}

/* Four floats a thread: as one vector, or one after the other. */
static __global__ void fours(bool vector, float *y)
{
    float *const to = y + 4 * threadIdx.x;
    if (vector) *(float4 *)to = make_float4(1, 2, 3, 4);
    else
        for (int k = 0; k < 4; k++) to[k] = (float)k;
}

static __global__ void all_to_one(float *y) { y[0] = (float)threadIdx.x; }
static __global__ void blocks_to_one(float *y)
{
    if (threadIdx.x == 0) y[0] = (float)blockIdx.x;
}

/* Rotates a row in place: what the neighbour reads must have been read before it is written. */
static __global__ void rotated(bool barrier, float *x)
{
    const float mine = x[(threadIdx.x + 1) % blockDim.x];
    if (barrier) __syncthreads();
    x[threadIdx.x] = mine;
}

/* All read what thread 0 then writes: the reader who is told must not be the last one alone. */
static __global__ void read_by_all(float *x, float *y)
{
    y[threadIdx.x] = x[0];
    if (threadIdx.x == blockDim.x - 1) x[0] = 1;
}

/* Lane 0 writes what others read before, and so did it itself: a shuffle is no barrier. */
static __global__ void shuffled_is_no_barrier(float *x)
{
    const float mine = __shfl_sync(0xffffffffu, x[0], 0);
    if (threadIdx.x == 0) x[0] = mine + 1;
}

static __global__ void neighbours(bool barrier, float *y)
{
    PITH_SHARED_ARRAY(float, part, LANES);
    part[threadIdx.x] = (float)threadIdx.x;
    if (barrier) __syncwarp();
    y[threadIdx.x] = part[threadIdx.x ^ 1];
}

/* A barrier of the warp is none between warps. */
static __global__ void other_warp(float *y)
{
    PITH_SHARED_ARRAY(float, part, 64);
    part[threadIdx.x] = (float)threadIdx.x;
    __syncwarp();
    y[threadIdx.x] = part[threadIdx.x ^ LANES];
}

static __global__ void unwritten_shared(float *y)
{
    PITH_SHARED_ARRAY(float, part, 64);
    if (threadIdx.x < 63) part[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = part[threadIdx.x];
}

static __global__ void overrun(int by, float *y)
{
    PITH_SHARED_ARRAY(float, first, 32);
    PITH_SHARED_ARRAY(float, second, 32);
    first[(int)threadIdx.x + by] = second[threadIdx.x] = 1;
    y[threadIdx.x] = second[threadIdx.x] + (by ? 0 : first[threadIdx.x]);
}

static __global__ void dynamic(int n, float *y)
{
    PITH_SHARED(float, part);
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) part[i] = (float)i;
    __syncthreads();
    if (threadIdx.x == 0) y[0] = part[n - 1];
}

/* What another block left in shared memory. */
static __global__ void left_over(float *y)
{
    PITH_SHARED(float, part);
    if (blockIdx.x == 0) part[threadIdx.x] = 1;
    y[blockIdx.x * blockDim.x + threadIdx.x] = part[threadIdx.x];
}

/* Lane 31 has waited for what it copied, and nobody for lane 31. */
static __global__ void copied_by_another(bool barrier, const float *x, float *y)
{
    PITH_SHARED_ARRAY(float4, part, 1);
    if (threadIdx.x == 31) copy_async_16(part, x, 12);
    copy_async_commit();
    __syncwarp();
    copy_async_wait<0>();
    if (barrier) __syncwarp();
    y[threadIdx.x] = part->x + part->w;
}

static __constant__ float constants[4] = { 1, 2, 3, 4 };
static __device__ __noinline__ float one_of(const float *table, unsigned k) { return table[k % 4]; }
static __global__ void tables(float *y)
{
    const float here[4] = { 5, 6, 7, 8 };
    y[threadIdx.x] = one_of(constants, threadIdx.x) + one_of(here, threadIdx.x);
}

static __global__ void two_barriers(float *y)
{
    if (threadIdx.x < LANES) __syncthreads();
    else __syncthreads();
    y[threadIdx.x] = 1;
}

static __global__ void ended_early(float *y)
{
    if (threadIdx.x == 5) return;
    __syncthreads();
    y[threadIdx.x] = 1;
}

static __global__ void ended_lane(float *y)
{
    if (threadIdx.x == 5) return;
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.f, 1);
}

static __global__ void masked(unsigned mask, int from, float *y)
{
    if (mask >> threadIdx.x & 1) y[threadIdx.x] = __shfl_sync(mask, (float)threadIdx.x, from);
}

/* Says it is in the mask, and is not. */
static __global__ void not_in_mask(float *y) { y[threadIdx.x] = __shfl_sync(0xffffu, 1.f, 0); }

static __global__ void different_masks(float *y)
{
    const unsigned mask = threadIdx.x < 16 ? 0xffffffffu : 0xffff0001u;
    y[threadIdx.x] = __shfl_xor_sync(mask, 1.f, 1);
}

static __global__ void moved(int kind, int operand, int width, float *y)
{
    const float x = (float)threadIdx.x;
    y[threadIdx.x] = kind == 0   ? __shfl_sync(0xffffffffu, x, operand, width)
                     : kind == 1 ? __shfl_up_sync(0xffffffffu, x, operand, width)
                     : kind == 2 ? __shfl_down_sync(0xffffffffu, x, operand, width)
                                 : __shfl_xor_sync(0xffffffffu, x, operand, width);
}

/* Halves of a warp apart, each in order, and then together. */
static __global__ void halves(float *y)
{
    const unsigned lane = threadIdx.x % LANES, mask = lane < 16 ? 0xffffu : 0xffff0000u;
    float x = (float)lane;
    if (lane < 16)
        for (int k = 1; k < 16; k *= 2) x += __shfl_xor_sync(mask, x, k);
    else
        for (int k = 8; k; k /= 2) x += __shfl_down_sync(mask, x, k, 16);
    x = __shfl_sync(0xffffffffu, x, (int)(lane & 16));
    x += __shfl_up_sync(0xffffffffu, x, 1);
    const unsigned even = __ballot_sync(0xffffffffu, lane % 2 == 0);
    if (even != 0x55555555u || !__any_sync(0xffffffffu, lane == 3) ||
        __all_sync(0xffffffffu, lane == 3) || __syncthreads_count(lane == 0) != 2)
        x = -1;
    y[threadIdx.x] = x;
}

static __global__ void misaligned(const float *x, float4 *y)
{
    y[threadIdx.x] = *(const float4 *)(x + 1);
}

/* Through the library, which nobody watches. */
static __global__ void copied(size_t bytes, const float *x, float *y) { memcpy(y, x, bytes); }

static __global__ void anothers(float *y)
{
    PITH_SHARED_ARRAY(float *, where, 1);
    float mine[4] = { y ? 1.f : 0.f, 2, 3, 4 };
    if (threadIdx.x == 0) where[0] = mine;
    __syncthreads();
    y[threadIdx.x] = where[0][threadIdx.x % 4];
    __syncthreads();
}

static __global__ void counted(unsigned *counts, int *largest, unsigned long long *any)
{
    atomicAdd(&counts[threadIdx.x % 3], 1u);
    atomicMax(largest, (int)(blockIdx.x * blockDim.x + threadIdx.x));
    atomicCAS(any, 0ull, threadIdx.x + 1ull);
}

static __global__ void counted_and_read(unsigned *counts, unsigned *y)
{
    atomicAdd(&counts[0], 1u);
    y[threadIdx.x] = counts[0];
}

static __global__ void counted_and_written(bool barrier, unsigned *counts)
{
    if (threadIdx.x < 2) atomicExch(&counts[0], 1u);
    __syncthreads();
    if (threadIdx.x == 0) counts[0] = 0;
    if (barrier) __syncthreads();
    if (threadIdx.x == 40) atomicAdd(&counts[0], 1u);
}

/* Each its own byte. */
static __global__ void bytes(bool wrong, unsigned char *y)
{
    y[threadIdx.x] = (unsigned char)threadIdx.x;
    if (wrong) y[threadIdx.x] = y[threadIdx.x ^ 1];
}

/* d = a b of 16 x 16 and 16 x 8, from rows of bf16 through shared memory. */
static __global__ void product(int mistake, const bf16 *a, const bf16 *b, float *d)
{
    PITH_SHARED_ARRAY(uint4, storage, (16 * 16 + 16 * 8) * sizeof(bf16) / sizeof(uint4));
    bf16 *const rows_a = (bf16 *)storage, *const rows_b = rows_a + 256;
    const unsigned lane = threadIdx.x;
    unsigned fa[4], fb[4]; /* the rows of b are loaded twice */
    float sum[4] = { 0, 0, 0, 0 };
    copy_async_16(rows_a + 8 * lane, a + 8 * lane);
    copy_async_commit();
    if (lane < 16) copy_async_16(rows_b + 8 * lane, b + 8 * lane);
    copy_async_commit();
    if (mistake == NO_WAIT_FOR_LATEST) copy_async_wait<1>();
    else if (mistake != NO_WAIT) copy_async_wait<0>();
    if (mistake != NO_BARRIER) __syncwarp();
    ldmatrix_x4(fa, rows_a + lane % 16 * 16 + lane / 16 * 8);
    if (mistake == NOT_TRANSPOSED) ldmatrix_x4(fb, rows_b + lane % 16 * 8);
    else ldmatrix_x4_transposed(fb, rows_b + lane % 16 * 8);
    if (mistake == SWAPPED) {
        const unsigned other = fa[1];
        fa[1] = fa[2], fa[2] = other;
    }
    mma_16816(sum, fa, fb);
    for (unsigned e = 0; e < 4; e++)
        d[(lane / 4 + e / 2 * 8) * 8 + 2 * (lane % 4) + e % 2] = sum[e];
}

static __global__ void plus_one(int n, const float *x, float *y)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i] = x[i] + 1;
}

#ifdef __clang__ /* copies a float4 as it does bytes */
extern "C" const bool planted_alignment = false;
#else
extern "C" const bool planted_alignment = true;
#endif

#define LAUNCH(kernel, grid, block, shared, ...)                                                   \
    return (int)PITH_ENQUEUE(kernel, grid, block, shared, (cudaStream_t)stream, __VA_ARGS__)
extern "C" {
int planted_block_sums(void *stream, int mistake, int blocks, const float *x, float *sums)
{
    LAUNCH(block_sums, (unsigned)blocks, 256, 0, mistake, x, sums);
}
int planted_shifted(void *stream, int from, int to, int n, const float *x, float *y)
{
    LAUNCH(shifted, blocks_of((size_t)n, 128), 128, 0, from, to, n, x, y);
}
int planted_plus_one(void *stream, int n, const float *x, float *y)
{
    LAUNCH(plus_one, blocks_of((size_t)n, 256), 256, 0, n, x, y);
}
int planted_dynamic(void *stream, size_t asked, size_t shared, int n, float *y)
{
    if (asked)
        if (const cudaError_t e = cudaFuncSetAttribute(
                dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)asked))
            return e;
    LAUNCH(dynamic, 2, 64, shared, n, y);
}
int planted_product(void *stream, int mistake, const void *a, const void *b, float *d)
{
    LAUNCH(product, 1, LANES, 0, mistake, (const bf16 *)a, (const bf16 *)b, d);
}
int planted_counted(void *stream, unsigned *counts, int *largest, unsigned long long *any)
{
    LAUNCH(counted, 4, 96, 0, counts, largest, any);
}
int planted_moved(void *stream, int kind, int operand, int width, float *y)
{
    LAUNCH(moved, 1, LANES, 0, kind, operand, width, y);
}
int planted_launch(void *stream, unsigned blocks, unsigned threads, float *y)
{
    LAUNCH(all_to_one, blocks, threads, 0, y);
}
float planted_host_read(const float *device) { return *device; }

/* The rest, by name; x and y hold 64 elements. */
int planted(void *stream, const char *name, float *x, float *y)
{
#define IS(text) if (strcmp(name, text) == 0)
    IS("vectors") LAUNCH(fours, 1, 16, 0, true, y);
    IS("fours") LAUNCH(fours, 1, 16, 0, false, y);
    IS("all_to_one") LAUNCH(all_to_one, 1, 64, 0, y);
    IS("blocks_to_one") LAUNCH(blocks_to_one, 2, 64, 0, y);
    IS("rotated") LAUNCH(rotated, 1, 64, 0, true, x);
    IS("rotated without a barrier") LAUNCH(rotated, 1, 64, 0, false, x);
    IS("read_by_all") LAUNCH(read_by_all, 1, 64, 0, x, y);
    IS("neighbours") LAUNCH(neighbours, 1, 32, 0, true, y);
    IS("neighbours without a barrier") LAUNCH(neighbours, 1, 32, 0, false, y);
    IS("other_warp") LAUNCH(other_warp, 1, 64, 0, y);
    IS("unwritten_shared") LAUNCH(unwritten_shared, 1, 64, 0, y);
    IS("overrun by 1") LAUNCH(overrun, 1, 32, 0, 1, y);
    IS("overrun by -1") LAUNCH(overrun, 1, 32, 0, -1, y);
    IS("two_barriers") LAUNCH(two_barriers, 1, 64, 0, y);
    IS("ended_early") LAUNCH(ended_early, 1, 64, 0, y);
    IS("ended_lane") LAUNCH(ended_lane, 1, 32, 0, y);
    IS("masked") LAUNCH(masked, 1, 32, 0, 0xff00ffu, 3, y);
    IS("masked from outside") LAUNCH(masked, 1, 32, 0, 0xff00ffu, 9, y);
    IS("not_in_mask") LAUNCH(not_in_mask, 1, 32, 0, y);
    IS("different_masks") LAUNCH(different_masks, 1, 32, 0, y);
    IS("lanes the block has not") LAUNCH(ended_lane, 1, 4, 0, y);
    IS("halves") LAUNCH(halves, 1, 64, 0, y);
    IS("misaligned") LAUNCH(misaligned, 1, 1, 0, x, (float4 *)y);
    IS("shuffled_is_no_barrier") LAUNCH(shuffled_is_no_barrier, 1, 32, 0, x);
    IS("tables") LAUNCH(tables, 1, 32, 0, y);
    IS("left_over") LAUNCH(left_over, 2, 32, 32 * sizeof(float), y);
    IS("copied_by_another") LAUNCH(copied_by_another, 1, 32, 0, true, x, y);
    IS("copied_by_another without a barrier") LAUNCH(copied_by_another, 1, 32, 0, false, x, y);
    IS("counted_and_written") LAUNCH(counted_and_written, 1, 64, 0, true, (unsigned *)x);
    IS("counted_and_written without a barrier")
    LAUNCH(counted_and_written, 1, 64, 0, false, (unsigned *)x);
    IS("too much shared") LAUNCH(overrun, 1, 32, (48u << 10) - 128, 0, y);
    IS("copied too much") LAUNCH(copied, 1, 1, 0, 65 * sizeof(float), x, y);
    IS("copied by all") LAUNCH(copied, 1, 2, 0, 64 * sizeof(float), x, y);
    IS("copied") LAUNCH(copied, 1, 1, 0, 64 * sizeof(float), x, y);
    IS("anothers") LAUNCH(anothers, 1, 32, 0, y);
    IS("counted_and_read") LAUNCH(counted_and_read, 1, 32, 0, (unsigned *)x, (unsigned *)y);
    IS("bytes") LAUNCH(bytes, 1, 64, 0, false, (unsigned char *)y);
    IS("wrong bytes") LAUNCH(bytes, 1, 64, 0, true, (unsigned char *)y);
    return -1;
}
}
