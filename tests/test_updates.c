/* test_updates.c: state that losses and models keep, written at the step's end, and tables trained
 * by rows. */
#include "tests.h"
#include "train/optim.h"

/* ---- updates ---- */

/* Whoever reads the leaf reads the old value, before and after the call, in gradients and in
 * gradients of gradients; what is returned is the new one, and gradients flow through it. */
static void reads_are_old(void **state)
{
    world *w = *state;
    node *x = pith_param(w->g, "x", PITH_CONSTANT, 3),
         *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 2);
    node *before = pith_mul(s, x), *value = pith_update(s, pith_mul(pith_square(x), s)),
         *after = pith_mul(s, pith_square(x)), *d[2], *dd, *dv;
    assert_true(pith_grad(pith_add(before, after), 1, &x, d)); /* s + 2 s x = 14 */
    assert_true(pith_grad(pith_mul(d[0], d[0]), 1, &x, &dd));  /* 2 (s + 2 s x) 2 s = 112 */
    assert_true(pith_grad(pith_square(value), 1, &x, &dv));    /* 2 x^2 s 2 x s = 432 */
    node *out[6] = { before, after, d[0], dd, dv, pith_commit(w->g, pith_const(w->g, 1)) };
    pith_plan *p = pith_plan_new(w->g, 6, out, NULL);
    assert_non_null(p);
    assert_true(pith_run(p));
    static const double wanted[5] = { 6, 18, 14, 112, 432 };
    for (int k = 0; k < 5; k++) near(pith_scalar(p, out[k]), wanted[k]);
    near(stored_number(w, "s", 0), 18);
    pith_plan_free(p);
}

static void skipped_steps(void **state)
{
    world *w = *state;
    node *x = pith_input(w->g, "x", PITH_F32, 2),
         *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 5, 2);
    node *count = pith_state(w->g, "count", PITH_F32, PITH_CONSTANT, 0);
    pith_update(s, x);
    pith_update(count, pith_add_scalar(count, 1));
    node *ok = pith_step_ok(pith_const(w->g, 1)), *out[2] = { ok, pith_commit(w->g, ok) };
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
    const real bad[2][2] = { { 1, NAN }, { -INFINITY, 1 } }, good[2] = { 7, 8 };
    for (int k = 0; k < 2; k++) {
        pith_feed(p, x, bad[k]);
        assert_true(pith_run(p));
        near(pith_scalar(p, ok), 0);
        near(stored_number(w, "s", 0), 5);
        near(stored_number(w, "count", 0), 0);
    }
    pith_feed(p, x, good);
    assert_true(pith_run(p));
    near(stored_number(w, "s", 1), 8);
    near(stored_number(w, "count", 0), 1);
    pith_plan_free(p);
}

/* Without pith_commit, as in evaluation, nothing is written. */
static void evaluation_drops(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 5);
    node *y = pith_add_scalar(pith_update(s, pith_const(w->g, 1)), 1);
    pith_plan *p = pith_plan_new(w->g, 1, &y, NULL);
    assert_true(pith_run(p));
    near(pith_scalar(p, y), 2);
    near(stored_number(w, "s", 0), 5);
    pith_plan_free(p);
}

/* One model function called twice, as on two views: figures in the order of the calls. */
static void pending_chains(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 1);
    for (int view = 1; view <= 2; view++)
        pith_update(s, pith_add_scalar(pith_mul_scalar(pith_pending(s), 10), view));
    node *all = pith_commit(w->g, NULL);
    pith_plan *p = pith_plan_new(w->g, 1, &all, NULL);
    assert_true(pith_run(p));
    near(stored_number(w, "s", 0), 112);
    pith_plan_free(p);
}

