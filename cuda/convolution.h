/* convolution.h: what the kernels of convolution's three ops share: where patches lie, and how the
 * work is cut. */
#ifndef PITH_CUDA_CONVOLUTION_H
#define PITH_CUDA_CONVOLUTION_H
#include "bf16.h"
#include "ops/patches.h"

enum { FORWARD, INPUT, WEIGHT }; /* the ops */
enum {
    ROWS = 128,
    COLUMNS = 64, /* of a tile of the result */
    THREADS = 128,
    DEPTH = 8, /* terms of the sum in a slice of f32, and of bf16 */
    MMA_DEPTH = 32
};

/* ---- windows ---- */

/* Where pixels lie `apart`, every apart-th place meets them with every apart-th entry of the
 * kernel. So the window falls into apart x apart windows without gaps, one a remainder, and no zero
 * between pixels is ever multiplied. */
typedef struct {
    window p;               /* apart is 1 */
    int place[2], entry[2]; /* which of its places and entries: the first, and every apart-th */
} phase;

static __host__ __device__ int phases_along(const window *p, int axis)
{
    return p->apart < p->places[axis] ? p->apart : p->places[axis];
}

static __host__ __device__ phase phase_of(const window *whole, unsigned number)
{
    phase f = { *whole, {}, {} };
    const int apart = whole->apart, across = phases_along(whole, 1);
    f.place[0] = (int)number / across, f.place[1] = (int)number % across;
    for (int k = 0; k < 2; k++) {
        const int gap = (whole->before[k] - f.place[k]) % apart, kernel = whole->kernel[k];
        f.entry[k] = gap < 0 ? gap + apart : gap;
        f.p.kernel[k] = f.entry[k] < kernel ? (kernel - 1 - f.entry[k]) / apart + 1 : 0;
        f.p.places[k] = (whole->places[k] - 1 - f.place[k]) / apart + 1;
        f.p.before[k] = (whole->before[k] - f.place[k] - f.entry[k]) / apart;
    }
    f.p.apart = 1;
    return f;
}

static __host__ __device__ size_t places_of(const window *p)
{
    return p->images * (size_t)p->places[0] * (size_t)p->places[1];
}

/* Elements of a line of a patch, and of all its lines. */
static __host__ __device__ int line_of(const window *p) { return p->kernel[1] * p->channels; }
static __host__ __device__ int patch_of(const window *p) { return p->kernel[0] * line_of(p); }

/* ---- patches ---- */

typedef struct {
    int64_t from;       /* its first element in the source, which may be outside */
    int top, low, high; /* its first line; of every line [low, high) is inside */
    size_t to;          /* its row of the result */
} patch;

static __device__ int clamp(int64_t x, int high) { return x < 0 ? 0 : x > high ? high : (int)x; }

static __device__ void locate(const window *whole, const phase *f, size_t place, int columns,
                              patch *q)
{
    const window *p = &f->p;
    q->from = 0, q->to = 0, q->top = q->low = q->high = 0;
    if (place >= places_of(p)) return;
    const size_t high = (size_t)p->places[0], wide = (size_t)p->places[1],
                 image = place / wide / high;
    const int i = (int)(place / wide % high), j = (int)(place % wide),
              left = j * p->step - p->before[1], y = f->place[0] + i * whole->apart,
              x = f->place[1] + j * whole->apart;
    const int64_t C = p->channels;
    q->top = i * p->step - p->before[0];
    q->low = clamp(-left * C, line_of(p));
    q->high = clamp((p->size[1] - left) * C, line_of(p));
    q->from = (((int64_t)image * p->size[0] + q->top) * p->size[1] + left) * C;
    q->to = (image * (size_t)whole->places[0] + (size_t)y) * (size_t)whole->places[1] + (size_t)x;
    q->to *= (size_t)columns;
}

/* Which row of w (O kh kw, C) holds an entry of a line of the patches of INPUT: the kernel is
 * turned around, and a phase meets every apart-th entry of it. */
static __device__ __forceinline__ size_t row_of_kernel(const window *whole, const phase *f,
                                                       int line, int entry)
{
    const int o = entry % whole->channels, v = entry / whole->channels,
              down = whole->kernel[0] - 1 - f->entry[0] - line * whole->apart,
              across = whole->kernel[1] - 1 - f->entry[1] - v * whole->apart;
    return ((size_t)o * (size_t)whole->kernel[0] + (size_t)down) * (size_t)whole->kernel[1] +
           (size_t)across;
}

/* ---- the cut ---- */

/* Blocks that a device wants; slices of a part: at least so many, that adding parts is little work;
 * and its terms: at most so many, that rounding errors stay small. */
enum { WANTED = 512, LEAST_SLICES = 32, MOST_TERMS = 1 << 16 };

typedef struct {
    window p;
    int columns;
    unsigned row_tiles, column_tiles, phases, parts;
} cut;

/* depth: terms of the sum in a slice */
static inline cut cut_of(int op, window p, int columns, size_t depth)
{
    const unsigned phases = (unsigned)(phases_along(&p, 0) * phases_along(&p, 1));
    const phase f = phase_of(&p, 0); /* it has the most places */
    const size_t places = places_of(&f.p), entries = (size_t)patch_of(&p) / phases,
                 terms = op == WEIGHT ? places : entries;
    cut c = { p,
              columns,
              blocks_of(op == WEIGHT ? entries : places, ROWS),
              blocks_of((size_t)columns, COLUMNS),
              phases,
              1 };
    const size_t blocks = (size_t)c.row_tiles * c.column_tiles * c.phases, enough = WANTED / blocks,
                 most = terms / depth / LEAST_SLICES, least = terms / MOST_TERMS + 1,
                 parts = enough < most ? enough : most;
    c.parts = (unsigned)(parts < least ? least : parts);
    return c;
}
#endif
