/* lookup.c: lists that grow; and what belongs to a 64-bit key (a pointer, a hash of a text) within
 * one graph, found in constant time. Open addressing; the table doubles when it is half full. */
#include "inside.h"

void *pith_grown(void *list, int count, size_t each)
{
    if (count & (count - 1)) return list; /* no power of two: there is room */
    return realloc(list, each * (size_t)(count ? 2 * count : 1));
}

/* The place of the key, or the free one where it would go. */
static int place(const pith_lookup *l, uint64_t key)
{
    const uint64_t mask = (uint64_t)l->size - 1;
    uint64_t k = (key * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (l->entries[k].value && l->entries[k].key != key) k = (k + 1) & mask;
    return (int)k;
}

void *pith_lookup_find(const pith_lookup *l, uint64_t key)
{
    return l->size ? l->entries[place(l, key)].value : NULL;
}

void pith_lookup_add(pith_graph *g, pith_lookup *l, uint64_t key, void *value)
{
    if (2 * l->n >= l->size) {
        const pith_lookup old = *l;
        l->size = old.size ? 2 * old.size : 64;
        l->entries = pith_alloc(g, sizeof *l->entries * (size_t)l->size);
        if (!l->entries) { /* the graph has failed: nothing is looked up any more */
            *l = old;
            return;
        }
        for (int k = 0; k < old.size; k++)
            if (old.entries[k].value) l->entries[place(l, old.entries[k].key)] = old.entries[k];
    }
    l->entries[place(l, key)] = (pith_lookup_entry){ key, value };
    l->n++;
}
