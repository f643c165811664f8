/* ops/attention.c: attention inside segments of packed tokens, and with one query a segment.
 * Kernels: attention.h. */
#include "attention.h"
#include "rows.h"

#define MASKED ((real) - 1e30)

/* ---- forward kernel ---- */

/* Reals of a chunk: keys transposed, scores, output of a block, a padded copy of values. */
static size_t chunk_size(const attention *x)
{
    return (size_t)(x->padded * (STRIDE + KEYS) + QUERIES * (STRIDE + x->padded));
}

static size_t attention_scratch(const node *n)
{
    const attention x = pith_attention_of(n);
    return bounds_bytes(&x) + CHUNKS * chunk_size(&x) * sizeof(real);
}

/* Scores to exp(score - max) in place, columns beyond `valid` to 0; the sum, and the max. */
static real exp_row(real *s, int valid, int columns, real *max_out)
{
    for (int j = valid; j < columns; j++) s[j] = MASKED;
    real lane[VECTOR], max = MASKED;
    memcpy(lane, s, sizeof lane);
    for (int j = VECTOR; j < columns; j += VECTOR)
        for (int l = 0; l < VECTOR; l++) lane[l] = s[j + l] > lane[l] ? s[j + l] : lane[l];
    for (int l = 0; l < VECTOR; l++) max = lane[l] > max ? lane[l] : max;
    PITH_SIMD
    for (int j = 0; j < columns; j++) s[j] = real_exp(s[j] - max);
    vector sums = { 0 };
    for (int j = 0; j < columns; j += VECTOR) sums += load_vector(s + j);
    real sum = 0;
    for (int l = 0; l < VECTOR; l++) sum += sums[l];
    *max_out = max;
    return sum;
}

/* o / sum with its log-sum-exp `own`, merged into what earlier blocks of keys gave. */
static void merge_row(int width, const real *o, real sum, real own, bool first, real *y, real *lse)
{
    real keep = 0, take = 1 / sum;
    if (!first) {
        const real high = own > *lse ? own : *lse, a = real_exp(*lse - high),
                   b = real_exp(own - high);
        keep = a / (a + b);
        take *= b / (a + b);
        own = high + real_log(a + b);
    }
    *lse = own;
    if (first)
        for (int c = 0; c < width; c++) y[c] = o[c] * take;
    else
        for (int c = 0; c < width; c++) y[c] = y[c] * keep + o[c] * take;
}

/* Inputs and results; inside `attend`, from the pair's head on. */
typedef struct {
    const real *q, *kv;
    real *y, *lse;
} tensors;

/* A block of keys, scaled and transposed, and its values in rows of whole vectors. */
typedef struct {
    int first, count;
    bool opens; /* the first block of its segment */
    const real *keys, *values;
    size_t row_values;
} key_block;

/* `rows` queries from `query` on against a block of keys: scores, their softmax, the values weighed
 * by it, and that merged into the result. */
static void attend_block(const attention *x, const tensors *t, const key_block *b, int query,
                         int rows, real *scores, real *out)
{
    const int most = seen(x, query + rows - 1, b->first, b->count); /* the last row sees most */
    const int columns = round_up(most, VECTOR);
    if (most == 0) return;
    real sum[QUERIES], max[QUERIES];
    const tile products = { .a = t->q + (size_t)query * x->row_q,
                            .row_a = x->row_q,
                            .column_a = 1,
                            .b = b->keys,
                            .row_b = STRIDE,
                            .c = scores,
                            .row_c = STRIDE,
                            .k = x->width };
    tile_product(rows, columns, &products);
    for (int r = 0; r < rows; r++)
        sum[r] = exp_row(scores + r * STRIDE, seen(x, query + r, b->first, b->count), columns,
                         &max[r]);
    const tile weighted = { .a = scores,
                            .row_a = STRIDE,
                            .column_a = 1,
                            .b = b->values,
                            .row_b = b->row_values,
                            .c = out,
                            .row_c = (size_t)x->padded,
                            .k = most };
    tile_product(rows, x->padded, &weighted);
    for (int r = 0; r < rows; r++) {
        if (seen(x, query + r, b->first, b->count) == 0) continue;
        const size_t row = (size_t)(query + r);
        merge_row(x->width, out + r * x->padded, sum[r], max[r] + real_log(sum[r]), b->opens,
                  t->y + row * x->row_out, t->lse + row * (size_t)x->heads);
    }
}

