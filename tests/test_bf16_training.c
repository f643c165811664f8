/* test_bf16_training.c: training in bf16: the same bits with and without the planner and on any
 * number of threads; less memory; what is trained is what f32 trains, but for rounding. */
#include <omp.h>
#include "bf16.h"
#include "clip_feed.h"
#include "losses/losses.h"
#include "train/optim.h"

enum { B = 64, LENGTH = 6, SIZE = 16, STEPS = 10 };
typedef struct {
    pith_store *s;
    pith_graph *g;
    clip_inputs in;
    int n;
    node *out[2], **gradients;
} training;

static node *block(node *x, void *context)
{
    pith_scope(x->graph, "block%d", *(int *)context);
    node *w = pith_param(x->graph, "w", PITH_NORMAL, 0.2, 32, 32);
    x = pith_add(x, pith_matmul_nt(pith_gelu(pith_matmul(x, w)), w));
    /* only the gradient of the gain reads that product, which is none of a further one */
    x = pith_matmul(x, pith_sample(x->graph, -0.3, 0.3, 32, 32));
    x = pith_dropout(pith_mul(x, pith_param(x->graph, "gain", PITH_CONSTANT, 1, 32)), 0.1);
    pith_unscope(x->graph);
    return x;
}

static void differentiate(training *t, node *loss)
{
    node **params, *norm;
    t->n = pith_params(t->g, &params);
    t->gradients = calloc((size_t)t->n, sizeof *t->gradients);
    assert_true(pith_grad(loss, t->n, params, t->gradients));
    pith_clip_norm(t->n, t->gradients, 1, &norm);
    t->out[0] = loss;
    t->out[1] = pith_adamw(t->n, params, t->gradients, pith_const(t->g, 3e-3),
                           (pith_adamw_options){ 0.9, 0.98, 1e-6, 0.2 }, pith_is_finite(norm));
    assert_null(pith_graph_error(t->g));
}

static training blocks(bool recompute)
{
    training t = { .s = new_store() };
    t.g = pith_graph_new(t.s, 5);
    pith_set_training(t.g, true);
    node *x = pith_sample(t.g, -1, 1, 64, 32);
    for (int k = 0; k < 3; k++) x = recompute ? pith_recompute(block, x, &k) : block(x, &k);
    differentiate(&t, pith_mean(pith_square(x), PITH_ALL));
    return t;
}

static training clip(const clip_config *c)
{
    training t = { .s = new_store() };
    t.g = pith_graph_new(t.s, 1);
    t.in = clip_inputs_new(t.g, c, B, B * LENGTH);
    const pith_batch b = clip_batch(t.g, c, &t.in);
    pith_loss_spec *spec = pith_loss_parse("clip", "build");
    differentiate(&t, pith_loss_build(spec, &b));
    pith_loss_free(spec);
    return t;
}

static training vit(void)
{
    const clip_config c = clip_config_uniform(SIZE, 4, 32, 2, 16, 16, 64, 32, 2, 2, 12);
    return clip(&c);
}

static training resnet(void)
{
    clip_config c;
    assert_true(clip_config_named(&c, "32/r1:w8l1.1.1.1+w16l1h1c12v64:e16"));
    return clip(&c);
}

/* The losses of STEPS steps and then all that is stored; *bytes: of the arena. */
static real *trained(training t, const pith_plan_options *o, size_t *size, size_t *bytes)
{
    pith_plan *p = plan_of(t.g, 2, t.out, o);
    if (t.in.pixels) feed_clip(p, &t.in);
    *size = STEPS;
    if (bytes) *bytes = pith_plan_statistics(p).arena;
    for (int k = 0; k < pith_store_count(t.s); k++)
        *size += pith_tensor_size(pith_store_at(t.s, k));
    real *all = calloc(*size, sizeof *all), *at = all; /* zeros behind integers */
    for (int step = 0; step < STEPS; step++) {
        assert_true(pith_run(p));
        *at++ = (real)pith_scalar(p, t.out[0]);
    }
    for (int k = 0; k < pith_store_count(t.s); k++) {
        const pith_tensor *x = pith_store_at(t.s, k);
        assert_true(pith_tensor_read(x, at));
        at += pith_tensor_size(x);
    }
    pith_plan_free(p);
    free(t.gradients);
    pith_graph_free(t.g);
    pith_store_free(t.s);
    return all;
}

