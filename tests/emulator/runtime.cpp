/* runtime.cpp: the rest of CUDA's runtime: errors, copies, the device; and what tests ask. */
#include "streams.h"
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "core.h"

namespace emulator
{
/* ---- errors ---- */

cudaError_t device_error;
static __thread cudaError_t last_error;
static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void lock(void) { pthread_mutex_lock(&mutex); }

static bool is_sticky(cudaError_t e)
{
    return e == cudaErrorECCUncorrectable || e == cudaErrorLaunchTimeout ||
           (e >= 700 && e < 800 && e != cudaErrorLaunchOutOfResources) || e == cudaErrorUnknown;
}

cudaError_t failed(cudaError_t e)
{
    if (is_sticky(e)) device_error = e;
    return last_error = e;
}

/* ---- errors on demand ---- */

static struct {
    const char *function;
    long calls;
} counts[64];
static struct {
    const char *function;
    int left;
    cudaError_t error;
} faults[16];

static bool works_after_errors(const char *function)
{
    return strncmp(function, "cudaGetDeviceC", 14) == 0 || strstr(function, "GetVersion");
}

cudaError_t error_due(const char *function)
{
    int k = 0;
    while (k < 63 && counts[k].function && strcmp(counts[k].function, function) != 0) k++;
    counts[k].function = function;
    counts[k].calls++;
    if (device_error && !works_after_errors(function)) return device_error;
    for (auto &f : faults)
        if (f.left && strcmp(f.function, function) == 0 && --f.left == 0) return f.error;
    return cudaSuccess;
}

/* ---- what was wrong ---- */

static char first_error[768];
static const void *first_site;
static int told;

void tell(const void *site, const char *format, ...)
{
    if (told++) return;
    va_list a;
    va_start(a, format);
    vsnprintf(first_error, sizeof first_error, format, a);
    va_end(a);
    first_site = site;
}

/* Adds the line of the access, and the one that it was inlined into last, where there are tools
 * that know them. */
static void resolve(void)
{
    Dl_info info;
    if (!first_site || !dladdr(first_site, &info)) return;
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)info.dli_fbase;
    const uintptr_t at = (uintptr_t)first_site - 1 -
                         (head->e_type == ET_EXEC ? 0 : (uintptr_t)info.dli_fbase);
    first_site = NULL;
    char command[512], line[256], last[256] = "";
    snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%zx 2>/dev/null", info.dli_fname,
             (size_t)at);
    FILE *f = popen(command, "r");
    for (int k = 0; f && fgets(line, sizeof line, f) && line[0] != '?'; k++) {
        line[strcspn(line, " \n")] = 0;
        strcpy(last, line);
        const size_t used = strlen(first_error);
        if (k == 0) snprintf(first_error + used, sizeof first_error - used, ", at %s", line);
    }
    const size_t used = strlen(first_error), length = strlen(last);
    if (length && strcmp(first_error + used - length, last) != 0)
        snprintf(first_error + used, sizeof first_error - used, ", from %s", last);
    if (f) pclose(f);
}

/* ---- kernels that asked for more shared memory ---- */

enum { MOST_KERNELS = 1024 };
static struct {
    const void *kernel;
    size_t bytes;
} asked[MOST_KERNELS];

size_t shared_allowed(const void *kernel)
{
    for (const auto &a : asked)
        if (a.kernel == kernel) return a.bytes > STATIC_SHARED ? a.bytes : (size_t)STATIC_SHARED;
    return STATIC_SHARED;
}
} // namespace emulator
using namespace emulator;

void emulator_unlock(const int *) { pthread_mutex_unlock(&emulator::mutex); }

extern "C" {
cudaError_t cudaGetLastError(void)
{
    const cudaError_t e = device_error ? device_error : last_error;
    last_error = cudaSuccess;
    return e;
}

cudaError_t cudaPeekAtLastError(void) { return device_error ? device_error : last_error; }

#define NAME(name, number, text)                                                                   \
    case number: return #name;
#define TEXT(name, number, text)                                                                   \
    case number: return text;
const char *cudaGetErrorName(cudaError_t error)
{
    switch ((int)error) {
        EMULATOR_ERRORS(NAME)
    }
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch ((int)error) {
        EMULATOR_ERRORS(TEXT)
    }
    return "unrecognized error code";
}

/* ---- copies ---- */

/* Is the memory where `kind` says, and within its buffer? */
static cudaError_t wrong_copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    const bool to_device = in_heap(to), from_device = in_heap(from);
    if (kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
    if (kind != cudaMemcpyDefault && (from_device != (kind >> 1) || to_device != (kind & 1)))
        return cudaErrorInvalidValue;
    if ((to_device && !region_of(to, bytes)) || (from_device && !region_of(from, bytes)))
        return cudaErrorInvalidValue;
    return !to || !from ? cudaErrorInvalidValue : cudaSuccess;
}

static cudaError_t copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                        cudaStream_t stream)
{
    if (!bytes) return cudaSuccess;
    if (const cudaError_t e = wrong_copy(to, from, bytes, kind)) return failed(e);
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    task *t = new_task(COPY, 0);
    t->to = to, t->from = from, t->bytes = bytes;
    if (!in_heap(from) && !is_pinned(from) && !stream->capture) {
        t->staged = malloc(bytes);
        memcpy(t->staged, from, bytes);
    }
    return enqueue(stream, t);
}

