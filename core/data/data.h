/* data.h: from files to batches. A folder of pictures with captions, or a manifest, becomes one
 * packed, memory-mapped file; a loader draws augmented batches from it that depend on (seed, epoch,
 * index) alone.
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_DATA_H
#define PITH_DATA_H
#include "pith.h"
#include "pictures/pictures.h"
#include "text/text.h"

/* ---- packed sets ----------------------------------------------------------------------------- */

/* further splits have numbers of their own, named in the file */
enum { PITH_TRAIN = 0, PITH_VALID = 1, PITH_TEST = 2 };
typedef struct {
    int count, size;       /* pairs; side of the square pictures */
    const uint8_t *pixels; /* (count, 3, size, size) */
    const char *const *caption;
    const char *const *source; /* file or name the picture came from */
    const int *split; /* an index into split_name, which always begins train, valid, test */
    int splits;
    const char *const *split_name; /* "train", "valid", ... */
    const int *label;              /* class, or -1 */
    uint64_t hash;                 /* of the whole content */
    void *inside;
} pith_pack;
pith_pack *pith_pack_open(const char *path);
void pith_pack_close(pith_pack *p);
int pith_pack_split(const pith_pack *p, const char *name); /* -1 if there is none */

/* Writing one: a pair at a time. rgb (size, size, 3). */
typedef struct pith_packer pith_packer;
pith_packer *pith_packer_new(const char *path, int size);
bool pith_packer_add(pith_packer *p, const uint8_t *rgb, const char *caption, const char *source,
                     const char *split, int label);
bool pith_packer_finish(pith_packer *p); /* writes path.tmp, then renames; frees p */
void pith_packer_drop(pith_packer *p);   /* frees p, nothing is written */

typedef struct {
    int read, missing, unreadable, empty_caption;
    char first_bad[256];
} pith_pack_report;
/* A folder (captions.tsv, captions.jsonl, metadata.jsonl or NAME.txt beside NAME.png) or a manifest
 * (.tsv: file, caption[, split[, label]]; .jsonl: "file", "caption"[, "split", "label"]) is packed
 * to `out`. Transparent pictures are laid on white, fitted whole into the square. `valid`: share of
 * pairs without a split that go to "valid", chosen by a hash of the caption. */
/* .jsonl also takes "file_name" and "text". Bad samples are counted; no usable picture at all is an
 * error. */
bool pith_pack_folder(const char *data, const char *out, int size, double valid,
                      pith_pack_report *report);
/* DATA of the command line: a packed file is opened as it is (*report all zeros), anything else
 * packed to `out` and that opened. */
pith_pack *pith_data_open(const char *data, const char *out, int size, double valid,
                          pith_pack_report *report);
/* Coloured shapes with captions, drawn by rule: no download. Splits: train, valid, and
 * "combination" (held-out pairs of colour and shape). */
bool pith_pack_shapes(const char *out, int size, int count, uint64_t seed);

/* ---- batches --------------------------------------------------------------------------------- */

/* Host arrays of one batch of B pairs. The captions' tokens lie one after another. */
typedef struct {
    int pairs, tokens;    /* real pairs, B unless padded (B is options.batch); tokens: one of the
                             loader's sizes; rows    after offsets[B] are padding */
    pith_real *pixels;    /* (B, 3, size, size), normalised */
    int *ids, *positions; /* (tokens) */
    int *offsets;         /* (B+1) */
    int *last;            /* (B) row of each end-of-text token */
    int *caption_id;      /* (B) equal captions share the number of their first row */
    int *label;           /* (B) */
    int *index;           /* (B) place in the pack */
    int64_t sample;       /* samples drawn before this batch, over all epochs */
    int view;             /* epoch modulo the number of fixed views */
} pith_host_batch;

typedef struct {
    const pith_pack *pack;
    const pith_tokenizer *tokenizer;
    int split, batch, context;
    int size; /* side the model wants; pictures are resized when it differs from the pack's */
    double mean[3], std[3];
    pith_augment augment;
    int views; /* 0: fresh draws every epoch; K: K fixed views a sample */
    uint64_t seed;
    bool shuffle; /* by (seed, epoch); the last incomplete batch of an epoch is dropped, unless not
                     shuffled: then padded by repeating the first rows, and pairs tells how many are
                     real */
    int threads;  /* that make batches ahead; 0: made when asked for */
} pith_loader_options;
typedef struct pith_loader pith_loader;
pith_loader *pith_loader_new(const pith_loader_options *options, int64_t first_batch);
/* The next batch, valid until the next call; seconds it was waited for are added to *waited. NULL
 * after an error, or at the end if not shuffled. */
const pith_host_batch *pith_loader_next(pith_loader *l, double *waited);
void pith_loader_free(pith_loader *l);
int64_t pith_loader_batches(const pith_loader *l); /* in an epoch */
/* Token counts a batch may have: at most six, ascending, from the caption lengths of the split. */
int pith_loader_sizes(const pith_loader *l, int sizes[6]);
#endif
