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

node *pith_step_ok_(const char *at, node *norm)
{
    node *ok = pith_is_finite_(at, norm), **updates;
    const int n = norm && !pith_graph_error(ok->graph) ? pith_updates(norm->graph, &updates) : 0;
    for (int k = 0; k < n; k++)
        if (updates[k]->dtype == PITH_F32) ok = pith_mul(ok, all_finite(updates[k]));
    return ok;
}

/* Is update k replaced by a later one of the same leaf? That one was computed from the value of
 * this one, so only the last is written. */
static bool replaced(int n, node *const *updates, int k)
{
    for (int later = k + 1; later < n && updates[k]->n_in == 2; later++)
        if (updates[later]->in[1] == updates[k]->in[1]) return true;
    return false;
}

/* The node that writes update k. Several row updates of one leaf form a chain, each writing to what
 * the one before returned. */
static node *write_update(node *const *updates, node **writes, int k, node *ok)
{
    node *value = updates[k], *leaf = value->in[1];
    if (value->n_in == 2) return pith_assign(leaf, ok ? pith_where(ok, value, leaf) : value);
    node *table = leaf;
    for (int before = 0; before < k; before++)
        if (updates[before]->in[1] == leaf && writes[before]) table = writes[before];
    return pith_write_rows(table, value->in[2], value, ok);
}

node *pith_commit_(const char *at, pith_graph *g, node *ok)
{
    node **updates, **writes, *all;
    if (!g) return pith_refuse(NULL, "%s: pith_commit: the graph is NULL", at);
    const int n = pith_updates(g, &updates);
    int count = 0;
    if (pith_failed(g, ok)) return pith_failed(g, ok);
    if (!n) return NULL;
    if (!(writes = calloc((size_t)n, sizeof *writes)))
        return pith_refuse(g, "%s: pith_commit: no memory", at);
    pith_enter(g, "pith_commit", at);
    for (int k = 0; k < n; k++)
        if (!replaced(n, updates, k)) writes[k] = write_update(updates, writes, k, ok);
    for (int k = 0; k < n; k++)
        if (writes[k]) writes[count++] = writes[k];
    all = pith_leave(g, pith_group(count, writes));
    free(writes);
    return all;
}