/* One pair: blocks of keys outside, so that each is transposed once; blocks of queries inside. */
static void attend(const attention *x, pair p, tensors t, real *scratch)
{
    if (p.key == p.key_end) return;
    const size_t head = (size_t)p.head * (size_t)x->width;
    t.q += head;
    t.kv += head;
    t.y += head;
    t.lse += p.head;
    real *keys = take(&scratch, x->padded, STRIDE), *values = take(&scratch, x->padded, KEYS);
    real *scores = take(&scratch, QUERIES, STRIDE), *out = take(&scratch, QUERIES, x->padded);
    const real scale = 1 / real_sqrt((real)x->width);
    const int step = key_step(&p), queries = x->causal ? CAUSAL_QUERIES : QUERIES;
    for (int key = p.key; key < p.key_end; key += step) {
        const int count = p.key_end - key < step ? p.key_end - key : step;
        const real *from = t.kv + (size_t)key * x->row_kv;
        key_block b = { key, count, key == p.key, keys, NULL, x->row_kv };
        transpose_rows(from + x->key, x->row_kv, count, round_up(count, VECTOR), x->width, scale,
                       keys);
        b.values = whole_vectors(x, from + x->value, &b.row_values, count, values);
        for (int query = p.query; query < p.query_end; query += queries) {
            const int rows = p.query_end - query < queries ? p.query_end - query : queries;
            attend_block(x, &t, &b, query, rows, scores, out);
        }
    }
}

/* Rows in no segment give zeros. */
static void zero_rows(real *y, size_t row, int first, int end)
{
    if (first < end) memset(y + (size_t)first * row, 0, (size_t)(end - first) * row * sizeof *y);
}

static bool attention_cpu(const pith_call *call)
{
    const node *n = call->n;
    const attention x = pith_attention_of(n);
    int *bound = call->scratch;
    real *room = (real *)((char *)call->scratch + bounds_bytes(&x)), *y = call->out[0],
         *lse = call->out[1];
    pith_attention_bounds(&x, call->in[n->n_in - 1], bound);
    for (int s = 0; s < x.queries; s++)
        if (x.pooled ? bound[s] == bound[s + 1] : s < bound[0] || s >= bound[x.segments]) {
            zero_rows(y, x.row_out, s, s + 1);
            zero_rows(lse, (size_t)x.heads, s, s + 1);
        }
    const int64_t pairs = (int64_t)x.segments * x.heads;
    const size_t size = chunk_size(&x);
    const tensors t = { call->in[0], call->in[n->n_in - 2], y, lse };
#pragma omp parallel for schedule(static) if (pith_size(n) > PITH_SMALL)
    for (int c = 0; c < CHUNKS; c++)
        for (int64_t i = pairs * c / CHUNKS; i < pairs * (c + 1) / CHUNKS; i++)
            attend(&x, pair_of(&x, bound, i), t, room + (size_t)c * size);
    return true;
}

/* ---- geometry ---- */

attention pith_attention_of(const node *n)
{
    const bool pooled = n->op == &pith_op_pooled_attention ||
                        n->op == &pith_op_pooled_attention_grad;
    const node *q = n->in[0], *kv = n->in[pooled], *offsets = n->in[pooled + 1];
    const int heads = kv->dim[2], width = kv->dim[3];
    const size_t out = (size_t)heads * (size_t)width, parts = (size_t)kv->dim[1];
    return (attention){ .causal = ((const attention_attr *)n->attr)->causal,
                        .pooled = pooled,
                        .rows = kv->dim[0],
                        .queries = q->dim[0],
                        .segments = offsets->dim[0] - 1,
                        .heads = heads,
                        .width = width,
                        .padded = round_up(width, VECTOR),
                        .row_q = pooled ? out : parts * out,
                        .row_kv = parts * out,
                        .row_out = out,
                        .key = (parts - 2) * out,
                        .value = (parts - 1) * out };
}

