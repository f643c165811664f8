/* train.h: the training loop with its learning-rate schedules, checkpoints, metrics and progress
 * line; figures of evaluation; a teacher's stored embeddings. The loop calls the functions of a
 * pith_task and knows no model and no loss by name.
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
/* The learning rate of step k, counted from 0, out of `steps`. For the first `warmup` steps it
 * rises linearly, lr (k+1)/warmup; after them it falls to 0 along a cosine, or stays at lr. */
double pith_lr(pith_schedule schedule, double lr, int64_t k, int64_t warmup, int64_t steps);

typedef struct {
    const char *name;
    double value;
} pith_metric;
#define PITH_MOST_METRICS 32

/* What is trained. All but `loss` may be NULL. */
typedef struct {
    void *context;
    /* Builds the graph of a batch whose captions have `tokens` tokens in all: inputs, model and
     * loss. Returns the loss, a scalar. Called once for each number of tokens that batches have,
     * when the first such batch comes. A param on which the loss does not depend is not trained,
     * and the log names it. */
    pith_node *(*loss)(void *context, pith_graph *g, int tokens);
    /* Returns the array for an input that the loop cannot feed itself, of the input's type and
     * shape. The loop feeds "lr", "step", "progress" (in [0, 1]) and every array of the batch
     * (pith_batch_field); for any other input that the plan reads it calls this before each run.
     * The array must stay unchanged until the run is over. NULL if the task has no such input
     * either: an error. */
    const void *(*fetch)(void *context, const char *name, const pith_host_batch *batch);
    /* Measures the model with its present weights. Fills `metrics` and returns how many it filled,
     * at most PITH_MOST_METRICS, or -1 after an error. The model with the largest first metric is
     * kept as the best. With options.ema, pith_use_averages(g, store) builds the model on the
     * averaged weights. */
    int (*evaluate)(void *context, pith_metric *metrics);
    /* Writes the model into a directory, in the format that other programs read. */
    bool (*export_model)(void *context, const char *directory);
} pith_task;

typedef struct {
    const char *directory; /* of the run, made if it is not there: see README.md */
    int64_t steps, warmup;
    double lr, weight_decay, beta1, beta2, epsilon, clip_norm, ema;
    /* clip_norm 0: no clipping; ema 0: no average */
    pith_schedule schedule;
    int64_t evaluate_every, save_every; /* 0: only at the end */
    int keep; /* how many of the newest checkpoints are kept, at least 1 */
    /* Where a training has several stages, each with its own directory: the number of this one, how
     * many steps were made before it, and those of all. Batches, random numbers and progress go on
     * after the earlier ones. whole 0: there are no others. */
    int stage;
    int64_t before, whole;
    uint64_t seed;
    bool resume; /* go on from the newest checkpoint; if false, a directory that holds one is an
                    error */
    pith_plan_options plan;
    const char *title; /* of the progress bar */
    /* the program's own options, a JSON object that is kept in run.json and in every checkpoint */
    const char *record;
    /* what pith_take_run returned, where the caller has taken the directory already; 0: not yet */
    int taken;
    FILE *log; /* gets progress and remarks; NULL: silent */
} pith_train_options;

typedef struct {
    /* skipped: steps that changed nothing, since their gradient or an update was not finite */
    int64_t steps, skipped;
    double seconds, waited; /* together with the parts before each resumption */
    double gflop; /* of the products of all steps, forward and backward, counted from the graphs */
    double loss, best; /* loss of the last step; best first metric, NAN without an evaluation */
    bool interrupted;
} pith_train_result;

/* Trains for options->steps steps on shuffled batches of `data`. Pictures are decoded only if the
 * loss reads them. Weights, moments, averages and states are kept in `store`. With equal options
 * and data the result has the same bits however often the run was interrupted. After SIGINT or
 * SIGTERM the loop finishes its step, saves a checkpoint, and tells the log where it is. */
bool pith_train(const pith_task *task, pith_store *store, const pith_loader_options *data,
                const pith_train_options *options, pith_train_result *result);

/* Makes the directory, if it is not there, and takes it for this process, until the descriptor that
 * is returned is closed. -1 after an error: another process trains in it, or, unless `resume`, it
 * holds a run already. For who writes into it before pith_train. */
int pith_take_run(const char *directory, bool resume);

/* ---- checkpoints ----------------------------------------------------------------------------- */

struct json_t; /* of jansson.h */
/* Writes directory/step-N/: weights.safetensors, everything in the store, and state.json, the JSON
 * object `state`, to which the step and the size and hash of the weights are added. The checkpoint
 * is written as step-N.tmp, brought to the disk (fsync), and renamed; then the link `latest` is
 * replaced and all but the `keep` newest checkpoints are removed. After an error the older ones are
 * unchanged. */
bool pith_checkpoint_save(const char *directory, int64_t step, int keep, pith_store *s,
                          struct json_t *state);
/* Is there any checkpoint, be it damaged? */
bool pith_checkpoint_exists(const char *directory);
/* Loads the newest undamaged checkpoint and points `latest` at it. `log`, unless NULL, is told of
 * damaged ones that were passed over. *state: what state.json holds, which the caller lets go. */
bool pith_checkpoint_load(const char *directory, pith_store *s, int64_t *step,
                          struct json_t **state, FILE *log);

/* ---- evaluation ------------------------------------------------------------------------------ */

