/* compare_file.c: reads what pith compare is asked: a JSON object with a question, data, seeds,
 * arms and claims. A claim is fixed here, before anything is run. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "compare.h"

/* Is every key of an object among `known`, separated by blanks? */
static void check_keys(const char *path, const char *what, const json_t *o, const char *known)
{
    const char *key;
    json_t *value;
    if (!json_is_object(o)) pith_raise("%s: %s: expected a JSON object", path, what);
    json_object_foreach((json_t *)o, key, value)
    {
        bool found = false;
        for (const char *at = known; *at; at += strcspn(at, " "), at += *at == ' ')
            found |= strcspn(at, " ") == strlen(key) && !strncmp(at, key, strlen(key));
        if (!found)
            pith_raise("%s: %s: unknown key \"%s\", expected %s", path, what, plain(key), known);
    }
}

/* A text without control characters, which a table could not hold; `otherwise` where it is missing.
 */
static const char *text_of(const char *path, const char *what, const json_t *o, const char *key,
                           const char *otherwise)
{
    const json_t *x = json_object_get(o, key);
    if (!x && otherwise) return otherwise;
    const char *text = json_string_value(x);
    if (!text || !*text || *text == ' ')
        pith_raise("%s: %s: expected a text as \"%s\"", path, what, key);
    for (const char *s = text; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 127 ||
            ((unsigned char)*s == 0xC2 && (unsigned char)s[1] < 0xA0)) /* U+0080 to U+009F */
            pith_raise("%s: %s: a control character in \"%s\"", path, what, key);
    return text;
}

static double number_of(const char *path, const char *what, const json_t *x, const char *key)
{
    if (!json_is_number(x)) pith_raise("%s: %s: expected a number as \"%s\"", path, what, key);
    return json_number_value(x);
}

/* A name for files: of an arm, or of an evaluation. */
static void check_name(const char *path, const char *what, const char *name)
{
    const size_t letters = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789_+-");
    if (name[letters] || letters > 60 || !letters || name[letters - 1] == '-')
        pith_raise(
            "%s: %s: its name is \"%s\", expected at most 60 letters, digits, _, + and -, not "
            "- at its end",
            path, what, plain(name));
}

/* before: it runs once, before the others. */
static void read_arm(comparison *c, const json_t *o, bool before)
{
    char what[80];
    snprintf(what, sizeof what, "arm %d", c->arms + 1);
    if (c->arms == MOST_ARMS) pith_raise("%s: more than %d arms", c->path, MOST_ARMS);
    check_keys(c->path, what, o, "name run data");
    compared *a = &c->arm[c->arms];
    a->name = text_of(c->path, what, o, "name", NULL);
    a->run = text_of(c->path, what, o, "run", NULL);
    a->data = text_of(c->path, what, o, "data", c->data);
    check_name(c->path, what, a->name);
    for (int k = 0; k < c->arms; k++)
        if (!strcmp(a->name, c->arm[k].name))
            pith_raise("%s: two arms are called \"%s\"", c->path, a->name);
    static const char *const ours[] = { "--out", "--seed", "--resume" };
    static const char *const trainings[] = { "train ", "distil ", "prune " };
    for (size_t k = 0; k < sizeof trainings / sizeof *trainings; k++)
        a->trains |= !strncmp(a->run, trainings[k], strlen(trainings[k]));
    for (size_t k = 0; a->trains && k < sizeof ours / sizeof *ours; k++)
        if (strstr(a->run, ours[k]))
            pith_raise("%s: arm \"%s\": %s is set by pith compare", c->path, a->name, ours[k]);
    if (!a->trains && !strstr(a->run, "{data}")) a->data = "";
    if (!strncmp(a->run, "compare", strlen("compare")))
        pith_raise("%s: arm \"%s\": a comparison cannot run another", c->path, a->name);
    if (!before && !a->trains && !strstr(a->run, "{out}"))
        pith_raise("%s: arm \"%s\": expected train, distil or prune with its options, or another "
                   "command of pith that writes {out}; found \"%s\"",
                   c->path, a->name, a->run);
    c->arms++;
}

