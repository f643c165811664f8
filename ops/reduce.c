/* ops/reduce.c: sum and mean over any axes, and dot; and what max shares with them (reduce.h).
 *
 * Reduced axes that are neighbours count as one, so that they are one reduction of an array (outer,
 * length, inner) to (outer, inner); the last axes go first. A pass cuts the length into chunks
 * fixed by the shape, and the next pass reduces what the chunks gave: long sums are trees, so their
 * rounding error stays near that of one chunk. */
#include <stdarg.h>
#include "reduce.h"

extern const pith_op pith_op_sum;

static inline real plus(real a, real b) { return a + b; }
REDUCER(sum, plus, 0)

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* ---- passes ---- */

static size_t chunks_in(reduction r)
{
    return chunks_of(r.length, r.inner == 1 ? CHUNK : CHUNK_ROWS);
}

/* (outer, length, inner) -> (outer, chunks, inner) */
static void one_pass(const reducer *how, const real *x, real *y, reduction r)
{
    const size_t chunk = r.inner == 1 ? CHUNK : CHUNK_ROWS;
    const size_t chunks = chunks_in(r), blocks = chunks_of(r.inner, COLUMNS);
#pragma omp parallel for schedule(static) if (r.outer * r.length * r.inner > PITH_SMALL)
    for (size_t task = 0; task < r.outer * chunks * blocks; task++) {
        const size_t column = task % blocks * COLUMNS, place = task / blocks;
        const size_t first = place % chunks * chunk, count = smaller(chunk, r.length - first);
        const real *from = x + (place / chunks * r.length + first) * r.inner + column;
        if (r.inner == 1) y[place] = how->run(from, count);
        else
            how->rows(y + place * r.inner + column, from, count, r.inner,
                      smaller(COLUMNS, r.inner - column));
    }
}

size_t pith_reduce_room(reduction r, bool last)
{
    size_t used = 0;
    for (size_t chunks;; r.length = chunks) {
        chunks = chunks_in(r);
        if (chunks > 1 || !last) used += r.outer * chunks * r.inner;
        if (chunks == 1) return used;
    }
}

void pith_reduce(const reducer *how, const real *x, real *y, real *scratch, reduction r)
{
    for (size_t chunks;; r.length = chunks) {
        chunks = chunks_in(r);
        real *to = chunks == 1 ? y : scratch;
        one_pass(how, x, to, r);
        if (chunks == 1) return;
        x = to;
        scratch += r.outer * chunks * r.inner;
    }
}

int pith_reductions_of(const node *n, reduction *list)
{
    const node *a = n->in[0];
    int count = 0;
    size_t kept = 1, before = pith_size(a);
    for (int k = a->ndim - 1; k >= 0; k--) {
        const size_t dim = (size_t)a->dim[k];
        const bool joins = k < a->ndim - 1 && pith_is_reduced(n, k + 1);
        before /= dim;
        if (!pith_is_reduced(n, k)) kept *= dim;
        else if (joins) list[count - 1] = (reduction){ before, list[count - 1].length * dim, kept };
        else list[count++] = (reduction){ before, dim, kept };
    }
    if (!count) list[count++] = (reduction){ before, 1, kept };
    return count;
}

size_t pith_reduce_scratch(const node *n)
{
    reduction list[PITH_MAX_DIMS];
    const int count = pith_reductions_of(n, list);
    size_t used = 0;
    for (int k = 0; k < count; k++) used += pith_reduce_room(list[k], k == count - 1);
    return used * sizeof(real);
}

/* What a reduction leaves for the next one lies first in its scratch. */
void pith_reduce_axes(const reducer *how, const pith_call *call)
{
    reduction list[PITH_MAX_DIMS];
    const int last = pith_reductions_of(call->n, list) - 1;
    const real *x = call->in[0];
    real *scratch = call->scratch;
    for (int k = 0; k < last; k++) {
        pith_reduce(how, x, scratch, scratch + list[k].outer * list[k].inner, list[k]);
        x = scratch;
        scratch += pith_reduce_room(list[k], false);
    }
    pith_reduce(how, x, call->out[0], scratch, list[last]);
}

/* ---- shape ---- */

bool pith_reduce_shape(node *n)
{
    const node *a = n->in[0];
    reduce_attr *attr = n->attr;
    const int count = attr->count;
    unsigned mask = count || attr->mask ? attr->mask : (1u << a->ndim) - 1;
    if (!pith_want(n, 0, PITH_F32, a->ndim)) return false;
    if (count > a->ndim) return pith_fail(n, "%d axes named, the input has %d", count, a->ndim);
    for (int k = 0; k < count; k++) {
        const int axis = pith_axis(n, attr->axis[k], a->ndim);
        if (axis < 0) return false;
        if (mask >> axis & 1) return pith_fail(n, "axis %d is named twice", axis);
        mask |= 1u << axis;
    }
    /* equal sums have equal attributes, however they were named */
    *attr = (reduce_attr){ .mask = mask };
    int dim[PITH_MAX_DIMS], ndim = 0;
    for (int k = 0; k < a->ndim; k++)
        if (!(mask >> k & 1)) dim[ndim++] = a->dim[k];
    return pith_shape(n, PITH_F32, ndim, dim);
}