static void same_bits(real *a, real *b, size_t size)
{
    assert_memory_equal(a, b, size * sizeof *a);
    free(b);
}

static void plan_and_threads_change_no_bit(void **state)
{
    (void)state;
    size_t size;
    /* whole models are slow on the emulated device, where test_device.c trains smaller ones */
    for (int which = 0; which < 2 && !on_device(); which++) {
        training (*make)(void) = which ? resnet : vit;
        omp_set_num_threads(1);
        real *a = trained(make(), &bf16, &size, NULL);
        omp_set_num_threads(3);
        same_bits(a, trained(make(), &bf16, &size, NULL), size);
        same_bits(a, trained(make(), &unplanned, &size, NULL), size);
        free(a);
    }
    real *a = trained(blocks(false), &bf16, &size, NULL);
    same_bits(a, trained(blocks(true), &bf16, &size, NULL), size);
    same_bits(a, trained(blocks(false), &unplanned, &size, NULL), size);
    free(a);
}

/* Losses fall as those of f32 do, the first one within what rounding does to a number, and the
 * arena is smaller. */
static void close_to_f32(const char *name, training (*make)(void), double share)
{
    size_t size, bytes, less;
    real *a = trained(make(), NULL, &size, &bytes), *b = trained(make(), &bf16, &size, &less);
    double worst = 0;
    for (int k = 0; k < STEPS; k++)
        worst = fmax(worst, fabs((double)(a[k] - b[k])) / fabs((double)a[k]));
    print_message("worst %s: losses of f32 and bf16 differ by %.2g; loss %g to %g; arena %zu "
                  "instead of %zu\n",
                  name, worst, (double)b[0], (double)b[STEPS - 1], less, bytes);
    assert_true(fabs((double)(a[0] - b[0])) < 0x1p-8 * (double)a[0]);
    assert_true(worst < 0x1p-6 && b[STEPS - 1] < b[0]);
    if (sizeof(real) == 4) assert_true((double)less < share * (double)bytes);
    free(a), free(b);
}

static void trains_as_f32_does(void **state)
{
    (void)state;
    if (on_device()) skip();
    close_to_f32("CLIP", vit, 0.8);
    close_to_f32("ResNet", resnet, 0.8);
}

/* ---- gradients of weights are f32; both ways to multiply agree ---- */

static real *gradients(size_t *size)
{
    training t = vit();
    pith_plan *p = plan_of(t.g, t.n, t.gradients, &bf16);
    feed_clip(p, &t.in);
    assert_true(pith_run(p));
    *size = 0;
    for (int k = 0; k < t.n; k++) *size += pith_size(t.gradients[k]);
    real *all = malloc(*size * sizeof *all), *at = all;
    for (int k = 0; k < t.n; k++) {
        assert_true(pith_value(p, t.gradients[k], at));
        at += pith_size(t.gradients[k]);
    }
    pith_plan_free(p);
    free(t.gradients);
    pith_graph_free(t.g);
    pith_store_free(t.s);
    return all;
}

static void rounded_f32_is_the_same(void **state)
{
    (void)state;
    if (!pith_multiplies_bf16() || on_device()) skip();
    size_t size;
    real *a = gradients(&size);
    assert_true(pith_use_gemm("blas"));
    assert_false(pith_multiplies_bf16());
    real *b = gradients(&size);
    assert_true(pith_use_gemm("onednn"));
    double worst = 0, largest = 0;
    size_t wide = 0;
    for (size_t i = 0; i < size; i++) {
        worst = fmax(worst, fabs((double)(a[i] - b[i])));
        largest = fmax(largest, fabs((double)a[i]));
        wide += (float)a[i] != rounded((float)a[i]);
    }
    print_message("worst product: %.2g of the largest gradient\n", worst / largest);
    assert_true(worst > 0 && worst < 0x1p-7 * largest && wide > size / 2);
    free(a), free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_and_threads_change_no_bit),
        cmocka_unit_test(trains_as_f32_does),
        cmocka_unit_test(rounded_f32_is_the_same),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
