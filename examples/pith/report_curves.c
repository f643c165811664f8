/* report_curves.c: draws the losses of all runs. Steps are averaged in bins, so that a curve of
 * 100,000 steps makes the page no larger than one of 600. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "report_parts.h"

enum { BINS = 160, WIDTH = 860, HEIGHT = 340, LEFT = 52, RIGHT = 16, TOP = 14, BOTTOM = 44 };

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

/* The distance between marks of an axis, so that there are about `wanted`: 1, 2 or 5 times a power
 * of ten. */
static double mark_step(double range, int wanted)
{
    const double raw = range / wanted, power = pow(10, floor(log10(raw))), m = raw / power;
    return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static double place_x(double step, double last)
{
    return LEFT + step / last * (WIDTH - LEFT - RIGHT);
}
static double place_y(double loss, double top)
{
    return HEIGHT - BOTTOM - loss / top * (HEIGHT - TOP - BOTTOM);
}

static void axes(FILE *f, double last, double top)
{
    const double dx = mark_step(last, 6), dy = mark_step(top, 5);
    for (double y = 0; y <= top; y += dy)
        fprintf(f,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"var(--line)\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, WIDTH - RIGHT, place_y(y, top), place_y(y, top), LEFT - 8,
                place_y(y, top) + 4, y);
    for (double x = 0; x <= last; x += dx)
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", place_x(x, last),
                HEIGHT - BOTTOM + 18, x);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6);
    fprintf(f,
            "<text transform=\"translate(12 %d) rotate(-90)\" text-anchor=\"middle\">loss</text>\n",
            (TOP + HEIGHT - BOTTOM) / 2);
}

static const char *const dashes[] = { "none", "7 4", "2 3", "10 3 2 3" };

static void draw(FILE *f, const report *r, const series *all)
{
    double last = 1, top = 0;
    for (int m = 0; m < r->models; m++)
        for (int k = 0; k < all[m].n; k++) {
            last = fmax(last, all[m].step[k]);
            top = isfinite(all[m].loss[k]) ? fmax(top, 1.05 * all[m].loss[k]) : top;
        }
    fputs("<h2>How the loss fell</h2>\n<p class=\"soft\">A student that imitates its teacher has "
          "another loss than one that learns "
          "from the pairs: compare the shape of such curves, not their height.</p>\n<div "
          "class=\"card wide\">",
          f);
    fprintf(f,
            "<svg viewBox=\"0 0 %d %d\" style=\"min-width:600px\" role=\"img\" aria-label=\"loss "
            "by step\">\n",
            WIDTH, HEIGHT);
    axes(f, last, top > 0 ? top : 1);
    for (int m = 0, legend = 0; m < r->models; m++) {
        if (!all[m].n) continue;
        const int y = TOP + 14 + 20 * legend++;
        const char *dash = dashes[m % 4];
        fprintf(f,
                "<polyline fill=\"none\" stroke=\"var(--series%d)\" stroke-width=\"2\" "
                "stroke-dasharray=\"%s\" points=\"",
                m % 4, dash);
        for (int k = 0; k < all[m].n; k++)
            if (isfinite(all[m].loss[k]))
                fprintf(f, "%.1f,%.1f ", place_x(all[m].step[k], last),
                        place_y(all[m].loss[k], top > 0 ? top : 1));
        fprintf(f,
                "\"/>\n<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"var(--series%d)\" "
                "stroke-width=\"2\" "
                "stroke-dasharray=\"%s\"/><text x=\"%d\" y=\"%d\" text-anchor=\"end\">",
                WIDTH - 50, WIDTH - RIGHT, y - 4, y - 4, m % 4, dash, WIDTH - 58, y);
        report_text(f, r->model[m].name);
        fputs("</text>\n", f);
    }
    fputs("</svg></div>\n", f);
}

bool report_curves(FILE *f, const report *r)
{
    series all[REPORT_MOST] = { 0 };
    bool good = true, any = false;
    for (int m = 0; good && m < r->models; m++) {
        if (!r->model[m].metrics) continue;
        good = read_series(&all[m], r->model[m].metrics);
        thin(&all[m]);
        any |= all[m].n > 0;
    }
    if (good && any) draw(f, r, all);
    for (int m = 0; m < r->models; m++) free(all[m].step), free(all[m].loss);
    return good;
}
