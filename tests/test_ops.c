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
    t->store = new_store();
    t->g = pith_graph_new(t->store, 7);
    pith_set_training(t->g, true);
    t->y = op->example(t->g, i / 2);
    if (!t->y) return false;
    assert_null(pith_graph_error(t->g));
    t->self = the_op(t->g, op);
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
    const char *x = value_of(p, n);
    assert_non_null(x);
    for (size_t i = 0; i < pith_size(n); i++)
        to[i] = pith_dtype_read(n->dtype, x + i * pith_width(n->dtype));
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
        const bool structural = (*op)->flags & (PITH_LEAF | PITH_PART | PITH_NO_VALUE | PITH_WRITE);
        const bool cast = *op == &pith_op_narrow || *op == &pith_op_widen; /* test_bf16.c */
        if (!(*op)->example && !structural && !cast) fail_msg("%s has no example", (*op)->name);
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

/* ---- the float build against the double build ---- */

/* The double build writes values and gradients of every example; the float build holds its own
 * against them. The file is a header and then, for each value, an entry and its numbers. */
#define EXAMPLES "build/examples.bin"
#define MAKE_EXAMPLES "make V=double build/double/test_ops && build/double/test_ops"
enum { EXAMPLES_VERSION = 2 };
typedef struct {
    char magic[8], build[16];
    int32_t version, entries; /* entries: 0 while the file is being written */
} examples_header;
typedef struct {
    char op[48];
    int32_t example, value;
    uint64_t size;
} examples_entry;

static examples_header header_of(int entries)
{
    return (examples_header){ "pith-ex", "double", EXAMPLES_VERSION, entries };
}

/* NULL after a message where there is no file; fails where it is of another kind. */
static FILE *open_examples(bool writing, int *entries)
{
    examples_header expected = header_of(0), found = { .version = 0 };
    FILE *f = fopen(EXAMPLES, writing ? "wb" : "rb");
    if (!f) {
        print_message("skipped: " EXAMPLES " %s\n",
                      writing ? "cannot be written: there is no folder build here"
                              : "is missing; to make it: " MAKE_EXAMPLES);
        return NULL;
    }
    if (writing) {
        assert_int_equal(fwrite(&expected, sizeof expected, 1, f), 1);
        return f;
    }
    if (fread(&found, sizeof found, 1, f) != 1 || memcmp(found.magic, expected.magic, 8))
        fail_msg(EXAMPLES " does not begin as a file of examples; to make it: " MAKE_EXAMPLES);
    if (found.version != EXAMPLES_VERSION)
        fail_msg(EXAMPLES " has version %d, expected %d; to make it: " MAKE_EXAMPLES, found.version,
                 EXAMPLES_VERSION);
    if (memcmp(found.build, expected.build, sizeof found.build))
        fail_msg(EXAMPLES " is by the build \"%.16s\", expected \"%s\"; to make it: " MAKE_EXAMPLES,
                 found.build, expected.build);
    if (found.entries < 1)
        fail_msg(EXAMPLES " was not written to its end; to make it: " MAKE_EXAMPLES);
    *entries = found.entries;
    return f;
}

/* Writes the numbers of an entry, or reads those that the double build wrote. */
static void pass_entry(FILE *f, bool writing, const pith_op *op, int example, int value,
                       double *numbers, size_t size)
{
    examples_entry entry, found = { .size = 0 };
    memset(&entry, 0, sizeof entry);
    snprintf(entry.op, sizeof entry.op, "%s", op->name);
    entry.example = example, entry.value = value, entry.size = size;
    if (writing) {
        assert_int_equal(fwrite(&entry, sizeof entry, 1, f), 1);
        assert_int_equal(fwrite(numbers, sizeof *numbers, size, f), size);
        return;
    }
    if (fread(&found, sizeof found, 1, f) != 1 || memcmp(&entry, &found, sizeof entry))
        fail_msg(EXAMPLES " has value %d of example %d of %.48s (%llu numbers), expected value %d "
                          "of example %d of %s (%zu numbers); to make it: " MAKE_EXAMPLES,
                 found.value, found.example, found.op, (unsigned long long)found.size, value,
                 example, op->name, size);
    if (fread(numbers, sizeof *numbers, size, f) != size)
        fail_msg(EXAMPLES " ends too early; to make it: " MAKE_EXAMPLES);
}

