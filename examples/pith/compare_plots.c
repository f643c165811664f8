/* compare_plots.c: the pictures of a comparison's page: intervals, curves, and all arms as points.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "compare.h"
#include "report_parts.h"

void draw_interval(FILE *f, const claim *k, const pith_interval *i)
{
    enum { WIDE = 860, HIGH = 54, EDGE = 34 };
    const double bound = k->kind == PITH_BETTER ? k->margin : -k->margin;
    const double least = fmin(fmin(i->low, bound), 0), most = fmax(fmax(i->high, bound), 0);
    const double scale = most > least ? (WIDE - 2 * EDGE) / (most - least) : 1;
    const struct {
        double at;
        const char *dash, *name;
    } mark[] = { { 0, "none", "0" }, { bound, "4 3", "margin" } };
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"interval\">", WIDE, HIGH);
    for (int m = 0; m < 1 + (bound != 0); m++)
        fprintf(f,
                "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"2\" y2=\"24\" stroke=\"var(--soft)\" "
                "stroke-dasharray=\"%s\"/><text x=\"%.1f\" y=\"%d\" "
                "text-anchor=\"middle\">%s</text>",
                EDGE + scale * (mark[m].at - least), EDGE + scale * (mark[m].at - least),
                mark[m].dash, EDGE + scale * (mark[m].at - least), 36 + 14 * m, mark[m].name);
    fprintf(f,
            "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"13\" y2=\"13\" stroke=\"var(--heat)\" "
            "stroke-width=\"3\"/><circle cx=\"%.1f\" cy=\"13\" r=\"5\" "
            "fill=\"var(--heat)\"/></svg>\n",
            EDGE + scale * (i->low - least), EDGE + scale * (i->high - least),
            EDGE + scale * (i->mean - least));
}

void draw_curves(FILE *f, const comparison *c, const results *all, bool compute)
{
    report_line line[MOST_ARMS] = { { .name = "" } };
    int lines = 0;
    for (int arm = c->first; arm < c->arms; arm++) {
        double *x = NULL, *y = NULL;
        const result *row[MOST_SEEDS];
        const int rows = rows_of_arm(all, c, arm, row);
        int n = 0, seeds = 0;
        for (int i = 0; i < rows; i++) {
            curve own = read_curve(row[i]);
            if (!x) {
                n = own.n;
                x = room(sizeof *x * (size_t)(n + 1));
                y = room(sizeof *y * (size_t)(n + 1));
            }
            for (int k = 0; own.n == n && k < n; k++)
                x[k] += compute ? own.gflop[k] : own.pairs[k], y[k] += 100 * own.value[k];
            seeds += own.n == n;
            free_curve(&own);
        }
        for (int k = 0; k < n; k++) x[k] /= seeds, y[k] /= seeds;
        if (n) line[lines++] = (report_line){ c->arm[arm].name, n, x, y };
        else free(x), free(y);
    }
    if (lines) {
        fputs("<div class=\"card wide\">", f);
        report_plot(f, compute ? "GFLOP of products" : "pairs seen", "R@1 in %, split valid", lines,
                    line);
        fputs("</div>\n", f);
    }
    for (int k = 0; k < lines; k++) free((void *)line[k].x), free((void *)line[k].y);
}

/* ---- all arms as points ---- */

enum { WIDE = 360, HIGH = 300, LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 40 };

typedef struct {
    const char *arm, *question;
    double value, cost[3];
} point;

/* The means of an arm's rows; false if no row has the measure. */
static bool make_point(const comparison *c, int arm, const results *all, const char *measure,
                       point *p)
{
    const result *row[MOST_SEEDS];
    const int rows = rows_of_arm(all, c, arm, row);
    int n = 0;
    *p = (point){ c->arm[arm].name, c->question, 0, { 0 } };
    for (int k = 0; k < rows; k++) {
        const result *r = row[k];
        if (!(r->parameters > 0 && r->pairs > 0 && r->megabytes > 0)) continue;
        if (!isfinite(measure_of(r, measure))) continue;
        p->value += measure_of(r, measure);
        p->cost[0] += r->parameters / 1e6;
        p->cost[1] += r->pairs / 1e3;
        p->cost[2] += r->megabytes;
        n++;
    }
    for (int k = 0; k < 3; k++) p->cost[k] /= n;
    p->value /= n;
    return n > 0;
}

