/* pith.h: the whole public interface of the engine.
 *
 * A model, a loss, its gradient and the optimizer step are one declarative graph. Ops return nodes and the
 * graph owns them, so expressions nest and nothing is freed by hand. A plan makes some nodes runnable; it is
 * made once and run many times.
 *
 *     pith_store *weights = pith_store_new();
 *     pith_graph *g = pith_graph_new(weights, 0);
 *     pith_node *x = pith_input(g, "x", PITH_F32, 8, 4, PITH_END);                          (8, 4)
 *     pith_node *w = pith_param(g, "w", PITH_NORMAL, 0.1, 3, 4, PITH_END);                  (3, 4)
 *     pith_node *loss = pith_mean(pith_square(pith_matmul_nt(x, w)), PITH_ALL);
 *     pith_node *gradient;
 *     pith_grad(loss, 1, &w, &gradient);
 *     pith_plan *plan = pith_plan_new(g, 2, (pith_node *[]){ loss, gradient });
 *     pith_feed(plan, x, data);
 *     pith_run(plan);
 *     printf("%g\n", pith_scalar(plan, loss));
 *
 * Tensors are dense, row-major, with up to PITH_MAX_DIMS axes of at least 1. Pointwise ops broadcast as numpy does;
 * nothing else broadcasts. Axes may be counted from the end (-1 is the last). Lists of dims end with PITH_END.
 *
 * Errors: shape and type errors are found while the graph is built and name the caller's file and line. The first one
 * is kept in the graph, its node is poisoned, and what is built on it is silent. The handler (pith_on_error) hears of
 * every first error; the default one prints it and exits. With any other handler the library neither prints nor exits:
 * functions return NULL or false.
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
#define PITH_END (-2147483647)              /* closes a list of dims or axes */
#define PITH_ALL PITH_END                   /* as a list of axes: every axis */

#ifdef PITH_DOUBLE
typedef double pith_real;
#else
typedef float pith_real;                    /* the element of a PITH_F32 tensor */
#endif

typedef enum { PITH_F32, PITH_I32, PITH_U8 } pith_dtype;

typedef struct pith_graph pith_graph;       /* owns every node of one program; freed as a whole */
typedef struct pith_node pith_node;         /* one value: an op applied to nodes, or a leaf */
typedef struct pith_store pith_store;       /* named weights and state; outlives graphs */
typedef struct pith_plan pith_plan;         /* some outputs of a graph made runnable */
typedef struct pith_op pith_op;             /* what authors of ops write: see core.h */

/* Where a call stands in the user's text: every op is a macro over a function that takes it. */
#define PITH_STRING2(x) #x
#define PITH_STRING(x) PITH_STRING2(x)
#define PITH_HERE __FILE__ ":" PITH_STRING(__LINE__)

/* A frame of the call trail that errors print ("in clip_loss, called at experiment.c:57"). */
typedef struct pith_trail { const char *name, *at; const struct pith_trail *parent; } pith_trail;

typedef struct { int i[8]; double f[2]; const void *p; } pith_attr;     /* what an op was told beside its inputs */

/* Fields may be read, not written. */
struct pith_node {
    const pith_op *op;
    pith_graph *graph;
    int id;                                 /* creation order, which is the topological order */
    pith_dtype dtype;
    int ndim, dim[PITH_MAX_DIMS];
    int n_in;
    pith_node **in;
    pith_attr attr;
    const char *name;                       /* of a leaf, or given by pith_name; else NULL */
    const char *scope;                      /* "visual.transformer." or "" */
    const char *at;                         /* "file.c:12" */
    const pith_trail *trail;
    int copy;                               /* above 0 in a recomputed segment */
    int segment;                            /* of pith_checkpoint, or 0 */
    bool backward;                          /* made by the gradient walk */
};

/* ---- errors ------------------------------------------------------------------------------------------------- */

typedef void pith_handler(const char *message, void *context);
void pith_on_error(pith_handler *handler, void *context);   /* NULL: the default, pith_die */
void pith_die(const char *message, void *context);          /* prints to stderr and exits with 1 */
const char *pith_error(void);                               /* the latest message of this thread, "" if none */
bool pith_raise(const char *format, ...);                   /* report an error of one's own; returns false */
const char *pith_graph_error(const pith_graph *g);          /* the graph's first error, NULL if none */

