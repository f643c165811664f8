/* data.h: from files to batches. A folder of pictures with captions, or a manifest, becomes one packed, memory-mapped
 * file; a loader draws augmented batches from it that depend on (seed, epoch, index) alone.
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_DATA_H
#define PITH_DATA_H
#include "pith.h"

/* ---- files that are whole or not there ---------------------------------------------------------------------------- */

/* `path` is written as path.tmp between the two calls, then synced and renamed; where `good` is false (errno says why) or
 * anything fails, it is removed. The ints are 0 or an errno, and nothing is raised: the caller may have to tidy up first. */
FILE *pith_begin_file(const char *path);                                    /* NULL and errno */
int pith_end_file(FILE *f, const char *path, bool good);                    /* f may be NULL */
int pith_put_file(const char *path, const void *data, size_t size);        /* both; pith_write_file raises, too */
int pith_sync(const char *path);                                            /* fsync of a file or directory */

/* ---- safetensors files, mapped into memory ------------------------------------------------------------------------ */

/* Every entry was checked: it lies inside the file, overlaps no other, and its shape fits its bytes. */
typedef struct { const char *name, *type; int ndim; int64_t dim[PITH_MAX_DIMS]; const uint8_t *data; size_t bytes; } pith_entry;
typedef struct pith_file pith_file;
pith_file *pith_file_open(const char *path);
void pith_file_close(pith_file *f);
int pith_file_count(const pith_file *f);
const pith_entry *pith_file_at(const pith_file *f, int i);                  /* in order of place */
const pith_entry *pith_file_find(const pith_file *f, const char *name);    /* NULL if there is none */
const char *pith_file_meta(const pith_file *f, const char *key);           /* of __metadata__; NULL if there is none */

/* ---- pictures ------------------------------------------------------------------------------------------------- */

typedef struct { int width, height; uint8_t *rgba; } pith_picture;     /* 4 bytes a pixel, rows from the top */

bool pith_picture_read(pith_picture *p, const char *path);              /* PNG of any kind */
bool pith_picture_write(const pith_picture *p, const char *path);       /* PNG, RGB if nothing is transparent */
void pith_picture_free(pith_picture *p);
/* As PIL's convert('RGB'): alpha is dropped. Then resized as PIL's antialiased bicubic. rgb: (height, width, 3) */
bool pith_resize(const uint8_t *rgb, int width, int height, uint8_t *out, int out_width, int out_height);
/* CLIP's evaluation view: RGB, shortest side to `size`, centre crop. out: (size, size, 3) */
bool pith_preprocess(const pith_picture *p, int size, uint8_t *out);

/* ---- tokenizer -------------------------------------------------------------------------------------------------- */

typedef struct pith_tokenizer pith_tokenizer;
pith_tokenizer *pith_tokenizer_read(const char *path);                  /* CLIP's merges file, .txt or .txt.gz */
/* Byte-level BPE learned from captions; ties go to the pair met first. Fewer merges where no pair occurs twice any more. */
pith_tokenizer *pith_tokenizer_train(int n, const char *const *captions, int merges);
bool pith_tokenizer_write(const pith_tokenizer *t, const char *path);   /* the same format */
void pith_tokenizer_free(pith_tokenizer *t);
int pith_tokenizer_size(const pith_tokenizer *t);                       /* 512 + merges + 2; start and end are the last two */
/* Ids with start and end; cut to `context`, whose last is then the end. Returns how many, 0 after an error. */
int pith_encode(const pith_tokenizer *t, const char *text, int context, int *ids);

/* ---- packed sets ----------------------------------------------------------------------------------------------- */

enum { PITH_TRAIN = 0, PITH_VALID = 1, PITH_TEST = 2 };     /* further splits have numbers of their own, named in the file */
typedef struct {
    int count, size;                    /* pairs; side of the square pictures */
    const uint8_t *pixels;              /* (count, 3, size, size) */
    const char *const *caption;
    const char *const *source;          /* file or name the picture came from */
    const int *split;                   /* an index into split_name, which always begins train, valid, test */
    int splits;
    const char *const *split_name;      /* "train", "valid", ... */
    const int *label;                   /* class, or -1 */
    uint64_t hash;                      /* of the whole content */
    void *inside;
} pith_pack;
pith_pack *pith_pack_open(const char *path);
void pith_pack_close(pith_pack *p);
int pith_pack_split(const pith_pack *p, const char *name);             /* -1 if there is none */

