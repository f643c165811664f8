/* test_products.c: matrix products on a GPU, or on the emulated device, beside loops in double:
 * every pair of transposes, batches, factors; on the emulated one also biases added in the same
 * pass and apart, ways chosen once, and what the stand-in for cuBLASLt refuses. */
#include "tests.h"
#ifndef PITH_WITH_CUDA
int main(void)
{
    puts("skipped: built without CUDA");
    return 0;
}
#else
#include "cuda/blas.h"
#include "device_memory.h"
#include "ops/functions.h"
#ifdef PITH_EMULATED
#include "emulator/blas_control.h"
#endif

/* ---- numbers as the device holds them ---- */

static double read_number(int kind, const void *from, size_t i)
{
    if (kind != PITH_CUDA_BF16) return ((const float *)from)[i];
    return bf16_number(((const uint16_t *)from)[i]);
}

static size_t width_of(int kind) { return kind == PITH_CUDA_BF16 ? 2 : 4; }

/* `count` numbers in [-1, 1) */
static void *numbers(int kind, size_t count, uint64_t key)
{
    void *all = malloc(count * width_of(kind));
    for (size_t i = 0; i < count; i++) {
        const double x = 2 * pith_uniform_at(key, 0, i) - 1;
        if (kind == PITH_CUDA_BF16) ((uint16_t *)all)[i] = bf16_of((float)x);
        else ((float *)all)[i] = (float)x;
    }
    return all;
}

/* ---- one product ---- */

typedef struct {
    pith_cuda_product p;
    size_t bytes_a, bytes_b, bytes_c, bytes_bias;
    void *host_a, *host_b, *host_c, *host_bias; /* host_c: what lies there before */
    char *a, *b, *c, *bias;                     /* on the device */
    pith_call call;
} instance;

static const node nowhere = { .at = "here", .op = &pith_op_input };

static pith_cuda_product product_like(int ta, int tb, int m, int n, int k, int batch)
{
    const size_t rows = (size_t)m, columns = (size_t)n, inner = (size_t)k;
    product s = { .ta = ta, .tb = tb, .m = m, .n = n, .k = k, .batch = (size_t)batch };
    s.lda = ta ? m : k, s.ldb = tb ? k : n, s.ldc = n;
    s.step_a = rows * inner, s.step_b = inner * columns, s.step_c = rows * columns;
    return (pith_cuda_product){ .shape = s, .align_a = 256, .align_b = 256, .align_c = 256 };
}

/* On the device at an address that is a multiple of `align` and of no more. */
static char *to_device(const void *host, size_t bytes, int align)
{
    const size_t before = (size_t)align % 256;
    char *p = device_get(before + bytes), *copy = calloc(1, before + bytes);
    if (host) memcpy(copy + before, host, bytes), device_write(p, copy, before + bytes);
    free(copy);
    return p + before;
}

static void begin(instance *t, const pith_cuda_product *p)
{
    const product *s = &p->shape;
    *t = (instance){ .p = *p };
    const size_t a = (s->step_a ? s->batch : 1) * (size_t)s->m * (size_t)s->k,
                 b = (s->step_b ? s->batch : 1) * (size_t)s->k * (size_t)s->n,
                 c = s->batch * (size_t)s->m * (size_t)s->n;
    t->bytes_a = a * width_of(p->factors), t->host_a = numbers(p->factors, a, 1);
    t->bytes_b = b * width_of(p->factors), t->host_b = numbers(p->factors, b, 2);
    t->bytes_c = c * width_of(p->result), t->host_c = numbers(p->result, c, 3);
    t->bytes_bias = (size_t)s->n * width_of(p->result);
    t->host_bias = numbers(p->result, (size_t)s->n, 4);
    t->a = to_device(t->host_a, t->bytes_a, p->align_a);
    t->b = to_device(t->host_b, t->bytes_b, p->align_b);
    t->c = to_device(p->add ? t->host_c : NULL, t->bytes_c, p->align_c);
    t->bias = p->bias ? to_device(t->host_bias, t->bytes_bias, p->align_bias) : NULL;
    const size_t scratch = pith_cuda_product_scratch(p);
    void *memory = scratch && scratch < SIZE_MAX ? device_get(scratch) : NULL;
    t->call = (pith_call){ .n = &nowhere, .scratch = memory, .stream = device_stream() };
}

