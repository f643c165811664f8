/* pack.c: a packed set is opened: mapped into memory, its header checked in full before anything in
 * it is believed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "parts.h"

typedef struct {
    pith_pack pack;                     /* first: a pith_pack * is an inside * */
    uint8_t *map;
    size_t size, start;                 /* of the file; where its data begins */
    json_t *header;
    const char **caption, **source, **names;
    int *split, *label;
    char *name_text;
} inside;

typedef struct { const uint8_t *bytes; size_t size; int64_t dim[4]; int ndim; } part;

/* One tensor by name, with its type and number of axes. */
static bool find(const inside *s, const char *path, const char *name, const char *type,
                 size_t width, int ndim, part *p)
{
    const json_t *e = json_object_get(s->header, name), *shape = json_object_get(e, "shape");
    const json_t *offsets = json_object_get(e, "data_offsets");
    const char *dtype = json_string_value(json_object_get(e, "dtype"));
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (!e) return pith_raise("%s: no packed set, it has no tensor %s", path, name);
    if (!dtype || strcmp(dtype, type) != 0 || (int)json_array_size(shape) != ndim)
        return pith_raise("%s: tensor %s: expected %s with %d axes, found %s with %zu", path, name,
                          type, ndim, dtype ? dtype : "no type", json_array_size(shape));
    const json_int_t low = json_integer_value(begin), high = json_integer_value(end);
    if (!json_is_integer(begin) || !json_is_integer(end) || low < 0 || high < low ||
        (uint64_t)high > s->size - s->start)
        return pith_raise("%s: tensor %s lies outside the file's %zu bytes of data", path, name,
                          s->size - s->start);
    uint64_t size = width;
    for (int k = 0; k < ndim; k++) {
        p->dim[k] = json_integer_value(json_array_get(shape, (size_t)k));
        if (p->dim[k] < 1 || p->dim[k] > INT64_MAX / 2 || size > s->size / (uint64_t)p->dim[k])
            return pith_raise("%s: tensor %s: its shape does not fit into the file", path, name);
        size *= (uint64_t)p->dim[k];
    }
    p->bytes = s->map + s->start + low;
    p->size = (size_t)(high - low);
    p->ndim = ndim;
    return size == p->size ||
           pith_raise("%s: tensor %s: its shape does not fit its %zu bytes", path, name, p->size);
}

/* Texts end where the next begins, with a zero byte. */
static const char **read_texts(const inside *s, const char *path, const char *name,
                               const char *offsets, int n)
{
    part text, places;
    int64_t begin, end;
    if (!find(s, path, name, "U8", 1, 1, &text) || !find(s, path, offsets, "I64", 8, 1, &places))
        return NULL;
    if (places.dim[0] != n + 1)
        return pith_raise("%s: %s has %lld entries for %d pairs", path, offsets,
                          (long long)places.dim[0], n),
               NULL;
    const char **out = malloc(sizeof *out * (size_t)n);
    if (!out) return pith_raise("%s: no memory", path), NULL;
    for (int i = 0; i < n; i++) {
        memcpy(&begin, places.bytes + 8 * (size_t)i, 8);
        memcpy(&end, places.bytes + 8 * (size_t)i + 8, 8);
        if (begin < 0 || end <= begin || (uint64_t)end > text.size || text.bytes[end - 1] != 0) {
            free(out);
            return pith_raise("%s: %s: entry %d does not fit %s", path, offsets, i, name), NULL;
        }
        out[i] = (const char *)text.bytes + begin;
    }
    return out;
}

static int *read_numbers(const inside *s, const char *path, const char *name, int n, int below)
{
    part p;
    if (!find(s, path, name, "I32", 4, 1, &p)) return NULL;
    if (p.dim[0] != n)
        return pith_raise("%s: %s has %lld entries for %d pairs", path, name, (long long)p.dim[0],
                          n),
               NULL;
    int *out = malloc(p.size);
    if (!out) return pith_raise("%s: no memory", path), NULL;
    memcpy(out, p.bytes, p.size);
    for (int i = 0; below && i < n; i++)
        if (out[i] < 0 || out[i] >= below) {
            pith_raise("%s: %s: entry %d is %d, but there are %d splits", path, name, i, out[i],
                       below);
            free(out);
            return NULL;
        }
    return out;
}

