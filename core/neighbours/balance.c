/* balance.c: groups of near-duplicates, and the row that stands for each.
 *
 * Image semantic balance of CLIP-CID (Yang et al., arXiv 2408.09441): rows nearer than beta are
 * joined by union-find, and of each group only the central picture stays; "central" as DanQing, of
 * the same authors, has it: nearest to the group's mean. Shards with a second pass over what they
 * leave are DanQing's, too. That of equally near ones the first stays, and that groups of both
 * passes are joined and their centre chosen once, are choices of ours. */
#include <math.h>
#include "parts.h"

int *pith_rows_by_group(int n, int groups, const int *group, int **order)
{
    int *first = calloc((size_t)groups + 1 + (size_t)n, sizeof *first);
    if (!first) return pith_raise("no memory for %d groups of %d rows", groups, n), NULL;
    *order = first + groups + 1;
    for (int i = 0; i < n; i++) first[group[i] + 1]++;
    for (int g = 0; g < groups; g++) first[g + 1] += first[g];
    for (int i = n; i-- > 0;) (*order)[--first[group[i] + 1]] = i;
    for (int g = 0; g < groups; g++) first[g] = first[g + 1];
    first[groups] = n;
    return first;
}

/* Rows of equal pictures may differ by rounding, for a model computes them in different batches. */
static const double rounding = 2e-6;

/* Of a group of `count` rows; false without memory. */
static bool keep_one(int width, const pith_real *rows, int count, const int *member, bool *keep,
                     double *distance)
{
    double least = HUGE_VAL, *mean = calloc((size_t)width, sizeof *mean);
    if (!mean) return false;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < width; k++)
            mean[k] += (double)rows[(size_t)member[i] * (size_t)width + (size_t)k];
    for (int k = 0; k < width; k++) mean[k] /= count;
    for (int i = 0; i < count; i++) {
        const pith_real *row = rows + (size_t)member[i] * (size_t)width;
        double squared = 0;
        for (int k = 0; k < width; k++)
            squared += ((double)row[k] - mean[k]) * ((double)row[k] - mean[k]);
        distance[member[i]] = sqrt(squared);
        least = fmin(least, distance[member[i]]);
    }
    bool kept = false;
    for (int i = 0; i < count; i++) {
        keep[member[i]] = !kept && distance[member[i]] <= least + rounding;
        kept |= keep[member[i]];
    }
    free(mean);
    return true;
}

bool pith_keep_central(int n, int width, const pith_real *rows, int groups, const int *group,
                       bool *keep, double *distance)
{
    int *order = NULL, *first = pith_rows_by_group(n, groups, group, &order);
    bool good = true;
    if (!first) return false;
#pragma omp parallel for schedule(dynamic, 64) reduction(&& : good)
    for (int g = 0; g < groups; g++)
        good = keep_one(width, rows, first[g + 1] - first[g], order + first[g], keep, distance) &&
               good;
    free(first);
    return good || pith_raise("no memory for the mean of a group");
}

static int groups_of(int n, int width, const pith_real *rows, double beta, int *group)
{
    pith_forest *f = pith_forest_new(n, width, rows, beta, n);
    const int groups = f ? pith_forest_groups(f, beta, group) : -1;
    pith_forest_free(f);
    return groups;
}

/* Rows first .. first+count-1 alone: what stays is added to `survivor` and its rows behind those of
 * the others; group[i] becomes the number of the survivor of row i's group. */
static bool add_shard(int first, int count, int width, const pith_real *rows, double beta,
                      int *group, bool *keep, double *distance, int *survivors, pith_real *kept)
{
    const size_t w = (size_t)width;
    int *own = malloc(sizeof *own * (size_t)count), *which = NULL;
    const int groups = own ? groups_of(count, width, rows + (size_t)first * w, beta, own) : -1;
    if (!own) pith_raise("no memory to group %d rows", count);
    bool good = groups >= 0 && pith_keep_central(count, width, rows + (size_t)first * w, groups,
                                                 own, keep, distance);
    if (good && !(which = malloc(sizeof *which * (size_t)groups)))
        good = pith_raise("no memory for %d groups", groups);
    for (int i = 0; good && i < count; i++)
        if (keep[i]) {
            memcpy(kept + (size_t)*survivors * w, rows + (size_t)(first + i) * w, w * sizeof *kept);
            which[own[i]] = (*survivors)++;
        }
    for (int i = 0; good && i < count; i++) group[first + i] = which[own[i]];
    free(which);
    free(own);
    return good;
}

/* Numbers groups anew, in the order of their first rows. */
static void count_anew(int n, int *group, int *number)
{
    int groups = 0;
    for (int i = 0; i < n; i++) number[i] = -1;
    for (int i = 0; i < n; i++) {
        if (number[group[i]] < 0) number[group[i]] = groups++;
        group[i] = number[group[i]];
    }
}

int pith_near_groups(int n, int width, const pith_real *rows, double beta, int shards, int *group)
{
    const size_t w = (size_t)width;
    int survivors = 0, groups = -1;
    if (shards < 2) return groups_of(n, width, rows, beta, group);
    if (shards > n) return pith_raise("%d shards of %d rows", shards, n), -1;
    pith_real *kept = malloc((size_t)n * w * sizeof *kept);
    bool *keep = malloc((size_t)n);
    double *distance = malloc(sizeof *distance * (size_t)n);
    int *joined = malloc(sizeof *joined * (size_t)n);
    bool good = (kept && keep && distance && joined) || pith_raise("no memory for %d rows", n);
    for (int s = 0; good && s < shards; s++) {
        const int first = (int)((int64_t)s * n / shards), end = (int)((s + 1ll) * n / shards);
        good = add_shard(first, end - first, width, rows, beta, group, keep, distance, &survivors,
                         kept);
    }
    if (good) groups = groups_of(survivors, width, kept, beta, joined);
    if (groups >= 0) {
        for (int i = 0; i < n; i++) group[i] = joined[group[i]];
        count_anew(n, group, joined);
    }
    free(kept);
    free(keep);
    free(distance);
    free(joined);
    return groups;
}
