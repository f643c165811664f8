/* test_rows.c: tables trained by the rows that were drawn. */
#include "tests.h"
#include "train/optim.h"

enum { ROWS = 5, WIDTH = 3, DRAWN = 4 };

typedef struct {
    pith_store *s;
    pith_graph *g;
    pith_plan *p;
    node *ids[2], *norm, *weight;
} table_training;

static const pith_adamw_options adamw = { 0.9, 0.99, 1e-8, 0.1 };

/* Two reads of a table, by rows or dense, under AdamW, or SGD with momentum, with clipping, guard
 * and average. The loss is multiplied by an input. */
static table_training begin_table(bool rows, int count, bool momentum)
{
    table_training t = { .s = pith_store_new() };
    t.g = pith_graph_new(t.s, 4);
    node *table = pith_param(t.g, "table", PITH_NORMAL, 1, count, WIDTH), *d, *read[2];
    node *other = pith_param(t.g, "other", PITH_NORMAL, 1, WIDTH), *params[2] = { table, other };
    for (int k = 0; k < 2; k++) {
        t.ids[k] = pith_input(t.g, "ids", PITH_I32, DRAWN / 2, k + 1);
        read[k] = rows ? pith_gather_rows(table, t.ids[k]) : pith_gather(table, t.ids[k]);
    }
    node *loss = pith_add(pith_sum(pith_square(pith_mul(read[0], other)), PITH_ALL),
                          pith_sum(pith_mul_scalar(pith_sin(read[1]), 2), PITH_ALL));
    node *gradients[2];
    t.weight = pith_input(t.g, "weight", PITH_F32);
    loss = pith_mul(loss, t.weight);
    assert_true(pith_gradients(loss, 2, params, gradients));
    assert_int_equal(pith_is_row_gradient(gradients[0]), rows);
    assert_true(pith_clip_norm(2, gradients, 1, &t.norm));
    node *ok = pith_step_ok(t.norm);
    node *lr = pith_const(t.g, 0.05);
    d = momentum ? pith_sgd(2, params, gradients, lr, 0.9, 0.1, ok)
                 : pith_adamw(2, params, gradients, lr, adamw, ok);
    d = pith_ema(d, 0.9, ok);
    t.p = pith_plan_new(t.g, 2, ((node *[]){ t.norm, d }), NULL);
    assert_non_null(t.p);
    return t;
}

static void end_table(table_training *t)
{
    pith_plan_free(t->p);
    pith_graph_free(t->g);
    pith_store_free(t->s);
}

static void run_table(table_training *t, const int *ids, real weight)
{
    pith_feed(t->p, t->ids[0], ids);
    pith_feed(t->p, t->ids[1], ids + DRAWN / 2);
    pith_feed(t->p, t->weight, &weight);
    assert_true(pith_run(t->p));
}

static const char *const names[] = { "table", "ema/table", "adamw.m/table", "adamw.v/table" };
static const char *const names_sgd[] = { "table", "ema/table", "sgd.m/table" };

/* Where every row is drawn, some twice, by rows is dense training, in norm, clipping, moments,
 * decay and averages. */
static void all_rows_are_dense(void **state)
{
    (void)state;
    static const int ids[3][6] = { { 0, 1, 2, 1, 3, 4 },
                                   { 4, 4, 3, 2, 1, 0 },
                                   { 2, 3, 0, 0, 4, 1 } };
    for (int momentum = 0; momentum < 2; momentum++) {
        table_training a = begin_table(true, ROWS, momentum),
                       b = begin_table(false, ROWS, momentum);
        for (int step = 0; step < 3; step++) {
            run_table(&a, ids[step], 1);
            run_table(&b, ids[step], 1);
            const double x = pith_scalar(a.p, a.norm), y = pith_scalar(b.p, b.norm);
            assert_true(fabs(x - y) <= (sizeof(real) == 8 ? 1e-13 : 1e-5) * y);
            for (int k = 0; k < 4 - momentum; k++) {
                const char *name = momentum ? names_sgd[k] : names[k];
                const real *mine = stored(a.s, name), *theirs = stored(b.s, name);
                for (int i = 0; i < ROWS * WIDTH; i++)
                    assert_true(fabs((double)(mine[i] - theirs[i])) <=
                                (sizeof(real) == 8 ? 1e-13 : 1e-5));
            }
        }
        end_table(&a);
        end_table(&b);
    }
}

