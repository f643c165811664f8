/* vit.c: the image tower, a vision transformer (Dosovitskiy et al., ICLR 2021) as CLIP has it
 * (Radford et al., ICML 2021): patches and a class token with positions, a norm, the blocks, and of
 * the class token, or of the mean of the patches, a norm and a projection. */
#include <math.h>
#include "parts.h"

/* ---- masked patches: FLIP (Li et al., CVPR 2023). Of each picture training sees a random part of
 * its patches, another one in every step, and computes nothing for the others. ---- */

int clip_kept_patches(const clip_config *c, double masked)
{
    const int grid = c->image_size / c->patch, kept = (int)(grid * grid * (1 - masked) + 1e-9);
    return kept > 1 ? kept : 1;
}

/* (B, 1 + kept) i32: the places of the class token, 0, and of the patches that are kept, in order;
 * NULL: all of them. */
static pith_node *kept_tokens(pith_graph *g, const clip_config *c, int B, double masked)
{
    const int grid = c->image_size / c->patch, kept = clip_kept_patches(c, masked);
    if (!(masked > 0) || !pith_is_training(g)) return NULL;
    pith_node *patches = pith_add_scalar(pith_choose(g, B, grid * grid, kept), 1);
    return pith_concat(
        2, ((pith_node *[]){ pith_mul_scalar(pith_slice(patches, 1, 0, 1), 0), patches }), 1);
}

/* ---- the tower ---- */

/* (B, 3, size, size) -> (B, patches, D): a convolution whose stride is the patch size p is a matrix
 * product with each patch as a row. */
static pith_node *embed_patches(pith_graph *g, const clip_config *c, pith_node *pixels,
                                pith_node *kept)
{
    const int p = c->patch, grid = c->image_size / p, B = pixels->dim[0], D = c->vision.width;
    pith_node *x = pith_reshape(pixels, B, 3, grid, p, grid, p);
    x = pith_reshape(pith_permute(x, 0, 2, 4, 1, 3, 5), B * grid * grid, 3 * p * p);
    if (kept) {
        pith_node *patches = pith_add_scalar(pith_slice(kept, 1, 1, kept->dim[1]), -1);
        pith_node *first = pith_reshape(clip_multiples(g, B, grid * grid), B, 1);
        x = pith_gather(x, pith_reshape(pith_add(patches, first), -1));
    }
    pith_node *w = pith_param(g, "conv1.weight", PITH_UNIFORM, 1 / sqrt(3 * p * p), D, 3, p, p);
    return pith_reshape(pith_linear(x, pith_reshape(w, D, 3 * p * p), NULL), B, -1, D);
}

pith_node *clip_image_features(pith_graph *g, const clip_config *c, pith_node *pixels,
                               double masked)
{
    if (clip_is_resnet(c))
        return masked > 0 ? pith_refuse(g, "patches are masked of a ViT, found a ResNet")
                          : clip_resnet_features(g, c, pixels);
    const int B = pixels->dim[0], D = c->vision.width, grid = c->image_size / c->patch,
              all = grid * grid + 1;
    const double deviation = 1 / sqrt(D);
    pith_node *hidden = clip_hidden_mask(&c->vision);
    pith_scope(g, "visual");
    pith_node *class = pith_param(g, "class_embedding", PITH_NORMAL, deviation, D);
    pith_node *kept = kept_tokens(g, c, B, masked);
    const int T = kept ? kept->dim[1] : all;
    pith_node *parts[2] = { pith_expand(class, B, 1, D), embed_patches(g, c, pixels, kept) };
    pith_node *positions = pith_no_weight_decay(
        pith_param(g, "positional_embedding", PITH_NORMAL, deviation, all, D));
    if (kept) positions = pith_gather(positions, kept);           /* (B, T, D) */
    pith_node *x = pith_add(pith_concat(2, parts, 1), positions); /* (B, T, D) */
    x = clip_masked(pith_reshape(x, B * T, D), hidden);
    x = clip_norm(g, "ln_pre", x, hidden);
    x = clip_blocks(g, &c->vision, c->quick_gelu, x, clip_multiples(g, B + 1, T),
                    c->mean_pooling ? NULL : clip_multiples(g, B, T), false, (clip_initial){ 0 });
    x = clip_norm(g, "ln_post", x, hidden); /* (B, D), or of all tokens */
    if (c->mean_pooling) x = pith_mean(pith_slice(pith_reshape(x, B, T, D), 1, 1, T), 1);
    pith_unscope(g);
    return x;
}

pith_node *clip_project_image(pith_graph *g, const clip_config *c, pith_node *features)
{
    if (clip_is_resnet(c)) return clip_resnet_project(g, c, features);
    const int D = c->vision.width;
    pith_scope(g, "visual");
    pith_node *w = pith_param(g, "proj", PITH_NORMAL, 1 / sqrt(D), D, c->embed);
    pith_unscope(g);
    return pith_matmul(features, w);
}

pith_node *clip_image(pith_graph *g, const clip_config *c, pith_node *pixels)
{
    return clip_project_image(g, c, clip_image_features(g, c, pixels, 0));
}
