/* inside.h: what the pages of core/ share and nobody else sees. */
#ifndef PITH_INSIDE_H
#define PITH_INSIDE_H
#include <assert.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "core.h"
#include "device/device.h"

/* ---- error.c ---- */
void pith_graph_fail(pith_graph *g, const char *format, ...); /* an error that is no node's */
void pith_keep_error(pith_graph *g, const char *text); /* the graph has failed, nobody is told */
void pith_forget_error(pith_graph *g);
/* "clip.c:7: matmul: input 1 is NULL", or, at NULL, "pith_name: the node is NULL"; a poisoned node
 */
node *pith_null(const char *at, const char *op, const char *what);

/* ---- base/lookup.c: lists, and from 64-bit keys to pointers, none of which is NULL ---- */
/* `list` with room for one more than `count` elements; NULL without memory. The room is 1, 2, 4,
 * 8, ..., so that nobody has to keep it; so a list grows by this alone. */
void *pith_grown(void *list, int count, size_t each);
typedef struct {
    uint64_t key;
    void *value;
} pith_lookup_entry;
typedef struct {
    pith_lookup_entry *entries;
    int n, size;
} pith_lookup;
void *pith_lookup_find(const pith_lookup *l, uint64_t key); /* NULL if it is not there */
void pith_lookup_add(pith_graph *g, pith_lookup *l, uint64_t key, void *value); /* a new key */

/* ---- graph.c, node.c ---- */
typedef struct pith_block { /* of memory for a graph's nodes */
    struct pith_block *next;
    size_t used, size;
} pith_block;

/* The nodes made inside one pith_recompute have ids from `first` to before `end`. */
typedef struct {
    int first, end;
} pith_span;

/* Where new leaves live. */
typedef struct {
    pith_store *store;
    const char *prefix;
    bool frozen, averages;
} pith_home;

struct pith_graph {
    pith_home home;   /* of the leaves now made */
    pith_home *homes; /* those it will go back to */
    int n_homes;
    bool training;
    uint64_t seed;
    node **nodes;
    int n, capacity;
    pith_block *blocks;  /* everything a graph allocates is freed as a whole */
    pith_block *reserve; /* for what is being made when memory runs out */
    char *small;         /* where small things go next, from its end down */
    size_t small_left;
    const char *scope;
    const char **scopes; /* the enclosing ones */
    int depth;
    const pith_trail *trail;
    const node *origin; /* whose gradient or lowering is being made: gives the place to new nodes */
    int region, regions; /* of pith_recompute: the one being built, and how many there are */
    pith_span *spans;    /* where region r lies: spans[r - 1] */
    char *error;
    pith_lookup ordinals;  /* by the hash of a scope: how many random ops it has, an int */
    pith_lookup leaf_over; /* by a tensor's address: its param or state */
    node *step;
    node **params, **states, **watched;
    const char **watch_names;
    int n_params, n_states, n_watched;
    node **updates, **row_reads; /* of write.c */
    int n_updates, n_row_reads;
    const char *committed;      /* where the updates were written; NULL: not yet */
    pith_cotangent *cotangents; /* of grad.c */
    int n_cotangents;
    node *poison; /* what everything is after the first error */
};
/* The one it was made with, whatever is in use at the moment. */
static inline pith_store *pith_own_store(const pith_graph *g)
{
    return g->n_homes ? g->homes[0].store : g->home.store;
}
node *pith_nowhere(void); /* a poisoned node of no graph */
/* Adds n to a list of its graph; false after pith_fail. */
bool pith_enlist(node ***list, int *count, node *n);
/* A node without inputs, shape and checks: pith_make fills it in, and so does recomputation. */
node *pith_append(pith_graph *g, const pith_op *op);
/* n after pith_fail: from now on it is the poisoned node, and nodes made after it are gone. */
node *pith_poison(node *n);
/* The leaf of which n reads a value that a write has overwritten; NULL if there is none. */
const node *pith_read_after_assign(const node *n);
/* what a copy in a recomputed region is a copy of; other nodes: themselves */
static inline const node *pith_original(const node *n) { return n->copy ? n->origin : n; }
static inline int pith_result_index(const node *n) { return *(const int *)n->attr; }
size_t pith_alias_offset(const node *n); /* bytes */
/* how many inputs a node reads: an update's others only say what it writes */
static inline int pith_reads(const node *n) { return n->op->flags & PITH_ALIAS ? 1 : n->n_in; }
static inline int pith_results(const pith_op *op) { return op->results ? op->results : 1; }

