/* schedule.c: the learning rate of each step. */
#include <math.h>
#include "train.h"

double pith_lr(pith_schedule schedule, double lr, int64_t k, int64_t warmup, int64_t steps)
{
    if (k < warmup) return lr * (double)(k + 1) / (double)warmup;
    if (schedule == PITH_CONSTANT_LR) return lr;
    if (k >= steps) return 0;
    return lr * 0.5 *
           (1 + cos(3.14159265358979323846 * (double)(k - warmup) / (double)(steps - warmup)));
}
