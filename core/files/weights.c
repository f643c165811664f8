/* weights.c: a store from a safetensors file, and into one. What others keep in other types becomes
 * f32 and i32 at this door. */
#include <errno.h>
#include <jansson.h>
#include "core.h"
#include "files.h"

enum { F64, F32, F16, BF16, I64, I32, U8, TYPES };
static const struct {
    const char *name;
    size_t width;
    pith_dtype dtype;
} types[TYPES] = {
    [F64] = { "F64", 8, PITH_F32 }, [F32] = { "F32", 4, PITH_F32 },
    [F16] = { "F16", 2, PITH_F32 }, [BF16] = { "BF16", 2, PITH_F32 },
    [I64] = { "I64", 8, PITH_I32 }, [I32] = { "I32", 4, PITH_I32 },
    [U8] = { "U8", 1, PITH_U8 },
};

/* ---- reading ---- */

static pith_real half(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const double x = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                     : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                    : ldexp(mantissa, -24);
    return (pith_real)(h >> 15 ? -x : x);
}

/* `size` elements as they stand in the file, into the store's type. False if an i64 does not fit.
 */
static bool convert(int type, const uint8_t *from, void *to, size_t size)
{
    pith_real *x = to;
    for (size_t i = 0; i < size; i++) {
        union {
            double d;
            float f;
            int64_t l;
            uint16_t h;
            uint32_t u;
        } v = { 0 };
        memcpy(&v, from + i * types[type].width, types[type].width);
        switch (type) {
        case F64: x[i] = (pith_real)v.d; break;
        case F32: x[i] = (pith_real)v.f; break;
        case F16: x[i] = half(v.h); break;
        case BF16: v.u = (uint32_t)v.h << 16, x[i] = (pith_real)v.f; break;
        case I64:
            if (v.l < INT32_MIN || v.l > INT32_MAX) return false;
            ((int32_t *)to)[i] = (int32_t)v.l;
        }
    }
    return true;
}

static bool read_tensor(const char *path, const pith_entry *e, pith_store *s, pith_kind kind)
{
    int type = 0, dim[PITH_MAX_DIMS];
    while (strcmp(e->type, types[type].name)) type++;
    for (int k = 0; k < e->ndim; k++) {
        if (e->dim[k] > INT32_MAX)
            return pith_raise("%s: tensor %s: an axis of %lld", path, e->name,
                              (long long)e->dim[k]);
        dim[k] = (int)e->dim[k];
    }
    pith_tensor *t = pith_store_find(s, e->name);
    if (t && (t->dtype != types[type].dtype || t->ndim != e->ndim ||
              memcmp(t->dim, dim, sizeof(int) * (size_t)e->ndim)))
        return pith_raise("%s: tensor %s has another shape or type than in the store", path,
                          e->name);
    if (!t) t = pith_store_add(s, e->name, kind, types[type].dtype, e->ndim, dim);
    if (!t) return false;
    t->loaded = true;
    t->version++;
    const bool direct = type == I32 || type == U8 || (type == F32 && sizeof(pith_real) == 4) ||
                        (type == F64 && sizeof(pith_real) == 8);
    if (direct) memcpy(t->data, e->data, e->bytes);
    return direct || convert(type, e->data, t->data, pith_tensor_size(t)) ||
           pith_raise("%s: tensor %s holds an integer that does not fit 32 bits", path, e->name);
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
    pith_file *f = pith_file_open(path);
    bool good = f != NULL;
    const char *states = f ? pith_file_meta(f, "states") : NULL;
    for (int k = 0; good && k < pith_file_count(f); k++) {
        const pith_entry *e = pith_file_at(f, k);
        good = read_tensor(path, e, s, is_state(states, e->name) ? PITH_STATE : PITH_WEIGHT);
    }
    pith_file_close(f);
    if (good) pith_store_mend(s);
    return good;
}

/* ---- writing ---- */

static size_t width(const pith_tensor *t)
{
    return t->dtype == PITH_F32 ? sizeof(pith_real) : t->dtype == PITH_I32 ? 4 : 1;
}

static char *make_header(const pith_store *s, pith_kind kinds, size_t *size)
{
    json_t *header = json_object(), *meta = json_object();
    size_t names = 1;
    const int n = pith_store_count(s);
    for (int k = 0; k < n; k++) names += strlen(pith_store_at(s, k)->name) + 1;
    char *states = calloc(1, names), *end = states;
    uint64_t place = 0;
    for (int k = 0; k < n; k++) {
        const pith_tensor *t = pith_store_at(s, k);
        if (!(t->kind & kinds)) continue;
        json_t *shape = json_array();
        for (int d = 0; d < t->ndim; d++) json_array_append_new(shape, json_integer(t->dim[d]));
        const uint64_t bytes = pith_tensor_size(t) * width(t);
        const char *type = t->dtype == PITH_U8      ? "U8"
                           : t->dtype == PITH_I32   ? "I32"
                           : sizeof(pith_real) == 4 ? "F32"
                                                    : "F64";
        json_object_set_new(header, t->name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", type, "shape", shape,
                                      "data_offsets", (json_int_t)place,
                                      (json_int_t)(place + bytes)));
        place += bytes;
        if (t->kind == PITH_STATE) end += sprintf(end, end > states ? "\n%s" : "%s", t->name);
    }
    json_object_set_new(meta, "format", json_string("pt"));
    if (*states) json_object_set_new(meta, "states", json_string(states));
    json_object_set_new(header, "__metadata__", meta);
    char *text = json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS);
    *size = text ? (strlen(text) + 7) / 8 * 8 : 0; /* the data starts at a multiple of eight */
    char *padded = text ? malloc(*size + 1) : NULL;
    if (padded) snprintf(padded, *size + 1, "%-*s", (int)*size, text);
    free(text);
    free(states);
    json_decref(header);
    return padded;
}

static bool write_all(FILE *f, const pith_store *s, pith_kind kinds, const char *header,
                      size_t size)
{
    unsigned char head[8];
    for (int k = 0; k < 8; k++) head[k] = (unsigned char)((uint64_t)size >> 8 * k);
    bool good = fwrite(head, 1, 8, f) == 8 && fwrite(header, 1, size, f) == size;
    for (int k = 0; good && k < pith_store_count(s); k++) {
        const pith_tensor *t = pith_store_at(s, k);
        const size_t bytes = pith_tensor_size(t) * width(t);
        if (t->kind & kinds) good = fwrite(t->data, 1, bytes, f) == bytes;
    }
    return good;
}

bool pith_store_save(const pith_store *s, const char *path, pith_kind kinds)
{
    if (!pith_store_is_whole(s)) return false;
    size_t size = 0;
    char *header = make_header(s, kinds, &size);
    if (!header) return pith_raise("no memory to write %s", path);
    errno = 0;
    FILE *f = pith_begin_file(path);
    const int why = pith_end_file(f, path, f && write_all(f, s, kinds, header, size));
    free(header);
    return !why || pith_raise("%s: cannot be written: %s", path, strerror(why));
}