/* Directions: 0 caption to picture, 1 picture to caption. At: 1, 5, 10. */
typedef struct {
    int pictures, captions;
    double recall[2][3], chance[2][3], mrr[2];
} pith_retrieval;
/* image, text (n, width): unit rows of n pairs. caption_id (n): pairs with equal numbers have the
 * same caption, which is then asked once, and for which any of their pictures is right. Of two
 * equal scores the wrong one ranks first. */
pith_retrieval pith_measure_retrieval(int n, int width, const pith_real *image,
                                      const pith_real *text, const int *caption_id);

/* All are shares in [0, 1]. chance1, chance5: what guessing would give for top1 and top5; majority:
 * what always naming the most frequent class would give for top1. */
typedef struct {
    int pictures, classes;
    double top1, top5, chance1, chance5, majority;
} pith_classified;
/* image (n, width): a row a picture; rows (classes, width): a row a class. A picture is said to be
 * of the class whose row has the greatest product with its own; for zero-shot classification all
 * are unit rows. A picture whose label is outside [0, classes) is left out. */
pith_classified pith_measure_classes(int n, int width, const pith_real *image, const int *label,
                                     int classes, const pith_real *rows);

/* Are twins told apart, which are pairs 2k and 2k+1? Shares in [0, 1]: of pictures whose own
 * caption is nearer than the twin's, of captions whose own picture is, and of couples of which all
 * four are right; and what random similarities would give. */
typedef struct {
    int couples;
    double image_to_text, text_to_image, both, chance, chance_both;
} pith_twins;
/* image, text (2 couples, width): unit rows. Equal similarities tell nothing apart. */
pith_twins pith_measure_twins(int couples, int width, const pith_real *image,
                              const pith_real *text);

/* A linear classifier on features that stay as they are, by ridge regression (probe.c). x (n,
 * width), labels in [0, classes). To be freed, also after an error, of which it is then empty. */
typedef struct {
    int width, classes;
    pith_real *mean, *deviation; /* (width) of the features that it was fitted to */
    pith_real *rows;             /* (classes, width + 1) */
} pith_probe;
pith_probe pith_probe_fit(int n, int width, const pith_real *x, const int *label, int classes);
pith_classified pith_probe_measure(const pith_probe *p, int n, const pith_real *x,
                                   const int *label);
void pith_probe_free(pith_probe *p);

/* ---- claims, judged by several seeds --------------------------------------------------------- */

/* The mean of n differences, one a seed, and where the mean of all seeds lies, with 95 %
 * confidence: Student's t. For one seed, anywhere. */
typedef struct {
    int n;
    double mean, low, high;
} pith_interval;
pith_interval pith_t_interval(int n, const double *differences);
/* "A is better than B", of A - B: held if the interval is wholly above 0; else, if it is wholly
 * below the margin, it did not hold. "A is no worse than B": held if it is wholly above -margin;
 * did not hold if it is wholly below that. In all other cases it cannot be told. smaller: some
 * differences are smaller than what was measured, nobody knows by how much; then it cannot be held.
 * larger: some are larger; then it cannot be said not to hold. */
typedef enum { PITH_BETTER, PITH_NO_WORSE } pith_claim_kind;
typedef enum { PITH_HELD, PITH_DID_NOT_HOLD, PITH_CANNOT_BE_TOLD } pith_verdict;
pith_verdict pith_judge(pith_claim_kind kind, double margin, bool smaller, bool larger,
                        const pith_interval *i);

/* ---- a teacher's embeddings, stored once and replayed ---------------------------------------- */

typedef struct {
    const pith_dataset *dataset;
    uint64_t teacher; /* a number of this teacher alone, as pith_hash_file of its weights */
    int views;        /* how many fixed views of each picture; 1: the picture as it is */
    int captions;     /* how many captions of each sample, its own and synthetic ones */
    int batch, width;
} pith_embeddings_key;
/* Fills rows (count, width) for samples first .. first+count-1 of the dataset: pictures in view 0,
 * 1, ..., or captions number 0, 1, ... for view -1, -2, ...; zeros for a caption that is not there.
 */
typedef bool pith_embed_batch(void *context, int view, int first, int count, pith_real *rows);

/* Writes one safetensors file with image (views * N, width) and text (captions * N, width), f32, in
 * the order of the dataset, and a hash of both. `embed` is called for `batch` samples at a time,
 * the last time for the rest. If an earlier call was interrupted, this one goes on from there; a
 * finished file is left alone. */
bool pith_embeddings_write(const char *path, const pith_embeddings_key *key,
                           pith_embed_batch *embed, void *context);

typedef struct pith_embeddings pith_embeddings; /* mapped into memory */
/* A file made from other data or by another teacher is an error that names both, and so are rows
 * that do not have their hash any more. key->batch does not matter. */
pith_embeddings *pith_embeddings_open(const char *path, const pith_embeddings_key *key);
void pith_embeddings_close(pith_embeddings *e);
/* Copies the rows of a batch's pairs, pictures in the batch's view and the captions that were
 * drawn, into image, text and, of the second captions of PITH_ADD, synthetic, each (B, width); any
 * may be NULL. */
void pith_embeddings_gather(const pith_embeddings *e, const pith_host_batch *b, pith_real *image,
                            pith_real *text, pith_real *synthetic);
#endif
