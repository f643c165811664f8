/* compile.cu: chains of pointwise ops compiled for this very device by NVRTC, all chains of a plan
 * as one program. Their source comes from the ops' own text (core/device/chain_source.c).
 * NVRTC is opened at run time: without it ops run one by one. */
#include "compile.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "launch.h"

enum { THREADS = 256, OPTIONS = 3, HEADERS = 2, MOST_MEMORY = 256 };

/* ---- NVRTC, as its documentation declares it ---- */

typedef struct program *nvrtcProgram;
#define FUNCTIONS(X)                                                                               \
    X(CreateProgram, (nvrtcProgram * p, const char *source, const char *name, int headers,         \
                      const char *const *texts, const char *const *header_names))                  \
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

bool pith_cuda_compiles(void)
{
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
    pthread_mutex_unlock(&lock);
    return nvrtc.found;
}

/* ---- source to program ---- */

/* The texts of two headers of the house, put here by the assembler. */
#define TEXT_OF(name, file)                                                                        \
    extern "C" const char name[];                                                                  \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" file "\"\n.byte 0\n.popsection\n")
TEXT_OF(pith_text_of_functions, "cuda/functions.h");
TEXT_OF(pith_text_of_lines, "ops/lines.h");

static const char prelude[] =
#ifdef PITH_EMULATE
    "#include \"emulator.h\"\n"
    "struct memory { void *at[256]; };\n"
    "#define PITH_CHAIN(name, n) extern \"C\" __global__ void name(memory m)\n"
#else
    "typedef unsigned int uint32_t;\n"
    "typedef unsigned short uint16_t;\n"
    "#define PITH_CHAIN(name, n) struct name##_memory { void *at[n]; };\\\n"
    "    extern \"C\" __global__ void __launch_bounds__(256) name(const name##_memory m)\n"
#endif
    "typedef float real;\n"
    "#include \"functions.h\"\n"
    "#define PITH_ELEMENT(index, i, count)\\\n"
    "    const index i = (index)blockIdx.x * 256 + threadIdx.x; if (i >= count) return;\n";

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

char *pith_cuda_code(const char *source, int capability, size_t *size)
{
    static const char *const texts[HEADERS] = { pith_text_of_functions, pith_text_of_lines };
    static const char *const names[HEADERS] = { "functions.h", "ops/lines.h" };
    char target[40], *code = NULL;
    const char *option[OPTIONS] = { target, "--std=c++17", "-default-device" };
    nvrtcProgram p = NULL;
    char *whole = (char *)malloc(sizeof prelude + strlen(source));
    if (!whole) return pith_raise("no memory for the source of a plan's chains"), (char *)NULL;
    strcat(strcpy(whole, prelude), source);
    snprintf(target, sizeof target, "--gpu-architecture=sm_%d", capability);
    if (nvrtc.CreateProgram(&p, whole, "chains.cu", HEADERS, texts, names))
        pith_raise("CUDA: NVRTC makes no program");
    else if (nvrtc.CompileProgram(p, OPTIONS, option)) tell_log(p);
    else if (nvrtc.GetCUBINSize(p, size) || !(code = (char *)malloc(*size)))
        pith_raise("no memory for the chains of a plan");
    else nvrtc.GetCUBIN(p, code);
    if (p) nvrtc.DestroyProgram(&p);
    free(whole);
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

bool pith_cuda_compile(int capability, const char *source, int n, char *const *names,
                       void **kernels)
{
    pthread_mutex_lock(&lock);
    const loaded *l = load(capability, source);
    bool good = l;
    for (int k = 0; k < n && good; k++) {
        const cudaError_t error = cudaLibraryGetKernel((cudaKernel_t *)&kernels[k], l->library,
                                                       names[k]);
        good = error == cudaSuccess ||
               pith_raise("CUDA: %s is not there: %s", names[k], cudaGetErrorString(error));
    }
    pthread_mutex_unlock(&lock);
    return good;
}

bool pith_cuda_start(const pith_call *call, const void *kernel, size_t elements,
                     void *const *memory, int n)
{
    const unsigned blocks = blocks_of(elements, THREADS);
#ifdef PITH_EMULATE
    struct {
        void *at[MOST_MEMORY];
    } m = { { NULL } };
    void (*chain)(decltype(m)) = (void (*)(decltype(m)))(uintptr_t)kernel;
    memcpy(m.at, memory, (size_t)n * sizeof *memory);
    return PITH_LAUNCH(call, chain, blocks, THREADS, 0, m);
#else
    (void)n;
    void *argument = (void *)memory;
    return pith_launched(call, cudaLaunchKernel(kernel, blocks, THREADS, &argument, 0,
                                                (cudaStream_t)call->stream));
#endif
}
