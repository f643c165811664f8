/* test_augment.c: each op of RandAugment against plain loops over its definition (they agree with
 * Pillow to the byte, but for ties when rotating); the other changes that came with it; which ops
 * are drawn how often; the same views in any order, on any number of threads; and the older presets
 * as they were. */
#include "tests.h"
#include "pictures/parts.h"

enum { LARGEST = 224 };
static const double zero[3] = { 0, 0, 0 }, one[3] = { 1, 1, 1 };
static uint8_t in[3 * LARGEST * LARGEST], out[sizeof in], expected[sizeof in], spare[sizeof in];
static pith_real view[sizeof in];
static float *work;

/* Random bytes around a slope, so that no plane has all values. */
static void draw_picture(int size, uint64_t number)
{
    const int n = size * size;
    for (int k = 0; k < 3 * n; k++) {
        uint32_t w[4];
        pith_philox(11, (uint64_t)k, number, w);
        in[k] = (uint8_t)(20 + 50 * (k / n) + 60 * (k % size) / size + (int)(w[0] % 40));
    }
}

/* ---- the ops, a pixel at a time ---- */

static int clip(double x) { return x < 0 ? 0 : x > 255 ? 255 : (int)x; }

static int luma(int size, int at)
{
    const int n = size * size;
    return (19595 * in[at] + 38470 * in[n + at] + 7471 * in[2 * n + at] + 32768) / 65536;
}

static int mixed(int a, int b, double level)
{
    return clip((float)a + (float)(0.1 + 1.8 * level) * (float)(b - a));
}

static int smoothed(const uint8_t *plane, int size, int x, int y)
{
    int sum = 0;
    if (x == 0 || y == 0 || x == size - 1 || y == size - 1) return plane[y * size + x];
    for (int v = -1; v <= 1; v++)
        for (int u = -1; u <= 1; u++)
            sum += (u == 0 && v == 0 ? 5 : 1) * plane[(y + v) * size + x + u];
    return (int)(sum / 13.0 + 0.5);
}

/* A pixel at a place told in pixels from the outer corner. */
static int at_place(const uint8_t *plane, int size, double x, double y)
{
    const bool inside = x >= 0 && y >= 0 && x < size && y < size;
    return inside ? plane[(int)y * size + (int)x] : 128;
}

static int meant(pith_random_op op, double level, double sign, const double centre[2], int size,
                 const uint8_t *plane, int x, int y)
{
    const int n = size * size, at = y * size + x, v = plane[at];
    const double s = sign * level, X = x + 0.5, Y = y + 0.5, half = size / 2.0;
    const double c = cos(s * M_PI / 6), t = sin(s * M_PI / 6), pixels = s * 100 * size / 224.0;
    int low = 255, high = 0, below = 0, most = 0, mean = 0;
    if (op == PITH_AUTO_CONTRAST || op == PITH_EQUALIZE || op == PITH_CONTRAST) {
        for (int k = 0; k < n; k++) {
            low = plane[k] < low ? plane[k] : low, high = plane[k] > high ? plane[k] : high;
            below += plane[k] < v;
            mean += op == PITH_CONTRAST ? luma(size, k) : 0;
        }
        for (int k = 0; k < n; k++) most += plane[k] == high;
    }
    switch (op) {
    case PITH_AUTO_CONTRAST: return (v - low) * 255 / (high - low);
    case PITH_EQUALIZE: {
        const int step = (n - most) / 255, level_of = step ? (step / 2 + below) / step : v;
        return level_of < 255 ? level_of : 255;
    }
    case PITH_INVERT: return 255 - v;
    case PITH_ROTATE:
        return at_place(plane, size, half + c * (X - half) - t * (Y - half),
                        half + t * (X - half) + c * (Y - half));
    case PITH_POSTERIZE: return v - v % (1 << (8 - (int)(4 * level)));
    case PITH_SOLARIZE: return v < (int)(256 * level) ? v : 255 - v;
    case PITH_COLOUR: return mixed(luma(size, at), v, level);
    case PITH_CONTRAST: return mixed((int)(mean / (double)n + 0.5), v, level);
    case PITH_BRIGHTNESS: return mixed(0, v, level);
    case PITH_SHARPNESS: return mixed(smoothed(plane, size, x, y), v, level);
    case PITH_SHEAR_X: return at_place(plane, size, X + 0.3 * s * Y, Y);
    case PITH_SHEAR_Y: return at_place(plane, size, X, Y + 0.3 * s * X);
    case PITH_TRANSLATE_X: return at_place(plane, size, X + pixels, Y);
    case PITH_TRANSLATE_Y: return at_place(plane, size, X, Y + pixels);
    case PITH_SOLARIZE_ADD: return v < 128 ? clip(v + (int)(110 * level)) : v;
    default: {
        const int r = (int)((int)(40 * level) * size / 224.0 + 0.5), cx = (int)(centre[0] * size),
                  cy = (int)(centre[1] * size);
        return x >= cx - r && x < cx + r && y >= cy - r && y < cy + r ? 128 : v;
    }
    }
}

static void do_op(pith_random_op op, double level, double sign, const double centre[2], int size)
{
    memcpy(out, in, sizeof in);
    pith_randaugment_op(op, level, sign, centre, size, out, spare);
}

