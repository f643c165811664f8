/* ops/pointwise.c: makes ops of the lines of pointwise.def, and holds expand, which is pointwise
 * too: it copies.
 *
 * None of them has a kernel: core runs them by their tile functions, alone or in fused chains. Ops
 * without a gradient, such as `less`, have examples too, so that the tests see that no gradient
 * arrives. */
#include <stdarg.h>
#include "attributes.h"
#include "functions.h"

#define ZERO pith_const_(NULL, y->graph, 0)

/* ---- dtypes: what no form of the op takes is an error that says what they take ---- */

/* "(f32, i32)"; a single one without brackets. */
static int put_dtypes(char *text, size_t size, const pith_dtype *dtype, int n)
{
    int used = snprintf(text, size, n > 1 ? "(" : "");
    for (int k = 0; k < n; k++)
        used += snprintf(text + used, size - (size_t)used, k ? ", %s" : "%s",
                         pith_dtype_name(dtype[k]));
    return used + snprintf(text + used, size - (size_t)used, n > 1 ? ")" : "");
}

static bool no_form(node *n)
{
    const pith_pointwise *op = n->op->pointwise;
    char found[64], wanted[256];
    pith_dtype in[3];
    int used = 0;
    for (int k = 0; k < n->n_in; k++) in[k] = n->in[k]->dtype;
    put_dtypes(found, sizeof found, in, n->n_in);
    for (int f = 0; f < op->n_forms; f++) {
        if (f) used += snprintf(wanted + used, sizeof wanted - (size_t)used, " or ");
        used += put_dtypes(wanted + used, sizeof wanted - (size_t)used, op->forms[f].in, n->n_in);
    }
    return pith_fail(n, "%s %s, expected %s (pith_cast converts)",
                     n->n_in > 1 ? "inputs are" : "input is", found, wanted);
}

/* ---- shape: numpy's broadcasting ---- */

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
    const pith_form *form = pith_form_of(n);
    if (!form) return no_form(n);
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
    return pith_shape(n, form->out, ndim, dim);
}

/* ---- examples: for each form of the op, a scalar or a row against a matrix, and both sides
 * broadcast ---- */

enum { SHAPES = 3, MOST_INPUTS = 3 };

static node *sample(pith_graph *g, pith_dtype dtype, int shape, int input, double low, double high)
{
    static const int dims[SHAPES][MOST_INPUTS][4] = {
        { { 2, 5, PITH_END }, { 5, PITH_END }, { PITH_END } },
        { { 3, 1, 4, PITH_END }, { 2, 1, PITH_END }, { 2, 4, PITH_END } },
        { { PITH_END }, { 2, 3, PITH_END }, { 3, PITH_END } },
    };
    const int *d = dims[shape][input];
    if (pith_is_floating(dtype)) return pith_sample_(g, low, high, d[0], d[1], d[2], PITH_END);
    node *ids = pith_sample_ids_(g, 9, d[0], d[1], d[2], PITH_END);
    return dtype == PITH_I32 ? pith_add_scalar(ids, -4) : pith_cast(ids, dtype);
}

static node *example(pith_graph *g, const pith_op *op, int n_in, int i, double low, double high)
{
    const pith_pointwise *pointwise = op->pointwise;
    if (i >= SHAPES * pointwise->n_forms) return NULL;
    const pith_dtype *dtype = pointwise->forms[i / SHAPES].in;
    node *in[MOST_INPUTS];
    for (int k = 0; k < n_in; k++) in[k] = sample(g, dtype[k], i % SHAPES, k, low, high);
    if (n_in == 3) /* a condition: about half of them 0 */
        in[0] = pith_maximum(in[0], pith_const_scalar(PITH_HERE, g, dtype[0], 0));
    return pith_make(PITH_HERE, op, g, n_in, in, NULL);
}

/* ---- the table, read twice: first for prototypes, those of pith_ops.h once more, the *_grad ones
 * for the first time ---- */

#define UNARY(name, value, da, low, high)                                                          \
    extern const pith_op pith_op_##name;                                                           \
    node *pith_##name##_(const char *at, node *a);
#define BINARY(name, value, da, db, low, high) extern const pith_op pith_op_##name;
#define TERNARY(name, value, da, db, dc, low, high) extern const pith_op pith_op_##name;
#define UNARY_I32(name, value, value_i32, da, low, high) UNARY(name, value, da, low, high)
#define BINARY_I32(name, value, value_i32, da, db, low, high) BINARY(name, value, da, db, low, high)
#define COMPARE(name, value) BINARY(name, value, NULL, NULL, PITH_AWAY, 0)
#define CONVERT(name, from, to, value, flags)
#include "pointwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
#undef UNARY_I32
#undef BINARY_I32
#undef COMPARE
#undef CONVERT

/* k s (1 - s) (2 + k a (1 - 2 s)), where s = sigmoid(k a) */
static node *quick_gelu_second(node *a)
{
    node *ka = SCALE(a, QUICK), *s = pith_sigmoid_(NULL, ka);
    return MUL(SCALE(SUB(s, SQUARE(s)), QUICK), SHIFT(MUL(ka, SHIFT(SCALE(s, -2), 1)), 2));
}

