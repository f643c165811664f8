/* ops/layer_norm.c: layer normalisation over the last axis, and its gradient op. Mean and 1/std of
 * each row are results, so that the gradient takes one pass over x and dy. */
#include "attributes.h"
#include "rows.h"

/* partial sums of the gradient of gain and bias, whatever the number of threads */
enum { BLOCKS = 64 };

extern const pith_op pith_op_layer_norm_grad;

/* ---- forward: x (..., n), gain (n), bias (n) -> y (..., n), mean (...), 1/std (...) ---- */

static bool layer_norm_shape(node *y)
{
    const node *x = y->in[0];
    if (!pith_want(y, 0, PITH_F32, -1)) return false;
    for (int k = 1; k <= 2; k++) {
        if (!pith_want(y, k, PITH_F32, 1)) return false;
        if (y->in[k]->dim[0] != x->dim[x->ndim - 1])
            return pith_fail(y, "%s has %d entries, a row has %d", k == 1 ? "gain" : "bias",
                             y->in[k]->dim[0], x->dim[x->ndim - 1]);
    }
    return pith_like(y, x) && pith_more_result(y, 1, PITH_F32, x->ndim - 1, x->dim) &&
           pith_more_result(y, 2, PITH_F32, x->ndim - 1, x->dim);
}

static bool layer_norm_grad(node *y, node *const *dy, node **dx)
{
    if (!dy[0] || dy[1] || dy[2]) return false;
    node *in[] = { y->in[0], y->in[1], pith_result(y, 1), pith_result(y, 2), dy[0] };
    node *d = pith_make(NULL, &pith_op_layer_norm_grad, y->graph, 5, in, NULL);
    for (int k = 0; k < 3; k++) dx[k] = pith_result(d, k);
    return true;
}

static node *row_mean(node *a) { return SCALE(SUM(a, -1), 1. / (double)pith_columns(a)); }

static void layer_norm_lower(node *y, node **out)
{
    node *x = y->in[0], *mean = row_mean(x), *centred = SUB(x, KEEP(mean, -1));
    node *rstd = RSQRT(SHIFT(row_mean(SQUARE(centred)), LAYER_NORM_EPSILON));
    out[0] = ADD(MUL(MUL(centred, KEEP(rstd, -1)), y->in[1]), y->in[2]);
    out[1] = mean;
    out[2] = rstd;
}

static bool layer_norm_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t rows = pith_rows(n), columns = pith_columns(n);
    const real *gain = call->in[1], *bias = call->in[2], share = 1 / (real)columns;
#pragma omp parallel for schedule(static) if (rows * columns > PITH_SMALL)
    for (size_t r = 0; r < rows; r++) {
        const real *x = (const real *)call->in[0] + r * columns;
        real *y = (real *)call->out[0] + r * columns, sum, squares;
        ROW_SUM(sum, columns, x[i]);
        const real mean = sum * share;
        ROW_SUM(squares, columns, (x[i] - mean) * (x[i] - mean));
        const real rstd = 1 / real_sqrt(squares * share + (real)LAYER_NORM_EPSILON);
        for (size_t i = 0; i < columns; i++) y[i] = (x[i] - mean) * rstd * gain[i] + bias[i];
        ((real *)call->out[1])[r] = mean;
        ((real *)call->out[2])[r] = rstd;
    }
    return true;
}

static node *layer_norm_sample(pith_graph *g, int rows, int columns)
{
    return pith_layer_norm(pith_sample(g, -1, 1, rows, columns),
                           pith_sample(g, PITH_AWAY, 0, columns),
                           pith_sample(g, PITH_AWAY, 0, columns));
}

static node *layer_norm_example(pith_graph *g, int i)
{
    return i == 0 ? layer_norm_sample(g, 3, 5) : i == 1 ? layer_norm_sample(g, 2, 18) : NULL;
}

PITH_ON_CUDA(layer_norm);
const pith_op pith_op_layer_norm = { "layer_norm",
                                     .shape = layer_norm_shape,
                                     .grad = layer_norm_grad,
                                     .lower = layer_norm_lower,
                                     .cpu = layer_norm_cpu,
                                     .cuda = layer_norm_cuda,
                                     .flags = PITH_INPLACE,
                                     .results = 3,
                                     .example = layer_norm_example };

node *pith_layer_norm_(const char *at, node *x, node *gain, node *bias)
{
    return pith_make3(at, &pith_op_layer_norm, x, gain, bias, NULL);
}

/* ---- gradient: x, gain, mean, 1/std, dy -> dx, dgain, dbias ---- */

