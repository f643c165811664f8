/* pith_ops.h: every op a user may call, a line or two each. pith.h includes it: include that.
 *
 * An op is a macro over a function that takes the place of the call, so that errors name it. */
#ifndef PITH_OPS_H
#define PITH_OPS_H
#include "pith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
/* ---- pointwise ops (broadcast) ---------------------------------------------------------------
 *
 * f32. add, sub, mul, minimum, maximum, neg, abs, sign, square, expand, and the two calls with a
 * number also take i32 and then give i32, which wraps around: INT32_MAX + 1 is INT32_MIN. less and
 * equal compare f32 with f32 or i32 with i32 and give f32, 1 or 0: a mask that the others take.
 * Both values of where are f32, i32 or u8, its condition is f32 or i32; expand and copy take u8,
 * too. Nothing is converted unasked, and no gradient goes through integers. */

#define pith_add(a, b) pith_add_(PITH_HERE, a, b)
#define pith_sub(a, b) pith_sub_(PITH_HERE, a, b)
#define pith_mul(a, b) pith_mul_(PITH_HERE, a, b)
#define pith_div(a, b) pith_div_(PITH_HERE, a, b)
#define pith_minimum(a, b) pith_minimum_(PITH_HERE, a, b)
#define pith_maximum(a, b) pith_maximum_(PITH_HERE, a, b)
#define pith_less(a, b) pith_less_(PITH_HERE, a, b)                 /* 1 where a < b, else 0 */
#define pith_equal(a, b) pith_equal_(PITH_HERE, a, b)               /* 1 where a == b, else 0 */
#define pith_where(c, a, b) pith_where_(PITH_HERE, c, a, b)         /* c ? a : b; no products */
#define pith_neg(a) pith_neg_(PITH_HERE, a)
#define pith_abs(a) pith_abs_(PITH_HERE, a)
#define pith_sign(a) pith_sign_(PITH_HERE, a)                       /* -1, 0 or 1 */
#define pith_square(a) pith_square_(PITH_HERE, a)
#define pith_reciprocal(a) pith_reciprocal_(PITH_HERE, a)
#define pith_sqrt(a) pith_sqrt_(PITH_HERE, a)
#define pith_rsqrt(a) pith_rsqrt_(PITH_HERE, a)
#define pith_exp(a) pith_exp_(PITH_HERE, a)
#define pith_log(a) pith_log_(PITH_HERE, a)
#define pith_sin(a) pith_sin_(PITH_HERE, a)
#define pith_cos(a) pith_cos_(PITH_HERE, a)
#define pith_tanh(a) pith_tanh_(PITH_HERE, a)
#define pith_erf(a) pith_erf_(PITH_HERE, a)
#define pith_sigmoid(a) pith_sigmoid_(PITH_HERE, a)
#define pith_softplus(a) pith_softplus_(PITH_HERE, a)               /* log(1 + exp(a)), stable */
#define pith_relu(a) pith_relu_(PITH_HERE, a)
#define pith_gelu(a) pith_gelu_(PITH_HERE, a)                       /* exact: a Phi(a) */
#define pith_quick_gelu(a) pith_quick_gelu_(PITH_HERE, a) /* OpenAI's: a sigmoid(1.702 a) */
#define pith_is_finite(a) pith_is_finite_(PITH_HERE, a)             /* 1 or 0 */
#define PITH_UNARY(name) pith_node *pith_##name##_(const char *at, pith_node *a);
#define PITH_BINARY(name) pith_node *pith_##name##_(const char *at, pith_node *a, pith_node *b);
PITH_BINARY(add) PITH_BINARY(sub) PITH_BINARY(mul) PITH_BINARY(div)
PITH_BINARY(minimum) PITH_BINARY(maximum) PITH_BINARY(less) PITH_BINARY(equal)
pith_node *pith_where_(const char *at, pith_node *c, pith_node *a, pith_node *b);
PITH_UNARY(neg) PITH_UNARY(abs) PITH_UNARY(sign) PITH_UNARY(square) PITH_UNARY(reciprocal)
PITH_UNARY(sqrt) PITH_UNARY(rsqrt) PITH_UNARY(exp) PITH_UNARY(log) PITH_UNARY(sin) PITH_UNARY(cos)
PITH_UNARY(tanh) PITH_UNARY(erf) PITH_UNARY(sigmoid) PITH_UNARY(softplus) PITH_UNARY(relu)
PITH_UNARY(gelu) PITH_UNARY(quick_gelu) PITH_UNARY(is_finite)

