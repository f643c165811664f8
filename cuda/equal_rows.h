/* equal_rows.h: the sums of the rows that bear one number, in the order of their places.
 *
 * Sorted places are cut into chunks, and one warp sums 32 columns of a chunk, however its places
 * fall into runs of equal numbers: so one number that many rows bear, or many that few bear, is the
 * same work. The sum of a run that lies in one chunk is written at once. Of others each chunk keeps
 * its part, and the warp of the chunk where the run begins then joins them. */
#ifndef PITH_EQUAL_ROWS_H
#define PITH_EQUAL_ROWS_H
#include "sort.h"

enum { CHUNK = 128, SUM_WARPS = 4, AT_ONCE = 8 };

/* What chunks know of runs that cross their ends. */
typedef struct {
    float *head,
        *tail;     /* (chunk, column): sums of the run that comes in, of the one that goes on */
    int *comes_in; /* the number of the run that began before, or -1 */
    int *goes_on;  /* the number of a run that begins here and goes on behind, or -1 */
    int *row;      /* of the result, for the sum of that run */
} crossing;

enum { NO_ROW = -1, HEAD = -2 }; /* instead of a row of the result */

static __device__ __forceinline__ void keep_sum(float sum, int row, float *y, size_t columns,
                                                float *head)
{
    if (row >= 0) y[row * columns] = sum;
    if (row == HEAD) *head = sum;
}

/* Rows of x, whose places are in order, into rows of y: those that the numbers say, or, with FIRST,
 * the row of the first place with the number, while all other rows become zeros; x may then be y.
 */
template <bool FIRST>
static __global__ void __launch_bounds__(SUM_WARPS *WARP)
    sum_chunks(int n, size_t columns, const int *order, const int *ids, int below, const float *x,
               float *y, crossing cross)
{
    const size_t stripes = (columns + WARP - 1) / WARP,
                 task = (size_t)blockIdx.x * SUM_WARPS + threadIdx.x / WARP, chunk = task / stripes;
    if (chunk * CHUNK >= (size_t)n) return;
    const int lane = (int)(threadIdx.x % WARP), begin = (int)chunk * CHUNK,
              end = n - begin < CHUNK ? n : begin + CHUNK;
    const size_t column = task % stripes * WARP + lane;
    const bool inside = column < columns;
    float *head = cross.head + chunk * columns + column;
    x += column, y += column;
    int number = begin ? (int)number_at(ids, below, order[begin - 1]) : below, row = NO_ROW;
    if (number != below && (int)number_at(ids, below, order[begin]) == number) row = HEAD;
    const int comes_in = row == HEAD ? number : -1;
    float sum = 0;
    for (int at = begin; at < end; at += AT_ONCE) {
        float value[AT_ONCE]; /* read before any is used, for each takes long to come */
        int place[AT_ONCE], next[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++) {
            place[j] = order[at + j < end ? at + j : at];
            next[j] = (int)number_at(ids, below, place[j]);
            value[j] = inside && next[j] != below ? x[place[j] * columns] : 0;
        }
        for (int j = 0; j < AT_ONCE; j++) {
            if (at + j >= end) break;
            const bool starts = next[j] != number;
            if (starts) {
                if (inside) keep_sum(sum, row, y, columns, head);
                number = next[j], row = number == below ? NO_ROW : FIRST ? place[j] : number;
                sum = 0;
            }
            if (FIRST && inside && (!starts || number == below)) y[place[j] * columns] = 0;
            sum += value[j];
        }
    }
    const bool goes_on = row >= 0 && end < n && (int)number_at(ids, below, order[end]) == number;
    if (inside && goes_on) cross.tail[chunk * columns + column] = sum;
    else if (inside) keep_sum(sum, row, y, columns, head);
    if (column > 0) return;
    cross.comes_in[chunk] = comes_in;
    cross.goes_on[chunk] = goes_on ? number : -1;
    cross.row[chunk] = row;
}

static __global__ void __launch_bounds__(SUM_WARPS *WARP)
    join_chunks(size_t chunks, size_t columns, crossing cross, float *y)
{
    const size_t stripes = (columns + WARP - 1) / WARP,
                 task = (size_t)blockIdx.x * SUM_WARPS + threadIdx.x / WARP, chunk = task / stripes;
    if (chunk >= chunks || cross.goes_on[chunk] < 0) return;
    const size_t lane = threadIdx.x % WARP, column = task % stripes * WARP + lane;
    const bool inside = column < columns;
    const int number = cross.goes_on[chunk];
    float sum = inside ? cross.tail[chunk * columns + column] : 0;
    int many = WARP; /* chunks more of the run, of 32 */
    for (size_t at = chunk + 1; many == WARP; at += WARP) {
        const unsigned set = __ballot_sync(0xffffffffu, at + lane < chunks &&
                                                            cross.comes_in[at + lane] == number);
        many = __popc(set); /* the first ones, for numbers are in order */
        if (inside)
            for (int k = 0; k < many; k++) sum += cross.head[(at + k) * columns + column];
    }
    if (inside) y[cross.row[chunk] * columns + column] = sum;
}

/* Numbers of scratch memory, of 4 bytes, for n places. */
static inline size_t equal_rows_room(size_t n, size_t columns)
{
    return blocks_of(n, CHUNK) * (2 * columns + 3);
}

template <bool FIRST>
static bool sum_equal_rows(const pith_call *call, size_t n, size_t columns, const int *order,
                           const int *ids, int below, const float *x, float *y, void *room)
{
    const size_t chunks = blocks_of(n, CHUNK), tasks = chunks * ((columns + WARP - 1) / WARP);
    crossing cross;
    cross.head = (float *)room, cross.tail = cross.head + chunks * columns;
    cross.comes_in = (int *)(cross.tail + chunks * columns);
    cross.goes_on = cross.comes_in + chunks, cross.row = cross.goes_on + chunks;
    return PITH_LAUNCH(call, sum_chunks<FIRST>, blocks_of(tasks, SUM_WARPS), SUM_WARPS * WARP, 0,
                       (int)n, columns, order, ids, below, x, y, cross) &&
           PITH_LAUNCH(call, join_chunks, blocks_of(tasks, SUM_WARPS), SUM_WARPS * WARP, 0, chunks,
                       columns, cross, y);
}
#endif
