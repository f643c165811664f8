/* 09_masks.c: pruning by masks: a network learns which of its units it can do without.
 *
 * What one learns here: each hidden unit is multiplied by a z in [0, 1], drawn anew in every step
 * from a distribution with two lumps, at 0, where the unit is left out, and at 1; a trained logit
 * moves mass between them (hard concrete masks, Louizos et al., ICLR 2018). The share of units that
 * is expected to stay is smooth, so it can be constrained: a Lagrange multiplier, trained by
 * ascent, presses harder as long as too many stay. In the end what is 0 is cut out for real.
 *
 *     build/09_masks */
#include <math.h>
#include <string.h>
#include <train/optim.h>

enum { WIDTH = 64, WANTED = 12, STEPS = 1600, SHOWN = 160 };

/* z of each unit. Outside training there is no noise, and z is 0 where the logit is below -1.6. */
static pith_node *masks(pith_node *logits)
{
    pith_node *one = pith_const(logits->graph, 1);
    if (pith_is_training(logits->graph)) {
        pith_node *u = pith_uniform(logits->graph, WIDTH);
        logits = pith_add(logits, pith_log(pith_div(u, pith_sub(one, u))));
    }
    pith_node *y = pith_sigmoid(pith_mul_scalar(logits, 1.5));
    y = pith_add_scalar(pith_mul_scalar(y, 1.2), -0.1); /* wider than [0, 1]: hence the lumps */
    return pith_minimum(pith_relu(y), one);
}

typedef struct {
    pith_node *y, *loss, *accuracy, *z, *kept; /* with masks: z, and the mean chance that z > 0 */
} model;

/* Which points x (B, 2) lie above a wave? */
static model model_new(pith_graph *g, pith_node *x, int width, bool masked)
{
    model m = { 0 };
    pith_node *wave = pith_mul_scalar(pith_sin(pith_mul_scalar(pith_slice(x, 1, 0, 1), 3)), 0.6);
    pith_node *side = pith_sign(pith_sub(pith_slice(x, 1, 1, 2), wave)); /* 1: above, -1: below */
    /* a row a unit: how it weighs both coordinates, its bias, and how the output weighs it */
    pith_node *units = pith_param(g, "units", PITH_NORMAL, 1, width, 4);
    pith_node *bias = pith_reshape(pith_slice(units, 1, 2, 3), width);
    pith_node *h = pith_gelu(pith_linear(x, pith_slice(units, 1, 0, 2), bias));
    if (masked) {
        pith_node *logits = pith_param(g, "logits", PITH_CONSTANT, 3, width);
        pith_own_lr(pith_clamp_param(logits, -5, 5), pith_const(g, 0.04)); /* never out of reach */
        h = pith_mul(h, m.z = masks(logits));
        m.kept = pith_mean(pith_sigmoid(pith_add_scalar(logits, log(11) / 1.5)), PITH_ALL);
    }
    m.y = pith_matmul(h, pith_slice(units, 1, 3, 4)); /* (B, 1) */
    pith_node *margin = pith_mul(side, m.y);
    m.loss = pith_mean(pith_softplus(pith_neg(margin)), PITH_ALL);
    m.accuracy = pith_mul_scalar(pith_mean(pith_less(pith_const(g, 0), margin), PITH_ALL), 100);
    return m;
}

static void train(pith_store *s)
{
    pith_graph *g = pith_graph_new(s, 1);
    pith_set_training(g, true);
    const model m = model_new(g, pith_normal(g, 128, 2), WIDTH, true); /* always new points */
    /* The wanted share falls from 1. By its square excess is damped; the multiplier lags. */
    pith_node *progress = pith_mul_scalar(pith_cast(pith_step(g), PITH_F32), 1.5 / STEPS);
    pith_node *least = pith_const(g, (double)WANTED / WIDTH), *one = pith_const(g, 1);
    pith_node *excess = pith_sub(m.kept, pith_maximum(pith_sub(one, progress), least));
    pith_node *multiplier = pith_clamp_param(pith_param(g, "multiplier", PITH_CONSTANT, 0), 0, 100);
    pith_own_lr(pith_lr_scale(multiplier, -1), pith_const(g, 0.04)); /* below 0: ascent */
    pith_node *price = pith_add(multiplier, pith_mul_scalar(excess, 30));
    pith_node *loss = pith_add(m.loss, pith_mul(price, excess)), **params, *gradients[3];
    const int n = pith_params(g, &params);
    pith_grad(loss, n, params, gradients);
    const pith_adamw_options o = { .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8 };
    pith_node *step = pith_adamw(n, params, gradients, pith_const(g, 0.02), o, NULL);
    pith_plan *p = pith_plan_new(g, 3, (pith_node *[]){ step, m.kept, m.accuracy }, NULL);
    for (int k = 0; k <= STEPS; k++) {
        pith_feed(p, pith_step(g), &k);
        pith_run(p);
        if (k % SHOWN) continue;
        printf("%4d: %4.1f units ", k, WIDTH * pith_scalar(p, m.kept));
        for (int i = 0; i < WIDTH; i++) putchar(i < WIDTH * pith_scalar(p, m.kept) ? '#' : '.');
        printf(" %5.1f %% right (chance: 50)\n", pith_scalar(p, m.accuracy));
    }
    pith_plan_free(p);
    pith_graph_free(g);
}

int main(void)
{
    pith_real z[WIDTH], rows[WIDTH][4];
    pith_store *s = pith_store_new(), *to = pith_store_new();
    train(s);
    pith_graph *g = pith_graph_new(s, 2);
    pith_node *x = pith_normal(g, 4096, 2);
    const model masked = model_new(g, x, WIDTH, true);
    pith_plan *p = pith_plan_new(g, 1, &masked.z, NULL);
    pith_run(p);
    pith_value(p, masked.z, z);
    pith_plan_free(p);
    int n = 0; /* rows whose z is above 0 stay; z goes into how the output weighs them */
    pith_tensor_read(pith_store_find(s, "units"), rows);
    for (int k = 0; k < WIDTH; k++) {
        rows[k][3] *= z[k];
        if (z[k] > 0) memmove(rows[n++], rows[k], sizeof *rows);
    }
    pith_tensor_write(pith_store_add(to, "units", PITH_WEIGHT, PITH_F32, 2, (int[]){ n, 4 }), rows);
    pith_use_store(g, to, "", false);
    const model cut = model_new(g, x, n, false);
    pith_leave_store(g);
    pith_node *apart = pith_max(pith_abs(pith_sub(cut.y, masked.y)), PITH_ALL);
    pith_node *out[] = { masked.accuracy, cut.accuracy, apart };
    p = pith_plan_new(g, 3, out, NULL);
    pith_run(p);
    printf("\nmasked: %.2f %%; %d units cut out: %.2f %%; no output differs by more than %.0e\n",
           pith_scalar(p, out[0]), n, pith_scalar(p, out[1]), pith_scalar(p, out[2]));
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(to);
    pith_store_free(s);
    return 0;
}
