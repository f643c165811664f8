/* leaf.c: where values come from: inputs, params, states and constants. */
#include "inside.h"

const pith_op pith_op_input = { "input", .flags = PITH_LEAF | PITH_DISTINCT,
                                .no_grad = "it is a leaf" };
const pith_op pith_op_param = { "param", .flags = PITH_LEAF, .no_grad = "it is a leaf" };
const pith_op pith_op_state = { "state", .flags = PITH_LEAF, .no_grad = "it is a leaf" };
const pith_op pith_op_const = { "const", .flags = PITH_LEAF, .no_grad = "it is a leaf" };

/* Cotangents of further results are gathered by the walk when it comes to the op itself. */
const pith_op pith_op_result = { "result", .attr_size = sizeof(int), .flags = PITH_PART,
                                 .no_grad = "it belongs to its op" };

static node *leaf(const char *at, pith_graph *g, const pith_op *op, const char *name,
                  pith_dtype dtype, int ndim, const int *dim)
{
    node *n = pith_make(at, op, g, 0, NULL, NULL);
    if (pith_poisoned(n)) return n;
    n->name = name;
    return pith_shape(n, dtype, ndim, dim) ? n : pith_poison(n);
}

/* The poisoned node where there is no graph or no name, else NULL. */
static node *no_name(const char *at, const char *op, pith_graph *g, const char *name)
{
    if (!g) return pith_null(at, op, "the graph");
    return name ? NULL : pith_refuse(g, "%s: %s: the name is NULL", at, op);
}

node *pith_input_(const char *at, pith_graph *g, const char *name, pith_dtype dtype, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(dtype, dim, ndim);
    node *wrong = no_name(at, "input", g, name);
    if (wrong) return wrong;
    return leaf(at, g, &pith_op_input, pith_keep(g, "%s%s", g->scope, name), dtype, ndim, dim);
}

/* ---- params and states ---- */

static bool draw(pith_tensor *t, uint64_t seed, pith_init init, double a)
{
    const uint64_t key = pith_hash(t->name, seed);
    const size_t size = pith_tensor_size(t);
    const pith_dtype_info *type = pith_dtype_find(t->dtype);
    enum { BLOCK = 2048 };
    double x[BLOCK], typed[BLOCK]; /* of any dtype */
    bool good = true;
    for (size_t start = 0; start < size && good; start += BLOCK) {
        const size_t count = size - start < BLOCK ? size - start : BLOCK;
        for (size_t i = 0; i < count; i++)
            x[i] = init == PITH_CONSTANT ? a
                   : init == PITH_NORMAL ? a * pith_normal_at(key, 0, start + i)
                                         : a * (2 * pith_uniform_at(key, 0, start + i) - 1);
        type->store(x, typed, count);
        good = pith_store_behind(t)->on->write((char *)pith_data(t) + start * type->bytes, typed,
                                               count * type->bytes);
    }
    return good;
}

/* May n hold this number? An integer dtype does not hold 0.5, nor what is out of its range. */
static bool can_hold(node *n, double value)
{
    const pith_dtype_info *type = pith_dtype_find(n->dtype);
    return pith_dtype_holds(n->dtype, value) ||
           pith_fail(n, "%.10g cannot be %s, expected a whole number from %.0f to %.0f", value,
                     type->name, type->least, type->largest);
}

/* The average of the weight of that name, NULL if it has none. */
static pith_tensor *find_average(const node *n, const pith_home *home, const char *name)
{
    const pith_tensor *weight = pith_store_find(home->store, name);
    if (!home->averages || n->op != &pith_op_param || (weight && weight->kind == PITH_STATE))
        return NULL;
    return pith_store_find(home->store, pith_keep(n->graph, "ema/%s", name));
}

/* The tensor of that name, made if need be; among averages nothing is made. NULL after pith_fail.
 */
