/* test_augment.c: augmented views: hue, jitter, grey and the published blur; the order of changes;
 * the same views in any order, on any number of threads; and the older presets as they were. */
#include "view.h"

static double hue_of(const double c[3], double *value, double *chroma)
{
    const double high = fmax(c[0], fmax(c[1], c[2])), low = fmin(c[0], fmin(c[1], c[2]));
    *value = high, *chroma = high - low;
    const double sixths = high == c[0]   ? (c[1] - c[2]) / (high - low)
                          : high == c[1] ? 2 + (c[2] - c[0]) / (high - low)
                                         : 4 + (c[0] - c[1]) / (high - low);
    return sixths / 6 - floor(sixths / 6);
}

static void hue_turns_and_gray_is_grey(void **state)
{
    (void)state;
    enum { SIZE = 16, N = SIZE * SIZE };
    const pith_augment turn = { .hue = 0.3 }, gray = { .gray = 1 };
    double most = 0, last = 0;
    draw_picture(SIZE, 3);
    for (uint64_t k = 0; k < 50; k++) {
        make(&turn, k, SIZE);
        for (int i = 0; i < N; i++) {
            const double before[3] = { in[i] / 255.0, in[N + i] / 255.0, in[2 * N + i] / 255.0 };
            const double after[3] = { (double)view[i], (double)view[N + i],
                                      (double)view[2 * N + i] };
            double v[2], c[2];
            const double h = hue_of(before, &v[0], &c[0]), turned = hue_of(after, &v[1], &c[1]) - h,
                         angle = turned - floor(turned + 0.5);
            assert_true(fabs(v[0] - v[1]) < 1e-5 && fabs(c[0] - c[1]) < 1e-5);
            if (i) assert_true(fabs(angle - last) < 1e-3); /* all by the same angle */
            last = angle;
            most = fmax(most, fabs(angle));
        }
        make(&gray, k, SIZE);
        for (int i = 0; i < N; i++) {
            const double y = (0.299 * in[i] + 0.587 * in[N + i] + 0.114 * in[2 * N + i]) / 255;
            for (int c = 0; c < 3; c++) assert_true(fabs((double)view[c * N + i] - y) < 1e-5);
        }
    }
    assert_true(most > 0.2 && most <= 0.3 + 1e-3);
}

/* A point becomes a bell whose variance is that of a sigma in [0.1, 2], along both axes. */
static void gaussian_blurs_as_published(void **state)
{
    (void)state;
    const pith_augment a = { .gaussian = 0.5 };
    int sharp = 0;
    double widest = 0;
    memset(in, 0, sizeof in);
    in[100 * 224 + 90] = 255;
    for (uint64_t k = 0; k < 40; k++) {
        double sum = 0, variance = 0;
        make(&a, k, 224);
        for (int i = 0; i < 224 * 224; i++) {
            const double v = (double)view[i];
            sum += v;
            variance += v * (i % 224 - 90) * (i % 224 - 90);
        }
        assert_true(fabs(sum - 1) < 1e-4);
        sharp += view[100 * 224 + 90] == 1;
        widest = fmax(widest, variance);
    }
    assert_true(sharp > 10 && sharp < 30);
    assert_true(widest > 2 && widest < 4.05);
}

static void jitter_is_now_and_then(void **state)
{
    (void)state;
    enum { SIZE = 16, N = 3 * SIZE * SIZE };
    static pith_real plain[N];
    const pith_augment alone[] = { { .contrast = 0.4 }, { .contrast = 0.4, .jitter = 1 } };
    const pith_augment all = {
        .brightness = 0.4, .contrast = 0.4, .saturation = 0.4, .hue = 0.1, .jitter = 0.8
    };
    int same = 0;
    draw_picture(SIZE, 4);
    for (uint64_t k = 0; k < 1000; k++) {
        make(&alone[0], k, SIZE), memcpy(plain, view, sizeof plain);
        make(&alone[1], k, SIZE);
        assert_memory_equal(plain, view, sizeof plain); /* one change has no order */
        make(&all, k, SIZE), see(SIZE);
        same += !memcmp(in, out, N);
    }
    assert_true(same > 150 && same < 250);
}

static const pith_augment stacked = { .crop = 0.08,
                                      .aspect = 1 / 3.0,
                                      .flip = 0.5,
                                      .brightness = 0.4,
                                      .contrast = 0.4,
                                      .saturation = 0.4,
                                      .hue = 0.1,
                                      .gray = 0.2,
                                      .jitter = 0.8,
                                      .gaussian = 0.5,
                                      .randaugment = 2,
                                      .magnitude = 10 };

