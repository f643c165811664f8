/* instance.c: instance discrimination distillation, after CLIP-CID (Yang et al., AAAI 2025): each
 * picture of the student finds the teacher's row of the same picture among those of the batch, and
 * the other way round; captions likewise.
 *
 *     L_image = 1/2 mean_i [ CE_j(a u_i . u'_j, i) + CE_j(a u'_i . u_j, i) ], L_text of v and v'
 *     L = 1/2 (L_image + L_text)
 *
 * a = exp(t), and t is a trained parameter of this term, which starts at ln(1/0.07) and is clamped
 * to [0, ln 100], as in CLIP; `scale=50` holds a = 50. If the widths differ, a trained linear layer
 * is applied before normalising, one a modality.
 *
 * A reconstruction: that the loss is contrastive, both ways, for pictures and for captions, is
 * known of the paper; its scale, and whether pictures find pictures or captions, is not. `sum=1`
 * takes the sum of both modalities, not their mean. Across modalities it is `interactive`. */
#include "losses.h"

static pith_node *both_ways(pith_node *student, pith_node *teacher, pith_node *scale) /* (B) */
{
    pith_node *own = pith_arange(student->graph, student->dim[0]);
    pith_node *there = pith_mul(pith_matmul_nt(student, teacher), scale),
              *back = pith_mul(pith_matmul_nt(teacher, student), scale);
    return pith_add(pith_cross_entropy(there, own), pith_cross_entropy(back, own));
}

pith_node *instance_loss(const pith_batch *b)
{
    const pith_teacher *teacher = &b->teachers[0];
    const double fixed = pith_option(b, "scale", 0);
    pith_node *scale = fixed > 0 ? pith_const(b->graph, fixed) : loss_trained_scale(b, false);
    pith_node *u = loss_project(b, b->image_raw, b->image, teacher->image, "image");
    pith_node *v = loss_project(b, b->text_raw, b->text, teacher->text, "text");
    pith_node *losses = pith_add(both_ways(u, teacher->image, scale),
                                 both_ways(v, teacher->text, scale));
    return pith_mul_scalar(pith_mean(losses, PITH_ALL), pith_option(b, "sum", 0) != 0 ? 0.5 : 0.25);
}
