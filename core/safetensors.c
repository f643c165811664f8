/* safetensors.c: the file format of weights: eight bytes with the header's length, a JSON header of names, types, shapes and
 * places, then the numbers. A file is somebody else's claim, so every number in the header is checked before it is used. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <sys/stat.h>
#include <unistd.h>
#include "inside.h"

enum { F64, F32, F16, BF16, I64, I32, U8, TYPES };
static const struct { const char *name; size_t width; pith_dtype dtype; } types[TYPES] = {
    [F64] = { "F64", 8, PITH_F32 },   [F32] = { "F32", 4, PITH_F32 }, [F16] = { "F16", 2, PITH_F32 },
    [BF16] = { "BF16", 2, PITH_F32 }, [I64] = { "I64", 8, PITH_I32 }, [I32] = { "I32", 4, PITH_I32 },
    [U8] = { "U8", 1, PITH_U8 },
};

typedef struct { const char *name; int type, ndim, dim[PITH_MAX_DIMS]; uint64_t begin, end; } entry;

/* ---- reading ---- */

static bool read_dims(json_t *shape, entry *e)
{
    uint64_t size = types[e->type].width;
    e->ndim = (int)json_array_size(shape);
    if (!json_is_array(shape) || json_array_size(shape) > PITH_MAX_DIMS) return false;
    for (int k = 0; k < e->ndim; k++) {
        const json_t *d = json_array_get(shape, (size_t)k);
        const json_int_t n = json_integer_value(d);
        if (!json_is_integer(d) || n < 1 || n > INT32_MAX || size > (UINT64_C(1) << 50) / (uint64_t)n) return false;
        size *= (uint64_t)n;
        e->dim[k] = (int)n;
    }
    return e->end - e->begin == size;
}

