/* paths.c: paths, removal and hashes of files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core.h"
#include "files.h"

void pith_path(char path[PITH_PATH], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(path, PITH_PATH, format, list);
    va_end(list);
}

void pith_remove_all(const char *path)
{
    const int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = folder >= 0 ? fdopendir(folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) unlinkat(folder, e->d_name, 0);
    if (d) closedir(d);
    else if (folder >= 0) close(folder);
    remove(path);
}

int pith_take_directory(const char *path)
{
    const int d = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d < 0 || flock(d, LOCK_EX | LOCK_NB) == 0) return d;
    const int why = errno;
    close(d);
    errno = why;
    return -1;
}

int pith_make_own(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) == 0) return 0;
    if (errno != EEXIST || lstat(path, &info)) return errno;
    if (S_ISDIR(info.st_mode)) return 0;
    return unlink(path) || mkdir(path, 0777) ? errno : 0;
}

uint64_t pith_hash_bytes(uint64_t h, const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    for (size_t k = 0; k < size; k++) h = (h ^ b[k]) * 0x100000001b3u;
    return h;
}

/* As FNV-1a, but by words of eight bytes, the last filled up with zeros. A product hands changes on
 * to higher bits only, so the upper half is mixed into the lower after each word. */
int pith_hash_file_try(const char *path, uint64_t *hash, int64_t *bytes)
{
    enum { WORDS = 8192 };
    uint64_t h = PITH_HASH, *words = calloc(WORDS, 8);
    size_t n = 0;
    *bytes = 0;
    FILE *f = words ? pith_open_regular(path) : NULL;
    int why = f ? 0 : errno;
    while (f && (n = fread(words, 1, 8 * WORDS, f))) {
        memset((char *)words + n, 0, 8 * WORDS - n);
        for (size_t k = 0; k < (n + 7) / 8; k++) {
            h = (h ^ words[k]) * 0x100000001b3u;
            h ^= h >> 32;
        }
        *bytes += (int64_t)n;
    }
    if (f && ferror(f)) why = errno;
    if (f) fclose(f);
    free(words);
    *hash = h ^ (uint64_t)*bytes;
    return why;
}

bool pith_hash_file(const char *path, uint64_t *hash)
{
    int64_t bytes;
    const int why = pith_hash_file_try(path, hash, &bytes);
    return !why || pith_raise("%s: %s", path, strerror(why));
}

const char *pith_hash_text(uint64_t h, char text[17])
{
    snprintf(text, 17, "%016" PRIx64, h);
    return text;
}
