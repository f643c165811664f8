/* ops/gather.c: rows by number, and the adjoint, rows summed by number. Also segments, the number
 * of each packed row. No atomics: scatter_add gives each range of destination rows to one thread,
 * which reads all numbers in order. */
#include "attributes.h"
#include "rows.h"

enum { RANGES = 64 }; /* of destination rows, whatever the number of threads */

/* Elements of a row: what is behind the first axis. */
static size_t row_length(const node *n)
{
    size_t size = 1;
    for (int k = 1; k < n->ndim; k++) size *= (size_t)n->dim[k];
    return size;
}

/* ---- gather ---- */

static bool gather_shape(node *n)
{
    const node *table = n->in[0], *ids = n->in[1];
    if (table->ndim < 1) return pith_fail(n, "the table needs an axis");
    if (!pith_want(n, 1, PITH_I32, ids->ndim)) return false;
    int dim[2 * PITH_MAX_DIMS], ndim = 0;
    for (int k = 0; k < ids->ndim; k++) dim[ndim++] = ids->dim[k];
    for (int k = 1; k < table->ndim; k++) dim[ndim++] = table->dim[k];
    return pith_shape(n, table->dtype, ndim, dim);
}

static bool gather_grad(node *n, node *const *dy, node **dx)
{
    node *table = n->in[0];
    dx[0] = pith_scatter_add_(NULL, dy[0], n->in[1], table->dim[0]);
    return true;
}

static bool gather_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t row = row_length(n->in[0]) * pith_width(n->dtype), count = pith_size(n->in[1]);
    const int rows = n->in[0]->dim[0], *ids = call->in[1];
    const char *table = call->in[0];
    char *y = call->out[0];
#pragma omp parallel for schedule(static) if (count * row > PITH_SMALL * sizeof(real))
    for (size_t i = 0; i < count; i++)
        if (ids[i] >= 0 && ids[i] < rows) memcpy(y + i * row, table + (size_t)ids[i] * row, row);
        else memset(y + i * row, 0, row);
    return true;
}

/* The rows named, whatever the size of the table. */
static size_t gather_moved(const node *n) { return 2 * pith_bytes(n) + pith_bytes(n->in[1]); }

static node *gather_example(pith_graph *g, int i)
{
    if (i == 0) return pith_gather(pith_sample(g, PITH_AWAY, 0, 4, 3), pith_sample_ids(g, 4, 2, 3));
    if (i == 1) /* a number outside the table, and rows of one element */
        return pith_gather(pith_sample(g, PITH_AWAY, 0, 3), pith_sample_ids(g, 5, 7));
    return NULL;
}

PITH_ON_CUDA(gather);
const pith_op pith_op_gather = { "gather",
                                 .shape = gather_shape,
                                 .grad = gather_grad,
                                 .cpu = gather_cpu,
                                 .cuda = gather_cuda,
                                 .flags = PITH_MOVES,
                                 .moved = gather_moved,
                                 .example = gather_example };

node *pith_gather_(const char *at, node *table, node *ids)
{
    return pith_make2(at, &pith_op_gather, table, ids, NULL);
}

/* ---- scatter_add ---- */

static int count_of(const node *n) { return ((const rows_attr *)n->attr)->count; }

static bool scatter_add_shape(node *n)
{
    const node *rows = n->in[0], *ids = n->in[1];
    if (!pith_want(n, 0, PITH_F32, rows->ndim) || !pith_want(n, 1, PITH_I32, ids->ndim))
        return false;
    bool fits = rows->ndim >= ids->ndim;
    for (int k = 0; k < ids->ndim && fits; k++) fits = rows->dim[k] == ids->dim[k];
    char a[96], b[96];
    if (!fits)
        return pith_fail(n, "rows %s do not begin with the shape of their numbers %s",
                         pith_shape_text(rows, a), pith_shape_text(ids, b));
    int dim[PITH_MAX_DIMS + 1] = { count_of(n) }, ndim = 1;
    for (int k = ids->ndim; k < rows->ndim; k++) dim[ndim++] = rows->dim[k];
    return pith_shape(n, PITH_F32, ndim, dim);
}

