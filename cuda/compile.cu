/* compile.cu: chains of pointwise ops compiled for this very device by NVRTC, all chains of a plan
 * as one program. Their source comes from the ops' own text (core/device/chain_source.c).
 * NVRTC is opened at run time: without it ops run one by one. */
#include "compile.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "launch.h"

enum { THREADS = 256, OPTIONS = 3, HEADERS = 2 };

/* ---- NVRTC, as its documentation declares it ---- */

typedef struct program *nvrtcProgram;
#define FUNCTIONS(X)                                                                               \
    X(Version, (int *major, int *minor))                                                           \
    X(GetNumSupportedArchs, (int *count))                                                          \
    X(GetSupportedArchs, (int *capability))                                                        \
    X(CreateProgram, (nvrtcProgram * p, const char *source, const char *name, int headers,         \
                      const char *const *texts, const char *const *names))                         \
    X(CompileProgram, (nvrtcProgram p, int options, const char *const *option))                    \
    X(GetCUBINSize, (nvrtcProgram p, size_t *size))                                                \
    X(GetCUBIN, (nvrtcProgram p, char *cubin))                                                     \
    X(GetProgramLogSize, (nvrtcProgram p, size_t *size))                                           \
    X(GetProgramLog, (nvrtcProgram p, char *log))                                                  \
    X(DestroyProgram, (nvrtcProgram * p))

static struct {
    bool tried, found;
#define DECLARED(name, arguments) int(*name) arguments;
    FUNCTIONS(DECLARED)
} nvrtc;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool find_functions(void *library)
{
    if (!library) return false;
#define FOUND(name, arguments)                                                                     \
    nvrtc.name = (int(*) arguments)dlsym(library, "nvrtc" #name);                                  \
    if (!nvrtc.name) return false;
    FUNCTIONS(FOUND)
    return true;
}

static bool knows(int capability)
{
    int count = 0, known[256];
    if (nvrtc.GetNumSupportedArchs(&count) || count > 256 || nvrtc.GetSupportedArchs(known))
        return false;
    for (int k = 0; k < count; k++)
        if (known[k] == capability) return true;
    return false;
}

const char *pith_cuda_not_compiled(int capability)
{
    static char old[100];
    int major = 0, minor = 0;
    const char *const names[] = {
#ifdef PITH_EMULATE
        emulator_nvrtc, /* NULL: the program itself, and so tests/emulator/nvrtc.cpp */
#else
        "libnvrtc.so.13",
        "libnvrtc.so.12",
#endif
    };
    pthread_mutex_lock(&lock);
    for (size_t k = 0; !nvrtc.tried && k < sizeof names / sizeof *names && !nvrtc.found; k++)
        nvrtc.found = find_functions(dlopen(names[k], RTLD_NOW | RTLD_LOCAL));
    nvrtc.tried = true;
    const bool known = nvrtc.found && knows(capability);
    if (nvrtc.found && !known && !nvrtc.Version(&major, &minor))
        snprintf(old, sizeof old,
                 "NVRTC %d.%d does not know this device, of compute capability %d.%d", major, minor,
                 capability / 10, capability % 10);
    pthread_mutex_unlock(&lock);
    return known         ? NULL
           : nvrtc.found ? old
                         : "there is no libnvrtc.so.13 or libnvrtc.so.12 among the libraries here";
}

/* ---- source to program ---- */

/* The texts of two headers of the house, put here by the assembler. */
#define TEXT_OF(name, file)                                                                        \
    extern "C" const char name[];                                                                  \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" file "\"\n.byte 0\n.popsection\n")
TEXT_OF(pith_text_of_functions, "cuda/functions.h");
TEXT_OF(pith_text_of_lines, "ops/lines.h");

/* A kernel does several jobs, one behind the other in the grid: `end` is the block after a job's
 * last one. */
static const char prelude[] =
#ifdef PITH_EMULATE
    "#include \"emulator.h\"\n"
    "struct told { unsigned long long word[512]; };\n"
    "#define PITH_TOLD(name) told told_\n"
    "#define PITH_JOB(name, k) ((const name##_job *)told_.word)[k]\n"
    "#define PITH_BOUNDS\n"
#else
    "typedef unsigned int uint32_t;\n"
    "typedef unsigned short uint16_t;\n"
    "#define PITH_TOLD(name) const __grid_constant__ name##_jobs told_\n"
    "#define PITH_JOB(name, k) told_.job[k]\n"
    "#define PITH_BOUNDS __launch_bounds__(256)\n"
#endif
    "typedef float real;\n"
    "#include \"functions.h\"\n"
    "#define PITH_CHAIN(name, n, jobs)\\\n"
    "    struct name##_job { void *at[n]; unsigned long long count, end; };\\\n"
    "    struct name##_jobs { name##_job job[jobs]; };\\\n"
    "    static __device__ void name##_run(const name##_job &m, unsigned block);\\\n"
    "    extern \"C\" __global__ void PITH_BOUNDS name(PITH_TOLD(name))\\\n"
    "    {\\\n"
    "        unsigned k = 0, begin = 0;\\\n"
    "        while (blockIdx.x >= PITH_JOB(name, k).end) begin = PITH_JOB(name, k++).end;\\\n"
    "        name##_run(PITH_JOB(name, k), blockIdx.x - begin);\\\n"
    "    }\\\n"
    "    static __device__ void name##_run(const name##_job &m, unsigned block)\n"
    "#define PITH_ELEMENT(index, i)\\\n"
    "    const index i = (index)block * 256 + threadIdx.x; if (i >= m.count) return;\n";