static void panel(FILE *f, int points, const point *p, int cost, const char *name,
                  const char *measure)
{
    double low = INFINITY, high = 0, top = 0;
    for (int k = 0; k < points; k++) {
        low = fmin(low, p[k].cost[cost]), high = fmax(high, p[k].cost[cost]);
        top = fmax(top, 105 * p[k].value);
    }
    low = floor(log2(low)), high = ceil(log2(high));
    if (high <= low) high = low + 1;
    if (!(top > 0)) top = 1;
    const double x_scale = (WIDE - LEFT - RIGHT) / (high - low),
                 y_scale = (HIGH - TOP - BOTTOM) / top;
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDE, HIGH);
    report_text(f, measure);
    fprintf(f, " by %s\">\n", name);
    for (double x = low; x <= high; x++)
        fprintf(f,
                "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"var(--line)\"/>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                LEFT + x_scale * (x - low), LEFT + x_scale * (x - low), TOP, HIGH - BOTTOM,
                LEFT + x_scale * (x - low), HIGH - BOTTOM + 18, exp2(x));
    const double mark = report_mark_step(top, 5);
    for (double y = 0; y <= top; y += mark)
        fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 6,
                HIGH - BOTTOM - y_scale * y + 4, y);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            (LEFT + WIDE - RIGHT) / 2, HIGH - 6, name);
    for (int k = 0; k < points; k++) {
        fprintf(f,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"var(--heat)\" "
                "fill-opacity=\"0.55\"><title>",
                LEFT + x_scale * (log2(p[k].cost[cost]) - low),
                HIGH - BOTTOM - y_scale * 100 * p[k].value);
        report_text(f, p[k].arm);
        fprintf(f, ": %.1f %%; %.2f M parameters, %.0f thousand pairs, %.0f MB; ", 100 * p[k].value,
                p[k].cost[0], p[k].cost[1], p[k].cost[2]);
        report_text(f, p[k].question);
        fputs("</title></circle>\n", f);
    }
    fputs("</svg>\n", f);
}

void draw_scatter(FILE *f, int n, const comparison *c, const results *all, const char *measure)
{
    static const char *const costs[3] = { "parameters, M", "pairs seen, thousands",
                                          "peak memory, MB" };
    point *p = room(sizeof *p * (size_t)n * MOST_ARMS);
    int points = 0;
    for (int k = 0; k < n; k++)
        for (int arm = c[k].first; arm < c[k].arms; arm++) {
            if (strcmp(c[k].data, c[0].data)) continue; /* its measure is another */
            if (!make_point(&c[k], arm, all, measure, &p[points])) continue;
            bool twice = false; /* an arm of several questions */
            for (int i = 0; i < points; i++) twice |= !strcmp(p[i].arm, p[points].arm);
            points += !twice;
        }
    if (points) {
        fputs("<h2>All arms</h2>\n<p class=\"soft\">Each point is an arm that is measured on these "
              "data, the mean "
              "of its seeds: ",
              f);
        report_text(f, measure);
        fputs(" in %, by what it costs. Costs stand on scales that double from line to line. Point "
              "at one to see its name.</p>\n<div class=\"card wide\"><div style=\"display: grid; "
              "grid-template-columns: repeat(3, minmax(250px, 1fr)); gap: .6rem\">\n",
              f);
        for (int k = 0; k < 3; k++) panel(f, points, p, k, costs[k], measure);
        fputs("</div></div>\n", f);
    }
    free(p);
}
