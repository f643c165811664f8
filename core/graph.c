/* graph.c: the graph, an append-only array of nodes. Creation order is the topological order, so
 * nothing here sorts, recurses or hashes. The first error stays: its node is poisoned, and what is
 * built on it is silent. */
#include "inside.h"

/* A poisoned node is a scalar that stands for what could not be made. */
static const pith_op op_poison = { "poison", .flags = PITH_NO_VALUE,
                                   .no_grad = "it stands for an error" };

#define RESERVE (1 << 16)
#define SPARE 16 /* nodes: an op with its results, and the poisoned one */

static pith_block *new_block(pith_block *next, size_t size)
{
    const size_t head = (sizeof(pith_block) + 63) / 64 * 64;
    pith_block *b = aligned_alloc(64, head + size);
    if (b) *b = (pith_block){ next, head, head + size };
    return b;
}

pith_graph *pith_graph_new(pith_store *store, uint64_t seed)
{
    pith_graph *g = calloc(1, sizeof *g);
    if (g) g->reserve = new_block(NULL, RESERVE);
    if (g) g->nodes = malloc(sizeof *g->nodes * SPARE);
    if (!g || !g->reserve || !g->nodes)
        return pith_graph_free(g), pith_raise("no memory for a graph"), NULL;
    g->capacity = SPARE;
    g->home = (pith_home){ .store = store, .prefix = "" };
    g->seed = seed;
    g->scope = "";
    return g;
}

void pith_graph_free(pith_graph *g)
{
    if (!g) return;
    for (pith_block *b = g->blocks, *next; b; b = next) next = b->next, free(b);
    free(g->reserve);
    free(g->nodes);
    free(g->params);
    free(g->states);
    free(g->watched);
    free(g->watch_names);
    free(g->scopes);
    free(g->homes);
    free(g->updates);
    free(g->row_reads);
    free(g->cotangents);
    free(g->spans);
    pith_forget_error(g);
    free(g);
}

bool pith_set_training(pith_graph *g, bool on)
{
    return pith_given(g, "pith_set_training", "graph") && (g->training = on);
}

bool pith_is_training(const pith_graph *g)
{
    return pith_given(g, "pith_is_training", "graph") && g->training;
}

int pith_graph_size(const pith_graph *g)
{
    return pith_given(g, "pith_graph_size", "graph") ? g->n : 0;
}

const char *pith_graph_error(const pith_graph *g) { return g ? g->error : "the graph is NULL"; }

/* When memory runs out the graph has failed, and what is being made at that moment is still made,
 * in memory that was put by; what comes after it is the poisoned node (pith_make). */
static void *from_block(pith_graph *g, size_t size)
{
    const size_t want = (size + 63) / 64 * 64;
    if (!g->blocks || g->blocks->size - g->blocks->used < want) {
        pith_block *b = new_block(g->blocks, want > 1 << 18 ? want : 1 << 18);
        if (!b) {
            pith_graph_fail(g, "no memory for a graph's nodes: %zu bytes were asked for", size);
            b = g->reserve;
            if (!b || b->size - b->used < want) return NULL;
            b->next = g->blocks;
            g->reserve = NULL;
        }
        g->blocks = b;
    }
    void *memory = (char *)g->blocks + g->blocks->used;
    g->blocks->used += want;
    return memset(memory, 0, want);
}

/* What is small, as most lists of inputs and attributes are, lies together, not among the nodes. */
void *pith_alloc(pith_graph *g, size_t size)
{
    enum { SMALL = 32, PAGE = 4096 };
    if (size > SMALL) return from_block(g, size);
    const size_t want = (size + 15) / 16 * 16;
    if (g->small_left < want) {
        if (!(g->small = from_block(g, PAGE))) return NULL;
        g->small_left = PAGE;
    }
    g->small_left -= want;
    return g->small + g->small_left;
}

