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

/* Adds a tensor; its dims end with 0. */
static void add(lister *l, const char *name, ...)
{
    clip_tensor *t = &l->list[l->n++];
    *t = (clip_tensor){ .part = l->part, .layer = l->layer };
    const char *tower = l->part == CLIP_VISION ? "visual." : "";
    if (l->layer < 0) snprintf(t->name, sizeof t->name, "%s%s", tower, name);
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

static void add_blocks(lister *l, const clip_tower *t)
{
    for (int i = 0; i < t->layers; i++) {
        const int D = t->width, inner = t->heads[i] * t->head_width, F = t->ffn[i];
        l->layer = i;
        if (inner) {
            add_pair(l, "ln_1.weight", "ln_1.bias", D, 0);
            add_pair(l, "attn.in_proj_weight", "attn.in_proj_bias", 3 * inner, D);
            add_pair(l, "attn.out_proj.weight", "attn.out_proj.bias", D, inner);
        }
        if (F) {
            add_pair(l, "ln_2.weight", "ln_2.bias", D, 0);
            add_pair(l, "mlp.c_fc.weight", "mlp.c_fc.bias", F, D);
            add_pair(l, "mlp.c_proj.weight", "mlp.c_proj.bias", D, F);
        }
    }
    l->layer = -1;
}

int clip_tensors(const clip_config *c, clip_tensor **list)
{
    enum { BLOCK = 12, OTHERS = 16 };
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
