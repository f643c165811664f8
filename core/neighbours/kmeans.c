/* kmeans.c: k-means: seeds by k-means++ (Arthur and Vassilvitskii, 2007), then Lloyd's iterations:
 * each row to its nearest centroid, each centroid to the mean of its rows.
 *
 * Products find the nearest centroid; what is kept is decided by distances in double. A row that
 * has a cluster leaves it only for a centroid that is nearer in double, so that the inertia does
 * not rise by the rounding of products. A cluster without rows takes the row that is farthest from
 * its centroid, of those that are not alone; where all rows lie on their centroids it keeps none.
 * That rule, like the number of iterations, is ours: papers do not tell. */
#include "parts.h"

/* ---- the nearest centroid ---- */

typedef struct {
    int n, width, k, side; /* side: centroids of one block of products */
    const pith_real *rows;
    pith_products products;
    double *half; /* (k) of each centroid |c|^2 / 2 */
    /* of the rows of one block: the best so far, and its x c - |c|^2 / 2 */
    int best[PITH_BLOCK];
    double score[PITH_BLOCK];
} lloyd;

static bool lloyd_open(lloyd *l, int n, int width, const pith_real *rows, int k)
{
    *l = (lloyd){ .n = n, .width = width, .k = k, .rows = rows };
    l->side = k < PITH_BLOCK ? k : PITH_BLOCK;
    l->half = malloc(sizeof *l->half * (size_t)k);
    if (!l->half) return pith_raise("no memory for %d centroids", k);
    return pith_products_open(&l->products, n < PITH_BLOCK ? n : PITH_BLOCK, l->side, width);
}

static void lloyd_close(lloyd *l)
{
    pith_products_close(&l->products);
    free(l->half);
}

static const pith_real *row_of(const lloyd *l, const pith_real *rows, int i)
{
    return rows + (size_t)i * (size_t)l->width;
}

/* Fills `best` for `count` rows from `first` on; of equal scores the first centroid wins. */
static bool best_of_block(lloyd *l, const pith_real *centroids, int first, int count)
{
    for (int i = 0; i < count; i++) l->score[i] = -HUGE_VAL, l->best[i] = 0;
    for (int j = 0; j < l->k; j += l->side) {
        const int n = l->k - j < l->side ? l->k - j : l->side;
        const pith_real *product = pith_products_of(&l->products, row_of(l, l->rows, first), count,
                                                    row_of(l, centroids, j), n);
        if (!product) return false;
#pragma omp parallel for schedule(static)
        for (int i = 0; i < count; i++)
            for (int c = 0; c < n; c++) {
                const double score = (double)product[(size_t)i * (size_t)l->side + (size_t)c] -
                                     l->half[j + c];
                if (score > l->score[i]) l->score[i] = score, l->best[i] = j + c;
            }
    }
    return true;
}

/* Assigns every row; returns how many changed their cluster, -1 after an error. A cluster of -1 is
 * none yet. squared (n): to the centroid. */
static int assign(lloyd *l, const pith_real *centroids, int *cluster, double *squared)
{
    int changed = 0;
    pith_real *zero = calloc((size_t)l->width, sizeof *zero);
    if (!zero) return pith_raise("no memory for a centroid"), -1;
    for (int c = 0; c < l->k; c++)
        l->half[c] = pith_squared_distance(l->width, row_of(l, centroids, c), zero) / 2;
    free(zero);
    for (int first = 0; first < l->n; first += l->products.rows) {
        const int count = l->n - first < l->products.rows ? l->n - first : l->products.rows;
        if (!best_of_block(l, centroids, first, count)) return -1;
#pragma omp parallel for schedule(static) reduction(+ : changed)
        for (int i = 0; i < count; i++) {
            const pith_real *row = row_of(l, l->rows, first + i);
            const int old = cluster[first + i], best = l->best[i];
            double *to = &squared[first + i];
            *to = pith_squared_distance(l->width, row, row_of(l, centroids, best));
            cluster[first + i] = best;
            if (old >= 0 && old != best) {
                const double d = pith_squared_distance(l->width, row, row_of(l, centroids, old));
                if (d <= *to) *to = d, cluster[first + i] = old;
            }
            changed += cluster[first + i] != old;
        }
    }
    return changed;
}

