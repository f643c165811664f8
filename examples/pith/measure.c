/* measure.c: how well rows find each other: retrieval both ways and zero-shot classification, with chance beside. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "task.h"

const int recall_at[3] = { 1, 5, 10 };
enum { BLOCK = 256 };                   /* queries a run */

/* ---- pairs ---------------------------------------------------------------------------------------------------- */

typedef struct { const char *text; int place; } caption;

static int by_text(const void *a, const void *b)
{
    const caption *x = a, *y = b;
    const int order = strcmp(x->text, y->text);
    return order ? order : x->place - y->place;
}

/* Equal captions share the number of their first place. */
static void find_groups(int n, const char *const *texts, int *group)
{
    caption *sorted = malloc(sizeof *sorted * (size_t)n);
    for (int k = 0; k < n; k++)
        sorted[k] = (caption){ texts[k], k };
    qsort(sorted, (size_t)n, sizeof *sorted, by_text);
    for (int k = 0; k < n; k++)
        group[sorted[k].place] = k && !strcmp(sorted[k].text, sorted[k - 1].text)
                                     ? group[sorted[k - 1].place] : sorted[k].place;
    free(sorted);
}

pairs encode_split(const clip_config *c, pith_store *s, const pith_tokenizer *t, const pith_pack *pack, int split)
{
    pairs p = { .width = c->embed };
    const size_t count = (size_t)pack->count;
    p.index = malloc(sizeof(int) * 3 * count);
    for (int i = 0; i < pack->count; i++)
        if (split < 0 || pack->split[i] == split)
            p.index[p.n++] = i;
    if (!p.n)
        pith_raise("the split \"%s\" has no pairs", split < 0 ? "all" : pack->split_name[split]);
    p.group = p.index + count;
    p.label = p.group + count;
    p.image = malloc(sizeof *p.image * (size_t)p.n * (size_t)p.width);
    p.text = malloc(sizeof *p.text * (size_t)p.n * (size_t)p.width);
    const char **texts = malloc(sizeof *texts * (size_t)p.n);
    encode_chosen(c, s, p.n, p.index, pack->size, pack->pixels, p.image);
    for (int k = 0; k < p.n; k++) {
        texts[k] = pack->caption[p.index[k]];
        p.label[k] = pack->label[p.index[k]];
    }
    encode_texts(c, s, t, p.n, texts, p.text);
    find_groups(p.n, texts, p.group);
    free(texts);
    return p;
}

void pairs_free(pairs *p)
{
    free(p->index);
    free(p->image);
    free(p->text);
}

/* ---- cosines, a block of queries at a time -------------------------------------------------------------------- */

typedef struct { pith_store *store; pith_graph *graph; pith_plan *plan; pith_node *query, *cosines; pith_real *block; } scorer;

static scorer scorer_new(int n, int width, const pith_real *rows)
{
    scorer s = { .store = pith_store_new(), .block = calloc((size_t)BLOCK * (size_t)width, sizeof(pith_real)) };
    s.graph = pith_graph_new(s.store, 0);
    s.query = pith_input(s.graph, "query", PITH_F32, BLOCK, width, PITH_END);
    pith_node *all = pith_input(s.graph, "rows", PITH_F32, n, width, PITH_END);
    s.cosines = pith_matmul_nt(s.query, all);
    s.plan = pith_plan_new(s.graph, 1, &s.cosines);
    pith_feed(s.plan, s.query, s.block);
    pith_feed(s.plan, all, rows);
    return s;
}

/* (BLOCK, n), of which the first `count` rows are the queries'. */
static const pith_real *scorer_run(scorer *s, const pith_real *queries, int count, int width)
{
    memcpy(s->block, queries, sizeof *queries * (size_t)count * (size_t)width);
    pith_run(s->plan);
    return pith_value(s->plan, s->cosines);
}

static void scorer_free(scorer *s)
{
    pith_plan_free(s->plan);
    pith_graph_free(s->graph);
    pith_store_free(s->store);
    free(s->block);
}

/* ---- retrieval ------------------------------------------------------------------------------------------------ */

/* The place of the best right answer; what scores as high stands before it. `once`: of equal captions one is a candidate. */
static int rank_of(const pairs *p, int query, const pith_real *cosines, bool once)
{
    pith_real best = -2;
    int rank = 1;
    for (int k = 0; k < p->n; k++)
        if (p->group[k] == p->group[query] && (!once || p->group[k] == k) && cosines[k] > best)
            best = cosines[k];
    for (int k = 0; k < p->n; k++)
        rank += p->group[k] != p->group[query] && (!once || p->group[k] == k) && cosines[k] >= best;
    return rank;
}

