/* task.c: CLIP with a loss, and perhaps a teacher's stored rows, as a task of core/train. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "task.h"

enum { SIZES = 8 };                     /* token counts of batches, each a graph */

typedef struct {
    model *m;
    const pith_pack *pack;
    const pith_loss_spec *loss;
    const teacher *teacher;
    pith_store *averaged;               /* what is measured and exported when weights are averaged */
    bool average;
    int valid;                          /* the split measured during training, or -1 */
    struct { const pith_graph *graph; clip_inputs in; } built[SIZES];
    int graphs;
    pith_real *image, *text;            /* the teacher's rows of a batch */
} task;

static pith_node *build_loss(void *context, pith_graph *g, int tokens, int batch)
{
    task *t = context;
    clip_inputs in = clip_inputs_new(g, &t->m->config, batch, tokens);
    if (t->teacher) {
        in.teacher_image = pith_input(g, "teacher_image", PITH_F32, batch, t->teacher->width, PITH_END);
        in.teacher_text = pith_input(g, "teacher_text", PITH_F32, batch, t->teacher->width, PITH_END);
    }
    pith_batch b = clip_batch(g, &t->m->config, &in);
    if (t->teacher)
        b.teacher_scale = pith_const(g, t->teacher->scale);
    t->built[t->graphs].graph = g;
    t->built[t->graphs++].in = in;
    return pith_loss_build(t->loss, &b);
}
