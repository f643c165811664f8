/* command.h: what the pages of the program share: the commands, the parser of options, models and
 * data as they are named on the command line, and embeddings of pictures and texts.
 *
 * The program uses the library's default error handler, which prints the error and ends the program
 * with status 1. So nearly no call is checked here: a function that returns has succeeded. */
#ifndef PITH_COMMAND_H
#define PITH_COMMAND_H
#include "data/data.h"
#include "losses/losses.h"
#include "models/models.h"
#include "pith.h"
#include "train/train.h"

#define VERSION "0.1"

/* argv[0] is the name of the command. They return the program's exit status. */
int command_train(int argc, char **argv);
int command_distil(int argc, char **argv);
int command_prune(int argc, char **argv);
int command_eval(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_demo(int argc, char **argv);
int command_embed(int argc, char **argv);
int command_search(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_graph(int argc, char **argv);
int command_losses(int argc, char **argv);
int command_check(int argc, char **argv);
int command_data(int argc, char **argv);
int command_tokenize(int argc, char **argv);
int command_preprocess(int argc, char **argv);
int command_run(int argc, char **argv);

/* ---- options.c ------------------------------------------------------------------------------- */

/* An option of a command. *value is the default before parsing, and what was given after it. */
typedef enum { FLAG, INTEGER, NUMBER, TEXT, PATH } option_kind; /* bool, int64_t, double; text */
typedef struct {
    const char *name;
    option_kind kind;
    void *value;
    const char *help;
} option;
#define END_OF_OPTIONS { NULL, FLAG, NULL, NULL }

/* Parses the options in argv, --name VALUE or --name=VALUE, and returns the number of the other
 * arguments, which are then argv[1], argv[2], ... It is an error if these are fewer than `least` or
 * more than `most` (-1: no limit). Every command also has --seed, --threads, and --help, which
 * prints the table of options and ends the program. usage: the arguments, as in "MODEL FILES..
 * --out F.safetensors"; about: a few lines on what the command does. */
int parse_options(const option *options, const char *usage, const char *about, int least, int most,
                  int argc, char **argv);
bool was_given(const char *name); /* is the option on the command line? */
extern int64_t common_seed;
extern int64_t common_threads; /* as many as the machine has, unless --threads says otherwise */
pith_store *new_store(void);   /* on the device that --device names */
/* The options of every plan that the program makes, set by PITH_NOPLAN=1 and PITH_NAN=1 in the
 * environment. */
extern const char *common_precision; /* "f32" or "bf16" */
/* `run` was begun with it, NULL for f32: it goes on so, or was given another one. */
void keep_precision(const char *run, const char *then);
extern pith_plan_options common_plan;
/* An option of commands that read pictures: larger ones are refused. */
extern double common_megapixels;
#define PICTURE_OPTIONS                                                                            \
    { "--megapixels", NUMBER, &common_megapixels, "larger pictures are refused, in millions" }
/* An error if the number of an option is outside of what it may be. */
void check_number(const option *o);
void need_option(const char *name, const char *value); /* an error when value is NULL */
/* Which of n names was probably meant by a wrong one; NULL if none is similar. */
const char *nearest_name(const char *wrong, int n, const char *const *names);

/* ---- encode.c -------------------------------------------------------------------------------- */

/* A model, loaded from a directory. tokenizer: NULL if the directory has none. */
typedef struct {
    clip_config config;
    pith_store *store;
    pith_tokenizer *tokenizer;
} model;
clip_config named_config(const char *name); /* of a directory, or of a name or sizes */
void check_model(const char *directory);    /* an error where there is none */
model open_model(const char *directory);
model open_model_with_tokenizer(const char *directory); /* an error if there is no tokenizer */
void close_model(model *m);
void save_model(const model *m, const char *directory); /* config, weights, tokenizer */
double model_scale(const model *m);                     /* what its cosines are multiplied by */

uint64_t model_hash(const pith_store *s); /* of all weights: tells models apart */

/* A copy of all elements of a tensor; the caller frees it. */
void *tensor_values(const pith_tensor *t);

/* Opens DATA, which is a packed file, a folder with captions, or a manifest. The last two are
 * packed as size x size pictures into the file `pack`, or, if that is NULL, into a temporary file
 * that vanishes when the set is closed. Pairs that could not be used are counted on stderr. valid:
 * see pith_pack_folder. */
pith_pack *open_data(const char *data, int size, double valid, const char *pack);

/* Computes unit rows (n, embed). Pictures are u8 (.., 3, size, size), and are resized if the model
 * needs another size; index: the numbers of the n that are wanted, NULL: the first n. The row of a
 * caption does not depend on the other captions. */
void encode_pictures(const clip_config *c, pith_store *s, int n, const int *index, int size,
                     const uint8_t *pixels, pith_real *rows);
void encode_texts(const clip_config *c, pith_store *s, const pith_tokenizer *t, int n,
                  const char *const *texts, pith_real *rows);
/* A picture as the model sees it: (3, image_size, image_size). */
void make_view(const clip_config *c, const pith_picture *p, uint8_t *pixels);

/* ---- measure.c ------------------------------------------------------------------------------- */

/* The pairs of one split (-1: of all) and their unit rows (n, width). Picture k belongs to caption
 * k, and pairs with equal captions have the same caption_id. index: the pair's number in the pack.
 */
typedef struct {
    int n, width, *index, *caption_id, *label;
    pith_real *image, *text;
} pairs;
pairs encode_split(const clip_config *c, pith_store *s, const pith_tokenizer *t,
                   const pith_pack *pack, int split);
void pairs_free(pairs *p);
/* How many pairs a split has; 0 if there is no such split. */
int split_size(const pith_pack *pack, int split);

pith_retrieval measure_pairs(const pairs *p);
/* A unit row for each class: the direction of the mean of all different captions with that label.
 * The caller frees the rows. *classes: the largest label + 1, 0 if there are no labels. */
pith_real *class_rows(const clip_config *c, pith_store *s, const pith_tokenizer *t,
                      const pith_pack *pack, int *classes);

/* ---- chart.c --------------------------------------------------------------------------------- */

/* The parameters that pruning counts, of both towers: see clip_prunable. */
double prunable(const clip_config *c);
/* An error if a model cannot have been cut out of another. */
void check_part_of(const clip_config *c, const clip_config *of);
/* What each layer of a model kept of the one that it was cut out of. */
void chart(FILE *f, const clip_config *c, const clip_config *of);

/* ---- common.c -------------------------------------------------------------------------------- */

/* For a file that a command is going to write: an error if its folder is not there, or if there is
 * something already that has no `begins` at byte `at`, so that nobody's photo is replaced. */
void check_output(const char *path, int at, const char *begins);
/* The same for a packed file of pictures or clusters, and for one with figures. */
void check_pack(const char *path, const char *kind);
void check_figures(const char *path);
/* An error if what is to be written is the same file as another, whose role is told; `other` may be
 * NULL. */
void check_differs(const char *out, const char *other, const char *role);
/* Memory, all zeros, which the caller frees. */
void *room(size_t bytes);
char *copy_of(const char *text); /* which the caller frees; NULL of NULL */
bool is_directory(const char *name);
/* Makes a directory and its parents. */
void make_directories(const char *path);
/* For pith_on_error, where an error is looked at and not told at once. */
void keep_quiet(const char *message, void *context);
/* A JSON file; flags: jansson's. The caller lets go of it. */
struct json_t *read_json(const char *path, size_t flags);
/* Figures, with six digits. */
void write_json(const char *path, const struct json_t *root);
/* A text of somebody else's for the terminal, without what would steer it; one of the latest four.
 */
const char *plain(const char *text);
#endif
