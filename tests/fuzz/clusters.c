/* clusters.c: a file of clusters. */
#include "data/data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pith_clusters *c = pith_clusters_open(fuzz_file(data, size), 0x1234);
    double sum = 0;
    for (int i = 0; c && i < c->count; i++)
        sum += (double)c->centroids[(size_t)c->cluster[i] * (size_t)c->width];
    if (sum == 1) puts("");
    pith_clusters_close(c);
    return 0;
}