static bool scatter_add_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = pith_gather_(NULL, dy[0], n->in[1]);
    return true;
}

static bool scatter_add_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t row = row_length(n), count = pith_size(n->in[1]);
    const int64_t rows = n->dim[0], ranges = rows < RANGES ? rows : RANGES;
    const int *ids = call->in[1];
    const real *x = call->in[0];
    real *y = call->out[0];
#pragma omp parallel for schedule(static) if ((size_t)rows * row + count * row > PITH_SMALL)
    for (int64_t r = 0; r < ranges; r++) {
        const int64_t first = rows * r / ranges, end = rows * (r + 1) / ranges;
        memset(y + (size_t)first * row, 0, (size_t)(end - first) * row * sizeof *y);
        for (size_t i = 0; i < count; i++) {
            if (ids[i] < first || ids[i] >= end) continue;
            real *to = y + (size_t)ids[i] * row;
            const real *from = x + i * row;
            for (size_t k = 0; k < row; k++) to[k] += from[k];
        }
    }
    return true;
}

/* The result is zeroed; then a row is read, and its destination read and written. */
static size_t scatter_add_moved(const node *n)
{
    return pith_bytes(n) + 3 * pith_bytes(n->in[0]) + pith_bytes(n->in[1]);
}

static node *scatter_add_example(pith_graph *g, int i)
{
    if (i == 0)
        return pith_scatter_add(pith_sample(g, PITH_AWAY, 0, 2, 3, 2), pith_sample_ids(g, 4, 2, 3),
                                4);
    if (i == 1)
        return pith_scatter_add(pith_sample(g, PITH_AWAY, 0, 7), pith_sample_ids(g, 5, 7), 3);
    return NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(scatter_add);
const pith_op pith_op_scatter_add = { "scatter_add",
                                      .shape = scatter_add_shape,
                                      .grad = scatter_add_grad,
                                      .attr_size = sizeof(rows_attr),
                                      .cpu = scatter_add_cpu,
                                      .cuda = scatter_add_cuda,
                                      .cuda_scratch = scatter_add_cuda_scratch,
                                      .moved = scatter_add_moved,
                                      .example = scatter_add_example };

node *pith_scatter_add_(const char *at, node *rows, node *ids, int count)
{
    return pith_make2(at, &pith_op_scatter_add, rows, ids, &(rows_attr){ count });
}

/* ---- segments ---- */

static bool segments_shape(node *n)
{
    return pith_want(n, 0, PITH_I32, 1) && pith_shape(n, PITH_I32, 1, (int[]){ count_of(n) });
}

static bool segments_cpu(const pith_call *call)
{
    const node *n = call->n;
    const int *offsets = call->in[0], rows = n->dim[0], segments = n->in[0]->dim[0] - 1;
    int *y = call->out[0];
    for (int i = 0; i < rows; i++) y[i] = -1;
    for (int s = 0, begin = segment_bound(0, offsets[0], rows), end; s < segments; s++) {
        end = segment_bound(begin, offsets[s + 1], rows);
        for (; begin < end; begin++) y[begin] = s;
    }
    return true;
}

static node *segments_example(pith_graph *g, int i)
{
    static const int offsets[] = { 1, 3, 3, 6 };
    return i == 0 ? pith_segments(pith_const_array(g, PITH_I32, offsets, 4), 8) : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(segments);
const pith_op pith_op_segments = { "segments",
                                   .shape = segments_shape,
                                   .attr_size = sizeof(rows_attr),
                                   .cpu = segments_cpu,
                                   .cuda = segments_cuda,
                                   .cuda_scratch = segments_cuda_scratch,
                                   .no_grad = "it makes whole numbers of whole numbers",
                                   .example = segments_example };

node *pith_segments_(const char *at, node *offsets, int n)
{
    return pith_make1(at, &pith_op_segments, offsets, &(rows_attr){ n });
}
