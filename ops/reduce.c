/* ops/reduce.c: sum, mean and max over any axes, and dot.
 *
 * Reduced axes that are neighbours count as one, and such a group is one pass over an array (A, R,
 * K) -> (A, K); the last group goes first. A pass cuts R into chunks fixed by the shape, and
 * reduces what the chunks gave in the next pass: long sums are trees, so their rounding error stays
 * near that of one chunk. */
#include <stdarg.h>
#include "functions.h"

extern const pith_op pith_op_max, pith_op_sum;
/* a chunk: elements if K is 1, else rows */
enum { RUN = 1024, ROWS = 128, COLUMNS = 1024, LANES = 16 };

/* ---- what is done inside a chunk: LANES results side by side in a fixed order, or whole rows ----
 */

typedef struct {
    real (*run)(const real *x, size_t n);
    void (*rows)(real *restrict y, const real *restrict x, size_t rows, size_t step, size_t n);
} reducer;

static inline real plus(real a, real b) { return a + b; }
static inline real larger(real a, real b) /* NaN passes */
{
    const real most = a >= b ? a : b;
    return a != a ? a : most;
}

#define REDUCER(name, combine, first)                                                              \
    static real name##_run(const real *x, size_t n)                                                \
    {                                                                                              \
        real s[LANES], last = first;                                                               \
        size_t i = 0;                                                                              \
        if (n >= LANES) {                                                                          \
            for (int j = 0; j < LANES; j++) s[j] = first;                                          \
            for (; i + LANES <= n; i += LANES) {                                                   \
                PITH_SIMD                                                                          \
                for (int j = 0; j < LANES; j++) s[j] = combine(s[j], x[i + (size_t)j]);            \
            }                                                                                      \
            for (int half = LANES / 2; half; half /= 2)                                            \
                for (int j = 0; j < half; j++) s[j] = combine(s[j], s[j + half]);                  \
            last = s[0];                                                                           \
        }                                                                                          \
        for (; i < n; i++) last = combine(last, x[i]);                                             \
        return last;                                                                               \
    }                                                                                              \
    static void name##_rows(real *restrict y, const real *restrict x, size_t rows, size_t step,    \
                            size_t n)                                                              \
    {                                                                                              \
        size_t r = 1;                                                                              \
        memcpy(y, x, n * sizeof *y);                                                               \
        for (; r + 4 <= rows; r += 4) {                                                            \
            const real *c0 = x + r * step, *c1 = c0 + step, *c2 = c1 + step, *c3 = c2 + step;      \
            PITH_SIMD                                                                              \
            for (size_t k = 0; k < n; k++)                                                         \
                y[k] = combine(y[k], combine(combine(c0[k], c1[k]), combine(c2[k], c3[k])));       \
        }                                                                                          \
        for (; r < rows; r++) {                                                                    \
            PITH_SIMD                                                                              \
            for (size_t k = 0; k < n; k++) y[k] = combine(y[k], x[r * step + k]);                  \
        }                                                                                          \
    }                                                                                              \
    static const reducer name##_reducer = { name##_run, name##_rows };
REDUCER(sum, plus, 0)
REDUCER(max, larger, -INFINITY)

/* Which axes are reduced, a bit each. Until the shape rule has run: `count` axes as the caller
 * named them, none for all. */
PITH_ATTRIBUTES(reduce_attr, unsigned mask; int count, axis[PITH_MAX_DIMS];)

static unsigned mask_of(const node *n) { return ((const reduce_attr *)n->attr)->mask; }

/* ---- passes ---- */

static size_t chunks_of(size_t length, size_t chunk) { return (length + chunk - 1) / chunk; }
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* (a, r, k) -> (a, chunks of r, k) */
static void one_pass(const reducer *how, const real *x, real *y, size_t a, size_t r, size_t k)
{
    const size_t chunk = k == 1 ? RUN : ROWS, chunks = chunks_of(r, chunk),
                 blocks = chunks_of(k, COLUMNS);
#pragma omp parallel for schedule(static) if (a * r * k > PITH_SMALL)
    for (size_t task = 0; task < a * chunks * blocks; task++) {
        const size_t block = task % blocks * COLUMNS, place = task / blocks;
        const size_t first = place % chunks * chunk, count = smaller(chunk, r - first);
        const real *from = x + (place / chunks * r + first) * k + block;
        if (k == 1) y[place] = how->run(from, count);
        else how->rows(y + place * k + block, from, count, k, smaller(COLUMNS, k - block));
    }
}

/* A group of neighbouring reduced axes: (a, r, k) -> (a, k). */
typedef struct {
    size_t a, r, k;
} group;

