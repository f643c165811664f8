/* report_parts.h: what the pages of the report share and nobody else sees. */
#ifndef PITH_REPORT_PARTS_H
#define PITH_REPORT_PARTS_H
#include <stdio.h>
#include "report.h"

void report_text(FILE *f, const char *text);                   /* escaped for HTML */
void report_picture(FILE *f, const uint8_t *pixels, int size); /* as a data URI */
bool report_curves(FILE *f, const report *r);
void report_kept(FILE *f, const report *r);
void report_gallery(FILE *f, const report *r);
void report_map(FILE *f, const report *r);
#endif
