/* scratch.c: a temporary folder that is removed when the program ends. */
#include "scratch.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "files/files.h"

static char folder[4096];

static void leave(void) { pith_remove_all(folder); } /* called by exit, so also after an error */

/* What is in it has no name yet, or is gone already, but while a compiler runs. */
static void end(int number)
{
    rmdir(folder);
    signal(number, SIG_DFL);
    raise(number);
}

const char *scratch_directory(void)
{
    const char *parent = getenv("TMPDIR");
    if (*folder) return folder;
    if (parent && strchr(parent, '\''))
        pith_raise("TMPDIR is %s, expected a folder without a quote in its name", parent);
    snprintf(folder, sizeof folder, "%s/pith-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) pith_raise("%s: no folder can be made: %s", folder, strerror(errno));
    atexit(leave);
    signal(SIGINT, end);
    signal(SIGTERM, end);
    return folder;
}
