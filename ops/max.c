/* ops/max.c: the largest entry over any axes, and max_mask, which is 1 at the first largest entry
 * and 0 elsewhere: the gradient goes there alone. */
#include <stdarg.h>
#include "reduce.h"

extern const pith_op pith_op_max;

static inline real larger(real a, real b) /* NaN passes */
{
    const real most = a >= b ? a : b;
    return a != a ? a : most;
}
REDUCER(max, larger, -INFINITY)

/* ---- max_mask ---- */

static bool nothing(node *n, node *const *dy, node **dx)
{
    (void)n, (void)dy, (void)dx;
    return true;
}

static bool max_mask_shape(node *n) { return pith_like(n, n->in[0]); }

/* Where entry `index` of the axes that are reduced, or of those that are kept, lies in the input.
 */
static size_t place(const node *n, bool reduced, size_t index)
{
    size_t at = 0, stride = 1;
    for (int k = n->ndim - 1; k >= 0; k--) {
        const size_t dim = (size_t)n->dim[k];
        if (pith_is_reduced(n, k) == reduced) {
            at += index % dim * stride;
            index /= dim;
        }
        stride *= dim;
    }
    return at;
}

static bool max_mask_cpu(const pith_call *call)
{
    const node *n = call->n;
    const real *a = call->in[0], *largest = call->in[1];
    const size_t results = pith_size(n->in[1]), each = pith_size(n) / results;
    real *y = call->out[0];
#pragma omp parallel for schedule(static) if (pith_size(n) > PITH_SMALL)
    for (size_t i = 0; i < results; i++) {
        const size_t base = place(n, false, i);
        bool found = false;
        for (size_t r = 0; r < each; r++) {
            const size_t at = base + place(n, true, r);
            const bool here = !found && a[at] == largest[i];
            y[at] = here ? 1 : 0;
            found |= here;
        }
    }
    return true;
}

static node *max_mask(node *a, node *largest);

static node *max_mask_example(pith_graph *g, int i)
{
    node *largest = pith_reduce_example(g, i, &pith_op_max);
    return largest ? max_mask(largest->in[0], largest) : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(max_mask);
const pith_op pith_op_max_mask = { "max_mask",
                                   .shape = max_mask_shape,
                                   .grad = nothing,
                                   .attr_size = sizeof(reduce_attr),
                                   .cpu = max_mask_cpu,
                                   .cuda = max_mask_cuda,
                                   .cuda_scratch = max_mask_cuda_scratch,
                                   .example = max_mask_example };

static node *max_mask(node *a, node *largest)
{
    return pith_make2(largest->at, &pith_op_max_mask, a, largest, largest->attr);
}

/* ---- max ---- */

static bool max_cpu(const pith_call *call)
{
    pith_reduce_axes(&max_reducer, call);
    return true;
}

static bool max_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = WHERE(max_mask(n->in[0], n), pith_reduced_back(n, dy[0]),
                  pith_const_(NULL, n->graph, 0));
    return true;
}

static node *max_example(pith_graph *g, int i) { return pith_reduce_example(g, i, &pith_op_max); }

PITH_ON_CUDA_WITH_SCRATCH(max);
const pith_op pith_op_max = { "max",
                              .shape = pith_reduce_shape,
                              .grad = max_grad,
                              .attr_size = sizeof(reduce_attr),
                              .cpu = max_cpu,
                              .cuda = max_cuda,
                              .scratch = pith_reduce_scratch,
                              .cuda_scratch = max_cuda_scratch,
                              .example = max_example };

node *pith_max_(const char *at, node *a, ...)
{
    int axis[PITH_MAX_DIMS], count;
    PITH_DIMS(a, axis, count);
    return pith_reduce_make(at, &pith_op_max, a, count, axis);
}
