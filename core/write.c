/* write.c: writes. An assign writes a leaf at its place in the graph, as optimizers do. An update
 * is the deferred form for losses and models: it is only noted, and who trains writes all of them
 * at the step's end (core/train/updates.c), so that everything in the step reads the old values.
 * Last, which reads of a table are declared to be by rows, so that its rows alone are written. */
#include "inside.h"

/* ---- assign ---- */

node *pith_written_leaf(const node *write)
{
    return write->writes ? write->writes : (node *)(uintptr_t)write;
}

bool pith_mark_written(node *n)
{
    node *leaf = pith_written_leaf(n->in[0]);
    if (!pith_is_stored(leaf)) return pith_fail(n, "only a param or a state can be written");
    if (n->in[0]->op == &pith_op_assign)
        return pith_fail(n, "%s was assigned at %s: whole writes and rows do not mix", leaf->name,
                         n->in[0]->at);
    n->writes = leaf;
    pith_leaf_of(leaf)->written = n;
    return true;
}

static bool assign_shape(node *n)
{
    const node *leaf = n->in[0];
    if (!pith_is_stored(leaf)) return pith_fail(n, "only a param or a state can be assigned");
    if (!pith_same_shape(leaf, n->in[1]) || leaf->dtype != n->in[1]->dtype)
        return pith_fail(n, "%s and its new value differ in shape or type", leaf->name);
    return pith_mark_written(n) && pith_like(n, leaf);
}

/* The value passes through, the old one is gone. */
static bool assign_grad(node *n, node *const *dy, node **dx)
{
    (void)n;
    dx[1] = dy[0];
    return true;
}

static bool assign_cpu(const pith_call *call)
{
    memmove(call->out[0], call->in[1], pith_bytes(call->n));
    return true;
}

PITH_ON_CUDA(assign);
const pith_op pith_op_assign = {
    "assign",          .shape = assign_shape, .grad = assign_grad,
    .cpu = assign_cpu, .cuda = assign_cuda,   .flags = PITH_DISTINCT | PITH_WRITE
};

node *pith_assign_(const char *at, node *leaf, node *value)
{
    return pith_make2(at, &pith_op_assign, leaf, value, NULL);
}

node *pith_latest_write(node *leaf)
{
    node *latest = leaf && pith_is_stored(leaf) ? pith_leaf_of(leaf)->written : NULL;
    return latest ? latest : leaf;
}

bool pith_is_write(const node *n) { return n && n->writes; }

/* ---- group ---- */

static bool group_shape(node *n) { return pith_shape(n, PITH_F32, 0, NULL); }

const pith_op pith_op_group = { "group", .shape = group_shape,
                                .flags = PITH_NO_VALUE | PITH_DISTINCT,
                                .no_grad = "it has no value" };

node *pith_group_(const char *at, int n, node *const *nodes)
{
    if (n < 1 || !nodes) return pith_refuse(NULL, "%s: group: no nodes", at);
    if (!nodes[0]) return pith_null(at, "group", "input 0");
    return pith_make(at, &pith_op_group, nodes[0]->graph, n, nodes, NULL);
}

/* ---- update: an alias of its value, noted in the graph; inputs value, leaf and, of rows, ids - */

static bool made_from(node *n, const node *earlier)
{
    bool *reached = pith_reached(n, earlier->id);
    const bool found = reached && *reached;
    if (!reached) pith_fail(n, "no memory for an update");
    free(reached);
    return found;
}

/* A second whole write is one with the first when it is made from it; else nobody could say which
 * of the two holds. */
static bool one_write(node *n, const node *leaf)
{
    const node *other = pith_leaf_of(leaf)->update;
    if (!other || (n->n_in == 3 && other->n_in == 3)) return true;
    if (n->n_in == 3 || other->n_in == 3)
        return pith_fail(n, "%s is written at %s already: whole and by rows do not mix", leaf->name,
                         other->at);
    return made_from(n, other) ||
           pith_fail(n,
                     "%s is written at %s already: a second write must be made from the first "
                     "one's value, which pith_pending gives",
                     leaf->name, other->at);
}

bool pith_rows_fit(node *n, const node *leaf, const node *ids, const node *rows)
{
    bool fits = leaf->ndim >= 1 && rows->dtype == leaf->dtype &&
                rows->ndim == ids->ndim + leaf->ndim - 1;
    for (int k = 0; k < ids->ndim && fits; k++) fits = rows->dim[k] == ids->dim[k];
    for (int k = 1; k < leaf->ndim && fits; k++)
        fits = rows->dim[ids->ndim + k - 1] == leaf->dim[k];
    return fits || pith_fail(n,
                             "the rows are not of the table's type, or their shape is not that "
                             "of the ids and then of a row of %s",
                             leaf->name);
}

