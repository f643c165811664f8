/* ops/attention_grad.c: the gradient of attention. Probabilities are made again from the
 * log-sum-exp of each row; blocks of keys outside, blocks of queries inside, so that gradients of
 * keys and values are gathered in cache. */
#include "attention.h"
#include "functions.h"

/* Inputs: those of attention, then its two results, then the cotangent of the first. Inside
 * `attend_back`, from the pair's head on. */
typedef struct {
    const real *q, *kv, *y, *lse, *dy;
    real *dq, *dkv;
} tensors;

/* Scratch of a chunk. Where rows are whole vectors already, k, q and dy stay unused. */
typedef struct {
    real *keys, *values;        /* a block of keys and its values, transposed */
    real *dk, *dv, *k;          /* their gradients, and its rows padded */
    real *p, *ds, *q, *dy, *dq; /* of a block of queries */
} workspace;

static size_t chunk_size(const attention *x)
{
    return (size_t)(x->padded * (2 * STRIDE + 3 * KEYS) + QUERIES * (2 * STRIDE + 3 * x->padded));
}

static workspace workspace_of(const attention *x, real *scratch)
{
    workspace r;
    r.keys = take(&scratch, x->padded, STRIDE);
    r.values = take(&scratch, x->padded, STRIDE);
    r.dk = take(&scratch, x->padded, KEYS);
    r.dv = take(&scratch, x->padded, KEYS);
    r.k = take(&scratch, x->padded, KEYS);
    r.p = take(&scratch, QUERIES, STRIDE);
    r.ds = take(&scratch, QUERIES, STRIDE);
    r.q = take(&scratch, QUERIES, x->padded);
    r.dy = take(&scratch, QUERIES, x->padded);
    r.dq = take(&scratch, QUERIES, x->padded);
    return r;
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

/* A block of keys whose transposes lie in the room, and its rows in whole vectors. */
typedef struct {
    int first, count;
    bool opens; /* the first block of its segment */
    const real *k;
    size_t row_k;
} key_block;

/* Probabilities p and gradients ds of the scores of `rows` queries from `query` on, (rows,
 * columns). q and dy are the queries and the cotangents of their results. */
static void score_gradients(const attention *x, const tensors *t, const key_block *b,
                            const workspace *room, int query, int rows, int columns, const real *q,
                            size_t row_q, const real *dy, size_t row_dy)
{
    const real scale = 1 / real_sqrt((real)x->width);
    const tile scores = { q, row_q, 1, room->keys, STRIDE, room->p, STRIDE, x->width, false };
    const tile dp = { dy, row_dy, 1, room->values, STRIDE, room->ds, STRIDE, x->width, false };
    tile_product(rows, columns, &scores);
    tile_product(rows, columns, &dp);
    for (int r = 0; r < rows; r++) {
        const size_t row = (size_t)(query + r);
        const real *y = t->y + row * x->row_out, *dy_row = t->dy + row * x->row_out;
        gradient_row(room->p + r * STRIDE, room->ds + r * STRIDE,
                     seen(x, query + r, b->first, b->count), columns,
                     t->lse[row * (size_t)x->heads], dot(y, dy_row, x->width), scale);
    }
}

/* What `rows` queries from `query` on give a block of keys and its values, and get from it. */
static void attend_block_back(const attention *x, const tensors *t, const key_block *b,
                              const workspace *room, int query, int rows)
{
    const int most = seen(x, query + rows - 1, b->first, b->count); /* the last row sees most */
    if (most == 0) return;
    const size_t wide = (size_t)x->padded, first = (size_t)query;
    size_t row_q = x->row_q, row_dy = x->row_out;
    const real *q = whole_vectors(x, t->q + first * x->row_q, &row_q, rows, room->q);
    const real *dy = whole_vectors(x, t->dy + first * x->row_out, &row_dy, rows, room->dy);
    score_gradients(x, t, b, room, query, rows, round_up(most, VECTOR), q, row_q, dy, row_dy);
    const tile dv = { room->p, 1, STRIDE, dy, row_dy, room->dv, wide, rows, true };
    const tile dk = { room->ds, 1, STRIDE, q, row_q, room->dk, wide, rows, true };
    const tile dq = { room->ds, STRIDE, 1, b->k, b->row_k, room->dq, wide, most, false };
    tile_product(most, x->padded, &dv);
    tile_product(most, x->padded, &dk);
    tile_product(rows, x->padded, &dq);
    real *to = t->dq + first * x->row_q;
    if (b->opens) copy_rows(rows, x->width, room->dq, wide, to, x->row_q);
    else add_rows(rows, x->width, room->dq, wide, to, x->row_q);
}

static void attend_back(const attention *x, pair p, tensors t, real *scratch)
{
    if (p.key == p.key_end) return;
    const workspace room = workspace_of(x, scratch);
    const size_t wide = (size_t)x->padded, head = (size_t)p.head * (size_t)x->width;
    t.q += head;
    t.kv += head;
    t.y += head;
    t.lse += p.head;
    t.dy += head;
    t.dq += head;
    t.dkv += head;
    const real scale = 1 / real_sqrt((real)x->width);
    const int step = key_step(&p), queries = x->causal ? CAUSAL_QUERIES : QUERIES;
    for (int key = p.key; key < p.key_end; key += step) {
        const int count = p.key_end - key < step ? p.key_end - key : step;
        const int columns = round_up(count, VECTOR);
        const real *from = t.kv + (size_t)key * x->row_kv;
        key_block b = { key, count, key == p.key, NULL, x->row_kv };
        transpose_rows(from + x->key, x->row_kv, count, columns, x->width, scale, room.keys);
        transpose_rows(from + x->value, x->row_kv, count, columns, x->width, 1, room.values);
        b.k = whole_vectors(x, from + x->key, &b.row_k, count, room.k);
        memset(room.dk, 0, (size_t)count * wide * sizeof(real));
        memset(room.dv, 0, (size_t)count * wide * sizeof(real));
        for (int query = p.query; query < p.query_end; query += queries) {
            const int rows = p.query_end - query < queries ? p.query_end - query : queries;
            attend_block_back(x, &t, &b, &room, query, rows);
        }
        real *to = t.dkv + (size_t)key * x->row_kv;
        copy_rows(count, x->width, room.dk, wide, to + x->key, x->row_kv);
        copy_rows(count, x->width, room.dv, wide, to + x->value, x->row_kv);
    }
}

static bool attention_grad_cpu(const pith_call *call)
{
    const node *n = call->n;
    const attention x = pith_attention_of(n);
    /* of packed (N, 3, ...) the queries' gradient lies in the same tensor */
    const int kv = x.pooled;
    int *bound = call->scratch;
    real *chunks = (real *)((char *)call->scratch + bounds_bytes(&x));
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
            attend_back(&x, pair_of(&x, bound, i), t, chunks + (size_t)c * size);
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

PITH_ON_CUDA_WITH_SCRATCH(attention_grad);
const pith_op pith_op_attention_grad = { "attention_grad",
                                         .attr_size = sizeof(attention_attr),
                                         .shape = attention_grad_shape,
                                         .lower = attention_grad_lower,
                                         .cpu = attention_grad_cpu,
                                         .cuda = attention_grad_cuda,
                                         .bf16 = { .in = 1 | 4 | 16, .out = 1 },
                                         .cuda_bf16 = PITH_ALIKE,
                                         .scratch = attention_grad_scratch,
                                         .cuda_scratch = attention_grad_cuda_scratch,
                                         .flops = attention_grad_flops,
                                         .example = attention_grad_example };

PITH_ON_CUDA_WITH_SCRATCH(pooled_attention_grad);
const pith_op pith_op_pooled_attention_grad = { "pooled_attention_grad",
                                                .attr_size = sizeof(attention_attr),
                                                .shape = attention_grad_shape,
                                                .lower = attention_grad_lower,
                                                .cpu = attention_grad_cpu,
                                                .cuda = pooled_attention_grad_cuda,
                                                .bf16 = { .in = 1 | 2 | 8 | 32, .out = 3 },
                                                .cuda_bf16 = PITH_ALIKE,
                                                .scratch = attention_grad_scratch,
                                                .cuda_scratch = pooled_attention_grad_cuda_scratch,
                                                .flops = attention_grad_flops,
                                                .results = 2,
                                                .example = pooled_attention_grad_example };
