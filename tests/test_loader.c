/* test_loader.c: the set of shapes, and batches: the same for any number of threads and from any
 * start, packed, grouped, padded, augmented. */
#include "tests.h"
#include "core/data/data.h"
#include "core/data/parts.h"

static pith_pack *pack;
static pith_dataset *train, *combination;
static pith_tokenizer *tokenizer;
static const pith_augment strong = {
    .crop = 0.5,
    .aspect = 0.3,
    .flip = 0.5,
    .shift = 0.1,
    .rotate = 15,
    .zoom = 0.2,
    .brightness = 0.3,
    .contrast = 0.3,
    .saturation = 0.3,
    .channel = 0.1,
    .blur = 1,
    .noise = 0.05,
};

static int setup(void **state)
{
    if (make_place(state) || !pith_pack_shapes(path_of("shapes"), 16, 600, 3)) return -1;
    pack = pith_pack_open(path_of("shapes"));
    train = pith_pack_dataset(pack, PITH_TRAIN, 16);
    combination = pith_pack_dataset(pack, pith_pack_split(pack, "combination"), 16);
    tokenizer = pack ? pith_tokenizer_train(pack->count, pack->caption, 100) : NULL;
    return tokenizer ? 0 : -1;
}

static int teardown(void **state)
{
    pith_tokenizer_free(tokenizer);
    pith_dataset_close(train);
    pith_dataset_close(combination);
    pith_pack_close(pack);
    return remove_place(state);
}

static pith_loader_options options(int threads)
{
    return (pith_loader_options){
        .dataset = train,
        .tokenizer = tokenizer,
        .batch = 32,
        .context = 20,
        .mean = { 0.5, 0.4, 0.3 },
        .std = { 0.2, 0.3, 0.4 },
        .augment = strong,
        .seed = 5,
        .shuffle = true,
        .threads = threads,
    };
}

static int place_of(const pith_dataset *s, int index) { return s->record(s, index, 0).place; }

static uint64_t fingerprint(const pith_host_batch *b, int batch, int size)
{
    const size_t n = (size_t)batch, tokens = (size_t)b->tokens;
    uint64_t h = pith_hash_bytes(1, b->pixels, sizeof(pith_real) * 3 * n * (size_t)(size * size));
    h = pith_hash_bytes(h, b->ids, sizeof(int) * tokens);
    h = pith_hash_bytes(h, b->positions, sizeof(int) * tokens);
    h = pith_hash_bytes(h, b->offsets, sizeof(int) * (n + 1));
    h = pith_hash_bytes(h, b->last, sizeof(int) * n);
    h = pith_hash_bytes(h, b->caption_id, sizeof(int) * n);
    h = pith_hash_bytes(h, b->label, sizeof(int) * n);
    h = pith_hash_bytes(h, b->index, sizeof(int) * n);
    h = pith_hash_bytes(h, &b->epoch, sizeof b->epoch);
    return pith_hash_bytes(h, &b->sample, sizeof b->sample);
}

static void same_batches_for_any_threads(void **state)
{
    (void)state;
    enum { BATCHES = 50 };
    uint64_t expected[BATCHES];
    for (int threads = 0; threads < 4; threads++) {
        const pith_loader_options o = options(threads);
        pith_loader *l = pith_loader_new(&o, 0);
        double waited = 0;
        for (int k = 0; k < BATCHES; k++) {
            const uint64_t h = fingerprint(pith_loader_next(l, &waited), 32, 16);
            if (threads == 0) expected[k] = h;
            assert_true(h == expected[k]);
        }
        assert_true(waited >= 0 && waited < 60);
        pith_loader_free(l);
    }
    const pith_loader_options o = options(2);
    for (int from = 1; from < BATCHES; from += 16) { /* resumed */
        pith_loader *l = pith_loader_new(&o, from);
        for (int k = from; k < BATCHES; k++)
            assert_true(fingerprint(pith_loader_next(l, NULL), 32, 16) == expected[k]);
        pith_loader_free(l);
    }
}

