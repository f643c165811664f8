/* clip.c: CLIP: two towers and one learned scale; and what a pair costs to compute. */
#include <math.h>
#include <stdlib.h>
#include "parts.h"

static clip_inputs make_inputs(pith_graph *g, const clip_config *c, int pairs, int captions,
                               int tokens)
{
    const int size = c->image_size;
    return (clip_inputs){
        .pairs = pairs,
        .captions = captions,
        .tokens = tokens,
        .pixels = pith_input(g, "pixels", PITH_F32, pairs, 3, size, size),
        .ids = pith_input(g, "ids", PITH_I32, tokens),
        .positions = pith_input(g, "positions", PITH_I32, tokens),
        .offsets = pith_input(g, "offsets", PITH_I32, captions + 1),
        .last = pith_input(g, "last", PITH_I32, captions),
        .caption_id = pith_input(g, "caption_id", PITH_I32, pairs),
        .label = pith_input(g, "label", PITH_I32, pairs),
        .index = pith_input(g, "index", PITH_I32, pairs),
        .progress = pith_input(g, "progress", PITH_F32),
        .epoch = pith_input(g, "epoch", PITH_I32),
    };
}

clip_inputs clip_inputs_new(pith_graph *g, const clip_config *c, int pairs, int tokens)
{
    return make_inputs(g, c, pairs, pairs, tokens);
}

clip_inputs clip_inputs_with_synthetic(pith_graph *g, const clip_config *c, int pairs, int tokens)
{
    clip_inputs in = make_inputs(g, c, pairs, 2 * pairs, tokens);
    in.synthetic_caption_id = pith_input(g, "synthetic_caption_id", PITH_I32, pairs);
    return in;
}

pith_node *clip_logit_scale(pith_graph *g)
{
    pith_node *t = pith_param(g, "logit_scale", PITH_CONSTANT, log(1 / 0.07));
    return pith_clamp_param(pith_no_weight_decay(t), 0, log(100));
}

static pith_view make_view(const pith_batch *b)
{
    const clip_config *c = b->model;
    const clip_inputs *in = b->inputs;
    pith_graph *g = b->graph;
    pith_node *pixels = pith_input(g, "second_pixels", PITH_F32, in->pairs, 3, c->image_size,
                                   c->image_size);
    pith_view v = { .image_features = PITH_CALL(g, clip_image_features,
                                                (g, c, pixels, in->masked)) };
    v.image_raw = PITH_CALL(g, clip_project_image, (g, c, v.image_features));
    v.image = pith_normalize(v.image_raw);
    return v;
}

/* All captions went through the tower in one pass; the second half of its rows is synthetic. */
static void split_texts(pith_batch *b, int pairs)
{
    pith_node *features = b->text_features, *raw = b->text_raw;
    b->text_features = pith_slice(features, 0, 0, pairs);
    b->text_raw = pith_slice(raw, 0, 0, pairs);
    b->synthetic_text_features = pith_slice(features, 0, pairs, 2 * pairs);
    b->synthetic_text_raw = pith_slice(raw, 0, pairs, 2 * pairs);
    b->synthetic_text = pith_normalize(b->synthetic_text_raw);
}

pith_batch clip_batch(pith_graph *g, const clip_config *c, const clip_inputs *in)
{
    pith_batch b = pith_batch_new(g);
    b.image_features = PITH_CALL(g, clip_image_features, (g, c, in->pixels, in->masked));
    b.image_raw = PITH_CALL(g, clip_project_image, (g, c, b.image_features));
    b.text_features = PITH_CALL(g, clip_text_features, (g, c, in));
    b.text_raw = PITH_CALL(g, clip_project_text, (g, c, b.text_features));
    b.scale = pith_exp(clip_logit_scale(g));
    if (in->captions > in->pairs) split_texts(&b, in->pairs);
    b.image = pith_normalize(b.image_raw);
    b.text = pith_normalize(b.text_raw);
    b.caption_id = in->caption_id;
    b.label = in->label;
    b.index = in->index;
    b.samples = in->samples;
    b.progress = in->progress;
    b.epoch = in->epoch;
    b.make_view = make_view;
    b.model = c;
    b.inputs = in;
    return b;
}

/* ---- cost ---- */

/* Multiply-adds of the blocks for n tokens. pool: the last block is computed for the pooled token
 * only. */
static double blocks_madds(const clip_tower *t, double n, bool pool)
{
    const int pooled = pool ? clip_pooled_block(t) : t->layers;
    double sum = 0;
    for (int i = 0; i < t->layers; i++) {
        const double inner = (double)t->heads[i] * t->head_width, queries = i >= pooled ? 1 : n;
        /* queries and keys; values and what joins the heads */
        sum += (queries + n) * t->width * inner + 2 * queries * n * inner;
        if (t->block[i] == CLIP_PRE_NORM) sum += (queries + n) * t->width * inner;
        sum += 2 * queries * t->width * t->ffn[i];
    }
    return sum;
}

static double picture_madds(const clip_config *c, bool pool)
{
    if (clip_is_resnet(c)) return clip_resnet_madds(c);
    const double patches = (double)(c->image_size / c->patch) * (c->image_size / c->patch);
    return patches * 3 * c->patch * c->patch * c->vision.width +
           blocks_madds(&c->vision, patches + 1, pool && !c->mean_pooling) +
           (double)c->vision.width * c->embed;
}

static double pair_flops(const clip_config *c, double tokens, bool pool)
{
    return 2 * (picture_madds(c, pool) + blocks_madds(&c->text, tokens, pool) +
                (double)c->text.width * c->embed);
}

clip_cost clip_count(const clip_config *c, double tokens_a_caption)
{
    clip_cost cost = { .flops_pair = pair_flops(c, tokens_a_caption, true),
                       .usual_flops_pair = pair_flops(c, c->context, false) };
    clip_tensor *list;
    const int n = clip_tensors(c, &list);
    for (int k = 0; k < n; k++) {
        double size = 1;
        for (int d = 0; d < list[k].ndim; d++) size *= list[k].dim[d];
        if (list[k].kind == PITH_STATE) continue;
        cost.parameters += size;
        if (list[k].part == CLIP_VISION) cost.vision_parameters += size;
        if (list[k].part == CLIP_TEXT) cost.text_parameters += size;
    }
    free(list);
    return cost;
}