/* Offsets are data: whatever they hold, bounds lie in [0, rows] and never fall, so that segments
 * are apart. */
void pith_attention_bounds(const attention *x, const int *offsets, int *bound)
{
    int least = 0;
    for (int s = 0; s <= x->segments; s++)
        bound[s] = least = segment_bound(least, offsets[s], x->rows);
}

/* ---- shape ---- */

static bool offsets_shape(node *n, int input)
{
    if (!pith_want(n, input, PITH_I32, 1)) return false;
    return n->in[input]->dim[0] > 1 ||
           pith_fail(n, "offsets need at least 2 entries: where a segment begins and ends");
}

static bool results_shape(node *n, int queries, int heads, int width)
{
    const int dim[] = { queries, heads, width };
    if (width > MOST_WIDTH)
        return pith_fail(n, "heads have width %d, at most %d is allowed", width, MOST_WIDTH);
    for (int k = 0; k < n->n_in - 1; k++) /* queries, keys */
        if (n->in[k]->dim[0] > MOST_ROWS)
            return pith_fail(n, "input %d has %d rows, at most %d are allowed", k, n->in[k]->dim[0],
                             MOST_ROWS);
    return pith_shape(n, PITH_F32, 3, dim) && pith_more_result(n, 1, PITH_F32, 2, dim);
}

static bool attention_shape(node *n)
{
    const node *qkv = n->in[0];
    if (!pith_want(n, 0, PITH_F32, 4) || !offsets_shape(n, 1)) return false;
    if (qkv->dim[1] != 3)
        return pith_fail(n, "axis 1 has size %d, expected 3: query, key, value", qkv->dim[1]);
    return results_shape(n, qkv->dim[0], qkv->dim[2], qkv->dim[3]);
}

static bool pooled_attention_shape(node *n)
{
    const node *q = n->in[0], *kv = n->in[1], *offsets = n->in[2];
    if (!pith_want(n, 0, PITH_F32, 3) || !pith_want(n, 1, PITH_F32, 4) || !offsets_shape(n, 2))
        return false;
    if (kv->dim[1] != 2)
        return pith_fail(n, "axis 1 of input 1 has size %d, expected 2: key, value", kv->dim[1]);
    if (q->dim[1] != kv->dim[2] || q->dim[2] != kv->dim[3])
        return pith_fail(n, "queries have %d heads of width %d, keys %d of width %d", q->dim[1],
                         q->dim[2], kv->dim[2], kv->dim[3]);
    if (q->dim[0] != offsets->dim[0] - 1)
        return pith_fail(n, "%d queries for %d segments", q->dim[0], offsets->dim[0] - 1);
    return results_shape(n, q->dim[0], q->dim[1], q->dim[2]);
}

/* ---- meaning ---- */

/* Part `index` of (rows, parts, heads, width) as (heads, rows, width). */
static node *part(node *packed, int index)
{
    const int dim[] = { packed->dim[0], packed->dim[2], packed->dim[3] };
    node *one = pith_slice_(NULL, packed, 1, index, index + 1);
    return pith_permute_(NULL, pith_reshape_dims(NULL, one, 3, dim), 1, 0, 2, PITH_END);
}

meaning pith_attention_meaning(const node *n)
{
    const attention x = pith_attention_of(n);
    pith_graph *g = n->graph;
    node *kv = n->in[x.pooled], *segment = pith_segments_(NULL, n->in[x.pooled + 1], x.rows);
    node *row = pith_arange_(NULL, g, x.rows);
    const int parts = kv->dim[1];
    meaning m = { .k = part(kv, parts - 2),
                  .v = part(kv, parts - 1),
                  .scale = 1 / sqrt((double)x.width) };
    m.q = x.pooled ? pith_permute_(NULL, n->in[0], 1, 0, 2, PITH_END) : part(kv, 0);
    m.mask = EQUAL(KEEP(x.pooled ? pith_arange_(NULL, g, x.queries) : segment, -1), segment);
    m.mask = MUL(m.mask, LESS(pith_const_scalar(NULL, g, PITH_I32, -1), segment));
    if (x.causal) m.mask = MUL(m.mask, LESS(row, SHIFT(KEEP(row, -1), 1))); /* row <= own row */
    m.scores = SCALE(MATMUL_NT(m.q, m.k), m.scale);
    return m;
}

