/* plan.c: from nodes to steps. What no output needs is dropped, equal nodes are merged, constants
 * are folded, pointwise ops are gathered into chains (fuse.c), and everything gets a place in
 * memory (layout.c). Order of execution is order of creation. */
#include "inside.h"

/* ---- liveness ---- */

/* Marks the nodes that the outputs need. Called before merging, when every node stands for itself,
 * and after it. */
static void mark(pith_plan *p)
{
    memset(p->live, 0, sizeof *p->live * (size_t)p->n);
    for (int k = 0; k < p->n_outputs; k++) p->live[p->canonical[p->outputs[k]->id]] = true;
    for (int id = p->n - 1; id >= 0; id--) {
        const node *n = p->graph->nodes[id];
        if (!p->live[id] || p->folded[id]) continue;
        for (int k = 0; k < pith_reads(n); k++) p->live[p->canonical[n->in[k]->id]] = true;
    }
}

/* ---- merging equal nodes ---- */

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

/* How many bytes behind n->attr say what n is; 0: the pointer itself says it, as that of a leaf. */
static size_t attribute_bytes(const node *n)
{
    if (n->op == &pith_op_const && pith_bytes(n) <= 4096) return pith_bytes(n);
    return n->op->attr_size;
}

static uint64_t key(const pith_plan *p, const node *n)
{
    uint64_t h = mix((uint64_t)(uintptr_t)n->op, (uint64_t)n->copy << 8 | (uint64_t)n->ndim);
    for (int k = 0; k < n->ndim; k++) h = mix(h, (uint64_t)n->dim[k]);
    for (int k = 0; k < n->n_in; k++) h = mix(h, (uint64_t)p->canonical[n->in[k]->id]);
    const size_t size = attribute_bytes(n);
    if (!size) return mix(h, (uint64_t)(uintptr_t)n->attr);
    for (size_t k = 0; k < size; k++) h = mix(h, ((const unsigned char *)n->attr)[k]);
    return h;
}

static bool equal(const pith_plan *p, const node *a, const node *b)
{
    if (a->op != b->op || a->copy != b->copy || a->n_in != b->n_in || a->dtype != b->dtype ||
        !pith_same_shape(a, b))
        return false;
    for (int k = 0; k < a->n_in; k++)
        if (p->canonical[a->in[k]->id] != p->canonical[b->in[k]->id]) return false;
    const size_t size = attribute_bytes(a);
    return a->attr == b->attr || (size && memcmp(a->attr, b->attr, size) == 0);
}

/* The memory of a value known at plan time, NULL if it is not. */
static const void *known(const pith_plan *p, const node *n)
{
    const node *c = pith_canonical(p, n);
    size_t offset = 0;
    for (; c->op->flags & PITH_ALIAS; c = pith_canonical(p, c->in[0]))
        offset += pith_alias_offset(c);
    const char *data = p->folded[c->id]          ? p->folded[c->id]
                       : c->op == &pith_op_const ? c->attr
                                                 : NULL;
    return data ? data + offset : NULL;
}

/* Computes n now if it comes from what is known, and is small or hardly larger than that. An op
 * that prepares something is worth a step of its own. */
static void fold(pith_plan *p, const node *n)
{
    const void *in[8];
    size_t size = 1024;
    if (n->op->flags & ~(unsigned)(PITH_INPLACE | PITH_GEMM) || pith_results(n->op) > 1 ||
        n->n_in < 1 || n->n_in > 8 || n->op->prepare || !(n->op->cpu || n->op->pointwise))
        return;
    if (p->like) {
        p->folded[n->id] = p->like->folded[n->id];
        return;
    }
    for (int k = 0; k < n->n_in; k++) {
        if (!(in[k] = known(p, n->in[k]))) return;
        size += pith_size(n->in[k]);
    }
    if (pith_size(n) > size) return;
    void *out = pith_aligned(pith_bytes(n));
    p->folded[n->id] = out; /* the plan's from now on, whatever happens */
    p->failed = !out || !pith_evaluate(n, in, out);
    p->stats.folded++;
}

static int entry_id(uint64_t entry) { return (int)(uint32_t)entry - 1; }

