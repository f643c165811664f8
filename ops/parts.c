/* ops/parts.c: slice, its adjoint pad, and concat: they move runs of bytes, whatever the dtype. A
 * slice of axis 0 is an alias: no work at all. */
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

/* ---- slice and its adjoint pad ---- */

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
    part_attr *attr = n->attr;
    const int axis = pith_axis(n, attr->axis, a->ndim), start = attr->first, stop = attr->second;
    if (axis < 0) return false;
    if (start < 0 || stop <= start || stop > a->dim[axis])
        return pith_fail(n, "[%d, %d) of axis %d, which has size %d", start, stop, axis,
                         a->dim[axis]);
    int dim[PITH_MAX_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    dim[axis] = stop - start;
    attr->axis = axis;
    return pith_shape(n, a->dtype, a->ndim, dim);
}

static node *pad(node *a, int axis, int before, int after);

static bool slice_grad(node *n, node *const *dy, node **dx)
{
    const part_attr *attr = n->attr;
    dx[0] = pad(dy[0], attr->axis, attr->first, n->in[0]->dim[attr->axis] - attr->second);
    return true;
}

static bool slice_cpu(const pith_call *call)
{
    const node *n = call->n;
    const part_attr *attr = n->attr;
    const int axis = attr->axis;
    const size_t row = run_bytes(n, axis), whole = run_bytes(n->in[0], axis);
    const size_t skip = (size_t)attr->first * run_bytes(n, axis + 1);
    copy_runs(call->out[0], row, (const char *)call->in[0] + skip, whole, product(n->dim, 0, axis),
              row);
    return true;
}

/* Of the input no more than what is copied. */
static size_t slice_moved(const node *n) { return 2 * pith_bytes(n); }

static node *slice_example(pith_graph *g, int i)
{
    if (i == 0) return pith_slice(sample(g, 3, 5), -1, 1, 4);
    if (i == 1) return pith_slice(pith_sample(g, PITH_AWAY, 0, 2, 3, 2), 1, 0, 2);
    if (i > 2) return NULL;
    node *x = sample(g, 3, 8), *y = NULL; /* so many pieces that overlap are summed by pad_join */
    for (int k = 0; k < 5; k++) {
        node *piece = pith_slice(x, 1, k, k + 3);
        y = y ? pith_mul(y, piece) : piece;
    }
    return y;
}

PITH_ON_CUDA(slice);
const pith_op pith_op_slice = { "slice",
                                .attr_size = sizeof(part_attr),
                                .shape = slice_shape,
                                .grad = slice_grad,
                                .cpu = slice_cpu,
                                .cuda = slice_cuda,
                                .flags = PITH_MOVES,
                                .moved = slice_moved,
                                .example = slice_example };

static node *slice_rows_example(pith_graph *g, int i)
{
    return i == 0   ? pith_slice(sample(g, 4, 3), 0, 1, 3)
           : i == 1 ? pith_slice(pith_sample(g, PITH_AWAY, 0, 1, 4, 2), -2, 0, 3)
                    : NULL;
}

static size_t slice_offset(const node *n)
{
    const part_attr *attr = n->attr;
    return (size_t)attr->first * product(n->dim, attr->axis + 1, n->ndim);
}

/* A slice that is one run of its input: only axes of size 1 come before. */
const pith_op pith_op_slice_rows = { "slice",
                                     .attr_size = sizeof(part_attr),
                                     .offset = slice_offset,
                                     .shape = slice_shape,
                                     .grad = slice_grad,
                                     .flags = PITH_ALIAS,
                                     .example = slice_rows_example };

node *pith_slice_(const char *at, node *a, int axis, int start, int stop)
{
    const part_attr attr = { axis, start, stop };
    const int before = !a ? 0 : axis < 0 ? axis + a->ndim : axis;
    const bool one_run = !a || before < 0 || before > a->ndim || product(a->dim, 0, before) == 1;
    return pith_make1(at, one_run ? &pith_op_slice_rows : &pith_op_slice, a, &attr);
}

