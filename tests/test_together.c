/* test_together.c: chains that one launch starts: equal ones that do not disturb each other, and
 * none that do. On the CPU there are no launches. */
#include "tests.h"
#include "train/optim.h"
#ifdef PITH_EMULATED
#include "emulator/control.h"
#else
static int emulator_order;
static long emulator_calls(const char *function) { return (void)function, 0; }
#endif

enum { TENSORS = 8, LARGEST = 70000 };
static const int size[TENSORS] = { 1, 7, 255, 256, 257, 1, 2000, LARGEST };

/* AdamW of many params: what the optimizer makes of them, and how many launches a run has. */
static void optimizer(pith_store *store, float (*result)[LARGEST], long *launches)
{
    static float gradient[LARGEST];
    pith_graph *g = pith_graph_new(store, 1);
    pith_node *params[TENSORS], *gradients[TENSORS];
    for (int k = 0; k < LARGEST; k++) gradient[k] = (float)(k % 17) - 8;
    for (int k = 0; k < TENSORS; k++) {
        char name[] = { (char)('a' + k), 0 };
        params[k] = pith_param(g, name, PITH_NORMAL, 1, size[k]);
        gradients[k] = pith_input(g, name, PITH_F32, size[k]);
    }
    pith_node *all = pith_adamw(TENSORS, params, gradients, pith_const(g, 1e-2),
                                (pith_adamw_options){ 0.9, 0.98, 1e-6, 0.1 }, NULL);
    pith_plan *p = pith_plan_new(g, 1, &all, NULL);
    if (!p) fail_msg("%s", pith_error());
    for (int k = 0; k < TENSORS; k++) pith_feed(p, gradients[k], gradient);
    for (int run = 0; run < 3; run++) {
        const long before = emulator_calls("launch");
        if (!pith_run(p)) fail_msg("%s", pith_error());
        assert_true(pith_tensor_read(pith_tensor_of(params[0]), result[0]));
        *launches = emulator_calls("launch") - before;
    }
    for (int k = 0; k < TENSORS; k++)
        assert_true(pith_tensor_read(pith_tensor_of(params[k]), result[k]));
    pith_plan_free(p);
    pith_graph_free(g);
}

static void many_tensors(void **unused)
{
    (void)unused;
    if (!on_device()) skip();
    static float there[TENSORS][LARGEST], here[TENSORS][LARGEST];
    pith_store *device = new_store(), *cpu = pith_store_new();
    long launches, none;
    optimizer(device, there, &launches);
    optimizer(cpu, here, &none);
    for (int k = 0; k < TENSORS; k++)
        for (int i = 0; i < size[k]; i++)
            if (!(fabsf(there[k][i] - here[k][i]) <= 1e-5f))
                fail_msg("element %d of tensor %d is %.8g, on the CPU %.8g", i, k,
                         (double)there[k][i], (double)here[k][i]);
    print_message("%ld launches for %d tensors\n", launches, TENSORS);
    assert_true(launches <= TENSORS / 2);
    pith_store_free(device);
    pith_store_free(cpu);
}

/* The same kernel all over: of what another one made, of what another one then writes over. */
static void order(void **unused)
{
    (void)unused;
    if (!on_device()) skip();
    enum { N = 600, PART = 300 };
    float x[N], y[N], read[N];
    for (int k = 0; k < N; k++) x[k] = (float)(k % 7) / 8, y[k] = -x[k];
    for (emulator_order = 0; emulator_order < 3; emulator_order++) {
        pith_store *store = new_store();
        pith_graph *g = pith_graph_new(store, 1);
        pith_node *in = pith_input(g, "x", PITH_F32, N), *next = pith_input(g, "y", PITH_F32, N);
        pith_node *state = pith_state(g, "state", PITH_F32, PITH_CONSTANT, 0.5, N);
        pith_node *once = pith_exp(in), *twice = pith_exp(pith_slice(once, 0, PART, N));
        pith_node *before = pith_exp(state), *write = pith_assign(state, pith_exp(next));
        pith_node *out[] = { once, twice, before, write };
        pith_plan *p = pith_plan_new(g, 4, out, NULL);
        if (!p) fail_msg("%s", pith_error());
        pith_feed(p, in, x);
        pith_feed(p, next, y);
        for (int run = 0; run < 3; run++) {
            if (!pith_run(p) || !pith_value(p, once, read)) fail_msg("%s", pith_error());
            for (int k = 0; k < N; k++) assert_true(fabsf(read[k] - expf(x[k])) < 1e-5f);
            assert_true(pith_value(p, twice, read));
            for (int k = 0; k < PART; k++)
                assert_true(fabsf(read[k] - expf(expf(x[k + PART]))) < 1e-4f);
            assert_true(pith_value(p, before, read));
            for (int k = 0; k < N; k++)
                assert_true(fabsf(read[k] - expf(run ? expf(y[k]) : 0.5f)) < 1e-5f);
        }
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(store);
    }
    emulator_order = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(many_tensors), cmocka_unit_test(order) };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
