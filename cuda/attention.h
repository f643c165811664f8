/* attention.h: what the pages of attention share: who works on what, and the two products of tiles
 * that all of it consists of.
 *
 * A block of threads has TILE rows of a segment (queries, or keys where it gathers their gradients)
 * in one head, and meets TILE rows of the other side at a time. A thread holds 8 x 4 of the 64 x 64
 * products: a half warp's 16 lanes lie side by side over columns, its rows are every other one of
 * its warp's 16. Rows pass through shared memory in float4s, SLICE of them of a row at a time, so
 * that any width will do; products stay in registers. Of the most usual heads in bf16,
 * attention_mma.h has tensor cores make the products. */
#ifndef PITH_CUDA_ATTENTION_H
#define PITH_CUDA_ATTENTION_H
#include "bf16.h"
#include "sums.h"
#include "ops/attributes.h"

enum {
    TILE = 64,
    THREADS = 128,
    LANES = 16,       /* over the columns of a tile */
    WARP_ROWS = 16,   /* of a tile, a warp: every other one is a half warp's */
    ROWS_EACH = 8,    /* a thread */
    COLUMNS_EACH = 4, /* LANES apart */
    SLICE = 8,        /* quads of a row that pass at a time */
    QUADS = 16,       /* of a whole row of a tile */
    /* Room in quads, one more a row. */
    SLICE_TILE = TILE * (SLICE + 1),
    WHOLE_TILE = TILE * (QUADS + 1),
    BLOCKS = 3, /* that a processor is to hold at a time */
    BOUNDS_THREADS = 256
};
#define MASKED (-1e30f)

/* What a thread gathers stays in registers: loops over it are of known length, and the compiler
 * unrolls them. Loops along a tile it would unroll, too, at the price of twice the registers. */
#ifdef __CUDACC__
#define ROLLED _Pragma("unroll 1")
#else
#define ROLLED
#endif

/* Some neighbours in memory, moved at once. */
template <int N> struct __align__(4 * N) floats {
    float at[N];
};
typedef floats<4> quad;
struct __align__(8) pairs { /* four bf16, two in each */
    unsigned at[2];
};

/* Shapes. Results are cut into slices of `columns` columns, one a block: where heads are wider than
 * one slice, each slice makes its scores anew. */
typedef struct {
    bool causal;
    int rows, segments, heads, width, slices, items;
    float scale;
} attention;

static inline attention attention_of(const node *kv, const node *offsets, int columns, bool causal)
{
    attention x;
    x.causal = causal;
    x.rows = kv->dim[0], x.segments = offsets->dim[0] - 1;
    x.heads = kv->dim[2], x.width = kv->dim[3];
    x.slices = (x.width + columns - 1) / columns;
    x.items = x.rows / TILE + x.segments + 2; /* see work_of */
    x.scale = 1 / sqrtf((float)x.width);
    return x;
}

/* The attributes' `causal`. */
static inline bool is_causal(const node *n) { return ((const attention_attr *)n->attr)->causal; }

/* ---- bounds of segments ---- */

/* Offsets are data: bounds lie in [0, rows] and never fall, whatever they hold. The rows before the
 * first segment and those behind the last are made segments, too, numbers 0 and segments + 1, so
 * that every row lies in exactly one: segment s begins at bound[s] and ends at bound[s + 1]. */
static inline size_t bounds_bytes(const node *offsets)
{
    return ((size_t)offsets->dim[0] + 2 + 63) / 64 * 64 * sizeof(int);
}

/* One block, each thread a run of offsets: the largest of its own, then that of all before it. */
static __global__ void __launch_bounds__(BOUNDS_THREADS)
    bounds_of_segments(int segments, int rows, const int *offsets, int *bound)
{
    PITH_SHARED_ARRAY(int, largest, BOUNDS_THREADS);
    const int each = segments / BOUNDS_THREADS + 1, thread = (int)threadIdx.x;
    const size_t first = (size_t)thread * (size_t)each, all = (size_t)segments + 1;
    const size_t end = first + (size_t)each < all ? first + (size_t)each : all;
    int least = 0;
    for (size_t s = first; s < end; s++) least = offsets[s] > least ? offsets[s] : least;
    largest[thread] = least;
    __syncthreads();
    least = 0;
    for (int t = 0; t < thread; t++) least = largest[t] > least ? largest[t] : least;
    for (size_t s = first; s < end; s++) {
        least = offsets[s] > least ? offsets[s] : least;
        bound[s + 1] = least < rows ? least : rows;
    }
    if (thread == 0) bound[0] = 0, bound[all + 1] = rows;
}

static inline bool find_bounds(const pith_call *call, const attention *x, const void *offsets)
{
    return PITH_LAUNCH(call, bounds_of_segments, 1, BOUNDS_THREADS, 0, x->segments, x->rows,
                       (const int *)offsets, (int *)call->scratch);
}

/* ---- who works on what ---- */

