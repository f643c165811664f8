/* test_draw_classes.c: the classes that are drawn for a step. */
#include <omp.h>
#include "tests.h"

enum { ROWS = 6 };

typedef struct {
    pith_store *s;
    pith_graph *g;
    node *labels, *ids;
    pith_plan *p;
    int n; /* labels */
} drawing;

static drawing draw_new(uint64_t seed, int rows, int k, int count)
{
    drawing d = { .s = pith_store_new(), .n = rows };
    d.g = pith_graph_new(d.s, seed);
    d.labels = pith_input(d.g, "labels", PITH_I32, rows);
    d.ids = pith_draw_classes(d.labels, k, count);
    d.p = pith_plan_new(d.g, 2, (node *[]){ d.ids, pith_result(d.ids, 1) }, NULL);
    if (!d.p) fail_msg("%s", pith_error());
    return d;
}

static void draw_free(drawing *d)
{
    pith_plan_free(d->p);
    pith_graph_free(d->g);
    pith_store_free(d->s);
}

static const int *run(const drawing *d, const int *labels, int step, const int **own)
{
    pith_feed(d->p, d->labels, labels);
    pith_feed(d->p, pith_step(d->g), &step);
    if (!pith_run(d->p)) fail_msg("%s", pith_error());
    if (own) *own = value_of(d->p, pith_result(d->ids, 1));
    return value_of(d->p, d->ids);
}

/* Ascending, so all different, inside, and each label where it is said to be. */
static void what_is_drawn(void **state)
{
    (void)state;
    static const struct {
        int k, count;
    } cases[] = { { 1, 1 },     { 4, 4 },     { 6, 6 },         { 7, 6 },          { 40, 9 },
                  { 257, 256 }, { 300, 300 }, { 100000, 5000 }, { 2147483647, 50 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const int k = cases[c].k, count = cases[c].count;
        const int labels[ROWS] = { k - 1, 0, -1, k / 2, 0, k < 2147483647 ? k : -7 };
        drawing d = draw_new(5, ROWS, k, count);
        for (int step = 0; step < 20; step++) {
            const int *own, *ids = run(&d, labels, step, &own);
            for (int i = 0; i < count; i++) {
                assert_true(ids[i] >= 0 && ids[i] < k && (!i || ids[i] > ids[i - 1]));
                if (count == k) assert_int_equal(ids[i], i);
            }
            for (int i = 0; i < ROWS; i++) {
                const bool valid = labels[i] >= 0 && labels[i] < k;
                if (valid) assert_int_equal(ids[own[i]], labels[i]);
                else assert_int_equal(own[i], -1);
            }
        }
        draw_free(&d);
    }
}

/* Over many steps every class that is no label is drawn equally often. The sum of squares is
 * divided by the variance of a draw without repetition; it is of chi-square's mean, the number of
 * classes less one, and its standard deviation sqrt(2 mean). */
static void others_are_equally_likely(void **state)
{
    (void)state;
    static const struct {
        int k, count;
    } cases[] = { { 5, 4 }, { 16, 7 }, { 50, 10 }, { 97, 60 } };
    static const int labels[3] = { 2, 3, 3 };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        enum { STEPS = 20000 };
        const int k = cases[c].k, count = cases[c].count;
        drawing d = draw_new(11, 3, k, count);
        int times[97] = { 0 };
        for (int step = 0; step < STEPS; step++) {
            const int *ids = run(&d, labels, step, NULL);
            for (int i = 0; i < count; i++) times[ids[i]]++;
        }
        const double others = k - 2, share = (count - 2) / others;
        double sum = 0;
        for (int i = 0; i < k; i++)
            if (i == 2 || i == 3) assert_int_equal(times[i], STEPS);
            else sum += pow(times[i] - share * STEPS, 2);
        sum /= STEPS * share * (1 - share) * others / (others - 1);
        const double mean = others - 1;
        if (fabs(sum - mean) > 4 * sqrt(2 * mean))
            fail_msg("%d of %d: chi-square is %g, expected about %g", count, k, sum, mean);
        draw_free(&d);
    }
}

/* Two classes are drawn together as often as any two; so the draw is of sets, not of one class
 * after another. */
