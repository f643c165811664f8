/* ops/matmul.c: matrix products, alone or one a batch, with transpose flags; and linear, a product
 * with a bias that is added while the panel is in cache. */
#include <limits.h>
#include "product.h"

extern const pith_op pith_op_matmul;

/* The gradient of a weight sums over very many rows. Cut along them both libraries are up to a
 * third faster than cut along the small result; the parts are added in order. */
static int parts_of(const product *p)
{
    const int larger = p->m > p->n ? p->m : p->n;
    if (p->batch > 1 || !p->ta || p->tb || p->k < 2048 || p->k / 2 < larger) return 1;
    if (p->k < 4096) return 2;
    return p->k < 8192 ? 4 : 8;
}

static void sum_of_parts(const product *p, int parts, const real *a, const real *b, real *c,
                         real *scratch)
{
    const size_t size = (size_t)p->m * (size_t)p->n;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < parts; i++) {
        const size_t first = (size_t)p->k * (size_t)i / (size_t)parts,
                     end = (size_t)p->k * (size_t)(i + 1) / (size_t)parts;
        pith_gemm_block(true, false, p->m, p->n, (int)(end - first), a + first * (size_t)p->lda,
                        p->lda, b + first * (size_t)p->ldb, p->ldb,
                        i ? scratch + (size_t)(i - 1) * size : c, p->n, false);
    }
#pragma omp parallel for schedule(static) if (size > PITH_SMALL)
    for (int row = 0; row < p->m; row++) {
        real *to = c + (size_t)row * (size_t)p->n;
        const real *from = scratch + (size_t)row * (size_t)p->n;
        for (int i = 1; i < parts; i++, from += size)
            for (int j = 0; j < p->n; j++) to[j] += from[j];
    }
}

static size_t matmul_scratch(const node *n)
{
    const product p = product_of(n);
    return (size_t)(parts_of(&p) - 1) * (size_t)p.m * (size_t)p.n * sizeof(real);
}

static bool matmul_bf16(const pith_call *call, const product *p)
{
    const uint16_t *a = call->in[0], *b = call->in[1];
    const size_t width = pith_width(call->n->dtype);
    bool good = true;
    for (size_t i = 0; i < p->batch && good; i++)
        good = pith_gemm_bf16(p->ta, p->tb, p->m, p->n, p->k, a + i * p->step_a, p->lda,
                              b + i * p->step_b, p->ldb, NULL, call->n->dtype,
                              (char *)call->out[0] + i * p->step_c * width);
    return good;
}

static bool matmul_cpu(const pith_call *call)
{
    const node *y = call->n;
    const product p = product_of(y);
    if (y->in[0]->dtype == PITH_BF16) return matmul_bf16(call, &p);
    const real *a = call->in[0], *b = call->in[1];
    real *c = call->out[0];
    const int parts = parts_of(&p);
    if (parts > 1) sum_of_parts(&p, parts, a, b, c, call->scratch);
    else if (p.batch == 1) pith_gemm(p.ta, p.tb, p.m, p.n, p.k, a, p.lda, b, p.ldb, c, p.n, false);
    else {
#pragma omp parallel for schedule(static) if ((double)p.batch * p.m * p.n * p.k > PITH_SMALL)
        for (size_t i = 0; i < p.batch; i++)
            pith_gemm_block(p.ta, p.tb, p.m, p.n, p.k, a + i * p.step_a, p.lda, b + i * p.step_b,
                            p.ldb, c + i * p.step_c, p.n, false);
    }
    return true;
}

static double matmul_flops(const node *n)
{
    const product p = product_of(n);
    return 2. * (double)p.batch * p.m * p.n * p.k;
}

/* ---- shape and gradient ---- */

/* All rows of input 0 become one matrix, whose rows the libraries count in an int. */
static bool rows_fit(node *y)
{
    const size_t rows = pith_rows(y->in[0]);
    return rows <= INT_MAX ||
           pith_fail(y, "input 0 has %zu rows in all, at most %d are allowed", rows, INT_MAX);
}

