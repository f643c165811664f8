/* kept.c: what takes long to make, as machine code of source, kept in a folder until another
 * process asks for it. A file holds its whole key, so that nothing is taken for something else, and
 * a hash at its end. What is damaged, or cannot be read or written, is as good as not there. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "core.h"
#include "files.h"

enum { MOST = 1 << 28 }; /* bytes of a file: far more than any has */
static char folder[PITH_PATH];

void pith_keep_kernels(const char *path) { pith_path(folder, "%s", path ? path : ""); }

static void name_file(char path[PITH_PATH], const char *key)
{
    pith_path(path, "%s/%016llx.kernels", folder, (unsigned long long)pith_hash(key, 0));
}

void *pith_kept_find(const char *key, size_t *size)
{
    char path[PITH_PATH];
    struct stat info;
    uint64_t hash;
    const size_t before = strlen(key) + 1;
    name_file(path, key);
    FILE *f = *folder ? pith_open_regular(path) : NULL;
    const size_t whole = f && !fstat(fileno(f), &info) ? (size_t)info.st_size : 0;
    char *all = whole > before + sizeof hash && whole <= MOST ? malloc(whole) : NULL;
    bool good = all && fread(all, 1, whole, f) == whole && memcmp(all, key, before) == 0;
    if (f) fclose(f);
    if (good) {
        *size = whole - before - sizeof hash;
        memcpy(&hash, all + before + *size, sizeof hash);
        good = hash == pith_hash_bytes(PITH_HASH, all, whole - sizeof hash);
    }
    if (good) return memmove(all, all + before, *size);
    free(all);
    return NULL;
}

void pith_kept_add(const char *key, const void *made, size_t size)
{
    char path[PITH_PATH];
    const size_t before = strlen(key) + 1;
    const uint64_t hash = pith_hash_bytes(pith_hash_bytes(PITH_HASH, key, before), made, size);
    name_file(path, key);
    FILE *f = *folder ? pith_begin_file(path) : NULL;
    if (f)
        pith_end_file(f, path,
                      fwrite(key, 1, before, f) == before && fwrite(made, 1, size, f) == size &&
                          fwrite(&hash, sizeof hash, 1, f) == 1);
}
