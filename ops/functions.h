/* ops/functions.h: elementary functions on `real`, for kernels.
 *
 * In float they are polynomials without branches, so that the compiler vectorises the loops that
 * call them, and a vector's body and its tail run the same operations: an element's result does not
 * depend on its place. Coefficients are minimax fits of relative error. The error stated at each is
 * the largest against libm in double, measured over a dense sweep of normal results. In double they
 * are libm's, never inlined, so that no vector twin with other last bits takes their place. */
#ifndef PITH_FUNCTIONS_H
#define PITH_FUNCTIONS_H
#include "core.h"

static inline uint32_t float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline float bits_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}
#define PITH_FUNCTION static inline
#include "lines.h"

#ifdef PITH_DOUBLE

/* Loops over these are not vectorised. */
#define PITH_SIMD
#define PITH_LIBM(name, value)                                                                     \
    static __attribute__((noinline, unused)) double real_##name(double x) { return value; }
PITH_LIBM(exp, exp(x))
PITH_LIBM(log, log(x))
PITH_LIBM(sin, sin(x))
PITH_LIBM(cos, cos(x))
PITH_LIBM(tanh, tanh(x))
PITH_LIBM(erf, erf(x))
PITH_LIBM(sigmoid, 1 / (1 + exp(-x)))
PITH_LIBM(softplus, (x > 0 ? x : 0) + log1p(exp(-fabs(x))))
#undef PITH_LIBM
static inline double real_sqrt(double x) { return sqrt(x); }
static inline double real_abs(double x) { return fabs(x); }

#else

/* Before a loop whose elements do not depend on each other: the output may be one of the inputs. */
#define PITH_SIMD _Pragma("omp simd")

static inline float real_sqrt(float x) { return sqrtf(x); }
static inline float real_abs(float x) { return fabsf(x); }

/* x = n log 2 + r with |r| <= log(2) / 2; returns r, and n as the low bits of *whole. Adding 1.5
 * 2^23 rounds. */
