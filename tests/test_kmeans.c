/* test_kmeans.c: k-means against plain loops, its seeds, empty clusters, inertia and threads. */
#include <omp.h>
#include "near_rows.h"
#include "neighbours/neighbours.h"

static int kmeans(int n, int width, const real *rows, pith_kmeans_options o, real *centroids,
                  int *cluster, double *history)
{
    const int iterations = pith_kmeans(n, width, rows, &o, centroids, cluster, history);
    if (iterations < 1) fail_msg("%s", pith_error());
    return iterations;
}

/* ---- plain loops ---- */

static double squared(int width, const real *a, const real *b)
{
    double sum = 0;
    for (int k = 0; k < width; k++)
        sum += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]);
    return sum;
}

/* An iteration's assignment: a row stays where nothing is nearer. Returns the inertia. */
static double plain_assign(int n, int width, const real *rows, int k, const real *centroids,
                           int *cluster, double *distance)
{
    double inertia = 0;
    for (int i = 0; i < n; i++) {
        double least = HUGE_VAL;
        int best = 0;
        for (int c = 0; c < k; c++) {
            const double d = squared(width, rows + i * width, centroids + c * width);
            if (d < least) least = d, best = c;
        }
        if (cluster[i] < 0 ||
            squared(width, rows + i * width, centroids + cluster[i] * width) > least)
            cluster[i] = best;
        inertia += distance[i] = least;
    }
    return inertia;
}

/* The farthest row that is not alone goes to the first empty cluster; then the means. Returns how
 * many clusters were empty. */
static int plain_move(int n, int width, const real *rows, int k, real *centroids, int *cluster,
                      double *distance, bool spherical)
{
    int empty = 0;
    for (int c = 0; c < k; c++) {
        int farthest = -1, members = 0;
        for (int i = 0; i < n; i++) members += cluster[i] == c;
        if (members) continue;
        empty++;
        for (int i = 0; i < n; i++) {
            int others = 0;
            for (int j = 0; j < n; j++) others += cluster[j] == cluster[i];
            if (others > 1 && distance[i] > (farthest < 0 ? 0 : distance[farthest])) farthest = i;
        }
        if (farthest >= 0) cluster[farthest] = c, distance[farthest] = 0;
    }
    for (int c = 0; c < k; c++) {
        double mean[64] = { 0 }, squares = 0;
        int members = 0;
        for (int i = 0; i < n; i++)
            for (int d = 0; cluster[i] == c && d < width; d++)
                mean[d] += (double)rows[i * width + d], members += d == 0;
        for (int d = 0; d < width; d++) squares += mean[d] * mean[d];
        for (int d = 0; members && d < width; d++)
            centroids[c * width + d] = (real)(mean[d] / (spherical ? sqrt(squares) : members));
    }
    return empty;
}

/* From the seeds, as one iteration leaves them, on. Returns how many clusters were empty once. */
static int against_loops(int n, int width, const real *rows, pith_kmeans_options o)
{
    real *centroids = malloc(2 * sizeof(real) * (size_t)(o.k * width)),
         *plain = centroids + o.k * width;
    int *cluster = malloc(2 * sizeof(int) * (size_t)n), *own = cluster + n, empty = 0;
    double *distance = malloc(sizeof *distance * (size_t)n), history[100], found = 0;
    const int asked = o.iterations;
    o.iterations = 1;
    kmeans(n, width, rows, o, plain, cluster, NULL);
    for (int c = 0; c < o.k; c++) { /* seeds are rows */
        bool is_row = false;
        for (int i = 0; i < n && !is_row; i++)
            is_row = !memcmp(plain + c * width, rows + i * width, sizeof *rows * (size_t)width);
        assert_true(is_row);
    }
    o.iterations = asked;
    const int made = kmeans(n, width, rows, o, centroids, cluster, history);
    for (int i = 0; i < n; i++) own[i] = -1;
    for (int m = 0; m < made; m++) {
        if (m) empty += plain_move(n, width, rows, o.k, plain, own, distance, o.spherical);
        found = plain_assign(n, width, rows, o.k, plain, own, distance);
        if (fabs(found - history[m]) > 1e-6 * (1e-6 + found))
            fail_msg("iteration %d: inertia %.9g, not %.9g", m, history[m], found);
        if (m && history[m] > history[m - 1] * (1 + 1e-6)) fail_msg("the inertia rises");
    }
    assert_memory_equal(cluster, own, sizeof *own * (size_t)n);
    for (int i = 0; i < o.k * width; i++)
        if (fabs((double)(centroids[i] - plain[i])) > 1e-6) fail_msg("centroid %d", i / width);
    if (made < asked) assert_true(made > 1);
    free(centroids);
    free(cluster);
    free(distance);
    return empty;
}

