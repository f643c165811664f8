/* source_emoji_words.c: synthetic captions for the emoji data set: what a machine without eyes can
 * say of a picture by its place in Unicode's list, the parts of its name, and EmojiOne's keywords:
 *
 *     showing woman astronaut with dark skin
 *     person role: woman astronaut with dark skin
 *     woman astronaut with dark skin, from people and body
 *     a woman, astronaut with dark skin
 *     about arrest and enforcement, with dark skin              (police officer: dark skin tone)
 *
 * Captions of every split must stay unseen as far as they are, so none of these is the name of any
 * emoji, whatever its case and punctuation. */
#include "command.h"
#include "source_emoji.h"
#include <ctype.h>
#include <glob.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define KEYWORDS "usr/share/rubygems-integration/all/gems/gemojione-*/config/index.json"
/* Keywords of an emoji: the first, since the later ones are farther fetched, and since few tokens
 * of a caption are read. */
enum { KEPT = 2 };

typedef struct {
    char key[160], text[128];
} keywords;

struct emoji_words {
    keywords *keywords; /* sorted by key */
    int n_keywords, n_names;
    char (*names)[WORDS_ROOM]; /* of all emoji, as bare words, sorted */
};

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

/* ---- EmojiOne's keywords --------------------------------------------------------------------- */

/* Country codes and damaged spellings say little; coarse words are not for a class room. */
static bool is_good(const char *word)
{
    static const char *const coarse[] = { "sex", "vagina", "shit", "shitface" };
    for (size_t k = 0; k < sizeof coarse / sizeof *coarse; k++)
        if (!strcmp(word, coarse[k])) return false;
    return strlen(word) > 2 && !strchr(word, '&');
}

/* "rocket and space" */
static void join(char *to, size_t room, const json_t *list)
{
    const char *word[KEPT];
    int n = 0;
    for (size_t k = 0; n < KEPT && k < json_array_size(list); k++) {
        const char *text = json_string_value(json_array_get(list, k));
        if (text && is_good(text)) word[n++] = text;
    }
    *to = 0;
    for (int k = 0; k < n; k++) {
        const size_t used = strlen(to);
        snprintf(to + used, room - used, "%s%s", !k ? "" : k + 1 < n ? ", " : " and ", word[k]);
    }
}

static bool read_keywords(emoji_words *w, const char *debs)
{
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/%s", debs, KEYWORDS);
    if (glob(pattern, 0, NULL, &found))
        return pith_raise("%s: no such file: pith data fetch emoji fetches it", pattern);
    json_t *all = read_json(found.gl_pathv[0], 0), *one;
    const char *name;
    const bool good = json_is_object(all) ||
                      pith_raise("%s: not EmojiOne's list of keywords", found.gl_pathv[0]);
    w->keywords = room(sizeof *w->keywords * (json_object_size(all) + 1));
    json_object_foreach(all, name, one)
    {
        const char *unicode = json_string_value(json_object_get(one, "unicode"));
        keywords *k = &w->keywords[w->n_keywords];
        read_key(k->key, sizeof k->key, unicode ? unicode : "");
        join(k->text, sizeof k->text, json_object_get(one, "keywords"));
        w->n_keywords += *k->key && *k->text;
    }
    qsort(w->keywords, (size_t)w->n_keywords, sizeof *w->keywords, by_text);
    json_decref(all);
    globfree(&found);
    return good;
}

/* Those of an emoji, or of the same without skin tones; NULL if there are none. */
static const char *keywords_of(const emoji_words *w, const emoji *e)
{
    char key[160] = "";
    for (int k = 0; k < e->codes; k++)
        if (e->code[k] < 0x1F3FB || e->code[k] > 0x1F3FF) add_to_key(key, sizeof key, e->code[k]);
    const keywords *found = bsearch(e->key, w->keywords, (size_t)w->n_keywords, sizeof *found,
                                    by_text);
    if (!found) found = bsearch(key, w->keywords, (size_t)w->n_keywords, sizeof *found, by_text);
    return found ? found->text : NULL;
}

/* ---- a small grammar ------------------------------------------------------------------------- */