const char *pith_keep(pith_graph *g, const char *format, ...)
{
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    const int length = vsnprintf(NULL, 0, format, list);
    char *text = pith_alloc(g, (size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(list);
    va_end(again);
    return text ? text : "";
}

/* ---- scopes and the call trail ---- */

/* Nothing is changed any more in a graph that has failed. */
static bool can_change(const pith_graph *g, const char *function)
{
    return pith_given(g, function, "graph") && !g->error;
}

static void push_scope(pith_graph *g, const char *scope)
{
    const char **scopes = pith_grown(g->scopes, g->depth, sizeof *scopes);
    if (!scopes) {
        pith_graph_fail(g, "no memory for a scope");
        return;
    }
    g->scopes = scopes;
    g->scopes[g->depth++] = g->scope;
    g->scope = scope;
}

void pith_scope(pith_graph *g, const char *format, ...)
{
    char text[512];
    if (!can_change(g, "pith_scope")) return;
    if (!format) {
        pith_graph_fail(g, "pith_scope: the format is NULL");
        return;
    }
    va_list list;
    va_start(list, format);
    const int length = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (length >= (int)sizeof text)
        pith_graph_fail(g, "a scope's name of %d characters, fewer than %zu are allowed", length,
                        sizeof text);
    else push_scope(g, pith_keep(g, "%s%s.", g->scope, text));
}

void pith_scope_root(pith_graph *g)
{
    if (can_change(g, "pith_scope_root")) push_scope(g, "");
}

void pith_unscope(pith_graph *g)
{
    if (!can_change(g, "pith_unscope")) return;
    if (g->depth) g->scope = g->scopes[--g->depth];
    else pith_graph_fail(g, "pith_unscope without a pith_scope before it");
}

void pith_enter(pith_graph *g, const char *name, const char *at)
{
    if (!can_change(g, "pith_enter")) return;
    pith_trail *t = pith_alloc(g, sizeof *t);
    if (t) *t = (pith_trail){ name, at, g->trail };
    if (t) g->trail = t;
}

node *pith_leave(pith_graph *g, node *value)
{
    if (!can_change(g, "pith_leave")) return value;
    if (g->trail) g->trail = g->trail->parent;
    else pith_graph_fail(g, "pith_leave without a pith_enter before it");
    return value;
}

/* ---- nodes ---- */

node *pith_append(pith_graph *g, const pith_op *op)
{
    if (g->n + SPARE > g->capacity) {
        const int capacity = 2 * g->capacity + 256;
        node **nodes = realloc(g->nodes, sizeof *nodes * (size_t)capacity);
        if (nodes) g->nodes = nodes, g->capacity = capacity;
        else pith_graph_fail(g, "no memory for a graph's nodes: there are %d", g->n);
    }
    node *n = pith_alloc(g, sizeof *n);
    n->op = op;
    n->graph = g;
    n->at = "?";
    n->id = g->n;
    n->scope = g->origin ? g->origin->scope : g->scope;
    n->trail = g->origin ? g->origin->trail : g->trail;
    n->origin = g->origin;
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
    n->graph->poison = n;
    return n;
}

/* What is built on NULL belongs to no graph: it is a poisoned node of one that has failed. */
node *pith_nowhere(void)
{
    static _Thread_local pith_graph graph;
    static _Thread_local node nothing;
    static char told[] = "something was built on NULL";
    graph.error = told;
    graph.home.prefix = graph.scope = "";
    graph.poison = &nothing;
    nothing = (node){ .op = &op_poison, .graph = &graph, .scope = "", .at = "?" };
    return &nothing;
}

bool pith_poisoned(const node *n) { return n->op == &op_poison; }

node *pith_failed(pith_graph *g, const node *n)
{
    if (!g) return pith_null(NULL, "pith_failed", "the graph");
    if (!g->error && n && pith_poisoned(n)) pith_keep_error(g, n->graph->error);
    if (!g->error) return NULL;
    return g->poison ? g->poison : pith_poison(pith_append(g, &op_poison));
}

/* A leaf that was written may not be read any more, neither itself nor through an alias, and what
 * wrote it only until it is written again. A group reads nothing. */
const node *pith_read_after_assign(const node *n)
{
    for (int k = 0; k < n->n_in && n->op != &pith_op_group; k++) {
        const node *root = pith_root(n->in[k]);
        const node *leaf = pith_written_leaf(root);
        const node *latest = pith_is_stored(leaf) ? pith_leaf_of(leaf)->written : NULL;
        if (latest && latest != root) return leaf;
    }
    return NULL;
}

/* Inputs before the first wrong one are kept, for the message. */
static bool check_inputs(node *n)
{
    for (int k = 0; k < n->n_in; k++) {
        const node *in = n->in[k];
        if (!in) return n->n_in = k, pith_fail(n, "input %d is NULL", k);
        if (in->graph != n->graph)
            return n->n_in = k, pith_fail(n, "input %d is a node of another graph", k);
        if (pith_is_missing(in)) return n->n_in = k, pith_fail(n, "input %d is %s", k, in->name);
        if (in->op->flags & PITH_NO_VALUE && n->op != &pith_op_group)
            return pith_fail(n, "input %d is a group of writes, which has no value", k);
    }
    return true;
}

node *pith_make(const char *at, const pith_op *op, pith_graph *g, int n_in, node *const *in,
                const void *attr)
{
    if (!g) return pith_null(at, op->name, "the graph");
    node *failed = pith_failed(g, NULL);
    for (int k = 0; k < n_in && !failed; k++) failed = pith_failed(g, in[k]);
    /* Nodes of another graph may be among the inputs: that graph has failed, too. */
    for (int k = 0; k < n_in && failed; k++)
        if (in[k]) pith_failed(in[k]->graph, failed);
    if (failed) return failed;
    node *n = pith_append(g, op);
    n->at = at ? at : g->origin ? g->origin->at : "?";
    if (op->attr_size) {
        n->attr = pith_alloc(g, op->attr_size);
        if (attr) memcpy(n->attr, attr, op->attr_size);
    }
    n->in = n_in ? pith_alloc(g, sizeof *n->in * (size_t)n_in) : NULL;
    if (n_in && !n->in) return pith_poison(n);
    n->n_in = n_in;
    for (int k = 0; k < n_in; k++) n->in[k] = in[k];
    bool good = op->attr_size || !attr || pith_fail(n, "has attributes and no attr_size");
    good = good && check_inputs(n);
    assert(pith_results(op) <= PITH_MOST_RESULTS);
    for (int k = 1; k < pith_results(op); k++) {
        node *r = pith_append(g, &pith_op_result);
        r->at = n->at;
        r->in = pith_alloc(g, sizeof *r->in);
        r->in[0] = n;
        r->n_in = 1;
        r->attr = pith_alloc(g, pith_op_result.attr_size);
        *(int *)r->attr = k;
        r->ndim = -1;
    }
    const node *gone = good ? pith_read_after_assign(n) : NULL;
    if (gone)
        good = pith_fail(n, "%s is read after it was assigned: use what the latest write returned",
                         gone->name);
    good = good && (!op->shape || op->shape(n));
    if (!good) return pith_poison(n);
    for (int k = 1; k < pith_results(op); k++) assert(g->nodes[n->id + k]->ndim >= 0);
    return n;
}

static node *make(const char *at, const pith_op *op, int n, node *const *in, const void *attr)
{
    pith_graph *g = NULL;
    for (int k = 0; k < n && !g; k++) g = in[k] ? in[k]->graph : NULL;
    return g ? pith_make(at, op, g, n, in, attr) : pith_null(at, op->name, "input 0");
}

node *pith_make1(const char *at, const pith_op *op, node *a, const void *attr)
{
    return make(at, op, 1, &a, attr);
}

node *pith_make2(const char *at, const pith_op *op, node *a, node *b, const void *attr)
{
    node *in[2] = { a, b };
    return make(at, op, 2, in, attr);
}

node *pith_make3(const char *at, const pith_op *op, node *a, node *b, node *c, const void *attr)
{
    node *in[3] = { a, b, c };
    return make(at, op, 3, in, attr);
}

node *pith_result(node *n, int k)
{
    if (!n) return pith_null(NULL, "pith_result", "the node");
    if (pith_poisoned(n)) return n;
    if (k >= 0 && k < pith_results(n->op)) return n->graph->nodes[n->id + k];
    pith_fail(n, "pith_result: result %d is asked for, there are %d", k, pith_results(n->op));
    return pith_failed(n->graph, NULL);
}

/* ---- names and watched values ---- */

node *pith_name(node *n, const char *name)
{
    if (!n) return pith_null(NULL, "pith_name", "the node");
    if (!name) return pith_refuse(n->graph, "%s: pith_name: the name is NULL", n->at);
    if (!pith_poisoned(n)) n->name = pith_keep(n->graph, "%s", name);
    return n;
}

bool pith_enlist(node ***list, int *count, node *n)
{
    node **longer = pith_grown(*list, *count, sizeof *longer);
    if (!longer) return pith_fail(n, "no memory for a graph's lists");
    *list = longer;
    (*list)[(*count)++] = n;
    return true;
}

node *pith_watch_(const char *at, node *scalar, const char *name)
{
    if (!scalar) return pith_null(at, "pith_watch", "the node");
    if (pith_poisoned(scalar)) return scalar;
    pith_graph *g = scalar->graph;
    if (!name) return pith_refuse(g, "%s: pith_watch: the name is NULL", at);
    if (pith_size(scalar) != 1 || scalar->op->flags & PITH_NO_VALUE)
        return pith_refuse(g, "%s: pith_watch: %.100s, made at %s, is not a scalar", at, name,
                           scalar->at);
    /* It is read when the step is over, and the step may write the leaf. */
    if (pith_is_stored(pith_root(scalar))) scalar = pith_copy_(at, scalar);
    const char **names = pith_grown(g->watch_names, g->n_watched, sizeof *names);
    if (!names) return pith_refuse(g, "pith_watch: no memory");
    g->watch_names = names;
    names[g->n_watched] = pith_keep(g, "%s", name);
    pith_enlist(&g->watched, &g->n_watched, scalar);
    return scalar;
}

int pith_watched(const pith_graph *g, node ***nodes, const char *const **names)
{
    *nodes = NULL;
    *names = NULL;
    if (!pith_given(g, "pith_watched", "graph")) return 0;
    *nodes = g->watched;
    *names = (const char *const *)g->watch_names;
    return g->n_watched;
}
