/* scratch.c: a folder for the time of this program. */
#include "scratch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "pith.h"

static char folder[4096];

static void leave(void) { rmdir(folder); }

const char *scratch_directory(void)
{
    const char *parent = getenv("TMPDIR");
    if (*folder) return folder;
    snprintf(folder, sizeof folder, "%s/pith-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) pith_raise("%s: no folder can be made: %s", folder, strerror(errno));
    atexit(leave);
    return folder;
}
