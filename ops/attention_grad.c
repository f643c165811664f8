/* ops/attention_grad.c: the gradient of attention. Probabilities are made again from the
 * log-sum-exp of each row; blocks of keys outside, blocks of queries inside, so that gradients of
 * keys and values are gathered in cache. */
#include "attention.h"
#include "functions.h"

/* Inputs: those of attention, then its two results, then the cotangent of the first. */
typedef struct {
    const real *q, *kv, *y, *lse, *dy;
    real *dq, *dkv;
} tensors;

static size_t chunk_size(const attention *x)
{
    return (size_t)(x->padded * (2 * STRIDE + 3 * KEYS) + QUERIES * (2 * STRIDE + 3 * x->padded));
}

static size_t attention_grad_scratch(const node *n)
{
    const attention x = pith_attention_of(n);
    return bounds_bytes(&x) + CHUNKS * chunk_size(&x) * sizeof(real);
}

static real dot(const real *a, const real *b, int n)
{
    real lane[8] = { 0 }, sum = 0;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) lane[l] += a[i + l] * b[i + l];
    for (int l = 0; i < n; i++, l++) lane[l] += a[i] * b[i];
    for (int l = 0; l < 8; l++) sum += lane[l];
    return sum;
}

/* Scores s and products t = dy v^T of a row become probabilities and gradients of scores; zeros
 * beyond `valid`. */
static void gradient_row(real *s, real *t, int valid, int columns, real lse, real dy_y, real scale)
{
    PITH_SIMD
    for (int j = 0; j < columns; j++) s[j] = real_exp(s[j] - lse);
    for (int j = valid; j < columns; j++) s[j] = 0;
    for (int j = 0; j < columns; j++) t[j] = s[j] * (t[j] - dy_y) * scale;
}

static void copy_rows(int rows, int width, const real *from, size_t row, real *to, size_t to_row)
{
    for (int i = 0; i < rows; i++)
        memcpy(to + (size_t)i * to_row, from + (size_t)i * row, (size_t)width * sizeof *to);
}

static void add_rows(int rows, int width, const real *from, size_t row, real *to, size_t to_row)
{
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < width; c++)
            to[(size_t)i * to_row + (size_t)c] += from[(size_t)i * row + (size_t)c];
}

