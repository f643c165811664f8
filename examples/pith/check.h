/* check.h: what the pages of pith check share: gradients compared with central differences. */
#ifndef PITH_CHECK_H
#define PITH_CHECK_H
#include "command.h"
#include "core.h"

enum { CHECK_MOST = 256 }; /* leaves that can be varied at a time */

/* Differences are of fourth order. In double they agree with a right gradient to 1e-7. In float a
 * loss of size 1 is rounded to 1e-7, which a step of 0.01 turns into an error of 1e-5 in the slope.
 * There 1e-3 is allowed, which is little enough to see a wrong sign, factor or term. */
static const bool check_is_double = sizeof(real) == 8;
#define CHECK_STEP (check_is_double ? 1.6e-4 : 1e-2)
#define CHECK_ALLOWED (check_is_double ? 1e-7 : 1e-3)

/* The leaves that are varied. A sample's numbers lie in the graph, a param's in a tensor of the
 * store. */
typedef struct {
    int n;
    node *leaf[CHECK_MOST];
    pith_tensor *tensor[CHECK_MOST]; /* NULL for a sample */
    const char *name[CHECK_MOST];
} check_leaves;

/* ---- check.c --------------------------------------------------------------------------------- */

/* Adds a leaf to the list. */
void check_vary(check_leaves *l, node *leaf, pith_tensor *tensor, const char *name);
/* Runs y and the gradients of y by all leaves, and returns the largest error. The error of a leaf
 * is the largest difference between gradient and slope, divided by the largest slope or by the
 * value of y, whichever is larger. errors (or NULL) gets one for each leaf;
 * kinks (or NULL): how many elements of each lie near a kink. */
double check_gradient(pith_graph *g, node *y, const check_leaves *l, node *const *gradient,
                      double *errors, int *kinks);
/* The elements of n after a run, copied; the caller frees them. */
real *check_copy_value(const pith_plan *p, const node *n);
/* A line of the report: what was checked, its error, and whether it agrees. */
void check_print(const char *what, double error, bool agrees, const char *remark);

/* ---- check_loss.c ---------------------------------------------------------------------------- */

/* Prints how the gradient of a loss, in the words of --loss, agrees; false if it does not. */
bool check_loss(const char *text);

/* ---- check_ops.c ----------------------------------------------------------------------------- */

/* The ops that the text of a C file defines ("pith_op_NAME ="), written into the list as
 * "&pith_op_NAME, ...". Returns the length of the list: 0 if there are none. */
size_t check_find_ops(const char *text, char *list, size_t room);
/* Compiles the file, and prints how the ops of the list agree, by their own examples; false if one
 * does not. */
bool check_ops(const char *path, const char *list);
#endif
