/* graph.c: the graph, an append-only array of nodes. Creation order is the topological order, so
 * nothing here sorts, recurses or hashes. The first error stays: its node is poisoned, and what is
 * built on it is silent. */
#include "inside.h"

/* A poisoned node is a scalar that stands for what could not be made. */
static const pith_op op_poison = { "poison", .flags = PITH_NO_VALUE,
                                   .no_grad = "it stands for an error" };

pith_graph *pith_graph_new(pith_store *store, uint64_t seed)
{
    pith_graph *g = calloc(1, sizeof *g);
    if (!g) return pith_raise("no memory for a graph"), NULL;
    g->store = store;
    g->seed = seed;
    g->prefix = g->scope = "";
    return g;
}

void pith_graph_free(pith_graph *g)
{
    if (!g) return;
    for (pith_block *b = g->blocks, *next; b; b = next) next = b->next, free(b);
    free(g->nodes);
    free(g->params);
    free(g->states);
    free(g->watched);
    free(g->watch_names);
    free(g->scopes);
    free(g->spans);
    free(g->error);
    free(g);
}

bool pith_set_training(pith_graph *g, bool on) { return g->training = on; }
bool pith_is_training(const pith_graph *g) { return g->training; }
int pith_graph_size(const pith_graph *g) { return g->n; }
const char *pith_graph_error(const pith_graph *g) { return g->error; }

void *pith_alloc(pith_graph *g, size_t size)
{
    const size_t head = (sizeof(pith_block) + 63) / 64 * 64, want = (size + 63) / 64 * 64;
    if (!g->blocks || g->blocks->size - g->blocks->used < want) {
        size_t bytes = head + (want > 1 << 18 ? want : 1 << 18);
        pith_block *b = aligned_alloc(64, bytes);
        if (!b) { /* a graph is small: without memory for one nothing can go on */
            pith_raise("no memory for a graph's nodes");
            abort();
        }
        *b = (pith_block){ g->blocks, head, bytes };
        g->blocks = b;
    }
    void *memory = (char *)g->blocks + g->blocks->used;
    g->blocks->used += want;
    return memset(memory, 0, want);
}

static const char *keep_text(pith_graph *g, const char *text)
{
    const size_t size = strlen(text) + 1;
    return memcpy(pith_alloc(g, size), text, size);
}

const char *pith_keep(pith_graph *g, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return keep_text(g, text);
}

/* ---- scopes and the call trail ---- */

void pith_scope(pith_graph *g, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    g->scopes = realloc(g->scopes, sizeof *g->scopes * (size_t)(g->depth + 1));
    g->scopes[g->depth++] = g->scope;
    g->scope = pith_keep(g, "%s%s.", g->scope, text);
}

void pith_unscope(pith_graph *g)
{
    assert(g->depth > 0);
    g->scope = g->scopes[--g->depth];
}

void pith_enter(pith_graph *g, const char *name, const char *at)
{
    pith_trail *t = pith_alloc(g, sizeof *t);
    *t = (pith_trail){ name, at, g->trail };
    g->trail = t;
}

node *pith_leave(pith_graph *g, node *value)
{
    g->trail = g->trail->parent;
    return value;
}

/* ---- nodes ---- */

node *pith_append(pith_graph *g, const pith_op *op)
{
    if (g->n == g->capacity) {
        g->capacity = g->capacity ? 2 * g->capacity : 256;
        g->nodes = realloc(g->nodes, sizeof *g->nodes * (size_t)g->capacity);
    }
    node *n = pith_alloc(g, sizeof *n);
    n->op = op;
    n->graph = g;
    n->id = g->n;
    n->scope = g->origin ? g->origin->scope : g->scope;
    n->trail = g->origin ? g->origin->trail : g->trail;
    n->backward = g->origin != NULL;
    n->region = g->origin ? 0 : g->region;
    g->nodes[g->n++] = n;
    return n;
}

node *pith_poison(node *n)
{
    n->graph->n = n->id + 1;
    n->op = &op_poison;
    n->n_in = n->ndim = 0;
    n->dtype = PITH_F32;
    return n;
}

bool pith_poisoned(const node *n) { return n->op == &op_poison; }

/* A leaf that was assigned may not be read any more, neither itself nor through an alias. */
const node *pith_read_after_assign(const node *n)
{
    for (int k = 0; k < n->n_in; k++) {
        const node *root = pith_root(n->in[k]);
        if (pith_is_stored(root) && pith_leaf_of(root)->assigned) return root;
    }
    return NULL;
}

