/* convolution.cu: one product of matrices for all three ops. A block computes a tile of the result,
 * a thread a square of it in registers; slices of both sides pass through shared memory.
 *
 * The left side is patches: its tiles are gathered from the pictures as they are wanted, and the
 * matrix itself is never in memory. A row of a window is one run of memory, since channels are
 * last. The result and its sum are
 *
 *     convolution           places x O    sum over entries of a patch    right: w
 *     convolution_input     places x C    the same, of patches of dy     right: w, turned around
 *     convolution_weight    entries x O   sum over places                right: dy
 *
 * Where few tiles have long sums, blocks share a tile's sum, and a second kernel adds their parts
 * in order. This page multiplies f32; convolution_mma.h does the same to bf16. */
#include "convolution_mma.h"

enum {
    SQUARE = 8,
    /* From one term to the next in shared memory: so that 8 terms of 4 rows are in 32 banks. */
    LEFT = ROWS + 4,
    RIGHT = COLUMNS + 4,
    EACH_LEFT = ROWS * DEPTH / THREADS, /* elements of a slice that a thread fetches */
    EACH_RIGHT = COLUMNS * DEPTH / THREADS,
    AT_ONCE = THREADS / DEPTH, /* threads that fetch one term */
};

/* ---- slices ---- */

/* Fetches this thread's share of a slice's left side. FORWARD and INPUT: the patches are rows, the
 * terms DEPTH entries of a line, and of each row DEPTH threads read one each. WEIGHT: the patches
 * are terms, and a thread reads its row's entry of each. */
template <int OP>
static __device__ __forceinline__ void fetch_left(const window *p, const patch *patches, int line,
                                                  int entry, const float *source, float *to)
{
    const int64_t offset = (int64_t)line * p->size[1] * p->channels + entry;
    const int first = OP == WEIGHT ? 0 : threadIdx.x / DEPTH, step = OP == WEIGHT ? 1 : AT_ONCE;
    for (int i = 0; i < EACH_LEFT; i++) {
        const patch *from = &patches[first + i * step];
        const bool inside = (unsigned)(from->top + line) < (unsigned)p->size[0] &&
                            entry >= from->low && entry < from->high;
        to[i] = inside ? source[from->from + offset] : 0;
    }
}

/* The same of the right side: one term, of every AT_ONCE-th column. FORWARD: terms lie side by side
 * in memory, else columns do. */
template <int OP>
static __device__ __forceinline__ void fetch_right(const window *whole, const phase *f, int line,
                                                   size_t term, int column, int columns,
                                                   const float *right, float *to)
{
    const window *p = &f->p;
    const size_t terms = OP == WEIGHT ? places_of(p) : (size_t)line_of(p),
                 step = OP == FORWARD ? (size_t)patch_of(p) : 1;
    size_t from = term * (size_t)columns;
    if (OP == FORWARD) from = (size_t)line * terms + term;
    if (OP == INPUT) from = row_of_kernel(whole, f, line, (int)term) * (size_t)columns;
    for (int i = 0; i < EACH_RIGHT; i++, column += AT_ONCE)
        to[i] = term < terms && column < columns ? right[from + (size_t)column * step] : 0;
}

/* A thread's square is four pieces of 4 x 4, so that neighbours read neighbouring words: its rows
 * are `down` and on and ROWS / 2 below them, and so are its columns. */
static __device__ __forceinline__ void add_slice(const float *left, const float *right, int down,
                                                 int across, float sum[SQUARE][SQUARE])
{
    for (int k = 0; k < DEPTH; k++, left += LEFT, right += RIGHT) {
        float4 a[2], b[2];
        for (int half = 0; half < 2; half++) {
            a[half] = *(const float4 *)(left + half * ROWS / 2 + down);
            b[half] = *(const float4 *)(right + half * COLUMNS / 2 + across);
        }
        for (int i = 0; i < SQUARE; i++)
            for (int j = 0; j < SQUARE; j++) sum[i][j] += ((float *)a)[i] * ((float *)b)[j];
    }
}

/* ---- the product ---- */

