/* attention.cu: five rungs to y = softmax(q k^T / sqrt(width)) v in each head of each segment.
 *
 * Here arithmetic counts, too. A score takes 2 width operations, and weighing a row of v by it as
 * many: 4 width = 256 at 64 columns. A segment of 512 tokens has 512 scores a query; q, k, v and y
 * are 16 width bytes a query, 1,024: 2 bytes a score. Against 2 bytes stand 256 operations, where
 * an A100 does 19,500 / 1,555 = 12.5 a byte: whoever moves only what must be moved is held up by
 * arithmetic alone. Whoever writes the scores down, 4 bytes each, reads them, writes weights and
 * reads those, moves 16 bytes more, and in the time of 256 operations no more than 20 can be moved.
 * So there are two things to learn: that scores leave memory (rung 3), and that each number which
 * is fetched, from memory or from shared memory, is used many times (rungs 2, 4 and 5).
 *
 * To keep to that, all segments here are of one length, nothing is masked, and heads have at most
 * 64 columns, in whole fours. The page's kernel knows no such limits. */
#include "cuda/rows.h"
#include "ladder.h"

enum { THREADS = 256, MOST_COLUMNS = 64 };

/* qkv (rows, 3, heads, width), y (rows, heads, width), lse (rows, heads). */
typedef struct {
    int rows, length, heads, width; /* length: of a segment */
    float scale;
    const float *qkv;
    float *y, *lse, *scores; /* scores (rows, heads, length): scratch of rungs 1 and 2 */
} tensors;

static tensors tensors_of(const pith_call *call)
{
    const node *qkv = call->n->in[0], *offsets = call->n->in[1];
    tensors t;
    t.rows = qkv->dim[0], t.length = t.rows / (offsets->dim[0] - 1);
    t.heads = qkv->dim[2], t.width = qkv->dim[3];
    t.scale = 1 / sqrtf((float)t.width);
    t.qkv = (const float *)call->in[0];
    t.y = (float *)call->out[0], t.lse = (float *)call->out[1];
    t.scores = (float *)call->scratch;
    return t;
}

enum { QUERY, KEY, VALUE };

/* Where q, k or v of a token lies in a head. */
static __device__ __forceinline__ const float *part_of(const tensors *t, int which, int row,
                                                       int head)
{
    return t->qkv + (((size_t)row * 3 + which) * t->heads + head) * t->width;
}

/* The first token of a token's segment. */
static __device__ __forceinline__ int first_of(const tensors *t, int row)
{
    return row / t->length * t->length;
}

static size_t scores_of(const tensors *t) { return (size_t)t->rows * t->heads * t->length; }

static size_t room_for_scores(const node *n)
{
    const size_t segments = n->in[1]->dim[0] - 1;
    return pith_size(pith_result((node *)n, 1)) * (n->in[0]->dim[0] / segments) * sizeof(float);
}

/* ---- 1: the formula, three kernels, a thread a number ---- */

/* A thread makes a score: it asks for a row of q and one of k, 8 width = 512 bytes, and writes 4. A
 * thread makes a result: of each score it asks for 4 bytes and for 4 of v, and as a row has width
 * results, a score costs 8 width = 512 bytes again. In between a thread a row makes the softmax,
 * for 20 bytes a score. 1,048 bytes a score, where 2 would do. (The table also has what comes
 * once a query: half a byte a score for y, and as much for q in rungs 3 to 5.)
 *
 * Threads that are neighbours in a warp have neighbouring keys. q is one address for all of them,
 * but rows of k lie 12 heads width bytes apart, and a load touches 32 sectors. Results are better:
 * there neighbours are columns. And what passes through memory for certain: scores are written
 * three times, 537 MB each time at the timed size, where all of q, k, v and y are 268. */
static __global__ void __launch_bounds__(THREADS) score_by_thread(tensors t, size_t count)
{
    const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= count) return;
    const int key = (int)(at % t.length), head = (int)(at / t.length % t.heads),
              row = (int)(at / t.length / t.heads);
    const float *q = part_of(&t, QUERY, row, head),
                *k = part_of(&t, KEY, first_of(&t, row) + key, head);
    float score = 0;
    for (int c = 0; c < t.width; c++) score += q[c] * k[c];
    t.scores[at] = score * t.scale;
}

