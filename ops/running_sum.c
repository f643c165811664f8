/* ops/running_sum.c: sums of rows inside segments of packed rows: of the tokens of a caption up to
 * each one. The adjoint is the same from behind. */
#include "attributes.h"
#include "rows.h"

extern const pith_op pith_op_running_sum;

static bool is_reverse(const node *n) { return ((const running_attr *)n->attr)->reverse; }

static bool running_shape(node *n)
{
    const node *x = n->in[0];
    if (x->ndim < 1) return pith_fail(n, "the input needs an axis of rows");
    return pith_want(n, 0, PITH_F32, x->ndim) && pith_want(n, 1, PITH_I32, 1) && pith_like(n, x);
}

static bool running_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = pith_make2(NULL, n->op, dy[0], n->in[1], &(running_attr){ !is_reverse(n) });
    return true;
}

/* A product with a matrix of ones and zeros: row i reads the rows of its segment up to its own. */
static void running_lower(node *n, node **out)
{
    node *x = n->in[0], *row = pith_arange_(NULL, n->graph, x->dim[0]),
         *segment = pith_segments_(NULL, n->in[1], x->dim[0]);
    node *reads = EQUAL(KEEP(segment, -1), segment);
    reads = MUL(reads, LESS(pith_const_scalar(NULL, n->graph, PITH_I32, -1), segment));
    reads = MUL(reads, is_reverse(n) ? LESS(KEEP(row, -1), SHIFT(row, 1))
                                     : LESS(row, SHIFT(KEEP(row, -1), 1)));
    node *flat = pith_reshape_(NULL, x, x->dim[0], -1, PITH_END);
    out[0] = RESHAPE_LIKE(MATMUL(reads, flat), n);
}

static void sum_rows(const real *x, real *y, int count, size_t row, bool reverse)
{
    for (int i = 0; i < count; i++) {
        const size_t at = (size_t)(reverse ? count - 1 - i : i) * row;
        const real *from = x + at, *before = reverse ? y + at + row : y + at - row;
        real *to = y + at;
        for (size_t k = 0; k < row; k++) to[k] = i ? from[k] + before[k] : from[k];
    }
}

static bool running_cpu(const pith_call *call)
{
    const node *n = call->n;
    const int *offsets = call->in[1], rows = n->dim[0], segments = n->in[1]->dim[0] - 1;
    const size_t size = pith_size(n), row = rows ? size / (size_t)rows : 0;
    int *bound = call->scratch;
    for (int s = 0, before = 0; s <= segments; s++)
        bound[s] = before = segment_bound(before, offsets[s], rows);
    const real *x = call->in[0];
    real *y = call->out[0];
    const size_t first = (size_t)bound[0] * row, end = (size_t)bound[segments] * row;
    memset(y, 0, first * sizeof *y);
    memset(y + end, 0, (size - end) * sizeof *y);
#pragma omp parallel for schedule(static) if (size > PITH_SMALL)
    for (int s = 0; s < segments; s++) {
        const size_t at = (size_t)bound[s] * row;
        sum_rows(x + at, y + at, bound[s + 1] - bound[s], row, is_reverse(n));
    }
    return true;
}

static size_t running_scratch(const node *n) { return (size_t)n->in[1]->dim[0] * sizeof(int); }

static node *running_example(pith_graph *g, int i)
{
    static const int few[] = { 0, 3, 3, 5 }, inside[] = { 1, 2, 6 }, wild[] = { -2, 9, 4 };
    if (i == 0)
        return pith_running_sum(pith_sample(g, PITH_AWAY, 0, 5, 2, 3),
                                pith_const_array(g, PITH_I32, few, 4));
    if (i == 1) /* rows in no segment */
        return pith_running_sum(pith_sample(g, PITH_AWAY, 0, 7, 17),
                                pith_const_array(g, PITH_I32, inside, 3));
    if (i == 2) /* offsets outside, and rows of one element */
        return pith_running_sum(pith_sample(g, PITH_AWAY, 0, 4),
                                pith_const_array(g, PITH_I32, wild, 3));
    if (i == 3) /* from behind, as the adjoint is */
        return pith_make2(PITH_HERE, &pith_op_running_sum, pith_sample(g, PITH_AWAY, 0, 5, 3),
                          pith_const_array(g, PITH_I32, few, 4), &(running_attr){ true });
    return NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(running_sum);
const pith_op pith_op_running_sum = { "running_sum",
                                      .shape = running_shape,
                                      .grad = running_grad,
                                      .lower = running_lower,
                                      .cpu = running_cpu,
                                      .cuda = running_sum_cuda,
                                      .cuda_scratch = running_sum_cuda_scratch,
                                      .scratch = running_scratch,
                                      .attr_size = sizeof(running_attr),
                                      .example = running_example };

node *pith_running_sum_(const char *at, node *x, node *offsets)
{
    return pith_make2(at, &pith_op_running_sum, x, offsets, &(running_attr){ 0 });
}
