/* leaf.c: where values come from and go to: inputs, params, states and constants, and the assign
 * that writes a leaf. */
#include "inside.h"

static bool leaf_shape(node *n) { return n->dtype <= PITH_U8; }

const pith_op pith_op_input = { "input", .shape = leaf_shape, .flags = PITH_LEAF | PITH_DISTINCT,
                                .no_grad = "it is a leaf" };
const pith_op pith_op_param = { "param", .shape = leaf_shape, .flags = PITH_LEAF,
                                .no_grad = "it is a leaf" };
const pith_op pith_op_state = { "state", .shape = leaf_shape, .flags = PITH_LEAF,
                                .no_grad = "it is a leaf" };
const pith_op pith_op_const = { "const", .shape = leaf_shape, .flags = PITH_LEAF,
                                .no_grad = "it is a leaf" };

/* Cotangents of further results are gathered by the walk when it comes to the op itself. */
const pith_op pith_op_result = { "result", .flags = PITH_LEAF, .no_grad = "it belongs to its op" };

static node *leaf(const char *at, pith_graph *g, const pith_op *op, const char *name,
                  pith_dtype dtype, int ndim, const int *dim)
{
    node *n = pith_make(at, op, g, 0, NULL, NULL);
    n->name = name;
    return pith_shape(n, dtype, ndim, dim) ? n : pith_poison(n);
}

node *pith_input_(const char *at, pith_graph *g, const char *name, pith_dtype dtype, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(dtype, dim, ndim);
    return leaf(at, g, &pith_op_input, pith_keep(g, "%s%s", g->scope, name), dtype, ndim, dim);
}

/* ---- params and states ---- */

static void draw(pith_tensor *t, uint64_t seed, pith_init init, double a)
{
    const uint64_t key = pith_hash(t->name, seed);
    const size_t size = pith_tensor_size(t);
    real *x = t->data;
    for (size_t i = 0; i < size; i++)
        x[i] = (real)(init == PITH_CONSTANT ? a
                      : init == PITH_NORMAL ? a * pith_normal_at(key, 0, i)
                                            : a * (2 * pith_uniform_at(key, 0, i) - 1));
}

/* A leaf over a tensor of the store. The same tensor named twice in a graph is one node. */
static node *stored(const char *at, const pith_op *op, pith_graph *g, const char *name,
                    pith_dtype dtype, int ndim, const int *dim, pith_init init, double a)
{
    const char *full = pith_keep(g, "%s%s%s", g->prefix, g->scope, name);
    const bool param = op == &pith_op_param;
    node *n = leaf(at, g, op, full, dtype, ndim, dim);
    if (pith_poisoned(n)) return n;
    if (!g->store)
        return pith_fail(n, "%s wants a store and the graph has none", full), pith_poison(n);
    pith_tensor *t = pith_store_find(g->store, full);
    if (!t) {
        t = pith_store_add(g->store, full, param ? PITH_WEIGHT : PITH_STATE, dtype, ndim, dim);
        if (!t) return pith_fail(n, "%s", pith_error()), pith_poison(n);
        if (dtype == PITH_F32) draw(t, g->seed, init, a);
        else if (dtype == PITH_U8) memset(t->data, (int)a, pith_tensor_size(t));
        else
            for (size_t i = 0; i < pith_tensor_size(t); i++) ((int *)t->data)[i] = (int)a;
    }
    const node found = { .dtype = t->dtype,
                         .ndim = t->ndim,
                         .dim = { t->dim[0], t->dim[1], t->dim[2], t->dim[3], t->dim[4],
                                  t->dim[5] } };
    char here[96], there[96];
    if (t->dtype != dtype || !pith_same_shape(&found, n))
        return pith_fail(n, "%s has shape %s in the store, this graph wants %s%s", full,
                         pith_shape_text(&found, there), pith_shape_text(n, here),
                         t->dtype != dtype ? " of another type" : ""),
               pith_poison(n);
    node *same = pith_lookup_find(&g->leaf_over, (uint64_t)(uintptr_t)t);
    if (same && same->op != op)
        return pith_fail(n, "%s is a %s of this graph already, made at %s", full, same->op->name,
                         same->at),
               pith_poison(n);
    if (same) return g->n--, same; /* nothing refers to the new one yet */
    node **list = param ? g->params : g->states;
    const int count = param ? g->n_params : g->n_states;
    t->used = true;
    t->kind = param ? PITH_WEIGHT : PITH_STATE;
    pith_leaf *l = pith_alloc(g, sizeof *l);
    *l = (pith_leaf){ .tensor = t,
                      .training = { .trained = param && !g->frozen &&
                                               !pith_store_is_frozen(g->store, full),
                                    .weight_decay = ndim >= 2,
                                    .lr_scale = 1,
                                    .low = -INFINITY,
                                    .high = INFINITY } };
    n->attr.p = l;
    if (!(count & (count - 1))) /* 0, 1, 2, 4, 8, ...: the list is full */
        list = realloc(list, sizeof *list * 2 * (size_t)(count + 1));
    list[count] = n;
    if (param) g->params = list, g->n_params++;
    else g->states = list, g->n_states++;
    pith_lookup_add(g, &g->leaf_over, (uint64_t)(uintptr_t)t, n);
    return n;
}

