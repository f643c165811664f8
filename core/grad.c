/* grad.c: the gradient is a transform of the graph: it only appends nodes. Walking ids backwards
 * visits every user of a node before the node itself, so its cotangent is complete when its rule is
 * called. Broadcasting is undone here, once. */
#include <limits.h>
#include "inside.h"

/* What has arrived for one node. Terms are added to `sum` as they come, so that their memory need
 * not be kept. But of terms whose op knows how to add up many of its nodes in one (`join`) only the
 * first ADDED_AT_ONCE are; the others wait until the walk comes to the node. So where anything
 * waits there is a sum. */
#define ADDED_AT_ONCE 2
typedef struct term {
    node *n;
    struct term *before;
} term;
typedef struct {
    node *sum;
    term *waiting; /* the latest first; all of one op */
    int joinable;  /* terms that came of an op with `join` */
} arrivals;

/* One walk over the nodes with base <= id < end. */
typedef struct {
    pith_graph *g;
    int base, end;
    bool *active;        /* reached from what is asked for */
    arrivals *cotangent; /* by id - base */
    int recomputed;      /* the region that was recomputed last; 0: none yet */
    node **copy;         /* by id - base: the copy of a node of that region */
} walk;

static bool backpropagate(walk *w);

static bool begin_walk(walk *w)
{
    const size_t size = (size_t)(w->end - w->base);
    w->active = calloc(size, sizeof *w->active);
    w->cotangent = calloc(size, sizeof *w->cotangent);
    w->copy = calloc(size, sizeof *w->copy);
    if (w->active && w->cotangent && w->copy) return true;
    pith_graph_fail(w->g, "no memory for a gradient");
    return false;
}

static void end_walk(walk *w)
{
    free(w->active);
    free(w->cotangent);
    free(w->copy);
}

static bool is_active(const walk *w, const node *n)
{
    return n->id >= w->base && n->id < w->end && w->active[n->id - w->base];
}

static void note_cotangent(pith_graph *g, const node *of, const node *cotangent)
{
    pith_cotangent *list = pith_grown(g->cotangents, g->n_cotangents, sizeof *list);
    if (!list) {
        pith_graph_fail(g, "no memory for a gradient");
        return;
    }
    g->cotangents = list;
    g->cotangents[g->n_cotangents++] = (pith_cotangent){ of, cotangent };
}

int pith_cotangents(const pith_graph *g, const pith_cotangent **list)
{
    *list = g ? g->cotangents : NULL;
    return pith_given(g, "pith_cotangents", "graph") ? g->n_cotangents : 0;
}

/* What arrives at a copy belongs to its original: so sums are those of a graph without copies, in
 * the same order, to the bit. */
static void accumulate(walk *w, const node *n, node *dx)
{
    n = pith_original(n);
    if (!dx || !pith_is_floating(n->dtype) || !is_active(w, n) || pith_poisoned(dx)) return;
    dx = pith_reduce_like(dx, n);
    arrivals *c = &w->cotangent[n->id - w->base];
    const bool fits = dx->op->join && (!c->waiting || c->waiting->n->op == dx->op);
    if (fits) c->joinable++;
    if (fits && c->joinable > ADDED_AT_ONCE) {
        term *t = pith_alloc(w->g, sizeof *t);
        if (!t) return;
        *t = (term){ dx, c->waiting };
        c->waiting = t;
        return;
    }
    c->sum = c->sum ? ADD(c->sum, dx) : dx;
    note_cotangent(w->g, n, c->sum);
}

/* The whole cotangent of a node, NULL if nothing arrived. */
static node *collect(walk *w, node *n)
{
    arrivals *c = &w->cotangent[n->id - w->base];
    if (!c->waiting) return c->sum;
    int count = 0;
    for (const term *t = c->waiting; t; t = t->before) count++;
    node **terms = malloc(sizeof *terms * (size_t)count);
    if (!terms) return pith_refuse(w->g, "no memory for a gradient");
    int k = count;
    for (const term *t = c->waiting; t; t = t->before) terms[--k] = t->n; /* as they came */
    const node *before = w->g->origin;
    w->g->origin = n;
    node *joined = count > 1 ? terms[0]->op->join(count, terms) : terms[0];
    c->sum = ADD(c->sum, joined);
    c->waiting = NULL;
    note_cotangent(w->g, n, c->sum);
    w->g->origin = before;
    free(terms);
    return c->sum;
}

