/* optim.c: optimizers are graph: a few pointwise nodes a param, which the planner fuses into one pass over memory, and an
 * assign. Every assigned leaf is guarded alike: where(ok, new, old), never a product, so that NaN cannot leak. */
#include "inside.h"

#define CONST(g, x) pith_const_(NULL, g, x)

/* A state beside a param: no scope or prefix but its own. */
static node *beside(node *param, const char *prefix, double value)
{
    pith_graph *g = param->graph;
    const char *scope = g->scope, *before = g->prefix;
    g->scope = "";
    g->prefix = prefix;
    node *s = pith_state_dims(param->at, g, param->name, PITH_F32, value, param->ndim, param->dim);
    g->scope = scope;
    g->prefix = before;
    return s;
}

static node *counter(pith_graph *g, const char *name)
{
    const char *scope = g->scope, *before = g->prefix;
    g->scope = g->prefix = "";
    node *s = pith_state_dims("optimizer", g, name, PITH_F32, 0, 0, NULL);
    g->scope = scope;
    g->prefix = before;
    return s;
}

static node *write(node *leaf, node *value, node *ok)
{
    return pith_assign_(NULL, leaf, ok ? WHERE(ok, value, leaf) : value);
}

static node *write_param(node *param, node *value, node *ok)
{
    const pith_leaf *l = pith_leaf_of(param);
    if (isfinite(l->low)) value = pith_maximum_(NULL, value, CONST(param->graph, l->low));
    if (isfinite(l->high)) value = pith_minimum_(NULL, value, CONST(param->graph, l->high));
    return write(param, value, ok);
}

static node *blend(node *old, node *new, double share)      /* old + share (new - old) */
{
    return ADD(old, SCALE(SUB(new, old), share));
}

/* The params must be params, and the pairs must agree. */
static bool check_pairs(int n, node *const *params, node *const *gradients)
{
    for (int k = 0; k < n; k++) {
        if (pith_poisoned(params[k]) || pith_poisoned(gradients[k])) return false;
        if (params[k]->op != &pith_op_param) return pith_fail(params[k], "an optimizer was given this, which is no param");
        if (!pith_same_shape(params[k], gradients[k]))
            return pith_fail(gradients[k], "this gradient has not the shape of %s", params[k]->name);
    }
    return n > 0;
}

node *pith_adamw(int n, node *const *params, node *const *gradients, node *rate, pith_adamw_options o, node *ok)
{
    if (!check_pairs(n, params, gradients)) return NULL;
    pith_graph *g = rate->graph;
    const node *before = g->origin;
    g->origin = rate;                                       /* the place and scope of all nodes made here */
    node **writes = malloc(sizeof *writes * (size_t)(3 * n + 1)), *count = counter(g, "adamw.count");
    node *t = SHIFT(count, 1);
    node *correct1 = SUB(CONST(g, 1), EXP(SCALE(t, log(o.beta1)))), *correct2 = SUB(CONST(g, 1), EXP(SCALE(t, log(o.beta2))));
    node *step = DIV(rate, correct1), *root = RSQRT(correct2), *keep = SUB(CONST(g, 1), SCALE(rate, o.decay));
    int w = 0;
    for (int k = 0; k < n; k++) {
        const pith_leaf *l = pith_leaf_of(params[k]);
        node *m = beside(params[k], "adamw.m/", 0), *v = beside(params[k], "adamw.v/", 0);
        node *m1 = blend(m, gradients[k], 1 - o.beta1), *v1 = blend(v, SQUARE(gradients[k]), 1 - o.beta2);
        node *size = l->rate == 1 ? step : SCALE(step, l->rate);
        node *change = MUL(size, DIV(m1, SHIFT(MUL(pith_sqrt_(NULL, v1), root), o.epsilon)));
        node *old = !l->decay || o.decay == 0 ? params[k]
                  : l->rate == 1              ? MUL(params[k], keep)
                                              : MUL(params[k], SUB(CONST(g, 1), SCALE(rate, o.decay * fabs(l->rate))));
        node *value = SUB(old, change);
        writes[w++] = write(m, m1, ok);
        writes[w++] = write(v, v1, ok);
        writes[w++] = write_param(params[k], value, ok);
    }
    writes[w++] = write(count, t, ok);
    node *all = pith_group(w, writes);
    g->origin = before;
    free(writes);
    return all;
}

