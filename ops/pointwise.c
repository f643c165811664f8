/* ops/pointwise.c: makes ops of the lines of pointwise.def, and holds expand, which is pointwise
 * too: it copies.
 *
 * None of them has a kernel: core runs them by their tile functions, alone or in fused chains. The
 * example of `less` and its like is worth having although its gradient is nothing: it must be found
 * to be nothing. */
#include <stdarg.h>
#include "functions.h"

#define SQRT_HALF ((real)0.70710678118654752440) /* sqrt(1/2) */
#define GAUSS ((real)0.39894228040143267794)     /* 1 / sqrt(2 pi) */
#define QUICK ((real)1.702)
#define ZERO pith_const_(NULL, y->graph, 0)

/* ---- shape: numpy's broadcasting ---- */

static bool want_f32(node *n)
{
    for (int k = 0; k < n->n_in; k++)
        if (!pith_want(n, k, PITH_F32, n->in[k]->ndim)) return false;
    return true;
}

static bool no_broadcast(node *n)
{
    char text[3][96];
    for (int k = 0; k < n->n_in; k++) pith_shape_text(n->in[k], text[k]);
    return n->n_in == 2
               ? pith_fail(n, "shapes %s and %s do not broadcast", text[0], text[1])
               : pith_fail(n, "shapes %s, %s and %s do not broadcast", text[0], text[1], text[2]);
}

static bool broadcast_shape(node *n)
{
    if (!want_f32(n)) return false;
    int dim[PITH_MAX_DIMS], ndim = 0;
    for (int k = 0; k < n->n_in; k++) ndim = n->in[k]->ndim > ndim ? n->in[k]->ndim : ndim;
    for (int d = 0; d < ndim; d++) {
        dim[d] = 1;
        for (int k = 0; k < n->n_in; k++) {
            const int own = d - (ndim - n->in[k]->ndim), size = own < 0 ? 1 : n->in[k]->dim[own];
            if (size != 1 && dim[d] != 1 && size != dim[d]) return no_broadcast(n);
            if (size != 1) dim[d] = size;
        }
    }
    return pith_shape(n, PITH_F32, ndim, dim);
}

/* ---- examples: a scalar or a row against a matrix, and both sides broadcast ---- */

static node *sample(pith_graph *g, int i, int input, double low, double high)
{
    if (input == 0)
        return i == 0   ? pith_sample(g, low, high, 2, 5)
               : i == 1 ? pith_sample(g, low, high, 3, 1, 4)
                        : pith_sample(g, low, high);
    if (input == 1)
        return i == 0   ? pith_sample(g, low, high, 5)
               : i == 1 ? pith_sample(g, low, high, 2, 1)
                        : pith_sample(g, low, high, 2, 3);
    return i == 0 ? pith_sample(g, low, high) : pith_sample(g, low, high, 2, 4);
}

/* ---- the table, read three times ---- */

#define UNARY(name, value, da, low, high) node *pith_##name##_(const char *at, node *a);
#define BINARY(name, value, da, db, low, high)
#define TERNARY(name, value, da, db, dc, low, high)
/* prototypes; those of pith_ops.h once more, the *_grad ones for the first time */
#include "pointwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY

/* k s (1 - s) (2 + k a (1 - 2 s)), where s = sigmoid(k a) */
static node *quick_gelu_second(node *a)
{
    node *ka = SCALE(a, QUICK), *s = pith_sigmoid_(NULL, ka);
    return MUL(SCALE(SUB(s, SQUARE(s)), QUICK), SHIFT(MUL(ka, SHIFT(SCALE(s, -2), 1)), 2));
}

/* What a line becomes, whatever its number of inputs: tile function and gradient of the op. */
#define TILE(name, value, READ)                                                                    \
    static void name##_tile(int count, real *out, const real *const *in)                           \
    {                                                                                              \
        PITH_SIMD                                                                                  \
        for (int i = 0; i < count; i++) {                                                          \
            READ out[i] = value;                                                                   \
        }                                                                                          \
    }
#define GRAD(name, NAMES, FILL)                                                                    \
    static bool name##_grad(node *y, node *const *dys, node **dx)                                  \
    {                                                                                              \
        node *dy = dys[0];                                                                         \
        NAMES(void) dy;                                                                            \
        FILL return true;                                                                          \
    }
#define OP(name, value, instances, CALL)                                                           \
    static node *name##_example(pith_graph *g, int i) { return i < instances ? CALL : NULL; }      \
    static const pith_pointwise name##_pointwise = { name##_tile, #value };                        \
    const pith_op pith_op_##name = { #name,                                                        \
                                     .shape = broadcast_shape,                                     \
                                     .grad = name##_grad,                                          \
                                     .pointwise = &name##_pointwise,                               \
                                     .flags = PITH_INPLACE,                                        \
                                     .example = name##_example };

