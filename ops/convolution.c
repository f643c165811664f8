/* ops/convolution.c: two-dimensional convolution, channels last, and its two derivatives.
 *
 * x (B, H, W, C), w (O, kh, kw, C) -> y (B, H', W', O). Times a cotangent dy it is linear in each
 * of dy, x and w. So its derivatives are sums of the same products, and theirs are these ops again.
 *
 * Each is a matrix product of which one side is the patches that the kernel covers (patches.c): the
 * whole matrix of them, kh kw times as large as x, is never in memory. */
#include <limits.h>
#include <stdlib.h>
#include "attributes.h"
#include "patches.h"

extern const pith_op pith_op_convolution, pith_op_convolution_input, pith_op_convolution_weight;

static node *convolution(const char *at, node *x, node *w, int stride, int padding)
{
    return pith_make2(at, &pith_op_convolution, x, w, &(convolution_attr){ stride, padding });
}

/* x has the height and width of `like`. */
static node *input_derivative(node *dy, node *w, int stride, int padding, const node *like)
{
    const derivative_attr attr = { stride, padding, like->dim[1], like->dim[2] };
    return pith_make2(NULL, &pith_op_convolution_input, dy, w, &attr);
}

static node *weight_derivative(node *dy, node *x, int stride, int padding, const node *like)
{
    const derivative_attr attr = { stride, padding, like->dim[1], like->dim[2] };
    return pith_make2(NULL, &pith_op_convolution_weight, dy, x, &attr);
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* ---- y from x and w ---- */

static window forward_window(const node *x, const node *w, const node *y, int stride, int padding)
{
    return (window){ .images = (size_t)x->dim[0],
                     .size = { x->dim[1], x->dim[2] },
                     .channels = x->dim[3],
                     .kernel = { w->dim[1], w->dim[2] },
                     .places = { y->dim[1], y->dim[2] },
                     .before = { padding, padding },
                     .step = stride,
                     .apart = 1 };
}

window pith_convolution_window(const node *y)
{
    const convolution_attr *attr = y->attr;
    return forward_window(y->in[0], y->in[1], y, attr->stride, attr->padding);
}

/* A patch's entries, and of a kernel's bounds all that is added up, are counted in ints. */
static bool sizes_fit(node *y, const int *w, const int *x, int padding)
{
    const int64_t kernel = (int64_t)w[1] * w[2], more = 2 * (int64_t)padding;
    for (int k = 0; k < 4; k++)
        if (w[k] > 1 << 24) return pith_fail(y, "axis %d of the weight is too large: %d", k, w[k]);
    return (kernel <= INT_MAX && kernel * w[3] <= INT_MAX && kernel * w[0] <= INT_MAX &&
            x[1] + more <= INT_MAX / 2 && x[2] + more <= INT_MAX / 2) ||
           pith_fail(y, "a kernel, or padded pictures, of more than %d elements", INT_MAX / 2);
}

static bool convolution_shape(node *y)
{
    const node *x = y->in[0], *w = y->in[1];
    const convolution_attr *attr = y->attr;
    const int s = attr->stride, p = attr->padding;
    if (!pith_want(y, 0, PITH_F32, 4) || !pith_want(y, 1, PITH_F32, 4)) return false;
    if (x->dim[3] != w->dim[3])
        return pith_fail(y, "%d channels, the kernel has %d: the last axes", x->dim[3], w->dim[3]);
    if (s < 1 || p < 0 || p > 1 << 24)
        return pith_fail(y, "stride %d and padding %d, expected at least 1 and at least 0", s, p);
    if (!sizes_fit(y, w->dim, x->dim, p)) return false;
    int dim[4] = { x->dim[0], 0, 0, w->dim[0] };
    for (int k = 1; k < 3; k++) {
        if (w->dim[k] > x->dim[k] + 2 * p)
            return pith_fail(y, "a kernel of %d along axis %d of %d, with %d zeros on each side",
                             w->dim[k], k, x->dim[k], p);
        dim[k] = (x->dim[k] + 2 * p - w->dim[k]) / s + 1;
    }
    return pith_shape(y, PITH_F32, 4, dim);
}

static size_t scratch_of(window p)
{
    const patch_cut c = pith_cut_patches(&p);
    return pith_patch_scratch(&c);
}

static size_t convolution_scratch(const node *y) { return scratch_of(pith_convolution_window(y)); }

static bool convolution_cpu(const pith_call *call)
{
    const node *y = call->n;
    const window p = pith_convolution_window(y);
    pith_multiply_patches(&p, call->in[0], true, call->in[1], y->dim[3], call->out[0],
                          call->scratch);
    return true;
}

/* Multiply-adds of a convolution with kernel w whose result is y, counted two. */
static double flops(const node *y, const node *w)
{
    return 2 * (double)pith_size(y) * (double)(pith_size(w) / (size_t)w->dim[0]);
}

static double convolution_flops(const node *y) { return flops(y, y->in[1]); }
static double input_flops(const node *dx) { return flops(dx->in[0], dx->in[1]); }
static double weight_flops(const node *dw) { return flops(dw->in[0], dw); }

static bool convolution_grad(node *y, node *const *dy, node **dx)
{
    const convolution_attr *attr = y->attr;
    node *x = y->in[0], *w = y->in[1];
    dx[0] = input_derivative(dy[0], w, attr->stride, attr->padding, x);
    dx[1] = weight_derivative(dy[0], x, attr->stride, attr->padding, w);
    return true;
}

/* Which pixel of x each entry of each patch is, -1 for a zero. */
static node *patch_ids(pith_graph *g, const window *p)
{
    const int H = p->size[0], W = p->size[1];
    const patch_cut c = pith_cut_patches(p);
    const int count = (int)(c.places * c.patch / (size_t)p->channels);
    int *ids = malloc(sizeof *ids * (size_t)count), *id = ids;
    if (!ids) return pith_refuse(g, "no memory for a convolution's %d pixels", count);
    for (int b = 0; b < (int)p->images; b++)
        for (int place = 0; place < p->places[0] * p->places[1]; place++)
            for (int entry = 0; entry < p->kernel[0] * p->kernel[1]; entry++) {
                const int h = place / p->places[1] * p->step + entry / p->kernel[1] - p->before[0],
                          w = place % p->places[1] * p->step + entry % p->kernel[1] - p->before[1];
                const bool inside = h >= 0 && h < H && w >= 0 && w < W;
                *id++ = inside ? (b * H + h) * W + w : -1;
            }
    node *result = pith_const_dims(NULL, g, PITH_I32, ids, 1, &count);
    free(ids);
    return result;
}

/* (..., n) -> (rows, columns) */
static node *matrix(node *a, int columns)
{
    return pith_reshape_dims(NULL, a, 2, (int[]){ (int)(pith_size(a) / (size_t)columns), columns });
}

/* The matrix of all patches. */
static node *patches_of(node *x, const window *p)
{
    node *gathered = pith_gather_(NULL, matrix(x, p->channels), patch_ids(x->graph, p));
    return matrix(gathered, (int)pith_cut_patches(p).patch);
}

static void convolution_lower(node *y, node **out)
{
    const window p = pith_convolution_window(y);
    node *w = matrix(y->in[1], (int)pith_cut_patches(&p).patch);
    out[0] = RESHAPE_LIKE(MATMUL_NT(patches_of(y->in[0], &p), w), y);
}

static node *sample(pith_graph *g, int a, int b, int c, int d)
{
    return pith_sample(g, PITH_AWAY, 0, a, b, c, d);
}

static node *convolution_example(pith_graph *g, int i)
{
    return i == 0   ? pith_convolution(sample(g, 2, 4, 3, 2), sample(g, 3, 3, 3, 2), 1, 1)
           : i == 1 ? pith_convolution(sample(g, 1, 6, 5, 1), sample(g, 2, 3, 2, 1), 2, 0)
           : i == 2 ? convolution(PITH_HERE, sample(g, 2, 2, 1, 3), sample(g, 2, 1, 1, 3), 1, 0)
           : i == 3 ? pith_convolution(sample(g, 1, 3, 2, 1), sample(g, 1, 2, 1, 1), 2, 2)
                    : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(convolution);
const pith_op pith_op_convolution = { "convolution",
                                      .attr_size = sizeof(convolution_attr),
                                      .shape = convolution_shape,
                                      .grad = convolution_grad,
                                      .lower = convolution_lower,
                                      .cpu = convolution_cpu,
                                      .cuda = convolution_cuda,
                                      .bf16 = { .in = 3, .out = 1 },
                                      .cuda_bf16 = PITH_MIXED,
                                      .scratch = convolution_scratch,
                                      .cuda_scratch = convolution_cuda_scratch,
                                      .flops = convolution_flops,
                                      .flags = PITH_GEMM,
                                      .example = convolution_example };

/* Of single pixels it is linear, which needs no patches. */
node *pith_convolution_(const char *at, node *x, node *w, int stride, int padding)
{
    const bool single = x && w && x->ndim == 4 && w->ndim == 4 && w->dim[1] == 1 &&
                        w->dim[2] == 1 && x->dim[3] == w->dim[3] && stride == 1 && !padding;
    if (!single) return convolution(at, x, w, stride, padding);
    return pith_matmul_nt_(at, x, pith_reshape_dims(at, w, 2, (int[]){ w->dim[0], w->dim[3] }));
}

/* ---- x from y and w: the derivative with regard to x ---- */

/* The patches are those of dy, of which the kernel, turned around, makes dx: with a stride s only
 * every s-th entry meets one. */
window pith_input_window(const node *dx)
{
    const node *dy = dx->in[0], *w = dx->in[1];
    const derivative_attr *attr = dx->attr;
    const int p = attr->padding;
    return (window){ .images = (size_t)dy->dim[0],
                     .size = { dy->dim[1], dy->dim[2] },
                     .channels = dy->dim[3],
                     .kernel = { w->dim[1], w->dim[2] },
                     .places = { attr->height, attr->width },
                     .before = { w->dim[1] - 1 - p, w->dim[2] - 1 - p },
                     .step = 1,
                     .apart = attr->stride };
}

static bool input_shape(node *dx)
{
    const node *dy = dx->in[0], *w = dx->in[1];
    const derivative_attr *attr = dx->attr;
    return pith_shape(dx, PITH_F32, 4, (int[]){ dy->dim[0], attr->height, attr->width, w->dim[3] });
}

static size_t input_scratch(const node *dx)
{
    return scratch_of(pith_input_window(dx)) + pith_bytes(dx->in[1]);
}

/* (O, kh, kw, C) -> (kh, kw, O, C), with both axes of the kernel turned around. */
static void turn_around(const node *w, const real *from, real *to)
{
    const size_t O = (size_t)w->dim[0], kernel = (size_t)w->dim[1] * (size_t)w->dim[2],
                 C = (size_t)w->dim[3];
#pragma omp parallel for schedule(static) if (O * kernel * C > PITH_SMALL)
    for (size_t k = 0; k < kernel; k++)
        for (size_t o = 0; o < O; o++)
            memcpy(to + (k * O + o) * C, from + (o * kernel + kernel - 1 - k) * C, C * sizeof *to);
}

static bool input_cpu(const pith_call *call)
{
    const node *dx = call->n;
    const window p = pith_input_window(dx);
    const patch_cut c = pith_cut_patches(&p);
    real *turned = (real *)call->scratch + pith_patch_scratch(&c) / sizeof(real);
    turn_around(dx->in[1], call->in[1], turned);
    pith_multiply_patches(&p, call->in[0], false, turned, dx->dim[3], call->out[0], call->scratch);
    return true;
}

static bool input_grad(node *dx, node *const *cotangents, node **out)
{
    const derivative_attr *attr = dx->attr;
    node *dy = dx->in[0], *w = dx->in[1], *c = cotangents[0];
    out[0] = convolution(NULL, c, w, attr->stride, attr->padding);
    out[1] = weight_derivative(dy, c, attr->stride, attr->padding, w);
    return true;
}

static void input_lower(node *dx, node **out)
{
    const derivative_attr *attr = dx->attr;
    node *dy = dx->in[0], *w = dx->in[1];
    const window p = forward_window(dx, w, dy, attr->stride, attr->padding);
    node *all = MATMUL(matrix(dy, w->dim[0]), matrix(w, (int)pith_cut_patches(&p).patch));
    const int pixels = (int)(pith_size(dx) / (size_t)p.channels);
    out[0] = RESHAPE_LIKE(
        pith_scatter_add_(NULL, matrix(all, p.channels), patch_ids(dx->graph, &p), pixels), dx);
}

/* x of the size that is wanted is not read: an input that nothing feeds. */
static node *input_example(pith_graph *g, int i)
{
    return i == 0   ? input_derivative(sample(g, 1, 4, 3, 2), sample(g, 2, 3, 3, 1), 1, 1,
                                       sample(g, 1, 4, 3, 1))
           : i == 1 ? input_derivative(sample(g, 2, 2, 2, 1), sample(g, 1, 3, 2, 2), 2, 0,
                                       sample(g, 2, 6, 5, 2))
                    : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(convolution_input);
const pith_op pith_op_convolution_input = { "convolution_input",
                                            .attr_size = sizeof(derivative_attr),
                                            .shape = input_shape,
                                            .grad = input_grad,
                                            .lower = input_lower,
                                            .cpu = input_cpu,
                                            .cuda = convolution_input_cuda,
                                            .bf16 = { .in = 3, .out = 1 },
                                            .cuda_bf16 = PITH_MIXED,
                                            .scratch = input_scratch,
                                            .cuda_scratch = convolution_input_cuda_scratch,
                                            .flops = input_flops,
                                            .flags = PITH_GEMM,
                                            .example = input_example };

/* ---- w from y and x: the derivative with regard to w ---- */

window pith_weight_window(const node *dw)
{
    const derivative_attr *attr = dw->attr;
    return forward_window(dw->in[1], dw, dw->in[0], attr->stride, attr->padding);
}

static bool weight_shape(node *dw)
{
    const derivative_attr *attr = dw->attr;
    return pith_shape(dw, PITH_F32, 4,
                      (int[]){ dw->in[0]->dim[3], attr->height, attr->width, dw->in[1]->dim[3] });
}

/* Parts sum up over many places each, for every one has a sum of its own. */
static patch_cut weight_cut(const window *p)
{
    patch_cut c = pith_cut_patches(p);
    c.parts = smaller(c.places / 2048 + 1, c.parts);
    return c;
}

static size_t weight_scratch(const node *dw)
{
    const window p = pith_weight_window(dw);
    const patch_cut c = weight_cut(&p);
    return pith_patch_scratch(&c) + (c.parts - 1) * pith_bytes(dw);
}

/* One part alone leaves the threads to the product. */
static void sum_part(const window *p, const patch_cut *c, size_t part, const pith_call *call,
                     real *sum, real *patches)
{
    const int O = call->n->dim[0], patch = (int)c->patch;
    const size_t end = c->blocks * (part + 1) / c->parts;
    for (size_t b = c->blocks * part / c->parts, begin = b; b < end; b++) {
        const size_t first = b * c->rows, count = smaller(c->places - first, c->rows);
        const real *dy = (const real *)call->in[0] + first * (size_t)O;
        pith_gather_patches(p, call->in[1], first, count, patches);
        (c->parts > 1 ? pith_gemm_block : pith_gemm)(true, false, O, patch, (int)count, dy, O,
                                                     patches, patch, sum, patch, b > begin);
    }
}

static bool weight_cpu(const pith_call *call)
{
    const window p = pith_weight_window(call->n);
    const patch_cut c = weight_cut(&p);
    const size_t size = pith_size(call->n), block = c.rows * c.patch;
    real *dw = call->out[0], *scratch = call->scratch, *sums = scratch + c.parts * block;
#pragma omp parallel for schedule(static) if (c.parts > 1)
    for (size_t part = 0; part < c.parts; part++)
        sum_part(&p, &c, part, call, part ? sums + (part - 1) * size : dw, scratch + part * block);
#pragma omp parallel for schedule(static) if (size > PITH_SMALL)
    for (size_t i = 0; i < size; i++)
        for (size_t part = 1; part < c.parts; part++) dw[i] += sums[(part - 1) * size + i];
    return true;
}

static bool weight_grad(node *dw, node *const *cotangents, node **out)
{
    const derivative_attr *attr = dw->attr;
    node *dy = dw->in[0], *x = dw->in[1], *c = cotangents[0];
    out[0] = convolution(NULL, x, c, attr->stride, attr->padding);
    out[1] = input_derivative(dy, c, attr->stride, attr->padding, x);
    return true;
}

static void weight_lower(node *dw, node **out)
{
    const window p = pith_weight_window(dw);
    out[0] = RESHAPE_LIKE(MATMUL_TN(matrix(dw->in[0], dw->dim[0]), patches_of(dw->in[1], &p)), dw);
}

static node *weight_example(pith_graph *g, int i)
{
    return i == 0   ? weight_derivative(sample(g, 1, 4, 3, 2), sample(g, 1, 4, 3, 1), 1, 1,
                                        sample(g, 2, 3, 3, 1))
           : i == 1 ? weight_derivative(sample(g, 2, 2, 2, 1), sample(g, 2, 6, 5, 2), 2, 0,
                                        sample(g, 1, 3, 2, 2))
                    : NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(convolution_weight);
const pith_op pith_op_convolution_weight = { "convolution_weight",
                                             .attr_size = sizeof(derivative_attr),
                                             .shape = weight_shape,
                                             .grad = weight_grad,
                                             .lower = weight_lower,
                                             .cpu = weight_cpu,
                                             .cuda = convolution_weight_cuda,
                                             .bf16 = { .in = 3, .out = 1 },
                                             .cuda_bf16 = PITH_MIXED,
                                             .scratch = weight_scratch,
                                             .cuda_scratch = convolution_weight_cuda_scratch,
                                             .flops = weight_flops,
                                             .flags = PITH_GEMM,
                                             .example = weight_example };
