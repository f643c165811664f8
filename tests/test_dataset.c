/* test_dataset.c: a set of another kind than the pack, which a loader and a training take all the
 * same; pictures that nobody reads, that are seen twice, or that cannot be decoded; inputs fed by
 * name. */
#include <stdatomic.h>
#include "tests.h"
#include "core/train/train.h"

/* ---- a dataset that draws its pictures when asked ---- */

enum { COUNT = 20, SIDE = 4, BATCH = 6, PICTURE = 3 * SIDE * SIDE };
static const char *const captions[3] = { "one", "two two", "three three three" };
static atomic_int decoded;
static atomic_int bad_from = COUNT; /* from this sample on no picture can be decoded */
static atomic_int views_seen;       /* bits */

static pith_record drawn_record(const pith_dataset *s, int i, int c)
{
    return (pith_record){ c ? NULL : ((const char *const *)s->context)[i % 3], i % 3, 1000 + i };
}

static void draw(int i, uint8_t *pixels)
{
    for (int k = 0; k < PICTURE; k++)
        pixels[k] = (uint8_t)(255 * pith_uniform_at(3, (uint64_t)i, (uint64_t)k));
}

static bool drawn_decode(const pith_dataset *s, int i, int view, uint8_t *pixels, char why[256])
{
    (void)s;
    decoded++;
    views_seen |= 1 << view;
    if (i >= bad_from) return snprintf(why, 256, "the shard ends too early"), false;
    draw(i, pixels);
    return true;
}

static void drawn_close(pith_dataset *s) { s->count = 0; }

static pith_dataset drawn;
static pith_tokenizer *tokenizer;

static int setup(void **state)
{
    drawn = (pith_dataset){ .count = COUNT,
                            .size = SIDE,
                            .split = "drawn",
                            .hash = 0xabc,
                            .context = (void *)(uintptr_t)captions,
                            .record = drawn_record,
                            .decode = drawn_decode,
                            .close = drawn_close };
    tokenizer = pith_tokenizer_train(3, captions, 4);
    return tokenizer ? make_place(state) : -1;
}

static int teardown(void **state)
{
    pith_dataset_close(&drawn);
    pith_dataset_close(NULL);
    pith_tokenizer_free(tokenizer);
    return drawn.count || remove_place(state);
}

static int before_each(void **state)
{
    (void)state;
    decoded = views_seen = 0;
    bad_from = COUNT;
    return 0;
}

static pith_loader_options options(int threads)
{
    return (pith_loader_options){ .dataset = &drawn,
                                  .tokenizer = tokenizer,
                                  .batch = BATCH,
                                  .context = 20,
                                  .mean = { 0.5, 0.5, 0.5 },
                                  .std = { 0.25, 0.25, 0.25 },
                                  .augment = { .flip = 0.5, .brightness = 0.3 },
                                  .seed = 5,
                                  .shuffle = true,
                                  .threads = threads };
}

/* ---- the loader ---- */

static uint64_t hash_of(const pith_real *pixels)
{
    return pith_hash_bytes(1, pixels, sizeof *pixels * BATCH * PICTURE);
}

/* What a batch must hold, made here from the dataset's own functions. */
static void has_what_was_drawn(const pith_host_batch *b, const pith_loader_options *o)
{
    uint8_t pixels[PICTURE];
    pith_real wanted[PICTURE];
    float *work = malloc(sizeof(float) * pith_augment_room(SIDE));
    for (int row = 0; row < BATCH; row++) {
        const int i = b->index[row];
        assert_in_range(i, 0, COUNT - 1);
        assert_int_equal(b->label[row], i % 3);
        draw(i, pixels);
        pith_augment_view(&o->augment, o->seed, (uint64_t)b->epoch, (uint64_t)(1000 + i), SIDE,
                          pixels, o->mean, o->std, work, wanted);
        assert_memory_equal(b->pixels + PICTURE * row, wanted, sizeof wanted);
    }
    free(work);
}

static void any_dataset_will_do(void **state)
{
    (void)state;
    enum { BATCHES = 40 };
    uint64_t first[BATCHES];
    for (int threads = 0; threads < 4; threads++) {
        const pith_loader_options o = options(threads);
        pith_loader *l = pith_loader_new(&o, 0);
        for (int k = 0; k < BATCHES; k++) {
            const int tokens = pith_loader_tokens(l);
            const pith_host_batch *b = pith_loader_next(l, NULL);
            assert_int_equal(b->tokens, tokens);
            assert_int_equal(b->epoch, k / (COUNT / BATCH));
            assert_null(b->second_pixels);
            has_what_was_drawn(b, &o);
            if (!threads) first[k] = hash_of(b->pixels);
            assert_true(hash_of(b->pixels) == first[k]);
        }
        pith_loader_free(l);
    }
    assert_true(decoded >= 4 * BATCHES * BATCH);
    assert_int_equal(views_seen & 0x1fff, 0x1fff); /* one an epoch */
    pith_loader_options o = options(0);
    o.views = 2;
    views_seen = 0;
    pith_loader *l = pith_loader_new(&o, 0);
    for (int k = 0; k < BATCHES; k++) pith_loader_next(l, NULL);
    assert_int_equal(views_seen, 3);
    pith_loader_free(l);
}

