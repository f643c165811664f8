/* test_bf16.c: plans in bf16: numbers are rounded as they should be, where they should be and
 * nowhere else. */
#include "bf16.h"

/* ---- one number ---- */

enum { MANY = 1 << 17 };

static float number_of_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* Times a matrix of one 1: what comes out is what went in, rounded. Numbers below the smallest
 * normal one are left out: a processor's product may take them for 0. */
static void numbers_are_rounded(void **state)
{
    world *w = *state;
    static real x[MANY], y[MANY];
    for (uint32_t i = 0; i < MANY; i++) /* each bf16, then halfway to the next and close to that */
        x[i] = (real)number_of_bits(i < 65536 ? i << 16 : (i & 65535) << 16 | (0x7fff + i % 3));
    node *in = pith_input(w->g, "x", PITH_F32, MANY, 1),
         *out = pith_matmul(in, pith_param(w->g, "one", PITH_CONSTANT, 1, 1, 1));
    pith_plan *p = plan_of(w->g, 1, &out, &bf16);
    pith_feed(p, in, x);
    assert_true(pith_run(p) && pith_value(p, out, y));
    for (int i = 0; i < MANY; i++) {
        const float want = rounded((float)x[i]);
        if (want != 0 && fabsf(want) < 0x1p-126f) continue;
        if (!((float)y[i] == want || (isnan(want) && isnan(y[i]))))
            fail_msg("%a became %a, not %a", (double)x[i], (double)y[i], (double)want);
    }
    pith_plan_free(p);
}

/* ---- a perceptron beside plain loops ---- */

enum { ROWS = 5, IN = 7, HIDDEN = 6, OUT = 3 };

/* y = x w^T + b of rounded numbers; b only where the result is */
static void layer(const real *x, const real *w, const real *b, int in, int out, bool round_bias,
                  real *y)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < out; j++) {
            double sum = round_bias ? (double)rounded((float)b[j]) : (double)b[j];
            for (int k = 0; k < in; k++)
                sum += (double)rounded((float)x[i * in + k]) *
                       (double)rounded((float)w[j * in + k]);
            y[i * out + j] = (real)sum;
        }
}

/* The hidden values are bf16, before the GELU and after it; what comes out is no factor of a
 * further product: it is f32. */
static void values_are_as_said(void **state)
{
    world *w = *state;
    real x[ROWS * IN], h[ROWS * HIDDEN], y[ROWS * OUT];
    for (int i = 0; i < ROWS * IN; i++) x[i] = (real)sin(i * 1.7);
    node *in = pith_input(w->g, "x", PITH_F32, ROWS, IN),
         *w1 = pith_param(w->g, "w1", PITH_NORMAL, 0.5, HIDDEN, IN),
         *b1 = pith_param(w->g, "b1", PITH_NORMAL, 0.5, HIDDEN),
         *w2 = pith_param(w->g, "w2", PITH_NORMAL, 0.5, OUT, HIDDEN),
         *b2 = pith_param(w->g, "b2", PITH_NORMAL, 0.5, OUT),
         *out = pith_linear(pith_gelu(pith_linear(in, w1, b1)), w2, b2);
    pith_plan *p = plan_of(w->g, 1, &out, &bf16);
    pith_feed(p, in, x);
    assert_true(pith_run(p));
    layer(x, stored(w->s, "w1"), stored(w->s, "b1"), IN, HIDDEN, true, h);
    for (int i = 0; i < ROWS * HIDDEN; i++) {
        const double a = (double)rounded((float)h[i]);
        h[i] = (real)rounded((float)(0.5 * a * (1 + erf(a * sqrt(0.5)))));
    }
    layer(h, stored(w->s, "w2"), stored(w->s, "b2"), HIDDEN, OUT, false, y);
    const real *found = value_of(p, out);
    bool all_rounded = true;
    for (int i = 0; i < ROWS * OUT; i++) {
        if (!(fabs((double)(found[i] - y[i])) < 1e-6))
            fail_msg("%d: %g is not %g", i, (double)found[i], (double)y[i]);
        all_rounded &= (float)found[i] == rounded((float)found[i]);
    }
    assert_false(all_rounded);
    pith_plan_free(p);
}

