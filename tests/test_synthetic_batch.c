/* test_synthetic_batch.c: captions written by a machine: drawn by loaders, and in one pass of the
 * text tower. */
#include "synthetic.h"
#include "core/files/files.h"
#include "core/train/optim.h"
#include "models/models.h"

enum { B = 16, CONTEXT = 24 };

/* ---- loaders ---- */

static pith_loader_options options(pith_synthetic synthetic, double replace, int threads)
{
    return (pith_loader_options){ .dataset = train,
                                  .tokenizer = tokenizer,
                                  .batch = B,
                                  .context = CONTEXT,
                                  .std = { 1, 1, 1 },
                                  .synthetic = synthetic,
                                  .replace = replace,
                                  .seed = 5,
                                  .shuffle = true,
                                  .threads = threads };
}

static uint64_t fingerprint(const pith_host_batch *b)
{
    static const char *const names[] = { "ids",        "positions", "offsets",
                                         "last",       "label",     "index",
                                         "caption_id", "pixels",    "synthetic_caption_id" };
    uint64_t h = pith_hash_bytes(1, b->drawn, sizeof(int) * (size_t)b->captions);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        const pith_field f = pith_batch_field(b, names[k]);
        if (f.data)
            h = pith_hash_bytes(h, f.data, f.count * (f.dtype == PITH_F32 ? sizeof(real) : 4));
    }
    return h;
}

/* Caption t of the batch is the one that was drawn for sample `index`. */
static void is_caption(const pith_host_batch *b, int t, int index)
{
    int ids[CONTEXT];
    const char *text = train->record(train, index, b->drawn[t]).caption;
    assert_non_null(text);
    const int n = pith_encode(tokenizer, text, CONTEXT, ids), from = b->offsets[t];
    assert_int_equal(b->offsets[t + 1] - from, n);
    assert_memory_equal(b->ids + from, ids, sizeof(int) * (size_t)n);
    assert_int_equal(b->last[t], from + n - 1);
    for (int k = 0; k < n; k++) assert_int_equal(b->positions[from + k], k);
}

static void has_what_was_drawn(const pith_host_batch *b, pith_synthetic mode)
{
    assert_int_equal(b->captions, mode == PITH_ADD ? 2 * B : B);
    assert_true(b->offsets[b->captions] <= b->tokens && b->tokens % 16 == 0);
    for (int row = 0; row < B; row++) {
        const int i = b->index[row];
        is_caption(b, row, i);
        if (mode == PITH_ADD) {
            is_caption(b, B + row, i);
            assert_int_equal(b->drawn[row], 0);
            assert_int_equal(b->drawn[B + row] > 0, i % 4 > 0); /* its own if it has no other */
        }
        for (int half = 0; half < b->captions; half += B) {
            const int *id = half ? b->synthetic_caption_id : b->caption_id;
            int first = 0;
            while (strcmp(train->record(train, b->index[first], b->drawn[half + first]).caption,
                          train->record(train, i, b->drawn[half + row]).caption) != 0)
                first++;
            assert_int_equal(id[row], first);
        }
    }
    assert_true((b->synthetic_caption_id != NULL) == (mode == PITH_ADD));
}

static void they_are_drawn(void **state)
{
    (void)state;
    enum { BATCHES = 2000 };
    static const struct {
        pith_synthetic mode;
        double replace;
    } ways[] = { { PITH_REPLACE, 0.3 }, { PITH_REPLACE, 1 }, { PITH_REPLACE, 0 }, { PITH_ADD, 0 } };
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        const bool add = ways[w].mode == PITH_ADD;
        const double p = add ? 1 : ways[w].replace;
        const pith_loader_options o = options(ways[w].mode, ways[w].replace, 0);
        pith_loader *l = pith_loader_new(&o, 0);
        pith_loader_want(l, false, false);
        double n[4] = { 0 }, drawn[4][4] = { { 0 } }; /* by how many a sample has, and which */
        for (int k = 0; k < BATCHES; k++) {
            const int tokens = pith_loader_tokens(l);
            const pith_host_batch *b = pith_loader_next(l, NULL);
            assert_int_equal(b->tokens, tokens);
            has_what_was_drawn(b, ways[w].mode);
            for (int row = 0; row < B; row++) {
                const int has = b->index[row] % 4;
                n[has]++;
                drawn[has][b->drawn[add ? B + row : row]]++;
            }
        }
        for (int has = 0; has < 4; has++)
            for (int c = 0; c < 4; c++) {
                const double expected = !has ? !c : c == 0 ? 1 - p : c <= has ? p / has : 0;
                /* four deviations of the share that so many draws give */
                const double off = fabs(drawn[has][c] / n[has] - expected),
                             most = 4 * sqrt(expected * (1 - expected) / n[has]);
                if (off > most) fail_msg("%g of %d: %g off", drawn[has][c] / n[has], has, off);
            }
        pith_loader_free(l);
    }
}

