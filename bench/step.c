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

/* What is fed to a plan on a device travels there in each run. The batch of a measurement never
 * changes, and PyTorch's lies on the device: so does ours, as states. */
static void keep_on_device(pith_graph *g, clip_inputs *in)
{
    pith_node **const read[] = { &in->pixels, &in->ids, &in->positions, &in->offsets, &in->last };
    for (size_t k = 0; k < sizeof read / sizeof *read; k++)
        *read[k] = pith_state_like(g, (*read[k])->name, *read[k]);
}

static void feed(pith_plan *p, const pith_node *n, const void *data)
{
    pith_tensor *kept = pith_tensor_of(n);
    if (kept) pith_tensor_write(kept, data);
    else pith_feed(p, n, data);
}

step step_new(pith_store *store, const clip_config *c, int pairs, int tokens, step_loss *loss,
              bool bf16)
{
    step s = { .graph = pith_graph_new(store, 0) };
    pith_set_training(s.graph, true);
    s.in = clip_inputs_new(s.graph, c, pairs, tokens);
    if (pith_store_device(store) != PITH_CPU) keep_on_device(s.graph, &s.in);
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
    s.plan = pith_plan_new(s.graph, states ? 3 : 2, outputs, &(pith_plan_options){ .bf16 = bf16 });
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
    feed(p, in->pixels, image);
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
    feed(p, in->ids, ids);
    feed(p, in->positions, positions);
    feed(p, in->offsets, offsets);
    feed(p, in->last, last);
}

int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
