/* demo_page.c: the demo's figures for people: a table, summary.json, and the page. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "demo.h"

enum { QUERIES = 8, MAP = 12 };

/* ---- the table ---- */

static void print_cells(const demo *d, const contestant *c, int direction, bool chance)
{
    for (int s = 0; s < d->splits; s++) {
        const double *r = chance ? c->measured[s].chance[direction]
                                 : c->measured[s].recall[direction];
        printf("   %5.1f %5.1f %5.1f", 100 * r[0], 100 * r[1], 100 * r[2]);
    }
    printf("\n");
}

void demo_table(const demo *d)
{
    static const char *const arrow[2] = { "text to picture", "picture to text" };
    printf("%-22s %10s %8s %8s %-16s", "R@1, R@5, R@10 in %", "parameters", "GFLOP", "seconds", "");
    for (int s = 0; s < d->splits; s++)
        printf("   %-10s %6d", d->pack->split_name[d->split[s]], d->model[0].measured[s].pictures);
    printf("\n");
    for (int k = 0; k < MODELS; k++) {
        const contestant *c = &d->model[k];
        printf("%-22s %8.2f M %8.4f %8.1f %-16s", c->name, c->cost.parameters / 1e6,
               c->cost.flops_pair / 1e9, c->seconds, arrow[0]);
        print_cells(d, c, 0, false);
        printf("%-50s  %-16s", "", arrow[1]);
        print_cells(d, c, 1, false);
    }
    for (int direction = 0; direction < 2; direction++) {
        printf("%-50s  %-16s", direction ? "" : "chance", arrow[direction]);
        print_cells(d, &d->model[0], direction, true);
    }
    double sum = 0;
    printf("\n");
    for (int k = 0; k < d->phases; k++) {
        printf("%-22s %8.1f s\n", d->phase[k].name, d->phase[k].seconds);
        sum += d->phase[k].seconds;
    }
    printf("%-22s %8.1f s\n", "together", sum);
}

/* ---- summary.json ---- */

void demo_summary(const demo *d)
{
    json_t *models = json_array(), *phases = json_array();
    for (int k = 0; k < MODELS; k++) {
        const contestant *c = &d->model[k];
        json_t *splits = json_object();
        for (int s = 0; s < d->splits; s++)
            json_object_set_new(splits, d->pack->split_name[d->split[s]],
                                retrieval_json(&c->measured[s]));
        json_array_append_new(
            models, json_pack("{s:s, s:s, s:f, s:f, s:I, s:f, s:o}", "name", c->name, "directory",
                              c->directory, "parameters", c->cost.parameters, "gflop_pair",
                              c->cost.flops_pair / 1e9, "steps", (json_int_t)c->steps, "seconds",
                              c->seconds, "splits", splits));
    }
    for (int k = 0; k < d->phases; k++)
        json_array_append_new(phases, json_pack("{s:s, s:f}", "name", d->phase[k].name, "seconds",
                                                d->phase[k].seconds));
    json_t *all = json_pack("{s:s, s:I, s:I, s:s, s:i, s:o, s:o}", "version", VERSION, "seed",
                            (json_int_t)common_seed, "threads", (json_int_t)common_threads, "data",
                            d->shapes ? "shapes" : "emoji", "pairs", d->pack->count, "models",
                            models, "phases", phases);
    char path[4096];
    snprintf(path, sizeof path, "%s/summary.json", d->out);
    write_json(path, all);
    json_decref(all);
}

/* ---- the page ---- */

