/* source_tiles.c: the source "tiles": the pixel art of Cataclysm: Dark Days Ahead, from the four of
 * its tilesets that can be read at 20 to 32 pixels.
 *
 * A tileset has sheets of sprites, numbered through all sheets, and a list that gives each id the
 * number of its sprite. What an id is called stands in the game's own data: "folding chair". An
 * object that has no name of its own has that of the one it is copied from. The first sprite of an
 * id is taken; ids without a name are left out. Labels are the kinds of objects: terrain, monster,
 * armor ... Splits: corpus_split, so that a name is held out in all tilesets. */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "source.h"

#define GAME "usr/share/games/cataclysm-dda"

/* ---- what ids are called --------------------------------------------------------------------- */

typedef struct {
    pith_table ids;
    const json_t **object; /* of an id: it has name, type, copy-from */
    int room, roots;
    json_t **root; /* what the objects lie in */
} catalogue;

/* Kinds of which tilesets have pictures; other kinds have the same ids for other things. */
static bool is_drawn(const char *type)
{
    static const char kinds[] =
        " terrain furniture MONSTER trap overmap_terrain vehicle_part AMMO ARMOR BATTERY "
        "BIONIC_ITEM BOOK COMESTIBLE ENGINE GENERIC GUN GUNMOD MAGAZINE PET_ARMOR TOOL TOOLMOD "
        "TOOL_ARMOR WHEEL ";
    char word[64];
    snprintf(word, sizeof word, " %s ", type);
    return strstr(kinds, word) != NULL;
}

