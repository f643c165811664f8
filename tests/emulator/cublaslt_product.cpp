/* cublaslt_product.cpp: the work of the stand-in for cuBLASLt, in plain loops. */
#include "stand_in.h"

/* The one place that knows how the emulator watches memory: what runs now reads or writes here. */
extern "C" void __tsan_read_range(void *p, size_t bytes);
extern "C" void __tsan_write_range(void *p, size_t bytes);
static void watch(const void *p, size_t bytes, bool write)
{
    if (write) __tsan_write_range((void *)p, bytes);
    else __tsan_read_range((void *)p, bytes);
}

static void watch_all(const layout *x, const char *from, bool write)
{
    const size_t bytes = width(x->type);
    for (int i = 0; i < (x->step ? x->batch : 1); i++)
        for (uint64_t j = 0; j < x->columns; j++)
            watch(from + ((size_t)i * (size_t)x->step + j * (size_t)x->leading) * bytes,
                  x->rows * bytes, write);
}

static float load(int32_t type, const char *from, size_t i)
{
    if (type == CUDA_R_16BF) return __bfloat162float(((const bf16 *)from)[i]);
    return ((const float *)from)[i];
}

static float to_tf32(float x) /* 10 bits of the mantissa, to nearest even */
{
    uint32_t u;
    memcpy(&u, &x, 4);
    if (x == x) u = (u + 0xfff + (u >> 13 & 1)) & ~0x1fffu;
    memcpy(&x, &u, 4);
    return x;
}

static float factor(const problem *p, int which, const char *from, uint64_t row, uint64_t column)
{
    const layout *x = &p->x[which];
    const size_t i = p->o.transposed[which] ? column + row * (size_t)x->leading
                                            : row + column * (size_t)x->leading;
    const float value = load(x->type, from, i);
    return p->o.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? to_tf32(value) : value;
}

/* As a kernel of one thread. */
__global__ void stand_in::cublaslt_product(work copy)
{
    const work *w = &copy;
    const problem *p = &w->p;
    const layout *x = p->x;
    const bool biased = p->o.epilogue == CUBLASLT_EPILOGUE_BIAS;
    watch_all(&x[A], w->in[A], false), watch_all(&x[B], w->in[B], false);
    if (w->beta != 0) watch_all(&x[C], w->in[C], false); /* else it need not be written yet */
    if (biased) watch(p->o.bias, p->m * width(x[D].type), false);
    if (w->chosen.workspace) watch(w->parts, w->chosen.workspace, true);
    watch_all(&x[D], w->c, true);
    float *part = w->parts;
    for (size_t i = 0; i < (size_t)x[D].batch; i++) {
        const char *a = w->in[A] + i * (size_t)x[A].step * width(x[A].type),
                   *b = w->in[B] + i * (size_t)x[B].step * width(x[B].type);
        for (uint64_t column = 0; column < p->n; column++)
            for (uint64_t row = 0; row < p->m; row++) {
                float sum = 0;
                for (int t = 0; t < w->chosen.parts; t++) {
                    const uint64_t all = (uint64_t)w->chosen.parts,
                                   first = p->k * (uint64_t)t / all,
                                   end = p->k * (uint64_t)(t + 1) / all;
                    float one = 0;
                    for (uint64_t k = first; k < end; k++)
                        one += factor(p, A, a, row, k) * factor(p, B, b, k, column);
                    if (w->parts) *part++ = one;
                    sum += one;
                }
                const size_t at = i * (size_t)x[D].step + row + column * (size_t)x[D].leading;
                float y = w->alpha * sum;
                if (w->beta != 0) y += w->beta * load(x[C].type, w->in[C], at);
                if (biased) y += load(x[D].type, (const char *)p->o.bias, row);
                if (x[D].type == CUDA_R_16BF) ((bf16 *)w->c)[at] = __float2bfloat16(y);
                else ((float *)w->c)[at] = y;
            }
    }
}