/* The names of the splits, one a line. */
static bool read_names(inside *s, const char *path, const char *text)
{
    int n = 1;
    for (const char *c = text; *c; c++) n += *c == '\n';
    s->name_text = strdup(text);
    s->names = malloc(sizeof *s->names * (size_t)n);
    if (!s->name_text || !s->names) return pith_raise("%s: no memory", path);
    char *at = s->name_text;
    for (int k = 0; k < n; k++) s->names[k] = strsep(&at, "\n");
    s->pack.splits = n;
    return true;
}

static bool read_header(inside *s, const char *path)
{
    uint64_t length = 0;
    json_error_t error;
    for (int k = 7; k >= 0 && s->size >= 8; k--) length = length << 8 | s->map[k];
    if (s->size < 8 || length > s->size - 8 || length < 2)
        return pith_raise("%s: no packed set: its header would have %llu bytes, the file has %zu",
                          path, (unsigned long long)length, s->size);
    s->start = 8 + (size_t)length;
    s->header = json_loadb((const char *)s->map + 8, (size_t)length, JSON_REJECT_DUPLICATES,
                           &error);
    if (!s->header)
        return pith_raise("%s: no packed set: its header is no JSON: %s", path, error.text);
    const json_t *meta = json_object_get(s->header, "__metadata__");
    const char *kind = json_string_value(json_object_get(meta, "kind"));
    const char *names = json_string_value(json_object_get(meta, "splits"));
    const char *hash = json_string_value(json_object_get(meta, "hash"));
    if (!kind || strcmp(kind, "pith-pack") != 0 || !names || !hash)
        return pith_raise("%s: no packed set: its header does not say so", path);
    s->pack.hash = strtoull(hash, NULL, 16);
    return read_names(s, path, names);
}

static bool read_parts(inside *s, const char *path)
{
    part pixels = { 0 };
    pith_pack *p = &s->pack;
    if (!read_header(s, path) || !find(s, path, "pixels", "U8", 1, 4, &pixels)) return false;
    if (pixels.dim[1] != 3 || pixels.dim[2] != pixels.dim[3] || pixels.dim[2] > 4096 ||
        pixels.dim[0] > INT32_MAX - 1)
        return pith_raise(
            "%s: tensor pixels: expected (N, 3, S, S), found (%lld, %lld, %lld, %lld)", path,
            (long long)pixels.dim[0], (long long)pixels.dim[1], (long long)pixels.dim[2],
            (long long)pixels.dim[3]);
    p->count = (int)pixels.dim[0];
    p->size = (int)pixels.dim[2];
    p->pixels = pixels.bytes;
    if (!(s->caption = read_texts(s, path, "captions", "caption_offsets", p->count))) return false;
    if (!(s->source = read_texts(s, path, "sources", "source_offsets", p->count))) return false;
    if (!(s->split = read_numbers(s, path, "split", p->count, p->splits))) return false;
    if (!(s->label = read_numbers(s, path, "label", p->count, 0))) return false;
    p->caption = s->caption;
    p->source = s->source;
    p->split = s->split;
    p->split_name = s->names;
    p->label = s->label;
    return true;
}

pith_pack *pith_pack_open(const char *path)
{
    struct stat info;
    inside *s = calloc(1, sizeof *s);
    const int f = open(path, O_RDONLY | O_CLOEXEC);
    bool good = s && f >= 0 && fstat(f, &info) == 0;
    if (!good) pith_raise("%s: %s", path, s ? strerror(errno) : "no memory");
    else if (!S_ISREG(info.st_mode) || info.st_size == 0)
        good = pith_raise("%s: no packed set: no file or an empty one", path);
    if (good) {
        void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, f, 0);
        if (map == MAP_FAILED) good = pith_raise("%s: cannot be mapped: %s", path, strerror(errno));
        else {
            s->map = map;
            s->size = (size_t)info.st_size;
            good = read_parts(s, path);
        }
    }
    if (f >= 0) close(f);
    if (good) {
        json_decref(s->header);
        s->header = NULL;
        s->pack.inside = s;
        return &s->pack;
    }
    if (s) {
        s->pack.inside = s;
        pith_pack_close(&s->pack);
    }
    return NULL;
}

void pith_pack_close(pith_pack *p)
{
    if (!p) return;
    inside *s = p->inside;
    if (s->map) munmap(s->map, s->size);
    json_decref(s->header);
    free(s->caption);
    free(s->source);
    free(s->split);
    free(s->label);
    free(s->names);
    free(s->name_text);
    free(s);
}

int pith_pack_split(const pith_pack *p, const char *name)
{
    for (int k = 0; k < p->splits; k++)
        if (strcmp(p->split_name[k], name) == 0) return k;
    return -1;
}