node *pith_make(const char *at, const pith_op *op, pith_graph *g, int n_in, node *const *in,
                const pith_attr *attr)
{
    for (int k = 0; k < n_in; k++)
        if (in[k] && pith_poisoned(in[k])) return in[k];
    node *n = pith_append(g, op);
    n->at = at ? at : g->origin ? g->origin->at : "?";
    if (attr) n->attr = *attr;
    n->in = n_in ? pith_alloc(g, sizeof *n->in * (size_t)n_in) : NULL;
    n->n_in = n_in;
    for (int k = 0; k < n_in; k++) n->in[k] = in[k];
    bool good = true;
    for (int k = 0; k < n_in && good; k++) {
        if (!in[k]) n->n_in = k, good = pith_fail(n, "input %d is NULL", k);
        else if (in[k]->graph != g)
            n->n_in = k, good = pith_fail(n, "input %d is a node of another graph", k);
        else if (in[k]->op->flags & PITH_NO_VALUE && op != &pith_op_group)
            good = pith_fail(n, "input %d is a group of writes, which has no value", k);
    }
    for (int k = 1; k < pith_results(op); k++) {
        node *r = pith_append(g, &pith_op_result);
        r->at = n->at;
        r->in = pith_alloc(g, sizeof *r->in);
        r->in[0] = n;
        r->n_in = 1;
        r->attr.i[0] = k;
        r->ndim = -1;
    }
    const node *gone = good ? pith_read_after_assign(n) : NULL;
    if (gone)
        good = pith_fail(n, "%s is read after it was assigned: use what pith_assign returned",
                         gone->name);
    good = good && (!op->shape || op->shape(n));
    if (!good) return pith_poison(n);
    for (int k = 1; k < pith_results(op); k++) assert(g->nodes[n->id + k]->ndim >= 0);
    return n;
}

static node *make(const char *at, const pith_op *op, int n, node *const *in, const pith_attr *attr)
{
    pith_graph *g = NULL;
    for (int k = 0; k < n && !g; k++) g = in[k] ? in[k]->graph : NULL;
    if (!g) return pith_raise("%s: %s: input 0 is NULL", at ? at : "?", op->name), NULL;
    return pith_make(at, op, g, n, in, attr);
}

node *pith_make1(const char *at, const pith_op *op, node *a, const pith_attr *attr)
{
    return make(at, op, 1, &a, attr);
}

node *pith_make2(const char *at, const pith_op *op, node *a, node *b, const pith_attr *attr)
{
    node *in[2] = { a, b };
    return make(at, op, 2, in, attr);
}

node *pith_make3(const char *at, const pith_op *op, node *a, node *b, node *c,
                 const pith_attr *attr)
{
    node *in[3] = { a, b, c };
    return make(at, op, 3, in, attr);
}

node *pith_result(node *n, int k)
{
    if (!n || pith_poisoned(n)) return n;
    assert(k >= 0 && k < pith_results(n->op));
    return n->graph->nodes[n->id + k];
}

/* ---- errors: place, op, what is wrong, the inputs, the trail ---- */

const char *pith_shape_text(const node *n, char text[96])
{
    size_t used = (size_t)snprintf(text, 96, "(");
    for (int k = 0; k < n->ndim; k++)
        used += (size_t)snprintf(text + used, 96 - used, k ? ", %d" : "%d", n->dim[k]);
    snprintf(text + used, 96 - used, n->ndim == 1 ? ",)" : ")");
    return text;
}

bool pith_fail(node *n, const char *format, ...)
{
    pith_graph *g = n->graph;
    if (g->error) return false;
    char text[4096], shape[96];
    const int size = (int)sizeof text;
    int used = snprintf(text, sizeof text, "%s: %s: ", n->at, n->op->name);
    va_list list;
    va_start(list, format);
    used += vsnprintf(text + used, (size_t)(size - used), format, list);
    va_end(list);
    for (int k = 0; k < n->n_in && used < size - 256; k++)
        if (n->in[k]) {
            const node *in = n->in[k];
            const char *kind = in->dtype == PITH_I32 ? " i32" : in->dtype == PITH_U8 ? " u8" : "";
            used += snprintf(text + used, (size_t)(size - used), "\n    input %d %s%s from %s (%s)",
                             k, pith_shape_text(in, shape), kind, in->at,
                             in->name ? in->name : in->op->name);
        }
    for (const pith_trail *t = n->trail; t && used < size - 256; t = t->parent)
        used += snprintf(text + used, (size_t)(size - used), "\n    in %s, called at %s", t->name,
                         t->at);
    g->error = malloc(strlen(text) + 1);
    if (g->error) strcpy(g->error, text);
    pith_report(text);
    return false;
}

