/* synthetic.h: a small set with synthetic captions, for the tests of them. */
#ifndef PITH_TESTS_SYNTHETIC_H
#define PITH_TESTS_SYNTHETIC_H
#include "tests.h"
#include "core/data/data.h"

static pith_pack *pack;
static pith_dataset *train;
static pith_tokenizer *tokenizer;

/* Samples have 0 to 3 synthetic captions in turn; of 40, four have the same own caption. */
static inline bool write_pack(const char *path, bool synthetic)
{
    pith_packer *p = pith_packer_new(path, 4);
    for (int i = 0; i < 40; i++) {
        uint8_t rgb[48] = { (uint8_t)i };
        char text[64];
        snprintf(text, sizeof text, "own %d", i % 10);
        assert_true(pith_packer_add(p, rgb, text, "drawn", "train", i));
        for (int c = 1; synthetic && c <= i % 4; c++) {
            snprintf(text, sizeof text, "synthetic %d of %d%s", c, i,
                     c > 1 ? " and more words" : "");
            assert_true(pith_packer_add_synthetic(p, c == 3 ? "the same for all" : text));
        }
    }
    return pith_packer_finish(p);
}

static inline int setup(void **state)
{
    if (make_place(state) || !write_pack(path_of("set"), true) ||
        !write_pack(path_of("plain"), false))
        return -1;
    pack = pith_pack_open(path_of("set"));
    train = pack ? pith_pack_dataset(pack, PITH_TRAIN, 4) : NULL;
    tokenizer = train ? pith_tokenizer_train(pack->count, pack->caption, 30) : NULL;
    return tokenizer ? 0 : -1;
}

static inline int teardown(void **state)
{
    pith_tokenizer_free(tokenizer);
    pith_dataset_close(train);
    pith_pack_close(pack);
    return remove_place(state);
}
#endif
