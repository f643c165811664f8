/* source_emoji.c: the sources "emoji", Unicode's list of emoji, drawn by two artists, and
 * "twemoji", drawn by a third one.
 *
 * Noto's pictures lie in a font: HarfBuzz turns a sequence of code points into a glyph, FreeType
 * gives its picture. EmojiOne's are PNG files named by code points. A caption is Unicode's name, so
 * both artists share it.
 *
 * The splits follow a rule, not chance, and each asks one question:
 *     composition   a fifth of the emoji with skin tones: "woman astronaut: dark skin tone" is
 *                   never trained on, while "woman astronaut" and other dark skin tones are
 *     unseen        12 % of the emoji that show no people: captions never trained on
 *     artist        EmojiOne's picture of every caption trained on; its others are left out
 *     valid         4 % of the emoji with skin tones, for a look during training
 *     train         the rest; all but "artist" are Noto's
 * Sizes with Debian 12's packages: 352, 180, 1,538, 87, 3,036. Pictures of "train" have 11,406
 * synthetic captions, too: see source_emoji_words.c. Labels are Unicode's groups.
 *
 * Twemoji's pictures lie in a font that comes with Firefox, in splits as Noto's: what is held out
 * of the one is held out of the other. They have no synthetic captions. */
#include "source_emoji.h"
#include <ctype.h>
#include <ft2build.h>
#include FT_FREETYPE_H
#include <glob.h>
#include <hb-ft.h>
#include <hb.h>
#include <stdlib.h>
#include <string.h>
#include "files/files.h"

#define LIST "usr/share/unicode/emoji/emoji-test.txt"
#define NOTO "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
#define TWEMOJI "usr/lib/firefox-esr/fonts/TwemojiMozilla.ttf"
#define PNGS "usr/share/rubygems-integration/all/gems/gemojione-*/assets/png/*.png"

typedef struct {
    char key[160];
    const char *path;
} drawing;

typedef struct {
    corpus *to;
    emoji_list list;
    emoji_words *words; /* NULL: no synthetic captions */
} job;

/* ---- Unicode's list -------------------------------------------------------------------------- */

static const char *split_of(const emoji *e)
{
    const int d = per_mille(e->caption);
    if (e->toned) return d < 200 ? "composition" : d < 240 ? "valid" : "train";
    return !e->person && d < 120 ? "unseen" : "train";
}

/* All but the joiner (200D) and the request for colour (FE0F), which only one of the artists
 * writes. */
void add_to_key(char *key, size_t room, uint32_t code)
{
    if (code == 0x200D || code == 0xFE0F) return;
    const size_t used = strlen(key);
    snprintf(key + used, room - used, used ? "-%04X" : "%04X", (unsigned)code);
}

void read_key(char *key, size_t room, const char *text)
{
    for (char *end; isxdigit((unsigned char)*text); text = *end == '-' ? end + 1 : end)
        add_to_key(key, room, (uint32_t)strtoul(text, &end, 16));
}

/* Turns curly quotes, of three bytes each, into ' and ", which people write. */
static void plain_quotes(char *s)
{
    char *to = s;
    for (; *s; s++) {
        const bool curly = !strncmp(s, "\xE2\x80", 2) && s[2] >= '\x98' && s[2] <= '\x9D';
        *to++ = !curly ? *s : s[2] <= '\x99' ? '\'' : '"';
        s += curly ? 2 : 0;
    }
    *to = 0;
}

/* A line is: 1F469 200D 1F680 ; fully-qualified # (the emoji) E4.0 woman astronaut */
static bool parse_line(char *line, emoji *e)
{
    char *status = strchr(line, ';'), *comment = status ? strchr(status, '#') : NULL;
    if (!comment || !strstr(status, "; fully-qualified")) return false;
    for (char *p = line, *end; e->codes < 16; p = end) {
        const uint32_t code = (uint32_t)strtoul(p, &end, 16);
        if (end == p) break;
        e->code[e->codes++] = code;
        e->toned |= code >= 0x1F3FB && code <= 0x1F3FF;
        add_to_key(e->key, sizeof e->key, code);
    }
    int name = 0;
    sscanf(comment, "# %*s E%*s %n", &name);
    comment[strcspn(comment, "\r\n")] = 0;
    snprintf(e->caption, sizeof e->caption, "%s", comment + name);
    plain_quotes(e->caption);
    return name > 0 && e->codes > 0;
}

