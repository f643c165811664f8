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
 * in order. */
#include "launch.h"
#include "ops/patches.h"

enum { FORWARD, INPUT, WEIGHT }; /* the ops */
enum {
    ROWS = 128,
    COLUMNS = 64, /* of a tile of the result */
    DEPTH = 8,    /* terms of the sum in a slice */
    SQUARE = 8,
    THREADS = ROWS / SQUARE * (COLUMNS / SQUARE),
    /* From one term to the next in shared memory: so that 8 terms of 4 rows are in 32 banks. */
    LEFT = ROWS + 4,
    RIGHT = COLUMNS + 4,
    EACH_LEFT = ROWS * DEPTH / THREADS, /* elements of a slice that a thread fetches */
    EACH_RIGHT = COLUMNS * DEPTH / THREADS,
    AT_ONCE = THREADS / DEPTH, /* threads that fetch one term */
};

/* ---- windows ---- */

/* Where pixels lie `apart`, every apart-th place meets them with every apart-th entry of the
 * kernel. So the window falls into apart x apart windows without gaps, one a remainder, and no zero
 * between pixels is ever multiplied. */
typedef struct {
    window p;               /* apart is 1 */
    int place[2], entry[2]; /* which of its places and entries: the first, and every apart-th */
} phase;

static __host__ __device__ int phases_along(const window *p, int axis)
{
    return p->apart < p->places[axis] ? p->apart : p->places[axis];
}

static __host__ __device__ phase phase_of(const window *whole, unsigned number)
{
    phase f = { *whole, {}, {} };
    const int apart = whole->apart, across = phases_along(whole, 1);
    f.place[0] = (int)number / across, f.place[1] = (int)number % across;
    for (int k = 0; k < 2; k++) {
        const int gap = (whole->before[k] - f.place[k]) % apart, kernel = whole->kernel[k];
        f.entry[k] = gap < 0 ? gap + apart : gap;
        f.p.kernel[k] = f.entry[k] < kernel ? (kernel - 1 - f.entry[k]) / apart + 1 : 0;
        f.p.places[k] = (whole->places[k] - 1 - f.place[k]) / apart + 1;
        f.p.before[k] = (whole->before[k] - f.place[k] - f.entry[k]) / apart;
    }
    f.p.apart = 1;
    return f;
}

static __host__ __device__ size_t places_of(const window *p)
{
    return p->images * (size_t)p->places[0] * (size_t)p->places[1];
}

/* Elements of a line of a patch, and of all its lines. */
static __host__ __device__ int line_of(const window *p) { return p->kernel[1] * p->channels; }
static __host__ __device__ int patch_of(const window *p) { return p->kernel[0] * line_of(p); }

/* ---- patches ---- */

typedef struct {
    int64_t from;       /* its first element in the source, which may be outside */
    int top, low, high; /* its first line; of every line [low, high) is inside */
    size_t to;          /* its row of the result */
} patch;

static __device__ int clamp(int64_t x, int high) { return x < 0 ? 0 : x > high ? high : (int)x; }

static __device__ void locate(const window *whole, const phase *f, size_t place, int columns,
                              patch *q)
{
    const window *p = &f->p;
    q->from = 0, q->to = 0, q->top = q->low = q->high = 0;
    if (place >= places_of(p)) return;
    const size_t high = (size_t)p->places[0], wide = (size_t)p->places[1],
                 image = place / wide / high;
    const int i = (int)(place / wide % high), j = (int)(place % wide),
              left = j * p->step - p->before[1], y = f->place[0] + i * whole->apart,
              x = f->place[1] + j * whole->apart;
    const int64_t C = p->channels;
    q->top = i * p->step - p->before[0];
    q->low = clamp(-left * C, line_of(p));
    q->high = clamp((p->size[1] - left) * C, line_of(p));
    q->from = (((int64_t)image * p->size[0] + q->top) * p->size[1] + left) * C;
    q->to = (image * (size_t)whole->places[0] + (size_t)y) * (size_t)whole->places[1] + (size_t)x;
    q->to *= (size_t)columns;
}

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
    if (OP == INPUT) {
        const int o = (int)term % p->channels, v = (int)term / p->channels,
                  down = whole->kernel[0] - 1 - f->entry[0] - line * whole->apart,
                  across = whole->kernel[1] - 1 - f->entry[1] - v * whole->apart;
        from = (size_t)o * (size_t)whole->kernel[0] + (size_t)down;
        from = (from * (size_t)whole->kernel[1] + (size_t)across) * (size_t)columns;
    }
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

