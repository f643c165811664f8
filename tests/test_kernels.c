/* test_kernels.c: every kernel of cuda/ alone beside the CPU's, on a GPU or on the emulated device:
 * on each example of its op, and on the odd sizes of odd_sizes.def; on the emulated one with
 * threads in several orders, every access watched.
 *
 * COUNT=FILE, on the emulated one: also on real_sizes.def, and what launches ask of memory goes to
 * FILE, a line each: op, sizes, bytes of inputs and results, flops of products, where the kernel
 * begins in the program, blocks, threads of each, dynamic shared memory, bytes read and written, in
 * sectors, and the same with each sector once. bench/kernels.sh makes a table of them. */
#include "tests.h"
#ifndef PITH_WITH_CUDA
int main(void)
{
    puts("skipped: built without CUDA");
    return 0;
}
#else
#include "device_memory.h"
#include "kernel_ops.h"
#include "ops/functions.h"

/* An op by itself: its inputs and results as the CPU has them. */
typedef struct {
    pith_store *store;
    pith_graph *g;
    node *self;
    pith_plan *plan;
    bool rounded, narrow; /* the kernel gets bf16, and gives it */
} instance;

/* Forms of a kernel: of f32, of bf16, and where it knows that, too, f32 of bf16. */
enum { FORMS = 3 };
static const char *const form_name[FORMS] = { "", " of bf16", " of bf16 to f32" };
static int forms_of(const pith_op *op)
{
    return op->cuda_bf16 && device_takes_bf16() ? 1 + (int)op->cuda_bf16 : 1;
}

/* A norm of channels is not rounded by a plan unless what it is given is: then it must have been
 * given rounded numbers, as its kernel is. */
static void round_samples(const node *n)
{
    for (int k = 0; k < n->n_in; k++) {
        real *x = (real *)(uintptr_t)pith_sample_data(n->in[k]);
        if (!(n->op->bf16.in >> k & 1) || n->in[k]->op != &pith_op_input) continue;
        for (size_t i = 0; i < pith_size(n->in[k]); i++) x[i] = bf16_number(bf16_of(x[i]));
    }
}

static bool finish(instance *t, const pith_op *op, node *y)
{
    if (!y) return false;
    if (pith_graph_error(t->g)) fail_msg("%s", pith_graph_error(t->g));
    t->self = the_op(t->g, op);
    if (t->rounded) round_samples(t->self);
    node *results[PITH_MOST_RESULTS];
    const int count = pith_results_of(op);
    for (int k = 0; k < count; k++) results[k] = pith_result(t->self, k);
    t->plan = pith_plan_new(t->g, count, results,
                            &(pith_plan_options){ .unplanned = true, .bf16 = t->rounded });
    if (!t->plan || !pith_run(t->plan)) fail_msg("%s", pith_error());
    return true;
}

static void begin(instance *t, int form)
{
    *t = (instance){ .store = pith_store_new(), .rounded = form > 0, .narrow = form == 1 };
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
    char *p = (char *)device_get(before + bytes) + before;
    if (host) device_write(p, host, bytes);
    return p;
}

static void *to_device(const void *host, size_t bytes) { return put_behind(0, host, bytes); }

/* Ops whose inputs may begin at any element. Of products the node says where they do. */
static bool may_lie_anywhere(const pith_op *op)
{
    return op != &pith_op_matmul && op != &pith_op_linear;
}

/* n as a plan in bf16 has it, and what is rounded of its inputs. */
typedef struct {
    node n[PITH_MOST_RESULTS], in[64], *inputs[64];
    pith_graph graph;
    node *nodes[PITH_MOST_RESULTS];
} rounded_node;

/* Its values are those that the CPU makes of rounded numbers, but that they are rounded, too. */
static const node *round_node(const node *n, bool narrow, rounded_node *r)
{
    for (int k = 0; k < n->n_in; k++) {
        r->in[k] = *n->in[k];
        r->inputs[k] = &r->in[k];
        if ((n->op->bf16.in | (narrow ? n->op->bf16.as_out : 0)) >> k & 1)
            r->in[k].dtype = PITH_BF16;
    }
    for (int k = 0; k < pith_results_of(n->op); k++) {
        r->n[k] = *n->graph->nodes[n->id + k];
        r->n[k].id = k;
        r->n[k].graph = &r->graph;
        r->nodes[k] = &r->n[k];
        if (narrow && n->op->bf16.out >> k & 1) r->n[k].dtype = PITH_BF16;
    }
    r->n->in = r->inputs;
    r->graph.nodes = r->nodes;
    return r->n;
}

/* In place, to half of the room. */
static void *round_numbers(float *x, size_t size)
{
    for (size_t i = 0; i < size; i++) ((uint16_t *)(void *)x)[i] = bf16_of(x[i]);
    return x;
}

static FILE *counts; /* NULL: nothing is counted */

