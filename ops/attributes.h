/* ops/attributes.h: what nodes of ops were told beside their inputs, for an op's page here and its
 * page of kernels in cuda/. */
#ifndef PITH_OPS_ATTRIBUTES_H
#define PITH_OPS_ATTRIBUTES_H
#include "core.h"

/* A stream's key of 64 bits in two halves, so that the attributes have no padding. */
typedef struct {
    uint32_t low, high;
} key_halves;

static inline uint64_t whole_key(key_halves k) { return (uint64_t)k.high << 32 | k.low; }

PITH_ATTRIBUTES(random_attr, key_halves key; int ndim, dim[PITH_MAX_DIMS];)
PITH_ATTRIBUTES(choose_attr, key_halves key; int rows, n, count;)
PITH_ATTRIBUTES(dropout_attr, key_halves key; double share;)
PITH_ATTRIBUTES(draw_attr, key_halves key; int k, count;)

/* Which of a and b are read transposed. */
PITH_ATTRIBUTES(matmul_attr, int ta, tb;)
/* Of a convolution; and what derivatives cannot see from their inputs: the height and width of x,
 * or those of the kernel. */
PITH_ATTRIBUTES(convolution_attr, int stride, padding;)
PITH_ATTRIBUTES(derivative_attr, int stride, padding, height, width;)
/* Of all four ops of attention: 1 where a query sees no later key. */
PITH_ATTRIBUTES(attention_attr, int causal;)

/* Which axes are reduced, a bit each. Until the shape rule has run: `count` axes as the caller
 * named them, none for all. */
PITH_ATTRIBUTES(reduce_attr, unsigned mask; int count, axis[PITH_MAX_DIMS];)

static inline bool pith_is_reduced(const node *n, int axis)
{
    return ((const reduce_attr *)n->attr)->mask >> axis & 1;
}

/* An array (outer, length, inner), of which (outer, inner) is to be left. */
typedef struct {
    size_t outer, length, inner;
} reduction;

/* The reductions that a node with a reduce_attr stands for, from the last axes of input 0 to the
 * first; returns how many. Of a scalar: one, of one element. */
#ifdef __cplusplus
extern "C" {
#endif
int pith_reductions_of(const node *n, reduction *list);
#ifdef __cplusplus
}
#endif

/* What norms add to a variance. */
#define LAYER_NORM_EPSILON 1e-5
#define BATCH_NORM_EPSILON 1e-5

/* Of scatter_add and segments: the number of rows of the result. */
PITH_ATTRIBUTES(rows_attr, int count;)
PITH_ATTRIBUTES(row_gradient_attr, int count;)
PITH_ATTRIBUTES(running_attr, int reverse;)

/* Of slice: the part [first, second) of the axis. Of pad: how many zeros before it and after. */
PITH_ATTRIBUTES(part_attr, int axis, first, second;)
PITH_ATTRIBUTES(concat_attr, int axis;)
/* Which old axis stands at each place. */
PITH_ATTRIBUTES(permute_attr, int ndim, axis[PITH_MAX_DIMS];)
PITH_ATTRIBUTES(expand_attr, int ndim, dim[PITH_MAX_DIMS];)
PITH_ATTRIBUTES(reshape_attr, int ndim, dim[PITH_MAX_DIMS];)
PITH_ATTRIBUTES(cast_attr, pith_dtype to;)
#endif
