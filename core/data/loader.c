/* loader.c: batches from a packed set, each a pure function of (options, its number): whichever
 * thread makes it, and wherever a run begins. Threads make whole batches ahead into a ring; they
 * sleep when it is full. */
#include <time.h>
#include "parts.h"

/* ---- order ---- */

/* A permutation of 0 .. n-1 without a table: a keyed Feistel network on an even number of bits;
 * what falls outside goes round again. */
static int shuffled(uint64_t key, uint64_t epoch, int i, int n)
{
    int half = 1;
    while ((int64_t)1 << 2 * half < n) half++;
    const uint32_t mask = (1u << half) - 1;
    uint32_t x = (uint32_t)i;
    do {
        uint32_t left = x >> half, right = x & mask;
        for (uint64_t round = 0; round < 6; round++) {
            uint32_t w[4];
            pith_philox(key, round << 32 | right, epoch, w);
            const uint32_t mixed = left ^ (w[0] & mask);
            left = right;
            right = mixed;
        }
        x = left << half | right;
    } while (x >= (uint32_t)n);
    return (int)x;
}

/* Which pair of the split stands in a row of a batch. */
int pith_loader_pair(const pith_loader *l, int64_t number, int row, uint64_t key)
{
    const int64_t at = number % l->per_epoch * l->o.batch + row;
    if (l->o.shuffle) return shuffled(key, (uint64_t)(number / l->per_epoch), (int)at, l->count);
    const int64_t begin = number * l->o.batch, rest = l->count - begin;
    return (int)(at < l->count ? at : begin + row % rest);
}

/* ---- making a batch ---- */

static void set_group(const pith_loader *l, pith_seat *p, int row, int pair)
{
    const unsigned mask = (unsigned)p->slots - 1;
    unsigned at = (unsigned)l->caption[pair] * 2654435761u & mask;
    for (;; at = (at + 1) & mask) {
        const int other = p->first[at];
        if (other < 0) p->first[at] = row;
        else if (l->caption[p->batch.index[other]] != l->caption[pair]) continue;
        p->batch.caption_id[row] = p->first[at];
        return;
    }
}

static void make_batch(const pith_loader *l, int64_t number, pith_seat *p)
{
    pith_host_batch *b = &p->batch;
    const pith_loader_options *o = &l->o;
    const size_t picture = 3 * (size_t)o->size * (size_t)o->size;
    const int64_t epoch = number / l->per_epoch, left = l->count - number * o->batch;
    const uint64_t key = pith_hash("order", o->seed),
                   view = (uint64_t)(o->views ? epoch % o->views : epoch);
    b->pairs = !o->shuffle && left < o->batch ? (int)left : o->batch;
    b->sample = number * o->batch;
    b->view = o->views ? (int)(epoch % o->views) : 0;
    b->offsets[0] = 0;
    memset(p->first, -1, sizeof(int) * (size_t)p->slots);
    for (int row = 0; row < o->batch; row++) {
        const int pair = pith_loader_pair(l, number, row, key),
                  n = (int)(l->start[pair + 1] - l->start[pair]), from = b->offsets[row];
        const uint8_t *pixels = l->own ? l->own + picture * (size_t)pair
                                       : o->pack->pixels + picture * (size_t)l->index[pair];
        memcpy(b->ids + from, l->ids + l->start[pair], sizeof(int) * (size_t)n);
        for (int k = 0; k < n; k++) b->positions[from + k] = k;
        b->offsets[row + 1] = from + n;
        b->last[row] = from + n - 1;
        b->index[row] = pair; /* within the split, until the groups are known */
        set_group(l, p, row, pair);
        pith_augment_view(&o->augment, o->seed, view, (uint64_t)l->index[pair], o->size, pixels,
                          o->mean, o->std, p->work, b->pixels + picture * (size_t)row);
    }
    for (int row = 0; row < o->batch; row++) {
        b->index[row] = l->index[b->index[row]];
        b->label[row] = o->pack->label[b->index[row]];
    }
    const int used = b->offsets[o->batch];
    int k = 0;
    while (l->sizes[k] < used) k++;
    b->tokens = l->sizes[k];
    memset(b->ids + used, 0, sizeof(int) * (size_t)(b->tokens - used));
    memset(b->positions + used, 0, sizeof(int) * (size_t)(b->tokens - used));
}

/* ---- threads ---- */

void *pith_loader_work(void *context)
{
    pith_loader *l = context;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->made >= l->limit || l->made >= l->given + l->places) {
            pthread_cond_wait(&l->room, &l->lock);
            continue;
        }
        const int64_t number = l->made++;
        pith_seat *p = &l->ring[number % l->places];
        p->number = -1;
        pthread_mutex_unlock(&l->lock);
        make_batch(l, number, p);
        pthread_mutex_lock(&l->lock);
        p->number = number;
        pthread_cond_signal(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* The batch given before is free from now on: `given` counts those that the caller is done with. */
const pith_host_batch *pith_loader_next(pith_loader *l, double *waited)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pthread_mutex_lock(&l->lock);
    const int64_t number = l->given + 1;
    pith_seat *p = &l->ring[number % l->places];
    if (number < l->limit) {
        l->given = number;
        pthread_cond_signal(&l->room);
        if (l->running)
            while (p->number != number) pthread_cond_wait(&l->ready, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    if (number >= l->limit) return NULL;
    if (!l->running) make_batch(l, number, p);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (waited)
        *waited += (double)(end.tv_sec - begin.tv_sec) +
                   1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
    return &p->batch;
}

void pith_loader_free(pith_loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->lock);
    for (int k = 0; k < l->running; k++) pthread_join(l->threads[k], NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->room);
    pthread_cond_destroy(&l->ready);
    for (int k = 0; l->ring && k < l->places; k++) {
        free(l->ring[k].batch.ids);
        free(l->ring[k].batch.pixels);
        free(l->ring[k].work);
    }
    free(l->ring);
    free(l->threads);
    free(l->index);
    free(l->own);
    free(l->ids);
    free(l->caption);
    free(l->start);
    free(l);
}

int64_t pith_loader_batches(const pith_loader *l) { return l->per_epoch; }