#ifdef PITH_EMULATED
static void write_counts(const node *n, const char *what)
{
    extern const char __executable_start;
    const emulator_traffic *list;
    const int count = emulator_counted(&list), results = pith_results_of(n->op);
    size_t least = 0;
    char sizes[512] = "", shape[96];
    for (int k = 0; k < n->n_in; k++) {
        const size_t used = strlen(sizes);
        least += pith_bytes(n->in[k]);
        snprintf(sizes + used, sizeof sizes - used, "%s%s %s", k ? ", " : "",
                 pith_dtype_name(n->in[k]->dtype), pith_shape_text(n->in[k], shape));
    }
    for (int k = 0; k < results; k++) least += pith_bytes(n->graph->nodes[n->id + k]);
    if (n->op->moved) least = n->op->moved(n);
    for (const emulator_traffic *t = list; t < list + count; t++)
        fprintf(counts, "%s\t%s\t%s\t%zu\t%.0f\t%tx\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\n",
                n->op->name, what, sizes, least, n->op->flops ? n->op->flops(n) : 0,
                (const char *)t->kernel - &__executable_start, t->blocks, t->threads, t->shared,
                t->read, t->written, t->read_once, t->written_once);
}

static void begin_count(void)
{
    if (counts) emulator_count(true);
}

static void end_count(const node *n, const char *what)
{
    if (!counts) return;
    emulator_count(false);
    write_counts(n, what);
}
#else
static void begin_count(void) {}
static void end_count(const node *n, const char *what) { (void)n, (void)what; }
#endif

/* Runs the op's kernels. */
static void launch(const pith_call *call, const char *what)
{
    begin_count();
    if (!call->n->op->cuda(call)) fail_msg("%s", pith_error());
    if (!device_wait()) fail_msg("%s %s: %s", call->n->op->name, what, device_error());
    end_count(call->n, what);
}

/* How far results may be from the CPU's, of the largest. Uniforms and what is dropped are the CPU's
 * to the bit; normals, of a few elementary functions, are nearer than sums. */
static double most_error(const pith_op *op, pith_dtype dtype)
{
    if (!pith_is_floating(dtype) || op == &pith_op_uniform || op == &pith_op_dropout) return 0;
    return dtype == PITH_BF16 ? 0x1p-7 : op == &pith_op_normal ? 1e-6 : 1e-5;
}

/* What the op's kernel makes of the CPU's inputs, which lie `before` elements behind the beginning
 * of their buffers, beside what the CPU makes of them. */
static double compare(const instance *t, size_t before, const char *what)
{
    rounded_node r;
    const node *n = t->rounded ? round_node(t->self, t->narrow, &r) : t->self;
    const void *in[64];
    void *out[8];
    const int results = pith_results_of(n->op);
    assert_true(n->n_in <= 64);
    for (int k = 0; k < n->n_in; k++) {
        void *numbers = value_of(t->plan, t->self->in[k]);
        if (n->in[k]->dtype == PITH_BF16) round_numbers(numbers, pith_size(n->in[k]));
        in[k] = put_behind(before * pith_width(n->in[k]->dtype), numbers, pith_bytes(n->in[k]));
    }
    for (int k = 0; k < results; k++)
        out[k] = to_device(NULL, pith_bytes(n->graph->nodes[n->id + k]));
    const size_t scratch = n->op->cuda_scratch ? n->op->cuda_scratch(n) : 0;
    const pith_call call = { .n = n,
                             .in = in,
                             .out = out,
                             .scratch = scratch ? to_device(NULL, scratch) : NULL,
                             .stream = device_stream() };
    double worst = 0;
    launch(&call, what);
    for (int k = 0; k < results; k++) {
        const node *y = n->graph->nodes[n->id + k], *f32 = pith_result(t->self, k);
        const char *right = value_of(t->plan, f32);
        char *made = malloc(pith_bytes(y));
        device_read(made, out[k], pith_bytes(y));
        double largest = 0, error = 0;
        for (size_t i = 0; i < pith_size(y); i++) {
            const double a = pith_dtype_read(y->dtype, made + i * pith_width(y->dtype)),
                         b = pith_dtype_read(f32->dtype, right + i * pith_width(f32->dtype));
            largest = fmax(largest, fabs(b));
            error = isnan(a) != isnan(b) ? INFINITY : fmax(error, a == b ? 0 : fabs(a - b));
        }
        free(made);
        if (!(error <= most_error(n->op, y->dtype) * fmax(largest, 1e-30)))
            fail_msg("%s %s: result %d is off by %g, the largest is %g", n->op->name, what, k,
                     error, largest);
        worst = fmax(worst, largest ? error / largest : 0);
    }
    device_free_all();
    return worst;
}

static double in_all_orders(const instance *t, const char *what)
{
    double worst = 0;
    for (int order = 0; order < ORDERS; order++) {
        device_order(order);
        worst = fmax(worst, compare(t, 0, what));
    }
    return worst;
}

