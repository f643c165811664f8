/* loss.h: what a loss is and what it sees. A file with a loss includes this and nothing else. */
#ifndef PITH_LOSS_H
#define PITH_LOSS_H
#include "pith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A loss is a function pith_node *loss(const pith_batch *b) that returns a scalar. What it does not
 * mention costs nothing. */
typedef struct pith_batch {
    pith_graph *graph;
    pith_node *image, *text;         /* (B, D) unit rows */
    pith_node *image_raw, *text_raw; /* before normalising */
    pith_node *scale; /* the multiplier of cosines, already exponentiated; a scalar */
    pith_node *teacher_image, *teacher_text, *teacher_scale; /* detached; NULL without a teacher */
    pith_node *caption_id; /* (B) i32: pairs with equal captions share a number */
    pith_node *label;      /* (B) i32: class or cluster, or NULL */
    pith_node *progress;   /* scalar in [0, 1] */
    const char *options;   /* "key=value,key=value" of --loss name:key=value, or NULL */
} pith_batch;
double pith_option(const pith_batch *b, const char *key, double otherwise);

typedef pith_node *pith_loss(const pith_batch *b);

#ifdef __cplusplus
}
#endif
#endif
