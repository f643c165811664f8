/* ops/shape.c: ops that move values and compute nothing: reshape, detach, slice, pad, concat,
 * permute, cast. All but cast work on elements of any type, by their width. Reshape, detach and a
 * slice of axis 0 are aliases: no work at all. */
#include <stdarg.h>
#include <stdlib.h>
#include "core.h"

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

/* ---- reshape: attr.i[0] the offset (0), i[1] the number of dims, i[2..7] the dims ---- */

static bool reshape_shape(node *n)
{
    const node *a = n->in[0];
    const int ndim = n->attr.i[1];
    int dim[PITH_MAX_DIMS], open = -1;
    if (ndim > PITH_MAX_DIMS)
        return pith_fail(n, "%d axes, at most %d are allowed", ndim, PITH_MAX_DIMS);
    memcpy(dim, n->attr.i + 2, sizeof dim);
    for (int k = 0; k < ndim; k++)
        if (dim[k] == -1) {
            if (open >= 0) return pith_fail(n, "only one size may be -1");
            open = k;
            dim[k] = 1;
        }
    const size_t known = product(dim, 0, ndim), size = pith_size(a);
    if (open >= 0 && known && size % known == 0) dim[open] = (int)(size / known);
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

const pith_op pith_op_reshape = { "reshape", .shape = reshape_shape, .grad = reshape_grad,
                                  .flags = PITH_ALIAS, .example = reshape_example };

node *pith_reshape_dims(const char *at, node *a, int ndim, const int *dim)
{
    pith_attr attr = { .i[1] = ndim };
    for (int k = 0; k < ndim && k < PITH_MAX_DIMS; k++) attr.i[2 + k] = dim[k];
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
    if (!a) return NULL; /* whoever made it NULL has told of it */
    const int at = axis < 0 ? axis + a->ndim + 1 : axis;
    int dim[PITH_MAX_DIMS + 1];
    for (int k = 0; k <= a->ndim; k++) dim[k] = k < at ? a->dim[k] : k == at ? 1 : a->dim[k - 1];
    return pith_reshape_dims(NULL, a, a->ndim + 1, dim);
}

/* ---- detach ---- */

static bool detach_shape(node *n) { return pith_like(n, n->in[0]); }

/* No gradient; also the rule of what has integers on one side. */
static bool nothing(node *n, node *const *dy, node **dx)
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

const pith_op pith_op_detach = { "detach", .shape = detach_shape, .grad = nothing,
                                 .flags = PITH_ALIAS, .example = detach_example };

node *pith_detach_(const char *at, node *a) { return pith_make1(at, &pith_op_detach, a, NULL); }

/* ---- slice and its adjoint pad: attr.i[1] the axis, i[2] start or zeros before, i[3] stop or
 * zeros after ---- */

/* Copies `rows` runs of `bytes`; the sources lie from_step apart, the destinations to_step. */
static void copy_runs(char *to, size_t to_step, const char *from, size_t from_step, size_t rows,
                      size_t bytes)
{
#pragma omp parallel for schedule(static) if (rows * bytes > PITH_SMALL * sizeof(real))
    for (size_t r = 0; r < rows; r++) memcpy(to + r * to_step, from + r * from_step, bytes);
}

/* Bytes of everything from `axis` on: one step along the axes before it. */
static size_t run_bytes(const node *n, int axis)
{
    return product(n->dim, axis, n->ndim) * pith_width(n->dtype);
}

static bool slice_shape(node *n)
{
    const node *a = n->in[0];
    const int axis = pith_axis(n, n->attr.i[1], a->ndim), start = n->attr.i[2], stop = n->attr.i[3];
    if (axis < 0) return false;
    if (start < 0 || stop <= start || stop > a->dim[axis])
        return pith_fail(n, "[%d, %d) of axis %d, which has size %d", start, stop, axis,
                         a->dim[axis]);
    int dim[PITH_MAX_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    dim[axis] = stop - start;
    n->attr.i[0] = n->op->flags & PITH_ALIAS ? (int)product(a->dim, axis + 1, a->ndim) * start : 0;
    n->attr.i[1] = axis;
    return pith_shape(n, a->dtype, a->ndim, dim);
}

static node *pad(node *a, int axis, int before, int after);

static bool slice_grad(node *n, node *const *dy, node **dx)
{
    const int axis = n->attr.i[1];
    dx[0] = pad(dy[0], axis, n->attr.i[2], n->in[0]->dim[axis] - n->attr.i[3]);
    return true;
}

static void slice_cpu(const node *n, const void *const *in, void *const *out, void *scratch)
{
    (void)scratch;
    const int axis = n->attr.i[1];
    const size_t row = run_bytes(n, axis), whole = run_bytes(n->in[0], axis);
    const size_t skip = (size_t)n->attr.i[2] * run_bytes(n, axis + 1);
    copy_runs(out[0], row, (const char *)in[0] + skip, whole, product(n->dim, 0, axis), row);
}

static node *slice_example(pith_graph *g, int i)
{
    return i == 0   ? pith_slice(sample(g, 3, 5), -1, 1, 4)
           : i == 1 ? pith_slice(pith_sample(g, PITH_AWAY, 0, 2, 3, 2), 1, 0, 2)
                    : NULL;
}

const pith_op pith_op_slice = { "slice", .shape = slice_shape, .grad = slice_grad, .cpu = slice_cpu,
                                .example = slice_example };

static node *slice_rows_example(pith_graph *g, int i)
{
    return i == 0   ? pith_slice(sample(g, 4, 3), 0, 1, 3)
           : i == 1 ? pith_slice(pith_sample(g, PITH_AWAY, 0, 1, 4, 2), -2, 0, 3)
                    : NULL;
}

/* A slice that is one run of its input: only axes of size 1 come before. */
const pith_op pith_op_slice_rows = { "slice", .shape = slice_shape, .grad = slice_grad,
                                     .flags = PITH_ALIAS, .example = slice_rows_example };

node *pith_slice_(const char *at, node *a, int axis, int start, int stop)
{
    const pith_attr attr = { .i = { 0, axis, start, stop } };
    const int before = !a ? 0 : axis < 0 ? axis + a->ndim : axis;
    const bool one_run = !a || before < 0 || before > a->ndim || product(a->dim, 0, before) == 1;
    return pith_make1(at, one_run ? &pith_op_slice_rows : &pith_op_slice, a, &attr);
}

static bool pad_shape(node *n)
{
    const node *a = n->in[0];
    int dim[PITH_MAX_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    dim[n->attr.i[1]] += n->attr.i[2] + n->attr.i[3];
    return pith_shape(n, a->dtype, a->ndim, dim);
}

static bool pad_grad(node *n, node *const *dy, node **dx)
{
    const int axis = n->attr.i[1], start = n->attr.i[2];
    dx[0] = pith_slice_(NULL, dy[0], axis, start, start + n->in[0]->dim[axis]);
    return true;
}

static void pad_cpu(const node *n, const void *const *in, void *const *out, void *scratch)
{
    (void)scratch;
    const int axis = n->attr.i[1];
    const size_t step = run_bytes(n, axis + 1), row = run_bytes(n->in[0], axis),
                 whole = run_bytes(n, axis);
    const size_t before = (size_t)n->attr.i[2] * step, rows = product(n->dim, 0, axis);
    char *y = out[0];
    for (size_t r = 0; r < rows; r++) {
        memset(y + r * whole, 0, before);
        memset(y + r * whole + before + row, 0, whole - before - row);
    }
    copy_runs(y + before, whole, in[0], row, rows, row);
}

static node *pad_example(pith_graph *g, int i)
{
    return i == 0 ? pad(sample(g, 2, 3), 0, 1, 2) : i == 1 ? pad(sample(g, 2, 3), 1, 0, 2) : NULL;
}

static int by_axis_and_place(const void *a, const void *b)
{
    const node *x = *(node *const *)a, *y = *(node *const *)b;
    if (x->attr.i[1] != y->attr.i[1]) return x->attr.i[1] - y->attr.i[1];
    return x->attr.i[2] != y->attr.i[2] ? x->attr.i[2] - y->attr.i[2] : x->id - y->id;
}

static int end_of_inside(const node *padded)
{
    return padded->attr.i[2] + padded->in[0]->dim[padded->attr.i[1]];
}

/* Pads whose insides do not overlap, in order of place: one concat, in which each inside is padded
 * by the gap before it only, and the last also by the one behind it. */
static node *side_by_side(int n, node *const *pads)
{
    if (n == 1) return pads[0];
    const int axis = pads[0]->attr.i[1];
    node **parts = malloc(sizeof *parts * (size_t)n);
    for (int k = 0, at = 0; k < n; k++) {
        node *inside = pads[k]->in[0];
        const int before = pads[k]->attr.i[2] - at, after = k == n - 1 ? pads[k]->attr.i[3] : 0;
        at += before + inside->dim[axis];
        parts[k] = before || after ? pad(inside, axis, before, after) : inside;
    }
    node *joined = pith_concat_(NULL, n, parts, axis);
    free(parts);
    return joined;
}

/* A tensor cut into pieces gets a pad for each piece as its gradient. Each round takes along one
 * axis what does not overlap, so the work is that of the pieces, not pieces times the tensor. */
static node *pad_join(int n, node *const *pads)
{
    node **left = malloc(sizeof *left * (size_t)n), **row = malloc(sizeof *row * (size_t)n);
    node *sum = NULL;
    memcpy(left, pads, sizeof *left * (size_t)n);
    qsort(left, (size_t)n, sizeof *left, by_axis_and_place);
    while (n) {
        const int axis = left[0]->attr.i[1];
        int kept = 0, taken = 1, end = end_of_inside(left[0]);
        row[0] = left[0];
        for (int k = 1; k < n; k++)
            if (left[k]->attr.i[1] != axis || left[k]->attr.i[2] < end) left[kept++] = left[k];
            else end = end_of_inside(left[k]), row[taken++] = left[k];
        node *joined = side_by_side(taken, row);
        sum = sum ? ADD(sum, joined) : joined;
        n = kept;
    }
    free(left);
    free(row);
    return sum;
}

const pith_op pith_op_pad = { "pad",          .shape = pad_shape, .grad = pad_grad,
                              .cpu = pad_cpu, .join = pad_join,   .example = pad_example };

static node *pad(node *a, int axis, int before, int after)
{
    return pith_make1(NULL, &pith_op_pad, a, &(pith_attr){ .i = { 0, axis, before, after } });
}

/* ---- concat: attr.i[0] the axis ---- */

static bool concat_shape(node *n)
{
    const node *a = n->in[0];
    const int axis = pith_axis(n, n->attr.i[0], a->ndim);
    if (axis < 0) return false;
    int dim[PITH_MAX_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    for (int k = 1; k < n->n_in; k++) {
        const node *b = n->in[k];
        bool fits = b->ndim == a->ndim && b->dtype == a->dtype;
        for (int d = 0; d < a->ndim && fits; d++) fits = d == axis || b->dim[d] == a->dim[d];
        if (!fits) return pith_fail(n, "input %d does not fit input 0 along axis %d", k, axis);
        dim[axis] += b->dim[axis];
    }
    n->attr.i[0] = axis;
    return pith_shape(n, a->dtype, a->ndim, dim);
}

static bool concat_grad(node *n, node *const *dy, node **dx)
{
    const int axis = n->attr.i[0];
    for (int k = 0, at = 0; k < n->n_in; at += n->in[k]->dim[axis], k++)
        dx[k] = pith_slice_(NULL, dy[0], axis, at, at + n->in[k]->dim[axis]);
    return true;
}

static void concat_cpu(const node *n, const void *const *in, void *const *out, void *scratch)
{
    (void)scratch;
    const int axis = n->attr.i[0];
    const size_t whole = run_bytes(n, axis), rows = product(n->dim, 0, axis);
    char *y = out[0];
    for (int k = 0; k < n->n_in; k++) {
        const size_t row = run_bytes(n->in[k], axis);
        copy_runs(y, whole, in[k], row, rows, row);
        y += row;
    }
}

static node *concat_example(pith_graph *g, int i)
{
    if (i == 0) return pith_concat(2, ((node *[]){ sample(g, 2, 3), sample(g, 1, 3) }), 0);
    if (i == 1)
        return pith_concat(3, ((node *[]){ sample(g, 2, 3), sample(g, 2, 1), sample(g, 2, 2) }),
                           -1);
    return NULL;
}

const pith_op pith_op_concat = { "concat", .shape = concat_shape, .grad = concat_grad,
                                 .cpu = concat_cpu, .example = concat_example };

node *pith_concat_(const char *at, int n, node *const *list, int axis)
{
    if (n < 1 || !list[0]) return pith_raise("%s: concat: nothing to join", at), NULL;
    return pith_make(at, &pith_op_concat, list[0]->graph, n, list, &(pith_attr){ .i = { axis } });
}

/* ---- cast: attr.i[0] the type ---- */

static bool cast_shape(node *n)
{
    return pith_shape(n, (pith_dtype)n->attr.i[0], n->in[0]->ndim, n->in[0]->dim);
}

static inline double load(const void *x, pith_dtype type, size_t i)
{
    return type == PITH_F32   ? (double)((const real *)x)[i]
           : type == PITH_I32 ? ((const int *)x)[i]
                              : ((const unsigned char *)x)[i];
}

/* Towards zero; what does not fit becomes the nearest that does, NaN the least. */
static inline int whole(double x, double low, double high)
{
    return (int)(x > low ? x < high ? x : high : low);
}

static void cast_cpu(const node *n, const void *const *in, void *const *out, void *scratch)
{
    (void)scratch;
    const pith_dtype from = n->in[0]->dtype, to = n->dtype;
    const size_t size = pith_size(n);
#pragma omp parallel for schedule(static) if (size > PITH_SMALL)
    for (size_t i = 0; i < size; i++) {
        const double x = load(in[0], from, i);
        if (to == PITH_F32) ((real *)out[0])[i] = (real)x;
        else if (to == PITH_I32) ((int *)out[0])[i] = whole(x, INT32_MIN, INT32_MAX);
        else ((unsigned char *)out[0])[i] = (unsigned char)whole(x, 0, 255);
    }
}

static node *cast_example(pith_graph *g, int i)
{
    return i == 0   ? pith_cast(pith_sample_ids(g, 9, 2, 3), PITH_F32)
           : i == 1 ? pith_cast(pith_cast(pith_sample(g, 1.2, 1.8, 2, 3), PITH_U8), PITH_F32)
                    : NULL;
}

/* One side is always of whole numbers, so nothing flows. */
const pith_op pith_op_cast = { "cast", .shape = cast_shape, .grad = nothing, .cpu = cast_cpu,
                               .example = cast_example };

node *pith_cast_(const char *at, node *a, pith_dtype dtype)
{
    if (a && (pith_poisoned(a) || a->dtype == dtype)) return a;
    return pith_make1(at, &pith_op_cast, a, &(pith_attr){ .i = { (int)dtype } });
}
