/* scratch.c: a temporary folder that is removed when the program ends. */
#include "scratch.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "pith.h"

static char folder[4096];

/* Removes the folder and what is in it. Called by exit, so also after an error. */
static void leave(void)
{
    char path[sizeof folder + 300];
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path);
    }
    if (d) closedir(d);
    rmdir(folder);
}

const char *scratch_directory(void)
{
    const char *parent = getenv("TMPDIR");
    if (*folder) return folder;
    snprintf(folder, sizeof folder, "%s/pith-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) pith_raise("%s: no folder can be made: %s", folder, strerror(errno));
    atexit(leave);
    return folder;
}