static int find_arm(const comparison *c, const char *what, const char *name)
{
    for (int k = c->first; k < c->arms; k++)
        if (!strcmp(c->arm[k].name, name)) return k;
    pith_raise("%s: %s: there is no arm \"%s\"", c->path, what, plain(name));
    return -1;
}

static void read_claim(comparison *c, const json_t *o)
{
    char what[80];
    const char *name;
    json_t *weight;
    snprintf(what, sizeof what, "claim %d", c->claims + 1);
    if (c->claims == MOST_CLAIMS) pith_raise("%s: more than %d claims", c->path, MOST_CLAIMS);
    check_keys(c->path, what, o, "claim kind contrast margin measure reaches");
    claim *k = &c->claim[c->claims++];
    k->text = text_of(c->path, what, o, "claim", NULL);
    k->measure = text_of(c->path, what, o, "measure", c->measure);
    k->margin = number_of(c->path, what, json_object_get(o, "margin"), "margin");
    if (k->margin < 0)
        pith_raise("%s: %s: its margin is %g, expected at least 0", c->path, what, k->margin);
    const char *kind = text_of(c->path, what, o, "kind", NULL);
    if (strcmp(kind, "better") && strcmp(kind, "no worse"))
        pith_raise("%s: %s: expected \"better\" or \"no worse\" as \"kind\", found \"%s\"", c->path,
                   what, kind);
    k->kind = strcmp(kind, "better") ? PITH_NO_WORSE : PITH_BETTER;
    const char *reached = text_of(c->path, what, o, "reaches", "");
    k->reference = *reached ? find_arm(c, what, reached) : -1;
    const json_t *contrast = json_object_get(o, "contrast");
    if (!json_is_object(contrast) || !json_object_size(contrast))
        pith_raise("%s: %s: expected weights of arms as \"contrast\", as in {\"a\": 1, \"b\": -1}",
                   c->path, what);
    double sum = 0, most = 0;
    json_object_foreach((json_t *)contrast, name, weight)
    {
        const int arm = find_arm(c, what, name);
        sum += k->weight[arm] = number_of(c->path, what, weight, name);
        most = fmax(most, fabs(k->weight[arm]));
        if (k->reference >= 0 && !c->arm[arm].trains)
            pith_raise("%s: %s: \"%s\" does not train, so that it reaches nothing", c->path, what,
                       name);
    }
    if (!(most > 0 && most < 1e6 && k->margin < 1e6))
        pith_raise(
            "%s: %s: expected weights that are not all 0, and they and the margin below a million",
            c->path, what);
    if (k->reference >= 0 && !c->arm[k->reference].trains)
        pith_raise("%s: %s: \"%s\" does not train, so that it has no end", c->path, what, reached);
    if (fabs(sum) > 1e-9)
        pith_raise("%s: %s: the weights of its contrast add up to %g, expected 0", c->path, what,
                   sum);
}

static const json_t *list_of(const comparison *c, const json_t *root, const char *key,
                             bool required)
{
    const json_t *list = json_object_get(root, key);
    if ((list || required) && (!json_is_array(list) || !json_array_size(list)))
        pith_raise("%s: expected a list that is not empty as \"%s\"", c->path, key);
    return list;
}

static void read_seeds(comparison *c, const json_t *list)
{
    for (size_t k = 0; k < json_array_size(list); k++) {
        const json_t *x = json_array_get(list, k);
        if (!json_is_integer(x) || k == MOST_SEEDS ||
            llabs(json_integer_value(x)) > 1000000000000000)
            pith_raise("%s: expected at most %d whole numbers as \"seeds\", up to 1e15", c->path,
                       MOST_SEEDS);
        c->seed[c->seeds++] = json_integer_value(x);
        for (int i = 0; i + 1 < c->seeds; i++)
            if (c->seed[i] == c->seed[c->seeds - 1])
                pith_raise("%s: the seed %lld stands there twice", c->path, (long long)c->seed[i]);
    }
}

static void read_others(comparison *c, const json_t *o)
{
    const char *name;
    json_t *value;
    if (o && !json_is_object(o))
        pith_raise("%s: expected names and arguments of pith eval as \"also\"", c->path);
    json_object_foreach((json_t *)o, name, value)
    {
        if (c->others == MOST_OTHERS)
            pith_raise("%s: more than %d in \"also\"", c->path, MOST_OTHERS);
        check_name(c->path, "also", name);
        c->other[c->others++] = (evaluated){ name, text_of(c->path, "also", o, name, NULL) };
    }
}

