/* siglip.c: the sigmoid loss (Zhai et al., "Sigmoid loss for language image pre-training", ICCV
 * 2023): for each of the B x B pairs it is asked whether picture and caption belong together; the
 * answer is yes on the diagonal.
 *
 *     L = 1/B sum_ij softplus(-z_ij (s u_i . v_j + bias))        z_ij = 1 if i = j, else -1
 *
 * The bias is trained and starts at -10, since most answers are no. With `scale=10` the term has
 * its own trained s, which starts at 10 as in the paper; without it s is the model's, which is
 * exported with the model. */
#include <math.h>
#include "losses.h"

pith_node *siglip_loss(const pith_batch *b)
{
    const int B = b->image->dim[0];
    const double start = pith_option(b, "scale", 0);
    pith_node *scale = b->scale;
    if (start > 0) scale = pith_exp(pith_param(b->graph, "logit_scale", PITH_CONSTANT, log(start)));
    pith_node *bias = pith_param(b->graph, "bias", PITH_CONSTANT, -10);
    pith_node *logits = pith_add(pith_mul(pith_matmul_nt(b->image, b->text), scale),
                                 bias); /* (B, B) */
    pith_node *i = pith_arange(b->graph, B);
    pith_node *yes = pith_equal(pith_reshape(i, B, 1), i);
    pith_node *losses = pith_softplus(pith_where(yes, pith_neg(logits), logits));
    return pith_mul_scalar(pith_sum(losses, PITH_ALL), 1.0 / B);
}
