/* command.h: what the pages of the program share: the commands, the options' parser, models and
 * data by the words of the command line, and embeddings of pictures and texts.
 *
 * The program keeps the library's default handler: an error prints one sentence and ends the
 * program with status 1. So whatever returns here has worked, and a page reads straight down. */
#ifndef PITH_COMMAND_H
#define PITH_COMMAND_H
#include "data/data.h"
#include "losses/losses.h"
#include "models/models.h"
#include "pith.h"
#include "train/train.h"

#define VERSION "0.1"

/* argv[0] is the command's own name; the exit status is returned. */
int command_train(int argc, char **argv);
int command_distil(int argc, char **argv);
int command_eval(int argc, char **argv);
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

/* One table serves parsing and help. `value` holds the default before and the answer after. */
typedef enum { FLAG, INTEGER, NUMBER, TEXT } option_kind; /* bool, int64_t, double, const char * */
typedef struct {
    const char *name;
    option_kind kind;
    void *value;
    const char *help;
} option;
#define END_OF_OPTIONS { NULL, FLAG, NULL, NULL }

/* `usage`: "MODEL FILES.. --out F.safetensors", `about`: what the command does, in a few lines.
 * Takes the options (--name VALUE or --name=VALUE, anywhere) out of argv and returns how many words
 * are left, in argv[1] and on: from `least` to `most`, else an error (most -1: any number). --seed
 * and --threads are every command's; --help prints and exits. */
int parse_options(const option *options, const char *usage, const char *about, int least, int most,
                  int argc, char **argv);
extern int64_t common_seed, common_threads; /* threads: all of the machine's unless told */
/* Of every plan the program makes: PITH_NOPLAN=1 and PITH_NAN=1 in the environment. */
extern pith_plan_options common_plan;
void need_option(const char *name, const char *value); /* an error when value is NULL */
/* The nearest of n names to a wrong one, or NULL when none is near. */
const char *nearest_name(const char *wrong, int n, const char *const *names);

/* ---- encode.c -------------------------------------------------------------------------------- */

/* A model directory. tokenizer: NULL if it holds none. */
typedef struct {
    clip_config config;
    pith_store *store;
    pith_tokenizer *tokenizer;
} model;
model open_model(const char *directory);
model open_model_with_tokenizer(const char *directory); /* an error if it holds no tokenizer */
void close_model(model *m);
void save_model(const model *m, const char *directory); /* config, weights, tokenizer */
double model_scale(const model *m);                     /* the multiplier of cosines */

/* All elements of a tensor, copied; the caller's to free. */
void *tensor_values(const pith_tensor *t);

/* DATA: a packed file, a folder with captions or a manifest. The last two are packed as size x size
 * pictures into `pack`, or, where that is NULL, into a temporary file that is gone when the set is
 * closed; what was bad in them is told on stderr. valid: see pith_pack_folder. */
pith_pack *open_data(const char *data, int size, double valid, const char *pack);

/* Unit rows (n, embed). Pictures are u8 (n, 3, size, size), resized where `size` is not the
 * model's. A caption's row does not depend on the others. */
void encode_pictures(const clip_config *c, pith_store *s, int n, int size, const uint8_t *pixels,
                     pith_real *rows);
void encode_texts(const clip_config *c, pith_store *s, const pith_tokenizer *t, int n,
                  const char *const *texts, pith_real *rows);
/* A PNG file as the model wants to see it: (3, image_size, image_size). */
void read_view(const clip_config *c, const char *path, uint8_t *pixels);

/* ---- measure.c ------------------------------------------------------------------------------- */

/* The pairs of one split (-1: all) and their unit rows (n, width); the k-th picture belongs to the
 * k-th caption, and pairs with equal captions share a caption_id: index: place in the pack. */
typedef struct {
    int n, width, *index, *caption_id, *label;
    pith_real *image, *text;
} pairs;
pairs encode_split(const clip_config *c, pith_store *s, const pith_tokenizer *t,
                   const pith_pack *pack, int split);
void pairs_free(pairs *p);
int split_size(const pith_pack *pack, int split); /* how many pairs; 0 if there is no such split */

pith_retrieval measure_pairs(const pairs *p);
/* A row a class: the mean of the rows of the different captions that bear its label. The caller's
 * to free. *classes: the largest label + 1, 0 where there are no labels. */
pith_real *class_rows(const clip_config *c, pith_store *s, const pith_tokenizer *t,
                      const pith_pack *pack, int *classes);

/* ---- options.c ------------------------------------------------------------------------------- */

/* Makes a directory and its parents. */
void make_directories(const char *path);
double seconds_now(void);
#endif