static __global__ void __launch_bounds__(THREADS) softmax_by_thread(tensors t)
{
    const int at = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (at >= t.rows * t.heads) return;
    float *score = t.scores + (size_t)at * t.length, max = -FLT_MAX, sum = 0;
    for (int k = 0; k < t.length; k++) max = fmaxf(max, score[k]);
    for (int k = 0; k < t.length; k++) sum += score[k] = expf(score[k] - max);
    for (int k = 0; k < t.length; k++) score[k] /= sum;
    t.lse[at] = max + logf(sum);
}

static __global__ void __launch_bounds__(THREADS) result_by_thread(tensors t)
{
    const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= (size_t)t.rows * t.heads * t.width) return;
    const int column = (int)(at % t.width), head = (int)(at / t.width % t.heads),
              row = (int)(at / t.width / t.heads), first = first_of(&t, row);
    const float *p = t.scores + ((size_t)row * t.heads + head) * t.length;
    float sum = 0;
    for (int k = 0; k < t.length; k++) sum += p[k] * part_of(&t, VALUE, first + k, head)[column];
    t.y[at] = sum;
}

static bool launch_1(const pith_call *call)
{
    const tensors t = tensors_of(call);
    const size_t scores = scores_of(&t), queries = (size_t)t.rows * t.heads;
    return PITH_LAUNCH(call, score_by_thread, blocks_of(scores, THREADS), THREADS, 0, t, scores) &&
           PITH_LAUNCH(call, softmax_by_thread, blocks_of(queries, THREADS), THREADS, 0, t) &&
           PITH_LAUNCH(call, result_by_thread, blocks_of(queries * t.width, THREADS), THREADS, 0,
                       t);
}

/* ---- 2: tiles in shared memory ---- */

/* The matrix product of every textbook. A block has a tile of 16 x 16 scores. It fetches 16 columns
 * of 16 queries and of 16 keys, neighbours by neighbours, into shared memory, where each number is
 * used 16 times, and so on along the width: 2 x 16 x width floats for 256 scores are width / 2 = 32
 * bytes a score, a sixteenth of rung 1's 512. For results the same: 16 queries x 16 columns, a tile
 * of weights and one of v at a time, 2 x 16 x 16 floats for each of width / 16 tiles of columns:
 * again width / 2 bytes a score. The softmax has a warp a row, for 12 bytes (softmax.cu). With the
 * score's own writing: 80 bytes a score, not 1,048.
 *
 * A row of a tile takes 17 floats, not 16. Shared memory has 32 banks, in turn 4 bytes each, and a
 * bank gives one number at a time. In a tile of keys a half warp reads 16 rows at one column: 16
 * floats apart they would lie in 2 banks, 17 apart in 16.
 *
 * What is left: two loads from shared memory for each multiply-add, and scores in memory: written,
 * read, written again, and read by each tile of columns. */
enum { TILE = 16 };

/* Rows of q, k or v, columns from `column` on, into a tile; zeros behind them. One each a thread.
 */
static __device__ __forceinline__ void fetch(const tensors *t, int which, int row, int end,
                                             int head, int column, float *tile)
{
    const int i = (int)threadIdx.x / TILE, j = (int)threadIdx.x % TILE;
    tile[i * (TILE + 1) + j] = row + i < end && column + j < t->width
                                   ? part_of(t, which, row + i, head)[column + j]
                                   : 0;
}

/* The grid is (tiles of keys, tiles of queries of a segment, segments x heads). */
static __global__ void __launch_bounds__(TILE *TILE) score_tiles(tensors t)
{
    PITH_SHARED_ARRAY(float, q, TILE *(TILE + 1));
    PITH_SHARED_ARRAY(float, k, TILE *(TILE + 1));
    const int i = (int)threadIdx.x / TILE, j = (int)threadIdx.x % TILE;
    const int head = (int)blockIdx.z % t.heads, first = (int)blockIdx.z / t.heads * t.length,
              end = first + t.length;
    const int row = first + (int)blockIdx.y * TILE, key = (int)blockIdx.x * TILE;
    float score = 0;
    for (int column = 0; column < t.width; column += TILE) {
        fetch(&t, QUERY, row, end, head, column, q);
        fetch(&t, KEY, first + key, end, head, column, k);
        __syncthreads();
        for (int c = 0; c < TILE; c++) score += q[i * (TILE + 1) + c] * k[j * (TILE + 1) + c];
        __syncthreads();
    }
    if (row + i < end && key + j < t.length)
        t.scores[((size_t)(row + i) * t.heads + head) * t.length + key + j] = score * t.scale;
}