static void pairs_are_equally_likely(void **state)
{
    (void)state;
    enum { K = 8, COUNT = 3, STEPS = 28000 };
    static const int labels[1] = { -1 };
    drawing d = draw_new(2, 1, K, COUNT);
    int times[K][K] = { { 0 } };
    for (int step = 0; step < STEPS; step++) {
        const int *ids = run(&d, labels, step, NULL);
        for (int i = 0; i < COUNT; i++)
            for (int j = 0; j < i; j++) times[ids[j]][ids[i]]++;
    }
    double sum = 0;
    const double wanted = STEPS * 3.0 / 28; /* 3 of the 28 pairs a step */
    for (int i = 0; i < K; i++)
        for (int j = i + 1; j < K; j++) sum += pow(times[i][j] - wanted, 2) / wanted;
    if (sum > 28 + 4 * sqrt(2.0 * 28)) fail_msg("chi-square of pairs is %g", sum);
    draw_free(&d);
}

/* Every step draws others, and other seeds, scopes and draws of one scope do. */
static void streams_differ(void **state)
{
    (void)state;
    static const int labels[1] = { 7 };
    int first[20];
    drawing d = draw_new(1, 1, 1000, 20), e = draw_new(2, 1, 1000, 20);
    memcpy(first, run(&d, labels, 0, NULL), sizeof first);
    assert_memory_equal(first, run(&d, labels, 0, NULL), sizeof first);
    assert_memory_not_equal(first, run(&d, labels, 1, NULL), sizeof first);
    assert_memory_not_equal(first, run(&e, labels, 0, NULL), sizeof first);
    draw_free(&d);
    draw_free(&e);
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    node *own = pith_const_array(g, PITH_I32, labels, 1), *out[3];
    out[0] = pith_draw_classes(own, 1000, 20);
    out[1] = pith_draw_classes(own, 1000, 20);
    pith_scope(g, "elsewhere");
    out[2] = pith_draw_classes(own, 1000, 20);
    pith_unscope(g);
    pith_plan *p = pith_plan_new(g, 3, out, NULL);
    pith_feed(p, pith_step(g), &(int){ 0 });
    assert_true(pith_run(p));
    assert_memory_equal(first, value_of(p, out[0]), sizeof first);
    assert_memory_not_equal(first, value_of(p, out[1]), sizeof first);
    assert_memory_not_equal(first, value_of(p, out[2]), sizeof first);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
}

static void threads_draw_the_same(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static const int labels[ROWS] = { 3, 900000, 17, 17, -1, 5 };
    const int before = omp_get_max_threads();
    int *one = malloc(COUNT * sizeof *one);
    drawing d = draw_new(9, ROWS, 1000000, COUNT);
    for (int step = 0; step < 3; step++) {
        omp_set_num_threads(1);
        memcpy(one, run(&d, labels, step, NULL), COUNT * sizeof *one);
        omp_set_num_threads(4);
        assert_memory_equal(one, run(&d, labels, step, NULL), COUNT * sizeof *one);
    }
    omp_set_num_threads(before);
    free(one);
    draw_free(&d);
}

static void work_does_not_grow(void **state)
{
    (void)state;
    drawing a = draw_new(1, ROWS, 1000, 100), b = draw_new(1, ROWS, 2000000000, 100);
    const pith_plan_stats x = pith_plan_statistics(a.p), y = pith_plan_statistics(b.p);
    assert_int_equal(x.moved, y.moved);
    assert_int_equal(x.arena, y.arena);
    draw_free(&a);
    draw_free(&b);
}

static void mistakes_are_told(void **state)
{
    world *w = *state;
    static const struct {
        int k, count;
        const char *told;
    } cases[] = { { 40, 5, "5 of 40 classes for 6 labels, expected from 6 to 40" },
                  { 40, 41, "41 of 40 classes for 6 labels, expected from 6 to 40" },
                  { 4, 3, "3 of 4 classes for 6 labels, expected from 4 to 4" },
                  { 0, 0, "0 classes, expected at least 1" },
                  { -3, 1, "-3 classes, expected at least 1" } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        pith_graph *g = pith_graph_new(w->s, 0);
        node *labels = pith_sample_ids(g, 4, ROWS);
        assert_true(
            pith_poisoned(pith_draw_classes_("draw.c:2", labels, cases[c].k, cases[c].count)));
        said("draw.c:2: draw_classes: ");
        said(cases[c].told);
        pith_graph_free(g);
    }
    assert_true(pith_poisoned(pith_draw_classes(pith_sample(w->g, 0, 1, 3), 9, 4)));
    said("i32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_drawn),
        cmocka_unit_test(others_are_equally_likely),
        cmocka_unit_test(pairs_are_equally_likely),
        cmocka_unit_test(streams_differ),
        cmocka_unit_test(threads_draw_the_same),
        cmocka_unit_test(work_does_not_grow),
        WITH_WORLD(mistakes_are_told),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
