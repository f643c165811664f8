/* compare_gather.c: what came of a cell: its curve and what it cost, from the files of its run, and
 * its measures, from those of its evaluations. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "compare.h"
#include "files/files.h"

static double of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

/* Adds all numbers of an object, after "SPLIT." and perhaps a kind. */
static void add_numbers(FILE *f, const char *name, const char *split, const char *kind, json_t *o)
{
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value)
    {
        if (json_is_number(value) && !key[strcspn(key, "\t\n =")])
            fprintf(f, "%s%s%s.%s%s%s=%.6g", ftell(f) ? " " : "", name, split, kind,
                    *kind ? "_" : "", key, json_number_value(value));
    }
}

/* Retrieval: means of both directions. */
static void add_retrieval(FILE *f, const char *name, const char *split, const json_t *o)
{
    static const char *const both[] = { "mrr", "r1", "r5", "r10", "chance_r1" };
    const json_t *to_image = json_object_get(o, "text_to_image"),
                 *to_text = json_object_get(o, "image_to_text");
    for (size_t k = 0; o && k < sizeof both / sizeof *both; k++)
        fprintf(f, "%s%s%s.%s=%.6g", ftell(f) ? " " : "", name, split, both[k],
                (of(to_image, both[k]) + of(to_text, both[k])) / 2);
}

void gather_measures(FILE *f, const char *path, const char *name)
{
    static const char *const kinds[] = { "zero_shot", "probe", "twins" };
    json_t *root = read_json(path, 0), *o;
    const char *split;
    char before[80] = "";
    if (*name) snprintf(before, sizeof before, "%s.", name);
    json_object_foreach(root, split, o)
    {
        if (split[strcspn(split, "\t\n =")]) continue; /* no name of a measure */
        add_retrieval(f, before, split, json_object_get(o, "retrieval"));
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            add_numbers(f, before, split, kinds[k], json_object_get(o, kinds[k]));
        add_numbers(f, before, split, "", o);
    }
    json_decref(root);
}

/* Appends a part's evaluations to the curve; r counts pairs, GFLOP and seconds of all parts so far.
 * Returns the mean of the part's last losses. */
static double add_part(FILE *f, result *r, const char *directory, double batch)
{
    enum { LAST = 20 };
    double loss[LAST], sum = 0;
    int losses = 0;
    char path[4400];
    snprintf(path, sizeof path, "%s/metrics.jsonl", directory);
    FILE *lines = pith_open_regular(path);
    if (!lines) pith_raise("%s: %s", path, pith_file_error(errno));
    char *line = NULL;
    size_t room = 0;
    double seen = 0, gflop = 0, seconds = 0;
    while (getline(&line, &room, lines) > 0) {
        json_t *o = json_loads(line, 0, NULL);
        const json_t *value = json_object_get(o, "valid.r1");
        if (json_object_get(o, "loss")) loss[losses++ % LAST] = of(o, "loss");
        seen = of(o, "step") * batch;
        if (json_object_get(o, "gflop")) gflop = of(o, "gflop"), seconds = of(o, "seconds");
        if (value)
            fprintf(f, "%s%.0f:%.6g:%.6g", ftell(f) ? " " : "", r->pairs + seen, r->gflop + gflop,
                    json_number_value(value));
        json_decref(o);
    }
    free(line);
    fclose(lines);
    r->pairs += seen;
    r->gflop += gflop;
    r->seconds += seconds;
    const int last = losses < LAST ? losses : LAST;
    for (int k = 0; k < last; k++) sum += loss[k];
    return last ? sum / last : (double)NAN;
}

/* A run in stages has a directory for each part, of which the last is its own: see prune.c. */
static char *curve_of(result *r, const char *directory, double batch, double *loss)
{
    char *text = NULL, masks[4300], smaller[4300];
    size_t room;
    FILE *f = open_memstream(&text, &room);
    if (!f) pith_raise("no memory for a curve");
    for (int k = 1;; k++) {
        snprintf(masks, sizeof masks, "%s/stage-%d-masks", directory, k);
        snprintf(smaller, sizeof smaller, "%s/stage-%d", directory, k);
        if (is_directory(masks)) add_part(f, r, masks, batch);
        if (!is_directory(smaller)) break;
        add_part(f, r, smaller, batch);
    }
    *loss = add_part(f, r, directory, batch);
    fclose(f);
    return text;
}

void gather_run(FILE *f, result *r, const char *directory)
{
    char path[4300], machine[200];
    double loss;
    clip_config config;
    snprintf(path, sizeof path, "%s/run.json", directory);
    json_t *run = read_json(path, 0);
    const json_t *data = json_object_get(run, "data"), *on = json_object_get(run, "machine");
    const char *hash = json_string_value(json_object_get(data, "hash")),
               *processor = json_string_value(json_object_get(on, "processor"));
    snprintf(machine, sizeof machine, "%s, %.0f thread%s", processor ? processor : "unknown",
             of(on, "threads"), of(on, "threads") == 1 ? "" : "s");
    r->data = strdup(hash ? hash : "unknown");
    r->machine = strdup(machine);
    r->curve = curve_of(r, directory, of(data, "batch"), &loss);
    if (!isnan(loss)) fprintf(f, " train.loss=%.6g", loss);
    clip_config_read(&config, directory);
    r->parameters = clip_count(&config, 2).parameters;
    json_decref(run);
}
