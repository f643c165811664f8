/* eval.c: pith eval: measures retrieval, zero-shot classification and what else is asked for, and
 * prints chance beside it. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "curate.h"
#include "task.h"

static const char *const direction_name[2] = { "text_to_image", "image_to_text" };

json_t *retrieval_json(const pith_retrieval *r)
{
    json_t *o = json_pack("{s:i, s:i}", "pictures", r->pictures, "captions", r->captions);
    for (int direction = 0; direction < 2; direction++)
        json_object_set_new(
            o, direction_name[direction],
            json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "r1", r->recall[direction][0], "r5",
                      r->recall[direction][1], "r10", r->recall[direction][2], "mrr",
                      r->mrr[direction], "chance_r1", r->chance[direction][0], "chance_r5",
                      r->chance[direction][1], "chance_r10", r->chance[direction][2]));
    return o;
}

static void print_retrieval(const char *split, const pith_retrieval *r)
{
    for (int direction = 0; direction < 2; direction++) {
        printf("  %-14s %-16s", direction ? "" : split,
               direction ? "picture to text" : "text to picture");
        for (int i = 0; i < 3; i++)
            printf("  %5.1f (%4.1f)", 100 * r->recall[direction][i], 100 * r->chance[direction][i]);
        printf("  %6.3f", r->mrr[direction]);
        if (direction) printf("\n");
        else printf("  %d pictures, %d captions\n", r->pictures, r->captions);
    }
}

typedef struct {
    model m;
    const pith_pack *pack;
    json_t *json;
    bool retrieval, zero_shot, twins;
    pith_real *rows;
    int classes, probes; /* probes: 0, 1, or, of few pictures a class, 3 */
    int64_t shots;       /* pictures a class, of each probe; 0: all */
    pith_probe probe[3];
} evaluation;

static void print_classified(const char *name, const char *what, const pith_classified *z)
{
    printf("  %-14s %-17s top-1 %.1f %% (chance %.1f, largest class %.1f), top-5 %.1f %% "
           "(chance %.1f); %d pictures of %d classes\n",
           name, what, 100 * z->top1, 100 * z->chance1, 100 * z->majority, 100 * z->top5,
           100 * z->chance5, z->pictures, z->classes);
}

static json_t *classified_json(const pith_classified *z)
{
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "pictures", z->pictures, "classes",
                     z->classes, "top1", z->top1, "top5", z->top5, "chance_top1", z->chance1,
                     "chance_top5", z->chance5, "majority", z->majority);
}

/* With equal captions, or with one pair left over, neighbours in a split are no twins. */
static pith_twins measure_twins(const evaluation *j, const pairs *p, const char *split)
{
    if (p->n % 2)
        pith_raise("--twins: the split \"%s\" has %d pairs, but twins come in twos", split, p->n);
    for (int k = 0; k < p->n; k += 2)
        if (p->caption_id[k] == p->caption_id[k + 1])
            pith_raise(
                "--twins: pairs %d and %d of the split \"%s\" have the same caption, \"%s\": "
                "nothing tells them apart",
                k, k + 1, split, plain(j->pack->caption[p->index[k]]));
    return pith_measure_twins(p->n / 2, p->width, p->image, p->text);
}

static void print_twins(const char *name, const pith_twins *t)
{
    printf(
        "  %-14s %-17s picture to text %.1f %%, text to picture %.1f %% (chance %.1f), both %.1f "
        "%% (chance %.1f); %d couples\n",
        name, "twins", 100 * t->image_to_text, 100 * t->text_to_image, 100 * t->chance,
        100 * t->both, 100 * t->chance_both, t->couples);
}

static json_t *twins_json(const pith_twins *t)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:i}", "image_to_text", t->image_to_text,
                     "text_to_image", t->text_to_image, "both", t->both, "chance", t->chance,
                     "chance_both", t->chance_both, "couples", t->couples);
}

