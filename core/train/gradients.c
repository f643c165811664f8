/* gradients.c: the gradient of a loss by each of its params: by the whole param, or, for a table
 * that is read by pith_gather_rows, by the rows that were drawn. */
#include <stdlib.h>
#include "optim.h"

typedef pith_node node;

/* What the loss is differentiated by: a param, or, for a table, each pith_gather_rows that reads
 * it. */
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

/* Joins the gradients of a table's n reads into one gradient by rows. */
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

/* Fills w->wrt: tables by their reads, other params as they are. */
static void collect(node *loss, int n, node *const *params, wanted *w)
{
    const node *whole;
    for (int k = 0; k < n; k++) {
        const int reads = params[k] ? reads_of(loss, params[k], w->wrt + w->n) : 0;
        if (!reads) w->wrt[w->n++] = params[k];
        else if ((whole = pith_whole_read(loss, params[k])))
            pith_refuse(loss->graph,
                        "%s: the whole of %s is read here, but at %s it is declared to be trained "
                        "by rows alone: use pith_gather there, or read no more than rows here",
                        whole->at, params[k]->name, w->wrt[w->n]->at);
        w->n += reads;
    }
}

static bool differentiate(const char *at, node *loss, int n, node *const *params, wanted *w,
                          node **out)
{
    collect(loss, n, params, w);
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
    if (!failed && (n < 0 || (n && (!params || !out))))
        failed = pith_refuse(loss->graph, "%s: pith_gradients: %d params, and an array %s", at, n,
                             params && out ? "of them" : "that is NULL");
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
    for (int k = 0; out && failed && k < n; k++) out[k] = failed;
    return !failed;
}
