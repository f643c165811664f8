/* emoji.h: the emoji data set of the demo. */
#ifndef PITH_EMOJI_H
#define PITH_EMOJI_H
#include "data/data.h"

/* Runs fetch-emoji.sh for `folder`: 0, or its exit status, which it has explained (2: no download).
 */
int pith_emoji_fetch(const char *folder);

/* Packs the emoji found under `debs` (see fetch-emoji.sh) into `out` as size x size pictures with
 * Unicode's names as captions and Unicode's groups as labels. Splits: "train", "valid",
 * "composition", "unseen" (Noto's pictures) and "artist" (EmojiOne's); emoji.c tells the rule. */
bool pith_emoji_pack(const char *debs, const char *out, int size, pith_pack_report *report);
#endif
