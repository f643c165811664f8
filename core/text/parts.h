/* parts.h: what the pages of core/text share among themselves. Nobody else includes it. */
#ifndef PITH_TEXT_PARTS_H
#define PITH_TEXT_PARTS_H
#include <stdlib.h>
#include "core.h"
#include "text.h"

/* text.c: cleans a text as CLIP does and cuts it into pieces. Byte pairs are merged inside a piece
 * only. */
enum { PITH_WORD, PITH_START_MARK, PITH_END_MARK };
/* called for every piece; returns false to stop */
typedef bool pith_piece(void *context, int kind, const char *bytes, size_t size);
bool pith_split_text(const char *text, pith_piece *piece, void *context); /* false: no memory */
/* entities.c: replaces HTML's &name; in place, and returns the new length */
size_t pith_unescape(uint32_t *text, size_t n);

/* tokenizer.c. A symbol's number in `symbols` is its id; merge k joins pair k of `pairs` into
 * symbol 512 + k. */
struct pith_tokenizer {
    pith_table symbols, pairs;
};
pith_tokenizer *pith_tokenizer_bytes(void); /* the 512 symbols of single bytes */
int pith_byte_symbol(unsigned char byte, bool last);
typedef enum { PITH_MERGED, PITH_PAIR_AGAIN, PITH_SYMBOL_AGAIN, PITH_NO_MEMORY } pith_merged;
pith_merged pith_add_merge(pith_tokenizer *t, int left, int right);

#endif
