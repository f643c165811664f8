/* source_clipart.c: the source "clipart": openclipart's drawings by many people, with noisy titles,
 * as the web has them.
 *
 * The PNG files of one package have a twin of the same name among the SVG files of the other, whose
 * RDF tells title and creator. Many titles say nothing of the picture, so the file's name is taken
 * instead, without the creator's name and the numbers at its end, where a title
 *     is empty, the creator's name, or has an @, "http" or "Clipart by" in it, or
 *     stands on four pictures or more: it is that of a whole set.
 * Left out: links, the second names of a picture, and the folders shapes/stars (1,378 computed
 * stars) and special (gradients, patterns). Labels are the first folders: animals, buildings ...
 * Splits: corpus_split. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "source.h"

#define PNGS "usr/share/openclipart/png"
#define SVGS "usr/share/openclipart/svg"
enum { OF_A_SET = 4 };

typedef struct {
    char title[256], creator[256];
} words;

/* ---- RDF ------------------------------------------------------------------------------------- */

/* Is this the tag <name ...> or <prefix:name ...>? `p` stands on "<", or on the / of "</". */
static bool is_tag(const char *p, const char *name)
{
    p++;
    const char *at = p + strspn(p, "abcdefghijklmnopqrstuvwxyz");
    if (*at == ':') p = at + 1;
    const size_t n = strlen(name);
    return !strncmp(p, name, n) && (isspace((unsigned char)p[n]) || p[n] == '>');
}

/* The text of a tag, up to the next one, with one space between its words. Entities are written
 * out twice by some: "B &amp;amp; W". */
static void copy_text(char to[256], const char *tag)
{
    static const char *const entity[][2] = { { "amp;", "&" },  { "amp;", "&" }, { "quot;", "\"" },
                                             { "apos;", "'" }, { "lt;", "<" },  { "gt;", ">" } };
    size_t n = 0;
    const char *p = strchr(tag, '>');
    for (p = p && p[-1] != '/' ? p + 1 : ""; *p && *p != '<' && n + 2 < 256; p++) {
        const bool space = isspace((unsigned char)*p) || *p == '_';
        if (!space) to[n++] = *p;
        else if (n && to[n - 1] != ' ') to[n++] = ' ';
    }
    to[n - (n && to[n - 1] == ' ')] = 0;
    for (size_t k = 0; k < sizeof entity / sizeof *entity; k++)
        for (char *s = to; (s = strchr(s, '&')); s++)
            if (!strncmp(s + 1, entity[k][0], strlen(entity[k][0]))) {
                *s = *entity[k][1];
                memmove(s + 1, s + 1 + strlen(entity[k][0]),
                        strlen(s + 1 + strlen(entity[k][0])) + 1);
            }
}

/* Title and creator stand below the tag Work. Titles of persons stand inside further tags. */
static void read_words(words *w, const char *svg)
{
    static const char *const persons[] = { "creator", "publisher", "rights", "contributor" };
    const char *inside = NULL;
    bool work = false;
    for (const char *p = svg; p && (p = strchr(p, '<')); p++) {
        const bool closes = p[1] == '/';
        if (is_tag(p + closes, "Work")) {
            if (closes) return;
            work = true;
        }
        for (size_t k = 0; work && k < sizeof persons / sizeof *persons; k++)
            if (is_tag(p + closes, persons[k])) inside = closes ? NULL : persons[k];
        if (!work || closes || !is_tag(p, "title")) continue;
        if (!inside && !*w->title) copy_text(w->title, p);
        if (inside == persons[0] && !*w->creator) copy_text(w->creator, p);
    }
}

/* ---- captions -------------------------------------------------------------------------------- */

/* The file's name without what stands behind it: "gattina cat architetto f 01" by Architetto
 * Francesco Rollandin is "gattina cat". File names are cut at some length, and so are creators. */
static void name_as_caption(char name[256], const char *path, const char *creator)
{
    char bare[256];
    words_of_name(name, path);
    bare_words(bare, sizeof bare, creator);
    size_t n = strlen(name), digits = n;
    while (digits && (isdigit((unsigned char)name[digits - 1]) || name[digits - 1] == ' '))
        digits--;
    if (digits) name[n = digits] = 0;
    for (char *rest = name; (rest = strchr(rest, ' ')); rest++) {
        const size_t length = strlen(rest + 1);
        if (length >= 2 && !strncasecmp(rest + 1, bare, length)) {
            *rest = 0;
            return;
        }
    }
}

static bool says_nothing(const words *w)
{
    return !*w->title || !strcasecmp(w->title, w->creator) || strchr(w->title, '@') ||
           strstr(w->title, "http") || strstr(w->title, "Clipart by");
}

static words *read_all(const char *debs, const file_list *f)
{
    words *all = room(sizeof *all * (size_t)f->count);
    for (int i = 0; i < f->count; i++) {
        char path[4096];
        const char *below = f->path[i] + f->below;
        size_t size;
        snprintf(path, sizeof path, "%s/" SVGS "/%.*s.svg", debs, (int)strlen(below) - 4, below);
        char *svg = file_bytes(path, &size);
        if (svg) read_words(&all[i], svg);
        free(svg);
    }
    return all;
}

static bool is_left_out(const char *below)
{
    return !strncmp(below, "shapes/stars/", 13) || !strncmp(below, "special/", 8);
}

void read_clipart(corpus *c, const char *debs)
{
    file_list f = files_below(debs, PNGS, ".png", "openclipart-png");
    words *all = read_all(debs, &f);
    pith_table titles = { 0 };
    int *uses = room(sizeof *uses * (size_t)f.count);
    for (int i = 0; i < f.count; i++)
        if (!is_left_out(f.path[i] + f.below))
            uses[pith_table_add(&titles, all[i].title, strlen(all[i].title) + 1)]++;
    for (int i = 0; i < f.count; i++) {
        char caption[256], source[4096], folder[256];
        const char *below = f.path[i] + f.below;
        if (is_left_out(below)) continue;
        const int title = pith_table_find(&titles, all[i].title, strlen(all[i].title) + 1);
        if (uses[title] >= OF_A_SET || says_nothing(&all[i]))
            name_as_caption(caption, below, all[i].creator);
        else snprintf(caption, sizeof caption, "%s", all[i].title);
        snprintf(source, sizeof source, "clipart/%s", below);
        folder_of(folder, below, 1);
        corpus_add_file(c, f.path[i], caption, source, corpus_class(c, folder));
    }
    pith_table_free(&titles);
    free(uses);
    free(all);
    files_free(&f);
}
