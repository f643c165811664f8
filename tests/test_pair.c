/* test_pair.c: what a hyperplane can tell on frozen features: of the product, whether a picture and
 * a caption belong together; of one behind the other, nothing. Twins that differ in one weak
 * coordinate are told apart where the cosine fails. */
#include "tests.h"
#include "losses/losses.h"
#include "train/optim.h"

enum { ROWS = 64, WIDTH = 32, STEPS = 400 };

static double noise(int key, int k) { return pith_normal_at((uint64_t)key, 0, (uint64_t)k); }

static pith_node *rows(pith_graph *g, const double *x)
{
    pith_real copy[ROWS * WIDTH];
    for (int k = 0; k < ROWS * WIDTH; k++) copy[k] = (pith_real)x[k];
    return pith_normalize(pith_const_array(g, PITH_F32, copy, ROWS, WIDTH));
}

/* Trains the head alone. Returns the least loss that was seen, and the head. */
static double train(const char *spec, const double *image, const double *text, double scale,
                    double rate, double w[2 * WIDTH], double *c)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    pith_batch b = pith_batch_new(g);
    b.image = rows(g, image), b.text = rows(g, text);
    b.scale = pith_const(g, scale);
    pith_loss_spec *parsed = pith_loss_parse(spec, ".");
    pith_node *loss = pith_loss_build(parsed, &b), **params, *gradients[2];
    const int n = pith_params(g, &params);
    assert_int_equal(n, 2);
    assert_true(pith_gradients(loss, n, params, gradients));
    pith_node *out[] = { loss, pith_adamw(n, params, gradients, pith_const(g, rate),
                                          ((pith_adamw_options){ 0.9, 0.99, 1e-8, 0 }), NULL) };
    pith_plan *p = pith_plan_new(g, 2, out, NULL);
    if (!p) fail_msg("%s", pith_error());
    double least = 1e300;
    for (int step = 0; step < STEPS; step++) {
        const int32_t now = step;
        const pith_node *input = pith_plan_input(p, "step");
        if (input) pith_feed(p, input, &now);
        assert_true(pith_run(p));
        least = fmin(least, pith_scalar(p, loss));
    }
    const pith_real *weight = stored(s, "loss.pair.weight"), *bias = stored(s, "loss.pair.bias");
    for (size_t k = 0; k < pith_size(params[0]); k++) w[k] = (double)weight[k];
    *c = (double)*bias;
    pith_plan_free(p);
    pith_loss_free(parsed);
    pith_graph_free(g);
    pith_store_free(s);
    return least;
}

static void concatenation_learns_nothing(void **state)
{
    (void)state;
    double image[ROWS * WIDTH], text[ROWS * WIDTH], w[2 * WIDTH], c;
    for (int k = 0; k < ROWS * WIDTH; k++) {
        image[k] = noise(1, k);
        text[k] = image[k] + 0.5 * noise(2, k);
    }
    const double prior = log(3) - 2 * log(2) / 3; /* entropy of one in three: 0.6365 */
    const double of_concat = train("pair:shift=1,concat=1", image, text, 1, 0.1, w, &c),
                 of_product = train("pair:shift=1", image, text, 1, 0.1, w, &c);
    printf("least loss: concatenation %.6f, product %.4f, prior %.6f\n", of_concat, of_product,
           prior);
    assert_true(of_concat >= prior - 1e-5 && of_concat < prior + 1e-3);
    assert_true(of_product < 0.3);
}

/* Rows 2k and 2k + 1 are twins: equal but for the sign of a weak last coordinate. */
static void make_twins(int key, double *image, double *text)
{
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < WIDTH; k++) {
            const bool weak = k == WIDTH - 1;
            const double own = weak ? (i % 2 ? -0.5 : 0.5) : noise(key, i / 2 * WIDTH + k);
            image[i * WIDTH + k] = own + (weak ? 0 : 0.5 * noise(key + 1, i / 2 * WIDTH + k));
            text[i * WIDTH + k] = own + (weak ? 0 : 0.5 * noise(key + 2, i / 2 * WIDTH + k));
        }
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The share of pairs and of twins mixed up that w . (u * v) > threshold gets right, for the best
 * threshold or for -c. */
static double accuracy(const double *image, const double *text, const double *w, const double *c)
{
    double z[2][ROWS], best = 0;
    for (int i = 0; i < ROWS; i++)
        for (int twin = 0; twin < 2; twin++) {
            const double *u = image + i * WIDTH, *v = text + (twin ? i ^ 1 : i) * WIDTH;
            double uu = 0, vv = 0, uv = 0;
            for (int k = 0; k < WIDTH; k++)
                uu += u[k] * u[k], vv += v[k] * v[k], uv += w[k] * u[k] * v[k];
            z[twin][i] = uv / sqrt(uu * vv);
        }
    qsort(z[0], ROWS, sizeof **z, by_value);
    for (int t = 0; t < ROWS; t++) {
        const double threshold = c ? -*c : z[0][t] - 1e-9;
        int right = 0;
        for (int i = 0; i < ROWS; i++) right += (z[0][i] > threshold) + (z[1][i] <= threshold);
        best = fmax(best, right / (2.0 * ROWS));
    }
    return best;
}

static void twins_are_told_apart(void **state)
{
    (void)state;
    double image[ROWS * WIDTH], text[ROWS * WIDTH], w[2 * WIDTH], c, ones[WIDTH];
    for (int k = 0; k < WIDTH; k++) ones[k] = 1;
    make_twins(10, image, text);
    train("pair", image, text, 100, 3, w, &c);
    const double seen = accuracy(image, text, w, &c);
    make_twins(20, image, text);
    const double unseen = accuracy(image, text, w, &c), cosine = accuracy(image, text, ones, NULL);
    printf("twins: the head %.3f on its own rows, %.3f on others; the best cosine threshold there "
           "%.3f\n",
           seen, unseen, cosine);
    assert_true(seen >= 0.95 && unseen >= 0.95);
    assert_true(cosine < 0.60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concatenation_learns_nothing),
        cmocka_unit_test(twins_are_told_apart),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
