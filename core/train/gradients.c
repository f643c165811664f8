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

static int reads_of(const node *param, node **reads)
{
    node **all;
    const int n = pith_row_reads(param->graph, &all);
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
    node **ids = malloc(sizeof *ids * (size_t)n), *joined = NULL;
    for (int k = 0; ids && k < n; k++) ids[k] = reads[k]->in[1];
    if (ids) joined = pith_row_gradient_(at, n, gradients, ids, table->dim[0]);
    else pith_raise("%s: no memory for a gradient", at);
    free(ids);
    return joined;
}

/* Fills w->wrt: tables by their reads, other params as they are. */
static bool collect(node *loss, int n, node *const *params, wanted *w)
{
    const node *whole;
    for (int k = 0; k < n; k++) {
        const int reads = params[k] ? reads_of(params[k], w->wrt + w->n) : 0;
        if (!reads) w->wrt[w->n++] = params[k];
        else if ((whole = pith_whole_read(loss, params[k])))
            return pith_raise(
                "%s: the whole of %s is read here, but at %s it is declared to be trained by rows "
                "alone: use pith_gather there, or read no more than rows here",
                whole->at, params[k]->name, w->wrt[w->n]->at);
        w->n += reads;
    }
    return true;
}

bool pith_gradients_(const char *at, node *loss, int n, node *const *params, node **out)
{
    int most = n;
    if (loss) {
        node **reads;
        most += pith_row_reads(loss->graph, &reads);
    }
    wanted w = { calloc((size_t)most + 1, sizeof(node *)), calloc((size_t)most + 1, sizeof(node *)),
                 0 };
    bool good = (w.wrt && w.gradient) || pith_raise("%s: no memory for a gradient", at);
    good = good && (!loss || pith_graph_error(loss->graph) || collect(loss, n, params, &w));
    good = good && pith_grad_(at, loss, w.n, w.wrt, w.gradient);
    for (int k = 0, next = 0; good && k < n; k++) {
        const int reads = reads_of(params[k], NULL);
        out[k] = reads ? join(at, params[k], reads, w.wrt + next, w.gradient + next)
                       : w.gradient[next];
        good = out[k] != NULL && !pith_graph_error(loss->graph);
        next += reads ? reads : 1;
    }
    free(w.wrt);
    free(w.gradient);
    return good;
}
