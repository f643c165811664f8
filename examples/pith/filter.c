/* filter.c: pith data filter: the training pairs whose caption fits the picture best stay.
 *
 * Data quality as in Scaling (Down) CLIP (Li et al., arXiv 2404.08197): pairs are ranked by the
 * similarity of picture and text, and the top share is kept. Which model scores the paper does not
 * say: here it is the one that is named. A model that was trained on the pairs it scores knows them
 * by heart; so --cross-fit scores each half of them by another model, which has not seen it. Halves
 * are told apart by a hash of the caption, so that equal captions lie in one half, and each is
 * ranked alone, since two models' cosines have two scales.
 *
 * Where it is known which captions are the right ones, --truth tells what the score is worth; and
 * without a model those stay, as an oracle would choose. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "curate.h"

typedef struct {
    double score;
    int pair; /* its number in the pack */
    bool second, kept, right;
} scored;

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

/* Marks those whose captions are the original ones, and to be kept, until a model ranks. An error
 * where, of all or of one half, none are or all are. */
static void mark_right(const pith_pack *pack, const pith_pack *original, const curation *c, int n,
                       const int *index, scored *list)
{
    bool *right = room(sizeof *right * (size_t)n);
    int count[2][2] = { 0 }; /* by half; of these right ones */
    find_truth(pack, n, index, original, c->truth, right);
    for (int i = 0; i < n; i++) {
        list[i].right = list[i].kept = right[i];
        count[list[i].second][right[i]]++;
    }
    for (int half = 0; half < (c->cross_fit ? 2 : 1); half++)
        if (!count[half][0] || !count[half][1])
            pith_raise("%s: %s of the %d training captions%s differs from the original one: there "
                       "is nothing to tell apart",
                       c->truth, count[half][0] ? "each" : "none", count[half][0] + count[half][1],
                       !c->cross_fit ? ""
                       : half        ? " of half 2"
                                     : " of half 1");
    free(right);
}

/* The probability that a right caption scores higher than a wrong one, of equal scores half: the
 * area under the curve of true over false positives. list: ranked. */
static double area(const scored *list, int n)
{
    double wins = 0, right = 0, wrong = 0;
    for (int i = 0, end = 0; i < n; i = end) {
        double equal[2] = { 0 };
        for (; end < n && list[end].score == list[i].score; end++) equal[list[end].right]++;
        wins += equal[0] * (right + equal[1] / 2);
        right += equal[1];
        wrong += equal[0];
    }
    return wins / (right * wrong);
}

/* Halves are two models' work: each by itself, then their mean, weighted by pairs. */
static double print_area(const scored *list, int n, int first)
{
    const double one = area(list, first);
    if (first == n) {
        printf("AUC of the score: %.6g\n", one);
        return one;
    }
    const double two = area(list + first, n - first), mean = (one * first + two * (n - first)) / n;
    printf("AUC of the score: %.6g (half 1: %.6g, half 2: %.6g)\n", mean, one, two);
    return mean;
}

/* auc: NULL: not known. */
static void write_figures(const char *path, const double *auc, int kept, int n)
{
    json_t *fit = json_object(), *all = json_pack("{s:o}", "fit", fit);
    if (auc) json_object_set_new(fit, "auc", json_real(*auc));
    json_object_set_new(fit, "kept", json_integer(kept));
    json_object_set_new(fit, "pairs", json_integer(n));
    write_json(path, all);
    json_decref(all);
}

static void check_options(const curation *c)
{
    if (!c->truth) need_option("--model", c->model);
    if (!c->model && (c->cross_fit || was_given("--top")))
        pith_raise("--model is missing: --top and --cross-fit are about scores, and --truth alone "
                   "keeps the original captions");
    need_option("--out", c->out);
    check_pack(c->out, "pith-pack");
    if (c->json) check_figures(c->json);
    check_differs(c->out, c->json, "to be written as something else");
    check_differs(c->out, c->truth, "what is read");
}

/* Scores, ranks and keeps; returns the area, if the truth is known. */
static double rank(const pith_pack *pack, const curation *c, int n, int first, scored *list)
{
    score(c->model, pack, !c->cross_fit, false, n, list);
    if (c->cross_fit) score(c->cross_fit, pack, false, true, n, list);
    qsort(list, (size_t)n, sizeof *list, best_first);
    keep_top(list, first, c->top, c->cross_fit ? "half 1, by --model" : "training pairs");
    if (c->cross_fit) keep_top(list + first, n - first, c->top, "half 2, by --cross-fit");
    return c->truth ? print_area(list, n, first) : 0;
}

void data_filter(const char *data, const curation *c)
{
    char scores[4096];
    int n, first = 0, kept = 0;
    double auc = 0;
    check_options(c);
    name_beside(scores, c->out, ".scores.tsv");
    if (c->model) check_output(scores, 0, "score\twhat");
    pith_pack *original = c->truth ? pith_pack_open(c->truth) : NULL;
    const int size = c->model ? named_config(c->model).image_size : original->size;
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
    if (original) mark_right(pack, original, c, n, index, list);
    if (c->model) auc = rank(pack, c, n, first, list);
    memset(keep, true, (size_t)pack->count);
    for (int i = 0; i < n; i++) {
        keep[list[i].pair] = list[i].kept;
        kept += list[i].kept;
    }
    pith_pack_keep(pack, keep, c->out);
    if (c->model) write_scores(scores, pack, list, n, c->cross_fit != NULL);
    else printf("training pairs: %d of %d kept, those with the original caption\n", kept, n);
    if (c->json) write_figures(c->json, c->model && original ? &auc : NULL, kept, n);
    if (c->cross_fit)
        printf("halves: bit 32 of the FNV-1a hash of the caption; %d and %d pairs\n", first,
               n - first);
    printf("%s\n", c->out);
    if (c->model) printf("%s\n", scores);
    free(keep);
    free(list);
    free(index);
    pith_pack_close(original);
    pith_pack_close(pack);
}