/* ---- leaf.c: behind attr of a param or state ---- */
typedef struct {
    pith_tensor *tensor;
    node *written; /* by the latest write of the graph; NULL: by none */
    node *update;  /* the latest of the graph that was noted; NULL: none */
    pith_training training;
} pith_leaf;
static inline pith_leaf *pith_leaf_of(const node *n) { return n->attr; }
static inline bool pith_is_stored(const node *n)
{
    return n->op == &pith_op_param || n->op == &pith_op_state;
}

/* ---- store.c ---- */

/* A tensor with what its users do not see. Every pith_tensor is the first member of one. */
typedef struct {
    pith_tensor tensor;
    pith_store *store;
    void *data; /* in memory of the store's device */
} pith_stored;
static inline void *pith_data(const pith_tensor *t) { return ((const pith_stored *)t)->data; }

struct pith_store {
    pith_device device;
    const pith_backend *on;
    pith_tensor **tensors;
    int n, capacity;
    int *table, table_size; /* open addressing by name */
    char **patterns;        /* frozen ones */
    int n_patterns;
    unsigned char *arena; /* shared by the plans of this store: the largest, not the sum */
    size_t arena_size;
    atomic_flag running; /* a plan whose values lie in the arena */
    uint64_t runs;       /* how many there were: tells whose values lie there now */
    bool torn;           /* a run ended midway after it had written something */
};
/* pith_store_add, but that an error is written to `why` for the caller to tell with its place. */
enum { PITH_MOST_NAME = 1000, PITH_WHY = PITH_MOST_NAME + 200 };
pith_tensor *pith_store_try_add(pith_store *s, const char *name, pith_kind kind, pith_dtype dtype,
                                int ndim, const int *dim, char why[PITH_WHY]);
bool pith_store_is_frozen(const pith_store *s, const char *name);
/* The arena is one plan's at a time; false, after saying so, while another runs in it. */
bool pith_store_take(pith_store *s);
void pith_store_let_go(pith_store *s);
bool pith_store_reserve(pith_store *s, size_t bytes); /* makes the arena at least so large */
static inline pith_store *pith_store_behind(const pith_tensor *t)
{
    return ((const pith_stored *)t)->store;
}
bool pith_plan_is_whole(const pith_plan *p); /* false after saying that a store of it is torn */

/* ---- device/ ---- */
size_t pith_memory_size(void);    /* bytes of this machine's memory */
void *pith_aligned(size_t bytes); /* 64-byte aligned zeros; NULL and an error when there is none */
/* What lies on a device, or a copy of it in the host's memory, which the caller frees by way of
 * *copy; NULL after an error. */
const void *pith_on_host(const pith_backend *b, const void *data, size_t bytes, void **copy);
/* A constant of the plan, as its kernels find it; sets p->failed after an error. */
const void *pith_uploaded(pith_plan *p, const void *data, size_t bytes);
bool pith_compile_chains(pith_plan *p);
bool pith_run_remote(pith_plan *p);
void pith_forget_remote(pith_plan *p);

/* ---- base/room.c: what a plan is made of, and what is needed while it is made ---- */
typedef struct {
    struct piece *pieces;
    jmp_buf no_memory;
} pith_room;
/* make(context), in which pith_room_get takes from this room. False, after saying so, where there
 * is no memory for it. */
bool pith_room_run(pith_room *room, bool (*make)(void *), void *context);
void *pith_room_get(size_t count, size_t size); /* zeros; never NULL */
void pith_room_return(void *memory);            /* NULL is allowed */
void pith_room_empty(pith_room *room);

/* ---- plan.c, fuse.c, layout.c, run.c ---- */

