/* optim.c: optimizers are graph: a few pointwise nodes a param, which the planner fuses into one
 * pass over memory, and an assign. Every assigned leaf is guarded alike: where(ok, new, old), never
 * a product, so that NaN cannot leak. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "pith.h"

typedef pith_node node;

/* A state beside a param: "adamw.m/" and the param's name. */
static node *beside(const node *param, const char *prefix)
{
    char name[600];
    snprintf(name, sizeof name, "%s%s", prefix, param->name);
    return pith_state_like(param->graph, name, param);
}

static node *write(node *leaf, node *value, node *ok)
{
    return pith_assign(leaf, ok ? pith_where(ok, value, leaf) : value);
}

static node *write_param(node *param, node *value, node *ok)
{
    const pith_training training = pith_training_of(param);
    if (isfinite(training.low)) value = pith_maximum(value, pith_const(param->graph, training.low));
    if (isfinite(training.high))
        value = pith_minimum(value, pith_const(param->graph, training.high));
    return write(param, value, ok);
}

static node *blend(node *old, node *new, double share) /* old + share (new - old) */
{
    return pith_add(old, pith_mul_scalar(pith_sub(new, old), share));
}

static node *one_minus(node *a) { return pith_sub(pith_const(a->graph, 1), a); }

/* The pairs must be of params and their gradients. */
static bool good_pairs(const char *at, const char *who, int n, node *const *params,
                       node *const *gradients, const node *lr)
{
    if (n < 1 || !lr)
        return pith_raise("%s: %s: %s", at, who,
                          lr ? "there is nothing to train" : "the learning rate is NULL");
    for (int k = 0; k < n && !pith_graph_error(lr->graph); k++) {
        const node *p = params[k], *d = gradients[k];
        if (!p || !d)
            return pith_raise("%s: %s: the %s of pair %d is NULL", at, who,
                              p ? "gradient" : "param", k);
        if (!pith_is_param(p))
            return pith_raise("%s: %s: node %d to train is no param, it was made at %s", at, who, k,
                              p->at);
        if (p->ndim != d->ndim || memcmp(p->dim, d->dim, sizeof *p->dim * (size_t)p->ndim))
            return pith_raise("%s: %s: the gradient of %s has another shape than it", at, who,
                              p->name);
    }
    return !pith_graph_error(lr->graph); /* which was told already */
}

static node *adamw(int n, node *const *params, node *const *gradients, node *lr,
                   pith_adamw_options o, node *ok)
{
    pith_graph *g = lr->graph;
    node **writes = malloc(sizeof *writes * (size_t)(3 * n + 1)),
         *count = pith_state(g, "adamw.count", PITH_F32, 0);
    node *t = pith_add_scalar(count, 1);
    node *step = pith_div(lr, one_minus(pith_exp(pith_mul_scalar(t, log(o.beta1)))));
    node *root = pith_rsqrt(one_minus(pith_exp(pith_mul_scalar(t, log(o.beta2)))));
    node *keep = one_minus(pith_mul_scalar(lr, o.weight_decay));
    int w = 0;
    for (int k = 0; k < n; k++) {
        const pith_training training = pith_training_of(params[k]);
        node *m = beside(params[k], "adamw.m/"), *v = beside(params[k], "adamw.v/"),
             *old = params[k];
        node *m1 = blend(m, gradients[k], 1 - o.beta1),
             *v1 = blend(v, pith_square(gradients[k]), 1 - o.beta2);
        node *size = training.lr_scale == 1 ? step : pith_mul_scalar(step, training.lr_scale);
        node *change =
            pith_mul(size, pith_div(m1, pith_add_scalar(pith_mul(pith_sqrt(v1), root), o.epsilon)));
        if (training.weight_decay && o.weight_decay != 0)
            old = pith_mul(old, training.lr_scale == 1
                                    ? keep
                                    : one_minus(pith_mul_scalar(lr, o.weight_decay *
                                                                        fabs(training.lr_scale))));
        writes[w++] = write(m, m1, ok);
        writes[w++] = write(v, v1, ok);
        writes[w++] = write_param(params[k], pith_sub(old, change), ok);
    }
    writes[w++] = write(count, t, ok);
    node *all = pith_group(w, writes);
    free(writes);
    return all;
}

