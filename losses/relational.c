/* relational.c: contrastive relational distillation, CRD of CLIP-KD (Yang et al., CVPR 2024): the
 * divergence of the student's similarity distributions from the teacher's.
 *
 *     L = 1/2 mean_i [ KL(P_i || p_i) + text to image ]
 *     p_i = softmax_j(s u_i . v_j),  P_i = softmax_j(s' u'_i . v'_j)
 *
 * Of several teachers it is the mean of the divergences, or see teachers.c. KL is the cross-entropy
 * minus the teacher's entropy: it has the gradient of `affinity`, and its minimum is 0. */
#include "losses.h"

pith_node *loss_divergence(pith_node *student, pith_node *teacher)
{
    return pith_sub(pith_soft_cross_entropy(student, teacher),
                    pith_soft_cross_entropy(teacher, teacher));
}

pith_node *relational_loss(const pith_batch *b)
{
    pith_node *to_text = pith_mul(pith_matmul_nt(b->image, b->text), b->scale),
              *to_image = pith_mul(pith_matmul_nt(b->text, b->image), b->scale);
    to_text = loss_of_teachers(b, to_text, NULL, false, loss_divergence);
    to_image = loss_of_teachers(b, to_image, NULL, true, loss_divergence);
    return pith_mul_scalar(pith_mean(pith_add(to_text, to_image), PITH_ALL), 0.5);
}
