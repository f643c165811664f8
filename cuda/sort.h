/* sort.h: the places of n numbers in the numbers' order, equal ones as they stand: so all rows that
 * bear one number are found beside one another, in order, and nobody searches.
 *
 * Sorted by one byte after another from the lowest on; each time it is counted how often each value
 * of the byte occurs in each tile of places, where these then begin, and the places are moved. The
 * numbers lie on the device; those outside [0, below) count as `below`, and so come last. */
#ifndef PITH_SORT_H
#define PITH_SORT_H
#include "sums.h"

enum {
    DIGITS = 256, /* as many as there are threads in a block */
    SORT_WARPS = DIGITS / WARP,
    SORT_ROUNDS = 8, /* places a lane */
    SORT_TILE = DIGITS * SORT_ROUNDS
};

static __device__ __forceinline__ unsigned number_at(const int *ids, int below, int place)
{
    const unsigned id = (unsigned)ids[place];
    return id < (unsigned)below ? id : (unsigned)below;
}

/* Each warp has a stretch of a tile, and a lane SORT_ROUNDS places of it. before[warp][digit]
 * becomes how many of the stretch have the digit, and rank[k] how many of these come before
 * place[k]; mine[k] is where its warp counts its digit. Lanes with one digit find one another by
 * votes. */
static __device__ __forceinline__ void rank_places(int n, const int *ids, int below,
                                                   const int *order, int shift, int *before,
                                                   int *place, int *rank, int **mine)
{
    const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
    const size_t begin = (size_t)blockIdx.x * SORT_TILE + warp * (WARP * SORT_ROUNDS) + lane;
    before += warp * DIGITS;
    for (int k = lane; k < DIGITS; k += WARP) before[k] = 0;
    __syncwarp();
    for (int k = 0; k < SORT_ROUNDS; k++) {
        const size_t i = begin + k * WARP;
        const bool there = i < (size_t)n;
        place[k] = !there ? -1 : order ? order[i] : (int)i;
        const unsigned digit = there ? number_at(ids, below, place[k]) >> shift & (DIGITS - 1) : 0;
        unsigned equal = __ballot_sync(0xffffffffu, there);
        for (int bit = 1; bit < DIGITS; bit *= 2) {
            const unsigned set = __ballot_sync(0xffffffffu, (digit & bit) != 0);
            equal &= digit & bit ? set : ~set;
        }
        const int first = __popc(equal & ((1u << lane) - 1));
        mine[k] = &before[digit];
        rank[k] = *mine[k] + first;
        __syncwarp();
        if (there && first == 0) *mine[k] += __popc(equal);
        __syncwarp();
    }
}

/* counts[digit][tile] */
static __global__ void __launch_bounds__(DIGITS)
    count_digits(int n, const int *ids, int below, const int *order, int shift, int *counts)
{
    PITH_SHARED_ARRAY(int, before, SORT_WARPS *DIGITS);
    int place[SORT_ROUNDS], rank[SORT_ROUNDS], *mine[SORT_ROUNDS], count = 0;
    rank_places(n, ids, below, order, shift, before, place, rank, mine);
    __syncthreads();
    for (int k = 0; k < SORT_WARPS; k++) count += before[k * DIGITS + threadIdx.x];
    counts[(size_t)threadIdx.x * gridDim.x + blockIdx.x] = count;
}

/* One warp a digit: each count becomes the sum of those of the tiles before it. */
static __global__ void __launch_bounds__(DIGITS) sum_tiles(int tiles, int *counts, int *totals)
{
    const int lane = (int)threadIdx.x % WARP,
              digit = (int)(blockIdx.x * SORT_WARPS + threadIdx.x / WARP);
    int before = 0;
    counts += (size_t)digit * tiles;
    for (int begin = 0; begin < tiles; begin += WARP) {
        const int i = begin + lane, count = i < tiles ? counts[i] : 0,
                  upto = warp_scan<plus>(count);
        if (i < tiles) counts[i] = before + upto - count;
        before += __shfl_sync(0xffffffffu, upto, WARP - 1);
    }
    if (lane == 0) totals[digit] = before;
}

/* Where a digit begins in a tile, and in each warp's stretch: behind all smaller digits, and behind
 * the same of the tiles and warps before. */
static __global__ void __launch_bounds__(DIGITS)
    move_places(int n, const int *ids, int below, const int *order, int shift, const int *counts,
                const int *totals, int *moved)
{
    PITH_SHARED_ARRAY(int, before, SORT_WARPS *DIGITS);
    PITH_SHARED_ARRAY(int, joined, WARP);
    int place[SORT_ROUNDS], rank[SORT_ROUNDS], *mine[SORT_ROUNDS], all;
    rank_places(n, ids, below, order, shift, before, place, rank, mine);
    const int total = totals[threadIdx.x]; /* from now on a thread a digit; the scan has barriers */
    int start = block_scan<plus>(total, joined, &all) - total +
                counts[(size_t)threadIdx.x * gridDim.x + blockIdx.x];
    for (int k = 0; k < SORT_WARPS; k++) {
        int *here = &before[k * DIGITS + threadIdx.x];
        const int count = *here;
        *here = start;
        start += count;
    }
    __syncthreads();
    for (int k = 0; k < SORT_ROUNDS; k++)
        if (place[k] >= 0) moved[*mine[k] + rank[k]] = place[k];
}

/* Numbers of scratch memory for n places: twice the places, counts and totals. */
static inline size_t sort_room(size_t n)
{
    return 2 * n + DIGITS * (size_t)blocks_of(n, SORT_TILE) + DIGITS;
}

/* Sorts on the stream; returns where in `room` the places then are, NULL after an error. */
static inline const int *sort_places(const pith_call *call, size_t n, const int *ids, int below,
                                     int *room)
{
    const unsigned tiles = blocks_of(n, SORT_TILE);
    int *to = room, *spare = to + n, *counts = spare + n, *totals = counts + DIGITS * (size_t)tiles;
    const int *order = NULL;
    if (n > INT32_MAX) {
        pith_raise("%s: %zu numbers are too many for a device", call->n->at, n);
        return NULL;
    }
    for (int shift = 0; shift < 32 && (shift == 0 || (unsigned)below >> shift); shift += 8) {
        if (!PITH_LAUNCH(call, count_digits, tiles, DIGITS, 0, (int)n, ids, below, order, shift,
                         counts) ||
            !PITH_LAUNCH(call, sum_tiles, DIGITS / SORT_WARPS, DIGITS, 0, (int)tiles, counts,
                         totals) ||
            !PITH_LAUNCH(call, move_places, tiles, DIGITS, 0, (int)n, ids, below, order, shift,
                         counts, totals, to))
            return NULL;
        int *moved = to;
        to = spare, spare = moved, order = moved;
    }
    return order;
}
#endif
