/* loader.c: batches from a dataset. What is in a batch depends only on the options and its number,
 * not on the thread that makes it or on the batch that a run begins with. Threads make whole
 * batches ahead of time and put them into a ring; they sleep while it is full. */
#include "parts.h"

/* ---- order ---- */

/* Element i of a random permutation of 0 .. n-1, computed without a table. A Feistel network
 * permutes all numbers of 2 * half bits; a result of n or more is put through it again until one is
 * below n. */
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

int pith_loader_sample(const pith_loader *l, int64_t number, int row, uint64_t key)
{
    const int64_t at = number % l->per_epoch * l->o.batch + row;
    const int together = l->o.twins ? 2 : 1;
    if (l->o.shuffle)
        return together * shuffled(key, (uint64_t)(number / l->per_epoch), (int)at / together,
                                   l->count / together) +
               (int)at % together;
    const int64_t begin = number * l->o.batch, rest = l->count - begin;
    return (int)(at < l->count ? at : begin + row % rest);
}

int pith_loader_drawn(const pith_loader *l, int sample, int64_t epoch, bool second)
{
    const pith_loader_options *o = &l->o;
    const int synthetic = l->first[sample + 1] - l->first[sample] - 1;
    uint32_t w[4];
    if (!synthetic || (o->synthetic == PITH_ADD && !second)) return 0;
    const int place = o->dataset->record(o->dataset, sample, 0).place;
    pith_philox(pith_hash("synthetic", o->seed), (uint64_t)place, (uint64_t)epoch, w);
    if (o->synthetic == PITH_REPLACE && w[0] * 0x1p-32 >= o->replace) return 0;
    return 1 + (int)((uint64_t)w[1] * (uint64_t)synthetic >> 32);
}

/* ---- making a batch ---- */

/* The first row whose caption is the same, among the first or the second captions, whose entries
 * and numbers are given. */
static void set_caption_id(const pith_loader *l, pith_prepared_batch *p, const int *entry, int *id,
                           int row)
{
    const unsigned mask = (unsigned)p->slots - 1;
    unsigned at = (unsigned)l->text[entry[row]] * 2654435761u & mask;
    for (;; at = (at + 1) & mask) {
        const int other = p->first[at];
        if (other < 0) p->first[at] = row;
        else if (l->text[entry[other]] != l->text[entry[row]]) continue;
        id[row] = p->first[at];
        return;
    }
}

/* Puts the tokens of a caption behind those before. */
static void fill_caption(const pith_loader *l, pith_host_batch *b, int at, int entry)
{
    const int n = (int)(l->start[entry + 1] - l->start[entry]), from = b->offsets[at];
    memcpy(b->ids + from, l->ids + l->start[entry], sizeof(int) * (size_t)n);
    for (int k = 0; k < n; k++) b->positions[from + k] = k;
    b->offsets[at + 1] = from + n;
    b->last[at] = from + n - 1;
}

/* The first captions of all rows, or the second ones. */
static void fill_captions(const pith_loader *l, pith_prepared_batch *p, bool second)
{
    pith_host_batch *b = &p->batch;
    const int before = second ? b->rows : 0;
    int *id = second ? b->synthetic_caption_id : b->caption_id;
    memset(p->first, -1, sizeof(int) * (size_t)p->slots);
    for (int row = 0; row < b->rows; row++) {
        const int sample = p->sample[row], at = before + row;
        b->drawn[at] = pith_loader_drawn(l, sample, b->epoch, second);
        p->entry[at] = l->first[sample] + b->drawn[at];
        fill_caption(l, b, at, p->entry[at]);
        set_caption_id(l, p, p->entry + before, id, row);
    }
}

static void fill_row(const pith_loader *l, pith_prepared_batch *p, int row, int sample)
{
    pith_host_batch *b = &p->batch;
    b->label[row] = l->o.dataset->record(l->o.dataset, sample, 0).label;
    b->index[row] = row < b->pairs ? sample : -1;
    p->sample[row] = sample;
}

static pith_real *keep_memory(pith_real **memory, const pith_host_batch *b)
{
    const size_t size = 3 * (size_t)b->rows * (size_t)b->size * (size_t)b->size;
    return *memory = *memory ? *memory : malloc(sizeof(pith_real) * size);
}

/* Decodes each picture once. A second view is made from the same decoded picture, augmented with a
 * seed of its own. */
static void make_pictures(const pith_loader *l, pith_prepared_batch *p, int view)
{
    const pith_loader_options *o = &l->o;
    pith_host_batch *b = &p->batch;
    const size_t picture = 3 * (size_t)b->size * (size_t)b->size;
    const uint64_t seed[2] = { o->seed, pith_hash("second view", o->seed) };
    pith_real *out[2] = { b->pixels = p->pixels ? keep_memory(&p->pixel_memory, b) : NULL,
                          b->second_pixels = p->second_pixels ? keep_memory(&p->second_memory, b)
                                                              : NULL };
    if ((p->pixels && !out[0]) || (p->second_pixels && !out[1])) {
        snprintf(p->why, sizeof p->why, "no memory for the pictures of a batch");
        return;
    }
    for (int row = 0; (out[0] || out[1]) && row < b->rows; row++) {
        char why[256] = "";
        const int i = p->sample[row], place = o->dataset->record(o->dataset, i, 0).place;
        if (!o->dataset->decode(o->dataset, i, view, p->picture, why)) {
            snprintf(p->why, sizeof p->why, "sample %d of the split \"%.32s\": %s", i,
                     o->dataset->split, why);
            return;
        }
        for (int k = 0; k < 2; k++)
            if (out[k])
                pith_augment_view(&o->augment, seed[k], (uint64_t)view, (uint64_t)place, b->size,
                                  p->picture, o->mean, o->std, p->work,
                                  out[k] + picture * (size_t)row);
    }
}

