/* sparsity.c: the constraint that brings the share of the parameters that trained masks are
 * expected to keep, R / P (kept.c), to a target w (TinyCLIP, after CoFi):
 *
 *     loss = l1 x + l2 x^2,   x = max(R / P - w, 0), or, signed, R / P - w
 *
 * w falls from `start` to `keep` in `ramp` steps; 1 - R / P is the sparsity. l1 and l2 are trained
 * by ascent, as Lagrange's multipliers are, from 10; in the signed form l1 begins at 0, for in few
 * steps what it rises by while masks lag behind is not undone. One constraint holds for both towers
 * together, or one for each. */
#include <stdio.h>
#include "parts.h"

/* Nearer to the wanted share than this, and beyond it, masks move more slowly, down to that part of
 * their rate. Not TinyCLIP's: in the hundreds of steps that a small model is given, rates are so
 * high that masks would run past the target, and with the hinge little brings them back. */
static const double NEAR = 0.03, SLOWEST = 0.05;

/* Sets the learning rate of a tower's logits. */
static void set_rate(const clip_tower *t, pith_node *rate)
{
    const clip_masks *m = t->masks;
    pith_own_lr(m->hidden.logits, rate);
    for (int i = 0; i < t->layers; i++) {
        if (m->heads[i].logits) pith_own_lr(m->heads[i].logits, rate);
        if (m->ffn[i].logits) pith_own_lr(m->ffn[i].logits, rate);
    }
}

/* The constraint that what n towers keep of `size` parameters be what it should be at this step. */
static pith_node *constraint(const char *name, int n, const clip_tower *const *towers,
                             pith_node *parameters, double size, const clip_sparsity *o)
{
    char watched[64];
    pith_graph *g = parameters->graph;
    pith_scope(g, "mask.%s", name);
    pith_node *l1 = pith_param(g, "l1", PITH_CONSTANT, o->is_signed ? 0 : 10),
              *l2 = pith_param(g, "l2", PITH_CONSTANT, 10), *const multipliers[] = { l1, l2 };
    pith_unscope(g);
    for (int k = 0; k < 2; k++)
        pith_own_lr(pith_lr_scale(pith_no_weight_decay(multipliers[k]), -1),
                    pith_const(g, o->multiplier_rate));
    pith_node *kept = pith_mul_scalar(parameters, 1 / size), *one = pith_const(g, 1);
    pith_node *step = pith_cast(pith_add_scalar(pith_step(g), -(double)o->first), PITH_F32);
    pith_node *risen = pith_minimum(pith_mul_scalar(step, 1 / o->ramp), one);
    pith_node *wanted = pith_add_scalar(pith_mul_scalar(risen, o->keep - o->start), o->start);
    pith_node *x = pith_sub(kept, wanted);
    pith_node *distance = o->is_signed ? pith_abs(x) : x;
    pith_node *near = pith_maximum(pith_mul_scalar(distance, 1 / NEAR), pith_const(g, SLOWEST));
    for (int k = 0; k < n; k++)
        set_rate(towers[k], pith_mul_scalar(pith_minimum(near, one), o->mask_rate));
    if (!o->is_signed) x = pith_relu(x);
    snprintf(watched, sizeof watched, "kept.%s", name);
    pith_watch(kept, watched);
    snprintf(watched, sizeof watched, "wanted.%s", name);
    pith_watch(wanted, watched);
    return pith_add(pith_mul(l1, x), pith_mul(l2, pith_square(x)));
}

pith_node *clip_sparsity_loss(pith_graph *g, const clip_config *c, const clip_config *original,
                              const clip_sparsity *o)
{
    const clip_tower *const towers[] = { &c->vision, &c->text };
    pith_node *image = clip_expected_parameters(g, &c->vision, original->vision.width),
              *text = clip_expected_parameters(g, &c->text, original->text.width);
    const double size[] = { clip_prunable(&original->vision), clip_prunable(&original->text) };
    if (!o->each_tower)
        return constraint("both", 2, towers, pith_add(image, text), size[0] + size[1], o);
    pith_node *on_image = constraint("image", 1, towers, image, size[0], o),
              *on_text = constraint("text", 1, towers + 1, text, size[1], o);
    return pith_add(on_image, on_text);
}
