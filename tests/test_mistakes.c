/* test_mistakes.c: mistakes that were once silent, told twice, or crashed: each is told once, and
 * what is built on it is silent. */
#include "tests.h"
#include "train/optim.h"

static void told(const char *what)
{
    assert_int_equal(reports, 1);
    said(what);
    reports = 0;
}

/* What is built on a mistake is silent, and the graph it is built in has the error. */
static void a_mistake_is_told_once(void **state)
{
    world *w = *state;
    reports = 0;
    node *bad = pith_normalize(NULL);
    told("input 0 is NULL");
    said("tests/test_mistakes.c:");
    node *x = pith_input(w->g, "x", PITH_F32, 3), *d;
    node *y = pith_mean(pith_mul(pith_normalize(pith_softmax(bad)), x), PITH_ALL);
    assert_true(pith_poisoned(y) && pith_graph_error(w->g));
    assert_false(pith_grad(y, 1, &x, &d));
    assert_true(pith_poisoned(d));
    assert_null(pith_plan_new(w->g, 1, &d, NULL));
    assert_true(pith_poisoned(pith_sgd(1, &x, &d, pith_const(w->g, 1), 0, 0, NULL)));
    assert_int_equal(reports, 0);
}

/* The same where it comes in beside what is whole. */
static void mistakes_beside_what_is_whole(void **state)
{
    world *w = *state;
    for (int k = 0; k < 9; k++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        node *x = pith_param(g, "x", PITH_CONSTANT, 1), *one = pith_const(g, 1), *d = NULL;
        node *bad = pith_neg(NULL), *list[2] = { x, bad };
        reports = 0;
        if (k == 0) d = pith_state_like(g, "like", bad);
        if (k == 1) d = pith_group(2, list);
        if (k == 2) assert_false(pith_vjp(pith_square(x), bad, 1, &x, &d));
        if (k == 3) assert_false(pith_grad(pith_square(x), 2, list, (node *[2]){ 0 }));
        if (k == 4) d = pith_adamw(1, &x, &bad, one, (pith_adamw_options){ 0.9, 0.9, 0, 0 }, NULL);
        if (k == 5) d = pith_sgd(1, &x, &one, one, 0, 0, bad);
        if (k == 6) d = pith_concat(2, list, 0);
        if (k == 7) pith_clip_norm(2, list, 1, &d);
        if (k == 8) pith_update(pith_state(g, "s", PITH_F32, PITH_CONSTANT, 0), bad);
        if (d) assert_true(pith_poisoned(d));
        if (!pith_graph_error(g)) fail_msg("case %d: the graph has no error", k);
        assert_int_equal(reports, 0);
        pith_graph_free(g);
    }
}

static void scopes_that_do_not_balance(void **state)
{
    world *w = *state;
    static const char *const wanted[] = { "pith_unscope without a pith_scope before it",
                                          "pith_leave without a pith_enter before it",
                                          "pith_leave_store without a pith_use_store before it",
                                          "pith_plan_new: the scope a. is still open",
                                          "pith_leave is missing after the pith_enter of f, at "
                                          "here" };
    for (int k = 0; k < 5; k++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        if (k < 4) pith_scope(g, "a");
        if (k < 3) pith_scope_root(g);
        pith_enter(g, "f", "here");
        pith_use_store(g, w->s, "", true);
        reports = 0;
        for (int end = 0; end < 2 + (k == 0) && k < 3; end++) {
            if (k == 0) pith_unscope(g);
            if (k == 1) pith_leave(g, NULL);
            if (k == 2) pith_leave_store(g);
            if (!end) assert_null(pith_graph_error(g));
        }
        node *one = pith_const(g, 1);
        if (k >= 3) assert_null(pith_plan_new(g, 1, &one, NULL));
        told(wanted[k]);
        if (k < 3) assert_string_equal(pith_graph_error(g), wanted[k]);
        pith_graph_free(g);
    }
}