bool pith_nearest(int n, int width, const pith_real *rows, int k, const pith_real *centroids,
                  int *cluster, double *squared)
{
    lloyd l;
    if (n < 1 || width < 1 || k < 1)
        return pith_raise("the nearest of %d centroids for %d rows of %d: expected at least 1 each",
                          k, n, width);
    if (!pith_check_rows(n, width, rows, false) || !pith_check_rows(k, width, centroids, false))
        return false;
    bool good = lloyd_open(&l, n, width, rows, k);
    for (int i = 0; i < n; i++) cluster[i] = -1;
    good = good && assign(&l, centroids, cluster, squared) >= 0;
    lloyd_close(&l);
    return good;
}

/* ---- new centroids ---- */

/* Rows of a cluster are added in their order, whatever thread does it. */
static bool move_one(const lloyd *l, int count, const int *member, bool spherical,
                     pith_real *centroid)
{
    const size_t width = (size_t)l->width;
    double *mean = calloc(width, sizeof *mean), squares = 0, scale = 1. / count;
    if (!mean) return false;
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < width; k++) mean[k] += (double)row_of(l, l->rows, member[i])[k];
    for (size_t k = 0; k < width; k++) squares += mean[k] * mean[k];
    if (spherical) scale = 1 / sqrt(squares);
    /* rows that cancel each other have no direction: their centroid stays */
    for (size_t k = 0; k < width && (!spherical || squares > 0); k++)
        centroid[k] = (pith_real)(mean[k] * scale);
    free(mean);
    return true;
}

/* Gives an empty cluster the row that is farthest from its centroid; false: there is none. */
static bool fill(const lloyd *l, int c, int *cluster, double *squared, int *size)
{
    int farthest = -1;
    for (int i = 0; i < l->n; i++)
        if (size[cluster[i]] > 1 && squared[i] > (farthest < 0 ? 0 : squared[farthest]))
            farthest = i;
    if (farthest < 0) return false;
    size[cluster[farthest]]--;
    size[c] = 1;
    cluster[farthest] = c;
    squared[farthest] = 0;
    return true;
}

/* *filled: was an empty cluster given a row? */
static bool move(const lloyd *l, bool spherical, int *cluster, double *squared,
                 pith_real *centroids, bool *filled)
{
    int *size = calloc((size_t)l->k, sizeof *size), *order = NULL, *first = NULL;
    bool good = size != NULL;
    *filled = false;
    for (int i = 0; good && i < l->n; i++) size[cluster[i]]++;
    for (int c = 0, more = 1; good && more && c < l->k; c++)
        if (!size[c]) *filled |= more = fill(l, c, cluster, squared, size);
    if (good) first = pith_rows_by_group(l->n, l->k, cluster, &order);
    if (first) {
#pragma omp parallel for schedule(dynamic) reduction(&& : good)
        for (int c = 0; c < l->k; c++)
            if (size[c])
                good = move_one(l, size[c], order + first[c], spherical,
                                centroids + (size_t)c * (size_t)l->width) &&
                       good;
    }
    free(size);
    free(first);
    return (good && first) || pith_raise("no memory to move %d centroids", l->k);
}

/* ---- seeds ---- */

/* Two numbers in [0, 1) for each of k centroids: of one, 24 bits would not tell a million rows
 * apart by their distances. */
static bool draw(int k, uint64_t seed, pith_real *numbers)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, seed);
    pith_node *u = pith_uniform(g, k, 2);
    pith_plan *p = pith_plan_new(g, 1, &u, NULL);
    const bool good = p && pith_run(p) && pith_value(p, u, numbers);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
    return good;
}

/* A row drawn with a probability proportional to its weight; the last one that has any, where
 * rounding leads beyond. */
static int drawn(int n, const double *weight, double number)
{
    double total = 0, sum = 0;
    int last = 0;
    for (int i = 0; i < n; i++) total += weight[i];
    if (!(total > 0)) return (int)(number * n); /* all rows lie on centroids already */
    for (int i = 0; i < n; i++) {
        if (weight[i] > 0) last = i;
        sum += weight[i];
        if (sum > number * total) break;
    }
    return last;
}

