/* test_aliases.c: updates, row writes and outputs whose values lie in leaves that are written too.
 */
#include "tests.h"
#include "train/optim.h"

/* Updates may read each other's leaves, and a bank its own rows: all are computed from the old
 * values, guarded or not, whatever their order. */
static void updates_read_each_other(void **state)
{
    (void)state;
    for (int guard = 0; guard < 2; guard++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 0);
        node *a = pith_state(g, "a", PITH_F32, PITH_CONSTANT, 1, 2),
             *b = pith_state(g, "b", PITH_F32, PITH_CONSTANT, 2, 2),
             *now = pith_state(g, "now", PITH_F32, PITH_CONSTANT, 3),
             *last = pith_state(g, "last", PITH_F32, PITH_CONSTANT, 4),
             *flags = pith_state(g, "flags", PITH_U8, PITH_CONSTANT, 5, 2),
             *queue = pith_state(g, "queue", PITH_F32, PITH_CONSTANT, 0, 4, 1);
        static const real first[4] = { 10, 20, 30, 40 };
        static const int next[3] = { 1, 2, 3 };
        pith_tensor_write(pith_tensor_of(queue), first);
        pith_update(a, b), pith_update(b, a);
        pith_update(now, pith_add_scalar(now, 1)), pith_update(last, now);
        pith_update(flags, pith_cast(a, PITH_U8));
        pith_update_rows(queue, pith_const_array(g, PITH_I32, next, 3), pith_slice(queue, 0, 0, 3));
        node *all = pith_commit(g, guard ? pith_step_ok(pith_const(g, 1)) : NULL);
        pith_plan *p = pith_plan_new(g, 1, &all, NULL);
        if (!p) fail_msg("%s", pith_error());
        assert_true(pith_run(p));
        const world w = { .s = s };
        static const struct {
            const char *name;
            double value;
        } wanted[4] = { { "a", 2 }, { "b", 1 }, { "now", 4 }, { "last", 3 } };
        for (int k = 0; k < 4; k++) near(stored_number(&w, wanted[k].name, 0), wanted[k].value);
        for (int k = 0; k < 4; k++) near(stored_number(&w, "queue", k), k ? 10 * k : 10);
        assert_int_equal(((const uint8_t *)stored(s, "flags"))[1], 1);
        pith_plan_free(p), pith_graph_free(g), pith_store_free(s);
    }
}

/* The padding of a batch, whose ids are outside, may hold anything; a row that is written may not.
 */
static void padding_is_not_checked(void **state)
{
    world *w = *state;
    static const int ids[2] = { -1, 1 };
    static const real rows[2][2] = { { NAN, 7 }, { 7, NAN } };
    for (int bad = 0; bad < 2; bad++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        node *bank = pith_state(g, "bank", PITH_F32, PITH_CONSTANT, 0, 3, 1);
        pith_update_rows(bank, pith_const_array(g, PITH_I32, ids, 2),
                         pith_const_array(g, PITH_F32, rows[bad], 2, 1));
        node *ok = pith_step_ok(pith_const(g, 1)), *out[2] = { ok, pith_commit(g, ok) };
        pith_plan *p = pith_plan_new(g, 2, out, NULL);
        assert_true(pith_run(p));
        near(pith_scalar(p, ok), !bad);
        near(stored_number(w, "bank", 1), 7);
        pith_plan_free(p), pith_graph_free(g);
    }
}

/* What only reads an update does not want its ids. */
static void ids_of_dropped_updates(void **state)
{
    world *w = *state;
    node *bank = pith_state(w->g, "bank", PITH_F32, PITH_CONSTANT, 0, 3, 1),
         *ids = pith_input(w->g, "ids", PITH_I32, 2), *x = pith_input(w->g, "x", PITH_F32, 2, 1),
         *y = pith_sum(pith_update_rows(bank, ids, x), PITH_ALL);
    const real two[2] = { 1, 2 };
    for (int unplanned = 0; unplanned < 2; unplanned++) {
        pith_plan *p = pith_plan_new(w->g, 1, &y, &(pith_plan_options){ .unplanned = unplanned });
        pith_feed(p, x, two);
        assert_true(pith_run(p));
        near(pith_scalar(p, y), 3);
        pith_plan_free(p);
    }
}

