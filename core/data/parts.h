/* parts.h: what the pages of core/data share among themselves. Nobody else includes it. */
#ifndef PITH_DATA_PARTS_H
#define PITH_DATA_PARTS_H
#include <pthread.h>
#include <stdlib.h>
#include "core.h"
#include "data.h"
#include "files/files.h"

/* pack_write.c: pairs made by all threads, written in the order of their numbers. A maker fills *s;
 * rgb is there. */
typedef struct {
    enum { PITH_GOOD, PITH_MISSING, PITH_UNREADABLE, PITH_NO_CAPTION } state;
    uint8_t *rgb;
    const char *caption, *source, *split;
    int label;
    char text[128], name[32], why[256]; /* room for what a maker writes itself */
} pith_pair;
typedef void pith_maker(const void *context, int i, pith_pair *s);
bool pith_pack_all(pith_packer *p, int size, int count, pith_maker *make, const void *context,
                   pith_pack_report *report);

/* loader_open.c fills a loader, loader.c runs it. */
typedef struct {
    pith_host_batch batch;
    int64_t number;                /* of the batch that is ready here, -1 while none is */
    bool pixels, second_pixels;    /* which pictures it was made with */
    pith_real *first_view, *other; /* memory for them, NULL until they are wanted */
    uint8_t *picture;              /* one, as it was decoded */
    float *work;
    int *sample;       /* of each row, padding too */
    int *first, slots; /* caption number -> first row, for groups: open addressing */
    char why[320];     /* it could not be made; "" if it could */
} pith_seat;

struct pith_loader {
    pith_loader_options o;
    int count;                  /* samples of the dataset */
    int *ids, *caption;         /* all tokens; the number of each sample's caption */
    int64_t *start;             /* (count+1) into ids */
    bool pixels, second_pixels; /* wanted */
    int sizes[6], n_sizes;
    /* batches: the next to make, the one the caller holds, the end */
    int64_t per_epoch, made, given, limit;
    pith_seat *ring;
    int places, running;
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t room, ready;
    bool stop;
};
/* which sample a row holds */
int pith_loader_sample(const pith_loader *l, int64_t number, int row, uint64_t key);
/* tokens of batch `number`, without its padding */
int64_t pith_loader_count(const pith_loader *l, int64_t number);
#endif
