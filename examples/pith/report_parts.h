/* report_parts.h: what pages of results are made of. */
#ifndef PITH_REPORT_PARTS_H
#define PITH_REPORT_PARTS_H
#include <stdio.h>
#include "report.h"

/* report_frame.c: writes an HTML page, whole or not at all: its head, the title, and what `body`
 * prints. */
typedef bool report_body(FILE *f, const void *context);
bool report_save(const char *path, const char *title, report_body *body, const void *context);
void report_text(FILE *f, const char *text); /* escaped for HTML */

/* report_plot.c: lines over a common axis; both axes begin at 0. What is not finite is left out. */
typedef struct {
    const char *name;
    int n;
    const double *x, *y;
} report_line;
void report_plot(FILE *f, const char *x, const char *y, int lines, const report_line *line);
/* The distance between marks of an axis, so that there are about `wanted`: 1, 2 or 5 times a power
 * of ten. */
double report_mark_step(double range, int wanted);

void report_picture(FILE *f, const uint8_t *pixels, int size); /* as a data URI */
bool report_curves(FILE *f, const report *r);
void report_kept(FILE *f, const report *r);
void report_gallery(FILE *f, const report *r);
void report_map(FILE *f, const report *r);
#endif
