/* loader_open.c: what a loader does when it is opened: it encodes all captions, and chooses the few
 * numbers of tokens that batches are padded to. */
#include "parts.h"

enum { AHEAD = 2 }; /* batches in the ring beyond one for each thread: one is ready, one in use */

static int length(const pith_loader *l, int pair)
{
    return (int)(l->start[pair + 1] - l->start[pair]);
}

static bool no_memory(void) { return pith_raise("no memory for the loader"); }

static bool check(const pith_loader_options *o)
{
    const pith_dataset *s = o->dataset;
    if (o->batch < 1)
        return pith_raise("the batch of a loader is %d, expected at least 1", o->batch);
    if (o->views < 0)
        return pith_raise("the number of fixed views of a loader is %d, expected at least 0",
                          o->views);
    if (o->threads < 0)
        return pith_raise("the number of threads of a loader is %d, expected at least 0",
                          o->threads);
    for (int c = 0; c < 3; c++)
        if (!(o->std[c] > 0))
            return pith_raise(
                "the standard deviation of colour %d is %g, expected a number above 0", c,
                o->std[c]);
    if (s->count < 1) return pith_raise("the split \"%s\" has no pairs", s->split);
    if (o->shuffle && o->batch > s->count)
        return pith_raise("a batch of %d is more than the %d pairs of the split \"%s\"", o->batch,
                          s->count, s->split);
    return true;
}

static bool take_captions(pith_loader *l)
{
    const int context = l->o.context;
    pith_table captions = { 0 };
    int64_t room = 0;
    l->start = malloc(sizeof(int64_t) * ((size_t)l->count + 1));
    l->caption = malloc(sizeof(int) * (size_t)l->count);
    bool good = (l->start && l->caption) || no_memory();
    if (good) l->start[0] = 0;
    for (int i = 0; good && i < l->count; i++) {
        const char *text = l->o.dataset->record(l->o.dataset, i, 0).caption;
        if (!text)
            good = pith_raise("sample %d of the split \"%s\" has no caption", i,
                              l->o.dataset->split);
        if (good && l->start[i] + context > room) {
            room = 2 * (l->start[i] + context);
            int *wider = realloc(l->ids, sizeof(int) * (size_t)room);
            if (!wider) good = no_memory();
            else l->ids = wider;
        }
        const int n = good ? pith_encode(l->o.tokenizer, text, context, l->ids + l->start[i]) : 0;
        if (good && (l->caption[i] = pith_table_add(&captions, text, strlen(text))) < 0)
            good = no_memory();
        l->start[i + 1] = l->start[i] + n;
        good = good && n > 0;
    }
    pith_table_free(&captions);
    return good;
}

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

int64_t pith_loader_count(const pith_loader *l, int64_t number)
{
    const uint64_t key = pith_hash("order", l->o.seed);
    int64_t sum = 0;
    for (int row = 0; row < l->o.batch; row++)
        sum += length(l, pith_loader_sample(l, number, row, key));
    return sum;
}

/* The largest number of tokens that a batch can have: that of the longest captions in one batch. */
static int64_t most_tokens(const pith_loader *l)
{
    int64_t most = 0;
    if (!l->o.shuffle) {
        for (int64_t k = 0; k < l->per_epoch; k++)
            most = pith_loader_count(l, k) > most ? pith_loader_count(l, k) : most;
        return most;
    }
    int64_t *with = calloc((size_t)l->o.context + 1, sizeof *with),
            left = l->o.batch; /* with[n]: captions of length n */
    if (!with) return -1;
    for (int i = 0; i < l->count; i++) with[length(l, i)]++;
    for (int n = l->o.context; n > 0; n--) {
        const int64_t taken = with[n] < left ? with[n] : left;
        most += taken * n;
        left -= taken;
    }
    free(with);
    return most;
}

/* Chooses the median, the 90 % quantile and the maximum of the first batches' numbers of tokens,
 * and the largest possible number, all rounded up to 16: few sizes, and little padding. */
static bool choose_sizes(pith_loader *l)
{
    static const double quantile[3] = { 0.5, 0.9, 1 };
    enum { SAMPLE = 256 };
    int sums[SAMPLE];
    const int n = l->limit < SAMPLE ? (int)l->limit : SAMPLE;
    const int64_t most = most_tokens(l);
    if (most < 0) return no_memory();
    if (most > INT32_MAX - 16)
        return pith_raise("a batch of %d captions may have too many tokens", l->o.batch);
    for (int k = 0; k < n; k++) sums[k] = (int)pith_loader_count(l, k);
    qsort(sums, (size_t)n, sizeof *sums, ascending);
    for (int k = 0; k < 4; k++) {
        const int tokens = k < 3 ? sums[(int)(quantile[k] * (n - 1))] : (int)most,
                  size = (tokens + 15) / 16 * 16;
        if (l->n_sizes == 0 || size > l->sizes[l->n_sizes - 1]) l->sizes[l->n_sizes++] = size;
    }
    return true;
}

static bool make_ring_entry(const pith_loader *l, pith_prepared_batch *p)
{
    const size_t batch = (size_t)l->o.batch, tokens = (size_t)l->sizes[l->n_sizes - 1];
    const int size = l->o.dataset->size;
    pith_host_batch *b = &p->batch;
    p->number = -1;
    p->slots = 4;
    while (p->slots < 2 * l->o.batch) p->slots *= 2;
    const size_t integers = 2 * tokens + 6 * batch + 1 + (size_t)p->slots;
    b->ids = malloc(sizeof(int) * integers); /* one block of memory for all arrays of integers */
    p->picture = malloc(3 * (size_t)size * (size_t)size);
    p->work = malloc(sizeof(float) * pith_augment_room(size));
    if (!b->ids || !p->picture || !p->work) return no_memory();
    b->rows = l->o.batch;
    b->size = size;
    b->positions = b->ids + tokens;
    b->offsets = b->positions + tokens;
    b->last = b->offsets + batch + 1;
    b->caption_id = b->last + batch;
    b->label = b->caption_id + batch;
    b->index = b->label + batch;
    p->sample = b->index + batch;
    p->first = p->sample + batch;
    return true;
}

static bool begin(pith_loader *l, int64_t first_batch)
{
    l->current = first_batch - 1;
    l->made = first_batch;
    l->ring_size = l->o.threads + AHEAD;
    l->ring = calloc((size_t)l->ring_size, sizeof *l->ring);
    l->threads = calloc((size_t)l->o.threads + 1, sizeof *l->threads);
    if (!l->ring || !l->threads) return no_memory();
    for (int k = 0; k < l->ring_size; k++)
        if (!make_ring_entry(l, &l->ring[k])) return false;
    return true;
}

pith_loader *pith_loader_new(const pith_loader_options *options, int64_t first_batch)
{
    if (!check(options)) return NULL;
    pith_loader *l = calloc(1, sizeof *l);
    if (!l) return no_memory(), NULL;
    l->o = *options;
    l->count = options->dataset->count;
    l->pixels = true;
    l->per_epoch = l->o.shuffle ? l->count / l->o.batch : (l->count + l->o.batch - 1) / l->o.batch;
    l->limit = l->o.shuffle ? INT64_MAX : l->per_epoch;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->room, NULL);
    pthread_cond_init(&l->ready, NULL);
    if (take_captions(l) && choose_sizes(l) && begin(l, first_batch)) return l;
    pith_loader_free(l);
    return NULL;
}

int pith_loader_sizes(const pith_loader *l, int sizes[PITH_MOST_SIZES])
{
    memcpy(sizes, l->sizes, sizeof l->sizes);
    return l->n_sizes;
}