static bool layer_norm_grad_shape(node *d)
{
    const node *gain = d->in[1];
    return pith_like(d, d->in[0]) && pith_more_result(d, 1, PITH_F32, 1, gain->dim) &&
           pith_more_result(d, 2, PITH_F32, 1, gain->dim);
}

/* With h the normalised row and g = dy gain: (g - mean(g) - h mean(g h)) / std; gain gets dy h,
 * bias dy. */
static void layer_norm_grad_lower(node *d, node **out)
{
    node *x = d->in[0], *gain = d->in[1], *rstd = KEEP(d->in[3], -1), *dy = d->in[4];
    node *h = MUL(SUB(x, KEEP(d->in[2], -1)), rstd), *g = MUL(dy, gain);
    node *pulled = ADD(KEEP(row_mean(g), -1), MUL(h, KEEP(row_mean(MUL(g, h)), -1)));
    out[0] = MUL(SUB(g, pulled), rstd);
    out[1] = pith_reduce_like(MUL(dy, h), gain);
    out[2] = pith_reduce_like(dy, gain);
}

/* Rows [first, end): dx, and the sums for gain and bias. */
static void gradient_rows(const void *const *in, real *dx, size_t first, size_t end, size_t n,
                          real *dgain, real *dbias)
{
    const real *gain = in[1], share = 1 / (real)n;
    memset(dgain, 0, n * sizeof *dgain);
    memset(dbias, 0, n * sizeof *dbias);
    for (size_t r = first; r < end; r++) {
        const real *x = (const real *)in[0] + r * n, *dy = (const real *)in[4] + r * n;
        const real mean = ((const real *)in[2])[r], rstd = ((const real *)in[3])[r];
        real *d = dx + r * n, sum, sum_h;
        ROW_SUM(sum, n, dy[i] * gain[i]);
        ROW_SUM(sum_h, n, dy[i] * gain[i] * ((x[i] - mean) * rstd));
        const real a = sum * share, b = sum_h * share;
        for (size_t i = 0; i < n; i++) {
            const real t = dy[i], h = (x[i] - mean) * rstd;
            d[i] = (t * gain[i] - (a + h * b)) * rstd;
            dgain[i] += t * h;
            dbias[i] += t;
        }
    }
}

static size_t blocks_of(size_t rows) { return rows < 16 * BLOCKS ? (rows + 15) / 16 : BLOCKS; }

static size_t layer_norm_grad_scratch(const node *d)
{
    return blocks_of(pith_rows(d)) * 2 * pith_columns(d) * sizeof(real);
}

static bool layer_norm_grad_cpu(const pith_call *call)
{
    const node *d = call->n;
    const size_t rows = pith_rows(d), n = pith_columns(d), blocks = blocks_of(rows);
    real *part = call->scratch;
#pragma omp parallel for schedule(static) if (rows * n > PITH_SMALL)
    for (size_t b = 0; b < blocks; b++)
        gradient_rows(call->in, call->out[0], rows * b / blocks, rows * (b + 1) / blocks, n,
                      part + 2 * b * n, part + (2 * b + 1) * n);
    for (int k = 0; k < 2; k++) {
        real *sum = call->out[k + 1];
        memcpy(sum, part + (size_t)k * n, n * sizeof *sum);
        for (size_t b = 1; b < blocks; b++)
            for (size_t i = 0; i < n; i++) sum[i] += part[(2 * b + (size_t)k) * n + i];
    }
    return true;
}

static node *layer_norm_grad_example(pith_graph *g, int i)
{
    if (i > 1) return NULL;
    const int rows = i ? 19 : 2, columns = i ? 3 : 17;
    node *in[] = { pith_sample(g, -1, 1, rows, columns), pith_sample(g, PITH_AWAY, 0, columns),
                   pith_sample(g, -1, 1, rows), pith_sample(g, 0.5, 2, rows),
                   pith_sample(g, -1, 1, rows, columns) };
    return pith_make(PITH_HERE, &pith_op_layer_norm_grad, g, 5, in, NULL);
}

PITH_ON_CUDA_WITH_SCRATCH(layer_norm_grad);
const pith_op pith_op_layer_norm_grad = { "layer_norm_grad",
                                          .shape = layer_norm_grad_shape,
                                          .lower = layer_norm_grad_lower,
                                          .cpu = layer_norm_grad_cpu,
                                          .cuda = layer_norm_grad_cuda,
                                          .scratch = layer_norm_grad_scratch,
                                          .cuda_scratch = layer_norm_grad_cuda_scratch,
                                          .results = 3,
                                          .example = layer_norm_grad_example };
