/* text.h: CLIP's tokenizer, a byte-level BPE, and a table that numbers byte strings.
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_TEXT_H
#define PITH_TEXT_H
#include "pith.h"

/* ---- tokenizer ------------------------------------------------------------------------------- */

typedef struct pith_tokenizer pith_tokenizer;
pith_tokenizer *pith_tokenizer_read(const char *path); /* CLIP's merges file, .txt or .txt.gz */
/* Learns merges from captions. Of equally frequent pairs the one met first is merged. There are
 * fewer than `merges` if no pair occurs twice any more. */
pith_tokenizer *pith_tokenizer_train(int n, const char *const *captions, int merges);
bool pith_tokenizer_write(const pith_tokenizer *t, const char *path); /* the same format */
void pith_tokenizer_free(pith_tokenizer *t);
/* number of ids: 512 + merges + 2, the last two being start and end of a text */
int pith_tokenizer_size(const pith_tokenizer *t);
/* Writes the ids of a text between start and end; a text that is too long is cut to `context` ids,
 * the last of which is the end. Returns how many ids there are, 0 after an error. */
int pith_encode(const pith_tokenizer *t, const char *text, int context, int *ids);

/* ---- numbers for byte strings ---------------------------------------------------------------- */

/* Byte strings numbered 0, 1, 2, ... in the order in which they are added. A table of all zeros is
 * empty. */
typedef struct {
    int count, slots, *slot;
    size_t *end;
    char *bytes;
    size_t room, places;
} pith_table;
/* adds a string unless it is there; returns its number, -1 if there is no memory */
int pith_table_add(pith_table *t, const void *key, size_t size);
/* its number, -1 if it is not there */
int pith_table_find(const pith_table *t, const void *key, size_t size);
/* the bytes of a string, with no zero at their end; size may be NULL */
const char *pith_table_key(const pith_table *t, int number, size_t *size);
void pith_table_free(pith_table *t);

#endif
