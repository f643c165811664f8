/* test_errors.c: what is told when a graph is built or run wrongly, word for word, and that nothing
 * crashes on it. */
#include "tests.h"
#include "train/optim.h"

#line 3 "losses/clip.c"
static node *scaled(node *a) { return pith_mul_scalar(a, 2); }
#line 7 "losses/clip.c"
static node *clip_like(node *a, node *b) { return pith_matmul_nt(a, b); }
#line 9 "tests/test_errors.c"

static void error_text(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *a = scaled(pith_input(g, "a", PITH_F32, 8, 512));
    node *b = scaled(pith_input(g, "b", PITH_F32, 8, 768));
#line 57 "experiment.c"
    node *bad = PITH_CALL(g, clip_like, (a, b));
#line 18 "tests/test_errors.c"
    const char *wanted =
        "losses/clip.c:7: matmul: inner sizes differ: 512 against 768, the last axes\n"
        "    input 0 (8, 512) from losses/clip.c:3 (mul)\n"
        "    input 1 (8, 768) from losses/clip.c:3 (mul)\n"
        "    in clip_like, called at experiment.c:57";
    assert_string_equal(pith_graph_error(g), wanted);
    assert_string_equal(pith_error(), wanted);
    node *on = pith_softmax(pith_add(bad, a)); /* silent: the first error stays */
    assert_true(pith_poisoned(on));
    assert_string_equal(pith_graph_error(g), wanted);
    assert_null(pith_plan_new(g, 1, &on, NULL));
}

static void more_errors(void **state)
{
    world *w = *state;
    node *x = pith_input(w->g, "x", PITH_F32, 4, 3), *d;
    assert_false(pith_grad(pith_square(x), 1, &x, &d));
    assert_non_null(strstr(pith_graph_error(w->g), "(4, 3) is not a scalar"));

    pith_graph *g = pith_graph_new(w->s, 0), *other = pith_graph_new(w->s, 0);
    pith_add(pith_const(g, 1), pith_const(other, 1));
    assert_non_null(strstr(pith_graph_error(g), "add: input 1 is a node of another graph"));
    pith_graph_free(g);
    pith_graph_free(other);

    g = pith_graph_new(w->s, 0);
    pith_add(pith_const(g, 1), NULL);
    assert_non_null(strstr(pith_graph_error(g), "add: input 1 is NULL"));
    pith_graph_free(g);

    g = pith_graph_new(w->s, 0);
    pith_input(g, "x", PITH_F32, 4, 0);
    assert_non_null(strstr(pith_graph_error(g), "axis 1 has size 0"));
    pith_graph_free(g);

    g = pith_graph_new(w->s, 0);
    node *p = pith_param(g, "w", PITH_CONSTANT, 1, 2);
    pith_grad(pith_sum(pith_cast(pith_segments(pith_arange(g, 3), 2), PITH_F32), PITH_ALL), 1, &p,
              &d);
    assert_null(pith_graph_error(g)); /* w is not reached: zeros, no error */
    pith_graph_free(g);
}

/* What is wrong is told with the caller's place, and what is built on it neither crashes nor hides
 * it. */
static void misuse(void **state)
{
    world *w = *state;
    static const int none[2] = { 3, 0 };
    node *d[2] = { NULL }, *x = pith_input(w->g, "x", PITH_F32, 2), *y = pith_sum(x, PITH_ALL),
         *wrt[2] = { x, NULL }, *norm;
    assert_null(pith_store_add(w->s, "none", PITH_WEIGHT, PITH_F32, 2, none));
    said("none: axis 1 has size 0");
    assert_false(pith_grad(NULL, 1, wrt, d));
    said("tests/test_errors.c:");
    assert_true(pith_poisoned(pith_recompute(NULL, NULL, NULL)));
    said("recompute: input 0 is NULL");
    assert_true(pith_poisoned(pith_watch(NULL, "nothing")));
    said("pith_watch: the node is NULL");
    assert_false(pith_clip_norm(0, d, 1, &norm));
    said("there are no gradients");
    assert_true(pith_poisoned(pith_group(0, d)));
    said("group: no nodes");
    assert_true(pith_poisoned(pith_group(1, &(node *){ NULL })));
    said("group: input 0 is NULL");
    assert_true(
        pith_poisoned(pith_adamw(1, &x, &y, y, (pith_adamw_options){ 0.9, 0.99, 1e-8, 0 }, NULL)));
    said("pith_adamw: node 0 is not a param but was made at tests/test_errors.c:");
    pith_graph *g = pith_graph_new(w->s, 0);
    node *p = pith_param(g, "p", PITH_CONSTANT, 0, 3),
         *two = pith_const_array(g, PITH_F32, (real[2]){ 0 }, 2);
    assert_true(pith_poisoned(pith_sgd(1, &p, &two, pith_const(g, 1), 0, 0, NULL)));
    said("the gradient of p has another shape");
    pith_graph_free(g);

    g = pith_graph_new(w->s, 0);
    wrt[0] = x = pith_input(g, "x", PITH_F32, 2);
    assert_false(pith_grad(pith_sum(x, PITH_ALL), 2, wrt, d));
    said("node 1 to take it by is NULL");
    assert_true(d[1] != NULL);
    pith_graph_free(g);

    g = pith_graph_new(w->s, 0);
    node *both = pith_state(g, "p", PITH_F32, PITH_CONSTANT, 0, 3);
    assert_true(pith_poisoned(both) && pith_poisoned(pith_mean(pith_square(both), PITH_ALL)));
    said("p is a weight of the store, this graph wants a state");
    pith_graph_free(g);

    g = pith_graph_new(w->s, 0);
    assert_true(pith_poisoned(pith_square(pith_input(g, "empty", PITH_F32, 2, 0))));
    said("axis 1 has size 0");
    pith_graph_free(g);

    g = pith_graph_new(w->s, 0);
    node *a = pith_const(g, 1);
    assert_true(pith_poisoned(pith_add(a, pith_group(1, &a))));
    said("input 1 is a group of writes, which has no value");
    pith_graph_free(g);

    g = pith_graph_new(w->s, 0);
    node *i = pith_input(g, "i", PITH_I32);
    assert_false(pith_grad(i, 1, &i, d));
    said("has no floating-point value");
    pith_graph_free(g);

    g = pith_graph_new(w->s, 0);
    node *in = pith_input(g, "in", PITH_F32, 4, 4), *inner = pith_matmul(in, in),
         *last = pith_matmul(inner, inner);
    pith_plan *plan = pith_plan_new(g, 1, &last, NULL);
    static const real numbers[16];
    real values[16];
    assert_true(pith_feed(plan, in, numbers) && pith_run(plan));
    assert_false(pith_value(plan, inner, values));
    said("not an output of the plan");
    assert_true(pith_value(plan, last, values));
    pith_plan_free(plan);
    pith_graph_free(g);
}

