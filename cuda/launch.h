/* launch.h: the one header that a page of kernels includes. nvcc compiles the page, and, with
 * PITH_EMULATE, so does a plain C++ compiler, against the small machine in tests/emulator/. */
#ifndef PITH_LAUNCH_H
#define PITH_LAUNCH_H
#ifdef PITH_EMULATE
#include "emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_runtime.h>
typedef __nv_bfloat16 bf16;
/* Shared memory whose size is told at the launch. */
#define PITH_SHARED(T, name)                                                                       \
    extern __shared__ __align__(16) unsigned char pith_shared_[];                                  \
    T *name = (T *)pith_shared_
/* Shared memory of n elements, known when the page is compiled. */
#define PITH_SHARED_ARRAY(T, name, n) __shared__ T name[n]
#define PITH_ENQUEUE(kernel, grid, block, shared, stream, ...)                                     \
    (cudaGetLastError(), /* an earlier call's, who has told it */                                  \
     kernel<<<grid, block, shared, stream>>>(__VA_ARGS__), cudaGetLastError())
#endif
#include "core.h"

/* Begins the definition of an op's launcher, which its descriptor names: NAME_cuda. */
#define PITH_CUDA_KERNEL(name)                                                                     \
    extern "C" bool name##_cuda(const pith_call *call);                                            \
    extern "C" bool name##_cuda(const pith_call *call)
/* The same of what it wants of scratch, for .cuda_scratch: NAME_cuda_scratch. */
#define PITH_CUDA_SCRATCH(name)                                                                    \
    extern "C" size_t name##_cuda_scratch(const node *n);                                          \
    extern "C" size_t name##_cuda_scratch(const node *n)

/* Puts a kernel on the stream of `call`: the value of a launcher. `shared`: bytes for PITH_SHARED.
 * False after saying, with the node's line, what is wrong. A kernel's name with commas in it wants
 * brackets. */
#define PITH_LAUNCH(call, kernel, grid, block, shared, ...)                                        \
    pith_launched(call, PITH_ENQUEUE(kernel, grid, block, shared, (cudaStream_t)(call)->stream,    \
                                     __VA_ARGS__))
extern "C" bool pith_launched(const pith_call *call, cudaError_t error); /* device.cu */

/* How many blocks of `each` make up `all`. */
static inline unsigned blocks_of(size_t all, size_t each)
{
    return (unsigned)((all + each - 1) / each);
}
#endif
