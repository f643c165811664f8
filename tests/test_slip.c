/* test_slip.c: SLIP's term against plain loops over doubles, value and gradient (the loops' by
 * central differences); the views exchanged give the same bits; the width of its MLP; and that it
 * is added to CLIP's loss in a whole model. */
#include "tests.h"
#include "losses/losses.h"
#include "models/models.h"

enum { B = 5, W = 3, H = 6, OUT = 4, MOST = 64 };
#define VALUE (sizeof(pith_real) == 8 ? 1e-6 : 1e-4)
#define GRADIENT (sizeof(pith_real) == 8 ? 1e-5 : 5e-3)

/* ---- loops ---- */

static const char *const names[] = { "one",    "two",     "0.weight", "0.bias",
                                     "0.gain", "0.shift", "1.weight", "1.bias",
                                     "1.gain", "1.shift", "2.weight", "2.bias" };
enum { TENSORS = sizeof names / sizeof *names };
typedef struct {
    double x[TENSORS][MOST];
    double temperature;
} values;

static double *look(const values *v, int layer, const char *name)
{
    char whole[32];
    snprintf(whole, sizeof whole, "%d.%s", layer, name);
    for (int k = 0; k < TENSORS; k++)
        if (!strcmp(names[k], whole)) return (double *)v->x[k];
    fail_msg("no %s", whole);
    return NULL;
}

/* One layer, x (B, in) -> y (B, out). */
static void loop_layer(const values *v, int number, int in, int out, const double *x, double *y)
{
    const double *w = look(v, number, "weight"), *bias = look(v, number, "bias");
    for (int o = 0; o < out; o++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < B; i++) {
            y[i * out + o] = bias[o];
            for (int k = 0; k < in; k++) y[i * out + o] += w[o * in + k] * x[i * in + k];
            mean += y[i * out + o] / B;
        }
        if (number == 2) continue;
        for (int i = 0; i < B; i++) variance += pow(y[i * out + o] - mean, 2) / B;
        for (int i = 0; i < B; i++)
            y[i * out + o] = fmax(0, (y[i * out + o] - mean) / sqrt(variance + 1e-5) *
                                             look(v, number, "gain")[o] +
                                         look(v, number, "shift")[o]);
    }
}

static void loop_head(const values *v, const double *features, double *z)
{
    double one[B * H], two[B * H];
    loop_layer(v, 0, W, H, features, one);
    loop_layer(v, 1, H, H, one, two);
    loop_layer(v, 2, H, OUT, two, z);
    for (int i = 0; i < B; i++) {
        double length = 0;
        for (int k = 0; k < OUT; k++) length += z[i * OUT + k] * z[i * OUT + k];
        for (int k = 0; k < OUT; k++) z[i * OUT + k] /= sqrt(length);
    }
}

static double likeness(const values *v, const double *a, const double *b)
{
    double sum = 0;
    for (int k = 0; k < OUT; k++) sum += a[k] * b[k];
    return exp(sum / v->temperature);
}

static double loop_slip(const values *v)
{
    double z[2][B * OUT], loss = 0;
    for (int k = 0; k < 2; k++) loop_head(v, v->x[k], z[k]);
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < B; i++) {
            const double *a = z[side] + i * OUT;
            double all = 0;
            for (int j = 0; j < B; j++) {
                all += likeness(v, a, z[1 - side] + j * OUT);
                if (j != i) all += likeness(v, a, z[side] + j * OUT);
            }
            loss -= log(likeness(v, a, z[1 - side] + i * OUT) / all) / (2 * B);
        }
    return loss;
}

/* ---- the term ---- */

static pith_view view_of_test(const pith_batch *b) { return *(const pith_view *)b->inputs; }

static pith_node *build(pith_graph *g, const char *text, pith_node *one, pith_node *two)
{
    pith_view view = { .image_features = two };
    pith_batch b = pith_batch_new(g);
    b.image_features = one;
    b.make_view = view_of_test;
    b.inputs = &view;
    pith_loss_spec *spec = pith_loss_parse(text, ".");
    pith_node *loss = spec ? pith_loss_build(spec, &b) : NULL;
    if (!loss) fail_msg("%s", pith_error());
    pith_loss_free(spec);
    return loss;
}

