/* ops/softmax.c: softmax, log_sum_exp and rows of unit length, all over the last axis. */
#include "rows.h"

static node *exp_shifted(node *a, node *max) { return EXP(SUB(a, KEEP(max, -1))); }

/* ---- softmax ---- */

static bool softmax_shape(node *n)
{
    return pith_want(n, 0, PITH_F32, -1) && pith_like(n, n->in[0]);
}

static bool softmax_grad(node *y, node *const *dy, node **dx)
{
    node *ydy = MUL(y, dy[0]);
    dx[0] = SUB(ydy, MUL(y, KEEP(SUM(ydy, -1), -1)));
    return true;
}

/* The maximum is detached: the value does not depend on the shift. */
static void softmax_lower(node *n, node **out)
{
    node *e = exp_shifted(n->in[0], DETACH(MAX(n->in[0], -1)));
    out[0] = DIV(e, KEEP(SUM(e, -1), -1));
}

static bool softmax_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t rows = pith_rows(n), columns = pith_columns(n);
#pragma omp parallel for schedule(static) if (rows * columns > PITH_SMALL)
    for (size_t r = 0; r < rows; r++) {
        const real *x = (const real *)call->in[0] + r * columns, max = row_max(x, columns);
        real *y = (real *)call->out[0] + r * columns, sum;
        PITH_SIMD
        for (size_t i = 0; i < columns; i++) y[i] = real_exp(x[i] - max);
        ROW_SUM(sum, columns, y[i]);
        for (size_t i = 0; i < columns; i++) y[i] /= sum;
    }
    return true;
}

static node *softmax_example(pith_graph *g, int i)
{
    return i == 0   ? pith_softmax(pith_sample(g, -3, 3, 3, 5))
           : i == 1 ? pith_softmax(pith_sample(g, -3, 3, 2, 19))
           : i == 2 ? pith_softmax(pith_sample(g, -3, 3, 2, 2, 1))
                    : NULL;
}

PITH_ON_CUDA(softmax);
const pith_op pith_op_softmax = {
    "softmax",          .shape = softmax_shape, .grad = softmax_grad,  .lower = softmax_lower,
    .cpu = softmax_cpu, .cuda = softmax_cuda,   .flags = PITH_INPLACE, .example = softmax_example
};

node *pith_softmax_(const char *at, node *a) { return pith_make1(at, &pith_op_softmax, a, NULL); }

/* ---- log_sum_exp ---- */

static bool log_sum_exp_shape(node *n)
{
    return pith_want(n, 0, PITH_F32, -1) &&
           pith_shape(n, PITH_F32, n->in[0]->ndim - 1, n->in[0]->dim);
}

static bool log_sum_exp_grad(node *y, node *const *dy, node **dx)
{
    dx[0] = MUL(KEEP(dy[0], -1), EXP(SUB(y->in[0], KEEP(y, -1))));
    return true;
}

static void log_sum_exp_lower(node *n, node **out)
{
    node *max = DETACH(MAX(n->in[0], -1));
    out[0] = ADD(LOG(SUM(exp_shifted(n->in[0], max), -1)), max);
}

static bool log_sum_exp_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t rows = pith_size(n), columns = pith_columns(n->in[0]);
#pragma omp parallel for schedule(static) if (rows * columns > PITH_SMALL)
    for (size_t r = 0; r < rows; r++)
        ((real *)call->out[0])[r] = row_log_sum_exp((const real *)call->in[0] + r * columns,
                                                    columns);
    return true;
}

static node *log_sum_exp_example(pith_graph *g, int i)
{
    return i == 0   ? pith_log_sum_exp(pith_sample(g, -3, 3, 3, 5))
           : i == 1 ? pith_log_sum_exp(pith_sample(g, -3, 3, 19))
                    : NULL;
}

PITH_ON_CUDA(log_sum_exp);
const pith_op pith_op_log_sum_exp = { "log_sum_exp",
                                      .shape = log_sum_exp_shape,
                                      .grad = log_sum_exp_grad,
                                      .lower = log_sum_exp_lower,
                                      .cpu = log_sum_exp_cpu,
                                      .cuda = log_sum_exp_cuda,
                                      .example = log_sum_exp_example };

node *pith_log_sum_exp_(const char *at, node *a)
{
    return pith_make1(at, &pith_op_log_sum_exp, a, NULL);
}

/* ---- normalize: a row of zeros stays zeros, with no gradient ---- */

node *pith_normalize_(const char *at, node *a)
{
    node *sum = pith_sum_(at, pith_square_(at, a), -1, PITH_END),
         *one = a ? pith_const_(at, a->graph, 1) : NULL;
    node *length = pith_rsqrt_(at, pith_where_(at, sum, sum, one));
    return pith_mul_(
        at, a, KEEP(pith_where_(at, sum, length, a ? pith_const_(at, a->graph, 0) : NULL), -1));
}
