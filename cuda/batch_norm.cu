/* batch_norm.cu: a block takes CHUNK rows of 32 columns, a lane a column and a warp every eighth
 * row. What a thread reads of a chunk it keeps in registers, so that statistics read x once. Each
 * chunk leaves two sums a column; a block a column joins those, in one order; a third kernel, cut
 * as the first, computes the rows. Rows are f32 or bf16, all else is f32. */
#include "bf16.h"
#include "ops/attributes.h"
#include "sums.h"

enum { EACH = 16, WARPS = 8, CHUNK = EACH * WARPS, THREADS = WARPS * WARP };

/* ---- chunks ---- */

typedef struct {
    size_t rows;
    int columns;
    unsigned groups, chunks; /* groups of 32 columns */
} chunking;

static chunking chunks_of(const node *x)
{
    const size_t rows = pith_rows(x), columns = pith_columns(x);
    return { rows, (int)columns, blocks_of(columns, WARP), blocks_of(rows, CHUNK) };
}

/* A thread's column, and its rows of the chunk: `first`, and every WARPS-th, `count` together. */
typedef struct {
    int column, count;
    size_t first, step, chunk; /* elements */
} share;

static __device__ int rows_of_chunk(const chunking *c, size_t chunk)
{
    const size_t left = c->rows - chunk * CHUNK;
    return left < CHUNK ? (int)left : CHUNK;
}

/* How many of them are a warp's. */
static __device__ int rows_of_warp(int rows, int warp) { return (rows - warp + WARPS - 1) / WARPS; }

static __device__ share share_of(const chunking *c)
{
    const size_t chunk = blockIdx.x / c->groups, columns = (size_t)c->columns;
    const int warp = (int)(threadIdx.x / WARP), lane = (int)(threadIdx.x % WARP),
              column = (int)(blockIdx.x % c->groups) * WARP + lane;
    const int count = column < c->columns ? rows_of_warp(rows_of_chunk(c, chunk), warp) : 0;
    return { column, count, (chunk * CHUNK + (size_t)warp) * columns + (size_t)column,
             WARPS * columns, chunk };
}

static size_t scratch_of(const node *x)
{
    const chunking c = chunks_of(x);
    return 2 * (size_t)c.chunks * (size_t)c.columns * sizeof(float);
}

/* ---- forward ---- */

/* Of each column of a chunk: its mean, and the sum of squared distances from it. Means are found as
 * distances from one of the numbers, so that numbers far from 0 cost no digits. */
template <class T>
static __global__ void summarise(chunking c, const T *x, float *means, float *squares)
{
    PITH_SHARED_ARRAY(float, mean_of, THREADS);
    PITH_SHARED_ARRAY(float, squares_of, THREADS);
    const share s = share_of(&c);
    float own[EACH], sum = 0, square = 0;
    for (int i = 0; i < EACH; i++) own[i] = i < s.count ? to_float(x[s.first + i * s.step]) : 0;
    for (int i = 0; i < EACH; i++) sum += i < s.count ? own[i] - own[0] : 0;
    const float mean = s.count > 0 ? own[0] + sum / (float)s.count : 0;
    for (int i = 0; i < EACH; i++) {
        const float d = i < s.count ? own[i] - mean : 0;
        square += d * d;
    }
    mean_of[threadIdx.x] = mean, squares_of[threadIdx.x] = square;
    __syncthreads();
    if (threadIdx.x >= WARP || s.column >= c.columns) return;
    const int rows = rows_of_chunk(&c, s.chunk);
    float all = 0;
    for (int warp = 1; warp < WARPS && warp < rows; warp++)
        all += (float)rows_of_warp(rows, warp) * (mean_of[warp * WARP + threadIdx.x] - mean);
    all = mean + all / (float)rows;
    square = 0;
    for (int warp = 0; warp < WARPS && warp < rows; warp++) {
        const float d = mean_of[warp * WARP + threadIdx.x] - all;
        square += squares_of[warp * WARP + threadIdx.x] + (float)rows_of_warp(rows, warp) * d * d;
    }
    means[(size_t)s.column * c.chunks + s.chunk] = all;
    squares[(size_t)s.column * c.chunks + s.chunk] = square;
}

/* The chunks of one column become one. */
static __global__ void join(chunking c, const float *means, const float *squares, float *mean,
                            float *variance)
{
    means += (size_t)blockIdx.x * c.chunks, squares += (size_t)blockIdx.x * c.chunks;
    float sum = 0;
    for (unsigned k = threadIdx.x; k < c.chunks; k += blockDim.x)
        sum += (float)rows_of_chunk(&c, k) * (means[k] - means[0]);
    const float all = means[0] + block_sum(sum) / (float)c.rows;
    sum = 0;
    for (unsigned k = threadIdx.x; k < c.chunks; k += blockDim.x) {
        const float d = means[k] - all;
        sum += squares[k] + (float)rows_of_chunk(&c, k) * d * d;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) mean[blockIdx.x] = all, variance[blockIdx.x] = sum / (float)c.rows;
}

/* y may be x. */
template <class T>
static __global__ void normalise(chunking c, const T *x, const float *gain, const float *bias,
                                 const float *mean, const float *variance, T *y)
{
    const share s = share_of(&c);
    if (s.count <= 0) return;
    const float factor = gain[s.column] / sqrtf(variance[s.column] + (float)BATCH_NORM_EPSILON),
                shift = bias[s.column], middle = mean[s.column];
    float own[EACH];
    for (int i = 0; i < EACH; i++) own[i] = i < s.count ? to_float(x[s.first + i * s.step]) : 0;
    for (int i = 0; i < EACH; i++)
        if (i < s.count) from_float((own[i] - middle) * factor + shift, &y[s.first + i * s.step]);
}

