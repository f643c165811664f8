/* ops/attention.h: what attention and its gradient share: which rows attend to which, and how they
 * are cut into blocks.
 *
 * Work is one (segment, head) at a time. Keys go in blocks, so that scratch does not grow with the
 * number of tokens; each block of keys gives a whole softmax of its own, and two of them are merged
 * by their log-sum-exps. */
#ifndef PITH_ATTENTION_H
#define PITH_ATTENTION_H
#include "attributes.h"
#include "tile.h"

enum {
    KEYS = 128,
    QUERIES = 48,
    CAUSAL_QUERIES = 24,
    /* of rows of keys: not a power of two, so that rows do not share cache sets */
    STRIDE = KEYS + 16,
    /* of the (segment, head) pairs, each with scratch of its own */
    CHUNKS = 16,
    /* With at most so many, products of these sizes are ints. */
    MOST_ROWS = 1 << 30,
    MOST_WIDTH = 1 << 20
};

extern const pith_op pith_op_attention, pith_op_attention_grad, pith_op_pooled_attention,
    pith_op_pooled_attention_grad;

/* Of a node of any of the four ops: rows of q, k, v and of the output, in elements. */
typedef struct {
    bool causal, pooled; /* pooled: one query a segment, whose number it is */
    int rows, queries, segments, heads, width, padded; /* width rounded up to whole vectors */
    size_t row_q, row_kv, row_out, key, value;         /* key, value: where they begin */
} attention;

attention pith_attention_of(const node *n);
void pith_attention_bounds(const attention *x, const int *offsets, int *bound);
static inline size_t bounds_bytes(const attention *x)
{
    return ((size_t)x->segments / 64 + 1) * 64 * sizeof(int);
}

/* The same as a composition: q, k, v (heads, rows, width), scores of all rows against all (heads,
 * queries, rows), and which of them count, (queries, rows). */
typedef struct {
    node *q, *k, *v, *scores, *mask;
    double scale;
} meaning;
meaning pith_attention_meaning(const node *n);

/* One pair's rows: queries and keys [first, end). */
typedef struct {
    int head, query, query_end, key, key_end;
} pair;

static inline pair pair_of(const attention *x, const int *bound, int64_t index)
{
    const int head = (int)(index % x->heads), s = (int)(index / x->heads);
    const int first = bound[s], end = bound[s + 1];
    if (!x->pooled) return (pair){ head, first, end, first, end };
    return (pair){ head, s, s + (end > first), first, end }; /* no query without a key */
}

/* The next rows of a scratch. */
static inline real *take(real **scratch, int rows, int columns)
{
    real *taken = *scratch;
    *scratch += (size_t)rows * (size_t)columns;
    return taken;
}

/* Equal blocks of at most KEYS keys, of whole vectors. */
static inline int key_step(const pair *p)
{
    const int count = p->key_end - p->key, blocks = (count + KEYS - 1) / KEYS;
    return round_up((count + blocks - 1) / blocks, VECTOR);
}

/* to (width, columns) = scale rows^T, zeros beyond `count` rows; a few rows at a time, so that they
 * stay in cache. */
static inline void transpose_rows(const real *from, size_t row, int count, int columns, int width,
                                  real scale, real *to)
{
    for (int first = 0; first < columns; first += VECTOR) {
        const int end = count - first < VECTOR ? count - first : VECTOR;
        for (int c = 0; c < width; c++) {
            const real *a = from + (size_t)first * row + (size_t)c;
            real *b = to + c * STRIDE + first;
            if (end == VECTOR)
                for (int i = 0; i < VECTOR; i++) b[i] = a[(size_t)i * row] * scale;
            else
                for (int i = 0; i < VECTOR; i++) b[i] = i < end ? a[(size_t)i * row] * scale : 0;
        }
    }
}

/* Rows of whole vectors: the very rows, or a padded copy at `to`. */
static inline const real *whole_vectors(const attention *x, const real *from, size_t *row,
                                        int count, real *to)
{
    if (x->width == x->padded) return from;
    for (int i = 0; i < count; i++) {
        memcpy(to + (size_t)i * (size_t)x->padded, from + (size_t)i * *row,
               (size_t)x->width * sizeof *to);
        memset(to + (size_t)i * (size_t)x->padded + x->width, 0,
               (size_t)(x->padded - x->width) * sizeof *to);
    }
    *row = (size_t)x->padded;
    return to;
}

/* How many of `count` keys from `key` on the query sees. */
static inline int seen(const attention *x, int query, int key, int count)
{
    const int up_to_itself = query - key + 1;
    if (!x->causal || up_to_itself >= count) return count;
    return up_to_itself > 0 ? up_to_itself : 0;
}
#endif
