/* classes.c: the classes that take part in a step, for a softmax over very many: those of the
 * batch, and others at random, max(rate k, B) of the k in all and at most k, as UNICOM's PartialFC
 * (An et al., ICLR 2023). Others are neither read nor trained: a step's time and memory do not grow
 * with k.
 *
 * A class is a unit centroid, and for the student its prototype: the centroid plus a trained row,
 * normalised. That row begins at 0, so weight decay pulls a prototype to its centroid. `rate=0.1`
 * draws a tenth; by default that where there are more than 10,000 clusters, else all. `lr=5` trains
 * the rows at five times the rate (UNICOM: 3 to 10). `frozen=1` leaves the centroids as they are.
 *
 * A trap: clusters that k-means found may be near-duplicates, which repel each other where all are
 * negatives. With a tenth of them MLCD (An et al., ECCV 2024) probes 12 points better than with all
 * of a million. */
#include <math.h>
#include "losses.h"

static int how_many(const pith_batch *b, int k)
{
    double rate = pith_option(b, "rate", 0);
    if (!(rate >= 0 && rate <= 1))
        return pith_refuse(b->graph, "rate=%g: expected a share of the classes, from 0 to 1", rate),
               k;
    if (rate == 0) rate = k > 10000 ? 0.1 : 1;
    return (int)fmin(k, fmax(round(rate * k), b->cluster->dim[0]));
}

loss_classes loss_draw_classes(const pith_batch *b)
{
    const int k = b->centroids->dim[0], d = b->centroids->dim[1];
    const double factor = pith_option(b, "lr", 1);
    pith_node *ids = pith_draw_classes(b->cluster, k, how_many(b, k));
    loss_classes c = { .own = pith_result(ids, 1) };
    c.centroids = c.prototypes = pith_normalize(pith_gather(b->centroids, ids));
    if (pith_option(b, "frozen", 0) != 0) return c;
    pith_node *moved = pith_param(b->graph, "classes", PITH_CONSTANT, 0, k, d);
    pith_node *rows = pith_gather_rows(pith_lr_scale(moved, factor), ids);
    c.prototypes = pith_normalize(pith_add(c.centroids, rows));
    return c;
}
