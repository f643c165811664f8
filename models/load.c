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
        if (t->kind == PITH_STATE || is_left_over(t->name) || is_expected(list, n, t->name))
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
    if (t->dtype != wanted->dtype)
        return pith_raise("%s: tensor %s holds %s, its config calls for %s", path, t->name,
                          pith_dtype_name(t->dtype), pith_dtype_name(wanted->dtype));
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

/* Whose a state is, its name tells: a store in training also holds averages, an optimizer's moments
 * and what losses keep. All others are the model's. */
static bool is_own_state(const pith_tensor *t)
{
    static const char *const others[] = { "loss.", "ema/", "adamw.", "sgd." };
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        if (!strncmp(t->name, others[k], strlen(others[k]))) return false;
    return t->kind == PITH_STATE;
}

static bool add_own(pith_store *out, pith_store *s, const char *name, pith_kind kind, bool averaged)
{
    char average[1100];
    snprintf(average, sizeof average, "ema/%s", name);
    const pith_tensor *plain = pith_store_find(s, name),
                      *mean = averaged ? pith_store_find(s, average) : NULL;
    pith_tensor *to = pith_store_add(out, name, kind, plain->dtype, plain->ndim, plain->dim);
    return to && pith_tensor_copy(to, mean ? mean : plain);
}

pith_store *clip_own(const clip_config *c, pith_store *s, pith_device on, bool averaged)
{
    clip_tensor *list;
    const int n = clip_tensors(c, &list);
    pith_store *out = n ? pith_store_new_on(on) : NULL;
    bool good = out != NULL;
    for (int k = 0; good && k < n; k++) /* in the order of the config */
        good = pith_store_find(s, list[k].name)
                   ? add_own(out, s, list[k].name, list[k].kind, averaged)
                   : pith_raise("cannot save: the store has no %s", list[k].name);
    for (int k = 0; good && k < pith_store_count(s); k++) {
        const pith_tensor *t = pith_store_at(s, k);
        if (is_own_state(t) && !pith_store_find(out, t->name))
            good = add_own(out, s, t->name, PITH_STATE, averaged);
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
    pith_store *out = clip_own(c, s, PITH_CPU, false); /* a GPU may have no room for a copy */
    /* The weights are written last: that also brings the new directory entries to the disk. */
    const bool good = out && clip_config_write(c, directory) &&
                      pith_store_save(out, path, PITH_ANY);
    if (out) pith_store_free(out);
    return good;
}