#define UNARY(name, value, da, low, high)                                                          \
    TILE(name, value, const real a = in[0][i];)                                                    \
    GRAD(name, node *a = y->in[0]; (void)a;, dx[0] = da;)                                          \
    OP(name, value, 2, pith_##name##_(PITH_HERE, sample(g, i, 0, low, high)))                      \
    node *pith_##name##_(const char *at, node *a)                                                  \
    {                                                                                              \
        return pith_make1(at, &pith_op_##name, a, NULL);                                           \
    }
#define BINARY(name, value, da, db, low, high)                                                     \
    TILE(name, value, const real a = in[0][i]; const real b = in[1][i];)                           \
    GRAD(name, node *a = y->in[0]; node *b = y->in[1]; (void)a; (void)b;, dx[0] = da; dx[1] = db;) \
    OP(name, value, 3,                                                                             \
       pith_##name##_(PITH_HERE, sample(g, i, 0, low, high), sample(g, i, 1, low, high)))          \
    node *pith_##name##_(const char *at, node *a, node *b)                                         \
    {                                                                                              \
        return pith_make2(at, &pith_op_##name, a, b, NULL);                                        \
    }
#define TERNARY(name, value, da, db, dc, low, high)                                                \
    TILE(name, value, const real a = in[0][i]; const real b = in[1][i]; const real c = in[2][i];)  \
    GRAD(name, node *a = y->in[0];, dx[0] = da; dx[1] = db; dx[2] = dc;)                           \
    OP(name, value, 2,                                                                             \
       pith_##name##_(PITH_HERE,                                                                   \
                      pith_less_(PITH_HERE, sample(g, i, 0, low, high),                            \
                                 pith_const_(PITH_HERE, g, 0)),                                    \
                      sample(g, i, 1, low, high), sample(g, i, 2, low, high)))                     \
    node *pith_##name##_(const char *at, node *a, node *b, node *c)                                \
    {                                                                                              \
        return pith_make3(at, &pith_op_##name, a, b, c, NULL);                                     \
    }
#include "pointwise.def"

node *pith_mul_scalar_(const char *at, node *a, double c)
{
    return pith_mul_(at, a, a ? pith_const_(at, a->graph, c) : NULL);
}

node *pith_add_scalar_(const char *at, node *a, double c)
{
    return pith_add_(at, a, a ? pith_const_(at, a->graph, c) : NULL);
}

/* ---- expand ---- */

PITH_ATTRIBUTES(expand_attr, int ndim, dim[PITH_MAX_DIMS];)

static bool expand_shape(node *n)
{
    const expand_attr *attr = n->attr;
    const node *a = n->in[0];
    if (!want_f32(n) || !pith_shape(n, PITH_F32, attr->ndim, attr->dim)) return false;
    const int more = n->ndim - a->ndim;
    bool fits = more >= 0;
    for (int k = 0; k < a->ndim && fits; k++)
        fits = a->dim[k] == 1 || a->dim[k] == n->dim[k + more];
    char from[96], to[96];
    return fits || pith_fail(n, "shape %s does not expand to %s", pith_shape_text(a, from),
                             pith_shape_text(n, to));
}

static bool expand_grad(node *y, node *const *dy, node **dx)
{
    (void)y;
    dx[0] = dy[0];
    return true;
}

static node *expand_example(pith_graph *g, int i)
{
    return i == 0   ? pith_expand(pith_sample(g, PITH_AWAY, 0, 3), 2, 3)
           : i == 1 ? pith_expand(pith_sample(g, PITH_AWAY, 0, 2, 1), 3, 2, 4)
           : i == 2 ? pith_expand(pith_sample(g, PITH_AWAY, 0), 2, 2)
                    : NULL;
}

TILE(expand, a, const real a = in[0][i];)
static const pith_pointwise expand_pointwise = { expand_tile, "a" };
const pith_op pith_op_expand = { "expand",
                                 .attr_size = sizeof(expand_attr),
                                 .shape = expand_shape,
                                 .grad = expand_grad,
                                 .pointwise = &expand_pointwise,
                                 .flags = PITH_INPLACE,
                                 .example = expand_example };

node *pith_expand_dims(const char *at, node *a, int ndim, const int *dim)
{
    expand_attr attr = { .ndim = ndim };
    for (int k = 0; k < ndim && k < PITH_MAX_DIMS; k++) attr.dim[k] = dim[k];
    return pith_make1(at, &pith_op_expand, a, &attr);
}

node *pith_expand_(const char *at, node *a, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(a, dim, ndim);
    return pith_expand_dims(at, a, ndim, dim);
}

node *pith_copy_(const char *at, node *a)
{
    return a ? pith_expand_dims(at, a, a->ndim, a->dim) : pith_expand_dims(at, a, 0, NULL);
}

node *pith_expand_like(node *n, const node *a)
{
    return pith_same_shape(n, a) ? n : pith_expand_dims(NULL, n, a->ndim, a->dim);
}
