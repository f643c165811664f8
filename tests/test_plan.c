/* test_plan.c: what the planner promises: arenas near the lower bound, the same bits as without it
 * and on any number of threads, recomputation that is exact and saves what it should. */
#include <omp.h>
#include "clip_feed.h"
#include "train/optim.h"
#include "losses/losses.h"

typedef struct {
    pith_store *s;
    pith_graph *g;
    node *loss, *update;
    clip_inputs in;
    int n;
    node **params, **gradients;
} training;

static void differentiate(training *t)
{
    t->n = pith_params(t->g, &t->params);
    t->gradients = calloc((size_t)t->n, sizeof *t->gradients);
    assert_true(pith_grad(t->loss, t->n, t->params, t->gradients));
    node *norm;
    pith_clip_norm(t->n, t->gradients, 1, &norm);
    t->update = pith_adamw(t->n, t->params, t->gradients, pith_const(t->g, 1e-3),
                           (pith_adamw_options){ 0.9, 0.98, 1e-6, 0.2 }, pith_is_finite(norm));
    assert_null(pith_graph_error(t->g));
}

static training mlp(int layers)
{
    training t = { .s = pith_store_new() };
    t.g = pith_graph_new(t.s, 1);
    node *x = pith_sample(t.g, -1, 1, 64, 96);
    for (int k = 0; k < layers; k++) {
        pith_scope(t.g, "layer%d", k);
        const int in = x->dim[1], out = k + 1 < layers ? 128 : 10;
        x = pith_linear(x, pith_param(t.g, "w", PITH_NORMAL, 0.1, out, in),
                        pith_param(t.g, "b", PITH_CONSTANT, 0, out));
        if (k + 1 < layers) x = pith_gelu(x);
        pith_unscope(t.g);
    }
    t.loss = pith_mean(pith_cross_entropy(x, pith_sample_ids(t.g, 10, 64)), PITH_ALL);
    differentiate(&t);
    return t;
}

static training vit(void)
{
    const clip_config c = clip_config_uniform(32, 8, 64, 4, 32, 16, 64, 32, 1, 1, 10);
    training t = { .s = pith_store_new() };
    t.g = pith_graph_new(t.s, 1);
    node *logits = clip_image(t.g, &c, pith_sample(t.g, -1, 1, 16, 3, 32, 32));
    t.loss = pith_mean(pith_cross_entropy(logits, pith_sample_ids(t.g, 10, 16)), PITH_ALL);
    differentiate(&t);
    return t;
}

enum { B = 16, LENGTH = 6, SIZE = 16 };
static training clip(int layers, const char *loss)
{
    const clip_config c = clip_config_uniform(SIZE, 4, 32, layers, 16, 16, 64, 24, layers, 2, 12);
    training t = { .s = pith_store_new() };
    t.g = pith_graph_new(t.s, 1);
    t.in = clip_inputs_new(t.g, &c, B, B * LENGTH);
    const pith_batch b = clip_batch(t.g, &c, &t.in);
    pith_loss_spec *spec = pith_loss_parse(loss, "build");
    t.loss = pith_loss_build(spec, &b);
    pith_loss_free(spec);
    differentiate(&t);
    return t;
}

/* A named model at its own size, with a batch of 8. */
static training named(const char *name)
{
    training t = { .s = pith_store_new() };
    clip_config c;
    assert_true(clip_config_named(&c, name));
    t.g = pith_graph_new(t.s, 1);
    t.in = clip_inputs_new(t.g, &c, 8, 8 * LENGTH);
    const pith_batch b = clip_batch(t.g, &c, &t.in);
    pith_loss_spec *spec = pith_loss_parse("clip", "build");
    t.loss = pith_loss_build(spec, &b);
    pith_loss_free(spec);
    differentiate(&t);
    return t;
}

static void end(training *t)
{
    free(t->gradients);
    pith_graph_free(t->g);
    pith_store_free(t->s);
}

/* ---- the lower bound ---- */

static void near_bound(const char *name, training t)
{
    node *out[2] = { t.loss, t.update };
    pith_plan *p = pith_plan_new(t.g, 2, out, NULL);
    assert_non_null(p);
    const pith_plan_stats s = pith_plan_statistics(p);
    print_message("worst %s: arena %zu, bound %zu, ratio %.4f; "
                  "without in-place %zu, without fusion %zu, a buffer each %zu\n",
                  name, s.arena, s.bound, (double)s.arena / (double)s.bound, s.without_inplace,
                  s.without_fusion, s.separate);
    assert_true((double)s.arena <= 1.02 * (double)s.bound);
    assert_true(s.bound <= s.without_inplace && s.bound <= s.without_fusion &&
                s.separate > 2 * s.arena);
    assert_true(s.merged > 0 && s.folded > 0 && s.fused > 0);
    pith_plan_free(p);
    end(&t);
}

static void arenas_are_tight(void **state)
{
    (void)state;
    near_bound("MLP", mlp(5));
    near_bound("ViT", vit());
    near_bound("CLIP", clip(3, "clip"));
    near_bound("CLIP of twelve layers", clip(12, "clip"));
    near_bound("demo-teacher", named("demo-teacher"));
    near_bound("demo-student", named("demo-student"));
    near_bound("tinyclip-8m-16", named("tinyclip-8m-16"));
}

