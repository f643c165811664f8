/* truth.c: a set beside the one that it was made from: which captions are still the right ones. So
 * planted noise (pith data sample --shuffle) tells what a score is worth. */
#include <stdlib.h>
#include <string.h>
#include "curate.h"

typedef struct {
    const char *source, *caption;
} known;

static int by_source(const void *a, const void *b)
{
    return strcmp(((const known *)a)->source, ((const known *)b)->source);
}

static int by_both(const void *a, const void *b)
{
    const int order = by_source(a, b);
    return order ? order : strcmp(((const known *)a)->caption, ((const known *)b)->caption);
}

void find_truth(const pith_pack *pack, int n, const int *index, const pith_pack *original,
                const char *path, bool *right)
{
    const size_t count = (size_t)original->count;
    known *list = room(sizeof *list * count);
    for (size_t i = 0; i < count; i++)
        list[i] = (known){ original->source[i], original->caption[i] };
    qsort(list, count, sizeof *list, by_both);
    for (int k = 0; k < n; k++) {
        const known one = { pack->source[index[k]], pack->caption[index[k]] };
        right[k] = bsearch(&one, list, count, sizeof one, by_both);
        if (!right[k] && !bsearch(&one, list, count, sizeof one, by_source))
            pith_raise("%s: has no pair with the source %s: expected the set that the pairs were "
                       "made from",
                       path, plain(one.source));
    }
    free(list);
}
