/* report_plot.c: curves as SVG: axes, lines, and a legend beside them. */
#include <math.h>
#include <string.h>
#include "report_parts.h"

enum { WIDTH = 860, LEFT = 52, TOP = 14, BOTTOM = 44, LEGEND = 20 };

/* Where the lines end, to the right and below, and what stands there. */
typedef struct {
    int right, bottom;
    double last, top;
} frame;

double report_mark_step(double range, int wanted)
{
    const double raw = range / wanted, power = pow(10, floor(log10(raw))), m = raw / power;
    return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static double place_x(double x, const frame *r) { return LEFT + x / r->last * (r->right - LEFT); }
static double place_y(double y, const frame *r)
{
    return r->bottom - y / r->top * (r->bottom - TOP);
}

static void axes(FILE *f, const char *name_x, const char *name_y, const frame *r)
{
    const double dx = report_mark_step(r->last, 6), dy = report_mark_step(r->top, 5);
    for (double y = 0; y <= r->top; y += dy)
        fprintf(f,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"var(--line)\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, r->right, place_y(y, r), place_y(y, r), LEFT - 8, place_y(y, r) + 4, y);
    for (double x = 0; x <= r->last; x += dx)
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", place_x(x, r),
                r->bottom + 18, x);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + r->right) / 2,
            r->bottom + BOTTOM - 6);
    report_text(f, name_x);
    fprintf(f, "</text>\n<text transform=\"translate(12 %d) rotate(-90)\" text-anchor=\"middle\">",
            (TOP + r->bottom) / 2);
    report_text(f, name_y);
    fputs("</text>\n", f);
}

/* y: the height of its name in the legend */
static void draw_line(FILE *f, const report_line *l, int number, int y, const frame *r)
{
    static const char *const dashes[] = { "none", "7 4", "2 3", "10 3 2 3" };
    const char *dash = dashes[(number + number / 4) % 4];
    fprintf(f,
            "<polyline fill=\"none\" stroke=\"var(--series%d)\" stroke-width=\"2\" "
            "stroke-dasharray=\"%s\" points=\"",
            number % 4, dash);
    for (int k = 0; k < l->n; k++)
        if (isfinite(l->y[k])) fprintf(f, "%.1f,%.1f ", place_x(l->x[k], r), place_y(l->y[k], r));
    fprintf(f,
            "\"/>\n<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"var(--series%d)\" "
            "stroke-width=\"2\" stroke-dasharray=\"%s\"/><text x=\"%d\" y=\"%d\">",
            r->right + 12, r->right + 44, y - 4, y - 4, number % 4, dash, r->right + 52, y);
    report_text(f, l->name);
    fputs("</text>\n", f);
}

void report_plot(FILE *f, const char *x, const char *y, int lines, const report_line *line)
{
    frame r = { 0 };
    int drawn = 0, longest = 0;
    for (int m = 0; m < lines; m++) {
        const int letters = (int)strlen(line[m].name);
        for (int k = 0; k < line[m].n; k++) {
            r.last = fmax(r.last, line[m].x[k]);
            if (isfinite(line[m].y[k])) r.top = fmax(r.top, 1.05 * line[m].y[k]);
        }
        if (!line[m].n) continue;
        if (letters > longest) longest = letters;
        drawn++;
    }
    if (!(r.last > 0)) r.last = 1;
    if (!(r.top > 0)) r.top = 1;
    r.right = WIDTH - 56 - 9 * (longest < 40 ? longest : 40);
    r.bottom = TOP + LEGEND * (drawn > 14 ? drawn : 14);
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" style=\"min-width:600px\" role=\"img\" aria-label=\"",
            WIDTH, r.bottom + BOTTOM);
    report_text(f, y);
    fputs(" by ", f);
    report_text(f, x);
    fputs("\">\n", f);
    axes(f, x, y, &r);
    for (int m = 0, legend = TOP + 12; m < lines; m++) {
        if (!line[m].n) continue;
        draw_line(f, &line[m], m, legend, &r);
        legend += LEGEND;
    }
    fputs("</svg>\n", f);
}
