/* gradient.c: gradient distillation, GD of CLIP-KD (Yang et al., CVPR 2024): the gradient of the
 * contrastive loss by the student's rows shall equal that by the teacher's rows.
 *
 *     L = mean((dC/du - dC'/du')^2) + mean((dC/dv - dC'/dv')^2)
 *
 * C is InfoNCE on the student's rows, C' on the teacher's. These gradients are of the order of
 * scale / B, so L is tiny and needs a large weight. */
#include "losses.h"

pith_node *gradient_loss(const pith_batch *b)
{
    const pith_teacher *teacher = &b->teachers[0];
    pith_batch student_batch = *b, teacher_batch = *b;
    student_batch.image = loss_project(b, b->image_raw, b->image, teacher->image, "image");
    student_batch.text = loss_project(b, b->text_raw, b->text, teacher->text, "text");
    teacher_batch.image = teacher->image;
    teacher_batch.text = teacher->text;
    teacher_batch.scale = teacher->scale;
    pith_node *gradients[2], *teacher_gradients[2];
    pith_grad(PITH_CALL(b->graph, clip_loss, (&student_batch)), 2,
              ((pith_node *[]){ student_batch.image, student_batch.text }), gradients);
    pith_grad(PITH_CALL(b->graph, clip_loss, (&teacher_batch)), 2,
              ((pith_node *[]){ teacher_batch.image, teacher_batch.text }), teacher_gradients);
    return pith_add(
        pith_mean(pith_square(pith_sub(gradients[0], pith_detach(teacher_gradients[0]))), PITH_ALL),
        pith_mean(pith_square(pith_sub(gradients[1], pith_detach(teacher_gradients[1]))),
                  PITH_ALL));
}
