/* test_meaning.c: what values mean where several answers would be possible: leaves that are
 * written, averages, stores inside stores, cotangents that do not fit, odd offsets. */
#include "tests.h"
#include "train/optim.h"

/* ---- leaves that are written ---- */

/* The gradient by what was assigned; by the leaf whose old value is gone, a told error. */
static void gradients_by_written_leaves(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 5),
         *x = pith_input(w->g, "x", PITH_F32), *d;
    node *now = pith_assign(s, pith_mul(pith_square(s), x)), *y = pith_square(now);
    assert_true(pith_grad(y, 1, &now, &d));
    pith_plan *p = pith_plan_new(w->g, 1, &d, NULL);
    const real two = 2;
    assert_true(pith_feed(p, x, &two) && pith_run(p));
    near(pith_scalar(p, d), 2 * 50);
    pith_plan_free(p);
    assert_false(pith_grad(y, 1, &s, &d));
    assert_true(pith_poisoned(d));
    said("s is read after it was assigned: use what the latest write returned");
}

/* A watched leaf is logged as it was before the step wrote it. */
static void watched_leaves_are_copies(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 5, 1), **watched;
    const char *const *names;
    pith_watch(pith_reshape(s), "s");
    node *out[2] = { NULL, pith_assign(s, pith_add_scalar(s, 1)) };
    assert_int_equal(pith_watched(w->g, &watched, &names), 1);
    assert_string_equal(names[0], "s");
    out[0] = watched[0];
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
    assert_non_null(p);
    for (int run = 0; run < 2; run++) {
        assert_true(pith_run(p));
        near(pith_scalar(p, watched[0]), 5 + run);
        near(pith_scalar(p, out[1]), 6 + run);
    }
    pith_plan_free(p);
}

/* What a write returned is the leaf as it then was: after the next write it may not be read. */
static void values_between_two_writes(void **state)
{
    world *w = *state;
    static const int id = 1;
    node *bank = pith_state(w->g, "bank", PITH_F32, PITH_CONSTANT, 0, 3, 2);
    node *ids = pith_const_array(w->g, PITH_I32, &id, 1),
         *ones = pith_const_array(w->g, PITH_F32, (real[]){ 1, 1 }, 1, 2);
    node *first = pith_write_rows(bank, ids, ones, NULL), *between = pith_sum(first, PITH_ALL);
    node *second = pith_write_rows(first, ids, pith_mul_scalar(ones, 3), NULL);
    node *both[2] = { first, second };
    node *out[3] = { between, pith_sum(second, PITH_ALL), pith_group(2, both) };
    pith_plan *p = pith_plan_new(w->g, 3, out, NULL);
    assert_true(pith_run(p));
    near(pith_scalar(p, between), 2);
    near(pith_scalar(p, out[1]), 6);
    pith_plan_free(p);
    pith_sum(first, 0);
    said("bank is read after it was assigned: use what the latest write returned");

    pith_graph *g = pith_graph_new(w->s, 0);
    bank = pith_state(g, "bank", PITH_F32, PITH_CONSTANT, 0, 3, 2);
    node *whole = pith_assign_("first.c:7", bank, pith_add_scalar(bank, 1));
    pith_write_rows(whole, pith_const_array(g, PITH_I32, &id, 1), pith_slice(whole, 0, 0, 1), NULL);
    said("write_rows: bank was assigned at first.c:7: whole writes and rows do not mix");
    pith_graph_free(g);
}

/* ---- stores ---- */

static void averages_create_nothing(void **state)
{
    world *w = *state;
    node *a = pith_param(w->g, "a", PITH_CONSTANT, 3, 2),
         *b = pith_param(w->g, "b", PITH_CONSTANT, 4);
    pith_state(w->g, "count", PITH_F32, PITH_CONSTANT, 7);
    pith_state(w->g, "ema/count", PITH_F32, PITH_CONSTANT, 1); /* somebody's own, no average */
    pith_state(w->g, "ema/a", PITH_F32, PITH_CONSTANT, 2.5, 2);
    const int before = pith_store_count(w->s);
    pith_graph *g = pith_graph_new(w->s, 0);
    pith_use_averages(g, w->s);
    node *out[3] = { pith_param(g, "a", PITH_CONSTANT, 0, 2), pith_param(g, "b", PITH_CONSTANT, 0),
                     pith_state(g, "count", PITH_F32, PITH_CONSTANT, 0) },
         **trained;
    assert_int_equal(pith_params(g, &trained), 0);
    pith_leave_store(g);
    pith_plan *p = pith_plan_new(g, 3, out, NULL);
    assert_true(pith_run(p));
    near((double)*(real *)value_of(p, out[0]), 2.5);
    near(pith_scalar(p, out[1]), 4);
    near(pith_scalar(p, out[2]), 7);
    pith_plan_free(p);
    pith_graph_free(g);
    assert_int_equal(pith_store_count(w->s), before);
    assert_true(pith_leaf_of(a)->tensor->kind == PITH_WEIGHT);
    assert_true(pith_leaf_of(b)->tensor->kind == PITH_WEIGHT);
    assert_true(pith_store_find(w->s, "ema/a")->kind == PITH_STATE);
}

