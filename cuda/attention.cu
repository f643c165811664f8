/* attention.cu: a block of threads has a block of queries in one head and meets the keys of their
 * segment tile by tile. Scores become weights at once, relative to the largest so far of their row;
 * where a later tile has a larger one, what was gathered is scaled down (softmax "online"). No
 * score goes to memory. The grid knows shapes alone, and which block has which queries is found by
 * work_of (attention.h). Pooled attention: a block a query, whose warps do the same key by key. */
#include "attention_mma.h"

template <class T, int EACH>
static __global__ void __launch_bounds__(THREADS, BLOCKS)
    attend(attention x, const int *bound, const T *qkv, T *y, float *lse)
{
    PITH_SHARED_ARRAY(quad, tile, 2 * SLICE_TILE);
    PITH_SHARED_ARRAY(quad, weight, WHOLE_TILE);
    const work w = work_of(&x, bound, LANES * EACH);
    if (w.count <= 0) return;
    const size_t out = (size_t)x.heads * (size_t)x.width, row = 3 * out;
    const T *q = qkv + (size_t)w.head * (size_t)x.width, *k = q + out, *v = k + out;
    const side<T> queries = { q + (size_t)w.begin * row, row, w.count };
    const int key_end = key_end_of(x.causal, &w);

    float sum[ROWS_EACH], max[ROWS_EACH], gathered[ROWS_EACH][EACH];
    for (int i = 0; i < ROWS_EACH; i++) {
        max[i] = MASKED, sum[i] = 0;
        for (int e = 0; e < EACH; e++) gathered[i][e] = 0;
    }
    for (int key = w.first; key < key_end; key += TILE) {
        const int count = key_end - key < TILE ? key_end - key : TILE;
        const side<T> keys = { k + (size_t)key * row, row, count },
                      values = { v + (size_t)key * row, row, count };
        const int columns = columns_of(x.causal, &w, key, count);
        float score[ROWS_EACH][COLUMNS_EACH];
        products(score, queries, keys, columns, x.width, tile);
        for (int i = 0; columns > 0 && i < ROWS_EACH; i++) {
            const int valid = seen(x.causal, w.begin + row_of(i), key, count);
            float high = max[i];
            for (int j = 0; j < COLUMNS_EACH; j++)
                if (column_of(j) < valid) high = fmaxf(high, score[i][j] * x.scale);
            high = warp_max<LANES>(high);
            const float keep = expf(max[i] - high);
            max[i] = high, sum[i] *= keep;
            for (int e = 0; e < EACH; e++) gathered[i][e] *= keep;
            for (int j = 0; j < COLUMNS_EACH; j++) {
                const float p = column_of(j) < valid ? expf(score[i][j] * x.scale - high) : 0;
                *weight_at(weight, row_of(i), column_of(j)) = p;
                sum[i] += p; /* of this lane's keys alone, for now */
            }
        }
        add_weighted<EACH>(gathered, weight, columns, values, w.column, x.width, tile);
    }
    for (int i = 0; i < ROWS_EACH; i++) {
        const float all = warp_sum<LANES>(sum[i]);
        const float share = all == 0 ? 0 : 1 / all; /* without a key, zeros */
        for (int e = 0; e < EACH; e++) gathered[i][e] *= share;
        if (row_of(i) < w.count && w.column == 0 && column_of(0) == 0)
            lse[(size_t)(w.begin + row_of(i)) * (size_t)x.heads + (size_t)w.head] =
                all == 0 ? 0 : max[i] + logf(all);
    }
    store<EACH>(gathered, y + (size_t)w.begin * out + (size_t)w.head * (size_t)x.width, out,
                w.count, w.column, x.width);
}

/* ---- the same by tensor cores ---- */

/* What a lane has of its two rows. `max` is of products, which are scores once they are scaled. */
template <int WIDTH> struct gathering {
    float max[2], sum[2];
    gathered_rows<WIDTH> values;
};

/* Own queries meet the first GROUPS groups of `count` keys, which begin `ahead` rows before them.
 */
