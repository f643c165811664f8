/* ops/permute.h: the axes of a permutation, simplified, for its pages here and in cuda/. */
#ifndef PITH_PERMUTE_H
#define PITH_PERMUTE_H
#include "attributes.h"

/* The result's axes with their strides in the input and in the result. Axes of size 1 are left out,
 * neighbours are joined. */
typedef struct {
    int n;
    int inner; /* the axis along which the input is contiguous */
    size_t dim[PITH_MAX_DIMS], from[PITH_MAX_DIMS], to[PITH_MAX_DIMS];
} axes;

static inline axes joined_axes(const node *n)
{
    const node *a = n->in[0];
    const permute_attr *attr = (const permute_attr *)n->attr;
    size_t stride[PITH_MAX_DIMS], step = 1;
    for (int k = a->ndim - 1; k >= 0; k--) {
        stride[k] = step;
        step *= (size_t)a->dim[k];
    }
    axes x;
    memset(&x, 0, sizeof x);
    for (int k = 0; k < n->ndim; k++) {
        const size_t dim = (size_t)n->dim[k], from = stride[attr->axis[k]];
        if (dim == 1) continue;
        const bool joins = x.n > 0 && x.from[x.n - 1] == from * dim;
        if (!joins) x.dim[x.n++] = 1;
        x.dim[x.n - 1] *= dim;
        x.from[x.n - 1] = from;
    }
    if (x.n == 0) {
        x.dim[0] = x.from[0] = 1;
        x.n = 1;
    }
    step = 1;
    for (int k = x.n - 1; k >= 0; k--) {
        x.to[k] = step;
        step *= x.dim[k];
    }
    while (x.from[x.inner] != 1) x.inner++;
    return x;
}
#endif
