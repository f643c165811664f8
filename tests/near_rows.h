/* near_rows.h: rows for tests of neighbours: around centres, of length 1. */
#ifndef PITH_NEAR_ROWS_H
#define PITH_NEAR_ROWS_H
#include "tests.h"

static inline void make_unit(int width, real *row)
{
    double squares = 0;
    for (int k = 0; k < width; k++) squares += (double)row[k] * (double)row[k];
    for (int k = 0; k < width; k++) row[k] = (real)((double)row[k] / sqrt(squares));
}

/* Row i lies around centre i % centres, apart from it by about `spread`. */
static inline real *rows_around(int n, int width, int centres, double spread, uint64_t key)
{
    real *rows = malloc(sizeof *rows * (size_t)n * (size_t)width);
    for (int i = 0; i < n; i++) {
        real *row = rows + (size_t)i * (size_t)width;
        for (int k = 0; k < width; k++)
            row[k] = (real)pith_normal_at(key, (uint64_t)(i % centres), (uint64_t)k);
        make_unit(width, row);
        for (int k = 0; k < width; k++)
            row[k] += (real)(spread / sqrt(width) *
                             pith_normal_at(key + 1, (uint64_t)i, (uint64_t)k));
        make_unit(width, row);
    }
    return rows;
}

static inline double apart(int width, const real *rows, int i, int j)
{
    double squares = 0;
    for (int k = 0; k < width; k++) {
        const double d = (double)rows[(size_t)i * (size_t)width + (size_t)k] -
                         (double)rows[(size_t)j * (size_t)width + (size_t)k];
        squares += d * d;
    }
    return sqrt(squares);
}
#endif
