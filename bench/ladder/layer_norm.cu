/* layer_norm.cu: six rungs to y = (x - mean) / sqrt(variance + epsilon) * gain + bias of each row.
 *
 * Read x, write y: 8 bytes an entry are the least. gain and bias, too, are asked for an entry
 * each, 8 bytes more, but they are the same for every row, 6 KiB in all at 768 columns, and after
 * the first rows no memory sees them again.
 *
 * The first three rungs are those of softmax.cu, where they are told at length. What is new here is
 * that the row is wanted three times for a reason of numbers, and what saving a pass does to those.
 */
#include "cuda/rows.h"
#include "ops/attributes.h"
#include "ladder.h"
#include "tree.h"

enum { THREADS = 256 };

/* The tensors, and what launches tell of them. */
typedef struct {
    size_t rows, columns;
    const float *x, *gain, *bias;
    float *y, *means, *rstds;
} tensors;

static tensors tensors_of(const pith_call *call)
{
    tensors t;
    t.rows = pith_rows(call->n), t.columns = pith_columns(call->n);
    t.x = (const float *)call->in[0], t.gain = (const float *)call->in[1];
    t.bias = (const float *)call->in[2];
    t.y = (float *)call->out[0], t.means = (float *)call->out[1], t.rstds = (float *)call->out[2];
    return t;
}

/* 1 / sqrt(variance), of the sum of squares about the mean. */
static __device__ __forceinline__ float rstd_of(float squares, size_t columns)
{
    return 1 / sqrtf(squares / (float)columns + (float)LAYER_NORM_EPSILON);
}

/* ---- 1: one thread a row ---- */

/* Three passes: the mean, the squares about it, the result. 12 bytes for x, 8 for gain and bias, 4
 * for y: 24 bytes an entry are asked for, three times the least. Worse, the threads of a warp ask
 * for entries a row apart, 3,072 bytes at 768 columns: 32 sectors of 32 bytes for 128 bytes that
 * are wanted. (gain[i] and bias[i] are one address for the whole warp: one sector.) And 32,768 rows
 * are 1,024 warps, of 6,912 that 108 processors have room for. */
static __global__ void __launch_bounds__(THREADS) thread_a_row(tensors t)
{
    const size_t row = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (row >= t.rows) return;
    const float *x = t.x + row * t.columns;
    float *y = t.y + row * t.columns, sum = 0, squares = 0;
    for (size_t i = 0; i < t.columns; i++) sum += x[i];
    const float mean = sum / (float)t.columns;
    for (size_t i = 0; i < t.columns; i++) squares += (x[i] - mean) * (x[i] - mean);
    const float rstd = rstd_of(squares, t.columns);
    for (size_t i = 0; i < t.columns; i++) y[i] = (x[i] - mean) * rstd * t.gain[i] + t.bias[i];
    t.means[row] = mean, t.rstds[row] = rstd;
}

static bool launch_1(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, thread_a_row, blocks_of(t.rows, THREADS), THREADS, 0, t);
}

/* ---- 2: one block a row ---- */

/* Neighbours read neighbours, 8 warps a row instead of a 32nd: the memory is asked for whole
 * sectors by as many threads as there is room for. At 768 columns a thread has 3 entries, and for
 * them meets 20 barriers, 10 in each of two trees (tree.h).
 *
 * The sums have become better, too. One thread adds 768 terms in a chain, and each addition may
 * round by 2^-24 of what has been summed: up to 767 roundings lie on a term's way. In the tree
 * these are 2 + 8. */
static __global__ void __launch_bounds__(THREADS) block_a_row(tensors t)
{
    PITH_SHARED_ARRAY(float, room, THREADS);
    const float *x = t.x + blockIdx.x * t.columns;
    float *y = t.y + blockIdx.x * t.columns, sum = 0, squares = 0;
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) sum += x[i];
    const float mean = tree<sum_of>(sum, room) / (float)t.columns;
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS)
        squares += (x[i] - mean) * (x[i] - mean);
    const float rstd = rstd_of(tree<sum_of>(squares, room), t.columns);
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS)
        y[i] = (x[i] - mean) * rstd * t.gain[i] + t.bias[i];
    if (threadIdx.x == 0) t.means[blockIdx.x] = mean, t.rstds[blockIdx.x] = rstd;
}