static void averages_of_the_wrong_kind(void **state)
{
    world *w = *state;
    pith_param(w->g, "a", PITH_CONSTANT, 3, 2);
    pith_state(w->g, "ema/a", PITH_F32, PITH_CONSTANT, 2.5, 2);
    pith_state(w->g, "count", PITH_F32, PITH_CONSTANT, 7);
    static const char *const wanted[] = {
        "a is a weight of the store, this graph wants a state",
        "count is a state of the store, this graph wants a weight",
        "the store has neither an average nor a weight called new",
        "the store has no state called new",
        "a has shape (2,) in the store, this graph wants (3,)",
    };
    for (int k = 0; k < 5; k++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        pith_use_averages(g, w->s);
        if (k == 0) pith_state(g, "a", PITH_F32, PITH_CONSTANT, 0, 2);
        if (k == 1) pith_param(g, "count", PITH_CONSTANT, 0);
        if (k == 2) pith_param(g, "new", PITH_CONSTANT, 0);
        if (k == 3) pith_state(g, "new", PITH_F32, PITH_CONSTANT, 0);
        if (k == 4) pith_param(g, "a", PITH_CONSTANT, 0, 3);
        said(wanted[k]);
        said("tests/test_meaning.c:");
        pith_graph_free(g);
    }
    assert_int_equal(pith_store_count(w->s), 3);
    assert_true(pith_store_find(w->s, "a")->kind == PITH_WEIGHT);
    assert_true(pith_store_find(w->s, "count")->kind == PITH_STATE);
}

/* A name stands for a weight or for a state, also in one graph and also in a frozen one. */
static void one_name_one_kind(void **state)
{
    world *w = *state;
    pith_param(w->g, "w", PITH_CONSTANT, 1, 2);
    pith_graph *g = pith_graph_new(w->s, 0);
    pith_use_store(g, w->s, "", true);
    assert_true(pith_poisoned(pith_state(g, "w", PITH_F32, PITH_CONSTANT, 1, 2)));
    said("w is a weight of the store, this graph wants a state");
    assert_true(pith_store_find(w->s, "w")->kind == PITH_WEIGHT);
    pith_graph_free(g);
}

/* What a file of pith's calls a weight is one; a file of somebody else's leaves it to the graph. */
static void kinds_of_files(void **state)
{
    world *w = *state;
    char path[64];
    snprintf(path, sizeof path, "/tmp/pith-test-%d.safetensors", (int)getpid());
    for (int told = 0; told < 2; told++) {
        pith_store *from = pith_store_new(), *to = pith_store_new();
        pith_store_add(from, "mean", PITH_WEIGHT, PITH_F32, 1, (int[]){ 2 });
        assert_true(pith_store_save(from, path, told ? PITH_ANY : PITH_WEIGHT));
        assert_true(pith_store_load(to, path));
        pith_graph *g = pith_graph_new(to, 0);
        node *mean = pith_state(g, "mean", PITH_F32, PITH_CONSTANT, 0, 2);
        assert_int_equal(pith_poisoned(mean), told);
        if (told) said("mean is a weight of the store, this graph wants a state");
        assert_int_equal(pith_store_find(to, "mean")->kind, told ? PITH_WEIGHT : PITH_STATE);
        pith_graph_free(g);
        pith_store_free(from);
        pith_store_free(to);
    }
    unlink(path);
    assert_int_equal(pith_store_count(w->s), 0);
}

static void stores_inside_stores(void **state)
{
    world *w = *state;
    pith_store *teacher = pith_store_new(), *other = pith_store_new();
    pith_use_store(w->g, teacher, "teacher.", true);
    node *a = pith_param(w->g, "w", PITH_CONSTANT, 1, 2);
    pith_use_store(w->g, other, "inner.", false);
    node *b = pith_param(w->g, "w", PITH_CONSTANT, 1, 2);
    pith_leave_store(w->g);
    node *c = pith_param(w->g, "v", PITH_CONSTANT, 1, 2);
    pith_leave_store(w->g);
    node *d = pith_param(w->g, "w", PITH_CONSTANT, 1, 2), **trained;
    assert_string_equal(a->name, "teacher.w");
    assert_string_equal(b->name, "inner.w");
    assert_string_equal(c->name, "teacher.v");
    assert_string_equal(d->name, "w");
    assert_int_equal(pith_params(w->g, &trained), 2);
    assert_ptr_equal(trained[0], b);
    assert_ptr_equal(trained[1], d);
    assert_non_null(pith_store_find(teacher, "teacher.v"));
    assert_non_null(pith_store_find(other, "inner.w"));
    assert_int_equal(pith_store_count(w->s), 1);
    pith_graph_free(w->g);
    w->g = pith_graph_new(w->s, 3);
    pith_store_free(teacher);
    pith_store_free(other);
}

/* ---- cotangents that do not fit ---- */