static void the_same_for_any_threads_and_from_any_start(void **state)
{
    (void)state;
    enum { BATCHES = 40 };
    for (pith_synthetic mode = PITH_OWN_CAPTIONS; mode <= PITH_ADD; mode++) {
        uint64_t first[BATCHES];
        for (int threads = 0; threads < 4; threads++) {
            const pith_loader_options o = options(mode, mode == PITH_REPLACE ? 0.5 : 0, threads);
            const int from = threads == 3 ? 17 : 0; /* as a run that is resumed */
            pith_loader *l = pith_loader_new(&o, from);
            for (int k = from; k < BATCHES; k++) {
                const uint64_t h = fingerprint(pith_loader_next(l, NULL));
                if (!threads) first[k] = h;
                assert_true(first[k] == h);
            }
            pith_loader_free(l);
        }
    }
    pith_loader_options o = options(PITH_REPLACE, 1.5, 0);
    assert_null(pith_loader_new(&o, 0));
    said("the probability that a loader replaces a caption is 1.5, expected 0 to 1");
    o.replace = (double)NAN;
    assert_null(pith_loader_new(&o, 0));
}

/* A set without any is as it was, whatever is asked for; each sample's own caption comes twice. */
static void a_set_without_any(void **state)
{
    (void)state;
    pith_pack *plain = pith_pack_open(path_of("plain"));
    pith_dataset *s = pith_pack_dataset(plain, PITH_TRAIN, 4);
    pith_loader_options o[3];
    pith_loader *l[3];
    for (int mode = 0; mode < 3; mode++) {
        o[mode] = options((pith_synthetic)mode, mode == PITH_REPLACE, 0);
        o[mode].dataset = s;
        l[mode] = pith_loader_new(&o[mode], 0);
    }
    for (int k = 0; k < 10; k++) {
        const pith_host_batch *own = pith_loader_next(l[0], NULL),
                              *replaced = pith_loader_next(l[1], NULL),
                              *both = pith_loader_next(l[2], NULL);
        assert_true(fingerprint(own) == fingerprint(replaced));
        const int n = own->offsets[B];
        assert_int_equal(both->offsets[2 * B], 2 * n);
        assert_memory_equal(both->ids, own->ids, sizeof(int) * (size_t)n);
        assert_memory_equal(both->ids + n, own->ids, sizeof(int) * (size_t)n);
        assert_memory_equal(both->synthetic_caption_id, own->caption_id, sizeof(int) * B);
    }
    for (int mode = 0; mode < 3; mode++) pith_loader_free(l[mode]);
    pith_dataset_close(s);
    pith_pack_close(plain);
}

/* ---- the tower ---- */

typedef struct {
    pith_plan *plan;
    int n;
    node *out[64];
} built;

/* The loss with both captions; its value and its gradients. together: in one pass of the text
 * tower, as clip_batch makes it; else in two, of each half by itself. */
