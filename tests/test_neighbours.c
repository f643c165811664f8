/* test_neighbours.c: near pairs, their forest and its groups against every pair in plain loops. */
#include <omp.h>
#include "near_rows.h"
#include "neighbours/neighbours.h"

/* ---- plain loops ---- */

static int by_distance(const void *a, const void *b)
{
    const pith_edge *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->a != y->a ? x->a - y->a : x->b - y->b;
}

static pith_edge *all_pairs(int n, int width, const real *rows, double below, int *count)
{
    pith_edge *edges = NULL;
    int room = 0;
    *count = 0;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            const double d = apart(width, rows, i, j);
            if (d >= below) continue;
            if (*count == room)
                edges = realloc(edges, sizeof *edges * (size_t)(room = 2 * room + 9));
            edges[(*count)++] = (pith_edge){ d, i, j };
        }
    if (edges) qsort(edges, (size_t)*count, sizeof *edges, by_distance);
    return edges;
}

/* Keeps the edges that connect what was not connected, by naming groups anew each time. */
static int spanning(int n, pith_edge *edges, int count, int *group)
{
    int kept = 0;
    for (int i = 0; i < n; i++) group[i] = i;
    for (int k = 0; k < count && kept < n - 1; k++) {
        const int a = group[edges[k].a], b = group[edges[k].b];
        if (a == b) continue;
        for (int i = 0; i < n; i++)
            if (group[i] == b) group[i] = a;
        edges[kept++] = edges[k];
    }
    return kept;
}

static void same_edges(const pith_edge *a, const pith_edge *b, int count)
{
    for (int k = 0; k < count; k++)
        if (a[k].a != b[k].a || a[k].b != b[k].b || fabs(a[k].distance - b[k].distance) > 1e-14)
            fail_msg("edge %d is %.17g (%d, %d), not %.17g (%d, %d)", k, a[k].distance, a[k].a,
                     a[k].b, b[k].distance, b[k].a, b[k].b);
}

/* The same partition, whatever the numbers. */
static void same_groups(int n, const int *a, const int *b)
{
    int *of_a = malloc(2 * sizeof(int) * (size_t)n), *of_b = of_a + n;
    for (int i = 0; i < 2 * n; i++) of_a[i] = -1;
    for (int i = 0; i < n; i++) {
        if (of_a[a[i]] < 0) of_a[a[i]] = b[i];
        if (of_b[b[i]] < 0) of_b[b[i]] = a[i];
        assert_int_equal(of_a[a[i]], b[i]);
        assert_int_equal(of_b[b[i]], a[i]);
    }
    free(of_a);
}

static pith_forest *forest(int n, int width, const real *rows, double below, int wanted)
{
    pith_forest *f = pith_forest_new(n, width, rows, below, wanted);
    if (!f) fail_msg("%s", pith_error());
    return f;
}

static void against_loops(int n, int width, int centres, double spread, double below)
{
    real *rows = rows_around(n, width, centres, spread, 5);
    for (int i = 40; i < n; i += 40) /* exact copies: ties */
        memcpy(rows + i * width, rows + (i / 80) * width, sizeof *rows * (size_t)width);
    int count, *group = malloc(2 * sizeof(int) * (size_t)n), *found = group + n;
    pith_edge *edges = all_pairs(n, width, rows, below, &count), *near;
    assert_int_equal(pith_near_pairs(n, width, rows, below, &near), count);
    same_edges(near, edges, count);
    free(near);
    const int kept = spanning(n, edges, count, group);
    pith_forest *f = forest(n, width, rows, below, n);
    assert_int_equal(f->edges, kept);
    same_edges(f->edge, edges, kept);
    assert_int_equal(pith_forest_groups(f, below, found), n - kept);
    same_groups(n, found, group);
    assert_int_equal(found[0], 0);
    pith_forest_free(f);
    for (int wanted = 0; wanted <= kept;
         wanted += kept / 3 + 1) { /* the shortest alone, and ties */
        f = forest(n, width, rows, below, wanted);
        int same = wanted;
        while (wanted && same < kept && edges[same].distance == edges[wanted - 1].distance) same++;
        if (wanted < n - 1) assert_int_equal(f->edges, same);
        same_edges(f->edge, edges, same);
        pith_forest_free(f);
    }
    free(edges);
    free(group);
    free(rows);
}

static void every_pair(void **state)
{
    (void)state;
    against_loops(2000, 24, 300, 0.15, 0.3);
    against_loops(1300, 20, 7, 0.6, 3); /* all pairs, in one tree */
    against_loops(513, 3, 513, 0, 0.5);
    against_loops(512, 5, 60, 0.1, 0.4);
    against_loops(2, 7, 1, 0.1, 3);
    against_loops(1, 4, 1, 0, 3);
#if !defined PITH_SLOW && !defined PITH_DOUBLE /* once is enough */
    against_loops(20000, 32, 3000, 0.15, 0.3);
#endif
}

