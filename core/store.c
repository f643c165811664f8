/* store.c: named weights and state, which outlive graphs, and the arena that the plans of one store
 * share. */
#include <ctype.h>
#include <fnmatch.h>
#include "inside.h"

pith_store *pith_store_of(const pith_graph *g)
{
    return pith_given(g, "pith_store_of", "graph") ? g->home.store : NULL;
}

pith_store *pith_store_new_on(pith_device device)
{
    const pith_backend *on = pith_backend_of(device);
    pith_store *s = on ? calloc(1, sizeof *s) : NULL;
    if (!s) return on ? pith_raise("no memory for a store"), NULL : NULL;
    s->device = device;
    s->on = on;
    atomic_flag_clear(&s->running);
    return s;
}

pith_store *pith_store_new(void) { return pith_store_new_on(PITH_CPU); }

void pith_store_free(pith_store *s)
{
    if (!s) return;
    for (int k = 0; k < s->n; k++) {
        s->on->release(pith_data(s->tensors[k]));
        free((void *)(uintptr_t)s->tensors[k]->name);
        free(s->tensors[k]);
    }
    for (int k = 0; k < s->n_patterns; k++) free(s->patterns[k]);
    free(s->patterns);
    free(s->tensors);
    free(s->table);
    s->on->release(s->arena);
    free(s);
}

bool pith_store_is_whole(const pith_store *s)
{
    return !s->torn || pith_raise("a run of this store ended midway, so that some of its tensors "
                                  "are new and others old: load it again");
}

bool pith_store_settle(const pith_store *s) { return s->on->wait(NULL) && pith_store_is_whole(s); }

bool pith_plan_is_whole(const pith_plan *p)
{
    const pith_graph *g = p->graph;
    bool whole = pith_store_is_whole(p->store);
    for (int k = 0; k < g->n_params && whole; k++)
        whole = pith_store_is_whole(pith_store_behind(pith_leaf_of(g->params[k])->tensor));
    for (int k = 0; k < g->n_states && whole; k++)
        whole = pith_store_is_whole(pith_store_behind(pith_leaf_of(g->states[k])->tensor));
    return whole;
}

void pith_store_mend(pith_store *s) { s->torn = false; }

pith_device pith_store_device(const pith_store *s)
{
    return pith_given(s, "pith_store_device", "store") ? s->device : PITH_CPU;
}

int pith_store_count(const pith_store *s)
{
    return pith_given(s, "pith_store_count", "store") ? s->n : 0;
}

pith_tensor *pith_store_at(const pith_store *s, int i)
{
    if (!pith_given(s, "pith_store_at", "store")) return NULL;
    if (i >= 0 && i < s->n) return s->tensors[i];
    return pith_raise("pith_store_at: tensor %d of a store that has %d", i, s->n), NULL;
}

size_t pith_tensor_size(const pith_tensor *t)
{
    size_t size = 1;
    if (!pith_given(t, "pith_tensor_size", "tensor")) return 0;
    for (int k = 0; k < t->ndim; k++) size *= (size_t)t->dim[k];
    return size;
}

size_t pith_tensor_bytes(const pith_tensor *t)
{
    if (!pith_given(t, "pith_tensor_bytes", "tensor")) return 0;
    return pith_tensor_size(t) * pith_width(t->dtype);
}

/* Whether elements first .. first+count-1 of the tensor and the host's memory are there. */
static bool is_part(const char *function, const pith_tensor *t, size_t first, size_t count,
                    const void *host)
{
    if (!t) return pith_raise("%s: the tensor is NULL", function);
    if (!host) return pith_raise("%s: %s: the host's memory is NULL", function, t->name);
    const size_t size = pith_tensor_size(t);
    return (first <= size && count <= size - first) ||
           pith_raise("%s: %s has %zu elements, asked for are %zu from element %zu on", function,
                      t->name, size, count, first);
}

static char *element(const pith_tensor *t, size_t i)
{
    return (char *)pith_data(t) + i * pith_width(t->dtype);
}

bool pith_tensor_read_part(const pith_tensor *t, size_t first, size_t count, void *to)
{
    if (!is_part("pith_tensor_read_part", t, first, count, to)) return false;
    return pith_store_behind(t)->on->read(to, element(t, first), count * pith_width(t->dtype));
}

