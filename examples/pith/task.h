/* task.h: what train, distil and demo share: a recipe, the teacher's stored rows, and a run of them. */
#ifndef PITH_TASK_H
#define PITH_TASK_H
#include "command.h"
#include "train/train.h"

/* ---- encode.c --------------------------------------------------------------------------------------------------- */

/* encode_pictures of those that `index` chooses; NULL: the first n. */
void encode_chosen(const clip_config *c, pith_store *s, int n, const int *index, int size, const uint8_t *pixels,
                   pith_real *rows);
/* Of pictures that are normalised already. */
typedef struct { pith_graph *graph; pith_plan *plan; pith_node *pixels, *rows; int batch, width; } image_encoder;
image_encoder image_encoder_new(const clip_config *c, pith_store *s, int batch);
void image_encoder_run(const image_encoder *e, const pith_real *pixels, int n, pith_real *rows);    /* the first n of the batch */
void image_encoder_free(image_encoder *e);

/* ---- task.c ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *loss, *augment, *schedule, *freeze;
    int64_t steps, batch, warmup, evaluate_every, save_every;
    double rate, decay, clip_norm, ema;
} recipe;
#define RECIPE_DEFAULTS                                                                                            \
    { .loss = "clip", .augment = "crop", .schedule = "cosine", .steps = 1000, .batch = 128, .warmup = 50,          \
      .evaluate_every = 200, .save_every = 200, .rate = 1e-3, .decay = 0.1, .clip_norm = 1 }
#define RECIPE_OPTIONS(r)                                                                                          \
    { "--loss", TEXT, &(r).loss, "a loss by name, a file.c, or a sum as in affinity:scale=50+0.5*clip" },          \
    { "--steps", INTEGER, &(r).steps, "steps of the optimizer, AdamW" },                                           \
    { "--batch", INTEGER, &(r).batch, "pairs a step" },                                                            \
    { "--rate", NUMBER, &(r).rate, "highest learning rate" },                                                      \
    { "--warmup", INTEGER, &(r).warmup, "steps until it is reached" },                                             \
    { "--schedule", TEXT, &(r).schedule, "then: cosine (to 0) or constant" },                                      \
    { "--decay", NUMBER, &(r).decay, "weight decay, of matrices alone" },                                          \
    { "--clip-norm", NUMBER, &(r).clip_norm, "largest norm of the whole gradient; 0: any" },                       \
    { "--ema", NUMBER, &(r).ema, "keep of the averaged weights, which are then measured and exported; 0: none" },  \
    { "--augment", TEXT, &(r).augment, "none, crop, light, strong, and changes: strong,rotate=30,flip=0.5" },      \
    { "--freeze", TEXT, &(r).freeze, "leave parameters as they are: 'visual.*,logit_scale'" },                     \
    { "--evaluate-every", INTEGER, &(r).evaluate_every, "steps; 0: at the end" },                                  \
    { "--save-every", INTEGER, &(r).save_every, "steps; 0: at the end" }

pith_augment parse_augment(const char *text);
pith_loader_options loader_options(const clip_config *c, const pith_tokenizer *t, const pith_pack *pack, const recipe *r);

/* What --model names: a directory, whose weights are taken, or a name or sizes, new. The words of a new model are those of the file
 * `tokenizer`, or, where that is NULL, learned from the training captions. */
model start_model(const char *name, const char *tokenizer, const pith_pack *pack);

/* Trains m in place and leaves it, and all of the run, in `out`. t: NULL without a teacher. */
typedef struct teacher teacher;
pith_train_result train_model(model *m, const pith_pack *pack, const recipe *r, const teacher *t, const char *out,
                              bool resume, const char *title);

/* ---- teacher.c ------------------------------------------------------------------------------------------------- */

/* The teacher's unit rows of the training pairs, made once and replayed. */
struct teacher {
    int width, views, count;            /* views 0: of the plain pictures */
    double scale;
    pith_real *image, *text;            /* (max(views, 1), count, width), (count, width) */
    int *row;                           /* of each pair of the pack, or -1 */
    pith_store *store;
};
/* A pass over the training pairs, kept in `file` and found there the next time. views: the K fixed draws of r's augmentation. */
teacher teacher_open(const model *m, const pith_pack *pack, const recipe *r, int views, const char *file);
void teacher_close(teacher *t);

/* ---- record.c: run.json, what a run was told and where --------------------------------------------------------- */

void write_record(const char *out, const char *command, const char *data, const option *options, const pith_pack *pack);
/* The options of a run begun before go into the table; returns its DATA. *hash is that of its pairs. */
char *read_record(const char *run, const char *command, const option *options, uint64_t *hash);
#endif
