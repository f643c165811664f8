/* updates.c: writes the new values that losses and models noted for their states (pith_update,
 * pith_update_rows) at the end of a training step: all of them, or none where the step is skipped.
 */
#include <stdlib.h>
#include "optim.h"

typedef pith_node node;

/* 0 times a number is 0, times NaN or an infinity it is NaN, so the sum is finite if all are. */
static node *all_finite(node *value)
{
    return pith_is_finite(pith_sum(pith_mul_scalar(value, 0), PITH_ALL));
}

/* Of a row update the rows that are written: those whose ids are outside may hold anything. */
static node *written_part(node *update)
{
    if (update->n_in == 2) return update;
    node *zeros = pith_mul_scalar(update, 0); /* or NaN: rows of equal ids are summed */
    return pith_row_gradient(1, &zeros, &update->in[2], update->in[1]->dim[0]);
}

/* Is there a later update of the same leaf? That one was computed from the value of this one, so
 * only the last is written. */
static bool is_replaced(node *update)
{
    return update->n_in == 2 && pith_pending(update->in[1]) != update;
}

node *pith_step_ok_(const char *at, node *norm)
{
    node *ok = pith_is_finite_(at, norm), **updates;
    if (norm && !pith_failed(norm->graph, norm) && norm->ndim)
        return pith_refuse(norm->graph, "%s: pith_step_ok: the norm, made at %s, is no scalar", at,
                           norm->at);
    const int n = norm && !pith_graph_error(ok->graph) ? pith_updates(norm->graph, &updates) : 0;
    for (int k = 0; k < n; k++)
        if (pith_is_floating(updates[k]->dtype) && !is_replaced(updates[k]))
            ok = pith_mul(ok, all_finite(written_part(updates[k])));
    return ok;
}

/* An update as it will be written: computed before anything is written, so that it may come from
 * leaves that other updates write. */
typedef struct {
    node *value, *ids; /* ids of rows only; value NULL: nothing to write */
} ready;

static ready prepared(const node *update, node *ok)
{
    node *value = update->in[0];
    if (update->n_in == 2)
        return (ready){ .value = ok ? pith_where(ok, value, update->in[1]) : pith_copy(value) };
    return (ready){ .value = pith_copy(value), .ids = pith_copy(update->in[2]) };
}

static node *write_update(node *leaf, ready new, node *ok)
{
    return new.ids ? pith_write_rows(leaf, new.ids, new.value, ok) : pith_assign(leaf, new.value);
}

node *pith_commit_(const char *at, pith_graph *g, node *ok)
{
    node **updates, **writes, *group;
    if (!g) return pith_refuse(NULL, "%s: pith_commit: the graph is NULL", at);
    const int n = pith_updates(g, &updates);
    int count = 0;
    if (pith_failed(g, ok)) return pith_failed(g, ok);
    if (ok && ok->ndim)
        return pith_refuse(g, "%s: pith_commit: ok, made at %s, is no scalar", at, ok->at);
    if (!pith_close_updates(g, at)) return pith_failed(g, NULL);
    if (!n) return NULL;
    ready *all = calloc((size_t)n, sizeof *all);
    if (!all || !(writes = malloc(sizeof *writes * (size_t)n)))
        return free(all), pith_refuse(g, "%s: pith_commit: no memory", at);
    pith_enter(g, "pith_commit", at);
    if (ok) ok = pith_copy(ok); /* it may be a state that is written here */
    for (int k = 0; k < n; k++)
        if (!is_replaced(updates[k])) all[k] = prepared(updates[k], ok);
    for (int k = 0; k < n; k++)
        if (all[k].value) writes[count++] = write_update(updates[k]->in[1], all[k], ok);
    group = pith_leave(g, pith_group(count, writes));
    free(all);
    free(writes);
    return group;
}