static void attend_back(const attention *x, pair p, const tensors *t, real *scratch)
{
    const int padded = x->padded, width = x->width, step = p.key < p.key_end ? key_step(&p) : 1;
    const int queries = x->causal ? CAUSAL_QUERIES : QUERIES;
    const size_t wide = (size_t)padded, in_row = (size_t)p.head * (size_t)width;
    const real scale = 1 / real_sqrt((real)width);
    real *keys = scratch, *values = keys + padded * STRIDE, *dk = values + padded * STRIDE,
         *dv = dk + padded * KEYS;
    real *k_room = dv + padded * KEYS, *s = k_room + padded * KEYS, *ds = s + QUERIES * STRIDE;
    real *q_room = ds + QUERIES * STRIDE, *dy_room = q_room + QUERIES * padded,
         *dq = dy_room + QUERIES * padded;
    for (int key = p.key; key < p.key_end; key += step) {
        const int count = p.key_end - key < step ? p.key_end - key : step,
                  all = round_up(count, VECTOR);
        const real *from = t->kv + (size_t)key * x->row_kv + in_row;
        size_t row_k = x->row_kv;
        transpose_rows(from + x->key, x->row_kv, count, all, width, scale, keys);
        transpose_rows(from + x->value, x->row_kv, count, all, width, 1, values);
        const real *k = whole_vectors(x, from + x->key, &row_k, count, k_room);
        memset(dk, 0, (size_t)count * wide * sizeof *dk);
        memset(dv, 0, (size_t)count * wide * sizeof *dv);
        for (int i = p.query; i < p.query_end; i += queries) {
            const int rows = p.query_end - i < queries ? p.query_end - i : queries;
            const int some = seen(x, i + rows - 1, key, count), columns = round_up(some, VECTOR);
            if (!some) continue;
            const size_t at = (size_t)i * x->row_out + in_row;
            size_t row_q = x->row_q, row_dy = x->row_out;
            const real *q = whole_vectors(x, t->q + (size_t)i * x->row_q + in_row, &row_q, rows,
                                          q_room);
            const real *dy = whole_vectors(x, t->dy + at, &row_dy, rows, dy_room);
            tile_product(rows, columns,
                         &(tile){ q, row_q, 1, keys, STRIDE, s, STRIDE, width, false });
            tile_product(rows, columns,
                         &(tile){ dy, row_dy, 1, values, STRIDE, ds, STRIDE, width, false });
            for (int r = 0; r < rows; r++)
                gradient_row(s + r * STRIDE, ds + r * STRIDE, seen(x, i + r, key, count), columns,
                             t->lse[(size_t)(i + r) * (size_t)x->heads + (size_t)p.head],
                             dot(t->y + at + (size_t)r * x->row_out,
                                 t->dy + at + (size_t)r * x->row_out, width),
                             scale);
            tile_product(some, padded, &(tile){ s, 1, STRIDE, dy, row_dy, dv, wide, rows, true });
            tile_product(some, padded, &(tile){ ds, 1, STRIDE, q, row_q, dk, wide, rows, true });
            tile_product(rows, padded, &(tile){ ds, STRIDE, 1, k, row_k, dq, wide, some, false });
            (key == p.key ? copy_rows : add_rows)(rows, width, dq, wide,
                                                  t->dq + (size_t)i * x->row_q + in_row, x->row_q);
        }
        real *to = t->dkv + (size_t)key * x->row_kv + in_row;
        copy_rows(count, width, dk, wide, to + x->key, x->row_kv);
        copy_rows(count, width, dv, wide, to + x->value, x->row_kv);
    }
}

static bool attention_grad_cpu(const pith_call *call)
{
    const node *n = call->n;
    const attention x = pith_attention_of(n);
    /* of packed (N, 3, ...) the queries' gradient lies in the same tensor */
    const int kv = x.pooled;
    int *bound = call->scratch;
    real *room = (real *)((char *)call->scratch + bounds_bytes(&x));
    const tensors t = { call->in[0],      call->in[kv], call->in[kv + 2], call->in[kv + 3],
                        call->in[kv + 4], call->out[0], call->out[kv] };
    pith_attention_bounds(&x, call->in[kv + 1], bound);
    for (int i = 0; i < x.rows; i++)
        if (i < bound[0] || i >= bound[x.segments])
            memset(t.dkv + (size_t)i * x.row_kv, 0, x.row_kv * sizeof(real));
    for (int s = 0; x.pooled && s < x.segments; s++)
        if (bound[s] == bound[s + 1]) memset(t.dq + (size_t)s * x.row_q, 0, x.row_q * sizeof(real));
    const int64_t pairs = (int64_t)x.segments * x.heads;
    const size_t size = chunk_size(&x);
#pragma omp parallel for schedule(static) if (pith_size(n) > PITH_SMALL)
    for (int c = 0; c < CHUNKS; c++)
        for (int64_t i = pairs * c / CHUNKS; i < pairs * (c + 1) / CHUNKS; i++)
            attend_back(&x, pair_of(&x, bound, (int)i), &t, room + (size_t)c * size);
    return true;
}

/* ---- shape and meaning ---- */

static bool attention_grad_shape(node *n)
{
    if (!pith_like(n, n->in[0])) return false;
    return n->op->results < 2 || pith_more_result(n, 1, PITH_F32, n->in[1]->ndim, n->in[1]->dim);
}

/* (heads, rows, width) -> (rows, heads, width), and back */
static node *swapped(node *a) { return pith_permute_(NULL, a, 1, 0, 2, PITH_END); }

