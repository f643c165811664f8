/* losses.h: the losses by name, and losses given as files. What a loss is: loss.h. */
#ifndef PITH_LOSSES_H
#define PITH_LOSSES_H
#include "loss.h"

#ifdef __cplusplus
extern "C" {
#endif

/* options: "key=default: meaning; key=default: meaning", or "". */
typedef struct {
    const char *name;
    pith_loss *function;
    bool teacher;
    const char *formula, *source, *options;
} pith_loss_entry;
extern const pith_loss_entry pith_losses[]; /* ends with a NULL name */

pith_node *clip_loss(const pith_batch *b); /* InfoNCE */
pith_node *siglip_loss(const pith_batch *b);
pith_node *affinity_loss(const pith_batch *b);    /* TinyCLIP */
pith_node *feature_loss(const pith_batch *b);     /* CLIP-KD's FD */
pith_node *relational_loss(const pith_batch *b);  /* CRD */
pith_node *interactive_loss(const pith_batch *b); /* ICL */
pith_node *gradient_loss(const pith_batch *b);    /* GD: two calls of the gradient */

/* Unit rows (B, D') of the student in the teacher's width: `unit` itself where the widths agree,
 * else `raw` through a trained linear layer `name` and then normalised. */
pith_node *loss_project(const pith_batch *b, pith_node *raw, pith_node *unit,
                        const pith_node *teacher, const char *name);

/* "affinity:scale=50+0.5*clip" or "my.c": a sum of weighted terms [WEIGHT*]NAME[:KEY=VALUE,...]. A
 * file is compiled with the system's compiler ($CC, else cc) in `work`, a folder made if need be,
 * and loaded for the rest of the process. Parameters made inside a term live under "loss.NAME.";
 * each of several terms is watched under its name. */
typedef struct pith_loss_spec pith_loss_spec;
pith_loss_spec *pith_loss_parse(const char *text, const char *work); /* NULL after an error */
/* NULL after an error that is no node's */
pith_node *pith_loss_build(const pith_loss_spec *s, const pith_batch *b);
/* of the named ones; a file may look at teachers[0] itself */
bool pith_loss_wants_teacher(const pith_loss_spec *s);
void pith_loss_free(pith_loss_spec *s);

/* The function `loss` of a C file, compiled and loaded; NULL after an error. *name: the file's base
 * name without .c, lasting. */
pith_loss *pith_loss_load(const char *path, const char *work, const char **name);

#ifdef __cplusplus
}
#endif
#endif
