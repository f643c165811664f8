/* bpe_train.c: learns byte pair merges from captions. Pairs are counted once for every different
 * word, times how often it occurs. After a merge only the words that hold its pair are counted
 * again. */
#include "parts.h"

typedef struct {
    pith_table words, pairs;
    int64_t *times, *count; /* how often each word occurs; how often each pair does */
    size_t word_room, pair_room;
    int *symbol, *length; /* symbols of all words, one word after another; how many each word has,
                             fewer with every merge */
    size_t *start;
    bool no_memory;
} corpus;

/* Makes room for one more number in an array. */
static bool room_for(int64_t **a, size_t *room, int count)
{
    if ((size_t)count < *room) return true;
    int64_t *wider = realloc(*a, sizeof(int64_t) * (2 * *room + 1024));
    if (!wider) return false;
    *a = wider;
    *room = 2 * *room + 1024;
    return true;
}

static bool count_word(void *context, int kind, const char *bytes, size_t size)
{
    corpus *c = context;
    const int before = c->words.count;
    if (kind != PITH_WORD) return true;
    const int w = room_for(&c->times, &c->word_room, before)
                      ? pith_table_add(&c->words, bytes, size)
                      : -1;
    if (w < 0) return c->no_memory = true, false;
    if (w == before) c->times[w] = 0;
    c->times[w]++;
    return true;
}

/* Adds `times` to the count of every pair in a word; a negative number takes the word out. */
static bool count_pairs(corpus *c, int w, int64_t times)
{
    const int *s = c->symbol + c->start[w];
    for (int k = 0; k + 1 < c->length[w]; k++) {
        const int before = c->pairs.count;
        const int p = room_for(&c->count, &c->pair_room, before)
                          ? pith_table_add(&c->pairs, s + k, 2 * sizeof(int))
                          : -1;
        if (p < 0) return false;
        if (p == before) c->count[p] = 0;
        c->count[p] += times;
    }
    return true;
}

static bool spell_words(corpus *c)
{
    const size_t words = (size_t)c->words.count + 1,
                 bytes = c->words.count ? c->words.end[c->words.count - 1] : 0;
    int of[2][256];
    for (int b = 0; b < 512; b++)
        of[b / 256][b % 256] = pith_byte_symbol((unsigned char)(b % 256), b >= 256);
    c->symbol = malloc(sizeof(int) * (bytes + 1));
    c->length = malloc(sizeof(int) * words);
    c->start = malloc(sizeof(size_t) * words);
    if (!c->symbol || !c->length || !c->start) return false;
    for (int w = 0; w < c->words.count; w++) {
        size_t size;
        const char *text = pith_table_key(&c->words, w, &size);
        c->start[w] = (size_t)(text - c->words.bytes);
        c->length[w] = (int)size;
        for (size_t k = 0; k < size; k++)
            c->symbol[c->start[w] + k] = of[k + 1 == size][(unsigned char)text[k]];
        if (!count_pairs(c, w, c->times[w])) return false;
    }
    return true;
}

static bool merge_in_word(corpus *c, int w, const int pair[2], int made)
{
    int *s = c->symbol + c->start[w], k = 0, to = 0;
    const int n = c->length[w];
    while (k + 1 < n && !(s[k] == pair[0] && s[k + 1] == pair[1])) k++;
    if (k + 1 >= n) return true;
    if (!count_pairs(c, w, -c->times[w])) return false;
    for (k = 0; k < n; to++) {
        const bool joined = k + 1 < n && s[k] == pair[0] && s[k + 1] == pair[1];
        s[to] = joined ? made : s[k];
        k += joined ? 2 : 1;
    }
    c->length[w] = to;
    return count_pairs(c, w, c->times[w]);
}

/* Makes the most frequent pair a symbol, again and again, until there are `merges` of them or no
 * pair occurs twice. */
static bool learn(corpus *c, pith_tokenizer *t, int merges)
{
    while (t->pairs.count < merges) {
        int best = 0, pair[2];
        for (int p = 1; p < c->pairs.count; p++)
            if (c->count[p] > c->count[best]) best = p;
        if (c->pairs.count == 0 || c->count[best] < 2) break;
        memcpy(pair, pith_table_key(&c->pairs, best, NULL), sizeof pair);
        const int made = t->symbols.count;
        const pith_merged state = pith_add_merge(t, pair[0], pair[1]);
        if (state == PITH_NO_MEMORY) return false;
        /* its text is a symbol already, made of other parts: not to be tried again */
        if (state != PITH_MERGED) c->count[best] = INT64_MIN / 2;
        for (int w = 0; state == PITH_MERGED && w < c->words.count; w++)
            if (!merge_in_word(c, w, pair, made)) return false;
    }
    return true;
}

pith_tokenizer *pith_tokenizer_train(int n, const char *const *captions, int merges)
{
    corpus c = { 0 };
    pith_tokenizer *t = pith_tokenizer_bytes();
    bool good = t != NULL;
    for (int i = 0; good && i < n; i++)
        good = pith_split_text(captions[i], count_word, &c) && !c.no_memory;
    good = good && spell_words(&c) && learn(&c, t, merges);
    pith_table_free(&c.words);
    pith_table_free(&c.pairs);
    free(c.times);
    free(c.count);
    free(c.symbol);
    free(c.length);
    free(c.start);
    if (good) return t;
    if (t) pith_raise("no memory to learn %d merges from %d captions", merges, n);
    pith_tokenizer_free(t);
    return NULL;
}
