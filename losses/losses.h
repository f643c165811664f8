/* losses.h: the losses by name, and losses given as files. What a loss is: loss.h. */
#ifndef PITH_LOSSES_H
#define PITH_LOSSES_H
#include "loss.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A line of the table. teacher, clusters: does it need them? options: "key=default: meaning;
 * key=default: meaning", or "". */
typedef struct {
    const char *name;
    pith_loss *function;
    bool teacher, clusters;
    const char *formula, *source, *options;
} pith_loss_entry;
extern const pith_loss_entry pith_losses[]; /* ends with a NULL name */

pith_node *clip_loss(const pith_batch *b); /* InfoNCE */
pith_node *siglip_loss(const pith_batch *b);
pith_node *affinity_loss(const pith_batch *b);    /* TinyCLIP */
pith_node *feature_loss(const pith_batch *b);     /* feature distillation, FD of CLIP-KD */
pith_node *relational_loss(const pith_batch *b);  /* CRD of CLIP-KD */
pith_node *interactive_loss(const pith_batch *b); /* ICL of CLIP-KD */
pith_node *gradient_loss(const pith_batch *b);    /* GD of CLIP-KD: compares gradients */
pith_node *pair_loss(const pith_batch *b);        /* pair matching, after SiCLIP */
pith_node *cluster_loss(const pith_batch *b);     /* CLIP-CID: clusters */
pith_node *instance_loss(const pith_batch *b);    /* CLIP-CID: same picture, same caption */
pith_node *slip_loss(const pith_batch *b);        /* NT-Xent of two views, what SLIP adds */

/* The student's rows in the width of the teacher's: `unit` itself if the widths are equal, else
 * `raw` put through a trained linear layer called `name`, and normalised. */
pith_node *loss_project(const pith_batch *b, pith_node *raw, pith_node *unit,
                        const pith_node *teacher, const char *name);

/* KL(softmax(teacher) || softmax(student)) of each row, both logits (B, n) -> (B). */
pith_node *loss_divergence(pith_node *student, pith_node *teacher);
/* exp(t) of a trained parameter of the term, which starts at ln(1/0.07) and is clamped to
 * [0, ln 100], as CLIP's scale is; `raw`: t itself. A scalar. */
pith_node *loss_trained_scale(const pith_batch *b, bool raw);

/* The S classes drawn for a step, by the options of classes.c: unit centroids and the student's
 * prototypes, (S, d), and which of them each row of the batch has, (B), -1 for none. */
typedef struct {
    pith_node *centroids, *prototypes, *own;
} loss_classes;
loss_classes loss_draw_classes(const pith_batch *b);
/* Cosines (B, S), with the margin that the options say in the column `own` of each row. */
pith_node *loss_margin(const pith_batch *b, pith_node *cosine, pith_node *own);

/* The mean over the batch's teachers of loss(student, teacher), logits (B, B) -> (B), or, with the
 * option logits=1, of the mean of their logits. scale: for all of them; NULL: each its own. turned:
 * captions by pictures. */
pith_node *loss_of_teachers(const pith_batch *b, pith_node *student, pith_node *scale, bool turned,
                            pith_node *(*loss)(pith_node *student, pith_node *teacher));

/* Reads a loss as it is written after --loss: a sum of terms
 * [WEIGHT*]NAME[:KEY=VALUE,...][@FROM-TO], as in "affinity:scale=50+0.5*clip", where NAME is a loss
 * of the table or a file "my.c". A term with a span, "clip@0.5-1", counts from one share of the
 * training to another, and is 0 before and after; at every time some term must count. A file is
 * compiled with the system's compiler ($CC, else cc) in the folder `work`, which is made if it is
 * not there, and stays loaded until the process ends. */
typedef struct pith_loss_spec pith_loss_spec;
pith_loss_spec *pith_loss_parse(const char *text, const char *work); /* NULL after an error */
/* The path of the k-th file among the terms, counted from 0, which the caller frees; NULL if there
 * are not so many. Nothing is compiled. */
char *pith_loss_file(const char *text, int k);
/* The loss as a node. Parameters that a term makes are named "loss.NAME."...; if there are several
 * terms, each is watched under its name. NULL after an error. */
pith_node *pith_loss_build(const pith_loss_spec *s, const pith_batch *b);
/* Does a named loss need a teacher, or clusters? What a file needs is not known here. */
bool pith_loss_wants_teacher(const pith_loss_spec *s);
bool pith_loss_wants_clusters(const pith_loss_spec *s);
void pith_loss_free(pith_loss_spec *s);

/* Compiles and loads a C file and returns its function `loss`; NULL after an error. *name: the
 * file's name without folder and .c, valid until the process ends. */
pith_loss *pith_loss_load(const char *path, const char *work, const char **name);
/* *y = loss(b), for a loss of a file. False after an error that names the file if it crashes. */
bool pith_loss_call(pith_loss *loss, const char *path, const pith_batch *b, pith_node **y);

#ifdef __cplusplus
}
#endif
#endif
