/* random_graphs.h: training graphs drawn at random, for the tests of the planner: a batch goes
 * through layers of random kinds and widths, with shortcuts, to a loss, its gradient and AdamW. */
#ifndef PITH_RANDOM_GRAPHS_H
#define PITH_RANDOM_GRAPHS_H
#include "tests.h"
#include "train/optim.h"

typedef struct {
    pith_graph *g;
    uint64_t seed;
    int count; /* numbers drawn */
    node *old[8];
} random_graph;

static inline int draw_below(random_graph *r, int n)
{
    return (int)(pith_uniform_at(r->seed, 0, (uint64_t)r->count++) * n);
}

/* (rows, columns), or (columns) if rows is 0; all zeros: nothing here is run. */
static inline node *random_param(random_graph *r, int rows, int columns)
{
    char name[16];
    snprintf(name, sizeof name, "p%d", r->count++);
    return rows ? pith_param(r->g, name, PITH_CONSTANT, 0, rows, columns)
                : pith_param(r->g, name, PITH_CONSTANT, 0, columns);
}

static inline node *random_linear(random_graph *r, node *x, int width)
{
    node *w = random_param(r, width, x->dim[1]);
    return pith_linear(x, w, draw_below(r, 2) ? random_param(r, 0, width) : NULL);
}

static inline node *random_region(node *x, void *context)
{
    random_graph *r = context;
    const int width = x->dim[1];
    return random_linear(r, pith_gelu(random_linear(r, x, 8 + draw_below(r, 248))), width);
}

/* x (rows, width) -> (rows, any width) */
static inline node *random_layer(random_graph *r, node *x)
{
    node *other = r->old[draw_below(r, 8)];
    const int width = x->dim[1];
    switch (draw_below(r, 12)) {
    case 0: return random_linear(r, x, 8 + draw_below(r, 120));
    case 1: return pith_gelu(x);
    case 2: return pith_softmax(x);
    case 3: return pith_dropout(x, 0.1);
    case 4: return pith_layer_norm(x, random_param(r, 0, width), random_param(r, 0, width));
    case 5: return pith_recompute(random_region, x, r);
    case 6: return pith_normalize(x);
    case 7: return pith_matmul(pith_matmul_nt(x, random_linear(r, other, width)), x);
    case 8: return width < 128 ? pith_concat(2, ((node *[]){ x, other }), 1) : pith_tanh(x);
    case 9: return width > 16 ? pith_slice(x, 1, draw_below(r, 8), width - draw_below(r, 8)) : x;
    case 10: return pith_mul(pith_sub(x, random_linear(r, other, width)), pith_sigmoid(x));
    default: return pith_add(x, random_region(x, r));
    }
}

/* out[0]: the loss, out[1]: the update. Lives in a store of its own, which the caller frees. */
static inline pith_graph *random_training_graph(uint64_t seed, int layers, node *out[2])
{
    random_graph r = { .g = pith_graph_new(pith_store_new(), seed), .seed = seed };
    pith_set_training(r.g, true);
    node *x = pith_input(r.g, "x", PITH_F32, 8 + draw_below(&r, 56), 8 + draw_below(&r, 120));
    for (int k = 0; k < 8; k++) r.old[k] = x;
    for (int k = 0; k < layers; k++) {
        pith_scope(r.g, "%d", k);
        x = random_layer(&r, x);
        if (x->dim[1] > 200) x = random_linear(&r, x, 64);
        r.old[draw_below(&r, 8)] = x;
        pith_unscope(r.g);
    }
    out[0] = pith_mean(pith_square(random_linear(&r, x, 10)), PITH_ALL);
    node **params;
    const int n = pith_params(r.g, &params);
    node **gradients = malloc(sizeof *gradients * (size_t)n), *norm;
    assert_true(pith_grad(out[0], n, params, gradients));
    pith_clip_norm(n, gradients, 1, &norm);
    out[1] = pith_adamw(n, params, gradients, pith_const(r.g, 1e-3),
                        (pith_adamw_options){ 0.9, 0.98, 1e-6, 0.2 }, pith_is_finite(norm));
    free(gradients);
    return r.g;
}
#endif
