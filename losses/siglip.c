/* siglip.c: the sigmoid loss (Zhai et al., "Sigmoid loss for language image pre-training", ICCV
 * 2023): each of the B x B pairs is a question of its own, yes on the diagonal.
 *
 *     L = 1/B sum_ij softplus(-z_ij (s u_i . v_j + bias))        z_ij = 1 if i = j, else -1
 *
 * The bias is trained and starts at -10, for most answers are no. `scale=10` gives the term its own
 * trained multiplier that starts there, as in the paper; otherwise s is the model's, which is
 * exported with it. */
#include <math.h>
#include "losses.h"

pith_node *siglip_loss(const pith_batch *b)
{
    const int B = b->image->dim[0];
    const double start = pith_option(b, "scale", 0);
    pith_node *scale = b->scale;
    if (start > 0) scale = pith_exp(pith_param(b->graph, "logit_scale", PITH_CONSTANT, log(start)));
    pith_node *bias = pith_param(b->graph, "bias", PITH_CONSTANT, -10);
    pith_node *answers = pith_add(pith_mul(pith_matmul_nt(b->image, b->text), scale),
                                  bias); /* (B, B) */
    pith_node *i = pith_arange(b->graph, B);
    pith_node *yes = pith_equal(pith_reshape(i, B, 1), i);
    pith_node *surprise = pith_softplus(pith_where(yes, pith_neg(answers), answers));
    return pith_mul_scalar(pith_sum(surprise, PITH_ALL), 1.0 / B);
}
