/* ops/gemm.c: the matrix product, the one page that knows a BLAS.
 *
 * Products are cut into panels fixed by the shape, each one single-threaded call, so that any
 * number of threads gives the same bits. In float oneDNN serves, unless told otherwise, where it is
 * built in. Of its interfaces dnnl_sgemm is the one that oneDNN 2 and 3 share. Where the left
 * side is transposed OpenBLAS is the faster one, but on a processor newer than itself, where it
 * falls back to code of 2004 and is five times slower. */
#include <cblas.h>
#include <omp.h>
#include <stdlib.h>
#include "product.h"

#if defined PITH_ONEDNN && !defined PITH_DOUBLE
#include <dnnl.h>
#define ONEDNN 1
#else
#define ONEDNN 0
#endif

enum { SERIAL = 1 << 18 }; /* multiply-adds below which threads cost more than they bring */

void openblas_set_num_threads(int count) __attribute__((weak)); /* other BLAS libraries have none */

char *openblas_get_corename(void) __attribute__((weak));

static bool onednn = ONEDNN, onednn_transposed;

/* Before main, so that no two threads meet here. */
static void __attribute__((constructor)) choose(void)
{
    onednn_transposed = openblas_get_corename && strcmp(openblas_get_corename(), "Prescott") == 0;
    if (openblas_set_num_threads) openblas_set_num_threads(1);
}

bool pith_use_gemm(const char *library)
{
    if (!pith_given(library, "pith_use_gemm", "library")) return false;
    const bool wanted = strcmp(library, "onednn") == 0;
    if ((!wanted && strcmp(library, "blas")) || (wanted && !ONEDNN))
        return pith_raise("pith_use_gemm: there is no product library \"%s\" here: expected %sblas",
                          library, ONEDNN ? "onednn or " : "");
    onednn = wanted;
    return true;
}

bool pith_uses_onednn(void) { return onednn; }

#if ONEDNN
/* Alone also outside a parallel region, where oneDNN would start a team of its own. */
static bool onednn_block(bool ta, bool tb, int m, int n, int k, const real *a, int lda,
                         const real *b, int ldb, real *c, int ldc, bool add)
{
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1, a, lda, b,
                                            ldb, add, c, ldc);
    omp_set_num_threads(threads);
    return status == dnnl_success;
}
#endif

void pith_gemm_block(bool ta, bool tb, int m, int n, int k, const real *a, int lda, const real *b,
                     int ldb, real *c, int ldc, bool add)
{
#if ONEDNN
    if (onednn && (!ta || onednn_transposed) &&
        onednn_block(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, add))
        return;
#endif
#ifdef PITH_DOUBLE
    cblas_dgemm(
#else
    cblas_sgemm(
#endif
        CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k, 1,
        a, lda, b, ldb, add, c, ldc);
}

/* Panels are cut along the larger side and are tall: below 400 rows or columns both libraries lose
 * speed. */
void pith_gemm(bool ta, bool tb, int m, int n, int k, const real *a, int lda, const real *b,
               int ldb, real *c, int ldc, bool add)
{
    const int larger = m > n ? m : n;
    int panels = larger < 32 || (double)m * n * k < SERIAL ? 1 : 2;
    while (panels > 1 && panels < 8 && larger / panels >= 1024) panels *= 2;
    const int size = larger / panels + (larger % panels != 0),
              step = panels > 1 ? (size + 15) / 16 * 16 : size;
#pragma omp parallel for schedule(static) if (panels > 1)
    for (int p = 0; p < panels; p++) {
        const size_t first = (size_t)p * (size_t)step;
        const int count = larger - p * step < step ? larger - p * step : step;
        if (count <= 0) continue;
        if (larger == m)
            pith_gemm_block(ta, tb, count, n, k, a + (ta ? first : first * (size_t)lda), lda, b,
                            ldb, c + first * (size_t)ldc, ldc, add);
        else
            pith_gemm_block(ta, tb, m, count, k, a, lda, b + (tb ? first * (size_t)ldb : first),
                            ldb, c + first, ldc, add);
    }
}
