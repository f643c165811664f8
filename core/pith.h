/* pith.h: the whole public interface of the engine.
 *
 * A model, a loss, its gradient and the optimizer step are one declarative graph. Ops return nodes
 * and the graph owns them, so expressions nest and nothing is freed by hand. A plan makes some
 * nodes runnable; it is made once and run many times.
 *
 *     pith_store *weights = pith_store_new();
 *     pith_graph *g = pith_graph_new(weights, 0);
 *     pith_node *x = pith_input(g, "x", PITH_F32, 8, 4);                       // (8, 4)
 *     pith_node *w = pith_param(g, "w", PITH_NORMAL, 0.1, 3, 4);               // (3, 4)
 *     pith_node *loss = pith_mean(pith_square(pith_matmul_nt(x, w)), PITH_ALL);
 *     pith_node *gradient;
 *     pith_grad(loss, 1, &w, &gradient);
 *     pith_plan *plan = pith_plan_new(g, 2, (pith_node *[]){ loss, gradient }, NULL);
 *     pith_feed(plan, x, data);
 *     pith_run(plan);
 *     printf("%g\n", pith_scalar(plan, loss));
 *
 * Tensors are dense, row-major, with up to PITH_MAX_DIMS axes of at least 1. Pointwise ops
 * broadcast as numpy does; nothing else broadcasts. Axes may be counted from the end (-1 is the
 * last).
 *
 * Errors: shape and type errors are found while the graph is built and name the caller's file and
 * line. The first one is kept in the graph, its node is poisoned, and what is built on it is
 * silent. The handler (pith_on_error) hears of every first error; the default one prints it and
 * exits. Any other handler must return, and the library neither prints nor exits: functions that
 * make nodes return the poisoned node, which may be handed on like any other, and all else returns
 * NULL or false.
 *
 * The header is C11 and C++17 alike. In the double build (-DPITH_DOUBLE) PITH_F32 means double. */
#ifndef PITH_H
#define PITH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PITH_MAX_DIMS 6
#define PITH_END (-2147483647) /* closes a list of dims or axes: the macros append it */
#define PITH_ALL PITH_END      /* as a list of axes: every axis */

#ifdef PITH_DOUBLE
typedef double pith_real;
#else
typedef float pith_real; /* the element of a PITH_F32 tensor */
#endif

typedef enum { PITH_F32, PITH_I32, PITH_U8, PITH_BF16 } pith_dtype; /* bf16: plans alone make it */
const char *pith_dtype_name(pith_dtype dtype);                      /* "f32" */
size_t pith_width(pith_dtype dtype);                                /* bytes of an element */
bool pith_is_floating(pith_dtype dtype); /* has gradients, may start random, may be NaN */

typedef struct pith_graph pith_graph; /* owns every node of one program; freed as a whole */
typedef struct pith_node pith_node;   /* one value: an op applied to nodes, or a leaf */
typedef struct pith_store pith_store; /* named weights and state; outlives graphs */
typedef struct pith_plan pith_plan;   /* some outputs of a graph made runnable */
typedef struct pith_op pith_op;       /* what authors of ops write: see core.h */

/* Where a call stands in the user's text: every op is a macro over a function that takes it. */
#define PITH_STRING2(x) #x
#define PITH_STRING(x) PITH_STRING2(x)
#define PITH_HERE __FILE__ ":" PITH_STRING(__LINE__)

/* A frame of the call trail that errors print ("in clip_loss, called at experiment.c:57"). */
typedef struct pith_trail {
    const char *name, *at;
    const struct pith_trail *parent;
} pith_trail;

