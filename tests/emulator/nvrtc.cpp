/* nvrtc.cpp: stands in for NVRTC: a program is compiled by the C++ compiler, with the hooks that
 * watch every access, into a library that the process opens. "Machine code" is that library's file.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "control.h"
#include "emulator.h"

typedef struct program {
    char folder[40];
    char *code, log[2000];
    size_t size;
} *nvrtcProgram;

static bool put(const char *folder, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fputs(text, f);
    return fclose(f) == 0;
}

/* All of a file; NULL where there is none. The caller frees it. */
static char *get(const char *folder, const char *name, size_t *size)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *text = (char *)calloc(*size + 1, 1);
    if (text && fread(text, 1, *size, f) != *size) *size = 0;
    fclose(f);
    return text;
}

static int run(const char *format, const char *a, const char *b)
{
    char command[1000];
    snprintf(command, sizeof command, format, a, b);
    return system(command);
}

int emulator_nvrtc_version = 130;

extern "C" {
int nvrtcVersion(int *major, int *minor)
{
    *major = emulator_nvrtc_version / 10, *minor = emulator_nvrtc_version % 10;
    return 0;
}

static const int known[] = { 75, 80, 90 };
int nvrtcGetNumSupportedArchs(int *count)
{
    return *count = (int)(sizeof known / sizeof *known), 0;
}
int nvrtcGetSupportedArchs(int *capability) { return memcpy(capability, known, sizeof known), 0; }

int nvrtcCreateProgram(nvrtcProgram *made, const char *source, const char *, int headers,
                       const char *const *texts, const char *const *names)
{
    nvrtcProgram p = (nvrtcProgram)calloc(1, sizeof *p);
    if (!p) return 1;
    strcpy(p->folder, "/tmp/pith-emulator-XXXXXX");
    bool good = mkdtemp(p->folder) && !run("mkdir %s/ops%s", p->folder, "") &&
                put(p->folder, "chains.cpp", source);
    for (int k = 0; k < headers; k++) good = good && put(p->folder, names[k], texts[k]);
    *made = p;
    return !good;
}

int nvrtcCompileProgram(nvrtcProgram p, int, const char *const *)
{
    const int failed =
        run("cd %s && { ${CXX:-g++} -std=c++17 -O1 -fPIC -ffp-contract=off -fno-exceptions "
            "-fno-rtti -fno-threadsafe-statics -fsanitize=thread -Wall -Wextra -Werror "
            "-DPITH_EMULATE -I. -I%s/tests/emulator -c chains.cpp -o chains.o && "
            "${CXX:-g++} -shared chains.o -o chains.so; } >log 2>&1",
            p->folder, PITH_ROOT);
    size_t size = 0;
    char *log = get(p->folder, "log", &size);
    snprintf(p->log, sizeof p->log, "%s", log ? log : "");
    free(log);
    if (!failed) p->code = get(p->folder, "chains.so", &p->size);
    return !p->code;
}

int nvrtcGetProgramLogSize(nvrtcProgram p, size_t *size) { return *size = strlen(p->log) + 1, 0; }
int nvrtcGetProgramLog(nvrtcProgram p, char *log) { return strcpy(log, p->log), 0; }
int nvrtcGetCUBINSize(nvrtcProgram p, size_t *size) { return *size = p->size, 0; }
int nvrtcGetCUBIN(nvrtcProgram p, char *code) { return memcpy(code, p->code, p->size), 0; }

int nvrtcDestroyProgram(nvrtcProgram *p)
{
    run("rm -r %s%s", (*p)->folder, "");
    free((*p)->code);
    free(*p);
    return *p = NULL, 0;
}
}

/* ---- what the runtime makes of machine code ---- */

cudaError_t cudaLibraryLoadData(cudaLibrary_t *library, const void *code, int *, void **, unsigned,
                                int *, void **, unsigned)
{
    char path[] = "/tmp/pith-emulator-XXXXXX";
    const int file = mkstemp(path);
    /* of an ELF file, whose size nobody tells here, the table of sections is the end */
    const unsigned char *elf = (const unsigned char *)code;
    uint64_t sections;
    uint16_t each, count;
    memcpy(&sections, elf + 40, 8);
    memcpy(&each, elf + 58, 2);
    memcpy(&count, elf + 60, 2);
    const size_t size = (size_t)sections + (size_t)each * count;
    const bool written = file >= 0 && write(file, code, size) == (ssize_t)size;
    if (file >= 0) close(file);
    *library = written ? (cudaLibrary_t)dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    unlink(path);
    return *library ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *kernel, cudaLibrary_t library, const char *name)
{
    *kernel = (cudaKernel_t)dlsym(library, name);
    return *kernel ? cudaSuccess : cudaErrorInvalidValue;
}
