/* source_furniture.c: the source "furniture": rendered pictures of Sweet Home 3D's models, from
 * five catalogues, which are ZIP archives.
 *
 * A catalogue's list has lines as name#7=Washbasin, category#7=Bathroom, icon#7=/scopia/bath.png.
 * Captions are the names, in English, labels the categories. Splits: corpus_split. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "command.h"
#include "source.h"

#define CATALOGUES "usr/share/sweethome3d/furniture"
#define LIST "PluginFurnitureCatalog.properties"
enum { MOST_MODELS = 2000 };

typedef struct {
    char name[256], category[256], icon[256];
} model_entry;

/* Such a list is written in Latin-1, and other letters as \u20ac. */
static void copy_text(char to[256], const char *from)
{
    size_t n = 0;
    while (*from && n + 4 < 256) {
        unsigned code = (unsigned char)*from++;
        int used = 0;
        if (code == '\\' && sscanf(from, "u%4x%n", &code, &used) == 1) from += used;
        if (code < 0x80) to[n++] = (char)code;
        else if (code < 0x800) to[n++] = (char)(0xC0 | code >> 6);
        else to[n++] = (char)(0xE0 | code >> 12), to[n++] = (char)(0x80 | (code >> 6 & 63));
        if (code >= 0x80) to[n++] = (char)(0x80 | (code & 63));
    }
    to[n] = 0;
}

/* Reads the lines KEY#NUMBER=TEXT; returns the largest number. */
static int read_list(char *text, model_entry *all)
{
    int most = 0;
    for (char *line = strtok(text, "\r\n"); line; line = strtok(NULL, "\r\n")) {
        char key[16];
        int number, at = 0;
        if (sscanf(line, "%15[a-z]#%d=%n", key, &number, &at) != 2 || !at) continue;
        if (number < 1 || number > MOST_MODELS) continue;
        model_entry *m = &all[number - 1];
        if (!strcmp(key, "name")) copy_text(m->name, line + at);
        else if (!strcmp(key, "category")) copy_text(m->category, line + at);
        else if (!strcmp(key, "icon")) copy_text(m->icon, line + at);
        if (number > most) most = number;
    }
    return most;
}

/* The picture is read as a file, which has no name and lies in memory. */
static void add_model(corpus *c, const char *zip, size_t zip_size, const model_entry *m,
                      const char *source)
{
    size_t size;
    char path[64];
    char *png = zip_bytes(zip, zip_size, m->icon + (m->icon[0] == '/'), &size);
    const int file = png ? memfd_create("picture", MFD_CLOEXEC) : -1;
    if (file >= 0 && write(file, png, size) == (ssize_t)size) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        corpus_add_file(c, path, m->name, source, corpus_class(c, m->category));
    } else corpus_skip(c, &c->report->missing, source);
    if (file >= 0) close(file);
    free(png);
}

static void add_catalogue(corpus *c, const char *path, const char *below)
{
    size_t size, list_size;
    char *zip = file_bytes(path, &size), source[1024];
    char *list = zip ? zip_bytes(zip, size, LIST, &list_size) : NULL;
    if (!list) pith_raise("%s: not a ZIP archive with a list " LIST, path);
    model_entry *all = room(sizeof *all * MOST_MODELS);
    const int n = read_list(list, all);
    for (int k = 0; k < n; k++) {
        if (!*all[k].icon) continue;
        snprintf(source, sizeof source, "furniture/%s%s%s", below, *all[k].icon == '/' ? "" : "/",
                 all[k].icon);
        add_model(c, zip, size, &all[k], source);
    }
    free(all);
    free(list);
    free(zip);
}

void read_furniture(corpus *c, const char *debs)
{
    file_list f = files_below(debs, CATALOGUES, ".sh3f", "sweethome3d-furniture");
    for (int i = 0; i < f.count; i++) add_catalogue(c, f.path[i], f.path[i] + f.below);
    files_free(&f);
}
