/* common.c: what every command needs: folders, and texts of strangers for the terminal. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "command.h"

void make_directories(const char *path)
{
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        const char end = *p;
        if (end && end != '/') continue;
        *p = 0;
        if (mkdir(part, 0777) && errno != EEXIST)
            pith_raise("cannot make %s: %s", part, strerror(errno));
        *p = end;
        if (!end) return;
    }
}

void keep_quiet(const char *message, void *context) { (void)message, (void)context; }

const char *plain(const char *text)
{
    static char kept[4][1024];
    static int next;
    char *copy = kept[next++ % 4];
    snprintf(copy, sizeof kept[0], "%s", text);
    pith_make_plain(copy, 0);
    return copy;
}
