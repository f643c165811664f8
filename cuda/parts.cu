/* parts.cu: slice, pad and concat move runs of bytes: everything from the axis on, once for each
 * step along the axes before it. */
#include "ops/attributes.h"
#include "runs.h"

static size_t product(const int *dim, int from, int to)
{
    size_t size = 1;
    for (int k = from; k < to; k++) size *= (size_t)dim[k];
    return size;
}

/* Bytes of everything from `axis` on. */
static size_t run_bytes(const node *n, int axis)
{
    return product(n->dim, axis, n->ndim) * pith_width(n->dtype);
}

PITH_CUDA_KERNEL(slice)
{
    const node *n = call->n;
    const part_attr *attr = (const part_attr *)n->attr;
    const int axis = attr->axis;
    const size_t row = run_bytes(n, axis), whole = run_bytes(n->in[0], axis);
    const char *from = (const char *)call->in[0] + (size_t)attr->first * run_bytes(n, axis + 1);
    return move_runs(call, product(n->dim, 0, axis), row, call->out[0], row, from, whole);
}

/* Rows of `length` units, of which `inside`, after the first `before`, come from x. */
template <class T>
static __global__ void pad_runs(size_t rows, size_t length, size_t before, size_t inside,
                                const void *x, void *y)
{
    const size_t row = RUN_ROW;
    if (row >= rows) return;
    const T *from = (const T *)x + row * inside;
    T *to = (T *)y + row * length;
    ALONG_RUN(k, length) to[k] = k >= before && k - before < inside ? from[k - before] : T();
}

PITH_CUDA_KERNEL(pad)
{
    const node *n = call->n;
    const part_attr *attr = (const part_attr *)n->attr;
    const int axis = attr->axis;
    const size_t whole = run_bytes(n, axis), inside = run_bytes(n->in[0], axis),
                 before = (size_t)attr->first * run_bytes(n, axis + 1),
                 rows = product(n->dim, 0, axis);
    const size_t unit = unit_of(address(call->in[0]) | address(call->out[0]) | whole | inside |
                                before);
    return LAUNCH_RUNS(call, pad_runs, unit, rows, whole / unit, before / unit, inside / unit,
                       call->in[0], call->out[0]);
}

PITH_CUDA_KERNEL(concat)
{
    const node *n = call->n;
    const int axis = ((const concat_attr *)n->attr)->axis;
    const size_t whole = run_bytes(n, axis), rows = product(n->dim, 0, axis);
    char *y = (char *)call->out[0];
    for (int k = 0; k < n->n_in; k++) {
        const size_t row = run_bytes(n->in[k], axis);
        if (!move_runs(call, rows, row, y, whole, call->in[k], row)) return false;
        y += row;
    }
    return true;
}