/* ---- groups, betas ---- */

/* `copies` rows around each of `centres` which are far from each other. */
static real *separated(int centres, int copies, int width)
{
    return rows_around(centres * copies, width, centres, 0.01, 77);
}
enum { CENTRES = 150, COPIES = 5, WIDTH = 64, ALL = CENTRES * COPIES };

static int kept_of(int n, const real *rows, double beta, int shards, int *group, bool *keep)
{
    double *distance = malloc(sizeof *distance * (size_t)n);
    const int groups = pith_near_groups(n, WIDTH, rows, beta, shards, group);
    int kept = 0;
    assert_true(groups > 0 && pith_keep_central(n, WIDTH, rows, groups, group, keep, distance));
    for (int i = 0; i < n; i++) kept += keep[i];
    assert_int_equal(kept, groups);
    free(distance);
    return kept;
}

static void planted(void **state)
{
    (void)state;
    real *rows = separated(CENTRES, COPIES, WIDTH), *left = malloc(sizeof *left * ALL * WIDTH);
    int group[ALL], again[ALL], n = 0;
    bool keep[ALL], all[ALL];
    assert_int_equal(kept_of(ALL, rows, 0.3, 1, group, keep), CENTRES);
    for (int i = 0; i < ALL; i++) assert_int_equal(group[i], i % CENTRES);
    for (int i = 0; i < ALL; i++)
        if (keep[i]) memcpy(left + WIDTH * n++, rows + i * WIDTH, sizeof *rows * WIDTH);
    assert_int_equal(kept_of(n, left, 0.3, 1, again, all), CENTRES); /* idempotent */
    for (int shards = 2; shards <= 7; shards++) {
        int sharded[ALL];
        assert_int_equal(kept_of(ALL, rows, 0.3, shards, sharded, all), CENTRES);
        assert_memory_equal(sharded, group, sizeof group);
        assert_memory_equal(all, keep, sizeof keep);
    }
    free(left);
    free(rows);
}

/* Which rows are central, in plain loops; copies: the first. */
static void central(void **state)
{
    (void)state;
    real *rows = separated(CENTRES, COPIES, WIDTH);
    int group[ALL];
    bool keep[ALL];
    double distance[ALL];
    for (int i = 1; i < COPIES; i++) { /* equal, but for a rounding */
        real *copy = rows + (i * CENTRES + 3) * WIDTH;
        memcpy(copy, rows + 3 * WIDTH, sizeof *rows * WIDTH);
        copy[0] += (real)(2e-7 * i);
    }
    const int groups = pith_near_groups(ALL, WIDTH, rows, 0.3, 1, group);
    assert_true(pith_keep_central(ALL, WIDTH, rows, groups, group, keep, distance));
    for (int g = 0; g < CENTRES; g++) {
        double least = 9, found[COPIES];
        int best = 0;
        for (int c = 0; c < COPIES; c++) {
            double squares = 0;
            for (int k = 0; k < WIDTH; k++) {
                double mean = 0;
                for (int o = 0; o < COPIES; o++)
                    mean += (double)rows[(o * CENTRES + g) * WIDTH + k] / COPIES;
                const double d = (double)rows[(c * CENTRES + g) * WIDTH + k] - mean;
                squares += d * d;
            }
            found[c] = sqrt(squares);
            least = fmin(least, found[c]);
        }
        while (found[best] > least + 2e-6) best++;
        for (int c = 0; c < COPIES; c++) {
            near(distance[c * CENTRES + g], found[c]);
            assert_int_equal(keep[c * CENTRES + g], c == best);
        }
    }
    assert_true(keep[3]);
    free(rows);
}

static void at_the_ends(void **state)
{
    (void)state;
    real *rows = separated(CENTRES, COPIES, WIDTH);
    int group[ALL];
    bool keep[ALL];
    memcpy(rows + WIDTH, rows, sizeof *rows * WIDTH);
    assert_int_equal(kept_of(ALL, rows, 0, 1, group, keep), ALL);
    assert_int_equal(kept_of(ALL, rows, 0, 3, group, keep), ALL);
    pith_forest *f = forest(ALL, WIDTH, rows, 0, ALL);
    assert_int_equal(f->edges, 0); /* 0 is not nearer than 0 */
    pith_forest_free(f);
    assert_int_equal(kept_of(ALL, rows, 1e-9, 1, group, keep), ALL - 1);
    assert_true(keep[0] && !keep[1]);
    assert_int_equal(kept_of(ALL, rows, 2.01, 1, group, keep), 1);
    assert_int_equal(kept_of(ALL, rows, 2.01, 4, group, keep), 1);
    free(rows);
}

