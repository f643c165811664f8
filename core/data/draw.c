/* draw.c: pairs in random order, of which the first few are a random sample. */
#include "parts.h"

typedef struct {
    uint64_t key;
    int pair;
} keyed;

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->pair < y->pair ? -1 : x->pair > y->pair;
}

bool pith_random_order(int n, int *pairs, const char *name, uint64_t seed)
{
    const uint64_t stream = pith_hash(name, seed);
    keyed *list = malloc(sizeof *list * (size_t)n + 1);
    if (!list) return pith_raise("no memory to order %d pairs", n);
    for (int k = 0; k < n; k++) {
        uint32_t w[4];
        pith_philox(stream, (uint64_t)pairs[k], 0, w);
        list[k] = (keyed){ (uint64_t)w[1] << 32 | w[0], pairs[k] };
    }
    qsort(list, (size_t)n, sizeof *list, by_key);
    for (int k = 0; k < n; k++) pairs[k] = list[k].pair;
    free(list);
    return true;
}
