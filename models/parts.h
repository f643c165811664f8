/* parts.h: what the pages of models/ share among themselves. Nobody else includes it. */
#ifndef PITH_PARTS_H
#define PITH_PARTS_H
#include "models.h"

#define CLIP_CONFIG_FILE "open_clip_config.json"
#define CLIP_WEIGHTS_FILE "open_clip_model.safetensors"

/* Standard deviations of a block's initial weights; 0: PyTorch's default, by the number of inputs.
 */
typedef struct {
    double in_proj, out_proj, c_fc, c_proj;
    bool zero_bias; /* of the MLP */
} clip_initial;

/* A tower before its projection, (B, width), and the projection of that, (B, embed). masked: the
 * share of patches that training leaves out. */
pith_node *clip_image_features(pith_graph *g, const clip_config *c, pith_node *pixels,
                               double masked);
pith_node *clip_project_image(pith_graph *g, const clip_config *c, pith_node *features);
pith_node *clip_text_features(pith_graph *g, const clip_config *c, const clip_inputs *in);
pith_node *clip_project_text(pith_graph *g, const clip_config *c, pith_node *features);

/* resnet.c: the same of an image tower that is a ResNet; how many channels it has at last; the
 * multiply-adds of a picture. */
pith_node *clip_resnet_features(pith_graph *g, const clip_config *c, pith_node *pixels);
pith_node *clip_resnet_project(pith_graph *g, const clip_config *c, pith_node *features);
int clip_resnet_channels(const clip_config *c);
double clip_resnet_madds(const clip_config *c);
/* Calls `each` for all convolutions: their names and those of their norms, below "visual.", and the
 * side of the square of their results. */
typedef struct {
    int stage, out, in, kernel, side; /* stage: -1 in the stem */
    char name[56], norm[56];
} clip_convolution;
typedef void clip_visit(const clip_convolution *x, void *context);
void clip_visit_convolutions(const clip_config *c, clip_visit *each, void *context);

/* layers.c: (n) i32: 0, stride, 2 stride, ... */
pith_node *clip_multiples(pith_graph *g, int n, int stride);

/* Layer norm of x (..., width) with the params `name`.weight and `name`.bias. hidden: NULL, or a
 * mask (width) of x, whose other channels are normalised (masks.c). */
pith_node *clip_norm(pith_graph *g, const char *name, pith_node *x, pith_node *hidden);

/* x (M, in) -> (M, out), with the params `name`.weight and `name`.bias. deviation 0: PyTorch's
 * default, uniform in [-half, half], half = 1 / sqrt(in); so too the bias, unless it begins at 0.
 * out_mask (out), in_mask (in): NULL, or what multiplies outputs and inputs. */
pith_node *clip_linear(pith_graph *g, const char *name, pith_node *x, int out, int in,
                       double deviation, bool zero_bias, pith_node *out_mask, pith_node *in_mask);
/* Of x (N, D), already normalised: the matrices c_fc and c_proj, and the activation between. */
pith_node *clip_mlp(pith_graph *g, const clip_tower *t, int layer, bool quick_gelu, pith_node *x,
                    clip_initial initial);

/* hard_concrete.c: of logits (n) of masks: a random sample, the chance of each entry not to be 0,
 * and the values z (n) outside training, of which at_least so many are not 0. */
pith_node *clip_mask_sample(pith_node *logits);
pith_node *clip_mask_expected(pith_node *logits);
bool clip_mask_decide(const pith_tensor *logits, int at_least, pith_real *z);
/* kept.c: how many of its parameters a masked tower is expected to keep, a scalar; original_width:
 * that of the model it is cut out of. */
pith_node *clip_expected_parameters(pith_graph *g, const clip_tower *t, int original_width);
/* masks.c: the mask (width) over a tower's hidden channels, NULL where there is none; x times a
 * mask, x itself if that is NULL; x (N, D), 0 where hidden (D) is, normalised over its other
 * channels. */
pith_node *clip_hidden_mask(const clip_tower *t);
pith_node *clip_masked(pith_node *x, pith_node *mask);
pith_node *clip_masked_norm(pith_node *x, pith_node *gain, pith_node *bias, pith_node *hidden);

/* shaped.c: the matrices that make queries and keys, of one block or of all blocks of a tower. */
typedef struct {
    pith_node *query, *query_bias, *key, *key_bias;
} clip_query_key;
clip_query_key clip_query_key_new(pith_graph *g, int width);
/* A block without a skip around attention. shared: NULL if it has queries and keys of its own.
 * Everything else is as in clip_blocks; where there is no causal mask, all S have N / S tokens. */
pith_node *clip_shaped_block(pith_graph *g, const clip_tower *t, int layer, bool quick_gelu,
                             const clip_query_key *shared, pith_node *x, pith_node *offsets,
                             pith_node *rows, bool causal);

/* The blocks of a tower. x (N, D): the tokens of S pictures or captions, one after another, bounded
 * by `offsets` (S+1). Returns (S, D): of each the one token that rows (S) i32 points to; with a
 * causal mask that must be its last. rows NULL: of all tokens, (N, D). */
pith_node *clip_blocks(pith_graph *g, const clip_tower *t, bool quick_gelu, pith_node *x,
                       pith_node *offsets, pith_node *rows, bool causal, clip_initial initial);

/* The last block with attention, -1 if there is none. From its queries on, only the tokens that are
 * returned are computed. */
int clip_pooled_block(const clip_tower *t);

/* names.c: makes the last `count` blocks SAS-P. */
void clip_make_sasp(clip_tower *t, int count, bool shared_query_key);

/* names.c: makes the image tower a ResNet of width 64, with the stem's stride that is set. */
void clip_set_resnet(clip_config *c);
extern const char *const clip_block_names[3]; /* in configs, by clip_block */
/* Checks that the sizes are possible; an error begins with `where`. */
bool clip_config_check(const clip_config *c, const char *where);
#endif
