/* compile.h: kernels from source, for device.cu: see pith_backend. */
#ifndef PITH_COMPILE_H
#define PITH_COMPILE_H
#include "device/device.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Why NVRTC does not compile for a compute capability, 90 for 9.0; NULL: it does. To be asked
 * before the others are called. */
const char *pith_cuda_not_compiled(int capability);
/* Machine code for a compute capability, which the caller frees; NULL after an error. It works
 * where there is no GPU. */
char *pith_cuda_code(const char *source, int capability, size_t *size);
bool pith_cuda_compile(int capability, const char *source, int n, void **kernels);
bool pith_cuda_start(const pith_call *call, const void *kernel, int n_jobs, const pith_job *jobs,
                     int n_memory);
#ifdef __cplusplus
}
#endif
#endif