static cudaError_t fill(void *to, int value, size_t bytes, cudaStream_t stream)
{
    if (!bytes) return cudaSuccess;
    if (!region_of(to, bytes)) return failed(cudaErrorInvalidValue);
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    task *t = new_task(FILL, 0);
    t->to = to, t->value = value, t->bytes = bytes;
    return enqueue(stream, t);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    EMULATOR_CALL(cudaMemcpyAsync);
    return copy(to, from, bytes, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    EMULATOR_CALL(cudaMemcpy);
    if (const cudaError_t e = legacy_is_free(&streams[0])) return e;
    if (const cudaError_t e = unsafe_while_capturing()) return e;
    if (const cudaError_t e = copy(to, from, bytes, kind, NULL)) return e;
    return run_until(&streams[0], streams[0].queued);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    EMULATOR_CALL(cudaMemsetAsync);
    return fill(to, value, bytes, stream);
}

/* Of device memory it does not wait. */
cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
    EMULATOR_CALL(cudaMemset);
    if (const cudaError_t e = legacy_is_free(&streams[0])) return e;
    if (const cudaError_t e = unsafe_while_capturing()) return e;
    return fill(to, value, bytes, NULL);
}

/* ---- the device ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    EMULATOR_CALL(cudaGetDeviceCount);
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    EMULATOR_CALL(cudaGetDevice);
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    EMULATOR_CALL(cudaSetDevice);
    return device == 0 ? cudaSuccess : failed(cudaErrorInvalidDevice);
}

int emulator_capability = 90;

/* As an H100 has it. */
static cudaDeviceProp properties(void)
{
    cudaDeviceProp p = {};
    snprintf(p.name, sizeof p.name, "pith's emulator");
    p.totalGlobalMem = memory_total();
    p.sharedMemPerBlock = STATIC_SHARED, p.sharedMemPerBlockOptin = DYNAMIC_SHARED;
    p.sharedMemPerMultiprocessor = DYNAMIC_SHARED + 1024;
    p.regsPerBlock = 65536, p.warpSize = LANES, p.maxThreadsPerBlock = MOST_THREADS;
    p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024, p.maxThreadsDim[2] = 64;
    p.maxGridSize[0] = INT_MAX, p.maxGridSize[1] = p.maxGridSize[2] = 65535;
    p.major = emulator_capability / 10, p.minor = emulator_capability % 10;
    p.multiProcessorCount = 132, p.l2CacheSize = 50 << 20;
    p.maxThreadsPerMultiProcessor = 2048, p.maxBlocksPerMultiProcessor = 32;
    return p;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    EMULATOR_CALL(cudaGetDeviceProperties);
    if (device != 0) return failed(cudaErrorInvalidDevice);
    *p = properties();
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    EMULATOR_CALL(cudaDeviceGetAttribute);
    if (device != 0) return failed(cudaErrorInvalidDevice);
    const cudaDeviceProp p = properties();
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)p.sharedMemPerBlock; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)p.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *value = p.maxBlocksPerMultiProcessor; break;
    default: return failed(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    EMULATOR_CALL(cudaDriverGetVersion);
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    EMULATOR_CALL(cudaRuntimeGetVersion);
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    EMULATOR_CALL(cudaFuncSetAttribute);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || value > DYNAMIC_SHARED) return failed(cudaErrorInvalidValue);
    int k = 0;
    while (k < MOST_KERNELS - 1 && asked[k].kernel && asked[k].kernel != kernel) k++;
    asked[k] = { kernel, (size_t)value };
    return cudaSuccess;
}

/* ---- what tests ask ---- */

bool emulator_wait(void)
{
    lock();
    run_everything();
    const bool good = !told && !device_error;
    told = 0;
    device_error = last_error = cudaSuccess;
    emulator_unlock(NULL);
    return good;
}

const char *emulator_error(void)
{
    resolve();
    return first_error;
}

void emulator_fail(const char *function, int nth, int error)
{
    for (auto &f : faults)
        if (!f.left) {
            f = { function, nth, (cudaError_t)error };
            return;
        }
}

long emulator_calls(const char *function)
{
    long all = 0;
    for (const auto &c : counts)
        if (c.function && (!function || strcmp(c.function, function) == 0)) all += c.calls;
    return all;
}

void emulator_reset(void)
{
    lock();
    streams_reset();
    memory_reset();
    for (auto &c : counts) c = {};
    for (auto &f : faults) f = {};
    for (auto &a : asked) a = {};
    told = 0, first_site = NULL, first_error[0] = 0;
    device_error = last_error = cudaSuccess;
    emulator_unlock(NULL);
}
}
