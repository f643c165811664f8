/* test_graph.c: what the graph promises: scopes, stores, writes, printing, optimizers as nodes. */
#include "tests.h"
#include "train/optim.h"
#include "scale.h"

/* ---- leaves and stores ---- */

static void scopes_and_stores(void **state)
{
    world *w = *state;
    pith_scope(w->g, "visual");
    pith_scope(w->g, "resblocks.%d", 3);
    node *p = pith_param(w->g, "weight", PITH_NORMAL, 1, 2, 2);
    pith_unscope(w->g);
    pith_unscope(w->g);
    assert_string_equal(p->name, "visual.resblocks.3.weight");

    pith_store *teacher = pith_store_new();
    pith_use_store(w->g, teacher, "", true);
    node *frozen = pith_param(w->g, "weight", PITH_NORMAL, 1, 4), **params;
    pith_leave_store(w->g);
    assert_non_null(pith_store_find(teacher, "weight"));
    assert_null(pith_store_find(w->s, "weight"));
    assert_int_equal(pith_params(w->g, &params), 1);
    assert_ptr_equal(params[0], p);
    assert_ptr_not_equal(frozen, p);

    pith_graph *second = pith_graph_new(w->s, 3);
    node *same = pith_param(second, "visual.resblocks.3.weight", PITH_NORMAL, 1, 2, 2);
    assert_ptr_equal(pith_leaf_of(same)->tensor, pith_leaf_of(p)->tensor);
    pith_param(second, "visual.resblocks.3.weight", PITH_NORMAL, 1, 2, 3);
    assert_non_null(
        strstr(pith_graph_error(second), "has shape (2, 2) in the store, this graph wants (2, 3)"));
    pith_graph_free(second);
    pith_graph_free(w->g);
    w->g = pith_graph_new(w->s, 3);
    pith_store_free(teacher);
}

static void initial_values(void **state)
{
    world *w = *state;
    pith_param(w->g, "a", PITH_NORMAL, 2, 4096);
    pith_param(w->g, "b", PITH_UNIFORM, 0.5, 4096);
    const real *a = stored(w->s, "a"), *b = stored(w->s, "b");
    double square = 0, most = 0;
    for (int i = 0; i < 4096; i++)
        square += (double)(a[i] * a[i]), most = fmax(most, fabs((double)b[i]));
    assert_true(fabs(sqrt(square / 4096) - 2) < 0.1);
    assert_true(most <= 0.5 && most > 0.49);
    pith_store *again = pith_store_new();
    pith_graph *g = pith_graph_new(again, 3);
    /* another order of making: the same numbers, keyed by name */
    pith_param(g, "b", PITH_UNIFORM, 0.5, 4096);
    assert_memory_equal(stored(again, "b"), b, 4096 * sizeof(real));
    pith_graph_free(g);
    pith_store_free(again);
}

/* ---- writes ---- */

static void assigns(void **state)
{
    world *w = *state;
    node *c = pith_state(w->g, "count", PITH_F32, PITH_CONSTANT, 5);
    node *before = pith_mul_scalar(c, 10), *after = pith_assign(c, pith_add_scalar(c, 1)),
         *then = pith_mul_scalar(after, 100);
    node *out[3] = { before, after, then };
    pith_plan *p = pith_plan_new(w->g, 3, out, NULL);
    for (int run = 0; run < 3; run++) {
        assert_true(pith_run(p));
        assert_true(pith_scalar(p, before) == 10 * (5 + run));
        assert_true(pith_scalar(p, after) == 6 + run);
        assert_true(pith_scalar(p, then) == 100 * (6 + run));
    }
    pith_plan_free(p);
    pith_neg(c);
    assert_non_null(strstr(pith_graph_error(w->g), "count is read after it was assigned"));
}

/* Readers of the old value on the other side of a matmul, an alias, and a late member of the
 * writing chain. */