static bool is_entry(const pith_plan *p, uint64_t entry, uint64_t key, const node *n)
{
    return (entry ^ key) >> 32 == 0 && equal(p, n, p->graph->nodes[entry_id(entry)]);
}

static void merge(pith_plan *p)
{
    size_t size = 64;
    if (!(p->flags & PITH_MERGE)) return;
    while (size < 2 * (size_t)p->n) size *= 2;
    /* id + 1 below, the upper half of the key above: other nodes are told apart without a look */
    uint64_t *table = pith_room_get(size, sizeof *table);
    for (int id = 0; id < p->n && !p->failed; id++) {
        const node *n = p->graph->nodes[id];
        if (!p->live[id]) continue;
        if (n->op == &pith_op_result) {
            p->canonical[id] = p->canonical[n->in[0]->id] + pith_result_index(n);
            continue;
        }
        if (n->op->flags & PITH_DISTINCT) continue;
        if (n->op->flags & PITH_ALIAS && pith_same_shape(n, n->in[0])) { /* all of it: detach */
            p->canonical[id] = p->canonical[n->in[0]->id];
            continue;
        }
        const uint64_t h = key(p, n);
        size_t k = h & (size - 1);
        while (table[k] && !is_entry(p, table[k], h, n)) k = (k + 1) & (size - 1);
        if (table[k]) {
            p->canonical[id] = entry_id(table[k]);
            p->stats.merged++;
            continue;
        }
        table[k] = h >> 32 << 32 | (uint64_t)(id + 1);
        fold(p, n);
    }
    pith_room_return(table);
}

/* ---- steps ---- */

static bool plan_op(const pith_plan *p, const node *n, pith_planned *s)
{
    s->n = n;
    s->n_in = n->n_in;
    s->n_out = pith_results(n->op);
    s->in = pith_room_get((size_t)(s->n_in + s->n_out), sizeof *s->in);
    s->out = s->in + s->n_in;
    for (int k = 0; k < s->n_in; k++) s->in[k] = p->canonical[n->in[k]->id];
    for (int k = 0; k < s->n_out; k++) s->out[k] = n->id + k;
    const bool remote = p->store->on->stream;
    size_t (*scratch)(const node *) = remote ? n->op->cuda_scratch : n->op->scratch;
    s->scratch = scratch ? scratch(n) : 0;
    if (s->scratch == SIZE_MAX) return false;
    if (remote || !n->op->prepare) return true;
    const int id = p->like ? p->like->canonical[n->id] : n->id;
    s->prepared = &p->prepared[id];
    const bool good = p->like || n->op->prepare(n, &p->prepared[id]);
    s->scratch += s->prepared->scratch;
    return good;
}

/* The members of all chains in p->members, chain by chain, in order of creation. Returns where each
 * chain's begin: first[c] to before first[c + 1]; the caller frees it. */
static int *list_members(pith_plan *p)
{
    int *first = pith_room_get((size_t)p->n + 2, sizeof *first);
    for (int id = 0; id < p->n; id++)
        if (p->chain[id] >= 0) first[p->chain[id] + 1]++;
    for (int c = 0; c < p->n; c++) first[c + 1] += first[c];
    p->n_members = first[p->n];
    p->members = pith_room_get((size_t)(p->n_members + 1), sizeof *p->members);
    int *next = pith_room_get((size_t)(p->n + 1), sizeof *next);
    memcpy(next, first, sizeof *next * (size_t)(p->n + 1));
    for (int id = 0; id < p->n; id++)
        if (p->chain[id] >= 0) p->members[next[p->chain[id]]++] = id;
    pith_room_return(next);
    return first;
}

/* A chain runs where its last member stands; every other op where it stands itself, but for an
 * assign that a chain does, whose source is the chain's member. */