static int size_of(const pith_loader *l, int64_t tokens)
{
    int k = 0;
    while (l->sizes[k] < tokens) k++;
    return l->sizes[k];
}

static void make_batch(const pith_loader *l, int64_t number, pith_prepared_batch *p)
{
    pith_host_batch *b = &p->batch;
    const pith_loader_options *o = &l->o;
    const int64_t left = l->count - number * o->batch;
    const uint64_t key = pith_hash("order", o->seed);
    b->epoch = (int)(number / l->per_epoch);
    b->view = o->views ? b->epoch % o->views : 0;
    b->pairs = !o->shuffle && left < o->batch ? (int)left : o->batch;
    b->sample = number * o->batch;
    b->offsets[0] = 0;
    *p->why = 0;
    for (int row = 0; row < o->batch; row++)
        fill_row(l, p, row, pith_loader_sample(l, number, row, key));
    fill_captions(l, p, false);
    if (o->synthetic == PITH_ADD) fill_captions(l, p, true);
    const int used = b->offsets[b->captions];
    b->tokens = size_of(l, used);
    memset(b->ids + used, 0, sizeof(int) * (size_t)(b->tokens - used));
    memset(b->positions + used, 0, sizeof(int) * (size_t)(b->tokens - used));
    make_pictures(l, p, o->views ? b->view : b->epoch);
}

/* ---- threads ---- */

static void *work(void *context)
{
    pith_loader *l = context;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->made >= l->limit || l->made >= l->current + l->ring_size) {
            pthread_cond_wait(&l->room, &l->lock);
            continue;
        }
        const int64_t number = l->made++;
        pith_prepared_batch *p = &l->ring[number % l->ring_size];
        p->number = -1;
        p->pixels = l->pixels;
        p->second_pixels = l->second_pixels;
        pthread_mutex_unlock(&l->lock);
        make_batch(l, number, p);
        pthread_mutex_lock(&l->lock);
        p->number = number;
        pthread_cond_signal(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Called when the first batch is asked for, not before: until then pith_loader_want may change what
 * a batch has. */
static bool start_threads(pith_loader *l)
{
    for (; l->running < l->o.threads; l->running++)
        if (pthread_create(&l->threads[l->running], NULL, work, l) != 0)
            return pith_raise("the system cannot start thread %d of the loader", l->running + 1);
    return true;
}

/* Makes the batch here if there are no threads, or if it was made before more pictures were wanted.
 */
static void complete(pith_loader *l, int64_t number, pith_prepared_batch *p)
{
    if (l->running && p->pixels >= l->pixels && p->second_pixels >= l->second_pixels) return;
    p->pixels = l->pixels;
    p->second_pixels = l->second_pixels;
    make_batch(l, number, p);
}

/* The caller is done with the batch before, so a thread may now use its place in the ring. */
const pith_host_batch *pith_loader_next(pith_loader *l, double *waited)
{
    if (!start_threads(l)) return NULL;
    const double begin = pith_seconds();
    pthread_mutex_lock(&l->lock);
    const int64_t number = l->current + 1;
    pith_prepared_batch *p = &l->ring[number % l->ring_size];
    if (number < l->limit) {
        l->current = number;
        pthread_cond_signal(&l->room);
        if (l->running)
            while (p->number != number) pthread_cond_wait(&l->ready, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    if (number >= l->limit) return NULL;
    complete(l, number, p);
    if (waited) *waited += pith_seconds() - begin;
    if (*p->why) return pith_raise("%s", p->why), NULL;
    return &p->batch;
}

int pith_loader_tokens(const pith_loader *l)
{
    const int64_t number = l->current + 1;
    return number < l->limit ? size_of(l, pith_loader_count(l, number)) : 0;
}

void pith_loader_want(pith_loader *l, bool pixels, bool second_pixels)
{
    pthread_mutex_lock(&l->lock);
    l->pixels = pixels;
    l->second_pixels = second_pixels;
    pthread_mutex_unlock(&l->lock);
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
    for (int k = 0; l->ring && k < l->ring_size; k++) {
        free(l->ring[k].batch.ids);
        free(l->ring[k].pixel_memory);
        free(l->ring[k].second_memory);
        free(l->ring[k].picture);
        free(l->ring[k].work);
    }
    free(l->ring);
    free(l->threads);
    free(l->first);
    free(l->ids);
    free(l->text);
    free(l->start);
    free(l);
}

int64_t pith_loader_batches(const pith_loader *l) { return l->per_epoch; }