static void assigns_keep_order(void **state)
{
    world *w = *state;
    node *a = pith_state(w->g, "a", PITH_F32, PITH_CONSTANT, 1, 3, 4),
         *x = pith_sample(w->g, 0.5, 1, 4, 2);
    node *view = pith_reshape(a, 4, 3), *product = pith_matmul(a, x);
    node *next = pith_add(pith_mul(a, a), a), *difference = pith_sub(next, a),
         *view_sum = pith_sum(view, PITH_ALL);
    node *out[5] = { product, pith_assign(a, next), difference, view_sum,
                     pith_sum(difference, PITH_ALL) };
    pith_plan *p = pith_plan_new(w->g, 5, out, NULL);
    pith_plan *plain = pith_plan_new(w->g, 5, out, &(pith_plan_options){ .unplanned = true });
    real start[12];
    for (int i = 0; i < 12; i++) start[i] = (real)(0.1 * i);
    assert_true(pith_tensor_write(pith_store_find(w->s, "a"), start));
    real got[5][12] = { { 0 } };
    assert_true(pith_run(p));
    for (int k = 0; k < 5; k++) memcpy(got[k], value_of(p, out[k]), pith_bytes(out[k]));
    assert_true(pith_tensor_write(pith_store_find(w->s, "a"), start));
    assert_true(pith_run(plain));
    for (int k = 0; k < 5; k++)
        assert_memory_equal(got[k], value_of(plain, out[k]), pith_bytes(out[k]));
    pith_plan_free(p);
    pith_plan_free(plain);
}

/* Every row reads row 0 of the leaf that is written: row 0 must not be new before the last one has
 * read it. */
static void assigns_from_an_own_row(void **state)
{
    enum { ROWS = 40, COLUMNS = 50 };
    world *w = *state;
    node *a = pith_state(w->g, "a", PITH_F32, PITH_CONSTANT, 1, ROWS, COLUMNS);
    node *next = pith_assign(a, pith_add(a, pith_slice(a, 0, 0, 1)));
    pith_plan *p = pith_plan_new(w->g, 1, &next, NULL);
    assert_true(pith_run(p));
    const real *data = value_of(p, next);
    for (int i = 0; i < ROWS * COLUMNS; i++) assert_true(data[i] == 2);
    pith_plan_free(p);
}

/* ---- optimizers ---- */

static void adamw_by_hand(void **state)
{
    world *w = *state;
    node *a = pith_clamp_param(pith_param(w->g, "a", PITH_NORMAL, 1, 5, 3), -1, 0.75),
         *b = pith_param(w->g, "b", PITH_NORMAL, 1, 3);
    node *both[2] = { a, b }, *d[2], *norm;
    node *loss = pith_mean(pith_square(pith_sub(pith_mul(a, b), pith_const(w->g, 0.7))), PITH_ALL);
    pith_grad(loss, 2, both, d);
    pith_clip_norm(2, d, 0.1, &norm);
    const pith_adamw_options o = { 0.9, 0.98, 1e-6, 0.2 };
    node *out[4] = { d[0], d[1], norm,
                     pith_ema(pith_adamw(2, both, d, pith_const(w->g, 0.01), o, NULL), 0.9, NULL) };
    pith_plan *p = pith_plan_new(w->g, 4, out, NULL);
    double x[2][15], m[2][15] = { { 0 } }, v[2][15] = { { 0 } }, ema[2][15];
    const int size[2] = { 15, 3 };
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < size[k]; i++)
            ema[k][i] = x[k][i] = (double)((real *)elements(pith_leaf_of(both[k])->tensor))[i];
    const double tolerance = sizeof(real) == 8 ? 1e-12 : 1e-5;
    for (int t = 1; t <= 5; t++) {
        assert_true(pith_run(p));
        assert_true(pith_scalar(p, norm) > 0);
        double length = 0;
        for (int k = 0; k < 2; k++)
            for (int i = 0; i < size[k]; i++) {
                const double g = (double)((const real *)value_of(p, d[k]))[i];
                length += g * g;
                m[k][i] = 0.9 * m[k][i] + 0.1 * g;
                v[k][i] = 0.98 * v[k][i] + 0.02 * g * g;
                x[k][i] *= 1 - 0.01 * (k == 0 ? 0.2 : 0); /* vectors are not decayed */
                x[k][i] -= 0.01 * m[k][i] / (1 - pow(0.9, t)) /
                           (sqrt(v[k][i] / (1 - pow(0.98, t))) + 1e-6);
                if (k == 0) x[k][i] = fmin(fmax(x[k][i], -1), 0.75);
                ema[k][i] = 0.9 * ema[k][i] + 0.1 * x[k][i];
                assert_true(fabs(x[k][i] - (double)((real *)elements(
                                               pith_leaf_of(both[k])->tensor))[i]) < tolerance);
                assert_true(
                    fabs(ema[k][i] - (double)((real *)stored(w->s, k ? "ema/b" : "ema/a"))[i]) <
                    tolerance);
            }
        assert_true(length < 0.1 * 0.1 * 1.001);
    }
    pith_plan_free(p);
}

