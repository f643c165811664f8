/* test_kernels.c: every kernel of cuda/ alone, on the emulated device, beside the CPU's: on each
 * example of its op, and on the odd sizes of odd_sizes.def; threads in several orders, every access
 * watched. */
#include "tests.h"
#ifndef PITH_EMULATED
int main(void)
{
    puts("skipped: built without CUDA");
    return 0;
}
#else
#include "emulator/control.h"
#include "ops_list.h"

/* An op by itself: its inputs and results as the CPU has them. */
typedef struct {
    pith_store *store;
    pith_graph *g;
    node *self;
    pith_plan *plan;
} instance;

static bool finish(instance *t, const pith_op *op, node *y)
{
    if (!y) return false;
    if (pith_graph_error(t->g)) fail_msg("%s", pith_graph_error(t->g));
    t->self = the_op(t->g, op);
    node *results[PITH_MOST_RESULTS];
    const int count = pith_results_of(op);
    for (int k = 0; k < count; k++) results[k] = pith_result(t->self, k);
    t->plan = pith_plan_new(t->g, count, results, &(pith_plan_options){ .unplanned = true });
    if (!t->plan || !pith_run(t->plan)) fail_msg("%s", pith_error());
    return true;
}

static void begin(instance *t)
{
    *t = (instance){ .store = pith_store_new() };
    t->g = pith_graph_new(t->store, 7);
    pith_set_training(t->g, true);
}

static void end(instance *t)
{
    pith_plan_free(t->plan);
    pith_graph_free(t->g);
    pith_store_free(t->store);
}

/* So many bytes behind the beginning of a buffer, as a slice may lie. */
static void *put_behind(size_t before, const void *host, size_t bytes)
{
    char *p = (char *)emulator_get(before + bytes) + before;
    if (host) emulator_write(p, host, bytes);
    return p;
}

static void *to_device(const void *host, size_t bytes) { return put_behind(0, host, bytes); }

/* Ops whose inputs may begin at any element. Of products the node says where they do. */
static bool may_lie_anywhere(const pith_op *op)
{
    return op != &pith_op_matmul && op != &pith_op_linear;
}

/* What the op's kernel makes of the CPU's inputs, which lie `before` elements behind the beginning
 * of their buffers, beside what the CPU makes of them. */
static double compare(const instance *t, size_t before, const char *what)
{
    const node *n = t->self;
    const void *in[64];
    void *out[8];
    const int results = pith_results_of(n->op);
    assert_true(n->n_in <= 64);
    for (int k = 0; k < n->n_in; k++)
        in[k] = put_behind(before * pith_width(n->in[k]->dtype), value_of(t->plan, n->in[k]),
                           pith_bytes(n->in[k]));
    for (int k = 0; k < results; k++) out[k] = to_device(NULL, pith_bytes(pith_result(t->self, k)));
    const size_t scratch = n->op->cuda_scratch ? n->op->cuda_scratch(n) : 0;
    const pith_call call = {
        .n = n, .in = in, .out = out, .scratch = scratch ? to_device(NULL, scratch) : NULL
    };
    double worst = 0;
    if (!n->op->cuda(&call)) fail_msg("%s", pith_error());
    if (!emulator_wait()) fail_msg("%s %s: %s", n->op->name, what, emulator_error());
    for (int k = 0; k < results; k++) {
        const node *y = pith_result(t->self, k);
        const char *right = value_of(t->plan, y);
        char *made = malloc(pith_bytes(y));
        emulator_read(made, out[k], pith_bytes(y));
        double largest = 0, error = 0;
        for (size_t i = 0; i < pith_size(y); i++) {
            const double a = pith_dtype_read(y->dtype, made + i * pith_width(y->dtype)),
                         b = pith_dtype_read(y->dtype, right + i * pith_width(y->dtype));
            largest = fmax(largest, fabs(b));
            error = isnan(a) != isnan(b) ? INFINITY : fmax(error, a == b ? 0 : fabs(a - b));
        }
        free(made);
        if (y->dtype == PITH_F32 ? !(error <= 1e-5 * fmax(largest, 1e-30)) : error != 0)
            fail_msg("%s %s: result %d is off by %g, the largest is %g", n->op->name, what, k,
                     error, largest);
        worst = fmax(worst, largest ? error / largest : 0);
    }
    emulator_free_all();
    return worst;
}

