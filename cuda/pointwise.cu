/* pointwise.cu: a kernel for each form of each line of ops/pointwise.def, and for expand; one
 * thread an element. */
#include "launch.h"
#include "functions.h"

enum { THREADS = 256, INPUTS = 3 };

/* The inputs of a node, each with how it repeats over the result. */
typedef struct {
    const void *data[INPUTS];
    pith_repeat repeat[INPUTS];
} operands;

static operands operands_of(const pith_call *call)
{
    operands x;
    for (int k = 0; k < call->n->n_in; k++) {
        x.data[k] = call->in[k];
        x.repeat[k] = pith_repeat_of(call->n->in[k], call->n);
    }
    return x;
}

/* Which element of an input belongs to element i of the result. */
static __device__ size_t place(const pith_repeat *r, size_t i)
{
    size_t at = 0;
    for (int k = r->n - 1; k > 0; k--) {
        at += i % r->dim[k] * r->stride[k];
        i /= r->dim[k];
    }
    return r->n ? at + i * r->stride[0] : 0;
}

#define INPUT(k, type) ((const type *)x.data[k])[place(&x.repeat[k], i)]
#define IN_A(type) const type a = INPUT(0, type);
#define IN_B(type) const type b = INPUT(1, type);
#define IN_C(type) const type c = INPUT(2, type);
#define KERNEL(name, result, READ, value)                                                          \
    static __global__ void name(size_t count, result *y, operands x)                               \
    {                                                                                              \
        const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;                               \
        if (i >= count) return;                                                                    \
        READ y[i] = value;                                                                         \
    }
#define RUN(kernel, result)                                                                        \
    return PITH_LAUNCH(call, kernel, blocks_of(pith_size(call->n), THREADS), THREADS, 0,           \
                       pith_size(call->n), (result *)call->out[0], operands_of(call))
#define IS(k, dtype_of) (call->n->in[k]->dtype == PITH_##dtype_of)

#define UNARY(name, value, da, low, high)                                                          \
    KERNEL(name##_f32, float, IN_A(float), value)                                                  \
    PITH_CUDA_KERNEL(name) { RUN(name##_f32, float); }
#define UNARY_I32(name, value, value_i32, da, low, high)                                           \
    KERNEL(name##_f32, float, IN_A(float), value)                                                  \
    KERNEL(name##_i32, int, IN_A(int), value_i32)                                                  \
    PITH_CUDA_KERNEL(name)                                                                         \
    {                                                                                              \
        if (IS(0, I32)) RUN(name##_i32, int);                                                      \
        RUN(name##_f32, float);                                                                    \
    }
#define BINARY(name, value, da, db, low, high)                                                     \
    KERNEL(name##_f32, float, IN_A(float) IN_B(float), value)                                      \
    PITH_CUDA_KERNEL(name) { RUN(name##_f32, float); }
#define BINARY_BOTH(name, value, result, value_i32)                                                \
    KERNEL(name##_f32, float, IN_A(float) IN_B(float), value)                                      \
    KERNEL(name##_i32, result, IN_A(int) IN_B(int), value_i32)                                     \
    PITH_CUDA_KERNEL(name)                                                                         \
    {                                                                                              \
        if (IS(0, I32)) RUN(name##_i32, result);                                                   \
        RUN(name##_f32, float);                                                                    \
    }
#define BINARY_I32(name, value, value_i32, da, db, low, high)                                      \
    BINARY_BOTH(name, value, int, value_i32)
#define COMPARE(name, value) BINARY_BOTH(name, value, float, value)
#define TERNARY(name, value, da, db, dc, low, high)                                                \
    KERNEL(name##_f32_f32, float, IN_A(float) IN_B(float) IN_C(float), value)                      \
    KERNEL(name##_i32_f32, float, IN_A(int) IN_B(float) IN_C(float), value)                        \
    KERNEL(name##_f32_i32, int, IN_A(float) IN_B(int) IN_C(int), value)                            \
    KERNEL(name##_i32_i32, int, IN_A(int) IN_B(int) IN_C(int), value)                              \
    KERNEL(name##_f32_u8, uint8_t, IN_A(float) IN_B(uint8_t) IN_C(uint8_t), value)                 \
    KERNEL(name##_i32_u8, uint8_t, IN_A(int) IN_B(uint8_t) IN_C(uint8_t), value)                   \
    PITH_CUDA_KERNEL(name)                                                                         \
    {                                                                                              \
        if (IS(0, I32) && IS(1, I32)) RUN(name##_i32_i32, int);                                    \
        if (IS(0, I32) && IS(1, U8)) RUN(name##_i32_u8, uint8_t);                                  \
        if (IS(0, I32)) RUN(name##_i32_f32, float);                                                \
        if (IS(1, I32)) RUN(name##_f32_i32, int);                                                  \
        if (IS(1, U8)) RUN(name##_f32_u8, uint8_t);                                                \
        RUN(name##_f32_f32, float);                                                                \
    }
#define F32_TYPE float
#define BF16_TYPE uint16_t
#define CONVERT(name, from, to, value, flags)                                                      \
    KERNEL(name##_kernel, to##_TYPE, IN_A(from##_TYPE), value)                                     \
    PITH_CUDA_KERNEL(name) { RUN(name##_kernel, to##_TYPE); }
#include "ops/pointwise.def"

KERNEL(expand_f32, float, IN_A(float), a)
KERNEL(expand_i32, int, IN_A(int), a)
KERNEL(expand_u8, uint8_t, IN_A(uint8_t), a)
KERNEL(expand_bf16, uint16_t, IN_A(uint16_t), a)
PITH_CUDA_KERNEL(expand)
{
    if (IS(0, I32)) RUN(expand_i32, int);
    if (IS(0, U8)) RUN(expand_u8, uint8_t);
    if (IS(0, BF16)) RUN(expand_bf16, uint16_t);
    RUN(expand_f32, float);
}
