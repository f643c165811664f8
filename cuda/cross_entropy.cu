/* cross_entropy.cu: one warp a row of logits, or one block where rows are long. Both ops read what
 * they get once and write a few numbers a row. */
#include "rows.h"

template <int TEAM>
static PITH_ROW_KERNEL(TEAM) cross_entropy_rows(size_t rows, size_t columns, const float *logits,
                                                const int *labels, float *loss, float *lse)
{
    const size_t row = team_row<TEAM>();
    if (row >= rows) return;
    const float *x = logits + row * columns;
    float max;
    const float sum = team_exp_sum<TEAM>(x, columns, &max);
    if (threadIdx.x % TEAM) return;
    const int label = labels[row];
    const float a = lse[row] = max + logf(sum);
    loss[row] = label >= 0 && (size_t)label < columns ? a - x[label] : 0;
}

PITH_CUDA_KERNEL(cross_entropy)
{
    const size_t rows = pith_size(call->n), columns = pith_columns(call->n->in[0]);
    return PITH_LAUNCH_ROWS(call, cross_entropy_rows, rows, columns, (const float *)call->in[0],
                            (const int *)call->in[1], (float *)call->out[0], (float *)call->out[1]);
}

/* The loss is lse - max and, weighted by exp(t - target_max), the mean of max - x: terms that are
 * never negative, so nothing cancels. In one pass `below`, the weighted sum of
 * max - x, follows both largest entries: when max rises, each of its terms grows by as much. */
template <int TEAM>
static PITH_ROW_KERNEL(TEAM)
    soft_cross_entropy_rows(size_t rows, size_t columns, const float *logits, const float *targets,
                            float *loss, float *lse, float *target_lse)
{
    const size_t row = team_row<TEAM>();
    if (row >= rows) return;
    const float *x = logits + row * columns, *t = targets + row * columns;
    float max = -FLT_MAX, target_max = -FLT_MAX, sum = 0, weights = 0, below = 0, scale;
    for (size_t i = threadIdx.x % TEAM; i < columns; i += TEAM) {
        const float logit = x[i], target = t[i], before = max;
        float weight = weigh(logit, &max, &scale);
        sum = sum * scale + weight;
        below += weights * (max - before);
        weight = weigh(target, &target_max, &scale);
        weights = weights * scale + weight;
        below = below * scale + weight * (max - logit);
    }
    const float largest = team_max<TEAM>(max), target_largest = team_max<TEAM>(target_max);
    const float scale_x = expf(max - largest), scale_t = expf(target_max - target_largest);
    below = team_sum<TEAM>((below + weights * (largest - max)) * scale_t);
    sum = team_sum<TEAM>(sum * scale_x);
    weights = team_sum<TEAM>(weights * scale_t);
    if (threadIdx.x % TEAM) return;
    const float a = lse[row] = largest + logf(sum);
    loss[row] = a - largest + below / weights;
    target_lse[row] = target_largest + logf(weights);
}

PITH_CUDA_KERNEL(soft_cross_entropy)
{
    const size_t rows = pith_size(call->n), columns = pith_columns(call->n->in[0]);
    return PITH_LAUNCH_ROWS(call, soft_cross_entropy_rows, rows, columns,
                            (const float *)call->in[0], (const float *)call->in[1],
                            (float *)call->out[0], (float *)call->out[1], (float *)call->out[2]);
}
