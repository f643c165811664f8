/* transformer.c: the pre-norm residual blocks of both towers, x += attention(norm(x)), x +=
 * mlp(norm(x)).
 *
 * Only one token of each picture or caption becomes its embedding. So the last block with attention
 * computes keys and values for all tokens, but queries, output projection and MLP for that token
 * only: the same result with less work. */
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

/* x (M, in) -> (M, out). PyTorch's default is uniform in [-half, half], for weight and bias. */
static pith_node *linear(pith_graph *g, const char *name, pith_node *x, int out, int in,
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

/* The attention branch: what is added to x (N, D), or, if `rows` (S) is not NULL, to those rows of
 * x (S, D). */
static pith_node *attention(pith_graph *g, const clip_tower *t, int heads, pith_node *x,
                            pith_node *offsets, pith_node *rows, bool causal, clip_initial initial)
{
    const int D = t->width, d = t->head_width, inner = heads * d;
    pith_node *h = clip_norm(g, "ln_1", x, D), *y;
    pith_scope(g, "attn");
    pith_node *w = pith_param(g, "in_proj_weight", initial.in_proj > 0 ? PITH_NORMAL : PITH_UNIFORM,
                              initial.in_proj > 0 ? initial.in_proj : sqrt(6.0 / (3 * inner + D)),
                              3 * inner, D);
    pith_node *b = pith_param(g, "in_proj_bias", PITH_CONSTANT, 0, 3 * inner);
    if (rows) {
        pith_node *q = pith_linear(pith_gather(h, rows), pith_slice(w, 0, 0, inner),
                                   pith_slice(b, 0, 0, inner));
        pith_node *kv = pith_linear(h, pith_slice(w, 0, inner, 3 * inner),
                                    pith_slice(b, 0, inner, 3 * inner));
        y = pith_pooled_attention(pith_reshape(q, -1, heads, d), pith_reshape(kv, -1, 2, heads, d),
                                  offsets);
    } else {
        pith_node *qkv = pith_linear(h, w, b);
        y = pith_attention(pith_reshape(qkv, -1, 3, heads, d), offsets, causal);
    }
    y = linear(g, "out_proj", pith_reshape(y, -1, inner), D, inner, initial.out_proj, true);
    pith_unscope(g);
    return y;
}

static pith_node *mlp(pith_graph *g, const clip_tower *t, int ffn, bool quick_gelu, pith_node *x,
                      clip_initial initial)
{
    pith_node *h = clip_norm(g, "ln_2", x, t->width);
    pith_scope(g, "mlp");
    h = linear(g, "c_fc", h, ffn, t->width, initial.c_fc, false);
    h = quick_gelu ? pith_quick_gelu(h) : pith_gelu(h);
    h = linear(g, "c_proj", h, t->width, ffn, initial.c_proj, false);
    pith_unscope(g);
    return h;
}

int clip_pooled_block(const clip_tower *t)
{
    int i = t->layers - 1;
    while (i >= 0 && !t->heads[i]) i--;
    return i;
}

pith_node *clip_blocks(pith_graph *g, const clip_tower *t, bool quick_gelu, pith_node *x,
                       pith_node *offsets, pith_node *rows, bool causal, clip_initial initial)
{
    const int pooled = clip_pooled_block(t);
    if (pooled < 0) x = pith_gather(x, rows);
    pith_scope(g, "transformer");
    for (int i = 0; i < t->layers; i++) {
        pith_scope(g, "resblocks.%d", i);
        if (t->heads[i]) {
            pith_node *y = attention(g, t, t->heads[i], x, offsets, i == pooled ? rows : NULL,
                                     causal, initial);
            x = pith_add(i == pooled ? pith_gather(x, rows) : x, y);
        }
        if (t->ffn[i]) x = pith_add(x, mlp(g, t, t->ffn[i], quick_gelu, x, initial));
        pith_unscope(g);
    }
    pith_unscope(g);
    return x;
}