static __global__ void __launch_bounds__(THREADS) softmax_by_warp(tensors t)
{
    const size_t at = team_row<WARP>();
    if (at >= (size_t)t.rows * t.heads) return;
    float *score = t.scores + at * t.length, max;
    const float sum = team_exp_sum<WARP>(score, t.length, &max);
    for (int k = (int)threadIdx.x % WARP; k < t.length; k += WARP)
        score[k] = expf(score[k] - max) / sum;
    if (threadIdx.x % WARP == 0) t.lse[at] = max + logf(sum);
}

/* The grid is (tiles of columns, tiles of queries of a segment, segments x heads). */
static __global__ void __launch_bounds__(TILE *TILE) result_tiles(tensors t)
{
    PITH_SHARED_ARRAY(float, p, TILE *(TILE + 1));
    PITH_SHARED_ARRAY(float, v, TILE *(TILE + 1));
    const int i = (int)threadIdx.x / TILE, j = (int)threadIdx.x % TILE;
    const int head = (int)blockIdx.z % t.heads, first = (int)blockIdx.z / t.heads * t.length,
              end = first + t.length;
    const int row = first + (int)blockIdx.y * TILE + i, column = (int)blockIdx.x * TILE;
    float sum = 0;
    for (int key = 0; key < t.length; key += TILE) {
        p[i * (TILE + 1) + j] = row < end && key + j < t.length
                                    ? t.scores[((size_t)row * t.heads + head) * t.length + key + j]
                                    : 0;
        fetch(&t, VALUE, first + key, end, head, column, v);
        __syncthreads();
        for (int k = 0; k < TILE; k++) sum += p[i * (TILE + 1) + k] * v[k * (TILE + 1) + j];
        __syncthreads();
    }
    if (row < end && column + j < t.width)
        t.y[((size_t)row * t.heads + head) * t.width + column + j] = sum;
}

static bool launch_2(const pith_call *call)
{
    const tensors t = tensors_of(call);
    const unsigned tiles = blocks_of(t.length, TILE), pairs = t.rows / t.length * t.heads;
    const dim3 scores(tiles, tiles, pairs), results(blocks_of(t.width, TILE), tiles, pairs);
    return PITH_LAUNCH(call, score_tiles, scores, TILE * TILE, 0, t) &&
           PITH_LAUNCH(call, softmax_by_warp, blocks_of((size_t)t.rows * t.heads, THREADS / WARP),
                       THREADS, 0, t) &&
           PITH_LAUNCH(call, result_tiles, results, TILE * TILE, 0, t);
}

/* ---- 3: no score in memory, a warp a query ---- */

/* The softmax "online" once more (softmax.cu, rung 4), now with a row of v in each term: when a
 * larger score comes, what has been gathered is scaled down with the sum. So a score is used up at
 * once, and one kernel does all; memory moves q, k, v and y, and no scratch is wanted.
 *
 * But keys are used by one query alone. Asked for are 8 width = 512 bytes a score, six times rung
 * 2's, though of a segment's 256 KiB of k and v in a head, which caches have. And a score is a sum
 * over lanes: 2 multiply-adds a lane, then 5 shuffles and 5 additions, then two exponentials, which
 * all 32 lanes make alike. Most of the work is not the product. */