static void measure(evaluation *j, int split)
{
    const char *name = split < 0 ? "all" : j->pack->split_name[split];
    pairs p = encode_split(&j->m.config, j->m.store, j->m.tokenizer, j->pack, split);
    json_t *o = json_object();
    if (j->retrieval) {
        const pith_retrieval r = measure_pairs(&p);
        print_retrieval(name, &r);
        json_object_set_new(o, "retrieval", retrieval_json(&r));
    }
    if (j->zero_shot && j->classes > 1) {
        const pith_classified z = pith_measure_classes(p.n, p.width, p.image, p.label, j->classes,
                                                       j->rows);
        print_classified(j->retrieval ? "" : name, "zero-shot", &z);
        json_object_set_new(o, "zero_shot", classified_json(&z));
    }
    if (j->probes) {
        pith_classified z = { 0 };
        for (int k = 0; k < j->probes; k++) {
            const pith_classified one = pith_probe_measure(&j->probe[k], p.n, p.image, p.label);
            const double top1 = z.top1 + one.top1 / j->probes, top5 = z.top5 + one.top5 / j->probes;
            z = one;
            z.top1 = top1, z.top5 = top5;
        }
        char kind[48] = "linear probe";
        json_t *figures = classified_json(&z);
        if (j->shots) {
            snprintf(kind, sizeof kind, "probe, %lld a class", (long long)j->shots);
            json_object_set_new(figures, "shots", json_integer(j->shots));
        }
        print_classified(j->retrieval || j->zero_shot ? "" : name, kind, &z);
        json_object_set_new(o, "probe", figures);
    }
    if (j->twins) {
        const pith_twins t = measure_twins(j, &p, name);
        print_twins(j->retrieval || j->zero_shot || j->probes ? "" : name, &t);
        json_object_set_new(o, "twins", twins_json(&t));
    }
    json_object_set_new(j->json, name, o);
    pairs_free(&p);
}

static void find_classes(evaluation *j, bool required)
{
    if (j->zero_shot)
        j->rows = class_rows(&j->m.config, j->m.store, j->m.tokenizer, j->pack, &j->classes);
    if (required && j->classes < 2)
        pith_raise("zero-shot needs labels of at least two classes, and the data have none");
}

typedef struct {
    uint32_t order;
    int label, place;
} drawn;

static int by_order(const void *a, const void *b)
{
    const drawn *x = a, *y = b;
    return x->order != y->order ? (x->order < y->order ? -1 : 1) : x->place - y->place;
}

/* Fits a probe to the labelled pictures of the training split, or to `shots` of each class, drawn
 * by a seed; 0: all. */
static pith_probe fit_probe(const evaluation *j, int pictures, const int *index,
                            const pith_real *rows, int64_t shots, uint64_t seed)
{
    const size_t width = (size_t)j->m.config.embed, room_for = (size_t)pictures;
    drawn *order = room(sizeof *order * room_for);
    int *taken = room(sizeof *taken * (size_t)j->classes), *label = room(sizeof *label * room_for);
    pith_real *x = room(sizeof *x * width * room_for);
    int n = 0;
    for (int i = 0; i < pictures; i++) {
        const uint64_t at[2] = { seed, (uint64_t)i },
                       hash = pith_hash_bytes(PITH_HASH, at, sizeof at);
        order[i] = (drawn){ shots ? (uint32_t)(hash >> 32) : 0, j->pack->label[index[i]], i };
    }
    qsort(order, room_for, sizeof *order, by_order);
    for (int i = 0; i < pictures; i++) {
        const drawn *d = &order[i];
        if (d->label < 0 || (shots && taken[d->label]++ >= shots)) continue;
        memcpy(x + (size_t)n * width, rows + (size_t)d->place * width, sizeof *x * width);
        label[n++] = d->label;
    }
    if (!n) pith_raise("a linear probe needs labelled pictures in the split \"train\"");
    const pith_probe probe = pith_probe_fit(n, (int)width, x, label, j->classes);
    free(order), free(taken), free(label), free(x);
    return probe;
}

