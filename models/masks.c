/* masks.c: TinyCLIP's automatic inheritance (Wu et al., ICCV 2023, after CoFi): masks over what a
 * tower is made of. One mask goes over the hidden channels, which all layers share, one over the
 * heads and one over the FFN units of each layer. What a mask multiplies:
 *
 *     hidden   what is written to the residual stream: embeddings, and rows of out_proj and c_proj
 *     heads    what comes out of each head: columns of out_proj
 *     FFN      what comes out of the activation: columns of c_proj
 *
 * A norm takes mean and variance of the channels that are not dead, and gives 0 in those that are.
 * A mask holds for a whole batch, so it multiplies weights, which are small, and not what flows.
 * Models of fewer sizes come from this by leaving out what is 0: fuse.c. */
#include <math.h>
#include <stdlib.h>
#include "parts.h"

/* The mask called `name` over n things, of which at least some are kept. */
static clip_mask new_mask(pith_graph *g, int n, int at_least, const char *name)
{
    pith_node *logits = pith_param(g, name, PITH_CONSTANT, 10, n);
    pith_clamp_param(pith_no_weight_decay(logits), log(0.01), log(100));
    if (pith_is_training(g)) return (clip_mask){ logits, clip_mask_sample(logits) };
    pith_real *z = malloc(sizeof *z * (size_t)n);
    const bool good = z && clip_mask_decide(pith_tensor_of(logits), at_least, z);
    clip_mask m = { logits, good ? pith_const_array(g, PITH_F32, z, n)
                                 : pith_refuse(g, "no memory for a mask") };
    free(z);
    return m;
}

static bool can_be_pruned(const clip_tower *t, const char *name)
{
    for (int i = 0; i < t->layers; i++)
        if (t->block[i] != CLIP_PRE_NORM)
            return pith_raise("block %d of the %s tower has no skip around attention, whose heads "
                              "cannot be left out: only pre-norm blocks can be pruned",
                              i, name);
    return true;
}

bool clip_can_be_pruned(const clip_config *c)
{
    if (clip_is_resnet(c))
        return pith_raise("the image tower is a ResNet, which cannot be pruned: masks are for "
                          "heads and MLPs");
    return can_be_pruned(&c->vision, "image") && can_be_pruned(&c->text, "text");
}

static void mask_tower(pith_graph *g, clip_tower *t, const char *name, clip_masks *m)
{
    *m = (clip_masks){ { NULL, NULL }, { { NULL, NULL } }, { { NULL, NULL } } };
    pith_scope(g, "mask.%s", name);
    m->hidden = new_mask(g, t->width, 1, "hidden");
    for (int i = 0; i < t->layers; i++) {
        pith_scope(g, "%d", i);
        if (t->heads[i]) m->heads[i] = new_mask(g, t->heads[i], 0, "heads");
        if (t->ffn[i]) m->ffn[i] = new_mask(g, t->ffn[i], 0, "ffn");
        pith_unscope(g);
    }
    pith_unscope(g);
    t->masks = m;
}

void clip_mask_towers(pith_graph *g, clip_config *c, clip_masks masks[2])
{
    mask_tower(g, &c->vision, "image", &masks[0]);
    mask_tower(g, &c->text, "text", &masks[1]);
}

pith_node *clip_hidden_mask(const clip_tower *t) { return t->masks ? t->masks->hidden.z : NULL; }

pith_node *clip_masked(pith_node *x, pith_node *mask) { return mask ? pith_mul(x, mask) : x; }

pith_node *clip_masked_norm(pith_node *x, pith_node *gain, pith_node *bias, pith_node *hidden)
{
    const int D = x->dim[1];
    pith_graph *g = x->graph;
    pith_node *alive = pith_less(pith_const(g, 0), hidden);
    pith_node *count = pith_maximum(pith_sum(alive, PITH_ALL), pith_const(g, 1));
    /* Dead channels are filled with the mean of the others: so the mean of all is theirs. The
       variance, of which D / count is missing then, is made up for by a factor. */
    pith_node *factor = pith_sqrt(pith_div(pith_const(g, D), count));
    pith_node *mean = pith_matmul(x, pith_reshape(pith_div(alive, count), D, 1)); /* (N, 1) */
    x = pith_mul(pith_where(alive, x, mean), factor);
    return pith_layer_norm(x, pith_mul(gain, pith_div(alive, factor)), pith_mul(bias, alive));
}