/* The first centroid is any row; each further one a row drawn by its squared distance to the
 * nearest so far. The distances come from products with one centroid; what is below their rounding
 * is 0. weight (n): room. */
static bool seed(const lloyd *l, const pith_real *number, double *weight, pith_real *centroids)
{
    const size_t width = (size_t)l->width;
    const double unit = sizeof(pith_real) == 4 ? 0x1p-24 : 0x1p-53;
    pith_real *zero = calloc(width, sizeof *zero);
    double *squares = malloc(sizeof *squares * (size_t)l->n);
    pith_products p = { 0 };
    bool good = (zero && squares) || pith_raise("no memory for %d rows", l->n);
    good = good && pith_products_open(&p, l->products.rows, 1, l->width);
    for (int i = 0; good && i < l->n; i++) {
        squares[i] = pith_squared_distance(l->width, row_of(l, l->rows, i), zero);
        weight[i] = 0;
    }
    for (int c = 0; good && c < l->k; c++) {
        const double u = (double)number[2 * c] + (double)number[2 * c + 1] * 0x1p-24;
        const int chosen = drawn(l->n, weight, u);
        pith_real *centroid = centroids + (size_t)c * width;
        memcpy(centroid, row_of(l, l->rows, chosen), width * sizeof *centroid);
        for (int i = 0; good && i < l->n; i += p.rows) {
            const int count = l->n - i < p.rows ? l->n - i : p.rows;
            const pith_real *product = pith_products_of(&p, row_of(l, l->rows, i), count, centroid,
                                                        1);
            good = product != NULL;
            for (int j = 0; good && j < count; j++) {
                const double both = squares[i + j] + squares[chosen];
                double d = both - 2 * (double)product[j];
                if (d < both * (l->width + 2) * unit) d = 0;
                if (c == 0 || d < weight[i + j]) weight[i + j] = d;
            }
        }
    }
    pith_products_close(&p);
    free(squares);
    free(zero);
    return good;
}

/* ---- all of it ---- */

/* Lloyd's iterations from the seeds; returns how many. */
static int iterate(lloyd *l, const pith_kmeans_options *o, pith_real *centroids, int *cluster,
                   double *squared, double *history)
{
    for (int i = 0; i < l->n; i++) cluster[i] = -1;
    for (int k = 1;; k++) {
        bool filled = false;
        const int changed = assign(l, centroids, cluster, squared);
        if (changed < 0) return -1;
        if (history) history[k - 1] = 0;
        for (int i = 0; history && i < l->n; i++) history[k - 1] += squared[i];
        if (k == o->iterations) return k;
        if (!move(l, o->spherical, cluster, squared, centroids, &filled)) return -1;
        if (!changed && !filled) return k;
    }
}

int pith_kmeans(int n, int width, const pith_real *rows, const pith_kmeans_options *o,
                pith_real *centroids, int *cluster, double *history)
{
    lloyd l;
    const int k = o->k;
    int iterations = -1;
    if (n < 1 || width < 1 || k < 1 || o->iterations < 1)
        return pith_raise("k-means of %d rows of %d, %d clusters, %d iterations: expected at least "
                          "1 each",
                          n, width, k, o->iterations),
               -1;
    if (k > n) return pith_raise("there are %d rows, too few for %d clusters", n, k), -1;
    if (!pith_check_rows(n, width, rows, o->spherical)) return -1;
    pith_real *number = malloc(2 * sizeof *number * (size_t)k);
    double *squared = malloc(sizeof *squared * (size_t)n);
    bool good = lloyd_open(&l, n, width, rows, k);
    if (good && (!number || !squared)) good = pith_raise("no memory for %d rows", n);
    if (good && draw(k, o->seed, number) && seed(&l, number, squared, centroids))
        iterations = iterate(&l, o, centroids, cluster, squared, history);
    lloyd_close(&l);
    free(number);
    free(squared);
    return iterations;
}