static bool pad_shape(node *n)
{
    const node *a = n->in[0];
    const part_attr *attr = n->attr;
    const int64_t size = (int64_t)a->dim[attr->axis] + attr->first + attr->second;
    int dim[PITH_MAX_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    return pith_dim(n, attr->axis, size, dim) && pith_shape(n, a->dtype, a->ndim, dim);
}

static bool pad_grad(node *n, node *const *dy, node **dx)
{
    const part_attr *attr = n->attr;
    dx[0] = pith_slice_(NULL, dy[0], attr->axis, attr->first,
                        attr->first + n->in[0]->dim[attr->axis]);
    return true;
}

static bool pad_cpu(const pith_call *call)
{
    const node *n = call->n;
    const part_attr *attr = n->attr;
    const int axis = attr->axis;
    const size_t step = run_bytes(n, axis + 1), row = run_bytes(n->in[0], axis),
                 whole = run_bytes(n, axis);
    const size_t before = (size_t)attr->first * step, rows = product(n->dim, 0, axis);
    char *y = call->out[0];
    for (size_t r = 0; r < rows; r++) {
        memset(y + r * whole, 0, before);
        memset(y + r * whole + before + row, 0, whole - before - row);
    }
    copy_runs(y + before, whole, call->in[0], row, rows, row);
    return true;
}

static node *pad_example(pith_graph *g, int i)
{
    return i == 0 ? pad(sample(g, 2, 3), 0, 1, 2) : i == 1 ? pad(sample(g, 2, 3), 1, 0, 2) : NULL;
}

static int by_axis_and_place(const void *a, const void *b)
{
    const node *x = *(node *const *)a, *y = *(node *const *)b;
    const part_attr *p = x->attr, *q = y->attr;
    if (p->axis != q->axis) return p->axis - q->axis;
    return p->first != q->first ? p->first - q->first : x->id - y->id;
}

static int end_of_inside(const node *padded)
{
    const part_attr *p = padded->attr;
    return p->first + padded->in[0]->dim[p->axis];
}

/* Pads whose insides do not overlap, in order of place: one concat, in which each inside is padded
 * by the gap before it only, and the last also by the one behind it. */
static node *side_by_side(int n, node *const *pads)
{
    if (n == 1) return pads[0];
    const int axis = ((const part_attr *)pads[0]->attr)->axis;
    node **parts = malloc(sizeof *parts * (size_t)n);
    if (!parts) return pith_refuse(pads[0]->graph, "no memory for a gradient");
    for (int k = 0, at = 0; k < n; k++) {
        node *inside = pads[k]->in[0];
        const part_attr *p = pads[k]->attr;
        const int before = p->first - at, after = k == n - 1 ? p->second : 0;
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
    if (!left || !row)
        return free(left), free(row), pith_refuse(pads[0]->graph, "no memory for a gradient");
    memcpy(left, pads, sizeof *left * (size_t)n);
    qsort(left, (size_t)n, sizeof *left, by_axis_and_place);
    while (n) {
        const int axis = ((const part_attr *)left[0]->attr)->axis;
        int kept = 0, taken = 1, end = end_of_inside(left[0]);
        row[0] = left[0];
        for (int k = 1; k < n; k++) {
            const part_attr *p = left[k]->attr;
            if (p->axis != axis || p->first < end) left[kept++] = left[k];
            else end = end_of_inside(left[k]), row[taken++] = left[k];
        }
        node *joined = side_by_side(taken, row);
        sum = sum ? ADD(sum, joined) : joined;
        n = kept;
    }
    free(left);
    free(row);
    return sum;
}

PITH_ON_CUDA(pad);
const pith_op pith_op_pad = { "pad",
                              .attr_size = sizeof(part_attr),
                              .shape = pad_shape,
                              .grad = pad_grad,
                              .cpu = pad_cpu,
                              .cuda = pad_cuda,
                              .flags = PITH_MOVES,
                              .join = pad_join,
                              .example = pad_example };

static node *pad(node *a, int axis, int before, int after)
{
    return pith_make1(NULL, &pith_op_pad, a, &(part_attr){ axis, before, after });
}

/* ---- concat ---- */

static bool concat_shape(node *n)
{
    const node *a = n->in[0];
    concat_attr *attr = n->attr;
    const int axis = pith_axis(n, attr->axis, a->ndim);
    if (axis < 0) return false;
    int64_t size = a->dim[axis];
    for (int k = 1; k < n->n_in; k++) {
        const node *b = n->in[k];
        bool fits = b->ndim == a->ndim && b->dtype == a->dtype;
        for (int d = 0; d < a->ndim && fits; d++) fits = d == axis || b->dim[d] == a->dim[d];
        if (!fits) return pith_fail(n, "input %d does not fit input 0 along axis %d", k, axis);
        size += b->dim[axis];
    }
    attr->axis = axis;
    int dim[PITH_MAX_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    return pith_dim(n, axis, size, dim) && pith_shape(n, a->dtype, a->ndim, dim);
}

static bool concat_grad(node *n, node *const *dy, node **dx)
{
    const int axis = ((const concat_attr *)n->attr)->axis;
    for (int k = 0, at = 0; k < n->n_in; at += n->in[k]->dim[axis], k++)
        dx[k] = pith_slice_(NULL, dy[0], axis, at, at + n->in[k]->dim[axis]);
    return true;
}

static bool concat_cpu(const pith_call *call)
{
    const node *n = call->n;
    const int axis = ((const concat_attr *)n->attr)->axis;
    const size_t whole = run_bytes(n, axis), rows = product(n->dim, 0, axis);
    char *y = call->out[0];
    for (int k = 0; k < n->n_in; k++) {
        const size_t row = run_bytes(n->in[k], axis);
        copy_runs(y, whole, call->in[k], row, rows, row);
        y += row;
    }
    return true;
}

static node *concat_example(pith_graph *g, int i)
{
    if (i == 0) return pith_concat(2, ((node *[]){ sample(g, 2, 3), sample(g, 1, 3) }), 0);
    if (i == 1)
        return pith_concat(3, ((node *[]){ sample(g, 2, 3), sample(g, 2, 1), sample(g, 2, 2) }),
                           -1);
    return NULL;
}

PITH_ON_CUDA(concat);
const pith_op pith_op_concat = { "concat",
                                 .attr_size = sizeof(concat_attr),
                                 .shape = concat_shape,
                                 .grad = concat_grad,
                                 .cpu = concat_cpu,
                                 .cuda = concat_cuda,
                                 .flags = PITH_MOVES,
                                 .example = concat_example };

node *pith_concat_(const char *at, int n, node *const *list, int axis)
{
    if (n < 1 || !list) return pith_refuse(NULL, "%s: concat: nothing to join", at);
    for (int k = 0; k < n && !list[0]; k++) /* the graph that has failed is that of any other */
        if (list[k]) return pith_refuse(list[k]->graph, "%s: concat: input 0 is NULL", at);
    if (!list[0]) return pith_make1(at, &pith_op_concat, NULL, NULL);
    return pith_make(at, &pith_op_concat, list[0]->graph, n, list, &(concat_attr){ axis });
}
