/* feature.c: feature distillation, FD of CLIP-KD (Yang et al., CVPR 2024): the student's rows lie
 * where the teacher's lie.
 *
 *     L = mean((u - u')^2) + mean((v - v')^2)        over rows and columns of unit rows
 *
 * So it is small, and CLIP-KD weighs it 2000. Where the widths differ a trained linear layer comes
 * before normalising. */
#include "losses.h"

pith_node *feature_loss(const pith_batch *b)
{
    const pith_teacher *teacher = &b->teachers[0];
    pith_node *u = loss_project(b, b->image_raw, b->image, teacher->image, "image");
    pith_node *v = loss_project(b, b->text_raw, b->text, teacher->text, "text");
    return pith_add(pith_mean(pith_square(pith_sub(u, teacher->image)), PITH_ALL),
                    pith_mean(pith_square(pith_sub(v, teacher->text)), PITH_ALL));
}
