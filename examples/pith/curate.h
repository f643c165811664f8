/* curate.h: what pith data balance, cluster, filter, sample and split share: commands that write a
 * part of a set, or what a model finds in it; pith eval looks at rows of pictures, too. */
#ifndef PITH_CURATE_H
#define PITH_CURATE_H
#include "command.h"

typedef struct {
    const char *model, *cross_fit, *out, *truth, *json, *apart, *as_is;
    double beta, remove, top, share, shuffle, cosine, test, valid;
    int64_t shards, k, iterations, count, half, repeat, every;
    bool spherical, unlabelled;
} curation;
void data_balance(const char *data, const curation *c);
void data_cluster(const char *data, const curation *c);
void data_filter(const char *data, const curation *c);
void data_sample(const char *data, const curation *c);
void data_split(const char *data, const curation *c);

/* ---- curate.c -------------------------------------------------------------------------------- */

/* The numbers of the pairs of the training split, ascending, and how many: an error if there are
 * none. The caller frees them. */
int *training_pairs(const pith_pack *pack, const char *data, int *n);
/* Half 2, of which --cross-fit and --half speak? By a hash of the caption, so that equal captions
 * lie in one half. */
bool is_second_half(const char *caption);
/* Unit rows of the n pictures in `index` (NULL: of the first n). An error if one is no number. */
pith_real *picture_rows(const model *m, const char *directory, const pith_pack *pack, int n,
                        const int *index);
/* The name of a file beside OUT.pack: OUT and the ending. */
void name_beside(char path[4096], const char *out, const char *ending);
/* A page or table that is written into memory: open_memstream, and then the file. */
typedef struct {
    FILE *f;
    char *text;
    size_t size;
} sheet;
void sheet_open(sheet *s);
void sheet_write(sheet *s, const char *path);
/* A line's column: without tabs and what else would steer a terminal. */
void put_column(FILE *f, const char *text);

/* ---- truth.c --------------------------------------------------------------------------------- */

/* Of each of n pairs of a pack: is its caption that of the pair with its source in `original`,
 * whose name is `path`? An error where a source is not there. */
void find_truth(const pith_pack *pack, int n, const int *index, const pith_pack *original,
                const char *path, bool *right);

/* ---- sheets.c -------------------------------------------------------------------------------- */

/* Groups of two and more, the largest first; of each the numbers of its pairs in the pack, the kept
 * one first and then those farthest from the centroid. */
typedef struct {
    int first, count;
} group;
typedef struct {
    int n, groups;
    group *group;
    int *pair;        /* of all groups, one after another */
    double *distance; /* of each entry of `pair`, to the centroid */
} merged;
/* A page of contact sheets, which shows a person what was merged. `summary`: a sentence. */
void write_sheets(const char *path, const pith_pack *pack, const merged *m, const char *summary);
#endif