/* One pointwise op inside a fused chain; operands are indices into the chain's table. */
typedef struct {
    const pith_form *form;
    int in[3], n_in, out;
} pith_instruction;
typedef enum {
    PITH_FULL,      /* an input of the chain's shape, read where it lies */
    PITH_BROADCAST, /* a smaller input, repeated */
    PITH_OUTPUT,    /* a result, written where it shall lie */
    PITH_TILE       /* a result that lives in a tile only */
} pith_operand_kind;
#define PITH_MOST_MEMBERS 64
#define PITH_MOST_OPERANDS (4 * PITH_MOST_MEMBERS)
typedef struct {
    pith_operand_kind kind;
    int slot;           /* input or output number of the step */
    int tile;           /* register of a tile, or where a repeated input is spread */
    size_t bytes;       /* an element */
    pith_repeat repeat; /* of a broadcast */
} pith_operand;
/* a tile copied to output `out` when the tile is done */
typedef struct {
    int operand, out;
} pith_late;
typedef struct {
    size_t count; /* elements */
    int n_instructions, n_operands, n_late, tiles;
    pith_instruction *instructions;
    pith_operand *operands;
    pith_late *late;
    /* the instruction that last reads an input of the chain's shape, that makes an output */
    int *last_read, *made;
} pith_chain;
void pith_chain_run(const pith_chain *c, const void *const *in, void *const *out);
void pith_chain_free(pith_chain *c);

typedef struct {
    const node *n;     /* the op; of a chain, its last member */
    pith_chain *chain; /* NULL for other ops */
    void *kernel;      /* of a chain on a device that compiles them */
    int leader, last;  /* the step whose launch runs this chain, too; of a leader, its last one */
    int n_in, n_out;
    int *in, *out; /* ids of nodes, by which plan->places tells where they lie */
    size_t scratch, scratch_offset;
    const pith_prepared *prepared; /* of an op that prepares, else NULL */
    int scratch_block;
    int first_member, n_members; /* of a chain: into plan->members */
    double seconds;
} pith_planned;

/* device/remote.c: tells the emulated device what a step may touch: inputs, then outputs */
void pith_name_memory(const pith_plan *p, const pith_planned *s, void *const *memory);
/* device/chains.c: starts the step's kernel, and those of chains that it leads */
bool pith_start_chain(const pith_plan *p, const pith_planned *s, const pith_call *call);
/* device/chain_source.c: that step as the body of a kernel; the caller frees it. NULL after an
 * error. */
char *pith_chain_source(const pith_planned *chain);

/* Where a value lies. */
typedef enum { PITH_NOWHERE, PITH_ARENA, PITH_FIXED, PITH_FED } pith_where_kind;
typedef struct {
    pith_where_kind kind;
    size_t offset;       /* in the arena, or behind `pointer` */
    const void *pointer; /* fixed memory, or what was fed */
    bool fresh, ahead;   /* fed since the latest run; it lies on the device, not yet in its place */
    int source;          /* of what is fed, and of its aliases: the input's id; else -1 */
    int block;           /* arena: which block of memory */
} pith_place;

/* live from step `first` to step `last` */
typedef struct {
    size_t size, offset;
    int first, last;
} pith_memory;

/* precision/bf16.c: what a plan in bf16 is made of in place of the first n nodes of the user's
 * graph. */
typedef struct {
    pith_graph *of, *graph;
    node **stands, **outputs; /* by id of the user's graph, and by output */
    int n;
} pith_rounded;
bool pith_round_graph(pith_graph *g, int n, node *const *outputs, pith_rounded *rounded);

/* What a plan is allowed: pith_plan_options' `unplanned` is none of it. */
enum {
    PITH_MERGE = 1,        /* equal nodes are one, constants are folded */
    PITH_FUSE = 2,         /* pointwise ops form chains, and chains write straight into leaves */
    PITH_REUSE = 4,        /* a result may take over the memory of an input that dies */
    PITH_ARENA_SHARED = 8, /* values that are not alive together may lie in one place */
    PITH_EVERYTHING = PITH_MERGE | PITH_FUSE | PITH_REUSE | PITH_ARENA_SHARED
};