static void lloyd(void **state)
{
    (void)state;
    real *rows = rows_around(1200, 24, 30, 0.8, 3);
    for (uint64_t seed = 0; seed < 3; seed++) {
        against_loops(1200, 24, rows, (pith_kmeans_options){ 17, 40, false, seed });
        against_loops(1200, 24, rows, (pith_kmeans_options){ 17, 40, true, seed });
        against_loops(1200, 24, rows, (pith_kmeans_options){ 530, 6, false, seed });
        against_loops(1200, 24, rows, (pith_kmeans_options){ 1, 5, false, seed });
        against_loops(512, 24, rows, (pith_kmeans_options){ 512, 9, false, seed });
    }
    free(rows);
}

/* Rows so far from the origin that the distances between most are below the rounding of seeds: a
 * row is drawn twice, and the second of two equal centroids has nothing. All is exact in f32. */
static void empty_clusters(void **state)
{
    (void)state;
    enum { N = 32, W = 6, K = 20 };
    real rows[N * W], centroids[K * W];
    int cluster[N], empty = 0;
    for (int i = 0; i < N; i++)
        for (int d = 0; d < W; d++) rows[i * W + d] = (real)(d ? i >> (d - 1) & 1 : 2048);
    for (uint64_t seed = 0; seed < 10; seed++) {
        const pith_kmeans_options o = { K, 30, false, seed };
        empty += against_loops(N, W, rows, o);
        kmeans(N, W, rows, o, centroids, cluster, NULL);
        for (int c = 0; c < K; c++) {
            int members = 0;
            for (int i = 0; i < N; i++) members += cluster[i] == c;
            assert_true(members > 0);
        }
    }
    if (sizeof(real) == 4) assert_true(empty > 5);
}

/* Fewer different rows than clusters: those that are over stay empty, and it ends. */
static void too_few_rows(void **state)
{
    (void)state;
    real *rows = rows_around(40, 8, 3, 0, 4), centroids[7 * 8];
    int cluster[40];
    double history[50];
    const int made = kmeans(40, 8, rows, (pith_kmeans_options){ 7, 50, false, 2 }, centroids,
                            cluster, history);
    assert_true(made < 5);
    assert_true(history[made - 1] < 1e-20);
    for (int i = 3; sizeof(real) == 4 && i < 40; i++) /* means in double are exact then */
        assert_int_equal(cluster[i], cluster[i % 3]);
    free(rows);
}

/* Ten rows far from a thousand others: distances draw the second seed there, and chance would not
 * in one of a hundred. */
static void seeds_are_apart(void **state)
{
    (void)state;
    enum { N = 1010, W = 16 };
    real *rows = rows_around(N, W, 1, 0.005, 6), *far = rows_around(10, W, 1, 0.005, 66),
         centroids[2 * W];
    int cluster[N], apart_from = 0, first = 0;
    memcpy(rows, far, sizeof *far * 10 * W);
    for (uint64_t seed = 0; seed < 20; seed++) {
        kmeans(N, W, rows, (pith_kmeans_options){ 2, 1, false, seed }, centroids, cluster, NULL);
        apart_from += squared(W, centroids, centroids + W) > 0.5;
        first += !memcmp(centroids, rows + 10 * W, sizeof *rows * W);
    }
    assert_true(apart_from >= 19);
    assert_true(first < 3); /* and the first one is any row */
    free(far);
    free(rows);
}

