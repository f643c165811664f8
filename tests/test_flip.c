/* test_flip.c: masked patches. Numbers chosen without replacement are as likely as they should be;
 * without masks nothing changes, to the bit; with them a tower is what it is on the tokens that are
 * kept, gathered by the test, value and gradient; fewer tokens cost less. */
#include "tests.h"
#include "models/parts.h"
#include "losses/losses.h"

enum {
    B = 3,
    SIZE = 16,
    PATCH = 4,
    GRID = SIZE / PATCH,
    ALL = GRID * GRID,
    WIDTH = 12,
    LENGTH = 2
};
enum { PATCH_NUMBERS = 3 * PATCH * PATCH };
#define TOLERANCE (sizeof(pith_real) == 8 ? 1e-12 : 2e-5)

static pith_plan *plan_of(pith_graph *g, int n, node *const *out)
{
    pith_plan *p = pith_plan_new(g, n, out, NULL);
    if (!p) fail_msg("%s", pith_error());
    return p;
}

static void run_at(pith_plan *p, int step)
{
    const pith_node *input = pith_plan_input(p, "step");
    if (input) pith_feed(p, input, &step);
    if (!pith_run(p)) fail_msg("%s", pith_error());
}

/* ---- choosing ---- */

static void near_count(int found, double expected) /* within five deviations */
{
    if (fabs(found - expected) > 5 * sqrt(expected))
        fail_msg("%d times, expected about %.0f", found, expected);
}

static void choices_are_even(void **state)
{
    world *w = *state;
    enum { ROWS = 500, N = 7, COUNT = 3, STEPS = 40 };
    node *x = pith_choose(w->g, ROWS, N, COUNT), *other = pith_choose(w->g, ROWS, N, COUNT),
         *every = pith_choose(w->g, 2, N, N);
    pith_plan *p = plan_of(w->g, 3, (node *[]){ x, other, every });
    static int first[ROWS * COUNT];
    int alone[N] = { 0 }, together[N][N] = { { 0 } };
    for (int step = 0; step < STEPS; step++) {
        run_at(p, step);
        const int *y = value_of(p, x);
        for (int row = 0; row < ROWS; row++)
            for (int a = 0; a < COUNT; a++) {
                const int i = y[row * COUNT + a];
                assert_true(i >= 0 && i < N && (a == 0 || i > y[row * COUNT + a - 1]));
                alone[i]++;
                for (int b = 0; b < a; b++) together[y[row * COUNT + b]][i]++;
            }
        assert_memory_not_equal(y, value_of(p, other), sizeof first);
        if (step) assert_memory_not_equal(y, first, sizeof first);
        else memcpy(first, y, sizeof first);
        for (int k = 0; k < 2 * N; k++) assert_int_equal(((int *)value_of(p, every))[k], k % N);
    }
    run_at(p, 0);
    assert_memory_equal(value_of(p, x), first, sizeof first);
    for (int i = 0; i < N; i++) {
        near_count(alone[i], ROWS * STEPS * 3.0 / 7);
        for (int j = i + 1; j < N; j++) near_count(together[i][j], ROWS * STEPS * 3.0 / 21);
    }
    pith_plan_free(p);
    assert_true(pith_poisoned(pith_choose(w->g, 2, 3, 4)));
    said("choose: 4 of 3 numbers, expected 1 to all of them");
}

/* ---- towers ---- */

typedef struct {
    pith_store *s;
    pith_graph *g;
    clip_config c;
    clip_inputs in;
    pith_batch b;
    pith_view second;
    pith_real pixels[2][B * 3 * SIZE * SIZE];
} flip;

static void begin(flip *f, pith_store *s, const char *sizes, double masked, bool training)
{
    memset(f, 0, sizeof *f);
    f->s = s;
    f->g = pith_graph_new(s, 3);
    pith_set_training(f->g, training);
    assert_true(clip_config_named(&f->c, sizes));
    f->in = clip_inputs_new(f->g, &f->c, B, B * LENGTH);
    f->in.masked = masked;
    f->b = clip_batch(f->g, &f->c, &f->in);
    f->b.second = &f->second;
    for (int k = 0; k < B * 3 * SIZE * SIZE; k++)
        f->pixels[0][k] = (real)sin(k), f->pixels[1][k] = (real)cos(1.3 * k);
}

static void end(flip *f, pith_plan *p)
{
    pith_plan_free(p);
    pith_graph_free(f->g);
}