static bool tell_log(nvrtcProgram p)
{
    size_t size = 0;
    nvrtc.GetProgramLogSize(p, &size);
    char *log = (char *)calloc(size + 1, 1);
    if (log) nvrtc.GetProgramLog(p, log);
    pith_raise("CUDA: NVRTC does not compile the chains of a plan: %.300s", log ? log : "");
    free(log);
    return false;
}

static const char *const header_texts[HEADERS] = { pith_text_of_functions, pith_text_of_lines };
static const char *const header_names[HEADERS] = { "functions.h", "ops/lines.h" };

static char *compiled(const char *whole, const char *const *option, size_t *size)
{
    nvrtcProgram p = NULL;
    char *code = NULL;
    if (nvrtc.CreateProgram(&p, whole, "chains.cu", HEADERS, header_texts, header_names))
        pith_raise("CUDA: NVRTC makes no program");
    else if (nvrtc.CompileProgram(p, OPTIONS, option)) tell_log(p);
    else if (nvrtc.GetCUBINSize(p, size) || !(code = (char *)malloc(*size)))
        pith_raise("no memory for the chains of a plan");
    else if (nvrtc.GetCUBIN(p, code)) {
        pith_raise("CUDA: NVRTC gives no code");
        free(code);
        code = NULL;
    }
    if (p) nvrtc.DestroyProgram(&p);
    return code;
}

/* The key of what is kept is all that the code depends on: NVRTC, options, and every text. */
char *pith_cuda_code(const char *source, int capability, size_t *size)
{
    char target[40], *key = NULL, *code = NULL;
    const char *option[OPTIONS] = { target, "--std=c++17", "-default-device" };
    size_t bytes;
    int major = 0, minor = 0;
    FILE *f = open_memstream(&key, &bytes);
    snprintf(target, sizeof target, "--gpu-architecture=sm_%d", capability);
    nvrtc.Version(&major, &minor);
    if (f) fprintf(f, "NVRTC %d.%d\n", major, minor);
    for (int k = 0; k < OPTIONS && f; k++) fprintf(f, "%s\n", option[k]);
    for (int k = 0; k < HEADERS && f; k++) fprintf(f, "%s\n%s\n", header_names[k], header_texts[k]);
    const long begin = f ? ftell(f) : 0;
    if (f) fprintf(f, "%s%s", prelude, source);
    if (!f || fclose(f)) pith_raise("no memory for the source of a plan's chains");
    else if (!(code = (char *)pith_kept_find(key, size)) &&
             (code = compiled(key + begin, option, size)))
        pith_kept_add(key, code, *size);
    free(key);
    return code;
}

/* ---- programs that are loaded, found again by their source: plans are often made anew ---- */

typedef struct loaded {
    struct loaded *next;
    cudaLibrary_t library;
    char source[];
} loaded;
static loaded *programs;

static loaded *load(int capability, const char *source)
{
    for (loaded *l = programs; l; l = l->next)
        if (strcmp(l->source, source) == 0) return l;
    size_t size = 0;
    char *code = pith_cuda_code(source, capability, &size);
    if (!code) return NULL;
    loaded *l = (loaded *)calloc(1, sizeof *l + strlen(source) + 1);
    cudaError_t error = cudaErrorMemoryAllocation;
    if (l) error = cudaLibraryLoadData(&l->library, code, NULL, NULL, 0, NULL, NULL, 0);
    free(code);
    if (error == cudaSuccess) {
        strcpy(l->source, source);
        l->next = programs;
        return programs = l;
    }
    free(l);
    pith_raise("CUDA: the chains of a plan cannot be loaded: %s", cudaGetErrorString(error));
    return NULL;
}

bool pith_cuda_compile(int capability, const char *source, int n, void **kernels)
{
    char name[24];
    pthread_mutex_lock(&lock);
    const loaded *l = load(capability, source);
    bool good = l;
    for (int k = 0; k < n && good; k++) {
        snprintf(name, sizeof name, "chain_%d", k);
        const cudaError_t error = cudaLibraryGetKernel((cudaKernel_t *)&kernels[k], l->library,
                                                       name);
        good = error == cudaSuccess ||
               pith_raise("CUDA: %s is not there: %s", name, cudaGetErrorString(error));
    }
    pthread_mutex_unlock(&lock);
    return good;
}

bool pith_cuda_start(const pith_call *call, const void *kernel, int n_jobs, const pith_job *jobs,
                     int n_memory)
{
    unsigned long long told[PITH_LAUNCH_BYTES / 8] = { 0 }, *to = told;
    unsigned blocks = 0;
    for (int k = 0; k < n_jobs; k++) {
        memcpy(to, jobs[k].memory, (size_t)n_memory * sizeof *to);
        to += n_memory;
        *to++ = jobs[k].count;
        *to++ = blocks += blocks_of(jobs[k].count, THREADS);
    }
#ifdef PITH_EMULATE
    struct words {
        unsigned long long word[PITH_LAUNCH_BYTES / 8];
    } all;
    void (*chain)(words) = (void (*)(words))(uintptr_t)kernel;
    memcpy(all.word, told, sizeof told);
    return PITH_LAUNCH(call, chain, blocks, THREADS, 0, all);
#else
    void *argument = told;
    return pith_launched(call, cudaLaunchKernel(kernel, blocks, THREADS, &argument, 0,
                                                (cudaStream_t)call->stream));
#endif
}