/* Writing one: a pair at a time. rgb (size, size, 3). */
typedef struct pith_packer pith_packer;
pith_packer *pith_packer_new(const char *path, int size);
bool pith_packer_add(pith_packer *p, const uint8_t *rgb, const char *caption, const char *source, const char *split, int label);
bool pith_packer_finish(pith_packer *p);                                /* writes path.tmp, then renames; frees p */
void pith_packer_drop(pith_packer *p);                                  /* frees p, nothing is written */

typedef struct { int read, missing, unreadable, empty_caption; char first_bad[256]; } pith_pack_report;
/* A folder (captions.tsv, captions.jsonl, metadata.jsonl or NAME.txt beside NAME.png) or a manifest
 * (.tsv: file, caption[, split[, label]]; .jsonl: "file", "caption"[, "split", "label"]) is packed to `out`.
 * Transparent pictures are laid on white, fitted whole into the square. `valid`: share of pairs without a split that go
 * to "valid", chosen by a hash of the caption. */
/* .jsonl also takes "file_name" and "text". Bad samples are counted; no usable picture at all is an error. */
bool pith_pack_folder(const char *data, const char *out, int size, double valid, pith_pack_report *report);
/* DATA of the command line: a packed file is opened as it is (*report all zeros), anything else packed to `out` and
 * that opened. */
pith_pack *pith_data_open(const char *data, const char *out, int size, double valid, pith_pack_report *report);
/* Coloured shapes with captions, drawn by rule: no download. Splits: train, valid, and "combination" (held-out pairs of
 * colour and shape). */
bool pith_pack_shapes(const char *out, int size, int count, uint64_t seed);

/* ---- batches ---------------------------------------------------------------------------------------------------- */

/* Strengths of augmentation; all zeros: the plain evaluation view. */
typedef struct {
    double crop;                        /* random resized crop: least share of the area; 0 or 1: none */
    double aspect;                      /* its aspect ratio in [1/(1+aspect), 1+aspect] */
    double flip;                        /* probability of a mirror image */
    double shift, rotate, zoom;         /* share of the side; degrees; scale in [1/(1+zoom), 1+zoom] */
    double brightness, contrast, saturation, channel;   /* half widths of factors about 1; channel: gain of each colour */
    double blur, noise;                 /* largest sigma in pixels; largest standard deviation in [0, 1] */
} pith_augment;

/* Host arrays of one batch of B pairs. The captions' tokens lie one after another. */
typedef struct {
    int pairs, tokens; /* real pairs, B unless padded (B is options.batch); tokens: one of the loader's sizes; rows
                          after offsets[B] are padding */
    pith_real *pixels;                  /* (B, 3, size, size), normalised */
    int *ids, *positions;               /* (tokens) */
    int *offsets;                       /* (B+1) */
    int *last;                          /* (B) row of each end-of-text token */
    int *group;                         /* (B) equal captions share the number of their first row */
    int *label;                         /* (B) */
    int *index;                         /* (B) place in the pack */
    int64_t sample;                     /* samples drawn before this batch, over all epochs */
    int view;                           /* epoch modulo the number of fixed views */
} pith_minibatch;

typedef struct {
    const pith_pack *pack;
    const pith_tokenizer *tokenizer;
    int split, batch, context;
    int size;                           /* side the model wants; pictures are resized when it differs from the pack's */
    double mean[3], std[3];
    pith_augment augment;
    int views;                          /* 0: fresh draws every epoch; K: K fixed views a sample */
    uint64_t seed;
    bool shuffle; /* by (seed, epoch); the last incomplete batch of an epoch is dropped, unless not shuffled: then
                     padded by repeating the first rows, and pairs tells how many are real */
    int threads;                        /* that make batches ahead; 0: made when asked for */
} pith_loader_options;
typedef struct pith_loader pith_loader;
pith_loader *pith_loader_new(const pith_loader_options *options, int64_t first_batch);
/* The next batch, valid until the next call; seconds it was waited for are added to *waited. NULL after an error, or at
 * the end if not shuffled. */
const pith_minibatch *pith_loader_next(pith_loader *l, double *waited);
void pith_loader_free(pith_loader *l);
int64_t pith_loader_batches(const pith_loader *l);          /* in an epoch */
/* Token counts a batch may have: at most six, ascending, from the caption lengths of the split. */
int pith_loader_sizes(const pith_loader *l, int sizes[6]);
#endif
