/* fuse.c: chains of pointwise ops become one pass: a tile at a time goes through all of them while
 * it is in cache.
 *
 * A chain runs where its last member stands. So a node may join a chain only while nobody outside
 * has used a member
 * ("open"); then no order is broken. Members share one shape; what has another shape is read from
 * memory, repeated. */
#include "inside.h"

/* ---- grouping ---- */

typedef struct {
    int parent, last, members;
    bool open;
    const node *shape;
} chain_state;
typedef struct {
    pith_plan *p;
    chain_state *chains;
    int n, closed; /* chains before `closed` stand before a write: nothing joins them any more */
    int *start, *user;
} grouping;

static int find(grouping *w, int g)
{
    while (g >= 0 && w->chains[g].parent != g)
        g = w->chains[g].parent = w->chains[w->chains[g].parent].parent;
    return g;
}

static int chain_of(grouping *w, const node *n) { return find(w, w->p->group[n->id]); }

static bool is_open(const grouping *w, int g) { return g >= w->closed && w->chains[g].open; }

const node *pith_canonical(const pith_plan *p, const node *n)
{
    return p->graph->nodes[p->canonical[n->id]];
}

const node *pith_source(const pith_plan *p,
                        const node *n) /* canonical, and what an absorbed assign wrote */
{
    const node *c = pith_canonical(p, n);
    if (c->op == &pith_op_assign && p->store_to[p->canonical[c->in[1]->id]] == c->id)
        c = pith_canonical(p, c->in[1]);
    return c;
}

static const node *memory_root(const pith_plan *p, const node *n)
{
    const node *c = pith_source(p, n);
    while (c->op->flags & PITH_ALIAS) c = pith_source(p, c->in[0]);
    return c;
}

static bool is_step(const pith_plan *p, const node *n)
{
    return p->live[n->id] && p->canonical[n->id] == n->id && !p->folded[n->id] &&
           !(n->op->flags & PITH_LEAF);
}

/* For every memory, the nodes that read it (through aliases too): start[id] .. start[id+1] in user.
 */
static void list_users(grouping *w)
{
    const pith_plan *p = w->p;
    w->start = calloc((size_t)p->n + 2, sizeof *w->start);
    for (int pass = 0; pass < 2; pass++) {
        for (int id = 0; id < p->n; id++) {
            const node *n = p->graph->nodes[id];
            if (!is_step(p, n) || n->op->flags & (PITH_ALIAS | PITH_NO_VALUE)) continue;
            for (int k = 0; k < n->n_in; k++) {
                const int root = memory_root(p, n->in[k])->id;
                if (pass) w->user[w->start[root]++] = id;
                else w->start[root + 1]++;
            }
        }
        if (pass) continue;
        for (int id = 0; id <= p->n; id++) w->start[id + 1] += w->start[id];
        w->user = malloc(sizeof *w->user * (size_t)(w->start[p->n] + 1));
    }
    /* filling moved each start to the next one's */
    memmove(w->start + 1, w->start, sizeof *w->start * (size_t)p->n);
    w->start[0] = 0;
}

static void join(grouping *w, const node *n)
{
    pith_plan *p = w->p;
    int chain = -1;
    for (int k = 0; k < n->n_in; k++) { /* what is read through an alias must be in memory */
        const int g = chain_of(w, memory_root(p, n->in[k]));
        if (g >= 0 && pith_source(p, n->in[k])->op->flags & PITH_ALIAS) w->chains[g].open = false;
    }
    for (int k = 0; k < n->n_in && p->flags & PITH_FUSE; k++) {
        const int g = chain_of(w, pith_source(p, n->in[k]));
        if (g < 0 || g == chain || !is_open(w, g) || !pith_same_shape(w->chains[g].shape, n))
            continue;
        if (w->chains[g].members + (chain < 0 ? 0 : w->chains[chain].members) >= PITH_MOST_MEMBERS)
            continue;
        if (chain < 0) {
            chain = g;
            continue;
        }
        w->chains[g].parent = chain;
        w->chains[chain].members += w->chains[g].members;
    }
    for (int k = 0; k < n->n_in; k++) {
        const int g = chain_of(w, memory_root(p, n->in[k]));
        if (g >= 0 && g != chain) w->chains[g].open = false;
    }
    if (chain < 0) {
        chain = w->n++;
        w->chains[chain] = (chain_state){ .parent = chain, .open = true, .shape = n };
    }
    w->chains[chain].members++;
    w->chains[chain].last = n->id;
    p->group[n->id] = chain;
}

/* May the chain that makes an assign's value write straight into the leaf? Only if every other
 * reader of the old value has run by then, or is a member, which reads an element before it is
 * overwritten. */
static bool absorb(grouping *w, const node *assign)
{
    pith_plan *p = w->p;
    const node *leaf = pith_canonical(p, assign->in[0]), *value = pith_canonical(p, assign->in[1]);
    const int g = chain_of(w, value);
    if (!(p->flags & PITH_FUSE) || g < 0 || !is_open(w, g) || p->store_to[value->id] >= 0)
        return false;
    for (int k = w->start[leaf->id]; k < w->start[leaf->id + 1]; k++) {
        const node *user = p->graph->nodes[w->user[k]];
        if (user == assign) continue;
        const int other = chain_of(w, user);
        if (other == g) {
            for (int i = 0; i < user->n_in; i++)
                if (memory_root(p, user->in[i]) == leaf && pith_source(p, user->in[i]) != leaf)
                    return false;
            continue;
        }
        if ((other >= 0 ? w->chains[other].last : user->id) >= w->chains[g].last) return false;
    }
    for (int k = w->start[leaf->id]; k < w->start[leaf->id + 1]; k++) {
        const int other = chain_of(w, p->graph->nodes[w->user[k]]);
        if (other >= 0 && other != g) w->chains[other].open = false;
    }
    p->store_to[value->id] = assign->id;
    return true;
}

/* Members that somebody outside their chain wants are stored; the others live in tiles only. */
static void find_stored(grouping *w)
{
    pith_plan *p = w->p;
    free(w->start);
    free(w->user);
    list_users(w); /* anew: readers of an absorbed assign now read the member */
    for (int id = 0; id < p->n; id++) {
        p->stored[id] |= p->store_to[id] >= 0;
        for (int k = w->start[id]; k < w->start[id + 1] && p->group[id] >= 0; k++)
            p->stored[id] |= p->group[w->user[k]] != p->group[id] && w->user[k] != p->store_to[id];
    }
    for (int k = 0; k < p->n_outputs; k++) p->stored[memory_root(p, p->outputs[k])->id] = true;
}

void pith_group_chains(pith_plan *p)
{
    grouping w = { .p = p, .chains = calloc((size_t)p->n + 1, sizeof *w.chains) };
    list_users(&w);
    for (int id = 0; id < p->n; id++) {
        const node *n = p->graph->nodes[id];
        if (!is_step(p, n) || n->op->flags & (PITH_ALIAS | PITH_NO_VALUE)) continue;
        if (n->op->pointwise) {
            join(&w, n);
            continue;
        }
        if (n->op == &pith_op_assign && absorb(&w, n)) continue;
        for (int k = 0; k < n->n_in; k++) {
            const int g = chain_of(&w, memory_root(p, n->in[k]));
            if (g >= 0) w.chains[g].open = false;
        }
        /* no reordering across a write */
        if (n->op == &pith_op_assign) w.closed = w.n;
    }
    for (int id = 0; id < p->n; id++) p->group[id] = find(&w, p->group[id]);
    find_stored(&w);
    free(w.chains);
    free(w.start);
    free(w.user);
}
