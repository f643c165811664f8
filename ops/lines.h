/* ops/lines.h: what lines of pointwise.def use beside elementary functions, on every device alike.
 * PITH_FUNCTION says how a device defines a function: who includes this has defined it. */
#ifndef PITH_LINES_H
#define PITH_LINES_H

#define SQRT_HALF ((real)0.70710678118654752440) /* sqrt(1/2) */
#define GAUSS ((real)0.39894228040143267794)     /* 1 / sqrt(2 pi) */
#define QUICK ((real)1.702)

/* ---- i32: two's complement, where C's own int is undefined ----
 *
 * Computed as uint32_t, which wraps around by definition: INT32_MAX + 1 is INT32_MIN, and INT32_MIN
 * is its own negation and its own absolute value. */
PITH_FUNCTION int int_add(int a, int b) { return (int)((uint32_t)a + (uint32_t)b); }
PITH_FUNCTION int int_sub(int a, int b) { return (int)((uint32_t)a - (uint32_t)b); }
PITH_FUNCTION int int_mul(int a, int b) { return (int)((uint32_t)a * (uint32_t)b); }
PITH_FUNCTION int int_neg(int a) { return int_sub(0, a); }
PITH_FUNCTION int int_abs(int a) { return a < 0 ? int_neg(a) : a; }

/* ---- bf16: the upper half of a float's bits; to the nearest, ties to even, NaN to NaN ---- */
PITH_FUNCTION uint16_t bf16_of(float x)
{
    const uint32_t u = float_bits(x);
    if (x != x) return (uint16_t)(u >> 16 | 64);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
PITH_FUNCTION float bf16_number(uint16_t x) { return bits_float((uint32_t)x << 16); }
#endif
