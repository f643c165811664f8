/* task.h: what train, distil and demo share: a recipe, the teacher's stored rows, and a run of
 * them. */
#ifndef PITH_TASK_H
#define PITH_TASK_H
#include "command.h"

/* ---- encode.c -------------------------------------------------------------------------------- */

/* encode_pictures of those that `index` chooses; NULL: the first n. */
void encode_chosen(const clip_config *c, pith_store *s, int n, const int *index, int size,
                   const uint8_t *pixels, pith_real *rows);
/* Of pictures that are normalised already. */
typedef struct {
    pith_graph *graph;
    pith_plan *plan;
    pith_node *pixels, *rows;
    int batch, width;
    pith_real *values; /* of the rows, (batch, width) */
} image_encoder;
image_encoder image_encoder_new(const clip_config *c, pith_store *s, int batch);
/* the first n of the batch */
void image_encoder_run(const image_encoder *e, const pith_real *pixels, int n, pith_real *rows);
void image_encoder_free(image_encoder *e);

/* ---- teacher.c ------------------------------------------------------------------------------- */

/* What a teacher says of the training pairs, asked once, kept in a file and replayed. */
typedef struct {
    int width;
    double scale;
    pith_embeddings *rows;
} stored_teacher;
stored_teacher teacher_open(model *m, const char *directory, const pith_pack *pack, const char *file);
void teacher_close(stored_teacher *t);

/* ---- task.c ---------------------------------------------------------------------------------- */

typedef struct {
    const char *loss, *augment, *schedule, *freeze;
    int64_t steps, batch, warmup, evaluate_every, save_every;
    double lr, weight_decay, clip_norm, ema;
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
#define RECIPE_OPTIONS(r)                                                                          \
    { "--loss", TEXT, &(r).loss,                                                                   \
      "a loss by name, a file.c, or a sum as in affinity:scale=50+0.5*clip" },                     \
        { "--steps", INTEGER, &(r).steps, "steps of the optimizer, AdamW" },                       \
        { "--batch", INTEGER, &(r).batch, "pairs a step" },                                        \
        { "--lr", NUMBER, &(r).lr, "highest learning rate" },                                      \
        { "--warmup", INTEGER, &(r).warmup, "steps until it is reached" },                         \
        { "--schedule", TEXT, &(r).schedule, "then: cosine (to 0) or constant" },                  \
        { "--weight-decay", NUMBER, &(r).weight_decay, "weight decay, of matrices alone" },        \
        { "--clip-norm", NUMBER, &(r).clip_norm, "largest norm of the whole gradient; 0: any" },   \
        { "--ema", NUMBER, &(r).ema,                                                               \
          "keep of the averaged weights, which are then measured and exported; 0: none" },         \
        { "--augment", TEXT, &(r).augment,                                                         \
          "none, crop, light, strong, and changes: strong,rotate=30,flip=0.5" },                   \
        { "--freeze", TEXT, &(r).freeze, "leave parameters as they are: 'visual.*,logit_scale'" }, \
        { "--evaluate-every", INTEGER, &(r).evaluate_every, "steps; 0: at the end" },              \
        { "--save-every", INTEGER, &(r).save_every, "steps; 0: at the end" }

pith_augment parse_augment(const char *text);

/* What --model names: a directory, whose weights are taken, or a name or sizes, new. The words of a
 * new model are those of the file `tokenizer`, or, where that is NULL, learned from the training
 * captions. */
clip_config named_config(const char *name); /* its sizes alone */
model start_model(const char *name, const char *tokenizer, const pith_pack *pack);

/* Trains m in place and leaves it, and all of the run, in `out`. t: NULL without a teacher. */
pith_train_result train_model(model *m, const pith_pack *pack, const recipe *r,
 const stored_teacher *teacher, 
                              const char *out, bool resume, const char *record, const char *title);

/* ---- distil.c, eval.c ------------------------------------------------------------------------ */

/* A student with its teacher's words, `directory` being the teacher's; and the front slices of the
 * model in `from` as its weights. */
model start_student(const char *name, const model *teacher, const char *directory);
void inherit_from(model *m, const char *from);
struct json_t *retrieval_json(const pith_retrieval *r);

/* ---- record.c: a run's options, kept in its run.json ----------------------------------------- */

/* As JSON, for pith_train_options.record. */
char *write_record(const char *command, const char *data, const option *options);
/* parse_options of a command that trains: its one word is DATA, which is returned, and its options
 * have --out and --resume RUN. With the latter, DATA and options are those of the run, except those
 * told anew, and *out is the run. */
const char *parse_run(const option *options, const char *usage, const char *about, const char **out,
                      const char **resume, int argc, char **argv);
/* DATA as pictures of size x size, packed in the run's directory if need be. */
pith_pack *open_run_data(const char *data, int size, const char *out, bool resume);
/* A run's last words. */
void print_result(const pith_train_result *r, const char *command, const char *out);
#endif
