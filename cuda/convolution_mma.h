/* convolution_mma.h: convolution's product of bf16, by tensor cores: a warp computes a quarter of a
 * tile in fragments (mma.h), and adds in f32. Slices pass through shared memory in chunks of 8
 * neighbours in memory, several slices ahead: where channels are a multiple of 8 and all begins at
 * whole chunks, a chunk is one asynchronous copy, else it is gathered one by one. */
#ifndef PITH_CUDA_CONVOLUTION_MMA_H
#define PITH_CUDA_CONVOLUTION_MMA_H
#include "convolution.h"
#include "mma.h"

enum {
    EACH = 8,   /* numbers of a chunk, which are moved and never computed with: bits */
    STAGES = 3, /* slices in shared memory */
    LEFT_CHUNKS = ROWS * MMA_DEPTH / EACH,
    RIGHT_CHUNKS = COLUMNS * MMA_DEPTH / EACH,
    WARP_ROWS = ROWS / 2, /* of a warp's quarter */
    WARP_COLUMNS = COLUMNS / 2,
    DOWN = WARP_ROWS / 16, /* fragments of it */
    ACROSS = WARP_COLUMNS / 8,
    PAIRS = ACROSS / 2, /* of the right side: fetched two at a time */
};
struct __align__(16) chunk {
    uint16_t at[EACH];
};

/* A slice of the left side is rows of terms, or, where patches are terms, terms of rows; so is the
 * right side. That is how they lie in memory, and how many chunks are side by side. */
template <int OP> struct sides {
    enum {
        LEFT_IS_TURNED = OP == WEIGHT,
        RIGHT_IS_TURNED = OP != FORWARD,
        LEFT_WIDE = (LEFT_IS_TURNED ? ROWS : MMA_DEPTH) / EACH,
        RIGHT_WIDE = (RIGHT_IS_TURNED ? COLUMNS : MMA_DEPTH) / EACH,
    };
};

/* Where a chunk of a line lies: so that chunks one below the other of 8 lines are in 32 banks. */
template <int WIDE> static __device__ __forceinline__ int place(int line, int part)
{
    return line * WIDE + (part ^ (WIDE == 4 ? line / 2 % 4 : line % 8));
}

/* ---- slices ---- */

/* All eight loads of a chunk at once would take registers that the sums want. */
#ifdef __CUDACC__
#define FOUR_AT_ONCE _Pragma("unroll 4")
#else
#define FOUR_AT_ONCE
#endif

static __device__ __forceinline__ bool is_whole(const uint16_t *from, int step)
{
    return step % EACH == 0 && (uintptr_t)from % sizeof(chunk) == 0;
}

/* An entry of a patch in the source; NULL where it is outside, or behind the last line. */
static __device__ __forceinline__ const uint16_t *entry_of(const window *p, const patch *q,
                                                           int line, int entry,
                                                           const uint16_t *source)
{
    const bool inside = line < p->kernel[0] && (unsigned)(q->top + line) < (unsigned)p->size[0] &&
                        entry >= q->low && entry < q->high;
    return inside ? source + q->from + (int64_t)line * p->size[1] * p->channels + entry : NULL;
}

/* Entries of a patch, of which all lines are one row: number `first` and on. */
static __device__ __forceinline__ void fetch_entries(const window *p, const patch *q, int first,
                                                     bool whole, const uint16_t *source, chunk *to)
{
    const int length = line_of(p);
    int line = first / length, entry = first % length;
    if (whole) { /* then all of a chunk is inside, or none of it */
        const uint16_t *from = entry_of(p, q, line, entry, source);
        copy_async_16(to, from ? from : source, from ? (int)sizeof *to : 0);
        return;
    }
    FOUR_AT_ONCE
    for (int k = 0; k < EACH; k++) {
        const uint16_t *from = entry_of(p, q, line, entry, source);
        to->at[k] = from ? *from : 0;
        if (++entry == length) entry = 0, line++;
    }
}

