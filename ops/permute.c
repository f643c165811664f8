/* ops/permute.c: axes in a new order.
 *
 * Axes that stay neighbours count as one. If the last axis stays last, runs are copied; else square
 * tiles are turned, so that both sides are touched by whole cache lines. */
#include <stdarg.h>
#include "permute.h"

extern const pith_op pith_op_permute;
enum { TILE = 32 };

static bool permute_shape(node *n)
{
    permute_attr *attr = n->attr;
    const node *a = n->in[0];
    int dim[PITH_MAX_DIMS];
    unsigned seen = 0;
    if (attr->ndim != a->ndim)
        return pith_fail(n, "%d axes named, the input has %d", attr->ndim, a->ndim);
    for (int k = 0; k < a->ndim; k++) {
        const int axis = attr->axis[k] = pith_axis(n, attr->axis[k], a->ndim);
        if (axis < 0) return false;
        if (seen >> axis & 1) return pith_fail(n, "axis %d is named twice", axis);
        seen |= 1u << axis;
        dim[k] = a->dim[axis];
    }
    return pith_shape(n, a->dtype, a->ndim, dim);
}

static node *permute(const char *at, node *a, int ndim, const int *order)
{
    permute_attr attr = { .ndim = ndim };
    for (int k = 0; k < ndim && k < PITH_MAX_DIMS; k++) attr.axis[k] = order[k];
    return pith_make1(at, &pith_op_permute, a, &attr);
}

static bool permute_grad(node *n, node *const *dy, node **dx)
{
    const permute_attr *attr = n->attr;
    int back[PITH_MAX_DIMS];
    for (int k = 0; k < n->ndim; k++) back[attr->axis[k]] = k;
    dx[0] = permute(NULL, dy[0], n->ndim, back);
    return true;
}

/* to[i, j] = from[j, i] */
#define TURN(type)                                                                                 \
    static void turn_##type(void *to, size_t to_step, const void *from, size_t from_step,          \
                            size_t m, size_t n)                                                    \
    {                                                                                              \
        for (size_t i = 0; i < m; i++)                                                             \
            for (size_t j = 0; j < n; j++)                                                         \
                ((type *)to)[i * to_step + j] = ((const type *)from)[j * from_step + i];           \
    }
TURN(uint8_t)
TURN(uint16_t)
TURN(uint32_t)
TURN(uint64_t)

/* Called by pointer: compiled into the loop over tasks they would take half as long again. */
typedef void turn(void *to, size_t to_step, const void *from, size_t from_step, size_t m, size_t n);

static turn *turn_of(size_t width)
{
    if (width <= 2) return width == 1 ? turn_uint8_t : turn_uint16_t;
    return width == 4 ? turn_uint32_t : turn_uint64_t;
}

static size_t at_most_a_tile(size_t count) { return count < TILE ? count : TILE; }

/* How many tasks lie along an axis before the last one: one an element, along `inner` one a tile.
 */
static size_t tasks_along(const axes *x, int axis)
{
    return axis == x->inner ? (x->dim[axis] + TILE - 1) / TILE : x->dim[axis];
}

/* Where a task begins, in elements, and how many it has along `inner`. */
typedef struct {
    size_t from, to, rows;
} corner;

static corner corner_of(const axes *x, size_t task)
{
    corner c = { 0 };
    for (int k = x->n - 2; k >= 0; k--) {
        const size_t count = tasks_along(x, k);
        size_t at = task % count;
        task /= count;
        if (k == x->inner) {
            at *= TILE;
            c.rows = at_most_a_tile(x->dim[k] - at);
        }
        c.from += at * x->from[k];
        c.to += at * x->to[k];
    }
    return c;
}

static bool permute_cpu(const pith_call *call)
{
    const node *n = call->n;
    const axes x = joined_axes(n);
    const int last = x.n - 1;
    const size_t width = pith_width(n->dtype);
    turn *turn_tile = turn_of(width);
    size_t tasks = 1;
    for (int k = 0; k < last; k++) tasks *= tasks_along(&x, k);
#pragma omp parallel for schedule(static) if (pith_size(n) > PITH_SMALL)
    for (size_t task = 0; task < tasks; task++) {
        const corner c = corner_of(&x, task);
        const char *from = (const char *)call->in[0] + c.from * width;
        char *to = (char *)call->out[0] + c.to * width;
        if (x.inner == last) {
            memcpy(to, from, x.dim[last] * width);
            continue;
        }
        for (size_t j = 0; j < x.dim[last]; j += TILE)
            turn_tile(to + j * width, x.to[x.inner], from + j * x.from[last] * width, x.from[last],
                      c.rows, at_most_a_tile(x.dim[last] - j));
    }
    return true;
}

static node *permute_example(pith_graph *g, int i)
{
    return i == 0   ? pith_permute(pith_sample(g, PITH_AWAY, 0, 2, 3, 4), 2, 0, 1)
           : i == 1 ? pith_permute(pith_sample(g, PITH_AWAY, 0, 2, 3, 2, 2), 0, 2, 1, -1)
           : i == 2 ? pith_permute(pith_sample(g, PITH_AWAY, 0, 2, 3, 2, 2), 3, 2, 1, 0)
           : i == 3 ? pith_transpose(pith_sample(g, PITH_AWAY, 0, 33, 3))
                    : NULL;
}

PITH_ON_CUDA(permute);
const pith_op pith_op_permute = { "permute",
                                  .shape = permute_shape,
                                  .grad = permute_grad,
                                  .attr_size = sizeof(permute_attr),
                                  .cpu = permute_cpu,
                                  .cuda = permute_cuda,
                                  .flags = PITH_MOVES,
                                  .example = permute_example };

node *pith_permute_(const char *at, node *a, ...)
{
    int order[PITH_MAX_DIMS], ndim;
    PITH_DIMS(a, order, ndim);
    return permute(at, a, ndim, order);
}

node *pith_transpose_(const char *at, node *a)
{
    int order[PITH_MAX_DIMS] = { 0, 1, 2, 3, 4, 5 };
    const int ndim = a ? a->ndim : 0;
    if (ndim >= 2) {
        order[ndim - 2] = ndim - 1;
        order[ndim - 1] = ndim - 2;
    }
    return permute(at, a, ndim < 2 ? 2 : ndim, order);
}