static void cotangents_of_other_types(void **state)
{
    world *w = *state;
    static const char *const wanted[] = { "with a cotangent that has no f32 value",
                                          "with a cotangent that has no f32 value",
                                          "the cotangent (2,) has not the shape ()",
                                          "with a cotangent that is NULL",
                                          "with a cotangent that is of another graph" };
    for (int k = 0; k < 5; k++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        node *x = pith_input(g, "x", PITH_F32), *y = pith_square(x), *d;
        node *cotangent = k == 0   ? pith_input(g, "i", PITH_I32)
                          : k == 1 ? pith_group(1, &x)
                          : k == 2 ? pith_input(g, "two", PITH_F32, 2)
                          : k == 3 ? NULL
                                   : pith_const(w->g, 1);
        assert_false(pith_vjp(y, cotangent, 1, &x, &d));
        said(wanted[k]);
        pith_graph_free(g);
    }
}

/* ---- offsets ---- */

enum { ROWS = 9, SEGMENTS = 4, WIDTH = 12 };

typedef struct {
    node *qkv, *q, *kv, *offsets, *segments, *attended[2], *meant[2];
} offsets_graph;

/* Attention over rows, or with one query a segment; as its kernel has it, and as its meaning. */
static offsets_graph attend(pith_graph *g, bool causal)
{
    offsets_graph o = { .qkv = pith_sample(g, -1, 1, ROWS, 3, 2, WIDTH),
                        .q = pith_sample(g, -1, 1, SEGMENTS, 2, WIDTH),
                        .kv = pith_sample(g, -1, 1, ROWS, 2, 2, WIDTH),
                        .offsets = pith_input(g, "offsets", PITH_I32, SEGMENTS + 1) };
    o.segments = pith_segments(o.offsets, ROWS);
    o.attended[0] = pith_attention(o.qkv, o.offsets, causal);
    o.attended[1] = pith_pooled_attention(o.q, o.kv, o.offsets);
    for (int k = 0; k < 2; k++) {
        node *lowered[2];
        o.attended[k]->op->lower(o.attended[k], lowered);
        o.meant[k] = lowered[0];
    }
    return o;
}

static void close_to(const pith_plan *p, const node *a, const node *b)
{
    const real *x = value_of(p, a), *y = value_of(p, b);
    assert_true(pith_same_shape(a, b));
    for (size_t i = 0; i < pith_size(a); i++)
        if (fabs((double)(x[i] - y[i])) > (sizeof(real) == 8 ? 1e-12 : 1e-5))
            fail_msg("element %zu: %g and %g", i, (double)x[i], (double)y[i]);
}

/* Rows in no segment, by the rule in words: bounds lie in [0, ROWS] and never fall. */
static void check_segments(const int *offsets, const int *segment)
{
    int wanted[ROWS], begin = 0;
    for (int i = 0; i < ROWS; i++) wanted[i] = -1;
    for (int s = -1; s < SEGMENTS; s++) {
        int end = offsets[s + 1] > ROWS ? ROWS : offsets[s + 1];
        if (end < begin) end = begin;
        for (int i = begin; s >= 0 && i < end; i++) wanted[i] = s;
        begin = end;
    }
    assert_memory_equal(segment, wanted, sizeof wanted);
}

/* Whatever the offsets are, segments, both kernels, their meanings and their gradients read them
 * alike. */
static void odd_offsets(void **state)
{
    world *w = *state;
    for (int causal = 0; causal < 2; causal++) {
        const offsets_graph o = attend(w->g, causal);
        node *wrt[3] = { o.qkv, o.q, o.kv },
             *out[11] = { o.segments, o.attended[0], o.attended[1], o.meant[0], o.meant[1] };
        for (int k = 0; k < 2; k++) {
            node *const *y = k ? o.meant : o.attended;
            node *loss = pith_add(pith_sum(pith_square(y[0]), PITH_ALL),
                                  pith_sum(pith_square(y[1]), PITH_ALL));
            assert_true(pith_grad(loss, 3, wrt, out + 5 + 3 * k));
        }
        pith_plan *p = pith_plan_new(w->g, 11, out, NULL);
        for (int round = 0; round < 200; round++) {
            int offsets[SEGMENTS + 1];
            for (int s = 0; s <= SEGMENTS; s++)
                offsets[s] = (int)(pith_uniform_at(3, (uint64_t)round, (uint64_t)s) * (ROWS + 6)) -
                             3;
            assert_true(pith_feed(p, o.offsets, offsets) && pith_run(p));
            check_segments(offsets, value_of(p, o.segments));
            for (int k = 0; k < 2; k++) close_to(p, o.attended[k], o.meant[k]);
            for (int k = 0; k < 3; k++) close_to(p, out[5 + k], out[8 + k]);
        }
        pith_plan_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(gradients_by_written_leaves),
        WITH_WORLD(watched_leaves_are_copies),
        WITH_WORLD(values_between_two_writes),
        WITH_WORLD(averages_create_nothing),
        WITH_WORLD(averages_of_the_wrong_kind),
        WITH_WORLD(one_name_one_kind),
        WITH_WORLD(kinds_of_files),
        WITH_WORLD(stores_inside_stores),
        WITH_WORLD(cotangents_of_other_types),
        WITH_WORLD(odd_offsets),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
