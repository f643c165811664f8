/* report.h: the page that shows a person what training gave: one HTML file with everything inside.
 */
#ifndef PITH_REPORT_H
#define PITH_REPORT_H
#include "pith.h"

#define REPORT_NEAREST 5
#define REPORT_MOST 8 /* models, splits, phases */

/* A set of pairs that retrieval is measured on. Directions: 0 words -> picture, 1 picture -> words;
 * k: R@1, R@5, R@10. */
/* shares in [0, 1] */
typedef struct {
    const char *name, *meaning;
    int pairs;
    double chance[2][3];
} report_split;

typedef struct {
    const char *name; /* "teacher", "student, distilled", "student, from scratch" */
    double parameters, gflop_pair, seconds;
    const char *metrics; /* its run's metrics.jsonl, whose losses are drawn; NULL: no curve */
    double recall[REPORT_MOST][2][3]; /* of each split */
} report_model;

typedef struct {
    const char *name;
    double seconds;
} report_phase;

/* Pictures are a pack's pixels: (3, size, size). */
typedef struct {
    const uint8_t *pixels;
    const char *caption;
    double score;
    bool right;
} report_hit;
typedef struct {
    const char *caption;
    const uint8_t *picture;
    report_hit nearest[REPORT_NEAREST];
} report_query;

typedef struct {
    const char *title, *explanation; /* one paragraph in plain words */
    /* sources and licences of the pictures, a sentence each; ends with NULL */
    const char *const *attributions;
    int size; /* side of every picture */
    int models, splits, phases;
    report_model model[REPORT_MOST];
    report_split split[REPORT_MOST];
    report_phase phase[REPORT_MOST];
    int text_queries, picture_queries;
    /* words and the pictures nearest to them; hits use pixels, caption, right */
    const report_query *text_query;
    /* a picture, its own caption, and the nearest captions; hits use caption, right */
    const report_query *picture_query;
    int map;                           /* the heat map has map x map cells */
    const uint8_t *const *map_picture; /* rows */
    const char *const *map_caption;    /* columns; the k-th belongs to the k-th picture */
    const double *map_cosine;          /* (map, map) */
} report;

/* Writes the page; false after an error. */
bool pith_report_write(const report *r, const char *path);
#endif
