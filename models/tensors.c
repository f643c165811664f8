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
    bool resnet; /* `layer` is a stage, which names tell themselves */
} lister;

enum { ALL_LAYERS = -2 }; /* of a tensor that blocks share */

/* Adds a tensor; its dims end with 0. */
static void add(lister *l, const char *name, ...)
{
    clip_tensor *t = &l->list[l->n++];
    *t = (clip_tensor){ .part = l->part, .layer = l->layer, .kind = PITH_WEIGHT };
    const char *tower = l->part == CLIP_VISION ? "visual." : "";
    if (l->layer == ALL_LAYERS) {
        snprintf(t->name, sizeof t->name, "%stransformer.%s", tower, name);
        t->layer = -1;
    } else if (l->layer < 0 || l->resnet) snprintf(t->name, sizeof t->name, "%s%s", tower, name);
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

/* A convolution and its norm. */
static void add_convolution(const clip_convolution *x, void *context)
{
    lister *l = context;
    static const char *const parts[] = { "weight", "bias", "running_mean", "running_var",
                                         "num_batches_tracked" };
    l->layer = x->stage;
    char name[80];
    snprintf(name, sizeof name, "%s.weight", x->name);
    add(l, name, x->out, x->in, x->kernel, x->kernel, 0);
    for (int k = 0; k < 5; k++) {
        snprintf(name, sizeof name, "%s.%s", x->norm, parts[k]);
        if (k < 4) add(l, name, x->out, 0);
        else add(l, name, 0);
        if (k > 1) l->list[l->n - 1].kind = PITH_STATE;
        if (k > 3) l->list[l->n - 1].dtype = PITH_I32;
    }
}

static void add_resnet(lister *l, const clip_config *c, int grid)
{
    const int E = clip_resnet_channels(c);
    l->resnet = true;
    clip_visit_convolutions(c, add_convolution, l);
    l->layer = -1;
    add(l, "attnpool.positional_embedding", grid * grid + 1, E, 0);
    add_pair(l, "attnpool.q_proj.weight", "attnpool.q_proj.bias", E, E);
    add_pair(l, "attnpool.k_proj.weight", "attnpool.k_proj.bias", E, E);
    add_pair(l, "attnpool.v_proj.weight", "attnpool.v_proj.bias", E, E);
    add_pair(l, "attnpool.c_proj.weight", "attnpool.c_proj.bias", c->embed, E);
    l->resnet = false;
}

static void add_vit(lister *l, const clip_config *c, int grid)
{
    const int V = c->vision.width;
    add(l, "class_embedding", V, 0);
    add(l, "conv1.weight", V, 3, c->patch, c->patch, 0);
    add(l, "positional_embedding", grid * grid + 1, V, 0);
    add_pair(l, "ln_pre.weight", "ln_pre.bias", V, 0);
    add_blocks(l, &c->vision);
    add_pair(l, "ln_post.weight", "ln_post.bias", V, 0);
    add(l, "proj", V, c->embed, 0);
}

int clip_tensors(const clip_config *c, clip_tensor **list)
{
    enum { BLOCK = 16, RESNET_BLOCK = 24, OTHERS = 48 };
    const int *stages = c->resnet.layers, W = c->text.width, grid = c->image_size / c->patch,
              most = BLOCK * (c->vision.layers + c->text.layers) + OTHERS +
                     RESNET_BLOCK * (stages[0] + stages[1] + stages[2] + stages[3]);
    lister l = { .list = calloc((size_t)most, sizeof *l.list), .part = CLIP_VISION, .layer = -1 };
    *list = l.list;
    if (!l.list) return pith_raise("no memory for a list of %d tensors", most), 0;
    if (clip_is_resnet(c)) add_resnet(&l, c, grid);
    else add_vit(&l, c, grid);
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
