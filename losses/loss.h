/* loss.h: what a loss is and what it sees. A file with a loss includes this and nothing else. */
#ifndef PITH_LOSS_H
#define PITH_LOSS_H
#include "pith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What another model says of the batch: rows (B, width), detached. */
typedef struct {
    pith_node *image, *text, *synthetic_text; /* unit rows */
    pith_node *scale, *bias;                  /* of its cosines; scalars */
    int width;                                /* its own; 0 where there is no such teacher */
} pith_teacher;
#define PITH_MOST_TEACHERS 4

/* The pictures of the batch once more, in another random view, through the same tower. */
typedef struct {
    pith_node *image, *image_raw, *image_features; /* as in pith_batch */
} pith_view;

/* A loss is a function pith_node *loss(const pith_batch *b) that returns a scalar. What it does not
 * mention costs nothing: neither computed nor, where it comes from the data, loaded. What this run
 * does not have is never NULL, but a node that tells so where it is used (pith_missing);
 * pith_is_missing(b->label) asks. */
typedef struct pith_batch {
    pith_graph *graph;
    pith_node *image, *text;                   /* (B, D) unit rows */
    pith_node *image_raw, *text_raw;           /* before normalising */
    pith_node *image_features, *text_features; /* (B, the tower's width), before the projection */
    pith_node *synthetic_text, *synthetic_text_raw; /* (B, D) of a caption made by machine */
    pith_node *scale; /* the multiplier of cosines, already exponentiated; a scalar */
    int n_teachers;
    pith_teacher teachers[PITH_MOST_TEACHERS];
    pith_node *caption_id; /* (B) i32: pairs with equal captions share a number */
    pith_node *label;      /* (B) i32: class or cluster */
    pith_node *index;      /* (B) i32: the sample's number, 0 .. samples-1; -1 for padding */
    int samples;           /* in the training data */
    pith_node *progress;   /* scalar in [0, 1]: the share of the training that is done */
    pith_node *epoch;      /* i32 scalar: 0, 1, ... */
    const char *options;   /* "key=value,key=value" of --loss name:key=value, or NULL */
    /* Behind pith_second_view: how the model makes it (NULL: it does not), of what, which must live
     * until the losses are built, and where it is kept for the next term (or NULL). */
    pith_view (*make_view)(const struct pith_batch *b);
    const void *model, *inputs;
    pith_view *second;
} pith_batch;
double pith_option(const pith_batch *b, const char *key, double otherwise);
/* Made when a loss first asks for it, for it costs another pass of the image tower. */
pith_view pith_second_view(const pith_batch *b);

/* For whoever builds a batch: one in which everything is missing, to be filled in with what there
 * is; and its next teacher, whose nodes are still missing. NULL after an error: there are too many.
 */
pith_batch pith_batch_new(pith_graph *g);
pith_teacher *pith_add_teacher(pith_batch *b, int width);

typedef pith_node *pith_loss(const pith_batch *b);

#ifdef __cplusplus
}
#endif
#endif
