/* record.c: keeps the options of a run as JSON, so that --resume RUN needs no other argument. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "task.h"

/* A path, or several with commas between, as it is from any working directory, where it names
 * something that is there; else the text itself. The caller frees it. */
static char *lasting(const char *text)
{
    const char *comma = strchr(text, ',');
    char *path = realpath(text, NULL), *list;
    if (path || !comma) return path ? path : strdup(text);
    char *first = strndup(text, (size_t)(comma - text)), *whole = realpath(first, NULL),
         *rest = lasting(comma + 1);
    const bool good = asprintf(&list, "%s,%s", whole ? whole : first, rest) >= 0;
    free(first), free(whole), free(rest);
    return good ? list : strdup(text);
}

/* What a resumed run may change. */
static bool may_change(const char *name)
{
    static const char *const names[] = { "--steps", "--save-every", "--evaluate-every", "--out",
                                         "--resume" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (!strcmp(names[k], name)) return true;
    return false;
}

/* A loss, with `name` of each of its files in the place of its path; the caller frees it, and name
 * what it returns. */
static char *with_files(const char *loss, char *(*name)(const char *path))
{
    char *text = strdup(loss), *path;
    size_t from = 0; /* what stands before it is done */
    for (int k = 0; (path = pith_loss_file(loss, k)); k++) {
        char *at = strstr(text + from, path), *other = name(path), *changed;
        if (asprintf(&changed, "%.*s%s%s", (int)(at - text), text, other, at + strlen(path)) < 0)
            pith_raise("no memory for a loss");
        from = (size_t)(at - text) + strlen(other);
        free(text), free(other), free(path);
        text = changed;
    }
    return text;
}

static char *without_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strdup(slash ? slash + 1 : path);
}

/* For a shell, in quotes; one of the latest two. */
static const char *quoted(const char *text)
{
    static char kept[2][2048];
    static int next;
    char *out = kept[next++ % 2];
    size_t n = 0;
    out[n++] = '\'';
    for (; *text && n + 6 < sizeof kept[0]; text++) {
        if (*text == '\'') memcpy(out + n, "'\\'", 3), n += 3;
        out[n++] = *text;
    }
    out[n++] = '\'';
    out[n] = 0;
    return out;
}

static json_t *value_of(const option *o)
{
    const char *text = o->kind >= TEXT ? *(const char **)o->value : NULL;
    if (o->kind == FLAG) return json_boolean(*(bool *)o->value);
    if (o->kind == INTEGER) return json_integer(*(int64_t *)o->value);
    if (o->kind == NUMBER) return json_real(*(double *)o->value);
    if (!text) return json_null();
    char *kept = o->kind == PATH             ? lasting(text)
                 : strcmp(o->name, "--loss") ? strdup(text)
                                             : with_files(text, lasting);
    json_t *value = json_string(kept);
    free(kept);
    return value;
}

/* The hash, as text, of all files of a loss; "" for none. */
static void hash_of_loss(const char *text, char hash[17])
{
    uint64_t all = PITH_HASH, one;
    char *path;
    *hash = 0;
    for (int k = 0; (path = pith_loss_file(text, k)); k++) {
        if (access(path, R_OK) == 0 && pith_hash_file(path, &one))
            all = pith_hash_bytes(all, &one, sizeof one);
        pith_hash_text(all, hash);
        free(path);
    }
}

/* The hash, as text, of what an option names and a run needs to its end: clusters, or the weights
 * of teachers, with commas between; "" and false of all other options. */
static bool hash_of_named(const char *command, const option *o, char hash[17])
{
    const bool clusters = !strcmp(o->name, "--clusters"),
               teachers = !strcmp(o->name, strcmp(command, "prune") ? "--teacher" : "--model");
    const char *text = clusters || teachers ? *(const char **)o->value : NULL;
    uint64_t all = PITH_HASH, one;
    char path[4200];
    *hash = 0;
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        snprintf(path, sizeof path, "%.*s%s", clusters ? 4095 : (int)strcspn(at, ","), at,
                 clusters ? "" : "/open_clip_model.safetensors");
        if (access(path, R_OK) || !pith_hash_file(path, &one)) continue;
        all = clusters ? one : pith_hash_bytes(all, &one, sizeof one);
        pith_hash_text(all, hash);
        if (clusters) break; /* a comma is of its name */
    }
    return clusters || teachers;
}

