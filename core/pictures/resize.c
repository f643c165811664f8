/* resize.c: PIL's antialiased bicubic resizing, to the bit. The cubic kernel has a = -0.5 and is
 * stretched when the picture shrinks. Weights are integers with 22 bits after the point. Every row
 * is resized first and rounded to eight bits, then every column. Only the part of the result that
 * is wanted is computed. */
#include <stdlib.h>
#include "parts.h"

enum { BITS = 22 };

/* For every pixel of the result along one axis: the first pixel of the picture it is made of, how
 * many, and their weights. */
typedef struct {
    int *first, *count, *weight, taps;
} filter;

static double cubic(double x)
{
    x = fabs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* Makes the filter for pixels begin .. begin + n - 1 of `out` pixels, made from `in` pixels. */
static bool make_filter(filter *f, int in, int out, int begin, int n)
{
    const double scale = (double)in / out, stretch = scale > 1 ? scale : 1, support = 2 * stretch;
    f->taps = 2 * (int)ceil(support) + 1;
    f->first = malloc(sizeof(int) * (size_t)n * ((size_t)f->taps + 2));
    double *w = malloc(sizeof(double) * (size_t)f->taps);
    if (!f->first || !w) return free(w), false;
    f->count = f->first + n;
    f->weight = f->count + n;
    for (int i = 0; i < n; i++) {
        const double centre = (begin + i + 0.5) * scale;
        int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
        double sum = 0;
        if (low < 0) low = 0;
        if (high > in) high = in;
        for (int k = low; k < high; k++)
            sum += w[k - low] = cubic((k - centre + 0.5) * (1 / stretch));
        f->first[i] = low;
        f->count[i] = high - low;
        for (int k = 0; k < high - low; k++)
            f->weight[(size_t)i * (size_t)f->taps + (size_t)k] = (int)lround(w[k] * (1 / sum) *
                                                                             (1 << BITS));
    }
    free(w);
    return true;
}

static uint8_t clip(int sum)
{
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Resizes one row of RGB to n pixels. */
static void resize_row(const filter *f, const uint8_t *in, uint8_t *out, int n)
{
    for (int i = 0; i < n; i++) {
        const int *w = f->weight + (size_t)i * (size_t)f->taps;
        const uint8_t *p = in + 3 * (size_t)f->first[i];
        int sum[3] = { 1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1) };
        for (int k = 0; k < f->count[i]; k++)
            for (int c = 0; c < 3; c++) sum[c] += w[k] * p[3 * k + c];
        for (int c = 0; c < 3; c++) out[3 * i + c] = clip(sum[c]);
    }
}

/* Adds `count` rows, each times its weight, into one. `sum` has room for a row. */
static void mix_rows(const uint8_t *in, size_t width, const int *w, int count, int *sum,
                     uint8_t *out)
{
    for (size_t x = 0; x < width; x++) sum[x] = 1 << (BITS - 1);
    for (int k = 0; k < count; k++)
        for (size_t x = 0; x < width; x++) sum[x] += w[k] * in[(size_t)k * width + x];
    for (size_t x = 0; x < width; x++) out[x] = clip(sum[x]);
}

/* Computes the part at (left, top), part_width x part_height pixels, of the picture resized to
 * out_width x out_height. */
static bool resize_part(const uint8_t *rgb, int width, int height, int out_width, int out_height,
                        int left, int top, int part_width, int part_height, uint8_t *out)
{
    filter h = { 0 }, v = { 0 };
    uint8_t *between = NULL;
    int *sum = malloc(sizeof(int) * 3 * (size_t)part_width);
    bool good = sum && make_filter(&h, width, out_width, left, part_width) &&
                make_filter(&v, height, out_height, top, part_height);
    const int last = part_height - 1, first_row = good ? v.first[0] : 0;
    const int rows = good ? v.first[last] + v.count[last] - first_row : 0;
    const size_t line = 3 * (size_t)part_width;
    if (good) good = (between = malloc(line * (size_t)rows)) != NULL;
    for (int y = 0; good && y < rows; y++)
        resize_row(&h, rgb + 3 * (size_t)width * (size_t)(first_row + y),
                   between + line * (size_t)y, part_width);
    for (int y = 0; good && y < part_height; y++)
        mix_rows(between + line * (size_t)(v.first[y] - first_row), line,
                 v.weight + (size_t)y * (size_t)v.taps, v.count[y], sum, out + line * (size_t)y);
    free(h.first);
    free(v.first);
    free(sum);
    free(between);
    return good || pith_raise("no memory to resize a picture of %d by %d to %d by %d", width,
                              height, out_width, out_height);
}

bool pith_resize(const uint8_t *rgb, int width, int height, uint8_t *out, int out_width,
                 int out_height)
{
    return resize_part(rgb, width, height, out_width, out_height, 0, 0, out_width, out_height, out);
}

bool pith_resize_planes(const uint8_t *planes, int from, uint8_t *out, int to)
{
    const size_t n = (size_t)from * (size_t)from, m = (size_t)to * (size_t)to;
    uint8_t *rgb = malloc(3 * n), *small = malloc(3 * m);
    for (size_t k = 0; rgb && k < 3 * n; k++) rgb[k] = planes[k % 3 * n + k / 3];
    const bool good = rgb && small ? pith_resize(rgb, from, from, small, to, to)
                                   : pith_raise("no memory for a picture of %d by %d", from, from);
    for (size_t k = 0; good && k < 3 * m; k++) out[k % 3 * m + k / 3] = small[k];
    free(rgb);
    free(small);
    return good;
}

bool pith_preprocess(const pith_picture *p, int size, uint8_t *out)
{
    const size_t pixels = (size_t)p->width * (size_t)p->height;
    const int64_t shorter = p->width < p->height ? p->width : p->height;
    const int64_t width = size * (int64_t)p->width / shorter,
                  height = size * (int64_t)p->height / shorter;
    if (width > INT32_MAX || height > INT32_MAX)
        return pith_raise("a picture of %d by %d is too narrow to be resized to %d", p->width,
                          p->height, size);
    uint8_t *rgb = malloc(3 * pixels);
    if (!rgb) return pith_raise("no memory for a picture of %d by %d", p->width, p->height);
    for (size_t k = 0; k < pixels; k++) memcpy(rgb + 3 * k, p->rgba + 4 * k, 3);
    const int left = (int)nearbyint((double)(width - size) / 2),
              top = (int)nearbyint((double)(height - size) / 2);
    const bool good = resize_part(rgb, p->width, p->height, (int)width, (int)height, left, top,
                                  size, size, out);
    free(rgb);
    return good;
}