/* (heads, rows, width) each -> (rows, count, heads, width) */
static node *packed(int count, node *const *parts)
{
    node *list[3];
    for (int i = 0; i < count; i++) {
        node *a = swapped(parts[i]);
        list[i] = pith_reshape_dims(NULL, a, 4,
                                    (const int[]){ a->dim[0], 1, a->dim[1], a->dim[2] });
    }
    return pith_concat_(NULL, count, list, 1);
}

static void attention_grad_lower(node *n, node **out)
{
    const meaning m = pith_attention_meaning(n);
    node *y = n->in[n->n_in - 3], *lse = n->in[n->n_in - 2], *dy = n->in[n->n_in - 1],
         *dy_heads = swapped(dy);
    node *shift = KEEP(pith_transpose_(NULL, lse), -1),
         *dy_y = KEEP(pith_transpose_(NULL, SUM(MUL(y, dy), -1)), -1);
    node *zero = pith_const_(NULL, n->graph, 0);
    node *p = MUL(EXP(WHERE(m.mask, SUB(m.scores, shift), zero)), m.mask);
    node *ds = SCALE(MUL(p, SUB(MATMUL_NT(dy_heads, m.v), dy_y)), m.scale);
    node *d[] = { MATMUL(ds, m.k), MATMUL_TN(ds, m.q), MATMUL_TN(p, dy_heads) };
    if (n->op->results < 2) out[0] = packed(3, d);
    else out[0] = swapped(d[0]), out[1] = packed(2, d + 1);
}

/* Two and a half times the products of the forward pass. */
static double attention_grad_flops(const node *n) { return 2.5 * pith_op_attention.flops(n); }

static node *attention_grad_example(pith_graph *g, int i)
{
    static const int offsets[] = { 1, 3, 3, 6 };
    if (i > 1) return NULL;
    const int width = i ? 8 : 3;
    node *in[] = { pith_sample(g, -1, 1, 7, 3, 2, width), pith_const_array(g, PITH_I32, offsets, 4),
                   pith_sample(g, -1, 1, 7, 2, width), pith_sample(g, 0.5, 2, 7, 2),
                   pith_sample(g, -1, 1, 7, 2, width) };
    return pith_make(PITH_HERE, &pith_op_attention_grad, g, 5, in, &(attention_attr){ i });
}

static node *pooled_attention_grad_example(pith_graph *g, int i)
{
    static const int offsets[] = { 0, 2, 2, 5 };
    if (i > 0) return NULL;
    node *in[] = { pith_sample(g, -1, 1, 3, 2, 3),
                   pith_sample(g, -1, 1, 6, 2, 2, 3),
                   pith_const_array(g, PITH_I32, offsets, 4),
                   pith_sample(g, -1, 1, 3, 2, 3),
                   pith_sample(g, 0.5, 2, 3, 2),
                   pith_sample(g, -1, 1, 3, 2, 3) };
    return pith_make(PITH_HERE, &pith_op_pooled_attention_grad, g, 6, in, NULL);
}

const pith_op pith_op_attention_grad = { "attention_grad",
                                         .attr_size = sizeof(attention_attr),
                                         .shape = attention_grad_shape,
                                         .lower = attention_grad_lower,
                                         .cpu = attention_grad_cpu,
                                         .scratch = attention_grad_scratch,
                                         .flops = attention_grad_flops,
                                         .example = attention_grad_example };

const pith_op pith_op_pooled_attention_grad = { "pooled_attention_grad",
                                                .attr_size = sizeof(attention_attr),
                                                .shape = attention_grad_shape,
                                                .lower = attention_grad_lower,
                                                .cpu = attention_grad_cpu,
                                                .scratch = attention_grad_scratch,
                                                .flops = attention_grad_flops,
                                                .results = 2,
                                                .example = pooled_attention_grad_example };