/* ---- what a plan is made of ---- */

/* How many steps, or members of chains, of the plan are of that op and dtype. */
static int count(const pith_plan *p, const char *op, pith_dtype dtype)
{
    int n = 0;
    for (int id = 0; id < p->n; id++) {
        const node *x = p->graph->nodes[id];
        n += p->live[id] && p->canonical[id] == id && x->dtype == dtype && !strcmp(x->op->name, op);
    }
    return n;
}

/* Weights are rounded once for all products; a transpose moves what is rounded already; a residual
 * stream stays f32; norms, softmax and logits are f32. */
static void casts_stand_where_they_should(void **state)
{
    world *w = *state;
    node *x = pith_sample(w->g, -1, 1, 4, 8), *m = pith_param(w->g, "m", PITH_NORMAL, 0.5, 8, 8),
         *gain = pith_param(w->g, "gain", PITH_CONSTANT, 1, 8),
         *bias = pith_param(w->g, "bias", PITH_CONSTANT, 0, 8);
    node *h = pith_add(x, pith_matmul(x, m));
    h = pith_layer_norm(h, gain, bias);
    h = pith_add(h, pith_matmul(h, pith_transpose(m)));
    node *out = pith_softmax(pith_matmul(h, m));
    pith_plan *p = plan_of(w->g, 1, &out, &bf16);
    const bool known = pith_multiplies_bf16() || on_device();
    assert_int_equal(count(p, "permute", PITH_BF16), 1);
    assert_int_equal(count(p, "permute", PITH_F32), 0);
    assert_int_equal(count(p, "layer_norm", PITH_F32), 1);
    assert_int_equal(count(p, "softmax", PITH_F32), 1);
    assert_int_equal(count(p, "add", PITH_F32), 2);
    assert_int_equal(count(p, "matmul", PITH_BF16), known ? 2 : 0);
    /* x, m for all three products, the norm's result, the sum, and what two products gave in f32 */
    assert_int_equal(count(p, "narrow", PITH_BF16), known ? 4 : 6);
    pith_plan_free(p);
}

/* A residual stream is as wide as what was given: f32. */
static void a_stream_stays_f32(void **state)
{
    world *w = *state;
    node *m = pith_param(w->g, "m", PITH_NORMAL, 0.5, 8, 8), *x = pith_sample(w->g, -1, 1, 4, 8);
    node *sum = pith_add(x, pith_matmul(pith_matmul(x, m), m)), *out = pith_matmul(sum, m);
    pith_plan *p = plan_of(w->g, 1, &out, &unplanned);
    assert_int_equal(count(p, "add", PITH_F32), 1);
    assert_true(pith_run(p));
    const real *y = value_of(p, sum);
    bool all_rounded = true;
    for (int i = 0; i < 32; i++) all_rounded &= (float)y[i] == rounded((float)y[i]);
    assert_false(all_rounded);
    pith_plan_free(p);
}

/* What the backward pass makes of logits does not make them bf16; of what is large a small part is
 * rounded alone. */
static void logits_and_parts(void **state)
{
    world *w = *state;
    node *m = pith_param(w->g, "m", PITH_NORMAL, 0.5, 8, 8),
         *x = pith_slice(pith_sample(w->g, -1, 1, 4, 80), 1, 8, 16), *out[2];
    out[0] = pith_mean(pith_square(pith_matmul(x, m)), PITH_ALL);
    assert_true(pith_grad(out[0], 1, &m, out + 1));
    pith_plan *p = plan_of(w->g, 2, out, &bf16);
    assert_int_equal(count(p, "matmul", PITH_F32), 2);
    assert_int_equal(count(p, "matmul", PITH_BF16), 0);
    assert_int_equal(count(p, "slice", PITH_F32), 1);
    pith_plan_free(p);
}

