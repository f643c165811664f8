/* program.c: a training step as a graph and its plan: loss, gradient, clipping, updates of states,
 * optimizer and averages. */
#include <stdlib.h>
#include <string.h>
#include "parts.h"

static void name_unreached(pith_program *p, int n, pith_node *const *params, const bool *reached)
{
    char *text = p->unreached;
    const size_t size = sizeof p->unreached;
    int count = 0;
    for (int k = 0; k < n; k++) {
        const size_t used = strlen(text);
        if (!reached[k] && count++ < 4)
            snprintf(text + used, size - used, "%s%s", count > 1 ? ", " : "", params[k]->name);
    }
    if (count > 4) snprintf(text + strlen(text), size - strlen(text), " and %d more", count - 4);
}

/* Moves the params that the loss depends on to the front of the list; their number, 0: an error. */
static int reached_params(pith_program *p, pith_node ***params)
{
    const int n = pith_params(p->graph, params);
    bool *reached = calloc((size_t)n + 1, sizeof *reached);
    int count = 0;
    pith_depends_on(p->loss, n, *params, reached);
    name_unreached(p, n, *params, reached);
    for (int k = 0; k < n; k++)
        if (reached[k]) (*params)[count++] = (*params)[k];
    free(reached);
    if (!count) pith_raise("the loss depends on no param that is trained");
    return count;
}

static pith_node *build_update(pith_program *p, const pith_train_options *o)
{
    pith_node **params;
    const int n = reached_params(p, &params);
    if (!n) return NULL;
    pith_node **gradients = malloc(sizeof *gradients * (size_t)n), *all = NULL, *states = NULL;
    pith_node *lr = pith_input(p->graph, "lr", PITH_F32);
    if (pith_gradients(p->loss, n, params, gradients)) {
        const pith_adamw_options adamw = { o->beta1, o->beta2, o->epsilon, o->weight_decay };
        pith_clip_norm(n, gradients, o->clip_norm, &p->norm);
        p->ok = pith_step_ok(p->norm);
        states = pith_commit(p->graph, p->ok);
        all = pith_adamw(n, params, gradients, lr, adamw, p->ok);
        if (o->ema > 0) all = pith_ema(all, o->ema, p->ok);
    }
    free(gradients);
    return states && all ? pith_group(2, ((pith_node *[]){ states, all })) : all;
}

bool pith_program_make(pith_program *p, const pith_task *task, pith_store *store,
                       const pith_train_options *o, int tokens)
{
    *p = (pith_program){ .tokens = tokens, .graph = pith_graph_new(store, o->seed) };
    if (!p->graph) return false;
    pith_set_training(p->graph, true);
    p->loss = task->loss(task->context, p->graph, tokens);
    if (!p->loss || pith_graph_error(p->graph)) return false;
    pith_node *all = build_update(p, o);
    if (!all) return false;
    p->n_watched = pith_watched(p->graph, &p->watched, &p->names);
    for (int k = 0; k < p->n_watched; k++)
        if (pith_is_metric(p->names[k]))
            return pith_raise("%s: a watched scalar cannot be called %s, which the log has itself",
                              p->watched[k]->at, p->names[k]);
    pith_node **outputs = malloc(sizeof *outputs * (size_t)(p->n_watched + 4));
    p->line = malloc(sizeof *p->line * (size_t)(p->n_watched + 6));
    int n = 0;
    outputs[n++] = p->loss;
    outputs[n++] = p->norm;
    outputs[n++] = p->ok;
    for (int k = 0; k < p->n_watched; k++) outputs[n++] = p->watched[k];
    outputs[n++] = all;
    p->plan = pith_plan_new(p->graph, n, outputs, &o->plan);
    free(outputs);
    if (p->plan) p->gflop = pith_plan_statistics(p->plan).gemm_flops / 1e9;
    return p->plan;
}

void pith_program_free(pith_program *p)
{
    pith_plan_free(p->plan);
    pith_graph_free(p->graph);
    free(p->line);
}