static void fit_probes(evaluation *j, const char *directory, const char *data, int64_t shots)
{
    for (int i = 0; i < j->pack->count; i++)
        if (j->pack->label[i] >= j->classes) j->classes = j->pack->label[i] + 1;
    if (j->classes < 2)
        pith_raise("a linear probe needs labels of at least two classes, and the data have none");
    int n, *index = training_pairs(j->pack, data, &n);
    pith_real *rows = picture_rows(&j->m, directory, j->pack, n, index);
    j->shots = shots;
    j->probes = shots ? 3 : 1;
    for (int k = 0; k < j->probes; k++)
        j->probe[k] = fit_probe(j, n, index, rows, shots, (uint64_t)k);
    free(index), free(rows);
}

int command_eval(int argc, char **argv)
{
    const char *kind = NULL, *split = NULL, *file = NULL;
    bool probe = false, twins = false;
    int64_t shots = 0;
    const option options[] = {
        { "--task", TEXT, &kind,
          "retrieval or zero-shot; by default both, if the data have labels" },
        { "--split", TEXT, &split,
          "a split of the data, or all; by default each split but \"train\"" },
        { "--probe", FLAG, &probe,
          "also a linear probe: ridge regression on the unit rows of the split \"train\"" },
        { "--shots", INTEGER, &shots,
          "of the probe: so many pictures a class, the mean of three draws; 0: all" },
        { "--twins", FLAG, &twins,
          "also whether neighbouring pairs 2k and 2k+1 of a split are told apart" },
        { "--json", TEXT, &file, "write the figures into this file" },
        END_OF_OPTIONS
    };
    parse_options(
        options, "MODEL DATA [--task retrieval|zero-shot] [--split NAME] [--json F]",
        "Retrieval both ways: the share of captions whose picture is among the 1, 5, 10\n"
        "nearest of the split, and back, and the mean reciprocal rank; chance in brackets.\n"
        "Zero-shot: a picture's class is the nearest of the classes' rows, each the mean of\n"
        "the different captions that bear its label. Twins: the share of pictures whose own\n"
        "caption is nearer than the twin's, of captions whose own picture is, and of couples\n"
        "of which both hold for both.",
        2, 2, argc, argv);
    if (kind && strcmp(kind, "retrieval") && strcmp(kind, "zero-shot"))
        pith_raise("--task: expected retrieval or zero-shot, found \"%s\"", kind);
    if (file) check_figures(file);
    evaluation j = { .m = open_model_with_tokenizer(argv[1]),
                     .json = json_object(),
                     .twins = twins };
    pith_pack *pack = open_data(argv[2], j.m.config.image_size, 0, NULL);
    j.pack = pack;
    const int chosen = split ? pith_pack_split(pack, split) : -1;
    if (split && chosen < 0 && strcmp(split, "all"))
        pith_raise("%s has no split \"%s\"", argv[2], split);
    j.retrieval = !kind || !strcmp(kind, "retrieval");
    j.zero_shot = !kind || !strcmp(kind, "zero-shot");
    find_classes(&j, kind && j.zero_shot);
    if (was_given("--shots") && !probe) pith_raise("--shots: expected --probe beside it");
    if (probe) fit_probes(&j, argv[1], argv[2], shots);
    if (j.retrieval)
        printf("  %-14s %-16s  %-12s  %-12s  %-12s  %s\n", "split", "R@k in % (chance)", "R@1",
               "R@5", "R@10", "MRR");
    int measured = 0;
    for (int k = 0; k < pack->splits; k++)
        if (split ? k == chosen : strcmp(pack->split_name[k], "train") && split_size(pack, k))
            measure(&j, k), measured++;
    if (!measured) measure(&j, -1);
    if (file) write_json(file, j.json);
    json_decref(j.json);
    for (int k = 0; k < j.probes; k++) pith_probe_free(&j.probe[k]);
    free(j.rows);
    pith_pack_close(pack);
    close_model(&j.m);
    return 0;
}
