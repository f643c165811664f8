/* device.cu: an NVIDIA GPU as a device of the engine: memory, one stream on which everything
 * happens in order, another for copies beside it, recordings, and errors, which the engine's one
 * channel tells. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "compile.h"
#include "device/device.h"
#include "launch.h"

/* Memory comes from the driver in slabs, since asking for it is slow; what is large has one alone.
 */
typedef struct slab {
    struct slab *next;
    char *from;
    size_t size, used;
    int blocks; /* not yet given back */
} slab;

enum { ALIGNMENT = 256, HALVES = 2 };
static const size_t SLAB = (size_t)32 << 20, STAGE = (size_t)4 << 20;

/* One device a process, and so one of these, and a lock for it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool tried, open;
    char missing[256]; /* why there is none */
    int capability;    /* 90 for 9.0 */
    cudaStream_t stream, copies;
    cudaEvent_t sent, taken; /* the latest of each: what is taken was sent, and is then sent anew */
    slab *slabs;
    /* pinned memory through which copies pass: while one half travels the other is filled */
    char *stage[HALVES];
    cudaEvent_t travelled[HALVES];
    int half;
    char lost[256]; /* why nothing may touch the device any more; empty: it may */
} gpu;

/* ---- errors ---- */

static bool is_lost(void) { return *gpu.lost && !pith_raise("%s", gpu.lost); }

static void lose(cudaError_t error, const char *what)
{
    snprintf(gpu.lost, sizeof gpu.lost, "the CUDA device is lost: %s: %s", what,
             cudaGetErrorString(error));
}

/* Is the device lost with that error? One of a call that was wrong in itself, or found too little
 * memory, is forgotten; after that of a lost device every call fails, until the process ends. */
static void judge(cudaError_t error, const char *what)
{
    const cudaError_t other = cudaStreamQuery(gpu.copies);
    cudaGetLastError(); /* so that no later call tells it */
    if (other == cudaSuccess || other == cudaErrorNotReady) return;
    /* that one, while steps are recorded, says nothing of the device */
    if (other != cudaErrorStreamCaptureUnsupported) lose(error, what);
}

static bool check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return true;
    judge(error, what);
    return pith_raise("CUDA: %s: %s", what, cudaGetErrorString(error));
}
/* Calls nothing where the device is lost. */
#define is_good(call, what) (!is_lost() && check(call, what))

bool pith_launched(const pith_call *call, cudaError_t error)
{
    char what[160];
    if (error == cudaSuccess) return true;
    snprintf(what, sizeof what, "%.120s: %.30s", call->n->at, call->n->op->name);
    judge(error, what);
    if (*gpu.lost) /* by what was started before it, as a rule */
        return pith_raise("CUDA: the device is lost at %s, or before: %s", what,
                          cudaGetErrorString(error));
    return pith_raise("%s: the kernel cannot be started: %s", what, cudaGetErrorString(error));
}

/* ---- memory ---- */

static slab *new_slab(size_t bytes)
{
    slab *s = (slab *)calloc(1, sizeof *s);
    void *from = NULL;
    const cudaError_t error = s ? cudaMalloc(&from, bytes) : cudaErrorMemoryAllocation;
    if (error != cudaSuccess) {
        free(s);
        if (error != cudaErrorMemoryAllocation) check(error, "memory");
        cudaGetLastError(); /* so that no later call tells it */
        return NULL;
    }
    s->from = (char *)from;
    s->size = bytes;
    s->next = gpu.slabs;
    return gpu.slabs = s;
}

static slab *slab_with(size_t bytes)
{
    for (slab *s = gpu.slabs; s; s = s->next)
        if (s->size - s->used >= bytes) return s;
    slab *s = bytes > SLAB / 2 ? NULL : new_slab(SLAB);
    return s ? s : new_slab(bytes);
}

static void give_back(const void *memory)
{
    for (slab **link = &gpu.slabs; *link; link = &(*link)->next) {
        slab *s = *link;
        if ((const char *)memory < s->from || (const char *)memory >= s->from + s->size) continue;
        if (--s->blocks == 0) {
            *link = s->next;
            if (!*gpu.lost) cudaFree(s->from); /* waits for all work */
            free(s);
        }
        break;
    }
}

static void *allocate(size_t bytes, bool zeros)
{
    if (bytes > SIZE_MAX - ALIGNMENT) return NULL;
    const size_t size = (bytes + ALIGNMENT - !!bytes) / ALIGNMENT * ALIGNMENT;
    pthread_mutex_lock(&lock);
    slab *s = *gpu.lost ? NULL : slab_with(size);
    void *p = s ? s->from + s->used : NULL;
    if (s) s->used += size, s->blocks++;
    if (p && zeros && !is_good(cudaMemsetAsync(p, 0, bytes, gpu.stream), "zeros"))
        give_back(p), p = NULL;
    pthread_mutex_unlock(&lock);
    return p;
}

