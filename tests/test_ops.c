/* test_ops.c: every op, by its examples. Gradients against central differences on a random
 * cotangent, first and second order; a fused op against its lowering; the planned result against
 * unplanned; the float build against the double build. One tolerance for all ops: error = |a -
 * b| / max(1, largest |b|).
 *
 * The list of ops is read from the library's symbols (ops_list.h), so no op can be forgotten. */
#include "tests.h"
#include "ops_list.h"

#define MOST 32 /* samples of an example */

typedef struct {
    pith_store *store;
    pith_graph *g;
    node *y, *self; /* what the example returned, and the op itself */
    node *loss, *sample[MOST], *gradient[MOST], *loss2, *gradient2[MOST];
    int n;
} instance;

/* Sum over the results of their dot product with random cotangents. */
static node *project(pith_graph *g, node *const *list, int n)
{
    node *sum = NULL;
    for (int k = 0; k < n; k++) {
        if (list[k]->dtype != PITH_F32) continue;
        node *c = pith_reshape_dims(PITH_HERE, pith_sample(g, -1, 1, (int)pith_size(list[k])),
                                    list[k]->ndim, list[k]->dim);
        node *term = pith_dot(list[k], c);
        sum = sum ? pith_add(sum, term) : term;
    }
    return sum;
}

/* Every example twice: with a cotangent for the first result only, as models have it, and with one
 * for each, where rules of fused ops leave the gradient to the lowering. */
static bool begin(instance *t, const pith_op *op, int i)
{
    memset(t, 0, sizeof *t);
    t->store = pith_store_new();
    t->g = pith_graph_new(t->store, 7);
    pith_set_training(t->g, true);
    t->y = op->example(t->g, i / 2);
    if (!t->y) return false;
    assert_null(pith_graph_error(t->g));
    for (int id = 0; id < pith_graph_size(t->g); id++)
        if (pith_graph_node(t->g, id)->op == op) t->self = pith_graph_node(t->g, id);
    if (!t->self) fail_msg("an example of %s has no %s in it", op->name, op->name);
    node *result[8];
    const int results = pith_results_of(t->y->op);
    for (int k = 0; k < results; k++) result[k] = pith_result(t->y, k);
    for (int id = 0; id < pith_graph_size(t->g); id++) {
        node *n = pith_graph_node(t->g, id);
        if (strcmp(n->op->name, "input") == 0 && n->attr && n->dtype == PITH_F32)
            t->sample[t->n++] = n;
    }
    t->loss = project(t->g, result, i % 2 ? results : 1);
    if (!t->loss || op->no_grad) return true;
    assert_true(pith_grad(t->loss, t->n, t->sample, t->gradient));
    t->loss2 = project(t->g, t->gradient, t->n);
    if (t->loss2) assert_true(pith_grad(t->loss2, t->n, t->sample, t->gradient2));
    assert_null(pith_graph_error(t->g));
    return true;
}

static void end(instance *t)
{
    pith_graph_free(t->g);
    pith_store_free(t->store);
}

static void copy_value(const pith_plan *p, const node *n, double *to)
{
    const real *x = value_of(p, n);
    assert_non_null(x);
    for (size_t i = 0; i < pith_size(n); i++) to[i] = (double)x[i];
}

#ifdef PITH_DOUBLE
static real *data_of(const node *sample) { return (real *)(uintptr_t)pith_sample_data(sample); }

/* Does anything but the cotangents depend on this sample? They were made after the example. */
static bool varied(const instance *t, int k) { return t->sample[k]->id <= t->y->id; }

static double worst[2];