/* Which of the values a param is. */
static int number_of(const pith_node *param)
{
    const char *const dot = strstr(param->name, "slip.");
    for (int j = 0; j < TENSORS; j++)
        if (!strcmp(names[j], dot ? dot + 5 : param->name)) return j;
    fail_msg("%s is not expected", param->name);
    return 0;
}

/* Random values for a param, so that gains are not 1 and shifts not 0. */
static void fill(pith_node *param, double *x)
{
    real numbers[MOST];
    const size_t n = pith_size(param);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)(numbers[i] = (real)pith_normal_at(5, (uint64_t)param->id, i));
    assert_true(pith_tensor_write(pith_tensor_of(param), numbers));
}

static void it_equals_loops(void **state)
{
    (void)state;
    static const char *const text[] = { "slip:hidden=6,out=4",
                                        "slip:hidden=6,out=4,temperature=0.5" };
    for (int round = 0; round < 2; round++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 1);
        pith_node *one = pith_param(g, "one", PITH_NORMAL, 1, B, W),
                  *two = pith_param(g, "two", PITH_NORMAL, 1, B, W), **params, *out[1 + TENSORS];
        out[0] = build(g, text[round], one, two);
        assert_int_equal(pith_params(g, &params), TENSORS);
        values v = { .temperature = round ? 0.5 : 0.1 };
        for (int k = 0; k < TENSORS; k++) fill(params[k], v.x[number_of(params[k])]);
        assert_true(pith_grad(out[0], TENSORS, params, out + 1));
        pith_plan *p = pith_plan_new(g, 1 + TENSORS, out, NULL);
        assert_true(p && pith_run(p));
        const double wanted = loop_slip(&v), found = pith_scalar(p, out[0]);
        if (!(fabs(wanted - found) < VALUE * wanted)) fail_msg("%.12g, loops %.12g", found, wanted);
        for (int k = 0; k < TENSORS; k++) {
            const real *gradient = value_of(p, out[1 + k]);
            double *at = v.x[number_of(params[k])];
            for (size_t i = 0; i < pith_size(params[k]); i++) {
                const double x = at[i], h = 1e-6;
                at[i] = x + h;
                const double up = loop_slip(&v);
                at[i] = x - h;
                const double slope = (up - loop_slip(&v)) / (2 * h);
                at[i] = x;
                if (!(fabs(slope - (double)gradient[i]) < GRADIENT * fmax(1, fabs(slope))))
                    fail_msg("gradient to %s[%zu]: %.9g, loops %.9g", params[k]->name, i,
                             (double)gradient[i], slope);
            }
        }
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(s);
    }
}

static void exchanged_views_give_the_same_bits(void **state)
{
    world *w = *state;
    real loss[2];
    for (int k = 0; k < 2; k++) {
        pith_graph *g = pith_graph_new(w->s, 4);
        pith_node *one = pith_param(g, "one", PITH_NORMAL, 1, B, W),
                  *two = pith_param(g, "two", PITH_NORMAL, 1, B, W);
        pith_node *y = k ? build(g, "slip", two, one) : build(g, "slip", one, two);
        pith_plan *p = pith_plan_new(g, 1, &y, NULL);
        assert_true(p && pith_run(p) && pith_value(p, y, &loss[k]));
        pith_plan_free(p);
        pith_graph_free(g);
    }
    assert_memory_equal(&loss[0], &loss[1], sizeof loss[0]);
    assert_true(isfinite((double)loss[0]) && loss[0] > 0);
}

