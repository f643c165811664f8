/* evaluate.c: retrieval and zero-shot classification. Both rank all candidates by their similarity
 * to a query and ask where the right one stands. Similarities are not stored, so memory grows with
 * the number of rows and not with its square. And twins, where there are two candidates. */
#include <math.h>
#include <stdlib.h>
#include "train.h"

enum { LANES = 32 };

typedef struct {
    const pith_real *row;
    int caption_id;
} captioned_row;

static const int recall_at[3] = { 1, 5, 10 };

/* A dot product in LANES partial sums, which the compiler turns into vector instructions. It may
 * not reorder a plain sum by itself, since that would change the result. */
static pith_real dot(int width, const pith_real *a, const pith_real *b)
{
    pith_real lane[LANES] = { 0 };
    int i = 0;
    for (; i + LANES <= width; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += a[i + l] * b[i + l];
    for (int l = 0; i + l < width; l++) lane[l] += a[i + l] * b[i + l];
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

/* rank[q] = 1 + the number of wrong candidates whose similarity to query q is at least that
 * of its most similar right candidate. A similarity that is NaN counts as larger. */
static void rank_queries(int width, int n, const captioned_row *queries, int m,
                         const captioned_row *candidates, int *rank)
{
#pragma omp parallel for schedule(static)
    for (int q = 0; q < n; q++) {
        pith_real best = -INFINITY;
        for (int c = 0; c < m; c++) {
            if (candidates[c].caption_id != queries[q].caption_id) continue;
            const pith_real x = dot(width, queries[q].row, candidates[c].row);
            if (x > best) best = x;
        }
        int better = 0;
        for (int c = 0; c < m; c++)
            better += candidates[c].caption_id != queries[q].caption_id &&
                      !(dot(width, queries[q].row, candidates[c].row) < best);
        rank[q] = better + 1;
    }
}

static double share_within(int n, const int *rank, int k)
{
    int hits = 0;
    for (int q = 0; q < n; q++) hits += rank[q] <= k;
    return n ? (double)hits / n : 0;
}

static void summarise(pith_retrieval *r, int direction, int n, const int *rank)
{
    double sum = 0;
    for (int q = 0; q < n; q++) sum += 1.0 / rank[q];
    r->mrr[direction] = sum / n;
    for (int k = 0; k < 3; k++) r->recall[direction][k] = share_within(n, rank, recall_at[k]);
}

/* The probability that at least one of `right` candidates is among the first k of n in
 * random order. */
static double chance(int n, int right, int k)
{
    double miss = 1;
    for (int j = 0; j < k && miss > 0; j++)
        miss *= n - j > right ? (double)(n - right - j) / (n - j) : 0;
    return 1 - miss;
}

typedef struct {
    int caption_id, index;
} caption_place;

static int by_caption(const void *a, const void *b)
{
    const caption_place *x = a, *y = b;
    return x->caption_id != y->caption_id ? (x->caption_id < y->caption_id ? -1 : 1)
                                          : x->index - y->index;
}

/* Writes each different caption once, as the row where it first occurs, and returns their number.
 * Also fills r->chance: what a random order would give. */
static int different_captions(int n, int width, const pith_real *text, const int *caption_id,
                              caption_place *places, captioned_row *captions, pith_retrieval *r)
{
    int count = 0;
    for (int i = 0; i < n; i++) places[i] = (caption_place){ caption_id[i], i };
    qsort(places, (size_t)n, sizeof *places, by_caption);
    for (int i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && places[end].caption_id == places[i].caption_id;) end++;
        captions[count++] = (captioned_row){ text + (size_t)places[i].index * (size_t)width,
                                             places[i].caption_id };
        for (int k = 0; k < 3; k++) r->chance[0][k] += chance(n, end - i, recall_at[k]);
    }
    for (int k = 0; k < 3; k++) {
        r->chance[0][k] /= count;
        r->chance[1][k] = chance(count, 1, recall_at[k]);
    }
    return count;
}

pith_retrieval pith_measure_retrieval(int n, int width, const pith_real *image,
                                      const pith_real *text, const int *caption_id)
{
    pith_retrieval r = { .pictures = n };
    if (n < 1) return r;
    captioned_row *pictures = malloc(sizeof *pictures * (size_t)n),
                  *captions = malloc(sizeof *captions * (size_t)n);
    caption_place *places = malloc(sizeof *places * (size_t)n);
    int *rank = malloc(sizeof *rank * (size_t)n);
    if (!pictures || !captions || !places || !rank) {
        free(pictures), free(captions), free(places), free(rank);
        return pith_raise("no memory to measure %d pairs", n), r;
    }
    for (int i = 0; i < n; i++)
        pictures[i] = (captioned_row){ image + (size_t)i * (size_t)width, caption_id[i] };
    r.captions = different_captions(n, width, text, caption_id, places, captions, &r);
    rank_queries(width, r.captions, captions, n, pictures, rank);
    summarise(&r, 0, r.captions, rank);
    rank_queries(width, n, pictures, r.captions, captions, rank);
    summarise(&r, 1, n, rank);
    free(places);
    free(pictures);
    free(captions);
    free(rank);
    return r;
}

pith_classified pith_measure_classes(int n, int width, const pith_real *image, const int *label,
                                     int classes, const pith_real *rows)
{
    pith_classified z = { .classes = classes };
    captioned_row *pictures = malloc(sizeof *pictures * (size_t)(n + 1)),
                  *names = malloc(sizeof *names * (size_t)(classes + 1));
    int *rank = malloc(sizeof *rank * (size_t)(n + 1)),
        *size = calloc((size_t)classes + 1, sizeof *size), most = 0;
    if (!pictures || !names || !rank || !size) {
        free(pictures), free(names), free(rank), free(size);
        return pith_raise("no memory to measure %d pictures", n), z;
    }
    for (int c = 0; c < classes; c++)
        names[c] = (captioned_row){ rows + (size_t)c * (size_t)width, c };
    for (int i = 0; i < n; i++) {
        if (label[i] < 0 || label[i] >= classes) continue;
        pictures[z.pictures++] = (captioned_row){ image + (size_t)i * (size_t)width, label[i] };
        if (++size[label[i]] > most) most = size[label[i]];
    }
    rank_queries(width, z.pictures, pictures, classes, names, rank);
    z.top1 = share_within(z.pictures, rank, 1);
    z.top5 = share_within(z.pictures, rank, 5);
    z.chance1 = classes ? chance(classes, 1, 1) : 0;
    z.chance5 = classes ? chance(classes, 1, 5) : 0;
    z.majority = z.pictures ? (double)most / z.pictures : 0;
    free(pictures);
    free(names);
    free(rank);
    free(size);
    return z;
}

/* Of four random similarities the two right ones are the largest in 2! 2! of 4! orders. */
pith_twins pith_measure_twins(int couples, int width, const pith_real *image, const pith_real *text)
{
    pith_twins t = { .couples = couples, .chance = 1.0 / 2, .chance_both = 1.0 / 6 };
    int pictures = 0, captions = 0, both = 0;
    for (int k = 0; k < couples; k++) {
        pith_real x[2][2];
        for (int i = 0; i < 2; i++)
            for (int c = 0; c < 2; c++)
                x[i][c] = dot(width, image + (size_t)(2 * k + i) * (size_t)width,
                              text + (size_t)(2 * k + c) * (size_t)width);
        const int picture = (x[0][0] > x[0][1]) + (x[1][1] > x[1][0]),
                  caption = (x[0][0] > x[1][0]) + (x[1][1] > x[0][1]);
        pictures += picture;
        captions += caption;
        both += picture + caption == 4;
    }
    if (!couples) return t;
    t.image_to_text = pictures / (2.0 * couples);
    t.text_to_image = captions / (2.0 * couples);
    t.both = (double)both / couples;
    return t;
}
