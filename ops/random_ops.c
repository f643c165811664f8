/* ops/random_ops.c: uniform, normal, choose and dropout. A number depends on the stream's key, the
 * step and its own place and on nothing else, so threads, replays and recomputed regions draw the
 * same. Every op here has pith_step(g) among its inputs, the number of the training step. */
#include <stdarg.h>
#include "attributes.h"

static key_halves next_key(pith_graph *g)
{
    const uint64_t key = pith_stream_key(g);
    return (key_halves){ (uint32_t)key, (uint32_t)(key >> 32) };
}

/* ---- uniform and normal ---- */

static bool random_shape(node *n)
{
    const random_attr *a = n->attr;
    return pith_want(n, 0, PITH_I32, 0) && pith_shape(n, PITH_F32, a->ndim, a->dim);
}

/* The one input is a whole number. */
static bool random_grad(node *n, node *const *dy, node **dx)
{
    (void)n, (void)dy, (void)dx;
    return true;
}

static void fill(const node *n, const int *step, real *y,
                 double (*draw)(uint64_t, uint64_t, uint64_t))
{
    const uint64_t key = whole_key(((const random_attr *)n->attr)->key);
    const size_t size = pith_size(n);
#pragma omp parallel for schedule(static) if (size > PITH_SMALL / 16)
    for (size_t i = 0; i < size; i++) y[i] = (real)draw(key, (uint64_t)*step, i);
}

static bool uniform_cpu(const pith_call *call)
{
    const node *n = call->n;
    fill(n, call->in[0], call->out[0], pith_uniform_at);
    return true;
}

static bool normal_cpu(const pith_call *call)
{
    const node *n = call->n;
    fill(n, call->in[0], call->out[0], pith_normal_at);
    return true;
}

static node *uniform_example(pith_graph *g, int i) { return i == 0 ? pith_uniform(g, 3, 4) : NULL; }
static node *normal_example(pith_graph *g, int i) { return i == 0 ? pith_normal(g, 3, 4) : NULL; }

PITH_ON_CUDA(uniform);
const pith_op pith_op_uniform = { "uniform",
                                  .shape = random_shape,
                                  .grad = random_grad,
                                  .cpu = uniform_cpu,
                                  .cuda = uniform_cuda,
                                  .attr_size = sizeof(random_attr),
                                  .flags = PITH_DISTINCT,
                                  .example = uniform_example };
PITH_ON_CUDA(normal);
const pith_op pith_op_normal = { "normal",
                                 .shape = random_shape,
                                 .grad = random_grad,
                                 .cpu = normal_cpu,
                                 .cuda = normal_cuda,
                                 .attr_size = sizeof(random_attr),
                                 .flags = PITH_DISTINCT,
                                 .example = normal_example };

static node *make(const char *at, const pith_op *op, pith_graph *g, int ndim, const int *dim)
{
    node *step = g ? pith_step(g) : pith_make(at, op, NULL, 0, NULL, NULL);
    if (pith_poisoned(step)) return step;
    random_attr attr = { .key = next_key(g), .ndim = ndim };
    for (int k = 0; k < ndim && k < PITH_MAX_DIMS; k++) attr.dim[k] = dim[k];
    return pith_make1(at, op, step, &attr);
}

node *pith_uniform_(const char *at, pith_graph *g, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(g, dim, ndim);
    return make(at, &pith_op_uniform, g, ndim, dim);
}

node *pith_normal_(const char *at, pith_graph *g, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(g, dim, ndim);
    return make(at, &pith_op_normal, g, ndim, dim);
}

/* ---- choose: each number in its turn is taken with the probability of those that are still wanted
 * among those that are left (Knuth's algorithm S): every choice is as likely, and nothing is
 * sorted.
 * ---- */

static bool choose_shape(node *n)
{
    const choose_attr *a = n->attr;
    if (a->count < 1 || a->count > a->n)
        return pith_fail(n, "%d of %d numbers, expected 1 to all of them", a->count, a->n);
    return pith_want(n, 0, PITH_I32, 0) && pith_shape(n, PITH_I32, 2, (int[]){ a->rows, a->count });
}

