/* report.h: the page that shows the results of a training: one HTML file that contains everything
 * it needs. */
#ifndef PITH_REPORT_H
#define PITH_REPORT_H
#include "pith.h"

#define REPORT_NEAREST 5
#define REPORT_MOST 8 /* models, splits, phases */

/* A split that retrieval is measured on. chance and recall are shares in [0, 1]: [0] from words to
 * pictures, [1] from pictures to words; R@1, R@5, R@10. */
typedef struct {
    const char *name, *meaning;
    int pairs;
    double chance[2][3];
} report_split;

typedef struct {
    const char *name; /* "teacher", "student, distilled", "student, from scratch" */
    double parameters, gflop_pair, seconds;
    const char
        *metrics; /* the metrics.jsonl of its run, for the curve of its loss; NULL: no curve */
    double recall[REPORT_MOST][2][3]; /* of each split */
} report_model;

typedef struct {
    const char *name;
    double seconds;
} report_phase;

/* A result of a query. Pictures are pixels of a pack, (3, size, size). */
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

/* A tower that was cut out of a larger one. The numbers of each layer are arrays of the caller's.
 */
typedef struct {
    const char *name;
    int layers, width, width_of;
    const int *heads, *heads_of, *ffn, *ffn_of;
} report_tower;

typedef struct {
    const char *title, *explanation; /* one paragraph in plain words */
    /* sources and licences of the pictures, a sentence each; ends with NULL */
    const char *const *attributions;
    int size; /* side of every picture */
    int models, splits, phases;
    report_model model[REPORT_MOST];
    report_split split[REPORT_MOST];
    report_phase phase[REPORT_MOST];
    const char *kept_text; /* about them, a sentence or two */
    report_tower kept[2];
    int text_queries, picture_queries;
    /* captions and the pictures nearest to them; hits use pixels, caption, right */
    const report_query *text_query;
    /* pictures, their own captions and the nearest captions; hits use caption, right */
    const report_query *picture_query;
    int map;                           /* the heat map has map x map cells */
    const uint8_t *const *map_picture; /* one for each row */
    const char *const *map_caption;    /* one for each column; caption k belongs to picture k */
    const double *map_cosine;          /* (map, map) */
} report;

/* Writes the page; false after an error. */
bool pith_report_write(const report *r, const char *path);
#endif