static void release(void *memory)
{
    if (!memory) return;
    pthread_mutex_lock(&lock);
    give_back(memory);
    pthread_mutex_unlock(&lock);
}

/* In whole units, as .allocate takes it. */
static size_t free_bytes(void)
{
    size_t bytes = 0, all = 0;
    if (*gpu.lost || cudaMemGetInfo(&bytes, &all) != cudaSuccess) return 0;
    return bytes / ALIGNMENT * ALIGNMENT;
}

static size_t taken(void)
{
    size_t bytes = 0, all = 0;
    return !*gpu.lost && cudaMemGetInfo(&bytes, &all) == cudaSuccess ? all - bytes : 0;
}

/* ---- copies ---- */

static bool is_done(const node *n)
{
    char what[160] = "waiting for the device";
    if (n) snprintf(what, sizeof what, "%.120s: %.30s", n->at, n->op->name);
    return is_good(cudaStreamSynchronize(gpu.stream), what);
}

static bool wait(const node *n)
{
    pthread_mutex_lock(&lock);
    const bool good = is_done(n);
    pthread_mutex_unlock(&lock);
    return good;
}

/* A half of the stage that nothing travels through any more. */
static bool take_half(void)
{
    gpu.half = (gpu.half + 1) % HALVES;
    return is_good(cudaEventSynchronize(gpu.travelled[gpu.half]), "waiting for a copy");
}

static bool put(void *to, const void *host, size_t bytes, cudaStream_t on)
{
    bool good = true;
    for (size_t done = 0; done < bytes && good; done += STAGE) {
        const size_t count = bytes - done < STAGE ? bytes - done : STAGE;
        good = take_half();
        if (!good) break;
        memcpy(gpu.stage[gpu.half], (const char *)host + done, count);
        good = is_good(cudaMemcpyAsync((char *)to + done, gpu.stage[gpu.half], count,
                                       cudaMemcpyHostToDevice, on),
                       "a copy to the device") &&
               is_good(cudaEventRecord(gpu.travelled[gpu.half], on), "a copy to the device");
    }
    return good;
}

static bool write(void *to, const void *host, size_t bytes)
{
    pthread_mutex_lock(&lock);
    const bool good = put(to, host, bytes, gpu.stream);
    pthread_mutex_unlock(&lock);
    return good;
}

static bool send(void *to, const void *host, size_t bytes)
{
    pthread_mutex_lock(&lock);
    const bool good = is_good(cudaStreamWaitEvent(gpu.copies, gpu.taken, 0),
                              "a copy to the device") &&
                      put(to, host, bytes, gpu.copies) &&
                      is_good(cudaEventRecord(gpu.sent, gpu.copies), "a copy to the device");
    pthread_mutex_unlock(&lock);
    return good;
}

static bool take(void *to, const void *sent, size_t bytes)
{
    pthread_mutex_lock(&lock);
    const bool good =
        is_good(cudaStreamWaitEvent(gpu.stream, gpu.sent, 0), "a copy") &&
        is_good(cudaMemcpyAsync(to, sent, bytes, cudaMemcpyDeviceToDevice, gpu.stream), "a copy") &&
        is_good(cudaEventRecord(gpu.taken, gpu.stream), "a copy");
    pthread_mutex_unlock(&lock);
    return good;
}

static bool read(void *host, const void *from, size_t bytes)
{
    bool good = true;
    pthread_mutex_lock(&lock);
    for (size_t done = 0; done < bytes && good; done += STAGE) {
        const size_t count = bytes - done < STAGE ? bytes - done : STAGE;
        good = take_half() &&
               is_good(cudaMemcpyAsync(gpu.stage[gpu.half], (const char *)from + done, count,
                                       cudaMemcpyDeviceToHost, gpu.stream),
                       "a copy from the device") &&
               is_done(NULL);
        if (good) memcpy((char *)host + done, gpu.stage[gpu.half], count);
    }
    pthread_mutex_unlock(&lock);
    return good;
}

static bool copy(void *to, const void *from, size_t bytes)
{
    pthread_mutex_lock(&lock);
    const bool good =
        is_good(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, gpu.stream), "a copy");
    pthread_mutex_unlock(&lock);
    return good;
}

/* ---- recordings ---- */

static void *stream(void) { return is_lost() ? NULL : gpu.stream; }

/* The next call tells a lost device. */
static void not_recorded(cudaError_t error, char *why, size_t size)
{
    judge(error, "a recording");
    if (!*gpu.lost) snprintf(why, size, "%s", cudaGetErrorString(error));
}