static pith_tensor *find_tensor(node *n, const pith_home *home, const char *name, pith_kind kind,
                                bool *made)
{
    pith_tensor *t = pith_store_find(home->store, name);
    *made = !t && !home->averages;
    char why[PITH_WHY] = "";
    if (*made) t = pith_store_try_add(home->store, name, kind, n->dtype, n->ndim, n->dim, why);
    if (t) return t;
    if (*made) pith_fail(n, "%s", why);
    else if (kind == PITH_STATE) pith_fail(n, "the store has no state called %s", name);
    else pith_fail(n, "the store has neither an average nor a weight called %s", name);
    return NULL;
}

/* Is the tensor what the graph takes it for? One of a kind not known yet becomes of that kind. */
static bool fits(node *n, pith_tensor *t, pith_kind kind)
{
    node found = { .dtype = t->dtype, .ndim = t->ndim };
    memcpy(found.dim, t->dim, sizeof found.dim);
    char here[96], there[96];
    if (t->dtype != n->dtype || !pith_same_shape(&found, n))
        return pith_fail(n, "%s has shape %s in the store, this graph wants %s%s", n->name,
                         pith_shape_text(&found, there), pith_shape_text(n, here),
                         t->dtype != n->dtype ? " of another type" : "");
    if (t->kind & kind) return t->kind = kind, true;
    return pith_fail(n, "%s is a %s of the store, this graph wants a %s", n->name,
                     kind == PITH_STATE ? "weight" : "state",
                     kind == PITH_STATE ? "state" : "weight");
}

/* A leaf over a tensor of the store. The same tensor named twice in a graph is one node. */
static node *make_leaf(const char *at, const pith_op *op, pith_graph *g, const char *name,
                       pith_dtype dtype, int ndim, const int *dim, pith_init init, double a)
{
    node *wrong = no_name(at, op->name, g, name);
    if (wrong) return wrong;
    const pith_home *home = &g->home;
    const char *full = pith_keep(g, "%s%s%s", home->prefix, g->scope, name);
    const bool param = op == &pith_op_param;
    const pith_kind kind = param ? PITH_WEIGHT : PITH_STATE;
    node *n = leaf(at, g, op, full, dtype, ndim, dim);
    if (pith_poisoned(n)) return n;
    if (!can_hold(n, a)) return pith_poison(n);
    if (init != PITH_CONSTANT && !(isfinite(a) && a >= 0))
        return pith_fail(n, "%s starts as random numbers of size %g", full, a), pith_poison(n);
    if ((unsigned)init > PITH_CONSTANT)
        return pith_fail(n, "%s starts as %d, expected a value of pith_init", full, (int)init),
               pith_poison(n);
    if (!home->store)
        return pith_fail(n, "%s wants a store and the graph has none", full), pith_poison(n);
    if (!pith_is_floating(dtype) && init != PITH_CONSTANT)
        return pith_fail(n, "only floating-point numbers can start random"), pith_poison(n);
    bool made = false;
    pith_tensor *average = find_average(n, home, full),
                *t = average ? average : find_tensor(n, home, full, kind, &made);
    if (!t || !fits(n, t, average ? average->kind : kind)) return pith_poison(n);
    if (made && !draw(t, g->seed, init, a))
        return pith_fail(n, "%s has no first values", full), pith_poison(n);
    node *same = pith_lookup_find(&g->leaf_over, (uint64_t)(uintptr_t)t);
    if (same && same->op != op)
        return pith_fail(n, "%s is a %s of this graph already, made at %s", full, same->op->name,
                         same->at),
               pith_poison(n);
    if (same) return g->n--, same; /* nothing refers to the new one yet */
    t->used = true;
    pith_leaf *l = pith_alloc(g, sizeof *l);
    *l = (pith_leaf){ .tensor = t,
                      .training = { .trained = param && !home->frozen &&
                                               !pith_store_is_frozen(home->store, full),
                                    .weight_decay = ndim >= 2,
                                    .lr_scale = 1,
                                    .low = -INFINITY,
                                    .high = INFINITY } };
    n->attr = l;
    if (!(param ? pith_enlist(&g->params, &g->n_params, n)
                : pith_enlist(&g->states, &g->n_states, n)))
        return pith_poison(n);
    pith_lookup_add(g, &g->leaf_over, (uint64_t)(uintptr_t)t, n);
    return n;
}