static bool make_steps(pith_plan *p)
{
    int *first = list_members(p);
    p->steps = pith_room_get((size_t)p->n + 1, sizeof *p->steps);
    bool good = true;
    for (int id = 0; id < p->n && good; id++) {
        const node *n = p->graph->nodes[id];
        const int chain = p->chain[id];
        pith_planned *s = &p->steps[p->n_steps];
        if (chain >= 0 && p->members[first[chain + 1] - 1] == id) {
            s->n = n;
            s->first_member = first[chain];
            s->n_members = first[chain + 1] - first[chain];
            if (s->n_members > 1) p->stats.fused += s->n_members;
            s->chain = pith_chain_new(p, s);
            p->n_steps++;
        } else if (chain < 0 && pith_runs(p, n) && pith_source(p, n) == n) {
            good = pith_kernel_of(p, n->op)
                       ? plan_op(p, n, s)
                       : pith_raise("%s: %s: has no kernel%s", n->at, n->op->name,
                                    p->store->on->stream
                                        ? " for CUDA; a plan whose store is on the CPU runs it"
                                        : "");
            p->n_steps++;
        }
    }
    pith_room_return(first);
    return good;
}

static void count_work(pith_plan *p)
{
    p->stats.steps = p->n_steps;
    for (int id = 0; id < p->n; id++) p->stats.nodes += p->live[id];
    for (int k = 0; k < p->n_steps; k++) {
        const pith_planned *s = &p->steps[k];
        if (!s->chain && s->n->op->flops) p->stats.gemm_flops += s->n->op->flops(s->n);
        if (!s->chain && s->n->op->moved) {
            p->stats.moved += s->n->op->moved(s->n);
            continue;
        }
        for (int i = 0; i < s->n_in; i++) p->stats.moved += pith_bytes(p->graph->nodes[s->in[i]]);
        for (int i = 0; i < s->n_out; i++) p->stats.moved += pith_bytes(p->graph->nodes[s->out[i]]);
    }
    p->stats.arena = p->arena;
    int peak = 0;
    p->stats.bound = pith_arena_bound(p->blocks, p->n_blocks, &peak);
}

static bool make(void *plan)
{
    pith_plan *p = plan;
    const size_t size = (size_t)p->n + 1, bytes = sizeof *p->outputs * (size_t)p->n_outputs;
    p->outputs = memcpy(pith_room_get(1, bytes), p->outputs, bytes);
    p->prepared = p->like ? p->like->prepared : pith_room_get(size, sizeof *p->prepared);
    p->canonical = pith_room_get(size, sizeof *p->canonical);
    p->live = pith_room_get(size, sizeof *p->live);
    p->folded = pith_room_get(size, sizeof *p->folded);
    p->chain = pith_room_get(size, sizeof *p->chain);
    p->store_to = pith_room_get(size, sizeof *p->store_to);
    p->in_memory = pith_room_get(size, sizeof *p->in_memory);
    p->constants = pith_room_get(size, sizeof *p->constants);
    memset(p->chain, -1, sizeof *p->chain * size);
    memset(p->store_to, -1, sizeof *p->store_to * size);
    for (int id = 0; id < p->n; id++) p->canonical[id] = id;
    mark(p);
    merge(p);
    if (p->failed) return false;
    mark(p);
    if (pith_has_chains(p)) pith_find_chains(p);
    if (!make_steps(p)) return false;
    pith_lay_out(p);
    if (!pith_compile_chains(p)) return false;
    count_work(p);
    return !p->failed;
}

/* `like`: the plan that this one is a shadow of, which has prepared what both need; else NULL. */
static pith_plan *new_plan(pith_graph *g, int n, node *const *outputs, int flags,
                           const pith_plan *like)
{
    pith_plan *p = calloc(1, sizeof *p);
    if (!p) return pith_raise("no memory for a plan"), NULL;
    *p = (pith_plan){ .graph = g,
                      .store = pith_own_store(g),
                      .flags = flags,
                      .n = g->n,
                      .n_outputs = n,
                      .outputs = (node **)(uintptr_t)outputs, /* copied by make */
                      .like = like };
    if (pith_room_run(&p->room, make, p)) return p;
    pith_plan_free(p);
    return NULL;
}

/* An output that lies in a leaf is read when the run is over: if the plan writes that leaf after
 * it, the new value would be taken for the old one. */
static bool reads_stay(const pith_plan *p)
{
    for (int id = 0; id < p->n; id++) {
        const node *write = p->graph->nodes[id];
        if (!p->live[id] || !(write->op->flags & PITH_WRITE)) continue;
        const node *leaf = pith_written_leaf(write);
        for (int k = 0; k < p->n_outputs; k++) {
            const node *root = pith_root(p->outputs[k]);
            if (pith_written_leaf(root) == leaf && root->id < write->id)
                return pith_raise("%s: output %d of the plan lies in %s, which the plan writes at "
                                  "%s: give pith_copy of it",
                                  p->outputs[k]->at, k, leaf->name, write->at);
        }
    }
    return true;
}

