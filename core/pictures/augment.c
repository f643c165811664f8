/* augment.c: makes one view of a picture: moves it (crop, flip, shift, rotation and zoom in one
 * resampling), changes its colours, does the ops of RandAugment, takes the colours away, blurs it,
 * adds noise, and normalises. All random numbers come from (seed, view, index) by Philox, so the
 * order in which views are made does not matter. Loops run along rows of float planes, which the
 * compiler can vectorise: about 40 us for 32 x 32 pixels.
 *
 * The order is that of stacked RandAugment as in SupCon's code (Khosla et al., NeurIPS 2020), whose
 * optional warp is not here. With `infomin` the blur comes before the ops of RandAugment, as in
 * InfoMin's (Tian et al., NeurIPS 2020). */
#include <stdlib.h>
#include "parts.h"

/* PAD: pixels around a picture, one that repeats its edge and a white one; RADIUS: of the widest
 * blur; DRAWS: random numbers of a view, without its noise; MORE: those of a second stream, from
 * whose block FIRST_OP on each op of RandAugment has two. */
enum { PAD = 2, RADIUS = 12, DRAWS = 20, MORE = 8, FIRST_OP = MORE / 4 };

typedef struct {
    uint64_t key, view, index;
} stream;

/* Block `block` of the stream: four random words. Blocks 0 to 4 are the draws, later ones
 * the noise. */
static void random_words(const stream *s, uint64_t block, uint32_t out[4])
{
    pith_philox(s->key, s->index << 24 | block, s->view, out);
}

/* In [-1, 1). */
static double symmetric(uint32_t word) { return (word >> 8) * 0x1p-23 - 1; }
static double uniform(uint32_t word) { return (word >> 8) * 0x1p-24; }

size_t pith_augment_room(int size)
{
    const size_t side = (size_t)size, wide = side + 2 * PAD;
    return 3 * wide * wide + 3 * side * side + side * side + 6 * wide + 2 * RADIUS;
}

static bool crops(const pith_augment *a) { return a->crop > 0 && a->crop < 1; }

static bool moves(const pith_augment *a)
{
    return crops(a) || a->flip > 0 || a->shift > 0 || a->rotate > 0 || a->zoom > 0;
}

static bool colours(const pith_augment *a)
{
    return a->brightness > 0 || a->contrast > 0 || a->saturation > 0 || a->channel > 0 ||
           a->hue > 0;
}

bool pith_augment_none(const pith_augment *a)
{
    return !moves(a) && !colours(a) && !(a->blur > 0) && !(a->noise > 0) && !(a->gray > 0) &&
           !(a->gaussian > 0) && !(a->randaugment > 0);
}

/* ---- moving ---- */

/* Maps a point of the view to a point of the picture. */
typedef struct {
    float xx, xy, x0, yx, yy, y0;
} affine;

static affine draw_affine(const pith_augment *a, const uint32_t *w, int size)
{
    double width = 1, height = 1, left = 0, top = 0; /* of the crop, as shares of the side */
    if (crops(a)) {
        const double area = a->crop + (1 - a->crop) * uniform(w[0]),
                     ratio = exp(symmetric(w[1]) * log(1 + a->aspect));
        width = fmin(1, sqrt(area * ratio));
        height = fmin(1, sqrt(area / ratio));
        left = (1 - width) * uniform(w[2]);
        top = (1 - height) * uniform(w[3]);
    }
    const double mirror = uniform(w[4]) < a->flip ? -1 : 1,
                 angle = symmetric(w[5]) * a->rotate * 0.017453292519943295;
    const double zoom = exp(-symmetric(w[6]) * log(1 + a->zoom)), c = cos(angle) * zoom,
                 s = sin(angle) * zoom;
    const double shift_x = symmetric(w[7]) * a->shift, shift_y = symmetric(w[8]) * a->shift;
    const double xx = c * mirror * width, xy = -s * width, yx = s * mirror * height,
                 yy = c * height;
    const double half = (size - 1) / 2.0; /* the middle of the view, in pixels */
    return (affine){
        (float)xx,
        (float)xy,
        (float)((left + width * (0.5 - shift_x)) * size - 0.5 + PAD - (xx + xy) * half),
        (float)yx,
        (float)yy,
        (float)((top + height * (0.5 - shift_y)) * size - 0.5 + PAD - (yx + yy) * half),
    };
}

