/* whole.c: writes files completely or not at all: under another name first, which is changed to the
 * right one when everything is on the disk. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core.h"
#include "files.h"

static char *temporary_name(const char *path)
{
    char *name = malloc(strlen(path) + 5);
    return name ? strcat(strcpy(name, path), ".tmp") : NULL;
}

int pith_sync(const char *path)
{
    const int f = open(path, O_RDONLY);
    const int why = f < 0 || fsync(f) ? errno : 0;
    if (f >= 0) close(f);
    return why;
}

FILE *pith_begin_file(const char *path)
{
    char *name = temporary_name(path);
    FILE *f = name ? fopen(name, "wb+") : NULL;
    free(name);
    return f;
}

int pith_end_file(FILE *f, const char *path, bool good)
{
    int why = good ? 0 : errno ? errno : EIO;
    char *name = temporary_name(path), *folder = strdup(path);
    if (!why && (!name || !folder)) why = ENOMEM;
    if (!why && f && (fflush(f) || fsync(fileno(f)))) why = errno;
    if (f && fclose(f) && !why) why = errno;
    if (!why && rename(name, path)) why = errno;
    if (!why) why = pith_sync(dirname(folder));
    if (why && f && name) unlink(name);
    free(name);
    free(folder);
    return why;
}

int pith_put_file(const char *path, const void *data, size_t size)
{
    errno = 0;
    FILE *f = pith_begin_file(path);
    return pith_end_file(f, path, f && fwrite(data, 1, size, f) == size);
}

bool pith_write_file(const char *path, const void *data, size_t size)
{
    if (!pith_given(path, "pith_write_file", "path")) return false;
    if (size && !pith_given(data, "pith_write_file", "data")) return false;
    const int why = pith_put_file(path, data, size);
    return !why || pith_raise("%s: cannot be written: %s", path, strerror(why));
}
