/* ops/patches.c: gathers the patches of pictures that a window covers, and multiplies them, a block
 * at a time. Channels are last, so that a row of a window is one run of memory. */
#include "patches.h"

/* The pixel of entry `at` (the place times step, less before, plus the entry's own); -1: none. */
static inline int source_index(const window *p, int axis, int at)
{
    if (at < 0 || at % p->apart) return -1;
    return at / p->apart < p->size[axis] ? at / p->apart : -1;
}

static int clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

/* One row of a window, whose first entry is at `left`, from a row of the source. */
static void gather_row(const window *p, const real *row, int left, real *to)
{
    const size_t C = (size_t)p->channels;
    const int n = p->kernel[1];
    if (p->apart > 1) {
        for (int v = 0; v < n; v++, to += C) {
            const int w = source_index(p, 1, left + v);
            if (w < 0) memset(to, 0, C * sizeof *to);
            else memcpy(to, row + (size_t)w * C, C * sizeof *to);
        }
        return;
    }
    const int low = clamp(-left, 0, n), high = clamp(p->size[1] - left, low, n); /* those inside */
    const size_t inside = (size_t)(high - low) * C;
    if (low) memset(to, 0, (size_t)low * C * sizeof *to);
    to += (size_t)low * C;
    if (inside) memcpy(to, row + (size_t)(left + low) * C, inside * sizeof *to);
    if (high < n) memset(to + inside, 0, (size_t)(n - high) * C * sizeof *to);
}

void pith_gather_patches(const window *p, const real *source, size_t first, size_t count, real *to)
{
    const size_t high = (size_t)p->places[0], wide = (size_t)p->places[1],
                 line = (size_t)p->size[1] * (size_t)p->channels,
                 row = (size_t)p->kernel[1] * (size_t)p->channels;
    for (size_t k = first; k < first + count; k++) {
        const int top = (int)(k / wide % high) * p->step - p->before[0],
                  left = (int)(k % wide) * p->step - p->before[1];
        const real *image = source + k / wide / high * (size_t)p->size[0] * line;
        for (int u = 0; u < p->kernel[0]; u++, to += row) {
            const int h = source_index(p, 0, top + u);
            if (h < 0) memset(to, 0, row * sizeof *to);
            else gather_row(p, image + (size_t)h * line, left, to);
        }
    }
}

/* ---- blocks ---- */

/* A block of so many elements takes half of a second-level cache of 512 KB. */
enum { BLOCK = 1 << 16, LEAST_ROWS = 128, MOST_ROWS = 256, MOST_PARTS = 8 };

static size_t between(size_t x, size_t low, size_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* A product of few rows reads its right side too often: LEAST_ROWS, however large a patch is. */
patch_cut pith_cut_patches(const window *p)
{
    patch_cut c = { .places = p->images * (size_t)p->places[0] * (size_t)p->places[1],
                    .patch = (size_t)p->kernel[0] * (size_t)p->kernel[1] * (size_t)p->channels };
    c.rows = between(BLOCK / c.patch, LEAST_ROWS, MOST_ROWS);
    if (c.rows > c.places) c.rows = c.places;
    c.blocks = (c.places + c.rows - 1) / c.rows;
    c.parts = between(c.blocks / 2, 1, MOST_PARTS);
    return c;
}

size_t pith_patch_scratch(const patch_cut *c)
{
    return c->parts * c->rows * c->patch * sizeof(real);
}

void pith_multiply_patches(const window *p, const real *source, bool tw, const real *w, int n,
                           real *y, real *scratch)
{
    const patch_cut c = pith_cut_patches(p);
    const int patch = (int)c.patch;
#pragma omp parallel for schedule(static) if (c.parts > 1)
    for (size_t part = 0; part < c.parts; part++) {
        real *patches = scratch + part * c.rows * c.patch;
        for (size_t b = c.blocks * part / c.parts; b < c.blocks * (part + 1) / c.parts; b++) {
            const size_t first = b * c.rows, count = between(c.places - first, 1, c.rows);
            pith_gather_patches(p, source, first, count, patches);
            pith_gemm_block(false, tw, (int)count, n, patch, patches, patch, w, tw ? patch : n,
                            y + first * (size_t)n, n, false);
        }
    }
}