/* d loss / d sample by central differences against what the graph says. */
static void check_gradient(instance *t, node *loss, node *const *gradient, double tolerance,
                           double *most, const char *what)
{
    if (!t->n) return; /* nothing but constants */
    pith_plan *value = pith_plan_new(t->g, 1, &loss, NULL),
              *rule = pith_plan_new(t->g, t->n, gradient, NULL);
    assert_non_null(value);
    assert_non_null(rule);
    assert_true(pith_run(rule));
    double *exact[MOST];
    for (int k = 0; k < t->n; k++) {
        exact[k] = malloc(sizeof(double) * pith_size(t->sample[k]));
        copy_value(rule, gradient[k], exact[k]);
    }
    for (int k = 0; k < t->n; k++) {
        if (!varied(t, k)) continue;
        const size_t size = pith_size(t->sample[k]);
        real *x = data_of(t->sample[k]);
        double error = 0, largest = 1;
        for (size_t i = 0; i < size; i++) {
            const real old = x[i], h = 1e-5;
            double f[4];
            /* fourth order, so that the difference is not the error */
            static const real step[4] = { 1, -1, 2, -2 };
            for (int s = 0; s < 4; s++) {
                x[i] = old + step[s] * h * 16;
                assert_true(pith_run(value));
                f[s] = pith_scalar(value, loss);
            }
            x[i] = old;
            const double slope = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h * 16);
            error = fmax(error, fabs(slope - exact[k][i]));
            largest = fmax(largest, fabs(slope));
        }
        if (error / largest > *most) *most = error / largest;
        if (!(error / largest <= tolerance))
            fail_msg("%s: %s gradient of %s is off by %g (largest %g)", t->y->op->name, what,
                     t->sample[k]->name, error, largest);
    }
    for (int k = 0; k < t->n; k++) free(exact[k]);
    pith_plan_free(value);
    pith_plan_free(rule);
}

static void gradients(void **state)
{
    (void)state;
    for (const pith_op *const *op = every_op; *op; op++) {
        instance t;
        for (int i = 0; (*op)->example && begin(&t, *op, i); i++, end(&t)) {
            if (!t.loss || (*op)->no_grad) continue;
            check_gradient(&t, t.loss, t.gradient, 1e-7, &worst[0], "first");
            if (t.loss2) check_gradient(&t, t.loss2, t.gradient2, 1e-6, &worst[1], "second");
        }
        if ((*op)->example) end(&t);
    }
    print_message("worst error: first order %.1e, second order %.1e\n", worst[0], worst[1]);
}

static void lowerings(void **state)
{
    (void)state;
    double most = 0;
    for (const pith_op *const *op = every_op; *op; op++) {
        instance t;
        for (int i = 0; (*op)->lower && begin(&t, *op, i); i++, end(&t)) {
            node *out[8] = { NULL }, *both[16];
            const int n = pith_results_of(*op);
            (*op)->lower(t.self, out);
            for (int k = 0; k < n; k++) {
                assert_non_null(out[k]);
                assert_true(pith_same_shape(out[k], pith_result(t.self, k)));
                both[k] = out[k];
                both[n + k] = pith_result(t.self, k);
            }
            pith_plan *p = pith_plan_new(t.g, 2 * n, both, NULL);
            assert_non_null(p);
            assert_true(pith_run(p));
            for (int k = 0; k < n; k++) {
                const real *a = value_of(p, both[n + k]), *b = value_of(p, both[k]);
                double error = 0, largest = 1;
                for (size_t e = 0; e < pith_size(out[k]); e++) {
                    error = fmax(error, fabs(a[e] - b[e]));
                    largest = fmax(largest, fabs(b[e]));
                }
                most = fmax(most, error / largest);
                if (!(error / largest <= 1e-12))
                    fail_msg("%s: result %d differs from its lowering by %g", (*op)->name, k,
                             error);
            }
            pith_plan_free(p);
        }
        if ((*op)->lower) end(&t);
    }
    print_message("worst error of a fused op against its lowering: %.1e\n", most);
}
#endif

static void completeness(void **state)
{
    (void)state;
    int count = 0;
    for (const pith_op *const *op = every_op; *op; op++, count++) {
        const bool structural = (*op)->flags & (PITH_LEAF | PITH_PART | PITH_NO_VALUE) ||
                                strcmp((*op)->name, "assign") == 0;
        if (!(*op)->example && !structural) fail_msg("%s has no example", (*op)->name);
        if (!(*op)->grad && !(*op)->lower && !(*op)->no_grad)
            fail_msg("%s has no gradient and no reason for it", (*op)->name);
        if (!(*op)->cpu && !(*op)->pointwise && !structural && !((*op)->flags & PITH_ALIAS))
            fail_msg("%s has no kernel", (*op)->name);
    }
    print_message("%d ops\n", count);
}

