/* record.c: keeps the options of a run as JSON, so that --resume RUN needs no other argument. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "task.h"

char *write_record(const char *command, const char *data, const option *options)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "version", VERSION, "command", command, "data",
                          data, "--seed", (json_int_t)common_seed);
    for (; options->name; options++) {
        const char *text = options->kind == TEXT ? *(const char **)options->value : NULL;
        json_object_set_new(o, options->name,
                            options->kind == FLAG      ? json_boolean(*(bool *)options->value)
                            : options->kind == INTEGER ? json_integer(*(int64_t *)options->value)
                            : options->kind == NUMBER  ? json_real(*(double *)options->value)
                            : text                     ? json_string(text)
                                                       : json_null());
    }
    char *text = json_dumps(o, JSON_INDENT(2));
    json_decref(o);
    return text;
}

/* Reads the options of an earlier run into the table and returns its DATA. The JSON is never freed,
 * since the table points to texts in it. */
static const char *read_record(const char *run, const char *command, const option *options)
{
    static json_t *file;
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/run.json", run);
    file = json_load_file(path, 0, &error);
    const json_t *o = json_object_get(file, "options");
    if (!file) pith_raise("%s: there is no run to resume: %s", path, error.text);
    const char *begun = json_string_value(json_object_get(o, "command"));
    if (!begun || strcmp(begun, command))
        pith_raise("%s was begun by pith %s, not by pith %s", run, begun ? begun : "?", command);
    for (; options->name; options++) {
        const json_t *x = json_object_get(o, options->name);
        if (!x || json_is_null(x)) continue;
        if (options->kind == FLAG) *(bool *)options->value = json_is_true(x);
        else if (options->kind == INTEGER) *(int64_t *)options->value = json_integer_value(x);
        else if (options->kind == NUMBER) *(double *)options->value = json_real_value(x);
        else *(const char **)options->value = json_string_value(x);
    }
    common_seed = json_integer_value(json_object_get(o, "--seed"));
    return json_string_value(json_object_get(o, "data"));
}

const char *parse_run(const option *options, const char *usage, const char *about, const char **out,
                      const char **resume, int argc, char **argv)
{
    char **arguments = malloc(sizeof *arguments * (size_t)argc);
    const char *data = NULL;
    memcpy(arguments, argv, sizeof *arguments * (size_t)argc);
    int n = parse_options(options, usage, about, 0, 1, argc, arguments);
    if (*resume) {
        const char *run = *resume;
        data = read_record(run, argv[0], options);
        memcpy(arguments, argv, sizeof *arguments * (size_t)argc);
        n = parse_options(options, usage, about, 0, 1, argc, arguments);
        *out = *resume = run;
    }
    if (n) data = arguments[1];
    if (!data) pith_raise("DATA is missing: usage: pith %s %s", argv[0], usage);
    need_option("--out", *out);
    free(arguments);
    return data;
}

pith_pack *open_run_data(const char *data, int size, const char *out, bool resume)
{
    char path[4096];
    make_directories(out);
    snprintf(path, sizeof path, "%s/data.pack", out);
    return resume && access(path, F_OK) == 0 ? pith_pack_open(path)
                                             : open_data(data, size, 0.05, path);
}

void print_result(const pith_train_result *r, const char *command, const char *out)
{
    if (r->interrupted)
        printf("stopped after step %lld; go on with: pith %s --resume %s\n", (long long)r->steps,
               command, out);
    else
        printf("%s: %lld steps in %.1f s, %.1f s of them waiting for data; loss %.4f\n", out,
               (long long)r->steps, r->seconds, r->waited, r->loss);
}
