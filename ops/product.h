/* ops/product.h: what a node of matmul multiplies, for its page here and its page in cuda/. */
#ifndef PITH_OPS_PRODUCT_H
#define PITH_OPS_PRODUCT_H
#include "attributes.h"

/* One or many products c (m, n) = op(a) (m, k) op(b) (k, n) of matrices by rows, op being the
 * transpose where ta or tb is 1. lda, ldb and ldc are the lengths of the rows in memory, steps are
 * those between products, all in elements; a step of 0: one b for all. */
PITH_ATTRIBUTES(product, int ta, tb, m, n, k, lda, ldb, ldc; size_t batch, step_a, step_b, step_c;)

static inline product product_of(const node *y)
{
    const node *a = y->in[0], *b = y->in[1];
    const int *da = a->dim + a->ndim - 2, *db = b->dim + b->ndim - 2;
    const matmul_attr *attr = (const matmul_attr *)y->attr;
    product p;
    p.ta = attr->ta, p.tb = attr->tb;
    p.lda = da[1], p.ldb = db[1];
    p.step_a = (size_t)da[0] * (size_t)da[1];
    p.step_b = b->ndim > 2 ? (size_t)db[0] * (size_t)db[1] : 0;
    p.batch = pith_size(a) / p.step_a;
    p.m = da[p.ta];
    p.k = da[!p.ta];
    p.n = p.ldc = db[!p.tb];
    if (b->ndim == 2 && !p.ta) { /* b is shared by all rows, which the shape rule has counted */
        p.m = (int)pith_rows(a);
        p.batch = 1;
    }
    p.step_c = (size_t)p.m * (size_t)p.n;
    return p;
}

bool pith_uses_onednn(void); /* gemm.c: see pith_use_gemm */
/* gemm_bf16.c: c (m, n) = op(a) op(b) of bf16, and bias (n), if it is not NULL, added to each row;
 * c has no gaps, and both are of dtype `result`, f32 or bf16. False after pith_raise. */
bool pith_gemm_bf16(bool ta, bool tb, int m, int n, int k, const uint16_t *a, int lda,
                    const uint16_t *b, int ldb, const void *bias, pith_dtype result, void *c);
#endif