/* ---- the same bits ---- */

/* Everything in the store after three steps, and the losses. */
static real *trained(training t, bool planned, int threads, size_t *size)
{
    omp_set_num_threads(threads);
    node *out[2] = { t.loss, t.update };
    pith_plan *p = pith_plan_new(t.g, 2, out, &(pith_plan_options){ .unplanned = !planned });
    assert_non_null(p);
    if (t.in.pixels) feed_clip(p, &t.in);
    *size = 3;
    for (int k = 0; k < pith_store_count(t.s); k++)
        *size += pith_tensor_size(pith_store_at(t.s, k));
    real *all = malloc(*size * sizeof *all), *at = all;
    for (int step = 0; step < 3; step++) {
        assert_true(pith_run(p));
        *at++ = (real)pith_scalar(p, t.loss);
    }
    for (int k = 0; k < pith_store_count(t.s); k++) {
        const pith_tensor *x = pith_store_at(t.s, k);
        assert_true(pith_tensor_read(x, at));
        at += pith_tensor_size(x);
    }
    assert_true(isfinite(all[2]) && all[2] != all[0]);
    pith_plan_free(p);
    end(&t);
    return all;
}

static void plan_changes_no_bit(void **state)
{
    (void)state;
    size_t a_size, b_size;
    real *a = trained(mlp(4), true, 2, &a_size), *b = trained(mlp(4), false, 2, &b_size);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size * sizeof *a);
    free(a), free(b);
    a = trained(clip(3, "clip"), true, 2, &a_size), b = trained(clip(3, "clip"), false, 2, &b_size);
    assert_memory_equal(a, b, a_size * sizeof *a);
    free(a), free(b);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    size_t size;
    real *one = trained(clip(2, "clip"), true, 1, &size);
    for (int threads = 2; threads <= 4; threads += 2) {
        real *more = trained(clip(2, "clip"), true, threads, &size);
        assert_memory_equal(one, more, size * sizeof *one);
        free(more);
    }
    free(one);
    omp_set_num_threads(2);
}

/* ---- recomputation ---- */

static node *region(node *x, void *context)
{
    const int k = *(int *)context;
    pith_graph *g = x->graph;
    pith_scope(g, "s%d", k);
    node *w = pith_param(g, "w", PITH_NORMAL, 0.2, 64, 64);
    for (int i = 0; i < 4; i++) x = pith_tanh(pith_matmul(x, w));
    x = pith_dropout(x, 0.2);
    pith_unscope(g);
    return x;
}

enum { SEGMENTS = 6 };
static size_t recomputed(bool checkpoint, real *values)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 5);
    pith_set_training(g, true);
    node *x = pith_sample(g, -1, 1, 256, 64), **params, *d[SEGMENTS], *out[SEGMENTS + 1];
    for (int k = 0; k < SEGMENTS; k++)
        x = checkpoint ? pith_recompute(region, x, &k) : region(x, &k);
    out[0] = pith_mean(pith_square(x), PITH_ALL);
    const int n = pith_params(g, &params);
    assert_int_equal(n, SEGMENTS);
    assert_true(pith_grad(out[0], n, params, d));
    for (int k = 0; k < n; k++) out[k + 1] = d[k];
    pith_plan *p = pith_plan_new(g, n + 1, out, NULL);
    assert_non_null(p);
    assert_true(pith_run(p));
    *values++ = (real)pith_scalar(p, out[0]);
    for (int k = 0; k < n; k++, values += 64 * 64)
        memcpy(values, value_of(p, d[k]), 64 * 64 * sizeof *values);
    const size_t bytes = pith_plan_statistics(p).arena;
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
    return bytes;
}

static void recomputation_is_exact_and_saves(void **state)
{
    (void)state;
    const size_t size = 1 + SEGMENTS * 64 * 64, row = 256 * 64 * sizeof(real);
    real *kept = malloc(size * sizeof *kept), *again = malloc(size * sizeof *again);
    const size_t all = recomputed(false, kept), less = recomputed(true, again);
    assert_memory_equal(kept, again, size * sizeof *kept);
    print_message("worst recomputation: %zu bytes instead of %zu\n", less, all);
    /* Kept: four activations a region. Recomputed: one a region, and the four of the region at
     * hand. Gradients and two temporaries beside. */
    assert_true(all > (size_t)4 * SEGMENTS * row);
    assert_true(less < (size_t)(SEGMENTS + 4 + 3) * row + 2 * SEGMENTS * 64 * 64 * sizeof(real));
    free(kept), free(again);
}

/* ---- one arena a store ---- */

static void plans_share_an_arena(void **state)
{
    (void)state;
    training t = mlp(4);
    node *out[2] = { t.loss, t.update };
    pith_plan *large = pith_plan_new(t.g, 2, out, NULL), *small = pith_plan_new(t.g, 1, out, NULL);
    assert_int_equal(t.s->arena_size, pith_plan_statistics(large).arena);
    assert_true(pith_run(small) && pith_run(large) && pith_run(small));
    pith_plan_free(large);
    pith_plan_free(small);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arenas_are_tight),      cmocka_unit_test(plan_changes_no_bit),
        cmocka_unit_test(threads_change_no_bit), cmocka_unit_test(recomputation_is_exact_and_saves),
        cmocka_unit_test(plans_share_an_arena),
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
