/* gradients.c: the gradients of a loss by what it trains: whole, or, for tables declared to be read
 * row by row (pith_gather_rows), by the rows that were drawn. */
#include <stdlib.h>
#include "optim.h"

typedef pith_node node;

/* What is asked of the gradient walk: a param itself, or each of its declared reads. */
typedef struct {
    node **wrt, **gradient;
    int n;
} wanted;

static int reads_of(const node *loss, const node *param, node **reads)
{
    node **all;
    const int n = pith_row_reads(loss->graph, &all);
    int count = 0;
    for (int k = 0; k < n; k++)
        if (all[k]->in[0] == param) {
            if (reads) reads[count] = all[k];
            count++;
        }
    return count;
}

/* The gradients of a table's reads as one gradient by rows. */
static node *join(const char *at, const node *table, int n, node *const *reads,
                  node *const *gradients)
{
    node **ids = malloc(sizeof *ids * (size_t)n), *joined;
    for (int k = 0; ids && k < n; k++) ids[k] = reads[k]->in[1];
    if (ids) joined = pith_row_gradient_(at, n, gradients, ids, table->dim[0]);
    else joined = pith_refuse(table->graph, "%s: no memory for a gradient", at);
    free(ids);
    return joined;
}

/* Fills wrt: params as they are, tables by their reads. */
static void collect(const char *at, node *loss, int n, node *const *params, wanted *w)
{
    for (int k = 0; k < n; k++) {
        const int reads = params[k] ? reads_of(loss, params[k], w->wrt + w->n) : 0;
        if (!reads) w->wrt[w->n++] = params[k];
        else if (pith_is_read_whole(loss, params[k]))
            pith_refuse(loss->graph,
                        "%s: %s is trained by the rows that are drawn from it at %s, but it is "
                        "also read whole: use pith_gather there, or read no more than rows",
                        at, params[k]->name, w->wrt[w->n]->at);
        w->n += reads;
    }
}

static bool differentiate(const char *at, node *loss, int n, node *const *params, wanted *w,
                          node **out)
{
    collect(at, loss, n, params, w);
    if (!pith_grad_(at, loss, w->n, w->wrt, w->gradient)) return false;
    for (int k = 0, next = 0; k < n; k++) {
        const int reads = reads_of(loss, params[k], NULL);
        out[k] = reads ? join(at, params[k], reads, w->wrt + next, w->gradient + next)
                       : w->gradient[next];
        next += reads ? reads : 1;
    }
    return !pith_graph_error(loss->graph);
}

bool pith_gradients_(const char *at, node *loss, int n, node *const *params, node **out)
{
    node *failed = loss ? pith_failed(loss->graph, loss)
                        : pith_refuse(NULL, "%s: pith_gradients: the loss is NULL", at);
    if (!failed) {
        size_t most = 1;
        for (int k = 0; k < n; k++) most += 1 + (size_t)reads_of(loss, params[k], NULL);
        wanted w = { calloc(most, sizeof(node *)), calloc(most, sizeof(node *)), 0 };
        if (!w.wrt || !w.gradient)
            failed = pith_refuse(loss->graph, "%s: no memory for a gradient", at);
        else if (!differentiate(at, loss, n, params, &w, out))
            failed = pith_failed(loss->graph, NULL);
        free(w.wrt);
        free(w.gradient);
    }
    for (int k = 0; failed && k < n; k++) out[k] = failed;
    return !failed;
}
