/* cluster.c: pith data cluster: a cluster for each pair, by k-means over the rows of pictures. */
#include <stdlib.h>
#include <string.h>
#include "curate.h"
#include "neighbours/neighbours.h"

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* What the clusters hold of the training split. */
static void tell(const curation *c, const pith_pack *pack, const int *cluster,
                 const double *squared, int n, int iterations)
{
    const int k = (int)c->k;
    int *size = room(sizeof *size * (size_t)k), empty = 0;
    double inertia = 0;
    for (int i = 0; i < pack->count; i++)
        if (pack->split[i] == PITH_TRAIN) size[cluster[i]]++, inertia += squared[i];
    qsort(size, (size_t)k, sizeof *size, ascending);
    while (empty < k && !size[empty]) empty++;
    printf(
        "%d cluster%s of %d training pairs: sizes %d, %d, %d (least, median, most); inertia %.9g "
        "(%.6g a pair) after %d iterations\n",
        k, k == 1 ? "" : "s", n, size[0], size[k / 2], size[k - 1], inertia, inertia / n,
        iterations);
    if (empty) printf("%d clusters are empty: too few pictures differ\n", empty);
    free(size);
}

/* The rows of the training split, one after another. */
static pith_real *rows_of_training(const pith_real *rows, const int *index, int n, size_t width)
{
    pith_real *own = room(sizeof *own * (size_t)n * width);
    for (int i = 0; i < n; i++)
        memcpy(own + (size_t)i * width, rows + (size_t)index[i] * width, sizeof *own * width);
    return own;
}

void data_cluster(const char *data, const curation *c)
{
    const int k = (int)c->k;
    int n;
    need_option("--model", c->model);
    need_option("--out", c->out);
    check_pack(c->out, "pith-clusters");
    model m = open_model(c->model);
    pith_pack *pack = open_data(data, m.config.image_size, 0.05, NULL);
    const size_t width = (size_t)m.config.embed, count = (size_t)pack->count;
    int *index = training_pairs(pack, data, &n);
    if (k > n) pith_raise("%s: --k %d: there are only %d training pairs", data, k, n);
    pith_real *rows = picture_rows(&m, c->model, pack, pack->count, NULL);
    pith_real *own = rows_of_training(rows, index, n, width);
    pith_real *centroids = room(sizeof *centroids * (size_t)k * width);
    int *cluster = room(sizeof *cluster * count);
    double *squared = room(sizeof *squared * count);
    float *stored = room(sizeof *stored * (size_t)k * width);
    const pith_kmeans_options o = { k, (int)c->iterations, c->spherical, (uint64_t)common_seed };
    pith_multiply_on(pith_store_device(m.store));
    const int iterations = pith_kmeans(n, (int)width, own, &o, centroids, cluster, NULL);
    pith_nearest(pack->count, (int)width, rows, k, centroids, cluster, squared);
    for (size_t i = 0; i < (size_t)k * width; i++) stored[i] = (float)centroids[i];
    const pith_clusters found = { pack->count, k, (int)width, cluster, stored, 0 };
    pith_clusters_write(c->out, &found, pack->hash, model_hash(m.store));
    tell(c, pack, cluster, squared, n, iterations);
    printf("%s\n", c->out);
    free(stored);
    free(squared);
    free(cluster);
    free(centroids);
    free(own);
    free(rows);
    free(index);
    pith_pack_close(pack);
    close_model(&m);
}
