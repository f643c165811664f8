/* test_randaugment.c: each op of RandAugment against plain loops over its definition (they agree
 * with Pillow to the byte, but for ties when rotating, and for bytes that auto_contrast makes 255
 * and Pillow 254); and which ops are drawn how often. */
#include "view.h"

static uint8_t expected[sizeof in], spare[sizeof in];

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

/* ---- in views ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_is_what_it_is_called),
        cmocka_unit_test(pixels_scale_with_the_side),
        cmocka_unit_test(ops_are_drawn_evenly),
        cmocka_unit_test(infomin_spreads_and_does_not_cut),
    };
    work = malloc(sizeof(float) * pith_augment_room(LARGEST));
    const int failed = cmocka_run_group_tests(tests, quiet, NULL);
    free(work);
    return failed;
}
