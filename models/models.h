/* models.h: functions that build the graph of a CLIP: an image tower (a ViT or a ResNet), a text
 * tower, both together. Also models by name, model directories, and inheritance of weights.
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
/* Pre-norm, as CLIP's; or without a skip around attention (shaped.c), which then has heads as wide
 * as the tower. */
typedef enum { CLIP_PRE_NORM, CLIP_SAS, CLIP_SAS_P } clip_block;
struct clip_masks;
typedef struct {
    int width, layers, head_width;
    int heads[CLIP_MAX_LAYERS], ffn[CLIP_MAX_LAYERS]; /* of each layer */
    clip_block block[CLIP_MAX_LAYERS];
    bool
        shared_query_key; /* all blocks but pre-norm ones have one pair of query and key matrices */
    const struct clip_masks *masks; /* of the graph that is being made: see below; NULL: none */
} clip_tower;

/* Of an image tower that is CLIP's ModifiedResNet (resnet.c): blocks of each of the four stages,
 * and by what the stem divides height and width: 4, as published, 2 or 1. All 0: it is a ViT. */
typedef struct {
    int layers[4], stem_stride;
} clip_resnet;

typedef struct {
    int embed; /* width of the space that both towers embed into */
    bool quick_gelu;
    clip_tower vision, text;
    /* Of a ResNet `vision` has no layers, but the width of the first stage's 3 x 3 convolutions,
       and the width of the heads of its pool; `patch` is what it divides height and width by, 8
       times the stem's stride. */
    clip_resnet resnet;
    /* A ViT's embedding is made of the mean of its patches' tokens, not of its class token; text
     * has no causal mask: every token of a caption sees all of them (Scaling (Down) CLIP 2.9). */
    bool mean_pooling, bidirectional;
    int image_size, patch;
    int context, vocabulary;
    double mean[3], std[3];
} clip_config;

/* The inputs for a batch of B pairs. The tokens of all captions lie one after another; there are N.
 */
typedef struct {
    int pairs, tokens;
    int captions;  /* T: how many there are, B, or 2 B with a synthetic one for each pair */
    int samples;   /* how many samples the training data have; 0 unless the caller sets it */
    double masked; /* the share of patches that training leaves out; 0 unless the caller sets it */
    pith_node *pixels;          /* (B, 3, size, size), normalised */
    pith_node *ids, *positions; /* (N) i32 */
    pith_node *offsets;         /* (T+1) i32 */
    pith_node *last;            /* (T) i32: the token that ends each caption, end-of-text */
    pith_node *caption_id, *label, *index; /* (B) i32 */
    pith_node *synthetic_caption_id;       /* (B) i32; NULL without synthetic captions */
    pith_node *progress;                   /* scalar */
    pith_node *epoch;                      /* i32 scalar */
} clip_inputs;
/* Makes all inputs; each has the name of its field. */
clip_inputs clip_inputs_new(pith_graph *g, const clip_config *c, int pairs, int tokens);
/* For batches that have a synthetic caption for each pair, after the pairs' own captions. */
clip_inputs clip_inputs_with_synthetic(pith_graph *g, const clip_config *c, int pairs, int tokens);

/* Is the image tower one? */
static inline bool clip_is_resnet(const clip_config *c) { return c->resnet.stem_stride > 0; }
/* How many patches of a picture are kept where a share of them is masked: at least 1. */
int clip_kept_patches(const clip_config *c, double masked);

/* Embeddings (B, embed) before normalising. */
pith_node *clip_image(pith_graph *g, const clip_config *c, pith_node *pixels);
pith_node *clip_text(pith_graph *g, const clip_config *c, const clip_inputs *in);
/* A param: the logarithm of what cosines are multiplied by. It starts at ln(1/0.07) and is clamped
 * to [0, ln 100]. */
pith_node *clip_logit_scale(pith_graph *g);
/* Runs both towers and fills a batch with all that a loss may use; the caller adds teachers. `c`
 * and `in` must live until the losses are built, since pith_second_view uses them; it makes one
 * more input, "second_pixels". */
pith_batch clip_batch(pith_graph *g, const clip_config *c, const clip_inputs *in);

/* A config whose layers are all equal: heads = width / head_width, FFN width = 4 width; with CLIP's
 * mean and std. */
clip_config clip_config_uniform(int image_size, int patch, int vision_width, int vision_layers,
                                int vision_head_width, int context, int vocabulary, int text_width,
                                int text_layers, int text_heads, int embed);
/* A config by name, as after --model: a name of the table that clip_names prints, or sizes such as
 * "32/8:w128l4h4+w128l3h4:e128" (README.md). */
bool clip_config_named(clip_config *c, const char *name);
void clip_names(FILE *f);

/* Lists all tensors of a model with a config, by name and shape: image tower, text tower,
 * logit_scale. Returns how many there are, 0 after an error. The caller frees *list. */
typedef enum { CLIP_VISION, CLIP_TEXT, CLIP_BOTH } clip_part;
typedef struct {
    char name[64];
    clip_part part;
    int layer;      /* which block it belongs to, of a ResNet which stage; -1: none */
    pith_kind kind; /* a state: running figures of a batch norm */
    pith_dtype dtype;
    int ndim, dim[4];
} clip_tensor;
int clip_tensors(const clip_config *c, clip_tensor **list);

