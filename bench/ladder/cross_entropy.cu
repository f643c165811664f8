/* cross_entropy.cu: five rungs to the loss log(sum(exp(x))) - x[label] of each row of logits, and
 * the log-sum-exp itself, which the gradient wants.
 *
 * A row is read and two numbers are written: 4 bytes an entry are the least. Rows are as long as a
 * vocabulary, here 32,768 entries, 128 KiB, and that makes a different ladder from softmax.cu's. A
 * row is work enough for a block of 512 threads, 64 entries each, so that barriers no longer count.
 * And it does not stay in a cache: the four blocks of a processor have 512 KiB of rows, more than
 * any first cache; on 108 processors these are 54 MiB, where an A100's second cache has 40. So
 * every pass may be paid for in full. The way up is to read less. */
#include "cuda/rows.h"
#include "ladder.h"

enum { THREADS = 512 };

/* The tensors, and what launches tell of them. */
typedef struct {
    size_t rows, columns;
    const float *logits;
    const int *labels;
    float *loss, *lse, *shares; /* shares: scratch of rung 1 */
} tensors;

static tensors tensors_of(const pith_call *call)
{
    tensors t;
    t.rows = pith_size(call->n), t.columns = pith_columns(call->n->in[0]);
    t.logits = (const float *)call->in[0], t.labels = (const int *)call->in[1];
    t.loss = (float *)call->out[0], t.lse = (float *)call->out[1];
    t.shares = (float *)call->scratch;
    return t;
}

/* What the first thread of a block leaves, from the largest logit of its row and the sum of
 * exp(logit - largest). A label that is none gives 0. */
static __device__ __forceinline__ void finish(const tensors *t, float largest, float sum)
{
    if (threadIdx.x) return;
    const size_t row = blockIdx.x;
    const int label = t->labels[row];
    const bool there = label >= 0 && (size_t)label < t->columns;
    t->lse[row] = largest + logf(sum);
    t->loss[row] = there ? t->lse[row] - t->logits[row * t->columns + (size_t)label] : 0;
}

/* ---- 1: a softmax, and then a look into it ---- */

/* As it is composed of ops that exist: softmax writes every share of every row, and a second kernel
 * takes the logarithm of one of 32,768. Asked for are 12 bytes an entry to read and 4 to write, 16;
 * the least that memory moves is 8, of which half is written to be forgotten. It also takes as
 * much memory again as the logits, 256 MiB here.
 *
 * And it is wrong where it matters most: a share below 2^-150 becomes 0 in f32, and its logarithm
 * minus infinity. That is the share of a label 104 below the largest logit: the loss should be 104.
 */
static __global__ void __launch_bounds__(THREADS) write_shares(tensors t)
{
    const float *x = t.logits + blockIdx.x * t.columns;
    float *shares = t.shares + blockIdx.x * t.columns, max = -FLT_MAX, sum = 0;
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) max = fmaxf(max, x[i]);
    max = block_max(max);
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) sum += expf(x[i] - max);
    sum = block_sum(sum);
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) shares[i] = expf(x[i] - max) / sum;
    if (threadIdx.x == 0) t.lse[blockIdx.x] = max + logf(sum);
}

static __global__ void __launch_bounds__(THREADS) look_up(tensors t)
{
    const size_t row = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (row >= t.rows) return;
    const int label = t.labels[row];
    const bool there = label >= 0 && (size_t)label < t.columns;
    t.loss[row] = there ? -logf(t.shares[row * t.columns + (size_t)label]) : 0;
}

static size_t scratch_1(const node *n) { return pith_bytes(n->in[0]); }

static bool launch_1(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, write_shares, (unsigned)t.rows, THREADS, 0, t) &&
           PITH_LAUNCH(call, look_up, blocks_of(t.rows, THREADS), THREADS, 0, t);
}

/* ---- 2: nothing written ---- */

/* log(exp(x - max) / sum) = x - max - log(sum): the label's share was never needed, only its logit.
 * The third pass and the writing are gone, and so are the scratch, the second launch, and the
 * infinite loss. 8 bytes an entry: half of what was asked for. */
static __global__ void __launch_bounds__(THREADS) two_passes(tensors t)
{
    const float *x = t.logits + blockIdx.x * t.columns;
    float max = -FLT_MAX, sum = 0;
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) max = fmaxf(max, x[i]);
    max = block_max(max);
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) sum += expf(x[i] - max);
    finish(&t, max, block_sum(sum));
}

