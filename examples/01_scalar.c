/* 01_scalar.c: an expression is a graph, and so is its derivative.
 *
 * What one learns here: pith does not compute while you write. Each call below appends a node and
 * returns it; nothing has a value yet. A derivative is no special mode either: pith_grad walks the
 * nodes backwards and appends more of the same kind. So the derivative can be printed as a
 * formula, differentiated once more, and planned and run with everything else. Only a plan has
 * numbers.
 *
 *     build/01_scalar */
#include <math.h>
#include <pith.h>

/* What the graph means, for central differences: an independent witness. */
static double by_hand(double x) { return x * x * sin(3 * x); }

int main(void)
{
    /* A store holds weights. This program has none, but every graph lives beside a store. */
    pith_store *store = pith_store_new();
    pith_graph *g = pith_graph_new(store, 0);

    /* No dims: a scalar. "x" is fed later. */
    pith_node *x = pith_input(g, "x", PITH_F32);
    pith_node *f = pith_mul(pith_square(x), pith_sin(pith_mul_scalar(x, 3)));
    const int before = pith_graph_size(g);

    /* "The gradient of f to the 1 node x, into df." Then the same of df: the walk does not care
     * who made a node. */
    pith_node *df, *ddf;
    pith_grad(f, 1, &x, &df);
    const int after = pith_graph_size(g);
    pith_grad(df, 1, &x, &ddf);

    printf("f(x)   = ");
    pith_print(stdout, f, 9);
    printf("f'(x)  = ");
    pith_print(stdout, df, 9);
    printf("f''(x) = ");
    pith_print(stdout, ddf, 12);
    printf("\n%d nodes for f, %d more for f', %d more for f''\n\n", before, after - before,
           pith_graph_size(g) - after);

    /* Read f' from the inside: each op on the way from x to f contributed one factor, and where
     * two ways lead from x to f their contributions are added. That is the chain rule, and all
     * there is to it. The 1 in front is where the walk begins, the derivative of f to itself.
     * Nobody simplifies the formula; the planner computes once what stands there twice. */
    pith_plan *plan = pith_plan_new(g, 3, (pith_node *[]){ f, df, ddf }, NULL);

    printf("%6s %10s %10s %10s   %s\n", "x", "f", "f'", "f''", "f' by central differences");
    for (int k = -4; k <= 4; k++) {
        const pith_real at = (pith_real)(k * 0.25);
        pith_feed(plan, x, &at); /* not copied: `at` must live until the run is over */
        pith_run(plan);
        const double h = 1e-4, above = by_hand((double)at + h), below = by_hand((double)at - h);
        printf("%6.2f %10.5f %10.5f %10.5f   %10.5f\n", (double)at, pith_scalar(plan, f),
               pith_scalar(plan, df), pith_scalar(plan, ddf), (above - below) / (2 * h));
    }

    /* All of it is pointwise, so the planner makes one pass of it: values that are used at once
     * never see memory. sin(3x) occurs in all three and is computed once. */
    const pith_plan_stats s = pith_plan_statistics(plan);
    printf("\nplanned: %d nodes needed, %d merged with equal ones; steps to run: %d\n", s.nodes,
           s.merged, s.steps);

    FILE *drawing = fopen("build/01_scalar.dot", "w");
    if (drawing) {
        pith_print_dot(drawing, g, df);
        fclose(drawing);
        printf("drawn: dot -Tsvg build/01_scalar.dot -o f.svg (blue: made by the gradient)\n");
    }

    /* Nodes belong to the graph and are freed with it; plans and stores are ours. */
    pith_plan_free(plan);
    pith_graph_free(g);
    pith_store_free(store);
    return 0;
}