/* From here to the end nobody else copies: it would be noted, too. Plans run one at a time. */
static bool begin_capture(char *why, size_t size)
{
    pthread_mutex_lock(&lock);
    const cudaError_t error = cudaStreamBeginCapture(gpu.stream, cudaStreamCaptureModeThreadLocal);
    if (error == cudaSuccess) return true;
    not_recorded(error, why, size);
    pthread_mutex_unlock(&lock);
    return false;
}

static void *end_capture(bool wanted, char *why, size_t size)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t made = NULL;
    cudaError_t error = *gpu.lost ? cudaSuccess : cudaStreamEndCapture(gpu.stream, &graph);
    if (error == cudaSuccess && wanted) error = cudaGraphInstantiate(&made, graph, 0);
    if (graph) cudaGraphDestroy(graph);
    if (error != cudaSuccess) not_recorded(error, why, wanted ? size : 0);
    pthread_mutex_unlock(&lock);
    return made;
}

static bool replay(const void *recording)
{
    return is_good(cudaGraphLaunch((cudaGraphExec_t)(uintptr_t)recording, gpu.stream), "a run");
}

static void free_recording(void *recording)
{
    if (!*gpu.lost) cudaGraphExecDestroy((cudaGraphExec_t)recording);
}

/* ---- the device ---- */

static bool takes_bf16(void)
{
    return gpu.capability >= 80 ||
           pith_raise("bf16 on CUDA wants compute capability 8.0 or later, this device has %d.%d",
                      gpu.capability / 10, gpu.capability % 10);
}

static const char *not_compiled(void) { return pith_cuda_not_compiled(gpu.capability); }

static bool compile(const char *source, int n, void **kernels)
{
    return pith_cuda_compile(gpu.capability, source, n, kernels);
}

#ifdef PITH_EMULATE
extern "C" void emulator_may(const void *p, size_t bytes, bool write); /* control.h */
static void (*const may_touch)(const void *, size_t, bool) = emulator_may;
#else
static void (*const may_touch)(const void *, size_t, bool) = NULL;
#endif

static const pith_backend cuda = {
    ALIGNMENT,  allocate, release,      free_bytes,    write,           read,      copy,
    wait,       taken,    not_compiled, compile,       pith_cuda_start, may_touch, stream,
    takes_bf16, send,     take,         begin_capture, end_capture,     replay,    free_recording
};

static bool is_missing(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(gpu.missing, sizeof gpu.missing, format, list);
    va_end(list);
    cudaGetLastError(); /* so that no later call tells it */
    return false;
}

static bool driver_is_good(void)
{
    int driver = 0, devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    cudaDriverGetVersion(&driver);
    if (error == cudaSuccess && devices > 0) return true;
    if (!driver) return is_missing("no CUDA device: there is no NVIDIA driver on this machine");
    if (error == cudaErrorInsufficientDriver)
        return is_missing("no CUDA device: the NVIDIA driver serves CUDA %d.%d, and this pith was "
                          "built with %d.%d",
                          driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                          CUDART_VERSION % 1000 / 10);
    return is_missing("no CUDA device: %s",
                      error == cudaSuccess ? "the driver sees none" : cudaGetErrorString(error));
}

static bool opens(cudaError_t error)
{
    return error == cudaSuccess ||
           is_missing("the CUDA device cannot be used: %s", cudaGetErrorString(error));
}

static bool device_is_good(void)
{
    int major = 0, minor = 0;
    return opens(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0)) &&
           opens(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0)) &&
           ((gpu.capability = 10 * major + minor) >= 75 ||
            is_missing("the CUDA device has compute capability %d.%d, expected at least 7.5", major,
                       minor));
}

static bool is_open(void)
{
    bool good = opens(cudaStreamCreateWithFlags(&gpu.stream, cudaStreamNonBlocking)) &&
                opens(cudaStreamCreateWithFlags(&gpu.copies, cudaStreamNonBlocking)) &&
                opens(cudaEventCreateWithFlags(&gpu.sent, cudaEventDisableTiming)) &&
                opens(cudaEventCreateWithFlags(&gpu.taken, cudaEventDisableTiming));
    for (int k = 0; k < HALVES && good; k++)
        good = opens(cudaMallocHost((void **)&gpu.stage[k], STAGE)) &&
               opens(cudaEventCreateWithFlags(&gpu.travelled[k], cudaEventDisableTiming));
    return good;
}

extern "C" const pith_backend *pith_cuda(const char **why)
{
    pthread_mutex_lock(&lock);
    if (!gpu.tried) gpu.open = driver_is_good() && device_is_good() && is_open();
    gpu.tried = true;
    pthread_mutex_unlock(&lock);
    *why = gpu.missing;
    return gpu.open ? &cuda : NULL;
}
