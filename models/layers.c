/* layers.c: what blocks of every kind are made of: a norm, a linear layer, an MLP. */
#include <math.h>
#include "parts.h"

pith_node *clip_norm(pith_graph *g, const char *name, pith_node *x, int width)
{
    pith_scope(g, "%s", name);
    pith_node *gain = pith_param(g, "weight", PITH_CONSTANT, 1, width);
    pith_node *y = pith_layer_norm(x, gain, pith_param(g, "bias", PITH_CONSTANT, 0, width));
    pith_unscope(g);
    return y;
}

pith_node *clip_linear(pith_graph *g, const char *name, pith_node *x, int out, int in,
                       double deviation, bool zero_bias)
{
    const double half = 1 / sqrt(in);
    pith_scope(g, "%s", name);
    pith_node *w = pith_param(g, "weight", deviation > 0 ? PITH_NORMAL : PITH_UNIFORM,
                              deviation > 0 ? deviation : half, out, in);
    pith_node *y = pith_linear(x, w,
                               pith_param(g, "bias", PITH_UNIFORM, zero_bias ? 0 : half, out));
    pith_unscope(g);
    return y;
}

pith_node *clip_mlp(pith_graph *g, const clip_tower *t, int ffn, bool quick_gelu, pith_node *x,
                    clip_initial initial)
{
    pith_scope(g, "mlp");
    pith_node *h = clip_linear(g, "c_fc", x, ffn, t->width, initial.c_fc, initial.zero_bias);
    h = quick_gelu ? pith_quick_gelu(h) : pith_gelu(h);
    h = clip_linear(g, "c_proj", h, t->width, ffn, initial.c_proj, initial.zero_bias);
    pith_unscope(g);
    return h;
}