static void widen(const uint8_t *restrict in, int size, float *restrict out)
{
    const int wide = size + 2 * PAD;
    for (int y = 0; y < wide; y++) {
        float *restrict row = out + (size_t)y * (size_t)wide;
        const int from = y < PAD ? 0 : y >= size + PAD ? size - 1 : y - PAD;
        const uint8_t *restrict p = in + (size_t)from * (size_t)size;
        for (int x = 0; x < size; x++) row[x + PAD] = (float)p[x] * (1 / 255.0f);
        row[1] = row[PAD];
        row[size + PAD] = row[size + PAD - 1];
        row[0] = row[wide - 1] = 1;
        if (y == 0 || y == wide - 1)
            for (int x = 0; x < wide; x++) row[x] = 1;
    }
}

static void move(const affine *m, int size, const float *restrict in, float *restrict out,
                 float *restrict row)
{
    const int wide = size + 2 * PAD;
    const size_t n = (size_t)size, plane = (size_t)wide * (size_t)wide;
    const float last = (float)(wide - 1) - 0.001f;
    float *restrict fx = row, *restrict fy = row + wide;
    int *restrict at = (int *)(void *)(row + 2 * wide);
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            float px = m->xx * (float)x + (m->xy * (float)y + m->x0),
                  py = m->yx * (float)x + (m->yy * (float)y + m->y0);
            px = px < 0 ? 0 : px > last ? last : px;
            py = py < 0 ? 0 : py > last ? last : py;
            const int ix = (int)px, iy = (int)py;
            fx[x] = px - (float)ix;
            fy[x] = py - (float)iy;
            at[x] = iy * wide + ix;
        }
        for (size_t c = 0; c < 3; c++) {
            const float *restrict p = in + c * plane;
            float *restrict o = out + (c * n + (size_t)y) * n;
            for (int x = 0; x < size; x++) {
                const float *q = p + at[x];
                const float top = q[0] + fx[x] * (q[1] - q[0]),
                            bottom = q[wide] + fx[x] * (q[wide + 1] - q[wide]);
                o[x] = top + fy[x] * (bottom - top);
            }
        }
    }
}

/* ---- colour, blur, noise ---- */

/* Brightness, contrast about the mean grey, saturation and the gain of each colour. Together they
 * are one linear function of a pixel's colour and its grey. */
static void colour(const pith_augment *a, const uint32_t *w, size_t n, float *restrict p)
{
    const double bright = 1 + symmetric(w[0]) * a->brightness,
                 contrast = 1 + symmetric(w[1]) * a->contrast;
    const double saturation = 1 + symmetric(w[2]) * a->saturation;
    float *restrict r = p, *restrict g = p + n, *restrict b = p + 2 * n, own[3], grey[3], add[3];
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += 0.299f * r[k] + 0.587f * g[k] + 0.114f * b[k];
    for (int c = 0; c < 3; c++) {
        const double gain = 1 + symmetric(w[3 + c]) * a->channel;
        own[c] = (float)(gain * saturation * contrast * bright);
        grey[c] = (float)(gain * (1 - saturation) * contrast * bright);
        add[c] = (float)(gain * (1 - contrast) * bright * sum / (double)n);
    }
    for (size_t k = 0; k < n; k++) {
        const float level = 0.299f * r[k] + 0.587f * g[k] + 0.114f * b[k];
        const float x = own[0] * r[k] + grey[0] * level + add[0],
                    y = own[1] * g[k] + grey[1] * level + add[1];
        const float z = own[2] * b[k] + grey[2] * level + add[2];
        r[k] = x < 0 ? 0 : x > 1 ? 1 : x;
        g[k] = y < 0 ? 0 : y > 1 ? 1 : y;
        b[k] = z < 0 ? 0 : z > 1 ? 1 : z;
    }
}

/* Turns the hue by a share of the circle: of a colour with value v and chroma c at the angle h, in
 * sixths, red is v - c max(0, min(k, 4 - k, 1)), k = (5 + h) mod 6; so too green and blue, with 3
 * and 1 for 5. */
static void turn_hue(double turn, size_t n, float *restrict p)
{
    static const float place[3] = { 5, 3, 1 };
    const float sixths = (float)(6 * turn);
    for (size_t i = 0; i < n; i++) {
        const float r = p[i], g = p[n + i], b = p[2 * n + i];
        const float v = fmaxf(r, fmaxf(g, b)), c = v - fminf(r, fminf(g, b));
        if (!(c > 0)) continue;
        const float h = v == r ? (g - b) / c : v == g ? 2 + (b - r) / c : 4 + (r - g) / c;
        for (size_t k = 0; k < 3; k++) {
            const float x = (place[k] + h + sixths) / 6, at = 6 * (x - floorf(x));
            p[k * n + i] = v - c * fmaxf(0, fminf(fminf(at, 4 - at), 1));
        }
    }
}