node *pith_sgd(int n, node *const *params, node *const *gradients, node *rate, double momentum, double decay, node *ok)
{
    if (!check_pairs(n, params, gradients)) return NULL;
    const node *before = rate->graph->origin;
    rate->graph->origin = rate;
    node **writes = malloc(sizeof *writes * (size_t)(2 * n));
    int w = 0;
    for (int k = 0; k < n; k++) {
        const pith_leaf *l = pith_leaf_of(params[k]);
        node *d = decay != 0 && l->decay ? ADD(gradients[k], SCALE(params[k], decay)) : gradients[k];
        if (momentum != 0) {
            node *m = beside(params[k], "sgd.m/", 0);
            d = ADD(SCALE(m, momentum), d);
            writes[w++] = write(m, d, ok);
        }
        writes[w++] = write_param(params[k], SUB(params[k], MUL(SCALE(rate, l->rate), d)), ok);
    }
    node *all = pith_group(w, writes);
    rate->graph->origin = before;
    free(writes);
    return all;
}

node *pith_ema(node *updated, double keep, node *ok)
{
    if (!updated || pith_poisoned(updated)) return updated;
    pith_graph *g = updated->graph;
    const node *before = g->origin;
    g->origin = updated;
    node **writes = malloc(sizeof *writes * (size_t)(updated->n_in + 1));
    int w = 0;
    for (int k = 0; k < updated->n_in; k++) {
        node *assign = updated->in[k], *param = assign->op == &pith_op_assign ? assign->in[0] : NULL;
        if (!param || param->op != &pith_op_param) continue;
        const char *name = pith_keep(g, "ema/%s", param->name);
        const bool fresh = !pith_store_find(g->store, name);
        node *ema = beside(param, "ema/", 0);
        if (fresh && !pith_poisoned(ema))                    /* the average starts at the weights as they are */
            memcpy(pith_leaf_of(ema)->tensor->data, pith_leaf_of(param)->tensor->data, pith_bytes(param));
        writes[w++] = write(ema, blend(ema, assign, 1 - keep), ok);
    }
    writes[w++] = updated;
    node *all = pith_group(w, writes);
    g->origin = before;
    free(writes);
    return all;
}

void pith_clip_norm(int n, node **gradients, double limit, node **norm)
{
    pith_graph *g = gradients[0]->graph;
    node *sum = NULL;
    for (int k = 0; k < n; k++) {
        node *square = pith_dot_(NULL, gradients[k], gradients[k]);
        sum = sum ? ADD(sum, square) : square;
    }
    *norm = pith_sqrt_(NULL, sum);
    if (limit <= 0) return;
    node *factor = pith_minimum_(NULL, CONST(g, 1), DIV(CONST(g, limit), SHIFT(*norm, 1e-6)));
    for (int k = 0; k < n; k++) gradients[k] = MUL(gradients[k], factor);
}

/* ---- what a loss reaches ---- */

void pith_reached(const node *y, int n, node *const *nodes, bool *reached)
{
    bool *mark = calloc((size_t)y->graph->n, sizeof *mark);
    mark[y->id] = true;
    for (int id = y->id; id >= 0; id--)
        for (int k = 0; mark[id] && k < y->graph->nodes[id]->n_in; k++) mark[y->graph->nodes[id]->in[k]->id] = true;
    for (int k = 0; k < n; k++) reached[k] = mark[nodes[k]->id];
    free(mark);
}

bool pith_check_reached(const node *y, int n, node *const *params)
{
    bool *reached = calloc((size_t)n + 1, sizeof *reached), good = true;
    pith_reached(y, n, params, reached);
    for (int k = 0; k < n && good; k++)
        if (!reached[k]) good = pith_fail(params[k], "%s is to be trained, but the loss does not depend on it", params[k]->name);
    free(reached);
    return good;
}

/* ---- options of a loss: "key=value,key=value" ---- */

double pith_option(const pith_batch *b, const char *key, double otherwise)
{
    const size_t size = strlen(key);
    for (const char *s = b->options; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        if (strncmp(s, key, size) == 0 && s[size] == '=') return atof(s + size + 1);
    return otherwise;
}
