/* checkpoint.c: a run's state on disk. A checkpoint is either complete or not there. state.json is
 * written last and holds the size and hash of the weights, so a damaged checkpoint is noticed
 * before any of it is used. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "parts.h"

#define WEIGHTS "weights.safetensors"
#define STATE "state.json"

/* The number in "step-12" or "step-12.tmp", -1 for other names; *rest: what follows the number. */
static int64_t step_of(const char *name, const char **rest)
{
    char *end = NULL;
    if (strncmp(name, "step-", 5) || name[5] < '0' || name[5] > '9') return -1;
    const int64_t step = strtoll(name + 5, &end, 10);
    *rest = end;
    return step;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* "", ".tmp", ".weights" and ".weights.PID.tmp", behind step-N, are this page's names. */
static bool is_left_over(const char *rest)
{
    if (strncmp(rest, ".weights", 8) == 0) {
        rest += 8;
        if (!*rest) return true;
        if (*rest == '.') rest += 1 + strspn(rest + 1, "0123456789");
    }
    return strcmp(rest, ".tmp") == 0;
}

/* The steps that have a checkpoint, newest first; the caller frees the list. With `tidy`, files
 * that an interrupted save left behind are removed. */
static int64_t *list_steps(const char *directory, bool tidy, int *count)
{
    DIR *d = opendir(directory);
    int64_t *steps = NULL;
    *count = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[PITH_PATH];
        const char *rest;
        const int64_t step = step_of(e->d_name, &rest);
        pith_path(path, "%s/%s", directory, e->d_name);
        if (step < 0) continue;
        if (tidy && is_left_over(rest)) pith_remove_all(path);
        int64_t *longer = *rest ? NULL : realloc(steps, sizeof *steps * (size_t)(*count + 1));
        if (longer) steps = longer, steps[(*count)++] = step;
    }
    if (d) closedir(d);
    if (steps) qsort(steps, (size_t)*count, sizeof *steps, newest_first);
    return steps;
}

static bool check_finite(const char *directory, int64_t step, pith_store *s)
{
    for (int k = 0; k < pith_store_count(s); k++) {
        const pith_tensor *t = pith_store_at(s, k);
        const int64_t i = pith_tensor_not_finite(t);
        pith_real x = 0;
        if (i < 0) continue;
        return pith_tensor_read_part(t, (size_t)i, 1, &x) &&
               pith_raise("%s/step-%" PRId64 ": tensor %s holds %g at element %" PRId64, directory,
                          step, t->name, (double)x, i);
    }
    return true;
}

/* ---- saving ---- */

static char *describe(json_t *state, int64_t step, int64_t bytes, uint64_t hash)
{
    char text[17];
    const bool good = json_object_set_new(state, "step", json_integer(step)) == 0 &&
                      json_object_set_new(state, "weights",
                                          json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes,
                                                    "hash", pith_hash_text(hash, text))) == 0;
    return good ? json_dumps(state, JSON_INDENT(2)) : NULL;
}

static int replace_link(const char *directory, int64_t step)
{
    char target[64], temporary[PITH_PATH], link[PITH_PATH];
    snprintf(target, sizeof target, "step-%" PRId64, step);
    pith_path(temporary, "%s/latest.tmp", directory);
    pith_path(link, "%s/latest", directory);
    unlink(temporary);
    return symlink(target, temporary) || rename(temporary, link) ? errno : pith_sync(directory);
}

/* Makes a checkpoint of the weights, already in a file, and the text of state.json. Returns 0 or an
 * errno. */
static int assemble(const char *directory, const char *final, const char *weights,
                    const char *state)
{
    char temporary[PITH_PATH], file[PITH_PATH];
    pith_path(temporary, "%s.tmp", final);
    pith_remove_all(temporary);
    int why = mkdir(temporary, 0777) ? errno : 0;
    pith_path(file, "%s/" WEIGHTS, temporary);
    if (!why && rename(weights, file)) why = errno;
    pith_path(file, "%s/" STATE, temporary);
    if (!why) why = pith_put_text(file, state);
    if (!why) why = pith_sync(temporary);
    /* a checkpoint of this very step must be damaged: otherwise the run would have resumed from it
     */
    if (!why) pith_remove_all(final);
    if (!why && rename(temporary, final)) why = errno;
    if (!why) why = pith_sync(directory);
    if (why) pith_remove_all(temporary);
    return why;
}

/* Removes all but the `keep` newest checkpoints up to `step`, and all later ones: those were
 * damaged, and the run resumed from an earlier one. */
static void prune(const char *directory, int64_t step, int keep)
{
    int count, kept = 0;
    int64_t *steps = list_steps(directory, true, &count);
    for (int k = 0; k < count; k++) {
        char path[PITH_PATH];
        pith_path(path, "%s/step-%" PRId64, directory, steps[k]);
        if (steps[k] > step || (kept > 0 && kept >= keep)) pith_remove_all(path);
        else kept++;
    }
    free(steps);
}

/* The weights are first written to a file of their own. If the disk is full, pith_store_save
 * removes that file before it raises the error, for the error handler may end the program. */
