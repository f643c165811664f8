/* loader_open.c: what a loader does when it is opened: it encodes all captions, and chooses the few
 * numbers of tokens that batches are padded to. */
#include "parts.h"

enum { AHEAD = 2 }; /* batches in the ring beyond one for each thread: one is ready, one in use */

static int length(const pith_loader *l, int entry)
{
    return (int)(l->start[entry + 1] - l->start[entry]);
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
    if (!(o->replace >= 0 && o->replace <= 1))
        return pith_raise("the probability that a loader replaces a caption is %g, expected 0 to 1",
                          o->replace);
    for (int c = 0; c < 3; c++)
        if (!(o->std[c] > 0))
            return pith_raise(
                "the standard deviation of colour %d is %g, expected a number above 0", c,
                o->std[c]);
    if (o->twins && o->batch % 2)
        return pith_raise("a batch of %d would part twins, expected an even number", o->batch);
    if (o->twins && s->count % 2)
        return pith_raise("the split \"%s\" has %d pairs, but twins come in twos", s->split,
                          s->count);
    if (s->count < 1) return pith_raise("the split \"%s\" has no pairs", s->split);
    if (o->shuffle && o->batch > s->count)
        return pith_raise("a batch of %d is more than the %d pairs of the split \"%s\"", o->batch,
                          s->count, s->split);
    return true;
}

/* Makes room for one more entry, and for the tokens that it may have. */
static bool grow(pith_loader *l, int n, int *room, int64_t *tokens)
{
    const int context = l->o.context;
    if (n == INT32_MAX / 4) return pith_raise("a loader takes at most %d captions", n);
    if (n == *room) {
        *room += *room / 2 + l->count;
        int64_t *start = realloc(l->start, sizeof *start * ((size_t)*room + 1));
        if (start) l->start = start;
        int *text = realloc(l->text, sizeof *text * (size_t)*room);
        if (text) l->text = text;
        if (!start || !text) return no_memory();
    }
    if (!n) l->start[0] = 0;
    if (l->start[n] + context > *tokens) {
        *tokens = 2 * (l->start[n] + context);
        int *wider = realloc(l->ids, sizeof *wider * (size_t)*tokens);
        if (!wider) return no_memory();
        l->ids = wider;
    }
    return true;
}

/* Encodes all captions that may be drawn. */
static bool take_captions(pith_loader *l)
{
    const pith_dataset *s = l->o.dataset;
    pith_table texts = { 0 };
    int room = 0, n = 0;
    int64_t tokens = 0;
    l->first = calloc((size_t)l->count + 1, sizeof *l->first);
    bool good = l->first || no_memory();
    for (int i = 0; good && i < l->count; i++) {
        const char *text = s->record(s, i, 0).caption;
        if (!text) good = pith_raise("sample %d of the split \"%s\" has no caption", i, s->split);
        for (int c = 1; good && text; c++) {
            good = grow(l, n, &room, &tokens);
            const int size =
                good ? pith_encode(l->o.tokenizer, text, l->o.context, l->ids + l->start[n]) : 0;
            if (good && (l->text[n] = pith_table_add(&texts, text, strlen(text))) < 0)
                good = no_memory();
            if (good) l->start[n + 1] = l->start[n] + size, n++;
            good = good && size > 0;
            text = l->o.synthetic ? s->record(s, i, c).caption : NULL;
        }
        l->first[i + 1] = n;
    }
    pith_table_free(&texts);
    return good;
}

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

int64_t pith_loader_count(const pith_loader *l, int64_t number)
{
    const uint64_t key = pith_hash("order", l->o.seed);
    int64_t sum = 0;
    for (int row = 0; row < l->o.batch; row++) {
        const int sample = pith_loader_sample(l, number, row, key), own = l->first[sample];
        const int64_t epoch = number / l->per_epoch;
        sum += length(l, own + pith_loader_drawn(l, sample, epoch, false));
        if (l->o.synthetic == PITH_ADD)
            sum += length(l, own + pith_loader_drawn(l, sample, epoch, true));
    }
    return sum;
}

/* The most tokens that a sample can have in a batch. */
static int most_of(const pith_loader *l, int sample)
{
    const int own = l->first[sample], end = l->first[sample + 1];
    int most = 0;
    const bool both = l->o.synthetic == PITH_ADD;
    for (int k = both && end > own + 1 ? own + 1 : own; k < end; k++)
        most = length(l, k) > most ? length(l, k) : most;
    return most + (both ? length(l, own) : 0);
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
    int64_t *with = calloc(2 * (size_t)l->o.context + 1, sizeof *with),
            left = l->o.batch; /* with[n]: samples that have up to n tokens */
    if (!with) return -1;
    for (int i = 0; i < l->count; i++) with[most_of(l, i)]++;
    for (int n = 2 * l->o.context; n > 0; n--) {
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
    const bool both = l->o.synthetic == PITH_ADD;
    const size_t batch = (size_t)l->o.batch, tokens = (size_t)l->sizes[l->n_sizes - 1];
    const size_t captions = both ? 2 * batch : batch;
    const int size = l->o.dataset->size;
    pith_host_batch *b = &p->batch;
    p->number = -1;
    p->slots = 4;
    while (p->slots < 2 * l->o.batch) p->slots *= 2;
    const size_t integers = 2 * tokens + 5 * captions + 1 + 3 * batch + (size_t)p->slots;
    b->ids = malloc(sizeof(int) * integers); /* one block of memory for all arrays of integers */
    p->picture = malloc(3 * (size_t)size * (size_t)size);
    p->work = malloc(sizeof(float) * pith_augment_room(size));
    if (!b->ids || !p->picture || !p->work) return no_memory();
    b->rows = l->o.batch;
    b->captions = (int)captions;
    b->size = size;
    b->positions = b->ids + tokens;
    b->offsets = b->positions + tokens;
    b->last = b->offsets + captions + 1;
    b->drawn = b->last + captions;
    b->caption_id = b->drawn + captions;
    b->synthetic_caption_id = both ? b->caption_id + batch : NULL;
    b->label = b->caption_id + captions;
    b->index = b->label + batch;
    p->sample = b->index + batch;
    p->entry = p->sample + batch;
    p->first = p->entry + captions;
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
