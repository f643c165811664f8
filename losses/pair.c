/* pair.c: pair matching, a hyperplane that tells pairs that belong together from others. A
 * reconstruction: of SiCLIP's (Liu, arXiv 2411.14789) only an auxiliary hyperplane between matching
 * and other pairs is known; the negatives are drawn as ALBEF's (Li et al., NeurIPS 2021).
 *
 *     z(u, v) = w . (u * v) + c,   L = mean of softplus(-z) of B pairs and softplus(z) of 2 B
 * others
 *
 * w starts at 1 and c at -margin, so that z begins as the cosine less a margin. For each picture a
 * wrong caption is drawn with probability softmax_j(s u_i . v_j), for each caption a wrong picture;
 * a pair with an equal caption is not wrong. `shift=1` takes the next row's instead.
 *
 * `concat=1` is a trap to look at: w . [u; v] is the sum of a number of the picture and a number of
 * the caption. Each of them occurs in right and in wrong pairs alike, so nothing can be told apart,
 * and L stays at the entropy of one in three, 0.6365. */
#include "losses.h"

/* One-hot rows (B, B): which row is taken as the wrong one. The largest of similarity and Gumbel
 * noise is a draw from the similarities' softmax. */
static pith_node *choose(const pith_batch *b, pith_node *similarity, pith_node *same)
{
    const int B = same->dim[0];
    pith_node *i = pith_arange(b->graph, B);
    if (pith_option(b, "shift", 0) != 0) {
        pith_node *parts[] = { pith_slice(i, 0, 1, B), pith_slice(i, 0, 0, 1) };
        return pith_equal(pith_reshape(pith_concat(2, parts, 0), B, 1), i);
    }
    pith_node *noise = pith_neg(pith_log(pith_neg(pith_log(pith_uniform(b->graph, B, B)))));
    pith_node *x = pith_where(same, pith_const(b->graph, -1e30), pith_add(similarity, noise));
    return pith_detach(pith_equal(x, pith_reshape(pith_max(x, -1), B, 1)));
}

pith_node *pair_loss(const pith_batch *b)
{
    const bool concat = pith_option(b, "concat", 0) != 0;
    const int B = b->image->dim[0], D = b->image->dim[1];
    pith_node *id = pith_is_missing(b->caption_id) ? pith_arange(b->graph, B) : b->caption_id;
    pith_node *same = pith_equal(pith_reshape(id, B, 1), id);
    pith_node *similarity = pith_mul(pith_matmul_nt(b->image, b->text), b->scale);
    pith_node *captions = choose(b, similarity, same),
              *pictures = choose(b, pith_transpose(similarity), same);

    /* the B pairs, then pictures with wrong captions, then captions with wrong pictures */
    pith_node *image[] = { b->image, b->image, pith_matmul(pictures, b->image) };
    pith_node *text[] = { b->text, pith_matmul(captions, b->text), b->text };
    pith_node *both[] = { pith_concat(3, image, 0), pith_concat(3, text, 0) };
    pith_node *x = concat ? pith_concat(2, both, 1) : pith_mul(both[0], both[1]);
    pith_node *w = pith_param(b->graph, "weight", PITH_CONSTANT, 1, concat ? 2 * D : D);
    pith_node *c = pith_param(b->graph, "bias", PITH_CONSTANT, -pith_option(b, "margin", 0.2), 1);
    pith_node *z = pith_add(pith_sum(pith_mul(x, w), -1), c); /* (3 B) */

    pith_node *one = pith_const(b->graph, 1);
    pith_node *wrong[] = { pith_expand(one, B),
                           pith_sub(one, pith_sum(pith_mul(captions, same), -1)),
                           pith_sub(one, pith_sum(pith_mul(pictures, same), -1)) };
    pith_node *count = pith_concat(3, wrong, 0); /* 0 where every caption is equal */
    pith_node *sign[] = { pith_expand(pith_neg(one), B), pith_expand(one, 2 * B) };
    pith_node *losses = pith_softplus(pith_mul(z, pith_concat(2, sign, 0)));
    return pith_div(pith_dot(losses, count), pith_sum(count, PITH_ALL));
}