static void wrong_updates(void **state)
{
    world *w = *state;
    struct {
        const char *said;
    } const wanted[] = {
        { "s is written at first.c:7 already: a second write must be made from the first one's" },
        { "p is trained: the optimizer writes it" },
        { "s and its new value differ in shape or type" },
        { "bank is written at first.c:7 already: whole and by rows do not mix" },
        { "only a state, or a param that is not trained" },
        { "their shape is not that of the ids and then of a row of bank" },
        { "the graph's updates were written at first.c:7 already: update before pith_commit" },
        { "the graph's updates were written at first.c:7 already" },
        { "s is written at first.c:7 already: a second write must be made from the first one's" },
    };
    for (int k = 0; k < 9; k++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        node *s = pith_state(g, "s", PITH_F32, PITH_CONSTANT, 0), *x = pith_const(g, 1);
        node *bank = pith_state(g, "bank", PITH_F32, PITH_NORMAL, 1, 4, 2);
        node *ids = pith_sample_ids(g, 4, 3), *rows = pith_sample(g, 0, 1, 3, 2);
        node *wrong = NULL;
        if (k == 0) pith_update_("first.c:7", s, x), wrong = pith_update(s, x);
        if (k == 1) wrong = pith_update(pith_param(g, "p", PITH_CONSTANT, 0), x);
        if (k == 2) wrong = pith_update(s, rows);
        if (k == 3)
            pith_update_rows_("first.c:7", bank, ids, rows), wrong = pith_update(bank, bank);
        if (k == 4) wrong = pith_update(pith_input(g, "x", PITH_F32), x);
        if (k == 5) wrong = pith_update_rows(bank, ids, pith_sample(g, 0, 1, 3, 3));
        if (k == 6) pith_commit_("first.c:7", g, NULL), wrong = pith_update(s, x);
        if (k == 7) pith_commit_("first.c:7", g, NULL), wrong = pith_commit(g, NULL);
        if (k == 8) /* made after the first one, and of all else */
            pith_update_("first.c:7", s, x), wrong = pith_update(s, pith_sin(pith_add(s, x)));
        assert_true(pith_poisoned(wrong));
        said(wanted[k].said);
        said("tests/test_updates.c:");
        pith_graph_free(g);
    }
}

typedef struct {
    node *s;
    int calls;
} inside;

static node *noting(node *x, void *context)
{
    inside *i = context;
    i->calls++;
    return pith_tanh(pith_update(i->s, pith_sin(pith_mul(x, i->s))));
}

/* A write in a recomputed region is noted once, and the region's copies read the old value. */
static void recomputed_regions(void **state)
{
    (void)state;
    double gradient[2];
    for (int recompute = 0; recompute < 2; recompute++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 0);
        inside i = { pith_state(g, "s", PITH_F32, PITH_CONSTANT, 0.5), 0 };
        node *x = pith_param(g, "x", PITH_CONSTANT, 0.7), *d, **list;
        node *y = recompute ? pith_recompute(noting, x, &i) : noting(x, &i);
        assert_true(pith_grad(pith_square(y), 1, &x, &d));
        assert_int_equal(pith_updates(g, &list), 1);
        assert_int_equal(i.calls, 1);
        node *out[2] = { d, pith_commit(g, NULL) };
        pith_plan *p = pith_plan_new(g, 2, out, NULL);
        assert_true(pith_run(p));
        gradient[recompute] = pith_scalar(p, d);
        assert_true(fabs((double)*(const real *)stored(s, "s") - sin(0.35)) < 1e-6);
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(s);
    }
    assert_memory_equal(&gradient[0], &gradient[1], sizeof *gradient);
}

/* Batch norm in miniature, whose figures go on from what an earlier call left: rows minus the new
 * running mean. */
static node *normalizing(node *x, void *running)
{
    node *old = pith_pending(running);
    node *mean = pith_update(running, pith_add(pith_mul_scalar(old, 0.5),
                                               pith_mul_scalar(pith_mean(x, 0), 0.5)));
    return pith_tanh(pith_sub(x, mean));
}

/* Called once a view, each call a region of its own or plain: figures in the order of the calls,
 * gradients that reach through the chain into the first view, all the same bits, and one write. */