static const char *text_at(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void add_object(catalogue *g, const json_t *o)
{
    const char *type = text_at(o, "type"), *id = text_at(o, "id");
    char key[256];
    if (!id) id = text_at(o, "abstract");
    if (!type || !id || !is_drawn(type)) return;
    snprintf(key, sizeof key, "%s%s", strcmp(type, "vehicle_part") ? "" : "vp_", id);
    const int number = pith_table_add(&g->ids, key, strlen(key) + 1);
    if (number < 0) pith_raise("no memory for names");
    if (number >= g->room) {
        g->room = 2 * number + 4096;
        g->object = realloc(g->object, (size_t)g->room * sizeof *g->object);
        if (!g->object) pith_raise("no memory for names");
    }
    g->object[number] = o;
}

static catalogue read_names(const char *debs)
{
    catalogue g = { 0 };
    file_list f = files_below(debs, GAME "/json", ".json", "cataclysm-dda-data");
    g.root = room(sizeof *g.root * (size_t)f.count);
    for (int i = 0; i < f.count; i++) {
        size_t k;
        json_t *o, *root = read_json(f.path[i], 0);
        json_array_foreach(root, k, o) add_object(&g, o);
        g.root[g.roots++] = root;
    }
    files_free(&f);
    return g;
}

/* NULL if it has none; *type: its kind. */
static const char *name_of(const catalogue *g, const char *id, const char **type)
{
    char key[256];
    snprintf(key, sizeof key, "%s", id);
    *type = NULL;
    for (int depth = 0; depth < 16; depth++) {
        const int number = pith_table_find(&g->ids, key, strlen(key) + 1);
        if (number < 0) return NULL;
        const json_t *o = g->object[number], *name = json_object_get(o, "name");
        const char *kind = text_at(o, "type"), *copied = text_at(o, "copy-from");
        if (!*type) *type = kind;
        const char *text = json_is_string(name)   ? json_string_value(name)
                           : text_at(name, "str") ? text_at(name, "str")
                                                  : text_at(name, "str_sp");
        if (text || !copied) return text;
        snprintf(key, sizeof key, "%s%s", strcmp(kind, "vehicle_part") ? "" : "vp_", copied);
    }
    return NULL;
}

/* ---- sprites --------------------------------------------------------------------------------- */

/* The number of the first sprite of "fg": 7, [7, 8], [{"sprite": 7}], [{"sprite": [7, 8]}]. */
static int sprite_of(const json_t *fg)
{
    for (int depth = 0; depth < 4; depth++) {
        if (json_is_integer(fg)) return (int)json_integer_value(fg);
        fg = json_is_array(fg) ? json_array_get(fg, 0) : json_object_get(fg, "sprite");
    }
    return -1;
}

typedef struct {
    pith_picture sheet;
    int width, height, first, across, count; /* of a sprite; of the sprites */
} sheet;

/* Cuts a sprite out; false if the sheet lacks it or nothing of it can be seen. */
static bool cut(const sheet *s, int number, pith_picture *to)
{
    const int n = number - s->first;
    if (n < 0 || n >= s->count) return false;
    const int left = n % s->across * s->width, top = n / s->across * s->height;
    const size_t row = 4 * (size_t)s->width;
    uint8_t seen = 0;
    *to = (pith_picture){ s->width, s->height, room(row * (size_t)s->height) };
    for (int y = 0; y < s->height; y++)
        memcpy(to->rgba + (size_t)y * row,
               s->sheet.rgba + 4 * ((size_t)(top + y) * (size_t)s->sheet.width + (size_t)left),
               row);
    for (size_t k = 3; k < row * (size_t)s->height; k += 4) seen |= to->rgba[k];
    if (!seen) pith_picture_free(to);
    return seen;
}

static int size_of(const json_t *o, const char *key, int otherwise)
{
    const json_int_t n = json_integer_value(json_object_get(o, key));
    return n > 0 && n <= 4096 ? (int)n : otherwise;
}

static void add_sprite(corpus *c, const catalogue *g, const sheet *sheets, int n, const char *set,
                       const char *id, int number)
{
    char source[512], class[64];
    const char *type, *name = name_of(g, id, &type);
    pith_picture p;
    int k = 0;
    if (!name || number < 0) return;
    while (k < n && !cut(&sheets[k], number, &p)) k++;
    if (k == n) return;
    snprintf(source, sizeof source, "tiles/%s/%s", set, id);
    snprintf(class, sizeof class, "%s", type);
    for (char *s = class; *s; s++) *s = (char)tolower((unsigned char)*s);
    corpus_add(c, &p, name, source, NULL, corpus_class(c, class));
    pith_picture_free(&p);
}

static void add_tileset(corpus *c, const catalogue *g, const char *debs, const char *set)
{
    char path[4096];
    size_t i, k, at;
    json_t *part, *tile, *id;
    snprintf(path, sizeof path, "%s/" GAME "/gfx/%s/tile_config.json", debs, set);
    json_t *root = read_json(path, 0);
    const json_t *info = json_array_get(json_object_get(root, "tile_info"), 0);
    const json_t *parts = json_object_get(root, "tiles-new");
    const int n = (int)json_array_size(parts);
    if (!n)
        pith_raise("%s: not a tileset: is the package cataclysm-dda-data another than Debian 12's?",
                   path);
    sheet *sheets = room(sizeof *sheets * (size_t)n);
    json_array_foreach(parts, i, part)
    {
        sheet *s = &sheets[i];
        snprintf(path, sizeof path, "%s/" GAME "/gfx/%s/%s", debs, set,
                 text_at(part, "file") ? text_at(part, "file") : "");
        pith_picture_read(&s->sheet, path);
        s->width = size_of(part, "sprite_width", size_of(info, "width", 32));
        s->height = size_of(part, "sprite_height", size_of(info, "height", 32));
        s->across = s->sheet.width / s->width;
        s->count = s->across * (s->sheet.height / s->height);
        s->first = i ? s[-1].first + s[-1].count : 0;
    }
    json_array_foreach(parts, i, part) json_array_foreach(json_object_get(part, "tiles"), k, tile)
    {
        const json_t *ids = json_object_get(tile, "id");
        const int number = sprite_of(json_object_get(tile, "fg"));
        if (json_is_string(ids)) add_sprite(c, g, sheets, n, set, json_string_value(ids), number);
        json_array_foreach(ids, at, id) if (json_is_string(id))
            add_sprite(c, g, sheets, n, set, json_string_value(id), number);
    }
    for (int s = 0; s < n; s++) pith_picture_free(&sheets[s].sheet);
    free(sheets);
    json_decref(root);
}

void read_tiles(corpus *c, const char *debs)
{
    static const char *const sets[] = { "UltimateCataclysm", "ChibiUltica", "MshockXotto+",
                                        "BrownLikeBears" };
    catalogue g = read_names(debs);
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) add_tileset(c, &g, debs, sets[k]);
    for (int k = 0; k < g.roots; k++) json_decref(g.root[k]);
    pith_table_free(&g.ids);
    free(g.object);
    free(g.root);
}
