/* affinity.c: TinyCLIP's affinity mimicking (Wu et al., ICCV 2023): each row of the student's
 * similarities, of a picture to all captions and of a caption to all pictures, imitates the
 * teacher's row.
 *
 *     L = 1/2 mean_i [ CE(softmax_j(s' u'_i . v'_j), softmax_j(s u_i . v_j)) + text to image ]
 *
 * s and s' are each model's own scale; `scale=50` sets both to 50, as TinyCLIP's scripts do.
 * `alpha=0.5` mixes it with InfoNCE: alpha L + (1 - alpha) L_clip; by default alpha is 1, and which
 * pairs belong together is not used. Of several teachers, see teachers.c. */
#include "losses.h"

static pith_node *cross_entropy(pith_node *student, pith_node *teacher)
{
    return pith_soft_cross_entropy(student, teacher);
}

pith_node *affinity_loss(const pith_batch *b)
{
    const double forced = pith_option(b, "scale", 0), alpha = pith_option(b, "alpha", 1);
    pith_batch hard = *b;
    if (forced > 0) hard.scale = pith_const(b->graph, forced);
    pith_node *s = hard.scale, *t = forced > 0 ? hard.scale : NULL;
    pith_node *to_text = pith_mul(pith_matmul_nt(b->image, b->text), s), /* (B, B) */
        *to_image = pith_mul(pith_matmul_nt(b->text, b->image), s);
    to_text = loss_of_teachers(b, to_text, t, false, cross_entropy);
    to_image = loss_of_teachers(b, to_image, t, true, cross_entropy);
    pith_node *soft = pith_mul_scalar(pith_mean(pith_add(to_text, to_image), PITH_ALL), 0.5);
    if (alpha >= 1) return soft;
    return pith_add(pith_mul_scalar(soft, alpha),
                    pith_mul_scalar(PITH_CALL(b->graph, clip_loss, (&hard)), 1 - alpha));
}
