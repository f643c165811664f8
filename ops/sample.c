/* ops/sample.c: the made-up inputs of examples. They are inputs, so that nothing is folded, and
 * bring their data with them. */
#include <stdarg.h>
#include "core/core.h"

static node *sample(pith_graph *g, pith_dtype dtype, int ndim, const int *dim)
{
    node *n = pith_make("sample", &pith_op_input, g, 0, NULL, NULL);
    if (pith_poisoned(n)) return n;
    n->name = pith_keep(g, "sample%d", n->id);
    if (pith_shape(n, dtype, ndim, dim)) n->attr = pith_alloc(g, pith_bytes(n));
    return n;
}

node *pith_sample_(pith_graph *g, double low, double high, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(high, dim, ndim);
    node *n = sample(g, PITH_F32, ndim, dim);
    real *x = n->attr;
    const uint64_t key = x ? pith_stream_key(g) : 0;
    for (size_t i = 0; x && i < pith_size(n); i++) {
        const double u = pith_uniform_at(key, 0, i);
        x[i] = (real)(low <= PITH_AWAY ? (u < 0.5 ? -0.2 - 2 * u : 2 * u - 0.8)
                                       : low + (high - low) * u);
    }
    return n;
}

node *pith_sample_ids_(pith_graph *g, int below, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(below, dim, ndim);
    node *n = sample(g, PITH_I32, ndim, dim);
    int *x = n->attr;
    const uint64_t key = x ? pith_stream_key(g) : 0;
    for (size_t i = 0; x && i < pith_size(n); i++) x[i] = (int)(pith_uniform_at(key, 0, i) * below);
    return n;
}

const void *pith_sample_data(const node *n) { return n->attr; }