/* ---- recomputation: a region's nodes are copied when the walk first comes to it, and rules see
 * the copies ---- */

static node *copied(const walk *w, node *n)
{
    return w->recomputed && n->region == w->recomputed && w->copy[n->id - w->base]
               ? w->copy[n->id - w->base]
               : n;
}

static void recompute(walk *w, int region)
{
    pith_graph *g = w->g;
    const pith_span span = g->spans[region - 1];
    const int end = span.end < w->end ? span.end : w->end;
    w->recomputed = region;
    for (int id = span.first; id < end && !g->error; id++) {
        node *n = g->nodes[id];
        if (n->region != region || n->op->flags & (PITH_LEAF | PITH_WRITE)) continue;
        node *c = pith_append(g, n->op);
        const int new_id = c->id;
        *c = *n;
        c->id = new_id;
        c->copy = true;
        c->region = 0;
        c->origin = n;
        c->in = pith_alloc(g, sizeof *c->in * (size_t)(n->n_in + 1));
        if (!c->in) {
            pith_poison(c);
            return;
        }
        for (int k = 0; k < n->n_in; k++) c->in[k] = copied(w, n->in[k]);
        const node *gone = pith_read_after_assign(c);
        if (gone)
            pith_fail(n, "%s is assigned before its region is recomputed: take the gradient first",
                      gone->name);
        w->copy[id - w->base] = c;
    }
}

/* ---- one node ---- */

/* The gradient of a fused op from its meaning: lower it over fresh aliases of its inputs, and walk
 * through that. */
static bool through_lowering(node *n, node *const *dy, node **dx)
{
    pith_graph *g = n->graph;
    const int base = g->n, results = pith_results(n->op);
    node twin = *n, *out[PITH_MOST_RESULTS] = { NULL };
    twin.in = pith_alloc(g, sizeof *twin.in * (size_t)(n->n_in + 1));
    for (int k = 0; k < n->n_in && twin.in; k++)
        twin.in[k] = pith_reshape_dims(NULL, n->in[k], n->in[k]->ndim, n->in[k]->dim);
    if (!g->error) n->op->lower(&twin, out);
    if (g->error) return false;
    const int end = g->n;
    walk w = { .g = g, .base = base, .end = end };
    if (!begin_walk(&w)) return end_walk(&w), false;
    for (int k = 0; k < n->n_in; k++)
        w.active[twin.in[k]->id - base] = pith_is_floating(n->in[k]->dtype);
    for (int id = base; id < end; id++)
        for (int k = 0; k < g->nodes[id]->n_in; k++)
            if (is_active(&w, g->nodes[id]->in[k])) w.active[id - base] = true;
    for (int k = 0; k < results; k++)
        if (dy[k]) accumulate(&w, out[k], dy[k]);
    const bool good = backpropagate(&w);
    for (int k = 0; k < n->n_in; k++) dx[k] = collect(&w, twin.in[k]);
    end_walk(&w);
    return good;
}