/* Fields may be read, not written. */
struct pith_node {
    const pith_op *op;
    pith_graph *graph;
    int id; /* creation order, which is the topological order */
    pith_dtype dtype;
    int ndim, dim[PITH_MAX_DIMS];
    int n_in;
    pith_node **in;
    void *attr;        /* what the op was told beside its inputs: core.h */
    const char *name;  /* of a leaf, or given by pith_name; else NULL */
    const char *scope; /* "visual.transformer." or "" */
    const char *at;    /* "file.c:12" */
    const pith_trail *trail;
    int region;              /* of pith_recompute, in which it was made; 0: in none */
    bool copy;               /* recomputation made it, as a copy of `origin` */
    const pith_node *origin; /* whose gradient, lowering or recomputation made it; NULL: the user */
    pith_node *writes;       /* of an assign or pith_write_rows: the param or state; else NULL */
};

/* ---- errors ---------------------------------------------------------------------------------- */

typedef void pith_handler(const char *message, void *context);
void pith_on_error(pith_handler *handler, void *context); /* NULL: the default, pith_die */
void pith_die(const char *message, void *context);        /* prints to stderr and exits with 1 */
const char *pith_error(void); /* the latest message of this thread, "" if none */
/* Control characters but `kept` become '?': a stranger's text shall not steer a terminal. */
void pith_make_plain(char *text, char kept);
bool pith_raise(const char *format, ...);          /* report an error of one's own; returns false */
const char *pith_graph_error(const pith_graph *g); /* the graph's first error, NULL if none */
/* An error of a function that makes nodes: the graph (NULL: none) has failed; returns the poisoned
 * node. */
pith_node *pith_refuse(pith_graph *g, const char *format, ...);
/* The graph's poisoned node if it has failed, else NULL. n, a node of any graph or NULL, is about
 * to be used: if it is poisoned, g fails with it. */
pith_node *pith_failed(pith_graph *g, const pith_node *n);

/* ---- graph, scopes, leaves ------------------------------------------------------------------- */

/* Params and states of the graph live in `store`; `seed` keys initial values and random ops. */
pith_graph *pith_graph_new(pith_store *store, uint64_t seed);
void pith_graph_free(pith_graph *g);
pith_store *pith_store_of(const pith_graph *g); /* where leaves now made live */
/* Dropout and the like act only in training, which is off at first. Returns `on`. */
bool pith_set_training(pith_graph *g, bool on);
bool pith_is_training(const pith_graph *g);
int pith_graph_size(const pith_graph *g);
/* Leaves made between the two calls live in `store` under `prefix` (a teacher beside its student).
 * `frozen`: none of them is trained. Calls nest. */
void pith_use_store(pith_graph *g, pith_store *store, const char *prefix, bool frozen);
void pith_leave_store(pith_graph *g);
/* The same, frozen, and what has an average "ema/NAME" in the store is read from there, the rest by
 * its plain name; nothing is made. Ends with pith_leave_store. */
void pith_use_averages(pith_graph *g, pith_store *store);
/* Names made inside a scope start with it: pith_scope(g, "resblocks.%d", i) ... pith_unscope(g). */
void pith_scope(pith_graph *g, const char *format, ...);
void pith_unscope(pith_graph *g);
/* Until pith_unscope names begin with nothing again: for what a function inside a scope makes on
 * behalf of another. */
void pith_scope_root(pith_graph *g);
/* Call a function that builds graph so that errors inside name it and the caller's line:
 * PITH_CALL(g, clip_loss, (image, text, scale)). */