/* torchvision's ColorJitter: brightness, contrast, saturation and hue one after another, in one of
 * the 24 orders; then the gains of the colours. */
static void jitter(const pith_augment *a, const uint32_t *w, uint32_t order, double turn, size_t n,
                   float *restrict p)
{
    const pith_augment alone[] = { { .brightness = a->brightness },
                                   { .contrast = a->contrast },
                                   { .saturation = a->saturation } };
    int left[] = { 0, 1, 2, 3 };
    uint32_t number = (uint32_t)((uint64_t)order * 24 >> 32);
    for (uint32_t k = 4; k > 0; number /= k--) {
        const uint32_t at = number % k;
        if (left[at] < 3) colour(&alone[left[at]], w, n, p);
        else if (a->hue > 0) turn_hue(turn, n, p);
        left[at] = left[k - 1];
    }
    if (a->channel > 0) colour(&(pith_augment){ .channel = a->channel }, w, n, p);
}

static void take_colours(size_t n, float *restrict p)
{
    for (size_t k = 0; k < n; k++)
        p[k] = p[n + k] = p[2 * n + k] = 0.299f * p[k] + 0.587f * p[n + k] + 0.114f * p[2 * n + k];
}

static void blur(double sigma, int size, float *restrict p, float *restrict between,
                 float *restrict row)
{
    float weight[2 * RADIUS + 1];
    const int radius = (int)fmin(RADIUS, ceil(3 * sigma));
    const size_t n = (size_t)size;
    double sum = 0;
    for (int k = -radius; k <= radius; k++) sum += exp(-0.5 * k * k / (sigma * sigma));
    for (int k = -radius; k <= radius; k++)
        weight[k + radius] = (float)(exp(-0.5 * k * k / (sigma * sigma)) / sum);
    for (int y = 0; y < size; y++) { /* along rows, whose ends are repeated */
        const float *restrict in = p + n * (size_t)y;
        float *restrict out = between + n * (size_t)y;
        for (int k = 0; k < radius; k++) row[k] = in[0], row[radius + size + k] = in[size - 1];
        memcpy(row + radius, in, n * sizeof *row);
        memset(out, 0, n * sizeof *out);
        for (int k = 0; k <= 2 * radius; k++)
            for (int x = 0; x < size; x++) out[x] += weight[k] * row[x + k];
    }
    for (int y = 0; y < size; y++) {
        float *restrict out = p + n * (size_t)y;
        memset(out, 0, n * sizeof *out);
        for (int k = -radius; k <= radius; k++) {
            const int from = y + k < 0 ? 0 : y + k >= size ? size - 1 : y + k;
            const float *restrict in = between + n * (size_t)from;
            for (int x = 0; x < size; x++) out[x] += weight[k + radius] * in[x];
        }
    }
}

/* Adds normal noise: the sum of the four bytes of a random word, which is nearly normal, with mean
 * 510 and variance 65535 / 3. */
static void add_noise(const stream *s, double deviation, size_t n, float *restrict p,
                      float *restrict room)
{
    const float scale = (float)(deviation / sqrt(65535 / 3.0));
    for (size_t at = 0; at < n; at += 256) {
        uint32_t *restrict word = (uint32_t *)(void *)room;
        const size_t count = n - at < 256 ? n - at : 256;
        for (size_t k = 0; k < count; k += 4) random_words(s, DRAWS / 4 + (at + k) / 4, word + k);
        for (size_t k = 0; k < count; k++) {
            const uint32_t w = word[k],
                           sum = (w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24);
            p[at + k] += scale * (float)((int)sum - 510);
        }
    }
}

/* ---- RandAugment ---- */

/* The ops of a view, with equal chances and replacement, on bytes, as published. bytes: room for
 * 4 n of them. */