static void read_list(const char *debs, emoji_list *list)
{
    char path[4096], line[256], group[48] = "", kind[48] = "", previous[48] = "";
    snprintf(path, sizeof path, "%s/%s", debs, LIST);
    FILE *f = fopen(path, "r");
    if (!f)
        pith_raise("%s: no such file: is the package unicode-data another than Debian 12's?", path);
    int room = 0, groups = 0;
    while (fgets(line, sizeof line, f)) {
        emoji e = { 0 };
        sscanf(line, "# group: %47[^\r\n]", group);
        sscanf(line, "# subgroup: %47[^\r\n]", kind);
        if (!parse_line(line, &e)) continue;
        if (strcmp(group, previous)) { /* a new group, which has at least this emoji */
            strcpy(previous, group);
            groups++;
        }
        e.group = groups - 1;
        strcpy(e.topic, group);
        strcpy(e.kind, kind);
        e.person = !strcmp(group, "People & Body");
        e.split = split_of(&e);
        if (list->count == room) {
            room = room ? 2 * room : 1024;
            list->all = realloc(list->all, (size_t)room * sizeof *list->all);
        }
        list->all[list->count++] = e;
    }
    fclose(f);
    if (!list->count) pith_raise("%s: not Unicode's list of emoji", path);
}

static void add(job *j, const pith_picture *p, const emoji *e, const char *source,
                const char *split)
{
    char text[MOST_WORDS][WORDS_ROOM];
    corpus_add(j->to, p, e->caption, source, split, e->group);
    const int n = j->words && !strcmp(split, "train") ? emoji_words_of(j->words, e, text) : 0;
    for (int k = 0; k < n; k++) corpus_add_synthetic(j->to, text[k]);
}

/* ---- Noto and Twemoji: fonts ------------------------------------------------------------------
 */

/* The glyph for the whole sequence; 0 if the font has none, for it then gives one for each part. */
static uint32_t shape(hb_font_t *font, hb_buffer_t *buffer, const emoji *e)
{
    hb_buffer_clear_contents(buffer);
    hb_buffer_add_utf32(buffer, e->code, e->codes, 0, e->codes);
    hb_buffer_set_flags(buffer, HB_BUFFER_FLAG_REMOVE_DEFAULT_IGNORABLES);
    hb_buffer_guess_segment_properties(buffer);
    hb_shape(font, buffer, NULL, 0);
    unsigned count;
    const hb_glyph_info_t *glyphs = hb_buffer_get_glyph_infos(buffer, &count);
    return count == 1 ? glyphs[0].codepoint : 0;
}

/* Copies FreeType's picture of a glyph and lays it on white. Its colours are blue, green, red,
 * alpha, and already multiplied by alpha. */
static bool picture_of_glyph(FT_Face face, uint32_t glyph, pith_picture *p)
{
    if (FT_Load_Glyph(face, glyph, FT_LOAD_COLOR | FT_LOAD_RENDER)) return false;
    const FT_Bitmap *b = &face->glyph->bitmap;
    if (b->pixel_mode != FT_PIXEL_MODE_BGRA || !b->width || !b->rows) return false;
    uint8_t *to = realloc(p->rgba, (size_t)b->width * b->rows * 4);
    *p = (pith_picture){ (int)b->width, (int)b->rows, to };
    for (unsigned y = 0; y < b->rows; y++)
        for (unsigned x = 0; x < b->width; x++, to += 4) {
            const uint8_t *from = b->buffer + (ptrdiff_t)y * b->pitch + 4 * (ptrdiff_t)x;
            for (int c = 0; c < 3; c++) to[c] = (uint8_t)(from[2 - c] + 255 - from[3]);
            to[3] = 255;
        }
    return true;
}