static void views_chain(void **state)
{
    (void)state;
    static const real views[2][3][2] = { { { 1, 2 }, { 3, -4 }, { 5, 6 } },
                                         { { -7, 8 }, { 9, 1 }, { 4, 0 } } };
    real kept[2][2], gradient[2][3][2];
    for (int recompute = 0; recompute < 2; recompute++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 0);
        node *running = pith_state(g, "running", PITH_F32, PITH_CONSTANT, 8, 2), *x[2], *sum = NULL,
             *d, **list;
        for (int k = 0; k < 2; k++) {
            x[k] = pith_param(g, k ? "second" : "first", PITH_CONSTANT, 0, 3, 2);
            pith_tensor_write(pith_store_find(s, x[k]->name), views[k]);
            node *y = recompute ? pith_recompute(normalizing, x[k], running)
                                : normalizing(x[k], running);
            /* of the first view nothing but its figures is used */
            if (k) sum = pith_sum(pith_square(y), PITH_ALL);
        }
        assert_true(pith_grad(sum, 1, x, &d));
        assert_int_equal(pith_updates(g, &list), 2);
        node *out[2] = { d, pith_commit(g, pith_step_ok(sum)) };
        assert_int_equal(out[1]->n_in, 1);
        pith_plan *p = pith_plan_new(g, 2, out, NULL);
        if (!p) fail_msg("%s", pith_error());
        assert_true(pith_run(p));
        memcpy(kept[recompute], stored(s, "running"), sizeof *kept);
        memcpy(gradient[recompute], value_of(p, d), sizeof *gradient);
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(s);
    }
    /* ((8 + mean of the first) / 2 + mean of the second) / 2; means 3 and 4/3, then 2 and 3 */
    assert_true(fabs((double)kept[0][0] - ((8 + 3.0) / 2 + 2) / 2) < 1e-6);
    assert_true(fabs((double)kept[0][1] - ((8 + 4.0 / 3) / 2 + 3) / 2) < 1e-6);
    assert_true(gradient[0][0][0] != 0);
    assert_memory_equal(kept[0], kept[1], sizeof *kept);
    assert_memory_equal(gradient[0], gradient[1], sizeof *gradient);
}

/* An average is read in its weight's place, what has none by its plain name; nothing is made, and
 * kinds stay. */
static void averages_are_read(void **state)
{
    world *w = *state;
    pith_param(w->g, "w", PITH_CONSTANT, 1);
    pith_param(w->g, "frozen", PITH_CONSTANT, 2);
    pith_state(w->g, "running", PITH_F32, PITH_CONSTANT, 3);
    pith_state(w->g, "ema/w", PITH_F32, PITH_CONSTANT, 4);
    const int count = pith_store_count(w->s);
    pith_graph *g = pith_graph_new(w->s, 0);
    pith_use_averages(g, w->s);
    node *out[3] = { pith_mul_scalar(pith_param(g, "w", PITH_CONSTANT, 0), 1),
                     pith_mul_scalar(pith_param(g, "frozen", PITH_CONSTANT, 0), 1),
                     pith_mul_scalar(pith_state(g, "running", PITH_F32, PITH_CONSTANT, 0), 1) };
    node **trained;
    assert_int_equal(pith_params(g, &trained), 0);
    pith_plan *p = pith_plan_new(g, 3, out, NULL);
    assert_true(pith_run(p));
    for (int k = 0; k < 3; k++) near(pith_scalar(p, out[k]), k == 0 ? 4 : k + 1);
    pith_param(g, "strange", PITH_CONSTANT, 0);
    said("the store has neither an average nor a weight called strange");
    assert_int_equal(pith_store_count(w->s), count);
    for (int k = 0; k < count; k++)
        assert_int_equal(pith_store_at(w->s, k)->kind, k < 2 ? PITH_WEIGHT : PITH_STATE);
    pith_plan_free(p);
    pith_graph_free(g);
}

/* The value may be a param itself: it is written before the optimizer overwrites that. */
static void before_the_optimizer(void **state)
{
    world *w = *state;
    node *x = pith_param(w->g, "x", PITH_CONSTANT, 3, 2), *s = pith_state_like(w->g, "s", x), *d;
    pith_update(s, pith_reshape(x, 2));
    node *loss = pith_sum(pith_square(x), PITH_ALL);
    pith_grad(loss, 1, &x, &d);
    node *ok = pith_step_ok(loss), *states = pith_commit(w->g, ok);
    node *all[2] = { states, pith_sgd(1, &x, &d, pith_const(w->g, 0.25), 0, 0, ok) };
    pith_plan *p = pith_plan_new(w->g, 2, all, NULL);
    for (int step = 0; step < 3; step++) {
        const double old = stored_number(w, "x", 0);
        assert_true(pith_run(p));
        near(stored_number(w, "s", 0), old);
        near(stored_number(w, "x", 0), old / 2);
    }
    pith_plan_free(p);
}

enum { BANK = 6, WIDTH = 3 };

/* A bank fed by batches of two sizes, with equal ids, ids outside and a skipped step, beside a loop
 * in C; a second write of rows goes on from the first. */