template <int GROUPS, int WIDTH>
static __device__ __forceinline__ void meet(gathering<WIDTH> &own, const own_rows<WIDTH> &queries,
                                            const quad *keys, const attention &x, int ahead,
                                            int count)
{
    const quad *values = keys + room_of_tile<WIDTH>;
    group_products score[GROUPS];
    for (int j = 0; j < GROUPS; j++)
        multiply_rows(score[j], queries, keys + j * room_of_group<WIDTH>);
    for (int i = 0; i < 2; i++) {
        const int valid = seen(x.causal, own_row(i) + ahead, 0, count);
        if (valid != GROUP * GROUPS)
            for (int j = 0; j < GROUPS; j++)
                for (int e = 0; e < 4; e++)
                    if (GROUP * j + own_column(e) >= valid) entry(score[j], i, e) = MASKED;
        float high = own.max[i];
        for (int j = 0; j < GROUPS; j++)
            for (int e = 0; e < 4; e++) high = fmaxf(high, entry(score[j], i, e));
        high = warp_max<4>(high);
        const float keep = expf((own.max[i] - high) * x.scale);
        own.max[i] = high, own.sum[i] *= keep;
        for (int n = 0; n < WIDTH / 8; n++)
            for (int e = 0; e < 2; e++) own.values.at[n][2 * i + e] *= keep;
        for (int j = 0; j < GROUPS; j++)
            for (int e = 0; e < 4; e++) {
                float &p = entry(score[j], i, e);
                p = expf(p * x.scale - high * x.scale);
                own.sum[i] += p; /* of this lane's keys alone, for now */
            }
    }
    for (int j = 0; j < GROUPS; j++)
        add_weighted_rows(own.values, score[j], values + j * room_of_group<WIDTH>);
}

template <int WIDTH>
static __global__ void __launch_bounds__(THREADS, MMA_BLOCKS)
    attend_mma(attention x, const int *bound, const bf16 *qkv, bf16 *y, float *lse)
{
    PITH_SHARED_ARRAY(quad, tiles, 4 * room_of_tile<WIDTH>);
    const work w = work_of(&x, bound, WIDTH);
    if (w.count <= 0) return;
    const size_t out = (size_t)x.heads * WIDTH, row = 3 * out;
    const bf16 *q = qkv + (size_t)w.head * WIDTH, *k = q + out;
    const both keys = { k, k + out, row, row };
    const int key_end = key_end_of(x.causal, &w);
    quad *tile = tiles, *next = tiles + 2 * room_of_tile<WIDTH>;

    /* the queries lie where the second tile will */
    fetch<WIDTH>(q + (size_t)w.begin * row, row, w.count, next);
    fetch_both<WIDTH>(&keys, w.first, key_end, tile);
    copy_async_wait<0>();
    __syncthreads();
    own_rows<WIDTH> queries = {};
    if (warp_row() < w.count) queries = own_rows_of<WIDTH>(next);
    gathering<WIDTH> own = { { MASKED, MASKED }, {}, {} };
    for (int key = w.first; key < key_end; key += TILE) {
        copy_async_wait<0>();
        __syncthreads(); /* the tile is there, and what lay in the other has been read */
        fetch_both<WIDTH>(&keys, key + TILE, key_end, next);
        const int count = key_end - key < TILE ? key_end - key : TILE;
        const int columns = columns_of(x.causal, &w, key, count);
        if (columns > 3 * GROUP) meet<4>(own, queries, tile, x, w.begin - key, count);
        else if (columns > 2 * GROUP) meet<3>(own, queries, tile, x, w.begin - key, count);
        else if (columns > GROUP) meet<2>(own, queries, tile, x, w.begin - key, count);
        else if (columns > 0) meet<1>(own, queries, tile, x, w.begin - key, count);
        turn(tile, next);
    }
    float share[2];
    for (int i = 0; i < 2; i++) {
        const float all = warp_sum<4>(own.sum[i]);
        share[i] = all == 0 ? 0 : 1 / all; /* without a key, zeros */
        if (own_row(i) < w.count && own_column(0) == 0)
            lse[(size_t)(w.begin + own_row(i)) * (size_t)x.heads + (size_t)w.head] =
                all == 0 ? 0 : own.max[i] * x.scale + logf(all);
    }
    store_rows(own.values, share[0], share[1], y + (size_t)w.begin * out + (size_t)w.head * WIDTH,
               out, w.count);
}

/* ---- launches ---- */

/* columns: of a head, that a block of threads has at most */
template <class T>
static bool launch(const pith_call *call, int columns,
                   void (*kernel)(attention, const int *, const T *, T *, float *))
{
    const node *n = call->n;
    const attention x = attention_of(n->in[0], n->in[1], columns, is_causal(n));
    return find_bounds(call, &x, call->in[1]) &&
           PITH_LAUNCH(call, kernel, blocks_for(&x), THREADS, 0, x, (const int *)call->scratch,
                       (const T *)call->in[0], (T *)call->out[0], (float *)call->out[1]);
}