static __global__ void add_parts(size_t size, unsigned parts, const float *from, float *to)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float sum = 0;
    for (unsigned part = 0; part < parts; part++) sum += from[part * size + i];
    to[i] = sum;
}

/* ---- launchers ---- */

/* Blocks that a device wants; slices of a part: at least so many, that adding parts is little work;
 * and at most, that rounding errors stay small. */
enum { WANTED = 512, LEAST_SLICES = 32, MOST_SLICES = 8192 };

typedef struct {
    window p;
    int columns;
    unsigned row_tiles, column_tiles, phases, parts;
} cut;

static cut cut_of(int op, window p, int columns)
{
    const unsigned phases = (unsigned)(phases_along(&p, 0) * phases_along(&p, 1));
    const phase f = phase_of(&p, 0); /* it has the most places */
    const size_t places = places_of(&f.p), entries = (size_t)patch_of(&p) / phases,
                 slices = (op == WEIGHT ? places : entries) / DEPTH;
    cut c = { p,
              columns,
              blocks_of(op == WEIGHT ? entries : places, ROWS),
              blocks_of((size_t)columns, COLUMNS),
              phases,
              1 };
    const size_t blocks = (size_t)c.row_tiles * c.column_tiles * c.phases, enough = WANTED / blocks,
                 most = slices / LEAST_SLICES, least = slices / MOST_SLICES + 1,
                 parts = enough < most ? enough : most;
    c.parts = (unsigned)(parts < least ? least : parts);
    return c;
}

template <int OP>
static bool multiply_and_add(const pith_call *call, cut c, const void *source, const void *right)
{
    const size_t size = pith_size(call->n);
    float *out = (float *)call->out[0], *result = c.parts > 1 ? (float *)call->scratch : out;
    const dim3 grid(c.row_tiles * c.column_tiles * c.phases, c.parts);
    return PITH_LAUNCH(call, multiply<OP>, grid, THREADS, 0, c.p, c.columns, c.row_tiles,
                       c.column_tiles, size, (const float *)source, (const float *)right, result) &&
           (c.parts == 1 ||
            PITH_LAUNCH(call, add_parts, blocks_of(size, 256), 256, 0, size, c.parts, result, out));
}

static cut forward_cut(const node *y)
{
    return cut_of(FORWARD, pith_convolution_window(y), y->dim[3]);
}

static cut input_cut(const node *dx) { return cut_of(INPUT, pith_input_window(dx), dx->dim[3]); }

static cut weight_cut(const node *dw) { return cut_of(WEIGHT, pith_weight_window(dw), dw->dim[0]); }

#define SCRATCH(name, cut_of_it)                                                                   \
    PITH_CUDA_SCRATCH(name)                                                                        \
    {                                                                                              \
        const cut c = cut_of_it(n);                                                                \
        return c.parts > 1 ? c.parts * pith_bytes(n) : 0;                                          \
    }
SCRATCH(convolution, forward_cut)
SCRATCH(convolution_input, input_cut)
SCRATCH(convolution_weight, weight_cut)

PITH_CUDA_KERNEL(convolution)
{
    return multiply_and_add<FORWARD>(call, forward_cut(call->n), call->in[0], call->in[1]);
}

PITH_CUDA_KERNEL(convolution_input)
{
    return multiply_and_add<INPUT>(call, input_cut(call->n), call->in[0], call->in[1]);
}

PITH_CUDA_KERNEL(convolution_weight)
{
    return multiply_and_add<WEIGHT>(call, weight_cut(call->n), call->in[1], call->in[0]);
}
