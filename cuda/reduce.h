/* reduce.h: passes over an array (outer, length, inner), of which (outer, inner) is left.
 *
 * Where the length is short, a result is made by a few lanes of a warp: by one, where neighbouring
 * results lie side by side, by more along a row. Where it is long, it is cut into chunks, and a
 * block makes what one chunk adds to a tile of neighbouring columns; the next pass reduces what the
 * chunks gave. Chunks are fixed by the shape, and each is a tree of a few terms a thread. */
#ifndef PITH_REDUCE_CUDA_H
#define PITH_REDUCE_CUDA_H
#include "sums.h"
#include "ops/attributes.h"

enum {
    THREADS = 256,
    TILE = 32,         /* columns of a block */
    EACH = 16,         /* terms that a thread adds */
    AT_ONCE = 4,       /* how many it asks for before it adds them */
    SHORT_COLUMN = 32, /* the longest that is not cut into chunks */
    SHORT_ROW = 1024,
};

/* What is combined, and how. */
enum {
    TO_SUM,     /* x */
    TO_DOT,     /* x times other */
    TO_LARGEST, /* x; NaN passes */
    TO_PLACE,   /* the first place where x is other, of which there is one a result */
    TO_FIRST,   /* places x */
};
#define NOWHERE SIZE_MAX

template <int HOW> static __device__ __forceinline__ float combine(float a, float b)
{
    if (HOW == TO_LARGEST) return a != a || a >= b ? a : b;
    return a + b;
}

template <int HOW> static __device__ __forceinline__ size_t combine(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The neutral element: combine(x, nothing) is x. */
template <int HOW> static __device__ __forceinline__ auto nothing(void)
{
    if constexpr (HOW == TO_SUM || HOW == TO_DOT) return 0.f;
    else if constexpr (HOW == TO_LARGEST) return -INFINITY;
    else return (size_t)NOWHERE;
}

template <int HOW, typename X>
static __device__ __forceinline__ auto term(const X *x, const float *other, size_t at,
                                            size_t result)
{
    if constexpr (HOW == TO_DOT) return x[at] * other[at];
    else if constexpr (HOW == TO_PLACE) return x[at] == other[result] ? at : NOWHERE;
    else return x[at];
}

template <int HOW, typename X, typename Y>
static __global__ void __launch_bounds__(THREADS)
    reduce_short(reduction r, unsigned lanes, const X *x, const float *other, Y *y)
{
    const size_t result = (size_t)blockIdx.x * (THREADS / lanes) + threadIdx.x / lanes;
    const bool here = result < r.outer * r.inner;
    const size_t first = result / r.inner * r.length * r.inner + result % r.inner;
    Y all = nothing<HOW>();
    for (size_t i = threadIdx.x % lanes; here && i < r.length; i += AT_ONCE * lanes)
        for (size_t k = 0, j = i; k < AT_ONCE; k++, j += lanes)
            if (j < r.length)
                all = combine<HOW>(all, term<HOW>(x, other, first + j * r.inner, result));
    for (unsigned half = lanes / 2; half; half /= 2)
        all = combine<HOW>(all, __shfl_xor_sync(0xffffffffu, all, half));
    if (here && threadIdx.x % lanes == 0) y[result] = all;
}

/* (outer, length, inner) -> (outer, chunks, inner). A tile has `width` columns, and a block as many
 * rows of threads on it as there is room for: they take every such row of the chunk in turn. */
template <int HOW, typename X, typename Y>
static __global__ void __launch_bounds__(THREADS)
    reduce_chunks(reduction r, size_t chunk, size_t chunks, unsigned tiles, unsigned width,
                  const X *x, const float *other, Y *y)
{
    PITH_SHARED_ARRAY(Y, part, THREADS);
    const unsigned rows = THREADS / width, row = threadIdx.x / width;
    const size_t column = blockIdx.x % tiles * width + threadIdx.x % width;
    const size_t place = blockIdx.x / tiles, outer = place / chunks, first = place % chunks * chunk;
    const size_t count = r.length - first < chunk ? r.length - first : chunk;
    const size_t at = (outer * r.length + first) * r.inner + column;
    Y all = nothing<HOW>();
    for (unsigned k = 0, i = row; k < EACH; k++, i += rows)
        if (column < r.inner && i < count)
            all = combine<HOW>(all,
                               term<HOW>(x, other, at + i * r.inner, outer * r.inner + column));
    part[threadIdx.x] = all;
    for (unsigned left = rows, half; left > 1; left = half) {
        half = (left + 1) / 2;
        __syncthreads();
        if (row + half < left)
            part[threadIdx.x] = all = combine<HOW>(all, part[threadIdx.x + half * width]);
    }
    if (row == 0 && column < r.inner) y[place * r.inner + column] = all;
}

static inline bool is_short(reduction r)
{
    return r.length <= (r.inner == 1 ? SHORT_ROW : SHORT_COLUMN);
}

static inline unsigned width_of(reduction r)
{
    return r.inner < TILE ? (unsigned)r.inner : (unsigned)TILE;
}

/* 1 where nothing is left to reduce after this pass. */
static inline size_t chunks_in(reduction r)
{
    return is_short(r) ? 1 : blocks_of(r.length, THREADS / width_of(r) * EACH);
}

template <int HOW, typename X, typename Y>
static bool one_pass(const pith_call *call, reduction r, const X *x, const float *other, Y *y)
{
    if (is_short(r)) {
        unsigned lanes = 1;
        while (r.inner == 1 && lanes < WARP && lanes < r.length) lanes *= 2;
        return PITH_LAUNCH(call, (reduce_short<HOW, X, Y>),
                           blocks_of(r.outer * r.inner, THREADS / lanes), THREADS, 0, r, lanes, x,
                           other, y);
    }
    const unsigned width = width_of(r), tiles = blocks_of(r.inner, width);
    const size_t chunk = (size_t)(THREADS / width) * EACH, chunks = chunks_in(r);
    return PITH_LAUNCH(call, (reduce_chunks<HOW, X, Y>), (unsigned)(r.outer * chunks * tiles),
                       THREADS, 0, r, chunk, chunks, tiles, width, x, other, y);
}

/* What all passes but the last leave behind, in elements. */
static inline size_t reduce_room(const reduction *list, int count)
{
    size_t used = 0;
    for (int k = 0; k < count; k++) {
        reduction r = list[k];
        for (size_t chunks = 0; chunks != 1; r.length = chunks) {
            chunks = chunks_in(r);
            if (k < count - 1 || chunks > 1) used += r.outer * chunks * r.inner;
        }
    }
    return used;
}

/* One reduction after the other. The first pass makes its terms by HOW, the others, of what passes
 * left, by NEXT. */
template <int HOW, int NEXT, typename Y>
static bool reduce(const pith_call *call, const reduction *list, int count, const float *x,
                   const float *other, Y *y, void *scratch)
{
    const Y *from = NULL;
    Y *room = (Y *)scratch;
    for (int k = 0; k < count; k++) {
        reduction r = list[k];
        for (size_t chunks = 0; chunks != 1; r.length = chunks) {
            chunks = chunks_in(r);
            Y *to = k == count - 1 && chunks == 1 ? y : room;
            if (from ? !one_pass<NEXT>(call, r, from, NULL, to)
                     : !one_pass<HOW>(call, r, x, other, to))
                return false;
            from = to;
            room += r.outer * chunks * r.inner;
        }
    }
    return true;
}
#endif
