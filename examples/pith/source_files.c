/* source_files.c: files of unpacked packages, and words made of their names: see source.h. */
#include <ctype.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "command.h"
#include "files/files.h"
#include "source.h"

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

file_list files_below(const char *debs, const char *folder, const char *ending, const char *package)
{
    char top[PITH_PATH];
    pith_path(top, "%s/%s", debs, folder);
    file_list f = { .below = strlen(top) + 1 };
    int most = 0;
    FTS *walk = fts_open((char *[]){ top, NULL }, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    for (FTSENT *e; walk && (e = fts_read(walk));) {
        const size_t n = strlen(e->fts_name), end = strlen(ending);
        if (e->fts_info != FTS_F || n <= end || strcmp(e->fts_name + n - end, ending)) continue;
        if (f.count == most) {
            most = 2 * most + 256;
            f.path = realloc(f.path, (size_t)most * sizeof *f.path);
            if (!f.path) pith_raise("%s: no memory", top);
        }
        f.path[f.count++] = strcpy(room(strlen(e->fts_path)), e->fts_path);
    }
    if (walk) fts_close(walk);
    if (!f.count)
        pith_raise("%s: no files *%s there: is the package %s another than Debian 12's?", top,
                   ending, package);
    return f;
}

void files_free(file_list *f)
{
    for (int i = 0; i < f->count; i++) free(f->path[i]);
    free(f->path);
}

char *file_bytes(const char *path, size_t *size)
{
    struct stat info;
    FILE *f = pith_open_regular(path);
    if (!f) return NULL;
    char *bytes = NULL;
    if (!fstat(fileno(f), &info) && info.st_size <= 1 << 30) {
        *size = (size_t)info.st_size;
        bytes = room(*size);
        if (fread(bytes, 1, *size, f) != *size) {
            free(bytes);
            bytes = NULL;
        }
    }
    fclose(f);
    return bytes;
}

void folder_of(char to[256], const char *below, int depth)
{
    size_t end = 0;
    for (size_t n = 0; below[n] && depth; n++)
        if (below[n] == '/') {
            end = n;
            depth--;
        }
    snprintf(to, 256, "%.*s", (int)end, below);
}

void words_of_name(char to[256], const char *path)
{
    const char *name = strrchr(path, '/');
    snprintf(to, 256, "%s", name ? name + 1 : path);
    if (strrchr(to, '.')) *strrchr(to, '.') = 0;
    for (char *s = to; *s; s++)
        if (*s == '_' || *s == '-') *s = ' ';
}

void bare_words(char *to, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 2 < size; text++) {
        const unsigned char c = (unsigned char)*text;
        if (isalnum(c) || c > 127) to[n++] = (char)tolower(c);
        else if (n && to[n - 1] != ' ') to[n++] = ' ';
    }
    to[n - (n && to[n - 1] == ' ')] = 0;
}