static bool differentiate(walk *w, node *n)
{
    node *dy[PITH_MOST_RESULTS] = { NULL }, *small[8], **dx = small;
    const int results = pith_results(n->op);
    bool any = false;
    for (int k = 0; k < results; k++) any |= (dy[k] = collect(w, pith_result(n, k))) != NULL;
    if (!any || !n->n_in) return true;
    if (n->region && n->region != w->recomputed) recompute(w, n->region);
    if (w->g->error) return false;
    node *c = copied(w, n);
    const node *before = w->g->origin;
    w->g->origin = n;
    for (int k = 0; k < results; k++)
        if (dy[k]) dy[k] = pith_expand_like(dy[k], pith_result(c, k));
    if (n->n_in > 8) dx = pith_alloc(w->g, sizeof *dx * (size_t)n->n_in);
    if (!dx) return w->g->origin = before, false;
    memset(dx, 0, sizeof *dx * (size_t)n->n_in);
    bool good = n->op->grad && n->op->grad(c, dy, dx);
    if (!good && !w->g->error) {
        memset(dx, 0, sizeof *dx * (size_t)n->n_in);
        if (n->op->lower) good = through_lowering(c, dy, dx);
        else
            pith_fail(n, "has no gradient: %s",
                      n->op->no_grad ? n->op->no_grad : "no rule was written");
    }
    for (int k = 0; k < n->n_in && good; k++) accumulate(w, n->in[k], dx[k]);
    w->g->origin = before;
    return good && !w->g->error;
}

static bool backpropagate(walk *w)
{
    for (int id = w->end - 1; id >= w->base; id--) {
        node *n = w->g->nodes[id];
        /* A node that is asked for may depend on no other such node: there the walk ends. */
        bool through = false;
        for (int k = 0; w->active[id - w->base] && k < n->n_in; k++)
            through |= is_active(w, n->in[k]);
        if (!through || n->op->flags & (PITH_LEAF | PITH_PART)) continue;
        if (!differentiate(w, n)) return false;
    }
    return true;
}

/* ---- the two calls ---- */

static bool can_differentiate(const char *at, node *y, int n, node *const *wrt, node **out)
{
    if (!y) return pith_raise("%s: a gradient is asked of NULL", at);
    if (pith_failed(y->graph, NULL)) return false;
    if (n < 0 || (n && (!wrt || !out)))
        return pith_fail(y, "a gradient is asked for at %s by %d nodes, and an array %s", at, n,
                         wrt && out ? "of them" : "that is NULL");
    for (int k = 0; k < n; k++)
        if (pith_failed(y->graph, wrt[k])) return false;
    if (!pith_is_floating(y->dtype) || y->op->flags & PITH_NO_VALUE)
        return pith_fail(y, "a gradient is asked for at %s, but this has no floating-point value",
                         at);
    for (int k = 0; k < n; k++)
        if (!wrt[k] || wrt[k]->graph != y->graph || pith_is_missing(wrt[k]))
            return pith_fail(y, "a gradient is asked for at %s, but node %d to take it by is %s",
                             at, k,
                             !wrt[k]                   ? "NULL"
                             : pith_is_missing(wrt[k]) ? wrt[k]->name
                                                       : "of another graph");
    return true;
}

static bool is_cotangent(const char *at, node *y, const node *cotangent)
{
    if (pith_failed(y->graph, cotangent)) return false;
    if (!cotangent || cotangent->graph != y->graph)
        return pith_fail(y, "a gradient is asked for at %s with a cotangent that is %s", at,
                         cotangent ? "of another graph" : "NULL");
    if (cotangent->dtype != y->dtype || cotangent->op->flags & PITH_NO_VALUE)
        return pith_fail(y, "a gradient is asked for at %s with a cotangent that has no %s value",
                         at, pith_dtype_name(y->dtype));
    if (pith_same_shape(y, cotangent)) return true;
    char a[96], b[96];
    return pith_fail(y, "a gradient is asked for at %s, but the cotangent %s has not the shape %s",
                     at, pith_shape_text(cotangent, a), pith_shape_text(y, b));
}

/* What depends on a node asked for is active, and a copy whose original is. */
static void mark_active(walk *w, int n, node *const *wrt)
{
    for (int k = 0; k < n; k++) w->active[wrt[k]->id] = true;
    for (int id = 0; id < w->end; id++) {
        const node *m = w->g->nodes[id];
        w->active[id] |= w->active[pith_original(m)->id];
        for (int k = 0; k < m->n_in && !w->active[id]; k++) w->active[id] = w->active[m->in[k]->id];
    }
}