static void wrong_numbers(void **state)
{
    world *w = *state;
    static const char *const wanted[] = {
        "pith_lr_scale: the learning rate is scaled by nan",
        "pith_clamp_param: a clamp to [2, 1]",
        "pith_clamp_param: a clamp to [nan, 1]",
        "pith_result: result 3 is asked for, there are 3",
        "pith_ema: expected what an optimizer returned, found a node made at ",
        "pith_ema: expected what an optimizer returned, found a node made at ",
        "pith_ema: a decay of nan, expected 0 to 1",
        "pith_sgd: the learning rate, made at tests/test_mistakes.c:",
        "pith_adamw: beta1 1, beta2 0.9, epsilon 0, weight_decay 0, expected betas in [0, 1)",
        "state: the node it is to be like is NULL",
        "pith_sgd: q is written at ",
        "pith_adamw: the array of gradients is NULL",
        "by 1 nodes, and an array that is NULL",
        "const: the data is NULL",
        "param: r starts as 9, expected a value of pith_init",
        "pith_sgd: ok, made at tests/test_mistakes.c:",
        "pith_ema: ok, made at tests/test_mistakes.c:",
        "pith_step_ok: the norm, made at tests/test_mistakes.c:",
        "by -1 nodes, and an array of them",
        "pith_gradients: -1 params, and an array of them",
        "pith_clamp_param: a clamp to [inf, inf]",
        "pith_scope: the format is NULL",
        "concat: input 0 is NULL",
        "beta2 1, epsilon 0",
        "by 1 nodes, and an array that is NULL",
        "pith_clip_norm: the norm is NULL",
        "param: r starts as random numbers of size nan",
    };
    for (int k = 0; k < 27; k++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        node *p = pith_param(g, "p", PITH_CONSTANT, 0, 3), *one = pith_const(g, 1);
        node *updated = pith_sgd(1, &p, &p, one, 0, 0, NULL), *bad = NULL;
        node *q = pith_param(g, "q", PITH_CONSTANT, 0, 3);
        node *s = pith_assign(pith_state(g, "s", PITH_F32, PITH_CONSTANT, 0), one);
        reports = 0;
        if (k == 0) pith_lr_scale(q, (double)NAN);
        if (k == 1) pith_clamp_param(q, 2, 1);
        if (k == 2) pith_clamp_param(q, (double)NAN, 1);
        if (k == 3) bad = pith_result(pith_layer_norm(q, q, q), 3);
        if (k == 4) bad = pith_ema(pith_sum(q, 0), 0.5, NULL);
        if (k == 5) bad = pith_ema(pith_group(1, &s), 0.5, NULL); /* of states, as pith_commit's */
        if (k == 6) bad = pith_ema(updated, (double)NAN, NULL);
        if (k == 7) bad = pith_sgd(1, &q, &q, q, 0, 0, NULL);
        if (k == 8) bad = pith_adamw(1, &q, &q, one, (pith_adamw_options){ 1, 0.9, 0, 0 }, NULL);
        if (k == 9) bad = pith_state_like(g, "like", NULL);
        if (k == 10) bad = pith_sgd(2, (node *[]){ q, q }, (node *[]){ q, q }, one, 0.9, 0, NULL);
        if (k == 11) bad = pith_adamw(1, &q, NULL, one, (pith_adamw_options){ 0 }, NULL);
        if (k == 12) pith_grad(pith_sum(q, 0), 1, NULL, &bad);
        if (k == 13) bad = pith_const_array(g, PITH_I32, NULL, 3);
        if (k == 14) bad = pith_param(g, "r", (pith_init)9, 0, 3);
        if (k == 15) bad = pith_sgd(1, &q, &q, one, 0, 0, q);
        if (k == 16) bad = pith_ema(updated, 0.5, q);
        if (k == 17) bad = pith_step_ok(q);
        if (k == 18) pith_grad(pith_sum(q, 0), -1, &q, &bad), bad = NULL;
        if (k == 19) pith_gradients(pith_sum(q, 0), -1, &q, &bad), bad = NULL;
        if (k == 20) pith_clamp_param(q, INFINITY, INFINITY);
        if (k == 21) pith_scope(g, NULL);
        if (k == 22) bad = pith_concat(2, ((node *[]){ NULL, q }), 0);
        if (k == 23)
            bad = pith_adamw(1, &q, &q, one, (pith_adamw_options){ 0.9, 1 - 1e-17, 0, 0 }, NULL);
        if (k == 24) pith_grad(pith_sum(q, 0), 1, &q, NULL);
        if (k == 25) pith_clip_norm(1, &q, 1, NULL);
        if (k == 26) bad = pith_param(g, "r", PITH_UNIFORM, (double)NAN, 3);
        told(wanted[k]);
        assert_true(k < 3 || (k >= 18 && k <= 21) || k == 24 || k == 25 || pith_poisoned(bad));
        if (k != 25) assert_non_null(pith_graph_error(g));
        pith_graph_free(g);
    }
}