static bool matmul_shape(node *y)
{
    const node *a = y->in[0], *b = y->in[1];
    if (!pith_want(y, 0, PITH_F32, -2) || !pith_want(y, 1, PITH_F32, -2)) return false;
    const matmul_attr *attr = y->attr;
    const bool ta = attr->ta, tb = attr->tb;
    int dim[PITH_MAX_DIMS];
    const int last = a->ndim - 1, last_b = b->ndim - 1;
    memcpy(dim, a->dim, sizeof dim);
    const int k = a->dim[ta ? last - 1 : last], other = b->dim[tb ? last_b : last_b - 1];
    if (k != other)
        return pith_fail(y, "inner sizes differ: %d against %d%s", k, other,
                         ta   ? ", the last axes but one"
                         : tb ? ", the last axes"
                              : "");
    bool same = b->ndim == 2 || b->ndim == a->ndim;
    for (int i = 0; i < last - 1 && b->ndim > 2 && same; i++) same = a->dim[i] == b->dim[i];
    if (!same)
        return pith_fail(y, "the axes before the last two differ: expected equal ones, "
                            "or a right side of two axes");
    if (b->ndim == 2 && !ta && !rows_fit(y)) return false;
    dim[last - 1] = a->dim[ta ? last : last - 1];
    dim[last] = b->dim[tb ? last_b - 1 : last_b];
    return pith_shape(y, PITH_F32, a->ndim, dim);
}

static node *matmul(const char *at, node *a, node *b, bool ta, bool tb)
{
    return pith_make2(at, &pith_op_matmul, a, b, &(matmul_attr){ ta, tb });
}

/* (..., k) -> (rows, k): of what rows_fit has let pass */
static node *fold(node *n)
{
    const int dim[2] = { (int)pith_rows(n), (int)pith_columns(n) };
    return n->ndim == 2 ? n : pith_reshape_dims(NULL, n, 2, dim);
}

static bool matmul_grad(node *y, node *const *dys, node **dx)
{
    node *a = y->in[0], *b = y->in[1], *dy = dys[0];
    const matmul_attr *attr = y->attr;
    const bool ta = attr->ta, tb = attr->tb;
    if (!ta) dx[0] = matmul(NULL, dy, b, false, !tb);
    else if (b->ndim == a->ndim) dx[0] = matmul(NULL, b, dy, tb, true);
    else dx[0] = pith_transpose_(NULL, matmul(NULL, dy, b, false, !tb));
    if (b->ndim == 2 && !ta) {
        a = fold(a);
        dy = fold(dy);
    }
    dx[1] = tb ? matmul(NULL, dy, a, true, ta) : matmul(NULL, a, dy, !ta, false);
    return true;
}

static node *sample(pith_graph *g, int batch, int rows, int columns)
{
    return batch ? pith_sample(g, PITH_AWAY, 0, batch, rows, columns)
                 : pith_sample(g, PITH_AWAY, 0, rows, columns);
}

