/* ops/batch_norm.c: normalisation of each channel over all rows (Ioffe and Szegedy, ICML 2015), and
 * its gradient op. Both read their inputs twice, once to sum up and once to compute.
 *
 * Rows are summed up in chunks that stay in the cache: so the squared distances are those from the
 * chunk's own mean, which has been computed before, and no large number is subtracted from another.
 * The chunks are joined in their order, in double. */
#include "attributes.h"
#include "functions.h"

enum { CHUNK = 8192, LEAST_ROWS = 16 };

extern const pith_op pith_op_batch_norm_grad;

/* ---- chunks of rows ---- */

typedef struct {
    size_t rows, columns, step, chunks; /* step: rows of a chunk */
} chunking;

static chunking chunks_of(const node *x)
{
    chunking c = { .rows = pith_rows(x), .columns = pith_columns(x) };
    c.step = CHUNK / c.columns < LEAST_ROWS ? LEAST_ROWS : CHUNK / c.columns;
    c.chunks = (c.rows + c.step - 1) / c.step;
    return c;
}

static size_t rows_in(const chunking *c, size_t chunk)
{
    return chunk + 1 < c->chunks ? c->step : c->rows - chunk * c->step;
}

/* Two sums a column and chunk, and two numbers a column. */
static size_t scratch_of(const node *x)
{
    const chunking c = chunks_of(x);
    return 2 * (c.chunks + 1) * c.columns * sizeof(real);
}

/* ---- forward: x (..., n), gain (n), bias (n) -> y (..., n), mean (n), variance (n) ---- */

static bool batch_norm_shape(node *y)
{
    const node *x = y->in[0];
    if (!pith_want(y, 0, PITH_F32, -1)) return false;
    const int n = x->dim[x->ndim - 1];
    for (int k = 1; k <= 2; k++) {
        if (!pith_want(y, k, PITH_F32, 1)) return false;
        if (y->in[k]->dim[0] != n)
            return pith_fail(y, "%s has %d entries, a row has %d", k == 1 ? "gain" : "bias",
                             y->in[k]->dim[0], n);
    }
    return pith_like(y, x) && pith_more_result(y, 1, PITH_F32, 1, &n) &&
           pith_more_result(y, 2, PITH_F32, 1, &n);
}

static bool batch_norm_grad(node *y, node *const *dy, node **dx)
{
    if (!dy[0] || dy[1] || dy[2]) return false;
    node *in[] = { y->in[0], y->in[1], pith_result(y, 1), pith_result(y, 2), dy[0] };
    node *d = pith_make(NULL, &pith_op_batch_norm_grad, y->graph, 5, in, NULL);
    for (int k = 0; k < 3; k++) dx[k] = pith_result(d, k);
    return true;
}

/* The sum, or the mean, of each column. */
static node *column_sum(node *a)
{
    return SUM(pith_reshape_(NULL, a, -1, (int)pith_columns(a), PITH_END), 0);
}

static node *column_mean(node *a) { return SCALE(column_sum(a), 1. / (double)pith_rows(a)); }

static void batch_norm_lower(node *y, node **out)
{
    node *x = y->in[0], *mean = column_mean(x), *centred = SUB(x, mean);
    node *variance = column_mean(SQUARE(centred));
    out[0] = ADD(MUL(MUL(centred, RSQRT(SHIFT(variance, BATCH_NORM_EPSILON))), y->in[1]), y->in[2]);
    out[1] = mean;
    out[2] = variance;
}

/* Of the rows of a chunk: the mean of each column, and the sum of squared distances from it. */
static void summarise(const real *x, size_t rows, size_t n, real *restrict mean,
                      real *restrict squares)
{
    const real share = 1 / (real)rows;
    memset(mean, 0, n * sizeof *mean);
    memset(squares, 0, n * sizeof *squares);
    for (size_t r = 0; r < rows; r++) {
        PITH_SIMD
        for (size_t i = 0; i < n; i++) mean[i] += x[r * n + i];
    }
    for (size_t i = 0; i < n; i++) mean[i] *= share;
    for (size_t r = 0; r < rows; r++) {
        PITH_SIMD
        for (size_t i = 0; i < n; i++) {
            const real d = x[r * n + i] - mean[i];
            squares[i] += d * d;
        }
    }
}