/* What it is called in a record: "clusters_hash". */
static const char *name_of_hash(const option *o)
{
    static char name[40];
    snprintf(name, sizeof name, "%.30s_hash", o->name + 2);
    return name;
}

char *options_as_json(const char *command, const char *data, const option *options)
{
    char *lasting_data = lasting(data), hash[17] = "", named[17];
    json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "version", VERSION, "command", command, "data",
                          lasting_data, "--seed", (json_int_t)common_seed);
    free(lasting_data);
    if (common_plan.bf16) json_object_set_new(o, "--precision", json_string("bf16"));
    for (; options->name; options++) {
        json_object_set_new(o, options->name, value_of(options));
        if (!strcmp(options->name, "--loss")) hash_of_loss(*(const char **)options->value, hash);
        hash_of_named(command, options, named);
        if (*named) json_object_set_new(o, name_of_hash(options), json_string(named));
    }
    if (*hash) json_object_set_new(o, "loss_hash", json_string(hash));
    char *text = json_dumps(o, JSON_INDENT(2));
    json_decref(o);
    return text;
}

/* ---- going on with a run ---- */

/* Is it of the option's type? A number without a point is a whole number in JSON. */
static bool is_of_kind(const json_t *x, option_kind kind, bool optional)
{
    if (json_is_null(x)) return optional;
    return kind == FLAG      ? json_is_boolean(x)
           : kind == INTEGER ? json_is_integer(x)
           : kind == NUMBER  ? json_is_number(x)
                             : json_is_string(x);
}

static void set_from(const char *path, const option *o, const json_t *x, bool optional)
{
    static const char *const word[] = { "true or false", "a whole number", "a number", "a text",
                                        "a text" };
    if (!is_of_kind(x, o->kind, optional)) {
        char *found = json_dumps(x, JSON_ENCODE_ANY | JSON_COMPACT);
        pith_raise("%s: %s is %.60s, expected %s", path, o->name, found, word[o->kind]);
    }
    if (o->kind == FLAG) *(bool *)o->value = json_is_true(x);
    else if (o->kind == INTEGER) *(int64_t *)o->value = json_integer_value(x);
    else if (o->kind == NUMBER) *(double *)o->value = json_number_value(x);
    else *(const char **)o->value = json_string_value(x);
    check_number(o);
}

/* A run may be a stranger's, and to compile its loss is to run his code. So a file is compiled only
 * when it is named anew. */
static void check_loss_named(const char *run, const char *path, const json_t *o, const char *given)
{
    char hash[17] = "";
    const char *recorded = json_string_value(json_object_get(o, "--loss")),
               *then = json_string_value(json_object_get(o, "loss_hash"));
    char *file = recorded ? pith_loss_file(recorded, 0) : NULL;
    if (file && !given)
        pith_raise(
            "%s: the loss of this run is in the file %s, which would be compiled and run: to go "
            "on, name it again: --resume %s --loss %s",
            path, file, run, quoted(recorded));
    if (file) hash_of_loss(given, hash);
    if (file && then && *hash && strcmp(hash, then))
        fprintf(stderr, "%s: the loss's file is not what it was when this run was begun\n", run);
    free(file);
}

/* Clusters may lie elsewhere now, and teachers not, but both must be the same. */
static void check_named(const char *run, const char *command, const json_t *o, const option *p,
                        const char *given)
{
    const char *then = json_string_value(json_object_get(o, name_of_hash(p)));
    char hash[17];
    option now = *p;
    if (given) now.value = &given;
    if (hash_of_named(command, &now, hash) && then && strcmp(then, hash))
        pith_raise("%s was begun with %s with the hash %s, found %s with the hash %s", run,
                   p->name + 2, plain(then), *(const char **)now.value,
                   *hash ? hash : "of nothing");
}

