/* gradient.c: gradient distillation, GD of CLIP-KD (Yang et al., CVPR 2024): the contrastive loss
 * pulls the student's rows the way it would pull the teacher's.
 *
 *     L = mean((dC/du - dC'/du')^2) + mean((dC/dv - dC'/dv')^2)
 *
 * C is InfoNCE on the student's rows, C' on the teacher's. Such gradients are of the order of scale
 * / B, so L is tiny and wants a large weight. */
#include "losses.h"

pith_node *gradient_loss(const pith_batch *b)
{
    const pith_teacher *teacher = &b->teachers[0];
    pith_batch student = *b, model = *b; /* the teacher in the student's place */
    student.image = loss_project(b, b->image_raw, b->image, teacher->image, "image");
    student.text = loss_project(b, b->text_raw, b->text, teacher->text, "text");
    model.image = teacher->image;
    model.text = teacher->text;
    model.scale = teacher->scale;
    pith_node *pulls[2], *wanted[2];
    pith_grad(PITH_CALL(b->graph, clip_loss, (&student)), 2,
              ((pith_node *[]){ student.image, student.text }), pulls);
    pith_grad(PITH_CALL(b->graph, clip_loss, (&model)), 2,
              ((pith_node *[]){ model.image, model.text }), wanted);
    return pith_add(pith_mean(pith_square(pith_sub(pulls[0], pith_detach(wanted[0]))), PITH_ALL),
                    pith_mean(pith_square(pith_sub(pulls[1], pith_detach(wanted[1]))), PITH_ALL));
}
