/* fuse.c: chains of pointwise ops become one pass: a tile at a time goes through all of them while
 * it is in cache.
 *
 * A chain runs where its last member stands. So a node may join a chain only while it is open:
 * while nobody outside has used a member. Then no order is broken. Members share one shape, but
 * need not share a dtype; what has another shape is read from memory, repeated. */
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

static int find(grouping *w, int chain)
{
    while (chain >= 0 && w->chains[chain].parent != chain)
        chain = w->chains[chain].parent = w->chains[w->chains[chain].parent].parent;
    return chain;
}

static int chain_of(grouping *w, const node *n) { return find(w, w->p->chain[n->id]); }

static bool is_open(const grouping *w, int chain)
{
    return chain >= w->closed && w->chains[chain].open;
}

const node *pith_canonical(const pith_plan *p, const node *n)
{
    return p->graph->nodes[p->canonical[n->id]];
}

const node *pith_source(const pith_plan *p, const node *n)
{
    const node *c = pith_canonical(p, n);
    if (c->op == &pith_op_assign && p->store_to[p->canonical[c->in[1]->id]] == c->id)
        c = pith_canonical(p, c->in[1]);
    return c;
}

const node *pith_memory_root(const pith_plan *p, const node *n)
{
    const node *c = pith_source(p, n);
    while (c->op->flags & PITH_ALIAS) c = pith_source(p, c->in[0]);
    return c;
}

bool pith_runs(const pith_plan *p, const node *n)
{
    const unsigned quiet = PITH_LEAF | PITH_PART | PITH_ALIAS | PITH_NO_VALUE;
    return p->live[n->id] && p->canonical[n->id] == n->id && !p->folded[n->id] &&
           !(n->op->flags & quiet);
}

/* For every memory, the nodes that read it (through aliases too): start[id] .. start[id+1] in user.
 */
static void list_users(grouping *w)
{
    const pith_plan *p = w->p;
    size_t n_reads = 0;
    for (int id = 0; id < p->n; id++) n_reads += (size_t)p->graph->nodes[id]->n_in;
    struct {
        int root, user;
    } *reads = pith_room_get(n_reads + 1, sizeof *reads);
    w->start = pith_room_get((size_t)p->n + 2, sizeof *w->start);
    w->user = pith_room_get(n_reads + 1, sizeof *w->user);
    n_reads = 0;
    for (int id = 0; id < p->n; id++) {
        const node *n = p->graph->nodes[id];
        if (!pith_runs(p, n)) continue;
        for (int k = 0; k < n->n_in; k++) {
            const int root = pith_memory_root(p, n->in[k])->id;
            reads[n_reads].root = root;
            reads[n_reads++].user = id;
            w->start[root + 1]++;
        }
    }
    for (int id = 0; id <= p->n; id++) w->start[id + 1] += w->start[id];
    for (size_t k = 0; k < n_reads; k++) w->user[w->start[reads[k].root]++] = reads[k].user;
    pith_room_return(reads);
    /* filling moved each start to the next one's */
    memmove(w->start + 1, w->start, sizeof *w->start * (size_t)p->n);
    w->start[0] = 0;
}

/* ---- a pointwise node finds its chain ---- */

static void close_chain(grouping *w, int chain)
{
    if (chain >= 0) w->chains[chain].open = false;
}

/* What is read through an alias must be in memory, so the chain that makes it has to end before. */
static void close_chains_behind_aliases(grouping *w, const node *n)
{
    for (int k = 0; k < n->n_in; k++)
        if (pith_source(w->p, n->in[k])->op->flags & PITH_ALIAS)
            close_chain(w, chain_of(w, pith_memory_root(w->p, n->in[k])));
}

/* May n, and with it the members of `chain` (if that is not -1), be members of `other`? */
static bool may_join(const grouping *w, int other, int chain, const node *n)
{
    if (other < 0 || other == chain || !is_open(w, other)) return false;
    const int members = w->chains[other].members + (chain < 0 ? 0 : w->chains[chain].members);
    return members < PITH_MOST_MEMBERS && pith_same_shape(w->chains[other].shape, n);
}

/* The chain of n's first input that has an open one of n's shape; the other inputs' chains become
 * part of it where they may. -1 if there is none. */
static int chain_of_inputs(grouping *w, const node *n)
{
    int chain = -1;
    for (int k = 0; k < n->n_in; k++) {
        const int other = chain_of(w, pith_source(w->p, n->in[k]));
        if (!may_join(w, other, chain, n)) continue;
        if (chain < 0) {
            chain = other;
        } else {
            w->chains[other].parent = chain;
            w->chains[chain].members += w->chains[other].members;
        }
    }
    return chain;
}

