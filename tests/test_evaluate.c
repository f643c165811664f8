/* test_evaluate.c: the figures of evaluation, against the simplest way to count them. */
#include "tests.h"
#include "train/train.h"

enum { ROWS = 60, WIDE = 37 };

/* Rows of small whole numbers: products are exact, and ties happen. */
static void draw(real *x, int n, uint64_t key)
{
    for (int i = 0; i < n; i++) x[i] = (real)floor(3 * pith_uniform_at(key, 0, (uint64_t)i) - 1);
}

static double product(const real *a, const real *b)
{
    double sum = 0;
    for (int k = 0; k < WIDE; k++) sum += (double)a[k] * (double)b[k];
    return sum;
}

/* The right answers of query q among the candidates c are those with c % CAPTIONS == q % CAPTIONS.
 */
enum { CAPTIONS = 45 };

static int rank_of(int q, const real *query, int n, const real *candidates)
{
    int rank = 1;
    double best = -1e9;
    for (int c = q % CAPTIONS; c < n; c += CAPTIONS)
        best = fmax(best, product(query, candidates + c * WIDE));
    for (int c = 0; c < n; c++)
        rank += c % CAPTIONS != q % CAPTIONS && product(query, candidates + c * WIDE) >= best;
    return rank;
}

static void retrieval(void **state)
{
    (void)state;
    static const int at[3] = { 1, 5, 10 };
    static real image[ROWS * WIDE], text[ROWS * WIDE];
    int group[ROWS];
    draw(image, ROWS * WIDE, 1);
    draw(text, ROWS * WIDE, 2);
    for (int i = 0; i < ROWS; i++) { /* fifteen captions have two pictures */
        group[i] = 100 - i % CAPTIONS;
        for (int k = 0; k < WIDE; k++)
            text[i * WIDE + k] = i < CAPTIONS
                                     ? text[i * WIDE + k] + image[i * WIDE + k] * (k % 3 == 0)
                                     : text[(i - CAPTIONS) * WIDE + k];
    }
    const pith_retrieval r = pith_measure_retrieval(ROWS, WIDE, image, text, group);
    assert_int_equal(r.pictures, ROWS);
    assert_int_equal(r.captions, CAPTIONS);
    for (int d = 0; d < 2; d++) {
        const int queries = d ? ROWS : CAPTIONS;
        double mrr = 0, hits[3] = { 0 };
        for (int q = 0; q < queries; q++) {
            const int rank = d ? rank_of(q, image + q * WIDE, CAPTIONS, text)
                               : rank_of(q, text + q * WIDE, ROWS, image);
            mrr += 1.0 / rank;
            for (int k = 0; k < 3; k++) hits[k] += rank <= at[k];
        }
        near(r.mrr[d], mrr / queries);
        for (int k = 0; k < 3; k++) near(r.recall[d][k], hits[k] / queries);
        assert_true(r.recall[d][0] > 0.1 && r.recall[d][1] < 1);
    }
    /* the chance that one of two right pictures is among the first five of sixty */
    const double two = 1 - 58.0 / 60 * 57 / 59 * 56 / 58 * 55 / 57 * 54 / 56;
    near(r.chance[0][1], (15 * two + 30 * 5.0 / 60) / CAPTIONS);
    near(r.chance[1][2], 10.0 / CAPTIONS);
    for (int i = 0; i < ROWS * WIDE; i++) text[i] = (real)NAN;
    near(pith_measure_retrieval(ROWS, WIDE, image, text, group).recall[0][2], 0);
    for (int i = 0; i < ROWS * WIDE; i++)
        text[i] = 1; /* equal scores: every wrong picture ranks first */
    near(pith_measure_retrieval(ROWS, WIDE, image, text, group).recall[1][2], 0);
}

static void zero_shot(void **state)
{
    (void)state;
    static real image[ROWS * WIDE], rows[8 * WIDE];
    int label[ROWS], top1 = 0, top5 = 0;
    draw(image, ROWS * WIDE, 3);
    draw(rows, 8 * WIDE, 4);
    for (int i = 0; i < ROWS; i++) {
        label[i] = i < 10 ? -1 : i % 4 ? i % 8 : 5;
        if (label[i] < 0) continue;
        int rank = 1;
        for (int c = 0; c < 8; c++)
            rank += c != label[i] && product(image + i * WIDE, rows + c * WIDE) >=
                                         product(image + i * WIDE, rows + label[i] * WIDE);
        top1 += rank == 1;
        top5 += rank <= 5;
    }
    const pith_classified z = pith_measure_classes(ROWS, WIDE, image, label, 8, rows);
    assert_int_equal(z.pictures, 50);
    near(z.top1, top1 / 50.0);
    near(z.top5, top5 / 50.0);
    near(z.chance1, 1 / 8.0);
    near(z.chance5, 5 / 8.0);
    near(z.majority, 18 / 50.0);
}

