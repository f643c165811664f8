/* kept.c: the parameters that pruning counts, and how many of them trained masks are expected to
 * keep (TinyCLIP, after CoFi). q: the chance that a mask's entry is not 0; sums go over hidden
 * channels c, and over heads and FFN units of all layers; h is the width and d the head width of
 * the model that is pruned.
 *
 *     R = (4 d + 4 d / h) sum_c q sum_heads q  +  2 sum_c q sum_ffn q
 *     P = what blocks hold, biases included, norms not: of equal layers L (12 h^2 + 9 h) */
#include "parts.h"

double clip_prunable(const clip_tower *t)
{
    double sum = 0;
    for (int i = 0; i < t->layers; i++) {
        const double D = t->width, inner = (double)t->heads[i] * t->head_width, F = t->ffn[i];
        if (inner > 0) sum += 4 * inner * D + 3 * inner + D;
        if (F > 0) sum += 2 * D * F + F + D;
    }
    return sum;
}

/* The expected number of entries that are not 0, of the masks of n layers together; 0: no masks. */
static pith_node *expected(pith_graph *g, const clip_mask *masks, int n)
{
    pith_node *sum = pith_const(g, 0);
    for (int k = 0; k < n; k++)
        if (masks[k].logits)
            sum = pith_add(sum, pith_sum(clip_mask_expected(masks[k].logits), PITH_ALL));
    return sum;
}

pith_node *clip_expected_parameters(pith_graph *g, const clip_tower *t, int original_width)
{
    const clip_masks *m = t->masks;
    const double d = t->head_width;
    pith_node *heads = pith_mul_scalar(expected(g, m->heads, t->layers),
                                       4 * d + 4 * d / original_width),
              *ffn = pith_mul_scalar(expected(g, m->ffn, t->layers), 2);
    return pith_mul(expected(g, &m->hidden, 1), pith_add(heads, ffn));
}
