/* ops/reduce.h: what the reductions share: how a chunk is combined, the passes over an array, and
 * the shape rule. */
#ifndef PITH_REDUCE_H
#define PITH_REDUCE_H
#include "attributes.h"
#include "functions.h"

/* A chunk is CHUNK elements where one number is kept of it, else CHUNK_ROWS rows. */
enum { CHUNK = 1024, CHUNK_ROWS = 128, COLUMNS = 1024, LANES = 16 };

/* What is done inside a chunk. `run` combines n neighbours into one number, in LANES lanes whose
 * order is fixed; `rows` combines rows, `step` elements apart, into one row of n. */
typedef struct {
    real (*run)(const real *x, size_t n);
    void (*rows)(real *restrict y, const real *restrict x, size_t rows, size_t step, size_t n);
} reducer;

/* Defines NAME_run, NAME_rows and NAME_reducer. combine(a, b) is associative but for rounding;
 * `first` is what changes nothing. */
#define REDUCER(name, combine, first)                                                              \
    static real name##_run(const real *x, size_t n)                                                \
    {                                                                                              \
        real s[LANES], last = first;                                                               \
        size_t i = 0;                                                                              \
        if (n >= LANES) {                                                                          \
            for (int j = 0; j < LANES; j++) s[j] = first;                                          \
            for (; i + LANES <= n; i += LANES) {                                                   \
                PITH_SIMD                                                                          \
                for (int j = 0; j < LANES; j++) s[j] = combine(s[j], x[i + (size_t)j]);            \
            }                                                                                      \
            for (int half = LANES / 2; half; half /= 2)                                            \
                for (int j = 0; j < half; j++) s[j] = combine(s[j], s[j + half]);                  \
            last = s[0];                                                                           \
        }                                                                                          \
        for (; i < n; i++) last = combine(last, x[i]);                                             \
        return last;                                                                               \
    }                                                                                              \
    static void name##_rows(real *restrict y, const real *restrict x, size_t rows, size_t step,    \
                            size_t n)                                                              \
    {                                                                                              \
        size_t r = 1;                                                                              \
        memcpy(y, x, n * sizeof *y);                                                               \
        for (; r + 4 <= rows; r += 4) {                                                            \
            const real *c0 = x + r * step, *c1 = c0 + step, *c2 = c1 + step, *c3 = c2 + step;      \
            PITH_SIMD                                                                              \
            for (size_t k = 0; k < n; k++)                                                         \
                y[k] = combine(y[k], combine(combine(c0[k], c1[k]), combine(c2[k], c3[k])));       \
        }                                                                                          \
        for (; r < rows; r++) {                                                                    \
            PITH_SIMD                                                                              \
            for (size_t k = 0; k < n; k++) y[k] = combine(y[k], x[r * step + k]);                  \
        }                                                                                          \
    }                                                                                              \
    static const reducer name##_reducer = { name##_run, name##_rows };

static inline size_t chunks_of(size_t length, size_t chunk)
{
    return length / chunk + (length % chunk != 0);
}

/* Passes until the length is 1, each result behind the other in scratch, the last one at y. */
void pith_reduce(const reducer *how, const real *x, real *y, real *scratch, reduction r);
/* Elements of scratch for that; without `last`, what would go to y goes there too. */
size_t pith_reduce_room(reduction r, bool last);

/* The rules of an op that reduces input 0 over the axes of its reduce_attr. */
bool pith_reduce_shape(node *n);
size_t pith_reduce_scratch(const node *n);
void pith_reduce_axes(const reducer *how, const pith_call *call);
node *pith_reduce_make(const char *at, const pith_op *op, node *a, int count, const int *axis);
node *pith_reduce_example(pith_graph *g, int i, const pith_op *op);
/* Something of the result's shape, with the reduced axes back as 1. */
node *pith_reduced_back(const node *n, node *dy);
#endif
