/* device.c: what only measurements on a GPU need: its memory, a product alone, and which libraries
 * made the times. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "bench.h"
#include "device/device.h"

size_t device_left(pith_device device)
{
    const pith_backend *on = pith_backend_of(device);
    return on ? on->free_bytes() : 0;
}

/* Rows of x are multiplied by w again and again in one plan, each time by the product of before: so
 * the first factors alone are rounded to bf16 in the run, and the mean is what the host waits for.
 */
void measure_product(pith_device device, bool bf16, int n, int runs)
{
    enum { PRODUCTS = 16 };
    pith_store *store = pith_store_new_on(device);
    pith_graph *g = pith_graph_new(store, 0);
    pith_node *x = pith_state(g, "x", PITH_F32, PITH_NORMAL, 1, n, n);
    pith_node *w = pith_state(g, "w", PITH_F32, PITH_NORMAL, 1 / sqrt(n), n, n);
    for (int k = 0; k < PRODUCTS; k++) x = pith_matmul(x, w);
    pith_node *mean = pith_mean(x, PITH_ALL);
    pith_plan *p = pith_plan_new(g, 1, &mean, &(pith_plan_options){ .bf16 = bf16 });
    double *times = malloc((size_t)runs * sizeof *times);
    for (int i = -2; i < runs; i++) {
        const double start = pith_seconds();
        pith_run(p);
        pith_scalar(p, mean);
        if (i >= 0) times[i] = 1e3 * (pith_seconds() - start) / PRODUCTS;
    }
    qsort(times, (size_t)runs, sizeof *times, ascending);
    printf("product%d\t%s\t%.4f\t%.4f\t-\t-\t-\t-\t%.4g\n", n, bf16 ? "ours-bf16" : "ours",
           times[0], times[runs / 2], 2e-12 * n * n * n);
    free(times);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(store);
}

#ifdef PITH_WITH_CUDA
int cudaDriverGetVersion(int *version);
int cudaRuntimeGetVersion(int *version);
size_t pith_cuda_blas_version(void); /* cuda/blas.h */

void print_versions(void)
{
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    printf("CUDA %d.%d, the driver's %d.%d, cuBLASLt %zu\n", runtime / 1000, runtime % 1000 / 10,
           driver / 1000, driver % 1000 / 10, pith_cuda_blas_version());
}
#else
void print_versions(void) {}
#endif
