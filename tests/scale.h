/* scale.h: graphs that can be made as large as one likes, one family for each way in which
 * building, differentiating or planning could grow faster than the graph. test_scale.c holds their
 * growth, bench.c prints their times. */
#ifndef PITH_SCALE_H
#define PITH_SCALE_H
#include <malloc.h>
#include <stdlib.h>
#include <time.h>
#include "train/optim.h"

typedef struct {
    const char *what; /* a unit of the size */
    int size;         /* so large that neither it nor its double fits the caches */
    pith_node *(*loss)(pith_graph *g, int size);
    bool trained; /* an AdamW step of all params; else the gradient by the input "x" alone */
} scale_family;

static pith_node *scale_x; /* the input that the loss at hand was made of */

static inline pith_node *scale_input(pith_graph *g, int rows, int columns)
{
    return scale_x = pith_input(g, "x", PITH_F32, rows, columns);
}

static inline pith_node *scale_sines(pith_graph *g, int size)
{
    pith_node *y = scale_input(g, 1, 8);
    for (int k = 0; k < size; k++) y = pith_sin(y);
    return pith_sum(y, PITH_ALL);
}

static inline pith_node *scale_layers(pith_graph *g, int size)
{
    pith_node *y = scale_input(g, 2, 8);
    for (int k = 0; k < size; k++) {
        pith_scope(g, "layer%d", k);
        y = pith_gelu(pith_linear(y, pith_param(g, "w", PITH_NORMAL, 0.1, 8, 8),
                                  pith_param(g, "b", PITH_CONSTANT, 0, 8)));
        pith_unscope(g);
    }
    return pith_sum(y, PITH_ALL);
}

static inline pith_node *scale_params(pith_graph *g, int size)
{
    pith_node *y = scale_input(g, 1, 8);
    for (int k = 0; k < size; k++) {
        pith_scope(g, "%d", k);
        y = pith_mul(y, pith_param(g, "w", PITH_NORMAL, 1, 1, 8));
        pith_unscope(g);
    }
    return pith_sum(y, PITH_ALL);
}

static inline pith_node *scale_scopes(pith_graph *g, int size)
{
    pith_node *y = scale_input(g, 1, 8);
    for (int k = 0; k < size; k++) {
        pith_scope(g, "%d", k);
        y = pith_dropout(y, 0.1);
        pith_unscope(g);
    }
    return pith_sum(y, PITH_ALL);
}

static inline pith_node *scale_slices(pith_graph *g, int size)
{
    pith_node *x = pith_square(scale_input(g, 2, size)), *y = NULL;
    for (int k = 0; k < size; k++) {
        pith_node *piece = pith_sin(pith_slice(x, 1, k, k + 1));
        y = y ? pith_add(y, piece) : piece;
    }
    return pith_sum(y, PITH_ALL);
}

static inline pith_node *scale_region(pith_node *x, void *context)
{
    (void)context;
    for (int k = 0; k < 8; k++) x = pith_softmax(pith_sin(x));
    return x;
}

static inline pith_node *scale_regions(pith_graph *g, int size)
{
    pith_node *y = scale_input(g, 1, 8);
    for (int k = 0; k < size; k++) y = pith_recompute(scale_region, y, NULL);
    return pith_sum(y, PITH_ALL);
}

/* No write joins a chain, for a softmax makes its value. */
static inline pith_node *scale_writes(pith_graph *g, int size)
{
    pith_node *y = scale_input(g, 1, 8);
    for (int k = 0; k < size; k++) {
        pith_scope(g, "%d", k);
        pith_node *count = pith_state(g, "count", PITH_F32, 0, 1, 8);
        y = pith_mul(y, pith_assign(count, pith_softmax(count)));
        pith_unscope(g);
    }
    return pith_sum(y, PITH_ALL);
}

