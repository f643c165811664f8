/* ops/shape.c: reshape and detach, which are aliases: no work at all; and cast. */
#include <stdarg.h>
#include <stdlib.h>
#include "attributes.h"

static node *sample(pith_graph *g, int rows, int columns)
{
    return pith_sample(g, PITH_AWAY, 0, rows, columns);
}

static size_t product(const int *dim, int from, int to)
{
    size_t size = 1;
    for (int k = from; k < to; k++) size *= (size_t)dim[k];
    return size;
}

/* ---- reshape ---- */

static bool reshape_shape(node *n)
{
    const node *a = n->in[0];
    const reshape_attr *attr = n->attr;
    const int ndim = attr->ndim;
    int dim[PITH_MAX_DIMS], open = -1;
    if (ndim > PITH_MAX_DIMS)
        return pith_fail(n, "%d axes, at most %d are allowed", ndim, PITH_MAX_DIMS);
    memcpy(dim, attr->dim, sizeof dim);
    for (int k = 0; k < ndim; k++)
        if (dim[k] == -1) {
            if (open >= 0) return pith_fail(n, "only one size may be -1");
            open = k;
            dim[k] = 1;
        }
    const size_t known = product(dim, 0, ndim), size = pith_size(a);
    if (open >= 0 && known && size % known == 0 && !pith_dim(n, open, (int64_t)(size / known), dim))
        return false;
    char from[96], to[96];
    if (!pith_shape(n, a->dtype, ndim, dim)) return false;
    if (pith_size(n) == size) return true;
    n->ndim = ndim;
    if (open >= 0) n->dim[open] = -1;
    return pith_fail(n, "%s has %zu elements, which %s cannot hold", pith_shape_text(a, from), size,
                     pith_shape_text(n, to));
}

static bool reshape_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = RESHAPE_LIKE(dy[0], n->in[0]);
    return true;
}

static node *reshape_example(pith_graph *g, int i)
{
    return i == 0   ? pith_reshape(sample(g, 4, 6), 2, -1, 4)
           : i == 1 ? pith_reshape(sample(g, 1, 1))
                    : NULL;
}

const pith_op pith_op_reshape = { "reshape",
                                  .shape = reshape_shape,
                                  .attr_size = sizeof(reshape_attr),
                                  .grad = reshape_grad,
                                  .flags = PITH_ALIAS,
                                  .example = reshape_example };

node *pith_reshape_dims(const char *at, node *a, int ndim, const int *dim)
{
    reshape_attr attr = { .ndim = ndim };
    for (int k = 0; k < ndim && k < PITH_MAX_DIMS; k++) attr.dim[k] = dim[k];
    return pith_make1(at, &pith_op_reshape, a, &attr);
}

node *pith_reshape_(const char *at, node *a, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(a, dim, ndim);
    return pith_reshape_dims(at, a, ndim, dim);
}

node *pith_keep_axis(node *a, int axis)
{
    if (pith_poisoned(a)) return a;
    const int at = axis < 0 ? axis + a->ndim + 1 : axis;
    int dim[PITH_MAX_DIMS + 1];
    for (int k = 0; k <= a->ndim; k++) dim[k] = k < at ? a->dim[k] : k == at ? 1 : a->dim[k - 1];
    return pith_reshape_dims(NULL, a, a->ndim + 1, dim);
}

/* ---- detach ---- */

static bool detach_shape(node *n) { return pith_like(n, n->in[0]); }

static bool detach_grad(node *n, node *const *dy, node **dx)
{
    (void)n, (void)dy, (void)dx;
    return true;
}

static node *detach_example(pith_graph *g, int i)
{
    if (i > 0) return NULL;
    node *a = sample(g, 2, 3);
    return pith_mul(pith_detach(pith_const(g, 3)), a);
}

const pith_op pith_op_detach = { "detach", .shape = detach_shape, .grad = detach_grad,
                                 .flags = PITH_ALIAS, .example = detach_example };

node *pith_detach_(const char *at, node *a) { return pith_make1(at, &pith_op_detach, a, NULL); }

/* ---- cast ---- */

static bool cast_shape(node *n)
{
    return pith_shape(n, ((const cast_attr *)n->attr)->to, n->in[0]->ndim, n->in[0]->dim);
}

/* A block at a time by way of double, which holds every number of every dtype. */
static bool cast_cpu(const pith_call *call)
{
    enum { BLOCK = 512 };
    const node *n = call->n;
    const pith_dtype_info *from = pith_dtype_find(n->in[0]->dtype), *to = pith_dtype_find(n->dtype);
    const size_t size = pith_size(n);
#pragma omp parallel for schedule(static) if (size > PITH_SMALL)
    for (size_t start = 0; start < size; start += BLOCK) {
        const size_t count = size - start < BLOCK ? size - start : BLOCK;
        double x[BLOCK];
        from->load((const char *)call->in[0] + start * from->bytes, x, count);
        to->store(x, (char *)call->out[0] + start * to->bytes, count);
    }
    return true;
}

/* What arrives at integers, the walk drops. */
static bool cast_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = pith_cast_(NULL, dy[0], n->in[0]->dtype);
    return true;
}

static node *cast_example(pith_graph *g, int i)
{
    return i == 0   ? pith_cast(pith_sample_ids(g, 9, 2, 3), PITH_F32)
           : i == 1 ? pith_cast(pith_cast(pith_sample(g, 1.2, 1.8, 2, 3), PITH_U8), PITH_F32)
                    : NULL;
}

PITH_ON_CUDA(cast);
const pith_op pith_op_cast = { "cast",
                               .attr_size = sizeof(cast_attr),
                               .shape = cast_shape,
                               .grad = cast_grad,
                               .cpu = cast_cpu,
                               .cuda = cast_cuda,
                               .example = cast_example };

node *pith_cast_(const char *at, node *a, pith_dtype dtype)
{
    if (a && (pith_poisoned(a) || a->dtype == dtype)) return a;
    return pith_make1(at, &pith_op_cast, a, &(cast_attr){ dtype });
}
