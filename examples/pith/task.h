/* task.h: what the commands train, distil and demo share: the options of a training, the stored
 * rows of a teacher, and the training itself. */
#ifndef PITH_TASK_H
#define PITH_TASK_H
#include "command.h"

/* ---- a recipe: how a model is trained, as the options say ------------------------------------ */

/* One of several parts of a training, each with its own directory: see prune.c. */
typedef struct {
    int stage;             /* its number */
    int64_t before, whole; /* the steps of the parts before it, and of all */
    const clip_config
        *original; /* NULL: no masks in this part; else what the model was cut out of */
    clip_sparsity sparsity;
} phase;

typedef struct {
    const char *loss, *augment, *schedule, *freeze, *sasp_last, *synthetic, *clusters, *rows;
    int64_t steps, batch, warmup, evaluate_every, save_every, views;
    double lr, weight_decay, clip_norm, ema, masked;
    bool sasp_inherit, twins;
} recipe;
#define RECIPE_DEFAULTS                                                                            \
    { .loss = "clip",                                                                              \
      .augment = "crop",                                                                           \
      .schedule = "cosine",                                                                        \
      .steps = 1000,                                                                               \
      .batch = 128,                                                                                \
      .warmup = 50,                                                                                \
      .evaluate_every = 200,                                                                       \
      .save_every = 200,                                                                           \
      .lr = 1e-3,                                                                                  \
      .weight_decay = 0.1,                                                                         \
      .clip_norm = 1 }
/* Of commands with teachers. */
#define ROWS_OPTION(r)                                                                             \
    { "--rows", PATH, &(r).rows,                                                                   \
      "the directory in which teachers' rows are kept, which several runs may share; by default "  \
      "the run's" }
#define RECIPE_OPTIONS(r)                                                                          \
    { "--loss", TEXT, &(r).loss,                                                                   \
      "a loss by name, a file.c, or a sum as in affinity:scale=50+0.5*clip" },                     \
        { "--steps", INTEGER, &(r).steps, "steps of the optimizer, AdamW" },                       \
        { "--batch", INTEGER, &(r).batch, "pairs a step" },                                        \
        { "--twins", FLAG, &(r).twins,                                                             \
          "neighbouring pairs 2k and 2k+1 of the training split stay together in a batch: see "    \
          "pith help data" },                                                                      \
        { "--lr", NUMBER, &(r).lr, "highest learning rate" },                                      \
        { "--warmup", INTEGER, &(r).warmup, "steps in which it rises to that" },                   \
        { "--schedule", TEXT, &(r).schedule, "then: cosine (to 0) or constant" },                  \
        { "--weight-decay", NUMBER, &(r).weight_decay, "weight decay, of matrices only" },         \
        { "--clip-norm", NUMBER, &(r).clip_norm,                                                   \
          "largest norm of the whole gradient; 0: no limit" },                                     \
        { "--ema", NUMBER, &(r).ema,                                                               \
          "decay of averaged weights, which are then measured and exported; 0: no average" },      \
        { "--augment", TEXT, &(r).augment,                                                         \
          "none, crop, light, strong, flip, randaugment, stacked, stacked-infomin, and changes: "  \
          "strong,rotate=30,flip=0.5" },                                                           \
        { "--mask-patches", NUMBER, &(r).masked,                                                   \
          "of each picture leave out this share of its patches, others in every step (FLIP); "     \
          "then train on from the model without it" },                                             \
        { "--synthetic", TEXT, &(r).synthetic,                                                     \
          "captions written by a machine: replace, a caption in two becomes one of them, or "      \
          "replace=SHARE; add, the loss of one for each picture is added, or add=WEIGHT" },        \
        { "--clusters", PATH, &(r).clusters,                                                       \
          "what pith data cluster found in these data, for losses that learn from it" },           \
        { "--freeze", TEXT, &(r).freeze,                                                           \
          "leave parameters as they are: 'visual.*,logit_scale'; masks may cut them, too" },       \
        { "--sasp-last", TEXT, &(r).sasp_last,                                                     \
          "how many of the last blocks of both towers become SAS-P, or half; where weights are "   \
          "inherited, only these blocks are trained" },                                            \
        { "--sasp-inherit", FLAG, &(r).sasp_inherit,                                               \
          "they begin with norm, MLP, queries and keys of those that they replace" },              \
        { "--evaluate-every", INTEGER, &(r).evaluate_every,                                        \
          "after so many steps; 0: only at the end" },                                             \
        { "--save-every", INTEGER, &(r).save_every, "after so many steps; 0: only at the end" }