static const char *split_meaning(const char *name)
{
    static const char *const known[][2] = {
        { "composition", "people and skin tones that were never seen together, each of them seen" },
        { "artist", "another artist's pictures of the captions trained on" },
        { "unseen", "captions never trained on" },
        { "combination", "pairs of colour and shape that were never seen together" },
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (!strcmp(known[k][0], name)) return known[k][1];
    return name;
}

static const uint8_t *picture_of(const demo *d, int index)
{
    return d->pack->pixels + (size_t)index * 3 * (size_t)d->pack->size * (size_t)d->pack->size;
}

static double cosine(const pairs *p, const pith_real *a, const pith_real *b)
{
    double sum = 0;
    for (int k = 0; k < p->width; k++) sum += (double)a[k] * (double)b[k];
    return sum;
}

/* Finds the pictures nearest to a caption (direction 0), or the captions nearest to a picture
 * (direction 1), each caption once. */
static void find_nearest(const demo *d, const pairs *p, int query, int direction, report_hit *hits)
{
    const size_t width = (size_t)p->width;
    const pith_real *from = (direction ? p->image : p->text) + (size_t)query * width,
                    *to = direction ? p->text : p->image;
    int n = 0;
    for (int k = 0; k < p->n; k++) {
        if (direction && p->caption_id[k] != k) continue;
        const double score = cosine(p, from, to + (size_t)k * width);
        int at = n;
        while (at > 0 && hits[at - 1].score < score) at--;
        if (at == REPORT_NEAREST) continue;
        n += n < REPORT_NEAREST;
        memmove(hits + at + 1, hits + at, sizeof *hits * (size_t)(n - 1 - at));
        hits[at] = (report_hit){ picture_of(d, p->index[k]), d->pack->caption[p->index[k]], score,
                                 p->caption_id[k] == p->caption_id[query] };
    }
}

/* Makes queries from pairs that are spread evenly over the splits and inside each split. */
static void make_queries(const demo *d, report_query *queries, int direction)
{
    for (int k = 0; k < QUERIES; k++) {
        const pairs *p = &d->rows[k * d->splits / QUERIES];
        const int at = (int)(((int64_t)(2 * k + 1 + direction) * p->n / (2 * QUERIES + 1)) % p->n);
        queries[k] = (report_query){ d->pack->caption[p->index[at]],
                                     direction ? picture_of(d, p->index[at]) : NULL,
                                     { { 0 } } };
        find_nearest(d, p, at, direction, queries[k].nearest);
    }
}

static void fill_map(const demo *d, const uint8_t **picture, const char **caption, double *cosines)
{
    const pairs *p = &d->rows[0];
    int at[MAP];
    for (int k = 0; k < MAP; k++) {
        at[k] = (int)((int64_t)k * p->n / MAP);
        picture[k] = picture_of(d, p->index[at[k]]);
        caption[k] = d->pack->caption[p->index[at[k]]];
    }
    for (int i = 0; i < MAP; i++)
        for (int j = 0; j < MAP; j++)
            cosines[i * MAP + j] = cosine(p, p->image + (size_t)at[i] * (size_t)p->width,
                                          p->text + (size_t)at[j] * (size_t)p->width);
}

static void fill_figures(const demo *d, report *r, char metrics[MODELS][4200])
{
    for (int s = 0; s < d->splits; s++) {
        const pith_retrieval *m = &d->model[0].measured[s];
        const char *name = d->pack->split_name[d->split[s]];
        r->split[s] =
            (report_split){ .name = name, .meaning = split_meaning(name), .pairs = m->pictures };
        memcpy(r->split[s].chance, m->chance, sizeof m->chance);
    }
    for (int k = 0; k < MODELS; k++) {
        const contestant *c = &d->model[k];
        snprintf(metrics[k], 4200, "%s/metrics.jsonl", c->path);
        r->model[k] = (report_model){ .name = c->name,
                                      .parameters = c->cost.parameters,
                                      .gflop_pair = c->cost.flops_pair / 1e9,
                                      .seconds = c->seconds,
                                      .metrics = metrics[k] };
        for (int s = 0; s < d->splits; s++)
            memcpy(r->model[k].recall[s], c->measured[s].recall, sizeof c->measured[s].recall);
    }
    memcpy(r->phase, d->phase, sizeof d->phase);
}

static report_tower kept(const char *name, const clip_tower *t, const clip_tower *of)
{
    return (report_tower){ name,     t->layers, t->width, of->width,
                           t->heads, of->heads, t->ffn,   of->ffn };
}

static void fill_kept(const demo *d, report *r)
{
    const clip_config *c = &d->model[PRUNED].m.config, *of = &d->model[TEACHER].m.config;
    r->kept_text = "Masks over the whole teacher were trained with its weights, under a constraint "
                   "on how much may stay; then what they left out was cut away.";
    r->kept[0] = kept("image tower", &c->vision, &of->vision);
    r->kept[1] = kept("text tower", &c->text, &of->text);
}

void demo_page(const demo *d)
{
    static const char *const emoji[] = {
        "Noto Emoji by Google (SIL Open Font License 1.1), drawn from Debian's package "
        "fonts-noto-color-emoji.",
        "EmojiOne by Emoji One (CC-BY-SA 4.0), from Debian's package ruby-gemojione.",
        "Captions: the names of Unicode's list of emoji (Unicode licence).", NULL
    };
    static const char *const rule[] = { "Coloured shapes drawn by pith itself.", NULL };
    report_query text_queries[QUERIES], picture_queries[QUERIES];
    const uint8_t *map_picture[MAP];
    const char *map_caption[MAP];
    double map_cosine[MAP * MAP];
    char metrics[MODELS][4200], path[4200];
    make_queries(d, text_queries, 0);
    make_queries(d, picture_queries, 1);
    fill_map(d, map_picture, map_caption, map_cosine);
    report r = {
        .title = "pith demo",
        .explanation =
            "A teacher learned from pictures and their names which belong together. A student of "
            "less than half its size began with a part of the teacher's weights and imitated how "
            "the teacher compares pictures with words; the same student was also trained from "
            "scratch, for as many steps; and, in as many, masks learned what to keep of the "
            "teacher. All are measured on pictures they never saw: how often is "
            "the right one the first, or among the first five or ten? The gallery and the map are "
            "the distilled student's.",
        .attributions = d->shapes ? rule : emoji,
        .size = d->pack->size,
        .models = MODELS,
        .splits = d->splits,
        .phases = d->phases,
        .text_queries = QUERIES,
        .picture_queries = QUERIES,
        .text_query = text_queries,
        .picture_query = picture_queries,
        .map = MAP,
        .map_picture = map_picture,
        .map_caption = map_caption,
        .map_cosine = map_cosine,
    };
    fill_figures(d, &r, metrics);
    fill_kept(d, &r);
    snprintf(path, sizeof path, "%s/index.html", d->out);
    pith_report_write(&r, path);
}
