/* functions.h: the functions of ops/functions.h on a device, where they are CUDA's own. */
#ifndef PITH_CUDA_FUNCTIONS_H
#define PITH_CUDA_FUNCTIONS_H
#define PITH_FUNCTION static __device__ __forceinline__
PITH_FUNCTION uint32_t float_bits(float x) { return __float_as_uint(x); }
PITH_FUNCTION float bits_float(uint32_t x) { return __uint_as_float(x); }
#include "ops/lines.h"

PITH_FUNCTION float real_abs(float x) { return fabsf(x); }
PITH_FUNCTION float real_sqrt(float x) { return sqrtf(x); }
PITH_FUNCTION float real_rsqrt(float x) { return 1 / sqrtf(x); }
PITH_FUNCTION float real_exp(float x) { return expf(x); }
PITH_FUNCTION float real_log(float x) { return logf(x); }
PITH_FUNCTION float real_sin(float x) { return sinf(x); }
PITH_FUNCTION float real_cos(float x) { return cosf(x); }
PITH_FUNCTION float real_tanh(float x) { return tanhf(x); }
PITH_FUNCTION float real_erf(float x) { return erff(x); }
PITH_FUNCTION float real_sigmoid(float x) { return 1 / (1 + expf(-x)); }
PITH_FUNCTION float real_softplus(float x) { return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x))); }
#endif