static bool launch_2(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, block_a_row, (unsigned)t.rows, THREADS, 0, t);
}

/* ---- 3: shuffles ---- */

/* block_sum (cuda/sums.h): within a warp by registers, between the eight warps by 8 numbers in
 * shared memory. 4 barriers a row, not 20. */
static __global__ void __launch_bounds__(THREADS) block_with_shuffles(tensors t)
{
    const float *x = t.x + blockIdx.x * t.columns;
    float *y = t.y + blockIdx.x * t.columns, sum = 0, squares = 0;
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) sum += x[i];
    const float mean = block_sum(sum) / (float)t.columns;
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS)
        squares += (x[i] - mean) * (x[i] - mean);
    const float rstd = rstd_of(block_sum(squares), t.columns);
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS)
        y[i] = (x[i] - mean) * rstd * t.gain[i] + t.bias[i];
    if (threadIdx.x == 0) t.means[blockIdx.x] = mean, t.rstds[blockIdx.x] = rstd;
}

static bool launch_3(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, block_with_shuffles, (unsigned)t.rows, THREADS, 0, t);
}

/* ---- 4: one pass for both sums ---- */

/* The variance is also the mean of squares less the square of the mean, and both sums can be made
 * in one pass: 20 bytes an entry, not 24 (and 1.3 for each thread's x[0]). As it stands that is a
 * trap. Of a row with mean 1,000 and standard deviation 1 the mean of squares is 1,000,001, which
 * f32 holds to the nearest 1/16: of the variance, 1, some four bits are left, and after the sum's
 * roundings perhaps none.
 *
 * The same holds about any point p: variance = mean((x - p)^2) - mean(x - p)^2. With p k standard
 * deviations from the mean, the first term is 1 + k^2 variances, and log2(1 + k^2) of 24 bits are
 * lost: with p = 0 above, k is 1,000, and they are 20. With p an entry of the row itself, k is
 * mostly below 2, and 2 bits are lost. So: about the row's first entry.
 *
 * The price: a row whose first entry is an outlier, 30 deviations off, loses 10 bits. Transformers
 * do have such columns, and so the page's kernel pays for the second pass. */
static __global__ void __launch_bounds__(THREADS) block_in_one_pass(tensors t)
{
    const float *x = t.x + blockIdx.x * t.columns, first = x[0], count = (float)t.columns;
    float *y = t.y + blockIdx.x * t.columns, sum = 0, squares = 0;
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) {
        const float d = x[i] - first;
        sum += d, squares += d * d;
    }
    sum = block_sum(sum), squares = block_sum(squares);
    const float mean = first + sum / count;
    const float rstd = rstd_of(squares - sum * (sum / count), t.columns);
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS)
        y[i] = (x[i] - mean) * rstd * t.gain[i] + t.bias[i];
    if (threadIdx.x == 0) t.means[blockIdx.x] = mean, t.rstds[blockIdx.x] = rstd;
}

static bool launch_4(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, block_in_one_pass, (unsigned)t.rows, THREADS, 0, t);
}

/* ---- 5: registers hold the row ---- */

/* Passes over registers cost no bytes, so the honest two sums are made, and x is still asked for
 * once: 16 bytes an entry, and of memory the least, 8. One warp has a row, with shuffles alone and
 * no barrier. And each lane takes 4 neighbours at a time (float4), 16 bytes by one instruction: a
 * row of 768 is 6 loads a lane, not 24, and a warp's load is 512 bytes, 16 whole sectors.
 *
 * The price: rows of at most 1,024 entries, in whole fours (else rows would not begin at multiples
 * of 16 bytes, which a load of 16 bytes wants), and 64 registers a thread (nvcc 13 for sm_90), so
 * that 4 blocks fit on a processor and not 8: 32 of them for the row, at 768 columns a quarter of
 * them empty. */
