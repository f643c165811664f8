/* softmax.cu: six rungs to y = exp(x - max) / sum(exp(x - max)) of each row.
 *
 * What counts. x must be read and y written: 8 bytes an entry, whatever the kernel. A GPU does 50
 * to 100 operations on floats in the time in which it moves one float (an A100's data sheet: 19,500
 * Gflop/s, 1,555 GB/s; a T4's: 8,100 and 320), and softmax does perhaps thirty an entry. So the
 * least time is that of a copy of x to y, and each rung asks: what keeps the memory from being busy
 * all the time, and what moves more than once?
 *
 * The largest entry is taken off first, since expf overflows beyond 88.7; the result is the same.
 * So a row must be seen whole before its first sum, and summed whole before its first result: three
 * passes, of which rungs 4 and 5 save some. */
#include "cuda/rows.h"
#include "ladder.h"
#include "tree.h"

enum { THREADS = 256 };

/* ---- 1: one thread a row ---- */

/* As one would write it for a CPU, with the loop over rows made threads. It asks for 16 bytes an
 * entry (x three times, y once), but that is the smaller mistake.
 *
 * Memory comes in sectors of 32 bytes, and a warp's 32 threads ask together. Here they ask for
 * entries that lie a row apart: a load that wants 32 x 4 = 128 bytes touches 32 sectors, 1,024
 * bytes, where neighbours would touch 4. The other 28 bytes of a sector are wanted by the next
 * seven loads, if it is still there: a processor's 2,048 threads keep 2,048 x 32 bytes = 64 KiB of
 * sectors for later, a third of an A100's first cache; and each load looks up 32 lines of it where
 * neighbours lie in one.
 *
 * And there are only as many threads as rows. 65,536 are 2,048 warps; a GPU of 108 processors has
 * room for 108 x 64 = 6,912. What has no thread asks for nothing, and memory idles. */
static __global__ void __launch_bounds__(THREADS)
    thread_a_row(size_t rows, size_t columns, const float *x, float *y)
{
    const size_t row = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (row >= rows) return;
    x += row * columns, y += row * columns;
    float max = -FLT_MAX, sum = 0;
    for (size_t i = 0; i < columns; i++) max = fmaxf(max, x[i]);
    for (size_t i = 0; i < columns; i++) sum += expf(x[i] - max);
    for (size_t i = 0; i < columns; i++) y[i] = expf(x[i] - max) / sum;
}

/* ---- 2: one block a row ---- */

/* Neighbouring threads take neighbouring entries: each load of a warp is 4 whole sectors, and none
 * is fetched for a part of it. 256 threads a row are 65,536 x 8 warps: enough for any GPU. The
 * second and the third pass still ask, but a row of 1,024 is 4 KiB, and the eight blocks of a
 * processor hold eight of them at a time: 32 KiB, which the first cache has.
 *
 * The price: threads must tell each other. Two trees (tree.h) of 10 barriers each make 20 barriers
 * a row, while a thread has but 4 entries: it meets five barriers an entry.
 *
 * On the way a division an entry, of which the GPU makes several instructions, has become one a
 * row and a product an entry. */
static __global__ void __launch_bounds__(THREADS)
    block_a_row(size_t columns, const float *x, float *y)
{
    PITH_SHARED_ARRAY(float, room, THREADS);
    x += blockIdx.x * columns, y += blockIdx.x * columns;
    float max = -FLT_MAX, sum = 0;
    for (size_t i = threadIdx.x; i < columns; i += THREADS) max = fmaxf(max, x[i]);
    max = tree<largest_of>(max, room);
    for (size_t i = threadIdx.x; i < columns; i += THREADS) sum += expf(x[i] - max);
    const float share = 1 / tree<sum_of>(sum, room);
    for (size_t i = threadIdx.x; i < columns; i += THREADS) y[i] = expf(x[i] - max) * share;
}

/* ---- 3: shuffles ---- */

/* The 32 threads of a warp can read each other's registers (__shfl_xor_sync): five
 * exchanges with lanes 16, 8, 4, 2 and 1 away leave every lane the result of all, with no barrier
 * and nothing in memory. Only the eight warps' results pass through shared memory, once:
 * block_sum and block_max (cuda/sums.h) have 2 barriers where a tree has 10, so 4 a row in place of
 * 20. Bytes are the same. */
static __global__ void __launch_bounds__(THREADS)
    block_with_shuffles(size_t columns, const float *x, float *y)
{
    x += blockIdx.x * columns, y += blockIdx.x * columns;
    float max = -FLT_MAX, sum = 0;
    for (size_t i = threadIdx.x; i < columns; i += THREADS) max = fmaxf(max, x[i]);
    max = block_max(max);
    for (size_t i = threadIdx.x; i < columns; i += THREADS) sum += expf(x[i] - max);
    const float share = 1 / block_sum(sum);
    for (size_t i = threadIdx.x; i < columns; i += THREADS) y[i] = expf(x[i] - max) * share;
}

/* ---- 4: one pass for both ---- */

/* "Online" (Milakov and Gimelshein, 2018): keep the sum relative to the largest entry so far, and
 * when a larger one comes, scale the sum down by exp(old - new). Then one pass finds maximum and
 * sum: 12 bytes an entry are asked for, not 16. Where rows are too long for the cache that is a
 * quarter of the traffic; here, where they lie in it, a quarter of the requests.
 *
 * Entry and scale seem to want an exponential each, but one of both is always exp(0): weigh
 * (cuda/rows.h) makes do with one. The price: a comparison, two choices and a product more an
 * entry. (What each entry waits for is the maximum before it and the sum before it, not the
 * exponential: those of several entries go on side by side.) */