bool pith_checkpoint_save(const char *directory, int64_t step, int keep, pith_store *s,
                          json_t *state)
{
    char weights[PITH_PATH], final[PITH_PATH];
    uint64_t hash;
    int64_t bytes;
    pith_path(final, "%s/step-%" PRId64, directory, step);
    pith_path(weights, "%s.weights", final);
    if (!check_finite(directory, step, s) || !pith_store_save(s, weights, PITH_ANY)) return false;
    int why = pith_hash_file_try(weights, &hash, &bytes);
    char *text = why ? NULL : describe(state, step, bytes, hash);
    if (!why) why = text ? assemble(directory, final, weights, text) : EINVAL;
    free(text);
    if (!why) why = replace_link(directory, step);
    if (!why) return prune(directory, step, keep), true;
    unlink(weights);
    return pith_raise("%s: cannot be written: %s", final, strerror(why));
}

/* ---- loading ---- */

bool pith_checkpoint_exists(const char *directory)
{
    int count;
    free(list_steps(directory, false, &count));
    return count > 0;
}

int pith_take_run(const char *directory, bool resume)
{
    int taken = -1;
    if (mkdir(directory, 0777) && errno != EEXIST)
        pith_raise("%s: cannot be made: %s", directory, strerror(errno));
    else if ((taken = pith_take_directory(directory)) < 0)
        pith_raise(errno == EWOULDBLOCK ? "%s: another process trains in it"
                                        : "%s: cannot be taken for this process: %s",
                   directory, strerror(errno));
    else if (!resume && pith_checkpoint_exists(directory)) {
        close(taken);
        taken = -1;
        pith_raise("%s holds a run already: go on with --resume %s, or choose another directory",
                   directory, directory);
    }
    return taken;
}

/* What state.json holds, if the checkpoint is undamaged; else NULL, with the reason in `why`. */
static json_t *check(const char *directory, int64_t step, char why[256])
{
    char path[PITH_PATH], text[17];
    json_error_t error;
    pith_path(path, "%s/step-%" PRId64 "/" STATE, directory, step);
    FILE *f = pith_open_regular(path);
    snprintf(error.text, sizeof error.text, "%s", f ? "" : pith_file_error(errno));
    json_t *state = f ? json_loadf(f, 0, &error) : NULL;
    if (f) fclose(f);
    json_t *weights = json_object_get(state, "weights");
    const json_int_t wanted = json_integer_value(json_object_get(weights, "bytes"));
    const char *told = json_string_value(json_object_get(weights, "hash"));
    pith_path(path, "%s/step-%" PRId64 "/" WEIGHTS, directory, step);
    uint64_t hash = 0;
    struct stat info;
    int64_t bytes = stat(path, &info) ? 0 : info.st_size;
    int code = bytes ? 0 : errno;
    if (bytes == wanted) code = pith_hash_file_try(path, &hash, &bytes); /* else it says enough */
    if (!state) snprintf(why, 256, STATE " cannot be read: %.160s", error.text);
    else if (!told || json_integer_value(json_object_get(state, "step")) != step)
        snprintf(why, 256, STATE " is not of this checkpoint");
    else if (code) snprintf(why, 256, WEIGHTS ": %s", pith_file_error(code));
    else if (bytes != wanted)
        snprintf(why, 256, WEIGHTS " has %lld bytes of %lld", (long long)bytes, (long long)wanted);
    else if (strcmp(pith_hash_text(hash, text), told))
        snprintf(why, 256, WEIGHTS " is not what was written: its hash is %s, not %.32s", text,
                 told);
    else return state;
    json_decref(state);
    return NULL;
}

bool pith_checkpoint_load(const char *directory, pith_store *s, int64_t *step, json_t **state,
                          FILE *log)
{
    char path[PITH_PATH], why[256] = "";
    int count;
    int64_t *steps = list_steps(directory, false, &count), newest = count ? steps[0] : -1;
    *state = NULL;
    for (int k = 0; k < count && !*state; k++) {
        char now[256] = "";
        *step = steps[k];
        *state = check(directory, *step, now);
        pith_make_plain(now, 0); /* it may tell of a stranger's file */
        if (k == 0) strcpy(why, now);
        if (!*state && log && k + 1 < count)
            fprintf(log, "%s/step-%" PRId64 " is damaged: %s: going back to step-%" PRId64 "\n",
                    directory, *step, now, steps[k + 1]);
    }
    free(steps);
    if (!count) return pith_raise("%s: there is no checkpoint", directory);
    if (!*state)
        return pith_raise("%s/step-%" PRId64 " is damaged, and no other checkpoint is whole: %s",
                          directory, newest, why);
    pith_path(path, "%s/step-%" PRId64 "/" WEIGHTS, directory, *step);
    /* `latest` names the checkpoint that the run goes on from. It may name the one before, if a
     * save was interrupted just before it replaced the link. */
    const int code = pith_store_load(s, path) && check_finite(directory, *step, s)
                         ? replace_link(directory, *step)
                         : -1;
    if (code == 0) return true;
    if (code > 0) pith_raise("%s/latest: cannot be written: %s", directory, strerror(code));
    json_decref(*state);
    *state = NULL;
    return false;
}
