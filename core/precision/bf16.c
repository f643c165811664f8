/* bf16.c: a graph's products in bf16, as another graph: made when a plan is made, from what the
 * outputs need, with the casts as nodes. All that is known about precision stands here; no model,
 * loss or optimizer knows of it.
 *
 * A product (.flops) takes its factors rounded to bf16 (.bf16.in) and sums up in f32. What it gives
 * is bf16, and so is its bias (.as_out), where a further product of the same pass is made of it.
 * Logits are not, nor are gradients of weights: those are f32 as they were summed.
 *
 * A pointwise op computes in f32. Its result is bf16 where all it was made of is, numbers and rows
 * (a gain of each channel) aside: so a residual stream that is f32 stays so.
 *
 * An op that moves elements (PITH_MOVES) gives what it takes. An f32 that is moved only to be
 * rounded is rounded before it is moved.
 *
 * A norm of channels (.bf16.in without .flops) computes in f32, and takes and gives bf16 if it is
 * given bf16. All others, norms of rows, softmax, losses, sums and optimizers, are f32.
 *
 * Leaves and outputs are as they were. A kernel that does not know bf16 (.cpu_bf16, .cuda_bf16)
 * gets the rounded numbers as f32, and what it gives is rounded: the values are those of one that
 * does, but for the order of sums. */
#include <stdlib.h>
#include "inside.h"

typedef struct {
    const pith_graph *from;
    pith_graph *to;
    node **stands;   /* by id in `from`: the node of `to` that stands for it */
    bool *wanted;    /* by id in `from`: an output needs it */
    bool *goes_on;   /* a further product of the same pass is made of it */
    bool written;    /* something was written by now: what lies in leaves may be new */
    const node *now; /* of `from`: the node being converted; casts name its line of source */
} rounding;

/* ---- what is needed, and how far it goes ---- */

static bool is_product(const node *n) { return n->op->flops && n->op->bf16.in; }

/* What the gradient made is the backward pass. How far a value goes is asked of the whole graph, so
 * that all of its plans round alike. */
static void look_ahead(rounding *r, int n, node *const *outputs)
{
    for (int k = 0; k < n; k++) r->wanted[outputs[k]->id] = true;
    for (int id = r->from->n - 1; id >= 0; id--) {
        const node *m = r->from->nodes[id];
        for (int k = 0; k < pith_reads(m); k++) {
            const node *x = m->in[k];
            r->wanted[x->id] |= r->wanted[id];
            if (x->origin || !m->origin) r->goes_on[x->id] |= is_product(m) || r->goes_on[id];
        }
    }
}

/* ---- nodes of the other graph ---- */

/* n once more, of these inputs, with its further results behind it; NULL without memory. */
static node *again(rounding *r, const node *n, node **in)
{
    node *first = NULL;
    for (int k = 0; k < pith_results(n->op); k++) {
        const node *old = n->graph->nodes[n->id + k];
        node *c = pith_append(r->to, old->op), **own = pith_alloc(r->to, sizeof *own);
        if (r->to->error) return NULL;
        const int id = c->id;
        *c = *old;
        c->graph = r->to;
        c->id = id;
        c->in = k ? own : in;
        if (k) *own = first;
        else first = c, c->n_in = pith_reads(n);
        if (n->graph == r->from) r->stands[old->id] = c;
    }
    if (n->writes && n->graph == r->from) first->writes = r->stands[n->writes->id];
    return first;
}

/* A cast of x, at the place of what is looked at. */
static node *cast(rounding *r, const pith_op *op, node *x)
{
    node *c = pith_append(r->to, op), **in = pith_alloc(r->to, sizeof *in);
    if (r->to->error) return x;
    c->dtype = op == &pith_op_narrow ? PITH_BF16 : PITH_F32;
    c->ndim = x->ndim;
    memcpy(c->dim, x->dim, sizeof c->dim);
    c->n_in = 1;
    c->in = in;
    *in = x;
    c->at = r->now->at;
    c->scope = r->now->scope;
    c->trail = r->now->trail;
    c->origin = r->now->origin;
    return c;
}

static node *widened(rounding *r, node *x)
{
    return x->dtype == PITH_BF16 ? cast(r, &pith_op_widen, x) : x;
}

/* May x be rounded before it is moved? Not where that is more work; and not where x has kept what
 * lay in a leaf that may hold something else by now. */
static bool moves_later(const rounding *r, const node *x)
{
    if (!(x->op->flags & (PITH_MOVES | PITH_ALIAS)) || r->written) return false;
    for (int k = 0; k < x->n_in; k++)
        if (x->in[k]->dtype != PITH_F32 || pith_size(x->in[k]) > pith_size(x)) return false;
    return true;
}

/* Equal roundings become one when the plan is made. */
static node *narrowed(rounding *r, node *x)
{
    if (x->dtype != PITH_F32) return x;
    if (x->op == &pith_op_widen) return x->in[0];
    if (!moves_later(r, x)) return cast(r, &pith_op_narrow, x);
    node **in = pith_alloc(r->to, sizeof *in * (size_t)x->n_in);
    for (int k = 0; in && k < x->n_in; k++) in[k] = narrowed(r, x->in[k]);
    node *c = in ? again(r, x, in) : NULL;
    if (!c) return x;
    c->dtype = PITH_BF16;
    return c;
}