static void examples(void **state)
{
    (void)state;
    int count = 0;
    for (const pith_op *const *op = every_op; *op; op++) {
        if (!is_wanted(*op) || !(*op)->example) continue;
        for (int form = 0; form < forms_of(*op); form++) {
            double worst = 0;
            char what[64];
            for (int i = 0;; i++) {
                instance t;
                begin(&t, form);
                const bool there = finish(&t, *op, (*op)->example(t.g, i));
                snprintf(what, sizeof what, "example %d%s", i, form_name[form]);
                if (there) worst = fmax(worst, in_all_orders(&t, what));
                end(&t);
                if (!there) break;
            }
            print_message("%-24s %.1e%s\n", (*op)->name, worst, form_name[form]);
        }
        count++;
    }
    print_message("%d ops\n", count);
}

/* ODD(op, what makes a node of it in graph g, which may use the width w) */
static void odd_sizes(void **state)
{
    (void)state;
    static const int widths[] = { 1, 31, 33, 257, 1000 };
    enum { WIDTHS = 5 };
#define ODD(op_name, ...)                                                                          \
    if (is_wanted(&pith_op_##op_name)) {                                                           \
        double worst = 0;                                                                          \
        for (int i = 0; i < WIDTHS * forms_of(&pith_op_##op_name); i++) {                          \
            const int w = widths[i % WIDTHS], form = i / WIDTHS;                                   \
            instance t;                                                                            \
            char what[64];                                                                         \
            begin(&t, form);                                                                       \
            pith_graph *const g = t.g;                                                             \
            snprintf(what, sizeof what, "of width %d%s", w, form_name[form]);                      \
            assert_true(finish(&t, &pith_op_##op_name, __VA_ARGS__));                              \
            const size_t before = WIDTHS > 1 && i % 2 && may_lie_anywhere(&pith_op_##op_name);     \
            worst = fmax(worst, compare(&t, before, what));                                        \
            end(&t);                                                                               \
        }                                                                                          \
        print_message("%-24s %.1e\n", #op_name, worst);                                            \
    }
#include "odd_sizes.def"
}

static node *pointwise_input(pith_graph *g, pith_dtype dtype)
{
    if (dtype == PITH_I32) return pith_sample_ids(g, 100, 197, 768);
    node *x = pith_sample(g, 0.5, 2, 197, 768);
    return dtype == PITH_U8 ? pith_cast(x, PITH_U8) : x;
}

/* The op of an example on inputs as large as tokens of a picture; false where there is none. */
static bool pointwise(const pith_op *op, int i)
{
    instance t;
    begin(&t, 0);
    const node *small = op->example(t.g, i) ? the_op(t.g, op) : NULL;
    node *in[3];
    for (int k = 0; small && k < small->n_in; k++)
        in[k] = pointwise_input(t.g, small->in[k]->dtype);
    if (small) {
        finish(&t, op, pith_make(PITH_HERE, op, t.g, small->n_in, in, small->attr));
        compare(&t, 0, "of width 768");
    }
    end(&t);
    return small != NULL;
}

static void real_sizes(void **state)
{
    (void)state;
    if (!counts) return;
    static const int widths[] = { 768 };
    enum { WIDTHS = 1 };
#include "real_sizes.def"
    for (const pith_op *const *op = every_op; *op; op++) /* expand's sizes are attributes */
        if (is_wanted(*op) && (*op)->pointwise && (*op)->example && *op != &pith_op_expand)
            for (int i = 0; pointwise(*op, i);) i++;
}

/* Rows of a table that is changed where it lies: numbers outside, and several of one row; with
 * `may` 0 nothing is written, 1 or -1, no such input, all is. */
static void written_rows(int w, int may, int count)
{
    instance t;
    begin(&t, 0);
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
                             .scratch = to_device(NULL, write->op->cuda_scratch(write)),
                             .stream = device_stream() };
    char what[32];
    snprintf(what, sizeof what, "of width %d", w);
    launch(&call, what);
    device_read(made, lies, bytes);
    assert_memory_equal(made, stored(t.store, "table"), bytes);
    free(made);
    device_free_all();
    pith_plan_free(p);
    end(&t);
}

static void writes(void **state)
{
    (void)state;
    if (!is_wanted(&pith_op_write_rows)) return;
    for (int order = 0; order < ORDERS; order++)
        for (int may = -1; may < 2; may++) {
            device_order(order);
            written_rows(1, may, may < 0 ? 2100 : 3);
            written_rows(33, may, 1);
            written_rows(36, may, 700);
            written_rows(1000, may, 70);
        }
    if (counts) written_rows(768, 1, 256);
    device_order(0);
}

int main(void)
{
    const char *missing = device_missing();
    if (missing) return printf("skipped: %s\n", missing), 0;
    const struct CMUnitTest tests[] = { cmocka_unit_test(examples), cmocka_unit_test(odd_sizes),
                                        cmocka_unit_test(every_op_has_odd_sizes),
                                        cmocka_unit_test(real_sizes), cmocka_unit_test(writes) };
#ifdef PITH_EMULATED
    const char *file = getenv("COUNT");
    if (!any_is_wanted()) return 1;
    if (file && !(counts = fopen(file, "w"))) return perror(file), 1;
#endif
    const int failed = cmocka_run_group_tests(tests, quiet, NULL);
    if (counts && fclose(counts)) return perror("what was counted"), 1;
    return failed;
}
#endif
