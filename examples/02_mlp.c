/* 02_mlp.c: training is one graph: model, loss, gradient and optimizer step together, planned once
 * and run many times.
 *
 * What one learns here: parameters and scopes, the gradient of many parameters at once, an
 * optimizer that is nodes like everything else, and what the planner makes of it. The task: two
 * spirals in the plane, wound around each other; which one does a point lie on? No straight line
 * tells them apart, so the hidden layers must bend the plane.
 *
 *     build/02_mlp */
#include <math.h>
#include <train/optim.h>

enum { POINTS = 128, WIDTH = 32, STEPS = 600, MOST = 16 };

/* x (B, in) -> (B, out). The scope names the parameters: "first.weight", "first.bias". */
static pith_node *layer(pith_graph *g, const char *name, pith_node *x, int out, int in)
{
    pith_scope(g, "%s", name);
    pith_node *weight = pith_param(g, "weight", PITH_NORMAL, sqrt(2. / in), out, in);
    pith_node *bias = pith_param(g, "bias", PITH_CONSTANT, 0, out);
    pith_unscope(g);
    return pith_linear(x, weight, bias);
}

/* A model is a function that makes nodes: there is no class, no forward and no backward. (B, 2) ->
 * (B, 2) logits. */
static pith_node *model(pith_graph *g, pith_node *x)
{
    x = pith_gelu(layer(g, "first", x, WIDTH, 2));
    x = pith_gelu(layer(g, "second", x, WIDTH, WIDTH));
    return layer(g, "last", x, 2, WIDTH);
}

static void spirals(pith_real *points, int *labels)
{
    for (int k = 0; k < POINTS; k++) {
        const double t = 0.4 + 2.6 * (k / 2) / (POINTS / 2.);
        const double turn = 3.6 * t + (k % 2 ? 3.14159265 : 0);
        points[2 * k] = (pith_real)(t * cos(turn) / 3);
        points[2 * k + 1] = (pith_real)(t * sin(turn) / 3);
        labels[k] = k % 2;
    }
}

static void draw(const pith_real *logits, int side)
{
    for (int y = 0; y < side; y++, putchar('\n'))
        for (int x = 0; x < 2 * side; x++) {
            const pith_real *l = logits + 2 * (y * 2 * side + x);
            putchar(l[0] > l[1] ? '#' : '.');
        }
}

/* Evaluation is another graph over the same store: its params have the same names, so they are the
 * same memory. */
static void show(pith_store *store)
{
    enum { SIDE = 17 };
    static pith_real grid[SIDE * 2 * SIDE * 2], values[SIDE * 2 * SIDE * 2];
    for (int k = 0; k < SIDE * 2 * SIDE; k++) {
        grid[2 * k] = (pith_real)(2. * (k % (2 * SIDE)) / (2 * SIDE - 1) - 1);
        grid[2 * k + 1] = (pith_real)(1 - 2. * (k / (2 * SIDE)) / (SIDE - 1));
    }
    pith_graph *g = pith_graph_new(store, 0);
    pith_node *x = pith_input(g, "x", PITH_F32, SIDE * 2 * SIDE, 2);
    pith_node *logits = model(g, x);
    pith_plan *plan = pith_plan_new(g, 1, &logits, NULL);
    pith_feed(plan, x, grid);
    pith_run(plan);
    pith_value(plan, logits, values); /* copied from the plan's memory to ours */
    draw(values, SIDE);
    pith_plan_free(plan);
    pith_graph_free(g);
}

int main(void)
{
    static pith_real points[2 * POINTS];
    static int labels[POINTS];
    spirals(points, labels);

    pith_store *store = pith_store_new();
    pith_graph *g = pith_graph_new(store, 1); /* seed and names decide the weights */
    pith_node *x = pith_input(g, "x", PITH_F32, POINTS, 2);
    pith_node *y = pith_input(g, "y", PITH_I32, POINTS);
    pith_node *lr = pith_input(g, "lr", PITH_F32);
    pith_node *loss = pith_mean(pith_cross_entropy(model(g, x), y), PITH_ALL);

    /* All gradients in one walk; then AdamW, whose moments are states of the store, written when
     * the plan runs. */
    pith_node **params, *gradients[MOST];
    const int n = pith_params(g, &params);
    pith_grad(loss, n, params, gradients);
    const pith_adamw_options o = {
        .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.01
    };
    pith_node *step = pith_adamw(n, params, gradients, lr, o, NULL);

    /* The plan runs what its outputs need, in the order of creation. So `loss` is that of the
     * weights before the step. */
    pith_plan *plan = pith_plan_new(g, 2, (pith_node *[]){ loss, step }, NULL);
    pith_print_plan(stdout, plan);
    printf("\nA chain: pointwise nodes run as one pass; store: straight into the weights.\n\n");

    for (int k = 0; k < STEPS; k++) {
        const pith_real now = (pith_real)(0.005 * (1 + cos(3.14159265 * k / STEPS)));
        pith_feed(plan, x, points);
        pith_feed(plan, y, labels);
        pith_feed(plan, lr, &now);
        pith_run(plan);
        if (k % 100 == 0 || k == STEPS - 1)
            printf("step %3d: loss %.5f\n", k, pith_scalar(plan, loss));
    }
    printf("\nWhat the model says, everywhere in the square:\n\n");
    show(store);

    pith_plan_free(plan);
    pith_graph_free(g);
    pith_store_free(store);
    return 0;
}