static void end(instance *t)
{
    free(t->host_a), free(t->host_b), free(t->host_c), free(t->host_bias);
    device_wait();
    device_free_all();
}

static bool multiply(instance *t)
{
    return pith_cuda_multiply(&t->call, &t->p, t->a, t->b, t->bias, t->c);
}

static double right(const instance *t, size_t i, int row, int column)
{
    const product *s = &t->p.shape;
    const size_t at = i * s->step_c + (size_t)row * (size_t)s->ldc + (size_t)column;
    double sum = t->p.add    ? read_number(t->p.result, t->host_c, at)
                 : t->p.bias ? read_number(t->p.result, t->host_bias, (size_t)column)
                             : 0;
    for (int k = 0; k < s->k; k++) {
        const int ra = s->ta ? k : row, ca = s->ta ? row : k, rb = s->tb ? column : k,
                  cb = s->tb ? k : column;
        sum += read_number(t->p.factors, t->host_a,
                           i * s->step_a + (size_t)ra * (size_t)s->lda + (size_t)ca) *
               read_number(t->p.factors, t->host_b,
                           i * s->step_b + (size_t)rb * (size_t)s->ldb + (size_t)cb);
    }
    return sum;
}

/* The result as it lies on the device; the largest error goes to *worst. */
static void *made(instance *t, double *worst)
{
    const product *s = &t->p.shape;
    if (!multiply(t)) fail_msg("%s", pith_error());
    if (!device_wait()) fail_msg("%s", device_error());
    void *c = malloc(t->bytes_c);
    device_read(c, t->c, t->bytes_c);
    *worst = 0;
    for (size_t i = 0; i < s->batch; i++)
        for (int row = 0; row < s->m; row++)
            for (int column = 0; column < s->n; column++) {
                const size_t at = i * s->step_c + (size_t)row * (size_t)s->ldc + (size_t)column;
                *worst = fmax(*worst,
                              fabs(read_number(t->p.result, c, at) - right(t, i, row, column)));
            }
    return c;
}

/* Results are of size 10 at most: the error is to be that of the numbers. */
static void is_right(const pith_cuda_product *p)
{
    double worst;
    instance t;
    begin(&t, p);
    free(made(&t, &worst));
    const double allowed = p->result == PITH_CUDA_BF16    ? 4e-2
                           : p->factors == PITH_CUDA_TF32 ? 2e-2
                                                          : 1e-5;
    if (!(worst <= allowed)) fail_msg("off by %g, at most %g", worst, allowed);
    end(&t);
}

/* ---- tests ---- */

static void products(void **state)
{
    (void)state;
    const int kinds = device_takes_bf16() ? 4 : 1; /* an older one has no TF32 either */
    for (int transposes = 0; transposes < 4; transposes++)
        for (int kind = 0; kind < kinds; kind++)
            for (int batch = 1; batch < 4; batch += 2)
                for (int add = 0; add < 2; add++)
                    for (int k = 1; k < 100; k += 68) {
                        pith_cuda_product p = product_like(transposes & 1, transposes >> 1, 19, 8,
                                                           k, batch);
                        p.factors = kind < 3 ? kind : PITH_CUDA_BF16;
                        p.result = kind < 3 ? PITH_CUDA_F32 : PITH_CUDA_BF16;
                        p.add = add;
                        is_right(&p);
                        if (batch > 1) p.shape.step_b = 0, is_right(&p);
                        p.align_a = 4, p.align_b = 16, p.align_c = 8;
                        is_right(&p);
                    }
}

static void true_f32(void **state)
{
    (void)state;
    double exact, rough;
    instance t;
    if (!device_takes_bf16()) skip();
    pith_cuda_product p = product_like(0, 1, 31, 33, 257, 1);
    begin(&t, &p);
    free(made(&t, &exact));
    end(&t);
    p.factors = PITH_CUDA_TF32;
    begin(&t, &p);
    free(made(&t, &rough));
    end(&t);
    if (!(exact < 1e-5 && rough > 1e-4)) fail_msg("f32 is off by %g, TF32 by %g", exact, rough);
}