/* At least one of `right` among k drawn of n without putting back. */
static double chance_of(int n, int right, int k)
{
    double none = 1;
    for (int i = 0; i < k; i++)
        none *= i < n - right ? (double)(n - right - i) / (n - i) : 0;
    return 1 - none;
}

retrieval measure_retrieval(const pairs *p)
{
    retrieval r = { .pictures = p->n };
    int *size = calloc((size_t)p->n, sizeof *size);
    for (int k = 0; k < p->n; k++)
        r.captions += size[p->group[k]]++ == 0;
    for (int way = 0; way < 2; way++) {
        const pith_real *queries = way ? p->image : p->text;
        scorer s = scorer_new(p->n, p->width, way ? p->text : p->image);
        const pith_real *cosines = NULL;
        for (int k = 0; k < p->n; k++) {
            const int at = k % BLOCK, left = p->n - k;
            if (!at)
                cosines = scorer_run(&s, queries + (size_t)k * (size_t)p->width, left < BLOCK ? left : BLOCK, p->width);
            if (!way && p->group[k] != k)
                continue;
            const double share = 1.0 / (way ? r.pictures : r.captions);
            const int rank = rank_of(p, k, cosines + (size_t)at * (size_t)p->n, way == 1);
            r.mrr[way] += share / rank;
            for (int i = 0; i < 3; i++) {
                r.recall[way][i] += rank <= recall_at[i] ? share : 0;
                r.chance[way][i] += share * (way ? chance_of(r.captions, 1, recall_at[i])
                                                 : chance_of(r.pictures, size[k], recall_at[i]));
            }
        }
        scorer_free(&s);
    }
    free(size);
    return r;
}

/* ---- zero-shot ------------------------------------------------------------------------------------------------ */

pith_real *class_rows(const clip_config *c, pith_store *s, const pith_tokenizer *t, const pith_pack *pack, int split,
                      int *classes)
{
    const size_t width = (size_t)c->embed, count = (size_t)pack->count;
    const char **texts = malloc(sizeof *texts * count);
    int *group = malloc(sizeof *group * count), *label = malloc(sizeof *label * count), n = 0;
    *classes = 0;
    for (int i = 0; i < pack->count; i++) {
        if (pack->label[i] < 0 || (split >= 0 && pack->split[i] != split))
            continue;
        texts[n] = pack->caption[i];
        label[n++] = pack->label[i];
        *classes = pack->label[i] >= *classes ? pack->label[i] + 1 : *classes;
    }
    pith_real *rows = calloc((size_t)*classes * width + 1, sizeof *rows);
    pith_real *text = malloc(sizeof *text * ((size_t)n * width + 1));
    if (n) {
        find_groups(n, texts, group);
        encode_texts(c, s, t, n, texts, text);
    }
    for (int k = 0; k < n; k++)
        for (size_t d = 0; group[k] == k && d < width; d++)
            rows[(size_t)label[k] * width + d] += text[(size_t)k * width + d];
    for (int k = 0; k < *classes; k++) {
        double norm = 0;
        for (size_t d = 0; d < width; d++)
            norm += (double)rows[(size_t)k * width + d] * (double)rows[(size_t)k * width + d];
        for (size_t d = 0; d < width && norm > 0; d++)
            rows[(size_t)k * width + d] /= (pith_real)sqrt(norm);
    }
    free(text);
    free(label);
    free(group);
    free(texts);
    return rows;
}

zero_shot measure_zero_shot(const pairs *p, int classes, const pith_real *rows)
{
    zero_shot z = { .classes = classes, .chance = 1.0 / classes };
    const size_t width = (size_t)p->width;
    int *size = calloc((size_t)classes, sizeof *size), most = 0, right = 0;
    scorer s = scorer_new(classes, p->width, rows);
    const pith_real *cosines = NULL;
    for (int k = 0; k < p->n; k++) {
        const int at = k % BLOCK, left = p->n - k;
        if (!at)
            cosines = scorer_run(&s, p->image + (size_t)k * width, left < BLOCK ? left : BLOCK, p->width);
        if (p->label[k] < 0 || p->label[k] >= classes)
            continue;
        const pith_real *row = cosines + (size_t)at * (size_t)classes;
        int best = 0;
        for (int i = 1; i < classes; i++)
            best = row[i] > row[best] ? i : best;
        right += best == p->label[k];
        z.n++;
        if (++size[p->label[k]] > most)
            most = size[p->label[k]];
    }
    if (z.n) {
        z.right = (double)right / z.n;
        z.majority = (double)most / z.n;
    }
    scorer_free(&s);
    free(size);
    return z;
}