/* Whatever was wanted before, a batch has what is wanted when it is asked for. */
static void only_what_is_wanted_is_decoded(void **state)
{
    (void)state;
    for (int threads = 0; threads < 3; threads++) {
        const pith_loader_options o = options(threads);
        pith_loader *l = pith_loader_new(&o, 0);
        decoded = 0;
        pith_loader_want(l, false, false);
        for (int k = 0; k < 9; k++) {
            const pith_host_batch *b = pith_loader_next(l, NULL);
            assert_null(b->pixels);
            assert_null(b->second_pixels);
        }
        assert_int_equal(decoded, 0);
        pith_loader_want(l, true, true);
        for (int k = 0; k < 9; k++) {
            const pith_host_batch *b = pith_loader_next(l, NULL);
            has_what_was_drawn(b, &o);
            assert_non_null(b->second_pixels);
        }
        const int most = BATCH * (9 + threads + 2); /* those made ahead; decoded once for both */
        assert_in_range(decoded, 9 * BATCH, most);
        pith_loader_free(l);
    }
}

static void a_second_view_is_another_one(void **state)
{
    (void)state;
    pith_loader_options o = options(2);
    uint64_t first[2], other[2];
    for (int run = 0; run < 2; run++) {
        pith_loader *l = pith_loader_new(&o, 0);
        pith_loader_want(l, true, true);
        const pith_host_batch *b = pith_loader_next(l, NULL);
        first[run] = hash_of(b->pixels);
        other[run] = hash_of(b->second_pixels);
        pith_loader_free(l);
    }
    assert_true(first[0] == first[1] && other[0] == other[1] && first[0] != other[0]);
    o.augment = (pith_augment){ 0 }; /* nothing random: the same picture twice */
    pith_loader *l = pith_loader_new(&o, 0);
    pith_loader_want(l, true, true);
    const pith_host_batch *b = pith_loader_next(l, NULL);
    assert_true(hash_of(b->pixels) == hash_of(b->second_pixels));
    pith_loader_free(l);
}

static void what_cannot_be_decoded_is_told(void **state)
{
    (void)state;
    for (int threads = 0; threads < 3; threads += 2) {
        const pith_loader_options o = options(threads);
        pith_loader *l = pith_loader_new(&o, 0);
        bad_from = 0;
        assert_null(pith_loader_next(l, NULL));
        said("of the split \"drawn\": the shard ends too early");
        pith_loader_free(l);
        bad_from = COUNT;
    }
    pith_loader_options o = options(0);
    static const char *const none[3] = { "one", NULL, "three" };
    pith_dataset mute = drawn;
    mute.context = (void *)(uintptr_t)none;
    o.dataset = &mute;
    assert_null(pith_loader_new(&o, 0));
    said("sample 1 of the split \"drawn\" has no caption");
}

/* ---- feeding by name ---- */

static void inputs_are_fed_by_name(void **state)
{
    world *w = *state;
    const pith_loader_options o = options(0);
    pith_loader *l = pith_loader_new(&o, 4);
    const pith_host_batch *b = pith_loader_next(l, NULL);
    node *index = pith_input(w->g, "index", PITH_I32, BATCH);
    node *epoch = pith_input(w->g, "epoch", PITH_I32);
    node *pixels = pith_input(w->g, "pixels", PITH_F32, BATCH, PICTURE);
    node *unread = pith_input(w->g, "nobody's", PITH_F32, 2);
    node *own = pith_input(w->g, "own", PITH_F32);
    node *sum = pith_add(pith_sum(pixels, PITH_ALL), own);
    node *out[3] = { pith_gather(pith_cast(pith_arange(w->g, COUNT), PITH_F32), index),
                     pith_cast(epoch, PITH_F32), sum };
    pith_plan *p = pith_plan_new(w->g, 3, out, NULL);
    const node *const *inputs;
    assert_int_equal(pith_plan_inputs(p, &inputs), 4);
    assert_true(inputs[0] == index && inputs[3] == own);
    assert_true(pith_plan_input(p, "epoch") == epoch);
    assert_null(pith_plan_input(p, "nobody's"));
    assert_null(pith_plan_input(p, "label"));
    assert_true(unread->id > 0);
    assert_true(pith_feed_batch(p, b));
    assert_false(pith_run(p));
    said("input own was not fed");
    assert_true(pith_feed(p, own, &(pith_real){ 2 }));
    assert_true(pith_run(p));
    assert_int_equal(pith_scalar(p, out[1]), 4 / (COUNT / BATCH));
    for (int k = 0; k < BATCH; k++)
        assert_true(((const pith_real *)value_of(p, out[0]))[k] == (pith_real)b->index[k]);
    double expected = 2;
    for (int k = 0; k < BATCH * PICTURE; k++) expected += (double)b->pixels[k];
    assert_true(fabs(pith_scalar(p, sum) - expected) < 1e-3);
    pith_plan_free(p);
    node *wide = pith_sum(pith_input(w->g, "pixels", PITH_F32, BATCH, 2 * PICTURE), PITH_ALL);
    p = pith_plan_new(w->g, 1, &wide, NULL);
    assert_false(pith_feed_batch(p, b));
    said("input pixels (6, 96): the batch has 288 real numbers for it");
    pith_plan_free(p);
    node *floating = pith_sum(pith_input(w->g, "label", PITH_F32, BATCH), PITH_ALL);
    p = pith_plan_new(w->g, 1, &floating, NULL);
    assert_false(pith_feed_batch(p, b));
    said("input label (6,): the batch has 6 integers for it");
    pith_plan_free(p);
    pith_loader_free(l);
}