node *pith_param_(const char *at, pith_graph *g, const char *name, pith_init init, double a, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(a, dim, ndim);
    return stored(at, &pith_op_param, g, name, PITH_F32, ndim, dim, init, a);
}

node *pith_state_(const char *at, pith_graph *g, const char *name, pith_dtype dtype, double value,
                  ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(value, dim, ndim);
    return stored(at, &pith_op_state, g, name, dtype, ndim, dim, PITH_CONSTANT, value);
}

node *pith_state_like_(const char *at, pith_graph *g, const char *name, const node *n)
{
    if (pith_poisoned(n)) return g->nodes[n->id];
    return stored(at, &pith_op_state, g, name, n->dtype, n->ndim, n->dim, PITH_CONSTANT, 0);
}

pith_training pith_training_of(const node *n)
{
    return pith_is_param(n) ? pith_leaf_of(n)->training : (pith_training){ 0 };
}

bool pith_is_param(const node *n) { return n->op == &pith_op_param; }

static pith_training *training_of(node *n, const char *wanted)
{
    static pith_training nobody; /* what is told to a poisoned node */
    if (!n || pith_poisoned(n)) return &nobody;
    if (!pith_is_param(n)) return pith_fail(n, "%s is for params only", wanted), &nobody;
    return &pith_leaf_of(n)->training;
}

node *pith_no_weight_decay(node *n)
{
    return training_of(n, "pith_no_weight_decay")->weight_decay = false, n;
}
node *pith_lr_scale(node *n, double factor)
{
    return training_of(n, "pith_lr_scale")->lr_scale = factor, n;
}

node *pith_clamp_param(node *n, double low, double high)
{
    pith_training *training = training_of(n, "pith_clamp_param");
    training->low = low;
    training->high = high;
    return n;
}

int pith_params(const pith_graph *g, node ***params)
{
    int count = 0;
    *params = pith_alloc((pith_graph *)(uintptr_t)g, sizeof **params * (size_t)(g->n_params + 1));
    for (int k = 0; k < g->n_params; k++)
        if (pith_leaf_of(g->params[k])->training.trained) (*params)[count++] = g->params[k];
    return count;
}

pith_store *pith_use_store(pith_graph *g, pith_store *store, const char *prefix, bool frozen)
{
    pith_store *before = g->store;
    g->store = store;
    g->prefix = pith_keep(g, "%s", prefix);
    g->frozen = frozen;
    return before;
}

/* ---- constants ---- */

node *pith_const_dims(const char *at, pith_graph *g, pith_dtype dtype, const void *data, int ndim,
                      const int *dim)
{
    node *n = leaf(at, g, &pith_op_const, NULL, dtype, ndim, dim);
    if (pith_poisoned(n)) return n;
    void *copy = pith_alloc(g, pith_bytes(n));
    if (data) memcpy(copy, data, pith_bytes(n));
    n->attr.p = copy;
    return n;
}

node *pith_const_(const char *at, pith_graph *g, double value)
{
    const real x = (real)value;
    return pith_const_dims(at, g, PITH_F32, &x, 0, NULL);
}

node *pith_const_array_(const char *at, pith_graph *g, pith_dtype dtype, const void *data, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(data, dim, ndim);
    return pith_const_dims(at, g, dtype, data, ndim, dim);
}

node *pith_arange_(const char *at, pith_graph *g, int count)
{
    node *n = pith_const_dims(at, g, PITH_I32, NULL, 1, &count);
    int *x = (int *)(uintptr_t)n->attr.p;
    for (int k = 0; x && k < count; k++) x[k] = k;
    return n;
}

/* ---- writes ---- */

static bool assign_shape(node *n)
{
    const node *leaf = n->in[0];
    if (!pith_is_stored(leaf)) return pith_fail(n, "only a param or a state can be assigned");
    if (!pith_same_shape(leaf, n->in[1]) || leaf->dtype != n->in[1]->dtype)
        return pith_fail(n, "%s and its new value differ in shape or type", leaf->name);
    pith_leaf_of(leaf)->assigned = true;
    return pith_like(n, leaf);
}

static void assign_cpu(const node *n, const void *const *in, void *const *out, void *scratch)
{
    (void)scratch;
    memmove(out[0], in[1], pith_bytes(n));
}

const pith_op pith_op_assign = { "assign", .shape = assign_shape, .cpu = assign_cpu,
                                 .flags = PITH_DISTINCT,
                                 .no_grad = "it is a write: differentiate the value instead" };

node *pith_assign_(const char *at, node *leaf, node *value)
{
    return pith_make2(at, &pith_op_assign, leaf, value, NULL);
}

static bool group_shape(node *n) { return pith_shape(n, PITH_F32, 0, NULL); }

const pith_op pith_op_group = { "group", .shape = group_shape,
                                .flags = PITH_NO_VALUE | PITH_DISTINCT,
                                .no_grad = "it has no value" };

node *pith_group_(const char *at, int n, node *const *nodes)
{
    if (n < 1 || !nodes[0])
        return pith_raise("%s: group: %s", at, n < 1 ? "no nodes" : "input 0 is NULL"), NULL;
    return pith_make(at, &pith_op_group, nodes[0]->graph, n, nodes, NULL);
}
