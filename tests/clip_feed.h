/* clip_feed.h: a batch for a plan of a CLIP, for tests in which any numbers will do. */
#ifndef PITH_TESTS_CLIP_FEED_H
#define PITH_TESTS_CLIP_FEED_H
#include "tests.h"
#include "models/models.h"

/* Captions of 64 kinds of tokens, all of one length; at most 64 pairs of 32 x 32 pixels. */
static inline void feed_clip(pith_plan *p, const clip_inputs *in)
{
    enum { MOST = 64, LONGEST = 16 };
    static real pixels[MOST * 3 * 32 * 32];
    static int ids[MOST * LONGEST], positions[MOST * LONGEST], offsets[MOST + 1], last[MOST];
    const int length = in->tokens / in->pairs, size = (int)pith_size(in->pixels);
    assert_true(in->pairs <= MOST && length <= LONGEST && size <= MOST * 3 * 32 * 32);
    for (int k = 0; k < size; k++) pixels[k] = (real)sin(k * 0.7);
    for (int k = 0; k < in->tokens; k++)
        ids[k] = (k * 37 + k / length) % 64, positions[k] = k % length;
    for (int k = 0; k <= in->pairs; k++) offsets[k] = k * length;
    for (int k = 0; k < in->pairs; k++) last[k] = offsets[k + 1] - 1;
    pith_feed(p, in->pixels, pixels);
    pith_feed(p, in->ids, ids);
    pith_feed(p, in->positions, positions);
    pith_feed(p, in->offsets, offsets);
    pith_feed(p, in->last, last);
}
#endif
