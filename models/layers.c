/* layers.c: what blocks of every kind are made of: a norm, a linear layer, an MLP; rows by number.
 */
#include <math.h>
#include <stdlib.h>
#include "parts.h"

pith_node *clip_norm(pith_graph *g, const char *name, pith_node *x, pith_node *hidden)
{
    const int width = x->dim[x->ndim - 1];
    pith_scope(g, "%s", name);
    pith_node *gain = pith_param(g, "weight", PITH_CONSTANT, 1, width),
              *bias = pith_param(g, "bias", PITH_CONSTANT, 0, width);
    pith_unscope(g);
    return hidden ? clip_masked_norm(x, gain, bias, hidden) : pith_layer_norm(x, gain, bias);
}

pith_node *clip_linear(pith_graph *g, const char *name, pith_node *x, int out, int in,
                       double deviation, bool zero_bias, pith_node *out_mask, pith_node *in_mask)
{
    const double half = 1 / sqrt(in);
    pith_scope(g, "%s", name);
    pith_node *w = pith_param(g, "weight", deviation > 0 ? PITH_NORMAL : PITH_UNIFORM,
                              deviation > 0 ? deviation : half, out, in);
    pith_node *b = pith_param(g, "bias", PITH_UNIFORM, zero_bias ? 0 : half, out);
    pith_unscope(g);
    if (out_mask) w = pith_mul(w, pith_reshape(out_mask, -1, 1));
    return pith_linear(x, clip_masked(w, in_mask), clip_masked(b, out_mask));
}

pith_node *clip_mlp(pith_graph *g, const clip_tower *t, int layer, bool quick_gelu, pith_node *x,
                    clip_initial initial)
{
    const int D = t->width, F = t->ffn[layer];
    pith_node *hidden = clip_hidden_mask(t), *units = hidden ? t->masks->ffn[layer].z : NULL;
    pith_scope(g, "mlp");
    pith_node *h = clip_linear(g, "c_fc", x, F, D, initial.c_fc, initial.zero_bias, NULL, NULL);
    h = quick_gelu ? pith_quick_gelu(h) : pith_gelu(h);
    h = clip_linear(g, "c_proj", h, D, F, initial.c_proj, initial.zero_bias, hidden, units);
    pith_unscope(g);
    return h;
}

pith_node *clip_multiples(pith_graph *g, int n, int stride)
{
    int *x = malloc(sizeof *x * (size_t)(n > 0 ? n : 1));
    if (!x) return pith_raise("no memory for %d row numbers", n), NULL;
    for (int k = 0; k < n; k++) x[k] = k * stride;
    pith_node *node = pith_const_array(g, PITH_I32, x, n);
    free(x);
    return node;
}
