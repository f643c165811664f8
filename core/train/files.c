/* files.c: files that are whole or not there at all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "parts.h"

/* A name too long to fit is cut, and the call it is given to fails with a reason of its own. */
void pith_path(char path[PITH_PATH], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(path, PITH_PATH, format, list);
    va_end(list);
}

int pith_sync(const char *path)
{
    const int f = open(path, O_RDONLY);
    const int why = f < 0 || fsync(f) ? errno : 0;
    if (f >= 0) close(f);
    return why;
}

int pith_put_file(const char *path, const void *data, size_t size)
{
    const int f = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (f < 0) return errno;
    int why = 0;
    for (size_t done = 0; done < size && !why;) {
        const ssize_t n = write(f, (const char *)data + done, size - done);
        if (n > 0) done += (size_t)n;
        else if (n == 0 || errno != EINTR) why = n ? errno : ENOSPC;
    }
    if (!why && fsync(f)) why = errno;
    if (close(f) && !why) why = errno;
    return why;
}

bool pith_write_file(const char *path, const void *data, size_t size)
{
    char temporary[PITH_PATH], directory[PITH_PATH];
    pith_path(temporary, "%s.tmp", path);
    pith_path(directory, "%s", path);
    int why = pith_put_file(temporary, data, size);
    if (!why && rename(temporary, path)) why = errno;
    if (!why) why = pith_sync(dirname(directory));
    if (!why) return true;
    unlink(temporary);
    return pith_raise("%s: cannot be written: %s", path, strerror(why));
}

void pith_remove_all(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char inside[PITH_PATH];
        pith_path(inside, "%s/%s", path, e->d_name);
        unlink(inside);
    }
    if (d) closedir(d);
    remove(path);
}

/* FNV-1a over words of eight bytes: as fast as the file is read. */
int pith_hash_bytes_of(const char *path, uint64_t *hash, int64_t *bytes)
{
    enum { WORDS = 8192 };
    uint64_t h = 0xcbf29ce484222325u, *words = calloc(WORDS, 8);
    size_t n = 0;
    *bytes = 0;
    FILE *f = words ? fopen(path, "rb") : NULL;
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
    const int why = pith_hash_bytes_of(path, hash, &bytes);
    return !why || pith_raise("%s: %s", path, strerror(why));
}
