/* dtype.c: the one table of dtypes, and the types that safetensors files hold in their place.
 *
 * A dtype is a value of pith_dtype (pith.h) and a line of `table`. Only kernels are written for
 * single dtypes, those that their shape rules accept. All else asks at most whether it is floating.
 * To bf16 nothing but the op `narrow` converts, so it has no way to be stored.
 * Numbers go from one type to another by way of double, which holds every one of them exactly, but
 * for i64 beyond 2^53. */
#include "core.h"

/* A file promises no alignment, so elements are copied out of it and into memory. */
#define LOAD(name, type, value)                                                                    \
    static void load_##name(const void *from, double *to, size_t count)                            \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            type x;                                                                                \
            memcpy(&x, (const char *)from + i * sizeof x, sizeof x);                               \
            to[i] = value;                                                                         \
        }                                                                                          \
    }
#define STORE(name, type, value)                                                                   \
    static void store_##name(const double *from, void *to, size_t count)                           \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            const type x = value;                                                                  \
            memcpy((char *)to + i * sizeof x, &x, sizeof x);                                       \
        }                                                                                          \
    }

static double half(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const double x = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                     : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                    : ldexp(mantissa, -24);
    return h >> 15 ? -x : x;
}

static double brain(uint16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, 4);
    return (double)x;
}

/* What does not fit becomes the nearest number that does; NaN the least. */
static double between(double x, double low, double high)
{
    return x > low ? x < high ? x : high : low;
}

LOAD(f64, double, x)
LOAD(f32, float, (double)x)
LOAD(f16, uint16_t, half(x))
LOAD(bf16, uint16_t, brain(x))
LOAD(i64, int64_t, (double)x)
LOAD(real, real, (double)x)
LOAD(i32, int32_t, x)
LOAD(u8, uint8_t, x)
STORE(real, real, (real)from[i])
STORE(i32, int32_t, (int32_t)between(from[i], INT32_MIN, INT32_MAX))
STORE(u8, uint8_t, (uint8_t)between(from[i], 0, 255))

/* In the double build PITH_F32 is a double: that build is there to check numbers, not to save
 * bytes. */
#define IN_FILES (sizeof(real) == 4 ? "F32" : "F64")

/* clang-format off */
static const pith_dtype_info table[] = {
    /*             name   bytes         in files     least, largest        conversions */
    [PITH_F32] = { "f32", sizeof(real), IN_FILES,    0, 0,                 load_real, store_real },
    [PITH_I32] = { "i32", 4,            "I32",       INT32_MIN, INT32_MAX, load_i32, store_i32 },
    [PITH_U8]  = { "u8",  1,            "U8",        0, 255,               load_u8, store_u8 },
    [PITH_BF16] = { "bf16", 2,          "BF16",      0, 0,                 load_bf16, NULL },
};

static const pith_file_type file_types[] = {
    { "F64", 8, PITH_F32, load_f64 }, { "F32",  4, PITH_F32, load_f32 },
    { "F16", 2, PITH_F32, load_f16 }, { "BF16", 2, PITH_F32, load_bf16 },
    { "I64", 8, PITH_I32, load_i64 }, { "I32",  4, PITH_I32, load_i32 },
    { "U8",  1, PITH_U8,  load_u8 },
};
/* clang-format on */

const pith_dtype_info *pith_dtype_find(pith_dtype dtype)
{
    return (size_t)dtype < sizeof table / sizeof *table ? &table[dtype] : NULL;
}

const pith_file_type *pith_file_type_find(const char *name)
{
    for (size_t k = 0; k < sizeof file_types / sizeof *file_types; k++)
        if (strcmp(name, file_types[k].name) == 0) return &file_types[k];
    return NULL;
}

size_t pith_width(pith_dtype dtype)
{
    const pith_dtype_info *d = pith_dtype_find(dtype);
    return d ? d->bytes : 0;
}

bool pith_is_floating(pith_dtype dtype)
{
    const pith_dtype_info *d = pith_dtype_find(dtype);
    return d && d->least == d->largest;
}

const char *pith_dtype_name(pith_dtype dtype)
{
    const pith_dtype_info *d = pith_dtype_find(dtype);
    return d ? d->name : "no dtype";
}

bool pith_dtype_holds(pith_dtype dtype, double x)
{
    const pith_dtype_info *d = &table[dtype];
    return pith_is_floating(dtype) || (x >= d->least && x <= d->largest && x == trunc(x));
}

double pith_dtype_read(pith_dtype dtype, const void *x)
{
    double number;
    table[dtype].load(x, &number, 1);
    return number;
}

int64_t pith_first_not_finite(pith_dtype dtype, size_t size, const void *data)
{
    const size_t width = pith_width(dtype);
    for (size_t i = 0; pith_is_floating(dtype) && i < size; i++)
        if (!isfinite(pith_dtype_read(dtype, (const char *)data + i * width))) return (int64_t)i;
    return -1;
}