static __global__ void __launch_bounds__(THREADS) warp_a_query(tensors t)
{
    const int at = (int)team_row<WARP>(), lane = (int)threadIdx.x % WARP;
    if (at >= t.rows * t.heads) return;
    const int row = at / t.heads, head = at % t.heads, first = first_of(&t, row);
    const float *q = part_of(&t, QUERY, row, head);
    const bool low = lane < t.width, high = lane + WARP < t.width; /* two columns a lane */
    const float q0 = low ? q[lane] : 0, q1 = high ? q[lane + WARP] : 0;
    float max = -FLT_MAX, sum = 0, y0 = 0, y1 = 0;
    for (int key = first; key < first + t.length; key++) {
        const float *k = part_of(&t, KEY, key, head), *v = part_of(&t, VALUE, key, head);
        const float product = (low ? q0 * k[lane] : 0) + (high ? q1 * k[lane + WARP] : 0);
        const float score = warp_sum(product) * t.scale, higher = fmaxf(max, score);
        const float keep = expf(max - higher), weight = expf(score - higher);
        max = higher, sum = sum * keep + weight;
        y0 = y0 * keep + weight * (low ? v[lane] : 0);
        y1 = y1 * keep + weight * (high ? v[lane + WARP] : 0);
    }
    float *y = t.y + (size_t)at * t.width;
    if (low) y[lane] = y0 / sum;
    if (high) y[lane + WARP] = y1 / sum;
    if (lane == 0) t.lse[at] = max + logf(sum);
}

static bool launch_3(const pith_call *call)
{
    const tensors t = tensors_of(call);
    return PITH_LAUNCH(call, warp_a_query, blocks_of((size_t)t.rows * t.heads, THREADS / WARP),
                       THREADS, 0, t);
}

/* ---- 4: a thread a query, keys shared by a block ---- */

/* A block has 64 queries, one a thread, whose q and y stay in registers, 64 + 64. Keys and values
 * pass through shared memory, 32 at a time, 16 KiB, fetched once for 64 queries: 512 / 64 = 8 bytes
 * a score. No shuffles: a thread's score is its own. All threads of a warp read the same number of
 * a key, which shared memory gives to all of them at once, and four numbers by one instruction: a
 * load for 4 multiply-adds, where rung 2 had 8 loads for them.
 *
 * Scaling y down at each key would cost 64 products beside the key's 128 multiply-adds. So 8 scores
 * are made first, and y is scaled once for them.
 *
 * The price: 215 registers a thread (nvcc 13 for sm_90), of 65,536: a processor holds 4 blocks, 8
 * warps of the 64 it has room for, few to hide behind. And still a quarter of a load for each
 * multiply-add, where an H100's processor can begin 4 warps' multiply-adds in a cycle, but one
 * warp's load. */
enum { QUERIES = 64, KEYS = 32, GROUP = 8, FOURS = MOST_COLUMNS / 4 };

/* KEYS rows of k or v, zeros behind the last row and column, four neighbours a thread. */
static __device__ __forceinline__ void fetch_rows(const tensors *t, int which, int row, int count,
                                                  int head, float4 *to)
{
    for (int i = (int)threadIdx.x; i < KEYS * FOURS; i += QUERIES) {
        const int part = i % FOURS;
        to[i] = i / FOURS < count && 4 * part < t->width
                    ? ((const float4 *)part_of(t, which, row + i / FOURS, head))[part]
                    : make_float4(0, 0, 0, 0);
    }
}

