/* ladder.h: a ladder is one op's kernels from the first that comes to mind to the page's own in
 * cuda/. README.md tells how to read one. */
#ifndef PITH_LADDER_H
#define PITH_LADDER_H
#include "core.h"
#ifdef __cplusplus
extern "C" {
#endif

/* One kernel, or a few in turn. `launch` is what an op's descriptor has as .cuda, and so the last
 * rung is that itself. */
typedef struct {
    const char *name;
    pith_kernel *launch;
    /* Bytes of a unit (an entry of a row, a score) that its threads ask of memory, at the timed
     * size, in all passes together. Whether caches answer is for the clock to say; that it is so
     * many, tests/test_ladder.c counts. */
    double asked;
    size_t (*scratch)(const node *n); /* bytes for what it keeps in between; NULL: none */
} rung;

enum { MOST_RUNGS = 6, SIZES = 3 };

typedef struct {
    const char *name, *axes; /* of a size */
    int checked[SIZES][4];   /* sizes that every rung takes; 0 ends one */
    int counted[4];          /* a small one, of which a unit asks for as much as at `timed` */
    int timed[4];
    const char *unit;
    double (*units)(const int *size);
    /* Of a unit at the timed size: what any kernel must move, inputs read once and results written
     * once; and the multiplications and additions of products, where they are what takes time. */
    double least, flops;
    node *(*make)(pith_graph *g, const int *size); /* the op, on inputs of such a size */
    rung rungs[MOST_RUNGS];                        /* the first without a name ends them */
} ladder;

extern const ladder ladder_layer_norm, ladder_softmax, ladder_attention, ladder_cross_entropy;

typedef struct {
    /* The largest difference to the CPU's numbers, as a share of the largest of them. */
    double error;
    double asked;   /* bytes of memory, by the emulated device's count */
    double seconds; /* of one launch, if it was timed */
} finding;

/* Runs each rung on the device beside the CPU; false after pith_raise. */
bool climb(const ladder *l, const int *size, bool timed, finding *found);
/* Bytes a second that a copy inside the device reads and writes; 0 after pith_raise. */
double copy_rate(void);

/* ---- for the pages of kernels ---- */

/* The last rung: the kernel of the op's page, and its scratch. */
bool page_launch(const pith_call *call);
size_t page_scratch(const node *n);
double entries(const int *size); /* of a tensor of that many rows and columns */
#ifdef __cplusplus
}
#endif
#endif