/* A block's rows [begin, begin + count), the rows [first, end) that they meet: those of their
 * segment, or none; and its columns of the result, from `column` on. */
typedef struct {
    int begin, count, first, end, head, column;
} work;

/* The grid cannot depend on data. Segment s gets the items from bound[s] / TILE + s on: at least as
 * many, up to where the next begins, as it has blocks of TILE rows, and at most one to spare. So
 * rows / TILE + segments items are enough for any offsets, and an item finds its segment by
 * bisection. */
static __device__ __forceinline__ work work_of(const attention *x, const int *bound, int columns)
{
    const int item = (int)(blockIdx.x % (unsigned)x->items);
    const int part = (int)(blockIdx.x / (unsigned)x->items);
    int s = 0, above = x->segments + 2;
    while (above - s > 1) {
        const int middle = s + (above - s) / 2;
        if (bound[middle] / TILE + middle <= item) s = middle;
        else above = middle;
    }
    work w;
    w.first = bound[s], w.end = bound[s + 1];
    w.head = part / x->slices, w.column = part % x->slices * columns;
    w.begin = w.first + (item - (w.first / TILE + s)) * TILE;
    w.count = w.end - w.begin < TILE ? w.end - w.begin : TILE; /* not above 0: nothing to do */
    if (s == 0 || s == x->segments + 1) w.end = w.first;       /* rows in no segment */
    return w;
}

/* Blocks for `columns` columns of every head of every item. */
static inline unsigned blocks_for(const attention *x)
{
    return (unsigned)x->items * (unsigned)x->heads * (unsigned)x->slices;
}

/* A thread's place in the 64 x 64 products. */
static __device__ __forceinline__ int warp_row() { return (int)(threadIdx.x / WARP) * WARP_ROWS; }
static __device__ __forceinline__ int row_of(int i)
{
    return warp_row() + (int)(threadIdx.x / LANES % 2) + 2 * i;
}
static __device__ __forceinline__ int column_of(int j)
{
    return (int)(threadIdx.x % LANES) + LANES * j;
}

/* How many of `keys` keys from `key` on a query sees. */
static __device__ __forceinline__ int seen(bool causal, int query, int key, int keys)
{
    const int up_to_itself = query - key + 1;
    return !causal || up_to_itself > keys ? keys : up_to_itself;
}

/* Where the keys end that the block's queries see. */
static __device__ __forceinline__ int key_end_of(bool causal, const work *w)
{
    const int last = w->begin + w->count;
    return causal && last < w->end ? last : w->end;
}

/* How many of them this warp's queries see: its last one sees most. */
static __device__ __forceinline__ int columns_of(bool causal, const work *w, int key, int keys)
{
    return warp_row() < w->count ? seen(causal, w->begin + warp_row() + WARP_ROWS - 1, key, keys)
                                 : 0;
}

/* ---- tiles ---- */

/* Some rows of a tensor of f32 or bf16, `stride` elements apart. */
template <class T> struct side {
    const T *from;
    size_t stride;
    int count;
};

/* Four neighbours. */
static __device__ __forceinline__ quad four(const float *from) { return *(const quad *)from; }
static __device__ __forceinline__ quad four(const bf16 *from)
{
    const pairs p = *(const pairs *)from;
    const float2 low = floats_of(p.at[0]), high = floats_of(p.at[1]);
    const quad q = { { low.x, low.y, high.x, high.y } };
    return q;
}

/* Where a quad of a row lies in shared memory. A row of WIDE quads takes one more: then equal
 * columns of neighbouring rows lie in different banks. */
template <int WIDE> static __device__ __forceinline__ int place(int row, int part)
{
    return row * (WIDE + 1) + part;
}

/* TILE rows of WIDE quads from `column` on; zeros behind the last row and the last column. */
template <int WIDE, class T>
static __device__ __forceinline__ void load(side<T> a, int column, int width, quad *to)
{
    const int part = (int)threadIdx.x % WIDE, step = THREADS / WIDE;
    const int first = column + 4 * part;
    int row = (int)threadIdx.x / WIDE;
    const T *from = a.from + (size_t)row * a.stride + first;
    /* then all rows begin at whole quads; an alias may begin anywhere */
    const bool whole = width % 4 == 0 && (uintptr_t)a.from % (4 * sizeof(T)) == 0;
    for (int n = 0; n < TILE / step; n++, row += step, from += step * a.stride) {
        quad q = { { 0, 0, 0, 0 } };
        if (row < a.count && first < width) {
            if (whole) q = four(from);
            else
                for (int c = 0; c < 4; c++)
                    if (first + c < width) q.at[c] = to_float(from[c]);
        }
        to[place<WIDE>(row, part)] = q;
    }
}

/* Products of a slice of rows in the tiles a and b; only the first GROUPS groups of LANES columns
 * count. */
