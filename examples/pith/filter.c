/* filter.c: pith data filter: the training pairs whose caption fits the picture best stay.
 *
 * Data quality as in Scaling (Down) CLIP (Li et al., arXiv 2404.08197), section 2.3 of our notes:
 * pairs are ranked by the similarity of picture and text, and the top share is kept. Which model
 * scores the paper does not say: here it is the one that is named. A model that was trained on the
 * pairs it scores knows them by heart; so --cross-fit scores each half of them by another model,
 * which has not seen it. Halves are told apart by a hash of the caption, so that equal captions lie
 * in one half, and each is ranked alone, since two models' cosines have two scales. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "curate.h"
#include "files/files.h"

typedef struct {
    double score;
    int pair; /* its number in the pack */
    bool second, kept;
} scored;

/* The lowest bit of FNV-1a knows the lowest bits of the bytes alone, so a higher one. */
static bool is_second_half(const char *caption)
{
    return pith_hash_bytes(PITH_HASH, caption, strlen(caption)) >> 32 & 1;
}

/* Scores the pairs of one half, or all of them. */
static void score(const char *directory, const pith_pack *pack, bool whole, bool second, int n,
                  scored *list)
{
    model m = open_model_with_tokenizer(directory);
    pairs p = encode_split(&m.config, m.store, m.tokenizer, pack, PITH_TRAIN);
    const size_t width = (size_t)p.width;
    for (int i = 0; i < n; i++) {
        if (!whole && list[i].second != second) continue;
        double cosine = 0;
        for (size_t d = 0; d < width; d++)
            cosine += (double)p.image[(size_t)i * width + d] *
                      (double)p.text[(size_t)i * width + d];
        if (!isfinite(cosine))
            pith_raise("%s: its score of %s is no number", directory,
                       plain(pack->source[list[i].pair]));
        list[i].score = cosine;
    }
    pairs_free(&p);
    close_model(&m);
}

static int best_first(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->second != y->second) return x->second ? 1 : -1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->pair - y->pair;
}

/* Keeps the top share of n ranked pairs, at least one. */
static void keep_top(scored *list, int n, double share, const char *what)
{
    int kept = (int)(share * n + 0.5);
    double sum[2] = { 0 };
    if (kept < 1) kept = 1;
    for (int i = 0; i < n; i++) {
        list[i].kept = i < kept;
        sum[i >= kept] += list[i].score;
    }
    printf("%s: %d of %d kept, with a score of %.6g and more; mean score %.6g", what, kept, n,
           list[kept - 1].score, sum[0] / kept);
    if (kept < n) printf(" kept, %.6g left out", sum[1] / (n - kept));
    putchar('\n');
}

static void write_scores(const char *path, const pith_pack *pack, const scored *list, int n,
                         bool halves)
{
    sheet s;
    sheet_open(&s);
    fputs("score\twhat\thalf\tsource\tcaption\n", s.f);
    for (int i = 0; i < n; i++) {
        fprintf(s.f, "%.9g\t%s\t%s\t", list[i].score, list[i].kept ? "kept" : "left out",
                !halves          ? "-"
                : list[i].second ? "2"
                                 : "1");
        put_column(s.f, pack->source[list[i].pair]);
        fputc('\t', s.f);
        put_column(s.f, pack->caption[list[i].pair]);
        fputc('\n', s.f);
    }
    sheet_write(&s, path);
}

void data_filter(const char *data, const curation *c)
{
    char scores[4096];
    int n, first = 0;
    need_option("--model", c->model);
    need_option("--out", c->out);
    name_beside(scores, c->out, ".scores.tsv");
    check_output(c->out, 8, "{");
    check_output(scores, 0, "score\twhat");
    const int size = named_config(c->model).image_size;
    pith_pack *pack = open_data(data, size, 0.05, NULL);
    int *index = training_pairs(pack, data, &n);
    scored *list = room(sizeof *list * (size_t)n);
    bool *keep = room(sizeof *keep * (size_t)pack->count);
    for (int i = 0; i < n; i++) {
        list[i] = (scored){ .pair = index[i] };
        list[i].second = c->cross_fit && is_second_half(pack->caption[index[i]]);
        first += !list[i].second;
    }
    if (c->cross_fit && (!first || first == n))
        pith_raise("%s: all captions lie in one half: nothing to cross-fit", data);
    score(c->model, pack, !c->cross_fit, false, n, list);
    if (c->cross_fit) score(c->cross_fit, pack, false, true, n, list);
    qsort(list, (size_t)n, sizeof *list, best_first);
    keep_top(list, first, c->top, c->cross_fit ? "half 1, by --model" : "training pairs");
    if (c->cross_fit) keep_top(list + first, n - first, c->top, "half 2, by --cross-fit");
    memset(keep, true, (size_t)pack->count);
    for (int i = 0; i < n; i++) keep[list[i].pair] = list[i].kept;
    pith_pack_keep(pack, keep, c->out);
    write_scores(scores, pack, list, n, c->cross_fit != NULL);
    if (c->cross_fit)
        printf("halves: bit 32 of the FNV-1a hash of the caption; %d and %d pairs\n", first,
               n - first);
    printf("%s\n%s\n", c->out, scores);
    free(keep);
    free(list);
    free(index);
    pith_pack_close(pack);
}
