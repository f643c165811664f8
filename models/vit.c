/* vit.c: the image tower, a vision transformer (Dosovitskiy et al., ICLR 2021) as CLIP has it
 * (Radford et al., ICML 2021): patches and a class token with positions, a norm, the blocks, and of
 * the class token, or of the mean of the patches, a norm and a projection. */
#include <math.h>
#include <stdlib.h>
#include "parts.h"

pith_node *clip_multiples(pith_graph *g, int n, int stride)
{
    int *x = malloc(sizeof *x * (size_t)(n > 0 ? n : 1));
    if (!x) return pith_raise("no memory for %d row numbers", n), NULL;
    for (int k = 0; k < n; k++) x[k] = k * stride;
    pith_node *node = pith_const_array(g, PITH_I32, x, n);
    free(x);
    return node;
}

/* (B, 3, size, size) -> (B, patches, D): a convolution whose stride is the patch size p is a matrix
 * product with each patch as a row. */
static pith_node *embed_patches(pith_graph *g, const clip_config *c, pith_node *pixels)
{
    const int p = c->patch, grid = c->image_size / p, B = pixels->dim[0], D = c->vision.width;
    pith_node *x = pith_reshape(pixels, B, 3, grid, p, grid, p);
    x = pith_reshape(pith_permute(x, 0, 2, 4, 1, 3, 5), B * grid * grid, 3 * p * p);
    pith_node *w = pith_param(g, "conv1.weight", PITH_UNIFORM, 1 / sqrt(3 * p * p), D, 3, p, p);
    return pith_reshape(pith_linear(x, pith_reshape(w, D, 3 * p * p), NULL), B, grid * grid, D);
}

pith_node *clip_image_features(pith_graph *g, const clip_config *c, pith_node *pixels)
{
    if (clip_is_resnet(c)) return clip_resnet_features(g, c, pixels);
    const int B = pixels->dim[0], D = c->vision.width, grid = c->image_size / c->patch,
              T = grid * grid + 1;
    const double deviation = 1 / sqrt(D);
    pith_node *hidden = clip_hidden_mask(&c->vision);
    pith_scope(g, "visual");
    pith_node *class = pith_param(g, "class_embedding", PITH_NORMAL, deviation, D);
    pith_node *parts[2] = { pith_expand(class, B, 1, D), embed_patches(g, c, pixels) };
    pith_node *positions = pith_no_weight_decay(
        pith_param(g, "positional_embedding", PITH_NORMAL, deviation, T, D));
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
    return clip_project_image(g, c, clip_image_features(g, c, pixels));
}
