/* parts.h: what the pages of core/data share among themselves. Nobody else includes it. */
#ifndef PITH_DATA_PARTS_H
#define PITH_DATA_PARTS_H
#include <pthread.h>
#include <stdlib.h>
#include "core.h"
#include "data.h"

/* table.c: byte strings numbered 0, 1, 2, ... in the order of their arrival. Start with all zeros. */
typedef struct { int count, slots, *slot; size_t *end; char *bytes; size_t room, places; } pith_table;
int pith_table_add(pith_table *t, const void *key, size_t size);            /* its number, old or new; -1: no memory */
int pith_table_find(const pith_table *t, const void *key, size_t size);     /* -1 if it is not there */
const char *pith_table_key(const pith_table *t, int number, size_t *size);  /* size may be NULL; not closed by a zero */
void pith_table_free(pith_table *t);

uint64_t pith_hash_bytes(uint64_t h, const void *bytes, size_t size);       /* FNV-1a, continued from h */

/* text.c: a text cleaned as CLIP does, cut into the pieces that byte pairs are merged in. */
enum { PITH_WORD, PITH_START_MARK, PITH_END_MARK };
typedef bool pith_piece(void *context, int kind, const char *bytes, size_t size);   /* false: enough */
bool pith_split_text(const char *text, pith_piece *piece, void *context);   /* false: no memory */
size_t pith_unescape(uint32_t *text, size_t n);                             /* entities.c: HTML's &name; in place */

/* tokenizer.c. A symbol's number in `symbols` is its id; merge k joins pair k of `pairs` into symbol 512 + k. */
struct pith_tokenizer { pith_table symbols, pairs; };
pith_tokenizer *pith_tokenizer_bytes(void);                                 /* the 512 symbols of single bytes */
int pith_byte_symbol(unsigned char byte, bool last);
typedef enum { PITH_MERGED, PITH_PAIR_AGAIN, PITH_SYMBOL_AGAIN, PITH_NO_MEMORY } pith_merged;
pith_merged pith_add_merge(pith_tokenizer *t, int left, int right);

/* picture.c: as pith_picture_read, but the reason goes to `why` and nobody is told: a set may have bad samples. */
bool pith_picture_try(pith_picture *p, const char *path, char why[256]);

/* pack_write.c: pairs made by all threads, written in the order of their numbers. A maker fills *s; rgb is there. */
typedef struct {
    enum { PITH_GOOD, PITH_MISSING, PITH_UNREADABLE, PITH_NO_CAPTION } state;
    uint8_t *rgb;
    const char *caption, *source, *split;
    int label;
    char text[128], name[32], why[256];         /* room for what a maker writes itself */
} pith_pair;
typedef void pith_maker(const void *context, int i, pith_pair *s);
bool pith_pack_all(pith_packer *p, int size, int count, pith_maker *make, const void *context, pith_pack_report *report);

/* augment.c: one view of a picture (3, size, size), a function of (seed, view, index) alone. work: pith_augment_room floats. */
size_t pith_augment_room(int size);
void pith_augment_view(const pith_augment *a, uint64_t seed, uint64_t view, uint64_t index, int size, const uint8_t *pixels,
                       const double mean[3], const double std[3], float *work, pith_real *out);
bool pith_augment_none(const pith_augment *a);

/* loader_open.c fills a loader, loader.c runs it. */
typedef struct {
    pith_minibatch batch;
    int64_t number;                     /* of the batch that is ready here, -1 while none is */
    float *work;
    int *first, slots;                  /* caption number -> first row, for groups: open addressing */
} pith_seat;

struct pith_loader {
    pith_loader_options o;
    int count, *index;                  /* pairs of the split, and where they lie in the pack */
    uint8_t *own;                       /* pictures of another size than the pack's */
    int *ids, *caption;                 /* all tokens; the number of each pair's caption */
    int64_t *start;                     /* (count+1) into ids */
    int sizes[6], n_sizes;
    int64_t per_epoch, made, given, limit;      /* batches: the next to make, the one the caller holds, the end */
    pith_seat *ring;
    int places, running;
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t room, ready;
    bool stop;
};
int pith_loader_pair(const pith_loader *l, int64_t number, int row, uint64_t key);   /* which pair of the split a row holds */
void *pith_loader_work(void *loader);                                       /* a thread's life */
#endif
