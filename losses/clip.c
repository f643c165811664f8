/* clip.c: InfoNCE, CLIP's own loss (Radford et al., ICML 2021): each picture is classified among
 * the captions of the batch, and each caption among the pictures.
 *
 *     L = 1/2 mean_i [ CE_j(s u_i . v_j, i) + CE_j(s v_i . u_j, i) ] */
#include "losses.h"

pith_node *clip_loss(const pith_batch *b)
{
    pith_node *own = pith_arange(b->graph, b->image->dim[0]);
    pith_node *to_text = pith_mul(pith_matmul_nt(b->image, b->text), b->scale); /* (B, B) */
    pith_node *to_image = pith_mul(pith_matmul_nt(b->text, b->image), b->scale);
    pith_node *sum = pith_add(pith_cross_entropy(to_text, own), pith_cross_entropy(to_image, own));
    return pith_mul_scalar(pith_mean(sum, PITH_ALL), 0.5);
}