static bool launch_2(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, two_passes, (unsigned)t.rows, THREADS, 0, t);
}

/* ---- 3: one pass ---- */

/* The sum relative to the largest so far, scaled down when that grows: 4 bytes an entry, the least
 * there is. From here on bytes cannot become fewer, only come sooner.
 *
 * The price: two exponentials an entry in place of one. A processor makes 16 in a cycle: an A100,
 * with 108 at 1.41 GHz, 2,400 thousand million a second. Its memory delivers 1,555 / 4 = 389
 * thousand million entries. So two an entry keep what makes exponentials busy a third of the time,
 * and each has half a dozen operations about it. That is affordable, and no longer nothing. */
static __global__ void __launch_bounds__(THREADS) one_pass(tensors t)
{
    const float *x = t.logits + blockIdx.x * t.columns;
    float max = -FLT_MAX, sum = 0;
    for (size_t i = threadIdx.x; i < t.columns; i += THREADS) {
        const float higher = fmaxf(max, x[i]);
        sum = sum * expf(max - higher) + expf(x[i] - higher);
        max = higher;
    }
    const float largest = block_max(max);
    finish(&t, largest, block_sum(sum * expf(max - largest)));
}

static bool launch_3(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, one_pass, (unsigned)t.rows, THREADS, 0, t);
}

/* ---- 4: four at a time ---- */

/* Four neighbours by one load of 16 bytes: a quarter of the instructions that ask, each for 4 times
 * as many bytes. If memory answers after half a microsecond, an A100's processors must each have 7
 * KB asked for at any time (softmax.cu, rung 5). 64 warps with a load of 4 bytes a lane under way
 * are 8 KiB, which only just is enough; with 16 bytes a lane they are 32.
 *
 * The largest of the four is found first, and the sum is scaled down once for all of them: 5
 * exponentials for 4 entries, where rung 3 had 8.
 *
 * The price: widths of whole fours, and the text. */
static __global__ void __launch_bounds__(THREADS) four_at_a_time(tensors t)
{
    const float4 *x = (const float4 *)(t.logits + blockIdx.x * t.columns);
    float max = -FLT_MAX, sum = 0;
    for (size_t i = threadIdx.x; i < t.columns / 4; i += THREADS) {
        const float4 a = x[i];
        const float higher = fmaxf(max, fmaxf(fmaxf(a.x, a.y), fmaxf(a.z, a.w)));
        const float four = expf(a.x - higher) + expf(a.y - higher) +
                           (expf(a.z - higher) + expf(a.w - higher));
        sum = sum * expf(max - higher) + four;
        max = higher;
    }
    const float largest = block_max(max);
    finish(&t, largest, block_sum(sum * expf(max - largest)));
}

static bool launch_4(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, four_at_a_time, (unsigned)t.rows, THREADS, 0, t);
}

/* ---- 5: cuda/cross_entropy.cu ---- */

/* One pass, one entry at a time, any width: 4 bytes an entry as rungs 3 and 4. Of rung 3's two
 * exponentials one is always exp(0), and weigh (cuda/rows.h) makes one, of -|x - max|, that is
 * either the entry's weight or the scale of the sum: 4 for 4 entries, one fewer than rung 4.
 * Against rung 4 it has four times the loads, of a quarter of the bytes; whether that shows depends
 * on how many of a thread's loads the compiler puts under way at once, and the clock will tell.
 * Rows of at most 1,024 have a warp each (softmax.cu tells why). */

/* A ninth of the labels is none. */
static node *make(pith_graph *g, const int *size)
{
    return pith_cross_entropy(pith_sample(g, -9, 9, size[0], size[1]),
                              pith_sample_ids(g, size[1] + size[1] / 8, size[0]));
}

const ladder ladder_cross_entropy = {
    "cross_entropy",
    "rows, columns",
    { { 15, 36 }, { 2, 1000 }, { 2, 5000 } },
    { 3, 32768 },
    { 2048, 32768 },
    "an entry",
    entries,
    4,
    0,
    make,
    { { "a softmax written, and one share of a row looked up", launch_1, 16, scratch_1 },
      { "nothing written, two passes", launch_2, 8, NULL },
      { "one pass", launch_3, 4, NULL },
      { "four entries at a time", launch_4, 4, NULL },
      { "cuda/cross_entropy.cu", page_launch, 4, page_scratch } }
};