#define pith_mul_scalar(a, c) pith_mul_scalar_(PITH_HERE, a, c)     /* c a, with a number c */
#define pith_add_scalar(a, c) pith_add_scalar_(PITH_HERE, a, c)     /* a + c */
/* broadcast to the dims given */
#define pith_expand(...) pith_expand_(PITH_HERE, __VA_ARGS__, PITH_END)
/* The same numbers in another dtype; to an integer they are cut towards zero, what does not fit
 * becomes the nearest that does, NaN the least. */
#define pith_cast(a, dtype) pith_cast_(PITH_HERE, a, dtype)
pith_node *pith_mul_scalar_(const char *at, pith_node *a, double c);
pith_node *pith_add_scalar_(const char *at, pith_node *a, double c);
pith_node *pith_expand_(const char *at, pith_node *a, ...);
pith_node *pith_cast_(const char *at, pith_node *a, pith_dtype dtype);

/* ---- shape ----------------------------------------------------------------------------------- */

/* A copy: what an alias of a leaf must become to be a plan's output if the plan writes the leaf. */
#define pith_copy(a) pith_copy_(PITH_HERE, a)
/* same memory; one dim may be -1 */
#define pith_reshape(...) pith_reshape_(PITH_HERE, __VA_ARGS__, PITH_END)
#define pith_detach(a) pith_detach_(PITH_HERE, a) /* the value passes, no gradient does */
/* Elements start .. stop-1 along the axis; 0 <= start < stop <= its size. Any dtype. */
#define pith_slice(a, axis, start, stop) pith_slice_(PITH_HERE, a, axis, start, stop)
/* n >= 1 nodes, one behind the other along the axis: of one dtype, and equal dims but for it. */
#define pith_concat(...) pith_concat_(PITH_HERE, __VA_ARGS__)
#define pith_permute(...) pith_permute_(PITH_HERE, __VA_ARGS__, PITH_END) /* axes in new order */
#define pith_transpose(a) pith_transpose_(PITH_HERE, a)             /* the last two axes swapped */
PITH_UNARY(copy) PITH_UNARY(detach) PITH_UNARY(transpose)
pith_node *pith_reshape_(const char *at, pith_node *a, ...);
pith_node *pith_slice_(const char *at, pith_node *a, int axis, int start, int stop);
pith_node *pith_concat_(const char *at, int n, pith_node *const *list, int axis);
pith_node *pith_permute_(const char *at, pith_node *a, ...);

/* Rows of table (V, ...) named by ids i32 of any shape: ids.dims + (...). Ids outside [0, V) give
 * zeros. */
#define pith_gather(table, ids) pith_gather_(PITH_HERE, table, ids)
/* The adjoint: rows (ids.dims + (...)) summed into zeros (count, ...), in order of position. */
#define pith_scatter_add(rows, ids, count) pith_scatter_add_(PITH_HERE, rows, ids, count)
pith_node *pith_gather_(const char *at, pith_node *table, pith_node *ids);
pith_node *pith_scatter_add_(const char *at, pith_node *rows, pith_node *ids, int count);

/* ---- random numbers --------------------------------------------------------------------------
 *
 * Philox4x32-10. Key: the graph's seed and a hash of scope and ordinal; counter: (pith_step,
 * element). */

#define pith_uniform(...) pith_uniform_(PITH_HERE, __VA_ARGS__, PITH_END) /* in [0, 1) */
#define pith_normal(...) pith_normal_(PITH_HERE, __VA_ARGS__, PITH_END) /* mean 0, deviation 1 */
pith_node *pith_uniform_(const char *at, pith_graph *g, ...);
pith_node *pith_normal_(const char *at, pith_graph *g, ...);
/* Of the classes 0 .. k-1, `count` different ones, ascending, (count) i32: every label i32 (B), and
 * others at random, anew in each step; min(B, k) <= count <= k. Result 1, (B): which of them each
 * label is, -1 for labels outside [0, k). */