static void any_order(void **state)
{
    (void)state;
    enum { N = 1100 };
    real *rows = rows_around(N, WIDTH, 200, 0.3, 9), *mixed = malloc(sizeof *rows * N * WIDTH);
    int group[N], found[N], back[N];
    for (int i = 0; i < N; i++)
        memcpy(mixed + WIDTH * (i * 7 % N), rows + WIDTH * i, sizeof *rows * WIDTH);
    for (double beta = 0.2; beta < 0.5; beta += 0.05) {
        const int groups = pith_near_groups(N, WIDTH, rows, beta, 1, group);
        assert_int_equal(pith_near_groups(N, WIDTH, mixed, beta, 1, found), groups);
        for (int i = 0; i < N; i++) back[i] = found[i * 7 % N];
        same_groups(N, group, back);
    }
    free(mixed);
    free(rows);
}

static void betas(void **state)
{
    (void)state;
    enum { N = 600 };
    static const int asked[] = { 0, 1, 28, 29, 30, 100, 300, 598, 599 };
    real *rows = rows_around(N, WIDTH, 80, 0.3, 11);
    int group[N];
    double next;
    for (int i = 1; i < 30; i++) memcpy(rows + i * WIDTH, rows, sizeof *rows * WIDTH);
    pith_forest *all = forest(N, WIDTH, rows, 3, N);
    assert_int_equal(all->edges, N - 1);
    for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
        const int removed = asked[k];
        pith_forest *f = forest(N, WIDTH, rows, 3, removed + 1);
        const double beta = pith_forest_beta(f, removed, &next);
        const int possible = removed < 29 ? 0 : removed; /* copies come and go together */
        assert_int_equal(pith_forest_removed(f, beta), possible);
        assert_int_equal(pith_forest_groups(f, beta, group), N - possible);
        assert_true(beta == pith_forest_beta(all, removed, &(double){ 0 }));
        if (removed == N - 1) assert_true(next == HUGE_VAL);
        else assert_int_equal(pith_forest_removed(f, next), removed < 29 ? 29 : removed + 1);
        pith_forest_free(f);
    }
    pith_forest_free(all);
    pith_forest *f = forest(N, WIDTH, rows, 0.1, N);
    assert_int_equal(pith_forest_groups(f, 0.2, group), -1);
    said("this forest tells groups up to 0.1, found 0.2");
    pith_forest_free(f);
    free(rows);
}

/* ---- threads, mistakes ---- */

static void any_threads(void **state)
{
    (void)state;
    enum { N = 1500 };
    real *rows = rows_around(N, WIDTH, 90, 0.3, 13);
    const int before = omp_get_max_threads();
    pith_forest *first = forest(N, WIDTH, rows, 3, N);
    for (int threads = 1; threads <= 4; threads *= 2) {
        omp_set_num_threads(threads);
        pith_forest *f = forest(N, WIDTH, rows, 3, N);
        assert_int_equal(f->edges, first->edges);
        for (int k = 0; k < f->edges; k++) assert_true(!by_distance(&f->edge[k], &first->edge[k]));
        pith_forest_free(f);
    }
    omp_set_num_threads(before);
    pith_forest_free(first);
    free(rows);
}

static void mistakes(void **state)
{
    (void)state;
    real *rows = rows_around(4, 3, 4, 0, 1);
    pith_edge *edges;
    int group[4];
    rows[7] = NAN;
    assert_null(pith_forest_new(4, 3, rows, 1, 4));
    said("row 2 holds a NaN or an infinity");
    assert_int_equal(pith_near_pairs(4, 3, rows, 1, &edges), -1);
    assert_int_equal(pith_near_groups(4, 3, rows, 1, 2, group), -1);
    said("row 0 holds a NaN or an infinity"); /* of its shard */
    rows[7] = 2;
    assert_null(pith_forest_new(4, 3, rows, 1, 4));
    said("row 2 has the length 2.");
    assert_null(pith_forest_new(4, 3, rows, NAN, 4));
    said("expected at least 1, 1, 0 and 0");
    assert_null(pith_forest_new(0, 3, rows, 1, 4));
    assert_int_equal(pith_near_pairs(4, 3, rows, -1, &edges), -1);
    assert_int_equal(pith_near_groups(4, 3, rows, 1, 5, group), -1);
    said("5 shards of 4 rows");
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair),  cmocka_unit_test(planted),   cmocka_unit_test(central),
        cmocka_unit_test(at_the_ends), cmocka_unit_test(any_order), cmocka_unit_test(betas),
        cmocka_unit_test(any_threads), cmocka_unit_test(mistakes),
    };
    const struct CMUnitTest few[] = { cmocka_unit_test(betas), cmocka_unit_test(central) };
    if (!on_device()) return cmocka_run_group_tests(tests, quiet, NULL);
    pith_multiply_on(PITH_CUDA);
    return cmocka_run_group_tests(few, quiet, NULL);
}