node *pith_reduced_back(const node *n, node *dy)
{
    const node *a = n->in[0];
    int dim[PITH_MAX_DIMS];
    for (int k = 0; k < a->ndim; k++) dim[k] = pith_is_reduced(n, k) ? 1 : a->dim[k];
    return pith_reshape_dims(NULL, dy, a->ndim, dim);
}

node *pith_reduce_make(const char *at, const pith_op *op, node *a, int count, const int *axis)
{
    reduce_attr attr = { .count = count };
    for (int k = 0; k < count && k < PITH_MAX_DIMS; k++) attr.axis[k] = axis[k];
    return pith_make1(at, op, a, &attr);
}

node *pith_reduce_example(pith_graph *g, int i, const pith_op *op)
{
    static const int axes[][2] = { { -1 }, { 0 }, { 0, 2 }, { 2, 1 }, { 0 } },
                     count[] = { 1, 1, 2, 2, 0 };
    if (i > 4) return NULL;
    return pith_reduce_make(PITH_HERE, op, pith_sample(g, PITH_AWAY, 0, 3, 2, 4), count[i],
                            axes[i]);
}

/* ---- sum and mean ---- */

static bool sum_cpu(const pith_call *call)
{
    pith_reduce_axes(&sum_reducer, call);
    return true;
}

static bool sum_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = pith_expand_like(pith_reduced_back(n, dy[0]), n->in[0]);
    return true;
}

static node *sum_example(pith_graph *g, int i) { return pith_reduce_example(g, i, &pith_op_sum); }

PITH_ON_CUDA_WITH_SCRATCH(sum);
const pith_op pith_op_sum = { "sum",
                              .shape = pith_reduce_shape,
                              .grad = sum_grad,
                              .attr_size = sizeof(reduce_attr),
                              .cpu = sum_cpu,
                              .cuda = sum_cuda,
                              .scratch = pith_reduce_scratch,
                              .cuda_scratch = sum_cuda_scratch,
                              .example = sum_example };

node *pith_sum_(const char *at, node *a, ...)
{
    int axis[PITH_MAX_DIMS], count;
    PITH_DIMS(a, axis, count);
    return pith_reduce_make(at, &pith_op_sum, a, count, axis);
}

node *pith_mean_(const char *at, node *a, ...)
{
    int axis[PITH_MAX_DIMS], count;
    PITH_DIMS(a, axis, count);
    node *sum = pith_reduce_make(at, &pith_op_sum, a, count, axis);
    if (pith_poisoned(sum)) return sum;
    return pith_mul_scalar_(at, sum, (double)pith_size(sum) / (double)pith_size(a));
}

node *pith_reduce_like(node *n, const node *a)
{
    if (pith_same_shape(n, a) || pith_poisoned(n)) return n;
    const int extra = n->ndim - a->ndim;
    reduce_attr attr = { .count = 0 };
    for (int k = 0; k < n->ndim; k++)
        if (k < extra || (a->dim[k - extra] == 1 && n->dim[k] != 1)) attr.axis[attr.count++] = k;
    node *sum = attr.count ? pith_make1(NULL, &pith_op_sum, n, &attr) : n;
    return pith_same_shape(sum, a) ? sum : pith_reshape_dims(NULL, sum, a->ndim, a->dim);
}

/* ---- dot: without the array of products ---- */

static bool dot_shape(node *n)
{
    const node *a = n->in[0], *b = n->in[1];
    if (!pith_want(n, 0, PITH_F32, a->ndim) || !pith_want(n, 1, PITH_F32, b->ndim)) return false;
    if (!pith_same_shape(a, b)) return pith_fail(n, "the shapes differ");
    return pith_shape(n, PITH_F32, 0, NULL);
}

static bool dot_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = MUL(dy[0], n->in[1]);
    dx[1] = MUL(dy[0], n->in[0]);
    return true;
}

static size_t dot_scratch(const node *n)
{
    const size_t chunks = chunks_of(pith_size(n->in[0]), CHUNK);
    return (chunks + pith_reduce_room((reduction){ 1, chunks, 1 }, true)) * sizeof(real);
}

static bool dot_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t size = pith_size(n->in[0]), chunks = chunks_of(size, CHUNK);
    const real *a = call->in[0], *b = call->in[1];
    real *partial = call->scratch;
#pragma omp parallel for schedule(static) if (size > PITH_SMALL)
    for (size_t c = 0; c < chunks; c++) {
        real product[CHUNK];
        const size_t first = c * CHUNK, count = smaller(CHUNK, size - first);
        for (size_t i = 0; i < count; i++) product[i] = a[first + i] * b[first + i];
        partial[c] = sum_run(product, count);
    }
    pith_reduce(&sum_reducer, partial, call->out[0], partial + chunks, (reduction){ 1, chunks, 1 });
    return true;
}

static node *dot_example(pith_graph *g, int i)
{
    if (i > 0) return NULL;
    return pith_dot(pith_sample(g, PITH_AWAY, 0, 3, 4), pith_sample(g, PITH_AWAY, 0, 3, 4));
}

PITH_ON_CUDA_WITH_SCRATCH(dot);
const pith_op pith_op_dot = { "dot",
                              .shape = dot_shape,
                              .grad = dot_grad,
                              .cpu = dot_cpu,
                              .cuda = dot_cuda,
                              .scratch = dot_scratch,
                              .cuda_scratch = dot_cuda_scratch,
                              .example = dot_example };

node *pith_dot_(const char *at, node *a, node *b)
{
    return pith_make2(at, &pith_op_dot, a, b, NULL);
}