node *pith_adamw_(const char *at, int n, node *const *params, node *const *gradients, node *lr,
                  pith_adamw_options o, node *ok)
{
    if (!good_pairs(at, "pith_adamw", n, params, gradients, lr)) return NULL;
    pith_enter(lr->graph, "pith_adamw", at);
    return pith_leave(lr->graph, adamw(n, params, gradients, lr, o, ok));
}

static node *sgd(int n, node *const *params, node *const *gradients, node *lr, double momentum,
                 double weight_decay, node *ok)
{
    node **writes = malloc(sizeof *writes * (size_t)(2 * n));
    int w = 0;
    for (int k = 0; k < n; k++) {
        const pith_training training = pith_training_of(params[k]);
        node *d = gradients[k];
        if (weight_decay != 0 && training.weight_decay)
            d = pith_add(d, pith_mul_scalar(params[k],
                                            training.lr_scale < 0 ? -weight_decay : weight_decay));
        if (momentum != 0) {
            node *m = beside(params[k], "sgd.m/");
            d = pith_add(pith_mul_scalar(m, momentum), d);
            writes[w++] = write(m, d, ok);
        }
        writes[w++] = write_param(
            params[k], pith_sub(params[k], pith_mul(pith_mul_scalar(lr, training.lr_scale), d)),
            ok);
    }
    node *all = pith_group(w, writes);
    free(writes);
    return all;
}

node *pith_sgd_(const char *at, int n, node *const *params, node *const *gradients, node *lr,
                double momentum, double weight_decay, node *ok)
{
    if (!good_pairs(at, "pith_sgd", n, params, gradients, lr)) return NULL;
    pith_enter(lr->graph, "pith_sgd", at);
    return pith_leave(lr->graph, sgd(n, params, gradients, lr, momentum, weight_decay, ok));
}

static node *ema(node *updated, double keep, node *ok)
{
    node **writes = malloc(sizeof *writes * (size_t)(updated->n_in + 1));
    int w = 0;
    for (int k = 0; k < updated->n_in; k++) {
        node *assigned = updated->in[k], *param = assigned->in[0];
        if (!pith_is_param(param)) continue; /* a moment */
        pith_store *store = pith_store_of(param->graph);
        char name[600];
        snprintf(name, sizeof name, "ema/%s", param->name);
        const int before = pith_store_count(store);
        node *mean = pith_state_like(param->graph, name, param);
        const bool fresh = pith_store_count(store) > before;
        const pith_tensor *weights = pith_store_find(store, param->name);
        pith_tensor *average = pith_store_find(store, mean->name);
        if (fresh && weights && average) /* the average starts at the weights as they are */
            pith_tensor_copy(average, weights);
        writes[w++] = write(mean, blend(mean, assigned, 1 - keep), ok);
    }
    writes[w++] = updated;
    node *all = pith_group(w, writes);
    free(writes);
    return all;
}

node *pith_ema_(const char *at, node *updated, double keep, node *ok)
{
    if (!updated) return NULL; /* the optimizer told why */
    pith_enter(updated->graph, "pith_ema", at);
    return pith_leave(updated->graph, ema(updated, keep, ok));
}

bool pith_clip_norm_(const char *at, int n, node **gradients, double limit, node **norm)
{
    node *sum = NULL;
    *norm = NULL;
    for (int k = 0; k < n; k++)
        if (!gradients[k]) return pith_raise("%s: pith_clip_norm: gradient %d is NULL", at, k);
    if (n < 1) return pith_raise("%s: pith_clip_norm: there are no gradients", at);
    pith_graph *g = gradients[0]->graph;
    pith_enter(g, "pith_clip_norm", at);
    for (int k = 0; k < n; k++) {
        node *square = pith_dot(gradients[k], gradients[k]);
        sum = sum ? pith_add(sum, square) : square;
    }
    *norm = pith_sqrt(sum);
    if (limit > 0) {
        node *factor = pith_minimum(pith_const(g, 1),
                                    pith_div(pith_const(g, limit), pith_add_scalar(*norm, 1e-6)));
        for (int k = 0; k < n; k++) gradients[k] = pith_mul(gradients[k], factor);
    }
    pith_leave(g, NULL);
    return !pith_graph_error(g);
}
