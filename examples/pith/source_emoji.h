/* source_emoji.h: what source_emoji.c and source_emoji_words.c share. */
#ifndef PITH_SOURCE_EMOJI_H
#define PITH_SOURCE_EMOJI_H
#include "source.h"

typedef struct {
    uint32_t code[16];
    int codes, group;
    bool toned, person;
    char caption[256], key[160]; /* key: the same for both artists, "1F469-1F680" */
    char topic[48], kind[48];    /* Unicode's group and subgroup: "Food & Drink", "food-fruit" */
    const char *split;
} emoji;

typedef struct {
    emoji *all;
    int count;
} emoji_list;

/* Adds a code point to a key. */
void add_to_key(char *key, size_t room, uint32_t code);
/* The key of code points written as "1f469-200d-1f680", up to whatever is no such text. */
void read_key(char *key, size_t room, const char *text);

/* Synthetic captions, made by rule from Unicode's words and EmojiOne's keywords in `debs`. NULL
 * after an error. */
enum { MOST_WORDS = 5, WORDS_ROOM = 800 };
typedef struct emoji_words emoji_words;
emoji_words *emoji_words_open(const char *debs, const emoji_list *list);
/* Those of one emoji, all different, and none equal to the name of any; returns how many. */
int emoji_words_of(const emoji_words *w, const emoji *e, char text[MOST_WORDS][WORDS_ROOM]);
void emoji_words_free(emoji_words *w);
#endif
