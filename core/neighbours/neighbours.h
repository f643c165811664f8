/* neighbours.h: which of many rows lie near each other: pairs nearer than a distance, groups of
 * near-duplicates with one of each kept, and k-means. Every product of rows with rows is made by a
 * plan, block by block. Results do not depend on the number of threads.
 *
 * Rows are (n, width) in host memory. Those that are searched have length 1: their distance lies
 * between 0 and 2, and its square is 2 - 2 cos.
 *
 * Functions return NULL or a number below 0 after an error, which pith_error() holds. */
#ifndef PITH_NEIGHBOURS_H
#define PITH_NEIGHBOURS_H
#include "pith.h"

/* Where products of rows are made, for the whole process: the CPU, until this is called. Searches
 * find the same everywhere; k-means may take another of two centroids that are equally near but for
 * rounding. */
void pith_multiply_on(pith_device device);

/* ---- near pairs ------------------------------------------------------------------------------ */

typedef struct {
    double distance; /* Euclidean, in double from the rows as they are: equal rows have 0 */
    int a, b;        /* a < b */
} pith_edge;

/* All pairs that are nearer than `distance`, ascending by (distance, a, b), in *edges, which the
 * caller frees. Returns how many. */
int64_t pith_near_pairs(int n, int width, const pith_real *rows, double distance,
                        pith_edge **edges);

/* A minimum spanning forest of all pairs nearer than `below`: enough to tell the groups at any
 * distance up to that, in memory that grows with n alone. Of equal distances the pair with the
 * lesser a, then b, comes first. */
typedef struct {
    int n, edges;    /* rows; edges, at most n-1 */
    double below;    /* HUGE_VAL: the forest is one tree, which tells the groups at any distance */
    pith_edge *edge; /* ascending */
} pith_forest;
/* wanted: only so many shortest edges, and those as long as the last of them, are searched for,
 * which is much faster than all; `below` is then where they end. n: all. */
pith_forest *pith_forest_new(int n, int width, const pith_real *rows, double below, int wanted);
void pith_forest_free(pith_forest *f);
/* Rows that edges shorter than beta connect are one group; beta is at most f->below. group (n): a
 * number for each row, counted in the order of the groups' first rows. Returns how many. */
int pith_forest_groups(const pith_forest *f, double beta, int *group);
/* How many rows groups at beta leave over, when one of each is kept. */
int pith_forest_removed(const pith_forest *f, double beta);
/* The beta at which `removed` rows are left over. Edges of equal length come and go together: where
 * that makes the number impossible, beta is that of the next lesser possible one. *next: the least
 * beta at which more are; HUGE_VAL where the forest ends before. */
double pith_forest_beta(const pith_forest *f, int removed, double *next);

/* ---- one of each group ----------------------------------------------------------------------- */

/* The groups at beta, as pith_forest_groups has them. shards: the rows are cut into so many runs,
 * each is grouped alone, then what they leave is grouped once more, and groups of both passes are
 * joined. That is less work, and the same result where groups are far from each other; a group of
 * one shard meets those of others by its central row alone. */
int pith_near_groups(int n, int width, const pith_real *rows, double beta, int shards, int *group);
/* keep (n): is the row of its group the nearest to the mean of its rows? Of equally near ones, to
 * 2e-6, the first. distance (n): to that mean. False after an error. */
bool pith_keep_central(int n, int width, const pith_real *rows, int groups, const int *group,
                       bool *keep, double *distance);

/* ---- k-means --------------------------------------------------------------------------------- */

typedef struct {
    int k, iterations; /* at most so many */
    bool spherical;    /* rows have length 1, and centroids get it, too */
    uint64_t seed;     /* keys the random numbers that choose the first centroids */
} pith_kmeans_options;
/* centroids (k, width), cluster (n) as of the last iteration. history: NULL, or (iterations) the
 * inertia, the sum of squared distances, with each iteration's assignment. Returns how many
 * iterations there were: fewer than asked for, if the last one changed nothing. */
int pith_kmeans(int n, int width, const pith_real *rows, const pith_kmeans_options *options,
                pith_real *centroids, int *cluster, double *history);
/* The nearest centroid of each row, of equally near ones the first, and its squared distance. */
bool pith_nearest(int n, int width, const pith_real *rows, int k, const pith_real *centroids,
                  int *cluster, double *squared);
#endif