/* Is what was given again for an option what the run was begun with? A loss's files may have moved,
 * and so may clusters. */
static bool is_same(const option *o, const json_t *recorded, const json_t *now)
{
    const char *a = json_string_value(recorded), *b = json_string_value(now);
    if (json_is_number(recorded) && json_is_number(now))
        return json_number_value(recorded) == json_number_value(now);
    if (a && b && !strcmp(o->name, "--clusters")) return true;
    if (!a || !b || strcmp(o->name, "--loss")) return json_equal(recorded, now);
    char *x = with_files(a, without_folder), *y = with_files(b, without_folder);
    const bool same = !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

/* Reads the options of an earlier run into the table and returns its DATA. The JSON is never freed,
 * since the table points to texts in it. `given`: what the command line says, null where nothing;
 * `optional`: which options may be missing. */
static const char *read_record(const char *run, const char *command, const option *options,
                               const json_t *given, const bool *optional)
{
    static json_t *volatile file; /* else it is optimised away, and its memory counts as lost */
    char path[4096];
    snprintf(path, sizeof path, "%s/run.json", run);
    if (access(path, F_OK)) pith_raise("%s: there is no run to resume: %s", path, strerror(errno));
    file = read_json(path, 0);
    const json_t *o = json_object_get(file, "options");
    const char *begun = json_string_value(json_object_get(o, "command")),
               *whole = json_string_value(json_object_get(o, "part_of"));
    if (whole) pith_raise("%s is a part of a run: go on with --resume %s", run, plain(whole));
    if (!begun || strcmp(begun, command))
        pith_raise("%s was begun by pith %s, not by pith %s", run, begun ? begun : "?", command);
    check_loss_named(run, path, o, json_string_value(json_object_get(given, "--loss")));
    for (const option *p = options; p->name; p++) {
        const json_t *x = json_object_get(o, p->name), *now = json_object_get(given, p->name);
        if (x) set_from(path, p, x, optional[p - options]);
        if (x && now && !may_change(p->name) && !is_same(p, x, now)) {
            enum { PLAIN = JSON_ENCODE_ANY | JSON_REAL_PRECISION(6) };
            char *a = json_dumps(x, PLAIN), *b = json_dumps(now, PLAIN);
            pith_raise("%s was begun %s %s%s%s, found %s: a run that is resumed keeps it", run,
                       json_is_null(x) ? "without" : "with", p->name, json_is_null(x) ? "" : " ",
                       json_is_null(x) ? "" : a, b);
        }
    }
    for (const option *p = options; p->name; p++)
        check_named(run, command, o, p, json_string_value(json_object_get(given, p->name)));
    const json_t *seed = json_object_get(o, "--seed"), *data = json_object_get(o, "data");
    if (!json_is_integer(seed) || !json_is_string(data))
        pith_raise("%s: expected a whole number as --seed and a text as data", path);
    common_seed = json_integer_value(seed);
    keep_precision(run, json_string_value(json_object_get(o, "--precision")));
    return json_string_value(data);
}

/* DATA, given again beside --resume. A packed file may have moved, and its hash tells whether it is
 * the same; what the run packed for itself is not read again. */
static void check_data(const char *run, const char *recorded, const char *given)
{
    char pack[4096], *same = lasting(given);
    snprintf(pack, sizeof pack, "%s/data.pack", run);
    if (access(pack, F_OK) == 0 && strcmp(same, recorded))
        pith_raise("%s was begun with the data of %s, which are packed in it, found %s", run,
                   recorded, given);
    free(same);
}

const char *parse_run(const option *options, const char *usage, const char *about, const char **out,
                      const char **resume, int argc, char **argv)
{
    char **arguments = room(sizeof *arguments * (size_t)argc);
    const char *data = NULL;
    json_t *given = json_object(); /* what the command line says, by name */
    bool optional[64] = { false }; /* texts that may be missing */
    for (int k = 0; options[k].name; k++)
        optional[k] = options[k].kind >= TEXT && !*(const char **)options[k].value;
    memcpy(arguments, argv, sizeof *arguments * (size_t)argc);
    int n = parse_options(options, usage, about, 0, 1, argc, arguments);
    for (const option *o = options; o->name; o++)
        if (was_given(o->name)) json_object_set_new(given, o->name, value_of(o));
    if (*resume) {
        need_option("--resume", *resume);
        const char *run = *resume;
        if (*out) pith_raise("--out: a run that is resumed goes on in its own directory, %s", run);
        data = read_record(run, argv[0], options, given, optional);
        memcpy(arguments, argv, sizeof *arguments * (size_t)argc);
        n = parse_options(options, usage, about, 0, 1, argc, arguments);
        *out = *resume = run;
    }
    json_decref(given);
    if (n && *resume) check_data(*resume, data, arguments[1]);
    if (n) data = arguments[1];
    if (!data) pith_raise("DATA is missing: usage: pith %s %s", argv[0], usage);
    need_option("--out", *out);
    free(arguments);
    return data;
}

void write_record(const char *out, const char *record)
{
    char path[4096];
    json_t *file = json_pack("{s:o}", "options", json_loads(record, 0, NULL));
    char *text = json_dumps(file, JSON_INDENT(2));
    snprintf(path, sizeof path, "%s/run.json", out);
    pith_write_text(path, text);
    free(text);
    json_decref(file);
}

char *record_of_part(const char *record, const char *out)
{
    json_t *o = json_loads(record, 0, NULL);
    json_object_set_new(o, "part_of", json_string(out));
    char *text = json_dumps(o, JSON_INDENT(2));
    json_decref(o);
    return text;
}

static char begun[4096]; /* the run's directory */
int run_taken;

/* Removes a directory if nothing is in it but metrics of no step. */
static bool remove_empty(const char *directory)
{
    char path[4300];
    struct stat info;
    snprintf(path, sizeof path, "%s/metrics.jsonl", directory);
    if (lstat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == 0) unlink(path);
    return rmdir(directory) == 0;
}

/* Called by exit, so also after an error: of a run that did not come to a step nothing stays but
 * what it packed, and teachers' rows. */
static void tidy(void)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/stage-1-masks", begun);
    if (remove_empty(path)) {
        snprintf(path, sizeof path, "%s/run.json", begun);
        unlink(path);
    }
    remove_empty(begun);
}