bool pith_tensor_write_part(pith_tensor *t, size_t first, size_t count, const void *from)
{
    if (!is_part("pith_tensor_write_part", t, first, count, from)) return false;
    t->version++;
    return pith_store_behind(t)->on->write(element(t, first), from, count * pith_width(t->dtype));
}

bool pith_tensor_read(const pith_tensor *t, void *to)
{
    return is_part("pith_tensor_read", t, 0, 0, to) &&
           pith_tensor_read_part(t, 0, pith_tensor_size(t), to);
}

bool pith_tensor_write(pith_tensor *t, const void *from)
{
    return is_part("pith_tensor_write", t, 0, 0, from) &&
           pith_tensor_write_part(t, 0, pith_tensor_size(t), from);
}

bool pith_tensor_copy(pith_tensor *to, const pith_tensor *from)
{
    if (!to || !from)
        return pith_raise("pith_tensor_copy: the tensor to copy %s is NULL", to ? "from" : "to");
    if (to->dtype != from->dtype || pith_tensor_size(to) != pith_tensor_size(from))
        return pith_raise("pith_tensor_copy: %s and %s differ in size or type", to->name,
                          from->name);
    const pith_backend *there = pith_store_behind(to)->on, *here = pith_store_behind(from)->on;
    void *copied = NULL;
    const size_t bytes = pith_tensor_bytes(from);
    to->version++;
    if (there == here) return there->copy(pith_data(to), pith_data(from), bytes);
    const void *x = pith_on_host(here, pith_data(from), bytes, &copied);
    const bool good = x && there->write(pith_data(to), x, bytes);
    free(copied);
    return good;
}

int64_t pith_tensor_not_finite(const pith_tensor *t)
{
    if (!pith_given(t, "pith_tensor_not_finite", "tensor")) return -1;
    void *copied;
    const void *x = pith_on_host(pith_store_behind(t)->on, pith_data(t), pith_tensor_bytes(t),
                                 &copied);
    const int64_t first = x ? pith_first_not_finite(t->dtype, pith_tensor_size(t), x) : 0;
    free(copied);
    return first;
}

/* The slot of a name: where it is, or where it would be. */
static int *slot(const pith_store *s, const char *name)
{
    int k = (int)(pith_hash(name, 0) % (uint64_t)s->table_size);
    while (s->table[k] && strcmp(s->tensors[s->table[k] - 1]->name, name))
        k = (k + 1) % s->table_size;
    return &s->table[k];
}

pith_tensor *pith_store_find(pith_store *s, const char *name)
{
    if (!pith_given(s, "pith_store_find", "store") || !pith_given(name, "pith_store_find", "name"))
        return NULL;
    const int *k = s->n ? slot(s, name) : NULL;
    return k && *k ? s->tensors[*k - 1] : NULL;
}

static bool grow(pith_store *s)
{
    if (s->n < s->capacity) return true;
    const int capacity = s->capacity ? 2 * s->capacity : 64, size = 2 * capacity + 1;
    pith_tensor **tensors = realloc(s->tensors, sizeof *tensors * (size_t)capacity);
    if (tensors) s->tensors = tensors;
    int *table = tensors ? calloc((size_t)size, sizeof *table) : NULL;
    if (!table) return false;
    free(s->table);
    s->table = table;
    s->table_size = size;
    s->capacity = capacity;
    for (int k = 0; k < s->n; k++) *slot(s, s->tensors[k]->name) = k + 1;
    return true;
}

static void *refuse(char why[PITH_WHY], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, PITH_WHY, format, list);
    va_end(list);
    return NULL;
}

