/* cluster.c: cluster discrimination distillation, after CLIP-CID (Yang et al., AAAI 2025): the
 * student names the cluster of each picture, and is as unsure about it as the teacher is.
 *
 *     L = softmax 1/n sum_i CE_j(scale margin(s_i . w_j), y_i)
 *       + kl 1/n sum_i KL(softmax_j(t_i . c_j / teacher_tau) || softmax_j(s_i . w_j / tau))
 *
 * s_i: the student's unit row of a picture, in the width of the centroids (project.c); t_i: the
 * first teacher's; c_j, w_j: unit centroids and the student's prototypes of the classes drawn for
 * the step (classes.c); y_i: the picture's cluster. The n rows that have one count. Margins:
 * margin.c; they are the softmax's alone.
 *
 * A reconstruction: of the paper it is known that there are a softmax loss and a divergence, but
 * neither how they are joined nor whether prototypes are trained, or have a margin. `softmax=1` and
 * `kl=1` are weights, and with kl=0 no teacher is needed; `scale=32` is UNICOM's; `tau` and
 * `teacher_tau` are 1/scale where they are 0; `shared=1` lets the teacher be measured against the
 * student's prototypes, too, through which it then has no gradient. */
#include "losses.h"

static bool fits(const pith_batch *b, double softmax, double kl)
{
    const pith_node *rows = b->teachers[0].image;
    if (softmax == 0 && kl == 0)
        pith_refuse(b->graph, "loss cluster: softmax=0 and kl=0 leave nothing of it");
    else if (!(pith_option(b, "scale", 32) > 0))
        pith_refuse(b->graph, "loss cluster: scale=%g: expected a number above 0",
                    pith_option(b, "scale", 32));
    else if (kl != 0 && pith_is_missing(rows))
        pith_refuse(b->graph, "loss cluster needs a teacher, or kl=0: the softmax alone");
    else if (kl != 0 && rows->dim[1] != b->centroids->dim[1])
        pith_refuse(b->graph,
                    "loss cluster: the centroids have %d columns and the teacher's rows %d: "
                    "expected clusters of that teacher's rows",
                    b->centroids->dim[1], rows->dim[1]);
    return !pith_graph_error(b->graph);
}

/* What the student's distribution is off the teacher's, (B). */
static pith_node *divergence(const pith_batch *b, const loss_classes *c, pith_node *cosine,
                             double scale)
{
    const double tau = pith_option(b, "tau", 0), teacher_tau = pith_option(b, "teacher_tau", 0);
    pith_node *classes = pith_option(b, "shared", 0) != 0 ? c->prototypes : c->centroids;
    pith_node *target = pith_matmul_nt(b->teachers[0].image, pith_detach(classes)); /* (B, S) */
    target = pith_mul_scalar(target, teacher_tau > 0 ? 1 / teacher_tau : scale);
    pith_node *logits = pith_mul_scalar(cosine, tau > 0 ? 1 / tau : scale);
    return loss_divergence(logits, target);
}

pith_node *cluster_loss(const pith_batch *b)
{
    pith_graph *g = b->graph;
    const double softmax = pith_option(b, "softmax", 1), kl = pith_option(b, "kl", 1),
                 scale = pith_option(b, "scale", 32);
    if (!fits(b, softmax, kl)) return pith_failed(g, NULL);
    const loss_classes c = loss_draw_classes(b);
    pith_node *s = loss_project(b, b->image_raw, b->image, b->centroids, "image");
    pith_node *cosine = pith_matmul_nt(s, c.prototypes); /* (B, S) */
    pith_node *losses = pith_const(g, 0);
    if (softmax != 0) {
        pith_node *logits = pith_mul_scalar(loss_margin(b, cosine, c.own), scale);
        losses = pith_mul_scalar(pith_cross_entropy(logits, c.own), softmax);
    }
    if (kl != 0) losses = pith_add(losses, pith_mul_scalar(divergence(b, &c, cosine, scale), kl));
    pith_node *counted = pith_less(pith_const_array(g, PITH_I32, (int[]){ -1 }, 1),
                                   c.own); /* (B) */
    pith_node *n = pith_maximum(pith_sum(counted, PITH_ALL), pith_const(g, 1));
    return pith_div(pith_dot(losses, counted), n);
}
