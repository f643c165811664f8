/* feature.c: feature distillation, FD of CLIP-KD (Yang et al., CVPR 2024): the student's rows shall
 * equal the teacher's.
 *
 *     L = mean((u - u')^2) + mean((v - v')^2)
 *
 * The means are over rows and columns of unit rows, so L is small; CLIP-KD weighs it 2000. If the
 * widths differ, a trained linear layer is applied before normalising. */
#include "losses.h"

pith_node *feature_loss(const pith_batch *b)
{
    const pith_teacher *teacher = &b->teachers[0];
    pith_node *u = loss_project(b, b->image_raw, b->image, teacher->image, "image");
    pith_node *v = loss_project(b, b->text_raw, b->text, teacher->text, "text");
    return pith_add(pith_mean(pith_square(pith_sub(u, teacher->image)), PITH_ALL),
                    pith_mean(pith_square(pith_sub(v, teacher->text)), PITH_ALL));
}
