/* node.c: what shape rules and kernels ask of nodes: shapes set and checked, sizes, memory. */
#include <limits.h>
#include "inside.h"

/* ---- helpers of shape rules ---- */

/* The one place where sizes of nodes are checked (those of tensors: pith_store_try_add): what
 * passes here has at most 2^48 bytes, all that a processor can address, so that a sum over the
 * inputs and results of an op cannot overflow either. */
bool pith_shape(node *n, pith_dtype dtype, int ndim, const int *dim)
{
    if (!pith_dtype_find(dtype) || dtype == PITH_BF16)
        return pith_fail(n, "%d is no dtype of graphs, expected PITH_F32, PITH_I32 or PITH_U8",
                         (int)dtype);
    const size_t most = ((size_t)1 << 48) / pith_width(dtype);
    size_t elements = 1;
    if (ndim > PITH_MAX_DIMS)
        return pith_fail(n, "%d axes, at most %d are allowed", ndim, PITH_MAX_DIMS);
    n->dtype = dtype;
    n->ndim = ndim;
    for (int k = 0; k < ndim; k++) {
        if (dim[k] < 1)
            return pith_fail(n, "axis %d has size %d, every size is at least 1", k, dim[k]);
        n->dim[k] = dim[k];
        elements = elements > most / (size_t)dim[k] ? most + 1 : elements * (size_t)dim[k];
    }
    if (elements <= most) return true;
    char text[96];
    return pith_fail(n, "%s has more bytes than memory has addresses", pith_shape_text(n, text));
}

bool pith_dim(node *n, int axis, int64_t size, int *dim)
{
    dim[axis] = (int)size;
    return dim[axis] == size || pith_fail(n, "axis %d would have size %lld, the largest is %d",
                                          axis, (long long)size, INT_MAX);
}

bool pith_like(node *n, const node *a) { return pith_shape(n, a->dtype, a->ndim, a->dim); }

bool pith_more_result(node *n, int k, pith_dtype dtype, int ndim, const int *dim)
{
    assert(k >= 1 && k < pith_results(n->op));
    return pith_shape(n->graph->nodes[n->id + k], dtype, ndim, dim);
}

bool pith_want(node *n, int input, pith_dtype dtype, int ndim)
{
    const node *a = n->in[input];
    if (a->dtype != dtype)
        return pith_fail(n, "input %d is %s, expected %s", input, pith_dtype_name(a->dtype),
                         pith_dtype_name(dtype));
    if (ndim >= 0 && a->ndim != ndim)
        return pith_fail(n, "input %d has %d axes, expected %d", input, a->ndim, ndim);
    if (ndim < 0 && a->ndim < -ndim)
        return pith_fail(n, "input %d has %d axes, expected at least %d", input, a->ndim, -ndim);
    return true;
}

int pith_axis(node *n, int axis, int ndim)
{
    if (axis >= -ndim && axis < ndim) return axis < 0 ? axis + ndim : axis;
    pith_fail(n, "axis %d of %d axes", axis, ndim);
    return -1;
}

/* ---- reading nodes ---- */

size_t pith_size(const node *n)
{
    size_t size = n ? 1 : 0;
    for (int k = 0; n && k < n->ndim; k++) size *= (size_t)n->dim[k];
    return size;
}

size_t pith_bytes(const node *n)
{
    return n->op->flags & PITH_NO_VALUE ? 0 : pith_size(n) * pith_width(n->dtype);
}
size_t pith_columns(const node *n) { return n->ndim ? (size_t)n->dim[n->ndim - 1] : 1; }
size_t pith_rows(const node *n) { return pith_size(n) / pith_columns(n); }

bool pith_same_shape(const node *a, const node *b)
{
    return a->ndim == b->ndim && memcmp(a->dim, b->dim, sizeof(int) * (size_t)a->ndim) == 0;
}

size_t pith_alias_offset(const node *n)
{
    return n->op->offset ? n->op->offset(n) * pith_width(n->dtype) : 0;
}

const node *pith_root(const node *n)
{
    while (n->op->flags & PITH_ALIAS) n = n->in[0];
    return n;
}
