/* test_verdict.c: claims judged by made-up results: every answer comes out, and only for its
 * reason. */
#include <math.h>
#include "tests.h"
#include "train/train.h"

/* Tables of Student's t: 95 % two-sided. */
static void intervals_are_students(void **state)
{
    (void)state;
    static const struct {
        int n;
        double t;
    } table[] = { { 2, 12.706205 }, { 3, 4.302653 },  { 4, 3.182446 }, { 5, 2.776445 },
                  { 6, 2.570582 },  { 11, 2.228139 }, { 31, 2.042272 } };
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        double x[31];
        const int n = table[k].n;
        double squares = 0;
        for (int i = 0; i < n; i++) x[i] = 3 + (i % 2 ? 0.5 : -0.5);
        const pith_interval got = pith_t_interval(n, x);
        for (int i = 0; i < n; i++) squares += (x[i] - got.mean) * (x[i] - got.mean);
        const double half = table[k].t * sqrt(squares / (n - 1) / n);
        assert_int_equal(got.n, n);
        assert_true(fabs(got.high - got.mean - half) < 2e-6 * half);
        assert_true(fabs(got.mean - got.low - half) < 2e-6 * half);
    }
    const double one = 7;
    const pith_interval alone = pith_t_interval(1, &one);
    assert_true(alone.mean == 7 && isinf(alone.low) && isinf(alone.high));
}

static pith_verdict judged(pith_claim_kind kind, double margin, bool smaller, bool larger, double a,
                           double b, double c)
{
    const double x[] = { a, b, c };
    const pith_interval i = pith_t_interval(3, x);
    return pith_judge(kind, margin, smaller, larger, &i);
}

static void every_answer(void **state)
{
    (void)state;
    const struct {
        pith_claim_kind kind;
        double margin;
        bool smaller;
        double x[3];
        pith_verdict want;
    } all[] = {
        { PITH_BETTER, 0.01, false, { 0.05, 0.051, 0.049 }, PITH_HELD },
        { PITH_BETTER, 0.01, false, { 0.004, 0.005, 0.006 }, PITH_HELD }, /* small, but certain */
        { PITH_BETTER, 0.01, false, { -0.05, -0.051, -0.049 }, PITH_DID_NOT_HOLD },
        { PITH_BETTER, 0.01, false, { -0.001, 0, 0.001 }, PITH_DID_NOT_HOLD },
        { PITH_BETTER, 0.001, false, { -0.001, 0, 0.001 }, PITH_CANNOT_BE_TOLD },
        { PITH_BETTER, 0.01, false, { 0.1, -0.1, 0.2 }, PITH_CANNOT_BE_TOLD },
        { PITH_BETTER, 0.01, true, { 0.05, 0.051, 0.049 }, PITH_CANNOT_BE_TOLD },
        { PITH_BETTER, 0.01, true, { -0.05, -0.051, -0.049 }, PITH_DID_NOT_HOLD },
        { PITH_NO_WORSE, 0.01, false, { -0.001, 0, 0.001 }, PITH_HELD },
        { PITH_NO_WORSE, 0.01, false, { 0.05, 0.051, 0.049 }, PITH_HELD },
        { PITH_NO_WORSE, 0.01, false, { -0.05, -0.051, -0.049 }, PITH_DID_NOT_HOLD },
        { PITH_NO_WORSE, 0.01, false, { -0.02, 0, 0.02 }, PITH_CANNOT_BE_TOLD },
        { PITH_NO_WORSE, 0.01, true, { -0.001, 0, 0.001 }, PITH_CANNOT_BE_TOLD },
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        assert_int_equal(judged(all[k].kind, all[k].margin, all[k].smaller, false, all[k].x[0],
                                all[k].x[1], all[k].x[2]),
                         all[k].want);
    /* differences that may be larger: what would not hold might, what holds does */
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        assert_int_equal(judged(all[k].kind, all[k].margin, all[k].smaller, true, all[k].x[0],
                                all[k].x[1], all[k].x[2]),
                         all[k].want == PITH_DID_NOT_HOLD ? PITH_CANNOT_BE_TOLD : all[k].want);
    const double one = 0.5;
    const pith_interval alone = pith_t_interval(1, &one);
    assert_int_equal(pith_judge(PITH_BETTER, 0.01, false, false, &alone), PITH_CANNOT_BE_TOLD);
    assert_int_equal(pith_judge(PITH_NO_WORSE, 0.01, false, false, &alone), PITH_CANNOT_BE_TOLD);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(intervals_are_students),
                                        cmocka_unit_test(every_answer) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