#define PITH_CALL(g, function, arguments)                                                          \
    (pith_enter((g), #function, PITH_HERE), pith_leave((g), function arguments))
void pith_enter(pith_graph *g, const char *name, const char *at);
pith_node *pith_leave(pith_graph *g, pith_node *value);

/* Fed before a run (pith_feed). */
#define pith_input(g, name, ...) pith_input_(PITH_HERE, (g), (name), __VA_ARGS__, PITH_END)
pith_node *pith_input_(const char *at, pith_graph *g, const char *name, pith_dtype dtype, ...);
/* How a tensor starts. What goes with it, `a`, is the standard deviation, the half width, or the
 * value. */
typedef enum { PITH_NORMAL, PITH_UNIFORM, PITH_CONSTANT } pith_init;
/* Trained. The first graph that names a param creates it in the store, drawn on the host and keyed
 * by seed and name; later graphs get the same memory, and another shape is an error. */
#define pith_param(g, name, init, ...)                                                             \
    pith_param_(PITH_HERE, (g), (name), (init), __VA_ARGS__, PITH_END)
pith_node *pith_param_(const char *at, pith_graph *g, const char *name, pith_init init, double a,
                       ...);
/* How a param is trained, told when it is made; each returns the param. By default it is trained
 * with the learning rate as it is, and decayed if it has two axes or more. */
pith_node *pith_no_weight_decay(pith_node *param);
/* Its learning rate is `factor` times that of the others, or, where it has its own, of `rate`, a
 * scalar node; below 0 it ascends, as Lagrange multipliers do. */
pith_node *pith_lr_scale(pith_node *param, double factor);
pith_node *pith_own_lr(pith_node *param, pith_node *rate);
/* After every step of the optimizer it is brought back into [low, high]. */
pith_node *pith_clamp_param(pith_node *param, double low, double high);

/* Kept between runs, written by pith_update or pith_assign, saved with the store. It starts as a
 * param does: pith_state(g, "bank", PITH_F32, PITH_NORMAL, 0.1, 512, 64); what is not f32 starts
 * constant. */
#define pith_state(g, name, dtype, init, ...)                                                      \
    pith_state_(PITH_HERE, (g), (name), (dtype), (init), __VA_ARGS__, PITH_END)
pith_node *pith_state_(const char *at, pith_graph *g, const char *name, pith_dtype dtype,
                       pith_init init, double a, ...);

#define pith_state_like(g, name, n)                                                                \
    pith_state_like_(PITH_HERE, (g), (name), n) /* of n's shape, starting at 0 */
pith_node *pith_state_like_(const char *at, pith_graph *g, const char *name, const pith_node *n);
#define pith_const(g, value) pith_const_(PITH_HERE, (g), (value)) /* a scalar, no axes */
#define pith_const_array(g, dtype, ...)                                                            \
    pith_const_array_(PITH_HERE, (g), (dtype), __VA_ARGS__, PITH_END) /* copied */
#define pith_arange(g, n) pith_arange_(PITH_HERE, (g), (n))           /* (n) i32: 0, 1, ... */
pith_node *pith_const_(const char *at, pith_graph *g, double value);
pith_node *pith_const_array_(const char *at, pith_graph *g, pith_dtype dtype, const void *data,
                             ...);
pith_node *pith_arange_(const char *at, pith_graph *g, int n);

/* Stands for something that this run does not have, where there would be NULL otherwise: "the text
 * rows of teacher 0, and this run has no teacher". To hold one is no error. An op that reads one
 * fails with the op's own place: "my.c:7: matmul: input 1 is the text rows of teacher 0, and ...".
 * Its dims may be looked at: it has no axes, and every dim is 1. */
#define pith_missing(g, what) pith_missing_(PITH_HERE, (g), (what))
pith_node *pith_missing_(const char *at, pith_graph *g, const char *what);
bool pith_is_missing(const pith_node *n); /* NULL is missing, too */

pith_node *pith_step(pith_graph *g); /* the input "step", i32 scalar: 0 until fed */

pith_node *pith_name(pith_node *n, const char *name); /* for drawings and tables; returns n */
/* Logs the scalar under `name` after every step; returns it, or a copy if it lies in a leaf. */
#define pith_watch(scalar, name) pith_watch_(PITH_HERE, scalar, name)
pith_node *pith_watch_(const char *at, pith_node *scalar, const char *name);
int pith_watched(const pith_graph *g, pith_node ***nodes, const char *const **names);
pith_node *pith_result(pith_node *n, int k); /* the k-th of an op with several; 0 is n itself */
int pith_params(const pith_graph *g, pith_node ***params); /* the trained, in creation order */
/* How a param is trained (see pith_lr_scale and its neighbours); all zeros for other nodes. */
typedef struct {
    bool trained, weight_decay;
    double lr_scale, low, high;
    pith_node *own_lr; /* or NULL */
} pith_training;
pith_training pith_training_of(const pith_node *param);
bool pith_is_param(const pith_node *n);
size_t pith_size(const pith_node *n); /* number of elements */

/* ---- gradient, writes ------------------------------------------------------------------------ */

/* Appends nodes for d y / d wrt[k]; y is a scalar; any node may be asked for; zeros where y does
 * not depend on it. */
#define pith_grad(...) pith_grad_(PITH_HERE, __VA_ARGS__)
/* The same for any y with a cotangent of y's shape. */
#define pith_vjp(...) pith_vjp_(PITH_HERE, __VA_ARGS__)
bool pith_grad_(const char *at, pith_node *y, int n, pith_node *const *wrt, pith_node **out);
bool pith_vjp_(const char *at, pith_node *y, pith_node *cotangent, int n, pith_node *const *wrt,
               pith_node **out);
/* fn(x, context), whose inside is recomputed for the backward pass instead of kept. Values are
 * bit-equal, those of gradients and of their gradients too. */
#define pith_recompute(fn, x, context) pith_recompute_(PITH_HERE, fn, x, context)
typedef pith_node *pith_body(pith_node *x, void *context);
pith_node *pith_recompute_(const char *at, pith_body *fn, pith_node *x, void *context);

/* Writes `value` to a param or state when the plan runs; returns the new value, which as an output
 * lies in the leaf itself: it changes with the leaf. Reads created before see the old one; using
 * the leaf after it is an error; one assign a leaf and graph, none of a leaf written by rows. */
#define pith_assign(leaf, value) pith_assign_(PITH_HERE, leaf, value)
/* All of them as one node, which has no value: among a plan's outputs it makes them run. */
#define pith_group(...) pith_group_(PITH_HERE, __VA_ARGS__)
pith_node *pith_assign_(const char *at, pith_node *leaf, pith_node *value);
pith_node *pith_group_(const char *at, int n, pith_node *const *nodes);
bool pith_is_write(const pith_node *n); /* an assign or a pith_write_rows */
/* The latest assign or pith_write_rows of the leaf; the leaf itself where there is none. */
pith_node *pith_latest_write(pith_node *leaf);

/* State kept by a loss or a model: running figures, a memory bank, a queue. An update is a write
 * put off to the end of the training step: until then everybody reads the old value, also after the
 * call, in gradients of gradients and where a region is recomputed. Who needs the new value uses
 * what is returned: the value itself, through which gradients flow. Only training writes
 * (pith_commit); evaluation, pith run and pith check drop updates. A step that is skipped writes
 * nothing, so count steps with a state of your own, not with pith_step. leaf: a state, or a param
 * that is not trained. A second update of a leaf must be made from the first one's value, as
 * pith_pending gives it: so a model function called twice on two views updates its running figures
 * in the order of the calls. */
#define pith_update(leaf, value) pith_update_(PITH_HERE, leaf, value)
/* Some rows alone: leaf (V, ...), ids i32 of any shape, rows ids.dims + (...). Of equal ids the
 * last position holds, ids outside [0, V) are skipped, and other rows keep their bits. Any number a
 * leaf, written in the order of the calls. */
#define pith_update_rows(leaf, ids, rows) pith_update_rows_(PITH_HERE, leaf, ids, rows)
pith_node *pith_update_(const char *at, pith_node *leaf, pith_node *value);
pith_node *pith_update_rows_(const char *at, pith_node *leaf, pith_node *ids, pith_node *rows);
/* What the latest whole update of the leaf will write; the leaf itself where there is none. */
pith_node *pith_pending(pith_node *leaf);
/* The updates so far: nodes whose inputs are value, leaf and, of rows, ids. Returns how many. */
int pith_updates(const pith_graph *g, pith_node ***updates);
/* For who writes them, as pith_commit: later updates, and a second call, are errors that name the
 * place `at`, which must live as long as the graph. */
bool pith_close_updates(pith_graph *g, const char *at);

/* Which of the nodes y depends on. */
void pith_depends_on(const pith_node *y, int n, pith_node *const *nodes, bool *reached);

/* The cotangents that gradient walks have gathered: `cotangent` is d y / d `of` as far as it was
 * summed then, so of several entries with the same `of` in one walk the last is whole. */
typedef struct {
    const pith_node *of, *cotangent;
} pith_cotangent;
int pith_cotangents(const pith_graph *g, const pith_cotangent **list);

/* ---- plans ----------------------------------------------------------------------------------- */

/* How a plan is made and run; zeros, or NULL: the usual way. The device is that of the store. */
typedef struct {
    /* A buffer for every value, nothing merged, folded, fused or overwritten: the same bits, for
     * finding mistakes; pith_value reads any node the outputs depend on that is not bf16. */
    bool unplanned;
    /* A run ends at the first step whose result holds a NaN or an infinity, naming it. What a chain
     * keeps to itself is no result; with `unplanned` every op is a step. */
    bool check_finite;
    bool bf16; /* matrix products, and activations between them; the rest f32: core/precision/ */
} pith_plan_options;
bool pith_multiplies_bf16(void); /* can the CPU? Else it takes rounded numbers in f32 */
/* `n` outputs, at least one. NULL after an error: one is to need more of the store's memory while
 * another of its plans runs. */
pith_plan *pith_plan_new(pith_graph *g, int n, pith_node *const *outputs,
                         const pith_plan_options *options);
void pith_plan_free(pith_plan *p); /* before its graph, and that before its stores */
/* The library of matrix products, for the whole process: "onednn" (the default, where it was built
 * in) or "blas". Not while a plan runs. */
bool pith_use_gemm(const char *library);
/* Every run from now on reads `data` for the input, until something else is fed. `data` lies in
 * host memory, whatever the plan's device, and is not copied: it must live until the last of those
 * runs is over, and a run sees what it holds then. */
bool pith_feed(pith_plan *p, const pith_node *input, const void *data);
/* The inputs that the plan reads, in order of creation; those that nothing needs are not among
 * them, nor are samples, which feed themselves. *inputs lives as long as the graph. */
int pith_plan_inputs(const pith_plan *p, const pith_node *const **inputs);
const pith_node *pith_plan_input(const pith_plan *p, const char *name); /* NULL: it reads none */
/* Computes the outputs. Two plans of one store never run at once, for their values share memory:
 * the second call is an error. Those of different stores may, from different threads, where none
 * writes what another reads. Signals wait, or go to other threads, until the run is over; OpenMP's
 * own take none any more. A run that ends midway after it has written to a store leaves that store
 * torn, and runs and saving refuse it until it is loaded again. */
bool pith_run(pith_plan *p);
/* Copies the value of `output` after the latest run to `to` in host memory: pith_size(output)
 * elements of its type, in order. False, with nothing copied, where the plan has not run to its end
 * or does not read the node. So too where the value lay in the memory that plans share: there
 * outputs alone are kept, until another plan of the store runs, or is made and needs more of it. */
bool pith_value(const pith_plan *p, const pith_node *output, void *to);
/* The same of an output of one element, as a number; NaN after an error. */
double pith_scalar(const pith_plan *p, const pith_node *output);

typedef struct {
    /* fused: pointwise nodes that live in a chain with others */
    int steps, nodes, merged, folded, fused;
    size_t arena, bound; /* bytes laid out, and the largest sum over steps of live bytes */
    size_t without_inplace, without_fusion; /* the bound had there been none */
    size_t separate;                        /* a buffer each */
    size_t moved;                           /* bytes read and written a run */
    double gemm_flops;                      /* multiply-adds count two */
} pith_plan_stats;
pith_plan_stats pith_plan_statistics(const pith_plan *p); /* makes three more plans to compare */

/* ---- printing -------------------------------------------------------------------------------- */

void pith_print(FILE *f, const pith_node *n, int depth); /* a formula, at most 1,000 ops deep */
/* Graphviz, of what n depends on or of all; a table of steps: op, shape, bytes, place in memory */
void pith_print_dot(FILE *f, const pith_graph *g, const pith_node *n);
void pith_print_plan(FILE *f, const pith_plan *p);
double pith_seconds(void);                          /* of a clock that never goes back */
void pith_time_plan(pith_plan *p, bool on);         /* measure every step of the runs to come */
void pith_print_times(FILE *f, const pith_plan *p); /* by op and by scope */
double pith_gemm_share(const pith_plan *p);         /* of the measured time, in matmul and linear */

/* ---- stores ---------------------------------------------------------------------------------- */

/* PITH_ANY: both kinds; of a tensor: not known yet, for it came from a file that does not say, and
 * no graph has named it. */
typedef enum { PITH_WEIGHT = 1, PITH_STATE = 2, PITH_ANY = 3 } pith_kind;
/* Fields may be read, not written; elements, on the store's device, by the functions below. */
typedef struct {
    const char *name;
    pith_kind kind;
    pith_dtype dtype;
    int ndim, dim[PITH_MAX_DIMS];
    bool loaded, used; /* came from a file; named by a graph */
    uint64_t version;  /* raised by every write, of a run, a load or by hand */
} pith_tensor;

pith_store *pith_store_new(void); /* on the CPU; device/pith_device.h: on another device */
void pith_store_free(pith_store *s);
int pith_store_count(const pith_store *s);
pith_tensor *pith_store_at(const pith_store *s, int i); /* in order of creation */
/* The tensor behind a param or a state; NULL for other nodes. */
pith_tensor *pith_tensor_of(const pith_node *n);
pith_tensor *pith_store_find(pith_store *s, const char *name); /* NULL if there is none */
/* Makes a tensor of zeros; an error if the name is taken, empty, or has a control character. */
pith_tensor *pith_store_add(pith_store *s, const char *name, pith_kind kind, pith_dtype dtype,
                            int ndim, const int *dim);
/* Params made from now on whose names fit the pattern (fnmatch) are not trained. False, though it
 * is kept, if it fits no tensor of the store now. */
bool pith_store_freeze(pith_store *s, const char *pattern);
/* safetensors. f16, bf16 and f64 become f32, i64 becomes i32 (an error out of range). The metadata
 * entry "states" lists which tensors are states. A store whose run ended midway is not saved; a
 * file with all of its tensors mends it. */
bool pith_store_load(pith_store *s, const char *path);
bool pith_store_save(const pith_store *s, const char *path, pith_kind kinds);

size_t pith_tensor_size(const pith_tensor *t);  /* number of elements */
size_t pith_tensor_bytes(const pith_tensor *t); /* that many elements of its type */
/* All elements, in order, to or from host memory. False where `t` or the memory is NULL, so that
 * what pith_store_find did not find is told here. */
bool pith_tensor_read(const pith_tensor *t, void *to);
bool pith_tensor_write(pith_tensor *t, const void *from);
/* The same for `count` elements from element `first` on; an error if the tensor ends before. */
bool pith_tensor_read_part(const pith_tensor *t, size_t first, size_t count, void *to);
bool pith_tensor_write_part(pith_tensor *t, size_t first, size_t count, const void *from);
/* All of `from`, which does not pass through host memory; an error if size or type differ. */
bool pith_tensor_copy(pith_tensor *to, const pith_tensor *from);
int64_t pith_tensor_not_finite(const pith_tensor *t); /* the first NaN or infinity; -1: none */
/* Any file, a text with a newline, written so that a crash leaves the old one or the new one. */
bool pith_write_file(const char *path, const void *data, size_t size);
bool pith_write_text(const char *path, const char *text);
char *pith_read_text(const char *path); /* all of a file; the caller frees it; NULL: an error */

#include "device/pith_device.h"
#ifdef __cplusplus
}
#endif
#include "pith_ops.h"
#endif
