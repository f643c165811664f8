/* test_convolution.c: convolutions, batch norm and their derivatives against plain loops, at sizes
 * of several blocks; mistakes in them; and what they take of memory. */
#include "tests.h"

#define TOLERANCE (sizeof(real) == 8 ? 1e-12 : 2e-6)

/* An input of some million numbers is not drawn one by one: any that are not alike will do. */
static real *numbers(size_t n, int seed)
{
    real *x = malloc(sizeof *x * n);
    for (size_t k = 0; k < n; k++) x[k] = (real)(pith_uniform_at((uint64_t)seed, 0, k) * 2 - 1);
    return x;
}

/* The largest difference, relative to the largest value. */
static void alike(const char *what, const double *expected, const pith_plan *p, const node *n)
{
    real *got = malloc(pith_bytes(n));
    double worst = 0, most = 0;
    assert_true(pith_value(p, n, got));
    for (size_t k = 0; k < pith_size(n); k++) {
        most = fmax(most, fabs(expected[k]));
        worst = fmax(worst, fabs((double)got[k] - expected[k]));
    }
    free(got);
    if (!(worst <= TOLERANCE * most)) fail_msg("%s: %g away, of %g", what, worst, most);
}

/* ---- convolution ---- */

typedef struct {
    int B, H, W, C, O, kh, kw, stride, padding;
} sizes;

/* All three sums at once: y from x and w, dx and dw from dy and the other. */
static void loops(const sizes *s, int h_out, int w_out, const real *x, const real *w,
                  const real *dy, double *y, double *dx, double *dw)
{
    for (int b = 0; b < s->B; b++)
        for (int i = 0; i < h_out; i++)
            for (int j = 0; j < w_out; j++)
                for (int o = 0; o < s->O; o++)
                    for (int u = 0; u < s->kh; u++)
                        for (int v = 0; v < s->kw; v++) {
                            const int h = i * s->stride + u - s->padding,
                                      k = j * s->stride + v - s->padding;
                            if (h < 0 || h >= s->H || k < 0 || k >= s->W) continue;
                            const int to = ((b * h_out + i) * w_out + j) * s->O + o,
                                      at_x = ((b * s->H + h) * s->W + k) * s->C,
                                      at_w = ((o * s->kh + u) * s->kw + v) * s->C;
                            for (int c = 0; c < s->C; c++) {
                                y[to] += (double)x[at_x + c] * (double)w[at_w + c];
                                dx[at_x + c] += (double)dy[to] * (double)w[at_w + c];
                                dw[at_w + c] += (double)dy[to] * (double)x[at_x + c];
                            }
                        }
}

static void try_sizes(world *w, const sizes *s)
{
    char name[32];
    snprintf(name, sizeof name, "%p", (const void *)s);
    pith_scope(w->g, "%s", name);
    node *x = pith_input(w->g, "x", PITH_F32, s->B, s->H, s->W, s->C),
         *k = pith_input(w->g, "w", PITH_F32, s->O, s->kh, s->kw, s->C);
    node *y = pith_convolution(x, k, s->stride, s->padding), *d[2];
    assert_false(pith_poisoned(y));
    assert_int_equal(y->dim[1], (s->H + 2 * s->padding - s->kh) / s->stride + 1);
    node *dy = pith_input(w->g, "dy", PITH_F32, s->B, y->dim[1], y->dim[2], s->O);
    assert_true(pith_vjp(y, dy, 2, (node *[]){ x, k }, d));
    pith_unscope(w->g);
    pith_plan *p = pith_plan_new(w->g, 3, (node *[]){ y, d[0], d[1] }, NULL);
    real *data[] = { numbers(pith_size(x), 1), numbers(pith_size(k), 2), numbers(pith_size(y), 3) };
    double *expected[] = { calloc(pith_size(y), sizeof(double)),
                           calloc(pith_size(x), sizeof(double)),
                           calloc(pith_size(k), sizeof(double)) };
    pith_feed(p, x, data[0]);
    pith_feed(p, k, data[1]);
    pith_feed(p, dy, data[2]);
    assert_true(pith_run(p));
    loops(s, y->dim[1], y->dim[2], data[0], data[1], data[2], expected[0], expected[1],
          expected[2]);
    alike("y", expected[0], p, y);
    alike("dx", expected[1], p, d[0]);
    alike("dw", expected[2], p, d[1]);
    for (int i = 0; i < 3; i++) free(data[i]), free(expected[i]);
    pith_plan_free(p);
}