static void twins(void **state)
{
    (void)state;
    /* all right; all wrong; equal captions, of which one finds its picture */
    static const real picture[12] = { 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1 },
                      caption[12] = { 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0 };
    pith_twins t = pith_measure_twins(3, 2, picture, caption);
    assert_int_equal(t.couples, 3);
    near(t.image_to_text, 2.0 / 6);
    near(t.text_to_image, 3.0 / 6);
    near(t.both, 1.0 / 3);
    near(pith_measure_twins(0, 2, picture, caption).both, 0);

    static real image[ROWS * WIDE], text[ROWS * WIDE];
    int hits[2] = { 0 }, both = 0;
    draw(image, ROWS * WIDE, 6);
    draw(text, ROWS * WIDE, 7);
    for (int i = 0; i < ROWS * WIDE; i++) text[i] += i % 5 ? 0 : image[i];
    for (int i = 0; i < ROWS; i++) {
        const int twin = i % 2 ? i - 1 : i + 1;
        const double own = product(image + i * WIDE, text + i * WIDE),
                     twins_own = product(image + twin * WIDE, text + twin * WIDE);
        const double captions = product(image + i * WIDE, text + twin * WIDE),
                     pictures = product(image + twin * WIDE, text + i * WIDE);
        hits[0] += own > captions;
        hits[1] += own > pictures;
        both += i % 2 && fmin(own, twins_own) > fmax(captions, pictures);
    }
    t = pith_measure_twins(ROWS / 2, WIDE, image, text);
    near(t.image_to_text, hits[0] / (double)ROWS);
    near(t.text_to_image, hits[1] / (double)ROWS);
    near(t.both, both / (ROWS / 2.0));
    assert_true(hits[0] != hits[1] && both > 0 && t.both < t.image_to_text);
    text[0] = (real)NAN; /* of the first couple only the second picture's captions are left */
    assert_true(pith_measure_twins(1, WIDE, image, text).text_to_image < 0.6);

    enum { COUPLES = 4000 }; /* random rows give chance */
    real *rows = malloc(sizeof *rows * 4 * COUPLES * WIDE);
    for (int i = 0; i < 4 * COUPLES * WIDE; i++)
        rows[i] = (real)pith_uniform_at(8, 0, (uint64_t)i) - (real)0.5;
    t = pith_measure_twins(COUPLES, WIDE, rows, rows + 2 * COUPLES * WIDE);
    assert_true(fabs(t.image_to_text - t.chance) < 0.02 && fabs(t.text_to_image - t.chance) < 0.02);
    assert_true(fabs(t.both - t.chance_both) < 0.02);
    free(rows);
}

/* A probe's weights are where the gradient of the ridge's objective is zero. */
static void probe_is_ridge_regression(void **state)
{
    (void)state;
    enum { CLASSES = 3, BROAD = WIDE + 1 };
    static real x[ROWS * WIDE], white[ROWS][BROAD];
    int label[ROWS];
    draw(x, ROWS * WIDE, 5);
    for (int i = 0; i < ROWS; i++) label[i] = i % CLASSES;
    for (int i = 0; i < ROWS; i++) x[i * WIDE + label[i]] += 3; /* something to find */
    for (int d = 0; d < WIDE; d++) {
        double mean = 0, squares = 0;
        for (int i = 0; i < ROWS; i++) mean += (double)x[i * WIDE + d] / ROWS;
        for (int i = 0; i < ROWS; i++)
            squares += ((double)x[i * WIDE + d] - mean) * ((double)x[i * WIDE + d] - mean);
        for (int i = 0; i < ROWS; i++)
            white[i][d] = (real)(((double)x[i * WIDE + d] - mean) / (sqrt(squares / ROWS) + 1e-5));
    }
    for (int i = 0; i < ROWS; i++) white[i][WIDE] = 100;
    pith_probe p = pith_probe_fit(ROWS, WIDE, x, label, CLASSES);
    for (int k = 0; k < CLASSES; k++)
        for (int d = 0; d < BROAD; d++) {
            const double weight = (double)p.rows[k * BROAD + d];
            double gradient = 1024 * weight, size = fabs(gradient);
            for (int i = 0; i < ROWS; i++) {
                double y = label[i] == k ? -1 : 1;
                for (int c = 0; c < BROAD; c++)
                    y += (double)p.rows[k * BROAD + c] * (double)white[i][c];
                gradient += y * (double)white[i][d];
                size += fabs(y * (double)white[i][d]);
            }
            assert_true(fabs(gradient) < (sizeof(real) == 8 ? 1e-10 : 2e-5) * size);
        }
    const pith_classified z = pith_probe_measure(&p, ROWS, x, label);
    assert_true(z.top1 > 0.8 && z.pictures == ROWS && z.classes == CLASSES);
    pith_probe_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(retrieval), cmocka_unit_test(zero_shot),
                                        cmocka_unit_test(twins),
                                        cmocka_unit_test(probe_is_ridge_regression) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