static bool read_entry(const char *path, const char *name, json_t *value, uint64_t data_size, entry *e)
{
    const char *type = json_string_value(json_object_get(value, "dtype"));
    const json_t *offsets = json_object_get(value, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    *e = (entry){ .name = name, .type = -1 };
    for (int k = 0; type && k < TYPES; k++)
        if (strcmp(type, types[k].name) == 0) e->type = k;
    if (e->type < 0)
        return pith_raise("%s: tensor %s has type %s, which is not read here", path, name, type ? type : "(none)");
    if (!json_is_integer(begin) || !json_is_integer(end) || json_array_size(offsets) != 2 || json_integer_value(begin) < 0 ||
        json_integer_value(end) < json_integer_value(begin) || (uint64_t)json_integer_value(end) > data_size)
        return pith_raise("%s: tensor %s lies outside the file's %llu bytes of data", path, name,
                          (unsigned long long)data_size);
    e->begin = (uint64_t)json_integer_value(begin);
    e->end = (uint64_t)json_integer_value(end);
    if (!read_dims(json_object_get(value, "shape"), e))
        return pith_raise("%s: tensor %s: its shape does not fit its %llu bytes of %s", path, name,
                          (unsigned long long)(e->end - e->begin), type);
    return true;
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Every entry of the header, sorted by place, none overlapping. NULL after an error. */
static entry *read_entries(const char *path, json_t *header, uint64_t data_size, int *count)
{
    entry *entries = calloc(json_object_size(header) + 1, sizeof *entries);
    const char *name;
    json_t *value;
    bool good = entries != NULL;
    *count = 0;
    json_object_foreach(header, name, value) {
        if (strcmp(name, "__metadata__") == 0) continue;
        good = good && read_entry(path, name, value, data_size, &entries[(*count)++]);
    }
    if (good) qsort(entries, (size_t)*count, sizeof *entries, by_place);
    for (int k = 1; good && k < *count; k++)
        if (entries[k].begin < entries[k - 1].end)
            good = pith_raise("%s: tensors %s and %s overlap", path, entries[k - 1].name, entries[k].name);
    if (good) return entries;
    free(entries);
    return NULL;
}

static json_t *read_header(const char *path, FILE *f, uint64_t file_size, uint64_t *data_start)
{
    unsigned char head[8];
    uint64_t size = 0;
    if (file_size < 8 || fread(head, 1, 8, f) != 8)
        return pith_raise("%s: not a safetensors file: %llu bytes", path, (unsigned long long)file_size), NULL;
    for (int k = 7; k >= 0; k--) size = size << 8 | head[k];
    if (size > file_size - 8 || size > 100u << 20)
        return pith_raise("%s: its header claims %llu bytes, the file has %llu", path, (unsigned long long)size,
                          (unsigned long long)file_size), NULL;
    char *text = malloc(size + 1);
    if (!text || fread(text, 1, size, f) != size) return free(text), pith_raise("%s: cannot read its header", path), NULL;
    json_error_t error;
    json_t *header = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!json_is_object(header))
        return json_decref(header), pith_raise("%s: its header is not a JSON object: %s", path, error.text), NULL;
    *data_start = 8 + size;
    return header;
}

static real half(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const double x = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                   : exponent       ? ldexp(1024 + mantissa, exponent - 25)
                                    : ldexp(mantissa, -24);
    return (real)(h >> 15 ? -x : x);
}

/* `size` elements as they stand in the file, into the store's type. False if an i64 does not fit. */
static bool convert(int type, const unsigned char *from, void *to, size_t size)
{
    real *x = to;
    for (size_t i = 0; i < size; i++) {
        union { double d; float f; int64_t l; uint16_t h; uint32_t u; } v = { 0 };
        memcpy(&v, from + i * types[type].width, types[type].width);
        switch (type) {
        case F64: x[i] = (real)v.d; break;
        case F32: x[i] = (real)v.f; break;
        case F16: x[i] = half(v.h); break;
        case BF16: v.u = (uint32_t)v.h << 16, x[i] = (real)v.f; break;
        case I64:
            if (v.l < INT32_MIN || v.l > INT32_MAX) return false;
            ((int32_t *)to)[i] = (int32_t)v.l;
        }
    }
    return true;
}

static bool read_tensor(const char *path, FILE *f, uint64_t start, const entry *e, pith_store *s, pith_kind kind)
{
    pith_tensor *t = pith_store_find(s, e->name);
    if (t && (t->dtype != types[e->type].dtype || t->ndim != e->ndim ||
              memcmp(t->dim, e->dim, sizeof(int) * (size_t)e->ndim)))
        return pith_raise("%s: tensor %s has another shape or type than in the store", path, e->name);
    if (!t) t = pith_store_add(s, e->name, kind, types[e->type].dtype, e->ndim, e->dim);
    if (!t) return false;
    t->loaded = true;
    const size_t bytes = e->end - e->begin;
    const bool direct = e->type == I32 || e->type == U8 || (e->type == F32 && sizeof(real) == 4) ||
                        (e->type == F64 && sizeof(real) == 8);
    unsigned char *buffer = direct ? t->data : malloc(bytes);
    bool good = buffer && fseeko(f, (off_t)(start + e->begin), SEEK_SET) == 0 && fread(buffer, 1, bytes, f) == bytes;
    if (!good) pith_raise("%s: cannot read tensor %s", path, e->name);
    else if (!direct && !convert(e->type, buffer, t->data, pith_tensor_size(t)))
        good = pith_raise("%s: tensor %s holds an integer that does not fit 32 bits", path, e->name);
    if (!direct) free(buffer);
    return good;
}

/* The names of states are kept, one a line, in the file's metadata. */
static bool is_state(const char *states, const char *name)
{
    const size_t size = strlen(name);
    for (const char *s = states; s && (s = strstr(s, name)); s += size)
        if ((s == states || s[-1] == '\n') && (s[size] == '\n' || !s[size])) return true;
    return false;
}

bool pith_store_load(pith_store *s, const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat info;
    if (!f || fstat(fileno(f), &info)) {
        if (f) fclose(f);
        return pith_raise("%s: %s", path, strerror(errno));
    }
    uint64_t start = 0;
    int count = 0;
    json_t *header = read_header(path, f, (uint64_t)info.st_size, &start);
    entry *entries = header ? read_entries(path, header, (uint64_t)info.st_size - start, &count) : NULL;
    const char *states = json_string_value(json_object_get(json_object_get(header, "__metadata__"), "states"));
    bool good = entries != NULL;
    for (int k = 0; good && k < count; k++)
        good = read_tensor(path, f, start, &entries[k], s, is_state(states, entries[k].name) ? PITH_STATE : PITH_WEIGHT);
    free(entries);
    json_decref(header);
    fclose(f);
    return good;
}

/* ---- writing ---- */

static char *make_header(const pith_store *s, pith_kind kinds, size_t *size)
{
    json_t *header = json_object(), *meta = json_object();
    size_t names = 1;
    for (int k = 0; k < s->n; k++) names += strlen(s->tensors[k]->name) + 1;
    char *states = calloc(1, names), *end = states;
    uint64_t place = 0;
    for (int k = 0; k < s->n; k++) {
        const pith_tensor *t = s->tensors[k];
        if (!(t->kind & kinds)) continue;
        json_t *shape = json_array();
        for (int d = 0; d < t->ndim; d++) json_array_append_new(shape, json_integer(t->dim[d]));
        const uint64_t bytes = pith_tensor_size(t) * pith_width(t->dtype);
        const char *type = t->dtype == PITH_U8 ? "U8" : t->dtype == PITH_I32 ? "I32" : sizeof(real) == 4 ? "F32" : "F64";
        json_object_set_new(header, t->name, json_pack("{s:s, s:o, s:[I, I]}", "dtype", type, "shape", shape, "data_offsets",
                                                       (json_int_t)place, (json_int_t)(place + bytes)));
        place += bytes;
        if (t->kind == PITH_STATE) end += sprintf(end, end > states ? "\n%s" : "%s", t->name);
    }
    json_object_set_new(meta, "format", json_string("pt"));
    if (*states) json_object_set_new(meta, "states", json_string(states));
    json_object_set_new(header, "__metadata__", meta);
    char *text = json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS);
    *size = text ? (strlen(text) + 7) / 8 * 8 : 0;          /* the data starts at a multiple of eight */
    char *padded = text ? malloc(*size + 1) : NULL;
    if (padded) snprintf(padded, *size + 1, "%-*s", (int)*size, text);
    free(text);
    free(states);
    json_decref(header);
    return padded;
}