/* Of each kind of update one: of a state of its own, of one state's value so far, and of rows. */
static inline pith_node *scale_updates(pith_graph *g, int size)
{
    pith_node *y = scale_input(g, 1, 8), *ids = pith_input(g, "ids", PITH_I32, 1);
    pith_node *mean = pith_state(g, "mean", PITH_F32, PITH_CONSTANT, 0, 1, 8),
              *bank = pith_state(g, "bank", PITH_F32, PITH_CONSTANT, 0, 9, 8);
    for (int k = 0; k < size; k++) {
        pith_scope(g, "%d", k);
        y = pith_sin(y);
        pith_update(pith_state(g, "own", PITH_F32, PITH_CONSTANT, 0, 1, 8), y);
        pith_update(mean, pith_add(pith_pending(mean), y));
        pith_update_rows(bank, ids, y);
        pith_unscope(g);
    }
    return pith_sum(y, PITH_ALL);
}

static const scale_family scale_families[] = {
    { "sines", 120000, scale_sines, false },  { "layers", 8000, scale_layers, true },
    { "params", 10000, scale_params, true },  { "scopes with dropout", 80000, scale_scopes, false },
    { "slices", 60000, scale_slices, false }, { "recomputed regions", 4000, scale_regions, false },
    { "writes", 32000, scale_writes, false }, { "updates", 32000, scale_updates, false },
};
enum { SCALE_FAMILIES = sizeof scale_families / sizeof *scale_families };

/* Seconds of this thread's own work to build, differentiate and plan a graph, or a negative number
 * after an error. Leaves the number of nodes in *nodes, and the plan's figures in *stats unless
 * that is NULL. */
static inline double scale_time(const scale_family *f, int size, int *nodes, pith_plan_stats *stats)
{
    struct timespec from, to;
    pith_store *store = pith_store_new();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    pith_graph *g = pith_graph_new(store, 1);
    pith_set_training(g, true);
    pith_node *out[3] = { f->loss(g, size) }, **wrt = &scale_x;
    const int n = f->trained ? pith_params(g, &wrt) : 1;
    pith_node **gradients = malloc(sizeof *gradients * (size_t)n);
    pith_grad(out[0], n, wrt, gradients);
    out[1] = !f->trained ? gradients[0]
                         : pith_adamw(n, wrt, gradients, pith_const(g, 1e-3),
                                      (pith_adamw_options){ 0.9, 0.98, 1e-6, 0.2 }, NULL);
    out[2] = pith_commit(g, NULL);
    free(gradients);
    pith_plan *p = pith_plan_new(g, out[2] ? 3 : 2, out, NULL);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    const double seconds = (double)(to.tv_sec - from.tv_sec) +
                           1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    const bool good = p != NULL;
    *nodes = pith_graph_size(g);
    if (p && stats) *stats = pith_plan_statistics(p);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(store);
    return good ? seconds : -1;
}

/* By how much the time grows when the size doubles. A machine that does something else makes single
 * times too long, never too short, so both sizes are measured in turn, and each counts with its
 * least time: until the growth is at most `enough`, clearly more, or was measured often. */
static inline double scale_growth(const scale_family *f, double enough, double *seconds)
{
    double least[2] = { 1e9, 1e9 }, growth = 1e9;
    *seconds = 0;
    int nodes;
    for (int round = 0; round < 60 && growth > enough; round++) {
        if (round >= 8 && growth > enough + 0.7) break;
        for (int k = 1; k >= 0; k--) { /* the larger meets memory that is new to the process */
            const double t = scale_time(f, f->size << k, &nodes, NULL);
            if (t < 0) return 1e9;
            if (t < least[k]) least[k] = t;
        }
        growth = least[1] / least[0];
    }
    *seconds = least[1];
    return growth;
}

/* Memory that was freed stays with the process, so that the system's work for fresh pages, which
 * differs from size to size, is not part of the times. */
static inline void scale_keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 1 << 28);
}
#endif