enum { HELD = 8 /* fours a lane */ };

static __global__ void __launch_bounds__(THREADS) warp_holds_row(tensors t)
{
    const size_t row = team_row<WARP>(), lane = threadIdx.x % WARP, fours = t.columns / 4;
    if (row >= t.rows) return;
    const float4 *x = (const float4 *)(t.x + row * t.columns), *gain = (const float4 *)t.gain,
                 *bias = (const float4 *)t.bias;
    float4 *y = (float4 *)(t.y + row * t.columns), held[HELD];
    float sum = 0, squares = 0;
    for (int k = 0; k < HELD; k++) {
        const size_t i = lane + (size_t)k * WARP;
        held[k] = i < fours ? x[i] : make_float4(0, 0, 0, 0);
        sum += held[k].x + held[k].y + (held[k].z + held[k].w);
    }
    const float mean = warp_sum(sum) / (float)t.columns;
    for (int k = 0; k < HELD; k++) {
        const float a = held[k].x - mean, b = held[k].y - mean, c = held[k].z - mean,
                    d = held[k].w - mean;
        if (lane + (size_t)k * WARP < fours) squares += a * a + b * b + (c * c + d * d);
    }
    const float rstd = rstd_of(warp_sum(squares), t.columns);
    for (int k = 0; k < HELD; k++) {
        const size_t i = lane + (size_t)k * WARP;
        if (i >= fours) continue;
        const float4 g = gain[i], b = bias[i];
        y[i] = make_float4((held[k].x - mean) * rstd * g.x + b.x,
                           (held[k].y - mean) * rstd * g.y + b.y,
                           (held[k].z - mean) * rstd * g.z + b.z,
                           (held[k].w - mean) * rstd * g.w + b.w);
    }
    if (lane == 0) t.means[row] = mean, t.rstds[row] = rstd;
}

static bool launch_5(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, warp_holds_row, blocks_of(t.rows, THREADS / WARP), THREADS, 0, t);
}

/* ---- 6: cuda/layer_norm.cu ---- */

/* One warp a row as rung 5, three passes as rung 3: it asks for 24 bytes an entry, like the first
 * rung, and moves 8. A processor's 64 warps have 64 rows of 3 KiB, 192 KiB; on 108 processors these
 * are 20 MiB, and an A100's second cache has 40. What rung 1 did wrong was not that it read three
 * times, but that its warps asked for 32 sectors at once, and that there were too few of them.
 *
 * Against rung 5 it asks for x twice more from a cache, and four times as often. For that it takes
 * any width, may write y where x lies, and is a dozen lines, one of which changes when the team is
 * a block. */

static node *make(pith_graph *g, const int *size)
{
    const int columns = size[1];
    return pith_layer_norm(pith_sample(g, 4, 7, size[0], columns),
                           pith_sample(g, 0.5, 1.5, columns), pith_sample(g, -1, 1, columns));
}

const ladder ladder_layer_norm = {
    "layer_norm",
    "rows, columns",
    { { 270, 36 }, { 3, 768 }, { 2, 1000 } },
    { 5, 768 },
    { 32768, 768 },
    "an entry",
    entries,
    8,
    0,
    make,
    { { "one thread a row", launch_1, 24, NULL },
      { "one block a row, trees in shared memory", launch_2, 24, NULL },
      { "shuffles in place of trees", launch_3, 24, NULL },
      { "both sums in one pass, about the first entry", launch_4, 21.3, NULL },
      { "one warp a row, held in registers, four at a time", launch_5, 16, NULL },
      { "cuda/layer_norm.cu", page_launch, 24, page_scratch } }
};
