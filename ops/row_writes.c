/* ops/row_writes.c: writing some rows of a stored table, and the gradient of a table by its rows.
 * Both do work for the rows named, whatever the size of the table. */
#include "attributes.h"
#include "slots.h"

enum { RANGES = 64 }; /* of the work, whatever the number of threads */

/* ---- write_rows: inputs table, ids, rows, and ok, which is 0 for nothing to be written ---- */

static bool write_rows_shape(node *n)
{
    const node *table = n->in[0], *ids = n->in[1], *rows = n->in[2];
    if (table->ndim < 1) return pith_fail(n, "a table without axes has no rows");
    if (!pith_mark_written(n)) return false;
    if (!pith_want(n, 1, PITH_I32, ids->ndim) || !pith_rows_fit(n, table, ids, rows)) return false;
    return (n->n_in < 4 || pith_want(n, 3, PITH_F32, 0)) && pith_like(n, table);
}

/* Each range of the table's rows has one thread, which reads all ids in order: the last of equal
 * ids holds. */
static bool write_rows_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t count = pith_size(n->in[1]), bytes = pith_bytes(n) / (size_t)n->dim[0];
    const int64_t rows = n->dim[0], ranges = rows < RANGES ? rows : RANGES;
    const int *ids = call->in[1];
    const char *from = call->in[2];
    if (n->n_in == 4 && *(const real *)call->in[3] == 0) return true;
#pragma omp parallel for schedule(static) if (count * bytes > PITH_SMALL * sizeof(real))
    for (int64_t r = 0; r < ranges; r++) {
        const int64_t first = rows * r / ranges, end = rows * (r + 1) / ranges;
        for (size_t i = 0; i < count; i++)
            if (ids[i] >= first && ids[i] < end)
                memcpy((char *)call->out[0] + (size_t)ids[i] * bytes, from + i * bytes, bytes);
    }
    return true;
}

/* Of the table nothing but the rows named. */
static size_t write_rows_moved(const node *n)
{
    return pith_bytes(n->in[1]) + 2 * pith_bytes(n->in[2]);
}

PITH_ON_CUDA_WITH_SCRATCH(write_rows);
const pith_op pith_op_write_rows = { "write_rows",
                                     .shape = write_rows_shape,
                                     .cpu = write_rows_cpu,
                                     .cuda = write_rows_cuda,
                                     .cuda_scratch = write_rows_cuda_scratch,
                                     .moved = write_rows_moved,
                                     .flags = PITH_DISTINCT | PITH_WRITE,
                                     .no_grad = "it is a write: differentiate the rows instead" };

/* a, or a copy of it where it lies in the leaf, whose rows are about to change. */
static node *unwritten(const char *at, const node *leaf, node *a)
{
    const node *root = a && !pith_poisoned(a) ? pith_root(a) : NULL;
    return root && pith_written_leaf(root) == leaf ? pith_copy_(at, a) : a;
}

node *pith_write_rows_(const char *at, node *table, node *ids, node *rows, node *ok)
{
    if (!table || pith_poisoned(table)) return pith_make1(at, &pith_op_write_rows, table, NULL);
    const node *leaf = pith_written_leaf(table);
    node *in[4] = { pith_latest_write(table), unwritten(at, leaf, ids), unwritten(at, leaf, rows),
                    ok };
    return pith_make(at, &pith_op_write_rows, table->graph, ok ? 4 : 3, in, NULL);
}

/* ---- row_gradient: inputs rows and ids, rows and ids, ..., joined one behind the other ---- */

static bool row_gradient_shape(node *n)
{
    const node *row = n->in[0];
    const int count = ((const row_gradient_attr *)n->attr)->count;
    const int lead = n->in[1]->ndim, more = row->ndim - lead;
    int64_t positions = 0;
    if (count < 1) return pith_fail(n, "a table of %d rows", count);
    for (int k = 0; k < n->n_in; k += 2) {
        const node *rows = n->in[k], *ids = n->in[k + 1];
        if (!pith_want(n, k, PITH_F32, rows->ndim) || !pith_want(n, k + 1, PITH_I32, ids->ndim))
            return false;
        bool fits = rows->ndim - ids->ndim == more && more >= 0;
        for (int d = 0; d < ids->ndim && fits; d++) fits = rows->dim[d] == ids->dim[d];
        for (int d = 0; d < more && fits; d++)
            fits = rows->dim[ids->ndim + d] == row->dim[lead + d];
        if (!fits)
            return pith_fail(n, "input %d is not of the shape of its ids and then of a row", k);
        positions += (int64_t)pith_size(ids);
    }
    /* Never of the table's shape: what is made of it by hand is not taken for a dense gradient. */
    if (positions == count) positions++;
    int dim[PITH_MAX_DIMS + 1];
    for (int d = 0; d < more; d++) dim[d + 1] = row->dim[lead + d];
    return pith_dim(n, 0, positions, dim) && pith_shape(n, PITH_F32, more + 1, dim) &&
           pith_more_result(n, 1, PITH_I32, 1, dim);
}

