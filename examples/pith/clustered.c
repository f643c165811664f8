/* clustered.c: --clusters: the cluster of each picture and the centroids, which pith data cluster
 * found, for losses that learn from them. */
#include <stdlib.h>
#include <string.h>
#include "task.h"

stored_clusters clusters_open(const recipe *r, const pith_pack *pack)
{
    stored_clusters c = { 0 };
    if (!r->clusters) return c;
    c.file = pith_clusters_open(r->clusters, pack->hash);
    if (c.file->count != pack->count)
        pith_raise("%s: clusters of %d pairs, the data have %d", r->clusters, c.file->count,
                   pack->count);
    const size_t n = (size_t)c.file->k * (size_t)c.file->width;
    c.cluster = room(sizeof *c.cluster * (size_t)r->batch);
    if (sizeof(pith_real) == sizeof(float)) return c;
    c.wider = room(sizeof *c.wider * n);
    for (size_t i = 0; i < n; i++) c.wider[i] = (pith_real)c.file->centroids[i];
    return c;
}

void clusters_close(stored_clusters *c)
{
    pith_clusters_close(c->file);
    free(c->cluster);
    free(c->wider);
}

void clusters_add(const stored_clusters *c, int batch, pith_batch *b)
{
    if (!c || !c->file) return;
    b->cluster = pith_input(b->graph, "cluster", PITH_I32, batch);
    b->centroids = pith_input(b->graph, "centroids", PITH_F32, c->file->k, c->file->width);
}

const void *clusters_fetch(const stored_clusters *c, const pith_dataset *data, const char *name,
                           const pith_host_batch *b)
{
    if (!c || !c->file) return NULL;
    if (!strcmp(name, "centroids")) return c->wider ? (const void *)c->wider : c->file->centroids;
    if (strcmp(name, "cluster")) return NULL;
    for (int i = 0; i < b->rows; i++)
        c->cluster[i] = b->index[i] < 0
                            ? -1
                            : c->file->cluster[data->record(data, b->index[i], 0).place];
    return c->cluster;
}
