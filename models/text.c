/* text.c: the text tower: CLIP's causal transformer, of which the end-of-text token is taken. Under
 * a causal mask that token depends on nothing after it. So captions lie one after another without
 * padding, and nothing is computed in vain. Without the mask (Scaling (Down) CLIP has none) all
 * tokens of a caption see each other, and the last one is taken as before; where others let padding
 * be seen, too, there is none here. */
#include <math.h>
#include "parts.h"

pith_node *clip_text_features(pith_graph *g, const clip_config *c, const clip_inputs *in)
{
    const clip_tower *t = &c->text;
    const int D = t->width;
    const double deviation = 1 / sqrt(D), deep = deviation / sqrt(2.0 * t->layers);
    pith_node *hidden = clip_hidden_mask(t);
    pith_node *embeddings = pith_param(g, "token_embedding.weight", PITH_NORMAL, 0.02,
                                       c->vocabulary, D);
    pith_node *positions = pith_no_weight_decay(
        pith_param(g, "positional_embedding", PITH_NORMAL, 0.01, c->context, D));
    pith_node *x = pith_add(pith_gather(embeddings, in->ids),
                            pith_gather(positions, in->positions)); /* (N, D) */
    const clip_initial initial = {
        .in_proj = deviation, .out_proj = deep, .c_fc = 1 / sqrt(2.0 * D), .c_proj = deep
    };
    x = clip_blocks(g, t, c->quick_gelu, clip_masked(x, hidden), in->offsets, in->last,
                    !c->bidirectional, initial);
    return clip_norm(g, "ln_final", x, hidden); /* (B, D) */
}

pith_node *clip_project_text(pith_graph *g, const clip_config *c, pith_node *features)
{
    const int D = c->text.width;
    pith_node *w = pith_param(g, "text_projection", PITH_NORMAL, 1 / sqrt(D), D, c->embed);
    return pith_matmul(features, w);
}

pith_node *clip_text(pith_graph *g, const clip_config *c, const clip_inputs *in)
{
    return clip_project_text(g, c, clip_text_features(g, c, in));
}
