/* randaugment.c: the 16 ops of RandAugment (Cubuk et al., CVPR workshops 2020) on a picture of
 * bytes, each as PIL defines it, at a level in [0, 1], the paper's magnitude M over 10:
 *
 *     rotate 30 degrees x level, shear 0.3 x level, translate 100 pixels x level; posterize to
 *     4 x level bits, solarize from 256 x level on, solarize_add 110 x level to what is below 128;
 *     colour, contrast, brightness, sharpness: blended with factor 0.1 + 1.8 x level; cutout: a
 *     square of half the side 40 x level pixels
 *
 * as in the public code of the authors' lab. Pixels are those of 224 x 224 pictures, for which the
 * numbers were published: they are scaled with the side. What comes from outside is 128. Which ops
 * a view gets is drawn in augment.c. */
#include "parts.h"

enum { FILL = 128, PUBLISHED_SIDE = 224 };

typedef uint8_t table[256];

static void look_up(const table t, size_t n, uint8_t *restrict p)
{
    for (size_t k = 0; k < n; k++) p[k] = t[p[k]];
}

/* Cut towards zero, as PIL does. */
static uint8_t to_byte(double x) { return x <= 0 ? 0 : x >= 255 ? 255 : (uint8_t)x; }

/* A factor of 0 gives `a`, 1 gives `b`, 1.9 goes beyond b. */
static uint8_t blend(int a, int b, float factor)
{
    return to_byte((float)a + factor * (float)(b - a));
}

static uint8_t grey_of(int r, int g, int b)
{
    return (uint8_t)((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
}

/* ---- ops that change one plane by its own histogram ---- */

static void auto_contrast(size_t n, uint8_t *p)
{
    int low = 255, high = 0;
    table t;
    for (size_t k = 0; k < n; k++) {
        low = p[k] < low ? p[k] : low;
        high = p[k] > high ? p[k] : high;
    }
    if (high <= low) return;
    for (int k = 0; k < 256; k++) t[k] = to_byte((k - low) * 255.0 / (high - low));
    look_up(t, n, p);
}

static void equalize(size_t n, uint8_t *p)
{
    size_t count[256] = { 0 }, last = 0, sum = 0;
    table t;
    for (size_t k = 0; k < n; k++) count[p[k]]++;
    for (int k = 0; k < 256; k++)
        if (count[k]) last = count[k];
    const size_t step = (n - last) / 255;
    if (!step) return;
    sum = step / 2;
    for (int k = 0; k < 256; k++) {
        t[k] = (uint8_t)(sum / step < 255 ? sum / step : 255);
        sum += count[k];
    }
    look_up(t, n, p);
}

/* ---- ops that change each byte by itself ---- */

/* The rounded mean of the grey picture, which contrast leaves as it is. */
static int mean_grey(size_t n, const uint8_t *p)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += grey_of(p[k], p[n + k], p[2 * n + k]);
    return (int)(sum / (double)n + 0.5);
}

static void by_table(pith_random_op op, double level, float factor, size_t n, uint8_t *p)
{
    const int shift = 8 - (int)(4 * level), threshold = (int)(256 * level),
              added = (int)(110 * level), mean = op == PITH_CONTRAST ? mean_grey(n, p) : 0;
    table t;
    for (int k = 0; k < 256; k++) {
        int x = 0;
        switch (op) {
        case PITH_INVERT: x = 255 - k; break;
        case PITH_POSTERIZE: x = k >> shift << shift; break;
        case PITH_SOLARIZE: x = k < threshold ? k : 255 - k; break;
        case PITH_SOLARIZE_ADD: x = k < 128 ? k + added : k; break;
        default: x = blend(mean, k, factor); break; /* contrast, brightness */
        }
        t[k] = (uint8_t)(x < 255 ? x : 255);
    }
    look_up(t, 3 * n, p);
}

/* ---- ops that need other colours or neighbours ---- */

static void colour(float factor, size_t n, uint8_t *p)
{
    for (size_t k = 0; k < n; k++) {
        const uint8_t grey = grey_of(p[k], p[n + k], p[2 * n + k]);
        for (size_t c = 0; c < 3; c++) p[c * n + k] = blend(grey, p[c * n + k], factor);
    }
}

/* Blends with a smoothed plane: weights 1 around 5, over 13; the edge stays. */
static void sharpness(float factor, int size, uint8_t *p, const uint8_t *in)
{
    for (int y = 1; y < size - 1; y++)
        for (int x = 1; x < size - 1; x++) {
            const uint8_t *at = in + (ptrdiff_t)y * size + x;
            int sum = 4 * at[0];
            for (int row = -size; row <= size; row += size)
                sum += at[row - 1] + at[row] + at[row + 1];
            p[(ptrdiff_t)y * size + x] = blend((2 * sum + 13) / 26, at[0], factor);
        }
}

/* ---- ops that move ---- */

/* Pixel (x, y) comes from the nearest to (xx x + xy y + x0, yx x + yy y + y0). */
typedef struct {
    double xx, xy, x0, yx, yy, y0;
} source;

static source source_of(pith_random_op op, double level, int size)
{
    const double pixels = 100 * level * size / PUBLISHED_SIDE, middle = (size - 1) / 2.0;
    const double angle = op == PITH_ROTATE ? 30 * level * 0.017453292519943295 : 0;
    source m = { cos(angle), -sin(angle), 0, sin(angle), cos(angle), 0 };
    m.x0 = middle - (m.xx + m.xy) * middle; /* about the middle */
    m.y0 = middle - (m.yx + m.yy) * middle;
    if (op == PITH_SHEAR_X) m.xy = 0.3 * level, m.x0 = m.xy / 2; /* about the outer corner */
    if (op == PITH_SHEAR_Y) m.yx = 0.3 * level, m.y0 = m.yx / 2;
    if (op == PITH_TRANSLATE_X) m.x0 = pixels;
    if (op == PITH_TRANSLATE_Y) m.y0 = pixels;
    return m;
}

static void move(const source *m, int size, uint8_t *p, const uint8_t *in)
{
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            const int from_x = (int)floor(m->xx * x + m->xy * y + m->x0 + 0.5),
                      from_y = (int)floor(m->yx * x + m->yy * y + m->y0 + 0.5);
            const bool inside = from_x >= 0 && from_x < size && from_y >= 0 && from_y < size;
            *p++ = inside ? in[(ptrdiff_t)from_y * size + from_x] : FILL;
        }
}

