/* intrinsics.h: CUDA's vector types, bf16, and functions of one thread. */
#ifndef EMULATOR_INTRINSICS_H
#define EMULATOR_INTRINSICS_H
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EMULATOR_VECTORS(T, name)                                                                  \
    struct __attribute__((aligned(2 * sizeof(T)))) name##2 { T x, y; };                            \
    struct name##3 { T x, y, z; };                                                                 \
    struct __attribute__((aligned(4 * sizeof(T)))) name##4 { T x, y, z, w; };                      \
    static inline name##2 make_##name##2(T x, T y) { return { x, y }; }                            \
    static inline name##3 make_##name##3(T x, T y, T z) { return { x, y, z }; }                    \
    static inline name##4 make_##name##4(T x, T y, T z, T w) { return { x, y, z, w }; }
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(unsigned, uint)
EMULATOR_VECTORS(unsigned short, ushort)
EMULATOR_VECTORS(unsigned char, uchar)

#define EMULATOR_LESSER(T)                                                                         \
    static inline T min(T a, T b) { return b < a ? b : a; }                                        \
    static inline T max(T a, T b) { return a < b ? b : a; }
EMULATOR_LESSER(int)
EMULATOR_LESSER(unsigned)
EMULATOR_LESSER(long)
EMULATOR_LESSER(unsigned long)
EMULATOR_LESSER(long long)
EMULATOR_LESSER(unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

template <class T> static inline T __ldg(const T *p) { return *p; }

/* ---- integers ---- */

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline unsigned __brev(unsigned x)
{
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(x);
}
static inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

/* ---- bits of numbers ---- */

#define EMULATOR_BITS(name, from, to)                                                              \
    static inline to name(from x)                                                                  \
    {                                                                                              \
        to y;                                                                                      \
        memcpy(&y, &x, sizeof y);                                                                  \
        return y;                                                                                  \
    }
EMULATOR_BITS(__float_as_int, float, int)
EMULATOR_BITS(__float_as_uint, float, unsigned)
EMULATOR_BITS(__int_as_float, int, float)
EMULATOR_BITS(__uint_as_float, unsigned, float)
EMULATOR_BITS(__double_as_longlong, double, long long)
EMULATOR_BITS(__longlong_as_double, long long, double)

/* ---- numbers: the machine's conversions hold at the ends, and a NaN becomes 0 ---- */

#define EMULATOR_TO_INT(suffix, rounded)                                                           \
    static inline int __float2int_##suffix(float x)                                                \
    {                                                                                              \
        x = rounded(x);                                                                            \
        return x != x ? 0 : x >= 2147483648.f ? INT_MAX : x < -2147483648.f ? INT_MIN : (int)x;    \
    }                                                                                              \
    static inline unsigned __float2uint_##suffix(float x)                                          \
    {                                                                                              \
        x = rounded(x);                                                                            \
        return !(x > 0) ? 0 : x >= 4294967296.f ? UINT_MAX : (unsigned)x;                          \
    }
EMULATOR_TO_INT(rz, truncf)
EMULATOR_TO_INT(rn, rintf)
EMULATOR_TO_INT(rd, floorf)
EMULATOR_TO_INT(ru, ceilf)
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __frcp_rn(float x) { return 1 / x; }
static inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }

/* glibc has these from 2.41 and 2.42 on. */
#if !__GLIBC_PREREQ(2, 41)
static inline float sinpif(float x)
{
    return (float)sin(3.14159265358979323846 * fmod((double)x, 2));
}
static inline float cospif(float x)
{
    return (float)cos(3.14159265358979323846 * fmod((double)x, 2));
}
#endif
#if !__GLIBC_PREREQ(2, 42)
static inline float rsqrtf(float x) { return (float)(1 / sqrt((double)x)); }
#endif
static inline void sincospif(float x, float *s, float *c) { *s = sinpif(x), *c = cospif(x); }

/* ---- bf16 ---- */

struct bf16 {
    uint16_t bits;
};
/* To nearest, ties to even; every NaN becomes one. */
static inline bf16 __float2bfloat16(float x)
{
    const uint32_t u = __float_as_uint(x);
    return { (uint16_t)(x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16) };
}
static inline float __bfloat162float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }
#endif
