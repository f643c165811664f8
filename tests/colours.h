/* colours.h: a small task for the tests of the loop: which of three colours, from picture and
 * words. */
#ifndef PITH_COLOURS_H
#define PITH_COLOURS_H
#include <signal.h>
#include "tests.h"
#include "train/train.h"

enum { SIDE = 4, PAIRS = 60, BATCH = 8, STEPS = 40, WIDTH = 6, CLASSES = 3 };

typedef struct {
    pith_store *store;
    int n_sizes;                  /* how many sizes of batch there were */
    int steps, stop_at, bad_from; /* -1: never */
    int bad_noted;                /* up to here what is noted in a state is NaN; 0: never */
    pith_real weight, noted;      /* fed: 1, or NaN in bad steps */
} scene;

static void make_pack(const char *path)
{
    static const char *const words[] = { "red", "a green thing", "the very very blue one here" };
    pith_packer *p = pith_packer_new(path, SIDE);
    assert_non_null(p);
    for (int i = 0; i < PAIRS; i++) {
        uint8_t rgb[3 * SIDE * SIDE];
        for (int k = 0; k < 3 * SIDE * SIDE; k++)
            rgb[k] = (uint8_t)(200 * (k % 3 == i % 3) +
                               (int)(40 * pith_uniform_at(7, (uint64_t)i, (uint64_t)k)));
        assert_true(pith_packer_add(p, rgb, words[i % 3], "drawn", "train", i % 3));
    }
    assert_true(pith_packer_finish(p));
}

static pith_node *colour_loss(void *context, pith_graph *g, int tokens)
{
    scene *w = context;
    w->n_sizes++;
    node *pixels = pith_input(g, "pixels", PITH_F32, BATCH, 3, SIDE, SIDE);
    node *ids = pith_input(g, "ids", PITH_I32, tokens);
    node *last = pith_input(g, "last", PITH_I32, BATCH);
    node *label = pith_input(g, "label", PITH_I32, BATCH);
    node *weight = pith_input(g, "weight", PITH_F32);
    node *table = pith_param(g, "table", PITH_NORMAL, 0.1, 600, WIDTH);
    node *in = pith_param(g, "in", PITH_NORMAL, 0.1, WIDTH, 3 * SIDE * SIDE);
    node *out = pith_param(g, "out", PITH_NORMAL, 0.1, CLASSES, WIDTH);
    node *bias = pith_param(g, "bias", PITH_CONSTANT, 0, CLASSES);
    pith_param(g, "idle", PITH_CONSTANT, 1, 2);
    node *seen = pith_tanh(pith_matmul_nt(pith_reshape(pixels, BATCH, -1), in));
    node *read = pith_gather(pith_gather(table, ids), last);
    node *hidden = pith_dropout(pith_add(seen, read), 0.1);
    pith_watch(pith_mean(pith_square(hidden), PITH_ALL), "activity");
    node *losses = pith_cross_entropy(pith_linear(hidden, out, bias), label);
    if (w->bad_noted)
        pith_update(pith_state(g, "noted", PITH_F32, PITH_CONSTANT, 5),
                    pith_input(g, "noted", PITH_F32));
    return pith_mean(pith_mul(losses, weight), PITH_ALL);
}

/* Called once a step for the weight, and for what is noted. */
static const void *colour_fetch(void *context, const char *name, const pith_host_batch *b)
{
    scene *w = context;
    (void)b;
    if (strcmp(name, "noted") == 0) {
        w->noted = (pith_real)(w->steps <= w->bad_noted ? (double)NAN : 1);
        return &w->noted;
    }
    if (strcmp(name, "weight") != 0) return NULL;
    if (w->steps == w->stop_at) raise(SIGINT);
    w->weight = (pith_real)(w->bad_from >= 0 && w->steps >= w->bad_from ? (double)NAN : 1);
    w->steps++;
    return &w->weight;
}

static int colour_evaluate(void *context, pith_metric *m)
{
    scene *w = context;
    const real *bias = stored(w->store, "bias");
    m[0] = (pith_metric){ "figure", fabs((double)bias[0]) };
    m[1] = (pith_metric){ "average", (double)*(const real *)stored(w->store, "ema/bias") };
    return 2;
}

static bool colour_export(void *context, const char *directory)
{
    scene *w = context;
    char path[300];
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    return pith_store_save(w->store, path, PITH_WEIGHT);
}
#endif
