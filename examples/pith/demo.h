/* demo.h: what the pages of the demo share. */
#ifndef PITH_DEMO_H
#define PITH_DEMO_H
#include "report.h"
#include "task.h"

enum { TEACHER, STUDENT, SCRATCH, PRUNED, MODELS };

typedef struct {
    const char *name, *directory,
        *title; /* name for people; folder inside the demo's; title of the progress bar */
    char path[4096];
    model m;
    int64_t steps;
    double seconds;
    clip_cost cost;
    pith_retrieval measured[REPORT_MOST]; /* of each split */
} contestant;

typedef struct {
    const char *out;
    bool shapes;
    int side; /* of the packed pictures */
    pith_pack *pack;
    int splits, split[REPORT_MOST]; /* the splits that are measured */
    pairs rows[REPORT_MOST];        /* of the distilled student */
    contestant model[MODELS];
    int phases;
    report_phase phase[REPORT_MOST];
} demo;

/* demo_data.c: fetches pictures and packs them into d->out; without a network it draws shapes
 * instead. demo_phase notes how long a phase took. */
void demo_data(demo *d);
void demo_pictures(const demo *d); /* d->out/pictures: PNG files and captions.tsv */
void demo_phase(demo *d, const char *name, double start);
/* demo_page.c: the table, summary.json and index.html. */
void demo_table(const demo *d);
void demo_summary(const demo *d);
void demo_page(const demo *d);
#endif
