/* loss.h: what a loss is and what it sees. A file with a loss includes this and nothing else. */
#ifndef PITH_LOSS_H
#define PITH_LOSS_H
#include "pith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What another model says of the batch: rows (B, width), through which no gradient goes. */
typedef struct {
    pith_node *image, *text, *synthetic_text; /* unit rows */
    pith_node *scale, *bias; /* scalars: a factor for its cosines, and what is then added */
    int width;               /* of its rows; 0 if there is no such teacher */
} pith_teacher;
#define PITH_MOST_TEACHERS 4

/* The pictures of the batch in a second random view, encoded by the same tower. */
typedef struct {
    pith_node *image, *image_raw, *image_features; /* as in pith_batch */
} pith_view;

/* A loss is a function pith_node *loss(const pith_batch *b) that returns a scalar. Fields that it
 * does not use cost nothing: they are neither computed nor loaded. A field that this run does not
 * have is not NULL but a node made by pith_missing, which is an error where it is used.
 * pith_is_missing(b->label) tells whether it is one. */
typedef struct pith_batch {
    pith_graph *graph;
    pith_node *image, *text;                   /* (B, D) unit rows */
    pith_node *image_raw, *text_raw;           /* before normalising */
    pith_node *image_features, *text_features; /* (B, width of the tower), before the projection */
    /* of a second caption of each pair, written by a machine: --synthetic add */
    pith_node *synthetic_text, *synthetic_text_raw, *synthetic_text_features;
    pith_node *scale; /* a scalar: what cosines are multiplied by (exp has been taken already) */
    int n_teachers;
    pith_teacher teachers[PITH_MOST_TEACHERS];
    pith_node *caption_id; /* (B) i32: pairs with equal captions share a number */
    pith_node *label;      /* (B) i32: class, -1 for none */
    /* What pith data cluster found, with --clusters: (B) i32, each picture's cluster, -1 for none;
     * and (k, width of the teacher that embedded them), through which no gradient goes. */
    pith_node *cluster, *centroids;
    /* (B) i32: the sample's number in the training data, 0 .. samples-1; -1 for padding */
    pith_node *index;
    int samples;         /* how many samples the training data have */
    pith_node *progress; /* scalar in [0, 1]: the share of the training that is done */
    pith_node *epoch;    /* i32 scalar: 0, 1, ... */
    const char *options; /* "key=value,key=value" of --loss name:key=value, or NULL */
    /* For pith_second_view alone: the function that makes the view (NULL: there is none), what it
     * makes it from, which must live until the losses are built, and where the view is kept so that
     * several terms and losses share it (or NULL). */
    pith_view (*make_view)(const struct pith_batch *b);
    const void *model, *inputs;
    pith_view *second;
} pith_batch;
/* The number given for an option of the loss, or `otherwise`. */
double pith_option(const pith_batch *b, const char *key, double otherwise);
/* Made only when a loss asks for it, since it costs another pass of the image tower. */
pith_view pith_second_view(const pith_batch *b);

/* For programs that build a batch. pith_batch_new returns one in which every field is missing; fill
 * in what there is. pith_add_teacher returns the next teacher of the batch, whose nodes are still
 * missing; NULL, an error, if there would be more than PITH_MOST_TEACHERS. */
pith_batch pith_batch_new(pith_graph *g);
pith_teacher *pith_add_teacher(pith_batch *b, int width);

typedef pith_node *pith_loss(const pith_batch *b);

#ifdef __cplusplus
}
#endif
#endif
