/* ops/tile.h: small matrix products in cache, for kernels that need many. A tile of c stays in
 * registers while all of k passes; vectors are the compiler's own, as wide as the processor's.
 * Every element of c is one chain of multiply-adds in the order of k, wherever it lies in a tile.
 */
#ifndef PITH_TILE_H
#define PITH_TILE_H
#include "core.h"

#if defined __AVX512F__
#define VECTOR_BYTES 64
#elif defined __AVX__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
enum { VECTOR = VECTOR_BYTES / sizeof(real), TILE_ROWS = 6 };
typedef real vector __attribute__((vector_size(VECTOR_BYTES)));

static inline __attribute__((always_inline)) vector load_vector(const real *from)
{
    vector v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline int round_up(int n, int step) { return (n + step - 1) / step * step; }

/* Fused multiply-adds here, where the processor has them. */
#ifdef __clang__
#pragma STDC FP_CONTRACT ON
#define UNROLL _Pragma("unroll")
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* a (m, k) with any strides, b (k, n) and c (m, n) with contiguous rows; n is a multiple of VECTOR.
 */
typedef struct {
    const real *a;
    size_t row_a, column_a;
    const real *b;
    size_t row_b;
    real *c;
    size_t row_c;
    int k;
    bool add;
} tile;

static inline __attribute__((always_inline)) void tile_run(const tile *t, const int rows,
                                                           const int wide)
{
    vector sum[TILE_ROWS][2] = { { { 0 } } };
    const real *a = t->a, *b = t->b;
    const size_t row_a = t->row_a, column_a = t->column_a, row_b = t->row_b;
    const int k = t->k;
    for (int p = 0; p < k; p++, a += column_a, b += row_b) {
        const vector right[2] = { load_vector(b), load_vector(wide > 1 ? b + VECTOR : b) };
        UNROLL
        for (int i = 0; i < rows; i++) {
            const real left = a[(size_t)i * row_a];
            UNROLL
            for (int j = 0; j < wide; j++) sum[i][j] += left * right[j];
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int j = 0; j < wide; j++) {
            real *c = t->c + (size_t)i * t->row_c + j * VECTOR;
            if (t->add) sum[i][j] += load_vector(c);
            memcpy(c, &sum[i][j], sizeof sum[i][j]);
        }
    }
}

static inline __attribute__((always_inline)) void tile_any_rows(const tile *t, int rows,
                                                                const int wide)
{
    switch (rows) {
    case 1: tile_run(t, 1, wide); break;
    case 2: tile_run(t, 2, wide); break;
    case 3: tile_run(t, 3, wide); break;
    case 4: tile_run(t, 4, wide); break;
    case 5: tile_run(t, 5, wide); break;
    default: tile_run(t, TILE_ROWS, wide);
    }
}

static __attribute__((noinline)) void tile_product(int m, int n, const tile *whole)
{
    for (int j = 0; j < n; j += 2 * VECTOR)
        for (int i = 0; i < m; i += TILE_ROWS) {
            tile t = *whole;
            t.a += (size_t)i * t.row_a;
            t.b += j;
            t.c += (size_t)i * t.row_c + (size_t)j;
            if (n - j > VECTOR) tile_any_rows(&t, m - i, 2);
            else tile_any_rows(&t, m - i, 1);
        }
}

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC pop_options
#endif
#endif
