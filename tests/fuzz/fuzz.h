/* fuzz.h: what the fuzz targets share. A target is one page: LLVMFuzzerTestOneInput gives bytes to
 * one reader of what strangers may write. tests/fuzz/run.sh builds and runs all. */
#ifndef PITH_FUZZ_H
#define PITH_FUZZ_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "pith.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static inline void fuzz_quiet(const char *message, void *context) { (void)message, (void)context; }

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    pith_on_error(fuzz_quiet, NULL);
    return 0;
}

/* The path of a file in memory that holds the bytes, until the next call. */
static inline const char *fuzz_file(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];
    if (file < 0) file = memfd_create("fuzz", 0);
    if (file < 0 || ftruncate(file, 0) || pwrite(file, data, size, 0) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return path;
}

/* A folder of this process in memory, and a file in it that holds the bytes. */
static inline const char *fuzz_folder(void)
{
    const char *folder = getenv("FUZZ_FOLDER"); /* run.sh makes and removes it */
    if (!folder) abort();
    return folder;
}

static inline void fuzz_put(const char *name, const uint8_t *data, size_t size)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f)) abort();
}

/* The bytes as a text, which the caller frees. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    return text;
}
#endif