struct pith_plan {
    pith_room room; /* all memory of the plan but its constants */
    pith_graph *graph;
    pith_store *store;
    int flags;
    int n_outputs;
    node **outputs;
    const node **inputs; /* those it reads; NULL until somebody asks for them */
    int n_inputs;
    int n;          /* nodes of the graph when the plan was made */
    int *canonical; /* node id -> id of the node that stands for it */
    bool *live;
    void **folded;   /* node id -> constant computed at plan time, that of `like` if there is one */
    int *chain;      /* node id -> its chain, -1 for none */
    int *store_to;   /* node id -> id of the assign whose leaf it is written to, -1 */
    bool *in_memory; /* chain members that have memory */
    int *members, n_members; /* ids, chain by chain */
    pith_planned *steps;
    int n_steps;
    pith_place *places; /* by node id */
    pith_memory *blocks;
    int n_blocks;
    size_t arena;
    pith_prepared *prepared; /* node id -> what its op made ready */
    const pith_plan *like;   /* the plan this one is a shadow of: `prepared` is its; else NULL */
    bool failed;             /* a constant could not be computed, or copied */
    void **constants;        /* on a device of its own: copies */
    int n_constants;
    char *ahead;             /* memory for inputs that pith_prefetch brought; NULL: none yet */
    bool no_room_ahead;      /* or none was to be had */
    void *recording;         /* of all steps; NULL: none yet */
    const void *recorded_in; /* the arena then */
    char not_repeated[160];  /* why there is none; empty: no reason is known */
    bool check_finite, timing;
    int64_t timed_runs;
    uint64_t latest; /* the number in the store of this plan's latest run; 0: it has not run */
    pith_plan_stats stats;
    pith_rounded rounded; /* its own graph; none: it is of the user's, as it stands */
};
void pith_find_chains(pith_plan *p); /* fuse.c */
/* chain.c; p NULL: step->n alone */
pith_chain *pith_chain_new(const pith_plan *p, pith_planned *step);
/* fuse.c: does the plan run n, as a step of its own or as a member of a chain? */
bool pith_runs(const pith_plan *p, const node *n);
/* fuse.c: the node that stands for n after merging */
const node *pith_canonical(const pith_plan *p, const node *n);
/* fuse.c: the same, or, of an assign that its chain does, the chain's member that is assigned */
const node *pith_source(const pith_plan *p, const node *n);
/* fuse.c: the node whose memory n's value lies in */
const node *pith_memory_root(const pith_plan *p, const node *n);
void pith_lay_out(pith_plan *p); /* layout.c: blocks, in-place, offsets */
/* layout.c: to the alignment of the plan's device */
size_t pith_padded(const pith_plan *p, size_t bytes);
/* the kernel of an op on the plan's device, and what it wants of scratch */
static inline pith_kernel *pith_kernel_of(const pith_plan *p, const pith_op *op)
{
    return p->store->on->stream ? op->cuda : op->cpu;
}
/* does that device run chains? */
static inline bool pith_has_chains(const pith_plan *p)
{
    const pith_backend *on = p->store->on;
    return !on->stream || (p->flags & PITH_FUSE && !on->not_compiled());
}
bool pith_run_steps(pith_plan *p);                /* run.c: one after the other, or noting them */
void *pith_memory_of(const pith_plan *p, int id); /* run.c: where that node's value lies now */
/* run.c: what the step writes has another version */
void pith_note_writes(const pith_plan *p, const pith_planned *s);
/* device/host_run.c: one op, for folding */
bool pith_evaluate(const node *n, const void *const *in, void *out);
/* run.c: the tensor that a node of the plan writes, NULL for none */
pith_tensor *pith_written(const pith_plan *p, int id);

/* grad.c: the nodes from number `first` on that y is made from, and y, by number - first; NULL
 * without memory. The caller frees it. */
bool *pith_reached(const node *y, int first);

/* ---- base/signals.c ---- */
/* The calling thread takes no signals until they are released; `before`: those it held already.
 * `products`: products of matrices are to come, so OpenMP's threads hold them, too. */
void pith_hold_signals(sigset_t *before, bool products);
void pith_release_signals(const sigset_t *before);

/* ---- arena.c: packing blocks of memory, whatever lies in them ---- */
/* Sets every block's offset, so that blocks alive at the same time do not overlap; returns the end
 * of the last one. Blocks come in the order of their first steps. */
size_t pith_arena_pack(pith_memory *blocks, int n);
/* The most that is alive at one step, below which no packing can go. *peak: that step. */
size_t pith_arena_bound(const pith_memory *blocks, int n, int *peak);
#endif
