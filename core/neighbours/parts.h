/* parts.h: what the pages of core/neighbours share among themselves. Nobody else includes it. */
#ifndef PITH_NEIGHBOURS_PARTS_H
#define PITH_NEIGHBOURS_PARTS_H
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "neighbours.h"

enum {
    PITH_BLOCK = 512
}; /* rows of one side of a product: 1 MB of cosines, which stay in caches */

/* products.c: the products of up to `rows` rows with up to `columns` others. */
typedef struct {
    pith_store *store;
    pith_graph *graph;
    pith_node *a, *b, *product;
    pith_plan *plan;
    int rows, columns, width;
    pith_real *value, *room_a, *room_b; /* room: for blocks that are not full */
} pith_products;
bool pith_products_open(pith_products *p, int rows, int columns, int width);
/* (p->rows, p->columns), of which the first n_a rows and n_b columns count; NULL after an error. */
const pith_real *pith_products_of(pith_products *p, const pith_real *a, int n_a, const pith_real *b,
                                  int n_b);
void pith_products_close(pith_products *p);
/* Squared, in double, summed in an order of its own: the same wherever it is asked for. */
double pith_squared_distance(int width, const pith_real *a, const pith_real *b);
/* An error if a row holds what is no finite number, or, where `unit`, has not about length 1. */
bool pith_check_rows(int n, int width, const pith_real *rows, bool unit);

/* search.c */
typedef struct {
    int column;
    pith_real cosine;
} pith_near;
typedef struct pith_search {
    double below; /* what is farther is not told; may become less between blocks */
    double error; /* squared distances by cosines are at most so wrong */
    /* Row i may be nearer than `below` to the rows `near`, which come after it. Called from several
     * threads at once. */
    void (*take)(struct pith_search *s, int i, int count, const pith_near *near);
    /* Between two blocks, from one thread. */
    bool (*between)(struct pith_search *s);
} pith_search;
bool pith_search_run(pith_search *s, int n, int width, const pith_real *rows);

/* balance.c: the rows of group g are (*order)[first[g]] .. (*order)[first[g+1]-1], ascending.
 * Returns `first`, one block of memory with *order, which the caller frees; NULL without memory. */
int *pith_rows_by_group(int n, int groups, const int *group, int **order);

/* forest.c: by distance, a, b */
int pith_edge_order(const void *a, const void *b);
#endif