/* ---- cutout, and all of them ---- */

static void cutout(double level, const double centre[2], int size, uint8_t *p)
{
    const int half = (int)((int)(40 * level) * (double)size / PUBLISHED_SIDE + 0.5);
    const int left = (int)(centre[0] * size) - half, top = (int)(centre[1] * size) - half;
    for (int y = top < 0 ? 0 : top; y < top + 2 * half && y < size; y++)
        for (int x = left < 0 ? 0 : left; x < left + 2 * half && x < size; x++)
            p[(ptrdiff_t)y * size + x] = FILL;
}

void pith_randaugment_op(pith_random_op op, double level, double sign, const double centre[2],
                         int size, uint8_t *p, uint8_t *room)
{
    const size_t n = (size_t)size * (size_t)size;
    const float factor = (float)(0.1 + 1.8 * level);
    const source from = source_of(op, sign * level, size);
    if (op == PITH_COLOUR) return colour(factor, n, p);
    for (size_t c = 0; c < 3; c++, p += n) switch (op) {
        case PITH_AUTO_CONTRAST: auto_contrast(n, p); break;
        case PITH_EQUALIZE: equalize(n, p); break;
        case PITH_CUTOUT: cutout(level, centre, size, p); break;
        case PITH_SHARPNESS:
            memcpy(room, p, n);
            sharpness(factor, size, p, room);
            break;
        case PITH_ROTATE:
        case PITH_SHEAR_X:
        case PITH_SHEAR_Y:
        case PITH_TRANSLATE_X:
        case PITH_TRANSLATE_Y:
            memcpy(room, p, n);
            move(&from, size, p, room);
            break;
        default: return by_table(op, level, factor, n, p); /* all planes at once */
        }
}