/* Neighbours of the right side, of which there are `count`. */
static __device__ __forceinline__ void fetch_run(const uint16_t *from, int count, bool whole,
                                                 const uint16_t *right, chunk *to)
{
    if (whole) {
        copy_async_16(to, count > 0 ? from : right, count > 0 ? (int)sizeof(chunk) : 0);
        return;
    }
    for (int k = 0; k < EACH; k++) to->at[k] = k < count ? from[k] : 0;
}

/* Begins to fetch this thread's share of a slice, whose first term is `term`. Where patches are
 * terms, `patches` begins with that one. */
template <int OP>
static __device__ __forceinline__ void fetch_slice(const window *whole, const phase *f,
                                                   const patch *patches, size_t term,
                                                   size_t first_row, int first_column, int columns,
                                                   const uint16_t *source, const uint16_t *right,
                                                   chunk *to)
{
    typedef sides<OP> by;
    const window *p = &f->p;
    const int thread = (int)threadIdx.x, own = thread % by::LEFT_WIDE,
              entry = (int)(OP == WEIGHT ? first_row : term) + own * EACH;
    const bool whole_left = is_whole(source, p->channels);
    for (int i = 0; i < LEFT_CHUNKS; i += THREADS) {
        const int line = (thread + i) / by::LEFT_WIDE;
        fetch_entries(p, &patches[line], entry, whole_left, source,
                      &to[place<by::LEFT_WIDE>(line, own)]);
    }
    to += LEFT_CHUNKS;
    const int size = patch_of(p), length = line_of(p), part = thread % by::RIGHT_WIDE;
    const size_t terms = OP == WEIGHT ? places_of(p) : (size_t)size;
    const bool whole_right = is_whole(right, OP == FORWARD ? size : columns);
    for (int i = 0; i < RIGHT_CHUNKS; i += THREADS) {
        const int line = (thread + i) / by::RIGHT_WIDE,
                  column = first_column + (OP == FORWARD ? line : part * EACH);
        const size_t at = term + (size_t)(OP == FORWARD ? part * EACH : line),
                     row = OP == FORWARD ? (size_t)column
                           : OP == WEIGHT
                               ? at
                               : row_of_kernel(whole, f, (int)at / length, (int)at % length),
                     from = OP == FORWARD ? row * terms + at
                                          : row * (size_t)columns + (size_t)column;
        const int count = OP == FORWARD ? size - (int)at : columns - column;
        fetch_run(right + from, column < columns && at < terms ? count : 0, whole_right, right,
                  &to[place<by::RIGHT_WIDE>(line, part)]);
    }
}

/* Four matrices of 8 x 8 for a fragment, of which this lane's begins at (row, term); a column of
 * the right side is a row here. */
template <int WIDE, bool TURNED>
static __device__ __forceinline__ void fragment(unsigned r[4], const chunk *slice, int row,
                                                int term)
{
    const int line = (int)threadIdx.x % 8;
    if (TURNED) ldmatrix_x4_transposed(r, &slice[place<WIDE>(term + line, row / EACH)]);
    else ldmatrix_x4(r, &slice[place<WIDE>(row + line, term / EACH)]);
}

/* Of the matrices of a fragment of a the second is 8 rows below the first, the third 8 terms on;
 * those of b are two fragments, each of 16 terms. */
template <int OP>
static __device__ __forceinline__ void add_slice(const chunk *slice, int first_row,
                                                 int first_column, float sum[DOWN][ACROSS][4])
{
    typedef sides<OP> by;
    const int lane = (int)threadIdx.x % 32, second = lane / 8 % 2 * 8, third = lane / 16 * 8;
    for (int k = 0; k < MMA_DEPTH; k += 16) {
        unsigned a[DOWN][4], b[PAIRS][4];
        for (int i = 0; i < DOWN; i++)
            fragment<by::LEFT_WIDE, by::LEFT_IS_TURNED>(a[i], slice, first_row + 16 * i + second,
                                                        k + third);
        for (int j = 0; j < PAIRS; j++)
            fragment<by::RIGHT_WIDE, by::RIGHT_IS_TURNED>(b[j], slice + LEFT_CHUNKS,
                                                          first_column + 16 * j + third,
                                                          k + second);
        for (int i = 0; i < DOWN; i++)
            for (int j = 0; j < ACROSS; j++) mma_16816(sum[i][j], a[i], b[j / 2] + j % 2 * 2);
    }
}