static built build(pith_graph *g, const clip_config *c, const pith_host_batch *b, bool together)
{
    built out = { .n = 1 };
    node *text[2], *raw[2], *features[2], **params;
    const int half[2] = { b->offsets[B], b->offsets[2 * B] - b->offsets[B] };
    const clip_inputs in = together ? clip_inputs_with_synthetic(g, c, B, b->tokens)
                                    : clip_inputs_new(g, c, B, half[0]);
    pith_batch x = clip_batch(g, c, &in);
    if (together) {
        text[0] = x.text, raw[0] = x.text_raw, features[0] = x.text_features;
        text[1] = x.synthetic_text, raw[1] = x.synthetic_text_raw;
        features[1] = x.synthetic_text_features;
    } else {
        int *offsets = malloc(sizeof(int) * (B + 1)), *last = malloc(sizeof(int) * B);
        for (int k = 0; k <= B; k++) offsets[k] = b->offsets[B + k] - half[0];
        for (int k = 0; k < B; k++) last[k] = b->last[B + k] - half[0];
        clip_inputs other = in;
        other.ids = pith_const_array(g, PITH_I32, b->ids + half[0], half[1]);
        other.positions = pith_const_array(g, PITH_I32, b->positions + half[0], half[1]);
        other.offsets = pith_const_array(g, PITH_I32, offsets, B + 1);
        other.last = pith_const_array(g, PITH_I32, last, B);
        other.tokens = half[1];
        const pith_batch y = clip_batch(g, c, &other);
        text[0] = x.text, raw[0] = x.text_raw, features[0] = x.text_features;
        text[1] = y.text, raw[1] = y.text_raw, features[1] = y.text_features;
        free(offsets), free(last);
    }
    node *loss = pith_const(g, 0), *i = pith_arange(g, B);
    for (int k = 0; k < 2; k++) {
        node *logits = pith_mul(pith_matmul_nt(x.image, text[k]), x.scale);
        loss = pith_add(loss, pith_mean(pith_cross_entropy(logits, i), PITH_ALL));
        loss = pith_add(loss, pith_mul_scalar(pith_mean(pith_square(raw[k]), PITH_ALL), 3));
        loss = pith_add(loss, pith_mean(pith_square(features[k]), PITH_ALL));
    }
    out.out[0] = loss;
    const int n = pith_params(g, &params);
    assert_in_range(n, 10, 63);
    assert_true(pith_gradients(loss, n, params, out.out + 1));
    out.n += n;
    if (!(out.plan = pith_plan_new(g, out.n, out.out, NULL))) fail_msg("%s", pith_error());
    pith_host_batch fed = *b;
    if (!together) fed.captions = B, fed.tokens = half[0];
    if (!pith_feed_batch(out.plan, &fed) || !pith_run(out.plan)) fail_msg("%s", pith_error());
    return out;
}

static void one_pass_is_as_good_as_two(void **state)
{
    (void)state;
    const double tolerance = sizeof(real) == 8 ? 1e-9 : 1e-4;
    clip_config c = clip_config_uniform(4, 2, 16, 2, 8, CONTEXT, pith_tokenizer_size(tokenizer), 16,
                                        2, 2, 12);
    const pith_loader_options o = options(PITH_ADD, 0, 0);
    pith_loader *l = pith_loader_new(&o, 0);
    pith_store *s[2] = { pith_store_new(), pith_store_new() }; /* with the same weights */
    for (int k = 0; k < 3; k++) {
        const pith_host_batch *b = pith_loader_next(l, NULL);
        pith_graph *g[2] = { pith_graph_new(s[0], 1), pith_graph_new(s[1], 1) };
        const built one = build(g[0], &c, b, true), two = build(g[1], &c, b, false);
        assert_int_equal(one.n, two.n);
        for (int i = 0; i < one.n; i++) {
            const real *x = value_of(one.plan, one.out[i]), *y = value_of(two.plan, two.out[i]);
            for (size_t e = 0; e < pith_size(one.out[i]); e++)
                if (fabs((double)(x[e] - y[e])) > tolerance * (1 + fabs((double)y[e])))
                    fail_msg("output %d: %g and %g", i, (double)x[e], (double)y[e]);
        }
        pith_plan_free(one.plan), pith_plan_free(two.plan);
        pith_graph_free(g[0]), pith_graph_free(g[1]);
    }
    pith_store_free(s[0]), pith_store_free(s[1]);
    pith_loader_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_drawn),
        cmocka_unit_test(the_same_for_any_threads_and_from_any_start),
        cmocka_unit_test(a_set_without_any),
        cmocka_unit_test(one_pass_is_as_good_as_two),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
