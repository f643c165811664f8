/* ops/gemm_bf16.c: the matrix product of bf16, by oneDNN where it knows one for this processor.
 * Sums are f32. As in gemm.c panels are cut by shape, each one single-threaded call. The interfaces
 * of oneDNN 2 and 3 differ, and Debian 12 has the one, Debian 13 the other. */
#include <pthread.h>
#include "product.h"

#if defined PITH_ONEDNN && !defined PITH_DOUBLE
#include <dnnl.h>
#include <omp.h>

typedef struct {
    void *data;
    int rows, columns, row, column; /* steps from one to the next, in elements */
    dnnl_data_type_t type;
} matrix;

#if DNNL_VERSION_MAJOR < 3
typedef dnnl_memory_desc_t layout;
#define LAYOUT(l) (&(l))
static dnnl_status_t make_layout(layout *l, const matrix *x)
{
    return dnnl_memory_desc_init_by_strides(l, 2, (dnnl_dims_t){ x->rows, x->columns }, x->type,
                                            (dnnl_dims_t){ x->row, x->column });
}
static void drop_layout(layout *l) { (void)l; }
static dnnl_status_t describe(dnnl_primitive_desc_t *d, dnnl_engine_t e, const layout *l, bool bias)
{
    dnnl_matmul_desc_t op;
    const dnnl_status_t bad = dnnl_matmul_desc_init(&op, &l[0], &l[1], bias ? &l[3] : NULL, &l[2]);
    return bad ? bad : dnnl_primitive_desc_create(d, &op, NULL, e, NULL);
}
#else
typedef dnnl_memory_desc_t layout;
#define LAYOUT(l) (l)
static dnnl_status_t make_layout(layout *l, const matrix *x)
{
    return dnnl_memory_desc_create_with_strides(l, 2, (dnnl_dims_t){ x->rows, x->columns }, x->type,
                                                (dnnl_dims_t){ x->row, x->column });
}
static void drop_layout(layout *l) { dnnl_memory_desc_destroy(*l); }
static dnnl_status_t describe(dnnl_primitive_desc_t *d, dnnl_engine_t e, const layout *l, bool bias)
{
    return dnnl_matmul_primitive_desc_create(d, e, l[0], l[1], bias ? l[3] : NULL, l[2], NULL);
}
#endif

/* x[2] = x[0] x[1], and x[3] to each row if it has data. Without data at all: could it be? oneDNN
 * keeps what it has compiled for a shape. */
static bool multiply(const matrix *x, bool run)
{
    static const int arguments[] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS };
    const int n = x[3].rows ? 4 : 3;
    dnnl_engine_t engine = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_primitive_desc_t described = NULL;
    dnnl_primitive_t primitive = NULL;
    layout l[4];
    dnnl_exec_arg_t a[4] = { { 0, NULL } };
    int made = 0;
    bool good = !dnnl_engine_create(&engine, dnnl_cpu, 0);
    while (good && made < n) good = !make_layout(&l[made], &x[made]), made += good;
    good = good && !describe(&described, engine, l, n > 3) &&
           !dnnl_primitive_create(&primitive, described);
    if (good && run) {
        good = !dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
        for (int k = 0; good && k < n; k++) {
            a[k].arg = arguments[k];
            good = !dnnl_memory_create(&a[k].memory, LAYOUT(l[k]), engine, x[k].data);
        }
        good = good && !dnnl_primitive_execute(primitive, stream, n, a) &&
               !dnnl_stream_wait(stream);
        for (int k = 0; k < n; k++)
            if (a[k].memory) dnnl_memory_destroy(a[k].memory);
        if (stream) dnnl_stream_destroy(stream);
    }
    if (primitive) dnnl_primitive_destroy(primitive);
    if (described) dnnl_primitive_desc_destroy(described);
    while (made--) drop_layout(&l[made]);
    if (engine) dnnl_engine_destroy(engine);
    return good;
}

static bool found;

static void look(void)
{
    const matrix x = { NULL, 16, 16, 16, 1, dnnl_bf16 }, y = { NULL, 16, 16, 16, 1, dnnl_f32 };
    found = multiply((matrix[4]){ x, x, y }, false) && multiply((matrix[4]){ x, x, x }, false);
}

bool pith_multiplies_bf16(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look);
    return found && pith_uses_onednn();
}

bool pith_gemm_bf16(bool ta, bool tb, int m, int n, int k, const uint16_t *a, int lda,
                    const uint16_t *b, int ldb, const void *bias, pith_dtype result, void *c)
{
    const dnnl_data_type_t type = result == PITH_BF16 ? dnnl_bf16 : dnnl_f32;
    const int panels = m < 32 || (double)m * n * k < 1 << 18 ? 1
                       : m < 4096                            ? 2
                                                             : 8,
              step = (m + panels - 1) / panels;
    bool good = true;
#pragma omp parallel for schedule(static) reduction(&& : good) if (panels > 1)
    for (int p = 0; p < panels; p++) {
        const int first = p * step, rows = m - first < step ? m - first : step;
        if (rows <= 0) continue;
        const int own = omp_get_max_threads();
        omp_set_num_threads(1); /* alone also outside a parallel region */
        char *to = (char *)c + (size_t)first * (size_t)n * pith_width(result);
        const uint16_t *from = a + (ta ? (size_t)first : (size_t)first * (size_t)lda);
        const matrix x[4] = { { (void *)(uintptr_t)from, rows, k, ta ? 1 : lda, ta ? lda : 1,
                                dnnl_bf16 },
                              { (void *)(uintptr_t)b, k, n, tb ? 1 : ldb, tb ? ldb : 1, dnnl_bf16 },
                              { to, rows, n, n, 1, type },
                              { (void *)(uintptr_t)bias, bias ? 1 : 0, n, n, 1, type } };
        good = good && multiply(x, true);
        omp_set_num_threads(own);
    }
    return good || pith_raise("oneDNN failed at a product of bf16, %d x %d x %d", m, n, k);
}

#else

bool pith_multiplies_bf16(void) { return false; }

bool pith_gemm_bf16(bool ta, bool tb, int m, int n, int k, const uint16_t *a, int lda,
                    const uint16_t *b, int ldb, const void *bias, pith_dtype result, void *c)
{
    (void)ta, (void)tb, (void)a, (void)lda, (void)b, (void)ldb, (void)bias, (void)result, (void)c;
    return pith_raise("there is no product of bf16 here, %d x %d x %d", m, n, k);
}

#endif