static void kernels_are_loops(void **state)
{
    static const sizes all[] = {
        { 2, 7, 5, 3, 4, 3, 3, 1, 1 },   { 2, 7, 5, 3, 4, 3, 3, 2, 1 },
        { 1, 7, 6, 2, 3, 3, 3, 1, 0 },   { 3, 8, 9, 2, 5, 3, 3, 2, 0 },
        { 2, 5, 3, 4, 2, 1, 1, 1, 0 },   { 2, 5, 4, 4, 2, 1, 1, 2, 0 },
        { 2, 5, 4, 4, 2, 1, 1, 2, 1 },   { 1, 6, 9, 1, 2, 3, 2, 3, 2 },
        { 1, 1, 1, 3, 2, 3, 3, 1, 1 },   { 1, 2, 1, 3, 2, 2, 1, 1, 2 },
        { 3, 33, 31, 3, 5, 3, 3, 1, 1 }, { 5, 32, 33, 4, 3, 3, 3, 2, 1 },
        { 9, 23, 22, 8, 6, 3, 3, 1, 1 }, { 17, 4, 4, 300, 7, 3, 3, 1, 1 },
        { 2, 65, 64, 2, 2, 4, 5, 4, 3 },
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) try_sizes(*state, &all[k]);
}

static void mistakes_are_told(void **state)
{
    static const struct {
        int x, kernel, channels, stride, padding;
        const char *said;
    } all[] = {
        { 4, 3, 2, 1, 1, "3 channels, the kernel has 2" },
        { 4, 3, 3, 0, 1, "stride 0 and padding 1, expected at least 1 and at least 0" },
        { 4, 3, 3, 1, -1, "stride 1 and padding -1" },
        { 4, 7, 3, 1, 1, "a kernel of 7 along axis 1 of 4, with 1 zeros on each side" },
        { 4, 1, 2, 1, 0, "3 channels, the kernel has 2" },
    };
    (void)state;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 0);
        node *x = pith_input(g, "x", PITH_F32, 2, all[k].x, all[k].x, 3),
             *w = pith_input(g, "w", PITH_F32, 5, all[k].kernel, all[k].kernel, all[k].channels);
        assert_true(pith_poisoned(pith_convolution(x, w, all[k].stride, all[k].padding)));
        said("test_convolution.c:");
        said("convolution: ");
        said(all[k].said);
        pith_graph_free(g);
        pith_store_free(s);
    }
}

/* 64 pictures' patches would be 9 times x. */
static void patches_are_never_all_in_memory(void **state)
{
    world *w = *state;
    node *x = pith_input(w->g, "x", PITH_F32, 64, 28, 28, 32),
         *k = pith_input(w->g, "w", PITH_F32, 32, 3, 3, 32), *d[2];
    node *y = pith_convolution(x, k, 1, 1);
    assert_true(pith_vjp(y, x, 2, (node *[]){ x, k }, d));
    node *each[] = { y, d[0], d[1] };
    for (int i = 0; i < 3; i++) {
        pith_plan *p = pith_plan_new(w->g, 1, &each[i], NULL);
        const size_t arena = pith_plan_statistics(p).arena, result = pith_bytes(each[i]);
        if (arena - result > pith_bytes(x)) fail_msg("%zu bytes of scratch", arena - result);
        pith_plan_free(p);
    }
}

