/* bench.h: what the pages of the benchmark share: a training step, and random batches for it. */
#ifndef PITH_BENCH_H
#define PITH_BENCH_H
#include "models/models.h"

typedef struct {
    pith_graph *graph;
    pith_plan *plan;
    pith_node *loss;
    clip_inputs in;
} step;

/* The loss of a batch, as a node. */
typedef pith_node *step_loss(pith_graph *g, const clip_config *c, const clip_inputs *in);
pith_node *plain_loss(pith_graph *g, const clip_config *c, const clip_inputs *in); /* InfoNCE */
/* A training step, with AdamW as PyTorch's defaults have it. */
step step_new(pith_store *store, const clip_config *c, int pairs, int tokens, step_loss *loss,
              bool bf16);
void step_free(step *s);

int below(int n);              /* a random number in [0, n) */
pith_real nearly_normal(void); /* mean 0, standard deviation 1 */
/* Feed random pictures, and captions of the given lengths: random ids and then the largest id, as
 * in peer.py. What is fed is never freed. On a device it is copied there now, and not in a run. */
void feed_pictures(pith_plan *p, const clip_config *c, const clip_inputs *in);
void feed_captions(pith_plan *p, const clip_config *c, const clip_inputs *in, const int *lengths);

int ascending(const void *a, const void *b); /* of double, for qsort */

/* device.c */
size_t device_left(pith_device device); /* bytes that may still be taken */
void measure_product(pith_device device, bool bf16, int n, int runs);
void print_versions(void); /* of CUDA's libraries, after a product */

/* models.c */
void measure_models(const char *model, const char *student);

/* neighbours.c */
void measure_neighbours(int n, int width, int rounds);
#endif