/* Chan, Golub and LeVeque's rule: two sets of numbers, of which means and sums of squared distances
 * are known, become one. */
static void join_chunks(const chunking *c, const real *part, real *mean, real *variance)
{
    const size_t n = c->columns;
#pragma omp parallel for schedule(static) if (c->chunks * n > PITH_SMALL)
    for (size_t i = 0; i < n; i++) {
        double m = 0, squares = 0, before = 0;
        for (size_t k = 0; k < c->chunks; k++) {
            const double rows = (double)rows_in(c, k), share = rows / (before + rows),
                         d = (double)part[2 * k * n + i] - m;
            m += d * share;
            squares += (double)part[(2 * k + 1) * n + i] + d * d * before * share;
            before += rows;
        }
        mean[i] = (real)m;
        variance[i] = (real)(squares / before);
    }
}

static bool batch_norm_cpu(const pith_call *call)
{
    const chunking c = chunks_of(call->n);
    const size_t n = c.columns;
    const real *x = call->in[0], *gain = call->in[1], *bias = call->in[2];
    real *y = call->out[0], *mean = call->out[1], *variance = call->out[2], *part = call->scratch,
         *factor = part + 2 * c.chunks * n;
#pragma omp parallel for schedule(static) if (c.rows * n > PITH_SMALL)
    for (size_t k = 0; k < c.chunks; k++)
        summarise(x + k * c.step * n, rows_in(&c, k), n, part + 2 * k * n, part + (2 * k + 1) * n);
    join_chunks(&c, part, mean, variance);
    for (size_t i = 0; i < n; i++)
        factor[i] = gain[i] / real_sqrt(variance[i] + (real)BATCH_NORM_EPSILON);
#pragma omp parallel for schedule(static) if (c.rows * n > PITH_SMALL)
    for (size_t r = 0; r < c.rows; r++) {
        PITH_SIMD
        for (size_t i = 0; i < n; i++)
            y[r * n + i] = (x[r * n + i] - mean[i]) * factor[i] + bias[i];
    }
    return true;
}

static node *batch_norm_sample(pith_graph *g, node *x)
{
    const int n = x->dim[x->ndim - 1];
    return pith_batch_norm(x, pith_sample(g, PITH_AWAY, 0, n), pith_sample(g, PITH_AWAY, 0, n));
}