/* An arm that runs once must not lie where another lies with some seed. */
static void check_places(const comparison *c)
{
    char place[100];
    for (int once = 0; once < c->first; once++)
        for (int arm = c->first; arm < c->arms; arm++)
            for (int s = 0; s < c->seeds; s++) {
                snprintf(place, sizeof place, "%s-%lld", c->arm[arm].name, (long long)c->seed[s]);
                if (!strcmp(place, c->arm[once].name))
                    pith_raise("%s: \"%s\" is also where the arm \"%s\" lies with seed %lld",
                               c->path, place, c->arm[arm].name, (long long)c->seed[s]);
            }
}

/* Texts of a file stay in use until the program ends. */
static void keep_texts(json_t *root)
{
    static json_t *volatile roots; /* as in record.c */
    if (!roots) roots = json_array();
    json_array_append_new(roots, root);
}

/* What several comparisons share may stand in a file of its own, beside the others; a comparison's
 * own keys count more. */
static void add_common(comparison *c, const char *path, json_t *root)
{
    const char *name = text_of(path, "the comparison", root, "common", ""),
               *slash = strrchr(path, '/');
    char *common;
    if (!*name) return;
    const int folder = *name != '/' && slash ? (int)(slash + 1 - path) : 0;
    if (asprintf(&common, "%.*s%s", folder, path, name) < 0) pith_raise("no memory for a path");
    json_t *shared = read_json(common, JSON_REJECT_DUPLICATES);
    check_keys(common, "what comparisons share", shared, "data also measure seeds before limits");
    c->common_limits = text_of(common, "what comparisons share", shared, "limits", "");
    json_t *own = json_copy(shared); /* all but the limits, which are told once for all */
    json_object_del(own, "limits");
    json_object_update_missing(root, own);
    json_decref(own);
    keep_texts(shared);
    free(common);
}

void read_comparison(comparison *c, const char *path)
{
    static const char keys[] =
        "question paper limits common data also measure seeds before arms claims";
    json_t *root = read_json(path, JSON_REJECT_DUPLICATES);
    *c = (comparison){ .path = path };
    c->common_limits = "";
    keep_texts(root);
    check_keys(path, "the comparison", root, keys);
    add_common(c, path, root);
    c->question = text_of(path, "the comparison", root, "question", NULL);
    c->paper = text_of(path, "the comparison", root, "paper", "");
    c->limits = text_of(path, "the comparison", root, "limits", "");
    c->measure = text_of(path, "the comparison", root, "measure", NULL);
    c->data = text_of(path, "the comparison", root, "data", NULL);
    if (strstr(c->data, "{data}")) pith_raise("%s: {data} cannot be a part of \"data\"", path);
    read_others(c, json_object_get(root, "also"));
    read_seeds(c, list_of(c, root, "seeds", true));
    const json_t *before = list_of(c, root, "before", false),
                 *arms = list_of(c, root, "arms", true),
                 *claims = list_of(c, root, "claims", false);
    for (size_t k = 0; k < json_array_size(before); k++)
        read_arm(c, json_array_get(before, k), true);
    c->first = c->arms;
    for (size_t k = 0; k < json_array_size(arms); k++) read_arm(c, json_array_get(arms, k), false);
    for (size_t k = 0; k < json_array_size(claims); k++) read_claim(c, json_array_get(claims, k));
    check_places(c);
}

void check_together(const comparison *a, const comparison *b)
{
    if (!strcmp(a->question, b->question))
        pith_raise("%s and %s ask the same question", a->path, b->path);
    for (int i = 0; i < a->arms; i++)
        for (int k = 0; k < b->arms; k++) {
            const compared *x = &a->arm[i], *y = &b->arm[k];
            if (strcmp(x->name, y->name)) continue;
            if (strcmp(x->run, y->run) || strcmp(x->data, y->data) ||
                (i < a->first) != (k < b->first) || (i >= a->first && strcmp(a->data, b->data)))
                pith_raise("%s and %s: the arm \"%s\" is not the same in both", a->path, b->path,
                           x->name);
        }
}
