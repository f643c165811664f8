/* scratch.c: a temporary folder that is removed when the program ends. */
#include "scratch.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "files/files.h"

static char folder[4096];

static void leave(void) { pith_remove_all(folder); } /* called by exit, so also after an error */

const char *scratch_directory(void)
{
    const char *parent = getenv("TMPDIR");
    if (*folder) return folder;
    snprintf(folder, sizeof folder, "%s/pith-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) pith_raise("%s: no folder can be made: %s", folder, strerror(errno));
    atexit(leave);
    return folder;
}