/* What was read of a leaf before it was written is the old value, also where it is rounded later.
 */
static void the_old_value_stays(void **state)
{
    world *w = *state;
    node *x = pith_sample(w->g, -1, 1, 3, 4), *m = pith_param(w->g, "m", PITH_NORMAL, 1, 4, 4),
         *turned = pith_transpose(m),
         *write = pith_assign(m,
                              pith_const_dims(PITH_HERE, w->g, PITH_F32, NULL, 2, (int[]){ 4, 4 }));
    node *out[] = { write, pith_matmul(x, turned) };
    pith_plan *p = plan_of(w->g, 2, out, &bf16);
    assert_true(pith_run(p));
    const real *y = value_of(p, out[1]);
    assert_true(y[0] != 0 && y[5] != 0);
    assert_true(pith_run(p));
    y = value_of(p, out[1]);
    for (int i = 0; i < 12; i++) assert_true(y[i] == 0);
    pith_plan_free(p);
    out[1] = m;
    assert_null(pith_plan_new(w->g, 2, out, &bf16));
    said("output 1 of the plan lies in m, which the plan writes");
}

/* ---- what a user sees ---- */

static void nodes_of_the_users_graph(void **state)
{
    world *w = *state;
    const real x[6] = { 1, 2, 3, 4, 5, 6 };
    node *in = pith_input(w->g, "x", PITH_F32, 2, 3), *unused = pith_input(w->g, "u", PITH_F32, 2),
         *m = pith_param(w->g, "m", PITH_CONSTANT, 0.5, 3, 3), *middle = pith_matmul(in, m),
         *shifted = pith_add(middle, pith_const(w->g, 1)), *out = pith_matmul(shifted, m),
         *sum = pith_sum(in, PITH_ALL);
    node *outputs[] = { out, middle, in, sum };
    pith_plan *p = plan_of(w->g, 4, outputs, &bf16);
    node *later = pith_neg(out);
    const node *const *inputs;
    assert_false(pith_run(p));
    said("input x was not fed");
    assert_int_equal(pith_plan_inputs(p, &inputs), 1);
    assert_ptr_equal(inputs[0], in);
    assert_true(pith_feed(p, unused, x));
    assert_true(pith_feed(p, inputs[0], x) && pith_run(p));
    near((double)((const real *)value_of(p, middle))[0], 3);
    near((double)((const real *)value_of(p, out))[0], 6);
    near((double)((const real *)value_of(p, in))[5], 6);
    near(pith_scalar(p, sum), 21);
    assert_true(isnan(pith_scalar(p, later)));
    said("this node is not part of the plan");
    pith_plan_free(p);
    p = plan_of(w->g, 1, &out, &unplanned);
    real y[6];
    assert_true(pith_feed(p, in, x) && pith_run(p) && pith_value(p, out, y));
    assert_false(pith_value(p, middle, y));
    said("this node is not an output of the plan");
    pith_plan_free(p);
    assert_ptr_equal(inputs[0], in); /* the list lives as long as the graph */
}

static void nothing_else_is_bf16(void **state)
{
    world *w = *state;
    assert_null(pith_store_add(w->s, "x", PITH_WEIGHT, PITH_BF16, 0, NULL));
    said("x has dtype 3, expected PITH_F32, PITH_I32 or PITH_U8");
    node *x = pith_cast(pith_const(w->g, 1), PITH_BF16);
    assert_non_null(pith_graph_error(w->g));
    said("cast: 3 is no dtype of graphs, expected PITH_F32, PITH_I32 or PITH_U8");
    (void)x;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(numbers_are_rounded),
        WITH_WORLD(values_are_as_said),
        WITH_WORLD(casts_stand_where_they_should),
        WITH_WORLD(a_stream_stays_f32),
        WITH_WORLD(logits_and_parts),
        WITH_WORLD(the_old_value_stays),
        WITH_WORLD(nodes_of_the_users_graph),
        WITH_WORLD(nothing_else_is_bf16),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