static __global__ void __launch_bounds__(THREADS)
    block_online(size_t columns, const float *x, float *y)
{
    x += blockIdx.x * columns, y += blockIdx.x * columns;
    float max = -FLT_MAX, sum = 0, scale;
    for (size_t i = threadIdx.x; i < columns; i += THREADS) {
        const float weight = weigh(x[i], &max, &scale);
        sum = sum * scale + weight;
    }
    const float largest = block_max(max);
    const float share = 1 / block_sum(sum * expf(max - largest));
    for (size_t i = threadIdx.x; i < columns; i += THREADS) y[i] = expf(x[i] - largest) * share;
}

/* ---- 5: registers hold the row ---- */

/* One warp has a row of up to 1,024 entries in its registers, 32 a lane. x is asked for once: 8
 * bytes an entry, the least there is, and one exponential an entry where all rungs before had two.
 * No barrier: eight warps of a block have eight rows and never wait for each other.
 *
 * It also keeps more loads under way. Memory that answers after half a microsecond and is to
 * deliver 1,555 GB/s must have 1,555e9 x 0.5e-6 = 780 KB asked for at any time, on 108 processors
 * 7 KB each. Here all 32 loads of a lane may go out before the first is waited for: a warp asks for
 * 4 KiB at once, and two warps would do.
 *
 * The price: 80 registers a thread (nvcc 13 for sm_90), so that of 65,536 three blocks of 256
 * threads have theirs and not eight, and a width that is compiled in. A row of 1,025 needs another
 * kernel, and one of 33 pays for 32 loads a lane, most of them not made. */
enum { HELD = 32 };

static __global__ void __launch_bounds__(THREADS)
    warp_holds_row(size_t rows, size_t columns, const float *x, float *y)
{
    const size_t row = team_row<WARP>(), lane = threadIdx.x % WARP;
    if (row >= rows) return;
    x += row * columns, y += row * columns;
    float held[HELD], max = -FLT_MAX, sum = 0;
    for (int k = 0; k < HELD; k++) {
        const size_t i = lane + (size_t)k * WARP;
        held[k] = i < columns ? x[i] : -FLT_MAX;
    }
    for (int k = 0; k < HELD; k++) max = fmaxf(max, held[k]);
    max = warp_max(max);
    for (int k = 0; k < HELD; k++) sum += held[k] = expf(held[k] - max); /* 0 behind the row */
    const float share = 1 / warp_sum(sum);
    for (int k = 0; k < HELD; k++) {
        const size_t i = lane + (size_t)k * WARP;
        if (i < columns) y[i] = held[k] * share;
    }
}

/* ---- 6: cuda/softmax.cu ---- */

/* One warp a row, without barriers, as rung 5; the passes of rung 4, and so any width; beyond 1,024
 * a block a row. It asks for 12 bytes an entry, 4 more than rung 5, for x again. From where? On a
 * processor 64 warps have 64 rows of 4 KiB, 256 KiB: more than an A100's first cache of 192, so
 * that some of the second reading comes from the second cache. On 108 processors these are 27 MiB,
 * and that cache has 40: memory itself still moves 8 bytes an entry. (A T4 has 40 processors of 32
 * warps, 5 MiB, and 4 MiB of cache: there rung 5 has the better chance.)
 *
 * So it need not be the fastest of the six at this one size on every GPU. It moves as little as
 * rung 5 does, at every width, in one text. */

static bool launch_1(const pith_call *call)
{
    const size_t rows = pith_rows(call->n), columns = pith_columns(call->n);
    return PITH_LAUNCH(call, thread_a_row, blocks_of(rows, THREADS), THREADS, 0, rows, columns,
                       (const float *)call->in[0], (float *)call->out[0]);
}

static bool launch_2(const pith_call *call)
{
    return PITH_LAUNCH(call, block_a_row, (unsigned)pith_rows(call->n), THREADS, 0,
                       pith_columns(call->n), (const float *)call->in[0], (float *)call->out[0]);
}

static bool launch_3(const pith_call *call)
{
    return PITH_LAUNCH(call, block_with_shuffles, (unsigned)pith_rows(call->n), THREADS, 0,
                       pith_columns(call->n), (const float *)call->in[0], (float *)call->out[0]);
}

static bool launch_4(const pith_call *call)
{
    return PITH_LAUNCH(call, block_online, (unsigned)pith_rows(call->n), THREADS, 0,
                       pith_columns(call->n), (const float *)call->in[0], (float *)call->out[0]);
}

static bool launch_5(const pith_call *call)
{
    const size_t rows = pith_rows(call->n), columns = pith_columns(call->n);
    return PITH_LAUNCH(call, warp_holds_row, blocks_of(rows, THREADS / WARP), THREADS, 0, rows,
                       columns, (const float *)call->in[0], (float *)call->out[0]);
}

static node *make(pith_graph *g, const int *size)
{
    return pith_softmax(pith_sample(g, -9, 9, size[0], size[1]));
}

const ladder ladder_softmax = { "softmax",
                                "rows, columns",
                                { { 270, 33 }, { 3, 1000 }, { 2, 1024 } },
                                { 5, 1024 },
                                { 65536, 1024 },
                                "an entry",
                                entries,
                                8,
                                0,
                                make,
                                { { "one thread a row", launch_1, 16, NULL },
                                  { "one block a row, trees in shared memory", launch_2, 16, NULL },
                                  { "shuffles in place of trees", launch_3, 16, NULL },
                                  { "maximum and sum in one pass", launch_4, 12, NULL },
                                  { "one warp a row, held in registers", launch_5, 8, NULL },
                                  { "cuda/softmax.cu", page_launch, 12, page_scratch } } };
