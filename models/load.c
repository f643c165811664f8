/* load.c: loads and saves model directories. The tensors of a file are compared with those that its
 * config calls for, and every difference is named; if a name looks like a slip, the name that was
 * probably meant is told too. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "parts.h"

/* Tensors that other programs leave in their files. The config says the same, so they are passed
 * over. */
static bool is_left_over(const char *name)
{
    static const char *const names[] = { "attn_mask", "input_resolution", "context_length",
                                         "vocab_size" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (!strcmp(name, names[k])) return true;
    return false;
}

/* How many letters must be changed, added or dropped to turn a into b (Levenshtein); only the first
 * 64 letters of each are compared. */
static int distance(const char *a, const char *b)
{
    int row[65];
    const int n = (int)strnlen(b, 64);
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 0; i < 64 && a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 1; j <= n; j++) {
            const int change = diagonal + (a[i] != b[j - 1]),
                      other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < other ? change : other;
        }
    }
    return row[n];
}

static bool is_expected(const clip_tensor *list, int n, const char *name)
{
    for (int k = 0; k < n; k++)
        if (!strcmp(list[k].name, name)) return true;
    return false;
}

/* How many names a set has, and the first few of them, for an error message. */
typedef struct {
    int count;
    char text[512];
} names;

static void add_name(names *set, const char *name)
{
    const size_t used = strlen(set->text);
    if (set->count++ < 4)
        snprintf(set->text + used, sizeof set->text - used, "%s%.100s", set->count > 1 ? ", " : "",
                 name);
    else if (set->count == 5) snprintf(set->text + used, sizeof set->text - used, ", ...");
}

static bool check_names(const char *path, const clip_tensor *list, int n, pith_store *s)
{
    names missing = { 0 }, unexpected = { 0 };
    const char *stranger = NULL, *nearest = NULL;
    for (int k = 0; k < pith_store_count(s); k++) {
        const pith_tensor *t = pith_store_at(s, k);
        if (t->kind != PITH_WEIGHT || is_left_over(t->name) || is_expected(list, n, t->name))
            continue;
        add_name(&unexpected, t->name);
        if (!stranger) stranger = t->name;
    }
    for (int k = 0, least = 6; k < n; k++) {
        if (pith_store_find(s, list[k].name)) continue;
        add_name(&missing, list[k].name);
        if (stranger && distance(list[k].name, stranger) < least)
            least = distance(list[k].name, stranger), nearest = list[k].name;
    }
    if (nearest)
        return pith_raise(
            "%s: there is no tensor %s, but a similar name, %s (%d missing, %d unexpected)", path,
            nearest, stranger, missing.count, unexpected.count);
    if (missing.count && unexpected.count)
        return pith_raise(
            "%s: not the model of its config: %d tensors are missing (%s), %d are unexpected (%s)",
            path, missing.count, missing.text, unexpected.count, unexpected.text);
    if (missing.count)
        return pith_raise("%s: %d tensors are missing: %s", path, missing.count, missing.text);
    if (unexpected.count)
        return pith_raise(
            "%s: %d tensors are unexpected, since its config does not call for them: %s", path,
            unexpected.count, unexpected.text);
    return true;
}

static const char *shape_text(int ndim, const int *dim, char text[80])
{
    int used = snprintf(text, 80, "(");
    for (int k = 0; k < ndim; k++)
        used += snprintf(text + used, 80 - (size_t)used, k ? ", %d" : "%d", dim[k]);
    snprintf(text + used, 80 - (size_t)used, ndim == 1 ? ",)" : ")");
    return text;
}

static bool check_tensor(const char *path, const clip_tensor *wanted, const pith_tensor *t)
{
    char here[80], there[80];
    if (t->dtype != PITH_F32)
        return pith_raise("%s: tensor %s does not hold floating-point numbers", path, t->name);
    if (t->ndim != wanted->ndim || memcmp(t->dim, wanted->dim, sizeof(int) * (size_t)t->ndim))
        return pith_raise("%s: tensor %s has shape %s, its config calls for %s", path, t->name,
                          shape_text(t->ndim, t->dim, there),
                          shape_text(wanted->ndim, wanted->dim, here));
    return pith_tensor_not_finite(t) < 0 ||
           pith_raise("%s: tensor %s holds NaN or infinity", path, t->name);
}

bool clip_load(clip_config *c, pith_store *s, const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, CLIP_WEIGHTS_FILE);
    if (!clip_config_read(c, directory) || !pith_store_load(s, path)) return false;
    clip_tensor *list;
    const int n = clip_tensors(c, &list);
    bool good = n > 0 && check_names(path, list, n, s);
    for (int k = 0; good && k < n; k++)
        good = check_tensor(path, &list[k], pith_store_find(s, list[k].name));
    free(list);
    return good;
}

/* A store with the model's own tensors only. One in training also holds moments, averages and
 * parameters of losses. */
static pith_store *exports(const clip_config *c, pith_store *s)
{
    clip_tensor *list;
    const int n = clip_tensors(c, &list);
    pith_store *out = n ? pith_store_new() : NULL;
    bool good = out != NULL;
    for (int k = 0; good && k < n; k++) {
        const pith_tensor *from = pith_store_find(s, list[k].name);
        if (!from) good = pith_raise("cannot save: the store has no %s", list[k].name);
        pith_tensor *to = good ? pith_store_add(out, from->name, PITH_WEIGHT, PITH_F32, from->ndim,
                                                from->dim)
                               : NULL;
        good = to && pith_tensor_copy(to, from);
    }
    free(list);
    if (good || !out) return out;
    pith_store_free(out);
    return NULL;
}

bool clip_save(const clip_config *c, pith_store *s, const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, CLIP_WEIGHTS_FILE);
    if (mkdir(directory, 0777) && errno != EEXIST)
        return pith_raise("cannot make %s: %s", directory, strerror(errno));
    pith_store *out = exports(c, s);
    /* The weights are written last: that also brings the new directory entries to the disk. */
    const bool good = out && clip_config_write(c, directory) &&
                      pith_store_save(out, path, PITH_WEIGHT);
    if (out) pith_store_free(out);
    return good;
}