/* ---- graph, scopes, leaves ------------------------------------------------------------------------------------ */

/* Params and states of the graph live in `store`; `seed` keys initial values and random ops. */
pith_graph *pith_graph_new(pith_store *store, uint64_t seed);
void pith_graph_free(pith_graph *g);
pith_store *pith_store_of(const pith_graph *g);             /* the one in use */
bool pith_graph_training(pith_graph *g, bool on);           /* dropout and the like act only in training; returns `on` */
bool pith_is_training(const pith_graph *g);
int pith_graph_size(const pith_graph *g);
/* Leaves made from here on live in `store` under `prefix` (a teacher beside its student). `frozen`: none of them is trained.
 * Returns the store in use before; go back with pith_use_store(g, before, "", false). */
pith_store *pith_use_store(pith_graph *g, pith_store *store, const char *prefix, bool frozen);
/* Names made inside a scope start with it: pith_scope(g, "resblocks.%d", i) ... pith_unscope(g). */
void pith_scope(pith_graph *g, const char *format, ...);
void pith_unscope(pith_graph *g);
/* Call a function that builds graph so that errors inside name it and the caller's line:
 * PITH_CALL(g, clip_loss, (image, text, scale)). */
#define PITH_CALL(g, function, arguments) \
    (pith_enter((g), #function, PITH_HERE), pith_leave((g), function arguments))
void pith_enter(pith_graph *g, const char *name, const char *at);
pith_node *pith_leave(pith_graph *g, pith_node *value);

/* Fed before a run (pith_feed). */
#define pith_input(g, name, dtype, ...) pith_input_(PITH_HERE, (g), (name), (dtype), __VA_ARGS__)
pith_node *pith_input_(const char *at, pith_graph *g, const char *name, pith_dtype dtype, ...);
/* Trained. The first graph that names a param creates it in the store, drawn on the host and keyed by seed and name; later graphs
 * get the same memory, and another shape is an error. `a`: standard deviation, half width, or value. */
typedef enum { PITH_NORMAL, PITH_UNIFORM, PITH_CONSTANT } pith_init;
#define pith_param(g, name, init, a, ...) pith_param_(PITH_HERE, (g), (name), (init), (a), __VA_ARGS__)
pith_node *pith_param_(const char *at, pith_graph *g, const char *name, pith_init init, double a, ...);
/* A param's group, told at its creation. By default: trained, decayed if it has two axes or more, rate factor 1. */
pith_node *pith_no_decay(pith_node *param);
pith_node *pith_rate_factor(pith_node *param, double factor);       /* negative: ascent, for Lagrange multipliers */
pith_node *pith_clamp_param(pith_node *param, double low, double high);     /* after every step of the optimizer */

/* Kept between runs, written by pith_assign, saved with the store but not exported; starts at `value`. */
#define pith_state(g, name, dtype, value, ...) pith_state_(PITH_HERE, (g), (name), (dtype), (value), __VA_ARGS__)
pith_node *pith_state_(const char *at, pith_graph *g, const char *name, pith_dtype dtype, double value, ...);

#define pith_state_like(g, name, n) pith_state_like_(PITH_HERE, (g), (name), n)     /* of n's shape, starting at 0 */
pith_node *pith_state_like_(const char *at, pith_graph *g, const char *name, const pith_node *n);
#define pith_const(g, value) pith_const_(PITH_HERE, (g), (value))           /* a scalar, no axes */
#define pith_const_array(g, dtype, data, ...) pith_const_array_(PITH_HERE, (g), (dtype), (data), __VA_ARGS__)  /* copied */
#define pith_arange(g, n) pith_arange_(PITH_HERE, (g), (n))                 /* (n) i32: 0, 1, ... */
pith_node *pith_const_(const char *at, pith_graph *g, double value);
pith_node *pith_const_array_(const char *at, pith_graph *g, pith_dtype dtype, const void *data, ...);
pith_node *pith_arange_(const char *at, pith_graph *g, int n);

/* Random numbers: Philox4x32-10. Key: the graph's seed and a hash of scope and ordinal; counter: (pith_step, element). */
#define pith_uniform(g, ...) pith_uniform_(PITH_HERE, (g), __VA_ARGS__)     /* in [0, 1) */
#define pith_normal(g, ...) pith_normal_(PITH_HERE, (g), __VA_ARGS__)       /* mean 0, standard deviation 1 */
pith_node *pith_uniform_(const char *at, pith_graph *g, ...);
pith_node *pith_normal_(const char *at, pith_graph *g, ...);
pith_node *pith_step(pith_graph *g);        /* the input "step", i32 scalar: 0 until fed */

pith_node *pith_name(pith_node *n, const char *name);       /* for drawings and tables; returns n */
pith_node *pith_watch(pith_node *scalar, const char *name); /* puts a scalar into the log and the curves; returns it */
int pith_watched(const pith_graph *g, pith_node ***nodes, const char *const **names);
pith_node *pith_result(pith_node *n, int k);                /* the k-th result of an op with several; 0 is n itself */
int pith_params(const pith_graph *g, pith_node ***params);  /* the trained params, in creation order */
typedef struct { bool trained, decay; double rate, low, high; } pith_param_group;
pith_param_group pith_group_of(const pith_node *param);     /* what it was told at its creation; all zeros for other nodes */
bool pith_is_param(const pith_node *n);
size_t pith_size(const pith_node *n);                       /* number of elements */

/* ---- pointwise ops (broadcast) ---------------------------------------------------------------------------------- */

#define pith_add(a, b) pith_add_(PITH_HERE, a, b)
#define pith_sub(a, b) pith_sub_(PITH_HERE, a, b)
#define pith_mul(a, b) pith_mul_(PITH_HERE, a, b)
#define pith_div(a, b) pith_div_(PITH_HERE, a, b)
#define pith_minimum(a, b) pith_minimum_(PITH_HERE, a, b)
#define pith_maximum(a, b) pith_maximum_(PITH_HERE, a, b)
#define pith_less(a, b) pith_less_(PITH_HERE, a, b)                 /* 1 where a < b, else 0 */
#define pith_equal(a, b) pith_equal_(PITH_HERE, a, b)               /* 1 where a == b, else 0 */
#define pith_where(c, a, b) pith_where_(PITH_HERE, c, a, b)         /* a where c is not 0, else b; never multiplies */
#define pith_neg(a) pith_neg_(PITH_HERE, a)
#define pith_abs(a) pith_abs_(PITH_HERE, a)
#define pith_sign(a) pith_sign_(PITH_HERE, a)                       /* -1, 0 or 1 */
#define pith_square(a) pith_square_(PITH_HERE, a)
#define pith_reciprocal(a) pith_reciprocal_(PITH_HERE, a)
#define pith_sqrt(a) pith_sqrt_(PITH_HERE, a)
#define pith_rsqrt(a) pith_rsqrt_(PITH_HERE, a)
#define pith_exp(a) pith_exp_(PITH_HERE, a)
#define pith_log(a) pith_log_(PITH_HERE, a)
#define pith_sin(a) pith_sin_(PITH_HERE, a)
#define pith_cos(a) pith_cos_(PITH_HERE, a)
#define pith_tanh(a) pith_tanh_(PITH_HERE, a)
#define pith_erf(a) pith_erf_(PITH_HERE, a)
#define pith_sigmoid(a) pith_sigmoid_(PITH_HERE, a)
#define pith_softplus(a) pith_softplus_(PITH_HERE, a)               /* log(1 + exp(a)), stable */
#define pith_relu(a) pith_relu_(PITH_HERE, a)
#define pith_gelu(a) pith_gelu_(PITH_HERE, a)                       /* exact: a Phi(a) */
#define pith_quick_gelu(a) pith_quick_gelu_(PITH_HERE, a)           /* OpenAI's: a sigmoid(1.702 a) */
#define pith_is_finite(a) pith_is_finite_(PITH_HERE, a)             /* 1 or 0 */
#define PITH_UNARY(name) pith_node *pith_##name##_(const char *at, pith_node *a);
#define PITH_BINARY(name) pith_node *pith_##name##_(const char *at, pith_node *a, pith_node *b);
PITH_BINARY(add) PITH_BINARY(sub) PITH_BINARY(mul) PITH_BINARY(div) PITH_BINARY(minimum) PITH_BINARY(maximum)
PITH_BINARY(less) PITH_BINARY(equal)
pith_node *pith_where_(const char *at, pith_node *c, pith_node *a, pith_node *b);
PITH_UNARY(neg) PITH_UNARY(abs) PITH_UNARY(sign) PITH_UNARY(square) PITH_UNARY(reciprocal) PITH_UNARY(sqrt)
PITH_UNARY(rsqrt) PITH_UNARY(exp) PITH_UNARY(log) PITH_UNARY(sin) PITH_UNARY(cos) PITH_UNARY(tanh) PITH_UNARY(erf)
PITH_UNARY(sigmoid) PITH_UNARY(softplus) PITH_UNARY(relu) PITH_UNARY(gelu) PITH_UNARY(quick_gelu) PITH_UNARY(is_finite)

#define pith_scale(a, c) pith_scale_(PITH_HERE, a, c)               /* c a, with a number c */
#define pith_shift(a, c) pith_shift_(PITH_HERE, a, c)               /* a + c */
#define pith_expand(a, ...) pith_expand_(PITH_HERE, a, __VA_ARGS__) /* broadcast to the dims given */
#define pith_cast(a, dtype) pith_cast_(PITH_HERE, a, dtype)
pith_node *pith_scale_(const char *at, pith_node *a, double c);
pith_node *pith_shift_(const char *at, pith_node *a, double c);
pith_node *pith_expand_(const char *at, pith_node *a, ...);
pith_node *pith_cast_(const char *at, pith_node *a, pith_dtype dtype);

/* ---- shape ---------------------------------------------------------------------------------------------------- */

#define pith_reshape(a, ...) pith_reshape_(PITH_HERE, a, __VA_ARGS__)       /* same memory; one dim may be -1 */
#define pith_detach(a) pith_detach_(PITH_HERE, a)                           /* the value passes, no gradient does */
#define pith_slice(a, axis, start, stop) pith_slice_(PITH_HERE, a, axis, start, stop)
#define pith_concat(n, list, axis) pith_concat_(PITH_HERE, n, list, axis)
#define pith_permute(a, ...) pith_permute_(PITH_HERE, a, __VA_ARGS__)       /* axes in their new order */
#define pith_transpose(a) pith_transpose_(PITH_HERE, a)                     /* the last two axes swapped */
pith_node *pith_reshape_(const char *at, pith_node *a, ...);
pith_node *pith_detach_(const char *at, pith_node *a);
pith_node *pith_slice_(const char *at, pith_node *a, int axis, int start, int stop);
pith_node *pith_concat_(const char *at, int n, pith_node *const *list, int axis);
pith_node *pith_permute_(const char *at, pith_node *a, ...);
pith_node *pith_transpose_(const char *at, pith_node *a);

/* Rows of table (V, ...) named by ids i32 of any shape: ids.dims + (...). Ids outside [0, V) give zeros. */
#define pith_gather(table, ids) pith_gather_(PITH_HERE, table, ids)
/* The adjoint: rows (ids.dims + (...)) summed into zeros (count, ...), in order of position. */
#define pith_scatter_add(rows, ids, count) pith_scatter_add_(PITH_HERE, rows, ids, count)
pith_node *pith_gather_(const char *at, pith_node *table, pith_node *ids);
pith_node *pith_scatter_add_(const char *at, pith_node *rows, pith_node *ids, int count);

/* ---- reductions ------------------------------------------------------------------------------------------------- */

#define pith_sum(a, ...) pith_sum_(PITH_HERE, a, __VA_ARGS__, PITH_END)     /* over the axes given, which go away; PITH_ALL */
#define pith_mean(a, ...) pith_mean_(PITH_HERE, a, __VA_ARGS__, PITH_END)
#define pith_max(a, ...) pith_max_(PITH_HERE, a, __VA_ARGS__, PITH_END)     /* gradient to the first largest entry */
#define pith_dot(a, b) pith_dot_(PITH_HERE, a, b)                           /* sum of a b over everything: a scalar */
pith_node *pith_sum_(const char *at, pith_node *a, ...);
pith_node *pith_mean_(const char *at, pith_node *a, ...);
pith_node *pith_max_(const char *at, pith_node *a, ...);
pith_node *pith_dot_(const char *at, pith_node *a, pith_node *b);

/* ---- products and fused ops --------------------------------------------------------------------------------------- */

/* (..., m, k) x (..., k, n): equal leading dims, or b with two axes, shared by all of a's rows.
 * _nt: b is (..., n, k). _tn: a is (..., k, m). */
#define pith_matmul(a, b) pith_matmul_(PITH_HERE, a, b)
#define pith_matmul_nt(a, b) pith_matmul_nt_(PITH_HERE, a, b)
#define pith_matmul_tn(a, b) pith_matmul_tn_(PITH_HERE, a, b)
#define pith_linear(x, w, b) pith_linear_(PITH_HERE, x, w, b)       /* x (..., k) w (n, k) b (n) or NULL: x w^T + b */
pith_node *pith_matmul_(const char *at, pith_node *a, pith_node *b);
pith_node *pith_matmul_nt_(const char *at, pith_node *a, pith_node *b);
pith_node *pith_matmul_tn_(const char *at, pith_node *a, pith_node *b);
pith_node *pith_linear_(const char *at, pith_node *x, pith_node *w, pith_node *b);

#define pith_softmax(a) pith_softmax_(PITH_HERE, a)                 /* over the last axis */
#define pith_log_sum_exp(a) pith_log_sum_exp_(PITH_HERE, a)         /* over the last axis, which goes away */
#define pith_layer_norm(x, gain, bias) pith_layer_norm_(PITH_HERE, x, gain, bias)   /* epsilon 1e-5; 1: mean, 2: 1/std */
#define pith_normalize(a) pith_normalize_(PITH_HERE, a)             /* rows of unit length, over the last axis */
pith_node *pith_softmax_(const char *at, pith_node *a);
pith_node *pith_log_sum_exp_(const char *at, pith_node *a);
pith_node *pith_layer_norm_(const char *at, pith_node *x, pith_node *gain, pith_node *bias);
pith_node *pith_normalize_(const char *at, pith_node *a);

/* Attention inside segments of packed tokens: segment s holds rows offsets[s] .. offsets[s+1]-1. offsets (S+1) i32.
 * qkv (N, 3, heads, width) -> (N, heads, width), scores divided by sqrt(width); rows in no segment give zeros.
 * Result 1: log-sum-exp of the scores, (N, heads). */
#define pith_attention(qkv, offsets, causal) pith_attention_(PITH_HERE, qkv, offsets, causal)
/* One query a segment, q (S, heads, width), against all of its keys and values kv (N, 2, heads, width) -> (S, heads, width). */
#define pith_pooled_attention(q, kv, offsets) pith_pooled_attention_(PITH_HERE, q, kv, offsets)
pith_node *pith_attention_(const char *at, pith_node *qkv, pith_node *offsets, bool causal);
pith_node *pith_pooled_attention_(const char *at, pith_node *q, pith_node *kv, pith_node *offsets);
/* (n) i32: the segment each of n rows lies in, -1 for none. */
#define pith_segments(offsets, n) pith_segments_(PITH_HERE, offsets, n)
pith_node *pith_segments_(const char *at, pith_node *offsets, int n);

/* Cross-entropies a row, (B): logits (B, C) against labels i32 (B), or against the softmax of target logits (B, C). */
#define pith_cross_entropy(logits, labels) pith_cross_entropy_(PITH_HERE, logits, labels)
#define pith_soft_cross_entropy(logits, targets) pith_soft_cross_entropy_(PITH_HERE, logits, targets)
pith_node *pith_cross_entropy_(const char *at, pith_node *logits, pith_node *labels);
pith_node *pith_soft_cross_entropy_(const char *at, pith_node *logits, pith_node *targets);

/* Zeros a share p of a, and scales the rest by 1/(1-p); nothing outside training. */
#define pith_dropout(a, p) pith_dropout_(PITH_HERE, a, p)
pith_node *pith_dropout_(const char *at, pith_node *a, double p);

/* ---- gradient, writes, optimizers ------------------------------------------------------------------------------------ */

/* Appends nodes for d y / d wrt[k]; y is a scalar; any node may be asked for; zeros where y does not depend on it. */
#define pith_grad(y, n, wrt, out) pith_grad_(PITH_HERE, y, n, wrt, out)
/* The same for any y with a cotangent of y's shape. */
#define pith_vjp(y, cotangent, n, wrt, out) pith_vjp_(PITH_HERE, y, cotangent, n, wrt, out)
bool pith_grad_(const char *at, pith_node *y, int n, pith_node *const *wrt, pith_node **out);
bool pith_vjp_(const char *at, pith_node *y, pith_node *cotangent, int n, pith_node *const *wrt, pith_node **out);
/* fn(x, context), whose inside is recomputed for the backward pass instead of kept. Values are bit-equal. */
#define pith_checkpoint(fn, x, context) pith_checkpoint_(PITH_HERE, fn, x, context)
typedef pith_node *pith_segment(pith_node *x, void *context);
pith_node *pith_checkpoint_(const char *at, pith_segment *fn, pith_node *x, void *context);

/* Writes `value` to a param or state when the plan runs; returns the new value, which as an output lies in the leaf itself:
 * it changes with the leaf. Reads created before see the old one; using the leaf after it is an error; one assign a leaf
 * and graph. */
#define pith_assign(leaf, value) pith_assign_(PITH_HERE, leaf, value)
#define pith_group(n, nodes) pith_group_(PITH_HERE, n, nodes)       /* no value: makes a plan run all of them */
pith_node *pith_assign_(const char *at, pith_node *leaf, pith_node *value);
pith_node *pith_group_(const char *at, int n, pith_node *const *nodes);

/* Which of the nodes y depends on. */
void pith_reached(const pith_node *y, int n, pith_node *const *nodes, bool *reached);

/* What follows composes the ops above (core/train/optim.c). Scales all gradients, in the array itself, so that their common
 * norm is at most `limit` (0: any); *norm is the norm before. */
#define pith_clip_norm(n, gradients, limit, norm) pith_clip_norm_(PITH_HERE, n, gradients, limit, norm)
bool pith_clip_norm_(const char *at, int n, pith_node **gradients, double limit, pith_node **norm);
/* Optimizers return a group to put among a plan's outputs. `rate`: a scalar node. `ok`: a scalar node that is 0 when
 * the step must leave everything as it was (a non-finite gradient), or NULL. Moments are states "adamw.m/NAME". */
typedef struct { double beta1, beta2, epsilon, decay; } pith_adamw_options;
#define pith_adamw(...) pith_adamw_(PITH_HERE, __VA_ARGS__)
#define pith_sgd(...) pith_sgd_(PITH_HERE, __VA_ARGS__)
pith_node *pith_adamw_(const char *at, int n, pith_node *const *params, pith_node *const *gradients, pith_node *rate,
                       pith_adamw_options options, pith_node *ok);
pith_node *pith_sgd_(const char *at, int n, pith_node *const *params, pith_node *const *gradients, pith_node *rate,
                     double momentum, double decay, pith_node *ok);
/* ema/NAME <- keep ema/NAME + (1 - keep) new value; `updated` is what an optimizer returned. */
#define pith_ema(updated, keep, ok) pith_ema_(PITH_HERE, updated, keep, ok)
pith_node *pith_ema_(const char *at, pith_node *updated, double keep, pith_node *ok);

/* ---- plans -------------------------------------------------------------------------------------------------------- */

pith_plan *pith_plan_new(pith_graph *g, int n, pith_node *const *outputs);  /* NULL after an error */
void pith_plan_free(pith_plan *p);
bool pith_feed(pith_plan *p, const pith_node *input, const void *data);     /* not copied: must live until the runs are over */
bool pith_run(pith_plan *p);
const void *pith_value(const pith_plan *p, const pith_node *output);        /* valid until the store's next run or plan */
double pith_scalar(const pith_plan *p, const pith_node *output);

typedef struct {
    int steps, nodes, merged, folded, fused;    /* fused: pointwise nodes that live in a chain with others */
    size_t arena, bound;                        /* bytes laid out, and the largest sum over steps of live bytes */
    size_t without_inplace, without_fusion;     /* the bound had there been none */
    size_t separate;                            /* a buffer each */
    size_t moved;                               /* bytes read and written a run */
    double gemm_flops;                          /* multiply-adds count two */
} pith_plan_stats;
pith_plan_stats pith_plan_statistics(const pith_plan *p);

/* ---- printing ------------------------------------------------------------------------------------------------------- */

void pith_print(FILE *f, const pith_node *n, int depth);        /* as a formula, `depth` ops deep */
void pith_print_dot(FILE *f, const pith_graph *g, const pith_node *n);     /* Graphviz; what n depends on, or everything */
void pith_print_plan(FILE *f, const pith_plan *p);              /* a table of steps: op, shape, bytes, place in the arena */
void pith_time_plan(pith_plan *p, bool on);                     /* measure every step of the runs to come */
void pith_print_times(FILE *f, const pith_plan *p);             /* by op and by scope */
double pith_gemm_share(const pith_plan *p);                     /* of the measured time, in matmul and linear */

/* ---- stores ----------------------------------------------------------------------------------------------------------- */

typedef enum { PITH_WEIGHT = 1, PITH_STATE = 2, PITH_ANY = 3 } pith_kind;
typedef struct {
    const char *name;
    pith_kind kind;
    pith_dtype dtype;
    int ndim, dim[PITH_MAX_DIMS];
    void *data;
    bool loaded, used;      /* came from a file; named by a graph */
} pith_tensor;

pith_store *pith_store_new(void);
void pith_store_free(pith_store *s);
int pith_store_count(const pith_store *s);
pith_tensor *pith_store_at(const pith_store *s, int i);                         /* in order of creation */
pith_tensor *pith_store_find(pith_store *s, const char *name);              /* NULL if there is none */
/* Make a tensor of zeros; an error if the name is taken. */
pith_tensor *pith_store_add(pith_store *s, const char *name, pith_kind kind, pith_dtype dtype, int ndim, const int *dim);
bool pith_store_freeze(pith_store *s, const char *pattern);     /* fnmatch; of graphs made later; false if none fits */
/* safetensors. f16, bf16 and f64 become f32, i64 becomes i32 (an error out of range). States carry "state" metadata. */
bool pith_store_load(pith_store *s, const char *path);
bool pith_store_save(const pith_store *s, const char *path, pith_kind kinds);
size_t pith_tensor_size(const pith_tensor *t);
/* Any file, written so that a crash leaves the old one or the new one. */
bool pith_write_file(const char *path, const void *data, size_t size);

/* ---- what a loss sees ----------------------------------------------------------------------------------------------------- */

/* A loss is a function pith_node *loss(const pith_batch *b) that returns a scalar. What it does not mention costs nothing. */
typedef struct pith_batch {
    pith_graph *graph;
    pith_node *image, *text;                    /* (B, D) unit rows */
    pith_node *image_raw, *text_raw;            /* before normalising */
    pith_node *scale;                           /* the multiplier of cosines, already exponentiated; a scalar */
    pith_node *teacher_image, *teacher_text, *teacher_scale;    /* detached; NULL without a teacher */
    pith_node *group;                           /* (B) i32: pairs with equal captions share a number */
    pith_node *label;                           /* (B) i32: class or cluster, or NULL */
    pith_node *progress;                        /* scalar in [0, 1] */
    const char *options;                        /* "key=value,key=value" of --loss name:key=value, or NULL */
} pith_batch;
double pith_option(const pith_batch *b, const char *key, double otherwise);

#ifdef __cplusplus
}
#endif
#endif
