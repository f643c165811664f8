/* metrics.c: the files of a run that people and programs read: metrics.jsonl, with a line for each
 * step and each evaluation, and run.json. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "parts.h"

json_t *pith_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

double pith_number_of(const json_t *state, const char *key, double otherwise)
{
    const json_t *x = json_object_get(state, key);
    return json_is_number(x) ? json_number_value(x) : otherwise;
}

int64_t pith_count_of(const json_t *state, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(state, key));
    return n > 0 ? n : 0;
}

bool pith_is_metric(const char *name)
{
    static const char *const own[] = {
        "step", "loss", "norm", "lr", "gflop", "skipped", "seconds"
    };
    for (size_t k = 0; k < sizeof own / sizeof *own; k++)
        if (!strcmp(name, own[k])) return true;
    return false;
}

static bool failed(const pith_metrics *m)
{
    return pith_raise("%s: cannot be written: %s", m->path, strerror(errno));
}

/* Keeps the lines up to `step`: a resumed run writes those of later steps again. An incomplete line
 * can only be the last, where the run was cut off. */
bool pith_metrics_open(pith_metrics *m, const char *directory, int64_t step)
{
    pith_path(m->path, "%s/metrics.jsonl", directory);
    m->file = pith_open_own(m->path);
    if (!m->file) return failed(m);
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    int64_t at;
    off_t end = 0;
    rewind(m->file);
    while ((size = getline(&line, &room, m->file)) > 0 && line[size - 1] == '\n' &&
           sscanf(line, "{\"step\":%" SCNd64, &at) == 1 && at <= step)
        end += size;
    free(line);
    if (ftruncate(fileno(m->file), end) == 0 && fseeko(m->file, 0, SEEK_END) == 0) return true;
    failed(m);
    fclose(m->file);
    m->file = NULL;
    return false;
}

bool pith_metrics_write(pith_metrics *m, int64_t step, int n, const pith_metric *values)
{
    json_t *line = json_object();
    json_object_set_new(line, "step", json_integer(step));
    for (int k = 0; k < n; k++) /* of two values of one name, as of a loss built twice, the first */
        if (!json_object_get(line, values[k].name))
            json_object_set_new(line, values[k].name, pith_number(values[k].value));
    const bool good = json_dumpf(line, m->file, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 &&
                      fputc('\n', m->file) != EOF;
    json_decref(line);
    return good || failed(m);
}

bool pith_metrics_sync(pith_metrics *m)
{
    return (fflush(m->file) == 0 && fsync(fileno(m->file)) == 0) || failed(m);
}

bool pith_metrics_close(pith_metrics *m)
{
    const bool good = !m->file || fclose(m->file) == 0;
    m->file = NULL;
    return good || failed(m);
}

static void processor(char name[128])
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    strcpy(name, "unknown");
    for (char line[256]; f && fgets(line, sizeof line, f);)
        if (sscanf(line, "model name : %127[^\n]", name) == 1) break;
    if (f) fclose(f);
}

static json_t *machine(void)
{
    struct utsname u;
    char name[128];
    processor(name);
    uname(&u);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:i}", "system", u.sysname, "release", u.release,
                     "architecture", u.machine, "processor", name, "processors",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "threads", omp_get_max_threads());
}

bool pith_run_write(const pith_train_options *o, const pith_loader_options *data)
{
    char path[PITH_PATH], hash[17];
    json_error_t error;
    json_t *record = o->record ? json_loads(o->record, 0, &error) : json_object();
    if (!json_is_object(record))
        return json_decref(record), pith_raise("%s: the record of the run is not a JSON object: %s",
                                               o->directory, record ? "" : error.text);
    json_t *run = json_pack("{s:o, s:{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:i, s:I},"
                            " s:{s:s, s:i, s:s, s:i, s:I}, s:o}",
                            "options", record, "training", "steps", (json_int_t)o->steps, "warmup",
                            (json_int_t)o->warmup, "lr", o->lr, "weight_decay", o->weight_decay,
                            "beta1", o->beta1, "beta2", o->beta2, "epsilon", o->epsilon,
                            "clip_norm", o->clip_norm, "ema", o->ema, "schedule",
                            o->schedule == PITH_COSINE ? "cosine" : "constant", "stage", o->stage,
                            "seed", (json_int_t)o->seed, "data", "hash",
                            pith_hash_text(data->dataset->hash, hash), "pairs",
                            data->dataset->count, "split", data->dataset->split, "batch",
                            data->batch, "seed", (json_int_t)data->seed, "machine", machine());
    char *text = json_dumps(run, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    pith_path(path, "%s/run.json", o->directory);
    const bool good = text ? pith_write_text(path, text) : pith_raise("%s: no memory", path);
    free(text);
    json_decref(run);
    return good;
}
