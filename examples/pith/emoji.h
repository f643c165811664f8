/* emoji.h: the emoji data set of the demo. */
#ifndef PITH_EMOJI_H
#define PITH_EMOJI_H
#include "data/data.h"

/* Runs fetch-emoji.sh for `folder` and returns its exit status: 0, or after a message another
 * number, of which 2 means that nothing could be downloaded. */
int pith_emoji_fetch(const char *folder);

/* Packs the emoji that fetch-emoji.sh has put into `debs` into the file `out`: size x size
 * pictures, with Unicode's names as captions and Unicode's groups as labels. Splits: "train",
 * "valid", "composition", "unseen" (Noto's pictures) and "artist" (EmojiOne's); emoji.c gives the
 * rule. */
bool pith_emoji_pack(const char *debs, const char *out, int size, pith_pack_report *report);
#endif