static void every_op_is_what_it_is_called(void **state)
{
    (void)state;
    static const double level[] = { 1, 0.9, 0.5, 0.3 }, centre[2] = { 0.1, 0.7 };
    for (int size = 7; size <= 40; size += 11)
        for (int op = 0; op < PITH_RANDOM_OPS; op++)
            for (int k = 0; k < 8; k++) {
                const int n = size * size;
                const double sign = k % 2 ? 1 : -1;
                int wrong = 0;
                draw_picture(size, (uint64_t)k);
                do_op((pith_random_op)op, level[k / 2], sign, centre, size);
                for (int i = 0; i < 3 * n; i++)
                    wrong += out[i] != meant((pith_random_op)op, level[k / 2], sign, centre, size,
                                             in + i / n * n, i % size, i % n / size);
                if (wrong > (op == PITH_ROTATE ? 3 * n / 200 : 0))
                    fail_msg("op %d at %g, size %d: %d of %d bytes", op, level[k / 2], size, wrong,
                             3 * n);
            }
}

/* How many of the first plane's bytes became 128, which the picture does not have. */
static int filled(pith_random_op op, double level, int size)
{
    static const double centre[2] = { 0.5, 0.5 };
    int count = 0;
    memset(in, 7, sizeof in);
    do_op(op, level, 1, centre, size);
    for (int k = 0; k < size * size; k++) count += out[k] == 128;
    return count;
}

static void pixels_scale_with_the_side(void **state)
{
    (void)state;
    assert_int_equal(filled(PITH_TRANSLATE_X, 1, 224), 100 * 224);
    assert_int_equal(filled(PITH_TRANSLATE_Y, 0.7, 112), 35 * 112);
    assert_int_equal(filled(PITH_TRANSLATE_X, 1, 32), 14 * 32);
    assert_int_equal(filled(PITH_CUTOUT, 1, 224), 80 * 80);
    assert_int_equal(filled(PITH_CUTOUT, 0.5, 112), 20 * 20);
    assert_int_equal(filled(PITH_CUTOUT, 1, 32), 12 * 12);
}

/* ---- views ---- */

static void make(const pith_augment *a, uint64_t index, int size)
{
    pith_augment_view(a, 5, 1, index, size, in, zero, one, work, view);
}

static void see(int size) /* in `out`, as bytes */
{
    for (int k = 0; k < 3 * size * size; k++) out[k] = (uint8_t)((double)view[k] * 255 + 0.5);
}

/* Which op made the view: with one op a view, each has its share. What none explains is cutout. */
static void ops_are_drawn_evenly(void **state)
{
    (void)state;
    enum { SIZE = 24, VIEWS = 3200 };
    const pith_augment a = { .randaugment = 1, .magnitude = 9 };
    const double nowhere[2] = { 9, 9 };
    int count[PITH_RANDOM_OPS] = { 0 };
    draw_picture(SIZE, 1);
    for (int k = 0; k < VIEWS; k++) {
        int op = 0;
        make(&a, (uint64_t)k, SIZE), see(SIZE);
        memcpy(expected, out, sizeof out);
        for (bool found = false; op < PITH_CUTOUT; op += !found) {
            for (int sign = -1; sign <= 1 && !found; sign += 2) {
                do_op((pith_random_op)op, 0.9, sign, nowhere, SIZE);
                found = !memcmp(out, expected, 3 * SIZE * SIZE);
            }
            if (found) break;
        }
        count[op]++;
    }
    for (int op = 0; op < PITH_RANDOM_OPS; op++)
        if (abs(count[op] - VIEWS / PITH_RANDOM_OPS) > 60)
            fail_msg("op %d came %d times, expected about %d", op, count[op],
                     VIEWS / PITH_RANDOM_OPS);
}

/* InfoMin's version never cuts out: of a view none of whose pixels moved, no square is grey. */
static void infomin_spreads_and_does_not_cut(void **state)
{
    (void)state;
    enum { SIZE = 56 };
    int cut[2] = { 0 }, different = 0;
    memset(in, 7, sizeof in);
    for (uint64_t k = 0; k < 600; k++)
        for (int infomin = 0; infomin < 2; infomin++) {
            const pith_augment a = { .randaugment = 1, .magnitude = 5, .infomin = infomin };
            int grey = 0;
            make(&a, k, SIZE), see(SIZE);
            for (int i = 0; i < SIZE * SIZE; i++) grey += out[i] == 128;
            const int corner = (out[0] == 128) + (out[SIZE - 1] == 128) +
                               (out[SIZE * (SIZE - 1)] == 128) + (out[SIZE * SIZE - 1] == 128);
            cut[infomin] += grey == 10 * 10 && !corner;
            if (infomin) different += grey % SIZE == 0 && grey > 0 && grey != 13 * SIZE;
        }
    assert_true(cut[0] > 10 && cut[1] == 0);
    assert_true(different > 10); /* translated by another number of pixels than magnitude 5 has */
}

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
        cmocka_unit_test(every_op_is_what_it_is_called),
        cmocka_unit_test(pixels_scale_with_the_side),
        cmocka_unit_test(ops_are_drawn_evenly),
        cmocka_unit_test(infomin_spreads_and_does_not_cut),
        cmocka_unit_test(hue_turns_and_gray_is_grey),
        cmocka_unit_test(gaussian_blurs_as_published),
        cmocka_unit_test(jitter_is_now_and_then),
        cmocka_unit_test(views_do_not_depend_on_threads),
        cmocka_unit_test(older_presets_are_as_they_were),
    };
    work = malloc(sizeof(float) * pith_augment_room(LARGEST));
    const int failed = cmocka_run_group_tests(tests, quiet, NULL);
    free(work);
    return failed;
}
