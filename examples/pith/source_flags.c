/* source_flags.c: the source "flags": flags of countries, named XX.png by ISO 3166's two letters.
 *
 * A caption is "flag: " and the country, as Unicode names its emoji, so that they are one more
 * artist's drawings of the same: "flag: Peru". The country is ISO's common name, else its name,
 * whose parts at a comma change places: "Virgin Islands, British" is "British Virgin Islands".
 * Flags of what ISO 3166 does not list are left out. There are no labels. Splits: corpus_split. */
#include <ctype.h>
#include <jansson.h>
#include <string.h>
#include "command.h"
#include "source.h"

#define FLAGS "usr/share/iso-flags-png-320x240"
#define NAMES "usr/share/iso-codes/json/iso_3166-1.json"

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* "" if no country has these letters. */
static void caption_of(char caption[256], const json_t *countries, const char *letters)
{
    size_t k;
    json_t *country;
    *caption = 0;
    json_array_foreach(countries, k, country)
    {
        const char *code = text_of(country, "alpha_2"), *name = text_of(country, "common_name");
        if (!code || strcasecmp(code, letters)) continue;
        if (!name) name = text_of(country, "name");
        const char *comma = name ? strstr(name, ", ") : NULL;
        if (comma) snprintf(caption, 256, "flag: %s %.*s", comma + 2, (int)(comma - name), name);
        else if (name) snprintf(caption, 256, "flag: %s", name);
    }
}

void read_flags(corpus *c, const char *debs)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", debs, NAMES);
    json_t *root = read_json(path, 0);
    const json_t *countries = json_object_get(root, "3166-1");
    if (!countries) pith_raise("%s: not the list of countries: it has no \"3166-1\"", path);
    file_list f = files_below(debs, FLAGS, ".png", "iso-flags-png-320x240");
    for (int i = 0; i < f.count; i++) {
        char caption[256], source[4096], letters[256];
        words_of_name(letters, f.path[i]);
        caption_of(caption, countries, letters);
        snprintf(source, sizeof source, "flags/%s", f.path[i] + f.below);
        corpus_add_file(c, f.path[i], caption, source, -1);
    }
    files_free(&f);
    json_decref(root);
}
