/* table.c: numbers byte strings: symbols, pairs of symbols, words, captions. A hash table with open
 * addressing whose keys lie one after another in one buffer. */
#include "files/files.h"
#include "parts.h"

const char *pith_table_key(const pith_table *t, int number, size_t *size)
{
    const size_t begin = number ? t->end[number - 1] : 0;
    if (size) *size = t->end[number] - begin;
    return t->bytes + begin;
}

/* The slot that holds the key, or the empty slot where it would be put. */
static int place_of(const pith_table *t, const void *key, size_t size)
{
    const uint64_t h = pith_hash_bytes(PITH_HASH, key, size);
    for (int i = (int)((h ^ h >> 32) & (unsigned)(t->slots - 1));; i = (i + 1) & (t->slots - 1)) {
        if (t->slot[i] < 0) return i;
        size_t other;
        const char *k = pith_table_key(t, t->slot[i], &other);
        if (other == size && memcmp(k, key, size) == 0) return i;
    }
}

int pith_table_find(const pith_table *t, const void *key, size_t size)
{
    return t->slots ? t->slot[place_of(t, key, size)] : -1;
}

static bool grow_slots(pith_table *t)
{
    const int slots = t->slots ? 2 * t->slots : 1024;
    int *slot = malloc(sizeof(int) * (size_t)slots);
    if (!slot) return false;
    memset(slot, -1, sizeof(int) * (size_t)slots);
    free(t->slot);
    t->slot = slot;
    t->slots = slots;
    for (int i = 0; i < t->count; i++) {
        size_t size;
        const char *key = pith_table_key(t, i, &size);
        slot[place_of(t, key, size)] = i;
    }
    return true;
}

static bool grow_keys(pith_table *t, size_t used, size_t size)
{
    if ((size_t)t->count == t->places) {
        const size_t places = t->places ? 2 * t->places : 512;
        size_t *end = realloc(t->end, places * sizeof *end);
        if (!end) return false;
        t->end = end;
        t->places = places;
    }
    if (used + size > t->room || !t->bytes) {
        const size_t room = 2 * (used + size) + 4096;
        char *bytes = realloc(t->bytes, room);
        if (!bytes) return false;
        t->bytes = bytes;
        t->room = room;
    }
    return true;
}

int pith_table_add(pith_table *t, const void *key, size_t size)
{
    const int old = pith_table_find(t, key, size);
    if (old >= 0) return old;
    const size_t used = t->count ? t->end[t->count - 1] : 0;
    if (t->count >= INT32_MAX / 4 || (2 * t->count >= t->slots && !grow_slots(t)) ||
        !grow_keys(t, used, size))
        return -1;
    memcpy(t->bytes + used, key, size);
    t->slot[place_of(t, key, size)] = t->count;
    t->end[t->count] = used + size;
    return t->count++;
}

void pith_table_free(pith_table *t)
{
    free(t->slot);
    free(t->end);
    free(t->bytes);
    *t = (pith_table){ 0 };
}
