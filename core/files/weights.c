/* weights.c: reads a store from a safetensors file and writes it into one. Numbers of other types
 * become f32 or i32 when they are read. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include "core.h"
#include "files.h"

/* ---- reading ---- */

enum { BLOCK = 512 };

/* Is the type of the file that of the store's tensor, too? */
static bool is_plain(const pith_file_type *type)
{
    return strcmp(type->name, pith_dtype_find(type->dtype)->file) == 0;
}

/* Do all of `size` elements fit the dtype they become? */
static bool fits(const pith_file_type *type, const uint8_t *from, size_t size)
{
    double x[BLOCK];
    for (size_t start = 0; start < size && !is_plain(type); start += BLOCK) {
        const size_t count = size - start < BLOCK ? size - start : BLOCK;
        type->load(from + start * type->bytes, x, count);
        for (size_t i = 0; i < count; i++)
            if (!pith_dtype_holds(type->dtype, x[i]) ||
                (isfinite(x[i]) && !isfinite((pith_real)x[i])))
                return false;
    }
    return true;
}

static void convert(const pith_file_type *type, const uint8_t *from, void *to, size_t size)
{
    const pith_dtype_info *dtype = pith_dtype_find(type->dtype);
    double x[BLOCK];
    for (size_t start = 0; start < size; start += BLOCK) {
        const size_t count = size - start < BLOCK ? size - start : BLOCK;
        type->load(from + start * type->bytes, x, count);
        dtype->store(x, (char *)to + start * dtype->bytes, count);
    }
}

/* How many elements go through the buffer between a file and a tensor at a time. */
enum { PART = 1 << 14 };

/* Fills a tensor from the file: directly where the types are the same, else converted in parts. */
static bool fill(pith_tensor *t, const pith_file_type *type, const uint8_t *from)
{
    const size_t size = pith_tensor_size(t);
    pith_real part[PART];
    bool good = true;
    if (is_plain(type)) return pith_tensor_write(t, from);
    for (size_t i = 0; i < size && good; i += PART) {
        const size_t count = size - i < PART ? size - i : PART;
        convert(type, from + i * type->bytes, part, count);
        good = pith_tensor_write_part(t, i, count, part);
    }
    return good;
}

/* Checks one tensor of the file before any is read, so that a file that is refused leaves the store
 * as it was. */
static bool check_tensor(const char *path, const pith_entry *e, pith_store *s, pith_kind kind)
{
    const pith_file_type *type = pith_file_type_find(e->type);
    const pith_tensor *t = pith_store_find(s, e->name);
    bool same = !t || (t->dtype == type->dtype && t->ndim == e->ndim), plain = *e->name;
    for (const char *c = e->name; *c; c++) plain &= !iscntrl((unsigned char)*c);
    if (!plain)
        return pith_raise(
            "%s: a tensor is called \"%s\", expected a name without control characters", path,
            e->name);
    for (int k = 0; k < e->ndim; k++) {
        if (e->dim[k] > INT32_MAX)
            return pith_raise("%s: tensor %s has an axis of %lld, which is too long", path, e->name,
                              (long long)e->dim[k]);
        same = same && (!t || t->dim[k] == e->dim[k]);
    }
    if (!same)
        return pith_raise("%s: tensor %s has another shape or type than in the store", path,
                          e->name);
    if (t && !(t->kind & kind))
        return pith_raise("%s: tensor %s is a %s, in the store it is a %s", path, e->name,
                          kind == PITH_STATE ? "state" : "weight",
                          kind == PITH_STATE ? "weight" : "state");
    return fits(type, e->data, e->bytes / type->bytes) ||
           pith_raise("%s: tensor %s holds a number that does not fit %s", path, e->name,
                      pith_dtype_name(type->dtype));
}

static bool read_tensor(const pith_entry *e, pith_store *s, pith_kind kind)
{
    const pith_file_type *type = pith_file_type_find(e->type);
    int dim[PITH_MAX_DIMS];
    for (int k = 0; k < e->ndim; k++) dim[k] = (int)e->dim[k];
    pith_tensor *t = pith_store_find(s, e->name);
    if (!t) t = pith_store_add(s, e->name, kind, type->dtype, e->ndim, dim);
    if (!t) return false;
    t->loaded = true;
    t->kind &= kind;
    return fill(t, type, e->data);
}

/* Is `name` in a list of the file's metadata, a name a line? */
static bool is_listed(const char *list, const char *name)
{
    const size_t size = strlen(name);
    for (const char *s = list; size && s && (s = strstr(s, name)); s += size)
        if ((s == list || s[-1] == '\n') && (s[size] == '\n' || !s[size])) return true;
    return false;
}