/* Elements of scratch for the passes of one group; the last pass of the last group writes the
 * result itself. */
static size_t group_scratch(group g, bool last)
{
    size_t used = 0;
    for (size_t chunks;; g.r = chunks) {
        chunks = chunks_of(g.r, g.k == 1 ? RUN : ROWS);
        if (chunks > 1 || !last) used += g.a * chunks * g.k;
        if (chunks == 1) return used;
    }
}

/* Passes until r is 1, each result behind the other in scratch, the last one at y. */
static void reduce(const reducer *how, const real *x, real *y, real *scratch, group g)
{
    for (size_t chunks;; g.r = chunks) {
        chunks = chunks_of(g.r, g.k == 1 ? RUN : ROWS);
        real *to = chunks == 1 ? y : scratch;
        one_pass(how, x, to, g.a, g.r, g.k);
        if (chunks == 1) return;
        x = to;
        scratch += g.a * chunks * g.k;
    }
}

/* The groups of a reduction, from the last axes to the first; returns how many. Of a scalar: one,
 * of one element. */
static int groups_of(const node *n, group *groups)
{
    const node *a = n->in[0];
    const unsigned mask = mask_of(n);
    int count = 0;
    size_t kept = 1, before = pith_size(a);
    for (int k = a->ndim - 1; k >= 0; k--) {
        const bool reduced = mask >> k & 1,
                   joins = reduced && k < a->ndim - 1 && mask >> (k + 1) & 1;
        const size_t dim = (size_t)a->dim[k];
        before /= dim;
        if (!reduced) kept *= dim;
        else if (joins) groups[count - 1] = (group){ before, groups[count - 1].r * dim, kept };
        else groups[count++] = (group){ before, dim, kept };
    }
    if (!count) groups[count++] = (group){ before, 1, kept };
    return count;
}

static size_t reduce_scratch(const node *n)
{
    group groups[PITH_MAX_DIMS];
    const int count = groups_of(n, groups);
    size_t used = 0;
    for (int k = 0; k < count; k++) used += group_scratch(groups[k], k == count - 1);
    return used * sizeof(real);
}

static void reduce_axes(const node *n, const reducer *how, const real *x, real *y, real *scratch)
{
    group groups[PITH_MAX_DIMS];
    const int count = groups_of(n, groups);
    for (int k = 0; k < count; k++) {
        const size_t kept = groups[k].a * groups[k].k;
        const bool last = k == count - 1;
        reduce(how, x, last ? y : scratch, last ? scratch : scratch + kept, groups[k]);
        x = scratch;
        if (!last) scratch += group_scratch(groups[k], false);
    }
}

static bool sum_cpu(const pith_call *call)
{
    const node *n = call->n;
    reduce_axes(n, &sum_reducer, call->in[0], call->out[0], call->scratch);
    return true;
}

static bool max_cpu(const pith_call *call)
{
    const node *n = call->n;
    reduce_axes(n, &max_reducer, call->in[0], call->out[0], call->scratch);
    return true;
}

/* ---- shape ---- */

static bool reduce_shape(node *n)
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

/* Something of the result's shape, with the reduced axes back as 1. */
static node *keep_axes(const node *n, node *dy)
{
    const node *a = n->in[0];
    int dim[PITH_MAX_DIMS];
    for (int k = 0; k < a->ndim; k++) dim[k] = mask_of(n) >> k & 1 ? 1 : a->dim[k];
    return pith_reshape_dims(NULL, dy, a->ndim, dim);
}

static node *make(const char *at, const pith_op *op, node *a, int count, const int *axis)
{
    reduce_attr attr = { .count = count };
    for (int k = 0; k < count && k < PITH_MAX_DIMS; k++) attr.axis[k] = axis[k];
    return pith_make1(at, op, a, &attr);
}

static node *example(pith_graph *g, int i, const pith_op *op)
{
    static const int axes[][2] = { { -1 }, { 0 }, { 0, 2 }, { 2, 1 }, { 0 } },
                     count[] = { 1, 1, 2, 2, 0 };
    if (i > 4) return NULL;
    return make(PITH_HERE, op, pith_sample(g, PITH_AWAY, 0, 3, 2, 4), count[i], axes[i]);
}

/* ---- sum and mean ---- */

static bool sum_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = pith_expand_like(keep_axes(n, dy[0]), n->in[0]);
    return true;
}

static node *sum_example(pith_graph *g, int i) { return example(g, i, &pith_op_sum); }

const pith_op pith_op_sum = { "sum",
                              .shape = reduce_shape,
                              .grad = sum_grad,
                              .attr_size = sizeof(reduce_attr),
                              .cpu = sum_cpu,
                              .scratch = reduce_scratch,
                              .example = sum_example };

