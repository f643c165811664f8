/* source_stamps.c: the source "stamps": Tux Paint's stamps, photos cut out and drawings, of each
 * NAME.png one sentence in NAME.txt: "A floppy-eared bunny."
 *
 * The first line of that file is English, the others say the same in other languages. The mirror
 * images of a few have no such file and are left out. Labels are words: what a caption is about,
 * the last word before a comma, a full stop or a preposition ("bunny"), where at least two captions
 * are about it and it is no single letter. Splits: corpus_split. */
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "source.h"

#define STAMPS "usr/share/tuxpaint/stamps"

/* The first line of the text beside a picture; "" if there is none. */
static void read_caption(char caption[1024], const char *png)
{
    char path[4096];
    size_t size;
    snprintf(path, sizeof path, "%.*s.txt", (int)(strlen(png) - strlen(".png")), png);
    char *text = file_bytes(path, &size);
    *caption = 0;
    if (!text) return;
    text[strcspn(text, "\r\n")] = 0;
    size_t n = strlen(text);
    while (n && text[n - 1] == ' ') text[--n] = 0;
    snprintf(caption, 1024, "%s", text + strspn(text, " "));
    free(text);
}

static bool is_preposition(const char *word)
{
    static const char *const all[] = { "of", "from", "in", "on",   "with", "for", "at",
                                       "by", "to",   "as", "that", "and",  "or" };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (!strcmp(word, all[k])) return true;
    return false;
}

/* What a caption is about; "" where that has fewer than three letters. */
static void head_word(char to[256], const char *caption)
{
    char phrase[256], bare[256];
    snprintf(phrase, sizeof phrase, "%.*s", (int)strcspn(caption, ",.;:(!?"), caption);
    bare_words(bare, sizeof bare, phrase);
    *to = 0;
    char *rest = bare;
    for (const char *word; (word = strsep(&rest, " ")) && !(*to && is_preposition(word));)
        if (*word) snprintf(to, 256, "%s", word);
    if (strlen(to) < 3) *to = 0;
}

void read_stamps(corpus *c, const char *debs)
{
    file_list f = files_below(debs, STAMPS, ".png", "tuxpaint-stamps-default");
    pith_table words = { 0 };
    char caption[1024], source[4096], word[256];
    int *count = room(sizeof *count * (size_t)f.count);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < f.count; i++) {
            read_caption(caption, f.path[i]);
            head_word(word, caption);
            if (!pass) {
                count[pith_table_add(&words, word, strlen(word) + 1)]++;
                continue;
            }
            const int k = pith_table_find(&words, word, strlen(word) + 1);
            snprintf(source, sizeof source, "stamps/%s", f.path[i] + f.below);
            corpus_add_file(c, f.path[i], caption, source,
                            *word && count[k] > 1 ? corpus_class(c, word) : -1);
        }
    pith_table_free(&words);
    free(count);
    files_free(&f);
}
