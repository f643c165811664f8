/* segments.h: which of several packed segments a row belongs to. */
#ifndef PITH_SEGMENTS_H
#define PITH_SEGMENTS_H
#include "sums.h"

enum { SEGMENT_THREADS = 256 };

/* Where segments begin and the last one ends. Bounds lie in [0, rows] and never fall, whatever the
 * offsets say, so each is the largest so far; one block finds them all. */
static __global__ void __launch_bounds__(SEGMENT_THREADS)
    find_bounds(int count, const int *offsets, int rows, int *bound)
{
    PITH_SHARED_ARRAY(int, joined, WARP);
    int before = 0, all;
    for (int begin = 0; begin < count; begin += SEGMENT_THREADS, before = larger(before, all)) {
        const int i = begin + (int)threadIdx.x, offset = i < count ? offsets[i] : 0;
        const int upto = block_scan<larger>(offset < rows ? offset : rows, joined, &all);
        if (i < count) bound[i] = larger(before, upto);
    }
}

/* The number of each row's segment, -1 for none: of the last bound that is not behind the row. */
static __global__ void __launch_bounds__(SEGMENT_THREADS)
    number_rows(int rows, int count, const int *bound, int *number)
{
    const size_t row = (size_t)blockIdx.x * SEGMENT_THREADS + threadIdx.x;
    if (row >= (size_t)rows) return;
    int low = 0, high = count; /* bounds before `low` are at most the row, from `high` on more */
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if ((size_t)bound[middle] <= row) low = middle + 1;
        else high = middle;
    }
    number[row] = low < count ? low - 1 : -1;
}

static inline bool number_segments(const pith_call *call, int count, const int *offsets, int rows,
                                   int *bound, int *number)
{
    return PITH_LAUNCH(call, find_bounds, 1, SEGMENT_THREADS, 0, count, offsets, rows, bound) &&
           PITH_LAUNCH(call, number_rows, blocks_of((size_t)rows, SEGMENT_THREADS), SEGMENT_THREADS,
                       0, rows, count, bound, number);
}
#endif
