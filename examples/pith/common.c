/* common.c: what every command needs: folders, JSON files, and texts of strangers for the
 * terminal. */
#include <errno.h>
#include <jansson.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "command.h"
#include "files/files.h"

void *room(size_t bytes)
{
    void *memory = calloc(1, bytes + 1);
    if (!memory) pith_raise("no memory for %zu bytes", bytes);
    return memory;
}

char *copy_of(const char *text) { return text ? strcpy(room(strlen(text)), text) : NULL; }

void check_output(const char *path, int at, const char *begins)
{
    char folder[4096], found[80] = "";
    struct stat info;
    const size_t size = strlen(begins);
    snprintf(folder, sizeof folder, "%s", path);
    if (stat(path, &info)) {
        if (stat(dirname(folder), &info) || !S_ISDIR(info.st_mode))
            pith_raise("%s: cannot be written: there is no folder %s", path, folder);
        return;
    }
    FILE *f = pith_open_regular(path);
    if (!f) pith_raise("%s: cannot be replaced: %s", path, pith_file_error(errno));
    const bool empty = info.st_size == 0;
    const bool same = fseek(f, at, SEEK_SET) == 0 && fread(found, 1, size, f) == size &&
                      memcmp(found, begins, size) == 0;
    fclose(f);
    if (!empty && !same)
        pith_raise("%s: is there already, and is another kind of file than is to be written: name "
                   "another, or remove it",
                   path);
}

void check_pack(const char *path, const char *kind)
{
    char begins[80];
    snprintf(begins, sizeof begins, "{\"__metadata__\":{\"format\":\"pt\",\"kind\":\"%s\"", kind);
    check_output(path, 8, begins);
}

void check_figures(const char *path)
{
    static const char *const kinds[] = {
        "retrieval", "zero_shot", "probe", "twins", "auc", "kept"
    };
    const char *name;
    json_t *o;
    check_output(path, 0, "{");
    char *text = access(path, F_OK) ? NULL : pith_read_text(path);
    json_t *root = text ? json_loads(text, 0, NULL) : NULL;
    bool figures = !text || !*text || root;
    json_object_foreach(root, name, o)
    {
        bool any = false;
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            any |= json_object_get(o, kinds[k]) != NULL;
        figures &= any;
    }
    if (!figures)
        pith_raise("%s: is there already, and holds no figures of this program: name another, or "
                   "remove it",
                   path);
    json_decref(root);
    free(text);
}

void check_differs(const char *out, const char *other, const char *role)
{
    struct stat a, b;
    if (!other) return;
    const bool both = !stat(out, &a) && !stat(other, &b);
    if (both ? a.st_dev == b.st_dev && a.st_ino == b.st_ino : !strcmp(out, other))
        pith_raise("%s: is to be written, and is also %s", out, role);
}

bool is_directory(const char *name)
{
    struct stat info;
    return stat(name, &info) == 0 && S_ISDIR(info.st_mode);
}

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
        if (!is_directory(part)) pith_raise("%s: expected a directory, found a file", part);
        *p = end;
        if (!end) return;
    }
}

void keep_quiet(const char *message, void *context) { (void)message, (void)context; }

void write_json(const char *path, const json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    pith_write_text(path, text);
    free(text);
}

json_t *read_json(const char *path, size_t flags)
{
    json_error_t error;
    char *text = pith_read_text(path);
    json_t *root = json_loads(text, flags, &error);
    if (!root) pith_raise("%s:%d: not JSON: %s", path, error.line, plain(error.text));
    free(text);
    return root;
}

const char *plain(const char *text)
{
    static char kept[4][1024];
    static int next;
    char *copy = kept[next++ % 4];
    snprintf(copy, sizeof kept[0], "%s", text);
    pith_make_plain(copy, 0);
    return copy;
}