template <int OP>
static __global__ void __launch_bounds__(THREADS, 4)
    multiply(window whole, int columns, unsigned row_tiles, unsigned column_tiles, size_t size,
             const float *__restrict__ source, const float *__restrict__ right, float *result)
{
    PITH_SHARED_ARRAY(patch, patches, ROWS);
    PITH_SHARED_ARRAY(float4, slices, 2 * DEPTH * (LEFT + RIGHT) / 4);
    const phase f = phase_of(&whole, blockIdx.x / column_tiles / row_tiles);
    const size_t places = places_of(&f.p), rows = OP == WEIGHT ? (size_t)patch_of(&f.p) : places,
                 first_row = (size_t)(blockIdx.x / column_tiles % row_tiles) * ROWS;
    const int first_column = (int)(blockIdx.x % column_tiles) * COLUMNS, thread = (int)threadIdx.x;
    if (first_row >= rows) return;

    /* This block's part of the sum. A slice has terms of one line of the patches only. */
    const int length = line_of(&f.p);
    const unsigned line_slices = ((unsigned)length + DEPTH - 1) / DEPTH,
                   all = OP == WEIGHT ? (unsigned)((places + DEPTH - 1) / DEPTH)
                                      : (unsigned)f.p.kernel[0] * line_slices,
                   begin = (unsigned)((size_t)all * blockIdx.y / gridDim.y),
                   end = (unsigned)((size_t)all * (blockIdx.y + 1) / gridDim.y);

    /* Which row or term, and which column, of a slice a thread fetches. */
    const size_t row = first_row + (size_t)thread;
    const int left_term = OP == WEIGHT ? 0 : thread % DEPTH,
              left_row = OP == WEIGHT ? thread : thread / DEPTH,
              left_step = OP == WEIGHT ? LEFT : AT_ONCE,
              right_term = OP == FORWARD ? thread % DEPTH : thread / AT_ONCE,
              right_column = OP == FORWARD ? thread / DEPTH : thread % AT_ONCE;
    const int down = thread / (COLUMNS / SQUARE) * 4, across = thread % (COLUMNS / SQUARE) * 4;
    int line = 0, entry = 0; /* of the patches: the thread's own, or the first of a slice */
    if (OP == WEIGHT) line = (int)(row / (size_t)length), entry = (int)(row % (size_t)length);
    else if (begin < end)
        line = (int)(begin / line_slices), entry = (int)(begin % line_slices) * DEPTH;

    float sum[SQUARE][SQUARE] = {}, fetched_left[EACH_LEFT], fetched_right[EACH_RIGHT];
    if (OP != WEIGHT) {
        locate(&whole, &f, row, columns, &patches[thread]);
        __syncthreads();
    }
    for (unsigned s = begin; s <= end; s++) {
        float *const left_slice = (float *)slices + s % 2 * DEPTH * (LEFT + RIGHT),
                     *const right_slice = left_slice + DEPTH * LEFT;
        if (s < end) { /* slice s is on its way while the one before it is multiplied */
            const unsigned next = OP == WEIGHT ? (s - begin) * DEPTH % ROWS : 0;
            const size_t term = OP == WEIGHT ? (size_t)s * DEPTH : (size_t)entry;
            if (OP == WEIGHT && next == 0) {
                locate(&whole, &f, term + (size_t)thread, columns, &patches[thread]);
                __syncthreads();
            }
            fetch_left<OP>(&f.p, patches + next, line, entry + left_term, source, fetched_left);
            fetch_right<OP>(&whole, &f, line, term + (size_t)right_term,
                            first_column + right_column, columns, right, fetched_right);
            if (OP != WEIGHT && (entry += DEPTH) >= length) entry = 0, line++;
        }
        if (s > begin) {
            const float *before = (float *)slices + (s + 1) % 2 * DEPTH * (LEFT + RIGHT);
            add_slice(before, before + DEPTH * LEFT, down, across, sum);
        }
        if (s < end) {
            for (int i = 0; i < EACH_LEFT; i++)
                left_slice[left_term * LEFT + left_row + i * left_step] = fetched_left[i];
            for (int i = 0; i < EACH_RIGHT; i++)
                right_slice[right_term * RIGHT + right_column + i * AT_ONCE] = fetched_right[i];
            __syncthreads();
        }
    }

    result += blockIdx.y * size;
    for (int i = 0; i < SQUARE; i++) {
        const int r = i / 4 * (ROWS / 2) + down + i % 4;
        if (first_row + (size_t)r >= rows) continue;
        float *const to = result + (OP == WEIGHT ? first_row + (size_t)r : patches[r].to);
        const size_t step = OP == WEIGHT ? rows : 1;
        for (int half = 0; half < 2; half++) {
            const int column = first_column + half * (COLUMNS / 2) + across;
            const float *x = &sum[i][4 * half];
            if (OP != WEIGHT && columns % 4 == 0) {
                if (column < columns)
                    *(float4 *)(to + column) = make_float4(x[0], x[1], x[2], x[3]);
                continue;
            }
            for (int j = 0; j < 4; j++)
                if (column + j < columns) to[(size_t)(column + j) * step] = x[j];
        }
    }
}

