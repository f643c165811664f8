/* interactive.c: interactive contrastive learning, ICL of CLIP-KD (Yang et al., CVPR 2024): the
 * student's pictures find the teacher's captions, and its captions the teacher's pictures.
 *
 *     L = 1/2 mean_i [ CE_j(c u_i . v'_j, i) + CE_j(c v_i . u'_j, i) ]
 *
 * c = exp(t), and t is a trained parameter of this term, which starts at ln(1/0.07) and is clamped
 * to [0, ln 100], as in CLIP. `raw=1` takes c = t, as CLIP-KD's code does. If the widths differ, a
 * trained linear layer is applied before normalising. */
#include "losses.h"

pith_node *interactive_loss(const pith_batch *b)
{
    const pith_teacher *teacher = &b->teachers[0];
    pith_node *c = loss_trained_scale(b, pith_option(b, "raw", 0) != 0);
    pith_node *u = loss_project(b, b->image_raw, b->image, teacher->image, "image");
    pith_node *v = loss_project(b, b->text_raw, b->text, teacher->text, "text");
    pith_node *own = pith_arange(b->graph, b->image->dim[0]);
    pith_node *to_text = pith_cross_entropy(pith_mul(pith_matmul_nt(u, teacher->text), c), own);
    pith_node *to_image = pith_cross_entropy(pith_mul(pith_matmul_nt(v, teacher->image), c), own);
    return pith_mul_scalar(pith_mean(pith_add(to_text, to_image), PITH_ALL), 0.5);
}