/* ---- one node ---- */

/* A number or a row of them, as the gain of each channel, also where it is repeated. */
static bool is_row(const node *n)
{
    int axes = 0;
    while (n->op == &pith_op_expand) n = n->in[0];
    for (int k = 0; k < n->ndim; k++) axes += n->dim[k] > 1;
    return axes <= 1;
}

/* Is every floating-point input bf16, but for numbers and rows, and is there one? */
static bool all_rounded(const rounding *r, const node *n)
{
    bool any = false;
    for (int k = 0; k < pith_reads(n); k++) {
        const node *x = r->stands[n->in[k]->id];
        if (x->dtype == PITH_F32 && !is_row(x)) return false;
        any |= x->dtype == PITH_BF16;
    }
    return any;
}

static bool keep_widened(rounding *r, const node *n, node **in)
{
    for (int k = 0; k < pith_reads(n); k++) in[k] = widened(r, in[k]);
    return again(r, n, in);
}

/* Computed in f32; the result is rounded. */
static bool pointwise(rounding *r, const node *n, node **in)
{
    const bool rounded = n->dtype == PITH_F32 && all_rounded(r, n);
    if (!keep_widened(r, n, in)) return false;
    if (rounded) r->stands[n->id] = narrowed(r, r->stands[n->id]);
    return true;
}

static bool moved(rounding *r, const node *n, node **in)
{
    if (!all_rounded(r, n)) return keep_widened(r, n, in);
    for (int k = 0; k < pith_reads(n); k++) in[k] = narrowed(r, in[k]);
    node *c = again(r, n, in);
    if (c) c->dtype = PITH_BF16;
    return c;
}

static bool product(rounding *r, const node *n, node **in)
{
    const pith_op *op = n->op;
    const bool narrow = r->goes_on[pith_original(n)->id],
               known = pith_own_store(r->from)->on->stream
                           ? op->cuda_bf16 >= (narrow ? PITH_ALIKE : PITH_MIXED)
                           : op->cpu_bf16 && op->cpu_bf16();
    const unsigned rounded = op->bf16.in | (narrow ? op->bf16.as_out : 0);
    for (int k = 0; k < n->n_in; k++) {
        if (rounded >> k & 1) in[k] = narrowed(r, in[k]);
        if (!known || !(rounded >> k & 1)) in[k] = widened(r, in[k]);
    }
    if (!again(r, n, in)) return false;
    for (int k = 0; narrow && k < pith_results(op); k++) {
        node **result = &r->stands[n->id + k];
        if (!(op->bf16.out >> k & 1)) continue;
        if (known) (*result)->dtype = PITH_BF16;
        else *result = narrowed(r, *result);
    }
    return true;
}

static bool round_node(rounding *r, const node *n)
{
    node **in = pith_alloc(r->to, sizeof *in * (size_t)(n->n_in + 1));
    if (!in) return false;
    for (int k = 0; k < pith_reads(n); k++) in[k] = r->stands[n->in[k]->id];
    r->now = n;
    r->written |= n->op->flags & PITH_WRITE;
    if (n->op->bf16.in && (n->op->flops || in[0]->dtype == PITH_BF16)) return product(r, n, in);
    if (n->op->flags & (PITH_MOVES | PITH_ALIAS)) return moved(r, n, in);
    return n->op->pointwise ? pointwise(r, n, in) : keep_widened(r, n, in);
}

static bool make(rounding *r, int n, node *const *outputs, pith_rounded *out)
{
    if (!r->wanted || !r->goes_on || !r->stands || !out->outputs) return false;
    look_ahead(r, n, outputs);
    for (int id = 0; id < r->from->n; id++) {
        const node *m = r->from->nodes[id];
        if (r->wanted[id] && !(m->op->flags & PITH_PART) && !round_node(r, m)) return false;
    }
    for (int k = 0; k < n; k++) {
        r->now = outputs[k];
        node **stands = &r->stands[outputs[k]->id];
        out->outputs[k] = *stands = widened(r, *stands);
    }
    if (r->from->step) r->to->step = r->stands[r->from->step->id];
    return !r->to->error;
}

bool pith_round_graph(pith_graph *g, int n, node *const *outputs, pith_rounded *out)
{
    pith_graph *to = pith_graph_new(pith_own_store(g), g->seed);
    if (!to) return false;
    const size_t size = (size_t)g->n;
    rounding r = { g,
                   to,
                   pith_alloc(to, size * sizeof *r.stands),
                   calloc(size, sizeof *r.wanted),
                   calloc(size, sizeof *r.goes_on),
                   false,
                   NULL };
    *out = (pith_rounded){ g, to, r.stands, pith_alloc(to, (size_t)n * sizeof *out->outputs),
                           g->n };
    const bool good = make(&r, n, outputs, out);
    free(r.wanted);
    free(r.goes_on);
    if (good) return true;
    if (!to->error) pith_raise("no memory for a plan in bf16");
    pith_graph_free(to);
    *out = (pith_rounded){ 0 };
    return false;
}