static int new_chain(grouping *w, const node *n)
{
    w->chains[w->n] = (chain_state){ .parent = w->n, .open = true, .shape = n };
    return w->n++;
}

static void join(grouping *w, const node *n)
{
    close_chains_behind_aliases(w, n);
    int chain = w->p->flags & PITH_FUSE ? chain_of_inputs(w, n) : -1;
    /* the chains that n reads and is no member of have been used by somebody outside */
    for (int k = 0; k < n->n_in; k++) {
        const int other = chain_of(w, pith_memory_root(w->p, n->in[k]));
        if (other != chain) close_chain(w, other);
    }
    if (chain < 0) chain = new_chain(w, n);
    w->chains[chain].members++;
    w->chains[chain].last = n->id;
    w->p->chain[n->id] = chain;
}

/* ---- an assign becomes the place where a chain writes ---- */

/* Does a member of a chain read the leaf's memory otherwise than element by element, through an
 * alias? */
static bool reads_through_alias(const pith_plan *p, const node *member, const node *leaf)
{
    for (int k = 0; k < member->n_in; k++)
        if (pith_memory_root(p, member->in[k]) == leaf && pith_source(p, member->in[k]) != leaf)
            return true;
    return false;
}

/* Has every reader of the leaf's old value run before `chain` ends? Members of the chain itself
 * read an element before it is overwritten. */
static bool readers_are_done(grouping *w, const node *assign, const node *leaf, int chain)
{
    for (int k = w->start[leaf->id]; k < w->start[leaf->id + 1]; k++) {
        const node *user = w->p->graph->nodes[w->user[k]];
        if (user == assign) continue;
        const int other = chain_of(w, user);
        if (other == chain) {
            if (reads_through_alias(w->p, user, leaf)) return false;
        } else {
            const int runs_at = other >= 0 ? w->chains[other].last : user->id;
            if (runs_at >= w->chains[chain].last) return false;
        }
    }
    return true;
}

/* May the chain that makes an assign's value write straight into the leaf? Then it does, and the
 * other chains that read the leaf take no more members, which would move them behind the write. */
static bool absorb(grouping *w, const node *assign)
{
    pith_plan *p = w->p;
    const node *leaf = pith_canonical(p, assign->in[0]), *value = pith_canonical(p, assign->in[1]);
    const int chain = chain_of(w, value);
    if (!(p->flags & PITH_FUSE) || chain < 0 || !is_open(w, chain)) return false;
    if (p->in_memory[value->id]) return false; /* an output keeps its value, the leaf may not */
    if (p->store_to[value->id] >= 0 || !readers_are_done(w, assign, leaf, chain)) return false;
    for (int k = w->start[leaf->id]; k < w->start[leaf->id + 1]; k++) {
        const int other = chain_of(w, p->graph->nodes[w->user[k]]);
        if (other != chain) close_chain(w, other);
    }
    p->store_to[value->id] = assign->id;
    return true;
}

/* ---- all of a plan's ---- */

/* Members that somebody outside their chain wants are stored, as outputs are already; the others
 * live in tiles only. */
static void find_stored(grouping *w)
{
    pith_plan *p = w->p;
    pith_room_return(w->start);
    pith_room_return(w->user);
    list_users(w); /* anew: readers of an absorbed assign now read the member */
    for (int id = 0; id < p->n; id++) {
        p->in_memory[id] |= p->store_to[id] >= 0;
        for (int k = w->start[id]; k < w->start[id + 1] && p->chain[id] >= 0; k++)
            p->in_memory[id] |= p->chain[w->user[k]] != p->chain[id] &&
                                w->user[k] != p->store_to[id];
    }
}

void pith_find_chains(pith_plan *p)
{
    grouping w = { .p = p, .chains = pith_room_get((size_t)p->n + 1, sizeof *w.chains) };
    list_users(&w);
    for (int k = 0; k < p->n_outputs; k++)
        p->in_memory[pith_memory_root(p, p->outputs[k])->id] = true;
    for (int id = 0; id < p->n; id++) {
        const node *n = p->graph->nodes[id];
        if (!pith_runs(p, n)) continue;
        if (n->op->pointwise) {
            join(&w, n);
            continue;
        }
        if (n->op == &pith_op_assign && absorb(&w, n)) continue;
        for (int k = 0; k < n->n_in; k++)
            close_chain(&w, chain_of(&w, pith_memory_root(p, n->in[k])));
        /* no reordering across a write */
        if (n->op->flags & PITH_WRITE) w.closed = w.n;
    }
    for (int id = 0; id < p->n; id++) p->chain[id] = find(&w, p->chain[id]);
    find_stored(&w);
    pith_room_return(w.chains);
    pith_room_return(w.start);
    pith_room_return(w.user);
}
