/* view.h: a random picture and its augmented views, for the tests of augmentation. */
#ifndef PITH_VIEW_H
#define PITH_VIEW_H
#include "tests.h"
#include "pictures/parts.h"

enum { LARGEST = 224 };
static const double zero[3] = { 0, 0, 0 }, one[3] = { 1, 1, 1 };
static uint8_t in[3 * LARGEST * LARGEST], out[sizeof in];
static pith_real view[sizeof in];
static float *work;

/* Random bytes around a slope, so that no plane has all values. */
static inline void draw_picture(int size, uint64_t number)
{
    const int n = size * size;
    for (int k = 0; k < 3 * n; k++) {
        uint32_t w[4];
        pith_philox(11, (uint64_t)k, number, w);
        in[k] = (uint8_t)(20 + 50 * (k / n) + 60 * (k % size) / size + (int)(w[0] % 40));
    }
}

static inline void make(const pith_augment *a, uint64_t index, int size)
{
    pith_augment_view(a, 5, 1, index, size, in, zero, one, work, view);
}

static inline void see(int size) /* in `out`, as bytes */
{
    for (int k = 0; k < 3 * size * size; k++) out[k] = (uint8_t)((double)view[k] * 255 + 0.5);
}
#endif