/* Passes values and gradients of one instance; returns how many. The float build's are within 1e-5
 * of the largest number, or of `least`. */
static int pass_instance(FILE *f, bool writing, instance *t, const pith_op *op, int example,
                         double least, double *most)
{
    node *out[MOST + 8];
    int n = 0;
    for (int k = 0; k < pith_results_of(t->y->op); k++) out[n++] = pith_result(t->y, k);
    for (int k = 0; t->loss && !op->no_grad && k < t->n; k++) out[n++] = t->gradient[k];
    pith_plan *p = pith_plan_new(t->g, n, out, &(pith_plan_options){ .unplanned = !t->loss });
    assert_non_null(p);
    assert_true(pith_run(p));
    for (int k = 0; k < n; k++) {
        const size_t size = pith_size(out[k]);
        double *mine = malloc(sizeof *mine * size), *theirs = malloc(sizeof *theirs * size);
        copy_value(p, out[k], mine);
        pass_entry(f, writing, op, example, k, writing ? mine : theirs, size);
        double error = 0, largest = least;
        for (size_t e = 0; e < size && !writing; e++) {
            error = fmax(error, fabs(mine[e] - theirs[e]));
            largest = fmax(largest, fabs(theirs[e]));
        }
        *most = fmax(*most, error / largest);
        if (!(error / largest <= 1e-5))
            fail_msg("%s: value or gradient %d: float is off by %g (largest %g)", op->name, k,
                     error, largest);
        free(mine);
        free(theirs);
    }
    pith_plan_free(p);
    return n;
}

/* The same of odd_sizes.def, of which no plan is made, so that no chain of samples is compiled. */
static int pass_odd_sizes(FILE *f, bool writing, double *most)
{
    static const int widths[] = { 1, 31, 33, 257, 1000 };
    int entries = 0, line = 1000;
#define ODD(op_name, ...)                                                                          \
    for (int k = 0; k < 5; k++, line++) {                                                          \
        const int w = widths[k];                                                                   \
        (void)w;                                                                                   \
        instance t = { .store = new_store() };                                                     \
        pith_graph *const g = t.g = pith_graph_new(t.store, 7);                                    \
        pith_set_training(g, true);                                                                \
        if (!(__VA_ARGS__)) fail_msg("%s", pith_error());                                          \
        t.y = t.self = the_op(g, &pith_op_##op_name);                                              \
        entries += pass_instance(f, writing, &t, t.self->op, line, 1e-30, most);                   \
        end(&t);                                                                                   \
    }
#include "odd_sizes.def"
    return entries;
}

static void float_is_double(void **state)
{
    (void)state;
    const bool writing = sizeof(real) == 8;
    int expected = 0, entries = 0;
    double most = 0;
    FILE *f = open_examples(writing, &expected);
    if (!f) skip();
    for (const pith_op *const *op = every_op; *op; op++) {
        instance t;
        for (int i = 0; (*op)->example && begin(&t, *op, i); i++, end(&t))
            entries += pass_instance(f, writing, &t, *op, i, 1, &most);
        if ((*op)->example) end(&t);
    }
    entries += pass_odd_sizes(f, writing, &most);
    if (writing) {
        const examples_header header = header_of(entries);
        rewind(f);
        assert_int_equal(fwrite(&header, sizeof header, 1, f), 1);
    } else if (entries != expected)
        fail_msg(EXAMPLES " has %d entries, expected %d; to make it: " MAKE_EXAMPLES, expected,
                 entries);
    assert_int_equal(fclose(f), 0);
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