template <int GROUPS>
static __device__ __forceinline__ void multiply(float (*product)[COLUMNS_EACH], const quad *a,
                                                const quad *b)
{
    ROLLED
    for (int c = 0; c < SLICE; c++) {
        quad other[GROUPS];
        for (int j = 0; j < GROUPS; j++) other[j] = b[place<SLICE>(column_of(j), c)];
        for (int i = 0; i < ROWS_EACH; i++) {
            const quad own = a[place<SLICE>(row_of(i), c)];
            for (int j = 0; j < GROUPS; j++)
                for (int k = 0; k < 4; k++) product[i][j] += own.at[k] * other[j].at[k];
        }
    }
}

/* product = rows of a times rows of b, of which this warp wants the first `columns`. `tile` has
 * room for two slices. */
template <class T>
static __device__ __forceinline__ void products(float (*product)[COLUMNS_EACH], side<T> a,
                                                side<T> b, int columns, int width, quad *tile)
{
    for (int i = 0; i < ROWS_EACH; i++)
        for (int j = 0; j < COLUMNS_EACH; j++) product[i][j] = 0;
    for (int column = 0; column < width; column += 4 * SLICE) {
        __syncthreads(); /* who read the tile before has done so */
        load<SLICE>(a, column, width, tile);
        load<SLICE>(b, column, width, tile + SLICE_TILE);
        __syncthreads();
        /* often a tile has few rows: the last one of a segment */
        if (columns > 3 * LANES) multiply<4>(product, tile, tile + SLICE_TILE);
        else if (columns > 2 * LANES) multiply<3>(product, tile, tile + SLICE_TILE);
        else if (columns > LANES) multiply<2>(product, tile, tile + SLICE_TILE);
        else if (columns > 0) multiply<1>(product, tile, tile + SLICE_TILE);
    }
}

/* Element (row, column) of a tile of weights. */
static __device__ __forceinline__ float *weight_at(quad *weight, int row, int column)
{
    return &weight[place<QUADS>(row, column / 4)].at[column % 4];
}

/* sum += weights times rows of b: EACH columns a thread, from `column` + EACH * lane on. This warp
 * wants the first `columns` weights of its rows. They lie in shared memory: its own lanes wrote
 * them, and the barriers below come after. */
template <int EACH, class T>
static __device__ __forceinline__ void add_weighted(float (*sum)[EACH], const quad *weight,
                                                    int columns, side<T> b, int column, int width,
                                                    quad *tile)
{
    const int lane = column_of(0);
    __syncthreads();
    load<4 * EACH>(b, column, width, tile);
    __syncthreads();
    ROLLED
    for (int c = 0; 4 * c < columns; c++) {
        floats<EACH> other[4];
        for (int k = 0; k < 4; k++) {
            const quad *q = &tile[place<4 * EACH>(4 * c + k, lane * EACH / 4)];
            other[k] = *(const floats<EACH> *)&q->at[lane * EACH % 4];
        }
        for (int i = 0; i < ROWS_EACH; i++) {
            const quad own = weight[place<QUADS>(row_of(i), c)];
            for (int k = 0; k < 4; k++)
                for (int e = 0; e < EACH; e++) sum[i][e] += own.at[k] * other[k].at[e];
        }
    }
}

/* A thread's rows of a result whose tile begins at `to`. */
template <int EACH, class T>
static __device__ __forceinline__ void store(float (*sum)[EACH], T *to, size_t stride, int count,
                                             int column, int width)
{
    column += column_of(0) * EACH;
    for (int i = 0; i < ROWS_EACH; i++)
        for (int e = 0; e < EACH; e++)
            if (row_of(i) < count && column + e < width)
                from_float(sum[i][e], &to[(size_t)row_of(i) * stride + (size_t)(column + e)]);
}

/* ---- pooled: one query a segment ---- */

/* Each key is read once, which takes longer than all that is done with it: tensor cores would gain
 * nothing. A block has a segment in one head, each of its warps every POOLED_WARPS-th key, lanes
 * lie over columns. */
enum { POOLED_WARPS = 8, PARTS = 2 /* columns of the result, a lane */ };

/* A dot product along a row, over a warp. */
template <class T>
static __device__ __forceinline__ float warp_dot(const T *a, const T *b, int width)
{
    float sum = 0;
    for (int c = (int)(threadIdx.x % WARP); c < width; c += WARP)
        sum += to_float(a[c]) * to_float(b[c]);
    return warp_sum(sum);
}

/* What a block of the grid segments x heads x slices works on: query number `begin`. */
static __device__ __forceinline__ work pooled_work_of(const attention *x, const int *bound)
{
    const unsigned pair = blockIdx.x / (unsigned)x->slices;
    work w;
    w.begin = (int)(pair / (unsigned)x->heads), w.count = 1;
    w.first = bound[w.begin + 1], w.end = bound[w.begin + 2];
    w.head = (int)(pair % (unsigned)x->heads);
    w.column = (int)(blockIdx.x % (unsigned)x->slices) * PARTS * WARP;
    return w;
}
#endif
