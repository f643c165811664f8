/* matmul.cu: the products of matmul and linear, each one call of the library (blas.cu), which cuts
 * the work. A product is the same at planning and in the run: it comes from the node alone. */
#include "blas.h"
#include "launch.h"

static pith_cuda_product of_matmul(const node *y)
{
    return pith_cuda_product_of(product_of(y), y->in[0], y->in[1], NULL, y->dtype);
}

PITH_CUDA_SCRATCH(matmul)
{
    const pith_cuda_product p = of_matmul(n);
    return pith_cuda_product_scratch(&p);
}

PITH_CUDA_KERNEL(matmul)
{
    const pith_cuda_product p = of_matmul(call->n);
    return pith_cuda_multiply(call, &p, call->in[0], call->in[1], NULL, call->out[0]);
}

/* x (..., k), whose rows are one matrix, times w (n, k) transposed. */
static pith_cuda_product of_linear(const node *y)
{
    const node *x = y->in[0], *w = y->in[1];
    product p;
    p.ta = 0, p.tb = 1;
    p.m = (int)pith_rows(x), p.n = p.ldc = w->dim[0], p.k = p.lda = p.ldb = w->dim[1];
    p.batch = 1;
    p.step_a = p.step_b = p.step_c = 0;
    return pith_cuda_product_of(p, x, w, y->in[2], y->dtype);
}

PITH_CUDA_SCRATCH(linear)
{
    const pith_cuda_product p = of_linear(n);
    return pith_cuda_product_scratch(&p);
}

PITH_CUDA_KERNEL(linear)
{
    const pith_cuda_product p = of_linear(call->n);
    return pith_cuda_multiply(call, &p, call->in[0], call->in[1], call->in[2], call->out[0]);
}
