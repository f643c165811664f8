/* environment.cpp: what scripts ask of the emulated device, for whom control.h is out of reach. Of
 * these variables the emulator knows; the engine and the program read none of them.
 *
 *     EMULATOR_FAIL=FUNCTION:NTH:ERROR    emulator_fail; several, with commas between them
 *     EMULATOR_COUNT=FUNCTION             emulator_calls, told when the program ends
 *     EMULATOR_MEMORY=BYTES               emulator_memory
 *     EMULATOR_CAPABILITY=75              emulator_capability
 *     EMULATOR_SHADOW=0                   kernels are not watched
 *     EMULATOR_WITHOUT=nvrtc,cublaslt     libraries that are not there */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control.h"

const char *emulator_nvrtc, *emulator_cublaslt;

static void leave_out(const char *library)
{
    if (strcmp(library, "nvrtc") == 0) emulator_nvrtc = "libnvrtc-not-here.so";
    else if (strcmp(library, "cublaslt") == 0) emulator_cublaslt = "libcublasLt-not-here.so";
    else fprintf(stderr, "EMULATOR_WITHOUT: there is no library %s\n", library);
}

static void plan_fault(const char *text)
{
    char function[64];
    int nth, error;
    if (sscanf(text, "%63[^:]:%d:%d", function, &nth, &error) == 3)
        emulator_fail(strdup(function), nth, error);
    else fprintf(stderr, "EMULATOR_FAIL: expected FUNCTION:NTH:ERROR, found \"%s\"\n", text);
}

static void count(void)
{
    const char *function = getenv("EMULATOR_COUNT");
    fprintf(stderr, "%s: %ld calls\n", function, emulator_calls(function));
}

static void each(const char *variable, void (*take)(const char *))
{
    const char *text = getenv(variable);
    char *copy = strdup(text ? text : ""), *rest = copy;
    for (const char *word; (word = strsep(&rest, ","));)
        if (*word) take(word);
    free(copy);
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *memory = getenv("EMULATOR_MEMORY"), *shadow = getenv("EMULATOR_SHADOW"),
               *capability = getenv("EMULATOR_CAPABILITY");
    if (memory) emulator_memory((size_t)strtoull(memory, NULL, 10));
    if (capability) emulator_capability = atoi(capability);
    if (shadow) emulator_shadow = atoi(shadow) != 0;
    if (getenv("EMULATOR_COUNT")) atexit(count);
    each("EMULATOR_WITHOUT", leave_out);
    each("EMULATOR_FAIL", plan_fault);
}
