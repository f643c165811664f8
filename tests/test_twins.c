/* test_twins.c: twins: one attribute between them and nothing else, and one batch for both. */
#include "tests.h"
#include "core/data/data.h"
#include "core/data/parts.h"

enum { SIDE = 32, PAIRS = 1200, AREA = SIDE * SIDE };

static pith_pack *pack;
static pith_dataset *train;
static pith_tokenizer *tokenizer;

static int setup(void **state)
{
    if (make_place(state) || !pith_pack_twins(path_of("twins"), SIDE, PAIRS, 3)) return -1;
    pack = pith_pack_open(path_of("twins"));
    train = pith_pack_dataset(pack, PITH_TRAIN, SIDE);
    tokenizer = pack ? pith_tokenizer_train(pack->count, pack->caption, 100) : NULL;
    return tokenizer ? 0 : -1;
}

static int teardown(void **state)
{
    pith_tokenizer_free(tokenizer);
    pith_dataset_close(train);
    pith_pack_close(pack);
    return remove_place(state);
}

/* ---- the set ---- */

typedef struct {
    char word[4][16]; /* size, colour, shape, ground */
} told;

static told words_of(int i)
{
    told t;
    assert_int_equal(sscanf(pack->caption[i], "a %15s %15s %15s on %15s", t.word[0], t.word[1],
                            t.word[2], t.word[3]),
                     4);
    return t;
}

/* In which of their words twins 2k and 2k+1 differ. */
static int difference(int k, told t[2])
{
    int at = -1;
    for (int i = 0; i < 2; i++) t[i] = words_of(2 * k + i);
    for (int a = 0; a < 4; a++) {
        if (!strcmp(t[0].word[a], t[1].word[a])) continue;
        assert_int_equal(at, -1);
        at = a;
    }
    return at;
}

static void twins_differ_in_one_word(void **state)
{
    (void)state;
    int count[4] = { 0 }, split[3] = { 0 };
    assert_int_equal(pack->count, PAIRS);
    assert_int_equal(pack->synthetic_start[PAIRS], 0);
    for (int k = 0; k < PAIRS / 2; k++) {
        told t[2];
        const int at = difference(k, t);
        assert_in_range(at, 0, 3);
        count[at]++;
        assert_int_equal(pack->split[2 * k], pack->split[2 * k + 1]);
        split[pack->split[2 * k]]++;
        assert_int_equal(pack->label[2 * k] != pack->label[2 * k + 1], at == 1 || at == 2);
    }
    for (int a = 0; a < 4; a++) assert_in_range(count[a], 110, 190); /* of 600, 150 expected */
    assert_in_range(split[PITH_VALID], 35, 85);
    assert_in_range(split[PITH_TEST], 35, 85);
}

static bool is_ground(int i, int pixel)
{
    const uint8_t *x = pack->pixels + (size_t)i * 3 * AREA + pixel;
    const char *name = strrchr(pack->caption[i], ' ') + 1;
    const int level = !strcmp(name, "white") ? 255 : !strcmp(name, "grey") ? 158 : 13;
    return x[0] == level && x[AREA] == level && x[2 * AREA] == level;
}

static bool is_hollow(const told *t)
{
    return !strcmp(t->word[2], "ring") || !strcmp(t->word[2], "moon");
}

/* Another colour or ground leaves the object's outline; a larger one covers the smaller one; of two
 * shapes the common middle is the same. So place, turn and tint are equal. */
static void twins_are_equal_otherwise(void **state)
{
    (void)state;
    int looked_at[4] = { 0 };
    for (int k = 0; k < PAIRS / 2; k++) {
        told t[2];
        int outside[2] = { 0 }, equal = 0;
        const int at = difference(k, t), first = 2 * k;
        for (int p = 0; p < AREA; p++) {
            const bool ground[2] = { is_ground(first, p), is_ground(first + 1, p) };
            const uint8_t *x = pack->pixels + (size_t)first * 3 * AREA + p, *y = x + 3 * AREA;
            for (int i = 0; i < 2; i++) outside[i] += !ground[i] && ground[1 - i];
            equal += !ground[0] && !ground[1] && x[0] == y[0] && x[AREA] == y[AREA] &&
                     x[2 * AREA] == y[2 * AREA];
        }
        if (is_hollow(&t[0]) || is_hollow(&t[1])) continue;
        looked_at[at]++;
        if (at == 0) { /* what only one of them covers: the large one */
            const bool large = !strcmp(t[1].word[0], "large");
            assert_true(outside[!large] == 0 && outside[large] > 20);
        }
        if (at == 1 || at == 3) assert_true(outside[0] == 0 && outside[1] == 0);
        if (at == 1) assert_int_equal(equal, 0);
        else assert_true(equal > 0);
    }
    for (int a = 0; a < 4; a++) assert_true(looked_at[a] > 40);
}