static void plans_without_outputs(void **state)
{
    world *w = *state;
    reports = 0;
    node *missing = pith_missing(w->g, "a teacher, which this run has not");
    assert_null(pith_plan_new(w->g, 0, NULL, NULL));
    told("pith_plan_new: a plan wants at least one output");
    assert_null(pith_plan_new(w->g, -1, NULL, NULL));
    told("pith_plan_new: a plan wants at least one output");
    assert_null(pith_plan_new(w->g, 1, (node *[]){ NULL }, NULL));
    told("pith_plan_new: output 0 is not a node of the graph");
    assert_null(pith_plan_new(w->g, 1, &missing, NULL));
    told("pith_plan_new: output 0 is a teacher, which this run has not");
}

/* Two names that begin alike for 1,000 characters and more never become one. */
static void long_names(void **state)
{
    world *w = *state;
    char a[3][2001] = { { 0 } };
    for (int k = 0; k < 3; k++) memset(a[k], 'n', 998);
    strcpy(a[0] + 998, "aa");
    strcpy(a[1] + 998, "ab");
    memset(a[2], 'n', 2000);
    node *x = pith_param(w->g, a[0], PITH_CONSTANT, 1),
         *y = pith_param(w->g, a[1], PITH_CONSTANT, 2);
    assert_ptr_not_equal(pith_leaf_of(x)->tensor, pith_leaf_of(y)->tensor);
    assert_int_equal(pith_store_count(w->s), 2);
    reports = 0;
    node *both[2] = { x, y };
    pith_sgd(2, both, both, pith_const(w->g, 1), 0.9, 0, NULL);
    told("a name of 1006 characters, at most 1000 are allowed");
    pith_graph *g = pith_graph_new(w->s, 0);
    assert_true(pith_poisoned(pith_param(g, a[2], PITH_CONSTANT, 1)));
    told("param: a name of 2000 characters, at most 1000 are allowed");
    assert_null(pith_store_add(w->s, a[2], PITH_STATE, PITH_F32, 0, NULL));
    told("pith_store_add: a name of 2000 characters, at most 1000 are allowed");
    assert_int_equal(pith_store_count(w->s), 2);
    pith_graph_free(g);
}

/* Every list ends by itself, and an end that is written all the same is no second thing. */
static void lists_end_by_themselves(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *x = pith_input(g, "x", PITH_F32, 2, 3, 4);
    assert_int_equal(x->ndim, 3);
    assert_int_equal(pith_sum(x, -1)->ndim, 2);
    assert_int_equal(pith_sum(x, -1, PITH_END)->ndim, 2);
    assert_int_equal(pith_sum(x, PITH_ALL)->ndim, 0);
    assert_int_equal(pith_reshape(x, -1, 1)->dim[0], 24);
    assert_int_equal(pith_expand(x, 5, 2, 3, 4, PITH_END)->dim[0], 5);
    assert_int_equal(pith_permute(x, 2, 0, 1)->dim[0], 4);
    assert_int_equal(pith_normal(g)->ndim, 0);
    assert_int_equal(pith_param(g, "p", PITH_CONSTANT, 1)->ndim, 0);
    assert_null(pith_graph_error(g));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_mistake_is_told_once),     WITH_WORLD(mistakes_beside_what_is_whole),
        WITH_WORLD(scopes_that_do_not_balance), WITH_WORLD(wrong_numbers),
        WITH_WORLD(plans_without_outputs),      WITH_WORLD(long_names),
        WITH_WORLD(lists_end_by_themselves),
    };
    return cmocka_run_group_tests(tests, counting, NULL);
}