static void random_ops(const pith_augment *a, const stream *s, int size, float *restrict p,
                       uint8_t *bytes)
{
    const size_t n = (size_t)size * (size_t)size;
    const bool infomin = a->infomin > 0;
    const uint32_t kinds = infomin ? PITH_CUTOUT : PITH_RANDOM_OPS;
    for (size_t k = 0; k < 3 * n; k++)
        bytes[k] = (uint8_t)((p[k] < 0 ? 0 : p[k] > 1 ? 1 : p[k]) * 255 + 0.5f);
    for (int k = 0; k < (int)a->randaugment; k++) {
        uint32_t w[4];
        const uint64_t block = FIRST_OP + 2 * (uint64_t)k;
        random_words(s, block, w);
        const double spread = pith_normal_at(s->key, s->view, s->index << 24 | (block + 1));
        const double magnitude = a->magnitude + (infomin ? 0.5 * spread : 0);
        const double centre[2] = { uniform(w[2]), uniform(w[3]) };
        pith_randaugment_op((pith_random_op)((uint64_t)w[0] * kinds >> 32),
                            fmin(fmax(magnitude, 0), 10) / 10, w[1] >> 31 ? 1 : -1, centre, size,
                            bytes, bytes + 3 * n);
    }
    for (size_t k = 0; k < 3 * n; k++) p[k] = (float)bytes[k] * (1 / 255.0f);
}

static void normalise_only(size_t n, const uint8_t *pixels, const double mean[3],
                           const double std[3], pith_real *out)
{
    for (size_t c = 0; c < 3; c++) {
        pith_real value[256];
        for (int k = 0; k < 256; k++) value[k] = (pith_real)((k / 255.0 - mean[c]) / std[c]);
        for (size_t k = c * n; k < (c + 1) * n; k++) out[k] = value[pixels[k]];
    }
}

void pith_augment_view(const pith_augment *a, uint64_t seed, uint64_t view, uint64_t index,
                       int size, const uint8_t *pixels, const double mean[3], const double std[3],
                       float *work, pith_real *out)
{
    const stream s = { pith_hash("augment", seed), view, index },
                 more = { pith_hash("augment more", seed), view, index };
    const size_t n = (size_t)size * (size_t)size, wide = (size_t)size + 2 * PAD;
    float *padded = work, *p = padded + 3 * wide * wide, *between = p + 3 * n, *row = between + n;
    uint32_t w[DRAWS], m[MORE];
    if (pith_augment_none(a)) return normalise_only(n, pixels, mean, std, out);
    for (int k = 0; k < DRAWS / 4; k++) random_words(&s, (uint64_t)k, w + 4 * k);
    for (int k = 0; k < MORE / 4; k++) random_words(&more, (uint64_t)k, m + 4 * k);
    if (moves(a)) {
        const affine moved = draw_affine(a, w, size);
        for (size_t c = 0; c < 3; c++) widen(pixels + c * n, size, padded + c * wide * wide);
        move(&moved, size, padded, p, row);
    } else
        for (size_t k = 0; k < 3 * n; k++) p[k] = (float)pixels[k] * (1 / 255.0f);
    const double turn = symmetric(m[0]) * a->hue;
    if (colours(a) && a->jitter > 0) {
        if (uniform(m[1]) < a->jitter) jitter(a, w + 9, m[2], turn, n, p);
    } else if (colours(a)) {
        colour(a, w + 9, n, p);
        if (a->hue > 0) turn_hue(turn, n, p);
    }
    const bool blurred = uniform(m[3]) < a->gaussian, first = a->infomin > 0;
    const double published = (0.1 + 1.9 * uniform(m[4])) * size / 224;
    for (size_t c = 0; c < 3 && blurred && first; c++)
        blur(published, size, p + c * n, between, row);
    if (a->randaugment > 0) random_ops(a, &more, size, p, (uint8_t *)padded);
    if (uniform(m[5]) < a->gray) take_colours(n, p);
    for (size_t c = 0; c < 3 && blurred && !first; c++)
        blur(published, size, p + c * n, between, row);
    const double sigma = a->blur * uniform(w[15]), deviation = a->noise * uniform(w[16]);
    for (size_t c = 0; c < 3 && sigma > 0.2; c++) blur(sigma, size, p + c * n, between, row);
    if (deviation > 0) add_noise(&s, deviation, 3 * n, p, padded);
    for (size_t c = 0; c < 3; c++) {
        const float scale = (float)(1 / std[c]), shift = (float)(-mean[c] / std[c]);
        for (size_t k = c * n; k < (c + 1) * n; k++) {
            const float x = p[k] < 0 ? 0 : p[k] > 1 ? 1 : p[k];
            out[k] = (pith_real)(x * scale + shift);
        }
    }
}
