/* margin.c: margins on cosines: a row must be nearer to its own class than it seems, as in losses
 * for faces. Of the cosines c (B, S) those of each row's own class become
 *
 *     margin=m:   cos(arccos(c) + m) = c cos m - sqrt(1 - c^2) sin m   (ArcFace, Deng et al., 2019)
 *     cosface=m:  c - m                                                (CosFace, Wang et al., 2018)
 *
 * By default the gradient takes ArcFace's map for the identity, as the code of UNICOM does (An et
 * al., ICLR 2023), which sets it outside of autograd: then nothing is large where c is near 1 or
 * -1. It is no gradient of the value, and pith check says so. `true=1` takes the true one, with c
 * clamped to +-(1 - 1e-4), beyond which there is none. CosFace has the same one both ways. */
#include <math.h>
#include "losses.h"

static pith_node *arcface(pith_node *c, double angle, double most)
{
    pith_node *one = pith_const(c->graph, 1), *end = pith_const(c->graph, most);
    c = pith_maximum(pith_minimum(c, end), pith_neg(end));
    pith_node *sine = pith_sqrt(pith_sub(one, pith_square(c)));
    return pith_sub(pith_mul_scalar(c, cos(angle)), pith_mul_scalar(sine, sin(angle)));
}

pith_node *loss_margin(const pith_batch *b, pith_node *cosine, pith_node *own)
{
    const double angle = pith_option(b, "margin", 0), less = pith_option(b, "cosface", 0);
    const bool exact = pith_option(b, "true", 0) != 0;
    if (angle != 0 && less != 0)
        return pith_refuse(b->graph, "margin=%g and cosface=%g: expected one of them", angle, less);
    if (angle == 0 && less == 0) return cosine;
    pith_node *changed = pith_add_scalar(cosine, -less);
    if (angle != 0) changed = arcface(cosine, angle, exact ? 1 - 1e-4 : 1);
    if (angle != 0 && !exact) /* the value, and 0 with the gradient of the cosine */
        changed = pith_add(pith_detach(changed), pith_sub(cosine, pith_detach(cosine)));
    pith_node *classes = pith_arange(b->graph, cosine->dim[1]);
    return pith_where(pith_equal(pith_reshape(own, -1, 1), classes), changed, cosine);
}