/* ---- batch norm ---- */

/* Sums of squares about a mean that is `offset` large must not lose it. */
static void norm_is_loops(world *w, int rows, int columns, double offset)
{
    pith_scope(w->g, "%d", rows);
    node *x = pith_input(w->g, "x", PITH_F32, rows, columns),
         *gain = pith_input(w->g, "gain", PITH_F32, columns),
         *bias = pith_input(w->g, "bias", PITH_F32, columns),
         *dy = pith_input(w->g, "dy", PITH_F32, rows, columns);
    node *y = pith_batch_norm(x, gain, bias), *d[3];
    assert_true(pith_vjp(y, dy, 3, (node *[]){ x, gain, bias }, d));
    pith_unscope(w->g);
    node *out[] = { y, pith_result(y, 1), pith_result(y, 2), d[0], d[1], d[2] };
    pith_plan *p = pith_plan_new(w->g, 6, out, NULL);
    real *data[4];
    node *in[] = { x, gain, bias, dy };
    for (int k = 0; k < 4; k++) pith_feed(p, in[k], data[k] = numbers(pith_size(in[k]), 4 + k));
    for (size_t k = 0; k < pith_size(x); k++) data[0][k] += (real)offset;
    assert_true(pith_run(p));
    double *expected[6];
    for (int k = 0; k < 6; k++) expected[k] = calloc(pith_size(out[k]), sizeof(double));
    for (int i = 0; i < columns; i++) {
        double *mean = &expected[1][i], *variance = &expected[2][i], products = 0, sum = 0;
#define AT(data, r) ((double)(data)[(r) * columns + i])
        for (int r = 0; r < rows; r++) *mean += AT(data[0], r) / rows;
        for (int r = 0; r < rows; r++) *variance += pow(AT(data[0], r) - *mean, 2) / rows;
        const double std = sqrt(*variance + 1e-5), g = AT(data[1], 0);
        for (int r = 0; r < rows; r++) {
            const double h = (AT(data[0], r) - *mean) / std;
            expected[0][r * columns + i] = h * g + AT(data[2], 0);
            sum += AT(data[3], r);
            products += AT(data[3], r) * h;
        }
        for (int r = 0; r < rows; r++) {
            const double h = (AT(data[0], r) - *mean) / std;
            expected[3][r * columns + i] = g / std *
                                           (AT(data[3], r) - sum / rows - h * products / rows);
        }
        expected[4][i] = products;
        expected[5][i] = sum;
#undef AT
    }
    static const char *const what[] = { "y", "mean", "variance", "dx", "dgain", "dbias" };
    for (int k = 0; k < 6; k++) {
        /* in float, what lies at `offset` is itself only so exact */
        if (!offset || k == 1 || k == 2) alike(what[k], expected[k], p, out[k]);
        free(expected[k]);
    }
    for (int k = 0; k < 4; k++) free(data[k]);
    pith_plan_free(p);
}

static void batch_norm_is_loops(void **state)
{
    norm_is_loops(*state, 7, 3, 0);
    norm_is_loops(*state, 37, 5, 0);
    norm_is_loops(*state, 70, 1100, 0);
    norm_is_loops(*state, 50001, 3, 0);
    norm_is_loops(*state, 30000, 2, 100);
}

static void norms_of_other_sizes_are_told(void **state)
{
    world *w = *state;
    node *x = pith_input(w->g, "x", PITH_F32, 4, 3), *gain = pith_input(w->g, "g", PITH_F32, 2);
    assert_true(pith_poisoned(pith_batch_norm(x, gain, gain)));
    said("batch_norm: gain has 2 entries, a row has 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(kernels_are_loops),
        cmocka_unit_test(mistakes_are_told),
        WITH_WORLD(patches_are_never_all_in_memory),
        WITH_WORLD(batch_norm_is_loops),
        WITH_WORLD(norms_of_other_sizes_are_told),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