/* An alias may lie anywhere in a buffer: nothing is promised that its offset does not keep. */
static void alignment(void **state)
{
    const world *w = *state;
    node *x = pith_sample(w->g, -1, 1, 9, 12), *v = pith_sample(w->g, -1, 1, 12);
    node *third = pith_slice(x, 0, 3, 5), *fourth = pith_slice(third, 0, 1, 2),
         *seventh = pith_slice(v, 0, 7, 9);
    if (!(third->op->flags & PITH_ALIAS)) fail_msg("a slice of rows is no alias");
    const pith_cuda_product p = pith_cuda_product_of((product){ 0 }, third, fourth, seventh,
                                                     PITH_F32);
    assert_int_equal(p.align_a, 16); /* byte 144 */
    assert_int_equal(p.align_b, 64); /* byte 192 */
    assert_int_equal(p.align_bias, 4);
    assert_int_equal(pith_cuda_product_of((product){ 0 }, x, x, NULL, PITH_F32).align_a, 256);
    assert_int_equal(pith_cuda_product_of((product){ 0 }, x, x, x, PITH_F32).align_bias, 256);
}

#ifdef PITH_EMULATED
static void bias(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        for (int k = 9; k < 100; k += 60) {
            void *c[3];
            size_t bytes = 0;
            for (int refuses = 0; refuses < 3; refuses++) {
                pith_cuda_blas_close();
                emulator_blas_refuses_bias = refuses;
                pith_cuda_product p = product_like(0, 1, k < 10 ? 1030 : 30, k < 10 ? 3 : 513, k,
                                                   1);
                p.factors = p.result = kind ? PITH_CUDA_BF16 : PITH_CUDA_F32;
                p.bias = 1, p.align_bias = 4;
                double worst;
                instance t;
                begin(&t, &p);
                c[refuses] = made(&t, &worst);
                bytes = t.bytes_c;
                if (!(worst < (kind ? 8e-2 : 1e-5))) fail_msg("off by %g", worst);
                assert_int_equal(emulator_blas_epilogue, refuses ? 1 : 4);
                end(&t);
            }
            for (int refuses = 1; refuses < 3; refuses++)
                if (memcmp(c[0], c[refuses], bytes))
                    fail_msg("a bias added apart gives other bits");
            for (int i = 0; i < 3; i++) free(c[i]);
        }
    emulator_blas_refuses_bias = 0;
    pith_cuda_blas_close();
}

/* The heuristic is asked when a plan is made, once for all that are equal. */
static void chosen_once(void **state)
{
    (void)state;
    pith_cuda_blas_close();
    emulator_blas_asked = 0;
    pith_cuda_product p = product_like(1, 0, 8, 12, 64, 2);
    const size_t scratch = pith_cuda_product_scratch(&p);
    assert_int_equal(scratch, 3 * 2 * 8 * 12 * sizeof(float)); /* of the stand-in's way: 3 parts */
    for (int i = 0; i < 3; i++) is_right(&p);
    assert_int_equal(emulator_blas_parts, 3);
    assert_int_equal(emulator_blas_workspace, scratch);
    assert_int_equal(emulator_blas_asked, 1);
    p.align_b = 4;
    is_right(&p);
    assert_int_equal(emulator_blas_asked, 2);
    p.shape.m++, p.shape.lda++;
    p.shape.step_a += 64, p.shape.step_c += 12;
    is_right(&p);
    assert_int_equal(emulator_blas_asked, 3);
    emulator_blas_version++;
    is_right(&p);
    assert_int_equal(emulator_blas_asked, 4);
    emulator_blas_version--;
    is_right(&p);
    assert_int_equal(emulator_blas_asked, 4);
    assert_int_equal(emulator_blas_handles, 1);
    pith_cuda_blas_close();
    assert_int_equal(emulator_blas_handles, 0);
    is_right(&p);
    assert_int_equal(emulator_blas_asked, 5);
    /* parts that would take more than 32 MiB */
    p = product_like(0, 0, 1700, 1700, 64, 1);
    assert_int_equal(pith_cuda_product_scratch(&p), 0);
    emulator_blas_refuses_bias = 1;
    p = product_like(0, 1, 8, 12, 64, 1);
    p.bias = 1, p.align_bias = 4;
    assert_int_equal(pith_cuda_product_scratch(&p), 3 * 8 * 12 * sizeof(float)); /* without it */
    emulator_blas_refuses_bias = 0;
    pith_cuda_blas_close();
}