/* The grid is (blocks of queries of a segment, segments x heads). */
static __global__ void __launch_bounds__(QUERIES) thread_a_query(tensors t)
{
    PITH_SHARED_ARRAY(float4, keys, KEYS * FOURS);
    PITH_SHARED_ARRAY(float4, values, KEYS * FOURS);
    const int head = (int)blockIdx.y % t.heads, first = (int)blockIdx.y / t.heads * t.length;
    const int query = (int)(blockIdx.x * QUERIES + threadIdx.x);
    const bool there = query < t.length;
    const float4 *from = (const float4 *)part_of(&t, QUERY, first + (there ? query : 0), head);
    float4 q[FOURS], y[FOURS];
    for (int c = 0; c < FOURS; c++) {
        y[c] = q[c] = make_float4(0, 0, 0, 0);
        if (4 * c < t.width) q[c] = from[c];
    }
    float max = -FLT_MAX, sum = 0;
    for (int key = 0; key < t.length; key += KEYS) {
        const int count = t.length - key < KEYS ? t.length - key : KEYS;
        __syncthreads(); /* who read the keys before has done so */
        fetch_rows(&t, KEY, first + key, count, head, keys);
        fetch_rows(&t, VALUE, first + key, count, head, values);
        __syncthreads();
        for (int group = 0; group < count; group += GROUP) {
            float score[GROUP], higher = max;
            for (int g = 0; g < GROUP; g++) {
                const float4 *k = keys + (group + g) * FOURS;
                float product = 0;
                for (int c = 0; c < FOURS; c++)
                    product += q[c].x * k[c].x + q[c].y * k[c].y +
                               (q[c].z * k[c].z + q[c].w * k[c].w);
                score[g] = group + g < count ? product * t.scale : -FLT_MAX;
                higher = fmaxf(higher, score[g]);
            }
            const float keep = expf(max - higher);
            max = higher, sum *= keep;
            for (int c = 0; c < FOURS; c++)
                y[c].x *= keep, y[c].y *= keep, y[c].z *= keep, y[c].w *= keep;
            for (int g = 0; g < GROUP; g++) {
                const float4 *v = values + (group + g) * FOURS;
                const float weight = expf(score[g] - max); /* 0 behind the last key */
                sum += weight;
                for (int c = 0; c < FOURS; c++)
                    y[c].x += weight * v[c].x, y[c].y += weight * v[c].y, y[c].z += weight * v[c].z,
                        y[c].w += weight * v[c].w;
            }
        }
    }
    if (!there) return;
    const size_t at = (size_t)(first + query) * t.heads + head;
    float4 *to = (float4 *)(t.y + at * t.width);
    for (int c = 0; c < FOURS; c++)
        if (4 * c < t.width)
            to[c] = make_float4(y[c].x / sum, y[c].y / sum, y[c].z / sum, y[c].w / sum);
    t.lse[at] = max + logf(sum);
}

static bool launch_4(const pith_call *call)
{
    const tensors t = tensors_of(call);
    const dim3 grid(blocks_of(t.length, QUERIES), t.rows / t.length * t.heads);
    return PITH_LAUNCH(call, thread_a_query, grid, QUERIES, 0, t);
}

/* ---- 5: cuda/attention.cu ---- */

/* A tile of 64 queries x 64 keys, and of it 8 x 4 scores a thread. For each four columns a thread
 * loads 8 queries' and 4 keys', 12 loads of 16 bytes, and makes 8 x 4 x 4 = 128 multiply-adds of
 * them: more than 10 a load, where rung 4 has 4 and rung 2 a half. The sides of a thread's tile add
 * up, its area multiplies: that is all there is to fast products, and tensor cores are the same
 * once more.
 *
 * It asks for more than rung 4: q, k and v of each tile pass through shared memory, 3 x 64 x 64
 * floats for 4,096 scores, 12 bytes a score. These are cache's, and against 256 operations nothing
 * counts less. Its registers hold 32 scores and 32 results a thread, not 128 numbers, and three
 * blocks of 128 threads fit on a processor. Weights go to the second product through shared memory,
 * since the thread that makes them is not the one that needs them.
 *
 * What the limits above hid is there, too: segments of any length, found on the device, causal
 * masks, any width, by slices. */

static node *make(pith_graph *g, const int *size)
{
    const int segments = size[0], length = size[1];
    int *offsets = (int *)pith_alloc(g, (segments + 1) * sizeof *offsets);
    for (int s = 0; offsets && s <= segments; s++) offsets[s] = s * length;
    return pith_attention(pith_sample(g, -2, 2, segments * length, 3, size[2], size[3]),
                          pith_const_array(g, PITH_I32, offsets, segments + 1), false);
}

static double scores(const int *size) { return (double)size[0] * size[1] * size[1] * size[2]; }

const ladder ladder_attention = {
    "attention",
    "segments, tokens, heads, columns",
    { { 2, 37, 2, 20 }, { 1, 70, 1, 64 }, { 3, 5, 2, 36 } },
    { 1, 512, 1, 64 },
    { 64, 512, 8, 64 },
    "a score",
    scores,
    2,
    256,
    make,
    { { "scores in memory, a thread a number", launch_1, 1048.5, room_for_scores },
      { "tiles in shared memory", launch_2, 80.5, room_for_scores },
      { "no score in memory, a warp a query", launch_3, 513, NULL },
      { "a thread a query, keys shared by a block", launch_4, 9, NULL },
      { "cuda/attention.cu", page_launch, 12.6, page_scratch } }
};