static bool choose_cpu(const pith_call *call)
{
    const choose_attr *a = call->n->attr;
    const uint64_t key = whole_key(a->key), step = (uint64_t)*(const int *)call->in[0];
    const int n = a->n, count = a->count;
    int *y = call->out[0];
#pragma omp parallel for schedule(static) if ((size_t)a->rows * (size_t)n > PITH_SMALL / 16)
    for (int row = 0; row < a->rows; row++)
        for (int i = 0, taken = 0; taken < count; i++) {
            const double u = pith_uniform_at(key, step, (uint64_t)row * (uint64_t)n + (uint64_t)i);
            if (u * (n - i) < count - taken) y[(size_t)row * (size_t)count + (size_t)taken++] = i;
        }
    return true;
}

static node *choose_example(pith_graph *g, int i)
{
    return i == 0 ? pith_choose(g, 3, 7, 4) : NULL;
}

PITH_ON_CUDA(choose);
const pith_op pith_op_choose = { "choose",
                                 .shape = choose_shape,
                                 .cpu = choose_cpu,
                                 .cuda = choose_cuda,
                                 .attr_size = sizeof(choose_attr),
                                 .flags = PITH_DISTINCT,
                                 .no_grad = "it draws whole numbers",
                                 .example = choose_example };

node *pith_choose_(const char *at, pith_graph *g, int rows, int n, int count)
{
    node *step = g ? pith_step(g) : pith_make(at, &pith_op_choose, NULL, 0, NULL, NULL);
    if (pith_poisoned(step)) return step;
    return pith_make1(at, &pith_op_choose, step, &(choose_attr){ next_key(g), rows, n, count });
}

/* ---- dropout: the mask is drawn again for the gradient, not kept, for dropout is linear in its
 * input. ---- */

static bool dropout_shape(node *n)
{
    const double p = ((const dropout_attr *)n->attr)->share;
    if (!(p >= 0 && p < 1)) return pith_fail(n, "the share to drop is %g, expected 0 <= p < 1", p);
    return pith_want(n, 0, PITH_F32, n->in[0]->ndim) && pith_like(n, n->in[0]);
}

static bool dropout_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = pith_make2(NULL, n->op, dy[0], n->in[1], n->attr);
    return true;
}

static bool dropout_cpu(const pith_call *call)
{
    const node *n = call->n;
    const dropout_attr *attr = n->attr;
    const uint64_t key = whole_key(attr->key), step = (uint64_t)*(const int *)call->in[1];
    const double p = attr->share;
    const real scale = (real)(1 / (1 - p)), *a = call->in[0];
    const size_t size = pith_size(n);
    real *y = call->out[0];
#pragma omp parallel for schedule(static) if (size > PITH_SMALL / 16)
    for (size_t i = 0; i < size; i++) y[i] = pith_uniform_at(key, step, i) < p ? 0 : scale * a[i];
    return true;
}

static node *dropout_example(pith_graph *g, int i)
{
    if (i > 0) return NULL;
    const bool before = pith_is_training(g);
    pith_set_training(g, true);
    node *y = pith_dropout(pith_sample(g, PITH_AWAY, 0, 4, 5), 0.4);
    pith_set_training(g, before);
    return y;
}

PITH_ON_CUDA(dropout);
const pith_op pith_op_dropout = { "dropout",
                                  .shape = dropout_shape,
                                  .grad = dropout_grad,
                                  .cpu = dropout_cpu,
                                  .cuda = dropout_cuda,
                                  .attr_size = sizeof(dropout_attr),
                                  .flags = PITH_INPLACE,
                                  .example = dropout_example };

node *pith_dropout_(const char *at, node *a, double p)
{
    if (!a) return pith_make1(at, &pith_op_dropout, NULL, NULL);
    if (!pith_is_training(a->graph)) return a;
    const dropout_attr attr = { next_key(a->graph), p };
    return pith_make2(at, &pith_op_dropout, a, pith_step(a->graph), &attr);
}