/* A scope still open has most likely given its name to leaves that were not meant to have it. A
 * store still in use is no mistake: a whole graph may be of averages. */
static bool is_balanced(const pith_graph *g)
{
    if (g->depth)
        return pith_raise("pith_plan_new: the scope %s is still open: pith_unscope is missing",
                          g->scope);
    return !g->trail || pith_raise("pith_plan_new: pith_leave is missing after the pith_enter of "
                                   "%s, at %s",
                                   g->trail->name, g->trail->at);
}

pith_plan *pith_plan_new(pith_graph *g, int n, node *const *outputs,
                         const pith_plan_options *options)
{
    const pith_plan_options o = options ? *options : (pith_plan_options){ 0 };
    if (!pith_given(g, "pith_plan_new", "graph") || g->error) return NULL;
    if (!is_balanced(g)) return NULL;
    if (n < 1 || !outputs)
        return pith_raise("pith_plan_new: a plan wants at least one output"), NULL;
    for (int k = 0; k < n; k++) {
        if (outputs[k] && pith_poisoned(outputs[k])) return NULL;
        if (!outputs[k] || outputs[k]->graph != g)
            return pith_raise("pith_plan_new: output %d is not a node of the graph", k), NULL;
        if (pith_is_missing(outputs[k]))
            return pith_raise("pith_plan_new: output %d is %s", k, outputs[k]->name), NULL;
    }
    if (!pith_own_store(g))
        return pith_raise(
                   "pith_plan_new: a plan wants a graph with a store, which holds its memory"),
               NULL;
    const pith_backend *on = pith_own_store(g)->on;
    if (on->stream && (!on->stream() || (o.bf16 && !on->takes_bf16()))) return NULL;
    pith_rounded rounded = { .graph = NULL };
    if (o.bf16 && !pith_round_graph(g, n, outputs, &rounded)) return NULL;
    pith_plan *p = new_plan(rounded.graph ? rounded.graph : g, n,
                            rounded.graph ? rounded.outputs : outputs,
                            o.unplanned ? 0 : PITH_EVERYTHING, NULL);
    if (!p) return pith_graph_free(rounded.graph), NULL;
    p->rounded = rounded;
    if (!reads_stay(p)) return pith_plan_free(p), NULL;
    if (p->arena > p->store->arena_size) { /* where the values of other plans lie, too */
        const bool taken = pith_store_take(p->store),
                   good = taken && pith_store_reserve(p->store, p->arena);
        if (taken) pith_store_let_go(p->store);
        if (!good) return pith_plan_free(p), NULL;
    }
    p->check_finite = o.check_finite;
    return p;
}

pith_plan_stats pith_plan_statistics(const pith_plan *p)
{
    if (!pith_given(p, "pith_plan_statistics", "plan")) return (pith_plan_stats){ 0 };
    static const int less[3] = { PITH_EVERYTHING & ~PITH_REUSE, PITH_EVERYTHING & ~PITH_FUSE, 0 };
    pith_plan_stats s = p->stats;
    size_t *figure[3] = { &s.without_inplace, &s.without_fusion, &s.separate };
    for (int k = 0; k < 3; k++) {
        pith_plan *q = new_plan(p->graph, p->n_outputs, p->outputs, less[k], p);
        if (!q) continue;
        *figure[k] = less[k] ? q->stats.bound : q->arena;
        pith_plan_free(q);
    }
    return s;
}

void pith_plan_free(pith_plan *p)
{
    if (!p) return;
    pith_forget_remote(p);
    for (int id = 0; id < p->n && p->folded && !p->like; id++) {
        const pith_op *op = p->graph->nodes[id]->op;
        if (p->prepared[id].object && op->release) op->release(p->prepared[id].object);
        free(p->folded[id]);
    }
    pith_room_empty(&p->room);
    pith_graph_free(p->rounded.graph);
    free(p);
}
