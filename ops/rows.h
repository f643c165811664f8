/* ops/rows.h: reductions of one row, for kernels. Sums run in a fixed number of lanes, whatever the
 * vector width of the processor, and are joined in a fixed order: they vectorise, and their bits
 * depend on nothing but the row. */
#ifndef PITH_ROWS_H
#define PITH_ROWS_H
#include "functions.h"

/* Where a segment of packed rows begins or ends: bounds lie in [0, rows] and never fall, whatever
 * the offsets say. `before`: the bound before this one, at first 0. */
static inline int segment_bound(int before, int offset, int rows)
{
    const int bound = offset < rows ? offset : rows;
    return bound > before ? bound : before;
}

enum { LANES = 16 };

static inline real join_lanes(real *lane)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

/* The sum over i < n of `term`, an expression in i. */
#define ROW_SUM(result, n, term)                                                                   \
    do {                                                                                           \
        real lane_[LANES] = { 0 };                                                                 \
        const size_t n_ = (n), whole_ = n_ / LANES * LANES;                                        \
        for (size_t j_ = 0; j_ < whole_; j_ += LANES) PITH_SIMD                                    \
        for (size_t l_ = 0; l_ < LANES; l_++) {                                                    \
            const size_t i = j_ + l_;                                                              \
            lane_[l_] += (term);                                                                   \
        }                                                                                          \
        for (size_t i = whole_; i < n_; i++) lane_[i - whole_] += (term);                          \
        (result) = join_lanes(lane_);                                                              \
    } while (0)

static inline real row_max(const real *x, size_t n)
{
    real lane[LANES], max;
    for (size_t l = 0; l < LANES; l++) lane[l] = x[l < n ? l : 0];
    const size_t whole = n / LANES * LANES;
    for (size_t j = 0; j < whole; j += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] = x[j + l] > lane[l] ? x[j + l] : lane[l];
    max = lane[0];
    for (size_t l = 1; l < LANES; l++) max = lane[l] > max ? lane[l] : max;
    for (size_t i = whole; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

static inline real row_log_sum_exp(const real *x, size_t n)
{
    const real max = row_max(x, n);
    real sum;
    ROW_SUM(sum, n, real_exp(x[i] - max));
    return max + real_log(sum);
}
#endif
