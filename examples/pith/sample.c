/* sample.c: pith data sample: sets for experiments on data: a part of the training pairs, or noise
 * and duplicates planted among them. Other splits stay as they are. */
#include <stdlib.h>
#include <string.h>
#include "curate.h"

typedef struct {
    const pith_pack *pack;
    int n, *pair; /* the training pairs that stay, ascending */
    int *caption; /* of every pair of the pack: whose captions it has */
    sheet told;   /* a line for each thing done, printed when all is */
} sample;

static int ascending(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* ---- fewer ---- */

static void take_half(sample *s, int half)
{
    const int of = s->n;
    s->n = 0;
    for (int k = 0; k < of; k++)
        if (is_second_half(s->pack->caption[s->pair[k]]) == (half == 2))
            s->pair[s->n++] = s->pair[k];
    if (!s->n) pith_raise("no training caption lies in half %d", half);
    fprintf(s->told.f,
            "half %d, by bit 32 of the FNV-1a hash of the caption: %d of %d training pairs stay\n",
            half, s->n, of);
}

static void take(sample *s, int64_t count)
{
    if (count > s->n)
        pith_raise("--count %lld: there are only %d training pairs", (long long)count, s->n);
    fprintf(s->told.f, "drawn with the seed %lld: %lld of %d training pairs stay\n",
            (long long)common_seed, (long long)count, s->n);
    pith_random_order(s->n, s->pair, "sample", (uint64_t)common_seed);
    s->n = (int)count;
    qsort(s->pair, (size_t)s->n, sizeof *s->pair, ascending);
}

static int share_of(double share, int n) { return (int)(share * n + 0.5); }

/* ---- noise ---- */

/* Numbers for the texts of all captions: equal ones have one. The caller frees them. */
static int *text_numbers(const pith_pack *p)
{
    pith_table table = { 0 };
    int *text = room(sizeof *text * (size_t)p->count);
    for (int i = 0; i < p->count; i++)
        if ((text[i] = pith_table_add(&table, p->caption[i], strlen(p->caption[i]))) < 0)
            pith_raise("no memory for captions");
    pith_table_free(&table);
    return text;
}

/* All have their own text at first. Who still has it changes captions with the next one with whom
 * that leaves neither his own: nearly one ring of all. There is such a one, unless a single text is
 * that of more than half: then as few as can be keep it. */
static void exchange(int m, const int *order, const int *text, int *caption)
{
    int j = 0, without_help = -1;
    for (int k = 0; k < m; k++) {
        const int i = order[k], own = text[i];
        if (text[caption[i]] != own || own == without_help) continue;
        int tries = 0;
        while (tries < m && (text[order[j]] == own || text[caption[order[j]]] == own))
            j = (j + 1) % m, tries++;
        if (tries == m) {
            without_help = own;
            continue;
        }
        const int other = caption[i];
        caption[i] = caption[order[j]];
        caption[order[j]] = other;
    }
}

/* Returns how many training pairs have another caption then. */
static int shuffle(sample *s, double share)
{
    const int m = share_of(share, s->n);
    int *order = room(sizeof *order * (size_t)s->n), *text = text_numbers(s->pack), changed = 0;
    memcpy(order, s->pair, sizeof *order * (size_t)s->n);
    pith_random_order(s->n, order, "shuffle", (uint64_t)common_seed);
    exchange(m, order, text, s->caption);
    for (int k = 0; k < m; k++) changed += text[order[k]] != text[s->caption[order[k]]];
    fprintf(
        s->told.f,
        "shuffled with the seed %lld: the captions of %d of %d training pairs; %d of these have "
        "another text now\n",
        (long long)common_seed, m, s->n, changed);
    free(order);
    free(text);
    return changed;
}

/* ---- duplicates ---- */

/* Writes all pairs; every training pair whose number, counted from 1, is a multiple of `every`
 * stands `repeat` times. */
static void write_sample(const sample *s, int64_t repeat, int64_t every, const char *out)
{
    const pith_pack *p = s->pack;
    const int64_t most = p->count + s->n / every * (repeat - 1);
    if (most > INT32_MAX)
        pith_raise("%s: a set holds at most %d pairs, not %lld", out, INT32_MAX, (long long)most);
    pith_chosen *list = room(sizeof *list * (size_t)most);
    int n = 0, k = 0; /* k: how many of the training pairs were met */
    for (int i = 0; i < p->count; i++) {
        const bool trains = p->split[i] == PITH_TRAIN;
        if (trains && (k == s->n || s->pair[k] != i)) continue;
        list[n++] = (pith_chosen){ .pair = i, .caption = s->caption[i] };
        if (!trains || ++k % every) continue;
        for (int copy = 2; copy <= repeat; copy++)
            list[n++] = (pith_chosen){ .pair = i, .caption = s->caption[i], .copy = copy };
    }
    pith_pack_choose(p, n, list, out);
    fprintf(s->told.f, "%s: %d pairs\n", out, n);
    free(list);
}

void data_sample(const char *data, const curation *c)
{
    sample s = { 0 };
    need_option("--out", c->out);
    if (was_given("--share") && c->count)
        pith_raise("--share and --count: a share or a number, not both");
    if (was_given("--every") && !was_given("--repeat"))
        pith_raise("--every: how often, says --repeat, which is missing");
    check_pack(c->out, "pith-pack");
    pith_pack *pack = open_data(data, 32, 0.05, NULL);
    sheet_open(&s.told);
    s.pack = pack;
    s.pair = training_pairs(pack, data, &s.n);
    s.caption = room(sizeof *s.caption * (size_t)pack->count);
    for (int i = 0; i < pack->count; i++) s.caption[i] = i;
    const int all = s.n;
    if (c->half) take_half(&s, (int)c->half);
    if (was_given("--share")) {
        const int wanted = share_of(c->share, s.n);
        take(&s, wanted ? wanted : 1);
    }
    if (c->count) take(&s, c->count);
    const int changed = was_given("--shuffle") ? shuffle(&s, c->shuffle) : 0;
    const int repeated = was_given("--repeat") ? (int)(s.n / c->every) : 0;
    if (was_given("--repeat"))
        fprintf(s.told.f,
                "every training pair whose number is a multiple of %lld stands %lld times: %d of "
                "%d\n",
                (long long)c->every, (long long)c->repeat, repeated, s.n);
    if (s.n == all && !changed && !repeated)
        pith_raise("%s: nothing would change: see --half, --share, --count, --shuffle and --repeat "
                   "in pith help data",
                   data);
    write_sample(&s, c->repeat, c->every, c->out);
    if (fclose(s.told.f)) pith_raise("no memory to tell what was done");
    fputs(s.told.text, stdout);
    free(s.told.text);
    free(s.pair);
    free(s.caption);
    pith_pack_close(pack);
}
