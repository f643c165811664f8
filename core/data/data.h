/* data.h: from files to batches. A folder of pictures with captions, or a manifest, is packed into
 * one file that is mapped into memory. A split of it is a dataset. A loader draws augmented batches
 * from a dataset; what is in a batch depends only on the options and the number of the batch.
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_DATA_H
#define PITH_DATA_H
#include "pith.h"
#include "pictures/pictures.h"
#include "text/text.h"

/* ---- packed sets ----------------------------------------------------------------------------- */

/* the numbers of the splits that every set has; the file names further ones */
enum { PITH_TRAIN = 0, PITH_VALID = 1, PITH_TEST = 2 };
enum { PITH_MOST_LABEL = 999999 };
typedef struct {
    int count, size;       /* pairs; side of the square pictures in pixels */
    const uint8_t *pixels; /* (count, 3, size, size) */
    const char *const *caption;
    /* Captions written by a machine, beside those: pair i has synthetic[k] for synthetic_start[i]
     * <= k < synthetic_start[i+1], which may be none. */
    const char *const *synthetic;
    const int *synthetic_start; /* (count+1) */
    const char *const *source;  /* the file that the picture came from, or its name */
    const int *split; /* an index into split_name, which always begins train, valid, test */
    int splits;
    const char *const *split_name; /* "train", "valid", ... */
    const int *label;              /* class, at most PITH_MOST_LABEL, or -1 */
    uint64_t hash;                 /* of all pictures, captions and other content */
    void *inside;
} pith_pack;
pith_pack *pith_pack_open(const char *path);
void pith_pack_close(pith_pack *p);
/* Are pictures, captions, splits and labels those that the file's hash was made of? Reads all. */
bool pith_pack_check(const pith_pack *p, const char *path);
int pith_pack_split(const pith_pack *p, const char *name); /* -1 if there is none */

/* Writes a packed set, one pair at a time. rgb: (size, size, 3). */
typedef struct pith_packer pith_packer;
pith_packer *pith_packer_new(const char *path, int size);
bool pith_packer_add(pith_packer *p, const uint8_t *rgb, const char *caption, const char *source,
                     const char *split, int label);
/* One more synthetic caption of the pair that was added last. */
bool pith_packer_add_synthetic(pith_packer *p, const char *caption);
bool pith_packer_finish(pith_packer *p); /* makes the file whole; frees p */
void pith_packer_drop(pith_packer *p);   /* frees p and leaves no file */

typedef struct {
    int read, missing, unreadable, empty_caption;
    char first_bad[256];
    FILE *list; /* NULL, or where each pair that is left out is named with the reason */
} pith_pack_report;
/* The pictures and captions that `data` names, in its order; a caption may be "". A file is told as
 * it stands there: below the folder, or beside the manifest. False after an error. */
typedef struct {
    int count;
    char **file, **caption;
} pith_captions;
bool pith_captions_read(pith_captions *c, const char *data);
void pith_captions_free(pith_captions *c);
/* Packs `data` into the file `out`. data: a folder with captions.tsv, captions.jsonl,
 * metadata.jsonl or a NAME.txt beside each picture NAME.png or NAME.jpg, or a manifest (.tsv: file,
 * caption[, split[, label[, synthetic caption ...]]]; .jsonl: objects with "file" or "file_name",
 * "caption" or "text", and perhaps "split", "label", "synthetic": a list of texts). A split is a
 * letter and at most 30 letters, digits, - and _; a label is a whole number from -1 to 999,999.
 * Transparent pictures are laid on white, and every picture is fitted whole into a white square.
 * Pairs that name no split go to "train", but for a share `valid`, chosen by a hash of the caption,
 * which goes to "valid". Pairs that cannot be used are counted in *report; it is an error if none
 * can be used. */
bool pith_pack_folder(const char *data, const char *out, int size, double valid,
                      pith_pack_report *report);
/* How many pairs were left out; `text` tells of each reason how many. */
int pith_pack_left_out(const pith_pack_report *report, char text[80]);
/* Opens a packed file as it is, with *report all zeros; anything else is first packed into `out`.
 */
pith_pack *pith_data_open(const char *data, const char *out, int size, double valid,
                          pith_pack_report *report);
/* Packs a set of coloured shapes with captions, drawn by rule. Splits: train, valid, and
 * "combination", whose pairs of colour and shape occur in no other split. Training pairs have three
 * synthetic captions, worded as no pair's own caption is. */