static void bank_is_a_loop(void **state)
{
    world *w = *state;
    double bank[BANK][WIDTH];
    static const int sizes[2] = { 4, 7 };
    pith_graph *g[2];
    pith_plan *p[2];
    node *rows[2], *ids[2], *second[2];
    for (int k = 0; k < 2; k++) {
        g[k] = pith_graph_new(w->s, 9);
        node *b = pith_state(g[k], "bank", PITH_F32, PITH_NORMAL, 1, BANK, WIDTH);
        rows[k] = pith_input(g[k], "rows", PITH_F32, sizes[k], WIDTH);
        ids[k] = pith_input(g[k], "ids", PITH_I32, sizes[k]);
        second[k] = pith_input(g[k], "second", PITH_I32, sizes[k]);
        pith_update_rows(b, ids[k], rows[k]);
        pith_update_rows(b, second[k], pith_neg(rows[k]));
        node *ok = pith_step_ok(pith_const(g[k], 1)), *all = pith_commit(g[k], ok);
        p[k] = pith_plan_new(g[k], 1, &all, NULL);
        assert_non_null(p[k]);
    }
    for (int i = 0; i < BANK * WIDTH; i++) bank[i / WIDTH][i % WIDTH] = stored_number(w, "bank", i);
    assert_true(bank[0][0] != 0 && bank[1][0] != bank[0][0]); /* it starts random */
    for (int step = 0; step < 10; step++) {
        const int k = step % 3 == 1, n = sizes[k];
        real x[7 * WIDTH];
        int id[7], again[7];
        for (int i = 0; i < n * WIDTH; i++)
            x[i] = (real)pith_normal_at(5, (uint64_t)step, (uint64_t)i);
        for (int i = 0; i < n; i++) {
            id[i] = (int)(pith_uniform_at(6, (uint64_t)step, (uint64_t)i) * (BANK + 2)) - 1;
            again[i] = i == step % n ? step % BANK : -1;
        }
        if (step == 4) x[2] = NAN;
        for (int i = 0; step != 4 && i < n; i++)
            for (int c = 0; c < WIDTH && id[i] >= 0 && id[i] < BANK; c++)
                bank[id[i]][c] = (double)x[i * WIDTH + c];
        for (int c = 0; step != 4 && c < WIDTH; c++)
            bank[step % BANK][c] = -(double)x[step % n * WIDTH + c];
        pith_feed(p[k], rows[k], x);
        pith_feed(p[k], ids[k], id);
        pith_feed(p[k], second[k], again);
        assert_true(pith_run(p[k]));
        for (int i = 0; i < BANK * WIDTH; i++)
            assert_true(stored_number(w, "bank", i) == bank[i / WIDTH][i % WIDTH]);
    }
    for (int k = 0; k < 2; k++) pith_plan_free(p[k]), pith_graph_free(g[k]);
}

/* An output that lies in a leaf which the plan writes is refused; a copy is the old value. */
static void outputs_in_written_leaves(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 5, 2), *view = pith_reshape(s, 1, 2);
    node *copy = pith_copy(view);
    node *write = pith_assign(s, pith_add_scalar(s, 1));
    assert_null(pith_plan_new(w->g, 2, ((node *[]){ view, write }), NULL));
    said("output 0 of the plan lies in s, which the plan writes at tests/test_updates.c:");
    pith_plan *p = pith_plan_new(w->g, 2, ((node *[]){ copy, write }), NULL);
    assert_true(pith_run(p));
    near((double)*(const real *)value_of(p, copy), 5);
    near((double)*(const real *)value_of(p, write), 6);
    pith_plan_free(p);
}

/* A gradient may be asked by what an assign returned, and passes through it. */
static void gradients_by_assigned(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 5),
         *x = pith_input(w->g, "x", PITH_F32);
    node *now = pith_assign(s, pith_mul_scalar(x, 2)), *wrt[2] = { now, x }, *d[2];
    assert_true(pith_grad(pith_square(now), 2, wrt, d));
    pith_plan *p = pith_plan_new(w->g, 2, d, NULL);
    const real three = 3;
    pith_feed(p, x, &three);
    assert_true(pith_run(p));
    near(pith_scalar(p, d[0]), 12);
    near(pith_scalar(p, d[1]), 24);
    pith_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(reads_are_old),
        WITH_WORLD(skipped_steps),
        WITH_WORLD(evaluation_drops),
        WITH_WORLD(pending_chains),
        WITH_WORLD(wrong_updates),
        cmocka_unit_test(recomputed_regions),
        cmocka_unit_test(views_chain),
        WITH_WORLD(averages_are_read),
        WITH_WORLD(before_the_optimizer),
        WITH_WORLD(bank_is_a_loop),
        WITH_WORLD(outputs_in_written_leaves),
        WITH_WORLD(gradients_by_assigned),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