static bool walk_back(const char *at, node *y, node *cotangent, int n, node *const *wrt, node **out)
{
    pith_graph *g = y->graph;
    walk w = { .g = g, .base = 0, .end = g->n };
    if (!begin_walk(&w)) return end_walk(&w), false;
    mark_active(&w, n, wrt);
    const node *before = g->origin;
    const int region = g->region;
    g->region = 0;
    g->origin = y;
    if (!cotangent) cotangent = pith_expand_like(pith_const_scalar(at, g, y->dtype, 1), y);
    accumulate(&w, y, cotangent);
    const bool good = backpropagate(&w);
    for (int k = 0; k < n; k++) {
        out[k] = collect(&w, wrt[k]);
        if (!out[k]) out[k] = pith_expand_like(pith_const_scalar(at, g, y->dtype, 0), wrt[k]);
    }
    g->origin = before;
    g->region = region;
    end_walk(&w);
    return good && !g->error;
}

/* Fills `out` also after an error, so that what is built on such a gradient is as silent as it. */
static bool finish(bool good, const node *y, int n, node **out)
{
    for (int k = 0; out && k < n && !good; k++)
        out[k] = y ? pith_failed(y->graph, NULL) : pith_nowhere();
    return good;
}

bool pith_vjp_(const char *at, node *y, node *cotangent, int n, node *const *wrt, node **out)
{
    const bool good = can_differentiate(at, y, n, wrt, out) && is_cotangent(at, y, cotangent) &&
                      walk_back(at, y, cotangent, n, wrt, out);
    return finish(good, y, n, out);
}

bool pith_grad_(const char *at, node *y, int n, node *const *wrt, node **out)
{
    char text[96];
    bool good = can_differentiate(at, y, n, wrt, out);
    if (good && pith_size(y) != 1)
        good = pith_fail(y,
                         "a gradient is asked for at %s, but %s is not a scalar: sum it, or use "
                         "pith_vjp",
                         at, pith_shape_text(y, text));
    return finish(good && walk_back(at, y, NULL, n, wrt, out), y, n, out);
}

node *pith_recompute_(const char *at, pith_body *fn, node *x, void *context)
{
    if (!x) return pith_null(at, "recompute", "input 0");
    if (pith_poisoned(x)) return x;
    pith_graph *g = x->graph;
    if (!fn) return pith_refuse(g, "%s: recompute: the function is NULL", at);
    if (g->region) return fn(x, context); /* the outer region already recomputes it */
    const int region = g->regions++;
    pith_span *spans = pith_grown(g->spans, region, sizeof *spans);
    if (!spans) return pith_refuse(g, "%s: recompute: no memory", at);
    g->spans = spans;
    g->spans[region] = (pith_span){ g->n, INT_MAX };
    g->region = region + 1;
    node *y = fn(x, context);
    g->region = 0;
    g->spans[region].end = g->n;
    return y;
}

/* ---- what a loss reaches ---- */

bool *pith_reached(const node *y, int first)
{
    bool *reached = calloc((size_t)(y->id - first) + 1, sizeof *reached);
    node *const *all = y->graph->nodes;
    if (reached) reached[y->id - first] = true;
    for (int id = y->id; reached && id >= first; id--)
        for (int k = 0; reached[id - first] && k < pith_reads(all[id]); k++)
            if (all[id]->in[k]->id >= first) reached[all[id]->in[k]->id - first] = true;
    return reached;
}

void pith_depends_on(const node *y, int n, node *const *nodes, bool *reached)
{
    for (int k = 0; k < n; k++) reached[k] = false;
    if (!pith_given(y, "pith_depends_on", "node") || pith_poisoned(y)) return;
    if (n > 0 && !pith_given(nodes, "pith_depends_on", "array of nodes")) return;
    bool *mark = pith_reached(y, 0);
    if (!mark) {
        pith_raise("pith_depends_on: no memory");
        return;
    }
    for (int k = 0; k < n; k++)
        reached[k] = nodes[k] && nodes[k]->graph == y->graph && nodes[k]->id <= y->id &&
                     mark[nodes[k]->id];
    free(mark);
}
