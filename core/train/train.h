/* train.h: schedules, the training loop, checkpoints, metrics, progress, evaluation, stored
 * embeddings. The loop is given functions and knows no model and no loss by name.
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_TRAIN_H
#define PITH_TRAIN_H
#include "optim.h"
#include "pith.h"
#include "data/data.h"
#include "files/files.h"

/* ---- the loop -------------------------------------------------------------------------------- */

typedef enum { PITH_COSINE, PITH_CONSTANT_LR } pith_schedule;
/* The learning rate of step k (from 0) of `steps`: linear warm-up lr (k+1)/warmup, then a cosine to
 * 0 or constant. */
double pith_lr(pith_schedule schedule, double lr, int64_t k, int64_t warmup, int64_t steps);

typedef struct {
    const char *name;
    double value;
} pith_metric;
#define PITH_MOST_METRICS 32

/* What is trained. All but `loss` may be NULL. */
typedef struct {
    void *context;
    /* Builds inputs, towers and loss for `tokens` packed tokens a batch; returns the scalar loss.
     * Called once for every size of batch, when the first such batch comes. A trained param that
     * the loss does not reach is left as it is, and named in the log. */
    pith_node *(*loss)(void *context, pith_graph *g, int tokens);
    /* The loop feeds every input that the plan reads by its name: "lr", "step", "progress" (in
     * [0, 1]), and all that a batch has (pith_batch_field). What is called otherwise is asked here,
     * before every run: the array for the input `name`, of its type and shape, which stays as it is
     * until the run is over; NULL, an error, if the task does not have it either. */
    const void *(*fetch)(void *context, const char *name, const pith_host_batch *batch);
    /* Fills metrics from the weights as they are; returns how many, at most PITH_MOST_METRICS, -1
     * after an error. The largest value of the first one decides which model is best. Averages lie
     * in the store under ema/NAME: pith_use_averages(g, store). */
    int (*evaluate)(void *context, pith_metric *metrics);
    /* Writes the model itself into a directory. */
    bool (*export_model)(void *context, const char *directory);
} pith_task;

typedef struct {
    const char *directory; /* the run's: see README.md; made if need be */
    int64_t steps, warmup;
    double lr, weight_decay, beta1, beta2, epsilon, clip_norm, ema; /* clip_norm, ema 0: none */
    pith_schedule schedule;
    int64_t evaluate_every, save_every; /* 0: only at the end */
    int keep;                           /* how many step-N directories are kept; at least one is */
    int stage; /* of a training in several, each with a directory of its own */
    uint64_t seed;
    bool resume; /* from the newest checkpoint; without it a directory that has one is refused */
    pith_plan_options plan;
    const char *title; /* of the progress bar */
    /* every option of the program, a JSON object kept in run.json and checkpoints */
    const char *record;
    FILE *log; /* progress and what else is worth a line; NULL: silent */
} pith_train_options;

typedef struct {
    /* skipped: left everything as it was, since the gradient was not finite */
    int64_t steps, skipped;
    double seconds, waited; /* over all parts of the run */
    double loss, best;      /* of the last step; of all evaluations, NAN without one */
    bool interrupted;
} pith_train_result;

/* Trains until options->steps on shuffled batches of `data`, whose pictures are decoded only if the
 * loss reads them. Weights, moments, EMA and state live
 * in `store`. With equal options and data the final bits do not depend on interruptions. SIGINT and
 * SIGTERM finish the step, save, and tell the log how to go on. */
bool pith_train(const pith_task *task, pith_store *store, const pith_loader_options *data,
                const pith_train_options *options, pith_train_result *result);

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* directory/step-N/ with weights.safetensors (everything in the store) and state.json (`json`, an
 * object, and what proves the files whole). Written as step-N.tmp, every file and both directories
 * fsynced, renamed, then the link `latest` replaced. Checkpoints beyond the `keep` newest are
 * removed. After an error the older ones are as they were. */
bool pith_checkpoint_save(const char *directory, int64_t step, int keep, pith_store *s,
                          const char *json);
/* Reads the newest whole one and points `latest` at it; `log` (or NULL) hears of damaged ones
 * passed over. *json: state.json, freed by the caller. */
bool pith_checkpoint_exists(const char *directory); /* whole or damaged */
bool pith_checkpoint_load(const char *directory, pith_store *s, int64_t *step, char **json,
                          FILE *log);

/* ---- evaluation ------------------------------------------------------------------------------ */

/* Directions: 0 caption to picture, 1 picture to caption. At: 1, 5, 10. */
typedef struct {
    int pictures, captions;
    double recall[2][3], chance[2][3], mrr[2];
} pith_retrieval;
/* image, text (n, width): unit rows of n pairs. Equal numbers in caption_id (n) are equal captions:
 * each counts once, and any picture bearing it is a right answer. A wrong answer of equal score
 * stands before the right one. */
pith_retrieval pith_measure_retrieval(int n, int width, const pith_real *image,
                                      const pith_real *text, const int *caption_id);

/* Shares; chance: of top 1 and top 5; majority: the share of the commonest class. */
typedef struct {
    int pictures, classes;
    double top1, top5, chance1, chance5, majority;
} pith_zero_shot;
/* image (n, width), class rows (classes, width); a label outside [0, classes) leaves its picture
 * out. */
pith_zero_shot pith_measure_zero_shot(int n, int width, const pith_real *image, const int *label,
                                      int classes, const pith_real *rows);

/* ---- a teacher's embeddings, stored once and replayed ---------------------------------------- */

typedef struct {
    const pith_dataset *dataset;
    uint64_t teacher; /* whatever tells teachers apart, as pith_hash_file of its weights */
    int views;        /* fixed views a picture, 1: the plain one */
    int batch, width;
} pith_embeddings_key;
/* Fills rows (count, width) for samples first .. first+count-1 of the dataset: pictures in view 0,
 * 1, ..., or captions for view -1. */
typedef bool pith_embed_batch(void *context, int view, int first, int count, pith_real *rows);

/* One safetensors file: image (views * N, width), text (N, width), f32, in the order of the
 * dataset, `batch` pairs at a time (the last may have fewer). A pass cut off goes on where it was;
 * a file that is there already is left alone. */
bool pith_embeddings_write(const char *path, const pith_embeddings_key *key,
                           pith_embed_batch *embed, void *context);

typedef struct pith_embeddings pith_embeddings; /* mapped into memory */
/* Refuses a file made from other data or by another teacher, naming both. key->batch does not
 * matter. */
pith_embeddings *pith_embeddings_open(const char *path, const pith_embeddings_key *key);
void pith_embeddings_close(pith_embeddings *e);
/* The rows of a batch's pairs in the batch's view: image, text (B, width); either may be NULL. */
void pith_embeddings_gather(const pith_embeddings *e, const pith_host_batch *b, pith_real *image,
                            pith_real *text);
#endif
