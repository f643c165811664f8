/* train.h: schedules, the training loop, checkpoints, metrics, progress. It is given functions and knows no model and no
 * loss by name. */
#ifndef PITH_TRAIN_H
#define PITH_TRAIN_H
#include "pith.h"
#include "data/data.h"

typedef enum { PITH_COSINE, PITH_CONSTANT_RATE } pith_schedule;
/* The rate of step k (from 0) of `steps`: linear warm-up rate (k+1)/warmup, then a cosine to 0 or constant. */
double pith_rate(pith_schedule schedule, double rate, int64_t k, int64_t warmup, int64_t steps);

typedef struct { const char *name; double value; } pith_metric;

/* What is trained. */
typedef struct {
    void *context;
    /* Builds inputs, towers and loss for `tokens` packed tokens a batch; returns the scalar loss. Called once for every size of batch. */
    pith_node *(*loss)(void *context, pith_graph *g, int tokens);
    /* Feeds the plan from a batch, `progress` in [0, 1]; called before every run. */
    bool (*feed)(void *context, pith_plan *plan, const pith_graph *g, const pith_minibatch *batch, const pith_real *progress);
    /* Fills metrics from the weights as they are; returns how many (at most 32), -1 after an error. The first one decides which checkpoint is best. */
    int (*evaluate)(void *context, pith_metric *metrics);
    /* Writes the model itself into a directory. */
    bool (*export_model)(void *context, const char *directory);
} pith_task;

typedef struct {
    const char *directory;              /* the run's: run.json, metrics.jsonl, step-N/, latest, best/, model files */
    int64_t steps, warmup;
    double rate, decay, beta1, beta2, epsilon, clip_norm, ema;      /* ema 0: none */
    pith_schedule schedule;
    int64_t evaluate_every, save_every; /* 0: only at the end */
    int keep;                           /* how many step-N directories are kept */
    uint64_t seed;
    bool resume;                        /* from directory/latest */
    const char *title;                  /* of the progress bar */
} pith_train_options;

typedef struct { int64_t steps; double seconds, waited, loss; bool interrupted; } pith_train_result;

/* Trains until options->steps. Weights, moments, EMA and state live in `store`. Ctrl-C saves and says how to go on. */
bool pith_train(const pith_task *task, pith_store *store, const pith_loader_options *data, const pith_train_options *options,
                pith_train_result *result);

/* Checkpoints: written as step-N.tmp, every file and both directories fsynced, renamed, then `latest` replaced. */
bool pith_checkpoint_save(const char *directory, int64_t step, const pith_store *s, const char *json);
/* Reads directory/latest (or the newest whole one); *json (freed by the caller) holds what was saved beside the weights. */
bool pith_checkpoint_load(const char *directory, pith_store *s, int64_t *step, char **json);

/* Whole-file writes that survive a crash: a temporary beside it, fsync, rename, fsync of the directory. */
bool pith_write_file(const char *path, const void *data, size_t size);
#endif
