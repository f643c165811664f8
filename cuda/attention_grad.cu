/* attention_grad.cu: the weights p are made again from the log-sum-exp of each row, tile by tile.
 * With d = sum(dy * y) of each query, found by a launch of its own, the gradient of a score is
 * p (dy v - d). Blocks of queries gather their gradients over the keys they see, blocks of keys
 * over the queries that see them: scores are made twice, but nothing is added up in memory, so that
 * the order of all sums is fixed. */
#include "attention_mma.h"

/* d, (queries, heads): a warp each. */
template <class T>
static __global__ void __launch_bounds__(THREADS)
    row_products(size_t rows, int width, const T *y, const T *dy, float *d)
{
    const size_t row = (size_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;
    const float sum = warp_dot(y + row * (size_t)width, dy + row * (size_t)width, width);
    if (threadIdx.x % WARP == 0) d[row] = sum;
}

/* Inputs, beside q, k and v. */
template <class T> struct made {
    const float *lse, *d;
    const T *dy;
};

template <class T, int EACH>
static __global__ void __launch_bounds__(THREADS, BLOCKS)
    gradient_of_queries(attention x, const int *bound, const T *qkv, made<T> m, T *dqkv)
{
    PITH_SHARED_ARRAY(quad, tile, 2 * SLICE_TILE);
    PITH_SHARED_ARRAY(quad, weight, WHOLE_TILE);
    const work w = work_of(&x, bound, LANES * EACH);
    if (w.count <= 0) return;
    const size_t head = (size_t)w.head * (size_t)x.width;
    const size_t out = (size_t)x.heads * (size_t)x.width, row = 3 * out;
    const T *k = qkv + head + out, *v = k + out;
    const side<T> queries = { qkv + head + (size_t)w.begin * row, row, w.count };
    const side<T> dy = { m.dy + head + (size_t)w.begin * out, out, w.count };
    const int key_end = key_end_of(x.causal, &w);

    float lse[ROWS_EACH], d[ROWS_EACH], dq[ROWS_EACH][EACH];
    for (int i = 0; i < ROWS_EACH; i++) {
        const size_t at = (size_t)(w.begin + row_of(i)) * (size_t)x.heads + (size_t)w.head;
        lse[i] = row_of(i) < w.count ? m.lse[at] : 0;
        d[i] = row_of(i) < w.count ? m.d[at] : 0;
        for (int e = 0; e < EACH; e++) dq[i][e] = 0;
    }
    for (int key = w.first; key < key_end; key += TILE) {
        const int count = key_end - key < TILE ? key_end - key : TILE;
        const side<T> keys = { k + (size_t)key * row, row, count },
                      values = { v + (size_t)key * row, row, count };
        const int columns = columns_of(x.causal, &w, key, count);
        float product[ROWS_EACH][COLUMNS_EACH];
        products(product, queries, keys, columns, x.width, tile);
        for (int i = 0; columns > 0 && i < ROWS_EACH; i++) {
            const int valid = seen(x.causal, w.begin + row_of(i), key, count);
            for (int j = 0; j < COLUMNS_EACH; j++)
                *weight_at(weight, row_of(i), column_of(j)) =
                    column_of(j) < valid ? expf(product[i][j] * x.scale - lse[i]) : 0;
        }
        products(product, dy, values, columns, x.width, tile);
        for (int i = 0; columns > 0 && i < ROWS_EACH; i++)
            for (int j = 0; j < COLUMNS_EACH; j++) /* the thread's own: no barrier */
                *weight_at(weight, row_of(i), column_of(j)) *= (product[i][j] - d[i]) * x.scale;
        add_weighted<EACH>(dq, weight, columns, keys, w.column, x.width, tile);
    }
    store<EACH>(dq, dqkv + head + (size_t)w.begin * row, row, w.count, w.column, x.width);
}

/* The same with rows and columns exchanged: a block's rows are keys, it meets queries. */
template <class T, int EACH>
static __global__ void __launch_bounds__(THREADS, BLOCKS)
    gradient_of_keys(attention x, const int *bound, const T *qkv, made<T> m, T *dqkv)
{
    PITH_SHARED_ARRAY(quad, tile, 2 * SLICE_TILE);
    PITH_SHARED_ARRAY(quad, weight, WHOLE_TILE);
    const work w = work_of(&x, bound, LANES * EACH);
    if (w.count <= 0) return;
    const size_t head = (size_t)w.head * (size_t)x.width;
    const size_t out = (size_t)x.heads * (size_t)x.width, row = 3 * out;
    const T *q = qkv + head, *k = q + (size_t)w.begin * row + out;
    const side<T> keys = { k, row, w.count }, values = { k + out, row, w.count };

    float dk[ROWS_EACH][EACH], dv[ROWS_EACH][EACH];
    for (int i = 0; i < ROWS_EACH; i++)
        for (int e = 0; e < EACH; e++) dk[i][e] = dv[i][e] = 0;
    /* no earlier query sees these keys if it is causal */
    for (int query = x.causal ? w.begin : w.first; query < w.end; query += TILE) {
        const int count = w.end - query < TILE ? w.end - query : TILE;
        const int columns = warp_row() < w.count ? count : 0;
        const side<T> queries = { q + (size_t)query * row, row, count },
                      dy = { m.dy + head + (size_t)query * out, out, count };
        float lse[COLUMNS_EACH], d[COLUMNS_EACH], product[ROWS_EACH][COLUMNS_EACH];
        for (int j = 0; j < COLUMNS_EACH; j++) {
            const size_t at = (size_t)(query + column_of(j)) * (size_t)x.heads + (size_t)w.head;
            lse[j] = column_of(j) < count ? m.lse[at] : 0;
            d[j] = column_of(j) < count ? m.d[at] : 0;
        }
        products(product, keys, queries, columns, x.width, tile);
        for (int i = 0; columns > 0 && i < ROWS_EACH; i++)
            for (int j = 0; j < COLUMNS_EACH; j++) {
                /* behind the last query weights meet zeros of dy and of q */
                const bool valid = !x.causal || w.begin + row_of(i) <= query + column_of(j);
                *weight_at(weight, row_of(i),
                           column_of(j)) = valid ? expf(product[i][j] * x.scale - lse[j]) : 0;
            }
        add_weighted<EACH>(dv, weight, columns, dy, w.column, x.width, tile);
        products(product, values, dy, columns, x.width, tile);
        for (int i = 0; columns > 0 && i < ROWS_EACH; i++)
            for (int j = 0; j < COLUMNS_EACH; j++)
                *weight_at(weight, row_of(i), column_of(j)) *= (product[i][j] - d[j]) * x.scale;
        add_weighted<EACH>(dk, weight, columns, queries, w.column, x.width, tile);
    }
    T *to = dqkv + head + (size_t)w.begin * row;
    store<EACH>(dk, to + out, row, w.count, w.column, x.width);
    store<EACH>(dv, to + 2 * out, row, w.count, w.column, x.width);
}

/* ---- the same by tensor cores ---- */

/* What a block has of two tensors. */
template <int WIDTH> struct own_both {
    own_rows<WIDTH> a, b;
};

/* A block begins: its rows of both `own` pass through the room of the second tile while the first
 * one, of rows [first, end) of `met`, is on its way. */
template <int WIDTH>
static __device__ __forceinline__ own_both<WIDTH> begin(const both *own, const work *w,
                                                        const both *met, int first, int end,
                                                        quad *tile, quad *next)
{
    own_both<WIDTH> rows = {};
    fetch_both<WIDTH>(own, w->begin, w->begin + w->count, next);
    fetch_both<WIDTH>(met, first, end, tile);
    copy_async_wait<0>();
    __syncthreads();
    if (warp_row() >= w->count) return rows;
    rows.a = own_rows_of<WIDTH>(next);
    rows.b = own_rows_of<WIDTH>(next + room_of_tile<WIDTH>);
    return rows;
}

template <int WIDTH>
static __global__ void __launch_bounds__(THREADS, MMA_BLOCKS)
    gradient_of_queries_mma(attention x, const int *bound, const bf16 *qkv, made<bf16> m,
                            bf16 *dqkv)
{
    PITH_SHARED_ARRAY(quad, tiles, 4 * room_of_tile<WIDTH>);
    const work w = work_of(&x, bound, WIDTH);
    if (w.count <= 0) return;
    const size_t head = (size_t)w.head * WIDTH, out = (size_t)x.heads * WIDTH, row = 3 * out;
    const bf16 *q = qkv + head, *k = q + out;
    const both queries = { q, m.dy + head, row, out }, keys = { k, k + out, row, row };
    const int key_end = key_end_of(x.causal, &w);
    quad *tile = tiles, *next = tiles + 2 * room_of_tile<WIDTH>;
    const own_both<WIDTH> own = begin<WIDTH>(&queries, &w, &keys, w.first, key_end, tile, next);

    gathered_rows<WIDTH> dq = {};
    float lse[2], d[2];
    for (int i = 0; i < 2; i++) {
        const size_t at = (size_t)(w.begin + own_row(i)) * (size_t)x.heads + (size_t)w.head;
        lse[i] = own_row(i) < w.count ? m.lse[at] : 0;
        d[i] = own_row(i) < w.count ? m.d[at] : 0;
    }
    for (int key = w.first; key < key_end; key += TILE) {
        copy_async_wait<0>();
        __syncthreads(); /* the tile is there, and what lay in the other has been read */
        fetch_both<WIDTH>(&keys, key + TILE, key_end, next);
        const int count = key_end - key < TILE ? key_end - key : TILE;
        const int columns = columns_of(x.causal, &w, key, count);
        ROLLED
        for (int c = 0; c < columns; c += GROUP) {
            const quad *group = tile + place<WIDTH / 8>(c, 0);
            group_products p, ds;
            multiply_rows(p, own.a, group);
            multiply_rows(ds, own.b, group + room_of_tile<WIDTH>);
            for (int i = 0; i < 2; i++) {
                const int valid = seen(x.causal, w.begin + own_row(i), key, count);
                for (int e = 0; e < 4; e++) {
                    const bool sees = c + own_column(e) < valid;
                    const float weight = sees ? expf(entry(p, i, e) * x.scale - lse[i]) : 0;
                    entry(ds, i, e) = weight * (entry(ds, i, e) - d[i]);
                }
            }
            add_weighted_rows(dq, ds, group);
        }
        turn(tile, next);
    }
    store_rows(dq, x.scale, x.scale, dqkv + head + (size_t)w.begin * row, row, w.count);
}

/* Begins to copy what is known of queries [query, end), at most a tile: log-sum-exp and d of two of
 * them in a quad, zeros behind the last. */
static __device__ __forceinline__ void fetch_numbers(const made<bf16> *m, const attention *x,
                                                     int head, int query, int end, quad *to)
{
    const int thread = (int)threadIdx.x, row = query + thread / 2;
    const float *from = (thread % 2 ? m->d : m->lse) + head;
    copy_async_4(&to[thread / 4].at[thread % 4], from + (size_t)row * (size_t)x->heads,
                 row < end ? 4 : 0);
}

/* Rows are keys again. */
template <int WIDTH>
static __global__ void __launch_bounds__(THREADS, BLOCKS)
    gradient_of_keys_mma(attention x, const int *bound, const bf16 *qkv, made<bf16> m, bf16 *dqkv)
{
    /* of a tile: rows of both tensors, then those numbers */
    constexpr int numbers = 2 * room_of_tile<WIDTH>, room = numbers + TILE / 2;
    PITH_SHARED_ARRAY(quad, tiles, 2 * room);
    const work w = work_of(&x, bound, WIDTH);
    if (w.count <= 0) return;
    const size_t head = (size_t)w.head * WIDTH, out = (size_t)x.heads * WIDTH, row = 3 * out;
    const bf16 *q = qkv + head, *k = q + out;
    const both queries = { q, m.dy + head, row, out }, keys = { k, k + out, row, row };
    const int first = x.causal ? w.begin : w.first; /* no earlier query sees these keys */
    quad *tile = tiles, *next = tiles + room;
    fetch_numbers(&m, &x, w.head, first, w.end, tile + numbers);
    const own_both<WIDTH> own = begin<WIDTH>(&keys, &w, &queries, first, w.end, tile, next);

    gathered_rows<WIDTH> dk = {}, dv = {};
    for (int query = first; query < w.end; query += TILE) {
        copy_async_wait<0>();
        __syncthreads(); /* the tile is there, and what lay in the other has been read */
        fetch_numbers(&m, &x, w.head, query + TILE, w.end, next + numbers);
        fetch_both<WIDTH>(&queries, query + TILE, w.end, next);
        const int count = w.end - query < TILE ? w.end - query : TILE;
        const int columns = warp_row() < w.count ? count : 0;
        ROLLED
        for (int c = x.causal && query == w.begin ? warp_row() : 0; c < columns; c += GROUP) {
            const quad *group = tile + place<WIDTH / 8>(c, 0);
            group_products p, ds;
            multiply_rows(p, own.a, group);
            multiply_rows(ds, own.b, group + room_of_tile<WIDTH>);
            for (int e = 0; e < 4; e++) {
                const int column = c + own_column(e);
                const float *number = &tile[numbers + column / 2].at[e % 2 * 2];
                for (int i = 0; i < 2; i++) {
                    /* behind the last query weights meet zeros of dy and of q */
                    const bool sees = !x.causal || w.begin + own_row(i) <= query + column;
                    float &weight = entry(p, i, e);
                    weight = sees ? expf(weight * x.scale - number[0]) : 0;
                    entry(ds, i, e) = weight * (entry(ds, i, e) - number[1]);
                }
            }
            add_weighted_rows(dv, p, group + room_of_tile<WIDTH>);
            add_weighted_rows(dk, ds, group);
        }
        turn(tile, next);
    }
    bf16 *to = dqkv + head + (size_t)w.begin * row;
    store_rows(dk, x.scale, x.scale, to + out, row, w.count);
    store_rows(dv, 1, 1, to + 2 * out, row, w.count);
}

/* ---- launches ---- */

/* Bounds and d, which lie in scratch. */
template <class T> static bool prepare(const pith_call *call, const attention *x, made<T> *m)
{
    const size_t rows = (size_t)x->rows * (size_t)x->heads;
    float *d = (float *)((char *)call->scratch + bounds_bytes(call->n->in[1]));
    *m = { (const float *)call->in[3], d, (const T *)call->in[4] };
    return find_bounds(call, x, call->in[1]) &&
           PITH_LAUNCH(call, row_products<T>, blocks_of(rows, THREADS / WARP), THREADS, 0, rows,
                       x->width, (const T *)call->in[2], m->dy, d);
}

template <class T>
using gradient_kernel = void (*)(attention, const int *, const T *, made<T>, T *);

/* columns: of a head, that a block of threads has at most */
template <class T>
static bool launch(const pith_call *call, int columns, gradient_kernel<T> of_queries,
                   gradient_kernel<T> of_keys)
{
    const node *n = call->n;
    const attention x = attention_of(n->in[0], n->in[1], columns, is_causal(n));
    const int *bound = (const int *)call->scratch;
    const T *qkv = (const T *)call->in[0];
    T *dqkv = (T *)call->out[0];
    made<T> m;
    return prepare(call, &x, &m) &&
           PITH_LAUNCH(call, of_queries, blocks_for(&x), THREADS, 0, x, bound, qkv, m, dqkv) &&
           PITH_LAUNCH(call, of_keys, blocks_for(&x), THREADS, 0, x, bound, qkv, m, dqkv);
}

template <class T, int EACH> static bool launch_tiled(const pith_call *call)
{
    return launch<T>(call, EACH * LANES, gradient_of_queries<T, EACH>, gradient_of_keys<T, EACH>);
}

template <int WIDTH> static bool launch_mma(const pith_call *call)
{
    return launch<bf16>(call, WIDTH, gradient_of_queries_mma<WIDTH>, gradient_of_keys_mma<WIDTH>);
}

PITH_CUDA_SCRATCH(attention_grad)
{
    return bounds_bytes(n->in[1]) + pith_bytes(n->in[3]); /* d is as large as the log-sum-exps */
}

PITH_CUDA_KERNEL(attention_grad)
{
    const bool wide = call->n->in[0]->dim[3] > 2 * LANES;
    if (call->n->dtype != PITH_BF16)
        return wide ? launch_tiled<float, 4>(call) : launch_tiled<float, 2>(call);
    if (suits_mma(call->n->in[0], call->in[0], call->in[4]))
        return wide ? launch_mma<64>(call) : launch_mma<32>(call);
    return wide ? launch_tiled<bf16, 4>(call) : launch_tiled<bf16, 2>(call);
}

/* ---- one query a segment: a key's gradients are whole once it is met ---- */

template <class T>
static __global__ void __launch_bounds__(POOLED_WARPS *WARP)
    gradient_of_pooled(attention x, const int *bound, const T *q, const T *kv, const T *y,
                       made<T> m, T *dq, T *dkv)
{
    PITH_SHARED_ARRAY(float, gatherings, POOLED_WARPS *PARTS *WARP);
    const work w = pooled_work_of(&x, bound);
    const size_t out = (size_t)x.heads * (size_t)x.width, head = (size_t)w.head * (size_t)x.width;
    const int thread = (int)threadIdx.x, warp = thread / WARP, lane = thread % WARP;
    const size_t query = (size_t)w.begin * out + head;
    const float lse = m.lse[(size_t)w.begin * (size_t)x.heads + (size_t)w.head];
    q += query, m.dy += query;
    const float d = warp_dot(y + query, m.dy, x.width);
    float gathered[PARTS] = { 0 };
    for (int key = w.first + warp; key < w.end; key += POOLED_WARPS) {
        const size_t at = (size_t)key * 2 * out + head;
        const T *k = kv + at;
        T *dk = dkv + at, *dv = dk + out;
        const float score = warp_dot(q, k, x.width), dp = warp_dot(m.dy, k + out, x.width);
        const float p = expf(score * x.scale - lse), ds = p * (dp - d) * x.scale;
        for (int i = 0; i < PARTS; i++) {
            const int c = w.column + lane + i * WARP;
            if (c >= x.width) continue;
            gathered[i] += ds * to_float(k[c]);
            from_float(ds * to_float(q[c]), &dk[c]);
            from_float(p * to_float(m.dy[c]), &dv[c]);
        }
    }
    for (int i = 0; i < PARTS; i++) gatherings[(warp * PARTS + i) * WARP + lane] = gathered[i];
    __syncthreads();
    if (thread >= PARTS * WARP || w.column + thread >= x.width) return;
    float sum = 0;
    for (int k = 0; k < POOLED_WARPS; k++) sum += gatherings[k * PARTS * WARP + thread];
    from_float(sum, &dq[query + (size_t)(w.column + thread)]);
}

/* Zeros for keys and values in no segment: a warp a row. */
template <class T>
static __global__ void __launch_bounds__(THREADS)
    clear_outside(attention x, const int *bound, T *dkv)
{
    const size_t row = (size_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (row >= (size_t)x.rows || (row >= (size_t)bound[1] && row < (size_t)bound[x.segments + 1]))
        return;
    const size_t size = 2 * (size_t)x.heads * (size_t)x.width;
    for (size_t c = threadIdx.x % WARP; c < size; c += WARP) from_float(0, &dkv[row * size + c]);
}

template <class T> static bool launch_pooled(const pith_call *call)
{
    const node *n = call->n;
    const attention x = attention_of(n->in[1], n->in[2], PARTS * WARP, false);
    const int *bound = (const int *)call->scratch;
    T *dq = (T *)call->out[0], *dkv = (T *)call->out[1];
    const made<T> m = { (const float *)call->in[4], NULL, (const T *)call->in[5] };
    const unsigned blocks = (unsigned)x.segments * (unsigned)x.heads * (unsigned)x.slices;
    return find_bounds(call, &x, call->in[2]) &&
           PITH_LAUNCH(call, gradient_of_pooled<T>, blocks, POOLED_WARPS * WARP, 0, x, bound,
                       (const T *)call->in[0], (const T *)call->in[1], (const T *)call->in[3], m,
                       dq, dkv) &&
           PITH_LAUNCH(call, clear_outside<T>, blocks_of((size_t)x.rows, THREADS / WARP), THREADS,
                       0, x, bound, dkv);
}

PITH_CUDA_SCRATCH(pooled_attention_grad) { return bounds_bytes(n->in[2]); }

PITH_CUDA_KERNEL(pooled_attention_grad)
{
    return call->n->dtype == PITH_BF16 ? launch_pooled<bf16>(call) : launch_pooled<float>(call);
}
