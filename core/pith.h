/* pith.h: the whole public interface of the engine.
 *
 * A model, a loss, its gradient and the optimizer step are one declarative graph. Ops return nodes
 * and the graph owns them, so expressions nest and nothing is freed by hand. A plan makes some
 * nodes runnable; it is made once and run many times.
 *
 *     pith_store *weights = pith_store_new();
 *     pith_graph *g = pith_graph_new(weights, 0);
 *     pith_node *x = pith_input(g, "x", PITH_F32, 8, 4);                          (8, 4)
 *     pith_node *w = pith_param(g, "w", PITH_NORMAL, 0.1, 3, 4);                  (3, 4)
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
 * exits. With any other handler the library neither prints nor exits: functions return NULL or
 * false.
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

typedef enum { PITH_F32, PITH_I32, PITH_U8 } pith_dtype;

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

/* what an op was told beside its inputs */
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
    int copy;      /* above 0 in a recomputed region */
    int region;    /* of pith_recompute, or 0 */
    bool backward; /* made by the gradient walk */
};

/* ---- errors ---------------------------------------------------------------------------------- */

typedef void pith_handler(const char *message, void *context);
void pith_on_error(pith_handler *handler, void *context); /* NULL: the default, pith_die */
void pith_die(const char *message, void *context);        /* prints to stderr and exits with 1 */
const char *pith_error(void);             /* the latest message of this thread, "" if none */
bool pith_raise(const char *format, ...); /* report an error of one's own; returns false */
const char *pith_graph_error(const pith_graph *g); /* the graph's first error, NULL if none */

/* ---- graph, scopes, leaves ------------------------------------------------------------------- */

/* Params and states of the graph live in `store`; `seed` keys initial values and random ops. */
pith_graph *pith_graph_new(pith_store *store, uint64_t seed);
void pith_graph_free(pith_graph *g);
pith_store *pith_store_of(const pith_graph *g); /* the one in use */
/* dropout and the like act only in training; returns `on` */
bool pith_set_training(pith_graph *g, bool on);
bool pith_is_training(const pith_graph *g);
int pith_graph_size(const pith_graph *g);
/* Leaves made from here on live in `store` under `prefix` (a teacher beside its student). `frozen`:
 * none of them is trained. Returns the store in use before; go back with pith_use_store(g, before,
 * "", false). */
pith_store *pith_use_store(pith_graph *g, pith_store *store, const char *prefix, bool frozen);
/* Names made inside a scope start with it: pith_scope(g, "resblocks.%d", i) ... pith_unscope(g). */
void pith_scope(pith_graph *g, const char *format, ...);
void pith_unscope(pith_graph *g);
/* Call a function that builds graph so that errors inside name it and the caller's line:
 * PITH_CALL(g, clip_loss, (image, text, scale)). */
