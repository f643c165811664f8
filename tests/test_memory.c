/* test_memory.c: memory that runs out while a graph is built or planned. The graph has failed and
 * says so, or there is no plan, and everything else goes on. The linker puts the functions below in
 * the place of the system's. */
#include "tests.h"
#include "train/optim.h"

static long left = -1; /* allocations until one fails; below 0: none does */
static bool for_good;  /* and all after it */
static bool failed;

static bool fails(void)
{
    if (left < 0) return false;
    if (left > 0) return left--, false;
    if (!for_good) left = -1;
    return failed = true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t to, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t to, size_t size);
void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *old, size_t size) { return fails() ? NULL : __real_realloc(old, size); }
void *__wrap_aligned_alloc(size_t to, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(to, size);
}

static node *body(node *x, void *context)
{
    return pith_layer_norm(pith_tanh(x), context, pith_softmax(context));
}

enum { PARTS = 10000 };

/* Every part of building a graph that allocates: also an op with more inputs than the reserve has
 * room for. Returns all writes of a training step, NULL after an error. */
static node *build(pith_graph *g)
{
    static const int offsets[] = { 0, 2, 5 };
    pith_scope(g, "layer.%d", 1);
    pith_use_store(g, pith_store_of(g), "model.", false);
    node *x = pith_input(g, "x", PITH_F32, 5, 12), *w = pith_param(g, "w", PITH_NORMAL, 1, 12, 12);
    node *gain = pith_param(g, "gain", PITH_NORMAL, 1, 12);
    node *mean = pith_state_like(g, "mean", gain);
    pith_leave_store(g);
    pith_unscope(g);
    node *y = pith_recompute(body, pith_matmul(x, w), gain);
    node *parts[5];
    for (int k = 0; k < 5; k++) parts[k] = pith_slice(y, 0, k, k + 1);
    y = pith_concat(5, parts, 0);
    pith_update(mean, pith_mean(y, 0));
    y = pith_dropout(pith_add(y, pith_normal(g, 5, 12)), 0.1);
    node *a = pith_attention(pith_reshape(y, 5, 3, 2, 2), pith_const_array(g, PITH_I32, offsets, 3),
                             true);
    node *loss = pith_watch(pith_name(pith_sum(pith_square(a), PITH_ALL), "loss"), "loss");
    node *both[2] = { w, gain }, *d[2], *dd, *norm;
    if (!pith_grad(loss, 2, both, d)) return NULL;
    pith_grad(pith_sum(pith_square(d[0]), PITH_ALL), 1, &w, &dd);
    if (!pith_gradients(loss, 2, both, d) || !pith_clip_norm(2, d, 1, &norm)) return NULL;
    node *ok = pith_step_ok(norm), *states = pith_commit(g, ok);
    node *all = pith_ema(pith_adamw(2, both, d, pith_const(g, 0.1),
                                    (pith_adamw_options){ 0.9, 0.99, 1e-8, 0.1 }, ok),
                         0.5, ok);
    node *writes[2] = { states, all }, *step = pith_group(2, writes);
    node **many = __real_malloc(PARTS * sizeof *many);
    for (int k = 0; k < PARTS; k++) many[k] = x;
    pith_concat(PARTS, many, 0);
    free(many);
    return step;
}

/* Each allocation in turn fails: once, or with all after it. */
static void every_allocation(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        long k = 0;
        for (failed = true; failed; k++) {
            pith_store *s = pith_store_new();
            failed = false;
            for_good = mode;
            left = k;
            pith_graph *g = pith_graph_new(s, 0);
            if (g) pith_set_training(g, true), build(g);
            left = -1;
            if (failed && g && !pith_graph_error(g)) fail_msg("allocation %ld: nothing is told", k);
            if (failed) said("no memory");
            if (!failed) assert_null(pith_graph_error(g));
            if (g) {
                pith_square(pith_const(g, 1));
                if (failed) assert_null(pith_plan_new(g, 1, (node *[]){ pith_const(g, 1) }, NULL));
            }
            pith_graph_free(g);
            pith_store_free(s);
        }
        assert_true(k > 50);
    }
}

static void every_allocation_of_a_plan(void **state)
{
    (void)state;
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 0);
    pith_set_training(g, true);
    node *step = build(g);
    assert_non_null(step);
    for (int mode = 0; mode < 4; mode++) {
        const pith_plan_options options = { .bf16 = mode > 1 };
        long k = 0;
        for (failed = true; failed; k++) {
            failed = false;
            for_good = mode % 2;
            left = k;
            pith_plan *p = pith_plan_new(g, 1, &step, &options);
            left = -1;
            if ((p == NULL) != failed)
                fail_msg("allocation %ld: %s", k, p ? "nobody noticed" : pith_error());
            if (failed) said("no memory");
            pith_plan_free(p);
        }
        assert_true(k > 50);
    }
    pith_plan *p = pith_plan_new(g, 1, &step, NULL);
    left = 7; /* of a shadow plan: its figure is missing, the plan is whole */
    for_good = false;
    pith_plan_statistics(p);
    left = -1;
    assert_non_null(p);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation),
                                        cmocka_unit_test(every_allocation_of_a_plan) };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
