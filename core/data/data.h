/* data.h: from files to batches. A folder of pictures with captions, or a manifest, becomes one
 * packed, memory-mapped file; a split of it is a dataset; a loader draws augmented batches from a
 * dataset that depend on (seed, epoch, index) alone.
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

/* ---- where samples come from ----------------------------------------------------------------- */

/* What is known of a sample without its picture. */
typedef struct {
    const char *caption; /* lives as long as the dataset; NULL: the sample has no such caption */
    int label;           /* class, or -1 */
    int place;           /* where it lies in the whole set: its random draws are keyed by it */
} pith_record;

/* One split of some set of captioned pictures, numbered 0 .. count-1. This is all that loaders and
 * training know of a set; a pack is one kind, and another kind fills in this struct. The functions
 * may be called from several threads at once. */
typedef struct pith_dataset pith_dataset;
struct pith_dataset {
    int count, size;   /* samples; side of the square pictures that `decode` gives */
    const char *split; /* its name, for messages and records */
    uint64_t hash;     /* of the whole content: other data are told by it */
    void *context;     /* the kind's own */
    /* Sample i with its caption c = 0, 1, ... */
    pith_record (*record)(const pith_dataset *s, int i, int c);
    /* Writes the picture of sample i, (3, size, size). `view` is the number of the epoch, or of the
     * fixed view, for which it is wanted: a dataset that keeps several pictures of a sample may go
     * by it. Returns false with the reason in `why`, and tells nobody else. */
    bool (*decode)(const pith_dataset *s, int i, int view, uint8_t *pixels, char why[256]);
    void (*close)(pith_dataset *s); /* frees s */
};
void pith_dataset_close(pith_dataset *s); /* NULL is allowed */

/* A split of a pack, which must outlive it, as pictures of side `size`; where that is not the
 * pack's own they are resized once, here. */
pith_dataset *pith_pack_dataset(const pith_pack *pack, int split, int size);

/* ---- batches --------------------------------------------------------------------------------- */

/* Host arrays of one batch of B pairs. The captions' tokens lie one after another. */
typedef struct {
    int rows, pairs; /* B; real pairs, B unless the batch is padded */
    int tokens;      /* one of the loader's sizes; rows of ids after offsets[B] are padding */
    int size;        /* side of the pictures */
    /* (B, 3, size, size), normalised: the pictures, and the same ones in another random view; NULL
     * unless wanted (pith_loader_want) */
    pith_real *pixels, *second_pixels;
    int *ids, *positions; /* (tokens) */
    int *offsets;         /* (B+1) */
    int *last;            /* (B) row of each end-of-text token */
    int *caption_id;      /* (B) equal captions share the number of their first row */
    int *label;           /* (B) */
    int *index;           /* (B) the sample's number in the dataset, -1 in a row of padding */
    int64_t sample;       /* samples drawn before this batch, over all epochs */
    int epoch;
    int view; /* epoch modulo the number of fixed views */
} pith_host_batch;

typedef struct {
    const pith_dataset *dataset; /* must outlive the loader */
    const pith_tokenizer *tokenizer;
    int batch, context;
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
/* The next batch, valid until the next call; seconds it was waited for are added to *waited, which
 * may be NULL. NULL after an error, as of a picture that cannot be decoded, or at the end if not
 * shuffled. */
const pith_host_batch *pith_loader_next(pith_loader *l, double *waited);
void pith_loader_free(pith_loader *l);
int64_t pith_loader_batches(const pith_loader *l); /* in an epoch */
/* Token counts a batch may have: at most six, ascending, from the caption lengths of the split. */
int pith_loader_sizes(const pith_loader *l, int sizes[6]);
int pith_loader_tokens(const pith_loader *l); /* of the batch that comes next; 0 at the end */
/* Which pictures the batches to come have; at first, pixels alone. What is not wanted is neither
 * decoded nor augmented. */
void pith_loader_want(pith_loader *l, bool pixels, bool second_pixels);

/* ---- feeding by name ------------------------------------------------------------------------- */

/* The array that a batch has for an input of this name: "pixels", "second_pixels", "ids",
 * "positions", "offsets", "last", "caption_id", "label", "index", "epoch" (a scalar). */
typedef struct {
    const void *data; /* NULL: it has none */
    pith_dtype dtype;
    size_t count; /* elements */
} pith_field;
pith_field pith_batch_field(const pith_host_batch *b, const char *name);
/* Feeds every input that the plan reads and the batch has an array for. An input of another type or
 * size than that array is an error, told with the input's place. */
bool pith_feed_batch(pith_plan *p, const pith_host_batch *b);
#endif
