/* teachers.c: what several teachers say of a batch, taken together. As MobileCLIP does (Vasu et
 * al., CVPR 2024), probabilities are averaged, after a softmax each: a cross-entropy with the mean
 * of distributions is the mean of the cross-entropies with each. `logits=1` averages the logits,
 * which is another loss. */
#include "losses.h"

static pith_node *logits_of(const pith_teacher *t, pith_node *scale, bool turned)
{
    pith_node *rows = turned ? t->text : t->image, *columns = turned ? t->image : t->text;
    return pith_mul(pith_matmul_nt(rows, columns), scale ? scale : t->scale);
}

pith_node *loss_of_teachers(const pith_batch *b, pith_node *student, pith_node *scale, bool turned,
                            pith_node *(*loss)(pith_node *student, pith_node *teacher))
{
    const bool logits = pith_option(b, "logits", 0) != 0;
    const int n = b->n_teachers > 0 ? b->n_teachers : 1; /* with none, the first is missing */
    pith_node *sum = NULL;
    for (int k = 0; k < n; k++) {
        pith_node *y = logits_of(&b->teachers[k], scale, turned);
        if (!logits) y = loss(student, y);
        sum = sum ? pith_add(sum, y) : y;
    }
    if (n > 1) sum = pith_mul_scalar(sum, 1.0 / n);
    return logits ? loss(student, sum) : sum;
}