node *pith_param_(const char *at, pith_graph *g, const char *name, pith_init init, double a, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(a, dim, ndim);
    return make_leaf(at, &pith_op_param, g, name, PITH_F32, ndim, dim, init, a);
}

node *pith_state_(const char *at, pith_graph *g, const char *name, pith_dtype dtype, pith_init init,
                  double a, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(a, dim, ndim);
    return make_leaf(at, &pith_op_state, g, name, dtype, ndim, dim, init, a);
}

node *pith_state_like_(const char *at, pith_graph *g, const char *name, const node *n)
{
    if (!n) return pith_refuse(g, "%s: state: the node it is to be like is NULL", at);
    if (g && pith_failed(g, n)) return pith_failed(g, n);
    if (g && n->op->flags & PITH_NO_VALUE)
        return pith_refuse(g, "%s: state: the node it is to be like, made at %s, has no value", at,
                           n->at);
    return make_leaf(at, &pith_op_state, g, name, n->dtype, n->ndim, n->dim, PITH_CONSTANT, 0);
}

pith_training pith_training_of(const node *n)
{
    return n && pith_is_param(n) ? pith_leaf_of(n)->training : (pith_training){ 0 };
}

bool pith_is_param(const node *n) { return n && n->op == &pith_op_param; }

pith_tensor *pith_tensor_of(const node *n)
{
    if (!pith_given(n, "pith_tensor_of", "node") || !pith_is_stored(n)) return NULL;
    return pith_leaf_of(n)->tensor;
}

static pith_training *training_to_set(node *n, const char *wanted)
{
    static _Thread_local pith_training nobody; /* what is told to a poisoned node */
    if (!n) pith_null(NULL, wanted, "the param");
    if (!n || pith_poisoned(n)) return &nobody;
    if (!pith_is_param(n)) return pith_fail(n, "%s is for params only", wanted), &nobody;
    return &pith_leaf_of(n)->training;
}

node *pith_no_weight_decay(node *n)
{
    training_to_set(n, "pith_no_weight_decay")->weight_decay = false;
    return n ? n : pith_nowhere();
}

node *pith_lr_scale(node *n, double factor)
{
    pith_training *training = training_to_set(n, "pith_lr_scale");
    if (isfinite(factor)) training->lr_scale = factor;
    else if (n) pith_fail(n, "pith_lr_scale: the learning rate is scaled by %g", factor);
    return n ? n : pith_nowhere();
}

node *pith_own_lr(node *n, node *rate)
{
    if (!rate || rate->ndim) return pith_refuse(n ? n->graph : NULL, "pith_own_lr: no scalar rate");
    training_to_set(n, "pith_own_lr")->own_lr = rate;
    return n ? n : pith_nowhere();
}

node *pith_clamp_param(node *n, double low, double high)
{
    pith_training *training = training_to_set(n, "pith_clamp_param");
    if (n && !(low <= high && low < INFINITY && high > -INFINITY))
        pith_fail(n, "pith_clamp_param: a clamp to [%g, %g]", low, high);
    training->low = low, training->high = high;
    return n ? n : pith_nowhere();
}

int pith_params(const pith_graph *g, node ***params)
{
    int count = 0;
    *params = NULL;
    if (!pith_given(g, "pith_params", "graph")) return 0;
    *params = pith_alloc((pith_graph *)(uintptr_t)g, sizeof **params * (size_t)(g->n_params + 1));
    for (int k = 0; *params && k < g->n_params; k++)
        if (pith_leaf_of(g->params[k])->training.trained) (*params)[count++] = g->params[k];
    return count;
}