/* Model directories in OpenCLIP's layout: open_clip_config.json, open_clip_model.safetensors, and
 * the tokenizer's merges in vocab.txt.gz. An error names a key of the config that pith does not
 * support, and a tensor that is missing, unexpected, of the wrong shape, or not finite. */
bool clip_config_read(clip_config *c, const char *directory);
bool clip_config_write(const clip_config *c, const char *directory);
bool clip_load(clip_config *c, pith_store *s, const char *directory);
/* A new store on that device with what is the model's own in s: the weights that a config means,
 * and states, but neither averages and moments nor what lies under "loss.". `averaged`: with the
 * averages "ema/NAME" as values, where there are some. NULL after an error. */
pith_store *clip_own(const clip_config *c, pith_store *s, pith_device on, bool averaged);
/* Writes the config and the tensors of the model, and nothing else of the store. Makes the
 * directory. Each file is written completely or not at all. */
bool clip_save(const clip_config *c, pith_store *s, const char *directory);

/* The size of a model, and the FLOPs of a forward pass of one pair: two for each multiply-add of
 * matrix products and attention. flops_pair: as the graph computes it. usual_flops_pair: as it is
 * usually counted, with captions of full length and all tokens in the last block. */
typedef struct {
    double parameters, vision_parameters, text_parameters, flops_pair, usual_flops_pair;
} clip_cost;
clip_cost clip_count(const clip_config *c, double tokens_a_caption);

/* The same sizes, with the last `count` blocks of both towers SAS-P: SiCLIP's rule (Liu 2024), as
 * far as it is known, with shared queries and keys. False after an error. */
enum { CLIP_HALF = -1 }; /* for `count`: of each tower */
bool clip_with_sasp(const clip_config *c, int count, clip_config *out);
/* Freezes all but the blocks without a skip: then nothing below the first of them has a backward
 * pass. Params of losses are trained. */
bool clip_freeze_skips(const clip_config *c, pith_store *s);

/* TinyCLIP's manual inheritance (Wu et al., ICCV 2023): every tensor of the student is the first
 * part of the teacher's along each axis, in whole heads; layer i comes from layer i * floor(teacher
 * depth / student depth). An error names what cannot be inherited. A block without a skip that
 * takes the place of a pre-norm one begins anew, or, with `replaced`, from the norm, the MLP, and
 * the queries and keys of that one (shared ones: of the last), with beta and gamma 0. */
bool clip_inherit(const clip_config *student, pith_store *s, const clip_config *teacher,
                  pith_store *t, bool replaced);

/* ---- masks that learn what to keep: TinyCLIP's automatic inheritance ---- */

/* What multiplies channels, heads and FFN units in a graph: z (n) in [0, 1], 0 where one is left
 * out, made from trained logits (n), the params "mask.image.hidden", "mask.image.3.heads",
 * "mask.image.3.ffn", "mask.text..." and so on. NULL, where a layer has none. */
typedef struct {
    pith_node *logits, *z;
} clip_mask;
typedef struct clip_masks {
    clip_mask hidden, heads[CLIP_MAX_LAYERS], ffn[CLIP_MAX_LAYERS];
} clip_masks;
/* Puts masks over both towers of a config, for models made from it in this graph: random samples
 * in training, anew in every step, and else the values that clip_fuse takes, as the
 * store has them when the graph is made. The config points to `masks`: they must live as long as it
 * is used. */
void clip_mask_towers(pith_graph *g, clip_config *c, clip_masks masks[2]);
/* The least share that masks can be expected to keep, for their logits are bounded. */
#define CLIP_LEAST_KEPT 0.0023
bool clip_can_be_pruned(const clip_config *c); /* false after an error that says why not */

/* The parameters of a tower that pruning counts: weights and biases of attention and MLPs. */
double clip_prunable(const clip_tower *t);
typedef struct {
    double keep, start; /* shares of the original's clip_prunable: at last, and at first */
    double ramp;        /* steps from one to the other */
    int first;          /* the number of the first step */
    double mask_rate, multiplier_rate; /* learning rates, whatever that of the weights is */
    bool is_signed;                    /* what is pruned too far is punished, too */
    bool each_tower;                   /* one constraint a tower, instead of one on both together */
} clip_sparsity;
/* What is to be added to the loss of a masked model, a scalar: 0 once the masks are expected to
 * keep the share that is wanted (sparsity.c). `c` is masked, and was cut out of `original`. */
pith_node *clip_sparsity_loss(pith_graph *g, const clip_config *c, const clip_config *original,
                              const clip_sparsity *o);
/* The model without what the masks of store s leave out, and with their values multiplied into its
 * weights: *out and the store `to` get config and weights. Its embeddings are those of the masked
 * model outside training, up to rounding. */
bool clip_fuse(const clip_config *c, pith_store *s, clip_config *out, pith_store *to);

#ifdef __cplusplus
}
#endif
#endif
