/* project.c: brings the student's rows to the width of the teacher's, for losses that compare them
 * one by one, and scales their cosines. */
#include <math.h>
#include "losses.h"

pith_node *loss_project(const pith_batch *b, pith_node *raw, pith_node *unit,
                        const pith_node *teacher, const char *name)
{
    if (pith_is_missing(teacher) || teacher->ndim != 2 || unit->ndim != 2 ||
        unit->dim[1] == teacher->dim[1])
        return unit;
    const int in = unit->dim[1], out = teacher->dim[1];
    pith_scope(b->graph, "%s", name);
    pith_node *w = pith_param(b->graph, "weight", PITH_UNIFORM, 1 / sqrt(in), out, in);
    pith_node *y = pith_linear(raw, w,
                               pith_param(b->graph, "bias", PITH_UNIFORM, 1 / sqrt(in), out));
    pith_unscope(b->graph);
    return pith_normalize(y);
}

pith_node *loss_trained_scale(const pith_batch *b, bool raw)
{
    pith_node *t = pith_param(b->graph, "scale", PITH_CONSTANT, log(1 / 0.07));
    t = pith_clamp_param(t, 0, log(100));
    return raw ? t : pith_exp(t);
}
