/* layer_norm.cu: one warp a row, or one block where rows are long. The gradients of gain and bias
 * are sums over all rows: of chunks of rows, a block each, and then by the passes of reduce.h. */
#include "rows.h"
#include "reduce.h"

/* The row is read three times, for its mean, for what lies about the mean, and to be written; after
 * the first time it comes from a cache. Each thread reads an entry before it writes it, and nobody
 * else does: y may be x. */
template <int TEAM>
static PITH_ROW_KERNEL(TEAM)
    layer_norm_rows(size_t rows, size_t columns, const float *x, const float *gain,
                    const float *bias, float *y, float *means, float *rstds)
{
    const size_t row = team_row<TEAM>(), lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    x += row * columns, y += row * columns;
    float sum = 0, squares = 0;
    for (size_t i = lane; i < columns; i += TEAM) sum += x[i];
    const float mean = team_sum<TEAM>(sum) / (float)columns;
    for (size_t i = lane; i < columns; i += TEAM) squares += (x[i] - mean) * (x[i] - mean);
    squares = team_sum<TEAM>(squares);
    const float rstd = 1 / sqrtf(squares / (float)columns + (float)LAYER_NORM_EPSILON);
    for (size_t i = lane; i < columns; i += TEAM) y[i] = (x[i] - mean) * rstd * gain[i] + bias[i];
    if (lane == 0) means[row] = mean, rstds[row] = rstd;
}

PITH_CUDA_KERNEL(layer_norm)
{
    const size_t rows = pith_rows(call->n), columns = pith_columns(call->n);
    return PITH_LAUNCH_ROWS(call, layer_norm_rows, rows, columns, (const float *)call->in[0],
                            (const float *)call->in[1], (const float *)call->in[2],
                            (float *)call->out[0], (float *)call->out[1], (float *)call->out[2]);
}

/* ---- gradient ---- */

/* With h the normalised row and g = dy gain: dx = (g - mean(g) - h mean(g h)) / std. */
template <int TEAM>
static PITH_ROW_KERNEL(TEAM)
    layer_norm_grad_rows(size_t rows, size_t columns, const float *x, const float *gain,
                         const float *means, const float *rstds, const float *dy,
                         float *__restrict__ dx)
{
    const size_t row = team_row<TEAM>(), lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    x += row * columns, dy += row * columns, dx += row * columns;
    const float mean = means[row], rstd = rstds[row];
    float sum = 0, sum_h = 0;
    for (size_t i = lane; i < columns; i += TEAM) {
        const float g = dy[i] * gain[i];
        sum += g;
        sum_h += g * ((x[i] - mean) * rstd);
    }
    const float a = team_sum<TEAM>(sum) / (float)columns,
                b = team_sum<TEAM>(sum_h) / (float)columns;
    for (size_t i = lane; i < columns; i += TEAM)
        dx[i] = (dy[i] * gain[i] - (a + (x[i] - mean) * rstd * b)) * rstd;
}

enum { ROWS_AT_ONCE = THREADS / TILE, CHUNK_ROWS = EACH * ROWS_AT_ONCE };

/* What a chunk of rows adds to the gradient of gain, dy h, and of bias, dy, in a tile of columns:
 * into (2, chunks, columns). */
static __global__ void __launch_bounds__(THREADS)
    gain_and_bias(size_t rows, size_t columns, unsigned tiles, size_t chunks, const float *x,
                  const float *means, const float *rstds, const float *dy, float *part)
{
    PITH_SHARED_ARRAY(float, sums, 2 * THREADS);
    const unsigned row = threadIdx.x / TILE;
    const size_t column = blockIdx.x % tiles * TILE + threadIdx.x % TILE;
    const size_t chunk = blockIdx.x / tiles, first = chunk * CHUNK_ROWS;
    const size_t end = rows - first < CHUNK_ROWS ? rows : first + CHUNK_ROWS;
    float of_gain = 0, of_bias = 0;
    if (column < columns)
        for (size_t r = first + row; r < end; r += ROWS_AT_ONCE) {
            const float d = dy[r * columns + column];
            of_gain += d * ((x[r * columns + column] - means[r]) * rstds[r]);
            of_bias += d;
        }
    sums[threadIdx.x] = of_gain;
    sums[THREADS + threadIdx.x] = of_bias;
    __syncthreads();
    /* the first warp adds up what is the gain's, the second the bias's */
    if (row > 1 || column >= columns) return;
    float all = 0;
    for (int k = 0; k < ROWS_AT_ONCE; k++)
        all += sums[row * THREADS + k * TILE + threadIdx.x % TILE];
    part[(row * chunks + chunk) * columns + column] = all;
}

static reduction over_chunks(const node *d)
{
    return { 1, blocks_of(pith_rows(d), CHUNK_ROWS), pith_columns(d) };
}

PITH_CUDA_SCRATCH(layer_norm_grad)
{
    const reduction r = over_chunks(n);
    return (2 * r.length * r.inner + reduce_room(&r, 1)) * sizeof(float);
}

PITH_CUDA_KERNEL(layer_norm_grad)
{
    const reduction r = over_chunks(call->n);
    const size_t rows = pith_rows(call->n), columns = r.inner;
    const unsigned tiles = blocks_of(columns, TILE);
    const float *x = (const float *)call->in[0], *gain = (const float *)call->in[1],
                *means = (const float *)call->in[2], *rstds = (const float *)call->in[3],
                *dy = (const float *)call->in[4];
    float *part = (float *)call->scratch, *bias_part = part + r.length * columns,
          *room = bias_part + r.length * columns;
    return PITH_LAUNCH_ROWS(call, layer_norm_grad_rows, rows, columns, x, gain, means, rstds, dy,
                            (float *)call->out[0]) &&
           PITH_LAUNCH(call, gain_and_bias, (unsigned)(tiles * r.length), THREADS, 0, rows, columns,
                       tiles, r.length, x, means, rstds, dy, part) &&
           reduce<TO_SUM, TO_SUM>(call, &r, 1, part, NULL, (float *)call->out[1], room) &&
           reduce<TO_SUM, TO_SUM>(call, &r, 1, bias_part, NULL, (float *)call->out[2], room);
}