static void an_epoch_holds_each_pair_once(void **state)
{
    (void)state;
    pith_loader_options o = options(2);
    o.batch = 7;
    pith_loader *l = pith_loader_new(&o, 0);
    const int64_t batches = pith_loader_batches(l);
    int *seen = calloc((size_t)pack->count, sizeof *seen), order[2][7];
    for (int epoch = 0; epoch < 3; epoch++)
        for (int64_t k = 0; k < batches; k++) {
            const pith_host_batch *b = pith_loader_next(l, NULL);
            assert_int_equal(b->sample, 7 * (epoch * batches + k));
            assert_int_equal(b->epoch, epoch);
            if (k == 0 && epoch < 2) memcpy(order[epoch], b->index, sizeof order[epoch]);
            for (int i = 0; i < 7; i++) {
                assert_in_range(b->index[i], 0, train->count - 1);
                const int place_in_pack = place_of(train, b->index[i]);
                assert_int_equal(pack->split[place_in_pack], PITH_TRAIN);
                assert_int_equal(b->label[i], pack->label[place_in_pack]);
                assert_int_equal(++seen[b->index[i]] <= epoch + 1, 1);
            }
        }
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    free(seen);
    pith_loader_free(l);
}

static void batches_are_packed(void **state)
{
    (void)state;
    const pith_loader_options o = options(1);
    pith_loader *l = pith_loader_new(&o, 0);
    int sizes[6], ids[20];
    const int n = pith_loader_sizes(l, sizes);
    assert_in_range(n, 1, 6);
    for (int k = 0; k < n; k++) {
        assert_int_equal(sizes[k] % 16, 0);
        if (k) assert_true(sizes[k] > sizes[k - 1]);
    }
    for (int k = 0; k < 20; k++) {
        const pith_host_batch *b = pith_loader_next(l, NULL);
        bool known = false;
        for (int s = 0; s < n; s++) known = known || b->tokens == sizes[s];
        assert_true(known && b->offsets[32] <= b->tokens && b->pairs == 32);
        for (int i = 0; i < 32; i++) {
            const char *text = pack->caption[place_of(train, b->index[i])];
            const int size = pith_encode(tokenizer, text, 20, ids), from = b->offsets[i];
            assert_int_equal(b->offsets[i + 1] - from, size);
            assert_memory_equal(b->ids + from, ids, sizeof(int) * (size_t)size);
            assert_int_equal(b->positions[from], 0);
            assert_int_equal(b->positions[b->last[i]], size - 1);
            int first = 0;
            while (strcmp(pack->caption[place_of(train, b->index[first])], text) != 0) first++;
            assert_int_equal(b->caption_id[i], first);
        }
        for (int t = b->offsets[32]; t < b->tokens; t++)
            assert_int_equal(b->ids[t] + b->positions[t], 0);
    }
    pith_loader_free(l);
}

static void evaluation_goes_through_once(void **state)
{
    (void)state;
    pith_loader_options o = options(2);
    o.augment = (pith_augment){ 0 };
    o.shuffle = false;
    o.dataset = combination;
    assert_string_equal(combination->split, "combination");
    pith_loader *l = pith_loader_new(&o, 0);
    const pith_host_batch *b;
    int pairs = 0, expected = 0, last = -1;
    for (int i = 0; i < pack->count; i++) expected += pack->split[i] == 3;
    assert_true(expected > 33 && expected % 32 != 0); /* so that the last batch is padded */
    while ((b = pith_loader_next(l, NULL))) {
        for (int i = 0; i < 32; i++) {
            const int real_row = i % b->pairs; /* padding repeats the first rows */
            if (i < b->pairs) assert_int_equal(b->index[i], ++last);
            else assert_int_equal(b->index[i], -1);
            assert_int_equal(b->label[i], b->label[real_row]);
            const int from = place_of(combination, b->index[real_row]);
            for (size_t k = 0; k < 768; k++) {
                const size_t c = k / 256;
                const double x = pack->pixels[768 * (size_t)from + k] / 255.0,
                             got = b->pixels[768 * (size_t)i + k];
                assert_true(fabs(got - (x - o.mean[c]) / o.std[c]) < 1e-5);
            }
        }
        pairs += b->pairs;
    }
    assert_null(pith_loader_next(l, NULL));
    assert_int_equal(pairs, expected);
    assert_int_equal(combination->count, expected);
    assert_int_equal(pith_loader_tokens(l), 0);
    pith_loader_free(l);
    o.batch = 1000; /* one batch, all but a few rows repeated */
    l = pith_loader_new(&o, 0);
    assert_int_equal(pith_loader_next(l, NULL)->pairs, expected);
    assert_null(pith_loader_next(l, NULL));
    pith_loader_free(l);
}