/* What the file's metadata say of a tensor; those of others say nothing. */
static pith_kind kind_of(const pith_file *f, const char *name)
{
    const char *states = pith_file_meta(f, "states"), *undecided = pith_file_meta(f, "undecided");
    return !states || is_listed(undecided, name) ? PITH_ANY
           : is_listed(states, name)             ? PITH_STATE
                                                 : PITH_WEIGHT;
}

bool pith_store_load(pith_store *s, const char *path)
{
    if (!pith_given(s, "pith_store_load", "store") || !pith_given(path, "pith_store_load", "path"))
        return false;
    pith_file *f = pith_file_open(path);
    bool good = f != NULL;
    for (int k = 0; good && k < pith_file_count(f); k++)
        good = check_tensor(path, pith_file_at(f, k), s, kind_of(f, pith_file_at(f, k)->name));
    for (int k = 0; good && k < pith_file_count(f); k++)
        good = read_tensor(pith_file_at(f, k), s, kind_of(f, pith_file_at(f, k)->name));
    /* all of the file is in the store; if that is all of the store, every tensor is new */
    if (good && pith_file_count(f) == pith_store_count(s)) pith_store_mend(s);
    pith_file_close(f);
    return good;
}

/* ---- writing ---- */

/* The names of all tensors of a kind, a name a line; the caller frees it. */
static char *list_kind(const pith_store *s, pith_kind kind)
{
    size_t names = 1;
    const int n = pith_store_count(s);
    for (int k = 0; k < n; k++) names += strlen(pith_store_at(s, k)->name) + 1;
    char *list = calloc(1, names), *end = list;
    for (int k = 0; list && k < n; k++)
        if (pith_store_at(s, k)->kind == kind)
            end += sprintf(end, end > list ? "\n%s" : "%s", pith_store_at(s, k)->name);
    return list;
}

static char *make_header(const pith_store *s, pith_kind kinds, size_t *size)
{
    const int n = pith_store_count(s);
    int written = 0;
    pith_entry *entries = calloc((size_t)n + 1, sizeof *entries);
    char *states = list_kind(s, PITH_STATE), *undecided = list_kind(s, PITH_ANY), *head = NULL;
    for (int k = 0; entries && k < n; k++) {
        const pith_tensor *t = pith_store_at(s, k);
        if (!(t->kind & kinds)) continue;
        pith_entry *e = &entries[written++];
        *e = (pith_entry){ t->name, pith_dtype_find(t->dtype)->file, .ndim = t->ndim };
        for (int d = 0; d < t->ndim; d++) e->dim[d] = t->dim[d];
    }
    if (entries && states && undecided) {
        const bool told = kinds & PITH_STATE;
        const char *meta[] = { told ? "states" : NULL, states,
                               told && *undecided ? "undecided" : NULL, undecided, NULL };
        head = pith_file_head(written, entries, meta, true, size);
    }
    free(entries);
    free(states);
    free(undecided);
    return head;
}

static bool write_tensor(FILE *f, const pith_tensor *t)
{
    const size_t size = pith_tensor_size(t), width = pith_width(t->dtype);
    pith_real part[PART];
    for (size_t i = 0; i < size; i += PART) {
        const size_t count = size - i < PART ? size - i : PART;
        if (!pith_tensor_read_part(t, i, count, part) || fwrite(part, width, count, f) != count)
            return false;
    }
    return true;
}

static bool write_all(FILE *f, const pith_store *s, pith_kind kinds, const char *header,
                      size_t size)
{
    bool good = fwrite(header, 1, size, f) == size;
    for (int k = 0; good && k < pith_store_count(s); k++) {
        const pith_tensor *t = pith_store_at(s, k);
        if (t->kind & kinds) good = write_tensor(f, t);
    }
    return good;
}

bool pith_store_save(const pith_store *s, const char *path, pith_kind kinds)
{
    if (!pith_given(s, "pith_store_save", "store") ||
        !pith_given(path, "pith_store_save", "path") || !pith_store_settle(s))
        return false;
    size_t size = 0;
    char *header = make_header(s, kinds, &size);
    if (!header) return pith_raise("no memory to write %s", path);
    errno = 0;
    FILE *f = pith_begin_file(path);
    const int why = pith_end_file(f, path, f && write_all(f, s, kinds, header, size));
    free(header);
    return !why || pith_raise("%s: cannot be written: %s", path, pith_file_error(why));
}