/* A multiple of the common rate, a rate of one's own, and ascent with either, by both optimizers.
 */
static void rates_by_param(void **state)
{
    world *w = *state;
    node *params[8], *d[8], *loss = pith_const(w->g, 0);
    for (int k = 0; k < 8; k++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", k);
        params[k] = pith_param(w->g, name, PITH_CONSTANT, 1, 1, 1);
        if (k & 1) pith_lr_scale(params[k], k & 4 ? -0.5 : 0.5);
        else if (k & 4) pith_lr_scale(params[k], -1);
        if (k & 2) pith_own_lr(params[k], pith_mul_scalar(pith_const(w->g, 0.02), 3));
        loss = pith_add(loss, pith_sum(params[k], PITH_ALL)); /* a gradient of 1 */
    }
    pith_grad(loss, 8, params, d);
    const pith_adamw_options o = { 0.9, 0.98, 0, 0.1 };
    node *adamw = pith_adamw(4, params, d, pith_const(w->g, 0.01), o, NULL),
         *sgd = pith_sgd(4, params + 4, d + 4, pith_const(w->g, 0.01), 0, 0.1, NULL);
    pith_plan *p = pith_plan_new(w->g, 2, (node *[]){ adamw, sgd }, NULL);
    assert_true(pith_run(p));
    for (int k = 0; k < 8; k++) {
        const double rate = (k & 2 ? 0.06 : 0.01) * (k & 1 ? 0.5 : 1), sign = k & 4 ? -1 : 1;
        const double want = k < 4 ? 1 - rate * 0.1 - rate : 1 - sign * rate * (1 + sign * 0.1);
        const double found = (double)*(real *)elements(pith_tensor_of(params[k]));
        if (fabs(found - want) > 1e-6) fail_msg("param %d is %.9g, expected %.9g", k, found, want);
    }
    pith_plan_free(p);
    assert_true(pith_own_lr(params[0], params[1]) != params[0]);
    said("pith_own_lr: no scalar rate");
}