/* ---- a training ---- */

typedef struct {
    bool pictures;
    const char *strange; /* an input that nobody has, or NULL */
    int asked;
    pith_real one;
} told;

static node *loss(void *context, pith_graph *g, int tokens)
{
    told *t = context;
    node *label = pith_input(g, "label", PITH_I32, BATCH);
    node *rows = pith_param(g, "rows", PITH_NORMAL, 0.1, COUNT, 3); /* one a sample */
    node *logits = pith_gather(rows, pith_input(g, "index", PITH_I32, BATCH));
    node *pixels = pith_input(g, "pixels", PITH_F32, BATCH, 3, SIDE, SIDE);
    node *in = pith_param(g, "in", PITH_NORMAL, 0.1, 3, PICTURE);
    if (t->pictures) logits = pith_add(logits, pith_matmul_nt(pith_reshape(pixels, BATCH, -1), in));
    node *y = pith_mean(pith_cross_entropy(logits, label), PITH_ALL);
    y = pith_mul(y, pith_input(g, "one", PITH_F32));
    pith_watch(pith_cast(pith_input(g, "epoch", PITH_I32), PITH_F32), "epoch");
    if (t->strange) y = pith_mul(y, pith_input(g, t->strange, PITH_F32));
    (void)tokens;
    return y;
}

static const void *fetch(void *context, const char *name, const pith_host_batch *b)
{
    told *t = context;
    assert_non_null(b);
    if (strcmp(name, "one") != 0) return NULL;
    t->asked++;
    t->one = 1;
    return &t->one;
}

static bool train(const char *name, told *t, pith_train_result *r)
{
    pith_store *s = pith_store_new();
    char directory[256];
    strcpy(directory, path_of("%s", name));
    const pith_task task = { .context = t, .loss = loss, .fetch = fetch };
    const pith_loader_options data = options(2);
    const pith_train_options o = { .directory = directory,
                                   .steps = 12,
                                   .lr = 0.1,
                                   .beta2 = 0.9,
                                   .epsilon = 1e-6,
                                   .save_every = 5,
                                   .keep = 1 };
    const bool good = pith_train(&task, s, &data, &o, r);
    pith_store_free(s);
    return good;
}

static void a_training_loads_what_its_loss_reads(void **state)
{
    (void)state;
    told captions_only = { .pictures = false }, both = { .pictures = true };
    pith_train_result r;
    if (!train("words", &captions_only, &r)) fail_msg("%s", pith_error());
    assert_int_equal(captions_only.asked, 12);
    assert_int_equal(decoded, 0);
    assert_true(r.loss < 1);
    if (!train("both", &both, &r)) fail_msg("%s", pith_error());
    assert_true(decoded >= 12 * BATCH);
    size_t size;
    char *lines = slurp(path_of("both/metrics.jsonl"), &size);
    assert_non_null(strstr(lines, "{\"step\":3,"));
    assert_non_null(strstr(strstr(lines, "{\"step\":3,"), "\"epoch\":0.0"));
    assert_non_null(strstr(strstr(lines, "{\"step\":4,"), "\"epoch\":1.0"));
    free(lines);
}

static void an_input_nobody_has_is_told(void **state)
{
    (void)state;
    pith_train_result r;
    told t = { .strange = "temperature" };
    assert_false(train("strange", &t, &r));
    said("tests/test_dataset.c:");
    said("input temperature: neither the batch nor the task has an array for it");
    bad_from = 0;
    told both = { .pictures = true };
    assert_false(train("bad", &both, &r));
    said("of the split \"drawn\": the shard ends too early");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(any_dataset_will_do, before_each),
        cmocka_unit_test_setup(only_what_is_wanted_is_decoded, before_each),
        cmocka_unit_test_setup(a_second_view_is_another_one, before_each),
        cmocka_unit_test_setup(what_cannot_be_decoded_is_told, before_each),
        WITH_WORLD(inputs_are_fed_by_name),
        cmocka_unit_test_setup(a_training_loads_what_its_loss_reads, before_each),
        cmocka_unit_test_setup(an_input_nobody_has_is_told, before_each),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
