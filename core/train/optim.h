/* optim.h: what a training step is made of: gradients of what is trained, clipping, the guard,
 * optimizers, averages, and the updates that losses and models noted. All of them are compositions
 * of ops. */
#ifndef PITH_OPTIM_H
#define PITH_OPTIM_H
#include "pith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As pith_grad, for params: where one is read by pith_gather_rows, out[k] is its gradient by rows,
 * to be handed to what follows as any other. A table also read whole is an error. */
#define pith_gradients(loss, n, params, out) pith_gradients_(PITH_HERE, loss, n, params, out)
bool pith_gradients_(const char *at, pith_node *loss, int n, pith_node *const *params,
                     pith_node **out);
/* Scales all gradients, in the array itself, so that their common norm is at most `limit` (0: any);
 * *norm is the norm before. */
#define pith_clip_norm(n, gradients, limit, norm)                                                  \
    pith_clip_norm_(PITH_HERE, n, gradients, limit, norm)
bool pith_clip_norm_(const char *at, int n, pith_node **gradients, double limit, pith_node **norm);
/* 1 where the norm and every value that updates of the graph would write are finite, else 0. */
#define pith_step_ok(norm) pith_step_ok_(PITH_HERE, norm)
pith_node *pith_step_ok_(const char *at, pith_node *norm);
/* Writes what the updates of the graph noted, unless ok is 0, and returns a group to put among a
 * plan's outputs, NULL without updates. Before the optimizer, which would overwrite what a value
 * may be an alias of. */
#define pith_commit(g, ok) pith_commit_(PITH_HERE, g, ok)
pith_node *pith_commit_(const char *at, pith_graph *g, pith_node *ok);
/* Optimizers return a group to put among a plan's outputs. `lr`: a scalar node. `ok`: a scalar
 * node that is 0 when the step must leave everything as it was (pith_step_ok), or NULL. Moments are
 * states "adamw.m/NAME". */
typedef struct {
    double beta1, beta2, epsilon, weight_decay;
} pith_adamw_options;
#define pith_adamw(...) pith_adamw_(PITH_HERE, __VA_ARGS__)
#define pith_sgd(...) pith_sgd_(PITH_HERE, __VA_ARGS__)
pith_node *pith_adamw_(const char *at, int n, pith_node *const *params, pith_node *const *gradients,
                       pith_node *lr, pith_adamw_options options, pith_node *ok);
pith_node *pith_sgd_(const char *at, int n, pith_node *const *params, pith_node *const *gradients,
                     pith_node *lr, double momentum, double weight_decay, pith_node *ok);
/* ema/NAME <- decay ema/NAME + (1 - decay) new value; `updated` is what an optimizer returned. Of a
 * table trained by rows the averages of drawn rows move. */
#define pith_ema(updated, decay, ok) pith_ema_(PITH_HERE, updated, decay, ok)
pith_node *pith_ema_(const char *at, pith_node *updated, double decay, pith_node *ok);

#ifdef __cplusplus
}
#endif
#endif