static inline float reduce_exp(float x, uint32_t *whole)
{
    const float magic = 0x1.8p23f, shifted = x * 0x1.715476p0f + magic, n = shifted - magic;
    *whole = float_bits(shifted) - float_bits(magic);
    return (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
}

/* exp(r) - 1 */
static inline float expm1_near(float r)
{
    const float p = 0x1.fffffep-2f +
                    r * (0x1.5554aep-3f +
                         r * (0x1.555676p-5f + r * (0x1.1228e6p-7f + r * 0x1.6bebcep-10f)));
    return r + r * r * p;
}

/* Relative error 8.4e-8. inf above 88.72; subnormal below -87.33, 0 below -104. */
static inline float real_exp(float x)
{
    x = x > 89 ? 89 : x;
    x = x < -105 ? -105 : x;
    uint32_t n;
    const float y = 1 + expm1_near(reduce_exp(x, &n));
    /* 2^n in two factors, since n runs from -151 to 128 */
    const uint32_t half = (uint32_t)((int32_t)n >> 1);
    return y * bits_float((half + 127) << 23) * bits_float((n - half + 127) << 23);
}

/* log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)] */
static inline float log1p_near(float f)
{
    const float p =
        0x1.555554p-2f +
        f * (-0x1.000226p-2f +
             f * (0x1.99a008p-3f +
                  f * (-0x1.547244p-3f +
                       f * (0x1.22da1cp-3f +
                            f * (-0x1.0d8542p-3f + f * (0x1.055b6ap-3f - f * 0x1.38b58p-4f))))));
    return f + f * f * (f * p - 0.5f);
}

/* The logarithm of a normal number. */
static inline float log_normal(float x)
{
    const uint32_t sqrt_half = 0x3f3504f3, u = float_bits(x) - sqrt_half;
    const float n = (float)((int32_t)u >> 23), f = bits_float((u & 0x7fffff) + sqrt_half) - 1;
    return n * 0x1.62e4p-1f + (log1p_near(f) + n * 0x1.7f7d1cp-20f);
}

/* Relative error 8.6e-8. -inf at 0, NaN below, inf at inf. */
static inline float real_log(float x)
{
    const float small = x < 0x1p-126f ? 0x1p23f : 1, less = x < 0x1p-126f ? 0x1.fe2804p3f : 0;
    float y = log_normal(x * small) - less;
    y = x < INFINITY ? y : x;
    y = x == 0 ? -INFINITY : y;
    return x < 0 ? NAN : y;
}

/* Relative error 1.9e-7: from exp(-2 |x|) - 1, which is exact near 0. */
static inline float real_tanh(float x)
{
    float t = -2 * fabsf(x);
    t = t < -30 ? -30 : t;
    uint32_t n;
    const float q = expm1_near(reduce_exp(t, &n)), s = bits_float((n + 127) << 23);
    const float m = s * q + (s - 1);
    return copysignf(m / (m + 2), x);
}

/* Relative error 4.4e-7: x P(x^2) / Q(x^2), all coefficients positive; 1 from 3.925 on. */
static inline float real_erf(float x)
{
    const float z = x * x;
    const float p = 0x1.20dd74p0f +
                    z * (0x1.865642p-3f +
                         z * (0x1.b0495cp-5f +
                              z * (0x1.ee7a66p-9f + z * (0x1.2aae2ep-12f + z * 0x1.129cc8p-19f))));
    const float q = 1 +
                    z * (0x1.0125ecp-1f +
                         z * (0x1.d3b174p-4f +
                              z * (0x1.eaf87cp-7f + z * (0x1.311976p-10f + z * 0x1.3f2ae2p-15f))));
    const float y = x > 3.925f ? 1 : x * p / q;
    return x < -3.925f ? -1 : y;
}

/* Relative error 1.5e-7. */
static inline float real_sigmoid(float x) { return 1 / (1 + real_exp(-x)); }

/* log(1 + exp(x)). Relative error 1.8e-7: what rounding took from 1 + u is put back. */
static inline float real_softplus(float x)
{
    const float u = real_exp(-fabsf(x)), w = 1 + u;
    return (x > 0 ? x : 0) + (log_normal(w) + (u - (w - 1)) / w);
}

/* x = q pi/2 + r with |r| <= pi/4, in double; good while |x| < 1e9, and beyond that at least within
 * [-1, 1]. */
static inline float reduce_quarter(float x, uint32_t *quarter)
{
    const double magic = 0x1.8p52, shifted = (double)x * 0x1.45f306dc9c883p-1 + magic;
    uint64_t u;
    memcpy(&u, &shifted, 8);
    *quarter = (uint32_t)u;
    float r = (float)((double)x - (shifted - magic) * 0x1.921fb54442d18p0);
    r = r > 0.7854f ? 0.7854f : r;
    return r < -0.7854f ? -0.7854f : r;
}

/* sin(r + q pi/2) */
static inline float sin_quarter(float r, uint32_t q)
{
    const float z = r * r;
    const float s = r + r * z * (-0x1.555546p-3f + z * (0x1.11073p-7f - z * 0x1.99406p-13f));
    const float c = 1 - 0.5f * z +
                    z * z * (0x1.55554ap-5f + z * (-0x1.6c0c28p-10f + z * 0x1.99e868p-16f));
    return bits_float(float_bits(q & 1 ? c : s) ^ (q & 2) << 30);
}

/* Absolute error 1.4e-7 for both while |x| < 1e9; NaN at infinity. */
static inline float real_sin(float x)
{
    uint32_t q;
    const float r = reduce_quarter(x, &q);
    return sin_quarter(r, q);
}

static inline float real_cos(float x)
{
    uint32_t q;
    const float r = reduce_quarter(x, &q);
    return sin_quarter(r, q + 1);
}

#endif

static inline real real_rsqrt(real x) { return 1 / real_sqrt(x); }
#endif