bool pith_pack_shapes(const char *out, int size, int count, uint64_t seed);
/* Packs couples of such pictures: pairs 2k and 2k+1 are the same scene of one object but for its
 * size, colour, shape or ground, and lie in the same split: train, valid or test. count: even. */
bool pith_pack_twins(const char *out, int size, int count, uint64_t seed);

/* Writes the pairs of a pack for which keep[i] holds into another, with all that belongs to them.
 */
bool pith_pack_keep(const pith_pack *p, const bool *keep, const char *out);
/* A pair made from a pack's: picture, source, split and label of one, the captions, synthetic ones
 * too, of another or the same. copy: 0, or what tells a copy: "#2" is put behind the source. split:
 * NULL, or the name of another. unlabelled: its label becomes -1. */
typedef struct {
    int pair, caption, copy;
    const char *split;
    bool unlabelled;
} pith_chosen;
bool pith_pack_choose(const pith_pack *p, int n, const pith_chosen *list, const char *out);
/* Puts numbers of pairs into a random order. Each pair has a random number of its own, keyed by
 * name and seed: of fewer pairs the order is the same, and the first m of them are a random sample
 * that lies in that of the first n, n > m. False after an error. */
bool pith_random_order(int n, int *pairs, const char *name, uint64_t seed);

/* ---- clusters -------------------------------------------------------------------------------- */

/* One cluster for each pair of a whole set, as pith data cluster finds them. */
typedef struct {
    int count, k, width;    /* pairs, clusters, width of a centroid */
    const int *cluster;     /* (count) of the pair at each place of the set, in [0, k) */
    const float *centroids; /* (k, width), all finite */
    uint64_t hash;          /* of clusters and centroids: tells one clustering from another */
} pith_clusters;
/* data_hash: that of the pack. The model is noted, for people. */
bool pith_clusters_write(const char *path, const pith_clusters *c, uint64_t data_hash,
                         uint64_t model_hash);
/* A file that was made of other data is an error that names both. All numbers are checked, but for
 * `count`, which a forged file may lie about: who looks up a place compares it with the set's. */
pith_clusters *pith_clusters_open(const char *path, uint64_t data_hash);
void pith_clusters_close(pith_clusters *c);

/* ---- where samples come from ----------------------------------------------------------------- */

/* All of a sample but its picture. */
typedef struct {
    const char *caption; /* lives as long as the dataset; NULL: the sample has no such caption */
    int label;           /* class, or -1 */
    int place;           /* its number in the whole set; random augmentation depends on it */
} pith_record;

/* One split of a set of captioned pictures, numbered 0 .. count-1. Loaders and training know a set
 * only by this struct. A pack is one kind of set; to add another kind, fill in the struct. The
 * functions may be called from several threads at once. */
typedef struct pith_dataset pith_dataset;
struct pith_dataset {
    int count, size;   /* samples; side of the square pictures that `decode` writes */
    const char *split; /* its name, for messages and records */
    uint64_t hash;     /* of the whole content: tells one set of data from another */
    void *context;     /* whatever the functions below need */
    /* Sample i, with its caption number c: 0 its own, 1, 2, ... synthetic ones. */
    pith_record (*record)(const pith_dataset *s, int i, int c);
    /* Writes the picture of sample i, (3, size, size). `view` is the number of the epoch, or of the
     * fixed view, that the picture is for; a dataset with several pictures of a sample may choose
     * by it. If the picture cannot be decoded it returns false with the reason in `why`, and raises
     * no error. */
    bool (*decode)(const pith_dataset *s, int i, int view, uint8_t *pixels, char why[256]);
    void (*close)(pith_dataset *s); /* frees s */
};
void pith_dataset_close(pith_dataset *s); /* NULL is allowed */
/* How many captions the sample with the most of them has; 1: none has a synthetic one. */
int pith_dataset_captions(const pith_dataset *s);

/* A split of a pack, with pictures of side `size`; if the pack has another size they are resized
 * here, once. The pack must outlive the dataset. */
pith_dataset *pith_pack_dataset(const pith_pack *pack, int split, int size);

/* ---- batches --------------------------------------------------------------------------------- */

/* Which captions a batch has: of each sample its own; or, with a given probability, one of its
 * synthetic ones instead; or both, the own captions of all samples first. Which synthetic caption
 * is random, each as likely as the others; a sample that has none keeps its own. */
