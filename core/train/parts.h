/* parts.h: what the pages of core/train share among themselves. Nobody else includes it. */
#ifndef PITH_TRAIN_PARTS_H
#define PITH_TRAIN_PARTS_H
#include <jansson.h>
#include "train.h"

/* metrics.c: metrics.jsonl and run.json. */
typedef struct {
    FILE *file;
    char path[PITH_PATH];
} pith_metrics;
/* drops the lines of steps after `step` */
bool pith_metrics_open(pith_metrics *m, const char *directory, int64_t step);
bool pith_metrics_write(pith_metrics *m, int64_t step, int n, const pith_metric *values);
bool pith_metrics_close(pith_metrics *m);
bool pith_metrics_sync(pith_metrics *m);
json_t *pith_number(double x); /* null if it is not finite */
/* of a key of state.json, or what is to be instead; a count is at least 0 */
double pith_number_of(const json_t *state, const char *key, double otherwise);
int64_t pith_count_of(const json_t *state, const char *key);
bool pith_is_metric(const char *name); /* does every step write one of that name? */
bool pith_run_write(const pith_train_options *o, const pith_loader_options *data); /* run.json */

/* program.c */
typedef struct {
    int tokens, n_watched;
    pith_graph *graph;
    pith_plan *plan;
    pith_node *loss, *norm, *ok;
    pith_node **watched;
    const char *const *names;
    double gflop;        /* of a step's products, forward and backward */
    pith_metric *line;   /* room for the metrics of one step */
    char unreached[400]; /* the params that the loss does not reach */
} pith_program;
/* p is to be freed after an error, too. */
bool pith_program_make(pith_program *p, const pith_task *task, pith_store *store,
                       const pith_train_options *o, int tokens);
void pith_program_free(pith_program *p);

/* inputs.c: feeds what the batch does not have: the loop's own values (a list that ends with a NULL
 * name), then what the task fetches. */
typedef struct {
    const char *name;
    const void *data;
} pith_loop_value;
bool pith_feed_rest(pith_plan *p, const pith_host_batch *b, const pith_loop_value *loop_values,
                    const pith_task *task);

/* progress.c */
typedef struct {
    FILE *file;
    bool terminal, drawn;
    const char *title;
    int64_t first, steps;
    int batch;
    double start, shown;
} pith_progress;
void pith_progress_start(pith_progress *p, const pith_train_options *o, int64_t first, int batch);
void pith_progress_show(pith_progress *p, int64_t step, double loss, double waited);
void pith_progress_say(pith_progress *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void pith_progress_end(pith_progress *p);
#endif