/* ---- synthetic.c ----------------------------------------------------------------------------- */

/* What --synthetic says, NULL: nothing. *number: the share of captions that are replaced, or the
 * weight of the loss that is added; may be NULL. */
pith_synthetic parse_synthetic(const char *text, double *number);
/* Is that possible with these data, which the message calls `data`? Else an error. */
void check_synthetic(const recipe *r, const pith_pack *pack, const char *data);

/* ---- clustered.c ----------------------------------------------------------------------------- */

/* What --clusters says of a set; all zeros: nothing. */
typedef struct {
    pith_clusters *file;
    int *cluster;     /* of a batch of at most `batch` pairs */
    pith_real *wider; /* centroids, where real is double */
} stored_clusters;
stored_clusters clusters_open(const recipe *r, const pith_pack *pack);
void clusters_close(stored_clusters *c);
/* Fills in what a batch has of them, as inputs, which clusters_fetch has the arrays for. */
void clusters_add(const stored_clusters *c, int batch, pith_batch *b);
const void *clusters_fetch(const stored_clusters *c, const pith_dataset *data, const char *name,
                           const pith_host_batch *b);

/* ---- encode.c -------------------------------------------------------------------------------- */

/* Fills in picture k as the model takes it: normalised, (3, image_size, image_size). */
typedef void view_maker(void *context, int k, pith_real *pixels);
/* Computes the unit rows (n, embed) of pictures that `make` makes. */
void encode_views(const clip_config *c, pith_store *s, int n, view_maker *make, void *context,
                  pith_real *rows);

/* ---- teacher.c ------------------------------------------------------------------------------- */

/* Teachers' rows of the training pairs, computed once and kept in files of `out`, one a teacher,
 * with its hash in their names. directories: "A" or "A,B". */
typedef struct {
    int n;
    struct {
        int width;
        double scale;
        pith_embeddings *rows;
        pith_real *image, *text, *synthetic; /* of a batch of at most `batch` pairs */
    } at[PITH_MOST_TEACHERS];
} stored_teachers;
stored_teachers teachers_open(const char *directories, const pith_pack *pack, const recipe *r,
                              const char *out);
void teachers_close(stored_teachers *t);
/* The first of such directories, and the largest side of the pictures that they see; the caller
 * frees *first. */
int teachers_size(const char *directories, char **first);

/* ---- augment.c ------------------------------------------------------------------------------- */

pith_augment parse_augment(const char *text);

/* ---- task.c ---------------------------------------------------------------------------------- */

/* The model that --model names: loaded, if it is a directory; else new, by a name or sizes. A new
 * model has the tokenizer in the file `tokenizer`; if that is NULL, one is learned from the
 * training captions. */
model start_model(const char *name, const char *tokenizer, const pith_pack *pack);
/* Makes the last blocks SAS-P, if --sasp-last says so, of a model with weights or without. */
void make_sasp(model *m, const recipe *r);

/* Tells a name in --freeze that no parameter of a model has. */
void check_freeze(const recipe *r, const clip_config *c);

/* The loss of a recipe. To be called before long work, since it tells mistakes. */
pith_loss_spec *open_loss(const recipe *r, bool teachers);
/* A run, or one of its parts. */
typedef struct {
    pith_pack *pack;
    const recipe *recipe;
    pith_loss_spec *loss;
    const stored_teachers *teachers; /* NULL: there are none */
    stored_clusters clusters;
    const char *out;
    char *record; /* its options as JSON */
    int taken;    /* see pith_train_options */
    bool resume;
    const phase *phase; /* NULL: the training is one piece */
} training;
/* Opens what a command's run is given, all but teachers: DATA as pictures of size x size, the loss,
 * clusters, the record. Tells mistakes in them. teachers: will there be some? */
