/* whole.c: writes files completely or not at all: without a name, or under another one, which is
 * changed to the right one when everything is on the disk. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core.h"
#include "files.h"

/* Of this process alone, so that two may write the same file: the later one's holds. */
static char *temporary_name(const char *path)
{
    char *name = malloc(strlen(path) + 32);
    if (name) sprintf(name, "%s.%ld.tmp", path, (long)getpid());
    return name;
}

int pith_sync(const char *path)
{
    const int f = open(path, O_RDONLY);
    const int why = f < 0 || fsync(f) ? errno : 0;
    if (f >= 0) close(f);
    return why;
}

/* A file without a name, which goes when its process ends, however that is; where the file system
 * has none, one of the temporary name. What is there and is no file, as a device, is not replaced.
 */
FILE *pith_begin_file(const char *path)
{
    struct stat info;
    if (lstat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        return errno = EINVAL, NULL;
    char *name = temporary_name(path), *folder = strdup(path);
    int d = name && folder && access("/proc/self/fd", X_OK) == 0
                ? open(dirname(folder), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666)
                : -1;
    if (name) unlink(name); /* also a link that somebody has laid there */
    if (d < 0 && name) d = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *f = d >= 0 ? fdopen(d, "wb+") : NULL;
    if (d >= 0 && !f) close(d);
    free(name);
    free(folder);
    return f;
}

/* Gives the file its temporary name, if it has none. 0 or an errno. */
static int give_name(FILE *f, const char *name)
{
    char own[64];
    struct stat info;
    if (fstat(fileno(f), &info) || info.st_nlink) return 0;
    snprintf(own, sizeof own, "/proc/self/fd/%d", fileno(f));
    return linkat(AT_FDCWD, own, AT_FDCWD, name, AT_SYMLINK_FOLLOW) ? errno : 0;
}

/* Without waiting, and only what is a file. */
static FILE *open_file(const char *path, int flags, const char *mode)
{
    struct stat info;
    const int d = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0666);
    const bool regular = d >= 0 && fstat(d, &info) == 0 && S_ISREG(info.st_mode);
    FILE *f = regular ? fdopen(d, mode) : NULL;
    if (d >= 0 && !f) close(d);
    if (d >= 0 && !regular) errno = EINVAL;
    return f;
}

FILE *pith_open_regular(const char *path) { return open_file(path, O_RDONLY, "rb"); }

const char *pith_file_error(int why) { return why == EINVAL ? "is no file" : strerror(why); }

char *pith_next_line(FILE *f, const char *path, int number, char room[PITH_LINE], bool *good)
{
    *good = true;
    if (!fgets(room, PITH_LINE, f)) {
        if (ferror(f)) *good = pith_raise("%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    if (strlen(room) == PITH_LINE - 1 && room[PITH_LINE - 2] != '\n') {
        *good = pith_raise("%s:%d: a line of more than %d bytes", path, number, PITH_LINE - 2);
        return NULL;
    }
    room[strcspn(room, "\r\n")] = 0;
    return room + (number == 1 && !strncmp(room, "\xEF\xBB\xBF", 3) ? 3 : 0);
}

FILE *pith_open_own(const char *path)
{
    struct stat info;
    FILE *f = open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, "rb+");
    if (!f || fstat(fileno(f), &info) || info.st_nlink < 2) return f;
    char part[4096]; /* it has another name elsewhere: what is written goes into a copy */
    FILE *copy = pith_begin_file(path);
    bool good = copy != NULL;
    for (size_t n; good && (n = fread(part, 1, sizeof part, f));)
        good = fwrite(part, 1, n, copy) == n;
    good = good && !ferror(f);
    fclose(f);
    const int why = pith_end_file(copy, path, good);
    if (why) return errno = why, NULL;
    return open_file(path, O_RDWR | O_NOFOLLOW, "rb+");
}

int pith_end_file(FILE *f, const char *path, bool good)
{
    int why = good ? 0 : errno ? errno : EIO;
    char *name = temporary_name(path), *folder = strdup(path);
    if (!why && (!name || !folder)) why = ENOMEM;
    if (!why && f && (fflush(f) || fsync(fileno(f)))) why = errno;
    if (!why && f) why = give_name(f, name);
    if (f && fclose(f) && !why) why = errno;
    if (!why && rename(name, path)) why = errno;
    if (!why) why = pith_sync(dirname(folder));
    if (why && f && name) unlink(name);
    free(name);
    free(folder);
    return why;
}

int pith_put_text(const char *path, const char *text)
{
    errno = 0;
    FILE *f = pith_begin_file(path);
    return pith_end_file(f, path, f && fputs(text, f) >= 0 && fputc('\n', f) != EOF);
}

static int put_file(const char *path, const void *data, size_t size)
{
    errno = 0;
    FILE *f = pith_begin_file(path);
    return pith_end_file(f, path, f && fwrite(data, 1, size, f) == size);
}

static bool told(const char *path, int why)
{
    return !why || pith_raise("%s: cannot be written: %s", path, pith_file_error(why));
}

bool pith_write_file(const char *path, const void *data, size_t size)
{
    if (!pith_given(path, "pith_write_file", "path")) return false;
    if (size && !pith_given(data, "pith_write_file", "data")) return false;
    return told(path, put_file(path, data, size));
}

char *pith_read_text(const char *path)
{
    if (!pith_given(path, "pith_read_text", "path")) return NULL;
    FILE *f = pith_open_regular(path);
    if (!f) return pith_raise("%s: %s", path, pith_file_error(errno)), NULL;
    struct stat info;
    const size_t size = fstat(fileno(f), &info) ? 0 : (size_t)info.st_size;
    char *text = calloc(size + 1, 1);
    const bool whole = text && fread(text, 1, size, f) == size;
    fclose(f);
    if (whole && strlen(text) == size) return text;
    if (!text) pith_raise("%s: no memory for its %zu bytes", path, size);
    else if (!whole) pith_raise("%s: cannot be read to its end", path);
    else pith_raise("%s: is no text: it holds a zero byte", path);
    free(text);
    return NULL;
}

bool pith_write_text(const char *path, const char *text)
{
    if (!pith_given(path, "pith_write_text", "path") ||
        !pith_given(text, "pith_write_text", "text"))
        return false;
    return told(path, pith_put_text(path, text));
}