/* Planned with everything on, and with everything off: the same bits. */
static void plans_agree(void **state)
{
    (void)state;
    for (const pith_op *const *op = every_op; *op; op++) {
        instance t;
        for (int i = 0; (*op)->example && begin(&t, *op, i); i++, end(&t)) {
            node *out[2 * MOST + 2];
            int n = 0;
            out[n++] = t.y;
            for (int k = 0; t.loss2 && k < t.n; k++)
                out[n++] = t.gradient[k], out[n++] = t.gradient2[k];
            pith_plan *planned = pith_plan_new(t.g, n, out, NULL);
            pith_plan *plain = pith_plan_new(t.g, n, out,
                                             &(pith_plan_options){ .unplanned = true });
            assert_non_null(planned);
            assert_non_null(plain);
            for (int k = 0; k < n; k++) {
                assert_true(pith_run(planned));
                void *copy = malloc(pith_bytes(out[k]));
                memcpy(copy, value_of(planned, out[k]), pith_bytes(out[k]));
                assert_true(pith_run(plain));
                if (memcmp(copy, value_of(plain, out[k]), pith_bytes(out[k])))
                    fail_msg("%s: unplanned gives other bits", (*op)->name);
                free(copy);
            }
            pith_plan_free(planned);
            pith_plan_free(plain);
        }
        if ((*op)->example) end(&t);
    }
}

/* The double build writes values and gradients of every example; the float build holds its own
 * against them. */
static void float_is_double(void **state)
{
    (void)state;
    const bool writing = sizeof(real) == 8;
    FILE *f = fopen("build/examples.bin", writing ? "wb" : "rb");
    if (!f) {
        print_message("skipped: build/examples.bin is written by the double build's run\n");
        skip();
    }
    double most = 0;
    for (const pith_op *const *op = every_op; *op; op++) {
        instance t;
        for (int i = 0; (*op)->example && begin(&t, *op, i); i++, end(&t)) {
            node *out[MOST + 8];
            int n = 0;
            for (int k = 0; k < pith_results_of(t.y->op); k++)
                if (pith_result(t.y, k)->dtype == PITH_F32) out[n++] = pith_result(t.y, k);
            for (int k = 0; t.loss && !(*op)->no_grad && k < t.n; k++) out[n++] = t.gradient[k];
            if (!n) continue; /* whole numbers alone */
            pith_plan *p = pith_plan_new(t.g, n, out, NULL);
            assert_non_null(p);
            assert_true(pith_run(p));
            for (int k = 0; k < n; k++) {
                const size_t size = pith_size(out[k]);
                double *mine = malloc(sizeof *mine * size), *theirs = malloc(sizeof *theirs * size);
                copy_value(p, out[k], mine);
                if (writing) assert_int_equal(fwrite(mine, sizeof *mine, size, f), size);
                else assert_int_equal(fread(theirs, sizeof *theirs, size, f), size);
                double error = 0, largest = 1;
                for (size_t e = 0; e < size && !writing; e++) {
                    error = fmax(error, fabs(mine[e] - theirs[e]));
                    largest = fmax(largest, fabs(theirs[e]));
                }
                most = fmax(most, error / largest);
                if (!(error / largest <= 1e-5))
                    fail_msg("%s: value or gradient %d: float is off by %g (largest %g)",
                             (*op)->name, k, error, largest);
                free(mine);
                free(theirs);
            }
            pith_plan_free(p);
        }
        if ((*op)->example) end(&t);
    }
    fclose(f);
    if (!writing) print_message("worst error of float against double: %.1e\n", most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(completeness),
#ifdef PITH_DOUBLE
        cmocka_unit_test(gradients),    cmocka_unit_test(lowerings),
#endif
        cmocka_unit_test(plans_agree),  cmocka_unit_test(float_is_double),
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
