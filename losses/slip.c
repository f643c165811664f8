/* slip.c: the self-supervised term of SLIP (Mu et al., ECCV 2022): two views of a picture shall
 * find each other among all others of the batch (NT-Xent: Chen et al., SimCLR, ICML 2020). Added to
 * clip it is SLIP: `clip+slip`, and w is the term's weight, 1 as published.
 *
 *     a_i, b_i = unit rows of MLP(features of view 1), MLP(features of view 2)
 *     L_a = -mean_i log [ e(a_i . b_i) / (sum_j e(a_i . b_j) + sum_{j != i} e(a_i . a_j)) ]
 *     L   = (L_a + L_b) / 2,   e(x) = exp(x / 0.1),   L_b with a and b exchanged
 *
 * The features are the image tower's before CLIP's projection. The MLP is linear, batch norm, ReLU,
 * twice, and linear to 256, trained with the loss and thrown away afterwards. Published is a width
 * of 4096 for towers of 768; `hidden` is 4096/768 of this tower's unless it is given, for 4096
 * would outweigh a small tower twenty times (our choice). Batch norm takes the figures of the view
 * at hand, as in training; no running ones are kept, since nothing reads them.
 *
 * Published SLIP sees three views, one mildly cropped for CLIP and two for this term. Here there
 * are two, and CLIP sees the first: a pass less, and CLIP's pictures are augmented like the others
 * (losses/README.md has the published strengths). */
#include <math.h>
#include "losses.h"

static pith_node *layer(pith_node *x, int number, int in, int out, bool last)
{
    pith_graph *g = x->graph;
    const double half = 1 / sqrt(in);
    pith_scope(g, "%d", number);
    pith_node *w = pith_param(g, "weight", PITH_UNIFORM, half, out, in);
    pith_node *y = pith_linear(x, w, pith_param(g, "bias", PITH_UNIFORM, half, out));
    if (!last)
        y = pith_relu(pith_batch_norm(y, pith_param(g, "gain", PITH_CONSTANT, 1, out),
                                      pith_param(g, "shift", PITH_CONSTANT, 0, out)));
    pith_unscope(g);
    return y;
}

static bool fits(const pith_batch *b)
{
    const double hidden = pith_option(b, "hidden", 0), out = pith_option(b, "out", 256),
                 temperature = pith_option(b, "temperature", 0.1);
    if (!(hidden >= 0 && hidden <= 1e6 && hidden == floor(hidden)))
        pith_refuse(b->graph, "loss slip: hidden=%g: expected a whole number up to a million",
                    hidden);
    else if (!(out >= 1 && out <= 1e6 && out == floor(out)))
        pith_refuse(b->graph, "loss slip: out=%g: expected a whole number from 1 to a million",
                    out);
    else if (!(temperature > 0))
        pith_refuse(b->graph, "loss slip: temperature=%g: expected a number above 0", temperature);
    return !pith_graph_error(b->graph);
}

/* Unit rows (B, out). */
static pith_node *head(const pith_batch *b, pith_node *features)
{
    const int wanted = (int)pith_option(b, "hidden", 0), out = (int)pith_option(b, "out", 256);
    const int width = b->image_features->dim[1]; /* of both views */
    const int hidden = wanted > 0 ? wanted : (int)(width * 4096.0 / 768 + 0.5);
    pith_node *x = layer(features, 0, width, hidden, false);
    x = layer(x, 1, hidden, hidden, false);
    return pith_normalize(layer(x, 2, hidden, out, true));
}

/* Cross-entropies (B): a's own row among those of b, and among the others of a. */
static pith_node *find(const pith_batch *batch, pith_node *a, pith_node *b)
{
    const int B = a->dim[0];
    const double temperature = pith_option(batch, "temperature", 0.1);
    pith_node *i = pith_arange(a->graph, B);
    pith_node *self = pith_equal(pith_reshape(i, B, 1), i);
    pith_node *others = pith_mul_scalar(pith_matmul_nt(a, a), 1 / temperature);
    pith_node *logits[] = { pith_mul_scalar(pith_matmul_nt(a, b), 1 / temperature),
                            pith_where(self, pith_const(a->graph, -1e9), others) };
    return pith_cross_entropy(pith_concat(2, logits, 1), i);
}

pith_node *slip_loss(const pith_batch *b)
{
    if (!fits(b)) return pith_failed(b->graph, NULL);
    pith_node *one = head(b, b->image_features), *two = head(b, pith_second_view(b).image_features);
    pith_node *sum = pith_add(find(b, one, two), find(b, two, one));
    return pith_mul_scalar(pith_mean(sum, PITH_ALL), 0.5);
}
