/* relational.c: contrastive relational distillation, CRD of CLIP-KD (Yang et al., CVPR 2024): the
 * divergence of the student's similarity distributions from the teacher's.
 *
 *     L = 1/2 mean_i [ KL(P_i || p_i) + text to image ]
 *     p_i = softmax_j(s u_i . v_j),  P_i = softmax_j(s' u'_i . v'_j)
 *
 * KL is the cross-entropy minus the teacher's entropy: it has the gradient of `affinity`, and its
 * minimum is 0. */
#include "losses.h"

static pith_node *divergence(pith_node *teacher, pith_node *student) /* logits (B, B) -> (B) */
{
    return pith_sub(pith_soft_cross_entropy(student, teacher),
                    pith_soft_cross_entropy(teacher, teacher));
}

pith_node *relational_loss(const pith_batch *b)
{
    const pith_teacher *teacher = &b->teachers[0];
    pith_node *to_text = divergence(pith_mul(pith_matmul_nt(teacher->image, teacher->text),
                                             teacher->scale),
                                    pith_mul(pith_matmul_nt(b->image, b->text), b->scale));
    pith_node *to_image = divergence(pith_mul(pith_matmul_nt(teacher->text, teacher->image),
                                              teacher->scale),
                                     pith_mul(pith_matmul_nt(b->text, b->image), b->scale));
    return pith_mul_scalar(pith_mean(pith_add(to_text, to_image), PITH_ALL), 0.5);
}
