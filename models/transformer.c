/* transformer.c: the blocks of both towers. Most are pre-norm residual blocks, x +=
 * attention(norm(x)), x += mlp(norm(x)); others stand in shaped.c.
 *
 * Only one token of each picture or caption becomes its embedding. So the last block with attention
 * computes keys and values for all tokens, but queries, output projection and MLP for that token
 * only: the same result with less work. */
#include <math.h>
#include "parts.h"

/* The attention branch: what is added to x (N, D), or, if `rows` (S) is not NULL, to those rows of
 * x (S, D). */
static pith_node *attention(pith_graph *g, const clip_tower *t, int layer, pith_node *x,
                            pith_node *offsets, pith_node *rows, bool causal, clip_initial initial)
{
    const int D = t->width, d = t->head_width, heads = t->heads[layer], inner = heads * d;
    pith_node *h = clip_norm(g, "ln_1", x, clip_hidden_mask(t)), *y, *each = NULL;
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
    if (t->masks) {
        pith_node *z = pith_reshape(t->masks->heads[layer].z, heads, 1);
        each = pith_reshape(pith_expand(z, heads, d), inner);
    }
    y = clip_linear(g, "out_proj", pith_reshape(y, -1, inner), D, inner, initial.out_proj, true,
                    clip_hidden_mask(t), each);
    pith_unscope(g);
    return y;
}

static pith_node *pre_norm_block(pith_graph *g, const clip_tower *t, int layer, bool quick_gelu,
                                 pith_node *x, pith_node *offsets, pith_node *rows, bool causal,
                                 clip_initial initial)
{
    if (t->heads[layer]) {
        pith_node *y = attention(g, t, layer, x, offsets, rows, causal, initial);
        x = pith_add(rows ? pith_gather(x, rows) : x, y);
    }
    if (!t->ffn[layer]) return x;
    pith_node *n = clip_norm(g, "ln_2", x, clip_hidden_mask(t));
    return pith_add(x, clip_mlp(g, t, layer, quick_gelu, n, initial));
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
    if (pooled < 0 && rows) x = pith_gather(x, rows);
    pith_scope(g, "transformer");
    clip_query_key shared;
    if (t->shared_query_key) shared = clip_query_key_new(g, t->width);
    for (int i = 0; i < t->layers; i++) {
        pith_node *returned = i == pooled ? rows : NULL;
        pith_scope(g, "resblocks.%d", i);
        x = t->block[i] == CLIP_PRE_NORM
                ? pre_norm_block(g, t, i, quick_gelu, x, offsets, returned, causal, initial)
                : clip_shaped_block(g, t, i, quick_gelu, t->shared_query_key ? &shared : NULL, x,
                                    offsets, returned, causal);
        pith_unscope(g);
    }
    pith_unscope(g);
    return x;
}
