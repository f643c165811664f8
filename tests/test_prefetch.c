/* test_prefetch.c: inputs that travel to a device while it runs. */
#include "tests.h"

enum { MANY = 70000 };
static void saw(const pith_plan *p, pith_node *const *out, int x, int y)
{
    static float read[MANY];
    assert_true(pith_scalar(p, out[0]) == (double)x * MANY);
    assert_true(fabs(pith_scalar(p, out[1]) - 3 * exp(y)) < 1e-5);
    assert_true(pith_value(p, out[2], read) && read[0] == (float)x && read[MANY - 1] == (float)x);
}

/* What was brought while a run went on is what the next one reads, whatever the host's memory holds
 * by then; what is fed after that counts instead. The first runs' values are read when the next
 * run's inputs are on their way, those of the later ones, whose steps alone are waited for, at
 * once: a copy that nothing waits for comes too early or too late. */
static void fed_ahead(void **unused)
{
    (void)unused;
    enum { RUNS = 6, LATE = 4 };
    static const bool ahead[RUNS] = { false, true, true, false, true, true },
                      anew[RUNS] = { [2] = true };
    static float many[MANY];
    const float few[3] = { 0, 0, 0 }, other[3] = { 1, 1, 1 };
    if (!on_device()) skip(); /* the host's own memory is read when a run wants it */
    pith_store *store = new_store();
    pith_graph *g = pith_graph_new(store, 1);
    pith_node *x = pith_input(g, "x", PITH_F32, MANY), *y = pith_input(g, "y", PITH_F32, 3);
    pith_node *out[] = { pith_sum(x, PITH_ALL), pith_sum(pith_exp(y), PITH_ALL), x };
    pith_plan *p = pith_plan_new(g, 3, out, NULL);
    assert_non_null(p);
    for (int k = 0; k < RUNS; k++) {
        for (int i = 0; i < MANY; i++) many[i] = (float)(k + 1);
        pith_feed(p, x, many);
        pith_feed(p, y, few);
        if (ahead[k]) assert_true(pith_prefetch(p));
        if (k > 0 && k <= LATE) saw(p, out, k, anew[k - 1]);
        if (ahead[k]) memset(many, 0, sizeof many);
        if (anew[k]) pith_feed(p, y, other);
        pith_time_plan(p, k >= LATE);
        assert_true(pith_run(p));
        if (k >= LATE) saw(p, out, k + 1, anew[k]);
    }
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(fed_ahead) };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