static void attention_lower(node *n, node **out)
{
    const meaning m = pith_attention_meaning(n);
    node *masked = WHERE(m.mask, m.scores, pith_const_(NULL, n->graph, MASKED));
    node *p = MUL(pith_softmax_(NULL, masked), m.mask), *lse = pith_log_sum_exp_(NULL, masked);
    out[0] = pith_permute_(NULL, MATMUL(p, m.v), 1, 0, 2, PITH_END);
    out[1] = pith_transpose_(NULL, WHERE(MAX(m.mask, -1), lse, pith_const_(NULL, n->graph, 0)));
}

static bool attention_grad(node *n, node *const *dy, node **dx)
{
    if (!dy[0] || dy[1]) return false;
    const bool pooled = n->n_in == 3;
    node *in[6];
    int count = 0;
    for (; count < n->n_in; count++) in[count] = n->in[count];
    in[count++] = n;
    in[count++] = pith_result(n, 1);
    in[count++] = dy[0];
    node *d = pith_make(NULL, pooled ? &pith_op_pooled_attention_grad : &pith_op_attention_grad,
                        n->graph, count, in, n->attr);
    dx[0] = d;
    if (pooled) dx[1] = pith_result(d, 1);
    return true;
}

static double attention_flops(const node *n)
{
    /* the lengths of segments are data: as if they were equal */
    const attention x = pith_attention_of(n);
    return 4. * x.queries * x.rows / (x.segments ? x.segments : 1) * x.heads * x.width;
}

/* ---- ops ---- */

static node *attention_example(pith_graph *g, int i)
{
    static const int offsets[] = { 1, 3, 3, 6 };
    if (i > 2) return NULL;
    return pith_attention(pith_sample(g, -1, 1, 7, 3, 2, i == 2 ? 8 : 3),
                          pith_const_array(g, PITH_I32, offsets, 4), i == 1);
}

static node *pooled_attention_example(pith_graph *g, int i)
{
    static const int offsets[] = { 0, 2, 2, 5 };
    if (i > 1) return NULL;
    return pith_pooled_attention(pith_sample(g, -1, 1, 3, 2, i ? 8 : 3),
                                 pith_sample(g, -1, 1, 6, 2, 2, i ? 8 : 3),
                                 pith_const_array(g, PITH_I32, offsets, 4));
}

PITH_ON_CUDA_WITH_SCRATCH(attention);
const pith_op pith_op_attention = { "attention",
                                    .attr_size = sizeof(attention_attr),
                                    .shape = attention_shape,
                                    .grad = attention_grad,
                                    .lower = attention_lower,
                                    .cpu = attention_cpu,
                                    .cuda = attention_cuda,
                                    .bf16 = { .in = 1, .out = 1 },
                                    .cuda_bf16 = PITH_ALIKE,
                                    .scratch = attention_scratch,
                                    .cuda_scratch = attention_cuda_scratch,
                                    .flops = attention_flops,
                                    .results = 2,
                                    .example = attention_example };

PITH_ON_CUDA_WITH_SCRATCH(pooled_attention);
const pith_op pith_op_pooled_attention = { "pooled_attention",
                                           .attr_size = sizeof(attention_attr),
                                           .shape = pooled_attention_shape,
                                           .grad = attention_grad,
                                           .lower = attention_lower,
                                           .cpu = attention_cpu,
                                           .cuda = pooled_attention_cuda,
                                           .bf16 = { .in = 3, .out = 1 },
                                           .cuda_bf16 = PITH_ALIKE,
                                           .scratch = attention_scratch,
                                           .cuda_scratch = pooled_attention_cuda_scratch,
                                           .flops = attention_flops,
                                           .results = 2,
                                           .example = pooled_attention_example };

node *pith_attention_(const char *at, node *qkv, node *offsets, bool causal)
{
    return pith_make2(at, &pith_op_attention, qkv, offsets, &(attention_attr){ causal });
}

node *pith_pooled_attention_(const char *at, node *q, node *kv, node *offsets)
{
    return pith_make3(at, &pith_op_pooled_attention, q, kv, offsets, NULL);
}