static void enter_home(pith_graph *g, pith_home home)
{
    if (g->error) return;
    pith_home *homes = pith_grown(g->homes, g->n_homes, sizeof *homes);
    if (!homes) {
        pith_graph_fail(g, "no memory for a graph's stores");
        return;
    }
    g->homes = homes;
    g->homes[g->n_homes++] = g->home;
    g->home = home;
}

void pith_use_store(pith_graph *g, pith_store *store, const char *prefix, bool frozen)
{
    if (!pith_given(g, "pith_use_store", "graph")) return;
    if (!store || !prefix)
        pith_graph_fail(g, "pith_use_store: the %s is NULL", store ? "prefix" : "store");
    else enter_home(g, (pith_home){ store, pith_keep(g, "%s", prefix), frozen, false });
}

void pith_use_averages(pith_graph *g, pith_store *store)
{
    if (!pith_given(g, "pith_use_averages", "graph")) return;
    if (!store) pith_graph_fail(g, "pith_use_averages: the store is NULL");
    else enter_home(g, (pith_home){ store, "", true, true });
}

void pith_leave_store(pith_graph *g)
{
    if (!pith_given(g, "pith_leave_store", "graph") || g->error) return;
    if (g->n_homes) g->home = g->homes[--g->n_homes];
    else pith_graph_fail(g, "pith_leave_store without a pith_use_store before it");
}

/* ---- constants ---- */

node *pith_const_dims(const char *at, pith_graph *g, pith_dtype dtype, const void *data, int ndim,
                      const int *dim)
{
    node *n = leaf(at, g, &pith_op_const, NULL, dtype, ndim, dim);
    if (pith_poisoned(n)) return n;
    if (pith_bytes(n) > pith_memory_size())
        return pith_fail(n, "no memory for %zu bytes", pith_bytes(n)), pith_poison(n);
    void *copy = pith_alloc(g, pith_bytes(n));
    if (g->error) return pith_poison(n);
    if (data) memcpy(copy, data, pith_bytes(n));
    n->attr = copy;
    return n;
}

node *pith_const_(const char *at, pith_graph *g, double value)
{
    return pith_const_scalar(at, g, PITH_F32, value);
}

node *pith_const_scalar(const char *at, pith_graph *g, pith_dtype dtype, double value)
{
    double room; /* for one number of any dtype */
    pith_dtype_find(dtype)->store(&value, &room, 1);
    node *n = pith_const_dims(at, g, dtype, &room, 0, NULL);
    return pith_poisoned(n) || can_hold(n, value) ? n : pith_poison(n);
}

node *pith_const_array_(const char *at, pith_graph *g, pith_dtype dtype, const void *data, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(data, dim, ndim);
    if (!data && g) return pith_refuse(g, "%s: const: the data is NULL", at);
    return pith_const_dims(at, g, dtype, data, ndim, dim);
}

node *pith_arange_(const char *at, pith_graph *g, int count)
{
    node *n = pith_const_dims(at, g, PITH_I32, NULL, 1, &count);
    if (pith_poisoned(n)) return n;
    int *x = n->attr;
    for (int k = 0; k < count; k++) x[k] = k;
    return n;
}

/* ---- what is missing ---- */

static const pith_op op_missing = { "missing", .flags = PITH_LEAF | PITH_NO_VALUE | PITH_DISTINCT,
                                    .no_grad = "it stands for what this run does not have" };

node *pith_missing_(const char *at, pith_graph *g, const char *what)
{
    node *wrong = no_name(at, "missing", g, what);
    if (wrong) return wrong;
    node *n = leaf(at, g, &op_missing, pith_keep(g, "%s", what), PITH_F32, 0, NULL);
    if (pith_poisoned(n)) return n;
    for (int k = 0; k < PITH_MAX_DIMS; k++) n->dim[k] = 1;
    return n;
}

bool pith_is_missing(const node *n) { return !n || n->op == &op_missing; }