template <class T>
static __global__ void add_parts(size_t size, unsigned parts, const float *from, T *to)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float sum = 0;
    for (unsigned part = 0; part < parts; part++) sum += from[part * size + i];
    from_float(sum, &to[i]);
}

/* ---- launchers ---- */

static bool is_rounded(const node *n) { return n->in[0]->dtype == PITH_BF16; }

static cut cut_for(int op, const node *n)
{
    const size_t depth = is_rounded(n) ? MMA_DEPTH : DEPTH;
    return op == FORWARD ? cut_of(op, pith_convolution_window(n), n->dim[3], depth)
           : op == INPUT ? cut_of(op, pith_input_window(n), n->dim[3], depth)
                         : cut_of(op, pith_weight_window(n), n->dim[0], depth);
}

/* Parts are f32 whatever the result is. */
static size_t scratch_of(int op, const node *n)
{
    const cut c = cut_for(op, n);
    return c.parts > 1 ? c.parts * pith_size(n) * sizeof(float) : 0;
}

#define MULTIPLY(kernel, T, result)                                                                \
    PITH_LAUNCH(call, kernel, grid, THREADS, 0, c.p, c.columns, c.row_tiles, c.column_tiles, size, \
                (const T *)source, (const T *)right, result)
#define ADD_PARTS(T)                                                                               \
    PITH_LAUNCH(call, add_parts<T>, blocks_of(size, 256), 256, 0, size, c.parts, parts,            \
                (T *)call->out[0])

/* source: what patches are of */
template <int OP>
static bool multiply_and_add(const pith_call *call, const void *source, const void *right)
{
    const cut c = cut_for(OP, call->n);
    const size_t size = pith_size(call->n);
    const dim3 grid(c.row_tiles * c.column_tiles * c.phases, c.parts);
    const bool narrow = call->n->dtype == PITH_BF16;
    float *const parts = (float *)(c.parts > 1 ? call->scratch : call->out[0]);
    if (narrow && c.parts == 1)
        return MULTIPLY((multiply_rounded<OP, bf16>), uint16_t, (bf16 *)call->out[0]);
    if (!(is_rounded(call->n) ? MULTIPLY((multiply_rounded<OP, float>), uint16_t, parts)
                              : MULTIPLY(multiply<OP>, float, parts)))
        return false;
    return c.parts == 1 || (narrow ? ADD_PARTS(bf16) : ADD_PARTS(float));
}

PITH_CUDA_SCRATCH(convolution) { return scratch_of(FORWARD, n); }
PITH_CUDA_SCRATCH(convolution_input) { return scratch_of(INPUT, n); }
PITH_CUDA_SCRATCH(convolution_weight) { return scratch_of(WEIGHT, n); }

PITH_CUDA_KERNEL(convolution) { return multiply_and_add<FORWARD>(call, call->in[0], call->in[1]); }

PITH_CUDA_KERNEL(convolution_input)
{
    return multiply_and_add<INPUT>(call, call->in[0], call->in[1]);
}

PITH_CUDA_KERNEL(convolution_weight)
{
    return multiply_and_add<WEIGHT>(call, call->in[1], call->in[0]);
}