training open_training(const recipe *r, const char *command, const char *data, int size,
                       const option *options, const char *out, bool resume, bool teachers);
void close_training(training *u);
/* Trains m, and leaves the model and the record of the run in its directory. */
pith_train_result train_model(model *m, const training *u, const char *title);

/* ---- prune.c --------------------------------------------------------------------------------- */

typedef struct {
    const char *option, *stages, *sparsity; /* option: the name of that of the stages */
    double masked, mask_lr, multiplier_lr;
    bool each_tower;
} pruning;
#define PRUNING_DEFAULTS(name) .option = name, .sparsity = "hinge", .masked = 0.4
#define PRUNING_OPTIONS(p)                                                                         \
    { "--masked", NUMBER, &(p).masked,                                                             \
      "the share of a stage's steps in which masks are trained" },                                 \
        { "--mask-lr", NUMBER, &(p).mask_lr,                                                       \
          "their learning rate; 0: 0.02, or what moves them far enough in few steps" },            \
        { "--multiplier-lr", NUMBER, &(p).multiplier_lr,                                           \
          "that of the multipliers of the constraint; 0: likewise" },                              \
        { "--sparsity", TEXT, &(p).sparsity,                                                       \
          "hinge: only what is kept too much is punished; signed: what is kept too little, too" }, \
        { "--each-tower", FLAG, &(p).each_tower,                                                   \
          "both towers keep that share, each; else both together" }
/* Tells mistakes in these options, of a new run or a resumed one. */
void check_pruning(const pruning *p, const recipe *r, bool resumed);
/* Makes m smaller, stage by stage, as train_model trains it. */
pith_train_result train_stages(model *m, const training *u, const pruning *p);

/* ---- distil.c, eval.c ------------------------------------------------------------------------ */

/* A student by its directory, name or sizes. A new one has the tokenizer and the context of the
 * model `from`, "A" or "A,B". open_towers opens the model "A", or, "A,B", the image tower of A with
 * the text tower of B. inherit_from fills m with the first part of the weights of such a model;
 * replaced: see clip_inherit. */
model start_student(const char *name, const char *from);
model open_towers(const char *from);
void inherit_from(model *m, const char *from, bool replaced);
/* Trains m by the rows of `teachers`, "A" or "A,B", in stages if p is not NULL, ends the run,
 * closes the model, the data and the loss, and returns the program's exit status. */
int imitate(model *m, training *u, const char *teachers, const pruning *p, const char *command);
struct json_t *retrieval_json(const pith_retrieval *r);

/* ---- record.c: a run's options, kept in its run.json ----------------------------------------- */

/* As JSON, for pith_train_options.record. */
char *options_as_json(const char *command, const char *data, const option *options);
/* Parses the options of a command that trains, among them --out and --resume RUN, and returns its
 * only argument, DATA. With --resume, DATA and all options that are not given again are those of
 * the run, and *out is the run. */
const char *parse_run(const option *options, const char *usage, const char *about, const char **out,
                      const char **resume, int argc, char **argv);
/* Writes the record of a run that has several parts, before the first of them. */
void write_record(const char *out, const char *record);
/* The record of a part of such a run, which is in `out`; the caller frees it. */
char *record_of_part(const char *record, const char *out);
/* Opens DATA as pictures of size x size. What is not packed is packed into the run's directory, and
 * a resumed run opens that. */
pith_pack *open_run_data(const char *data, int size, const char *out, bool resume);
extern int run_taken; /* by open_run_data: the run's directory is this process's until it ends */
/* A run that learned nothing, for no step was finite, is an error. */
void check_learned(const pith_train_result *r, const char *out);
/* Checks that, prints what a run came to, and returns the program's exit status. */
int end_run(const pith_train_result *r, const char *command, const char *loss, const char *out);
#endif
