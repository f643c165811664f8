/* report_curves.c: the losses of all runs. Steps are averaged in bins, so that a curve of 100,000
 * steps makes the page no larger than one of 600. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "report_parts.h"

enum { BINS = 160 };

typedef struct {
    int n;
    double *step, *loss;
} series;

/* Reads the lines that have a loss; others, of evaluations, are passed over. */
static bool read_series(series *s, const char *path)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t room = 0, capacity = 0;
    *s = (series){ 0 };
    if (!f) return pith_raise("%s: %s", path, strerror(errno));
    while (getline(&line, &room, f) > 0) {
        json_t *o = json_loads(line, 0, NULL);
        const json_t *step = json_object_get(o, "step"), *loss = json_object_get(o, "loss");
        if (json_is_number(step) && json_is_number(loss)) {
            if ((size_t)s->n == capacity) {
                capacity = capacity ? 2 * capacity : 1024;
                s->step = realloc(s->step, sizeof(double) * capacity);
                s->loss = realloc(s->loss, sizeof(double) * capacity);
            }
            s->step[s->n] = json_number_value(step);
            s->loss[s->n++] = json_number_value(loss);
        }
        json_decref(o);
    }
    free(line);
    fclose(f);
    return true;
}

/* Replaces the steps by the averages of at most BINS equal stretches. */
static void thin(series *s)
{
    const int bins = s->n < BINS ? s->n : BINS;
    for (int b = 0; b < bins; b++) {
        const int from = (int)((int64_t)s->n * b / bins),
                  to = (int)((int64_t)s->n * (b + 1) / bins);
        double step = 0, loss = 0;
        for (int k = from; k < to; k++) step += s->step[k], loss += s->loss[k];
        s->step[b] = step / (to - from);
        s->loss[b] = loss / (to - from);
    }
    s->n = bins;
}

bool report_curves(FILE *f, const report *r)
{
    series all[REPORT_MOST] = { 0 };
    report_line line[REPORT_MOST];
    bool good = true, any = false;
    for (int m = 0; good && m < r->models; m++) {
        if (!r->model[m].metrics) continue;
        good = read_series(&all[m], r->model[m].metrics);
        thin(&all[m]);
        any |= all[m].n > 0;
    }
    for (int m = 0; m < r->models; m++)
        line[m] = (report_line){ r->model[m].name, all[m].n, all[m].step, all[m].loss };
    if (good && any) {
        fputs(
            "<h2>How the loss fell</h2>\n<p class=\"soft\">A student that imitates its teacher has "
            "another loss than one that learns from the pairs: compare the shape of such curves, "
            "not their height.</p>\n<div class=\"card wide\">",
            f);
        report_plot(f, "step", "loss", r->models, line);
        fputs("</div>\n", f);
    }
    for (int m = 0; m < r->models; m++) free(all[m].step), free(all[m].loss);
    return good;
}
