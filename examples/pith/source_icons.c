/* source_icons.c: the source "icons": seven icon themes that draw the same names, each in its own
 * style: oxygen, gnome, mate, Tango, elementary-xfce, Adwaita and nuoveXT2 (of lxde).
 *
 * A caption is the name with spaces, "network server"; links, other names of a picture, are left
 * out, and so are symbols of one colour and strips of many pictures. Of each name a theme gives its
 * largest picture, of at least 32 pixels. Labels are the themes' folders: actions, apps, devices
 * ... Splits: corpus_split, so that a name is held out in all themes. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "source.h"

#define ICONS "usr/share/icons"
enum { LEAST = 32 };

typedef struct {
    const char *path;
    char name[256], folder[256];
    int size;
} icon;

/* Below the theme a path is SIZE/folder/NAME.png or folder/SIZE/NAME.png, perhaps with one more
 * folder in front. */
static bool parse(icon *i, const char *path, const char *below)
{
    char part[256];
    *i = (icon){ .path = path };
    for (const char *end; (end = strchr(below, '/')); below = end + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(end - below), below);
        if (isdigit((unsigned char)*part)) i->size = atoi(part);
        else snprintf(i->folder, sizeof i->folder, "%s", part);
    }
    words_of_name(i->name, path);
    const bool symbol = strstr(i->name, " symbolic");
    const bool strip = !strcmp(i->folder, "animations"); /* many pictures in one */
    return i->size >= LEAST && *i->folder && *i->name && !symbol && !strip;
}

/* By name; of one name the largest first. */
static int by_name(const void *a, const void *b)
{
    const icon *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : x->size != y->size ? y->size - x->size : strcmp(x->path, y->path);
}

static void add_theme(corpus *c, const char *debs, const char *theme, const char *package)
{
    char folder[256], source[4096];
    snprintf(folder, sizeof folder, ICONS "/%s", theme);
    file_list f = files_below(debs, folder, ".png", package);
    icon *all = room(sizeof *all * (size_t)f.count);
    size_t n = 0;
    for (int i = 0; i < f.count; i++) n += parse(&all[n], f.path[i], f.path[i] + f.below);
    qsort(all, n, sizeof *all, by_name);
    for (size_t k = 0; k < n; k++) {
        if (k && !strcmp(all[k].name, all[k - 1].name)) continue;
        snprintf(source, sizeof source, "icons/%s/%s", theme, all[k].path + f.below);
        corpus_add_file(c, all[k].path, all[k].name, source, corpus_class(c, all[k].folder));
    }
    free(all);
    files_free(&f);
}

void read_icons(corpus *c, const char *debs)
{
    static const char *const themes[][2] = {
        { "oxygen", "oxygen-icon-theme" },   { "gnome", "gnome-icon-theme" },
        { "mate", "mate-icon-theme" },       { "Tango", "tango-icon-theme" },
        { "Adwaita", "adwaita-icon-theme" }, { "elementary-xfce", "elementary-xfce-icon-theme" },
        { "nuoveXT2", "lxde-icon-theme" },
    };
    for (size_t k = 0; k < sizeof themes / sizeof *themes; k++)
        add_theme(c, debs, themes[k][0], themes[k][1]);
}