static void any_threads(void **state)
{
    (void)state;
    enum { N = 1500, W = 40, K = 60 };
    real *rows = rows_around(N, W, 90, 0.5, 8), centroids[3][K * W];
    int cluster[3][N];
    const int before = omp_get_max_threads();
    for (int t = 0; t < 3; t++) {
        omp_set_num_threads(1 << t);
        kmeans(N, W, rows, (pith_kmeans_options){ K, 12, false, 5 }, centroids[t], cluster[t],
               NULL);
    }
    omp_set_num_threads(before);
    for (int t = 1; t < 3; t++) {
        assert_memory_equal(centroids[t], centroids[0], sizeof centroids[0]);
        assert_memory_equal(cluster[t], cluster[0], sizeof cluster[0]);
    }
    kmeans(N, W, rows, (pith_kmeans_options){ K, 12, false, 6 }, centroids[1], cluster[1], NULL);
    assert_memory_not_equal(centroids[1], centroids[0], sizeof centroids[0]);
    free(rows);
}

static void nearest(void **state)
{
    (void)state;
    enum { N = 700, W = 20, K = 520 };
    real *rows = rows_around(N, W, 90, 0.5, 8), *centroids = rows_around(K, W, 77, 0.5, 9);
    int cluster[N], own[N];
    double distance[N], plain[N];
    memcpy(centroids + 9 * W, centroids + 3 * W, sizeof *centroids * W);
    assert_true(pith_nearest(N, W, rows, K, centroids, cluster, distance));
    for (int i = 0; i < N; i++) own[i] = -1;
    plain_assign(N, W, rows, K, centroids, own, plain);
    for (int i = 0; i < N; i++) near(distance[i], plain[i]);
    assert_memory_equal(cluster, own, sizeof own);
    free(centroids);
    free(rows);
}

static void mistakes(void **state)
{
    (void)state;
    real *rows = rows_around(4, 3, 4, 0, 1), centroids[12];
    int cluster[4];
    pith_kmeans_options o = { 5, 3, false, 0 };
    assert_int_equal(pith_kmeans(4, 3, rows, &o, centroids, cluster, NULL), -1);
    said("there are 4 rows, too few for 5 clusters");
    o.k = 0;
    assert_int_equal(pith_kmeans(4, 3, rows, &o, centroids, cluster, NULL), -1);
    said("expected at least 1 each");
    o.k = 2;
    rows[4] = INFINITY;
    assert_int_equal(pith_kmeans(4, 3, rows, &o, centroids, cluster, NULL), -1);
    said("row 1 holds a NaN or an infinity");
    assert_false(pith_nearest(4, 3, rows, 1, rows, cluster, (double[4]){ 0 }));
    said("row 1 holds a NaN or an infinity");
    rows[4] = 3;
    o.spherical = true;
    assert_int_equal(pith_kmeans(4, 3, rows, &o, centroids, cluster, NULL), -1);
    said("row 1 has the length 3.");
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lloyd),        cmocka_unit_test(empty_clusters),
        cmocka_unit_test(too_few_rows), cmocka_unit_test(seeds_are_apart),
        cmocka_unit_test(any_threads),  cmocka_unit_test(nearest),
        cmocka_unit_test(mistakes),
    };
    const struct CMUnitTest few[] = { cmocka_unit_test(nearest), cmocka_unit_test(seeds_are_apart),
                                      cmocka_unit_test(too_few_rows) };
    if (!on_device()) return cmocka_run_group_tests(tests, quiet, NULL);
    pith_multiply_on(PITH_CUDA);
    return cmocka_run_group_tests(few, quiet, NULL);
}