/* Reading what is not there says why and copies nothing. */
static void values_too_early_and_too_late(void **state)
{
    world *w = *state;
    node *x = pith_input(w->g, "x", PITH_F32, 2, 2), *y = pith_matmul(x, x),
         *sum = pith_sum(y, PITH_ALL);
    node *out[2] = { y, sum };
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL), *other = pith_plan_new(w->g, 1, &y, NULL);
    static const real numbers[4] = { 1, 2, 3, 4 };
    real got[5] = { 7, 7, 7, 7, 7 };
    assert_false(pith_value(p, y, got));
    said("pith_value: the plan has not run");
    assert_true(isnan(pith_scalar(p, sum)));
    said("pith_scalar: the plan has not run");
    assert_false(pith_feed(p, x, NULL));
    said("pith_feed: the data of input x is NULL");
    assert_false(pith_feed(p, y, numbers));
    said("pith_feed: this is not an input of the plan's graph");
    assert_true(pith_feed(p, x, numbers) && pith_run(p));
    assert_true(pith_scalar(p, sum) == 7 + 10 + 15 + 22);
    assert_true(isnan(pith_scalar(p, y)));
    said("pith_scalar: this node, made at tests/test_errors.c:");
    said("has shape (2, 2), not one element");
    assert_false(pith_value(p, y, NULL));
    said("pith_value: the memory to copy to is NULL");
    assert_false(pith_value(p, pith_neg(y), got));
    said("pith_value: this node is not part of the plan");
    assert_true(got[0] == 7 && pith_value(p, y, got));
    assert_true(got[0] == 7 && got[1] == 10 && got[2] == 15 && got[3] == 22 && got[4] == 7);
    got[0] = -1;
    assert_true(pith_feed(other, x, numbers) && pith_run(other));
    assert_false(pith_value(p, y, got));
    said("pith_value: another plan of the store has run or was made since");
    assert_true(isnan(pith_scalar(p, sum)) && got[0] == -1);
    pith_plan_free(p);
    pith_plan_free(other);
}

/* Each value has the bytes of its type. */
static void values_of_other_types(void **state)
{
    world *w = *state;
    static const int offsets[3] = { 0, 1, 3 };
    node *bytes = pith_state(w->g, "bytes", PITH_U8, PITH_CONSTANT, 9, 5),
         *ids = pith_segments(pith_const_array(w->g, PITH_I32, offsets, 3), 3),
         *count = pith_state(w->g, "count", PITH_I32, PITH_CONSTANT, -4);
    node *out[3] = { bytes, ids, count };
    pith_plan *p = pith_plan_new(w->g, 3, out, NULL);
    uint8_t u[6] = { [5] = 1 };
    int i[4] = { [3] = -7 };
    assert_true(p && pith_run(p) && pith_value(p, bytes, u) && pith_value(p, ids, i));
    assert_memory_equal(u, ((const uint8_t[6]){ 9, 9, 9, 9, 9, 1 }), 6);
    assert_memory_equal(i, ((const int[4]){ 0, 1, 1, -7 }), sizeof i);
    assert_true(pith_scalar(p, count) == -4);
    pith_plan_free(p);
}

static void unfed_input(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *y = pith_exp(pith_input(g, "pixels", PITH_F32, 2));
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    assert_false(pith_run(p));
    assert_non_null(strstr(pith_error(), "input pixels was not fed"));
    pith_plan_free(p);
}

static void first_nan(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *x = pith_input(g, "x", PITH_F32, 3);
#line 12 "user.c"
    node *y = pith_log(x);
#line 143 "tests/test_errors.c"
    node *z = pith_softmax(y);
    pith_plan *p = pith_plan_new(g, 1, &z, NULL);
    const real data[3] = { 1, -1, 2 };
    pith_feed(p, x, data);
    assert_true(pith_run(p));
    pith_plan_free(p);
    p = pith_plan_new(g, 1, &z, &(pith_plan_options){ .check_finite = true });
    pith_feed(p, x, data);
    assert_false(pith_run(p));
    assert_non_null(strstr(pith_error(), "user.c:12: log makes "));
    assert_non_null(strstr(pith_error(), "at element 1 of (3,)"));
    pith_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(error_text),
        WITH_WORLD(more_errors),
        WITH_WORLD(misuse),
        WITH_WORLD(values_too_early_and_too_late),
        WITH_WORLD(values_of_other_types),
        WITH_WORLD(unfed_input),
        WITH_WORLD(first_nan),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