/* ---- helpers of shape rules ---- */

bool pith_shape(node *n, pith_dtype dtype, int ndim, const int *dim)
{
    if (ndim > PITH_MAX_DIMS)
        return pith_fail(n, "%d axes, at most %d are allowed", ndim, PITH_MAX_DIMS);
    n->dtype = dtype;
    n->ndim = ndim;
    for (int k = 0; k < ndim; k++) {
        if (dim[k] < 1)
            return pith_fail(n, "axis %d has size %d, every size is at least 1", k, dim[k]);
        n->dim[k] = dim[k];
    }
    return true;
}

bool pith_like(node *n, const node *a) { return pith_shape(n, a->dtype, a->ndim, a->dim); }

bool pith_more_result(node *n, int k, pith_dtype dtype, int ndim, const int *dim)
{
    assert(k >= 1 && k < pith_results(n->op));
    return pith_shape(n->graph->nodes[n->id + k], dtype, ndim, dim);
}

static const char *dtype_name(pith_dtype d)
{
    return d == PITH_F32 ? "f32" : d == PITH_I32 ? "i32" : "u8";
}

bool pith_want(node *n, int input, pith_dtype dtype, int ndim)
{
    const node *a = n->in[input];
    if (a->dtype != dtype)
        return pith_fail(n, "input %d is %s, expected %s", input, dtype_name(a->dtype),
                         dtype_name(dtype));
    if (ndim >= 0 && a->ndim != ndim)
        return pith_fail(n, "input %d has %d axes, expected %d", input, a->ndim, ndim);
    if (ndim < 0 && a->ndim < -ndim)
        return pith_fail(n, "input %d has %d axes, expected at least %d", input, a->ndim, -ndim);
    return true;
}

int pith_axis(node *n, int axis, int ndim)
{
    if (axis >= -ndim && axis < ndim) return axis < 0 ? axis + ndim : axis;
    pith_fail(n, "axis %d of %d axes", axis, ndim);
    return -1;
}

/* ---- reading nodes ---- */

size_t pith_size(const node *n)
{
    size_t size = 1;
    for (int k = 0; k < n->ndim; k++) size *= (size_t)n->dim[k];
    return size;
}

size_t pith_width(pith_dtype d) { return d == PITH_F32 ? sizeof(real) : d == PITH_I32 ? 4 : 1; }
size_t pith_bytes(const node *n)
{
    return n->op->flags & PITH_NO_VALUE ? 0 : pith_size(n) * pith_width(n->dtype);
}
size_t pith_columns(const node *n) { return n->ndim ? (size_t)n->dim[n->ndim - 1] : 1; }
size_t pith_rows(const node *n) { return pith_size(n) / pith_columns(n); }

bool pith_same_shape(const node *a, const node *b)
{
    return a->ndim == b->ndim && memcmp(a->dim, b->dim, sizeof(int) * (size_t)a->ndim) == 0;
}

const node *pith_root(const node *n)
{
    while (n->op->flags & PITH_ALIAS) n = n->in[0];
    return n;
}

node *pith_name(node *n, const char *name)
{
    if (n && !pith_poisoned(n)) n->name = keep_text(n->graph, name);
    return n;
}

node *pith_watch(node *scalar, const char *name)
{
    if (!scalar || pith_poisoned(scalar)) return scalar;
    pith_graph *g = scalar->graph;
    if (pith_size(scalar) != 1 || scalar->op->flags & PITH_NO_VALUE)
        return pith_fail(scalar, "watched as %s: not a scalar", name), scalar;
    g->watched = realloc(g->watched, sizeof *g->watched * (size_t)(g->n_watched + 1));
    g->watch_names = realloc(g->watch_names, sizeof *g->watch_names * (size_t)(g->n_watched + 1));
    g->watched[g->n_watched] = scalar;
    g->watch_names[g->n_watched++] = keep_text(g, name);
    return scalar;
}

int pith_watched(const pith_graph *g, node ***nodes, const char *const **names)
{
    *nodes = g->watched;
    *names = (const char *const *)g->watch_names;
    return g->n_watched;
}