static void views_repeat(void **state)
{
    (void)state;
    pith_loader_options o = options(1);
    o.views = 2;
    pith_loader *l = pith_loader_new(&o, 0);
    const int64_t batches = pith_loader_batches(l);
    for (int64_t k = 0; k < 3 * batches; k++)
        assert_int_equal(pith_loader_next(l, NULL)->view, k / batches % 2);
    pith_loader_free(l);
    o.batch = 1; /* no pair is dropped: a sum over an epoch forgets its order */
    l = pith_loader_new(&o, 0);
    const int n = (int)pith_loader_batches(l);
    uint64_t hash[3] = { 0 };
    for (int k = 0; k < 3 * n; k++) {
        const pith_host_batch *b = pith_loader_next(l, NULL);
        hash[k / n] += pith_hash_bytes((uint64_t)b->index[0], b->pixels, 768 * sizeof(pith_real));
    }
    assert_true(hash[0] == hash[2] && hash[0] != hash[1]);
    pith_loader_free(l);
}

static void pictures_are_resized_once(void **state)
{
    (void)state;
    pith_loader_options o = options(0);
    pith_dataset *large = pith_pack_dataset(pack, PITH_TRAIN, 24);
    o.dataset = large;
    o.batch = 4;
    o.augment = (pith_augment){ 0 };
    pith_loader *l = pith_loader_new(&o, 0);
    const pith_host_batch *b = pith_loader_next(l, NULL);
    uint8_t in[768], out[3 * 24 * 24];
    for (size_t k = 0; k < 768; k++)
        in[k] = pack->pixels[768 * (size_t)place_of(large, b->index[2]) + k % 3 * 256 + k / 3];
    assert_true(pith_resize(in, 16, 16, out, 24, 24));
    for (size_t k = 0; k < 576; k++)
        for (size_t c = 0; c < 3; c++)
            assert_true(fabs(b->pixels[2 * 1728 + c * 576 + k] -
                             (out[3 * k + c] / 255.0 - o.mean[c]) / o.std[c]) < 1e-5);
    pith_loader_free(l);
    pith_dataset_close(large);
}

static void views_stay_in_range(void **state)
{
    (void)state;
    static const double zero[3] = { 0, 0, 0 }, one[3] = { 1, 1, 1 };
    pith_real out[768];
    uint8_t grey[768];
    float *work = malloc(sizeof(float) * pith_augment_room(16));
    double sum = 0, squares = 0;
    memset(grey, 128, sizeof grey);
    for (uint64_t k = 0; k < 500; k++) {
        pith_augment_view(&strong, 9, k, k % 7, 16, pack->pixels + 768 * (k % 50), zero, one, work,
                          out);
        for (int i = 0; i < 768; i++) assert_true(out[i] >= 0 && out[i] <= 1);
    }
    const pith_augment noise = {
        .noise = 0.1
    }; /* deviation uniform in [0, 0.1]: mean square 0.01 / 3 */
    for (uint64_t k = 0; k < 2000; k++) {
        pith_augment_view(&noise, 9, k, 1, 16, grey, zero, one, work, out);
        for (int i = 0; i < 768; i++) {
            const double d = (double)out[i] - 128 / 255.0;
            sum += d / (2000 * 768);
            squares += d * d / (2000 * 768);
        }
    }
    assert_true(fabs(sum) < 3e-4 && fabs(squares - 0.01 / 3) < 2e-4);
    const pith_augment mirror = { .flip = 1 };
    pith_augment_view(&mirror, 9, 0, 1, 16, pack->pixels, zero, one, work, out);
    for (int i = 0; i < 768; i++)
        assert_true(fabs(out[i] - pack->pixels[i / 16 * 16 + 15 - i % 16] / 255.0) < 1e-5);
    const pith_augment soft = { .blur = 1.5 }; /* keeps an even picture */
    pith_augment_view(&soft, 9, 3, 1, 16, grey, zero, one, work, out);
    for (int i = 0; i < 768; i++) assert_true(fabs(out[i] - 128 / 255.0) < 1e-5);
    free(work);
}