static bool update_shape(node *n)
{
    const node *value = n->in[0], *leaf = n->in[1];
    const bool rows = n->n_in == 3;
    if (!pith_is_stored(leaf)) return pith_fail(n, "only a state, or a param that is not trained");
    if (pith_leaf_of(leaf)->training.trained)
        return pith_fail(n, "%s is trained: the optimizer writes it", leaf->name);
    if (rows &&
        (!pith_want(n, 2, PITH_I32, n->in[2]->ndim) || !pith_rows_fit(n, leaf, n->in[2], value)))
        return false;
    if (!rows && (!pith_same_shape(leaf, value) || leaf->dtype != value->dtype))
        return pith_fail(n, "%s and its new value differ in shape or type", leaf->name);
    return one_write(n, n->in[1]) && pith_like(n, value);
}

static bool update_grad(node *n, node *const *dy, node **dx)
{
    (void)n;
    dx[0] = dy[0];
    return true;
}

static node *update_example(pith_graph *g, int i)
{
    node *old = pith_state(g, "bank", PITH_F32, PITH_CONSTANT, 0, 3, 2);
    return i == 0 ? pith_update(old, pith_sample(g, PITH_AWAY, 0, 3, 2))
           : i == 1
               ? pith_update_rows(old, pith_sample_ids(g, 3, 4), pith_sample(g, PITH_AWAY, 0, 4, 2))
               : NULL;
}

const pith_op pith_op_update = { "update", .shape = update_shape, .grad = update_grad,
                                 .flags = PITH_ALIAS, .example = update_example };

static node *note_update(node *n)
{
    if (!n || pith_poisoned(n)) return n;
    pith_graph *g = n->graph;
    if (g->committed)
        pith_fail(n, "the graph's updates were written at %s already: update before pith_commit",
                  g->committed);
    if (g->error || !pith_enlist(&g->updates, &g->n_updates, n)) return pith_poison(n);
    return pith_leaf_of(n->in[1])->update = n;
}

node *pith_update_(const char *at, node *leaf, node *value)
{
    return note_update(pith_make2(at, &pith_op_update, value, leaf, NULL));
}

node *pith_update_rows_(const char *at, node *leaf, node *ids, node *rows)
{
    return note_update(pith_make3(at, &pith_op_update, rows, leaf, ids, NULL));
}

node *pith_pending(node *leaf)
{
    node *update = leaf && pith_is_stored(leaf) ? pith_leaf_of(leaf)->update : NULL;
    return update && update->n_in == 2 ? update : leaf;
}

bool pith_close_updates(pith_graph *g, const char *at)
{
    if (!pith_given(g, "pith_close_updates", "graph")) return false;
    if (g->committed)
        pith_refuse(g, "%s: the graph's updates were written at %s already", at, g->committed);
    g->committed = at ? at : "?";
    return !g->error;
}

int pith_updates(const pith_graph *g, node ***updates)
{
    *updates = g ? g->updates : NULL;
    return pith_given(g, "pith_updates", "graph") ? g->n_updates : 0;
}

/* ---- rows of a trained table ---- */

node *pith_gather_rows_(const char *at, node *table, node *ids)
{
    node *rows = pith_gather_(at, table, ids);
    if (!rows || pith_poisoned(rows)) return rows;
    if (!pith_is_param(table))
        return pith_fail(rows, "the table is no param, so it is not trained: use pith_gather"),
               pith_poison(rows);
    pith_graph *g = rows->graph;
    return pith_enlist(&g->row_reads, &g->n_row_reads, rows) ? rows : pith_poison(rows);
}

node *pith_whole_read(const node *y, const node *table)
{
    const pith_graph *g = pith_given(y, "pith_whole_read", "node") ? y->graph : NULL;
    if (!g || pith_poisoned(y)) return NULL;
    bool *reached = pith_reached(y, 0), *declared = calloc((size_t)g->n, sizeof *declared);
    const bool room = reached && declared;
    if (!room) pith_refuse(y->graph, "pith_whole_read: no memory");
    node *found = NULL;
    for (int k = 0; k < g->n_row_reads && room; k++) declared[g->row_reads[k]->id] = true;
    for (int id = y->id; id >= 0 && !found && room; id--)
        for (int k = 0; reached[id] && k < g->nodes[id]->n_in; k++)
            if (g->nodes[id]->in[k] == table && !declared[pith_original(g->nodes[id])->id])
                found = g->nodes[id];
    free(reached);
    free(declared);
    return found;
}

int pith_row_reads(const pith_graph *g, node ***reads)
{
    *reads = g ? g->row_reads : NULL;
    return pith_given(g, "pith_row_reads", "graph") ? g->n_row_reads : 0;
}
