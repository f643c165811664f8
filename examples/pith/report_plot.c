/* report_plot.c: curves as SVG: axes, lines, and a legend where lines do not end. */
#include <math.h>
#include "report_parts.h"

enum { WIDTH = 860, HEIGHT = 340, LEFT = 52, RIGHT = 16, TOP = 14, BOTTOM = 44 };

/* The distance between marks of an axis, so that there are about `wanted`: 1, 2 or 5 times a power
 * of ten. */
static double mark_step(double range, int wanted)
{
    const double raw = range / wanted, power = pow(10, floor(log10(raw))), m = raw / power;
    return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static double place_x(double x, double last) { return LEFT + x / last * (WIDTH - LEFT - RIGHT); }
static double place_y(double y, double top)
{
    return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);
}

static void axes(FILE *f, const char *name_x, const char *name_y, double last, double top)
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
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 6);
    report_text(f, name_x);
    fprintf(f, "</text>\n<text transform=\"translate(12 %d) rotate(-90)\" text-anchor=\"middle\">",
            (TOP + HEIGHT - BOTTOM) / 2);
    report_text(f, name_y);
    fputs("</text>\n", f);
}

/* y: the height of its name in the legend */
static void draw_line(FILE *f, const report_line *l, int number, int y, double last, double top)
{
    static const char *const dashes[] = { "none", "7 4", "2 3", "10 3 2 3" };
    const char *dash = dashes[(number + number / 4) % 4];
    fprintf(f,
            "<polyline fill=\"none\" stroke=\"var(--series%d)\" stroke-width=\"2\" "
            "stroke-dasharray=\"%s\" points=\"",
            number % 4, dash);
    for (int k = 0; k < l->n; k++)
        if (isfinite(l->y[k]))
            fprintf(f, "%.1f,%.1f ", place_x(l->x[k], last), place_y(l->y[k], top));
    fprintf(f,
            "\"/>\n<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"var(--series%d)\" "
            "stroke-width=\"2\" stroke-dasharray=\"%s\"/><text x=\"%d\" y=\"%d\" "
            "text-anchor=\"end\">",
            WIDTH - 50, WIDTH - RIGHT, y - 4, y - 4, number % 4, dash, WIDTH - 58, y);
    report_text(f, l->name);
    fputs("</text>\n", f);
}

void report_plot(FILE *f, const char *x, const char *y, int lines, const report_line *line)
{
    double last = 0, top = 0;
    for (int m = 0; m < lines; m++)
        for (int k = 0; k < line[m].n; k++) {
            last = fmax(last, line[m].x[k]);
            if (isfinite(line[m].y[k])) top = fmax(top, 1.05 * line[m].y[k]);
        }
    if (!(last > 0)) last = 1;
    if (!(top > 0)) top = 1;
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" style=\"min-width:600px\" role=\"img\" aria-label=\"",
            WIDTH, HEIGHT);
    report_text(f, y);
    fputs(" by ", f);
    report_text(f, x);
    fputs("\">\n", f);
    axes(f, x, y, last, top);
    double ends = 0;
    int drawn = 0, legend = TOP + 14;
    for (int m = 0; m < lines; m++)
        if (line[m].n) ends += line[m].y[line[m].n - 1] / top, drawn++;
    if (ends > 0.5 * drawn) legend = HEIGHT - BOTTOM - 10 - 20 * (drawn - 1);
    for (int m = 0; m < lines; m++) {
        if (!line[m].n) continue;
        draw_line(f, &line[m], m, legend, last, top);
        legend += 20;
    }
    fputs("</svg>\n", f);
}
