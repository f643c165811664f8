/* attention_mma.h: what attention in bf16 by tensor cores shares, of heads of width 32 or 64.
 *
 * Blocks and tiles are those of attention.h: TILE rows of its own a block, WARP_ROWS of them a
 * warp, meet TILE rows at a time. Rows lie in shared memory as they do outside. Those of the warp
 * itself go into registers once and stay there as factors a; 16 rows that they meet, a group, are a
 * factor b twice: as columns, for products with them, and as rows, to be weighed. A lane's products
 * lie where factors a want them, so that weights never leave its registers. While one tile is
 * worked on the next is fetched. Of a tile's ragged end only the groups that have rows are
 * multiplied. */
#ifndef PITH_CUDA_ATTENTION_MMA_H
#define PITH_CUDA_ATTENTION_MMA_H
#include "attention.h"
#include "mma.h"

enum { GROUP = 16, MMA_BLOCKS = 4 /* that a processor is to hold at a time */ };

/* A quad has room for eight neighbours in bf16. A row in shared memory takes one more, so that the
 * same columns of eight rows below one another, which ldmatrix reads at once, lie in different
 * banks. */
template <int WIDTH> constexpr int room_of_tile = TILE * (WIDTH / 8 + 1);
template <int WIDTH> constexpr int room_of_group = GROUP * (WIDTH / 8 + 1);

/* A lane's share of 16 x 16 products, two factors d of mma.h side by side; and of what the warp's
 * rows gather, as many as the width wants. */
typedef float group_products[2][4];
template <int WIDTH> struct gathered_rows {
    float at[WIDTH / 8][4];
};

static __device__ __forceinline__ int lane_of() { return (int)(threadIdx.x % WARP); }
/* Of its own rows of the block a lane has two, i 0 and 1, and four columns of each group, e 0 to 3:
 * where they lie among the products, and which they are. */
static __device__ __forceinline__ float &entry(group_products &p, int i, int e)
{
    return p[e / 2][2 * i + e % 2];
}
static __device__ __forceinline__ int own_row(int i) { return warp_row() + lane_of() / 4 + 8 * i; }
static __device__ __forceinline__ int own_column(int e)
{
    return e / 2 * 8 + lane_of() % 4 * 2 + e % 2;
}

/* ---- rows into shared memory ---- */

/* The two tensors whose rows a block has, or meets: keys and values, or queries and cotangents. */
typedef struct {
    const bf16 *a, *b;
    size_t stride_a, stride_b;
} both;

/* Begins to copy `count` rows, and as many of zeros as they lack of whole groups. */
template <int WIDTH>
static __device__ __forceinline__ void fetch(const bf16 *from, size_t stride, int count, quad *to)
{
    const int parts = WIDTH / 8, part = (int)threadIdx.x % parts;
    const int rows = (count + GROUP - 1) / GROUP * GROUP;
    for (int row = (int)threadIdx.x / parts; row < rows; row += THREADS / parts)
        copy_async_16(&to[place<parts>(row, part)], from + (size_t)row * stride + 8 * part,
                      row < count ? 16 : 0);
}

/* Rows [row, end), at most a tile, of both. */
template <int WIDTH>
static __device__ __forceinline__ void fetch_both(const both *x, int row, int end, quad *to)
{
    const int count = end - row < TILE ? end - row : TILE;
    fetch<WIDTH>(x->a + (size_t)row * x->stride_a, x->stride_a, count, to);
    fetch<WIDTH>(x->b + (size_t)row * x->stride_b, x->stride_b, count, to + room_of_tile<WIDTH>);
    copy_async_commit();
}

/* A tile that was worked on becomes the room of the next one, and the one there is next. */
static __device__ __forceinline__ void turn(quad *&tile, quad *&next)
{
    quad *const read = tile;
    tile = next, next = read;
}

/* ---- products ---- */

/* The warp's own rows as factors a. */
template <int WIDTH> struct own_rows {
    unsigned a[WIDTH / GROUP][4];
};

template <int WIDTH> static __device__ __forceinline__ own_rows<WIDTH> own_rows_of(const quad *tile)
{
    own_rows<WIDTH> own;
    const int row = warp_row() + lane_of() % 16, part = lane_of() / 16;
    for (int k = 0; k < WIDTH / GROUP; k++)
        ldmatrix_x4(own.a[k], &tile[place<WIDTH / 8>(row, 2 * k + part)]);
    return own;
}

/* product = own rows times the group's rows, which `tile` points at. */
template <int WIDTH>
static __device__ __forceinline__ void multiply_rows(group_products &product,
                                                     const own_rows<WIDTH> &own, const quad *tile)
{
    const int row = lane_of() / 16 * 8 + lane_of() % 8, part = lane_of() / 8 % 2;
    for (int n = 0; n < 2; n++)
        for (int e = 0; e < 4; e++) product[n][e] = 0;
    for (int k = 0; k < WIDTH / GROUP; k++) {
        unsigned b[4];
        ldmatrix_x4(b, &tile[place<WIDTH / 8>(row, 2 * k + part)]);
        mma_16816(product[0], own.a[k], b);
        mma_16816(product[1], own.a[k], b + 2);
    }
}

/* sum += weights, rounded, times the group's rows. */
template <int WIDTH>
static __device__ __forceinline__ void add_weighted_rows(gathered_rows<WIDTH> &sum,
                                                         const group_products &weight,
                                                         const quad *tile)
{
    const int row = lane_of() % 16, part = lane_of() / 16;
    unsigned a[4];
    for (int k = 0; k < 4; k++)
        a[k] = bf16_pair(weight[k / 2][k % 2 * 2], weight[k / 2][k % 2 * 2 + 1]);
    for (int k = 0; k < WIDTH / GROUP; k++) {
        unsigned b[4];
        ldmatrix_x4_transposed(b, &tile[place<WIDTH / 8>(row, 2 * k + part)]);
        mma_16816(sum.at[2 * k], a, b);
        mma_16816(sum.at[2 * k + 1], a, b + 2);
    }
}

/* Own rows of a result whose tile begins at `to`, each times its `share`. Neighbouring lanes
 * exchange halves, so that a store fills whole sectors of 32 bytes. */
template <int WIDTH>
static __device__ __forceinline__ void store_rows(const gathered_rows<WIDTH> &sum, float share0,
                                                  float share1, bf16 *to, size_t stride, int count)
{
    const bool odd = lane_of() % 2;
    to += 8 * odd + lane_of() % 4 / 2 * 4;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < WIDTH / GROUP; k++) {
            const float share = i ? share1 : share0;
            const float *left = &sum.at[2 * k][2 * i], *right = &sum.at[2 * k + 1][2 * i];
            const unsigned a = bf16_pair(left[0] * share, left[1] * share),
                           b = bf16_pair(right[0] * share, right[1] * share);
            const unsigned got = __shfl_xor_sync(0xffffffffu, odd ? a : b, 1);
            const pairs four_of = { { odd ? got : a, odd ? b : got } };
            if (own_row(i) < count)
                *(pairs *)&to[(size_t)own_row(i) * stride + (size_t)(GROUP * k)] = four_of;
        }
}

/* ---- at the launch ---- */

/* Is attention of bf16 whose rows lie there to go this way? An alias may begin anywhere, and copies
 * to shared memory want whole 16 bytes. */
static inline bool suits_mma(const node *qkv, const void *rows, const void *more_rows)
{
    return (qkv->dim[3] == 32 || qkv->dim[3] == 64) &&
           ((uintptr_t)rows | (uintptr_t)more_rows) % 16 == 0;
}
#endif