#define pith_draw_classes(labels, k, count) pith_draw_classes_(PITH_HERE, labels, k, count)
pith_node *pith_draw_classes_(const char *at, pith_node *labels, int k, int count);
/* (rows, count) i32: in each row so many of the numbers 0 .. n-1, none twice, in order */
#define pith_choose(g, rows, n, count) pith_choose_(PITH_HERE, g, rows, n, count)
pith_node *pith_choose_(const char *at, pith_graph *g, int rows, int n, int count);

/* ---- reductions ------------------------------------------------------------------------------ */

/* Over the axes given, which go away: of (2, 3, 4), axes 0 and -1 leave (3). PITH_ALL: every axis,
 * leaving a scalar. */
#define pith_sum(a, ...) pith_sum_(PITH_HERE, a, __VA_ARGS__, PITH_END)
#define pith_mean(a, ...) pith_mean_(PITH_HERE, a, __VA_ARGS__, PITH_END)
/* NaN where a NaN is among them. The gradient goes to the first of equal entries. */
#define pith_max(a, ...) pith_max_(PITH_HERE, a, __VA_ARGS__, PITH_END)
#define pith_dot(a, b) pith_dot_(PITH_HERE, a, b) /* sum of a b over everything: a scalar */
pith_node *pith_sum_(const char *at, pith_node *a, ...);
pith_node *pith_mean_(const char *at, pith_node *a, ...);
pith_node *pith_max_(const char *at, pith_node *a, ...);
PITH_BINARY(dot)

/* ---- products and fused ops ------------------------------------------------------------------ */

/* (..., m, k) x (..., k, n): equal leading dims, or b with two axes, shared by all of a's rows.
 * _nt: b is (..., n, k). _tn: a is (..., k, m). */
#define pith_matmul(a, b) pith_matmul_(PITH_HERE, a, b)
#define pith_matmul_nt(a, b) pith_matmul_nt_(PITH_HERE, a, b)
#define pith_matmul_tn(a, b) pith_matmul_tn_(PITH_HERE, a, b)
/* x (..., k) w (n, k) b (n) or NULL: x w^T + b */
#define pith_linear(x, w, b) pith_linear_(PITH_HERE, x, w, b)
PITH_BINARY(matmul) PITH_BINARY(matmul_nt) PITH_BINARY(matmul_tn)
pith_node *pith_linear_(const char *at, pith_node *x, pith_node *w, pith_node *b);
/* x (B, H, W, C), zeros around it, w (O, kh, kw, C) -> (B, H', W', O), every stride-th place */
#define pith_convolution(x, w, stride, padding) pith_convolution_(PITH_HERE, x, w, stride, padding)
pith_node *pith_convolution_(const char *at, pith_node *x, pith_node *w, int stride, int padding);

#define pith_softmax(a) pith_softmax_(PITH_HERE, a) /* Over the last axis; a's shape. */
/* log(sum(exp(a))) over the last axis, which goes away: (..., n) -> (...). Does not overflow. */
#define pith_log_sum_exp(a) pith_log_sum_exp_(PITH_HERE, a)
/* x (..., n), gain (n), bias (n): rows of mean 0 and variance 1 (with 1e-5 added under the root),
 * times gain, plus bias; x's shape. Results 1 and 2: mean and 1/std of each row, (...). */
#define pith_layer_norm(x, gain, bias) pith_layer_norm_(PITH_HERE, x, gain, bias)
/* The same with each column, normalised over all rows of x (..., n). Results 1 and 2: mean and
 * variance (squares over the number of rows) of each column, (n). */
#define pith_batch_norm(x, gain, bias) pith_batch_norm_(PITH_HERE, x, gain, bias)
/* Each row, along the last axis, divided by its length; a's shape. A row of zeros stays zeros, and
 * its gradient is zeros. */
#define pith_normalize(a) pith_normalize_(PITH_HERE, a)
PITH_UNARY(softmax) PITH_UNARY(log_sum_exp) PITH_UNARY(normalize)
pith_node *pith_layer_norm_(const char *at, pith_node *x, pith_node *gain, pith_node *bias);
pith_node *pith_batch_norm_(const char *at, pith_node *x, pith_node *gain, pith_node *bias);

