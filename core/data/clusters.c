/* clusters.c: a set's clusters in a file: each pair's, and the centroids. The file says of which
 * data it is, so that clusters never meet pictures that they were not made of, and holds a hash of
 * its own content. */
#include <errno.h>
#include "parts.h"

static uint64_t hash_of(const pith_clusters *c)
{
    uint64_t h = pith_hash_bytes(PITH_HASH, &c->k, sizeof c->k);
    h = pith_hash_bytes(h, c->cluster, sizeof *c->cluster * (size_t)c->count);
    return pith_hash_bytes(h, c->centroids, sizeof *c->centroids * (size_t)c->k * (size_t)c->width);
}

/* The numbers may be anybody's: of a file, or of a caller. */
static bool check_numbers(const char *path, const pith_clusters *c)
{
    for (int i = 0; i < c->count; i++)
        if (c->cluster[i] < 0 || c->cluster[i] >= c->k)
            return pith_raise("%s: the cluster of pair %d is %d, but there are %d", path, i,
                              c->cluster[i], c->k);
    for (size_t i = 0; i < (size_t)c->k * (size_t)c->width; i++)
        if (!isfinite(c->centroids[i]))
            return pith_raise("%s: centroid %zu holds a NaN or an infinity", path,
                              i / (size_t)c->width);
    return true;
}

/* ---- writing ---- */

bool pith_clusters_write(const char *path, const pith_clusters *c, uint64_t data_hash,
                         uint64_t model_hash)
{
    char data[17], model[17], hash[17];
    const pith_entry entries[] = {
        { .name = "cluster", .type = "I32", .ndim = 1, .dim = { c->count } },
        { .name = "centroids", .type = "F32", .ndim = 2, .dim = { c->k, c->width } },
    };
    const char *meta[] = { "kind",  "pith-clusters",
                           "data",  pith_hash_text(data_hash, data),
                           "model", pith_hash_text(model_hash, model),
                           "hash",  pith_hash_text(hash_of(c), hash),
                           NULL };
    size_t size = 0;
    if (!check_numbers(path, c)) return false;
    char *head = pith_file_head(2, entries, meta, false, &size);
    if (!head) return pith_raise("%s: no memory", path);
    errno = 0;
    FILE *f = pith_begin_file(path);
    const size_t numbers = (size_t)c->count, reals = (size_t)c->k * (size_t)c->width;
    const bool good = f && fwrite(head, 1, size, f) == size &&
                      fwrite(c->cluster, sizeof *c->cluster, numbers, f) == numbers &&
                      fwrite(c->centroids, sizeof *c->centroids, reals, f) == reals;
    const int why = pith_end_file(f, path, good);
    free(head);
    return !why || pith_raise("%s: cannot be written: %s", path, pith_file_error(why));
}

/* ---- reading ---- */

static bool check_header(const char *path, const pith_file *f, uint64_t data_hash)
{
    char wanted[17];
    const char *kind = pith_file_meta(f, "kind"), *data = pith_file_meta(f, "data");
    if (!kind || strcmp(kind, "pith-clusters") || !data || !pith_file_meta(f, "hash"))
        return pith_raise("%s: not a file of clusters: its header does not say that it is one",
                          path);
    if (strcmp(data, pith_hash_text(data_hash, wanted)))
        return pith_raise("%s: these are clusters of data with the hash %.16s, found data with the "
                          "hash %s; pith data cluster makes clusters of it",
                          path, data, wanted);
    const pith_entry *cluster = pith_file_find(f, "cluster"), *c = pith_file_find(f, "centroids");
    if (!cluster || strcmp(cluster->type, "I32") || cluster->ndim != 1 ||
        cluster->dim[0] > INT32_MAX - 1)
        return pith_raise("%s: expected a tensor cluster, I32 of one axis", path);
    if (!c || strcmp(c->type, "F32") || c->ndim != 2 || c->dim[0] > INT32_MAX - 1 ||
        c->dim[1] > INT32_MAX - 1)
        return pith_raise("%s: expected a tensor centroids, F32 of two axes", path);
    return true;
}

pith_clusters *pith_clusters_open(const char *path, uint64_t data_hash)
{
    pith_file *f = pith_file_open(path);
    if (!f || !check_header(path, f, data_hash)) return pith_file_close(f), NULL;
    const pith_entry *cluster = pith_file_find(f, "cluster"),
                     *rows = pith_file_find(f, "centroids");
    pith_clusters *c = malloc(sizeof *c + cluster->bytes + rows->bytes);
    char found[17];
    bool good = c != NULL || pith_raise("%s: no memory", path);
    if (good) {
        char *memory = (char *)(c + 1);
        *c = (pith_clusters){ .count = (int)cluster->dim[0],
                              .k = (int)rows->dim[0],
                              .width = (int)rows->dim[1],
                              .cluster = memcpy(memory, cluster->data, cluster->bytes),
                              .centroids = memcpy(memory + cluster->bytes, rows->data,
                                                  rows->bytes) };
        c->hash = hash_of(c);
        good = check_numbers(path, c);
    }
    if (good && strcmp(pith_file_meta(f, "hash"), pith_hash_text(c->hash, found)))
        good = pith_raise("%s: is damaged: its content has the hash %s, it was written with %.16s",
                          path, found, pith_file_meta(f, "hash"));
    pith_file_close(f);
    if (good) return c;
    free(c);
    return NULL;
}

void pith_clusters_close(pith_clusters *c) { free(c); }
