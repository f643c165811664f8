/* text.h: CLIP's byte-level BPE, and numbers for byte strings.
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_TEXT_H
#define PITH_TEXT_H
#include "pith.h"

/* ---- tokenizer ------------------------------------------------------------------------------- */

typedef struct pith_tokenizer pith_tokenizer;
pith_tokenizer *pith_tokenizer_read(const char *path); /* CLIP's merges file, .txt or .txt.gz */
/* Byte-level BPE learned from captions; ties go to the pair met first. Fewer merges where no pair
 * occurs twice any more. */
pith_tokenizer *pith_tokenizer_train(int n, const char *const *captions, int merges);
bool pith_tokenizer_write(const pith_tokenizer *t, const char *path); /* the same format */
void pith_tokenizer_free(pith_tokenizer *t);
/* 512 + merges + 2; start and end are the last two */
int pith_tokenizer_size(const pith_tokenizer *t);
/* Ids with start and end; cut to `context`, whose last is then the end. Returns how many, 0 after
 * an error. */
int pith_encode(const pith_tokenizer *t, const char *text, int context, int *ids);

/* ---- numbers for byte strings ------------------------------------------------------------------
 */

/* table.c: byte strings numbered 0, 1, 2, ... in the order of their arrival. Start with all zeros.
 */
typedef struct {
    int count, slots, *slot;
    size_t *end;
    char *bytes;
    size_t room, places;
} pith_table;
/* its number, old or new; -1: no memory */
int pith_table_add(pith_table *t, const void *key, size_t size);
int pith_table_find(const pith_table *t, const void *key, size_t size); /* -1 if it is not there */
/* size may be NULL; not closed by a zero */
const char *pith_table_key(const pith_table *t, int number, size_t *size);
void pith_table_free(pith_table *t);

uint64_t pith_hash_bytes(uint64_t h, const void *bytes, size_t size); /* FNV-1a, continued from h */

#endif