template <class T> static bool forward(const pith_call *call)
{
    const chunking c = chunks_of(call->n);
    const unsigned blocks = c.groups * c.chunks, columns = (unsigned)c.columns;
    const T *x = (const T *)call->in[0];
    const float *gain = (const float *)call->in[1], *bias = (const float *)call->in[2];
    T *y = (T *)call->out[0];
    float *mean = (float *)call->out[1], *variance = (float *)call->out[2],
          *means = (float *)call->scratch, *squares = means + (size_t)c.chunks * columns;
    return PITH_LAUNCH(call, summarise<T>, blocks, THREADS, 0, c, x, means, squares) &&
           PITH_LAUNCH(call, join, columns, THREADS, 0, c, means, squares, mean, variance) &&
           PITH_LAUNCH(call, normalise<T>, blocks, THREADS, 0, c, x, gain, bias, mean, variance, y);
}

PITH_CUDA_SCRATCH(batch_norm) { return scratch_of(n); }

PITH_CUDA_KERNEL(batch_norm)
{
    return call->n->dtype == PITH_BF16 ? forward<bf16>(call) : forward<float>(call);
}

/* ---- gradient: dx = (dy - shift - slope (x - mean)) gain / std ---- */

/* Of each column of a chunk: the sums of dy, and of dy times x - mean. */
template <class T>
static __global__ void sum_chunks(chunking c, const T *x, const float *mean, const T *dy,
                                  float *sums, float *products)
{
    PITH_SHARED_ARRAY(float, sum_of, THREADS);
    PITH_SHARED_ARRAY(float, product_of, THREADS);
    const share s = share_of(&c);
    const float middle = s.count > 0 ? mean[s.column] : 0;
    float sum = 0, product = 0;
    for (int i = 0; i < EACH; i++) {
        const float t = i < s.count ? to_float(dy[s.first + i * s.step]) : 0;
        sum += t;
        product += i < s.count ? t * (to_float(x[s.first + i * s.step]) - middle) : 0;
    }
    sum_of[threadIdx.x] = sum, product_of[threadIdx.x] = product;
    __syncthreads();
    if (threadIdx.x >= WARP || s.column >= c.columns) return;
    for (int warp = 1; warp < WARPS; warp++) {
        sum += sum_of[warp * WARP + threadIdx.x];
        product += product_of[warp * WARP + threadIdx.x];
    }
    sums[(size_t)s.column * c.chunks + s.chunk] = sum;
    products[(size_t)s.column * c.chunks + s.chunk] = product;
}

static __global__ void join_sums(unsigned chunks, const float *sums, const float *products,
                                 const float *variance, float *dgain, float *dbias)
{
    sums += (size_t)blockIdx.x * chunks, products += (size_t)blockIdx.x * chunks;
    float sum = 0, product = 0;
    for (unsigned k = threadIdx.x; k < chunks; k += blockDim.x)
        sum += sums[k], product += products[k];
    sum = block_sum(sum), product = block_sum(product);
    if (threadIdx.x > 0) return;
    dgain[blockIdx.x] = product / sqrtf(variance[blockIdx.x] + (float)BATCH_NORM_EPSILON);
    dbias[blockIdx.x] = sum;
}

/* dx may be x. */
template <class T>
static __global__ void pull_back(chunking c, const T *x, const float *gain, const float *mean,
                                 const float *variance, const T *dy, const float *dgain,
                                 const float *dbias, T *dx)
{
    const share s = share_of(&c);
    if (s.count <= 0) return;
    const float rstd = 1 / sqrtf(variance[s.column] + (float)BATCH_NORM_EPSILON),
                middle = mean[s.column], shift = dbias[s.column] / (float)c.rows,
                slope = dgain[s.column] * rstd / (float)c.rows, factor = gain[s.column] * rstd;
    float own[EACH], pulled[EACH];
    for (int i = 0; i < EACH; i++) {
        own[i] = i < s.count ? to_float(x[s.first + i * s.step]) : 0;
        pulled[i] = i < s.count ? to_float(dy[s.first + i * s.step]) : 0;
    }
    for (int i = 0; i < EACH; i++)
        if (i < s.count)
            from_float((pulled[i] - shift - slope * (own[i] - middle)) * factor,
                       &dx[s.first + i * s.step]);
}

template <class T> static bool backward(const pith_call *call)
{
    const chunking c = chunks_of(call->n);
    const unsigned blocks = c.groups * c.chunks, columns = (unsigned)c.columns;
    const T *x = (const T *)call->in[0], *dy = (const T *)call->in[4];
    const float *gain = (const float *)call->in[1], *mean = (const float *)call->in[2],
                *variance = (const float *)call->in[3];
    T *dx = (T *)call->out[0];
    float *dgain = (float *)call->out[1], *dbias = (float *)call->out[2],
          *sums = (float *)call->scratch, *products = sums + (size_t)c.chunks * columns;
    return PITH_LAUNCH(call, sum_chunks<T>, blocks, THREADS, 0, c, x, mean, dy, sums, products) &&
           PITH_LAUNCH(call, join_sums, columns, THREADS, 0, c.chunks, sums, products, variance,
                       dgain, dbias) &&
           PITH_LAUNCH(call, pull_back<T>, blocks, THREADS, 0, c, x, gain, mean, variance, dy,
                       dgain, dbias, dx);
}

PITH_CUDA_SCRATCH(batch_norm_grad) { return scratch_of(n); }

PITH_CUDA_KERNEL(batch_norm_grad)
{
    return call->n->dtype == PITH_BF16 ? backward<bf16>(call) : backward<float>(call);
}