node *pith_sum_(const char *at, node *a, ...)
{
    int axis[PITH_MAX_DIMS], count;
    PITH_DIMS(a, axis, count);
    return make(at, &pith_op_sum, a, count, axis);
}

node *pith_mean_(const char *at, node *a, ...)
{
    int axis[PITH_MAX_DIMS], count;
    PITH_DIMS(a, axis, count);
    node *sum = make(at, &pith_op_sum, a, count, axis);
    return sum ? pith_mul_scalar_(at, sum, (double)pith_size(sum) / (double)pith_size(a)) : NULL;
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

/* ---- max, and max_mask, which is 1 at the first largest entry and 0 elsewhere ---- */

static bool nothing(node *n, node *const *dy, node **dx)
{
    (void)n, (void)dy, (void)dx;
    return true;
}

static bool max_mask_shape(node *n) { return pith_like(n, n->in[0]); }

/* Where entry `index` of the axes with bit `reduced` lies. */
static size_t place(const node *a, unsigned mask, bool reduced, size_t index)
{
    size_t at = 0, stride = 1;
    for (int k = a->ndim - 1; k >= 0; k--) {
        const size_t dim = (size_t)a->dim[k];
        if ((mask >> k & 1) == reduced) {
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
    const unsigned mask = mask_of(n);
    const real *a = call->in[0], *largest = call->in[1];
    const size_t results = pith_size(n->in[1]), each = pith_size(n) / results;
    real *y = call->out[0];
#pragma omp parallel for schedule(static) if (pith_size(n) > PITH_SMALL)
    for (size_t i = 0; i < results; i++) {
        const size_t base = place(n, mask, false, i);
        bool found = false;
        for (size_t r = 0; r < each; r++) {
            const size_t at = base + place(n, mask, true, r);
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
    node *largest = example(g, i, &pith_op_max);
    return largest ? max_mask(largest->in[0], largest) : NULL;
}

const pith_op pith_op_max_mask = { "max_mask",          .shape = max_mask_shape,
                                   .grad = nothing,     .attr_size = sizeof(reduce_attr),
                                   .cpu = max_mask_cpu, .example = max_mask_example };

static node *max_mask(node *a, node *largest)
{
    return pith_make2(largest->at, &pith_op_max_mask, a, largest, largest->attr);
}

static bool max_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = WHERE(max_mask(n->in[0], n), keep_axes(n, dy[0]), pith_const_(NULL, n->graph, 0));
    return true;
}

static node *max_example(pith_graph *g, int i) { return example(g, i, &pith_op_max); }

const pith_op pith_op_max = { "max",
                              .shape = reduce_shape,
                              .grad = max_grad,
                              .attr_size = sizeof(reduce_attr),
                              .cpu = max_cpu,
                              .scratch = reduce_scratch,
                              .example = max_example };

node *pith_max_(const char *at, node *a, ...)
{
    int axis[PITH_MAX_DIMS], count;
    PITH_DIMS(a, axis, count);
    return make(at, &pith_op_max, a, count, axis);
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
    const size_t chunks = chunks_of(pith_size(n->in[0]), RUN);
    return (chunks + group_scratch((group){ 1, chunks, 1 }, true)) * sizeof(real);
}

static bool dot_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t size = pith_size(n->in[0]), chunks = chunks_of(size, RUN);
    const real *a = call->in[0], *b = call->in[1];
    real *partial = call->scratch;
#pragma omp parallel for schedule(static) if (size > PITH_SMALL)
    for (size_t c = 0; c < chunks; c++) {
        real product[RUN];
        const size_t first = c * RUN, count = smaller(RUN, size - first);
        for (size_t i = 0; i < count; i++) product[i] = a[first + i] * b[first + i];
        partial[c] = sum_run(product, count);
    }
    reduce(&sum_reducer, partial, call->out[0], partial + chunks, (group){ 1, chunks, 1 });
    return true;
}

static node *dot_example(pith_graph *g, int i)
{
    if (i > 0) return NULL;
    return pith_dot(pith_sample(g, PITH_AWAY, 0, 3, 4), pith_sample(g, PITH_AWAY, 0, 3, 4));
}

const pith_op pith_op_dot = { "dot",          .shape = dot_shape,     .grad = dot_grad,
                              .cpu = dot_cpu, .scratch = dot_scratch, .example = dot_example };

node *pith_dot_(const char *at, node *a, node *b)
{
    return pith_make2(at, &pith_op_dot, a, b, NULL);
}
