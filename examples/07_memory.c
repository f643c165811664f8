/* 07_memory.c: what a training step keeps in memory, and how to keep less.
 *
 * What one learns here: the planner lays every temporary into one arena by its lifetime, and what
 * fills it is not the weights but the activations that wait for the backward pass. pith_recompute
 * marks a region whose inside is computed again instead of kept. The price is time; the values are
 * the same to the last bit, and so are they when the planner does nothing at all (the option
 * `unplanned`).
 *
 *     build/07_memory */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <pith.h>

enum { B = 256, WIDTH = 64, LAYERS = 24, MOST = 2 * LAYERS };

/* x + w2 gelu(w1 x): a residual block. Its inside is four times as wide, and is what must be kept
 * for the backward pass. */
static pith_node *block(pith_node *x, int layer)
{
    pith_graph *g = x->graph;
    pith_scope(g, "block%d", layer);
    pith_node *w1 = pith_param(g, "w1", PITH_NORMAL, 0.1, 4 * WIDTH, WIDTH);
    pith_node *w2 = pith_param(g, "w2", PITH_NORMAL, 0.02, WIDTH, 4 * WIDTH);
    pith_unscope(g);
    return pith_add(x, pith_matmul_nt(pith_gelu(pith_matmul_nt(x, w1)), w2));
}

typedef struct {
    int first, count;
} range;

/* What pith_recompute is given: a function of one node and a context. */
static pith_node *blocks(pith_node *x, void *context)
{
    const range *r = context;
    for (int k = 0; k < r->count; k++) x = block(x, r->first + k);
    return x;
}

/* Recomputes regions of `each` blocks, so that only the input of each region is kept; 0:
 * recomputes nothing. */
static pith_node *network(pith_node *x, int each)
{
    range r = { 0, each ? each : LAYERS };
    for (; r.first < LAYERS; r.first += r.count)
        x = each ? pith_recompute(blocks, x, &r) : blocks(x, &r);
    return x;
}

/* Computes the gradients of all weights. With `plain` they are stored in `bits`, else they are
 * compared with those. */
static void measure(pith_store *store, int each, bool plain, const pith_real *data, pith_real *bits)
{
    static double unplanned;
    static pith_real now[4 * WIDTH * WIDTH];
    pith_graph *g = pith_graph_new(store, 3);
    pith_node *x = pith_input(g, "x", PITH_F32, B, WIDTH);
    pith_node *loss = pith_mean(pith_square(network(x, each)), PITH_ALL), **params, *out[MOST];
    const int n = pith_params(g, &params);
    pith_grad(loss, n, params, out);

    const pith_plan_options options = { .unplanned = plain };
    pith_plan *plan = pith_plan_new(g, n, out, &options);
    pith_feed(plan, x, data);
    pith_run(plan);

    const pith_plan_stats s = pith_plan_statistics(plan);
    if (plain) unplanned = (double)s.arena;
    const size_t size = pith_size(out[0]) * sizeof *bits;
    bool equal = true;
    for (int k = 0; k < n; k++) {
        pith_real *before = bits + (size_t)k * pith_size(out[0]);
        pith_value(plan, out[k], plain ? before : now);
        equal = equal && (plain || memcmp(before, now, size) == 0);
    }
    char name[40] = "everything kept";
    if (plain) strcpy(name, "nothing planned");
    else if (each) snprintf(name, sizeof name, "regions of %d block%s", each, each > 1 ? "s" : "");
    printf("%-22s %9.2f MB %6.1f %% %9.2f MB %9.2f  %s\n", name, (double)s.arena / 1e6,
           100 * (double)s.arena / unplanned, (double)s.bound / 1e6, s.gemm_flops / 1e9,
           plain   ? "-"
           : equal ? "equal"
                   : "DIFFERENT");
    pith_plan_free(plan);
    pith_graph_free(g);
}

int main(void)
{
    static pith_real data[B * WIDTH];
    for (int k = 0; k < B * WIDTH; k++) data[k] = (pith_real)sin(0.37 * k);
    pith_real *bits = malloc(sizeof *bits * MOST * 4 * WIDTH * WIDTH);
    pith_store *store = pith_store_new(); /* the same weights for all of them */

    printf("%d blocks on (%d, %d): the gradients of %d weights\n\n", LAYERS, B, WIDTH, MOST);
    printf("%-22s %12s %8s %12s %9s  %s\n", "", "arena", "", "lower bound", "GFLOP", "bits");
    measure(store, 0, true, data, bits);
    static const int each[] = { 0, 1, 2, 4, 6, 12, 24 };
    for (size_t k = 0; k < sizeof each / sizeof *each; k++)
        measure(store, each[k], false, data, bits);
    printf("\nThe lower bound is the largest sum of what is alive at one time: no layout needs\n"
           "less. Kept are the entrance of every region and the inside of the one at hand. Here\n"
           "the inside is eight times as wide, so short regions are best; what is left then is\n"
           "mostly the gradients themselves. One region of everything saves nothing: all is\n"
           "computed twice, and then kept.\n");
    free(bits);
    pith_store_free(store);
    return 0;
}