static void add_glyphs(job *j, FT_Face face, const char *artist)
{
    hb_font_t *font = hb_ft_font_create_referenced(face);
    hb_buffer_t *buffer = hb_buffer_create();
    pith_picture p = { 0 };
    for (int i = 0; i < j->list.count; i++) {
        const emoji *e = &j->list.all[i];
        const uint32_t glyph = shape(font, buffer, e);
        char source[176];
        snprintf(source, sizeof source, "%s/%s", artist, e->key);
        if (!glyph) corpus_skip(j->to, &j->to->report->missing, source);
        else if (!picture_of_glyph(face, glyph, &p))
            corpus_skip(j->to, &j->to->report->unreadable, source);
        else add(j, &p, e, source, e->split);
    }
    free(p.rgba);
    hb_buffer_destroy(buffer);
    hb_font_destroy(font);
}

static void add_font(job *j, const char *debs, const char *file, const char *artist)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", debs, file);
    FT_Library library;
    FT_Face face;
    if (FT_Init_FreeType(&library)) pith_raise("FreeType does not start");
    if (FT_New_Face(library, path, 0, &face)) pith_raise("%s: not a font", path);
    /* Noto has pictures of one size, 136 x 128; a font of coloured outlines can be drawn at any
     * size. */
    const bool sized = face->num_fixed_sizes ? !FT_Select_Size(face, 0)
                                             : !FT_Set_Pixel_Sizes(face, 0, 109);
    if (!sized || !FT_HAS_COLOR(face)) pith_raise("%s: a font without colours", path);
    const int before = j->to->count;
    add_glyphs(j, face, artist);
    FT_Done_Face(face);
    FT_Done_FreeType(library);
    if (j->to->count == before) pith_raise("%s: FreeType finds no coloured picture in it", path);
}

/* ---- EmojiOne: a folder of PNGs -------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    return strcmp(((const drawing *)a)->key, ((const drawing *)b)->key);
}

static void add_emojione(job *j, const char *debs)
{
    char pattern[4096], why[256];
    snprintf(pattern, sizeof pattern, "%s/%s", debs, PNGS);
    glob_t found;
    if (glob(pattern, 0, NULL, &found))
        pith_raise("%s: no such files: is the package ruby-gemojione another than Debian 12's?",
                   pattern);
    drawing *drawings = calloc(found.gl_pathc, sizeof *drawings);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        drawings[i].path = found.gl_pathv[i];
        read_key(drawings[i].key, sizeof drawings[i].key, strrchr(found.gl_pathv[i], '/') + 1);
    }
    qsort(drawings, found.gl_pathc, sizeof *drawings, by_key);
    for (int i = 0; i < j->list.count; i++) {
        const emoji *e = &j->list.all[i];
        drawing wanted;
        strcpy(wanted.key, e->key);
        const drawing *d = bsearch(&wanted, drawings, found.gl_pathc, sizeof *drawings, by_key);
        char source[176];
        snprintf(source, sizeof source, "emojione/%s", e->key);
        pith_picture p;
        if (!d || strcmp(e->split, "train")) continue;
        if (!pith_picture_try(&p, d->path, why)) {
            corpus_skip(j->to, &j->to->report->unreadable, d->path);
            continue;
        }
        add(j, &p, e, source, "artist");
        pith_picture_free(&p);
    }
    free(drawings);
    globfree(&found);
}

/* ---- the two sources ------------------------------------------------------------------------- */

void read_emoji(corpus *c, const char *debs)
{
    job j = { .to = c };
    read_list(debs, &j.list);
    j.words = emoji_words_open(debs, &j.list);
    add_font(&j, debs, NOTO, "noto");
    add_emojione(&j, debs);
    emoji_words_free(j.words);
    free(j.list.all);
}

void read_twemoji(corpus *c, const char *debs)
{
    job j = { .to = c };
    read_list(debs, &j.list);
    add_font(&j, debs, TWEMOJI, "twemoji");
    free(j.list.all);
}