static void too_old(void **state)
{
    (void)state;
    pith_cuda_blas_close();
    reports = 0;
    emulator_blas_version = 11501;
    pith_cuda_product p = product_like(0, 0, 2, 2, 2, 1);
    assert_int_equal(pith_cuda_product_scratch(&p), SIZE_MAX);
    said("matrix products on CUDA want cuBLASLt 12 or later: the one here is of version 11.5");
    assert_int_equal(reports, 1);
    instance t;
    begin(&t, &p);
    assert_int_equal(reports, 2);
    assert_false(multiply(&t));
    said("here: input: matrix products on CUDA want cuBLASLt 12 or later");
    assert_int_equal(reports, 3);
    end(&t);
    emulator_blas_version = 120000;
    assert_int_not_equal(pith_cuda_product_scratch(&p), SIZE_MAX);
    emulator_blas_version = 130100;
    pith_cuda_blas_close();
}

/* ---- what the stand-in refuses ---- */

static void refused(instance *t, const char *why)
{
    assert_false(multiply(t));
    said(why);
    end(t);
}

/* What is found at the launch, or when the stream gets there. */
static void fails_running(instance *t, const char *why)
{
    assert_false(multiply(t) && emulator_wait());
    if (!strstr(emulator_error(), why)) fail_msg("\"%s\", not \"%s\"", emulator_error(), why);
    end(t);
}

static void mistakes(void **state)
{
    (void)state;
    const pith_cuda_product good = product_like(0, 0, 8, 12, 64, 2);
    pith_cuda_product p = good;
    instance t;
    begin(&t, &p), t.a += 4;
    refused(&t, "B at");
    begin(&t, &p), t.b += 8;
    refused(&t, "is not aligned to 16");
    begin(&t, &p), t.c = t.a;
    refused(&t, "B is written over");
    begin(&t, &p), t.call.scratch = NULL;
    refused(&t, "the workspace at");
    begin(&t, &p), t.call.scratch = t.b;
    refused(&t, "A is written over");
    begin(&t, &p), t.a = emulator_get(t.bytes_a);
    fails_running(&t, "never written");
    begin(&t, &p), t.b = to_device(t.host_b, t.bytes_b - 4, 256);
    fails_running(&t, "past the end");
    begin(&t, &p), t.c = to_device(t.host_c, t.bytes_c - 4, 256);
    fails_running(&t, "past the end");
    begin(&t, &p), t.call.scratch = emulator_get(16);
    fails_running(&t, "past the end");
    begin(&t, &p), t.a = t.host_a;
    t.p.align_a = 16;
    fails_running(&t, "host");
    p.bias = 1, p.align_bias = 16;
    begin(&t, &p), t.bias += 4;
    refused(&t, "the bias at");
    begin(&t, &p), t.bias = to_device(t.host_bias, t.bytes_bias - 4, 256);
    fails_running(&t, "past the end");
    p = good, p.shape.lda = 63;
    begin(&t, &p);
    refused(&t, "columns of B overlap");
    p = good, p.shape.step_c--;
    begin(&t, &p);
    refused(&t, "results of a batch overlap");
    p = good, p.align_b = 2;
    begin(&t, &p);
    refused(&t, "A is aligned to 2");
    p = good, p.result = PITH_CUDA_BF16;
    begin(&t, &p);
    refused(&t, "cuBLASLt has no way to make this product");
    p = good, p.shape.batch = (size_t)1 << 31;
    assert_int_equal(pith_cuda_product_scratch(&p), SIZE_MAX);
    assert_false(pith_cuda_multiply(&(pith_call){ .n = &nowhere }, &p, NULL, NULL, NULL, NULL));
    said("here: input: 2147483648 products at once");
}

#endif

int main(void)
{
    const char *missing = device_missing();
    if (missing) return printf("skipped: %s\n", missing), 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(true_f32),
#ifdef PITH_EMULATED
        cmocka_unit_test(bias),
        cmocka_unit_test(chosen_once),
        cmocka_unit_test(too_old),
        cmocka_unit_test(mistakes),
#endif
        cmocka_unit_test_setup_teardown(alignment, make_world, free_world),
    };
    return cmocka_run_group_tests(tests, counting, NULL);
}
#endif