static void shapes_hold_out_combinations(void **state)
{
    (void)state;
    int distinct = 0, counts[4] = { 0 };
    for (int i = 0; i < pack->count; i++) {
        int k = 0;
        while (strcmp(pack->caption[k], pack->caption[i]) != 0) k++;
        distinct += k == i;
        counts[pack->split[i]]++;
        const bool held = strstr(pack->caption[i], "yellow circle") ||
                          strstr(pack->caption[i], "purple square");
        if (held) assert_int_equal(pack->split[i], 3);
    }
    assert_true(distinct > 300 && counts[0] > 400 && counts[1] > 30 && counts[2] == 0 &&
                counts[3] > 30);
    const char *again = path_of("again");
    assert_true(pith_pack_shapes(again, 16, 600, 3)); /* the same rule, the same set */
    pith_pack *p = pith_pack_open(again);
    assert_true(p->hash == pack->hash);
    pith_pack_close(p);
    assert_true(pith_pack_shapes(again, 16, 600, 4));
    p = pith_pack_open(again);
    assert_true(p->hash != pack->hash);
    pith_pack_close(p);
}

static void refuses_bad_options(void **state)
{
    (void)state;
    pith_loader_options o = options(0);
    assert_null(pith_pack_dataset(pack, 9, 16));
    said("there is no split number 9: the set has 4 splits");
    assert_null(pith_pack_dataset(pack, PITH_TRAIN, 0));
    said("the side of pictures is 0, expected 1 to 4096");
    pith_dataset *empty = pith_pack_dataset(pack, PITH_TEST, 16);
    o.dataset = empty;
    assert_null(pith_loader_new(&o, 0));
    said("the split \"test\" has no pairs");
    pith_dataset_close(empty);
    o.dataset = train;
    o.batch = 5000;
    assert_null(pith_loader_new(&o, 0));
    assert_non_null(strstr(pith_error(), "a batch of 5000 is more than the"));
    o.batch = 0;
    assert_null(pith_loader_new(&o, 0));
    said("the batch of a loader is 0, expected at least 1");
    o.batch = 4;
    o.views = -1;
    assert_null(pith_loader_new(&o, 0));
    said("the number of fixed views of a loader is -1, expected at least 0");
    o.views = 0;
    o.threads = -2;
    assert_null(pith_loader_new(&o, 0));
    said("the number of threads of a loader is -2, expected at least 0");
    o.threads = 0;
    o.std[1] = 0;
    assert_null(pith_loader_new(&o, 0));
    assert_non_null(strstr(pith_error(), "standard deviation of colour 1 is 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_batches_for_any_threads),
        cmocka_unit_test(an_epoch_holds_each_pair_once),
        cmocka_unit_test(batches_are_packed),
        cmocka_unit_test(evaluation_goes_through_once),
        cmocka_unit_test(views_repeat),
        cmocka_unit_test(pictures_are_resized_once),
        cmocka_unit_test(views_stay_in_range),
        cmocka_unit_test(shapes_hold_out_combinations),
        cmocka_unit_test(refuses_bad_options),
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, setup, teardown);
}
