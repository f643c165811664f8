/* bf16.h: what the tests of plans in bf16 share. */
#ifndef PITH_TESTS_BF16_H
#define PITH_TESTS_BF16_H
#include "tests.h"

static const pith_plan_options bf16 = { .bf16 = true },
                               unplanned = { .bf16 = true, .unplanned = true };

static inline pith_plan *plan_of(pith_graph *g, int n, node *const *out, const pith_plan_options *o)
{
    pith_plan *p = pith_plan_new(g, n, out, o);
    if (!p) fail_msg("%s", pith_error());
    return p;
}

/* The nearest number of 8 bits, of two equally near ones the even, from the numbers themselves. */
static inline float rounded(float x)
{
    int exponent;
    if (!isfinite(x) || x == 0) return x;
    frexpf(x, &exponent);
    const double step = ldexp(1, (exponent < -125 ? -125 : exponent) - 8);
    return (float)(nearbyint((double)x / step) * step);
}

#endif