/* Attention inside segments of packed tokens: segment s holds rows offsets[s] .. offsets[s+1]-1.
 * offsets (S+1) i32. qkv (N, 3, heads, width) -> (N, heads, width), scores divided by sqrt(width);
 * rows in no segment give zeros. Offsets below 0, above N, or below one before them are read as the
 * nearest that is not.
 * Result 1: log-sum-exp of the scores, (N, heads). */
#define pith_attention(qkv, offsets, causal) pith_attention_(PITH_HERE, qkv, offsets, causal)
/* One query a segment, q (S, heads, width), against all of its keys and values
 * kv (N, 2, heads, width) -> (S, heads, width). */
#define pith_pooled_attention(q, kv, offsets) pith_pooled_attention_(PITH_HERE, q, kv, offsets)
pith_node *pith_attention_(const char *at, pith_node *qkv, pith_node *offsets, bool causal);
pith_node *pith_pooled_attention_(const char *at, pith_node *q, pith_node *kv, pith_node *offsets);
/* (n) i32: the segment each of n rows lies in, -1 for none; offsets as in pith_attention. */
#define pith_segments(offsets, n) pith_segments_(PITH_HERE, offsets, n)
pith_node *pith_segments_(const char *at, pith_node *offsets, int n);
/* x (N, ...): each row becomes the sum of its segment's rows up to and with it; offsets as in
 * pith_attention. */
#define pith_running_sum(x, offsets) pith_running_sum_(PITH_HERE, x, offsets)
PITH_BINARY(running_sum)

/* Cross-entropies a row, (B), not yet their mean: logits (B, C) against labels i32 (B), where
 * a label outside [0, C) gives 0, or against the softmax of target logits (B, C). Result 1:
 * log-sum-exp of the logits, (B); of soft, result 2: that of the targets. */
#define pith_cross_entropy(logits, labels) pith_cross_entropy_(PITH_HERE, logits, labels)
#define pith_soft_cross_entropy(logits, targets) \
    pith_soft_cross_entropy_(PITH_HERE, logits, targets)
PITH_BINARY(cross_entropy) PITH_BINARY(soft_cross_entropy)

/* Zeros a share p of a, and scales the rest by 1/(1-p); nothing outside training. */
#define pith_dropout(a, p) pith_dropout_(PITH_HERE, a, p)
pith_node *pith_dropout_(const char *at, pith_node *a, double p);

/* clang-format on */

/* ---- rows of tables -------------------------------------------------------------------------- */

/* pith_gather from a trained table (V, ...), declared to be all that is read of it: the table is
 * then trained by the rows that were drawn, in time and memory that do not grow with V. A row that
 * was not drawn keeps value and moments to the bit; a drawn one is decayed and moved as ever, with
 * bias correction by the number of all steps. */
#define pith_gather_rows(table, ids) pith_gather_rows_(PITH_HERE, table, ids)
pith_node *pith_gather_rows_(const char *at, pith_node *table, pith_node *ids);
int pith_row_reads(const pith_graph *g, pith_node ***reads); /* what it returned so far */
/* The last node by which y depends on the table other than by pith_gather_rows; NULL if none. */
pith_node *pith_whole_read(const pith_node *y, const pith_node *table);
/* A gradient by rows of one's own, of a table of `count` rows: n times ids i32 of any shape and
 * rows (ids.dims + (...)), joined to (N, ...). Rows of equal ids are summed at the id's first
 * position, in order; ids outside and repeated ones become -1, their rows 0. Result 1: those ids,
 * (N). */
#define pith_row_gradient(...) pith_row_gradient_(PITH_HERE, __VA_ARGS__)
pith_node *pith_row_gradient_(const char *at, int n, pith_node *const *rows, pith_node *const *ids,
                              int count);
bool pith_is_row_gradient(const pith_node *gradient);
int pith_rows_of(const pith_node *row_gradient); /* the table's `count` */
/* Writes rows to a table (V, ...) in place, as pith_assign does the whole, unless the scalar ok (or
 * NULL) is 0: what pith_update_rows and optimizers come to. Several writes of one param or state
 * hold in the order of the calls. */
#define pith_write_rows(table, ids, rows, ok) pith_write_rows_(PITH_HERE, table, ids, rows, ok)
pith_node *pith_write_rows_(const char *at, pith_node *table, pith_node *ids, pith_node *rows,
                            pith_node *ok);

#ifdef __cplusplus
}
#endif
#endif