/* The published widths, in proportion. */
static void the_mlp_is_as_wide_as_the_tower_asks(void **state)
{
    world *w = *state;
    const struct {
        int tower, hidden;
    } sizes[] = { { 768, 4096 }, { 96, 512 }, { 128, 683 } };
    for (int k = 0; k < 3; k++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 1);
        build(g, "slip", pith_input(g, "one", PITH_F32, 4, sizes[k].tower),
              pith_input(g, "two", PITH_F32, 4, sizes[k].tower));
        const pith_tensor *t = pith_store_find(s, "loss.slip.1.weight");
        assert_true(t && t->dim[0] == sizes[k].hidden && t->dim[1] == sizes[k].hidden);
        t = pith_store_find(s, "loss.slip.2.weight");
        assert_true(t && t->dim[0] == 256 && t->dim[1] == sizes[k].hidden);
        pith_graph_free(g);
        pith_store_free(s);
    }
    pith_batch b = pith_batch_new(w->g);
    b.image_features = pith_input(w->g, "one", PITH_F32, 4, 8);
    pith_loss_spec *spec = pith_loss_parse("slip", ".");
    pith_loss_build(spec, &b);
    said("image features of a second view, which this run does not have");
    pith_loss_free(spec);
}

/* In a model: the gradient of clip+0.5*slip by the tower is CLIP's plus half of the term's; the
 * text tower knows nothing of the term. */
static void it_is_added_to_clips_gradient(void **state)
{
    world *w = *state;
    static const char *const text[] = { "clip", "slip:hidden=9", "clip+0.5*slip:hidden=9" };
    static const int ids[] = { 1, 2, 3, 4, 5, 6, 7, 8 }, positions[] = { 0, 1, 0, 1, 0, 1, 0, 1 },
                     offsets[] = { 0, 2, 4, 6, 8 }, last[] = { 1, 3, 5, 7 };
    static real pixels[2][4 * 3 * 8 * 8], gradient[3][12 * 3 * 16];
    clip_config c;
    assert_true(clip_config_named(&c, "8/4:w12l1h3+w8l1h1c6v11:e5"));
    for (int k = 0; k < 4 * 3 * 64; k++) pixels[0][k] = (real)sin(k), pixels[1][k] = (real)cos(k);
    for (int k = 0; k < 3; k++) {
        pith_graph *g = pith_graph_new(w->s, 4);
        const clip_inputs in = clip_inputs_new(g, &c, 4, 8);
        const pith_batch b = clip_batch(g, &c, &in);
        pith_loss_spec *spec = pith_loss_parse(text[k], ".");
        pith_node *loss = pith_loss_build(spec, &b), **params, *out[2];
        const int n = pith_params(g, &params);
        for (int i = 0; i < n; i++)
            if (!strcmp(params[i]->name, "visual.conv1.weight")) out[0] = params[i];
            else if (!strcmp(params[i]->name, "text_projection")) out[1] = params[i];
        bool reached[2];
        pith_depends_on(loss, 2, out, reached);
        assert_true(reached[0] && reached[1] == (k != 1));
        assert_true(pith_grad(loss, 1, out, out));
        pith_plan *p = pith_plan_new(g, 1, out, NULL);
        pith_feed(p, in.pixels, pixels[0]);
        if (k) pith_feed(p, pith_plan_input(p, "second_pixels"), pixels[1]);
        if (k != 1) {
            pith_feed(p, in.ids, ids), pith_feed(p, in.positions, positions);
            pith_feed(p, in.offsets, offsets), pith_feed(p, in.last, last);
        }
        if (!pith_run(p)) fail_msg("%s", pith_error());
        assert_true(pith_value(p, out[0], gradient[k]));
        pith_plan_free(p);
        pith_loss_free(spec);
        pith_graph_free(g);
    }
    double largest = 0;
    for (int i = 0; i < 12 * 3 * 16; i++) {
        const double sum = (double)gradient[0][i] + 0.5 * (double)gradient[1][i];
        assert_true(fabs((double)gradient[2][i] - sum) < (sizeof(real) == 8 ? 1e-12 : 1e-5));
        largest = fmax(largest, fabs((double)gradient[1][i]));
    }
    assert_true(largest > 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_equals_loops),
        WITH_WORLD(exchanged_views_give_the_same_bits),
        WITH_WORLD(the_mlp_is_as_wide_as_the_tower_asks),
        WITH_WORLD(it_is_added_to_clips_gradient),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
