/* balance.c: pith data balance: of training pictures that look the same to a model, one stays. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "curate.h"
#include "neighbours/neighbours.h"

/* The training pairs, and what becomes of them. */
typedef struct {
    int n, width, *index; /* index: a pair's number in the pack */
    pith_real *rows;
    int groups, *group; /* of all, singletons too */
    bool *keep;
    double *distance, beta;
} training;

/* With as many digits as it takes to read the same number again. Returns `text`. */
static const char *written(double x, char text[32])
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    return text;
}

/* Of two shares, what is said where ties forbid the one that was wished for. */
static void tell_ties(const training *t, double wished, int removed, double next,
                      const pith_forest *f)
{
    char beta[32];
    printf("%.6g of the pairs cannot be removed: equal distances come and go together; the next "
           "possible rates are %.6g and ",
           wished, (double)removed / t->n);
    if (next == HUGE_VAL) printf("no greater one\n");
    else
        printf("%.6g (--beta %s)\n", (double)pith_forest_removed(f, next) / t->n,
               written(next, beta));
}

/* The forest of the shortest edges tells the beta, and then the groups. */
static void group_for_rate(training *t, double rate)
{
    const int wanted = (int)(rate * t->n + 0.5);
    double next;
    pith_forest *f = pith_forest_new(t->n, t->width, t->rows, 3, wanted + 1);
    t->beta = pith_forest_beta(f, wanted, &next);
    const int removed = pith_forest_removed(f, t->beta);
    if (removed != wanted) tell_ties(t, rate, removed, next, f);
    t->groups = pith_forest_groups(f, t->beta, t->group);
    pith_forest_free(f);
}

/* ---- what was merged ---- */

static const training *sorted; /* what the orders below compare by */

static int by_place_in_group(const void *a, const void *b)
{
    const training *t = sorted;
    const int x = *(const int *)a, y = *(const int *)b;
    if (t->group[x] != t->group[y]) return t->group[x] - t->group[y];
    if (t->keep[x] != t->keep[y]) return t->keep[x] ? -1 : 1;
    if (t->distance[x] != t->distance[y]) return t->distance[x] > t->distance[y] ? -1 : 1;
    return x - y;
}

static int by_size(const void *a, const void *b)
{
    const group *x = a, *y = b;
    return x->count != y->count ? y->count - x->count : x->first - y->first;
}

static merged find_merged(const training *t)
{
    merged m = { .n = t->n };
    m.pair = room(sizeof *m.pair * (size_t)t->n);
    m.distance = room(sizeof *m.distance * (size_t)t->n);
    m.group = room(sizeof *m.group * (size_t)t->groups);
    for (int i = 0; i < t->n; i++) m.pair[i] = i;
    sorted = t;
    qsort(m.pair, (size_t)t->n, sizeof *m.pair, by_place_in_group);
    for (int i = 0, end; i < t->n; i = end) {
        for (end = i; end < t->n && t->group[m.pair[end]] == t->group[m.pair[i]];) end++;
        if (end - i > 1) m.group[m.groups++] = (group){ i, end - i };
    }
    qsort(m.group, (size_t)m.groups, sizeof *m.group, by_size);
    for (int i = 0; i < t->n; i++) {
        m.distance[i] = t->distance[m.pair[i]];
        m.pair[i] = t->index[m.pair[i]];
    }
    return m;
}

static void write_manifest(const char *path, const pith_pack *pack, const merged *m)
{
    sheet s;
    sheet_open(&s);
    fputs("group\twhat\tsource\tcaption\tdistance\n", s.f);
    for (int g = 0; g < m->groups; g++)
        for (int k = 0; k < m->group[g].count; k++) {
            const int at = m->group[g].first + k, i = m->pair[at];
            fprintf(s.f, "%d\t%s\t", g + 1, k ? "removed" : "kept");
            put_column(s.f, pack->source[i]);
            fputc('\t', s.f);
            put_column(s.f, pack->caption[i]);
            fprintf(s.f, "\t%.9g\n", m->distance[at]);
        }
    sheet_write(&s, path);
}

void data_balance(const char *data, const curation *c)
{
    char manifest[4096], page[4096], summary[256], beta[32];
    need_option("--model", c->model);
    need_option("--out", c->out);
    const bool by_rate = was_given("--remove");
    if (by_rate && was_given("--beta"))
        pith_raise("--beta and --remove: a distance or a rate, not both");
    if (by_rate && was_given("--shards"))
        pith_raise("--remove with --shards: a rate is found by one search of all pictures");
    name_beside(manifest, c->out, ".groups.tsv");
    name_beside(page, c->out, ".groups.html");
    check_pack(c->out, "pith-pack");
    check_output(manifest, 0, "group\twhat");
    check_output(page, 0, "<!doctype html>");
    model m = open_model(c->model);
    pith_pack *pack = open_data(data, m.config.image_size, 0.05, NULL);
    training t = { .width = m.config.embed, .beta = c->beta };
    t.index = training_pairs(pack, data, &t.n);
    t.rows = picture_rows(&m, c->model, pack, t.n, t.index);
    t.group = room(sizeof *t.group * (size_t)t.n);
    t.keep = room(sizeof *t.keep * (size_t)t.n);
    t.distance = room(sizeof *t.distance * (size_t)t.n);
    pith_multiply_on(pith_store_device(m.store));
    if (by_rate) group_for_rate(&t, c->remove);
    else t.groups = pith_near_groups(t.n, t.width, t.rows, t.beta, (int)c->shards, t.group);
    pith_keep_central(t.n, t.width, t.rows, t.groups, t.group, t.keep, t.distance);
    merged found = find_merged(&t);
    bool *keep = room(sizeof *keep * (size_t)pack->count);
    memset(keep, true, (size_t)pack->count);
    for (int i = 0; i < t.n; i++) keep[t.index[i]] = t.keep[i];
    const int removed = t.n - t.groups;
    snprintf(summary, sizeof summary,
             "beta %s: groups of two and more: %d, the largest of %d; %d of %d training pairs "
             "removed (%.2f %%)",
             written(t.beta, beta), found.groups, found.groups ? found.group[0].count : 0, removed,
             t.n, 100. * removed / t.n);
    pith_pack_keep(pack, keep, c->out);
    write_manifest(manifest, pack, &found);
    write_sheets(page, pack, &found, summary);
    if (found.groups && found.group[0].count > t.n / 10)
        printf(
            "one group has more than a tenth of the pictures: the model hardly tells them apart at "
            "this distance; --remove finds one for a share\n");
    printf("%s\n%s: %d pairs\n%s\n%s\n", summary, c->out, pack->count - removed, manifest, page);
    free(keep);
    free(found.pair);
    free(found.distance);
    free(found.group);
    free(t.index);
    free(t.rows);
    free(t.group);
    free(t.keep);
    free(t.distance);
    pith_pack_close(pack);
    close_model(&m);
}
