/* models.h: functions that build graph: a ViT tower, a text tower, CLIP; inheritance; the files
 * that hold them.
 *
 * Parameter names are OpenCLIP's. Heads, head width and FFN width of a layer are independent of the
 * tower's width D: in_proj (3 H d, D), out_proj (D, H d), c_fc (F, D), c_proj (D, F). A layer with
 * 0 heads has no attention, with FFN width 0 no FFN; their tensors and norms are then absent. */
#ifndef PITH_MODELS_H
#define PITH_MODELS_H
#include "losses/loss.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CLIP_MAX_LAYERS 64
typedef struct {
    int width, layers, head_width;
    int heads[CLIP_MAX_LAYERS], ffn[CLIP_MAX_LAYERS]; /* of every layer */
} clip_tower;

typedef struct {
    int embed; /* width of the shared space */
    bool quick_gelu;
    clip_tower vision, text;
    int image_size, patch;
    int context, vocabulary;
    double mean[3], std[3];
} clip_config;

/* What a batch of B pairs feeds. The tokens of its captions lie one after another: N of them. */
typedef struct {
    int pairs, tokens;
    int samples;                /* in the training data; 0 unless the caller knows */
    pith_node *pixels;          /* (B, 3, size, size), normalised */
    pith_node *ids, *positions; /* (N) i32 */
    pith_node *offsets;         /* (B+1) i32 */
    pith_node *last; /* (B) i32: row of each end-of-text token, the last one of its caption */
    pith_node *caption_id, *label, *index; /* (B) i32 */
    pith_node *progress;                   /* scalar */
    pith_node *epoch;                      /* i32 scalar */
} clip_inputs;
/* Every input is called as its field is. */
clip_inputs clip_inputs_new(pith_graph *g, const clip_config *c, int pairs, int tokens);

/* Raw embeddings (B, embed), before normalising. Only the pooled token of a tower's last block gets
 * queries, output projection and MLP. */
pith_node *clip_image(pith_graph *g, const clip_config *c, pith_node *pixels);
pith_node *clip_text(pith_graph *g, const clip_config *c, const clip_inputs *in);
/* The param, ln of the multiplier: starts at ln(1/0.07), clamped to [0, ln 100]. */
pith_node *clip_logit_scale(pith_graph *g);
/* What a loss may want of the model and the batch; teachers are the caller's to add. For the sake
 * of pith_second_view, which makes an input "second_pixels", `c` and `in` must live until the
 * losses are built. */
pith_batch clip_batch(pith_graph *g, const clip_config *c, const clip_inputs *in);

/* Makes a config of equal layers; heads = width / head_width, FFN = 4 width; CLIP's mean and std.
 */
clip_config clip_config_uniform(int image_size, int patch, int vision_width, int vision_layers,
                                int vision_head_width, int context, int vocabulary, int text_width,
                                int text_layers, int text_heads, int embed);
/* What --model takes: a name of the table that clip_names prints, or sizes such as
 * "32/8:w128l4h4+w128l3h4:e128" (README.md). */
bool clip_config_named(clip_config *c, const char *name);
void clip_names(FILE *f);

/* Every tensor that a config means, under its name and shape: vision tower, text tower,
 * logit_scale. *list is the caller's to free. */
typedef enum { CLIP_VISION, CLIP_TEXT, CLIP_BOTH } clip_part;
typedef struct {
    char name[64];
    clip_part part;
    int layer; /* of a block, or -1 */
    int ndim, dim[4];
} clip_tensor;
int clip_tensors(const clip_config *c, clip_tensor **list);

/* Model directories in OpenCLIP's layout: open_clip_config.json, open_clip_model.safetensors, and
 * the tokenizer's merges in vocab.txt.gz. What a config asks that is not here is refused by name.
 * clip_load also names missing, unexpected, misshapen and non-finite tensors. */
bool clip_config_read(clip_config *c, const char *directory);
bool clip_config_write(const clip_config *c, const char *directory);
bool clip_load(clip_config *c, pith_store *s, const char *directory);
/* A new store with what is the model's own in s: the weights that a config means, and states, but
 * neither averages and moments nor what lies under "loss.". `averaged`: with the averages
 * "ema/NAME" as values, where there are some. NULL after an error. */
pith_store *clip_own(const clip_config *c, pith_store *s, bool averaged);
/* Config and the model's own tensors. Makes the directory; each file appears whole. */
bool clip_save(const clip_config *c, pith_store *s, const char *directory);

/* Of a pair's forward pass, as the graph does it: multiply-adds count two, matrix and attention
 * products only. `usual`: as others count, full-length captions and every token of the last block.
 */
typedef struct {
    double parameters, vision_parameters, text_parameters, flops_pair, usual_flops_pair;
} clip_cost;
clip_cost clip_count(const clip_config *c, double tokens_a_caption);

/* TinyCLIP's manual inheritance (Wu et al., ICCV 2023): every student tensor is the front slice of
 * the teacher's; heads are kept whole; layer i comes from layer i * floor(teacher depth / student
 * depth). An error names what cannot be inherited. */
bool clip_inherit(const clip_config *student, pith_store *s, const clip_config *teacher,
                  pith_store *t);

#ifdef __cplusplus
}
#endif
#endif
