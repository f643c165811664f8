/* optim.h: the parts of a training step: gradients, clipping, the check that all is finite,
 * optimizers, averages of weights, and the writing of states that losses and models update. All of
 * them are compositions of ops. */
#ifndef PITH_OPTIM_H
#define PITH_OPTIM_H
#include "pith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As pith_grad, by n params. For a table that is read by pith_gather_rows, out[k] is a gradient by
 * rows, which the functions below take like any other; it is an error if the loss also reads the
 * whole table. */
#define pith_gradients(...) pith_gradients_(PITH_HERE, __VA_ARGS__)
bool pith_gradients_(const char *at, pith_node *loss, int n, pith_node *const *params,
                     pith_node **out);
/* Replaces the gradients in the array by scaled ones whose common norm is at most `limit` (0: no
 * limit). *norm: a scalar, their norm before. */
#define pith_clip_norm(...) pith_clip_norm_(PITH_HERE, __VA_ARGS__)
bool pith_clip_norm_(const char *at, int n, pith_node **gradients, double limit, pith_node **norm);
/* A scalar: 1 if the norm, a scalar, and every value that the graph's updates would write are
 * finite, else 0. Of several rows with one id all count, though the last alone is written. */
#define pith_step_ok(norm) pith_step_ok_(PITH_HERE, norm)
pith_node *pith_step_ok_(const char *at, pith_node *norm);
/* Makes the nodes that write the graph's updates (pith_update, pith_update_rows) unless ok is 0.
 * All new values are computed before the first is written, so that updates may read each other's
 * leaves. Returns a group to put among a plan's outputs; NULL if the graph has no updates. Call it
 * once, before the optimizer: a noted value may be an alias of a param, and must be read before
 * the param is written. ok: a scalar without axes, or NULL. */
#define pith_commit(g, ok) pith_commit_(PITH_HERE, g, ok)
pith_node *pith_commit_(const char *at, pith_graph *g, pith_node *ok);
/* Optimizers return a group to put among a plan's outputs. `lr`: the learning rate, a scalar node.
 * `ok`: a scalar node that is 0 when the step must leave everything as it was (pith_step_ok), or
 * NULL. What they remember are states of the store, outside all scopes: adamw.m/NAME,
 * adamw.v/NAME, sgd.m/NAME, and adamw.count, the steps that all AdamW of the store have made
 * together: give all params of a graph to one call. */
typedef struct {
    double beta1, beta2, epsilon, weight_decay;
} pith_adamw_options;
#define pith_adamw(...) pith_adamw_(PITH_HERE, __VA_ARGS__)
#define pith_sgd(...) pith_sgd_(PITH_HERE, __VA_ARGS__)
pith_node *pith_adamw_(const char *at, int n, pith_node *const *params, pith_node *const *gradients,
                       pith_node *lr, pith_adamw_options options, pith_node *ok);
pith_node *pith_sgd_(const char *at, int n, pith_node *const *params, pith_node *const *gradients,
                     pith_node *lr, double momentum, double weight_decay, pith_node *ok);
/* Keeps an exponential moving average of every trained param as the state ema/NAME: ema <- decay
 * ema + (1 - decay) param. `updated`: what an optimizer returned; the result takes its place. Of a
 * table trained by rows only the averages of the drawn rows change. */
#define pith_ema(updated, decay, ok) pith_ema_(PITH_HERE, updated, decay, ok)
pith_node *pith_ema_(const char *at, pith_node *updated, double decay, pith_node *ok);

#ifdef __cplusplus
}
#endif
#endif