pith_pack *open_run_data(const char *data, int size, const char *out, bool resume)
{
    char path[4096];
    make_directories(out);
    run_taken = pith_take_run(out, resume);
    snprintf(begun, sizeof begun, "%s", out);
    atexit(tidy);
    snprintf(path, sizeof path, "%s/data.pack", out);
    if (resume) return pith_pack_open(access(path, F_OK) ? data : path);
    char part[4200];
    snprintf(part, sizeof part, "%s/stage-1-masks", out);
    if (pith_checkpoint_exists(part))
        pith_raise("%s holds a run already: go on with --resume %s, or choose another directory",
                   out, out);
    pith_pack *p = open_data(data, size, 0.05, path);
    pith_pack_check(p, data); /* once, when a run begins */
    return p;
}

void check_learned(const pith_train_result *r, const char *out)
{
    if (r->skipped == r->steps || !isfinite(r->loss))
        pith_raise("%s: %s: PITH_NAN=1 tells where", out,
                   r->skipped == r->steps ? "every step was skipped, for none was finite"
                                          : "the last step's loss is not finite");
}

int end_run(const pith_train_result *r, const char *command, const char *loss, const char *out)
{
    char skipped[64] = "";
    if (r->skipped) snprintf(skipped, sizeof skipped, ", %lld skipped", (long long)r->skipped);
    if (r->interrupted) {
        char *file = pith_loss_file(loss, 0);
        printf("go on with: pith %s --resume %s%s%s\n", command, out, file ? " --loss " : "",
               file ? quoted(loss) : "");
        free(file);
        return 130;
    }
    printf("%s: %lld steps%s in %.1f s, %.1f s of them waiting for data; products of %.4g GFLOP; "
           "loss %.4f\n",
           out, (long long)r->steps, skipped, r->seconds, r->waited, r->gflop, r->loss);
    check_learned(r, out);
    return 0;
}
