/* tensors.c: the list of a model's tensors, made from its config. Loading, saving, inheriting and
 * counting use it, so that they need not build a graph first. A test compares it with the params
 * that the graph makes. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "parts.h"

typedef struct {
    clip_tensor *list;
    int n;
    clip_part part;
    int layer;
} lister;

enum { ALL_LAYERS = -2 }; /* of a tensor that blocks share */

/* Adds a tensor; its dims end with 0. */
static void add(lister *l, const char *name, ...)
{
    clip_tensor *t = &l->list[l->n++];
    *t = (clip_tensor){ .part = l->part, .layer = l->layer };
    const char *tower = l->part == CLIP_VISION ? "visual." : "";
    if (l->layer == ALL_LAYERS) {
        snprintf(t->name, sizeof t->name, "%stransformer.%s", tower, name);
        t->layer = -1;
    } else if (l->layer < 0) snprintf(t->name, sizeof t->name, "%s%s", tower, name);
    else snprintf(t->name, sizeof t->name, "%stransformer.resblocks.%d.%s", tower, l->layer, name);
    va_list dims;
    va_start(dims, name);
    for (int d; (d = va_arg(dims, int)) != 0;) t->dim[t->ndim++] = d;
    va_end(dims);
}

/* Adds a weight (out, in), or, where `in` is 0, a norm's weight (out), and its bias (out). */
static void add_pair(lister *l, const char *weight, const char *bias, int out, int in)
{
    add(l, weight, out, in, 0);
    add(l, bias, out, 0);
}

static void add_query_key(lister *l, int D)
{
    add_pair(l, "attn.q_proj.weight", "attn.q_proj.bias", D, D);
    add_pair(l, "attn.k_proj.weight", "attn.k_proj.bias", D, D);
}

static void add_blocks(lister *l, const clip_tower *t)
{
    l->layer = ALL_LAYERS;
    if (t->shared_query_key) add_query_key(l, t->width);
    for (int i = 0; i < t->layers; i++) {
        const int D = t->width, inner = t->heads[i] * t->head_width, F = t->ffn[i];
        const bool pre_norm = t->block[i] == CLIP_PRE_NORM;
        l->layer = i;
        if (inner) add_pair(l, "ln_1.weight", "ln_1.bias", D, 0);
        if (inner && pre_norm) {
            add_pair(l, "attn.in_proj_weight", "attn.in_proj_bias", 3 * inner, D);
            add_pair(l, "attn.out_proj.weight", "attn.out_proj.bias", D, inner);
        }
        if (!pre_norm) {
            if (!t->shared_query_key) add_query_key(l, D);
            add(l, "attn.gains", 3, t->heads[i], 1, 0);
            add(l, "attn.gain", 1, 0);
            if (F) add(l, "mlp.gain", 1, 0);
            if (F && t->block[i] == CLIP_SAS) add(l, "mlp.skip_gain", 1, 0);
        }
        if (F) {
            if (t->block[i] != CLIP_SAS_P) add_pair(l, "ln_2.weight", "ln_2.bias", D, 0);
            add_pair(l, "mlp.c_fc.weight", "mlp.c_fc.bias", F, D);
            add_pair(l, "mlp.c_proj.weight", "mlp.c_proj.bias", D, F);
        }
    }
    l->layer = -1;
}

int clip_tensors(const clip_config *c, clip_tensor **list)
{
    enum { BLOCK = 16, OTHERS = 24 };
    const int most = BLOCK * (c->vision.layers + c->text.layers) + OTHERS,
              grid = c->image_size / c->patch;
    lister l = { .list = calloc((size_t)most, sizeof *l.list), .part = CLIP_VISION, .layer = -1 };
    *list = l.list;
    if (!l.list) return pith_raise("no memory for a list of %d tensors", most), 0;
    const int V = c->vision.width, W = c->text.width;
    add(&l, "class_embedding", V, 0);
    add(&l, "conv1.weight", V, 3, c->patch, c->patch, 0);
    add(&l, "positional_embedding", grid * grid + 1, V, 0);
    add_pair(&l, "ln_pre.weight", "ln_pre.bias", V, 0);
    add_blocks(&l, &c->vision);
    add_pair(&l, "ln_post.weight", "ln_post.bias", V, 0);
    add(&l, "proj", V, c->embed, 0);
    l.part = CLIP_TEXT;
    add(&l, "token_embedding.weight", c->vocabulary, W, 0);
    add(&l, "positional_embedding", c->context, W, 0);
    add_blocks(&l, &c->text);
    add_pair(&l, "ln_final.weight", "ln_final.bias", W, 0);
    add(&l, "text_projection", W, c->embed, 0);
    l.part = CLIP_BOTH;
    add(&l, "logit_scale", 0);
    return l.n;
}