static size_t row_gradient_scratch(const node *n)
{
    return (slots_for(n->dim[0]) + 2 * (size_t)n->dim[0]) * sizeof(int);
}

/* For each position the first one with the same id, -1 where the id is outside. */
static void find_firsts(const int *ids, int n, int count, int *slot, size_t slots, int *first)
{
    for (size_t k = 0; k < slots; k++) slot[k] = -1;
    for (int i = 0; i < n; i++) {
        first[i] = -1;
        if (ids[i] < 0 || ids[i] >= count) continue;
        size_t k = first_slot(ids[i], slots);
        while (slot[k] >= 0 && ids[slot[k]] != ids[i]) k = next_slot(k, slots);
        if (slot[k] < 0) slot[k] = i;
        first[i] = slot[k];
    }
}

/* Rows of equal ids into the first of them, in order; each range of columns has one thread. */
static void sum_equal(real *y, int rows, size_t columns, const int *first)
{
    const size_t ranges = columns < RANGES ? columns : RANGES;
#pragma omp parallel for schedule(static) if ((size_t)rows * columns > PITH_SMALL)
    for (size_t r = 0; r < ranges; r++) {
        const size_t begin = columns * r / ranges, end = columns * (r + 1) / ranges;
        for (int i = 0; i < rows; i++) {
            if (first[i] == i) continue;
            real *from = y + (size_t)i * columns,
                 *to = first[i] < 0 ? from : y + (size_t)first[i] * columns;
            for (size_t k = begin; first[i] >= 0 && k < end; k++) to[k] += from[k];
            for (size_t k = begin; k < end; k++) from[k] = 0;
        }
    }
}

static bool row_gradient_cpu(const pith_call *call)
{
    const node *n = call->n;
    const int rows = n->dim[0];
    const size_t columns = pith_size(n) / (size_t)rows, slots = slots_for(n->dim[0]);
    int *slot = call->scratch, *first = slot + slots, *ids = first + rows, *own = call->out[1];
    real *y = call->out[0];
    size_t at = 0;
    for (int k = 0; k < n->n_in; k += 2) {
        const size_t many = pith_size(n->in[k + 1]);
        memcpy(ids + at, call->in[k + 1], many * sizeof *ids);
        memcpy(y + at * columns, call->in[k], many * columns * sizeof *y);
        at += many;
    }
    for (; at < (size_t)rows; at++) ids[at] = -1;
    find_firsts(ids, rows, ((const row_gradient_attr *)n->attr)->count, slot, slots, first);
    for (int i = 0; i < rows; i++) own[i] = first[i] == i ? ids[i] : -1;
    sum_equal(y, rows, columns, first);
    return true;
}

static node *row_gradient_example(pith_graph *g, int i)
{
    if (i == 0) {
        node *rows[2] = { pith_sample(g, PITH_AWAY, 0, 3, 2, 3),
                          pith_sample(g, PITH_AWAY, 0, 5, 3) };
        node *ids[2] = { pith_sample_ids(g, 5, 3, 2), pith_sample_ids(g, 5, 5) };
        return pith_row_gradient(2, rows, ids, 4);
    }
    node *rows = pith_sample(g, PITH_AWAY, 0, 7), *ids = pith_sample_ids(g, 5, 7);
    return i == 1 ? pith_row_gradient(1, &rows, &ids, 4) : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(row_gradient);
const pith_op pith_op_row_gradient = { "row_gradient",
                                       .attr_size = sizeof(row_gradient_attr),
                                       .shape = row_gradient_shape,
                                       .cpu = row_gradient_cpu,
                                       .cuda = row_gradient_cuda,
                                       .cuda_scratch = row_gradient_cuda_scratch,
                                       .scratch = row_gradient_scratch,
                                       .results = 2,
                                       .no_grad = "it is what an optimizer is given",
                                       .example = row_gradient_example };

node *pith_row_gradient_(const char *at, int n, node *const *rows, node *const *ids, int count)
{
    if (n < 1 || !rows || !ids) return pith_refuse(NULL, "%s: row_gradient: no rows", at);
    if (!rows[0] || pith_poisoned(rows[0]))
        return pith_make1(at, &pith_op_row_gradient, rows[0], NULL);
    pith_graph *g = rows[0]->graph;
    node **in = pith_alloc(g, sizeof *in * 2 * (size_t)n);
    if (!in) return pith_make1(at, &pith_op_row_gradient, rows[0], NULL);
    for (int k = 0; k < n; k++) in[2 * k] = rows[k], in[2 * k + 1] = ids[k];
    return pith_make(at, &pith_op_row_gradient, g, 2 * n, in, &(row_gradient_attr){ count });
}

bool pith_is_row_gradient(const node *gradient)
{
    return gradient && gradient->op == &pith_op_row_gradient;
}

int pith_rows_of(const node *gradient)
{
    return pith_is_row_gradient(gradient) ? ((const row_gradient_attr *)gradient->attr)->count : 0;
}
