/* blas.h: matrix products on the device, which cuBLASLt makes; blas.cu is the one page that knows
 * it. A page asks for the scratch memory of its product where a plan is made, and launches the same
 * product where it runs. */
#ifndef PITH_BLAS_H
#define PITH_BLAS_H
#include "core.h"
#include "ops/product.h"
#ifdef __cplusplus
extern "C" {
#endif

/* What is multiplied, and how exactly; sums are f32 in every case. TF32 and bf16 only when asked:
 * the first keeps 10 bits of each factor's 23, the second reads factors of 16 bits. */
enum { PITH_CUDA_F32, PITH_CUDA_TF32, PITH_CUDA_BF16 };

/* A product as the device makes it: c = op(a) op(b), plus c itself if `add`, plus `bias` of n
 * numbers on every row. Equal ones are found by comparing bytes. */
PITH_ATTRIBUTES(pith_cuda_product, product shape; int factors; /* PITH_CUDA_F32 and so on */
                int result;    /* of c and bias: PITH_CUDA_F32 or PITH_CUDA_BF16 */
                int add, bias; /* 0 or 1, not both */
                /* bytes that their addresses are multiples of */
                int align_a, align_b, align_c, align_bias;)

/* The product of tensors a and b, both f32 or both bf16, and of a bias unless that is NULL, into a
 * result of its own. Addresses are taken from where the nodes will lie. */
pith_cuda_product pith_cuda_product_of(product shape, const node *a, const node *b,
                                       const node *bias, pith_dtype result);

/* Chooses how the product is made, once for all that are equal, and says how many bytes of scratch
 * memory it wants; SIZE_MAX after saying, in one sentence, why there is no way. */
size_t pith_cuda_product_scratch(const pith_cuda_product *p);
/* Puts the product on the stream of `call`, whose scratch memory it uses. */
bool pith_cuda_multiply(const pith_call *call, const pith_cuda_product *p, const void *a,
                        const void *b, const void *bias, void *c);

size_t pith_cuda_blas_version(void); /* as the library numbers it; 0: there is none */
/* Lets go of all that was chosen, and of the library's own memory: no launch may be under way. */
void pith_cuda_blas_close(void);

#ifdef __cplusplus
}
#endif
#endif
