/* parts.h: what the pages of core/data share among themselves. Nobody else includes it. */
#ifndef PITH_DATA_PARTS_H
#define PITH_DATA_PARTS_H
#include <pthread.h>
#include <stdlib.h>
#include "core.h"
#include "data.h"
#include "files/files.h"

/* pack.c: a pack's hash, begun with PITH_HASH, goes on over each of its pairs, planes being the
 * picture channel by channel. */
uint64_t pith_hash_pair(uint64_t h, const uint8_t *planes, size_t bytes, const char *caption,
                        const char *source, const char *split, int label);
/* And, after each pair, over each of its synthetic captions. */
uint64_t pith_hash_synthetic(uint64_t h, const char *caption);

/* pack_write.c: makes pairs on all threads and writes them in the order of their numbers. A maker
 * fills in pair i; memory for rgb is already there. */
typedef struct {
    enum { PITH_GOOD, PITH_MISSING, PITH_UNREADABLE, PITH_NO_CAPTION, PITH_NO_ROOM } state;
    uint8_t *rgb;
    const char *caption, *source, *split;
    const char *const *synthetic; /* ended by NULL; or NULL: there are none */
    int label;
    char text[128], name[32], why[256]; /* memory that a maker may use for its strings */
    char words[3][128];
    const char *list[4];
} pith_pair;
typedef void pith_maker(const void *context, int i, pith_pair *s);
bool pith_pack_all(pith_packer *p, int size, int count, pith_maker *make, const void *context,
                   pith_pack_report *report);

/* loader_open.c fills a loader, loader.c runs it. */
typedef struct {
    pith_host_batch batch;
    int64_t number;             /* number of the batch that is ready here; -1: none is */
    bool pixels, second_pixels; /* which pictures it has */
    /* memory for its pictures, NULL until they are wanted */
    pith_real *pixel_memory, *second_memory;
    uint8_t *picture; /* one picture, as it was decoded */
    float *work;
    int *sample;       /* (B) the sample in each row, padding rows too */
    int *entry;        /* (T) which of the loader's captions each caption is */
    int *first, slots; /* hash table with `slots` places: the first row that has a caption, -1 in
                          empty places */
    char why[320];     /* why the batch could not be made; "" if it was */
} pith_prepared_batch;

struct pith_loader {
    pith_loader_options o;
    int count; /* samples of the dataset */
    /* The captions that may be drawn, of one sample after another; first (count+1): which is each
     * sample's own. ids: their tokens, start: where each begins among them; text: equal captions
     * have one number. */
    int *first, *ids, *text;
    int64_t *start;
    bool pixels, second_pixels; /* wanted */
    int sizes[PITH_MOST_SIZES], n_sizes;
    /* numbers of batches: how many make an epoch, the next to be made, the one that the caller
     * holds, and the first that does not exist */
    int64_t per_epoch, made, current, limit;
    pith_prepared_batch *ring;
    int ring_size, running;
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t room, ready;
    bool stop;
};
/* the sample in a row of batch `number` */
int pith_loader_sample(const pith_loader *l, int64_t number, int row, uint64_t key);
/* Which of its captions a sample has in an epoch, as its first and as its second. */
int pith_loader_drawn(const pith_loader *l, int sample, int64_t epoch, bool second);
/* how many tokens batch `number` has, without its padding */
int64_t pith_loader_count(const pith_loader *l, int64_t number);
#endif
