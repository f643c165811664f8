/* ops/random_ops.c: uniform, normal and dropout. A number depends on the stream's key, the step and
 * its own place and on nothing else, so threads, replays and recomputed segments draw the same.
 * Input `step` is pith_step(g); attr.i[0..1] hold the key. */
#include <stdarg.h>
#include "core.h"

uint64_t pith_stream_key(pith_graph *g); /* random.c: the next one of the scope the graph is in */

static void keep_key(pith_attr *attr, pith_graph *g)
{
    const uint64_t key = pith_stream_key(g);
    memcpy(attr->i, &key, sizeof key);
}

static uint64_t key_of(const node *n)
{
    uint64_t key;
    memcpy(&key, n->attr.i, sizeof key);
    return key;
}

/* ---- uniform and normal: attr.i[2..7] the dims, f[0] their number ---- */

static bool random_shape(node *n)
{
    return pith_want(n, 0, PITH_I32, 0) &&
           pith_shape(n, PITH_F32, (int)n->attr.f[0], n->attr.i + 2);
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
    const uint64_t key = key_of(n);
    const size_t size = pith_size(n);
#pragma omp parallel for schedule(static) if (size > PITH_SMALL / 16)
    for (size_t i = 0; i < size; i++) y[i] = (real)draw(key, (uint64_t)*step, i);
}

static void uniform_cpu(const node *n, const void *const *in, void *const *out, void *scratch)
{
    (void)scratch;
    fill(n, in[0], out[0], pith_uniform_at);
}

static void normal_cpu(const node *n, const void *const *in, void *const *out, void *scratch)
{
    (void)scratch;
    fill(n, in[0], out[0], pith_normal_at);
}

static node *uniform_example(pith_graph *g, int i) { return i == 0 ? pith_uniform(g, 3, 4) : NULL; }
static node *normal_example(pith_graph *g, int i) { return i == 0 ? pith_normal(g, 3, 4) : NULL; }

const pith_op pith_op_uniform = {
    "uniform",          .shape = random_shape,  .grad = random_grad,
    .cpu = uniform_cpu, .flags = PITH_DISTINCT, .example = uniform_example
};
const pith_op pith_op_normal = {
    "normal",          .shape = random_shape,  .grad = random_grad,
    .cpu = normal_cpu, .flags = PITH_DISTINCT, .example = normal_example
};

static node *make(const char *at, const pith_op *op, pith_graph *g, int ndim, const int *dim)
{
    pith_attr attr = { .f = { ndim } };
    for (int k = 0; k < ndim && k < PITH_MAX_DIMS; k++) attr.i[2 + k] = dim[k];
    keep_key(&attr, g);
    return pith_make1(at, op, pith_step(g), &attr);
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

/* ---- dropout: attr.f[0] the share p. The mask is drawn again for the gradient, not kept: dropout
 * is linear in its input. ---- */

static bool dropout_shape(node *n)
{
    const double p = n->attr.f[0];
    if (!(p >= 0 && p < 1)) return pith_fail(n, "the share to drop is %g, expected 0 <= p < 1", p);
    return pith_want(n, 0, PITH_F32, n->in[0]->ndim) && pith_like(n, n->in[0]);
}

static bool dropout_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = pith_make2(NULL, n->op, dy[0], n->in[1], &n->attr);
    return true;
}

static void dropout_cpu(const node *n, const void *const *in, void *const *out, void *scratch)
{
    (void)scratch;
    const uint64_t key = key_of(n), step = (uint64_t)*(const int *)in[1];
    const double p = n->attr.f[0];
    const real scale = (real)(1 / (1 - p)), *a = in[0];
    const size_t size = pith_size(n);
    real *y = out[0];
#pragma omp parallel for schedule(static) if (size > PITH_SMALL / 16)
    for (size_t i = 0; i < size; i++) y[i] = pith_uniform_at(key, step, i) < p ? 0 : scale * a[i];
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

const pith_op pith_op_dropout = {
    "dropout",          .shape = dropout_shape, .grad = dropout_grad,
    .cpu = dropout_cpu, .flags = PITH_INPLACE,  .example = dropout_example
};

node *pith_dropout_(const char *at, node *a, double p)
{
    if (!a || !pith_is_training(a->graph)) return a;
    pith_attr attr = { .f = { p } };
    keep_key(&attr, a->graph);
    return pith_make2(at, &pith_op_dropout, a, pith_step(a->graph), &attr);
}
