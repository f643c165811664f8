/* source_stamps.c: the source "stamps": Tux Paint's stamps, photos cut out and drawings, of each
 * NAME.png one sentence in NAME.txt: "A floppy-eared bunny."
 *
 * The first line of that file is English, the others say the same in other languages. The mirror
 * images of a few have no such file and are left out. Splits: corpus_split.
 *
 * Labels are words that two stamps share or more. A caption's word is the last one of the phrase it
 * opens with, before the first punctuation mark, preposition, conjunction or verb of a short list:
 * "tower" of "A round tower with a pink flag.". There is none before an "of", which often follows a
 * mere measure ("A pair of pants."), and in a phrase longer than MOST_WORDS, which is a whole
 * sentence; one or two letters are no word ("The letter b."). */
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "source.h"

#define STAMPS "usr/share/tuxpaint/stamps"
enum { MOST_WORDS = 4 }; /* behind the article */

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

/* The word for what a caption shows; "" if it has none. */
static void read_word(char word[64], const char *caption)
{
    static const char articles[] = " a an the ";
    static const char enders[] = " from in inside on with for at to by as like and or than is are "
                                 "was means stands ";
    char phrase[1024], bare[1024], spaced[1026], *at = bare, *next;
    int words = 0;
    snprintf(phrase, sizeof phrase, "%.*s", (int)strcspn(caption, ".,;:!?("), caption);
    if ((next = strstr(phrase, "—")) || (next = strstr(phrase, "–"))) *next = 0;
    bare_words(bare, sizeof bare, phrase);
    for (*word = 0; (next = strsep(&at, " "));) {
        snprintf(spaced, sizeof spaced, " %s ", next);
        if (!words && strstr(articles, spaced)) continue;
        if (strstr(enders, spaced)) break;
        snprintf(word, 64, "%s", next);
        if (strcmp(next, "of") && ++words <= MOST_WORDS) continue;
        *word = 0;
        break;
    }
    if (strlen(word) < 3) *word = 0;
}

void read_stamps(corpus *c, const char *debs)
{
    file_list f = files_below(debs, STAMPS, ".png", "tuxpaint-stamps-default");
    char(*caption)[1024] = room(sizeof *caption * (size_t)f.count), word[64];
    int *number = room(sizeof *number * (size_t)f.count), *times;
    pith_table words = { 0 };
    for (int i = 0; i < f.count; i++) {
        read_caption(caption[i], f.path[i]);
        read_word(word, caption[i]);
        number[i] = *word ? pith_table_add(&words, word, strlen(word) + 1) : -1;
    }
    times = room(sizeof *times * (size_t)words.count);
    for (int i = 0; i < f.count; i++)
        if (number[i] >= 0) times[number[i]]++;
    for (int i = 0; i < f.count; i++) {
        char source[4096];
        const bool shared = number[i] >= 0 && times[number[i]] > 1;
        const int class = shared ? corpus_class(c, pith_table_key(&words, number[i], NULL)) : -1;
        snprintf(source, sizeof source, "stamps/%s", f.path[i] + f.below);
        corpus_add_file(c, f.path[i], caption[i], source, class);
    }
    pith_table_free(&words);
    free(caption);
    free(number);
    free(times);
    files_free(&f);
}
