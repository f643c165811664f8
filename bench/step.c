/* step.c: what all measurements share: a training step, random batches for it, and an order. */
#include <stdlib.h>
#include "bench.h"
#include "losses/losses.h"
#include "train/optim.h"

int below(int n)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int)(state % (uint64_t)n);
}

pith_real nearly_normal(void)
{
    int sum = 0;
    for (int k = 0; k < 12; k++) sum += below(1 << 16);
    return (pith_real)sum / 65536 - 6;
}

/* ---- one step -------------------------------------------------------------------------------- */

pith_node *plain_loss(pith_graph *g, const clip_config *c, const clip_inputs *in)
{
    const pith_batch batch = clip_batch(g, c, in);
    return clip_loss(&batch);
}

step step_new(pith_store *store, const clip_config *c, int pairs, int tokens, step_loss *loss)
{
    step s = { .graph = pith_graph_new(store, 0) };
    pith_set_training(s.graph, true);
    s.in = clip_inputs_new(s.graph, c, pairs, tokens);
    s.loss = loss(s.graph, c, &s.in);
    pith_node **params;
    const int n = pith_params(s.graph, &params);
    pith_node **gradients = malloc((size_t)n * sizeof *gradients);
    pith_grad(s.loss, n, params, gradients);
    pith_node *states = pith_commit(s.graph, NULL);
    pith_node *update = pith_adamw(n, params, gradients, pith_const(s.graph, 1e-4),
                                   (pith_adamw_options){ 0.9, 0.999, 1e-8, 0.01 }, NULL);
    free(gradients);
    pith_node *outputs[] = { s.loss, update, states };
    s.plan = pith_plan_new(s.graph, states ? 3 : 2, outputs, NULL);
    return s;
}

void step_free(step *s)
{
    pith_plan_free(s->plan);
    pith_graph_free(s->graph);
}

void feed_pictures(pith_plan *p, const clip_config *c, const clip_inputs *in)
{
    const size_t pixels = 3 * (size_t)in->pairs * (size_t)c->image_size * (size_t)c->image_size;
    pith_real *image = malloc(pixels * sizeof *image);
    for (size_t i = 0; i < pixels; i++) image[i] = nearly_normal();
    pith_feed(p, in->pixels, image);
}

void feed_captions(pith_plan *p, const clip_config *c, const clip_inputs *in, const int *lengths)
{
    const int B = in->pairs, N = in->tokens;
    int *ids = calloc((size_t)N, sizeof *ids), *positions = calloc((size_t)N, sizeof *positions);
    int *offsets = calloc((size_t)B + 1, sizeof *offsets), *last = calloc((size_t)B, sizeof *last);
    for (int b = 0; b < B; b++) {
        for (int t = 0; t < lengths[b]; t++) {
            ids[offsets[b] + t] = 1 + below(c->vocabulary - 2);
            positions[offsets[b] + t] = t;
        }
        offsets[b + 1] = offsets[b] + lengths[b];
        last[b] = offsets[b + 1] - 1;
        ids[last[b]] = c->vocabulary - 1;
    }
    pith_feed(p, in->ids, ids);
    pith_feed(p, in->positions, positions);
    pith_feed(p, in->offsets, offsets);
    pith_feed(p, in->last, last);
}

int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
