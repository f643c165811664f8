/* bank.c: CLIP's loss with a memory of captions as extra negatives (Wu et al. 2018, He et al.
 * 2020). The bank keeps a unit row u for each of the N training samples. For a batch of pairs
 * (x, t), pair i being sample n(i), and s the scale,
 *
 *     loss = mean_i -log(exp(s x_i t_i) / (sum_j exp(s x_i t_j) + sum_{k != n(i)} exp(s x_i u_k)))
 *     u_n(i) <- normalize(m u_n(i) + (1 - m) t_i)
 *
 * Options: m=0.5, the momentum; bank=1, 0 for no bank, which is CLIP's loss from picture to text.
 *
 * The trap: a bank of zeros. Samples not yet seen would be negatives of cosine 0 that no picture
 * can get away from, so the rows start random, normal numbers of deviation 1/sqrt(D), about unit
 * length. And a pair that fills up a batch has the number -1: what is gathered for it is zeros, and
 * its update is skipped, both without a word of ours. */
#include <loss.h>
#include <math.h>

static pith_node *negatives(const pith_batch *b)
{
    const int N = b->samples, D = b->text->dim[1];
    const double m = pith_option(b, "m", 0.5);
    pith_node *bank = pith_state(b->graph, "bank", PITH_F32, PITH_NORMAL, 1 / sqrt(D), N, D);
    pith_node *before = pith_gather(bank, b->index), *now = pith_detach(b->text);
    pith_node *mean = pith_add(pith_mul_scalar(before, m), pith_mul_scalar(now, 1 - m));
    pith_update_rows(bank, b->index, pith_normalize(mean));
    pith_node *own = pith_equal(pith_reshape(b->index, -1, 1), pith_arange(b->graph, N));
    pith_node *logits = pith_mul(pith_matmul_nt(b->image, bank), b->scale); /* of old rows */
    return pith_sub(logits, pith_mul_scalar(own, 1e4));
}

pith_node *loss(const pith_batch *b)
{
    pith_node *logits[2] = { pith_mul(pith_matmul_nt(b->image, b->text), b->scale) };
    const bool with_bank = pith_option(b, "bank", 1) != 0;
    if (with_bank) logits[1] = negatives(b);
    pith_node *all = pith_concat(with_bank ? 2 : 1, logits, 1);
    return pith_mean(pith_cross_entropy(all, pith_arange(b->graph, b->image->dim[0])), PITH_ALL);
}