static pith_plan *run_flip(flip *f, int n, node *const *out, int step)
{
    static const int ids[] = { 1, 2, 3, 4, 5, 6 }, positions[] = { 0, 1, 0, 1, 0, 1 },
                     offsets[] = { 0, 2, 4, 6 }, last[] = { 1, 3, 5 };
    pith_plan *p = plan_of(f->g, n, out);
    const pith_node *second = pith_plan_input(p, "second_pixels");
    pith_feed(p, f->in.pixels, f->pixels[0]);
    if (second) pith_feed(p, second, f->pixels[1]);
    if (pith_plan_input(p, "ids")) {
        pith_feed(p, f->in.ids, ids), pith_feed(p, f->in.positions, positions);
        pith_feed(p, f->in.offsets, offsets), pith_feed(p, f->in.last, last);
    }
    run_at(p, step);
    return p;
}

/* The k-th node that chooses; NULL if there are not so many. */
static node *chosen(const pith_graph *g, int k)
{
    for (int i = 0; i < pith_graph_size(g); i++) {
        node *n = pith_graph_node((pith_graph *)g, i);
        if (!strcmp(n->op->name, "choose") && k-- == 0) return n;
    }
    return NULL;
}

static const char sizes[] = "16/4:w12l2h3+w8l1h1c6v11:e5";

static void without_masks_it_is_clip(void **state)
{
    world *w = *state;
    static flip f;
    real all[3][B * 5 + WIDTH];
    const struct {
        double masked;
        bool training;
    } alike[] = { { 0, false }, { 0, true }, { 0.5, false } };
    for (int k = 0; k < 3; k++) {
        begin(&f, w->s, sizes, alike[k].masked, alike[k].training);
        node *loss = clip_loss(&f.b), **params, *gradient;
        assert_true(pith_params(f.g, &params) > 10 && pith_grad(loss, 1, params, &gradient));
        assert_null(chosen(f.g, 0));
        pith_plan *p = run_flip(&f, 3, (node *[]){ f.b.image_raw, loss, gradient }, 5);
        real *now = all[k];
        memcpy(now, value_of(p, f.b.image_raw), sizeof *now * B * 5);
        memcpy(now + B * 5, value_of(p, gradient), sizeof *now * WIDTH);
        assert_memory_equal(all[0], now, sizeof all[0]);
        end(&f, p);
    }
}

/* Features (B, WIDTH) of tokens that the test has gathered: rows of pixels and numbers of
 * positions. */
static node *gathered(flip *f, const int *kept, int count)
{
    real *rows = malloc(sizeof *rows * (size_t)(B * count * PATCH_NUMBERS));
    int token[B * (ALL + 1)], bound[B + 1], first[B], n = 0;
    for (int i = 0; i < B; i++) {
        token[i * (count + 1)] = 0;
        bound[i] = first[i] = i * (count + 1);
        for (int k = 0; k < count; k++) {
            const int patch = kept[i * count + k], y0 = patch / GRID * PATCH,
                      x0 = patch % GRID * PATCH;
            token[i * (count + 1) + k + 1] = patch + 1;
            for (int c = 0; c < 3; c++)
                for (int y = 0; y < PATCH; y++)
                    for (int x = 0; x < PATCH; x++)
                        rows[n++] = f->pixels[0][((i * 3 + c) * SIZE + y0 + y) * SIZE + x0 + x];
        }
    }
    bound[B] = B * (count + 1);
    pith_graph *g = f->g;
    pith_scope(g, "visual");
    node *x = pith_const_array(g, PITH_F32, rows, B * count, PATCH_NUMBERS);
    node *w = pith_param(g, "conv1.weight", PITH_NORMAL, 1, WIDTH, 3, PATCH, PATCH);
    x = pith_linear(x, pith_reshape(w, WIDTH, PATCH_NUMBERS), NULL);
    node *class = pith_param(g, "class_embedding", PITH_NORMAL, 1, WIDTH);
    node *parts[] = { pith_expand(class, B, 1, WIDTH), pith_reshape(x, B, count, WIDTH) };
    node *positions = pith_param(g, "positional_embedding", PITH_NORMAL, 1, ALL + 1, WIDTH);
    node *where = pith_const_array(g, PITH_I32, token, B, count + 1);
    x = pith_add(pith_concat(2, parts, 1), pith_gather(positions, where));
    x = clip_norm(g, "ln_pre", pith_reshape(x, -1, WIDTH), NULL);
    x = clip_blocks(g, &f->c.vision, f->c.quick_gelu, x,
                    pith_const_array(g, PITH_I32, bound, B + 1),
                    pith_const_array(g, PITH_I32, first, B), false, (clip_initial){ 0 });
    x = clip_norm(g, "ln_post", x, NULL);
    pith_unscope(g);
    free(rows);
    return x;
}