static void guard_keeps_everything(void **state)
{
    world *w = *state;
    node *a = pith_param(w->g, "a", PITH_NORMAL, 1, 40), *x = pith_input(w->g, "x", PITH_F32, 40),
         *d, *norm;
    pith_grad(pith_sum(pith_mul(pith_square(a), x), PITH_ALL), 1, &a, &d);
    pith_clip_norm(1, &d, 1, &norm);
    node *ok = pith_is_finite(norm);
    node *out[2] = { ok, pith_ema(pith_adamw(1, &a, &d, pith_const(w->g, 0.1),
                                             (pith_adamw_options){ 0.9, 0.99, 1e-8, 0 }, ok),
                                  0.5, ok) };
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
    real data[40], *before = NULL;
    for (int i = 0; i < 40; i++) data[i] = 1;
    pith_feed(p, x, data);
    assert_true(pith_run(p));
    assert_true(pith_scalar(p, ok) == 1);
    size_t total = 0, at = 0;
    for (int k = 0; k < pith_store_count(w->s); k++)
        total += pith_tensor_size(pith_store_at(w->s, k));
    before = malloc(total * sizeof *before);
    for (int k = 0; k < pith_store_count(w->s); at += pith_tensor_size(pith_store_at(w->s, k++)))
        memcpy(before + at, elements(pith_store_at(w->s, k)),
               pith_tensor_size(pith_store_at(w->s, k)) * sizeof *before);
    data[17] = (real)NAN;
    assert_true(pith_run(p));
    assert_true(pith_scalar(p, ok) == 0);
    at = 0;
    for (int k = 0; k < pith_store_count(w->s); at += pith_tensor_size(pith_store_at(w->s, k++)))
        assert_memory_equal(before + at, elements(pith_store_at(w->s, k)),
                            pith_tensor_size(pith_store_at(w->s, k)) * sizeof *before);
    free(before);
    pith_plan_free(p);
}

static void reached_params(void **state)
{
    world *w = *state;
    node *p[2] = { pith_param(w->g, "used", PITH_NORMAL, 1, 2),
                   pith_param(w->g, "idle", PITH_NORMAL, 1, 2) };
    bool reached[2];
    pith_depends_on(pith_sum(p[0], PITH_ALL), 2, p, reached);
    assert_true(reached[0] && !reached[1]);
}

/* ---- printing ---- */

static void formulas(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *x = pith_input(g, "x", PITH_F32), *d;
    node *y = pith_mul(pith_add(x, pith_const(g, 2)), pith_exp(pith_neg(x)));
    pith_grad(y, 1, &x, &d);
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    pith_print(f, y, 9);
    pith_print_dot(f, g, pith_name(y, "the \"y\""));
    fclose(f);
    assert_non_null(strstr(text, "(x + 2) * exp(-x)\n"));
    assert_non_null(strstr(text, "digraph pith {"));
    assert_non_null(strstr(text, "the \\\"y\\\""));
    free(text);
}

/* ---- 100,000 nodes in linear time ---- */

static node *blocks(pith_graph *g, int size)
{
    node *x = scale_x = pith_sample(g, 0, 1, 8), *y = x;
    for (int k = 0; k < size; k++)
        y = pith_softmax(pith_tanh(pith_add(pith_mul(y, x), pith_const(g, k))));
    return pith_sum(y, PITH_ALL);
}

static void large_graphs(void **state)
{
    world *w = *state;
    const scale_family family = { "blocks", 12000, blocks, false };
    node *y = blocks(w->g, 12500), *d;
    pith_grad(y, 1, &scale_x, &d);
    assert_true(pith_graph_size(w->g) > 100000);
    pith_plan *p = pith_plan_new(w->g, 1, &d, NULL);
    assert_non_null(p);
    assert_true(pith_run(p));
    pith_plan_free(p);
#ifndef PITH_SLOW
    double seconds;
    assert_true(scale_growth(&family, 2.3, &seconds) <= 2.3);
#else
    (void)family; /* the sanitizer's own work would be measured */
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(scopes_and_stores),
        WITH_WORLD(initial_values),
        WITH_WORLD(assigns),
        WITH_WORLD(assigns_keep_order),
        WITH_WORLD(assigns_from_an_own_row),
        WITH_WORLD(adamw_by_hand),
        WITH_WORLD(rates_by_param),
        WITH_WORLD(guard_keeps_everything),
        WITH_WORLD(reached_params),
        WITH_WORLD(formulas),
        WITH_WORLD(large_graphs),
    };
    scale_keep_memory();
    return cmocka_run_group_tests(tests, quiet, NULL);
}