typedef enum { PITH_OWN_CAPTIONS, PITH_REPLACE, PITH_ADD } pith_synthetic;

/* Host arrays of one batch of B pairs and T captions: T is 2 B with PITH_ADD, else B. The captions'
 * tokens lie one after another. */
typedef struct {
    int rows, captions; /* B, T */
    int pairs;          /* how many rows are real pairs: fewer than B if the batch is padded */
    int tokens;         /* tokens of all captions with padding, one of pith_loader_sizes; ids after
                           offsets[T] are padding */
    int size;           /* side of the pictures */
    /* (B, 3, size, size), normalised: the pictures, and the same pictures in a second random view.
     * NULL unless they are wanted: see pith_loader_want */
    pith_real *pixels, *second_pixels;
    int *ids, *positions;      /* (tokens) the captions; the place of each token in its caption */
    int *offsets;              /* (T+1) caption k has the tokens offsets[k] .. offsets[k+1]-1 */
    int *last;                 /* (T) where each caption's end-of-text token is among the tokens */
    int *drawn;                /* (T) each caption's number c among those of its sample */
    int *caption_id;           /* (B) the first row with the same caption */
    int *synthetic_caption_id; /* (B) the same of the second captions; NULL without PITH_ADD */
    int *label;                /* (B) */
    int *index;                /* (B) the sample's number in the dataset; -1 in rows of padding */
    int64_t sample;            /* how many samples were drawn before this batch, over all epochs */
    int epoch;
    int view; /* epoch modulo the number of fixed views */
} pith_host_batch;

typedef struct {
    const pith_dataset *dataset; /* must outlive the loader */
    const pith_tokenizer *tokenizer;
    int batch, context;
    double mean[3], std[3];
    pith_augment augment;
    pith_synthetic synthetic;
    double replace; /* the probability of PITH_REPLACE */
    int views; /* 0: new random views in every epoch; K: K fixed views of each sample in turn */
    uint64_t seed;
    /* true: samples in random order, epoch after epoch without end; those left over at the end of
     * an epoch are dropped. false: in order and once; the last batch is padded by repeating its
     * first rows */
    bool shuffle;
    /* samples 2k and 2k+1 are twins, which stay together, in this order: in rows 2r and 2r+1 of a
     * batch. The batch and the samples must be even in number */
    bool twins;
    int threads; /* that make batches ahead of time; 0: a batch is made when it is asked for */
} pith_loader_options;
typedef struct pith_loader pith_loader;
pith_loader *pith_loader_new(const pith_loader_options *options, int64_t first_batch);
/* The next batch, valid until the next call. NULL after an error, as when a picture cannot be
 * decoded, and at the end of what is not shuffled. The seconds that the call had to wait are added
 * to *waited, unless that is NULL. */
const pith_host_batch *pith_loader_next(pith_loader *l, double *waited);
void pith_loader_free(pith_loader *l);
int64_t pith_loader_batches(const pith_loader *l); /* batches in an epoch */
/* The numbers of tokens that batches are padded to, ascending; returns how many there are. They are
 * chosen by the caption lengths of the split. */
enum { PITH_MOST_SIZES = 6 };
int pith_loader_sizes(const pith_loader *l, int sizes[PITH_MOST_SIZES]);
/* Tokens of the batch that comes next; 0 at the end. */
int pith_loader_tokens(const pith_loader *l);
/* Which pictures the batches to come shall have. A new loader gives pixels and no second_pixels.
 * What is not wanted is neither decoded nor augmented. */
void pith_loader_want(pith_loader *l, bool pixels, bool second_pixels);

/* ---- feeding by name ------------------------------------------------------------------------- */

/* The array of a batch for the input called `name`: "pixels", "second_pixels", "ids", "positions",
 * "offsets", "last", "caption_id", "synthetic_caption_id", "label", "index", or "epoch" (a scalar).
 */
typedef struct {
    const void *data; /* NULL: the batch has no such array */
    pith_dtype dtype;
    size_t count; /* elements */
} pith_field;
pith_field pith_batch_field(const pith_host_batch *b, const char *name);
/* Feeds every input that the plan reads and the batch has an array for. If type or size of the two
 * differ, that is an error at the line where the input was made. */
bool pith_feed_batch(pith_plan *p, const pith_host_batch *b);
#endif