/* A row that is not drawn keeps value, moments and average to the bit; ids outside are no rows. */
static void other_rows_stay(void **state)
{
    (void)state;
    static const int first[6] = { 0, 1, 2, 1, 3, 4 }, then[6] = { 3, 3, -1, 9, 3, 1 };
    table_training t = begin_table(true, ROWS, false);
    run_table(&t, first, 1);
    real before[4][ROWS * WIDTH];
    for (int k = 0; k < 4; k++) memcpy(before[k], stored(t.s, names[k]), sizeof before[k]);
    run_table(&t, then, 1);
    for (int k = 0; k < 4; k++) {
        const real *now = stored(t.s, names[k]);
        for (int row = 0; row < ROWS; row++) {
            const bool same = !memcmp(now + row * WIDTH, before[k] + row * WIDTH,
                                      WIDTH * sizeof *now);
            assert_int_equal(same, row != 1 && row != 3);
        }
    }
    end_table(&t);
}

/* A table of a thousand times as many rows moves as many bytes a step. */
static void work_does_not_grow(void **state)
{
    (void)state;
    table_training a = begin_table(true, 50, false), b = begin_table(true, 50000, false);
    assert_int_equal(pith_plan_statistics(a.p).moved, pith_plan_statistics(b.p).moved);
    assert_int_equal(pith_plan_statistics(a.p).arena, pith_plan_statistics(b.p).arena);
    end_table(&a);
    end_table(&b);
}

/* A step that is not finite leaves table, moments and average as they were, to the bit. */
static void a_skipped_step_writes_nothing(void **state)
{
    (void)state;
    static const int ids[6] = { 0, 1, 2, 1, 3, 4 };
    for (int momentum = 0; momentum < 2; momentum++) {
        table_training t = begin_table(true, ROWS, momentum);
        run_table(&t, ids, 1);
        real before[4][ROWS * WIDTH];
        const char *const *name = momentum ? names_sgd : names;
        for (int k = 0; k < 4 - momentum; k++)
            memcpy(before[k], stored(t.s, name[k]), sizeof before[k]);
        run_table(&t, ids, (real)NAN);
        for (int k = 0; k < 4 - momentum; k++)
            assert_memory_equal(stored(t.s, name[k]), before[k], sizeof before[k]);
        end_table(&t);
    }
}

/* Neither do updates of rows. */
static size_t moved_by_updates(int count)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 0);
    node *bank = pith_state(g, "bank", PITH_F32, PITH_CONSTANT, 0, count, WIDTH);
    pith_update_rows(bank, pith_sample_ids(g, ROWS, DRAWN), pith_sample(g, 0, 1, DRAWN, WIDTH));
    node *all = pith_commit(g, pith_step_ok(pith_const(g, 1)));
    pith_plan *p = pith_plan_new(g, 1, &all, NULL);
    assert_non_null(p);
    const pith_plan_stats stats = pith_plan_statistics(p);
    assert_true(stats.arena < 4096);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
    return stats.moved;
}

static void updates_move_rows(void **state)
{
    (void)state;
    assert_int_equal(moved_by_updates(50), moved_by_updates(50000));
}

static void whole_reads_are_refused(void **state)
{
    world *w = *state;
    node *table = pith_param(w->g, "table", PITH_NORMAL, 1, 5, 2), *d;
    node *rows = pith_gather_rows_("rows.c:3", table, pith_sample_ids(w->g, 5, 4));
    node *loss = pith_add(pith_sum(rows, PITH_ALL),
                          pith_sum(pith_square_("whole.c:5", table), PITH_ALL));
    assert_true(pith_gradients(pith_sum(rows, PITH_ALL), 1, &table, &d));
    assert_false(pith_gradients(loss, 1, &table, &d));
    assert_true(pith_poisoned(d));
    said("whole.c:5: the whole of table is read here, but at rows.c:3 it is declared to be trained "
         "by rows alone");
    pith_graph *g = pith_graph_new(w->s, 0);
    node *no_param = pith_sample(g, 0, 1, 5, 2);
    assert_true(pith_poisoned(pith_gather_rows(no_param, pith_sample_ids(g, 5, 4))));
    said("the table is no param");
    pith_graph_free(g);
}

/* A gradient by rows that was scaled by hand is none any more, however many rows there are. */
static void scaled_by_hand(void **state)
{
    world *w = *state;
    for (int drawn = 4; drawn <= 6; drawn++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        node *table = pith_param(g, "table", PITH_NORMAL, 1, 5, 2), *d;
        node *rows = pith_gather_rows(table, pith_sample_ids(g, 5, drawn));
        assert_true(pith_gradients(pith_sum(rows, PITH_ALL), 1, &table, &d));
        d = pith_mul_scalar(d, 0.5);
        assert_true(pith_poisoned(pith_sgd(1, &table, &d, pith_const(g, 1), 0, 0, NULL)));
        said("the gradient of table has another shape than the param");
        pith_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_rows_are_dense), cmocka_unit_test(other_rows_stay),
        cmocka_unit_test(work_does_not_grow), cmocka_unit_test(a_skipped_step_writes_nothing),
        cmocka_unit_test(updates_move_rows),  WITH_WORLD(whole_reads_are_refused),
        WITH_WORLD(scaled_by_hand),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