#define PITH_CALL(g, function, arguments)                                                          \
    (pith_enter((g), #function, PITH_HERE), pith_leave((g), function arguments))
void pith_enter(pith_graph *g, const char *name, const char *at);
pith_node *pith_leave(pith_graph *g, pith_node *value);

/* Fed before a run (pith_feed). */
#define pith_input(g, name, ...) pith_input_(PITH_HERE, (g), (name), __VA_ARGS__, PITH_END)
pith_node *pith_input_(const char *at, pith_graph *g, const char *name, pith_dtype dtype, ...);
/* Trained. The first graph that names a param creates it in the store, drawn on the host and keyed
 * by seed and name; later graphs get the same memory, and another shape is an error. `a`: standard
 * deviation, half width, or value. */
typedef enum { PITH_NORMAL, PITH_UNIFORM, PITH_CONSTANT } pith_init;
#define pith_param(g, name, init, ...)                                                             \
    pith_param_(PITH_HERE, (g), (name), (init), __VA_ARGS__, PITH_END)
pith_node *pith_param_(const char *at, pith_graph *g, const char *name, pith_init init, double a,
                       ...);
/* A param's group, told at its creation. By default: trained, decayed if it has two axes or more,
 * learning rate scaled by 1. */
pith_node *pith_no_weight_decay(pith_node *param);
/* negative: ascent, for Lagrange multipliers */
pith_node *pith_lr_scale(pith_node *param, double factor);
/* after every step of the optimizer */
pith_node *pith_clamp_param(pith_node *param, double low, double high);

/* Kept between runs, written by pith_assign, saved with the store but not exported; starts at
 * `value`. */
#define pith_state(g, name, dtype, ...)                                                            \
    pith_state_(PITH_HERE, (g), (name), (dtype), __VA_ARGS__, PITH_END)
pith_node *pith_state_(const char *at, pith_graph *g, const char *name, pith_dtype dtype,
                       double value, ...);

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

/* Random numbers: Philox4x32-10. Key: the graph's seed and a hash of scope and ordinal; counter:
 * (pith_step, element). */
#define pith_uniform(...) pith_uniform_(PITH_HERE, __VA_ARGS__, PITH_END) /* in [0, 1) */
#define pith_normal(...)                                                                           \
    pith_normal_(PITH_HERE, __VA_ARGS__, PITH_END) /* mean 0, standard deviation 1 */
pith_node *pith_uniform_(const char *at, pith_graph *g, ...);
pith_node *pith_normal_(const char *at, pith_graph *g, ...);
pith_node *pith_step(pith_graph *g); /* the input "step", i32 scalar: 0 until fed */

pith_node *pith_name(pith_node *n, const char *name); /* for drawings and tables; returns n */
/* puts a scalar into the log and the curves; returns it */
pith_node *pith_watch(pith_node *scalar, const char *name);
int pith_watched(const pith_graph *g, pith_node ***nodes, const char *const **names);
/* the k-th result of an op with several; 0 is n itself */
pith_node *pith_result(pith_node *n, int k);
/* the trained params, in creation order */
int pith_params(const pith_graph *g, pith_node ***params);
typedef struct {
    bool trained, weight_decay;
    double lr_scale, low, high;
} pith_training;
/* what it was told at its creation; all zeros for other nodes */
pith_training pith_training_of(const pith_node *param);
bool pith_is_param(const pith_node *n);
size_t pith_size(const pith_node *n); /* number of elements */

/* ---- gradient, writes, optimizers ------------------------------------------------------------ */

/* Appends nodes for d y / d wrt[k]; y is a scalar; any node may be asked for; zeros where y does
 * not depend on it. */
#define pith_grad(y, n, wrt, out) pith_grad_(PITH_HERE, y, n, wrt, out)
/* The same for any y with a cotangent of y's shape. */
#define pith_vjp(y, cotangent, n, wrt, out) pith_vjp_(PITH_HERE, y, cotangent, n, wrt, out)
bool pith_grad_(const char *at, pith_node *y, int n, pith_node *const *wrt, pith_node **out);
bool pith_vjp_(const char *at, pith_node *y, pith_node *cotangent, int n, pith_node *const *wrt,
               pith_node **out);
/* fn(x, context), whose inside is recomputed for the backward pass instead of kept. Values are
 * bit-equal. */
#define pith_recompute(fn, x, context) pith_recompute_(PITH_HERE, fn, x, context)
typedef pith_node *pith_body(pith_node *x, void *context);
pith_node *pith_recompute_(const char *at, pith_body *fn, pith_node *x, void *context);

/* Writes `value` to a param or state when the plan runs; returns the new value, which as an output
 * lies in the leaf itself: it changes with the leaf. Reads created before see the old one; using
 * the leaf after it is an error; one assign a leaf and graph. */
#define pith_assign(leaf, value) pith_assign_(PITH_HERE, leaf, value)
#define pith_group(n, nodes)                                                                       \
    pith_group_(PITH_HERE, n, nodes) /* no value: makes a plan run all of them */
pith_node *pith_assign_(const char *at, pith_node *leaf, pith_node *value);
pith_node *pith_group_(const char *at, int n, pith_node *const *nodes);

/* Which of the nodes y depends on. */
void pith_depends_on(const pith_node *y, int n, pith_node *const *nodes, bool *reached);

/* What follows composes the ops above (core/train/optim.c). Scales all gradients, in the array
 * itself, so that their common norm is at most `limit` (0: any); *norm is the norm before. */
#define pith_clip_norm(n, gradients, limit, norm)                                                  \
    pith_clip_norm_(PITH_HERE, n, gradients, limit, norm)
bool pith_clip_norm_(const char *at, int n, pith_node **gradients, double limit, pith_node **norm);
/* Optimizers return a group to put among a plan's outputs. `lr`: a scalar node. `ok`: a scalar
 * node that is 0 when the step must leave everything as it was (a non-finite gradient), or NULL.
 * Moments are states "adamw.m/NAME". */
typedef struct {
    double beta1, beta2, epsilon, weight_decay;
} pith_adamw_options;
#define pith_adamw(...) pith_adamw_(PITH_HERE, __VA_ARGS__)
#define pith_sgd(...) pith_sgd_(PITH_HERE, __VA_ARGS__)
pith_node *pith_adamw_(const char *at, int n, pith_node *const *params, pith_node *const *gradients,
                       pith_node *lr, pith_adamw_options options, pith_node *ok);
pith_node *pith_sgd_(const char *at, int n, pith_node *const *params, pith_node *const *gradients,
                     pith_node *lr, double momentum, double weight_decay, pith_node *ok);
/* ema/NAME <- keep ema/NAME + (1 - keep) new value; `updated` is what an optimizer returned. */
#define pith_ema(updated, keep, ok) pith_ema_(PITH_HERE, updated, keep, ok)
pith_node *pith_ema_(const char *at, pith_node *updated, double keep, pith_node *ok);

/* ---- plans ----------------------------------------------------------------------------------- */

/* How a plan is made and run; zeros, or NULL, for the usual way. The device is that of the store.
 */
typedef struct {
    /* A buffer for every value, nothing merged, folded, fused or overwritten: the same bits, for
     * finding mistakes, and pith_value reads any node that the outputs depend on. */
    bool unplanned;
    bool check_finite; /* a run ends at the first op that makes a NaN or an infinity, naming it */
} pith_plan_options;
/* `n` outputs, at least one. NULL after an error. */
pith_plan *pith_plan_new(pith_graph *g, int n, pith_node *const *outputs,
                         const pith_plan_options *options);
void pith_plan_free(pith_plan *p);
/* The library of matrix products, for the whole process: "onednn" (the default, where it was built
 * in) or "blas". Not while a plan runs. */
bool pith_use_gemm(const char *library);
/* not copied: must live until the runs are over */
bool pith_feed(pith_plan *p, const pith_node *input, const void *data);
bool pith_run(pith_plan *p);
/* valid until the store's next run or plan */
const void *pith_value(const pith_plan *p, const pith_node *output);
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
pith_plan_stats pith_plan_statistics(const pith_plan *p);

/* ---- printing -------------------------------------------------------------------------------- */

void pith_print(FILE *f, const pith_node *n, int depth); /* as a formula, `depth` ops deep */
/* Graphviz; what n depends on, or everything */
void pith_print_dot(FILE *f, const pith_graph *g, const pith_node *n);
/* a table of steps: op, shape, bytes, place in the arena */
void pith_print_plan(FILE *f, const pith_plan *p);
void pith_time_plan(pith_plan *p, bool on);         /* measure every step of the runs to come */
void pith_print_times(FILE *f, const pith_plan *p); /* by op and by scope */
double pith_gemm_share(const pith_plan *p);         /* of the measured time, in matmul and linear */

/* ---- stores ---------------------------------------------------------------------------------- */

typedef enum { PITH_WEIGHT = 1, PITH_STATE = 2, PITH_ANY = 3 } pith_kind;
typedef struct {
    const char *name;
    pith_kind kind;
    pith_dtype dtype;
    int ndim, dim[PITH_MAX_DIMS];
    void *data;
    bool loaded, used; /* came from a file; named by a graph */
    uint64_t version;  /* raised by every write, of a run, a load or by hand */
} pith_tensor;

pith_store *pith_store_new(void);
void pith_store_free(pith_store *s);
int pith_store_count(const pith_store *s);
pith_tensor *pith_store_at(const pith_store *s, int i);        /* in order of creation */
pith_tensor *pith_store_find(pith_store *s, const char *name); /* NULL if there is none */
/* Make a tensor of zeros; an error if the name is taken. */
pith_tensor *pith_store_add(pith_store *s, const char *name, pith_kind kind, pith_dtype dtype,
                            int ndim, const int *dim);
/* fnmatch; of graphs made later; false if none fits */
bool pith_store_freeze(pith_store *s, const char *pattern);
/* safetensors. f16, bf16 and f64 become f32, i64 becomes i32 (an error out of range). States carry
 * "state" metadata. A store whose run ended midway is not saved; loading it again mends it. */
bool pith_store_load(pith_store *s, const char *path);
bool pith_store_save(const pith_store *s, const char *path, pith_kind kinds);
size_t pith_tensor_size(const pith_tensor *t);
/* Any file, written so that a crash leaves the old one or the new one. */
bool pith_write_file(const char *path, const void *data, size_t size);

#ifdef __cplusplus
}
#endif
#include "pith_ops.h"
#endif
