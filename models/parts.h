/* parts.h: what the pages of models/ share and nobody else sees. */
#ifndef PITH_PARTS_H
#define PITH_PARTS_H
#include "models.h"

#define CLIP_CONFIG_FILE "open_clip_config.json"
#define CLIP_WEIGHTS_FILE "open_clip_model.safetensors"

/* Standard deviations of a block's weights; 0 means PyTorch's default, drawn from the fan-in. */
typedef struct {
    double in_proj, out_proj, c_fc, c_proj;
} clip_initial;

/* A tower before and after its projection: (B, width), and of that (B, embed). */
pith_node *clip_image_features(pith_graph *g, const clip_config *c, pith_node *pixels);
pith_node *clip_project_image(pith_graph *g, const clip_config *c, pith_node *features);
pith_node *clip_text_features(pith_graph *g, const clip_config *c, const clip_inputs *in);
pith_node *clip_project_text(pith_graph *g, const clip_config *c, pith_node *features);

/* Layer norm with `name`.weight and `name`.bias over x (..., width). */
pith_node *clip_norm(pith_graph *g, const char *name, pith_node *x, int width);

/* The blocks of a tower: x (N, D), packed tokens -> (S, D), one pooled token of each segment. rows
 * (S) i32 names those tokens; under a causal mask each must be the last of its segment. */
pith_node *clip_blocks(pith_graph *g, const clip_tower *t, bool quick_gelu, pith_node *x,
                       pith_node *offsets, pith_node *rows, bool causal, clip_initial initial);

/* The last block with attention: what follows it is computed for pooled tokens only; -1 if none
 * has. */
int clip_pooled_block(const clip_tower *t);

/* sizes that cannot be are refused, naming `where` */
bool clip_config_check(const clip_config *c, const char *where);
#endif