static node *matmul_example(pith_graph *g, int i)
{
    return i == 0   ? pith_matmul(sample(g, 0, 3, 4), sample(g, 0, 4, 5))
           : i == 1 ? pith_matmul_nt(sample(g, 2, 3, 4), sample(g, 2, 5, 4))
           : i == 2 ? pith_matmul_tn(sample(g, 2, 4, 3), sample(g, 2, 4, 2))
           : i == 3 ? pith_matmul_nt(sample(g, 2, 3, 4), sample(g, 0, 5, 4))
           : i == 4 ? pith_matmul_tn(sample(g, 2, 4, 3), sample(g, 0, 4, 2))
                    : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(matmul);
const pith_op pith_op_matmul = { "matmul",
                                 .shape = matmul_shape,
                                 .grad = matmul_grad,
                                 .attr_size = sizeof(matmul_attr),
                                 .cpu = matmul_cpu,
                                 .scratch = matmul_scratch,
                                 .cuda = matmul_cuda,
                                 .bf16 = { .in = 3, .out = 1 },
                                 .cpu_bf16 = pith_multiplies_bf16,
                                 .cuda_bf16 = PITH_MIXED,
                                 .cuda_scratch = matmul_cuda_scratch,
                                 .flops = matmul_flops,
                                 .flags = PITH_GEMM,
                                 .example = matmul_example };

node *pith_matmul_(const char *at, node *a, node *b) { return matmul(at, a, b, false, false); }
node *pith_matmul_nt_(const char *at, node *a, node *b) { return matmul(at, a, b, false, true); }
node *pith_matmul_tn_(const char *at, node *a, node *b) { return matmul(at, a, b, true, false); }

/* ---- linear: x (..., k), w (n, k), b (n) -> (..., n) ---- */

static bool linear_shape(node *y)
{
    const node *x = y->in[0], *w = y->in[1], *b = y->in[2];
    if (!pith_want(y, 0, PITH_F32, -2) || !pith_want(y, 1, PITH_F32, 2) ||
        !pith_want(y, 2, PITH_F32, 1))
        return false;
    int dim[PITH_MAX_DIMS];
    memcpy(dim, x->dim, sizeof dim);
    const int k = x->dim[x->ndim - 1], n = dim[x->ndim - 1] = w->dim[0];
    if (k != w->dim[1])
        return pith_fail(y, "inner sizes differ: %d against %d, the last axes", k, w->dim[1]);
    if (n != b->dim[0])
        return pith_fail(y, "%d biases, expected %d, one a row of the weight", b->dim[0], n);
    return rows_fit(y) && pith_shape(y, PITH_F32, x->ndim, dim);
}

static bool linear_grad(node *y, node *const *dy, node **dx)
{
    dx[0] = MATMUL(dy[0], y->in[1]);
    dx[1] = MATMUL_TN(fold(dy[0]), fold(y->in[0]));
    dx[2] = dy[0];
    return true;
}

static void linear_lower(node *y, node **out)
{
    out[0] = ADD(MATMUL_NT(y->in[0], y->in[1]), y->in[2]);
}

static void add_bias(real *y, const real *bias, int rows, int n)
{
    for (int i = 0; i < rows; i++, y += n)
        for (int j = 0; j < n; j++) y[j] += bias[j];
}

static size_t divide_up(size_t a, size_t b) { return a / b + (a % b != 0); }

/* Rows of a panel: an even number of panels, whose results fit into the second-level cache. With
 * few rows and many columns the product has its own panels and the bias is cheap: one of all m. */
static size_t panel_rows(size_t m, size_t n)
{
    if (m < 2 * n) return m;
    size_t most = ((size_t)1 << 17) / n;
    if (most < 256) most = 256;
    if (most > 1024) most = 1024;
    const size_t pairs = divide_up(divide_up(m, most), 2);
    return divide_up(m, 2 * pairs);
}

static bool linear_cpu(const pith_call *call)
{
    const node *result = call->n;
    const size_t m = pith_rows(result), n = pith_columns(result);
    const int columns = (int)n, k = result->in[1]->dim[1];
    if (result->in[0]->dtype == PITH_BF16)
        return pith_gemm_bf16(false, true, (int)m, columns, k, call->in[0], k, call->in[1], k,
                              call->in[2], result->dtype, call->out[0]);
    const real *x = call->in[0], *w = call->in[1], *bias = call->in[2];
    real *y = call->out[0];
    const size_t panel = panel_rows(m, n);
    const bool whole = panel == m;
    const size_t rows = whole ? 32 : panel;
    if (whole) pith_gemm(false, true, (int)m, columns, k, x, k, w, k, y, columns, false);
#pragma omp parallel for schedule(static) if ((double)m * (double)n * k > PITH_SMALL)
    for (size_t first = 0; first < m; first += rows) {
        const int count = (int)(m - first < rows ? m - first : rows);
        const real *from = x + first * (size_t)k;
        real *to = y + first * n;
        if (!whole)
            pith_gemm_block(false, true, count, columns, k, from, k, w, k, to, columns, false);
        add_bias(to, bias, count, columns);
    }
    return true;
}

static double linear_flops(const node *n) { return 2. * (double)pith_size(n) * n->in[1]->dim[1]; }

static node *linear_example(pith_graph *g, int i)
{
    return i == 0   ? pith_linear(sample(g, 0, 7, 4), sample(g, 0, 3, 4),
                                  pith_sample(g, PITH_AWAY, 0, 3))
           : i == 1 ? pith_linear(sample(g, 2, 2, 3), sample(g, 0, 9, 3),
                                  pith_sample(g, PITH_AWAY, 0, 9))
                    : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(linear);
const pith_op pith_op_linear = { "linear",
                                 .shape = linear_shape,
                                 .grad = linear_grad,
                                 .lower = linear_lower,
                                 .cpu = linear_cpu,
                                 .cuda = linear_cuda,
                                 .bf16 = { .in = 3, .out = 1, .as_out = 4 },
                                 .cpu_bf16 = pith_multiplies_bf16,
                                 .cuda_bf16 = PITH_MIXED,
                                 .cuda_scratch = linear_cuda_scratch,
                                 .flops = linear_flops,
                                 .flags = PITH_GEMM,
                                 .example = linear_example };

node *pith_linear_(const char *at, node *x, node *w, node *b)
{
    return b ? pith_make3(at, &pith_op_linear, x, w, b, NULL) : pith_matmul_nt_(at, x, w);
}