static const char *const trained[] = { "visual.conv1.weight", "visual.positional_embedding",
                                       "visual.class_embedding",
                                       "visual.transformer.resblocks.0.mlp.c_fc.weight" };
enum { TRAINED = sizeof trained / sizeof *trained };

/* The gradients of a number made of the features. */
static void gradients_of(pith_graph *g, node *features, node **out)
{
    node **params, *wanted[TRAINED];
    const int n = pith_params(g, &params);
    for (int k = 0; k < TRAINED; k++)
        for (int i = 0; i < n; i++)
            if (!strcmp(params[i]->name, trained[k])) wanted[k] = params[i];
    node *y = pith_sum(pith_sin(pith_mul_scalar(features, 2)), PITH_ALL);
    if (!pith_grad(y, TRAINED, wanted, out)) fail_msg("%s", pith_error());
}

static void masked_is_clip_on_the_tokens_that_are_kept(void **state)
{
    world *w = *state;
    static flip f, plain;
    static const char *const models[] = { sizes, "16/4:w12l2h3s1+w8l1h1c6v11:e5" };
    const double masks[] = { 0.5, 0.7 };
    for (int round = 0; round < 4; round++) {
        pith_store *s = round % 2 ? pith_store_new() : w->s;
        begin(&f, s, models[round % 2], masks[round / 2], true);
        node *kept = chosen(f.g, 0), *out[2 + TRAINED] = { f.b.image_features, kept };
        const int count = clip_kept_patches(&f.c, masks[round / 2]);
        assert_int_equal(count, round / 2 ? 4 : 8);
        assert_int_equal(kept->dim[1], count);
        gradients_of(f.g, f.b.image_features, out + 2);
        pith_plan *p = run_flip(&f, 2 + TRAINED, out, 11 + round);

        static real masked[1 + TRAINED][4096]; /* another plan of the store is about to run */
        for (int k = 0; k < 1 + TRAINED; k++)
            assert_true(pith_value(p, k ? out[k + 1] : out[0], masked[k]));

        begin(&plain, s, models[round % 2], 0, true);
        node *same[1 + TRAINED] = { gathered(&plain, value_of(p, kept), count) };
        gradients_of(plain.g, same[0], same + 1);
        pith_plan *q = run_flip(&plain, 1 + TRAINED, same, 0);
        for (int k = 0; k < 1 + TRAINED; k++) {
            const real *a = masked[k], *b = value_of(q, same[k]);
            for (size_t i = 0; i < pith_size(same[k]); i++)
                if (!(fabs((double)(a[i] - b[i])) < TOLERANCE * (1 + fabs((double)b[i]))))
                    fail_msg("round %d, %s[%zu]: %g, expected %g", round,
                             k ? trained[k - 1] : "features", i, (double)a[i], (double)b[i]);
        }
        end(&plain, q), end(&f, p);
        if (s != w->s) pith_store_free(s);
    }
}

static void both_views_draw_their_own(void **state)
{
    world *w = *state;
    static flip f;
    begin(&f, w->s, sizes, 0.5, true);
    const pith_view v = pith_second_view(&f.b);
    node *one = chosen(f.g, 0), *two = chosen(f.g, 1);
    assert_true(one && two && !chosen(f.g, 2));
    pith_plan *p = run_flip(&f, 4, (node *[]){ one, two, f.b.image, v.image }, 4);
    assert_memory_not_equal(value_of(p, one), value_of(p, two), sizeof(int) * B * ALL / 2);
    end(&f, p);
}

static void fewer_tokens_cost_less(void **state)
{
    world *w = *state;
    static flip f;
    pith_plan_stats stats[2];
    for (int k = 0; k < 2; k++) {
        begin(&f, w->s, "32/2:w32l3h2+w8l1h1c6v11:e5", k ? 0.5 : 0, true);
        node *loss = clip_loss(&f.b), **params;
        const int n = pith_params(f.g, &params);
        node **out = malloc(sizeof *out * (size_t)n);
        assert_true(pith_grad(loss, n, params, out));
        pith_plan *p = plan_of(f.g, n, out);
        stats[k] = pith_plan_statistics(p);
        free(out);
        end(&f, p);
    }
    assert_true(stats[1].gemm_flops < 0.55 * stats[0].gemm_flops);
    assert_true((double)stats[1].arena < 0.7 * (double)stats[0].arena);
    assert_true((double)stats[1].moved < 0.7 * (double)stats[0].moved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(choices_are_even),
        WITH_WORLD(without_masks_it_is_clip),
        WITH_WORLD(masked_is_clip_on_the_tokens_that_are_kept),
        WITH_WORLD(both_views_draw_their_own),
        WITH_WORLD(fewer_tokens_cost_less),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