/* What a line becomes: a tile function for each form, the gradient, the op and its function. */
#define IN_A(type) const type a = ((const type *)in[0])[i];
#define IN_B(type) const type b = ((const type *)in[1])[i];
#define IN_C(type) const type c = ((const type *)in[2])[i];
#define TILE(name, result, READ, value)                                                            \
    static void name(int count, void *out, const void *const *in)                                  \
    {                                                                                              \
        result *to = out;                                                                          \
        PITH_SIMD                                                                                  \
        for (int i = 0; i < count; i++) {                                                          \
            READ to[i] = value;                                                                    \
        }                                                                                          \
    }
#define GRAD(name, NAMES, FILL)                                                                    \
    static bool name##_grad(node *y, node *const *dys, node **dx)                                  \
    {                                                                                              \
        node *dy = dys[0];                                                                         \
        NAMES(void) dy;                                                                            \
        FILL return true;                                                                          \
    }
#define OP(name, value, inputs, low, high)                                                         \
    static node *name##_example(pith_graph *g, int i)                                              \
    {                                                                                              \
        return example(g, &pith_op_##name, inputs, i, low, high);                                  \
    }                                                                                              \
    static const pith_pointwise name##_pointwise = { name##_forms, (int)(sizeof name##_forms /     \
                                                                         sizeof *name##_forms) };  \
    PITH_ON_CUDA(name);                                                                            \
    const pith_op pith_op_##name = { #name,                                                        \
                                     .shape = broadcast_shape,                                     \
                                     .grad = name##_grad,                                          \
                                     .cuda = name##_cuda,                                          \
                                     .pointwise = &name##_pointwise,                               \
                                     .flags = PITH_INPLACE,                                        \
                                     .example = name##_example };

/* one input: f32, and where a value of i32 is given, that too */
#define UNARY(name, value, da, low, high)                                                          \
    TILE(name##_f32, real, IN_A(real), value)                                                      \
    static const pith_form name##_forms[] = { { { PITH_F32 }, PITH_F32, name##_f32, #value } };    \
    UNARY_OP(name, value, da, low, high)
#define UNARY_I32(name, value, value_i32, da, low, high)                                           \
    TILE(name##_f32, real, IN_A(real), value)                                                      \
    TILE(name##_i32, int, IN_A(int), value_i32)                                                    \
    static const pith_form name##_forms[] = {                                                      \
        { { PITH_F32 }, PITH_F32, name##_f32, #value },                                            \
        { { PITH_I32 }, PITH_I32, name##_i32, #value_i32 }                                         \
    };                                                                                             \
    UNARY_OP(name, value, da, low, high)
#define UNARY_OP(name, value, da, low, high)                                                       \
    GRAD(name, node *a = y->in[0]; (void)a;, dx[0] = da;)                                          \
    OP(name, value, 1, low, high)                                                                  \
    node *pith_##name##_(const char *at, node *a)                                                  \
    {                                                                                              \
        return pith_make1(at, &pith_op_##name, a, NULL);                                           \
    }

/* two inputs of one dtype; `result` and `RESULT` are what the i32 form gives */
#define BINARY(name, value, da, db, low, high)                                                     \
    TILE(name##_f32, real, IN_A(real) IN_B(real), value)                                           \
    static const pith_form name##_forms[] = {                                                      \
        { { PITH_F32, PITH_F32 }, PITH_F32, name##_f32, #value }                                   \
    };                                                                                             \
    BINARY_OP(name, value, da, db, low, high)
#define BINARY_BOTH(name, value, result, RESULT, value_i32, da, db, low, high)                     \
    TILE(name##_f32, real, IN_A(real) IN_B(real), value)                                           \
    TILE(name##_i32, result, IN_A(int) IN_B(int), value_i32)                                       \
    static const pith_form name##_forms[] = {                                                      \
        { { PITH_F32, PITH_F32 }, PITH_F32, name##_f32, #value },                                  \
        { { PITH_I32, PITH_I32 }, RESULT, name##_i32, #value_i32 }                                 \
    };                                                                                             \
    BINARY_OP(name, value, da, db, low, high)
#define BINARY_I32(name, value, value_i32, da, db, low, high)                                      \
    BINARY_BOTH(name, value, int, PITH_I32, value_i32, da, db, low, high)
#define COMPARE(name, value)                                                                       \
    BINARY_BOTH(name, value, real, PITH_F32, value, NULL, NULL, PITH_AWAY, 0)
#define BINARY_OP(name, value, da, db, low, high)                                                  \
    GRAD(name, node *a = y->in[0]; node *b = y->in[1]; (void)a; (void)b;, dx[0] = da; dx[1] = db;) \
    OP(name, value, 2, low, high)                                                                  \
    node *pith_##name##_(const char *at, node *a, node *b)                                         \
    {                                                                                              \
        return pith_make2(at, &pith_op_##name, a, b, NULL);                                        \
    }

/* three inputs, a condition of f32 or i32 and two values of one dtype */
#define TERNARY(name, value, da, db, dc, low, high)                                                \
    TILE(name##_f32_f32, real, IN_A(real) IN_B(real) IN_C(real), value)                            \
    TILE(name##_i32_f32, real, IN_A(int) IN_B(real) IN_C(real), value)                             \
    TILE(name##_f32_i32, int, IN_A(real) IN_B(int) IN_C(int), value)                               \
    TILE(name##_i32_i32, int, IN_A(int) IN_B(int) IN_C(int), value)                                \
    TILE(name##_f32_u8, uint8_t, IN_A(real) IN_B(uint8_t) IN_C(uint8_t), value)                    \
    TILE(name##_i32_u8, uint8_t, IN_A(int) IN_B(uint8_t) IN_C(uint8_t), value)                     \
    static const pith_form name##_forms[] = {                                                      \
        { { PITH_F32, PITH_F32, PITH_F32 }, PITH_F32, name##_f32_f32, #value },                    \
        { { PITH_I32, PITH_F32, PITH_F32 }, PITH_F32, name##_i32_f32, #value },                    \
        { { PITH_F32, PITH_I32, PITH_I32 }, PITH_I32, name##_f32_i32, #value },                    \
        { { PITH_I32, PITH_I32, PITH_I32 }, PITH_I32, name##_i32_i32, #value },                    \
        { { PITH_F32, PITH_U8, PITH_U8 }, PITH_U8, name##_f32_u8, #value },                        \
        { { PITH_I32, PITH_U8, PITH_U8 }, PITH_U8, name##_i32_u8, #value },                        \
    };                                                                                             \
    GRAD(name, node *a = y->in[0];, dx[0] = da; dx[1] = db; dx[2] = dc;)                           \
    OP(name, value, 3, low, high)                                                                  \
    node *pith_##name##_(const char *at, node *a, node *b, node *c)                                \
    {                                                                                              \
        return pith_make3(at, &pith_op_##name, a, b, c, NULL);                                     \
    }

#define F32_TYPE real
#define BF16_TYPE uint16_t
#define CONVERT(name, from, to, value, kind)                                                       \
    TILE(name##_tile, to##_TYPE, IN_A(from##_TYPE), value)                                         \
    static const pith_form name##_forms[] = {                                                      \
        { { PITH_##from }, PITH_##to, name##_tile, #value }                                        \
    };                                                                                             \
    static const pith_pointwise name##_pointwise = { name##_forms, 1 };                            \
    PITH_ON_CUDA(name);                                                                            \
    const pith_op pith_op_##name = { #name, .cuda = name##_cuda, .pointwise = &name##_pointwise,   \
                                     .flags = kind, .no_grad = "a plan makes it" };
#include "pointwise.def"

/* The number beside a node is of the node's dtype. */
node *pith_mul_scalar_(const char *at, node *a, double c)
{
    return pith_mul_(at, a, a ? pith_const_scalar(at, a->graph, a->dtype, c) : NULL);
}

node *pith_add_scalar_(const char *at, node *a, double c)
{
    return pith_add_(at, a, a ? pith_const_scalar(at, a->graph, a->dtype, c) : NULL);
}

/* ---- expand ---- */

static bool expand_shape(node *n)
{
    const expand_attr *attr = n->attr;
    const node *a = n->in[0];
    const pith_form *form = pith_form_of(n);
    if (!form) return no_form(n);
    if (!pith_shape(n, form->out, attr->ndim, attr->dim)) return false;
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
           : i == 3 ? pith_expand(pith_sample_ids(g, 9, 3, 1), 2, 3, 4)
           : i == 4 ? pith_expand(pith_cast(pith_sample_ids(g, 9, 3, 1), PITH_U8), 2, 3, 4)
                    : NULL;
}

TILE(expand_f32, real, IN_A(real), a)
TILE(expand_i32, int, IN_A(int), a)
TILE(expand_u8, uint8_t, IN_A(uint8_t), a)
TILE(expand_bf16, uint16_t, IN_A(uint16_t), a)
static const pith_form expand_forms[] = { { { PITH_F32 }, PITH_F32, expand_f32, "a" },
                                          { { PITH_I32 }, PITH_I32, expand_i32, "a" },
                                          { { PITH_U8 }, PITH_U8, expand_u8, "a" },
                                          { { PITH_BF16 }, PITH_BF16, expand_bf16, "a" } };
static const pith_pointwise expand_pointwise = { expand_forms, 4 };
PITH_ON_CUDA(expand);
const pith_op pith_op_expand = { "expand",
                                 .attr_size = sizeof(expand_attr),
                                 .shape = expand_shape,
                                 .grad = expand_grad,
                                 .cuda = expand_cuda,
                                 .pointwise = &expand_pointwise,
                                 .flags = PITH_INPLACE | PITH_MOVES,
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