pith_tensor *pith_store_try_add(pith_store *s, const char *name, pith_kind kind, pith_dtype dtype,
                                int ndim, const int *dim, char why[PITH_WHY])
{
    if (strlen(name) > PITH_MOST_NAME)
        return refuse(why, "a name of %zu characters, at most %d are allowed", strlen(name),
                      PITH_MOST_NAME);
    if (!*name || strcmp(name, "__metadata__") == 0)
        return refuse(why, "a tensor cannot be called \"%s\": files have no place for it", name);
    for (const char *c = name; *c; c++)
        if (iscntrl((unsigned char)*c))
            return refuse(why, "a name with the control character %d in it", *c);
    if (pith_store_find(s, name)) return refuse(why, "%s is in the store already", name);
    if (!pith_dtype_find(dtype) || dtype == PITH_BF16)
        return refuse(why, "%s has dtype %d, expected PITH_F32, PITH_I32 or PITH_U8", name,
                      (int)dtype);
    if (!(kind >= PITH_WEIGHT && kind <= PITH_ANY))
        return refuse(why, "%s has kind %d, expected a value of pith_kind", name, (int)kind);
    if (ndim > 0 && !dim)
        return refuse(why, "%s has %d axes, and their sizes are NULL", name, ndim);
    if (ndim < 0 || ndim > PITH_MAX_DIMS)
        return refuse(why, "%s has %d axes, at most %d are allowed", name, ndim, PITH_MAX_DIMS);
    size_t bytes = pith_width(dtype);
    bool fits = true;
    for (int k = 0; k < ndim; k++) {
        if (dim[k] < 1)
            return refuse(why, "%s: axis %d has size %d, every size is at least 1", name, k,
                          dim[k]);
        fits = fits && !__builtin_mul_overflow(bytes, (size_t)dim[k], &bytes);
    }
    pith_stored *stored = fits && grow(s) ? calloc(1, sizeof *stored) : NULL;
    char *copy = stored ? malloc(strlen(name) + 1) : NULL;
    void *data = copy ? s->on->allocate(bytes, true) : NULL;
    if (!data) {
        free(copy);
        free(stored);
        if (!fits)
            return refuse(why, "no memory for %s: it has more bytes than can be counted", name);
        return refuse(why, "no memory for %s, which has %zu bytes, and %zu can be had", name, bytes,
                      s->on->free_bytes());
    }
    strcpy(copy, name);
    stored->store = s;
    stored->data = data;
    pith_tensor *t = &stored->tensor;
    *t = (pith_tensor){ .name = copy, .kind = kind, .dtype = dtype, .ndim = ndim };
    for (int k = 0; k < ndim; k++) t->dim[k] = dim[k];
    s->tensors[s->n] = t;
    *slot(s, copy) = ++s->n;
    return t;
}

pith_tensor *pith_store_add(pith_store *s, const char *name, pith_kind kind, pith_dtype dtype,
                            int ndim, const int *dim)
{
    char why[PITH_WHY];
    if (!pith_given(s, "pith_store_add", "store") || !pith_given(name, "pith_store_add", "name"))
        return NULL;
    pith_tensor *t = pith_store_try_add(s, name, kind, dtype, ndim, dim, why);
    return t ? t : (pith_raise("pith_store_add: %s", why), NULL);
}

bool pith_store_freeze(pith_store *s, const char *pattern)
{
    bool fits = false;
    if (!pith_given(s, "pith_store_freeze", "store") ||
        !pith_given(pattern, "pith_store_freeze", "pattern"))
        return false;
    for (int k = 0; k < s->n; k++) fits |= fnmatch(pattern, s->tensors[k]->name, 0) == 0;
    char **patterns = pith_grown(s->patterns, s->n_patterns, sizeof *patterns);
    if (patterns) s->patterns = patterns;
    char *copy = patterns ? strdup(pattern) : NULL;
    if (!copy) return pith_raise("pith_store_freeze: no memory");
    s->patterns[s->n_patterns++] = copy;
    return fits;
}

bool pith_store_is_frozen(const pith_store *s, const char *name)
{
    for (int k = 0; k < s->n_patterns; k++)
        if (fnmatch(s->patterns[k], name, 0) == 0) return true;
    return false;
}

bool pith_store_take(pith_store *s)
{
    return !atomic_flag_test_and_set(&s->running) ||
           pith_raise("a plan of this store is running: two plans of one store never run at once, "
                      "since their values share memory");
}

void pith_store_let_go(pith_store *s) { atomic_flag_clear(&s->running); }

bool pith_store_reserve(pith_store *s, size_t bytes)
{
    if (bytes <= s->arena_size) return true;
    s->on->release(s->arena);
    s->runs++;                                /* what earlier runs computed is gone */
    s->arena = s->on->allocate(bytes, false); /* every step writes before it is read */
    s->arena_size = s->arena ? bytes : 0;
    return s->arena || pith_raise("no memory for a plan: it wants %zu bytes, and %zu can be had",
                                  bytes, s->on->free_bytes());
}