static bool write_all(FILE *f, const pith_store *s, pith_kind kinds, const char *header, size_t size)
{
    unsigned char head[8];
    for (int k = 0; k < 8; k++) head[k] = (unsigned char)((uint64_t)size >> 8 * k);
    bool good = fwrite(head, 1, 8, f) == 8 && fwrite(header, 1, size, f) == size;
    for (int k = 0; good && k < s->n; k++) {
        const pith_tensor *t = s->tensors[k];
        const size_t bytes = pith_tensor_size(t) * pith_width(t->dtype);
        if (t->kind & kinds) good = fwrite(t->data, 1, bytes, f) == bytes;
    }
    return good && fflush(f) == 0 && fsync(fileno(f)) == 0;
}

static void sync_directory_of(const char *path)
{
    char *copy = strdup(path);
    const int d = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY) : -1;
    if (d >= 0) fsync(d), close(d);
    free(copy);
}

/* Beside the file first, renamed when it is whole: nothing is ever half written. */
bool pith_store_save(const pith_store *s, const char *path, pith_kind kinds)
{
    char *temporary = malloc(strlen(path) + 5);
    size_t size = 0;
    char *header = make_header(s, kinds, &size);
    if (!temporary || !header) return free(temporary), free(header), pith_raise("no memory to write %s", path);
    sprintf(temporary, "%s.tmp", path);
    FILE *f = fopen(temporary, "wb");
    bool good = f && write_all(f, s, kinds, header, size);
    int why = errno;
    if (f && fclose(f) != 0 && good) good = false, why = errno;
    if (good && rename(temporary, path) != 0) good = false, why = errno;
    if (good) sync_directory_of(path);
    else {
        if (f) unlink(temporary);
        pith_raise("%s: cannot be written: %s", path, strerror(why));
    }
    free(header);
    free(temporary);
    return good;
}