static node *batch_norm_example(pith_graph *g, int i)
{
    return i == 0   ? batch_norm_sample(g, pith_sample(g, -1, 1, 5, 3))
           : i == 1 ? batch_norm_sample(g, pith_sample(g, -1, 1, 3, 2, 7, 2))
                    : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(batch_norm);
const pith_op pith_op_batch_norm = { "batch_norm",
                                     .shape = batch_norm_shape,
                                     .grad = batch_norm_grad,
                                     .lower = batch_norm_lower,
                                     .cpu = batch_norm_cpu,
                                     .cuda = batch_norm_cuda,
                                     .bf16 = { .in = 1, .out = 1 },
                                     .cuda_bf16 = PITH_ALIKE,
                                     .cuda_scratch = batch_norm_cuda_scratch,
                                     .scratch = scratch_of,
                                     .flags = PITH_INPLACE,
                                     .results = 3,
                                     .example = batch_norm_example };

node *pith_batch_norm_(const char *at, node *x, node *gain, node *bias)
{
    return pith_make3(at, &pith_op_batch_norm, x, gain, bias, NULL);
}

/* ---- gradient: x, gain, mean, variance, dy -> dx, dgain, dbias ---- */

static bool batch_norm_grad_shape(node *d)
{
    const node *gain = d->in[1];
    return pith_like(d, d->in[0]) && pith_more_result(d, 1, PITH_F32, 1, gain->dim) &&
           pith_more_result(d, 2, PITH_F32, 1, gain->dim);
}

static void batch_norm_grad_lower(node *d, node **out)
{
    node *x = d->in[0], *gain = d->in[1], *dy = d->in[4];
    node *rstd = RSQRT(SHIFT(d->in[3], BATCH_NORM_EPSILON)), *h = MUL(SUB(x, d->in[2]), rstd);
    node *pulled = ADD(column_mean(dy), MUL(h, column_mean(MUL(dy, h))));
    out[0] = MUL(SUB(dy, pulled), MUL(gain, rstd));
    out[1] = column_sum(MUL(dy, h));
    out[2] = column_sum(dy);
}

/* Of the rows of a chunk: the sums of dy, and of dy times x - mean. */
static void sum_chunk(const real *x, const real *dy, const real *mean, size_t rows, size_t n,
                      real *restrict sum, real *restrict product)
{
    memset(sum, 0, n * sizeof *sum);
    memset(product, 0, n * sizeof *product);
    for (size_t r = 0; r < rows; r++) {
        PITH_SIMD
        for (size_t i = 0; i < n; i++) {
            const real t = dy[r * n + i];
            sum[i] += t;
            product[i] += t * (x[r * n + i] - mean[i]);
        }
    }
}

static bool batch_norm_grad_cpu(const pith_call *call)
{
    const chunking c = chunks_of(call->n);
    const size_t n = c.columns;
    const real *x = call->in[0], *gain = call->in[1], *mean = call->in[2], *variance = call->in[3],
               *dy = call->in[4];
    real *pulled = call->out[0], *dgain = call->out[1], *dbias = call->out[2],
         *part = call->scratch, *shift = part + 2 * c.chunks * n, *slope = shift + n;
#pragma omp parallel for schedule(static) if (c.rows * n > PITH_SMALL)
    for (size_t k = 0; k < c.chunks; k++)
        sum_chunk(x + k * c.step * n, dy + k * c.step * n, mean, rows_in(&c, k), n,
                  part + 2 * k * n, part + (2 * k + 1) * n);
    for (size_t i = 0; i < n; i++) { /* dx = (dy - shift - slope (x - mean)) gain / std */
        double sum = 0, product = 0;
        for (size_t k = 0; k < c.chunks; k++) {
            sum += (double)part[2 * k * n + i];
            product += (double)part[(2 * k + 1) * n + i];
        }
        const double square = (double)variance[i] + BATCH_NORM_EPSILON;
        shift[i] = (real)(sum / (double)c.rows);
        slope[i] = (real)(product / square / (double)c.rows);
        dgain[i] = (real)(product / sqrt(square));
        dbias[i] = (real)sum;
    }
    real *factor = part; /* the chunks' sums are not needed any more */
    for (size_t i = 0; i < n; i++)
        factor[i] = gain[i] / real_sqrt(variance[i] + (real)BATCH_NORM_EPSILON);
#pragma omp parallel for schedule(static) if (c.rows * n > PITH_SMALL)
    for (size_t r = 0; r < c.rows; r++) {
        PITH_SIMD
        for (size_t i = 0; i < n; i++) {
            const size_t k = r * n + i;
            pulled[k] = (dy[k] - shift[i] - slope[i] * (x[k] - mean[i])) * factor[i];
        }
    }
    return true;
}

static node *batch_norm_grad_example(pith_graph *g, int i)
{
    if (i > 1) return NULL;
    const int rows = i ? 19 : 4, columns = i ? 3 : 17;
    node *in[] = { pith_sample(g, -1, 1, rows, columns), pith_sample(g, PITH_AWAY, 0, columns),
                   pith_sample(g, -1, 1, columns), pith_sample(g, 0.5, 2, columns),
                   pith_sample(g, -1, 1, rows, columns) };
    return pith_make(PITH_HERE, &pith_op_batch_norm_grad, g, 5, in, NULL);
}

PITH_ON_CUDA_WITH_SCRATCH(batch_norm_grad);
const pith_op pith_op_batch_norm_grad = { "batch_norm_grad",
                                          .shape = batch_norm_grad_shape,
                                          .lower = batch_norm_grad_lower,
                                          .cpu = batch_norm_grad_cpu,
                                          .cuda = batch_norm_grad_cuda,
                                          .bf16 = { .in = 1 | 16, .out = 1 },
                                          .cuda_bf16 = PITH_ALIKE,
                                          .cuda_scratch = batch_norm_grad_cuda_scratch,
                                          .scratch = scratch_of,
                                          .flags = PITH_INPLACE,
                                          .results = 3,
                                          .example = batch_norm_grad_example };