/* What stands behind the colon of a name, as one says it: "dark skin tone" is ", with dark skin" or
 * " with dark skin", "flag: Peru" the " of Peru", and anything else stands behind a comma. */
static void say_detail(char to[WORDS_ROOM], const char *base, const char *detail, bool comma)
{
    const bool tones = strstr(detail, "skin tone"), flag = !strcmp(base, "flag");
    const char *from = detail;
    size_t n = 0;
    if (*detail)
        n = (size_t)snprintf(to, WORDS_ROOM, "%s",
                             flag && !comma   ? " of "
                             : !tones || flag ? ", "
                             : comma          ? ", with "
                                              : " with ");
    for (; *from && n + 1 < WORDS_ROOM; from++) {
        if (!strncmp(from, " tone", 5) && (!from[5] || from[5] == ',')) from += 4;
        else to[n++] = *from;
    }
    to[n] = 0;
}

/* "animal-mammal" is "animal mammal", "Food & Drink" is "food and drink". */
static void say_topic(char to[WORDS_ROOM], const char *topic)
{
    size_t n = 0;
    for (; *topic && n + 4 < WORDS_ROOM; topic++) {
        if (*topic == '&') memcpy(to + n, "and", 3), n += 3;
        else to[n++] = *topic == '-' ? ' ' : (char)tolower((unsigned char)*topic);
    }
    to[n] = 0;
}

typedef char texts[MOST_WORDS][WORDS_ROOM];

/* Adds a text, if it is new, to n that are there; returns how many there are then. */
__attribute__((format(printf, 4, 5))) static int say(const emoji_words *w, texts text, int n,
                                                     const char *format, ...)
{
    char bare[WORDS_ROOM], other[WORDS_ROOM];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text[n], WORDS_ROOM, format, arguments);
    va_end(arguments);
    bare_words(bare, WORDS_ROOM, text[n]);
    if (bsearch(bare, w->names, (size_t)w->n_names, sizeof *w->names, by_text)) return n;
    for (int k = 0; k < n; k++) {
        bare_words(other, WORDS_ROOM, text[k]);
        if (!strcmp(bare, other)) return n;
    }
    return n + 1;
}

int emoji_words_of(const emoji_words *w, const emoji *e, char text[MOST_WORDS][WORDS_ROOM])
{
    static const char *const who[] = { "woman ", "man ", "person " };
    char base[256], whole[WORDS_ROOM], topic[WORDS_ROOM], kind[WORDS_ROOM], also[WORDS_ROOM];
    const char *colon = strstr(e->caption, ": "), *about = keywords_of(w, e);
    int n = 0;
    snprintf(base, sizeof base, "%.*s", colon ? (int)(colon - e->caption) : (int)strlen(e->caption),
             e->caption);
    say_detail(whole, base, colon ? colon + 2 : "", false);
    say_detail(also, base, colon ? colon + 2 : "", true);
    say_topic(topic, e->topic);
    say_topic(kind, e->kind);
    n = say(w, text, n, "showing %s%s", base, whole);
    n = say(w, text, n, "%s: %s%s", kind, base, whole);
    n = say(w, text, n, "%s%s, from %s", base, whole, topic);
    if (about) n = say(w, text, n, "about %s%s", about, also);
    for (int k = 0; k < 3; k++) {
        const size_t size = strlen(who[k]);
        if (strncmp(base, who[k], size)) continue;
        n = say(w, text, n, "a %.*s, %s%s", (int)size - 1, base, base + size, whole);
    }
    return n;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

emoji_words *emoji_words_open(const char *debs, const emoji_list *list)
{
    emoji_words *w = room(sizeof *w);
    w->names = room(sizeof *w->names * (size_t)list->count);
    for (; w->n_names < list->count; w->n_names++)
        bare_words(w->names[w->n_names], WORDS_ROOM, list->all[w->n_names].caption);
    qsort(w->names, (size_t)w->n_names, sizeof *w->names, by_text);
    if (read_keywords(w, debs)) return w;
    emoji_words_free(w);
    return NULL;
}

void emoji_words_free(emoji_words *w)
{
    if (!w) return;
    free(w->keywords);
    free(w->names);
    free(w);
}
