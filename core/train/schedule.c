/* schedule.c: the learning rate of a step. */
#include <math.h>
#include "train.h"

double pith_rate(pith_schedule schedule, double rate, int64_t k, int64_t warmup, int64_t steps)
{
    if (k < warmup) return rate * (double)(k + 1) / (double)warmup;
    if (schedule == PITH_CONSTANT_RATE) return rate;
    if (k >= steps) return 0;
    return rate * 0.5 *
           (1 + cos(3.14159265358979323846 * (double)(k - warmup) / (double)(steps - warmup)));
}
