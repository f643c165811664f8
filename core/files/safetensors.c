/* safetensors.c: the file format of weights and packed sets: eight bytes with the length of the
 * header, a JSON header with names, types, shapes and offsets, then the data. Files may come from
 * anywhere, so every number of the header is checked before any of the data is used. The file is
 * mapped into memory. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core.h"
#include "files.h"

struct pith_file {
    const uint8_t *map;
    size_t size; /* of the whole file, in bytes */
    json_t *header;
    pith_entry *entries; /* sorted by the place of their data */
    int n;
};

static bool read_shape(json_t *shape, uint64_t size, pith_entry *e)
{
    e->ndim = (int)json_array_size(shape);
    if (!json_is_array(shape) || json_array_size(shape) > PITH_MAX_DIMS) return false;
    for (int k = 0; k < e->ndim; k++) {
        const json_t *d = json_array_get(shape, (size_t)k);
        e->dim[k] = json_integer_value(d);
        if (!json_is_integer(d) || e->dim[k] < 1 ||
            size > (UINT64_C(1) << 50) / (uint64_t)e->dim[k])
            return false;
        size *= (uint64_t)e->dim[k];
    }
    return e->bytes == size;
}

static bool read_entry(const char *path, const char *name, json_t *value, const uint8_t *data,
                       size_t size, pith_entry *e)
{
    const json_t *offsets = json_object_get(value, "data_offsets"),
                 *first = json_array_get(offsets, 0);
    const json_t *last = json_array_get(offsets, 1);
    const json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    *e = (pith_entry){ .name = name, .type = json_string_value(json_object_get(value, "dtype")) };
    const pith_file_type *type = e->type ? pith_file_type_find(e->type) : NULL;
    if (!type)
        return pith_raise("%s: tensor %s has type %s, which pith cannot read", path, name,
                          e->type ? e->type : "(none)");
    if (!json_is_integer(first) || !json_is_integer(last) || json_array_size(offsets) != 2 ||
        begin < 0 || end < begin || (uint64_t)end > size)
        return pith_raise("%s: tensor %s lies outside the file's %zu bytes of data", path, name,
                          size);
    e->data = data + begin;
    e->bytes = (size_t)(end - begin);
    return read_shape(json_object_get(value, "shape"), type->bytes, e) ||
           pith_raise("%s: tensor %s: its shape does not fit its %zu bytes of %s", path, name,
                      e->bytes, e->type);
}

static int by_place(const void *a, const void *b)
{
    const pith_entry *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static bool read_header(pith_file *f, const char *path)
{
    uint64_t length = 0;
    json_error_t error;
    if (f->size < 8) return pith_raise("%s: not a safetensors file: %zu bytes", path, f->size);
    for (int k = 7; k >= 0; k--) length = length << 8 | f->map[k];
    if (length > f->size - 8 || length > 100u << 20)
        return pith_raise("%s: no safetensors file, or cut off: what would be its header is longer "
                          "than its %zu bytes",
                          path, f->size);
    f->header = json_loadb((const char *)f->map + 8, (size_t)length, JSON_REJECT_DUPLICATES,
                           &error);
    if (!json_is_object(f->header))
        return pith_raise("%s: its header is not a JSON object: %s", path, error.text);
    const uint8_t *data = f->map + 8 + length;
    const size_t size = f->size - 8 - (size_t)length;
    const char *name;
    json_t *value;
    f->entries = calloc(json_object_size(f->header) + 1, sizeof *f->entries);
    if (!f->entries) return pith_raise("%s: no memory", path);
    json_object_foreach(f->header, name, value) if (strcmp(name, "__metadata__") &&
                                                    !read_entry(path, name, value, data, size,
                                                                &f->entries[f->n++])) return false;
    qsort(f->entries, (size_t)f->n, sizeof *f->entries, by_place);
    for (int k = 1; k < f->n; k++)
        if (f->entries[k].data < f->entries[k - 1].data + f->entries[k - 1].bytes)
            return pith_raise("%s: tensors %s and %s overlap", path, f->entries[k - 1].name,
                              f->entries[k].name);
    return true;
}

pith_file *pith_file_open(const char *path)
{
    struct stat info;
    const int d = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* also of a FIFO */
    if (d < 0 || fstat(d, &info)) {
        const int why = errno;
        if (d >= 0) close(d);
        return pith_raise("%s: %s", path, strerror(why)), NULL;
    }
    pith_file *f = calloc(1, sizeof *f);
    const size_t size = S_ISREG(info.st_mode) ? (size_t)info.st_size : 0;
    void *map = f && size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, d, 0) : MAP_FAILED;
    const int why = errno;
    close(d);
    bool good = f != NULL;
    if (!size) good = pith_raise("%s: not a safetensors file: it is empty, or not a file", path);
    else if (map == MAP_FAILED) good = pith_raise("%s: cannot be mapped: %s", path, strerror(why));
    else {
        f->map = map;
        f->size = size;
        good = read_header(f, path);
    }
    if (good) return f;
    pith_file_close(f);
    return NULL;
}

void pith_file_close(pith_file *f)
{
    if (!f) return;
    if (f->map) munmap((void *)(uintptr_t)f->map, f->size);
    json_decref(f->header);
    free(f->entries);
    free(f);
}

int pith_file_count(const pith_file *f) { return f->n; }
const pith_entry *pith_file_at(const pith_file *f, int i) { return &f->entries[i]; }

const pith_entry *pith_file_find(const pith_file *f, const char *name)
{
    for (int k = 0; k < f->n; k++)
        if (strcmp(f->entries[k].name, name) == 0) return &f->entries[k];
    return NULL;
}

const char *pith_file_meta(const pith_file *f, const char *key)
{
    return json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), key));
}

/* ---- writing ---- */

/* A tensor as the header tells of it; *place: where its data begin, moved to where they end. */
static json_t *describe(const pith_entry *e, uint64_t *place)
{
    const uint64_t begin = *place;
    uint64_t bytes = pith_file_type_find(e->type)->bytes;
    json_t *shape = json_array();
    for (int k = 0; k < e->ndim; k++) {
        json_array_append_new(shape, json_integer(e->dim[k]));
        bytes *= (uint64_t)e->dim[k];
    }
    *place += bytes;
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", e->type, "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)*place);
}

static char *header_text(int n, const pith_entry *entries, const char *const *meta, bool sorted)
{
    json_t *header = json_object(), *texts = json_pack("{s:s}", "format", "pt");
    uint64_t place = 0;
    bool good = json_object_set_new(header, "__metadata__", texts) == 0;
    for (; *meta; meta += 2)
        good = json_object_set_new(texts, meta[0], json_string(meta[1])) == 0 && good;
    for (int k = 0; k < n; k++)
        good = json_object_set_new(header, entries[k].name, describe(&entries[k], &place)) == 0 &&
               good;
    char *text = good ? json_dumps(header, JSON_COMPACT | (sorted ? JSON_SORT_KEYS : 0)) : NULL;
    json_decref(header);
    return text;
}

char *pith_file_head(int n, const pith_entry *entries, const char *const *meta, bool sorted,
                     size_t *size)
{
    char *text = header_text(n, entries, meta, sorted);
    size_t length = text ? (strlen(text) + 7) / 8 * 8 : 0;
    if (8 + length < *size) length = *size - 8;
    char *head = text ? malloc(8 + length + 1) : NULL;
    *size = 8 + length;
    for (int k = 0; head && k < 8; k++) head[k] = (char)(length >> 8 * k & 255);
    if (head) snprintf(head + 8, length + 1, "%-*s", (int)length, text);
    free(text);
    return head;
}
