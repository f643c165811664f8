/* neighbours.c: the search for near pairs beside the products of the same blocks alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "bench.h"
#include "neighbours/neighbours.h"

enum { BLOCK = 512 }; /* as core/neighbours cuts them */

/* Unit rows, of which every tenth lies near the one before it. */
static pith_real *rows_of(int n, int width)
{
    pith_real *rows = malloc(sizeof *rows * (size_t)n * (size_t)width);
    for (int i = 0; i < n; i++) {
        pith_real *row = rows + (size_t)i * (size_t)width;
        double squares = 0;
        for (int k = 0; k < width; k++) {
            row[k] = nearly_normal();
            if (i % 10 == 9) row[k] = row[k - width] + row[k] * (pith_real)(0.2 / sqrt(width));
            squares += (double)row[k] * (double)row[k];
        }
        for (int k = 0; k < width; k++) row[k] /= (pith_real)sqrt(squares);
    }
    return rows;
}

/* Whole blocks alone: rows that are left over are few. */
static double products(int n, int width, const pith_real *rows)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 0);
    pith_node *a = pith_input(g, "a", PITH_F32, BLOCK, width),
              *b = pith_input(g, "b", PITH_F32, BLOCK, width), *product = pith_matmul_nt(a, b);
    pith_plan *p = pith_plan_new(g, 1, &product, NULL);
    const double start = pith_seconds();
    for (int i = 0; i + BLOCK <= n; i += BLOCK)
        for (int j = i; j + BLOCK <= n; j += BLOCK) {
            pith_feed(p, a, rows + (size_t)i * (size_t)width);
            pith_feed(p, b, rows + (size_t)j * (size_t)width);
            pith_run(p);
        }
    const double seconds = pith_seconds() - start;
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
    return seconds;
}

static double search(int n, int width, const pith_real *rows, double below, int wanted, int *edges)
{
    const double start = pith_seconds();
    pith_forest *f = pith_forest_new(n, width, rows, below, wanted);
    *edges = f->edges;
    pith_forest_free(f);
    return pith_seconds() - start;
}

void measure_neighbours(int n, int width, int rounds)
{
    pith_real *rows = rows_of(n, width);
    double alone = HUGE_VAL, beta = HUGE_VAL, rate = HUGE_VAL;
    int near = 0, removed = 0;
    n -= n % BLOCK;
    for (int k = 0; k < rounds; k++) {
        alone = fmin(alone, products(n, width, rows));
        beta = fmin(beta, search(n, width, rows, 0.447, n, &near));
        rate = fmin(rate, search(n, width, rows, 3, (int)(0.437 * n), &removed));
    }
    printf("near pairs of %d rows of %d: products alone %.1f s; all nearer than 0.447 (%d edges) "
           "%.2f times that, the nearest 43.7 %% (%d edges) %.2f times (goal: at most 1.5)\n",
           n, width, alone, near, beta / alone, removed, rate / alone);
    free(rows);
}