PITH_CUDA_SCRATCH(attention) { return bounds_bytes(n->in[1]); }

PITH_CUDA_KERNEL(attention)
{
    const bool wide = call->n->in[0]->dim[3] > 2 * LANES;
    if (call->n->dtype != PITH_BF16)
        return wide ? launch<float>(call, 4 * LANES, attend<float, 4>)
                    : launch<float>(call, 2 * LANES, attend<float, 2>);
    if (suits_mma(call->n->in[0], call->in[0], NULL))
        return wide ? launch<bf16>(call, 64, attend_mma<64>)
                    : launch<bf16>(call, 32, attend_mma<32>);
    return wide ? launch<bf16>(call, 4 * LANES, attend<bf16, 4>)
                : launch<bf16>(call, 2 * LANES, attend<bf16, 2>);
}

/* ---- one query a segment ---- */

template <class T>
static __global__ void __launch_bounds__(POOLED_WARPS *WARP)
    attend_pooled(attention x, const int *bound, const T *q, const T *kv, T *y, float *lse)
{
    PITH_SHARED_ARRAY(float, maxima, POOLED_WARPS);
    PITH_SHARED_ARRAY(float, sums, POOLED_WARPS);
    PITH_SHARED_ARRAY(float, gatherings, POOLED_WARPS *PARTS *WARP);
    const work w = pooled_work_of(&x, bound);
    const size_t out = (size_t)x.heads * (size_t)x.width;
    const int thread = (int)threadIdx.x, warp = thread / WARP, lane = thread % WARP;
    q += (size_t)w.begin * out + (size_t)w.head * (size_t)x.width;
    kv += (size_t)w.head * (size_t)x.width;
    float max = MASKED, sum = 0, gathered[PARTS] = { 0 };
    for (int key = w.first + warp; key < w.end; key += POOLED_WARPS) {
        const T *k = kv + (size_t)key * 2 * out, *v = k + out;
        float value[PARTS]; /* asked for before the score is waited for */
        for (int i = 0; i < PARTS; i++) {
            const int c = w.column + lane + i * WARP;
            value[i] = c < x.width ? to_float(v[c]) : 0;
        }
        const float score = warp_dot(q, k, x.width) * x.scale, high = fmaxf(max, score);
        const float keep = expf(max - high), p = expf(score - high);
        max = high, sum = sum * keep + p;
        for (int i = 0; i < PARTS; i++) gathered[i] = gathered[i] * keep + p * value[i];
    }
    if (lane == 0) maxima[warp] = max, sums[warp] = sum;
    for (int i = 0; i < PARTS; i++) gatherings[(warp * PARTS + i) * WARP + lane] = gathered[i];
    __syncthreads();
    if (thread >= PARTS * WARP) return; /* from here on a thread is a column */
    float all = 0, result = 0;
    max = MASKED;
    for (int k = 0; k < POOLED_WARPS; k++) max = fmaxf(max, maxima[k]);
    for (int k = 0; k < POOLED_WARPS; k++) {
        const float keep = expf(maxima[k] - max);
        all += sums[k] * keep;
        result += gatherings[k * PARTS * WARP + thread] * keep;
    }
    const size_t pair = (size_t)w.begin * (size_t)x.heads + (size_t)w.head;
    if (w.column + thread < x.width)
        from_float(all == 0 ? 0 : result / all,
                   &y[pair * (size_t)x.width + (size_t)(w.column + thread)]);
    if (w.column + thread == 0) lse[pair] = all == 0 ? 0 : max + logf(all);
}

template <class T> static bool launch_pooled(const pith_call *call)
{
    const node *n = call->n;
    const attention x = attention_of(n->in[1], n->in[2], PARTS * WARP, false);
    const unsigned blocks = (unsigned)x.segments * (unsigned)x.heads * (unsigned)x.slices;
    return find_bounds(call, &x, call->in[2]) &&
           PITH_LAUNCH(call, attend_pooled<T>, blocks, POOLED_WARPS * WARP, 0, x,
                       (const int *)call->scratch, (const T *)call->in[0], (const T *)call->in[1],
                       (T *)call->out[0], (float *)call->out[1]);
}

PITH_CUDA_SCRATCH(pooled_attention) { return bounds_bytes(n->in[2]); }

PITH_CUDA_KERNEL(pooled_attention)
{
    return call->n->dtype == PITH_BF16 ? launch_pooled<bf16>(call) : launch_pooled<float>(call);
}