static double in_all_orders(const instance *t, const char *what)
{
    double worst = 0;
    for (int order = 0; order < 4; order++) {
        emulator_order = order;
        worst = fmax(worst, compare(t, 0, what));
    }
    return worst;
}

static bool is_wanted(const pith_op *op)
{
    const char *only = getenv("OP");
    return op->cuda && (!only || strcmp(only, op->name) == 0);
}

static void examples(void **state)
{
    (void)state;
    int count = 0;
    for (const pith_op *const *op = every_op; *op; op++) {
        if (!is_wanted(*op) || !(*op)->example) continue;
        double worst = 0;
        char what[32];
        for (int i = 0;; i++) {
            instance t;
            begin(&t);
            const bool there = finish(&t, *op, (*op)->example(t.g, i));
            snprintf(what, sizeof what, "example %d", i);
            if (there) worst = fmax(worst, in_all_orders(&t, what));
            end(&t);
            if (!there) break;
        }
        print_message("%-24s %.1e\n", (*op)->name, worst);
        count++;
    }
    print_message("%d ops\n", count);
}

/* ODD(op, what makes a node of it in graph g, which may use the width w) */
static void odd_sizes(void **state)
{
    (void)state;
    static const int widths[] = { 1, 31, 33, 257, 1000 };
#define ODD(op_name, ...)                                                                          \
    if (is_wanted(&pith_op_##op_name)) {                                                           \
        double worst = 0;                                                                          \
        for (int i = 0; i < 5; i++) {                                                              \
            const int w = widths[i];                                                               \
            instance t;                                                                            \
            char what[32];                                                                         \
            begin(&t);                                                                             \
            pith_graph *const g = t.g;                                                             \
            snprintf(what, sizeof what, "of width %d", w);                                         \
            assert_true(finish(&t, &pith_op_##op_name, __VA_ARGS__));                              \
            const size_t before = i % 2 && may_lie_anywhere(&pith_op_##op_name);                   \
            worst = fmax(worst, compare(&t, before, what));                                        \
            end(&t);                                                                               \
        }                                                                                          \
        print_message("%-24s %.1e\n", #op_name, worst);                                            \
    }
#include "odd_sizes.def"
}

/* Rows of a table that is changed where it lies: numbers outside, and several of one row; with
 * `may` 0 nothing is written, 1 or -1, no such input, all is. */
static void written_rows(int w, int may, int count)
{
    instance t;
    begin(&t);
    node *table = pith_state(t.g, "table", PITH_F32, PITH_NORMAL, 1, 300, w),
         *ids = pith_sample_ids(t.g, w == 36 ? 300 : 310, count),
         *rows = pith_sample(t.g, -3, 3, count, w), *ok = may < 0 ? NULL : pith_const(t.g, may);
    node *write = pith_write_rows(table, ids, rows, ok);
    pith_plan *p = pith_plan_new(t.g, 1, &write, &(pith_plan_options){ .unplanned = true });
    if (!p) fail_msg("%s", pith_error());
    const size_t bytes = pith_bytes(table);
    void *lies = to_device(stored(t.store, "table"), bytes), *made = malloc(bytes);
    if (!pith_run(p)) fail_msg("%s", pith_error());
    const void *in[4] = { lies, to_device(pith_sample_data(ids), pith_bytes(ids)),
                          to_device(pith_sample_data(rows), pith_bytes(rows)),
                          ok ? to_device(&(float){ (float)may }, 4) : NULL };
    const pith_call call = { .n = write,
                             .in = in,
                             .out = &lies,
                             .scratch = to_device(NULL, write->op->cuda_scratch(write)) };
    if (!write->op->cuda(&call)) fail_msg("%s", pith_error());
    if (!emulator_wait()) fail_msg("write_rows: %s", emulator_error());
    emulator_read(made, lies, bytes);
    assert_memory_equal(made, stored(t.store, "table"), bytes);
    free(made);
    emulator_free_all();
    pith_plan_free(p);
    end(&t);
}

static void writes(void **state)
{
    (void)state;
    if (!is_wanted(&pith_op_write_rows)) return;
    for (emulator_order = 0; emulator_order < 4; emulator_order++)
        for (int may = -1; may < 2; may++) {
            written_rows(1, may, may < 0 ? 2100 : 3);
            written_rows(33, may, 1);
            written_rows(36, may, 700);
            written_rows(1000, may, 70);
        }
    emulator_order = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(examples), cmocka_unit_test(odd_sizes),
                                        cmocka_unit_test(writes) };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
#endif
