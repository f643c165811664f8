/* uneven.h: a small model for the tests of models. */
#ifndef PITH_UNEVEN_H
#define PITH_UNEVEN_H
#include "tests.h"
#include "models/models.h"

/* Two towers whose layers differ: one without attention in the middle, one without FFN, one whose
 * last block has no attention. */
static inline clip_config uneven(void)
{
    clip_config c;
    assert_true(clip_config_named(&c, "8/4:w12l3h3+w8l4h2f20c6v11:e5:quick_gelu"));
    c.vision.heads[0] = 2, c.vision.heads[1] = 0, c.vision.ffn[0] = 7;
    c.text.heads[1] = 5, c.text.ffn[1] = 0, c.text.heads[3] = 0;
    return c;
}
#endif