static void one_set_a_seed(void **state)
{
    (void)state;
    char why[300];
    const char *again = path_of("again");
    for (int seed = 3; seed < 5; seed++) {
        assert_true(pith_pack_twins(again, SIDE, PAIRS, (uint64_t)seed));
        pith_pack *p = pith_pack_open(again);
        assert_int_equal(p->hash == pack->hash, seed == 3);
        pith_pack_close(p);
    }
    assert_false(pith_pack_twins(again, SIDE, 7, 3));
    snprintf(why, sizeof why,
             "%s: twins come in twos: expected an even number of pictures, found 7", again);
    said(why);
}

/* ---- batches ---- */

static pith_loader_options options(int batch, bool twins)
{
    return (pith_loader_options){ .dataset = train,
                                  .tokenizer = tokenizer,
                                  .batch = batch,
                                  .context = 20,
                                  .std = { 1, 1, 1 },
                                  .seed = 5,
                                  .shuffle = true,
                                  .twins = twins,
                                  .threads = 2 };
}

static void twins_share_a_batch(void **state)
{
    (void)state;
    enum { BATCH = 32, EPOCHS = 3 };
    int *seen = calloc(PAIRS, sizeof *seen), first[EPOCHS];
    const pith_loader_options o = options(BATCH, true);
    pith_loader *l = pith_loader_new(&o, 0);
    const int64_t batches = pith_loader_batches(l);
    assert_int_equal(batches, train->count / BATCH);
    for (int64_t k = 0; k < EPOCHS * batches; k++) {
        const pith_host_batch *b = pith_loader_next(l, NULL);
        if (k % batches == 0) first[k / batches] = b->index[0];
        for (int r = 0; r < BATCH; r += 2) {
            assert_int_equal(b->index[r] % 2, 0);
            assert_int_equal(b->index[r + 1], b->index[r] + 1);
            assert_int_not_equal(b->caption_id[r], b->caption_id[r + 1]);
            for (int i = 0; i < 2; i++) assert_true(++seen[b->index[r + i]] <= b->epoch + 1);
        }
    }
    assert_true(first[0] != first[1] && first[1] != first[2]);
    pith_loader_free(l);
    free(seen);
}

static void an_epoch_holds_each_once(void **state)
{
    (void)state;
    const pith_loader_options o = options(2, true); /* so that no couple is left over */
    int *seen = calloc(PAIRS, sizeof *seen), in_order = 0;
    pith_loader *l = pith_loader_new(&o, 0);
    for (int k = 0; k < train->count / 2; k++) {
        const int at = pith_loader_next(l, NULL)->index[0];
        in_order += at == 2 * k;
        seen[at]++, seen[at + 1]++;
    }
    for (int i = 0; i < train->count; i++) assert_int_equal(seen[i], 1);
    assert_true(in_order < 20);
    pith_loader_free(l);
    free(seen);
}

static void resumed_anywhere(void **state)
{
    (void)state;
    enum { BATCH = 16, BATCHES = 150 };
    int index[BATCHES][BATCH];
    pith_loader_options o = options(BATCH, true);
    for (int from = 0; from < BATCHES; from += 49) {
        pith_loader *l = pith_loader_new(&o, from);
        for (int k = from; k < BATCHES; k++) {
            const pith_host_batch *b = pith_loader_next(l, NULL);
            if (!from) memcpy(index[k], b->index, sizeof *index);
            assert_memory_equal(index[k], b->index, sizeof *index);
        }
        pith_loader_free(l);
        o.threads = from % 2; /* then 0, 1, 0 */
    }
}

static void parted_without_the_option(void **state)
{
    (void)state;
    const pith_loader_options o = options(32, false);
    pith_loader *l = pith_loader_new(&o, 0);
    const pith_host_batch *b = pith_loader_next(l, NULL);
    int together = 0;
    for (int r = 0; r < 32; r += 2) together += b->index[r + 1] == b->index[r] + 1;
    assert_true(together < 3);
    pith_loader_free(l);
}

static void refuses_what_parts_twins(void **state)
{
    (void)state;
    char why[100];
    pith_loader_options o = options(33, true);
    assert_null(pith_loader_new(&o, 0));
    said("a batch of 33 would part twins, expected an even number");
    bool *keep = malloc(PAIRS);
    memset(keep, true, PAIRS);
    keep[train->record(train, 4, 0).place] = false;
    assert_true(pith_pack_keep(pack, keep, path_of("odd")));
    pith_pack *odd = pith_pack_open(path_of("odd"));
    pith_dataset *s = pith_pack_dataset(odd, PITH_TRAIN, SIDE);
    o = options(32, true);
    o.dataset = s;
    assert_null(pith_loader_new(&o, 0));
    snprintf(why, sizeof why, "the split \"train\" has %d pairs, but twins come in twos",
             train->count - 1);
    said(why);
    pith_dataset_close(s);
    pith_pack_close(odd);
    free(keep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twins_differ_in_one_word),
        cmocka_unit_test(twins_are_equal_otherwise),
        cmocka_unit_test(one_set_a_seed),
        cmocka_unit_test(twins_share_a_batch),
        cmocka_unit_test(an_epoch_holds_each_once),
        cmocka_unit_test(resumed_anywhere),
        cmocka_unit_test(parted_without_the_option),
        cmocka_unit_test(refuses_what_parts_twins),
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, setup, teardown);
}