/* Grey comes after the ops; the blur after all, or, in InfoMin's version, before the ops, which
 * leave bytes. */
static void the_order_is_as_published(void **state)
{
    (void)state;
    enum { SIZE = 64, N = SIZE * SIZE };
    static pith_real coloured[3 * N];
    int soft = 0;
    draw_picture(SIZE, 5);
    for (uint64_t k = 0; k < 60; k++) {
        pith_augment a = { .randaugment = 2, .magnitude = 9 };
        make(&a, k, SIZE), memcpy(coloured, view, sizeof coloured);
        a.gray = 1, make(&a, k, SIZE);
        for (int i = 0; i < N; i++) {
            const double y = 0.299 * (double)coloured[i] + 0.587 * (double)coloured[N + i] +
                             0.114 * (double)coloured[2 * N + i];
            assert_true(fabs((double)view[i] - y) < 1e-5);
        }
        for (int infomin = 0; infomin < 2; infomin++) {
            const pith_augment blurred = {
                .randaugment = 1, .magnitude = 9, .gaussian = 1, .infomin = infomin
            };
            int between = 0;
            make(&blurred, k, SIZE);
            for (int i = 0; i < 3 * N; i++) {
                const double byte = 255 * (double)view[i];
                between += fabs(byte - floor(byte + 0.5)) > 1e-3;
            }
            if (infomin) assert_int_equal(between, 0);
            else soft += between > 100;
        }
    }
    assert_true(soft > 30); /* the narrowest blurs change nothing */
}

static void views_do_not_depend_on_threads(void **state)
{
    (void)state;
    enum { SIZE = 32, N = 3 * SIZE * SIZE, VIEWS = 64 };
    static pith_real first[VIEWS][N], again[VIEWS][N];
    draw_picture(SIZE, 2);
    for (int infomin = 0; infomin < 2; infomin++) {
        pith_augment a = stacked;
        a.infomin = infomin;
        for (int k = 0; k < VIEWS; k++)
            pith_augment_view(&a, 5, 1, (uint64_t)k, SIZE, in, zero, one, work, first[k]);
#pragma omp parallel num_threads(4)
        {
            float *own = malloc(sizeof(float) * pith_augment_room(SIZE));
#pragma omp for schedule(dynamic)
            for (int k = VIEWS - 1; k >= 0; k--)
                pith_augment_view(&a, 5, 1, (uint64_t)k, SIZE, in, zero, one, own, again[k]);
            free(own);
        }
        assert_memory_equal(first, again, sizeof first);
        assert_memory_not_equal(first[0], first[1], sizeof first[0]);
    }
}

/* What was there before RandAugment, to the sums that it had. */
static void older_presets_are_as_they_were(void **state)
{
    (void)state;
    enum { SIZE = 32, N = 3 * SIZE * SIZE };
    static const pith_augment presets[] = {
        { .crop = 0.9, .aspect = 0.33 },
        { .shift = 0.06, .brightness = 0.1 },
        { .crop = 0.9,
          .aspect = 0.1,
          .shift = 0.1,
          .rotate = 14,
          .zoom = 0.2,
          .brightness = 0.2,
          .contrast = 0.3,
          .saturation = 0.4,
          .channel = 0.15,
          .blur = 0.8,
          .noise = 0.05 },
    };
    static const double sums[] = { 1009929.18, 1096921.26, 1387397.37 };
    static const double mean[3] = { .48, .46, .41 }, std[3] = { .27, .26, .28 };
    for (int p = 0; p < 3; p++) {
        double sum = 0;
        for (uint64_t k = 0; k < 300; k++) {
            for (uint64_t i = 0; i < N; i += 4) {
                uint32_t w[4];
                pith_philox(7, i, k, w);
                for (int j = 0; j < 4; j++) in[i + (uint64_t)j] = (uint8_t)w[j];
            }
            pith_augment_view(&presets[p], 5, k % 7, k, SIZE, in, mean, std, work, view);
            for (int i = 0; i < N; i++) sum += (double)view[i] * (i % 13);
        }
        if (fabs(sum - sums[p]) > 0.5) fail_msg("preset %d: %.9g, expected %.9g", p, sum, sums[p]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hue_turns_and_gray_is_grey),
        cmocka_unit_test(gaussian_blurs_as_published),
        cmocka_unit_test(jitter_is_now_and_then),
        cmocka_unit_test(the_order_is_as_published),
        cmocka_unit_test(views_do_not_depend_on_threads),
        cmocka_unit_test(older_presets_are_as_they_were),
    };
    work = malloc(sizeof(float) * pith_augment_room(LARGEST));
    const int failed = cmocka_run_group_tests(tests, quiet, NULL);
    free(work);
    return failed;
}
