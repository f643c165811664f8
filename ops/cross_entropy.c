/* ops/cross_entropy.c: cross-entropy of each row of logits (B, C) against a label, or against the
 * softmax of other logits. One pass a row, nothing of size (B, C) is kept: gradients are made from
 * the log-sum-exp results, as pointwise ops that the planner fuses into the one pass that writes
 * them. */
#include "rows.h"

static bool want_logits(node *n) { return pith_want(n, 0, PITH_F32, 2); }

/* Result k, one number a row. */
static bool row_result(node *n, int k)
{
    return pith_more_result(n, k, PITH_F32, 1, n->in[0]->dim);
}

static node *softmax_from(node *logits, node *lse) { return EXP(SUB(logits, KEEP(lse, -1))); }

/* ---- against labels i32 (B): loss, log-sum-exp. A label outside [0, C) makes a row's loss 0. - */

static bool cross_entropy_shape(node *n)
{
    const node *logits = n->in[0], *labels = n->in[1];
    if (!want_logits(n) || !pith_want(n, 1, PITH_I32, 1)) return false;
    if (labels->dim[0] != logits->dim[0])
        return pith_fail(n, "%d labels for %d rows of logits", labels->dim[0], logits->dim[0]);
    return pith_shape(n, PITH_F32, 1, logits->dim) && row_result(n, 1);
}

/* (B, C): 1 at the label. */
static node *one_hot(node *logits, node *labels)
{
    node *classes = pith_arange_(labels->at, labels->graph, logits->dim[1]);
    return EQUAL(KEEP(labels, -1), classes);
}

static bool cross_entropy_grad(node *n, node *const *dy, node **dx)
{
    if (!dy[0] || dy[1]) return false;
    node *hot = one_hot(n->in[0], n->in[1]), *scale = MUL(dy[0], SUM(hot, -1));
    dx[0] = SUB(MUL(KEEP(scale, -1), softmax_from(n->in[0], pith_result(n, 1))),
                MUL(KEEP(dy[0], -1), hot));
    return true;
}

static void cross_entropy_lower(node *n, node **out)
{
    node *hot = one_hot(n->in[0], n->in[1]);
    out[1] = pith_log_sum_exp_(NULL, n->in[0]);
    out[0] = SUM(MUL(hot, SUB(KEEP(out[1], -1), n->in[0])), -1);
}

static bool cross_entropy_cpu(const pith_call *call)
{
    const node *n = call->n;
    const int rows = n->dim[0], columns = n->in[0]->dim[1], *label = call->in[1];
    real *loss = call->out[0], *lse = call->out[1];
#pragma omp parallel for schedule(static) if ((size_t)rows * (size_t)columns > PITH_SMALL)
    for (int r = 0; r < rows; r++) {
        const real *x = (const real *)call->in[0] + (size_t)r * (size_t)columns;
        lse[r] = row_log_sum_exp(x, (size_t)columns);
        loss[r] = label[r] >= 0 && label[r] < columns ? lse[r] - x[label[r]] : 0;
    }
    return true;
}

static node *cross_entropy_example(pith_graph *g, int i)
{
    return i == 0   ? pith_cross_entropy(pith_sample(g, -2, 2, 4, 5), pith_sample_ids(g, 5, 4))
           : i == 1 ? pith_cross_entropy(pith_sample(g, -2, 2, 6, 3), pith_sample_ids(g, 4, 6))
                    : NULL;
}

PITH_ON_CUDA(cross_entropy);
const pith_op pith_op_cross_entropy = { "cross_entropy",
                                        .shape = cross_entropy_shape,
                                        .grad = cross_entropy_grad,
                                        .lower = cross_entropy_lower,
                                        .cpu = cross_entropy_cpu,
                                        .cuda = cross_entropy_cuda,
                                        .results = 2,
                                        .example = cross_entropy_example };

node *pith_cross_entropy_(const char *at, node *logits, node *labels)
{
    return pith_make2(at, &pith_op_cross_entropy, logits, labels, NULL);
}

/* ---- against target logits (B, C): loss, log-sum-exp of the logits, of the targets ---- */

static bool soft_cross_entropy_shape(node *n)
{
    if (!want_logits(n) || !pith_want(n, 1, PITH_F32, 2)) return false;
    if (!pith_same_shape(n->in[0], n->in[1]))
        return pith_fail(n, "logits and targets differ in shape");
    return pith_shape(n, PITH_F32, 1, n->in[0]->dim) && row_result(n, 1) && row_result(n, 2);
}

/* With p = softmax(targets), q = softmax(logits): dy (q - p), and dy p (-log q - loss). */
static bool soft_cross_entropy_grad(node *n, node *const *dy, node **dx)
{
    if (!dy[0] || dy[1] || dy[2]) return false;
    node *logits = n->in[0], *lse = pith_result(n, 1), *d = KEEP(dy[0], -1);
    node *p = softmax_from(n->in[1], pith_result(n, 2)), *loss = KEEP(n, -1);
    dx[0] = MUL(d, SUB(softmax_from(logits, lse), p));
    dx[1] = MUL(d, MUL(p, SUB(SUB(KEEP(lse, -1), logits), loss)));
    return true;
}

static void soft_cross_entropy_lower(node *n, node **out)
{
    out[1] = pith_log_sum_exp_(NULL, n->in[0]);
    out[2] = pith_log_sum_exp_(NULL, n->in[1]);
    out[0] = SUM(MUL(softmax_from(n->in[1], out[2]), SUB(KEEP(out[1], -1), n->in[0])), -1);
}

static bool soft_cross_entropy_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t rows = (size_t)n->dim[0], columns = pith_columns(n->in[0]);
    real *loss = call->out[0], *lse = call->out[1], *target_lse = call->out[2];
#pragma omp parallel for schedule(static) if (rows * columns > PITH_SMALL)
    for (size_t r = 0; r < rows; r++) {
        const real *x = (const real *)call->in[0] + r * columns,
                   *t = (const real *)call->in[1] + r * columns;
        const real a = lse[r] = row_log_sum_exp(x, columns),
                   b = target_lse[r] = row_log_sum_exp(t, columns);
        ROW_SUM(loss[r], columns, real_exp(t[i] - b) * (a - x[i]));
    }
    return true;
}

static node *soft_cross_entropy_example(pith_graph *g, int i)
{
    const int rows = i ? 2 : 3, columns = i ? 18 : 4;
    return i > 1 ? NULL
                 : pith_soft_cross_entropy(pith_sample(g, -2, 2, rows, columns),
                                           pith_sample(g, -2, 2, rows, columns));
}

PITH_ON_CUDA(soft_cross_entropy);
const pith_op pith_op_soft_cross_entropy = { "soft_cross_entropy",
                                             .shape = soft_cross_entropy_shape,
                                             .grad = soft_cross_entropy_grad,
                                             .lower = soft_cross_entropy_lower,
                                             .cpu = soft_cross_entropy_cpu,
                                             .cuda = soft_cross_entropy_cuda,
                                             .results = 3,
                                             .example = soft_cross_entropy_example };

node *pith_soft_cross_entropy_(const char *at, node *logits, node *targets)
{
    return pith_make2(at, &pith_op_soft_cross_entropy, logits, targets, NULL);
}