/* ---- the product ---- */

static __device__ __forceinline__ void store_pair(float x, float y, float *to)
{
    *(float2 *)to = make_float2(x, y);
}
static __device__ __forceinline__ void store_pair(float x, float y, bf16 *to)
{
    *(unsigned *)to = bf16_pair(x, y);
}

template <int OP, class T>
static __global__ void __launch_bounds__(THREADS, 4)
    multiply_rounded(window whole, int columns, unsigned row_tiles, unsigned column_tiles,
                     size_t size, const uint16_t *__restrict__ source,
                     const uint16_t *__restrict__ right, T *result)
{
    enum { SLICE = LEFT_CHUNKS + RIGHT_CHUNKS };
    PITH_SHARED_ARRAY(patch, patches, ROWS);
    PITH_SHARED_ARRAY(chunk, slices, STAGES * SLICE);
    const phase f = phase_of(&whole, blockIdx.x / column_tiles / row_tiles);
    const size_t places = places_of(&f.p), rows = OP == WEIGHT ? (size_t)patch_of(&f.p) : places,
                 first_row = (size_t)(blockIdx.x / column_tiles % row_tiles) * ROWS,
                 terms = OP == WEIGHT ? places : (size_t)patch_of(&f.p);
    const int first_column = (int)(blockIdx.x % column_tiles) * COLUMNS, thread = (int)threadIdx.x;
    if (first_row >= rows) return;

    const size_t all = (terms + MMA_DEPTH - 1) / MMA_DEPTH;
    const unsigned count = (unsigned)(all * (blockIdx.y + 1) / gridDim.y -
                                      all * blockIdx.y / gridDim.y);
    const size_t first_term = all * blockIdx.y / gridDim.y * MMA_DEPTH;
    const int warp = thread / 32, down = warp / 2 * WARP_ROWS, across = warp % 2 * WARP_COLUMNS;
    float sum[DOWN][ACROSS][4] = {};
    if (OP != WEIGHT) {
        locate(&whole, &f, first_row + (size_t)thread, columns, &patches[thread]);
        __syncthreads();
    }
    /* Slice s is asked for, and what was asked for STAGES - 1 slices before is multiplied. */
    for (unsigned s = 0; s < count + STAGES - 1; s++) {
        const bool arrived = s >= STAGES - 1;
        if (arrived) {
            copy_async_wait<STAGES - 2>();
            __syncthreads(); /* and all have multiplied the slice whose room is taken now */
        }
        if (s < count) {
            const unsigned next = OP == WEIGHT ? s * MMA_DEPTH % ROWS : 0;
            const size_t term = first_term + (size_t)s * MMA_DEPTH;
            if (OP == WEIGHT && next == 0) {
                locate(&whole, &f, term + (size_t)thread, columns, &patches[thread]);
                __syncthreads();
            }
            fetch_slice<OP>(&whole, &f, patches + next, term, first_row, first_column, columns,
                            source, right, slices + s % STAGES * SLICE);
        }
        copy_async_commit();
        if (arrived) add_slice<OP>(slices + (s + 1) % STAGES * SLICE, down, across, sum);
    }

    result += blockIdx.y * size;
    const int lane = thread % 32, column = first_column + across + lane % 4 * 2;
    for (int i = 0; i < 2 * DOWN; i++) {
        const int r = down + i * 8 + lane / 4;
        if (first_row + (size_t)r >= rows) continue;
        T *const to = result + (OP == WEIGHT ? first_row + (size_t)r : patches[r].to);
        const size_t step = OP == WEIGHT ? rows : 1;
        for (int j = 0; j < ACROSS; j++) {
            const float *x = &sum[i / 2][j][i % 2 * 2];
            const int at = column + j * 8;
            if (OP != WEIGHT && columns % 2 == 0) {
                if (at < columns) store_pair(x[0], x[1], to + at);
                continue;
            }
            for (int k = 0; k < 2; k++)
                if (at + k < columns) from_float(x[k], &to[(size_t)(at + k) * step]);
        }
    }
}
#endif
