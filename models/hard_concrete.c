/* hard_concrete.c: masks that are trained (Louizos et al., ICLR 2018, with the constants of CoFi
 * and TinyCLIP). A number z in [0, 1], which is exactly 0 or 1 with a chance of its own, multiplies
 * what may be left out; of each there is one logit g:
 *
 *     training     y = sigmoid((log u - log(1 - u) + g) / beta), u uniform; z = clip(1.2 y - 0.1)
 *     expected     q = P(z > 0) = sigmoid(g + beta log 11)
 *     evaluation   the round(n - sum q) smallest of a group of n are 0; of the others z =
 *                  sigmoid(0.8 g / beta) stays */
#include <math.h>
#include <stdlib.h>
#include "parts.h"

static const double beta = 2.0 / 3, least = 1e-6;

static pith_node *clip(pith_node *x, double low, double high)
{
    return pith_maximum(pith_minimum(x, pith_const(x->graph, high)), pith_const(x->graph, low));
}

pith_node *clip_mask_sample(pith_node *logits)
{
    pith_node *u = pith_uniform(logits->graph, logits->dim[0]);
    u = pith_add_scalar(pith_mul_scalar(u, 1 - 2 * least), least);
    pith_node *noise = pith_sub(pith_log(u), pith_log(pith_sub(pith_const(u->graph, 1), u)));
    pith_node *y = pith_sigmoid(pith_mul_scalar(pith_add(noise, logits), 1 / beta));
    return clip(pith_add_scalar(pith_mul_scalar(y, 1.2), -0.1), 0, 1);
}

pith_node *clip_mask_expected(pith_node *logits)
{
    return clip(pith_sigmoid(pith_add_scalar(logits, beta * log(11))), least, 1 - least);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static _Thread_local const pith_real *ranked; /* by compare */
static int compare(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    return ranked[i] != ranked[k] ? (ranked[i] < ranked[k] ? -1 : 1) : k - i;
}

bool clip_mask_decide(const pith_tensor *logits, int at_least, pith_real *z)
{
    const int n = logits ? (int)pith_tensor_size(logits) : 0;
    double expected = 0;
    int *order = malloc(sizeof *order * (size_t)(n + 1));
    if (!order || !pith_tensor_read(logits, z)) return free(order), false;
    for (int k = 0; k < n; k++) {
        const double g = (double)z[k], q = sigmoid(g + beta * log(11));
        expected += fmin(fmax(q, least), 1 - least);
        z[k] = (pith_real)sigmoid(0.8 * g / beta);
        order[k] = k;
    }
    ranked = z;
    qsort(order, (size_t)n, sizeof *order, compare);
    const int dead = (int)lround(n - expected), most = n - at_least;
    for (int k = 0; k < (dead < most ? dead : most); k++) z[order[k]] = 0;
    free(order);
    return true;
}
