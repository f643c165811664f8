/* softmax.cu: one warp a row, or one block where rows are long. The largest entry and the sum come
 * from one pass over the row, so that it is read twice, the second time from a cache. */
#include "rows.h"

/* Each thread reads an entry before it writes it, and nobody else does: y may be x. */
template <int TEAM>
static PITH_ROW_KERNEL(TEAM) softmax_rows(size_t rows, size_t columns, const float *x, float *y)
{
    const size_t row = team_row<TEAM>();
    if (row >= rows) return;
    x += row * columns, y += row * columns;
    float max;
    const float share = 1 / team_exp_sum<TEAM>(x, columns, &max);
    for (size_t i = threadIdx.x % TEAM; i < columns; i += TEAM) y[i] = expf(x[i] - max) * share;
}

PITH_CUDA_KERNEL(softmax)
{
    const size_t rows = pith_rows(call->n), columns = pith_columns(call->n);
    return PITH_LAUNCH_ROWS(call, softmax_rows, rows, columns, (const float *)call->in[0],
                            (float *)call->out[0]);
}

template <int TEAM>
static PITH_ROW_KERNEL(TEAM) log_sum_exp_rows(size_t rows, size_t columns, const float *x, float *y)
{
    const size_t row = team_row<TEAM>();
    if (row >= rows) return;
    float max;
    const float sum = team_exp_sum<TEAM>(x + row * columns, columns, &max);
    if (threadIdx.x % TEAM == 0) y[row] = max + logf(sum);
}

PITH_CUDA_KERNEL(log_sum_exp)
{
    const size_t rows = pith_size(call->n), columns = pith_columns(call->n->in[0]);
    return PITH_LAUNCH_ROWS(call, log_sum_exp_rows, rows, columns, (const float *)call->in[0],
                            (float *)call->out[0]);
}