/* An output that an assign also writes is the plan's own, whoever writes the leaf later. */
static void outputs_beside_their_assign(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 5, 2), *y = pith_add_scalar(s, 1);
    node *out[2] = { y, pith_assign(s, y) };
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
    assert_true(pith_run(p));
    const real other[2] = { 70, 80 };
    pith_tensor_write(pith_tensor_of(s), other);
    near((double)*(const real *)value_of(p, y), 6);
    pith_plan_free(p);
}

/* What an earlier write returned, and a part of it, are no outputs beside a later write of the
 * leaf: they lie in it. */
static void outputs_before_a_later_write(void **state)
{
    world *w = *state;
    for (int k = 0; k < 3; k++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        node *bank = pith_state(g, "bank", PITH_F32, PITH_CONSTANT, 0, 3, 2),
             *ids = pith_sample_ids(g, 3, 2), *rows = pith_sample(g, 1, 2, 2, 2);
        node *first = pith_write_rows(bank, ids, rows, NULL), *part = pith_slice(first, 0, 0, 1);
        node *now = pith_copy(part), *second = pith_write_rows(bank, ids, pith_neg(rows), NULL);
        pith_plan *p = pith_plan_new(g, 2,
                                     ((node *[]){ k == 0   ? first
                                                  : k == 1 ? part
                                                           : now,
                                                  second }),
                                     NULL);
        assert_int_equal(p != NULL, k == 2);
        if (k < 2) said("lies in bank, which the plan writes at tests/test_aliases.c:");
        pith_plan_free(p);
        pith_graph_free(g);
    }
}

/* `ok` may itself be a state that is updated: every write sees the old one. */
static void ok_is_updated(void **state)
{
    world *w = *state;
    node *ok = pith_state(w->g, "ok", PITH_F32, PITH_CONSTANT, 1),
         *bank = pith_state(w->g, "bank", PITH_F32, PITH_CONSTANT, 0, 3, 2);
    node *rows = pith_sample(w->g, 1, 2, 1, 2);
    pith_update(ok, pith_const(w->g, 0));
    pith_update_rows(bank, pith_const_array(w->g, PITH_I32, ((int[]){ 1 }), 1), rows);
    node *all = pith_commit(w->g, ok);
    pith_plan *p = pith_plan_new(w->g, 1, &all, NULL);
    assert_true(pith_run(p));
    near(stored_number(w, "ok", 0), 0);
    assert_true(stored_number(w, "bank", 2) != 0);
    pith_plan_free(p);
}

/* An update's value does not depend on the leaf it is written to. */
static void a_leaf_is_only_named(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 5), *x = pith_const(w->g, 1);
    node *leaves[2] = { s, x };
    bool reached[2];
    pith_depends_on(pith_square(pith_update(s, x)), 2, leaves, reached);
    assert_true(!reached[0] && reached[1]);
}

/* The average of a param of another store starts at the param, and lies in the graph's own. */
static void averages_of_another_store(void **state)
{
    world *w = *state;
    pith_store *other = pith_store_new();
    pith_use_store(w->g, other, "", false);
    node *x = pith_param(w->g, "x", PITH_CONSTANT, 5, 2), *d;
    pith_leave_store(w->g);
    assert_ptr_equal(pith_tensor_of(x), pith_store_find(other, "x"));
    assert_null(pith_tensor_of(pith_square(x)));
    assert_true(pith_gradients(pith_sum(pith_square(x), PITH_ALL), 1, &x, &d));
    pith_ema(pith_sgd(1, &x, &d, pith_const(w->g, 1), 0, 0, NULL), 0.9, NULL);
    near(stored_number(w, "ema/x", 1), 5);
    pith_graph_free(w->g);
    w->g = pith_graph_new(w->s, 0);
    pith_store_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_read_each_other),
        WITH_WORLD(padding_is_not_checked),
        WITH_WORLD(ids_of_dropped_updates),
        WITH_WORLD(outputs_beside_their_assign),
        WITH_WORLD(averages_of_another_store),
        WITH_WORLD(outputs_before_a_later_write),
        WITH_WORLD(ok_is_updated),
        WITH_WORLD(a_leaf_is_only_named),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
